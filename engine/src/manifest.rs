//! The file that says which tables make up the store and up to which mark they are complete.
//! The bytes are those of `docs/formats/manifest.md`.
//!
//! Invariants: an edit is either wholly in effect after a crash or not at all; the state in memory is the
//! one that is durable; after a failed append nothing more is appended to the same file.

use crate::blob;
pub(crate) use crate::blob::BlobMeta;
use crate::codec::Reader;
use crate::disk::{Disk, DiskWrite, read_all};
use crate::entry::Expires;
use crate::error::Error;
use crate::limits::INTERNAL_KEY_BYTES_MAX;
use crate::options::{LEVELS, Options};
use crate::table::{TableMeta, file_name, file_number};
use crate::version::Place;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file that says which others make up the store: in a copy it comes last.
pub const FILE_NAME: &str = "MANIFEST";
pub(crate) const TEMPORARY_NAME: &str = "MANIFEST.tmp";
const MAGIC: &[u8; 8] = b"NVXMANIF";
/// What is written. Version 1 is still read, and replaced when the store is opened.
const VERSION: u32 = 2;
pub(crate) const HEADER_BYTES: usize = 20;
/// The shortest edit of version 1; those of version 2 are longer.
const EDIT_BYTES_MIN: usize = 32;
const EDIT_BYTES_MAX: usize = 64 << 20;
pub(crate) const FILE_BYTES_MAX: u64 = 512 << 20;
/// A file past this, and past four times its first record, is written anew.
const ROLL_BYTES: u64 = 1 << 20;
/// How far edit numbers of one torn append can be ahead: only one is ever in flight.
const EDIT_AHEAD_MAX: u64 = 1 << 20;
/// In the place of a level: a window follows.
const PLACE_WINDOW: u8 = 255;

/// The number in the name of a table or a blob file; `None` for other files.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    file_number(name).or_else(|| blob::file_number(name))
}

/// What a keyspace is used for, as far as its files depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyspaceUse {
    /// The width of its windows; 0 for a keyspace in levels.
    pub(crate) window: u64,
    /// The name of its merge operator; empty when it has none.
    pub(crate) merge: String,
}

impl fmt::Display for KeyspaceUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.window {
            0 => write!(f, "levels")?,
            window => write!(f, "windows of {window}")?,
        }
        match self.merge.as_str() {
            "" => write!(f, " and no merge operator"),
            name => write!(f, " and the merge operator {name}"),
        }
    }
}

/// One change of the set of tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The mark after it; none leaves it as it is.
    pub(crate) mark: Option<u64>,
    /// The clock at that mark; none leaves it as it is.
    pub(crate) clock_s: Option<u64>,
    pub(crate) next_file: u64,
    pub(crate) removed: Vec<u64>,
    pub(crate) added: Vec<(Place, TableMeta)>,
    /// Filled in by [`Manifest::commit`]: those that no table refers to any more.
    pub(crate) blobs_removed: Vec<u64>,
    pub(crate) blobs_added: Vec<BlobMeta>,
    pub(crate) uses: Vec<(u8, KeyspaceUse)>,
}

/// What the manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) edit: u64,
    pub(crate) mark: u64,
    pub(crate) clock_s: u64,
    pub(crate) next_file: u64,
    pub(crate) tables: BTreeMap<u64, (Place, TableMeta)>,
    pub(crate) blobs: BTreeMap<u64, BlobMeta>,
    /// Keyspaces that are not there are in levels and merge nothing.
    pub(crate) uses: BTreeMap<u8, KeyspaceUse>,
}

