//! The tables whose rows are the rows of a keyspace: names, columns, keys.
//!
//! Amounts are in minor units of the row's currency. Times that have not come are NULL. Ids are 32
//! lower-case hexadecimal digits, as everywhere else in the product.

use super::Table;
use super::rows::{Column, Found, KeyColumn, KeyRange, RowTable};
use crate::cells::{AMOUNT, Cell, HUNDREDTHS, Kind, TENTHS};
use novax_charging::rows::{
    ConnectorRow, DirectoryKind, DirectoryRow, DriverRow, ExceptionRow, MetaRow, PayerSessionRow,
    TokenRow, directory_key, read,
};
use novax_charging::{
    AccrualRow, Billing, BillingRow, DocumentRow, FxRateRow, PricedRow, SignalRow, TermsRow,
    TreeHeadRow, document,
};
use novax_charging::{
    Keyspace, OutboxKind, OutboxRow, Payer, PaymentRow, PeerCommand, SessionRow, SiteRow,
    StationCommand, StationRow, TransactionRef,
};
use novax_ledger::{Account, AccountEntry, Hold, JournalRow, Limit};
use novax_model::{AccountId, Measurand, SessionId, Timestamp};
use novax_tariff::Language;
use novax_tariff::rules::SignalKind;
use std::sync::Arc;

pub(super) fn all() -> Vec<Arc<dyn Table>> {
    vec![
        Arc::new(&SITES),
        Arc::new(&STATIONS),
        Arc::new(&PENDING_STATIONS),
        Arc::new(&CONNECTORS),
        Arc::new(&DRIVERS),
        Arc::new(&TOKENS),
        Arc::new(&SESSIONS),
        Arc::new(&PAYER_SESSIONS),
        Arc::new(&PAYMENTS),
        Arc::new(&ACCOUNTS),
        Arc::new(&HOLDS),
        Arc::new(&TRANSFERS),
        Arc::new(&DIRECTORY),
        Arc::new(&OUTBOX),
        Arc::new(&EXCEPTIONS),
        Arc::new(&PARTITIONS),
        Arc::new(&TERMS),
        Arc::new(&PRICE_DOCUMENTS),
        Arc::new(&SIGNALS),
        Arc::new(&DOCUMENTS),
        Arc::new(&BILLINGS),
        Arc::new(&TREE_HEADS),
        Arc::new(&ACCOUNT_ENTRIES),
        Arc::new(&ACCRUALS),
        Arc::new(&FX_RATES),
    ]
}

/// A column that always has a value.
const fn set<T>(
    name: &'static str,
    kind: Kind,
    cell: for<'a> fn(&'a Found<T>) -> Cell<'a>,
) -> Column<T> {
    Column { name, kind, nullable: false, cell }
}

/// A column that may be NULL.
const fn maybe<T>(
    name: &'static str,
    kind: Kind,
    cell: for<'a> fn(&'a Found<T>) -> Cell<'a>,
) -> Column<T> {
    Column { name, kind, nullable: true, cell }
}

/// The partition a row is of.
const fn partition<T>() -> Column<T> {
    set("partition", Kind::Int4, |f| Cell::int(f.partition.0))
}

fn whole() -> KeyRange {
    (Vec::new(), None)
}

/// Exactly one key.
fn just(mut key: Vec<u8>) -> KeyRange {
    let from = key.clone();
    key.push(0);
    (from, Some(key))
}

/// Longer than any id; longer text is the name of no row, and may be no key of the store.
const TEXT_BYTES_MAX: usize = 256;

fn text_key(text: &str) -> Option<KeyRange> {
    (text.len() <= TEXT_BYTES_MAX).then(|| just(text.as_bytes().to_vec()))
}

fn pending_key(station: &str) -> Option<KeyRange> {
    text_key(station)?;
    Some(just(directory_key(DirectoryKind::PendingStation, station)))
}

/// All connectors of a station.
fn connectors_key(station: &str) -> Option<KeyRange> {
    text_key(station)?;
    let end = |byte| [station.as_bytes(), &[byte]].concat();
    Some((end(0), Some(end(1))))
}

/// The key of an id, when the text is how we write one.
fn hex_key(text: &str) -> Option<KeyRange> {
    let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = u128::from_str_radix(text, 16).ok().filter(|_| digits)?;
    Some(just(id.to_be_bytes().to_vec()))
}

const fn by_text(name: &'static str) -> Option<KeyColumn> {
    Some(KeyColumn { name, range: text_key })
}

const fn by_hex(name: &'static str) -> Option<KeyColumn> {
    Some(KeyColumn { name, range: hex_key })
}

