//! `odin-cli run`: a gateway of one plugin, as its author meets it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{TempDir, get, post, wait_until, wasm};

/// `odin-cli run` with these arguments; ended when it is dropped.
struct Serving {
    child: Child,
    pub addr: SocketAddr,
    said: Arc<Mutex<String>>,
}

impl Serving {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_odin-cli"))
            .arg("run")
            .args(args)
            .args(["--listen", "127.0.0.1:0"])
            .current_dir(dir)
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::<Mutex<String>>::default();
        let out: Box<dyn Read + Send> = Box::new(child.stdout.take().unwrap());
        for stream in [out, Box::new(child.stderr.take().unwrap())] {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut said = said.lock().unwrap();
                    said.push_str(&line);
                    said.push('\n');
                }
            });
        }
        let mut addr = None;
        wait_until("it listens", || {
            let text = said.lock().unwrap().clone();
            assert!(child.try_wait().unwrap().is_none(), "it has ended: {text}");
            let listening = text.lines().find_map(|line| line.split_once("listening on "));
            addr = listening.and_then(|(_, address)| address.trim().parse().ok());
            addr.is_some()
        });
        Self { child, addr: addr.unwrap(), said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tagged(tag: &str) -> Vec<u8> {
    wasm::setting_headers(&format!(r#""X-Tag":["{tag}"]"#))
}

/// Puts a plugin in the place of another, as a build does.
fn replace(dir: &TempDir, plugin: &[u8]) {
    dir.write("plugin.new", plugin);
    std::fs::rename(dir.path().join("plugin.new"), dir.path().join("plugin.wasm")).unwrap();
}

fn tag(addr: SocketAddr) -> serde_json::Value {
    get(addr, "/").json()["headers"]["X-Tag"][0].clone()
}

#[test]
fn run_serves_a_plugin_and_loads_it_again_when_its_file_changes() {
    let dir = TempDir::new();
    replace(&dir, &tagged("one"));
    let serving = Serving::start(dir.path(), &["plugin.wasm"]);
    assert_eq!(tag(serving.addr), "one");
    replace(&dir, &tagged("two"));
    wait_until("the new one serves", || tag(serving.addr) == "two");
}

#[test]
fn run_takes_what_an_entry_of_a_configuration_says() {
    let dir = TempDir::new();
    dir.write("plugin.wasm", wasm::showing_input());
    dir.write("config.yaml", "limit: 5\nnames: [a, b]\n");
    let auth = ["plugin.wasm", "--type", "auth", "--config", "config.yaml"];
    let serving = Serving::start(dir.path(), &auth);
    let input = post(serving.addr, "/", "hello").json();
    assert_eq!(input["config"], serde_json::json!({"limit": 5, "names": ["a", "b"]}));
    assert_eq!(input["input"].get("body"), None, "auth plugins are given no bodies");
    assert_eq!(input["context"]["plugin"], "plugin");
    let asking = ["--body", "true", "--config", r#"{"limit": 7}"#];
    let serving = Serving::start(dir.path(), &[&auth[..3], &asking].concat());
    let input = post(serving.addr, "/", "hello").json();
    assert_eq!(input["input"]["body"], "hello");
    assert_eq!(input["config"]["limit"], 7);
}

#[test]
fn run_bounds_a_plugin_and_its_failure_mode_decides() {
    let dir = TempDir::new();
    dir.write("plugin.wasm", wasm::spinning());
    for (mode, status) in [("closed", 503), ("open", 200)] {
        let args = ["plugin.wasm", "--timeout", "50ms", "--failure-mode", mode];
        let serving = Serving::start(dir.path(), &args);
        assert_eq!(get(serving.addr, "/").status, status, "{}", serving.said());
        wait_until("the log says why", || serving.said().contains("not done within 50ms"));
    }
    let large = wasm::module(
        r#"(module (memory (export "memory") 3)
            (func (export "execute") (param i32 i32) (result i64) (i64.const 0)))"#,
    );
    dir.write("plugin.wasm", large);
    let args = ["plugin.wasm", "--max-memory-pages", "2", "--failure-mode", "closed"];
    let serving = Serving::start(dir.path(), &args);
    assert_eq!(get(serving.addr, "/").status, 503);
    assert!(serving.said().contains("needs 3 pages of 64 KiB to start, limit is 2"));
}

#[test]
fn run_says_what_a_flag_takes() {
    let dir = TempDir::new();
    dir.write("plugin.wasm", wasm::passing());
    dir.write("list.yaml", "[1, 2]");
    for (args, reason) in [
        (&["missing.wasm"][..], "cannot read"),
        (&["plugin.wasm", "--type", "guard"], "a type is auth, ratelimit"),
        (&["plugin.wasm", "--timeout", "5"], "write 5s or 5ms"),
        (&["plugin.wasm", "--max-memory-pages", "0"], "is not in 1..="),
        (&["plugin.wasm", "--failure-mode", "shut"], "[possible values: open, closed]"),
        (&["plugin.wasm", "--body", "yes"], "false, whole (or true), stream or events"),
        (&["plugin.wasm", "--config", "{"], "an object such as"),
        (&["plugin.wasm", "--config", "[1]"], "an object such as"),
        (&["plugin.wasm", "--config", "nowhere.json"], "cannot read nowhere.json"),
        (&["plugin.wasm", "--config", "list.yaml"], "list.yaml holds no such object"),
        (&["plugin.wasm", "--to", "ftp://a"], "builtin:echo"),
        (&["plugin.wasm", "--listen", "8080"], "127.0.0.1:8080"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_odin-cli"));
        let output = command.arg("run").args(args).current_dir(dir.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {text}");
        assert!(text.contains(reason), "{args:?}: {text}");
    }
}

/// A build that takes `source.txt` for the plugin, and refuses one with a mistake in it as a
/// compiler does.
const BUILD: &str = "if grep -q mistake source.txt; then echo 'source.txt:1: error: no such thing' \
    >&2; exit 1; fi; mkdir -p build; cp source.txt build/new; mv build/new build/plugin.wasm";

#[test]
fn run_builds_again_whenever_a_source_changes() {
    let dir = TempDir::new();
    let save = |text: &[u8]| dir.write("source.txt", text);
    save(&tagged("one"));
    let serving = Serving::start(dir.path(), &["build/plugin.wasm", "--build", BUILD]);
    assert_eq!(tag(serving.addr), "one");
    // A mistake is shown, and what was built before goes on.
    save(b"a mistake");
    wait_until("the compiler's words are shown", || {
        let said = serving.said();
        said.contains("source.txt:1: error: no such thing") && said.contains("exit status: 1")
    });
    assert_eq!(tag(serving.addr), "one");
    // The best of some: other tests run beside this one.
    let took = (0..5).map(|round| {
        let (name, saved) = (format!("round-{round}"), Instant::now());
        save(&tagged(&name));
        wait_until("the new one serves", || tag(serving.addr) == *name);
        saved.elapsed()
    });
    let took = took.min().unwrap();
    assert!(took < Duration::from_secs(1), "from save to served: {took:?}");
    // In a folder that was not there before; a file that an editor keeps is no source.
    let builds = || serving.said().matches("odin-cli: ").count();
    let before = builds();
    dir.write(".source.txt.swp", "x");
    dir.write("more/deep.txt", "x");
    wait_until("it is built again", || builds() > before);
    let before = builds();
    dir.write("more/deep.txt", "xy");
    wait_until("it is built again", || builds() > before);
    std::thread::sleep(Duration::from_secs(1));
    let settled = builds();
    // Longer than the pause of builds that cause each other.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(builds(), settled, "it builds without a reason: {}", serving.said());
}

#[test]
fn run_says_what_a_first_build_lacks() {
    let dir = TempDir::new();
    for (build, code, told) in [
        ("echo 'x.c:1: error' >&2; false", 1, "x.c:1: error"),
        ("true", 64, "--build has made no such file"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_odin-cli"));
        let args = ["run", "plugin.wasm", "--build", build];
        let output = command.args(args).current_dir(dir.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn it_speaks_tls_with_a_certificate_of_its_own_and_tells_how_it_is_asked() {
    let dir = TempDir::new();
    dir.write("a.wasm", wasm::showing_input());
    let serving = Serving::start(dir.path(), &["a.wasm", "--type", "response", "--tls"]);
    let said = serving.said();
    let line = said.lines().find(|line| line.contains("curl --cacert ")).unwrap();
    let ca = line.split("--cacert ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let url = format!("https://localhost:{}/", serving.addr.port());
    let ask = |more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--noproxy", "*", "--output", "/dev/null"]);
        let told = curl.args(["--write-out", "%{http_code} %{http_version}"]).args(more).arg(&url);
        String::from_utf8(told.output().unwrap().stdout).unwrap()
    };
    let told = ask(&["--cacert", &ca]);
    assert!(told.ends_with(" 2") && !told.starts_with("000"), "{told}: {said}");
    // Whoever has not been told does not trust it.
    assert!(ask(&[]).starts_with("000"));
}
