//! The rule file: read line by line, refused with line, column and a sentence.
//!
//! Nothing of a file that has a fault is used. `docs/pricing.md` is the manual of the language.

use super::book::{
    Bounds, CONDITIONS_MAX, Combine, Compare, Condition, EFFECTS_MAX, Effect, FACTOR_MAX_PPM,
    Fallback, NAME_MAX_CHARS, PPM, RULES_MAX, Rule, RuleBook, RuleHash, SignalPolicy,
    TEXT_MAX_BYTES,
};
use super::scan::{Cursor, minutes, scan};
use super::signals::SignalKind;
use crate::model::Day;
use novax_model::Currency;

/// The most an amount per kWh may be: a thousand of the major unit.
const PER_KWH_MAX_MICROS: i64 = 1_000_000_000;
/// The most names that one condition lists.
const NAMES_MAX: usize = 64;
/// The oldest a signal may be allowed to be: a week.
const AGE_MAX_S: i64 = 7 * 86_400;

/// What is wrong with a rule file and where. The fault is always its author's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {fault}")]
pub struct RuleError {
    /// Line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub fault: RuleFault,
}

impl RuleError {
    /// The sentence without the place.
    #[must_use]
    pub fn words(&self) -> String {
        self.fault.to_string()
    }
}

/// What a rule file can have wrong. The author of the file must correct it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleFault {
    /// The file is longer than any book has reason to be.
    #[error("the file has more than {TEXT_MAX_BYTES} bytes; split the book")]
    TooLong,
    /// The first statement does not name the version of the language.
    #[error("a rule file begins with the line `pricing 1`")]
    Version,
    /// A quoted name does not end on its line.
    #[error("this quoted name has no closing quote")]
    OpenText,
    /// A word stands where the language has none.
    #[error("found {found:?} where {expected} belongs")]
    Unexpected {
        /// What stands there.
        found: String,
        /// What could.
        expected: String,
    },
    /// The line ends too early.
    #[error("the line ends where {expected} belongs")]
    Missing {
        /// What is missing.
        expected: String,
    },
    /// A number that is none, or has more decimals than are kept.
    #[error("{found:?} is not a number with a point and at most {places} decimals for {what}")]
    Number {
        /// What stands there.
        found: String,
        /// What the number is for.
        what: String,
        /// Decimals kept.
        places: u32,
    },
    /// A number that would do harm or make no sense.
    #[error("{what} must lie between {least} and {most}")]
    OutOfRange {
        /// What the number is for.
        what: String,
        /// Least allowed.
        least: String,
        /// Most allowed.
        most: String,
    },
    /// The lower end of a range stands above the upper, or both are the same.
    #[error("the range of {what} is empty: its end does not lie after its beginning")]
    EmptyRange {
        /// Of what.
        what: String,
    },
    /// A bound that forbids the price as listed.
    #[error("the bound of {what} must include {neutral}, the price as listed")]
    BoundWithoutListed {
        /// Which bound.
        what: String,
        /// The value that changes nothing.
        neutral: String,
    },
    /// A statement that may stand once stands twice.
    #[error("{what} is already stated above")]
    Twice {
        /// What.
        what: String,
    },
    /// A name that is empty or too long, or has signs in it that do not print.
    #[error("a name has 1 to {NAME_MAX_CHARS} characters, all of which print")]
    Name,
    /// The currency is not one of ISO 4217.
    #[error("{0:?} is not a known ISO 4217 currency code")]
    Currency(String),
    /// A statement that every book must have is not there.
    #[error("the book does not state `{0}`; every book must")]
    Unstated(&'static str),
    /// A rule reads a signal that has no policy.
    #[error(
        "rule {rule:?} reads {signal}, but no line `signal {signal} max age ... else ...` says \
         what holds when it fails"
    )]
    NoPolicy {
        /// The rule.
        rule: String,
        /// The signal's word.
        signal: &'static str,
    },
    /// A condition or effect stands before the first rule.
    #[error("`{0}` must stand under a rule")]
    OutsideRule(&'static str),
    /// A rule does nothing.
    #[error("rule {0:?} has no `then`: it does nothing")]
    NoEffect(String),
    /// A rule does not say when it applies.
    #[error("rule {0:?} has no `when`; write `when always` if it has no condition")]
    NoCondition(String),
    /// More of something than a reader could follow.
    #[error("more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many may be.
        most: usize,
    },
    /// A rule that can never apply.
    #[error("rule {rule:?} can never apply: {by:?} above it always does, and the first wins")]
    Unreachable {
        /// The rule.
        rule: String,
        /// The one before it.
        by: String,
    },
}

