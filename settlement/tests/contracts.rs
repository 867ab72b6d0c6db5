//! Contracts of the case file, the waterfall against a slow model, periods, and what is refused.

use novax_model::{Currency, Identity, Micros, Timestamp};
use novax_settlement::{
    Accrual, Base, PartyId, Purpose, RevenueContract, Rule, Settlement, SettlementError, Share,
    Step, Term, close_period, explain, split,
};
use proptest::prelude::*;

const CASES: &str = include_str!("../testdata/contracts.txt");

fn number(words: &[&str], name: &str) -> u64 {
    let at = words.iter().position(|word| *word == name).expect(name);
    words[at + 1].parse().expect(name)
}

/// A share as the case file writes it.
fn written(contract: &RevenueContract, share: &Share) -> String {
    let purpose = match share.purpose {
        Purpose::Operator => "operator",
        Purpose::SiteHost => "site_host",
        Purpose::Electricity => "electricity",
        Purpose::Grid => "grid",
        Purpose::Platform => "platform",
        Purpose::Roaming => "roaming",
        Purpose::Payment => "payment",
        Purpose::Partner => "partner",
    };
    format!("{} {purpose} {}", contract.party(share.party).expect("a party"), share.amount)
}

#[test]
fn sessions_are_split_as_the_case_file_says() {
    let mut contract = None;
    let mut lines = CASES.lines().filter(|line| !line.starts_with('#')).peekable();
    let mut sessions = 0;
    while let Some(line) = lines.next() {
        if line == "contract" {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "end").collect();
            contract = Some(RevenueContract::from_toml(&text.join("\n")).expect("a good contract"));
        } else if let Some(session) = line.strip_prefix("session ") {
            let contract = contract.as_ref().expect("a contract stands before its sessions");
            let words: Vec<&str> = session.split(' ').collect();
            let base = Base {
                gross: number(&words, "gross").into(),
                net: number(&words, "net").into(),
                energy_wh: number(&words, "energy_wh"),
                roaming: words.contains(&"roaming"),
            };
            let mut expected = Vec::new();
            while let Some(share) = lines.next_if(|line| line.starts_with("    ")) {
                expected.push(share.trim().to_owned());
            }
            let shares = split(contract, &base);
            let shares: Vec<String> = shares.iter().map(|share| written(contract, share)).collect();
            assert_eq!(shares, expected, "{} {session}", contract.id);
            sessions += 1;
        } else {
            assert_eq!(line, "", "neither a contract nor a session");
        }
    }
    assert_eq!(sessions, 9);
}

fn with_terms() -> RevenueContract {
    let text = CASES.split("contract\n").find(|text| text.contains("cost-plus\"")).unwrap();
    RevenueContract::from_toml(text.split("end\n").next().unwrap()).unwrap()
}

#[test]
fn a_period_settles_guarantees_and_fees() {
    let contract = with_terms();
    let base = Base { gross: 5_000, net: 5_000, energy_wh: 31_337, roaming: false };
    let shares = split(&contract, &base);
    let mut accrual = Accrual::default();
    for _ in 0..100 {
        accrual.add(&base, &shares);
    }
    accrual.subtract(&base, &shares);
    assert_eq!((accrual.sessions, accrual.net, accrual.energy_wh), (99, 495_000, 99 * 31_337));
    let fund = contract.party_id("fund").unwrap();
    assert_eq!(accrual.of(fund), 99 * 899);
    let (psp, cpo) = (contract.party_id("psp").unwrap(), contract.party_id("cpo").unwrap());
    let fee = Settlement {
        party: psp,
        payer: cpo,
        purpose: Purpose::Payment,
        is_guarantee: false,
        amount: 5_000,
    };
    let (purpose, is_guarantee) = (Purpose::Partner, true);
    let lacks = Settlement { party: fund, payer: cpo, purpose, is_guarantee, amount: 10_999 };
    assert_eq!(close_period(&contract, &accrual), [lacks, fee]);
    for _ in 0..50 {
        accrual.add(&base, &shares);
    }
    assert_eq!(close_period(&contract, &accrual), [fee], "the guarantee is reached");
    let nothing = close_period(&contract, &Accrual::default());
    assert_eq!(nothing, [Settlement { amount: 100_000, ..lacks }, fee]);
}

#[test]
fn a_contract_explains_itself() {
    let words = explain(&with_terms());
    assert_eq!(
        words,
        "Contract gross-and-cost-plus in KWD, for sessions from 2026-01-01 until 2027-01-01.\n\
         The price before tax of each session is shared in this order:\n\
         1. psp gets 1.4 % of the price with tax (payment fee).\n\
         2. fund gets 0.0255 KWD per kWh and a margin of 12.5 % on it (partner's share).\n\
         cpo gets what is left (operator's revenue).\n\
         If fund gets less than 100.000 KWD in a period, cpo makes up the difference.\n\
         cpo pays psp 5.000 KWD each period (payment fee).\n"
    );
}

