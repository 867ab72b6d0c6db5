//! The one table of configuration keys.
//!
//! The flags of the command line, the checks of files and environment, `novax config show` and
//! `docs/config.md` all come from [`KEYS`], so none of them can tell a different story.

use super::value::Kind;

/// One thing that can be configured.
#[derive(Debug)]
pub struct Key {
    /// Its path in a TOML file: `section.key`, or a bare key at the top.
    pub name: &'static str,
    /// The flag of `novax serve` (without the dashes).
    pub flag: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its value when nobody says otherwise; `None`: it stays unset.
    pub default: Option<&'static str>,
    /// What it does, in one or two sentences.
    pub doc: &'static str,
}

impl Key {
    /// The environment variable that sets it: `NOVAX__SECTION__KEY`.
    #[must_use]
    pub fn env(&self) -> String {
        format!("{ENV_PREFIX}{}", self.name.replace('.', "__").to_ascii_uppercase())
    }

    /// Its section in a TOML file; empty at the top.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }
}

/// What every environment variable of ours starts with.
pub const ENV_PREFIX: &str = "NOVAX__";

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Every key, in the order people read about them. Keys of a section stand together.
pub const KEYS: &[Key] = &[
    Key {
        name: "data",
        flag: "data",
        kind: Kind::Path,
        default: Some("./novax-data"),
        doc: "Directory of everything the node keeps: log, tables, API key. Made when missing.",
    },
    Key {
        name: "node.shards",
        flag: "shards",
        kind: Kind::Count { min: 0, max: 256 },
        default: Some("0"),
        doc: "Threads that own sockets, log and partitions. 0 takes one for each core and keeps each on its \
              core; with fewer, the system puts them where there is room. May change between starts.",
    },
    Key {
        name: "node.partitions",
        flag: "partitions",
        kind: Kind::Count { min: 1, max: 1024 },
        default: Some("8"),
        doc: "Units of ownership and replication. Fixed when the data directory is made: \
              another number later is refused at start.",
    },
    Key {
        name: "ocpp.listen",
        flag: "ocpp",
        kind: Kind::Address,
        default: Some("127.0.0.1:9000"),
        doc: "Where charging stations connect: `ws://ADDRESS/ocpp/IDENTITY`.",
    },
    Key {
        name: "ocpp.heartbeat_s",
        flag: "heartbeat-s",
        kind: Kind::Seconds { min: 10, max: 86_400 },
        default: Some("300"),
        doc: "Heartbeat interval told to stations when they boot.",
    },
    Key {
        name: "ocpp.message_bytes_max",
        flag: "message-bytes-max",
        kind: Kind::Bytes { min: 4 << 10, max: MIB },
        default: Some("64KiB"),
        doc: "Longest OCPP message taken; a station that sends more is answered by closing \
              its socket.",
    },
    Key {
        name: "ocpp.auto_approve_site",
        flag: "auto-approve-site",
        kind: Kind::Identity,
        default: None,
        doc: "Site to which unknown stations are added when they connect. Unset: they wait as \
              pending until somebody approves them.",
    },
    Key {
        name: "http.listen",
        flag: "http",
        kind: Kind::Address,
        default: Some("127.0.0.1:8080"),
        doc: "Where the HTTP API and the console are.",
    },
    Key {
        name: "http.starts_listen",
        flag: "starts",
        kind: Kind::Address,
        default: None,
        doc: "Where apps start charges by the thousand a second: `POST /v1/sessions` as on \
              `http.listen`, by token only, served by the shards themselves. Unset: not at all.",
    },
    Key {
        name: "http.api_key",
        flag: "api-key",
        kind: Kind::Secret { min: 16 },
        default: None,
        doc: "What clients send as `Authorization: Bearer KEY`. Unset: made at the first start \
              and kept in `api.key` in the data directory.",
    },
    Key {
        name: "http.body_bytes_max",
        flag: "body-bytes-max",
        kind: Kind::Bytes { min: 1 << 10, max: 16 * MIB },
        default: Some("256KiB"),
        doc: "Longest request body taken; more is answered with 413.",
    },
    Key {
        name: "http.requests_max",
        flag: "requests-max",
        kind: Kind::Count { min: 1, max: 65_535 },
        default: Some("256"),
        doc: "Requests worked on at once; more are answered with 503 and `Retry-After`.",
    },
    Key {
        name: "http.subscribers_max",
        flag: "subscribers-max",
        kind: Kind::Count { min: 1, max: 10_000 },
        default: Some("64"),
        doc: "Open `/v1/events` streams; more are answered with 503.",
    },
    Key {
        name: "sql.listen",
        flag: "sql",
        kind: Kind::Address,
        default: Some("127.0.0.1:5433"),
        doc: "Where PostgreSQL clients connect for read-only SQL.",
    },
    Key {
        name: "sql.password",
        flag: "sql-password",
        kind: Kind::Secret { min: 8 },
        default: None,
        doc: "Password of SQL clients. Unset: none is asked on a loopback address, and the API \
              key is the password on any other.",
    },
    Key {
        name: "sql.sessions_max",
        flag: "sql-sessions-max",
        kind: Kind::Count { min: 1, max: 10_000 },
        default: Some("64"),
        doc: "SQL connections open at once; more are turned away.",
    },
    Key {
        name: "sql.statement_timeout_s",
        flag: "sql-statement-timeout-s",
        kind: Kind::Seconds { min: 1, max: 86_400 },
        default: Some("60"),
        doc: "A statement that runs longer is cancelled.",
    },
    Key {
        name: "sql.memory_bytes_max",
        flag: "sql-memory-bytes-max",
        kind: Kind::Bytes { min: 16 * MIB, max: 1024 * GIB },
        default: Some("512MiB"),
        doc: "Memory of all running statements together; a statement that needs more fails.",
    },
    Key {
        name: "engine.memtable_bytes",
        flag: "memtable-bytes",
        kind: Kind::Bytes { min: 64 << 10, max: GIB },
        default: Some("8MiB"),
        doc: "Memory for fresh rows of one partition before they are written to a table.",
    },
    Key {
        name: "engine.cache_bytes",
        flag: "cache-bytes",
        kind: Kind::Bytes { min: MIB, max: 1024 * GIB },
        default: Some("256MiB"),
        doc: "Memory for blocks of tables that are read often, shared by the stores of each shard.",
    },
    Key {
        name: "engine.scrub_bytes_per_s",
        flag: "scrub-bytes-per-s",
        kind: Kind::Bytes { min: 1 << 10, max: GIB },
        default: Some("256KiB"),
        doc: "How fast each partition reads all its tables again, in the background, to find what the disk has \
              damaged. What is found is printed and counted.",
    },
    Key {
        name: "log.segment_bytes",
        flag: "log-segment-bytes",
        kind: Kind::Bytes { min: MIB, max: 4 * GIB },
        default: Some("64MiB"),
        doc: "Size of a file of the log. Files are written with zeros ahead of their use.",
    },
    Key {
        name: "log.retain_bytes",
        flag: "log-retain-bytes",
        kind: Kind::Bytes { min: 64 << 10, max: GIB },
        default: Some("8MiB"),
        doc: "Entries each partition keeps in memory for nodes that lag, although its store has them. A node that lags \
              further is sent the whole state.",
    },
    Key {
        name: "log.direct",
        flag: "log-direct",
        kind: Kind::Bool,
        default: Some("true"),
        doc: "Write the log past the page cache (O_DIRECT) where the file system can. `false` \
              is for file systems that pretend.",
    },
    Key {
        name: "series.hot_days",
        flag: "series-hot-days",
        kind: Kind::Count { min: 1, max: 3_650 },
        default: Some("14"),
        doc: "Meter values older than this move to the cold tier.",
    },
    Key {
        name: "series.kept_days",
        flag: "series-kept-days",
        kind: Kind::Count { min: 1, max: 36_500 },
        default: Some("3650"),
        doc: "Meter values older than this are let go, in both tiers.",
    },
    Key {
        name: "series.rollup_1m_days",
        flag: "series-rollup-1m-days",
        kind: Kind::Count { min: 1, max: 36_500 },
        default: Some("366"),
        doc: "How long rollups of a minute are kept.",
    },
    Key {
        name: "series.rollup_15m_days",
        flag: "series-rollup-15m-days",
        kind: Kind::Count { min: 1, max: 36_500 },
        default: Some("1098"),
        doc: "How long rollups of a quarter of an hour are kept.",
    },
    Key {
        name: "series.rollup_1h_days",
        flag: "series-rollup-1h-days",
        kind: Kind::Count { min: 1, max: 36_500 },
        default: Some("3660"),
        doc: "How long rollups of an hour are kept.",
    },
    Key {
        name: "series.tend_s",
        flag: "series-tend-s",
        kind: Kind::Seconds { min: 1, max: 86_400 },
        default: Some("3600"),
        doc: "How often the node looks for what is old enough to move or to let go.",
    },
    Key {
        name: "cold.url",
        flag: "cold-url",
        kind: Kind::Text,
        default: None,
        doc: "Where the cold tier is: a directory, or `s3://BUCKET/PREFIX`. Unset: `cold` in the data directory.",
    },
    Key {
        name: "cold.endpoint",
        flag: "cold-endpoint",
        kind: Kind::Text,
        default: None,
        doc: "The S3-compatible server, if it is not Amazon's.",
    },
    Key {
        name: "cold.region",
        flag: "cold-region",
        kind: Kind::Text,
        default: None,
        doc: "The region of the bucket; `us-east-1` if unset.",
    },
    Key {
        name: "cold.access_key",
        flag: "cold-access-key",
        kind: Kind::Secret { min: 1 },
        default: None,
        doc: "The access key of the bucket. Unset: requests are not signed.",
    },
    Key {
        name: "cold.secret_key",
        flag: "cold-secret-key",
        kind: Kind::Secret { min: 1 },
        default: None,
        doc: "The secret of the access key.",
    },
    Key {
        name: "cold.allow_http",
        flag: "cold-allow-http",
        kind: Kind::Bool,
        default: Some("false"),
        doc: "Take an endpoint without TLS.",
    },
    Key {
        name: "payments.provider",
        flag: "payments-provider",
        kind: Kind::Text,
        default: None,
        doc: "Who moves the money of cards: `stripe`. Unset: drivers pay by wallet alone.",
    },
    Key {
        name: "payments.url",
        flag: "payments-url",
        kind: Kind::Text,
        default: None,
        doc: "Address of the provider's API. Unset: the provider's own. Without TLS only on a \
              loopback address.",
    },
    Key {
        name: "payments.secret_key",
        flag: "payments-secret-key",
        kind: Kind::Secret { min: 8 },
        default: None,
        doc: "The secret key that the provider gave.",
    },
    Key {
        name: "payments.webhook_secret",
        flag: "payments-webhook-secret",
        kind: Kind::Secret { min: 8 },
        default: None,
        doc: "What the provider signs its messages to `/v1/payments/webhooks/stripe` with.",
    },
    Key {
        name: "payments.reconcile_s",
        flag: "payments-reconcile-s",
        kind: Kind::Seconds { min: 10, max: 86_400 },
        default: Some("3600"),
        doc: "How often the provider's books are compared with ours, and what became of \
              operations without an answer is found out.",
    },
    Key {
        name: "statements.series",
        flag: "statements-series",
        kind: Kind::Text,
        default: Some("NX"),
        doc: "Begins the numbers of documents: `NX` makes `NX-INV-p0-2026-1`. At most 12 capital letters, digits \
              and hyphens.",
    },
    Key {
        name: "statements.name",
        flag: "statements-name",
        kind: Kind::Text,
        default: None,
        doc: "Who issues invoices and statements, as registered. Without name, country and a tax id there \
              are none.",
    },
    Key {
        name: "statements.street",
        flag: "statements-street",
        kind: Kind::Text,
        default: None,
        doc: "Street and number of whoever issues them.",
    },
    Key {
        name: "statements.city",
        flag: "statements-city",
        kind: Kind::Text,
        default: None,
        doc: "Town of whoever issues them.",
    },
    Key {
        name: "statements.postal_code",
        flag: "statements-postal-code",
        kind: Kind::Text,
        default: None,
        doc: "Postal code of whoever issues them.",
    },
    Key {
        name: "statements.country",
        flag: "statements-country",
        kind: Kind::Text,
        default: None,
        doc: "Country of whoever issues them, by ISO 3166-1 alpha-2: `DE`.",
    },
    Key {
        name: "statements.vat_id",
        flag: "statements-vat-id",
        kind: Kind::Text,
        default: None,
        doc: "VAT id of whoever issues them.",
    },
    Key {
        name: "statements.tax_number",
        flag: "statements-tax-number",
        kind: Kind::Text,
        default: None,
        doc: "National tax number of whoever issues them, where there is no VAT id.",
    },
    Key {
        name: "statements.email",
        flag: "statements-email",
        kind: Kind::Text,
        default: None,
        doc: "Where questions about them go.",
    },
    Key {
        name: "statements.party",
        flag: "statements-party",
        kind: Kind::Text,
        default: None,
        doc: "How roaming names the operator: country and party, `DE*NVX`.",
    },
    Key {
        name: "statements.due_days",
        flag: "statements-due-days",
        kind: Kind::Count { min: 0, max: 365 },
        default: Some("14"),
        doc: "How many days after its issue an invoice is to be paid.",
    },
];

/// Looks a key up by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::parse;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_flags_are_unique_and_sections_stand_together() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        let flags: BTreeSet<_> = KEYS.iter().map(|key| key.flag).collect();
        assert_eq!(names.len(), KEYS.len());
        assert_eq!(flags.len(), KEYS.len());
        let mut seen = Vec::new();
        for key in KEYS {
            if seen.last() != Some(&key.section()) {
                assert!(!seen.contains(&key.section()), "{} is apart from its section", key.name);
                seen.push(key.section());
            }
        }
    }

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        for key in KEYS {
            if let Some(default) = key.default {
                parse(key.kind, default).unwrap_or_else(|error| panic!("{}: {error}", key.name));
            }
        }
    }
}
