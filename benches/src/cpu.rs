//! Processor time and memory: of this process, of this thread, of another process.
//!
//! Processor time is what figures are made of: on a machine that others use too, it moves by tens of
//! percent where the wall clock moves by factors.

use crate::error::{BenchError, During as _, Result};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What this process has used so far, threads that have ended included.
pub(crate) fn of_process() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
}

/// What this thread has used so far.
pub(crate) fn of_thread() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).expect("processor time is not negative");
    let nanos = u32::try_from(time.tv_nsec).expect("below a second");
    Duration::new(seconds, nanos)
}

/// What the process `pid` has used so far, threads that have ended included; in steps of 10 ms.
pub(crate) fn of_pid(pid: u32) -> Result<Duration> {
    let stat = read_proc(pid, "stat")?;
    // The name stands in brackets and may hold anything; the 14th and 15th words are user and system.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    ticks(after_name, 11)
}

/// What the threads of another process have used, to the nanosecond. A thread that has ended counts with what it was
/// last seen with; what it used after that is lost.
#[derive(Debug, Default)]
pub(crate) struct Threads(Mutex<BTreeMap<String, u64>>);

impl Threads {
    /// Those of the process `pid`, always the same one.
    pub(crate) fn so_far(&self, pid: u32) -> Result<Duration> {
        let mut seen = self.0.lock().expect("nobody panics in here");
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).during("listing threads")? {
            let task = task.during("listing threads")?;
            // A thread may end in between.
            let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
            let first = text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
            let name = task.file_name().to_string_lossy().into_owned();
            let used = seen.entry(name).or_default();
            *used = first.unwrap_or(0).max(*used);
        }
        match seen.values().sum() {
            0 => Err(BenchError::Machine("this kernel keeps no schedstat".into())),
            nanoseconds => Ok(Duration::from_nanos(nanoseconds)),
        }
    }
}

/// What children of this process used that have ended and were waited for; in steps of 10 ms.
pub(crate) fn of_ended_children() -> Result<Duration> {
    let stat = read_proc(std::process::id(), "stat")?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    ticks(after_name, 13)
}

/// As [`of_pid`], with all that its children have used and use, in steps of 10 ms each.
pub(crate) fn of_family(pid: u32) -> Result<Duration> {
    let stat = read_proc(pid, "stat")?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut used = ticks(after_name, 11)? + ticks(after_name, 13)?;
    for process in std::fs::read_dir("/proc").during("listing processes")? {
        let process = process.during("listing processes")?;
        // What is no number is no process; one may end while we look.
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let parent = after_name.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        if parent == Some(pid) {
            used += ticks(after_name, 11)?;
        }
    }
    Ok(used)
}

/// Two words of `stat`, in the hundredths of a second that Linux reports in on every machine.
fn ticks(after_name: &str, first: usize) -> Result<Duration> {
    let mut words = after_name.split_whitespace().skip(first).map(str::parse::<u64>);
    match (words.next(), words.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok(Duration::from_millis((user + system) * 10)),
        _ => Err(BenchError::Machine("this kernel's stat has another shape".into())),
    }
}

/// The most memory that the process `pid` ever had resident, in bytes.
pub(crate) fn peak_resident_bytes(pid: u32) -> Result<u64> {
    let status = read_proc(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    let kib = kib.ok_or_else(|| BenchError::Machine("this kernel tells no VmHWM".into()))?;
    Ok(kib * 1_024)
}

fn read_proc(pid: u32, file: &str) -> Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).during("reading about a process")
}

/// Measures a stretch of work of this process.
#[derive(Debug)]
pub(crate) struct Stretch {
    cpu: Duration,
    wall: Instant,
}

impl Stretch {
    pub(crate) fn begin() -> Stretch {
        Stretch { cpu: of_process(), wall: Instant::now() }
    }

    /// Seconds of all processors so far.
    pub(crate) fn cpu_s(&self) -> f64 {
        of_process().saturating_sub(self.cpu).as_secs_f64()
    }

    /// Seconds on the wall so far.
    pub(crate) fn wall_s(&self) -> f64 {
        self.wall.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_the_time_of_thread_process_and_pid() {
        let (thread, process) = (of_thread(), of_process());
        let pid = of_pid(std::process::id()).expect("this process is there");
        let begun = Instant::now();
        let mut sum = 0_u64;
        while of_thread() - thread < Duration::from_millis(60) {
            sum = (0..10_000_u64).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
            assert!(begun.elapsed() < Duration::from_secs(60), "sum {sum}: no time passes");
        }
        assert!(of_process() - process >= Duration::from_millis(60));
        let later = of_pid(std::process::id()).expect("this process is there");
        assert!(later - pid >= Duration::from_millis(40), "steps of 10 ms");
        assert!(peak_resident_bytes(std::process::id()).expect("it is there") > 100_000);
    }

    #[test]
    fn time_of_threads_that_ended_is_not_taken_back() {
        let pid = std::process::id();
        let threads = Threads::default();
        let (worked, seen) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        let before = threads.so_far(pid).expect("this process is there");
        let with = std::thread::scope(|scope| {
            scope.spawn(|| {
                let began = of_thread();
                while of_thread() - began < Duration::from_millis(50) {
                    std::hint::spin_loop();
                }
                worked.wait();
                seen.wait();
            });
            worked.wait();
            let with = threads.so_far(pid).expect("this process is there");
            seen.wait();
            with
        });
        assert!(with - before >= Duration::from_millis(49), "{before:?} {with:?}");
        assert!(threads.so_far(pid).expect("this process is there") >= with);
    }
}
