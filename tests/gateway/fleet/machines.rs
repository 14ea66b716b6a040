//! What befalls a single machine of a fleet: its clock is set, its disk takes nothing any more, it
//! is killed between any two steps; and what an operator tries on a node that is his fleet's.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::modules::shelf::{Answer, Shelf};
use crate::support::wasm;

/// libfaketime, which `.ci/setup` installs.
fn fake_time() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut files = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    files.find(|file| file.exists()).expect("libfaketime is installed (.ci/setup)")
}

/// The clocks of a node and of the command are set, by libfaketime: that of day, and every timer
/// goes on as it does on a real machine. etcd's own is the machine's.
#[test]
fn a_clock_that_is_set_back_or_forward_changes_nothing_but_what_it_shows() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    push(&etcd, &dir, &document("one"));
    let clock = dir.write("clock", "+0");
    let at = |offset: &str| {
        std::fs::write(dir.path().join("clock.new"), offset).unwrap();
        std::fs::rename(dir.path().join("clock.new"), &clock).unwrap();
    };
    let library = fake_time();
    let fake = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let mut setup = setup(&etcd, "a", &dir);
    for (name, value) in fake {
        setup = setup.env(name, value);
    }
    let gateway = setup.start();
    let pushed_at = |word: &str| {
        let file = dir.write("document.yaml", document(word));
        let mut command = Command::new(env!("CARGO_BIN_EXE_odin-cli"));
        command.args(["fleet", "--etcd", &etcd.urls().join(","), "push"]).arg(file);
        let output = command.envs(fake).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        assert!(told(&output).contains("1 of 1 nodes serve it"), "{}", told(&output));
    };
    wait_until("it reports", || must(&etcd, &["status"]).contains("1 of 1 nodes"));
    for (offset, word, year) in [("-730d", "back", -2), ("+730d", "forward", 2), ("-1h", "now", 0)]
    {
        at(offset);
        pushed_at(word);
        assert_eq!(super::word(&gateway).as_deref(), Some(word));
        // Longer than the lease of its report lives, if nobody renews it, is the rest of the test.
        let status: Value = serde_json::from_str(&must(&etcd, &["status", "--json"])).unwrap();
        let told = status["nodes"][0]["appliedAt"].as_i64().unwrap();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed();
        let years = (told - now + 86_400 * 180).div_euclid(86_400 * 365);
        assert_eq!(years, year, "the node's clock was set: {told} and {now}");
    }
    let history = must(&etcd, &["history"]);
    assert!(history.contains("*     4"), "the order is that of revisions: {history}");
    wait_until("it is well", || gateway.call("GET", "/readyz", "").status == 200);
}

/// The kernel takes no more of what the leader writes (RLIMIT_FSIZE: a full disk that needs no
/// disk of its own). It ends, as etcd does then.
#[test]
fn a_member_whose_disk_is_full_is_left_for_another() {
    let (mut etcd, dir) = (Etcd::of(3), TempDir::new());
    push(&etcd, &dir, &document("one"));
    let nodes = ["a", "b"].map(|name| node(&etcd, name, &dir));
    let leader = etcd.leader();
    let full = Rlimit { current: Some(1), maximum: Some(1) };
    let pid = Pid::from_raw(etcd.pid(leader).cast_signed());
    prlimit(pid, Resource::Fsize, full).unwrap();
    wait_until("a push is taken", || {
        out(&try_push(&etcd, &dir, &document("two"), &["--no-wait"])).contains("revision 2")
    });
    nodes.iter().for_each(|node| wait_word(node, "two"));
    // With room again it comes back, and to what the others have.
    etcd.kill(leader);
    etcd.restart(leader);
    etcd.wait_healthy(leader);
    push(&etcd, &dir, &document("three"));
    nodes.iter().for_each(|node| wait_word(node, "three"));
}

/// etcd tells a watch that begins in what it has compacted so; a node reads anew then.
#[test]
fn a_watch_of_what_was_compacted_is_told_so() {
    use odin::control::config::{Etcd as Access, EtcdTls, etcd_endpoint};
    use odin::control::fleet::etcd::{Etcd as Client, Told};
    use odin::control::fleet::store::Keys;
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    for word in ["one", "two", "three"] {
        push(&etcd, &dir, &document(word));
    }
    let header = etcd.must(&["get", "/odin/live/current", "-w", "json"]);
    let header: Value = serde_json::from_str(&header).unwrap();
    etcd.must(&["compact", "--physical", &header["header"]["revision"].to_string()]);
    let endpoints = etcd.urls().iter().map(|url| etcd_endpoint(url).unwrap()).collect();
    let (prefix, tls) = ("/odin".to_owned(), EtcdTls::default());
    let mut client = Client::new(Access { endpoints, prefix, user: None, tls }, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime.block_on(async {
        client.connect().await.unwrap();
        let mut watch = client.watch(Keys::under("/odin").watched(2)).await.unwrap();
        watch.next().await.unwrap()
    });
    assert!(matches!(first, Told::Compacted), "{first:?}");
}

/// A call that would last is refused before it writes anything; then the file is as it was, and a
/// SIGHUP finds nothing new in it.
#[test]
fn what_would_persist_is_refused_in_a_fleet_and_leaves_the_nodes_file_alone() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    push(&etcd, &dir, &document("one"));
    let gateway = node(&etcd, "a", &dir);
    let before = gateway.config();
    let module = dir.write("p.wasm", wasm::passing());
    let load = serde_json::json!({"name": "p", "path": module, "type": "request", "persist": true});
    for (method, path, body) in [
        ("POST", "/api/plugins/load", load.to_string()),
        ("PUT", "/api/plugins/p/enabled", r#"{"enabled": false, "persist": true}"#.to_owned()),
        ("DELETE", "/api/plugins/unload/p?persist=true", String::new()),
    ] {
        let refused = gateway.call(method, path, &body);
        assert_eq!(refused.status, 409, "{method} {path}: {}", refused.text());
        assert_eq!(gateway.config(), before);
    }
    gateway.signal(Signal::HUP);
    gateway.wait_log("configuration reloaded (SIGHUP)");
    assert_eq!(word(&gateway).as_deref(), Some("one"));
    push(&etcd, &dir, &document("two"));
    assert_eq!(word(&gateway).as_deref(), Some("two"));
    // A gateway that has its plugins from its file does not become a node by a reload.
    let own = Setup::echo().plugin("p", wasm::passing(), "type: request").start();
    let (text, (_, fleet)) = (own.config(), before.split_once("fleet:").unwrap());
    own.rewrite(&format!("{text}\nfleet:{fleet}"));
    let refused = own.call("POST", "/api/config/reload", "");
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(get(own.addr, "/").status, 200);
}

/// A node that is killed as it is about to make a system call for the `count`th time.
fn killed_at(call: &str, count: usize, config: &Path, log: &Path) -> Child {
    let log = std::fs::File::create(log).unwrap();
    let (trace, inject) =
        (format!("trace={call}"), format!("inject={call}:signal=SIGKILL:when={count}"));
    Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject])
        .arg(env!("CARGO_BIN_EXE_odin"))
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("strace is installed (.ci/tools)")
}

