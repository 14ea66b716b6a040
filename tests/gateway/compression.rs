//! Compression: who gets which coding, what stays as it is, and that streams are not held back.

use std::io::Read as _;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::support::http2::{Http2, get as h2_get};
use crate::support::{Client, Framing, Gateway, Origin, Response, Setup, get_with, wasm};

const ALL: &str = "compression: [zstd, br, gzip]";

/// As much as can be decoded of what may not have ended.
fn decoded(coding: &str, coded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut piece = [0; 4096];
    let mut read: Box<dyn std::io::Read> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(coded)),
        "br" => Box::new(brotli_decompressor::Decompressor::new(coded, 4096)),
        "zstd" => {
            let mut context = zstd_safe::DCtx::create();
            let mut source = zstd_safe::InBuffer::around(coded);
            let mut is_full = true;
            while source.pos() < coded.len() || is_full {
                let mut sink = zstd_safe::OutBuffer::around(&mut piece[..]);
                context.decompress_stream(&mut sink, &mut source).unwrap();
                plain.extend_from_slice(sink.as_slice());
                is_full = sink.pos() == 4096;
            }
            return plain;
        }
        other => panic!("{other} is no coding"),
    };
    while let Ok(count @ 1..) = read.read(&mut piece) {
        plain.extend_from_slice(&piece[..count]);
    }
    plain
}

fn plain(answer: &Response) -> String {
    let body = match answer.head.get("content-encoding") {
        Some(coding) => decoded(&coding, &answer.body),
        None => answer.body.clone(),
    };
    String::from_utf8(body).unwrap()
}

fn text() -> String {
    "some words that come again and again. ".repeat(2_000)
}

/// Answers with a text and these lines of its head.
fn origin(fields: &str, text: &str) -> Origin {
    let length = text.len();
    Origin::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n{text}"))
}

fn gateway_to(origin: &Origin, keys: &str) -> Gateway {
    Setup::new().service(&format!("name: a, targets: ['{}'], {keys}", origin.url())).start()
}

#[test]
fn each_client_gets_the_coding_that_it_takes() {
    let text = text();
    let origin = origin("Content-Type: text/html; charset=utf-8\r\nETag: \"1\"\r\n", &text);
    let gateway = gateway_to(&origin, ALL);
    for (accept, coding) in [
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip, deflate, br", Some("br")),
        ("gzip", Some("gzip")),
        ("br;q=0.5, gzip", Some("gzip")),
        ("gzip;q=0", None),
        ("deflate", None),
        ("*", Some("zstd")),
    ] {
        let answer = get_with(gateway.addr, "/", &format!("Accept-Encoding: {accept}\r\n"));
        assert_eq!(answer.head.get("content-encoding").as_deref(), coding, "{accept}");
        assert_eq!(plain(&answer), text);
        assert_eq!(answer.head.get("vary").as_deref(), Some("Accept-Encoding"));
        let is_coded = coding.is_some();
        assert_eq!(answer.head.has("content-length"), !is_coded);
        assert_eq!(answer.head.get("etag").unwrap(), if is_coded { "W/\"1\"" } else { "\"1\"" });
        assert!(!is_coded || answer.body.len() < text.len() / 10);
    }
    let answer = get_with(gateway.addr, "/", "");
    assert_eq!((answer.head.get("content-encoding"), answer.text()), (None, text));
}

