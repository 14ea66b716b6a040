//! The request phase of an exchange: its body as far as plugins read it, the plugins, and what goes
//! on.

use std::cell::Cell;
use std::pin::pin;

use super::decode;
use super::feeding::of_whole;
use super::forward::Payload;
use super::passing::{Collecting, Through};
use super::reply::answer_of;
use super::{Exchange, Messages, Reply, may_keep_alive};
use crate::error::Error;
use crate::http::coding::Undo;
use crate::http::message::{BodyLength, LocalResponse, RequestHead};
use crate::http::relay::{self, BodySource, Collected, PumpFailure, Trailers};
use crate::io::budget::Held;
use crate::plugin::{self, BodySlot, Carried, Part, Phase, Verdict};

impl Exchange<'_> {
    /// Runs the request phase of the chain: the payload to go on with, or a plugin's verdict.
    pub(super) async fn request_phase(
        &self,
        request: &mut RequestHead,
        carried: &mut Carried,
        body: &mut impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<Result<Payload, LocalResponse>, Error> {
        if !self.selected.has_request_phase() {
            return Ok(Ok(Payload::Stream));
        }
        let mut slot = BodySlot::default();
        let mut prefix = Vec::new();
        let mut part = Part::All;
        if self.selected.needs_request_body() && request.body != BodyLength::Empty {
            // What needs no body comes first and may refuse: no memory for whom auth turns away.
            if self.selected.has_bodiless_start() {
                let verdict = self.run_plugins(Part::BeforeBody, request, &mut slot, carried).await;
                if let Some(local) = answer_of(verdict)? {
                    return Ok(Err(local));
                }
                part = Part::FromBody;
            }
            if slot.given.is_none() {
                let encoding = self.selected.request_encoding();
                let codings = decode::of_request(encoding, &request.fields)?;
                match self.collect_request(request, body, reply).await? {
                    Collected { bytes, is_whole: true } => {
                        let plain =
                            self.plain(codings, bytes, &mut request.fields, decode::OF_REQUEST);
                        (slot.given, prefix) = plain.await?;
                    }
                    Collected { bytes, is_whole: false } => prefix = bytes,
                }
            }
        }
        let passes_in_pieces =
            self.selected.streams_request_body() || self.selected.asks_for_request_body();
        let is_given_in_pieces =
            passes_in_pieces && slot.given.is_none() && request.body != BodyLength::Empty;
        let mut undo = None;
        if is_given_in_pieces {
            let codings = decode::of_request(self.selected.request_encoding(), &request.fields)?;
            undo = codings.map(|codings| self.plain_pieces(&codings, &mut request.fields));
        }
        if self.selected.has_handlers() {
            // Boxed: other exchanges shall not be as large.
            let read = (undo, prefix);
            let fed = self.run_fed(part, request, (slot, read), carried, body, reply);
            return Box::pin(fed).await;
        }
        let verdict = self.run_plugins(part, request, &mut slot, carried).await;
        if let Some(local) = answer_of(verdict)? {
            return Ok(Err(local));
        }
        if is_given_in_pieces && slot.given.is_none() {
            let mut through = self.through(Phase::Request, undo, carried);
            if !through.is_idle() {
                through.prefix = prefix;
                request.body = BodyLength::Unknown;
                return Ok(Ok(Payload::Through(Cell::new(Some(through)))));
            }
        }
        Ok(Ok(match slot.given {
            Some(bytes) => {
                request.body = BodyLength::Known(bytes.len() as u64);
                Payload::Memory(bytes)
            }
            None if prefix.is_empty() => Payload::Stream,
            None => Payload::Prefix(prefix),
        }))
    }

    /// Runs plugins some of which read the body in their calls; what is left of it goes on.
    async fn run_fed(
        &self,
        part: Part,
        request: &mut RequestHead,
        (mut slot, (undo, prefix)): (BodySlot, (Option<Undo>, Vec<u8>)),
        carried: &mut Carried,
        body: &mut impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<Result<Payload, LocalResponse>, Error> {
        let length = if slot.given.is_some() { BodyLength::Empty } else { request.body };
        let mut feeding = self.feeding(carried, undo, length, &decode::OF_REQUEST);
        if slot.given.is_some() {
            feeding.know_trailers(body.trailers());
        }
        if !prefix.is_empty() {
            feeding.begin_with(&prefix);
        }
        let verdict = {
            let plugins = pin!(self.run_plugins(part, request, &mut slot, carried));
            feeding.serve(plugins, body, async || reply.invite_body().await).await?
        };
        if let Some(local) = answer_of(verdict)? {
            return Ok(Err(local));
        }
        let fed = feeding.finish();
        let undo = feeding.undo.take().filter(|_| fed.end.is_none());
        let is_plain = undo.is_none() && fed.has_plain_end() && !carried.has_stages();
        let is_whole = slot.given.is_some() || fed.end.is_some();
        if slot.given.is_none() && request.body == BodyLength::Empty {
            return Ok(Ok(Payload::Stream));
        }
        if is_plain && is_whole {
            let bytes = slot.given.unwrap_or(fed.bytes);
            request.body = BodyLength::Known(bytes.len() as u64);
            return Ok(Ok(Payload::Memory(bytes)));
        }
        if is_plain && !fed.is_touched {
            return Ok(Ok(Payload::Stream));
        }
        if !is_plain || fed.is_used {
            request.body = BodyLength::Unknown;
        }
        let mut through = self.through(Phase::Request, undo, carried);
        through.fed = of_whole(slot.given, fed);
        Ok(Ok(Payload::Through(Cell::new(Some(through)))))
    }

    async fn run_plugins(
        &self,
        part: Part,
        request: &mut RequestHead,
        slot: &mut BodySlot,
        carried: &mut Carried,
    ) -> Verdict {
        let (chain, pools) = (self.chain, self.worker.plugins());
        let facts = self.facts();
        // Pooled, as in the response phase: an exchange without plugins stays small.
        self.worker
            .futures()
            .pooled(|| {
                let selected = self.selected;
                plugin::run_request(chain, selected, part, pools, &facts, request, slot, carried)
            })
            .await
    }

    /// Reads the request's body for the plugins: whole, or as far as is read before a body that may
    /// pass them turns out too large.
    async fn collect_request(
        &self,
        request: &RequestHead,
        body: &mut impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<Collected, Error> {
        reply.invite_body().await?;
        self.collect(request.body, body, Error::BodyTooLarge).await
    }

    pub(super) async fn collect(
        &self,
        length: BodyLength,
        source: &mut impl BodySource,
        too_large: Error,
    ) -> Result<Collected, Error> {
        let bytes_max = self.snapshot.limits.plugin_body_bytes_max;
        let is_rejected = self.selected.rejects_large_bodies();
        let buffers = self.worker.buffers();
        let collected = relay::collect(source, length, bytes_max, buffers, &self.held).await?;
        if is_rejected && !collected.is_whole { Err(too_large) } else { Ok(collected) }
    }

    /// The body that the echo shows: collected whatever plugins read, under the same limit.
    pub(super) async fn echo_body(
        &self,
        request: &RequestHead,
        payload: Payload,
        body: &mut impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<Vec<u8>, Error> {
        match payload {
            Payload::Memory(bytes) => Ok(bytes),
            Payload::Stream if request.body == BodyLength::Empty => Ok(Vec::new()),
            Payload::Prefix(_) => Err(Error::BodyTooLarge),
            Payload::Through(through) => {
                let Some(mut through) = through.take() else {
                    return Err(Error::CutByPlugin);
                };
                reply.invite_body().await?;
                let bytes_max = self.snapshot.limits.plugin_body_bytes_max;
                let mut sink = Collecting { bytes: Vec::new(), bytes_max, held: &self.held };
                let (none, buffers) = (Trailers::Named(&[]), self.worker.buffers());
                through
                    .pump(body, &mut sink, none, buffers, &self.instead)
                    .await
                    .map_err(PumpFailure::error)?;
                Ok(sink.bytes)
            }
            Payload::Stream => {
                reply.invite_body().await?;
                let bytes_max = self.snapshot.limits.plugin_body_bytes_max;
                let (length, buffers) = (request.body, self.worker.buffers());
                let collected =
                    relay::collect(body, length, bytes_max, buffers, &self.held).await?;
                if collected.is_whole { Ok(collected.bytes) } else { Err(Error::BodyTooLarge) }
            }
        }
    }

    /// The plugins that the body of a message passes from here on, piece by piece.
    pub(super) fn through(
        &self,
        phase: Phase,
        undo: Option<Undo>,
        carried: &mut Carried,
    ) -> Box<Through> {
        let held = Held::of(self.worker.budget());
        let passage = carried.take_passage(phase, &self.facts(), held);
        let refusals = match phase {
            Phase::Request => &decode::OF_REQUEST,
            Phase::Response | Phase::Aggregation => &decode::OF_RESPONSE,
        };
        Box::new(Through::new(passage, undo, refusals))
    }

    /// A plugin has ended the exchange while a body passed it: its answer is sent if nothing of
    /// another has been.
    pub(super) async fn answer_for_plugin(
        &self,
        mut messages: Messages<'_>,
        body: &mut impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<u16, Error> {
        let Some(local) = self.instead.take().filter(|_| reply.take_back()) else {
            return Err(Error::CutByPlugin);
        };
        let keep_alive = may_keep_alive(messages.request, body, reply);
        if self.has_responded.get() {
            // The plugins have seen the response that this one takes the place of.
            messages.response.status = local.status;
            return self.send_instead(local, keep_alive, reply).await;
        }
        self.answer_instead(&mut messages, local, keep_alive, reply).await
    }
}
