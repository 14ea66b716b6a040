//! The request target (RFC 9112 section 3.2): origin-form, absolute-form, `*`.

use crate::error::Error;
use crate::http::message::{Method, RequestHead, is_authority};

/// Takes `target` apart into the head's path, query and, in absolute-form, authority.
pub(super) fn parse(target: &str, head: &mut RequestHead) -> Result<(), Error> {
    if target == "*" {
        if head.method != Method::Options {
            return Err(Error::BadRequest("request target * is for OPTIONS only"));
        }
        head.path.push('*');
        return Ok(());
    }
    let origin_form = match target.as_bytes().first() {
        Some(b'/') => target,
        _ => absolute_form(target, head)?,
    };
    let mark = memchr::memchr2(b'?', b'#', origin_form.as_bytes());
    let (path, query) = origin_form.split_at(mark.unwrap_or(origin_form.len()));
    // None can stand before the path: an authority has no such byte.
    if !query.is_empty() && memchr::memchr(b'#', query.as_bytes()).is_some() {
        return Err(Error::BadRequest("request target has a fragment"));
    }
    head.path.push_str(if path.is_empty() { "/" } else { path });
    head.query.push_str(query);
    Ok(())
}

/// Notes the authority of `http://authority/path?query` and returns what follows it.
fn absolute_form<'a>(target: &'a str, head: &mut RequestHead) -> Result<&'a str, Error> {
    const MALFORMED: Error = Error::BadRequest("request target is neither a path nor an http URI");
    let (scheme, rest) = target.split_once("://").ok_or(MALFORMED)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(MALFORMED);
    }
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !is_authority(authority.as_bytes()) {
        return Err(Error::BadRequest("request target has a malformed authority"));
    }
    head.authority.push_str(authority);
    Ok(rest)
}
