//! Reading one cold file: its index, the blocks that a question needs, and the series in them.
//!
//! Invariants: an index is checked against the manifest before it is believed, a block against the
//! index; of a file only what is asked for is fetched, several groups at once where they are small.

use crate::cache::Caches;
use crate::day::Day;
use crate::disk_cache::BlockKey;
use crate::error::ColdError;
use crate::manifest::FileEntry;
use crate::stretch::Stretch;
use bytes::Bytes;
use novax_model::{PartitionId, Timestamp};
use novax_tsdb::cold::{
    ColdIndex, GroupPlan, SeriesRows, Wanted, Window, decode_group, decode_remarks,
};
use novax_tsdb::{Columns, Remark, Scratch};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Groups are fetched together until they have this much: so many bytes are one request's worth.
const FETCH_BYTES: u64 = 4 << 20;

/// The cold files of a partition, as readers get at them.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) partition: PartitionId,
    /// `None` for readers that pass once over what nobody else wants.
    pub(crate) caches: Option<Arc<Caches>>,
}

impl Files {
    /// The index of a file, checked against the manifest.
    pub(crate) async fn index(
        &self,
        day: Day,
        entry: &FileEntry,
    ) -> Result<Arc<ColdIndex>, ColdError> {
        let path = entry.path(self.partition, day);
        if let Some(index) = self.caches.as_ref().and_then(|caches| caches.index(&path)) {
            return Ok(index);
        }
        let tail = entry.bytes - u64::from(entry.index_bytes)..entry.bytes;
        let blocks = self.blocks(&path, std::slice::from_ref(&tail)).await?;
        let bytes = blocks.first().map_or(&[][..], |block| &block[..]);
        if crc32fast::hash(bytes) != entry.index_crc {
            return Err(ColdError::damaged(path, "its index has another checksum than written"));
        }
        let index = ColdIndex::parse(bytes).map_err(|error| ColdError::damaged(&path, error))?;
        if index.window() != day.window() {
            return Err(ColdError::damaged(path, "its index is of another day"));
        }
        let index = Arc::new(index);
        if let Some(caches) = &self.caches {
            caches.keep_index(&path, entry.index_bytes, &index);
        }
        Ok(index)
    }

    /// Ranges of an object: from the caches, the rest in as few requests as pays.
    pub(crate) async fn blocks(
        &self,
        path: &Path,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, ColdError> {
        let mut blocks: Vec<Option<Bytes>> = vec![None; ranges.len()];
        if let Some(caches) = &self.caches {
            for (block, range) in blocks.iter_mut().zip(ranges) {
                let key = BlockKey { path: path.clone(), range: range.clone() };
                *block = caches.block(&key).await;
            }
        }
        let missing: Vec<usize> =
            (0..ranges.len()).filter(|place| blocks[*place].is_none()).collect();
        if !missing.is_empty() {
            let wanted: Vec<Range<u64>> =
                missing.iter().map(|place| ranges[*place].clone()).collect();
            let fetched = self.objects.get_ranges(path, &wanted).await?;
            for ((place, range), bytes) in missing.into_iter().zip(wanted).zip(fetched) {
                if bytes.len() as u64 != range.end - range.start {
                    return Err(ColdError::damaged(path, "it is shorter than the manifest says"));
                }
                if let Some(caches) = &self.caches {
                    caches.count_fetched(bytes.len() as u64);
                    caches.keep_block(BlockKey { path: path.clone(), range }, &bytes).await;
                }
                blocks[place] = Some(bytes);
            }
        }
        let all: Option<Vec<Bytes>> = blocks.into_iter().collect();
        all.ok_or_else(|| ColdError::damaged(path, "the store answered with too few ranges"))
    }

    /// All bytes of a file, checked against the manifest.
    pub(crate) async fn whole(&self, day: Day, entry: &FileEntry) -> Result<Bytes, ColdError> {
        let path = entry.path(self.partition, day);
        let answer = self.objects.get(&path).await?;
        if answer.meta.size != entry.bytes {
            let reason = format!("it has {} bytes, not {}", answer.meta.size, entry.bytes);
            return Err(ColdError::damaged(path, reason));
        }
        let bytes = answer.bytes().await?;
        if crc32fast::hash(&bytes) != entry.crc {
            return Err(ColdError::damaged(path, "its checksum is not the one that was written"));
        }
        Ok(bytes)
    }
}

/// What is asked of a day.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// Ascending series, or all.
    pub(crate) series: Option<Arc<[u64]>>,
    pub(crate) window: Window,
    pub(crate) columns: Columns,
}

impl Question {
    pub(crate) fn wants(&self, series: u64) -> bool {
        self.series.as_ref().is_none_or(|wanted| wanted.binary_search(&series).is_ok())
    }

    /// Whether a file can have something of it.
    pub(crate) fn touches(&self, entry: &FileEntry) -> bool {
        let has_series = self.series.as_ref().is_none_or(|wanted| {
            let from = wanted.partition_point(|series| *series < entry.series_first);
            wanted.get(from).is_some_and(|series| *series <= entry.series_last)
        });
        has_series && self.overlaps(entry.first, entry.last)
    }

    fn overlaps(&self, first: Timestamp, last: Timestamp) -> bool {
        first < self.window.to && last >= self.window.from
    }
}