#[test]
fn what_is_not_worth_it_or_must_not_be_changed_stays_as_it_is() {
    let text = text();
    let html = "Content-Type: text/html\r\n";
    for (keys, fields, request, is_coded) in [
        (ALL, html.to_owned(), "", true),
        (ALL, "Content-Type: image/png\r\n".to_owned(), "", false),
        (ALL, String::new(), "", false),
        (ALL, "Content-Type: text/event-stream\r\n".to_owned(), "", false),
        (ALL, format!("{html}Content-Encoding: br\r\n"), "", false),
        (ALL, format!("{html}Cache-Control: no-transform\r\n"), "", false),
        (ALL, html.to_owned(), "Cache-Control: no-transform\r\n", false),
        ("compression: {codings: [gzip], types: ['image/*']}", html.to_owned(), "", false),
        (
            "compression: {codings: [gzip], types: ['image/*']}",
            "Content-Type: image/png\r\n".to_owned(),
            "",
            true,
        ),
        ("compression: {codings: [gzip], minBytes: 1MiB}", html.to_owned(), "", false),
        ("timeout: 5s", html.to_owned(), "", false),
    ] {
        let origin = origin(&fields, &text);
        let gateway = gateway_to(&origin, keys);
        let answer = get_with(gateway.addr, "/", &format!("Accept-Encoding: gzip\r\n{request}"));
        let coding = answer.head.get("content-encoding");
        assert_eq!(coding.as_deref() == Some("gzip"), is_coded, "{keys} {fields}: {}", answer.head);
        if !is_coded {
            assert_eq!(answer.text(), text, "{keys} {fields}");
            assert!(answer.head.has("content-length"));
        }
    }
}

#[test]
fn heads_ranges_and_statuses_without_a_body_are_left_alone() {
    let head = "Content-Type: text/html\r\nContent-Length: 5000\r\nETag: \"x\"\r\n\r\n";
    let page = format!("{head}{}", "a".repeat(5_000));
    let answers = [
        ("GET", format!("206 Partial Content\r\nContent-Range: bytes 0-4999/9000\r\n{page}")),
        ("GET", "204 No Content\r\nContent-Type: text/html\r\n\r\n".to_owned()),
        ("GET", "304 Not Modified\r\nETag: \"x\"\r\nContent-Type: text/html\r\n\r\n".to_owned()),
        ("HEAD", format!("200 OK\r\n{head}")),
    ];
    for (method, answer) in answers {
        let answer = format!("HTTP/1.1 {answer}");
        let origin = Origin::raw(answer.clone());
        let gateway = gateway_to(&origin, ALL);
        let mut client = Client::connect(gateway.addr);
        let ask = format!("{method} / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
        let got = client.ask(&ask);
        assert!(!got.head.has("content-encoding"), "{method} {answer}: {}", got.head);
        assert_ne!(got.head.get("etag").as_deref(), Some("W/\"x\""), "{method} {answer}");
        if method == "HEAD" {
            assert_eq!(got.head.get("content-length").as_deref(), Some("5000"));
            assert_eq!(got.head.get("vary").as_deref(), Some("Accept-Encoding"));
        }
        // And the connection goes on.
        assert_eq!(client.ask(&ask).status, got.status);
    }
}

#[test]
fn a_client_that_refuses_plain_bodies_gets_none() {
    let origin = origin("Content-Type: image/png\r\n", "few");
    let gateway = gateway_to(&origin, ALL);
    for (accept, coding) in
        [("identity;q=0, gzip", Some("gzip")), ("*;q=0, br", Some("br")), ("identity;q=0", None)]
    {
        let answer = get_with(gateway.addr, "/", &format!("Accept-Encoding: {accept}\r\n"));
        assert_eq!(answer.head.get("content-encoding").as_deref(), coding, "{accept}");
        assert_eq!(plain(&answer), "few");
    }
}

#[test]
fn events_are_compressed_and_not_held_back() {
    let (sender, seen) = channel::<()>();
    let seen = Mutex::new(seen);
    let origin = Origin::scripted(move |connection, _| {
        while connection.request().is_some() {
            connection.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                 Transfer-Encoding: chunked\r\n\r\n",
            );
            for number in 0..5 {
                let event = format!("data: {number}\n\n");
                connection.send(format!("{:x}\r\n{event}\r\n", event.len()));
                // The next one is sent when the client has this one.
                if seen.lock().unwrap().recv_timeout(Duration::from_secs(10)).is_err() {
                    return;
                }
            }
            connection.send("0\r\n\r\n");
        }
    });
    let gateway =
        gateway_to(&origin, "compression: {codings: [zstd, br, gzip], types: [text/event-stream]}");
    for coding in ["zstd", "br", "gzip"] {
        events_come_one_by_one(&gateway, coding, &sender);
    }
}

