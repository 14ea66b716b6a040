//! Who may call the admin API.
//!
//! Two doors. `site`, before everything: a browser that shows another site's page must not reach
//! us, neither by a cross-site request nor by a name that its owner points at our address (DNS
//! rebinding). `token`, before everything but health: whoever calls shows `admin.token`, if there
//! is one (there must be where other machines can connect).

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::super::config::Listen;
use super::super::reload::Control;
use super::reply::Failed;

/// Refuses what a browser sends for another site's page.
pub(super) async fn site(control: State<Control>, request: Request, next: Next) -> Response {
    match check_site(&control, &request) {
        Ok(()) => next.run(request).await,
        Err(failed) => failed.into_response(),
    }
}

fn check_site(control: &Control, request: &Request) -> Result<(), Failed> {
    let headers = request.headers();
    let forbidden = |reason: String| Err(Failed::new(StatusCode::FORBIDDEN, reason));
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST.as_str()).unwrap_or_default();
    match text("sec-fetch-site") {
        None | Some("same-origin" | "none") => {}
        Some(_) if opens_dashboard(request) => {}
        Some(site) => {
            return forbidden(format!(
                "a {} request: the admin API answers its own pages",
                quoted(site)
            ));
        }
    }
    if let Some(origin) = text(header::ORIGIN.as_str())
        && origin.split_once("://").map(|(_, authority)| authority) != Some(host)
    {
        return forbidden(format!("the origin {} is not this admin API", quoted(origin)));
    }
    let running = control.running();
    let admin = &running.config.admin;
    if admin.token.is_none() && !is_own_name(host, admin.listen.as_ref()) {
        return forbidden(format!(
            "the host {} is not this admin API: without admin.token it answers to addresses, \
             localhost and the name in admin.listen",
            quoted(host)
        ));
    }
    Ok(())
}

/// Whether a browser opens the dashboard in a tab, as when a link in a runbook is followed. The
/// page is the same for everybody and refuses frames: another site learns and moves nothing by it.
fn opens_dashboard(request: &Request) -> bool {
    let is = |name, value| request.headers().get(name).is_some_and(|got| got == value);
    request.method() == Method::GET
        && request.uri().path() == "/"
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
}

/// Says of every answer that it is not kept, not guessed at, and nobody else's to embed.
pub(super) async fn headers(mut response: Response) -> Response {
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        let name = HeaderName::from_static(name);
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Whether a `Host` is an address, `localhost` or the configured name: what no other site's owner
/// can point at us.
fn is_own_name(host: &str, listen: Option<&Listen>) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let configured = match listen {
        Some(Listen::Tcp { host, .. }) => host.as_str(),
        Some(Listen::Unix(_)) | None => "",
    };
    name.parse::<std::net::IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || !name.is_empty() && name.eq_ignore_ascii_case(configured)
}

fn quoted(text: &str) -> String {
    text.chars().take(100).collect::<String>().escape_default().to_string()
}

/// Lets those pass who show the token.
pub(super) async fn token(control: State<Control>, request: Request, next: Next) -> Response {
    if shows_token(&control, request.headers()) {
        return next.run(request).await;
    }
    let reason = "send the admin.token of the configuration: Authorization: Bearer TOKEN";
    let mut response = Failed::new(StatusCode::UNAUTHORIZED, reason).into_response();
    let challenge = axum::http::HeaderValue::from_static("Bearer realm=\"odin admin\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// Whether a request shows the token; all do where none is asked for.
pub(super) fn shows_token(control: &Control, headers: &HeaderMap) -> bool {
    let running = control.running();
    let Some(token) = &running.config.admin.token else {
        return true;
    };
    let shown = headers.get(header::AUTHORIZATION);
    let shown = shown.and_then(|value| shown_token(value.as_bytes()));
    // Digests: comparing them takes as long whatever the token shares with what was shown.
    shown.is_some_and(|shown| Sha256::digest(shown) == Sha256::digest(token.reveal().as_bytes()))
}

/// What follows `Bearer`, whose case does not matter (RFC 9110 section 11.1).
fn shown_token(field: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = field.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_has_any_case_and_the_token_its_own() {
        assert_eq!(shown_token(b"Bearer ToKen"), Some(&b"ToKen"[..]));
        assert_eq!(shown_token(b"bEARER ToKen"), Some(&b"ToKen"[..]));
        for field in [&b""[..], b"Bearer", b"BearerToKen", b"Basic ToKen", b"ToKen"] {
            assert_eq!(shown_token(field), None);
        }
        assert_eq!(shown_token(b"Bearer "), Some(&b""[..]));
    }

    #[test]
    fn only_addresses_localhost_and_the_configured_name_are_our_own() {
        let listen = Listen::tcp("admin.internal", 8081);
        let is_own = |host| is_own_name(host, Some(&listen));
        for host in ["127.0.0.1:8081", "[::1]:8081", "localhost:8081", "LOCALHOST", "10.0.0.1"] {
            assert!(is_own(host), "{host}");
        }
        assert!(is_own("Admin.Internal:8081"));
        for host in ["", "evil.example:8081", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert!(!is_own(host), "{host}");
        }
        assert!(!is_own_name("", None));
    }
}
