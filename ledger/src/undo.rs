//! Legs that undo a booked set, worked out from its journal rows.
//!
//! A **reversal** mirrors each movement, the last one first. A **refund** takes a part back: what
//! the set's accounts gained and lost on the whole, in proportion. An account that money only passed
//! through has no part in it, and keeps none.
//!
//! **How a refund is shared out.** Several refunds of one set, however cut, must add up to the
//! reversal, and none may take more from a party than the set gave it. Largest remainders do neither:
//! a larger sum can give a party less. So the whole of what was refunded is shared by highest
//! averages as Webster did: each minor unit in turn goes to the party with the largest part per half
//! unit more than it has, the first of equals, which is rounding to the nearest. A party's share
//! never shrinks as the sum grows, and is its whole part when the sum is whole. One refund is the
//! difference between two such sharings.

use novax_model::{AccountId, Amount, Currency, TransferKey};

use crate::code::Code;
use crate::error::LedgerError;
use crate::fingerprint::digest;
use crate::journal::JournalRow;
use crate::keys::Known;
use crate::transfer::{LEGS_MAX, Leg, RateId};

/// Sums above this are not shared out: their products would not fit 128 bits.
const SHARED_MAX: Amount = 1 << 63;

/// Whether `lines` are the rows booked under `key`, all of them, in order and unchanged.
pub(crate) fn check_lines(
    key: TransferKey,
    known: &Known,
    lines: &[JournalRow],
) -> Result<(), LedgerError> {
    let differs = LedgerError::LinesDiffer(key);
    if lines.len() != usize::from(known.rows) || lines.len() > LEGS_MAX {
        return Err(differs);
    }
    let is_in_place = |(number, row): (u64, &JournalRow)| row.key == key && row.number == number;
    if !(known.first..).zip(lines).all(is_in_place) || digest(lines) != known.digest {
        return Err(differs);
    }
    Ok(())
}

/// The movements of a set mirrored, the last one first.
pub(crate) fn mirror(
    key: TransferKey,
    lines: &[JournalRow],
    code: Code,
    legs: &mut Vec<Leg>,
) -> Result<(), LedgerError> {
    legs.clear();
    for row in lines.iter().rev().filter(|row| row.kind.is_movement()) {
        let (debit, credit, amount) = (row.credit, row.debit, row.amount);
        legs.push(match row.rate {
            Some(rate) => Leg::Convert { debit, credit, amount, code, rate },
            None => Leg::Post { debit, credit, amount, code },
        });
    }
    if legs.is_empty() { Err(LedgerError::NothingToUndo(key)) } else { Ok(()) }
}

/// A part of a set's money: whose, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    account: AccountId,
    amount: Amount,
}

/// Legs that take back `amount`, after `refunded` was taken back before.
pub(crate) fn pro_rata(
    key: TransferKey,
    lines: &[JournalRow],
    refunded: Amount,
    amount: Amount,
    code: Code,
    legs: &mut Vec<Leg>,
) -> Result<(), LedgerError> {
    legs.clear();
    if amount == 0 {
        return Err(LedgerError::ZeroAmount);
    }
    let (givers, takers) = net_parts(key, lines)?;
    let total: Amount = takers.iter().map(|part| part.amount).sum();
    assert_eq!(total, givers.iter().map(|part| part.amount).sum::<Amount>(), "double entry");
    let refundable = total.checked_sub(refunded).expect("no more was refunded than moved");
    if amount > refundable {
        return Err(LedgerError::ExceedsOriginal { key, refundable, required: amount });
    }
    let takers = share_between(&takers, total, refunded, refunded + amount);
    let givers = share_between(&givers, total, refunded, refunded + amount);
    pair_up(&takers, &givers, code, legs);
    if legs.len() > LEGS_MAX {
        return Err(LedgerError::TooManyLegs(legs.len()));
    }
    Ok(())
}

/// How a refund goes back through an exchange.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The currency that was shared out, of which the refund's amount is.
    pub currency: Currency,
    /// Who keeps what they got by the exchange itself.
    pub kept: AccountId,
    /// The rate that both sides name.
    pub rate: RateId,
    /// What the refund is for.
    pub code: Code,
    /// What goes back in the currency that was paid, if it comes to anything.
    pub back: &'a [Leg],
}

/// Legs that take back `amount` of the currency that was shared out, and give back what the caller says of
/// the one that was paid.
pub(crate) fn exchanged(
    key: TransferKey,
    lines: &[JournalRow],
    refunded: Amount,
    amount: Amount,
    exchange: &Exchange<'_>,
    legs: &mut Vec<Leg>,
) -> Result<(), LedgerError> {
    let is_shared =
        |row: &&JournalRow| row.currency == exchange.currency && row.credit != exchange.kept;
    let shared: Vec<JournalRow> = lines.iter().filter(is_shared).cloned().collect();
    pro_rata(key, &shared, refunded, amount, exchange.code, legs)?;
    legs.extend_from_slice(exchange.back);
    if exchange.back.is_empty() {
        return Ok(());
    }
    let rate = exchange.rate;
    for leg in legs {
        if let Leg::Post { debit, credit, amount, code } = *leg {
            *leg = Leg::Convert { debit, credit, amount, code, rate };
        }
    }
    Ok(())
}

