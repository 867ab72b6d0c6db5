use super::*;
use novax_engine::Batch;
use novax_log::sim::SimDisk;

const P: PartitionId = PartitionId(3);
const OTHER: PartitionId = PartitionId(30);

fn data() -> &'static Path {
    Path::new("/data")
}

fn options() -> Options {
    Options { memtable_bytes_max: 4 << 10, table_bytes_max: 2 << 10, ..stores::store_options() }
}

/// A store in `dir` with entries up to `mark`, closed again.
fn store(disk: &SimDisk, dir: &Path, mark: u64) {
    let worker = Worker::by_hand();
    let mut engine = Engine::open_on(disk.arc(), dir, options(), &worker).expect("a store");
    let mut batch = Batch::new();
    for at in engine.mark() + 1..=mark {
        batch.put(7, &at.to_be_bytes(), &[at as u8; 300]);
        batch.set_mark(at);
        engine.write(&mut batch);
    }
    engine.close().expect("a disk that is well");
}

fn mark(disk: &SimDisk, dir: &Path) -> Option<u64> {
    store_mark(&disk.arc(), dir).expect("readable")
}

fn stream(disk: &SimDisk, dir: &Path) -> Vec<u8> {
    let mut reader = StateReader::open(disk.arc(), dir).expect("a checkpoint");
    let mut bytes = vec![0; usize::try_from(reader.length()).expect("small")];
    reader.read_at(0, &mut bytes).expect("all of it");
    assert!(reader.read_at(reader.length(), &mut [0]).is_err(), "nothing is behind the end");
    bytes
}

fn take(disk: &SimDisk, dir: &Path, bytes: &[u8], piece: usize) -> io::Result<()> {
    let mut writer = StateWriter::new(disk.arc(), dir.to_path_buf(), bytes.len() as u64);
    let mut offset = 0;
    for bytes in bytes.chunks(piece) {
        writer.write_at(offset, bytes)?;
        offset += bytes.len() as u64;
    }
    writer.finish()
}

#[test]
fn a_store_travels_in_pieces_of_any_size() {
    let disk = SimDisk::new();
    let from = outgoing(data(), P, 1);
    store(&disk, &from, 40);
    let bytes = stream(&disk, &from);
    for piece in [1, 7, 100, 4_096, usize::MAX] {
        let to = incoming(data(), P, 40);
        take(&disk, &to, &bytes, piece).expect("sound");
        assert_eq!(mark(&disk, &to), Some(40));
        assert_eq!(stream(&disk, &to), bytes, "pieces of {piece}");
    }
    // Parts of it, from anywhere.
    let mut reader = StateReader::open(disk.arc(), &from).expect("a checkpoint");
    for offset in [0, 1, 15, 16, 60, bytes.len() - 300] {
        let mut part = vec![0; 300];
        reader.read_at(offset as u64, &mut part).expect("within");
        assert_eq!(part, bytes[offset..offset + 300]);
    }
}

#[test]
fn what_is_no_state_is_refused_and_leaves_no_store() {
    let disk = SimDisk::new();
    let from = outgoing(data(), P, 1);
    store(&disk, &from, 10);
    let bytes = stream(&disk, &from);
    let to = incoming(data(), P, 10);
    for cut in [0, 5, 16, 40, bytes.len() / 2, bytes.len() - 1] {
        assert!(take(&disk, &to, &bytes[..cut], 64).is_err(), "{cut} bytes");
        assert_eq!(mark(&disk, &to), None);
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(take(&disk, &to, &longer, 64).is_err());
    // Each byte of the head changed: a name that leads elsewhere, a length that is not, a file too many.
    let head = StateReader::open(disk.arc(), &from).expect("a checkpoint").head.len();
    for at in 0..head {
        let mut other = bytes.clone();
        other[at] ^= 0x2f;
        // A table under another name is found when the store is opened.
        let taken = take(&disk, &to, &other, 1_000).is_ok();
        let opened = Engine::open_on(disk.arc(), &to, options(), &Worker::by_hand()).is_ok();
        assert!(!(taken && opened), "byte {at}");
    }
    let strays: Vec<PathBuf> =
        disk.files().into_iter().filter(|file| !file.starts_with("/data/states")).collect();
    assert_eq!(strays, Vec::<PathBuf>::new(), "nothing was written elsewhere");
}

#[test]
fn bytes_come_in_order_or_not_at_all() {
    let disk = SimDisk::new();
    let from = outgoing(data(), P, 1);
    store(&disk, &from, 10);
    let bytes = stream(&disk, &from);
    let mut writer = StateWriter::new(disk.arc(), incoming(data(), P, 10), bytes.len() as u64);
    writer.write_at(0, &bytes[..100]).expect("the first");
    assert!(writer.write_at(101, &bytes[101..]).is_err());
    assert!(writer.write_at(0, &bytes[..100]).is_err());
    assert!(writer.finish().is_err());
}

/// A node's disk: the store at home as of entry 10, a state as of 30 that was put in and has gone on to 35, another as
/// of 90 that was not put in yet, a checkpoint, and something of another partition.
fn disk_of_a_node() -> SimDisk {
    let disk = SimDisk::new();
    store(&disk, &home(data(), P), 10);
    store(&disk, &incoming(data(), P, 30), 35);
    store(&disk, &incoming(data(), P, 90), 90);
    store(&disk, &outgoing(data(), P, 4), 10);
    store(&disk, &incoming(data(), OTHER, 5), 5);
    disk
}

#[test]
fn the_store_in_force_is_the_one_the_log_goes_on_from() {
    for (log_mark, wanted) in [(0, 10), (10, 10), (30, 35), (33, 35), (90, 90)] {
        let disk = disk_of_a_node();
        let dir = settle(&disk.arc(), data(), P, log_mark).expect("a disk that is well");
        assert_eq!((dir.clone(), mark(&disk, &dir)), (home(data(), P), Some(wanted)), "{log_mark}");
        assert_eq!(mark(&disk, &incoming(data(), OTHER, 5)), Some(5), "others are left alone");
        let left = disk.arc().list_dirs(&folder(data())).expect("the folder");
        assert_eq!(left, ["p030.at-5"]);
    }
}

#[test]
fn the_power_may_go_at_every_operation_of_a_start_that_puts_a_state_in() {
    let operations = {
        let disk = disk_of_a_node();
        let before = disk.operations();
        settle(&disk.arc(), data(), P, 31).expect("a disk that is well");
        disk.operations() - before
    };
    assert!(operations > 20, "{operations} operations");
    for at in 0..operations {
        for seed in 0..4 {
            let disk = disk_of_a_node().copy();
            disk.cut_power_after(at);
            assert!(settle(&disk.arc(), data(), P, 31).is_err(), "operation {at}");
            let disk = disk.crash(seed);
            let dir = settle(&disk.arc(), data(), P, 31).expect("the next start");
            assert_eq!(mark(&disk, &dir), Some(35), "operation {at}, seed {seed}");
            let engine = Engine::open_on(disk.arc(), &dir, options(), &Worker::by_hand());
            let mut engine = engine.expect("a whole store");
            let rows =
                engine.snapshot().range(7, &[], None).map(|row| row.is_ok()).collect::<Vec<_>>();
            assert_eq!(rows, [true; 35]);
        }
    }
}
