//! What the tests of plugins share: guests written as text, a runtime with a log that can be read,
//! a worker on each of the two I/O drivers.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::chain::Part;
use super::{
    BodySlot, CallAnswer, Carried, Chain, Facts, LogSink, MessageBounds, Phase, Plugin, PluginLine,
    PluginSpec, PluginType, Pools, Runtime, RuntimeOptions, Selected, Verdict, run_aggregation,
    run_request, run_response,
};
use crate::http::connection::{Connection, Scheme};
use crate::http::message::{Fields, LocalResponse, Method, RequestHead, ResponseHead};
use crate::io::driver::{Driver, block_on, try_io_uring};

/// Runs a test on every driver that this machine has, each with a runtime like a worker's.
pub(super) fn on_both_drivers<F: Future<Output = ()>>(test: impl Fn() -> F) {
    block_on(Driver::Epoll, test()).unwrap();
    if try_io_uring().is_ok() {
        block_on(Driver::IoUring, test()).unwrap();
    }
}

#[derive(Debug)]
struct ChannelSink(Sender<String>);

impl LogSink for ChannelSink {
    fn plugin_line(&self, line: &PluginLine<'_>) {
        let PluginLine { plugin, request_id, level, text, .. } = line;
        let level = level.as_str();
        let _nobody_reads = self.0.send(format!("{plugin} [{request_id}] {level}: {text}"));
    }
}

/// A runtime, one worker's pools and what was logged.
pub(super) struct Bench {
    pub(super) runtime: Arc<Runtime>,
    pub(super) pools: Pools,
    lines: Receiver<String>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(RuntimeOptions { instances_max: 256, ..RuntimeOptions::default() })
    }

    pub(super) fn with(options: RuntimeOptions) -> Self {
        let (sender, lines) = channel();
        let runtime = Runtime::new(&RuntimeOptions {
            log_sink: Some(Arc::new(ChannelSink(sender))),
            ..options
        });
        Self { runtime: runtime.unwrap(), pools: Pools::new(), lines }
    }

    /// Loads a guest given as text.
    pub(super) fn load(&self, spec: PluginSpec, guest: &str) -> Arc<Plugin> {
        let wasm = wat::parse_str(guest).unwrap();
        Arc::new(self.runtime.load(spec, &wasm))
    }

    /// Loads a guest that must be fit to run.
    pub(super) fn plugin(&self, kind: PluginType, guest: &str) -> Arc<Plugin> {
        self.plugin_of(PluginSpec::new("p", kind), guest)
    }

    pub(super) fn plugin_of(&self, spec: PluginSpec, guest: &str) -> Arc<Plugin> {
        let plugin = self.load(spec, guest);
        assert_eq!(plugin.load_error(), None);
        plugin
    }

    /// The lines logged since the last look.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }
}

pub(super) fn facts() -> Facts<'static> {
    Facts {
        request_id: "r-1",
        service: "users-service",
        route_path: "/api/users",
        scheme: Scheme::Http,
        client_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        connection: Connection::NONE,
        received: UNIX_EPOCH + Duration::from_secs(1_704_067_200),
        bounds: MessageBounds::DEFAULT,
        trace: None,
        passed: &[],
        upstreams: None,
        asked: Default::default(),
    }
}

/// One exchange as a worker has it.
pub(super) struct Exchange {
    pub(super) chain: Chain,
    pub(super) selected: Selected,
    pub(super) request: RequestHead,
    pub(super) response: ResponseHead,
    pub(super) request_body: BodySlot,
    pub(super) response_body: BodySlot,
    pub(super) carried: Carried,
}

impl Exchange {
    pub(super) fn new(plugins: &[&Arc<Plugin>]) -> Self {
        let mut request = RequestHead {
            method: Method::Get,
            authority: "gateway.test".to_owned(),
            path: "/api/users".to_owned(),
            query: "?limit=10".to_owned(),
            ..RequestHead::default()
        };
        request.fields.push(b"Accept", b"*/*");
        let mut response = ResponseHead { status: 200, ..ResponseHead::default() };
        response.fields.push(b"Content-Type", b"text/plain");
        let chain = Chain::new(plugins.iter().copied().cloned().collect());
        let mut selected = Selected::new();
        chain.select(&request.path, &mut selected);
        Self {
            chain,
            selected,
            request,
            response,
            request_body: BodySlot::default(),
            response_body: BodySlot::default(),
            carried: Carried::new(),
        }
    }

