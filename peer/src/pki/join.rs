//! Joining: a node that was invited makes a key, and gets a certificate for it over a connection that is pinned to the
//! cluster's authority.
//!
//! * The secret of the invitation is never sent: the request is signed with it, together with something only the two ends of this
//!   TLS connection know.
//! * Whoever asks twice (the answer was lost) asks with the same key, which is on disk before the first time.

use super::files::pem;
use super::{
    AUTHORITY_CERTIFICATE, Admission, NODE_CERTIFICATE, NODE_KEY, Token, files, node_name, tls,
};
use crate::error::Error;
use crate::id::ClusterId;
use hmac::{Hmac, Mac};
use novax_model::NodeId;
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConnection;
use rustls::pki_types::CertificateDer;
use sha2::Sha256;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

const MAGIC: &[u8; 8] = b"NOVAXJN1";
const BINDING_LABEL: &[u8] = b"EXPORTER-novax-join";
const MAC_BYTES: usize = 32;
const ADDRESS_BYTES_MAX: usize = 255;
/// A request is not longer.
pub(crate) const REQUEST_BYTES_MAX: usize = 8 << 10;
/// What an inviter may tell a new node.
pub(crate) const WELCOME_BYTES_MAX: usize = 64 << 10;
const ANSWER_BYTES_MAX: u64 = 8 + 4 + (8 << 10) + WELCOME_BYTES_MAX as u64;
const STEP_MAX: Duration = Duration::from_secs(10);
const ADMITTED: u8 = 0;
const REFUSED: u8 = 1;

/// What a node that was invited asks.
pub(super) struct Request {
    pub(super) invitation: [u8; 16],
    /// Where it will be called.
    pub(super) address: String,
    /// A certificate signing request, DER.
    pub(super) signing: Vec<u8>,
    mac: [u8; MAC_BYTES],
}

impl Request {
    /// Magic, the length of all behind it, the invitation, the address, the signing request, the signature.
    pub(super) fn encode(
        token: &Token,
        address: &str,
        signing: &[u8],
        binding: &[u8; 32],
    ) -> Vec<u8> {
        let mut fields = Token::id(&token.secret).to_vec();
        fields.push(u8::try_from(address.len()).expect("an address is bounded"));
        fields.extend_from_slice(address.as_bytes());
        fields.extend_from_slice(signing);
        let mac = signature(&token.secret, &fields, binding).finalize().into_bytes();
        fields.extend_from_slice(&mac);
        let mut out = MAGIC.to_vec();
        let len = u32::try_from(fields.len()).expect("some hundred bytes");
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&fields);
        assert!(out.len() <= REQUEST_BYTES_MAX, "a request of {} bytes", out.len());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Request> {
        let fields = bytes.strip_prefix(MAGIC)?;
        let (len, fields) = fields.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*len) as usize != fields.len() {
            return None;
        }
        let (fields, mac) = fields.split_last_chunk::<MAC_BYTES>()?;
        let (invitation, rest) = fields.split_first_chunk::<16>()?;
        let (len, rest) = rest.split_first()?;
        let (address, signing) = rest.split_at_checked(usize::from(*len))?;
        let address = std::str::from_utf8(address).ok()?;
        if !address.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let (address, signing) = (address.to_owned(), signing.to_vec());
        Some(Request { invitation: *invitation, address, signing, mac: *mac })
    }

    pub(super) fn is_signed_by(&self, secret: &[u8; 32], binding: &[u8; 32]) -> bool {
        let mut fields = self.invitation.to_vec();
        fields.push(u8::try_from(self.address.len()).unwrap_or(u8::MAX));
        fields.extend_from_slice(self.address.as_bytes());
        fields.extend_from_slice(&self.signing);
        signature(secret, &fields, binding).verify_slice(&self.mac).is_ok()
    }
}

fn signature(secret: &[u8; 32], fields: &[u8], binding: &[u8; 32]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length is a key");
    mac.update(b"novax-join-request");
    mac.update(binding);
    mac.update(fields);
    mac
}

/// The bytes of a request that are known when this many have come: `None` for one that is too long or none at all.
pub(crate) fn request_len(begun: &[u8]) -> Option<usize> {
    let known = begun.len().min(MAGIC.len());
    if begun[..known] != MAGIC[..known] {
        return None;
    }
    let Some(len) = begun.get(MAGIC.len()..).and_then(<[u8]>::first_chunk::<4>) else {
        return Some(MAGIC.len() + 4);
    };
    let total = MAGIC.len() + 4 + u32::from_le_bytes(*len) as usize;
    (total <= REQUEST_BYTES_MAX).then_some(total)
}

/// What both ends of a TLS connection know and nobody else.
pub(crate) fn binding<Data>(
    connection: &rustls::ConnectionCommon<Data>,
) -> Result<[u8; 32], rustls::Error> {
    connection.export_keying_material([0; 32], BINDING_LABEL, None)
}

