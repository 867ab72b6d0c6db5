//! Looking after stores: checkpoints, backups, repair, scrubbing, listing, compacting; each against a model, with power
//! cuts where something is written.

use crate::common::{DIR, KEYSPACES, Model, Store, contents, noise, small};
use crate::sim_disk::SimDisk;
use novax_engine::tools::{
    self, BackupSource, BackupTarget, DumpOptions, RepairSource, ScrubPosition, Scrubber,
    SourceKind, StoreSource,
};
use novax_engine::{Disk, Engine, Error, KeyspaceOptions, Options, Worker, verify_on};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TARGET: &str = "/backups";

/// Compaction stays out of it.
fn still() -> Options {
    Options { level0_tables_max: 100, memtable_bytes_max: 1 << 20, ..small() }
}

/// Writes round `round` of a store: some keys anew, some over those of earlier rounds. Flushed and closed.
fn write_round(disk: &SimDisk, options: Options, round: u64, model: &mut Model) {
    let mut store = Store::open(disk, options).unwrap();
    let first_mark = store.engine.mark();
    for i in 0..80u64 {
        let keyspace = (i % u64::from(KEYSPACES)) as u8;
        let key = if i % 4 == 0 { i.to_be_bytes() } else { (1000 * round + i).to_be_bytes() };
        let value = noise(round * 1000 + i, 20 + i as usize);
        store.put(first_mark + i + 1, &[(keyspace, &key, &value)]);
        model.insert((keyspace, key.to_vec()), value);
    }
    store.flush().unwrap();
    store.engine.close().unwrap();
}

/// A closed store of so many rounds, each in a table of its own.
fn closed_store(rounds: u64) -> (SimDisk, Model) {
    let (disk, mut model) = (SimDisk::default(), Model::new());
    for round in 1..=rounds {
        write_round(&disk, still(), round, &mut model);
    }
    (disk, model)
}

/// Everything in the store in `dir`.
fn read_store(disk: &SimDisk, dir: &Path) -> Result<Model, Error> {
    let worker = Worker::start(1).unwrap();
    let mut engine = Engine::open_on(disk.arc(), dir, still(), &worker)?;
    let found = contents(&engine.snapshot());
    drop(engine);
    found
}

fn source(name: &str, dir: &str, kind: SourceKind) -> BackupSource {
    BackupSource { name: name.to_owned(), dir: PathBuf::from(dir), kind, skip: Vec::new() }
}

fn store_source() -> Vec<BackupSource> {
    vec![source("partitions/p000", DIR, SourceKind::Store)]
}

fn table_path(number: u64) -> PathBuf {
    Path::new(DIR).join(format!("{number:016x}.nvt"))
}

fn count(disk: &SimDisk, below: &str) -> usize {
    disk.files().iter().filter(|file| file.starts_with(below)).count()
}

#[test]
fn backups_share_what_never_changes_and_each_restores_to_its_own_state() {
    let (disk, mut model) = closed_store(3);
    disk.write_file(Path::new("/node/NODE"), b"format 1");
    disk.write_file(Path::new("/node/secret"), b"hidden");
    let mut node = source("", "/node", SourceKind::Files);
    node.skip.push("secret".to_owned());
    let sources = [store_source(), vec![node]].concat();
    let first_model = model.clone();
    let target = BackupTarget::open(disk.arc(), Path::new(TARGET)).unwrap();
    let first = target.backup(&sources, 1000).unwrap();
    assert_eq!((first.info.id, first.files_copied), (1, 5), "three tables, manifest, NODE");
    write_round(&disk, still(), 9, &mut model);
    disk.write_file(Path::new("/node/NODE"), b"format 2");
    let second = target.backup(&sources, 2000).unwrap();
    assert_eq!((second.info.files, second.files_copied), (6, 3), "one new table, manifest, NODE");
    assert!(second.info.marks[0].1 > first.info.marks[0].1);
    drop(target);
    let target = BackupTarget::open(disk.arc(), Path::new(TARGET)).unwrap();
    let listed: Vec<_> = target.list().unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(listed, [first.info, second.info]);
    for (id, model, node) in [(1, &first_model, b"format 1"), (2, &model, b"format 2")] {
        let dir = format!("/restored-{id}");
        let done = target.restore(Some(id), Path::new(&dir)).unwrap();
        assert!(done.problems.is_empty());
        let store = Path::new(&dir).join("partitions/p000");
        assert_eq!(&read_store(&disk, &store).unwrap(), model);
        assert_eq!(disk.read_file(&Path::new(&dir).join("NODE")), node);
        assert!(!disk.exists(&Path::new(&dir).join("secret")).unwrap());
        assert!(matches!(target.restore(Some(id), Path::new(&dir)), Err(Error::NotEmpty { .. })));
    }
    assert!(matches!(target.verify(Some(9)), Err(Error::BackupUnknown { id: Some(9), .. })));
}

