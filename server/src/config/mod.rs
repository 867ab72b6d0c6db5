//! Configuration: defaults < TOML file < environment < flags.
//!
//! * [`keys`]: the one table of keys
//! * [`value`]: what values may be
//! * [`layers`]: reading the layers, with every mistake found at once
//! * [`docs`] writes `docs/config.md`
//!
//! **Invariants**
//! * An unknown key is an error, in every layer.
//! * A [`Config`] is valid: nothing behind it checks ranges again.
//! * A secret is never printed.

pub mod docs;
pub mod keys;
pub mod layers;
mod suggest;
pub mod value;

pub use keys::{KEYS, Key};
pub use layers::{ConfigError, Origin, Setting, Sources};
pub use value::{Kind, Secret, Value};

use novax_model::{Duration, Identity};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything a node is told before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `data`
    pub data: PathBuf,
    /// `[node]`
    pub node: NodeConfig,
    /// `[ocpp]`
    pub ocpp: OcppConfig,
    /// `[http]`
    pub http: HttpConfig,
    /// `[sql]`
    pub sql: SqlConfig,
    /// `[engine]`
    pub engine: EngineConfig,
    /// `[log]`
    pub log: LogConfig,
    /// `[series]`
    pub series: SeriesConfig,
    /// `[cold]`
    pub cold: ColdConfig,
    /// `[payments]`
    pub payments: PaymentsConfig,
    /// `[statements]`
    pub statements: StatementsConfig,
}

/// `[node]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Threads; at least one.
    pub shards: u16,
    /// Units of ownership; at least one.
    pub partitions: u16,
}

/// `[ocpp]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcppConfig {
    /// Where stations connect.
    pub listen: SocketAddr,
    /// Interval told at boot.
    pub heartbeat: Duration,
    /// Longest message.
    pub message_bytes_max: u32,
    /// Where unknown stations go by themselves.
    pub auto_approve_site: Option<Identity>,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where the API and the console are.
    pub listen: SocketAddr,
    /// Where the shards start charges for apps, if they do.
    pub starts_listen: Option<SocketAddr>,
    /// The key, if it is not in the data directory.
    pub api_key: Option<Secret>,
    /// Longest request body.
    pub body_bytes_max: usize,
    /// Requests at once.
    pub requests_max: usize,
    /// Event streams at once.
    pub subscribers_max: usize,
}

/// `[sql]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlConfig {
    /// Where SQL clients connect.
    pub listen: SocketAddr,
    /// Their password, as configured; see [`SqlConfig::password_in_force`].
    pub password: Option<Secret>,
    /// Connections at once.
    pub sessions_max: usize,
    /// When a statement is cancelled.
    pub statement_timeout: Duration,
    /// Memory of all statements.
    pub memory_bytes_max: usize,
}

impl SqlConfig {
    /// The password clients must give, or `None` when none is asked: only on a loopback address,
    /// and only when none is configured.
    #[must_use]
    pub fn password_in_force(&self, api_key: &str) -> Option<String> {
        match &self.password {
            Some(password) => Some(password.reveal().to_owned()),
            None if self.listen.ip().is_loopback() => None,
            None => Some(api_key.to_owned()),
        }
    }
}

/// `[engine]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Fresh rows of one partition in memory.
    pub memtable_bytes: usize,
    /// Blocks of tables in memory, of the whole node.
    pub cache_bytes: usize,
    /// How fast a partition's tables are read again to find damage.
    pub scrub_bytes_per_s: u64,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Size of a log file.
    pub segment_bytes: u64,
    /// Bytes of entries a partition keeps for nodes that lag.
    pub retain_bytes: usize,
    /// Past the page cache.
    pub direct: bool,
}

/// `[series]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesConfig {
    /// Older ticks are in the cold tier.
    pub hot_days: u32,
    /// Older ticks are nowhere.
    pub kept_days: u32,
    /// Older rollups are nowhere: of a minute, a quarter of an hour, an hour.
    pub rollups_days: [u32; 3],
    /// How often the node looks.
    pub tend_every: Duration,
}

