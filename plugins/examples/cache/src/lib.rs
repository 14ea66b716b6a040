//! Answers from a cache, as HTTP's rules allow (RFC 9111): the two moments of an exchange. What may
//! be stored and for how long is in [`policy`], what is stored and where in [`store`].
//!
//! A plugin of type `response` that is also asked in the request phase: there it answers what it
//! has, before the service is asked; in the response phase it keeps what came. A cache that can't
//! be reached is one that has nothing: no request fails for it.

mod policy;
mod store;

use odin_plugin::{Context, Error, Outcome, Period, Plugin, Request, Response, host};
use serde::{Deserialize, Serialize};

use policy::{Directives, Policy};
use store::{Entry, Store};

/// Under this the request phase leaves the key for the response phase; without it nothing is
/// stored.
const KEY: &str = "odin.cache.key";
/// Under this, plugins say that what a cache behind them sees is not to be stored.
const UNCACHEABLE: &str = "odin.uncacheable";
/// Under this, plugins say what they have removed from a body: those behind them go by it.
const HIDDEN: &str = "odin.hidden";
/// The header that tells the client what the cache did.
const STATE: &str = "X-Cache";

/// The plugin's `config` block.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    /// How long an answer is used that does not say it itself.
    #[serde(default = "Config::default_ttl")]
    ttl: Period,
    /// Statuses that are stored.
    #[serde(default = "Config::default_statuses")]
    statuses: Vec<u16>,
    /// Request headers that make different answers, beside those that an answer's `Vary` names.
    #[serde(default)]
    vary: Vec<String>,
    /// Query parameters that make no different answers (`utm_source`).
    #[serde(default)]
    ignore_query: Vec<String>,
    /// Larger bodies are not stored.
    #[serde(default = "Config::default_body_max")]
    max_body_bytes: usize,
    /// Request headers that show who asks, beside those that always do.
    #[serde(default)]
    credentials: Vec<String>,
    /// Whether a client's `Cache-Control` counts: it can then get around the cache.
    #[serde(default = "Config::default_honour_client")]
    honour_client: bool,
}

impl Config {
    const fn default_ttl() -> Period {
        Period::from_seconds(60)
    }

    fn default_statuses() -> Vec<u16> {
        vec![200, 301, 404, 410]
    }

    /// The shared state takes values of 1 MiB; base64 makes four bytes of three.
    const fn default_body_max() -> usize {
        512 * 1024
    }

    const fn default_honour_client() -> bool {
        true
    }
}

struct Cache {
    policy: Policy,
    store: Store,
    honour_client: bool,
}

impl Plugin for Cache {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            policy: Policy {
                ttl: config.ttl.seconds(),
                statuses: config.statuses,
                body_bytes_max: config.max_body_bytes,
            },
            store: Store {
                vary: config.vary,
                ignore_query: config.ignore_query,
                credentials: config.credentials,
            },
            honour_client: config.honour_client,
        })
    }

    fn on_request(&mut self, context: &Context, request: &Request) -> Result<Outcome, Error> {
        if !is_lookup(request) {
            return Ok(Outcome::next());
        }
        let wish = match self.honour_client {
            true => Directives::of(request.headers()),
            false => Directives::default(),
        };
        if wish.no_store {
            return Ok(Outcome::next());
        }
        let identity = self.store.identity(context, request);
        let key = self.store.key(request, identity.as_deref());
        let wants_fresh = wish.no_cache || wish.max_age == Some(0);
        let found = if wants_fresh { None } else { self.store.get(&key, request) };
        let now = host::now_seconds();
        match found {
            Some(entry) if wish.max_age.is_none_or(|max_age| entry.age(now) <= max_age) => {
                host::count("hits_total", 1);
                answer(&entry, request, now)
            }
            _ if wish.only_if_cached => Ok(Outcome::respond(504)),
            _ => {
                host::count("misses_total", 1);
                Ok(Outcome::next().set_metadata(KEY, &Asked { key, identity: said(context) }))
            }
        }
    }

    fn on_response(&mut self, context: &Context, response: &Response) -> Result<Outcome, Error> {
        let request = response.request();
        if !is_safe(request.method()) {
            // What was changed may not be what is stored (RFC 9111 section 4.4).
            if (200..400).contains(&response.status()) {
                let identity = self.store.identity(context, request);
                self.store.forget(&self.store.key(request, None));
                self.store.forget(&self.store.key(request, identity.as_deref()));
            }
            return Ok(Outcome::next());
        }
        let Some(Asked { key, identity }) = context.metadata(KEY) else {
            return Ok(Outcome::next());
        };
        // An auth plugin behind this one: what it lets nobody see but the one that it let in must
        // not be answered before it is asked.
        if identity != said(context) {
            return Ok(Outcome::next());
        }
        // A plugin before this one has taken off what says whether it may be stored, or could not
        // complete it.
        if context.metadata(UNCACHEABLE) == Some(true) {
            return Ok(Outcome::next().set_header(STATE, "MISS"));
        }
        let is_personal = self.store.identity(context, request).is_some();
        let now = host::now_seconds();
        // An answer to HEAD has no body to answer a GET with.
        if request.method() == "GET"
            && let Some(lifetime) = self.policy.lifetime(response, is_personal, now)
        {
            let body = response.body()?;
            if body.len() <= self.policy.body_bytes_max {
                let mut entry = Entry::new(response, &body, lifetime, now);
                entry.hidden = context.metadata(HIDDEN).unwrap_or_default();
                self.store.put(&key, &entry, request, response);
            }
        }
        Ok(Outcome::next().set_header(STATE, "MISS"))
    }
}

/// What the request phase leaves for the response phase.
#[derive(Serialize, Deserialize)]
struct Asked {
    key: String,
    /// Whom auth plugins had let in when it was looked for.
    identity: Vec<String>,
}

/// What auth plugins have said so far of who asks.
fn said(context: &Context) -> Vec<String> {
    ["odin.identity", "subject"].iter().filter_map(|name| context.metadata(name)).collect()
}

/// Whether a request may be answered from a cache: it asks for a whole, and changes nothing.
fn is_lookup(request: &Request) -> bool {
    matches!(request.method(), "GET" | "HEAD") && request.header("range").is_none()
}

fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// The stored answer; only its head where the client has the same already (RFC 9110 section
/// 13.1.2).
fn answer(entry: &Entry, request: &Request, now: i64) -> Result<Outcome, Error> {
    let is_known = request.header("if-none-match").is_some_and(|tags| entry.is_tagged(tags));
    let mut outcome = Outcome::respond(if is_known { 304 } else { entry.status });
    for (name, values) in &entry.headers {
        outcome = outcome.set_header_values(name.as_str(), values.iter().map(String::as_str));
    }
    outcome = outcome.set_header("Age", entry.age(now).to_string()).set_header(STATE, "HIT");
    if !entry.hidden.is_empty() {
        outcome = outcome.set_metadata(HIDDEN, &entry.hidden);
    }
    if !is_known {
        outcome = outcome.body(entry.body()?);
    }
    Ok(outcome)
}

odin_plugin::export!(Cache, on_request);

#[cfg(test)]
mod tests;
