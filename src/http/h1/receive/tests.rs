//! Waiting for a message, on both drivers: warm with a buffer, then parked without.

use std::time::Duration;

use monoio::io::AsyncWriteRentExt;
use monoio::net::UnixStream;

use super::*;
use crate::io::deadline::{Deadlines, now_ms};
use crate::io::driver::{self, Driver, Preference};
use crate::io::stream::{self, Direction, WriteHalf};
use crate::limits::WARM_TIME;

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What a waiting connection stands on.
struct Scene {
    deadlines: Deadlines,
    pool: Rc<BufferPool>,
    client: UnixStream,
    receiver: Receiver<UnixStream>,
    /// Dropped with the receiver: a stream whose write half goes is shut down.
    writer: WriteHalf<UnixStream>,
}

fn on_each_driver(test: impl AsyncFn(Scene)) {
    let mut drivers = vec![Driver::Epoll];
    drivers.extend(driver::choose(Preference::IoUring).map(|choice| choice.driver));
    for driver in drivers {
        driver::block_on(driver, async {
            let (client, served) = UnixStream::pair().unwrap();
            let (deadlines, pool) = (Deadlines::default(), Rc::<BufferPool>::default());
            let (half, writer, fd) = stream::split(served);
            let receiver = Receiver::new(half, deadlines.register(fd), pool.clone());
            receiver.deadline.arm_idle(Duration::from_secs(60), Direction::Read);
            test(Scene { deadlines, pool, client, receiver, writer }).await;
        })
        .unwrap();
    }
}

/// Lets the driver work until `is_so`.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        crate::io::sleep(Duration::from_millis(1)).await;
    }
}

fn past_warm_time() -> u64 {
    now_ms() + WARM_TIME.as_millis() as u64 + 1
}

#[test]
fn a_connection_that_has_waited_long_enough_holds_no_buffer_and_still_reads_what_comes() {
    on_each_driver(async |scene| {
        let Scene { deadlines, pool, mut client, mut receiver, writer } = scene;
        let waiting = monoio::spawn(async move {
            let has_come = receiver.wait().await == Wait::Readable;
            (has_come, receiver, writer)
        });
        until(|| deadlines.warm() == 1).await;
        assert_eq!(pool.spare(), 0);
        deadlines.sweep(past_warm_time());
        until(|| pool.spare() == 1).await;
        assert_eq!(deadlines.warm(), 0);

        client.write_all(HEAD).await.0.unwrap();
        let (has_come, mut receiver, _writer) = waiting.await;
        assert!(has_come);
        assert_eq!(receiver.read_head(8192).await, Ok(HEAD.len()));
    });
}

#[test]
fn what_comes_while_a_warm_read_is_ended_is_not_lost() {
    on_each_driver(async |scene| {
        let Scene { deadlines, mut client, mut receiver, writer: _writer, .. } = scene;
        for _ in 0..100 {
            let waiting = monoio::spawn(async move {
                let has_come = receiver.wait().await == Wait::Readable;
                (has_come, receiver)
            });
            until(|| deadlines.warm() == 1).await;
            // The bytes are in the socket, their completion is not yet seen.
            client.write_all(HEAD).await.0.unwrap();
            deadlines.sweep(past_warm_time());
            let has_come;
            (has_come, receiver) = waiting.await;
            assert!(has_come);
            assert_eq!(receiver.read_head(8192).await, Ok(HEAD.len()));
            receiver.begin_body(HEAD.len(), BodyLength::Empty, false, 0);
        }
    });
}

#[test]
fn a_wait_that_is_dropped_gives_its_place_among_the_warm_back() {
    on_each_driver(async |scene| {
        let Scene { deadlines, client: _client, mut receiver, writer: _writer, .. } = scene;
        let mut waiting = Box::pin(receiver.wait());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert_eq!(deadlines.warm(), 1);
        drop(waiting);
        assert_eq!(deadlines.warm(), 0);
    });
}

#[test]
fn a_peer_that_closes_ends_a_warm_wait() {
    on_each_driver(async |scene| {
        let Scene { client, mut receiver, writer: _writer, .. } = scene;
        drop(client);
        assert_eq!(receiver.wait().await, Wait::Over);
    });
}

#[test]
fn a_warm_connection_that_is_asked_looks_around_and_loses_nothing() {
    on_each_driver(async |scene| {
        let Scene { deadlines, mut client, mut receiver, writer: _writer, .. } = scene;
        for has_bytes in [false, true] {
            let waiting = monoio::spawn(async move {
                let wait = receiver.wait().await;
                (wait, receiver)
            });
            until(|| deadlines.warm() == 1).await;
            if has_bytes {
                client.write_all(HEAD).await.0.unwrap();
            }
            while !waiting.is_finished() {
                deadlines.request_handover(1);
                crate::io::sleep(Duration::from_millis(1)).await;
            }
            let wait;
            (wait, receiver) = waiting.await;
            // Either the bytes were there first, or they are still in the socket.
            assert!(wait == Wait::Handover || has_bytes, "{wait:?}");
        }
        while receiver.wait().await != Wait::Readable {}
        assert_eq!(receiver.read_head(8192).await, Ok(HEAD.len()));
    });
}

#[test]
fn a_read_ahead_notices_what_comes_and_gives_it_to_the_next_head() {
    on_each_driver(async |scene| {
        let Scene { mut client, mut receiver, writer: _writer, .. } = scene;
        for _ in 0..3 {
            receiver.read_ahead();
            crate::io::sleep(Duration::from_millis(2)).await;
            assert!(receiver.is_ahead() && !receiver.has_ahead_ended());
            client.write_all(HEAD).await.0.unwrap();
            while !receiver.has_ahead_ended() {
                crate::io::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(receiver.read_head(8192).await, Ok(HEAD.len()));
            assert!(!receiver.is_ahead());
            receiver.begin_body(HEAD.len(), BodyLength::Empty, false, 0);
        }
        receiver.read_ahead();
        drop(client);
        while !receiver.has_ahead_ended() {
            crate::io::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(receiver.read_head(8192).await, Err(HeadFailure::Nothing));
    });
}
