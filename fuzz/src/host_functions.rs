//! Host functions: a guest that calls any of them, in any order, with any numbers and bytes.
//!
//! The first byte chooses between two guests, since a module can import only one form of each
//! function. The rest is the guest's program, and the memory that its addresses mostly lead to: a
//! byte names the function, then come its arguments, three bytes each (see `$arg`).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use odin::kv::Backends;
use odin::kv::config::{Config, Selection};
use odin::plugin::{
    BodySlot, Callee, Carried, Chain, FailureMode, GivenFile, Isolation, Part, Plugin, PluginSpec,
    PluginType, Selected, run_request,
};
use odin::upstream::cluster::Cluster;

use super::guest::{self, TAKE, Worker, literal};

const WASI: &str = "wasi_snapshot_preview1";

/// Module, name, types of the parameters and of the result.
type Function = (&'static str, &'static str, &'static str, &'static str);

/// What both guests import.
const COMMON: [Function; 24] = [
    ("env", "kv_get", "i32 i32", "i64"),
    ("env", "kv_set", "i32 i32 i32 i32 i64", "i32"),
    ("env", "kv_incr", "i32 i32 i64 i64", "i64"),
    ("env", "kv_delete", "i32 i32", "i32"),
    ("env", "kv_cas", "i32 i32 i32 i32 i32 i32 i64", "i32"),
    ("env", "read_file", "i32 i32", "i64"),
    ("env", "metric_increment", "i32 i32 i64", ""),
    ("env", "metric_record", "i32 i32 i64", ""),
    ("env", "abort", "i32 i32 i32 i32", ""),
    ("env", "seed", "", "f64"),
    (WASI, "args_get", "i32 i32", "i32"),
    (WASI, "args_sizes_get", "i32 i32", "i32"),
    (WASI, "environ_sizes_get", "i32 i32", "i32"),
    (WASI, "clock_res_get", "i32 i32", "i32"),
    (WASI, "clock_time_get", "i32 i64 i32", "i32"),
    (WASI, "fd_close", "i32", "i32"),
    (WASI, "fd_fdstat_get", "i32 i32", "i32"),
    (WASI, "fd_fdstat_set_flags", "i32 i32", "i32"),
    (WASI, "fd_prestat_get", "i32 i32", "i32"),
    (WASI, "fd_read", "i32 i32 i32 i32", "i32"),
    (WASI, "fd_write", "i32 i32 i32 i32", "i32"),
    (WASI, "poll_oneoff", "i32 i32 i32 i32", "i32"),
    (WASI, "proc_exit", "i32", ""),
    (WASI, "random_get", "i32 i32", "i32"),
];

/// The forms that exclude each other.
const FORMS: [[Function; 6]; 2] = [
    [
        ("env", "log", "i32 i32", ""),
        ("env", "get_config", "i32 i32", "i64"),
        ("env", "http_call", "i32 i32", "i64"),
        ("env", "get_time", "", "i64"),
        ("env", "get_time_ms", "", "i64"),
        (WASI, "sched_yield", "", "i32"),
    ],
    [
        ("env", "log", "i32 i32 i32", ""),
        ("env", "get_config", "i32", "i32"),
        ("env", "http_call", "i32 i32 i32 i32", "i32"),
        ("env", "get_time", "", "f64"),
        ("env", "get_time_ms", "", "f64"),
        (WASI, "sched_yield", "", "i32"),
    ],
];

/// What stands at address 1024, so that an address alone can mean something.
const TEXTS: &str = "GET\0http://echo/x\0{\"url\":\"http://echo/x\"}\0POST\0http://127.0.0.1:1/\0\
    X-Name: value\n\0{\"X-Name\":[\"value\"]}\0key\0redis.host\0/etc/odin/file\0requests_total\0\
    {\"url\":\"http://elsewhere.test/\",\"timeoutMs\":1}\0";

/// Short, because a guest may ask to sleep.
const TIMEOUT: Duration = Duration::from_millis(20);

