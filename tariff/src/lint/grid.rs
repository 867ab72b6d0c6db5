//! Which prices can hold, and where none does.

use super::{Code, Findings};
use crate::language::{Language, clock};
use crate::model::{ALL_DAYS, DAY_MINUTES, Dimension, Reservation, Restrictions, Tariff};

/// Most cells that are looked at.
pub const CELLS_MAX: usize = 50_000;

/// The lower corner of a cell. Absent power or current: nobody measures it.
#[derive(Clone, Copy, Debug)]
struct Cell {
    weekday: u8,
    minute: u16,
    day: i32,
    wh: i64,
    s: u32,
    w: i64,
    ma: i64,
}

/// The corners on each axis: where a bound lies, and the beginning.
struct Axes {
    days: Vec<u8>,
    minutes: Vec<u16>,
    dates: Vec<i32>,
    wh: Vec<i64>,
    s: Vec<u32>,
    w: Vec<i64>,
    ma: Vec<i64>,
}

pub(super) fn reach(tariff: &Tariff, findings: &mut Findings) {
    for kind in [None, Some(Reservation::Reservation), Some(Reservation::Expires)] {
        let of_kind = of_kind(tariff, kind);
        if of_kind.is_empty() {
            continue;
        }
        overlaps(tariff, &of_kind, findings);
        let axes = Axes::new(&of_kind);
        if axes.cells() <= CELLS_MAX {
            by_cells(tariff, &of_kind, &axes, kind, findings);
        } else {
            by_pairs(tariff, &of_kind, findings);
        }
    }
}

type Indexed = Vec<(usize, Restrictions)>;

fn of_kind(tariff: &Tariff, kind: Option<Reservation>) -> Indexed {
    let all = tariff.elements.iter().enumerate();
    all.map(|(index, element)| (index, element.restrictions.clone().unwrap_or_default()))
        .filter(|(_, r)| r.reservation == kind)
        .collect()
}

impl Axes {
    fn new(elements: &Indexed) -> Axes {
        let by_day = elements.iter().any(|(_, r)| days(r) != ALL_DAYS);
        let minutes = elements.iter().flat_map(|(_, r)| [r.start_time, r.end_time]).flatten();
        let minutes = minutes.filter(|minute| *minute < DAY_MINUTES);
        let dates = elements.iter().flat_map(|(_, r)| [r.start_date, r.end_date]).flatten();
        Axes {
            days: if by_day { (0..7).collect() } else { vec![0] },
            minutes: corners(0, minutes),
            dates: corners(i32::MIN, dates.map(|day| day.0)),
            wh: corners(0, elements.iter().flat_map(|(_, r)| [r.min_wh, r.max_wh]).flatten()),
            s: corners(0, elements.iter().flat_map(|(_, r)| [r.min_s, r.max_s]).flatten()),
            w: corners(0, elements.iter().flat_map(|(_, r)| [r.min_w, r.max_w]).flatten()),
            ma: corners(0, elements.iter().flat_map(|(_, r)| [r.min_ma, r.max_ma]).flatten()),
        }
    }

    fn sizes(&self) -> [usize; 7] {
        [
            self.days.len(),
            self.minutes.len(),
            self.dates.len(),
            self.wh.len(),
            self.s.len(),
            self.w.len(),
            self.ma.len(),
        ]
    }

    fn cells(&self) -> usize {
        self.sizes().iter().fold(1, |product: usize, size| product.saturating_mul(*size))
    }

    /// The cell of a number, counted like a clock: the last axis turns fastest.
    fn cell(&self, number: usize) -> Option<Cell> {
        let mut places = [0; 7];
        let mut rest = number;
        for (place, size) in places.iter_mut().zip(self.sizes()).rev() {
            *place = rest % size;
            rest /= size;
        }
        let [day, minute, date, wh, s, w, ma] = places;
        Some(Cell {
            weekday: *self.days.get(day)?,
            minute: *self.minutes.get(minute)?,
            day: *self.dates.get(date)?,
            wh: *self.wh.get(wh)?,
            s: *self.s.get(s)?,
            w: *self.w.get(w)?,
            ma: *self.ma.get(ma)?,
        })
    }
}

