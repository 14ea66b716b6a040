//! A connection against the rules of RFC 9113, frame by frame.

use std::cell::Cell;

use super::*;
use crate::http::h2::frame::{Head, flag, kind, setting};
use crate::http::h2::hpack;
use crate::io::buffer::Chunk;
use crate::limits::{CONTINUATIONS_MAX, RESETS_BURST};

#[derive(Debug, Default)]
struct Owned(Cell<u32>);

impl Owner for Rc<Owned> {
    fn progressed(&self) {
        self.0.set(self.0.get() + 1);
    }
}

type Tested = Connection<Rc<Owned>>;

const OPTIONS: Options = Options {
    heads: RequestLimits { bytes_max: 16 * 1024, fields_max: 100, uri_bytes_max: 8192 },
    streams_max: 8,
    stream_window: crate::limits::STREAM_WINDOW_BYTES_MAX,
    connection_window: crate::limits::CONNECTION_WINDOW_BYTES,
    requests_max: 100,
};

fn connection(role: Role) -> Tested {
    Connection::new(role, OPTIONS, Rc::default())
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_head(payload.len(), kind, flags, stream, &mut out);
    out.extend_from_slice(payload);
    out
}

fn block(more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let request =
        [(":method", "POST"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];
    for (name, value) in request.iter().chain(more) {
        // As it is given, capitals and all.
        block.extend_from_slice(&[0, name.len() as u8]);
        block.extend_from_slice(name.as_bytes());
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

const END: u8 = flag::END_STREAM;
const WHOLE: u8 = flag::END_HEADERS;

fn request(stream: u32, flags: u8) -> Vec<u8> {
    frame(kind::HEADERS, flags, stream, &block(&[]))
}

fn preface() -> Vec<u8> {
    [PREFACE.as_slice(), &frame(kind::SETTINGS, 0, 0, b"")].concat()
}

/// What a connection makes of `bytes`, which have `step` bytes more each time.
fn feed(connection: &mut Tested, bytes: &[u8], step: usize) -> Result<Vec<String>, Failure> {
    let (mut told, mut start, mut end) = (Vec::new(), 0, 0);
    while end < bytes.len() {
        end = bytes.len().min(end + step);
        while let Some((used, event)) = connection.receive(&bytes[start..end], 1000)? {
            start += used;
            match event {
                Event::Nothing => {}
                Event::Request { id, .. } | Event::Refused { id, .. } => {
                    connection.adopt(id, Rc::default());
                    told.push(format!("{event:?}"));
                }
                _ => told.push(format!("{event:?}")),
            }
        }
    }
    assert_eq!(start, bytes.len(), "a frame is not whole");
    Ok(told)
}

/// A server that has seen the preface, and these frames.
fn server(frames: &[&[u8]]) -> (Tested, Result<Vec<String>, Failure>) {
    let mut connection = connection(Role::Server);
    feed(&mut connection, &preface(), usize::MAX).unwrap();
    connection.take_output(Vec::new());
    let outcome = feed(&mut connection, &frames.concat(), usize::MAX);
    (connection, outcome)
}

fn frames(bytes: &[u8]) -> Vec<(Head, Vec<u8>)> {
    let (mut at, mut found) = (0, Vec::new());
    while let Some(head) = Head::read(&bytes[at..]) {
        let start = at + frame::HEAD_BYTES;
        at = start + head.length;
        found.push((head, bytes[start..at].to_vec()));
    }
    assert_eq!(at, bytes.len());
    found
}

/// The streams that were reset, and why.
fn resets(connection: &mut Tested) -> Vec<(u32, Code)> {
    let output = connection.take_output(Vec::new());
    let resets = frames(&output).into_iter().filter(|(head, _)| head.kind == kind::RST_STREAM);
    let code = |payload: Vec<u8>| Code::of(u32::from_be_bytes(payload.try_into().unwrap()));
    resets.map(|(head, payload)| (head.stream, code(payload))).collect()
}

fn assert_fails(frames: &[&[u8]], code: Code, why: &str) {
    let (mut connection, outcome) = server(frames);
    assert_eq!(outcome.map_err(|failure| failure.code), Err(code), "{why}");
    let output = connection.take_output(Vec::new());
    assert!(self::frames(&output).iter().any(|(head, _)| head.kind == kind::GOAWAY), "{why}");
}

#[test]
fn the_cuts_of_the_stream_change_nothing() {
    let body = [b'd'; 300];
    let mut padded = vec![5];
    padded.extend_from_slice(b"hello");
    padded.extend_from_slice(&[0; 5]);
    let head = block(&[("x", "y")]);
    let (first, rest) = head.split_at(7);
    let script = [
        &preface()[..],
        &request(1, WHOLE),
        &frame(kind::DATA, 0, 1, &body),
        &frame(kind::PING, 0, 0, b"12345678"),
        &frame(kind::DATA, flag::PADDED | END, 1, &padded),
        &frame(kind::HEADERS, 0, 3, first),
        &frame(kind::CONTINUATION, 0, 3, &rest[..3]),
        &frame(kind::CONTINUATION, WHOLE, 3, &rest[3..]),
        &frame(kind::WINDOW_UPDATE, 0, 3, &100_u32.to_be_bytes()),
        &frame(0xcc, 0xff, 3, b"unknown"),
        &frame(kind::RST_STREAM, 0, 3, &8_u32.to_be_bytes()),
        &request(5, WHOLE | END),
        &frame(kind::GOAWAY, 0, 0, &[0; 12]),
    ]
    .concat();
    let mut whole = connection(Role::Server);
    let told = feed(&mut whole, &script, usize::MAX).unwrap();
    assert_eq!(told.len(), 7, "{told:#?}");
    let output = whole.take_output(Vec::new());
    for step in 1..60 {
        let mut cut = connection(Role::Server);
        let told_in_pieces = feed(&mut cut, &script, step).unwrap();
        assert_eq!(told_in_pieces, told, "{step}");
        assert_eq!(cut.take_output(Vec::new()), output, "{step}");
    }
}

#[test]
fn what_breaks_the_connection_does_so_with_its_code() {
    let open = request(1, WHOLE);
    let update = |more: u32| more.to_be_bytes();
    let reset = frame(kind::RST_STREAM, 0, 1, &update(8));
    let setting = |parameter: u16, value: u32| {
        let payload = [&parameter.to_be_bytes()[..], &value.to_be_bytes()].concat();
        frame(kind::SETTINGS, 0, 0, &payload)
    };
    let large = update(u32::MAX >> 1);
    for (sent, code, why) in [
        (vec![frame(kind::DATA, 0, 0, b"x")], Code::Protocol, "DATA of no stream"),
        (vec![frame(kind::DATA, 0, 1, b"x")], Code::Protocol, "DATA of an idle stream"),
        (vec![frame(kind::HEADERS, WHOLE, 0, b"")], Code::Protocol, "HEADERS of no stream"),
        (vec![request(2, WHOLE)], Code::Protocol, "an even stream"),
        (vec![request(5, WHOLE), request(3, WHOLE)], Code::Protocol, "a smaller stream"),
        (vec![open.clone(), reset, request(1, WHOLE | END)], Code::StreamClosed, "a closed one"),
        (vec![frame(kind::PRIORITY, 0, 0, &[0; 5])], Code::Protocol, "PRIORITY of no stream"),
        (vec![frame(kind::RST_STREAM, 0, 0, &[0; 4])], Code::Protocol, "RST of no stream"),
        (vec![frame(kind::RST_STREAM, 0, 1, &[0; 4])], Code::Protocol, "RST of an idle stream"),
        (vec![frame(kind::RST_STREAM, 0, 1, &[0; 3])], Code::FrameSize, "a short RST"),
        (vec![frame(kind::SETTINGS, 0, 1, b"")], Code::Protocol, "SETTINGS of a stream"),
        (vec![frame(kind::SETTINGS, 1, 0, &[0; 6])], Code::FrameSize, "a full ACK"),
        (vec![frame(kind::SETTINGS, 0, 0, &[0; 5])], Code::FrameSize, "short SETTINGS"),
        (vec![setting(setting::ENABLE_PUSH, 2)], Code::Protocol, "ENABLE_PUSH 2"),
        (vec![setting(setting::INITIAL_WINDOW_SIZE, 1 << 31)], Code::FlowControl, "a window"),
        (vec![setting(setting::MAX_FRAME_SIZE, 16383)], Code::Protocol, "small frames"),
        (vec![setting(setting::MAX_FRAME_SIZE, 1 << 24)], Code::Protocol, "large frames"),
        (vec![frame(kind::PUSH_PROMISE, WHOLE, 1, &[0; 9])], Code::Protocol, "PUSH_PROMISE"),
        (vec![frame(kind::PING, 0, 1, &[0; 8])], Code::Protocol, "PING of a stream"),
        (vec![frame(kind::PING, 0, 0, &[0; 7])], Code::FrameSize, "a short PING"),
        (vec![frame(kind::GOAWAY, 0, 1, &[0; 8])], Code::Protocol, "GOAWAY of a stream"),
        (vec![frame(kind::GOAWAY, 0, 0, &[0; 7])], Code::FrameSize, "a short GOAWAY"),
        (vec![frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4])], Code::Protocol, "an update by 0"),
        (vec![frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3])], Code::FrameSize, "a short update"),
        (vec![frame(kind::WINDOW_UPDATE, 0, 1, &large)], Code::Protocol, "of an idle stream"),
        (vec![frame(kind::WINDOW_UPDATE, 0, 0, &large)], Code::FlowControl, "too large"),
        (vec![frame(kind::CONTINUATION, WHOLE, 1, b"")], Code::Protocol, "of nothing"),
        (vec![request(1, 0), frame(kind::PING, 0, 0, &[0; 8])], Code::Protocol, "within a block"),
        (vec![request(1, 0), frame(0xcc, 0, 0, b"")], Code::Protocol, "unknown within a block"),
        (
            vec![request(1, 0), frame(kind::CONTINUATION, WHOLE, 3, b"")],
            Code::Protocol,
            "CONTINUATION of another stream",
        ),
        (vec![frame(kind::HEADERS, WHOLE, 1, &[0x80])], Code::Compression, "index 0"),
        (vec![open.clone(), frame(kind::DATA, 8, 1, &[9, 1])], Code::Protocol, "padding"),
        (vec![open.clone(), frame(kind::DATA, 8, 1, b"")], Code::FrameSize, "no padding length"),
        (vec![frame(kind::HEADERS, WHOLE | 8, 1, &[9, 1])], Code::Protocol, "padding of a head"),
    ] {
        let sent: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
        assert_fails(&sent, code, why);
    }
    let mut large = Vec::new();
    frame::write_head(PAYLOAD_MAX + 1, kind::DATA, 0, 1, &mut large);
    let (mut connection, _) = server(&[&open]);
    assert_eq!(connection.receive(&large, 0).unwrap_err().code, Code::FrameSize);
}

