//! What can go wrong with a statement, and the SQLSTATE a client is told.

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

/// The node could not hand out its rows: shutting down, overloaded, or a partition is not here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A statement failed. Each variant says whose fault it is and carries what the client is told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no SQL.
    #[error("{message}")]
    Syntax {
        /// What was expected and found.
        message: String,
        /// Line and column, both from 1, when the parser knows.
        at: Option<(usize, usize)>,
    },
    /// The statement names a table that does not exist.
    #[error("relation \"{0}\" does not exist")]
    UnknownTable(String),
    /// The statement names a column that does not exist.
    #[error("column {column} does not exist")]
    UnknownColumn {
        /// The column as written.
        column: String,
        /// What could have been meant.
        hint: Option<String>,
    },
    /// Two tables of the statement have the column.
    #[error("column reference \"{0}\" is ambiguous")]
    AmbiguousColumn(String),
    /// The statement calls a function that does not exist.
    #[error("{0}")]
    UnknownFunction(String),
    /// The statement is SQL, but makes no sense: types that do not fit, a bad GROUP BY.
    #[error("{0}")]
    Invalid(String),
    /// The statement would change something; state changes only through commands.
    #[error("cannot execute {0} in a read-only transaction")]
    ReadOnly(String),
    /// SQL this server does not have.
    #[error("{0}")]
    NotSupported(String),
    /// SET or SHOW of a setting nobody knows.
    #[error("unrecognized configuration parameter \"{0}\"")]
    UnknownSetting(String),
    /// SET to a value the setting cannot have.
    #[error("invalid value for parameter \"{setting}\": \"{value}\"")]
    InvalidSetting {
        /// Which.
        setting: String,
        /// What was asked.
        value: String,
    },
    /// A value of the statement or a parameter cannot be read as its type.
    #[error("{0}")]
    InvalidValue(String),
    /// A value does not fit its type.
    #[error("{0}")]
    OutOfRange(String),
    /// A division by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// The statement is longer or nested deeper than the server accepts.
    #[error("{0}")]
    TooComplex(String),
    /// The statement needs more memory than all statements together may have.
    #[error("{0}")]
    OutOfMemory(String),
    /// The result has more rows than the server hands out.
    #[error("the result has more than {0} rows")]
    TooManyRows(usize),
    /// All sessions are taken.
    #[error("sorry, too many clients already")]
    TooManySessions,
    /// A session keeps too many prepared statements or portals.
    #[error("a session keeps at most {0} prepared statements and cursors")]
    TooManyPrepared(usize),
    /// An earlier statement of the transaction failed.
    #[error("current transaction is aborted, commands ignored until end of transaction block")]
    TransactionAborted,
    /// The client asked to stop.
    #[error("canceling statement due to user request")]
    Cancelled,
    /// The statement ran longer than allowed.
    #[error("canceling statement due to statement timeout")]
    Timeout,
    /// The server is shutting down.
    #[error("terminating connection because the server is shutting down")]
    ShuttingDown,
    /// The node cannot hand out its rows now.
    #[error("rows are not available now: {0}")]
    Source(#[from] SourceError),
    /// A table file could not be read.
    #[error(transparent)]
    Store(#[from] novax_engine::Error),
    /// A stored row or chunk does not validate.
    #[error("table {table}: {message}")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A fault of this server.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// The five characters that PostgreSQL clients tell errors apart by.
    #[must_use]
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Error::Syntax { .. } => "42601",
            Error::UnknownTable(_) => "42P01",
            Error::UnknownColumn { .. } => "42703",
            Error::AmbiguousColumn(_) => "42702",
            Error::UnknownFunction(_) => "42883",
            Error::Invalid(_) => "42000",
            Error::ReadOnly(_) => "25006",
            Error::NotSupported(_) => "0A000",
            Error::UnknownSetting(_) => "42704",
            Error::InvalidSetting { .. } => "22023",
            Error::InvalidValue(_) => "22P02",
            Error::OutOfRange(_) => "22003",
            Error::DivisionByZero => "22012",
            Error::TooComplex(_) => "54001",
            Error::OutOfMemory(_) => "53200",
            Error::TooManyRows(_) | Error::TooManyPrepared(_) => "54000",
            Error::TooManySessions => "53300",
            Error::TransactionAborted => "25P02",
            Error::Cancelled | Error::Timeout => "57014",
            Error::ShuttingDown => "57P01",
            Error::Source(_) => "57P03",
            Error::Store(_) => "58030",
            Error::Corrupt { .. } => "XX001",
            Error::Internal(_) => "XX000",
        }
    }

    /// What could help, when something could.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::UnknownColumn { hint, .. } => hint.as_deref(),
            Error::ReadOnly(_) => Some("state changes only through the HTTP API"),
            _ => None,
        }
    }

    /// Whether the session ends with it.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Error::TooManySessions | Error::ShuttingDown)
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<Error>() {
                Ok(own) => *own,
                Err(other) => Error::Internal(other.to_string()),
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                (*inner).into()
            }
            DataFusionError::Shared(inner) => match std::sync::Arc::try_unwrap(inner) {
                Ok(inner) => inner.into(),
                Err(shared) => of_message(&shared),
            },
            DataFusionError::Collection(mut all) if !all.is_empty() => all.swap_remove(0).into(),
            DataFusionError::ArrowError(inner, _) => (*inner).into(),
            other => of_message(&other),
        }
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::DivideByZero => Error::DivisionByZero,
            ArrowError::ArithmeticOverflow(message) => Error::OutOfRange(message),
            ArrowError::ParseError(message) | ArrowError::CastError(message) => {
                Error::InvalidValue(message)
            }
            ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => (*inner).into(),
                Err(other) => match other.downcast::<Error>() {
                    Ok(own) => *own,
                    Err(other) => Error::Internal(other.to_string()),
                },
            },
            other => Error::Internal(other.to_string()),
        }
    }
}

