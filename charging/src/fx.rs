//! Drivers whose wallet is in another currency than the tariff.
//!
//! The rate that is in force when a session is asked for is frozen, in its deal, or in the row of the
//! payer's partition, which converts by its own rates. Hold, bill and every later difference are
//! converted by it. Money passes through clearing in both currencies and through `fx/position`; what
//! lies between the middle rate and what was given is `fx/spread`; each such line names the rate.
//!
//! **Invariants**: a rate is never changed once it is put; the amounts of a session in the wallet's
//! currency are functions of those in the tariff's, so nothing drifts however often it is adjusted.

use crate::accounts::Name;
use crate::command::{Outcome, Refusal};
use crate::hash::key128;
use crate::money::{Debtor, HoldPlace, words};
use crate::partition::Partition;
use crate::rows::{Deal, FxRateRow, Keyspace, PayerSessionRow, archive, fx_rate_key};
use crate::state::State;
use novax_ledger::{Code, Leg, RateId};
use novax_model::{AccountId, Amount, Currency, Timestamp};
use novax_settlement::{Conversion, Rate, cost_of};
use std::collections::BTreeMap;

/// Most pairs of currencies.
const PAIRS_MAX: usize = 4_096;
/// Most rates of one pair that are announced and not yet in force.
const ANNOUNCED_MAX: usize = 32;

/// Rates by pair and by when they come in force.
#[derive(Debug, Default)]
pub(crate) struct Rates(BTreeMap<(Currency, Currency), BTreeMap<Timestamp, Rate>>);

impl Rates {
    /// The rate from one currency into another at a time.
    fn at(&self, base: Currency, quote: Currency, now: Timestamp) -> Option<&Rate> {
        let (_, rate) = self.0.get(&(base, quote))?.range(..=now).next_back()?;
        (now < rate.until).then_some(rate)
    }

    pub(crate) fn insert(&mut self, rate: Rate) {
        self.0.entry((rate.base, rate.quote)).or_default().insert(rate.from, rate);
    }

    /// Those before the one that counts now are of no more use here; the store keeps them.
    fn forget_before(&mut self, pair: (Currency, Currency), now: Timestamp) {
        let Some(rates) = self.0.get_mut(&pair) else { return };
        let current = rates.range(..=now).next_back().map(|(from, _)| *from);
        rates.retain(|from, _| current.is_none_or(|current| *from >= current));
    }
}

/// As the journal names a rate.
pub(crate) fn rate_id(rate: &Rate) -> RateId {
    let (base, quote) = (rate.base.bytes(), rate.quote.bytes());
    let (from, mantissa) = (rate.from.0.to_le_bytes(), rate.mantissa.to_le_bytes());
    let rest = [&[rate.scale][..], &rate.spread_ppm.to_le_bytes()].concat();
    RateId(key128(&[b"rate", rate.id.as_bytes(), &base, &quote, &from, &mantissa, &rest]))
}

/// What an amount of the tariff's currency costs in the wallet's. A frozen rate stays good.
fn conversion(rate: &Rate, to: Amount) -> Result<Conversion, Refusal> {
    cost_of(to, rate, rate.from).map_err(|_| Refusal::Full)
}

/// An amount of the tariff's currency in the wallet's.
pub(crate) fn in_wallet(fx: Option<&Rate>, amount: Amount) -> Result<Amount, Refusal> {
    fx.map_or(Ok(amount), |rate| conversion(rate, amount).map(|cost| cost.from))
}

/// What was held, in the wallet's currency. It was converted when it was held, so it can be.
pub(crate) fn held_in_wallet(fx: Option<&Rate>, held: Amount) -> Amount {
    in_wallet(fx, held).unwrap_or(Amount::MAX)
}

impl Deal {
    /// The currency of the wallet that pays, where that is of the session's own partition.
    #[must_use]
    pub fn wallet_currency(&self) -> Currency {
        self.fx.as_ref().map_or(self.currency, |rate| rate.base)
    }
}

impl PayerSessionRow {
    /// The currency of the session's tariff.
    #[must_use]
    pub fn bill_currency(&self) -> Currency {
        self.fx.as_ref().map_or(self.currency, |rate| rate.quote)
    }

    /// What the driver owes of the bill, in the wallet's currency.
    pub(crate) fn owed(&self) -> Amount {
        match self.fx {
            Some(_) => self.fx_owed,
            None => self.billed - self.captured.unwrap_or(0),
        }
    }

    /// What the wallet gave of a bill of which it owes so much, in the tariff's currency.
    pub(crate) fn captured_of(&self, billed: Amount, owed: Amount) -> Amount {
        let Some(rate) = &self.fx else { return billed - owed };
        // The bill for which the wallet would have given what it did, and no more than the whole.
        let cost = in_wallet(Some(rate), billed).unwrap_or(owed);
        let given = cost.saturating_sub(owed);
        let worth = novax_settlement::convert(given, rate, rate.from);
        if owed == 0 { billed } else { worth.map_or(0, |worth| worth.to.min(billed)) }
    }
}

impl Partition {
    /// What an amount of a tariff costs now in a wallet's currency; `None` without a rate.
    #[must_use]
    pub fn cost_in(&self, wallet: Currency, tariff: Currency, amount: Amount) -> Option<Amount> {
        let fx = self.state.rate_between(wallet, tariff).ok()?;
        in_wallet(fx.as_ref(), amount).ok()
    }

    /// The rate from one currency into another that is in force.
    #[must_use]
    pub fn fx_rate(&self, base: Currency, quote: Currency) -> Option<&Rate> {
        self.state.rates.at(base, quote, self.state.now())
    }
}

