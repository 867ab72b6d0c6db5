//! A disk of a node's own, that can be full, slow, read-only, or forget what was not synced.
//!
//! A file, a loop device, an ext4 on it. What there is no device-mapper for, ext4 does itself: its *shutdown*
//! is a power cut of this file system alone, and its error trigger makes it read-only as a bad sector would.
//!
//! **Invariants**
//! * The mount point's name is a tag's, so that the sweep finds it when its owner was killed.
//! * A node must be dead before its disk is [healed](Disk::mend) of a power cut or an error: healing mounts anew.
//! * Dropped, it is unmounted and its file is gone.

use super::shell;
use super::tag::{DISK_GROUPS, Tag};
use crate::harness::{Doing as _, HarnessError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The file that fills the disk.
const FILLER: &str = ".filler";
/// ext4's shutdown (`FS_IOC_SHUTDOWN`) without writing its journal. There is no command for it in Debian's base
/// system but Perl, and a system call by number would need unsafe code here.
const SHUTDOWN: &str = "open(my $fs, '<', $ARGV[0]) or die \"open: $!\"; my $how = pack('L', 2); \
                        ioctl($fs, 0x8004587D, $how) or die \"shutdown: $!\"";

/// A disk.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    folder: PathBuf,
    group: PathBuf,
    mounted: bool,
}

