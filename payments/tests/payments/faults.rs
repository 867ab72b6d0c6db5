//! The client and the worker against our pretended Stripe, one fault each.

use crate::world::{
    Working, authorise, authorise_present, client, done, hasty, now, succeeded, with,
};
use novax_model::{Amount, Currency, Duration, Timestamp};
use novax_payments::mock::{Fault, Mock};
use novax_payments::stripe::{Stripe, StripeConfig};
use novax_payments::{
    Attempt, Knowledge, OperationKind, Outcome, PaymentError, PaymentProvider, Policy, ProviderRef,
    Refusal, RowKind, RowState,
};
use std::sync::Arc;

fn refusal(attempt: Attempt) -> Refusal {
    match attempt {
        Attempt::Answered(Outcome::Declined { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_payment_is_held_raised_taken_and_paid_back() {
    let mock = Mock::start().await;
    let stripe = client(&mock);
    let hold = authorise("pm_card_visa", 3000);
    let (payment, held) = done(&stripe, &hold).await;
    assert_eq!(held, 3000);
    let raise = with(OperationKind::Increment, &payment, 5000);
    assert_eq!(done(&stripe, &raise).await, (payment.clone(), 5000));
    let take = with(OperationKind::Capture, &payment, 1234);
    assert_eq!(done(&stripe, &take).await, (payment.clone(), 1234));
    let back = with(OperationKind::Refund, &payment, 200);
    let (refund, paid_back) = done(&stripe, &back).await;
    assert_eq!(paid_back, 200);
    for (operation, reference, amount) in
        [(&hold, &payment, 5000), (&take, &payment, 1234), (&back, &refund, 200)]
    {
        let found = stripe.query(operation).await;
        let expected = Outcome::Succeeded { reference: reference.clone(), amount };
        assert_eq!(found, Knowledge::Found(expected), "{:?}", operation.kind);
    }
    let rows = stripe.list(hold.at, 100).await.expect("a list");
    assert_eq!(rows.len(), 2);
    let paid = rows.iter().find(|row| row.kind == RowKind::Payment).expect("the payment");
    assert_eq!((paid.amount, paid.moved, paid.state), (5000, 1234, RowState::Done));
    assert_eq!(paid.operation, Some(hold.id));
    let back_row = rows.iter().find(|row| row.kind == RowKind::Refund).expect("the refund");
    assert_eq!((back_row.moved, &back_row.payment), (200, &payment));
    assert_eq!(back_row.operation, Some(back.id));
    let kept = &mock.books().payments[payment.as_str()];
    assert_eq!(kept.metadata["novax_subject"], "session 4711 & more");
}

#[tokio::test]
async fn a_hold_is_given_back() {
    let mock = Mock::start().await;
    let stripe = client(&mock);
    let (payment, _) = done(&stripe, &authorise("pm_card_visa", 3000)).await;
    let void = with(OperationKind::Void, &payment, 0);
    assert_eq!(stripe.query(&void).await, Knowledge::Absent);
    assert_eq!(done(&stripe, &void).await, (payment.clone(), 0));
    let again = with(OperationKind::Void, &payment, 0);
    // It is no longer in that state: not refused, but to be asked for, and then it is done.
    assert_eq!(stripe.send(&again).await, Attempt::Answered(Outcome::Unknown));
    assert!(matches!(stripe.query(&again).await, Knowledge::Found(Outcome::Succeeded { .. })));
    let take = with(OperationKind::Capture, &payment, 5);
    let found = stripe.query(&take).await;
    let Knowledge::Found(Outcome::Declined { refusal: Refusal::AuthorisationGone, .. }) = found
    else {
        panic!("{found:?}");
    };
}

#[tokio::test]
async fn refusals_say_whose_fault_it_is() {
    let mock = Mock::start().await;
    let stripe = client(&mock);
    for (card, expected) in [
        ("pm_card_chargeDeclined", Refusal::CardDeclined),
        ("pm_card_chargeDeclinedInsufficientFunds", Refusal::InsufficientFunds),
        ("pm_card_authenticationRequired", Refusal::AuthenticationRequired),
        ("nothing", Refusal::NoSuchObject),
    ] {
        let hold = authorise(card, 100);
        assert_eq!(refusal(stripe.send(&hold).await), expected, "{card}");
        // Asked for later, it is the same; what was never made is not there.
        let known = match stripe.query(&hold).await {
            Knowledge::Found(outcome) => refusal(Attempt::Answered(outcome)),
            other => {
                assert_eq!((card, other), ("nothing", Knowledge::Absent));
                continue;
            }
        };
        assert_eq!(known, expected, "{card}");
    }
    let (payment, _) = done(&stripe, &authorise("pm_card_noPartialCapture", 100)).await;
    let part = with(OperationKind::Capture, &payment, 99);
    assert_eq!(refusal(stripe.send(&part).await), Refusal::NotSupported);
    let more = with(OperationKind::Capture, &payment, 101);
    assert_eq!(refusal(stripe.send(&more).await), Refusal::AmountTooLarge);
    done(&stripe, &with(OperationKind::Capture, &payment, 100)).await;
    let back = with(OperationKind::Refund, &payment, 101);
    assert_eq!(refusal(stripe.send(&back).await), Refusal::AmountTooLarge);

    let (payment, _) = done(&stripe, &authorise("pm_card_noIncrement", 100)).await;
    let raise = with(OperationKind::Increment, &payment, 200);
    assert_eq!(refusal(stripe.send(&raise).await), Refusal::NotSupported);
    let (payment, _) = done(&stripe, &authorise("pm_card_incrementDeclined", 100)).await;
    let raise = with(OperationKind::Increment, &payment, 200);
    assert_eq!(refusal(stripe.send(&raise).await), Refusal::InsufficientFunds);

    let foreign = ProviderRef::new("pi_nobodys").expect("a name");
    let take = with(OperationKind::Capture, &foreign, 5);
    assert_eq!(refusal(stripe.send(&take).await), Refusal::NoSuchObject);
    let mut fine = authorise("pm_card_visa", 1234);
    fine.currency = Currency::new("KWD").expect("dinars");
    assert_eq!(refusal(stripe.send(&fine).await), Refusal::AmountUnfit);
}

/// Each fault, at each kind of operation: it ends well, and counts once.
#[tokio::test]
async fn whatever_is_lost_an_operation_is_done_once() {
    for fault in [
        Fault::LoseRequest,
        Fault::LoseReply,
        Fault::ErrorBefore,
        Fault::ErrorAfter,
        Fault::TooMany,
        Fault::Busy,
        Fault::Nonsense,
    ] {
        let mock = Mock::start().await;
        let mut working = Working::start(Arc::new(client(&mock)), hasty());
        mock.fail_posts([fault]);
        let hold = authorise("pm_card_visa", 3000);
        let (payment, _) = succeeded(&working.outcome(&hold, false).await);
        let steps = [
            (OperationKind::Increment, 5000),
            (OperationKind::Capture, 4000),
            (OperationKind::Refund, 1500),
        ];
        for (kind, amount) in steps {
            mock.fail_posts([fault]);
            mock.fail_gets([fault, Fault::None, Fault::ErrorBefore]);
            let outcome = working.outcome(&with(kind, &payment, amount), false).await;
            assert_eq!(succeeded(&outcome).1, amount, "{fault:?} {kind:?}");
            mock.recover();
        }
        let books = mock.books();
        assert_eq!(books.payments.len(), 1, "{fault:?}");
        let paid = &books.payments[payment.as_str()];
        assert_eq!((paid.amount, paid.received, paid.captures), (5000, 4000, 1), "{fault:?}");
        assert_eq!(books.refunded(payment.as_str()), 1500, "{fault:?}");

        let other = succeeded(&working.outcome(&authorise("pm_card_visa", 10), false).await).0;
        mock.fail_posts([fault]);
        working.outcome(&with(OperationKind::Void, &other, 0), false).await;
        assert_eq!(mock.books().payments[other.as_str()].status, "canceled", "{fault:?}");
    }
}

#[tokio::test]
async fn silence_is_not_a_no() {
    let mock = Mock::start().await;
    let config = mock.config(Duration::from_millis(300));
    let stripe = Arc::new(Stripe::new(config).expect("a configuration"));
    let mut working = Working::start(stripe, hasty());
    mock.fail_posts([Fault::Silence]);
    mock.fail_gets([Fault::Silence]);
    let outcome = working.outcome(&authorise("pm_card_visa", 700), false).await;
    assert_eq!(succeeded(&outcome).1, 700);
    assert_eq!(mock.books().payments.len(), 1);
}

/// The worst: the provider says that it has it not, the operation is sent again, and then the first request
/// arrives after all.
#[tokio::test]
async fn a_request_that_arrives_after_it_was_sent_again_counts_once() {
    let mock = Mock::start().await;
    let stripe = Arc::new(Stripe::new(mock.config(Duration::from_millis(200))).expect("fine"));
    let mut working = Working::start(stripe, hasty());
    mock.fail_posts([Fault::Late(600)]);
    let hold = authorise("pm_card_visa", 700);
    let (payment, _) = succeeded(&working.outcome(&hold, false).await);
    // Both arrive; the late one is answered from memory.
    let mut books = mock.books();
    while books.effects + books.replays < 2 {
        tokio::task::yield_now().await;
        books = mock.books();
    }
    assert_eq!((books.payments.len(), books.effects), (1, 1));
    assert!(books.payments.contains_key(payment.as_str()));
}

#[tokio::test]
async fn an_error_that_the_provider_repeats_ends_as_unknown_and_not_as_a_second_try_under_another_key()
 {
    let mock = Mock::start().await;
    let mut working = Working::start(Arc::new(client(&mock)), hasty());
    mock.fail_posts([Fault::ErrorForGood]);
    let outcome = working.outcome(&authorise("pm_card_visa", 700), false).await;
    assert_eq!(outcome, Outcome::Unknown);
    let books = mock.books();
    assert_eq!((books.payments.len(), books.effects), (0, 0));
    assert_eq!(books.replays, u64::from(Policy::default().sends_max) - 1);
}

#[tokio::test]
async fn one_that_was_sent_before_a_restart_is_found_and_not_sent_again() {
    let mock = Mock::start().await;
    let stripe = Arc::new(client(&mock));
    let hold = authorise("pm_card_visa", 700);
    done(&stripe, &hold).await;
    let (posts, _) = mock.requests();
    let mut working = Working::start(stripe, hasty());
    assert_eq!(succeeded(&working.outcome(&hold, true).await).1, 700);
    assert_eq!(mock.requests().0, posts, "it was only asked for");
}

#[tokio::test]
async fn a_hold_that_lapsed_cannot_be_taken() {
    let mock = Mock::start().await;
    let stripe = Arc::new(client(&mock));
    let (payment, _) = done(&stripe, &authorise("pm_card_visa", 700)).await;
    mock.expire(payment.as_str());
    let mut working = Working::start(stripe, hasty());
    let outcome = working.outcome(&with(OperationKind::Capture, &payment, 500), false).await;
    assert_eq!(refusal(Attempt::Answered(outcome)), Refusal::AuthorisationGone);
    assert_eq!(mock.books().payments[payment.as_str()].captures, 0);
}

#[tokio::test]
async fn a_present_payer_is_asked_who_they_are() {
    for passed in [true, false] {
        let mock = Mock::start().await;
        let mut working = Working::start(Arc::new(client(&mock)), hasty());
        let hold = authorise_present("pm_card_authenticationRequired", 900);
        working.hand(&hold, false).await;
        let first = working.next().await;
        let Outcome::Pending { reference, challenge: Some(challenge) } = first.outcome else {
            panic!("{first:?}");
        };
        assert!(!first.last && challenge.contains("secret"));
        mock.authenticate(reference.as_str(), passed);
        let end = working.next().await;
        assert!(end.last);
        if passed {
            assert_eq!(succeeded(&end.outcome), (reference, 900));
        } else {
            let refused = refusal(Attempt::Answered(end.outcome));
            assert_eq!(refused, Refusal::AuthenticationRequired);
        }
    }
}

#[tokio::test]
async fn a_wrong_key_and_a_dead_server_take_nothing_up() {
    let mock = Mock::start().await;
    let config = mock.config(Duration::from_secs(20));
    let wrong = Stripe::new(StripeConfig { key: "sk_wrong".into(), ..config.clone() });
    let wrong = wrong.expect("a configuration");
    let hold = authorise("pm_card_visa", 5);
    assert!(matches!(wrong.send(&hold).await, Attempt::NotTaken { .. }));
    let listed = wrong.list(now(), 10).await;
    assert!(matches!(listed, Err(PaymentError::Refused(_))), "{listed:?}");
    drop(mock);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", closed.local_addr().expect("bound"));
    drop(closed);
    let dead = Stripe::new(StripeConfig { url, ..config }).expect("a configuration");
    let policy = Policy { sends_max: 3, ..hasty() };
    let mut working = Working::start(Arc::new(dead), policy);
    let outcome = working.outcome(&hold, false).await;
    assert_eq!(refusal(Attempt::Answered(outcome)), Refusal::Unavailable);
}

#[test]
fn a_key_never_goes_over_a_network_in_clear() {
    let config = StripeConfig::new("sk_live_1", "whsec_1");
    for (url, fine) in [
        ("https://api.stripe.com", true),
        ("http://127.0.0.1:1", true),
        ("http://api.stripe.com", false),
        ("http://127.0.0.1.evil.example", false),
        ("ftp://127.0.0.1", false),
        ("nonsense", false),
    ] {
        let made = Stripe::new(StripeConfig { url: url.into(), ..config.clone() });
        assert_eq!(made.is_ok(), fine, "{url}");
    }
    let none = Stripe::new(StripeConfig { key: String::new(), ..config.clone() });
    assert!(matches!(none, Err(PaymentError::Configuration(_))));
    let shown = format!("{config:?}");
    assert!(!shown.contains("sk_live_1") && !shown.contains("whsec_1"), "{shown}");
}

#[tokio::test]
async fn lists_go_over_pages_and_are_bounded() {
    let mock = Mock::start().await;
    let stripe = client(&mock);
    let begun = now();
    let mut sum: Amount = 0;
    for amount in 1..=230 {
        done(&stripe, &authorise("pm_card_visa", amount)).await;
        sum += amount;
    }
    let rows = stripe.list(begun, 1000).await.expect("a list");
    assert_eq!(rows.len(), 230);
    assert_eq!(rows.iter().map(|row| row.amount).sum::<Amount>(), sum);
    let few = stripe.list(begun, 100).await;
    assert!(matches!(few, Err(PaymentError::TooMany { rows_max: 100 })), "{few:?}");
    let later = begun.saturating_add(Duration::from_secs(3600));
    assert_eq!(stripe.list(later, 100).await.expect("a list").len(), 0);
    assert_eq!(stripe.list(Timestamp::ZERO, 1000).await.expect("a list").len(), 230);
}