struct Bench {
    worker: &'static Worker,
    guests: Vec<Arc<Plugin>>,
}

thread_local! {
    static BENCH: Bench = Bench::new();
}

impl Bench {
    fn new() -> Self {
        let worker = Worker::new();
        let guests = FORMS.iter().enumerate().map(|(number, forms)| {
            let functions: Vec<Function> = COMMON.iter().chain(forms).copied().collect();
            // One with an allocator, one that lives in the host's region.
            worker.load(spec(), &interpreter(&functions, number == 1))
        });
        Self { worker, guests: guests.collect() }
    }
}

fn spec() -> PluginSpec {
    let mut spec = PluginSpec::new("p", PluginType::Request);
    spec.failure_mode = FailureMode::Open;
    spec.timeout = TIMEOUT;
    spec.instances_max = 4;
    // What one program leaves in its memory must not be another's beginning.
    spec.isolation = Isolation::Request;
    spec.set_config(serde_json::json!({"key": "value", "redis.host": [1, 2], "list": ["a"]}));
    let kv = Config::default();
    let selection = Selection::from_plugin_config(&serde_json::json!({}), &kv);
    let selection = selection.expect("an empty config is a sound one");
    let bound = Backends::new(&kv, Instant::now()).bind(&selection, "p", &|_| unreachable!());
    spec.reach.state = bound.ok();
    let echo = Callee { name: "echo".to_owned(), cluster: Arc::new(Cluster::Echo) };
    spec.reach.outbound.services = Arc::new(vec![echo]);
    spec.reach.files = vec![GivenFile {
        path: "/etc/odin/file".to_owned(),
        contents: Ok(Arc::from(b"contents".as_slice())),
    }];
    spec
}

/// A guest that runs its bytes as a program of calls of `functions`.
fn interpreter(functions: &[Function], has_allocator: bool) -> String {
    let mut imports = String::new();
    let mut branches = String::new();
    for (number, (from, name, params, result)) in functions.iter().enumerate() {
        let results = if result.is_empty() { "" } else { &format!("(result {result})") };
        write!(
            imports,
            "(import \"{from}\" \"{name}\" (func $f{number} (param {params}) {results}))"
        )
        .expect("writing to a string");
        let arguments: String = params
            .split_whitespace()
            .map(|ty| if ty == "i64" { "(i64.extend_i32_s (call $arg))" } else { "(call $arg)" })
            .collect();
        let call = format!("(call $f{number} {arguments})");
        let call = match *result {
            "i32" => format!("(global.set $last {call})"),
            "i64" => format!("(global.set $last (i32.wrap_i64 {call}))"),
            "f64" => format!("(drop {call})"),
            _ => call,
        };
        write!(
            branches,
            "(if (i32.eq (local.get $op) (i32.const {number})) (then {call} (br $next)))"
        )
        .expect("writing to a string");
    }
    let allocator = if has_allocator { ALLOCATOR } else { "" };
    format!(
        r#"(module {imports}
            (memory (export "memory") 2)
            (global $pc (mut i32) (i32.const 0))
            (global $end (mut i32) (i32.const 0))
            (global $last (mut i32) (i32.const 0))
            (data (i32.const 16) "{{\22continue\22:true}}")
            (data (i32.const 1024) "{texts}")
            {TAKE} {ARGUMENTS} {allocator}
            (func (export "execute") (param i32 i32) (result i64) (local $op i32)
              (global.set $pc (i32.const 65536))
              (global.set $end
                (i32.add (i32.const 65536) (call $take (local.get 0) (local.get 1))))
              (block $done (loop $next
                (br_if $done (i32.ge_u (global.get $pc) (global.get $end)))
                (local.set $op (i32.rem_u (i32.load8_u (global.get $pc)) (i32.const {count})))
                (global.set $pc (i32.add (global.get $pc) (i32.const 1)))
                {branches}))
              (call $pack (i32.const 16) (i32.const 17))))"#,
        texts = literal(TEXTS),
        count = functions.len(),
    )
}

