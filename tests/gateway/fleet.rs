//! A fleet: real etcd, real gateways, `odin-cli fleet`.

mod machines;
mod page;
mod storms;

use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::etcd::{Etcd, Options};
use crate::support::gateway::BINARY;
use crate::support::secure::{Issuer, Leaf};
use crate::support::{Gateway, Setup, TempDir, get, wait_until};

/// A document with one service, whose answers show `word`.
fn document(word: &str) -> String {
    format!(
        "services:\n  - name: all\n    basePath: /\n    targets: ['builtin:echo']\n    headers: \
         {{X-Word: '{word}'}}\n"
    )
}

/// The `fleet` section of a node that keeps its revision in `cache`.
fn section(urls: &[String], node: &str, cache: &Path) -> String {
    let (urls, cache) = (urls.join("', '"), cache.display());
    format!("fleet: {{etcd: {{endpoints: ['{urls}']}}, node: {node}, cacheDir: '{cache}'}}")
}

/// A node in the making; its revision is kept in a folder of its own name in `caches`.
fn setup(etcd: &Etcd, node: &str, caches: &TempDir) -> Setup {
    Setup::new().yaml(&section(&etcd.urls(), node, &caches.path().join(node)))
}

fn node(etcd: &Etcd, node: &str, caches: &TempDir) -> Gateway {
    setup(etcd, node, caches).start()
}

/// Runs `odin-cli fleet` against an etcd.
fn fleet(etcd: &Etcd, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_odin-cli"));
    command.args(["fleet", "--etcd", &etcd.urls().join(",")]).args(arguments);
    command.env_remove("MISSING").output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn told(output: &Output) -> String {
    out(output) + &String::from_utf8_lossy(&output.stderr)
}

/// Runs it; it must succeed.
fn must(etcd: &Etcd, arguments: &[&str]) -> String {
    let output = fleet(etcd, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", told(&output));
    told(&output)
}

/// Pushes a document; it must succeed.
fn push(etcd: &Etcd, dir: &TempDir, text: &str) -> String {
    let file = dir.write("document.yaml", text);
    must(etcd, &["push", file.to_str().unwrap()])
}

/// Pushes a document, whatever comes of it.
fn try_push(etcd: &Etcd, dir: &TempDir, text: &str, arguments: &[&str]) -> Output {
    let file = dir.write("document.yaml", text);
    let all = [&["push", file.to_str().unwrap()], arguments].concat();
    fleet(etcd, &all)
}

/// What the echo behind a node's service shows of the document.
fn word(gateway: &Gateway) -> Option<String> {
    let answer: Value = serde_json::from_str(&get(gateway.addr, "/").text()).ok()?;
    Some(answer["headers"]["X-Word"][0].as_str()?.to_owned())
}

fn wait_word(gateway: &Gateway, want: &str) {
    wait_until(&format!("{want} is served"), || word(gateway).as_deref() == Some(want));
}

#[test]
fn a_node_serves_what_its_fleet_says_and_follows_it() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    push(&etcd, &dir, &document("one"));
    let gateway = node(&etcd, "a", &dir);
    assert_eq!(word(&gateway).as_deref(), Some("one"));
    wait_until("the node has reported", || must(&etcd, &["status"]).contains("  a"));
    let pushed = push(&etcd, &dir, &document("two"));
    assert!(pushed.contains("revision 2: 1 of 1 nodes serve it"), "{pushed}");
    assert_eq!(word(&gateway).as_deref(), Some("two"));
    let status = must(&etcd, &["status"]);
    assert!(status.contains("1 of 1 nodes serve revision 2"), "{status}");
    assert!(status.contains("  a      2  ready since"), "{status}");
    // What a node says of itself goes with it.
    drop(gateway);
    wait_until("its report is gone", || must(&etcd, &["status"]).contains("0 of 0 nodes"));
}

#[test]
fn a_node_starts_and_serves_its_last_revision_with_etcd_away_and_catches_up() {
    let (mut etcd, dir) = (Etcd::one(), TempDir::new());
    push(&etcd, &dir, &document("one"));
    drop(node(&etcd, "a", &dir));
    etcd.kill(0);
    let begun = std::time::Instant::now();
    let gateway = node(&etcd, "a", &dir);
    let took = begun.elapsed();
    assert_eq!(word(&gateway).as_deref(), Some("one"));
    gateway.wait_log("etcd is not reached, the last good revision is served");
    let ready = gateway.call("GET", "/readyz", "");
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("serving revision 1, the last good one; etcd unreachable since"));
    let begun = std::time::Instant::now();
    let other = Setup::echo().start();
    let ordinary = begun.elapsed();
    drop(other);
    eprintln!("a start with etcd away: {took:?}; an ordinary one: {ordinary:?}");
    // Three times: other tests run beside this one.
    assert!(took < 3 * ordinary + std::time::Duration::from_millis(500), "{took:?} {ordinary:?}");

    etcd.restart(0);
    etcd.wait_healthy(0);
    push_soon(&etcd, &dir, "two");
    wait_word(&gateway, "two");
    gateway.wait_log("fleet: following etcd");
}

