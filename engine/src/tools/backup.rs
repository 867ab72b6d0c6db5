//! Backups: several in one target folder, each whole by itself, sharing the files that never change.
//! The bytes are those of `docs/formats/backup.md`.
//!
//! Invariants: a table is saved only after all its blocks were checked; a backup is listed only when all it
//! needs is durable and was read back; no object goes while a catalogue that is left may name it.

use super::catalogue::{self, Catalogue, SavedFile, SavedSource, SourceKind, is_source_name};
use super::copy::{copy, part_name, sum, sync_parent, tail, write_whole};
use super::tree::BackupSource;
use super::view::{StoreFile, View, lock};
use crate::disk::{Disk, DiskLock, read_all};
use crate::error::Error;
use crate::manifest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CATALOGUES: &str = "backups";
const FILES: &str = "files";
/// What locks a folder is no part of it.
const LOCK: &str = "LOCK";

/// One backup of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// Its number in the target.
    pub id: u64,
    /// When it was made, in seconds since 1970, by the clock of whoever made it.
    pub created_s: u64,
    /// Files in it.
    pub files: u64,
    /// Their bytes, shared ones included.
    pub bytes: u64,
    /// Name and mark of each store in it.
    pub marks: Vec<(String, u64)>,
}

/// What making a backup took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// The backup.
    pub info: BackupInfo,
    /// Files that the target lacked.
    pub files_copied: u64,
    /// Their bytes.
    pub bytes_copied: u64,
}

/// What [`BackupTarget::verify`] and [`BackupTarget::restore`] went through.
#[derive(Debug, Default)]
pub struct BackupCheck {
    /// Files read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is damaged or missing. Empty when all is well.
    pub problems: Vec<Error>,
}

/// A folder of backups. Nobody else changes it meanwhile.
pub struct BackupTarget {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    _lock: Box<dyn DiskLock>,
}

impl std::fmt::Debug for BackupTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupTarget").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A catalogue, or why it cannot be used.
type Listed = Result<Catalogue, Error>;