impl State {
    /// The state after `edit`; the checks hold for our own edits as for those read from a file.
    fn after(&self, edit: &Edit) -> Result<State, &'static str> {
        let mut next = self.clone();
        next.edit = next.edit.checked_add(1).ok_or("edit number at its end")?;
        next.mark = edit.mark.unwrap_or(self.mark);
        next.clock_s = edit.clock_s.unwrap_or(self.clock_s);
        if next.mark < self.mark {
            return Err("mark falls");
        }
        if next.clock_s < self.clock_s {
            return Err("clock goes back");
        }
        next.next_file = self.next_file.max(edit.next_file);
        for number in &edit.removed {
            next.tables.remove(number).ok_or("removed table is not there")?;
        }
        for number in &edit.blobs_removed {
            next.blobs.remove(number).ok_or("removed blob file is not there")?;
        }
        for blob in &edit.blobs_added {
            if blob.number >= next.next_file {
                return Err("added blob file has no such number");
            }
            if next.blobs.insert(blob.number, *blob).is_some() {
                return Err("added blob file is there already");
            }
        }
        for (place, meta) in &edit.added {
            next.add(*place, meta)?;
        }
        next.uses.extend(edit.uses.iter().cloned());
        Ok(next)
    }

    fn add(&mut self, place: Place, meta: &TableMeta) -> Result<(), &'static str> {
        let is_level = match place {
            Place::Level(level) => level < LEVELS,
            Place::Window { .. } => true,
        };
        if !is_level || meta.number >= self.next_file {
            return Err("added table has no such level or number");
        }
        if meta.smallest.is_empty() || meta.smallest > meta.largest {
            return Err("added table has keys out of order");
        }
        if !meta.blobs.iter().all(|(blob, _)| self.blobs.contains_key(blob)) {
            return Err("added table refers to a blob file that is not there");
        }
        if self.tables.insert(meta.number, (place, meta.clone())).is_some() {
            return Err("added table is there already");
        }
        Ok(())
    }

    /// The blob files that no table refers to.
    fn unused_blobs(&self) -> Vec<u64> {
        if self.blobs.is_empty() {
            return Vec::new();
        }
        let metas = self.tables.values().map(|(_, meta)| meta);
        let used: BTreeSet<u64> =
            metas.flat_map(|meta| &meta.blobs).map(|(blob, _)| *blob).collect();
        self.blobs.keys().copied().filter(|blob| !used.contains(blob)).collect()
    }

    /// True when `number` is that of a file of the store.
    pub(crate) fn names(&self, number: u64) -> bool {
        self.tables.contains_key(&number) || self.blobs.contains_key(&number)
    }

    /// The names of all files but the manifest.
    pub(crate) fn file_names(&self) -> Vec<String> {
        let tables = self.tables.keys().map(|number| file_name(*number));
        tables.chain(self.blobs.keys().map(|number| blob::file_name(*number))).collect()
    }

    /// The edit that makes this state out of nothing.
    fn as_edit(&self) -> Edit {
        Edit {
            mark: Some(self.mark),
            clock_s: Some(self.clock_s),
            next_file: self.next_file,
            removed: Vec::new(),
            added: self.tables.values().cloned().collect(),
            blobs_removed: Vec::new(),
            blobs_added: self.blobs.values().copied().collect(),
            uses: self.uses.iter().map(|(keyspace, used)| (*keyspace, used.clone())).collect(),
        }
    }

    /// The edit that brings the uses of keyspaces up to `options`; an error when files that are there would come to
    /// mean something else.
    pub(crate) fn adopt(&self, options: &Options, dir: &Path) -> Result<Edit, Error> {
        let mut edit = Edit { next_file: self.next_file, ..Edit::default() };
        for keyspace in 0..options.keyspaces {
            let stored = self.uses.get(&keyspace).cloned().unwrap_or_default();
            let window = options.compaction(keyspace).window().unwrap_or_default();
            let merge = options.merge_operator(keyspace).map_or("", |operator| operator.name());
            let asked = KeyspaceUse { window, merge: merge.to_owned() };
            if asked == stored {
                continue;
            }
            // What was nothing yet may become something; the rest is for good.
            let fits = |stored: bool, same: bool| stored || same;
            let window_fits = fits(stored.window == 0, asked.window == stored.window);
            let merge_fits = fits(stored.merge.is_empty(), asked.merge == stored.merge);
            if !window_fits || !merge_fits {
                let (stored, asked) = (stored.to_string(), asked.to_string());
                let dir = dir.to_path_buf();
                return Err(Error::KeyspaceChanged { dir, keyspace, stored, asked });
            }
            edit.uses.push((keyspace, asked));
        }
        Ok(edit)
    }
}

fn encode_header(keyspaces: u8) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32::from(keyspaces).to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    assert_eq!(bytes.len(), HEADER_BYTES);
    bytes
}

fn put_key(out: &mut Vec<u8>, key: &[u8]) {
    assert!(key.len() <= INTERNAL_KEY_BYTES_MAX);
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(key);
}

