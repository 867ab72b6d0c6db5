//! Tamper evidence.