impl RuleFault {
    /// At a place.
    pub(super) fn at(self, line: u32, column: u32) -> RuleError {
        RuleError { line, column, fault: self }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Draft {
    name: Option<Box<str>>,
    currency: Option<Currency>,
    combine: Option<Combine>,
    factor: Option<(u32, u32)>,
    add: Option<(i64, i64)>,
    price: Option<(i64, i64)>,
    signals: Vec<SignalPolicy>,
    /// Each with its line, and whether it said `when`.
    rules: Vec<(u32, bool, Rule)>,
}

impl RuleBook {
    /// Reads a rule file.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn parse(text: &str) -> Result<RuleBook, RuleError> {
        if text.len() > TEXT_MAX_BYTES {
            return Err(RuleFault::TooLong.at(0, 1));
        }
        let mut draft = Draft::default();
        let mut begun = false;
        let mut last = 1;
        for (index, text) in text.lines().enumerate() {
            let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let mut cursor = scan(line, text)?;
            if cursor.is_done() {
                continue;
            }
            last = line;
            if !begun {
                if !(cursor.take("pricing") && cursor.take("1")) {
                    return Err(RuleFault::Version.at(line, 1));
                }
                begun = true;
            } else {
                draft.statement(line, &mut cursor)?;
            }
            cursor.end()?;
        }
        if !begun {
            return Err(RuleFault::Version.at(last, 1));
        }
        draft.finish(last)
    }
}

impl Draft {
    fn statement(&mut self, line: u32, cursor: &mut Cursor) -> Result<(), RuleError> {
        if cursor.take("when") {
            return self.when(cursor);
        }
        if cursor.take("then") {
            return self.then(cursor);
        }
        if cursor.take("rule") {
            return self.rule(line, cursor);
        }
        if cursor.take("bound") {
            return self.bound(cursor);
        }
        if cursor.take("signal") {
            return self.signal(cursor);
        }
        if cursor.take("book") {
            let name = name(cursor)?;
            return once(&mut self.name, name, "the name of the book", cursor);
        }
        if cursor.take("currency") {
            let code = cursor.token("a currency code")?.text;
            let currency = Currency::new(&code)
                .map_err(|_| cursor.fault_before(RuleFault::Currency(code.clone())))?;
            return once(&mut self.currency, currency, "the currency", cursor);
        }
        if cursor.take("combine") {
            let combine = if cursor.take("first") {
                Combine::First
            } else if cursor.take("stack") {
                Combine::Stack
            } else {
                return Err(cursor.unexpected("`first` or `stack`"));
            };
            return once(&mut self.combine, combine, "how rules combine", cursor);
        }
        Err(cursor.unexpected(
            "`book`, `currency`, `combine`, `bound`, `signal`, `rule`, `when` or `then`",
        ))
    }

