//! What is typed: statements and backslash commands.

use super::client::{Connection, Done, Failure};
use super::prompt::{Arrow, Names, editor};
use super::split::{first_statement, is_blank};
use super::{EXIT_CONNECTION, EXIT_OK, EXIT_STATEMENT, Format, ShellOptions};
use reedline::Signal;
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Arc, RwLock};
use std::time::Duration;

const HELP: &str = "\
Statements end with a semicolon. Ctrl-C stops the one that runs.
  \\d              tables
  \\d NAME         columns of a table
  \\dt             tables with what they are for
  \\dn             schemas
  \\l              databases
  \\x              one column a line, on or off
  \\format NAME    table, csv, json or vertical
  \\timing         show how long statements took, on or off
  \\watch SECONDS  run the statement again and again; Ctrl-C ends it
  \\g, \\gx         run the statement; \\gx shows one column a line
  \\i FILE         run statements from a file
  \\conninfo       whom we talk to
  \\r              forget what is typed so far
  \\q              leave
";

const TABLES: &str = "\
    select n.nspname as \"Schema\", c.relname as \"Name\", obj_description(c.oid) as \"Description\" \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where n.nspname = 'public' order by 1, 2";
const SCHEMAS: &str = "select nspname as \"Name\" from pg_catalog.pg_namespace order by 1";
const DATABASES: &str = "select datname as \"Name\" from pg_catalog.pg_database order by 1";
const NAMES: &str = "\
    select relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n \
    on n.oid = c.relnamespace where n.nspname = 'public' \
    union select column_name from information_schema.columns where table_schema = 'public'";

fn columns_of(table: &str) -> String {
    let table = table.replace('\'', "''");
    format!(
        "select column_name as \"Column\", \
         case when data_type = 'numeric' then 'numeric(' || numeric_precision || ',' || \
         numeric_scale || ')' else data_type end as \"Type\", \
         case is_nullable when 'NO' then 'not null' end as \"Nullable\" \
         from information_schema.columns where table_name = '{table}' order by ordinal_position"
    )
}

/// The shell between two lines.
struct Shell<'a> {
    options: ShellOptions,
    out: &'a mut (dyn Write + Send),
    connection: Connection,
    timing: bool,
    /// The last statement that was run, for `\watch`.
    last: String,
    /// Whether anything failed.
    failed: bool,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Go,
    Leave,
}

/// See [`super::run`].
pub(super) async fn run(options: ShellOptions, out: &mut (dyn Write + Send)) -> u8 {
    let connection = match Connection::open(&options).await {
        Ok(connection) => connection,
        Err(message) => {
            eprintln!("{message}");
            return EXIT_CONNECTION;
        }
    };
    let command = options.command.clone();
    let mut shell =
        Shell { options, out, connection, timing: false, last: String::new(), failed: false };
    let ended = match command {
        // In one shot the last statement needs no semicolon, and the first failure ends it.
        Some(command) => shell.type_in(&format!("{command}\n;"), true).await,
        None if io::stdin().is_terminal() => shell.interactive().await,
        None => shell.piped(io::stdin().lock()).await,
    };
    match ended {
        Ok(_) if shell.failed => EXIT_STATEMENT,
        Ok(_) => EXIT_OK,
        Err(Failure::Statement(message)) => {
            eprintln!("{message}");
            EXIT_STATEMENT
        }
        Err(Failure::Connection(message)) => {
            eprintln!("the connection is lost: {message}");
            EXIT_CONNECTION
        }
        // Whoever read our output has enough, as in `novax sql .. | head`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => EXIT_OK,
        Err(Failure::Output(error)) => {
            eprintln!("cannot write: {error}");
            EXIT_CONNECTION
        }
    }
}

