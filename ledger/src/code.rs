//! What a transfer is for: the codes of the journal, one table of number, name and meaning.
//!
//! The numbers are stored and hashed: append only, never reuse one.

#![expect(
    missing_debug_implementations,
    reason = "rkyv's resolvers, made within a macro, have none"
)]

use std::fmt;

use rkyv::{Archive, Deserialize, Serialize};

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal $text:literal,)*) => {
        /// What a transfer is for. Stored and hashed: append only.
        #[derive(
            Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
        )]
        #[rkyv(derive(Debug))]
        #[repr(u16)]
        pub enum Code {
            $($(#[doc = $doc])* $name = $number,)*
        }

        impl Code {
            /// All codes, in the order of their numbers.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// Upper-case name for SQL and HTTP.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// Money from outside into a wallet.
    Deposit = 1 "DEPOSIT",
    /// Set aside before a charge.
    Hold = 2 "HOLD",
    /// Set aside because the charge costs more than expected.
    HoldRaise = 3 "HOLD_RAISE",
    /// The driver pays for a charge.
    Energy = 4 "ENERGY",
    /// The site host's part of a charge.
    SiteHostShare = 5 "SITE_HOST_SHARE",
    /// The operator's part of a charge.
    OperatorShare = 6 "OPERATOR_SHARE",
    /// The platform's part of a charge.
    PlatformShare = 7 "PLATFORM_SHARE",
    /// The state's part of a charge.
    Tax = 8 "TAX",
    /// Between partitions.
    Clearing = 9 "CLEARING",
    /// Owed by a driver whose wallet did not suffice.
    Receivable = 10 "RECEIVABLE",
    /// A hold given back.
    Release = 11 "RELEASE",
    /// A person put something right.
    Correction = 12 "CORRECTION",
    /// Money back to a driver.
    Refund = 13 "REFUND",
    /// Money out of the system.
    Payout = 14 "PAYOUT",
    /// The payment provider took money from a card: it owes it to us now.
    PspCapture = 15 "PSP_CAPTURE",
    /// What the payment provider keeps for its work.
    PspFee = 16 "PSP_FEE",
    /// The payment provider gave money back to a card.
    PspRefund = 17 "PSP_REFUND",
    /// One side of a currency exchange.
    Fx = 18 "FX",
    /// What the house earns on a currency exchange.
    FxSpread = 19 "FX_SPREAD",
    /// The roaming partner's or hub's part of a charge.
    RoamingShare = 20 "ROAMING_SHARE",
    /// The grid operator's part of a charge.
    GridFee = 21 "GRID_FEE",
    /// The energy supplier's part of a charge.
    SupplierShare = 22 "SUPPLIER_SHARE",
    /// Tops a partner up to the minimum of the contract.
    Guarantee = 23 "GUARANTEE",
    /// A fee per session or per month that does not follow revenue.
    FixedFee = 24 "FIXED_FEE",
    /// What rounding, of cash or of a document, gave or took.
    Rounding = 25 "ROUNDING",
    /// Money whose owner is not known yet.
    Suspense = 26 "SUSPENSE",
    /// A debt given up.
    WriteOff = 27 "WRITE_OFF",
    /// A bank took a payment back.
    Chargeback = 28 "CHARGEBACK",
    /// Set aside, or given back, while a payment is disputed.
    Dispute = 29 "DISPUTE",
    /// A booked set undone by its mirror.
    Reversal = 30 "REVERSAL",
    /// A later truth booked as the difference from what stood.
    Adjustment = 31 "ADJUSTMENT",
    /// The host's cost of energy and the margin on it, under a cost-plus contract.
    CostPlus = 32 "COST_PLUS",
    /// The host's cost of energy, paid back per kWh.
    EnergyCost = 33 "ENERGY_COST",
    /// The part of a partner that is none of the others.
    PartnerShare = 34 "PARTNER_SHARE",
    /// An account emptied into another at the end of a day or a period.
    Sweep = 35 "SWEEP",
    /// What a bank or a provider asks for a dispute.
    DisputeFee = 36 "DISPUTE_FEE",
    /// What stood in the books that were kept before these.
    OpeningBalance = 37 "OPENING_BALANCE",
    /// A reminder's fee, or interest on what is owed.
    Dunning = 38 "DUNNING",
    /// A discount or a gift of the house.
    Bonus = 39 "BONUS",
    /// A driver pays what was owed.
    DebtPayment = 40 "DEBT_PAYMENT",
}

impl Code {
    /// The number that is hashed and shown to auditors.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The code of a number that [`Code::number`] gave.
    #[must_use]
    pub fn of_number(number: u16) -> Option<Code> {
        let place = usize::from(number.checked_sub(1)?);
        Code::ALL.get(place).copied()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_their_codes_without_a_gap() {
        for (number, code) in (1..).zip(Code::ALL) {
            assert_eq!(code.number(), number);
            assert_eq!(Code::of_number(number), Some(*code));
        }
        assert_eq!(Code::of_number(0), None);
        assert_eq!(Code::of_number(41), None);
    }

    #[test]
    fn no_two_codes_share_a_name() {
        let names: std::collections::BTreeSet<&str> =
            Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
