//! The journal as one file that proves itself: docs/formats/audit-export.md lists its bytes.
//!
//! Floors, each using only what stands below:
//!
//! * [`verify`](verify()): reads an export as an auditor who trusts nothing but public keys
//! * `books`: double entry, worked out anew from the transactions
//! * [`Writer`]: writes one
//! * `reader`: one record after the other; the first changed byte
//! * `record`: how a record protects itself
//!
//! Reading and writing are streams: memory is bounded by one record, but for what the books must
//! remember (about 100 bytes a transaction).

mod books;
mod reader;
pub(crate) mod record;
mod verify;
mod writer;

pub use record::RECORD_BYTES_MAX;
pub use verify::{Report, Trial, verify};
pub use writer::{Start, Writer};
