//! `novax doctor`: is this machine fit to run a node, and if not, what to do.
//!
//! Reads what the kernel tells about itself, tries a ring and some synced writes, and changes nothing
//! but a scratch file in the data directory, which it removes. No `unsafe`: limits come
//! from `/proc/self/limits`, features from the probe of the `io-uring` crate.

use crate::config::Config;
use io_uring::{IoUring, Probe, opcode};
use std::fmt;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// A node runs, but not as well or as safely as it could.
    Warn,
    /// A node will not run, or not safely.
    Fail,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        })
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub level: Level,
    /// What was looked at.
    pub what: &'static str,
    /// What was seen.
    pub seen: String,
    /// What to do; empty when all is well.
    pub advice: String,
}

impl Finding {
    fn ok(what: &'static str, seen: impl Into<String>) -> Finding {
        Finding { level: Level::Ok, what, seen: seen.into(), advice: String::new() }
    }

    fn warn(what: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { level: Level::Warn, what, seen: seen.into(), advice: advice.into() }
    }

    fn fail(what: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { level: Level::Fail, what, seen: seen.into(), advice: advice.into() }
    }
}

/// Everything that was looked at, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The lines. Never empty.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst finding.
    #[must_use]
    pub fn level(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    /// 1 when something failed; warnings are no failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.level() {
            Level::Fail => crate::cli::EXIT_FAILED,
            Level::Ok | Level::Warn => crate::cli::EXIT_OK,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{:<5} {:<13} {}", finding.level, finding.what, finding.seen)?;
            if !finding.advice.is_empty() {
                writeln!(f, "{:<5} {:<13} -> {}", "", "", finding.advice)?;
            }
        }
        Ok(())
    }
}

/// Looks at everything. Takes about a second, most of it synced writes.
#[must_use]
pub fn examine(config: &Config) -> Report {
    let limits = read("/proc/self/limits");
    let mut findings = vec![
        kernel(&read("/proc/sys/kernel/osrelease")),
        ring_allowed(&read("/proc/sys/kernel/io_uring_disabled")),
    ];
    findings.extend(ring());
    findings.push(open_files(&limits));
    findings.push(locked_memory(&limits, config.node.shards));
    findings.extend(disk(&config.data));
    findings.extend(clock(&config.data));
    for (what, address) in [
        ("port ocpp", config.ocpp.listen),
        ("port http", config.http.listen),
        ("port sql", config.sql.listen),
    ] {
        findings.push(port(what, address));
    }
    findings.push(memory(&read("/proc/meminfo"), memory_wanted_bytes(config)));
    Report { findings }
}

/// A small file of the kernel's; empty when it is not there, which every check reads as unknown.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The oldest kernel with everything the ring uses (SINGLE_ISSUER + DEFER_TASKRUN: 6.1).
const KERNEL_MIN: (u32, u32) = (6, 1);

fn kernel(release: &str) -> Finding {
    const WHAT: &str = "kernel";
    let release = release.trim();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return Finding::warn(
            WHAT,
            format!("unknown release {release:?}"),
            "run Linux 6.1 or newer",
        );
    };
    if (major, minor) < KERNEL_MIN {
        return Finding::fail(WHAT, format!("Linux {release}"), "run Linux 6.1 or newer");
    }
    Finding::ok(WHAT, format!("Linux {release}"))
}

fn ring_allowed(disabled: &str) -> Finding {
    const WHAT: &str = "io_uring";
    match disabled.trim() {
        // Kernels before 6.6 have no such switch.
        "0" | "" => Finding::ok(WHAT, "allowed"),
        "1" => Finding::warn(
            WHAT,
            "only for members of kernel.io_uring_group",
            "sysctl kernel.io_uring_disabled=0, or add this user to the group",
        ),
        other => Finding::fail(
            WHAT,
            format!("switched off (kernel.io_uring_disabled = {other})"),
            "sysctl kernel.io_uring_disabled=0",
        ),
    }
}

