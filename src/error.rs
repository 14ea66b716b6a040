//! What can go wrong in one exchange, as values: a kind, and from it the status, the words for the
//! client, the label for metrics and whether another try is allowed. One match each.
//!
//! Data plane only: `Copy`, no allocation. The control plane reports with its own error types.

use std::fmt;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client sent what cannot be served, or went away.
    Downstream,
    /// The origin failed or misbehaved.
    Upstream,
    /// The gateway has no way to serve the request.
    Gateway,
}

/// Why an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A request head that RFC 9112 forbids or that two readers could read differently.
    BadRequest(&'static str),
    /// A transfer coding that is not `chunked`.
    UnsupportedCoding,
    /// A content coding of the request body that plugins, who are to read it, could not; those
    /// that they can.
    UnsupportedContentCoding(&'static str),
    /// A method that a gateway does not proxy (CONNECT).
    UnsupportedMethod,
    /// TRACE: whoever sent it would be shown what the origin alone is to see.
    TraceRefused,
    /// The request has come back to this gateway more often than that can be meant.
    Loop,
    /// An HTTP version that is neither 1.0 nor 1.1.
    UnsupportedVersion,
    /// An `Expect` other than `100-continue`.
    UnsupportedExpectation,
    /// The request target is over `limits.uriBytesMax`.
    UriTooLong,
    /// The request head is over `limits.headBytesMax` or `limits.headFieldsMax`.
    HeadTooLarge,
    /// The request body is over `limits.bodyBytesMax`, or `limits.pluginBodyBytesMax` if collected.
    BodyTooLarge,
    /// The framing of the request body is broken.
    BadRequestBody(&'static str),
    /// The request head did not arrive within `timeouts.head`.
    HeadTimeout,
    /// No byte of the request body arrived within `timeouts.body`.
    BodyTimeout,
    /// The client closed or reset its connection, or stopped reading.
    DownstreamGone,
    /// No service matches the path.
    NoRoute,
    /// The service has no endpoint to send to.
    NoEndpoint,
    /// The targets have as many requests as they may have, and so has their queue.
    UpstreamBusy,
    /// The bodies that this worker holds are over `limits.bufferedBytesMax`.
    OverBudget,
    /// No connection to the endpoint: refused, unreachable.
    ConnectFailed,
    /// No connection to the endpoint within `timeouts.connect`.
    ConnectTimeout,
    /// No TLS with the endpoint: its certificate, or the handshake.
    TlsFailed(&'static str),
    /// The origin closed or reset the connection before its response was whole.
    UpstreamGone,
    /// The origin closed a connection that had been idle, before the first byte of its response:
    /// the request has most likely not been seen.
    UpstreamStale,
    /// The origin's response head is malformed, too large or ambiguous.
    BadResponse(&'static str),
    /// The framing of the response body is broken.
    BadResponseBody(&'static str),
    /// The response body is over what may be collected for plugins.
    ResponseTooLarge,
    /// The origin did not answer within `timeouts.firstByte` or the service's `timeout`.
    UpstreamTimeout,
}

impl Error {
    /// Whose fault it is.
    pub fn side(self) -> Side {
        match self {
            Self::BadRequest(_)
            | Self::UnsupportedCoding
            | Self::UnsupportedContentCoding(_)
            | Self::UnsupportedMethod
            | Self::UnsupportedVersion
            | Self::UnsupportedExpectation
            | Self::UriTooLong
            | Self::HeadTooLarge
            | Self::BodyTooLarge
            | Self::BadRequestBody(_)
            | Self::HeadTimeout
            | Self::BodyTimeout
            | Self::DownstreamGone => Side::Downstream,
            Self::NoRoute
            | Self::NoEndpoint
            | Self::UpstreamBusy
            | Self::OverBudget
            | Self::TraceRefused
            | Self::Loop => Side::Gateway,
            Self::ConnectFailed
            | Self::ConnectTimeout
            | Self::TlsFailed(_)
            | Self::UpstreamGone
            | Self::UpstreamStale
            | Self::BadResponse(_)
            | Self::BadResponseBody(_)
            | Self::ResponseTooLarge
            | Self::UpstreamTimeout => Side::Upstream,
        }
    }

    /// The status that tells the client (RFC 9110 section 15).
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest(_) | Self::BadRequestBody(_) | Self::DownstreamGone => 400,
            Self::NoRoute => 404,
            Self::TraceRefused => 405,
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::UriTooLong => 414,
            Self::UnsupportedContentCoding(_) => 415,
            Self::UnsupportedExpectation => 417,
            Self::HeadTooLarge => 431,
            Self::UnsupportedCoding | Self::UnsupportedMethod => 501,
            Self::ConnectFailed
            | Self::TlsFailed(_)
            | Self::UpstreamGone
            | Self::UpstreamStale
            | Self::BadResponse(_)
            | Self::BadResponseBody(_)
            | Self::ResponseTooLarge => 502,
            Self::NoEndpoint | Self::UpstreamBusy | Self::OverBudget => 503,
            Self::ConnectTimeout | Self::UpstreamTimeout => 504,
            Self::UnsupportedVersion => 505,
            Self::Loop => 508,
        }
    }

    /// A short closed-set label: metrics, access log.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::UnsupportedCoding => "unsupported_coding",
            Self::UnsupportedContentCoding(_) => "unsupported_content_coding",
            Self::UnsupportedMethod => "unsupported_method",
            Self::TraceRefused => "trace_refused",
            Self::Loop => "loop",
            Self::UnsupportedVersion => "unsupported_version",
            Self::UnsupportedExpectation => "unsupported_expectation",
            Self::UriTooLong => "uri_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::BodyTooLarge => "body_too_large",
            Self::BadRequestBody(_) => "bad_request_body",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::DownstreamGone => "downstream_gone",
            Self::NoRoute => "no_route",
            Self::NoEndpoint => "no_endpoint",
            Self::UpstreamBusy => "upstream_busy",
            Self::OverBudget => "over_budget",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::TlsFailed(_) => "tls_failed",
            Self::UpstreamGone => "upstream_gone",
            Self::UpstreamStale => "upstream_stale",
            Self::BadResponse(_) => "bad_response",
            Self::BadResponseBody(_) => "bad_response_body",
            Self::ResponseTooLarge => "response_too_large",
            Self::UpstreamTimeout => "upstream_timeout",
        }
    }

    /// Whether there was no connection to send the request over: no origin has seen any of it.
    pub fn is_unsent(self) -> bool {
        matches!(self, Self::ConnectFailed | Self::ConnectTimeout | Self::TlsFailed(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::BadRequest(reason)
            | Self::BadRequestBody(reason)
            | Self::BadResponse(reason)
            | Self::BadResponseBody(reason)
            | Self::TlsFailed(reason) => reason,
            Self::UnsupportedCoding => "transfer coding is not supported, only chunked is",
            Self::UnsupportedContentCoding(_) => {
                "request body has a content coding that a plugin could not read; Accept-Encoding \
                 of this response names those that may be sent"
            }
            Self::UnsupportedMethod => "method CONNECT is not supported by this gateway",
            Self::TraceRefused => {
                "method TRACE is not allowed: its answer would show what the gateway tells origins"
            }
            Self::Loop => "request has come back to this gateway: a target leads here again",
            Self::UnsupportedVersion => "HTTP version is not supported, 1.0 and 1.1 are",
            Self::UnsupportedExpectation => "expectation is not supported, only 100-continue is",
            Self::UriTooLong => "request target is longer than server.limits.uriBytesMax",
            Self::HeadTooLarge => {
                "request head is over server.limits.headBytesMax or server.limits.headFieldsMax"
            }
            Self::BodyTooLarge => {
                "request body is over server.limits.bodyBytesMax or, where a plugin reads it, \
                 server.limits.pluginBodyBytesMax"
            }
            Self::HeadTimeout => "request head did not arrive within server.timeouts.head",
            Self::BodyTimeout => "request body stalled for longer than server.timeouts.body",
            Self::DownstreamGone => "client closed the connection",
            Self::NoRoute => "no service matches this path",
            Self::NoEndpoint => "service has no endpoint",
            Self::UpstreamBusy => {
                "too many requests are under way at the service's targets (services[].limits, \
                 server.limits.upstreamConnectionsMax), try again"
            }
            Self::OverBudget => {
                "too many bodies are held in memory (server.limits.bufferedBytesMax), try again"
            }
            Self::ConnectFailed => "cannot connect to the upstream endpoint",
            Self::ConnectTimeout => "no connection to the upstream endpoint in time",
            Self::UpstreamGone | Self::UpstreamStale => {
                "upstream closed the connection before its response was complete"
            }
            Self::ResponseTooLarge => {
                "response body is over server.limits.pluginBodyBytesMax and a plugin or an \
                 aggregation reads it"
            }
            Self::UpstreamTimeout => "upstream did not answer in time",
        })
    }
}

// An error is returned through every await of the request path: it must stay as cheap as a value.
const _: () = assert!(size_of::<Error>() <= 24);
