//! A ring that is dropped in the middle of everything.

use super::*;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts itself, and knows whether its bytes were changed or freed early.
struct Counted {
    bytes: Vec<u8>,
    alive: Arc<AtomicUsize>,
}

impl Counted {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { bytes: vec![0xa5; 16_384], alive: Arc::clone(alive) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert!(self.bytes.iter().all(|byte| *byte == 0xa5));
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[test]
fn dropping_with_everything_in_flight_frees_all_and_ends_every_connection() {
    let path = std::env::temp_dir().join(format!("ring-drops-{}", std::process::id()));
    let file = File::create(&path).unwrap();
    let alive = Arc::new(AtomicUsize::new(0));
    for round in 0..60usize {
        let (mut ring, address) = listening(RingConfig { recv_buffers: 8, ..small() });
        let mut clients: Vec<TcpStream> = (0..20).map(|_| connect(address)).collect();
        let mut conns = Vec::new();
        run_until(&mut ring, |_, completion| {
            if let Completion::Accepted { conn, .. } = completion {
                conns.push(conn);
            }
            conns.len() == clients.len()
        });
        for client in &mut clients {
            client.write_all(&pattern(1, 3000)).unwrap();
        }
        for (count, conn) in conns.iter().enumerate() {
            ring.send(*conn, vec![0x5a; 1 << 20]).unwrap();
            if count % 4 == 0 {
                ring.close(*conn);
            }
        }
        let blocks = |count: usize| (0..count).map(|_| Counted::new(&alive)).collect::<Vec<_>>();
        for write in 0..4 {
            ring.write_file(write, file.as_raw_fd(), write * 65_536, blocks(3));
        }
        // Sometimes nothing has been submitted, sometimes some of it is in flight, sometimes much is answered.
        let mut out = Vec::new();
        for _ in 0..round % 4 {
            ring.submit_and_wait(Some(Duration::ZERO), &mut out).unwrap();
        }
        // Received buffers outlive the ring and stay readable.
        let start = Instant::now();
        drop(ring);
        assert!(start.elapsed() < Duration::from_secs(5), "the drop gave up and leaked");
        for completion in &out {
            if let Completion::Received { data, .. } = completion {
                assert!(
                    data.len() <= 2048
                        && pattern(1, 3000).windows(data.len()).any(|w| w == &data[..])
                );
            }
        }
        drop(out);
        assert_eq!(alive.load(Ordering::SeqCst), 0, "round {round}: blocks leaked");
        for mut client in clients {
            let mut rest = Vec::new();
            // The end or a reset; a time-out would be a socket leaked in the kernel.
            match client.read_to_end(&mut rest) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
            }
            assert!(rest.iter().all(|byte| *byte == 0x5a), "sent from freed memory");
        }
        assert!(TcpStream::connect(address).is_err(), "the listener is closed");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn rings_can_be_made_and_dropped_without_end() {
    for _ in 0..200 {
        let ring = Ring::new(small()).unwrap();
        drop(ring);
    }
}

#[test]
fn sizes_out_of_range_are_refused() {
    let bad = [
        RingConfig { entries: 100, ..small() },
        RingConfig { entries: 0, ..small() },
        RingConfig { files_max: 0, ..small() },
        RingConfig { files_max: u32::MAX, ..small() },
        RingConfig { recv_buffers: 3, ..small() },
        RingConfig { recv_buffer_bytes: 1, ..small() },
    ];
    for config in bad {
        assert_eq!(
            Ring::new(config).unwrap_err().kind(),
            io::ErrorKind::InvalidInput,
            "{config:?}"
        );
    }
}
