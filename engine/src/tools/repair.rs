//! Makes a store that can be opened again out of what is left of a damaged one.
//!
//! Invariants: nothing is deleted: what is replaced or cannot be read is moved to `lost/` in the store's folder; the
//! new manifest is the moment at which the repair takes effect, and a repair that was broken off can be run
//! again, before that moment and after it; every key that may be lost is named.

use super::advice::is_damage;
use super::copy::write_whole;
use super::records::salvage;
use super::source::{FileId, RepairSource, SourceEntry};
use super::survey::{LostRange, Piece, join, past, split, survey};
use super::view::{self, first_problem, lock};
use crate::blob::{self, BlobFile, BlobMeta};
use crate::disk::{Disk, DiskRead, read_all};
use crate::entry::{Entry, Expires, RangeTombstone};
use crate::error::Error;
use crate::limits::KEY_BYTES_MAX;
use crate::manifest::{self, Manifest, State};
use crate::table::{Table, TableMeta, TableWriter, file_name, file_number};
use crate::version::{Place, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where what is moved aside goes.
const LOST_DIR: &str = "lost";
/// Where new tables wait for the manifest that names them.
const MADE_DIR: &str = "repair";
/// Bytes of a table fetched from a source at a time.
const PIECE_BYTES: usize = 256 << 10;

/// A file as a source has it.
type Twin = Result<Option<Box<dyn DiskRead>>, Error>;

/// What a repair found and did.
#[derive(Debug, Default)]
pub struct RepairReport {
    /// Up to which mark the store says it is complete.
    pub mark: u64,
    /// Why the manifest could not be used as it was; none when it could.
    pub manifest_problem: Option<Error>,
    /// True when tables had to be put in an order by their numbers alone: of keys that are in several of them, an
    /// old version may have come back. Better take this store's state from a replica or a backup.
    pub order_guessed: bool,
    /// Tables that were whole.
    pub tables_whole: u64,
    /// Tables fetched whole from a source, or from an earlier repair that was broken off.
    pub tables_fetched: u64,
    /// Damaged tables of which the readable part was kept.
    pub tables_salvaged: u64,
    /// Tables of which nothing was left.
    pub tables_lost: u64,
    /// Value files fetched whole from a source.
    pub values_fetched: u64,
    /// Damaged value files, of which what is readable was moved into the tables.
    pub values_emptied: u64,
    /// Entries kept of damaged tables.
    pub entries_salvaged: u64,
    /// Entries fetched from a replica in place of lost ones.
    pub entries_fetched: u64,
    /// Keys that may be lost: absent now, or with an older value than they had.
    pub lost: Vec<LostRange>,
    /// Files of which not even the range of keys could be read.
    pub unreadable: Vec<Error>,
    /// Files moved to `lost/`.
    pub moved: Vec<PathBuf>,
}

impl RepairReport {
    /// True when the store was whole and nothing was changed but leftovers moved aside.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.manifest_problem.is_none()
            && self.tables_fetched + self.tables_salvaged + self.tables_lost == 0
            && self.values_fetched + self.values_emptied == 0
            && self.unreadable.is_empty()
    }
}

/// Repairs the store in `dir`, asking `sources` in turn for what is damaged here.
///
/// # Errors
/// When the store is open elsewhere, has neither a manifest nor a table, or its folder cannot be written.
pub fn repair(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    sources: &[&dyn RepairSource],
) -> Result<RepairReport, Error> {
    let _lock = lock(&**disk, dir)?;
    let mut repair = Repair::begin(disk, dir, sources)?;
    repair.examine_values()?;
    repair.examine_known()?;
    repair.examine_unknown()?;
    repair.place()?;
    repair.commit()
}

