//! Host functions that reach out of the guest: calls, shared state, files, metrics.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::super::super::reach::{Callee, GivenFile, Origin, Reach, Scheme};
use super::super::super::testing::{Bench, Exchange, answer, on_both_drivers, wat_string};
use super::super::super::{Plugin, PluginMetric, PluginSpec, PluginStats, PluginType};
use crate::io::pace::Pace;
use crate::kv::config::{Config, Selection};
use crate::kv::{Backends, Binding};
use crate::limits;
use crate::upstream::cluster::{Address, Cluster, Endpoint, Endpoints};

/// A guest whose `execute` is this code; texts stand from address 16 on, each at its offset of a
/// multiple of 256. `$log` and every function of `imports` can be called.
fn guest(imports: &[(&str, &str, &str)], texts: &[&str], code: &str) -> String {
    let mut module = String::from("(module (import \"env\" \"log\" (func $log (param i32 i32)))\n");
    for (name, params, result) in imports {
        let result = if result.is_empty() { "" } else { &format!("(result {result})") };
        module +=
            &format!("(import \"env\" \"{name}\" (func ${name} (param {params}) {result}))\n");
    }
    module += "(memory (export \"memory\") 2)\n";
    for (number, text) in texts.iter().enumerate() {
        let at = (number + 1) * 256;
        module += &format!("(data (i32.const {at}) \"{}\")\n", wat_string(text));
    }
    let output = r#"{"continue":true}"#;
    module += &format!("(data (i32.const 16) \"{}\")\n", wat_string(output));
    module += "(func $log_packed (param $packed i64)
                 (call $log (i32.wrap_i64 (local.get $packed))
                   (i32.wrap_i64 (i64.shr_u (local.get $packed) (i64.const 32)))))\n";
    module += "(func $is (param $got i64) (param $wanted i64)
                 (if (i64.ne (local.get $got) (local.get $wanted)) (then unreachable)))\n";
    module += &format!(
        "(func (export \"execute\") (param $in i32) (param $len i32) (result i64)
           (local $a i32) (local $b i64)
           {code}
           (i64.const {})))",
        (output.len() as u64) << 32 | 16
    );
    module
}

const HTTP_JSON: (&str, &str, &str) = ("http_call", "i32 i32", "i64");
const HTTP_C: (&str, &str, &str) = ("http_call", "i32 i32 i32 i32", "i32");
const GET: (&str, &str, &str) = ("kv_get", "i32 i32", "i64");
const SET: (&str, &str, &str) = ("kv_set", "i32 i32 i32 i32 i64", "i32");
const INCR: (&str, &str, &str) = ("kv_incr", "i32 i32 i64 i64", "i64");
const DELETE: (&str, &str, &str) = ("kv_delete", "i32 i32", "i32");
const CAS: (&str, &str, &str) = ("kv_cas", "i32 i32 i32 i32 i32 i32 i64", "i32");
const READ: (&str, &str, &str) = ("read_file", "i32 i32", "i64");
const COUNT: (&str, &str, &str) = ("metric_increment", "i32 i32 i64", "");
const RECORD: (&str, &str, &str) = ("metric_record", "i32 i32 i64", "");

/// A guest that sends its only text as JSON and logs the answer.
fn calls(json: &str) -> String {
    let code =
        format!("(call $log_packed (call $http_call (i32.const 256) (i32.const {})))", json.len());
    guest(&[HTTP_JSON], &[json], &code)
}

/// An origin on a thread of its own: answers each request of each connection in turn with what
/// `answer` makes of its head and body; `None` keeps silent.
fn origin(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            std::thread::spawn(move || {
                let mut received = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    received.extend_from_slice(&buffer[..count]);
                    let text = String::from_utf8_lossy(&received).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head
                        .lines()
                        .find_map(|line| line.strip_prefix("Content-Length: "))
                        .map_or(0, |length| length.parse().unwrap());
                    if body.len() < length {
                        continue;
                    }
                    received.clear();
                    match answer(&text) {
                        Some(bytes) => stream.write_all(bytes.as_bytes()).unwrap(),
                        None => continue,
                    }
                }
            });
        }
    });
    address
}

