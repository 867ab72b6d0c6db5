//! The rule book against what `docs/pricing.md` promises.

use super::*;
use crate::{Adjustment, Language, Zone};
use novax_model::{Decicelsius, Micros, Timestamp};
use proptest::prelude::*;

const HEAD: &str = "pricing 1\nbook \"test\"\ncurrency EUR\ncombine first\n\
    bound factor 0.5 .. 1.5\nbound add -0.10 .. 0.20 per kWh\n";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// A Sunday, 23:30 in Berlin.
fn night() -> Timestamp {
    at("2026-11-22T22:30:00Z")
}

fn book(rules: &str) -> RuleBook {
    RuleBook::parse(&format!("{HEAD}{rules}")).unwrap()
}

fn ask(book: &RuleBook, signals: &Signals, at: Timestamp) -> Quote {
    let zone = Zone::get("Europe/Berlin").unwrap();
    book.evaluate(signals, at, zone.offset_at(at).local(at))
}

#[test]
fn the_manuals_example_is_a_book_and_prices_as_the_manual_says() {
    let manual = include_str!("../../../docs/pricing.md");
    let text = manual.split("```pricing\n").nth(1).unwrap().split("```").next().unwrap();
    let book = RuleBook::parse(text).unwrap();
    let signals = Signals::of_site("BER-1").renewable_ppm(830_000, night());
    let signals = signals.temperature(Decicelsius(-72), night()).load_ppm(600_000, night());
    let signals = signals.day_ahead_micros_per_mwh(60_000_000, night());
    let quote = ask(&book, &signals, night());
    assert_eq!(quote.book, book.hash());
    assert_eq!(quote.adjustment.energy(Micros(400_000)), Micros(330_000));
    let expected = manual.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let words: Vec<String> = Language::ALL.iter().map(|one| quote.words(*one)).collect();
    assert_eq!(words.join("\n") + "\n", expected);
}

#[test]
fn the_first_rule_wins_or_all_stack() {
    let rules = "rule a\n when time 22:00-06:00\n then factor 0.8\n\
        rule b\n when always\n then factor 1.25 and add 0.05 per kWh\n";
    let first = ask(&book(rules), &Signals::default(), night()).adjustment;
    assert_eq!((first.factor_ppm, first.add_micros_per_kwh), (800_000, 0));
    let text = format!("{HEAD}{rules}").replace("combine first", "combine stack");
    let stack = ask(&RuleBook::parse(&text).unwrap(), &Signals::default(), night()).adjustment;
    assert_eq!((stack.factor_ppm, stack.add_micros_per_kwh), (1_000_000, 50_000));
    let noon = ask(&book(rules), &Signals::default(), at("2026-11-22T11:00:00Z"));
    assert_eq!(noon.adjustment.factor_ppm, 1_250_000);
}

#[test]
fn a_signal_gone_mad_cannot_gouge() {
    let mad = "signal day-ahead max age 1 h else skip\n\
        rule market\n when always\n then follow day-ahead from 80 per MWh share 100 %\n";
    let signals = Signals::default().day_ahead_micros_per_mwh(90_000_000_000, night());
    let quote = ask(&book(mad), &signals, night());
    assert_eq!(quote.adjustment.add_micros_per_kwh, 200_000, "the bound of the book");
    assert_eq!(
        quote.reasons.last(),
        Some(&Reason::Bounded { bound: Bound::Add, wanted: 89_920_000, given: 200_000 })
    );
    let impossible = Signals::default().day_ahead_micros_per_mwh(i64::MAX, night());
    let quote = ask(&book(mad), &impossible, night());
    assert!(quote.adjustment == Adjustment::NONE, "a value that cannot be is not believed");
    assert_eq!(
        quote.words(Language::En),
        "The day-ahead price is reported as 9223372036854.775807 EUR per MWh, which cannot be: \
         rules that read it do not apply. The price is as listed: no rule applies now."
    );
}

#[test]
fn a_bad_signal_has_the_outcome_the_book_states() {
    let rules = |fallback: &str| {
        book(&format!(
            "signal load max age 2 min else {fallback}\n\
             rule busy\n when load >= 80 %\n then factor 1.2\nrule any\n when always\n then factor 1.1\n"
        ))
    };
    let factor = |fallback: &str, signals: &Signals| {
        ask(&rules(fallback), signals, night()).adjustment.factor_ppm
    };
    let age = |us: u64| Signals::default().load_ppm(900_000, Timestamp(night().0 - us));
    let (fresh, stale) = (age(120_999_999), age(121_000_000));
    let ahead = Signals::default().load_ppm(900_000, Timestamp(night().0 + 300_000_001));
    let impossible = Signals::default().load_ppm(5_000_001, night());
    assert_eq!(factor("skip", &fresh), 1_200_000);
    for bad in [Signals::default(), stale, ahead, impossible] {
        assert_eq!(factor("skip", &bad), 1_100_000);
        assert_eq!(factor("listed", &bad), 1_000_000);
        assert_eq!(factor("assume 80 %", &bad), 1_200_000);
        assert_eq!(factor("assume 79.9999 %", &bad), 1_100_000);
    }
}