struct Repair<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Path,
    sources: &'a [&'a dyn RepairSource],
    keyspaces: u8,
    /// What the manifest said; becomes what the new one says.
    state: State,
    /// Tables that the manifest is known to have let go.
    removed: BTreeSet<u64>,
    /// Names and lengths in the folder.
    files: Vec<(String, u64)>,
    /// Names to be moved to `lost/`.
    aside: Vec<String>,
    /// Names of the files that wait in `repair/`.
    made: Vec<String>,
    /// Value files that are to be emptied: damaged, or gone.
    bad_values: BTreeMap<u64, BlobFile>,
    report: RepairReport,
}

impl<'a> Repair<'a> {
    fn begin(
        disk: &'a Arc<dyn Disk>,
        dir: &'a Path,
        sources: &'a [&'a dyn RepairSource],
    ) -> Result<Repair<'a>, Error> {
        let files = disk.list(dir).map_err(Error::io("list", dir))?;
        let has_tables = files.iter().any(|(name, _)| manifest::number_of(name).is_some());
        let mut report = RepairReport::default();
        let (keyspaces, state, removed) = match Manifest::read(&**disk, dir) {
            Ok(read) => (read.keyspaces, read.state, BTreeSet::new()),
            Err(error) if is_damage(&error) || has_tables => {
                let file = dir.join(manifest::FILE_NAME);
                let bytes = read_all(&**disk, &file, manifest::FILE_BYTES_MAX).unwrap_or_default();
                report.manifest_problem = Some(error);
                let salvaged = salvage(&bytes);
                (salvaged.keyspaces, salvaged.state, salvaged.removed)
            }
            Err(error) => return Err(error),
        };
        let numbers = files.iter().filter_map(|(name, _)| manifest::number_of(name));
        let mut state = state;
        state.next_file = state.next_file.max(numbers.max().map_or(1, |last| last + 1));
        let made = dir.join(MADE_DIR);
        disk.create_dir(&made).map_err(Error::io("create", &made))?;
        report.mark = state.mark;
        let (aside, made, bad_values) = (Vec::new(), Vec::new(), BTreeMap::new());
        Ok(Repair {
            disk,
            dir,
            sources,
            keyspaces,
            state,
            removed,
            files,
            aside,
            made,
            bad_values,
            report,
        })
    }

    fn made_dir(&self) -> PathBuf {
        self.dir.join(MADE_DIR)
    }

    fn is_there(&self, wanted: &str) -> bool {
        self.files.iter().any(|(name, _)| name == wanted)
    }

    fn values(&self, dir: &Path, meta: BlobMeta) -> BlobFile {
        BlobFile::new(meta, view::context(self.disk, dir))
    }

    /// Each value file is kept or fetched, or what is left of it will move into the tables.
    fn examine_values(&mut self) -> Result<(), Error> {
        self.adopt_values();
        let known: Vec<_> = self.state.blobs.values().copied().collect();
        for meta in known {
            let here = self.values(self.dir, meta);
            if here.check().1.is_empty() {
                continue;
            }
            let name = blob::file_name(meta.number);
            if self.is_there(&name) {
                self.aside.push(name.clone());
            }
            let is_whole = |dir: &Path| self.values(dir, meta).check().1.is_empty();
            let id = FileId::of_values(&meta);
            if self.fetch_file(&name, meta.bytes, &is_whole, &|source| source.values(&id))? {
                self.made.push(name);
                self.report.values_fetched += 1;
            } else {
                self.state.blobs.remove(&meta.number);
                self.bad_values.insert(meta.number, here);
                self.report.values_emptied += 1;
            }
        }
        Ok(())
    }

    /// Value files that the manifest does not name: leftovers if it is whole.
    fn adopt_values(&mut self) {
        let names: Vec<_> = self.files.iter().map(|(name, bytes)| (name.clone(), *bytes)).collect();
        for (name, bytes) in names {
            let Some(number) = blob::file_number(&name) else { continue };
            if self.state.blobs.contains_key(&number) {
                continue;
            }
            let described = view::describe_values(&**self.disk, self.dir, number, bytes);
            match described.filter(|_| self.report.manifest_problem.is_some()) {
                Some(meta) => drop(self.state.blobs.insert(number, meta)),
                None => self.aside.push(name),
            }
        }
    }

    /// The table of this description in `dir`.
    fn table(&self, dir: &Path, meta: &TableMeta) -> Arc<Table> {
        Arc::new(Table::new(meta.clone(), view::context(self.disk, dir)))
    }

    /// Each table that the manifest names is kept, fetched, salvaged or lost.
    fn examine_known(&mut self) -> Result<(), Error> {
        let known: Vec<_> = self.state.tables.values().cloned().collect();
        for (place, meta) in known {
            let number = meta.number;
            let table = self.table(self.dir, &meta);
            let problem = first_problem(&table);
            let Some(problem) = problem.or_else(|| self.values_problem(&meta)) else {
                self.report.tables_whole += 1;
                continue;
            };
            let needs_values = self.values_problem(&meta).is_some();
            if !needs_values && self.fetch(&meta)? {
                self.replace(number, Some((place, meta)));
                self.report.tables_fetched += 1;
                continue;
            }
            let salvaged = self.salvage(&table, &problem)?;
            match &salvaged {
                Some(_) => self.report.tables_salvaged += 1,
                None => self.report.tables_lost += 1,
            }
            self.replace(number, salvaged.map(|meta| (place, meta)));
        }
        Ok(())
    }

    /// The table of this number moves aside, and what was made in its place, if anything, takes it.
    fn replace(&mut self, number: u64, made: Option<(Place, TableMeta)>) {
        if self.is_there(&file_name(number)) {
            self.aside.push(file_name(number));
        }
        match made {
            Some(made) => {
                self.made.push(file_name(number));
                self.state.tables.insert(number, made);
            }
            None => drop(self.state.tables.remove(&number)),
        }
    }

    /// Why a table whose values lie in a file to be emptied has to be made anew.
    fn values_problem(&self, meta: &TableMeta) -> Option<Error> {
        let mut files = meta.blobs.iter().map(|(number, _)| number);
        let number = *files.find(|number| !self.state.blobs.contains_key(number))?;
        Some(Error::BlobMissing { number })
    }

    /// Gets the very same table from an earlier repair or a source; false when nobody has it whole.
    fn fetch(&self, meta: &TableMeta) -> Result<bool, Error> {
        let is_whole = |dir: &Path| first_problem(&self.table(dir, meta)).is_none();
        let (name, id) = (file_name(meta.number), FileId::of(meta));
        self.fetch_file(&name, meta.bytes, &is_whole, &|source| source.table(&id))
    }

    /// Gets a file into `repair/`; false when nobody has it whole.
    fn fetch_file(
        &self,
        name: &str,
        bytes: u64,
        is_whole: &dyn Fn(&Path) -> bool,
        ask: &dyn Fn(&dyn RepairSource) -> Twin,
    ) -> Result<bool, Error> {
        let made_dir = self.made_dir();
        if is_whole(&made_dir) {
            return Ok(true);
        }
        for source in self.sources {
            // A source that cannot be read is as good as none.
            let Ok(Some(twin)) = ask(*source) else { continue };
            let copied = self.copy_twin(&*twin, bytes, &made_dir.join(name))?;
            if copied && is_whole(&made_dir) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Copies what a source gives; false when it breaks off.
    fn copy_twin(&self, twin: &dyn DiskRead, bytes: u64, path: &Path) -> Result<bool, Error> {
        let mut out = self.disk.create(path).map_err(Error::io("create", path))?;
        let mut offset = 0;
        while offset < bytes {
            let len = (bytes - offset).min(PIECE_BYTES as u64);
            let mut piece = vec![0; len as usize];
            if twin.read_at(offset, &mut piece).is_err() {
                return Ok(false);
            }
            out.write(&piece).map_err(Error::io("write", path))?;
            offset += len;
        }
        out.sync().map_err(Error::io("sync", path))?;
        Ok(true)
    }

    /// Writes what is left of a table, and what a replica has of the rest, into a new one; none when that is nothing.
    fn salvage(&mut self, table: &Arc<Table>, problem: &Error) -> Result<Option<TableMeta>, Error> {
        let number = table.meta().number;
        let disk = Arc::clone(self.disk);
        let mut rescue = Rescue {
            writer: TableWriter::create(&*disk, &self.made_dir(), number)?,
            bad_values: &self.bad_values,
            is_empty: true,
            entries_salvaged: 0,
            entries_fetched: 0,
            lost: Vec::new(),
        };
        // Operands in other tables would be folded a second time into what a replica gives.
        let range = (table.meta().smallest.as_slice(), table.meta().largest.as_slice());
        let has_operands = self.state.tables.values().any(|(_, other)| {
            let apart = other.largest.as_slice() < range.0 || range.1 < other.smallest.as_slice();
            other.number != number && other.merges > 0 && !apart
        });
        let sources = if has_operands { &[] } else { self.sources };
        let (mark, keyspaces) = (self.state.mark, self.keyspaces);
        // What a table that cannot be opened deletes by range is lost with it: those keys come back.
        if let Ok(ranges) = table.ranges() {
            for range in ranges {
                rescue.writer.add_range(range.clone())?;
                rescue.is_empty = false;
            }
        }
        let holes = survey(table, |piece| match piece {
            Piece::Entry(key, entry) => match rescue.keep(key, entry)? {
                None => Ok(()),
                Some(problem) => {
                    let (from, to) = (split(key), split(key));
                    let (file, what) = (table.path(), problem.to_string());
                    let hole = LostRange { file, offset: 0, from, to, what };
                    rescue.fill(&hole, sources, mark, keyspaces)
                }
            },
            Piece::Hole(hole) => rescue.fill(hole, sources, mark, keyspaces),
        })?;
        if holes.is_empty() && rescue.lost.is_empty() {
            // All entries are there: the damage hit the filter, or what is said of the table.
            self.report.unreadable.push(renamed(problem));
        }
        let Rescue { writer, is_empty, entries_salvaged, entries_fetched, mut lost, .. } = rescue;
        self.report.entries_salvaged += entries_salvaged;
        self.report.entries_fetched += entries_fetched;
        self.report.lost.append(&mut lost);
        if is_empty {
            drop(writer);
            let path = self.made_dir().join(file_name(number));
            self.disk.remove(&path).map_err(Error::io("remove", &path))?;
            return Ok(None);
        }
        writer.finish().map(Some)
    }

    /// Tables that the manifest does not name: leftovers if it is whole, else perhaps what its lost part named.
    fn examine_unknown(&mut self) -> Result<(), Error> {
        let numbers: Vec<u64> =
            self.files.iter().filter_map(|(name, _)| file_number(name)).collect();
        for number in numbers {
            if self.state.tables.contains_key(&number) || self.aside.contains(&file_name(number)) {
                continue;
            }
            if self.report.manifest_problem.is_none() || self.removed.contains(&number) {
                self.aside.push(file_name(number));
                continue;
            }
            self.adopt(number)?;
        }
        Ok(())
    }

    fn adopt(&mut self, number: u64) -> Result<(), Error> {
        let context = view::context(self.disk, self.dir);
        let meta = match Table::describe(&context, number) {
            Ok(meta) => meta,
            Err(error) => {
                self.aside.push(file_name(number));
                self.report.unreadable.push(error);
                self.report.tables_lost += 1;
                return Ok(());
            }
        };
        let keyspace = split(&meta.largest).0;
        self.keyspaces = self.keyspaces.max(keyspace.saturating_add(1));
        let shares_keys = self
            .state
            .tables
            .values()
            .any(|(_, other)| other.smallest <= meta.largest && meta.smallest <= other.largest);
        self.report.order_guessed |= shares_keys;
        let table = self.table(self.dir, &meta);
        match first_problem(&table).or_else(|| self.values_problem(&meta)) {
            None => {
                self.report.tables_whole += 1;
                self.state.tables.insert(number, (Place::Level(0), meta));
            }
            Some(problem) => {
                let salvaged = self.salvage(&table, &problem)?;
                match &salvaged {
                    Some(_) => self.report.tables_salvaged += 1,
                    None => self.report.tables_lost += 1,
                }
                self.replace(number, salvaged.map(|meta| (Place::Level(0), meta)));
            }
        }
        Ok(())
    }

    /// Tables that cannot stand beside each other where the manifest had them go to level 0.
    fn place(&mut self) -> Result<(), Error> {
        let table = |(place, meta): &(Place, TableMeta)| (*place, self.table(self.dir, meta));
        if Version::new(self.state.tables.values().map(table), []).is_none() {
            self.report.order_guessed = true;
            for (place, _) in self.state.tables.values_mut() {
                *place = Place::Level(0);
            }
        }
        self.keyspaces = self.keyspaces.max(1);
        Ok(())
    }

    /// Names the new state, then moves files to where it says they are.
    fn commit(mut self) -> Result<RepairReport, Error> {
        let made_dir = self.made_dir();
        let dir = self.dir;
        self.forget_unused_values();
        self.disk.sync_dir(&made_dir).map_err(Error::io("sync folder", &made_dir))?;
        if !self.report.is_clean() {
            self.keep_manifest()?;
            self.state.edit += 1;
            manifest::write_whole(&**self.disk, dir, self.keyspaces, &self.state)?;
        }
        for name in std::mem::take(&mut self.aside) {
            self.move_aside(&name)?;
        }
        for name in std::mem::take(&mut self.made) {
            let (from, to) = (made_dir.join(&name), dir.join(&name));
            self.disk.rename(&from, &to).map_err(Error::io("rename", &from))?;
        }
        self.disk.sync_dir(dir).map_err(Error::io("sync folder", dir))?;
        self.report.mark = self.state.mark;
        Ok(self.report)
    }

    /// Value files that no table refers to move aside.
    fn forget_unused_values(&mut self) {
        let metas = self.state.tables.values().map(|(_, meta)| meta);
        let used: BTreeSet<u64> =
            metas.flat_map(|meta| &meta.blobs).map(|(number, _)| *number).collect();
        for number in self.state.blobs.keys().filter(|number| !used.contains(number)) {
            let name = blob::file_name(*number);
            if self.files.iter().any(|(there, _)| *there == name) && !self.aside.contains(&name) {
                self.aside.push(name);
            }
        }
        self.state.blobs.retain(|number, _| used.contains(number));
    }

    /// A copy of the old manifest goes to `lost/`: the old one itself stays until the new one takes its name.
    fn keep_manifest(&mut self) -> Result<(), Error> {
        let file = self.dir.join(manifest::FILE_NAME);
        let Ok(bytes) = read_all(&**self.disk, &file, manifest::FILE_BYTES_MAX) else {
            return Ok(());
        };
        let to = self.lost_path(manifest::FILE_NAME)?;
        write_whole(&**self.disk, &to, &bytes)?;
        self.report.moved.push(to);
        Ok(())
    }

    fn move_aside(&mut self, name: &str) -> Result<(), Error> {
        let (from, to) = (self.dir.join(name), self.lost_path(name)?);
        self.disk.rename(&from, &to).map_err(Error::io("move aside", &from))?;
        let lost = self.dir.join(LOST_DIR);
        self.disk.sync_dir(&lost).map_err(Error::io("sync folder", &lost))?;
        self.report.moved.push(to);
        Ok(())
    }

    /// A free name in `lost/`.
    fn lost_path(&self, name: &str) -> Result<PathBuf, Error> {
        let lost = self.dir.join(LOST_DIR);
        self.disk.create_dir(&lost).map_err(Error::io("create", &lost))?;
        let there = self.disk.list(&lost).map_err(Error::io("list", &lost))?;
        let is_free = |name: &String| !there.iter().any(|(other, _)| other == name);
        let mut names = std::iter::once(name.to_owned())
            .chain((1..=there.len() + 1).map(|copy| format!("{name}.{copy}")));
        let free = names.find(is_free);
        Ok(lost.join(free.unwrap_or_else(|| unreachable!("one more name than files"))))
    }
}

/// An error once more, for another list.
fn renamed(error: &Error) -> Error {
    let file = error.file().unwrap_or(Path::new("")).to_path_buf();
    Error::Salvaged { file, what: error.to_string() }
}

/// A table made of what is left of another.
struct Rescue<'a> {
    writer: TableWriter,
    bad_values: &'a BTreeMap<u64, BlobFile>,
    is_empty: bool,
    entries_salvaged: u64,
    entries_fetched: u64,
    lost: Vec<LostRange>,
}

