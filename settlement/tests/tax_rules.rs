//! Who is charged which tax, and that what is charged always adds up.

use novax_model::{Amount, Currency, Micros, Rounding, Timestamp};
use novax_settlement::{
    Buyer, Charges, Country, Jurisdiction, Priced, RoundingPolicy, Scope, SettlementError, Supply,
    TaxTable, Treatment, apply, decide,
};
use proptest::prelude::*;

fn country(code: &str) -> Country {
    Country::new(code).unwrap()
}

fn business(code: &str, id: &str) -> Buyer {
    Buyer::Business { country: country(code), vat_id: id.into() }
}

fn dealer(code: &str, id: &str) -> Buyer {
    Buyer::Dealer { country: country(code), vat_id: id.into() }
}

fn treatment(place: &str, seller: &str, buyer: Buyer) -> Treatment {
    let at = Timestamp::parse_rfc3339("2026-11-01T12:00:00Z").unwrap();
    let jurisdiction = Jurisdiction::new(place).unwrap();
    let supply = Supply { jurisdiction, at, buyer, seller_country: country(seller) };
    decide(&TaxTable::built_in(), &supply).expect("listed")
}

/// Rule, charged rate, reverse charge.
fn outcome(place: &str, seller: &str, buyer: Buyer) -> (String, u32, bool) {
    let treatment = treatment(place, seller, buyer);
    let ppm = treatment.lines.iter().map(|line| line.ppm).sum();
    (treatment.rule.into(), ppm, treatment.reverse_charge)
}

#[test]
fn the_place_of_supply_decides_who_is_taxed_where() {
    let de = || ("DE-2021-01-01".to_owned(), 190_000, false);
    assert_eq!(outcome("DE", "DE", Buyer::Consumer), de());
    assert_eq!(outcome("DE", "NL", Buyer::Consumer), de(), "consumed in Germany");
    assert_eq!(outcome("DE", "DE", business("DE", "DE123456789")), de(), "both at home");
    assert_eq!(outcome("DE", "DE", business("FR", "FR12123456789")), de(), "a foreign fleet");
    let reversed = ("DE-2021-01-01".to_owned(), 0, true);
    assert_eq!(outcome("DE", "NL", business("DE", "DE123456789")), reversed);
    let dutch = ("NL-2016-01-01".to_owned(), 0, true);
    assert_eq!(outcome("DE", "DE", dealer("NL", "NL123456789B01")), dutch, "a dealer abroad");
    let home = ("NL-2016-01-01".to_owned(), 210_000, false);
    assert_eq!(outcome("DE", "NL", dealer("NL", "NL123456789B01")), home, "taxed at its seat");
    assert_eq!(outcome("DE", "DE", dealer("CH", "")), ("DE-2021-01-01".to_owned(), 0, false));
    assert_eq!(outcome("DE", "NL", business("DE", "nonsense")), de(), "no such id: a consumer");
    let swiss = ("CH-2024-01-01".to_owned(), 81_000, false);
    assert_eq!(outcome("CH", "DE", business("CH", "CHE123456789")), swiss);
    let quebec = treatment("CA-QC", "CA", Buyer::Consumer);
    let lines: Vec<(&str, u32)> = quebec.lines.iter().map(|line| (&*line.name, line.ppm)).collect();
    assert_eq!(lines, [("GST", 50_000), ("QST", 99_750)]);
}

fn priced(micros: i128) -> Priced {
    Priced { amount: Micros(micros), tax_ppm: None }
}

fn charge(treatment: &Treatment, code: &str, included: bool, prices: &[Priced]) -> Charges {
    let policy = RoundingPolicy::default();
    apply(treatment, Currency::new(code).unwrap(), included, prices, policy).expect("within bounds")
}

fn sums(charges: &Charges) -> (Amount, Amount, Amount) {
    (charges.net, charges.tax, charges.gross)
}

#[test]
fn the_tax_of_a_category_is_worked_out_once_from_its_rounded_net() {
    let german = treatment("DE", "DE", Buyer::Consumer);
    // 3.335 + 3.335 = 6.67; rounded one by one it would be 6.68.
    let charges = charge(&german, "EUR", false, &[priced(3_335_000), priced(3_335_000)]);
    assert_eq!(sums(&charges), (667, 127, 794));
    assert_eq!(charges.parts.iter().map(|part| part.net).collect::<Vec<_>>(), [334, 333]);
    assert_eq!(charges.parts.iter().map(|part| part.tax).collect::<Vec<_>>(), [64, 63]);
    let by_part = RoundingPolicy { rounding: Rounding::HalfUp, scope: Scope::Part };
    let prices = [priced(3_335_000), priced(3_335_000)];
    let charges = apply(&german, Currency::EUR, false, &prices, by_part).unwrap();
    assert_eq!(sums(&charges), (668, 126, 794));
}

#[test]
fn what_includes_tax_is_paid_as_it_is_written() {
    let german = treatment("DE", "DE", Buyer::Consumer);
    assert_eq!(sums(&charge(&german, "EUR", true, &[priced(11_900_000)])), (1_000, 190, 1_190));
    assert_eq!(sums(&charge(&german, "EUR", true, &[priced(10_000_000)])), (840, 160, 1_000));
    let quebec = treatment("CA-QC", "CA", Buyer::Consumer);
    let charges = charge(&quebec, "CAD", true, &[priced(114_975_000)]);
    assert_eq!(sums(&charges), (10_000, 1_498, 11_498), "114.975 is 114.98 to pay");
    assert_eq!(charges.categories[0].taxes[0].amount, 500);
    assert_eq!(charges.categories[0].taxes[1].amount, 998);
    // Under reverse charge the buyer of a listed gross price owes the net alone.
    let reversed = treatment("DE", "NL", business("DE", "DE123456789"));
    assert_eq!(sums(&charge(&reversed, "EUR", true, &[priced(11_900_000)])), (1_000, 0, 1_000));
    // A dealer at home pays its own country's tax on the net of the listed price.
    let dutch = treatment("DE", "NL", dealer("NL", "NL123456789B01"));
    assert_eq!(sums(&charge(&dutch, "EUR", true, &[priced(11_900_000)])), (1_000, 210, 1_210));
}

