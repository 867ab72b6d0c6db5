//! Rows of one series from more than one place, made one.
//!
//! Invariants: stamps of a [`Stretch`] strictly increase, remarks are by ascending row of rows that
//! are there. Where two places have a value for the same stamp and measurand, the one written first
//! stands: what a reader has seen once does not change under it.

use novax_model::{MEASURANDS, MeterTick, Timestamp};
use novax_tsdb::cold::Window;
use novax_tsdb::{Columns, Flags, Remark};

/// Rows of one series.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stretch {
    /// Whose.
    pub series: u64,
    /// Ticks; stamps strictly increase.
    pub ticks: Vec<MeterTick>,
    /// What cleaning remarked; rows count from the first tick.
    pub remarks: Vec<Remark>,
}

impl Stretch {
    /// No rows.
    #[must_use]
    pub fn empty(series: u64) -> Self {
        Self { series, ticks: Vec::new(), remarks: Vec::new() }
    }

    /// Whether its invariants hold: for what comes from outside.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.ticks.is_sorted_by(|a, b| a.at < b.at)
            && self.remarks.is_sorted_by(|a, b| a.row < b.row)
            && self.remarks.last().is_none_or(|last| (last.row as usize) < self.ticks.len())
    }

    /// What lies in a window.
    #[must_use]
    pub fn within(mut self, window: Window) -> Self {
        let from = self.ticks.partition_point(|tick| tick.at < window.from);
        let to = self.ticks.partition_point(|tick| tick.at < window.to).max(from);
        if (from, to) == (0, self.ticks.len()) {
            return self;
        }
        self.ticks.truncate(to);
        self.ticks.drain(..from);
        self.remarks.retain_mut(|remark| {
            let row = remark.row as usize;
            remark.row = narrow(row.saturating_sub(from));
            (from..to).contains(&row)
        });
        self
    }

    /// Without the values, raw or not, of columns that are not asked for.
    #[must_use]
    pub fn only(mut self, columns: Columns) -> Self {
        for measurand in MEASURANDS.into_iter().filter(|one| !columns.has(*one)) {
            let place = measurand as usize;
            self.ticks.iter_mut().for_each(|tick| tick.values[place] = None);
            self.remarks.iter_mut().for_each(|remark| remark.raw[place] = None);
        }
        self
    }

    /// The rows with their remarks.
    fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let mut remarks = self.remarks.iter().peekable();
        self.ticks.iter().enumerate().map(move |(row, tick)| {
            let remark = remarks.next_if(|remark| remark.row as usize == row);
            Row { tick: *tick, remark: remark.copied() }
        })
    }

    fn push(&mut self, row: Row) {
        let place = narrow(self.ticks.len());
        self.ticks.push(row.tick);
        self.remarks.extend(row.remark.map(|remark| Remark { row: place, ..remark }));
    }

    /// Both, where `self` was written first.
    #[must_use]
    pub fn merge(self, later: &Self) -> Self {
        assert_eq!(self.series, later.series, "rows of one series");
        if later.ticks.is_empty() {
            return self;
        }
        if self.ticks.last().map(|tick| tick.at) < later.ticks.first().map(|tick| tick.at) {
            return self.append(later);
        }
        let mut merged = Self::empty(self.series);
        pairs(&self, later, |pair| {
            merged.push(match pair {
                (Some(first), Some(later)) => first.filled_by(&later),
                (Some(row), None) | (None, Some(row)) => row,
                (None, None) => unreachable!("a pair has a row"),
            });
        });
        debug_assert!(merged.is_sound());
        merged
    }

    /// As [`merge`](Self::merge), where all of `later` comes after.
    fn append(mut self, later: &Self) -> Self {
        let before = narrow(self.ticks.len());
        self.ticks.extend_from_slice(&later.ticks);
        let moved =
            later.remarks.iter().map(|remark| Remark { row: remark.row + before, ..*remark });
        self.remarks.extend(moved);
        self
    }

    /// What `had.merge(self)` has more than `had`: nothing twice, so that a move done again writes
    /// nothing.
    #[must_use]
    pub fn beyond(&self, had: &Self) -> Self {
        assert_eq!(self.series, had.series, "rows of one series");
        let mut left = Self::empty(self.series);
        pairs(had, self, |pair| match pair {
            (Some(had), Some(row)) => {
                if let Some(row) = row.beyond(&had) {
                    left.push(row);
                }
            }
            (None, Some(row)) => left.push(row),
            (_, None) => {}
        });
        debug_assert!(left.is_sound());
        left
    }
}

/// A tick and what was remarked on it.
#[derive(Debug, Clone, Copy)]
struct Row {
    tick: MeterTick,
    remark: Option<Remark>,
}