static SITES: RowTable<SiteRow> = RowTable {
    name: "sites",
    comment: "Sites: place, power limit, the price in force and who shares it.",
    keyspace: Keyspace::Sites,
    range: whole,
    key: by_text("site"),
    read: read::<SiteRow>,
    columns: &[
        set("site", Kind::Text, |f| Cell::text(f.row.site.as_str())),
        maybe("limit_w", Kind::Int8, |f| Cell::of(f.row.limit, |limit| Cell::Int(limit.0))),
        maybe("jurisdiction", Kind::Text, |f| Cell::filled(&f.row.place.jurisdiction)),
        set("zone", Kind::Text, |f| Cell::text(&f.row.place.zone)),
        maybe("currency", Kind::Text, |f| {
            Cell::of(f.row.prices.first(), |price| Cell::text(price.currency.code()))
        }),
        maybe("hold", AMOUNT, |f| Cell::of(f.row.prices.first(), |price| Cell::amount(price.hold))),
        maybe("price_from", Kind::Time, |f| {
            Cell::of(f.row.prices.first(), |price| Cell::time(price.from))
        }),
        maybe("tariff", Kind::Text, |f| {
            Cell::of(f.row.prices.first(), |price| Cell::show(price.tariff))
        }),
        maybe("contract", Kind::Text, |f| {
            Cell::of(f.row.prices.first(), |price| Cell::show(price.contract))
        }),
        maybe("rules", Kind::Text, |f| {
            Cell::of(f.row.prices.first().and_then(|price| price.rules), Cell::show)
        }),
        set("prices_announced", Kind::Int4, |f| {
            Cell::Int(i64::try_from(f.row.prices.len().saturating_sub(1)).unwrap_or(0))
        }),
        partition(),
    ],
};

/// `tariff`, `contract` or `rules`.
fn terms_kind(terms: &TermsRow) -> Cell<'_> {
    Cell::text(match terms {
        TermsRow::Tariff(_) => "tariff",
        TermsRow::Contract(_) => "contract",
        TermsRow::Rules(_) => "rules",
    })
}

fn terms_currency(terms: &TermsRow) -> Cell<'_> {
    Cell::text(match terms {
        TermsRow::Tariff(tariff) => tariff.currency.code(),
        TermsRow::Contract(contract) => contract.currency.code(),
        TermsRow::Rules(book) => book.currency.code(),
    })
}

/// What terms say, in English; of a rule book its text.
fn terms_words(terms: &TermsRow) -> Cell<'_> {
    Cell::Text(
        match terms {
            TermsRow::Tariff(tariff) => novax_tariff::explain::explain(tariff, Language::En),
            TermsRow::Contract(contract) => novax_settlement::explain(contract),
            TermsRow::Rules(book) => book.to_text(),
        }
        .into(),
    )
}

static TERMS: RowTable<TermsRow> = RowTable {
    name: "terms",
    comment: "Tariffs, contracts and rule books by hash, as sites and sessions have them.",
    keyspace: Keyspace::Terms,
    range: whole,
    key: None,
    read: read::<TermsRow>,
    columns: &[
        set("hash", Kind::Text, |f| Cell::show(f.row.hash())),
        set("kind", Kind::Text, |f| terms_kind(&f.row)),
        maybe("id", Kind::Text, |f| match &f.row {
            TermsRow::Tariff(tariff) => Cell::filled(&tariff.id),
            TermsRow::Contract(contract) => Cell::text(contract.id.as_str()),
            TermsRow::Rules(book) => Cell::filled(&book.name),
        }),
        set("currency", Kind::Text, |f| terms_currency(&f.row)),
        set("words", Kind::Text, |f| terms_words(&f.row)),
        partition(),
    ],
};

static PRICE_DOCUMENTS: RowTable<PricedRow> = RowTable {
    name: "price_documents",
    comment: "Tariffs, contracts and rule books by name, as their authors wrote them.",
    keyspace: Keyspace::Priced,
    range: whole,
    key: None,
    read: read::<PricedRow>,
    columns: &[
        set("kind", Kind::Text, |f| terms_kind(&f.row.terms)),
        set("id", Kind::Text, |f| Cell::text(f.row.id.as_str())),
        set("hash", Kind::Text, |f| Cell::show(f.row.hash)),
        set("format", Kind::Text, |f| Cell::text(&f.row.format)),
        set("currency", Kind::Text, |f| terms_currency(&f.row.terms)),
        maybe("put_at", Kind::Time, |f| Cell::time(f.row.put)),
        set("words", Kind::Text, |f| terms_words(&f.row.terms)),
        set("source", Kind::Text, |f| Cell::text(&f.row.source)),
        partition(),
    ],
};

static SIGNALS: RowTable<SignalRow> = RowTable {
    name: "signals",
    comment: "What dynamic prices of sites follow: the last value heard of each kind.",
    keyspace: Keyspace::Signals,
    range: whole,
    key: None,
    read: read::<SignalRow>,
    columns: &[
        set("site", Kind::Text, |f| Cell::text(f.row.site.as_str())),
        set("kind", Kind::Text, |f| Cell::text(f.row.kind.word())),
        set("value", Kind::Decimal(38, 6), |f| {
            let finer = 10_i128.pow(6_u32.saturating_sub(f.row.kind.places()));
            Cell::Decimal(i128::from(f.row.sample.value) * finer)
        }),
        set("unit", Kind::Text, |f| {
            Cell::text(match f.row.kind {
                SignalKind::Temperature => "C",
                SignalKind::Load | SignalKind::Renewable => "%",
                SignalKind::DayAhead => "per MWh",
            })
        }),
        maybe("at", Kind::Time, |f| Cell::time(f.row.sample.at)),
        partition(),
    ],
};

