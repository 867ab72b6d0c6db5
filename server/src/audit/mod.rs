//! The journal for auditors: the node's signing key, the journal as a file that proves itself, and
//! `novax audit`, which checks such a file with nothing but a public key.

pub mod key;
pub mod store;

use crate::cli::{EXIT_FAILED, EXIT_OK, EXIT_USAGE};
use clap::Subcommand;
use novax_audit::{AuditError, PublicKeys, Report, SignedHead, verify};
use novax_model::Duration;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// `novax audit`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Prints the public key with which a node signs its journal, and how others followed it; auditors keep
    /// it.
    Key {
        /// `rotate`: a new key from now on, vouched for by the one before; the node must not run.
        action: Option<KeyAction>,
        /// The node's data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// `rotate`: so many seconds from now the new key begins to sign; no head that was signed may be
        /// later.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        after_s: u32,
    },
    /// Checks an exported journal, offline. Exit code 1 names the first byte that is not genuine.
    Verify {
        /// The export, as `GET /v1/audit/export` gave it.
        file: PathBuf,
        /// The node's first public key, 64 hexadecimal digits; or a file of such keys and of rotations, one
        /// a line, as `novax audit key` prints them.
        #[arg(long, value_name = "KEY")]
        key: String,
        /// A signed head in hexadecimal digits that was kept from an earlier check: the export must
        /// hold to it.
        #[arg(long, value_name = "HEAD")]
        head: Option<String>,
    },
}

/// What `novax audit key` does besides printing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyAction {
    /// Makes a new key that follows the one before.
    Rotate,
}

/// Runs `novax audit`.
#[must_use]
pub fn run(command: &AuditCommand) -> u8 {
    match command {
        AuditCommand::Key { action: None, data, .. } => match key::read(data) {
            Ok(keys) => {
                println!("{}", hex(&keys.first_public()));
                keys.rotations().for_each(|rotation| println!("{}", hex(&rotation.to_bytes())));
                EXIT_OK
            }
            Err(error) => fail(EXIT_FAILED, &error.to_string()),
        },
        AuditCommand::Key { action: Some(KeyAction::Rotate), data, after_s } => {
            let after = Duration::from_secs(u64::from(*after_s));
            let at = crate::http::now().saturating_add(after);
            match key::rotate(data, at) {
                Ok(rotation) => {
                    println!("{}", hex(&rotation.to_bytes()));
                    EXIT_OK
                }
                Err(error) => fail(EXIT_FAILED, &error.to_string()),
            }
        }
        AuditCommand::Verify { file, key, head } => check(file, key, head.as_deref()),
    }
}

fn fail(code: u8, words: &str) -> u8 {
    eprintln!("novax: {words}");
    code
}

fn check(file: &Path, key: &str, head: Option<&str>) -> u8 {
    let keys = match trusted_keys(key) {
        Ok(keys) => keys,
        Err(words) => return fail(EXIT_USAGE, &words),
    };
    let head = match head.map(|text| trusted_head(text, &keys)).transpose() {
        Ok(head) => head,
        Err(words) => return fail(EXIT_USAGE, &words),
    };
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) => return fail(EXIT_FAILED, &format!("{}: {error}", file.display())),
    };
    match verify(BufReader::new(opened), &keys, head.as_ref().map(|head| &head.head)) {
        Ok(report) => conclude(&report),
        Err(AuditError::Tampered(found)) => fail(EXIT_FAILED, &format!("not genuine: {found}")),
        Err(error) => fail(EXIT_FAILED, &error.to_string()),
    }
}

/// A genuine export may still end in transactions that no signature covers yet: that is said, and
/// without any signature it is a failure.
fn conclude(report: &Report) -> u8 {
    println!("{report}");
    if report.signed == 0 && report.size > 0 {
        return fail(EXIT_FAILED, "no signature vouches for any of it");
    }
    if report.signed < report.size {
        println!("{} transactions at the end are not signed yet", report.size - report.signed);
    }
    EXIT_OK
}

fn trusted_keys(key: &str) -> Result<PublicKeys, String> {
    let text = if Path::new(key).is_file() {
        std::fs::read_to_string(key).map_err(|error| format!("{key}: {error}"))?
    } else {
        key.to_owned()
    };
    PublicKeys::parse(&text).map_err(|error| error.to_string())
}

fn trusted_head(text: &str, keys: &PublicKeys) -> Result<SignedHead, String> {
    let bytes = from_hex(text).ok_or("--head is not in hexadecimal digits")?;
    let head = SignedHead::from_bytes(&bytes).map_err(|error| format!("--head: {error}"))?;
    keys.verify(&head).map_err(|error| format!("--head: {error}"))?;
    Ok(head)
}

/// Bytes in hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads [`hex`] back.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .trim()
        .bytes()
        .map(|digit| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()))
        .collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_read_back() {
        assert_eq!(from_hex(&hex(&[0, 9, 255])), Some(vec![0, 9, 255]));
        assert_eq!((from_hex("abc"), from_hex("0g")), (None, None));
    }
}
