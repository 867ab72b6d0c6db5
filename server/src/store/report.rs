//! Lines for people, or one JSON object a line for programs; and whether anything was wrong.

use novax_engine::Error;
use novax_engine::tools::{LostRange, RepairReport, ShownKey, StoreStats, TableSums};
use serde_json::{Value, json};

/// What a command has said so far.
pub(super) struct Report {
    json: bool,
    problems: u64,
}

impl Report {
    pub(super) fn new(json: bool) -> Report {
        Report { json, problems: 0 }
    }

    /// True when nothing was wrong.
    pub(super) fn is_clean(&self) -> bool {
        self.problems == 0
    }

    /// A result.
    pub(super) fn line(&self, name: &str, text: &str, mut fields: Value) {
        if self.json {
            fields["name"] = json!(name);
            println!("{fields}");
        } else if name.is_empty() {
            println!("{text}");
        } else {
            println!("{name}: {text}");
        }
    }

    /// Something wrong, and what to do about it.
    pub(super) fn trouble(&mut self, name: &str, what: &str, advice: &str) {
        self.problems += 1;
        let text = format!("DAMAGED {what}\n    -> {advice}");
        self.line(name, &text, json!({"problem": what, "advice": advice}));
    }

    pub(super) fn problem(&mut self, name: &str, error: &Error) {
        self.trouble(name, &error.to_string(), error.advice());
    }

    /// Keys that cannot be read.
    pub(super) fn lost(&mut self, name: &str, lost: &[LostRange]) {
        for range in lost {
            self.problems += 1;
            let ((from_ks, from), (to_ks, to)) = (&range.from, &range.to);
            let fields = json!({"lost": {
                "file": range.file.display().to_string(),
                "from_keyspace": from_ks, "from": ShownKey(from).to_string(),
                "to_keyspace": to_ks, "to": ShownKey(to).to_string(),
            }});
            self.line(name, &format!("LOST {range}"), fields);
        }
    }

    pub(super) fn repair(&mut self, name: &str, done: &RepairReport) {
        let RepairReport { mark, tables_whole, tables_fetched, .. } = done;
        let RepairReport { tables_salvaged, tables_lost, entries_fetched, .. } = done;
        let text = format!(
            "mark {mark}, tables: {tables_whole} whole, {tables_fetched} fetched, {tables_salvaged} \
             salvaged, {tables_lost} lost; {entries_fetched} entries fetched, {} files moved to lost/",
            done.moved.len()
        );
        let fields = json!({
            "mark": mark, "tables_whole": tables_whole, "tables_fetched": tables_fetched,
            "tables_salvaged": tables_salvaged, "tables_lost": tables_lost,
            "entries_fetched": entries_fetched, "moved": done.moved.len(),
            "order_guessed": done.order_guessed,
        });
        self.line(name, &text, fields);
        if let Some(error) = &done.manifest_problem {
            self.problem(name, error);
        }
        if done.order_guessed {
            let what = "tables were put in order by their numbers alone";
            let advice = "old versions of keys may be back: better take this store from a replica or a backup";
            self.trouble(name, what, advice);
        }
        for error in &done.unreadable {
            self.problem(name, error);
        }
        self.lost(name, &done.lost);
    }
}

fn sums(sums: &TableSums) -> Value {
    json!({"tables": sums.tables, "bytes": sums.bytes, "entries": sums.entries,
           "tombstones": sums.tombstones, "ranges": sums.ranges, "merges": sums.merges,
           "blob_bytes": sums.blob_bytes, "expires_min_s": sums.expires_min_s})
}

/// The fields of `novax store stats --json`.
pub(super) fn stats(stats: &StoreStats) -> Value {
    let windows: Vec<Value> = stats
        .windows
        .iter()
        .map(|window| {
            let (keyspace, number) = (window.keyspace, window.window);
            json!({"keyspace": keyspace, "window": number, "sums": sums(&window.sums)})
        })
        .collect();
    json!({
        "mark": stats.mark, "keyspaces": stats.keyspaces, "bytes": stats.bytes(),
        "levels": stats.levels.iter().map(sums).collect::<Vec<_>>(), "windows": windows,
        "blob_files": stats.blob_files, "blob_file_bytes": stats.blob_file_bytes,
        "read_amplification_max": stats.read_amplification_max,
        "space_amplification_milli": stats.space_amplification_milli,
    })
}