#[test]
fn wrong_contracts_are_refused_by_the_field_that_is_wrong() {
    let good = r#"
id = "c"
from = "2026-01-01T00:00:00Z"
currency = "EUR"
parties = ["a", "b"]
residual = "a"
steps = [{ party = "b", purpose = "platform", rule = "percent_of_net", percent = "60" }]
terms = [{ term = "minimum_guarantee", party = "b", payer = "a", amount = "10" }]
"#;
    assert!(RevenueContract::from_toml(good).is_ok());
    for (from, to, field) in [
        ("id = \"c\"", "id = \"\"", "contract's id"),
        ("id = \"c\"\n", "", "missing field `id`"),
        ("2026-01-01T00:00:00Z", "yesterday", "contract's from"),
        ("\nparties", "\nuntil = \"2026-01-01T00:00:00Z\"\nparties", "contract's until"),
        ("EUR", "EUX", "contract's currency"),
        ("[\"a\", \"b\"]", "[\"a\", \"b\", \"a\"]", "contract's parties[2]"),
        ("residual = \"a\"", "residual = \"x\"", "contract's residual"),
        ("party = \"b\", purpose", "party = \"x\", purpose", "contract's steps[0].party"),
        ("\"platform\"", "\"profit\"", "unknown variant `profit`"),
        ("percent = \"60\"", "percent = 60", "invalid type"),
        ("percent = \"60\"", "percent = \"-1\"", "contract's steps[0].percent"),
        ("percent = \"60\"", "percent = \"60.00001\"", "contract's steps[0].percent"),
        ("percent = \"60\"", "percent = \"100.1\"", "contract's steps[0].percent"),
        ("percent = \"60\"", "price = \"60\"", "contract's steps[0].percent"),
        ("percent = \"60\"", "percent = \"60\", price = \"1\"", "contract's steps[0].price"),
        ("payer = \"a\"", "payer = \"b\"", "contract's terms[0].payer"),
        ("amount = \"10\"", "amount = \"10.001\"", "contract's terms[0].amount"),
        ("amount = \"10\"", "amount = \"1\", purpose = \"grid\"", "contract's terms[0].purpose"),
        ("minimum_guarantee", "fixed_fee", "contract's terms[0].purpose"),
        ("id = \"c\"", "id = \"c\"\ncolour = \"red\"", "unknown field `colour`"),
    ] {
        let text = good.replace(from, to);
        assert_ne!(text, good, "{from}");
        let error = RevenueContract::from_toml(&text).expect_err(&text);
        assert!(matches!(error, SettlementError::Contract { .. }));
        assert!(error.to_string().contains(field), "{error}");
    }
    let step =
        "{ party = \"b\", purpose = \"platform\", rule = \"percent_of_net\", percent = \"60\" }";
    let twice = good.replace(step, &format!("{step}, {step}"));
    let error = RevenueContract::from_toml(&twice).unwrap_err().to_string();
    assert!(error.contains("above 100 %"), "{error}");
    let many = good.replace(step, &[&step.replace("60", "1")[..]; 17].join(", "));
    let error = RevenueContract::from_toml(&many).unwrap_err().to_string();
    assert!(error.contains("at most 16"), "{error}");
}

#[test]
fn a_contract_reads_the_same_from_json() {
    let text: novax_settlement::ContractText = serde_json::from_str(
        r#"{"id":"c","from":"2026-01-01T00:00:00Z","currency":"EUR","parties":["a","b"],"residual":"a",
            "steps":[{"party":"b","purpose":"grid","rule":"per_kwh","price":"0.031"}]}"#,
    )
    .unwrap();
    let contract = RevenueContract::try_from(&text).unwrap();
    let step = contract.steps[0];
    assert_eq!(step.rule, Rule::PerKwh { price: Micros(31_000) });
    assert_eq!(contract.until, Timestamp::MAX);
}

fn rules() -> impl Strategy<Value = Rule> {
    prop_oneof![
        (0_u32..=60_000).prop_map(|ppm| Rule::PercentOfNet { ppm }),
        (0_u32..=1_000_000).prop_map(|ppm| Rule::PercentOfGross { ppm }),
        (0_u32..=1_000_000).prop_map(|ppm| Rule::PercentOfRest { ppm }),
        (0_i128..20_000_000).prop_map(|n| Rule::FixedPerSession { amount: Micros(n) }),
        (0_i128..1_000_000).prop_map(|n| Rule::PerKwh { price: Micros(n) }),
        (0_i128..1_000_000, 0_u32..1_000_000)
            .prop_map(|(n, margin_ppm)| Rule::CostPlus { cost_per_kwh: Micros(n), margin_ppm }),
    ]
}

