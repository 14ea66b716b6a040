//! From an accepted connection to what is spoken over it: who has connected, by the PROXY protocol;
//! the TLS handshake; the protocol.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::frontend::{Admission, Frontend, Handshake};
use super::{h1, h2};
use crate::http::connection::{Connection, Protocol, Scheme};
use crate::io::futures;
use crate::io::proxy::{self, Header, ProxyProtocol};
use crate::io::runtime::{TcpStream, UnixStream};
use crate::io::stream::{self, Direction, Socket, Stream};
use crate::io::tls::TlsStream;
use crate::io::tls::server::Failure;
use crate::snapshot::{Listener, ServerTls};

/// Serves a new connection in a task of its own, unless there are too many. Without a listener it
/// was served before: HTTP/1 in the clear.
pub(super) fn start(
    stream: impl ServedStream,
    facts: Connection,
    listener: Option<Arc<Listener>>,
    frontend: &Rc<Frontend>,
) {
    let connections_max = frontend.core.snapshot().limits.connections_max;
    let Some(mut admission) = frontend.admit(connections_max) else {
        return;
    };
    // What was served before has been counted as new where it came.
    if listener.is_some() {
        match frontend.enter_client(facts.peer) {
            Ok(client) => admission.client = client,
            Err(()) => return,
        }
    }
    stream.prepare();
    let local = stream::local_address(stream.as_raw_fd());
    let takes_http2 = listener.as_ref().is_none_or(|one| one.protocols.contains(&Protocol::Http2));
    let id = frontend.connection_id();
    let mut facts = Connection { id, local, takes_http2, ..facts };
    if let Some(listener) = &listener
        && !listener.protocols.contains(&Protocol::Http1)
    {
        // In the clear as well: what does not begin with the preface is no request of HTTP/1.
        facts.protocol = Protocol::Http2;
    }
    let frontend = frontend.clone();
    // What is plain is served without a detour: its task is to hold no room for a handshake.
    match listener.filter(|one| one.tls.is_some() || one.proxy_protocol != ProxyProtocol::Off) {
        None => {
            let connection = Rc::new(facts);
            let spoken = futures::boxed(|| speak(stream, connection, frontend));
            crate::io::spawn(guarded(spoken, admission));
        }
        Some(listener) => {
            let spoken = futures::boxed(|| introduced(stream, facts, listener, frontend));
            crate::io::spawn(guarded(spoken, admission));
        }
    }
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

/// Serves a connection that begins with something else than requests.
async fn introduced(
    stream: impl ServedStream,
    mut facts: Connection,
    listener: Arc<Listener>,
    frontend: Rc<Frontend>,
) {
    if !proxied(&stream, &mut facts, &listener, &frontend).await {
        frontend.refuse_proxy();
        return;
    }
    let Some(tls) = &listener.tls else {
        return futures::boxed(|| speak(stream, Rc::new(facts), frontend)).await;
    };
    // Boxed: the room of a handshake is given back when it is over.
    let shaking = futures::boxed(|| shake_hands(stream, tls, &frontend));
    let Some(stream) = shaking.await else { return };
    facts.scheme = Scheme::Https;
    facts.takes_http2 = false;
    let agreed = stream.alpn();
    let named = |protocol: &&Protocol| Some(protocol.alpn().as_bytes()) == agreed.as_deref();
    let protocol = match listener.protocols.iter().find(named) {
        Some(protocol) => Some(*protocol),
        // Without ALPN it is HTTP/1 (RFC 9113 section 3.2: HTTP/2 must be agreed on).
        None => listener.protocols.iter().find(|one| **one == Protocol::Http1).copied(),
    };
    let Some(protocol) = protocol else { return };
    facts.protocol = protocol;
    facts.tls = Some(Box::new(stream.facts()));
    // Boxed, as the handshake was: what waits for requests holds no room for what came before.
    futures::boxed(|| speak(stream, Rc::new(facts), frontend)).await;
}

/// Notes who has connected to the proxy in front; `false`: the connection must be closed.
async fn proxied(
    stream: &impl ServedStream,
    facts: &mut Connection,
    listener: &Listener,
    frontend: &Frontend,
) -> bool {
    let is_required = match listener.proxy_protocol {
        ProxyProtocol::Off => return true,
        ProxyProtocol::Accept => false,
        ProxyProtocol::Require => true,
    };
    let snapshot = frontend.core.snapshot();
    if !snapshot.trusted.has(facts.peer) {
        return !is_required;
    }
    let within = snapshot.timeouts.tls_handshake;
    drop(snapshot);
    match proxy::take(stream, is_required, within).await {
        Ok(Some(Header::Proxied { client, local })) => {
            facts.client = client;
            facts.client_port = 0;
            facts.local = Some(local);
            true
        }
        Ok(Some(Header::Local) | None) => true,
        // Nobody is there any more.
        Err(proxy::Failure::Gone) => !is_required,
        Err(proxy::Failure::Timeout | proxy::Failure::Refused) => false,
    }
}

/// Shakes hands; `None`: it has failed, and is counted.
async fn shake_hands<S: Stream>(
    stream: S,
    tls: &ServerTls,
    frontend: &Frontend,
) -> Option<TlsStream<S>> {
    let within = frontend.core.snapshot().timeouts.tls_handshake;
    let deadline = frontend.core.deadlines().register(stream.as_raw_fd());
    deadline.arm(within, Direction::Both);
    let shaken = TlsStream::accept(stream, &tls.offer, &frontend.turns).await;
    let end = match &shaken {
        Ok(stream) if stream.is_resumed() => Handshake::Resumed,
        Ok(_) => Handshake::Full,
        Err(_) if deadline.has_fired() => Handshake::Timeout,
        Err(Failure::Gone) => Handshake::Gone,
        Err(Failure::PlainHttp) => Handshake::PlainHttp,
        Err(Failure::Busy) => Handshake::Busy,
        Err(Failure::Refused(reason)) => {
            tracing::debug!(worker = frontend.core.id, %reason, "a TLS handshake has failed");
            Handshake::Refused
        }
    };
    frontend.count_handshake(end);
    shaken.ok()
}

/// A stream that a listener hands out.
pub(super) trait ServedStream: Socket {
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
