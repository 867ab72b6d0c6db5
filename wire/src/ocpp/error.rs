//! How a call is refused, in the spelling of each version.

use super::version::Version;
use serde::de;
use std::fmt;

/// The codes of a CALLERROR: 1.6J table 7, 2.0.1 part 4 table 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The receiver has never heard of the action.
    NotImplemented,
    /// The action is known but not served here.
    NotSupported,
    /// The receiver could not process a good call.
    InternalError,
    /// The payload is incomplete.
    ProtocolError,
    /// A security rule was broken.
    SecurityError,
    /// The payload is not well formed. 1.6: FormationViolation.
    FormatViolation,
    /// A field has a value that is not allowed.
    PropertyConstraintViolation,
    /// A field is missing, or there too often. 1.6: OccurenceConstraintViolation.
    OccurrenceConstraintViolation,
    /// A field has the wrong type.
    TypeConstraintViolation,
    /// None of the others.
    GenericError,
    /// 2.x: the message type is not one we know. 1.6 has no such code: GenericError.
    MessageTypeNotSupported,
    /// 2.x: the envelope is broken. 1.6 has no such code: GenericError.
    RpcFrameworkError,
}

impl ErrorCode {
    /// The code as this version writes it.
    #[must_use]
    pub fn as_str(self, version: Version) -> &'static str {
        match (self, version) {
            (ErrorCode::NotImplemented, _) => "NotImplemented",
            (ErrorCode::NotSupported, _) => "NotSupported",
            (ErrorCode::InternalError, _) => "InternalError",
            (ErrorCode::ProtocolError, _) => "ProtocolError",
            (ErrorCode::SecurityError, _) => "SecurityError",
            (ErrorCode::FormatViolation, Version::V16) => "FormationViolation",
            (ErrorCode::FormatViolation, Version::V201) => "FormatViolation",
            (ErrorCode::PropertyConstraintViolation, _) => "PropertyConstraintViolation",
            // The missing "r" is what the 1.6 text and its schemas have.
            (ErrorCode::OccurrenceConstraintViolation, Version::V16) => {
                "OccurenceConstraintViolation"
            }
            (ErrorCode::OccurrenceConstraintViolation, Version::V201) => {
                "OccurrenceConstraintViolation"
            }
            (ErrorCode::TypeConstraintViolation, _) => "TypeConstraintViolation",
            (ErrorCode::MessageTypeNotSupported, Version::V201) => "MessageTypeNotSupported",
            (ErrorCode::RpcFrameworkError, Version::V201) => "RpcFrameworkError",
            (
                ErrorCode::GenericError
                | ErrorCode::MessageTypeNotSupported
                | ErrorCode::RpcFrameworkError,
                _,
            ) => "GenericError",
        }
    }

    /// The code a peer wrote, in either spelling. `None` for words of its own.
    #[must_use]
    pub fn parse(text: &str) -> Option<ErrorCode> {
        const ALL: [ErrorCode; 12] = [
            ErrorCode::NotImplemented,
            ErrorCode::NotSupported,
            ErrorCode::InternalError,
            ErrorCode::ProtocolError,
            ErrorCode::SecurityError,
            ErrorCode::FormatViolation,
            ErrorCode::PropertyConstraintViolation,
            ErrorCode::OccurrenceConstraintViolation,
            ErrorCode::TypeConstraintViolation,
            ErrorCode::GenericError,
            ErrorCode::MessageTypeNotSupported,
            ErrorCode::RpcFrameworkError,
        ];
        ALL.into_iter().find(|code| {
            [Version::V16, Version::V201].iter().any(|version| code.as_str(*version) == text)
        })
    }
}

/// Why a call cannot be served: what goes into the CALLERROR.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {description}")]
pub struct CallError {
    /// The code.
    pub code: ErrorCode,
    /// A sentence for people, naming the field at fault.
    pub description: String,
}

impl CallError {
    /// An error with this code and description.
    #[must_use]
    pub fn new(code: ErrorCode, description: impl Into<String>) -> CallError {
        CallError { code, description: description.into() }
    }

    /// The same error, its description led by the field it happened in.
    pub(crate) fn within(mut self, field: &str) -> CallError {
        // A path is for people; deep ones stop growing.
        const DESCRIPTION_BYTES_MAX: usize = 200;
        if self.description.len() + field.len() < DESCRIPTION_BYTES_MAX {
            self.description.insert_str(0, ": ");
            self.description.insert_str(0, field);
        }
        self
    }
}

/// What serde reports, sorted into the codes of OCPP.
impl de::Error for CallError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        CallError::new(ErrorCode::PropertyConstraintViolation, message.to_string())
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let description = format!("expected {expected}, not {unexpected}");
        CallError::new(ErrorCode::TypeConstraintViolation, description)
    }

    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let description = format!("expected {expected}, not {unexpected}");
        CallError::new(ErrorCode::PropertyConstraintViolation, description)
    }

    fn missing_field(field: &'static str) -> Self {
        let description = format!("the field {field} is missing");
        CallError::new(ErrorCode::OccurrenceConstraintViolation, description)
    }

    fn duplicate_field(field: &'static str) -> Self {
        let description = format!("the field {field} is there twice");
        CallError::new(ErrorCode::FormatViolation, description)
    }
}
