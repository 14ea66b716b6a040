//! The connections of the admin API: few, and none that says nothing for long.
//!
//! They take descriptors that the data plane needs too, so there is a cap. Over it the connection
//! that has waited longest for its request gives way to the new one: whoever opens many and says
//! nothing cannot keep out who has something to ask. One that is in the middle of a call never
//! gives way. Rejected: `axum::serve`, which has neither a cap nor a time-out.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::limits::{
    ADMIN_ACCEPT_BACKOFF, ADMIN_CONNECTIONS_MAX, ADMIN_CONNECTIONS_MIN, ADMIN_DESCRIPTORS_SHARE,
    ADMIN_IDLE_TIMEOUT, ADMIN_STALL_TIMEOUT,
};

/// Serves until `ends` is ready and the calls that are under way then have their answers.
/// `tls` says of each connection how it is secured.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: impl Fn() -> Option<Arc<ServerConfig>>,
    ends: impl Future<Output = ()>,
) {
    let mut ends = std::pin::pin!(ends);
    let mut listener = Some(listener);
    let mut guests = Guests::new(router);
    while listener.is_some() || !guests.tasks.is_empty() {
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(ended) = guests.tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                guests.known.remove(&id);
            }
            () = &mut ends, if listener.is_some() => {
                listener = None;
                guests.end.send_replace(true);
            }
            accepted = accept => match accepted {
                Ok((stream, _)) => guests.admit(stream, tls()).await,
                Err(error) => {
                    tracing::warn!(%error, "the admin API cannot accept a connection");
                    tokio::time::sleep(ADMIN_ACCEPT_BACKOFF).await;
                }
            },
        }
    }
}

/// Who is connected.
struct Guests {
    router: Router,
    most: usize,
    tasks: JoinSet<()>,
    known: HashMap<Id, Guest>,
    turns: Arc<AtomicU64>,
    end: watch::Sender<bool>,
}

/// One connection.
struct Guest {
    waits: Arc<Waits>,
    abort: AbortHandle,
}

/// Since when a connection waits for a request.
struct Waits {
    /// The turn at which it began to; [`Waits::BUSY`] while it is in a call.
    since: AtomicU64,
    /// The next turn, of all connections.
    turns: Arc<AtomicU64>,
}

impl Waits {
    const BUSY: u64 = u64::MAX;

    // Relaxed: all of them are on the control thread.
    fn begin(&self) {
        self.since.store(self.turns.fetch_add(1, Relaxed), Relaxed);
    }

    fn end(&self) {
        self.since.store(Self::BUSY, Relaxed);
    }
}

impl Guests {
    fn new(router: Router) -> Self {
        Self {
            router,
            most: connections_max(),
            tasks: JoinSet::new(),
            known: HashMap::new(),
            turns: Arc::default(),
            end: watch::Sender::new(false),
        }
    }

    async fn admit(&mut self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
        if self.known.len() >= self.most && !self.make_room().await {
            // All are in the middle of a call. Closed, it may try again.
            return;
        }
        // A watcher that takes nothing any more would hold its place for ever.
        let socket = socket2::SockRef::from(&stream);
        if let Err(error) = socket.set_tcp_user_timeout(Some(ADMIN_STALL_TIMEOUT)) {
            tracing::debug!(%error, "a connection of the admin API has no stall timeout");
        }
        let waits = Arc::new(Waits { since: AtomicU64::new(0), turns: Arc::clone(&self.turns) });
        waits.begin();
        let (router, ends) = (self.router.clone(), self.end.subscribe());
        let waiting = Arc::clone(&waits);
        let abort = self.tasks.spawn(async move {
            let Some(tls) = tls else { return converse(stream, router, waiting, ends).await };
            let shaking = TlsAcceptor::from(tls).accept(stream);
            match tokio::time::timeout(ADMIN_IDLE_TIMEOUT, shaking).await {
                Ok(Ok(stream)) => converse(stream, router, waiting, ends).await,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a TLS handshake of the admin API failed")
                }
                Err(_) => tracing::debug!("a TLS handshake of the admin API took too long"),
            }
        });
        self.known.insert(abort.id(), Guest { waits, abort });
    }

    /// Ends the connection that has waited longest for a request; `false` if none does.
    async fn make_room(&mut self) -> bool {
        let since = |guest: &Guest| guest.waits.since.load(Relaxed);
        let longest = self.known.iter().min_by_key(|(_, guest)| since(guest));
        let Some((&id, _)) = longest.filter(|(_, guest)| since(guest) != Waits::BUSY) else {
            return false;
        };
        if let Some(guest) = self.known.remove(&id) {
            guest.abort.abort();
            // The runtime closes it before we go on.
            tokio::task::yield_now().await;
        }
        true
    }
}

/// A share of the descriptors that the process may have.
fn connections_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let share = limit.map_or(usize::MAX, |limit| limit as usize / ADMIN_DESCRIPTORS_SHARE);
    share.clamp(ADMIN_CONNECTIONS_MIN, ADMIN_CONNECTIONS_MAX)
}

/// Answers the requests of one connection.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    waits: Arc<Waits>,
    mut end: watch::Receiver<bool>,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        waits.end();
        let call = Call { waits: Arc::clone(&waits) };
        let answer = router.call(request);
        async move {
            let response: Response = answer.await?;
            Ok::<_, Infallible>(response.map(|body| Body::new(Answer { body, _call: call })))
        }
    });
    let mut builder = http1::Builder::new();
    // Of hyper's: from the end of an answer, or the beginning, to the end of the next head.
    builder.timer(TokioTimer::new()).header_read_timeout(ADMIN_IDLE_TIMEOUT);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ends = async {
        let _ = end.wait_for(|ends| *ends).await;
    };
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ends => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the admin API has ended");
    }
}

/// A call under way: until its answer is sent, or given up.
struct Call {
    waits: Arc<Waits>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.waits.begin();
    }
}

/// An answer's body that ends its call.
struct Answer {
    body: Body,
    _call: Call,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
