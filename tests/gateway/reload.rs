//! Changes under traffic: what is published is served at once, what fails changes nothing.

use crate::support::load::Load;
use crate::support::{Client, Gate, Gateway, Origin, Setup, get, wait_until, wasm};
use rustix::process::Signal;
use serde_json::Value;

fn reload(gateway: &Gateway) -> Value {
    gateway.call("POST", "/api/config/reload", "").json()
}

fn tagged(tag: &str) -> Vec<u8> {
    wasm::setting_headers(&format!(r#""X-Tag":["{tag}"]"#))
}

/// What the plugin of [`tagging`] has set on the request.
fn tag(gateway: &Gateway) -> String {
    get(gateway.addr, "/").json()["headers"]["X-Tag"][0].as_str().unwrap_or("none").to_owned()
}

fn tagging() -> Setup {
    Setup::echo().plugin("tag", tagged("one"), "type: request")
}

#[test]
fn sighup_reads_the_configuration_again() {
    let gateway = Setup::echo().start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    gateway.rewrite(&gateway.config().replace("basePath: /", "basePath: /moved"));
    gateway.signal(Signal::HUP);
    gateway.wait_log("configuration reloaded (SIGHUP)");
    assert_eq!(get(gateway.addr, "/moved").status, 200);
    assert_eq!(get(gateway.addr, "/").status, 404);
}

#[test]
fn a_reload_brings_the_new_code_of_a_plugin() {
    let gateway = tagging().start();
    assert_eq!(tag(&gateway), "one");
    gateway.replace_plugin("tag", tagged("two"));
    assert_eq!(tag(&gateway), "one", "nothing was published yet");
    let answer = reload(&gateway);
    assert_eq!(answer["status"], "ok", "{answer}");
    assert_eq!(tag(&gateway), "two");
}

#[test]
fn watching_follows_the_file_and_the_plugins() {
    let gateway = tagging().argument("--watch").start();
    gateway.replace_plugin("tag", tagged("two"));
    wait_until("the new plugin serves", || tag(&gateway) == "two");
    gateway.rewrite(&gateway.config().replace("basePath: /", "basePath: /moved"));
    wait_until("the new path serves", || get(gateway.addr, "/moved").status == 200);
}

#[test]
fn without_watching_files_are_left_alone() {
    let gateway = tagging().start();
    gateway.replace_plugin("tag", tagged("two"));
    // A change that is asked for later is made after anything that a watcher would have begun.
    let answer = gateway.call("PUT", "/api/plugins/tag/enabled", r#"{"enabled":true}"#);
    assert_eq!(answer.status, 200);
    assert!(!gateway.log().contains("a file changed"), "{}", gateway.log());
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_why() {
    let gateway = tagging().start();
    let good = gateway.config();
    gateway.rewrite(&good.replace("workers:", "wokers:"));
    let answer = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(answer.status, 400, "{}", answer.text());
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("did you mean \"workers\""), "{error}");
    gateway.wait_log("refused, nothing has changed");
    assert_eq!(tag(&gateway), "one");
    let reloads = gateway.call("GET", "/api/reloads", "").json();
    assert_eq!(reloads[0]["published"], false, "{reloads}");
    assert_eq!(reloads[0]["error"], error.as_str());
    gateway.rewrite(&good);
    assert_eq!(reload(&gateway)["status"], "ok");
}

#[test]
fn a_plugin_that_does_not_load_changes_nothing() {
    let gateway = tagging().start();
    let good = gateway.config();
    let trapping_init = wasm::module(
        r#"(module
            (memory (export "memory") 1)
            (func (export "init") unreachable)
            (func (export "execute") (param i32 i32) (result i64) (i64.const 0)))"#,
    );
    for (module, words) in
        [(b"not wasm".to_vec(), "failed to compile plugin"), (trapping_init, "init")]
    {
        gateway.replace_plugin("tag", module);
        let answer = gateway.call("POST", "/api/config/reload", "");
        assert_eq!(answer.status, 422, "{}", answer.text());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains("plugin tag") && error.contains(words), "{error}");
        assert_eq!(tag(&gateway), "one", "{error}");
    }
    gateway.rewrite(&good.replace("path: tag.wasm", "path: gone.wasm"));
    let answer = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("cannot be read"), "{}", answer.text());
    let digest = "0".repeat(64);
    gateway
        .rewrite(&good.replace("path: tag.wasm", &format!("path: tag.wasm, sha256: '{digest}'")));
    gateway.replace_plugin("tag", tagged("two"));
    let answer = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("sha256"), "{}", answer.text());
    assert_eq!(tag(&gateway), "one");
}

