//! A set that only grows: what was acknowledged is in it, once; what was refused or never tried is not.

use crate::verdict::Verdict;
use std::collections::BTreeMap;

/// How adding an element ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// Done, by this line of the history.
    Ok(u64),
    /// Certainly not.
    Refused,
    /// Not known.
    Unknown,
}

/// A reading of the set. An element that stands in it twice was done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading<E> {
    /// Line of the history that began it.
    pub invoked: u64,
    /// Line that ended it.
    pub completed: u64,
    /// What was there, in any order.
    pub elements: Vec<E>,
}

/// What was tried, with the line that began it and how it ended.
pub type Tries<E> = BTreeMap<E, (u64, Added)>;

/// Whether all readings, of which the last is the one after everything healed, show what they must.
#[must_use]
pub fn check<E: Ord + std::fmt::Debug>(tries: &Tries<E>, readings: &[Reading<E>]) -> Verdict {
    let Some(last) = readings.last() else {
        return Verdict::broken("the set was never read");
    };
    let mut findings = Vec::new();
    for reading in readings {
        check_reading(tries, reading, &mut findings);
    }
    check_monotone(readings, &mut findings);
    let acknowledged = tries.values().filter(|(_, added)| matches!(added, Added::Ok(_))).count();
    if acknowledged == 0 && findings.is_empty() {
        let reason = format!("of {} elements none was acknowledged", tries.len());
        return Verdict::broken(reason);
    }
    debug_assert!(last.completed > last.invoked, "a reading ends after it begins");
    Verdict::of(findings)
}

fn check_reading<E: Ord + std::fmt::Debug>(
    tries: &Tries<E>,
    reading: &Reading<E>,
    findings: &mut Vec<String>,
) {
    let line = reading.completed;
    let mut counts: BTreeMap<&E, u64> = BTreeMap::new();
    for element in &reading.elements {
        *counts.entry(element).or_default() += 1;
    }
    for (element, count) in &counts {
        if *count > 1 {
            findings.push(format!("line {line}: {element:?} is there {count} times"));
        }
        match tries.get(*element) {
            None => findings.push(format!("line {line}: {element:?} was never added")),
            Some((_, Added::Refused)) => {
                findings.push(format!("line {line}: {element:?} was refused and is there"));
            }
            Some((begun, _)) if *begun > line => {
                findings.push(format!("line {line}: {element:?} is there before it was added"));
            }
            Some(_) => {}
        }
    }
    for (element, (_, added)) in tries {
        if let Added::Ok(at) = added
            && *at < reading.invoked
            && !counts.contains_key(element)
        {
            findings.push(format!("line {line}: {element:?}, acknowledged at line {at}, is lost"));
        }
    }
}

/// What one reading showed, a reading that began after it shows too.
fn check_monotone<E: Ord + std::fmt::Debug>(readings: &[Reading<E>], findings: &mut Vec<String>) {
    let mut ended: Vec<&Reading<E>> = readings.iter().collect();
    ended.sort_by_key(|reading| reading.completed);
    let mut begun: Vec<&Reading<E>> = readings.iter().collect();
    begun.sort_by_key(|reading| reading.invoked);
    let mut shown: BTreeMap<&E, u64> = BTreeMap::new();
    let mut earlier = ended.into_iter().peekable();
    for reading in begun {
        while let Some(before) = earlier.next_if(|before| before.completed < reading.invoked) {
            for element in &before.elements {
                shown.entry(element).or_insert(before.completed);
            }
        }
        let now: std::collections::BTreeSet<&E> = reading.elements.iter().collect();
        let gone = shown.iter().filter(|(element, _)| !now.contains(*element));
        findings.extend(gone.map(|(element, at)| {
            format!("line {}: {element:?}, seen at line {at}, is gone", reading.completed)
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(of: &[(i64, u64, Added)]) -> Tries<i64> {
        of.iter().map(|&(element, begun, added)| (element, (begun, added))).collect()
    }

    fn read(invoked: u64, elements: &[i64]) -> Reading<i64> {
        Reading { invoked, completed: invoked + 1, elements: elements.to_vec() }
    }

    #[track_caller]
    fn check_finds(tries: &Tries<i64>, readings: &[Reading<i64>], finding: &str) {
        assert_eq!(check(tries, readings), Verdict::of(vec![finding.to_owned()]));
    }

    #[test]
    fn what_was_acknowledged_is_there_once_and_nothing_else() {
        let tries = tries(&[
            (1, 0, Added::Ok(1)),
            (2, 2, Added::Unknown),
            (3, 4, Added::Refused),
            (4, 20, Added::Ok(21)),
        ]);
        assert!(check(&tries, &[read(10, &[1]), read(30, &[1, 4])]).is_pass());
        assert!(check(&tries, &[read(10, &[2, 1]), read(30, &[4, 2, 1])]).is_pass());
        check_finds(&tries, &[read(30, &[1])], "line 31: 4, acknowledged at line 21, is lost");
        check_finds(&tries, &[read(30, &[1, 4, 1])], "line 31: 1 is there 2 times");
        check_finds(&tries, &[read(30, &[1, 3, 4])], "line 31: 3 was refused and is there");
        check_finds(&tries, &[read(30, &[1, 4, 9])], "line 31: 9 was never added");
        check_finds(&tries, &[read(10, &[1, 4])], "line 11: 4 is there before it was added");
        let gone = [read(10, &[1, 2]), read(30, &[1, 4])];
        check_finds(&tries, &gone, "line 31: 2, seen at line 11, is gone");
        // Readings at the same time may differ.
        let long = Reading { invoked: 9, completed: 14, elements: vec![1] };
        assert!(check(&tries, &[read(10, &[1, 2]), long]).is_pass());
    }

    #[test]
    fn a_set_that_nobody_read_or_filled_says_nothing() {
        let some = tries(&[(1, 0, Added::Ok(1))]);
        assert!(matches!(check(&some, &[]), Verdict::Broken { .. }));
        let none = tries(&[(1, 0, Added::Unknown)]);
        assert!(matches!(check(&none, &[read(5, &[])]), Verdict::Broken { .. }));
    }
}
