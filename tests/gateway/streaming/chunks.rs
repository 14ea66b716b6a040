//! Plugins of the JSON ABI that bodies pass: what each action of a chunk call does, and that every
//! exchange is opened and closed for them once.

use super::{EVENT_STREAM, EVENTS, chunk, chunked, echoing, filter, hear, hear_with, telling};
use crate::support::{Client, Gateway, Origin, Setup, get, post, wait_until, wasm};

/// A guest that makes of a chunk what a letter in it says: `!` cuts, `#` holds, `$` ends, `?`
/// answers, `*` traps, `~` fails, `^` passes; else it is put into brackets. It logs when an
/// exchange opens and closes.
pub(crate) fn obeying() -> Vec<u8> {
    let answer = r#"{"continue":false,"response":{"statusCode":418,"body":"no"}}"#;
    let go_on = r#"{"continue":true}"#;
    let literal = |text: &str| text.replace('"', "\\22");
    wasm::module(&format!(
        r#"(module
          (import "env" "log" (func $log (param i32 i32)))
          (memory (export "memory") 8)
          (data (i32.const 1024) "{}")
          (data (i32.const 2048) "{}")
          (data (i32.const 3072) "opened")
          (data (i32.const 3088) "closed")
          (data (i32.const 3104) "told to")
          (func $result (param $action i32) (param $at i32) (param $len i32) (result i64)
            (i64.or (i64.extend_i32_u (local.get $at))
              (i64.shl (i64.extend_i32_u
                (i32.or (local.get $len) (i32.shl (local.get $action) (i32.const 28))))
                (i64.const 32))))
          (func $has (param $at i32) (param $len i32) (param $byte i32) (result i32)
            (local $end i32)
            (local.set $end (i32.add (local.get $at) (local.get $len)))
            (block $no (loop $next
              (br_if $no (i32.ge_u (local.get $at) (local.get $end)))
              (if (i32.eq (i32.load8_u (local.get $at)) (local.get $byte))
                (then (return (i32.const 1))))
              (local.set $at (i32.add (local.get $at) (i32.const 1)))
              (br $next)))
            (i32.const 0))
          (func (export "execute") (param i32 i32) (result i64)
            (call $result (i32.const 0) (i32.const 2048) (i32.const {})))
          (func $chunk (param $id i32) (param $at i32) (param $len i32) (param $flags i32)
            (result i64)
            (if (call $has (local.get $at) (local.get $len) (i32.const 42)) (then unreachable))
            (if (call $has (local.get $at) (local.get $len) (i32.const 33))
              (then (return (call $result (i32.const 4) (i32.const 3104) (i32.const 7)))))
            (if (i32.and (i32.eqz (i32.and (local.get $flags) (i32.const 1)))
                  (call $has (local.get $at) (local.get $len) (i32.const 35)))
              (then (return (call $result (i32.const 2) (i32.const 0) (i32.const 0)))))
            (if (call $has (local.get $at) (local.get $len) (i32.const 63))
              (then (return (call $result (i32.const 5) (i32.const 1024) (i32.const {})))))
            (if (call $has (local.get $at) (local.get $len) (i32.const 126))
              (then (return (call $result (i32.const 6) (i32.const 3104) (i32.const 7)))))
            (if (call $has (local.get $at) (local.get $len) (i32.const 94))
              (then (return (i64.const 0))))
            (if (i32.eqz (local.get $len)) (then (return (i64.const 0))))
            (i32.store8 (i32.const 65536) (i32.const 91))
            (memory.copy (i32.const 65537) (local.get $at) (local.get $len))
            (i32.store8 (i32.add (i32.const 65537) (local.get $len)) (i32.const 93))
            (call $result
              (select (i32.const 3) (i32.const 1)
                (call $has (local.get $at) (local.get $len) (i32.const 36)))
              (i32.const 65536) (i32.add (local.get $len) (i32.const 2))))
          (export "on_request_chunk" (func $chunk))
          (export "on_response_chunk" (func $chunk))
          (func (export "on_stream_open") (param i32 i32 i32)
            (call $log (i32.const 3072) (i32.const 6)))
          (func (export "on_stream_close") (param i32)
            (call $log (i32.const 3088) (i32.const 6))))"#,
        literal(answer),
        literal(go_on),
        go_on.len(),
        answer.len(),
    ))
}

fn obeyed(origin: &Origin, keys: &str) -> Gateway {
    Setup::to(origin).plugin("it", obeying(), &format!("timeout: 2s, {keys}")).start()
}

/// Only requests are given in pieces.
const REQUESTS: &str = "type: request, body: stream";
/// Only responses are given in pieces.
const RESPONSES: &str = "type: response, body: stream";

