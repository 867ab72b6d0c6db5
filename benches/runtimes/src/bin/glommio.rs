//! Echo on glommio: three rings a thread.

use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};
use novax_runtimes::{ADDRESS, READ_BYTES, RING_ENTRIES, tell};
use std::io;

fn main() -> io::Result<()> {
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .ring_depth(RING_ENTRIES as usize)
        .make()
        .map_err(io::Error::from)?;
    executor.run(async {
        let listener = TcpListener::bind(ADDRESS)?;
        tell(listener.local_addr()?);
        loop {
            let stream = listener.accept().await?;
            stream.set_nodelay(true)?;
            // How a connection ends is the client's matter.
            glommio::spawn_local(async { echo(stream).await.ok() }).detach();
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..read]).await?;
    }
}
