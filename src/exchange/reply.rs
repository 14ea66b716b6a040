//! What an exchange asks of the connection that its response goes to, whatever its version.

use super::Core;
use super::tunnel::Tunnel;
use crate::error::Error;
use crate::http::grpc::GrpcStatus;
use crate::http::message::{BodyLength, Fields, LocalResponse, ResponseHead};
use crate::http::relay::BodySink;
use crate::http::respond;
use crate::io::buffer::Chunk;
use crate::plugin::Verdict;

/// Where the response of one exchange goes.
pub trait Reply: BodySink {
    /// The response must be sent by then, by the clock of `deadline::now_ms`. One that begins late
    /// still has a moment.
    fn bound(&mut self, expires_ms: u64);
    /// Starts the response. `keep_alive`: nothing in the exchange speaks against another one on
    /// the same connection. Written with what follows.
    fn head(&mut self, head: &ResponseHead, has_body: bool, keep_alive: bool);
    /// Sends the response that says that what follows is of another protocol.
    fn switch(
        &mut self,
        head: &ResponseHead,
        protocol: &str,
    ) -> impl Future<Output = Result<(), Error>>;
    /// Keeps what goes on when the exchange is over, for who has the connection.
    fn keep_tunnel(&mut self, tunnel: Box<Tunnel>);
    /// What was kept.
    fn tunnel(&mut self) -> Option<&mut Tunnel>;
    /// Sends an interim (1xx) response.
    fn interim(&mut self, head: &ResponseHead) -> impl Future<Output = Result<(), Error>>;
    /// Tells a client that waits for it (`Expect: 100-continue`) to send the body.
    fn invite_body(&mut self) -> impl Future<Output = Result<(), Error>>;
    /// Whether the client still waits to be told.
    fn awaits_invitation(&self) -> bool;
    /// Whether a response of this head has a body for this client: the method that the client sent
    /// decides (RFC 9110 section 9.3.2), whatever a plugin has made of the request since.
    fn has_body(&self, head: &ResponseHead) -> bool;
    /// Whether `head` has been called.
    fn has_started(&self) -> bool;
    /// Takes the response back, if none has begun or nothing of it has been sent; whether another
    /// one may be given.
    fn take_back(&mut self) -> bool;
    /// Whether the client speaks gRPC: what the gateway says itself is said in its terms.
    fn is_grpc(&self) -> bool {
        false
    }
    /// The `grpc-status` that such a client was told, if it was.
    fn grpc_status(&self) -> Option<GrpcStatus> {
        None
    }
    /// Bytes of the response's body that were sent so far.
    fn body_bytes(&self) -> u64;
}

/// Sends a response that is whole in memory; its status.
pub(super) async fn send_local(
    worker: &Core,
    local: LocalResponse,
    keep_alive: bool,
    reply: &mut impl Reply,
) -> Result<u16, Error> {
    if reply.is_grpc() {
        return send_grpc(worker, local, keep_alive, reply).await;
    }
    let LocalResponse { status, fields, body } = local;
    let length = BodyLength::Known(body.len() as u64);
    let mut head = ResponseHead { status, fields, body: length, upgrade: None };
    if !head.fields.contains("date") {
        worker.with_date(|date| head.fields.push(b"Date", date));
    }
    let has_body = reply.has_body(&head);
    reply.head(&head, has_body, keep_alive);
    if has_body && !body.is_empty() {
        let end = body.len();
        reply.write(Chunk::new(body, 0..end)).await?;
    }
    reply.finish(&Fields::new()).await?;
    Ok(status)
}

/// The same to a client of gRPC: trailers, and nothing else.
#[cold]
async fn send_grpc(
    worker: &Core,
    local: LocalResponse,
    keep_alive: bool,
    reply: &mut impl Reply,
) -> Result<u16, Error> {
    let status = local.status;
    let LocalResponse { status: sent, fields, .. } = respond::grpc(local);
    let mut head = ResponseHead { status: sent, fields, ..ResponseHead::default() };
    if !head.fields.contains("date") {
        worker.with_date(|date| head.fields.push(b"Date", date));
    }
    reply.head(&head, false, keep_alive);
    reply.finish(&Fields::new()).await?;
    Ok(status)
}

/// What a chain answers in the place of the service, if it does.
pub(super) fn answer_of(verdict: Verdict) -> Result<Option<LocalResponse>, Error> {
    match verdict {
        Verdict::Continue => Ok(None),
        Verdict::Respond(local) => Ok(Some(local)),
        // As if the client had gone: it is not answered, and its connection ends.
        Verdict::Close => Err(Error::DownstreamGone),
    }
}
