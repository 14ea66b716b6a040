//! A worker for the targets that need real instances, and the text of their guests.
//!
//! A guest gets its bytes in the request field `x-fuzz`, two letters from `a` to `p` for each, since
//! every phase's input shows the request's head.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use odin::http::message::{Method, RequestHead};
use odin::io::runtime::{self, Local};
use odin::limits::PLUGIN_LOG_LINE_BYTES_MAX;
use odin::plugin::{
    ErrorKind, Facts, LogSink, MessageBounds, Plugin, PluginLine, PluginSpec, Pools, Runtime,
    RuntimeOptions,
};

/// Most bytes that a guest is given: they and some room behind them fit in its second page.
const BYTES_MAX: usize = 16 * 1024;

/// One worker's runtime and its instances. Never dropped.
pub struct Worker {
    runtime: RefCell<Local>,
    plugins: Arc<Runtime>,
    pub pools: Pools,
}

thread_local! {
    static LAST_LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps the last line only: the reason of a call that failed.
#[derive(Debug)]
struct LastLine;

impl LogSink for LastLine {
    fn plugin_line(&self, line: &PluginLine<'_>) {
        assert!(!line.text.chars().any(|c| c.is_control() && c != '\t'), "{:?}", line.text);
        assert!(line.text.len() <= PLUGIN_LOG_LINE_BYTES_MAX, "{} bytes", line.text.len());
        LAST_LINE.with_borrow_mut(|last| line.text.clone_into(last));
    }
}

impl Worker {
    pub fn new() -> &'static Self {
        let options = RuntimeOptions {
            instances_max: 64,
            log_sink: Some(Arc::new(LastLine)),
            ..RuntimeOptions::default()
        };
        Box::leak(Box::new(Self {
            runtime: RefCell::new(runtime::local().expect("epoll is there")),
            plugins: Runtime::new(&options).expect("there is room for 64 instances"),
            pools: Pools::new(),
        }))
    }

    pub fn load(&self, spec: PluginSpec, guest: &str) -> Arc<Plugin> {
        let wasm = wat::parse_str(guest).unwrap_or_else(|error| panic!("{error}\n{guest}"));
        let plugin = self.plugins.load(spec, &wasm);
        assert_eq!(plugin.load_error(), None);
        Arc::new(plugin)
    }

    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.borrow_mut().block_on(future)
    }

    /// How many calls of a plugin have failed, and of them, how many for another reason than time:
    /// a short timeout may also pass because the machine is busy.
    pub fn errors_of(&self, plugin: &Arc<Plugin>) -> (u64, u64) {
        let mut errors = (0, 0);
        self.pools.stats(|seen, stats| {
            if Arc::ptr_eq(seen, plugin) {
                let all = stats.errors.iter().sum();
                errors = (all, all - stats.errors_of(ErrorKind::Timeout));
            }
        });
        errors
    }
}

/// What the log said last.
pub fn last_line() -> String {
    LAST_LINE.with_borrow(String::clone)
}

pub fn facts() -> Facts<'static> {
    Facts {
        request_id: "r-1",
        service: "users-service",
        route_path: "/api/users",
        scheme: odin::http::connection::Scheme::Http,
        connection: odin::http::connection::Connection::NONE,
        client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received: UNIX_EPOCH,
        bounds: MessageBounds::DEFAULT,
        trace: None,
        passed: &[],
        upstreams: None,
        asked: Default::default(),
    }
}

/// A request that brings `bytes` to a guest.
pub fn request(bytes: &[u8]) -> RequestHead {
    let mut request = RequestHead {
        method: Method::Get,
        authority: "gateway.test".to_owned(),
        path: "/api/users".to_owned(),
        query: "?limit=10".to_owned(),
        ..RequestHead::default()
    };
    let letters = bytes[..bytes.len().min(BYTES_MAX)].iter();
    let letters = letters.flat_map(|byte| [b'a' + (byte >> 4), b'a' + (byte & 15)]);
    request.fields.push(b"Accept", b"*/*");
    request.fields.push(b"x-fuzz", &letters.collect::<Vec<_>>());
    request
}

/// Text as it may stand in a string of the text format.
pub fn literal(text: &str) -> String {
    text.bytes().map(|byte| format!("\\{byte:02x}")).collect()
}

/// A function that puts the guest's bytes to the second page and returns how many there are.
pub const TAKE: &str = r#"
    (func $take (param $at i32) (param $len i32) (result i32)
      (local $end i32) (local $out i32)
      (local.set $end (i32.sub (i32.add (local.get $at) (local.get $len)) (i32.const 16)))
      (local.set $out (i32.const 65536))
      (block $found (loop $next
        ;; "x-fuzz" in its quotes
        (br_if $found (i64.eq (i64.load (local.get $at)) (i64.const 0x227a7a75662d7822)))
        (if (i32.ge_u (local.get $at) (local.get $end)) (then (return (i32.const 0))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
      (local.set $at (i32.add (local.get $at) (i32.const 11)))
      (block $done (loop $next
        (br_if $done (i32.eq (i32.load8_u (local.get $at)) (i32.const 34)))
        (i32.store8 (local.get $out) (i32.or
          (i32.shl (i32.sub (i32.load8_u (local.get $at)) (i32.const 97)) (i32.const 4))
          (i32.sub (i32.load8_u offset=1 (local.get $at)) (i32.const 97))))
        (local.set $out (i32.add (local.get $out) (i32.const 1)))
        (local.set $at (i32.add (local.get $at) (i32.const 2)))
        (br $next)))
      (i32.sub (local.get $out) (i32.const 65536)))
    (func $pack (param $at i32) (param $len i32) (result i64)
      (i64.or (i64.shl (i64.extend_i32_u (local.get $len)) (i64.const 32))
              (i64.extend_i32_u (local.get $at))))"#;
