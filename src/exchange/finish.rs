//! The end of an exchange: the response phase, and the response on its way to the client.

use std::pin::pin;

use super::aggregate::Completed;
use super::coded::Reserved;
use super::decode::{self, Read};
use super::feeding::of_whole;
use super::passing::Through;
use super::reply::answer_of;
use super::{Exchange, Messages, NoSource, Reply, send_local, terms};
use crate::error::Error;
use crate::http::coding::Undo;
use crate::http::message::{BodyLength, Fields, LocalResponse, RequestHead, ResponseHead};
use crate::http::relay::{self, BodySource, Collected, Replay, Trailers};
use crate::plugin::{self, BodySlot, Carried, Phase};

impl Exchange<'_> {
    /// Runs the response phase of the chain over a response that is whole in memory or still with
    /// its source; then relays it.
    pub(super) async fn respond(
        &self,
        messages: &mut Messages<'_>,
        memory: Option<Vec<u8>>,
        source: &mut impl BodySource,
        reply: &mut impl Reply,
        keep_alive: impl Fn() -> bool,
    ) -> Result<u16, Error> {
        let Messages { request, response, carried } = messages;
        self.has_responded.set(true);
        // What the source sends goes by the method that it was asked with.
        let has_body = response.has_body(&request.method);
        let mut slot = BodySlot { given: memory, replaced: false };
        let mut prefix = Vec::new();
        if let Some(aggregation) = &self.asked().aggregation
            && !carried.is_answered()
        {
            let complete = self.complete(aggregation, request, response, slot.given.take(), source);
            match Box::pin(complete).await? {
                Completed::Whole(bytes) => slot.given = Some(bytes),
                Completed::Untouched(bytes) => prefix = bytes,
                Completed::Failed(local) => {
                    response.status = local.status;
                    return self.send_instead(local, keep_alive(), reply).await;
                }
            }
        }
        if self.selected.has_response_phase() {
            let wants = self.selected.asks_for_response_body() && carried.wants_response_body();
            let is_behind = wants && self.selected.streams_response_body();
            if self.selected.needs_response_body() || is_behind {
                let read = (slot.given.take(), prefix);
                let read = self.read_for_plugins(response, has_body, read, source);
                (slot.given, prefix) = read.await?;
            }
            let is_piecemeal = self.selected.streams_response_body() || wants;
            let undo = match is_piecemeal && slot.given.is_none() {
                true => self.describe_pieces(response, has_body)?,
                false => None,
            };
            if self.selected.has_handlers() {
                // Boxed: other exchanges shall not be as large.
                let read = (has_body, slot, undo, prefix);
                return Box::pin(self.respond_fed(messages, read, source, reply, keep_alive)).await;
            }
            let facts = &self.facts();
            let (chain, pools) = (self.chain, self.worker.plugins());
            let selected = self.selected;
            let verdict = {
                let request: &RequestHead = request;
                let (response, slot, carried) = (&mut **response, &mut slot, &mut **carried);
                // As the request phase: an exchange without plugins stays small.
                let rooms = self.worker.futures();
                let run = rooms.pooled(move || {
                    plugin::run_response(
                        chain, selected, pools, facts, request, response, slot, carried,
                    )
                });
                run.await
            };
            if let Some(local) = answer_of(verdict)? {
                response.status = local.status;
                return self.send_instead(local, keep_alive(), reply).await;
            }
            if self.selected.streams_response_body() && slot.given.is_none() {
                let through = self.through(Phase::Response, undo, carried);
                if !through.is_idle() {
                    // Boxed: other exchanges shall not be as large.
                    let through = (through, prefix);
                    let sent = self.send_through(response, through, source, reply, keep_alive());
                    return Box::pin(sent).await;
                }
            }
        }
        self.send(response, (has_body, slot.given, prefix), source, reply, keep_alive()).await
    }

    /// As [`Self::respond`], where plugins may read the body in their calls.
    async fn respond_fed(
        &self,
        messages: &mut Messages<'_>,
        (has_body, mut slot, undo, prefix): (bool, BodySlot, Option<Undo>, Vec<u8>),
        source: &mut impl BodySource,
        reply: &mut impl Reply,
        keep_alive: impl Fn() -> bool,
    ) -> Result<u16, Error> {
        let Messages { request, response, carried } = messages;
        let is_there = has_body && slot.given.is_none();
        let length = if is_there { response.body } else { BodyLength::Empty };
        let mut feeding = self.feeding(carried, undo, length, &decode::OF_RESPONSE);
        if has_body && slot.given.is_some() {
            feeding.know_trailers(source.trailers());
        }
        if !prefix.is_empty() {
            feeding.begin_with(&prefix);
        }
        let facts = &self.facts();
        let (chain, pools, selected) = (self.chain, self.worker.plugins(), self.selected);
        let verdict = {
            let (response, slot, carried) = (&mut **response, &mut slot, &mut **carried);
            let run = plugin::run_response(
                chain, selected, pools, facts, request, response, slot, carried,
            );
            feeding.serve(pin!(run), source, async || Ok(())).await?
        };
        if let Some(local) = answer_of(verdict)? {
            response.status = local.status;
            return self.send_instead(local, keep_alive(), reply).await;
        }
        let mut fed = feeding.finish();
        let undo = feeding.undo.take().filter(|_| fed.end.is_none());
        let is_plain = undo.is_none() && fed.has_plain_end() && !carried.has_stages();
        let is_bodiless = !is_there && slot.given.is_none() && !carried.has_stages();
        let given = match slot.given.take() {
            None if is_plain && is_there && fed.end.is_some() => {
                Some(std::mem::take(&mut fed.bytes))
            }
            given => given,
        };
        if is_bodiless || is_plain && (given.is_some() || !fed.is_touched) {
            let body = (has_body, given, Vec::new());
            return self.send(response, body, source, reply, keep_alive()).await;
        }
        slot.given = given;
        let mut through = self.through(Phase::Response, undo, carried);
        through.fed = of_whole(slot.given, fed);
        self.send_through(response, (through, Vec::new()), source, reply, keep_alive()).await
    }

    /// Makes the head of a response whose body is given to plugins piece by piece what they are to
    /// see; what has to be undone of the body.
    fn describe_pieces(
        &self,
        response: &mut ResponseHead,
        has_body: bool,
    ) -> Result<Option<Undo>, Error> {
        let encoding = self.selected.response_encoding();
        if !has_body {
            if let Ok(Some(_)) = decode::of_response(encoding, response) {
                decode::describe_without_body(response);
            }
            // Plugins may make the body that is not here longer or shorter.
            response.body = BodyLength::Unknown;
            return Ok(None);
        }
        let Some(codings) = decode::of_response(encoding, response)? else {
            return Ok(None);
        };
        if response.body != BodyLength::Empty {
            response.body = BodyLength::Unknown;
        }
        Ok(Some(self.plain_pieces(&codings, &mut response.fields)))
    }

    /// Sends a response whose body plugins are given piece by piece; it begins with `prefix`.
    async fn send_through(
        &self,
        response: &mut ResponseHead,
        (mut through, prefix): (Box<Through>, Vec<u8>),
        source: &mut impl BodySource,
        reply: &mut impl Reply,
        keep_alive: bool,
    ) -> Result<u16, Error> {
        if response.body != BodyLength::Empty {
            response.body = BodyLength::Unknown;
        }
        let (gets_body, encoder) = self.begin(response, reply, keep_alive);
        if !gets_body || response.body == BodyLength::Empty {
            return reply.finish(&Fields::new()).await.map(|()| response.status);
        }
        through.prefix = prefix;
        let trailers = Trailers::Named(&self.asked().response_trailers);
        let (buffers, instead) = (self.worker.buffers(), &self.instead);
        let pumped = match encoder {
            None => through.pump(source, reply, trailers, buffers, instead).await,
            Some(encoder) => {
                let mut sink = encoder.into_sink(reply, buffers);
                through.pump(source, &mut sink, trailers, buffers, instead).await
            }
        };
        pumped.map(|()| response.status).map_err(relay::PumpFailure::error)
    }

    /// Begins a response that is final; whether this client gets its body, and what encodes that.
    fn begin(
        &self,
        response: &mut ResponseHead,
        reply: &mut impl Reply,
        keep_alive: bool,
    ) -> (bool, Option<Reserved>) {
        let gets_body = reply.has_body(response);
        if !response.fields.contains("date") {
            // RFC 9110 section 6.6.1: who forwards adds what the origin has left out.
            self.worker.with_date(|date| response.fields.push(b"Date", date));
        }
        self.edit_response(&mut response.fields);
        let mut encoder = None;
        if let Some(terms) = self.terms {
            terms::tell(Some(terms), &mut response.fields);
            terms.add_cookie(&mut response.fields);
            encoder = self.encoder(terms, response, gets_body);
        }
        self.add_server_timing(&mut response.fields);
        reply.head(response, gets_body, keep_alive);
        (gets_body, encoder)
    }

    /// Reads the body of a response, of which something may have been read already, and takes its
    /// content codings off.
    async fn read_for_plugins(
        &self,
        response: &mut ResponseHead,
        has_body: bool,
        (whole, prefix): Read,
        source: &mut impl BodySource,
    ) -> Result<Read, Error> {
        let encoding = self.selected.response_encoding();
        if !has_body {
            if let Ok(Some(_)) = decode::of_response(encoding, response) {
                decode::describe_without_body(response);
            }
            return Ok((whole, prefix));
        }
        let codings = decode::of_response(encoding, response)?;
        let bytes = match whole {
            Some(bytes) => bytes,
            // Too large for the aggregation, and so for plugins: the limit is the same.
            None if !prefix.is_empty() && self.selected.rejects_large_bodies() => {
                return Err(Error::ResponseTooLarge);
            }
            None if !prefix.is_empty() => return Ok((None, prefix)),
            None => match self.collect(response.body, source, Error::ResponseTooLarge).await? {
                Collected { bytes, is_whole: true } => bytes,
                Collected { bytes, is_whole: false } => return Ok((None, bytes)),
            },
        };
        self.plain(codings, bytes, &mut response.fields, decode::OF_RESPONSE).await
    }

    /// Sends a response that is final. Of its body, the source sends any if `has_body`; it is
    /// `given` whole, or begins with `prefix`.
    async fn send(
        &self,
        response: &mut ResponseHead,
        (has_body, given, prefix): (bool, Option<Vec<u8>>, Vec<u8>),
        source: &mut impl BodySource,
        reply: &mut impl Reply,
        keep_alive: bool,
    ) -> Result<u16, Error> {
        self.check_status(response.status)?;
        let gets_body = reply.has_body(response);
        if let Some(bytes) = &given {
            response.body = BodyLength::Known(bytes.len() as u64);
        } else if gets_body && !has_body {
            // A plugin has changed the status or the method, and with it whether there is a body:
            // what the source has said of its length is of one that it does not send.
            response.body = BodyLength::Empty;
        }
        let (gets_body, encoder) = self.begin(response, reply, keep_alive);
        // What plugins have let pass is the head.
        let trailers = match self.selected.has_response_phase() {
            true => Trailers::Named(&self.asked().response_trailers),
            false => Trailers::All,
        };
        if let Some(encoder) = encoder {
            // Boxed: other exchanges shall not be as large as those that are compressed.
            let body = (given, prefix);
            return Box::pin(self.send_coded(
                encoder,
                response.status,
                body,
                source,
                reply,
                trailers,
            ))
            .await;
        }
        let relayed = match &given {
            _ if !gets_body || response.body == BodyLength::Empty => {
                return reply.finish(&Fields::new()).await.map(|()| response.status);
            }
            Some(bytes) => relay::send(bytes, reply, self.worker.buffers()).await,
            None if prefix.is_empty() => relay::pump(source, reply, trailers).await,
            None => {
                let mut whole = Replay::new(&prefix, Some(source), self.worker.buffers());
                relay::pump(&mut whole, reply, trailers).await
            }
        };
        relayed.map(|()| response.status).map_err(relay::PumpFailure::error)
    }

    /// Answers in the place of the service with what a plugin said in the request phase. A refusal
    /// is final; what a `response` plugin had ready is a response of the service, which the plugins
    /// behind it have not seen yet.
    pub(super) async fn answer_instead(
        &self,
        messages: &mut Messages<'_>,
        local: LocalResponse,
        keep_alive: bool,
        reply: &mut impl Reply,
    ) -> Result<u16, Error> {
        let Messages { request, response, carried } = messages;
        response.status = local.status;
        if !carried.is_answered() {
            let local = match carried.has_open_contexts() {
                true => Box::pin(self.show(request, local, carried)).await?,
                false => local,
            };
            response.status = local.status;
            return self.send_instead(local, keep_alive, reply).await;
        }
        response.fields = local.fields;
        response.body = BodyLength::Known(local.body.len() as u64);
        // Boxed: other exchanges shall not be as large as those that a cache answers.
        let memory = Some(local.body);
        Box::pin(self.respond(messages, memory, &mut NoSource, reply, || keep_alive)).await
    }

    /// Shows an answer that was made here to those plugins that see every one.
    async fn show(
        &self,
        request: &RequestHead,
        local: LocalResponse,
        carried: &mut Carried,
    ) -> Result<LocalResponse, Error> {
        let (chain, pools) = (self.chain, self.worker.plugins());
        let facts = self.facts();
        let shown = plugin::run_local(chain, pools, &facts, request, local, carried).await;
        // What it makes of an answer is one.
        answer_of(shown).map(Option::unwrap_or_default)
    }

    /// Sends a response that was made here in the place of the origin's; its status.
    pub(super) async fn send_instead(
        &self,
        mut local: LocalResponse,
        keep_alive: bool,
        reply: &mut impl Reply,
    ) -> Result<u16, Error> {
        self.check_status(local.status)?;
        terms::tell(self.terms, &mut local.fields);
        self.add_server_timing(&mut local.fields);
        send_local(self.worker, local, keep_alive, reply).await
    }
}
