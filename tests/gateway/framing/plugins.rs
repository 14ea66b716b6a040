//! Framing beside plugins: a client's own method and what is really sent decide where a response
//! ends, whatever a plugin has made of request or response.

use crate::support::carrier::over_both;
use crate::support::{Carrier, Origin, Setup, wasm};

/// An output that changes the request's method.
fn sets_method(method: &str) -> Vec<u8> {
    wasm::answering(&format!(
        r#"{{"continue":true,"modified":true,"request":{{"method":"{method}"}}}}"#
    ))
}

fn sets_status(status: u16, more: &str) -> Vec<u8> {
    wasm::answering(&format!(
        r#"{{"continue":true,"modified":true,"response":{{"statusCode":{status}{more}}}}}"#
    ))
}

/// An origin that keeps to the method that it is asked with.
fn honest_origin() -> Origin {
    Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let body = if request.method == "HEAD" { "" } else { "hello" };
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}"));
        }
    })
}

fn a_client_of_a_head_gets_no_body_whatever_a_plugin_makes_of_the_method(by: Carrier) {
    let origin = honest_origin();
    for (what, module) in [
        ("the origin is asked with GET", sets_method("GET")),
        ("a plugin answers", wasm::answering(r#"{"continue":false,"error":"no"}"#)),
    ] {
        let gateway =
            Setup::to(&origin).plugin("it", module, "type: request").carried_by(by).start();
        let mut client = gateway.client();
        for _ in 0..2 {
            client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
            // A body would be read as the head of the next response.
            let response = client.response_to("HEAD");
            assert!([200, 403].contains(&response.status), "{what}: {}", response.status);
        }
    }
}

fn a_client_of_a_head_gets_no_body_with_an_error_after_a_plugin(by: Carrier) {
    // It closes without an answer: the gateway answers 502 itself.
    let origin = Origin::scripted(|connection, _| drop(connection.request()));
    let gateway =
        Setup::to(&origin).plugin("it", sets_method("GET"), "type: request").carried_by(by).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response_to("HEAD").status, 502);
    }
}

fn a_client_of_a_get_gets_a_whole_response_if_a_plugin_asks_with_head(by: Carrier) {
    let origin = honest_origin();
    let gateway = Setup::to(&origin)
        .plugin("it", sets_method("HEAD"), "type: request")
        .carried_by(by)
        .start();
    let mut client = gateway.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, ""));
        assert_eq!(response.head.get("content-length").as_deref(), Some("0"));
    }
}

fn a_status_that_gains_or_loses_its_body_is_framed_by_what_is_sent(by: Carrier) {
    let with_length = "HTTP/1.1 304 Not Modified\r\nContent-Length: 40\r\n\r\n";
    let with_body = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (answer, module, expected) in [
        (with_length, sets_status(200, ""), ""),
        (with_length, sets_status(200, r#","body":"made""#), "made"),
        ("HTTP/1.1 204 No Content\r\n\r\n", sets_status(200, ""), ""),
        (with_body, sets_status(204, ""), ""),
        (with_body, sets_status(304, ""), ""),
        (chunked, sets_status(204, ""), ""),
        (with_body, sets_status(204, r#","body":"lost""#), ""),
    ] {
        let origin = Origin::raw(answer);
        for keys in ["type: response", "type: response, body: false"] {
            let gateway =
                Setup::to(&origin).plugin("it", module.clone(), keys).carried_by(by).start();
            let mut client = gateway.client();
            // The second response is where a wrong length shows.
            for _ in 0..2 {
                assert_eq!(client.get("/").text(), expected, "{answer:?}, {keys}");
            }
        }
    }
}

over_both!(
    a_client_of_a_head_gets_no_body_whatever_a_plugin_makes_of_the_method,
    a_client_of_a_head_gets_no_body_with_an_error_after_a_plugin,
    a_client_of_a_get_gets_a_whole_response_if_a_plugin_asks_with_head,
    a_status_that_gains_or_loses_its_body_is_framed_by_what_is_sent,
);