    fn bound(&mut self, cursor: &mut Cursor) -> Result<(), RuleError> {
        if cursor.take("factor") {
            let (least, most) = range(cursor, "the factor", 0..=i64::from(FACTOR_MAX_PPM))?;
            if !(least..=most).contains(&i64::from(PPM)) {
                let (what, neutral) = ("the factor".into(), "1".into());
                return Err(cursor.fault_before(RuleFault::BoundWithoutListed { what, neutral }));
            }
            let pair = (ppm(least), ppm(most));
            return once(&mut self.factor, pair, "the bound of the factor", cursor);
        }
        if cursor.take("add") {
            let all = -PER_KWH_MAX_MICROS..=PER_KWH_MAX_MICROS;
            let (least, most) = range(cursor, "the addition", all)?;
            cursor.expect(&["per", "kWh"])?;
            if !(least..=most).contains(&0) {
                let (what, neutral) = ("the addition".into(), "0".into());
                return Err(cursor.fault_before(RuleFault::BoundWithoutListed { what, neutral }));
            }
            return once(&mut self.add, (least, most), "the bound of the addition", cursor);
        }
        if cursor.take("price") {
            let pair = range(cursor, "the price", 0..=PER_KWH_MAX_MICROS)?;
            cursor.expect(&["per", "kWh"])?;
            return once(&mut self.price, pair, "the bound of the price", cursor);
        }
        Err(cursor.unexpected("`factor`, `add` or `price`"))
    }

    fn signal(&mut self, cursor: &mut Cursor) -> Result<(), RuleError> {
        let kind = kind(cursor).ok_or_else(|| {
            cursor.unexpected("`temperature`, `load`, `day-ahead` or `renewable`")
        })?;
        if self.signals.iter().any(|policy| policy.kind == kind) {
            let what = format!("signal {}", kind.word());
            return Err(cursor.fault_before(RuleFault::Twice { what }));
        }
        cursor.expect(&["max", "age"])?;
        let number = cursor.number("the age", 0, 1..=AGE_MAX_S)?;
        let unit_s = match () {
            () if cursor.take("s") => 1,
            () if cursor.take("min") => 60,
            () if cursor.take("h") => 3_600,
            () => return Err(cursor.unexpected("`s`, `min` or `h`")),
        };
        let age = u32::try_from(number * unit_s).ok().filter(|age| i64::from(*age) <= AGE_MAX_S);
        let age_max_s = age.ok_or_else(|| {
            let (what, least, most) = ("the age".into(), "1 s".into(), "168 h".into());
            cursor.fault_before(RuleFault::OutOfRange { what, least, most })
        })?;
        cursor.expect(&["else"])?;
        let fallback = if cursor.take("skip") {
            Fallback::Skip
        } else if cursor.take("listed") {
            Fallback::Listed
        } else if cursor.take("assume") {
            Fallback::Assume(signal_value(cursor, kind)?)
        } else {
            return Err(cursor.unexpected("`skip`, `listed` or `assume`"));
        };
        self.signals.push(SignalPolicy { kind, age_max_s, fallback });
        Ok(())
    }

    fn rule(&mut self, line: u32, cursor: &mut Cursor) -> Result<(), RuleError> {
        let name = name(cursor)?;
        if self.rules.iter().any(|(_, _, rule)| rule.name == name) {
            let what = format!("rule {name:?}");
            return Err(cursor.fault_before(RuleFault::Twice { what }));
        }
        if self.rules.len() >= RULES_MAX {
            return Err(cursor.fault(RuleFault::TooMany { what: "rules", most: RULES_MAX }));
        }
        let rule = Rule { name, conditions: Vec::new(), effects: Vec::new() };
        self.rules.push((line, false, rule));
        Ok(())
    }

    fn when(&mut self, cursor: &mut Cursor) -> Result<(), RuleError> {
        let Some((_, said, rule)) = self.rules.last_mut() else {
            return Err(cursor.fault_before(RuleFault::OutsideRule("when")));
        };
        loop {
            if cursor.take("always") {
                if *said {
                    let what = "when this rule applies".into();
                    return Err(cursor.fault_before(RuleFault::Twice { what }));
                }
                *said = true;
                return Ok(());
            }
            if *said && rule.conditions.is_empty() {
                let what = "`when always`".into();
                return Err(cursor.fault(RuleFault::Twice { what }));
            }
            *said = true;
            let condition = condition(cursor)?;
            if rule.conditions.len() >= CONDITIONS_MAX {
                let fault = RuleFault::TooMany { what: "conditions", most: CONDITIONS_MAX };
                return Err(cursor.fault_before(fault));
            }
            rule.conditions.push(condition);
            if !cursor.take("and") {
                return Ok(());
            }
        }
    }

