//! From a book, a place and a moment to a price and its reasons.
//!
//! Order of things: signals are judged first (a bad one has its stated outcome), then rules are
//! matched in order, then their effects combined, then the book's bounds have the last word.

use super::book::{
    Combine, Condition, Effect, FACTOR_MAX_PPM, Fallback, PPM, Rule, RuleBook, RuleHash,
};
use super::signals::{SignalKind, Signals};
use crate::rating::{Adjustment, ratio};
use crate::zone::Local;
use novax_model::{Currency, Timestamp};
use rkyv::{Archive, Deserialize, Serialize};

/// Clocks of sensors may run this far ahead before their samples are not believed.
const AHEAD_MAX_US: u64 = 5 * 60 * 1_000_000;

/// A price and why: what the driver is told before charging, frozen in the session.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Quote {
    /// What is done to the listed price.
    pub adjustment: Adjustment,
    /// Why, in the order in which it was decided. Never empty.
    pub reasons: Vec<Reason>,
    /// The book that said so.
    pub book: RuleHash,
    /// Of the amounts in the reasons.
    pub currency: Currency,
}

/// One reason of a quote.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A rule applied.
    Applied {
        /// Its name.
        rule: Box<str>,
        /// What held: each condition with the value seen, where it read a signal.
        because: Vec<(Condition, Option<i64>)>,
        /// What it did.
        effects: Vec<Effect>,
        /// What following the market came to per kWh, micros.
        followed: Option<i64>,
    },
    /// A signal could not be used.
    Signal {
        /// Which.
        kind: SignalKind,
        /// Why not.
        fault: SignalFault,
        /// What was done.
        fallback: Fallback,
    },
    /// A bound of the book held the price.
    Bounded {
        /// Which.
        bound: Bound,
        /// What the rules asked for: ppm for a factor, micros for the others.
        wanted: i64,
        /// What the driver pays.
        given: i64,
    },
    /// No rule applies: the listed price.
    Listed,
}

/// Why a signal was not believed.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignalFault {
    /// Nothing was heard.
    Missing,
    /// The last value is this old.
    Stale {
        /// Its age.
        age_s: u64,
    },
    /// Its time lies ahead of ours.
    Ahead,
    /// A value that cannot be true, in the signal's unit.
    Impossible(i64),
}

/// A limit that a book sets itself.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// Of the factor.
    Factor,
    /// Of the factor on prices of time.
    TimeFactor,
    /// Of the addition.
    Add,
    /// A floor stood above the ceiling: the ceiling holds.
    Ceiling,
}

/// The values in force, by kind, after the policies of the book.
struct Believed([Option<i64>; 4]);

impl Believed {
    fn get(&self, kind: SignalKind) -> Option<i64> {
        let at = SignalKind::ALL.iter().position(|one| *one == kind)?;
        self.0.get(at).copied().flatten()
    }
}

impl RuleBook {
    /// The price at a place and moment: `at`, and what the clock on the wall shows then.
    #[must_use]
    pub fn evaluate(&self, signals: &Signals, at: Timestamp, local: Local) -> Quote {
        let mut reasons = Vec::new();
        let Some(believed) = self.believe(signals, at, &mut reasons) else {
            reasons.push(Reason::Listed);
            return self.quote(Adjustment::NONE, reasons);
        };
        let mut sum = Sum::new(self);
        for rule in &self.rules {
            let Some(because) = matched(rule, signals, local, &believed) else { continue };
            let followed = sum.add(rule, &believed);
            reasons.push(Reason::Applied {
                rule: rule.name.clone(),
                because,
                effects: rule.effects.clone(),
                followed,
            });
            if self.combine == Combine::First {
                break;
            }
        }
        if !reasons.iter().any(|reason| matches!(reason, Reason::Applied { .. })) {
            reasons.push(Reason::Listed);
            return self.quote(Adjustment::NONE, reasons);
        }
        let adjustment = sum.bounded(self, &mut reasons);
        self.quote(adjustment, reasons)
    }