fn digest_of(bytes: &[u8]) -> String {
    let mut text = String::new();
    Sha256::digest(bytes).iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
    text
}

#[test]
fn a_node_that_is_killed_at_any_step_of_a_module_or_a_document_starts_by_a_whole_one() {
    let (etcd, dir, shelf) = (Etcd::one(), TempDir::new(), Shelf::plain());
    push(&etcd, &dir, &document("one"));
    let caches = TempDir::new();
    drop(node(&etcd, "a", &caches));
    let first = std::fs::read(caches.path().join("a/document")).unwrap();
    let module = wasm::setting_headers("\"X-Module\":[\"two\"]");
    let digest = digest_of(&module);
    shelf.put("/x.wasm", Answer::Whole(module.clone()));
    let plugin = format!("{{name: x, path: '{}', sha256: {digest}}}", shelf.url("/x.wasm"));
    let second = format!("{}wasm: {{plugins: [{plugin}]}}\n", document("two"));
    let pushed = try_push(&etcd, &dir, &second, &["--no-wait", "--no-compile"]);
    assert!(pushed.status.success(), "{}", told(&pushed));
    // Before each sync (of a file that is written, of the folder that it has its name in) and each
    // file that takes its place: of the module and the document; and, as threads count for
    // themselves, of the document with a module that is there.
    for (call, least) in [("fsync", 2), ("rename", 1)] {
        for fetched in [None, Some((&*digest, &*module))] {
            let survived = (1..40).find(|count| {
                let node = setup(&etcd, "a", &caches).config();
                !is_killed_and_whole((call, *count), &node, &first, fetched)
            });
            assert!(survived > Some(least), "{call}: {survived:?}");
        }
    }
}

/// Starts a node by a document that is followed by another one with a module, and kills it at a
/// step; whether it came to that step. What it starts by then is one of both, whole.
fn is_killed_and_whole(
    (call, count): (&str, usize),
    node: &str,
    first: &[u8],
    fetched: Option<(&str, &[u8])>,
) -> bool {
    let home = TempDir::new();
    home.write("a/document", first);
    if let Some((digest, module)) = fetched {
        home.write(&format!("kept/{digest}.wasm"), module);
    }
    let (kept, log) = (home.path().join("kept"), home.path().join("log"));
    let (own, rest) = node.split_once("cacheDir: '").unwrap();
    let (_, rest) = rest.split_once('\'').unwrap();
    let cache = home.path().join("a");
    let text = format!("{own}cacheDir: '{}'{rest}", cache.display());
    let text = format!("{text}\nmodules: {{cacheDir: '{}'}}\n", kept.display());
    let config = home.write("node.yaml", &text);
    let mut child = killed_at(call, count, &config, &log);
    let mut ended = None;
    wait_until("it is killed or has applied the revision", || {
        ended = child.try_wait().unwrap();
        let said = std::fs::read_to_string(&log).unwrap();
        ended.is_some() || said.contains("revision 2 applied")
    });
    if ended.is_none() {
        end(&mut child);
    }
    // Whatever has a module's name is that module.
    for entry in std::fs::read_dir(&kept).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert_eq!(digest_of(&std::fs::read(&path).unwrap()), name, "{call} {count}");
        }
    }
    let mut command = Command::new(BINARY);
    command.stdin(Stdio::null());
    let again = Gateway::spawn(home, &text, command, &[]);
    let answer: Value = serde_json::from_str(&get(again.addr, "/").text()).unwrap();
    let (word, module) = (&answer["headers"]["X-Word"][0], &answer["headers"]["X-Module"][0]);
    let is_whole = (word == "one" && module.is_null()) || (word == "two" && module == "two");
    assert!(is_whole, "{call} {count}: {answer}");
    wait_word(&again, "two");
    ended.is_some()
}

/// Ends a traced node, then strace.
fn end(strace: &mut Child) {
    let children = format!("/proc/{0}/task/{0}/children", strace.id());
    for pid in std::fs::read_to_string(children).unwrap().split_whitespace() {
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }
    strace.wait().unwrap();
}
