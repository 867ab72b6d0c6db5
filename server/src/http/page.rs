//! Pages of lists: a limit, an opaque token, `{items, next_page}`.
//!
//! Keyset pagination: a token names the last row that was looked at, so a page costs the same
//! wherever it lies, the server keeps nothing, and rows that come or go move no other row.

use super::problem::Problem;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use novax_charging::Keyspace;
use novax_model::PartitionId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Items of a page when the client does not say.
const LIMIT_DEFAULT: u16 = 100;
/// Items of a page at most.
pub(super) const LIMIT_MAX: u16 = 1_000;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ResultsPage<T> {
    /// The items, in the order of their ids. A filter may leave a page short, even empty.
    pub items: Vec<T>,
    /// Send it as `page_token` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page: Option<String>,
}

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageParams {
    /// Items at most: 1 to 1000, 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// `next_page` of the page before; absent for the first.
    pub page_token: Option<String>,
}

impl PageParams {
    /// What to read from a table.
    pub(super) fn want(&self, keyspace: Keyspace) -> Result<Want, Problem> {
        Want::new(self.limit, self.page_token.as_deref(), keyspace)
    }
}

/// What to read: how much, and after which row.
#[derive(Debug)]
pub(super) struct Want {
    /// Which table.
    pub keyspace: Keyspace,
    /// Items at most.
    pub limit: usize,
    /// The last row of the page before.
    pub after: Option<Cursor>,
}

impl Want {
    pub(super) fn new(
        limit: Option<u16>,
        token: Option<&str>,
        keyspace: Keyspace,
    ) -> Result<Want, Problem> {
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let detail = format!("limit is {limit}; it goes from 1 to {LIMIT_MAX}");
            return Err(Problem::bad_request("invalid_limit", detail));
        }
        let after = token.map(|token| Cursor::read(token, keyspace)).transpose()?;
        Ok(Want { keyspace, limit: usize::from(limit), after })
    }
}

/// A place in a table: rows are ordered by key, then by partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The row's key.
    pub key: Vec<u8>,
    /// The row's partition.
    pub partition: PartitionId,
}

/// First byte of a token: the version of this coding.
const TOKEN_VERSION: u8 = 1;
/// Keys are at most 1 KiB; a longer token is none of ours.
const TOKEN_CHARS_MAX: usize = 1_500;

impl Cursor {
    /// The token of this place: version, table, partition, key.
    pub(super) fn token(&self, keyspace: Keyspace) -> String {
        let mut bytes = vec![TOKEN_VERSION, keyspace as u8];
        bytes.extend_from_slice(&self.partition.0.to_be_bytes());
        bytes.extend_from_slice(&self.key);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(token: &str, keyspace: Keyspace) -> Result<Cursor, Problem> {
        let bad = || Problem::bad_request("invalid_page_token", "page_token is not from this list");
        if token.len() > TOKEN_CHARS_MAX {
            return Err(bad());
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
        let [TOKEN_VERSION, table, high, low, key @ ..] = bytes.as_slice() else {
            return Err(bad());
        };
        if *table != keyspace as u8 {
            return Err(bad());
        }
        let partition = PartitionId(u16::from_be_bytes([*high, *low]));
        Ok(Cursor { key: key.to_vec(), partition })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_are_kept() {
        let want = |limit| Want::new(limit, None, Keyspace::Sites).map(|want| want.limit);
        assert_eq!(want(None), Ok(100));
        assert_eq!(want(Some(1_000)), Ok(1_000));
        assert_eq!(want(Some(0)).unwrap_err().code(), "invalid_limit");
        assert_eq!(want(Some(1_001)).unwrap_err().code(), "invalid_limit");
    }

    #[test]
    fn a_token_of_another_list_is_refused() {
        let cursor = Cursor { key: b"a".to_vec(), partition: PartitionId(3) };
        let token = cursor.token(Keyspace::Sites);
        assert_eq!(Cursor::read(&token, Keyspace::Sites), Ok(cursor));
        let problem = Cursor::read(&token, Keyspace::Drivers).unwrap_err();
        assert_eq!(problem.code(), "invalid_page_token");
    }

    proptest! {
        #[test]
        fn tokens_read_back(key in proptest::collection::vec(any::<u8>(), 0..64), partition: u16) {
            let cursor = Cursor { key, partition: PartitionId(partition) };
            let token = cursor.token(Keyspace::Sessions);
            prop_assert_eq!(Cursor::read(&token, Keyspace::Sessions), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_token_or_a_problem(token in ".{0,80}") {
            let _ = Cursor::read(&token, Keyspace::Sessions);
        }
    }
}