#[test]
fn damage_is_never_saved_as_if_it_were_whole() {
    let (disk, _) = closed_store(2);
    disk.rot(&table_path(2), 40, 3);
    let target = BackupTarget::open(disk.arc(), Path::new(TARGET)).unwrap();
    let error = target.backup(&store_source(), 1).unwrap_err();
    assert!(matches!(&error, Error::Corruption { file, .. } if *file == table_path(2)));
    assert!(target.list().unwrap().is_empty());
}

#[test]
fn a_store_that_is_open_and_a_name_that_leads_elsewhere_are_refused() {
    let (disk, _) = closed_store(1);
    let target = BackupTarget::open(disk.arc(), Path::new(TARGET)).unwrap();
    let store = Store::open(&disk, still()).unwrap();
    assert!(matches!(target.backup(&store_source(), 1), Err(Error::Locked { .. })));
    assert!(matches!(tools::repair(&disk.arc(), Path::new(DIR), &[]), Err(Error::Locked { .. })));
    assert!(matches!(BackupTarget::open(disk.arc(), Path::new(TARGET)), Err(Error::Locked { .. })));
    drop(store);
    for name in ["../p000", "/p000", "a//b"] {
        let evil = [source(name, DIR, SourceKind::Store)];
        assert!(matches!(target.backup(&evil, 1), Err(Error::NameInvalid { .. })), "{name}");
    }
    let twice = [store_source(), store_source()].concat();
    assert!(matches!(target.backup(&twice, 1), Err(Error::NameInvalid { .. })));
}

#[test]
fn damage_in_a_backup_is_named_and_keeps_a_restored_store_from_opening() {
    let (disk, model) = closed_store(3);
    let target = BackupTarget::open(disk.arc(), Path::new(TARGET)).unwrap();
    target.backup(&store_source(), 1).unwrap();
    assert!(target.verify(None).unwrap().problems.is_empty());
    let objects: Vec<_> =
        disk.files().into_iter().filter(|file| file.starts_with("/backups/files")).collect();
    for (at, object) in objects.iter().enumerate() {
        let disk = disk.copy();
        if at % 2 == 0 {
            disk.rot(object, 7, 1);
        } else {
            disk.remove(object).unwrap();
        }
        let target = BackupTarget::open(disk.arc(), Path::new(TARGET)).unwrap();
        let check = target.verify(None).unwrap();
        assert_eq!(check.problems.len(), 1);
        assert_eq!(check.problems[0].file(), Some(object.as_path()));
        let done = target.restore(None, Path::new("/restored")).unwrap();
        assert_eq!(done.problems.len(), 1);
        let manifest = Path::new("/restored/partitions/p000/MANIFEST");
        assert!(!disk.exists(manifest).unwrap());
        assert!(read_store(&disk, manifest.parent().unwrap()).is_err());
        // What is whole can still be had.
        tools::repair(&disk.arc(), manifest.parent().unwrap(), &[]).unwrap();
        let found = read_store(&disk, manifest.parent().unwrap()).unwrap();
        assert!(found.keys().all(|key| model.contains_key(key)));
    }
}

