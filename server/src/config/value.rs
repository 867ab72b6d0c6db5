//! What a configured value may be, and how its text is read.
//!
//! Every layer (file, environment, flag) ends as text; this file alone turns text into a value,
//! so a value means the same wherever it is written.

use novax_model::Identity;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number of things.
    Count {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A number of bytes, with KiB, MiB or GiB if wanted.
    Bytes {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A whole number of seconds.
    Seconds {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// `true` or `false`.
    Bool,
    /// `ip:port`; port 0 takes any free one.
    Address,
    /// A file or directory.
    Path,
    /// The name of a site, a station or a driver.
    Identity,
    /// A line of text, such as an address on the web.
    Text,
    /// Text that is never shown.
    Secret {
        /// The fewest characters.
        min: usize,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Count { min, max } => write!(f, "number, {min} to {max}"),
            Kind::Bytes { min, max } => {
                write!(f, "bytes, {} to {}", bytes_text(*min), bytes_text(*max))
            }
            Kind::Seconds { min, max } => write!(f, "seconds, {min} to {max}"),
            Kind::Bool => f.write_str("true or false"),
            Kind::Address => f.write_str("address, ip:port"),
            Kind::Path => f.write_str("path"),
            Kind::Identity => f.write_str("name, at most 48 characters"),
            Kind::Text => f.write_str("text"),
            Kind::Secret { min } => write!(f, "secret, at least {min} characters"),
        }
    }
}

impl Kind {
    /// The word for the value in help texts.
    #[must_use]
    pub fn placeholder(self) -> &'static str {
        match self {
            Kind::Count { .. } => "N",
            Kind::Bytes { .. } => "BYTES",
            Kind::Seconds { .. } => "SECONDS",
            Kind::Bool => "BOOL",
            Kind::Address => "ADDR",
            Kind::Path => "PATH",
            Kind::Identity => "NAME",
            Kind::Text => "TEXT",
            Kind::Secret { .. } => "SECRET",
        }
    }

    /// Whether its values are hidden when shown.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Kind::Secret { .. })
    }
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A count, bytes or seconds.
    Number(u64),
    /// Yes or no.
    Bool(bool),
    /// An address.
    Address(SocketAddr),
    /// A path.
    Path(PathBuf),
    /// A name.
    Identity(Identity),
    /// A text.
    Text(String),
    /// A secret.
    Secret(Secret),
}

/// Text that must not be shown: it prints as stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: &str) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Reads a value; the error says what is wrong with the text, in words.
///
/// # Errors
/// When the text is no value of the kind, or out of its range.
pub fn parse(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Count { min, max } | Kind::Seconds { min, max } => {
            number(text, min, max, plain).map(Value::Number)
        }
        Kind::Bytes { min, max } => number(text, min, max, bytes).map(Value::Number),
        Kind::Bool => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(format!("{text:?} is neither true nor false")),
        },
        Kind::Address => text.parse().map(Value::Address).map_err(|_| {
            format!("{text:?} is no address: write ip:port, such as 127.0.0.1:9000 or [::]:9000")
        }),
        Kind::Path if text.is_empty() => Err("a path must not be empty".into()),
        Kind::Path => Ok(Value::Path(PathBuf::from(text))),
        Kind::Identity => Identity::new(text).map(Value::Identity).map_err(|e| e.to_string()),
        Kind::Text if text.is_empty() || text.chars().any(char::is_control) => {
            Err("a text must not be empty, and be of one line".into())
        }
        Kind::Text => Ok(Value::Text(text.into())),
        Kind::Secret { min } => secret(text, min),
    }
}

fn secret(text: &str, min: usize) -> Result<Value, String> {
    // Neither error repeats the text: it may land in a log.
    if text.len() < min {
        return Err(format!("a secret of {} characters is too short: at least {min}", text.len()));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a secret holds only printable ASCII without spaces".into());
    }
    Ok(Value::Secret(Secret::new(text)))
}

fn number(text: &str, min: u64, max: u64, read: fn(&str) -> Option<u64>) -> Result<u64, String> {
    let number = read(text).ok_or_else(|| format!("{text:?} is not such a number"))?;
    if number < min || number > max {
        return Err(format!("{text} is out of range"));
    }
    Ok(number)
}

fn plain(text: &str) -> Option<u64> {
    // `parse` alone would take a leading plus.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    for (unit, factor) in UNITS {
        if let Some(number) = text.strip_suffix(unit) {
            return plain(number.trim_end())?.checked_mul(factor);
        }
    }
    plain(text)
}

/// A number of bytes in the largest unit that needs no fraction.
fn bytes_text(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_take_binary_units() {
        let kind = Kind::Bytes { min: 0, max: u64::MAX };
        for (text, expected) in
            [("0", 0), ("65536", 65_536), ("64KiB", 65_536), ("2 MiB", 2 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(parse(kind, text), Ok(Value::Number(expected)), "{text}");
        }
        for text in ["", "KiB", "1.5MiB", "64KB", "-1", "+1", "99999999999GiB"] {
            assert!(parse(kind, text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_are_kept_at_both_ends() {
        let kind = Kind::Count { min: 1, max: 8 };
        assert!(parse(kind, "0").is_err());
        assert_eq!(parse(kind, "1"), Ok(Value::Number(1)));
        assert_eq!(parse(kind, "8"), Ok(Value::Number(8)));
        assert!(parse(kind, "9").is_err());
    }

    #[test]
    fn an_error_about_a_secret_does_not_tell_it() {
        for text in ["hunter2", "with space in the middle"] {
            let error = parse(Kind::Secret { min: 16 }, text).unwrap_err();
            assert!(!error.contains(text), "{error}");
        }
        let Ok(value) = parse(Kind::Secret { min: 4 }, "hunter2") else { panic!("a good secret") };
        assert!(!format!("{value:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in ".{0,40}") {
            for key in crate::config::KEYS {
                let _ = parse(key.kind, &text);
            }
        }

        #[test]
        fn byte_texts_read_back(bytes_count in any::<u64>()) {
            let kind = Kind::Bytes { min: 0, max: u64::MAX };
            prop_assert_eq!(parse(kind, &bytes_text(bytes_count)), Ok(Value::Number(bytes_count)));
        }
    }
}
