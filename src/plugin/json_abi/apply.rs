//! What an output means: checked like a client's input, then done. Nothing is changed before
//! everything is checked, so that a plugin whose output is refused has changed nothing.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::chain::BodySlot;
use super::super::failure::CallError;
use super::super::spec::{Phase, PluginSpec};
use super::output::{Headers, Message, Output, Text};
use crate::http::field_class;
use crate::http::message::{
    BodyLength, Fields, LocalResponse, Method, RequestHead, ResponseHead, is_authority,
    is_field_value, is_token,
};
use crate::http::respond;
use crate::limits;

/// What an output says in short.
pub(super) enum Decision<'a> {
    /// Go on without a change.
    Continue,
    /// Go on with these changes.
    Change(Message<'a>),
    /// The chain ends here.
    Respond(Message<'a>),
}

/// Decides what an output says; a plugin that reports an error of its own while letting the message
/// pass has failed.
pub(super) fn decide<'a>(
    output: &mut Output<'a>,
    phase: Phase,
    spec: &PluginSpec,
) -> Result<Decision<'a>, CallError> {
    let continues = match output.continues.or(output.continue_in_rust) {
        Some(continues) => continues,
        // It says why it cannot decide: that is the reason, not that it did not.
        None if reported(output).is_some() => true,
        None if spec.kind.continues_by_default() => true,
        None => {
            let kind = spec.kind;
            return Err(CallError::bad_output(format!(
                "output has no \"continue\"; a plugin of type {kind} must say true or false"
            )));
        }
    };
    if !continues {
        return Ok(Decision::Respond(output.response.take().unwrap_or_default()));
    }
    if let Some(error) = reported(output) {
        return Err(CallError::refused(format!("the plugin reports: {error}")));
    }
    if output.modified != Some(true) {
        return Ok(Decision::Continue);
    }
    let message = match phase {
        Phase::Request => output.request.take().or_else(|| output.response.take()),
        // The request has gone: a plugin that hands it back means nothing by it.
        Phase::Response | Phase::Aggregation => output.response.take(),
    };
    Ok(message.map_or(Decision::Continue, Decision::Change))
}

/// The plugin's own `error`, if it is more than an empty string.
fn reported<'o>(output: &'o Output<'_>) -> Option<&'o str> {
    output.error.as_ref().map(|error| &*error.0).filter(|error| !error.is_empty())
}

/// Does a change to a request. Says whether the target (path or query) became another.
pub(super) fn change_request(
    message: &Message<'_>,
    scheme: &str,
    head: &mut RequestHead,
    body: &mut BodySlot,
) -> Result<bool, CallError> {
    let method = message.method.as_ref().map(|text| method(&text.0)).transpose()?;
    let target = message
        .url
        .as_ref()
        .map(|url| target(&url.0, scheme, head))
        .transpose()?
        .filter(|(path, query)| *path != head.path || *query != head.query)
        .map(|(path, query)| (path.to_owned(), query.to_owned()));
    let headers = message.headers.as_ref();
    let authority = headers.map_or(Ok(None), |headers| authority(headers, head))?;
    if let Some(headers) = headers {
        check_headers(headers, &head.fields)?;
    }
    let new_body = body_of(message)?;

    if let Some(headers) = headers {
        set_headers(headers, &mut head.fields, Some("host"));
    }
    if let Some(authority) = authority {
        head.authority = authority;
    }
    if let Some(method) = method {
        head.method = method;
    }
    if let Some(new_body) = new_body {
        replace_body(new_body, &mut head.body, body);
    }
    let Some((path, query)) = target else {
        return Ok(false);
    };
    head.path = path;
    head.query = query;
    Ok(true)
}

/// Does a change to a response.
pub(super) fn change_response(
    message: &Message<'_>,
    head: &mut ResponseHead,
    body: &mut BodySlot,
) -> Result<(), CallError> {
    // A guest that sends everything back may send back what it may not set.
    let changed = message.status_code.filter(|status| *status != i64::from(head.status));
    let status = changed.map(status).transpose()?;
    if let Some(headers) = &message.headers {
        check_headers(headers, &head.fields)?;
    }
    let new_body = body_of(message)?;

    if let Some(status) = status {
        head.status = status;
    }
    if let Some(headers) = &message.headers {
        set_headers(headers, &mut head.fields, None);
    }
    if let Some(new_body) = new_body {
        replace_body(new_body, &mut head.body, body);
    }
    Ok(())
}

