//! The entries of the fuzz targets, here so that plain tests can run them without a fuzzer.
//!
//! Checksums would turn every changed byte away at the door, so each entry makes foreign bytes the *inside* of
//! files whose checksums are right: what is claimed is that parsers neither panic nor run on for ever nor allocate
//! past their bounds, whatever a broken or hostile writer left on the disk.

use crate::blob::{self, BlobFile, BlobMeta, Record};
use crate::disk::Disk;
use crate::entry::{Entry, Expires};
use crate::manifest;
use crate::table::block::{BlockBuilder, BlockCursor, Format, Layout};
use crate::table::cache::BlockCache;
use crate::table::filter::{self, Filter};
use crate::table::index::{IndexBuilder, PartRef};
use crate::table::props::{Props, encode_ranges};
use crate::table::seal::{Compress, Sealer, unseal};
use crate::table::{self, BlockRef, Direction, Footer, KeyRange, Table, TableContext};
use crate::trash::Trash;
use novax_log::sim::SimDisk;
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/fuzz";

fn probe(data: &[u8]) -> &[u8] {
    data.get(..data.len().min(8)).unwrap_or_default()
}

/// A raw data block of either version: every walk over it ends.
pub fn fuzz_block(data: &[u8]) {
    for format in [Format::V1, Format::V2] {
        let Ok(layout) = Layout::parse(format, data) else { continue };
        let key = probe(data);
        let _ = layout.find(data, key, filter::hash(key));
        let (mut cursor, mut steps) = (BlockCursor::default(), 0);
        while cursor.next(&layout, data) == Ok(true) {
            let _ = format!("{:?}", cursor.decoded().entry(data).expires());
            steps += 1;
            assert!(steps <= data.len(), "an entry takes a byte at least");
        }
        while steps < 1000 && cursor.previous(&layout, data) == Ok(true) {
            steps += 1;
        }
        let _ = cursor.seek(&layout, data, key);
        let _ = cursor.seek_last(&layout, data, Some(key));
    }
    let _ = unseal(data, 0, 1 << 16);
}

/// A raw filter of either version.
pub fn fuzz_filter(data: &[u8]) {
    let hash = filter::hash(probe(data));
    let _ = Filter::parse(data).map(|filter| filter.may_hold(hash));
    let _ = Filter::parse_v1(data.to_vec()).map(|filter| filter.may_hold(hash));
}

/// A file of a store in memory with these bytes.
fn context(name: &str, bytes: &[u8]) -> Arc<TableContext> {
    let disk = SimDisk::default();
    let path = Path::new(DIR).join(name);
    let written = disk.create(&path).and_then(|mut file| file.write(bytes));
    assert!(written.is_ok(), "a disk in memory takes what it is given");
    Arc::new(TableContext {
        disk: Arc::new(disk),
        dir: Path::new(DIR).to_path_buf(),
        cache: Arc::new(BlockCache::new(1 << 16)),
        trash: Arc::new(Trash::default()),
    })
}

/// A table one of whose blocks has foreign bytes inside: the first byte chooses which.
pub fn fuzz_table(data: &[u8]) {
    let Some((&choice, foreign)) = data.split_first() else { return };
    let (bytes, meta) = assemble(choice % 6, foreign);
    let table = Arc::new(Table::new(meta, context(&table::file_name(1), &bytes)));
    for key in [&b"\0a"[..], b"\0m", b"\0zz", probe(foreign)] {
        let _ = table.get(key);
        for _ in 0..4 {
            if let Ok(table::Probe::Need(need)) = table.get_resident(key) {
                let _ = need.fetch();
            }
        }
    }
    for direction in [Direction::Forward, Direction::Backward] {
        for cached in [false, true] {
            let mut cursor = table.cursor(KeyRange::all(), direction, cached);
            let mut steps = 0;
            while matches!(cursor.next(), Ok(true)) {
                assert!(cursor.entry().payload().len() <= bytes.len() << 8);
                steps += 1;
                assert!(steps <= 1 << 20, "a scan ends");
            }
        }
    }
    let check = table.check();
    assert!(check.entries <= 1 << 20);
}

