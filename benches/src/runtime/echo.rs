//! An echo server on the node's ring, in the shape of a shard's loop and with nothing else in it.

use crate::error::{During as _, Result};
use novax_ring::{Completion, ConnId, Ring, RingConfig};
use std::net::TcpListener;

/// Buffers kept for the next sends.
const SPARE_MAX: usize = 4_096;

/// What is on its way out to a connection.
#[derive(Debug, Default)]
struct Outgoing {
    queued: Vec<u8>,
    busy: bool,
}

/// The ring's owner.
#[derive(Debug)]
struct Echo {
    ring: Ring,
    /// By slot of the ring.
    conns: Vec<Outgoing>,
    spare: Vec<Vec<u8>>,
}

/// Serves until it is killed.
pub(crate) fn serve() -> Result<()> {
    novax_ring::pin_to_core(0);
    let mut ring = Ring::new(RingConfig::default()).during("making a ring")?;
    let listener = TcpListener::bind("127.0.0.1:0").during("listening")?;
    println!("listening {}", listener.local_addr().during("listening")?);
    ring.listen(listener, 0).during("listening")?;
    let mut echo = Echo { ring, conns: Vec::new(), spare: Vec::new() };
    let mut completions = Vec::new();
    loop {
        echo.ring.submit_and_wait(None, &mut completions).during("running a ring")?;
        for completion in completions.drain(..) {
            echo.handle(completion);
        }
    }
}

impl Echo {
    fn handle(&mut self, completion: Completion) {
        match completion {
            Completion::Accepted { conn, .. } => {
                let place = place(conn);
                if self.conns.len() <= place {
                    self.conns.resize_with(place + 1, Outgoing::default);
                }
                self.conns[place] = Outgoing::default();
            }
            Completion::Received { conn, data } => {
                let outgoing = &mut self.conns[place(conn)];
                if outgoing.queued.capacity() == 0 {
                    outgoing.queued = self.spare.pop().unwrap_or_default();
                }
                outgoing.queued.extend_from_slice(&data);
                self.flush(conn);
            }
            Completion::Sent { conn, buffer } => {
                if self.spare.len() < SPARE_MAX {
                    self.spare.push(buffer);
                }
                self.conns[place(conn)].busy = false;
                self.flush(conn);
            }
            Completion::Closed { conn, .. } => self.conns[place(conn)] = Outgoing::default(),
            other => panic!("nothing else was asked for: {other:?}"),
        }
    }

    fn flush(&mut self, conn: ConnId) {
        let outgoing = &mut self.conns[place(conn)];
        if !outgoing.busy && !outgoing.queued.is_empty() {
            // Refused: the socket is ending and its `Closed` is on the way.
            outgoing.busy = self.ring.send(conn, std::mem::take(&mut outgoing.queued)).is_ok();
        }
    }
}

fn place(conn: ConnId) -> usize {
    usize::try_from(conn.index()).expect("32 bits fit")
}
