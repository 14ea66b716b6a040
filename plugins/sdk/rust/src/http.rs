//! Calls over HTTP. The plugin waits, the worker does not: it serves other requests meanwhile.
//!
//! Reached are the gateway's services and the hosts that stand in the plugin's `config` as URLs, or
//! in its `allowedHosts`.
//!
//! ```
//! # use odin_plugin::{Error, http};
//! # fn user() -> Result<String, Error> {
//! let answer = http::get("http://users-service:8080/users/7").timeout_ms(500).send()?;
//! if answer.status() == 200 { answer.body_json() } else { Err(Error::new("no such user")) }
//! # }
//! ```

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, sys};

/// A call that is being put together.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    method: String,
    url: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u32>,
}

/// A `GET`.
pub fn get(url: impl Into<String>) -> Call {
    call("GET", url)
}

/// A `POST` with this body.
pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Call {
    call("POST", url).body(body)
}

/// A call of any method.
pub fn call(method: impl Into<String>, url: impl Into<String>) -> Call {
    Call {
        method: method.into(),
        url: url.into(),
        headers: BTreeMap::new(),
        body: None,
        body_encoding: None,
        timeout_ms: None,
    }
}

impl Call {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.entry(name.into()).or_default().push(value.into());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        match String::from_utf8(body.into()) {
            Ok(text) => (self.body, self.body_encoding) = (Some(text), None),
            Err(bytes) => {
                self.body = Some(BASE64_STANDARD.encode(bytes.as_bytes()));
                self.body_encoding = Some("base64");
            }
        }
        self
    }

    /// Sets how long to wait; the plugin's own `timeout` bounds it in any case.
    #[must_use]
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.timeout_ms = Some(timeout_ms);
        self
    }

    /// Makes the call.
    ///
    /// # Errors
    /// No answer: refused by the gateway, not connected, timed out. An answer of any status is one.
    pub fn send(&self) -> Result<Answer, Error> {
        let request = serde_json::to_vec(self)?;
        let answer = sys::http_call(&request)
            .ok_or_else(|| Error::new("http_call gave nothing (the gateway's log says why)"))?;
        let mut answer: Answer = serde_json::from_slice(&answer)?;
        match answer.error.take() {
            Some(error) if !error.is_empty() => Err(Error::new(format!("{}: {error}", self.url))),
            _ => Ok(answer),
        }
    }
}

/// What came back.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Answer {
    status_code: u16,
    headers: BTreeMap<String, Vec<String>>,
    body: String,
    body_encoding: String,
    error: Option<String>,
}

impl Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.status_code
    }

    /// The first value of a header; its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, values) = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        values.first().map(String::as_str)
    }

    /// The body's bytes.
    ///
    /// # Errors
    /// A body that is not base64 where it says so.
    pub fn body(&self) -> Result<Vec<u8>, Error> {
        if self.body_encoding != "base64" {
            return Ok(self.body.clone().into_bytes());
        }
        Ok(BASE64_STANDARD.decode(&self.body)?)
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// A body that is not JSON, or JSON of another shape than `T`.
    pub fn body_json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(serde_json::from_slice(&self.body()?)?)
    }
}
