//! What rows look like in JSON.
//!
//! Money is `{minor, currency, text}` with the minor units as a string, because a JSON number is a
//! double for most readers. Times are RFC 3339 in UTC, absent instead of zero. Measured values are in
//! the unit their name ends with.

use super::problem::Problem;
use novax_charging::SimpleTerms;
use novax_charging::rows::{
    ConnectorRow, Deal, DirectoryRow, DriverRow, SessionRow, SiteRow, StationRow,
};
use novax_charging::{Funding, Protocol, TransactionRef};
use novax_ledger::{Account, JournalRow};
use novax_model::{
    Amount, ConnectorRef, Currency, Identity, Measurand, MeterTick, PartitionId, SessionId,
    Timestamp, Watts,
};
use novax_settlement::contract::{Base, Purpose, RevenueContract, Share, split};
use novax_tariff::{Dimension, Language, Period, Rating, Tariff};
use novax_tsdb::clean::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Money {
    /// Minor units (cents, yen) as decimal digits.
    #[schema(example = "1234")]
    pub minor: String,
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    pub currency: String,
    /// As people write it.
    #[schema(example = "12.34 EUR")]
    pub text: String,
}

impl Money {
    pub(super) fn new(amount: Amount, currency: Currency) -> Money {
        Money {
            minor: amount.to_string(),
            currency: currency.code().to_owned(),
            text: currency.format(amount),
        }
    }
}

/// An amount of money that a client names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MoneyInput {
    /// Minor units (cents, yen) as decimal digits.
    #[schema(example = "5000", pattern = "^[0-9]{1,18}$")]
    pub minor: String,
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    pub currency: String,
}

/// More digits than this are a slip of the finger, not an amount.
const AMOUNT_DIGITS_MAX: usize = 18;

impl MoneyInput {
    pub(super) fn amount(&self) -> Result<(Amount, Currency), Problem> {
        Ok((minor_units("minor", &self.minor)?, currency(&self.currency)?))
    }
}

/// Reads minor units.
pub(super) fn minor_units(field: &str, text: &str) -> Result<Amount, Problem> {
    let digits = (1..=AMOUNT_DIGITS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        let detail = format!("{field} is not 1 to {AMOUNT_DIGITS_MAX} decimal digits");
        return Err(Problem::unprocessable(detail));
    }
    text.parse().map_err(|_| Problem::unprocessable(format!("{field} is no amount")))
}

/// Reads a currency code.
pub(super) fn currency(code: &str) -> Result<Currency, Problem> {
    Currency::new(code).map_err(|error| Problem::unprocessable(error.to_string()))
}

/// A time, or nothing when the row has none yet.
pub(super) fn time(at: Timestamp) -> Option<String> {
    (at != Timestamp::ZERO).then(|| at.to_rfc3339())
}

fn protocol(protocol: Option<Protocol>) -> Option<&'static str> {
    protocol.map(Protocol::subprotocol)
}

/// A charging station with its connectors.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StationView {
    /// Its OCPP identity.
    pub station: String,
    /// Its site.
    pub site: String,
    /// The partition that has its rows.
    pub partition: u16,
    /// Whether a socket is open.
    pub connected: bool,
    /// The OCPP version it last connected with: `ocpp1.6` or `ocpp2.0.1`.
    pub protocol: Option<&'static str>,
    /// From its BootNotification; empty before.
    pub vendor: String,
    /// From its BootNotification; empty before.
    pub model: String,
    /// From its BootNotification; empty before.
    pub firmware: String,
    /// From its BootNotification; empty before.
    pub serial: String,
    /// When it last booted.
    pub booted: Option<String>,
    /// When it last connected or disconnected.
    pub connection_changed: Option<String>,
    /// Whether it must show a password.
    pub has_password: bool,
    /// Its connectors, as far as it has told of them.
    pub connectors: Vec<ConnectorView>,
}

impl StationView {
    pub(super) fn new(
        partition: PartitionId,
        row: &StationRow,
        connectors: Vec<ConnectorView>,
    ) -> StationView {
        StationView {
            station: row.identity.to_string(),
            site: row.site.to_string(),
            partition: partition.0,
            connected: row.connected,
            protocol: protocol(row.protocol),
            vendor: row.vendor.to_string(),
            model: row.model.to_string(),
            firmware: row.firmware.to_string(),
            serial: row.serial.to_string(),
            booted: time(row.booted),
            connection_changed: time(row.connection_changed),
            has_password: row.password.is_some(),
            connectors,
        }
    }
}

