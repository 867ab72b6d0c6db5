//! Why the ledger said no. A refused set of legs has left no trace.

use novax_model::{AccountId, Amount, Currency, TransferKey};

use crate::transfer::{HOLD_LEGS_MAX, HoldId, LEGS_MAX, RateId};

/// Why a call was refused.
///
/// All but the last two are the caller's to answer for: the request, not the ledger, is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// A leg names an account that was never opened.
    #[error("account {0} does not exist")]
    AccountMissing(AccountId),
    /// The account is open already, with another name, currency, limit or nature.
    #[error("account {0} is already open with another name, currency, limit or nature")]
    AccountDiffers(AccountId),
    /// The account was closed: it takes no new legs.
    #[error("account {0} is closed")]
    AccountClosed(AccountId),
    /// Only the name of a person's account can be erased.
    #[error("account {0} does not belong to a person")]
    NotPersonal(AccountId),
    /// The name is longer than [`crate::account::NAME_BYTES_MAX`].
    #[error("the name of account {0} is too long")]
    NameTooLong(AccountId),
    /// The two accounts of a leg are kept in different currencies.
    #[error("the debit account is kept in {debit}, the credit account in {credit}")]
    CurrencyDiffers {
        /// Of the account to debit.
        debit: Currency,
        /// Of the account to credit.
        credit: Currency,
    },
    /// The leg would take an account past its limit, counting what is held on it.
    #[error("account {account} can give {available}, the leg needs {required}")]
    LimitExceeded {
        /// Whose limit.
        account: AccountId,
        /// What is left under the limit.
        available: Amount,
        /// What the leg asked for.
        required: Amount,
    },
    /// No such hold was ever placed.
    #[error("hold {0} was never placed")]
    HoldMissing(HoldId),
    /// The hold was posted before; each hold is resolved once.
    #[error("hold {0} has already been posted")]
    HoldAlreadyPosted(HoldId),
    /// The hold was voided before; each hold is resolved once.
    #[error("hold {0} has already been voided")]
    HoldAlreadyVoided(HoldId),
    /// The hold's time is over.
    #[error("hold {0} has expired")]
    HoldExpired(HoldId),
    /// More was to be posted than is held.
    #[error("hold {hold} is for {held}, the leg needs {required}")]
    ExceedsHold {
        /// Which hold.
        hold: HoldId,
        /// What it holds.
        held: Amount,
        /// What the leg asked for.
        required: Amount,
    },
    /// A hold would be over before it begins.
    #[error("the hold would expire at or before the time it is placed")]
    ExpiresInPast,
    /// A leg would move money from an account to itself.
    #[error("account {0} stands on both sides of a leg")]
    SameAccount(AccountId),
    /// A post or a hold of nothing; a raise that changes nothing.
    #[error("a post or a hold must be of more than zero")]
    ZeroAmount,
    /// A balance or a currency's total would not fit 128 bits.
    #[error("a balance would overflow")]
    Overflow,
    /// A set without legs.
    #[error("a set of transfers has at least one leg")]
    NoLegs,
    /// More legs than [`LEGS_MAX`].
    #[error("a set of transfers has at most {LEGS_MAX} legs, not {0}")]
    TooManyLegs(usize),
    /// The key was used for other legs before.
    #[error("key {0} was used before, for other legs")]
    KeyReused(TransferKey),
    /// Balancing legs alone, and there was nothing to move. The key is not used up.
    #[error("there was nothing to move")]
    NothingMoved,
    /// A hold too far down in its set.
    #[error("leg {0} is a hold: only the first {HOLD_LEGS_MAX} legs of a set may be")]
    HoldTooLate(u8),
    /// The legs that name a rate are not in exactly two currencies.
    #[error("the legs that name rate {0} are not in two currencies")]
    NotAnExchange(RateId),
    /// The set to undo was never booked here, or so long ago that its key was forgotten.
    #[error("set {0} was never booked, or its key is forgotten")]
    OriginalMissing(TransferKey),
    /// The rows that came with a reversal are not what was booked under that key.
    #[error("the rows are not those booked under {0}")]
    LinesDiffer(TransferKey),
    /// The set moved no money: holds are resolved, not reversed.
    #[error("set {0} moved nothing that could be undone")]
    NothingToUndo(TransferKey),
    /// The set undoes another one. What was undone wrongly is booked anew.
    #[error("set {0} is itself a reversal")]
    IsReversal(TransferKey),
    /// The set was reversed before; each is reversed once.
    #[error("set {0} has already been reversed")]
    AlreadyReversed(TransferKey),
    /// A part of the set was refunded: only the rest can be, by another refund.
    #[error("{refunded} of set {key} were refunded before")]
    PartlyRefunded {
        /// Which set.
        key: TransferKey,
        /// How much was refunded so far.
        refunded: Amount,
    },
    /// More was to be refunded than is left of what the set moved.
    #[error("{refundable} of set {key} can be refunded, not {required}")]
    ExceedsOriginal {
        /// Which set.
        key: TransferKey,
        /// What is left.
        refundable: Amount,
        /// What was asked for.
        required: Amount,
    },
    /// A refund is an amount of one currency; the set moved several. It can be reversed whole.
    #[error("set {0} moved several currencies: it can only be reversed whole")]
    RefundOfSeveralCurrencies(TransferKey),
    /// A period ends in the future, or before one that was closed already.
    #[error("a period is closed after its end, and in order")]
    PeriodNotOver,
    /// Stored rows do not belong together: our fault, or the disk's.
    #[error("the stored rows do not fit together: {0}")]
    Inconsistent(&'static str),
    /// Debits and credits of a currency differ: our fault, or the disk's.
    #[error("debits and credits in {0} differ")]
    NotConserved(Currency),
}
