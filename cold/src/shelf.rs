//! Makes the files of one move: cut by size, uploaded, read back.
//!
//! Invariants: no more than one file is in memory; every file returned is whole on the store.

use crate::day::Day;
use crate::error::ColdError;
use crate::file::Files;
use crate::manifest::FileEntry;
use crate::stretch::Stretch;
use bytes::Bytes;
use futures::TryStreamExt;
use novax_model::Timestamp;
use novax_tsdb::Remark;
use novax_tsdb::cold::{ColdWriter, FOOTER_BYTES, SERIES_ROWS_MAX, index_len};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};

/// How many parts of one upload are on their way at once.
const PARTS_IN_FLIGHT: usize = 4;

/// How files are cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShelfOptions {
    pub(crate) file_bytes_max: u64,
    pub(crate) file_rows_max: u64,
    pub(crate) part_bytes: usize,
}

/// The files of one day and generation, being made.
pub(crate) struct Shelf<'a> {
    files: &'a Files,
    day: Day,
    generation: u64,
    options: ShelfOptions,
    open: Option<Open>,
    done: Vec<FileEntry>,
}

/// The file that series are added to.
struct Open {
    writer: ColdWriter,
    bytes: Vec<u8>,
    series: u32,
    series_first: u64,
    series_last: u64,
    rows: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Open {
    fn new(day: Day, series: u64) -> Open {
        Open {
            writer: ColdWriter::new(day.window()),
            bytes: Vec::new(),
            series: 0,
            series_first: series,
            series_last: series,
            rows: 0,
            first: Timestamp::MAX,
            last: Timestamp::ZERO,
        }
    }
}

impl<'a> Shelf<'a> {
    pub(crate) fn new(
        files: &'a Files,
        day: Day,
        generation: u64,
        options: ShelfOptions,
    ) -> Shelf<'a> {
        Shelf { files, day, generation, options, open: None, done: Vec::new() }
    }

    /// Adds the rows of a series. One that has more than a file takes goes on in the next.
    pub(crate) async fn add(&mut self, stretch: &Stretch) -> Result<(), ColdError> {
        let (mut ticks, mut remarks, mut before) = (&stretch.ticks[..], &stretch.remarks[..], 0);
        while !ticks.is_empty() {
            let (now, later) = ticks.split_at(ticks.len().min(SERIES_ROWS_MAX));
            let end = before + u32::try_from(now.len()).expect("a file's rows are bounded");
            let (own, rest) = remarks.split_at(remarks.partition_point(|one| one.row < end));
            let own: Vec<Remark> =
                own.iter().map(|one| Remark { row: one.row - before, ..*one }).collect();
            self.add_part(stretch.series, now, &own).await?;
            (ticks, remarks, before) = (later, rest, end);
        }
        Ok(())
    }

    async fn add_part(
        &mut self,
        series: u64,
        ticks: &[novax_model::MeterTick],
        remarks: &[Remark],
    ) -> Result<(), ColdError> {
        if self.open.as_ref().is_some_and(|open| open.series_last >= series) {
            self.close().await?;
        }
        let open = self.open.get_or_insert_with(|| Open::new(self.day, series));
        open.writer.add_series(series, ticks, remarks);
        open.bytes.extend(open.writer.take_bytes());
        open.series += 1;
        open.series_last = series;
        open.rows += ticks.len() as u64;
        open.first = ticks.iter().map(|tick| tick.at).fold(open.first, Timestamp::min);
        open.last = ticks.iter().map(|tick| tick.at).fold(open.last, Timestamp::max);
        let is_full = open.bytes.len() as u64 >= self.options.file_bytes_max
            || open.rows >= self.options.file_rows_max;
        if is_full {
            self.close().await?;
        }
        Ok(())
    }

    /// Uploads what is open, and reads it back.
    async fn close(&mut self) -> Result<(), ColdError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.bytes.extend(open.writer.finish());
        let bytes = Bytes::from(open.bytes);
        let footer = bytes.len().checked_sub(FOOTER_BYTES).and_then(|at| bytes.get(at..));
        let index_bytes = footer.map(index_len).and_then(Result::ok);
        let index_bytes = index_bytes.expect("a file that was just written has a footer");
        let index = bytes.get(bytes.len() - index_bytes..).unwrap_or_default();
        let digest = Sha256::digest(&bytes);
        let entry = FileEntry {
            generation: self.generation,
            fingerprint: digest.first_chunk().map_or(0, |head| u64::from_be_bytes(*head)),
            bytes: bytes.len() as u64,
            crc: crc32fast::hash(&bytes),
            index_bytes: u32::try_from(index_bytes).expect("an index is smaller than 4 GiB"),
            index_crc: crc32fast::hash(index),
            series: open.series,
            series_first: open.series_first,
            series_last: open.series_last,
            rows: open.rows,
            first: open.first,
            last: open.last,
        };
        let path = entry.path(self.files.partition, self.day);
        put_whole(self.files.objects.as_ref(), &path, bytes, self.options.part_bytes).await?;
        // What is not readable now must not be what the hot rows are dropped for.
        self.files.whole(self.day, &entry).await?;
        self.done.push(entry);
        Ok(())
    }

    /// All files, whole on the store.
    pub(crate) async fn finish(mut self) -> Result<Vec<FileEntry>, ColdError> {
        self.close().await?;
        Ok(self.done)
    }
}

/// Writes an object whole, large ones in parts: it is there entirely or not at all.
///
/// # Errors
/// When the store fails. Parts that are there already are given up.
pub async fn put_whole(
    objects: &dyn ObjectStore,
    path: &Path,
    bytes: Bytes,
    part_bytes: usize,
) -> Result<(), ColdError> {
    if bytes.len() <= part_bytes {
        objects.put(path, bytes.into()).await?;
        return Ok(());
    }
    let mut upload = objects.put_multipart(path).await?;
    let starts = (0..bytes.len()).step_by(part_bytes);
    let parts: Vec<_> = starts
        .map(|start| Ok(bytes.slice(start..bytes.len().min(start + part_bytes))))
        .map(|part: object_store::Result<Bytes>| part.map(|part| upload.put_part(part.into())))
        .collect();
    let sent =
        futures::stream::iter(parts).try_for_each_concurrent(PARTS_IN_FLIGHT, |part| part).await;
    match sent {
        Ok(()) => {
            upload.complete().await?;
            Ok(())
        }
        Err(error) => {
            // Parts of an upload that is not given up are paid for; the first error matters more.
            let _ = upload.abort().await;
            Err(error.into())
        }
    }
}