fn contract_of(rules: &[(Rule, bool)], code: &str) -> RevenueContract {
    let steps = (1..).zip(rules).map(|(place, (rule, roaming_only))| Step {
        party: PartyId(place),
        purpose: Purpose::Partner,
        rule: *rule,
        roaming_only: *roaming_only,
    });
    let parties = (0..=rules.len()).map(|place| Identity::new(&format!("p{place}")).unwrap());
    RevenueContract {
        id: Identity::new("c").unwrap(),
        from: Timestamp(0),
        until: Timestamp::MAX,
        currency: Currency::new(code).unwrap(),
        parties: parties.collect(),
        residual: PartyId(0),
        residual_purpose: Purpose::Operator,
        steps: steps.collect(),
        terms: vec![Term::MinimumGuarantee { party: PartyId(1), payer: PartyId(0), amount: 1 }],
    }
}

/// What a step asks for in billionths of a minor unit, worked out the long way.
fn exact(rule: Rule, base: &Base, rest: u128, code: &str) -> u128 {
    let nano = 1_000_000_000;
    let per_minor: u128 = match code {
        "JPY" => 1_000_000,
        "KWD" => 1_000,
        _ => 10_000,
    };
    let micros = |amount: Micros| u128::try_from(amount.0).unwrap();
    match rule {
        Rule::PercentOfNet { ppm } => base.net * u128::from(ppm) * (nano / 1_000_000),
        Rule::PercentOfGross { ppm } => base.gross * u128::from(ppm) * (nano / 1_000_000),
        Rule::PercentOfRest { ppm } => rest * u128::from(ppm) * (nano / 1_000_000),
        Rule::FixedPerSession { amount } => micros(amount) * nano / per_minor,
        Rule::PerKwh { price } => {
            micros(price) * u128::from(base.energy_wh) * nano / 1_000 / per_minor
        }
        Rule::CostPlus { cost_per_kwh, margin_ppm } => {
            let factor = 1_000_000 + u128::from(margin_ppm);
            micros(cost_per_kwh) * u128::from(base.energy_wh) * factor / per_minor
        }
    }
}

proptest! {
    #[test]
    fn shares_sum_to_the_net_and_each_step_gets_what_it_asks_for_or_what_is_left(
        rules in proptest::collection::vec((rules(), any::<bool>()), 1..10),
        net in 0_u128..1 << 40, tax in 0_u128..1 << 30, energy_wh in 0_u64..1_000_000,
        roaming in any::<bool>(), code in 0_usize..3,
    ) {
        let code = ["EUR", "JPY", "KWD"][code];
        let contract = contract_of(&rules, code);
        prop_assert_eq!(contract.check(), Ok(()));
        let base = Base { gross: net + tax, net, energy_wh, roaming };
        let shares = split(&contract, &base);
        prop_assert_eq!(shares.iter().map(|share| share.amount).sum::<u128>(), net);
        prop_assert!(shares.iter().all(|share| share.amount > 0));
        let got = |place: usize| {
            let of = |share: &&Share| usize::from(share.party.0) == place;
            shares.iter().filter(of).map(|share| share.amount).sum::<u128>()
        };
        let mut rest = net;
        for (place, (rule, roaming_only)) in (1..).zip(&rules) {
            let taken = roaming || !roaming_only;
            let asked = if taken { exact(*rule, &base, rest, code) } else { 0 };
            let nano = 1_000_000_000;
            // Rounded to a neighbour, whichever the largest remainders chose; and never past the rest.
            let (low, high) = (asked / nano, asked.div_ceil(nano));
            prop_assert!((low.min(rest)..=high.min(rest)).contains(&got(place)), "step {place}");
            rest -= got(place);
        }
        prop_assert_eq!(got(0), rest);
        let mut accrual = Accrual::default();
        accrual.add(&base, &shares);
        prop_assert_eq!(accrual.by_party.iter().sum::<u128>(), net);
    }

    #[test]
    fn percentages_that_are_everything_leave_nothing_whatever_the_net(
        weights in proptest::collection::vec(1_u32..1_000, 2..10), net in 0_u128..1 << 40,
    ) {
        let total: u32 = weights.iter().sum();
        let mut parts: Vec<u32> = weights.iter().map(|weight| weight * (1_000_000 / total)).collect();
        parts[0] += 1_000_000 - parts.iter().sum::<u32>();
        let rules: Vec<_> =
            parts.iter().map(|ppm| (Rule::PercentOfNet { ppm: *ppm }, false)).collect();
        let contract = contract_of(&rules, "EUR");
        let shares = split(&contract, &Base { gross: net, net, energy_wh: 0, roaming: false });
        prop_assert!(shares.iter().all(|share| share.party != contract.residual));
    }
}

#[test]
fn the_largest_amounts_split_without_overflow() {
    let rules = [
        (Rule::PercentOfNet { ppm: 333_333 }, false),
        (Rule::PerKwh { price: novax_settlement::contract::PRICE_MAX }, false),
        (Rule::PercentOfRest { ppm: 1_000_000 }, false),
    ];
    let contract = contract_of(&rules, "CLF");
    let base = Base { gross: u128::MAX, net: u128::MAX, energy_wh: u64::MAX, roaming: true };
    let shares = split(&contract, &base);
    assert_eq!(shares.iter().map(|share| share.amount).sum::<u128>(), u128::MAX);
    assert_eq!(shares.len(), 3);
}
