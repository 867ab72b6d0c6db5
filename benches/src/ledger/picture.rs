//! The figures of the ledger as a picture and a table.

use crate::Setting;
use crate::chart::{Bar, Panel, bars};
use crate::error::Result;
use crate::figures::Figures;

/// A bar's label, the figure it shows, and whether it is ours.
type Row = (&'static str, &'static str, bool);

const WORDS: &str = "\
# The ledger, and PostgreSQL beside it

`cargo xtask bench ledger` prints these figures; PostgreSQL 15 is Debian's, installed, started and stopped by the command, on
the same disk in the same run.

![The ledger beside PostgreSQL](ledger.svg)

What is what:

- A transfer is one movement between two accounts: a leg of a linked set. A session is eight: its hold, the posting of the
  hold, five shares and the tax.
- `apply_*`: in memory, a second of one core's processor time. Each session is held, then rated by a tariff of three elements
  (four readings), taxed, split by a contract of five parties and posted. `hot`: all money of 100,000 drivers goes through
  eight accounts. `proved`: each set is also encoded canonically, hashed and appended to the Merkle tree.
- `durable_transfers_per_s`: sessions in log entries of up to 8,190 transfers of 128 bytes, priced by the client; written
  through the node's log (`O_DIRECT`, each write on the disk before it counts), then booked. Keeping the rows in the store,
  which the node does behind the log, is not in it; nor are Raft and HTTP.
- `batched_holds_per_s`: the same, of holds alone, 8,190 in an entry.
- `holds_per_s`: 64 clients on sockets, each sends its next hold once its last is durable and booked.
- `hold_write_us`, `durable_write_us`: what the disk took for a write of the log, the mean. Where clients wait for each
  hold, this is what bounds them, PostgreSQL's too.
- `postgres_holds_per_s`: 64 clients of `pgbench`, prepared statements on a Unix socket, a stored procedure that books the same
  hold: the key once, the driver's balance never below zero, both accounts' sums. `synchronous_commit` is on. `hot`: eight
  accounts take all holds.
- `postgres_batched_holds_per_s`: 8,190 such holds in one transaction, by one client, one statement.
- `postgres_ratio` sets `batched_holds_per_s` beside `postgres_holds_per_s`: each system used the way it is meant to be.
  `postgres_64_clients_ratio` sets 64 waiting clients beside 64 waiting clients, `postgres_batched_ratio` batches beside
  batches.
- `*_cpu_us`: processor time of a transfer or hold on the server's side, all threads and processes, without the clients.
- Durable loads are measured in three rounds, ours and PostgreSQL's in turns; of each load the best round counts.
- `proof_us`: an inclusion proof of one of ten million leaves, median; nodes in memory.

";

/// Writes the chart and the table where the setting wants them.
pub(crate) fn write(setting: &Setting, figures: &Figures) -> Result<()> {
    let note = "Holds: the driver's balance checked, both accounts' sums kept, each key once, on the disk before the answer";
    let picture = bars("The ledger beside PostgreSQL", note, &panels(figures));
    setting.write_chart("ledger.svg", &picture)?;
    setting.write_chart("ledger.md", &format!("{WORDS}{}", figures.to_markdown()))
}

fn panels(figures: &Figures) -> Vec<Panel> {
    let panel = |title, unit, goal: Option<f64>, rows: &[Row]| {
        let bar =
            |&(label, name, is_ours): &Row| Some(Bar { label, value: figures.get(name)?, is_ours });
        let bars = rows.iter().filter_map(bar).collect();
        Panel { title, unit, goal: goal.map(|goal| ("at least", goal)), bars }
    };
    let in_memory = [
        ("10,000 sites", "apply_transfers_per_s", true),
        ("8 accounts", "apply_hot_transfers_per_s", true),
        ("with the Merkle tree", "apply_proved_transfers_per_s", true),
    ];
    let durable = [
        ("sessions", "durable_transfers_per_s", true),
        ("holds", "batched_holds_per_s", true),
        ("PostgreSQL 15, holds", "postgres_batched_holds_per_s", false),
    ];
    let clients = [
        ("Nova-X", "holds_per_s", true),
        ("Nova-X, 8 accounts", "hot_holds_per_s", true),
        ("PostgreSQL 15", "postgres_holds_per_s", false),
        ("PostgreSQL 15, 8 accounts", "postgres_hot_holds_per_s", false),
    ];
    let cost = [
        ("Nova-X", "hold_cpu_us", true),
        ("Nova-X, batched", "batched_hold_cpu_us", true),
        ("PostgreSQL 15", "postgres_hold_cpu_us", false),
        ("PostgreSQL 15, batched", "postgres_batched_hold_cpu_us", false),
    ];
    vec![
        panel(
            "In memory: held, rated, taxed, split, posted",
            "transfers a core's second",
            Some(1_500_000.0),
            &in_memory,
        ),
        panel("Durable, batches of 8,190", "transfers a second", Some(300_000.0), &durable),
        panel("64 clients, each waits for its hold", "holds a second", None, &clients),
        panel("Processor time of a hold, server side", "us", None, &cost),
    ]
}