#[test]
fn a_signal_that_no_rule_reads_changes_nothing() {
    let book =
        book("signal load max age 2 min else listed\nrule a\n when always\n then factor 1.1\n");
    let quote = ask(&book, &Signals::default(), night());
    assert_eq!((quote.adjustment.factor_ppm, quote.reasons.len()), (1_100_000, 1));
}

#[test]
fn conditions_are_the_local_clock_and_the_place() {
    let cheap = |condition: &str, signals: &Signals, time: &str| {
        let book = book(&format!("rule a\n when {condition}\n then factor 0.5\n"));
        ask(&book, signals, at(time)).adjustment.factor_ppm == 500_000
    };
    let none = Signals::default();
    for (condition, time, holds) in [
        ("time 22:00-06:00", "2026-11-22T21:00:00Z", true),
        ("time 22:00-06:00", "2026-11-22T20:59:59Z", false),
        ("time 22:00-06:00", "2026-11-22T04:59:59Z", true),
        ("time 22:00-06:00", "2026-11-22T05:00:00Z", false),
        ("time 22:00-24:00", "2026-11-22T22:59:59Z", true),
        ("time 22:00-00:00", "2026-11-22T23:00:00Z", false),
        ("days sun", "2026-11-22T22:59:59Z", true),
        ("days sun", "2026-11-22T23:00:00Z", false),
        ("days fri-mon", "2026-11-22T23:00:00Z", true),
        ("days tue, wed-thu", "2026-11-22T23:00:00Z", false),
        ("dates 2026-11-23 .. 2026-11-23", "2026-11-22T23:00:00Z", true),
        ("dates 2026-11-23..2026-11-23", "2026-11-23T23:00:00Z", false),
    ] {
        assert_eq!(cheap(condition, &none, time), holds, "{condition} {time}");
    }
    let place = Signals::of_site("BER-1").tag("fast");
    for (condition, holds) in [
        ("site BER-1", true),
        ("site \"BER-2\", BER-3", false),
        ("tag slow, fast", true),
        ("no tag fast", false),
        ("no tag slow", true),
        ("site BER-1 and tag fast and no tag slow", true),
    ] {
        assert_eq!(cheap(condition, &place, "2026-11-22T22:59:59Z"), holds, "{condition}");
    }
}

#[test]
fn the_ceiling_wins_over_the_floor_and_says_so() {
    let text = format!(
        "{HEAD}bound price 0.10 .. 0.60 per kWh\nrule a\n when always\n then floor 0.70 per kWh\n"
    );
    let quote = ask(&RuleBook::parse(&text).unwrap(), &Signals::default(), night());
    assert_eq!(quote.adjustment.energy(Micros(400_000)), Micros(600_000));
    assert_eq!(quote.reasons.len(), 2);
    assert!(quote.words(Language::De).ends_with("es gilt 0,60 EUR je kWh."));
}

#[test]
fn a_quote_is_a_row() {
    let book = book("rule a\n when time 22:00-06:00\n then factor 0.8\n");
    let quote = ask(&book, &Signals::default(), night());
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&quote).unwrap();
    assert_eq!(rkyv::from_bytes::<Quote, rkyv::rancor::Error>(&bytes).unwrap(), quote);
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&book).unwrap();
    assert_eq!(rkyv::from_bytes::<RuleBook, rkyv::rancor::Error>(&bytes).unwrap(), book);
}

#[test]
fn faults_are_told_with_line_column_and_a_sentence() {
    let cases = include_str!("../../testdata/rule_faults.txt");
    let mut seen = 0;
    for case in cases.split("\n====\n").skip(1) {
        let (text, expected) = case.split_once("\n----\n").unwrap();
        let text = text.replace("HEAD\n", HEAD);
        let refused = RuleBook::parse(&text).expect_err(&text);
        assert_eq!(refused.to_string(), expected.trim(), "{text}");
        seen += 1;
    }
    assert!(seen >= 25, "only {seen} cases were read");
}