impl Shell<'_> {
    async fn interactive(&mut self) -> Result<Next, Failure> {
        let names = self.names().await?;
        let mut editor = editor(names, self.options.history.clone());
        let addr = &self.options.addr;
        writeln!(self.out, "Nova-X SQL at {addr}. \\? for help, \\q to leave.")?;
        loop {
            // Reading blocks this thread; the connection lives on another.
            match editor.read_line(&Arrow) {
                Ok(Signal::Success(line)) => {
                    if self.type_in(&line, false).await? == Next::Leave {
                        break;
                    }
                }
                Ok(Signal::CtrlC) => {}
                Ok(_) => break,
                Err(error) => return Err(error.into()),
            }
        }
        // A person has seen what failed.
        self.failed = false;
        Ok(Next::Leave)
    }

    /// Names to complete; none when the server has no catalog we understand.
    async fn names(&self) -> Result<Names, Failure> {
        let rows = match self.connection.rows(NAMES).await {
            Ok(rows) => rows,
            Err(Failure::Statement(_)) => Vec::new(),
            Err(other) => return Err(other),
        };
        let names = rows.into_iter().flatten().flatten().collect();
        Ok(Arc::new(RwLock::new(names)))
    }

    /// Statements from a pipe or a file, line by line: they run as soon as they are whole.
    async fn piped(&mut self, input: impl BufRead) -> Result<Next, Failure> {
        let mut text = String::new();
        for line in input.lines() {
            text.push_str(&line?);
            text.push('\n');
            if super::prompt::is_complete(&text) {
                let whole = std::mem::take(&mut text);
                if self.type_in(&whole, true).await? == Next::Leave {
                    return Ok(Next::Leave);
                }
            }
        }
        self.type_in(&format!("{text}\n;"), true).await
    }

    /// Runs everything in a text. With `strict`, the first failure ends it.
    async fn type_in(&mut self, text: &str, strict: bool) -> Result<Next, Failure> {
        let mut rest = text;
        while !is_blank(rest) {
            let next = if let Some(command) = rest.trim_start().strip_prefix('\\') {
                let (line, after) = command.split_once('\n').unwrap_or((command, ""));
                rest = after;
                self.command(line.trim_end().trim_end_matches(';'), "").await
            } else if let Some((statement, command, after)) = ended_by_command(rest) {
                rest = after;
                self.command(command, statement).await
            } else if let Some((statement, after)) = first_statement(rest) {
                rest = after;
                if is_blank(statement) { Ok(Next::Go) } else { self.statement(statement).await }
            } else {
                // Only possible at the very end: an open quote or comment. The server says so.
                let statement = rest;
                rest = "";
                self.statement(statement).await
            };
            match next {
                Ok(Next::Go) => {}
                Ok(Next::Leave) => return Ok(Next::Leave),
                Err(Failure::Statement(message)) if !strict => {
                    eprintln!("{message}");
                    self.failed = true;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(Next::Go)
    }

    async fn statement(&mut self, sql: &str) -> Result<Next, Failure> {
        self.last = sql.to_owned();
        self.show(sql, self.options.format).await
    }

    async fn show(&mut self, sql: &str, format: Format) -> Result<Next, Failure> {
        let done = self.connection.show(sql, format, self.out).await?;
        self.say_time(done);
        Ok(Next::Go)
    }

    fn say_time(&self, done: Done) {
        if self.timing {
            let micros = done.took.as_micros();
            eprintln!("Time: {}.{:03} ms, {} rows", micros / 1_000, micros % 1_000, done.rows);
        }
    }

    /// A backslash command, and the statement before it on the same line.
    async fn command(&mut self, line: &str, statement: &str) -> Result<Next, Failure> {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or("");
        let argument = words.next();
        let before = if is_blank(statement) { self.last.clone() } else { statement.to_owned() };
        match (name, argument) {
            ("q" | "quit", _) => return Ok(Next::Leave),
            ("?" | "h" | "help", _) => self.out.write_all(HELP.as_bytes())?,
            ("d", Some(table)) => {
                if self.connection.rows(&columns_of(table)).await?.is_empty() {
                    return Err(Failure::Statement(format!("there is no table {table}")));
                }
                return self.show(&columns_of(table), Format::Table).await;
            }
            ("d" | "dt" | "d+" | "dt+", _) => return self.show(TABLES, Format::Table).await,
            ("dn", _) => return self.show(SCHEMAS, Format::Table).await,
            ("l", _) => return self.show(DATABASES, Format::Table).await,
            ("x", _) => {
                let vertical = self.options.format == Format::Vertical;
                self.options.format = if vertical { Format::Table } else { Format::Vertical };
                eprintln!("One column a line is {}.", if vertical { "off" } else { "on" });
            }
            ("format", Some(format)) => {
                self.options.format = format.parse().map_err(Failure::Statement)?;
            }
            ("timing", _) => {
                self.timing = !self.timing;
                eprintln!("Timing is {}.", if self.timing { "on" } else { "off" });
            }
            ("watch", seconds) => return self.watch(&before, seconds).await,
            ("g", _) => return self.statement(&before).await,
            ("gx", _) => return self.show(&before, Format::Vertical).await,
            ("i", Some(file)) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| Failure::Statement(format!("{file}: {error}")))?;
                return Box::pin(self.type_in(&format!("{text}\n;"), true)).await;
            }
            ("conninfo", _) => {
                writeln!(self.out, "{} as {}", self.options.addr, self.options.user)?;
            }
            ("r", _) => self.last.clear(),
            _ => return Err(Failure::Statement(format!("there is no command \\{line}; try \\?"))),
        }
        Ok(Next::Go)
    }

    /// Runs a statement again and again until Ctrl-C or a failure.
    async fn watch(&mut self, sql: &str, seconds: Option<&str>) -> Result<Next, Failure> {
        let pause = match seconds.map(str::parse::<u64>) {
            None => Duration::from_secs(2),
            Some(Ok(seconds @ 1..=86_400)) => Duration::from_secs(seconds),
            Some(_) => {
                let message = "\\watch takes 1 to 86400 whole seconds";
                return Err(Failure::Statement(message.into()));
            }
        };
        if is_blank(sql) {
            return Err(Failure::Statement("\\watch needs a statement".into()));
        }
        loop {
            self.show(sql, self.options.format).await?;
            self.out.flush()?;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = tokio::signal::ctrl_c() => return Ok(Next::Go),
            }
        }
    }
}