impl Rescue<'_> {
    /// Takes an entry over. A value that lies in a file to be emptied comes into the table; says why when it cannot
    /// be read there.
    fn keep(&mut self, key: &[u8], entry: Entry<'_>) -> Result<Option<Error>, Error> {
        let mut value = None;
        if let Entry::Blob { at, .. } = entry
            && let Some(file) = self.bad_values.get(&at.file)
        {
            match file.get(&at, key) {
                Ok(read) => value = Some(read),
                Err(problem) => return Ok(Some(problem)),
            }
        }
        self.is_empty = false;
        self.entries_salvaged += 1;
        let entry = match &value {
            Some(value) => Entry::Put { value, expires: entry.expires() },
            None => entry,
        };
        self.writer.add(key, entry)?;
        Ok(None)
    }

    /// Fills a hole from the first source that knows all of it, or counts it as lost.
    fn fill(
        &mut self,
        hole: &LostRange,
        sources: &[&dyn RepairSource],
        mark: u64,
        keyspaces: u8,
    ) -> Result<(), Error> {
        let Some(entries) = sources.iter().find_map(|source| ask(*source, hole, mark, keyspaces))
        else {
            self.lost.push(hole.clone());
            return Ok(());
        };
        // What the replica no longer has must not come back from older tables.
        let (from, to) = (join(&hole.from), past(&join(&hole.to)));
        self.writer.add_range(RangeTombstone { from, to })?;
        self.is_empty = false;
        for (keyspace, entry) in entries {
            let expires = entry.expires_s.map_or(Expires::NEVER, Expires);
            let key = crate::table::internal_key(keyspace, &entry.key);
            self.writer.add(&key, Entry::Put { value: &entry.value, expires })?;
            self.entries_fetched += 1;
        }
        Ok(())
    }
}

/// All that a source has in a hole, keyspace by keyspace; none when it does not know, or answers nonsense.
fn ask(
    source: &dyn RepairSource,
    hole: &LostRange,
    mark: u64,
    keyspaces: u8,
) -> Option<Vec<(u8, SourceEntry)>> {
    let last = hole.to.0.min(keyspaces.saturating_sub(1));
    let mut all = Vec::new();
    for keyspace in hole.from.0..=last {
        let from = if keyspace == hole.from.0 { hole.from.1.clone() } else { Vec::new() };
        let whole = || vec![u8::MAX; KEY_BYTES_MAX];
        let to = if keyspace == hole.to.0 { hole.to.1.clone() } else { whole() };
        let entries = source.range(mark, keyspace, &from, &to).ok()??;
        let inside = entries.iter().all(|entry| from <= entry.key && entry.key <= to);
        if !inside || !entries.is_sorted_by(|a, b| a.key < b.key) {
            return None;
        }
        all.extend(entries.into_iter().map(|entry| (keyspace, entry)));
    }
    Some(all)
}
