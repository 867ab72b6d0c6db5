//! Handing connections between rings on two threads.

use super::super::RingHandle;
use super::*;
use std::io::{Read as _, Write as _};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

/// What the owners settle between them: everything known of a connection but its socket.
struct Parcel {
    tag: u64,
    state: Owned,
}

/// A connection as its owner sees it.
#[derive(Default)]
struct Owned {
    received: Vec<u8>,
    echo: Outgoing,
    moves: usize,
    since_move: usize,
}

/// One of two owners that echo, and pass each connection to and fro.
struct Owner {
    ring: Ring,
    conns: BTreeMap<ConnId, Owned>,
    other: RingHandle,
    parcels: Sender<Parcel>,
    inbox: Receiver<Parcel>,
    /// Sockets and parcels whose counterpart has not come yet.
    adopted: BTreeMap<u64, ConnId>,
    unpacked: BTreeMap<u64, Owned>,
    /// By the id that is moving.
    tags: BTreeMap<ConnId, u64>,
    next_tag: u64,
    ended: Sender<(Vec<u8>, usize)>,
}

const MOVE_EVERY_BYTES: usize = 20_000;

impl Owner {
    fn turn(&mut self, out: &mut Vec<Completion>) {
        self.ring.submit_and_wait(Some(Duration::from_millis(100)), out).unwrap();
        for completion in out.drain(..) {
            self.handle(completion);
        }
        while let Ok(parcel) = self.inbox.try_recv() {
            self.unpacked.insert(parcel.tag, parcel.state);
            self.join(parcel.tag);
        }
    }

    fn handle(&mut self, completion: Completion) {
        match completion {
            Completion::Accepted { conn, .. } => {
                self.conns.insert(conn, Owned::default());
            }
            Completion::Received { conn, data } => self.received(conn, &data),
            Completion::Sent { conn, .. } => {
                let owned = self.conns.get_mut(&conn).unwrap();
                owned.echo.busy = false;
                owned.echo.flush(&mut self.ring, conn);
            }
            Completion::Adopted { conn, tag } => {
                self.adopted.insert(tag, conn);
                self.join(tag);
            }
            Completion::TransferDone { conn } => {
                let tag = self.tags.remove(&conn).unwrap();
                let mut state = self.conns.remove(&conn).unwrap();
                (state.moves, state.since_move, state.echo.busy) = (state.moves + 1, 0, false);
                self.parcels.send(Parcel { tag, state }).unwrap();
                self.other.wake();
            }
            Completion::Closed { conn, error } => {
                assert!(error.is_none(), "{error:?}");
                let owned = self.conns.remove(&conn).unwrap();
                self.ended.send((owned.received, owned.moves)).unwrap();
            }
            // The peer ended just then: the close follows.
            Completion::TransferFailed { conn, tag, error } => {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                assert_eq!(self.tags.remove(&conn), Some(tag));
            }
            Completion::Woken => {}
            other => panic!("{other:?}"),
        }
    }

    fn received(&mut self, conn: ConnId, data: &[u8]) {
        let owned = self.conns.get_mut(&conn).unwrap();
        owned.received.extend_from_slice(data);
        owned.echo.queued.extend_from_slice(data);
        owned.since_move += data.len();
        owned.echo.flush(&mut self.ring, conn);
        if owned.since_move >= MOVE_EVERY_BYTES && !self.tags.contains_key(&conn) {
            self.next_tag += 2;
            self.tags.insert(conn, self.next_tag);
            self.ring.transfer(conn, &self.other, self.next_tag);
        }
    }

    fn join(&mut self, tag: u64) {
        if self.adopted.contains_key(&tag)
            && let Some(mut state) = self.unpacked.remove(&tag)
        {
            let conn = self.adopted.remove(&tag).unwrap();
            state.echo.flush(&mut self.ring, conn);
            self.conns.insert(conn, state);
            self.ring.start_recv(conn);
        }
    }
}

#[test]
fn a_stream_moved_to_and_fro_under_traffic_loses_and_reorders_no_byte() {
    const CLIENTS: u64 = 8;
    const BYTES: usize = 2 << 20;
    let (first, address) = listening(small());
    let (ended, ends) = mpsc::channel();
    let (to_first, first_inbox) = mpsc::channel();
    let (to_second, second_inbox) = mpsc::channel();
    let (give_handle, take_handle) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let first_handle = first.handle();
    let owner = |ring, other, parcels, inbox, next_tag, ended| Owner {
        ring,
        conns: BTreeMap::new(),
        other,
        parcels,
        inbox,
        adopted: BTreeMap::new(),
        unpacked: BTreeMap::new(),
        tags: BTreeMap::new(),
        next_tag,
        ended,
    };
    let second = thread::spawn({
        let ended = ended.clone();
        move || {
            let ring = Ring::new(small()).unwrap();
            give_handle.send(ring.handle()).unwrap();
            let mut owner = owner(ring, first_handle, to_first, second_inbox, 1, ended);
            let mut out = Vec::new();
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                owner.turn(&mut out);
            }
            assert_eq!(owner.ring.stats().live_conns, 0);
            owner.ring.stats().transfers
        }
    });
    let clients: Vec<_> =
        (0..CLIENTS).map(|seed| thread::spawn(move || stream(address, seed, BYTES))).collect();

    let mut owner = owner(first, take_handle.recv().unwrap(), to_second, first_inbox, 0, ended);
    let (mut out, mut streams) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + PATIENCE;
    while streams.len() < CLIENTS as usize {
        owner.turn(&mut out);
        streams.extend(ends.try_iter());
        assert!(
            Instant::now() < deadline,
            "{} streams ended; {:?}",
            streams.len(),
            owner.ring.stats()
        );
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
    stop.send(()).unwrap();
    let moves_back = second.join().unwrap();
    assert_eq!(owner.ring.stats().live_conns, 0);
    let moves: usize = streams.iter().map(|(_, moves)| moves).sum();
    assert_eq!(moves as u64, moves_back + owner.ring.stats().transfers);
    assert!(moves > 50, "only {moves} moves");
    let mut expected: Vec<Vec<u8>> = (0..CLIENTS).map(|seed| pattern(seed + 1, BYTES)).collect();
    let mut received: Vec<Vec<u8>> = streams.into_iter().map(|(bytes, _)| bytes).collect();
    expected.sort_unstable();
    received.sort_unstable();
    assert!(received == expected);
}

