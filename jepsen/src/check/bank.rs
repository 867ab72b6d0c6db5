//! The bank: whatever is moved, every view of all accounts has the same sum.
//!
//! TiKV's and CockroachDB's cheapest test, and the one that found most: a view that is not of one moment, a
//! transfer half done or done twice changes the sum.

use crate::verdict::Verdict;
use std::collections::BTreeMap;

/// All balances, as one read showed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// By which line of the history it was known.
    pub line: u64,
    /// Of each account.
    pub balances: BTreeMap<String, i128>,
}

/// What must hold of every view.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The sum of all.
    pub total: i128,
    /// Accounts whose names begin so may have less than nothing.
    pub may_owe: Vec<String>,
}

/// Whether every view has the sum, and nobody owes who must not.
#[must_use]
pub fn check(views: &[View], rules: &Rules) -> Verdict {
    if views.is_empty() {
        return Verdict::broken("the bank was never looked at");
    }
    let mut findings = Vec::new();
    for View { line, balances } in views {
        let sum: i128 = balances.values().sum();
        if sum != rules.total {
            findings.push(format!("line {line}: all accounts hold {sum}, not {}", rules.total));
        }
        let owes = balances.iter().filter(|(name, balance)| {
            **balance < 0 && !rules.may_owe.iter().any(|prefix| name.starts_with(prefix))
        });
        findings.extend(owes.map(|(name, balance)| format!("line {line}: {name} has {balance}")));
    }
    Verdict::of(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(line: u64, balances: &[(&str, i128)]) -> View {
        let balances = balances.iter().map(|&(name, sum)| (name.to_owned(), sum)).collect();
        View { line, balances }
    }

    #[test]
    fn every_view_has_the_sum_and_nobody_owes_who_must_not() {
        let rules = Rules { total: 0, may_owe: vec!["cash".to_owned()] };
        let good = [view(1, &[("cash", 0)]), view(2, &[("cash/EUR", -7), ("a", 3), ("b", 4)])];
        assert!(check(&good, &rules).is_pass());
        let half = [good[1].clone(), view(3, &[("cash", -7), ("a", 3)])];
        let Verdict::Failed { findings } = check(&half, &rules) else { panic!("4 are gone") };
        assert_eq!(findings, ["line 3: all accounts hold -4, not 0"]);
        let owing = check(&[view(3, &[("b", 1), ("a", -1)])], &rules);
        assert_eq!(owing, Verdict::of(vec!["line 3: a has -1".to_owned()]));
        assert!(matches!(check(&[], &rules), Verdict::Broken { .. }));
    }
}
