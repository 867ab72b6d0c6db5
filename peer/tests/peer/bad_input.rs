//! Strangers, liars and broken peers at the port: refused, counted by kind, and no other link is harmed.

use crate::support::{CLUSTER, Certificates, LONG, Node, Setup, assert_linked, node};
use novax_peer::{ClusterId, HEADER_BYTES, Hello, Refusal, RunId};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, version::TLS13};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Nodes 2 and 5 of a cluster, linked; strangers call node 2, for which 1, 3 and 4 are peers too.
struct Scene {
    certificates: Certificates,
    nodes: [Node; 2],
}

impl Scene {
    fn new() -> Scene {
        Scene::with(|_| {})
    }

    fn with(change: impl Fn(&mut Setup)) -> Scene {
        let certificates = Certificates::new(CLUSTER);
        let nodes = [2, 5].map(|number| {
            let mut setup = Setup::new(certificates.of(number));
            change(&mut setup);
            setup.start()
        });
        let scene = Scene { certificates, nodes };
        let nowhere = "127.0.0.1:1".to_owned();
        let mut peers = vec![(node(1), nowhere.clone()), (node(4), nowhere)];
        for (number, one) in [(2, &scene.nodes[0]), (5, &scene.nodes[1])] {
            peers.push((node(number), one.address()));
        }
        scene.nodes[0].links.set_peers(&peers);
        scene.nodes[1].links.set_peers(&peers[2..]);
        scene.nodes[0].wait_up(5);
        scene.nodes[1].wait_up(2);
        scene
    }

    fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.nodes[0].links.address()).expect("it listens");
        socket.set_read_timeout(Some(LONG)).expect("a socket");
        socket
    }

    /// Calls node 2 with the certificate of that node.
    fn call_as(&self, number: u64) -> Tls {
        let dir = self.certificates.dir(number);
        tls(self.socket(), dir.path(), dir.path())
    }

    /// A connection whose greeting, as node 1, was taken.
    fn linked(&self) -> Tls {
        let mut stream = self.call_as(1);
        stream.write_all(&hello().encode()).expect("it listens");
        let mut theirs = vec![0; hello().encode().len()];
        stream.read_exact(&mut theirs).expect("it greets");
        let (theirs, _) = Hello::decode(&theirs).expect("a greeting").expect("all of it");
        assert_eq!(theirs.node, node(2));
        stream
    }

    /// Node 2 has refused once for that, its link is unharmed and was never made anew.
    fn assert_refused(&self, refusal: Refusal) {
        self.nodes[0].wait_refused(refusal, 1);
        self.assert_unharmed();
    }

    fn assert_unharmed(&self) {
        assert_linked(&self.nodes[0], 2, &self.nodes[1], 5);
        let status = self.nodes[0].links.status();
        assert_eq!(status.link(node(5)).expect("a peer").connects, 1);
    }
}

fn tls(socket: TcpStream, identity: &Path, authority: &Path) -> Tls {
    let read = |path: &Path| std::fs::read(path).expect("it is there");
    let certificate =
        |path: &Path| CertificateDer::from_pem_slice(&read(path)).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&authority.join("ca.pem"))).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(&read(&identity.join("node.key"))).expect("a key");
    let config = builder().with_root_certificates(roots);
    let config = config.with_client_auth_cert(vec![certificate(&identity.join("node.pem"))], key);
    client(socket, config.expect("they fit"))
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).expect("1.3")
}

fn client(socket: TcpStream, mut config: ClientConfig) -> Tls {
    config.alpn_protocols = vec![b"novax-peer".to_vec()];
    let name = novax_peer::pki::node_name(node(2), CLUSTER);
    let name = ServerName::try_from(name).expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    StreamOwned::new(connection, socket)
}

fn hello() -> Hello {
    Hello {
        versions: 1..=1,
        state_versions: 1..=1,
        cluster: CLUSTER,
        node: node(1),
        to: Some(node(2)),
        run: RunId(1),
    }
}