/// A station that connected without being provisioned and waits for approval.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PendingView {
    /// The identity from its URL.
    pub station: String,
    /// What it said of itself; empty before its BootNotification.
    pub vendor: String,
    /// What it said of itself; empty before its BootNotification.
    pub model: String,
    /// The OCPP version it speaks.
    pub protocol: Option<&'static str>,
    /// When it was first seen.
    pub seen: Option<String>,
}

impl PendingView {
    pub(super) fn new(row: &DirectoryRow) -> PendingView {
        PendingView {
            station: row.id.to_string(),
            vendor: row.vendor.to_string(),
            model: row.model.to_string(),
            protocol: protocol(row.protocol),
            seen: time(row.created),
        }
    }
}

/// What a meter said at one time; what it did not say is absent.
#[derive(Debug, Default, PartialEq, Serialize, ToSchema)]
pub(super) struct MeterView {
    /// When.
    pub at: Option<String>,
    /// Voltage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voltage_v: Option<f64>,
    /// Current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_a: Option<f64>,
    /// Active power; negative when the vehicle feeds the grid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_w: Option<i64>,
    /// Register of the energy meter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_wh: Option<i64>,
    /// Temperature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
    /// State of charge of the vehicle's battery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soc_percent: Option<f64>,
    /// What was found when the values were cleaned, such as `late` or `spike`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<&'static str>,
    /// What the station had said, where it was not believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub raw: Option<Box<MeterView>>,
}

impl From<&Row> for MeterView {
    fn from(row: &Row) -> MeterView {
        let mut view = MeterView::from(&row.tick);
        let Some(remark) = &row.remark else { return view };
        view.flags = remark.flags.names().collect();
        if remark.raw_at.is_some() || remark.raw.iter().any(Option::is_some) {
            let at = remark.raw_at.unwrap_or(row.tick.at);
            view.raw = Some(Box::new(MeterView::from(&MeterTick { at, values: remark.raw })));
        }
        view
    }
}

impl From<&MeterTick> for MeterView {
    fn from(tick: &MeterTick) -> MeterView {
        let scaled = |measurand, scale: f64| tick.get(measurand).map(|value| shown(value) / scale);
        MeterView {
            at: time(tick.at),
            voltage_v: scaled(Measurand::Voltage, 10.0),
            current_a: scaled(Measurand::Current, 100.0),
            power_w: tick.get(Measurand::Power),
            energy_wh: tick.get(Measurand::Energy),
            temperature_c: scaled(Measurand::Temperature, 10.0),
            soc_percent: scaled(Measurand::Soc, 10.0),
            flags: Vec::new(),
            raw: None,
        }
    }
}

/// A measured value for showing: a meter's 53 bits are plenty, and no bill is made from this.
fn shown(value: i64) -> f64 {
    value as f64
}

/// A connector and its live values.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectorView {
    /// Its station.
    pub station: String,
    /// EVSE number; an OCPP 1.6 connector n is EVSE n, connector 1.
    pub evse: u16,
    /// Connector number within the EVSE.
    pub connector: u16,
    /// Its state, as OCPP writes it.
    pub status: &'static str,
    /// The 1.6 errorCode; empty when there is none.
    pub error: String,
    /// When the status changed, by the station's clock.
    pub status_at: Option<String>,
    /// The session that has it.
    pub session: Option<String>,
    /// What it may draw; absent is no limit.
    pub limit_w: Option<i64>,
    /// The newest values.
    pub live: MeterView,
}

impl From<&ConnectorRow> for ConnectorView {
    fn from(row: &ConnectorRow) -> ConnectorView {
        ConnectorView {
            station: row.identity.to_string(),
            evse: row.connector.evse,
            connector: row.connector.connector,
            status: row.status.as_str(),
            error: row.error.to_string(),
            status_at: time(row.status_at),
            session: row.session.map(|session| session.to_string()),
            limit_w: row.limit.map(|limit| limit.0),
            live: MeterView::from(&row.live),
        }
    }
}