/// What the ring needs besides its set-up flags.
const OPCODES: [(&str, u8); 7] = [
    ("accept", opcode::AcceptMulti::CODE),
    ("recv", opcode::RecvMulti::CODE),
    ("send", opcode::Send::CODE),
    ("write", opcode::Write::CODE),
    ("MSG_RING", opcode::MsgRingData::CODE),
    ("async cancel", opcode::AsyncCancel::CODE),
    // Came with Linux 6.0, as did multishot recv, which no probe tells apart from plain recv.
    ("send zero-copy", opcode::SendZc::CODE),
];

fn ring() -> Vec<Finding> {
    const WHAT: &str = "ring";
    let built = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(64);
    let ring: IoUring = match built {
        Ok(ring) => ring,
        Err(error) => return vec![ring_refused(&error)],
    };
    let mut findings =
        vec![Finding::ok(WHAT, "a ring with SINGLE_ISSUER and DEFER_TASKRUN can be made")];
    let mut probe = Probe::new();
    match ring.submitter().register_probe(&mut probe) {
        Ok(()) => findings.push(operations(|code| probe.is_supported(code))),
        Err(error) => findings.push(Finding::fail(
            "ring ops",
            format!("cannot be probed: {error}"),
            "run Linux 6.1 or newer",
        )),
    }
    findings.push(match ring.submitter().register_files_sparse(1_024) {
        Ok(()) => Finding::ok("ring files", "a table for direct accept can be registered"),
        Err(error) => Finding::fail(
            "ring files",
            format!("no table of 1024 files: {error}"),
            "raise LimitNOFILE of the service, or `ulimit -n`",
        ),
    });
    findings
}

fn ring_refused(error: &std::io::Error) -> Finding {
    let advice = match error.kind() {
        ErrorKind::PermissionDenied => {
            "a seccomp filter or container forbids io_uring: allow its system calls"
        }
        ErrorKind::InvalidInput => "run Linux 6.1 or newer",
        ErrorKind::OutOfMemory => "raise LimitMEMLOCK of the service, or `ulimit -l`",
        _ => "check kernel.io_uring_disabled and the seccomp filter of the container",
    };
    Finding::fail("ring", format!("cannot be made: {error}"), advice)
}

fn operations(supported: impl Fn(u8) -> bool) -> Finding {
    let missing: Vec<&str> =
        OPCODES.iter().filter(|(_, code)| !supported(*code)).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        Finding::ok("ring ops", "multishot accept and recv, MSG_RING, cancel")
    } else {
        let seen = format!("missing: {}", missing.join(", "));
        Finding::fail("ring ops", seen, "run Linux 6.1 or newer")
    }
}

/// The soft limit of a line of `/proc/self/limits`; `u64::MAX` is unlimited.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn open_files(limits: &str) -> Finding {
    const WHAT: &str = "open files";
    const ADVICE: &str = "set LimitNOFILE=1048576 in the service, or `ulimit -n`: one for each \
                          station, and a few for tables and log";
    match soft_limit(limits, "Max open files") {
        None => Finding::warn(WHAT, "limit unknown", ADVICE),
        Some(limit) if limit < 1_024 => Finding::fail(WHAT, format!("limit {limit}"), ADVICE),
        Some(limit) if limit < 16_384 => Finding::warn(WHAT, format!("limit {limit}"), ADVICE),
        Some(u64::MAX) => Finding::ok(WHAT, "no limit"),
        Some(limit) => Finding::ok(WHAT, format!("limit {limit}")),
    }
}

/// Locked memory a shard's ring and its buffers are charged with, at most.
const LOCKED_BYTES_PER_SHARD: u64 = 4 << 20;