    fn quote(&self, adjustment: Adjustment, reasons: Vec<Reason>) -> Quote {
        assert!(!reasons.is_empty(), "every price explains itself");
        Quote { adjustment, reasons, book: self.hash(), currency: self.currency }
    }

    /// Judges every signal the book reads; none when one of them sends the book to the listed
    /// price.
    fn believe(
        &self,
        signals: &Signals,
        at: Timestamp,
        reasons: &mut Vec<Reason>,
    ) -> Option<Believed> {
        let mut believed = Believed([None; 4]);
        let mut usable = true;
        for (slot, kind) in believed.0.iter_mut().zip(SignalKind::ALL) {
            let read = self.rules.iter().any(|rule| rule.signals().any(|one| one == kind));
            let Some(policy) = self.policy(kind).filter(|_| read) else { continue };
            match judge(kind, signals, at, policy.age_max_s) {
                Ok(value) => *slot = Some(value),
                Err(fault) => {
                    reasons.push(Reason::Signal { kind, fault, fallback: policy.fallback });
                    match policy.fallback {
                        Fallback::Skip => {}
                        Fallback::Listed => usable = false,
                        Fallback::Assume(value) => *slot = Some(value),
                    }
                }
            }
        }
        usable.then_some(believed)
    }
}

fn judge(
    kind: SignalKind,
    signals: &Signals,
    at: Timestamp,
    age_max_s: u32,
) -> Result<i64, SignalFault> {
    let sample = signals.sample(kind).ok_or(SignalFault::Missing)?;
    if !kind.plausible(sample.value) {
        return Err(SignalFault::Impossible(sample.value));
    }
    if sample.at.0 > at.0.saturating_add(AHEAD_MAX_US) {
        return Err(SignalFault::Ahead);
    }
    let age_s = at.0.saturating_sub(sample.at.0) / 1_000_000;
    if age_s > u64::from(age_max_s) {
        return Err(SignalFault::Stale { age_s });
    }
    Ok(sample.value)
}

/// The conditions that held, with what was seen; none when the rule does not apply.
fn matched(
    rule: &Rule,
    signals: &Signals,
    local: Local,
    believed: &Believed,
) -> Option<Vec<(Condition, Option<i64>)>> {
    if rule.signals().any(|kind| believed.get(kind).is_none()) {
        return None;
    }
    let holds = rule.conditions.iter().all(|condition| holds(condition, signals, local, believed));
    let seen = |condition: &Condition| match condition {
        Condition::Signal { kind, .. } => believed.get(*kind),
        _ => None,
    };
    holds.then(|| rule.conditions.iter().map(|one| (one.clone(), seen(one))).collect())
}

fn holds(condition: &Condition, signals: &Signals, local: Local, believed: &Believed) -> bool {
    let tagged = |tags: &[Box<str>]| tags.iter().any(|tag| signals.tags.contains(tag));
    match condition {
        Condition::Time { from, until } if from < until => {
            (*from..*until).contains(&local.minute())
        }
        Condition::Time { from, until } => local.minute() >= *from || local.minute() < *until,
        Condition::Days(days) => days >> local.day.weekday() & 1 == 1,
        Condition::Dates { first, last } => (*first..=*last).contains(&local.day),
        Condition::Site(sites) => sites.contains(&signals.site),
        Condition::Tag(tags) => tagged(tags),
        Condition::NoTag(tags) => !tagged(tags),
        Condition::Signal { kind, compare, threshold } => {
            believed.get(*kind).is_some_and(|value| compare.holds(value, *threshold))
        }
    }
}

/// Effects as they add up. Wider than any bound, so that nothing wraps before the bounds speak.
struct Sum {
    factor_ppm: i128,
    time_factor_ppm: i128,
    add_micros: i128,
    floor: Option<i64>,
    ceiling: Option<i64>,
}

