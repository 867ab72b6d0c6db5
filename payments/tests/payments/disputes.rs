//! Disputes and fees: what the provider books of its own accord, over the wire.

use crate::world::{authorise, client, done, now, with};
use novax_model::{Currency, Timestamp};
use novax_payments::mock::{Delivery, Mock};
use novax_payments::{DisputeState, OperationKind, PaymentProvider, ProviderRef, Topic};

#[tokio::test]
async fn a_dispute_is_told_asked_for_and_listed() {
    let mock = Mock::start().await;
    let stripe = client(&mock);
    let (payment, _) = done(&stripe, &authorise("pm_card_visa", 500)).await;
    done(&stripe, &with(OperationKind::Capture, &payment, 360)).await;
    let _ = mock.take_webhooks(Delivery::InOrder);
    let id = mock.dispute(payment.as_str(), 1_500);
    let told = mock.take_webhooks(Delivery::Twice);
    assert_eq!(told.len(), 2);
    for (signature, body) in &told {
        let event = stripe.verify_webhook(signature, body, now()).expect("signed");
        assert_eq!(event.topic, Topic::Dispute);
        assert_eq!(event.object.expect("it says").as_str(), id);
        assert_eq!(event.payment.as_ref(), Some(&payment));
    }
    let reference = ProviderRef::new(&id).unwrap();
    let row = stripe.dispute(&reference).await.expect("answers").expect("there is one");
    assert_eq!((row.state, row.amount, row.fee), (DisputeState::Open, 360, 1_500));
    assert_eq!((row.currency, row.payment.as_ref()), (Currency::EUR, Some(&payment)));
    assert_eq!(
        stripe.disputes(Timestamp::ZERO, 100).await.expect("answers"),
        std::slice::from_ref(&row)
    );
    mock.decide(&id, true);
    let won = stripe.dispute(&reference).await.expect("answers").expect("there is one");
    assert_eq!(won.state, DisputeState::Won);
    assert_eq!((won.amount, won.fee), (row.amount, row.fee), "an entry is the same for ever");
    let nobody = ProviderRef::new("du_nobody").unwrap();
    assert_eq!(stripe.dispute(&nobody).await.expect("answers"), None);
}

#[tokio::test]
async fn what_the_provider_keeps_is_listed() {
    let mock = Mock::start().await;
    let stripe = client(&mock);
    let (payment, _) = done(&stripe, &authorise("pm_card_visa", 500)).await;
    done(&stripe, &with(OperationKind::Capture, &payment, 360)).await;
    mock.keep_fee(payment.as_str(), 12);
    mock.keep_fee(payment.as_str(), 0);
    let fees = stripe.fees(Timestamp::ZERO, 100).await.expect("answers");
    assert_eq!(fees.len(), 1, "nothing is no fee");
    assert_eq!((fees[0].fee, fees[0].currency), (12, Currency::EUR));
    for _ in 0..120 {
        mock.keep_fee(payment.as_str(), 1);
    }
    assert_eq!(stripe.fees(Timestamp::ZERO, 1_000).await.expect("answers").len(), 121);
    assert!(stripe.fees(Timestamp::ZERO, 50).await.is_err(), "more than was asked for is said");
}
