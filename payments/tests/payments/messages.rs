//! Signed messages: vectors made by another implementation of HMAC, and everything that is not one.

use crate::world::{authorise, client, done, now, with};
use novax_model::{Duration, Timestamp};
use novax_payments::mock::{Delivery, Mock, WEBHOOK_SECRET};
use novax_payments::stripe::signature::{sign, verify};
use novax_payments::{OperationKind, PaymentProvider, Seen, Topic, WebhookError, WebhookEvent};

const BODY: &[u8] = br#"{"id":"evt_1","object":"event","type":"payment_intent.succeeded","created":1700000000,"data":{"object":{"id":"pi_7","object":"payment_intent","metadata":{"novax_operation":"0000000000000000000000000000002a"}}}}"#;
const SIGNED_S: u64 = 1_700_000_000;
/// Python: hmac.new(b"whsec_vector", b"1700000000." + BODY, hashlib.sha256).hexdigest()
const SIGNATURE: &str = "183c94595b27fc4bf36e553a6604fc4f1a43b04a6c0d57643a4d0cecf332b977";

fn check(header: &str, body: &[u8], at_s: u64) -> Result<WebhookEvent, WebhookError> {
    let secrets = ["whsec_old".to_owned(), "whsec_vector".to_owned()];
    verify(&secrets, Duration::from_secs(300), header, body, Timestamp(at_s * 1_000_000))
}

#[test]
fn a_signed_message_is_read() {
    let header = format!("t={SIGNED_S},v1={SIGNATURE}");
    assert_eq!(sign("whsec_vector", SIGNED_S, BODY), header);
    let event = check(&header, BODY, SIGNED_S + 300).expect("it is signed");
    assert_eq!((&*event.id, &event.topic), ("evt_1", &Topic::Payment));
    assert_eq!(event.payment.expect("it says").as_str(), "pi_7");
    assert_eq!(event.operation.expect("it says").0, 42);
    assert_eq!(event.created, Timestamp(SIGNED_S * 1_000_000));
    // Among others, as while a secret is replaced.
    let several = format!("t={SIGNED_S},v1={},v1={SIGNATURE},v0=abc", "0".repeat(64));
    assert!(check(&several, BODY, SIGNED_S).is_ok());
}

#[test]
fn a_message_changed_in_any_byte_is_refused() {
    let header = format!("t={SIGNED_S},v1={SIGNATURE}");
    for place in 0..BODY.len() {
        let mut body = BODY.to_vec();
        body[place] ^= 1;
        assert_eq!(check(&header, &body, SIGNED_S), Err(WebhookError::Signature), "{place}");
    }
    for place in 0..header.len() {
        let mut changed = header.clone().into_bytes();
        changed[place] ^= 1;
        let changed = String::from_utf8(changed).expect("ASCII");
        assert!(check(&changed, BODY, SIGNED_S).is_err(), "{changed}");
    }
}

#[test]
fn old_early_long_and_foreign_messages_have_their_own_errors() {
    let header = format!("t={SIGNED_S},v1={SIGNATURE}");
    assert_eq!(check(&header, BODY, SIGNED_S + 301), Err(WebhookError::Time));
    assert_eq!(check(&header, BODY, SIGNED_S - 301), Err(WebhookError::Time));
    assert_eq!(check(&header, &vec![b' '; 300_000], SIGNED_S), Err(WebhookError::TooLong));
    for wrong in ["", "t", "v1=00", "t=,v1=00", "t=-1,v1=00", "t=1,t=2,v1=00", "t=123456789012"] {
        assert_eq!(check(wrong, BODY, SIGNED_S), Err(WebhookError::Header), "{wrong:?}");
    }
    for none in ["t=1700000000", "t=1700000000,v1=zz", "t=1700000000,v0=00"] {
        assert_eq!(check(none, BODY, SIGNED_S), Err(WebhookError::Signature), "{none:?}");
    }
    let foreign = sign("whsec_vector", SIGNED_S, b"[]");
    assert_eq!(check(&foreign, b"[]", SIGNED_S), Err(WebhookError::Nonsense));
    // Nobody may sign with no secret at all.
    let empty = sign("", SIGNED_S, BODY);
    let now = Timestamp(SIGNED_S * 1_000_000);
    let none = verify(&[String::new()], Duration::from_secs(300), &empty, BODY, now);
    assert_eq!(none, Err(WebhookError::Signature));
}

#[tokio::test]
async fn messages_that_come_twice_are_known() {
    let mock = Mock::start().await;
    let stripe = client(&mock);
    let hold = authorise("pm_card_visa", 700);
    let (payment, _) = done(&stripe, &hold).await;
    done(&stripe, &with(OperationKind::Capture, &payment, 700)).await;
    let refund = with(OperationKind::Refund, &payment, 100);
    done(&stripe, &refund).await;
    let messages = mock.take_webhooks(Delivery::Twice);
    assert_eq!(messages.len(), 6);
    let mut seen = Seen::new(100);
    let mut fresh = Vec::new();
    for (header, body) in &messages {
        let event = stripe.verify_webhook(header, body, now()).expect("signed");
        if seen.is_new(&event) {
            fresh.push(event);
        }
    }
    let topics: Vec<&Topic> = fresh.iter().map(|event| &event.topic).collect();
    assert_eq!(topics, [&Topic::Payment, &Topic::Payment, &Topic::Refund]);
    assert!(fresh.iter().all(|event| event.payment.as_ref() == Some(&payment)));
    assert_eq!(fresh[0].operation, Some(hold.id));
    assert_eq!(fresh[2].operation, Some(refund.id));
    let mut other = mock.config(Duration::from_secs(1));
    other.webhook_secrets = vec![format!("{WEBHOOK_SECRET}x")];
    let other = novax_payments::stripe::Stripe::new(other).expect("a configuration");
    let (header, body) = &messages[0];
    assert_eq!(other.verify_webhook(header, body, now()), Err(WebhookError::Signature));
}
