//! `novax report`: asks a node for documents and prints them as they come.

use crate::ask::{Request, ask};
use crate::cli::{EXIT_FAILED, EXIT_OK, EXIT_USAGE};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use std::io::Write as _;
use std::net::SocketAddr;

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
    let get = |path: String| Request { method: "GET", path, body: None };
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
            method: "POST",
            path: "/v1/invoices".to_owned(),
            body: Some(json!({"driver": driver, "month": month, "zone": zone}).to_string()),
        },
    }
}

/// Runs it.
#[must_use]
pub fn run(args: &ReportArgs) -> u8 {
    let Some(key) = &args.api_key else {
        eprintln!("novax: name the key of the HTTP API with --api-key or NOVAX__HTTP__API_KEY");
        return EXIT_USAGE;
    };
    match ask(args.http, key, &request(args)) {
        Ok(body) => match std::io::stdout().lock().write_all(&body) {
            Ok(()) => EXIT_OK,
            Err(_) => EXIT_FAILED,
        },
        Err(reason) => {
            eprintln!("novax: {reason}");
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
        assert_eq!(settlement, Request { method: "GET", path: path.to_owned(), body: None });
        let invoice = asked("invoice anna --month 2026-11 --zone Europe/Berlin");
        assert_eq!(invoice.path, "/v1/invoices");
        let body: serde_json::Value = serde_json::from_str(&invoice.body.unwrap()).unwrap();
        assert_eq!(body, json!({"driver": "anna", "month": "2026-11", "zone": "Europe/Berlin"}));
        let revenue = asked("revenue --from 2026-11-01T00:00:00+01:00 --to b --currency EUR");
        assert!(revenue.path.contains("from=2026-11-01T00%3A00%3A00%2B01%3A00&to=b&group=site"));
    }
}