fn put_u64s<'a>(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = &'a u64>) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u32).to_le_bytes());
}

fn put_table(out: &mut Vec<u8>, place: Place, meta: &TableMeta) {
    match place {
        Place::Level(level) => out.push(level as u8),
        Place::Window { keyspace, window, rank } => {
            out.extend_from_slice(&[PLACE_WINDOW, keyspace]);
            put_u64s(out, &[window, rank]);
        }
    }
    put_u64s(out, &[meta.number, meta.bytes, meta.entries, meta.tombstones]);
    put_u64s(out, &[meta.ranges, meta.merges, meta.expires_min.0, meta.expires_max.0]);
    out.extend_from_slice(&meta.footer_crc.to_le_bytes());
    put_key(out, &meta.smallest);
    put_key(out, &meta.largest);
    put_count(out, meta.blobs.len());
    for (blob, bytes) in &meta.blobs {
        put_u64s(out, [blob, bytes]);
    }
}

/// The record of edit number `edit_number`, which leads to `state`.
fn encode_record(state: &State, edit: &Edit) -> Vec<u8> {
    let mut out = vec![0; 8];
    put_u64s(&mut out, &[state.edit, state.mark, state.clock_s, edit.next_file]);
    put_count(&mut out, edit.removed.len());
    put_u64s(&mut out, &edit.removed);
    put_count(&mut out, edit.added.len());
    for (place, meta) in &edit.added {
        put_table(&mut out, *place, meta);
    }
    put_count(&mut out, edit.blobs_removed.len());
    put_u64s(&mut out, &edit.blobs_removed);
    put_count(&mut out, edit.blobs_added.len());
    for blob in &edit.blobs_added {
        put_u64s(&mut out, &[blob.number, blob.bytes, blob.records]);
        out.extend_from_slice(&blob.footer_crc.to_le_bytes());
    }
    put_count(&mut out, edit.uses.len());
    for (keyspace, used) in &edit.uses {
        out.push(*keyspace);
        put_u64s(&mut out, &[used.window]);
        out.push(used.merge.len() as u8);
        out.extend_from_slice(used.merge.as_bytes());
    }
    let len = out.len() - 8;
    assert!((EDIT_BYTES_MIN..=EDIT_BYTES_MAX).contains(&len));
    let len = (len as u32).to_le_bytes();
    let crc = record_crc(len, &out[8..]);
    out[..4].copy_from_slice(&len);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

fn record_crc(len: [u8; 4], edit: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len);
    hasher.update(edit);
    hasher.finalize()
}

/// The bytes of the edit in the record at the front of `bytes`, if it is whole.
pub(crate) fn whole_record(bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let (len, crc) = (reader.u32()?, reader.u32()?);
    if !(EDIT_BYTES_MIN..=EDIT_BYTES_MAX).contains(&(len as usize)) {
        return None;
    }
    let edit = reader.take(len as usize)?;
    (record_crc(len.to_le_bytes(), edit) == crc).then_some(edit)
}

/// Reads the edit out of a whole record: its number and itself.
pub(crate) fn decode_edit(bytes: &[u8], version: u32) -> Option<(u64, Edit)> {
    let mut reader = Reader::new(bytes);
    let number = reader.u64()?;
    let mut edit = Edit { mark: Some(reader.u64()?), ..Edit::default() };
    if version >= 2 {
        edit.clock_s = Some(reader.u64()?);
    }
    edit.next_file = reader.u64()?;
    for _ in 0..reader.u32()? {
        edit.removed.push(reader.u64()?);
    }
    for _ in 0..reader.u32()? {
        let table =
            if version >= 2 { decode_table(&mut reader)? } else { decode_table_v1(&mut reader)? };
        edit.added.push(table);
    }
    if version >= 2 {
        decode_blobs_and_uses(&mut reader, &mut edit)?;
    }
    reader.is_empty().then_some((number, edit))
}