/// `[cold]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdConfig {
    /// A directory or a bucket, if it is not in the data directory.
    pub url: Option<String>,
    /// The server of the bucket.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// Whoever signs the requests.
    pub access_key: Option<Secret>,
    /// And with what.
    pub secret_key: Option<Secret>,
    /// Without TLS.
    pub allow_http: bool,
}

/// `[payments]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentsConfig {
    /// Who moves money of cards; nobody, if it is not set.
    pub provider: Option<String>,
    /// The provider's address, if it is not the usual one.
    pub url: Option<String>,
    /// What the provider knows us by.
    pub secret_key: Option<Secret>,
    /// What the provider signs its messages with.
    pub webhook_secret: Option<Secret>,
    /// How often its books are compared with ours.
    pub reconcile_every: Duration,
}

/// `[statements]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementsConfig {
    /// Begins the numbers of documents.
    pub series: String,
    /// Who issues them, as registered.
    pub name: Option<String>,
    /// Street and number.
    pub street: Option<String>,
    /// Town.
    pub city: Option<String>,
    /// Where the country has them.
    pub postal_code: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// VAT id.
    pub vat_id: Option<String>,
    /// A national tax number, where there is no VAT id.
    pub tax_number: Option<String>,
    /// Where questions go.
    pub email: Option<String>,
    /// How roaming names the operator: `DE*NVX`.
    pub party: Option<String>,
    /// When an invoice is to be paid.
    pub due_days: u16,
}

impl Default for StatementsConfig {
    fn default() -> StatementsConfig {
        StatementsConfig {
            series: "NX".to_owned(),
            name: None,
            street: None,
            city: None,
            postal_code: None,
            country: None,
            vat_id: None,
            tax_number: None,
            email: None,
            party: None,
            due_days: 14,
        }
    }
}

/// A configuration with the origin of each value.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What the node uses.
    pub config: Config,
    settings: BTreeMap<&'static str, Setting>,
}

/// Reads all layers.
///
/// # Errors
/// [`ConfigError`] with every problem found.
pub fn load(sources: &Sources) -> Result<Resolved, ConfigError> {
    let settings = layers::read(sources)?;
    let reader = Reader { settings: &settings };
    let config = Config {
        data: reader.path("data"),
        node: NodeConfig {
            shards: reader.shards("node.shards"),
            partitions: reader.sized("node.partitions"),
        },
        ocpp: OcppConfig {
            listen: reader.address("ocpp.listen"),
            heartbeat: Duration::from_secs(reader.number("ocpp.heartbeat_s")),
            message_bytes_max: reader.sized("ocpp.message_bytes_max"),
            auto_approve_site: reader.identity("ocpp.auto_approve_site"),
        },
        http: HttpConfig {
            listen: reader.address("http.listen"),
            starts_listen: reader.address_if_any("http.starts_listen"),
            api_key: reader.secret("http.api_key"),
            body_bytes_max: reader.sized("http.body_bytes_max"),
            requests_max: reader.sized("http.requests_max"),
            subscribers_max: reader.sized("http.subscribers_max"),
        },
        sql: SqlConfig {
            listen: reader.address("sql.listen"),
            password: reader.secret("sql.password"),
            sessions_max: reader.sized("sql.sessions_max"),
            statement_timeout: Duration::from_secs(reader.number("sql.statement_timeout_s")),
            memory_bytes_max: reader.sized("sql.memory_bytes_max"),
        },
        engine: EngineConfig {
            memtable_bytes: reader.sized("engine.memtable_bytes"),
            cache_bytes: reader.sized("engine.cache_bytes"),
            scrub_bytes_per_s: reader.number("engine.scrub_bytes_per_s"),
        },
        log: LogConfig {
            segment_bytes: reader.number("log.segment_bytes"),
            retain_bytes: reader.sized("log.retain_bytes"),
            direct: reader.bool("log.direct"),
        },
        series: SeriesConfig {
            hot_days: reader.sized("series.hot_days"),
            kept_days: reader.sized("series.kept_days"),
            rollups_days: [
                reader.sized("series.rollup_1m_days"),
                reader.sized("series.rollup_15m_days"),
                reader.sized("series.rollup_1h_days"),
            ],
            tend_every: Duration::from_secs(reader.number("series.tend_s")),
        },
        cold: ColdConfig {
            url: reader.text("cold.url"),
            endpoint: reader.text("cold.endpoint"),
            region: reader.text("cold.region"),
            access_key: reader.secret("cold.access_key"),
            secret_key: reader.secret("cold.secret_key"),
            allow_http: reader.bool("cold.allow_http"),
        },
        payments: PaymentsConfig {
            provider: reader.text("payments.provider"),
            url: reader.text("payments.url"),
            secret_key: reader.secret("payments.secret_key"),
            webhook_secret: reader.secret("payments.webhook_secret"),
            reconcile_every: Duration::from_secs(reader.number("payments.reconcile_s")),
        },
        statements: StatementsConfig {
            series: reader.text("statements.series").unwrap_or_else(|| "NX".to_owned()),
            name: reader.text("statements.name"),
            street: reader.text("statements.street"),
            city: reader.text("statements.city"),
            postal_code: reader.text("statements.postal_code"),
            country: reader.text("statements.country"),
            vat_id: reader.text("statements.vat_id"),
            tax_number: reader.text("statements.tax_number"),
            email: reader.text("statements.email"),
            party: reader.text("statements.party"),
            due_days: reader.sized("statements.due_days"),
        },
    };
    assert!(config.node.shards > 0 && config.node.partitions > 0, "ranges are checked above");
    Ok(Resolved { config, settings })
}

