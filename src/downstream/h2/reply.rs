//! The response of a stream.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::shared::Shared;
use crate::error::Error;
use crate::exchange::{Reply, Tunnel};
use crate::http::grpc::GrpcStatus;
use crate::http::h2::head;
use crate::http::h2::incoming::Incoming;
use crate::http::message::{Fields, Method, RequestHead, ResponseHead};
use crate::http::relay::BodySink;
use crate::http::upgrade::TunnelSink;
use crate::io::buffer::Chunk;
use crate::io::deadline::{Timer, now_ms};
use crate::limits::{LATE_MESSAGE_TIMEOUT, STREAM_QUEUE_BYTES};

/// The response, to a stream.
pub(super) struct StreamReply {
    shared: Rc<Shared>,
    incoming: Rc<Incoming>,
    /// The head as a field block, until something is written.
    block: Vec<u8>,
    expects_continue: bool,
    /// The client sent HEAD: the response ends with its head.
    is_head: bool,
    /// The client speaks gRPC.
    is_grpc: bool,
    grpc_status: Option<GrpcStatus>,
    has_started: bool,
    /// The first piece of the body, until something is written: what breaks off at once can still
    /// be taken back.
    first: Option<Chunk>,
    /// The head has been given to the connection.
    has_written: bool,
    body_bytes: u64,
    write_timeout: Duration,
    /// When all must be written.
    expires_ms: u64,
    /// Made by the first wait.
    timer: Option<Timer>,
    /// What goes on when the exchange is over.
    pub(super) tunnel: Option<Box<Tunnel>>,
}

impl StreamReply {
    pub(super) fn new(
        shared: &Rc<Shared>,
        incoming: &Rc<Incoming>,
        expects_continue: bool,
        request: &RequestHead,
    ) -> Self {
        Self {
            shared: shared.clone(),
            incoming: incoming.clone(),
            block: Vec::new(),
            expects_continue,
            is_head: request.method == Method::Head,
            is_grpc: head::is_grpc(&request.fields),
            grpc_status: None,
            has_started: false,
            first: None,
            has_written: false,
            body_bytes: 0,
            write_timeout: shared.frontend.core.snapshot().timeouts.body,
            expires_ms: u64::MAX,
            timer: None,
            tunnel: None,
        }
    }

    /// A tunnel begins: a step of what is written may take so long.
    pub(super) fn begin_raw(&mut self, stall: Duration) {
        self.expires_ms = u64::MAX;
        self.write_timeout = stall;
    }

    fn check(&self) -> Result<(), Error> {
        if self.incoming.is_reset() { Err(Error::DownstreamGone) } else { Ok(()) }
    }

    /// Gives the head to the connection, if that has not it yet.
    fn write_head(&mut self, ends: bool) {
        if !self.has_written {
            self.has_written = true;
            let late_ms = now_ms().saturating_add(LATE_MESSAGE_TIMEOUT.as_millis() as u64);
            self.expires_ms = self.expires_ms.max(late_ms);
            let (id, mut codec) = (self.incoming.id.get(), self.shared.codec.borrow_mut());
            codec.send_head(id, &self.block, ends);
            if let Some(first) = self.first.take() {
                codec.queue(id, first);
            }
            self.block.clear();
        }
    }

    /// Waits until `most` bytes or fewer wait for the peer's windows; `None`: until all of the
    /// response is under way. The peer may take its time, but not stop.
    async fn until_sent(&mut self, most: Option<usize>) -> Result<(), Error> {
        let Self { shared, incoming, timer, write_timeout, expires_ms, .. } = self;
        let id = incoming.id.get();
        let (mut queued, mut is_armed) = (usize::MAX, false);
        let outcome = std::future::poll_fn(|cx| {
            let codec = shared.codec.borrow();
            let left = codec.queued(id);
            let is_sent = most.map_or_else(|| codec.is_sent(id), |most| left <= most);
            if incoming.is_reset() {
                return Poll::Ready(Err(Error::DownstreamGone));
            }
            if is_sent {
                return Poll::Ready(Ok(()));
            }
            let timer = timer.get_or_insert_with(|| shared.frontend.core.deadlines().timer());
            if left < queued {
                (queued, is_armed) = (left, true);
                let stalls_ms = now_ms().saturating_add(write_timeout.as_millis() as u64);
                timer.arm_at(stalls_ms.min(*expires_ms));
            }
            if timer.poll_fired(cx) {
                return Poll::Ready(Err(Error::DownstreamGone));
            }
            incoming.wakes(cx);
            Poll::Pending
        })
        .await;
        if is_armed && let Some(timer) = timer {
            timer.disarm();
        }
        outcome
    }
}

