//! Reads every block of every table and every record of every blob file and checks it, for the operator and for tests.

use crate::blob::BlobFile;
use crate::disk::{Disk, RealDisk};
use crate::error::Error;
use crate::manifest::{Manifest, State};
use crate::table::cache::BlockCache;
use crate::table::{Table, TableContext};
use crate::trash::Trash;
use crate::version::Version;
use std::path::Path;
use std::sync::Arc;

/// What [`verify`] found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Up to which mark the store is complete.
    pub mark: u64,
    /// Tables read.
    pub tables: u64,
    /// Data blocks read and found whole.
    pub blocks: u64,
    /// Entries in whole blocks.
    pub entries: u64,
    /// Blob files read.
    pub blob_files: u64,
    /// Values in them, found whole.
    pub blobs: u64,
    /// Bytes of all tables and blob files.
    pub bytes: u64,
    /// What is damaged: a finding for each damaged block, with the keys that it may hold. Empty when all
    /// is well.
    pub problems: Vec<Error>,
}

/// Checks a store that is not being written to. Damaged tables are listed in the report.
///
/// # Errors
/// When the manifest is damaged, missing or cannot be read.
pub fn verify(dir: &Path) -> Result<VerifyReport, Error> {
    verify_on(Arc::new(RealDisk), dir)
}

/// As [`verify`], on a given disk.
///
/// # Errors
/// When the manifest is damaged, missing or cannot be read.
pub fn verify_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<VerifyReport, Error> {
    let recovered = Manifest::read(&*disk, dir)?;
    let cache = Arc::new(BlockCache::new(0));
    let trash = Arc::new(Trash::default());
    let context = Arc::new(TableContext { disk, dir: dir.to_path_buf(), cache, trash });
    let mut report = VerifyReport { mark: recovered.state.mark, ..VerifyReport::default() };
    let mut tables = Vec::new();
    for (level, meta) in recovered.state.tables.into_values() {
        report.tables += 1;
        report.bytes += meta.bytes;
        let table = Arc::new(Table::new(meta, Arc::clone(&context)));
        let check = table.check();
        report.blocks += check.blocks;
        report.entries += check.entries;
        report.problems.extend(check.problems);
        tables.push((level, table));
    }
    for meta in recovered.state.blobs.into_values() {
        let (values, problems) = BlobFile::new(meta, Arc::clone(&context)).check();
        report.blob_files += 1;
        report.blobs += values;
        report.bytes += meta.bytes;
        report.problems.extend(problems);
    }
    if Version::new(tables, []).is_none() {
        let file = dir.join(crate::manifest::FILE_NAME);
        let what = "tables of one level overlap";
        report.problems.push(Error::ManifestCorruption { file, offset: 0, what });
    }
    Ok(report)
}

/// The files that the manifest names and the folder lacks are found before anything is served.
pub(crate) fn find_missing(
    state: &State,
    dir: &Path,
    files: &[(String, u64)],
) -> Result<(), Error> {
    let there: std::collections::BTreeSet<&str> =
        files.iter().map(|(name, _)| name.as_str()).collect();
    match state.file_names().into_iter().find(|name| !there.contains(name.as_str())) {
        Some(name) => Err(Error::TableMissing { file: dir.join(name) }),
        None => Ok(()),
    }
}
