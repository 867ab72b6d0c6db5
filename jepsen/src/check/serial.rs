//! Strict serialisability of a ledger, by the order its journal gives.
//!
//! A ledger that keeps a journal says itself in which order it did things. So nothing has to be searched for:
//! 1. *Real time*: what was answered before something else was asked for stands before it in the journal.
//! 2. *Replay*: a naive model that does the journal in its order gives the answers that were given.
//! 3. What nothing is known of stands in the journal at most once; so does everything else.
//! 4. No answer refers to a line that the journal does not have, and no line to nothing that was asked for.
//! 5. What was refused is not in the journal.
//!
//! O(n log n): millions of lines can be judged. Journals of several partitions are checked one by one.

use crate::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// What a ledger does, done naively.
pub trait Reference {
    /// What can be asked of it.
    type Command: Debug + PartialEq;
    /// What it answers.
    type Reply: Debug + PartialEq;

    /// Does it.
    fn apply(&mut self, command: &Self::Command) -> Self::Reply;
}

/// How what was asked for ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended<R> {
    /// With a reply.
    Replied {
        /// Index of the line of the history that ended it.
        at: u64,
        /// The place in the journal that the reply named, where it named one.
        place: Option<u64>,
        /// The reply.
        reply: R,
    },
    /// Certainly without effect.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<C, R> {
    /// Its name, which the journal keeps: an idempotency key.
    pub key: String,
    /// What.
    pub command: C,
    /// Index of the line of the history that began it.
    pub invoked: u64,
    /// How it ended.
    pub ended: Ended<R>,
}

/// A line of the journal, as read in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<C> {
    /// Its place; ascending, not necessarily without gaps.
    pub place: u64,
    /// Whose request it is.
    pub key: String,
    /// What was done.
    pub command: C,
}

/// Whether the journal explains what the clients saw. A request without a key in the journal that was answered
/// is lost; the model begins as it is given.
#[must_use]
pub fn check<M: Reference>(
    mut model: M,
    requests: &[Request<M::Command, M::Reply>],
    journal: &[Line<M::Command>],
) -> Verdict {
    let mut findings = Vec::new();
    let mut by_key: BTreeMap<&str, &Request<M::Command, M::Reply>> = BTreeMap::new();
    for request in requests {
        if by_key.insert(&request.key, request).is_some() {
            return Verdict::broken(format!("two requests are called {:?}", request.key));
        }
    }
    let mut places: BTreeMap<&str, u64> = BTreeMap::new();
    let mut last = None;
    for line in journal {
        if last.is_some_and(|last| line.place <= last) {
            findings.push(format!("the journal goes back from {last:?} to {}", line.place));
        }
        last = Some(line.place);
        let reply = model.apply(&line.command);
        let Some(request) = by_key.get(line.key.as_str()) else {
            findings.push(format!(
                "nobody asked for {:?}, {:?} in the journal",
                line.key, line.command
            ));
            continue;
        };
        if let Some(other) = places.insert(&line.key, line.place) {
            let (key, place) = (&line.key, line.place);
            findings.push(format!("{key:?} was done twice, at {other} and at {place}"));
            continue;
        }
        check_line(request, line, &reply, &mut findings);
    }
    let lost = requests.iter().filter(|request| {
        matches!(request.ended, Ended::Replied { .. }) && !places.contains_key(request.key.as_str())
    });
    findings.extend(lost.map(|request| {
        format!(
            "{:?} was acknowledged ({:?}) and is not in the journal",
            request.key, request.command
        )
    }));
    check_real_time(requests, &places, &mut findings);
    Verdict::of(findings)
}

/// What one line of the journal says against what its client saw.
fn check_line<C: Debug + PartialEq, R: Debug + PartialEq>(
    request: &Request<C, R>,
    line: &Line<C>,
    expected: &R,
    findings: &mut Vec<String>,
) {
    let (key, place) = (&line.key, line.place);
    if request.command != line.command {
        let (asked, done) = (&request.command, &line.command);
        findings.push(format!("{key:?} asked for {asked:?}, the journal did {done:?} at {place}"));
    }
    match &request.ended {
        Ended::Refused => {
            findings.push(format!("{key:?} was refused, and is in the journal at {place}"));
        }
        Ended::Replied { place: Some(said), .. } if *said != place => {
            findings.push(format!("{key:?} was said to be at {said}, and is at {place}"));
        }
        Ended::Replied { reply, .. } if reply != expected => findings.push(format!(
            "{key:?} at {place} was answered {reply:?}; replaying the journal gives {expected:?}"
        )),
        Ended::Replied { .. } | Ended::Unknown => {}
    }
}

