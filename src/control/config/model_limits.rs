//! What a configuration file says under `limits`, of the server and of a service.

use std::time::Duration;

use crate::limits;

/// `server.limits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request or response head.
    pub head_bytes_max: usize,
    /// Fields of a head.
    pub head_fields_max: usize,
    /// Bytes of a request target; less than `head_bytes_max`.
    pub uri_bytes_max: usize,
    /// Bytes of a streamed request body.
    pub body_bytes_max: u64,
    /// Bytes per second of a request body that is waited for, at least; 0: any rate will do.
    pub body_rate_min: u64,
    /// Bytes of a body that is collected for plugins.
    pub plugin_body_bytes_max: usize,
    /// Bytes of bodies that one worker holds in memory at once.
    pub buffered_bytes_max: usize,
    /// Downstream connections of the whole process; `None`: [`limits::CONNECTIONS_MAX`] for each
    /// worker.
    pub connections_max: Option<usize>,
    /// Connections of one client at once; `None`: any number.
    pub client_connections_max: Option<u32>,
    /// New connections of one client in a second; `None`: any number.
    pub client_connections_per_second: Option<u16>,
    /// Requests of the whole process under way at targets; `None`: half of the open files that it
    /// may have.
    pub upstream_connections_max: Option<usize>,
    /// Idle upstream connections that a worker keeps for one endpoint; 0: none.
    pub upstream_idle_max: usize,
}

impl Limits {
    /// The share of one of `workers` workers in the downstream connections, at least 1.
    pub fn connections_per_worker(&self, workers: usize) -> usize {
        match self.connections_max {
            Some(total) => total.div_ceil(workers.max(1)).max(1),
            None => limits::CONNECTIONS_MAX,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: limits::HEAD_BYTES_MAX,
            head_fields_max: limits::HEAD_FIELDS_MAX,
            uri_bytes_max: limits::URI_BYTES_MAX,
            body_bytes_max: limits::BODY_BYTES_MAX,
            body_rate_min: limits::BODY_RATE_MIN,
            plugin_body_bytes_max: limits::PLUGIN_BODY_BYTES_MAX,
            buffered_bytes_max: limits::BUFFERED_BYTES_MAX,
            connections_max: None,
            client_connections_max: None,
            client_connections_per_second: None,
            upstream_connections_max: None,
            upstream_idle_max: limits::UPSTREAM_IDLE_MAX,
        }
    }
}

/// `server.http2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2 {
    /// Requests of one connection at once.
    pub streams_max: u32,
    /// Requests of one connection in all.
    pub requests_max: u32,
    /// Bytes of one body that may come before they are used.
    pub stream_window_bytes: u32,
    /// The same of all bodies of a connection.
    pub connection_window_bytes: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            streams_max: limits::STREAMS_MAX,
            requests_max: limits::CONNECTION_REQUESTS_MAX,
            stream_window_bytes: limits::STREAM_WINDOW_BYTES_MAX,
            connection_window_bytes: limits::CONNECTION_WINDOW_BYTES,
        }
    }
}

/// `services[].limits`, of the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Requests under way at one target; `None`: what one may have of all.
    pub connections: Option<usize>,
    /// Requests that wait for one target.
    pub pending: usize,
    /// How long each does.
    pub pending_timeout: Duration,
    /// Bytes of a request's body; `None` of this and those that follow: the server's.
    pub body_bytes: Option<u64>,
    /// Bytes of a request's head.
    pub head_bytes: Option<usize>,
    /// Its fields.
    pub head_fields: Option<usize>,
    /// Bytes of a request's target.
    pub uri_bytes: Option<usize>,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            connections: None,
            pending: limits::UPSTREAM_PENDING_MAX,
            pending_timeout: limits::UPSTREAM_PENDING_TIMEOUT,
            body_bytes: None,
            head_bytes: None,
            head_fields: None,
            uri_bytes: None,
        }
    }
}

/// `services[].timeouts`; `None`: the server's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServiceTimeouts {
    /// For a connection to an endpoint.
    pub connect: Option<Duration>,
    /// From the sent request to the first byte of the response head.
    pub first_byte: Option<Duration>,
    /// Between two steps of progress of a body, to or from an endpoint.
    pub idle: Option<Duration>,
    /// For a tunnel through which nothing passes.
    pub tunnel: Option<Duration>,
}