#[test]
fn each_of_several_taxes_is_rounded_by_itself() {
    let quebec = treatment("CA-QC", "CA", Buyer::Consumer);
    let charges = charge(&quebec, "CAD", false, &[priced(10_100_000)]);
    let taxes: Vec<Amount> = charges.categories[0].taxes.iter().map(|tax| tax.amount).collect();
    assert_eq!(taxes, [51, 101], "0.505 and 1.007475");
    assert_eq!(sums(&charges), (1_010, 152, 1_162));
}

#[test]
fn a_stated_rate_makes_a_category_of_its_own() {
    let german = treatment("DE", "DE", Buyer::Consumer);
    let reduced = Priced { amount: Micros(10_000_000), tax_ppm: Some(70_000) };
    let charges = charge(&german, "EUR", false, &[priced(10_000_000), reduced, priced(1_000_000)]);
    assert_eq!(charges.categories.len(), 2);
    assert_eq!(charges.categories[0].net, 1_100);
    assert_eq!((charges.categories[1].tax, charges.categories[1].taxes[0].ppm), (70, 70_000));
    assert_eq!(charges.parts.iter().map(|part| part.category).collect::<Vec<_>>(), [0, 1, 0]);
    // Where the law has two taxes, a tariff cannot talk them away.
    let quebec = treatment("CA-QC", "CA", Buyer::Consumer);
    assert_eq!(charge(&quebec, "CAD", false, &[reduced]).tax, 150);
}

#[test]
fn what_cannot_be_charged_is_refused_whole() {
    let german = treatment("DE", "DE", Buyer::Consumer);
    let refused = |prices: &[Priced]| {
        apply(&german, Currency::EUR, false, prices, RoundingPolicy::default()).unwrap_err()
    };
    assert_eq!(refused(&[priced(1), priced(-1)]), SettlementError::NegativePart { part: 1 });
    assert_eq!(refused(&[priced(i128::MAX)]), SettlementError::TooLarge);
    assert_eq!(refused(&[priced(1); 65]), SettlementError::TooManyParts { max: 64 });
    let rate = Priced { amount: Micros(1), tax_ppm: Some(1_000_001) };
    assert_eq!(refused(&[rate]), SettlementError::TaxRate { ppm: 1_000_001 });
    assert_eq!(sums(&charge(&german, "EUR", true, &[])), (0, 0, 0));
    assert_eq!(sums(&charge(&german, "EUR", true, &[priced(0), priced(0)])), (0, 0, 0));
    let most = 1_000_000_000_000_000_000_000_000;
    assert_eq!(charge(&german, "CLF", true, &[priced(most); 64]).gross, 64 * 10_u128.pow(22));
}

proptest! {
    #[test]
    fn charges_always_add_up(
        amounts in proptest::collection::vec((0_i128..1 << 50, 0_usize..4), 0..12),
        place in 0_usize..4, included in any::<bool>(), by_part in any::<bool>(),
    ) {
        let (place, code) = [("DE", "EUR"), ("CA-QC", "CAD"), ("NO", "JPY"), ("CA-AB", "KWD")][place];
        let treatment = treatment(place, "DE", Buyer::Consumer);
        let stated = [None, Some(0), Some(70_000), Some(1_000_000)];
        let prices: Vec<Priced> = amounts
            .iter()
            .map(|(micros, rate)| Priced { amount: Micros(*micros), tax_ppm: stated[*rate] })
            .collect();
        let scope = if by_part { Scope::Part } else { Scope::Category };
        let policy = RoundingPolicy { rounding: Rounding::HalfUp, scope };
        let currency = Currency::new(code).unwrap();
        let charges = apply(&treatment, currency, included, &prices, policy).unwrap();
        prop_assert_eq!(charges.parts.len(), prices.len());
        let (mut net, mut tax) = (0, 0);
        for (place, category) in charges.categories.iter().enumerate() {
            let of = |part: &&novax_settlement::PartCharge| usize::from(part.category) == place;
            let members = || charges.parts.iter().filter(of);
            prop_assert_eq!(members().map(|part| part.net).sum::<u128>(), category.net);
            prop_assert_eq!(members().map(|part| part.tax).sum::<u128>(), category.tax);
            let lines: u128 = category.taxes.iter().map(|tax| tax.amount).sum();
            prop_assert_eq!(lines, category.tax);
            // The tax is the rate of the net, to within the rounding of its lines.
            let ppm: u128 = category.taxes.iter().map(|tax| u128::from(tax.ppm)).sum();
            let exact = category.net * ppm;
            let slack = 1_000_000 * if by_part { 3 * prices.len() as u128 } else { 3 };
            prop_assert!((category.tax * 1_000_000).abs_diff(exact) <= slack);
            net += category.net;
            tax += category.tax;
        }
        prop_assert_eq!((net, tax, net + tax), sums(&charges));
        if included && !by_part && charges.categories.len() <= 1 {
            let sum = Micros(prices.iter().map(|price| price.amount.0).sum());
            prop_assert_eq!(sum.to_minor(currency, Rounding::HalfUp), Some(charges.gross));
        }
    }
}
