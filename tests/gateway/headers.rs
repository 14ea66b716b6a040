//! The fields that the gateway adds, and those it takes from nobody.

use crate::support::origin::Received;
use crate::support::{Client, Origin, Setup, get_with, wasm};
use std::collections::HashSet;

fn seen_with(setup: impl FnOnce(Setup) -> Setup, fields: &str) -> Received {
    let origin = Origin::ok();
    let gateway = setup(Setup::to(&origin)).start();
    assert_eq!(get_with(gateway.addr, "/", fields).status, 200);
    origin.only_request()
}

fn seen(fields: &str) -> Received {
    seen_with(|setup| setup, fields)
}

#[test]
fn the_origin_learns_who_asked_and_how() {
    let received = seen("");
    assert_eq!(received.head.get("x-forwarded-for").unwrap(), "127.0.0.1");
    assert_eq!(received.head.get("x-forwarded-proto").unwrap(), "http");
    assert_eq!(received.head.get("x-forwarded-host").unwrap(), "a.test");
}

const CLAIMS: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
                      X-Forwarded-Host: evil.test\r\n";

#[test]
fn a_clients_own_claims_are_not_believed() {
    let received = seen(CLAIMS);
    assert_eq!(received.head.get("x-forwarded-for").unwrap(), "127.0.0.1");
    assert_eq!(received.head.get("x-forwarded-proto").unwrap(), "http");
    assert_eq!(received.head.get("x-forwarded-host").unwrap(), "a.test");
}

#[test]
fn a_trusted_proxys_claims_are_kept_and_added_to() {
    let received = seen_with(|setup| setup.server("trustForwarded: true"), CLAIMS);
    let forwarded = received.head.all("x-forwarded-for").join(", ");
    assert_eq!(forwarded, "6.6.6.6, 127.0.0.1");
    assert_eq!(received.head.get("x-forwarded-proto").unwrap(), "https");
    assert_eq!(received.head.get("x-forwarded-host").unwrap(), "evil.test");
}

#[test]
fn what_a_trusted_proxy_leaves_out_is_added_and_what_it_says_is_kept() {
    let trusting = |setup: Setup| setup.server("trustForwarded: true");
    let received = seen_with(trusting, "X-Forwarded-Proto: https\r\n");
    assert_eq!(received.head.get("x-forwarded-proto").unwrap(), "https");
    assert_eq!(received.head.get("x-forwarded-host").unwrap(), "a.test");
    let received = seen_with(trusting, "X-Forwarded-Host: outside.test\r\n");
    assert_eq!(received.head.get("x-forwarded-proto").unwrap(), "http");
    assert_eq!(received.head.get("x-forwarded-host").unwrap(), "outside.test");
}

#[test]
fn every_request_has_an_id_of_its_own() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..100 {
        assert_eq!(client.get("/").status, 200);
    }
    let ids: HashSet<String> = origin
        .requests()
        .iter()
        .map(|request| request.head.get("x-request-id").expect("an id"))
        .collect();
    assert_eq!(ids.len(), 100);
}

#[test]
fn a_clients_request_id_is_kept() {
    let received = seen("X-Request-Id: from-the-client-42\r\n");
    assert_eq!(received.head.get("x-request-id").unwrap(), "from-the-client-42");
}

#[test]
fn a_services_headers_are_set_on_the_way_to_its_origin() {
    let origin = Origin::ok();
    let gateway = Setup::new()
        .service(&format!(
            "name: a, basePath: /, headers: {{X-Api-Key: secret, X-Team: 'a b'}}, targets: ['{}']",
            origin.url()
        ))
        .start();
    let response = get_with(gateway.addr, "/", "x-api-key: forged\r\n");
    let received = origin.only_request();
    assert_eq!(received.head.get("x-api-key").unwrap(), "secret", "set, not added");
    assert_eq!(received.head.get("x-team").unwrap(), "a b");
    assert!(!response.head.has("x-api-key"));
}

#[test]
fn several_fields_of_one_name_stay_several() {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Expires=Wed, 09 Jun 2027 10:18:14 GMT\r\n\
         Set-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    );
    let gateway = Setup::to(&origin).start();
    let response = get_with(gateway.addr, "/", "X-A: 1\r\nX-A: 2\r\n");
    assert_eq!(origin.only_request().head.all("x-a"), ["1", "2"]);
    assert_eq!(
        response.head.all("set-cookie"),
        ["a=1; Expires=Wed, 09 Jun 2027 10:18:14 GMT", "b=2"]
    );
}

#[test]
fn the_gateway_adds_nothing_of_its_own_to_a_relayed_response_body_or_type() {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: mine\r\n\
         Content-Type: text/x-mine\r\nETag: \"1\"\r\nContent-Length: 2\r\n\r\nok",
    );
    let gateway = Setup::to(&origin).start();
    let response = Client::connect(gateway.addr).get("/");
    for (name, value) in [
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("server", "mine"),
        ("content-type", "text/x-mine"),
        ("etag", "\"1\""),
    ] {
        assert_eq!(response.head.get(name).unwrap(), value);
    }
}

