//! Requests to go on with another protocol: WebSockets (RFC 6455, RFC 8441), and what else a
//! service names.
//!
//! The request goes through the stages of any other. What the client wants is taken off it at the
//! beginning and put on again behind the plugins, so that none of them can break the handshake; an
//! origin that does not switch has answered like any other. Once both sides have switched, what is
//! left is a [`Tunnel`], and the exchange is over.

use super::attempt::Attempt;
use super::forward::{Call, Payload};
use super::tunnel::Tunnel;
use super::{Exchange, Messages, Reply};
use crate::error::Error;
use crate::http::message::{BodyLength, Fields, Method, RequestHead, ResponseHead};
use crate::http::relay::BodySource;
use crate::http::upgrade::Upgrade;
use crate::http::websocket;
use crate::limits::INTERIM_MAX;
use crate::snapshot::Service;
use crate::upstream::cluster::Cluster;
use crate::upstream::connection::{Connection, ResponseSource};
use crate::upstream::tries::Try;

/// What a client goes on with, if the origin does.
#[derive(Debug)]
pub(super) struct Wanted {
    /// As the service names it.
    protocol: String,
    /// That of a WebSocket; an extended CONNECT brings none.
    key: Option<websocket::Key>,
    /// The client asks by an extended CONNECT: any success would be a tunnel for it.
    pub(super) is_connect: bool,
    /// Why it cannot be, which is said behind the plugins.
    problem: Option<Error>,
}

impl Wanted {
    /// What of a client's wish a service goes along with; `None`: it is an ordinary request.
    #[inline]
    pub(super) fn asked(service: &Service, request: &mut RequestHead) -> Option<Box<Self>> {
        let upgrade = request.upgrade.take()?;
        Self::of(&upgrade, service, request)
    }

    #[cold]
    fn of(upgrade: &Upgrade, service: &Service, request: &mut RequestHead) -> Option<Box<Self>> {
        let is_connect = upgrade.is_connect;
        let is_known = |one: &&str| {
            let mut names = service.upgrades.iter();
            // HTTP itself would go past all that guards requests.
            !one.eq_ignore_ascii_case("h2c") && names.any(|name| one.eq_ignore_ascii_case(name))
        };
        let Some(protocol) = upgrade.protocols().find(is_known) else {
            let problem = Error::UpgradeRefused(
                "service goes on with no such protocol (services[].upgrades names those it does)",
            );
            let refused =
                Self { protocol: String::new(), key: None, is_connect, problem: Some(problem) };
            return is_connect.then(|| Box::new(refused));
        };
        let protocol = protocol.to_ascii_lowercase();
        let mut wanted = Self { protocol, key: None, is_connect, problem: None };
        if wanted.is_websocket() {
            if request.method != Method::Get {
                return None;
            }
            match wanted.handshake(&request.fields) {
                Ok(key) => wanted.key = key,
                Err(error) => wanted.problem = Some(error),
            }
        }
        // A length of 0 is none.
        request.body = BodyLength::Empty;
        Some(Box::new(wanted))
    }

    fn is_websocket(&self) -> bool {
        self.protocol == websocket::NAME
    }

    /// Section 4.2.1 of RFC 6455.
    fn handshake(&self, fields: &Fields) -> Result<Option<websocket::Key>, Error> {
        let only = |name: &str| {
            let value = fields.get(name)?;
            let more: Vec<_> = fields.get_all(name).skip(1).collect();
            more.is_empty().then_some(value)
        };
        let key = match self.is_connect {
            true => None,
            false => Some(only(websocket::KEY).and_then(websocket::key).ok_or(
                Error::BadRequest("Sec-WebSocket-Key is not one base64 text of sixteen bytes"),
            )?),
        };
        match only(websocket::VERSION) == Some(websocket::VERSION_13) {
            true => Ok(key),
            false => Err(Error::UnsupportedWebSocket),
        }
    }

    /// Whether an origin has taken the wish with this 101.
    fn check(&self, response: &ResponseHead, key: Option<&websocket::Key>) -> Result<(), Error> {
        let upgrade = response.upgrade.as_ref();
        let is_it = upgrade.is_some_and(|one| one.protocols.eq_ignore_ascii_case(&self.protocol));
        if !is_it {
            return Err(Error::BadResponse("upstream switched to another protocol than was asked"));
        }
        let Some(key) = key else { return Ok(()) };
        let mut accepts = response.fields.get_all(websocket::ACCEPT);
        let is_right = accepts.next() == Some(websocket::accept(key).as_bytes());
        if !is_right || accepts.next().is_some() {
            return Err(Error::BadResponse("upstream sent a wrong Sec-WebSocket-Accept"));
        }
        Ok(())
    }
}

impl Exchange<'_> {
    /// What is left of the client's wish behind the plugins: one that has made another request of
    /// it has an ordinary one.
    pub(super) fn wanted(
        &self,
        request: &RequestHead,
        payload: &Payload,
    ) -> Result<Option<&Wanted>, Error> {
        match &self.wanted {
            None => Ok(None),
            Some(wanted) => self.still_wanted(wanted, request, payload),
        }
    }

    #[cold]
    fn still_wanted<'w>(
        &self,
        wanted: &'w Wanted,
        request: &RequestHead,
        payload: &Payload,
    ) -> Result<Option<&'w Wanted>, Error> {
        if let Some(problem) = wanted.problem {
            return Err(problem);
        }
        if self.asked().aggregation.is_some() {
            return Err(Error::UpgradeRefused(
                "service aggregates: there is nobody to go on with in another protocol",
            ));
        }
        if matches!(*self.asked().cluster, Cluster::Echo) {
            return Err(Error::UpgradeRefused("builtin:echo speaks no protocol but HTTP"));
        }
        let has_method = !wanted.is_websocket() || request.method == Method::Get;
        let is_bare = matches!(payload, Payload::Stream) && request.body == BodyLength::Empty;
        Ok((has_method && is_bare).then_some(wanted))
    }

    /// Checks a status that is no word of a tunnel: to who asks by CONNECT, success is one.
    #[inline]
    pub(super) fn check_status(&self, status: u16) -> Result<(), Error> {
        match &self.wanted {
            Some(wanted) if wanted.is_connect && (200..300).contains(&status) => {
                Err(Error::BadResponse("the request for a tunnel was answered as if it had none"))
            }
            _ => Ok(()),
        }
    }
}