const PAYLOAD_MAX: usize = frame::PAYLOAD_BYTES_MAX;

#[test]
fn what_breaks_a_stream_resets_it_and_no_other() {
    let open = request(1, WHOLE);
    let data = |flags, bytes: &[u8]| frame(kind::DATA, flags, 1, bytes);
    let head = |more: &[(&str, &str)], flags| frame(kind::HEADERS, flags, 1, &block(more));
    let window = vec![b'd'; 16 * 1024];
    let itself = [&1_u32.to_be_bytes()[..], &[16]].concat();
    for (sent, code, why) in [
        (vec![request(1, WHOLE | END), data(0, b"x")], Code::StreamClosed, "DATA behind the end"),
        (vec![request(1, WHOLE | END), open.clone()], Code::StreamClosed, "HEADERS behind it"),
        (vec![open.clone(), open.clone()], Code::Protocol, "trailers that are no end"),
        (vec![open.clone(), request(1, WHOLE | END)], Code::Protocol, "pseudo-headers there"),
        (vec![head(&[("A", "1")], WHOLE)], Code::Protocol, "a capital"),
        (vec![head(&[("content-length", "2")], WHOLE), data(END, b"x")], Code::Protocol, "less"),
        (vec![head(&[("content-length", "2")], WHOLE), data(0, b"xyz")], Code::Protocol, "more"),
        (vec![head(&[("content-length", "1")], WHOLE | END)], Code::Protocol, "a length alone"),
        (
            vec![open.clone(), frame(kind::WINDOW_UPDATE, 0, 1, &[0; 4])],
            Code::Protocol,
            "an update by nothing",
        ),
        (
            vec![open.clone(), frame(kind::WINDOW_UPDATE, 0, 1, &(u32::MAX >> 1).to_be_bytes())],
            Code::FlowControl,
            "a window too large",
        ),
        (vec![open.clone(), frame(kind::PRIORITY, 0, 1, &[0; 4])], Code::FrameSize, "short"),
        (vec![open.clone(), frame(kind::PRIORITY, 0, 1, &itself)], Code::Protocol, "on itself"),
        (
            vec![frame(kind::HEADERS, WHOLE | 0x20, 1, &[&itself[..], &block(&[])].concat())],
            Code::Protocol,
            "a head that depends on itself",
        ),
        (
            vec![
                open.clone(),
                data(0, &window),
                data(0, &window),
                data(0, &window),
                data(0, &window),
            ],
            Code::FlowControl,
            "more than its window",
        ),
    ] {
        let other = request(3, WHOLE | END);
        let sent: Vec<&[u8]> = sent.iter().map(Vec::as_slice).chain([other.as_slice()]).collect();
        let (mut connection, outcome) = server(&sent);
        let told = outcome.unwrap_or_else(|failure| panic!("{why}: {failure:?}"));
        assert!(told.iter().any(|event| event.contains("Request { id: 3")), "{why}: {told:?}");
        assert_eq!(resets(&mut connection), [(1, code)], "{why}");
    }
}

