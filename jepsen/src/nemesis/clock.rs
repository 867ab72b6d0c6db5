//! A wall clock that jumps, for one process alone: the machine's clock is not touched.
//!
//! `libfaketime` (Debian: `faketime`) is loaded into the process and reads from a file by how much its wall clock
//! is wrong. Monotonic time is left as it is: it does not jump on real machines either.

use crate::harness::{Doing as _, HarnessError};
use std::path::{Path, PathBuf};

/// Where Debian keeps the library, the variant for programs with threads first.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// The clock of one process.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
    library: PathBuf,
}

impl Clock {
    /// A clock that is right at first, kept in this file. `None` when the library is not there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(file: &Path) -> Result<Option<Clock>, HarnessError> {
        let Some(library) = LIBRARIES.iter().map(PathBuf::from).find(|path| path.exists()) else {
            return Ok(None);
        };
        let clock = Clock { file: file.to_owned(), library };
        clock.set(0)?;
        Ok(Some(clock))
    }

    /// What a process must have in its environment to go by this clock.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        [
            ("LD_PRELOAD", text(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", text(&self.file)),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            // Waiting is by monotonic time and must stay as it is.
            ("FAKETIME_DONT_RESET", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// From now on it is so much ahead, or behind when below zero.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set(&self, ahead_s: i64) -> Result<(), HarnessError> {
        // Written beside and renamed: the library reads the file at any time.
        let fresh = self.file.with_extension("fresh");
        let doing = || format!("setting the clock {}", self.file.display());
        std::fs::write(&fresh, format!("{ahead_s:+}\n")).doing(doing)?;
        std::fs::rename(&fresh, &self.file).doing(doing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Command, Stdio};

    /// Answers each line with its wall clock and its monotonic clock, in seconds.
    const TELL: &str = "use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC); $| = 1; \
                        while (<STDIN>) { print time(), ' ', int(clock_gettime(CLOCK_MONOTONIC)), \"\\n\" }";

    #[test]
    fn one_process_has_another_time_and_all_others_do_not() {
        let folder = tempfile::tempdir().expect("a directory");
        let Some(clock) = Clock::create(&folder.path().join("clock")).expect("written") else {
            eprintln!("skipped: libfaketime is not installed");
            return;
        };
        let mut teller = Command::new("perl")
            .args(["-e", TELL])
            .envs(clock.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("perl runs");
        let mut to = teller.stdin.take().expect("piped");
        let mut from = BufReader::new(teller.stdout.take().expect("piped"));
        let mut ask = || {
            to.write_all(b"\n").expect("written");
            let mut line = String::new();
            from.read_line(&mut line).expect("read");
            let mut words =
                line.split_whitespace().map(|word| word.parse::<i64>().expect("seconds"));
            let now = i64::try_from(crate::station::now_ms() / 1_000).expect("this age");
            (words.next().expect("wall") - now, words.next().expect("monotonic"))
        };
        let (right, began) = ask();
        assert!(right.abs() <= 2, "{right}");
        for jump in [3_600, -86_400, 0] {
            clock.set(jump).expect("set");
            let (ahead, monotonic) = ask();
            assert!((ahead - jump).abs() <= 2, "{ahead} instead of {jump}");
            assert!((0..60).contains(&(monotonic - began)), "{began} to {monotonic}");
        }
        drop(to);
        assert!(teller.wait().expect("ends").success());
    }
}
