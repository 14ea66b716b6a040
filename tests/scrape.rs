//! What a scrape costs a worker: its histograms are copied some at a time, so that the requests
//! that wait meanwhile wait for no more than that.
//!
//! `cargo test --release --test scrape -- --ignored --nocapture` prints how long the longest such
//! stretch takes, for a worker with 20 plugins and 64 services.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and writes its files, and a measurement is printed"
)]

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use odin::control::compile::Compiler;
use odin::control::config;
use odin::io::driver::{self, Driver};
use odin::limits::REPORT_STRETCH;
use odin::plugin::{Runtime, RuntimeOptions};
use odin::snapshot::Snapshot;
use odin::worker::Worker;
use odin::worker::report::Report;
use rustix::time::{ClockId, clock_gettime};

/// As in the gateway: it is what the copies are made with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PLUGINS: usize = 20;
const SERVICES: usize = 64;

/// Of this thread: other processes that take its core are not the report's doing.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

/// Notes how long each of its polls takes.
struct Timed<F> {
    future: Pin<Box<F>>,
    polls: Vec<Duration>,
}

impl<F: Future> Future for Timed<F> {
    type Output = (F::Output, Vec<Duration>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let started = cpu_time();
        let polled = self.future.as_mut().poll(cx);
        self.polls.push(cpu_time() - started);
        polled.map(|output| (output, std::mem::take(&mut self.polls)))
    }
}

fn snapshot() -> Snapshot {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("odin-scrape-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let guest = r#"(module (memory (export "memory") 1)
        (data (i32.const 0) "{\22continue\22:true}")
        (func (export "execute") (param i32 i32) (result i64)
          (i64.shl (i64.const 17) (i64.const 32))))"#;
    std::fs::write(dir.join("p.wasm"), wat::parse_str(guest).unwrap()).unwrap();
    let mut text = format!("wasm:\n  pluginDir: {}\n  plugins:\n", dir.display());
    for number in 0..PLUGINS {
        writeln!(text, "    - {{name: p{number}, path: p.wasm, instances: 1}}").unwrap();
    }
    text.push_str("services:\n");
    for number in 0..SERVICES {
        let target = "builtin:echo";
        writeln!(text, "  - {{name: s{number}, basePath: /s{number}, targets: ['{target}']}}")
            .unwrap();
    }
    let config = config::parse_text(&text, "scrape.yaml").unwrap();
    let plugins = Runtime::new(&RuntimeOptions::default()).unwrap();
    let compiled = Compiler::new(plugins, 1, &config.kv).compile(&config, None);
    assert!(compiled.findings.failures.is_empty(), "{:?}", compiled.findings.failures);
    std::fs::remove_dir_all(&dir).unwrap();
    compiled.snapshot
}

/// A worker that has served requests of all kinds reports some times: the last report, and how long
/// each took. As in the gateway, a report has gone when the next one is made.
fn reports(count: usize) -> (Report, Vec<Vec<Duration>>) {
    let published = Arc::new(ArcSwap::from_pointee(snapshot()));
    driver::block_on(Driver::Epoll, async move {
        let worker = Worker::new(0, published);
        let snapshot = worker.core().snapshot();
        assert!(worker.core().plugins().prepare(&snapshot.plugins).await.is_empty());
        for service in &snapshot.services {
            for micros in (1..200_000).step_by(97) {
                worker.core().account_service(
                    &snapshot,
                    service,
                    200,
                    Duration::from_micros(micros),
                );
            }
        }
        let (mut last, mut polls) = (None, Vec::new());
        for _ in 0..count {
            drop(last.take());
            let future = Box::pin(worker.report());
            let (report, took) = Timed { future, polls: Vec::new() }.await;
            last = Some(report);
            polls.push(took);
        }
        worker.core().plugins().end().await;
        (last.unwrap(), polls)
    })
    .unwrap()
}

#[test]
fn a_report_is_made_in_stretches() {
    let (report, mut polls) = reports(1);
    let polls = polls.remove(0);
    assert_eq!((report.plugins.len(), report.services.len()), (PLUGINS, SERVICES));
    assert!(report.services.iter().all(|(_, counts)| counts.durations.count() > 1000));
    // A timer may wake it once too often, never too seldom.
    let stretches = (PLUGINS + SERVICES) / REPORT_STRETCH;
    assert!(polls.len() > stretches, "{} polls", polls.len());
}

#[test]
#[ignore = "a measurement: it prints a time and asserts none"]
fn the_longest_stretch() {
    let (_, reports) = reports(200);
    // The first ones find memory that the process has never touched.
    for (name, reports) in [("first", &reports[..1]), ("later", &reports[10..])] {
        let mut polls: Vec<_> = reports.iter().flatten().copied().collect();
        polls.sort_unstable();
        let at = |share: f64| polls[((polls.len() - 1) as f64 * share) as usize];
        let (median, high, longest) = (at(0.5), at(0.99), at(1.0));
        let count = reports.len();
        println!(
            "{name} {count} reports: a stretch takes {median:?}, 99 % at most {high:?}, the \
             longest {longest:?}"
        );
    }
}
