//! What a call returns: go on, go on with changes, or stop and answer.
//!
//! Only what was said is written: an outcome without changes is 34 bytes, whatever the request was.

use std::cell::OnceCell;
use std::rc::Rc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use crate::json::push_string;

/// What the gateway shall do.
///
/// Start with [`Outcome::next`] to let the exchange go on, [`Outcome::refuse`] or
/// [`Outcome::respond`] to end it here; then say what changes.
///
/// An outcome that is the same for many calls is best kept in the plugin and cloned: that costs
/// nothing, and its JSON is written once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome(Rc<Said>);

/// What was said.
#[derive(Debug, Clone, Default)]
struct Said {
    goes_on: bool,
    error: String,
    status: Option<u16>,
    headers: Vec<(String, Vec<String>)>,
    body: Option<Vec<u8>>,
    method: Option<String>,
    url: Option<String>,
    /// Keys with values that are JSON already.
    metadata: Vec<(String, String)>,
    /// The JSON, once it was written for an outcome that is kept.
    text: OnceCell<Vec<u8>>,
}

impl PartialEq for Said {
    fn eq(&self, other: &Self) -> bool {
        self.written() == other.written()
    }
}

impl Eq for Said {}

impl Outcome {
    /// The exchange goes on; what is not changed stays as it is.
    pub fn next() -> Self {
        Self(Rc::new(Said { goes_on: true, ..Said::default() }))
    }

    /// The chain stops and the client gets a refusal: by default 401 from an auth plugin, 429 from
    /// a rate limit, else 403, with `{"error": reason}` as its body. The reason is seen by the
    /// client, so it should not say more than the client may know.
    pub fn refuse(reason: impl Into<String>) -> Self {
        Self(Rc::new(Said { error: reason.into(), ..Said::default() }))
    }

    /// The chain stops and the client gets a response of this status.
    pub fn respond(status: u16) -> Self {
        Self(Rc::new(Said { status: Some(status), ..Said::default() }))
    }

    /// Sets a header to one value in the place of all it had.
    #[must_use]
    pub fn set_header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with_header(name.into(), vec![value.into()])
    }

    /// Sets a header to several values in the place of all it had.
    #[must_use]
    pub fn set_header_values<V: Into<String>>(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.with_header(name.into(), values.into_iter().map(Into::into).collect())
    }

    /// Removes a header, with all its values.
    #[must_use]
    pub fn remove_header(self, name: impl Into<String>) -> Self {
        self.with_header(name.into(), Vec::new())
    }

    /// The last word on a header counts, in whatever case its name was spelled before.
    fn with_header(self, name: String, values: Vec<String>) -> Self {
        self.with(|said| {
            match said.headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                Some(entry) => *entry = (name, values),
                None => said.headers.push((name, values)),
            }
        })
    }

    /// Says more. What was written of an outcome that is kept no longer holds for this one.
    fn with(mut self, say: impl FnOnce(&mut Said)) -> Self {
        let said = Rc::make_mut(&mut self.0);
        said.text.take();
        say(said);
        self
    }

    /// Sets the status, where this is about a response.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        self.with(|said| said.status = Some(status))
    }

    /// Replaces the body. Bytes that are not UTF-8 travel as base64.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        self.with(|said| said.body = Some(body.into()))
    }

    /// Replaces the body by JSON, and says so in `Content-Type`.
    ///
    /// # Errors
    /// A value that JSON has no form for (a map whose keys are no strings).
    pub fn json(self, value: &impl Serialize) -> Result<Self, crate::Error> {
        let body = serde_json::to_vec(value)?;
        Ok(self.set_header("Content-Type", "application/json").body(body))
    }

    /// Request phase: replaces the method.
    #[must_use]
    pub fn method(self, method: impl Into<String>) -> Self {
        self.with(|said| said.method = Some(method.into()))
    }

    /// Request phase: replaces the URL (path and query; the route has been chosen already).
    #[must_use]
    pub fn url(self, url: impl Into<String>) -> Self {
        self.with(|said| said.url = Some(url.into()))
    }

    /// Leaves a value for the later plugins of this exchange, both phases; see
    /// [`crate::Context::metadata`].
    ///
    /// # Panics
    /// Where JSON has no form for the value: a map whose keys are no strings.
    #[must_use]
    pub fn set_metadata(self, key: impl Into<String>, value: &impl Serialize) -> Self {
        let value = serde_json::to_string(value).expect("metadata has a form in JSON");
        self.with(|said| said.metadata.push((key.into(), value)))
    }

    /// Whether the exchange goes on.
    pub fn goes_on(&self) -> bool {
        self.0.goes_on
    }

    /// Whether anything of the message changes.
    pub fn is_modified(&self) -> bool {
        self.0.is_modified()
    }

    /// The output's JSON: of an outcome that somebody else keeps as it was written first, else
    /// written to `out`.
    pub(crate) fn output<'o>(&'o self, out: &'o mut Vec<u8>) -> &'o [u8] {
        if Rc::strong_count(&self.0) > 1 {
            return self.0.text.get_or_init(|| self.0.written());
        }
        self.0.write(out);
        out
    }

    /// The output for a plugin that could not decide: an error, and no word on whether to go on,
    /// which leaves that to the failure mode.
    pub(crate) fn write_error(out: &mut Vec<u8>, text: &str) {
        push(out, "{\"error\":");
        push_string(out, text);
        out.push(b'}');
    }
}

