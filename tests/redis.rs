//! The Redis backend against a real `redis-server`, on both I/O drivers.
//!
//! Each test starts servers of its own on free loopback ports, without a configuration file and
//! without persistence, and stops them. Signals stand for what happens to servers: SIGKILL for a
//! crash, SIGSTOP for a host that hangs without closing its connections.

#![expect(clippy::unwrap_used, reason = "a test that can't reach its server has failed")]
#![expect(clippy::disallowed_methods, reason = "a test writes the files that its server reads")]

use std::future::Future;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use odin::io::driver::{Driver, block_on};
use odin::io::sleep;
use odin::kv::config::{Config, Selection};
use odin::kv::{Backends, Binding, Cas, Error, Store, Stores};
use odin::limits;
use odin::upstream::tls::Tls;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

/// A server process; stopped when dropped.
struct Server {
    process: Child,
    port: u16,
    args: Vec<String>,
}

impl Server {
    fn start(args: &[&str]) -> Server {
        // a port that was free a moment ago may be taken by another test: then try another one
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
            if let Some(process) = launch(port, &args) {
                return Server { process, port, args };
            }
        }
        panic!("redis-server does not start; is it installed?");
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        self.process = launch(self.port, &self.args).expect("the port is still free");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Runs redis-cli and gives its output.
    fn cli(&self, args: &[&str]) -> String {
        let port = self.port.to_string();
        let out = Command::new("redis-cli").args(["-p", &port]).args(args).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// A plugin's `config` that selects this server.
    fn config(&self, more: Value) -> Value {
        let mut redis = json!({"host": format!("127.0.0.1:{}", self.port)});
        redis.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"redis": redis})
    }

    fn binding(&self, more: Value) -> Binding {
        binding(&self.config(more))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a server and waits until it accepts; `None` when it ended instead.
fn launch(port: u16, args: &[String]) -> Option<Child> {
    let port = port.to_string();
    let mut process = Command::new("redis-server")
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(args)
        .current_dir(std::env::temp_dir())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let own = format!("process_id:{}\r\n", process.id());
    loop {
        if process.try_wait().unwrap().is_some() {
            return None;
        }
        let info = Command::new("redis-cli").args(["-p", &port, "INFO", "server"]).output();
        // another test's server may have got the port: this one then ends
        if String::from_utf8_lossy(&info.unwrap().stdout).contains(&own) {
            return Some(process);
        }
    }
}

fn binding(config: &Value) -> Binding {
    let mut backends = Backends::new(&Config::default(), Instant::now());
    let selection = Selection::from_plugin_config(config, &Config::default()).unwrap();
    let no_tls = |_: &str| Err("this test has no certificates".to_owned());
    let binding = backends.bind(&selection, "limiter", &no_tls).unwrap();
    for endpoint in backends.endpoints() {
        let _ = endpoint.resolve();
    }
    binding
}

/// Certificates in a folder of their own: an authority (`ca.pem`) and a server's for 127.0.0.1.
struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    fn new() -> Certificates {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("odin-redis-{}-{}", std::process::id(), MADE.fetch_add(1, Relaxed));
        let certificates = Certificates { dir: std::env::temp_dir().join(&name) };
        std::fs::create_dir_all(&certificates.dir).unwrap();
        std::fs::write(certificates.path("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        certificates.openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN={name}"
        ));
        certificates.openssl(&format!("req {key} -keyout server.key -out csr -subj /CN=redis"));
        certificates.openssl(
            "x509 -req -in csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 \
             -extfile names",
        );
        certificates
    }

    fn path(&self, file: &str) -> String {
        self.dir.join(file).to_str().unwrap().to_owned()
    }

    fn openssl(&self, arguments: &str) {
        let mut openssl = Command::new("openssl");
        openssl.args(arguments.split_whitespace()).current_dir(&self.dir);
        let output = openssl.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A server that speaks TLS on a port of its own, beside the plain one that redis-cli uses.
    fn server(&self, args: &[&str]) -> (Server, u16) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port_text, certificate) = (port.to_string(), self.path("server.pem"));
        let (key, ca) = (self.path("server.key"), self.path("ca.pem"));
        let mut all = vec!["--tls-port", &port_text, "--tls-auth-clients", "no"];
        all.extend(["--tls-cert-file", &certificate, "--tls-key-file", &key]);
        all.extend(["--tls-ca-cert-file", &ca]);
        all.extend(args);
        (Server::start(&all), port)
    }

    /// What trusts this authority, and nobody else.
    fn trust(&self, host: &str) -> Result<Tls, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.path("ca.pem")).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        Ok(Tls { config: Arc::new(config), name })
    }

    fn binding(&self, redis: Value) -> Binding {
        let config = json!({"redis": redis});
        let selection = Selection::from_plugin_config(&config, &Config::default()).unwrap();
        let mut backends = Backends::new(&Config::default(), Instant::now());
        backends.bind(&selection, "limiter", &|host| self.trust(host)).unwrap()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Runs a test's future on a runtime of its own, once per driver.
fn on_both_drivers<F: Future<Output = ()>>(test: impl Fn(Stores) -> F) {
    on_io_uring(async { test(Stores::new()).await });
    on_epoll(async { test(Stores::new()).await });
}

fn on_io_uring<T>(future: impl Future<Output = T>) -> T {
    block_on(Driver::IoUring, future).expect("io_uring is allowed here")
}

fn on_epoll<T>(future: impl Future<Output = T>) -> T {
    block_on(Driver::Epoll, future).unwrap()
}

fn now() -> Instant {
    Instant::now()
}

/// Calls until one succeeds, for at most ten seconds.
async fn until_answered(store: &Store) {
    let begun = Instant::now();
    while let Err(error) = store.get(b"probe", now()).await {
        assert!(begun.elapsed() < Duration::from_secs(10), "still failing: {error}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn every_operation_does_what_the_memory_backend_does() {
    let server = Server::start(&[]);
    on_both_drivers(|stores| {
        server.cli(&["FLUSHALL"]);
        let redis = stores.open(&server.binding(json!({})));
        let memory = stores.open(&binding(&json!({})));
        async move {
            for store in [memory, redis] {
                every_operation(&store).await;
            }
        }
    });
}

async fn every_operation(store: &Store) {
    let second = Some(Duration::from_secs(1000));
    assert_eq!(store.get(b"k", now()).await, Ok(None));
    assert_eq!(store.delete(b"k", now()).await, Ok(false));
    let bytes = b"\r\n\x00\xff$-1\r\n";
    assert_eq!(store.set(b"k", bytes, None, now()).await, Ok(()));
    assert_eq!(store.get(b"k", now()).await, Ok(Some(Arc::from(&bytes[..]))));
    assert_eq!(store.set(b"k", b"", second, now()).await, Ok(()));
    assert_eq!(store.get(b"k", now()).await, Ok(Some(Arc::from(&b""[..]))));
    assert_eq!(store.incr(b"k", 1, None, now()).await, Err(Error::NotAnInteger));
    assert_eq!(store.delete(b"k", now()).await, Ok(true));

    assert_eq!(store.incr(b"n", 1, second, now()).await, Ok(1));
    assert_eq!(store.incr(b"n", -5, second, now()).await, Ok(-4));
    assert_eq!(store.get(b"n", now()).await, Ok(Some(Arc::from(&b"-4"[..]))));
    // beyond the 53 bits of a number in Lua
    let large = (1_i64 << 62) + 5;
    assert_eq!(store.incr(b"n", large, None, now()).await, Ok(large - 4));
    assert_eq!(store.incr(b"n", large, None, now()).await, Err(Error::Overflow));
    for text in ["01", "+1", " 1", "x", "-0"] {
        store.set(b"n", text.as_bytes(), None, now()).await.unwrap();
        assert_eq!(store.incr(b"n", 1, None, now()).await, Err(Error::NotAnInteger), "{text:?}");
    }

    let conflict = |value: &[u8]| Ok(Cas::Conflict(Some(Arc::from(value))));
    let cas = |expected, value| store.compare_and_set(b"c", expected, value, second, now());
    assert_eq!(cas(Some(b"a"), b"b").await, Ok(Cas::Conflict(None)));
    assert_eq!(cas(None, b"a").await, Ok(Cas::Swapped));
    assert_eq!(cas(None, b"b").await, conflict(b"a"));
    assert_eq!(cas(Some(b"x"), b"b").await, conflict(b"a"));
    assert_eq!(cas(Some(b"a"), b"").await, Ok(Cas::Swapped));
    assert_eq!(cas(None, b"b").await, conflict(b""));
    assert_eq!(cas(Some(b""), b"b").await, Ok(Cas::Swapped));

    let long = vec![b'k'; limits::KV_KEY_BYTES_MAX + 1];
    assert_eq!(store.get(&long, now()).await, Err(Error::KeySize(long.len())));
    let value = vec![7; limits::KV_VALUE_BYTES_MAX];
    assert_eq!(store.set(&long[1..], &value, None, now()).await, Ok(()));
    assert_eq!(store.get(&long[1..], now()).await, Ok(Some(Arc::from(value))));
    let value = vec![7; limits::KV_VALUE_BYTES_MAX + 1];
    let refused = Err(Error::ValueSize(value.len()));
    assert_eq!(store.set(b"k", &value, None, now()).await, refused);
}

#[test]
fn keys_and_times_to_live_are_laid_out_as_documented() {
    let server = Server::start(&[]);
    on_both_drivers(|stores| {
        server.cli(&["FLUSHALL"]);
        let mut config = server.config(json!({"prefix": "gw:"}));
        config["kvNamespace"] = json!("a:b%");
        let plain = stores.open(&server.binding(json!({})));
        let named = stores.open(&binding(&config));
        let server = &server;
        async move {
            let minute = Some(Duration::from_secs(60));
            plain.set(b"ip:10.0.0.1", b"v", minute, now()).await.unwrap();
            plain.incr(b"n", 1, minute, now()).await.unwrap();
            named.set(b"k", b"v", None, now()).await.unwrap();
            let mut keys: Vec<_> = server.cli(&["KEYS", "*"]).lines().map(str::to_owned).collect();
            keys.sort();
            assert_eq!(keys, ["gw:a%3Ab%25:k", "odin:limiter:ip:10.0.0.1", "odin:limiter:n"]);
            let ttl = |key: &str| server.cli(&["PTTL", key]).parse::<i64>().unwrap();
            assert!((50_000..=60_000).contains(&ttl("odin:limiter:ip:10.0.0.1")));
            assert_eq!(ttl("gw:a%3Ab%25:k"), -1);
            // a later increment leaves the window's end where it is
            plain.incr(b"n", 1, Some(Duration::from_secs(6000)), now()).await.unwrap();
            assert!((50_000..=60_000).contains(&ttl("odin:limiter:n")));
            // an expired window begins anew, with a new end
            server.cli(&["PEXPIRE", "odin:limiter:n", "1"]);
            while server.cli(&["EXISTS", "odin:limiter:n"]) == "1" {}
            assert_eq!(plain.incr(b"n", 1, minute, now()).await, Ok(1));
            assert!(ttl("odin:limiter:n") > 50_000);
        }
    });
}

#[test]
fn two_gateways_count_exactly() {
    const EACH: i64 = 2_000;
    let server = Server::start(&[]);
    // two threads with a runtime, a binding and a connection of their own, one driver each
    let count = |binding: Binding| async move {
        let stores = Stores::new();
        let store = Rc::new(stores.open(&binding));
        let calls = (0..EACH).map(|_| {
            let store = Rc::clone(&store);
            monoio::spawn(async move { store.incr(b"n", 1, None, now()).await.unwrap() })
        });
        let mut sums = Vec::new();
        for call in calls.collect::<Vec<_>>() {
            sums.push(call.await);
        }
        sums
    };
    let mut sums: Vec<i64> = std::thread::scope(|scope| {
        let one = scope.spawn(|| on_io_uring(count(server.binding(json!({})))));
        let other = scope.spawn(|| on_epoll(count(server.binding(json!({})))));
        [one.join().unwrap(), other.join().unwrap()].concat()
    });
    sums.sort();
    assert_eq!(sums, (1..=2 * EACH).collect::<Vec<_>>(), "each sum was given once");
}

#[test]
fn compare_and_set_of_two_gateways_loses_no_update() {
    const EACH: u64 = 300;
    let server = Server::start(&[]);
    let work = |binding: Binding| async move {
        let store = Stores::new().open(&binding);
        let mut seen: Option<Arc<[u8]>> = None;
        for _ in 0..EACH {
            loop {
                let old = seen.as_deref().map_or("0", |old| std::str::from_utf8(old).unwrap());
                let new = (old.parse::<u64>().unwrap() + 1).to_string();
                let new = new.as_bytes();
                match store.compare_and_set(b"s", seen.as_deref(), new, None, now()).await {
                    Ok(Cas::Swapped) => {
                        seen = Some(Arc::from(new));
                        break;
                    }
                    Ok(Cas::Conflict(current)) => seen = current,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| on_io_uring(work(server.binding(json!({})))));
        scope.spawn(|| on_epoll(work(server.binding(json!({})))));
    });
    assert_eq!(server.cli(&["GET", "odin:limiter:s"]), (2 * EACH).to_string());
}

async fn thousand_calls(store: &Rc<Store>) {
    let calls: Vec<_> = (0..1_000_u32)
        .map(|at| {
            let (store, key) = (Rc::clone(store), at.to_le_bytes());
            monoio::spawn(async move {
                let value = vec![at as u8; at as usize % 3_000];
                store.set(&key, &value, None, now()).await.unwrap();
                let got = store.get(&key, now()).await.unwrap().unwrap();
                assert_eq!(*got, *value, "replies are matched in order");
            })
        })
        .collect();
    for call in calls {
        call.await;
    }
}

#[test]
fn a_thousand_concurrent_calls_share_one_connection() {
    on_both_drivers(|stores| {
        let server = Server::start(&[]);
        let store = Rc::new(stores.open(&server.binding(json!({}))));
        async move {
            thousand_calls(&store).await;
            // ours and that of redis-cli
            assert_eq!(server.cli(&["CLIENT", "LIST"]).lines().count(), 2);
            assert_eq!(stores.status().len(), 1);
            assert_eq!(stores.status()[0].connects, 1);
        }
    });
}

#[test]
fn calls_beyond_the_queue_fail_at_once() {
    let server = Server::start(&[]);
    on_both_drivers(|stores| {
        let store = Rc::new(stores.open(&server.binding(json!({}))));
        async move {
            until_answered(&store).await;
            let over = 50;
            let calls: Vec<_> = (0..limits::KV_REDIS_WAITING_MAX + over)
                .map(|_| {
                    let store = Rc::clone(&store);
                    monoio::spawn(async move { store.incr(b"n", 1, None, now()).await })
                })
                .collect();
            let mut busy = 0;
            for call in calls {
                match call.await {
                    Ok(_) => {}
                    Err(Error::Busy) => busy += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(busy, over);
        }
    });
}

#[test]
fn given_up_calls_do_not_shift_the_replies_of_others() {
    let server = Server::start(&[]);
    on_both_drivers(|stores| {
        let store = stores.open(&server.binding(json!({})));
        async move {
            store.set(b"k", b"right", None, now()).await.unwrap();
            for _ in 0..100 {
                // polled once, so sent; then dropped before its reply, as a plugin's time-out does
                let mut call = Box::pin(store.set(b"other", b"wrong", None, now()));
                let polled = std::future::poll_fn(|cx| {
                    std::task::Poll::Ready(call.as_mut().poll(cx).is_pending())
                });
                assert!(polled.await, "the reply can't be there yet");
                drop(call);
                assert_eq!(store.get(b"k", now()).await, Ok(Some(Arc::from(&b"right"[..]))));
            }
        }
    });
}

#[test]
fn password_and_user_are_sent_and_refusals_are_told() {
    let server = Server::start(&[]);
    server.cli(&["ACL", "SETUSER", "odin", "on", ">its-own", "~odin:*", "+@all"]);
    server.cli(&["CONFIG", "SET", "requirepass", "default secret"]);
    on_both_drivers(|stores| {
        let open = |more| stores.open(&server.binding(more));
        let default = open(json!({"password": "default secret"}));
        let user = open(json!({"username": "odin", "password": "its-own"}));
        let none = open(json!({}));
        let wrong = open(json!({"password": "guess"}));
        let elsewhere = json!({"username": "odin", "password": "its-own", "prefix": "x:"});
        let elsewhere = open(elsewhere);
        async move {
            assert_eq!(default.set(b"k", b"v", None, now()).await, Ok(()));
            assert_eq!(user.get(b"k", now()).await, Ok(Some(Arc::from(&b"v"[..]))));
            let told = |got: Result<_, Error>, words: &str| {
                let text = got.unwrap_err().to_string();
                assert!(text.contains(words), "got {text:?}, expected {words:?}");
                assert!(!text.contains("guess"));
            };
            told(none.get(b"k", now()).await, "PING was refused: NOAUTH");
            told(wrong.get(b"k", now()).await, "AUTH was refused: WRONGPASS");
            told(elsewhere.get(b"k", now()).await, "redis refused: NOPERM");
            // a refusal is one call's, not the connection's
            assert!(user.get(b"k", now()).await.is_ok());
        }
    });
}

#[test]
fn databases_are_apart_and_an_unknown_one_is_told() {
    let server = Server::start(&["--databases", "4"]);
    on_both_drivers(|stores| {
        server.cli(&["FLUSHALL"]);
        let open = |db| stores.open(&server.binding(json!({"db": db})));
        let (zero, three, four) = (open(0), open(3), open(4));
        let server = &server;
        async move {
            three.set(b"k", b"v", None, now()).await.unwrap();
            assert_eq!(zero.get(b"k", now()).await, Ok(None));
            assert_eq!(server.cli(&["-n", "3", "GET", "odin:limiter:k"]), "v");
            let text = four.get(b"k", now()).await.unwrap_err().to_string();
            assert!(text.contains("SELECT was refused"), "{text}");
        }
    });
}

#[test]
fn killed_server_fails_fast_and_is_found_again() {
    let server = Server::start(&[]);
    let server = std::cell::RefCell::new(server);
    on_both_drivers(|stores| {
        let store = stores.open(&server.borrow().binding(json!({})));
        let server = &server;
        async move {
            until_answered(&store).await;
            server.borrow_mut().kill();
            // the break itself may still be under way for the first call, which it fails
            assert!(store.get(b"k", now()).await.is_err());
            while stores.status()[0].connected {
                sleep(Duration::from_millis(1)).await;
            }
            let begun = Instant::now();
            for _ in 0..1_000 {
                let error = store.incr(b"k", 1, None, now()).await.unwrap_err();
                assert!(matches!(error, Error::Unavailable(_)), "{error}");
            }
            let took = begun.elapsed();
            assert!(took < limits::KV_REDIS_TIMEOUT, "1,000 calls without a server: {took:?}");
            assert!(stores.status()[0].reason.is_some());

            server.borrow_mut().restart();
            until_answered(&store).await;
            assert_eq!(
                store.incr(b"k", 1, None, now()).await,
                Ok(1),
                "the scripts are loaded anew"
            );
            assert!(stores.status()[0].connected);
        }
    });
}

#[test]
fn server_that_is_down_at_first_is_found_when_it_comes() {
    let server = std::cell::RefCell::new(Server::start(&[]));
    on_both_drivers(|stores| {
        server.borrow_mut().kill();
        let store = stores.open(&server.borrow().binding(json!({})));
        let server = &server;
        async move {
            let error = store.get(b"k", now()).await.unwrap_err();
            assert!(
                matches!(&error, Error::Unavailable(why) if why.contains("refused")),
                "{error}"
            );
            server.borrow_mut().restart();
            until_answered(&store).await;
        }
    });
}

#[test]
fn name_without_an_address_fails_at_once() {
    on_both_drivers(|stores| {
        let store = stores.open(&binding(&json!({"redis": {"host": "redis.invalid"}})));
        async move {
            let error = store.get(b"k", now()).await.unwrap_err().to_string();
            assert!(error.contains("redis.invalid does not resolve"), "{error}");
        }
    });
}

#[test]
fn stopped_server_times_out_then_fails_fast_and_recovers() {
    let server = Server::start(&[]);
    on_both_drivers(|stores| {
        let store = Rc::new(stores.open(&server.binding(json!({"timeout": "200ms"}))));
        let server = &server;
        async move {
            until_answered(&store).await;
            server.signal("-STOP");
            let begun = Instant::now();
            let calls: Vec<_> = (0..100)
                .map(|_| {
                    let store = Rc::clone(&store);
                    monoio::spawn(async move { store.incr(b"n", 1, None, now()).await })
                })
                .collect();
            for call in calls {
                // the first timer that fires ends the connection and with it the other calls
                let error = call.await.unwrap_err();
                assert!(matches!(error, Error::Timeout(200) | Error::Broken(_)), "{error}");
            }
            let took = begun.elapsed();
            assert!(took >= Duration::from_millis(199), "timed out early, after {took:?}");
            let error = store.get(b"k", now()).await.unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)), "no second wait: {error}");
            server.signal("-CONT");
            until_answered(&store).await;
        }
    });
}

/// Sends a stopped server more than loopback's buffers take, so that the writer waits when the
/// connection is ended; no call succeeds.
async fn overfill(store: &Rc<Store>) {
    let value = Rc::new(vec![1; limits::KV_VALUE_BYTES_MAX]);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (store, value) = (Rc::clone(store), Rc::clone(&value));
            monoio::spawn(async move { store.set(b"k", &value, None, now()).await })
        })
        .collect();
    for call in calls {
        assert!(call.await.is_err());
    }
}

#[test]
fn stopped_server_with_full_socket_buffers_recovers() {
    let server = Server::start(&[]);
    on_both_drivers(|stores| {
        let store = Rc::new(stores.open(&server.binding(json!({"timeout": "200ms"}))));
        let server = &server;
        async move {
            until_answered(&store).await;
            server.signal("-STOP");
            overfill(&store).await;
            server.signal("-CONT");
            until_answered(&store).await;
        }
    });
}

#[test]
fn forgotten_scripts_are_sent_again() {
    let server = Server::start(&[]);
    on_both_drivers(|stores| {
        server.cli(&["FLUSHALL"]);
        let store = stores.open(&server.binding(json!({})));
        let server = &server;
        async move {
            assert_eq!(store.incr(b"n", 1, None, now()).await, Ok(1));
            server.cli(&["SCRIPT", "FLUSH"]);
            assert_eq!(store.incr(b"n", 1, None, now()).await, Ok(2));
            let swapped = store.compare_and_set(b"n", Some(b"2"), b"9", None, now()).await;
            assert_eq!(swapped, Ok(Cas::Swapped));
        }
    });
}

#[test]
fn full_server_is_told_as_a_full_store() {
    let server = Server::start(&["--maxmemory", "100kb", "--maxmemory-policy", "noeviction"]);
    on_both_drivers(|stores| {
        let store = stores.open(&server.binding(json!({})));
        async move {
            assert_eq!(store.set(b"k", b"v", None, now()).await, Err(Error::Full));
            assert_eq!(store.incr(b"n", 1, None, now()).await, Err(Error::Full));
            assert_eq!(store.get(b"k", now()).await, Ok(None));
        }
    });
}

#[test]
fn bytes_that_are_no_redis_end_the_connection() {
    // 1. a server that answers the handshake with HTTP; 2. one that closes at once
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let binding = binding(&json!({"redis": {"host": host}}));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                use std::io::Write;
                let _ = stream.unwrap().write_all(answer);
            }
        });
        on_both_drivers(|stores| {
            let store = stores.open(&binding);
            async move {
                let error = store.get(b"k", now()).await.unwrap_err().to_string();
                let words = ["is it redis?", "closed the connection", "reset by peer"];
                assert!(words.iter().any(|words| error.contains(words)), "{error}");
            }
        });
    }
}

