//! A log is checked without being changed: the kept log of format version 1, whole and with flipped bits.

use novax_log::sim::SimDisk;
use novax_log::{CheckedGroup, Disk, Error, check, recover_on};
use novax_model::PartitionId;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The kept log on a disk in memory.
fn kept_log() -> (SimDisk, Vec<PathBuf>) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../raft/tests/fixtures/v1/log");
    let (disk, mut files) = (SimDisk::new(), Vec::new());
    for shard in ["shard-000", "shard-001"] {
        let to = Path::new("/node/log").join(shard);
        disk.create_dir(&to).unwrap();
        for entry in std::fs::read_dir(from.join(shard)).unwrap() {
            let entry = entry.unwrap();
            let file = to.join(entry.file_name());
            disk.write_file(&file, &std::fs::read(entry.path()).unwrap());
            files.push(file);
        }
    }
    files.sort();
    (disk, files)
}

fn all_files(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let bytes = |file: PathBuf| (file.clone(), disk.read_file(&file));
    let files = disk.files().into_iter().filter(|file| !file.ends_with("LOCK"));
    files.map(bytes).collect()
}

#[test]
fn a_whole_log_is_counted_and_left_as_it_is() {
    let (disk, _) = kept_log();
    let before = all_files(&disk);
    let groups = check(disk.arc(), Path::new("/node")).unwrap();
    assert_eq!(all_files(&disk), before);
    let expected = [(1, 4, 3, 19), (0, 11, 11, 8 * 7002 + 12), (0, 4, 4, 5200 + 21)];
    for (partition, (mark, last, entries, bytes)) in (0..).zip(expected) {
        let group = CheckedGroup { mark, last, entries, bytes };
        assert_eq!(groups[&PartitionId(partition)], group, "partition {partition}");
    }
    // It is free again, and what a node reads is the same.
    let recovered = recover_on(disk.arc(), Path::new("/node")).unwrap();
    for (partition, group) in &groups {
        assert_eq!(recovered.last_index(*partition), group.last);
    }
}

#[test]
fn a_log_in_use_or_damaged_is_named() {
    let (disk, files) = kept_log();
    let held = recover_on(disk.copy().arc(), Path::new("/node")).unwrap();
    drop(held);
    let using = recover_on(disk.arc(), Path::new("/node")).unwrap();
    assert!(matches!(check(disk.arc(), Path::new("/node")), Err(Error::InUse { .. })));
    drop(using);
    let (disk, _) = kept_log();
    // The second run begins in this segment: its first batch was acknowledged long ago.
    let is_second_run = |file: &PathBuf| file.ends_with("shard-000/0000000002-0000000001.log");
    let damaged = files.into_iter().find(is_second_run);
    disk.rot(damaged.as_ref().unwrap(), 5000, 3);
    let before = all_files(&disk);
    let error = check(disk.arc(), Path::new("/node")).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { file, .. } if Some(file) == damaged.as_ref()),
        "{error}"
    );
    assert_eq!(all_files(&disk), before);
}
