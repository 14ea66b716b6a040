//! The shipped plugins beside each other: what one does never undoes what another promises.

use crate::support::{Client, Gateway, Origin, Setup, get_with};

/// A plugin built by `make plugins`.
fn built(name: &str) -> Vec<u8> {
    let path = format!("{}/plugins/dist/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}; run `make plugins`"))
}

/// The priorities of two plugins, either first.
const ORDERS: [(u8, u8); 2] = [(1, 2), (2, 1)];

const KEYS: &str = "config: {validKeys: [{key: ann-key}, {key: bob-key}]}";

fn json_origin(fields: &str, body: &str) -> Origin {
    let length = body.len();
    Origin::raw(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{fields}\
         Content-Length: {length}\r\n\r\n{body}"
    ))
}

fn ask(gateway: &Gateway, key: &str) -> (u16, String) {
    let fields = if key.is_empty() { String::new() } else { format!("X-API-Key: {key}\r\n") };
    let response = get_with(gateway.addr, "/a", &fields);
    (response.status, response.text())
}

#[test]
fn a_cache_on_either_side_of_an_auth_plugin_answers_nobody_with_anothers_page() {
    for fields in ["", "Cache-Control: max-age=60\r\n", "Cache-Control: public\r\n"] {
        for (first, second) in ORDERS {
            let origin = json_origin(fields, "{}");
            let gateway = Setup::to(&origin)
                .plugin(
                    "keys",
                    built("api-key-auth"),
                    &format!("type: auth, priority: {first}, {KEYS}"),
                )
                .plugin("cache", built("cache"), &format!("type: response, priority: {second}"))
                .start();
            for (asked, key) in ["ann-key", "bob-key"].into_iter().enumerate() {
                assert_eq!(ask(&gateway, key).0, 200, "{fields} {first}");
                assert_eq!(origin.requests().len(), asked + 1, "{fields} {first}: {key}");
            }
            assert_eq!(ask(&gateway, "").0, 401, "{fields} {first}: no key, no page");
            assert_eq!(ask(&gateway, "eve-key").0, 401, "{fields} {first}");
        }
    }
}

