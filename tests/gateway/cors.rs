//! CORS: preflights are answered before plugins, every response says who may read it, and nobody
//! else may.

use crate::support::http2::Http2;
use crate::support::{Client, Gateway, Origin, Response, Setup, ask, get_with, wasm};

const APP: &str = "https://app.example.com";

fn preflight(gateway: &Gateway, path: &str, origin: &str, method: &str) -> Response {
    ask(
        gateway.addr,
        format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: {method}\r\n\
             Access-Control-Request-Headers: content-type,x-one\r\n\r\n"
        ),
    )
}

fn allowed(answer: &Response) -> Option<String> {
    answer.head.get("access-control-allow-origin")
}

#[test]
fn origins_may_be_written_in_letters_of_any_language() {
    let gateway = Setup::new()
        .service(
            "name: a, targets: ['builtin:echo'], cors: {origins: ['https://bücher.example', \
             'https://BÜCHER.example:8443', 'https://*.straße.example']}",
        )
        .start();
    for (origin, is_allowed) in [
        ("https://xn--bcher-kva.example", true),
        ("https://xn--bcher-kva.example:8443", true),
        ("https://xn--bcher-kva.example:9", false),
        ("https://a.xn--strae-oqa.example", true),
        ("https://xn--strae-oqa.example", false),
        ("https://bucher.example", false),
    ] {
        let answer = get_with(gateway.addr, "/", &format!("Origin: {origin}\r\n"));
        assert_eq!(allowed(&answer).as_deref(), is_allowed.then_some(origin), "{origin}");
    }
}

#[test]
fn preflights_are_answered_before_plugins_and_whom_they_turn_away_can_be_read() {
    let refusing = wasm::answering(r#"{"continue":false,"error":"who are you"}"#);
    let gateway = Setup::new()
        .service(&format!(
            "name: a, targets: ['builtin:echo'], cors: {{origins: ['{APP}'], methods: [GET, PUT], \
             headers: [Content-Type, X-One], exposeHeaders: [X-Two], credentials: true, \
             maxAge: 10m}}"
        ))
        .plugin("guard", refusing, "type: auth")
        .start();
    let answer = preflight(&gateway, "/x", APP, "PUT");
    let get = |name: &str| answer.head.get(name).unwrap_or_default();
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(get("access-control-allow-origin"), APP);
    assert_eq!(get("access-control-allow-methods"), "GET, PUT");
    assert_eq!(get("access-control-allow-headers"), "Content-Type, X-One");
    assert_eq!(get("access-control-allow-credentials"), "true");
    assert_eq!(get("access-control-max-age"), "600");
    let vary = answer.head.all("vary").join(", ");
    for name in ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"] {
        assert!(vary.contains(name), "{vary}");
    }

    let answer = preflight(&gateway, "/x", "https://evil.example", "PUT");
    assert_eq!((answer.status, allowed(&answer)), (204, None));
    assert!(!answer.head.has("access-control-allow-methods"));

    // The refusal itself can be read by the page, and by no other.
    let answer = get_with(gateway.addr, "/x", &format!("Origin: {APP}\r\n"));
    assert_eq!((answer.status, allowed(&answer).as_deref()), (401, Some(APP)));
    assert_eq!(answer.head.get("access-control-expose-headers").as_deref(), Some("X-Two"));
    assert_eq!(answer.head.get("vary").as_deref(), Some("Origin"));
    let answer = get_with(gateway.addr, "/x", "Origin: https://app.example.com.evil\r\n");
    assert_eq!((answer.status, allowed(&answer)), (401, None));
    assert_eq!(answer.head.get("vary").as_deref(), Some("Origin"));
    // What is no preflight asks the plugins.
    let plain = format!("OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: {APP}\r\n\r\n");
    assert_eq!(ask(gateway.addr, plain).status, 401);
    assert_eq!(gateway.metric(r#"odin_requests_total{service="a",status="2xx"}"#), 2.0);
}

#[test]
fn what_an_origin_says_is_replaced_and_an_error_of_the_gateway_says_it_too() {
    let origin = Origin::scripted(|connection, number| {
        if number == 0 {
            connection.request();
            connection.send(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: *\r\n\
                 access-control-allow-credentials: true\r\nVary: accept\r\n\r\nok",
            );
        }
    });
    let gateway = Setup::new()
        .service(&format!(
            "name: a, targets: ['{}'], outlier: off, cors: {{origins: ['{APP}', 'null']}}",
            origin.url()
        ))
        .start();
    let answer = get_with(gateway.addr, "/", "Origin: https://evil.example\r\n");
    assert_eq!((answer.status, allowed(&answer)), (200, None));
    assert!(!answer.head.has("access-control-allow-credentials"));
    assert_eq!(answer.head.all("vary"), ["accept", "Origin"]);
    for who in [APP, "null"] {
        let answer = get_with(gateway.addr, "/", &format!("Origin: {who}\r\n"));
        assert_eq!((answer.status, allowed(&answer).as_deref()), (502, Some(who)));
    }
    let mut client = Http2::connect(gateway.addr);
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
        ("origin", APP),
    ];
    let answer = client.ask(1, &fields);
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.field("access-control-allow-origin"), APP);
}

