//! Names of what a run leaves on the machine while it runs, and the sweep of what a killed run left.
//!
//! **Invariant.** Every namespace, mount and control group of ours has a name that says which process made it:
//! its number and when it started, since numbers are used again. The sweep touches only names whose process is
//! gone.

use super::shell;
use crate::harness::HarnessError;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// How all our names begin.
const PREFIX: &str = "nvxj-";

/// Counts the tags of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A name that no other run uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// A new one.
    #[must_use]
    pub fn new() -> Tag {
        let (pid, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Tag(format!("{PREFIX}{pid}-{}-{number}", started(pid).unwrap_or(0)))
    }

    /// A name under it.
    #[must_use]
    pub fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.0)
    }
}

impl Default for Tag {
    fn default() -> Tag {
        Tag::new()
    }
}

/// When a process started, in ticks since the machine did; `None` when it is gone.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything; the twentieth word after it is the time.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Whether a name is ours and its process is gone.
fn is_left_over(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let mut words = rest.split('-');
    let pid = words.next().and_then(|word| word.parse().ok());
    let began: Option<u64> = words.next().and_then(|word| word.parse().ok());
    match (pid, began) {
        (Some(pid), Some(began)) => started(pid) != Some(began),
        _ => false,
    }
}

/// Where network namespaces with names are.
pub(super) const NAMESPACES: &str = "/run/netns";
/// Where control groups for disks are, where the machine has them.
pub(super) const DISK_GROUPS: &str = "/sys/fs/cgroup/blkio";

fn names(folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Mount points with a folder of ours in their path, innermost first.
fn mounts() -> Vec<(String, String)> {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let point = |line: &str| {
        let path = line.split(' ').nth(1)?.to_owned();
        let name = path.split('/').find(|part| part.starts_with(PREFIX))?.to_owned();
        Some((path, name))
    };
    let mut mounts: Vec<_> = table.lines().filter_map(point).collect();
    mounts.reverse();
    mounts
}

/// Undoes what runs left whose process is gone: processes in their namespaces, mounts, control groups.
/// Gives what it found, in words.
///
/// # Errors
/// When something cannot be undone: a run on top of it would prove nothing.
pub fn sweep() -> Result<Vec<String>, HarnessError> {
    let mut found = Vec::new();
    for name in names(NAMESPACES).into_iter().filter(|name| is_left_over(name)) {
        let is_there = || names(NAMESPACES).contains(&name);
        if undone(sweep_namespace(&name), is_there)? {
            found.push(format!("namespace {name}"));
        }
    }
    for (path, _) in mounts().into_iter().filter(|(_, name)| is_left_over(name)) {
        let is_there = || mounts().iter().any(|(other, _)| *other == path);
        if undone(shell::run("umount", &["-l", &path]).map(drop), is_there)? {
            found.push(format!("mount {path}"));
        }
    }
    for name in names(DISK_GROUPS).into_iter().filter(|name| is_left_over(name)) {
        // A group that still has a process is left for the next sweep.
        if std::fs::remove_dir(Path::new(DISK_GROUPS).join(&name)).is_ok() {
            found.push(format!("group {name}"));
        }
    }
    Ok(found)
}

fn sweep_namespace(name: &str) -> Result<(), HarnessError> {
    for pid in shell::run("ip", &["netns", "pids", name])?.split_whitespace() {
        // What runs in a namespace that a run of ours made was started by that run.
        let _ = pid.parse().map(super::process::kill);
    }
    shell::run("ip", &["netns", "delete", name]).map(drop)
}

/// Whether this sweep undid it. It is no failure when another run, which sweeps at the same time, was faster.
fn undone(
    went: Result<(), HarnessError>,
    is_there: impl FnOnce() -> bool,
) -> Result<bool, HarnessError> {
    match went {
        Ok(()) => Ok(true),
        Err(error) if is_there() => Err(error),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_living_are_left_alone() {
        let tag = Tag::new();
        assert_ne!(tag, Tag::new());
        assert!(!is_left_over(&tag.name("n1")));
        let pid = std::process::id();
        assert!(is_left_over(&format!("nvxj-{pid}-1-0-n1")), "another process of that number");
        for foreign in ["docker0", "nvxj-", "nvxj-x-1", "cni-1234-5"] {
            assert!(!is_left_over(foreign), "{foreign}");
        }
    }

    #[test]
    fn what_another_sweep_undid_is_no_failure() {
        let failed = || Err(HarnessError::Scene("it is gone".to_owned()));
        assert!(!undone(failed(), || false).expect("nothing is left"));
        assert!(undone(failed(), || true).is_err());
        assert!(undone(Ok(()), || true).expect("done"));
        if crate::nemesis::unable().is_none() {
            let name = format!("nvxj-1-{}-gone-{}", u64::MAX, std::process::id());
            assert!(sweep_namespace(&name).is_err(), "what is not there cannot be undone");
        }
    }

    #[test]
    fn what_a_killed_run_left_is_swept() {
        if let Some(why) = crate::nemesis::unable() {
            eprintln!("skipped: {why}");
            return;
        }
        // As if process 1 had made it when it had another start.
        let name = format!("nvxj-1-{}-{}", u64::MAX, std::process::id());
        shell::run("ip", &["netns", "add", &name]).expect("made");
        let net = format!("--net={NAMESPACES}/{name}");
        let mut left = std::process::Command::new("nsenter")
            .args([net.as_str(), "sleep", "1000"])
            .spawn()
            .expect("runs");
        // Until it has changed its namespace.
        while !shell::run("ip", &["netns", "pids", &name])
            .expect("lists")
            .contains(&left.id().to_string())
        {
            std::thread::yield_now();
        }
        // By this sweep, or by one of another test that runs beside it.
        sweep().expect("swept");
        assert!(!left.wait().expect("ended").success());
        assert!(!names(NAMESPACES).contains(&name));
    }
}
