//! What a period came to, session by session, and what the contract's terms settle at its end.

use crate::contract::{Base, PARTIES_MAX, PartyId, Purpose, RevenueContract, Share, Term};
use novax_model::Amount;
use rkyv::{Archive, Deserialize, Serialize};

/// Running sums of the sessions of one contract and period.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Accrual {
    /// How many.
    pub sessions: u64,
    /// Delivered.
    pub energy_wh: u64,
    /// What drivers paid, in minor units.
    pub gross: Amount,
    /// Without taxes, in minor units.
    pub net: Amount,
    /// What each party got, by its place in the contract.
    pub by_party: Vec<Amount>,
}

/// A payment between parties that a period's end brings.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[rkyv(derive(Debug))]
pub struct Settlement {
    /// Who gets it.
    pub party: PartyId,
    /// Who pays it.
    pub payer: PartyId,
    /// What for.
    pub purpose: Purpose,
    /// It makes up what lacks to a guarantee; otherwise it is a fee.
    pub is_guarantee: bool,
    /// How much, in minor units; never zero.
    pub amount: Amount,
}

impl Accrual {
    /// Counts a session that was split.
    ///
    /// # Panics
    /// When the shares are not the base's: their sum is its net, and each names a party.
    pub fn add(&mut self, base: &Base, shares: &[Share]) {
        let sum: Amount = shares.iter().map(|share| share.amount).sum();
        assert_eq!(sum, base.net, "the shares are the net");
        for share in shares {
            *self.of_mut(share.party) += share.amount;
        }
        self.sessions += 1;
        self.energy_wh = self.energy_wh.saturating_add(base.energy_wh);
        self.gross += base.gross;
        self.net += base.net;
        self.assert_sums();
    }

    /// Takes a session out again: it was refunded, and its shares with it.
    ///
    /// # Panics
    /// When it was never counted: something would become negative.
    pub fn subtract(&mut self, base: &Base, shares: &[Share]) {
        let less = |from: Amount, amount: Amount| {
            from.checked_sub(amount).expect("only what was counted is taken out")
        };
        for share in shares {
            let of = self.of_mut(share.party);
            *of = less(*of, share.amount);
        }
        self.sessions = self.sessions.checked_sub(1).expect("only what was counted is taken out");
        self.energy_wh = self.energy_wh.saturating_sub(base.energy_wh);
        self.gross = less(self.gross, base.gross);
        self.net = less(self.net, base.net);
        self.assert_sums();
    }

    /// What a party got.
    #[must_use]
    pub fn of(&self, party: PartyId) -> Amount {
        self.by_party.get(usize::from(party.0)).copied().unwrap_or(0)
    }

    fn of_mut(&mut self, party: PartyId) -> &mut Amount {
        let place = usize::from(party.0);
        assert!(place < PARTIES_MAX, "a contract was checked for its parties");
        if self.by_party.len() <= place {
            self.by_party.resize(place + 1, 0);
        }
        &mut self.by_party[place]
    }

    fn assert_sums(&self) {
        assert_eq!(self.by_party.iter().sum::<Amount>(), self.net, "the parties' sums are the net");
        assert!(self.net <= self.gross, "tax is never negative");
    }
}

/// What the terms of a contract bring at the end of a period, in the order of the terms.
///
/// A guarantee looks at what the party got of sessions, not at fees. The caller closes each period
/// once, by the key of contract and period.
#[must_use]
pub fn close_period(contract: &RevenueContract, accrual: &Accrual) -> Vec<Settlement> {
    let settlements = contract.terms.iter().map(|term| match *term {
        Term::MinimumGuarantee { party, payer, amount } => Settlement {
            party,
            payer,
            purpose: Purpose::Partner,
            is_guarantee: true,
            amount: amount.saturating_sub(accrual.of(party)),
        },
        Term::FixedFee { party, payer, amount, purpose } => {
            Settlement { party, payer, purpose, is_guarantee: false, amount }
        }
    });
    settlements.filter(|settlement| settlement.amount > 0).collect()
}
