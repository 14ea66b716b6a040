//! Routes: which service gets a request, whatever its host is spelt like; what becomes of paths and
//! header fields.

use std::process::Command;

use crate::support::{Client, Gateway, Origin, Response, Setup, ask, get};

fn named(name: &str) -> String {
    format!("targets: ['builtin:echo'], headers: {{X-Service: {name}}}")
}

/// Whom a request meets: the echo shows what its target would get.
fn whom(gateway: &Gateway, head: &str) -> String {
    let answer = ask(gateway.addr, format!("{head}\r\n\r\n"));
    match answer.status {
        200 => answer.json()["headers"]["X-Service"][0].as_str().unwrap().to_owned(),
        status => status.to_string(),
    }
}

#[test]
fn hosts_are_told_apart_however_they_are_spelt() {
    let gateway = Setup::new()
        .service(&format!("name: a, hosts: [a.example, Www.A.example.], {}", named("a")))
        .service(&format!("name: b, hosts: ['*.example'], {}", named("b")))
        .service(&format!("name: c, hosts: [a.example], basePath: /deep, {}", named("c")))
        .start();
    for (host, path, service) in [
        ("a.example", "/", "a"),
        ("A.EXAMPLE:8080", "/", "a"),
        ("a.example.", "/", "a"),
        ("www.a.example.:1", "/", "a"),
        ("a.example", "/deep/er", "c"),
        ("a.example", "/deeper", "a"),
        ("a.example", "/x/..//deep/y", "c"),
        ("x.example", "/deep", "b"),
        ("x.y.example", "/", "b"),
        ("example", "/", "404"),
        ("a.example.evil", "/", "404"),
        ("127.0.0.1", "/", "404"),
        ("[::1]:80", "/", "404"),
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}");
        assert_eq!(whom(&gateway, &head), service, "{head}");
    }
    // The target's own authority counts (RFC 9112 section 3.2.2).
    let head = "GET http://a.example/ HTTP/1.1\r\nHost: x.example";
    assert_eq!(whom(&gateway, head), "a");
    assert_eq!(whom(&gateway, "GET / HTTP/1.0"), "404");
}

#[test]
fn methods_headers_and_the_query_tell_services_of_one_path_apart() {
    let gateway = Setup::new()
        .service(&format!("name: all, {}", named("all")))
        .service(&format!("name: write, methods: [POST, PUT], {}", named("write")))
        .service(&format!(
            "name: canary, match: {{headers: {{X-Canary: 'yes'}}}}, {}",
            named("canary")
        ))
        .service(&format!(
            "name: second, match: {{query: {{v: {{regex: '^2'}}}}}}, {}",
            named("second")
        ))
        .service(&format!(
            "name: debug, match: {{headers: {{X-Debug: {{present: true}}}}, \
             query: {{v: '1'}}}}, {}",
            named("debug")
        ))
        .start();
    for (head, service) in [
        ("GET /x HTTP/1.1\r\nHost: a", "all"),
        ("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0", "write"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nx-canary: yes", "canary"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nx-canary: yes!", "all"),
        ("POST /x HTTP/1.1\r\nHost: a\r\nx-canary: yes\r\nContent-Length: 0", "write"),
        ("GET /x?v=2.1 HTTP/1.1\r\nHost: a", "second"),
        ("GET /x?v=%32 HTTP/1.1\r\nHost: a", "second"),
        ("GET /x?w=2 HTTP/1.1\r\nHost: a", "all"),
        ("GET /x?v=1 HTTP/1.1\r\nHost: a", "all"),
        ("GET /x?v=1 HTTP/1.1\r\nHost: a\r\nX-Debug: ", "debug"),
    ] {
        assert_eq!(whom(&gateway, head), service, "{head}");
    }
}

