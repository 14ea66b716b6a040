//! The end of an exchange: the response phase, and the response on its way to the client.

use super::aggregate::Completed;
use super::decode::{self, Read};
use super::reply::answer_of;
use super::{Exchange, Messages, NoSource, Reply, send_local};
use crate::error::Error;
use crate::http::message::{BodyLength, Fields, LocalResponse, RequestHead, ResponseHead};
use crate::http::relay::{self, BodySource, Collected, Replay, Trailers};
use crate::plugin::{self, BodySlot, Carried};

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
        // What the source sends goes by the method that it was asked with.
        let has_body = response.has_body(&request.method);
        let mut slot = BodySlot { given: memory, replaced: false };
        let mut prefix = Vec::new();
        if let Some(aggregation) = &self.service.aggregation
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
            if self.selected.needs_response_body() {
                let read = (slot.given.take(), prefix);
                let read = self.read_for_plugins(response, has_body, read, source);
                (slot.given, prefix) = read.await?;
            }
            let facts = &self.facts();
            let (chain, pools) = (&self.service.chain, self.worker.plugins());
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
        }
        self.send(response, (has_body, slot.given, prefix), source, reply, keep_alive()).await
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
        let gets_body = reply.has_body(response);
        if let Some(bytes) = &given {
            response.body = BodyLength::Known(bytes.len() as u64);
        } else if gets_body && !has_body {
            // A plugin has changed the status or the method, and with it whether there is a body:
            // what the source has said of its length is of one that it does not send.
            response.body = BodyLength::Empty;
        }
        if !response.fields.contains("date") {
            // RFC 9110 section 6.6.1: who forwards adds what the origin has left out.
            self.worker.with_date(|date| response.fields.push(b"Date", date));
        }
        if let Some(edit) = &self.service.response_edit {
            edit.apply(&mut response.fields);
        }
        self.add_server_timing(&mut response.fields);
        reply.head(response, gets_body, keep_alive);
        // What plugins have let pass is the head.
        let trailers = match self.selected.has_response_phase() {
            true => Trailers::Named(&self.service.response_trailers),
            false => Trailers::All,
        };
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
        relayed.map(|()| response.status).map_err(|failure| match failure {
            relay::PumpFailure::Source(error) | relay::PumpFailure::Sink(error) => error,
        })
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
        let (chain, pools) = (&self.service.chain, self.worker.plugins());
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
        self.add_server_timing(&mut local.fields);
        send_local(self.worker, local, keep_alive, reply).await
    }
}
