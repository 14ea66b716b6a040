//! `odin-cli explain`: every reason for which a plugin runs or does not, and that a gateway with
//! the same configuration does what it says.

use std::process::Command;

use crate::support::{Gateway, Setup, get, wasm};

/// What `explain` says of this gateway's configuration.
fn explain(gateway: &Gateway, url: &str) -> Vec<String> {
    let config = gateway.dir().path().join("odin.yaml");
    let output = Command::new(env!("CARGO_BIN_EXE_odin-cli"))
        .args(["explain", "--url", url, "--config"])
        .arg(config)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said.lines().map(str::to_owned).collect()
}

/// The names of the plugins that it says run, in its order.
fn running(lines: &[String]) -> Vec<String> {
    let names = lines.iter().filter(|line| line.contains(" runs (type "));
    names.map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect()
}

/// The plugins that did run: each sets a header of its name.
fn ran(gateway: &Gateway, path: &str) -> Vec<String> {
    let headers = get(gateway.addr, path).json()["headers"].clone();
    let names = headers.as_object().unwrap().keys();
    let mut names: Vec<_> =
        names.filter_map(|name| name.strip_prefix("X-Ran-").map(str::to_owned)).collect();
    names.sort_unstable();
    names
}

fn line<'l>(lines: &'l [String], name: &str) -> &'l str {
    let named = lines.iter().find(|line| line.split_whitespace().nth(1) == Some(name));
    named.unwrap_or_else(|| panic!("nothing about {name} in\n{}", lines.join("\n")))
}

/// A plugin for each reason to run or not to.
fn every_reason() -> Setup {
    let mut setup = Setup::new()
        .service("name: api, basePath: /api, targets: ['builtin:echo']")
        .service("name: other, basePath: /other, targets: ['builtin:echo']");
    for (name, keys) in [
        ("late", "type: request, priority: 9"),
        ("early", "type: request, priority: -1"),
        ("tied", "type: request, priority: 9"),
        ("off", "type: request, enabled: false"),
        ("elsewhere", "type: request, services: [other]"),
        ("here", "type: request, services: [other, api]"),
        ("admin", "type: request, allowedUrls: ['^/api/admin', '/never$']"),
        ("twice", "type: request, enabled: false, services: [other]"),
        ("joiner", "type: aggregation, failureMode: open"),
    ] {
        let ran = format!(r#""X-Ran-{name}":["1"]"#);
        setup = setup.plugin(name, wasm::setting_headers(&ran), keys);
    }
    setup
}

#[test]
fn what_explain_says_is_what_the_gateway_does() {
    let gateway = every_reason().start();
    for (path, expected) in [
        ("/api/users", &["early", "late", "tied", "here"][..]),
        ("/api/admin/x", &["early", "late", "tied", "here", "admin"]),
        ("/other", &["early", "late", "tied", "elsewhere", "here"]),
    ] {
        let lines = explain(&gateway, path);
        let mut names = running(&lines);
        assert_eq!(names[..3], ["early", "late", "tied"], "by priority, then by place: {lines:?}");
        names.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(names, expected, "{lines:?}");
        assert_eq!(names, ran(&gateway, path), "{path}");
    }
}

#[test]
fn explain_gives_every_reason_of_every_plugin_that_does_not_run() {
    let gateway = every_reason().start();
    let lines = explain(&gateway, "http://any.host/api//%75sers?x=1");
    assert_eq!(lines[0], "/api//%75sers is served, and matched, as /api/users");
    assert_eq!(lines[1], "/api/users goes to the service api (basePath /api)");
    for (name, whys) in [
        ("off", &["does not run: it is disabled (enabled: false)"][..]),
        ("elsewhere", &["its services are other, not api"]),
        ("admin", &["none of its allowedUrls matches /api/users: ^/api/admin, /never$"]),
        ("twice", &["enabled: false", "its services are other"]),
        ("joiner", &["its type is aggregation, and the service api has no aggregation.calls"]),
        ("late", &["(type request, priority 9, phase request, failureMode open)"]),
    ] {
        for why in whys {
            assert!(line(&lines, name).contains(why), "{}", line(&lines, name));
        }
    }
}

#[test]
fn explain_shows_the_phases_and_what_a_plugin_that_does_not_load_does() {
    let gateway = Setup::echo()
        .plugin("broken", "no module", "type: request")
        .plugin("guard", "no module", "type: auth")
        .plugin("both", wasm::passing(), "priority: 1")
        .plugin("back", wasm::passing(), "type: response, failureMode: closed")
        .plugin_entry("name: gone, path: gone.wasm, type: ratelimit")
        .start();
    let lines = explain(&gateway, "/");
    for (name, words) in [
        (
            "both",
            "runs (type middleware, priority 1, phase request and response, failureMode open)",
        ),
        ("back", "phase response, failureMode closed"),
        ("broken", "failed to compile plugin"),
        ("broken", "such a request goes on without it"),
        ("guard", "cannot run (type auth"),
        ("guard", "such a request is answered with 503"),
        ("gone", "gone.wasm: cannot be read"),
    ] {
        assert!(line(&lines, name).contains(words), "{}", line(&lines, name));
    }
    assert_eq!(get(gateway.addr, "/").status, 503, "as it says");
}

#[test]
fn explain_says_when_no_plugin_is_asked_at_all() {
    let gateway = every_reason().start();
    for (url, words) in [
        ("/nowhere", "is answered with 404, no plugin runs: no service fits the request"),
        ("/api/%00", "is answered with 400, no plugin runs"),
    ] {
        let lines = explain(&gateway, url);
        assert!(lines[0].contains(words), "{lines:?}");
        assert!(lines.iter().skip(1).all(|line| line.contains("is not asked: its basePath")));
        assert!([404, 400].contains(&get(gateway.addr, url).status));
    }
    let gateway = Setup::echo()
        .wasm("enabled: false")
        .plugin("idle", wasm::passing(), "type: request")
        .start();
    let lines = explain(&gateway, "/");
    assert_eq!(lines[1], "no plugin runs");
    assert!(line(&lines, "idle").contains("no plugin does (wasm.enabled: false)"), "{lines:?}");
}