#[test]
fn old_backups_go_with_what_only_they_need() {
    let (disk, mut model) = closed_store(2);
    let target = BackupTarget::open(disk.arc(), Path::new(TARGET)).unwrap();
    target.backup(&store_source(), 1).unwrap();
    // Everything is rewritten: the second backup shares nothing with the first.
    write_round(&disk, small(), 7, &mut model);
    tools::compact(&disk.arc(), Path::new(DIR), &small()).unwrap();
    target.backup(&store_source(), 2).unwrap();
    disk.write_file(Path::new("/backups/files/partitions/p000/left.part"), b"left over");
    let before = count(&disk, TARGET);
    // A catalogue that cannot be read may need anything.
    let damaged = disk.copy();
    damaged.rot(Path::new("/backups/backups/0000000000000002.nvk"), 30, 0);
    let spoiled = BackupTarget::open(damaged.arc(), Path::new(TARGET)).unwrap();
    assert!(matches!(spoiled.keep_newest(1), Err(Error::BackupCorruption { .. })));
    assert_eq!(count(&damaged, "/backups/files"), count(&disk, "/backups/files"));
    assert_eq!(target.keep_newest(1).unwrap(), 1);
    assert!(count(&disk, TARGET) < before);
    assert!(!disk.exists(Path::new("/backups/files/partitions/p000/left.part")).unwrap());
    assert!(target.verify(None).unwrap().problems.is_empty());
    assert_eq!(target.keep_newest(0).unwrap(), 0, "one is always kept");
    target.restore(None, Path::new("/restored")).unwrap();
    assert_eq!(read_store(&disk, Path::new("/restored/partitions/p000")).unwrap(), model);
}

#[test]
fn a_backup_that_loses_power_is_there_wholly_or_not_at_all() {
    let (disk, mut model) = closed_store(1);
    {
        let target = BackupTarget::open(disk.arc(), Path::new(TARGET)).unwrap();
        target.backup(&store_source(), 1).unwrap();
    }
    write_round(&disk, still(), 5, &mut model);
    let (mut whole, mut none) = (0, 0);
    for cut in 0.. {
        let copy = disk.copy();
        let done = {
            let target = BackupTarget::open(copy.arc(), Path::new(TARGET)).unwrap();
            copy.cut_power_after(cut);
            target.backup(&store_source(), 2).and_then(|_| target.keep_newest(1)).is_ok()
        };
        let found = copy.crash(cut);
        let target = BackupTarget::open(found.arc(), Path::new(TARGET)).unwrap();
        for listed in target.list().unwrap() {
            let check = target.verify(Some(listed.unwrap().id)).unwrap();
            assert!(check.problems.is_empty(), "cut {cut}: {:?}", check.problems);
        }
        let newest = target.list().unwrap().pop().unwrap().unwrap().id;
        if newest == 2 {
            whole += 1;
        } else {
            none += 1;
        }
        // And the next one works, whatever was left behind.
        target.backup(&store_source(), 3).unwrap();
        assert!(target.verify(None).unwrap().problems.is_empty(), "cut {cut}");
        if done {
            break;
        }
    }
    assert!(whole > 1 && none > 5, "{whole} {none}");
}

#[test]
fn a_checkpoint_stays_as_it_was_while_the_store_goes_on() {
    let (disk, mut model) = closed_store(3);
    let at_checkpoint = model.clone();
    let dir = Path::new("/checkpoint");
    let report = tools::checkpoint(&disk.arc(), Path::new(DIR), dir).unwrap();
    assert_eq!((report.files, report.files_copied), (4, 0));
    write_round(&disk, small(), 8, &mut model);
    tools::compact(&disk.arc(), Path::new(DIR), &small()).unwrap();
    assert_eq!(read_store(&disk, dir).unwrap(), at_checkpoint);
    assert_eq!(read_store(&disk, Path::new(DIR)).unwrap(), model);
    let again = tools::checkpoint(&disk.arc(), Path::new(DIR), dir);
    assert!(matches!(again, Err(Error::NotEmpty { .. })));
}

