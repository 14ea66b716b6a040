//! A way to send one request to an endpoint and to read its response, whatever version is spoken.

use std::time::Duration;

use super::{h1, h2};
use crate::error::Error;
use crate::http::message::{Fields, Method, RequestHead, ResponseHead};
use crate::http::relay::{BodySink, BodySource};
use crate::http::upgrade::{TunnelSink, TunnelSource};
use crate::io::buffer::{BufferPool, Chunk};

/// A connection that is there for one request.
#[derive(Debug)]
pub enum Connection {
    /// Of HTTP/1, for this request alone.
    Http1(Box<h1::Connection>),
    /// A stream of HTTP/2.
    Http2(Box<h2::Lease>),
}

/// The half that a request goes out by.
#[derive(Debug)]
pub enum RequestSink<'a> {
    /// Of HTTP/1.
    Http1(&'a mut h1::RequestSink),
    /// Of HTTP/2.
    Http2(&'a mut h2::RequestSink),
}

/// The half that a response comes in by.
#[derive(Debug)]
pub enum ResponseSource<'a> {
    /// Of HTTP/1.
    Http1(&'a mut h1::ResponseSource),
    /// Of HTTP/2.
    Http2(&'a mut h2::ResponseSource),
}

impl Connection {
    /// Prepares for a request, which must be answered whole before `expires_ms`; its bodies may
    /// stand still for `body_timeout`.
    pub fn begin(&mut self, expires_ms: u64, body_timeout: Duration) {
        match self {
            Self::Http1(connection) => connection.begin(expires_ms, body_timeout),
            Self::Http2(lease) => lease.begin(expires_ms, body_timeout),
        }
    }

    /// Encodes a request head, to be written with what follows. The fields of `set` stand in the
    /// place of those of their names.
    pub fn head(&mut self, head: &RequestHead, authority: &str, path: &str, set: &Fields) {
        match self {
            Self::Http1(connection) => connection.request.head(head, authority, path, set),
            Self::Http2(lease) => lease.request.head(head, authority, path, set),
        }
    }

    /// Whether it is one of HTTP/2.
    pub fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Whether the origin can be asked to go on with another protocol. By HTTP/2 it must have said
    /// so first (RFC 8441 section 3), for which it has so long.
    pub async fn may_switch(&mut self, patience: Duration) -> Result<bool, Error> {
        match self {
            Self::Http1(_) => Ok(true),
            Self::Http2(lease) => lease.takes_connect(patience).await,
        }
    }

    /// Sends a request that asks to go on with another protocol.
    pub async fn ask_to_switch(
        &mut self,
        head: &RequestHead,
        authority: &str,
        path: &str,
        protocol: &str,
    ) -> Result<(), Error> {
        match self {
            Self::Http1(connection) => {
                connection.request.upgrade_head(head, authority, path, protocol);
                let _shown_by_the_answer = connection.request.finish(&Fields::new()).await;
                Ok(())
            }
            Self::Http2(lease) => {
                lease.connect_head(head, authority, path, protocol);
                lease.request.flush().await
            }
        }
    }

    /// Goes on with another protocol. A step of what is written may take so long.
    pub fn begin_raw(&mut self, stall: Duration) {
        match self {
            Self::Http1(connection) => connection.begin_raw(stall),
            Self::Http2(lease) => lease.begin(u64::MAX, stall),
        }
    }

    /// Both halves.
    pub fn halves(&mut self) -> (RequestSink<'_>, ResponseSource<'_>) {
        match self {
            Self::Http1(connection) => {
                let h1::Connection { request, response, .. } = &mut **connection;
                (RequestSink::Http1(request), ResponseSource::Http1(response))
            }
            Self::Http2(lease) => {
                let h2::Lease { request, response, .. } = &mut **lease;
                (RequestSink::Http2(request), ResponseSource::Http2(response))
            }
        }
    }

    /// Whether the request went out no further because the origin did not take it.
    pub fn is_stalled(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.request.is_stalled(),
            Self::Http2(lease) => lease.request.is_stalled(),
        }
    }

    /// What may carry another request, given that this one was sent whole and answered. (A
    /// connection of HTTP/2 stays where it is.)
    pub fn into_reusable(self) -> Option<Box<h1::Connection>> {
        match self {
            Self::Http1(connection) if connection.is_reusable() => Some(connection),
            _ => None,
        }
    }
}

impl ResponseSource<'_> {
    /// Reads a response head, interim ones (1xx) included; the body is next. `wait` counts from the
    /// end of the request.
    pub async fn read_head(
        &mut self,
        method: &Method,
        wait: Duration,
        bytes_max: usize,
        into: &mut ResponseHead,
    ) -> Result<(), Error> {
        match self {
            Self::Http1(source) => source.read_head(method, wait, bytes_max, into).await,
            Self::Http2(source) => source.read_head(method, wait, into).await,
        }
    }
}

impl BodySource for ResponseSource<'_> {
    fn is_ready(&self) -> bool {
        match self {
            Self::Http1(source) => source.is_ready(),
            Self::Http2(source) => source.is_ready(),
        }
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        match self {
            Self::Http1(source) => source.next().await,
            Self::Http2(source) => source.next().await,
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Http1(source) => source.is_done(),
            Self::Http2(source) => source.is_done(),
        }
    }

    fn trailers(&self) -> &Fields {
        match self {
            Self::Http1(source) => source.trailers(),
            Self::Http2(source) => source.trailers(),
        }
    }
}

impl BodySink for RequestSink<'_> {
    async fn copy(&mut self, piece: &[u8], pool: &BufferPool) -> Result<(), Error> {
        match self {
            Self::Http1(sink) => sink.copy(piece, pool).await,
            Self::Http2(sink) => sink.copy(piece, pool).await,
        }
    }

    async fn write(&mut self, chunk: Chunk) -> Result<(), Error> {
        match self {
            Self::Http1(sink) => sink.write(chunk).await,
            Self::Http2(sink) => sink.write(chunk).await,
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        match self {
            Self::Http1(sink) => sink.flush().await,
            Self::Http2(sink) => sink.flush().await,
        }
    }

    async fn finish(&mut self, trailers: &Fields) -> Result<(), Error> {
        match self {
            Self::Http1(sink) => sink.finish(trailers).await,
            Self::Http2(sink) => sink.finish(trailers).await,
        }
    }
}

impl TunnelSource for ResponseSource<'_> {
    fn has_raw(&self) -> bool {
        match self {
            Self::Http1(source) => source.has_raw(),
            Self::Http2(source) => source.is_ready(),
        }
    }

    async fn next_raw(&mut self) -> Result<Option<Chunk>, Error> {
        match self {
            Self::Http1(source) => source.next_raw().await,
            Self::Http2(source) => source.next_raw().await,
        }
    }
}

impl TunnelSink for RequestSink<'_> {
    async fn write_raw(&mut self, chunk: Chunk) -> Result<(), Error> {
        match self {
            Self::Http1(sink) => sink.write_raw(chunk).await,
            Self::Http2(sink) => sink.write(chunk).await,
        }
    }

    async fn flush_raw(&mut self) -> Result<(), Error> {
        match self {
            Self::Http1(sink) => sink.flush_raw().await,
            Self::Http2(sink) => sink.flush().await,
        }
    }

    async fn end_raw(&mut self) -> Result<(), Error> {
        match self {
            Self::Http1(sink) => sink.end_raw().await,
            Self::Http2(sink) => sink.finish(&Fields::new()).await,
        }
    }
}
