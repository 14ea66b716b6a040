//! What a store holds for a handler: the messages of the exchange that its instance serves.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use send_wrapper::SendWrapper;

use super::super::chain::{Feed, MessageBounds};
use crate::http::message::{Fields, RequestHead, ResponseHead};

/// `buffer_request`, `buffer_response`, `trailers` (bits of `enable_features`).
pub(super) const FEATURES: u32 = 7;
/// The bit of `buffer_request`.
pub(super) const BUFFER_REQUEST: u32 = 1;
/// The bit of `buffer_response`.
pub(super) const BUFFER_RESPONSE: u32 = 2;
/// The bit of `trailers`.
pub(super) const TRAILERS: u32 = 4;

/// One body, as it is read and written, and its trailers.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// Where it is read; nowhere before there is one.
    pub(super) feed: Option<SendWrapper<Rc<Feed>>>,
    /// Whether the handler may read it.
    pub(super) is_readable: bool,
    /// What is read goes on all the same.
    pub(super) is_kept: bool,
    /// Something was read, and does not go on.
    pub(super) is_used: bool,
    /// What has been written in its place.
    pub(super) written: Option<Vec<u8>>,
}

impl Body {
    /// A body that is read there.
    pub(super) fn of(feed: &Rc<Feed>, is_readable: bool, is_kept: bool) -> Self {
        let feed = Some(SendWrapper::new(Rc::clone(feed)));
        Self { feed, is_readable, is_kept, ..Self::default() }
    }
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
    /// The fields of a kind: 0 request, 1 response; their trailers (2, 3), if the handler has
    /// enabled them.
    pub(super) fn fields(&self, kind: i32) -> Option<Cow<'_, Fields>> {
        Some(match kind {
            0 => Cow::Borrowed(&self.request.fields),
            1 => Cow::Borrowed(&self.response.fields),
            2 | 3 => match self.feed(kind) {
                Some(feed) if self.features_now & TRAILERS != 0 => Cow::Owned(feed.trailers()),
                _ => Cow::Owned(Fields::new()),
            },
            _ => return None,
        })
    }

    /// Where the trailers of a kind are.
    pub(super) fn feed(&self, kind: i32) -> Option<&Feed> {
        let body = if kind == 2 { &self.request_body } else { &self.response_body };
        body.feed.as_deref().map(Rc::as_ref)
    }
}
