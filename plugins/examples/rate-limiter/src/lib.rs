//! Limits requests per client: the decision, from the configuration to the answer. The algorithms
//! are in [`window`] and [`bucket`], who a client is and what it may is in [`client`].
//!
//! All counting happens in the gateway's shared state, by its atomic operations, so the limit holds
//! over all workers, and with a Redis over all gateways.

mod bucket;
mod client;
mod window;

use odin_plugin::{Context, Error, Outcome, Period, Plugin, Request, host};
use serde::{Deserialize, Serialize};

use client::{Clients, ClientsConfig};

/// The plugin's `config` block.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    algorithm: Algorithm,
    #[serde(default = "Config::default_window")]
    window: Period,
    /// Token bucket: how many requests may come at once. Default: the limit.
    burst: Option<i64>,
    #[serde(default = "Config::default_message")]
    message: String,
    #[serde(flatten)]
    clients: ClientsConfig,
}

impl Config {
    const fn default_window() -> Period {
        Period::from_seconds(60)
    }

    fn default_message() -> String {
        "rate limit exceeded".to_owned()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Algorithm {
    #[default]
    FixedWindow,
    SlidingWindow,
    TokenBucket,
}

/// What one request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Decision {
    #[serde(skip)]
    is_allowed: bool,
    limit: i64,
    remaining: i64,
    /// Milliseconds until a request may be allowed again, or the window is new.
    #[serde(rename = "resetMs")]
    reset_ms: i64,
}

struct RateLimiter {
    algorithm: Algorithm,
    window: Period,
    burst: Option<i64>,
    message: String,
    clients: Clients,
}

impl Plugin for RateLimiter {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        if config.window.millis() < 1 {
            return Err(Error::new("window is 0, must be at least 1ms"));
        }
        if config.burst.is_some_and(|burst| burst < 1) {
            return Err(Error::new("burst must be at least 1"));
        }
        Ok(Self {
            algorithm: config.algorithm,
            window: config.window,
            burst: config.burst,
            message: config.message,
            clients: Clients::new(config.clients)?,
        })
    }

    fn on_request(&mut self, context: &Context, request: &Request) -> Result<Outcome, Error> {
        let client = self.clients.identify(context, request);
        let (key, limit, now) = (&*client.key, client.limit, host::now_millis());
        let decision = match self.algorithm {
            Algorithm::FixedWindow => window::fixed(key, limit, self.window, now)?,
            Algorithm::SlidingWindow => window::sliding(key, limit, self.window, now)?,
            Algorithm::TokenBucket => {
                let burst = self.burst.unwrap_or(limit);
                bucket::take(key, &bucket::Bucket { limit, window: self.window, burst }, now)?
            }
        };
        if decision.is_allowed {
            return Ok(Outcome::next().set_metadata("rateLimit", &decision));
        }
        host::count("refused_total", 1);
        self.refuse(decision)
    }
}

impl RateLimiter {
    /// 429 with what a client needs to do better: `Retry-After` (RFC 9110 section 10.2.3), and the
    /// `RateLimit` fields that clients' libraries know.
    fn refuse(&self, decision: Decision) -> Result<Outcome, Error> {
        let seconds = Period::from_millis(decision.reset_ms).seconds().max(1).to_string();
        let body = serde_json::json!({"error": self.message, "retryAfter": seconds});
        Ok(Outcome::respond(429)
            .json(&body)?
            .set_header("Retry-After", &*seconds)
            .set_header("RateLimit-Limit", decision.limit.to_string())
            .set_header("RateLimit-Remaining", "0")
            .set_header("RateLimit-Reset", &*seconds))
    }
}

odin_plugin::export!(RateLimiter);

#[cfg(test)]
mod tests;
