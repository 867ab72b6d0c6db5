//! A log of telemetry blocks, as a shard writes it: each block is an entry, durable before it counts.

use crate::error::{BenchError, During as _, Result};
use novax_log::{
    Frame, GroupMeta, LogConfig, Position, RealDisk, ShardLog, blocking_write, replay,
};
use novax_model::PartitionId;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PARTITION: PartitionId = PartitionId(0);
/// How long a segment may take to be made.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct BlockLog {
    log: ShardLog<()>,
    meta: GroupMeta,
    pub(crate) bytes: u64,
}

fn failed(error: &novax_log::Error) -> BenchError {
    BenchError::Store("log", error.to_string())
}

impl BlockLog {
    /// A new log.
    pub(crate) fn start(dir: &Path) -> Result<BlockLog> {
        let nothing = |_: u64, _: &[u8]| ControlFlow::Break(());
        let replayed = replay(Arc::new(RealDisk), dir, PARTITION, 0, nothing);
        let replayed = replayed.map_err(|error| failed(&error))?;
        let (root, meta) = (Arc::clone(replayed.root()), replayed.meta());
        root.claim(PARTITION).map_err(|error| failed(&error))?;
        let config = LogConfig::for_shard(dir, 0);
        let log = ShardLog::start(config, root, &[(PARTITION, meta)], Arc::new(|| {}));
        Ok(BlockLog { log: log.map_err(|error| failed(&error))?, meta, bytes: 0 })
    }

    /// Writes a block and returns when it is durable.
    pub(crate) fn append(&mut self, block: &[u8]) -> Result<()> {
        let at = Position { term: 1, index: self.meta.last.index + 1 };
        self.meta.last = at;
        let gather = self.log.gather();
        gather.push(PARTITION, &Frame::Entry { at, data: block });
        gather.note(0, self.meta, at.index);
        self.bytes += u64::try_from(block.len()).expect("a length");
        self.write_gathered()
    }

    /// Says that entries so far are in tables, so that the log can be cut.
    pub(crate) fn flushed(&mut self) -> Result<()> {
        self.meta.mark = self.meta.last;
        let gather = self.log.gather();
        gather.push(PARTITION, &Frame::Mark(self.meta.mark));
        gather.note(0, self.meta, 0);
        self.write_gathered()
    }

    fn write_gathered(&mut self) -> Result<()> {
        let limit = Instant::now() + PATIENCE;
        while self.log.gathered_bytes() > 0 {
            let Some(write) = self.log.next_write() else {
                // The next segment is being made by another thread.
                if Instant::now() > limit {
                    return Err(BenchError::Store("log", "it makes no segment".into()));
                }
                std::thread::sleep(Duration::from_micros(200));
                continue;
            };
            blocking_write(&write).during("writing the log")?;
            self.log.written(write.id).map_err(|error| failed(&error))?;
            self.log.recycle(write.blocks);
        }
        Ok(())
    }
}
