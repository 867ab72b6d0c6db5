//! Moves days from the hot store to cold files, and gives up days that are no longer kept.
//!
//! **Architecture Invariant:** a file is named in a manifest only after it was written whole and
//! read back; hot rows may go only after that manifest is in force. A crash between any two steps
//! leaves the old state or the new one, and the same call made again ends in the new one.
//!
//! **Architecture Invariant:** a file carries the generation of the manifest that brings it in its
//! name. Once a generation is taken by somebody else, no file of that name can come into force any
//! more: that is what makes it safe to sweep up what failed movers left.

use crate::catalog::{Catalog, Commit};
use crate::day::Day;
use crate::error::ColdError;
use crate::file::{Files, Question};
use crate::hot::HotSource;
use crate::manifest::{FileEntry, Manifest, folder};
use crate::shelf::{Shelf, ShelfOptions};
use crate::stretch::Stretch;
use crate::tiers::DayCursor;
use futures::TryStreamExt;
use novax_model::PartitionId;
use novax_tsdb::Columns;
use novax_tsdb::cold::Window;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How often a step begins anew because another writer was faster.
const ATTEMPTS_MAX: u32 = 6;

/// How files are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoverOptions {
    /// A file is finished when it has this much.
    pub file_bytes_max: u64,
    /// Or this many rows.
    pub file_rows_max: u64,
    /// Larger files are uploaded in parts of this size; S3 takes none below 5 MiB.
    pub part_bytes: usize,
    /// A day that has more files than this is written anew as a whole, next time it is moved.
    pub files_of_day_max: usize,
}

impl Default for MoverOptions {
    /// Files of 64 MiB or 64 Mi rows, parts of 8 MiB, 8 files a day.
    fn default() -> Self {
        Self {
            file_bytes_max: 64 << 20,
            file_rows_max: 64 << 20,
            part_bytes: 8 << 20,
            files_of_day_max: 8,
        }
    }
}

/// What the hot store had of a day when it was moved. Rows may be dropped when what they would be
/// dropped from still has this: what came since then has not been moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HotContent {
    /// How many chunks.
    pub chunks: u64,
    /// CRC-32 over keys and bytes of all of them, in order.
    pub crc: u32,
}

impl HotContent {
    /// What a view has of a window. Chunks that reach into it count.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn of(source: &dyn HotSource, window: Window) -> Result<(Self, Vec<u64>), ColdError> {
        let mut hasher = crc32fast::Hasher::new();
        let (mut chunks, mut all, mut from) = (0, Vec::new(), Some(0));
        while let Some(at) = from
            && let Some(series) = source.next_series(at)?
        {
            assert!(series >= at, "series ascend");
            let own = source.chunks(series, window)?;
            if !own.is_empty() {
                all.push(series);
            }
            for chunk in &own {
                hasher.update(&chunk.key);
                hasher.update(&chunk.bytes);
                chunks += 1;
            }
            from = series.checked_add(1);
        }
        Ok((Self { chunks, crc: hasher.finalize() }, all))
    }
}

/// A day is cold: durable, and in the manifest in force. Only now may its hot rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// The day.
    pub day: Day,
    /// Its window.
    pub window: Window,
    /// Up to which entry of the log the view was complete that was moved.
    pub mark: u64,
    /// What the hot store had of the window.
    pub content: HotContent,
    /// The manifest that is in force.
    pub generation: u64,
    /// Files written: none when all was cold already, or the day is no longer kept.
    pub files: usize,
    /// Rows written.
    pub rows: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// What retention gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GivenUp {
    /// Days.
    pub days: usize,
    /// Files.
    pub files: usize,
    /// Bytes of those.
    pub bytes: u64,
}

/// Writes the cold tier of one partition.
#[derive(Debug, Clone)]
pub struct Mover {
    catalog: Catalog,
    files: Files,
    options: MoverOptions,
}

