//! Sorted streams on their way into files: cut into tables, with the range deletes that go with each.
//!
//! Invariants: tables of one stream do not overlap, range deletes included: the next begins right behind the last
//! key of the one before; on failure no file is left behind.

use crate::blob::{self, BlobFile, BlobMeta, BlobWriter};
use crate::entry::Entry;
use crate::error::Error;
use crate::jobs::{Shared, Target};
use crate::pacer::Pacer;
use crate::ranges::RangeSet;
use crate::table::{Table, TableMeta, TableWriter, file_name};
use crate::version::Place;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A blob file ends at this size.
const BLOB_FILE_BYTES_MAX: u64 = 64 << 20;

/// How often a compaction asks how fast it may write.
const PAID_AT_ONCE_BYTES: u64 = 256 << 10;

/// Files that are durable, and not in the manifest yet.
#[derive(Clone, Default)]
pub(crate) struct Written {
    pub(crate) tables: Vec<(Place, Arc<Table>)>,
    pub(crate) blobs: Vec<Arc<BlobFile>>,
}

impl Written {
    pub(crate) fn bytes(&self) -> u64 {
        let tables = self.tables.iter().map(|(_, table)| table.meta().bytes);
        tables.chain(self.blobs.iter().map(|blob| blob.meta().bytes)).sum()
    }
}

/// Tables in the making.
pub(crate) struct Output<'a> {
    shared: &'a Shared,
    bytes_max: u64,
    /// Whom to ask how fast to write; none for as fast as can be.
    pacer: Option<&'a Pacer>,
    /// How much of the table at hand was asked for.
    paid_bytes: u64,
    target: Target,
    /// For the next table, which takes it instead of a new one.
    number: Option<u64>,
    writer: Option<TableWriter>,
    /// What the stream at hand deletes in older runs.
    ranges: RangeSet,
    /// Where the table at hand begins, range deletes included.
    lower: Vec<u8>,
    last_key: Vec<u8>,
    /// From which size on values of a keyspace go to a blob file; none when no keyspace has them.
    blob_bytes_min: Option<Vec<usize>>,
    blob_writer: Option<BlobWriter>,
    /// Names taken, to remove the files should the job fail.
    names: Vec<String>,
    metas: Vec<(Place, TableMeta)>,
    blobs: Vec<BlobMeta>,
}