fn decode_blobs_and_uses(reader: &mut Reader<'_>, edit: &mut Edit) -> Option<()> {
    for _ in 0..reader.u32()? {
        edit.blobs_removed.push(reader.u64()?);
    }
    for _ in 0..reader.u32()? {
        let (number, bytes, records) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let footer_crc = reader.u32()?;
        edit.blobs_added.push(BlobMeta { number, bytes, records, footer_crc });
    }
    for _ in 0..reader.u32()? {
        let (keyspace, window) = (reader.u8()?, reader.u64()?);
        let len = usize::from(reader.u8()?);
        let merge = std::str::from_utf8(reader.take(len)?).ok()?.to_owned();
        edit.uses.push((keyspace, KeyspaceUse { window, merge }));
    }
    Some(())
}

fn decode_key(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let len = usize::from(reader.u16()?);
    reader.take(len).filter(|key| key.len() <= INTERNAL_KEY_BYTES_MAX).map(<[u8]>::to_vec)
}

fn decode_table(reader: &mut Reader<'_>) -> Option<(Place, TableMeta)> {
    let place = match reader.u8()? {
        PLACE_WINDOW => {
            let (keyspace, window, rank) = (reader.u8()?, reader.u64()?, reader.u64()?);
            Place::Window { keyspace, window, rank }
        }
        level => Place::Level(usize::from(level)),
    };
    let (number, bytes, entries, tombstones) =
        (reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?);
    let (ranges, merges) = (reader.u64()?, reader.u64()?);
    let (expires_min, expires_max) = (Expires(reader.u64()?), Expires(reader.u64()?));
    let footer_crc = reader.u32()?;
    let (smallest, largest) = (decode_key(reader)?, decode_key(reader)?);
    let mut blobs = Vec::new();
    for _ in 0..reader.u32()? {
        blobs.push((reader.u64()?, reader.u64()?));
    }
    let meta = TableMeta {
        number,
        bytes,
        entries,
        tombstones,
        footer_crc,
        smallest,
        largest,
        ranges,
        merges,
        expires_min,
        expires_max,
        blobs,
    };
    Some((place, meta))
}

fn decode_table_v1(reader: &mut Reader<'_>) -> Option<(Place, TableMeta)> {
    let place = Place::Level(usize::from(reader.u8()?));
    let number = reader.u64()?;
    let (bytes, entries, tombstones) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let footer_crc = reader.u32()?;
    let extent = (decode_key(reader)?, decode_key(reader)?);
    let meta = TableMeta::of_v1((number, bytes, footer_crc), (entries, tombstones), extent);
    Some((place, meta))
}

/// What was read from a manifest.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) keyspaces: u8,
    pub(crate) bytes: u64,
    pub(crate) first_record_bytes: u64,
    /// An edit was begun and never acknowledged: its bytes are still at the end of the file.
    pub(crate) torn: bool,
    /// Of the format.
    pub(crate) version: u32,
}

/// Reads the bytes of a manifest; on damage, says where and what.
pub(crate) fn parse(bytes: &[u8]) -> Result<Recovered, (u64, &'static str)> {
    let (version, keyspaces) = parse_header(bytes).map_err(|what| (0, what))?;
    let mut state = State::default();
    let (mut offset, mut first_record_bytes) = (HEADER_BYTES, 0);
    let mut torn = false;
    while offset < bytes.len() {
        let rest = bytes.get(offset..).unwrap_or_default();
        let first = offset == HEADER_BYTES;
        let damage = |what| (offset as u64, what);
        let Some(edit_bytes) = whole_record(rest) else {
            if first || is_whole_record_within(rest, state.edit) {
                return Err(damage("record checksum does not match"));
            }
            torn = true;
            break;
        };
        let (number, edit) =
            decode_edit(edit_bytes, version).ok_or_else(|| damage("edit does not parse"))?;
        if first {
            // The first of a file may have any number: those before it are summed up in it.
            state.edit = number.checked_sub(1).ok_or_else(|| damage("edit number out of order"))?;
        }
        state = state.after(&edit).map_err(damage)?;
        if state.edit != number {
            return Err(damage("edit number out of order"));
        }
        offset += 8 + edit_bytes.len();
        if first {
            first_record_bytes = (offset - HEADER_BYTES) as u64;
        }
    }
    if first_record_bytes == 0 {
        return Err((HEADER_BYTES as u64, "no record"));
    }
    let bytes = offset as u64;
    Ok(Recovered { state, keyspaces, bytes, first_record_bytes, torn, version })
}

