//! Blob files come back whole, and nothing damaged is served.

use super::*;
use crate::disk::RealDisk;
use crate::entry::BlobRef;
use crate::table::TableContext;
use proptest::prelude::*;
use std::sync::Arc;

struct Folder {
    dir: tempfile::TempDir,
    context: Arc<TableContext>,
}

impl Folder {
    fn new(cache_bytes: usize) -> Folder {
        let dir = tempfile::tempdir().unwrap();
        let context = TableContext::on_disk(dir.path(), cache_bytes);
        Folder { dir, context }
    }

    fn write(&self, values: &[(Vec<u8>, Vec<u8>)]) -> (BlobMeta, Vec<BlobRef>) {
        let mut writer = BlobWriter::create(&RealDisk, self.dir.path(), 5).unwrap();
        let refs = values.iter().map(|(key, value)| writer.add(key, value).unwrap()).collect();
        let bytes = writer.bytes();
        let meta = writer.finish().unwrap();
        assert_eq!(meta.bytes, bytes + FOOTER_BYTES as u64);
        (meta, refs)
    }

    fn open(&self, meta: BlobMeta) -> BlobFile {
        BlobFile::new(meta, Arc::clone(&self.context))
    }
}

fn values() -> Vec<(Vec<u8>, Vec<u8>)> {
    let noise = (0..200u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vec![(b"\x01a".to_vec(), noise), (b"\x01b".to_vec(), vec![7; 300]), (b"\x02".to_vec(), vec![])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn values_come_back(
        values in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 1..20), proptest::collection::vec(0u8..3, 0..900)), 1..20),
    ) {
        let folder = Folder::new(1 << 20);
        let (meta, refs) = folder.write(&values);
        let file = folder.open(meta);
        for (at, (key, value)) in refs.iter().zip(&values) {
            prop_assert!(file.get_resident(at).is_none());
            prop_assert_eq!(&*file.get(at, key).unwrap(), &value[..]);
            prop_assert_eq!(&*file.get_resident(at).unwrap(), &value[..]);
        }
        let (mut scan, mut value) = (file.scan(), Vec::new());
        for (at, (key, expected)) in refs.iter().zip(&values) {
            let (read_at, record) = scan.next().unwrap().unwrap();
            prop_assert_eq!((read_at, record.key), (*at, &key[..]));
            record.value_into(&mut value).unwrap();
            prop_assert_eq!(&value, expected);
        }
        prop_assert!(scan.next().unwrap().is_none());
        let (records, problems) = file.check();
        prop_assert!(records == values.len() as u64 && problems.is_empty());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = Record::parse(&bytes).map(|record| record.value_into(&mut Vec::new()));
        if let Some(footer) = bytes.first_chunk() {
            let _ = Footer::decode(footer);
        }
        if let Some(header) = bytes.first_chunk() {
            let _ = check_header(header);
        }
    }
}

#[test]
fn every_flipped_bit_is_found_and_none_is_served() {
    let folder = Folder::new(0);
    let (meta, refs) = folder.write(&values());
    let path = folder.dir.path().join(file_name(5));
    let whole = std::fs::read(&path).unwrap();
    for bit in 0..8 * whole.len() {
        let mut rotten = whole.clone();
        rotten[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &rotten).unwrap();
        let (_, problems) = folder.open(meta).check();
        assert_eq!(problems.len(), 1, "bit {bit}");
        let file = folder.open(meta);
        let mut refused = 0;
        for (at, (key, value)) in refs.iter().zip(&values()) {
            match file.get(at, key) {
                Ok(read) => assert_eq!(&*read, &value[..], "bit {bit}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 0, "bit {bit}");
    }
}

#[test]
fn a_record_of_another_key_or_place_is_refused() {
    let folder = Folder::new(0);
    let (meta, refs) = folder.write(&values());
    let file = folder.open(meta);
    let what = |at: &BlobRef, key: &[u8]| file.get(at, key).unwrap_err().to_string();
    assert!(what(&refs[0], b"\x01b").contains("another key"));
    assert!(what(&BlobRef { crc: 0, ..refs[0] }, b"\x01a").contains("not the one"));
    assert!(what(&BlobRef { offset: 1 << 40, ..refs[0] }, b"\x01a").contains("outside"));
    assert!(what(&BlobRef { stored_len: u32::MAX, ..refs[0] }, b"\x01a").contains("outside"));
    assert!(what(&BlobRef { offset: refs[1].offset, ..refs[0] }, b"\x01a").contains("blob record"));
}

#[test]
fn an_obsolete_file_goes_with_the_trash() {
    let folder = Folder::new(0);
    let (meta, refs) = folder.write(&values());
    let file = folder.open(meta);
    file.get(&refs[1], b"\x01b").unwrap();
    file.set_obsolete();
    let path = file.path();
    drop(file);
    assert!(path.exists());
    folder.context.trash.sweep(&RealDisk);
    assert!(!path.exists());
}

#[test]
fn the_bytes_are_those_of_the_document() {
    let folder = Folder::new(0);
    let (meta, refs) = folder.write(&[(b"\x01k".to_vec(), b"value".to_vec())]);
    let bytes = std::fs::read(folder.dir.path().join(file_name(5))).unwrap();
    // Laid out by hand from docs/formats/blob.md.
    let crc = |bytes: &[u8]| crc32fast::hash(bytes).to_le_bytes();
    let mut expected = [b"NVXBLOBS".as_slice(), &[1, 0, 0, 0]].concat();
    expected.extend(crc(&expected));
    let record = [&[5, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0][..], b"\x01k", b"value"].concat();
    expected.extend(crc(&record));
    expected.extend(&record);
    let fields: [u64; 3] = [1, 5, 38];
    let mut footer: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
    footer.extend(b"NVXBLOBF\x01\0\0\0");
    expected.extend(&footer);
    expected.extend(crc(&footer));
    assert_eq!(bytes, expected);
    assert_eq!((meta.bytes, meta.records), (78, 1));
    assert_eq!((refs[0].offset, refs[0].len, refs[0].stored_len), (16, 5, 22));
}
