//! `novax tariff`: looks at tariffs, contracts and rule books in files. Needs no node.

use crate::cli::{EXIT_FAILED, EXIT_OK, EXIT_USAGE, Span};
use crate::http::now;
use crate::pricing::{
    Course, Setting, SignalTexts, TariffFormat, language, read_contract, read_rules, words,
};
use clap::{Args, Subcommand};
use novax_charging::rows::TermsRow;
use novax_model::{Timestamp, WattHours};
use novax_tariff::Tariff;
use novax_tariff::lint::{Severity, lint};
use serde_json::json;
use std::path::{Path, PathBuf};

/// `novax tariff`
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum TariffCommand {
    /// Says what a tariff's author hardly meant. Rule books and contracts are read and found sound or not.
    Lint {
        /// Which.
        #[command(flatten)]
        file: FileArgs,
        /// One JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Says in words what a tariff, contract or rule book means.
    Explain {
        /// Which.
        #[command(flatten)]
        file: FileArgs,
        /// en, de or zh. Contracts are explained in English.
        #[arg(long, value_name = "LANGUAGE", default_value = "en")]
        language: String,
    },
    /// Says what a session would cost.
    Simulate(Box<SimulateArgs>),
}

/// A file and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct FileArgs {
    /// A tariff in JSON, a rule book (its first line is `pricing 1`) or a contract in TOML (*.toml).
    pub file: PathBuf,
    /// How a tariff is written: ocpi-2.2.1, ocpi-2.3.0 or ocpp-2.1. Without it: by its fields.
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// `novax tariff simulate`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct SimulateArgs {
    /// Which tariff.
    #[command(flatten)]
    pub file: FileArgs,
    /// Energy taken, in Wh.
    #[arg(long, value_name = "WH", default_value_t = 20_000,
          value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    pub energy_wh: i64,
    /// How long the vehicle charges.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub charging: Span,
    /// How long it stays plugged in afterwards.
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub parked: Span,
    /// When it starts, RFC 3339. Without it: now.
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// The clock on the site's wall, by its IANA name.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub zone: String,
    /// A rule book that moves the price.
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// The site's name, for rules that ask for it.
    #[arg(long, value_name = "SITE", default_value = "")]
    pub site: String,
    /// For the rules: degrees Celsius.
    #[arg(long, value_name = "CELSIUS", allow_hyphen_values = true)]
    pub temperature: Option<String>,
    /// For the rules: load of the transformer in percent.
    #[arg(long, value_name = "PERCENT")]
    pub load: Option<String>,
    /// For the rules: day-ahead price per MWh.
    #[arg(long, value_name = "PRICE", allow_hyphen_values = true)]
    pub day_ahead: Option<String>,
    /// For the rules: share of renewable energy in percent.
    #[arg(long, value_name = "PERCENT")]
    pub renewable: Option<String>,
    /// en, de or zh.
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    pub language: String,
    /// One JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
}

/// Why nothing is said: the exit code and a sentence.
struct Failed(u8, String);

/// The command line is wrong.
fn usage(sentence: impl Into<String>) -> Failed {
    Failed(EXIT_USAGE, sentence.into())
}

/// Runs it.
#[must_use]
pub fn run(command: &TariffCommand) -> u8 {
    let ran = match command {
        TariffCommand::Lint { file, json } => lint_file(file, *json),
        TariffCommand::Explain { file, language } => explain_file(file, language),
        TariffCommand::Simulate(arguments) => simulate_file(arguments),
    };
    match ran {
        Ok(code) => code,
        Err(Failed(code, sentence)) => {
            eprintln!("novax: {sentence}");
            code
        }
    }
}

fn text_of(path: &Path) -> Result<String, Failed> {
    let name = path.display();
    std::fs::read_to_string(path).map_err(|error| Failed(EXIT_FAILED, format!("{name}: {error}")))
}

/// A sentence with the file's name before it.
fn in_file(path: &Path) -> impl Fn(String) -> Failed + '_ {
    move |sentence| Failed(EXIT_FAILED, format!("{}: {sentence}", path.display()))
}