impl BackupTarget {
    /// Opens the target, making it if it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made, or somebody else is at work in it.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<BackupTarget, Error> {
        for dir in [dir.to_path_buf(), dir.join(CATALOGUES), dir.join(FILES)] {
            disk.create_dir(&dir).map_err(Error::io("create", &dir))?;
        }
        let lock = lock(&*disk, dir)?;
        Ok(BackupTarget { disk, dir: dir.to_path_buf(), _lock: lock })
    }

    fn catalogue_path(&self, id: u64) -> PathBuf {
        self.dir.join(CATALOGUES).join(catalogue::file_name(id))
    }

    fn object_path(&self, source: &str, object: &str) -> PathBuf {
        assert!(is_source_name(source) && catalogue::is_file_name(object));
        self.dir.join(FILES).join(source).join(object)
    }

    /// Every catalogue, oldest first.
    fn catalogues(&self) -> Result<BTreeMap<u64, Listed>, Error> {
        let dir = self.dir.join(CATALOGUES);
        let names = self.disk.list(&dir).map_err(Error::io("list", &dir))?;
        let ids = names.iter().filter_map(|(name, _)| catalogue::file_id(name));
        Ok(ids.map(|id| (id, self.read(id))).collect())
    }

    fn read(&self, id: u64) -> Listed {
        let file = self.catalogue_path(id);
        let bytes = read_all(&*self.disk, &file, catalogue::BYTES_MAX);
        let bytes = bytes.map_err(Error::io("read", &file))?;
        let damage = |what| Error::BackupCorruption { file: file.clone(), what };
        let catalogue = Catalogue::decode(&bytes).map_err(damage)?;
        if catalogue.id == id { Ok(catalogue) } else { Err(damage("is of another backup")) }
    }

    /// The backup `id`, or the newest.
    fn pick(&self, id: Option<u64>) -> Result<Catalogue, Error> {
        let mut catalogues = self.catalogues()?;
        let found = match id {
            Some(id) => catalogues.remove(&id),
            None => catalogues.pop_last().map(|(_, newest)| newest),
        };
        found.unwrap_or_else(|| Err(Error::BackupUnknown { dir: self.dir.clone(), id }))
    }

    /// The backups there are, oldest first; in place of a damaged one, what is wrong with it.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Result<BackupInfo, Error>>, Error> {
        Ok(self
            .catalogues()?
            .into_values()
            .map(|listed| listed.map(|found| info(&found)))
            .collect())
    }

    /// Makes a backup of `sources`, which nobody may have open. `created_s` is the time by the caller's clock.
    ///
    /// # Errors
    /// When a source is open elsewhere, missing or damaged, or the target cannot be written. Then no backup is
    /// made, and what was copied already is used by the next.
    pub fn backup(&self, sources: &[BackupSource], created_s: u64) -> Result<BackupReport, Error> {
        let catalogues = self.catalogues()?;
        let id = catalogues.last_key_value().map_or(1, |(last, _)| last + 1);
        let known = Known::of(catalogues.into_values().filter_map(Result::ok));
        let mut run = Run { target: self, known, id, files_copied: 0, bytes_copied: 0 };
        let mut names = BTreeSet::new();
        let mut saved = Vec::new();
        for source in sources {
            if !is_source_name(&source.name) || !names.insert(&source.name) {
                return Err(Error::NameInvalid { name: source.name.clone() });
            }
            saved.push(run.save(source)?);
        }
        let catalogue = Catalogue { id, created_s, sources: saved };
        let bytes = catalogue.encode();
        let file = self.catalogue_path(id);
        if bytes.len() as u64 > catalogue::BYTES_MAX {
            return Err(Error::BackupCorruption {
                file,
                what: "more files than a catalogue takes",
            });
        }
        write_whole(&*self.disk, &file, &bytes)?;
        let (files_copied, bytes_copied) = (run.files_copied, run.bytes_copied);
        Ok(BackupReport { info: info(&catalogue), files_copied, bytes_copied })
    }

    /// Keeps the newest `keep` backups, at least one, and removes the others with all that only they need.
    /// Returns how many backups were removed.
    ///
    /// # Errors
    /// When a file cannot be removed, or a remaining catalogue is damaged: then no file that
    /// it may need is removed.
    pub fn keep_newest(&self, keep: usize) -> Result<u64, Error> {
        let mut catalogues = self.catalogues()?;
        let mut removed = 0;
        while catalogues.len() > keep.max(1) {
            let Some((id, _)) = catalogues.pop_first() else { break };
            let file = self.catalogue_path(id);
            self.disk.remove(&file).map_err(Error::io("remove", &file))?;
            removed += 1;
        }
        let dir = self.dir.join(CATALOGUES);
        self.disk.sync_dir(&dir).map_err(Error::io("sync folder", &dir))?;
        let kept = catalogues.into_values().collect::<Result<Vec<_>, _>>()?;
        self.remove_unused(&kept)?;
        Ok(removed)
    }

    fn remove_unused(&self, kept: &[Catalogue]) -> Result<(), Error> {
        let mut used: BTreeSet<PathBuf> = BTreeSet::new();
        for source in kept.iter().flat_map(|catalogue| &catalogue.sources) {
            let objects = source.files.iter().map(|file| &file.object);
            used.extend(objects.map(|object| self.object_path(&source.name, object)));
        }
        let mut dirs = vec![self.dir.join(FILES)];
        while let Some(dir) = dirs.pop() {
            for (name, _) in self.disk.list(&dir).map_err(Error::io("list", &dir))? {
                let file = dir.join(name);
                if !used.contains(&file) {
                    self.disk.remove(&file).map_err(Error::io("remove", &file))?;
                }
            }
            let below = self.disk.list_dirs(&dir).map_err(Error::io("list", &dir))?;
            dirs.extend(below.into_iter().map(|name| dir.join(name)));
        }
        Ok(())
    }

    /// Reads every file of a backup, the newest if none is named.
    ///
    /// # Errors
    /// When there is no such backup or its catalogue is damaged.
    pub fn verify(&self, id: Option<u64>) -> Result<BackupCheck, Error> {
        let catalogue = self.pick(id)?;
        let mut check = BackupCheck::default();
        for source in &catalogue.sources {
            for file in &source.files {
                check.files += 1;
                check.bytes += file.bytes;
                let object = self.object_path(&source.name, &file.object);
                let found = sum(&*self.disk, &object);
                let found = found.and_then(|sum| matches(&object, sum.bytes, sum.crc, file));
                check.problems.extend(found.err());
            }
        }
        Ok(check)
    }

    /// Writes a backup, the newest if none is named, into `dir`, where its sources must not be yet. What is
    /// damaged is left out and named; a store that lacks a file then does not get a manifest.
    ///
    /// # Errors
    /// When there is no such backup, `dir` holds something, or cannot be written.
    pub fn restore(&self, id: Option<u64>, dir: &Path) -> Result<BackupCheck, Error> {
        let catalogue = self.pick(id)?;
        let mut check = BackupCheck::default();
        for source in &catalogue.sources {
            let dir = dir.join(&source.name);
            self.disk.create_dir(&dir).map_err(Error::io("create", &dir))?;
            let there = self.disk.list(&dir).map_err(Error::io("list", &dir))?;
            if there.iter().any(|(name, _)| name != LOCK) {
                return Err(Error::NotEmpty { dir });
            }
        }
        for source in &catalogue.sources {
            self.restore_source(source, &dir.join(&source.name), &mut check)?;
        }
        Ok(check)
    }

    fn restore_source(
        &self,
        source: &SavedSource,
        dir: &Path,
        check: &mut BackupCheck,
    ) -> Result<(), Error> {
        let is_last =
            |file: &SavedFile| source.kind == SourceKind::Store && file.name == manifest::FILE_NAME;
        let problems_before = check.problems.len();
        let (last, first): (Vec<_>, Vec<_>) = source.files.iter().partition(|file| is_last(file));
        for file in first.into_iter().chain(last) {
            if is_last(file) {
                self.disk.sync_dir(dir).map_err(Error::io("sync folder", dir))?;
                if check.problems.len() > problems_before {
                    continue;
                }
            }
            let object = self.object_path(&source.name, &file.object);
            let to = dir.join(&file.name);
            check.files += 1;
            check.bytes += file.bytes;
            match self.restore_file(&object, &to, file) {
                Ok(()) => {}
                // Room and permission of the folder restored to are for the caller to mend.
                Err(error) if !error.names_below(&self.dir) => return Err(error),
                Err(error) => check.problems.push(error),
            }
        }
        self.disk.sync_dir(dir).map_err(Error::io("sync folder", dir))
    }

    fn restore_file(&self, object: &Path, to: &Path, file: &SavedFile) -> Result<(), Error> {
        let part = part_name(to);
        let copied = copy(&*self.disk, object, &part)?;
        if let Err(error) = matches(object, copied.bytes, copied.crc, file) {
            self.disk.remove(&part).map_err(Error::io("remove", &part))?;
            return Err(error);
        }
        self.disk.rename(&part, to).map_err(Error::io("rename", &part))
    }
}

