//! Values that a meter signed, as the station carries them: kept to the byte, judged by whoever asks.
//!
//! OCPP 1.6 has them as samples of format `SignedData`, 2.0.1 as `signedMeterValue` beside a sample. Only
//! those that come with the end of a transaction are kept: meters repeat the beginning there.

use novax_charging::{Signed, SignedNature, SignedValue};
use novax_wire::ocpp::{v16, v201};

fn nature(context: Option<&str>) -> SignedNature {
    match context {
        Some("Transaction.Begin") => SignedNature::Start,
        Some("Transaction.End") => SignedNature::End,
        _ => SignedNature::Intermediate,
    }
}

fn kept(values: Vec<SignedValue>) -> Option<Box<Signed>> {
    (!values.is_empty()).then(|| Box::new(Signed { energy: None, values }))
}

/// What OCPP 1.6 brought along.
pub(super) fn signed_v16(values: &[v16::MeterValue<'_>]) -> Option<Box<Signed>> {
    let samples = values.iter().flat_map(|value| &value.sampled_value);
    let signed = samples.filter(|sample| sample.format.as_deref() == Some("SignedData"));
    kept(
        signed
            .map(|sample| SignedValue {
                nature: nature(sample.context.as_deref()),
                encoding: "".into(),
                method: "".into(),
                key: "".into(),
                raw: sample.value.as_bytes().to_vec(),
            })
            .collect(),
    )
}

/// What OCPP 2.0.1 brought along.
pub(super) fn signed_v201(values: &[v201::MeterValue<'_>]) -> Option<Box<Signed>> {
    let samples = values.iter().flat_map(|value| &value.sampled_value);
    let signed = samples.filter_map(|sample| {
        let value = sample.signed_meter_value.as_ref()?;
        Some(SignedValue {
            nature: nature(sample.context.as_deref()),
            encoding: (*value.encoding_method).into(),
            method: (*value.signing_method).into(),
            key: (*value.public_key).into(),
            raw: value.signed_meter_data.as_bytes().to_vec(),
        })
    });
    kept(signed.collect())
}

#[cfg(test)]
mod tests {
    use crate::gateway::{Intent, ReplyContext, v16, v201};
    use novax_charging::SignedNature;
    use novax_model::Timestamp;

    const CONTEXT: ReplyContext = ReplyContext { now: Timestamp(1), heartbeat_interval_s: 300 };

    #[test]
    fn a_stop_of_1_6_brings_what_the_meter_signed() {
        let payload = r#"{"transactionId":1,"meterStop":1000,"timestamp":"2026-01-01T00:00:00Z",
            "transactionData":[{"timestamp":"2026-01-01T00:00:00Z","sampledValue":[
                {"value":"1000","context":"Transaction.End"},
                {"value":"OCMF|{}|{}","format":"SignedData","context":"Transaction.Begin"},
                {"value":"b2NtZg==","format":"SignedData","context":"Transaction.End"}]}]}"#;
        let Ok(Intent::End(end)) = v16::read_call("StopTransaction", payload, &CONTEXT) else {
            panic!("a stop was sent")
        };
        let values = end.signed.expect("two signed values").values;
        let natures: Vec<SignedNature> = values.iter().map(|value| value.nature).collect();
        assert_eq!(natures, [SignedNature::Start, SignedNature::End]);
        assert_eq!(
            (&values[0].raw[..], &values[1].raw[..]),
            (&b"OCMF|{}|{}"[..], &b"b2NtZg=="[..])
        );
    }

    #[test]
    fn the_end_of_2_0_1_brings_what_the_meter_signed() {
        let payload = r#"{"eventType":"Ended","timestamp":"2026-01-01T00:00:00Z",
            "triggerReason":"StopAuthorized","seqNo":3,"transactionInfo":{"transactionId":"T-1"},
            "meterValue":[{"timestamp":"2026-01-01T00:00:00Z","sampledValue":[{"value":1000,
                "context":"Transaction.End","signedMeterValue":{"signedMeterData":"T0NNRg==",
                "signingMethod":"ECDSA-secp256r1-SHA256","encodingMethod":"OCMF",
                "publicKey":"3059"}}]}]}"#;
        let Ok(Intent::TransactionEvent(event)) =
            v201::read_call("TransactionEvent", payload, &CONTEXT)
        else {
            panic!("an event was sent")
        };
        let values = event.signed.expect("a signed value").values;
        assert_eq!(values.len(), 1);
        assert_eq!((&*values[0].encoding, &*values[0].key), ("OCMF", "3059"));
        assert_eq!((values[0].nature, &values[0].raw[..]), (SignedNature::End, &b"T0NNRg=="[..]));
    }
}
