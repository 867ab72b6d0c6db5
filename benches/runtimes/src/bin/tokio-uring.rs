//! Echo on tokio-uring: tokio's scheduler over a ring.

use novax_runtimes::{READ_BYTES, RING_ENTRIES, listen};
use std::io;
use tokio_uring::buf::BoundedBuf as _;
use tokio_uring::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    tokio_uring::builder().entries(RING_ENTRIES).start(async {
        let listener = TcpListener::from_std(listen()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // How a connection ends is the client's matter.
            tokio_uring::spawn(async { echo(stream).await.ok() });
        }
    })
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let (read, filled) = stream.read(buffer).await;
        let read = read?;
        if read == 0 {
            return Ok(());
        }
        let (written, sent) = stream.write_all(filled.slice(..read)).await;
        written?;
        buffer = sent.into_inner();
    }
}