fn locked_memory(limits: &str, shards: u16) -> Finding {
    const WHAT: &str = "locked memory";
    let wanted = LOCKED_BYTES_PER_SHARD * u64::from(shards);
    let advice =
        format!("set LimitMEMLOCK={wanted} in the service, or `ulimit -l {}`", wanted >> 10);
    match soft_limit(limits, "Max locked memory") {
        None => Finding::warn(WHAT, "limit unknown", advice),
        Some(u64::MAX) => Finding::ok(WHAT, "no limit"),
        Some(limit) if limit < wanted => Finding::warn(
            WHAT,
            format!("limit {} KiB, {shards} shards may want {} KiB", limit >> 10, wanted >> 10),
            advice,
        ),
        Some(limit) => Finding::ok(WHAT, format!("limit {} KiB", limit >> 10)),
    }
}

/// O_DIRECT wants memory and length aligned to the device's block; 4 KiB serves all.
#[repr(C, align(4096))]
struct Block([u8; 4096]);

const SYNCED_WRITES: u32 = 50;

fn disk(data: &Path) -> Vec<Finding> {
    const WHAT: &str = "disk";
    // The nearest directory that exists: doctor runs before the first start, too.
    let dir = data.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
    let path = dir.join(format!(".novax-doctor-{}", std::process::id()));
    let direct = synced_writes(&path, libc::O_DIRECT | libc::O_DSYNC);
    let result = match direct {
        Ok(times) => vec![disk_latency(times, "O_DIRECT + O_DSYNC")],
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            let direct = Finding::warn(
                WHAT,
                format!("{} cannot be written past the page cache", dir.display()),
                "put the data on ext4 or xfs, or set log.direct = false",
            );
            match synced_writes(&path, libc::O_DSYNC) {
                Ok(times) => vec![direct, disk_latency(times, "O_DSYNC")],
                Err(error) => vec![disk_refused(dir, &error)],
            }
        }
        Err(error) => vec![disk_refused(dir, &error)],
    };
    // Gone in every case but a crash; a failure to remove it was a failure to make it.
    let _ = std::fs::remove_file(&path);
    result
}

fn disk_refused(dir: &Path, error: &std::io::Error) -> Finding {
    Finding::fail(
        "disk",
        format!("{} cannot be written: {error}", dir.display()),
        "give this user the directory, or name another with --data",
    )
}

fn synced_writes(path: &Path, flags: i32) -> std::io::Result<Vec<Duration>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .custom_flags(flags)
        .open(path)?;
    let block = Block([0x5a; 4096]);
    // The first round allocates; only the second is timed, as the log writes zeroed files.
    for index in 0..SYNCED_WRITES {
        file.write_all_at(&block.0, u64::from(index) * 4_096)?;
    }
    let mut times = Vec::with_capacity(SYNCED_WRITES as usize);
    for index in 0..SYNCED_WRITES {
        let started = Instant::now();
        file.write_all_at(&block.0, u64::from(index) * 4_096)?;
        times.push(started.elapsed());
    }
    Ok(times)
}

fn disk_latency(mut times: Vec<Duration>, how: &str) -> Finding {
    assert!(!times.is_empty(), "some writes were timed");
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let (p50, p99) = (at(50), at(99));
    let seen = format!("{how}, 4 KiB: p50 {} us, p99 {} us", p50.as_micros(), p99.as_micros());
    if p99 > Duration::from_millis(50) {
        let advice =
            "every start and stop waits for such a write: use a disk with a power-safe cache";
        Finding::warn("disk", seen, advice)
    } else if p50 < Duration::from_micros(2) {
        let advice = "too quick to be true: this disk may forget synced writes when power fails";
        Finding::warn("disk", seen, advice)
    } else {
        Finding::ok("disk", seen)
    }
}

/// 2025-01-01 and 2100-01-01: no clock that works shows another time.
const CLOCK_RANGE_S: std::ops::Range<u64> = 1_735_689_600..4_102_444_800;

fn clock(data: &Path) -> Vec<Finding> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let newest = newest_change(data).unwrap_or_default();
    let source = read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    vec![clock_sane(now, newest), clock_source(source.trim()), clock_synchronised()]
}