/// One tax of a session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaxView {
    /// `VAT`, `GST`...
    pub name: String,
    /// Its rate in millionths: 19 % is 190000.
    pub rate_ppm: u32,
    /// How much.
    pub amount: Money,
}

/// What a session costs, so far or in the end.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CostView {
    /// For the energy, before tax.
    pub energy: Money,
    /// For the session, before tax.
    pub fee: Money,
    /// For time charging, before tax.
    pub time: Money,
    /// For time plugged in without charging, before tax.
    pub parking: Money,
    /// All taxes.
    pub tax: Money,
    /// The taxes one by one.
    pub taxes: Vec<TaxView>,
    /// What the driver pays.
    pub total: Money,
}

/// A stretch of a session in which the same prices held.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PeriodView {
    /// When it began.
    pub start: String,
    /// How long it took.
    pub duration_s: u64,
    /// Energy taken in it.
    pub energy_wh: i64,
    /// Whether the vehicle was charging; if not, it was parked.
    pub charging: bool,
    /// What was paid for, each with the number of the tariff's element that priced it.
    pub prices: Vec<PricedView>,
}

/// What was paid for in a stretch of a session, and by which element of its tariff.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PricedView {
    /// `ENERGY`, `FLAT`, `TIME` or `PARKING_TIME`.
    pub dimension: &'static str,
    /// From 0.
    pub element: u16,
}

/// One party's part of a session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShareView {
    /// Whose: its name in the contract.
    pub party: String,
    /// What for: `operator`, `site_host`, `electricity`, `grid`, `platform`, `roaming`, `payment` or
    /// `partner`.
    pub purpose: &'static str,
    /// How much of the price before tax.
    pub amount: Money,
}

/// What was agreed at a session's request, and why.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DealView {
    /// The hash of its tariff, for `/v1/terms`.
    pub tariff: String,
    /// The hash of its revenue contract.
    pub contract: String,
    /// Where, for taxes; absent: as the tariff says.
    pub jurisdiction: Option<String>,
    /// Where, for the clock.
    pub zone: String,
    /// Why these taxes, in words.
    pub tax_rule: String,
    /// Why the price differs from the listed one, in words; absent: it does not.
    pub explanation: Option<String>,
    /// By what the listed price of a kWh was multiplied, in millionths.
    pub factor_ppm: u32,
    /// What was then added to it per kWh, as a decimal in major units.
    pub add_per_kwh: String,
}

/// A charging session, from the request to the receipt.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionView {
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// `AUTHORISING`, `STARTING`, `START_ACCEPTED`, `CHARGING`, `STOPPING`, `SETTLING`, `SETTLED`,
    /// `REJECTED`, `EXPIRED` or `REFUSED`.
    pub state: &'static str,
    /// Its station.
    pub station: String,
    /// Its site.
    pub site: String,
    /// Its EVSE.
    pub evse: u16,
    /// Its connector; 0 while the station has not chosen one.
    pub connector: u16,
    /// Who charges; absent when nobody knows the token.
    pub driver: Option<String>,
    /// With what.
    pub token: String,
    /// `app` or `card`.
    pub started_by: &'static str,
    /// The transaction's name at the station, once it runs.
    pub transaction: Option<String>,
    /// Energy delivered so far.
    pub energy_wh: i64,
    /// What it costs so far, or in the end.
    pub cost: CostView,
    /// What was agreed.
    pub deal: DealView,
    /// Stretches with their own prices, as far as it was rated.
    pub periods: Vec<PeriodView>,
    /// Who gets what of the price before tax, so far or in the end. Only where one session is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<Vec<ShareView>>,
    /// What is, or was, held of the driver's money.
    pub held: Money,
    /// When it was asked for.
    pub requested: Option<String>,
    /// When the transaction began, by the station's clock.
    pub started: Option<String>,
    /// When it ended, by the station's clock.
    pub ended: Option<String>,
    /// When the last word of it came.
    pub heard: Option<String>,
    /// Why it ended or was refused.
    pub reason: String,
    /// The bill is doubtful: a person should look.
    pub suspect: bool,
}

