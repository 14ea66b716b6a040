//! `builtin:echo`: the answer is the request as an origin would have seen it.

use crate::support::{Client, Setup, ask, get};

#[test]
fn echo_shows_method_url_headers_and_body() {
    let gateway = Setup::echo().start();
    let response = ask(
        gateway.addr,
        "POST /a/../b?c=d HTTP/1.1\r\nHost: a.test\r\nX-A: 1\r\nX-A: 2\r\nX-Caf\u{65}: y\r\n\
         Connection: X-Gone\r\nX-Gone: 1\r\nContent-Length: 7\r\n\r\nhe\"llo\n",
    );
    assert_eq!(response.status, 200);
    assert_eq!(response.head.get("content-type").unwrap(), "application/json");
    let echo = response.json();
    assert_eq!(echo["method"], "POST");
    assert_eq!(echo["url"], "http://a.test/b?c=d");
    assert_eq!(echo["headers"]["X-A"], serde_json::json!(["1", "2"]));
    assert_eq!(echo["headers"]["X-Cafe"], serde_json::json!(["y"]));
    assert!(echo["headers"].get("X-Gone").is_none());
    assert_eq!(echo["body"], "he\"llo\n");
}

#[test]
fn echo_shows_what_the_gateway_adds() {
    let gateway = Setup::echo().start();
    let echo = get(gateway.addr, "/").json();
    let headers = echo["headers"].as_object().unwrap();
    let names: Vec<String> = headers.keys().map(|name| name.to_ascii_lowercase()).collect();
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id"] {
        assert!(names.contains(&name.to_owned()), "{name} not in {names:?}");
    }
}

#[test]
fn echo_takes_chunked_bodies_and_bodies_that_are_not_text() {
    let gateway = Setup::echo().start();
    let mut client = Client::connect(gateway.addr);
    let response = client.ask(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    assert_eq!(response.json()["body"], "hello");
    let binary = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\xff\x00\xfe";
    let response = client.ask(binary);
    assert_eq!(response.status, 200);
    assert_eq!(response.json()["bodyEncoding"], "base64");
    assert_eq!(response.json()["body"], "/wD+");
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn echo_of_a_header_that_is_not_utf8_is_still_json() {
    let gateway = Setup::echo().start();
    let response = ask(gateway.addr, b"GET / HTTP/1.1\r\nHost: a\r\nX-A: caf\xe9\r\n\r\n");
    assert_eq!(response.status, 200);
    assert!(response.json()["headers"]["X-A"][0].is_string());
}

#[test]
fn echo_answers_head_without_a_body() {
    let gateway = Setup::echo().start();
    let mut client = Client::connect(gateway.addr);
    let response = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((response.status, response.body.len()), (200, 0));
    assert_eq!(client.get("/").status, 200);
}
