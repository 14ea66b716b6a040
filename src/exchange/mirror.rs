//! Copies of requests to another service (`mirror`), sent beside the exchange and forgotten.
//!
//! What is copied is what the origin gets behind the plugins. A copy has a task, a budget and
//! bounds of its own: the client's exchange pays for the copy of its bytes, and nothing that
//! becomes of a copy comes back to it. A body that is still on its way is kept as it goes by
//! (`http/kept.rs`) and goes out when it has come whole. A copy says what it is (`CDN-Loop`), and
//! no gateway copies it again.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Exchange;
use super::attempt::Attempt;
use super::counts::{MirrorResult, SharedCounts};
use super::forward::Payload;
use crate::error::Error;
use crate::http::cdn_loop;
use crate::http::message::{BodyLength, Fields, RequestHead, ResponseHead};
use crate::http::relay::{self, Alongside, BodySink, BodySource};
use crate::io::budget::{Budget, Held};
use crate::io::buffer::{BufferPool, Chunk};
use crate::io::deadline::now_ms;
use crate::io::{spawn, unless_panics};
use crate::limits::{
    MIRROR_LOG_LINES_PER_SECOND, MIRRORED_ANSWER_BYTES_MAX, MIRRORED_BODY_BYTES_MAX,
    MIRRORED_BYTES_MAX, MIRRORS_AT_ONCE, MIRRORS_CONNECTIONS_PART,
};
use crate::route::mirror::Mirror;
use crate::snapshot::Service;
use crate::throttle::PerSecond;
use crate::upstream::call::{Bounds, Client, read_final_head};
use crate::upstream::cluster::Cluster;
use crate::upstream::connection::Connection;
use crate::upstream::tries::{self, Ask, Failure, Try};

/// What the copies of one worker share.
#[derive(Debug)]
pub(super) struct Mirrors {
    under_way: Cell<usize>,
    budget: Rc<Budget>,
    lines: PerSecond,
}

impl Default for Mirrors {
    fn default() -> Self {
        let budget = Rc::<Budget>::default();
        budget.bound(MIRRORED_BYTES_MAX);
        Self { under_way: Cell::default(), budget, lines: PerSecond::default() }
    }
}

impl Mirrors {
    /// How many are on their way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.get()
    }

    /// A place for one more, of `most`.
    fn enter(self: &Rc<Self>, most: usize) -> Option<Place> {
        let others = self.under_way.get();
        (others < most).then(|| {
            self.under_way.set(others + 1);
            Place(self.clone())
        })
    }
}

