//! OCPP over JSON: the envelope, the typed messages of 1.6 and 2.0.1, and what meters say.
//!
//! * [`version`], [`error`]: which OCPP is spoken, and how a call is refused in it
//! * [`text`], [`decimal`], [`time`]: the values messages are made of
//! * [`payload`]: reading a payload into a typed message, lenient where chargers are known to err
//! * [`frame`]: CALL, CALLRESULT, CALLERROR
//! * [`v16`], [`v201`]: the messages, usable in both directions
//! * [`meter`]: sampled values of both versions as ticks

#[macro_use]
mod macros;

pub mod decimal;
pub mod error;
pub mod frame;
mod json;
pub mod meter;
pub mod payload;
pub mod text;
pub mod time;
pub mod v16;
pub mod v201;
pub mod version;

pub use decimal::{Decimal, InvalidDecimal};
pub use error::{CallError, ErrorCode};
pub use frame::{Frame, FrameError, parse_frame, write_call, write_error, write_result};
pub use payload::{Notes, parse_payload, parse_payload_noting};
pub use text::{Empty, Json, Number, Text};
pub use version::Version;