fn ok(body: &str) -> Option<String> {
    Some(format!(
        "HTTP/1.1 200 OK\r\nX-From: origin\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// May call `origin.test` (there is no such name: its address is the given one) and the service
/// `users-service` at the same place.
fn reach(address: SocketAddr) -> Reach {
    let mut reach = Reach::default();
    reach.outbound.origins = vec![Arc::new(Origin {
        scheme: Scheme::Http,
        host: "origin.test".to_owned(),
        port: 80,
        id: 0,
        target: 0,
        condition: Arc::default(),
        tls: None,
        grpc_tls: None,
        addresses: ArcSwap::from_pointee(Ok(vec![address])),
    })];
    let endpoint = Endpoint {
        id: 1,
        target: 1,
        address: Address::Tcp(vec![address]),
        authority: "users.internal".to_owned(),
        url: "http://users.internal".to_owned(),
        condition: Arc::default(),
        rank: crate::upstream::cluster::Rank::default(),
    };
    let cluster = Arc::new(Cluster::Endpoints(Endpoints::new(1, vec![(endpoint, 1)])));
    let echo = Callee { name: "echo".to_owned(), cluster: Arc::new(Cluster::Echo) };
    let users = Callee { name: "users-service".to_owned(), cluster };
    reach.outbound.services = Arc::new(vec![echo, users]);
    reach
}

fn spec(reach: Reach) -> PluginSpec {
    let mut spec = PluginSpec::new("p", PluginType::Auth);
    spec.reach = reach;
    spec
}

fn bound(kv: &Config, selection: &Selection) -> Option<Binding> {
    let bound = Backends::new(kv, Instant::now()).bind(selection, "p", &|_| Err("no TLS".into()));
    Some(bound.unwrap())
}

/// Shared state in memory.
fn with_state() -> Reach {
    let kv = Config::default();
    let selection = Selection::from_plugin_config(&serde_json::json!({}), &kv).unwrap();
    let state = bound(&kv, &selection);
    Reach { state, ..Reach::default() }
}

async fn passes(bench: &Bench, plugin: &Arc<Plugin>) {
    let refused = answer(Exchange::new(&[plugin]).request(bench).await);
    assert_eq!(refused, None, "{:?}", bench.lines());
}

fn stats_of(bench: &Bench) -> PluginStats {
    let mut found = PluginStats::default();
    bench.pools.stats(|_, stats| found = stats);
    found
}

#[test]
fn a_call_in_json_reaches_the_origin_and_its_answer_the_guest() {
    let origin = origin(|request| ok(&format!("<{request}>")));
    on_both_drivers(|| async {
        let bench = Bench::new();
        let json = r#"{"method":"POST","url":"http://ORIGIN.test/a?b=1#c",
            "headers":{"X-Two":["1","2"]},"body":"h\u00e9","timeoutMs":5000}"#;
        let plugin = bench.plugin_of(spec(reach(origin)), &calls(json));
        passes(&bench, &plugin).await;
        let line = bench.lines().remove(0);
        for part in [
            r#"{"statusCode":200,"headers":{"X-From":["origin"]},"#,
            r#""body":"<POST /a?b=1 HTTP/1.1\r\nHost: origin.test"#,
            r#"Host: origin.test\r\nX-Two: 1\r\nX-Two: 2\r\nUser-Agent: odin\r\n"#,
            r#"Content-Length: 3\r\n\r\nhé>"}"#,
        ] {
            assert!(line.contains(part), "{part}\nis not in\n{line}");
        }
    });
}

#[test]
fn a_call_in_c_strings_reaches_a_service_by_its_name() {
    let origin = origin(|request| ok(&request[..request.find("\r\nUser").unwrap()]));
    on_both_drivers(|| async {
        let bench = Bench::new();
        let code = "
            (local.set $a (call $http_call
               (i32.const 256) (i32.const 512) (i32.const 768) (i32.const 1024)))
            (call $is (i64.load32_u (local.get $a)) (i64.const 200))
            (call $log (i32.load offset=4 (local.get $a)) (i32.load offset=8 (local.get $a)))
            (call $log (i32.load offset=12 (local.get $a)) (i32.load offset=16 (local.get $a)))
            ;; both end with a NUL that is not counted
            (call $is (i64.load8_u (i32.add (i32.load offset=4 (local.get $a))
                                            (i32.load offset=8 (local.get $a)))) (i64.const 0))
            (call $is (i64.load8_u (i32.add (i32.load offset=12 (local.get $a))
                                            (i32.load offset=16 (local.get $a)))) (i64.const 0))
            (call $is (i64.and (i64.extend_i32_u (local.get $a)) (i64.const 7)) (i64.const 0))
            ;; null pointers: GET, no headers, no body
            (local.set $a (call $http_call
               (i32.const 0) (i32.const 512) (i32.const 0) (i32.const 0)))
            (call $log (i32.load offset=12 (local.get $a)) (i32.load offset=16 (local.get $a)))";
        let texts = ["PUT\0", "http://users-service:8080/u/7\0", "X-A: 1\nX-B: 2\0", "body\0"];
        let plugin = bench.plugin_of(spec(reach(origin)), &guest(&[HTTP_C], &texts, code));
        passes(&bench, &plugin).await;
        let lines = bench.lines();
        assert!(lines[0].contains("X-From: origin\\n"), "{lines:?}");
        let put = "PUT /u/7 HTTP/1.1\\r\\nHost: users.internal\\r\\nX-A: 1\\r\\nX-B: 2";
        assert!(lines[1].contains(put), "{lines:?}");
        assert!(lines[2].contains("GET /u/7 HTTP/1.1\\r\\nHost: users.internal"), "{lines:?}");
    });
}

#[test]
fn the_echo_is_a_service_like_any_other() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let json = r#"{"url":"http://echo/x?y","body":"hi"}"#;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let plugin = bench.plugin_of(spec(reach(nowhere)), &calls(json));
        passes(&bench, &plugin).await;
        let line = bench.lines().remove(0);
        assert!(line.contains("\"statusCode\":200") && line.contains("/x?y"), "{line}");
    });
}