fn events_come_one_by_one(gateway: &Gateway, coding: &str, seen: &Sender<()>) {
    let mut client = Client::connect(gateway.addr);
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n"));
    let head = client.head();
    assert_eq!(head.get("content-encoding").as_deref(), Some(coding));
    let (mut coded, mut count) = (Vec::new(), 0);
    let framing = Framing::Chunked;
    let done = client.body(framing, |piece| {
        coded.extend_from_slice(piece);
        let text = String::from_utf8(decoded(coding, &coded)).unwrap();
        while text.contains(&format!("data: {count}\n\n")) {
            count += 1;
            seen.send(()).unwrap();
        }
    });
    done.unwrap();
    assert_eq!(count, 5, "{coding}");
}

#[test]
fn a_stream_of_http2_is_compressed_as_one_of_http1_and_a_head_is_not() {
    let text = text();
    let origin = origin("Content-Type: application/problem+json\r\n", &text);
    let gateway = gateway_to(&origin, ALL);
    let mut client = Http2::connect(gateway.addr);
    for (stream, coding) in [(1, "gzip"), (3, "br"), (5, "zstd")] {
        let fields = [&h2_get("/")[..], &[("accept-encoding", coding)]].concat();
        let answer = client.ask(stream, &fields);
        assert_eq!(answer.field("content-encoding"), coding);
        assert_eq!(answer.field("content-length"), "");
        assert_eq!(decoded(coding, &answer.body), text.as_bytes());
        assert!(answer.has_ended && answer.reset.is_none());
    }
}