/// Removes what `lost` names from a model.
fn without(model: &Model, lost: &[tools::LostRange]) -> Model {
    let is_lost =
        |key: &(u8, Vec<u8>)| lost.iter().any(|range| range.from <= *key && *key <= range.to);
    model.iter().filter(|(key, _)| !is_lost(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

#[test]
fn a_damaged_block_costs_its_own_keys_alone() {
    let (disk, model) = closed_store(1);
    let len = disk.read_file(&table_path(1)).len();
    let (mut salvaged, mut lost_some) = (0, 0);
    for at in (0..len).step_by(97) {
        let disk = disk.copy();
        disk.rot(&table_path(1), at, 5);
        let damaged = disk.read_file(&table_path(1));
        let report = tools::repair(&disk.arc(), Path::new(DIR), &[]).unwrap();
        assert!(!report.is_clean(), "byte {at}");
        assert_eq!(report.tables_salvaged + report.tables_lost, 1);
        let found = read_store(&disk, Path::new(DIR)).unwrap();
        assert_eq!(found, without(&model, &report.lost), "byte {at}: {report:?}");
        assert!(
            report.moved.iter().any(|file| disk.read_file(file) == damaged),
            "nothing is deleted"
        );
        assert!(verify_on(disk.arc(), Path::new(DIR)).unwrap().problems.is_empty());
        salvaged += report.tables_salvaged;
        lost_some += u64::from(!report.lost.is_empty() && !found.is_empty());
        let again = tools::repair(&disk.arc(), Path::new(DIR), &[]).unwrap();
        assert!(again.is_clean() && again.lost.is_empty(), "a repaired store is whole: {again:?}");
    }
    assert!(salvaged > 3 && lost_some > 3, "{salvaged} {lost_some}");
}

#[test]
fn a_twin_gives_back_whatever_was_lost() {
    let (disk, model) = closed_store(3);
    let twin = disk.copy();
    let source = StoreSource::open(&twin.arc(), Path::new(DIR)).unwrap();
    let sources: [&dyn RepairSource; 1] = [&source];
    disk.rot(&table_path(1), 30, 0);
    let len = disk.read_file(&table_path(2)).len();
    disk.truncate(&table_path(2), len as u64 / 2).unwrap();
    disk.remove(&table_path(3)).unwrap();
    let report = tools::repair(&disk.arc(), Path::new(DIR), &sources).unwrap();
    assert_eq!((report.tables_fetched, report.lost.len()), (3, 0));
    assert_eq!(read_store(&disk, Path::new(DIR)).unwrap(), model);
}

#[test]
fn a_replica_with_other_tables_gives_back_keys_and_deletions() {
    let (disk, mut model) = closed_store(2);
    // The replica went the same way, but has compacted all of it.
    let replica = SimDisk::default();
    let mut same = Model::new();
    for round in 1..=2 {
        write_round(&replica, small(), round, &mut same);
    }
    // Both delete keys whose older versions lie in the first table, and write others.
    for (disk, options) in [(&disk, still()), (&replica, small())] {
        let mut store = Store::open(disk, options).unwrap();
        let mark = store.engine.mark();
        let mut batch = novax_engine::Batch::new();
        for i in (0..80u64).step_by(4) {
            if i % 8 == 0 {
                batch.delete((i % 3) as u8, &i.to_be_bytes());
            } else {
                batch.put((i % 3) as u8, &i.to_be_bytes(), &noise(i, 200));
            }
        }
        batch.set_mark(mark + 1);
        store.engine.write(&mut batch);
        store.flush().unwrap();
        store.engine.close().unwrap();
    }
    for i in (0..80u64).step_by(4) {
        let key = ((i % 3) as u8, i.to_be_bytes().to_vec());
        if i % 8 == 0 { drop(model.remove(&key)) } else { drop(model.insert(key, noise(i, 200))) }
    }
    tools::compact(&replica.arc(), Path::new(DIR), &small()).unwrap();
    let source = StoreSource::open(&replica.arc(), Path::new(DIR)).unwrap();
    let sources: [&dyn RepairSource; 1] = [&source];
    assert_eq!(read_store(&disk, Path::new(DIR)).unwrap(), model);
    let len = disk.read_file(&table_path(3)).len();
    for at in (0..len).step_by(151) {
        let disk = disk.copy();
        disk.rot(&table_path(3), at, 2);
        let report = tools::repair(&disk.arc(), Path::new(DIR), &sources).unwrap();
        assert!(report.lost.is_empty(), "byte {at}: {report:?}");
        assert_eq!(read_store(&disk, Path::new(DIR)).unwrap(), model, "byte {at}");
    }
    // A replica of another moment is of no use, and is not used.
    let mut newer = Store::open(&replica, small()).unwrap();
    let mark = newer.engine.mark();
    newer.put(mark + 1, &[(0, b"later", b"x")]);
    newer.engine.close().unwrap();
    let source = StoreSource::open(&replica.arc(), Path::new(DIR)).unwrap();
    disk.rot(&table_path(3), 10, 2);
    let report = tools::repair(&disk.arc(), Path::new(DIR), &[&source]).unwrap();
    assert_eq!(report.entries_fetched, 0);
    assert!(!report.lost.is_empty());
}

#[test]
fn a_manifest_that_is_gone_is_made_anew_from_the_tables() {
    let (disk, model) = closed_store(3);
    disk.remove(&Path::new(DIR).join("MANIFEST")).unwrap();
    assert!(matches!(read_store(&disk, Path::new(DIR)), Err(Error::ManifestCorruption { .. })));
    let report = tools::repair(&disk.arc(), Path::new(DIR), &[]).unwrap();
    assert_eq!((report.tables_whole, report.mark), (3, 0));
    assert!(report.manifest_problem.is_some() && report.order_guessed && report.lost.is_empty());
    // Flushes alone: their numbers are their order.
    assert_eq!(read_store(&disk, Path::new(DIR)).unwrap(), model);
}

#[test]
fn a_damaged_manifest_gives_what_its_readable_records_say() {
    let (disk, mut model) = closed_store(3);
    write_round(&disk, small(), 4, &mut model);
    let manifest = Path::new(DIR).join("MANIFEST");
    let whole = disk.read_file(&manifest);
    for at in (0..whole.len()).step_by(13) {
        let disk = disk.copy();
        disk.rot(&manifest, at, 4);
        let report = tools::repair(&disk.arc(), Path::new(DIR), &[]).unwrap();
        // Tables may come back in another order, which the report says; but no key is made up.
        let found = read_store(&disk, Path::new(DIR)).unwrap();
        assert!(model.keys().all(|key| found.contains_key(key)), "byte {at}: {report:?}");
        if report.manifest_problem.is_some() && !report.order_guessed {
            assert_eq!(found, model, "byte {at}");
        }
    }
}

#[test]
fn a_repair_that_loses_power_can_be_run_again() {
    let (disk, model) = closed_store(2);
    disk.rot(&table_path(1), 30, 0);
    let lost = {
        let copy = disk.copy();
        tools::repair(&copy.arc(), Path::new(DIR), &[]).unwrap().lost
    };
    assert!(!lost.is_empty());
    let before = disk.read_file(&table_path(1));
    for cut in 0.. {
        let copy = disk.copy();
        copy.cut_power_after(cut);
        let done = tools::repair(&copy.arc(), Path::new(DIR), &[]).is_ok();
        let found = copy.crash(cut);
        tools::repair(&found.arc(), Path::new(DIR), &[]).unwrap();
        assert_eq!(
            read_store(&found, Path::new(DIR)).unwrap(),
            without_shadowed(&model, &lost),
            "cut {cut}"
        );
        let kept = found.files().iter().any(|file| found.read_file(file) == before);
        assert!(kept, "cut {cut}: the damaged table is still somewhere");
        if done {
            break;
        }
    }
}

/// As [`without`], for damage to the first of two tables: what the second holds too is not lost.
fn without_shadowed(model: &Model, lost: &[tools::LostRange]) -> Model {
    let in_second = |key: &[u8]| {
        let number = u64::from_be_bytes(key.try_into().unwrap());
        !(1000..2000).contains(&number)
    };
    let rest = model.iter().filter(|(key, _)| in_second(&key.1));
    let mut kept = without(model, lost);
    kept.extend(rest.map(|(key, value)| (key.clone(), value.clone())));
    kept
}

#[test]
fn compaction_to_the_bottom_leaves_one_version_of_each_key() {
    let (disk, mut model) = closed_store(3);
    {
        let mut store = Store::open(&disk, still()).unwrap();
        let mark = store.engine.mark();
        let mut batch = novax_engine::Batch::new();
        for key in model.keys().take(50).cloned().collect::<Vec<_>>() {
            batch.delete(key.0, &key.1);
            model.remove(&key);
        }
        batch.set_mark(mark + 1);
        store.engine.write(&mut batch);
        store.engine.close().unwrap();
    }
    let report = tools::compact(&disk.arc(), Path::new(DIR), &small()).unwrap();
    assert_eq!(report.entries_after, model.len() as u64);
    assert!(report.bytes_after < report.bytes_before && report.compactions > 0);
    let stats = tools::store_stats(&disk.arc(), Path::new(DIR)).unwrap();
    assert_eq!(stats.levels[0].tables, 0);
    assert_eq!(stats.levels.iter().map(|level| level.tombstones).sum::<u64>(), 0);
    assert_eq!(read_store(&disk, Path::new(DIR)).unwrap(), model);
}

#[test]
fn statistics_count_what_is_there_without_opening_a_table() {
    let (disk, _) = closed_store(3);
    let sums: u64 = (1..=3).map(|number| disk.read_file(&table_path(number)).len() as u64).sum();
    for number in 1..=3 {
        disk.remove(&table_path(number)).unwrap();
    }
    let stats = tools::store_stats(&disk.arc(), Path::new(DIR)).unwrap();
    assert_eq!((stats.tables(), stats.bytes(), stats.entries()), (3, sums, 240));
    assert_eq!((stats.mark, stats.read_amplification_max), (240, 3));
    assert!(stats.to_string().contains("level 0"), "{stats}");
}

#[test]
fn a_dump_shows_what_a_reader_sees_within_its_range_and_limit() {
    let (disk, model) = closed_store(2);
    let dump = |options: &DumpOptions| {
        let mut out = Vec::new();
        let shown = tools::dump(&disk.arc(), Path::new(DIR), &still(), options, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count() as u64, shown);
        text
    };
    assert_eq!(dump(&DumpOptions::default()).lines().count(), model.len());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let ((keyspace, key), value) = model.iter().find(|((keyspace, _), _)| *keyspace == 1).unwrap();
    let one = dump(&DumpOptions {
        keyspace: Some(*keyspace),
        from: key.clone(),
        limit: 1,
        format: tools::DumpFormat::Hex,
        names: [(1, "sites".to_owned())].into(),
        ..DumpOptions::default()
    });
    assert_eq!(one, format!("sites 0x{} = 0x{}\n", hex(key), hex(value)));
    let keys_only = DumpOptions { keys_only: true, limit: 3, ..DumpOptions::default() };
    assert!(!dump(&keys_only).contains('='));
    let none = DumpOptions { to: Some(Vec::new()), ..DumpOptions::default() };
    assert_eq!(dump(&none), "");
}

#[test]
fn a_raw_dump_goes_round_damage_and_shows_it() {
    let (disk, _) = closed_store(1);
    let dump = |disk: &SimDisk| {
        let mut out = Vec::new();
        let format = tools::DumpFormat::Hex;
        let shown = tools::dump_table(&disk.arc(), Path::new(DIR), 1, format, 1000, &mut out);
        (shown.unwrap(), String::from_utf8(out).unwrap())
    };
    let (shown, text) = dump(&disk);
    assert_eq!(shown, 80);
    assert!(text.starts_with("table 1: ") && text.contains(" put 0x") && !text.contains("DAMAGED"));
    disk.rot(&table_path(1), 30, 1);
    let (shown, text) = dump(&disk);
    assert!(shown < 80 && text.contains("DAMAGED"), "{text}");
    let mut out = Vec::new();
    tools::dump_manifest(&disk.arc(), Path::new(DIR), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("mark 80") && text.contains("table 1 level 0: "), "{text}");
}

/// What a scrubber found, by the file's name.
type Found = Arc<Mutex<Vec<(PathBuf, bool)>>>;

fn scrubber(bytes_per_s: u64, position: ScrubPosition) -> (Scrubber, Found) {
    let found = Found::default();
    let heard = Arc::clone(&found);
    let on_finding = Box::new(move |finding: &tools::ScrubFinding| {
        let file = finding.error.file().unwrap().to_path_buf();
        heard.lock().unwrap().push((file, finding.lost.is_some()));
    });
    (Scrubber::new(bytes_per_s, Duration::from_secs(3600), position, on_finding), found)
}

/// Polls at `now` until nothing is being read.
fn settle(scrubber: &mut Scrubber, engine: &Engine, now: Instant) {
    loop {
        scrubber.poll(engine, now).unwrap();
        if !scrubber.is_reading() {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_scrubber_finds_what_rots_though_memory_still_has_it_and_keeps_to_its_budget() {
    let (disk, model) = closed_store(4);
    let store = {
        let options = Options { block_cache_bytes: 64 << 20, ..still() };
        let mut store = Store::open(&disk, options).unwrap();
        assert_eq!(contents(&store.engine.snapshot()).unwrap(), model, "all of it is in the cache");
        store
    };
    let len = disk.read_file(&table_path(3)).len();
    disk.rot(&table_path(3), 30, 0);
    disk.rot(&table_path(4), disk.read_file(&table_path(4)).len() - 1, 0);
    let all: u64 = (1..=4).map(|number| disk.read_file(&table_path(number)).len() as u64).sum();
    // A tenth of the store a second.
    let (mut scrubber, found) = scrubber(all / 10, ScrubPosition::default());
    let start = Instant::now();
    let mut now = start;
    while scrubber.stats().passes == 0 {
        settle(&mut scrubber, &store.engine, now);
        let seconds = (now - start).as_secs_f64();
        let allowed = seconds * (all / 10) as f64 + 2.0 * len as f64;
        assert!(scrubber.stats().bytes as f64 <= allowed, "after {seconds} s");
        now += Duration::from_millis(100);
        assert!(now - start < Duration::from_secs(20), "a pass ends");
    }
    assert!(now - start > Duration::from_secs(5), "it took its time");
    let stats = scrubber.stats();
    assert_eq!((stats.files, stats.bytes, stats.findings), (4, all, 2));
    let files: Vec<_> = found.lock().unwrap().clone();
    assert_eq!(
        files.iter().map(|(file, _)| file.clone()).collect::<Vec<_>>(),
        [table_path(3), table_path(4)]
    );
    assert!(files[0].1 && !files[1].1, "keys are named for a block, not for a footer");
    // It rests, then begins anew.
    settle(&mut scrubber, &store.engine, now + Duration::from_secs(60));
    assert_eq!(scrubber.stats().files, 4);
    settle(&mut scrubber, &store.engine, now + Duration::from_secs(4000));
    assert_eq!(scrubber.stats().files, 5);
}

#[test]
fn a_scrubber_goes_on_where_it_was_and_a_stopped_worker_is_named() {
    let (disk, _) = closed_store(4);
    let store = Store::open(&disk, still()).unwrap();
    // A second pays for less than a table.
    let table_bytes = disk.read_file(&table_path(1)).len() as u64;
    let (mut first, _) = scrubber(table_bytes / 2, ScrubPosition::default());
    let mut now = Instant::now();
    while first.stats().files < 2 {
        settle(&mut first, &store.engine, now);
        now += Duration::from_secs(1);
    }
    let position = first.position();
    assert_eq!(position.file, 2);
    let (mut second, _) = scrubber(1 << 30, position);
    while second.stats().passes == 0 {
        settle(&mut second, &store.engine, now);
        now += Duration::from_secs(1);
    }
    assert_eq!(second.stats().files, 4 - position.file);
    drop(store);
    let worker = Worker::start(1).unwrap();
    let engine = Engine::open_on(disk.arc(), Path::new(DIR), still(), &worker).unwrap();
    drop(worker);
    let (mut third, _) = scrubber(1 << 30, ScrubPosition::default());
    assert!(matches!(third.poll(&engine, now), Err(Error::WorkerStopped)));
}

#[test]
fn a_scrub_from_outside_waits_as_long_as_its_budget_says() {
    let (disk, _) = closed_store(3);
    disk.rot(&table_path(2), 30, 0);
    let (mut waited, mut found) = (Duration::ZERO, Vec::new());
    let mut wait = |time| waited += time;
    let mut keep = |finding: tools::ScrubFinding| found.push(finding);
    let stats =
        tools::scrub_store(&disk.arc(), Path::new(DIR), 1000, &mut wait, &mut keep).unwrap();
    assert_eq!((stats.files, stats.findings, found.len()), (3, 1, 1));
    assert!(found[0].lost.is_some());
    let budget = Duration::from_micros(stats.bytes * 1000);
    assert!(waited + Duration::from_millis(1) > budget, "{waited:?} for {} bytes", stats.bytes);
}

#[test]
fn a_data_directory_is_taken_apart_into_stores_and_plain_folders() {
    let (disk, _) = closed_store(1);
    for file in ["/store/lost/old.nvt", "/data/NODE", "/data/LOCK", "/data/log/shard-000/1.log"] {
        disk.create_dir(Path::new(file).parent().unwrap()).unwrap();
        disk.write_file(Path::new(file), b"x");
    }
    let to = Path::new("/data/partitions/p007");
    tools::checkpoint(&disk.arc(), Path::new(DIR), to).unwrap();
    disk.create_dir(&to.join("lost")).unwrap();
    disk.write_file(&to.join("lost/0000000000000009.nvt"), b"x");
    let found = tools::find_sources(&disk, Path::new("/data")).unwrap();
    let found: Vec<_> = found.iter().map(|source| (source.name.as_str(), source.kind)).collect();
    let expected = [
        ("", SourceKind::Files),
        ("log/shard-000", SourceKind::Files),
        ("partitions/p007", SourceKind::Store),
    ];
    assert_eq!(found, expected);
}

/// Values of keyspace 1 from 40 bytes on lie beside the tables.
fn beside() -> Options {
    let values = KeyspaceOptions { blob_bytes_min: Some(40), ..KeyspaceOptions::default() };
    Options { keyspace: [(1, values)].into(), ..still() }
}

/// A closed store with values beside its tables, and the files that hold them.
fn store_with_values() -> (SimDisk, Model, Vec<PathBuf>) {
    let (disk, mut model) = (SimDisk::default(), Model::new());
    for round in 1..=2 {
        write_round(&disk, beside(), round, &mut model);
    }
    let names = disk.list(Path::new(DIR)).unwrap().into_iter().map(|(name, _)| name);
    let values = names.filter(|name| !name.ends_with(".nvt") && name.starts_with('0'));
    let values: Vec<_> = values.map(|name| Path::new(DIR).join(name)).collect();
    assert_eq!(values.len(), 2);
    (disk, model, values)
}

#[test]
fn values_beside_the_tables_are_in_backups_and_checkpoints() {
    let (disk, model, values) = store_with_values();
    let target = BackupTarget::open(disk.arc(), Path::new(TARGET)).unwrap();
    let report = target.backup(&store_source(), 1).unwrap();
    assert_eq!(report.info.files, 5, "two tables, two files of values, the manifest");
    assert_eq!(target.backup(&store_source(), 2).unwrap().files_copied, 1, "the manifest alone");
    tools::checkpoint(&disk.arc(), Path::new(DIR), Path::new("/checkpoint")).unwrap();
    target.restore(None, Path::new("/restored")).unwrap();
    for dir in ["/checkpoint", "/restored/partitions/p000"] {
        assert_eq!(read_store(&disk, Path::new(dir)).unwrap(), model, "{dir}");
    }
    let stats = tools::store_stats(&disk.arc(), Path::new(DIR)).unwrap();
    let bytes: u64 = values.iter().map(|file| disk.read_file(file).len() as u64).sum();
    assert_eq!((stats.blob_files, stats.blob_file_bytes), (2, bytes));
    disk.rot(&values[1], 40, 1);
    assert!(matches!(target.backup(&store_source(), 3), Ok(_)), "the target has it whole");
    let elsewhere = BackupTarget::open(disk.arc(), Path::new("/elsewhere")).unwrap();
    assert!(matches!(elsewhere.backup(&store_source(), 1), Err(Error::Corruption { .. })));
}

#[test]
fn a_damaged_value_costs_its_own_key_alone_or_nothing_with_a_twin() {
    let (disk, model, values) = store_with_values();
    let twin = disk.copy();
    let source = StoreSource::open(&twin.arc(), Path::new(DIR)).unwrap();
    let len = disk.read_file(&values[0]).len();
    let (mut some_lost, mut few_lost) = (0, 0);
    for at in (0..len).step_by(61) {
        let damaged = disk.copy();
        damaged.rot(&values[0], at, 6);
        let healed = damaged.copy();
        let report = tools::repair(&damaged.arc(), Path::new(DIR), &[]).unwrap();
        assert_eq!(report.values_emptied, 1, "byte {at}");
        let found = read_store(&damaged, Path::new(DIR)).unwrap();
        assert!(found.iter().all(|(key, value)| model[key] == *value), "byte {at}");
        let missing = model.len() - found.len();
        assert!(missing <= report.lost.len(), "byte {at}: every lost key is named");
        some_lost += usize::from(missing > 0);
        few_lost += usize::from(missing == 1);
        assert!(verify_on(damaged.arc(), Path::new(DIR)).unwrap().problems.is_empty());
        assert!(tools::repair(&damaged.arc(), Path::new(DIR), &[]).unwrap().is_clean());
        let report = tools::repair(&healed.arc(), Path::new(DIR), &[&source]).unwrap();
        assert_eq!((report.values_fetched, report.lost.len()), (1, 0), "byte {at}");
        assert_eq!(read_store(&healed, Path::new(DIR)).unwrap(), model);
    }
    assert!(some_lost > 2 && few_lost > 2, "{some_lost} {few_lost}");
    disk.remove(&values[1]).unwrap();
    let report = tools::repair(&disk.arc(), Path::new(DIR), &[]).unwrap();
    assert!(!report.lost.is_empty());
    assert!(read_store(&disk, Path::new(DIR)).is_ok());
}