impl Mover {
    /// A writer for a partition. Asks the store whether it keeps writers apart.
    ///
    /// # Errors
    /// When it does not, or does not answer.
    pub async fn open(
        objects: Arc<dyn ObjectStore>,
        partition: PartitionId,
        options: MoverOptions,
    ) -> Result<Self, ColdError> {
        assert!(options.part_bytes > 0, "parts have bytes");
        let catalog = Catalog::new(Arc::clone(&objects), partition);
        catalog.probe().await?;
        Ok(Self { catalog, files: Files { objects, partition, caches: None }, options })
    }

    /// Makes a day cold. Ticks that are cold already are not written again; those that came late
    /// go into a further file of the day.
    ///
    /// # Errors
    /// When a tier fails. Nothing is lost then, and the same call may be made again.
    pub async fn move_day(&self, day: Day, hot: &dyn HotSource) -> Result<Moved, ColdError> {
        let window = day.window();
        let (content, series) = HotContent::of(hot, window)?;
        let moved = |manifest: &Manifest, written: &[FileEntry]| Moved {
            day,
            window,
            mark: hot.mark(),
            content,
            generation: manifest.generation,
            files: written.len(),
            rows: written.iter().map(|file| file.rows).sum(),
            bytes: written.iter().map(|file| file.bytes).sum(),
        };
        for _ in 0..ATTEMPTS_MAX {
            let manifest = self.catalog.newest().await?;
            if series.is_empty() || day < manifest.kept_from {
                return Ok(moved(&manifest, &[]));
            }
            let mut next = manifest.next();
            let is_anew = manifest.of_day(day).len() > self.options.files_of_day_max;
            let written = if is_anew {
                self.write_anew(day, &manifest, hot).await?
            } else {
                self.write_beyond(day, &manifest, &series, hot).await?
            };
            if written.is_empty() {
                return Ok(moved(&manifest, &[]));
            }
            let files = next.days.entry(day).or_default();
            if is_anew {
                files.clear();
            }
            files.extend(written.iter().cloned());
            if self.catalog.commit(&next).await? == Commit::Done {
                return Ok(moved(&next, &written));
            }
        }
        Err(self.contended())
    }

    fn contended(&self) -> ColdError {
        ColdError::Contended { partition: self.files.partition, attempts: ATTEMPTS_MAX }
    }