static DOCUMENTS: RowTable<DocumentRow> = RowTable {
    name: "documents",
    comment: "Invoices, credit notes and settlement statements that were issued.",
    keyspace: Keyspace::Documents,
    range: || (vec![document::HEAD], Some(vec![document::HEAD + 1])),
    key: None,
    read: read::<DocumentRow>,
    columns: &[
        set("number", Kind::Text, |f| Cell::show(&f.row.id)),
        set("series", Kind::Text, |f| Cell::text(&f.row.id.series)),
        set("place", Kind::Int8, |f| Cell::count(f.row.id.number)),
        set("kind", Kind::Text, |f| Cell::text(f.row.kind.as_str())),
        set("subject", Kind::Text, |f| Cell::text(&f.row.subject)),
        maybe("period_from", Kind::Time, |f| Cell::time(f.row.from)),
        maybe("period_until", Kind::Time, |f| Cell::time(f.row.until)),
        set("currency", Kind::Text, |f| Cell::text(f.row.currency.code())),
        set("total", AMOUNT, |f| Cell::Decimal(f.row.total)),
        set("sessions", Kind::Int8, |f| {
            Cell::Int(i64::try_from(f.row.parts.len()).unwrap_or(i64::MAX))
        }),
        maybe("original", Kind::Text, |f| Cell::of(f.row.original.as_ref(), Cell::show)),
        maybe("issued_at", Kind::Time, |f| Cell::time(f.row.issued)),
        maybe("due_days", Kind::Int4, |f| Cell::of(f.row.due_days, Cell::int)),
        partition(),
    ],
};

static BILLINGS: RowTable<BillingRow> = RowTable {
    name: "billings",
    comment: "What was booked of sessions, by time, and where the journal has it.",
    keyspace: Keyspace::Billings,
    range: || (vec![document::BY_TIME], Some(vec![document::BY_TIME + 1])),
    key: None,
    read: read::<BillingRow>,
    columns: &[
        set("session_id", Kind::Text, |f| Cell::show(f.row.session)),
        set("kind", Kind::Text, |f| {
            Cell::text(match f.row.what {
                Billing::Bill => "BILL",
                Billing::Adjustment => "ADJUSTMENT",
                Billing::Refund => "REFUND",
            })
        }),
        set("sequence", Kind::Int8, |f| Cell::int(f.row.n)),
        maybe("booked_at", Kind::Time, |f| Cell::time(f.row.booked)),
        set("first_row", Kind::Int8, |f| Cell::count(f.row.first)),
        set("row_count", Kind::Int4, |f| Cell::int(f.row.rows)),
        partition(),
    ],
};

static TREE_HEADS: RowTable<TreeHeadRow> = RowTable {
    name: "tree_heads",
    comment: "Heads of the Merkle tree over the journal, signed or to be signed.",
    keyspace: Keyspace::TreeHeads,
    range: whole,
    key: None,
    read: read::<TreeHeadRow>,
    columns: &[
        set("size", Kind::Int8, |f| Cell::count(f.row.head.size)),
        set("root", Kind::Text, |f| hex(&f.row.head.root)),
        set("log_index", Kind::Int8, |f| Cell::count(f.row.head.log_index)),
        set("log_chain", Kind::Text, |f| hex(&f.row.head.log_chain)),
        maybe("at", Kind::Time, |f| Cell::time(f.row.head.at)),
        set("signed", Kind::Bool, |f| Cell::Bool(f.row.signed.is_some())),
        maybe("key", Kind::Text, |f| {
            Cell::of(f.row.signed.as_ref(), |signed| Cell::show(signed.key))
        }),
        partition(),
    ],
};

fn hex(bytes: &[u8]) -> Cell<'static> {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Cell::Text(text.into())
}

static ACCOUNT_ENTRIES: RowTable<AccountEntry> = RowTable {
    name: "account_entries",
    comment: "Each account's own history, with its balances after each entry.",
    keyspace: Keyspace::AccountEntries,
    range: whole,
    key: Some(KeyColumn { name: "account_id", range: entries_key }),
    read: read::<AccountEntry>,
    columns: &[
        set("account_id", Kind::Text, |f| Cell::show(f.row.account)),
        set("number", Kind::Int8, |f| Cell::count(f.row.number)),
        set("debits_pending", AMOUNT, |f| Cell::amount(f.row.balances.debits_pending)),
        set("debits_posted", AMOUNT, |f| Cell::amount(f.row.balances.debits_posted)),
        set("credits_pending", AMOUNT, |f| Cell::amount(f.row.balances.credits_pending)),
        set("credits_posted", AMOUNT, |f| Cell::amount(f.row.balances.credits_posted)),
        maybe("booked_at", Kind::Time, |f| Cell::time(f.row.at)),
        maybe("effective_at", Kind::Time, |f| Cell::time(f.row.effective_at)),
        partition(),
    ],
};

