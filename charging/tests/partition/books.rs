//! The books told in `testdata/fx.txt`, `month.txt` and `books.txt`, in the words of `saga.rs` and a
//! few more; and wallets in other currencies under random charges.

use crate::saga::{Words, World, check};
use novax_charging::{AccrualRow, Command, Keyspace, Place, PutSite, SessionRow};
use novax_ledger::JournalRow;
use novax_model::{Currency, Identity, PartitionId, Timestamp, TransferKey};
use novax_settlement::{PartyId, Purpose, Rate, Term};
use novax_tariff::Day;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn id(text: &str) -> Identity {
    Identity::new(text).unwrap()
}

fn currency(text: &str) -> Currency {
    Currency::new(text).unwrap()
}

/// `2026-02-01` or `2026-02-01T13:30`, by UTC.
pub(crate) fn time(text: &str) -> Timestamp {
    let (day, clock) = text.split_once('T').unwrap_or((text, "00:00"));
    let (hour, minute) = clock.split_once(':').unwrap();
    let minutes = hour.parse::<u64>().unwrap() * 60 + minute.parse::<u64>().unwrap();
    let zone = novax_tariff::Zone::utc();
    let midnight = zone.offset_at(Timestamp::ZERO).at(Day::parse(day).unwrap(), 0);
    Timestamp(midnight.0 + minutes * 60_000_000)
}

/// A site's options: `guarantee` of its host by the operator, `monthly` fee to the platform, `zone`.
pub(crate) fn month_terms(put: &mut PutSite, words: &mut Words<'_>) {
    let [payer, host, platform] = [PartyId(0), PartyId(1), PartyId(2)];
    let mut amount = |name| words.number(name).map(|amount| u128::from(amount.unsigned_abs()));
    if let Some(amount) = amount("guarantee") {
        put.terms.contract.terms.push(Term::MinimumGuarantee { party: host, payer, amount });
    }
    if let Some(amount) = amount("monthly") {
        let (party, purpose) = (platform, Purpose::Platform);
        put.terms.contract.terms.push(Term::FixedFee { party, payer, amount, purpose });
    }
    if let Some(zone) = words.option("zone") {
        put.place = Place { zone: zone.into(), ..put.place.clone() };
    }
}

/// `0.92` as digits and places.
fn decimal(text: &str) -> (u64, u8) {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{places}").parse().unwrap();
    (digits, u8::try_from(places.len()).unwrap())
}

impl World {
    pub(crate) fn books(&mut self, node: usize, verb: &str, words: &mut Words<'_>) -> String {
        match verb {
            "until" => {
                let at = time(words.next());
                assert!(at > self.now, "time does not run backwards");
                self.now = at;
                self.step(node, Command::Tick);
                String::new()
            }
            "rate" => {
                let (id, pair, rate) = (words.next(), (words.next(), words.next()), words.next());
                let (mantissa, scale) = decimal(rate);
                let rate = Rate {
                    id: id.into(),
                    base: currency(pair.0),
                    quote: currency(pair.1),
                    mantissa,
                    scale,
                    spread_ppm: u32::try_from(words.number("spread").unwrap_or(0)).unwrap(),
                    from: words.option("from").map_or(self.now, time),
                    until: words.option("to").map_or(Timestamp::MAX, time),
                    source: "a bank".into(),
                };
                self.step(node, Command::PutFxRate(rate))
            }
            "close-books" => {
                let until = time(words.next());
                self.step(node, Command::CloseBooks { until })
            }
            "write-off" => {
                let (driver, amount) = (id(words.next()), words.next().parse().unwrap());
                let key = TransferKey(words.next().parse().unwrap());
                self.step(node, Command::WriteOff { key, driver, amount })
            }
            "pay-out" => {
                let (driver, amount) = (id(words.next()), words.next().parse().unwrap());
                let key = TransferKey(words.next().parse().unwrap());
                self.step(node, Command::PayOut { key, driver, amount })
            }
            _ => {
                let with = PartitionId(words.next().strip_prefix('p').unwrap().parse().unwrap());
                let (currency, amount) = (currency(words.next()), words.next().parse().unwrap());
                let key = TransferKey(words.next().parse().unwrap());
                self.step(node, Command::ParkMoney { key, with, currency, amount })
            }
        }
    }