impl Disk {
    /// Makes one of so many bytes; image and mount point are in this folder.
    ///
    /// # Errors
    /// When a tool fails; nothing is left then.
    pub fn create(tag: &Tag, name: &str, within: &Path, bytes: u64) -> Result<Disk, HarnessError> {
        let name = tag.name(name);
        let mut disk = Disk {
            image: within.join(format!("{name}.img")),
            folder: within.join(&name),
            group: Path::new(DISK_GROUPS).join(&name),
            mounted: false,
        };
        let doing = || format!("making {}", disk.image.display());
        let image = std::fs::File::create_new(&disk.image).doing(doing)?;
        image.set_len(bytes).doing(doing)?;
        std::fs::create_dir(&disk.folder).doing(doing)?;
        shell::run("mkfs.ext4", &["-q", "-F", "-m", "0", &text(&disk.image)])?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves no more than so many bytes free.
    ///
    /// # Errors
    /// When the disk cannot be filled.
    pub fn fill(&self, free_bytes: u64) -> Result<(), HarnessError> {
        let free = free_bytes_of(&self.folder)?;
        let Some(size) = free.checked_sub(free_bytes).filter(|size| *size > 0) else {
            return Ok(());
        };
        let filler = self.folder.join(FILLER);
        let before = std::fs::metadata(&filler).map_or(0, |meta| meta.len());
        let size = (before + size).to_string();
        shell::run("fallocate", &["-l", &size, &text(&filler)]).map(drop)
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// When the disk is broken in another way.
    pub fn empty(&self) -> Result<(), HarnessError> {
        match std::fs::remove_file(self.folder.join(FILLER)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.doing(|| "giving room back".to_owned()),
        }
    }

    /// Makes it read-only under whoever writes, as ext4 does when it meets an error.
    ///
    /// # Errors
    /// When the kernel has no such trigger.
    pub fn make_read_only(&self) -> Result<(), HarnessError> {
        let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", self.device()?);
        std::fs::write(&trigger, "1").doing(|| format!("writing {trigger}"))
    }

    /// A power cut of this disk alone: what was not synced is lost, and every write from now on fails.
    ///
    /// # Errors
    /// When the file system does not do it.
    pub fn cut_power(&self) -> Result<(), HarnessError> {
        shell::run("perl", &["-e", SHUTDOWN, &text(&self.folder)]).map(drop)
    }

    /// Processes that [join](Disk::join) get no more than so many writes in a second through. Zero is as
    /// many as it takes. Only writes past the page cache are slowed: the kernel counts no others.
    ///
    /// # Errors
    /// When the machine has no such control.
    pub fn slow(&self, writes_per_s: u32) -> Result<(), HarnessError> {
        let device = self.numbers()?;
        let file = self.group()?.join("blkio.throttle.write_iops_device");
        std::fs::write(&file, format!("{device} {writes_per_s}"))
            .doing(|| format!("writing {}", file.display()))
    }

    /// Has a process counted as a user of this disk, for [`Disk::slow`].
    ///
    /// # Errors
    /// When the machine has no such control, or the process is gone.
    pub fn join(&self, pid: u32) -> Result<(), HarnessError> {
        let file = self.group()?.join("cgroup.procs");
        std::fs::write(&file, pid.to_string()).doing(|| format!("writing {}", file.display()))
    }

    /// Heals a power cut or an error: unmounts, repairs, mounts.
    ///
    /// # Errors
    /// When somebody still uses it, or it cannot be repaired.
    pub fn mend(&mut self) -> Result<(), HarnessError> {
        self.unmount()?;
        // Exit code 1 is "repaired": only what is above is a failure.
        let check = "e2fsck -p \"$1\" >&2; test $? -le 1";
        shell::run("sh", &["-c", check, "sh", &text(&self.image)])?;
        self.mount()
    }

    fn mount(&mut self) -> Result<(), HarnessError> {
        let (image, folder) = (text(&self.image), text(&self.folder));
        shell::run("mount", &["-o", "loop,errors=remount-ro", &image, &folder])?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), HarnessError> {
        shell::run("umount", &[&text(&self.folder)])?;
        self.mounted = false;
        Ok(())
    }

    /// The name of the device it is on.
    fn device(&self) -> Result<String, HarnessError> {
        let found = shell::run("findmnt", &["-n", "-o", "SOURCE", &text(&self.folder)])?;
        let name = found.trim().rsplit('/').next().unwrap_or_default();
        if name.starts_with("loop") {
            return Ok(name.to_owned());
        }
        Err(HarnessError::Scene(format!("{} is on {found:?}", self.folder.display())))
    }

    /// The device's numbers, as control groups name it.
    fn numbers(&self) -> Result<String, HarnessError> {
        let path = format!("/sys/block/{}/dev", self.device()?);
        let numbers = std::fs::read_to_string(&path).doing(|| format!("reading {path}"))?;
        Ok(numbers.trim().to_owned())
    }

    fn group(&self) -> Result<&Path, HarnessError> {
        if !self.group.exists() {
            let doing = || format!("making the control group {}", self.group.display());
            std::fs::create_dir(&self.group).doing(doing)?;
        }
        Ok(&self.group)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What cannot be undone now is swept at the next start.
        if self.mounted && self.unmount().is_err() {
            let _ = shell::run("umount", &["-l", &text(&self.folder)]);
        }
        let _ = std::fs::remove_file(&self.image);
        let _ = std::fs::remove_dir(&self.folder);
        let _ = std::fs::remove_dir(&self.group);
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn free_bytes_of(folder: &Path) -> Result<u64, HarnessError> {
    let stat = rustix::fs::statvfs(folder)
        .map_err(std::io::Error::from)
        .doing(|| format!("asking for room in {}", folder.display()))?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Whether a folder is on another file system than its parent.
#[must_use]
pub fn is_mounted(folder: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
    folder.parent().is_some_and(|parent| device(folder) != device(parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nemesis::unable;
    use std::fs::{self, File};
    use std::io::Write as _;
    use std::time::{Duration, Instant};

    fn disk(folder: &tempfile::TempDir) -> Option<Disk> {
        if let Some(why) = unable() {
            eprintln!("skipped: {why}");
            return None;
        }
        Some(Disk::create(&Tag::new(), "disk", folder.path(), 32 << 20).expect("made"))
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    #[test]
    fn a_full_disk_takes_nothing_until_it_has_room() {
        let folder = folder();
        let Some(disk) = disk(&folder) else { return };
        let write = || fs::write(disk.folder().join("data"), vec![7; 1 << 20]);
        write().expect("room");
        disk.fill(64 << 10).expect("filled");
        fs::remove_file(disk.folder().join("data")).expect("removed");
        disk.fill(64 << 10).expect("filled again");
        let refused = write().expect_err("no room");
        assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull, "{refused}");
        disk.empty().expect("emptied");
        write().expect("room");
        disk.empty().expect("nothing to do");
    }

    #[test]
    fn a_power_cut_loses_what_was_not_synced_and_nothing_else() {
        let folder = folder();
        let Some(mut disk) = disk(&folder) else { return };
        let mut synced = File::create(disk.folder().join("synced")).expect("made");
        synced.write_all(b"kept").expect("written");
        synced.sync_all().expect("synced");
        File::open(disk.folder()).expect("opened").sync_all().expect("synced");
        fs::write(disk.folder().join("unsynced"), "lost").expect("written");
        disk.cut_power().expect("cut");
        assert!(synced.write_all(b"more").and_then(|()| synced.sync_all()).is_err());
        drop(synced);
        disk.mend().expect("mended");
        assert_eq!(fs::read(disk.folder().join("synced")).expect("kept"), b"kept");
        assert_ne!(fs::read(disk.folder().join("unsynced")).ok(), Some(b"lost".to_vec()));
        fs::write(disk.folder().join("fresh"), "works").expect("writable again");
    }

    #[test]
    fn a_disk_turns_read_only_under_a_writer() {
        let folder = folder();
        let Some(mut disk) = disk(&folder) else { return };
        let mut open = File::create(disk.folder().join("open")).expect("made");
        disk.make_read_only().expect("broken");
        assert!(open.write_all(b"more").and_then(|()| open.sync_all()).is_err());
        assert!(fs::write(disk.folder().join("fresh"), "no").is_err());
        drop(open);
        disk.mend().expect("mended");
        fs::write(disk.folder().join("fresh"), "works").expect("writable again");
    }

    #[test]
    fn a_slow_disk_takes_so_many_writes_a_second() {
        let folder = folder();
        let Some(disk) = disk(&folder) else { return };
        let target = text(&disk.folder().join("data"));
        // The shell joins the group before it becomes dd.
        let group = text(disk.group().expect("made"));
        let dd = "echo $$ > $1/cgroup.procs && exec dd if=/dev/zero of=$2 bs=4k count=20 \
                  oflag=direct,dsync 2>&1";
        let timed = || {
            let begun = Instant::now();
            shell::run("sh", &["-c", dd, "sh", &group, &target]).expect("written");
            begun.elapsed()
        };
        disk.slow(20).expect("slowed");
        let slow = timed();
        assert!(slow >= Duration::from_millis(700), "{slow:?}");
        disk.slow(0).expect("healed");
        let fast = timed();
        assert!(fast < slow / 2 + Duration::from_millis(300), "{fast:?} and {slow:?}");
    }

    #[test]
    fn nothing_is_left_of_a_disk_that_is_gone() {
        let folder = folder();
        let Some(disk) = disk(&folder) else { return };
        let mounted = disk.folder().to_owned();
        assert!(is_mounted(&mounted));
        drop(disk);
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0);
    }
}