/// Pushes without waiting for nodes, which may not be back yet.
fn push_soon(etcd: &Etcd, dir: &TempDir, word: &str) {
    let pushed = try_push(etcd, dir, &document(word), &["--no-wait"]);
    assert!(out(&pushed).contains("nodes serve it"), "{}", told(&pushed));
}

/// Starts a gateway that must not come up; what it says.
fn refused_start(config: &str, dir: &TempDir) -> (Option<i32>, String) {
    let path = dir.write("refused.yaml", config);
    let output = Command::new(BINARY).arg("--config").arg(path).output().unwrap();
    (output.status.code(), told(&output))
}

#[test]
fn a_node_that_never_had_a_revision_says_so_and_does_not_start() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    let (code, said) = refused_start(&setup(&etcd, "a", &dir).config(), &dir);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("this node has never applied a revision of its fleet"), "{said}");
    assert!(said.contains("etcd has no document under /odin; write one: odin-cli fleet push"));

    // A document that this node cannot read is told of as of any file.
    let pushed = try_push(&etcd, &dir, "services: ['${MISSING}']", &["--no-wait"]);
    assert!(told(&pushed).contains("MISSING"), "{}", told(&pushed));
    let (code, said) = refused_start(&setup(&etcd, "a", &dir).config(), &dir);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("fleet revision 1:1:12: environment variable MISSING is not set"));
}

#[test]
fn a_document_that_one_node_cannot_apply_changes_nothing_there_and_the_node_is_named() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    push(&etcd, &dir, &document("one"));
    let a = setup(&etcd, "a", &dir).env("MISSING", "two").start();
    let b = node(&etcd, "b", &dir);
    wait_until("both report", || must(&etcd, &["status"]).contains("2 of 2 nodes"));
    let pushed = try_push(&etcd, &dir, &document("${MISSING}"), &[]);
    assert_eq!(pushed.status.code(), Some(1));
    let said = told(&pushed);
    assert!(
        said.contains("not set here, so what depends on it is checked by nodes alone: MISSING")
    );
    assert!(said.contains("revision 2: 1 of 2 nodes serve it"), "{said}");
    assert!(said.contains("b refused it: fleet revision 2:"), "{said}");
    assert!(said.contains("environment variable MISSING is not set"), "{said}");
    assert_eq!(word(&a).as_deref(), Some("two"));
    assert_eq!(word(&b).as_deref(), Some("one"));
    let status = must(&etcd, &["status"]);
    assert!(status.contains("  a      2  ready since"), "{status}");
    assert!(status.contains("; refused 2: fleet revision 2"), "{status}");

    // A module that nobody can compile keeps the old revision everywhere.
    let module = dir.write("broken.wasm", "no module");
    let broken = format!(
        "{}wasm: {{plugins: [{{name: p, path: '{}'}}]}}\n",
        document("three"),
        module.display()
    );
    let refused = try_push(&etcd, &dir, &broken, &[]);
    assert!(told(&refused).contains("nothing was pushed"), "{}", told(&refused));
    let pushed = try_push(&etcd, &dir, &broken, &["--no-compile"]);
    assert!(told(&pushed).contains("revision 3: 0 of 2 nodes serve it"), "{}", told(&pushed));
    assert!(told(&pushed).contains("a refused it: plugin p:"), "{}", told(&pushed));
    assert_eq!(word(&a).as_deref(), Some("two"));
    // A restart keeps to the last good one.
    drop(b);
    let b = node(&etcd, "b", &dir);
    assert_eq!(word(&b).as_deref(), Some("one"));

    let back = must(&etcd, &["rollback", "1"]);
    assert!(back.contains("revision 4: 2 of 2 nodes serve it"), "{back}");
    assert_eq!(word(&a).as_deref(), Some("one"));
    let history = must(&etcd, &["history"]);
    assert!(history.contains("*     4") && history.contains("rollback to revision 1"), "{history}");
}