/// A frame as the format describes it.
fn frame(lane: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(body.len()).expect("small").to_le_bytes().to_vec();
    out.extend_from_slice(&[lane, flags, 0, 0]);
    let sum = crc32fast::hash(&[&out, body].concat());
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(body);
    out
}

/// What a refused caller hears, as the format describes it.
fn told(stream: &mut Tls) -> u16 {
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).expect("it is told why");
    assert_eq!(answer[..8], *b"NOVAXNO1");
    u16::from_le_bytes([answer[8], answer[9]])
}

#[test]
fn garbage_is_refused() {
    let scene = Scene::new();
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3, 4]]
    {
        scene.socket().write_all(garbage).expect("it listens");
    }
    let mut socket = scene.socket();
    socket.write_all(&[0xff; 1_000]).expect("it listens");
    let mut answer = Vec::new();
    // An alert or a reset: in any case the end.
    let _ended = socket.read_to_end(&mut answer).is_ok();
    scene.assert_refused(Refusal::Tls);
}

#[test]
fn a_connection_that_says_nothing_is_ended_in_time() {
    let scene = Scene::new();
    let began = Instant::now();
    let silent = scene.socket();
    let mut half = scene.socket();
    half.write_all(&[0x16, 3, 1]).expect("it listens");
    scene.nodes[0].wait_refused(Refusal::GreetingTimeout, 2);
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    drop((silent, half));
    scene.assert_unharmed();
}

#[test]
fn who_has_no_certificate_is_refused() {
    let scene = Scene::new();
    let dir = scene.certificates.dir(1);
    let mut roots = RootCertStore::empty();
    let authority = std::fs::read(dir.path().join("ca.pem")).expect("it is there");
    roots.add(CertificateDer::from_pem_slice(&authority).expect("a certificate")).expect("one");
    let config = builder().with_root_certificates(roots).with_no_client_auth();
    let mut stream = client(scene.socket(), config);
    let _sent = stream.write_all(&hello().encode()).is_ok();
    assert!(stream.read_exact(&mut [0]).is_err(), "it is not greeted");
    scene.assert_refused(Refusal::Tls);
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let scene = Scene::new();
    // Of a cluster of the same name, even.
    let others = Certificates::new(CLUSTER).dir(1);
    let ours = scene.certificates.dir(1);
    let mut stream = tls(scene.socket(), others.path(), ours.path());
    let _sent = stream.write_all(&hello().encode()).is_ok();
    assert!(stream.read_exact(&mut [0]).is_err(), "it is not greeted");
    scene.assert_refused(Refusal::Tls);
}

#[test]
fn a_node_does_not_talk_to_an_impostor() {
    let certificates = Certificates::new(CLUSTER);
    let others = Certificates::new(CLUSTER);
    let caller = Setup::new(certificates.of(1)).start();
    let impostor = Setup::new(others.of(2)).start();
    impostor.links.set_peers(&[(node(1), caller.address())]);
    caller.links.set_peers(&[(node(2), impostor.address())]);
    caller.wait_refused(Refusal::Tls, 1);
    // Nor to a node of the right cluster at the wrong address.
    let third = Setup::new(certificates.of(3)).start();
    third.links.set_peers(&[(node(1), caller.address())]);
    caller.links.set_peers(&[(node(2), third.address())]);
    let refused = caller.links.status().refused(Refusal::Tls);
    caller.wait_refused(Refusal::Tls, refused + 2);
}

/// What becomes of a caller with the certificate of node 1 and this greeting.
fn check_greeting(bytes: &[u8], refusal: Refusal) {
    let scene = Scene::new();
    let mut stream = scene.call_as(1);
    stream.write_all(bytes).expect("it listens");
    assert_eq!(told(&mut stream), refusal.code());
    scene.assert_refused(refusal);
}

