//! What the fuzz targets call: messages and answers of anybody.

use crate::operation::{Operation, OperationId, OperationKind, ProviderRef, Target};
use crate::stripe::{codec, signature};
use novax_model::{Currency, Duration, Timestamp};

/// A header and a body, parted by the first line's end. The body is taken as it is with the header as it is, and
/// signed rightly: then it is read.
pub fn fuzz_webhook(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, body) = data.split_at(end);
    let secrets = ["whsec_fuzz".to_owned()];
    let (tolerance, now) = (Duration::from_secs(300), Timestamp(1_700_000_000_000_000));
    let header = String::from_utf8_lossy(header);
    let _ = signature::verify(&secrets, tolerance, &header, body, now);
    let signed = signature::sign("whsec_fuzz", 1_700_000_000, body);
    if let Ok(event) = signature::verify(&secrets, tolerance, &signed, body, now) {
        assert!(!event.id.is_empty() && event.id.len() <= ProviderRef::BYTES_MAX);
    }
    let target = Target::Payment(ProviderRef::new("pi_1").expect("a name"));
    let operation = |kind| Operation {
        id: OperationId(1),
        kind,
        target: target.clone(),
        amount: 100,
        currency: Currency::EUR,
        at: Timestamp::ZERO,
        subject: "".into(),
    };
    let kinds = [
        OperationKind::Increment,
        OperationKind::Capture,
        OperationKind::Void,
        OperationKind::Refund,
    ];
    for kind in kinds {
        for status in [200, 400, 402, 429, 500] {
            let _ = codec::answer(&operation(kind), status, body, None);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_target_takes_what_it_is_given() {
        let event = br#"{"id":"evt_1","type":"charge.refunded","created":1,"data":{"object":{"id":"ch_1"}}}"#;
        for body in [&b""[..], b"t=1,v1=00\n{}", event] {
            super::fuzz_webhook(body);
            super::fuzz_webhook(&[b"t=1700000000,v1=00\n", body].concat());
        }
    }
}