#[test]
fn calls_that_cannot_be_made_are_answered_and_logged_and_the_guest_goes_on() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    on_both_drivers(|| async {
        for (json, reason) in [
            (r#"{"url":"http://evil.test/x?secret=1"}"#, "http://evil.test:80 is not allowed"),
            (r#"{"url":"https://origin.test/"}"#, "https://origin.test:443 is not allowed"),
            (r#"{"url":"http://origin.test:81/"}"#, "http://origin.test:81 is not allowed"),
            (r#"{"url":"http://127.0.0.1/"}"#, "http://127.0.0.1:80 is not allowed"),
            (r#"{"url":"https://users-service/"}"#, "call it by http://"),
            (r#"{"url":"http://origin.test/"}"#, "cannot connect"),
            (r#"{"url":"ftp://origin.test/"}"#, "neither http:// nor https://"),
            (r#"{"url":"http://origin.test/","headers":{"Host":"x"}}"#, "header Host"),
            (r#"{"url":"http://origin.test/","headers":{"A":"x\r\ny"}}"#, "control character"),
            (r#"{"url":"http://origin.test/","method":"CONNECT"}"#, "not one that can be sent"),
            ("nonsense", "the request is not"),
        ] {
            let bench = Bench::new();
            let plugin = bench.plugin_of(spec(reach(refused)), &calls(json));
            passes(&bench, &plugin).await;
            let lines = bench.lines();
            let [told, given] = lines.as_slice() else { panic!("{json}: {lines:?}") };
            assert!(told.contains("warn: http_call: ") && told.contains(reason), "{told}");
            assert!(!told.contains("secret"), "{told}");
            assert!(given.contains(r#"{"statusCode":0,"headers":{},"body":"","error":""#));
        }
    });
}

#[test]
fn a_silent_origin_costs_the_guests_own_bound_or_the_plugins_time() {
    let silent = origin(|_| None);
    on_both_drivers(|| async {
        let bench = Bench::new();
        let json = r#"{"url":"http://origin.test/","timeoutMs":20}"#;
        let plugin = bench.plugin_of(spec(reach(silent)), &calls(json));
        passes(&bench, &plugin).await;
        assert!(bench.lines()[1].contains("no whole answer within 20ms"));

        let mut short = spec(reach(silent));
        short.timeout = Duration::from_millis(30);
        let json = r#"{"url":"http://origin.test/","timeoutMs":60000}"#;
        let plugin = bench.plugin_of(short, &calls(json));
        let started = Instant::now();
        let refused = answer(Exchange::new(&[&plugin]).request(&bench).await).unwrap();
        assert!(refused.1.contains("plugin execution timeout"), "{refused:?}");
        assert!(started.elapsed() >= Duration::from_millis(30));
    });
}

#[test]
fn answers_are_bounded_and_redirects_are_not_followed() {
    let origin = origin(|request| {
        let most = limits::PLUGIN_CALL_BODY_BYTES_MAX;
        match request.split(' ').nth(1).unwrap() {
            "/announced" => {
                Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", most + 1))
            }
            "/chunked" => {
                let chunk = "x".repeat(most + 1);
                let length = format!("{:x}", chunk.len());
                Some(format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length}\r\n{chunk}\r\n"
                ))
            }
            "/binary" => Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\0\u{7f}".to_owned()),
            "/early" => Some("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No\r\n\r\n".to_owned()),
            "/broken" => Some("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".to_owned()),
            _ => Some(
                "HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n"
                    .to_owned(),
            ),
        }
    });
    on_both_drivers(|| async {
        for (path, part) in [
            ("/announced", "over 1048576 bytes"),
            ("/chunked", "over 1048576 bytes"),
            ("/binary", r#""body":"\u0000"#),
            ("/early", r#"{"statusCode":204,"headers":{},"body":""}"#),
            ("/broken", r#"{"statusCode":0"#),
            ("/redirect", r#"{"statusCode":302,"headers":{"Location":["http://evil.test/"]}"#),
        ] {
            let bench = Bench::new();
            let json = format!(r#"{{"url":"http://origin.test{path}"}}"#);
            let plugin = bench.plugin_of(spec(reach(origin)), &calls(&json));
            passes(&bench, &plugin).await;
            let line = bench.lines().pop().unwrap();
            assert!(line.contains(part), "{path}: {line}");
        }
    });
}

#[test]
fn the_shared_state_counts_keeps_swaps_and_forgets() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        // 256: key, 512: value, 768: other, 1024: text "abc"
        let texts = ["key", "41", "other", "abc"];
        let set = "(i64.extend_i32_s (call $kv_set (i32.const 256) (i32.const 3)";
        let cas = "(i64.extend_i32_s (call $kv_cas (i32.const 256) (i32.const 3)";
        let code = format!(
            "
            (call $is (call $kv_get (i32.const 256) (i32.const 3)) (i64.const 0))
            (call $is {set} (i32.const 512) (i32.const 2) (i64.const 60000))) (i64.const 0))
            (call $is (call $kv_incr (i32.const 256) (i32.const 3) (i64.const 1) (i64.const 0))
                      (i64.const 42))
            (call $log_packed (call $kv_get (i32.const 256) (i32.const 3)))
            (call $is {cas} (i32.const 512) (i32.const 2)
                            (i32.const 768) (i32.const 5) (i64.const 0))) (i64.const 0))
            (call $is {cas} (i32.const 0) (i32.const -1)
                            (i32.const 768) (i32.const 5) (i64.const 0))) (i64.const 0))
            (call $is (i64.extend_i32_s (call $kv_delete (i32.const 256) (i32.const 3)))
                      (i64.const 1))
            (call $is (i64.extend_i32_s (call $kv_delete (i32.const 256) (i32.const 3)))
                      (i64.const 0))
            (call $is {cas} (i32.const 0) (i32.const -1)
                            (i32.const 768) (i32.const 5) (i64.const 0))) (i64.const 1))
            (call $is {cas} (i32.const 768) (i32.const 5)
                            (i32.const 1024) (i32.const 0) (i64.const 0))) (i64.const 1))
            ;; an empty value is there: its address is not 0
            (local.set $b (call $kv_get (i32.const 256) (i32.const 3)))
            (call $is (i64.shr_u (local.get $b) (i64.const 32)) (i64.const 0))
            (if (i64.eqz (local.get $b)) (then unreachable))
            ;; errors: not a number, no key, a key too long, a value too long
            (call $is {set} (i32.const 1024) (i32.const 3) (i64.const -5))) (i64.const 0))
            (call $is (call $kv_incr (i32.const 256) (i32.const 3) (i64.const 1) (i64.const 0))
                      (i64.const {min}))
            (call $is (call $kv_get (i32.const 256) (i32.const 0)) (i64.const -1))
            (call $is (call $kv_get (i32.const 256) (i32.const 1025)) (i64.const -1))
            (drop (memory.grow (i32.const 40)))
            (call $is {set} (i32.const 0) (i32.const 2097153) (i64.const 0))) (i64.const -1))",
            min = i64::MIN,
        );
        let code = guest(&[GET, SET, INCR, DELETE, CAS], &texts, &code);
        let plugin = bench.plugin_of(spec(with_state()), &code);
        passes(&bench, &plugin).await;
        let lines = bench.lines();
        assert!(lines[0].ends_with("info: 42"), "{lines:?}");
        assert!(lines[1].contains("warn: kv_incr: the value is not a decimal number"));
        assert!(lines[2].contains("warn: kv_get: the key is empty"), "{lines:?}");
    });
}

