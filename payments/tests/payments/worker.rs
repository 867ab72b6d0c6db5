//! The worker itself: duplicates, hints, and its end.

use crate::world::{Working, authorise, authorise_present, client, hasty, succeeded};
use novax_model::Duration;
use novax_payments::mock::{Delivery, Mock};
use novax_payments::{Hint, Outcome, PaymentProvider, Policy};
use std::collections::BTreeSet;
use std::sync::Arc;

#[tokio::test]
async fn many_operations_each_end_once_and_the_worker_ends_with_its_queue() {
    let mock = Mock::start().await;
    let mut working = Working::start(Arc::new(client(&mock)), hasty());
    let holds: Vec<_> = (1..=40).map(|amount| authorise("pm_card_visa", amount)).collect();
    for hold in &holds {
        working.hand(hold, false).await;
        working.hand(hold, true).await;
    }
    let mut ended = BTreeSet::new();
    drop(std::mem::replace(&mut working.work, tokio::sync::mpsc::channel(1).0));
    while let Some(report) = working.reports.recv().await {
        assert!(report.last);
        succeeded(&report.outcome);
        ended.insert(report.operation);
    }
    assert_eq!(ended.len(), holds.len());
    let books = mock.books();
    assert_eq!(books.payments.len(), holds.len(), "what was handed over twice was done once");
}

#[tokio::test]
async fn a_message_of_the_provider_ends_the_wait() {
    let mock = Mock::start().await;
    let stripe = Arc::new(client(&mock));
    // Without the message this test would take an hour.
    let hour = Duration::from_secs(3600);
    let patient = Policy { wait_first: hour, wait_max: hour, ..Policy::default() };
    let mut working = Working::start(Arc::clone(&stripe) as Arc<dyn PaymentProvider>, patient);
    let hold = authorise_present("pm_card_authenticationRequired", 900);
    working.hand(&hold, false).await;
    let Outcome::Pending { reference, .. } = working.next().await.outcome else {
        panic!("it waits for the payer");
    };
    mock.authenticate(reference.as_str(), true);
    for (header, body) in mock.take_webhooks(Delivery::Reversed) {
        let event = stripe.verify_webhook(&header, &body, crate::world::now()).expect("signed");
        working.hints.send(Hint::from(&event)).await.expect("it works");
    }
    let end = working.next().await;
    assert!(end.last);
    assert_eq!(succeeded(&end.outcome), (reference, 900));
}
