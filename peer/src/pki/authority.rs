//! The cluster's certificate authority: made once, asked for certificates of those who were invited.
//!
//! * An invitation serves one key: who lost the answer may ask again with the same key, nobody else can use it.
//! * Of a request only the public key is taken; what the certificate says is the inviter's decision alone.

use super::files::pem;
use super::join::Request;
use super::{
    AUTHORITY_CERTIFICATE, AUTHORITY_KEY, INVITATIONS, Identity, NODE_CERTIFICATE, NODE_KEY, Token,
    files, node_name, read_certificate, tls,
};
use crate::error::Error;
use crate::id::{ClusterId, hex, unhex};
use novax_model::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Clocks of nodes may differ by so much when a certificate is made.
const CLOCK_SKEW_MAX: Duration = DAY;
const AUTHORITY_VALID: Duration = DAY.saturating_mul(365 * 30);
const NODE_VALID: Duration = DAY.saturating_mul(365 * 10);
/// Invitations open at a time.
const INVITATIONS_MAX: usize = 256;

/// Makes a cluster's authority and the certificate of its first node in `dir`.
///
/// # Errors
/// [`Error::Exists`] when the directory has a node's certificate already; [`Error`] for files.
pub fn create(dir: &Path, cluster: ClusterId, node: NodeId) -> Result<(), Error> {
    files::make_dir(dir)?;
    // Written last: what a crash left before it is made again.
    let certificate = dir.join(NODE_CERTIFICATE);
    if certificate.exists() {
        return Err(Error::Exists(certificate.display().to_string()));
    }
    let key = KeyPair::generate()?;
    let key_pem = key.serialize_pem();
    let params = authority_params(cluster);
    let authority = params.self_signed(&key)?;
    let node_key = KeyPair::generate()?;
    let issued = node_params(node, cluster).signed_by(&node_key, &Issuer::new(params, key))?;
    files::write(&dir.join(AUTHORITY_KEY), &key_pem)?;
    files::write(&dir.join(AUTHORITY_CERTIFICATE), &authority.pem())?;
    files::write(&dir.join(NODE_KEY), &node_key.serialize_pem())?;
    files::write(&certificate, &issued.pem())
}

fn named(name: String) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn authority_params(cluster: ClusterId) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(format!("Nova-X cluster {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SKEW_MAX).into();
    params.not_after = (now + AUTHORITY_VALID).into();
    params
}

fn node_params(node: NodeId, cluster: ClusterId) -> CertificateParams {
    let name = node_name(node, cluster);
    let mut params = CertificateParams::new(vec![name]).expect("digits and letters make a name");
    params.distinguished_name = named(format!("node {}", node.get()));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SKEW_MAX).into();
    params.not_after = (now + NODE_VALID).into();
    params
}

/// The authority, where its key is.
pub struct Authority {
    invitations: PathBuf,
    cluster: ClusterId,
    /// The node that holds it.
    node: NodeId,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    /// Held while an invitation is read and marked: it serves one key.
    answering: Mutex<()>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority(of {}, at {})", self.cluster, self.node)
    }
}

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Its number.
    pub node: NodeId,
    /// Where it says that it will be called.
    pub address: String,
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
}

impl Authority {
    /// The authority of `identity`'s cluster.
    ///
    /// # Errors
    /// [`Error::NoAuthority`] where its key is not in `dir`; [`Error`] for files.
    pub fn load(dir: &Path, identity: &Identity) -> Result<Authority, Error> {
        let key = files::read_if_there(&dir.join(AUTHORITY_KEY))?.ok_or(Error::NoAuthority)?;
        let key = KeyPair::from_pem(&key)?;
        let certificate = read_certificate(&dir.join(AUTHORITY_CERTIFICATE))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        let invitations = dir.join(INVITATIONS);
        files::make_dir(&invitations)?;
        let (cluster, node) = (identity.cluster, identity.node);
        Ok(Authority { invitations, cluster, node, certificate, issuer, answering: Mutex::new(()) })
    }

    /// Invites a node. Its number must never have been another's: a disk that was replaced is another node.
    ///
    /// # Errors
    /// [`Error`] for files, or when too many invitations are open.
    pub fn invite(&self, node: NodeId, valid: Duration) -> Result<Token, Error> {
        assert_ne!(node, self.node, "a node does not invite itself");
        let _alone = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget_the_old()?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .map_err(|error| Error::Certificate(format!("no random numbers: {error}")))?;
        let invitation =
            Invitation { secret, node, expires_s: unix_s() + valid.as_secs(), key: None };
        files::write(&self.path(Token::id(&secret)), &invitation.to_text())?;
        let fingerprint = tls::fingerprint(&self.certificate);
        Ok(Token { cluster: self.cluster, node, inviter: self.node, fingerprint, secret })
    }

