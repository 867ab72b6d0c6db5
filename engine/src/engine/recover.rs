//! What a start finds: the manifest, and what unfinished work has left behind.
//!
//! Invariants: nothing is changed in a store that is opened for something it is not, or that lacks a file; the number
//! of a file that was removed is given to no other.

use crate::disk::Disk;
use crate::error::Error;
use crate::manifest::{self, Manifest};
use crate::options::Options;
use crate::table::is_loose_name;
use crate::verify::find_missing;
use std::path::Path;
use std::sync::Arc;

/// Reads the manifest or begins one, and removes what unfinished work has left behind.
pub(super) fn open_manifest(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    options: &Options,
) -> Result<Manifest, Error> {
    let keyspaces = options.keyspaces;
    let files = disk.list(dir).map_err(Error::io("list", dir))?;
    let is_there = |wanted: &str| files.iter().any(|(name, _)| name == wanted);
    let mut manifest = if is_there(manifest::FILE_NAME) {
        let mut recovered = Manifest::read(&**disk, dir)?;
        if recovered.keyspaces > keyspaces {
            let (dir, stored) = (dir.to_path_buf(), recovered.keyspaces);
            return Err(Error::KeyspacesTooFew { dir, stored, asked: keyspaces });
        }
        // Nothing is changed in a store that is opened for something it is not.
        recovered.state.adopt(options, dir)?;
        find_missing(&recovered.state, dir, &files)?;
        remove_leftovers(&**disk, dir, &files, &mut recovered.state)?;
        Manifest::resume(Arc::clone(disk), dir, recovered, keyspaces)?
    } else {
        if files.iter().any(|(name, _)| manifest::number_of(name).is_some()) {
            let (file, what) = (dir.join(manifest::FILE_NAME), "tables, but no manifest");
            return Err(Error::ManifestCorruption { file, offset: 0, what });
        }
        Manifest::create(Arc::clone(disk), dir, keyspaces)?
    };
    let edit = manifest.state().adopt(options, dir)?;
    if !edit.uses.is_empty() {
        manifest.commit(edit)?;
    }
    Ok(manifest)
}

fn remove_leftovers(
    disk: &dyn Disk,
    dir: &Path,
    files: &[(String, u64)],
    state: &mut manifest::State,
) -> Result<(), Error> {
    for (name, _) in files {
        let number = manifest::number_of(name);
        let is_named = number.is_some_and(|number| state.names(number));
        let is_temporary = name == manifest::TEMPORARY_NAME || is_loose_name(name);
        if is_named || (number.is_none() && !is_temporary) {
            continue;
        }
        let file = dir.join(name);
        disk.remove(&file).map_err(Error::io("remove", &file))?;
        // The removal may not survive a crash: never give its number to another file.
        let next = number.map_or(0, |number| number.saturating_add(1));
        state.next_file = state.next_file.max(next);
    }
    Ok(())
}
