//! Reads rows for the routes, from snapshots, away from the shards and from the async threads.
//!
//! **Invariants**
//! * A request reads one consistent set of snapshots, taken after it came in: it sees its own writes.
//! * No request looks at more than [`SCAN_ROWS_MAX`] rows; what is left is the next page's.

use super::page::{Cursor, ResultsPage, Want};
use crate::control::{Control, Freshness, Unavailable};
use novax_charging::{Keyspace, rows};
use novax_engine::Snapshot;
use novax_model::PartitionId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Rows one request looks at, at most. A filter that matches little gives short pages.
pub(super) const SCAN_ROWS_MAX: usize = 50_000;

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// See [`Unavailable`].
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A table or a row is damaged, or a file cannot be read.
    #[error("{0}")]
    Storage(String),
}

impl From<novax_engine::Error> for ReadError {
    fn from(error: novax_engine::Error) -> ReadError {
        ReadError::Storage(error.to_string())
    }
}

impl From<rows::CorruptRow> for ReadError {
    fn from(error: rows::CorruptRow) -> ReadError {
        ReadError::Storage(error.to_string())
    }
}

/// The rows of all partitions at one time.
pub(super) struct Rows {
    parts: Vec<(PartitionId, Snapshot)>,
}

/// A row as found: in which partition, and its bytes.
pub(super) struct Found<'a> {
    pub partition: PartitionId,
    pub value: &'a [u8],
}

/// Takes snapshots and reads them on a thread that may wait for files.
pub(super) async fn read<T: Send + 'static>(
    control: &Control,
    with_series: bool,
    work: impl FnOnce(&Rows) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    let rows = Rows { parts: control.view(with_series, Freshness::Fresh).await?.parts };
    tokio::task::spawn_blocking(move || work(&rows))
        .await
        .map_err(|error| ReadError::Storage(format!("the reader ended: {error}")))?
}

impl Rows {
    /// All partitions.
    pub(super) fn parts(&self) -> impl Iterator<Item = (PartitionId, &Snapshot)> {
        self.parts.iter().map(|(id, snapshot)| (*id, snapshot))
    }

    /// The partition's snapshot.
    pub(super) fn part(&self, partition: PartitionId) -> Option<&Snapshot> {
        self.parts.iter().find(|(id, _)| *id == partition).map(|(_, snapshot)| snapshot)
    }

    /// One row of one partition, read by `parse`.
    pub(super) fn get<T>(
        &self,
        partition: PartitionId,
        keyspace: Keyspace,
        key: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<T, rows::CorruptRow>,
    ) -> Result<Option<T>, ReadError> {
        let Some(part) = self.part(partition) else { return Ok(None) };
        let value = part.get(keyspace as u8, key)?;
        Ok(value.map(|bytes| parse(&bytes)).transpose()?)
    }

    /// The first row with this key in any partition: for ids that live in one partition only.
    pub(super) fn find<T>(
        &self,
        keyspace: Keyspace,
        key: &[u8],
        parse: impl Fn(&[u8]) -> Result<T, rows::CorruptRow>,
    ) -> Result<Option<(PartitionId, T)>, ReadError> {
        for (partition, part) in &self.parts {
            if let Some(bytes) = part.get(keyspace as u8, key)? {
                return Ok(Some((*partition, parse(&bytes)?)));
            }
        }
        Ok(None)
    }

