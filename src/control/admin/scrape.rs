//! `GET /metrics`: what Prometheus scrapes, in the format and the coding that it asks for.

use std::io::Write;

use axum::http::HeaderMap;
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, VARY,
};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::metrics::{self, Format};
use super::State;
use crate::limits::METRICS_GZIP_BYTES_MIN;

pub(super) async fn metrics(control: State, headers: HeaderMap) -> Response {
    let reports = control.report().await;
    let format = format(&headers);
    let text = metrics::text(&control, &reports, format);
    let kind = match format {
        Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
    };
    let mut response = if text.len() >= METRICS_GZIP_BYTES_MIN && takes_gzip(&headers) {
        // Beside the control thread: a large text takes some milliseconds.
        match tokio::task::spawn_blocking(move || gzip(&text)).await {
            Ok(coded) => ([(CONTENT_ENCODING, "gzip")], coded).into_response(),
            Err(_) => return axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    } else {
        text.into_response()
    };
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    response
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to a vector does not fail.
    let _ = encoder.write_all(text.as_bytes());
    encoder.finish().unwrap_or_default()
}

/// OpenMetrics where it is asked for by name, and not less gladly than the text format.
fn format(headers: &HeaderMap) -> Format {
    let (mut open, mut plain) = (0.0, 0.0);
    for element in elements(headers, &ACCEPT) {
        // `;version=1.0.0` behind the type; a version that is not named is any.
        let takes = |version: &str| element.parameter("version").is_none_or(|one| one == version);
        if element.is("application/openmetrics-text") && takes("1.0.0") {
            open = element.quality().max(open);
        } else if element.is("text/plain") && takes("0.0.4") {
            plain = element.quality().max(plain);
        }
    }
    if open > 0.0 && open >= plain { Format::OpenMetrics } else { Format::Prometheus }
}

/// RFC 9110 section 12.5.3: by its name, else by `*`.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let quality = |name: &str| {
        let named = elements(headers, &ACCEPT_ENCODING).find(|element| element.is(name));
        named.map(|element| element.quality())
    };
    quality("gzip").or_else(|| quality("*")).is_some_and(|quality| quality > 0.0)
}

/// An element of a list such as `a;q=0.5, b`.
struct Element<'h>(&'h str);

fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = Element<'h>> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(Element)
}

impl<'h> Element<'h> {
    fn is(&self, name: &str) -> bool {
        let bare = self.0.split(';').next().unwrap_or_default();
        bare.trim().eq_ignore_ascii_case(name)
    }

    fn parameter(&self, name: &str) -> Option<&'h str> {
        self.0.split(';').skip(1).find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
        })
    }

    /// 0 to 1; what is no number is no wish.
    fn quality(&self) -> f32 {
        let quality = self.parameter("q").map_or(Some(1.0), |quality| quality.parse().ok());
        quality.filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: HeaderName, value: &str) -> HeaderMap {
        [(name, HeaderValue::from_str(value).unwrap())].into_iter().collect()
    }

    #[test]
    fn open_metrics_is_for_who_asks_for_it() {
        // What Prometheus 2 and 3 send.
        let two = "application/openmetrics-text;version=1.0.0,\
                   application/openmetrics-text;version=0.0.1;q=0.75,\
                   text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                     application/openmetrics-text;version=0.0.1;q=0.4,\
                     text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                     text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, want) in [
            (two, Format::OpenMetrics),
            (three, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Prometheus),
            ("text/plain, application/openmetrics-text;q=0.9", Format::Prometheus),
            ("application/openmetrics-text;version=2.0.0", Format::Prometheus),
            ("application/openmetrics-text;q=0", Format::Prometheus),
            ("application/openmetrics-text;q=x", Format::Prometheus),
            ("text/html,*/*;q=0.8", Format::Prometheus),
            ("", Format::Prometheus),
        ] {
            assert_eq!(format(&asked(ACCEPT, accept)), want, "{accept}");
        }
        assert_eq!(format(&HeaderMap::new()), Format::Prometheus);
    }

    #[test]
    fn gzip_is_for_who_takes_it() {
        for (accept, want) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("*", true),
            ("*;q=0.5, gzip;q=0", false),
            ("identity", false),
            ("x-gzip", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(&asked(ACCEPT_ENCODING, accept)), want, "{accept}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
