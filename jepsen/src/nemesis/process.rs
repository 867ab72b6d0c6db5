//! Signals to a process of ours.

use crate::harness::{Doing as _, HarnessError};
use rustix::process::{Pid, Signal, kill_process};
use std::io;

fn signal(pid: u32, signal: Signal) -> Result<(), HarnessError> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let sent = raw.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput)).and_then(|pid| {
        // To the process itself, never to a group.
        kill_process(pid, signal).map_err(io::Error::from)
    });
    sent.doing(|| format!("a signal to process {pid}"))
}

/// Ends it at once: SIGKILL.
///
/// # Errors
/// When there is no such process.
pub fn kill(pid: u32) -> Result<(), HarnessError> {
    signal(pid, Signal::KILL)
}

/// Stops it where it stands: SIGSTOP. Its sockets stay open, and nobody reads them.
///
/// # Errors
/// When there is no such process, or it does not stop.
pub fn pause(pid: u32) -> Result<(), HarnessError> {
    signal(pid, Signal::STOP)?;
    // The signal is sent at once and takes effect a little later, thread by thread.
    for _ in 0..1_000 {
        if state(pid) == Some('T') {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Err(HarnessError::Scene(format!("process {pid} does not stop")))
}

/// Lets it go on: SIGCONT.
///
/// # Errors
/// When there is no such process.
pub fn resume(pid: u32) -> Result<(), HarnessError> {
    signal(pid, Signal::CONT)
}

/// The letter for what a process is at: `R`, `S`, `D`, `T` and so on; `None` when it is gone.
#[must_use]
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Command, Stdio};

    #[test]
    fn a_paused_process_does_nothing_until_it_goes_on_and_a_killed_one_never_does() {
        let mut echo =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("runs");
        let mut to = echo.stdin.take().expect("piped");
        let mut from = BufReader::new(echo.stdout.take().expect("piped"));
        let mut line = String::new();
        to.write_all(b"one\n").expect("written");
        from.read_line(&mut line).expect("read");
        pause(echo.id()).expect("pauses");
        to.write_all(b"two\n").expect("a pipe takes it");
        assert_eq!(state(echo.id()), Some('T'));
        resume(echo.id()).expect("goes on");
        from.read_line(&mut line).expect("read");
        assert_eq!(line, "one\ntwo\n");
        kill(echo.id()).expect("killed");
        assert!(!echo.wait().expect("ended").success());
        assert_eq!(state(echo.id()), None);
        assert!(kill(echo.id()).is_err());
        assert!(pause(0).is_err(), "0 would be everybody");
    }
}
