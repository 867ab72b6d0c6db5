//! All stations: processes that hold a part each, for a process may open only so many files, and from one address to
//! one other there are only so many ports.

use crate::error::{BenchError, During as _, Result};
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Sockets of one process. Below the limit of open files that is checked for.
pub(super) const EACH_MAX: u32 = 17_000;

/// One process.
#[derive(Debug)]
struct Part {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Crowd {
    parts: Vec<Part>,
}

impl Crowd {
    /// Processes for up to `count` stations, none of which is open yet. The node listens at every local address.
    pub(super) fn start(port: u16, count: u32) -> Result<Crowd> {
        let processes = count.div_ceil(EACH_MAX);
        let program = std::env::current_exe().during("finding this binary")?;
        let start = |number: u32| {
            let host = u8::try_from(number + 1).expect("few processes");
            let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), port));
            let mut command = Command::new(&program);
            command.args(["stations", "--address", &address.to_string()]);
            command.args(["--first", &bound(count, number, processes).to_string()]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().during("starting stations")?;
            let orders = child.stdin.take().expect("it is piped");
            let answers = BufReader::new(child.stdout.take().expect("it is piped")).lines();
            Ok(Part { child, orders, answers })
        };
        Ok(Crowd { parts: (0..processes).map(start).collect::<Result<_>>()? })
    }

    /// Has so many stations open, about the same number in each process.
    pub(super) fn open(&mut self, count: u32) -> Result<()> {
        let size = self.size();
        let each = |number| bound(count, number + 1, size) - bound(count, number, size);
        self.order("open", |number| format!("open {}", each(number))).map(drop)
    }

    /// Heartbeats of all stations in turn: how many were answered, and the longest that one took.
    pub(super) fn beat(&mut self, per_second: u32, seconds: u32) -> Result<(u32, Duration)> {
        let each = per_second.div_ceil(self.size());
        let answers = self.order("beat", |_| format!("beat {each} {seconds}"))?;
        let nth = |at: usize| answers.iter().map(move |all| all.get(at).copied().unwrap_or(0));
        let worst = nth(1).max().unwrap_or(0);
        Ok((nth(0).sum(), Duration::from_micros(u64::from(worst))))
    }

    fn size(&self) -> u32 {
        u32::try_from(self.parts.len()).expect("few processes")
    }

    /// Tells all, then waits for all; the numbers that each answers with.
    fn order(&mut self, word: &str, order: impl Fn(u32) -> String) -> Result<Vec<Vec<u32>>> {
        for (number, part) in (0..).zip(&mut self.parts) {
            writeln!(part.orders, "{}", order(number)).during("telling stations what to do")?;
        }
        let answer = |part: &mut Part| {
            let line = part.answers.next().transpose().during("hearing from stations")?;
            let numbers = line.as_deref().and_then(|line| line.strip_prefix(word));
            let ended = || BenchError::Part("stations".into(), format!("to {word:?}: {line:?}"));
            let numbers = numbers.ok_or_else(ended)?;
            Ok(numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect())
        };
        self.parts.iter_mut().map(answer).collect()
    }
}

/// Where the part of a process begins, when so many are shared out.
fn bound(count: u32, number: u32, processes: u32) -> u32 {
    u32::try_from(u64::from(count) * u64::from(number) / u64::from(processes)).expect("at most all")
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for part in &mut self.parts {
            let _ = part.child.kill();
            let _ = part.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_station_is_in_one_process() {
        for (count, processes) in [(100_000, 6), (1_000, 7), (17_000, 1)] {
            let bounds: Vec<u32> = (0..=processes).map(|at| bound(count, at, processes)).collect();
            assert_eq!((bounds[0], *bounds.last().unwrap()), (0, count));
            assert!(bounds.windows(2).all(|two| two[1] - two[0] <= count.div_ceil(processes)));
        }
        // While fewer are open than will be, each process has fewer than its part.
        assert!((0..6).all(|at| bound(10_000, at + 1, 6) - bound(10_000, at, 6) <= 1_667));
    }
}
