//! Connections of HTTP/2: what a peer sends means the same however it is cut, what is answered are
//! whole frames, and a request that is taken is exactly one request of HTTP/1 when it is written as
//! one.

use std::rc::Rc;

use odin::http::h1::encode;
use odin::http::h1::head;
use odin::http::h2::connection::{Connection, Event, Options, Owner, Role};
use odin::http::h2::frame::{HEAD_BYTES, Head, kind};
use odin::http::h2::head::RequestLimits;
use odin::http::message::{Fields, Method, RequestHead};
use odin::io::buffer::Chunk;
use odin::route::path::{Rules, normalise};

use super::http1_head::{assert_one_head, check_fields};

struct Nobody;

impl Owner for Nobody {
    fn progressed(&self) {}
}

const OPTIONS: Options = Options {
    heads: RequestLimits { bytes_max: 4096, fields_max: 100, uri_bytes_max: 1024 },
    streams_max: 4,
    stream_window: 512 * 1024,
    connection_window: 1024 * 1024,
    requests_max: 100,
};

/// One input: the first byte says the role, the second how the rest is cut.
pub fn run(input: &[u8]) {
    let &[role, step, ref bytes @ ..] = input else {
        return;
    };
    let role = if role % 2 == 0 { Role::Server } else { Role::Client };
    let whole = drive(role, bytes, usize::MAX);
    let cut = drive(role, bytes, usize::from(step).max(1));
    assert_eq!(whole, cut);
}

/// What a connection makes of the bytes, and what it answers.
fn drive(role: Role, bytes: &[u8], step: usize) -> (Vec<String>, Vec<u8>) {
    let mut connection = Connection::new(role, OPTIONS, Rc::default());
    let (mut told, mut start, mut end) = (Vec::new(), 0, 0);
    'all: while end < bytes.len() {
        end = bytes.len().min(end.saturating_add(step));
        loop {
            match connection.receive(&bytes[start..end], 1) {
                Ok(None) => break,
                Ok(Some((used, event))) => {
                    start += used;
                    react(&mut connection, event, &mut told);
                }
                Err(failure) => {
                    told.push(format!("{failure:?}"));
                    break 'all;
                }
            }
        }
    }
    let output = connection.take_output(Vec::new());
    check_output(role, &output);
    (told, output)
}

fn react(connection: &mut Connection<Nobody>, event: Event<'_>, told: &mut Vec<String>) {
    // The preface is nothing in as many pieces as it comes in.
    if event != Event::Nothing {
        told.push(format!("{event:?}"));
    }
    match event {
        Event::Request { id, ends, .. } => {
            let mut request = RequestHead::default();
            std::mem::swap(&mut request, connection.request());
            downgrade(&request);
            connection.adopt(id, Nobody);
            // Some are answered at once, some later, some never.
            if ends {
                connection.send_head(id, &[0x88], false);
                connection.queue(id, Chunk::new(vec![b'x'; 40_000], 0..40_000));
                connection.finish(id, None);
            }
        }
        Event::Refused { id, .. } => connection.adopt(id, Nobody),
        Event::Response { .. } => check_fields(&connection.response().fields),
        Event::Trailers { id } => {
            check_fields(connection.trailers());
            connection.release(id, odin::http::h2::frame::Code::NoError);
        }
        Event::Data { id, bytes, ends } => {
            connection.used(id, bytes.len());
            if ends {
                connection.release(id, odin::http::h2::frame::Code::NoError);
            }
        }
        Event::Reset { id, .. } => connection.release(id, odin::http::h2::frame::Code::Cancel),
        Event::GoAway { .. } | Event::Nothing => {}
    }
}

/// A request goes on by HTTP/1 as one head that says the same.
fn downgrade(request: &RequestHead) {
    check_fields(&request.fields);
    let mut path = String::new();
    if request.path == "*" || normalise(&request.path, Rules::default(), &mut path).is_err() {
        return;
    }
    assert!(request.method != Method::Connect);
    let mut written = Vec::new();
    encode::request_head(request, &request.authority, &path, &Fields::new(), &mut written);
    assert_one_head(&written);
    let mut again = RequestHead::default();
    head::parse_request(&written, usize::MAX, 1000, &mut again).expect("it can be read");
    assert_eq!(again.method, request.method);
    assert_eq!((&again.path, &again.query), (&path, &request.query));
    assert_eq!(again.authority, request.authority);
    assert_eq!(again.body, request.body);
    assert!(super::http1_head::without_own_via(&again.fields).eq(request.fields.iter()));
}

fn check_output(role: Role, output: &[u8]) {
    let mut at = if role == Role::Client { 24 } else { 0 };
    while at < output.len() {
        let head = Head::read(&output[at..]).expect("a whole frame");
        assert!(head.kind <= kind::CONTINUATION && head.length <= 16 * 1024);
        at += HEAD_BYTES + head.length;
    }
    assert_eq!(at, output.len());
}
