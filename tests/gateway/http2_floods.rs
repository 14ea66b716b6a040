//! Clients of HTTP/2 that ask for more work or memory than they pay for: each is cut, what it holds
//! is bounded, and another client of the same worker is served meanwhile.

use std::time::Duration;

use odin::http::h2::frame::{flag, kind};

use crate::support::http2::{Http2, block_of, frame_of, get};
use crate::support::{Origin, Setup, wait_until};

const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A request without its end.
fn open(stream: u32) -> Vec<u8> {
    frame_of(kind::HEADERS, flag::END_HEADERS, stream, &block_of(&get("/")))
}

/// A request with its end.
fn whole(stream: u32) -> Vec<u8> {
    let flags = flag::END_HEADERS | flag::END_STREAM;
    frame_of(kind::HEADERS, flags, stream, &block_of(&get("/")))
}

/// So many streams, each with what this makes of it.
fn streams(count: u32, make: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|number| make(2 * number + 1)).collect()
}

/// Streams that the gateway resets for what their client does to them.
fn resets_made_by_the_gateway() -> Vec<(&'static str, Vec<u8>)> {
    let after = |begin: fn(u32) -> Vec<u8>, kind: u8, flags: u8, payload: &'static [u8]| {
        streams(600, move |id| [begin(id), frame_of(kind, flags, id, payload)].concat())
    };
    let upper = block_of(&[&get("/")[..], &[("X-A", "b")]].concat());
    vec![
        ("a window by nothing", after(open, kind::WINDOW_UPDATE, 0, &[0; 4])),
        ("a window too large", after(open, kind::WINDOW_UPDATE, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("DATA behind the end", after(whole, kind::DATA, 0, b"x")),
        ("a second head", after(open, kind::HEADERS, flag::END_HEADERS, b"\x82")),
        ("trailers with a pseudo-header", after(open, kind::HEADERS, 5, b"\x82")),
        ("PRIORITY of a wrong length", after(open, kind::PRIORITY, 0, &[0; 4])),
        ("a malformed head", streams(600, |id| frame_of(kind::HEADERS, 5, id, &upper))),
        ("too many at once", streams(800, open)),
    ]
}

/// Frames that cost their sender less than who reads them.
fn floods() -> Vec<(&'static str, Vec<u8>)> {
    let after =
        |begin: Vec<u8>, frame: Vec<u8>, count: usize| [begin, frame.repeat(count)].concat();
    let rapid = streams(600, |id| [whole(id), reset(id)].concat());
    let part = frame_of(kind::HEADERS, 0, 1, &block_of(&get("/")));
    let (none, one) = (Vec::new(), open(1));
    let windows: Vec<u8> = [0, 4, 0, 0, 0xff, 0xff].repeat(2730);
    // One entry, and all the rest of the frame are references to it.
    let large = [b"\x40\x01x\x7f\xa1\x1e".as_slice(), &[b'y'; 4000]].concat();
    let bomb = [&b"\x82\x86\x84\x41\x01a"[..], &large, &[0xbe; 12_000]].concat();
    let of_entries = [&b"\x82\x86\x84\x41\x01a"[..], &[0x82; 16_000]].concat();
    vec![
        ("rapid reset", rapid),
        ("PING", after(none.clone(), frame_of(kind::PING, 0, 0, &[0; 8]), 2000)),
        ("answers to no PING", after(none.clone(), frame_of(kind::PING, 1, 0, &[0; 8]), 2000)),
        ("SETTINGS", after(none.clone(), frame_of(kind::SETTINGS, 0, 0, b""), 2000)),
        ("answers to no SETTINGS", after(none.clone(), frame_of(kind::SETTINGS, 1, 0, b""), 2000)),
        ("windows in SETTINGS", after(streams(100, open), frame_of(4, 0, 0, &windows), 600)),
        ("PRIORITY", after(none.clone(), frame_of(kind::PRIORITY, 0, 1, &[0; 5]), 8000)),
        ("CONTINUATION", after(part.clone(), frame_of(kind::CONTINUATION, 0, 1, b""), 200)),
        ("CONTINUATION with fields", after(part, frame_of(9, 0, 1, &[0x82; 8000]), 20)),
        ("empty DATA", after(one.clone(), frame_of(kind::DATA, 0, 1, b""), 8000)),
        ("DATA of padding", after(one.clone(), frame_of(kind::DATA, 8, 1, &[1, 0]), 8000)),
        (
            "windows by one",
            after(one.clone(), frame_of(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), 8000),
        ),
        (
            "the window by one",
            after(one.clone(), frame_of(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), 8000),
        ),
        ("an unknown type", after(one.clone(), frame_of(0x42, 0xff, 1, b"?"), 8000)),
        ("GOAWAY", after(one.clone(), frame_of(kind::GOAWAY, 0, 0, &[0; 8]), 8000)),
        ("resets of what is reset", after([one.clone(), reset(1)].concat(), reset(1), 8000)),
        (
            "heads of what the gateway has reset",
            after([one, frame_of(kind::WINDOW_UPDATE, 0, 1, &[0; 4])].concat(), whole(1), 8000),
        ),
        ("a bomb of one entry", frame_of(kind::HEADERS, 5, 1, &bomb)),
        ("a bomb of small entries", frame_of(kind::HEADERS, 5, 1, &of_entries)),
    ]
}

fn reset(stream: u32) -> Vec<u8> {
    frame_of(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

#[test]
fn who_floods_is_cut_and_another_client_is_served_meanwhile() {
    let gateway = Setup::echo().workers(1).start();
    let mut other = Http2::connect(gateway.addr);
    let mut stream = 1;
    let mut cut = 0;
    for (name, flood) in floods().into_iter().chain(resets_made_by_the_gateway()) {
        let mut abuser = Http2::connect(gateway.addr);
        abuser.send(&flood);
        let answer = other.ask(stream, &get("/"));
        assert_eq!(answer.status(), 200, "{name}");
        stream += 2;
        abuser.until_closed();
        let code = abuser.goaways.last().map(|one| one.1);
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{name}: {:?}", abuser.goaways);
        cut += 1;
    }
    let told = gateway.metric("odin_rejected_total{reason=\"http2_abuse\"}") as u64;
    assert_eq!(told, cut, "metrics tell of each");
}

#[test]
fn floods_that_come_again_leave_no_memory_behind() {
    let gateway = Setup::echo().workers(1).start();
    let storm = || {
        for (_, flood) in floods().into_iter().chain(resets_made_by_the_gateway()) {
            let mut abuser = Http2::connect(gateway.addr);
            abuser.send(&flood);
            abuser.until_closed();
        }
    };
    storm();
    storm();
    let before = gateway.rss_kib();
    (0..4).for_each(|_| storm());
    let after = gateway.rss_kib();
    assert!(after < before + 8 * 1024, "{before} KiB before, {after} after");
    wait_until("no connection is left", || {
        gateway.metric("odin_connections_open{worker=\"0\"}") as u64 == 0
    });
}

#[test]
fn windows_of_nothing_hold_little_each_and_are_given_up_in_time() {
    const CONNECTIONS: usize = 8;
    const STREAMS: u32 = 100;
    let body = "x".repeat(1 << 20);
    let origin = Origin::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n{body}"));
    let gateway = Setup::to(&origin)
        .service("name: small, basePath: /small, targets: ['builtin:echo']")
        // An origin's queue is shorter than what comes at once: the kernel asks again in seconds.
        .server("timeouts: { body: 3s, connect: 20s }")
        .start();
    let mut other = Http2::connect(gateway.addr);
    assert_eq!(other.ask(1, &get("/small")).status(), 200);
    let before = gateway.rss_kib();
    let mut abusers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut abuser = Http2::connect(gateway.addr);
            abuser.takes_data = false;
            abuser.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
            abuser.send(&streams(STREAMS, whole));
            abuser
        })
        .collect();
    for abuser in &mut abusers {
        assert!(abuser.until(|one| one.head_flags.len() == STREAMS as usize));
    }
    assert_eq!(other.ask(3, &get("/small")).status(), 200);
    // A queue, a buffer of the origin's connection and the exchange itself.
    let held = gateway.rss_kib().saturating_sub(before) / (CONNECTIONS as u64 * u64::from(STREAMS));
    assert!(held < 160, "{held} KiB for each stream");
    for abuser in &mut abusers {
        abuser.set_patience(Duration::from_secs(20));
        let is_over = |one: &Http2| {
            one.streams.values().filter(|stream| stream.reset == Some(CANCEL)).count() == 100
        };
        assert!(abuser.until(is_over), "{:?}", abuser.streams.values().last());
    }
    assert_eq!(other.ask(5, &get("/small")).status(), 200);
    wait_until("nothing is asked of the origin any more", || {
        gateway.metric("odin_upstream_requests_active{service=\"all\"}") as u64 == 0
    });
}

#[test]
fn a_head_over_its_limit_is_answered_until_it_is_far_over() {
    let gateway = Setup::echo().limits("headBytesMax: 8192").start();
    let mut client = Http2::connect(gateway.addr);
    // 200 references to a field of 101 bytes and 32: three times the limit.
    let entry = [b"\x40\x01x\x64".as_slice(), &[b'y'; 100]].concat();
    let block = |count| [&block_of(&get("/"))[..], &entry, &vec![0xbe; count]].concat();
    client.frame(kind::HEADERS, 5, 1, &block(200));
    assert_eq!(client.until_over(1).status(), 431);
    // The table is right after it: the entry is known.
    client.frame(kind::HEADERS, 5, 3, &[&block_of(&get("/"))[..], b"\xbe"].concat());
    let answer = client.until_over(3);
    assert_eq!(answer.status(), 200);
    assert!(answer.text().contains(&"y".repeat(100)));
    client.frame(kind::HEADERS, 5, 5, &block(300));
    client.until_closed();
    assert_eq!(client.goaways.last().map(|one| one.1), Some(ENHANCE_YOUR_CALM));
}
