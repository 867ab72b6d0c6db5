//! Shows what is in a closed store: its keys and values as a reader sees them, or the raw entries of its files.
//!
//! Invariants: nothing is written; what is shown was checked; a limit bounds every listing.

use super::survey::{Piece, ShownKey, split, survey};
use super::view::{View, context, describe_values};
use crate::blob::{self, BlobFile};
use crate::disk::Disk;
use crate::entry::{Entry, Expires};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::options::Options;
use crate::table::Table;
use crate::version::Place;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// How bytes are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DumpFormat {
    /// As text where it is text, hexadecimal otherwise.
    #[default]
    Auto,
    /// Hexadecimal.
    Hex,
    /// As text, with escapes for what is none.
    Text,
}

/// What [`dump`] shows.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    /// One keyspace; without it, all.
    pub keyspace: Option<u8>,
    /// The first key.
    pub from: Vec<u8>,
    /// The first key that is not shown any more.
    pub to: Option<Vec<u8>>,
    /// The most entries.
    pub limit: u64,
    /// Leave the values out.
    pub keys_only: bool,
    /// How bytes are shown.
    pub format: DumpFormat,
    /// Names of keyspaces, as the caller calls them.
    pub names: BTreeMap<u8, String>,
}

impl Default for DumpOptions {
    fn default() -> Self {
        DumpOptions {
            keyspace: None,
            from: Vec::new(),
            to: None,
            limit: u64::MAX,
            keys_only: false,
            format: DumpFormat::default(),
            names: BTreeMap::new(),
        }
    }
}

/// Bytes in the form asked for.
struct Shown<'a>(&'a [u8], DumpFormat);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            DumpFormat::Auto => ShownKey(self.0).fmt(f),
            DumpFormat::Text => write!(f, "\"{}\"", self.0.escape_ascii()),
            DumpFormat::Hex => {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// Where lines go, and how many more may.
struct Lines<'a> {
    out: &'a mut dyn Write,
    left: u64,
    written: u64,
}

impl Lines<'_> {
    fn line(&mut self, line: &dyn fmt::Display) -> Result<(), Error> {
        writeln!(self.out, "{line}").map_err(Error::io("write to", Path::new("the output")))
    }

    /// Writes one entry; false when the limit is reached.
    fn entry(&mut self, line: &dyn fmt::Display) -> Result<bool, Error> {
        if self.left == 0 {
            return Ok(false);
        }
        self.line(line)?;
        self.left -= 1;
        self.written += 1;
        Ok(true)
    }
}

/// Shows keys and values as a reader of the store sees them, one a line. `store` says what its keyspaces are for, as
/// it is used with. Returns how many were shown.
///
/// # Errors
/// When the manifest is damaged, a damaged block is met, or `out` takes no more.
pub fn dump(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    store: &Options,
    options: &DumpOptions,
    out: &mut dyn Write,
) -> Result<u64, Error> {
    let view = View::open(disk, dir)?;
    let snapshot = view.snapshot(store)?;
    let mut lines = Lines { out, left: options.limit, written: 0 };
    let keyspaces = (0..view.keyspaces).filter(|ks| options.keyspace.is_none_or(|one| one == *ks));
    for keyspace in keyspaces {
        let name = options.names.get(&keyspace).cloned().unwrap_or_else(|| keyspace.to_string());
        for entry in snapshot.range(keyspace, &options.from, options.to.as_deref()) {
            let (key, value) = entry?;
            let key = Shown(&key, options.format);
            let shown = if options.keys_only {
                lines.entry(&format_args!("{name} {key}"))?
            } else {
                lines.entry(&format_args!("{name} {key} = {}", Shown(&value, options.format)))?
            };
            if !shown {
                return Ok(lines.written);
            }
        }
    }
    Ok(lines.written)
}

/// Shows the entries of one table as they are in the file, range tombstones first; round what is damaged, which is
/// shown too. Returns how many entries were shown.
///
/// # Errors
/// When the manifest is damaged and the table cannot be described without it, or `out` takes no more.
pub fn dump_table(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    number: u64,
    format: DumpFormat,
    limit: u64,
    out: &mut dyn Write,
) -> Result<u64, Error> {
    let context = context(disk, dir);
    let named = Manifest::read(&**disk, dir).ok();
    let named = named.and_then(|mut read| read.state.tables.remove(&number));
    let meta = match named {
        Some((_, meta)) => meta,
        None => Table::describe(&context, number)?,
    };
    let table = Arc::new(Table::new(meta, context));
    let meta = table.meta();
    let mut lines = Lines { out, left: limit, written: 0 };
    lines.line(&format_args!(
        "table {number}: {} bytes, {} entries, {} tombstones, {} merges, {} ranges, footer {:08x}",
        meta.bytes, meta.entries, meta.tombstones, meta.merges, meta.ranges, meta.footer_crc
    ))?;
    for range in table.ranges().unwrap_or_default() {
        let ((from_ks, from), (to_ks, to)) = (split(&range.from), split(&range.to));
        let (from, to) = (Shown(&from, format), Shown(&to, format));
        lines.line(&format_args!("delete from {from_ks} {from} to before {to_ks} {to}"))?;
    }
    survey(&table, |piece| match piece {
        Piece::Entry(internal, entry) => {
            let (keyspace, key) = split(internal);
            let (key, entry) = (Shown(&key, format), ShownEntry(entry, format));
            lines.entry(&format_args!("{keyspace} {key} {entry}")).map(drop)
        }
        Piece::Hole(hole) => lines.line(&format_args!("DAMAGED {hole}: {}", hole.what)),
    })?;
    Ok(lines.written)
}

