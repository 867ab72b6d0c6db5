//! A batch as an entry of the log, as `docs/formats/log.md` lays it down. Decoding takes any bytes, and checks
//! all that [`crate::Engine::write`] takes for granted.

use super::error::Error;
use crate::batch::{Batch, Change};
use crate::entry::Expires;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::options::Options;

/// The only version so far: the first byte of a record.
const VERSION: u8 = 1;
const FLAG_TIME: u8 = 1;
const HEADER_BYTES: usize = 2;
const CHANGE_BYTES: usize = 8;
const NUMBER_BYTES: usize = 8;

const KIND_PUT: u8 = 1;
const KIND_PUT_UNTIL: u8 = 2;
const KIND_DELETE: u8 = 3;
const KIND_DELETE_RANGE: u8 = 4;
const KIND_MERGE: u8 = 5;

/// No less than what [`encode`] will add.
pub(crate) fn encoded_bytes_max(batch: &Batch) -> usize {
    HEADER_BYTES + NUMBER_BYTES + batch.bytes() + batch.len() * (CHANGE_BYTES + NUMBER_BYTES)
}

/// Why a batch must not be written to a store with these options.
pub(crate) fn check(batch: &Batch, options: &Options) -> Result<(), Error> {
    for (keyspace, change) in batch.changes() {
        if let Some(what) = refusal(keyspace, &change, options) {
            return Err(Error::BadBatch { keyspace, what });
        }
    }
    Ok(())
}

fn refusal(keyspace: u8, change: &Change<'_>, options: &Options) -> Option<&'static str> {
    if keyspace >= options.keyspaces {
        return Some("there is no such keyspace");
    }
    let merges = options.merge_operator(keyspace).is_some();
    match change {
        Change::Merge { .. } if !merges => Some("the keyspace has no merge operator"),
        Change::Put { expires, .. } if merges && *expires != Expires::NEVER => {
            Some("the keyspace merges, so its entries do not expire")
        }
        _ => None,
    }
}

/// Adds a batch to `out`; its mark is the entry's index and not part of it.
pub(crate) fn encode(batch: &Batch, out: &mut Vec<u8>) {
    out.push(VERSION);
    out.push(if batch.time_s.is_some() { FLAG_TIME } else { 0 });
    if let Some(time_s) = batch.time_s {
        out.extend_from_slice(&time_s.to_le_bytes());
    }
    for (keyspace, change) in batch.changes() {
        match change {
            Change::Put { key, value, expires } if expires == Expires::NEVER => {
                put(out, KIND_PUT, keyspace, key, None, value);
            }
            Change::Put { key, value, expires } => {
                put(out, KIND_PUT_UNTIL, keyspace, key, Some(expires.0), value);
            }
            Change::Delete { key } => put(out, KIND_DELETE, keyspace, key, None, &[]),
            Change::DeleteRange { from, to } => {
                put(out, KIND_DELETE_RANGE, keyspace, from, None, to);
            }
            Change::Merge { key, operand } => put(out, KIND_MERGE, keyspace, key, None, operand),
        }
    }
}

fn put(
    out: &mut Vec<u8>,
    kind: u8,
    keyspace: u8,
    first: &[u8],
    number: Option<u64>,
    second: &[u8],
) {
    let first_bytes = u16::try_from(first.len()).expect("keys are bounded far below 64 KiB");
    let second_bytes = u32::try_from(second.len()).expect("values are bounded far below 4 GiB");
    let mut header = [kind, keyspace, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&first_bytes.to_le_bytes());
    header[4..8].copy_from_slice(&second_bytes.to_le_bytes());
    out.extend_from_slice(&header);
    if let Some(number) = number {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(first);
    out.extend_from_slice(second);
}

/// What a record says: its time, and its changes one by one.
pub(crate) struct Record<'a> {
    pub(crate) time_s: Option<u64>,
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the header.
    pub(crate) fn open(record: &'a [u8]) -> Result<Record<'a>, &'static str> {
        let Some((&[version, flags], mut rest)) = record.split_first_chunk::<HEADER_BYTES>() else {
            return Err("its header is cut off");
        };
        if version != VERSION || flags & !FLAG_TIME != 0 {
            return Err("its version is not known to this version of the software");
        }
        let time_s = if flags & FLAG_TIME != 0 { Some(take_number(&mut rest)?) } else { None };
        Ok(Record { time_s, rest })
    }

    /// How many bytes of it were not read yet: they are the last.
    pub(crate) fn rest_bytes(&self) -> usize {
        self.rest.len()
    }

    /// The next change, which fits the keyspaces of `options`; none at the end.
    pub(crate) fn next(
        &mut self,
        options: &Options,
    ) -> Result<Option<(u8, Change<'a>)>, &'static str> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (keyspace, change) = take_change(&mut self.rest)?;
        match refusal(keyspace, &change, options) {
            Some(what) => Err(what),
            None => Ok(Some((keyspace, change))),
        }
    }
}

/// Adds what a record says to a batch. After an error the batch holds a part of it.
pub(crate) fn decode(
    record: &[u8],
    options: &Options,
    batch: &mut Batch,
) -> Result<(), &'static str> {
    let mut record = Record::open(record)?;
    if let Some(time_s) = record.time_s {
        batch.set_time_s(time_s);
    }
    while let Some((keyspace, change)) = record.next(options)? {
        batch.push_change(keyspace, &change);
    }
    Ok(())
}