/// A client that writes its pattern without pause and wants it back.
fn stream(address: SocketAddr, seed: u64, length: usize) {
    let mut reader = connect(address);
    let mut writer = reader.try_clone().unwrap();
    let sent = pattern(seed + 1, length);
    let writing = thread::spawn({
        let sent = sent.clone();
        move || {
            sent.chunks(1000 + seed as usize * 700)
                .for_each(|piece| writer.write_all(piece).unwrap());
        }
    });
    let mut back = vec![0; length];
    reader.read_exact(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == sent, "stream {seed} came back changed");
}

#[test]
fn a_transfer_to_a_ring_that_is_gone_fails_and_the_connection_lives_on() {
    let (mut ring, address) = listening(small());
    let mut client = connect(address);
    let conn = accept_one(&mut ring);
    let gone = thread::spawn(|| Ring::new(small()).unwrap().handle()).join().unwrap();
    for to in [gone, ring.handle()] {
        ring.transfer(conn, &to, 5);
        assert!(ring.send(conn, vec![1]).is_err(), "refused while moving");
        run_until(&mut ring, |_, completion| match completion {
            Completion::TransferFailed { conn: which, tag, .. } => which == conn && tag == 5,
            other => panic!("{other:?}"),
        });
    }
    client.write_all(b"x").unwrap();
    assert!(run_for(&mut ring, Duration::from_millis(50)).is_empty(), "not receiving");
    ring.start_recv(conn);
    run_until(&mut ring, |_, completion| matches!(completion, Completion::Received { .. }));
}

#[test]
fn a_full_target_refuses_and_the_connection_lives_on() {
    let (mut ring, address) = listening(small());
    let _clients = [connect(address), connect(address)];
    let mut conns = Vec::new();
    run_until(&mut ring, |_, completion| {
        if let Completion::Accepted { conn, .. } = completion {
            conns.push(conn);
        }
        conns.len() == 2
    });
    let (give_handle, take_handle) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let target = thread::spawn(move || {
        let mut ring = Ring::new(RingConfig { files_max: 1, ..small() }).unwrap();
        give_handle.send(ring.handle()).unwrap();
        let mut out = Vec::new();
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            ring.submit_and_wait(Some(Duration::from_millis(20)), &mut out).unwrap();
        }
        // The kernel may have put an adoption there since the last turn looked.
        ring.submit_and_wait(Some(Duration::ZERO), &mut out).unwrap();
        out.iter().filter(|item| matches!(item, Completion::Adopted { .. })).count()
    });
    let to = take_handle.recv().unwrap();
    ring.transfer(conns[0], &to, 1);
    run_until(
        &mut ring,
        |_, completion| matches!(completion, Completion::TransferDone { conn } if conn == conns[0]),
    );
    ring.transfer(conns[1], &to, 2);
    run_until(&mut ring, |_, completion| match completion {
        Completion::TransferFailed { conn, tag: 2, error } => {
            assert_eq!(error.raw_os_error(), Some(libc::ENFILE));
            conn == conns[1]
        }
        other => panic!("{other:?}"),
    });
    ring.send(conns[1], b"still here".to_vec()).unwrap();
    run_until(&mut ring, |_, completion| matches!(completion, Completion::Sent { .. }));
    stop.send(()).unwrap();
    assert_eq!(target.join().unwrap(), 1);
}

#[test]
fn a_transfer_of_a_dead_connection_fails_and_one_closed_meanwhile_still_ends() {
    let (mut ring, address) = listening(small());
    let client = connect(address);
    let conn = accept_one(&mut ring);
    let to = ring.handle();
    // A send that is stuck keeps the transfer waiting.
    ring.send(conn, vec![1; 64 << 20]).unwrap();
    ring.transfer(conn, &to, 1);
    assert!(run_for(&mut ring, Duration::from_millis(20)).is_empty());
    ring.close(conn);
    let mut failed = false;
    run_until(&mut ring, |_, completion| match completion {
        Completion::TransferFailed { tag: 1, .. } => {
            failed = true;
            false
        }
        Completion::Closed { .. } => true,
        other => panic!("{other:?}"),
    });
    assert!(failed);
    ring.transfer(conn, &to, 2);
    run_until(&mut ring, |_, completion| {
        matches!(completion, Completion::TransferFailed { tag: 2, .. })
    });
    drop(client);
}
