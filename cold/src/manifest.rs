//! What the cold tier of one partition consists of. `docs/formats/cold-manifest.md` has the bytes.
//!
//! Invariants, checked on both sides: days ascend and each has files; a file's generation is not
//! after the manifest's; no file is of a day before [`Manifest::kept_from`]. A manifest never
//! changes: the next one has the next generation and a name of its own.

use crate::day::Day;
use crate::error::ColdError;
use novax_model::{PartitionId, Timestamp};
use object_store::path::Path;
use std::collections::BTreeMap;

const MAGIC: &[u8; 8] = b"NVXCOLDM";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 28;
const FILE_BYTES: usize = 80;
/// The most files of one manifest: 80 MB of them.
pub const FILES_MAX: usize = 1_000_000;
/// The most bytes a manifest may have: bounds what is read of an object that claims to be one.
pub const MANIFEST_BYTES_MAX: u64 = (HEADER_BYTES + FILES_MAX * (FILE_BYTES + 8) + 4) as u64;

/// One cold file, as the manifest knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// The generation of the manifest that brought it.
    pub generation: u64,
    /// The first eight bytes of the SHA-256 of its bytes, part of its name.
    pub fingerprint: u64,
    /// Its length.
    pub bytes: u64,
    /// CRC-32 of all its bytes.
    pub crc: u32,
    /// How many bytes at its end are index and footer.
    pub index_bytes: u32,
    /// CRC-32 of those.
    pub index_crc: u32,
    /// How many series.
    pub series: u32,
    /// The smallest series.
    pub series_first: u64,
    /// The largest series.
    pub series_last: u64,
    /// How many rows.
    pub rows: u64,
    /// The smallest stamp.
    pub first: Timestamp,
    /// The largest stamp.
    pub last: Timestamp,
}

impl FileEntry {
    /// Its object.
    #[must_use]
    pub fn path(&self, partition: PartitionId, day: Day) -> Path {
        let folder = folder(partition);
        let Self { generation, fingerprint, .. } = self;
        Path::from(format!("{folder}/{day}/g{generation:06}-{fingerprint:016x}.nvc"))
    }

    fn check(&self, day: Day, generation: u64) -> Result<(), &'static str> {
        let window = day.window();
        if self.generation == 0 || self.generation > generation {
            return Err("a file is of a later generation");
        }
        if u64::from(self.index_bytes) > self.bytes || self.index_bytes == 0 {
            return Err("an index is larger than its file");
        }
        if self.series == 0 || self.series_first > self.series_last || self.rows == 0 {
            return Err("a file is empty");
        }
        if self.first > self.last || self.first < window.from || self.last >= window.to {
            return Err("the rows of a file are not of its day");
        }
        Ok(())
    }
}

/// `series/pNNN`: the folder of a partition.
pub(crate) fn folder(partition: PartitionId) -> String {
    format!("series/p{:03}", partition.0)
}

/// The folder of its manifests.
pub(crate) fn manifest_folder(partition: PartitionId) -> Path {
    Path::from(format!("{}/manifest", folder(partition)))
}

/// The object of a generation.
pub(crate) fn manifest_path(partition: PartitionId, generation: u64) -> Path {
    Path::from(format!("{}/{generation:010}.nvm", manifest_folder(partition)))
}

/// The generation that an object of the manifest folder names.
pub(crate) fn generation_of(path: &Path) -> Option<u64> {
    let digits = path.filename()?.strip_suffix(".nvm")?;
    let is_ours = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_ours { digits.parse().ok() } else { None }
}

/// All files of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Whose.
    pub partition: PartitionId,
    /// How many there have been; 0 for the one before the first, which is no object.
    pub generation: u64,
    /// Days before this have been given up: nothing of them comes back.
    pub kept_from: Day,
    /// The files of each day, in the order in which they were written.
    pub days: BTreeMap<Day, Vec<FileEntry>>,
}

impl Manifest {
    /// The one before the first.
    #[must_use]
    pub fn empty(partition: PartitionId) -> Self {
        Self { partition, generation: 0, kept_from: Day::FIRST, days: BTreeMap::new() }
    }

