//! Views of a book that only grows, by SQL: each is of one moment, and moments do not go back.
//!
//! The book: lines, each with an amount. A view says how many lines there are, their sum, and debits and credits
//! of all accounts. What is checked of each view:
//! * debits equal credits: a view of half a transfer would not have that;
//! * all that was acknowledged before it was asked for is in it, and nothing that was asked for after it came;
//! * a later view has no less than one that ended before it began.

use crate::verdict::Verdict;

/// What a view showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Line of the history that began it.
    pub invoked: u64,
    /// Line that ended it.
    pub completed: u64,
    /// Debits of all accounts.
    pub debits: i128,
    /// Credits of all accounts.
    pub credits: i128,
    /// The sum of what the run put in.
    pub sum: i128,
}

/// Something that was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// Line of the history that began it.
    pub invoked: u64,
    /// Line by which it was acknowledged; `None` when nothing is known. What was refused is left out.
    pub acknowledged: Option<u64>,
    /// How much; more than nothing.
    pub amount: i128,
}

/// How new a view must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It has all that was acknowledged before it was asked for.
    Newest,
    /// It may be older, but each is of one moment, and the views of the run do not go back.
    Stale,
}

/// Whether all views are of a moment each, in order.
#[must_use]
pub fn check(puts: &[Put], views: &[View], freshness: Freshness) -> Verdict {
    if views.is_empty() {
        return Verdict::broken("nobody looked");
    }
    let mut findings = Vec::new();
    for view in views {
        let line = view.completed;
        if view.debits != view.credits {
            let (debits, credits) = (view.debits, view.credits);
            findings.push(format!("line {line}: debits {debits}, credits {credits}"));
        }
        let begun = puts.iter().filter(|put| put.invoked < view.completed);
        let most: i128 = begun.map(|put| put.amount).sum();
        if view.sum > most {
            let sum = view.sum;
            findings.push(format!("line {line}: shows {sum}, at most {most} was put in"));
        }
        if freshness == Freshness::Newest {
            let is_in = |put: &&Put| put.acknowledged.is_some_and(|line| line < view.invoked);
            let least: i128 = puts.iter().filter(is_in).map(|put| put.amount).sum();
            if view.sum < least {
                let sum = view.sum;
                findings.push(format!("line {line}: shows {sum}, {least} was acknowledged before"));
            }
        }
    }
    check_order(views, &mut findings);
    Verdict::of(findings)
}

fn check_order(views: &[View], findings: &mut Vec<String>) {
    let mut ended: Vec<&View> = views.iter().collect();
    ended.sort_by_key(|view| view.completed);
    let mut begun = ended.clone();
    begun.sort_by_key(|view| view.invoked);
    let mut earlier = ended.into_iter().peekable();
    let mut most: Option<&View> = None;
    for view in begun {
        while let Some(before) = earlier.next_if(|before| before.completed < view.invoked) {
            if most.is_none_or(|most| before.sum > most.sum) {
                most = Some(before);
            }
        }
        if let Some(most) = most.filter(|most| most.sum > view.sum) {
            findings.push(format!(
                "line {}: shows {}, line {} had shown {}",
                view.completed, view.sum, most.completed, most.sum
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(invoked: u64, acknowledged: Option<u64>, amount: i128) -> Put {
        Put { invoked, acknowledged, amount }
    }

    fn view(invoked: u64, sum: i128) -> View {
        View { invoked, completed: invoked + 1, debits: sum, credits: sum, sum }
    }

    #[track_caller]
    fn check_finds(views: &[View], freshness: Freshness, words: &str) {
        let puts = [put(0, Some(1), 5), put(2, None, 7), put(20, Some(21), 100)];
        let Verdict::Failed { findings } = check(&puts, views, freshness) else {
            panic!("nothing found: {words}")
        };
        assert!(findings.len() == 1 && findings[0].contains(words), "{words}: {findings:?}");
    }

    #[test]
    fn views_are_of_one_moment_each_and_do_not_go_back() {
        use Freshness::{Newest, Stale};
        let puts = [put(0, Some(1), 5), put(2, None, 7), put(20, Some(21), 100)];
        let good = [view(4, 5), view(6, 12), view(30, 112)];
        assert!(check(&puts, &good, Newest).is_pass());
        check_finds(&[view(4, 0)], Newest, "5 was acknowledged before");
        assert!(check(&puts, &[view(4, 0)], Stale).is_pass());
        check_finds(&[view(4, 13)], Stale, "at most 12 was put in");
        check_finds(&[view(4, 12), view(6, 5)], Newest, "line 7: shows 5, line 5 had shown 12");
        let torn = View { credits: 4, ..view(4, 5) };
        check_finds(&[torn], Newest, "debits 5, credits 4");
        assert!(matches!(check(&puts, &[], Stale), Verdict::Broken { .. }));
    }
}
