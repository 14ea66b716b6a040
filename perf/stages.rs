//! The stages of a request, each as something that can be run again and again: `count.rs` counts
//! its instructions, `time.rs` its nanoseconds.
//!
//! Here those of HTTP and of the worker's books; `stages/plugins.rs` has what plugins cost.

mod plugins;

use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use odin::durations::Durations;
use odin::http::h1::encode::{self, ResponseForm};
use odin::http::h1::head;
use odin::http::message::{Fields, RequestHead, ResponseHead};
use odin::io::buffer::BufferPool;
use odin::io::deadline::Deadlines;
use odin::io::stream::Direction;
use odin::kv::memory::MemoryStore;
use odin::limits;
use odin::plugin::Runtime;
use odin::route::path::{Rules, normalise};
use odin::route::table::{Rule, Table};
use odin::worker::Worker;

use crate::messages::{REQUEST, RESPONSE_HEAD};
use crate::setting;

/// One stage.
pub struct Stage {
    /// Group and name, as in `http/parse-request`.
    pub name: &'static str,
    /// Does it once.
    pub run: Box<dyn FnMut()>,
}

impl Stage {
    fn new(name: &'static str, run: impl FnMut() + 'static) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// All stages, in the order in which a request meets them.
pub fn all(runtime: &Arc<Runtime>) -> Vec<Stage> {
    let mut stages = vec![
        snapshot(runtime),
        parse_request(),
        normalise_path(),
        normalise_odd_path(),
        route("http/route", 32, false),
        route("http/route-10", 10, false),
        route("http/route-10000", 10_000, false),
        route("http/route-100-hosts", 100, true),
        encode_request(),
        parse_response(),
        encode_response(),
        buffer_pool(),
        deadline(),
        histogram(),
    ];
    stages.extend(plugins::all(runtime));
    stages.extend(kv());
    stages
}

fn parsed_request() -> RequestHead {
    let mut request = RequestHead::default();
    let (uri, fields) = (limits::URI_BYTES_MAX, limits::HEAD_FIELDS_MAX);
    head::parse_request(REQUEST, uri, fields, &mut request).expect("it is well-formed");
    request
}

fn parsed_response() -> ResponseHead {
    let mut response = ResponseHead::default();
    head::parse_response(RESPONSE_HEAD, &mut response).expect("it is well-formed");
    response
}

fn snapshot(runtime: &Arc<Runtime>) -> Stage {
    let config = setting::parse("", "http://127.0.0.1:9");
    let published = Arc::new(ArcSwap::from_pointee(setting::compile(runtime, &config)));
    let worker = Worker::new(0, published);
    Stage::new("worker/snapshot", move || {
        black_box(worker.core().snapshot());
    })
}

fn parse_request() -> Stage {
    let mut request = RequestHead::default();
    Stage::new("http/parse-request", move || {
        let bytes = black_box(REQUEST);
        let (uri, fields) = (limits::URI_BYTES_MAX, limits::HEAD_FIELDS_MAX);
        let facts = head::parse_request(bytes, uri, fields, &mut request);
        assert!(black_box(facts).is_ok());
    })
}

fn parse_response() -> Stage {
    let mut response = ResponseHead::default();
    Stage::new("http/parse-response", move || {
        let bytes = black_box(RESPONSE_HEAD);
        let facts = head::parse_response(bytes, &mut response);
        assert!(black_box(facts).is_ok());
    })
}

fn normalise_path() -> Stage {
    normalising("http/normalise", "/api/users/1234/orders/5678")
}

fn normalise_odd_path() -> Stage {
    normalising("http/normalise-odd", "/api//users/./%7Eann/x/../caf%c3%a9/orders")
}

fn normalising(name: &'static str, path: &'static str) -> Stage {
    let mut out = String::new();
    Stage::new(name, move || {
        assert!(normalise(black_box(path), Rules::default(), &mut out).is_ok());
        black_box(&out);
    })
}

/// Among so many services; the one that is looked for stands in the middle.
fn route(name: &'static str, services: usize, hosts: bool) -> Stage {
    let paths: Vec<String> =
        (0..services).map(|number| format!("/api/service-{number:05}")).collect();
    let hosts: Vec<[String; 1]> = match hosts {
        true => (0..services).map(|number| [format!("service-{number:05}.example")]).collect(),
        false => Vec::new(),
    };
    let rules = paths.iter().enumerate().map(|(at, base_path)| {
        let hosts = hosts.get(at).map_or(&[][..], |host| &host[..]);
        (Rule { hosts, base_path, ..Rule::default() }, at)
    });
    let table = Table::new(rules);
    let middle = services / 2;
    let request = RequestHead {
        authority: format!("service-{middle:05}.example:8080"),
        path: format!("/api/service-{middle:05}/users/1234"),
        ..RequestHead::default()
    };
    Stage::new(name, move || {
        assert_eq!(table.find(black_box(&request)), Some(middle));
    })
}

fn encode_request() -> Stage {
    let request = parsed_request();
    let mut out = Vec::with_capacity(limits::BUFFER_BYTES);
    Stage::new("http/encode-request", move || {
        out.clear();
        let request = black_box(&request);
        encode::request_head(request, &request.authority, &request.path, &Fields::new(), &mut out);
        black_box(&out);
    })
}

fn encode_response() -> Stage {
    let response = parsed_response();
    let form = ResponseForm { is_http10: false, keep_alive: true, has_body: true };
    let mut out = Vec::with_capacity(limits::BUFFER_BYTES);
    Stage::new("http/encode-response", move || {
        out.clear();
        encode::response_head(black_box(&response), form, &mut out);
        black_box(&out);
    })
}

fn buffer_pool() -> Stage {
    let pool = BufferPool::default();
    Stage::new("worker/buffer", move || {
        let buffer = black_box(pool.take());
        pool.give(buffer);
    })
}

fn deadline() -> Stage {
    let deadlines = Deadlines::default();
    let (socket, peer) = UnixStream::pair().expect("a socket pair");
    let deadline = deadlines.register(socket.as_raw_fd());
    Stage::new("worker/deadline", move || {
        black_box((&socket, &peer));
        deadline.arm(Duration::from_secs(10), Direction::Read);
        deadline.disarm();
    })
}

fn histogram() -> Stage {
    let mut durations = Durations::default();
    Stage::new("worker/histogram", move || {
        durations.record(black_box(Duration::from_micros(1234)));
    })
}

/// The shared state in memory, with 1000 keys in it, as of a limiter. Each run takes the next of
/// 64: where a key stands in its table is a matter of seeds.
fn kv() -> Vec<Stage> {
    let now = Instant::now();
    let memory = MemoryStore::new(64 << 20, 64 << 20, now);
    let space = memory.namespace("perf");
    let ttl = Some(Duration::from_secs(60));
    let keys = |name: &str| (100..164).map(|number| format!("{name}-{number}")).collect::<Vec<_>>();
    let values = keys("value");
    for key in &values {
        space.set(key.as_bytes(), &[b'x'; 256], ttl, now).expect("there is room");
    }
    for number in 200..1072 {
        space.incr(format!("192.0.2-{number}").as_bytes(), 1, ttl, now).expect("there is room");
    }
    let (other, another) = (space.clone(), space.clone());
    let (mut others, mut counters) = (Turns::new(values.clone()), Turns::new(keys("192.0.2")));
    let mut values = Turns::new(values);
    vec![
        Stage::new("kv/get", move || {
            black_box(space.get(values.next(), now).expect("it is a key"));
        }),
        Stage::new("kv/incr", move || {
            black_box(other.incr(counters.next(), 1, ttl, now).expect("a counter"));
        }),
        Stage::new("kv/set", move || {
            another.set(others.next(), &[b'y'; 256], ttl, now).expect("there is room");
        }),
    ]
}

/// Keys, one after the other, from the start again at the end.
struct Turns {
    keys: Vec<String>,
    at: usize,
}

impl Turns {
    fn new(keys: Vec<String>) -> Self {
        Self { keys, at: 0 }
    }

    fn next(&mut self) -> &[u8] {
        self.at = (self.at + 1) % self.keys.len();
        black_box(self.keys[self.at].as_bytes())
    }
}