#[test]
fn compression_comes_behind_the_plugins_which_see_plain_bodies() {
    let long = "x".repeat(5_000);
    let response = format!(r#"{{"body":"{long}","headers":{{"Content-Type":["text/plain"]}}}}"#);
    let output = format!(r#"{{"modified":true,"continue":true,"response":{response}}}"#);
    let module = wasm::answering(&output);
    let gateway = Setup::new()
        .service(&format!("name: a, targets: ['builtin:echo'], {ALL}"))
        .plugin("fills", module, "type: response")
        .start();
    let answer = get_with(gateway.addr, "/", "Accept-Encoding: br\r\n");
    assert_eq!(answer.head.get("content-encoding").as_deref(), Some("br"));
    assert_eq!(plain(&answer), long);
    // What a plugin refuses with is the gateway's own and stays plain.
    let refusal =
        format!(r#"{{"continue":false,"response":{{"statusCode":403,"body":"{long}"}}}}"#);
    let gateway = Setup::new()
        .service(&format!("name: a, targets: ['builtin:echo'], {ALL}"))
        .plugin("guard", wasm::answering(&refusal), "type: auth")
        .start();
    let answer = get_with(gateway.addr, "/", "Accept-Encoding: br\r\n");
    assert_eq!((answer.status, answer.text()), (403, long));
}

#[test]
fn what_is_merged_of_several_answers_is_compressed() {
    let long = format!(r#"{{"text":"{}"}}"#, "y".repeat(5_000));
    let origin = origin("Content-Type: application/json\r\n", &long);
    let gateway = Setup::new()
        .service(&format!("name: one, basePath: /one, targets: ['{}']", origin.url()))
        .service(&format!(
            "name: all, basePath: /all, {ALL}, \
             aggregation: {{calls: [{{name: a, service: one, path: /}}]}}"
        ))
        .start();
    let answer = get_with(gateway.addr, "/all", "Accept-Encoding: gzip\r\n");
    assert_eq!(answer.head.get("content-encoding").as_deref(), Some("gzip"));
    let merged: serde_json::Value = serde_json::from_str(&plain(&answer)).unwrap();
    assert_eq!(merged["a"]["text"].as_str().unwrap().len(), 5_000);
}

#[test]
fn an_origin_that_breaks_off_is_seen_to_and_a_client_of_http10_gets_it_all() {
    let origin = Origin::scripted(|connection, number| {
        if connection.request().is_some() {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9000\r\n\r\n";
            connection.send(head);
            connection.send("z".repeat(if number == 0 { 9_000 } else { 5_000 }));
        }
    });
    let gateway = gateway_to(&origin, ALL);
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.head();
    assert_eq!(head.get("content-encoding").as_deref(), Some("gzip"));
    assert_eq!(decoded("gzip", &client.rest()).len(), 9_000);
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    // Either it is told in time (502), or the chunks have no end.
    let is_whole = client.try_response().is_ok_and(|answer| answer.status == 200);
    assert!(!is_whole);
}

#[test]
fn a_long_body_leaves_the_worker_to_others() {
    let long = text().repeat(60);
    let origin = origin("Content-Type: text/plain\r\n", &long);
    let gateway = Setup::new()
        .service(&format!("name: a, basePath: /long, targets: ['{}'], {ALL}", origin.url()))
        .service("name: b, targets: ['builtin:echo']")
        .start();
    let addr = gateway.addr;
    let download = std::thread::spawn(move || {
        let mut client = Client::connect(addr);
        client.set_patience(Duration::from_secs(60));
        client.ask("GET /long HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br\r\n\r\n")
    });
    let mut client = Client::connect(gateway.addr);
    let mut served = 0;
    while !download.is_finished() {
        assert_eq!(client.get("/").status, 200);
        served += 1;
    }
    assert_eq!(plain(&download.join().unwrap()).len(), long.len());
    assert!(served > 5, "only {served} were served meanwhile");
}

#[test]
fn what_compression_cannot_be_is_refused_with_what_it_can() {
    for (keys, words) in [
        ("compression: []", "at least one of zstd, br, gzip"),
        ("compression: [deflate]", "one of zstd, br, gzip"),
        ("compression: gzip", "a list of codings such as [zstd, br, gzip]"),
        ("compression: [gzip, gzip]", "gzip stands here twice"),
        ("compression: {types: [text/html]}", "compression.codings: missing"),
        ("compression: {codings: [gzip], types: ['*/*']}", "a media type such as text/html"),
        ("compression: {codings: [gzip], types: []}", "at least one media type"),
        ("compression: {codings: [gzip], minBytes: 2GiB}", "minBytes"),
        ("compression: {codings: [gzip], level: 9}", "unknown key"),
    ] {
        let setup = Setup::new().service(&format!("name: a, targets: ['builtin:echo'], {keys}"));
        let said = crate::support::check(&setup);
        assert!(said.contains(words), "{keys}: {said}");
    }
}

#[test]
fn what_a_plugin_makes_of_a_body_in_pieces_is_compressed_and_a_cut_stays_a_cut() {
    let pieces = |pieces: &'static [&'static str]| {
        Origin::scripted(move |connection, _| {
            while connection.request().is_some() {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
                            Transfer-Encoding: chunked\r\n\r\n";
                let body = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()));
                connection.send(format!("{head}{}0\r\n\r\n", body.collect::<String>()));
            }
        })
    };
    let through = |origin: &Origin| {
        let service = format!("name: a, targets: ['{}'], {ALL}", origin.url());
        let plugin = "type: response, body: stream, failureMode: closed";
        Setup::new().service(&service).plugin("it", crate::streaming::obeying(), plugin).start()
    };
    for coding in ["gzip", "br", "zstd"] {
        let fields = format!("Accept-Encoding: {coding}\r\n");
        let origin = pieces(&["one ", "two"]);
        let gateway = through(&origin);
        let answer = get_with(gateway.addr, "/", &fields);
        assert_eq!(answer.head.all("content-encoding"), [coding], "{}", answer.head);
        // However many pieces came at once, what the plugin made of them is what is coded.
        let body = plain(&answer);
        assert_eq!(body.replace("][", ""), "[one two]", "{coding}: {body}");
        // Cut off before anything went out it is an error, and later no end: never a whole body.
        let origin = pieces(&["one ", "cut!"]);
        let gateway = through(&origin);
        let mut client = Client::connect(gateway.addr);
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        let head = client.head();
        if head.start.starts_with("HTTP/1.1 200") {
            let framing = head.response_framing("GET").unwrap();
            assert!(
                client.body(framing, |_| {}).is_err(),
                "{coding}: it ended as if it were whole"
            );
        } else {
            assert!(head.start.starts_with("HTTP/1.1 50"), "{head}");
        }
    }
}
