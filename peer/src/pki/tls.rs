//! TLS as links use it: version 1.3, both sides with certificates of the cluster's authority.

use super::{Identity, node_name};
use crate::error::Error;
use novax_model::NodeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme, version::TLS13,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What a node that calls a peer says it wants.
pub(crate) const PEER_PROTOCOL: &[u8] = b"novax-peer";
/// What says who has no certificate yet.
pub(crate) const JOIN_PROTOCOL: &[u8] = b"novax-join";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(authority: &CertificateDer<'_>) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    Ok(Arc::new(roots))
}

fn verifier(authority: &CertificateDer<'_>) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
    let builder = WebPkiServerVerifier::builder_with_provider(roots(authority)?, provider());
    builder.build().map_err(|error| rustls::Error::General(error.to_string()))
}

fn server_name(name: &str) -> Result<ServerName<'static>, rustls::Error> {
    let invalid = |_| rustls::Error::General(format!("{name} is no name"));
    ServerName::try_from(name.to_owned()).map_err(invalid)
}

/// Whether the certificate is of that name, of that authority, and valid now.
pub(super) fn verify(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'_>,
    name: &str,
) -> Result<(), rustls::Error> {
    let name = server_name(name)?;
    verifier(authority)?.verify_server_cert(certificate, &[], &name, &[], UnixTime::now())?;
    Ok(())
}

/// Whether a certificate whose authority was checked is that of a node of this cluster.
pub(crate) fn is_certificate_of(
    certificate: &CertificateDer<'_>,
    node: NodeId,
    cluster: crate::id::ClusterId,
) -> bool {
    let named = || -> Result<(), rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        verify_server_name(&parsed, &server_name(&node_name(node, cluster))?)
    };
    named().is_ok()
}

/// How this node speaks TLS.
#[derive(Debug, Clone)]
pub(crate) struct Configs {
    /// Calling a peer.
    pub(crate) caller: Arc<ClientConfig>,
    /// Called by a peer.
    pub(crate) called: Arc<ServerConfig>,
    /// Called by somebody who was invited and has no certificate.
    pub(crate) invited: Arc<ServerConfig>,
}

impl Configs {
    pub(crate) fn new(identity: &Identity) -> Result<Configs, Error> {
        let chain = || vec![identity.certificate.clone(), identity.authority.clone()];
        let key = || identity.key.clone_key();
        let roots = roots(&identity.authority)?;
        let client = ClientConfig::builder_with_provider(provider());
        let mut caller = client
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(chain(), key())?;
        caller.alpn_protocols = vec![PEER_PROTOCOL.to_vec()];
        // Every link proves itself anew.
        caller.resumption = Resumption::disabled();
        let clients = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
        let clients = clients.map_err(|error| Error::Certificate(error.to_string()))?;
        let server = || ServerConfig::builder_with_provider(provider());
        let mut called = server()
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain(), key())?;
        called.alpn_protocols = vec![PEER_PROTOCOL.to_vec()];
        called.send_tls13_tickets = 0;
        let mut invited = server()
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain(), key())?;
        invited.alpn_protocols = vec![JOIN_PROTOCOL.to_vec()];
        invited.send_tls13_tickets = 0;
        let (called, invited) = (Arc::new(called), Arc::new(invited));
        Ok(Configs { caller: Arc::new(caller), called, invited })
    }

    /// What a peer's certificate must be valid for.
    pub(crate) fn name_of(
        node: NodeId,
        cluster: crate::id::ClusterId,
    ) -> Result<ServerName<'static>, rustls::Error> {
        server_name(&node_name(node, cluster))
    }
}

/// What an authority's certificate is known by in an invitation.
pub(super) fn fingerprint(authority: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(authority).into()
}

/// How somebody calls who knows of the cluster only its authority's fingerprint.
pub(super) fn pinned(fingerprint: [u8; 32]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = provider();
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { fingerprint, provider }))
        .with_no_client_auth();
    config.alpn_protocols = vec![JOIN_PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Believes a chain that ends in an authority of this fingerprint, and then as strictly as any.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = intermediates.iter().find(|one| fingerprint(one) == self.fingerprint);
        let authority =
            pinned.ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        verifier(authority)?.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
