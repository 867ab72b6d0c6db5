//! SQL over the state of a node: DataFusion tables, PostgreSQL wire protocol, the shell.
