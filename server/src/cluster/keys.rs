//! The secrets that all nodes of a cluster have in common: the key of the HTTP API, and the one with which heads
//! of journals are signed, whoever leads. Founders get them with their certificates, and keep them beside their
//! data from the first start on.

use super::{ClusterError, folder};
use crate::audit::key;
use crate::http::auth::{ApiKey, KEY_FILE};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
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
    others.iter().try_for_each(|other| copy(first, other))
}

/// At a node's start: takes what its data directory lacks from what it was given.
///
/// # Errors
/// [`ClusterError::System`].
pub fn adopt(data: &Path) -> Result<(), ClusterError> {
    copy(&folder(data), data)
}

/// Copies those that are in the one folder and not in the other, whole or not at all.
fn copy(from: &Path, to: &Path) -> Result<(), ClusterError> {
    for name in NAMES {
        let copied = || -> io::Result<()> {
            let target = to.join(name);
            let text = match std::fs::read(from.join(name)) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                text => text?,
            };
            if target.try_exists()? {
                return Ok(());
            }
            let new = to.join(format!("{name}.new"));
            let mut file = OpenOptions::new();
            let file = file.create(true).truncate(true).write(true).mode(0o600);
            let mut file = file.open(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&new, &target)?;
            File::open(to)?.sync_all()
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
