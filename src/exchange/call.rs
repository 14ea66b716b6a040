//! One call of an aggregation: a GET to another service, its answer in memory.
//!
//! The called service is asked as its endpoint would be by a request of its own: its connections,
//! its turns, its `headers`, its timeout. Its plugins and its own aggregation are not run: the
//! chain of the service that calls has let the request pass, and calls cannot go in circles.

use std::cell::{Cell, OnceCell};
use std::ops::Range;

use super::attempt::Attempt;
use super::{Exchange, annotate};
use crate::aggregate::merge;
use crate::error::Error;
use crate::http::connection::Scheme;
use crate::http::message::{BodyLength, Fields, Method, RequestHead, ResponseHead};
use crate::http::relay::BodySink;
use crate::io::deadline::now_ms;
use crate::limits::AGGREGATION_BODIES_MAX;
use crate::snapshot::{Service, Timeouts};
use crate::text;
use crate::upstream::call::{read_final_head, read_whole_body};
use crate::upstream::cluster::{Cluster, Endpoints};
use crate::upstream::connection::Connection;
use crate::upstream::echo;
use crate::upstream::tries::{self, Ask, Failure, Try};

/// What a call was answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
    /// Where in the body its JSON text is (`None`: null, of an empty one), or why there is none.
    /// Looked for once.
    json: OnceCell<Result<Option<Range<usize>>, String>>,
}

impl Answer {
    fn new(status: u16, fields: Fields, body: Vec<u8>) -> Self {
        Self { status, fields, body, json: OnceCell::new() }
    }

    /// The JSON of a success, or why it has none that could be taken over.
    pub(super) fn json(&self) -> Result<&str, String> {
        let place = self.json.get_or_init(|| {
            let text = merge::usable(self.status, &self.body)?;
            let at = (text.as_ptr() as usize).checked_sub(self.body.as_ptr() as usize);
            let range = at.map(|at| at..at + text.len());
            Ok(range.filter(|range| self.body.get(range.clone()) == Some(text.as_bytes())))
        });
        let range = place.as_ref().map_err(String::clone)?;
        let bytes = range.as_ref().and_then(|range| self.body.get(range.clone()));
        Ok(bytes.and_then(text::from_bytes).unwrap_or("null"))
    }
}

/// Makes the calls of one exchange.
pub(super) struct Caller<'a> {
    exchange: &'a Exchange<'a>,
    authority: &'a str,
    fields: Fields,
    /// What the bodies of all answers may still come to.
    bytes_left: Cell<usize>,
}

/// Fields that speak of the client's own request: its body, what it has of the response, the forms
/// it would take it in.
fn is_request_only(name: &[u8]) -> bool {
    let begins =
        |start: &[u8]| name.get(..start.len()).is_some_and(|name| name.eq_ignore_ascii_case(start));
    begins(b"content-")
        || begins(b"if-")
        || begins(b"accept") && !begins(b"accept-language")
        || name.eq_ignore_ascii_case(b"range")
}

impl<'a> Caller<'a> {
    /// Calls carry the fields of `request` (credentials, `X-Request-Id`, `X-Forwarded-*` and what
    /// plugins have set), but for those that are of the request alone.
    pub(super) fn new(exchange: &'a Exchange<'a>, request: &'a RequestHead) -> Self {
        let mut fields = request.fields.clone();
        fields.retain(|name, _| !is_request_only(name));
        fields.push(b"Accept", b"application/json");
        let bytes_max = exchange.snapshot.limits.plugin_body_bytes_max;
        Self {
            exchange,
            authority: &request.authority,
            fields,
            bytes_left: Cell::new(bytes_max.saturating_mul(AGGREGATION_BODIES_MAX)),
        }
    }

    /// Asks the service at this place of the snapshot for `target` (a path, with its query if it
    /// has one).
    pub(super) async fn call(&self, service: usize, target: &str) -> Result<Answer, Error> {
        let service = &self.exchange.snapshot.services[service];
        let head = self.head(service, target);
        match &*service.cluster {
            Cluster::Endpoints(endpoints) => self.ask(service, endpoints, &head).await,
            Cluster::Echo => {
                let local = echo::answer(&head, (Scheme::Http, self.authority), &head.path, &[]);
                Ok(Answer::new(local.status, local.fields, local.body))
            }
        }
    }