fn take_number(rest: &mut &[u8]) -> Result<u64, &'static str> {
    let (number, after) = rest.split_first_chunk::<NUMBER_BYTES>().ok_or("a number is cut off")?;
    *rest = after;
    Ok(u64::from_le_bytes(*number))
}

fn take_bytes<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], &'static str> {
    let (taken, after) = rest.split_at_checked(bytes).ok_or("a key or value is cut off")?;
    *rest = after;
    Ok(taken)
}

fn take_change<'a>(rest: &mut &'a [u8]) -> Result<(u8, Change<'a>), &'static str> {
    let Some((header, after)) = rest.split_first_chunk::<CHANGE_BYTES>() else {
        return Err("a change is cut off");
    };
    *rest = after;
    let [kind, keyspace, k0, k1, v0, v1, v2, v3] = *header;
    let expires_s = if kind == KIND_PUT_UNTIL { take_number(rest)? } else { 0 };
    let first = take_bytes(rest, usize::from(u16::from_le_bytes([k0, k1])))?;
    let second_bytes = u32::from_le_bytes([v0, v1, v2, v3]);
    let second = take_bytes(rest, usize::try_from(second_bytes).unwrap_or(usize::MAX))?;
    let second_max = if kind == KIND_DELETE_RANGE { KEY_BYTES_MAX } else { VALUE_BYTES_MAX };
    if first.len() > KEY_BYTES_MAX || second.len() > second_max {
        return Err("a key or value is too long");
    }
    let (key, value) = (first, second);
    let change = match kind {
        KIND_PUT => Change::Put { key, value, expires: Expires::NEVER },
        KIND_PUT_UNTIL => Change::Put { key, value, expires: Expires(expires_s) },
        KIND_DELETE if value.is_empty() => Change::Delete { key },
        KIND_DELETE => return Err("a delete has a value"),
        KIND_DELETE_RANGE => Change::DeleteRange { from: first, to: second },
        KIND_MERGE => Change::Merge { key, operand: second },
        _ => return Err("a change is of an unknown kind"),
    };
    Ok((keyspace, change))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{KeyspaceOptions, MergeOperator};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[derive(Debug)]
    struct Append;

    impl MergeOperator for Append {
        fn name(&self) -> &'static str {
            "append"
        }

        fn merge(&self, _: &[u8], older: Option<&[u8]>, operand: &[u8]) -> Vec<u8> {
            [older.unwrap_or_default(), operand].concat()
        }

        fn combine(&self, _: &[u8], older: &[u8], newer: &[u8]) -> Vec<u8> {
            [older, newer].concat()
        }
    }

    /// Of four keyspaces, the first merges.
    fn options() -> Options {
        let merge = Some(Arc::new(Append) as Arc<dyn MergeOperator>);
        let keyspace = BTreeMap::from([(0, KeyspaceOptions { merge, ..Default::default() })]);
        Options { keyspaces: 4, keyspace, ..Options::default() }
    }

    fn encoded(batch: &Batch) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(batch, &mut bytes);
        assert!(bytes.len() <= encoded_bytes_max(batch));
        bytes
    }

    #[test]
    fn a_batch_reads_back_as_written() {
        let mut batch = Batch::new();
        batch.put(1, b"key", b"value");
        batch.put(0, b"", b"");
        batch.put_until(2, b"soon", b"gone", 77);
        batch.delete(3, b"key");
        batch.delete_range(1, b"a", b"zz");
        batch.merge(0, b"sum", b"+1");
        batch.set_time_s(1 << 40);
        let mut found = Batch::new();
        decode(&encoded(&batch), &options(), &mut found).unwrap();
        assert_eq!(found.changes().collect::<Vec<_>>(), batch.changes().collect::<Vec<_>>());
        assert_eq!(found.time_s, batch.time_s);
        assert_eq!(encoded(&found), encoded(&batch));
    }

    #[test]
    fn the_bytes_are_those_of_the_document() {
        let mut batch = Batch::new();
        batch.put(1, b"k", b"vv");
        assert_eq!(encoded(&batch), b"\x01\x00\x01\x01\x01\x00\x02\x00\x00\x00kvv");
        batch.clear();
        batch.set_time_s(3);
        batch.put_until(3, b"k", b"", 5);
        let expected = b"\x01\x01\x03\0\0\0\0\0\0\0\x02\x03\x01\0\0\0\0\0\x05\0\0\0\0\0\0\0k";
        assert_eq!(encoded(&batch), expected);
    }

    #[test]
    fn what_does_not_fit_a_keyspace_is_refused_on_both_ways() {
        let fills: [fn(&mut Batch); 3] = [
            |batch| batch.put(4, b"k", b"v"),
            |batch| batch.merge(1, b"k", b"v"),
            |batch| batch.put_until(0, b"k", b"v", 9),
        ];
        for fill in fills {
            let mut batch = Batch::new();
            fill(&mut batch);
            assert!(matches!(check(&batch, &options()), Err(Error::BadBatch { .. })));
            decode(&encoded(&batch), &options(), &mut Batch::new()).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_a_panic_and_what_does_encodes_the_same(
            mut bytes in prop::collection::vec(any::<u8>(), 0..64),
            kind in 0u8..7,
        ) {
            let _ = decode(&bytes, &options(), &mut Batch::new());
            let start = [VERSION, 0, kind, 1, 2, 0, 4, 0, 0, 0];
            bytes.splice(0..0, start);
            let mut batch = Batch::new();
            if decode(&bytes, &options(), &mut batch).is_ok() && kind != KIND_PUT_UNTIL {
                prop_assert_eq!(encoded(&batch).len(), bytes.len());
            }
        }
    }
}
