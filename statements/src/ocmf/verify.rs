//! Whether a record is what the meter signed.

use super::key::{Curve, PublicKey};
use super::record::Record;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// What is known of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The owner of the key signed exactly these bytes.
    Valid,
    /// Not so: the record was changed, or another key signed it.
    Invalid(&'static str),
    /// It cannot be told here.
    Unverifiable(&'static str),
}

/// Verifies a record with the meter's key, which has to come from somewhere else than the record.
#[must_use]
pub fn verify(record: &Record, key: &PublicKey) -> Verdict {
    let section = &record.signature;
    let Some(curve) = Curve::of_algorithm(&section.algorithm) else {
        return Verdict::Unverifiable("signature algorithm not known");
    };
    if let Curve::Unsupported(_) = curve {
        return Verdict::Unverifiable("curve not supported");
    }
    if key.curve.is_some_and(|of_key| of_key != curve) {
        return Verdict::Invalid("the key is of another curve than the signature");
    }
    if &*section.mime != "application/x-der" {
        return Verdict::Unverifiable("signature type not known");
    }
    let signature = match &*section.encoding {
        "hex" => hex(&section.data),
        "base64" => STANDARD.decode(&*section.data).ok(),
        _ => return Verdict::Unverifiable("signature encoding not known"),
    };
    let Some(signature) = signature else {
        return Verdict::Invalid("the signature is not in its encoding");
    };
    let hash = Sha256::digest(record.payload());
    match curve {
        Curve::Secp256r1 => p256_verify(&hash, &signature, &key.point),
        Curve::Secp384r1 => p384_verify(&hash, &signature, &key.point),
        Curve::Secp256k1 => k256_verify(&hash, &signature, &key.point),
        Curve::Unsupported(_) => Verdict::Unverifiable("curve not supported"),
    }
}

const NOT_DER: Verdict = Verdict::Invalid("the signature is no DER");
const NO_POINT: Verdict = Verdict::Unverifiable("the key is no point of the curve");
const CHANGED: Verdict = Verdict::Invalid("the payload is not what this key signed");

/// One body for three curves whose types have nothing in common.
macro_rules! verify_with {
    ($name:ident, $curve:ident) => {
        fn $name(hash: &[u8], signature: &[u8], point: &[u8]) -> Verdict {
            use $curve::ecdsa::signature::hazmat::PrehashVerifier as _;
            let Ok(key) = $curve::ecdsa::VerifyingKey::from_sec1_bytes(point) else {
                return NO_POINT;
            };
            let Ok(signature) = $curve::ecdsa::Signature::from_der(signature) else {
                return NOT_DER;
            };
            // Meters write either of the two signatures that are valid; k256 takes the low one
            // alone.
            let signature = signature.normalize_s().unwrap_or(signature);
            match key.verify_prehash(hash, &signature) {
                Ok(()) => Verdict::Valid,
                Err(_) => CHANGED,
            }
        }
    };
}

verify_with!(p256_verify, p256);
verify_with!(p384_verify, p384);
verify_with!(k256_verify, k256);

/// Bytes written in hex; `None` for anything else.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
