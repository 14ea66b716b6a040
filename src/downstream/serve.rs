//! From an accepted connection to what is spoken over it.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use super::frontend::{Admission, Frontend};
use super::{h1, h2};
use crate::http::connection::{Connection, Protocol};
use crate::io::futures;
use crate::io::runtime::{TcpStream, UnixStream};
use crate::io::stream::{self, Stream};

/// Serves a new connection in a task of its own, unless there are too many.
pub(super) fn start(stream: impl ServedStream, facts: Connection, frontend: &Rc<Frontend>) {
    let connections_max = frontend.core.snapshot().limits.connections_max;
    let Some(admission) = frontend.admit(connections_max) else {
        return;
    };
    stream.prepare();
    let local = stream::local_address(stream.as_raw_fd());
    let connection = Rc::new(Connection { local, ..facts });
    let frontend = frontend.clone();
    let spoken = futures::boxed(|| speak(stream, connection, frontend));
    crate::io::spawn(guarded(spoken, admission));
}

/// Serves a connection in the protocol that it is for.
async fn speak<S: Stream>(stream: S, connection: Rc<Connection>, frontend: Rc<Frontend>) {
    match connection.protocol {
        Protocol::Http1 => h1::serve(stream, connection, frontend).await,
        Protocol::Http2 => {
            let halves = h2::Halves::of(stream, &frontend.core);
            h2::serve(halves, connection, frontend).await;
        }
    }
}

/// A stream that a listener hands out.
pub(super) trait ServedStream: Stream {
    fn prepare(&self) {}
}

impl ServedStream for TcpStream {
    fn prepare(&self) {
        // A response is written whole: waiting for more to send only delays it. A socket that is
        // broken already shows it at the first read.
        let _ = self.set_nodelay(true);
    }
}

impl ServedStream for UnixStream {}

/// A panic ends its connection, not the worker. There is no known way to cause one; this is the
/// line that holds if there is.
async fn guarded(mut spoken: Pin<Box<impl Future<Output = ()>>>, admission: Admission) {
    std::future::poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| spoken.as_mut().poll(cx));
        std::panic::catch_unwind(poll).unwrap_or_else(|_| {
            tracing::error!("a connection was closed by a defect in the gateway (panic above)");
            Poll::Ready(())
        })
    })
    .await;
    drop(admission);
}