#[test]
fn whatever_fails_in_a_reload_is_told_everywhere_and_no_request_notices() {
    /// What it is, what is replaced in the configuration by what, the module, the reason.
    type Case<'a> = (&'a str, (&'a str, &'a str), &'a [u8], &'a str);
    let gateway = tagging().start();
    let good = gateway.config();
    let load = Load::start(&gateway);
    let with_digest = format!("path: tag.wasm, sha256: '{}'", "0".repeat(64));
    let trapping = wasm::module(
        r#"(module
            (memory (export "memory") 1)
            (func (export "init") unreachable)
            (func (export "execute") (param i32 i32) (result i64) (i64.const 0)))"#,
    );
    let same = ("path: tag.wasm", "path: tag.wasm");
    let new = "- {name: new, path: new.wasm}\n    - {name: tag";
    let cases: [Case<'_>; 6] = [
        ("a bad configuration", ("workers:", "wokers:"), &tagged("one"), "did you mean"),
        ("a bad module", same, b"not wasm", "failed to compile plugin"),
        ("one that does not start", same, &trapping, "plugin tag: "),
        ("a missing file", ("tag.wasm", "gone.wasm"), &tagged("two"), "cannot be read"),
        ("another digest", ("path: tag.wasm", &with_digest), &tagged("two"), "sha256"),
        ("one of a new plugin", ("- {name: tag", new), &tagged("one"), "plugin new: "),
    ];
    for (number, (what, (old, new), module, reason)) in cases.into_iter().enumerate() {
        gateway.replace_plugin("tag", module);
        gateway.rewrite(&good.replacen(old, new, 1));
        gateway.signal(Signal::HUP);
        let refused = |status: &Value| status["reloads"]["refused"] == number + 1;
        let mut status = Value::Null;
        wait_until(what, || {
            status = gateway.call("GET", "/api/status", "").json();
            refused(&status)
        });
        let error = status["reloads"]["last"]["error"].as_str().unwrap().to_owned();
        assert!(error.contains(reason), "{what}: {error}");
        let latest = gateway.call("GET", "/api/reloads", "").json()[0].clone();
        assert_eq!(
            (&latest["published"], &latest["error"]),
            (&false.into(), &error.as_str().into())
        );
        let first = error.lines().next().unwrap();
        gateway.wait_log(&format!("(SIGHUP): refused, nothing has changed: {first}"));
        let metrics = gateway.call("GET", "/metrics", "").text();
        let count = format!("odin_reloads_total{{outcome=\"refused\"}} {}\n", number + 1);
        assert!(metrics.contains(&count), "{what}: {metrics}");
        let ready = gateway.call("GET", "/readyz", "");
        assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("ready")), "{what}");
        assert_eq!(ready.json()["generation"], 1);
        load.go_on(20);
        assert_eq!(tag(&gateway), "one", "{what}");
    }
    load.end();
}

#[test]
fn a_plugin_that_failed_before_does_not_keep_another_from_being_mended() {
    let gateway = tagging().plugin_entry("name: broken, path: gone.wasm, type: request").start();
    gateway.replace_plugin("tag", tagged("two"));
    assert_eq!(reload(&gateway)["status"], "ok");
    assert_eq!(tag(&gateway), "two");
}

#[test]
fn an_exchange_in_flight_ends_on_the_snapshot_it_began_with() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::scripted(move |connection, _| {
        while connection.request().is_some() {
            held.wait();
            connection.answer("late");
        }
    });
    let response = wasm::setting_headers(r#""X-Tag":["one"]"#);
    let gateway = Setup::to(&origin).plugin("tag", response, "type: response").start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    gateway.replace_plugin("tag", tagged("two"));
    assert_eq!(reload(&gateway)["status"], "ok");
    gate.open();
    assert_eq!(client.response().head.get("x-tag").as_deref(), Some("one"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().head.get("x-tag").as_deref(), Some("two"));
}

#[test]
fn what_has_not_changed_keeps_its_instances() {
    // `counting` sets how often its instance was called.
    let gateway = tagging().plugin("count", wasm::counting(), "type: request").start();
    let count = || get(gateway.addr, "/").json()["headers"]["X-Calls"][0].clone();
    let first = count();
    gateway.replace_plugin("tag", tagged("two"));
    assert_eq!(reload(&gateway)["status"], "ok");
    assert_eq!(tag(&gateway), "two");
    let later = count();
    assert_ne!(first, later, "the instance goes on counting");
    let number = |value: &Value| value.as_str().unwrap_or_default().parse::<u32>().unwrap_or(0);
    assert!(number(&later) > number(&first), "{first} then {later}");
}

#[test]
fn what_needs_a_restart_is_said_and_left_as_it_is() {
    let gateway = Setup::echo().start();
    gateway.rewrite(&gateway.config().replace("workers: 1", "workers: 2"));
    let answer = reload(&gateway);
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("server.workers") && warnings.contains("next start"), "{answer}");
    let shown = gateway.call("GET", "/api/config", "").json();
    assert_eq!(shown["config"]["server"]["workers"], 1);
}