/// Who lost and who gained by the set, each in the order in which its rows name them.
fn net_parts(
    key: TransferKey,
    lines: &[JournalRow],
) -> Result<(Vec<Part>, Vec<Part>), LedgerError> {
    let moved = || lines.iter().filter(|row| row.kind.is_movement());
    let Some(first) = moved().next() else { return Err(LedgerError::NothingToUndo(key)) };
    if moved().any(|row| row.currency != first.currency) {
        return Err(LedgerError::RefundOfSeveralCurrencies(key));
    }
    let mut sums: Vec<(AccountId, Amount, Amount)> = Vec::with_capacity(2 * lines.len());
    for row in moved() {
        for (account, debit, credit) in [(row.debit, row.amount, 0), (row.credit, 0, row.amount)] {
            let place = sums.iter().position(|(known, ..)| *known == account);
            let place = place.unwrap_or_else(|| {
                sums.push((account, 0, 0));
                sums.len() - 1
            });
            let (_, debits, credits) = &mut sums[place];
            *debits = debits.checked_add(debit).ok_or(LedgerError::Overflow)?;
            *credits = credits.checked_add(credit).ok_or(LedgerError::Overflow)?;
        }
    }
    let (mut givers, mut takers) = (Vec::new(), Vec::new());
    for (account, debits, credits) in sums {
        if debits > credits {
            givers.push(Part { account, amount: debits - credits });
        } else if credits > debits {
            takers.push(Part { account, amount: credits - debits });
        }
    }
    if givers.is_empty() {
        return Err(LedgerError::NothingToUndo(key));
    }
    let largest = givers.iter().chain(&takers).map(|part| part.amount).max().unwrap_or(0);
    if largest > SHARED_MAX / (LEGS_MAX as Amount) {
        return Err(LedgerError::Overflow);
    }
    Ok((givers, takers))
}

/// Each part's share of the step from `from` to `to` of `total`; nobody's share is left out.
fn share_between(parts: &[Part], total: Amount, from: Amount, to: Amount) -> Vec<Part> {
    let (before, after) = (shares(parts, total, from), shares(parts, total, to));
    let steps = parts.iter().zip(before.iter().zip(after));
    let shared: Vec<Part> = steps
        .map(|(part, (before, after))| Part {
            account: part.account,
            amount: after.checked_sub(*before).expect("a share never shrinks"),
        })
        .collect();
    assert_eq!(shared.iter().map(|part| part.amount).sum::<Amount>(), to - from, "all is shared");
    shared
}

/// `sum` of `total` shared out by highest averages.
fn shares(parts: &[Part], total: Amount, sum: Amount) -> Vec<Amount> {
    assert!(sum <= total && total <= SHARED_MAX, "no more is shared than there is");
    // Rounding to the nearest deals out at most half a unit too much to each: short of the sum by
    // one each, these are the first units to be dealt, and need not be dealt one by one.
    let count = parts.len() as Amount;
    let short = sum.saturating_sub(count);
    let round = |part: &Part| (2 * part.amount * short + total) / (2 * total);
    let mut shares: Vec<Amount> = parts.iter().map(round).collect();
    let left = sum.checked_sub(shares.iter().sum()).expect("short of the sum");
    assert!(left <= 2 * count, "each part was rounded by at most a half");
    for _ in 0..left {
        let mut best = 0;
        for place in 1..parts.len() {
            // amount / (share + 1/2), compared by cross multiplication; the first of equals stays.
            let this = parts[place].amount * (2 * shares[best] + 1);
            if this > parts[best].amount * (2 * shares[place] + 1) {
                best = place;
            }
        }
        shares[best] += 1;
    }
    for (share, part) in shares.iter().zip(parts) {
        assert!(*share <= part.amount, "nobody gives back more than was given");
    }
    shares
}

/// Moves each taker's share to the givers, both in order, cutting where one ends.
fn pair_up(takers: &[Part], givers: &[Part], code: Code, legs: &mut Vec<Leg>) {
    let mut open = givers.iter().copied();
    let mut giver = open.next();
    for taker in takers {
        let mut left = taker.amount;
        while left > 0 {
            let to = giver.as_mut().expect("both sides sum to the same");
            let amount = left.min(to.amount);
            if amount > 0 {
                legs.push(Leg::Post { debit: taker.account, credit: to.account, amount, code });
            }
            left -= amount;
            to.amount -= amount;
            if to.amount == 0 {
                giver = open.next();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(amounts: &[Amount]) -> Vec<Part> {
        let accounts = (1..).map(AccountId);
        accounts.zip(amounts).map(|(account, amount)| Part { account, amount: *amount }).collect()
    }

    #[test]
    fn shares_only_grow_and_end_whole() {
        for amounts in [&[1, 1, 1][..], &[220, 1983, 419], &[5, 3, 3, 1], &[7], &[1, 1000, 1]] {
            let parts = parts(amounts);
            let total = amounts.iter().sum();
            let mut before = vec![0; amounts.len()];
            for sum in 0..=total {
                let now = shares(&parts, total, sum);
                assert_eq!(now.iter().sum::<Amount>(), sum);
                assert!(before.iter().zip(&now).all(|(before, now)| before <= now), "{amounts:?}");
                before = now;
            }
            assert_eq!(before, amounts);
        }
    }

    #[test]
    fn the_largest_sums_are_shared_without_overflow() {
        let most = SHARED_MAX / (LEGS_MAX as Amount);
        let parts = parts(&[most, most - 1, 1]);
        let shared = shares(&parts, 2 * most, most);
        assert_eq!(shared.iter().sum::<Amount>(), most);
    }
}