/// The newest change of a file directly in the data directory, as time since the epoch.
fn newest_change(data: &Path) -> Option<Duration> {
    const FILES_MAX: usize = 10_000;
    let times =
        std::fs::read_dir(data).ok()?.take(FILES_MAX).flatten().filter_map(|file| {
            file.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()
        });
    times.max()
}

fn clock_sane(now: Duration, newest: Duration) -> Finding {
    const WHAT: &str = "clock";
    const ADVICE: &str = "set the clock: sessions are billed and ordered by it";
    if !CLOCK_RANGE_S.contains(&now.as_secs()) {
        return Finding::fail(WHAT, format!("{} s since 1970", now.as_secs()), ADVICE);
    }
    if newest > now + Duration::from_secs(60) {
        let ahead = (newest - now).as_secs();
        return Finding::fail(WHAT, format!("the data is {ahead} s ahead of the clock"), ADVICE);
    }
    Finding::ok(WHAT, "not before the data")
}

fn clock_source(source: &str) -> Finding {
    const WHAT: &str = "clock source";
    match source {
        "tsc" | "kvm-clock" | "arch_sys_counter" | "hyperv_clocksource_tsc_page" => {
            Finding::ok(WHAT, source)
        }
        other => Finding::warn(
            WHAT,
            format!("{other:?}"),
            "reading this clock is slow: boot with clocksource=tsc if the machine can",
        ),
    }
}

fn clock_synchronised() -> Finding {
    const WHAT: &str = "clock sync";
    // Each of these files is made by a time daemon once it steers the clock.
    const SIGNS: [&str; 3] =
        ["/run/systemd/timesync/synchronized", "/run/chrony/chronyd.pid", "/run/ntpd.pid"];
    match SIGNS.iter().find(|sign| Path::new(sign).exists()) {
        Some(sign) => Finding::ok(WHAT, *sign),
        None => Finding::warn(
            WHAT,
            "no time daemon seen",
            "run chrony or systemd-timesyncd, unless the host steers the clock",
        ),
    }
}

fn port(what: &'static str, address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(what, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::fail(
            what,
            format!("{address} is taken"),
            "stop what listens there (a node that runs already?), or choose another address",
        ),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Finding::fail(
            what,
            format!("{address} is not allowed for this user"),
            "choose a port from 1024, or give the service CAP_NET_BIND_SERVICE",
        ),
        Err(error) => {
            Finding::fail(what, format!("{address}: {error}"), "choose an address of this machine")
        }
    }
}

/// What a node with this configuration may use: fresh rows twice over (one set is being written),
/// SQL, and a base for rings, buffers and live twins.
fn memory_wanted_bytes(config: &Config) -> u64 {
    const BASE_BYTES: u64 = 256 << 20;
    let rows = u64::from(config.node.partitions) * config.engine.memtable_bytes as u64 * 2;
    BASE_BYTES + rows + config.sql.memory_bytes_max as u64
}

