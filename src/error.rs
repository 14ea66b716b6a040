//! What can go wrong in one exchange, as values: a kind, and from it the side, the status, the
//! words for the client, what counts it and whether another try is allowed. One match each, none
//! with a `_`: who adds a kind is asked for all of them.
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
    /// A WebSocket of another version than 13.
    UnsupportedWebSocket,
    /// A service that goes on with no other protocol, asked to do so by who can do without none.
    UpgradeRefused(&'static str),
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
    /// No byte of the request body arrived within `timeouts.body`, or too few of them, or not all
    /// within the service's `timeout`.
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
    /// The origin has said that it has not looked at the request (REFUSED_STREAM, a GOAWAY that
    /// leaves it out), or the connection could take no more when it was its turn.
    UpstreamRefused,
    /// The origin's response head is malformed, too large or ambiguous.
    BadResponse(&'static str),
    /// The framing of the response body is broken.
    BadResponseBody(&'static str),
    /// The response body is over what may be collected for plugins.
    ResponseTooLarge,
    /// The origin did not answer within `timeouts.firstByte` or the service's `timeout`.
    UpstreamTimeout,
    /// A plugin has ended the exchange, or has failed, while a body passed it.
    CutByPlugin,
    /// The origin has answered with a status, 500 or more, for which another one is asked
    /// (`services[].retry.on`), and none was left to ask.
    Unavailable(u16),
}

/// What counts an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// `odin_rejected_total`: the gateway has refused the request itself.
    Rejected(Rejection),
    /// `odin_upstream_errors_total`, at each try.
    Upstream(UpstreamFailure),
    /// Neither: the client went away, `odin_requests_total{status="none"}` where nothing was sent.
    Gone,
}

/// A closed set of labels: an enum, all its values in their order, and the label of each.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($value:ident = $label:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $(#[doc = concat!("`", $label, "`: see [`Error`].")] $value),+
        }

        impl $name {
            /// All of them: each stands at the place of its number.
            pub const ALL: [Self; [$(Self::$value),+].len()] = [$(Self::$value),+];

            /// The label.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $label),+
                }
            }
        }
    };
}

labels! {
    /// Why the gateway refused a request itself: the `reason` of `odin_rejected_total`.
    Rejection {
        BadRequest = "bad_request",
        UnsupportedCoding = "unsupported_coding",
        UnsupportedContentCoding = "unsupported_content_coding",
        UnsupportedMethod = "unsupported_method",
        UnsupportedVersion = "unsupported_version",
        UnsupportedExpectation = "unsupported_expectation",
        UnsupportedWebSocket = "unsupported_websocket",
        UpgradeRefused = "upgrade_refused",
        UriTooLong = "uri_too_long",
        HeadTooLarge = "head_too_large",
        BodyTooLarge = "body_too_large",
        BadRequestBody = "bad_request_body",
        HeadTimeout = "head_timeout",
        BodyTimeout = "body_timeout",
        NoRoute = "no_route",
        NoEndpoint = "no_endpoint",
        OverBudget = "over_budget",
        UpstreamBusy = "upstream_busy",
        TraceRefused = "trace_refused",
        Loop = "loop",
        CutByPlugin = "cut_by_plugin",
    }
}

