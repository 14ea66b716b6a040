//! Bounds of sizes and numbers, as JSON: see [`super::view`].

use serde_json::{Value, json};

use super::{Http2, Limits};

pub(super) fn limits(limits: &Limits) -> Value {
    json!({
        "headBytesMax": limits.head_bytes_max,
        "headFieldsMax": limits.head_fields_max,
        "uriBytesMax": limits.uri_bytes_max,
        "bodyBytesMax": limits.body_bytes_max,
        "bodyRateMin": limits.body_rate_min,
        "pluginBodyBytesMax": limits.plugin_body_bytes_max,
        "bufferedBytesMax": limits.buffered_bytes_max,
        "connectionsMax": limits.connections_max,
        "clientConnectionsMax": limits.client_connections_max,
        "clientConnectionsPerSecond": limits.client_connections_per_second,
        "upstreamConnectionsMax": limits.upstream_connections_max,
        "upstreamIdleMax": limits.upstream_idle_max,
    })
}

pub(super) fn http2(http2: Http2) -> Value {
    json!({
        "streamsMax": http2.streams_max,
        "requestsMax": http2.requests_max,
        "streamWindowBytes": http2.stream_window_bytes,
        "connectionWindowBytes": http2.connection_window_bytes,
    })
}
