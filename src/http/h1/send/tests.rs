//! What is written, and in which buffers.

use std::time::Duration;

use monoio::io::AsyncReadRent;
use monoio::net::UnixStream;

use super::*;
use crate::http::h1::body::BodyDecoder;
use crate::http::h1::encode::Framing;
use crate::http::message::BodyLength;
use crate::io::deadline::Deadlines;
use crate::io::driver::{self, Driver};
use crate::io::stream;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// What the peer of a sender has read once `send` is through.
fn sent(send: impl AsyncFnOnce(&mut Sender<UnixStream>)) -> Vec<u8> {
    driver::block_on(Driver::Epoll, async {
        let (mut peer, served) = UnixStream::pair().unwrap();
        let reading = monoio::spawn(async move {
            let mut all = Vec::new();
            loop {
                let (outcome, piece) = peer.read(vec![0; 16 * 1024]).await;
                match outcome.unwrap() {
                    0 => return all,
                    length => all.extend_from_slice(&piece[..length]),
                }
            }
        });
        let (_reader, writer, fd) = stream::split(served);
        let deadlines = Deadlines::default();
        let pool = Rc::<BufferPool>::default();
        let mut sender = Sender::new(writer, deadlines.register(fd), Duration::from_secs(60), pool);
        send(&mut sender).await;
        stream::shutdown(fd, stream::Direction::Write);
        reading.await
    })
    .unwrap()
}

fn piece(length: usize, letter: u8, pool: &BufferPool) -> Chunk {
    let mut buffer = pool.take_for(length);
    buffer.resize(length, letter);
    Chunk::new(buffer, 0..length)
}

/// The body of a message that [`HEAD`] begins.
fn decoded(message: &[u8]) -> Vec<u8> {
    let mut rest = message.strip_prefix(HEAD).unwrap().to_vec();
    let (mut decoder, mut body) = (BodyDecoder::default(), Vec::new());
    decoder.begin(BodyLength::Unknown, true);
    while !decoder.is_done() {
        let step = decoder.decode(&mut rest).unwrap();
        assert!(step.consumed > 0, "the message ends before its body does");
        body.extend_from_slice(&rest[..step.data]);
        rest.drain(..step.consumed);
    }
    assert!(rest.is_empty());
    body
}

#[test]
fn chunks_of_every_size_arrive_whole_and_grow_no_buffer_beyond_the_pools() {
    let large = LARGE_BUFFER_BYTES;
    let lengths = [
        READ_BYTES_MAX,
        1,
        large - FRAME_BYTES,
        READ_BYTES_MAX,
        large,
        BUFFER_BYTES,
        READ_BYTES_MAX,
    ];
    let message = sent(async |sender| {
        sender.head(|out| {
            out.extend_from_slice(HEAD);
            Framing::Chunked
        });
        let pool = sender.pool.clone();
        for (length, letter) in lengths.into_iter().zip(b'a'..) {
            let was_flushed = sender.pending.is_empty();
            sender.body(piece(length, letter, &pool)).await.unwrap();
            let capacity = sender.pending.capacity();
            assert!(capacity == BUFFER_BYTES || capacity == large, "{capacity} after {length}");
            if was_flushed && length == READ_BYTES_MAX {
                assert!(sender.pending.is_empty(), "what one read brings goes out as one chunk");
            }
        }
        sender.finish(&Fields::default()).await.unwrap();
        assert_eq!(sender.body_bytes(), lengths.iter().sum::<usize>() as u64);
    });
    let expected: Vec<u8> =
        lengths.into_iter().zip(b'a'..).flat_map(|(length, letter)| vec![letter; length]).collect();
    assert!(decoded(&message) == expected, "the body that arrived is another one");
}

#[test]
fn a_plain_body_follows_its_head_whatever_the_size_of_its_pieces() {
    for lengths in [vec![READ_BYTES_MAX], vec![1, DIRECT_BEHIND_BYTES_MIN, 1, DIRECT_BYTES_MIN]] {
        let message = sent(async |sender| {
            sender.head(|out| {
                out.extend_from_slice(HEAD);
                Framing::Plain
            });
            let pool = sender.pool.clone();
            for (&length, letter) in lengths.iter().zip(b'a'..) {
                sender.body(piece(length, letter, &pool)).await.unwrap();
            }
            sender.finish(&Fields::default()).await.unwrap();
        });
        let pieces = lengths.iter().zip(b'a'..);
        let body: Vec<u8> = pieces.flat_map(|(&length, letter)| vec![letter; length]).collect();
        assert!(message.strip_prefix(HEAD) == Some(&body), "{lengths:?}");
    }
}

#[test]
fn a_peer_that_takes_a_write_slowly_has_its_time_for_each_step() {
    // How 2 MiB go to a peer that pauses after each 128 KiB, and whether its time was up.
    let written = |pause: Duration, expires_in: Duration| {
        driver::block_on(Driver::Epoll, async {
            let (mut peer, served) = UnixStream::pair().unwrap();
            let (_reader, writer, fd) = stream::split(served);
            let deadlines = Deadlines::default();
            let sweeping = deadlines.clone();
            monoio::spawn(async move { sweeping.run().await });
            monoio::spawn(async move {
                while let (Ok(1..), _) = peer.read(vec![0; 128 * 1024]).await {
                    crate::io::sleep(pause).await;
                }
            });
            let pool = Rc::<BufferPool>::default();
            let timeout = Duration::from_secs(2);
            let mut sender = Sender::new(writer, deadlines.register(fd), timeout, pool.clone());
            sender.bound(now_ms() + expires_in.as_millis() as u64);
            let outcome = sender.body(piece(2 << 20, b'x', &pool)).await;
            (outcome, sender.has_timed_out())
        })
        .unwrap()
    };
    let (ms, long) = (Duration::from_millis, Duration::from_secs(60));
    assert_eq!(written(ms(200), long), (Ok(()), false));
    assert_eq!(written(ms(8000), long), (Err(WriteFailed), true));
    // Late from its beginning: it has a moment, however much of it is taken meanwhile.
    assert_eq!(written(ms(200), Duration::ZERO), (Err(WriteFailed), true));
}
