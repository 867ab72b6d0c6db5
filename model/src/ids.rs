//! Ids. Text ids are bounded on entry, so that nothing behind this file needs to ask again.

#![expect(
    missing_debug_implementations,
    reason = "rkyv's resolvers, made within a macro, have none"
)]

use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// The unit of ownership and replication: one Raft group, owned by one shard of each node.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[rkyv(derive(Debug))]
pub struct PartitionId(pub u16);

impl PartitionId {
    /// The shard of every node that runs this partition (architecture: p mod shards).
    #[must_use]
    pub fn shard(self, shards: u16) -> u16 {
        assert!(shards > 0, "a node has at least one shard");
        self.0 % shards
    }

    /// The partition that keeps the directory row of a text id, out of `partitions`.
    ///
    /// FNV-1a with a final avalanche: fixed for ever, because it places rows on disk.
    #[must_use]
    pub fn of_directory(text: &str, partitions: u16) -> PartitionId {
        assert!(partitions > 0, "a cluster has at least one partition");
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in text.as_bytes() {
            hash ^= u64::from(*byte);
            hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        let partition = hash % u64::from(partitions);
        PartitionId(u16::try_from(partition).expect("less than partitions, which is a u16"))
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// A node of a cluster: one data directory. Numbered from 1; a replaced disk is another node, and a number
/// is never used again.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[rkyv(derive(Debug))]
pub struct NodeId(u64);

impl NodeId {
    /// The node that stands alone, and the first of every cluster.
    pub const FIRST: NodeId = NodeId(1);

    /// A node's number; none has 0, which Raft takes for nobody.
    #[must_use]
    pub fn new(number: u64) -> Option<NodeId> {
        (number != 0).then_some(NodeId(number))
    }

    /// Its number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// A text id was empty, too long, or held a character its standard forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// No characters at all.
    #[error("an identity must not be empty")]
    Empty,
    /// Longer than the standard allows.
    #[error("an identity has at most {max} characters")]
    TooLong {
        /// The most bytes allowed.
        max: usize,
    },
    /// A control character, a space, or a byte outside ASCII.
    #[error("an identity holds only printable ASCII without spaces")]
    Character,
}

fn check_text(text: &str, max: usize) -> Result<(), InvalidIdentity> {
    if text.is_empty() {
        return Err(InvalidIdentity::Empty);
    }
    if text.len() > max {
        return Err(InvalidIdentity::TooLong { max });
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(InvalidIdentity::Character);
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(
            Archive, Serialize, Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
        )]
        #[rkyv(derive(Debug))]
        pub struct $name(Box<str>);

        impl $name {
            /// The most bytes this id may have.
            pub const MAX_LEN: usize = $max;

            /// Checks length and characters.
            ///
            /// # Errors
            /// [`InvalidIdentity`] when the text is empty, too long, or not printable ASCII.
            pub fn new(text: &str) -> Result<Self, InvalidIdentity> {
                check_text(text, Self::MAX_LEN)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(d)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// The name of a charging station, a site or a driver: what stands in the OCPP URL
    /// (OCPP 2.0.1 part 4, 3.1.1: at most 48 characters).
    Identity,
    48
);

text_id!(
    /// What a driver shows to a station: OCPP 1.6 `idTag` (20) or 2.0.1 `idToken` (36).
    TokenUid,
    36
);

/// One charging session, the key of everything done for it in any partition.
///
/// Derived from the key of the request that asked for it (by the gateway, with SHA-256), so that
/// the same request, however often it is sent, names the same session.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[rkyv(compare(PartialEq, PartialOrd), derive(Debug))]
pub struct SessionId(pub u128);

impl SessionId {
    /// The session a request names: `hash` is of the request's key, the top 16 bits give way to the
    /// partition of its station, so that any node can route by the id alone.
    #[must_use]
    pub fn new(partition: PartitionId, hash: u128) -> SessionId {
        SessionId(u128::from(partition.0) << 112 | hash & (u128::MAX >> 16))
    }

    /// The partition of the session's station.
    #[must_use]
    pub fn partition(self) -> PartitionId {
        PartitionId(u16::try_from(self.0 >> 112).expect("16 bits are left"))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:032x})", self.0)
    }
}

impl std::str::FromStr for SessionId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(SessionId)
    }
}

/// An account of the ledger. Unique in its partition; see `charging::accounts` for the chart.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[rkyv(compare(PartialEq, PartialOrd), derive(Debug))]
pub struct AccountId(pub u128);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountId({:032x})", self.0)
    }
}

/// The idempotency key of one linked set of transfers; a transfer is its key and its leg number.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[rkyv(compare(PartialEq, PartialOrd), derive(Debug))]
pub struct TransferKey(pub u128);

impl fmt::Display for TransferKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TransferKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransferKey({:032x})", self.0)
    }
}

/// Where a cable ends: EVSE and connector, both from 1. (0, 0) is the station itself.
///
/// An OCPP 1.6 connector n is EVSE n, connector 1.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[rkyv(derive(Debug))]
pub struct ConnectorRef {
    /// EVSE number; 0 is the station as a whole.
    pub evse: u16,
    /// Connector number within the EVSE; 0 is the EVSE as a whole.
    pub connector: u16,
}

impl ConnectorRef {
    /// The station itself.
    pub const STATION: ConnectorRef = ConnectorRef { evse: 0, connector: 0 };

    /// The connector that OCPP 1.6 calls `connector_id`.
    #[must_use]
    pub fn of_v16(connector_id: u16) -> ConnectorRef {
        if connector_id == 0 {
            return ConnectorRef::STATION;
        }
        ConnectorRef { evse: connector_id, connector: 1 }
    }
}

impl fmt::Display for ConnectorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.evse, self.connector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_bounded_printable_ascii() {
        assert!(Identity::new("CP-0001").is_ok());
        assert_eq!(Identity::new(""), Err(InvalidIdentity::Empty));
        assert_eq!(Identity::new("a b"), Err(InvalidIdentity::Character));
        assert_eq!(Identity::new("ü"), Err(InvalidIdentity::Character));
        assert_eq!(Identity::new(&"x".repeat(49)), Err(InvalidIdentity::TooLong { max: 48 }));
        assert!(Identity::new(&"x".repeat(48)).is_ok());
    }

    #[test]
    fn directory_partition_is_fixed_for_ever() {
        // Rows on disk depend on these: a change here strands them.
        let placed: Vec<u16> = ["CP-0001", "CP-0002", "driver-7", "X"]
            .map(|t| PartitionId::of_directory(t, 24).0)
            .into();
        assert_eq!(placed, PLACED);
    }

    #[test]
    fn directory_spreads_evenly() {
        let mut counts = [0_u32; 8];
        for n in 0..8_000 {
            counts[usize::from(PartitionId::of_directory(&format!("CP-{n:06}"), 8).0)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    const PLACED: [u16; 4] = [17, 0, 6, 3];
}
