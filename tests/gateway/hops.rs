//! How far a request may go: `Max-Forwards`, TRACE.

use crate::support::{Client, Origin, Setup, ask, get_with, wasm};

#[test]
fn options_that_may_not_be_forwarded_is_answered_here() {
    // RFC 9110 section 7.6.2
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    for body in ["", "hello"] {
        let length = body.len();
        let response = client.ask(format!(
            "OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nContent-Length: {length}\r\n\r\n\
             {body}"
        ));
        assert_eq!(response.status, 204);
        let allow = response.head.get("allow").unwrap();
        assert!(allow.contains("OPTIONS") && !allow.contains("TRACE"), "{allow}");
    }
    assert!(client.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").head.has("allow"));
    assert_eq!(origin.requests().len(), 0);
    for (fields, left) in [
        ("Max-Forwards: 5\r\n", Some("4")),
        ("Max-Forwards: 1\r\n", Some("0")),
        ("Max-Forwards: 18446744073709551616\r\n", Some("4294967294")),
        ("", None),
    ] {
        let response = client.ask(format!("OPTIONS /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(response.status, 200, "{fields}");
        let received = origin.requests().pop().unwrap();
        assert_eq!(received.head.get("max-forwards").as_deref(), left, "{fields}");
    }
    for bad in ["-1", "x", "1, 2", "1\r\nMax-Forwards: 2"] {
        let response =
            client.ask(format!("OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: {bad}\r\n\r\n"));
        assert_eq!(response.status, 400, "{bad}");
        assert!(response.reason().contains("Max-Forwards"), "{}", response.text());
        client = Client::connect(gateway.addr);
    }
    // With other methods it means nothing.
    assert_eq!(get_with(gateway.addr, "/a", "Max-Forwards: 0\r\n").text(), "ok");
}

#[test]
fn options_that_is_answered_here_leads_past_no_plugin() {
    let origin = Origin::ok();
    let no = wasm::answering(r#"{"continue":false,"error":"no"}"#);
    let gateway = Setup::to(&origin).plugin("no", no, "type: auth").start();
    let options = "OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n";
    assert_eq!(ask(gateway.addr, options).status, 401);
}

#[test]
fn trace_is_refused_and_nobody_is_shown_what_origins_are_told() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    for fields in ["", "Max-Forwards: 5\r\n", "Max-Forwards: 0\r\n"] {
        let response = client.ask(format!("TRACE /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(response.status, 405, "{fields}");
        assert!(response.head.get("allow").unwrap().contains("GET"));
        assert!(response.reason().contains("TRACE") && !response.closes());
    }
    assert_eq!(origin.requests().len(), 0);
}
