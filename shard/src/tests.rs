//! A shard without a ring: bytes in, effects out, time as we like it.

use super::mesh::Mesh;
use super::slot::Slot;
use super::*;
mod cluster;

use crate::port::{CallFailed, Request, StationCall, Unavailable};
use crate::stores;
use crossbeam_queue::ArrayQueue;
use novax_charging::{Partition, PartitionConfig, PutSite, SimpleTerms};
use novax_engine::{Engine, Worker};
use novax_model::{ConnectorRef, Currency, Identity, TokenUid, TransferKey};
use novax_raft::{LogConfig, Members, RaftConfig, blocking_write};
use novax_wire::ws::{self, Event, Limits, Receiver, Role};
use std::collections::HashMap;
use tokio::sync::oneshot;

const PARTITIONS: u16 = 2;

/// One shard with all partitions, on a real log and real stores, driven by hand.
struct World {
    shard: Shard,
    requests: ArrayQueue<Request>,
    now: Timestamp,
    sent: HashMap<ConnId, Vec<u8>>,
    closed: Vec<ConnId>,
    write: Option<LogWrite>,
    /// Log writes are done at once, or wait for `finish_write`.
    writes_wait: bool,
    /// Sends are taken at once, or never.
    reads: bool,
    connections: u32,
    /// What is on its way to other nodes.
    peers: Vec<PeerSend>,
    states: Vec<StateAct>,
    /// Which states of which nodes it would take.
    expected: BTreeMap<PartitionId, (NodeId, u64)>,
    worker: Worker,
    dir: tempfile::TempDir,
}

impl World {
    /// A node that stands alone.
    fn new() -> World {
        let mut world = World::of_cluster(NodeId::FIRST, &[NodeId::FIRST]);
        world.settle();
        assert!(world.shard.is_caught_up());
        assert!(world.peers.is_empty(), "a node that stands alone has nobody to tell");
        world
    }

    /// A node of several.
    fn of_cluster(node: NodeId, founders: &[NodeId]) -> World {
        let dir = tempfile::tempdir().expect("a directory");
        let worker = Worker::start(1).expect("a worker");
        let recovered = novax_raft::recover(dir.path()).expect("an empty log");
        let mut slots = Vec::new();
        let mut groups = Vec::new();
        for number in 0..PARTITIONS {
            let id = PartitionId(number);
            let path = crate::states::home(dir.path(), id);
            let engine = Engine::open(&path, stores::store_options(), &worker).expect("a store");
            let config = PartitionConfig { partition: id, ..PartitionConfig::default() };
            let state = (Partition::new(config), Members::default());
            let slot = Slot::new(id, state, (engine, dir.path().to_path_buf()), (node, 1));
            groups.push(slot.group(founders));
            slots.push(slot);
        }
        let log = LogConfig {
            dir: dir.path().join("log/shard-000"),
            segment_bytes: 16 << 20,
            direct: false,
        };
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(|| {});
        let config = RaftConfig { retain_bytes_max: 2 << 10, ..RaftConfig::new(log, node) };
        let raft = MultiRaft::start(config, &recovered, &groups, wake.clone()).expect("a log");
        let config = ShardConfig {
            heartbeat_interval_s: 300,
            message_bytes_max: 64 * 1024,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(900),
            call_timeout: Duration::from_secs(30),
            memtable_bytes_max: 8 << 20,
            log_segments_max: 8,
            partitions: PARTITIONS,
            connections_max: 16,
            signing_key: Arc::new(novax_audit::Signer::new(ed25519_dalek::SigningKey::from_bytes(
                &[7; 32],
            ))),
            node,
            run: 1,
        };
        let queues = vec![ArrayQueue::new(8)].into();
        let mesh = Mesh::new(0, queues, vec![wake].into());
        let now = Timestamp::from_millis(1_795_353_264_000);
        let shard = Shard::new(config, Arc::default(), mesh, raft, slots, None, now);
        World {
            shard,
            requests: ArrayQueue::new(64),
            now,
            sent: HashMap::new(),
            closed: Vec::new(),
            write: None,
            writes_wait: false,
            reads: true,
            connections: 0,
            peers: Vec::new(),
            states: Vec::new(),
            expected: BTreeMap::new(),
            worker,
            dir,
        }
    }