#[test]
fn connection_ends_with_its_last_store() {
    let server = Server::start(&[]);
    on_both_drivers(|stores| {
        let server = &server;
        async move {
            let store = stores.open(&server.binding(json!({})));
            until_answered(&store).await;
            assert_eq!(server.cli(&["CLIENT", "LIST"]).lines().count(), 2);
            drop(store);
            while server.cli(&["CLIENT", "LIST"]).lines().count() > 1 {
                sleep(Duration::from_millis(1)).await;
            }
            assert!(stores.status().is_empty());
        }
    });
}

#[test]
fn by_tls_with_user_password_and_database_every_operation_is_as_in_the_clear() {
    let certificates = Certificates::new();
    let (server, port) = certificates.server(&[]);
    server.cli(&["ACL", "SETUSER", "odin", "on", ">its-own", "~odin:*", "+@all"]);
    server.cli(&["CONFIG", "SET", "requirepass", "default secret"]);
    on_both_drivers(|stores| {
        server.cli(&["-a", "default secret", "FLUSHALL"]);
        let redis = json!({"host": format!("rediss://127.0.0.1:{port}"), "db": 3,
            "username": "odin", "password": "its-own"});
        let store = stores.open(&certificates.binding(redis));
        let server = &server;
        async move {
            every_operation(&store).await;
            store.set(b"seen", b"1", None, now()).await.unwrap();
            let keys = server.cli(&["-a", "default secret", "-n", "3", "GET", "odin:limiter:seen"]);
            assert_eq!(keys, "1");
        }
    });
}

