//! What the shards of one partition on several nodes say to each other: Raft's messages, and commands for
//! whoever leads.
//!
//! Bytes come from a link that knows which node is at its other end; nothing else in them is believed
//! before it was looked at. The format is in `docs/formats/peer.md`.

use super::transfers::StateNews;
use crate::port::{CallFailed, Order, StationCall, StationReply};
use crate::standing::Standing;
use bytes::Bytes;
use novax_charging::{Command, CorruptEntry, Entry, Origin, decode_entry};
use novax_model::{Identity, NodeId, PartitionId, Timestamp};
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

/// Which queue of a link something goes through: what is ahead in this order is sent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Messages of Raft.
    Raft,
    /// Commands, and their refusal.
    Request,
}

/// Something for another node.
#[derive(Debug)]
pub struct PeerSend {
    /// Which.
    pub to: NodeId,
    /// How urgent.
    pub lane: Lane,
    /// What.
    pub bytes: Bytes,
}

/// What came from another node.
#[derive(Debug)]
pub struct FromPeer {
    /// Which, as the link has proved.
    pub from: NodeId,
    /// What.
    pub input: PeerInput,
}

/// What comes from other nodes.
#[derive(Debug)]
pub enum PeerInput {
    /// A message of Raft.
    Raft(novax_raft::PeerMessage),
    /// What was said on [`Lane::Request`].
    Request(Bytes),
    /// The link went down, and with it what was under way.
    LinkDown,
    /// Something is known of a state on its way.
    State(StateNews),
}

/// What is said on [`Lane::Request`].
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Commands for the leader of a partition, as one batch of the sender.
    Forward {
        /// The partition.
        partition: PartitionId,
        /// The term in which the receiver leads: in another one the sender has asked again.
        term: u64,
        /// The batch.
        origin: Origin,
        /// Its commands.
        commands: Vec<Command>,
    },
    /// The sender does not lead: the receiver's batch comes back, to be sent to whoever does.
    Turned {
        /// The partition.
        partition: PartitionId,
        /// The batch.
        origin: Origin,
        /// Its commands.
        commands: Vec<Command>,
    },
    /// The sender has no room: the receiver's batch will be in no entry.
    Refused {
        /// The partition.
        partition: PartitionId,
        /// In which life of the receiver it was made.
        run: u64,
        /// Its number.
        token: u64,
    },
    /// The sender wants the state that the receiver has named to it.
    Fetch {
        /// The partition.
        partition: PartitionId,
        /// As of which entry.
        index: u64,
    },
    /// The sender does not have that state, or not any more.
    Gone {
        /// The partition.
        partition: PartitionId,
        /// As of which entry.
        index: u64,
    },
    /// An admin's call for a station whose socket the receiver has.
    Call {
        /// The station's partition.
        partition: PartitionId,
        /// In which life of the sender it was asked.
        run: u64,
        /// Its number.
        token: u64,
        /// Which station.
        station: Identity,
        /// What.
        call: StationCall,
    },
    /// What came of it.
    Called {
        /// The station's partition.
        partition: PartitionId,
        /// In which life of the receiver it was asked.
        run: u64,
        /// Its number.
        token: u64,
        /// What the station said, or why nothing.
        answer: Result<StationReply, CallFailed>,
    },
    /// Where the sender's replica stands.
    Standing {
        /// Of which partition.
        partition: PartitionId,
        /// Where.
        standing: Standing,
    },
    /// An admin's order, given at the sender.
    Order {
        /// About which partition.
        partition: PartitionId,
        /// What.
        order: Order,
    },
}

/// Bytes from another node are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Too short, or of no kind this build knows.
    #[error("a message of a kind that is not known, or cut short")]
    Kind,
    /// The commands do not validate.
    #[error(transparent)]
    Commands(#[from] CorruptEntry),
    /// A call or its answer does not validate.
    #[error("a call that is none")]
    Call,
    /// A standing or an order that is none.
    #[error("a standing or an order that is none")]
    Notice,
    /// The batch is not one batch of the node whose it should be.
    #[error("a batch of another node")]
    Origin,
}

