//! Slots are reused; ids are not.

use super::*;
use std::io::{Read as _, Write as _};

#[test]
fn the_id_of_a_gone_connection_cannot_touch_the_slots_next_user() {
    let (mut ring, address) = listening(RingConfig { files_max: 1, ..small() });
    let mut old = Vec::new();
    for round in 0..50u8 {
        let mut client = connect(address);
        let conn = accept_one(&mut ring);
        assert_eq!(conn.index(), 0);
        for stale in &old {
            assert!(ring.send(*stale, b"wrong".to_vec()).is_err());
            ring.stop_recv(*stale);
            ring.close_after_send(*stale);
            ring.close(*stale);
        }
        client.write_all(&[round]).unwrap();
        let mut heard = false;
        run_until(&mut ring, |ring, completion| match completion {
            Completion::Received { conn: from, data } => {
                assert_eq!((from, &data[..]), (conn, &[round][..]));
                heard = true;
                ring.send(conn, vec![round]).unwrap();
                false
            }
            Completion::Sent { conn: to, .. } => to == conn && heard,
            other => panic!("{other:?}"),
        });
        let mut reply = [0];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(reply, [round]);
        drop(client);
        assert!(closed(&mut ring, conn).is_none());
        old.push(conn);
    }
    old.dedup();
    assert_eq!(old.len(), 50, "fifty generations of one slot");
}

#[test]
fn a_slot_filled_again_before_its_close_is_reported_gives_the_close_first() {
    let (mut ring, address) = listening(small());
    let client = connect(address);
    let old = accept_one(&mut ring);
    ring.stop_recv(old);
    run_for(&mut ring, Duration::from_millis(20));
    // With nothing in flight the close is submitted at once; its answer is still to come.
    ring.close(old);
    let mut out = Vec::new();
    let new = ring.open_slot(old.index(), &mut out);
    assert!(matches!(out[..], [Completion::Closed { conn, error: None }] if conn == old));
    assert_eq!(new.index(), old.index());
    assert_ne!(new, old);

    let stale = ring.stats().stale;
    assert!(run_for(&mut ring, Duration::from_millis(50)).is_empty(), "the late answer is ignored");
    assert_eq!(ring.stats().stale, stale + 1);
    assert_eq!(ring.stats().live_conns, 1);
    ring.close(new);
    assert!(closed(&mut ring, new).is_none());
    drop(client);
}

#[test]
fn late_answers_for_an_earlier_generation_do_nothing() {
    use super::super::ids::{Name, Op, pack, unpack};
    let (mut ring, address) = listening(small());
    let client = connect(address);
    let conn = accept_one(&mut ring);
    let earlier = ConnId::from_parts(conn.index(), conn.generation().wrapping_sub(1));
    let mut out = Vec::new();
    for op in [Op::Recv, Op::Send, Op::Close, Op::Transfer, Op::Shutdown, Op::CancelRecv] {
        let name = unpack(pack(op, earlier));
        assert_eq!(name, Some(Name::Own(op, earlier)));
        for result in [0, 5, -libc::ECONNRESET, -libc::EALREADY] {
            let answer = super::super::queue::Answer { name, result, buffer: None, more: false };
            ring.dispatch(answer, &mut out).unwrap();
        }
    }
    assert!(out.is_empty());
    assert!(run_for(&mut ring, Duration::from_millis(20)).is_empty());
    drop(client);
    assert!(closed(&mut ring, conn).is_none());
}