/// Gives a response that a plugin has made of several a type, if it has named none.
pub(super) fn name_content(head: &mut ResponseHead, body: &BodySlot) {
    if let Some(body) = body.given.as_deref()
        && !body.is_empty()
        && !head.fields.contains("content-type")
    {
        head.fields.push(b"Content-Type", content_type(body));
    }
}

/// The response that a plugin answers with.
pub(super) fn respond(
    message: &Message<'_>,
    output: &Output<'_>,
    spec: &PluginSpec,
) -> Result<LocalResponse, CallError> {
    let mut response = LocalResponse {
        status: message.status_code.map_or(Ok(spec.kind.default_refusal()), status)?,
        ..LocalResponse::default()
    };
    if let Some(headers) = &message.headers {
        check_headers(headers, &response.fields)?;
        set_headers(headers, &mut response.fields, None);
    }
    let error = reported(output);
    match body_of(message)? {
        // Languages that always write every field send an empty body beside their error.
        Some(body) if !body.is_empty() || error.is_none() => {
            if !body.is_empty() && !response.fields.contains("content-type") {
                response.fields.push(b"Content-Type", content_type(&body));
            }
            response.body = body.into_owned();
        }
        _ if response.status >= 400 || error.is_some() => {
            let refused = || Cow::Owned(format!("refused by plugin \"{}\"", spec.name));
            let error = error.map_or_else(refused, Cow::Borrowed);
            response.fields.set(b"Content-Type", b"application/json");
            response.body = respond::error_body(&error);
        }
        _ => {}
    }
    Ok(response)
}

/// What a body is for which the plugin names no type.
fn content_type(body: &[u8]) -> &'static [u8] {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        _ if std::str::from_utf8(body).is_err() => b"application/octet-stream",
        Some(b'{' | b'[') => b"application/json",
        _ => b"text/plain; charset=utf-8",
    }
}

fn status(status: i64) -> Result<u16, CallError> {
    u16::try_from(status).ok().filter(|status| (200..=599).contains(status)).ok_or_else(|| {
        CallError::bad_output(format!("statusCode is {status}, it must be 200 to 599"))
    })
}

fn method(token: &str) -> Result<Method, CallError> {
    match Method::from_bytes(token.as_bytes()) {
        None => Err(CallError::bad_output(format!("method {token:?} is not a token"))),
        Some(Method::Connect) => {
            Err(CallError::bad_output("method CONNECT cannot be set by a plugin"))
        }
        Some(method) => Ok(method),
    }
}

/// Path and query (with its `?`) of a URL: a path, or the whole URL of the same scheme and host.
fn target<'u>(
    url: &'u str,
    scheme: &str,
    head: &RequestHead,
) -> Result<(&'u str, &'u str), CallError> {
    let refuse = |why: &str| Err(CallError::bad_output(format!("url {url:?} {why}")));
    if url.len() > limits::URI_BYTES_MAX {
        let (got, most) = (url.len(), limits::URI_BYTES_MAX);
        return Err(CallError::bad_output(format!("url is {got} bytes, limit is {most}")));
    }
    let origin = url
        .strip_prefix(scheme)
        .and_then(|rest| rest.strip_prefix("://"))
        .and_then(|rest| rest.strip_prefix(head.authority.as_str()));
    let target = origin.unwrap_or(url);
    // `*` is the target of an OPTIONS request, which may be handed back as it came.
    let known = target.starts_with('/')
        || origin.is_some() && (target.is_empty() || target.starts_with('?'))
        || target == head.path;
    if !known {
        return refuse("names another scheme or host; a plugin may change path and query");
    }
    if target.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'#') {
        return refuse("holds a space, a control character or a fragment");
    }
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    Ok((if path.is_empty() { "/" } else { path }, query))
}