/// The variants that are told apart by what they hold, by reference (some come shared).
fn of_message(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::SQL(inner, _) => syntax(inner),
        DataFusionError::SchemaError(inner, _) => of_schema(inner),
        DataFusionError::Plan(message) => of_plan(message),
        DataFusionError::NotImplemented(message) => Error::NotSupported(message.clone()),
        DataFusionError::ResourcesExhausted(message) => Error::OutOfMemory(message.clone()),
        DataFusionError::Execution(message) => of_execution(message),
        DataFusionError::ArrowError(inner, _) => match &**inner {
            ArrowError::DivideByZero => Error::DivisionByZero,
            ArrowError::ArithmeticOverflow(message) => Error::OutOfRange(message.clone()),
            ArrowError::ParseError(message) | ArrowError::CastError(message) => {
                Error::InvalidValue(message.clone())
            }
            other => Error::Internal(other.to_string()),
        },
        DataFusionError::Shared(inner) => of_message(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            of_message(inner)
        }
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(own) if own.sqlstate() == "XX001" => {
                Error::Corrupt { table: "?", message: own.to_string() }
            }
            _ => Error::Internal(inner.to_string()),
        },
        other => Error::Internal(other.to_string()),
    }
}

/// A parser's error, with its position taken out of the text.
pub(crate) fn syntax(error: &ParserError) -> Error {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => {
            return Error::TooComplex("the statement is nested too deep".into());
        }
    };
    let at = message.rfind(" at Line: ").and_then(|start| {
        let (line, column) = message[start + 10..].split_once(", Column: ")?;
        Some((line.trim().parse().ok()?, column.trim().parse().ok()?))
    });
    let end = if at.is_some() { message.rfind(" at Line: ") } else { None };
    let text = &message[..end.unwrap_or(message.len())];
    Error::Syntax { message: format!("syntax error: {text}"), at }
}

fn of_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let mut names: Vec<String> =
                valid_fields.iter().map(|column| column.name.clone()).collect();
            names.dedup();
            let hint = (!names.is_empty() && names.len() <= 64)
                .then(|| format!("the columns are: {}", names.join(", ")));
            Error::UnknownColumn { column: field.quoted_flat_name(), hint }
        }
        SchemaError::AmbiguousReference { field } => Error::AmbiguousColumn(field.name.clone()),
        other => Error::Invalid(other.to_string()),
    }
}

/// DataFusion's planner tells most things by text alone.
fn of_plan(message: &str) -> Error {
    let first = message.lines().next().unwrap_or(message);
    if let Some(rest) = first.strip_prefix("table '")
        && let Some((name, _)) = rest.split_once("' not found")
    {
        let short = name.strip_prefix("novax.public.").or(name.strip_prefix("novax."));
        return Error::UnknownTable(short.unwrap_or(name).to_owned());
    }
    if first.starts_with("Invalid function '") {
        return Error::UnknownFunction(message.replacen("Invalid function", "no function", 1));
    }
    if first.contains("No field named") {
        return Error::UnknownColumn { column: first.to_owned(), hint: None };
    }
    if first.contains("failed to match any signature") {
        let what = first.strip_prefix("Internal error: ").unwrap_or(first);
        return Error::UnknownFunction(what.to_owned());
    }
    if first.contains("No function matches") || first.contains("does not support zero arguments") {
        return Error::UnknownFunction(message.to_owned());
    }
    Error::Invalid(message.to_owned())
}

fn of_execution(message: &str) -> Error {
    let lower = message.to_ascii_lowercase();
    if lower.contains("overflow") {
        return Error::OutOfRange(message.to_owned());
    }
    Error::InvalidValue(message.to_owned())
}