/// All entries of an account.
fn entries_key(text: &str) -> Option<KeyRange> {
    let (from, _) = hex_key(text)?;
    let id = u128::from_be_bytes(from.as_slice().try_into().ok()?);
    Some((from, id.checked_add(1).map(|next| next.to_be_bytes().to_vec())))
}

static ACCRUALS: RowTable<AccrualRow> = RowTable {
    name: "accruals",
    comment: "What each contract has earned at each site in each month, and what its end brought.",
    keyspace: Keyspace::Accruals,
    range: whole,
    key: None,
    read: read::<AccrualRow>,
    columns: &[
        set("site", Kind::Text, |f| Cell::text(f.row.site.as_str())),
        set("contract", Kind::Text, |f| Cell::show(f.row.contract)),
        set("month", Kind::Int8, |f| Cell::int(f.row.month)),
        set("zone", Kind::Text, |f| Cell::text(&f.row.zone)),
        set("currency", Kind::Text, |f| Cell::text(f.row.currency.code())),
        set("sessions", Kind::Int8, |f| Cell::count(f.row.accrual.sessions)),
        set("net", AMOUNT, |f| Cell::amount(f.row.accrual.net)),
        set("by_party", Kind::Text, |f| {
            let parties: Vec<String> =
                f.row.earned().by_party.iter().map(ToString::to_string).collect();
            Cell::Text(parties.join(",").into())
        }),
        set("settled", Kind::Bool, |f| Cell::Bool(f.row.settled.is_some())),
        partition(),
    ],
};

static FX_RATES: RowTable<FxRateRow> = RowTable {
    name: "fx_rates",
    comment: "Rates of exchange, as each partition has them.",
    keyspace: Keyspace::FxRates,
    range: whole,
    key: None,
    read: read::<FxRateRow>,
    columns: &[
        set("rate_id", Kind::Text, |f| Cell::text(&f.row.rate.id)),
        set("number", Kind::Text, |f| Cell::Text(format!("{:032x}", f.row.number).into())),
        set("base", Kind::Text, |f| Cell::text(f.row.rate.base.code())),
        set("quote", Kind::Text, |f| Cell::text(f.row.rate.quote.code())),
        set("rate", Kind::Decimal(38, 12), |f| {
            let finer = 10_i128.pow(12_u32.saturating_sub(f.row.rate.scale.into()));
            Cell::Decimal(i128::from(f.row.rate.mantissa) * finer)
        }),
        set("spread_ppm", Kind::Int8, |f| Cell::int(f.row.rate.spread_ppm)),
        maybe("valid_from", Kind::Time, |f| Cell::time(f.row.rate.from)),
        maybe("valid_until", Kind::Time, |f| match f.row.rate.until {
            Timestamp::MAX => Cell::Null,
            until => Cell::time(until),
        }),
        set("source", Kind::Text, |f| Cell::text(&f.row.rate.source)),
        partition(),
    ],
};

static STATIONS: RowTable<StationRow> = RowTable {
    name: "stations",
    comment: "Charging stations and what they said of themselves.",
    keyspace: Keyspace::Stations,
    range: whole,
    key: by_text("station"),
    read: read::<StationRow>,
    columns: &[
        set("station", Kind::Text, |f| Cell::text(f.row.identity.as_str())),
        set("site", Kind::Text, |f| Cell::text(f.row.site.as_str())),
        set("connected", Kind::Bool, |f| Cell::Bool(f.row.connected)),
        maybe("connection_changed_at", Kind::Time, |f| Cell::time(f.row.connection_changed)),
        maybe("protocol", Kind::Text, |f| {
            Cell::of(f.row.protocol, |protocol| Cell::text(protocol.subprotocol()))
        }),
        maybe("vendor", Kind::Text, |f| Cell::filled(&f.row.vendor)),
        maybe("model", Kind::Text, |f| Cell::filled(&f.row.model)),
        maybe("firmware", Kind::Text, |f| Cell::filled(&f.row.firmware)),
        maybe("serial", Kind::Text, |f| Cell::filled(&f.row.serial)),
        maybe("booted_at", Kind::Time, |f| Cell::time(f.row.booted)),
        set("has_password", Kind::Bool, |f| Cell::Bool(f.row.password.is_some())),
        set("number", Kind::Int8, |f| Cell::int(f.row.number)),
        partition(),
    ],
};