fn streaming(pieces: &'static [&'static str]) -> Origin {
    Origin::scripted(move |connection, _| {
        while connection.request().is_some() {
            let pieces: Vec<u8> = pieces.iter().flat_map(chunk).collect();
            connection.send([EVENT_STREAM.as_bytes(), &pieces, b"0\r\n\r\n"].concat());
        }
    })
}

#[test]
fn events_pass_a_plugin_one_by_one() {
    for mode in ["stream", "events"] {
        let (origin, told) = telling();
        let gateway = obeyed(&origin, &format!("type: response, body: {mode}"));
        let body = hear(&gateway, &told);
        let all: String = (0..EVENTS).map(|number| format!("[data: event {number}\n\n]")).collect();
        assert_eq!(body, all, "{mode}");
    }
}

#[test]
fn a_call_is_for_one_event_however_they_come() {
    let origin =
        streaming(&["data: 1\n\ndata: 2\r\n\r\nda", "ta: 3\r", "\rdata: 4\n", "\nda", "ta: 5"]);
    let gateway = obeyed(&origin, "type: response, body: events");
    let wanted = "[data: 1\n\n][data: 2\r\n\r\n][data: 3\r\r][data: 4\n\n][data: 5]";
    assert_eq!(get(gateway.addr, "/").text(), wanted);
    let bytewise: Vec<u8> =
        b"data: 1\n\ndata: 2\n\ndata: 5".iter().flat_map(|byte| chunk([*byte])).collect();
    let origin = Origin::raw([EVENT_STREAM.as_bytes(), &bytewise, b"0\r\n\r\n"].concat());
    let gateway = obeyed(&origin, "type: response, body: events");
    assert_eq!(get(gateway.addr, "/").text(), "[data: 1\n\n][data: 2\n\n][data: 5]");
    // What is no stream of events is given as it comes.
    let origin = Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\na: 1\n\nb: 2");
    let gateway = obeyed(&origin, "type: response, body: events");
    let body = get(gateway.addr, "/").text();
    assert_eq!(body.replace("][", ""), "[a: 1\n\nb: 2]", "{body}");
}

#[test]
fn what_a_plugin_has_held_comes_again_with_more() {
    let origin = echoing();
    let gateway = obeyed(&origin, REQUESTS);
    let sent = chunked("/", &["a#", "b", "c"], "");
    let body = Client::connect(gateway.addr).ask(sent).text();
    // It holds until the last piece, however many pieces the gateway has read at once.
    assert!(body.starts_with("[a#bc]") || body == "[a#bc]", "{body}");
    let gateway = Setup::to(&origin)
        .limits("pluginBodyBytesMax: 10000")
        .plugin("it", obeying(), REQUESTS)
        .start();
    let response = post(gateway.addr, "/", &"#".repeat(200_000));
    assert_eq!(response.status, 413, "{}", response.text());
}

#[test]
fn a_plugin_ends_a_body_cuts_it_or_answers() {
    let origin = streaming(&["one", "two$", "three"]);
    let gateway = obeyed(&origin, RESPONSES);
    for _ in 0..3 {
        let body = get(gateway.addr, "/").text();
        assert!(body.starts_with("[one") && !body.contains("three]["), "{body}");
        assert!(body.ends_with("$]") || body.ends_with("three]"), "{body}");
    }
    let origin = echoing();
    let gateway = obeyed(&origin, REQUESTS);
    let response = post(gateway.addr, "/", "may I?");
    assert_eq!((response.status, response.text()), (418, "no".to_owned()));
    assert_eq!(post(gateway.addr, "/", "cut!").status, 503);
    gateway.wait_log("the plugin cuts the exchange off: told to");
}

#[test]
fn a_failure_in_a_chunk_is_one_of_the_plugin() {
    let origin = echoing();
    let gateway = obeyed(&origin, &format!("{REQUESTS}, failureMode: closed"));
    for body in ["a trap*", "a report~"] {
        assert_eq!(post(gateway.addr, "/", body).status, 503, "{body}");
        assert_eq!(post(gateway.addr, "/", "good").text(), "[good]");
    }
    gateway.wait_log("the plugin reports: told to");
    // What fails open lets pass what it has not changed, and cuts what it has.
    let gateway = obeyed(&origin, REQUESTS);
    let response = Client::connect(gateway.addr).ask(chunked("/", &["^good ", "*", " rest"], ""));
    assert_eq!(response.text(), "^good * rest");
    assert_eq!(post(gateway.addr, "/", "good").text(), "[good]");
}

