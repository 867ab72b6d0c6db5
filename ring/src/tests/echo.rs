//! Traffic of many connections.

use super::*;
use std::io::{Read as _, Write as _};
use std::thread;

#[test]
fn a_thousand_connections_get_their_own_bytes_back() {
    const CONNS: usize = 1000;
    const ROUNDS: usize = 10;
    let (mut ring, address) = listening(RingConfig { recv_buffers: 256, ..small() });
    let clients = thread::spawn(move || {
        let mut streams: Vec<TcpStream> = (0..CONNS).map(|_| connect(address)).collect();
        for round in 0..ROUNDS {
            let message = |id: usize| pattern((id * ROUNDS + round) as u64, 200);
            for (id, stream) in streams.iter_mut().enumerate() {
                stream.write_all(&message(id)).unwrap();
            }
            for (id, stream) in streams.iter_mut().enumerate() {
                let mut reply = [0; 200];
                stream.read_exact(&mut reply).unwrap();
                assert_eq!(reply[..], message(id)[..]);
            }
        }
    });
    let mut echo = Echo::default();
    run_until(&mut ring, |ring, completion| {
        echo.handle(ring, completion);
        echo.closed.len() == CONNS
    });
    clients.join().unwrap();
    let stats = ring.stats();
    assert_eq!((stats.accepts, stats.live_conns), (CONNS as u64, 0));
    assert!(stats.sends >= CONNS as u64 * ROUNDS as u64 && stats.recvs >= stats.sends);
}

#[test]
fn one_large_message_arrives_whole_and_in_order_through_short_sends() {
    let (mut ring, address) = listening(small());
    let sent = pattern(3, 8 << 20);
    let expected = sent.clone();
    let client = thread::spawn(move || {
        let mut reader = connect(address);
        let mut writer = reader.try_clone().unwrap();
        let write = thread::spawn(move || writer.write_all(&sent).unwrap());
        let mut back = vec![0; 8 << 20];
        reader.read_exact(&mut back).unwrap();
        write.join().unwrap();
        assert!(back == expected);
    });
    let mut echo = Echo::default();
    run_until(&mut ring, |ring, completion| {
        echo.handle(ring, completion);
        echo.closed.len() == 1
    });
    client.join().unwrap();
}

#[test]
fn received_bytes_can_be_changed_in_place() {
    let (mut ring, address) = listening(small());
    let mut client = connect(address);
    client.write_all(b"abc").unwrap();
    let mut received = Vec::new();
    run_until(&mut ring, |_, completion| {
        if let Completion::Received { mut data, .. } = completion {
            data.iter_mut().for_each(|byte| *byte ^= 1);
            received.extend_from_slice(&data);
        }
        received.len() == 3
    });
    assert_eq!(received, b"`cb");
}

#[test]
fn accepted_sockets_have_no_delay() {
    let (ring, address) = listening(small());
    // Inherited from the listener, which the ring owns; so ask it through a plain accept beside the ring.
    drop(ring);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let twin = listener.try_clone().unwrap();
    let mut ring = Ring::new(small()).unwrap();
    ring.listen(listener, 1).unwrap();
    let address = SocketAddr::new(address.ip(), twin.local_addr().unwrap().port());
    let _client = connect(address);
    // Nothing is submitted before the first turn, so the ring does not take this connection.
    let (accepted, _) = twin.accept().unwrap();
    assert!(accepted.nodelay().unwrap());
}

#[test]
fn a_stopped_listener_refuses_and_the_others_go_on() {
    let (mut ring, first) = listening(small());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = listener.local_addr().unwrap();
    ring.listen(listener, 8).unwrap();
    let _client = connect(first);
    let conn = accept_one(&mut ring);

    ring.stop_listening(7);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(first).is_ok() {
        assert!(Instant::now() < deadline);
        run_for(&mut ring, Duration::from_millis(10));
    }
    let _other = connect(second);
    run_until(&mut ring, |_, completion| {
        matches!(completion, Completion::Accepted { listener: 8, .. })
    });
    assert!(ring.send(conn, b"still here".to_vec()).is_ok());
}