#[test]
fn the_table_of_compression_is_kept_right_by_what_is_not_taken() {
    // An entry that the malformed head of stream 1 adds is used by stream 3.
    let mut bad = block(&[("A", "1")]);
    bad.extend_from_slice(&[0x40, 1, b'n', 1, b'v']);
    let mut good = block(&[]);
    good.push(0x80 | 62);
    let (mut connection, outcome) = server(&[
        &frame(kind::HEADERS, WHOLE, 1, &bad),
        &frame(kind::HEADERS, WHOLE | END, 3, &good),
    ]);
    assert_eq!(outcome.unwrap().len(), 1);
    assert_eq!(connection.request().fields.get("n"), Some(&b"v"[..]));
}

#[test]
fn streams_over_the_limit_are_refused_and_the_next_ones_are_not() {
    let many: Vec<Vec<u8>> = (0..9).map(|n| request(2 * n + 1, WHOLE | END)).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    let (mut connection, outcome) = server(&many);
    assert_eq!(outcome.unwrap().len(), 8);
    assert_eq!(resets(&mut connection), [(17, Code::RefusedStream)]);
    connection.send_head(1, &block(&[]), true);
    connection.release(1, Code::NoError);
    let told = feed(&mut connection, &request(19, WHOLE | END), usize::MAX).unwrap();
    assert_eq!(told.len(), 1);
}