    pub(super) async fn request(&mut self, bench: &Bench) -> Verdict {
        run_request(
            &self.chain,
            &self.selected,
            Part::All,
            &bench.pools,
            &facts(),
            &mut self.request,
            &mut self.request_body,
            &mut self.carried,
        )
        .await
    }

    pub(super) async fn response(&mut self, bench: &Bench) -> Verdict {
        run_response(
            &self.chain,
            &self.selected,
            &bench.pools,
            &facts(),
            &self.request,
            &mut self.response,
            &mut self.response_body,
            &mut self.carried,
        )
        .await
    }

    pub(super) async fn run(&mut self, bench: &Bench, phase: Phase) -> Verdict {
        match phase {
            Phase::Request => self.request(bench).await,
            Phase::Response => self.response(bench).await,
            Phase::Aggregation => self.aggregation(bench).await,
        }
    }

    /// One call, answered with an empty object.
    async fn aggregation(&mut self, bench: &Bench) -> Verdict {
        let answer = CallAnswer {
            name: "users",
            service: "users-service",
            status: 200,
            fields: &Fields::new(),
            body: b"{}",
            error: None,
        };
        run_aggregation(
            &self.chain,
            &self.selected,
            &bench.pools,
            &facts(),
            &self.request,
            &[answer],
            &mut self.response,
            &mut self.response_body,
            &mut self.carried,
        )
        .await
    }
}

/// The status and body of a response.
pub(super) fn answer(verdict: Verdict) -> Option<(u16, String)> {
    match verdict {
        Verdict::Continue | Verdict::Close => None,
        Verdict::Respond(LocalResponse { status, body, .. }) => {
            Some((status, String::from_utf8(body).unwrap()))
        }
    }
}

/// Text as it may stand in a string of the text format.
pub(super) fn wat_string(text: &str) -> String {
    text.bytes().map(|byte| format!("\\{byte:02x}")).collect()
}

/// A guest that answers `output` to everything; `more` are further fields of the module.
pub(super) fn answers_and(output: &str, more: &str) -> String {
    let packed = (output.len() as u64) << 32 | 1024;
    format!(
        r#"(module {more}
             (memory (export "memory") 2)
             (data (i32.const 1024) "{}")
             (func (export "execute") (param i32 i32) (result i64) (i64.const {packed})))"#,
        wat_string(output)
    )
}

/// A guest that answers `output` to everything.
pub(super) fn answers(output: &str) -> String {
    answers_and(output, "")
}

/// A guest whose `execute` is this code, behind which nothing is changed; `$in` and `$len` are its
/// parameters, `$log` the log.
pub(super) fn executes(code: &str) -> String {
    let output = r#"{"continue":true}"#;
    let packed = (output.len() as u64) << 32 | 1024;
    format!(
        r#"(module
             (import "env" "log" (func $log (param i32 i32)))
             (memory (export "memory") 2)
             (data (i32.const 1024) "{}")
             (func (export "execute") (param $in i32) (param $len i32) (result i64)
               {code}
               (i64.const {packed})))"#,
        wat_string(output)
    )
}

/// A guest that logs its input.
pub(super) fn logs_input() -> String {
    executes("(call $log (local.get $in) (local.get $len))")
}

/// Runs both until the first has ended; the second is dropped then.
pub(super) async fn while_running<A>(first: impl Future<Output = A>, second: impl Future) -> A {
    let mut first = std::pin::pin!(first);
    let mut second = std::pin::pin!(second);
    let mut second_runs = true;
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = first.as_mut().poll(context) {
            return Poll::Ready(output);
        }
        second_runs = second_runs && second.as_mut().poll(context).is_pending();
        Poll::Pending
    })
    .await
}

/// Waits until `holds`: what a task in the background does is done when it is done.
pub(super) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < patience, "never: {what}");
        crate::io::sleep(Duration::from_millis(1)).await;
    }
}
