//! Public keys of meters: the SubjectPublicKeyInfo of X.509, or the bare point, in hex or base64.

use super::OcmfError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longer is no key of OCMF's curves.
const KEY_CHARS_MAX: usize = 1024;

/// A curve of OCMF's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Curve {
    /// P-256, the default.
    Secp256r1,
    /// P-384.
    Secp384r1,
    /// Koblitz.
    Secp256k1,
    /// Known by name, but not computed with here.
    Unsupported(&'static str),
}

impl Curve {
    /// As OCMF names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Curve::Secp256r1 => "secp256r1",
            Curve::Secp384r1 => "secp384r1",
            Curve::Secp256k1 => "secp256k1",
            Curve::Unsupported(name) => name,
        }
    }

    /// Of `ECDSA-secp256r1-SHA256`; `None` for an algorithm that is not in OCMF's table.
    #[must_use]
    pub fn of_algorithm(algorithm: &str) -> Option<Curve> {
        let name = algorithm.strip_prefix("ECDSA-")?.strip_suffix("-SHA256")?;
        let unsupported = ["secp192r1", "secp192k1", "brainpool256r1", "brainpool384r1"];
        match name {
            "secp256r1" => Some(Curve::Secp256r1),
            "secp384r1" => Some(Curve::Secp384r1),
            "secp256k1" => Some(Curve::Secp256k1),
            _ => unsupported.into_iter().find(|known| *known == name).map(Curve::Unsupported),
        }
    }
}

/// The object identifiers of curves, as DER has them.
const CURVES: [(&[u8], Curve); 7] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], Curve::Secp256r1),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], Curve::Secp384r1),
    (&[0x2b, 0x81, 0x04, 0x00, 0x0a], Curve::Secp256k1),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x01], Curve::Unsupported("secp192r1")),
    (&[0x2b, 0x81, 0x04, 0x00, 0x1f], Curve::Unsupported("secp192k1")),
    (&[0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x07], Curve::Unsupported("brainpool256r1")),
    (&[0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0b], Curve::Unsupported("brainpool384r1")),
];
/// id-ecPublicKey.
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// A public key: a point and, where it was said, its curve.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey {
    /// Absent for a bare point: the record's algorithm says it.
    pub(crate) curve: Option<Curve>,
    /// As SEC 1 writes it.
    pub(crate) point: Box<[u8]>,
}

impl PublicKey {
    /// Reads a key in hex or base64, with or without a PEM frame.
    ///
    /// # Errors
    /// [`OcmfError::Key`] saying what is wrong with it.
    pub fn parse(text: &str) -> Result<PublicKey, OcmfError> {
        if text.len() > KEY_CHARS_MAX {
            return Err(OcmfError::Key("it is longer than any key"));
        }
        let framed = text.lines().filter(|line| !line.starts_with("-----"));
        let bare: String =
            framed.flat_map(str::chars).filter(|c| !c.is_ascii_whitespace()).collect();
        let bytes = super::verify::hex(&bare).or_else(|| STANDARD.decode(&bare).ok());
        PublicKey::from_bytes(&bytes.ok_or(OcmfError::Key("it is neither hex nor base64"))?)
    }

    /// Reads a key in DER, or a bare point of SEC 1.
    ///
    /// # Errors
    /// [`OcmfError::Key`] saying what is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<PublicKey, OcmfError> {
        match bytes {
            [0x30, ..] => from_der(bytes),
            [0x04, ..] if matches!(bytes.len(), 65 | 97) => {
                Ok(PublicKey { curve: None, point: bytes.into() })
            }
            [0x02 | 0x03, ..] if matches!(bytes.len(), 33 | 49) => {
                Ok(PublicKey { curve: None, point: bytes.into() })
            }
            _ => Err(OcmfError::Key("it is neither DER nor a point")),
        }
    }

    /// The curve it says it is on.
    #[must_use]
    pub fn curve(&self) -> Option<Curve> {
        self.curve
    }
}

/// `SEQUENCE { SEQUENCE { ecPublicKey, curve }, BIT STRING }`.
fn from_der(bytes: &[u8]) -> Result<PublicKey, OcmfError> {
    let broken = OcmfError::Key("its DER is no SubjectPublicKeyInfo");
    let parts = || -> Option<(&[u8], &[u8], &[u8])> {
        let (whole, rest) = element(bytes, 0x30)?;
        let (algorithm, after) = element(whole, 0x30)?;
        let (bits, end) = element(after, 0x03)?;
        let (kind, after) = element(algorithm, 0x06)?;
        let (curve, none) = element(after, 0x06)?;
        let point = bits.strip_prefix(&[0])?;
        (rest.is_empty() && end.is_empty() && none.is_empty()).then_some((kind, curve, point))
    };
    let (kind, curve, point) = parts().ok_or(broken)?;
    if kind != EC_PUBLIC_KEY {
        return Err(OcmfError::Key("it is no key of an elliptic curve"));
    }
    let known = CURVES.iter().find(|(oid, _)| *oid == curve);
    let (_, curve) = known.ok_or(OcmfError::Key("its curve is not in OCMF's table"))?;
    Ok(PublicKey { curve: Some(*curve), point: point.into() })
}

/// The contents of a DER element of a kind, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&got, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => {
            let (&length, rest) = rest.split_first()?;
            (usize::from(length), rest)
        }
        // No key of these curves is longer than 255 bytes.
        _ => return None,
    };
    (got == tag).then_some(())?;
    rest.split_at_checked(length)
}