#[test]
fn a_canary_that_does_well_is_followed_and_one_that_does_not_stops_by_itself() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    push(&etcd, &dir, &document("one"));
    let a = node(&etcd, "a", &dir);
    let b = setup(&etcd, "b", &dir).env("MISSING", "x").start();
    wait_until("both report", || must(&etcd, &["status"]).contains("2 of 2 nodes"));
    let canary = ["--canary", "1", "--hold", "500ms"];
    let pushed = try_push(&etcd, &dir, &document("two"), &canary);
    assert!(pushed.status.success(), "{}", told(&pushed));
    assert!(out(&pushed).contains("revision 2: a go first"), "{}", told(&pushed));
    assert!(out(&pushed).contains("revision 2: 2 of 2 nodes serve it"), "{}", told(&pushed));
    assert_eq!(word(&b).as_deref(), Some("two"));

    // It would work on b, and never gets there.
    let pushed = try_push(&etcd, &dir, &document("${MISSING}"), &canary);
    assert_eq!(pushed.status.code(), Some(1), "{}", told(&pushed));
    let said = told(&pushed);
    assert!(said.contains("revision 3 was stopped, all nodes run what they ran before"), "{said}");
    assert!(said.contains("a refused it"), "{said}");
    assert_eq!(word(&a).as_deref(), Some("two"));
    assert_eq!(word(&b).as_deref(), Some("two"));
    wait_until("nothing is tried any more", || {
        let status = must(&etcd, &["status"]);
        !status.contains("refused 3") && status.contains("2 of 2 nodes serve revision 2")
    });
}

#[test]
fn a_canary_whose_push_is_killed_ends_by_itself() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    push(&etcd, &dir, &document("one"));
    let a = node(&etcd, "a", &dir);
    wait_until("it reports", || must(&etcd, &["status"]).contains("1 of 1 nodes"));
    let file = dir.write("document.yaml", document("two"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_odin-cli"))
        .args(["fleet", "--etcd", &etcd.urls().join(","), "push", "--canary", "1"])
        .args(["--hold", "10m"])
        .arg(file)
        .spawn()
        .unwrap();
    wait_word(&a, "two");
    let refused = try_push(&etcd, &dir, &document("three"), &[]);
    assert!(told(&refused).contains("revision 2 is being tried by a; wait for the end"));
    child.kill().unwrap();
    child.wait().unwrap();
    // Its lease ends, and with that the canary.
    wait_word(&a, "one");
    push(&etcd, &dir, &document("three"));
    assert_eq!(word(&a).as_deref(), Some("three"));
}

#[test]
fn of_two_pushes_at_once_one_is_refused_with_the_cure() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    push(&etcd, &dir, &document("one"));
    let files: Vec<_> =
        (0..4).map(|at| dir.write(&format!("{at}.yaml"), document(&format!("w{at}")))).collect();
    let children: Vec<_> = files
        .iter()
        .map(|file| {
            Command::new(env!("CARGO_BIN_EXE_odin-cli"))
                .args(["fleet", "--etcd", &etcd.urls().join(","), "push", "--no-wait"])
                .args(["--from", "1"])
                .arg(file)
                .output()
        })
        .collect();
    let outputs: Vec<Output> = children.into_iter().map(Result::unwrap).collect();
    let done = outputs.iter().filter(|output| output.status.success()).count();
    assert_eq!(done, 1, "{outputs:?}");
    for refused in outputs.iter().filter(|output| !output.status.success()) {
        let said = told(refused);
        let is_cure = said.contains("push --from 2") || said.contains("another push came first");
        assert!(is_cure, "{said}");
    }
    assert!(must(&etcd, &["history"]).contains("*     2"));
}