#[test]
fn services_that_nobody_could_tell_apart_are_an_error_of_the_file() {
    let of = |one: &str, other: &str| {
        let setup = Setup::new()
            .service(&format!("name: a, {}, {one}", named("a")))
            .service(&format!("name: b, {}, {other}", named("b")));
        let file = setup.dir.write("checked.yaml", setup.config());
        let output = Command::new(crate::support::gateway::BINARY)
            .args(["check", file.to_str().unwrap()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    };
    for (one, other, is_fine) in [
        ("hosts: [a.b, c.d]", "hosts: [C.D.]", false),
        ("hosts: [a.b]", "hosts: ['*.b']", true),
        ("hosts: [a.b]", "methods: [GET]", true),
        ("methods: [GET, POST]", "methods: [POST]", false),
        ("methods: [POST]", "methods: [GET, POST]", true),
        ("match: {headers: {A: '1', b: '2'}}", "match: {headers: {B: '2', a: '1'}}", false),
        ("match: {headers: {A: '1'}}", "match: {headers: {A: '2'}}", true),
        ("match: {query: {A: '1'}}", "match: {query: {a: '1'}}", true),
    ] {
        let (passes, said) = of(one, other);
        assert_eq!(passes, is_fine, "{one} | {other}: {said}");
        assert_eq!(said.contains("tell them apart by hosts, methods or match"), !is_fine, "{said}");
    }
}

#[test]
fn clients_are_redirected_behind_the_plugins_and_keep_their_query() {
    let gateway = Setup::new()
        .service("name: a, basePath: /old, redirect: {path: /new, status: 308}")
        .service(
            "name: b, hosts: [b.example], redirect: {scheme: https}, \
             responseHeaders: {set: {X-Why: tls}}",
        )
        .service("name: c, basePath: /c, redirect: {host: 'c.example:8443', status: 301}")
        .start();
    let to = |path: &str, host: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer: Response = ask(gateway.addr, head);
        (answer.status, answer.head.get("location").unwrap_or_default().to_owned())
    };
    assert_eq!(to("/old/x?a=b", "h"), (308, "/new?a=b".into()));
    assert_eq!(to("/x?a=b", "b.example:80"), (302, "https://b.example/x?a=b".into()));
    assert_eq!(to("/c/d", "h"), (301, "http://c.example:8443/c/d".into()));
    let mut client = Client::connect(gateway.addr);
    for _ in 0..3 {
        let answer = client.ask("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
        assert_eq!(answer.head.get("x-why").as_deref(), Some("tls"));
    }
}

#[test]
fn targets_get_the_rewritten_path_and_the_edited_fields() {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Powered-By: x\r\nX-Kept: 1\r\n\r\nok",
    );
    let edits = "requestHeaders: {set: {X-Set: new}, add: {X-Add: two}, remove: [X-Gone]}, \
                 responseHeaders: {set: {X-New: '1'}, add: {X-Kept: '2'}, remove: [x-powered-by]}";
    let gateway = Setup::new()
        .service(&format!(
            "name: a, basePath: /api, targets: ['{}'], rewrite: {{prefix: /v2}}, {edits}",
            origin.url()
        ))
        .service(&format!(
            "name: b, basePath: /users, targets: ['{}'], \
             rewrite: {{regex: '^/users/([0-9]+)$', to: '/people/$1'}}",
            origin.url()
        ))
        .start();
    let answer = ask(
        gateway.addr,
        "GET /api/x?q=/api HTTP/1.1\r\nHost: a\r\nX-Set: old\r\nX-Add: one\r\nX-Gone: 1\r\n\r\n",
    );
    let fields = &answer.head;
    assert_eq!(fields.get("x-new").as_deref(), Some("1"));
    assert_eq!(fields.get("x-powered-by"), None);
    assert_eq!(fields.fields.iter().filter(|(name, _)| name == "X-Kept").count(), 2);
    let received = origin.only_request();
    assert_eq!(received.target, "/v2/x?q=/api");
    assert_eq!(received.head.get("x-set").as_deref(), Some("new"));
    assert_eq!(received.head.get("x-gone"), None);
    let added = received.head.fields.iter().filter(|(name, _)| name == "X-Add");
    assert_eq!(added.count(), 2);
    for (path, target) in [("/users/7", "/people/7"), ("/users/x", "/users/x"), ("/api", "/v2")] {
        assert_eq!(get(gateway.addr, path).status, 200);
        assert_eq!(origin.requests().last().unwrap().target, target);
    }
}

#[test]
fn explain_tells_which_service_gets_a_request_and_why_not_the_others() {
    let gateway = Setup::new()
        .service(&format!("name: all, {}", named("all")))
        .service(&format!("name: a, hosts: [a.example], basePath: /api, {}", named("a")))
        .service(&format!(
            "name: b, basePath: /api, methods: [POST], match: {{headers: {{X-B: '1'}}}}, {}",
            named("b")
        ))
        .start();
    let explain = |arguments: &[&str]| {
        let config = gateway.dir().path().join("odin.yaml");
        let output = Command::new(env!("CARGO_BIN_EXE_odin-cli"))
            .args(["explain", "--config"])
            .arg(config)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let said = explain(&["--url", "http://A.example:8080/api/x"]);
    for words in [
        "/api/x goes to the service a (basePath /api)",
        "the service all is not asked: it fits too, and another one fits better",
        "the service b is not asked: its methods are POST; and its match asks for another header \
         x-b",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let said = explain(&["--url", "/api", "--method", "POST", "--header", "X-B: 1"]);
    assert!(said.contains("/api goes to the service b"), "{said}");
    assert!(said.contains("its hosts are a.example, not (none given)"), "{said}");
}

#[test]
fn ten_thousand_services_are_served() {
    let mut setup = Setup::echo();
    for number in 0..10_000 {
        setup = setup.service(&format!(
            "name: s{number}, basePath: /s/{number}, targets: ['builtin:echo'], \
             headers: {{X-Service: s{number}}}"
        ));
    }
    let gateway = setup.start();
    for number in [0, 7, 9_999] {
        let head = format!("GET /s/{number}/x HTTP/1.1\r\nHost: a");
        assert_eq!(whom(&gateway, &head), format!("s{number}"));
    }
    assert_eq!(get(gateway.addr, "/s/10000").status, 200, "the one at /");
}