    fn shelf(&self, day: Day, manifest: &Manifest) -> Shelf<'_> {
        let options = ShelfOptions {
            file_bytes_max: self.options.file_bytes_max,
            file_rows_max: self.options.file_rows_max,
            part_bytes: self.options.part_bytes,
        };
        Shelf::new(&self.files, day, manifest.generation + 1, options)
    }

    /// Writes what the hot store has and the day's files have not.
    async fn write_beyond(
        &self,
        day: Day,
        manifest: &Manifest,
        series: &[u64],
        hot: &dyn HotSource,
    ) -> Result<Vec<FileEntry>, ColdError> {
        let window = day.window();
        let question = Question { series: Some(series.into()), window, columns: Columns::ALL };
        let entries = manifest.of_day(day);
        let mut had = DayCursor::open(&self.files, day, entries, None, question).await?;
        let mut held = had.next().await?;
        let mut shelf = self.shelf(day, manifest);
        for series in series {
            let stretch = hot.stretch(*series, window)?;
            while held.as_ref().is_some_and(|held| held.series < *series) {
                held = had.next().await?;
            }
            let beyond = match &held {
                Some(held) if held.series == *series => stretch.beyond(held),
                _ => stretch,
            };
            shelf.add(&beyond).await?;
        }
        shelf.finish().await
    }

    /// Writes all there is of a day: its files and the hot store's rows as one.
    async fn write_anew(
        &self,
        day: Day,
        manifest: &Manifest,
        hot: &dyn HotSource,
    ) -> Result<Vec<FileEntry>, ColdError> {
        let window = day.window();
        let question = Question { series: None, window, columns: Columns::ALL };
        let entries = manifest.of_day(day);
        let mut had = DayCursor::open(&self.files, day, entries, None, question).await?;
        let mut shelf = self.shelf(day, manifest);
        let mut cold = had.next().await?;
        let mut warm = hot.next_series(0)?;
        loop {
            let least = cold.iter().map(|cold| cold.series).chain(warm).min();
            let Some(series) = least else { return shelf.finish().await };
            let mut all = Stretch::empty(series);
            if let Some(own) = cold.take_if(|cold| cold.series == series) {
                all = own;
                cold = had.next().await?;
            }
            if warm == Some(series) {
                all = all.merge(&hot.stretch(series, window)?);
                warm = match series.checked_add(1) {
                    Some(after) => hot.next_series(after)?,
                    None => None,
                };
            }
            shelf.add(&all).await?;
        }
    }

    /// Gives up all days before one. They do not come back: a later move of such a day writes
    /// nothing.
    ///
    /// # Errors
    /// When the store fails; the same call may be made again.
    pub async fn give_up_before(&self, kept_from: Day) -> Result<GivenUp, ColdError> {
        for _ in 0..ATTEMPTS_MAX {
            let manifest = self.catalog.newest().await?;
            if kept_from <= manifest.kept_from {
                return Ok(GivenUp::default());
            }
            let mut next = manifest.next();
            next.kept_from = kept_from;
            next.days = next.days.split_off(&kept_from);
            if self.catalog.commit(&next).await? == Commit::Done {
                let gone: Vec<(Day, &FileEntry)> =
                    manifest.files().filter(|(day, _)| *day < kept_from).collect();
                let days: BTreeSet<Day> = gone.iter().map(|(day, _)| *day).collect();
                for (day, file) in &gone {
                    // What stays is swept up another time.
                    let path = file.path(self.files.partition, *day);
                    let _ = self.files.objects.delete(&path).await;
                }
                let bytes = gone.iter().map(|(_, file)| file.bytes).sum();
                return Ok(GivenUp { days: days.len(), files: gone.len(), bytes });
            }
        }
        Err(self.contended())
    }

    /// Deletes files that no manifest in force names: of moves that failed, of days written anew.
    /// Answers how many.
    ///
    /// Readers that still use the manifest before find files gone, and begin again with the next.
    ///
    /// # Errors
    /// When the store fails; the same call may be made again.
    pub async fn sweep(&self) -> Result<usize, ColdError> {
        for _ in 0..ATTEMPTS_MAX {
            let manifest = self.catalog.newest().await?;
            let named: BTreeSet<Path> =
                manifest.files().map(|(day, file)| file.path(self.files.partition, day)).collect();
            let stray = self.stray(&named).await?;
            if stray.is_empty() {
                return Ok(0);
            }
            // Another mover may be about to commit the next generation with a file listed here.
            // Taking that generation decides: either it was faster, or it never will.
            let fence = manifest.next();
            if self.catalog.commit(&fence).await? != Commit::Done {
                continue;
            }
            let mut count = 0;
            for (path, generation) in &stray {
                if *generation <= fence.generation {
                    self.files.objects.delete(path).await?;
                    count += 1;
                }
            }
            return Ok(count);
        }
        Err(self.contended())
    }

    /// Cold files that are not named, with the generation in their names.
    async fn stray(&self, named: &BTreeSet<Path>) -> Result<Vec<(Path, u64)>, ColdError> {
        let folder = Path::from(folder(self.files.partition));
        let listed = self.files.objects.list(Some(&folder));
        let stray = listed.try_filter_map(|meta| async move {
            let generation = file_generation(&meta.location);
            Ok(generation.map(|generation| (meta.location, generation)))
        });
        let all: Vec<(Path, u64)> = stray.try_collect().await?;
        Ok(all.into_iter().filter(|(path, _)| !named.contains(path)).collect())
    }
}

/// The generation in the name of a cold file; `None` for what is none.
fn file_generation(path: &Path) -> Option<u64> {
    let name = path.filename()?.strip_prefix('g')?.strip_suffix(".nvc")?;
    let (generation, fingerprint) = name.split_once('-')?;
    u64::from_str_radix(fingerprint, 16).ok()?;
    generation.parse().ok()
}
