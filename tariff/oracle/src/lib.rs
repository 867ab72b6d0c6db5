//! Nothing: the comparison is the test `differential`.
