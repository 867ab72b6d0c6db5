//! The key with which a node signs heads of its journal: `audit.key` in the data directory, readable by
//! its owner alone, made at the first start.

use super::{from_hex, hex};
use ed25519_dalek::SigningKey;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const FILE: &str = "audit.key";

/// The key of a data directory.
///
/// # Errors
/// When there is none, or the file holds something else.
pub fn read(data: &Path) -> io::Result<SigningKey> {
    let text = std::fs::read_to_string(data.join(FILE))?;
    let seed = from_hex(&text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let wrong = || io::Error::new(ErrorKind::InvalidData, format!("{FILE} holds no key"));
    Ok(SigningKey::from_bytes(&seed.ok_or_else(wrong)?))
}

/// The same, made when there is none.
///
/// # Errors
/// As [`read`], and when it cannot be made.
pub fn of_node(data: &Path) -> io::Result<SigningKey> {
    match read(data) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let path = data.join(FILE);
    let temporary = data.join("audit.key.new");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{}", hex(&seed))?;
    file.sync_all()?;
    std::fs::rename(&temporary, &path)?;
    std::fs::File::open(data)?.sync_all()?;
    Ok(SigningKey::from_bytes(&seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let key = of_node(dir.path()).unwrap();
        assert_eq!(of_node(dir.path()).unwrap().to_bytes(), key.to_bytes());
        assert_eq!(read(dir.path()).unwrap().to_bytes(), key.to_bytes());
        std::fs::write(dir.path().join(FILE), "no key").unwrap();
        assert!(of_node(dir.path()).is_err(), "a damaged key is not replaced in silence");
    }
}
