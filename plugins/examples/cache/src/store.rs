//! What is stored, and where.
//!
//! Under a URL's key stands its answer, or, where answers vary, the list of request headers that
//! make the difference; under that list's values then stands the answer. Forgetting the first
//! forgets all: the answers' keys have the list's own number in them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use odin_plugin::{Context, Error, Request, Response, host, kv};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Headers that belong to one connection or one message, and what the gateway writes itself.
const NOT_STORED: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "age",
    "x-cache",
    "set-cookie",
];

/// Request headers that show who asks.
const CREDENTIALS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-auth-token",
    "x-access-token",
    "x-client-cert",
    "x-forwarded-client-cert",
];

/// How keys are made.
pub(crate) struct Store {
    /// Request headers that make a difference in any case.
    pub(crate) vary: Vec<String>,
    /// Query parameters that make none.
    pub(crate) ignore_query: Vec<String>,
    /// Request headers that show who asks, beside the usual ones.
    pub(crate) credentials: Vec<String>,
}

/// What stands under a URL's key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Stored {
    Answer(Entry),
    Varies { headers: Vec<String>, number: i64 },
}

/// A stored answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, Vec<String>>,
    /// Text, or bytes in hexadecimal.
    body: Result<String, String>,
    /// When it was new, in Unix seconds.
    born: i64,
    /// For how many seconds it is used.
    lifetime: i64,
    /// What plugins before the cache had removed from the body.
    #[serde(default)]
    pub(crate) hidden: Vec<String>,
}

impl Entry {
    pub(crate) fn new(response: &Response, body: &[u8], lifetime: i64, now: i64) -> Self {
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in response.headers().iter() {
            if !NOT_STORED.iter().any(|not| name.eq_ignore_ascii_case(not)) {
                headers.entry(name.to_owned()).or_default().push(value.to_owned());
            }
        }
        let age = response.header("age").and_then(|age| age.parse::<i64>().ok()).unwrap_or(0);
        let body =
            std::str::from_utf8(body).map_or_else(|_| Err(hex(body)), |text| Ok(text.into()));
        let born = now.saturating_sub(age);
        Self { status: response.status(), headers, body, born, lifetime, hidden: Vec::new() }
    }

    /// Seconds since the service made it.
    pub(crate) fn age(&self, now: i64) -> i64 {
        now.saturating_sub(self.born).max(0)
    }

    pub(crate) fn body(&self) -> Result<Vec<u8>, Error> {
        match &self.body {
            Ok(text) => Ok(text.clone().into_bytes()),
            Err(hex) => from_hex(hex).ok_or_else(|| Error::new("a stored body is damaged")),
        }
    }

    /// Whether one of an `If-None-Match`'s tags is this answer's, weakly compared.
    pub(crate) fn is_tagged(&self, tags: &str) -> bool {
        let own = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("etag"));
        let Some(own) = own.and_then(|(_, values)| values.first()) else {
            return false;
        };
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        tags.trim() == "*" || tags.split(',').any(|tag| opaque(tag) == opaque(own))
    }
}

impl Store {
    /// Who asks: what auth plugins have said, and what the request itself shows; `None`: anybody.
    pub(crate) fn identity(&self, context: &Context, request: &Request) -> Option<String> {
        let mut text = String::new();
        let own = self.credentials.iter().map(String::as_str);
        for name in CREDENTIALS.iter().copied().chain(own) {
            for value in request.headers().get_all(name) {
                let _ = write!(text, "|{name}={}:{value}", value.len());
            }
        }
        for value in crate::said(context) {
            let _ = write!(text, "|{}:{value}", value.len());
        }
        (!text.is_empty()).then(|| hex(&Sha256::digest(text)))
    }

    /// A URL's key for whom it is: its parameters in one order, without those that make no
    /// difference.
    pub(crate) fn key(&self, request: &Request, identity: Option<&str>) -> String {
        let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
        let is_ignored = |pair: &&str| {
            let name = pair.split('=').next().unwrap_or_default();
            pair.is_empty() || self.ignore_query.iter().any(|ignored| ignored == name)
        };
        let mut pairs: Vec<&str> = query.split('&').filter(|pair| !is_ignored(pair)).collect();
        // Only the order of different names is free: that of one name's values may matter.
        pairs.sort_by_key(|pair| pair.split('=').next());
        let whose = identity.unwrap_or_default();
        let digest = Sha256::digest(format!("{whose} {path}?{}", pairs.join("&")));
        hex(&digest)
    }

    /// The answer to a request; `None` if there is none.
    pub(crate) fn get(&self, key: &str, request: &Request) -> Option<Entry> {
        match read(key)? {
            Stored::Answer(entry) => Some(entry),
            Stored::Varies { headers, number } => {
                match read(&variant(key, &headers, number, request))? {
                    Stored::Answer(entry) => Some(entry),
                    Stored::Varies { .. } => None,
                }
            }
        }
    }

    pub(crate) fn put(&self, key: &str, entry: &Entry, request: &Request, response: &Response) {
        let named = response.headers().get_all("vary").flat_map(|names| names.split(','));
        let named = named.map(|name| name.trim().to_ascii_lowercase()).filter(|n| !n.is_empty());
        let mut headers: Vec<String> =
            self.vary.iter().map(|name| name.to_ascii_lowercase()).chain(named).collect();
        headers.sort_unstable();
        headers.dedup();
        let lifetime_ms = entry.lifetime.saturating_mul(1000);
        if headers.is_empty() {
            return write(key, &Stored::Answer(entry.clone()), lifetime_ms);
        }
        let number = match read(key) {
            Some(Stored::Varies { headers: known, number }) if known == headers => number,
            _ => new_number(),
        };
        let answer_key = variant(key, &headers, number, request);
        write(&answer_key, &Stored::Answer(entry.clone()), lifetime_ms);
        // Written each time, so that it lives as long as the answer that lives longest.
        write(key, &Stored::Varies { headers, number }, lifetime_ms);
    }

    /// Removes what is stored of a URL.
    pub(crate) fn forget(&self, key: &str) {
        if let Err(error) = kv::delete(key.as_bytes()) {
            host::debug(error.text());
        }
    }
}

/// A number that no list has had. (The clock would do, but for what happens in one millisecond; it
/// stands in where the store can't be reached, and then nothing is stored either.)
fn new_number() -> i64 {
    kv::increment(b"lists", 1, 0).unwrap_or_else(|_| host::now_millis())
}

/// The key of the answer to requests with these headers' values.
fn variant(key: &str, headers: &[String], number: i64, request: &Request) -> String {
    let mut text = format!("{key}|{number}");
    for name in headers {
        let values: Vec<&str> = request.headers().get_all(name).map(str::trim).collect();
        // Lengths keep values from running into each other.
        let values = values.join(",");
        let _ = write!(text, "|{name}={}:{values}", values.len());
    }
    hex(&Sha256::digest(text))
}

fn read(key: &str) -> Option<Stored> {
    match kv::get(key.as_bytes()) {
        Ok(bytes) => serde_json::from_slice(&bytes?).ok(),
        Err(error) => {
            host::debug(error.text());
            None
        }
    }
}

fn write(key: &str, stored: &Stored, lifetime_ms: i64) {
    let written = serde_json::to_vec(stored)
        .map_err(Error::from)
        .and_then(|bytes| kv::set(key.as_bytes(), &bytes, lifetime_ms));
    if let Err(error) = written {
        host::debug(error.text());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