/// That of a copy among those on their way.
struct Place(Rc<Mirrors>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

/// What becomes of a copy; counted when it is dropped.
struct Count {
    /// Of the service that is mirrored.
    counts: SharedCounts,
    result: MirrorResult,
}

impl Drop for Count {
    fn drop(&mut self) {
        self.counts.borrow_mut().count_mirrored(self.result);
    }
}

/// A copy that waits for its body.
pub(super) struct Copy {
    client: Client,
    /// Of the service that gets it.
    cluster: Arc<Cluster>,
    counts: SharedCounts,
    service: String,
    timeout_ms: u64,
    first_byte: Duration,
    bounds: Bounds,
    head: RequestHead,
    set: Fields,
    /// The client's, if the service is asked for that.
    authority: Option<String>,
    key: Option<u64>,
    request_id: String,
    place: Place,
    count: Count,
}

impl Exchange<'_> {
    /// Where this exchange's request is copied to: what the service that is asked says, or else
    /// the one that it was routed to.
    fn mirror(&self) -> Option<(&Service, &Mirror)> {
        let of = |service| Service::mirror(service).map(|mirror| (service, mirror));
        of(self.asked()).or_else(|| of(self.service))
    }

    /// Copies the request if its service is mirrored and it is drawn. What is returned waits for
    /// the body.
    pub(super) fn copy(
        &self,
        request: &RequestHead,
        payload: &Payload,
        is_upgrade: bool,
    ) -> Option<Box<Copy>> {
        let (of, mirror) = self.mirror()?;
        self.copy_to(of, mirror, request, payload, is_upgrade)
    }

    #[cold]
    fn copy_to(
        &self,
        of: &Service,
        mirror: &Mirror,
        request: &RequestHead,
        payload: &Payload,
        is_upgrade: bool,
    ) -> Option<Box<Copy>> {
        if is_upgrade || cdn_loop::is_copy(&self.passed) || !mirror.takes(self.worker.random()) {
            return None;
        }
        let counts = self.worker.counts_of(self.snapshot, of);
        let mut count = Count { counts, result: MirrorResult::TooLarge };
        let is_too_large = match (payload, request.body) {
            (Payload::Prefix(_), _) => true,
            (Payload::Memory(bytes), _) => bytes.len() > MIRRORED_BODY_BYTES_MAX,
            (_, BodyLength::Known(length)) => length > MIRRORED_BODY_BYTES_MAX as u64,
            (_, BodyLength::Empty | BodyLength::Unknown) => false,
        };
        if is_too_large {
            return None;
        }
        count.result = MirrorResult::Dropped;
        let to = self.snapshot.services.get(mirror.service)?;
        let part = self.snapshot.limits.upstream_connections_max / MIRRORS_CONNECTIONS_PART;
        let place = self.worker.mirrors().enter(MIRRORS_AT_ONCE.min(part.max(1)))?;
        count.result = MirrorResult::Incomplete;
        let copy = Box::new(self.prepare(to, request, place, count));
        match payload {
            Payload::Memory(bytes) => copy.send(Some(bytes)),
            Payload::Stream if request.body == BodyLength::Empty => copy.send(Some(&[])),
            Payload::Stream | Payload::Prefix(_) | Payload::Through(_) => return Some(copy),
        }
        None
    }

    fn prepare(&self, to: &Service, request: &RequestHead, place: Place, count: Count) -> Copy {
        let mut head = request.clone();
        head.path = self.path_for(to, request).into_owned();
        if let Some(edit) = &to.request_edit {
            edit.apply(&mut head.fields);
        }
        head.fields.push(cdn_loop::NAME.as_bytes(), cdn_loop::COPY.as_bytes());
        let is_asked_for = to.preserve_host && !request.authority.is_empty();
        let key = match &*to.cluster {
            Cluster::Endpoints(endpoints) => self.key(endpoints, request),
            Cluster::Echo => None,
        };
        let limits = &self.snapshot.limits;
        Copy {
            client: self.worker.client().clone(),
            cluster: to.cluster.clone(),
            counts: self.worker.counts_of(self.snapshot, to),
            service: to.name.clone(),
            timeout_ms: to.timeout.as_millis() as u64,
            first_byte: to.timeouts.first_byte,
            bounds: Bounds {
                connect: to.timeouts.connect,
                body: to.timeouts.body,
                head_bytes_max: limits.head_bytes_max,
                idle_max: limits.upstream_idle_max,
            },
            set: self.fields_for(to, request).into_owned(),
            authority: is_asked_for.then(|| request.authority.clone()),
            key,
            request_id: self.request_id.to_owned(),
            head,
            place,
            count,
        }
    }
}

impl Copy {
    /// What its body may take of memory.
    pub(super) fn held(&self) -> Held {
        Held::of(&self.place.0.budget)
    }

    /// Sends it with this body; without one it was too large.
    pub(super) fn send(mut self: Box<Self>, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else {
            self.count.result = MirrorResult::TooLarge;
            return;
        };
        let (mut body, held) = (Vec::new(), self.held());
        if held.make_room(&mut body, bytes.len(), bytes.len()).is_err() {
            self.count.result = MirrorResult::Dropped;
            return;
        }
        body.extend_from_slice(bytes);
        if self.head.body != BodyLength::Empty {
            self.head.body = BodyLength::Known(body.len() as u64);
        }
        spawn(async move {
            let _held = held;
            if unless_panics(self.run(&body)).await.is_none() {
                self.count.result = MirrorResult::Failed;
            }
        });
    }

    async fn run(&mut self, body: &[u8]) {
        let outcome = match &*self.cluster {
            // It answers whatever it is asked.
            Cluster::Echo => Ok(200),
            Cluster::Endpoints(endpoints) => {
                let expires_ms = now_ms().saturating_add(self.timeout_ms);
                let targets = self.client.targets();
                let ask = Ask { method: &self.head.method, key: self.key, first: None };
                tries::run(endpoints, targets, ask, expires_ms, async |to| {
                    let attempt = Attempt::untold(self.counts.clone(), to);
                    let outcome = self.attempt((to, &attempt), body, expires_ms).await;
                    attempt.ended(&outcome);
                    let is_repeatable = self.head.method.is_idempotent();
                    outcome.map_err(|error| Failure { error, is_repeatable, is_whole: true })
                })
                .await
            }
        };
        self.count.result = match outcome {
            Ok(status) if status < 500 => MirrorResult::Answered,
            _ => MirrorResult::Failed,
        };
        if let Err(error) = outcome
            && self.place.0.lines.take(MIRROR_LOG_LINES_PER_SECOND, Instant::now()).is_allowed
        {
            let (service, request_id) = (&self.service, &self.request_id);
            tracing::warn!(service, request_id, "a copy of a request failed: {error}");
        }
    }

