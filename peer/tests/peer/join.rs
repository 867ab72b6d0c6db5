//! Joining with an invitation, over the port that peers use.

use crate::support::{CLUSTER, Certificates, Heard, Node, Setup, assert_linked, link, node};
use novax_peer::pki::{Identity, Token, join};
use novax_peer::{Error, Refusal};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

fn inviter(certificates: &Certificates) -> Node {
    let mut setup = Setup::new(certificates.of(1));
    setup.config.authority = Some(certificates.authority());
    setup.start()
}

#[test]
fn a_node_that_was_invited_joins_and_links() {
    let certificates = Certificates::new(CLUSTER);
    let first = inviter(&certificates);
    let token = first.links.invite(node(2), HOUR).expect("it has the authority");
    let token: Token = token.to_string().parse().expect("carried as a text");
    let dir = tempfile::tempdir().expect("a directory");
    let joined = join(&token, &first.address(), "n2.example:7000", dir.path()).expect("invited");
    assert_eq!((joined.node, joined.cluster), (node(2), CLUSTER));
    assert_eq!(joined.welcome, b"welcome");
    assert_eq!(first.next(), Heard::Joining(node(2), "n2.example:7000".to_owned()));
    let identity = Identity::load(dir.path(), joined.cluster, joined.node).expect("just joined");
    let second = Setup::new(identity).start();
    let nodes = [first, second];
    link(&nodes);
    assert_linked(&nodes[0], 1, &nodes[1], 2);
}

#[test]
fn an_invitation_is_used_once() {
    let certificates = Certificates::new(CLUSTER);
    let first = inviter(&certificates);
    let token = first.links.invite(node(2), HOUR).expect("it has the authority");
    let dir = tempfile::tempdir().expect("a directory");
    join(&token, &first.address(), "a:1", dir.path()).expect("invited");
    let again = join(&token, &first.address(), "a:1", dir.path());
    assert!(matches!(again, Err(Error::Exists(_))), "{again:?}");
    let other = tempfile::tempdir().expect("a directory");
    let thief = join(&token, &first.address(), "b:1", other.path());
    assert!(matches!(thief, Err(Error::Refused(_))), "{thief:?}");
    first.wait_refused(Refusal::Join, 1);
    // Had the answer been lost, the same key would be let in again.
    std::fs::remove_file(dir.path().join("node.pem")).expect("it was there");
    join(&token, &first.address(), "a:1", dir.path()).expect("the same key");
}

#[test]
fn who_is_invited_trusts_no_other_cluster_and_no_other_node() {
    let certificates = Certificates::new(CLUSTER);
    let first = inviter(&certificates);
    let token = first.links.invite(node(2), HOUR).expect("it has the authority");
    // Another cluster that says it is the same one, at the address the operator typed.
    let false_one = inviter(&Certificates::new(CLUSTER));
    let dir = tempfile::tempdir().expect("a directory");
    let fooled = join(&token, &false_one.address(), "a:1", dir.path());
    assert!(fooled.is_err(), "{fooled:?}");
    // A node of the cluster that has no authority.
    let third = Setup::new(certificates.of(3)).start();
    let asked = join(&token, &third.address(), "a:1", dir.path());
    assert!(asked.is_err(), "{asked:?}");
    join(&token, &first.address(), "a:1", dir.path()).expect("the invitation is still good");
}

#[test]
fn a_node_that_the_handler_does_not_want_is_told_why_and_may_come_again() {
    let certificates = Certificates::new(CLUSTER);
    let first = inviter(&certificates);
    let token = first.links.invite(node(2), HOUR).expect("it has the authority");
    let dir = tempfile::tempdir().expect("a directory");
    let asked = join(&token, &first.address(), "nowhere:1", dir.path());
    assert!(matches!(&asked, Err(Error::Refused(why)) if why.contains("nobody")), "{asked:?}");
    join(&token, &first.address(), "a:1", dir.path()).expect("the invitation is still good");
}

#[test]
fn a_node_without_the_authority_lets_nobody_in() {
    let certificates = Certificates::new(CLUSTER);
    let with = inviter(&certificates);
    let token = with.links.invite(node(2), HOUR).expect("it has the authority");
    let without = Setup::new(certificates.of(1)).start();
    let invited = without.links.invite(node(2), HOUR);
    assert!(matches!(invited, Err(Error::NoAuthority)), "{invited:?}");
    let dir = tempfile::tempdir().expect("a directory");
    let asked = join(&token, &without.address(), "a:1", dir.path());
    assert!(matches!(asked, Err(Error::Refused(_))), "{asked:?}");
    without.wait_refused(Refusal::Join, 1);
}