impl From<&SessionRow> for SessionView {
    fn from(row: &SessionRow) -> SessionView {
        let money = |amount| Money::new(amount, row.deal.currency);
        SessionView {
            id: row.session.to_string(),
            state: row.state.as_str(),
            station: row.identity.to_string(),
            site: row.site.to_string(),
            evse: row.connector.evse,
            connector: row.connector.connector,
            driver: row.driver.as_ref().map(Identity::to_string),
            token: row.token.to_string(),
            started_by: if row.app { "app" } else { "card" },
            transaction: row.transaction.as_ref().map(|transaction| match transaction {
                TransactionRef::V16(number) => number.to_string(),
                TransactionRef::V201(text) => text.to_string(),
            }),
            energy_wh: row.energy().0,
            cost: CostView {
                energy: money(row.charges.energy),
                fee: money(row.charges.fee),
                time: money(row.charges.time),
                parking: money(row.charges.parking),
                tax: money(row.charges.tax),
                taxes: row
                    .charges
                    .taxes
                    .iter()
                    .map(|tax| TaxView {
                        name: tax.name.to_string(),
                        rate_ppm: tax.ppm,
                        amount: money(tax.amount),
                    })
                    .collect(),
                total: money(row.charges.total()),
            },
            deal: DealView::from(&row.deal),
            periods: row.rating.iter().flat_map(Rating::periods).map(PeriodView::from).collect(),
            shares: None,
            held: money(row.held),
            requested: time(row.requested),
            started: time(row.started),
            ended: time(row.ended),
            heard: time(row.heard),
            reason: row.reason.to_string(),
            suspect: row.suspect,
        }
    }
}

impl From<&Deal> for DealView {
    fn from(deal: &Deal) -> DealView {
        DealView {
            tariff: deal.tariff.to_string(),
            contract: deal.contract.to_string(),
            jurisdiction: Some(deal.jurisdiction.to_string()).filter(|text| !text.is_empty()),
            zone: deal.zone.to_string(),
            tax_rule: deal.treatment.words.to_string(),
            explanation: Some(deal.explanation.to_string()).filter(|text| !text.is_empty()),
            factor_ppm: deal.adjustment.factor_ppm,
            add_per_kwh: Language::En.decimal(deal.adjustment.add_micros_per_kwh.into(), 6, 2),
        }
    }
}

impl From<&Period> for PeriodView {
    fn from(period: &Period) -> PeriodView {
        let priced = |dimension: &Dimension| {
            let element = period.active.element(*dimension)?;
            Some(PricedView { dimension: dimension.name(), element })
        };
        PeriodView {
            start: period.start.to_rfc3339(),
            duration_s: period.duration_us / 1_000_000,
            energy_wh: period.energy.0,
            charging: period.charging,
            prices: Dimension::ALL.iter().filter_map(priced).collect(),
        }
    }
}

impl SessionView {
    /// With who gets what, by the session's contract.
    pub(super) fn shared(self, row: &SessionRow, contract: &RevenueContract) -> SessionView {
        let base = Base::new(row.charges.total(), row.charges.net(), row.energy(), false);
        let share = |share: &Share| ShareView {
            party: contract.party(share.party).map(Identity::to_string).unwrap_or_default(),
            purpose: purpose(share.purpose),
            amount: Money::new(share.amount, row.deal.currency),
        };
        SessionView { shares: Some(split(contract, &base).iter().map(share).collect()), ..self }
    }
}

fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Operator => "operator",
        Purpose::SiteHost => "site_host",
        Purpose::Electricity => "electricity",
        Purpose::Grid => "grid",
        Purpose::Platform => "platform",
        Purpose::Roaming => "roaming",
        Purpose::Payment => "payment",
        Purpose::Partner => "partner",
    }
}

/// A price list; prices are before tax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TariffView {
    /// ISO 4217 code of all its amounts.
    #[schema(example = "EUR")]
    pub currency: String,
    /// Per kWh, in thousandths of a minor unit: 39.5 cents is 39500.
    #[schema(example = 39500, maximum = 1000000000)]
    pub energy_millis_per_kwh: u64,
    /// Once per session, in minor units.
    #[schema(example = "50", pattern = "^[0-9]{1,18}$")]
    pub session_fee_minor: String,
    /// Tax on the net sum, in hundredths of a percent: 19 % is 1900.
    #[schema(example = 1900, maximum = 10000)]
    pub tax_basis_points: u32,
    /// Held before a start, and each time the hold is raised, in minor units.
    #[schema(example = "2000", pattern = "^[0-9]{1,18}$")]
    pub hold_minor: String,
}