static PENDING_STATIONS: RowTable<DirectoryRow> = RowTable {
    name: "pending_stations",
    comment: "Stations that connected without being provisioned and wait for approval.",
    keyspace: Keyspace::Directory,
    range: || {
        let kind = DirectoryKind::PendingStation as u8;
        (vec![kind], Some(vec![kind + 1]))
    },
    key: Some(KeyColumn { name: "station", range: pending_key }),
    read: read::<DirectoryRow>,
    columns: &[
        set("station", Kind::Text, |f| Cell::text(&f.row.id)),
        maybe("protocol", Kind::Text, |f| {
            Cell::of(f.row.protocol, |protocol| Cell::text(protocol.subprotocol()))
        }),
        maybe("vendor", Kind::Text, |f| Cell::filled(&f.row.vendor)),
        maybe("model", Kind::Text, |f| Cell::filled(&f.row.model)),
        maybe("created_at", Kind::Time, |f| Cell::time(f.row.created)),
        partition(),
    ],
};

static DIRECTORY: RowTable<DirectoryRow> = RowTable {
    name: "directory",
    comment: "Which partition holds the rows of an id.",
    keyspace: Keyspace::Directory,
    range: whole,
    key: None,
    read: read::<DirectoryRow>,
    columns: &[
        set("kind", Kind::Text, |f| Cell::text(directory_kind(f.row.kind))),
        set("id", Kind::Text, |f| Cell::text(&f.row.id)),
        set("home", Kind::Int4, |f| Cell::int(f.row.home.0)),
        maybe("created_at", Kind::Time, |f| Cell::time(f.row.created)),
        partition(),
    ],
};

fn directory_kind(kind: DirectoryKind) -> &'static str {
    match kind {
        DirectoryKind::Station => "STATION",
        DirectoryKind::Token => "TOKEN",
        DirectoryKind::Driver => "DRIVER",
        DirectoryKind::Site => "SITE",
        DirectoryKind::PendingStation => "PENDING_STATION",
        DirectoryKind::RequestKey => "REQUEST_KEY",
    }
}

static CONNECTORS: RowTable<ConnectorRow> = RowTable {
    name: "connectors",
    comment: "Connectors with their newest values: the live twin.",
    keyspace: Keyspace::Connectors,
    range: whole,
    key: Some(KeyColumn { name: "station", range: connectors_key }),
    read: read::<ConnectorRow>,
    columns: &[
        set("station", Kind::Text, |f| Cell::text(f.row.identity.as_str())),
        set("evse", Kind::Int4, |f| Cell::int(f.row.connector.evse)),
        set("connector", Kind::Int4, |f| Cell::int(f.row.connector.connector)),
        set("status", Kind::Text, |f| Cell::text(f.row.status.as_str())),
        maybe("error", Kind::Text, |f| Cell::filled(&f.row.error)),
        maybe("status_at", Kind::Time, |f| Cell::time(f.row.status_at)),
        maybe("session_id", Kind::Text, |f| Cell::of(f.row.session, Cell::show)),
        maybe("at", Kind::Time, |f| Cell::time(f.row.live.at)),
        maybe("voltage_v", TENTHS, |f| scaled(f, Measurand::Voltage)),
        maybe("current_a", HUNDREDTHS, |f| scaled(f, Measurand::Current)),
        maybe("power_w", Kind::Int8, |f| Cell::of(f.row.live.get(Measurand::Power), Cell::Int)),
        maybe("energy_wh", Kind::Int8, |f| Cell::of(f.row.live.get(Measurand::Energy), Cell::Int)),
        maybe("temperature_c", TENTHS, |f| scaled(f, Measurand::Temperature)),
        maybe("soc_percent", TENTHS, |f| scaled(f, Measurand::Soc)),
        maybe("limit_w", Kind::Int8, |f| Cell::of(f.row.limit, |limit| Cell::Int(limit.0))),
        partition(),
    ],
};

fn scaled(found: &Found<ConnectorRow>, measurand: Measurand) -> Cell<'_> {
    Cell::of(found.row.live.get(measurand), |value| Cell::Decimal(value.into()))
}

static DRIVERS: RowTable<DriverRow> = RowTable {
    name: "drivers",
    comment: "Drivers, their wallets and tokens.",
    keyspace: Keyspace::Drivers,
    range: whole,
    key: by_text("driver"),
    read: read::<DriverRow>,
    columns: &[
        set("driver", Kind::Text, |f| Cell::text(f.row.driver.as_str())),
        set("currency", Kind::Text, |f| Cell::text(f.row.currency.code())),
        set("blocked", Kind::Bool, |f| Cell::Bool(f.row.blocked)),
        set("wallet", Kind::Text, |f| Cell::show(f.row.wallet)),
        set("tokens", Kind::Text, |f| {
            let tokens: Vec<&str> = f.row.tokens.iter().map(|token| token.as_str()).collect();
            Cell::Text(tokens.join(",").into())
        }),
        partition(),
    ],
};

static TOKENS: RowTable<TokenRow> = RowTable {
    name: "tokens",
    comment: "What drivers show to stations.",
    keyspace: Keyspace::Tokens,
    range: whole,
    key: by_text("token"),
    read: read::<TokenRow>,
    columns: &[
        set("token", Kind::Text, |f| Cell::text(f.row.token.as_str())),
        set("driver", Kind::Text, |f| Cell::text(f.row.driver.as_str())),
        partition(),
    ],
};