impl Sum {
    fn new(book: &RuleBook) -> Sum {
        Sum {
            factor_ppm: i128::from(PPM),
            time_factor_ppm: i128::from(PPM),
            add_micros: 0,
            floor: book.bounds.price_min_micros,
            ceiling: book.bounds.price_max_micros,
        }
    }

    /// Adds one rule; gives what following the market came to.
    fn add(&mut self, rule: &Rule, believed: &Believed) -> Option<i64> {
        let mut followed = None;
        for effect in &rule.effects {
            match effect {
                Effect::Factor(ppm) => self.factor_ppm = times(self.factor_ppm, *ppm),
                Effect::TimeFactor(ppm) => {
                    self.time_factor_ppm = times(self.time_factor_ppm, *ppm);
                }
                Effect::Add(micros) => self.add_micros += i128::from(*micros),
                Effect::Follow { from, share_ppm } => {
                    let value = believed.get(SignalKind::DayAhead);
                    let value = value.expect("a rule matches only when its signals are believed");
                    let micros = follow(value, *from, *share_ppm);
                    self.add_micros += i128::from(micros);
                    followed = Some(followed.unwrap_or(0) + micros);
                }
                Effect::Floor(micros) => {
                    self.floor = Some(self.floor.map_or(*micros, |floor| floor.max(*micros)));
                }
                Effect::Ceiling(micros) => {
                    self.ceiling = Some(self.ceiling.map_or(*micros, |top| top.min(*micros)));
                }
            }
        }
        followed
    }

    /// The book's bounds have the last word, and say so when they change something.
    fn bounded(&self, book: &RuleBook, reasons: &mut Vec<Reason>) -> Adjustment {
        let bounds = &book.bounds;
        let mut clamp = |bound: Bound, wanted: i128, least: i64, most: i64| -> i64 {
            let given = wanted.clamp(i128::from(least), i128::from(most));
            let as_row = |value: i128| {
                let near = value.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
                i64::try_from(near).unwrap_or(0)
            };
            if given != wanted {
                let (wanted, given) = (as_row(wanted), as_row(given));
                reasons.push(Reason::Bounded { bound, wanted, given });
            }
            as_row(given)
        };
        let (least, most) = (i64::from(bounds.factor_min_ppm), i64::from(bounds.factor_max_ppm));
        let factor = clamp(Bound::Factor, self.factor_ppm, least, most);
        let time = clamp(Bound::TimeFactor, self.time_factor_ppm, least, most);
        let (least, most) = (bounds.add_min_micros, bounds.add_max_micros);
        let add = clamp(Bound::Add, self.add_micros, least, most);
        let (mut floor, ceiling) = (self.floor, self.ceiling);
        if let (Some(low), Some(high)) = (floor, ceiling)
            && low > high
        {
            reasons.push(Reason::Bounded { bound: Bound::Ceiling, wanted: low, given: high });
            floor = Some(high);
        }
        Adjustment {
            factor_ppm: u32::try_from(factor).unwrap_or(PPM),
            add_micros_per_kwh: add,
            floor_micros_per_kwh: floor,
            ceiling_micros_per_kwh: ceiling,
            time_factor_ppm: u32::try_from(time).unwrap_or(PPM),
        }
    }
}

/// A factor times a factor, kept far below any overflow and far above any bound.
fn times(factor_ppm: i128, by_ppm: u32) -> i128 {
    ratio(factor_ppm, i128::from(by_ppm), i128::from(PPM)).min(i128::from(FACTOR_MAX_PPM) * 1_000)
}

/// Micros per kWh that a day-ahead price adds: per MWh to per kWh, times the share.
fn follow(value: i64, from: i64, share_ppm: u32) -> i64 {
    let difference = i128::from(value) - i128::from(from);
    let micros = ratio(difference, i128::from(share_ppm), i128::from(PPM) * 1_000);
    i64::try_from(micros).expect("a thousandth of a difference of plausible prices fits")
}