/// 1,000,000 minor units for a kWh: no price, a slip of the finger.
const ENERGY_MILLIS_MAX: u64 = 1_000_000_000;
/// All of it.
const BASIS_POINTS_MAX: u32 = 10_000;

impl TariffView {
    /// The tariff of a site with this price.
    pub(super) fn tariff(&self, site: &Identity) -> Result<Tariff, Problem> {
        if self.energy_millis_per_kwh > ENERGY_MILLIS_MAX {
            return Err(Problem::unprocessable("energy_millis_per_kwh is above 1000000000"));
        }
        if self.tax_basis_points > BASIS_POINTS_MAX {
            return Err(Problem::unprocessable("tax_basis_points is above 10000"));
        }
        let hold = minor_units("hold_minor", &self.hold_minor)?;
        if hold == 0 {
            return Err(Problem::unprocessable("hold_minor is 0: a start must hold something"));
        }
        let simple = SimpleTerms {
            currency: currency(&self.currency)?,
            energy_millis_per_kwh: self.energy_millis_per_kwh,
            session_fee: minor_units("session_fee_minor", &self.session_fee_minor)?,
            tax_basis_points: self.tax_basis_points,
            hold,
            site_host_basis_points: 0,
            platform_basis_points: 0,
        };
        Ok(simple.terms(site).tariff)
    }
}

/// How the net revenue of a session is split; the operator has what is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SplitView {
    /// The site host's share, in hundredths of a percent.
    #[schema(example = 1000, maximum = 10000)]
    pub site_host_basis_points: u32,
    /// The platform's share, in hundredths of a percent.
    #[schema(example = 500, maximum = 10000)]
    pub platform_basis_points: u32,
}

impl SplitView {
    /// The contract of a site with this split.
    pub(super) fn contract(
        self,
        currency: Currency,
        site: &Identity,
    ) -> Result<RevenueContract, Problem> {
        self.check()?;
        let simple = SimpleTerms {
            currency,
            energy_millis_per_kwh: 0,
            session_fee: 0,
            tax_basis_points: 0,
            hold: 0,
            site_host_basis_points: self.site_host_basis_points,
            platform_basis_points: self.platform_basis_points,
        };
        Ok(simple.terms(site).contract)
    }

    fn check(self) -> Result<(), Problem> {
        let sum = u64::from(self.site_host_basis_points) + u64::from(self.platform_basis_points);
        if sum > u64::from(BASIS_POINTS_MAX) {
            return Err(Problem::unprocessable("the shares of a split are above 10000 together"));
        }
        Ok(())
    }
}

/// A site.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SiteView {
    /// Its name.
    pub site: String,
    /// The partition that has its rows.
    pub partition: u16,
    /// What all its connectors together may draw; absent is no limit.
    pub limit_w: Option<i64>,
    /// Where it is, for taxes: `DE`, `CA-QC`; absent: as its tariff says.
    pub jurisdiction: Option<String>,
    /// The clock on its wall.
    pub zone: String,
    /// In order of time: the price in force, then those announced.
    pub prices: Vec<PriceView>,
}

/// What a site charges from some time on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PriceView {
    /// Sessions requested from then on.
    pub from: Option<String>,
    /// The hash of its tariff.
    pub tariff: String,
    /// The hash of its revenue contract.
    pub contract: String,
    /// The hash of its pricing rules.
    pub rules: Option<String>,
    /// What is held before a start, and each time a hold is raised.
    pub hold: Money,
}

impl SiteView {
    pub(super) fn new(partition: PartitionId, row: &SiteRow) -> SiteView {
        SiteView {
            site: row.site.to_string(),
            partition: partition.0,
            limit_w: row.limit.map(|Watts(limit)| limit),
            jurisdiction: Some(row.place.jurisdiction.to_string()).filter(|text| !text.is_empty()),
            zone: row.place.zone.to_string(),
            prices: row
                .prices
                .iter()
                .map(|price| PriceView {
                    from: time(price.from),
                    tariff: price.tariff.to_string(),
                    contract: price.contract.to_string(),
                    rules: price.rules.map(|rules| rules.to_string()),
                    hold: Money::new(price.hold, price.currency),
                })
                .collect(),
        }
    }
}

