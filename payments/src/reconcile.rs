//! Reconciliation: what the provider has beside what we booked. Pure.
//!
//! Every row of either side gives exactly one finding, so that sums over findings are sums over rows. Rows pair
//! by our operation's id, else by the provider's name; never by amounts or times.

use crate::operation::{OperationId, ProviderRef};
use crate::provider::{ProviderRow, RowKind, RowState};
use novax_model::{Amount, Currency, Duration, Timestamp};
use std::collections::BTreeMap;

/// How a payment or refund stands in our books.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// A payment, or a refund.
    pub kind: RowKind,
    /// The operation that made it: the authorisation or the refund.
    pub operation: OperationId,
    /// The provider's name of it, if we ever learned it.
    pub reference: Option<ProviderRef>,
    /// How it stands with us.
    pub state: RowState,
    /// Taken, or paid back, by our books.
    pub moved: Amount,
    /// Of the amount.
    pub currency: Currency,
    /// Some operation on it ended as unknown: the provider's word is awaited.
    pub unknown: bool,
    /// When it was begun.
    pub at: Timestamp,
    /// When something last happened to it.
    pub changed: Timestamp,
}

/// What comparing one row says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Finding {
    /// Both say the same.
    Matched,
    /// It may still be on its way, or it stands at the edge of the time looked at: look again.
    InFlight,
    /// The provider has it and we do not: money that nobody booked, or a hold that nobody gives back.
    MissingHere,
    /// We have it and the provider does not: booked, and never moved.
    MissingThere,
    /// Both have it and the amounts moved differ.
    AmountDiffers,
    /// Both have it and the currencies differ.
    CurrencyDiffers,
    /// Both have it, the amounts agree, and one side holds it open while the other does not.
    StateDiffers,
    /// What was unknown to us is known now, from the provider's row, or from there being none.
    UnknownResolved,
    /// A second row of the same operation at the provider: it was done twice.
    Twice,
}

impl Finding {
    /// Whether a person must look at it.
    #[must_use]
    pub fn is_alarming(self) -> bool {
        !matches!(self, Finding::Matched | Finding::InFlight | Finding::UnknownResolved)
    }

    /// A sentence for the report.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Finding::Matched => "both sides agree",
            Finding::InFlight => "too young or too near the edge to tell",
            Finding::MissingHere => "the provider has it, our books do not",
            Finding::MissingThere => "our books have it, the provider does not",
            Finding::AmountDiffers => "the amounts differ",
            Finding::CurrencyDiffers => "the currencies differ",
            Finding::StateDiffers => "one side holds it open, the other does not",
            Finding::UnknownResolved => "what was unknown is known now",
            Finding::Twice => "the provider did the same operation twice",
        }
    }
}

/// One line of the report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// What was found.
    pub finding: Finding,
    /// Our row, if there is one.
    pub ours: Option<Expected>,
    /// The provider's row, if there is one.
    pub theirs: Option<ProviderRow>,
}

/// Sums of one currency; paid back counts apart from taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Taken by our books.
    pub taken_here: Amount,
    /// Taken by the provider's.
    pub taken_there: Amount,
    /// Paid back by our books.
    pub refunded_here: Amount,
    /// Paid back by the provider's.
    pub refunded_there: Amount,
    /// Disputed, by our books: away, or lost.
    pub disputed_here: Amount,
    /// Disputed, by the provider's.
    pub disputed_there: Amount,
}

/// The report.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reconciliation {
    /// One line for each row of either side; a pair is one line.
    pub lines: Vec<Line>,
    /// By currency.
    pub totals: BTreeMap<Currency, Totals>,
}

impl Reconciliation {
    /// How many lines say so.
    #[must_use]
    pub fn count(&self, finding: Finding) -> usize {
        self.lines.iter().filter(|line| line.finding == finding).count()
    }

    /// The lines that a person must look at.
    pub fn alarming(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.finding.is_alarming())
    }
}

/// The time that is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// The provider was asked for rows since then.
    pub since: Timestamp,
    /// When it was asked.
    pub now: Timestamp,
    /// Rows this near to either end may be on one side only: clocks differ, and things are on their way.
    pub slack: Duration,
}

impl Window {
    fn is_inside(&self, at: Timestamp) -> bool {
        at >= self.since.saturating_add(self.slack) && at.saturating_add(self.slack) <= self.now
    }
}

