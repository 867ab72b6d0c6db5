//! Looks whether cold files still are what was written, and names those that are not.
//!
//! Invariant: damage is found and told, never repaired by guess; other files are looked at all the
//! same.

use crate::catalog::Catalog;
use crate::day::Day;
use crate::error::ColdError;
use crate::file::{FileCursor, Files, Question};
use crate::manifest::{FileEntry, Manifest};
use novax_model::PartitionId;
use novax_tsdb::Columns;
use object_store::ObjectStore;
use std::sync::Arc;

/// What a look at files found.
#[derive(Debug, Default)]
pub struct ScrubReport {
    /// Files that were looked at.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Rows that were decoded.
    pub rows: u64,
    /// What is damaged or missing: the object, its day and series, and what is wrong.
    pub damage: Vec<Damage>,
}

/// A file that is not what was written.
#[derive(Debug)]
pub struct Damage {
    /// The object.
    pub object: String,
    /// Its day.
    pub day: Day,
    /// The smallest and the largest series that may be affected.
    pub series: (u64, u64),
    /// What is wrong.
    pub error: ColdError,
}

/// Where a background scrub stands: it goes on behind this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ScrubPlace(Option<(Day, u64, u64)>);

/// Looks at the files of one partition.
#[derive(Debug, Clone)]
pub struct Scrubber {
    catalog: Catalog,
    files: Files,
}

impl Scrubber {
    /// For a partition on a store. Reads past all caches.
    #[must_use]
    pub fn new(objects: Arc<dyn ObjectStore>, partition: PartitionId) -> Self {
        let catalog = Catalog::new(Arc::clone(&objects), partition);
        Self { catalog, files: Files { objects, partition, caches: None } }
    }

    /// Looks at every byte of every file.
    ///
    /// # Errors
    /// When the store does not answer, or the manifest itself is damaged.
    pub async fn verify(&self) -> Result<ScrubReport, ColdError> {
        let manifest = self.catalog.newest().await?;
        let mut report = ScrubReport::default();
        for (day, entry) in manifest.files() {
            self.look(&manifest, day, entry, &mut report).await?;
        }
        Ok(report)
    }

    /// Looks at the next file, for a scrub that goes on a little at a time. Behind the last it
    /// begins anew, and the place is the first again.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn scrub(&self, place: ScrubPlace) -> Result<(ScrubReport, ScrubPlace), ColdError> {
        let manifest = self.catalog.newest().await?;
        let mut report = ScrubReport::default();
        let of = |day, entry: &FileEntry| (day, entry.generation, entry.fingerprint);
        let mut all: Vec<(Day, &FileEntry)> = manifest.files().collect();
        all.sort_by_key(|(day, entry)| of(*day, entry));
        let next = all.into_iter().find(|(day, entry)| Some(of(*day, entry)) > place.0);
        let Some((day, entry)) = next else { return Ok((report, ScrubPlace::default())) };
        self.look(&manifest, day, entry, &mut report).await?;
        Ok((report, ScrubPlace(Some(of(day, entry)))))
    }

    /// Looks at one file. What is wrong with it goes into the report, unless it has left the
    /// manifest since.
    async fn look(
        &self,
        manifest: &Manifest,
        day: Day,
        entry: &FileEntry,
        report: &mut ScrubReport,
    ) -> Result<(), ColdError> {
        report.files += 1;
        report.bytes += entry.bytes;
        let error = match self.read(day, entry).await {
            Ok(rows) if rows == entry.rows => {
                report.rows += rows;
                return Ok(());
            }
            Ok(rows) => {
                let reason = format!("it has {rows} rows, not {}", entry.rows);
                ColdError::damaged(entry.path(self.files.partition, day), reason)
            }
            Err(error @ ColdError::Damaged { .. }) => error,
            Err(error) if error.is_missing() => {
                let now = self.catalog.newest().await?;
                if now.generation != manifest.generation && !now.of_day(day).contains(entry) {
                    return Ok(());
                }
                error
            }
            Err(error) => return Err(error),
        };
        report.damage.push(Damage {
            object: entry.path(self.files.partition, day).to_string(),
            day,
            series: (entry.series_first, entry.series_last),
            error,
        });
        Ok(())
    }

    /// Reads a file whole, and decodes all of it. Answers its rows.
    async fn read(&self, day: Day, entry: &FileEntry) -> Result<u64, ColdError> {
        self.files.whole(day, entry).await?;
        let window = day.window();
        let question =
            Question { series: None, window, columns: Columns::ALL.and(Columns::REMARKS) };
        let mut cursor = FileCursor::open(&self.files, day, entry, &question).await?;
        let mut rows = 0;
        while let Some(group) = cursor.next_group().await? {
            rows += group.rows.iter().map(|rows| rows.rows.len() as u64).sum::<u64>();
        }
        Ok(rows)
    }
}