/// A driver and the wallet.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DriverView {
    /// The driver's name.
    pub driver: String,
    /// The partition that has the wallet.
    pub partition: u16,
    /// Starts nothing when set.
    pub blocked: bool,
    /// What the driver shows to stations.
    pub tokens: Vec<String>,
    /// The wallet's id at `/v1/accounts`.
    pub wallet: String,
    /// What can be spent or held now.
    pub available: Money,
    /// What pays: `WALLET` or `CARD`.
    pub funding: String,
}

impl DriverView {
    pub(super) fn new(
        partition: PartitionId,
        row: &DriverRow,
        wallet: Option<&Account>,
    ) -> DriverView {
        let available = wallet.map_or(0, Account::available);
        DriverView {
            driver: row.driver.to_string(),
            partition: partition.0,
            blocked: row.blocked,
            tokens: row.tokens.iter().map(ToString::to_string).collect(),
            wallet: row_id(partition, &row.wallet.to_string()),
            available: Money::new(available, row.currency),
            funding: match row.funding {
                Funding::Wallet => "WALLET",
                Funding::Card(_) => "CARD",
            }
            .to_owned(),
        }
    }
}

/// The id of a row that is unique in its partition only: `3.00ff`.
fn row_id(partition: PartitionId, id: &str) -> String {
    format!("{}.{id}", partition.0)
}

/// An account of a partition's ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountView {
    /// Partition and account: `3.` and 32 hexadecimal digits.
    pub id: String,
    /// What it is for: `driver/anna`, `operator`, `clearing/p2`.
    pub name: String,
    /// What can still be debited under its limit.
    pub available: Money,
    /// Debits that are held.
    pub debits_pending: Money,
    /// Debits that are booked.
    pub debits_posted: Money,
    /// Credits that are held.
    pub credits_pending: Money,
    /// Credits that are booked.
    pub credits_posted: Money,
}

impl AccountView {
    pub(super) fn new(partition: PartitionId, row: &Account) -> AccountView {
        let money = |amount| Money::new(amount, row.currency);
        AccountView {
            id: row_id(partition, &row.id.to_string()),
            name: row.name.to_string(),
            available: money(row.available()),
            debits_pending: money(row.debits_pending),
            debits_posted: money(row.debits_posted),
            credits_pending: money(row.credits_pending),
            credits_posted: money(row.credits_posted),
        }
    }
}

/// A line of a partition's journal.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TransferView {
    /// Partition and journal number.
    pub id: String,
    /// The key of its linked set: all lines with it were booked together or not at all.
    pub key: String,
    /// Its place in the set.
    pub leg: u8,
    /// Whether it was posted, held, or ends a hold.
    pub kind: &'static str,
    /// Why, in a word.
    pub code: &'static str,
    /// The account that pays.
    pub debit: String,
    /// The account that gets.
    pub credit: String,
    /// How much.
    pub amount: Money,
    /// How much of a hold went back.
    pub released: Money,
    /// When it was booked.
    pub at: Option<String>,
    /// Its value time.
    pub effective_at: Option<String>,
}

impl TransferView {
    pub(super) fn new(partition: PartitionId, row: &JournalRow) -> TransferView {
        TransferView {
            id: row_id(partition, &row.number.to_string()),
            key: row.key.to_string(),
            leg: row.leg,
            kind: row.kind.as_str(),
            code: row.code.as_str(),
            debit: row_id(partition, &row.debit.to_string()),
            credit: row_id(partition, &row.credit.to_string()),
            amount: Money::new(row.amount, row.currency),
            released: Money::new(row.released, row.currency),
            at: time(row.at),
            effective_at: time(row.effective_at),
        }
    }
}

/// Reads a session id as clients write it.
pub(super) fn session_id(text: &str) -> Option<SessionId> {
    let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| text.parse().ok()).flatten()
}

/// Reads the id of a row that is unique in its partition only.
pub(super) fn parse_row_id(text: &str) -> Option<(PartitionId, &str)> {
    let (partition, id) = text.split_once('.')?;
    Some((PartitionId(partition.parse().ok()?), id))
}