/// Compares both sides. Our rows may reach further back than the window: those are compared when the provider's
/// side has them, and not missed when it does not.
#[must_use]
pub fn reconcile(ours: &[Expected], theirs: &[ProviderRow], window: Window) -> Reconciliation {
    let mut by_operation: BTreeMap<(RowKind, OperationId), usize> = BTreeMap::new();
    let mut by_reference: BTreeMap<&ProviderRef, usize> = BTreeMap::new();
    for (index, row) in ours.iter().enumerate() {
        let before = by_operation.insert((row.kind, row.operation), index);
        assert!(before.is_none(), "an operation makes one row: {}", row.operation);
        by_reference.extend(row.reference.as_ref().map(|reference| (reference, index)));
    }
    let mut report = Reconciliation::default();
    let mut paired = vec![false; ours.len()];
    for row in theirs {
        add(&mut report, row.currency, row.kind, |totals| totals.1, row.moved);
        let named = || by_reference.get(&row.reference).copied();
        let index =
            row.operation.and_then(|id| by_operation.get(&(row.kind, id)).copied()).or_else(named);
        let pair = index.and_then(|index| Some((ours.get(index)?, paired.get_mut(index)?)));
        let (finding, expected) = match pair {
            None => (alone_there(row, window), None),
            Some((expected, paired)) if *paired => (twice(row), Some(expected)),
            Some((expected, paired)) => {
                *paired = true;
                (compare(expected, row, window), Some(expected))
            }
        };
        let line = Line { finding, ours: expected.cloned(), theirs: Some(row.clone()) };
        report.lines.push(line);
    }
    for (row, paired) in ours.iter().zip(paired) {
        add(&mut report, row.currency, row.kind, |totals| totals.0, row.moved);
        if !paired {
            let finding = alone_here(row, window);
            report.lines.push(Line { finding, ours: Some(row.clone()), theirs: None });
        }
    }
    report
}

/// Adds to the side of the totals that `side` picks of (ours, theirs).
fn add(
    report: &mut Reconciliation,
    currency: Currency,
    kind: RowKind,
    side: for<'a> fn((&'a mut Amount, &'a mut Amount)) -> &'a mut Amount,
    moved: Amount,
) {
    let totals = report.totals.entry(currency).or_default();
    let sum = match kind {
        RowKind::Payment => side((&mut totals.taken_here, &mut totals.taken_there)),
        RowKind::Refund => side((&mut totals.refunded_here, &mut totals.refunded_there)),
        RowKind::Dispute => side((&mut totals.disputed_here, &mut totals.disputed_there)),
    };
    *sum = sum.checked_add(moved).expect("all the money there is fits");
}

fn alone_there(row: &ProviderRow, window: Window) -> Finding {
    // Nobody's attempt that came to nothing holds no money.
    if matches!(row.state, RowState::Void | RowState::Unpaid) && row.moved == 0 {
        Finding::Matched
    } else if window.is_inside(row.created) {
        Finding::MissingHere
    } else {
        Finding::InFlight
    }
}

fn twice(row: &ProviderRow) -> Finding {
    if row.state == RowState::Void && row.moved == 0 { Finding::Matched } else { Finding::Twice }
}

fn alone_here(row: &Expected, window: Window) -> Finding {
    if !window.is_inside(row.at) || !window.is_inside(row.changed) {
        Finding::InFlight
    } else if row.unknown {
        // The provider was asked for all, and has it not: it was not done.
        Finding::UnknownResolved
    } else if matches!(row.state, RowState::Void | RowState::Unpaid) && row.moved == 0 {
        Finding::Matched
    } else {
        Finding::MissingThere
    }
}