/// The value of `Host` if it is set to another than the request's.
fn authority(headers: &Headers<'_>, head: &RequestHead) -> Result<Option<String>, CallError> {
    let Some((_, values)) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"))
    else {
        return Ok(None);
    };
    let [Text(host)] = values else {
        let got = values.len();
        return Err(CallError::bad_output(format!("Host has {got} values, it must have one")));
    };
    if **host == head.authority {
        return Ok(None);
    }
    if !is_authority(host.as_bytes()) {
        return Err(CallError::bad_output(format!(
            "Host {host:?} is not a host name with an optional port"
        )));
    }
    Ok(Some(host.to_string()))
}

/// Checks every name and value that a plugin sets, and that the head does not become too large.
fn check_headers(headers: &Headers<'_>, fields: &Fields) -> Result<(), CallError> {
    let mut bytes = 0;
    for (name, values) in headers.iter() {
        if !is_token(name.as_bytes()) {
            return Err(CallError::bad_output(format!("header name {name:?} is not a token")));
        }
        if field_class::is_of_connection(name.as_bytes()) {
            return Err(CallError::bad_output(format!(
                "header {name} belongs to the connection or the framing; the gateway writes it"
            )));
        }
        for value in values {
            let value = trimmed(value);
            if !is_field_value(value.as_bytes()) {
                return Err(CallError::bad_output(format!(
                    "value of header {name} holds a control character: {value:?}"
                )));
            }
            bytes += name.len() + value.len();
        }
    }
    let most = limits::HEAD_BYTES_MAX;
    if bytes > most {
        return Err(CallError::bad_output(format!(
            "headers of the output are {bytes} bytes, limit is {most}"
        )));
    }
    let most = limits::HEAD_FIELDS_MAX;
    if fields.len() + headers.len() > most {
        let named = |have: &[u8]| {
            headers.iter().any(|(name, _)| have.eq_ignore_ascii_case(name.as_bytes()))
        };
        let kept = fields.iter().filter(|(name, _)| !named(name)).count();
        let count = kept + headers.len();
        if count > most {
            return Err(CallError::bad_output(format!(
                "the head would have {count} headers, limit is {most}"
            )));
        }
    }
    Ok(())
}

/// A value without the white space around it, which belongs to no value.
fn trimmed<'t>(value: &'t Text<'_>) -> &'t str {
    value.0.trim_matches([' ', '\t'])
}

/// Makes the values of each name those of the output (none: the field is removed). What is there
/// already stays as it is, bytes and all: a plugin that hands back what it was given changes
/// nothing, not even a value that it was given lossily.
fn set_headers(headers: &Headers<'_>, fields: &mut Fields, except: Option<&str>) {
    for (name, values) in headers.iter() {
        if except.is_some_and(|except| name.eq_ignore_ascii_case(except)) {
            continue;
        }
        let mut wanted = values.iter().map(trimmed);
        let unchanged = fields.get_all(name).all(|have| {
            wanted.next().is_some_and(|wanted| String::from_utf8_lossy(have) == wanted)
        }) && wanted.next().is_none();
        if unchanged {
            continue;
        }
        fields.remove(name.as_bytes());
        for value in values {
            fields.push(name.as_bytes(), trimmed(value).as_bytes());
        }
    }
}

/// The body of an output in bytes; `None` if it has none.
fn body_of<'m>(message: &'m Message<'_>) -> Result<Option<Cow<'m, [u8]>>, CallError> {
    let Some(Text(body)) = &message.body else {
        return Ok(None);
    };
    match message.body_encoding.as_ref().map(|encoding| &*encoding.0) {
        None | Some("") => Ok(Some(Cow::Borrowed(body.as_bytes()))),
        Some("base64") => BASE64
            .decode(body.as_bytes())
            .map(|bytes| Some(Cow::Owned(bytes)))
            .map_err(|error| CallError::bad_output(format!("body is not base64: {error}"))),
        Some(other) => Err(CallError::bad_output(format!(
            "bodyEncoding is {other:?}, it must be \"base64\" or absent"
        ))),
    }
}

fn replace_body(new: Cow<'_, [u8]>, length: &mut BodyLength, body: &mut BodySlot) {
    if body.given.as_deref() == Some(&*new) {
        return;
    }
    *length = match new.len() {
        0 => BodyLength::Empty,
        bytes => BodyLength::Known(bytes as u64),
    };
    let given = body.given.get_or_insert_default();
    given.clear();
    given.extend_from_slice(&new);
    body.replaced = true;
}