#[test]
fn what_a_transformer_hides_stays_hidden_whether_the_cache_is_before_or_behind_it() {
    for (first, second) in ORDERS {
        let origin = json_origin("", r#"{"name":"ann","password":"s3cret"}"#);
        let redact = "config: {response: {body: {remove: [password]}}}";
        let gateway = Setup::to(&origin)
            .plugin(
                "redact",
                built("transformer"),
                &format!("type: response, priority: {first}, maxMemoryPages: 256, {redact}"),
            )
            .plugin("cache", built("cache"), &format!("type: response, priority: {second}"))
            .start();
        for _ in 0..3 {
            let (status, body) = ask(&gateway, "");
            assert_eq!((status, body.as_str()), (200, r#"{"name":"ann"}"#), "{first}");
        }
        assert_eq!(origin.requests().len(), 1, "{first}: the cache did answer");
    }
}

#[test]
fn of_two_credentials_none_is_judged() {
    let gateway =
        Setup::echo().plugin("keys", built("api-key-auth"), &format!("type: auth, {KEYS}")).start();
    let fields = "X-API-Key: ann-key\r\nx-api-key: eve-key\r\n";
    assert_eq!(get_with(gateway.addr, "/", fields).status, 401);
    let secret = "config: {secret: 0123456789abcdef0123456789abcdef}";
    let gateway =
        Setup::echo().plugin("jwt", built("jwt-auth"), &format!("type: auth, {secret}")).start();
    let fields = "Authorization: Bearer a.b.c\r\nauthorization: Bearer d.e.f\r\n";
    assert_eq!(get_with(gateway.addr, "/", fields).status, 400);
}

#[test]
fn no_target_moves_the_path_and_both_phases_are_told_the_query() {
    let config = "config: {request: {headers: {set: {X-Path: '{path}'}}}, \
                  response: {headers: {set: {X-Path: '{path}', X-Limit: '{query.limit}'}}}}";
    let gateway = Setup::echo()
        .plugin("t", built("transformer"), &format!("maxMemoryPages: 256, {config}"))
        .start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET /files/SECRET?limit=10&x=://h/files/a HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert_eq!(response.json()["headers"]["X-Path"][0], "/files/SECRET", "{}", response.text());
    assert_eq!(response.head.get("x-path").as_deref(), Some("/files/SECRET"));
    assert_eq!(response.head.get("x-limit").as_deref(), Some("10"));
}

#[test]
fn the_origin_is_asked_for_plain_text_where_plugins_read_its_bodies() {
    let origin = json_origin("", "{}");
    let gateway = Setup::to(&origin).plugin("cache", built("cache"), "type: response").start();
    get_with(gateway.addr, "/", "Accept-Encoding: gzip, br\r\n");
    let asked = origin.only_request().head.get("accept-encoding");
    assert_eq!(asked.as_deref(), Some("identity"));
}

#[test]
fn what_a_cache_keeps_is_compressed_for_who_takes_that_and_for_nobody_else() {
    let body = format!("{{\"a\":\"{}\"}}", "text ".repeat(1000));
    let origin = json_origin("Cache-Control: max-age=60\r\n", &body);
    let gateway = Setup::new()
        .service(&format!("name: a, targets: ['{}'], compression: [gzip]", origin.url()))
        .plugin("cache", built("cache"), "type: response")
        .start();
    for (takes, is_coded) in [("gzip", true), ("identity", false), ("gzip", true)] {
        let answer = get_with(gateway.addr, "/x", &format!("Accept-Encoding: {takes}\r\n"));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.head.get("content-encoding").is_some(), is_coded, "{takes}");
        assert!(answer.head.all("vary").join(",").contains("Accept-Encoding"), "{takes}");
        match is_coded {
            true => assert!(answer.body.starts_with(&[0x1f, 0x8b]) && answer.body.len() < 1000),
            false => assert!(answer.text() == body),
        }
    }
    assert_eq!(origin.requests().len(), 1, "the cache did answer");
}

/// A cache, with `first` before it.
fn before_a_cache(origin: &Origin, first: &str, keys: &str) -> Gateway {
    let compiled = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let keys = format!("priority: 1, timeout: 20s, maxMemoryPages: 256, {keys}");
    Setup::to(origin)
        .cached_in(&compiled)
        .plugin("first", built(first), &keys)
        .plugin("cache", built("cache"), "type: response, priority: 2")
        .start()
}

/// How often the origin was asked for two GETs of a path.
fn asked(gateway: &Gateway, origin: &Origin, path: &str, fields: [&str; 2]) -> usize {
    let before = origin.requests().len();
    for fields in fields {
        assert_eq!(get_with(gateway.addr, path, fields).status, 200, "{path}: {fields}");
    }
    origin.requests().len() - before
}

#[test]
fn what_is_taken_off_before_a_cache_is_no_leave_to_store_it() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let fields = match request.target.as_str() {
                "/private" => "Cache-Control: private\r\n",
                "/cookie" => "Set-Cookie: a=b\r\n",
                _ => "",
            };
            connection.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\n{{}}"));
        }
    });
    let inject = "type: response, config: {removeHeaders: [cache-control, Set-Cookie]}";
    let change = "type: response, \
                  config: {response: {headers: {remove: [cache-control, Set-Cookie]}}}";
    for (first, keys) in [
        ("header-injection-rust", inject),
        ("header-injection-go", inject),
        ("header-injection-assemblyscript", inject),
        ("header-injection-c", inject),
        ("transformer", change),
    ] {
        let gateway = before_a_cache(&origin, first, keys);
        for (path, count) in [("/private", 2), ("/cookie", 2), ("/else", 1)] {
            assert_eq!(asked(&gateway, &origin, path, ["", ""]), count, "{first} {path}");
        }
    }
}

#[test]
fn credentials_that_are_moved_before_a_cache_still_keep_pages_apart() {
    let origin = json_origin("", "{}");
    for how in ["rename: {Authorization: X-Auth}", "set: {X-Auth: '{header.Authorization}'}"] {
        let keys = format!("type: request, config: {{request: {{headers: {{{how}}}}}}}");
        let gateway = before_a_cache(&origin, "transformer", &keys);
        let who = ["Authorization: Basic YQ==\r\n", "Authorization: Basic Yg==\r\n"];
        assert_eq!(asked(&gateway, &origin, "/a", who), 2, "{how}");
    }
}

#[test]
fn a_page_that_could_not_be_completed_is_not_stored() {
    let page = json_origin("", r#"{"userId":7}"#);
    let users = Origin::raw("HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n");
    let keys = format!("type: response, config: {{userServiceUrl: '{}'}}", users.url());
    let gateway = before_a_cache(&page, "enrich-response", &keys);
    assert_eq!(asked(&gateway, &page, "/a", ["", ""]), 2);
}
