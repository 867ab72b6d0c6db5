//! What bounds the SQL side of a node.

use std::time::Duration;

/// The longest statement, in bytes. What recurses over a statement recurses over at most this many
/// levels, on stacks that are sized for it.
pub(crate) const STATEMENT_BYTES_MAX: usize = 64 << 10;
/// The deepest nesting of a statement that is planned.
pub(crate) const STATEMENT_DEPTH_MAX: usize = 500;
/// The most prepared statements and cursors of one session.
pub(crate) const PREPARED_MAX: usize = 512;

/// Limits and the password of the SQL server.
#[derive(Clone, Debug)]
pub struct SqlConfig {
    /// The longest a statement may run; sessions may ask for less.
    pub statement_timeout: Duration,
    /// The most sessions at a time.
    pub sessions_max: usize,
    /// The most rows of one result.
    pub result_rows_max: Option<usize>,
    /// The most memory all running statements together may use for joins, sorts and groups.
    pub memory_bytes_max: usize,
    /// Asked of every client when set.
    pub password: Option<String>,
}

impl Default for SqlConfig {
    fn default() -> Self {
        SqlConfig {
            statement_timeout: Duration::from_secs(60),
            sessions_max: 64,
            result_rows_max: None,
            memory_bytes_max: 256 << 20,
            password: None,
        }
    }
}
