//! Which OCPP a socket speaks, settled by the WebSocket subprotocol.

/// A version of OCPP over JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// OCPP 1.6J
    V16,
    /// OCPP 2.0.1
    V201,
}

impl Version {
    /// The name of its WebSocket subprotocol.
    #[must_use]
    pub fn subprotocol(self) -> &'static str {
        match self {
            Version::V16 => "ocpp1.6",
            Version::V201 => "ocpp2.0.1",
        }
    }

    /// The version of a subprotocol's name.
    #[must_use]
    pub fn of_subprotocol(name: &str) -> Option<Version> {
        [Version::V16, Version::V201]
            .into_iter()
            .find(|version| version.subprotocol().eq_ignore_ascii_case(name))
    }

    /// The first one that the client offers and we speak (OCPP 2.0.1 part 4, 3.1.2).
    #[must_use]
    pub fn negotiate(offered: &[String]) -> Option<Version> {
        offered.iter().find_map(|name| Version::of_subprotocol(name))
    }
}