impl State {
    /// Takes a rate in. One older than that in force changes nothing; another one from the same time is
    /// refused.
    pub(crate) fn put_fx_rate(&mut self, rate: Rate) -> Result<Outcome, Refusal> {
        rate.check().map_err(|error| Refusal::BadTerms(error.to_string().into()))?;
        let now = self.now();
        let pair = (rate.base, rate.quote);
        let known = self.rates.0.get(&pair);
        if known.is_none() && self.rates.0.len() >= PAIRS_MAX {
            return Err(Refusal::Full);
        }
        if let Some(known) = known {
            if let Some(same) = known.get(&rate.from) {
                return if *same == rate { Ok(Outcome::Done) } else { Err(Refusal::KeyReused) };
            }
            let newest = known.range(..=now).next_back();
            if newest.is_some_and(|(from, _)| *from > rate.from) {
                return Ok(Outcome::Done);
            }
            let announced = known.keys().filter(|from| **from > now).count();
            if rate.from > now && announced >= ANNOUNCED_MAX {
                return Err(Refusal::Full);
            }
        }
        let row = FxRateRow { number: rate_id(&rate).0, rate: rate.clone() };
        let key = fx_rate_key(rate.base, rate.quote, rate.from);
        self.append(Keyspace::FxRates, &key, &archive(&row));
        self.rates.insert(rate);
        self.rates.forget_before(pair, now);
        Ok(Outcome::Done)
    }

    /// The rate by which a wallet pays a tariff; `None` when both are in one currency.
    pub(crate) fn rate_between(
        &self,
        wallet: Currency,
        tariff: Currency,
    ) -> Result<Option<Rate>, Refusal> {
        if wallet == tariff {
            return Ok(None);
        }
        let rate = self.rates.at(wallet, tariff, self.now());
        rate.cloned().map(Some).ok_or(Refusal::CurrencyMismatch)
    }

    /// Legs that bring a bill from a driver to the clearing account of this name in the bill's currency.
    /// Says which account that is, and what the driver owes, in the wallet's currency.
    pub(crate) fn bring(
        &mut self,
        place: HoldPlace,
        debtor: Debtor<'_>,
        clearing: Name<'_>,
        (currency, fx): (Currency, Option<&Rate>),
        total: Amount,
        legs: &mut Vec<Leg>,
    ) -> Result<(AccountId, Amount), String> {
        let to = self.open(clearing, currency).map_err(|refusal| words(&refusal))?;
        let Some(rate) = fx else {
            let taken = self.take_legs(place, debtor, to, total, legs)?;
            return Ok((to, total - taken));
        };
        let from = self.open(clearing, rate.base).map_err(|refusal| words(&refusal))?;
        let nothing = conversion(rate, 0).map_err(|refusal| words(&refusal))?;
        let cost = conversion(rate, total).map_err(|refusal| words(&refusal))?;
        let taken = self.take_legs(place, debtor, from, cost.from, legs)?;
        self.exchange_legs(rate, (from, to), (&nothing, &cost), legs)?;
        Ok((to, cost.from - taken))
    }

    /// The same for the difference between two bills, of which `owed` was owed. Says what is owed
    /// afterwards.
    pub(crate) fn bring_difference(
        &mut self,
        debtor: Debtor<'_>,
        clearing: Name<'_>,
        (currency, fx): (Currency, Option<&Rate>),
        (was, is): (Amount, Amount),
        owed: Amount,
        legs: &mut Vec<Leg>,
    ) -> Result<(AccountId, Amount), String> {
        let to = self.open(clearing, currency).map_err(|refusal| words(&refusal))?;
        let Some(rate) = fx else {
            let owed = self.debtor_legs(debtor, to, (was, is), owed, legs)?;
            return Ok((to, owed));
        };
        let from = self.open(clearing, rate.base).map_err(|refusal| words(&refusal))?;
        let was = conversion(rate, was).map_err(|refusal| words(&refusal))?;
        let is = conversion(rate, is).map_err(|refusal| words(&refusal))?;
        let owed = self.debtor_legs(debtor, from, (was.from, is.from), owed, legs)?;
        self.exchange_legs(rate, (from, to), (&was, &is), legs)?;
        Ok((to, owed))
    }

    /// Legs that turn what one conversion brought into what another brings: out of one clearing account,
    /// into the other.
    fn exchange_legs(
        &mut self,
        rate: &Rate,
        (from, to): (AccountId, AccountId),
        (was, is): (&Conversion, &Conversion),
        legs: &mut Vec<Leg>,
    ) -> Result<(), String> {
        let mut open = |name, currency| {
            self.open(Name::Party(name), currency).map_err(|refusal| words(&refusal))
        };
        let given = open("fx/position", rate.base)?;
        let got = open("fx/position", rate.quote)?;
        let kept = open("fx/spread", rate.quote)?;
        let moves = [
            (from, given, (was.from, is.from), Code::Fx),
            (got, to, (was.to, is.to), Code::Fx),
            (got, kept, (was.spread, is.spread), Code::FxSpread),
        ];
        let changes = moves.map(|(_, _, (was, is), _)| was != is);
        // A line names the rate only where both currencies move: less than a minor unit of one may be
        // many of the other.
        let is_exchange = changes[0] && (changes[1] || changes[2]);
        let rate = rate_id(rate);
        for (debit, credit, (was, is), code) in moves {
            let amount = was.abs_diff(is);
            let (debit, credit) = if is > was { (debit, credit) } else { (credit, debit) };
            match amount {
                0 => {}
                _ if is_exchange => legs.push(Leg::Convert { debit, credit, amount, code, rate }),
                _ => legs.push(Leg::Post { debit, credit, amount, code }),
            }
        }
        Ok(())
    }
}
