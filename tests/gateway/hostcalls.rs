//! Host functions that reach out of a guest, through the whole gateway: calls to services and
//! allowed hosts, shared state in memory and in a real Redis, files.

use crate::support::{Client, Gate, Gateway, Origin, PATIENCE, Response, Setup, get, wasm};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const HTTP: &str = r#"(import "env" "http_call" (func $call (param i32 i32) (result i64)))"#;
const INCR: &str = r#"(import "env" "kv_incr"
    (func $incr (param i32 i32 i64 i64) (result i64)))"#;
const READ: &str = r#"(import "env" "read_file" (func $read (param i32 i32) (result i64)))"#;

/// A guest with these imports whose `execute` is `code`. `text` stands at address 256.
fn guest(imports: &str, text: &str, code: &str) -> Vec<u8> {
    wasm::module(&format!(
        r#"(module
            {imports}
            (memory (export "memory") 2)
            (data (i32.const 16) "{{\22continue\22:true}}")
            (data (i32.const 64) "{{\22continue\22:false}}")
            (data (i32.const 256) "{}")
            (global $pass i64 (i64.const 73014444048))
            (global $stop i64 (i64.const 77309411392))
            (func (export "execute") (param $in i32) (param $len i32) (result i64)
              (local $got i64)
              {code}))"#,
        text.replace('\\', "\\\\").replace('"', "\\22"),
    ))
}

/// A guest that sends `request` and passes if the answer begins with `expected` (at most 8 bytes).
pub fn calling(request: &str, expected: &str) -> Vec<u8> {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(expected.as_bytes());
    let expected = i64::from_le_bytes(bytes);
    // `{"statusCode":200`: the number stands from the 15th byte on.
    let code = format!(
        "(local.set $got (call $call (i32.const 256) (i32.const {})))
         (if (result i64) (i64.eq (i64.load offset=10 (i32.wrap_i64 (local.get $got)))
                                  (i64.const {expected}))
           (then (global.get $pass)) (else (global.get $stop)))",
        request.len()
    );
    guest(HTTP, request, &code)
}

pub const ANSWERED_200: &str = "de\":200,";
pub const NOT_ANSWERED: &str = "de\":0,\"h";

/// A guest that counts its calls under the key `n` and refuses those beyond `limit`; a state that
/// is down is no pass.
fn limiting(limit: u32) -> Vec<u8> {
    let code = format!(
        "(local.set $got (call $incr (i32.const 256) (i32.const 1) (i64.const 1)
                           (i64.const 600000)))
         (if (i64.eq (local.get $got) (i64.const {})) (then unreachable))
         (if (result i64) (i64.le_s (local.get $got) (i64.const {limit}))
           (then (global.get $pass)) (else (global.get $stop)))",
        i64::MIN
    );
    guest(INCR, "n", &code)
}

fn plain(gateway: &Gateway) -> Response {
    get(gateway.addr, "/plain")
}