pub(crate) fn parse_header(bytes: &[u8]) -> Result<(u32, u8), &'static str> {
    const SHORT: &str = "header too short";
    let mut reader = Reader::new(bytes);
    let magic = reader.take(MAGIC.len()).ok_or(SHORT)?;
    let (version, keyspaces) = (reader.u32().ok_or(SHORT)?, reader.u32().ok_or(SHORT)?);
    let crc = reader.u32().ok_or(SHORT)?;
    let summed = bytes.get(..HEADER_BYTES - 4).ok_or(SHORT)?;
    if magic != MAGIC {
        return Err("not a manifest");
    }
    if crc32fast::hash(summed) != crc {
        return Err("header checksum does not match");
    }
    if !(1..=VERSION).contains(&version) {
        return Err("manifest of a version this program does not know: use a newer program");
    }
    let keyspaces = u8::try_from(keyspaces).map_err(|_| "more keyspaces than there can be")?;
    Ok((version, keyspaces))
}

/// True when a whole record with a later edit number lies somewhere past the front of `bytes`: then
/// the front is damage, not the torn end of the file.
fn is_whole_record_within(bytes: &[u8], last_edit: u64) -> bool {
    (1..bytes.len()).any(|offset| {
        let Some(rest) = bytes.get(offset..) else { return false };
        // The number is looked at before the checksum, which costs a pass over the record.
        let number = rest.get(8..).and_then(|edit| Reader::new(edit).u64());
        number.is_some_and(|number| {
            let ahead = number.wrapping_sub(last_edit);
            (1..=EDIT_AHEAD_MAX).contains(&ahead) && whole_record(rest).is_some()
        })
    })
}

/// The open manifest of a store. Used by worker threads alone, one at a time.
pub(crate) struct Manifest {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    keyspaces: u8,
    state: State,
    /// None when the end of the file is in doubt, or nothing is open yet.
    file: Option<Box<dyn DiskWrite>>,
    bytes: u64,
    first_record_bytes: u64,
}

