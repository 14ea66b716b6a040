//! Reads what an answer has left of its request's body, so that the client gets to see the answer.
//!
//! A connection that is closed while bytes of the client are on their way is reset, and who is
//! told 401 or 413 in the middle of an upload would be told "connection reset" instead (RFC 9112,
//! 9.6). A short rest costs the connection nothing: the next request may follow.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use crate::limits::{
    ADMIN_BODY_TIMEOUT, ADMIN_LINGER_BYTES_MAX, ADMIN_LINGER_TIMEOUT, ADMIN_STALL_TIMEOUT,
};

/// Answers, then reads on in a task of its own.
pub(super) async fn linger(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    // Who asks whether to send the body has not sent it, and will not after a refusal.
    let asks_first = parts.headers.contains_key(header::EXPECT);
    let (giver, mut rest) = oneshot::channel();
    let lent = Lent {
        body,
        was_read: false,
        giver: Some(giver),
        stall: Box::pin(tokio::time::sleep(ADMIN_STALL_TIMEOUT)),
        ends: Instant::now() + ADMIN_BODY_TIMEOUT,
    };
    let mut response = next.run(Request::from_parts(parts, Body::new(lent))).await;
    let Ok((body, was_read)) = rest.try_recv() else {
        return response;
    };
    let is_asked_for = was_read || !asks_first;
    if !is_asked_for || body.size_hint().lower() > ADMIN_LINGER_BYTES_MAX {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if is_asked_for {
        tokio::spawn(tokio::time::timeout(ADMIN_LINGER_TIMEOUT, discard(body)));
    }
    response
}

async fn discard(mut body: Body) {
    let mut left = ADMIN_LINGER_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match left.checked_sub(bytes) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// A request's body that comes back when its reader drops it before its end.
struct Lent {
    body: Body,
    was_read: bool,
    giver: Option<oneshot::Sender<(Body, bool)>>,
    /// Until the next bytes have to be there.
    stall: Pin<Box<Sleep>>,
    /// When all have to be there.
    ends: Instant,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.was_read = true;
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            let next = (Instant::now() + ADMIN_STALL_TIMEOUT).min(self.ends);
            self.stall.as_mut().reset(next);
            return frame;
        }
        // Who sends one byte now and then holds a place that others want.
        std::task::ready!(self.stall.as_mut().poll(context));
        Poll::Ready(Some(Err(axum::Error::new("the body took too long"))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let giver = self.giver.take().filter(|_| !self.body.is_end_stream());
        if let Some(giver) = giver {
            // Nobody takes it if the answer was given up.
            let _ = giver.send((std::mem::take(&mut self.body), self.was_read));
        }
    }
}
