//! Power allocation under site limits. Pure.