/// What ended before something else began must stand before it.
///
/// From the last place to the first, the earliest end of all later places is known: that one must not lie
/// before the beginning of an earlier place.
fn check_real_time<C, R>(
    requests: &[Request<C, R>],
    places: &BTreeMap<&str, u64>,
    findings: &mut Vec<String>,
) {
    let mut placed: Vec<(u64, &Request<C, R>)> = requests
        .iter()
        .filter_map(|request| Some((*places.get(request.key.as_str())?, request)))
        .collect();
    placed.sort_by_key(|(place, _)| *place);
    let mut earliest: Option<(u64, &str, u64)> = None;
    for (place, request) in placed.into_iter().rev() {
        if let Some((end, key, later)) = earliest
            && end < request.invoked
        {
            findings.push(format!(
                "{key:?} was answered before {:?} was asked for, and stands after it: {later} > {place}",
                request.key
            ));
        }
        if let Ended::Replied { at, .. } = request.ended
            && earliest.is_none_or(|(end, ..)| at < end)
        {
            earliest = Some((at, &request.key, place));
        }
    }
}

/// Accounts by name, with the least each may have, done in the plainest way.
#[derive(Debug, Clone, Default)]
pub struct NaiveLedger {
    balances: BTreeMap<String, i128>,
    /// Accounts that may not have less than nothing.
    bounded: BTreeSet<String>,
    /// Holds that are neither posted nor voided: from, to, amount.
    holds: BTreeMap<String, (String, String, i128)>,
    /// Of each account: what is held of it.
    held: BTreeMap<String, i128>,
}

/// What a [`NaiveLedger`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Money {
    /// From one account to another.
    Transfer {
        /// Who pays.
        from: String,
        /// Who gets.
        to: String,
        /// How much.
        amount: i128,
    },
    /// Reserves it, under a name.
    Hold {
        /// Its name.
        hold: String,
        /// Who will pay.
        from: String,
        /// Who will get.
        to: String,
        /// How much.
        amount: i128,
    },
    /// Takes so much of a hold, and lets go of the rest.
    Post {
        /// Its name.
        hold: String,
        /// How much.
        amount: i128,
    },
    /// Lets go of a hold.
    Void {
        /// Its name.
        hold: String,
    },
}

/// What a [`NaiveLedger`] answers: what the paying account, or the one that got, has available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Booked {
    /// What the account that got the money can spend now.
    Available(i128),
    /// It was not done, for this reason.
    Refused(&'static str),
}

impl NaiveLedger {
    /// With these accounts that may not have less than nothing. All others may.
    #[must_use]
    pub fn with_bounded(accounts: impl IntoIterator<Item = String>) -> NaiveLedger {
        NaiveLedger { bounded: accounts.into_iter().collect(), ..NaiveLedger::default() }
    }

    /// What an account can spend: its balance less what is held of it.
    #[must_use]
    pub fn available(&self, account: &str) -> i128 {
        let of = |map: &BTreeMap<String, i128>| map.get(account).copied().unwrap_or(0);
        of(&self.balances) - of(&self.held)
    }

    /// The sum of all balances: nothing, always.
    #[must_use]
    pub fn total(&self) -> i128 {
        self.balances.values().sum()
    }

    fn can_pay(&self, account: &str, amount: i128) -> bool {
        !self.bounded.contains(account) || self.available(account) >= amount
    }

    fn transfer(&mut self, from: &str, to: &str, amount: i128) {
        *self.balances.entry(from.to_owned()).or_default() -= amount;
        *self.balances.entry(to.to_owned()).or_default() += amount;
    }
}

impl Reference for NaiveLedger {
    type Command = Money;
    type Reply = Booked;

    fn apply(&mut self, command: &Money) -> Booked {
        match command {
            Money::Transfer { amount, .. } | Money::Hold { amount, .. } if *amount <= 0 => {
                Booked::Refused("nothing to book")
            }
            Money::Transfer { from, amount, .. } | Money::Hold { from, amount, .. }
                if !self.can_pay(from, *amount) =>
            {
                Booked::Refused("not enough")
            }
            Money::Transfer { from, to, amount } => {
                self.transfer(from, to, *amount);
                Booked::Available(self.available(to))
            }
            Money::Hold { hold, .. } if self.holds.contains_key(hold) => {
                Booked::Refused("held already")
            }
            Money::Hold { hold, from, to, amount } => {
                self.holds.insert(hold.clone(), (from.clone(), to.clone(), *amount));
                *self.held.entry(from.clone()).or_default() += amount;
                Booked::Available(self.available(from))
            }
            Money::Post { hold, amount } => match self.holds.get(hold) {
                Some((_, _, held)) if amount > held => Booked::Refused("more than was held"),
                Some(_) => self.end(hold, *amount),
                None => Booked::Refused("no such hold"),
            },
            Money::Void { hold } if self.holds.contains_key(hold) => self.end(hold, 0),
            Money::Void { .. } => Booked::Refused("no such hold"),
        }
    }
}

impl NaiveLedger {
    fn end(&mut self, hold: &str, amount: i128) -> Booked {
        let Some((from, to, held)) = self.holds.remove(hold) else {
            return Booked::Refused("no such hold");
        };
        *self.held.entry(from.clone()).or_default() -= held;
        self.transfer(&from, &to, amount);
        Booked::Available(self.available(&from))
    }
}

#[cfg(test)]
mod tests;