    pub(crate) fn show_books(&self, node: usize, what: &str, words: &mut Words<'_>) -> String {
        let here = &self.nodes[node];
        let or_nothing = |list: Vec<String>| match list.is_empty() {
            true => "nothing".to_owned(),
            false => list.join("; "),
        };
        match what {
            // Credits less debits of an account, by currency.
            "money" => {
                let name = words.next();
                let named = here.partition.ledger().accounts().filter(|a| &*a.name == name);
                let texts = named.map(|account| {
                    let credits = i128::try_from(account.credits_posted).unwrap();
                    let balance = credits - i128::try_from(account.debits_posted).unwrap();
                    format!("{balance} {}", account.currency)
                });
                let mut texts: Vec<_> = texts.collect();
                texts.sort();
                or_nothing(texts)
            }
            "held" => {
                let holds = here.partition.ledger().holds();
                or_nothing(holds.map(|hold| hold.amount.to_string()).collect())
            }
            "months" => {
                let rows = here.rows::<AccrualRow>(Keyspace::Accruals);
                let texts = rows.iter().map(|row| {
                    let parties: Vec<String> =
                        row.earned().by_party.iter().map(u128::to_string).collect();
                    let end = match &row.settled {
                        None => "open".to_owned(),
                        Some(settled) => {
                            let amounts = settled.iter().map(|one| one.amount.to_string());
                            format!("settled {}", amounts.collect::<Vec<_>>().join(" "))
                        }
                    };
                    let (site, month, sessions) = (&row.site, row.month, row.accrual.sessions);
                    let parties = parties.join(" ");
                    format!(
                        "{site} {month}: {sessions} for {} as {parties}, {end}",
                        row.accrual.net
                    )
                });
                or_nothing(texts.collect())
            }
            "ageing" => {
                let lines = here.partition.ageing(self.now);
                let texts = lines.iter().map(|line| {
                    let hours = line.age.as_secs() / 3_600;
                    format!("{} {} {} for {hours} h", line.name, line.balance, line.currency)
                });
                or_nothing(texts.collect())
            }
            // What the books say of a period: of each code, how much counts in it.
            "period" => {
                let (from, to) = (time(words.next()), time(words.next()));
                let mut sums: BTreeMap<&str, u128> = BTreeMap::new();
                for row in here.rows::<JournalRow>(Keyspace::Transfers) {
                    if row.kind.is_movement() && (from..to).contains(&row.effective_at) {
                        *sums.entry(row.code.as_str()).or_default() += row.amount;
                    }
                }
                or_nothing(sums.iter().map(|(code, sum)| format!("{code} {sum}")).collect())
            }
            // How many lines of the journal name a rate, in how many sets.
            "rates" => {
                let rows = here.rows::<JournalRow>(Keyspace::Transfers);
                let named: Vec<_> = rows.iter().filter(|row| row.rate.is_some()).collect();
                let rates: std::collections::BTreeSet<_> =
                    named.iter().map(|row| row.rate).collect();
                format!("{} lines by {} rates", named.len(), rates.len())
            }
            other => panic!("nothing to show: {other}"),
        }
    }
}

#[test]
fn a_wallet_pays_a_tariff_of_another_currency_by_the_rate_frozen_at_the_request() {
    check("fx", 10);
}

#[test]
fn a_month_of_a_contract_is_settled_once() {
    check("month", 7);
}

#[test]
fn a_closed_period_never_changes_and_what_lies_about_has_an_age() {
    check("books", 6);
}

/// One charge: how far the meter goes, what an estimate had seen before, what is refunded.
#[derive(Debug, Clone)]
struct Charge {
    estimate: Option<u32>,
    meter: u32,
    /// Thousandths of the bill, given back in two parts.
    refund: Option<(u32, u32)>,
}

