//! Too much of something: bytes for the buffers, bytes for the peer, connections for the table.

use super::*;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::thread;

#[test]
fn with_few_buffers_and_many_senders_every_byte_arrives_in_order() {
    const SENDERS: usize = 50;
    const BYTES: usize = 100_000;
    let config = RingConfig { recv_buffers: 4, recv_buffer_bytes: 256, ..small() };
    let (mut ring, address) = listening(config);
    let senders: Vec<_> = (0..SENDERS)
        .map(|id| {
            thread::spawn(move || {
                let mut stream = connect(address);
                let mut bytes = pattern(id as u64, BYTES);
                bytes[..8].copy_from_slice(&(id as u64).to_le_bytes());
                stream.write_all(&bytes).unwrap();
            })
        })
        .collect();
    let mut received: BTreeMap<ConnId, Vec<u8>> = BTreeMap::new();
    let mut held = VecDeque::new();
    let mut ended = 0;
    run_until(&mut ring, |_, completion| {
        match completion {
            Completion::Accepted { conn, .. } => drop(received.insert(conn, Vec::new())),
            Completion::Received { conn, data } => {
                received.get_mut(&conn).unwrap().extend_from_slice(&data);
                // Holding three of four makes the shortage worse.
                held.push_back(data);
                if held.len() > 3 {
                    held.pop_front();
                }
            }
            Completion::Closed { error, .. } => {
                assert!(error.is_none());
                ended += 1;
            }
            other => panic!("{other:?}"),
        }
        ended == SENDERS
    });
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    assert!(ring.stats().enobufs > 0, "the test is of the shortage");
    let mut seen = [false; SENDERS];
    for bytes in received.into_values() {
        let id = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert!(!std::mem::replace(&mut seen[usize::try_from(id).unwrap()], true));
        assert_eq!(bytes.len(), BYTES);
        assert!(bytes[8..] == pattern(id, BYTES)[8..]);
    }
}

#[test]
fn while_no_buffer_is_free_the_ring_rests_and_then_goes_on() {
    let config = RingConfig { recv_buffers: 2, recv_buffer_bytes: 64, ..small() };
    let (mut ring, address) = listening(config);
    let mut client = connect(address);
    client.write_all(&pattern(1, 64 * 5)).unwrap();
    let mut held = Vec::new();
    run_until(&mut ring, |_, completion| {
        if let Completion::Received { data, .. } = completion {
            held.push(data);
        }
        held.len() == 2
    });
    assert!(run_for(&mut ring, Duration::from_millis(100)).is_empty());
    let before = ring.stats();
    assert_eq!(before.enobufs, 1);
    assert!(run_for(&mut ring, Duration::from_millis(100)).is_empty());
    assert_eq!(ring.stats(), before, "without a free buffer nothing is tried");

    let mut all: Vec<u8> = held.drain(..).flat_map(|data| data.to_vec()).collect();
    run_until(&mut ring, |ring, completion| {
        if let Completion::Received { data, .. } = completion {
            all.extend_from_slice(&data);
            ring.give_back(data);
        }
        all.len() == 64 * 5
    });
    assert_eq!(all, pattern(1, 64 * 5));
}

#[test]
fn a_slow_reader_holds_up_only_itself() {
    let (mut ring, address) = listening(small());
    let slow = connect(address);
    let slow_conn = accept_one(&mut ring);
    let mut quick = connect(address);
    let quick_conn = accept_one(&mut ring);
    let big = pattern(2, 16 << 20);
    ring.send(slow_conn, big.clone()).unwrap();
    assert!(ring.send(slow_conn, vec![1]).is_err(), "one send at a time");

    for round in 0..100u8 {
        ring.send(quick_conn, vec![round; 100]).unwrap();
        run_until(
            &mut ring,
            |_, completion| matches!(completion, Completion::Sent { conn, .. } if conn == quick_conn),
        );
        let mut reply = [0; 100];
        quick.read_exact(&mut reply).unwrap();
        assert_eq!(reply, [round; 100]);
    }
    let reader = thread::spawn(move || {
        let mut all = vec![0; 16 << 20];
        (&slow).read_exact(&mut all).unwrap();
        (all, slow)
    });
    run_until(
        &mut ring,
        |_, completion| matches!(completion, Completion::Sent { conn, .. } if conn == slow_conn),
    );
    assert!(reader.join().unwrap().0 == big);
}

#[test]
fn a_stopped_connection_pushes_back_on_its_peer_and_loses_nothing() {
    const BYTES: usize = 32 << 20;
    let (mut ring, address) = listening(small());
    let client = thread::spawn(move || {
        let mut stream = connect(address);
        stream.write_all(&pattern(4, BYTES)).unwrap();
        stream
    });
    let conn = accept_one(&mut ring);
    let mut all = Vec::with_capacity(BYTES);
    run_until(&mut ring, |ring, completion| {
        if let Completion::Received { data, .. } = completion {
            all.extend_from_slice(&data);
        }
        // Again and again, at once and after a pause.
        ring.stop_recv(conn);
        ring.start_recv(conn);
        all.len() > 100_000
    });
    ring.stop_recv(conn);
    // What was in flight arrives; then nothing more, although the peer has much left.
    loop {
        let quiet = run_for(&mut ring, Duration::from_millis(50));
        for completion in &quiet {
            if let Completion::Received { data, .. } = completion {
                all.extend_from_slice(data);
            }
        }
        if quiet.is_empty() {
            break;
        }
    }
    assert!(all.len() < BYTES && !client.is_finished());
    ring.start_recv(conn);
    run_until(&mut ring, |_, completion| {
        if let Completion::Received { data, .. } = completion {
            all.extend_from_slice(&data);
        }
        all.len() == BYTES
    });
    client.join().unwrap();
    assert!(all == pattern(4, BYTES));
}