#[test]
fn a_state_that_is_down_is_told_by_a_code_and_the_guest_decides() {
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    on_both_drivers(|| async {
        let kv = Config::default();
        let config = serde_json::json!({"redis": {"host": down.to_string()}});
        let selection = Selection::from_plugin_config(&config, &kv).unwrap();
        let state = bound(&kv, &selection);
        let code = format!(
            "
            (call $is (call $kv_get (i32.const 256) (i32.const 3)) (i64.const -4))
            (call $is (call $kv_incr (i32.const 256) (i32.const 3) (i64.const 1) (i64.const 0))
                      (i64.const {}))",
            i64::MIN
        );
        for state in [state, None] {
            let bench = Bench::new();
            let reach = Reach { state, ..Reach::default() };
            let plugin = bench.plugin_of(spec(reach), &guest(&[GET, INCR], &["key"], &code));
            passes(&bench, &plugin).await;
            assert!(bench.lines()[0].contains("warn: kv_get: "));
            bench.pools.retire(&[]).await;
        }
    });
}

#[test]
fn files_are_read_by_the_path_in_the_config_and_by_no_other() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let file = |path: &str, contents: Result<&[u8], &str>| GivenFile {
            path: path.to_owned(),
            contents: contents.map(Arc::from).map_err(str::to_owned),
        };
        let files = vec![
            file("/k/key.pem", Ok(b"PEM")),
            file("/k/empty", Ok(b"")),
            file("/k/gone", Err("cannot be read")),
        ];
        let texts = ["/k/key.pem", "/k/../k/key.pem", "/k/gone", "/k/empty"];
        let read = |text: usize, length: usize| {
            format!("(call $read_file (i32.const {}) (i32.const {length}))", (text + 1) * 256)
        };
        let code = format!(
            "(call $log_packed {}) (call $is {} (i64.const 0)) (call $is {} (i64.const 0))
             (call $is {} (i64.const 0))
             (local.set $b {})
             (if (i64.eqz (local.get $b)) (then unreachable))
             (call $is (i64.shr_u (local.get $b) (i64.const 32)) (i64.const 0))",
            read(0, 10),
            read(1, 15),
            read(2, 7),
            read(0, 100_000),
            read(3, 8)
        );
        let reach = Reach { files, ..Reach::default() };
        let plugin = bench.plugin_of(spec(reach), &guest(&[READ], &texts, &code));
        passes(&bench, &plugin).await;
        let lines = bench.lines();
        assert!(lines[0].ends_with("info: PEM"), "{lines:?}");
        assert!(lines[1].contains("\"/k/../k/key.pem\" is not allowed; allowed are"));
        assert!(lines[1].contains("/k/key.pem, /k/empty, /k/gone"), "{lines:?}");
        assert!(lines[2].contains("\"/k/gone\" cannot be read"), "{lines:?}");
        assert!(lines[3].len() < 2 * limits::PLUGIN_LOG_LINE_BYTES_MAX, "{}", lines[3].len());
    });
}

