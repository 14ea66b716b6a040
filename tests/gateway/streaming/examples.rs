//! The shipped plugins for live bodies, through a gateway.

use super::{EVENT_STREAM, chunk};
use crate::filters::built;
use crate::support::{Client, Origin, Setup, get, get_with};

fn answering(events: &[&str]) -> Origin {
    let pieces: Vec<u8> =
        events.iter().flat_map(|text| chunk(format!("data: {text}\n\n"))).collect();
    Origin::raw([EVENT_STREAM.as_bytes(), &pieces, b"0\r\n\r\n"].concat())
}

#[test]
fn a_token_meter_ends_an_answer_where_the_budget_is_spent_and_begins_no_other() {
    let origin = answering(&["a", "b", "c"]);
    let gateway = Setup::to(&origin)
        .workers(2)
        .plugin("meter", built("token-meter"), "body: events, timeout: 1s, config: {budget: 4}")
        .start();
    assert_eq!(get(gateway.addr, "/").text(), "data: a\n\ndata: b\n\ndata: c\n\n");
    let second = get(gateway.addr, "/").text();
    assert!(second.starts_with("data: a\n\nevent: error\n"), "{second}");
    assert!(second.contains("budget_exceeded") && !second.contains("data: b"), "{second}");
    assert_eq!(get(gateway.addr, "/").status, 429);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn nobody_gets_around_a_budget_by_an_answer_that_is_not_live() {
    let body = "x".repeat(4000);
    let origin = Origin::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n{body}"));
    let gateway = Setup::to(&origin)
        .plugin("meter", built("token-meter"), "body: events, timeout: 1s, config: {budget: 10}")
        .start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    match client.try_response() {
        Ok(response) => assert_eq!(response.status, 503),
        Err(_cut) => {}
    }
    assert_eq!(get(gateway.addr, "/").status, 429);
}

#[test]
fn a_secret_is_redacted_wherever_the_pieces_of_a_body_end() {
    const TEXT: &str = "the key is sk-0123456789 and goes on";
    let gateway_to = |origin: &Origin| {
        let compiled = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
        let config = "config: {patterns: [{match: 'sk-[0-9]{10}', replace: '[key]'}]}";
        let keys =
            format!("type: response, body: stream, maxMemoryPages: 256, timeout: 10s, {config}");
        Setup::to(origin).cached_in(&compiled).plugin("it", built("redact-stream"), &keys).start()
    };
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let cut: usize = request.target[1..].parse().unwrap();
            connection.send([EVENT_STREAM.as_bytes(), &chunk(&TEXT[..cut])].concat());
            connection.send([&chunk(&TEXT[cut..])[..], b"0\r\n\r\n"].concat());
        }
    });
    let gateway = gateway_to(&origin);
    for cut in 1..TEXT.len() {
        let body = get_with(gateway.addr, &format!("/{cut}"), "").text();
        assert_eq!(body, "the key is [key] and goes on", "{cut}");
    }
}
