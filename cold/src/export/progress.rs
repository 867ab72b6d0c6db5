//! `_progress.json`: what an export has finished, so that a killed one goes on where it was.
//!
//! Invariant: a unit (a day of a partition) is named here only after all its parts were written
//! whole. Readers of Parquet pass over names that begin with `_`.

use crate::error::ColdError;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

/// The object's name.
pub const PROGRESS_OBJECT: &str = "_progress.json";
const VERSION: u32 = 1;
/// Bounds what is read of an object that claims to be one.
const BYTES_MAX: u64 = 256 << 20;

/// What was asked of the export: an export goes on only as what it began as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The first stamp, in RFC 3339.
    pub from: String,
    /// The first stamp no longer wanted.
    pub to: String,
    /// The stations, if not all.
    pub stations: Option<Vec<String>>,
    /// The columns.
    pub columns: Vec<String>,
    /// Rows of a row group.
    pub row_group_rows: usize,
    /// The most rows of a file.
    pub part_rows: u64,
}

/// One Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartDone {
    /// Its object, relative to the export.
    pub object: String,
    /// Its rows.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// CRC-32 of its bytes, in hexadecimal digits.
    pub crc32: String,
}

/// One day of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitDone {
    /// `YYYY-MM-DD`
    pub date: String,
    /// The partition.
    pub partition: u16,
    /// Values too large for their column, left empty.
    pub values_out_of_range: u64,
    /// Its files.
    pub parts: Vec<PartDone>,
}

/// What an export has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Of this file.
    pub version: u32,
    /// What was asked.
    pub asked: Asked,
    /// Units, in the order in which they were finished.
    pub done: Vec<UnitDone>,
    /// Whether nothing was left to do when it was written.
    pub complete: bool,
}

impl Progress {
    pub(crate) fn new(asked: Asked) -> Self {
        Self { version: VERSION, asked, done: Vec::new(), complete: false }
    }

    /// Reads what an export to this target has done; `None` when there was none.
    ///
    /// # Errors
    /// When the store does not answer, or the object is not ours.
    pub async fn read(
        objects: &dyn ObjectStore,
        root: &Path,
    ) -> Result<Option<Progress>, ColdError> {
        let path = root.clone().join(PROGRESS_OBJECT);
        let answer = match objects.get(&path).await {
            Ok(answer) => answer,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if answer.meta.size > BYTES_MAX {
            return Err(ColdError::damaged(path, "it is too long"));
        }
        let bytes = answer.bytes().await?;
        let progress: Progress =
            serde_json::from_slice(&bytes).map_err(|error| ColdError::damaged(&path, error))?;
        if progress.version != VERSION {
            let version = u16::try_from(progress.version).unwrap_or(u16::MAX);
            return Err(ColdError::NewerFormat { object: path.to_string(), version });
        }
        Ok(Some(progress))
    }

    pub(crate) async fn write(
        &self,
        objects: &dyn ObjectStore,
        root: &Path,
    ) -> Result<(), ColdError> {
        let path = root.clone().join(PROGRESS_OBJECT);
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| ColdError::Export(format!("{path}: {error}")))?;
        text.push(b'\n');
        objects.put(&path, Bytes::from(text).into()).await?;
        Ok(())
    }
}