    fn head(&self, service: &Service, target: &str) -> RequestHead {
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let mut fields = self.fields.clone();
        fields.set_all(&annotate::for_target(service, &self.fields, true));
        RequestHead {
            method: Method::Get,
            authority: String::new(),
            path: path.to_owned(),
            query: query.to_owned(),
            fields,
            body: BodyLength::Empty,
            upgrade: None,
        }
    }

    /// Tries until an endpoint answers, as for any request that may be repeated.
    async fn ask(
        &self,
        service: &Service,
        endpoints: &Endpoints,
        head: &RequestHead,
    ) -> Result<Answer, Error> {
        let exchange = self.exchange;
        let timeout = service.timeout.as_millis() as u64;
        let expires_ms = exchange.expires_ms.min(now_ms().saturating_add(timeout));
        let targets = exchange.worker.targets();
        let key = exchange.key(endpoints, head);
        let ask = Ask { method: &head.method, key, first: None };
        tries::run(endpoints, targets, ask, expires_ms, async |to| {
            let authority = if service.preserve_host && !self.authority.is_empty() {
                self.authority
            } else {
                &to.endpoint.authority
            };
            let attempt = &exchange.attempt(service, to, (head, &head.path));
            let outcome =
                match exchange.connection(to, attempt, &service.timeouts, expires_ms).await {
                    Ok(connection) => {
                        let to = (to, attempt, &service.timeouts);
                        self.attempt(to, connection, head, authority, expires_ms).await
                    }
                    Err(error) => Err(error),
                };
            attempt.ended(&outcome);
            // A GET without a body, and nothing of it has gone to the client.
            outcome.map_err(|error| Failure { error, is_repeatable: true, is_whole: true })
        })
        .await
    }

    async fn attempt(
        &self,
        (to, attempt, timeouts): (Try<'_>, &Attempt<'_>, &Timeouts),
        mut connection: Connection,
        head: &RequestHead,
        authority: &str,
        expires_ms: u64,
    ) -> Result<Answer, Error> {
        connection.begin(expires_ms, timeouts.body);
        match attempt.head(head) {
            Some(head) => connection.head(&head, authority, &head.path, &Fields::new()),
            None => connection.head(head, authority, &head.path, &Fields::new()),
        }
        // A failed write shows as a failed read too, unless the origin has answered early.
        let (mut sink, mut source) = connection.halves();
        let is_sent = sink.finish(&Fields::new()).await.is_ok();
        let source = &mut source;
        let mut response = ResponseHead::default();
        let limits = &self.exchange.snapshot.limits;
        let most = limits.head_bytes_max;
        let wait = to.bound().map_or(timeouts.first_byte, |bound| bound.min(timeouts.first_byte));
        read_final_head(source, &head.method, wait, most, &mut response).await?;
        attempt.answered(response.status);
        to.answered(response.status);
        if to.passes_over(response.status) {
            return Err(Error::Unavailable(response.status));
        }
        let (most, buffers) = (limits.plugin_body_bytes_max, self.exchange.worker.buffers());
        let held = &self.exchange.held;
        let body = read_whole_body(source, most, &self.bytes_left, buffers, held).await?;
        if is_sent {
            self.exchange.keep(to.endpoint, connection);
        }
        Ok(Answer::new(response.status, response.fields, body))
    }
}

#[cfg(test)]
mod tests {
    use super::is_request_only;

    #[test]
    fn calls_take_over_who_asks_and_not_what_was_sent() {
        for name in ["Content-Type", "If-None-Match", "Range", "Accept", "accept-encoding"] {
            assert!(is_request_only(name.as_bytes()), "{name}");
        }
        for name in ["Authorization", "Cookie", "X-Request-Id", "Accept-Language", "Conten"] {
            assert!(!is_request_only(name.as_bytes()), "{name}");
        }
    }
}