#[test]
fn what_an_operator_pushes_is_checked_told_and_shown() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    let none = fleet(&etcd, &["show"]);
    assert!(told(&none).contains("no document yet; write one: odin-cli fleet push FILE"));
    let wrong = try_push(&etcd, &dir, "services: []\nserver: {}", &[]);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(told(&wrong).contains("document.yaml:2:1: server: stands in a fleet's document"));
    let unknown = try_push(&etcd, &dir, "services: []\nrateLimits: {}", &[]);
    assert!(told(&unknown).contains("rateLimits: unknown key"), "{}", told(&unknown));
    let empty = try_push(&etcd, &dir, "kv: {}", &[]);
    assert!(told(&empty).contains("services: missing"), "{}", told(&empty));

    let secret = format!("{}kv: {{redis: {{host: r, password: hunter2}}}}\n", document("one"));
    let pushed = try_push(&etcd, &dir, &secret, &["-m", "first"]);
    assert!(pushed.status.success(), "{}", told(&pushed));
    let said = told(&pushed);
    assert!(said.contains("document.yaml:6:33: the value of \"password\" looks like a secret"));
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(must(&etcd, &["show"]).trim(), secret.trim());
    let same = try_push(&etcd, &dir, &secret, &[]);
    assert!(out(&same).contains("revision 1 says the same already"), "{}", told(&same));

    push(&etcd, &dir, &document("two"));
    let diff = must(&etcd, &["diff", "1"]);
    assert!(diff.contains("--- revision 1\n+++ revision 2\n@@ -2,5 +2,4 @@"), "{diff}");
    assert!(diff.contains("-    headers: {X-Word: 'one'}\n"), "{diff}");
    let file = dir.write("next.yaml", document("three"));
    let diff = must(&etcd, &["diff", file.to_str().unwrap()]);
    assert!(diff.contains("+    headers: {X-Word: 'three'}"), "{diff}");
    let history = must(&etcd, &["history"]);
    assert!(history.contains("      1  ") && history.contains(": first  ("), "{history}");
    let nothing = fleet(&etcd, &["rollback", "9"]);
    assert!(told(&nothing).contains("there is no revision 9; odin-cli fleet history lists them"));
    let json: Value = serde_json::from_str(&must(&etcd, &["status", "--json"])).unwrap();
    assert_eq!(json["revision"], 2);
}