fn corners<T: Ord + Copy>(begin: T, bounds: impl Iterator<Item = T>) -> Vec<T> {
    let mut out: Vec<T> = std::iter::once(begin).chain(bounds).collect();
    out.sort_unstable();
    out.dedup();
    out
}

fn days(r: &Restrictions) -> u8 {
    if r.days == 0 { ALL_DAYS } else { r.days }
}

/// The minutes of a day in which it holds: one range, or two when it wraps.
fn clock_ranges(r: &Restrictions) -> [(u16, u16); 2] {
    let start = r.start_time.unwrap_or(0);
    let end = r.end_time.filter(|end| *end != 0).unwrap_or(DAY_MINUTES);
    if r.start_time.is_some() && end <= start {
        [(0, end), (start, DAY_MINUTES)]
    } else {
        [(start, end), (0, 0)]
    }
}

fn within<T: PartialOrd>(min: Option<T>, max: Option<T>, value: &T) -> bool {
    min.is_none_or(|min| min <= *value) && max.is_none_or(|max| *value < max)
}

fn holds(r: &Restrictions, cell: &Cell) -> bool {
    days(r) >> cell.weekday & 1 == 1
        && clock_ranges(r).iter().any(|(from, until)| (*from..*until).contains(&cell.minute))
        && within(r.start_date.map(|day| day.0), r.end_date.map(|day| day.0), &cell.day)
        && within(r.min_wh, r.max_wh, &cell.wh)
        && within(r.min_s, r.max_s, &cell.s)
        && within(r.min_w, r.max_w, &cell.w)
        && within(r.min_ma, r.max_ma, &cell.ma)
}

/// Walks all cells once: which prices are ever first, and the first cell without one of energy.
fn by_cells(
    tariff: &Tariff,
    elements: &Indexed,
    axes: &Axes,
    kind: Option<Reservation>,
    findings: &mut Findings,
) {
    let mut used = vec![[false; 4]; tariff.elements.len()];
    let mut gap: Option<Cell> = None;
    for number in 0..axes.cells() {
        let Some(cell) = axes.cell(number) else { break };
        let mut first = [None; 4];
        for (index, _) in elements.iter().filter(|(_, r)| holds(r, &cell)) {
            for component in tariff.elements.get(*index).iter().flat_map(|e| &e.components) {
                first[component.dimension as usize].get_or_insert(*index);
            }
        }
        for (dimension, index) in first.into_iter().enumerate() {
            if let Some(used) = index.and_then(|index| used.get_mut(index)) {
                used[dimension] = true;
            }
        }
        if first[Dimension::Energy as usize].is_none() {
            gap.get_or_insert(cell);
        }
    }
    for (index, _) in elements {
        let Some(element) = tariff.elements.get(*index) else { continue };
        for (at, component) in element.components.iter().enumerate() {
            if !used[*index][component.dimension as usize] {
                unreachable(*index, at, component.dimension, findings);
            }
        }
    }
    let components = || tariff.elements.iter().flat_map(|element| &element.components);
    let sells_energy = components().any(|component| component.dimension == Dimension::Energy);
    if let Some(cell) = gap.filter(|_| sells_energy && kind.is_none()) {
        let words = format!("energy has no price {}, and so is free then", place(&cell, axes));
        let to_do = "Add a last element with a price and no restrictions";
        findings.warn(Code::Gap, "elements", words, to_do);
    }
}

/// A cell in words, as far as it differs from the beginning of all axes.
fn place(cell: &Cell, axes: &Axes) -> String {
    let mut parts = Vec::new();
    if axes.days.len() > 1 {
        parts.push(format!("on {}", Language::En.weekday(cell.weekday)));
    }
    if axes.minutes.len() > 1 {
        parts.push(format!("at {}", clock(cell.minute)));
    }
    if axes.dates.len() > 1 {
        parts.push(if cell.day == i32::MIN {
            "before the first date".to_owned()
        } else {
            format!("on {}", crate::language::date(crate::Day(cell.day)))
        });
    }
    if axes.wh.len() > 1 {
        parts.push(format!("after {} Wh", cell.wh));
    }
    if axes.s.len() > 1 {
        parts.push(format!("after {} s", cell.s));
    }
    if axes.w.len() > 1 {
        parts.push(format!("at {} W", cell.w));
    }
    if axes.ma.len() > 1 {
        parts.push(format!("at {} mA", cell.ma));
    }
    if parts.is_empty() { "ever".to_owned() } else { parts.join(", ") }
}