labels! {
    /// How an endpoint failed: the `kind` of `odin_upstream_errors_total`.
    UpstreamFailure {
        ConnectFailed = "connect_failed",
        ConnectTimeout = "connect_timeout",
        TlsFailed = "tls_failed",
        UpstreamGone = "upstream_gone",
        UpstreamStale = "upstream_stale",
        UpstreamRefused = "upstream_refused",
        BadResponse = "bad_response",
        BadResponseBody = "bad_response_body",
        ResponseTooLarge = "response_too_large",
        UpstreamTimeout = "upstream_timeout",
        Unavailable = "unavailable",
    }
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
            | Self::UnsupportedWebSocket
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
            | Self::CutByPlugin
            | Self::UpgradeRefused(_)
            | Self::Loop => Side::Gateway,
            Self::ConnectFailed
            | Self::ConnectTimeout
            | Self::TlsFailed(_)
            | Self::UpstreamGone
            | Self::UpstreamStale
            | Self::UpstreamRefused
            | Self::BadResponse(_)
            | Self::BadResponseBody(_)
            | Self::ResponseTooLarge
            | Self::UpstreamTimeout
            | Self::Unavailable(_) => Side::Upstream,
        }
    }

    /// The status that tells the client (RFC 9110 section 15).
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest(_)
            | Self::BadRequestBody(_)
            | Self::UnsupportedWebSocket
            | Self::DownstreamGone => 400,
            Self::NoRoute => 404,
            Self::TraceRefused => 405,
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::UriTooLong => 414,
            Self::UnsupportedContentCoding(_) => 415,
            Self::UnsupportedExpectation => 417,
            Self::HeadTooLarge => 431,
            Self::UnsupportedCoding | Self::UnsupportedMethod | Self::UpgradeRefused(_) => 501,
            Self::ConnectFailed
            | Self::TlsFailed(_)
            | Self::UpstreamGone
            | Self::UpstreamStale
            | Self::UpstreamRefused
            | Self::BadResponse(_)
            | Self::BadResponseBody(_)
            | Self::ResponseTooLarge => 502,
            Self::NoEndpoint | Self::UpstreamBusy | Self::OverBudget | Self::CutByPlugin => 503,
            Self::ConnectTimeout | Self::UpstreamTimeout => 504,
            Self::UnsupportedVersion => 505,
            Self::Loop => 508,
            Self::Unavailable(status) => status,
        }
    }

    /// What counts it: the family of metrics, and the label there.
    pub fn counter(self) -> Counter {
        use {Rejection as R, UpstreamFailure as U};
        let (rejected, upstream) = (Counter::Rejected, Counter::Upstream);
        match self {
            Self::BadRequest(_) => rejected(R::BadRequest),
            Self::UnsupportedCoding => rejected(R::UnsupportedCoding),
            Self::UnsupportedContentCoding(_) => rejected(R::UnsupportedContentCoding),
            Self::UnsupportedMethod => rejected(R::UnsupportedMethod),
            Self::UnsupportedVersion => rejected(R::UnsupportedVersion),
            Self::UnsupportedExpectation => rejected(R::UnsupportedExpectation),
            Self::UnsupportedWebSocket => rejected(R::UnsupportedWebSocket),
            Self::UpgradeRefused(_) => rejected(R::UpgradeRefused),
            Self::UriTooLong => rejected(R::UriTooLong),
            Self::HeadTooLarge => rejected(R::HeadTooLarge),
            Self::BodyTooLarge => rejected(R::BodyTooLarge),
            Self::BadRequestBody(_) => rejected(R::BadRequestBody),
            Self::HeadTimeout => rejected(R::HeadTimeout),
            Self::BodyTimeout => rejected(R::BodyTimeout),
            Self::DownstreamGone => Counter::Gone,
            Self::NoRoute => rejected(R::NoRoute),
            Self::NoEndpoint => rejected(R::NoEndpoint),
            Self::OverBudget => rejected(R::OverBudget),
            Self::UpstreamBusy => rejected(R::UpstreamBusy),
            Self::TraceRefused => rejected(R::TraceRefused),
            Self::Loop => rejected(R::Loop),
            Self::CutByPlugin => rejected(R::CutByPlugin),
            Self::ConnectFailed => upstream(U::ConnectFailed),
            Self::ConnectTimeout => upstream(U::ConnectTimeout),
            Self::TlsFailed(_) => upstream(U::TlsFailed),
            Self::UpstreamGone => upstream(U::UpstreamGone),
            Self::UpstreamStale => upstream(U::UpstreamStale),
            Self::UpstreamRefused => upstream(U::UpstreamRefused),
            Self::BadResponse(_) => upstream(U::BadResponse),
            Self::BadResponseBody(_) => upstream(U::BadResponseBody),
            Self::ResponseTooLarge => upstream(U::ResponseTooLarge),
            Self::UpstreamTimeout => upstream(U::UpstreamTimeout),
            Self::Unavailable(_) => upstream(U::Unavailable),
        }
    }

    /// A short closed-set label: metrics, traces.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::UnsupportedCoding => "unsupported_coding",
            Self::UnsupportedContentCoding(_) => "unsupported_content_coding",
            Self::UnsupportedMethod => "unsupported_method",
            Self::TraceRefused => "trace_refused",
            Self::Loop => "loop",
            Self::CutByPlugin => "cut_by_plugin",
            Self::UnsupportedVersion => "unsupported_version",
            Self::UnsupportedExpectation => "unsupported_expectation",
            Self::UnsupportedWebSocket => "unsupported_websocket",
            Self::UpgradeRefused(_) => "upgrade_refused",
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
            Self::UpstreamRefused => "upstream_refused",
            Self::BadResponse(_) => "bad_response",
            Self::BadResponseBody(_) => "bad_response_body",
            Self::ResponseTooLarge => "response_too_large",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Unavailable(_) => "unavailable",
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
            | Self::UpgradeRefused(reason)
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
            Self::CutByPlugin => "a plugin ended the exchange while a body passed it",
            Self::UnsupportedWebSocket => {
                "WebSocket version is not supported, Sec-WebSocket-Version must be 13"
            }
            Self::UriTooLong => {
                "request target is longer than uriBytesMax of server.limits, or of its service's \
                 limits"
            }
            Self::HeadTooLarge => {
                "request head is over headBytesMax or headFieldsMax of server.limits, or of its \
                 service's limits"
            }
            Self::BodyTooLarge => {
                "request body is over bodyBytesMax of server.limits, or of its service's limits, \
                 or, where a plugin reads it, server.limits.pluginBodyBytesMax"
            }
            Self::HeadTimeout => "request head did not arrive within server.timeouts.head",
            Self::BodyTimeout => {
                "request body stalled for longer than server.timeouts.body, was slower than \
                 server.limits.bodyRateMin, or was not whole within the service's timeout"
            }
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
            Self::UpstreamRefused => "upstream refused the request without looking at it",
            Self::ResponseTooLarge => {
                "response body is over server.limits.pluginBodyBytesMax and a plugin or an \
                 aggregation reads it"
            }
            Self::UpstreamTimeout => "upstream did not answer in time",
            Self::Unavailable(_) => "the service's endpoints cannot serve the request, try again",
        })
    }
}

