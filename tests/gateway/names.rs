//! Targets whose names lead nowhere, or elsewhere after a while.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::hostcalls::{ANSWERED_200, calling};
use crate::support::{Gateway, Origin, Setup, get, wait_until, wasm};

fn named(name: &str) -> Origin {
    let length = name.len();
    Origin::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}"))
}

fn ready(gateway: &Gateway) -> (u16, serde_json::Value) {
    let answer = gateway.call("GET", "/readyz", "");
    (answer.status, answer.json())
}

#[test]
fn a_target_without_an_address_leaves_its_service_to_the_others() {
    let (one, two) = (named("one"), named("two"));
    let late = format!("http://late.test:{}", two.addr().port());
    let gateway = Setup::new()
        .names(&[])
        .service(&format!("name: a, basePath: /, targets: ['{late}', '{}']", one.url()))
        .start();
    let (status, body) = ready(&gateway);
    assert_eq!((status, &body["status"]), (200, &"degraded".into()), "{body}");
    let failure = &body["failures"][0];
    assert_eq!(failure["what"], "service a", "{body}");
    assert_eq!(failure["effect"], "requests go to its other targets", "{body}");
    assert!(failure["reason"].as_str().unwrap().contains("late.test"), "{body}");
    for _ in 0..6 {
        let answer = get(gateway.addr, "/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "one"));
    }
    // No request has met what cannot be.
    let metrics = gateway.call("GET", "/metrics", "").text();
    assert!(!metrics.contains(r#"odin_upstream_errors_total{service="a",kind="connect"} 1"#));
    // What is missing does not keep anything else from being changed.
    gateway.rewrite(&gateway.config().replace("basePath: /,", "basePath: /, timeout: 7s,"));
    let answer = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    gateway.move_names(&[("late.test", "127.0.0.1")]);
    wait_until("the name is found", || ready(&gateway).1["status"] == "ready");
    let mut seen: Vec<_> = (0..2).map(|_| get(gateway.addr, "/").text()).collect();
    seen.sort_unstable();
    assert_eq!(seen, ["one", "two"]);
}

#[test]
fn a_service_without_any_address_is_not_ready_and_says_so() {
    let gateway = Setup::new()
        .names(&[])
        .service("name: a, basePath: /, targets: ['http://x.test:1', 'http://y.test:1']")
        .service("name: b, basePath: /b, targets: ['builtin:echo']")
        .start();
    let (status, body) = ready(&gateway);
    assert_eq!((status, &body["status"]), (503, &"not ready".into()), "{body}");
    let failures = body["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 2, "{body}");
    for failure in failures {
        assert_eq!(failure["effect"], "requests to it get 502", "{body}");
    }
    assert_eq!(get(gateway.addr, "/").status, 502);
    assert_eq!(get(gateway.addr, "/b").status, 200);
    // One is found: what is said of the other is another thing now, and no new failure.
    let origin = named("x");
    gateway.move_names(&[("x.test", "127.0.0.1")]);
    let port = origin.addr().port();
    gateway.rewrite(&gateway.config().replace("x.test:1", &format!("x.test:{port}")));
    let answer = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(ready(&gateway).1["status"], "degraded");
    assert_eq!(get(gateway.addr, "/").text(), "x");
}

/// Answers every request with these words.
fn answering(listener: TcpListener, status: u16, words: &'static str) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut piece = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(size) if size > 0 => request.extend_from_slice(&piece[..size]),
                    _ => break,
                }
            }
            let length = words.len();
            let head = format!("HTTP/1.1 {status} So\r\nConnection: close\r\n");
            let answer = format!("{head}Content-Length: {length}\r\n\r\n{words}");
            // Whoever has gone needs no answer.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}

/// Two origins on one port, at 127.0.0.1 and 127.0.0.2: a name moves from one to the other. The
/// first answers with this status, the second with 200.
pub fn two_places(first_status: u16) -> u16 {
    loop {
        let second = TcpListener::bind("127.0.0.2:0").unwrap();
        let port = second.local_addr().unwrap().port();
        // Somebody else may have it at the other address.
        if let Ok(first) = TcpListener::bind(("127.0.0.1", port)) {
            answering(first, first_status, "first");
            answering(second, 200, "second");
            return port;
        }
    }
}

fn tagged(name: &str, tag: &str) -> Vec<u8> {
    wasm::setting_headers(&format!(r#""{name}":["{tag}"]"#))
}

/// A gateway with two plugins that mark responses, and everything around it half edited: one
/// plugin's file is gone, another's is a new one, the configuration says something else.
fn half_edited(setup: Setup) -> Gateway {
    let gateway = setup
        .plugin("gone", tagged("X-Gone", "before"), "type: response")
        .plugin("edited", tagged("X-Edited", "before"), "type: response")
        .start();
    std::fs::remove_file(gateway.dir().path().join("plugins/gone.wasm")).unwrap();
    gateway.replace_plugin("edited", tagged("X-Edited", "after"));
    gateway.rewrite(&gateway.config().replace("basePath: /,", "basePath: /moved,"));
    gateway
}

fn assert_as_before(gateway: &Gateway) {
    let answer = get(gateway.addr, "/");
    assert_eq!(answer.status, 200);
    for name in ["x-gone", "x-edited"] {
        assert_eq!(answer.head.get(name).as_deref(), Some("before"), "{name}");
    }
    assert_eq!(ready(gateway), (200, gateway.call("GET", "/readyz", "").json()));
    assert_eq!(ready(gateway).1["status"], "ready");
}

#[test]
fn a_name_that_moves_is_followed_alone_whatever_the_files_are() {
    let port = two_places(200);
    let gateway = half_edited(
        Setup::new()
            .names(&[("a.test", "127.0.0.1")])
            .service(&format!("name: a, basePath: /, targets: ['http://a.test:{port}']")),
    );
    assert_eq!(get(gateway.addr, "/").text(), "first");
    gateway.move_names(&[("a.test", "127.0.0.2")]);
    wait_until("it is followed", || get(gateway.addr, "/").text() == "second");
    assert_as_before(&gateway);
    gateway.wait_log("targets looked up again (a target's addresses changed)");
    // And back, from the snapshot that this has made.
    gateway.move_names(&[("a.test", "127.0.0.1")]);
    wait_until("it is followed back", || get(gateway.addr, "/").text() == "first");
    assert_as_before(&gateway);
    // Who asks for everything is told of everything.
    let answer = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.reason().contains("plugin gone"), "{}", answer.text());
}

#[test]
fn a_change_of_one_plugin_is_judged_by_that_plugin_and_brings_nothing_else() {
    let gateway = half_edited(Setup::echo());
    let path = gateway.dir().write("plugins/new.wasm", tagged("X-New", "one"));
    let load = |name: &str, path: &str| {
        let body = serde_json::json!({ "name": name, "path": path, "type": "response" });
        gateway.call("POST", "/api/plugins/load", &body.to_string())
    };
    let answer = load("new", path.to_str().unwrap());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(get(gateway.addr, "/").head.get("x-new").as_deref(), Some("one"));
    assert_as_before(&gateway);
    for enabled in [false, true] {
        let body = format!(r#"{{"enabled":{enabled}}}"#);
        let answer = gateway.call("PUT", "/api/plugins/new/enabled", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(get(gateway.addr, "/").head.get("x-new").is_some(), enabled);
        assert_as_before(&gateway);
    }
    // Its own file counts.
    gateway.dir().write("plugins/new.wasm", "no module");
    assert_eq!(load("new", path.to_str().unwrap()).status, 422);
    assert_eq!(load("gone", "gone.wasm").status, 422);
    assert_eq!(gateway.call("DELETE", "/api/plugins/unload/new", "").status, 200);
    assert_as_before(&gateway);
    assert_eq!(load("edited", "edited.wasm").status, 200);
    assert_eq!(get(gateway.addr, "/").head.get("x-edited").as_deref(), Some("after"));
}

/// A plugin that calls a service by its name calls it where it is now, though its file is gone.
#[test]
fn a_plugin_follows_the_name_of_the_service_that_it_calls() {
    let port = two_places(503);
    let calling = calling(r#"{"url":"http://called/x"}"#, ANSWERED_200);
    let gateway = Setup::echo()
        .names(&[("a.test", "127.0.0.1")])
        .service(&format!("name: called, basePath: /called, targets: ['http://a.test:{port}']"))
        .plugin("calling", calling, "type: auth, services: [all]")
        .start();
    assert_ne!(get(gateway.addr, "/").status, 200);
    std::fs::remove_file(gateway.dir().path().join("plugins/calling.wasm")).unwrap();
    gateway.move_names(&[("a.test", "127.0.0.2")]);
    wait_until("it is followed", || get(gateway.addr, "/called").text() == "second");
    assert_eq!(get(gateway.addr, "/").status, 200);
}