/// The connector a client names: both numbers, an EVSE whose connector the station chooses, or an
/// OCPP 1.6 connector number.
pub(super) fn connector_ref(
    evse: Option<u16>,
    connector: Option<u16>,
) -> Result<ConnectorRef, Problem> {
    match (evse, connector) {
        (None, None | Some(0)) | (Some(0), _) => {
            Err(Problem::unprocessable("name an evse or a connector, both from 1"))
        }
        (Some(evse), connector) => Ok(ConnectorRef { evse, connector: connector.unwrap_or(0) }),
        (None, Some(connector)) => Ok(ConnectorRef::of_v16(connector)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_text() {
        let money = Money::new(u128::from(u64::MAX) * 10, Currency::EUR);
        let json = serde_json::to_string(&money).expect("serialises");
        assert_eq!(
            json,
            r#"{"minor":"184467440737095516150","currency":"EUR","text":"1844674407370955161.50 EUR"}"#
        );
    }

    #[test]
    fn amounts_are_digits_and_nothing_else() {
        assert_eq!(minor_units("minor", "0050"), Ok(50));
        for text in ["", "-1", "+1", "1.5", "1e3", " 1", "1234567890123456789"] {
            assert_eq!(minor_units("minor", text).unwrap_err().code(), "invalid_request", "{text}");
        }
    }

    #[test]
    fn meter_values_are_shown_in_their_base_unit() {
        let mut tick = MeterTick { at: Timestamp::from_millis(1), ..MeterTick::default() };
        tick.set(Measurand::Voltage, 2_301);
        tick.set(Measurand::Current, -1_605);
        tick.set(Measurand::Soc, 555);
        let json = serde_json::to_value(MeterView::from(&tick)).expect("serialises");
        assert_eq!(
            json,
            serde_json::json!({
                "at": "1970-01-01T00:00:00.001Z",
                "voltage_v": 230.1, "current_a": -16.05, "soc_percent": 55.5,
            })
        );
    }

    #[test]
    fn a_connector_can_be_named_in_three_ways() {
        let named = |evse, connector| connector_ref(evse, connector).map(|c| c.to_string());
        assert_eq!(named(Some(2), Some(1)).as_deref(), Ok("2.1"));
        assert_eq!(named(Some(2), None).as_deref(), Ok("2.0"));
        assert_eq!(named(None, Some(3)).as_deref(), Ok("3.1"));
        for (evse, connector) in [(None, None), (Some(0), Some(1)), (None, Some(0))] {
            assert!(named(evse, connector).is_err());
        }
    }

    #[test]
    fn prices_and_shares_have_bounds() {
        let good = TariffView {
            currency: "EUR".into(),
            energy_millis_per_kwh: 39_500,
            session_fee_minor: "50".into(),
            tax_basis_points: 1_900,
            hold_minor: "2000".into(),
        };
        let site = Identity::new("depot").unwrap();
        let split = |site_host_basis_points, platform_basis_points| SplitView {
            site_host_basis_points,
            platform_basis_points,
        };
        let shared = |split: SplitView| split.contract(Currency::EUR, &site);
        assert!(good.tariff(&site).is_ok() && shared(split(1_000, 500)).is_ok());
        let mistakes: [fn(&mut TariffView); 5] = [
            |t| t.currency = "ZZZ".into(),
            |t| t.energy_millis_per_kwh = ENERGY_MILLIS_MAX + 1,
            |t| t.tax_basis_points = 10_001,
            |t| t.hold_minor = "0".into(),
            |t| t.session_fee_minor = "-1".into(),
        ];
        for mistake in mistakes {
            let mut bad = good.clone();
            mistake(&mut bad);
            assert!(bad.tariff(&site).is_err(), "{bad:?}");
        }
        assert!(shared(split(9_000, 1_000)).is_ok());
        assert!(shared(split(9_000, 1_001)).is_err());
        assert!(shared(split(u32::MAX, 1)).is_err());
    }

    #[test]
    fn ids_read_back_or_not_at_all() {
        assert_eq!(session_id("000000000000000000000000000000ff"), Some(SessionId(255)));
        for text in
            ["", "ff", "+00000000000000000000000000000ff", "zz0000000000000000000000000000ff"]
        {
            assert_eq!(session_id(text), None, "{text}");
        }
        assert_eq!(parse_row_id("3.abc"), Some((PartitionId(3), "abc")));
        assert_eq!(parse_row_id("abc"), None);
        assert_eq!(parse_row_id("99999.abc"), None);
    }
}