fn unreachable(element: usize, component: usize, dimension: Dimension, findings: &mut Findings) {
    let path = format!("elements[{element}].price_components[{component}]");
    let words = format!("this price of {} never holds: earlier ones always do", dimension.name());
    let to_do = "Put it before them, or take it out";
    findings.warn(Code::Unreachable, &path, words, to_do);
}

/// Pairs `(earlier, later)` of elements that price the same dimension.
fn pairs<'a>(
    tariff: &'a Tariff,
    elements: &'a Indexed,
) -> impl Iterator<Item = (usize, &'a Restrictions, usize, &'a Restrictions, usize, Dimension)> {
    elements.iter().enumerate().flat_map(move |(place, (later, r))| {
        let components = tariff.elements.get(*later).map_or(&[][..], |e| &e.components);
        components.iter().enumerate().flat_map(move |(at, component)| {
            let dimension = component.dimension;
            let earlier = elements.iter().take(place).filter(move |(index, _)| {
                tariff.elements.get(*index).is_some_and(|e| e.component(dimension).is_some())
            });
            earlier.map(move |(index, other)| (*index, other, *later, r, at, dimension))
        })
    })
}

fn by_pairs(tariff: &Tariff, elements: &Indexed, findings: &mut Findings) {
    let mut told = None;
    for (_, earlier, later, r, at, dimension) in pairs(tariff, elements) {
        if covers(earlier, r) && told != Some((later, at)) {
            told = Some((later, at));
            unreachable(later, at, dimension, findings);
        }
    }
}

/// Different prices that hold together in part: neither is the exception of the other.
fn overlaps(tariff: &Tariff, elements: &Indexed, findings: &mut Findings) {
    for (index, earlier, later, r, at, dimension) in pairs(tariff, elements) {
        let price = |index: usize| {
            tariff.elements.get(index).and_then(|e| e.component(dimension)).map(|c| c.price)
        };
        let mixed = meet(earlier, r) && !covers(earlier, r) && !covers(r, earlier);
        if mixed && price(index) != price(later) {
            let path = format!("elements[{later}].price_components[{at}]");
            let words = format!(
                "where this and elements[{index}] both hold, the price of {} in elements[{index}] \
                 counts",
                dimension.name()
            );
            let to_do = "If that is meant, nothing; otherwise change their order or restrictions";
            findings.hint(Code::Overlap, &path, words, to_do);
        }
    }
}

/// Each restriction as ranges on a line: what is not said reaches from end to end.
fn ranges(r: &Restrictions) -> [(i64, i64); 5] {
    let range =
        |min: Option<i64>, max: Option<i64>| (min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX));
    let day = |day: Option<crate::Day>| day.map(|day| i64::from(day.0));
    [
        range(day(r.start_date), day(r.end_date)),
        range(r.min_wh, r.max_wh),
        range(r.min_s.map(i64::from), r.max_s.map(i64::from)),
        range(r.min_w, r.max_w),
        range(r.min_ma, r.max_ma),
    ]
}

/// Whether `a` holds wherever `b` does.
fn covers(a: &Restrictions, b: &Restrictions) -> bool {
    let inside = |(from, until): &(u16, u16)| {
        from >= until || clock_ranges(a).iter().any(|(low, high)| low <= from && until <= high)
    };
    let in_lines = ranges(a).iter().zip(ranges(b)).all(|(a, b)| a.0 <= b.0 && b.1 <= a.1);
    days(a) & days(b) == days(b) && clock_ranges(b).iter().all(inside) && in_lines
}

/// Whether both hold somewhere together.
fn meet(a: &Restrictions, b: &Restrictions) -> bool {
    let clocks = clock_ranges(a).into_iter().any(|(low, high)| {
        clock_ranges(b).into_iter().any(|(from, until)| low.max(from) < high.min(until))
    });
    let in_lines = ranges(a).iter().zip(ranges(b)).all(|(a, b)| a.0.max(b.0) < a.1.min(b.1));
    days(a) & days(b) != 0 && clocks && in_lines
}
