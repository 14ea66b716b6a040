//! HTTP calls of a filter: made beside its exchanges, answered by a callback of the root.
//!
//! Every call is answered once, also when its exchange is gone: the SDKs keep what belongs to it
//! until then.

use std::rc::Rc;

use super::super::failure::CallError;
use super::super::hostcalls::make_call;
use super::super::log::Ids;
use super::super::spec::LogLevel;
use super::filter::{Filter, Turn};
use super::guest::int;
use super::map::View;
use super::state::{Asked, ROOT};
use crate::upstream::call::Answer;

/// Makes a call; its answer comes as a turn of its own.
pub(super) fn begin(filter: &Rc<Filter>, asked: Asked) {
    if filter.pool.is_closed() {
        return;
    }
    filter.busy.set(filter.busy.get() + 1);
    let filter = Rc::clone(filter);
    crate::io::spawn(async move {
        let Asked { token, request, timeout } = asked;
        let (host, plugin) = (Rc::clone(filter.pool.host()), filter.pool.plugin().clone());
        let made = crate::io::timeout(timeout, make_call(&host, &plugin, &request)).await;
        let outcome = made.unwrap_or_else(|_| Err(format!("no whole answer within {timeout:?}")));
        let answer = match outcome {
            Ok(answer) => Some(answer),
            Err(why) => {
                let text = format!("proxy_http_call: {}: {why}", request.shown());
                host.log.gateway(LogLevel::Warn, Ids::default(), &text);
                None
            }
        };
        let deadline = filter.deadline();
        if let Ok(turn) = filter.turn(deadline).await {
            // A failure is told to whoever waits for the filter, and in the log by its exchange.
            if let Err(error) = turn.answer(token, answer).await {
                filter.pool.tell(LogLevel::Error, &error.during("proxy_on_http_call_response"));
            }
        }
        filter.leave();
    });
}

impl Turn {
    async fn answer(mut self, token: u32, answer: Option<Answer>) -> Result<(), CallError> {
        let deadline = self.filter.deadline();
        self.begin(deadline, Ids::default())?;
        let ran = self.run_answer(token, answer).await;
        self.finish(ran)
    }

    async fn run_answer(&mut self, token: u32, answer: Option<Answer>) -> Result<(), CallError> {
        let instance = self.instance()?;
        let policy = instance.store.data().plugin.non_utf8();
        let guest = instance.guest.filter()?;
        let state = &mut instance.store.data_mut().filter;
        state.calls = state.calls.saturating_sub(1);
        let Some(function) = &guest.on_http_call_response else {
            return Ok(());
        };
        state.current = ROOT;
        let (headers, body) = match &answer {
            // The status is one of them.
            Some(answer) => (View::answer(answer).len(policy), answer.body.len()),
            None => (0, 0),
        };
        state.answer = answer;
        let arguments = (int(ROOT), int(token), int(headers), int(body), 0);
        let called = function.call_async(&mut instance.store, arguments).await;
        instance.store.data_mut().filter.answer = None;
        called.map_err(CallError::from)
    }
}