#[test]
fn a_preflight_is_answered_for_the_service_of_the_request_that_follows() {
    let named = |name: &str| format!("cors: {{origins: ['https://{name}']}}");
    let origin = Origin::ok();
    let gateway = Setup::new()
        .service(&format!("name: reads, targets: ['{}'], {}", origin.url(), named("reads")))
        .service(&format!(
            "name: writes, methods: [PUT, POST], targets: ['{}'], {}",
            origin.url(),
            named("writes")
        ))
        .service(&format!("name: own, basePath: /own, targets: ['{}']", origin.url()))
        .start();
    for (method, who, is_allowed) in [
        ("PUT", "https://writes", true),
        ("GET", "https://writes", false),
        ("GET", "https://reads", true),
        ("DELETE", "https://reads", true),
    ] {
        let answer = preflight(&gateway, "/", who, method);
        assert_eq!(answer.status, 204);
        assert_eq!(allowed(&answer).is_some(), is_allowed, "{method} {who}");
    }
    assert!(origin.requests().is_empty());
    // A service without rules leaves it to its targets.
    assert_eq!(preflight(&gateway, "/own", APP, "PUT").status, 200);
    assert_eq!(origin.only_request().method, "OPTIONS");
    // A body of a preflight does not become the next request.
    let mut client = Client::connect(gateway.addr);
    let answer = client.ask(
        "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://reads\r\nContent-Length: 5\r\n\
         Access-Control-Request-Method: GET\r\n\r\nGET /",
    );
    assert_eq!(answer.status, 204);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn any_page_may_read_what_is_for_everybody_whatever_is_asked() {
    let gateway = Setup::new()
        .service(
            "name: a, targets: ['builtin:echo'], responseHeaders: {set: {Vary: Accept}}, \
             cors: {origins: ['*'], methods: ['*'], headers: ['*'], exposeHeaders: ['*']}",
        )
        .start();
    for fields in ["", "Origin: https://x.example\r\n", "Origin: null\r\n"] {
        let answer = get_with(gateway.addr, "/", fields);
        assert_eq!(allowed(&answer).as_deref(), Some("*"));
        assert_eq!(answer.head.get("access-control-expose-headers").as_deref(), Some("*"));
        assert_eq!(answer.head.get("vary").as_deref(), Some("Accept"));
        assert!(!answer.head.has("access-control-allow-credentials"));
    }
    let answer = preflight(&gateway, "/", "https://x.example", "PATCH");
    assert_eq!(answer.head.get("access-control-allow-methods").as_deref(), Some("*"));
}

#[test]
fn what_would_open_a_service_to_any_page_is_refused_with_the_cure() {
    for (keys, words) in [
        ("origins: ['*'], credentials: true", "name the origins, or take credentials out"),
        ("origins: ['https://a'], credentials: true, exposeHeaders: ['*']", "list the headers"),
        ("origins: ['*', 'https://a']", "take the others out"),
        ("origins: []", "at least one origin"),
        ("methods: [GET]", "cors.origins: missing"),
        ("origins: ['https://a/']", "without / at its end"),
        ("origins: ['a.example']", "an origin such as https://app.example.com"),
        ("origins: ['https://*']", "an origin such as"),
        ("origins: ['https://a.*.example']", "an origin such as"),
        ("origins: [{regex: '('}]", "a regular expression"),
        ("origins: [{regex: 'a)|(b'}]", "a regular expression"),
        ("origins: ['https://a'], methods: [get]", "in capitals"),
        ("origins: ['https://a'], headers: ['x y']", "the name of a header"),
        ("origins: ['https://a'], headers: ['*', x]", "take the names out"),
    ] {
        let setup =
            Setup::new().service(&format!("name: a, targets: ['builtin:echo'], cors: {{{keys}}}"));
        let said = crate::support::check(&setup);
        assert!(said.contains(words), "{keys}: {said}");
    }
}
