//! The keys with which a node signs heads of its journal: `audit.key` in the data directory, readable by
//! its owner alone, made at the first start.
//!
//! The first line is the first secret key in hexadecimal digits. Each line after it is a secret key, a
//! space, and the rotation by which the key before it gave way. **Invariant**: the file is replaced whole,
//! so that a key and the word of the one before it are there together or not at all.

use super::{from_hex, hex};
use ed25519_dalek::SigningKey;
use novax_audit::{Rotation, Signer};
use novax_model::Timestamp;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The name of the keys' file in the data directory.
pub const FILE: &str = "audit.key";

/// The keys of a data directory.
///
/// # Errors
/// When there are none, or the file holds something else.
pub fn read(data: &Path) -> io::Result<Signer> {
    let text = std::fs::read_to_string(data.join(FILE))?;
    let wrong = || io::Error::new(ErrorKind::InvalidData, format!("{FILE} holds no key"));
    let mut lines = text.lines();
    let mut signer = Signer::new(lines.next().and_then(secret).ok_or_else(wrong)?);
    for line in lines {
        let (key, rotation) = line.split_once(' ').ok_or_else(wrong)?;
        let rotation = from_hex(rotation).and_then(|bytes| Rotation::from_bytes(&bytes).ok());
        let (key, rotation) = secret(key).zip(rotation).ok_or_else(wrong)?;
        signer.follow(rotation, key).map_err(|_| wrong())?;
    }
    Ok(signer)
}

fn secret(text: &str) -> Option<SigningKey> {
    let seed = from_hex(text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())?;
    Some(SigningKey::from_bytes(&seed))
}

fn new_secret() -> io::Result<SigningKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// The same, made when there is none.
///
/// # Errors
/// As [`read`], and when it cannot be made.
pub fn of_node(data: &Path) -> io::Result<Signer> {
    match read(data) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    let signer = Signer::new(new_secret()?);
    write(data, &signer)?;
    Ok(signer)
}

/// A new key from a time on; the node must not run. Says what the old one said of it.
///
/// # Errors
/// As [`read`]; when a node runs on the directory; when the file cannot be written.
pub fn rotate(data: &Path, at: Timestamp) -> io::Result<Rotation> {
    let lock = OpenOptions::new().write(true).open(data.join("LOCK"))?;
    if lock.try_lock().is_err() {
        return Err(io::Error::other("a node runs on the directory: stop it first"));
    }
    let mut signer = read(data)?;
    let key = new_secret()?;
    let rotation = signer.rotation_to(&key, at);
    signer.follow(rotation, key).map_err(|error| io::Error::other(error.to_string()))?;
    write(data, &signer)?;
    Ok(rotation)
}

fn write(data: &Path, signer: &Signer) -> io::Result<()> {
    let mut text = hex(signer.first().as_bytes());
    for (rotation, key) in signer.later() {
        write!(text, "\n{} {}", hex(key.as_bytes()), hex(&rotation.to_bytes()))
            .map_err(io::Error::other)?;
    }
    let temporary = data.join("audit.key.new");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&temporary, data.join(FILE))?;
    File::open(data)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let key = of_node(dir.path()).unwrap();
        assert_eq!(of_node(dir.path()).unwrap().public(), key.public());
        assert_eq!(read(dir.path()).unwrap().public(), key.public());
        std::fs::write(dir.path().join(FILE), "no key").unwrap();
        assert!(of_node(dir.path()).is_err(), "a damaged key is not replaced in silence");
    }

    #[test]
    fn a_new_key_is_vouched_for_by_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let first = of_node(dir.path()).unwrap();
        let lock = File::create(dir.path().join("LOCK")).unwrap();
        lock.lock().unwrap();
        assert!(rotate(dir.path(), Timestamp(5)).is_err(), "a node runs");
        assert_eq!(read(dir.path()).unwrap().public(), first.public());
        lock.unlock().unwrap();
        let rotations = [5, 9].map(|at| rotate(dir.path(), Timestamp(at)).unwrap());
        let now = read(dir.path()).unwrap();
        assert_eq!(now.first_public(), first.public(), "auditors keep what they have");
        assert_eq!(now.public(), rotations[1].new);
        assert!(now.rotations().eq(&rotations));
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        let torn: Vec<&str> = text.lines().take(1).chain(text.lines().skip(2)).collect();
        std::fs::write(dir.path().join(FILE), torn.join("\n")).unwrap();
        assert!(read(dir.path()).is_err(), "a key that nobody vouches for is none");
    }
}