    async fn attempt(
        &self,
        (to, attempt): (Try<'_>, &Attempt<'_>),
        body: &[u8],
        expires_ms: u64,
    ) -> Result<u16, Error> {
        let mut connection = match self.client.idle(to) {
            Some(there) => {
                attempt.reused();
                there
            }
            None => {
                let started = Instant::now();
                let left = Duration::from_millis(expires_ms.saturating_sub(now_ms()));
                let connect = self.bounds.connect.min(left);
                let connection =
                    self.client.connect(to, &Bounds { connect, ..self.bounds }).await?;
                attempt.connected(started.elapsed());
                connection
            }
        };
        connection.begin(expires_ms, self.bounds.body);
        let authority = self.authority.as_deref().unwrap_or(&to.endpoint.authority);
        connection.head(&self.head, authority, &self.head.path, &self.set);
        let (status, is_over) = self.talk((to, attempt), &mut connection, body).await?;
        if is_over {
            self.client.keep(to, connection, &self.bounds);
        }
        Ok(status)
    }

    /// Sends the body while the response is awaited, and reads that; its status, and whether
    /// nothing is left of either.
    async fn talk(
        &self,
        (to, attempt): (Try<'_>, &Attempt<'_>),
        connection: &mut Connection,
        body: &[u8],
    ) -> Result<(u16, bool), Error> {
        let (mut sink, mut source) = connection.halves();
        let answer = pin!(async {
            let mut response = ResponseHead::default();
            let most = self.bounds.head_bytes_max;
            let wait = to.bound().map_or(self.first_byte, |bound| bound.min(self.first_byte));
            read_final_head(&mut source, &self.head.method, wait, most, &mut response).await?;
            let status = response.status;
            attempt.answered(status);
            to.answered(status);
            if to.passes_over(status) && self.head.method.is_idempotent() {
                return Err(Error::Unavailable(status));
            }
            let mut read = 0;
            while let Some(chunk) = source.next().await? {
                read += chunk.len();
                self.client.buffers().give(chunk.into_parts().0);
                if read > MIRRORED_ANSWER_BYTES_MAX {
                    return Ok((status, false));
                }
            }
            Ok((status, true))
        });
        let pump = pin!(relay::send(body, &mut sink, self.client.buffers()));
        let mut alongside = Alongside::new(pump);
        let (status, is_read) = alongside.run(answer).await?;
        Ok((status, is_read && alongside.is_complete()))
    }
}

/// Where a body goes that plugins have passed, kept for a copy as it goes by.
pub(super) struct Copying<'a, K> {
    sink: &'a mut K,
    copy: Option<Box<Copy>>,
    bytes: Vec<u8>,
    held: Held,
}

impl<'a, K> Copying<'a, K> {
    /// To this sink, and to a copy if there is one.
    pub(super) fn new(sink: &'a mut K, copy: Option<Box<Copy>>) -> Self {
        let held = copy.as_ref().map(|copy| copy.held()).unwrap_or_default();
        Self { sink, copy, bytes: Vec::new(), held }
    }

    fn keep(&mut self, piece: &[u8]) {
        let Some(copy) = self.copy.take() else { return };
        let most = MIRRORED_BODY_BYTES_MAX;
        let has_room = self.bytes.len() + piece.len() <= most
            && self.held.make_room(&mut self.bytes, piece.len(), most).is_ok();
        if !has_room {
            self.held.give_back(std::mem::take(&mut self.bytes));
            return copy.send(None);
        }
        self.bytes.extend_from_slice(piece);
        self.copy = Some(copy);
    }
}

impl<K: BodySink> BodySink for Copying<'_, K> {
    async fn write(&mut self, chunk: Chunk) -> Result<(), Error> {
        self.keep(chunk.bytes());
        self.sink.write(chunk).await
    }

    async fn copy(&mut self, piece: &[u8], pool: &BufferPool) -> Result<(), Error> {
        self.keep(piece);
        self.sink.copy(piece, pool).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.sink.flush().await
    }

    async fn finish(&mut self, trailers: &Fields) -> Result<(), Error> {
        if let Some(copy) = self.copy.take() {
            copy.send(Some(&self.bytes));
        }
        self.sink.finish(trailers).await
    }
}