/// A statement that ends in `\g`, `\gx` or `\watch` instead of a semicolon: the statement, the
/// command, and what follows.
fn ended_by_command(text: &str) -> Option<(&str, &str, &str)> {
    let (line_end, after) = match text.find('\n') {
        Some(end) => (end, &text[end + 1..]),
        None => (text.len(), ""),
    };
    let line = &text[..line_end];
    let start = ["\\gx", "\\g", "\\watch"].iter().find_map(|command| {
        let at = line.rfind(command)?;
        let tail = &line[at + command.len()..];
        (tail.is_empty() || tail.starts_with(char::is_whitespace)).then_some(at)
    })?;
    // A backslash inside quotes is text, a semicolon before ends an earlier statement.
    let statement = &line[..start];
    let closed = first_statement(&format!("{statement};"))
        .is_some_and(|(whole, rest)| whole == statement && rest.is_empty());
    closed.then(|| (statement, line[start + 1..].trim(), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_end_statements() {
        assert_eq!(
            ended_by_command("select 1 \\watch 5\nselect 2;"),
            Some(("select 1 ", "watch 5", "select 2;"))
        );
        assert_eq!(ended_by_command("select 1 \\gx"), Some(("select 1 ", "gx", "")));
        assert_eq!(ended_by_command("select '\\g'"), None);
        assert_eq!(ended_by_command("select '\\gx' ;"), None);
        assert_eq!(ended_by_command("select 1; select 2 \\g"), None);
    }
}
