//! Durable writes.

use super::*;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

#[repr(C, align(4096))]
struct Block([u8; 4096]);

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A file of its own, gone at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let file = format!("ring-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(file))
    }

    /// For direct I/O where the file system has it.
    fn open(&self) -> File {
        let open =
            |flags| OpenOptions::new().write(true).create(true).custom_flags(flags).open(&self.0);
        open(libc::O_DIRECT).or_else(|_| open(0)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _absent = fs::remove_file(&self.0);
    }
}

fn written(ring: &mut Ring) -> (u64, io::Result<()>, Box<dyn std::any::Any + Send>) {
    let mut found = None;
    run_until(ring, |_, completion| match completion {
        Completion::Written { token, result, buffer } => {
            found.replace((token, result, buffer)).is_none()
        }
        other => panic!("{other:?}"),
    });
    found.unwrap()
}

#[test]
fn blocks_land_at_their_offset_and_come_back_for_reuse() {
    let scratch = Scratch::new("offset");
    let file = scratch.open();
    let mut ring = Ring::new(small()).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    for round in 0..20u8 {
        blocks.clear();
        blocks.extend((0..=round % 4).map(|add| Block([round * 4 + add; 4096])));
        let offset = u64::from(round) * 4 * 4096;
        ring.write_file(u64::from(round), file.as_raw_fd(), offset, blocks);
        let (token, result, buffer) = written(&mut ring);
        result.unwrap();
        assert_eq!(token, u64::from(round));
        blocks = *buffer.downcast::<Vec<Block>>().unwrap();
        assert_eq!(blocks.len(), usize::from(round % 4) + 1);
    }
    let content = fs::read(&scratch.0).unwrap();
    for round in 0..20usize {
        for add in 0..=round % 4 {
            let at = (round * 4 + add) * 4096;
            assert!(content[at..at + 4096].iter().all(|b| usize::from(*b) == round * 4 + add));
        }
    }
}

#[test]
fn scattered_pieces_are_written_in_order() {
    let scratch = Scratch::new("pieces");
    let file = File::create(&scratch.0).unwrap();
    let mut ring = Ring::new(small()).unwrap();
    let pieces: Vec<Vec<u8>> = (0..100).map(|id| pattern(id, 37 + id as usize)).collect();
    let expected = pieces.concat();
    ring.write_file(1, file.as_raw_fd(), 11, pieces);
    written(&mut ring).1.unwrap();
    assert_eq!(fs::read(&scratch.0).unwrap()[11..], expected[..]);
}

#[test]
fn failures_are_told_and_give_the_blocks_back() {
    let scratch = Scratch::new("failures");
    fs::write(&scratch.0, b"x").unwrap();
    let read_only = File::open(&scratch.0).unwrap();
    let mut ring = Ring::new(small()).unwrap();
    ring.write_file(1, read_only.as_raw_fd(), 0, vec![vec![1u8; 10]]);
    let (token, result, buffer) = written(&mut ring);
    assert_eq!((token, result.unwrap_err().raw_os_error()), (1, Some(libc::EBADF)));
    assert_eq!(*buffer.downcast::<Vec<Vec<u8>>>().unwrap(), [vec![1; 10]]);

    ring.write_file(2, read_only.as_raw_fd(), 0, Vec::<Vec<u8>>::new());
    assert_eq!(written(&mut ring).1.unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_write_cut_short_by_the_device_is_a_failure() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut ring = Ring::new(small()).unwrap();
    ring.write_file(1, full.as_raw_fd(), 0, vec![vec![1u8; 10]]);
    assert_eq!(written(&mut ring).1.unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn writes_past_the_bound_are_refused_and_the_others_done() {
    let scratch = Scratch::new("bound");
    let file = File::create(&scratch.0).unwrap();
    let mut ring = Ring::new(small()).unwrap();
    let bound = super::super::state::WRITES_MAX as u64;
    for token in 0..=bound {
        ring.write_file(token, file.as_raw_fd(), token * 8, vec![token.to_le_bytes().to_vec()]);
    }
    let (mut done, mut refused) = (0, 0);
    run_until(&mut ring, |_, completion| {
        let Completion::Written { token, result, .. } = completion else { return false };
        match result {
            Ok(()) => done += 1,
            Err(error) => {
                assert_eq!((token, error.kind()), (bound, io::ErrorKind::ResourceBusy));
                refused += 1;
            }
        }
        done + refused == bound + 1
    });
    assert_eq!((done, refused), (bound, 1));
    let expected: Vec<u8> = (0..bound).flat_map(u64::to_le_bytes).collect();
    assert_eq!(fs::read(&scratch.0).unwrap(), expected);
}

#[test]
fn writes_go_on_beside_traffic() {
    use std::io::{Read as _, Write as _};
    let scratch = Scratch::new("traffic");
    let file = scratch.open();
    let raw = file.as_raw_fd();
    let (mut ring, address) = listening(small());
    let client = std::thread::spawn(move || {
        let mut stream = connect(address);
        for round in 0..200u8 {
            stream.write_all(&[round; 100]).unwrap();
            let mut reply = [0; 100];
            stream.read_exact(&mut reply).unwrap();
            assert_eq!(reply, [round; 100]);
        }
    });
    let mut echo = Echo::default();
    let mut writes = 0u64;
    ring.write_file(0, raw, 0, vec![Block([0; 4096])]);
    run_until(&mut ring, |ring, completion| {
        match completion {
            Completion::Written { token, result, .. } => {
                result.unwrap();
                assert_eq!(token, writes);
                writes += 1;
                if writes < 50 {
                    let block = Block([u8::try_from(writes).unwrap(); 4096]);
                    ring.write_file(writes, raw, writes * 4096, vec![block]);
                }
            }
            other => echo.handle(ring, other),
        }
        writes == 50 && echo.closed.len() == 1
    });
    client.join().unwrap();
    let content = fs::read(&scratch.0).unwrap();
    let blocks = content.chunks(4096).enumerate();
    assert!(blocks.into_iter().all(|(at, block)| block.iter().all(|b| usize::from(*b) == at)));
    assert_eq!(content.len(), 50 * 4096);
}
