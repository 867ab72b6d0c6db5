//! What a provider tells us of its own accord. It is a hint to ask, never the truth itself: messages come
//! twice, late and in another order than they were sent.

use crate::operation::{OperationId, ProviderRef};
use novax_model::Timestamp;
use std::collections::{BTreeSet, VecDeque};

/// The most bytes of a message that are looked at.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// What a message is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Topic {
    /// A payment changed: ask how it stands.
    Payment,
    /// A refund changed: ask how it stands.
    Refund,
    /// The payer's bank takes the money back, or may.
    Dispute,
    /// Something that payments do not care for.
    Other,
}

/// A message of the provider, its sender proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebhookEvent {
    /// The provider's number of it: the same when it comes again.
    pub id: Box<str>,
    /// The provider's word for it, such as `payment_intent.canceled`.
    pub name: Box<str>,
    /// What it is about.
    pub topic: Topic,
    /// The payment it concerns, where it says.
    pub payment: Option<ProviderRef>,
    /// The object it is about, where it says.
    pub object: Option<ProviderRef>,
    /// The operation that made its object, where the object says.
    pub operation: Option<OperationId>,
    /// When it was made, by the provider's clock.
    pub created: Timestamp,
}

/// The last messages seen, so that one that comes again is known. Forgetting one is harmless: it only asks
/// once more.
#[derive(Debug)]
pub struct Seen {
    known: BTreeSet<Box<str>>,
    order: VecDeque<Box<str>>,
    events_max: usize,
}

impl Seen {
    /// Remembers so many messages.
    #[must_use]
    pub fn new(events_max: usize) -> Seen {
        assert!(events_max > 0, "at least the last one is remembered");
        Seen { known: BTreeSet::new(), order: VecDeque::new(), events_max }
    }

    /// Whether this one is new; from now on it is not.
    pub fn is_new(&mut self, event: &WebhookEvent) -> bool {
        if !self.known.insert(event.id.clone()) {
            return false;
        }
        self.order.push_back(event.id.clone());
        if self.order.len() > self.events_max {
            let oldest = self.order.pop_front().expect("longer than its bound");
            assert!(self.known.remove(&oldest), "both hold the same");
        }
        assert_eq!(self.order.len(), self.known.len(), "both hold the same");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_new_once_and_memory_is_bounded() {
        let event = |id: &str| WebhookEvent {
            id: id.into(),
            name: "payment_intent.succeeded".into(),
            topic: Topic::Payment,
            payment: None,
            object: None,
            operation: None,
            created: Timestamp::ZERO,
        };
        let mut seen = Seen::new(2);
        assert!(seen.is_new(&event("a")));
        assert!(!seen.is_new(&event("a")));
        assert!(seen.is_new(&event("b")));
        assert!(seen.is_new(&event("c")));
        assert!(!seen.is_new(&event("c")));
        assert!(seen.is_new(&event("a")), "the oldest was forgotten");
        assert_eq!(seen.order.len(), 2);
    }
}
