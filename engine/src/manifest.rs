//! The file that says which tables make up the store and up to which mark they are complete.
//! The bytes are those of `docs/formats/manifest.md`.
//!
//! Invariants: an edit is either wholly in effect after a crash or not at all; the state in memory is the
//! one that is durable; after a failed append nothing more is appended to the same file.

use crate::codec::Reader;
use crate::disk::{Disk, DiskWrite, read_all};
use crate::entry::Expires;
use crate::error::Error;
use crate::options::{KEY_BYTES_MAX, LEVELS};
use crate::table::TableMeta;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const FILE_NAME: &str = "MANIFEST";
pub(crate) const TEMPORARY_NAME: &str = "MANIFEST.tmp";
const MAGIC: &[u8; 8] = b"NVXMANIF";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 20;
const EDIT_BYTES_MIN: usize = 32;
const EDIT_BYTES_MAX: usize = 64 << 20;
const FILE_BYTES_MAX: u64 = 512 << 20;
/// A file past this, and past four times its first record, is written anew.
const ROLL_BYTES: u64 = 1 << 20;
/// How far edit numbers of one torn append can be ahead: only one is ever in flight.
const EDIT_AHEAD_MAX: u64 = 1 << 20;

/// One change of the set of tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The mark after it; none leaves it as it is.
    pub(crate) mark: Option<u64>,
    pub(crate) next_file: u64,
    pub(crate) removed: Vec<u64>,
    pub(crate) added: Vec<(usize, TableMeta)>,
}

/// What the manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) edit: u64,
    pub(crate) mark: u64,
    pub(crate) next_file: u64,
    pub(crate) tables: BTreeMap<u64, (usize, TableMeta)>,
}

impl State {
    /// The state after `edit`; the checks hold for our own edits as for those read from a file.
    fn after(&self, edit: &Edit) -> Result<State, &'static str> {
        let mut next = self.clone();
        next.edit = next.edit.checked_add(1).ok_or("edit number at its end")?;
        next.mark = edit.mark.unwrap_or(self.mark);
        if next.mark < self.mark {
            return Err("mark falls");
        }
        next.next_file = self.next_file.max(edit.next_file);
        for number in &edit.removed {
            next.tables.remove(number).ok_or("removed table is not there")?;
        }
        for (level, meta) in &edit.added {
            if *level >= LEVELS || meta.number >= next.next_file {
                return Err("added table has no such level or number");
            }
            if meta.smallest.is_empty() || meta.smallest > meta.largest {
                return Err("added table has keys out of order");
            }
            if next.tables.insert(meta.number, (*level, meta.clone())).is_some() {
                return Err("added table is there already");
            }
        }
        Ok(next)
    }

    /// The edit that makes this state out of nothing.
    fn as_edit(&self) -> Edit {
        Edit {
            mark: Some(self.mark),
            next_file: self.next_file,
            removed: Vec::new(),
            added: self.tables.values().cloned().collect(),
        }
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
    assert!(key.len() <= KEY_BYTES_MAX + 1);
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(key);
}

