//! What can go wrong, and whose fault it is.

use crate::id::ClusterId;
use novax_model::NodeId;
use std::io;

/// Why this node's own side cannot do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file, a socket or a thread; the text says which.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// The certificates in the node's directory are damaged, or those of something else.
    #[error("certificates: {0}")]
    Certificate(String),
    /// TLS does not take the certificates, or the other side did not keep to it.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// There are certificates in the directory already: they are never overwritten.
    #[error("{0} exists already")]
    Exists(String),
    /// This node has no key of the cluster's authority: only the node that does can invite.
    #[error("this node does not hold the key of the cluster's authority")]
    NoAuthority,
    /// The text is no invitation, or was cut short when it was copied.
    #[error("this is no invitation: {0}")]
    Token(&'static str),
    /// The other node does not let this one in; it says why.
    #[error("the cluster refuses: {0}")]
    Refused(String),
    /// The certificate in the directory is not of the node the caller named, or not valid any more.
    #[error("the certificate is not of {node} in cluster {cluster}: {source}")]
    Identity {
        /// Whose it should be.
        node: NodeId,
        /// Of which cluster.
        cluster: ClusterId,
        /// What is wrong with it.
        source: rustls::Error,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Error::Certificate(error.to_string())
    }
}

/// Why a message was not taken. It was not sent; nothing else is affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Too much waits for that node in that lane: slow down, or drop it as Raft may.
    #[error("too much waits for that node")]
    Full,
    /// There is no connection to that node now.
    #[error("there is no link to that node")]
    Down,
    /// No node of that number was named as a peer, or it was taken out.
    #[error("that node is no peer")]
    Unknown,
    /// The message is larger than any of its lane may be: send it in parts.
    #[error("a message of this lane may not be larger than {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
}

macro_rules! refusals {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why a connection was refused or ended. Except where the sentence says otherwise it is the fault of whoever is
        /// at the other end. Counted by kind; the number goes over the wire, and is never used for anything else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
        #[non_exhaustive]
        pub enum Refusal {
            $($(#[doc = $doc])* #[error($text)] $name = $code,)*
        }

        /// All kinds of refusal, in the order of their numbers.
        pub const REFUSALS: &[Refusal] = &[$(Refusal::$name,)*];

        impl Refusal {
            /// The number it has on the wire.
            #[must_use]
            pub fn code(self) -> u16 {
                self as u16
            }

            /// The name it has in counters and metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Refusal::$name => stringify!($name),)* }
            }

            /// The refusal of that number, if this build knows it.
            #[must_use]
            pub fn of_code(code: u16) -> Option<Refusal> {
                match code { $($code => Some(Refusal::$name),)* _ => None }
            }
        }
    };
}

refusals! {
    /// It did not speak TLS as it should, or its certificate is not of this cluster's authority.
    Tls = 1, "TLS failed: garbage, no certificate, or one of another authority";
    /// It did not finish its greeting in time.
    GreetingTimeout = 2, "the greeting did not come in time";
    /// It began something that is no greeting.
    Magic = 3, "this is no greeting";
    /// It speaks only versions of the protocol that this build does not: nobody's fault, upgrade the older one.
    Version = 4, "no version of the protocol is common";
    /// It is a node of another cluster: an address is wrong on one side.
    Cluster = 5, "another cluster";
    /// Its state is of versions this build cannot exchange: nobody's fault, upgrade the older one.
    StateVersion = 6, "no version of the state is common";
    /// It says it is a node that its certificate is not of.
    Identity = 7, "the certificate is of another node";
    /// It reached another node than it meant to, or calls itself what this node is: an address is wrong.
    Misdirected = 8, "it wants another node";
    /// Of two nodes the lower one calls; this one had no business to.
    Direction = 9, "the node with the lower number is the one that calls";
    /// No node of that number is a peer: taken out of the cluster, or not known yet.
    Stranger = 10, "no peer of that number is known";
    /// A frame is longer than any may be.
    Oversize = 11, "a frame is too long";
    /// The bytes of a frame are not those its checksum was made of.
    Checksum = 12, "the checksum of a frame is wrong";
    /// A frame is of no lane, or bits are set that mean nothing.
    Lane = 13, "a frame of no lane";
    /// A message has not the fields it must have.
    Malformed = 14, "a message is malformed";
    /// The parts of a message are more than a message may be.
    MessageTooLarge = 15, "a message is too large";
    /// It began a frame and did not go on.
    Stalled = 16, "a frame did not end in time";
    /// Nothing came for too long: it is dead, cut off, or stopped.
    Silent = 17, "nothing was heard for too long";
    /// It sent more of a snapshot than it was given credit for, or other bytes than were due.
    SnapshotFlow = 18, "a snapshot broke its credit";
    /// Too many connections have not yet said who they are. The fault may be of another.
    Crowded = 19, "too many connections are greeting";
    /// The connection ended or broke. Nobody's fault.
    Lost = 20, "the connection ended";
    /// The same node called again: the older connection is dead. Nobody's fault.
    Replaced = 21, "a newer connection took its place";
    /// This side ended it: the node stops, or the peer was taken out.
    Closed = 22, "closed";
    /// A request to join was wrong, of no open invitation, or came too late.
    Join = 23, "a request to join was refused";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_a_number_of_its_own_and_comes_back_from_it() {
        for (at, refusal) in (1..).zip(REFUSALS) {
            assert_eq!(refusal.code(), at);
            assert_eq!(Refusal::of_code(at), Some(*refusal));
        }
        assert_eq!(Refusal::of_code(0), None);
        assert_eq!(Refusal::of_code(u16::MAX), None);
    }
}