    /// One page of a table over all partitions. `view` makes the item of a row, or passes it over.
    pub(super) fn page<V>(
        &self,
        want: &Want,
        prefix: &[u8],
        mut view: impl FnMut(&Found<'_>) -> Result<Option<V>, ReadError>,
    ) -> Result<ResultsPage<V>, ReadError> {
        let mut items = Vec::new();
        let mut looked_at = 0;
        let mut merge = Merge::new(self, want, prefix)?;
        while let Some((head, partition)) = merge.next()? {
            looked_at += 1;
            let found = Found { partition, value: &head.value };
            items.extend(view(&found)?);
            if items.len() == want.limit || looked_at == SCAN_ROWS_MAX {
                let cursor = Cursor { key: head.key, partition };
                let next_page = merge.has_more().then(|| cursor.token(want.keyspace));
                return Ok(ResultsPage { items, next_page });
            }
        }
        assert!(items.len() < want.limit && looked_at < SCAN_ROWS_MAX, "checked in the loop");
        Ok(ResultsPage { items, next_page: None })
    }

    /// Looks at every row of a table, partition by partition, up to `rows_max`.
    pub(super) fn each(
        &self,
        keyspace: Keyspace,
        rows_max: usize,
        mut look: impl FnMut(&Found<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut left = rows_max;
        for (partition, part) in &self.parts {
            for row in part.range(keyspace as u8, &[], None).take(left) {
                let (_, value) = row?;
                left -= 1;
                look(&Found { partition: *partition, value: &value })?;
            }
        }
        Ok(())
    }
}

type Row = Result<(Vec<u8>, Vec<u8>), novax_engine::Error>;
type Source<'a> = Box<dyn Iterator<Item = Row> + Send + 'a>;

/// The next row of a source; ordered by key, then by source.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    key: Vec<u8>,
    source: usize,
    value: Vec<u8>,
}

/// Rows of all partitions in one order: key, then partition.
struct Merge<'a> {
    sources: Vec<(PartitionId, Source<'a>)>,
    /// Of each source that has one left.
    heads: BinaryHeap<Reverse<Head>>,
}

impl<'a> Merge<'a> {
    fn new(rows: &'a Rows, want: &Want, prefix: &[u8]) -> Result<Merge<'a>, ReadError> {
        let to = after_prefix(prefix);
        let mut merge = Merge { sources: Vec::new(), heads: BinaryHeap::new() };
        for (partition, part) in &rows.parts {
            let from = start(want.after.as_ref(), *partition, prefix);
            let source = part.range(want.keyspace as u8, &from, to.as_deref());
            merge.sources.push((*partition, Box::new(source)));
            merge.refill(merge.sources.len() - 1)?;
        }
        Ok(merge)
    }

    fn refill(&mut self, source: usize) -> Result<(), ReadError> {
        if let Some(row) = self.sources[source].1.next() {
            let (key, value) = row?;
            self.heads.push(Reverse(Head { key, source, value }));
        }
        Ok(())
    }

    fn has_more(&self) -> bool {
        !self.heads.is_empty()
    }

    /// The next row and its partition.
    fn next(&mut self) -> Result<Option<(Head, PartitionId)>, ReadError> {
        let Some(Reverse(head)) = self.heads.pop() else { return Ok(None) };
        self.refill(head.source)?;
        let partition = self.sources[head.source].0;
        Ok(Some((head, partition)))
    }
}

/// The first key wanted of a partition. Partitions up to the cursor's have shown the cursor's key.
fn start(after: Option<&Cursor>, partition: PartitionId, prefix: &[u8]) -> Vec<u8> {
    let Some(after) = after else { return prefix.to_vec() };
    let mut from = after.key.clone();
    if partition <= after.partition {
        from.push(0);
    }
    from.max(prefix.to_vec())
}

/// The first key behind all that start with the prefix; `None` when there is no such key.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_one() {
        assert_eq!(after_prefix(b""), None);
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(&[4, 0xff]), Some(vec![5]));
        assert_eq!(after_prefix(&[0xff, 0xff]), None);
    }

    #[test]
    fn a_page_starts_behind_the_cursor_in_each_partition() {
        let after = Cursor { key: b"k".to_vec(), partition: PartitionId(2) };
        assert_eq!(start(Some(&after), PartitionId(1), b""), b"k\0");
        assert_eq!(start(Some(&after), PartitionId(2), b""), b"k\0");
        assert_eq!(start(Some(&after), PartitionId(3), b""), b"k");
        assert_eq!(start(Some(&after), PartitionId(3), b"p"), b"p");
        assert_eq!(start(None, PartitionId(3), b"p"), b"p");
    }
}
