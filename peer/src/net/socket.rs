//! One connection until both sides know each other.

use super::Common;
use crate::connection::{Connection, Event, PeerInfo, Side};
use crate::error::Refusal;
use crate::pki::{Configs, is_certificate_of};
use bytes::BytesMut;
use novax_model::NodeId;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

/// What is read at a time.
pub(super) const READ_BYTES: usize = 64 << 10;
/// How long the network may take to answer a call: on a network that was cut, calls are repeated rather than waited for.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How long the reason of a refusal may take to be told.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

/// A connection whose ends know each other.
pub(super) struct Established {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) connection: Connection,
    /// What came behind the greeting.
    pub(super) input: BytesMut,
    pub(super) peer: PeerInfo,
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Established({:?})", self.peer)
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failed {
    /// This side refuses.
    Refused(Refusal),
    /// The other side does, with a reason that this build may know.
    ByPeer(Option<Refusal>),
}

impl Failed {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Failed::Refused(refusal) | Failed::ByPeer(Some(refusal)) => refusal,
            Failed::ByPeer(None) => Refusal::Lost,
        }
    }
}

/// TLS says what it does not like as invalid data; all else is the network's.
pub(super) fn refusal_of(error: &io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::InvalidData { Refusal::Tls } else { Refusal::Lost }
}

/// Calls a peer.
pub(super) async fn call(
    common: &Common,
    node: NodeId,
    address: &str,
) -> Result<Established, Failed> {
    let lost = |_| Failed::Refused(Refusal::Lost);
    let calling = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await;
    let socket = calling.map_err(|_| Failed::Refused(Refusal::Lost))?.map_err(lost)?;
    socket.set_nodelay(true).map_err(lost)?;
    let greeting = async {
        let tls = |_: rustls::Error| Failed::Refused(Refusal::Tls);
        let name = Configs::name_of(node, common.local.cluster).map_err(tls)?;
        let connector = TlsConnector::from(common.configs.caller.clone());
        let stream = connector.connect(name, socket).await;
        let stream = stream.map_err(|error| Failed::Refused(refusal_of(&error)))?;
        greet(common, stream.into(), Side::Caller(node)).await
    };
    let in_time = tokio::time::timeout(common.timing.greeting_max, greeting).await;
    in_time.map_err(|_| Failed::Refused(Refusal::GreetingTimeout))?
}

/// Greets, and checks who is there.
pub(super) async fn greet(
    common: &Common,
    mut stream: TlsStream<TcpStream>,
    side: Side,
) -> Result<Established, Failed> {
    let mut connection =
        Connection::new(&common.local, side, common.timing.clone(), Instant::now());
    let mut input = BytesMut::new();
    match exchange(common, &mut stream, &mut connection, &mut input).await {
        Ok(peer) => Ok(Established { stream, connection, input, peer }),
        Err(failed) => {
            if let Failed::Refused(refusal) = failed {
                connection.refuse(refusal);
                say_goodbye(stream, connection, Vec::new()).await;
            }
            Err(failed)
        }
    }
}

async fn exchange(
    common: &Common,
    stream: &mut TlsStream<TcpStream>,
    connection: &mut Connection,
    input: &mut BytesMut,
) -> Result<PeerInfo, Failed> {
    let failed = |error: io::Error| Failed::Refused(refusal_of(&error));
    flush(stream, connection).await.map_err(failed)?;
    let peer = loop {
        let mut events = Vec::new();
        input.reserve(READ_BYTES);
        if stream.read_buf(input).await.map_err(failed)? == 0 {
            return Err(Failed::Refused(Refusal::Lost));
        }
        connection.handle_input(Instant::now(), input, &mut events).map_err(Failed::Refused)?;
        match events.pop() {
            Some(Event::Greeted(peer)) => break peer,
            Some(Event::Bye(why)) => return Err(Failed::ByPeer(why)),
            _ => {}
        }
    };
    check(common, stream, &peer).map_err(Failed::Refused)?;
    connection.admit(Instant::now());
    flush(stream, connection).await.map_err(failed)?;
    Ok(peer)
}

/// Whether the peer's certificate is that of the node it says it is, and that node is a peer.
fn check(common: &Common, stream: &TlsStream<TcpStream>, peer: &PeerInfo) -> Result<(), Refusal> {
    let (_, tls) = stream.get_ref();
    let certificate = tls.peer_certificates().and_then(<[_]>::first).ok_or(Refusal::Tls)?;
    if !is_certificate_of(certificate, peer.node, common.local.cluster) {
        return Err(Refusal::Identity);
    }
    let known = common.with_peers(|peers| peers.contains_key(&peer.node));
    if known { Ok(()) } else { Err(Refusal::Stranger) }
}

async fn flush(stream: &mut TlsStream<TcpStream>, connection: &mut Connection) -> io::Result<()> {
    let mut out = Vec::new();
    while connection.wants_write() {
        connection.fill(&mut out);
        stream.write_all(&out).await?;
        out.clear();
    }
    stream.flush().await
}

/// Tells the other side why the connection ends, behind what is already being written, if it listens.
pub(super) async fn say_goodbye(
    mut stream: TlsStream<TcpStream>,
    mut connection: Connection,
    begun: Vec<u8>,
) {
    let saying = async {
        stream.write_all(&begun).await?;
        flush(&mut stream, &mut connection).await?;
        stream.shutdown().await
    };
    let _heard = tokio::time::timeout(GOODBYE_MAX, saying).await.is_ok();
}