impl Resolved {
    /// One line for each key: `key = value`, and where it came from when asked.
    #[must_use]
    pub fn show(&self, with_origin: bool) -> String {
        let mut text = String::new();
        for key in KEYS {
            let (value, origin) = match self.settings.get(key.name) {
                Some(setting) => (setting.text.as_str(), setting.origin.to_string()),
                None => ("(unset)", Origin::Default.to_string()),
            };
            if with_origin {
                let _ = writeln!(text, "{} = {value}  # {origin}", key.name);
            } else {
                let _ = writeln!(text, "{} = {value}", key.name);
            }
        }
        text
    }
}

/// Takes typed values out of the settings. A mismatch of kind and type here is a mistake in the
/// table of keys, which the tests of this file find, not one of the person who configures.
struct Reader<'a> {
    settings: &'a BTreeMap<&'static str, Setting>,
}

impl Reader<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.settings.get(name).map(|setting| &setting.value)
    }

    fn number(&self, name: &str) -> u64 {
        let Some(Value::Number(number)) = self.get(name) else {
            panic!("{name} is a number with a default")
        };
        *number
    }

    fn sized<T: TryFrom<u64>>(&self, name: &str) -> T {
        let Ok(number) = T::try_from(self.number(name)) else {
            panic!("the range of {name} fits its type")
        };
        number
    }

    fn shards(&self, name: &str) -> u16 {
        match self.sized(name) {
            0 => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                u16::try_from(cores.min(256)).expect("at most 256")
            }
            shards => shards,
        }
    }

    fn bool(&self, name: &str) -> bool {
        let Some(Value::Bool(flag)) = self.get(name) else {
            panic!("{name} is a bool with a default")
        };
        *flag
    }

    fn address(&self, name: &str) -> SocketAddr {
        let Some(Value::Address(address)) = self.get(name) else {
            panic!("{name} is an address with a default")
        };
        *address
    }

    fn address_if_any(&self, name: &str) -> Option<SocketAddr> {
        match self.get(name)? {
            Value::Address(address) => Some(*address),
            other => panic!("{name} is an address, not {other:?}"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        let Some(Value::Path(path)) = self.get(name) else {
            panic!("{name} is a path with a default")
        };
        path.clone()
    }

    fn identity(&self, name: &str) -> Option<Identity> {
        match self.get(name)? {
            Value::Identity(identity) => Some(identity.clone()),
            other => panic!("{name} is a name, not {other:?}"),
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::Text(text) => Some(text.clone()),
            other => panic!("{name} is a text, not {other:?}"),
        }
    }

    fn secret(&self, name: &str) -> Option<Secret> {
        match self.get(name)? {
            Value::Secret(secret) => Some(secret.clone()),
            other => panic!("{name} is a secret, not {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
