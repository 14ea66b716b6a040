//! Responses made of those of several services: the calls instead of an origin, and what completes
//! a response by further calls. What is called and where answers go is the business of
//! [`crate::aggregate`]; the calls of a request run side by side, on this worker.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::call::{Answer, Caller};
use super::{Exchange, Messages, NoSource, Reply, may_keep_alive, send_local};
use crate::aggregate::{Aggregation, Plan, json, merge};
use crate::error::Error;
use crate::http::message::{BodyLength, Fields, LocalResponse, Method, RequestHead, ResponseHead};
use crate::http::relay::{self, BodySource, Collected};
use crate::http::respond;
use crate::io::deadline::now_ms;
use crate::io::pace::Stretches;
use crate::io::timeout;
use crate::limits::{AGGREGATION_BODIES_MAX, AGGREGATION_CALLS_AT_ONCE};
use crate::plugin::{self, BodySlot, CallAnswer, Verdict};

/// Fields that are wrong for a response that has been completed: they name another one.
const OF_THE_ORIGINAL: [&[u8]; 7] = [
    b"ETag",
    b"Last-Modified",
    b"Accept-Ranges",
    b"Content-MD5",
    b"Digest",
    b"Content-Digest",
    b"Repr-Digest",
];

/// Takes out of a request what could make its response anything but the whole JSON text: a coding,
/// a range, "not modified" of what never was the whole.
pub(super) fn ask_for_whole_json(request: &mut RequestHead) {
    for name in ["Accept-Encoding", "Range", "If-Range"] {
        request.fields.remove(name.as_bytes());
    }
    if matches!(request.method, Method::Get | Method::Head) {
        for name in ["If-None-Match", "If-Modified-Since"] {
            request.fields.remove(name.as_bytes());
        }
    }
}

