//! Sans-I/O codecs: WebSocket, OCPP 1.6J and OCPP 2.0.1, for the server's side and the charger's.
//!
//! Bytes in, messages out; messages in, bytes out. There is no socket, thread, clock or random number
//! here: the caller brings the bytes, the masking keys and the time. From the bottom up:
//!
//! * [`http`]: the upgrade request and its answer
//! * [`ws`]: WebSocket frames
//! * [`ocpp`]: the OCPP-J envelope, typed messages of both versions, meter values
//!
//! Invariants: whatever the input, nothing panics, and no buffer grows past a limit set by the caller
//! or by a constant named `.._MAX`. What a codec refuses, it refuses with the answer the standard asks for.

pub mod http;
pub mod ocpp;
pub mod ws;

#[doc(hidden)]
pub mod fuzz;
