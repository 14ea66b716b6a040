//! Frames of a client, one by one: what ends its connection, what its stream, and what nothing.

use odin::http::h2::frame::kind::{
    CONTINUATION, DATA, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};
use odin::http::h2::frame::{PREFACE, flag};

use crate::support::Setup;
use crate::support::http2::{Http2, block_of, frame_of, get};

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const CLOSED: u32 = 5;
const SIZE: u32 = 6;
const COMPRESSION: u32 = 9;
const CALM: u32 = 11;
/// A head is whole.
const WHOLE: u8 = flag::END_HEADERS;
/// It is all of the request.
const ALL: u8 = flag::END_HEADERS | flag::END_STREAM;

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// GOAWAY with this code, and the connection closes.
    Connection(u32),
    /// Stream 1 is reset with this code, and another is served.
    Stream(u32),
    /// Stream 1 is answered, if it was asked, and another is served.
    Nothing,
}

/// What stream 1 is when the frames come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Idle,
    Open,
    /// Its request has ended, its response has not.
    Half,
    Closed,
    Reset,
}

fn head() -> Vec<u8> {
    block_of(&get("/"))
}

fn settings(name: u16, value: u32) -> Vec<u8> {
    frame_of(SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn reach(client: &mut Http2, state: State) {
    match state {
        State::Idle => {}
        State::Open => client.request(1, &get("/"), false),
        State::Half => {
            client.send(&settings(4, 0));
            client.request(1, &get("/"), true);
            assert!(
                client.until(|client| client
                    .streams
                    .get(&1)
                    .is_some_and(|one| !one.heads.is_empty()))
            );
        }
        State::Closed => assert_eq!(client.ask(1, &get("/")).status(), 200),
        State::Reset => {
            client.request(1, &get("/"), false);
            client.frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
        }
    }
}

fn check(addr: std::net::SocketAddr, state: State, what: &str, frames: &[u8], end: End) {
    let mut client = Http2::connect(addr);
    reach(&mut client, state);
    client.send(frames);
    if let End::Connection(code) = end {
        client.until_closed();
        let codes: Vec<u32> = client.goaways.iter().map(|one| one.1).collect();
        assert_eq!(codes, [code], "{what} on {state:?}");
        return;
    }
    // What has been answered by now has been understood.
    client.frame(PING, 0, 0, b"fencepos");
    let fence = |client: &Http2| client.control.iter().any(|(head, _)| head.kind == PING);
    assert!(client.until(fence), "{what} on {state:?}: {:?}", client.goaways);
    if let End::Stream(code) = end {
        let reset = client.streams.get(&1).and_then(|stream| stream.reset);
        assert_eq!(reset, Some(code), "{what} on {state:?}");
    }
    assert_eq!(client.ask(101, &get("/")).status(), 200, "{what} on {state:?}");
    assert!(client.goaways.is_empty(), "{what} on {state:?}");
}

fn check_all(cases: Vec<(State, &str, Vec<u8>, End)>) {
    let gateway = Setup::echo().start();
    for (state, what, frames, end) in cases {
        check(gateway.addr, state, what, &frames, end);
    }
}

#[test]
fn a_frame_of_the_wrong_stream_ends_the_connection() {
    use {End::Connection as Ends, State::Idle};
    let promise = [&[0, 0, 0, 2], &head()[..]].concat();
    check_all(vec![
        (Idle, "DATA of 0", frame_of(DATA, 0, 0, b"x"), Ends(PROTOCOL)),
        (Idle, "HEADERS of 0", frame_of(HEADERS, ALL, 0, &head()), Ends(PROTOCOL)),
        (Idle, "PRIORITY of 0", frame_of(PRIORITY, 0, 0, &[0, 0, 0, 3, 1]), Ends(PROTOCOL)),
        (Idle, "RST_STREAM of 0", frame_of(RST_STREAM, 0, 0, &[0; 4]), Ends(PROTOCOL)),
        (Idle, "CONTINUATION of 0", frame_of(CONTINUATION, WHOLE, 0, b""), Ends(PROTOCOL)),
        (Idle, "SETTINGS of 1", frame_of(SETTINGS, 0, 1, b""), Ends(PROTOCOL)),
        (Idle, "PING of 1", frame_of(PING, 0, 1, &[0; 8]), Ends(PROTOCOL)),
        (Idle, "GOAWAY of 1", frame_of(GOAWAY, 0, 1, &[0; 8]), Ends(PROTOCOL)),
        (Idle, "PUSH_PROMISE", frame_of(PUSH_PROMISE, WHOLE, 1, &promise), Ends(PROTOCOL)),
        (Idle, "an even stream", frame_of(HEADERS, ALL, 2, &head()), Ends(PROTOCOL)),
        (Idle, "DATA of an even one", frame_of(DATA, 0, 2, b"x"), Ends(PROTOCOL)),
        (Idle, "unknown of 0", frame_of(77, 255, 0, b"abc"), End::Nothing),
        (Idle, "unknown of 1", frame_of(77, 255, 1, b"abc"), End::Nothing),
        (Idle, "PRIORITY_UPDATE", frame_of(16, 0, 0, b"\0\0\0\x01u=1"), End::Nothing),
    ]);
}

#[test]
fn each_frame_finds_its_stream_in_a_state_that_it_fits_or_not() {
    use {End::Connection as Ends, End::Nothing, End::Stream as Resets};
    let window = || frame_of(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 16]);
    let reset = || frame_of(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    let data = || frame_of(DATA, 0, 1, b"x");
    let more = || frame_of(HEADERS, ALL, 1, &head());
    let mut cases = vec![
        (State::Idle, "DATA", data(), Ends(PROTOCOL)),
        (State::Idle, "RST_STREAM", reset(), Ends(PROTOCOL)),
        (State::Idle, "WINDOW_UPDATE", window(), Ends(PROTOCOL)),
        (State::Open, "DATA", data(), Nothing),
        (State::Open, "a head with pseudo-headers again", more(), Resets(PROTOCOL)),
        (
            State::Open,
            "trailers that do not end it",
            frame_of(HEADERS, WHOLE, 1, b""),
            Resets(PROTOCOL),
        ),
        (State::Half, "DATA", data(), Resets(CLOSED)),
        (State::Half, "HEADERS", more(), Resets(CLOSED)),
        (State::Closed, "DATA", data(), Resets(CLOSED)),
        (State::Closed, "HEADERS", more(), Ends(CLOSED)),
        (State::Reset, "DATA", data(), Resets(CLOSED)),
        (State::Reset, "HEADERS", more(), Ends(CLOSED)),
    ];
    for state in [State::Open, State::Half, State::Closed, State::Reset] {
        cases.push((state, "RST_STREAM", reset(), Nothing));
        cases.push((state, "WINDOW_UPDATE", window(), Nothing));
    }
    for state in [State::Idle, State::Open, State::Half, State::Closed, State::Reset] {
        cases.push((state, "PRIORITY", frame_of(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]), Nothing));
        cases.push((state, "CONTINUATION", frame_of(CONTINUATION, WHOLE, 1, b""), Ends(PROTOCOL)));
    }
    check_all(cases);
}

#[test]
fn a_frame_has_the_length_that_its_type_has() {
    use {End::Connection as Ends, End::Stream as Resets};
    let gateway = Setup::echo().start();
    let bytes = [0; 256];
    for length in [0, 1, 3, 4, 5, 6, 7, 8, 9, 12, 255] {
        let of = |kind: u8, stream: u32| frame_of(kind, 0, stream, &bytes[..length]);
        for (state, name, kind, stream, fits) in [
            (State::Idle, "PING", PING, 0, length == 8),
            (State::Open, "RST_STREAM", RST_STREAM, 1, length == 4),
            (State::Idle, "WINDOW_UPDATE", WINDOW_UPDATE, 0, length == 4),
            (State::Open, "WINDOW_UPDATE", WINDOW_UPDATE, 1, length == 4),
            (State::Idle, "GOAWAY", GOAWAY, 0, length >= 8),
            (State::Idle, "SETTINGS", SETTINGS, 0, length % 6 == 0),
        ] {
            if !fits {
                let what = format!("{name} of {length} bytes");
                check(gateway.addr, state, &what, &of(kind, stream), Ends(SIZE));
            }
        }
        if length != 5 {
            let what = format!("PRIORITY of {length} bytes");
            check(gateway.addr, State::Idle, &what, &of(PRIORITY, 1), Ends(SIZE));
            check(gateway.addr, State::Open, &what, &of(PRIORITY, 1), Resets(SIZE));
        }
    }
    let long = vec![0; 16_385];
    for (state, what, frame) in [
        (State::Open, "DATA over the largest frame", frame_of(DATA, 0, 1, &long)),
        (State::Idle, "HEADERS over it", frame_of(HEADERS, ALL, 1, &long)),
        (State::Idle, "what is unknown over it", frame_of(77, 0, 0, &long)),
        (State::Idle, "an acknowledgement with a payload", frame_of(SETTINGS, 1, 0, &[0; 6])),
    ] {
        check(gateway.addr, state, what, &frame, Ends(SIZE));
    }
}

#[test]
fn padding_reserved_bits_and_unknown_flags_mean_nothing_unless_they_do_not_fit() {
    use State::{Idle, Open};
    use {End::Connection as Ends, End::Nothing, End::Stream as Resets};
    let padded = |padding: u8, rest: &[u8]| [&[padding], rest].concat();
    let depends = |on: u8, rest: &[u8]| [&[0, 0, 0, on, 9], rest].concat();
    let with = |more: u8| ALL | more;
    check_all(vec![
        (Open, "padded DATA", frame_of(DATA, 9, 1, &padded(2, b"ab\0\0")), Nothing),
        (Open, "DATA that is padding alone", frame_of(DATA, 9, 1, &padded(2, b"\0\0")), Nothing),
        (Open, "padding of all DATA", frame_of(DATA, 9, 1, &padded(3, b"\0\0")), Ends(PROTOCOL)),
        (Open, "padding without a length", frame_of(DATA, 9, 1, b""), Ends(SIZE)),
        (
            Idle,
            "a padded head",
            frame_of(HEADERS, with(8), 1, &padded(1, &[head(), vec![0]].concat())),
            Nothing,
        ),
        (
            Idle,
            "padding over a head",
            frame_of(HEADERS, with(8), 1, &padded(255, &head())),
            Ends(PROTOCOL),
        ),
        (
            Idle,
            "a head with a priority",
            frame_of(HEADERS, with(32), 1, &depends(3, &head())),
            Nothing,
        ),
        (Idle, "a priority that is cut", frame_of(HEADERS, with(32), 1, &[0; 3]), Ends(SIZE)),
        (
            Idle,
            "a stream before itself",
            frame_of(HEADERS, with(32), 1, &depends(1, &head())),
            Resets(PROTOCOL),
        ),
        (Idle, "flags that nobody knows", frame_of(HEADERS, with(0xd2), 1, &head()), Nothing),
        (Idle, "PING with all flags but one", frame_of(PING, 0xfe, 0, &[7; 8]), Nothing),
        (Idle, "a stream's reserved bit", frame_of(HEADERS, ALL, 1 | 1 << 31, &head()), Nothing),
        (Idle, "a window's reserved bit", frame_of(WINDOW_UPDATE, 0, 0, &[0x80, 0, 0, 1]), Nothing),
    ]);
}

#[test]
fn settings_and_windows_have_their_ranges() {
    use State::{Idle, Open};
    use {End::Connection as Ends, End::Nothing, End::Stream as Resets};
    let window = |stream: u32, more: u32| frame_of(WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    let mut cases = vec![
        (Idle, "a window by nothing", window(0, 0), Ends(PROTOCOL)),
        (Open, "a stream's window by nothing", window(1, 0), Resets(PROTOCOL)),
        (Idle, "a window over all", window(0, 0x7fff_ffff), Ends(FLOW_CONTROL)),
        (Open, "a stream's window over all", window(1, 0x7fff_ffff), Resets(FLOW_CONTROL)),
        (Idle, "the largest window", window(0, 0x7fff_ffff - 65_535), Nothing),
        (
            Open,
            "SETTINGS that make a window too large",
            [window(1, 0x7fff_ffff - 65_535), settings(4, 65_536)].concat(),
            Ends(FLOW_CONTROL),
        ),
    ];
    for (name, value, end) in [
        (1, 0, Nothing),
        (1, u32::MAX, Nothing),
        (2, 0, Nothing),
        (2, 1, Nothing),
        (2, 2, Ends(PROTOCOL)),
        (3, 0, Nothing),
        (3, u32::MAX, Nothing),
        (4, 0x7fff_ffff, Nothing),
        (4, 1 << 31, Ends(FLOW_CONTROL)),
        (5, 16_383, Ends(PROTOCOL)),
        (5, 16_384, Nothing),
        (5, 0xff_ffff, Nothing),
        (5, 1 << 24, Ends(PROTOCOL)),
        (6, 0, Nothing),
        (9, 1, Nothing),
        (9, 2, Ends(PROTOCOL)),
        (0, 7, Nothing),
        (0x0a0a, u32::MAX, Nothing),
    ] {
        cases.push((Idle, "a setting", settings(name, value), end));
    }
    check_all(cases);
}

#[test]
fn a_field_block_is_one_and_its_compression_keeps_its_rules() {
    use State::Idle;
    use {End::Connection as Ends, End::Nothing};
    let whole = head();
    let (first, rest) = whole.split_at(5);
    let open = || frame_of(HEADERS, 1, 1, first);
    let mut cases = vec![
        (
            Idle,
            "in three",
            [open(), frame_of(CONTINUATION, 0, 1, b""), frame_of(CONTINUATION, 4, 1, rest)]
                .concat(),
            Nothing,
        ),
        (
            Idle,
            "of another stream",
            [open(), frame_of(CONTINUATION, 4, 3, rest)].concat(),
            Ends(PROTOCOL),
        ),
        (
            Idle,
            "with a PING within",
            [open(), frame_of(PING, 0, 0, &[0; 8])].concat(),
            Ends(PROTOCOL),
        ),
        (
            Idle,
            "with an unknown frame within",
            [open(), frame_of(77, 0, 1, b"")].concat(),
            Ends(PROTOCOL),
        ),
        (
            Idle,
            "with its reset within",
            [open(), frame_of(RST_STREAM, 0, 1, &[0; 4])].concat(),
            Ends(PROTOCOL),
        ),
        (
            Idle,
            "that never ends",
            [open(), frame_of(CONTINUATION, 0, 1, b"").repeat(100)].concat(),
            Ends(CALM),
        ),
    ];
    let literal = b"\x00\x01a";
    for (what, before, behind, end) in [
        ("index 0", &b""[..], &b"\x80"[..], Ends(COMPRESSION)),
        ("an index of no table", b"", b"\xbe", Ends(COMPRESSION)),
        ("a name's index of no table", b"", b"\x7e\x01a", Ends(COMPRESSION)),
        ("an index that is too large", b"", b"\xff\xff\xff\xff\xff\xff\x7f", Ends(COMPRESSION)),
        ("a table of nothing", b"\x20", b"", Nothing),
        ("the largest table", b"\x3f\xe1\x1f", b"", Nothing),
        ("a larger one", b"\x3f\xe2\x1f", b"", Ends(COMPRESSION)),
        ("a table's size behind a field", b"", b"\x20", Ends(COMPRESSION)),
        ("a literal that is cut", b"", b"\x00\x05ab", Ends(COMPRESSION)),
        ("a literal without a value", b"", literal, Ends(COMPRESSION)),
        ("Huffman's end of a string", b"", b"\x00\x01a\x84\xff\xff\xff\xff", Ends(COMPRESSION)),
        ("eight bits of padding", b"", b"\x00\x01a\x82\x1f\xff", Ends(COMPRESSION)),
        ("padding of zeros", b"", b"\x00\x01a\x81\x18", Ends(COMPRESSION)),
        ("right padding", b"", b"\x00\x01a\x81\x1f", Nothing),
        ("a field that is never indexed", b"", b"\x10\x01a\x01b", Nothing),
        ("a field that is added and used", b"", b"\x40\x01a\x01b\xbe", Nothing),
    ] {
        let block = [before, &whole, behind].concat();
        cases.push((Idle, what, frame_of(HEADERS, ALL, 1, &block), end));
    }
    check_all(cases);
}

#[test]
fn the_table_stays_right_over_a_stream_that_is_malformed() {
    let gateway = Setup::echo().start();
    let mut client = Http2::connect(gateway.addr);
    let bad = [head(), b"\x40\x05x-dyn\x02v1\x00\x03BAD\x01x".to_vec()].concat();
    client.frame(HEADERS, ALL, 1, &bad);
    assert_eq!(client.until_over(1).reset, Some(PROTOCOL));
    client.frame(HEADERS, ALL, 3, &[head(), b"\xbe".to_vec()].concat());
    let echo: serde_json::Value = serde_json::from_str(&client.until_over(3).text()).unwrap();
    assert_eq!(echo["headers"]["x-dyn"][0], "v1");
    // What does not fit the table empties it.
    let large = "v".repeat(5000);
    let mut block = head();
    block.extend_from_slice(&[
        0x40,
        1,
        b'x',
        127,
        (5000 - 127) as u8 & 127 | 128,
        ((5000 - 127) >> 7) as u8,
    ]);
    block.extend_from_slice(large.as_bytes());
    client.frame(HEADERS, ALL, 5, &block);
    assert_eq!(client.until_over(5).status(), 200);
    client.frame(HEADERS, ALL, 7, &[head(), b"\xbe".to_vec()].concat());
    client.until_closed();
    assert_eq!(client.goaways.last().map(|one| one.1), Some(COMPRESSION));
}

#[test]
fn a_connection_begins_with_its_preface_and_settings() {
    let gateway = Setup::echo().start();
    for (what, first) in [
        ("HEADERS", frame_of(HEADERS, ALL, 1, &head())),
        ("PING", frame_of(PING, 0, 0, &[0; 8])),
        ("an acknowledgement", frame_of(SETTINGS, 1, 0, b"")),
        ("WINDOW_UPDATE", frame_of(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("what is unknown", frame_of(77, 0, 0, b"")),
    ] {
        let mut client = Http2::bare(gateway.addr);
        client.send(&[PREFACE.as_slice(), &first].concat());
        client.until_closed();
        assert_eq!(client.goaways.last().map(|one| one.1), Some(PROTOCOL), "{what}");
    }
}

#[test]
fn a_client_that_goes_away_is_served_to_its_end_and_closed_then() {
    let gateway = Setup::echo().start();
    let mut client = Http2::connect(gateway.addr);
    client.request(1, &get("/"), false);
    client.frame(GOAWAY, 0, 0, &[0; 8]);
    client.data(1, b"x", true);
    assert_eq!(client.until_over(1).status(), 200);
    client.until_closed();
    let mut idle = Http2::connect(gateway.addr);
    idle.frame(GOAWAY, 0, 0, &[0; 8]);
    idle.until_closed();
}

#[test]
fn a_window_that_settings_make_negative_is_filled_first() {
    let gateway = Setup::echo().start();
    let mut client = Http2::connect(gateway.addr);
    client.takes_data = false;
    client.send(&settings(4, 1));
    client.request(1, &get("/"), true);
    let has = |bytes: usize| {
        move |client: &Http2| client.streams.get(&1).is_some_and(|one| one.body.len() == bytes)
    };
    assert!(client.until(has(1)));
    client.send(&settings(4, 0));
    client.frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
    client.frame(PING, 0, 0, b"fencepos");
    assert!(client.until(|client| client.control.iter().any(|(head, _)| head.kind == PING)));
    assert!(has(1)(&client), "the window was zero");
    client.frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
    assert!(client.until(has(2)));
}