impl Exchange<'_> {
    /// Answers with what `calls` answer: joined by a plugin, or merged under their names.
    pub(super) async fn answer_by_calls(
        &self,
        aggregation: &Aggregation,
        mut messages: Messages<'_>,
        body: &impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<u16, Error> {
        let request = messages.request;
        let keep_alive = may_keep_alive(request, body, reply);
        let joined = match request.method {
            Method::Get | Method::Head => self.join(aggregation, &mut messages).await,
            _ => Err(not_allowed()),
        };
        match joined {
            Ok(bytes) => {
                let memory = Some(bytes);
                self.respond(&mut messages, memory, &mut NoSource, reply, || keep_alive).await
            }
            Err(local) => {
                messages.response.status = local.status;
                send_local(self.worker, local, keep_alive, reply).await
            }
        }
    }

    /// Makes the calls, and the response of their answers: its body, or the response to send
    /// instead.
    async fn join(
        &self,
        aggregation: &Aggregation,
        messages: &mut Messages<'_>,
    ) -> Result<Vec<u8>, LocalResponse> {
        let Messages { request, response, carried } = messages;
        let answers = self.call_all(aggregation, request).await?;
        response.clear();
        response.status = 200;
        let mut slot = BodySlot::default();
        if self.selected.has_aggregation() {
            let error_of = |answer: &Result<Answer, Error>| {
                let error = answer.as_ref().err();
                error.map(ToString::to_string)
            };
            let errors: Vec<_> = answers.iter().map(error_of).collect();
            let told = self.told(aggregation, &answers, &errors);
            let (chain, pools, facts) = (self.chain, self.worker.plugins(), self.facts());
            let verdict = plugin::run_aggregation(
                chain,
                self.selected,
                pools,
                &facts,
                request,
                &told,
                response,
                &mut slot,
                carried,
            )
            .await;
            // No plugin that joins answers cuts a client off.
            if let Verdict::Respond(local) = verdict {
                return Err(local);
            }
        }
        let bytes = slot.given.unwrap_or_else(|| {
            let named = aggregation.calls.iter().zip(&answers);
            let usable = named.filter_map(|(call, answer)| {
                let text = answer.as_ref().ok()?.json().ok()?;
                Some((call.name.as_str(), text))
            });
            response.fields.set(b"Content-Type", b"application/json");
            merge::merge(usable)
        });
        response.body = BodyLength::Known(bytes.len() as u64);
        Ok(bytes)
    }

    /// The answers of all `calls`, or the response that tells of a failed one.
    async fn call_all(
        &self,
        aggregation: &Aggregation,
        request: &RequestHead,
    ) -> Result<Vec<Result<Answer, Error>>, LocalResponse> {
        let (caller, stretches) = (Caller::new(self, request), Stretches::default());
        // A plugin takes answers that are not JSON; merging them cannot.
        let is_merged = !self.selected.has_aggregation();
        let failure = |answer: &Result<Answer, Error>| match answer {
            Err(error) => Some(error.to_string()),
            Ok(answer) if is_merged => answer.json().err(),
            Ok(answer) => merge::usable(answer.status, b"null").err(),
        };
        let calls = aggregation.calls.iter().map(async |call| {
            let target = match call.path.contains('?') {
                true => &call.path,
                false => &format!("{}{}", call.path, request.query),
            };
            let answer = caller.call(call.service, target).await?;
            if is_merged {
                stretches.run(|| drop(answer.json())).await;
            }
            Ok(answer)
        });
        let is_enough =
            |answer: &Result<Answer, Error>| aggregation.fail_on_error && failure(answer).is_some();
        let answers = together(calls, is_enough).await;
        for (call, answer) in aggregation.calls.iter().zip(&answers) {
            if let Some(why) = answer.as_ref().and_then(failure) {
                let service = &self.snapshot.services[call.service].name;
                let text = format!("aggregation call {:?} to {service:?} failed: {why}", call.name);
                self.failed(aggregation, text)?;
            }
        }
        // None is left out: only a failed one ends the others, and then this has returned.
        Ok(answers.into_iter().flatten().collect())
    }

    /// A failed call: logged, or the end of the request.
    fn failed(&self, aggregation: &Aggregation, text: String) -> Result<(), LocalResponse> {
        if self.worker.may_log_call() {
            let (service, request) = (&self.asked().name, self.request_id);
            tracing::warn!(service, request_id = request, "{text}");
        }
        match aggregation.fail_on_error {
            true => Err(respond::json_error(502, &text)),
            false => Ok(()),
        }
    }

    /// The answers as a plugin is told of them.
    fn told<'t>(
        &'t self,
        aggregation: &'t Aggregation,
        answers: &'t [Result<Answer, Error>],
        errors: &'t [Option<String>],
    ) -> Vec<CallAnswer<'t>> {
        let calls = aggregation.calls.iter().zip(answers).zip(errors);
        calls
            .map(|((call, answer), error)| {
                let answer = answer.as_ref().ok();
                CallAnswer {
                    name: &call.name,
                    service: &self.snapshot.services[call.service].name,
                    status: answer.map_or(0, |answer| answer.status),
                    fields: answer.map_or(const { &Fields::new() }, |answer| &answer.fields),
                    body: answer.map_or(&[], |answer| &answer.body),
                    error: error.as_deref(),
                }
            })
            .collect()
    }

    /// Completes a response by what the dependencies answer. What is not the whole JSON text of a
    /// success stays as it is.
    pub(super) async fn complete(
        &self,
        aggregation: &Aggregation,
        request: &RequestHead,
        response: &mut ResponseHead,
        memory: Option<Vec<u8>>,
        source: &mut impl BodySource,
    ) -> Result<Completed, Error> {
        let untouched = |memory: Option<Vec<u8>>| {
            memory.map_or(Completed::Untouched(Vec::new()), Completed::Whole)
        };
        if aggregation.dependencies.is_empty() || !may_be_whole_json(response) {
            return Ok(untouched(memory));
        }
        if !response.has_body(&request.method) {
            // To HEAD: how long the body would be is known only by making it.
            take_off_original(response);
            response.body = BodyLength::Unknown;
            return Ok(Completed::Untouched(Vec::new()));
        }
        let bytes = match memory {
            Some(bytes) => bytes,
            None => match self.collect_to_complete(response, source).await? {
                Collected { bytes, is_whole: true } => bytes,
                Collected { bytes, is_whole: false } => {
                    let text = format!("aggregation left out: {}", Error::ResponseTooLarge);
                    let failed = self.failed(aggregation, text);
                    return Ok(
                        failed.map_or_else(Completed::Failed, |()| Completed::Untouched(bytes))
                    );
                }
            },
        };
        let Some(document) = json::text_of(&bytes) else {
            return Ok(Completed::Whole(bytes));
        };
        take_off_original(response);
        match self.complete_text(aggregation, request, document).await {
            Ok(whole) => Ok(Completed::Whole(whole.unwrap_or(bytes))),
            Err(Failure::Told(local)) => Ok(Completed::Failed(local)),
            Err(Failure::Failed(error)) => Err(error),
        }
    }

    /// Reads a response's body as far as it may be held in memory.
    async fn collect_to_complete(
        &self,
        response: &ResponseHead,
        source: &mut impl BodySource,
    ) -> Result<Collected, Error> {
        let bytes_max = self.snapshot.limits.plugin_body_bytes_max;
        let buffers = self.worker.buffers();
        relay::collect(source, response.body, bytes_max, buffers, &self.held).await
    }

    /// `document` with the answers in it; `None` if it needs none.
    async fn complete_text(
        &self,
        aggregation: &Aggregation,
        request: &RequestHead,
        document: &str,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let dependencies = &aggregation.dependencies;
        let stretches = Stretches::default();
        let plan = self.in_time(Plan::of(document, dependencies, &stretches)).await?;
        let name_of = |dependency: usize| {
            let service = dependencies[dependency].service;
            &self.snapshot.services[service].name
        };
        for problem in &plan.problems {
            let (name, why) = (name_of(problem.dependency), &problem.text);
            self.failed(aggregation, format!("aggregation dependency {name:?} failed: {why}"))?;
        }
        if plan.calls.is_empty() {
            return Ok(None);
        }
        let caller = Caller::new(self, request);
        let calls = plan.calls.iter().map(async |call| {
            let service = dependencies[call.dependency].service;
            let answer = caller.call(service, &call.path).await?;
            stretches.run(|| drop(answer.json())).await;
            Ok(answer)
        });
        let is_enough = |answer: &Result<Answer, Error>| {
            aggregation.fail_on_error && !answer.as_ref().is_ok_and(|answer| answer.json().is_ok())
        };
        let answers = together(calls, is_enough).await;
        let mut texts = Vec::with_capacity(answers.len());
        for (call, answer) in plan.calls.iter().zip(&answers) {
            let text = match answer {
                None => None,
                Some(Ok(answer)) => Some(answer.json()),
                Some(Err(error)) => Some(Err(error.to_string())),
            };
            if let Some(Err(why)) = &text {
                let (name, path) = (name_of(call.dependency), &call.path);
                let text = format!("aggregation dependency {name:?} failed at {path}: {why}");
                self.failed(aggregation, text)?;
            }
            texts.push(text.and_then(Result::ok));
        }
        let limits = &self.snapshot.limits;
        let bytes_max = limits.plugin_body_bytes_max.saturating_mul(AGGREGATION_BODIES_MAX);
        let whole = plan.complete(document, dependencies, &texts, bytes_max, &stretches);
        self.in_time(whole).await?.map(Some).ok_or(Failure::Failed(Error::ResponseTooLarge))
    }

    /// Computes no longer than the exchange may last.
    async fn in_time<T>(&self, computing: impl Future<Output = T>) -> Result<T, Failure> {
        let left = Duration::from_millis(self.expires_ms.saturating_sub(now_ms()));
        let computed = timeout(left, computing).await;
        computed.map_err(|_| Failure::Failed(Error::UpstreamTimeout))
    }
}

