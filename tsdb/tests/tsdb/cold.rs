//! What cold files promise: everything comes back, readers need only what they ask for, and damage
//! is found.

use novax_model::{MEASURANDS, Measurand, MeterTick, Timestamp};
use novax_tsdb::cold::{
    ColdIndex, ColdWriter, FOOTER_BYTES, GROUP_SERIES_MAX, GroupPlan, Wanted, Window, decode_group,
    decode_remarks, index_len,
};
use novax_tsdb::generate::{Config, Generator};
use novax_tsdb::{Aggregate, Columns, Error, Flags, Remark, Scratch};
use proptest::prelude::*;

use crate::ticks::{any_remark, any_series};

const ALWAYS: Window = Window { from: Timestamp::ZERO, to: Timestamp(u64::MAX) };

type Series = (u64, Vec<MeterTick>, Vec<Remark>);

fn file_of(window: Window, all: &[Series]) -> Vec<u8> {
    let mut writer = ColdWriter::new(window);
    let mut file = Vec::new();
    for (series, ticks, remarks) in all {
        writer.add_series(*series, ticks, remarks);
        file.extend(writer.take_bytes());
    }
    file.extend(writer.finish());
    file
}

/// As a reader does it: footer, index, nothing else.
fn open(file: &[u8]) -> Result<ColdIndex, Error> {
    let footer = &file[file.len().saturating_sub(FOOTER_BYTES)..];
    let whole = index_len(footer)?;
    let begin = file.len().checked_sub(whole).ok_or(Error::Truncated)?;
    let index = ColdIndex::parse(&file[begin..])?;
    if index.file_len() != file.len() as u64 {
        return Err(Error::Truncated);
    }
    Ok(index)
}

fn fetch<'a>(file: &'a [u8], plan: &GroupPlan) -> Vec<&'a [u8]> {
    let to = |at: u64| usize::try_from(at).unwrap();
    plan.ranges.iter().map(|range| &file[to(range.start)..to(range.end)]).collect()
}

fn everything() -> Wanted<'static> {
    let columns = Columns::ALL.and(Columns::REMARKS);
    Wanted { series: None, from: Timestamp::ZERO, to: Timestamp(u64::MAX), columns }
}

fn read_all(file: &[u8]) -> Result<Vec<Series>, Error> {
    let index = open(file)?;
    let mut scratch = Scratch::new();
    let mut all: Vec<Series> = Vec::new();
    for plan in index.plan(&everything()) {
        let blocks = fetch(file, &plan);
        let remarks = decode_remarks(&index, &plan, &blocks)?;
        for one in decode_group(&index, &plan, &blocks, &mut scratch)? {
            let ticks = one.rows.map(|row| scratch.tick(row)).collect();
            let of = remarks.iter().filter(|(series, _)| *series == one.series);
            all.push((one.series, ticks, of.map(|(_, remark)| *remark).collect()));
        }
    }
    Ok(all)
}

