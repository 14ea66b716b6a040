//! The floor: what moving the bytes of a request and its response costs, on the gateway's own
//! runtime, with its flags and the same 16 KiB buffers. No parsing of fields, no routing, no
//! rewriting, no time limits, no pool, no metrics: what a gateway does beyond this is what it costs
//! itself.
//!
//! Each client's connection gets one to the origin and keeps it. Two ways, because neither is
//! cheaper on every machine, and the floor is the lower one:
//!
//! - `turns`: one task; a message is its head, read until its empty line, and as many bytes as its
//!   `Content-Length` says, which go on as they came.
//! - `pipes`: a task per direction, which hands on whatever arrives, unread.
//!
//! One operation at a time per task, no allocation per request.
//!
//! Usage: floor LISTEN ORIGIN turns|pipes (as in 127.0.0.1:8000 127.0.0.1:9000 turns)

use std::io;

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Splitable};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

const BUFFER_BYTES: usize = 16 * 1024;
const RING_ENTRIES: u32 = 1024;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(origin), Some(way)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(io::Error::other("usage: floor LISTEN ORIGIN turns|pipes"));
    };
    let is_piped = match way.as_str() {
        "turns" => false,
        "pipes" => true,
        _ => return Err(io::Error::other(format!("{way} is neither turns nor pipes"))),
    };
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun();
    let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES);
    let mut runtime = builder.uring_builder(ring).build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen)?;
        loop {
            let (client, _) = listener.accept().await?;
            let origin = origin.clone();
            monoio::spawn(async move {
                // A connection that breaks ends; the load generator counts it.
                let _ = match is_piped {
                    true => pipe(client, &origin).await,
                    false => relay(client, &origin).await,
                };
            });
        }
    })
}

async fn relay(mut client: TcpStream, origin: &str) -> io::Result<()> {
    let mut origin = TcpStream::connect(origin).await?;
    client.set_nodelay(true)?;
    origin.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let Some(emptied) = message(&mut client, &mut origin, buffer).await? else { break };
        let Some(emptied) = message(&mut origin, &mut client, emptied).await? else { break };
        buffer = emptied;
    }
    Ok(())
}

async fn pipe(client: TcpStream, origin: &str) -> io::Result<()> {
    let origin = TcpStream::connect(origin).await?;
    client.set_nodelay(true)?;
    origin.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_origin, to_origin) = origin.into_split();
    monoio::spawn(async move {
        let _ = copy(from_origin, to_client).await;
    });
    copy(from_client, to_origin).await
}

async fn copy(mut from: impl AsyncReadRent, mut to: impl AsyncWriteRent) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let (count, filled) = from.read(buffer).await;
        if count? == 0 {
            // A client that ends, ends both: the origin sees it, and closes its side.
            return to.shutdown().await;
        }
        let (written, mut emptied) = to.write_all(filled).await;
        written?;
        emptied.clear();
        buffer = emptied;
    }
}

/// Hands one message on; `None` once the sender has ended. Gives the buffer back.
async fn message(
    from: &mut TcpStream,
    to: &mut TcpStream,
    mut buffer: Vec<u8>,
) -> io::Result<Option<Vec<u8>>> {
    buffer.clear();
    let mut whole = loop {
        let start = buffer.len();
        if start == BUFFER_BYTES {
            return Err(io::Error::other("a head is larger than the buffer"));
        }
        let (count, filled) = from.read(buffer.slice_mut(start..BUFFER_BYTES)).await;
        buffer = filled.into_inner();
        if count? == 0 {
            return Ok(None);
        }
        // The end of a head may be split between two reads.
        if let Some(end) = head_end(&buffer, start.saturating_sub(3)) {
            break end + content_length(&buffer[..end]);
        }
    };
    loop {
        whole = whole.saturating_sub(buffer.len());
        let (written, emptied) = to.write_all(buffer).await;
        written?;
        buffer = emptied;
        if whole == 0 {
            return Ok(Some(buffer));
        }
        buffer.clear();
        let (count, filled) = from.read(buffer).await;
        buffer = filled;
        if count? == 0 {
            return Ok(None);
        }
    }
}

fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(&bytes[from..], b"\r\n\r\n").map(|at| from + at + 4)
}

/// The length of the body. Names are looked for as the load generators and the origin write them.
fn content_length(head: &[u8]) -> usize {
    let Some(at) = memchr::memmem::find(head, b"\r\nContent-Length: ") else { return 0 };
    let digits = head[at + 18..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}