const FORWARD: u8 = 1;
const TURNED: u8 = 2;
const REFUSED: u8 = 3;
const CALL: u8 = 4;
const CALLED: u8 = 5;
const FETCH: u8 = 6;
const GONE: u8 = 7;
const STANDING: u8 = 8;
const ORDER: u8 = 9;
/// In the first byte of a standing.
const LEADS: u8 = 1;
const DRAINING: u8 = 2;
const CAUGHT_UP: u8 = 4;
/// The first byte of an order.
const TRANSFER: u8 = 1;
const DRAIN: u8 = 2;
const UNDRAIN: u8 = 3;
/// Kind and partition.
const HEAD_LEN: usize = 3;

impl Request {
    /// Its bytes.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let head = |kind: u8, partition: PartitionId| {
            let [low, high] = partition.0.to_le_bytes();
            vec![kind, low, high]
        };
        let batch = |kind, partition, origin, commands| {
            let entry = Entry { time: Timestamp(0), commands, origins: vec![origin] };
            let mut bytes = head(kind, partition);
            bytes.extend_from_slice(&entry.encode());
            bytes
        };
        let state = |kind, partition, index: u64| {
            let mut bytes = head(kind, partition);
            bytes.extend_from_slice(&index.to_le_bytes());
            bytes
        };
        match self {
            Request::Fetch { partition, index } => state(FETCH, partition, index),
            Request::Gone { partition, index } => state(GONE, partition, index),
            Request::Forward { partition, term, origin, commands } => {
                let entry = Entry { time: Timestamp(term), commands, origins: vec![origin] };
                let mut bytes = head(FORWARD, partition);
                bytes.extend_from_slice(&entry.encode());
                bytes
            }
            Request::Turned { partition, origin, commands } => {
                batch(TURNED, partition, origin, commands)
            }
            Request::Refused { partition, run, token } => {
                let mut bytes = head(REFUSED, partition);
                bytes.extend_from_slice(&run.to_le_bytes());
                bytes.extend_from_slice(&token.to_le_bytes());
                bytes
            }
            Request::Call { partition, run, token, station, call } => {
                let mut bytes = head(CALL, partition);
                bytes.extend_from_slice(&archive(&Asked { run, token, station, call }));
                bytes
            }
            Request::Called { partition, run, token, answer } => {
                let mut bytes = head(CALLED, partition);
                bytes.extend_from_slice(&archive(&Answered { run, token, answer }));
                bytes
            }
            Request::Standing { partition, standing } => {
                let mut bytes = head(STANDING, partition);
                write_standing(&standing, &mut bytes);
                bytes
            }
            Request::Order { partition, order } => {
                let mut bytes = head(ORDER, partition);
                let (kind, node) = match order {
                    Order::Transfer { to } => (TRANSFER, to),
                    Order::Drain { node, on: true } => (DRAIN, node),
                    Order::Drain { node, on: false } => (UNDRAIN, node),
                };
                bytes.push(kind);
                bytes.extend_from_slice(&node.get().to_le_bytes());
                bytes
            }
        }
    }

    /// Reads what the node `from` sent to the node `me`.
    ///
    /// # Errors
    /// [`BadRequest`].
    pub fn decode(from: NodeId, me: NodeId, bytes: &[u8]) -> Result<Request, BadRequest> {
        let (head, body) = bytes.split_at_checked(HEAD_LEN).ok_or(BadRequest::Kind)?;
        let &[kind, low, high] = head else { return Err(BadRequest::Kind) };
        let partition = PartitionId(u16::from_le_bytes([low, high]));
        match kind {
            FORWARD => {
                let (Timestamp(term), origin, commands) = batch(from, body)?;
                Ok(Request::Forward { partition, term, origin, commands })
            }
            TURNED => {
                let (_, origin, commands) = batch(me, body)?;
                Ok(Request::Turned { partition, origin, commands })
            }
            REFUSED => {
                let (run, token) = body.split_first_chunk::<8>().ok_or(BadRequest::Kind)?;
                let token: [u8; 8] = token.try_into().map_err(|_| BadRequest::Kind)?;
                let (run, token) = (u64::from_le_bytes(*run), u64::from_le_bytes(token));
                Ok(Request::Refused { partition, run, token })
            }
            FETCH | GONE => {
                let index = u64::from_le_bytes(body.try_into().map_err(|_| BadRequest::Kind)?);
                Ok(match kind {
                    FETCH => Request::Fetch { partition, index },
                    _ => Request::Gone { partition, index },
                })
            }
            CALL => {
                let Asked { run, token, station, call } = read::<Asked>(body)?;
                Ok(Request::Call { partition, run, token, station, call })
            }
            CALLED => {
                let Answered { run, token, answer } = read::<Answered>(body)?;
                Ok(Request::Called { partition, run, token, answer })
            }
            STANDING => Ok(Request::Standing { partition, standing: read_standing(body)? }),
            ORDER => Ok(Request::Order { partition, order: read_order(body)? }),
            _ => Err(BadRequest::Kind),
        }
    }
}