#[test]
fn metrics_are_counted_per_plugin_and_nonsense_costs_a_line() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let code = "
            (call $metric_increment (i32.const 256) (i32.const 5) (i64.const 2))
            (call $metric_record (i32.const 512) (i32.const 4) (i64.const 7))
            (call $metric_increment (i32.const 256) (i32.const 5) (i64.const -1))
            (call $metric_record (i32.const 256) (i32.const 5) (i64.const 1))
            (call $metric_record (i32.const 256) (i32.const 0) (i64.const 1))";
        let code = guest(&[COUNT, RECORD], &["hits!", "wait"], code);
        let plugin = bench.plugin_of(spec(Reach::default()), &code);
        passes(&bench, &plugin).await;
        passes(&bench, &plugin).await;
        let mut seen = Vec::new();
        for report in bench.pools.report(&mut Pace::default()).await {
            let named = |(name, metric)| (report.name.clone(), name, metric);
            seen.extend(report.metrics.iter().cloned().map(named));
        }
        let summary = PluginMetric::Summary { count: 2, sum: 14, min: 7, max: 7 };
        let expected = [("hits_", PluginMetric::Counter(4)), ("wait", summary)]
            .map(|(name, metric)| ("p".to_owned(), name.to_owned(), metric));
        assert_eq!(seen, expected);
        assert_eq!(bench.lines().len(), 6);
    });
}