/// An honest table of two blocks, but for one of its parts.
fn assemble(part: u8, foreign: &[u8]) -> (Vec<u8>, table::TableMeta) {
    let mut bytes = Vec::new();
    let mut sealer = Sealer::default();
    let mut put = |raw: &[u8]| {
        let offset = bytes.len() as u64;
        let crc = sealer.seal(raw, Compress::Never, &mut bytes);
        BlockRef { offset, len: (bytes.len() as u64 - offset) as u32, crc }
    };
    let swap = |this: u8, honest: Vec<u8>| if this == part { foreign.to_vec() } else { honest };
    let mut index = IndexBuilder::default();
    let mut hashes = Vec::new();
    for keys in [[&b"\0a"[..], b"\0b", b"\0c"], [b"\0m", b"\0n", b"\0o"]] {
        let mut builder = BlockBuilder::default();
        for key in keys {
            hashes.push(filter::hash(key));
            builder.add(key, &Entry::Put { value: key, expires: Expires(5) }, filter::hash(key));
        }
        let mut stored = Vec::new();
        let crc = builder.finish(&mut Sealer::default(), Compress::IfItPays, &mut stored);
        let raw = unseal(&stored, crc, 1 << 16).unwrap_or_default();
        index.add_block(builder.last_key(), put(&swap(0, raw)));
    }
    let mut raw = Vec::new();
    filter::build(&hashes, &mut raw);
    let filter = put(&swap(1, raw));
    let index = put(&swap(2, index.finish_part()));
    let mut root = IndexBuilder::default();
    root.add_part(b"\0o", &PartRef { filter, index });
    let root = put(&swap(3, root.finish_root()));
    let range = crate::entry::RangeTombstone { from: b"\0x".to_vec(), to: b"\0z\0".to_vec() };
    let ranges = put(&swap(4, encode_ranges(&[range])));
    let props = Props {
        entries: 6,
        ranges: 1,
        expires_min: 5,
        expires_max: 5,
        data_blocks: 2,
        smallest: b"\0a".to_vec(),
        largest: b"\0z".to_vec(),
        ..Props::default()
    };
    let props_at = put(&swap(5, props.encode()));
    let (footer, footer_crc) = Footer::encode([props_at, root, ranges]);
    bytes.extend_from_slice(&footer);
    let meta = props.into_meta(1, bytes.len() as u64, footer_crc);
    (bytes, meta)
}

/// A blob file whose records are foreign bytes, and a record by itself.
pub fn fuzz_blob(data: &[u8]) {
    let _ = Record::parse(data).map(|record| record.value_into(&mut Vec::new()));
    let mut bytes = blob::encode_header().to_vec();
    bytes.extend_from_slice(data);
    let footer = blob::Footer { records: 1, raw_bytes: 1, end: bytes.len() as u64 };
    let (footer, footer_crc) = footer.encode();
    bytes.extend_from_slice(&footer);
    let meta = BlobMeta { number: 1, bytes: bytes.len() as u64, records: 1, footer_crc };
    let file = BlobFile::new(meta, context(&blob::file_name(1), &bytes));
    let (records, problems) = file.check();
    assert!(records <= data.len() as u64 && problems.len() <= data.len() + 1);
}

/// A manifest: as it is, and behind a right header with each record's checksum put right.
pub fn fuzz_manifest(data: &[u8]) {
    let _ = manifest::parse(data);
    let Some((&[version, cut], edits)) = data.split_first_chunk::<2>() else { return };
    let mut bytes = b"NVXMANIF".to_vec();
    bytes.extend_from_slice(&(u32::from(version % 2) + 1).to_le_bytes());
    bytes.extend_from_slice(&3u32.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    let (first, second) = edits.split_at_checked(usize::from(cut)).unwrap_or((edits, &[]));
    for edit in [first, second] {
        let mut record = (edit.len() as u32).to_le_bytes().to_vec();
        record.extend_from_slice(edit);
        bytes.extend_from_slice(&(edit.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&record).to_le_bytes());
        bytes.extend_from_slice(edit);
    }
    let _ = manifest::parse(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn arbitrary_bytes_break_nothing(data in proptest::collection::vec(any::<u8>(), 0..120)) {
            fuzz_block(&data);
            fuzz_filter(&data);
            fuzz_table(&data);
            fuzz_blob(&data);
            fuzz_manifest(&data);
        }

        #[test]
        fn honest_parts_with_changed_bytes_break_nothing(
            part in 0u8..6, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            // What each honest part is: the bytes of the table between its neighbours.
            let (bytes, _) = assemble(6, &[]);
            let (footer, _) = Footer::decode(bytes.last_chunk().unwrap()).unwrap();
            let Footer::V2 { props, root, ranges } = footer else { panic!("made just now") };
            let block = |at: BlockRef| {
                let stored = &bytes[at.offset as usize..at.end().unwrap() as usize];
                unseal(stored, at.crc, 1 << 16).unwrap()
            };
            let parts = table::index::parse_root(&block(root)).unwrap();
            let PartRef { filter, index } = parts.reference(0).unwrap();
            let first = table::index::parse_part(&block(index)).unwrap().reference(0).unwrap();
            let mut raw = block([first, filter, index, root, ranges, props][usize::from(part)]);
            for (at, byte) in changes {
                let at = at.index(raw.len());
                raw[at] = byte;
            }
            fuzz_table(&[&[part][..], &raw].concat());
        }
    }

    #[test]
    fn the_honest_table_is_whole() {
        let (bytes, meta) = assemble(6, &[]);
        let table = Table::new(meta, context(&table::file_name(1), &bytes));
        let check = table.check();
        assert!(check.problems.is_empty() && check.entries == 6, "{:?}", check.problems);
    }
}