fn memory(meminfo: &str, wanted_bytes: u64) -> Finding {
    const WHAT: &str = "memory";
    let available = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .and_then(|kib| kib.checked_mul(1_024));
    let Some(available) = available else {
        return Finding::warn(WHAT, "unknown", "see that the node has room");
    };
    let seen = format!("{} MiB free, {} MiB wanted", available >> 20, wanted_bytes >> 20);
    if available < wanted_bytes {
        let advice = "lower engine.memtable_bytes or sql.memory_bytes_max, or add memory";
        return Finding::warn(WHAT, seen, advice);
    }
    Finding::ok(WHAT, seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_before_6_1_fail() {
        for (release, level) in [
            ("6.18.44-generic\n", Level::Ok),
            ("6.1.0-13-amd64", Level::Ok),
            ("6.0.9", Level::Fail),
            ("5.15.0-91", Level::Fail),
            ("10.0.0", Level::Ok),
            ("", Level::Warn),
            ("unknown", Level::Warn),
        ] {
            assert_eq!(kernel(release).level, level, "{release}");
        }
    }

    #[test]
    fn the_switch_of_io_uring_is_read() {
        assert_eq!(ring_allowed("0\n").level, Level::Ok);
        assert_eq!(ring_allowed("").level, Level::Ok);
        assert_eq!(ring_allowed("1").level, Level::Warn);
        assert_eq!(ring_allowed("2").level, Level::Fail);
    }

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units     
Max open files            20000                20000                files     
Max locked memory         8388608              8388608              bytes     
Max address space         unlimited            unlimited            bytes     
";

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        assert_eq!(soft_limit(LIMITS, "Max open files"), Some(20_000));
        assert_eq!(soft_limit(LIMITS, "Max address space"), Some(u64::MAX));
        assert_eq!(soft_limit(LIMITS, "Max nothing"), None);
        assert_eq!(open_files(LIMITS).level, Level::Ok);
        assert_eq!(open_files(&LIMITS.replace("20000", "4096")).level, Level::Warn);
        assert_eq!(open_files(&LIMITS.replace("20000", "256")).level, Level::Fail);
        assert_eq!(locked_memory(LIMITS, 2).level, Level::Ok);
        assert_eq!(locked_memory(LIMITS, 3).level, Level::Warn);
    }

    #[test]
    fn a_missing_operation_is_named() {
        let finding = operations(|code| code != opcode::MsgRingData::CODE);
        assert_eq!((finding.level, finding.seen.as_str()), (Level::Fail, "missing: MSG_RING"));
        assert_eq!(operations(|_| true).level, Level::Ok);
    }

    #[test]
    fn a_slow_disk_and_one_too_quick_are_warned_of() {
        let times = |us: u64| vec![Duration::from_micros(us); 50];
        assert_eq!(disk_latency(times(200), "x").level, Level::Ok);
        assert_eq!(disk_latency(times(80_000), "x").level, Level::Warn);
        assert_eq!(disk_latency(times(1), "x").level, Level::Warn);
    }

    #[test]
    fn the_disk_check_writes_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let findings = disk(&dir.path().join("not/made/yet"));
        assert!(findings.iter().all(|finding| finding.level != Level::Fail), "{findings:?}");
        assert!(findings.iter().any(|finding| finding.seen.contains("p99")), "{findings:?}");
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
    }

    #[test]
    fn a_clock_behind_the_data_fails() {
        let now = Duration::from_secs(1_800_000_000);
        assert_eq!(clock_sane(now, now).level, Level::Ok);
        assert_eq!(clock_sane(now, now + Duration::from_secs(3_600)).level, Level::Fail);
        assert_eq!(clock_sane(Duration::from_secs(1_000), Duration::ZERO).level, Level::Fail);
    }

    #[test]
    fn a_taken_port_fails_and_a_free_one_does_not() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("bound");
        assert_eq!(port("port", address).level, Level::Fail);
        drop(taken);
        assert_eq!(port("port", address).level, Level::Ok);
    }

    #[test]
    fn too_little_memory_is_warned_of() {
        let meminfo = "MemTotal: 8000000 kB\nMemAvailable:  1048576 kB\n";
        assert_eq!(memory(meminfo, 1 << 30).level, Level::Ok);
        assert_eq!(memory(meminfo, (1 << 30) + 1).level, Level::Warn);
        assert_eq!(memory("", 1).level, Level::Warn);
    }

    #[test]
    fn one_failure_makes_the_exit_code_and_advice_is_printed() {
        let mut report = Report { findings: vec![Finding::ok("a", "fine")] };
        assert_eq!(report.exit_code(), 0);
        report.findings.push(Finding::warn("b", "meh", "do this"));
        assert_eq!(report.exit_code(), 0);
        report.findings.push(Finding::fail("c", "bad", "do that"));
        assert_eq!(report.exit_code(), 1);
        let text = report.to_string();
        assert!(text.contains("-> do that") && text.contains("FAIL  c"), "{text}");
    }
}