#[test]
fn what_a_later_version_has_written_is_refused_and_named() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    push(&etcd, &dir, &document("one"));
    let gateway = node(&etcd, "a", &dir);
    let refused = |want: &str| {
        wait_until(want, || must(&etcd, &["status"]).contains(want));
        assert_eq!(word(&gateway).as_deref(), Some("one"));
    };
    etcd.must(&["put", "/odin/live/current", r#"{"schema":1,"revision":2,"zone":"eu"}"#]);
    wait_until("the key is named", || {
        gateway.call("GET", "/readyz", "").text().contains("unknown field `zone`")
    });
    etcd.must(&["put", "/odin/live/current", r#"{"schema":1,"revision":7}"#]);
    refused("refused 7: etcd has no document of revision 7; push it again");
    let key = format!("/odin/documents/{:020}", 8);
    etcd.must(&["put", &key, "{\"schema\":2,\"revision\":8}\nservices: []"]);
    etcd.must(&["put", "/odin/live/current", r#"{"schema":1,"revision":8}"#]);
    refused("refused 8: the stored document has schema 2");
    etcd.must(&["put", &key, "nonsense"]);
    etcd.must(&["put", "/odin/live/current", r#"{"schema":1,"revision":8} "#]);
    refused("refused 8: the stored document has no first line");
    // All is well again with the next push.
    push(&etcd, &dir, &document("two"));
    assert_eq!(word(&gateway).as_deref(), Some("two"));
}

#[test]
fn a_nodes_file_is_read_again_and_what_is_the_fleets_is_not_changed_here() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    push(&etcd, &dir, &document("one"));
    let gateway = setup(&etcd, "a", &dir).server("serverTiming: false").start();
    let body = r#"{"name": "p", "path": "/p.wasm"}"#;
    for (method, path, body) in [
        ("POST", "/api/plugins/load", body),
        ("PUT", "/api/plugins/p/enabled", r#"{"enabled": false}"#),
        ("DELETE", "/api/plugins/unload/p", ""),
    ] {
        let refused = gateway.call(method, path, body);
        assert_eq!(refused.status, 409, "{path}: {}", refused.text());
        assert!(refused.text().contains("odin-cli fleet push FILE"), "{}", refused.text());
    }
    gateway.rewrite(&gateway.config().replace("serverTiming: false", "serverTiming: true"));
    gateway.signal(Signal::HUP);
    wait_until("the node's own part is new", || {
        get(gateway.addr, "/").head.to_string().to_lowercase().contains("server-timing")
    });
    assert_eq!(word(&gateway).as_deref(), Some("one"));
    push(&etcd, &dir, &document("two"));
    assert!(get(gateway.addr, "/").head.to_string().to_lowercase().contains("server-timing"));
    let shown: Value =
        serde_json::from_str(&gateway.call("GET", "/api/config", "").text()).unwrap();
    assert_eq!(shown["file"], "fleet revision 2");
    assert_eq!(shown["config"]["fleet"]["node"], "a");
    let config = gateway.config();
    gateway.rewrite(&config.replace("fleet:", "services: []\nfleet:"));
    let refused = gateway.call("POST", "/api/config/reload", "");
    assert!(refused.text().contains("stands in a node's file"), "{}", refused.text());
    let (own, _) = config.split_once("fleet:").unwrap();
    gateway.rewrite(&format!("{own}services: []\n"));
    let refused = gateway.call("POST", "/api/config/reload", "");
    assert!(refused.text().contains("restart it to leave its fleet"), "{}", refused.text());
    assert_eq!(word(&gateway).as_deref(), Some("two"));
}

#[test]
fn a_binary_upgrade_goes_on_in_the_fleet_with_one_watch() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    push(&etcd, &dir, &document("one"));
    let mut gateway = setup(&etcd, "a", &dir).linked().start();
    push(&etcd, &dir, &document("two"));
    let before = gateway.pid();
    gateway.upgrade();
    gateway.wait_ended(before);
    assert_eq!(word(&gateway).as_deref(), Some("two"));
    push(&etcd, &dir, &document("three"));
    assert_eq!(word(&gateway).as_deref(), Some("three"));
    wait_until("one node, one report", || {
        must(&etcd, &["status"]).contains("1 of 1 nodes serve revision 3")
    });
    assert_eq!(watchers(&etcd), 1);
}

/// How many watches etcd has.
fn watchers(etcd: &Etcd) -> u64 {
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], etcd.port(0)));
    let text = get(addr, "/metrics").text();
    let name = "etcd_debugging_mvcc_watcher_total ";
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().parse().unwrap()
}

#[test]
fn users_and_certificates_are_shown_to_etcd() {
    let issuer = Issuer::new("etcd");
    let leaf = Leaf { hosts: &["etcd.internal", "127.0.0.1"], ..Leaf::default() };
    let ((cert, key), (own, own_key)) = (issuer.issue(&leaf), issuer.issue(&Leaf::default()));
    let arguments = [
        "--cert-file=server.pem",
        "--key-file=server.key",
        "--trusted-ca-file=ca.pem",
        "--client-cert-auth",
    ];
    let arguments = arguments.map(str::to_owned).to_vec();
    let etcd = Etcd::start(1, &Options { arguments, tls: true }, |dir| {
        dir.write("ca.pem", issuer.pem());
        dir.write("server.pem", &cert);
        dir.write("server.key", &key);
        dir.write("own.pem", &own);
        dir.write("own.key", &own_key);
    });
    let dir = TempDir::new();
    let url = format!("https://127.0.0.1:{}", etcd.port(0));
    let path = |name: &str| etcd.dir().join(name).display().to_string();
    let document = dir.write("document.yaml", document("one"));
    let mut push = Command::new(env!("CARGO_BIN_EXE_odin-cli"));
    push.args(["fleet", "--etcd", &url, "--ca", &path("ca.pem"), "--server-name", "etcd.internal"]);
    let alone = push.arg("push").arg(&document).output().unwrap();
    assert!(!alone.status.success(), "who shows nothing is not let in: {}", told(&alone));
    let pushed = push.args(["--cert", &path("own.pem"), "--key", &path("own.key")]).output();
    let pushed = pushed.unwrap();
    assert!(pushed.status.success(), "{}", told(&pushed));
    let tls = format!(
        "tls: {{ca: {}, cert: {}, key: {}}}",
        path("ca.pem"),
        path("own.pem"),
        path("own.key")
    );
    let cache = dir.path().join("a");
    let section = format!(
        "fleet: {{etcd: {{endpoints: ['{url}'], {tls}}}, node: a, cacheDir: {}}}",
        cache.display()
    );
    let gateway = Setup::new().yaml(&section).start();
    assert_eq!(word(&gateway).as_deref(), Some("one"));
    gateway.wait_log("fleet: following etcd by https://");
}

#[test]
fn a_user_has_its_own_rights_and_its_token_is_renewed() {
    let arguments = vec!["--auth-token-ttl=2".to_owned()];
    let etcd = Etcd::start(1, &Options { arguments, tls: false }, |_| ());
    let dir = TempDir::new();
    push(&etcd, &dir, &document("one"));
    for command in [
        "user add root:r00t",
        "user grant-role root root",
        "role add node",
        "role grant-permission node --prefix=true read /odin/",
        "role grant-permission node --prefix=true readwrite /odin/nodes/",
        "user add node:s3cret",
        "user grant-role node node",
        "auth enable",
    ] {
        etcd.must(&command.split(' ').collect::<Vec<_>>());
    }
    let as_root = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_odin-cli"));
        command.args(["fleet", "--etcd", &etcd.urls().join(","), "--user", "root"]);
        command.args(arguments).env("ODIN_ETCD_PASSWORD", "r00t").output().unwrap()
    };
    let wrong = Setup::new().yaml(&with_user(&etcd, "wrong", &dir)).config();
    let (code, said) = refused_start(&wrong, &dir);
    assert_eq!(code, Some(1));
    assert!(said.contains("authentication failed") && !said.contains("wrong"), "{said}");

    let gateway = Setup::new().yaml(&with_user(&etcd, "s3cret", &dir)).start();
    gateway.wait_log("fleet: following etcd");
    assert!(!gateway.call("GET", "/api/config", "").text().contains("s3cret"));
    // Longer than a token lives.
    std::thread::sleep(std::time::Duration::from_secs(5));
    let file = dir.write("document.yaml", document("two"));
    let pushed = as_root(&["push", file.to_str().unwrap()]);
    assert!(told(&pushed).contains("revision 2: 1 of 1 nodes serve it"), "{}", told(&pushed));
    assert_eq!(word(&gateway).as_deref(), Some("two"));
}

fn with_user(etcd: &Etcd, password: &str, dir: &TempDir) -> String {
    let section = section(&etcd.urls(), "a", &dir.path().join("a"));
    section.replace("etcd: {", &format!("etcd: {{username: node, password: {password}, "))
}