impl Manifest {
    /// Reads the manifest in `dir`; `None` when there is none.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Recovered, Error> {
        let file = dir.join(FILE_NAME);
        let bytes = read_all(disk, &file, FILE_BYTES_MAX).map_err(Error::io("read", &file))?;
        parse(&bytes).map_err(|(offset, what)| Error::ManifestCorruption { file, offset, what })
    }

    /// Begins the manifest of a new store, durably.
    pub(crate) fn create(disk: Arc<dyn Disk>, dir: &Path, keyspaces: u8) -> Result<Self, Error> {
        let mut manifest = Manifest {
            disk,
            dir: dir.to_path_buf(),
            keyspaces,
            state: State { next_file: 1, ..State::default() },
            file: None,
            bytes: 0,
            first_record_bytes: 0,
        };
        manifest.commit(Edit { next_file: 1, ..Edit::default() })?;
        Ok(manifest)
    }

    /// Goes on with a manifest that was read; writes it anew where its end is torn, its format is old or the
    /// store has more keyspaces than before.
    pub(crate) fn resume(
        disk: Arc<dyn Disk>,
        dir: &Path,
        recovered: Recovered,
        keyspaces: u8,
    ) -> Result<Self, Error> {
        assert!(keyspaces >= recovered.keyspaces);
        let old = recovered.version < VERSION;
        let anew = recovered.torn || keyspaces > recovered.keyspaces || old;
        let mut manifest = Manifest {
            disk,
            dir: dir.to_path_buf(),
            keyspaces,
            state: recovered.state,
            file: None,
            bytes: recovered.bytes,
            first_record_bytes: recovered.first_record_bytes,
        };
        if anew {
            let next_file = manifest.state.next_file;
            manifest.commit(Edit { next_file, ..Edit::default() })?;
        } else {
            let file = manifest.path();
            let opened = manifest.disk.append(&file).map_err(Error::io("open", &file))?;
            manifest.file = Some(opened);
        }
        Ok(manifest)
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    fn path(&self) -> PathBuf {
        self.dir.join(FILE_NAME)
    }

    /// Makes an edit durable, and forgets blob files that no table refers to after it. After an error it may or may
    /// not come back after a crash: the caller keeps the files of either case until a later commit has succeeded.
    pub(crate) fn commit(&mut self, mut edit: Edit) -> Result<(), Error> {
        let refused = |what| -> State { panic!("an edit of our own is refused: {what}") };
        let mut next = self.state.after(&edit).unwrap_or_else(refused);
        let unused = next.unused_blobs();
        if !unused.is_empty() {
            // One that the edit adds and no table needs is neither added nor removed.
            edit.blobs_added.retain(|blob| !unused.contains(&blob.number));
            let known = |blob: &u64| self.state.blobs.contains_key(blob);
            edit.blobs_removed.extend(unused.into_iter().filter(known));
            next = self.state.after(&edit).unwrap_or_else(refused);
        }
        edit.next_file = next.next_file;
        let rolls = self.bytes > ROLL_BYTES && self.bytes > 4 * self.first_record_bytes;
        // Taken out: should anything fail, the end of the file is in doubt and it is not used again.
        match self.file.take().filter(|_| !rolls) {
            Some(file) => self.append(file, &next, &edit)?,
            None => self.rewrite(&next)?,
        }
        self.state = next;
        Ok(())
    }

    fn append(
        &mut self,
        mut file: Box<dyn DiskWrite>,
        next: &State,
        edit: &Edit,
    ) -> Result<(), Error> {
        let record = encode_record(next, edit);
        let path = self.path();
        file.write(&record).map_err(Error::io("append to", &path))?;
        file.sync().map_err(Error::io("sync", &path))?;
        self.bytes += record.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    fn rewrite(&mut self, next: &State) -> Result<(), Error> {
        let (file, bytes) = write_whole(&*self.disk, &self.dir, self.keyspaces, next)?;
        self.bytes = bytes;
        self.first_record_bytes = self.bytes - HEADER_BYTES as u64;
        self.file = Some(file);
        Ok(())
    }
}

/// Writes a manifest of one record into `dir`, durably, in place of any that is there. Gives its file and length.
pub(crate) fn write_whole(
    disk: &dyn Disk,
    dir: &Path,
    keyspaces: u8,
    state: &State,
) -> Result<(Box<dyn DiskWrite>, u64), Error> {
    let temporary = dir.join(TEMPORARY_NAME);
    let mut bytes = encode_header(keyspaces);
    bytes.extend_from_slice(&encode_record(state, &state.as_edit()));
    let mut file = disk.create(&temporary).map_err(Error::io("create", &temporary))?;
    file.write(&bytes).map_err(Error::io("write", &temporary))?;
    file.sync().map_err(Error::io("sync", &temporary))?;
    let path = dir.join(FILE_NAME);
    disk.rename(&temporary, &path).map_err(Error::io("replace", &path))?;
    disk.sync_dir(dir).map_err(Error::io("sync folder", dir))?;
    Ok((file, bytes.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meta(number: u64) -> TableMeta {
        let key = |i: u8| vec![0, i];
        TableMeta {
            number,
            bytes: 100 * number,
            entries: number,
            tombstones: 0,
            footer_crc: 7,
            smallest: key(1),
            largest: key(9),
            ranges: 0,
            merges: 0,
            expires_min: Expires::NEVER,
            expires_max: Expires::NEVER,
            blobs: Vec::new(),
        }
    }

    fn edits() -> Vec<Edit> {
        let added = |number| vec![(Place::Level(0), meta(number))];
        let edit = |mark, next_file| Edit { mark: Some(mark), next_file, ..Edit::default() };
        let blob = |number| BlobMeta { number, bytes: 99, records: 2, footer_crc: 8 };
        let window = Place::Window { keyspace: 2, window: 77, rank: 5 };
        let with_blobs = TableMeta {
            blobs: vec![(4, 50)],
            ranges: 1,
            merges: 2,
            expires_min: Expires(9),
            ..meta(5)
        };
        let used = KeyspaceUse { window: 3600, merge: "sum".to_owned() };
        vec![
            edit(0, 1),
            Edit { added: added(1), ..edit(10, 2) },
            Edit { added: added(2), clock_s: Some(7), ..edit(25, 3) },
            Edit { added: added(3), removed: vec![1, 2], uses: vec![(2, used)], ..edit(25, 4) },
            Edit { added: vec![(window, with_blobs)], blobs_added: vec![blob(4)], ..edit(26, 6) },
            Edit { removed: vec![5], blobs_removed: vec![4], ..edit(26, 6) },
        ]
    }

    /// The bytes of a manifest with these edits, and where each record ends.
    fn written(edits: &[Edit]) -> (Vec<u8>, Vec<usize>, Vec<State>) {
        let mut bytes = encode_header(16);
        let (mut ends, mut states) = (Vec::new(), vec![State::default()]);
        for edit in edits {
            let next = states[states.len() - 1].after(edit).unwrap();
            bytes.extend(encode_record(&next, edit));
            states.push(next);
            ends.push(bytes.len());
        }
        (bytes, ends, states)
    }

    #[test]
    fn a_manifest_gives_back_the_state_that_was_written() {
        let (bytes, _, states) = written(&edits());
        let read = parse(&bytes).unwrap();
        assert_eq!(&read.state, states.last().unwrap());
        assert_eq!((read.keyspaces, read.torn, read.bytes), (16, false, bytes.len() as u64));
        assert_eq!((read.state.mark, read.state.clock_s), (26, 7));
        assert_eq!(read.state.tables.keys().copied().collect::<Vec<_>>(), [3]);
        assert_eq!(read.state.uses[&2].to_string(), "windows of 3600 and the merge operator sum");
    }

    #[test]
    fn a_manifest_cut_anywhere_gives_the_last_whole_edit() {
        let (bytes, ends, states) = written(&edits());
        for cut in ends[0]..bytes.len() {
            let read = parse(&bytes[..cut]).unwrap();
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            assert_eq!(read.state, states[whole], "cut at {cut}");
            assert_eq!(read.torn, !ends.contains(&cut));
        }
        for cut in 0..ends[0] {
            assert!(parse(&bytes[..cut]).is_err(), "the first record is never torn; cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_unless_it_hits_the_last_edit() {
        let (bytes, ends, states) = written(&edits());
        let last = ends[ends.len() - 2];
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                match parse(&bytes) {
                    Err((offset, _)) => assert!(offset <= at as u64),
                    Ok(read) => {
                        assert!(at >= last, "bit {bit} of byte {at} went unnoticed");
                        assert!(read.torn && read.state == states[states.len() - 2]);
                    }
                }
            }
        }
    }

    #[test]
    fn edits_that_do_not_fit_are_damage() {
        let check = |what: &str, edit: Edit| {
            let start = Edit { mark: Some(5), clock_s: Some(3), next_file: 1, ..Edit::default() };
            let first = State::default().after(&start).unwrap();
            let mut bytes = encode_header(16);
            bytes.extend(encode_record(&first, &start));
            let (mark, clock_s) = (edit.mark.unwrap_or(5), edit.clock_s.unwrap_or(3));
            bytes.extend(encode_record(&State { edit: 2, mark, clock_s, ..first.clone() }, &edit));
            assert_eq!(parse(&bytes).unwrap_err().1, what);
            assert_eq!(first.after(&edit).unwrap_err(), what);
        };
        let level = Place::Level;
        check("mark falls", Edit { mark: Some(4), ..Edit::default() });
        check("clock goes back", Edit { clock_s: Some(2), ..Edit::default() });
        check("removed table is not there", Edit { removed: vec![1], ..Edit::default() });
        check("removed blob file is not there", Edit { blobs_removed: vec![1], ..Edit::default() });
        let what = "added table has no such level or number";
        check(what, Edit { next_file: 1, added: vec![(level(0), meta(1))], ..Edit::default() });
        check(what, Edit { next_file: 9, added: vec![(level(7), meta(1))], ..Edit::default() });
        let twice = vec![(level(0), meta(1)), (level(1), meta(1))];
        check(
            "added table is there already",
            Edit { next_file: 2, added: twice, ..Edit::default() },
        );
        let lost = vec![(level(0), TableMeta { blobs: vec![(1, 1)], ..meta(2) })];
        let what = "added table refers to a blob file that is not there";
        check(what, Edit { next_file: 3, added: lost, ..Edit::default() });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(parse(&bytes));
            let mut with_header = encode_header(3);
            with_header.extend(&bytes);
            drop(parse(&with_header));
            drop(decode_edit(&bytes, 1));
            drop(decode_edit(&bytes, 2));
        }
    }
}
