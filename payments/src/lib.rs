//! Payment providers: authorise, increment, capture, void, refund, query, webhooks, reconciliation.
//!
//! The ledger decides and commits; this crate carries a decision to a provider and an answer back, at least
//! once each, while the provider does it at most once: our operation's id is its idempotency key. An answer
//! that was lost is asked for, never guessed, and what stays unknown is left to [`reconcile`].
//!
//! * [`operation`]: what is asked, and what came of it
//! * [`provider`]: the seam that every provider implements
//! * [`stripe`]: the first one, over HTTPS
//! * [`wallet`]: the second, prepaid money in books of our own
//! * [`webhook`]: what a provider says of its own accord
//! * [`life`]: what is done about one operation, step by step, without any I/O
//! * [`worker`]: drives lives, on tokio
//! * [`reconcile`]: compares the provider's rows with ours
//!
//! Floors, each using only what stands below: `fuzz`, `mock` | `worker` | `life`, `reconcile`, `stripe`,
//! `wallet` | `provider` | `error` | `webhook` | `operation`.

pub mod error;
pub mod fuzz;
pub mod life;
#[cfg(feature = "mock")]
pub mod mock;
pub mod operation;
pub mod provider;
pub mod reconcile;
pub mod stripe;
pub mod wallet;
pub mod webhook;
pub mod worker;

pub use error::{PaymentError, WebhookError};
pub use life::{Life, Policy};
pub use operation::{
    Operation, OperationId, OperationKind, Outcome, Payer, ProviderRef, Refusal, Target,
};
pub use provider::{
    Attempt, DisputeRow, DisputeState, FeeRow, Knowledge, PaymentProvider, ProviderRow, RowKind,
    RowState,
};
pub use reconcile::{Expected, Finding, Reconciliation, Window, reconcile};
pub use webhook::{Seen, Topic, WebhookEvent};
pub use worker::{Hint, Report, Work, Worker};
