//! `novax report`: asks a node for documents and prints them as they come.

use crate::cli::{EXIT_FAILED, EXIT_OK, EXIT_USAGE};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// `novax report`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ReportArgs {
    /// Where the node's HTTP API is.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", global = true)]
    pub http: SocketAddr,
    /// The key of the HTTP API.
    #[arg(
        long,
        value_name = "SECRET",
        env = "NOVAX__HTTP__API_KEY",
        hide_env_values = true,
        global = true
    )]
    pub api_key: Option<String>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Form::Json, global = true)]
    pub format: Form,
    /// Language of HTML: en or de.
    #[arg(long, value_name = "LANGUAGE", default_value = "en", global = true)]
    pub language: String,
    /// What.
    #[command(subcommand)]
    pub what: Report,
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For programs.
    Json,
    /// For spreadsheets.
    Csv,
    /// For print.
    Html,
}

/// Which document.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Report {
    /// What was earned in a period.
    Revenue {
        /// The first moment, RFC 3339.
        #[arg(long, value_name = "TIME")]
        from: String,
        /// The first moment after it, RFC 3339.
        #[arg(long, value_name = "TIME")]
        to: String,
        /// site, operator or partner.
        #[arg(long, value_name = "GROUP", default_value = "site")]
        group: String,
        /// ISO 4217 code; needed when there are several.
        #[arg(long, value_name = "CODE")]
        currency: Option<String>,
    },
    /// A partner's account over a month.
    Settlement {
        /// The partner, as contracts name it.
        partner: String,
        /// 2026-11.
        #[arg(long, value_name = "MONTH")]
        month: String,
        /// The clock whose month it is, by its IANA name.
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        zone: String,
        /// ISO 4217 code; needed when the partner has accounts in several.
        #[arg(long, value_name = "CODE")]
        currency: Option<String>,
    },
    /// Issues the invoice of a driver for a month that is over, or finds it.
    Invoice {
        /// To whom.
        driver: String,
        /// 2026-11.
        #[arg(long, value_name = "MONTH")]
        month: String,
        /// The clock whose month it is, by its IANA name.
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        zone: String,
    },
    /// A document that was issued.
    Document {
        /// Its number, with its series.
        number: String,
    },
    /// The OCPI charge detail record of a session.
    Cdr {
        /// The session's id.
        session: String,
        /// 2.2.1 or 2.3.0.
        #[arg(long, value_name = "VERSION", default_value = "2.3.0")]
        version: String,
    },
    /// The receipt of a session.
    Receipt {
        /// The session's id.
        session: String,
    },
}

/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes as a path or query may have them.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// What is sent.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    path: String,
    body: Option<String>,
}

fn request(args: &ReportArgs) -> Request {
    let form = match args.format {
        Form::Json => "json",
        Form::Csv => "csv",
        Form::Html => "html",
    };
    let print = format!("format={form}&language={}", escaped(&args.language));
    let code = |currency: &Option<String>| {
        currency.as_deref().map_or(String::new(), |code| format!("&currency={}", escaped(code)))
    };
    let get = |path: String| Request { path, body: None };
    match &args.what {
        Report::Revenue { from, to, group, currency } => get(format!(
            "/v1/reports/revenue?from={}&to={}&group={}{}&{print}",
            escaped(from),
            escaped(to),
            escaped(group),
            code(currency)
        )),
        Report::Settlement { partner, month, zone, currency } => get(format!(
            "/v1/reports/settlement/{}?month={}&zone={}{}&{print}",
            escaped(partner),
            escaped(month),
            escaped(zone),
            code(currency)
        )),
        Report::Document { number } => get(format!("/v1/documents/{}?{print}", escaped(number))),
        Report::Receipt { session } => {
            get(format!("/v1/sessions/{}/receipt?{print}", escaped(session)))
        }
        Report::Cdr { session, version } => {
            get(format!("/v1/sessions/{}/cdr?version={}", escaped(session), escaped(version)))
        }
        Report::Invoice { driver, month, zone } => Request {
            path: "/v1/invoices".to_owned(),
            body: Some(json!({"driver": driver, "month": month, "zone": zone}).to_string()),
        },
    }
}

/// One request over a connection of its own: status and body.
fn exchange(address: SocketAddr, key: &str, request: &Request) -> std::io::Result<(u16, Vec<u8>)> {
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let body = request.body.as_deref().unwrap_or_default();
    let method = if request.body.is_some() { "POST" } else { "GET" };
    // An answer of version 1.0 ends with its connection: no chunks.
    let head = format!(
        "{method} {} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        request.path,
        body.len()
    );
    socket.write_all(head.as_bytes())?;
    socket.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    read_answer(&answer).ok_or_else(|| std::io::Error::other("the answer is no HTTP"))
}

fn read_answer(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(end);
    let head = std::str::from_utf8(head).ok()?;
    let status = head.lines().next()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.get(4..)?.to_vec()))
}

/// Runs it.
#[must_use]
pub fn run(args: &ReportArgs) -> u8 {
    let Some(key) = &args.api_key else {
        eprintln!("novax: name the key of the HTTP API with --api-key or NOVAX__HTTP__API_KEY");
        return EXIT_USAGE;
    };
    match exchange(args.http, key, &request(args)) {
        Ok((200..=299, body)) => match std::io::stdout().lock().write_all(&body) {
            Ok(()) => EXIT_OK,
            Err(_) => EXIT_FAILED,
        },
        Ok((status, body)) => {
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let detail = problem["detail"].as_str().unwrap_or("no reason was given");
            eprintln!("novax: the node answered {status}: {detail}");
            EXIT_FAILED
        }
        Err(error) => {
            eprintln!("novax: {}: {error}", args.http);
            EXIT_FAILED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ReportArgs,
    }

    fn asked(line: &str) -> Request {
        let words = std::iter::once("report").chain(line.split(' '));
        request(&Line::try_parse_from(words).expect("a sound line").args)
    }

    #[test]
    fn what_is_typed_is_what_is_asked() {
        let settlement = asked("settlement site-host/harbour --month 2026-11 --format csv");
        let path = "/v1/reports/settlement/site-host%2Fharbour?month=2026-11&zone=UTC\
                    &format=csv&language=en";
        assert_eq!(settlement, Request { path: path.to_owned(), body: None });
        let invoice = asked("invoice anna --month 2026-11 --zone Europe/Berlin");
        assert_eq!(invoice.path, "/v1/invoices");
        let body: serde_json::Value = serde_json::from_str(&invoice.body.unwrap()).unwrap();
        assert_eq!(body, json!({"driver": "anna", "month": "2026-11", "zone": "Europe/Berlin"}));
        let revenue = asked("revenue --from 2026-11-01T00:00:00+01:00 --to b --currency EUR");
        assert!(revenue.path.contains("from=2026-11-01T00%3A00%3A00%2B01%3A00&to=b&group=site"));
    }

    #[test]
    fn an_answer_is_read_or_is_none() {
        let answer = b"HTTP/1.0 200 OK\r\nContent-Type: text/csv\r\n\r\na,b\r\n";
        assert_eq!(read_answer(answer), Some((200, b"a,b\r\n".to_vec())));
        for broken in [&b""[..], b"\r\n\r\n", b"HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK"] {
            assert_eq!(read_answer(broken), None);
        }
    }
}
