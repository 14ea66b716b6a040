//! Targets whose names lead nowhere, or elsewhere after a while.

use crate::support::{Gateway, Origin, Setup, get, wait_until};

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
