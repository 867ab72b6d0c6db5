//! The web pages of operators, embedded in the binary.