static SESSIONS: RowTable<SessionRow> = RowTable {
    name: "sessions",
    comment: "Charging sessions, from the request to the receipt.",
    keyspace: Keyspace::Sessions,
    range: whole,
    key: by_hex("session_id"),
    read: read::<SessionRow>,
    columns: &[
        set("session_id", Kind::Text, |f| Cell::show(f.row.session)),
        set("state", Kind::Text, |f| Cell::text(f.row.state.as_str())),
        set("station", Kind::Text, |f| Cell::text(f.row.identity.as_str())),
        set("evse", Kind::Int4, |f| Cell::int(f.row.connector.evse)),
        set("connector", Kind::Int4, |f| Cell::int(f.row.connector.connector)),
        set("site", Kind::Text, |f| Cell::text(f.row.site.as_str())),
        maybe("driver", Kind::Text, |f| {
            Cell::of(f.row.driver.as_ref(), |driver| Cell::text(driver.as_str()))
        }),
        set("token", Kind::Text, |f| Cell::text(f.row.token.as_str())),
        set("origin", Kind::Text, |f| Cell::text(if f.row.app { "APP" } else { "STATION" })),
        maybe("transaction", Kind::Text, |f| {
            Cell::of(f.row.transaction.as_ref(), |transaction| match transaction {
                TransactionRef::V16(number) => Cell::show(number),
                TransactionRef::V201(text) => Cell::text(text),
            })
        }),
        set("energy_wh", Kind::Int8, |f| Cell::Int(f.row.energy().0)),
        set("currency", Kind::Text, |f| Cell::text(f.row.deal.currency.code())),
        set("cost_energy", AMOUNT, |f| Cell::amount(f.row.charges.energy)),
        set("cost_fee", AMOUNT, |f| Cell::amount(f.row.charges.fee)),
        set("cost_time", AMOUNT, |f| Cell::amount(f.row.charges.time)),
        set("cost_parking", AMOUNT, |f| Cell::amount(f.row.charges.parking)),
        set("cost_tax", AMOUNT, |f| Cell::amount(f.row.charges.tax)),
        set("cost_total", AMOUNT, |f| Cell::amount(f.row.charges.total())),
        set("held", AMOUNT, |f| Cell::amount(f.row.held)),
        set("holds", Kind::Int8, |f| Cell::int(f.row.holds)),
        set("payer", Kind::Text, |f| {
            Cell::text(match f.row.payer {
                Payer::Local(_) => "LOCAL",
                Payer::Remote(_) => "REMOTE",
                Payer::Card(_) => "CARD",
                Payer::None => "NONE",
            })
        }),
        maybe("payer_partition", Kind::Int4, |f| match f.row.payer {
            Payer::Local(_) | Payer::Card(_) => Cell::int(f.partition.0),
            Payer::Remote(partition) => Cell::int(partition.0),
            Payer::None => Cell::Null,
        }),
        maybe("meter_start_wh", Kind::Int8, |f| {
            Cell::of(f.row.meter_start, |register| Cell::Int(register.0))
        }),
        set("meter_last_wh", Kind::Int8, |f| Cell::Int(f.row.meter_last.0)),
        maybe("requested_at", Kind::Time, |f| Cell::time(f.row.requested)),
        maybe("started_at", Kind::Time, |f| Cell::time(f.row.started)),
        maybe("ended_at", Kind::Time, |f| Cell::time(f.row.ended)),
        maybe("heard_at", Kind::Time, |f| Cell::time(f.row.heard)),
        maybe("reason", Kind::Text, |f| Cell::filled(&f.row.reason)),
        set("suspect", Kind::Bool, |f| Cell::Bool(f.row.suspect)),
        set("tariff", Kind::Text, |f| Cell::show(f.row.deal.tariff)),
        set("contract", Kind::Text, |f| Cell::show(f.row.deal.contract)),
        maybe("jurisdiction", Kind::Text, |f| Cell::filled(&f.row.deal.jurisdiction)),
        set("price_factor", Kind::Decimal(19, 6), |f| {
            Cell::Decimal(f.row.deal.adjustment.factor_ppm.into())
        }),
        maybe("tax_rule", Kind::Text, |f| Cell::filled(&f.row.deal.treatment.rule)),
        maybe("explanation", Kind::Text, |f| Cell::filled(&f.row.deal.explanation)),
        partition(),
    ],
};

static PAYER_SESSIONS: RowTable<PayerSessionRow> = RowTable {
    name: "payer_sessions",
    comment: "Holds placed here for sessions of other partitions.",
    keyspace: Keyspace::PayerSessions,
    range: whole,
    key: by_hex("session_id"),
    read: read::<PayerSessionRow>,
    columns: &[
        set("session_id", Kind::Text, |f| Cell::show(f.row.session)),
        set("station_partition", Kind::Int4, |f| Cell::int(f.row.partition.0)),
        set("driver", Kind::Text, |f| Cell::text(f.row.driver.as_str())),
        set("wallet", Kind::Text, |f| Cell::show(f.row.wallet)),
        set("currency", Kind::Text, |f| Cell::text(f.row.currency.code())),
        set("held", AMOUNT, |f| Cell::amount(f.row.held)),
        set("holds", Kind::Int8, |f| Cell::int(f.row.holds)),
        maybe("ask_at", Kind::Time, |f| Cell::time(f.row.ask_at)),
        maybe("captured", AMOUNT, |f| Cell::of(f.row.captured, Cell::amount)),
        set("released", Kind::Bool, |f| Cell::Bool(f.row.released)),
        partition(),
    ],
};

