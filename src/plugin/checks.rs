//! What no plugin may make of a message, whatever ABI it speaks.

use super::chain::MessageBounds;
use super::failure::CallError;
use crate::http::message::{Method, RequestHead};
use crate::route;

/// The method that a token names.
pub(super) fn method(token: &str) -> Result<Method, CallError> {
    match Method::from_bytes(token.as_bytes()) {
        None => Err(CallError::bad_output(format!("method {token:?} is not a token"))),
        Some(Method::Connect) => {
            Err(CallError::bad_output("method CONNECT cannot be set by a plugin"))
        }
        Some(method) => Ok(method),
    }
}

/// Path and query (with its `?`) of a URL, a path or the whole URL of the same scheme and host, in
/// their normal form; `None` if they are what the request has.
pub(super) fn target(
    url: &str,
    scheme: &str,
    bounds: &MessageBounds,
    head: &RequestHead,
) -> Result<Option<(String, String)>, CallError> {
    let refuse = |why: &str| Err(CallError::bad_output(format!("url {url:?} {why}")));
    let (got, most) = (url.len(), bounds.uri_bytes_max);
    let origin = url
        .strip_prefix(scheme)
        .and_then(|rest| rest.strip_prefix("://"))
        .and_then(|rest| rest.strip_prefix(head.authority.as_str()));
    let target = origin.unwrap_or(url);
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let path = if path.is_empty() && origin.is_some() { "/" } else { path };
    if path == head.path && query == head.query {
        return Ok(None);
    }
    if target.len() > most {
        return Err(CallError::bad_output(format!(
            "url is {got} bytes, limit is {most} (server.limits.uriBytesMax)"
        )));
    }
    // `*` is the target of an OPTIONS request, which may be handed back as it came.
    if !path.starts_with('/') && path != head.path {
        return refuse("names another scheme or host; a plugin may change path and query");
    }
    if target.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'#') {
        return refuse("holds a space, a control character or a fragment");
    }
    let mut normal = String::with_capacity(path.len());
    if path == head.path {
        normal.push_str(path);
    } else if let Err(error) = route::path::normalise(path, bounds.paths, &mut normal) {
        return refuse(&format!("can't be a request's: {error}"));
    }
    Ok(Some((normal, query.to_owned())))
}