fn charge() -> impl Strategy<Value = Charge> {
    let estimate = prop::option::weighted(0.3, 1..40_000_u32);
    let refund = prop::option::weighted(0.4, (0..=500_u32, 0..=500_u32));
    (estimate, 0..60_000_u32, refund).prop_map(|(estimate, meter, refund)| Charge {
        estimate,
        meter,
        refund,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever the rate and whatever is metered: clearing is back at zero in both currencies, what the
    /// wallet gave and owes is what the bills cost by the frozen rates, the position and the spread are
    /// the other sides of it, and no month counts a session twice.
    #[test]
    fn bills_in_another_currency_lose_nothing(
        mantissa in 1_000..3_000_000_u64, spread in 0..200_000_u32, yen in any::<bool>(),
        wallet in 0..40_000_u64, charges in prop::collection::vec(charge(), 1..4),
    ) {
        let mut world = World::new();
        let (base, places) = if yen { ("JPY", 8) } else { ("USD", 6) };
        let whole = format!("{mantissa:010}");
        let (before, after) = whole.split_at(10 - places);
        let rate = format!("{before}.{after}");
        world.run("site garage");
        world.run("station CP1 garage");
        world.run(&format!("driver dora D {wallet} currency {base}"));
        world.run(&format!("rate R USD EUR {rate} spread {spread}").replace("USD", base));
        let mut transactions = 0;
        let (mut refunded, mut worth_back) = (0_u128, 0_u128);
        for (n, charge) in charges.iter().enumerate() {
            let started = world.run(&format!("start s{n} CP1 1.1 D meter 0"));
            transactions += 1;
            if started.contains("but") {
                world.run(&format!("end CP1 {transactions} meter 0"));
                continue;
            }
            if let Some(seen) = charge.estimate {
                world.run(&format!("tick CP1 1.1 energy {seen}"));
                world.run("wait 250000");
                world.run("wait 15000");
            }
            world.run(&format!("end CP1 {transactions} meter {}", charge.meter));
            if let (Some(parts), None) = (charge.refund, charge.estimate) {
                let row = world.session(&format!("s{n}"));
                let bill = row.charges.total();
                let before = refunded;
                for (sequence, part) in [(1, parts.0), (2, parts.1)] {
                    let amount = bill * u128::from(part) / 1_000;
                    if amount > 0 {
                        let done = world.run(&format!("refund s{n} {sequence} {amount}"));
                        prop_assert_eq!(done, format!("refunded {amount}"));
                        refunded += amount;
                    }
                }
                let rate = row.deal.fx.map(|rate| Rate { spread_ppm: 0, ..rate }).unwrap();
                let worth = |bill| novax_settlement::cost_of(bill, &rate, rate.from).unwrap().from;
                worth_back += worth(bill) - worth(bill - (refunded - before));
            }
        }
        let (refunded, worth_back) =
            (i128::try_from(refunded).unwrap(), i128::try_from(worth_back).unwrap());
        let node = &world.nodes[0];
        node.check_books();
        prop_assert_eq!(node.partition.ledger().holds().count(), 0);
        let sums = |name: &str, code: &str| -> i128 {
            let accounts = node.partition.ledger().accounts();
            let of = accounts.filter(|a| &*a.name == name && a.currency == currency(code));
            of.map(|a| i128::try_from(a.credits_posted).unwrap() - i128::try_from(a.debits_posted).unwrap()).sum()
        };
        prop_assert_eq!((sums("clearing/p0", base), sums("clearing/p0", "EUR")), (0, 0));
        let rows = node.rows::<SessionRow>(Keyspace::Sessions);
        let (mut cost, mut owed, mut total, mut kept) = (0, 0, 0, 0);
        for row in rows.iter().filter(|row| row.charges.total() > 0) {
            let Some(rate) = &row.deal.fx else { continue };
            let bill = novax_settlement::cost_of(row.charges.total(), rate, rate.from).unwrap();
            cost += i128::try_from(bill.from).unwrap();
            kept += i128::try_from(bill.spread).unwrap();
            total += i128::try_from(bill.to).unwrap();
            owed += i128::try_from(row.owed).unwrap();
        }
        let given = i128::from(wallet) - sums("driver/dora", base);
        prop_assert_eq!(given - sums("receivable/dora", base), cost - worth_back);
        prop_assert!(-sums("receivable/dora", base) <= owed);
        prop_assert!(-sums("receivable/dora", base) >= owed - worth_back);
        prop_assert_eq!(sums("fx/position", base), cost - worth_back);
        prop_assert_eq!(sums("fx/position", "EUR"), -(total + kept) + refunded);
        prop_assert_eq!(sums("fx/spread", "EUR"), kept);
        let earned = sums("operator", "EUR") + sums("site-host/garage", "EUR") + sums("platform", "EUR");
        prop_assert_eq!(earned + sums("tax", "EUR"), total - refunded);
        let months: u128 = node
            .rows::<AccrualRow>(Keyspace::Accruals)
            .iter()
            .flat_map(|row| row.earned().by_party)
            .sum();
        prop_assert_eq!(i128::try_from(months).unwrap(), earned, "months add up to the accounts");
    }
}