fn compare(ours: &Expected, theirs: &ProviderRow, window: Window) -> Finding {
    let open = |state: RowState| matches!(state, RowState::Reserved);
    if ours.currency != theirs.currency {
        return Finding::CurrencyDiffers;
    }
    if ours.unknown {
        return Finding::UnknownResolved;
    }
    let differs = if ours.moved != theirs.moved {
        Finding::AmountDiffers
    } else if open(ours.state) != open(theirs.state) {
        Finding::StateDiffers
    } else {
        return Finding::Matched;
    };
    // A capture that was just sent is in one of the books first.
    let settled = ours.changed.saturating_add(window.slack) <= window.now;
    if settled { differs } else { Finding::InFlight }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000_000;
    const WINDOW: Window = Window {
        since: Timestamp(10 * HOUR),
        now: Timestamp(34 * HOUR),
        slack: Duration::from_secs(600),
    };

    fn reference(number: u128) -> ProviderRef {
        ProviderRef::new(&format!("pi_{number}")).unwrap()
    }

    fn ours(number: u128, moved: Amount) -> Expected {
        Expected {
            kind: RowKind::Payment,
            operation: OperationId(number),
            reference: Some(reference(number)),
            state: RowState::Done,
            moved,
            currency: Currency::EUR,
            unknown: false,
            at: Timestamp(20 * HOUR),
            changed: Timestamp(21 * HOUR),
        }
    }

    fn theirs(number: u128, moved: Amount) -> ProviderRow {
        ProviderRow {
            kind: RowKind::Payment,
            reference: reference(number),
            payment: reference(number),
            operation: Some(OperationId(number)),
            state: RowState::Done,
            amount: moved,
            moved,
            currency: Currency::EUR,
            created: Timestamp(20 * HOUR),
        }
    }

    fn one(ours: &[Expected], theirs: &[ProviderRow]) -> Finding {
        let report = reconcile(ours, theirs, WINDOW);
        assert_eq!(report.lines.len(), 1);
        report.lines[0].finding
    }

    #[test]
    fn rows_pair_by_operation_and_else_by_name() {
        assert_eq!(one(&[ours(1, 500)], &[theirs(1, 500)]), Finding::Matched);
        let nameless = Expected { reference: None, ..ours(1, 500) };
        assert_eq!(one(&[nameless], &[theirs(1, 500)]), Finding::Matched);
        let unmarked = ProviderRow { operation: None, ..theirs(1, 500) };
        assert_eq!(one(&[ours(1, 500)], &[unmarked]), Finding::Matched);
    }

    #[test]
    fn differences_have_their_names() {
        assert_eq!(one(&[], &[theirs(1, 500)]), Finding::MissingHere);
        assert_eq!(one(&[ours(1, 500)], &[]), Finding::MissingThere);
        assert_eq!(one(&[ours(1, 500)], &[theirs(1, 499)]), Finding::AmountDiffers);
        let francs = ProviderRow { currency: Currency::new("CHF").unwrap(), ..theirs(1, 500) };
        assert_eq!(one(&[ours(1, 500)], &[francs]), Finding::CurrencyDiffers);
        let held = ProviderRow { state: RowState::Reserved, ..theirs(1, 0) };
        let released = Expected { state: RowState::Void, ..ours(1, 0) };
        assert_eq!(one(&[released], std::slice::from_ref(&held)), Finding::StateDiffers);
        assert_eq!(one(&[], &[held]), Finding::MissingHere, "a hold that nobody gives back");
        let void = ProviderRow { state: RowState::Void, ..theirs(1, 0) };
        assert_eq!(one(&[], &[void]), Finding::Matched, "it holds no money");
    }

    #[test]
    fn what_was_unknown_is_resolved_either_way() {
        let unknown = Expected { unknown: true, state: RowState::Reserved, ..ours(1, 0) };
        assert_eq!(
            one(std::slice::from_ref(&unknown), &[theirs(1, 500)]),
            Finding::UnknownResolved
        );
        assert_eq!(one(&[unknown], &[]), Finding::UnknownResolved);
    }

    #[test]
    fn nothing_is_missed_at_the_edges_of_the_window() {
        for at in [9 * HOUR, 10 * HOUR + 1, 34 * HOUR - 1] {
            let at = Timestamp(at);
            assert_eq!(one(&[Expected { at, ..ours(1, 5) }], &[]), Finding::InFlight);
            let row = ProviderRow { created: at, ..theirs(1, 5) };
            assert_eq!(one(&[], &[row]), Finding::InFlight);
        }
        let changed = Timestamp(34 * HOUR - 1);
        let just = Expected { changed, ..ours(1, 5) };
        assert_eq!(one(&[just], &[theirs(1, 0)]), Finding::InFlight);
    }

    #[test]
    fn the_same_operation_done_twice_is_seen() {
        let second = ProviderRow { reference: reference(9), ..theirs(1, 500) };
        let report = reconcile(&[ours(1, 500)], &[theirs(1, 500), second], WINDOW);
        assert_eq!(report.count(Finding::Twice), 1);
        assert_eq!(report.alarming().count(), 1);
        let euros = report.totals[&Currency::EUR];
        assert_eq!((euros.taken_here, euros.taken_there), (500, 1000));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Every row is in exactly one line, totals are the sums, and sides that agree raise no alarm.
        #[test]
        fn every_row_is_accounted_for(
            left in proptest::collection::btree_map(0_u128..20, 0_u128..3, 0..15),
            right in proptest::collection::btree_map(0_u128..20, 0_u128..3, 0..15),
        ) {
            let here: Vec<Expected> = left.iter().map(|(id, moved)| ours(*id, *moved)).collect();
            let there: Vec<ProviderRow> = right.iter().map(|(id, moved)| theirs(*id, *moved)).collect();
            let report = reconcile(&here, &there, WINDOW);
            let count = |keep: fn(&Line) -> bool| report.lines.iter().filter(|line| keep(line)).count();
            prop_assert_eq!(count(|line| line.ours.is_some()), here.len());
            prop_assert_eq!(count(|line| line.theirs.is_some()), there.len());
            for line in &report.lines {
                let here = line.ours.as_ref().map(|row| row.moved);
                let there = line.theirs.as_ref().map(|row| row.moved);
                prop_assert_eq!(line.finding.is_alarming(), here != there, "{:?}", line);
            }
            let totals = report.totals.get(&Currency::EUR).copied().unwrap_or_default();
            prop_assert_eq!(totals.taken_here, left.values().sum::<u128>());
            prop_assert_eq!(totals.taken_there, right.values().sum::<u128>());
        }
    }
}