/// Three requests that are answered with so many pieces of 16 KiB, and the frames that come.
fn answered(pieces: [usize; 3], settings: &[&[u8]]) -> (Tested, Vec<(u32, u8, usize, u8)>) {
    let requests = [1, 3, 5].map(|id| request(id, WHOLE | END)).concat();
    let (mut connection, outcome) = server(&[settings, &[requests.as_slice()]].concat());
    outcome.unwrap();
    connection.take_output(Vec::new());
    for (id, pieces) in [1, 3, 5].into_iter().zip(pieces) {
        connection.send_head(id, &[0x88], false);
        for _ in 0..pieces {
            connection.queue(id, Chunk::new(vec![b'x'; PAYLOAD_MAX], 0..PAYLOAD_MAX));
        }
        connection.queue(id, Chunk::new(b"abc".to_vec(), 1..3));
        connection.finish(id, (id == 1).then(|| vec![0x88]));
    }
    let mut order = Vec::new();
    drain(&mut connection, &mut order);
    (connection, order)
}

fn drain(connection: &mut Tested, order: &mut Vec<(u32, u8, usize, u8)>) {
    while connection.has_output() {
        let output = connection.take_output(Vec::new());
        connection.drive();
        let sent = frames(&output).into_iter().filter(|(head, _)| head.kind <= kind::HEADERS);
        order.extend(sent.map(|(head, _)| (head.stream, head.kind, head.length, head.flags)));
    }
}

