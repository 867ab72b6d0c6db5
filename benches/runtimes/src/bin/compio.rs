//! Echo on compio, with what it has for this: multishot receives into a pool of buffers.

use compio::driver::ProactorBuilder;
use compio::io::{AsyncReadMulti as _, AsyncWriteExt as _};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;
use futures_util::StreamExt as _;
use novax_runtimes::{RING_ENTRIES, listen};
use std::io;
use std::num::NonZero;

/// One for each message that may be on its way: a receive that finds none fails, and asking again at once costs
/// three times the work.
const BUFFERS: NonZero<u16> = NonZero::new(16_384).unwrap();
const BUFFER_BYTES: usize = 2_048;

fn main() -> io::Result<()> {
    let mut proactor = ProactorBuilder::new();
    proactor
        .capacity(RING_ENTRIES)
        .cqsize(RING_ENTRIES * 4)
        .single_issuer(true)
        .coop_taskrun(true)
        .taskrun_flag(true)
        .defer_taskrun(true)
        .buffer_pool_size(BUFFERS)
        .buffer_pool_buffer_len(BUFFER_BYTES);
    let runtime = RuntimeBuilder::new().with_proactor(proactor).build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listen()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // How a connection ends is the client's matter.
            compio::runtime::spawn(async { echo(stream).await.ok() }).detach();
        }
    })
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = (&stream, &stream);
    loop {
        let mut received = std::pin::pin!(reader.read_multi(0));
        let mut some = false;
        while let Some(buffer) = received.next().await {
            some = true;
            match buffer {
                Ok(buffer) => writer.write_all(buffer).await.0?,
                // More sockets were readable than there are buffers.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => break,
                Err(error) => return Err(error),
            }
        }
        // A receive that ends without a word is the peer's end.
        if !some {
            return Ok(());
        }
    }
}
