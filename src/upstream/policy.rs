//! How a service's requests are shared out, and when another try is made: what its configuration
//! says beside the endpoints themselves.

use std::time::Duration;

use super::admission::Caps;
use super::balance::Algorithm;
use super::ejection::Outlier;
use crate::error::Error;
use crate::http::message::Method;

/// See the module's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whose turn it is.
    pub algorithm: Algorithm,
    /// What the key of a request is, where the algorithm goes by one.
    pub hash: HashOn,
    /// How many requests each target takes at once.
    pub caps: Caps,
    /// When a target is ejected; `None`: never.
    pub outlier: Option<Outlier>,
    /// How long a target that is back takes to its whole share; zero: no time.
    pub slow_start: Duration,
    /// When a request that may have reached an endpoint is sent to another one.
    pub retry: Option<Retry>,
}

/// `services[].hash`: what of a request leads it to its endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    #[default]
    ClientAddress,
    /// The first value of this field.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
    /// What a plugin says (`upstream.hashKey`).
    Plugin,
}

/// `services[].retry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Tries of one request, the first included; those over which nothing was sent do not count.
    pub tries: usize,
    /// Where the connection broke off before a response.
    pub on_reset: bool,
    /// Where no response came in time.
    pub on_timeout: bool,
    /// Answers with these statuses.
    pub on_statuses: Vec<u16>,
    /// How long one try may take to the head of its response, while another one may follow.
    pub per_try: Option<Duration>,
    /// Tries beside the first ones, in percent of the requests.
    pub budget_percent: u32,
    /// How long the next try waits.
    pub delay: Duration,
    /// The methods; all of them are idempotent.
    pub methods: Vec<Method>,
}

impl Retry {
    /// Whether a try that failed so, of a request that may be sent twice, is followed by another.
    pub fn is_on(&self, error: Error) -> bool {
        match error {
            Error::UpstreamGone | Error::BadResponse(_) => self.on_reset,
            Error::UpstreamTimeout => self.on_timeout || self.per_try.is_some(),
            Error::Unavailable(status) => self.on_statuses.contains(&status),
            _ => false,
        }
    }
}