    /// Makes the certificates of a node in `dir`, without an invitation: for whoever carries the directory there.
    ///
    /// # Errors
    /// [`Error::Exists`] when the directory has a node's certificate already; [`Error`] for files.
    pub fn issue(&self, node: NodeId, dir: &Path) -> Result<(), Error> {
        files::make_dir(dir)?;
        let certificate = dir.join(NODE_CERTIFICATE);
        if certificate.exists() {
            return Err(Error::Exists(certificate.display().to_string()));
        }
        let key = KeyPair::generate()?;
        let issued = node_params(node, self.cluster).signed_by(&key, &self.issuer)?;
        files::write(&dir.join(AUTHORITY_CERTIFICATE), &pem(&self.certificate))?;
        files::write(&dir.join(NODE_KEY), &key.serialize_pem())?;
        files::write(&certificate, &issued.pem())
    }

    fn path(&self, id: [u8; 16]) -> PathBuf {
        self.invitations.join(hex(&id))
    }

    /// Removes invitations that are out of date.
    fn forget_the_old(&self) -> Result<(), Error> {
        let failed = |error| Error::io(self.invitations.display().to_string())(error);
        let mut open = 0;
        for entry in std::fs::read_dir(&self.invitations).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(text) = files::read_if_there(&path)? else { continue };
            let valid = Invitation::of_text(&text).is_some_and(|one| one.expires_s > unix_s());
            if valid {
                open += 1;
            } else {
                std::fs::remove_file(&path).map_err(failed)?;
            }
        }
        if open >= INVITATIONS_MAX {
            return Err(Error::Refused(format!("{INVITATIONS_MAX} invitations are open")));
        }
        Ok(())
    }

    /// Answers a request that came over a TLS connection whose binding (an exported key) is `binding`.
    ///
    /// # Errors
    /// [`Error::Refused`]: the request is wrong, or of no open invitation; [`Error`] for files.
    pub fn admit(&self, request: &[u8], binding: &[u8; 32]) -> Result<Admission, Error> {
        let refused = |why: &str| Error::Refused(why.to_owned());
        let request =
            Request::decode(request).ok_or_else(|| refused("the request is malformed"))?;
        let _alone = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(request.invitation);
        let text = files::read_if_there(&path)?;
        // The same words for what never was and what is wrong: nothing is to be learned from them.
        let unknown = || refused("there is no such invitation, or it is used or out of date");
        let mut invitation = text.as_deref().and_then(Invitation::of_text).ok_or_else(unknown)?;
        if !request.is_signed_by(&invitation.secret, binding) || invitation.expires_s <= unix_s() {
            return Err(unknown());
        }
        let asked = CertificateSigningRequestParams::from_der(&request.signing.as_slice().into())
            .map_err(|_| refused("the certificate request is malformed"))?;
        let key: [u8; 32] = Sha256::digest(asked.public_key.der_bytes()).into();
        if invitation.key.is_some_and(|used| used != key) {
            return Err(unknown());
        }
        // The mark is durable before anything is given away.
        invitation.key = Some(key);
        files::write(&path, &invitation.to_text())?;
        let node = invitation.node;
        let issued = node_params(node, self.cluster).signed_by(&asked.public_key, &self.issuer)?;
        let certificate = issued.der().clone();
        Ok(Admission { node, address: request.address, certificate })
    }
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An invitation as its inviter keeps it.
#[derive(Debug, PartialEq, Eq)]
struct Invitation {
    secret: [u8; 32],
    node: NodeId,
    expires_s: u64,
    /// SHA-256 of the public key that used it.
    key: Option<[u8; 32]>,
}

impl Invitation {
    fn to_text(&self) -> String {
        let Invitation { secret, node, expires_s, key } = self;
        let key = key.map_or_else(|| "-".to_owned(), |key| hex(&key));
        format!("novax-invitation-1 {} {} {expires_s} {key}\n", hex(secret), node.get())
    }

    fn of_text(text: &str) -> Option<Invitation> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        if words.next()? != "novax-invitation-1" {
            return None;
        }
        let secret = unhex(words.next()?)?;
        let node = NodeId::new(words.next()?.parse().ok()?)?;
        let expires_s = words.next()?.parse().ok()?;
        let key = match words.next()? {
            "-" => None,
            key => Some(unhex(key)?),
        };
        words.next().is_none().then_some(Invitation { secret, node, expires_s, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_read_as_it_is_written() {
        let node = NodeId::new(3).expect("not zero");
        for key in [None, Some([5; 32])] {
            let invitation = Invitation { secret: [9; 32], node, expires_s: 77, key };
            let text = invitation.to_text();
            assert_eq!(Invitation::of_text(&text), Some(invitation));
            assert_eq!(Invitation::of_text(&text[..text.len() - 2]), None, "cut short");
        }
    }
}