impl FileArgs {
    fn read(&self) -> Result<TermsRow, Failed> {
        let text = text_of(&self.file)?;
        if self.format.is_none() {
            let first =
                text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
            if first.is_some_and(|line| line.starts_with("pricing ")) {
                return read_rules(&text).map(TermsRow::Rules).map_err(in_file(&self.file));
            }
            if self.file.extension().is_some_and(|extension| extension == "toml") {
                let read = read_contract(&text).map_err(in_file(&self.file))?;
                return Ok(TermsRow::Contract(read.0));
            }
        }
        self.tariff_of(&text).map(TermsRow::Tariff)
    }

    fn tariff(&self) -> Result<Tariff, Failed> {
        self.tariff_of(&text_of(&self.file)?)
    }

    fn tariff_of(&self, text: &str) -> Result<Tariff, Failed> {
        let format = match self.format.as_deref() {
            Some(name) => TariffFormat::named(name).ok_or_else(|| {
                usage(format!("there is no format {name:?}: ocpi-2.2.1, ocpi-2.3.0, ocpp-2.1"))
            })?,
            None => TariffFormat::guess(text),
        };
        let (tariff, unknown) =
            format.read(text).map_err(|error| in_file(&self.file)(error.to_string()))?;
        for path in &unknown.paths {
            eprintln!("novax: {}: {path} is no field of {}", self.file.display(), format.name());
        }
        Ok(tariff)
    }
}

fn lint_file(file: &FileArgs, as_json: bool) -> Result<u8, Failed> {
    let findings = match file.read()? {
        TermsRow::Tariff(tariff) => lint(&tariff),
        // What these have wrong is refused when they are read.
        TermsRow::Contract(_) | TermsRow::Rules(_) => Vec::new(),
    };
    if as_json {
        let findings: Vec<_> = findings.iter().map(|finding| finding.to_json()).collect();
        println!("{}", json!({ "findings": findings }));
    } else if findings.is_empty() {
        println!("nothing to say about it");
    } else {
        findings.iter().for_each(|finding| println!("{finding}"));
    }
    let wrong = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if wrong { EXIT_FAILED } else { EXIT_OK })
}

fn explain_file(file: &FileArgs, tag: &str) -> Result<u8, Failed> {
    let language = language(tag).map_err(usage)?;
    println!("{}", words(&file.read()?, language).trim_end());
    Ok(EXIT_OK)
}

fn simulate_file(arguments: &SimulateArgs) -> Result<u8, Failed> {
    let tariff = arguments.file.tariff()?;
    let book = match &arguments.rules {
        Some(path) => Some(read_rules(&text_of(path)?).map_err(in_file(path))?),
        None => None,
    };
    let start = match arguments.start.as_deref() {
        Some(text) => Timestamp::parse_rfc3339(text)
            .map_err(|error| usage(format!("--start {text}: {error}")))?,
        None => now(),
    };
    let seconds = |flag: &str, span: Span| {
        u32::try_from(span.0.as_secs()).map_err(|_| usage(format!("--{flag} is too long")))
    };
    let course = Course {
        energy: WattHours(arguments.energy_wh),
        charging_s: seconds("charging", arguments.charging)?,
        parked_s: seconds("parked", arguments.parked)?,
    };
    if course.charging_s == 0 && course.energy.0 > 0 {
        return Err(usage("--charging 0s: energy takes time"));
    }
    let setting = Setting {
        zone: arguments.zone.clone(),
        start,
        site: arguments.site.clone(),
        signals: SignalTexts {
            temperature: arguments.temperature.clone(),
            load: arguments.load.clone(),
            day_ahead: arguments.day_ahead.clone(),
            renewable: arguments.renewable.clone(),
        },
        language: language(&arguments.language).map_err(usage)?,
    };
    let report = setting.simulate(&tariff, book.as_ref(), &course.legs()).map_err(usage)?;
    if arguments.json {
        println!("{}", report.to_json());
    } else {
        print!("{report}");
    }
    Ok(EXIT_OK)
}
