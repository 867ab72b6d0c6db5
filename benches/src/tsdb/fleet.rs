//! The telemetry that all systems get: the same rows of the same seed, in the shape that each takes.

use crate::error::{During as _, Result};
use novax_model::{MEASURANDS, MeterTick, Timestamp};
use novax_tsdb::generate::{Config, Generated, Generator};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

const SEED: u64 = 20_241_121;
/// 2024-11-21 00:00 UTC: a day, and long gone whatever the clock of the machine says (VictoriaMetrics drops
/// what is far in the future).
pub(crate) const START: Timestamp = Timestamp(1_732_147_200_000_000);
pub(crate) const DAY_US: u64 = 86_400_000_000;
/// A tick each five seconds.
pub(crate) const TICKS_A_DAY: u32 = 17_280;

/// All series of a fleet, in memory.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) series: Vec<Generated>,
}

impl Fleet {
    pub(crate) fn new(connectors: u32, ticks: u32) -> Fleet {
        let config = Config { connectors, ticks, start: START, ..Config::default() };
        let series: Vec<Generated> = Generator::new(SEED, config).collect();
        assert!(series.is_sorted_by_key(|series| series.series), "by number");
        Fleet { series }
    }

    /// Values in it; each row has all six.
    pub(crate) fn samples(&self) -> u64 {
        let ticks: usize = self.series.iter().map(|series| series.ticks.len()).sum();
        u64::try_from(ticks * MEASURANDS.len()).expect("a count")
    }

    /// The rows as they arrive: one of each series, and then again.
    pub(crate) fn arrivals(&self) -> impl Iterator<Item = (u64, MeterTick)> + '_ {
        let ticks = self.series.first().map_or(0, |series| series.ticks.len());
        let row = |n: usize| self.series.iter().map(move |series| (series.series, series.ticks[n]));
        (0..ticks).flat_map(row)
    }

    /// Writes all rows as ClickHouse's `RowBinary`: series, milliseconds, six values.
    pub(crate) fn write_row_binary(&self, file: &Path) -> Result<()> {
        let file = File::create(file).during("making a file for ClickHouse")?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        for series in &self.series {
            for tick in &series.ticks {
                let mut row = [0_u8; 40];
                row[..8].copy_from_slice(&series.series.to_le_bytes());
                row[8..16].copy_from_slice(&(tick.at.0 / 1_000).to_le_bytes());
                for (place, value) in row[16..].chunks_exact_mut(4).zip(tick.values) {
                    let value =
                        i32::try_from(value.unwrap_or_default()).expect("meters fit 32 bits");
                    place.copy_from_slice(&value.to_le_bytes());
                }
                out.write_all(&row).during("writing rows for ClickHouse")?;
            }
        }
        out.flush().during("writing rows for ClickHouse")
    }
}

/// Decimals of each measurand, in the order of the columns.
const SCALED: [(&str, i64); 6] = [
    ("voltage", 10),
    ("current", 100),
    ("power", 1),
    ("energy", 1),
    ("temperature", 10),
    ("soc", 10),
];

/// Adds a row in the line protocol that VictoriaMetrics reads: decimals as meters send them, milliseconds.
pub(crate) fn line(text: &mut String, series: u64, tick: &MeterTick) {
    let mut write = |part: std::fmt::Arguments<'_>| text.write_fmt(part).expect("a string grows");
    write(format_args!("meter,cp={series} "));
    for (place, ((name, scale), value)) in SCALED.iter().zip(tick.values).enumerate() {
        let value = value.unwrap_or_default();
        let (sign, whole, part) =
            (if value < 0 { "-" } else { "" }, value.abs() / scale, value.abs() % scale);
        let comma = if place == 0 { "" } else { "," };
        match scale {
            100 => write(format_args!("{comma}{name}={sign}{whole}.{part:02}")),
            10 => write(format_args!("{comma}{name}={sign}{whole}.{part}")),
            _ => write(format_args!("{comma}{name}={value}")),
        }
    }
    write(format_args!(" {}\n", tick.at.0 / 1_000));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_decimals_of_the_meter() {
        let values = [Some(2_305), Some(1_604), Some(3_690), Some(12_345), Some(-5), Some(450)];
        let mut text = String::new();
        line(&mut text, 7, &MeterTick { at: Timestamp(1_732_147_200_015_000), values });
        let expected = "meter,cp=7 voltage=230.5,current=16.04,power=3690,energy=12345,temperature=-0.5,soc=45.0 \
                        1732147200015\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn rows_arrive_across_all_series_before_any_comes_again() {
        let fleet = Fleet::new(3, 4);
        assert_eq!(fleet.samples(), 3 * 4 * 6);
        let arrived: Vec<u64> = fleet.arrivals().map(|(series, _)| series).collect();
        assert_eq!(arrived.len(), 12);
        assert_eq!(arrived[..3], arrived[3..6]);
        assert!(arrived[0] < arrived[1] && arrived[1] < arrived[2]);
    }
}