    /// Turns until nothing happens any more.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            self.shard.set_now(self.now);
            self.shard.take_requests(&self.requests);
            self.shard.send_off();
            self.shard.end_turn();
            let effects = self.shard.take_effects();
            if !self.perform(effects) {
                return;
            }
        }
        panic!("the shard does not come to rest");
    }

    fn perform(&mut self, effects: Effects) -> bool {
        let Effects { sends, closes, finishes, transfers, start_recv, log_write, peers, states } =
            effects;
        assert!(transfers.is_empty() && start_recv.is_empty(), "one shard keeps its sockets");
        self.peers.extend(peers);
        self.states.extend(states);
        let mut busy = !sends.is_empty() || !closes.is_empty() || !finishes.is_empty();
        for (conn, buffer) in sends {
            self.sent.entry(conn).or_default().extend_from_slice(&buffer);
            if self.reads {
                self.shard.handle_sent(conn, buffer);
            }
        }
        for conn in closes.into_iter().chain(finishes) {
            self.closed.push(conn);
            self.shard.handle_closed(conn);
        }
        if let Some(write) = log_write {
            assert!(self.write.is_none(), "one log write at a time");
            self.write = Some(write);
        }
        if !self.writes_wait && self.write.is_some() {
            self.finish_write();
            busy = true;
        }
        busy
    }

    fn finish_write(&mut self) {
        let write = self.write.take().expect("a write in flight");
        blocking_write(&write).expect("the disk takes it");
        self.shard.handle_log_written(write.id, write.blocks, Ok(()));
    }

    fn advance(&mut self, seconds: u64) {
        // In steps, as a loop would see it.
        for _ in 0..seconds * 2 {
            self.now = self.now.saturating_add(Duration::from_millis(500));
            self.settle();
        }
    }

    /// Asks the control plane's way, and turns until the answer is there.
    fn ask<T>(&mut self, make: impl FnOnce(oneshot::Sender<T>) -> Request) -> T {
        let mut answer = self.begin(make);
        self.settle();
        answer.try_recv().expect("an answer")
    }

    fn begin<T>(
        &mut self,
        make: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.push(make(reply)).expect("room");
        answer
    }

    fn propose(&mut self, partition: PartitionId, command: Command) {
        let outcome = self.ask(|reply| Request::Propose { partition, command, reply });
        let outcome = outcome.expect("available");
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }

    /// A site, a station `CP` and a driver with 100 euros and token `TAG`, all in one partition.
    fn provision(&mut self) {
        for (partition, command) in World::provisions() {
            self.propose(partition, command);
        }
    }

    fn provisions() -> Vec<(PartitionId, Command)> {
        let home = PartitionId(0);
        let (site, cp, driver) = (identity("site"), identity("CP"), identity("anna"));
        let tag = TokenUid::new("TAG").expect("valid");
        let terms = SimpleTerms {
            currency: Currency::EUR,
            energy_millis_per_kwh: 39_500,
            session_fee: 50,
            tax_basis_points: 1_900,
            hold: 2_000,
            site_host_basis_points: 1_000,
            platform_basis_points: 500,
        };
        let put = PutSite::new(site.clone(), None, terms.terms(&site));
        let named = |kind, id: &str| {
            let at = PartitionId::of_directory(id, PARTITIONS);
            (at, Command::PutDirectory { kind, id: id.into(), home })
        };
        let put_driver = Command::PutDriver {
            driver: driver.clone(),
            salt: [7; 32],
            tokens: vec![tag],
            currency: Currency::EUR,
            blocked: false,
        };
        vec![
            (home, Command::PutSite(Box::new(put))),
            (home, Command::PutStation { identity: cp, site, password: None }),
            named(DirectoryKind::Station, "CP"),
            named(DirectoryKind::Token, "TAG"),
            (home, put_driver),
            (home, Command::Deposit { key: TransferKey(7), driver, amount: 10_000 }),
        ]
    }

    fn accept(&mut self) -> ConnId {
        self.connections += 1;
        let conn = ConnId::from_parts(self.connections, 1);
        self.shard.set_now(self.now);
        self.shard.handle_accepted(conn);
        conn
    }

    fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        self.shard.set_now(self.now);
        self.shard.handle_received(conn, &mut bytes.to_vec());
    }

    /// An open socket of a station.
    fn connect(&mut self, identity: &str) -> ConnId {
        self.connect_as(identity, "ocpp1.6")
    }

    fn connect_as(&mut self, identity: &str, subprotocol: &str) -> ConnId {
        let conn = self.accept();
        let mut request = Vec::new();
        let path = format!("/ocpp/{identity}");
        novax_wire::http::client_request(
            "hub",
            &path,
            &[subprotocol],
            None,
            &[7; 16],
            &mut request,
        );
        self.receive(conn, &request);
        self.settle();
        let answer = self.sent.remove(&conn).expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        // What waited for the station may follow in the same breath.
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
        self.sent.insert(conn, answer[end..].to_vec());
        conn
    }

    fn say(&mut self, conn: ConnId, text: &str) {
        let mut frame = Vec::new();
        ws::write_text(text, Some([1, 2, 3, 4]), &mut frame);
        self.receive(conn, &frame);
    }

    /// The texts that a station has been sent since it last looked.
    fn heard(&mut self, conn: ConnId) -> Vec<String> {
        let mut bytes = self.sent.remove(&conn).unwrap_or_default();
        let mut texts = Vec::new();
        let mut receiver = Receiver::new(Role::Client, Limits::default());
        receiver
            .receive(&mut bytes, &mut |event| match event {
                Event::Text(text) => texts.push(text.to_owned()),
                Event::Close { code, .. } => texts.push(format!("close {code:?}")),
                other => panic!("unexpected {other:?}"),
            })
            .expect("sound frames");
        texts
    }
}

