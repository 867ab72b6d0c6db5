//! The real disk does what the simulated one is taken to do.

use novax_log::sim::SimDisk;
use novax_log::{BLOCK_BYTES, Block, Disk, RealDisk, read_all};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn check(disk: &dyn Disk, root: &Path) {
    let dir = root.join("a/b");
    disk.create_dir(&dir).unwrap();
    disk.create_dir(&dir).unwrap();
    assert_eq!(disk.list_dirs(root).unwrap(), ["a"]);
    assert_eq!(disk.list_dirs(&dir).unwrap(), [""; 0]);

    let segment = dir.join("segment");
    let go_on = AtomicBool::new(false);
    disk.make_zeroed(&segment, 5000 * BLOCK_BYTES as u64, true, &go_on).unwrap();
    disk.sync_dir(&dir).unwrap();
    // More blocks than the system takes pieces in one call.
    let blocks: Vec<Block> =
        (0..2500_u32).map(|number| Block([(number % 251) as u8; BLOCK_BYTES])).collect();
    let file = disk.open_segment(&segment, true).unwrap();
    file.write_blocks(3 * BLOCK_BYTES as u64, &blocks).unwrap();
    let bytes = read_all(disk, &segment, u64::MAX).unwrap();
    assert_eq!(bytes.len(), 5000 * BLOCK_BYTES);
    for (at, found) in bytes.chunks(BLOCK_BYTES).enumerate() {
        let expected = at.checked_sub(3).and_then(|at| blocks.get(at)).unwrap_or(&Block::ZERO);
        assert!(found == expected.0, "block {at}");
    }
    disk.truncate(&segment, 2 * BLOCK_BYTES as u64).unwrap();
    assert_eq!(disk.list(&dir).unwrap(), [("segment".to_owned(), 2 * BLOCK_BYTES as u64)]);

    let linked = root.join("linked");
    disk.link(&segment, &linked).unwrap();
    let taken = disk.link(&segment, &linked).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    disk.remove(&segment).unwrap();
    assert!(!disk.exists(&segment).unwrap() && disk.exists(&linked).unwrap());
    assert_eq!(read_all(disk, &linked, u64::MAX).unwrap(), [0; 2 * BLOCK_BYTES]);
    assert_eq!(disk.open_segment(&segment, true).err().unwrap().kind(), ErrorKind::NotFound);

    let lock = disk.lock(&dir).unwrap();
    assert!(lock.is_some() && disk.lock(&dir).unwrap().is_none());
    drop(lock);
    assert!(disk.lock(&dir).unwrap().is_some());
}

#[test]
fn the_disk_in_memory_and_the_real_one_agree() {
    check(&SimDisk::new(), Path::new("/data"));
    let real = tempfile::tempdir().unwrap();
    check(&RealDisk, real.path());
}

#[test]
fn zeroing_ends_when_it_is_told_to() {
    let real = tempfile::tempdir().unwrap();
    let stopped =
        RealDisk.make_zeroed(&real.path().join("s"), 1 << 30, false, &AtomicBool::new(true));
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Interrupted);
}

/// Files came back without their folder, where no start looks for what is left over.
#[test]
fn a_file_that_is_there_after_a_crash_lies_in_a_folder() {
    let (root, dir) = (Path::new("/data"), Path::new("/data/left"));
    let mut came_back = 0;
    for seed in 0..20 {
        let disk = SimDisk::new();
        disk.create_dir(dir).unwrap();
        disk.create(&dir.join("file")).unwrap().sync().unwrap();
        disk.sync_dir(dir).unwrap();
        disk.remove(&dir.join("file")).unwrap();
        disk.remove_dir(dir).unwrap();
        let disk = disk.crash(seed);
        let is_there = disk.exists(&dir.join("file")).unwrap();
        assert!(!is_there || disk.list_dirs(root).unwrap() == ["left"]);
        came_back += u32::from(is_there);
    }
    assert!((1..20).contains(&came_back), "{came_back} of 20");
}