struct ShownEntry<'a>(Entry<'a>, DumpFormat);

impl fmt::Display for ShownEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = |f: &mut fmt::Formatter<'_>, expires: Expires| match expires {
            Expires::NEVER => Ok(()),
            Expires(second) => write!(f, " until {second}"),
        };
        match self.0 {
            Entry::Put { value, expires } => {
                write!(f, "put {}", Shown(value, self.1))?;
                until(f, expires)
            }
            Entry::Blob { at, expires } => {
                write!(f, "blob {} bytes in file {} at {}", at.len, at.file, at.offset)?;
                until(f, expires)
            }
            Entry::Tombstone => f.write_str("delete"),
            Entry::Merge { operand } => write!(f, "merge {}", Shown(operand, self.1)),
        }
    }
}

/// Shows the values of one value file in the order of the file, up to the first that cannot be told from the next.
/// Returns how many were shown.
///
/// # Errors
/// When the manifest does not name the file and it does not describe itself, or `out` takes no more.
pub fn dump_values(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    number: u64,
    format: DumpFormat,
    limit: u64,
    out: &mut dyn Write,
) -> Result<u64, Error> {
    let named = Manifest::read(&**disk, dir).ok();
    let meta = named.and_then(|read| read.state.blobs.get(&number).copied());
    let path = dir.join(blob::file_name(number));
    let described = || {
        let bytes = disk.open(&path).and_then(|file| file.len_bytes());
        let bytes = bytes.map_err(Error::io("open", &path))?;
        let meta = describe_values(&**disk, dir, number, bytes);
        meta.ok_or(Error::BlobMissing { number })
    };
    let meta = meta.map_or_else(described, Ok)?;
    let mut lines = Lines { out, left: limit, written: 0 };
    let (bytes, records) = (meta.bytes, meta.records);
    lines.line(&format_args!("values {number}: {bytes} bytes, {records} values"))?;
    let file = BlobFile::new(meta, context(disk, dir));
    let (mut scan, mut value) = (file.scan(), Vec::new());
    loop {
        let shown = match scan.next() {
            Ok(None) => return Ok(lines.written),
            Ok(Some((at, record))) => {
                let (keyspace, key) = split(record.key);
                let (offset, key) = (at.offset, Shown(&key, format));
                match record.value_into(&mut value) {
                    Ok(()) => {
                        let value = Shown(&value, format);
                        lines.entry(&format_args!("{offset} {keyspace} {key} = {value}"))?
                    }
                    Err(what) => {
                        lines.entry(&format_args!("{offset} {keyspace} {key} DAMAGED {what}"))?
                    }
                }
            }
            Err(error) => {
                lines.line(&format_args!("DAMAGED {error}"))?;
                return Ok(lines.written);
            }
        };
        if !shown {
            return Ok(lines.written);
        }
    }
}

/// Shows what the manifest says: the state of the store and a line for each file.
///
/// # Errors
/// When the manifest is missing or damaged, or `out` takes no more.
pub fn dump_manifest(disk: &Arc<dyn Disk>, dir: &Path, out: &mut dyn Write) -> Result<(), Error> {
    let read = Manifest::read(&**disk, dir)?;
    let (state, keyspaces) = (&read.state, read.keyspaces);
    let mut lines = Lines { out, left: u64::MAX, written: 0 };
    let torn = if read.torn { ", its last edit torn off" } else { "" };
    lines.line(&format_args!(
        "version {}, edit {}, mark {}, clock {}, next file {}, {keyspaces} keyspaces{torn}",
        read.version, state.edit, state.mark, state.clock_s, state.next_file
    ))?;
    for (keyspace, used) in &state.uses {
        lines.line(&format_args!("keyspace {keyspace}: {used}"))?;
    }
    for (number, (place, meta)) in &state.tables {
        let place = ShownPlace(*place);
        let ((from_ks, from), (to_ks, to)) = (split(&meta.smallest), split(&meta.largest));
        let (from, to) = (ShownKey(&from), ShownKey(&to));
        lines.line(&format_args!(
            "table {number} {place}: {} bytes, {} entries, {from_ks} {from} to {to_ks} {to}",
            meta.bytes, meta.entries
        ))?;
    }
    for (number, blob) in &state.blobs {
        let (bytes, records) = (blob.bytes, blob.records);
        lines.line(&format_args!("blob file {number}: {bytes} bytes, {records} values"))?;
    }
    Ok(())
}

struct ShownPlace(Place);

impl fmt::Display for ShownPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Place::Level(level) => write!(f, "level {level}"),
            Place::Window { keyspace, window, rank } => {
                write!(f, "keyspace {keyspace} window {window} rank {rank}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_the_form_asked_for() {
        let show = |bytes: &[u8], format| Shown(bytes, format).to_string();
        assert_eq!(show(b"station-1", DumpFormat::Auto), "\"station-1\"");
        assert_eq!(show(b"a b", DumpFormat::Auto), "0x612062");
        assert_eq!(show(b"", DumpFormat::Auto), "0x");
        assert_eq!(show(b"a\n\xff", DumpFormat::Text), "\"a\\n\\xff\"");
        assert_eq!(show(b"az", DumpFormat::Hex), "0x617a");
    }
}