use novax_charging::DirectoryKind;

/// The message id of a call to a station.
fn call_id(call: &str) -> u64 {
    call.split('"').nth(1).expect("an id").parse().expect("a number")
}

fn identity(text: &str) -> Identity {
    Identity::new(text).expect("valid")
}

const START: &str = r#"[2,"1","StartTransaction",{"connectorId":1,"idTag":"TAG","meterStart":0,"timestamp":"2026-11-22T13:14:24Z"}]"#;

#[test]
fn a_reply_leaves_only_after_its_entry_is_committed() {
    let mut world = World::new();
    world.provision();
    let conn = world.connect("CP");
    world.writes_wait = true;
    world.say(conn, START);
    world.settle();
    assert!(world.write.is_some(), "the entry is on its way to the disk");
    assert_eq!(world.heard(conn), Vec::<String>::new(), "nothing is said before it is there");
    world.finish_write();
    world.settle();
    let heard = world.heard(conn);
    assert_eq!(heard.len(), 1);
    assert!(heard[0].contains("Accepted") && heard[0].contains("\"transactionId\":1"), "{heard:?}");
}

#[test]
fn commands_that_come_while_the_log_is_written_share_the_next_entry() {
    let mut world = World::new();
    world.provision();
    let conn = world.connect("CP");
    world.writes_wait = true;
    for number in 0..20 {
        let text = format!(
            r#"[2,"{number}","StatusNotification",{{"connectorId":1,"errorCode":"NoError","status":"Available"}}]"#
        );
        world.say(conn, &text);
        world.settle();
    }
    let before = world.shard.counters.log_writes.get();
    world.finish_write();
    world.settle();
    world.finish_write();
    world.settle();
    assert_eq!(world.heard(conn).len(), 20, "all are answered");
    assert_eq!(world.shard.counters.log_writes.get() - before, 2, "by two writes");
}

