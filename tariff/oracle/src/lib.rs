//! Our rating beside another.
