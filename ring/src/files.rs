//! Durable writes to files, for the log: one submission each, complete or failed.

use super::completion::Completion;
use super::ids::ConnId;
use super::queue::Answer;
use super::state::{FileWrite, Ring};
use std::io;
use std::os::fd::RawFd;

/// The kernel's limit on the pieces of one write.
const PIECES_MAX: usize = 1024;

/// One write's bytes at most; the kernel counts in 31 bits.
const WRITE_BYTES_MAX: usize = 1 << 30;

/// The kernel sometimes gives a write up for reasons that are not the file's (a signal to its worker). The same
/// bytes to the same place may simply be written again, this often.
const RETRIES_MAX: u8 = 3;

impl Ring {
    /// Writes the blocks one after the other at the offset and waits for the disk (`RWF_DSYNC`);
    /// [`Completion::Written`] brings the outcome and the blocks back. Blocks that lie next to each other in memory
    /// go as one piece. The descriptor must stay open until then.
    ///
    /// Refused through the same completion: an empty write, one of more than 1 GiB or 1,024 separate pieces, or the
    /// 65th in flight.
    pub fn write_file<B>(&mut self, token: u64, fd: RawFd, offset: u64, blocks: Vec<B>)
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let blocks = Box::new(blocks);
        let pieces = gather(&blocks);
        let length = pieces.iter().map(|piece| piece.iov_len).sum();
        let fits = !pieces.is_empty() && pieces.len() <= PIECES_MAX && length <= WRITE_BYTES_MAX;
        let vacant = self.writes.iter().position(Option::is_none);
        let kind = match vacant {
            Some(position) if fits => {
                let write = FileWrite { token, fd, offset, length, pieces, blocks, retries: 0 };
                self.writes[position] = Some(write);
                self.submit_write(position);
                return;
            }
            Some(_) => io::ErrorKind::InvalidInput,
            None => io::ErrorKind::ResourceBusy,
        };
        let result = Err(kind.into());
        self.ready.push_back(Completion::Written { token, result, buffer: blocks });
    }

    fn submit_write(&mut self, position: usize) {
        let Some(Some(write)) = self.writes.get(position) else { return };
        let index = u32::try_from(position).expect("writes are few");
        // SAFETY: the pieces and the blocks they point into are owned by the write, which stays in its place
        // until the answer (`on_write`), or for ever if the ring is dropped without one. Nobody has a `&mut` to
        // the blocks meanwhile, so the `&[u8]`s that `gather` took are still borrowed in all but name.
        unsafe {
            let id = ConnId::from_parts(index, 0);
            self.queue.write(id, write.fd, write.offset, &write.pieces);
        }
    }

    pub(super) fn on_write(&mut self, id: ConnId, answer: Answer, out: &mut Vec<Completion>) {
        let position = id.index() as usize;
        let Some(write) = self.writes.get_mut(position).and_then(Option::as_mut) else {
            self.stats.stale += 1;
            return;
        };
        let passing = matches!(-answer.result, libc::EINTR | libc::EAGAIN | libc::ECANCELED);
        if passing && write.retries < RETRIES_MAX {
            write.retries += 1;
            self.submit_write(position);
            return;
        }
        let result = match usize::try_from(answer.result) {
            Ok(written) if written == write.length => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(_) => Err(io::Error::from_raw_os_error(-answer.result)),
        };
        if let Some(write) = self.writes[position].take() {
            let FileWrite { token, blocks: buffer, .. } = write;
            out.push(Completion::Written { token, result, buffer });
        }
    }
}

/// The blocks' bytes as the kernel wants them, neighbours joined.
fn gather<B: AsRef<[u8]>>(blocks: &[B]) -> Box<[libc::iovec]> {
    let mut pieces: Vec<libc::iovec> = Vec::with_capacity(1);
    for bytes in blocks.iter().map(AsRef::as_ref).filter(|bytes| !bytes.is_empty()) {
        let start = bytes.as_ptr().expose_provenance();
        match pieces.last_mut() {
            Some(last) if last.iov_base.addr() + last.iov_len == start => {
                last.iov_len += bytes.len();
            }
            _ => pieces.push(libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            }),
        }
    }
    pieces.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_blocks_are_written_as_one_piece() {
        struct Block([u8; 512]);
        impl AsRef<[u8]> for Block {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let blocks: Vec<Block> = (0..4).map(|fill| Block([fill; 512])).collect();
        let pieces = gather(&blocks);
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0].iov_len, 2048);
    }

    #[test]
    fn separate_blocks_keep_their_order_and_empty_ones_vanish() {
        let blocks = vec![vec![1u8; 10], Vec::new(), vec![2u8; 20]];
        let lengths: Vec<usize> = gather(&blocks).iter().map(|piece| piece.iov_len).collect();
        assert_eq!(lengths, [10, 20]);
    }
}