#[test]
fn by_tls_a_thousand_concurrent_calls_share_one_connection() {
    let certificates = Certificates::new();
    let (_server, port) = certificates.server(&[]);
    on_both_drivers(|stores| {
        let redis = json!({"host": format!("127.0.0.1:{port}"), "tls": true});
        let store = Rc::new(stores.open(&certificates.binding(redis)));
        async move {
            thousand_calls(&store).await;
            assert_eq!(stores.status()[0].connects, 1);
        }
    });
}

#[test]
fn by_tls_a_killed_or_stopped_server_is_found_again() {
    let certificates = Certificates::new();
    let (server, port) = certificates.server(&[]);
    let server = std::cell::RefCell::new(server);
    on_both_drivers(|stores| {
        let redis = json!({"host": format!("127.0.0.1:{port}"), "tls": true, "timeout": "300ms"});
        let store = Rc::new(stores.open(&certificates.binding(redis)));
        let server = &server;
        async move {
            until_answered(&store).await;
            server.borrow_mut().kill();
            assert!(store.get(b"k", now()).await.is_err());
            server.borrow_mut().restart();
            until_answered(&store).await;
            server.borrow().signal("-STOP");
            overfill(&store).await;
            server.borrow().signal("-CONT");
            until_answered(&store).await;
        }
    });
}