static ACCOUNTS: RowTable<Account> = RowTable {
    name: "accounts",
    comment: "Ledger accounts with their balances in minor units.",
    keyspace: Keyspace::Accounts,
    range: whole,
    key: by_hex("account_id"),
    read: read::<Account>,
    columns: &[
        set("account_id", Kind::Text, |f| Cell::show(f.row.id)),
        set("name", Kind::Text, |f| Cell::text(&f.row.name)),
        set("currency", Kind::Text, |f| Cell::text(f.row.currency.code())),
        set("debits_pending", AMOUNT, |f| Cell::amount(f.row.debits_pending)),
        set("debits_posted", AMOUNT, |f| Cell::amount(f.row.debits_posted)),
        set("credits_pending", AMOUNT, |f| Cell::amount(f.row.credits_pending)),
        set("credits_posted", AMOUNT, |f| Cell::amount(f.row.credits_posted)),
        set("available", AMOUNT, |f| Cell::amount(f.row.available())),
        set("rule", Kind::Text, |f| {
            Cell::text(match f.row.limit {
                Limit::None => "NONE",
                Limit::DebitsMustNotExceedCredits => "DEBITS_MUST_NOT_EXCEED_CREDITS",
                Limit::CreditsMustNotExceedDebits => "CREDITS_MUST_NOT_EXCEED_DEBITS",
            })
        }),
        partition(),
    ],
};

static HOLDS: RowTable<Hold> = RowTable {
    name: "holds",
    comment: "Money set aside and not yet taken or given back.",
    keyspace: Keyspace::Holds,
    range: whole,
    key: None,
    read: read::<Hold>,
    columns: &[
        set("hold", Kind::Text, |f| Cell::show(f.row.id())),
        set("debit", Kind::Text, |f| account(f.row.debit)),
        set("credit", Kind::Text, |f| account(f.row.credit)),
        set("amount", AMOUNT, |f| Cell::amount(f.row.amount)),
        set("code", Kind::Text, |f| Cell::text(f.row.code.as_str())),
        maybe("created_at", Kind::Time, |f| Cell::time(f.row.created)),
        maybe("expires_at", Kind::Time, |f| Cell::time(f.row.expires)),
        partition(),
    ],
};

fn account(id: AccountId) -> Cell<'static> {
    Cell::show(id)
}

static TRANSFERS: RowTable<JournalRow> = RowTable {
    name: "transfers",
    comment: "The journal: every movement of money, in order, never changed.",
    keyspace: Keyspace::Transfers,
    range: whole,
    key: None,
    read: read::<JournalRow>,
    columns: &[
        set("number", Kind::Int8, |f| Cell::count(f.row.number)),
        set("transfer_key", Kind::Text, |f| Cell::show(f.row.key)),
        set("leg", Kind::Int4, |f| Cell::int(f.row.leg)),
        set("kind", Kind::Text, |f| Cell::text(f.row.kind.as_str())),
        set("code", Kind::Text, |f| Cell::text(f.row.code.as_str())),
        set("debit", Kind::Text, |f| account(f.row.debit)),
        set("credit", Kind::Text, |f| account(f.row.credit)),
        set("amount", AMOUNT, |f| Cell::amount(f.row.amount)),
        set("released", AMOUNT, |f| Cell::amount(f.row.released)),
        set("currency", Kind::Text, |f| Cell::text(f.row.currency.code())),
        maybe("hold", Kind::Text, |f| Cell::of(f.row.hold, Cell::show)),
        maybe("booked_at", Kind::Time, |f| Cell::time(f.row.at)),
        maybe("effective_at", Kind::Time, |f| Cell::time(f.row.effective_at)),
        partition(),
    ],
};

static OUTBOX: RowTable<OutboxRow> = RowTable {
    name: "outbox",
    comment: "Effects that must happen and are not yet answered.",
    keyspace: Keyspace::Outbox,
    range: whole,
    key: None,
    read: read::<OutboxRow>,
    columns: &[
        set("id", Kind::Int8, |f| Cell::count(f.row.id)),
        set("command", Kind::Text, |f| Cell::text(command(&f.row.kind).0)),
        maybe("session_id", Kind::Text, |f| Cell::of(command(&f.row.kind).1, Cell::show)),
        maybe("station", Kind::Text, |f| match &f.row.kind {
            OutboxKind::Station { identity, .. } => Cell::text(identity.as_str()),
            OutboxKind::Peer { .. } | OutboxKind::Payment { .. } => Cell::Null,
        }),
        maybe("peer", Kind::Int4, |f| match &f.row.kind {
            OutboxKind::Peer { to, .. } => Cell::int(to.0),
            OutboxKind::Station { .. } | OutboxKind::Payment { .. } => Cell::Null,
        }),
        maybe("created_at", Kind::Time, |f| Cell::time(f.row.created)),
        maybe("deadline_at", Kind::Time, |f| Cell::time(f.row.deadline)),
        partition(),
    ],
};

