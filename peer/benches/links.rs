//! What a link costs: messages a second one way, the time there and back, CPU of both ends together.
//!
//! `cargo bench -p novax-peer` prints one line per figure, `figure <name> <value> <unit>`.

use novax_model::NodeId;
use novax_peer::pki::{Authority, Identity, create};
use novax_peer::{ClusterId, Config, Handler, Links, Message, PeerInfo, Refusal, RunId, SendError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const CLUSTER: ClusterId = ClusterId([0x42; 16]);
const SECONDS: Duration = Duration::from_secs(3);
const ROUNDS: u32 = 5_000;
/// The system counts CPU in hundredths of a second.
const TICK_US: f64 = 10_000.0;

/// Counts what comes, and tells of links and answers.
struct Counting {
    count: AtomicU64,
    tell: std::sync::Mutex<Sender<()>>,
}

impl Counting {
    fn new() -> (Arc<Counting>, Receiver<()>) {
        let (tell, told) = channel();
        (Arc::new(Counting { count: AtomicU64::new(0), tell: tell.into() }), told)
    }

    fn tell(&self) {
        self.tell.lock().expect("nobody panics holding it").send(()).expect("the bench listens");
    }
}

impl Handler for Counting {
    fn link_up(&self, _peer: &PeerInfo) {
        self.tell();
    }

    fn link_down(&self, _node: NodeId, _why: Refusal) {}

    fn message(&self, _from: NodeId, message: Message) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if !matches!(message, Message::Raft(_)) {
            self.tell();
        }
    }
}

fn node(number: u64) -> NodeId {
    NodeId::new(number).expect("not zero")
}

fn start(identity: Identity, handler: Arc<Counting>) -> Links {
    let listen = "127.0.0.1:0".parse().expect("an address");
    Links::start(Config::new(identity, RunId(1), 1..=1, listen), &[], handler).expect("a free port")
}

/// CPU of this process so far, in microseconds.
fn cpu_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks = |at: usize| -> f64 {
        fields.split_whitespace().nth(at).and_then(|text| text.parse().ok()).expect("a number")
    };
    (ticks(11) + ticks(12)) * TICK_US
}

fn flood(links: &Links, received: &Counting, len: usize) {
    let outbox = links.outbox(node(2)).expect("a peer");
    let body = bytes::Bytes::from(vec![7; len]);
    let (began, cpu, before) = (Instant::now(), cpu_us(), received.count.load(Ordering::Relaxed));
    while began.elapsed() < SECONDS {
        for _ in 0..64 {
            match outbox.send(Message::Raft(body.clone())) {
                Ok(()) => {}
                Err(SendError::Full) => std::thread::sleep(Duration::from_micros(200)),
                Err(error) => panic!("{error}"),
            }
        }
    }
    let count = received.count.load(Ordering::Relaxed) - before;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_us() - cpu);
    println!("figure link_{len}b_messages_per_s {:.0} 1/s", count as f64 / seconds);
    println!("figure link_{len}b_cpu_per_message {:.2} us", cpu / count as f64);
}

fn there_and_back(
    first: &Links,
    second: &Links,
    at_first: &Receiver<()>,
    at_second: &Receiver<()>,
) {
    let mut times = Vec::new();
    let cpu = cpu_us();
    for token in 0..u64::from(ROUNDS) {
        let body = bytes::Bytes::from_static(&[7; 200]);
        let began = Instant::now();
        first.send(node(2), Message::Request { token, body: body.clone() }).expect("it is up");
        at_second.recv().expect("it comes");
        second.send(node(1), Message::Answer { token, body }).expect("it is up");
        at_first.recv().expect("it comes");
        times.push(began.elapsed());
    }
    let cpu = (cpu_us() - cpu) / f64::from(ROUNDS);
    times.sort_unstable();
    println!("figure link_round_trip_p50 {} us", times[times.len() / 2].as_micros());
    println!("figure link_round_trip_p99 {} us", times[times.len() * 99 / 100].as_micros());
    println!("figure link_round_trip_cpu {cpu:.1} us");
}

fn main() {
    // `cargo test` runs benchmarks too, to see that they build.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let (dir, second_dir) = (tempfile::tempdir(), tempfile::tempdir());
    let (dir, second_dir) = (dir.expect("a directory"), second_dir.expect("a directory"));
    create(dir.path(), CLUSTER, node(1)).expect("it is empty");
    let identity = Identity::load(dir.path(), CLUSTER, node(1)).expect("just made");
    let authority = Authority::load(dir.path(), &identity).expect("just made");
    authority.issue(node(2), second_dir.path()).expect("it is empty");
    let second = Identity::load(second_dir.path(), CLUSTER, node(2)).expect("just made");
    let ((counts, at_first), (received, at_second)) = (Counting::new(), Counting::new());
    let first = start(identity, counts);
    let second = start(second, Arc::clone(&received));
    let peers = [(node(1), first.address().to_string()), (node(2), second.address().to_string())];
    first.set_peers(&peers);
    second.set_peers(&peers);
    at_first.recv().expect("a link");
    at_second.recv().expect("a link");
    there_and_back(&first, &second, &at_first, &at_second);
    for len in [200, 16 << 10, 256 << 10] {
        flood(&first, &received, len);
    }
}