fn grow(connection: &mut Tested, stream: u32, more: u32) {
    let update = frame(kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    feed(connection, &update, usize::MAX).unwrap();
}

#[test]
fn data_is_sent_as_windows_let_it() {
    let (mut connection, mut order) = answered([4, 1, 0], &[]);
    let queued = |connection: &Tested| [1, 3, 5].map(|id| connection.queued(id));
    // Both windows have 65535 bytes, all of which the first one takes.
    assert_eq!(queued(&connection), [3, PAYLOAD_MAX + 2, 2], "{order:?}");
    grow(&mut connection, 0, 100);
    drain(&mut connection, &mut order);
    assert_eq!(queued(&connection), [3, PAYLOAD_MAX + 2 - 100, 2]);
    grow(&mut connection, 0, 1_000_000);
    drain(&mut connection, &mut order);
    assert_eq!(queued(&connection), [3, 0, 0], "{order:?}");
    grow(&mut connection, 1, 2);
    grow(&mut connection, 1, 2);
    drain(&mut connection, &mut order);
    assert!([1, 3, 5].iter().all(|id| connection.is_sent(*id)), "{order:?}");
    // The end is said with the last data, or by the trailers.
    assert!(order.contains(&(5, kind::DATA, 2, END)), "{order:?}");
    assert_eq!(order.last(), Some(&(1, kind::HEADERS, 1, END | WHOLE)), "{order:?}");
}

#[test]
fn streams_take_turns() {
    let large = 10_000_000_u32.to_be_bytes();
    let window = [&setting::INITIAL_WINDOW_SIZE.to_be_bytes()[..], &large].concat();
    let settings = [frame(kind::SETTINGS, 0, 0, &window), frame(kind::WINDOW_UPDATE, 0, 0, &large)];
    let (_, order) = answered([8, 8, 8], &[&settings[0], &settings[1]]);
    let full = order.iter().filter(|one| one.1 == kind::DATA && one.2 == PAYLOAD_MAX);
    let turns: Vec<u32> = full.map(|one| one.0).collect();
    assert_eq!(turns[..10], [1, 1, 1, 1, 1, 3, 5, 1, 3, 5], "{turns:?}");
    assert_eq!(turns.len(), 24);
}

#[test]
fn windows_open_only_as_what_came_is_used() {
    let (mut connection, outcome) = server(&[&request(1, WHOLE)]);
    outcome.unwrap();
    let piece = vec![b'd'; 16 * 1024];
    for _ in 0..3 {
        feed(&mut connection, &frame(kind::DATA, 0, 1, &piece), usize::MAX).unwrap();
    }
    assert!(!connection.has_output());
    connection.used(1, 40_000);
    let output = connection.take_output(Vec::new());
    let updates = frames(&output);
    assert_eq!(updates.len(), 1);
    assert_eq!((updates[0].0.kind, updates[0].0.stream), (kind::WINDOW_UPDATE, 1));
    assert_eq!(updates[0].1, 40_000_u32.to_be_bytes());
}

#[test]
fn who_resets_or_floods_without_end_is_cut() {
    let mut flood = Vec::new();
    for n in 0..RESETS_BURST + 2 {
        flood.extend_from_slice(&request(2 * n + 1, WHOLE));
        flood.extend_from_slice(&frame(kind::RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8]));
    }
    let mut connection = connection(Role::Server);
    feed(&mut connection, &preface(), usize::MAX).unwrap();
    let mut start = 0;
    let code = loop {
        match connection.receive(&flood[start..], 1000) {
            Ok(Some((used, event))) => {
                start += used;
                if let Event::Reset { id, .. } = event {
                    connection.release(id, Code::NoError);
                }
            }
            Ok(None) => panic!("the flood came to its end"),
            Err(failure) => break failure.code,
        }
    };
    assert_eq!(code, Code::EnhanceYourCalm);
    for flood in [
        frame(kind::PING, 0, 0, &[0; 8]).repeat(600),
        frame(kind::SETTINGS, 0, 0, b"").repeat(600),
        frame(kind::PRIORITY, 0, 1, &[0; 5]).repeat(6000),
        [request(1, WHOLE), frame(kind::DATA, 0, 1, b"").repeat(6000)].concat(),
        [
            request(1, 0),
            frame(kind::CONTINUATION, 0, 1, b"").repeat(CONTINUATIONS_MAX as usize + 1),
        ]
        .concat(),
    ] {
        assert_fails(&[&flood], Code::EnhanceYourCalm, "a flood");
    }
}