fn command(kind: &OutboxKind) -> (&'static str, Option<SessionId>) {
    match kind {
        OutboxKind::Station { command, .. } => match command {
            StationCommand::RemoteStart { session, .. } => ("REMOTE_START", Some(*session)),
            StationCommand::RemoteStop { session, .. } => ("REMOTE_STOP", Some(*session)),
            StationCommand::SetLimit { .. } => ("SET_LIMIT", None),
        },
        OutboxKind::Peer { command, .. } => match command {
            PeerCommand::PlaceHold(hold) => ("PLACE_HOLD", Some(hold.session)),
            PeerCommand::ReleaseHold { session, .. } => ("RELEASE_HOLD", Some(*session)),
            PeerCommand::Capture { session, .. } => ("CAPTURE", Some(*session)),
            PeerCommand::Adjust { session, .. } => ("ADJUST", Some(*session)),
            PeerCommand::Refund { session, .. } => ("REFUND", Some(*session)),
            PeerCommand::AskSession { session, .. } => ("ASK_SESSION", Some(*session)),
        },
        OutboxKind::Payment { payment } => (payment.kind.as_str(), Some(payment.session)),
    }
}

static PAYMENTS: RowTable<PaymentRow> = RowTable {
    name: "payments",
    comment: "What was asked of payment providers, and what came of it.",
    keyspace: Keyspace::Payments,
    range: whole,
    key: None,
    read: read::<PaymentRow>,
    columns: &[
        set("session_id", Kind::Text, |f| Cell::show(f.row.session)),
        set("number", Kind::Int8, |f| Cell::int(f.row.number)),
        set("operation", Kind::Text, |f| Cell::Text(format!("{:032x}", f.row.operation).into())),
        set("kind", Kind::Text, |f| Cell::text(f.row.kind.as_str())),
        set("state", Kind::Text, |f| Cell::text(f.row.state.as_str())),
        set("driver", Kind::Text, |f| Cell::text(f.row.driver.as_str())),
        set("provider", Kind::Text, |f| Cell::text(&f.row.card.provider)),
        maybe("payment", Kind::Text, |f| Cell::of(f.row.payment.as_deref(), Cell::text)),
        maybe("reference", Kind::Text, |f| Cell::of(f.row.reference.as_deref(), Cell::text)),
        set("amount", AMOUNT, |f| Cell::amount(f.row.amount)),
        set("moved", AMOUNT, |f| Cell::amount(f.row.moved)),
        set("currency", Kind::Text, |f| Cell::text(f.row.currency.code())),
        maybe("reason", Kind::Text, |f| Cell::filled(&f.row.words)),
        maybe("at", Kind::Time, |f| Cell::time(f.row.at)),
        maybe("changed_at", Kind::Time, |f| Cell::time(f.row.changed)),
        partition(),
    ],
};

static EXCEPTIONS: RowTable<ExceptionRow> = RowTable {
    name: "exceptions",
    comment: "What a person should look at: billing data without a session, a doubtful meter.",
    keyspace: Keyspace::Exceptions,
    range: whole,
    key: None,
    read: read::<ExceptionRow>,
    columns: &[
        maybe("at", Kind::Time, |f| Cell::time(f.row.at)),
        set("station", Kind::Text, |f| Cell::text(f.row.identity.as_str())),
        set("message", Kind::Text, |f| Cell::text(&f.row.text)),
        partition(),
    ],
};

static PARTITIONS: RowTable<MetaRow> = RowTable {
    name: "partitions",
    comment: "Partitions and how far each has come.",
    keyspace: Keyspace::Meta,
    range: whole,
    key: None,
    read: read::<MetaRow>,
    columns: &[
        partition(),
        set("applied_index", Kind::Int8, |f| Cell::count(f.row.applied_index)),
        maybe("applied_at", Kind::Time, |f| Cell::time(f.row.time)),
        set("state_hash", Kind::Text, |f| Cell::Text(format!("{:016x}", f.row.state_hash).into())),
        set("journal_rows", Kind::Int8, |f| Cell::count(f.row.next_journal)),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_write_is_an_id() {
        let id = "000102030405060708090a0b0c0d0e0f";
        let (from, to) = hex_key(id).unwrap();
        assert_eq!(from, (0..16).collect::<Vec<u8>>());
        assert_eq!(to.unwrap(), (0..16).chain([0]).collect::<Vec<u8>>());
        for other in
            ["", "0", &id.to_uppercase(), &format!("{id}0"), "+00102030405060708090a0b0c0d0e0f"]
        {
            assert_eq!(hex_key(other), None, "{other}");
        }
    }
}
