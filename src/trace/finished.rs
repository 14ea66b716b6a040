//! A sampled exchange that has ended, as it crosses to the control thread: names in place of
//! references, every text cut.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::context::{Context, SpanId};
use super::notes::PluginEnd;
use crate::http::connection::{Protocol, Scheme};
use crate::http::message::Method;
use crate::limits::TRACE_TEXT_BYTES_MAX;

/// An exchange.
#[derive(Debug)]
pub struct Finished {
    /// Its trace, and its own span.
    pub context: Context,
    /// The `tracestate` it came with and was sent on with; empty: none.
    pub tracestate: String,
    /// When its head had come.
    pub started: SystemTime,
    /// To the end of the response.
    pub took: Duration,
    /// As the client sent it, a method's token.
    pub method: String,
    /// As the client sent it.
    pub path: String,
    /// As the client sent it, but for its values, which may be secrets.
    pub query: String,
    /// The host that was asked for.
    pub authority: String,
    /// `User-Agent`.
    pub user_agent: String,
    /// The client.
    pub client: IpAddr,
    /// How it came.
    pub scheme: Scheme,
    /// What its connection speaks.
    pub protocol: Protocol,
    /// The TLS of its connection; empty: none.
    pub tls_version: &'static str,
    /// `X-Request-Id`.
    pub request_id: String,
    /// The service; empty: none was found.
    pub service: String,
    /// The service's base path.
    pub route: String,
    /// What was sent; 0: the client had gone.
    pub status: u16,
    /// Why it failed.
    pub error: Option<&'static str>,
    /// The worker that served it.
    pub worker: usize,
    /// What it was made of, in the order of the beginnings.
    pub parts: Vec<Part>,
    /// Parts beyond [`crate::limits::TRACE_SPANS_MAX`].
    pub parts_dropped: u32,
}

/// A part of an exchange.
#[derive(Debug)]
pub struct Part {
    /// Its span.
    pub span: SpanId,
    /// From the exchange's start to its own.
    pub since: Duration,
    /// How long it took.
    pub took: Duration,
    /// What it was.
    pub kind: PartKind,
}

/// What a part of an exchange was.
#[derive(Debug)]
pub enum PartKind {
    /// A plugin's call.
    Plugin {
        /// The plugin's name.
        name: String,
        /// Its type.
        kind: &'static str,
        /// In which phase.
        phase: &'static str,
        /// How it ended.
        end: PluginEnd,
    },
    /// A request to an endpoint, up to the head of its response.
    Attempt {
        /// The asked service.
        service: String,
        /// `http` or `https`.
        scheme: &'static str,
        /// The endpoint.
        authority: String,
        /// The method, `_OTHER` for one that is not registered.
        method: &'static str,
        /// Path and query, the query without its values.
        target: String,
        /// Counts the tries of one request, from 1.
        number: usize,
        /// Whether the connection had served another request before.
        is_reused: bool,
        /// The response's; 0: there was none.
        status: u16,
        /// Why it failed.
        error: Option<&'static str>,
    },
}

/// The method by the names that telemetry knows.
pub fn known_method(method: &Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Options => "OPTIONS",
        Method::Patch => "PATCH",
        Method::Trace => "TRACE",
        Method::Connect => "CONNECT",
        Method::Other(_) => "_OTHER",
    }
}

/// A text as it is exported: cut.
pub fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TRACE_TEXT_BYTES_MAX)].to_owned()
}

/// Path and query as they are exported: the names of the query without their values.
pub fn target(path: &str, query: &str) -> String {
    let mut text = cut(path);
    if let Some(query) = query.strip_prefix('?') {
        text.push('?');
        push_names(query, &mut text);
    }
    text
}

/// A query (without its `?`) as it is exported.
pub fn names(query: &str) -> String {
    let mut text = String::new();
    push_names(query, &mut text);
    text
}

/// Values of a query are where applications put tokens, mail addresses and the like; the names
/// alone tell one kind of request from another.
fn push_names(query: &str, out: &mut String) {
    let end = out.len() + TRACE_TEXT_BYTES_MAX;
    for (index, pair) in query.split('&').enumerate() {
        let name = pair.split_once('=').map(|(name, _)| name);
        // What has no `=` may be a value itself.
        let name = name.map_or("", |name| name);
        if out.len() + name.len() + "&=REDACTED".len() > end {
            return;
        }
        if index > 0 {
            out.push('&');
        }
        if !name.is_empty() {
            out.push_str(name);
            out.push('=');
        }
        out.push_str("REDACTED");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_told_by_its_names_alone() {
        for (query, told) in [
            ("?a=1&token=s3cret", "/p?a=REDACTED&token=REDACTED"),
            ("?s3cret", "/p?REDACTED"),
            ("?", "/p?REDACTED"),
            ("?a=s3=cret&=s3cret&b=", "/p?a=REDACTED&REDACTED&b=REDACTED"),
            ("", "/p"),
        ] {
            assert_eq!(target("/p", query), told, "{query}");
        }
        assert_eq!(names("a=1"), "a=REDACTED");
    }

    #[test]
    fn no_text_is_longer_than_its_limit() {
        let long = "\u{e9}".repeat(TRACE_TEXT_BYTES_MAX);
        assert!(cut(&long).len() <= TRACE_TEXT_BYTES_MAX);
        let query = "name=value&".repeat(TRACE_TEXT_BYTES_MAX);
        assert!(names(&query).len() <= TRACE_TEXT_BYTES_MAX);
    }
}
