//! One day of one partition, from wherever its rows are: cold files, oldest first, then the hot
//! store. Who reads does not know which tier a row came from.
//!
//! Invariant: series ascend, each comes once, its rows merged so that the first writer stands.

use crate::day::Day;
use crate::error::ColdError;
use crate::file::{FileCursor, Files, Question};
use crate::hot::RowSource;
use crate::manifest::FileEntry;
use crate::stretch::Stretch;
use novax_tsdb::Columns;
use std::sync::Arc;

/// The hot side of a day.
struct HotCursor {
    source: Arc<dyn RowSource>,
    next: Option<u64>,
}

/// Gives the series of one day, one after the other.
pub struct DayCursor {
    question: Question,
    files: Vec<FileCursor>,
    hot: Option<HotCursor>,
}

impl std::fmt::Debug for DayCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DayCursor").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl DayCursor {
    pub(crate) async fn open(
        files: &Files,
        day: Day,
        entries: &[FileEntry],
        hot: Option<Arc<dyn RowSource>>,
        mut question: Question,
    ) -> Result<DayCursor, ColdError> {
        question.columns = question.columns.and(Columns::REMARKS);
        let mut cursors = Vec::new();
        for entry in entries {
            if question.touches(entry) {
                cursors.push(FileCursor::open(files, day, entry, &question).await?);
            }
        }
        Self::with_hot(cursors, hot, question)
    }

    fn with_hot(
        files: Vec<FileCursor>,
        hot: Option<Arc<dyn RowSource>>,
        question: Question,
    ) -> Result<DayCursor, ColdError> {
        let mut cursor = DayCursor { question, files, hot: None };
        if let Some(source) = hot {
            let next = cursor.question.next_hot(source.as_ref(), 0)?;
            cursor.hot = Some(HotCursor { source, next });
        }
        Ok(cursor)
    }

    /// The rows of a partition that has no cold tier.
    pub(crate) fn of_hot(
        hot: Option<Arc<dyn RowSource>>,
        question: Question,
    ) -> Result<DayCursor, ColdError> {
        Self::with_hot(Vec::new(), hot, question)
    }

    /// The next series that has rows.
    ///
    /// # Errors
    /// When a tier cannot be read, or what is read is damaged.
    pub async fn next(&mut self) -> Result<Option<Stretch>, ColdError> {
        loop {
            let cold = self.files.iter().filter_map(FileCursor::peek).min();
            let hot = self.hot.as_ref().and_then(|hot| hot.next);
            let Some(series) = cold.into_iter().chain(hot).min() else { return Ok(None) };
            let mut all = Stretch::empty(series);
            for file in self.files.iter_mut().filter(|file| file.peek() == Some(series)) {
                if let Some(stretch) = file.take().await? {
                    all = all.merge(&stretch);
                }
            }
            if let Some(hot) = &mut self.hot
                && hot.next == Some(series)
            {
                all = all.merge(&hot.source.stretch(series, self.question.window)?);
                hot.next = match series.checked_add(1) {
                    Some(after) => self.question.next_hot(hot.source.as_ref(), after)?,
                    None => None,
                };
            }
            if !all.ticks.is_empty() {
                // A tier may know more than was asked for.
                return Ok(Some(all.only(self.question.columns)));
            }
        }
    }
}

impl Question {
    /// The first series of at least `from` that is wanted and hot.
    fn next_hot(&self, source: &dyn RowSource, from: u64) -> Result<Option<u64>, ColdError> {
        let Some(wanted) = &self.series else { return source.next_series(from) };
        let mut from = from;
        loop {
            let Some(hot) = source.next_series(from)? else { return Ok(None) };
            let at = wanted.partition_point(|series| *series < hot);
            match wanted.get(at) {
                Some(series) if *series == hot => return Ok(Some(hot)),
                Some(series) => from = *series,
                None => return Ok(None),
            }
        }
    }
}