fn write_standing(standing: &Standing, bytes: &mut Vec<u8>) {
    let Standing { leads, draining, caught_up, term, commit, applied } = *standing;
    let flag = |is: bool, flag| if is { flag } else { 0 };
    bytes.push(flag(leads, LEADS) | flag(draining, DRAINING) | flag(caught_up, CAUGHT_UP));
    for number in [term, commit, applied] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
}

fn read_standing(bytes: &[u8]) -> Result<Standing, BadRequest> {
    let (&[flags], numbers) = bytes.split_first_chunk::<1>().ok_or(BadRequest::Notice)?;
    let (numbers, []) = numbers.as_chunks::<8>() else { return Err(BadRequest::Notice) };
    let &[term, commit, applied] = numbers else { return Err(BadRequest::Notice) };
    if flags > LEADS | DRAINING | CAUGHT_UP {
        return Err(BadRequest::Notice);
    }
    let has = |flag| flags & flag != 0;
    let (leads, draining, caught_up) = (has(LEADS), has(DRAINING), has(CAUGHT_UP));
    let [term, commit, applied] = [term, commit, applied].map(u64::from_le_bytes);
    Ok(Standing { leads, draining, caught_up, term, commit, applied })
}

fn read_order(bytes: &[u8]) -> Result<Order, BadRequest> {
    let (&[kind], node) = bytes.split_first_chunk::<1>().ok_or(BadRequest::Notice)?;
    let node: [u8; 8] = node.try_into().map_err(|_| BadRequest::Notice)?;
    let node = NodeId::new(u64::from_le_bytes(node)).ok_or(BadRequest::Notice)?;
    match kind {
        TRANSFER => Ok(Order::Transfer { to: node }),
        DRAIN => Ok(Order::Drain { node, on: true }),
        UNDRAIN => Ok(Order::Drain { node, on: false }),
        _ => Err(BadRequest::Notice),
    }
}

#[derive(Archive, Serialize, Deserialize)]
struct Asked {
    run: u64,
    token: u64,
    station: Identity,
    call: StationCall,
}

#[derive(Archive, Serialize, Deserialize)]
struct Answered {
    run: u64,
    token: u64,
    answer: Result<StationReply, CallFailed>,
}

fn archive<T>(value: &T) -> AlignedVec
where
    T: for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Error>>,
{
    rkyv::to_bytes::<Error>(value).expect("plain data")
}

fn read<T>(bytes: &[u8]) -> Result<T, BadRequest>
where
    T: Archive,
    T::Archived:
        for<'a> CheckBytes<HighValidator<'a, Error>> + Deserialize<T, HighDeserializer<Error>>,
{
    let mut aligned: AlignedVec = AlignedVec::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    rkyv::from_bytes::<T, Error>(&aligned).map_err(|_| BadRequest::Call)
}

/// One batch of one node, in the form of an entry; its time is a term here.
fn batch(of: NodeId, bytes: &[u8]) -> Result<(Timestamp, Origin, Vec<Command>), BadRequest> {
    let Entry { time, commands, origins } = decode_entry(bytes)?;
    let &[origin] = origins.as_slice() else { return Err(BadRequest::Origin) };
    if origin.node != of || origin.count as usize != commands.len() {
        return Err(BadRequest::Origin);
    }
    Ok((time, origin, commands))
}

