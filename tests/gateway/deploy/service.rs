//! The systemd unit: valid, tight, and no tighter than the gateway needs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{read, root, run};
use crate::support::{Client, PATIENCE, TempDir, wait_until, wasm};

const UNIT: &str = "config/deploy/systemd/odin.service";

#[test]
fn systemd_accepts_the_unit() {
    let dir = TempDir::new();
    // The binary need not be installed where this is checked.
    let unit = read(UNIT).replace("/usr/local/bin/odin", env!("CARGO_BIN_EXE_odin"));
    let path = dir.write("odin.service", unit);
    let said = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(path));
    assert!(!said.contains("odin.service"), "{said}");
    run(Command::new("systemd-sysusers")
        .args(["--dry-run"])
        .arg(root("config/deploy/systemd/odin.sysusers")));
}

#[test]
fn the_unit_exposes_no_more_than_it_did() {
    // systemd's own measure, 0 (nothing) to 10; 1.9 of it are the network, which is the service.
    run(Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", "--threshold=20"])
        .arg(root(UNIT)));
}

/// The system calls that the unit's `SystemCallFilter` lines allow, taken in their order.
fn allowed() -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in read(UNIT).lines() {
        let Some(filter) = line.strip_prefix("SystemCallFilter=") else {
            continue;
        };
        let (takes_away, words) = match filter.strip_prefix('~') {
            Some(words) => (true, words),
            None => (false, filter),
        };
        for call in words.split_whitespace().flat_map(expand) {
            if takes_away {
                allowed.remove(&call);
            } else {
                allowed.insert(call);
            }
        }
    }
    assert!(allowed.len() > 100, "{allowed:?}");
    allowed
}

/// The calls of a group, those of groups in it too.
fn expand(word: &str) -> Vec<String> {
    if !word.starts_with('@') {
        return vec![word.to_owned()];
    }
    let list = run(Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", word]));
    let words = list.lines().skip(1).map(str::trim).filter(|line| !line.starts_with('#'));
    words.filter(|word| !word.is_empty()).flat_map(expand).collect()
}

/// A gateway whose system calls are written down.
struct Traced {
    child: Child,
    dir: TempDir,
}

impl Traced {
    fn start(driver: &str) -> Self {
        let dir = TempDir::new();
        dir.write("plugins/tag.wasm", wasm::setting_headers(r#""X-Tag":["one"]"#));
        dir.write("plugins/bad.wasm", wasm::trapping());
        let text = format!(
            "server: {{listen: '127.0.0.1:0', workers: 2, ioDriver: {driver}, drainTimeout: 2s}}\n\
             admin: {{listen: '127.0.0.1:0'}}\n\
             logging: {{accessLog: {0}/told/access.log}}\n\
             wasm:\n  pluginDir: {0}/plugins\n  cacheDir: {0}/cache\n  plugins:\n    \
             - {{name: tag, path: tag.wasm, type: request}}\n    \
             - {{name: bad, path: bad.wasm, type: response}}\n\
             services:\n  - {{name: all, basePath: /, targets: ['builtin:echo']}}\n  \
             - {{name: out, basePath: /out, targets: ['http://localhost:1']}}\n",
            dir.path().display()
        );
        let config = dir.write("odin.yaml", text);
        // Apart: every line would stir the watcher of the configuration.
        let log = std::fs::File::create(dir.write("told/log", "")).unwrap();
        let child = Command::new("strace")
            .args(["-f", "-qq", "-o"])
            .arg(dir.path().join("told/trace"))
            .arg(env!("CARGO_BIN_EXE_odin"))
            .arg("--config")
            .arg(config)
            .arg("--watch")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("strace is there: make setup installs it");
        Self { child, dir }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("told").join(name)).unwrap_or_default()
    }

    fn address(&self, words: &str) -> SocketAddr {
        let mut found = None;
        wait_until("it listens", || {
            let log = self.file("log");
            let after = log.split_once(words).and_then(|(_, after)| after.split_once('\n'));
            found = after.and_then(|(address, _)| address.trim().parse().ok());
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status of the answer, for which a traced gateway is given time.
fn ask(addr: SocketAddr, path: &str) -> u16 {
    let mut client = Client::connect(addr);
    client.set_patience(PATIENCE * 3);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    client.response().status
}

#[test]
fn the_unit_allows_every_system_call_that_the_gateway_makes() {
    let allowed = allowed();
    let driver = crate::support::gateway::io_driver();
    let mut traced = Traced::start(&driver);
    let admin = traced.address("admin on ");
    let addr = traced.address("listening on ");
    for (path, status) in [("/", 200), ("/out", 502), ("/%00", 400)] {
        assert_eq!(ask(addr, path), status, "{path}");
    }
    for path in ["/metrics", "/api/status", "/readyz"] {
        assert_eq!(ask(admin, path), 200, "{path}");
    }
    // A reload by a file's change, then the end by a signal, which strace passes on.
    traced.dir.write("plugins/tag.wasm", wasm::setting_headers(r#""X-Tag":["two"]"#));
    wait_until("the plugin is reloaded", || {
        traced.file("log").contains("configuration reloaded (a file changed)")
    });
    assert_eq!(ask(addr, "/"), 200);
    run(Command::new("kill").arg("-TERM").arg(gateway_of(&traced).to_string()));
    wait_until("it has ended", || traced.child.try_wait().unwrap().is_some());

    let trace = traced.file("trace");
    let call = regex::Regex::new(r"(?m)^\d+\s+(?:<\.\.\. )?([a-z][a-z0-9_]*)[ (]").unwrap();
    let made: BTreeSet<_> = call.captures_iter(&trace).map(|found| found[1].to_owned()).collect();
    assert!(made.contains("accept4") || made.contains("io_uring_enter"), "{made:?}");
    let refused: Vec<_> = made.iter().filter(|call| !allowed.contains(*call)).collect();
    assert!(refused.is_empty(), "SystemCallFilter does not allow {refused:?}");
}

/// The traced process: strace's child.
fn gateway_of(traced: &Traced) -> u32 {
    let strace = traced.child.id();
    let children = Path::new("/proc").join(format!("{strace}/task/{strace}/children"));
    let children = std::fs::read_to_string(children).unwrap();
    children.split_whitespace().next().expect("strace has a child").parse().unwrap()
}
