//! Bodies: byte-identical both ways, whatever their size, and never collected in memory.

use crate::support::wire::Framing;
use crate::support::{Client, Gate, Gateway, Origin, Setup, get, wait_until, wasm};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const MIB: usize = 1 << 20;
const BIG: usize = 100 * MIB;
/// What the process may hold while 100 MiB pass.
const RSS_MAX_KIB: u64 = 64 * 1024;

/// Bytes without a period that a shifted or repeated piece could hide in.
fn piece() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(MIB);
    while bytes.len() < MIB {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// The hash of `piece` a hundred times, each time with its number in front.
fn hash_of_big(piece: &[u8]) -> String {
    let mut hash = Sha256::new();
    for number in 0..BIG / MIB {
        hash.update(numbered(piece, number));
    }
    hex(hash)
}

fn numbered(piece: &[u8], number: usize) -> Vec<u8> {
    let mut piece = piece.to_vec();
    piece[..8].copy_from_slice(&(number as u64).to_le_bytes());
    piece
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn assert_small(gateway: &Gateway) {
    let peak = gateway.peak_rss_kib();
    assert!(peak < RSS_MAX_KIB, "the gateway's resident memory reached {peak} KiB");
}

/// An origin that answers with the hash of what it is sent.
fn hashing_origin() -> Origin {
    Origin::scripted(|connection, _| {
        while let Some(head) = connection.head() {
            let mut hash = Sha256::new();
            if !connection.body(head.framing, |bytes| hash.update(bytes)) {
                return;
            }
            connection.answer(&hex(hash));
        }
    })
}

#[test]
fn an_upload_of_100_mib_is_byte_identical_and_never_collected() {
    let origin = hashing_origin();
    let gateway = Setup::to(&origin).start();
    let piece = piece();
    let expected = hash_of_big(&piece);
    for chunked in [false, true] {
        let mut client = Client::connect(gateway.addr);
        let framing = match chunked {
            true => "Transfer-Encoding: chunked".to_owned(),
            false => format!("Content-Length: {BIG}"),
        };
        client.send(format!("PUT /big HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        for number in 0..BIG / MIB {
            let piece = numbered(&piece, number);
            if chunked {
                client.send(format!("{MIB:x}\r\n"));
            }
            client.send(piece);
            if chunked {
                client.send("\r\n");
            }
        }
        if chunked {
            client.send("0\r\n\r\n");
        }
        assert_eq!(client.response().text(), expected, "chunked: {chunked}");
    }
    assert_small(&gateway);
}

#[test]
fn a_download_of_100_mib_is_byte_identical_and_never_collected() {
    let piece = Arc::new(piece());
    let sent = piece.clone();
    let origin = Origin::scripted(move |connection, _| {
        let Some(request) = connection.request() else {
            return;
        };
        let chunked = request.target == "/chunked";
        let framing = match request.target.as_str() {
            "/chunked" => "Transfer-Encoding: chunked\r\n".to_owned(),
            "/length" => format!("Content-Length: {BIG}\r\n"),
            _ => String::new(),
        };
        connection.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n"));
        for number in 0..BIG / MIB {
            if chunked {
                connection.send(format!("{MIB:x}\r\n"));
            }
            connection.send(numbered(&sent, number));
            if chunked {
                connection.send("\r\n");
            }
        }
        if chunked {
            connection.send("0\r\n\r\n");
        }
    });
    let gateway = Setup::to(&origin).start();
    let expected = hash_of_big(&piece);
    for target in ["/length", "/chunked", "/eof"] {
        let mut client = Client::connect(gateway.addr);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let framing = client.head().response_framing("GET").unwrap();
        let mut hash = Sha256::new();
        client.body(framing, |bytes| hash.update(bytes)).unwrap();
        assert_eq!(hex(hash), expected, "{target}");
    }
    assert_small(&gateway);
}

#[test]
fn bodies_of_every_size_around_the_buffers_pass_both_ways() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let body = request.body;
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
            connection.send(body);
        }
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    let bytes = piece();
    let (buffer, large) = (18 * 1024, 64 * 1024);
    for around in [1, 100, 4096, buffer, 2 * buffer, large, buffer + large, 1 << 18] {
        for size in around - 1..=around + 2 {
            let body = &bytes[..size];
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
            client.send(body);
            assert!(client.response().body == body, "{size} bytes by length");
            client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            if size > 0 {
                client.send(format!("{size:x}\r\n"));
                client.send(body);
                client.send("\r\n");
            }
            client.send("0\r\n\r\n");
            assert!(client.response().body == body, "{size} bytes in a chunk");
        }
    }
}

#[test]
fn a_body_of_ten_thousand_tiny_chunks_arrives_whole() {
    let origin = hashing_origin();
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    let mut wire = String::from("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut hash = Sha256::new();
    for number in 0..10_000 {
        let byte = char::from(b'a' + u8::try_from(number % 26).unwrap());
        write!(wire, "1\r\n{byte}\r\n").unwrap();
        hash.update([byte as u8]);
    }
    client.send(wire + "0\r\n\r\n");
    assert_eq!(client.response().text(), hex(hash));
}

#[test]
fn pieces_of_a_response_reach_the_client_as_they_come() {
    // Server-sent events and long polling live from this: no piece may wait for the next.
    let seen = [Gate::default(), Gate::default()];
    let told = seen.clone();
    let origin = Origin::scripted(move |connection, _| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        connection.send("5\r\nfirst\r\n");
        told[0].wait();
        connection.send("6\r\nsecond\r\n");
        told[1].wait();
        connection.send("0\r\n\r\n");
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let framing = client.head().response_framing("GET").unwrap();
    let mut body = Vec::new();
    client
        .body(framing, |bytes| {
            body.extend_from_slice(bytes);
            if body == b"first" {
                seen[0].open();
            }
            if body == b"firstsecond" {
                seen[1].open();
            }
        })
        .unwrap();
    assert_eq!(body, b"firstsecond");
}

#[test]
fn pieces_of_a_request_reach_the_origin_as_they_come() {
    let seen = Gate::default();
    let told = seen.clone();
    let origin = Origin::scripted(move |connection, _| {
        let Some(head) = connection.head() else {
            return;
        };
        let mut body = Vec::new();
        connection.body(head.framing, |bytes| {
            body.extend_from_slice(bytes);
            told.open();
        });
        connection.answer(&String::from_utf8(body).unwrap());
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    seen.wait();
    client.send("6\r\nsecond\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "firstsecond");
}

/// Waits until `count` has not moved for a while, and returns it: nobody tells a test that a
/// sender is blocked.
fn settled(count: &AtomicUsize) -> usize {
    let mut last = (count.load(Ordering::SeqCst), std::time::Instant::now());
    wait_until("the sender is blocked", || {
        let now = count.load(Ordering::SeqCst);
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        now > 0 && last.1.elapsed() > std::time::Duration::from_millis(300)
    });
    last.0
}

/// What the kernel may hold in the two hops' socket buffers, and nothing like [`BIG`].
const IN_FLIGHT_MAX: usize = 40 * MIB;

#[test]
fn a_client_that_does_not_read_stops_the_origin() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let origin = Origin::scripted(move |connection, _| {
        connection.request();
        connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n"));
        let piece = vec![b'x'; MIB / 4];
        for _ in 0..4 * BIG / MIB {
            connection.send(&piece);
            count.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let held = settled(&sent);
    assert!(held < IN_FLIGHT_MAX, "{held} bytes were taken from the origin for nobody");
    assert_eq!(client.response().body.len(), BIG);
    assert_small(&gateway);
}

#[test]
fn an_origin_that_does_not_read_stops_the_client() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::scripted(move |connection, _| {
        let Some(head) = connection.head() else {
            return;
        };
        held.wait();
        let mut size = 0;
        connection.body(head.framing, |bytes| size += bytes.len());
        connection.answer(&size.to_string());
    });
    let gateway = Setup::to(&origin).start();
    let client = Arc::new(Mutex::new(Client::connect(gateway.addr)));
    let sent = Arc::new(AtomicUsize::new(0));
    let (sender, count) = (client.clone(), sent.clone());
    let upload = std::thread::spawn(move || {
        let mut client = sender.lock().unwrap();
        client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {BIG}\r\n\r\n"));
        let piece = vec![b'x'; MIB / 4];
        for _ in 0..4 * BIG / MIB {
            assert!(client.try_send(&piece));
            count.fetch_add(piece.len(), Ordering::SeqCst);
        }
        client.response().text()
    });
    let taken = settled(&sent);
    gate.open();
    assert!(taken < IN_FLIGHT_MAX, "{taken} bytes were taken from the client for nobody");
    assert_eq!(upload.join().unwrap(), BIG.to_string());
    assert_small(&gateway);
}

#[test]
fn the_framing_of_a_body_is_kept_where_the_client_can_read_it() {
    let origin = Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Setup::to(&origin).start();
    assert_eq!(crate::support::get(gateway.addr, "/").framing, Framing::Length(2));
    let origin =
        Origin::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let gateway = Setup::to(&origin).start();
    assert_eq!(crate::support::get(gateway.addr, "/").framing, Framing::Chunked);
}

#[test]
fn a_body_of_any_size_and_any_bytes_passes_a_plugin_that_reads_it_unchanged() {
    let origin = hashing_origin();
    let pass = wasm::answering(r#"{"modified":false,"continue":true}"#);
    let gateway = Setup::to(&origin)
        .plugin("reader", pass, "type: request, body: true, maxMemoryPages: 256")
        .start();
    let mut client = Client::connect(gateway.addr);
    let (small, large) = (18 * 1024, 64 * 1024);
    for size in [0, 1, small - 1, small, small + 1, large - 1, large, large + 64, large + 65, MIB] {
        // Nothing to escape, escapes of two and of six characters, and what is not UTF-8.
        for pattern in [&b"a"[..], b"\"", b"\\\n", b"\x01", b"\xff"] {
            let body: Vec<u8> = pattern.iter().copied().cycle().take(size).collect();
            client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
            client.send(&body);
            let answer = client.response();
            assert_eq!(answer.status, 200, "{size} of {pattern:?}: {}", answer.text());
            assert_eq!(answer.text(), hex(Sha256::new_with_prefix(&body)), "{size} of {pattern:?}");
        }
    }
}

#[test]
fn answers_in_chunks_of_every_size_around_the_buffers_arrive_whole() {
    let (small, large) = (18 * 1024, 64 * 1024);
    let sizes = [large, large + 64, large - 32, 1, 3 * large + 7, small, small - 1, large, MIB];
    let mut wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let mut expected = Vec::new();
    for (size, letter) in sizes.into_iter().zip(b'a'..) {
        let start = expected.len();
        expected.resize(start + size, letter);
        wire.extend_from_slice(format!("{size:x}\r\n").as_bytes());
        wire.extend_from_slice(&expected[start..]);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    let origin = Origin::raw(wire);
    let gateway = Setup::to(&origin).start();
    for _ in 0..20 {
        assert!(get(gateway.addr, "/").body == expected, "another body has arrived");
    }
}