impl Row {
    /// This row, with values it lacks from a later one of the same stamp.
    fn filled_by(mut self, later: &Row) -> Row {
        let Some(more) = later.beyond(&self) else { return self };
        for (value, more) in self.tick.values.iter_mut().zip(more.tick.values) {
            *value = value.or(more);
        }
        self.remark = match (self.remark, more.remark) {
            (Some(mut remark), Some(more)) => {
                remark.flags = remark.flags.union(more.flags);
                remark.raw_at = remark.raw_at.or(more.raw_at);
                for (raw, more) in remark.raw.iter_mut().zip(more.raw) {
                    *raw = raw.or(more);
                }
                Some(remark)
            }
            (remark, more) => remark.or(more),
        };
        self
    }

    /// The values that a row of the same stamp lacks; `None` when it lacks none.
    fn beyond(&self, had: &Row) -> Option<Row> {
        debug_assert_eq!(self.tick.at, had.tick.at, "rows of one stamp");
        let mut left = *self;
        let mut remark = self.remark;
        for (place, had) in had.tick.values.iter().enumerate() {
            if had.is_some() {
                left.tick.values[place] = None;
                if let Some(remark) = &mut remark {
                    remark.raw[place] = None;
                }
            }
        }
        left.remark = remark.filter(|remark| remark.flags != Flags::NONE);
        left.tick.values.iter().any(Option::is_some).then_some(left)
    }
}

/// Walks two stretches by stamp.
fn pairs(one: &Stretch, other: &Stretch, mut each: impl FnMut((Option<Row>, Option<Row>))) {
    let (mut ones, mut others) = (one.rows().peekable(), other.rows().peekable());
    loop {
        let (a, b) = match (ones.peek().map(at), others.peek().map(at)) {
            (None, None) => return,
            (a, b) => (a.unwrap_or(Timestamp::MAX), b.unwrap_or(Timestamp::MAX)),
        };
        let (takes_one, takes_other) = (a <= b, b <= a);
        let pair = (
            if takes_one { ones.next() } else { None },
            if takes_other { others.next() } else { None },
        );
        each(pair);
    }
}

fn at(row: &Row) -> Timestamp {
    row.tick.at
}

fn narrow(row: usize) -> u32 {
    u32::try_from(row).expect("a series has fewer rows than 4 thousand million")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn stretch() -> impl Strategy<Value = Stretch> {
        let value = || proptest::option::weighted(0.6, -5_i64..5);
        let row = (proptest::array::uniform6(value()), proptest::option::weighted(0.3, 1_u16..16));
        proptest::collection::btree_map(0_u64..30, row, 0..20).prop_map(|rows| {
            let mut stretch = Stretch::empty(7);
            for (at, (values, flags)) in rows {
                let row = narrow(stretch.ticks.len());
                stretch.ticks.push(MeterTick { at: Timestamp(at), values });
                stretch.remarks.extend(flags.map(|flags| Remark {
                    row,
                    flags: Flags(flags),
                    raw_at: None,
                    raw: values.map(|value| value.map(|value| value + 100)),
                }));
            }
            stretch
        })
    }

    type Model = BTreeMap<u64, [Option<i64>; 6]>;

    fn model(stretches: &[&Stretch]) -> Model {
        let mut model = Model::new();
        for tick in stretches.iter().flat_map(|stretch| &stretch.ticks) {
            let known = model.entry(tick.at.0).or_insert([None; 6]);
            for (known, value) in known.iter_mut().zip(tick.values) {
                *known = known.or(value);
            }
        }
        model
    }

    proptest! {
        #[test]
        fn a_merge_is_the_first_value_of_each(a in stretch(), b in stretch(), c in stretch()) {
            let merged = a.clone().merge(&b).merge(&c);
            prop_assert!(merged.is_sound());
            prop_assert_eq!(model(&[&merged]), model(&[&a, &b, &c]));
            // A raw value is there only where the value it became is.
            for row in merged.rows() {
                for (raw, value) in row.remark.iter().flat_map(|r| r.raw.iter().zip(row.tick.values)) {
                    prop_assert!(raw.is_none_or(|raw| value == Some(raw - 100)));
                }
            }
        }

        #[test]
        fn what_is_beyond_makes_up_the_rest_and_no_more(had in stretch(), new in stretch()) {
            let left = new.beyond(&had);
            let all = had.clone().merge(&new);
            // A row whose every value is missing says nothing; it is only kept where it is new.
            prop_assert_eq!(&had.merge(&left), &all);
            prop_assert_eq!(new.beyond(&all), Stretch::empty(7));
            prop_assert_eq!(left.beyond(&all), Stretch::empty(7));
        }

        #[test]
        fn a_window_cuts_rows_and_remarks_alike(all in stretch(), from in 0_u64..30, len in 1_u64..30) {
            let window = Window { from: Timestamp(from), to: Timestamp(from + len) };
            let cut = all.clone().within(window);
            prop_assert!(cut.is_sound());
            let inside = |row: &Row| window.from <= row.tick.at && row.tick.at < window.to;
            let wanted: Vec<_> = all.rows().filter(inside).map(|r| (r.tick, r.remark.map(|r| r.raw))).collect();
            let got: Vec<_> = cut.rows().map(|r| (r.tick, r.remark.map(|r| r.raw))).collect();
            prop_assert_eq!(got, wanted);
        }
    }
}