    fn then(&mut self, cursor: &mut Cursor) -> Result<(), RuleError> {
        let Some((_, _, rule)) = self.rules.last_mut() else {
            return Err(cursor.fault_before(RuleFault::OutsideRule("then")));
        };
        loop {
            let effect = effect(cursor)?;
            if rule.effects.len() >= EFFECTS_MAX {
                let fault = RuleFault::TooMany { what: "effects", most: EFFECTS_MAX };
                return Err(cursor.fault_before(fault));
            }
            rule.effects.push(effect);
            if !cursor.take("and") {
                return Ok(());
            }
        }
    }

    fn finish(self, last: u32) -> Result<RuleBook, RuleError> {
        let unstated = |what| RuleFault::Unstated(what).at(last, 1);
        let name = self.name.ok_or_else(|| unstated("book NAME"))?;
        let currency = self.currency.ok_or_else(|| unstated("currency CODE"))?;
        let combine = self.combine.ok_or_else(|| unstated("combine first|stack"))?;
        let factor = self.factor.ok_or_else(|| unstated("bound factor LEAST .. MOST"))?;
        let adds = self.rules.iter().flat_map(|(_, _, rule)| &rule.effects);
        let adds = adds.filter(|one| matches!(one, Effect::Add(_) | Effect::Follow { .. })).count();
        let add = match self.add {
            None if adds > 0 => return Err(unstated("bound add LEAST .. MOST per kWh")),
            stated => stated.unwrap_or((0, 0)),
        };
        check_rules(&self.rules, combine, &self.signals)?;
        let mut signals = self.signals;
        signals.sort_by_key(|policy| policy.kind);
        let mut book = RuleBook {
            name,
            currency,
            combine,
            bounds: Bounds {
                factor_min_ppm: factor.0,
                factor_max_ppm: factor.1,
                add_min_micros: add.0,
                add_max_micros: add.1,
                price_min_micros: self.price.map(|(least, _)| least),
                price_max_micros: self.price.map(|(_, most)| most),
            },
            signals,
            rules: self.rules.into_iter().map(|(_, _, rule)| rule).collect(),
            hash: RuleHash::default(),
        };
        book.hash = book.canonical_hash();
        Ok(book)
    }
}

/// What only shows when all rules are read.
fn check_rules(
    rules: &[(u32, bool, Rule)],
    combine: Combine,
    signals: &[SignalPolicy],
) -> Result<(), RuleError> {
    let mut always: Option<&Rule> = None;
    for (line, said, rule) in rules {
        let rule_name = || rule.name.to_string();
        if !said {
            return Err(RuleFault::NoCondition(rule_name()).at(*line, 1));
        }
        if rule.effects.is_empty() {
            return Err(RuleFault::NoEffect(rule_name()).at(*line, 1));
        }
        let unknown = rule.signals().find(|kind| !signals.iter().any(|one| one.kind == *kind));
        if let Some(kind) = unknown {
            let fault = RuleFault::NoPolicy { rule: rule_name(), signal: kind.word() };
            return Err(fault.at(*line, 1));
        }
        if let (Combine::First, Some(by)) = (combine, always) {
            let fault = RuleFault::Unreachable { rule: rule_name(), by: by.name.to_string() };
            return Err(fault.at(*line, 1));
        }
        if rule.conditions.is_empty() && rule.signals().next().is_none() {
            always = Some(rule);
        }
    }
    Ok(())
}

fn once<T>(slot: &mut Option<T>, value: T, what: &str, cursor: &Cursor) -> Result<(), RuleError> {
    if slot.is_some() {
        return Err(cursor.fault_before(RuleFault::Twice { what: what.into() }));
    }
    *slot = Some(value);
    Ok(())
}

fn ppm(value: i64) -> u32 {
    u32::try_from(value).expect("the range was checked to lie within u32")
}

fn name(cursor: &mut Cursor) -> Result<Box<str>, RuleError> {
    let token = cursor.token("a name")?;
    let chars = token.text.chars().count();
    if chars == 0 || chars > NAME_MAX_CHARS || !token.text.chars().all(prints) {
        return Err(cursor.fault_before(RuleFault::Name));
    }
    Ok(token.text.into())
}

/// Whether a driver sees the sign as it is: nothing invisible, nothing that turns the line around.
fn prints(sign: char) -> bool {
    let hidden = ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}'];
    let single = matches!(sign, '\u{ad}' | '\u{feff}');
    !sign.is_control() && !single && !hidden.iter().any(|range| range.contains(&sign))
}

