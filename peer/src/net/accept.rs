//! Being called: by peers, by those who were invited, and by whoever else finds the port.

use super::common::{Common, Order};
use super::socket::{self, Failed, refusal_of};
use crate::connection::Side;
use crate::error::{Error, Refusal};
use crate::pki::{
    JOIN_PROTOCOL, WELCOME_BYTES_MAX, binding, request_len, write_admission, write_refusal,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::server::StartHandshake;
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

/// When the system has no more sockets, a little later it may.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes calls for ever.
pub(super) async fn accept(
    common: Arc<Common>,
    listener: std::net::TcpListener,
    greeting_max: usize,
) {
    let listener = TcpListener::from_std(listener).expect("a listener that does not block");
    let greeting = Arc::new(Semaphore::new(greeting_max));
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&greeting).try_acquire_owned() else {
            common.refusals.count(Refusal::Crowded);
            continue;
        };
        let common = Arc::clone(&common);
        tokio::spawn(async move {
            let answering =
                tokio::time::timeout(common.timing.greeting_max, answer(&common, socket));
            match answering.await {
                Ok(Ok(()) | Err(Failed::ByPeer(_))) => {}
                Ok(Err(Failed::Refused(refusal))) => common.refusals.count(refusal),
                Err(_late) => common.refusals.count(Refusal::GreetingTimeout),
            }
            drop(place);
        });
    }
}

async fn answer(common: &Arc<Common>, socket: TcpStream) -> Result<(), Failed> {
    let failed = |error: std::io::Error| Failed::Refused(refusal_of(&error));
    socket.set_nodelay(true).map_err(failed)?;
    let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket);
    let hello = hello.await.map_err(failed)?;
    let wanted = hello.client_hello().alpn();
    if wanted.is_some_and(|mut wanted| wanted.any(|protocol| protocol == JOIN_PROTOCOL)) {
        return let_in(common, hello).await.map_err(Failed::Refused);
    }
    let stream = hello.into_stream(Arc::clone(&common.configs.called)).await.map_err(failed)?;
    let established = socket::greet(common, stream.into(), Side::Called).await?;
    // A peer that was taken out just now is none.
    let stranger = Failed::Refused(Refusal::Stranger);
    let orders = common.orders(established.peer.node).ok_or(stranger)?;
    let given = orders.send(Order::Adopt(Box::new(established))).await;
    given.map_err(|_| stranger)
}

/// Answers a request to join.
async fn let_in(common: &Arc<Common>, hello: StartHandshake<TcpStream>) -> Result<(), Refusal> {
    let failed = |error: std::io::Error| refusal_of(&error);
    let stream = hello.into_stream(Arc::clone(&common.configs.invited)).await.map_err(failed)?;
    let bound = binding(stream.get_ref().1).map_err(|_| Refusal::Tls)?;
    let mut stream = TlsStream::from(stream);
    let request = read_request(&mut stream).await?;
    let asking = Arc::clone(common);
    // It writes files, and the handler may wait.
    let decided = tokio::task::spawn_blocking(move || {
        let authority = asking.authority.as_ref().ok_or(Error::NoAuthority)?;
        let admission = authority.admit(&request, &bound)?;
        let welcome = asking.handler.joining(admission.node, &admission.address);
        let mut welcome = welcome.map_err(Error::Refused)?;
        welcome.truncate(WELCOME_BYTES_MAX);
        Ok::<_, Error>((admission, welcome))
    });
    let decided = decided.await.map_err(|_| Refusal::Join)?;
    let (answer, result) = match decided {
        Ok((admission, welcome)) => (write_admission(&admission.certificate, &welcome), Ok(())),
        Err(Error::Refused(why)) => (write_refusal(&why), Err(Refusal::Join)),
        Err(error) => (write_refusal(&error.to_string()), Err(Refusal::Join)),
    };
    stream.write_all(&answer).await.map_err(failed)?;
    stream.shutdown().await.map_err(failed)?;
    result
}

async fn read_request(stream: &mut TlsStream<TcpStream>) -> Result<Vec<u8>, Refusal> {
    let mut request = Vec::new();
    loop {
        let len = request_len(&request).ok_or(Refusal::Join)?;
        if request.len() == len {
            return Ok(request);
        }
        let begun = request.len();
        request.resize(len, 0);
        let read = stream.read_exact(&mut request[begun..]).await;
        read.map_err(|error| refusal_of(&error))?;
        if request_len(&request) == Some(len) {
            return Ok(request);
        }
    }
}