/// The record of edit number `edit_number`, which leads to `mark`.
fn encode_record(edit_number: u64, mark: u64, edit: &Edit) -> Vec<u8> {
    let mut out = vec![0; 8];
    out.extend_from_slice(&edit_number.to_le_bytes());
    out.extend_from_slice(&mark.to_le_bytes());
    out.extend_from_slice(&edit.next_file.to_le_bytes());
    out.extend_from_slice(&(edit.removed.len() as u32).to_le_bytes());
    for number in &edit.removed {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&(edit.added.len() as u32).to_le_bytes());
    for (level, meta) in &edit.added {
        out.push(*level as u8);
        for field in [meta.number, meta.bytes, meta.entries, meta.tombstones] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&meta.footer_crc.to_le_bytes());
        put_key(&mut out, &meta.smallest);
        put_key(&mut out, &meta.largest);
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
fn whole_record(bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let (len, crc) = (reader.u32()?, reader.u32()?);
    if !(EDIT_BYTES_MIN..=EDIT_BYTES_MAX).contains(&(len as usize)) {
        return None;
    }
    let edit = reader.take(len as usize)?;
    (record_crc(len.to_le_bytes(), edit) == crc).then_some(edit)
}

/// Reads the edit out of a whole record: its number and itself.
fn decode_edit(bytes: &[u8]) -> Option<(u64, Edit)> {
    let mut reader = Reader::new(bytes);
    let number = reader.u64()?;
    let mut edit = Edit { mark: Some(reader.u64()?), next_file: reader.u64()?, ..Edit::default() };
    for _ in 0..reader.u32()? {
        edit.removed.push(reader.u64()?);
    }
    for _ in 0..reader.u32()? {
        let level = usize::from(reader.u8()?);
        edit.added.push((level, decode_meta(&mut reader)?));
    }
    reader.is_empty().then_some((number, edit))
}

fn decode_meta(reader: &mut Reader<'_>) -> Option<TableMeta> {
    let number = reader.u64()?;
    let (bytes, entries, tombstones) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let footer_crc = reader.u32()?;
    let mut key = || {
        let len = usize::from(reader.u16()?);
        reader.take(len).filter(|key| key.len() <= KEY_BYTES_MAX + 1).map(<[u8]>::to_vec)
    };
    let (smallest, largest) = (key()?, key()?);
    Some(TableMeta {
        number,
        bytes,
        entries,
        tombstones,
        footer_crc,
        smallest,
        largest,
        ranges: 0,
        merges: 0,
        expires_min: Expires::NEVER,
        expires_max: Expires::NEVER,
        blobs: Vec::new(),
    })
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
}

/// Reads the bytes of a manifest; on damage, says where and what.
pub(crate) fn parse(bytes: &[u8]) -> Result<Recovered, (u64, &'static str)> {
    let keyspaces = parse_header(bytes).map_err(|what| (0, what))?;
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
            decode_edit(edit_bytes).ok_or_else(|| damage("edit does not parse"))?;
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
    Ok(Recovered { state, keyspaces, bytes: offset as u64, first_record_bytes, torn })
}

fn parse_header(bytes: &[u8]) -> Result<u8, &'static str> {
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
    if version != VERSION {
        return Err("manifest of a version this program does not know");
    }
    u8::try_from(keyspaces).map_err(|_| "more keyspaces than there can be")
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
        manifest.commit(&Edit { next_file: 1, ..Edit::default() })?;
        Ok(manifest)
    }

    /// Goes on with a manifest that was read; writes it anew where its end is torn or the store
    /// has more keyspaces than before.
    pub(crate) fn resume(
        disk: Arc<dyn Disk>,
        dir: &Path,
        recovered: Recovered,
        keyspaces: u8,
    ) -> Result<Self, Error> {
        assert!(keyspaces >= recovered.keyspaces);
        let anew = recovered.torn || keyspaces > recovered.keyspaces;
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
            manifest.commit(&Edit { next_file, ..Edit::default() })?;
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

    /// Makes an edit durable. After an error it may or may not come back after a crash: the caller
    /// keeps the files of either case until a later commit has succeeded.
    pub(crate) fn commit(&mut self, edit: &Edit) -> Result<(), Error> {
        let next = match self.state.after(edit) {
            Ok(next) => next,
            Err(what) => panic!("an edit of our own is refused: {what}"),
        };
        let rolls = self.bytes > ROLL_BYTES && self.bytes > 4 * self.first_record_bytes;
        // Taken out: should anything fail, the end of the file is in doubt and it is not used again.
        match self.file.take().filter(|_| !rolls) {
            Some(file) => self.append(file, &next, edit)?,
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
        let edit = Edit { next_file: next.next_file, ..edit.clone() };
        let record = encode_record(next.edit, next.mark, &edit);
        let path = self.path();
        file.write(&record).map_err(Error::io("append to", &path))?;
        file.sync().map_err(Error::io("sync", &path))?;
        self.bytes += record.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    fn rewrite(&mut self, next: &State) -> Result<(), Error> {
        let temporary = self.dir.join(TEMPORARY_NAME);
        let mut bytes = encode_header(self.keyspaces);
        bytes.extend_from_slice(&encode_record(next.edit, next.mark, &next.as_edit()));
        let mut file = self.disk.create(&temporary).map_err(Error::io("create", &temporary))?;
        file.write(&bytes).map_err(Error::io("write", &temporary))?;
        file.sync().map_err(Error::io("sync", &temporary))?;
        let path = self.path();
        self.disk.rename(&temporary, &path).map_err(Error::io("replace", &path))?;
        self.disk.sync_dir(&self.dir).map_err(Error::io("sync folder", &self.dir))?;
        self.bytes = bytes.len() as u64;
        self.first_record_bytes = self.bytes - HEADER_BYTES as u64;
        self.file = Some(file);
        Ok(())
    }
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
        let added = |number| vec![(0, meta(number))];
        vec![
            Edit { mark: Some(0), next_file: 1, ..Edit::default() },
            Edit { mark: Some(10), next_file: 2, added: added(1), removed: vec![] },
            Edit { mark: Some(25), next_file: 3, added: added(2), removed: vec![] },
            Edit { mark: Some(25), next_file: 4, added: added(3), removed: vec![1, 2] },
        ]
    }

    /// The bytes of a manifest with these edits, and where each record ends.
    fn written(edits: &[Edit]) -> (Vec<u8>, Vec<usize>, Vec<State>) {
        let mut bytes = encode_header(16);
        let (mut ends, mut states) = (Vec::new(), vec![State::default()]);
        for edit in edits {
            let next = states[states.len() - 1].after(edit).unwrap();
            bytes.extend(encode_record(next.edit, next.mark, edit));
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
        assert_eq!(read.state.mark, 25);
        assert_eq!(read.state.tables.keys().copied().collect::<Vec<_>>(), [3]);
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
        let good = edits();
        let check = |what: &str, edit: Edit| {
            let state = State { edit: 1, next_file: 1, ..State::default() };
            let mut bytes = encode_header(16);
            bytes.extend(encode_record(1, 5, &good[0]));
            bytes.extend(encode_record(2, edit.mark.unwrap(), &edit));
            assert_eq!(parse(&bytes).unwrap_err().1, what);
            assert_eq!(State { mark: 5, ..state }.after(&edit).unwrap_err(), what);
        };
        let mark = Some(5);
        check("mark falls", Edit { mark: Some(4), ..Edit::default() });
        check("removed table is not there", Edit { mark, removed: vec![1], ..Edit::default() });
        let no_number = Edit { mark, next_file: 1, added: vec![(0, meta(1))], removed: vec![] };
        check("added table has no such level or number", no_number);
        let twice = vec![(0, meta(1)), (1, meta(1))];
        let twice = Edit { mark, next_file: 2, added: twice, removed: vec![] };
        check("added table is there already", twice);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(parse(&bytes));
            let mut with_header = encode_header(3);
            with_header.extend(&bytes);
            drop(parse(&with_header));
            drop(decode_edit(&bytes));
        }
    }
}