fn names(cursor: &mut Cursor) -> Result<Vec<Box<str>>, RuleError> {
    let mut names = vec![name(cursor)?];
    while cursor.take(",") {
        if names.len() >= NAMES_MAX {
            return Err(cursor.fault(RuleFault::TooMany { what: "names", most: NAMES_MAX }));
        }
        names.push(name(cursor)?);
    }
    Ok(names)
}

fn range(
    cursor: &mut Cursor,
    what: &str,
    within: std::ops::RangeInclusive<i64>,
) -> Result<(i64, i64), RuleError> {
    let least = cursor.number(what, 6, within.clone())?;
    cursor.expect(&[".."])?;
    let most = cursor.number(what, 6, within)?;
    if least > most {
        return Err(cursor.fault_before(RuleFault::EmptyRange { what: what.into() }));
    }
    Ok((least, most))
}

fn kind(cursor: &mut Cursor) -> Option<SignalKind> {
    SignalKind::ALL.into_iter().find(|kind| cursor.take(kind.word()))
}

/// A number with the signal's unit behind it, of a value that can be true.
fn signal_value(cursor: &mut Cursor, kind: SignalKind) -> Result<i64, RuleError> {
    let (range, unit): (_, &[&str]) = match kind {
        SignalKind::Temperature => (-900..=700, &["C"]),
        SignalKind::Load => (0..=5_000_000, &["%"]),
        SignalKind::Renewable => (0..=1_000_000, &["%"]),
        SignalKind::DayAhead => (-100_000_000_000..=100_000_000_000, &["per", "MWh"]),
    };
    let value = cursor.number(kind.word(), kind.places(), range)?;
    cursor.expect(unit)?;
    assert!(kind.plausible(value), "the range of the file is that of the signal");
    Ok(value)
}

fn per_kwh(cursor: &mut Cursor, what: &str, least: i64) -> Result<i64, RuleError> {
    let micros = cursor.number(what, 6, least..=PER_KWH_MAX_MICROS)?;
    cursor.expect(&["per", "kWh"])?;
    Ok(micros)
}

fn effect(cursor: &mut Cursor) -> Result<Effect, RuleError> {
    if cursor.take("factor") {
        let factor = cursor.number("the factor", 6, 0..=i64::from(FACTOR_MAX_PPM))?;
        return Ok(Effect::Factor(ppm(factor)));
    }
    if cursor.take("time") {
        cursor.expect(&["factor"])?;
        let factor = cursor.number("the factor", 6, 0..=i64::from(FACTOR_MAX_PPM))?;
        return Ok(Effect::TimeFactor(ppm(factor)));
    }
    if cursor.take("add") {
        return Ok(Effect::Add(per_kwh(cursor, "the addition", -PER_KWH_MAX_MICROS)?));
    }
    if cursor.take("floor") {
        return Ok(Effect::Floor(per_kwh(cursor, "the floor", 0)?));
    }
    if cursor.take("ceiling") {
        return Ok(Effect::Ceiling(per_kwh(cursor, "the ceiling", 0)?));
    }
    if cursor.take("follow") {
        cursor.expect(&["day-ahead", "from"])?;
        let from = signal_value(cursor, SignalKind::DayAhead)?;
        cursor.expect(&["share"])?;
        let share = cursor.number("the share", 4, 1..=2_000_000)?;
        cursor.expect(&["%"])?;
        return Ok(Effect::Follow { from, share_ppm: ppm(share) });
    }
    Err(cursor.unexpected("`factor`, `time factor`, `add`, `follow`, `floor` or `ceiling`"))
}