#[test]
fn the_host_of_the_target_is_sent_where_the_clients_is_not_wanted() {
    let origin = Origin::ok();
    let gateway = Setup::new()
        .service(&format!(
            "name: a, basePath: /, preserveHost: false, targets: ['{}']",
            origin.url()
        ))
        .start();
    get_with(gateway.addr, "/", "");
    let received = origin.only_request();
    assert_eq!(received.head.get("host").unwrap(), origin.addr().to_string());
    assert_eq!(received.head.get("x-forwarded-host").unwrap(), "a.test");
}

const MORE_CLAIMS: &str = "Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
                           X-Forwarded-Port: 1\r\nX_Forwarded_For: 6.6.6.6\r\n\
                           x_real_ip: 6.6.6.6\r\n";

#[test]
fn no_field_of_an_untrusted_client_says_who_asked() {
    let received = seen(MORE_CLAIMS);
    for name in ["forwarded", "x-real-ip", "x-forwarded-port", "x_forwarded_for", "x_real_ip"] {
        assert_eq!(received.head.get(name), None, "{name}");
    }
}

#[test]
fn a_trusted_proxys_fields_pass_but_for_spellings_that_it_does_not_write() {
    let received = seen_with(|setup| setup.server("trustForwarded: true"), MORE_CLAIMS);
    for name in ["forwarded", "x-real-ip", "x-forwarded-port"] {
        assert!(received.head.get(name).is_some(), "{name}");
    }
    for name in ["x_forwarded_for", "x_real_ip"] {
        assert_eq!(received.head.get(name), None, "{name}");
    }
}

#[test]
fn two_request_ids_become_one() {
    let received = seen("X-Request-Id: one\r\nX-Request-Id: two\r\n");
    assert_eq!(received.head.all("x-request-id"), ["one"]);
}

/// What the target of a service at `/api/users` with these keys is sent for the path.
fn stripped(setup: Setup, path: &str, fields: &str) -> Received {
    let origin = Origin::ok();
    let gateway = setup
        .service(&format!(
            "name: a, basePath: /api/users, stripBasePath: true, targets: ['{}']",
            origin.url()
        ))
        .start();
    assert_eq!(get_with(gateway.addr, path, fields).status, 200);
    origin.only_request()
}

#[test]
fn a_target_is_told_of_the_base_path_that_it_does_not_see() {
    for (path, target) in [("/api/users", "/"), ("/api/users/7?x", "/7?x")] {
        let received = stripped(Setup::new(), path, "");
        assert_eq!(received.target, target);
        assert_eq!(received.head.all("x-forwarded-prefix"), ["/api/users"]);
    }
    let received = seen("X-Forwarded-Prefix: /mine\r\n");
    assert_eq!(received.head.get("x-forwarded-prefix"), None, "nothing was taken off");
}

#[test]
fn a_prefix_of_the_clients_own_is_dropped_and_a_trusted_proxys_stands_in_front() {
    let claim = "X-Forwarded-Prefix: /outer/\r\nx-forwarded-prefix: /inner, nonsense\r\n";
    let received = stripped(Setup::new(), "/api/users/7", claim);
    assert_eq!(received.head.all("x-forwarded-prefix"), ["/api/users"]);
    let trusting = Setup::new().server("trustForwarded: true");
    let received = stripped(trusting, "/api/users/7", claim);
    assert_eq!(received.head.all("x-forwarded-prefix"), ["/outer/inner/api/users"]);
    let received = seen_with(|setup| setup.server("trustForwarded: true"), claim);
    assert_eq!(received.head.all("x-forwarded-prefix"), ["/outer/", "/inner, nonsense"]);
}