/// Compares an object with what the catalogue says of it.
fn matches(object: &Path, bytes: u64, crc: u32, file: &SavedFile) -> Result<(), Error> {
    let damage = |what| Error::BackupCorruption { file: object.to_path_buf(), what };
    if bytes != file.bytes {
        return Err(damage("file of a wrong length"));
    }
    if crc != file.crc {
        return Err(damage("checksum does not match"));
    }
    Ok(())
}

fn info(catalogue: &Catalogue) -> BackupInfo {
    let files = || catalogue.sources.iter().flat_map(|source| &source.files);
    let stores = catalogue.sources.iter().filter(|source| source.kind == SourceKind::Store);
    BackupInfo {
        id: catalogue.id,
        created_s: catalogue.created_s,
        files: files().count() as u64,
        bytes: files().map(|file| file.bytes).sum(),
        marks: stores.map(|source| (source.name.clone(), source.mark)).collect(),
    }
}

/// The immutable files that the target has, by source and object.
struct Known {
    files: BTreeMap<(String, String), SavedFile>,
}

impl Known {
    fn of(catalogues: impl Iterator<Item = Catalogue>) -> Known {
        let mut files = BTreeMap::new();
        for source in catalogues.flat_map(|catalogue| catalogue.sources) {
            for file in source.files {
                files.insert((source.name.clone(), file.object.clone()), file);
            }
        }
        Known { files }
    }
}

