//! `GET /`: the dashboard, one page that asks for nothing but the admin API.
//!
//! Its parts are joined when the gateway is compiled. The page itself says nothing about this
//! gateway, so it needs no token; its script asks the API, which does. What the browser may run is
//! named by digest, so that markup in a plugin's name or in an error's words could not run even if
//! the script made elements of it, which `trusted-types 'none'` forbids besides.

use std::sync::LazyLock;

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderName, HeaderValue};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

macro_rules! style {
    () => {
        concat!(
            include_str!("dashboard/style.css"),
            include_str!("dashboard/layout.css"),
            include_str!("dashboard/tables.css"),
            include_str!("dashboard/dialogs.css"),
        )
    };
}

/// In the order in which each uses what stands before it: one module.
macro_rules! script {
    () => {
        concat!(
            include_str!("dashboard/format.js"),
            include_str!("dashboard/durations.js"),
            include_str!("dashboard/history.js"),
            include_str!("dashboard/dom.js"),
            include_str!("dashboard/api.js"),
            include_str!("dashboard/charts.js"),
            include_str!("dashboard/details.js"),
            include_str!("dashboard/plugins.js"),
            include_str!("dashboard/traffic.js"),
            include_str!("dashboard/targets.js"),
            include_str!("dashboard/fleet.js"),
            include_str!("dashboard/problems.js"),
            include_str!("dashboard/dialogs.js"),
            include_str!("dashboard/app.js"),
        )
    };
}

const STYLE: &str = style!();
const SCRIPT: &str = script!();
const PAGE: &str = concat!(
    include_str!("dashboard/head.html"),
    "<style>",
    style!(),
    "</style>\n",
    include_str!("dashboard/body.html"),
    "<script type=\"module\">",
    script!(),
    "</script>\n</html>\n",
);

/// What the page may do: run this script, wear this style, ask where it came from.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        digest(SCRIPT),
        digest(STYLE),
    )
});

/// The page.
pub(super) async fn page() -> impl IntoResponse {
    let policy = HeaderValue::from_str(&POLICY);
    let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        ),
    ];
    (headers, PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_parts_ends_the_element_that_holds_them() {
        assert!(!SCRIPT.contains("</script") && !SCRIPT.contains("<!--"));
        assert!(!STYLE.contains("</style"));
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert_eq!(PAGE.matches("<style").count(), 1);
    }

    #[test]
    fn the_page_names_no_other_place() {
        // The namespace of SVG is a name, not a place.
        let page = PAGE.replace("http://www.w3.org/2000/svg", "");
        for place in ["http://", "https://", "url(", "@import", "src=\"/", "innerHTML"] {
            assert!(!page.contains(place), "{place}");
        }
    }
}