#[test]
fn a_path_that_a_plugin_led_out_of_the_base_path_is_not_cut() {
    for (url, target) in [("/api/usersx", "/api/usersx"), ("/b/1", "/b/1")] {
        let answer = format!(r#"{{"continue":true,"request":{{"url":"{url}"}},"modified":true}}"#);
        let guest = wasm::answering(&answer);
        let setup = Setup::new().plugin("moving", guest, "type: request");
        let received = stripped(setup, "/api/users/1", "");
        assert_eq!(received.target, target);
        assert_eq!(received.head.get("x-forwarded-prefix"), None, "{url}");
    }
}

#[test]
fn no_plugin_is_shown_what_is_set_for_the_target() {
    let origin = Origin::ok();
    let gateway = Setup::new()
        .service(&format!(
            "name: a, basePath: /, headers: {{X-Api-Key: hidden-word}}, targets: ['{}']",
            origin.url()
        ))
        .plugin("showing", wasm::replacing_body_by_input(), "type: response")
        .start();
    let shown = get_with(gateway.addr, "/", "").text();
    assert!(shown.contains("\"request\""), "{shown}");
    assert!(!shown.contains("hidden-word"), "{shown}");
    assert_eq!(origin.only_request().head.get("x-api-key").unwrap(), "hidden-word");
}

const UNDERSCORED: &str = "X_User: root\r\nX-User: me\r\n_: 1\r\nX_Request-Id: 2\r\nX-Last_: 3\r\n";

#[test]
fn names_that_applications_read_as_others_are_dropped() {
    let names = ["x_user", "_", "x_request-id", "x-last_"];
    for trusts in ["false", "true"] {
        let trusting = |setup: Setup| setup.server(&format!("trustForwarded: {trusts}"));
        let received = seen_with(trusting, UNDERSCORED);
        assert_eq!(received.head.all("x-user"), ["me"]);
        for name in names {
            assert_eq!(received.head.get(name), None, "{name}, trusted: {trusts}");
        }
    }
    let keeping = |setup: Setup| setup.server("underscoresInHeaders: keep");
    let both = format!("{UNDERSCORED}X_Forwarded_For: 6.6.6.6\r\n");
    let received = seen_with(keeping, &both);
    for name in names {
        assert!(received.head.get(name).is_some(), "{name}");
    }
    assert_eq!(received.head.get("x_forwarded_for"), None, "it would say who asks");
}

#[test]
fn no_plugin_is_shown_a_name_that_is_dropped_and_one_that_it_sets_goes_on() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin("setting", wasm::setting_headers(r#""X_Own":["1"]"#), "type: request, priority: 1")
        .start();
    assert_eq!(get_with(gateway.addr, "/", UNDERSCORED).status, 200);
    let received = origin.only_request();
    assert_eq!(received.head.get("x_own").as_deref(), Some("1"));
    assert_eq!(received.head.get("x_user"), None);
    let showing = Setup::to(&origin).plugin("it", wasm::showing_input(), "type: request").start();
    let shown = get_with(showing.addr, "/", UNDERSCORED).text();
    assert!(shown.contains("X-User") && !shown.contains("X_User"), "{shown}");
}

#[test]
fn every_response_has_one_date_also_where_the_origin_sends_none() {
    // RFC 9110 section 6.6.1: who forwards adds what is missing.
    let dated = "Sun, 06 Nov 1994 08:49:37 GMT";
    let origin = Origin::scripted(move |connection, _| {
        while let Some(request) = connection.request() {
            connection.send(match request.target.as_str() {
                "/dated" => {
                    format!("HTTP/1.1 200 OK\r\nDate: {dated}\r\nContent-Length: 0\r\n\r\n")
                }
                "/nominated" => format!(
                    "HTTP/1.1 200 OK\r\nDate: {dated}\r\nConnection: date\r\n\
                     Content-Length: 0\r\n\r\n"
                ),
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".into(),
                "/500" => "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".into(),
                "/broken" => "HTTP/1.1 rubbish\r\n\r\n".into(),
                _ if request.method == "HEAD" => "HTTP/1.1 200 OK\r\n\r\n".into(),
                _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
                    .into(),
            });
        }
    });
    let refusing = wasm::answering(r#"{"continue":false,"error":"no"}"#);
    let gateway = Setup::new()
        .service(&format!(
            "name: all, basePath: /o, stripBasePath: true, targets: ['{}']",
            origin.url()
        ))
        .service("name: echo, basePath: /echo, targets: ['builtin:echo']")
        .service(
            "name: both, basePath: /both, \
             aggregation: {calls: [{name: a, service: all, path: /x}]}",
        )
        .plugin("no", refusing, "type: auth, allowedUrls: ['^/o/refused']")
        .plugin("it", wasm::setting_headers(r#""X-Seen":["1"]"#), "type: response")
        .start();
    for (request, status) in [
        ("GET /o/plain", 200),
        ("GET /o/dated", 200),
        ("GET /o/nominated", 200),
        ("HEAD /o/head", 200),
        ("GET /o/304", 304),
        ("GET /o/500", 500),
        ("GET /o/broken", 502),
        ("GET /o/refused", 401),
        ("GET /echo", 200),
        ("HEAD /echo", 200),
        ("GET /both", 200),
        ("GET /nowhere", 404),
        ("OPTIONS *", 204),
        ("G{T /o/plain", 400),
    ] {
        let (method, _) = request.split_once(' ').unwrap();
        let mut client = Client::connect(gateway.addr);
        client.send(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.response_to(method);
        assert_eq!(response.status, status, "{request}");
        // `get` fails where it stands twice.
        let date = response.head.get("date").unwrap_or_default();
        assert_eq!(date.len(), dated.len(), "{request}: {}", response.head);
        assert_eq!(date == dated, request == "GET /o/dated", "{request}: {date}");
    }
}