#[test]
fn what_is_too_much_is_refused() {
    let long = format!("{HEAD}#{}", "x".repeat(TEXT_MAX_BYTES));
    assert_eq!(RuleBook::parse(&long).unwrap_err().fault, RuleFault::TooLong);
    let rule = |i: usize| format!("rule r{i}\n when time 01:00-02:00\n then factor 1\n");
    let many: String = (0..=RULES_MAX).map(rule).collect();
    let refused = RuleBook::parse(&format!("{HEAD}{many}")).unwrap_err();
    assert_eq!(refused.fault, RuleFault::TooMany { what: "rules", most: RULES_MAX });
    let many: String = (0..RULES_MAX).map(rule).collect();
    assert_eq!(book(&many).rules.len(), RULES_MAX);
    let when = format!("rule a\n{}", " when days mon\n".repeat(CONDITIONS_MAX + 1));
    let refused = RuleBook::parse(&format!("{HEAD}{when}")).unwrap_err();
    assert_eq!((refused.line, refused.column), (8 + 16, 12));
}

fn conditions() -> impl Strategy<Value = Condition> {
    let compare = prop_oneof![
        Just(Compare::Below),
        Just(Compare::AtMost),
        Just(Compare::AtLeast),
        Just(Compare::Above)
    ];
    let names = prop::collection::vec("[a-zA-Z0-9 #,%<>.äß站-]{1,12}".prop_map(Into::into), 1..4);
    let tags = prop::collection::vec("[a-c]".prop_map(Into::into), 1..3);
    prop_oneof![
        (0_u16..1_440, 1_u16..=1_440).prop_filter_map("a range", |(from, until)| {
            (from != until).then_some(Condition::Time { from, until })
        }),
        (1_u8..128).prop_map(Condition::Days),
        (0_i32..40_000, 0_i32..40_000).prop_map(|(a, b)| Condition::Dates {
            first: crate::Day(a.min(b)),
            last: crate::Day(a.max(b)),
        }),
        names.prop_map(Condition::Site),
        tags.clone().prop_map(Condition::Tag),
        tags.prop_map(Condition::NoTag),
        (signal_values(), compare).prop_map(|((kind, threshold), compare)| Condition::Signal {
            kind,
            compare,
            threshold
        }),
    ]
}

fn signal_values() -> impl Strategy<Value = (SignalKind, i64)> {
    prop_oneof![
        (-900_i64..=700).prop_map(|v| (SignalKind::Temperature, v)),
        (0_i64..=5_000_000).prop_map(|v| (SignalKind::Load, v)),
        (0_i64..=1_000_000).prop_map(|v| (SignalKind::Renewable, v)),
        (-100_000_000_000_i64..=100_000_000_000).prop_map(|v| (SignalKind::DayAhead, v)),
    ]
}

fn effects() -> impl Strategy<Value = Effect> {
    prop_oneof![
        (0..=FACTOR_MAX_PPM).prop_map(Effect::Factor),
        (0..=FACTOR_MAX_PPM).prop_map(Effect::TimeFactor),
        (-1_000_000_000_i64..=1_000_000_000).prop_map(Effect::Add),
        (0_i64..=1_000_000_000).prop_map(Effect::Floor),
        (0_i64..=1_000_000_000).prop_map(Effect::Ceiling),
        (-100_000_000_000_i64..=100_000_000_000, 1_u32..=2_000_000)
            .prop_map(|(from, share_ppm)| Effect::Follow { from, share_ppm }),
    ]
}

/// Any book that can be written down.
fn books() -> impl Strategy<Value = RuleBook> {
    let rules = prop::collection::vec(
        (prop::collection::vec(conditions(), 1..5), prop::collection::vec(effects(), 1..5)),
        0..6,
    );
    let fallback = prop_oneof![Just(Fallback::Skip), Just(Fallback::Listed)];
    let ages = prop::collection::vec((1_u32..=604_800, fallback), 4);
    (rules, ages, any::<bool>(), 0_u32..=1_000_000, 1_000_000..=FACTOR_MAX_PPM).prop_map(
        |(rules, ages, stack, least, most)| {
            let signals = SignalKind::ALL.iter().zip(ages).map(|(kind, (age_max_s, fallback))| {
                SignalPolicy { kind: *kind, age_max_s, fallback }
            });
            let rules = rules.into_iter().enumerate().map(|(i, (conditions, effects))| Rule {
                name: format!("rule {i}").into(),
                conditions,
                effects,
            });
            RuleBook {
                name: "any".into(),
                currency: novax_model::Currency::EUR,
                combine: if stack { Combine::Stack } else { Combine::First },
                bounds: Bounds {
                    factor_min_ppm: least,
                    factor_max_ppm: most,
                    add_min_micros: -100_000,
                    add_max_micros: 200_000,
                    price_min_micros: Some(50_000),
                    price_max_micros: Some(950_000),
                },
                signals: signals.collect(),
                rules: rules.collect(),
                hash: RuleHash::default(),
            }
        },
    )
}