#[test]
fn five_hundred_guests_wait_at_once_while_plain_requests_go_on() {
    // 1. An origin holds every call until all of them are there.
    // 2. 500 requests, each of which makes its guest wait in http_call on the only worker.
    // 3. Plain requests to the same worker are answered meanwhile.
    // 4. The origin answers; so are all 500.
    const GUESTS: usize = 500;
    let gate = Gate::default();
    let held = gate.clone();
    let side = Origin::scripted(move |connection, _| {
        while connection.request().is_some() {
            held.wait();
            connection.answer("go");
        }
    });
    let origin = Origin::ok();
    let request = format!(r#"{{"url":"{}/x"}}"#, side.url());
    let keys = format!(
        "type: auth, maxInstances: 600, timeout: 60s, allowedUrls: ['^/guarded'], \
         config: {{authUrl: '{}'}}",
        side.url()
    );
    let gateway =
        Setup::to(&origin).plugin("caller", calling(&request, ANSWERED_200), &keys).start();
    let mut waiting: Vec<Client> = (0..GUESTS)
        .map(|_| {
            let mut client = Client::connect(gateway.addr);
            client.set_patience(PATIENCE * 3);
            client.send("GET /guarded HTTP/1.1\r\nHost: a.test\r\n\r\n");
            client
        })
        .collect();
    side.wait_requests(GUESTS);
    let mut client = Client::connect(gateway.addr);
    for _ in 0..100 {
        assert_eq!(client.get("/plain").status, 200);
    }
    gate.open();
    for client in &mut waiting {
        assert_eq!(client.response().status, 200);
    }
    // The connections are kept: a second call needs no new one.
    let connections = side.connections();
    assert_eq!(get(gateway.addr, "/guarded").status, 200);
    assert_eq!(side.connections(), connections);
}

#[test]
fn services_are_called_by_name_and_other_hosts_only_if_the_config_names_them() {
    let (origin, users, other) = (Origin::ok(), Origin::ok(), Origin::ok());
    let port = other.addr().port();
    for (url, config, allowed) in [
        ("http://users-service/u/1".to_owned(), String::new(), true),
        ("http://users-service:8080/u/1".to_owned(), String::new(), true),
        (format!("{}/x", other.url()), String::new(), false),
        (format!("{}/x", other.url()), format!("deep: [{{url: '{}/y'}}]", other.url()), true),
        (format!("http://localhost:{port}/x"), format!("url: '{}'", other.url()), false),
        (format!("http://localhost:{port}/x"), format!("allowedHosts: ['localhost:{port}']"), true),
        (format!("http://localhost:{port}/x"), "allowedHosts: [localhost]".to_owned(), false),
        ("http://169.254.169.254/x".to_owned(), "url: 'http://169.254.169.254'".into(), false),
    ] {
        let request = format!(r#"{{"url":"{url}"}}"#);
        let answer = if allowed { ANSWERED_200 } else { NOT_ANSWERED };
        let keys = format!("type: auth, config: {{{config}}}");
        let gateway = Setup::to(&origin)
            .service(&format!("name: users-service, basePath: /u, targets: ['{}']", users.url()))
            .plugin("caller", calling(&request, answer), &keys)
            .start();
        assert_eq!(get(gateway.addr, "/").status, 200, "{url} {config}\n{}", gateway.log());
        if !allowed {
            gateway.wait_log("http_call: GET ");
        }
    }
    assert_eq!(users.requests().len(), 2);
    assert_eq!(users.requests()[0].target, "/u/1");
    assert_eq!(other.requests().len(), 2);
}

#[test]
fn a_refusal_says_what_was_asked_and_what_is_allowed() {
    let origin = Origin::ok();
    let request = r#"{"url":"http://evil.test/x"}"#;
    let gateway = Setup::to(&origin)
        .plugin(
            "caller",
            calling(request, NOT_ANSWERED),
            "type: auth, config: {a: 'http://127.0.0.1:1'}",
        )
        .start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    gateway.wait_log("http://evil.test:80 is not allowed; allowed are the services all and");
    gateway.wait_log("http://127.0.0.1:1");
}

#[test]
fn a_call_past_the_plugins_timeout_is_given_up_with_its_connection() {
    let gate = Gate::default();
    let held = gate.clone();
    let side = Origin::scripted(move |connection, _| {
        connection.request();
        // Returns when the gateway closes: nobody waits for this answer any more.
        assert!(connection.some().is_empty());
        held.open();
    });
    let origin = Origin::ok();
    let request = format!(r#"{{"url":"{}/x"}}"#, side.url());
    let keys = format!("type: auth, timeout: 300ms, config: {{u: '{}'}}", side.url());
    let gateway =
        Setup::to(&origin).plugin("caller", calling(&request, ANSWERED_200), &keys).start();
    let response = get(gateway.addr, "/");
    assert_eq!(response.status, 503);
    assert!(response.reason().contains("plugin execution timeout"));
    gate.wait();
}

#[test]
fn a_file_of_the_config_is_read_at_load_and_no_other_is() {
    let setup = Setup::echo();
    let key = setup.dir.write("key.json", r#"{"continue":false,"response":{"statusCode":299}}"#);
    let path = key.to_str().unwrap().to_owned();
    let code = format!("(call $read (i32.const 256) (i32.const {}))", path.len());
    let module = guest(READ, &path, &code);
    let gateway = setup
        .plugin("reader", &module, &format!("type: auth, config: {{publicKey: '{path}'}}"))
        .start();
    // What the file was when the plugin was loaded.
    std::fs::write(&key, "changed").unwrap();
    assert_eq!(get(gateway.addr, "/").status, 299);
    let gateway = Setup::echo().plugin("reader", module, "type: auth").start();
    assert_eq!(get(gateway.addr, "/").status, 503);
    gateway.wait_log("is not allowed; allowed are the files");
}

/// Sends `count` requests to each of the gateways at once; how many passed.
pub fn passed(gateways: &[&Gateway], count: usize) -> usize {
    const THREADS: usize = 4;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for gateway in gateways {
            for _ in 0..THREADS {
                threads.push(scope.spawn(move || {
                    let mut client = Client::connect(gateway.addr);
                    (0..count / THREADS).filter(|_| client.get("/").status == 200).count()
                }));
            }
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[test]
fn a_limit_in_memory_is_exact_over_all_workers() {
    let setup = Setup::echo().workers(3);
    let gateway = setup.plugin("limiter", limiting(100), "type: ratelimit, timeout: 10s").start();
    assert_eq!(passed(&[&gateway], 1000), 100);
    assert_eq!(plain(&gateway).status, 429);
}

/// A real server; stopped when dropped.
pub struct Redis {
    process: Child,
    pub port: u16,
}

impl Redis {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_on(port)
    }

    /// One that speaks nothing but TLS, with the `server.pem` and `server.key` of a folder.
    pub fn start_with_tls(dir: &Path, more: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let (certificate, key) = (file("server.pem"), file("server.key"));
        let port_text = port.to_string();
        let mut all = vec!["--port", "0", "--tls-port", &port_text, "--tls-auth-clients", "no"];
        all.extend(["--tls-cert-file", &certificate, "--tls-key-file", &key]);
        all.extend(["--tls-ca-cert-file", &certificate]);
        all.extend(more);
        Self::launch(port, &all)
    }

    fn start_on(port: u16) -> Self {
        Self::launch(port, &["--port", &port.to_string()])
    }

    fn launch(port: u16, more: &[&str]) -> Self {
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(more)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let redis = Self { process, port };
        crate::support::wait_until("redis answers", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn two_gateways_on_one_redis_share_a_limit_exactly() {
    let redis = Redis::start();
    let config = format!(
        "type: ratelimit, timeout: 10s, config: {{redis: {{host: '127.0.0.1:{}'}}}}",
        redis.port
    );
    let gateway = || Setup::echo().workers(2).plugin("limiter", limiting(100), &config).start();
    assert_eq!(passed(&[&gateway(), &gateway()], 500), 100);
}

#[test]
fn a_redis_that_is_down_fails_fast_and_is_found_again() {
    let mut redis = Redis::start();
    // The gateway's own Redis, chosen by name alone, as the caches of the documentation do.
    let kv = format!("kv: {{redis: {{host: '127.0.0.1:{}'}}}}", redis.port);
    let gateway = Setup::echo()
        .yaml(&kv)
        .plugin("limiter", limiting(1_000_000), "type: ratelimit, config: {backend: redis}")
        .start();
    assert_eq!(plain(&gateway).status, 200);
    redis.process.kill().unwrap();
    redis.process.wait().unwrap();
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(plain(&gateway).status, 503);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "it failed, but not fast");
    gateway.wait_log("kv_incr: redis");
    redis = Redis::start_on(redis.port);
    crate::support::wait_until("the limiter passes again", || plain(&gateway).status == 200);
    drop(redis);
}

#[test]
fn a_redis_that_is_nowhere_named_keeps_the_plugin_from_loading() {
    let gateway = Setup::echo()
        .plugin("limiter", limiting(10), "type: ratelimit, config: {backend: redis}")
        .start();
    gateway.wait_log("neither config.redis.host nor kv.redis.host is set");
    assert_eq!(plain(&gateway).status, 503);
}
