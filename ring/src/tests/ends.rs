//! Every way a connection ends, and that it ends once.

use super::*;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::thread;

/// Makes the close of this stream a reset.
fn reset_on_close(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = libc::socklen_t::try_from(size_of_val(&linger)).unwrap();
    // SAFETY: the pointer is to `linger`, of the length given, and read only during the call.
    let result = unsafe {
        let (level, option) = (libc::SOL_SOCKET, libc::SO_LINGER);
        libc::setsockopt(stream.as_raw_fd(), level, option, (&raw const linger).cast(), length)
    };
    assert_eq!(result, 0);
}

#[test]
fn a_peer_that_closes_is_reported_without_an_error_and_once() {
    let (mut ring, address) = listening(small());
    let client = connect(address);
    let conn = accept_one(&mut ring);
    drop(client);
    assert!(closed(&mut ring, conn).is_none());
    assert_eq!(ring.send(conn, vec![1]), Err(vec![1]));
    ring.close(conn);
    ring.close_after_send(conn);
    ring.start_recv(conn);
    assert!(run_for(&mut ring, Duration::from_millis(50)).is_empty(), "nothing follows Closed");
    assert_eq!(ring.stats().live_conns, 0);
}

#[test]
fn a_half_closed_peer_still_gets_its_answer() {
    let (mut ring, address) = listening(small());
    let question = pattern(5, 300_000);
    let expected = question.clone();
    let client = thread::spawn(move || {
        let mut stream = connect(address);
        let mut writer = stream.try_clone().unwrap();
        let write = thread::spawn(move || {
            writer.write_all(&question).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        write.join().unwrap();
        assert!(answer == expected, "{} of {} bytes", answer.len(), expected.len());
    });
    let mut echo = Echo::default();
    run_until(&mut ring, |ring, completion| {
        echo.handle(ring, completion);
        echo.closed.len() == 1
    });
    client.join().unwrap();
}

#[test]
fn a_reset_is_reported_with_its_error() {
    let (mut ring, address) = listening(small());
    let client = connect(address);
    let conn = accept_one(&mut ring);
    reset_on_close(&client);
    drop(client);
    let error = closed(&mut ring, conn).expect("a reset is an error");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_during_a_send_ends_the_send_and_the_connection() {
    let (mut ring, address) = listening(small());
    let client = connect(address);
    let conn = accept_one(&mut ring);
    ring.send(conn, vec![1; 64 << 20]).unwrap();
    assert!(run_for(&mut ring, Duration::from_millis(20)).is_empty(), "the peer does not read");
    reset_on_close(&client);
    drop(client);
    assert!(closed(&mut ring, conn).is_some());
}

#[test]
fn close_cuts_off_a_send_that_is_stuck() {
    let (mut ring, address) = listening(small());
    let client = connect(address);
    let conn = accept_one(&mut ring);
    ring.send(conn, vec![1; 64 << 20]).unwrap();
    assert!(run_for(&mut ring, Duration::from_millis(20)).is_empty(), "the peer does not read");
    let start = Instant::now();
    ring.close(conn);
    assert!(closed(&mut ring, conn).is_none());
    assert!(start.elapsed() < super::super::conns::CLOSE_LINGER);
    drop(client);
}

#[test]
fn close_after_send_delivers_every_byte_then_the_end() {
    let (mut ring, address) = listening(small());
    let sent = pattern(9, 4 << 20);
    let expected = sent.clone();
    let client = thread::spawn(move || {
        let mut stream = connect(address);
        // Input that the server never reads would turn its close into a reset and lose the answer.
        stream.write_all(&pattern(1, 1000)).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert!(all == expected, "{} of {} bytes", all.len(), expected.len());
    });
    let conn = accept_one(&mut ring);
    ring.send(conn, sent).unwrap();
    ring.close_after_send(conn);
    assert!(ring.send(conn, vec![1]).is_err());
    assert!(closed(&mut ring, conn).is_none());
    client.join().unwrap();
}

#[test]
fn a_peer_that_never_ends_is_cut_off_after_the_linger() {
    let (mut ring, address) = listening(small());
    let client = connect(address);
    let conn = accept_one(&mut ring);
    let start = Instant::now();
    ring.close_after_send(conn);
    assert!(closed(&mut ring, conn).is_none());
    let took = start.elapsed();
    let linger = super::super::conns::CLOSE_LINGER;
    assert!((linger..linger * 3).contains(&took), "{took:?}");
    drop(client);
}

#[test]
fn ends_in_any_order_and_combination_give_one_closed_each() {
    let (mut ring, address) = listening(RingConfig { files_max: 16, ..small() });
    let mut echo = Echo::default();
    let mut clients: VecDeque<TcpStream> = VecDeque::new();
    for round in 0..3000usize {
        let stream = connect(address);
        if round % 3 == 0 {
            reset_on_close(&stream);
        }
        if round % 2 == 0 {
            (&stream).write_all(&pattern(round as u64, 5000)).unwrap();
        }
        if round % 5 == 0 {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        clients.push_back(stream);
        let accepted = echo.accepted;
        run_until(&mut ring, |ring, completion| {
            echo.handle(ring, completion);
            echo.accepted > accepted
        });
        let newest = echo.conns.keys().next_back().copied();
        match round % 7 {
            0 => newest.into_iter().for_each(|conn| ring.close(conn)),
            1 => newest.into_iter().for_each(|conn| {
                let _busy = ring.send(conn, vec![0; 100_000]);
                ring.close(conn);
            }),
            2 => newest.into_iter().for_each(|conn| ring.stop_recv(conn)),
            _ => {}
        }
        while clients.len() > 8 {
            clients.pop_front();
            // A connection whose input was stopped does not see its peer go.
            echo.conns.keys().for_each(|conn| ring.start_recv(*conn));
        }
    }
    clients.clear();
    echo.conns.keys().for_each(|conn| ring.start_recv(*conn));
    while !echo.conns.is_empty() {
        run_until(&mut ring, |ring, completion| {
            echo.handle(ring, completion);
            true
        });
    }
    assert_eq!(echo.closed.len(), 3000);
    echo.closed.sort_unstable();
    echo.closed.dedup();
    assert_eq!(echo.closed.len(), 3000);
    assert_eq!(ring.stats().live_conns, 0);
}