impl Reply for StreamReply {
    fn bound(&mut self, expires_ms: u64) {
        self.expires_ms = expires_ms;
    }

    fn head(&mut self, head: &ResponseHead, has_body: bool, _keep_alive: bool) {
        debug_assert!(!self.has_started);
        self.has_started = true;
        self.block.clear();
        head::response_head(head, has_body, &mut self.block);
        if self.is_grpc {
            self.grpc_status = GrpcStatus::of(&head.fields);
        }
    }

    async fn switch(&mut self, head: &ResponseHead, _protocol: &str) -> Result<(), Error> {
        self.head(head, false, true);
        self.flush().await
    }

    fn keep_tunnel(&mut self, tunnel: Box<Tunnel>) {
        self.tunnel = Some(tunnel);
    }

    fn tunnel(&mut self) -> Option<&mut Tunnel> {
        self.tunnel.as_deref_mut()
    }

    async fn interim(&mut self, head: &ResponseHead) -> Result<(), Error> {
        self.check()?;
        let mut block = Vec::new();
        head::interim_head(head, &mut block);
        self.shared.codec.borrow_mut().send_head(self.incoming.id.get(), &block, false);
        self.shared.kick();
        Ok(())
    }

    async fn invite_body(&mut self) -> Result<(), Error> {
        if !std::mem::take(&mut self.expects_continue) {
            return Ok(());
        }
        self.interim(&ResponseHead { status: 100, ..ResponseHead::default() }).await
    }

    fn awaits_invitation(&self) -> bool {
        self.expects_continue
    }

    fn has_body(&self, head: &ResponseHead) -> bool {
        !self.is_head && head.permits_body()
    }

    fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    fn grpc_status(&self) -> Option<GrpcStatus> {
        self.grpc_status
    }

    fn has_started(&self) -> bool {
        self.has_started
    }

    fn take_back(&mut self) -> bool {
        if self.has_written {
            return false;
        }
        self.has_started = false;
        self.grpc_status = None;
        self.first = None;
        self.block.clear();
        self.body_bytes = 0;
        true
    }

    fn body_bytes(&self) -> u64 {
        if self.has_started { self.body_bytes } else { 0 }
    }
}

impl BodySink for StreamReply {
    async fn write(&mut self, chunk: Chunk) -> Result<(), Error> {
        self.check()?;
        self.body_bytes += chunk.len() as u64;
        if !self.has_written && self.first.is_none() {
            self.first = Some(chunk);
            return Ok(());
        }
        self.write_head(false);
        let id = self.incoming.id.get();
        {
            let mut codec = self.shared.codec.borrow_mut();
            if codec.queued(id) > 0 {
                codec.flush(id);
            }
            codec.queue(id, chunk);
        }
        if self.shared.codec.borrow().queued(id) > STREAM_QUEUE_BYTES {
            self.flush().await?;
            self.until_sent(Some(STREAM_QUEUE_BYTES)).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.check()?;
        if self.has_started {
            self.write_head(false);
            self.shared.codec.borrow_mut().flush(self.incoming.id.get());
            self.shared.kick();
        }
        Ok(())
    }

    async fn finish(&mut self, trailers: &Fields) -> Result<(), Error> {
        self.check()?;
        let id = self.incoming.id.get();
        if !self.has_written && self.first.is_none() && trailers.is_empty() {
            self.write_head(true);
        } else {
            self.write_head(false);
            if self.is_grpc {
                self.grpc_status = GrpcStatus::of(trailers).or(self.grpc_status);
            }
            let mut block = Vec::new();
            head::trailers(trailers, &mut block);
            let trailers = (!block.is_empty()).then_some(block);
            self.shared.codec.borrow_mut().finish(id, trailers);
        }
        self.shared.kick();
        self.until_sent(None).await
    }
}

impl TunnelSink for StreamReply {
    async fn write_raw(&mut self, chunk: Chunk) -> Result<(), Error> {
        self.write(chunk).await
    }

    async fn flush_raw(&mut self) -> Result<(), Error> {
        self.flush().await
    }

    async fn end_raw(&mut self) -> Result<(), Error> {
        self.finish(&Fields::new()).await
    }
}