#[test]
fn nothing_is_said_to_a_server_whose_certificate_proves_nothing() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let (server, port) = certificates.server(&[]);
    let told = |redis: Value, trusting: &Certificates, words: &str| {
        on_both_drivers(|stores| {
            let store = stores.open(&trusting.binding(redis.clone()));
            async move {
                let text = store.get(b"k", now()).await.unwrap_err().to_string();
                assert!(text.contains(words), "got {text:?}, expected {words:?}");
            }
        });
    };
    let at = |port: u16, is_secure: bool| {
        let host = format!("127.0.0.1:{port}");
        json!({"host": host, "tls": is_secure, "password": "secret"})
    };
    told(at(port, true), &others, "signed by nobody whom this machine trusts");
    // A plain server takes the hello for a command: it answers, or waits for the end of the line.
    told(at(server.port, true), &certificates, "127.0.0.1");
    told(at(port, false), &certificates, "write tls: true");
    let commands = server.cli(&["INFO", "commandstats"]);
    assert!(!commands.contains("cmdstat_auth"), "{commands}");
}

#[test]
fn redis_by_tls_that_cannot_be_trusted_is_not_bound_at_all() {
    let config = json!({"redis": {"host": "redis.test", "tls": true}});
    let selection = Selection::from_plugin_config(&config, &Config::default()).unwrap();
    let mut backends = Backends::new(&Config::default(), Instant::now());
    let why = backends.bind(&selection, "p", &|_| Err("no trusted certificates".to_owned()));
    assert_eq!(why.unwrap_err(), "redis redis.test:6379: no trusted certificates");
}
