//! `tracing` as JSON, for the admin API.

use serde_json::{Map, Value, json};

use super::Tracing;
use super::view::{MASK, span};

/// `tracing`, without what collectors know the gateway by.
pub(super) fn tracing(tracing: &Tracing) -> Value {
    let otlp = tracing.otlp.as_ref().map(|otlp| {
        // Whatever it is called, it is what the collector knows the gateway by.
        let headers = otlp.headers.iter().map(|(name, _)| (name.clone(), MASK.into()));
        json!({
            "endpoint": otlp.endpoint.to_string(),
            "timeout": span(otlp.timeout),
            "headers": headers.collect::<Map<String, Value>>(),
            "serviceName": otlp.service_name,
        })
    });
    json!({
        "enabled": tracing.enabled,
        "incoming": if tracing.continues { "continue" } else { "restart" },
        "sampleRate": tracing.sample_rate,
        "otlp": otlp,
    })
}
