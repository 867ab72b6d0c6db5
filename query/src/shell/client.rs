//! The connection of the shell, and statements that can be stopped.

use super::table::{Printer, Row};
use super::{Format, ShellOptions};
use futures::StreamExt;
use std::io::Write;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// How long a node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a statement gave no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server said no; the session goes on.
    Statement(String),
    /// The connection is gone.
    Connection(String),
    /// The screen is gone.
    Output(std::io::Error),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Output(error)
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    client: Client,
}

/// What a statement did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) rows: u64,
    pub(super) took: Duration,
}

impl Connection {
    pub(super) async fn open(options: &ShellOptions) -> Result<Connection, String> {
        let (host, port) = options
            .addr
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
            .ok_or_else(|| format!("{:?} is no host:port", options.addr))?;
        let mut config = Config::new();
        config
            .host(host.trim_matches(['[', ']']))
            .port(port)
            .user(&options.user)
            .dbname("novax")
            .application_name("novax sql")
            .connect_timeout(CONNECT_TIMEOUT);
        if let Some(password) = &options.password {
            config.password(password);
        }
        let connected = config.connect(NoTls).await;
        let (client, connection) =
            connected.map_err(|error| connect_text(&options.addr, &error))?;
        tokio::spawn(async move {
            // Its end shows at the next statement.
            let _ = connection.await;
        });
        Ok(Connection { client })
    }

    /// Runs statements and shows what they answer. Ctrl-C stops them on the server.
    pub(super) async fn show(
        &self,
        sql: &str,
        format: Format,
        out: &mut (dyn Write + Send),
    ) -> Result<Done, Failure> {
        let began = Instant::now();
        let token = self.client.cancel_token();
        let mut work = pin!(self.stream(sql, format, out));
        let rows = loop {
            tokio::select! {
                rows = &mut work => break rows?,
                Ok(()) = tokio::signal::ctrl_c() => {
                    // The server's answer to the statement says whether it was stopped.
                    let _ = token.cancel_query(NoTls).await;
                }
            }
        };
        Ok(Done { rows, took: began.elapsed() })
    }

    async fn stream(
        &self,
        sql: &str,
        format: Format,
        out: &mut (dyn Write + Send),
    ) -> Result<u64, Failure> {
        let messages = self.client.simple_query_raw(sql).await.map_err(|e| self.failure(&e))?;
        let mut messages = pin!(messages);
        let mut total = 0;
        let mut printer: Option<Printer> = None;
        while let Some(message) = messages.next().await {
            match message.map_err(|error| self.failure(&error))? {
                SimpleQueryMessage::RowDescription(columns) => {
                    let names = columns.iter().map(|column| column.name().to_owned()).collect();
                    printer = Some(Printer::new(format, names));
                }
                SimpleQueryMessage::Row(row) => {
                    let values = (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect();
                    if let Some(printer) = &mut printer {
                        printer.row(values, out)?;
                    }
                }
                SimpleQueryMessage::CommandComplete(_) => {
                    if let Some(printer) = printer.take() {
                        total += printer.finish(out)?;
                    }
                }
                _ => {}
            }
        }
        Ok(total)
    }

    /// The rows of a query of the shell's own.
    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<Row>, Failure> {
        let messages = self.client.simple_query(sql).await.map_err(|error| self.failure(&error))?;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
            }
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }

    fn failure(&self, error: &tokio_postgres::Error) -> Failure {
        match error.as_db_error() {
            Some(told) if !self.client.is_closed() => {
                let mut text =
                    format!("{}:  {} ({})", told.severity(), told.message(), told.code().code());
                for (name, more) in [("DETAIL", told.detail()), ("HINT", told.hint())] {
                    if let Some(more) = more {
                        text += &format!("\n{name}:  {more}");
                    }
                }
                Failure::Statement(text)
            }
            Some(told) => Failure::Connection(told.message().to_owned()),
            None => Failure::Connection(error.to_string()),
        }
    }
}

fn connect_text(addr: &str, error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    let told = error.as_db_error().map(|told| told.message().to_owned());
    let cause = || error.source().map_or_else(|| error.to_string(), ToString::to_string);
    format!("cannot connect to {addr}: {}", told.unwrap_or_else(cause))
}
