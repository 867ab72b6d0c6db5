//! The secrets that all nodes of a cluster have in common: the key of the HTTP API, and the one with which heads
//! of journals are signed, whoever leads. Founders and those who join get them with their certificates,
//! and keep them beside their data from the first start on.

use super::{ClusterError, folder};
use crate::audit::key;
use crate::http::auth::{ApiKey, KEY_FILE};
use crate::node::data::write_durably;
use novax_peer::pki::AUTHORITY_KEY;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const NAMES: [&str; 2] = [key::FILE, KEY_FILE];

/// Makes them in the first folder, and puts copies into the others.
///
/// # Errors
/// [`ClusterError::System`].
pub(super) fn share(folders: &[PathBuf]) -> Result<(), ClusterError> {
    let Some((first, others)) = folders.split_first() else { return Ok(()) };
    let made = key::of_node(first).map(drop).and(ApiKey::of_node(first, None).map(drop));
    made.map_err(|error| ClusterError::System { what: "make the common keys".into(), error })?;
    others.iter().try_for_each(|other| copy(first, other, &NAMES))
}

/// Puts the authority's key of the first folder into the others: any node can invite, so that losing one is no
/// harm. Whoever has a node has all its data anyway.
///
/// # Errors
/// [`ClusterError::System`].
pub(super) fn share_authority(folders: &[PathBuf]) -> Result<(), ClusterError> {
    let Some((first, others)) = folders.split_first() else { return Ok(()) };
    others.iter().try_for_each(|other| copy(first, other, &[AUTHORITY_KEY]))
}

/// The texts that a node with this data directory has in common with the others, by file name.
///
/// # Errors
/// [`ClusterError::System`].
pub(super) fn read(data: &Path) -> Result<BTreeMap<String, String>, ClusterError> {
    let places = NAMES.map(|name| (name, data.join(name)));
    let authority = (AUTHORITY_KEY, folder(data).join(AUTHORITY_KEY));
    let mut texts = BTreeMap::new();
    for (name, path) in places.into_iter().chain([authority]) {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                texts.insert(name.to_owned(), text);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(ClusterError::System { what: path.display().to_string(), error });
            }
        }
    }
    Ok(texts)
}

/// Puts such texts into the folder of a new node; names that this build does not know are left out.
///
/// # Errors
/// [`ClusterError::System`].
pub(super) fn write(to: &Path, texts: &BTreeMap<String, String>) -> Result<(), ClusterError> {
    let known = |name: &str| NAMES.contains(&name) || name == AUTHORITY_KEY;
    for (name, text) in texts.iter().filter(|(name, _)| known(name)) {
        write_durably(to, name, text.as_bytes(), 0o600).map_err(|error| ClusterError::System {
            what: to.join(name).display().to_string(),
            error,
        })?;
    }
    Ok(())
}

/// At a node's start: takes what its data directory lacks from what it was given.
///
/// # Errors
/// [`ClusterError::System`].
pub fn adopt(data: &Path) -> Result<(), ClusterError> {
    copy(&folder(data), data, &NAMES)
}

/// Copies those that are in the one folder and not in the other, whole or not at all.
fn copy(from: &Path, to: &Path, names: &[&str]) -> Result<(), ClusterError> {
    for name in names {
        let copied = || -> io::Result<()> {
            let target = to.join(name);
            let text = match std::fs::read(from.join(name)) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                text => text?,
            };
            if target.try_exists()? {
                return Ok(());
            }
            write_durably(to, name, &text, 0o600)
        };
        let what = || format!("take over {}", from.join(name).display());
        copied().map_err(|error| ClusterError::System { what: what(), error })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_the_keys_of_their_cluster_and_keep_those_they_have() {
        let dir = tempfile::tempdir().unwrap();
        let data: Vec<PathBuf> = ["n1", "n2"].iter().map(|name| dir.path().join(name)).collect();
        let folders: Vec<PathBuf> = data.iter().map(|data| folder(data)).collect();
        folders.iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
        share(&folders).unwrap();
        data.iter().for_each(|data| adopt(data).unwrap());
        let public = |data: &Path| key::read(data).unwrap().public();
        assert_eq!(public(&data[0]), public(&data[1]));
        let api = |data: &Path| ApiKey::of_node(data, None).unwrap().reveal().to_owned();
        assert_eq!(api(&data[0]), api(&data[1]));
        std::fs::write(data[1].join(KEY_FILE), "a-key-of-its-own-that-is-long-enough").unwrap();
        adopt(&data[1]).unwrap();
        assert_eq!(api(&data[1]), "a-key-of-its-own-that-is-long-enough");
        adopt(dir.path()).unwrap();
        assert!(!dir.path().join(KEY_FILE).exists(), "a node that stands alone makes its own");
    }
}