/// What became of a response that was to be completed.
pub(super) enum Completed {
    /// Its whole body is in memory now.
    Whole(Vec<u8>),
    /// It stays as it is: this of its body has been read, the rest is still with its source.
    Untouched(Vec<u8>),
    /// A dependency failed that must not: this tells the client.
    Failed(LocalResponse),
}

fn take_off_original(response: &mut ResponseHead) {
    for name in OF_THE_ORIGINAL {
        response.fields.remove(name);
    }
}

/// Why a response cannot be completed.
enum Failure {
    /// A call failed that must not: this tells the client.
    Told(LocalResponse),
    /// It would be too large, or take too long.
    Failed(Error),
}

impl From<LocalResponse> for Failure {
    fn from(local: LocalResponse) -> Self {
        Self::Told(local)
    }
}

/// Whether a response is a success that says it is JSON, or does not say what it is.
fn may_be_whole_json(response: &ResponseHead) -> bool {
    let is_whole = (200..300).contains(&response.status) && !matches!(response.status, 204..=206);
    let is_json = response.fields.get("content-type").is_none_or(|value| {
        let kind = value.split(|&byte| byte == b';').next().unwrap_or_default();
        let kind = kind.trim_ascii().to_ascii_lowercase();
        kind == b"application/json" || kind.ends_with(b"+json")
    });
    let is_plain = response
        .fields
        .get("content-encoding")
        .is_none_or(|value| value.eq_ignore_ascii_case(b"identity"));
    is_whole && is_json && is_plain
}

/// Calls are GETs: what another method sends or asks for could not be divided among them.
fn not_allowed() -> LocalResponse {
    let text = "an aggregation of calls answers GET and HEAD";
    let mut local = respond::json_error(405, text);
    local.fields.push(b"Allow", b"GET, HEAD");
    local
}

/// Runs futures side by side, some at a time, until all have ended or the output of one is enough.
/// `None` for those that were given up then, or not begun.
async fn together<F: Future>(
    futures: impl ExactSizeIterator<Item = F>,
    is_enough: impl Fn(&F::Output) -> bool,
) -> Vec<Option<F::Output>> {
    let mut outputs: Vec<Option<F::Output>> = (0..futures.len()).map(|_| None).collect();
    let mut left = futures.enumerate();
    let mut running: Vec<(usize, Pin<Box<F>>)> = Vec::new();
    poll_fn(|cx| {
        loop {
            let room = AGGREGATION_CALLS_AT_ONCE.saturating_sub(running.len());
            running.extend(left.by_ref().take(room).map(|(at, future)| (at, Box::pin(future))));
            let mut has_ended = false;
            let mut at = 0;
            while let Some((place, future)) = running.get_mut(at) {
                let Poll::Ready(output) = future.as_mut().poll(cx) else {
                    at += 1;
                    continue;
                };
                let is_last = is_enough(&output);
                outputs[*place] = Some(output);
                drop(running.swap_remove(at));
                if is_last {
                    return Poll::Ready(());
                }
                has_ended = true;
            }
            if running.is_empty() && left.len() == 0 {
                return Poll::Ready(());
            }
            // Those that have just ended make room for others, which must be polled once.
            if !has_ended || left.len() == 0 {
                return Poll::Pending;
            }
        }
    })
    .await;
    outputs
}
