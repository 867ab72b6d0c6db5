//! `novax store`: looks after the stores of a node from outside. All work is done by [`novax_engine::tools`]; here
//! its results become lines, or JSON, and an exit code: 0 all is well, 1 damage or failure, 2 wrong command line.

mod args;
mod report;

pub use args::{
    BackupArgs, CheckpointArgs, DumpArgs, ExportArgs, RepairArgs, RestoreArgs, ScrubArgs,
    StoreCommand, Target,
};

use crate::cli::{EXIT_FAILED, EXIT_OK, EXIT_USAGE};
use novax_charging::rows::Keyspace;
use novax_engine::tools::{
    self, BackupSource, BackupTarget, RepairSource, SourceKind, StoreSource,
};
use novax_engine::{Disk, DiskLock, Error, RealDisk, verify_on};
use novax_shard::stores::store_options;
use report::Report;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The key of the API is a secret; a restored node makes itself a new one.
const SECRETS: [&str; 1] = ["api.key"];

/// Why a command did not do what it should.
enum Failure {
    Usage(String),
    Store(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

/// Runs a command. Returns the exit code.
#[must_use]
pub fn run(command: &StoreCommand) -> u8 {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let done = match command {
        StoreCommand::Verify(target) => verify(&disk, target),
        StoreCommand::Stats(target) => stats(&disk, target),
        StoreCommand::Dump(args) => dump(&disk, args),
        StoreCommand::Repair(args) => repair(&disk, args),
        StoreCommand::Compact(target) => compact(&disk, target),
        StoreCommand::Backup(args) => backup(&disk, args),
        StoreCommand::Restore(args) => restore(&disk, args),
        StoreCommand::Checkpoint(args) => checkpoint(&disk, args),
        StoreCommand::Scrub(args) => scrub(&disk, args),
        StoreCommand::Export(args) => return crate::cold::export(args),
    };
    match done {
        Ok(report) if report.is_clean() => EXIT_OK,
        Ok(_) => EXIT_FAILED,
        Err(Failure::Usage(what)) => {
            eprintln!("novax: {what}");
            EXIT_USAGE
        }
        Err(Failure::Store(error)) => {
            eprintln!("novax: {error}\n    -> {}", error.advice());
            EXIT_FAILED
        }
    }
}

/// Keeps a node from starting on the directory meanwhile; refused where one runs.
fn claim(disk: &Arc<dyn Disk>, data: &Path) -> Result<Option<Box<dyn DiskLock>>, Failure> {
    if !data.join("NODE").exists() {
        return Ok(None);
    }
    match disk.lock(data) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(Failure::Store(Error::Locked { dir: data.to_path_buf() })),
        Err(source) => {
            Err(Failure::Store(Error::Io { action: "lock", file: data.to_path_buf(), source }))
        }
    }
}

/// The folders of a data directory, or those of one partition.
fn sources(disk: &Arc<dyn Disk>, target: &Target) -> Result<Vec<BackupSource>, Failure> {
    let mut found = tools::find_sources(&**disk, &target.data)?;
    if let Some(number) = target.partition {
        let wanted = format!("partitions/p{number:03}");
        found.retain(|source| source.name == wanted);
    }
    for source in &mut found {
        source.skip = SECRETS.map(str::to_owned).to_vec();
    }
    if found.iter().any(|source| source.kind == SourceKind::Store) {
        return Ok(found);
    }
    Err(Failure::Usage(format!("there is no such store in {}", target.data.display())))
}

fn stores(disk: &Arc<dyn Disk>, target: &Target) -> Result<Vec<BackupSource>, Failure> {
    let mut found = sources(disk, target)?;
    found.retain(|source| source.kind == SourceKind::Store);
    Ok(found)
}

fn verify(disk: &Arc<dyn Disk>, target: &Target) -> Result<Report, Failure> {
    let mut report = Report::new(target.json);
    if target.data.join("backups").is_dir() {
        for listed in BackupTarget::open(Arc::clone(disk), &target.data)?.list()? {
            match listed {
                Ok(info) => verify_backup(disk, target, info.id, &mut report)?,
                Err(error) => report.problem("backup", &error),
            }
        }
        return Ok(report);
    }
    let _lock = claim(disk, &target.data)?;
    for store in stores(disk, target)? {
        match verify_on(Arc::clone(disk), &store.dir) {
            Ok(found) => {
                let (tables, entries, bytes) = (found.tables, found.entries, found.bytes);
                let values = found.blobs;
                let (mark, damaged) = (found.mark, found.problems.len());
                let text = format!(
                    "mark {mark}, {tables} tables, {entries} entries, {values} values beside them, \
                     {bytes} bytes, {damaged} damaged"
                );
                let fields = json!({"mark": mark, "tables": tables, "entries": entries,
                                    "values": values, "bytes": bytes, "damaged": damaged});
                report.line(&store.name, &text, fields);
                found.problems.iter().for_each(|error| report.problem(&store.name, error));
            }
            Err(error) => report.problem(&store.name, &error),
        }
    }
    if target.partition.is_none() && target.data.join("log").is_dir() {
        verify_log(disk, &target.data, &mut report);
    }
    Ok(report)
}

fn verify_backup(
    disk: &Arc<dyn Disk>,
    target: &Target,
    id: u64,
    report: &mut Report,
) -> Result<(), Failure> {
    let check = BackupTarget::open(Arc::clone(disk), &target.data)?.verify(Some(id))?;
    let (files, bytes, damaged) = (check.files, check.bytes, check.problems.len());
    let name = format!("backup {id}");
    let text = format!("{files} files, {bytes} bytes, {damaged} damaged");
    report.line(&name, &text, json!({"files": files, "bytes": bytes, "damaged": damaged}));
    check.problems.iter().for_each(|error| report.problem(&name, error));
    Ok(())
}

fn verify_log(disk: &Arc<dyn Disk>, data: &Path, report: &mut Report) {
    match novax_log::check(Arc::clone(disk), data) {
        Ok(groups) => {
            let entries: u64 = groups.values().map(|group| group.entries).sum();
            let text = format!("{} partitions, {entries} entries", groups.len());
            report.line("log", &text, json!({"partitions": groups.len(), "entries": entries}));
        }
        Err(error) => {
            let advice = "restore a backup, or remove this node and let it join again";
            report.trouble("log", &error.to_string(), advice);
        }
    }
}

fn stats(disk: &Arc<dyn Disk>, target: &Target) -> Result<Report, Failure> {
    let mut report = Report::new(target.json);
    for store in stores(disk, target)? {
        match tools::store_stats(disk, &store.dir) {
            Ok(stats) => report.line(&store.name, &stats.to_string(), report::stats(&stats)),
            Err(error) => report.problem(&store.name, &error),
        }
    }
    Ok(report)
}

fn dump(disk: &Arc<dyn Disk>, args: &DumpArgs) -> Result<Report, Failure> {
    let _lock = claim(disk, &args.target.data)?;
    let names =
        Keyspace::ALL.map(|keyspace| (keyspace as u8, format!("{keyspace:?}").to_lowercase()));
    let mut options = tools::DumpOptions {
        limit: args.limit,
        keys_only: args.keys_only,
        names: names.into_iter().collect(),
        ..tools::DumpOptions::default()
    };
    if args.hex {
        options.format = tools::DumpFormat::Hex;
    }
    if let Some(wanted) = &args.keyspace {
        let by_name = options.names.iter().find(|(_, name)| *name == wanted).map(|(ks, _)| *ks);
        let number = by_name.or_else(|| wanted.parse().ok());
        let unknown = || Failure::Usage(format!("there is no keyspace {wanted}"));
        options.keyspace = Some(number.ok_or_else(unknown)?);
    }
    options.from = args.from.as_deref().map(key).transpose()?.unwrap_or_default();
    options.to = args.to.as_deref().map(key).transpose()?;
    let mut out = std::io::stdout().lock();
    for store in stores(disk, &args.target)? {
        if args.manifest {
            tools::dump_manifest(disk, &store.dir, &mut out)?;
        } else if let Some(number) = args.values {
            let (format, limit) = (options.format, args.limit);
            tools::dump_values(disk, &store.dir, number, format, limit, &mut out)?;
        } else if let Some(number) = args.table {
            let (format, limit) = (options.format, args.limit);
            tools::dump_table(disk, &store.dir, number, format, limit, &mut out)?;
        } else {
            tools::dump(disk, &store.dir, &store_options(), &options, &mut out)?;
        }
    }
    Ok(Report::new(args.target.json))
}

/// A key as it is typed: text, or hexadecimal after `0x`.
fn key(text: &str) -> Result<Vec<u8>, Failure> {
    let Some(digits) = text.strip_prefix("0x") else {
        return Ok(text.as_bytes().to_vec());
    };
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or_else(|| Failure::Usage(format!("{text} is not hexadecimal")))
}

fn repair(disk: &Arc<dyn Disk>, args: &RepairArgs) -> Result<Report, Failure> {
    let _lock = claim(disk, &args.target.data)?;
    let mut report = Report::new(args.target.json);
    for store in stores(disk, &args.target)? {
        let mut sources = Vec::new();
        for from in &args.from {
            sources.push(StoreSource::open(disk, &from.join(&store.name))?);
        }
        let sources: Vec<&dyn RepairSource> =
            sources.iter().map(|source| source as &dyn RepairSource).collect();
        match tools::repair(disk, &store.dir, &sources) {
            Ok(done) => report.repair(&store.name, &done),
            Err(error) => report.problem(&store.name, &error),
        }
    }
    Ok(report)
}

fn compact(disk: &Arc<dyn Disk>, target: &Target) -> Result<Report, Failure> {
    let _lock = claim(disk, &target.data)?;
    let mut report = Report::new(target.json);
    for store in stores(disk, target)? {
        match tools::compact(disk, &store.dir, &store_options()) {
            Ok(done) => {
                let (before, after) = (done.bytes_before, done.bytes_after);
                let text = format!("{before} bytes before, {after} after");
                let fields = json!({"bytes_before": before, "bytes_after": after});
                report.line(&store.name, &text, fields);
            }
            Err(error) => report.problem(&store.name, &error),
        }
    }
    Ok(report)
}

fn backup(disk: &Arc<dyn Disk>, args: &BackupArgs) -> Result<Report, Failure> {
    let _lock = claim(disk, &args.target.data)?;
    let report = Report::new(args.target.json);
    let sources = sources(disk, &args.target)?;
    let target = BackupTarget::open(Arc::clone(disk), &args.into)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let done = target.backup(&sources, now.as_secs())?;
    let (id, files, bytes) = (done.info.id, done.info.files, done.info.bytes);
    let (files_copied, bytes_copied) = (done.files_copied, done.bytes_copied);
    let text = format!(
        "{files} files, {bytes} bytes, of which {files_copied} files, {bytes_copied} bytes are new"
    );
    let fields = json!({"id": id, "files": files, "bytes": bytes,
                        "files_copied": files_copied, "bytes_copied": bytes_copied});
    report.line(&format!("backup {id}"), &text, fields);
    if let Some(keep) = args.keep {
        let removed = target.keep_newest(keep as usize)?;
        report.line("backups", &format!("{removed} removed"), json!({"removed": removed}));
    }
    Ok(report)
}

fn restore(disk: &Arc<dyn Disk>, args: &RestoreArgs) -> Result<Report, Failure> {
    let mut report = Report::new(args.json);
    if !args.from.join("backups").is_dir() {
        return Err(Failure::Usage(format!("{} is no backup target", args.from.display())));
    }
    let target = BackupTarget::open(Arc::clone(disk), &args.from)?;
    let done = target.restore(args.id, &args.data)?;
    let (files, bytes) = (done.files, done.bytes);
    let text = format!("{files} files, {bytes} bytes");
    report.line("restored", &text, json!({"files": files, "bytes": bytes}));
    done.problems.iter().for_each(|error| report.problem("restored", error));
    Ok(report)
}

fn checkpoint(disk: &Arc<dyn Disk>, args: &CheckpointArgs) -> Result<Report, Failure> {
    let _lock = claim(disk, &args.target.data)?;
    let report = Report::new(args.target.json);
    for store in stores(disk, &args.target)? {
        let done = tools::checkpoint(disk, &store.dir, &args.into.join(&store.name))?;
        let text = format!("mark {}, {} files", done.mark, done.files);
        report.line(&store.name, &text, json!({"mark": done.mark, "files": done.files}));
    }
    Ok(report)
}

fn scrub(disk: &Arc<dyn Disk>, args: &ScrubArgs) -> Result<Report, Failure> {
    let mut report = Report::new(args.target.json);
    let bytes_per_s = u64::from(args.mib_per_s) << 20;
    for store in stores(disk, &args.target)? {
        let mut findings = Vec::new();
        let mut wait = |time: Duration| std::thread::sleep(time);
        let mut keep = |finding| findings.push(finding);
        let done = tools::scrub_store(disk, &store.dir, bytes_per_s, &mut wait, &mut keep)?;
        let text = format!("{} files, {} bytes, {} damaged", done.files, done.bytes, done.findings);
        let fields = json!({"files": done.files, "bytes": done.bytes, "damaged": done.findings});
        report.line(&store.name, &text, fields);
        for finding in &findings {
            report.problem(&store.name, &finding.error);
            report.lost(&store.name, finding.lost.as_slice());
        }
    }
    Ok(report)
}