#[test]
fn the_form_of_the_log_follows_the_file() {
    let gateway = Setup::echo().log_level("info").logging("format: text").start();
    let good = gateway.config();
    for (form, first) in [("json", '{'), ("text", '2')] {
        gateway.rewrite(&good.replace("format: text", &format!("format: {form}")));
        let answer = reload(&gateway);
        assert_eq!((&answer["status"], &answer["warnings"]), (&"ok".into(), &Value::Array(vec![])));
        gateway.signal(Signal::HUP);
        let lines = || gateway.log().matches("(SIGHUP)").count();
        let want = if form == "json" { 1 } else { 2 };
        wait_until("the next reload is logged", || lines() == want);
        let log = gateway.log();
        let line = log.lines().rfind(|line| line.contains("(SIGHUP)")).unwrap();
        assert!(line.starts_with(first), "{form}: {line}");
    }
}

#[test]
fn the_level_of_the_log_follows_the_file() {
    let gateway = Setup::echo().log_level("info").start();
    let good = gateway.config();
    gateway.rewrite(&good.replace("{level: info,", "{level: error,"));
    assert_eq!(reload(&gateway)["status"], "ok");
    assert_eq!(reload(&gateway)["status"], "ok");
    gateway.rewrite(&good);
    assert_eq!(reload(&gateway)["status"], "ok");
    gateway.wait_log("configuration reloaded");
    assert_eq!(gateway.log().matches("configuration reloaded").count(), 1, "{}", gateway.log());
}

/// What `make plugins` built has been left alone for longer than this gateway runs: the second load
/// takes it as it was.
#[test]
fn a_module_that_is_not_read_again_is_held_against_the_new_keys() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/dist");
    let gateway = Setup::echo()
        .yaml(&format!(
            "wasm:\n  pluginDir: {folder}\n  plugins:\n    - name: tag\n      \
             path: header-injection-rust.wasm\n      type: request\n      \
             config: {{addHeaders: {{X-Tag: one}}}}\n"
        ))
        .start();
    let good = gateway.config();
    assert_eq!(reload(&gateway)["status"], "ok");
    let pinned = format!("sha256: '{}'", "0".repeat(64));
    for (key, words) in
        [(pinned.as_str(), "has sha256"), ("maxMemoryPages: 1", "failed to allocate")]
    {
        gateway.rewrite(&good.replace("type: request", &format!("type: request\n      {key}")));
        let answer = gateway.call("POST", "/api/config/reload", "");
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert!(answer.text().contains(words), "{}", answer.text());
        assert_eq!(tag(&gateway), "one");
    }
    gateway.rewrite(&good.replace("X-Tag: one", "X-Tag: two"));
    assert_eq!(reload(&gateway)["status"], "ok");
    assert_eq!(tag(&gateway), "two");
}

#[test]
fn turns_go_on_where_they_were_after_a_reload() {
    let origins = [Origin::raw(named("one")), Origin::raw(named("two"))];
    let targets = format!("targets: ['{}', '{}']", origins[0].url(), origins[1].url());
    let gateway =
        Setup::new().workers(1).service(&format!("name: a, basePath: /, {targets}")).start();
    let first = get(gateway.addr, "/").text();
    let config = gateway.config();
    gateway.rewrite(&config.replace("basePath: /,", "basePath: /, timeout: 7s,"));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_ne!(get(gateway.addr, "/").text(), first, "the first target had its turn");
    assert_eq!(get(gateway.addr, "/").text(), first);
}

fn named(name: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())
}
