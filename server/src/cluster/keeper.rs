//! Who is in the cluster, as far as this node knows: kept on disk, so that a start knows whom to call, and
//! told to the links.
//!
//! The shard of partition 0 says when that changes; files and links are touched by a thread of its own.
//!
//! **Invariant:** what is known never goes back. A node that came later hears the list of the day it joined
//! first, and then replays how that list came about.

use super::{ClusterFile, Founder, folder};
use novax_charging::Roster;
use novax_model::NodeId;
use novax_peer::net::Links;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

/// See the file's head.
#[derive(Debug)]
pub struct Keeper {
    folder: PathBuf,
    known: Mutex<Known>,
    changed: Condvar,
}

#[derive(Debug)]
struct Known {
    file: ClusterFile,
    /// The last one that was told, with invitations and placements.
    roster: Arc<Roster>,
    /// The thread has something to do.
    pending: bool,
    stopped: bool,
}

impl Keeper {
    /// Begins with what the file says.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        data: &Path,
        file: ClusterFile,
        links: Arc<OnceLock<Links>>,
    ) -> io::Result<(Arc<Keeper>, JoinHandle<()>)> {
        let keeper = Arc::new(Keeper::new(data, file));
        let worker = Arc::clone(&keeper);
        let thread = thread::Builder::new()
            .name("nodes".to_owned())
            .spawn(move || while worker.work(&links) {})?;
        Ok((keeper, thread))
    }

    fn new(data: &Path, file: ClusterFile) -> Keeper {
        let known = Known { file, roster: Arc::default(), pending: false, stopped: false };
        Keeper { folder: folder(data), known: Mutex::new(known), changed: Condvar::new() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Partition 0 has these nodes. Called by a shard's thread, seldom; does not wait for files.
    pub fn tell(&self, roster: Arc<Roster>) {
        let mut known = self.known();
        if roster.last == 0 || roster.version < known.file.version {
            return;
        }
        let me = known.file.node;
        if roster.is_removed(me) {
            eprintln!("novax: {me} was taken out of its cluster; its number is not used again");
        } else {
            let own = known.file.address_of(me).map(str::to_owned);
            let joined = roster.nodes.iter().filter(|row| row.has_joined());
            let found = |node, address: &str, site: &str| {
                let (address, site) = (address.to_owned(), site.to_owned());
                Founder { node, address, site }
            };
            let mut nodes: Vec<Founder> =
                joined.map(|row| found(row.node, &row.address, &row.site)).collect();
            if let Some(own) = own.filter(|_| !nodes.iter().any(|known| known.node == me)) {
                nodes.push(found(me, &own, ""));
            }
            (known.file.nodes, known.file.version) = (nodes, roster.version);
            known.pending = true;
        }
        known.roster = roster;
        self.changed.notify_one();
    }

    /// The links are there now: they hear what was learned before.
    pub fn linked(&self) {
        self.known().pending = true;
        self.changed.notify_one();
    }

    /// The thread ends.
    pub fn stop(&self) {
        self.known().stopped = true;
        self.changed.notify_one();
    }

    /// The nodes, invitations and placements.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.known().roster)
    }

    /// What a start would find.
    #[must_use]
    pub fn file(&self) -> ClusterFile {
        self.known().file.clone()
    }

    /// Where a node is called, if it is in the cluster.
    #[must_use]
    pub fn address_of(&self, node: NodeId) -> Option<String> {
        self.known().file.address_of(node).map(str::to_owned)
    }

    /// Does what there is to do, once there is; false when it was told to stop.
    fn work(&self, links: &OnceLock<Links>) -> bool {
        let nothing = |known: &mut Known| !known.pending && !known.stopped;
        let waited = self.changed.wait_while(self.known(), nothing);
        let mut known = waited.unwrap_or_else(PoisonError::into_inner);
        if known.stopped {
            return false;
        }
        known.pending = false;
        let file = known.file.clone();
        drop(known);
        if let Err(error) = file.write(&self.folder) {
            eprintln!("novax: the nodes of the cluster are not kept: {error}");
        }
        if let Some(links) = links.get() {
            links.set_peers(&file.peers());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use novax_charging::NodeRow;
    use novax_peer::ClusterId;

    fn n(number: u64) -> NodeId {
        NodeId::new(number).expect("not zero")
    }

    fn roster(version: u64, last: u64, nodes: &[(u64, &str)]) -> Arc<Roster> {
        let row = |(node, address): &(u64, &str)| {
            let address = (*address).into();
            NodeRow { node: n(*node), address, site: "".into() }
        };
        let nodes = nodes.iter().map(row).collect();
        Arc::new(Roster { version, last, nodes, placements: Vec::new() })
    }

    #[test]
    fn what_is_known_is_kept_and_never_goes_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = folder(dir.path());
        std::fs::create_dir_all(&home).expect("a folder");
        let founder = |number, address: &str| {
            let (address, site) = (address.into(), String::new());
            Founder { node: n(number), address, site }
        };
        let file = ClusterFile {
            cluster: ClusterId([7; 16]),
            node: n(4),
            partitions: 4,
            listen: None,
            founders: Vec::new(),
            nodes: vec![founder(1, "a:1"), founder(2, "b:1"), founder(4, "d:1")],
            version: 9,
        };
        let keeper = Keeper::new(dir.path(), file.clone());
        // As it was when the cluster began.
        keeper.tell(roster(5, 2, &[(1, "a:1"), (2, "b:1")]));
        assert_eq!(keeper.file(), file);
        keeper.tell(roster(12, 5, &[(1, "a:1"), (4, "d:1"), (5, "")]));
        assert!(keeper.work(&OnceLock::new()));
        let kept = ClusterFile::read(&home).expect("sound").expect("there");
        assert_eq!(kept.nodes, [founder(1, "a:1"), founder(4, "d:1")]);
        assert_eq!((kept.version, kept.founders.len()), (12, 0));
        assert!(keeper.roster().node(n(5)).is_some(), "invited, and nobody to call");
        // It was taken out: whom it knew stays.
        keeper.tell(roster(13, 5, &[(1, "a:1")]));
        assert_eq!(keeper.file(), kept);
        keeper.stop();
        assert!(!keeper.work(&OnceLock::new()));
    }
}
