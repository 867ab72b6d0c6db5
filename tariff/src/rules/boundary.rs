//! Until when a quote can be announced: the next moment at which the clock alone may change it.

use super::book::{Condition, RuleBook};
use crate::zone::Zone;
use novax_model::Timestamp;

impl RuleBook {
    /// The first moment after `at` at which a time, day or date that a rule names begins or ends.
    /// Until then the same signals give the same price. None: the clock changes nothing.
    #[must_use]
    pub fn next_boundary(&self, at: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let offset = zone.offset_at(at);
        let today = offset.local(at).day;
        let conditions = self.rules.iter().flat_map(|rule| &rule.conditions);
        let minutes = conditions.flat_map(|condition| match condition {
            Condition::Time { from, until } => [Some(*from), Some(*until % 1_440)],
            Condition::Days(_) | Condition::Dates { .. } => [Some(0), None],
            _ => [None, None],
        });
        let moments = minutes
            .flatten()
            .flat_map(|minute| [offset.at(today, minute), offset.at(today.next(), minute)]);
        let next = moments.filter(|moment| *moment > at).min()?;
        // The wall clock jumps when the offset changes: what it jumps over begins then.
        Some(next.min(offset.until))
    }
}