/// Name, parameters, result, arguments of which one leads out of the memory of 2 pages.
const WILD: [(&str, &str, &str, &str); 18] = [
    ("http_call", "i32 i32", "i64", "(i32.const -1) (i32.const 2)"),
    ("http_call", "i32 i32", "i64", "(i32.const 0) (i32.const -1)"),
    (
        "http_call",
        "i32 i32 i32 i32",
        "i32",
        concat!("(i32.const -1) (i32.const 0) (i32.const 0) ", "(i32.const 0)",),
    ),
    (
        "http_call",
        "i32 i32 i32 i32",
        "i32",
        concat!("(i32.const 0) (i32.const 999991) (i32.const 0) ", "(i32.const 999999)",),
    ),
    ("kv_get", "i32 i32", "i64", "(i32.const 999999) (i32.const 1)"),
    ("kv_get", "i32 i32", "i64", "(i32.const 1) (i32.const -1)"),
    (
        "kv_set",
        "i32 i32 i32 i32 i64",
        "i32",
        concat!("(i32.const -5) (i32.const 5) (i32.const 0) ", "(i32.const 1) (i64.const 0)",),
    ),
    (
        "kv_set",
        "i32 i32 i32 i32 i64",
        "i32",
        concat!("(i32.const 0) (i32.const 5) (i32.const 0) ", "(i32.const -1) (i64.const 0)",),
    ),
    (
        "kv_incr",
        "i32 i32 i64 i64",
        "i64",
        concat!("(i32.const 999999) (i32.const 5) (i64.const 1) ", "(i64.const 0)",),
    ),
    ("kv_delete", "i32 i32", "i32", "(i32.const 999990) (i32.const 5)"),
    (
        "kv_cas",
        "i32 i32 i32 i32 i32 i32 i64",
        "i32",
        concat!(
            "(i32.const -1) (i32.const 1) (i32.const 0) ",
            "(i32.const -1) (i32.const 0) (i32.const 1) (i64.const 0)",
        ),
    ),
    (
        "kv_cas",
        "i32 i32 i32 i32 i32 i32 i64",
        "i32",
        concat!(
            "(i32.const 0) (i32.const 1) (i32.const 0) ",
            "(i32.const -2) (i32.const 0) (i32.const 1) (i64.const 0)",
        ),
    ),
    (
        "kv_cas",
        "i32 i32 i32 i32 i32 i32 i64",
        "i32",
        concat!(
            "(i32.const 0) (i32.const 1) (i32.const 0) ",
            "(i32.const -1) (i32.const 9) (i32.const -9) (i64.const 0)",
        ),
    ),
    ("read_file", "i32 i32", "i64", "(i32.const -1) (i32.const -1)"),
    ("read_file", "i32 i32", "i64", "(i32.const 999999) (i32.const 1)"),
    ("metric_increment", "i32 i32 i64", "", "(i32.const -1) (i32.const 5) (i64.const 1)"),
    ("metric_record", "i32 i32 i64", "", "(i32.const 0) (i32.const 2147483647) (i64.const 1)"),
    ("metric_record", "i32 i32 i64", "", "(i32.const -2147483648) (i32.const 1) (i64.const 1)"),
];

#[test]
fn wild_addresses_trap_in_every_function_that_reaches_out() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        for (name, params, result, arguments) in WILD {
            let call = format!("(call ${name} {arguments})");
            let code = if result.is_empty() { call } else { format!("(drop {call})") };
            let code = guest(&[(name, params, result)], &[], &code);
            let plugin = bench.plugin_of(spec(with_state()), &code);
            let got = answer(Exchange::new(&[&plugin]).request(&bench).await);
            assert_eq!(got.map(|got| got.0), Some(503), "{name} {arguments}");
            let lines = bench.lines();
            assert!(lines[0].contains("kind trap"), "{name} {arguments}: {lines:?}");
        }
    });
}