impl<'a> Output<'a> {
    pub(crate) fn new(shared: &'a Shared, bytes_max: u64, pacer: Option<&'a Pacer>) -> Output<'a> {
        Output {
            shared,
            bytes_max,
            pacer,
            paid_bytes: 0,
            target: Target::Level(0),
            number: None,
            writer: None,
            ranges: RangeSet::default(),
            lower: Vec::new(),
            last_key: Vec::new(),
            blob_bytes_min: shared.options.blob_sizes(),
            blob_writer: None,
            names: Vec::new(),
            metas: Vec::new(),
            blobs: Vec::new(),
        }
    }

    /// Makes the next table have this number.
    pub(crate) fn set_number(&mut self, number: Option<u64>) {
        self.number = number;
    }

    /// Begins a stream.
    pub(crate) fn begin(&mut self, target: Target, ranges: RangeSet) {
        assert!(self.writer.is_none(), "the stream before has ended");
        (self.target, self.ranges) = (target, ranges);
        self.lower.clear();
        self.last_key.clear();
    }

    /// Takes the next entry of the stream.
    pub(crate) fn add(&mut self, key: &[u8], entry: Entry<'_>) -> Result<(), Error> {
        if self.writer.as_ref().is_some_and(|writer| writer.bytes() >= self.bytes_max) {
            // Behind the last key, so that the range deletes in between have a table too.
            let mut upper = std::mem::take(&mut self.last_key);
            upper.push(0);
            self.finish_table(Some(&upper))?;
            self.lower = upper;
        }
        let entry = self.separated(key, entry)?;
        let writer = self.writer()?;
        writer.add(key, entry)?;
        let bytes = writer.bytes();
        if let Some(pacer) = self.pacer
            && bytes >= self.paid_bytes + PAID_AT_ONCE_BYTES
        {
            pacer.pay(bytes - self.paid_bytes);
            self.paid_bytes = bytes;
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        Ok(())
    }

    /// Puts a big value into a blob file.
    fn separated<'e>(&mut self, key: &[u8], entry: Entry<'e>) -> Result<Entry<'e>, Error> {
        let (Some(sizes), Entry::Put { value, expires }) = (&self.blob_bytes_min, entry) else {
            return Ok(entry);
        };
        let min = key.first().and_then(|keyspace| sizes.get(usize::from(*keyspace)));
        if min.is_none_or(|min| value.len() < *min) {
            return Ok(entry);
        }
        if self.blob_writer.as_ref().is_some_and(|writer| writer.bytes() >= BLOB_FILE_BYTES_MAX) {
            self.finish_blobs()?;
        }
        if self.blob_writer.is_none() {
            let number = self.shared.next_file.fetch_add(1, Ordering::AcqRel);
            self.names.push(blob::file_name(number));
            let dir = self.shared.context.dir();
            self.blob_writer = Some(BlobWriter::create(self.shared.disk(), dir, number)?);
        }
        let Some(writer) = &mut self.blob_writer else { panic!("it was made just now") };
        Ok(Entry::Blob { at: writer.add(key, value)?, expires })
    }

    fn finish_blobs(&mut self) -> Result<(), Error> {
        if let Some(writer) = self.blob_writer.take() {
            self.blobs.push(writer.finish()?);
        }
        Ok(())
    }

    /// Ends a stream. One that was nothing makes no table.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        if self.writer.is_none() && self.ranges.clipped(&self.lower, None).is_empty() {
            return Ok(());
        }
        self.writer()?;
        self.finish_table(None)
    }

    fn writer(&mut self) -> Result<&mut TableWriter, Error> {
        if self.writer.is_none() {
            // What a flush writes sinks soon; what stays in level 0 has a number given. Level 1 is written anew with
            // each few flushes, and small.
            let sinks_soon = match self.target {
                Target::Level(0) => self.number.is_none(),
                Target::Level(level) => level == 1,
                Target::Window { .. } => false,
            };
            let another = || self.shared.next_file.fetch_add(1, Ordering::AcqRel);
            let number = self.number.take().unwrap_or_else(another);
            self.names.push(file_name(number));
            let dir = self.shared.context.dir();
            let writer = TableWriter::create(self.shared.disk(), dir, number)?;
            let writer = self.writer.insert(writer);
            if sinks_soon {
                writer.leave_plain();
            }
        }
        match &mut self.writer {
            Some(writer) => Ok(writer),
            None => panic!("it was made just now"),
        }
    }

    /// Ends the table at hand, which takes the range deletes up to `upper`.
    fn finish_table(&mut self, upper: Option<&[u8]>) -> Result<(), Error> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        self.paid_bytes = 0;
        for range in self.ranges.clipped(&self.lower, upper) {
            writer.add_range(range)?;
        }
        let meta = writer.finish()?;
        let place = match self.target {
            Target::Level(level) => Place::Level(level),
            Target::Window { keyspace, window, rank: u64::MAX, .. } => {
                Place::Window { keyspace, window, rank: meta.number }
            }
            Target::Window { keyspace, window, rank, .. } => {
                Place::Window { keyspace, window, rank }
            }
        };
        self.metas.push((place, meta));
        Ok(())
    }

    /// Makes the names durable; on failure removes what was written.
    pub(crate) fn close(mut self, result: Result<(), Error>) -> Result<Written, Error> {
        let dir = self.shared.context.dir();
        let result = result.and_then(|()| self.finish_blobs()).and_then(|()| {
            if self.metas.is_empty() {
                return Ok(());
            }
            self.shared.disk().sync_dir(dir).map_err(Error::io("sync folder", dir))
        });
        if let Err(error) = result {
            drop(self.writer.take());
            drop(self.blob_writer.take());
            for name in self.names {
                // What cannot be removed now is removed at the next start.
                drop(self.shared.disk().remove(&dir.join(name)));
            }
            return Err(error);
        }
        assert!(self.writer.is_none(), "every stream was ended");
        let context = &self.shared.context;
        let table = |(place, meta)| (place, Arc::new(Table::new(meta, Arc::clone(context))));
        let tables = self.metas.into_iter().map(table).collect();
        let blob = |meta| Arc::new(BlobFile::new(meta, Arc::clone(context)));
        Ok(Written { tables, blobs: self.blobs.into_iter().map(blob).collect() })
    }
}