impl Call<'_> {
    /// Asks an endpoint to switch, and switches if it does.
    pub(super) async fn switch(
        &self,
        wanted: &Wanted,
        (to, attempt): (Try<'_>, &Attempt<'_>),
        mut connection: Connection,
        messages: &mut Messages<'_>,
        body: &mut impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<u16, Error> {
        let exchange = self.exchange;
        let timeouts = &exchange.asked().timeouts;
        connection.begin(exchange.expires_ms, timeouts.body);
        if !connection.may_switch(timeouts.connect).await? {
            return Err(Error::UpgradeRefused(
                "the service's target does not go on with other protocols over HTTP/2 \
                 (SETTINGS_ENABLE_CONNECT_PROTOCOL)",
            ));
        }
        let is_http2 = connection.is_http2();
        let random = || [exchange.worker.random(), exchange.worker.random()];
        let key = (wanted.is_websocket() && !is_http2)
            .then(|| wanted.key.unwrap_or_else(|| websocket::new_key(random())));
        let head = self.upgrade_head(wanted, key.as_ref(), attempt);
        let (authority, path) = (self.authority(to), &*exchange.origin_path(self.request));
        connection.ask_to_switch(&head, authority, path, &wanted.protocol).await?;
        let mut source = connection.halves().1;
        self.read_answer((to, attempt), &mut source, messages, reply).await?;
        let status = messages.response.status;
        let has_switched = if is_http2 { (200..300).contains(&status) } else { status == 101 };
        if !has_switched {
            let keep_alive = || body.is_done();
            let outcome = exchange.respond(messages, None, &mut source, reply, keep_alive).await;
            if outcome.is_ok() {
                exchange.keep(to.endpoint, connection);
            }
            return outcome;
        }
        if !is_http2 {
            wanted.check(messages.response, key.as_ref())?;
        }
        self.finish_head(wanted, messages.response);
        reply.switch(messages.response, &wanted.protocol).await?;
        let hold = exchange.worker.shared_targets().hold(to.endpoint.target);
        let counts = exchange.worker.counts_of(exchange.snapshot, exchange.service);
        let is_websocket = wanted.is_websocket();
        let service = exchange.service;
        reply.keep_tunnel(Box::new(Tunnel::new(connection, hold, service, counts, is_websocket)));
        Ok(messages.response.status)
    }

    /// The head that an origin gets. What belongs to the handshake is as it must be, whatever
    /// plugins and the configuration have made of it.
    fn upgrade_head(
        &self,
        wanted: &Wanted,
        key: Option<&websocket::Key>,
        attempt: &Attempt<'_>,
    ) -> RequestHead {
        let exchange = self.exchange;
        let traced = attempt.head(self.request);
        let mut head = traced.as_deref().unwrap_or(self.request).clone();
        exchange.edit_for_target(&mut head.fields);
        head.fields.set_all(&exchange.fields_for_target(self.request));
        if wanted.is_websocket() {
            head.fields.remove(websocket::KEY.as_bytes());
            if let Some(key) = key {
                head.fields.push(b"Sec-WebSocket-Key", key);
            }
            head.fields.remove(websocket::VERSION.as_bytes());
            head.fields.push(b"Sec-WebSocket-Version", websocket::VERSION_13);
        }
        head
    }

    /// Reads the head that answers, interim ones before it.
    async fn read_answer(
        &self,
        (to, attempt): (Try<'_>, &Attempt<'_>),
        source: &mut ResponseSource<'_>,
        messages: &mut Messages<'_>,
        reply: &mut impl Reply,
    ) -> Result<(), Error> {
        let (method, wait) = (&self.request.method, self.patience(to));
        let head_bytes_max = self.exchange.snapshot.limits.head_bytes_max;
        for interim in 0.. {
            if interim > INTERIM_MAX {
                return Err(Error::BadResponse("upstream sent too many interim responses"));
            }
            source.read_head(method, wait, head_bytes_max, messages.response).await?;
            match messages.response.status {
                100 => {}
                102..200 => reply.interim(messages.response).await?,
                _ => break,
            }
        }
        let status = messages.response.status;
        attempt.answered(status);
        to.answered(status);
        match to.passes_over(status) && self.is_repeatable() && !reply.has_started() {
            true => Err(Error::Unavailable(status)),
            false => Ok(()),
        }
    }

    /// What the client gets of the origin's head. No plugin sees it.
    fn finish_head(&self, wanted: &Wanted, response: &mut ResponseHead) {
        response.status = if wanted.is_connect { 200 } else { 101 };
        response.body = BodyLength::Empty;
        self.exchange.edit_response(&mut response.fields);
        if wanted.is_websocket() {
            response.fields.remove(websocket::ACCEPT.as_bytes());
            if let Some(key) = &wanted.key {
                let accept = websocket::accept(key);
                response.fields.push(b"Sec-WebSocket-Accept", accept.as_bytes());
            }
        }
    }
}