fn condition(cursor: &mut Cursor) -> Result<Condition, RuleError> {
    if let Some(kind) = kind(cursor) {
        let compare = match () {
            () if cursor.take("<") => Compare::Below,
            () if cursor.take("<=") => Compare::AtMost,
            () if cursor.take(">=") => Compare::AtLeast,
            () if cursor.take(">") => Compare::Above,
            () => return Err(cursor.unexpected("`<`, `<=`, `>=` or `>`")),
        };
        return Ok(Condition::Signal { kind, compare, threshold: signal_value(cursor, kind)? });
    }
    if cursor.take("time") {
        return time(cursor);
    }
    if cursor.take("days") {
        return Ok(Condition::Days(days(cursor)?));
    }
    if cursor.take("dates") {
        return dates(cursor);
    }
    if cursor.take("site") {
        return Ok(Condition::Site(names(cursor)?));
    }
    if cursor.take("tag") {
        return Ok(Condition::Tag(names(cursor)?));
    }
    if cursor.take("no") {
        cursor.expect(&["tag"])?;
        return Ok(Condition::NoTag(names(cursor)?));
    }
    Err(cursor.unexpected(
        "`always`, `time`, `days`, `dates`, `site`, `tag`, `no tag`, `temperature`, `load`, \
         `day-ahead` or `renewable`",
    ))
}

fn time(cursor: &mut Cursor) -> Result<Condition, RuleError> {
    let expected = "a time such as 22:00-06:00";
    let token = cursor.token(expected)?;
    let parts = token.text.split_once('-').and_then(|(from, until)| {
        Some((minutes(from).filter(|from| *from < 1_440)?, minutes(until)?))
    });
    let Some((from, until)) = parts else {
        let (found, expected) = (token.text, expected.to_owned());
        return Err(cursor.fault_before(RuleFault::Unexpected { found, expected }));
    };
    // 00:00 ends the day before, as 24:00 does: one form is kept.
    let until = if until == 0 { 1_440 } else { until };
    if from == until {
        return Err(cursor.fault_before(RuleFault::EmptyRange { what: "the time".into() }));
    }
    Ok(Condition::Time { from, until })
}

fn days(cursor: &mut Cursor) -> Result<u8, RuleError> {
    const WORDS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let expected = "a day or days such as mon-fri";
    let day = |text: &str| WORDS.iter().position(|word| *word == text);
    let mut bits = 0_u8;
    loop {
        let token = cursor.token(expected)?;
        let (first, last) = token.text.split_once('-').unwrap_or((&token.text, &token.text));
        let (Some(first), Some(last)) = (day(first), day(last)) else {
            let (found, expected) = (token.text, expected.to_owned());
            return Err(cursor.fault_before(RuleFault::Unexpected { found, expected }));
        };
        // A week is a ring: fri-mon are four days.
        let count = (last + 7 - first) % 7;
        bits |= (0..=count).fold(0, |sum, step| sum | 1 << ((first + step) % 7));
        if !cursor.take(",") {
            return Ok(bits);
        }
    }
}

fn dates(cursor: &mut Cursor) -> Result<Condition, RuleError> {
    let first = one_date(cursor)?;
    cursor.expect(&[".."])?;
    let last = one_date(cursor)?;
    if last < first {
        return Err(cursor.fault_before(RuleFault::EmptyRange { what: "the dates".into() }));
    }
    Ok(Condition::Dates { first, last })
}

fn one_date(cursor: &mut Cursor) -> Result<Day, RuleError> {
    let expected = "a date such as 2026-12-24";
    let token = cursor.token(expected)?;
    Day::parse(&token.text).ok_or_else(|| {
        let (found, expected) = (token.text, expected.to_owned());
        cursor.fault_before(RuleFault::Unexpected { found, expected })
    })
}
