//! The cold tier: one dense file of all series, read by ranges.

use super::fleet::{DAY_US, Fleet, START};
use super::hot::Extent;
use crate::error::{BenchError, During as _, Result};
use novax_model::{Measurand, Timestamp};
use novax_tsdb::cold::{
    ColdIndex, ColdWriter, FOOTER_BYTES, Wanted, Window, decode_group, index_len,
};
use novax_tsdb::{Columns, Scratch};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

fn damaged(error: &novax_tsdb::Error) -> BenchError {
    BenchError::Store("cold", error.to_string())
}

/// Writes a fleet's day as one file; returns its length.
pub(crate) fn write(path: &Path, fleet: &Fleet) -> Result<u64> {
    let mut file = File::create(path).during("making a cold file")?;
    let mut writer = ColdWriter::new(Window { from: START, to: Timestamp(START.0 + DAY_US) });
    for series in &fleet.series {
        writer.add_series(series.series, &series.ticks, &[]);
        file.write_all(&writer.take_bytes()).during("writing a cold file")?;
    }
    file.write_all(&writer.finish()).during("writing a cold file")?;
    file.sync_all().during("writing a cold file")?;
    Ok(file.metadata().during("measuring a cold file")?.len())
}

/// A cold file that is read.
pub(crate) struct Cold {
    file: File,
    index: ColdIndex,
    bytes: Vec<u8>,
    scratch: Scratch,
}

impl Cold {
    pub(crate) fn open(path: &Path) -> Result<Cold> {
        let file = File::open(path).during("opening a cold file")?;
        let len = file.metadata().during("measuring a cold file")?.len();
        let tail = |bytes: usize| -> Result<Vec<u8>> {
            let mut tail = vec![0; bytes];
            let offset = len.saturating_sub(u64::try_from(bytes).expect("a length"));
            file.read_exact_at(&mut tail, offset).during("reading a cold file")?;
            Ok(tail)
        };
        let bytes = index_len(&tail(FOOTER_BYTES)?).map_err(|error| damaged(&error))?;
        let index = ColdIndex::parse(&tail(bytes)?).map_err(|error| damaged(&error))?;
        Ok(Cold { file, index, bytes: Vec::new(), scratch: Scratch::new() })
    }

    /// Minimum, maximum, sum and count of one measurand over all rows: every value is read and decoded.
    pub(crate) fn scan(&mut self, measurand: Measurand) -> Result<Extent> {
        let columns = Columns::of(measurand);
        let wanted = Wanted { series: None, from: Timestamp(0), to: Timestamp(u64::MAX), columns };
        let mut extent = Extent::default();
        for plan in self.index.plan(&wanted) {
            self.bytes.clear();
            let mut ends = Vec::with_capacity(plan.ranges.len());
            for range in &plan.ranges {
                let begin = self.bytes.len();
                let len = usize::try_from(range.end - range.start).expect("a length");
                self.bytes.resize(begin + len, 0);
                let read = self.file.read_exact_at(&mut self.bytes[begin..], range.start);
                read.during("reading a cold file")?;
                ends.push(begin..begin + len);
            }
            let blocks: Vec<&[u8]> = ends.into_iter().map(|range| &self.bytes[range]).collect();
            let decoded = decode_group(&self.index, &plan, &blocks, &mut self.scratch);
            decoded.map_err(|error| damaged(&error))?;
            let column = self.scratch.column(measurand);
            if !column.is_full() {
                return Err(BenchError::Store("cold", "a value is missing".into()));
            }
            extent.add(column.values());
        }
        Ok(extent)
    }
}
