//! Certificates and invitations, without sockets.

use super::join::binding;
use super::*;
use crate::error::Error;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const CLUSTER: ClusterId = ClusterId([0x11; 16]);
const HOUR: Duration = Duration::from_secs(3_600);

fn node(number: u64) -> NodeId {
    NodeId::new(number).expect("not zero")
}

fn formed() -> (tempfile::TempDir, Identity) {
    let dir = tempfile::tempdir().expect("a directory");
    create(dir.path(), CLUSTER, node(1)).expect("it is empty");
    let identity = Identity::load(dir.path(), CLUSTER, node(1)).expect("just made");
    (dir, identity)
}

#[test]
fn a_cluster_is_formed_once_in_a_directory_and_its_keys_are_its_owners() {
    let (dir, identity) = formed();
    assert!(is_certificate_of(&identity.certificate, node(1), CLUSTER));
    assert!(!is_certificate_of(&identity.certificate, node(2), CLUSTER));
    assert!(!is_certificate_of(&identity.certificate, node(1), ClusterId([0x12; 16])));
    assert!(matches!(create(dir.path(), CLUSTER, node(1)), Err(Error::Exists(_))));
    for key in [AUTHORITY_KEY, NODE_KEY] {
        let mode = dir.path().join(key).metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn certificates_of_another_node_cluster_or_authority_are_not_loaded() {
    let (dir, _) = formed();
    let load = |cluster, number| Identity::load(dir.path(), cluster, node(number));
    assert!(matches!(load(CLUSTER, 2), Err(Error::Identity { .. })));
    assert!(matches!(load(ClusterId([0; 16]), 1), Err(Error::Identity { .. })));
    let (other, _) = formed();
    std::fs::copy(other.path().join(AUTHORITY_CERTIFICATE), dir.path().join(AUTHORITY_CERTIFICATE))
        .expect("a copy");
    assert!(matches!(load(CLUSTER, 1), Err(Error::Identity { .. })));
}

#[test]
fn every_letter_of_an_invitation_counts() {
    let (dir, identity) = formed();
    let authority = Authority::load(dir.path(), &identity).expect("its key is here");
    let token = authority.invite(node(2), HOUR).expect("the first");
    let text = token.to_string();
    assert_eq!(text.parse::<Token>().expect("as it was written"), token);
    assert!(
        !format!("{token:?}").contains(&crate::id::hex(&token.secret)),
        "a secret is not shown"
    );
    for at in 0..text.len() {
        let mut wrong = text.clone().into_bytes();
        wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
        let wrong = String::from_utf8(wrong).expect("letters");
        assert!(wrong.parse::<Token>().is_err(), "letter {at}");
        assert!(text[..at].parse::<Token>().is_err(), "{at} letters");
    }
}

#[test]
fn only_the_node_with_the_key_invites() {
    let (dir, identity) = formed();
    std::fs::remove_file(dir.path().join(AUTHORITY_KEY)).expect("it was there");
    assert!(matches!(Authority::load(dir.path(), &identity), Err(Error::NoAuthority)));
}

/// What a node with that token and key asks.
fn asked(token: &Token, key: &rcgen::KeyPair, bound: &[u8; 32]) -> Vec<u8> {
    let signing = rcgen::CertificateParams::default().serialize_request(key).expect("a request");
    join::Request::encode(token, "n2:7000", signing.der(), bound)
}

#[test]
fn an_invitation_serves_one_key_as_often_as_it_asks() {
    let (dir, identity) = formed();
    let authority = Authority::load(dir.path(), &identity).expect("its key is here");
    let token = authority.invite(node(2), HOUR).expect("the first");
    let (key, thief) = (rcgen::KeyPair::generate(), rcgen::KeyPair::generate());
    let (key, thief) = (key.expect("a key"), thief.expect("a key"));
    let bound = [3; 32];
    for _ in 0..2 {
        let admitted = authority.admit(&asked(&token, &key, &bound), &bound).expect("invited");
        assert_eq!((admitted.node, admitted.address.as_str()), (node(2), "n2:7000"));
        assert!(is_certificate_of(&admitted.certificate, node(2), CLUSTER));
        tls::verify(&admitted.certificate, &identity.authority, &node_name(node(2), CLUSTER))
            .expect("of this authority");
    }
    // Also after a restart of the inviter.
    let authority = Authority::load(dir.path(), &identity).expect("its key is here");
    let second = authority.admit(&asked(&token, &thief, &bound), &bound);
    assert!(matches!(second, Err(Error::Refused(_))), "{second:?}");
}

#[test]
fn a_request_of_another_connection_secret_or_time_is_refused() {
    let (dir, identity) = formed();
    let authority = Authority::load(dir.path(), &identity).expect("its key is here");
    let token = authority.invite(node(2), HOUR).expect("the first");
    let key = rcgen::KeyPair::generate().expect("a key");
    let bound = [3; 32];
    let request = asked(&token, &key, &bound);
    let refused = |request: &[u8], bound: &[u8; 32]| {
        let answer = authority.admit(request, bound);
        assert!(matches!(answer, Err(Error::Refused(_))), "{answer:?}");
    };
    refused(&request, &[4; 32]);
    let mut guessed = token.clone();
    guessed.secret[0] ^= 1;
    refused(&asked(&guessed, &key, &bound), &bound);
    let late = authority.invite(node(3), Duration::ZERO).expect("out of date at once");
    refused(&asked(&late, &key, &bound), &bound);
    for len in 0..request.len() {
        refused(&request[..len], &bound);
    }
    for at in 0..request.len() {
        let mut wrong = request.clone();
        wrong[at] ^= 1;
        refused(&wrong, &bound);
    }
    authority.admit(&request, &bound).expect("nothing of that has used it up");
}

#[test]
fn invitations_out_of_date_are_forgotten_and_open_ones_bounded() {
    let (dir, identity) = formed();
    let authority = Authority::load(dir.path(), &identity).expect("its key is here");
    let kept = || std::fs::read_dir(dir.path().join(INVITATIONS)).expect("a directory").count();
    for _ in 0..3 {
        authority.invite(node(2), Duration::ZERO).expect("room");
        assert_eq!(kept(), 1);
    }
    let made = std::iter::repeat_with(|| authority.invite(node(2), HOUR)).take(300);
    let made = made.take_while(Result::is_ok).count();
    assert_eq!(made, 256);
    assert_eq!(kept(), 256);
}

#[test]
fn lengths_of_requests_are_known_early_and_bounded() {
    let len = |bytes: &[u8]| request_len(bytes);
    assert_eq!(len(b""), Some(12));
    assert_eq!(len(b"NOVAXJN1"), Some(12));
    assert_eq!(len(b"GET /"), None);
    assert_eq!(len(b"NOVAXJN1\x05\0\0\0"), Some(17));
    assert_eq!(len(b"NOVAXJN1\xff\xff\0\0"), None);
}

#[test]
fn the_configurations_are_made_and_a_link_has_one_binding_for_both_ends() {
    let (_dir, identity) = formed();
    let configs = Configs::new(&identity).expect("a whole identity");
    let name = Configs::name_of(node(1), CLUSTER).expect("a name");
    let mut caller = rustls::ClientConnection::new(configs.caller, name).expect("a caller");
    let mut called = rustls::ServerConnection::new(configs.called).expect("called");
    let mut bytes = Vec::new();
    for _ in 0..4 {
        caller.write_tls(&mut bytes).expect("memory");
        called.read_tls(&mut bytes.as_slice()).expect("memory");
        called.process_new_packets().expect("a caller of the cluster");
        bytes.clear();
        called.write_tls(&mut bytes).expect("memory");
        caller.read_tls(&mut bytes.as_slice()).expect("memory");
        caller.process_new_packets().expect("a node of the cluster");
        bytes.clear();
    }
    assert!(!caller.is_handshaking() && !called.is_handshaking());
    assert_eq!(binding(&caller).expect("done"), binding(&called).expect("done"));
}