/// A group whose blocks are here.
pub(crate) struct Group {
    pub(crate) rows: Vec<SeriesRows>,
    pub(crate) scratch: Scratch,
    remarks: Vec<(u64, Remark)>,
}

/// Goes through the groups of one file that have something of what is asked.
pub(crate) struct FileCursor {
    files: Files,
    path: Path,
    index: Arc<ColdIndex>,
    question: Question,
    /// Series wanted and not yet given, ascending.
    todo: VecDeque<u64>,
    plans: VecDeque<GroupPlan>,
    fetched: VecDeque<(GroupPlan, Vec<Bytes>)>,
    group: Option<Group>,
    /// Where in the group's rows the next series is looked for.
    place: usize,
}

impl FileCursor {
    pub(crate) async fn open(
        files: &Files,
        day: Day,
        entry: &FileEntry,
        question: &Question,
    ) -> Result<FileCursor, ColdError> {
        let index = files.index(day, entry).await?;
        let wanted = |one: &novax_tsdb::cold::SeriesEntry| {
            question.wants(one.series) && question.overlaps(one.first, one.last)
        };
        let todo: VecDeque<u64> = index.series().filter(wanted).map(|one| one.series).collect();
        let plans = index.plan(&Wanted {
            series: question.series.as_deref(),
            from: question.window.from,
            to: question.window.to,
            columns: question.columns,
        });
        Ok(FileCursor {
            files: files.clone(),
            path: entry.path(files.partition, day),
            index,
            question: question.clone(),
            todo,
            plans: plans.into(),
            fetched: VecDeque::new(),
            group: None,
            place: 0,
        })
    }

    /// Of the smallest series not yet given.
    pub(crate) fn peek(&self) -> Option<u64> {
        self.todo.front().copied()
    }

    /// The series wanted and not yet given.
    pub(crate) fn todo(&self) -> impl Iterator<Item = u64> + '_ {
        self.todo.iter().copied()
    }

    /// The rows of the smallest series not yet given.
    pub(crate) async fn take(&mut self) -> Result<Option<Stretch>, ColdError> {
        let Some(series) = self.todo.pop_front() else { return Ok(None) };
        loop {
            if let Some(stretch) = self.find(series)? {
                return Ok(Some(stretch.within(self.question.window)));
            }
            if self.next_group().await?.is_none() {
                let reason = format!("series {series} is in its index and in no group");
                return Err(ColdError::damaged(&self.path, reason));
            }
        }
    }

    /// Looks a series up in the group that is decoded.
    fn find(&mut self, series: u64) -> Result<Option<Stretch>, ColdError> {
        let Some(group) = &self.group else { return Ok(None) };
        while let Some(here) = group.rows.get(self.place) {
            if here.series > series {
                return Ok(None);
            }
            self.place += 1;
            if here.series == series {
                let ticks = here.rows.clone().map(|row| group.scratch.tick(row)).collect();
                let from = group.remarks.partition_point(|(of, _)| *of < series);
                let to = group.remarks.partition_point(|(of, _)| *of <= series);
                let remarks = group.remarks.get(from..to).unwrap_or_default();
                let remarks = remarks.iter().map(|(_, remark)| *remark).collect();
                let stretch = Stretch { series, ticks, remarks };
                if !stretch.is_sound() {
                    return Err(ColdError::damaged(
                        &self.path,
                        "rows of a series are out of order",
                    ));
                }
                return Ok(Some(stretch));
            }
        }
        Ok(None)
    }

    /// Decodes the next group. `None` behind the last.
    pub(crate) async fn next_group(&mut self) -> Result<Option<&Group>, ColdError> {
        if self.fetched.is_empty() {
            self.fetch().await?;
        }
        let Some((plan, blocks)) = self.fetched.pop_front() else {
            self.group = None;
            return Ok(None);
        };
        let damaged = |error: novax_tsdb::Error| ColdError::damaged(&self.path, error);
        let mut scratch = self.group.take().map(|group| group.scratch).unwrap_or_default();
        let blocks: Vec<&[u8]> = blocks.iter().map(|block| &block[..]).collect();
        let rows = decode_group(&self.index, &plan, &blocks, &mut scratch).map_err(damaged)?;
        let remarks = if plan.columns.has_remarks() {
            decode_remarks(&self.index, &plan, &blocks).map_err(damaged)?
        } else {
            Vec::new()
        };
        self.place = 0;
        Ok(Some(self.group.insert(Group { rows, scratch, remarks })))
    }

    /// Fetches the blocks of the next groups.
    async fn fetch(&mut self) -> Result<(), ColdError> {
        let mut plans = Vec::new();
        let mut bytes = 0;
        while bytes < FETCH_BYTES
            && let Some(plan) = self.plans.pop_front()
        {
            bytes += plan.ranges.iter().map(|range| range.end - range.start).sum::<u64>();
            plans.push(plan);
        }
        let ranges: Vec<Range<u64>> =
            plans.iter().flat_map(|plan| plan.ranges.iter().cloned()).collect();
        let mut blocks = self.files.blocks(&self.path, &ranges).await?.into_iter();
        for plan in plans {
            let own = blocks.by_ref().take(plan.ranges.len()).collect();
            self.fetched.push_back((plan, own));
        }
        Ok(())
    }
}