    /// A copy of the next generation.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { generation: self.generation + 1, ..self.clone() }
    }

    /// All files, by day and age.
    pub fn files(&self) -> impl Iterator<Item = (Day, &FileEntry)> + '_ {
        self.days.iter().flat_map(|(day, files)| files.iter().map(|file| (*day, file)))
    }

    /// The files of one day, by age.
    #[must_use]
    pub fn of_day(&self, day: Day) -> &[FileEntry] {
        self.days.get(&day).map_or(&[], Vec::as_slice)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.generation == 0 {
            return Err("it has no generation");
        }
        if self.days.values().map(Vec::len).sum::<usize>() > FILES_MAX {
            return Err("it has too many files");
        }
        if self.days.first_key_value().is_some_and(|(day, _)| *day < self.kept_from) {
            return Err("it has files of a day that was given up");
        }
        for (day, files) in &self.days {
            if files.is_empty() || files.len() > FILES_MAX {
                return Err("a day has no files, or too many");
            }
            files.iter().try_for_each(|file| file.check(*day, self.generation))?;
        }
        Ok(())
    }

    /// The bytes of its object.
    ///
    /// # Panics
    /// When its invariants do not hold.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        if let Err(reason) = self.check() {
            panic!("a manifest that must not be written: {reason}");
        }
        let files = self.files().count();
        let mut out = Vec::with_capacity(HEADER_BYTES + files * (FILE_BYTES + 8) + 4);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.partition.0.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        put_u32(&mut out, self.kept_from.number());
        put_u32(&mut out, self.days.len() as u64);
        assert_eq!(out.len(), HEADER_BYTES);
        for (day, files) in &self.days {
            put_u32(&mut out, day.number());
            put_u32(&mut out, files.len() as u64);
            for file in files {
                put_file(&mut out, file);
            }
        }
        let crc = crc32fast::hash(&out);
        put_u32(&mut out, crc);
        debug_assert_eq!(Self::decode("it", &out).ok().as_ref(), Some(self));
        out
    }

    /// Reads the bytes of an object.
    ///
    /// # Errors
    /// When they are no manifest, or of a newer format. `object` is the name in the error.
    pub fn decode(object: &str, bytes: &[u8]) -> Result<Self, ColdError> {
        let damaged = |reason: &str| ColdError::damaged(object, reason);
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(damaged("it is too long"));
        }
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("it is cut off"))?;
        let mut reader = Reader(body);
        if reader.take::<8>() != Some(*MAGIC) {
            return Err(damaged("it does not begin as a manifest does"));
        }
        let version = reader.take().map(u16::from_le_bytes);
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(damaged("its checksum does not fit its bytes"));
        }
        match version {
            Some(VERSION) => {}
            Some(version) => {
                return Err(ColdError::NewerFormat { object: object.to_owned(), version });
            }
            None => return Err(damaged("it is cut off")),
        }
        let manifest =
            reader.manifest().ok_or_else(|| damaged("its parts do not fit its length"))?;
        manifest.check().map_err(damaged)?;
        Ok(manifest)
    }
}

fn put_u32(out: &mut Vec<u8>, value: impl TryInto<u32>) {
    let value: u32 = value.try_into().unwrap_or_else(|_| panic!("a count is bounded"));
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_file(out: &mut Vec<u8>, file: &FileEntry) {
    let before = out.len();
    for value in [file.generation, file.fingerprint, file.bytes] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    for value in [file.crc, file.index_bytes, file.index_crc, file.series] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    let rest = [file.series_first, file.series_last, file.rows, file.first.0, file.last.0];
    for value in rest {
        out.extend_from_slice(&value.to_le_bytes());
    }
    assert_eq!(out.len() - before, FILE_BYTES);
}

/// Takes numbers from the front of bytes; `None` when there are too few.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// All behind magic and version.
    fn manifest(&mut self) -> Option<Manifest> {
        let partition = PartitionId(self.take().map(u16::from_le_bytes)?);
        let generation = self.u64()?;
        let kept_from = Day::from_number(self.u32()?)?;
        let count = self.u32()?;
        let mut days = BTreeMap::new();
        for _ in 0..count {
            let day = Day::from_number(self.u32()?)?;
            let files = usize::try_from(self.u32()?).ok()?;
            // A count that the bytes cannot hold must not become memory.
            if files > self.0.len() / FILE_BYTES {
                return None;
            }
            if days.last_key_value().is_some_and(|(last, _)| *last >= day) {
                return None;
            }
            let files: Option<Vec<FileEntry>> = (0..files).map(|_| self.file()).collect();
            days.insert(day, files?);
        }
        self.0.is_empty().then_some(Manifest { partition, generation, kept_from, days })
    }

    fn file(&mut self) -> Option<FileEntry> {
        Some(FileEntry {
            generation: self.u64()?,
            fingerprint: self.u64()?,
            bytes: self.u64()?,
            crc: self.u32()?,
            index_bytes: self.u32()?,
            index_crc: self.u32()?,
            series: self.u32()?,
            series_first: self.u64()?,
            series_last: self.u64()?,
            rows: self.u64()?,
            first: Timestamp(self.u64()?),
            last: Timestamp(self.u64()?),
        })
    }
}