/// The next argument: a byte that says what the two behind it mean. (Where the memory ends is asked
/// in a function of its own: a guest without an allocator that made an address of it at once would
/// be refused as one whose heap goes up to there.)
const ARGUMENTS: &str = r#"
    (func $pages (result i32) (memory.size))
    (func $arg (result i32) (local $kind i32) (local $value i32)
      (local.set $kind (i32.and (i32.load8_u (global.get $pc)) (i32.const 7)))
      (local.set $value (i32.load16_u offset=1 align=1 (global.get $pc)))
      (global.set $pc (i32.add (global.get $pc) (i32.const 3)))
      (if (i32.eq (local.get $kind) (i32.const 0)) (then (return (local.get $value))))
      (if (i32.eq (local.get $kind) (i32.const 1))
        (then (return (i32.add (i32.const 65536) (local.get $value)))))
      (if (i32.eq (local.get $kind) (i32.const 2))
        (then (return (i32.sub (i32.shl (call $pages) (i32.const 16)) (local.get $value)))))
      (if (i32.eq (local.get $kind) (i32.const 3))
        (then (return (i32.sub (i32.const 0) (local.get $value)))))
      (if (i32.eq (local.get $kind) (i32.const 4))
        (then (return (i32.and (local.get $value) (i32.const 63)))))
      (if (i32.eq (local.get $kind) (i32.const 5))
        (then (return (i32.add (i32.const 1024) (i32.and (local.get $value) (i32.const 255))))))
      (if (i32.eq (local.get $kind) (i32.const 6))
        (then (return (i32.shl (local.get $value) (i32.const 16)))))
      (global.get $last))"#;

/// Sound until a program runs that begins with an odd byte; then its answers are the program's.
const ALLOCATOR: &str = r#"
    (global $top (mut i32) (i32.const 131072))
    (func (export "alloc") (param $size i32) (result i32) (local $at i32)
      (if (i32.and (i32.load8_u (i32.const 65536)) (i32.const 1)) (then
        (if (i32.lt_u (global.get $pc) (global.get $end)) (then (return (call $arg))))))
      (local.set $at (global.get $top))
      (global.set $top (i32.and (i32.add (i32.add (global.get $top) (local.get $size))
        (i32.const 15)) (i32.const -16)))
      (if (i32.gt_u (global.get $top) (i32.shl (memory.size) (i32.const 16))) (then
        (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16))
          (i32.const 1))))))
      (local.get $at))"#;

/// One input.
pub fn run(input: &[u8]) {
    let [which, program @ ..] = input else {
        return;
    };
    BENCH.with(|bench| {
        let guest = &bench.guests[usize::from(*which) % bench.guests.len()];
        let (failed, _) = bench.worker.errors_of(guest);
        call(bench, guest, program);
        let (now, faults) = bench.worker.errors_of(guest);
        if now > failed {
            // Its instance is replaced, and a call that ends well keeps it from being backed off.
            call(bench, guest, &[]);
            let (_, after) = bench.worker.errors_of(guest);
            assert_eq!(after, faults, "{}", guest::last_line());
        }
        bench.worker.pools.stats(|_, stats| {
            assert!(stats.instances <= 4 && !stats.is_backed_off, "{stats:?}");
            let pages = u64::from(odin::limits::PLUGIN_MEMORY_PAGES_MAX);
            assert!(stats.memory_bytes <= 4 * pages * 65536, "{stats:?}");
        });
    });
}

fn call(bench: &Bench, guest: &Arc<Plugin>, program: &[u8]) {
    let chain = Chain::new(vec![Arc::clone(guest)]);
    let mut selected = Selected::new();
    chain.select("/api/users", &mut selected);
    let mut request = guest::request(program);
    let (mut body, mut carried) = (BodySlot::default(), Carried::new());
    let facts = guest::facts();
    let pools = &bench.worker.pools;
    let called = run_request(
        &chain,
        &selected,
        Part::All,
        pools,
        &facts,
        &mut request,
        &mut body,
        &mut carried,
    );
    bench.worker.run(called);
}