#[test]
fn values_of_a_transaction_without_a_place_stand_on_no_other_meter() {
    let mut world = World::new();
    world.provision();
    let conn = world.connect_as("CP", "ocpp2.0.1");
    let event = |phase: &str, name: &str, register: u32, more: &str| {
        format!(
            r#"[2,"{phase}{register}","TransactionEvent",{{"eventType":"{phase}","timestamp":"2026-11-22T13:14:24Z","triggerReason":"Authorized","seqNo":1,"transactionInfo":{{"transactionId":"{name}"}},"meterValue":[{{"timestamp":"2026-11-22T13:14:25Z","sampledValue":[{{"value":{register},"measurand":"Energy.Active.Import.Register","unitOfMeasure":{{"unit":"Wh"}}}}]}}]{more}}}]"#
        )
    };
    let card = |tag: &str, evse: u16| {
        format!(
            r#","evse":{{"id":{evse},"connectorId":1}},"idToken":{{"idToken":"{tag}","type":"ISO14443"}}"#
        )
    };
    world.say(conn, &event("Started", "one", 1_000, &card("TAG", 1)));
    // Refused, and it goes on all the same; later events do not say where.
    world.say(conn, &event("Started", "two", 70_000, &card("NOBODY", 2)));
    world.settle();
    world.say(conn, &event("Updated", "two", 70_500, ""));
    world.say(conn, &event("Updated", "never heard of", 90_000, ""));
    world.settle();
    world.advance(1);
    let heard = world.heard(conn);
    let answers = heard.iter().filter(|text| text.starts_with("[3,")).count();
    assert_eq!(answers, 4, "all are answered: {heard:?}");
    let machine = &world.shard.slots[&PartitionId(0)].machine;
    let energy = |evse| {
        let row = machine.connector("CP", ConnectorRef { evse, connector: 1 }).expect("a row");
        row.live.get(novax_model::Measurand::Energy)
    };
    assert_eq!((energy(1), energy(2)), (Some(1_000), Some(70_500)));
    let session = machine.session_at("CP", ConnectorRef { evse: 1, connector: 1 });
    assert_eq!(session.expect("it charges").energy().0, 0);
}