/// A backup in the making.
struct Run<'a> {
    target: &'a BackupTarget,
    known: Known,
    id: u64,
    files_copied: u64,
    bytes_copied: u64,
}

impl Run<'_> {
    fn save(&mut self, source: &BackupSource) -> Result<SavedSource, Error> {
        let disk = &self.target.disk;
        let to = self.target.dir.join(FILES).join(&source.name);
        disk.create_dir(&to).map_err(Error::io("create", &to))?;
        let (mut mark, mut files) = (0, Vec::new());
        match source.kind {
            SourceKind::Store => {
                let _lock = lock(&**disk, &source.dir)?;
                let view = View::open(disk, &source.dir)?;
                mark = view.mark;
                for file in view.files() {
                    files.push(self.save_store_file(source, &file)?);
                }
            }
            SourceKind::Files => {
                let mut names = disk.list(&source.dir).map_err(Error::io("list", &source.dir))?;
                names.sort();
                let is_skipped = |name: &String| name == LOCK || source.skip.contains(name);
                for (name, _) in names.iter().filter(|(name, _)| !is_skipped(name)) {
                    if !catalogue::is_file_name(name) {
                        return Err(Error::NameInvalid { name: name.clone() });
                    }
                    let object = format!("{name}-b{:x}", self.id);
                    files.push(self.copy(source, name, object)?);
                }
            }
        }
        disk.sync_dir(&to).map_err(Error::io("sync folder", &to))?;
        Ok(SavedSource { name: source.name.clone(), kind: source.kind, mark, files })
    }

    fn save_store_file(
        &mut self,
        source: &BackupSource,
        file: &StoreFile,
    ) -> Result<SavedFile, Error> {
        if !file.is_immutable() {
            return self.copy(source, &file.name, format!("{}-b{:x}", file.name, self.id));
        }
        let path = source.dir.join(&file.name);
        let tail = tail(&*self.target.disk, &path)?;
        let object = format!("{}-{:x}-{:08x}", file.name, tail.bytes, tail.crc);
        if let Some(known) = self.known.files.get(&(source.name.clone(), object.clone())) {
            let there = self.target.object_path(&source.name, &object);
            let same = known.bytes == tail.bytes && known.tail_crc == tail.crc;
            // What went missing in the target is copied anew; what rotted there, `verify` finds.
            if same && length(&*self.target.disk, &there) == Some(known.bytes) {
                return Ok(known.clone());
            }
        }
        file.check()?;
        self.copy(source, &file.name, object)
    }

    fn copy(
        &mut self,
        source: &BackupSource,
        name: &str,
        object: String,
    ) -> Result<SavedFile, Error> {
        let disk = &*self.target.disk;
        let from = source.dir.join(name);
        let to = self.target.object_path(&source.name, &object);
        let copied = copy(disk, &from, &to)?;
        sync_parent(disk, &to)?;
        if sum(disk, &to)? != copied {
            let what = "does not read back as it was written";
            return Err(Error::BackupCorruption { file: to, what });
        }
        self.files_copied += 1;
        self.bytes_copied += copied.bytes;
        let tail_crc = tail(disk, &to)?.crc;
        let (bytes, crc) = (copied.bytes, copied.crc);
        Ok(SavedFile { name: name.to_owned(), bytes, crc, tail_crc, object })
    }
}

/// The length of a file; none when it is not there.
fn length(disk: &dyn Disk, path: &Path) -> Option<u64> {
    disk.open(path).and_then(|file| file.len_bytes()).ok()
}
