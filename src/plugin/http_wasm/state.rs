//! What a store holds for a handler: the messages of the exchange that its instance serves.

use std::net::{IpAddr, Ipv4Addr};

use super::super::chain::MessageBounds;
use crate::http::message::{Fields, RequestHead, ResponseHead};

/// `buffer_request`, `buffer_response` (bits of `enable_features`). Trailers are not kept for
/// handlers: a handler that asks for them is told that it has none.
pub(super) const FEATURES: u32 = 3;
/// The bit of `buffer_response`.
pub(super) const BUFFER_RESPONSE: u32 = 2;

/// One body, as it is read and written.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// How far it has been read.
    pub(super) read: usize,
    /// What has been written in its place.
    pub(super) written: Option<Vec<u8>>,
}

/// See the module's text.
#[derive(Debug)]
pub(in crate::plugin) struct State {
    /// What is enabled for every exchange, and for this one.
    pub(super) features: u32,
    pub(super) features_now: u32,
    /// The service has been asked: the request cannot be changed any more.
    pub(super) is_after: bool,
    pub(super) request: RequestHead,
    /// The service's response; before it is asked, what the handler answers with.
    pub(super) response: ResponseHead,
    pub(super) request_is_changed: bool,
    pub(super) response_is_changed: bool,
    pub(super) request_body: Body,
    pub(super) response_body: Body,
    pub(super) source: String,
    pub(super) protocol: &'static str,
    pub(super) scheme: &'static str,
    pub(super) bounds: MessageBounds,
}

impl Default for State {
    fn default() -> Self {
        Self {
            features: 0,
            features_now: 0,
            is_after: false,
            request: RequestHead::default(),
            response: ResponseHead::default(),
            request_is_changed: false,
            response_is_changed: false,
            request_body: Body::default(),
            response_body: Body::default(),
            source: IpAddr::V4(Ipv4Addr::UNSPECIFIED).to_string(),
            protocol: "HTTP/1.1",
            scheme: "http",
            bounds: MessageBounds::DEFAULT,
        }
    }
}

impl State {
    /// The fields of a kind: 0 request, 1 response; trailers (2, 3) there are none.
    pub(super) fn fields(&self, kind: i32) -> Option<&Fields> {
        static NONE: Fields = Fields::new();
        match kind {
            0 => Some(&self.request.fields),
            1 => Some(&self.response.fields),
            2 | 3 => Some(&NONE),
            _ => None,
        }
    }
}