#[test]
fn a_greeting_that_is_none_is_refused() {
    check_greeting(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", Refusal::Magic);
}

#[test]
fn a_damaged_greeting_is_refused() {
    let mut bytes = hello().encode();
    bytes[20] ^= 1;
    check_greeting(&bytes, Refusal::Checksum);
}

#[test]
fn another_cluster_is_refused() {
    check_greeting(&Hello { cluster: ClusterId([9; 16]), ..hello() }.encode(), Refusal::Cluster);
}

#[test]
fn an_old_version_is_refused() {
    check_greeting(&Hello { versions: 0..=0, ..hello() }.encode(), Refusal::Version);
    check_greeting(&Hello { versions: 2..=9, ..hello() }.encode(), Refusal::Version);
}

#[test]
fn who_wants_another_node_is_refused() {
    check_greeting(&Hello { to: Some(node(5)), ..hello() }.encode(), Refusal::Misdirected);
}

#[test]
fn who_says_it_is_another_node_is_refused() {
    let scene = Scene::new();
    let mut stream = scene.call_as(4);
    // Node 4 is a peer, and so is node 1; but they are not the same.
    stream.write_all(&hello().encode()).expect("it listens");
    assert_eq!(told(&mut stream), Refusal::Identity.code());
    scene.assert_refused(Refusal::Identity);
}

#[test]
fn a_higher_node_that_calls_is_refused() {
    let scene = Scene::new();
    let mut stream = scene.call_as(4);
    stream.write_all(&Hello { node: node(4), ..hello() }.encode()).expect("it listens");
    assert_eq!(told(&mut stream), Refusal::Direction.code());
    scene.assert_refused(Refusal::Direction);
}

#[test]
fn a_node_that_is_no_peer_is_refused() {
    let scene = Scene::with(|_| {});
    let peers = [(node(5), scene.nodes[1].address())];
    scene.nodes[0].links.set_peers(&peers);
    let mut stream = scene.call_as(1);
    stream.write_all(&hello().encode()).expect("it listens");
    assert_eq!(told(&mut stream), Refusal::Stranger.code());
    scene.assert_refused(Refusal::Stranger);
}

/// What becomes of a peer that was let in and then says this.
fn check_frames(bytes: &[u8], refusal: Refusal) {
    let scene = Scene::new();
    let mut stream = scene.linked();
    scene.nodes[0].wait_up(1);
    stream.write_all(bytes).expect("it listens");
    assert_eq!(scene.nodes[0].wait_down(1), refusal);
    scene.assert_refused(refusal);
    // It may come again.
    let _again = scene.linked();
    scene.nodes[0].wait_up(1);
}

#[test]
fn a_frame_that_is_too_long_is_refused() {
    let mut header = vec![0xff, 0xff, 0xff, 0x7f, 2, 1, 0, 0];
    header.extend_from_slice(&[0; 4]);
    assert_eq!(header.len(), HEADER_BYTES);
    check_frames(&header, Refusal::Oversize);
}

#[test]
fn a_frame_with_a_wrong_checksum_is_refused() {
    let mut bytes = frame(2, 1, b"entries");
    bytes[14] ^= 4;
    check_frames(&bytes, Refusal::Checksum);
}

#[test]
fn a_frame_of_no_lane_is_refused() {
    check_frames(&frame(9, 1, b"what is this"), Refusal::Lane);
}

#[test]
fn a_message_that_is_cut_short_is_refused() {
    check_frames(&frame(4, 1, b"1234567"), Refusal::Malformed);
    check_frames(&frame(5, 1, b"\x01"), Refusal::Malformed);
    check_frames(&frame(1, 1, b"\x09"), Refusal::Malformed);
}

#[test]
fn a_message_without_end_is_refused() {
    let part = frame(4, 0, &vec![0; 128 << 10]);
    check_frames(&part.repeat(129), Refusal::MessageTooLarge);
}

#[test]
fn a_frame_that_never_ends_is_refused_although_bytes_keep_coming() {
    let scene = Scene::with(|setup| setup.config.timing.frame_max = Duration::from_millis(600));
    let mut stream = scene.linked();
    scene.nodes[0].wait_up(1);
    let began = Instant::now();
    let bytes = frame(2, 1, &[0; 100_000]);
    for byte in bytes.chunks(1) {
        // Not faster than one every few milliseconds: it would end too early otherwise.
        if stream.write_all(byte).and_then(|()| stream.flush()).is_err() {
            break;
        }
        assert!(began.elapsed() < LONG, "a frame may take for ever");
        if scene.nodes[0].links.status().refused(Refusal::Stalled) > 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(scene.nodes[0].wait_down(1), Refusal::Stalled);
    scene.assert_refused(Refusal::Stalled);
}

#[test]
fn a_peer_that_falls_silent_is_given_up() {
    let scene = Scene::with(|setup| setup.config.timing.silence_max = Duration::from_millis(400));
    let stream = scene.linked();
    scene.nodes[0].wait_up(1);
    assert_eq!(scene.nodes[0].wait_down(1), Refusal::Silent);
    drop(stream);
    scene.assert_refused(Refusal::Silent);
}

#[test]
fn a_newer_connection_of_the_same_node_takes_the_place_of_the_older() {
    let scene = Scene::new();
    let first = scene.linked();
    scene.nodes[0].wait_up(1);
    let second = scene.linked();
    assert_eq!(scene.nodes[0].wait_down(1), Refusal::Replaced);
    scene.nodes[0].wait_up(1);
    scene.assert_refused(Refusal::Replaced);
    drop((first, second));
}

#[test]
fn a_crowd_at_the_door_is_bounded_and_leaves_in_time() {
    let scene = Scene::with(|setup| setup.config.greeting_max = 4);
    let crowd: Vec<TcpStream> = (0..12).map(|_| scene.socket()).collect();
    scene.nodes[0].wait_refused(Refusal::Crowded, 8);
    scene.assert_unharmed();
    scene.nodes[0].wait_refused(Refusal::GreetingTimeout, 4);
    drop(crowd);
    // Now there is room again.
    let _linked = scene.linked();
    scene.nodes[0].wait_up(1);
    scene.assert_unharmed();
}

#[test]
fn garbage_where_a_request_to_join_is_due_is_refused() {
    let scene = Scene::new();
    let dir = scene.certificates.dir(1);
    let mut roots = RootCertStore::empty();
    let authority = std::fs::read(dir.path().join("ca.pem")).expect("it is there");
    roots.add(CertificateDer::from_pem_slice(&authority).expect("a certificate")).expect("one");
    let mut config = builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"novax-join".to_vec()];
    let name = ServerName::try_from(novax_peer::pki::node_name(node(2), CLUSTER)).expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(connection, scene.socket());
    stream.write_all(b"let me in, please").expect("it listens");
    let mut answer = Vec::new();
    let _ended = stream.read_to_end(&mut answer).is_ok();
    assert!(answer.is_empty(), "{answer:?}");
    scene.assert_refused(Refusal::Join);
}

#[test]
fn a_flood_of_good_frames_about_snapshots_nobody_knows_harms_nothing() {
    let scene = Scene::new();
    let mut stream = scene.linked();
    scene.nodes[0].wait_up(1);
    let mut bytes = Vec::new();
    for id in 0..2_000_u64 {
        let head = |kind: u8| [&[kind][..], &id.to_le_bytes()].concat();
        bytes.extend(frame(5, 1, &[head(1), 100_u64.to_le_bytes().to_vec()].concat()));
        bytes.extend(frame(5, 1, &[head(2), vec![0; 8], b"chunk".to_vec()].concat()));
        bytes.extend(frame(5, 1, &[head(3), vec![0; 16]].concat()));
        bytes.extend(frame(5, 1, &[head(4), vec![1]].concat()));
    }
    stream.write_all(&bytes).expect("it listens");
    scene.assert_unharmed();
    assert!(scene.nodes[0].links.outbox(node(1)).expect("a peer").is_up());
}
