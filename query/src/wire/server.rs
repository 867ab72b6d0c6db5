//! The listening socket.

use super::handler::{Handler, Shared};
use crate::config::SqlConfig;
use crate::database::Database;
use crate::source::Source;
use pgwire::api::RandomPidSecretKeyGenerator;
use pgwire::tokio::process_socket;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Sockets beyond the sessions: cancel requests, and clients that are told there is no seat.
const EXTRA_SOCKETS: usize = 64;
/// How long sessions have to tell their clients that the server stops.
const GOODBYE: Duration = Duration::from_millis(300);
/// How long accepting rests after it failed: out of file handles, mostly.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Serves PostgreSQL clients until `stop` is done. Running statements are ended with SQLSTATE 57P01.
///
/// # Errors
/// When the threads for statements cannot be started.
pub async fn serve(
    listener: TcpListener,
    source: Arc<dyn Source>,
    config: SqlConfig,
    stop: impl Future,
) -> io::Result<()> {
    let database = Database::new(source, config).map_err(io::Error::other)?;
    let (stopping, stopped) = watch::channel(false);
    let seats = database.config().sessions_max;
    let handler = Handler(Arc::new(Shared {
        database,
        registry: Arc::default(),
        seats: Arc::new(Semaphore::new(seats)),
        pids: RandomPidSecretKeyGenerator::default(),
        stopping: stopped.clone(),
    }));
    let sockets = Arc::new(Semaphore::new(seats + EXTRA_SOCKETS));
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        // A place first: beyond them, clients wait in the listener's backlog.
        let place = tokio::select! {
            _ = &mut stop => break,
            place = sockets.clone().acquire_owned() => place.map_err(io::Error::other)?,
        };
        let accepted = tokio::select! {
            _ = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        let (handler, mut stopped) = (handler.clone(), stopped.clone());
        connections.spawn(async move {
            let _place = place;
            let goodbye = async {
                let _ = stopped.wait_for(|stop| *stop).await;
                tokio::time::sleep(GOODBYE).await;
            };
            tokio::select! {
                // An error is a client that went away; there is nobody to tell.
                _ = process_socket(socket, None, handler) => {}
                () = goodbye => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
    stopping.send_replace(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}
