//! Reads the layers: defaults, file, environment, flags. The later one wins.
//!
//! Every problem of every layer is found in one go, each naming where it stands, so that a
//! configuration is mended in one round and not in ten.

use super::keys::{ENV_PREFIX, KEYS, Key, find};
use super::suggest::nearest;
use super::value::{Kind, Value, parse};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The file read when no `--config` names another.
pub const DEFAULT_FILE: &str = "novax.toml";

/// The longest configuration file read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// A TOML file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(flag) => write!(f, "flag --{flag}"),
        }
    }
}

/// What stands above the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`: must exist. `None`: [`DEFAULT_FILE`] if it exists.
    pub file: Option<PathBuf>,
    /// The environment; only names with our prefix are looked at.
    pub environment: Vec<(String, String)>,
    /// Key name and value of each flag given.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// The process's own environment with these flags.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(&'static str, String)>) -> Sources {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(ENV_PREFIX))
            .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
            .collect();
        Sources { file, environment, flags }
    }
}

/// One key's value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value.
    pub value: Value,
    /// Its text as written, hidden when secret.
    pub text: String,
    /// Who said so.
    pub origin: Origin,
}

/// Everything wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.join("\n"))]
pub struct ConfigError {
    /// One sentence each, in the order of the layers. Never empty.
    pub problems: Vec<String>,
}

/// The settings of all keys that have a value.
///
/// # Errors
/// [`ConfigError`] with every problem of every layer.
pub(super) fn read(sources: &Sources) -> Result<BTreeMap<&'static str, Setting>, ConfigError> {
    let mut layers = Layers::default();
    for key in KEYS {
        if let Some(default) = key.default {
            layers.set(key, default, Origin::Default);
        }
    }
    layers.file(sources.file.as_deref());
    layers.environment(&sources.environment);
    for (name, text) in &sources.flags {
        let key = find(name).expect("flags are made from the table of keys");
        layers.set(key, text, Origin::Flag(key.flag));
    }
    if layers.problems.is_empty() {
        Ok(layers.settings)
    } else {
        Err(ConfigError { problems: layers.problems })
    }
}

#[derive(Default)]
struct Layers {
    settings: BTreeMap<&'static str, Setting>,
    problems: Vec<String>,
}

impl Layers {
    fn set(&mut self, key: &'static Key, text: &str, origin: Origin) {
        match parse(key.kind, text) {
            Ok(value) => {
                let text = if key.kind.is_secret() { "***".into() } else { text.into() };
                self.settings.insert(key.name, Setting { value, text, origin });
            }
            Err(error) => {
                self.problems.push(format!("{origin}: {}: {error} ({})", key.name, key.kind));
            }
        }
    }

    fn unknown(&mut self, origin: &Origin, name: &str) {
        let hint = nearest(name, KEYS.iter().map(|key| key.name))
            .map(|known| format!("; did you mean {known}?"))
            .unwrap_or_default();
        self.problems.push(format!("{origin}: unknown key {name}{hint}"));
    }

    fn environment(&mut self, variables: &[(String, String)]) {
        for (variable, text) in variables {
            let Some(rest) = variable.strip_prefix(ENV_PREFIX) else { continue };
            let origin = Origin::Environment(variable.clone());
            let name = rest.replace("__", ".").to_ascii_lowercase();
            match KEYS.iter().find(|key| key.env() == *variable) {
                Some(key) => self.set(key, text, origin),
                None => self.unknown(&origin, &name),
            }
        }
    }

    fn file(&mut self, named: Option<&Path>) {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                self.problems.push(format!("file {}: {error}", path.display()));
                return;
            }
        };
        match text.parse::<toml::Table>() {
            Ok(table) => self.table(&Origin::File(path.into()), "", &table),
            Err(error) => {
                self.problems.push(format!("file {}: {}", path.display(), where_in(&text, &error)));
            }
        }
    }

    /// Sections are one deep, so a table within a section is an unknown key, not a recursion.
    fn table(&mut self, origin: &Origin, section: &str, table: &toml::Table) {
        for (name, value) in table {
            let full = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
            match (find(&full), value) {
                (Some(key), value) => match text_of(key.kind, value) {
                    Some(text) => self.set(key, &text, origin.clone()),
                    None => self.problems.push(format!(
                        "{origin}: {full}: a {} where there should be: {}",
                        value.type_str(),
                        key.kind
                    )),
                },
                (None, toml::Value::Table(inner)) if section.is_empty() && is_section(name) => {
                    self.table(origin, name, inner);
                }
                (None, _) => self.unknown(origin, &full),
            }
        }
    }
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.section() == name)
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other("longer than a configuration file may be (1 MiB)"));
    }
    Ok(text)
}

fn where_in(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| {
        let start = span.start.min(text.len());
        text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1
    });
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().into(),
    }
}

/// The text of a TOML value, if its type suits the kind: a number in quotes is a mistake.
fn text_of(kind: Kind, value: &toml::Value) -> Option<String> {
    match (kind, value) {
        (
            Kind::Count { .. } | Kind::Bytes { .. } | Kind::Seconds { .. },
            toml::Value::Integer(number),
        ) => Some(number.to_string()),
        (Kind::Bool, toml::Value::Boolean(flag)) => Some(flag.to_string()),
        (
            Kind::Bytes { .. }
            | Kind::Address
            | Kind::Path
            | Kind::Identity
            | Kind::Text
            | Kind::Secret { .. },
            toml::Value::String(text),
        ) => Some(text.clone()),
        _ => None,
    }
}