#[test]
fn a_head_that_grows_by_the_table_is_answered_and_cut_where_it_is_a_bomb() {
    let naming_it = |times: usize| {
        let mut block = block(&[]);
        block.extend_from_slice(&[0x40, 1, b'b', 0x7f, 0x81, 0x1e]);
        block.extend_from_slice(&[b'v'; 127 + 0xf01]);
        block.extend(std::iter::repeat_n(0x80 | 62, times));
        frame(kind::HEADERS, WHOLE | END, 1, &block)
    };
    // One entry of 4 KB, then named 10 times: three times as large as it may be.
    let (mut connection, outcome) = server(&[&naming_it(10)]);
    assert_eq!(outcome.unwrap(), ["Refused { id: 1, error: HeadTooLarge }"]);
    assert!(connection.request().fields.len() < 10);
    // 40 MB for 10 KB.
    let (_, outcome) = server(&[&naming_it(10_000)]);
    assert_eq!(outcome.unwrap_err().code, Code::EnhanceYourCalm);
}

#[test]
fn of_several_windows_in_one_settings_the_last_counts_and_each_must_fit() {
    let window = |value: u32| [&[0, 4][..], &value.to_be_bytes()].concat();
    let settings = |values: &[u32]| {
        let payload: Vec<u8> = values.iter().flat_map(|value| window(*value)).collect();
        frame(kind::SETTINGS, 0, 0, &payload)
    };
    let (connection, outcome) = server(&[&settings(&[0x7fff_ffff, 0, 10]), &request(1, WHOLE)]);
    outcome.unwrap();
    assert_eq!(connection.peer.window, 10);
    let (_, outcome) = server(&[&settings(&[0x8000_0000, 10])]);
    assert_eq!(outcome.unwrap_err().code, Code::FlowControl);
}

#[test]
fn a_going_connection_finishes_what_it_has_and_takes_nothing_more() {
    let (mut connection, outcome) = server(&[&request(1, WHOLE | END)]);
    outcome.unwrap();
    connection.go_away(false);
    let told = feed(&mut connection, &request(3, WHOLE | END), usize::MAX).unwrap();
    assert_eq!(told.len(), 1, "what was under way is taken");
    connection.go_away(true);
    let told = feed(&mut connection, &request(5, WHOLE | END), usize::MAX).unwrap();
    assert!(told.is_empty());
    let output = connection.take_output(Vec::new());
    let last: Vec<_> = frames(&output)
        .into_iter()
        .filter(|(head, _)| head.kind == kind::GOAWAY)
        .map(|(_, payload)| payload[..4].to_vec())
        .collect();
    assert_eq!(last, [vec![0x7f, 0xff, 0xff, 0xff], vec![0, 0, 0, 3]]);
}

#[test]
fn a_client_and_a_server_understand_each_other() {
    let (mut client, mut server) = (connection(Role::Client), connection(Role::Server));
    let pass = |from: &mut Tested, to: &mut Tested| {
        let bytes = from.take_output(Vec::new());
        feed(to, &bytes, 100).unwrap()
    };
    assert!(client.may_open(), "it need not wait for the server's settings");
    pass(&mut client, &mut server);
    pass(&mut server, &mut client);
    let id = client.open(&block(&[]), false, false, Rc::default()).unwrap();
    client.queue(id, Chunk::new(b"body".to_vec(), 0..4));
    client.finish(id, Some(Vec::new()));
    let told = pass(&mut client, &mut server);
    assert_eq!(told.len(), 3, "{told:?}");
    let mut answer = Vec::new();
    hpack::write_indexed(8, &mut answer);
    server.send_head(id, &answer, false);
    server.queue(id, Chunk::new(b"answer".to_vec(), 0..6));
    server.finish(id, None);
    let told = pass(&mut server, &mut client);
    assert_eq!(told[0], "Response { id: 1, ends: false }");
    assert!(told[1].ends_with("ends: true }"), "{told:?}");
    assert_eq!(client.response().status, 200);
    // What comes for a server's own stream, or a response twice, is refused.
    server.go_away(true);
    let told = pass(&mut server, &mut client);
    assert_eq!(told, ["GoAway { last: 1, code: NoError }"]);
    assert!(!client.is_open());
}

#[test]
fn a_peer_with_a_small_table_is_told_that_none_is_used() {
    let settings = [&setting::HEADER_TABLE_SIZE.to_be_bytes()[..], &[0; 4]].concat();
    let (mut connection, outcome) =
        server(&[&frame(kind::SETTINGS, 0, 0, &settings), &request(1, WHOLE | END)]);
    outcome.unwrap();
    connection.take_output(Vec::new());
    connection.send_head(1, &[0x88], true);
    let output = connection.take_output(Vec::new());
    assert_eq!(frames(&output)[0].1, [0x20, 0x88]);
}