impl Said {
    fn is_modified(&self) -> bool {
        self.status.is_some()
            || !self.headers.is_empty()
            || self.body.is_some()
            || self.method.is_some()
            || self.url.is_some()
    }

    fn written(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        let flag = |on: bool| if on { "true" } else { "false" };
        push(out, "{\"modified\":");
        push(out, flag(self.is_modified()));
        push(out, ",\"continue\":");
        push(out, flag(self.goes_on));
        if !self.error.is_empty() {
            push(out, ",\"error\":");
            push_string(out, &self.error);
        }
        if self.is_modified() {
            self.write_message(out);
        }
        if !self.metadata.is_empty() {
            push(out, ",\"metadata\":");
            let entries = self.metadata.iter();
            push_object(out, entries, |out, value| push(out, value));
        }
        out.push(b'}');
    }

    /// The object with the changes: `request` where method or URL are among them, else `response`.
    fn write_message(&self, out: &mut Vec<u8>) {
        let is_request = self.method.is_some() || self.url.is_some();
        push(out, if is_request { ",\"request\":{" } else { ",\"response\":{" });
        let before = out.len();
        for (key, text) in [("method", &self.method), ("url", &self.url)] {
            if let Some(text) = text {
                push_key(out, before, key);
                push_string(out, text);
            }
        }
        if let Some(status) = self.status {
            push_key(out, before, "statusCode");
            push(out, &status.to_string());
        }
        if !self.headers.is_empty() {
            push_key(out, before, "headers");
            push_object(out, self.headers.iter(), |out, values| push_strings(out, values));
        }
        if let Some(body) = &self.body {
            push_key(out, before, "body");
            push_body(out, body);
        }
        out.push(b'}');
    }
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// A key of an object whose content begins at `start`.
fn push_key(out: &mut Vec<u8>, start: usize, key: &str) {
    if out.len() > start {
        out.push(b',');
    }
    push_string(out, key);
    out.push(b':');
}

fn push_object<'e, V: 'e>(
    out: &mut Vec<u8>,
    entries: impl Iterator<Item = &'e (String, V)>,
    mut push_value: impl FnMut(&mut Vec<u8>, &'e V),
) {
    out.push(b'{');
    let start = out.len();
    for (key, value) in entries {
        push_key(out, start, key);
        push_value(out, value);
    }
    out.push(b'}');
}

fn push_strings(out: &mut Vec<u8>, values: &[String]) {
    out.push(b'[');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_string(out, value);
    }
    out.push(b']');
}

fn push_body(out: &mut Vec<u8>, body: &[u8]) {
    match std::str::from_utf8(body) {
        Ok(text) => push_string(out, text),
        Err(_) => {
            push_string(out, &BASE64_STANDARD.encode(body));
            push(out, ",\"bodyEncoding\":\"base64\"");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(outcome: Outcome) -> serde_json::Value {
        serde_json::from_slice(outcome.output(&mut Vec::new())).unwrap()
    }

    #[test]
    fn an_outcome_without_changes_says_only_that() {
        let mut out = Vec::new();
        assert_eq!(Outcome::next().output(&mut out), br#"{"modified":false,"continue":true}"#);
    }

    #[test]
    fn the_last_word_on_a_header_counts() {
        let outcome = Outcome::next().set_header("X-A", "1").remove_header("x-a");
        assert_eq!(written(outcome)["response"]["headers"], serde_json::json!({"x-a": []}));
    }

    #[test]
    fn a_body_that_is_not_utf8_travels_as_base64() {
        let response = &written(Outcome::respond(200).body([0xff, 0x00]))["response"];
        assert_eq!(response["body"], "/wA=");
        assert_eq!(response["bodyEncoding"], "base64");
    }

    #[test]
    fn method_and_url_are_changed_through_the_request_object() {
        let output = written(Outcome::next().url("/b?c=d").set_header("X-A", "1"));
        let expected = serde_json::json!({"url": "/b?c=d", "headers": {"X-A": ["1"]}});
        assert_eq!(output["request"], expected);
        assert!(output.get("response").is_none());
    }

    #[test]
    fn what_is_said_after_a_clone_is_said_of_the_clone_alone() {
        let kept = Outcome::next().set_header("X-A", "1");
        let mut unused = Vec::new();
        for _ in 0..2 {
            let clone = kept.clone();
            assert!(clone.output(&mut unused).ends_with(br#"{"X-A":["1"]}}}"#));
        }
        assert!(unused.is_empty(), "the text of a kept outcome is its own");
        let more = kept.clone().status(201);
        assert_eq!(written(more)["response"]["statusCode"], 201);
        assert_eq!(written(kept)["response"].get("statusCode"), None);
    }

    #[test]
    fn metadata_alone_is_no_modification() {
        let output = written(Outcome::next().set_metadata("user", &"ann"));
        assert_eq!(output["modified"], false);
        assert_eq!(output["metadata"]["user"], "ann");
    }
}