#[test]
fn a_station_that_never_answers_is_silent_and_the_next_call_goes_out() {
    let mut world = World::new();
    world.provision();
    let conn = world.connect("CP");
    let partition = PartitionId(0);
    let call = |call: StationCall| {
        move |reply| Request::Call { partition, station: identity("CP"), call, reply }
    };
    let mut first = world.begin(call(StationCall::ClearCache));
    let mut second = world.begin(call(StationCall::Reset { immediate: false }));
    world.settle();
    let heard = world.heard(conn);
    assert_eq!(heard.len(), 1, "one call at a time: {heard:?}");
    assert!(heard[0].contains("ClearCache"));
    world.advance(31);
    assert_eq!(first.try_recv().expect("an answer"), Err(CallFailed::Silent));
    let heard = world.heard(conn);
    assert!(heard[0].contains("Reset"), "{heard:?}");
    let id = call_id(&heard[0]);
    let answer = |id: u64| format!(r#"[3,"{id}",{{"status":"Accepted"}}]"#);
    world.say(conn, &answer(id - 1));
    world.say(conn, &answer(id));
    world.say(conn, &answer(id));
    world.settle();
    let answer = second.try_recv().expect("an answer").expect("a reply");
    assert_eq!(answer.payload, r#"{"status":"Accepted"}"#);
    assert_eq!(world.shard.counters.answers_unexpected.get(), 2, "the late one and the double");
}

#[test]
fn a_socket_that_says_nothing_is_closed_and_one_that_does_is_not() {
    let mut world = World::new();
    world.provision();
    let quiet = world.accept();
    let conn = world.connect("CP");
    world.advance(11);
    assert_eq!(world.closed, [quiet], "a handshake must be finished");
    world.advance(600);
    world.say(conn, r#"[2,"h","Heartbeat",{}]"#);
    world.advance(600);
    assert_eq!(world.closed, [quiet], "any message is a sign of life");
    world.advance(301);
    assert_eq!(world.closed, [quiet, conn]);
    assert_eq!(world.shard.counters.connections_timed_out.get(), 2);
    assert!(world.shard.timers.len() < 4, "timers do not pile up");
}

#[test]
fn a_station_that_does_not_read_is_closed_at_the_bound() {
    let mut world = World::new();
    world.provision();
    let conn = world.connect("CP");
    world.reads = false;
    for number in 0..5_000 {
        world.say(conn, &format!(r#"[2,"{number}","Heartbeat",{{}}]"#));
        world.settle();
        if !world.closed.is_empty() {
            break;
        }
    }
    assert_eq!(world.closed, [conn]);
    assert_eq!(world.shard.counters.slow_readers_closed.get(), 1);
}

#[test]
fn a_newer_socket_of_an_identity_closes_the_older() {
    let mut world = World::new();
    world.provision();
    let old = world.connect("CP");
    let new = world.connect("CP");
    assert_eq!(world.closed, [old]);
    assert_eq!(world.heard(old), ["close Some(1008)"]);
    let row = world.shard.slots[&PartitionId(0)].machine.station("CP").expect("a row").clone();
    assert!(row.connected, "the late close of the old socket changes nothing");
    world.say(new, START);
    world.settle();
    assert!(world.heard(new)[0].contains("Accepted"));
}

#[test]
fn a_hub_that_stops_tells_each_socket_in_the_language_it_speaks() {
    let mut world = World::new();
    world.provision();
    let open = world.connect("CP");
    let silent = world.accept();
    let half = world.accept();
    world.receive(half, b"GET /ocpp/CP HTTP/1.1\r\nHost: hub\r\n");
    world.settle();
    world.heard(open);
    world.shard.handle_stop();
    world.settle();
    for conn in [silent, half] {
        let answer = String::from_utf8(world.sent[&conn].clone()).expect("text, not a frame");
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("Retry-After"), "{answer}");
    }
    let frame = &world.sent[&open];
    assert_eq!((frame[0], &frame[2..4]), (0x88, &1001_u16.to_be_bytes()[..]), "a close: go away");
    assert_eq!(world.closed.len(), 3);
}

#[test]
fn more_sockets_than_allowed_are_told_to_come_back() {
    let mut world = World::new();
    let conns: Vec<ConnId> = (0..17).map(|_| world.accept()).collect();
    world.settle();
    let last = conns[16];
    let answer = String::from_utf8(world.sent[&last].clone()).expect("text");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("Retry-After"), "{answer}");
    assert_eq!(world.closed, [last]);
}

#[test]
fn too_many_commands_are_answered_overloaded_and_the_rest_goes_on() {
    let mut world = World::new();
    world.writes_wait = true;
    let partition = PartitionId(0);
    world.propose_in_background(partition);
    world.settle();
    let mut answers: Vec<_> = (0..=batches::COMMANDS_WAITING_MAX)
        .map(|_| world.propose_in_background(partition))
        .collect();
    let mut last = answers.pop().expect("one too many");
    assert_eq!(last.try_recv().expect("an answer at once"), Err(Unavailable));
    world.writes_wait = false;
    world.finish_write();
    world.settle();
    assert!(answers.iter_mut().all(|answer| answer.try_recv().expect("an answer").is_ok()));
}

impl World {
    fn propose_in_background(
        &mut self,
        partition: PartitionId,
    ) -> oneshot::Receiver<Result<Outcome, Unavailable>> {
        let command = Command::Tick;
        let answer = self.begin(|reply| Request::Propose { partition, command, reply });
        self.shard.take_requests(&self.requests);
        answer
    }
}

#[test]
fn an_unknown_identity_may_boot_and_nothing_else() {
    let mut world = World::new();
    let conn = world.connect("NEW");
    world.say(
        conn,
        r#"[2,"1","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]"#,
    );
    world.say(conn, r#"[2,"2","Authorize",{"idTag":"TAG"}]"#);
    world.settle();
    let heard = world.heard(conn).join("\n");
    assert!(heard.contains("Pending") && heard.contains("SecurityError"), "{heard}");
}

#[test]
fn a_limit_and_a_stop_reach_the_station_through_the_outbox() {
    let mut world = World::new();
    world.provision();
    let conn = world.connect("CP");
    world.say(conn, START);
    world.settle();
    world.heard(conn);
    let slot = &world.shard.slots[&PartitionId(0)];
    let session =
        slot.machine.session_at("CP", ConnectorRef::of_v16(1)).expect("a session").session;
    world.propose(PartitionId(0), Command::RequestStop { session });
    let heard = world.heard(conn);
    assert!(heard[0].contains("RemoteStopTransaction"), "{heard:?}");
    assert_eq!(world.shard.slots[&PartitionId(0)].machine.outbox().count(), 1);
    world.say(conn, &format!(r#"[3,"{}",{{"status":"Accepted"}}]"#, call_id(&heard[0])));
    world.settle();
    assert_eq!(world.shard.slots[&PartitionId(0)].machine.outbox().count(), 0, "answered: gone");
}

#[test]
fn an_approved_station_goes_home_without_connecting_again() {
    let mut world = World::new();
    world.provision();
    let conn = world.connect("NEW");
    let home = PartitionId(0);
    let site = identity("site");
    world.propose(home, Command::PutStation { identity: identity("NEW"), site, password: None });
    let kind = DirectoryKind::Station;
    let directory = PartitionId::of_directory("NEW", PARTITIONS);
    world.propose(directory, Command::PutDirectory { kind, id: "NEW".into(), home });
    world.advance(2);
    let row = world.shard.slots[&home].machine.station("NEW").expect("a row");
    assert!(row.connected);
    world.say(conn, r#"[2,"1","Authorize",{"idTag":"TAG"}]"#);
    world.settle();
    let heard = world.heard(conn);
    assert!(heard[0].contains("Accepted"), "{heard:?}");
}

/// Its boot says that it is accepted as soon as the directory has it, and what follows at once is no less right.
#[test]
fn a_station_that_was_just_approved_is_refused_nothing() {
    let mut world = World::new();
    world.provision();
    let conn = world.connect("NEW");
    let (home, kind) = (PartitionId(0), DirectoryKind::Station);
    let directory = PartitionId::of_directory("NEW", PARTITIONS);
    let site = identity("site");
    world.propose(home, Command::PutStation { identity: identity("NEW"), site, password: None });
    world.propose(directory, Command::PutDirectory { kind, id: "NEW".into(), home });
    world.say(conn, START);
    world.settle();
    let heard = world.heard(conn);
    assert!(heard[0].contains("Accepted") && heard[0].contains("\"transactionId\":1"), "{heard:?}");
}

/// Between its row in the directory and its own: it was answered as HTTP answers, in the middle of its frames.
#[test]
fn a_station_that_is_approved_in_part_hears_frames_and_comes_again() {
    let mut world = World::new();
    world.provision();
    let conn = world.connect("NEW");
    let (home, kind) = (PartitionId(0), DirectoryKind::Station);
    let directory = PartitionId::of_directory("NEW", PARTITIONS);
    world.propose(directory, Command::PutDirectory { kind, id: "NEW".into(), home });
    world.advance(2);
    assert_eq!(world.heard(conn), ["close Some(1013)"]);
    let site = identity("site");
    world.propose(home, Command::PutStation { identity: identity("NEW"), site, password: None });
    world.connect("NEW");
    let row = world.shard.slots[&home].machine.station("NEW").expect("a row");
    assert!(row.connected);
}

#[test]
fn a_start_that_may_have_been_heard_is_not_sent_again_and_a_stop_is() {
    let mut world = World::new();
    world.provision();
    let conn = world.connect("CP");
    world.say(
        conn,
        r#"[2,"b","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]"#,
    );
    world.settle();
    world.heard(conn);
    let request = crate::port::StartCharge {
        key: "k".into(),
        station: identity("CP"),
        connector: ConnectorRef::of_v16(1),
        token: TokenUid::new("TAG").expect("valid"),
    };
    let partition = PartitionId(0);
    let outcome = world.ask(|reply| Request::StartCharge { partition, request, reply });
    let Ok(Outcome::Started { session, refusal: None, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(world.heard(conn)[0].contains("RemoteStartTransaction"));
    world.shard.handle_closed(conn);
    world.settle();
    let conn = world.connect("CP");
    assert_eq!(world.heard(conn), Vec::<String>::new(), "not again");
    let state = world.shard.slots[&partition].machine.session(session).expect("a session").state;
    assert_eq!(state, novax_charging::SessionState::Starting, "silence is not a no");
    world.say(conn, START);
    world.settle();
    world.heard(conn);
    world.propose(partition, Command::RequestStop { session });
    assert!(world.heard(conn)[0].contains("RemoteStopTransaction"));
    world.shard.handle_closed(conn);
    world.settle();
    let conn = world.connect("CP");
    assert!(world.heard(conn)[0].contains("RemoteStopTransaction"), "again");
}

#[test]
fn a_start_without_a_register_counts_from_what_the_meter_said_last() {
    let mut world = World::new();
    world.provision();
    let conn = world.connect_as("CP", "ocpp2.0.1");
    let event = |phase: &str, seq: u32, more: &str| {
        format!(
            r#"[2,"{phase}{seq}","TransactionEvent",{{"eventType":"{phase}","timestamp":"2026-11-22T13:14:2{seq}Z","triggerReason":"Authorized","seqNo":{seq},"transactionInfo":{{"transactionId":"tx"}},"evse":{{"id":1,"connectorId":1}}{more}}}]"#
        )
    };
    let register = |wh: u32, second: u32| {
        format!(
            r#","meterValue":[{{"timestamp":"2026-11-22T13:14:2{second}Z","sampledValue":[{{"value":{wh}}}]}}]"#
        )
    };
    let token = r#","idToken":{"idToken":"TAG","type":"ISO14443"}"#;
    let status = r#"{"timestamp":"2026-11-22T13:14:20Z","connectorStatus":"Occupied","evseId":1,"connectorId":1}"#;
    world.say(conn, &format!(r#"[2,"s","StatusNotification",{status}]"#));
    world.settle();
    world.say(conn, &event("Started", 0, &register(812_000, 0)));
    world.advance(1);
    world.say(conn, &event("Updated", 1, token));
    world.advance(1);
    world.say(conn, &event("Ended", 2, &register(813_000, 2)));
    world.advance(1);
    assert_eq!(world.heard(conn).len(), 4);
    let totals = world.shard.slots[&PartitionId(0)].machine.totals();
    assert_eq!((totals.sessions_ended, totals.energy_wh_total), (1, 1_000));
}

#[test]
fn more_meter_values_than_a_block_takes_are_refused_and_the_rest_goes_on() {
    let mut world = World::new();
    world.provision();
    let conn = world.connect("CP");
    world.writes_wait = true;
    world.propose_in_background(PartitionId(0));
    world.settle();
    let values: Vec<String> = (0..900)
        .map(|n| {
            let (minute, second) = (n / 60, n % 60);
            format!(
                r#"{{"timestamp":"2026-11-22T13:{minute:02}:{second:02}Z","sampledValue":[{{"value":"{n}"}}]}}"#
            )
        })
        .collect();
    let values = values.join(",");
    for number in 0..20 {
        let call =
            format!(r#"[2,"{number}","MeterValues",{{"connectorId":1,"meterValue":[{values}]}}]"#);
        world.say(conn, &call);
    }
    world.writes_wait = false;
    world.finish_write();
    world.settle();
    let heard = world.heard(conn);
    let refused = heard.iter().filter(|text| text.contains("InternalError")).count();
    assert_eq!((heard.len(), refused), (20, 2), "16 384 ticks fit, 18 000 came");
}