fn any_signals() -> impl Strategy<Value = Signals> {
    let sample = || prop::option::of((any::<i64>(), any::<u64>()));
    let near = || prop::option::of((-100_i64..2_000_000, 0_u64..10_000_000_000));
    let one = || prop_oneof![sample(), near()];
    (one(), one(), one(), one(), prop::collection::vec("[a-c]", 0..3)).prop_map(
        |(a, b, c, d, tags)| {
            let sample = |one: Option<(i64, u64)>| {
                one.map(|(value, ago)| Sample {
                    value,
                    at: Timestamp(night().0.saturating_sub(ago)),
                })
            };
            Signals {
                site: "BER-1".into(),
                tags: tags.into_iter().map(Into::into).collect(),
                temperature: sample(a),
                load: sample(b),
                day_ahead: sample(c),
                renewable: sample(d),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_reads_back_as_the_same_book(book in books()) {
        let text = book.to_text();
        let read = RuleBook::parse(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(read.to_text(), text);
        prop_assert_eq!(&read.rules, &book.rules);
        prop_assert_eq!(read.bounds, book.bounds);
        prop_assert_eq!(read.signals, book.signals);
        prop_assert_ne!(read.hash, RuleHash::default());
    }

    #[test]
    fn no_signal_moves_a_price_past_the_bounds(
        book in books(), signals in any_signals(), listed in 0_i64..2_000_000,
        minute in 0_u64..2_000_000,
    ) {
        let at = Timestamp(night().0 + minute * 60_000_000);
        let quote = ask(&book, &signals, at);
        prop_assert!(!quote.reasons.is_empty());
        for language in Language::ALL {
            prop_assert!(!quote.words(language).is_empty());
        }
        let bounds = book.bounds;
        let adjust = quote.adjustment;
        prop_assert!((bounds.factor_min_ppm..=bounds.factor_max_ppm).contains(&adjust.factor_ppm));
        prop_assert!(
            (bounds.factor_min_ppm..=bounds.factor_max_ppm).contains(&adjust.time_factor_ppm)
        );
        let price = adjust.energy(Micros(listed.into())).0;
        if adjust == Adjustment::NONE {
            prop_assert_eq!(price, i128::from(listed));
        } else {
            prop_assert!((0..=950_000).contains(&price), "{}", price);
        }
        prop_assert_eq!(ask(&book, &signals, at), quote, "the same question, the same answer");
    }

    #[test]
    fn a_quote_holds_until_the_next_boundary(
        book in books(), start in 0_u64..40_000_000, part in 0_u64..1_000,
    ) {
        // From 2025 on, through changes of the clock; signals are always fresh.
        let zone = Zone::get("Europe/Berlin").unwrap();
        let at = Timestamp(1_735_689_600_000_000 + start * 1_000_000);
        let ask = |at: Timestamp| {
            let signals = Signals::of_site("x").tag("a").temperature(Decicelsius(50), at);
            let signals = signals.load_ppm(500_000, at).renewable_ppm(500_000, at);
            let signals = signals.day_ahead_micros_per_mwh(80_000_000, at);
            book.evaluate(&signals, at, zone.offset_at(at).local(at))
        };
        match book.next_boundary(at, &zone) {
            Some(until) => {
                prop_assert!(until > at);
                let within = Timestamp(at.0 + (until.0 - 1 - at.0) / 1_000 * part);
                prop_assert_eq!(ask(within), ask(at));
                prop_assert_eq!(ask(Timestamp(until.0 - 1)), ask(at));
            }
            None => prop_assert_eq!(ask(Timestamp(at.0 + part * 86_400_000_000)), ask(at)),
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(
        text in "(pricing 1\n)?([a-z]{1,8}|[ \n\",.%<>=#-]|[0-9.:-]{1,6}|when|then|rule){0,40}",
    ) {
        let _ = RuleBook::parse(&text);
        let _ = RuleBook::parse(&format!("{HEAD}rule a\n when {text}"));
        let _ = RuleBook::parse(&format!("{HEAD}rule a\n then {text}"));
    }
}
