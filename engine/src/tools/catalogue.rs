//! What one backup holds: the bytes of a catalogue file, as in `docs/formats/backup.md`.
//!
//! Invariants: a catalogue is read whole and checked whole before a word of it is believed; every name in
//! one stays inside the folder it is meant for, whoever wrote it.

use crate::codec::Reader;

pub(super) const MAGIC: &[u8; 8] = b"NVXBAKUP";
pub(super) const VERSION: u32 = 1;
/// The longest catalogue: some half a million files.
pub(super) const BYTES_MAX: u64 = 64 << 20;
/// The longest name of a file, a source or an object.
const NAME_BYTES_MAX: usize = 512;
/// The folders that the name of a source may lead through.
const DEPTH_MAX: usize = 8;

/// How the files of a source are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceKind {
    /// A store or a checkpoint of one: what its manifest names.
    Store,
    /// Any folder: every file in it.
    Files,
}

/// One file of a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SavedFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Checksum of the whole file.
    pub(super) crc: u32,
    /// Checksum of its last bytes: with name and length, what tells one immutable file from another.
    pub(super) tail_crc: u32,
    /// Under which name the target keeps it.
    pub(super) object: String,
}

/// One folder of a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SavedSource {
    pub(super) name: String,
    pub(super) kind: SourceKind,
    /// Up to which mark the store is complete; 0 for other files.
    pub(super) mark: u64,
    pub(super) files: Vec<SavedFile>,
}

/// One backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Catalogue {
    pub(super) id: u64,
    pub(super) created_s: u64,
    pub(super) sources: Vec<SavedSource>,
}

/// The file name of the catalogue of backup `id`.
pub(super) fn file_name(id: u64) -> String {
    format!("{id:016x}.nvk")
}

/// The number in a catalogue's file name; `None` for other files.
pub(super) fn file_id(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".nvk").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|&id| file_name(id) == name)
}

/// A plain file name: no folder, nothing hidden.
pub(super) fn is_file_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('.')
        && name.chars().all(plain)
}

/// A name of folders below another, such as `partitions/p000`; or empty, for that folder itself.
pub(super) fn is_source_name(name: &str) -> bool {
    name.is_empty()
        || (name.len() <= NAME_BYTES_MAX
            && name.split('/').count() <= DEPTH_MAX
            && name.split('/').all(is_file_name))
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    assert!(name.len() <= NAME_BYTES_MAX);
    out.extend_from_slice(&(name.len() as u16).to_le_bytes());
    out.extend_from_slice(name.as_bytes());
}

impl Catalogue {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.created_s.to_le_bytes());
        out.extend_from_slice(&(self.sources.len() as u32).to_le_bytes());
        for source in &self.sources {
            put_name(&mut out, &source.name);
            out.push(match source.kind {
                SourceKind::Store => 0,
                SourceKind::Files => 1,
            });
            out.extend_from_slice(&source.mark.to_le_bytes());
            out.extend_from_slice(&(source.files.len() as u32).to_le_bytes());
            for file in &source.files {
                put_name(&mut out, &file.name);
                out.extend_from_slice(&file.bytes.to_le_bytes());
                out.extend_from_slice(&file.crc.to_le_bytes());
                out.extend_from_slice(&file.tail_crc.to_le_bytes());
                put_name(&mut out, &file.object);
            }
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a catalogue; on damage, says what.
    pub(super) fn decode(bytes: &[u8]) -> Result<Catalogue, &'static str> {
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or("too short")?;
        let mut reader = Reader::new(body);
        if reader.take(MAGIC.len()).ok_or("too short")? != MAGIC {
            return Err("not a catalogue of a backup");
        }
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err("checksum does not match");
        }
        if reader.u32().ok_or("too short")? != VERSION {
            return Err("catalogue of a version this program does not know");
        }
        let catalogue = decode_body(&mut reader).ok_or("does not parse")?;
        if reader.is_empty() { Ok(catalogue) } else { Err("bytes left over") }
    }
}

fn decode_body(reader: &mut Reader<'_>) -> Option<Catalogue> {
    let (id, created_s) = (reader.u64()?, reader.u64()?);
    let mut sources = Vec::new();
    for _ in 0..reader.u32()? {
        let name = decode_name(reader, is_source_name)?;
        let kind = match reader.u8()? {
            0 => SourceKind::Store,
            1 => SourceKind::Files,
            _ => return None,
        };
        let mark = reader.u64()?;
        let mut files = Vec::new();
        for _ in 0..reader.u32()? {
            let name = decode_name(reader, is_file_name)?;
            let (bytes, crc, tail_crc) = (reader.u64()?, reader.u32()?, reader.u32()?);
            let object = decode_name(reader, is_file_name)?;
            files.push(SavedFile { name, bytes, crc, tail_crc, object });
        }
        sources.push(SavedSource { name, kind, mark, files });
    }
    Some(Catalogue { id, created_s, sources })
}

fn decode_name(reader: &mut Reader<'_>, is_valid: fn(&str) -> bool) -> Option<String> {
    let len = usize::from(reader.u16()?);
    let name = std::str::from_utf8(reader.take(len)?).ok()?;
    is_valid(name).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn catalogue() -> Catalogue {
        let file = |name: &str| SavedFile {
            name: name.to_owned(),
            bytes: 77,
            crc: 1,
            tail_crc: 2,
            object: format!("{name}-4d-00000002"),
        };
        let store = SavedSource {
            name: "partitions/p000".to_owned(),
            kind: SourceKind::Store,
            mark: 9,
            files: vec![file("0000000000000001.nvt"), file("MANIFEST")],
        };
        let node =
            SavedSource { name: String::new(), kind: SourceKind::Files, mark: 0, files: vec![] };
        Catalogue { id: 3, created_s: 1_800_000_000, sources: vec![store, node] }
    }

    #[test]
    fn a_catalogue_comes_back_and_every_flipped_bit_or_cut_is_seen() {
        let bytes = catalogue().encode();
        assert_eq!(Catalogue::decode(&bytes), Ok(catalogue()));
        for at in 0..bytes.len() {
            assert!(Catalogue::decode(&bytes[..at]).is_err(), "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(Catalogue::decode(&flipped).is_err(), "bit of byte {at}");
        }
    }

    #[test]
    fn a_catalogue_of_a_later_version_says_so() {
        let mut bytes = catalogue().encode();
        bytes[8] = 2;
        let end = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
        let what = "catalogue of a version this program does not know";
        assert_eq!(Catalogue::decode(&bytes), Err(what));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["..", ".", "", "a/b", "/etc", "a\0b", ".hidden", "a b"] {
            assert!(!is_file_name(name), "{name:?}");
        }
        for name in ["/", "/p", "a//b", "../a", "a/..", "a/./b", "a/b/"] {
            assert!(!is_source_name(name), "{name:?}");
        }
        assert!(is_source_name("") && is_source_name("partitions/p000"));
        let mut evil = catalogue();
        evil.sources[0].files[0].name = "..".to_owned();
        assert_eq!(Catalogue::decode(&evil.encode()), Err("does not parse"));
        evil = catalogue();
        evil.sources[0].name = "../p000".to_owned();
        assert_eq!(Catalogue::decode(&evil.encode()), Err("does not parse"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(Catalogue::decode(&bytes));
            let mut whole = MAGIC.to_vec();
            whole.extend(VERSION.to_le_bytes());
            whole.extend(&bytes);
            let crc = crc32fast::hash(&whole);
            whole.extend(crc.to_le_bytes());
            drop(Catalogue::decode(&whole));
        }
    }
}
