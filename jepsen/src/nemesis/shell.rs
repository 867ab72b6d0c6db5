//! A tool of the system, run to its end within a time limit.

use crate::harness::{Doing as _, HarnessError};
use std::io::Write as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// No tool of the toolbox takes longer than this on a machine that works.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs it and gives what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, HarnessError> {
    run_with(program, arguments, "")
}

/// Runs it with an input. The input must be short: it is written before the output is read.
pub(crate) fn run_with(
    program: &str,
    arguments: &[&str],
    input: &str,
) -> Result<String, HarnessError> {
    debug_assert!(input.len() < 32 << 10, "longer than a pipe");
    let command = || format!("{program} {}", arguments.join(" "));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing(command)?;
    if let Some(mut to) = child.stdin.take() {
        // A tool that reads nothing closes its end; what it says counts.
        let _ = to.write_all(input.as_bytes());
    }
    // Tools of the toolbox print less than a pipe holds.
    let status = wait(&mut child, LIMIT, &command)?;
    let read = |from: Option<&mut dyn std::io::Read>| {
        let mut text = Vec::new();
        if let Some(from) = from {
            // A pipe of a process that ended reads to its end.
            let _ = from.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    let printed = read(child.stdout.as_mut().map(|from| from as &mut dyn std::io::Read));
    if status.success() {
        return Ok(printed);
    }
    let said = read(child.stderr.as_mut().map(|from| from as &mut dyn std::io::Read));
    Err(HarnessError::Tool { command: command(), said: said.trim().to_owned() })
}

/// Waits for a child's end, and ends it when the time is up.
fn wait(
    child: &mut Child,
    limit: Duration,
    command: &dyn Fn() -> String,
) -> Result<ExitStatus, HarnessError> {
    let until = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().doing(command)? {
            return Ok(status);
        }
        if Instant::now() > until {
            // It hangs in the kernel when even that does not help.
            let _ = child.kill();
            return Err(HarnessError::TooSlow { command: command(), limit_s: limit.as_secs() });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_run_to_its_end_and_a_failure_has_its_words() {
        assert_eq!(run_with("cat", &[], "in and out").expect("runs"), "in and out");
        let failed = run("sh", &["-c", "echo why >&2; exit 3"]);
        let Err(HarnessError::Tool { said, .. }) = failed else { panic!("{failed:?}") };
        assert_eq!(said, "why");
        assert!(matches!(run("no-such-tool", &[]), Err(HarnessError::Io { .. })));
    }

    #[test]
    fn a_tool_that_hangs_is_ended() {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("runs");
        let hung = wait(&mut child, Duration::from_millis(30), &|| "sleep".to_owned());
        assert!(matches!(hung, Err(HarnessError::TooSlow { .. })));
        assert!(!child.wait().expect("ended").success());
    }
}