#[test]
fn every_exchange_is_opened_and_closed_once() {
    const EXCHANGES: usize = 40;
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            connection.send([EVENT_STREAM.as_bytes(), &chunk("data: 1\n\n")].concat());
            if request.target == "/wait" {
                connection.some();
                return;
            }
            connection.send("0\r\n\r\n");
        }
    });
    let gateway = obeyed(&origin, RESPONSES);
    for number in 0..EXCHANGES {
        let mut client = Client::connect(gateway.addr);
        let path = if number % 2 == 0 { "/wait" } else { "/" };
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        if path == "/" {
            assert_eq!(client.response().text(), "[data: 1\n\n]");
        } else {
            let head = client.head();
            let mut came = false;
            client.set_patience(std::time::Duration::from_millis(200));
            let _cut = client.body(head.response_framing("GET").unwrap(), |_| came = true);
            assert!(came);
        }
    }
    let count = |word: &str| gateway.log().lines().filter(|line| line.contains(word)).count();
    wait_until("all are closed", || count("closed") == EXCHANGES);
    assert_eq!(count("opened"), EXCHANGES);
    assert_eq!(get(gateway.addr, "/").status, 200);
    wait_until("none is closed twice", || count("closed") == EXCHANGES + 1);
}

#[test]
fn an_instance_of_its_own_serves_an_exchange_that_asks_for_it() {
    let origin = echoing();
    let gateway = obeyed(&origin, &format!("{REQUESTS}, isolation: request"));
    for _ in 0..5 {
        assert_eq!(post(gateway.addr, "/", "a body").text(), "[a body]");
    }
    wait_until("none is left", || {
        let metrics = gateway.call("GET", "/metrics", "").text();
        metrics.contains("wasm_plugin_instances_active{plugin=\"it\"} 0")
    });
}

#[test]
fn a_reload_and_streams_that_are_open_do_not_meet() {
    let (origin, told) = telling();
    let gateway = obeyed(&origin, "type: response, body: events");
    let body = hear_with(&gateway, &told, |number| {
        if number == 3 {
            gateway.rewrite(&gateway.config().replace("timeout: 2s", "timeout: 3s"));
            assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
        }
    });
    assert!(body.ends_with("[data: event 19\n\n]"), "{body}");
    wait_until("it is closed", || gateway.log().contains("closed"));
}

#[test]
fn a_body_that_is_in_memory_passes_in_pieces_too() {
    let origin = echoing();
    let gateway = Setup::to(&origin)
        .plugin("pieces", obeying(), "type: request, body: stream, priority: 1")
        .plugin("whole", wasm::passing(), "type: request, body: whole, priority: 2")
        .start();
    assert_eq!(post(gateway.addr, "/", "a body").text(), "[a body]");
    assert_eq!(post(gateway.addr, "/", "may I?").status, 418);
    let gateway = Setup::echo().plugin("it", obeying(), RESPONSES).start();
    let body = post(gateway.addr, "/", "^").text();
    assert!(body.contains('^'), "{body}");
}

#[test]
fn every_pair_of_abis_takes_a_body_one_behind_the_other() {
    let origin = echoing();
    let kinds = ["filter", "chunks", "whole", "handler"];
    for first in kinds {
        for second in kinds.into_iter().filter(|second| *second != first) {
            let mut setup = Setup::to(&origin);
            for (priority, kind) in [(1, first), (2, second)] {
                let keys = format!("priority: {priority}, type: request");
                setup = match kind {
                    "filter" => filter(setup, kind, "upper", &format!(", {keys}")),
                    "chunks" => setup.plugin(kind, obeying(), &format!("{keys}, body: stream")),
                    "whole" => setup.plugin(kind, wasm::passing(), &format!("{keys}, body: whole")),
                    _ => setup.plugin(kind, crate::filters::handler(), &keys),
                };
            }
            let gateway = setup.start();
            let body = post(gateway.addr, "/", "a body").text();
            let (mut wanted, kinds) = ("a body".to_owned(), [first, second]);
            if kinds.contains(&"filter") {
                wanted = wanted.to_uppercase();
            }
            if kinds.contains(&"chunks") {
                wanted = format!("[{wanted}]");
            }
            assert_eq!(body, wanted, "{first} before {second}");
        }
    }
}

#[test]
fn who_is_to_be_given_pieces_must_be_able_to_take_them() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin("it", wasm::passing(), "type: response, body: stream, failureMode: closed")
        .start();
    assert_eq!(get(gateway.addr, "/").status, 503);
    gateway.wait_log("body: stream needs the export on_request_chunk or on_response_chunk");
}