/// The answer to a request that was granted.
pub(crate) fn write_admission(admission: &Admission, welcome: &[u8]) -> Vec<u8> {
    assert!(welcome.len() <= WELCOME_BYTES_MAX, "a welcome of {} bytes", welcome.len());
    let mut out = vec![ADMITTED];
    let len = u32::try_from(admission.certificate.len()).expect("some hundred bytes");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&admission.certificate);
    out.extend_from_slice(welcome);
    out
}

/// The answer to one that was not.
pub(crate) fn write_refusal(why: &str) -> Vec<u8> {
    let mut out = vec![REFUSED];
    out.extend_from_slice(why.as_bytes());
    out
}

/// What a node knows when it has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its number.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// What the inviter had to say, in the words of the users: who the peers are, and whatever else.
    pub welcome: Vec<u8>,
}

/// Joins a cluster: calls the inviter at `inviter`, says that this node will be called at `address`, and puts the
/// certificates into `dir`. May be repeated until it succeeds.
///
/// # Errors
/// [`Error`]: the inviter cannot be reached, is not of the cluster in the invitation, or refuses; or files.
pub fn join(token: &Token, inviter: &str, address: &str, dir: &Path) -> Result<Joined, Error> {
    if address.len() > ADDRESS_BYTES_MAX || !address.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::Refused(format!("{address} is no address")));
    }
    files::make_dir(dir)?;
    let certificate = dir.join(NODE_CERTIFICATE);
    if certificate.exists() {
        return Err(Error::Exists(certificate.display().to_string()));
    }
    let key = key_of(dir)?;
    let signing = CertificateParams::default().serialize_request(&key)?;
    let answer = ask(token, inviter, address, signing.der())?;
    let (issued, welcome) = read_answer(&answer.bytes)?;
    let pinned = |one: &CertificateDer<'_>| tls::fingerprint(one) == token.fingerprint;
    let authority = answer.chain.into_iter().find(pinned);
    let authority = authority.expect("the connection was pinned to this authority");
    tls::verify(&issued, &authority, &node_name(token.node, token.cluster))?;
    files::write(&dir.join(AUTHORITY_CERTIFICATE), &pem(&authority))?;
    files::write(&certificate, &pem(&issued))?;
    Ok(Joined { node: token.node, cluster: token.cluster, welcome })
}

/// The key this node asks with: that of an earlier try, if there was one.
fn key_of(dir: &Path) -> Result<KeyPair, Error> {
    let path = dir.join(NODE_KEY);
    if let Some(pem) = files::read_if_there(&path)? {
        return Ok(KeyPair::from_pem(&pem)?);
    }
    let key = KeyPair::generate()?;
    files::write(&path, &key.serialize_pem())?;
    Ok(key)
}

struct Answer {
    bytes: Vec<u8>,
    /// What the inviter showed.
    chain: Vec<CertificateDer<'static>>,
}

fn ask(token: &Token, inviter: &str, address: &str, signing: &[u8]) -> Result<Answer, Error> {
    let mut socket = connect(inviter)?;
    let name = tls::Configs::name_of(token.inviter, token.cluster)?;
    let mut connection = ClientConnection::new(tls::pinned(token.fingerprint)?, name)?;
    let failed = || Error::io(inviter.to_owned());
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).map_err(failed())?;
    }
    let binding = connection.export_keying_material([0; 32], BINDING_LABEL, None)?;
    let chain = connection.peer_certificates().unwrap_or_default().to_vec();
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(&Request::encode(token, address, signing, &binding)).map_err(failed())?;
    stream.flush().map_err(failed())?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).map_err(failed())?;
    Ok(Answer { bytes, chain })
}

fn connect(inviter: &str) -> Result<TcpStream, Error> {
    let failed = || Error::io(inviter.to_owned());
    let mut last = std::io::Error::other("the name has no address");
    for address in inviter.to_socket_addrs().map_err(failed())? {
        match TcpStream::connect_timeout(&address, STEP_MAX) {
            Ok(socket) => {
                socket.set_read_timeout(Some(STEP_MAX)).map_err(failed())?;
                socket.set_write_timeout(Some(STEP_MAX)).map_err(failed())?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(failed()(last))
}

/// The certificate and the welcome.
fn read_answer(bytes: &[u8]) -> Result<(CertificateDer<'static>, Vec<u8>), Error> {
    let malformed = || Error::Refused("an answer that is none".to_owned());
    let (status, rest) = bytes.split_first().ok_or_else(malformed)?;
    if *status == REFUSED {
        return Err(Error::Refused(String::from_utf8_lossy(rest).into_owned()));
    }
    let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
    let len = u32::from_le_bytes(*len) as usize;
    let (certificate, welcome) = rest.split_at_checked(len).ok_or_else(malformed)?;
    Ok((CertificateDer::from(certificate.to_vec()), welcome.to_vec()))
}
