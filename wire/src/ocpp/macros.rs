//! The three shapes that message definitions have: records, words, and the set of messages that one
//! side may send. Macros keep a definition as short as the table in the standard it copies.

/// A record of the standard: required fields first, then the ones that may be left out.
macro_rules! record {
    ($(#[$meta:meta])* $name:ident<$lt:lifetime> {
        $($(#[$fmeta:meta])* $field:ident: $ty:ty,)*
    } $(optional { $($(#[$ometa:meta])* $ofield:ident: $oty:ty,)* })?) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
        #[allow(missing_docs, reason = "fields are documented in the standard, under these names")]
        pub struct $name<$lt> {
            $($(#[$fmeta])* pub $field: $ty,)*
            $($(
                $(#[$ometa])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $ofield: Option<$oty>,
            )*)?
        }
    };
    ($(#[$meta:meta])* $name:ident {
        $($(#[$fmeta:meta])* $field:ident: $ty:ty,)*
    } $(optional { $($(#[$ometa:meta])* $ofield:ident: $oty:ty,)* })?) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[allow(missing_docs, reason = "fields are documented in the standard, under these names")]
        pub struct $name {
            $($(#[$fmeta])* pub $field: $ty,)*
            $($(
                $(#[$ometa])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $ofield: Option<$oty>,
            )*)?
        }
    };
}

/// The words a field may hold. `open`: other words are kept as they came, because vendors add
/// their own. `closed`: another word is an error, because the field decides what happens. The first
/// word is the default.
macro_rules! words {
    ($(#[$meta:meta])* open $name:ident {
        $first:ident = $first_text:literal, $($variant:ident = $text:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub enum $name<'a> {
            #[doc = $first_text]
            #[default]
            $first,
            $(#[doc = $text] $variant,)*
            /// A word that is not in the standard.
            Other(crate::ocpp::text::Text<'a>),
        }

        impl $name<'_> {
            /// As it is written in messages.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $name::$first => $first_text,
                    $($name::$variant => $text,)*
                    $name::Other(text) => text,
                }
            }
        }

        impl<'a> From<crate::ocpp::text::Text<'a>> for $name<'a> {
            fn from(text: crate::ocpp::text::Text<'a>) -> Self {
                match text.as_str() {
                    $first_text => $name::$first,
                    $($text => $name::$variant,)*
                    _ => $name::Other(text),
                }
            }
        }

        impl serde::Serialize for $name<'_> {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl<'de: 'a, 'a> serde::Deserialize<'de> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                crate::ocpp::text::Text::deserialize(d).map(Self::from)
            }
        }
    };
    ($(#[$meta:meta])* closed $name:ident {
        $first:ident = $first_text:literal, $($variant:ident = $text:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name {
            #[doc = $first_text]
            #[default]
            $first,
            $(#[doc = $text] $variant,)*
        }

        impl $name {
            /// As it is written in messages.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $name::$first => $first_text,
                    $($name::$variant => $text,)*
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = crate::ocpp::text::Text::deserialize(d)?;
                match text.as_str() {
                    $first_text => Ok($name::$first),
                    $($text => Ok($name::$variant),)*
                    other => Err(serde::de::Error::invalid_value(
                        serde::de::Unexpected::Str(other),
                        &concat!("a word of ", stringify!($name)),
                    )),
                }
            }
        }
    };
}

/// The messages that one side may call the other with. `known` are actions of the standard that
/// are not served in this direction: NotSupported instead of NotImplemented.
macro_rules! messages {
    ($(#[$meta:meta])* $name:ident<$lt:lifetime> {
        empty { $($(#[$emeta:meta])* $empty:ident,)* }
        $($(#[$vmeta:meta])* $variant:ident($ty:ty),)*
    } known [$($known:literal,)*]) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name<$lt> {
            $($(#[$emeta])* $empty,)*
            $($(#[$vmeta])* $variant($ty),)*
        }

        impl<$lt> $name<$lt> {
            /// The action's name in a CALL.
            #[must_use]
            pub fn action(&self) -> &'static str {
                match self {
                    $($name::$empty => stringify!($empty),)*
                    $($name::$variant(_) => stringify!($variant),)*
                }
            }

            /// Reads the payload of a CALL.
            ///
            /// # Errors
            /// What to answer with: see the crate's rules in `ocpp::payload`.
            pub fn parse(
                action: &str,
                payload: &$lt str,
            ) -> Result<Self, crate::ocpp::error::CallError> {
                Self::parse_noting(action, payload, &mut crate::ocpp::payload::Notes::default())
            }

            /// Reads the payload of a CALL and adds to `notes` what was let pass.
            ///
            /// # Errors
            /// As [`Self::parse`].
            pub fn parse_noting(
                action: &str,
                payload: &$lt str,
                notes: &mut crate::ocpp::payload::Notes,
            ) -> Result<Self, crate::ocpp::error::CallError> {
                use crate::ocpp::error::{CallError, ErrorCode};
                use crate::ocpp::payload::{Check as _, parse_payload_noting};
                match action {
                    $(stringify!($empty) => {
                        parse_payload_noting::<crate::ocpp::text::Empty>(payload, notes)?;
                        Ok($name::$empty)
                    })*
                    $(stringify!($variant) => {
                        let message: $ty = parse_payload_noting(payload, notes)?;
                        message.check(notes)?;
                        Ok($name::$variant(message))
                    })*
                    $($known)|* => Err(CallError::new(
                        ErrorCode::NotSupported,
                        format!("{action} is not served here"),
                    )),
                    _ => Err(CallError::new(
                        ErrorCode::NotImplemented,
                        "there is no such action",
                    )),
                }
            }

            /// Whether the message may be sent: the bounds of its schema, all of them.
            ///
            /// # Errors
            /// The first bound that it breaks.
            pub fn check(&self) -> Result<(), crate::ocpp::error::CallError> {
                let mut notes = crate::ocpp::payload::Notes::default();
                match self {
                    $($name::$empty => {})*
                    $($name::$variant(message) => {
                        crate::ocpp::payload::Check::check(message, &mut notes)?;
                    })*
                }
                if notes.is_clean() {
                    return Ok(());
                }
                Err(crate::ocpp::error::CallError::new(
                    crate::ocpp::error::ErrorCode::PropertyConstraintViolation,
                    "a text is longer than its schema allows",
                ))
            }
        }

        impl serde::Serialize for $name<'_> {
            /// The payload alone; [`Self::action`] is its name.
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                match self {
                    $($name::$empty => crate::ocpp::text::Empty {}.serialize(s),)*
                    $($name::$variant(message) => message.serialize(s),)*
                }
            }
        }
    };
}