// An error is returned through every await of the request path: it must stay as cheap as a value.
const _: () = assert!(size_of::<Error>() <= 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_an_error_knows_it_by_its_label_and_is_of_its_side() {
        let text = "why";
        let errors = [
            Error::BadRequest(text),
            Error::UnsupportedCoding,
            Error::UnsupportedContentCoding(text),
            Error::UnsupportedMethod,
            Error::UnsupportedVersion,
            Error::UnsupportedExpectation,
            Error::UnsupportedWebSocket,
            Error::UpgradeRefused(text),
            Error::UriTooLong,
            Error::HeadTooLarge,
            Error::BodyTooLarge,
            Error::BadRequestBody(text),
            Error::HeadTimeout,
            Error::BodyTimeout,
            Error::NoRoute,
            Error::NoEndpoint,
            Error::OverBudget,
            Error::UpstreamBusy,
            Error::TraceRefused,
            Error::Loop,
            Error::CutByPlugin,
            Error::ConnectFailed,
            Error::ConnectTimeout,
            Error::TlsFailed(text),
            Error::UpstreamGone,
            Error::UpstreamStale,
            Error::UpstreamRefused,
            Error::BadResponse(text),
            Error::BadResponseBody(text),
            Error::ResponseTooLarge,
            Error::UpstreamTimeout,
            Error::Unavailable(503),
        ];
        let (mut rejected, mut upstream) = (Vec::new(), Vec::new());
        for error in errors {
            let label = match error.counter() {
                Counter::Rejected(reason) => {
                    rejected.push(reason);
                    reason.as_str()
                }
                Counter::Upstream(kind) => {
                    upstream.push(kind);
                    kind.as_str()
                }
                Counter::Gone => "",
            };
            assert_eq!(label, error.label());
            let is_upstream = matches!(error.counter(), Counter::Upstream(_));
            assert_eq!(is_upstream, error.side() == Side::Upstream, "{label}");
        }
        // Each error has a counter of its own, at the place of its number.
        assert_eq!((rejected, upstream), (Rejection::ALL.to_vec(), UpstreamFailure::ALL.to_vec()));
        assert!(Rejection::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
    }
}