#[test]
fn a_full_table_lets_the_next_wait_and_takes_them_when_there_is_room() {
    let (mut ring, address) = listening(RingConfig { files_max: 4, ..small() });
    let mut clients = Vec::new();
    let mut echo = Echo::default();
    for count in 1..=4 {
        clients.push(connect(address));
        run_until(&mut ring, |ring, completion| {
            echo.handle(ring, completion);
            echo.accepted == count
        });
    }
    run_for(&mut ring, Duration::from_millis(1));
    clients.extend((0..2).map(|_| connect(address)));
    clients[5].write_all(b"hello").unwrap();
    let before = ring.stats().accept_backoffs;
    assert!(run_for(&mut ring, Duration::from_millis(300)).is_empty());
    assert!(ring.stats().accept_backoffs - before < 10, "the listener rests");

    clients.drain(..2);
    run_until(&mut ring, |ring, completion| {
        echo.handle(ring, completion);
        echo.accepted == 6
    });
    assert_eq!(ring.stats().live_conns, 4);
    let mut last = clients.pop().unwrap();
    let reader = thread::spawn(move || {
        let mut reply = [0; 5];
        last.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"hello");
    });
    run_until(&mut ring, |ring, completion| {
        echo.handle(ring, completion);
        echo.closed.len() == 3
    });
    reader.join().unwrap();
}

#[test]
fn a_burst_past_the_table_is_counted_and_does_not_stop_the_listener() {
    let (mut ring, address) = listening(RingConfig { files_max: 4, ..small() });
    let burst: Vec<TcpStream> = (0..8).map(|_| connect(address)).collect();
    let mut echo = Echo::default();
    for completion in run_for(&mut ring, Duration::from_millis(300)) {
        echo.handle(&mut ring, completion);
    }
    assert_eq!(echo.accepted, 4);
    let backoffs = ring.stats().accept_backoffs;
    assert!((1..12).contains(&backoffs), "{backoffs}");
    drop(burst);
    while !echo.conns.is_empty() {
        run_until(&mut ring, |ring, completion| {
            echo.handle(ring, completion);
            true
        });
    }
    let before = echo.accepted;
    let _late = connect(address);
    run_until(&mut ring, |ring, completion| {
        echo.handle(ring, completion);
        echo.accepted > before
    });
}

#[test]
fn a_listener_stopped_while_it_rests_leaves_the_ring_at_rest() {
    let (mut ring, address) = listening(RingConfig { files_max: 1, ..small() });
    let _client = connect(address);
    accept_one(&mut ring);
    assert_eq!(ring.stats().accept_backoffs, 1);
    ring.stop_listening(7);
    assert!(run_for(&mut ring, Duration::from_millis(100)).is_empty());
    assert_eq!(ring.listener_deadline(), None, "nothing is left to wake up for");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn more_requests_than_the_queue_holds_are_all_done() {
    const CONNS: usize = 200;
    let (mut ring, address) = listening(RingConfig { entries: 8, ..small() });
    let mut clients: Vec<TcpStream> = Vec::new();
    let mut conns = Vec::new();
    for _ in 0..CONNS {
        clients.push(connect(address));
        conns.push(accept_one(&mut ring));
    }
    for conn in &conns {
        ring.send(*conn, pattern(u64::from(conn.index()), 500)).unwrap();
        ring.close_after_send(*conn);
    }
    let readers = thread::spawn(move || {
        let mut replies: Vec<Vec<u8>> = Vec::new();
        for mut client in clients {
            let mut reply = Vec::new();
            client.read_to_end(&mut reply).unwrap();
            replies.push(reply);
        }
        replies
    });
    let (mut sent, mut ended) = (0, 0);
    run_until(&mut ring, |_, completion| {
        match completion {
            Completion::Sent { .. } => sent += 1,
            Completion::Closed { .. } => ended += 1,
            other => panic!("{other:?}"),
        }
        ended == CONNS
    });
    assert_eq!(sent, CONNS);
    assert!(ring.stats().cq_overflows > 0, "the answers, too, were more than their queue holds");
    for (conn, reply) in conns.iter().zip(readers.join().unwrap()) {
        assert!(reply == pattern(u64::from(conn.index()), 500));
    }
}

#[test]
fn connections_that_come_within_one_turn_wait_for_it() {
    let (mut ring, address) = listening(small());
    // None is accepted before the first turn. One more than the queue holds would be told nothing for a second.
    let clients: Vec<TcpStream> = (0..400)
        .map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(900)).unwrap())
        .collect();
    let mut accepted = 0;
    run_until(&mut ring, |_, completion| {
        accepted += usize::from(matches!(completion, Completion::Accepted { .. }));
        accepted == clients.len()
    });
}