fn any_file() -> impl Strategy<Value = Vec<Series>> {
    let series = (any_series(), prop::collection::btree_map(0_u32..300, any_remark(), 0..4));
    prop::collection::btree_map(any::<u64>(), series, 1..6).prop_map(|all| {
        let one = |(series, (mut ticks, remarks)): (u64, (Vec<MeterTick>, _))| {
            ticks.retain(|tick| tick.at < ALWAYS.to);
            let remarks: std::collections::BTreeMap<u32, Remark> = remarks;
            let remarks = remarks.into_iter().filter(|(row, _)| (*row as usize) < ticks.len());
            let remarks = remarks.map(|(row, remark)| Remark { row, ..remark }).collect();
            (series, ticks, remarks)
        };
        all.into_iter().map(one).filter(|(_, ticks, _)| !ticks.is_empty()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_cold_file_gives_back_every_series(all in any_file()) {
        let file = file_of(ALWAYS, &all);
        prop_assert_eq!(read_all(&file).unwrap(), all);
    }

    #[test]
    fn any_columns_are_those_of_all(all in any_file(), picked in prop::collection::vec(0_usize..6, 1..4)) {
        let file = file_of(ALWAYS, &all);
        let index = open(&file).unwrap();
        let columns = picked.iter().fold(Columns::NONE, |all, one| all.and(Columns::of(MEASURANDS[*one])));
        let mut scratch = Scratch::new();
        let mut rest = all.iter();
        for plan in index.plan(&Wanted { columns, ..everything() }) {
            for one in decode_group(&index, &plan, &fetch(&file, &plan), &mut scratch).unwrap() {
                let (series, ticks, _) = rest.next().unwrap();
                prop_assert_eq!(*series, one.series);
                for measurand in picked.iter().map(|one| MEASURANDS[*one]) {
                    let column = scratch.column(measurand);
                    let found = one.rows.clone().map(|row| column.get(row));
                    prop_assert!(found.eq(ticks.iter().map(|tick| tick.get(measurand))));
                }
            }
        }
        prop_assert!(rest.next().is_none());
    }

    #[test]
    fn a_groups_summary_is_that_of_a_loop(all in any_file()) {
        let file = file_of(ALWAYS, &all);
        let index = open(&file).unwrap();
        for measurand in MEASURANDS {
            let ticks = all.iter().flat_map(|(_, ticks, _)| ticks);
            let each = ticks.filter_map(|tick| Some(Aggregate::of(tick.at, tick.get(measurand)?)));
            let expected = each.fold(None, |all, one| Aggregate::merged(all, Some(one)));
            let groups = (0..index.group_count()).map(|group| index.group_aggregate(group, measurand));
            prop_assert_eq!(groups.fold(None, Aggregate::merged), expected);
        }
    }
}

fn fleet(connectors: u32, ticks: u32) -> Vec<Series> {
    let config = Config { connectors, ticks, ..Config::default() };
    let remark = Remark { row: 3, flags: Flags(5), ..Remark::default() };
    let one = |one: novax_tsdb::generate::Generated| (one.series, one.ticks, vec![remark]);
    Generator::new(9, config).map(one).collect()
}

#[test]
fn a_fleet_comes_back_and_takes_less_than_two_fifths_of_a_byte_a_sample() {
    let all = fleet(150, 1_000);
    let file = file_of(ALWAYS, &all);
    let index = open(&file).unwrap();
    assert_eq!(index.group_count(), 150_usize.div_ceil(GROUP_SERIES_MAX));
    assert_eq!(read_all(&file).unwrap(), all);
    let millibytes = file.len() * 1_000 / (150 * 6_000);
    println!("{millibytes} mB a sample, all in");
    assert!(millibytes <= 400, "{millibytes}");
}

#[test]
fn a_day_of_ticks_of_one_series_comes_back() {
    let all = fleet(3, 17_280);
    let file = file_of(ALWAYS, &all);
    assert_eq!(read_all(&file).unwrap(), all);
    let millibytes = file.len() * 1_000 / (3 * 17_280 * 6);
    assert!(millibytes <= 450, "{millibytes}");
}

#[test]
fn a_reader_needs_only_the_blocks_of_what_it_asks_for() {
    let all = fleet(200, 300);
    let file = file_of(ALWAYS, &all);
    let index = open(&file).unwrap();
    let soc = Wanted { columns: Columns::of(Measurand::Soc), ..everything() };
    let bytes = |plans: &[GroupPlan]| -> u64 {
        plans.iter().flat_map(|plan| &plan.ranges).map(|range| range.end - range.start).sum()
    };
    assert!(bytes(&index.plan(&soc)) < file.len() as u64 / 20);

    let series = [all[70].0];
    let one = index.plan(&Wanted { series: Some(&series), ..everything() });
    assert_eq!(one.len(), 1, "the group that has it");
    assert_eq!(one[0].ranges.len(), 1, "all its blocks stand together");

    let late =
        all.iter().filter_map(|(_, ticks, _)| ticks.last()).map(|tick| tick.at).max().unwrap();
    let after = Wanted { from: Timestamp(late.0 + 1), ..everything() };
    assert_eq!(index.plan(&after), []);
    assert_eq!(index.series().count(), 200);
}

#[test]
fn an_empty_file_has_no_series() {
    let file = file_of(ALWAYS, &[]);
    let index = open(&file).unwrap();
    assert_eq!((index.group_count(), index.series().count()), (0, 0));
    assert_eq!(index.window(), ALWAYS);
}

#[test]
fn each_flipped_bit_and_each_cut_is_found() {
    let all = fleet(2, 12);
    let file = file_of(ALWAYS, &all);
    for bit in 8 * 8..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read_all(&flipped).is_err(), "bit {bit} of {} bytes", file.len());
    }
    for length in 0..file.len() {
        assert!(read_all(&file[..length]).is_err(), "{length} bytes");
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::chars);
    let digits: Vec<u32> = digits.filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

#[test]
fn a_cold_file_of_version_1_is_read_for_ever() {
    let window =
        Window { from: Timestamp(1_795_219_200_000_000), to: Timestamp(1_795_305_600_000_000) };
    let stored = from_hex(include_str!("../../testdata/cold-v1.hex"));
    let all = fleet(3, 140);
    assert_eq!(read_all(&stored).unwrap(), all);
    let hex: String = stored.iter().map(|byte| format!("{byte:02x}")).collect();
    // What `pco` writes may change with its version; that it is read must not.
    let written: String = file_of(window, &all).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(hex.len().abs_diff(written.len()) < hex.len() / 10 + 1, "{written}");
}