#[test]
fn numbers_at_their_ends_neither_trap_nor_overflow() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let mut code = String::new();
        for number in [i64::MIN, -1, 0, 1, i64::MAX] {
            for ttl in [i64::MIN, -1, 0, 1, i64::MAX] {
                code += &format!(
                    "(drop (call $kv_incr (i32.const 256) (i32.const 1) (i64.const {number})
                                          (i64.const {ttl})))
                     (drop (call $kv_set (i32.const 512) (i32.const 1) (i32.const 512)
                                         (i32.const 1) (i64.const {ttl})))
                     (drop (call $kv_cas (i32.const 512) (i32.const 1) (i32.const 512)
                              (i32.const 1) (i32.const 512) (i32.const 1) (i64.const {ttl})))"
                );
            }
            code += &format!(
                "(call $metric_increment (i32.const 256) (i32.const 1) (i64.const {number}))
                 (call $metric_record (i32.const 512) (i32.const 1) (i64.const {number}))"
            );
        }
        let imports = [INCR, SET, CAS, COUNT, RECORD];
        let code = guest(&imports, &["a", "b"], &code);
        let plugin = bench.plugin_of(spec(with_state()), &code);
        passes(&bench, &plugin).await;
        passes(&bench, &plugin).await;
    });
}

#[test]
fn ten_thousand_replies_take_no_more_memory_than_one_call_needs() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let code = "
            (drop (call $kv_set (i32.const 256) (i32.const 3) (i32.const 0) (i32.const 60000)
                                (i64.const 0)))
            (drop (call $kv_get (i32.const 256) (i32.const 3)))
            (drop (call $kv_get (i32.const 256) (i32.const 3)))";
        let plugin = bench.plugin_of(spec(with_state()), &guest(&[GET, SET], &["key"], code));
        passes(&bench, &plugin).await;
        let memory = stats_of(&bench).memory_bytes;
        for _ in 0..5_000 {
            passes(&bench, &plugin).await;
        }
        assert_eq!(stats_of(&bench).memory_bytes, memory);
        assert_eq!(stats_of(&bench).instances_discarded, 0);
    });
}

#[test]
fn an_allocator_that_calls_the_host_back_traps_instead_of_recursing() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let code = "(drop (call $read_file (i32.const 256) (i32.const 1)))";
        let alloc = "(func (export \"alloc\") (param i32) (result i32)
            (drop (call $read_file (i32.const 256) (i32.const 1)))
            (i32.const 4096))\n(memory";
        let files = vec![GivenFile { path: "f".to_owned(), contents: Ok(Arc::from(&b"x"[..])) }];
        let module = guest(&[READ], &["f"], code).replacen("(memory", alloc, 1);
        let reach = Reach { files, ..Reach::default() };
        let plugin = bench.plugin_of(spec(reach), &module);
        let refused = answer(Exchange::new(&[&plugin]).request(&bench).await);
        assert_eq!(refused.map(|refused| refused.0), Some(503));
        let lines = bench.lines();
        assert!(lines[0].contains("the plugin's allocator calls a host function"), "{lines:?}");
    });
}

#[test]
fn what_init_was_given_outlives_the_calls() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let init = "(global $kept (mut i64) (i64.const 0))
            (func (export \"init\")
              (global.set $kept (call $read_file (i32.const 256) (i32.const 1))))\n(memory";
        let code = "(call $log_packed (global.get $kept))
            (drop (call $read_file (i32.const 512) (i32.const 1)))
            (call $log_packed (global.get $kept))";
        let file = |path: &str, contents: &[u8]| GivenFile {
            path: path.to_owned(),
            contents: Ok(Arc::from(contents)),
        };
        let files = vec![file("a", b"the key"), file("b", b"another")];
        let module = guest(&[READ], &["a", "b"], code).replacen("(memory", init, 1);
        let reach = Reach { files, ..Reach::default() };
        let plugin = bench.plugin_of(spec(reach), &module);
        for _ in 0..2 {
            passes(&bench, &plugin).await;
            for line in bench.lines() {
                assert!(line.ends_with("the key"), "{line}");
            }
        }
    });
}