/// The partition a message of [`Lane::Request`] is about: whose shard is to have it.
#[must_use]
pub fn partition_of(bytes: &[u8]) -> Option<PartitionId> {
    let &[_, low, high] = bytes.get(..HEAD_LEN)? else { return None };
    Some(PartitionId(u16::from_le_bytes([low, high])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId::new(number).expect("not zero")
    }

    fn origin() -> Origin {
        Origin { node: node(2), run: 5, token: 9, count: 2 }
    }

    fn forward() -> Request {
        let commands = vec![Command::Tick, Command::Tick];
        Request::Forward { partition: PartitionId(300), term: 3, origin: origin(), commands }
    }

    #[test]
    fn what_was_said_is_heard() {
        let refused = || Request::Refused { partition: PartitionId(7), run: u64::MAX, token: 1 };
        assert_eq!(Request::decode(node(3), node(1), &refused().encode()), Ok(refused()));
        assert_eq!(Request::decode(node(2), node(1), &forward().encode()), Ok(forward()));
        let turned = || {
            let commands = vec![Command::Tick, Command::Tick];
            Request::Turned { partition: PartitionId(1), origin: origin(), commands }
        };
        assert_eq!(Request::decode(node(1), node(2), &turned().encode()), Ok(turned()));
        assert_eq!(partition_of(&forward().encode()), Some(PartitionId(300)));
        let fetch = || Request::Fetch { partition: PartitionId(9), index: u64::MAX - 1 };
        assert_eq!(Request::decode(node(1), node(2), &fetch().encode()), Ok(fetch()));
        let gone = || Request::Gone { partition: PartitionId(9), index: 3 };
        assert_eq!(Request::decode(node(1), node(2), &gone().encode()), Ok(gone()));
        let long = [gone().encode(), vec![0]].concat();
        assert_eq!(Request::decode(node(1), node(2), &long), Err(BadRequest::Kind));
        let call = || Request::Call {
            partition: PartitionId(2),
            run: 4,
            token: 5,
            station: Identity::new("CP").expect("valid"),
            call: StationCall::GetConfiguration { keys: vec!["HeartbeatInterval".into()] },
        };
        assert_eq!(Request::decode(node(1), node(2), &call().encode()), Ok(call()));
        for answer in [Err(CallFailed::Silent), Ok(StationReply { payload: "{}".into() })] {
            let called = Request::Called { partition: PartitionId(2), run: 4, token: 5, answer };
            let bytes = called.encode();
            let read = Request::decode(node(1), node(2), &bytes).expect("what was said");
            assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn standings_and_orders_are_heard_whole_or_refused() {
        let standing = Standing {
            leads: true,
            draining: false,
            caught_up: true,
            term: 3,
            commit: u64::MAX,
            applied: 8,
        };
        let partition = PartitionId(300);
        let orders = [
            Order::Transfer { to: node(3) },
            Order::Drain { node: node(1), on: true },
            Order::Drain { node: node(1), on: false },
        ];
        let orders = orders.map(|order| Request::Order { partition, order }.encode());
        let all = [Request::Standing { partition, standing }.encode()].into_iter().chain(orders);
        for bytes in all {
            let read = Request::decode(node(2), node(1), &bytes).expect("what was said");
            assert_eq!(read.encode(), bytes);
            let refused = |bytes: &[u8]| {
                assert_eq!(Request::decode(node(2), node(1), bytes), Err(BadRequest::Notice));
            };
            (HEAD_LEN..bytes.len()).for_each(|len| refused(&bytes[..len]));
            refused(&[&bytes[..], &[0]].concat());
            let mut odd = bytes;
            odd[HEAD_LEN] = 9;
            refused(&odd);
        }
    }

    #[test]
    fn nobody_speaks_for_another_and_nothing_cut_short_is_heard() {
        let bytes = forward().encode();
        assert_eq!(Request::decode(node(1), node(2), &bytes), Err(BadRequest::Origin));
        for len in 0..bytes.len() {
            assert!(Request::decode(node(2), node(1), &bytes[..len]).is_err(), "{len} bytes");
        }
        let mut other = bytes;
        other[0] = 255;
        assert_eq!(Request::decode(node(2), node(1), &other), Err(BadRequest::Kind));
    }
}
