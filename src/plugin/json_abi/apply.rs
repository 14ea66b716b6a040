//! What an output means: checked like a client's input, then done. Nothing is changed before
//! everything is checked, so that a plugin whose output is refused has changed nothing.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::chain::{BodySlot, Chosen, Facts, MessageBounds, Wish};
use super::super::checks::{method, target};
use super::super::failure::CallError;
use super::super::spec::{Phase, PluginSpec};
use super::explain::STATUS;
use super::headers::{check_headers, set_headers};
use super::output::{Headers, Message, Output, Status, Text, Upstream};
use crate::http::message::{BodyLength, LocalResponse, RequestHead, ResponseHead, is_authority};
use crate::http::respond;

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

/// Whom a plugin wants to be asked: one of those that are configured, or its output is refused.
/// `None` without a gateway around the plugin.
pub(super) fn upstream(
    upstream: &Upstream<'_>,
    facts: &Facts<'_>,
) -> Result<Option<Chosen>, CallError> {
    fn text<'t>(text: &'t Option<Text<'_>>) -> Option<&'t str> {
        text.as_ref().map(|text| &*text.0).filter(|text| !text.is_empty())
    }
    let Some(known) = facts.upstreams else {
        return Ok(None);
    };
    let wish = Wish {
        service: text(&upstream.service),
        endpoint: text(&upstream.endpoint),
        hash_key: text(&upstream.hash_key),
    };
    let chosen = known.choose(wish);
    chosen.map(Some).map_err(|why| CallError::bad_output(format!("upstream: {why}")))
}

/// Does a change to a request.
pub(super) fn change_request(
    message: &Message<'_>,
    facts: &Facts<'_>,
    head: &mut RequestHead,
    body: &mut BodySlot,
) -> Result<(), CallError> {
    let bounds = &facts.bounds;
    let method = message.method.as_ref().map(|text| method(&text.0)).transpose()?;
    let target = message
        .url
        .as_ref()
        .map(|url| target(&url.0, facts.scheme.as_str(), bounds, head))
        .transpose()?
        .flatten();
    let headers = message.headers.as_ref();
    let authority = headers.map_or(Ok(None), |headers| authority(headers, head))?;
    if let Some(headers) = headers {
        check_headers(headers, &head.fields, bounds)?;
    }
    let new_body = body_of(message, bounds)?;

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
    if let Some((path, query)) = target {
        head.path = path;
        head.query = query;
    }
    Ok(())
}

/// Does a change to a response.
pub(super) fn change_response(
    message: &Message<'_>,
    bounds: &MessageBounds,
    head: &mut ResponseHead,
    body: &mut BodySlot,
) -> Result<(), CallError> {
    // A guest that sends everything back may send back what it may not set.
    let changed = message.status_code.filter(|status| status.0 != i64::from(head.status));
    let status = changed.map(status).transpose()?;
    if let Some(headers) = &message.headers {
        check_headers(headers, &head.fields, bounds)?;
    }
    let new_body = body_of(message, bounds)?;

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
    bounds: &MessageBounds,
) -> Result<LocalResponse, CallError> {
    let mut response = LocalResponse {
        status: message.status_code.map_or(Ok(spec.kind.default_refusal()), status)?,
        ..LocalResponse::default()
    };
    if let Some(headers) = &message.headers {
        check_headers(headers, &response.fields, bounds)?;
        set_headers(headers, &mut response.fields, None);
    }
    let error = reported(output);
    match body_of(message, bounds)? {
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

fn status(Status(status): Status) -> Result<u16, CallError> {
    u16::try_from(status).ok().filter(|status| (200..=599).contains(status)).ok_or_else(|| {
        CallError::bad_output(format!("response.statusCode: got {status}, expected {STATUS}"))
    })
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

/// The body of an output in bytes; `None` if it has none.
fn body_of<'m>(
    message: &'m Message<'_>,
    bounds: &MessageBounds,
) -> Result<Option<Cow<'m, [u8]>>, CallError> {
    let Some(Text(body)) = &message.body else {
        return Ok(None);
    };
    let bytes = match message.body_encoding.as_ref().map(|encoding| &*encoding.0) {
        None | Some("") => Cow::Borrowed(body.as_bytes()),
        Some("base64") => BASE64
            .decode(body.as_bytes())
            .map(Cow::Owned)
            .map_err(|error| CallError::bad_output(format!("body is not base64: {error}")))?,
        Some(other) => {
            return Err(CallError::bad_output(format!(
                "bodyEncoding is {other:?}, it must be \"base64\" or absent"
            )));
        }
    };
    let (got, most) = (bytes.len(), bounds.body_bytes_max);
    if got > most {
        return Err(CallError::bad_output(format!(
            "body is {got} bytes, limit is {most} (server.limits.pluginBodyBytesMax)"
        )));
    }
    Ok(Some(bytes))
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
