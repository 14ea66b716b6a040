//! Bodies that pass plugins piece by piece: what is passed is on the wire before more is read, what
//! is held back is bounded, and every way in which an exchange can end ends it for its plugins.

use std::sync::mpsc;
use std::time::Duration;

pub(crate) use self::chunks::obeying;
use crate::filters::built;
use crate::support::http2::{self, Http2};
use crate::support::{Client, Gateway, Origin, Setup, get, post, wait_until, wasm};

mod chunks;
mod examples;

const EVENTS: usize = 20;
const EVENT_STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// An origin that sends an event when it is told that the one before has come, with the sender that
/// tells it.
fn telling() -> (Origin, mpsc::Sender<()>) {
    let (told, waits) = mpsc::channel();
    let waits = std::sync::Mutex::new(waits);
    let origin = Origin::scripted(move |connection, _| {
        if connection.request().is_none() {
            return;
        }
        connection.send(EVENT_STREAM);
        for number in 0..EVENTS {
            connection.send(chunk(format!("data: event {number}\n\n")));
            waits.lock().unwrap().recv().unwrap();
        }
        connection.send("0\r\n\r\n");
    });
    (origin, told)
}

/// Reads the stream of [`telling`], and has each next event sent when one has come whole.
fn hear(gateway: &Gateway, told: &mpsc::Sender<()>) -> String {
    hear_with(gateway, told, |_| {})
}

/// The same; of each event that has come, `at` is told before the next one is sent.
fn hear_with(gateway: &Gateway, told: &mpsc::Sender<()>, at: impl Fn(usize)) -> String {
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head();
    assert_eq!(head.all("transfer-encoding"), ["chunked"], "{head}");
    let (mut body, mut heard) = (Vec::new(), 0);
    let ended = client.body(head.response_framing("GET").unwrap(), |piece| {
        body.extend_from_slice(piece);
        let count = body.windows(2).filter(|two| two == b"\n\n").count();
        for number in heard..count {
            at(number);
            told.send(()).unwrap();
        }
        heard = count;
    });
    ended.unwrap();
    String::from_utf8(body).unwrap()
}

fn filter(setup: Setup, name: &str, config: &str, keys: &str) -> Setup {
    let keys = format!("config: '{config}', timeout: 2s{keys}");
    setup.plugin(name, built("filter-rust"), &keys)
}

fn through(origin: &Origin, config: &str) -> Gateway {
    filter(Setup::to(origin).log_level("trace"), "it", config, "").start()
}

/// An origin that answers with what it is sent, as it comes, in chunks.
fn echoing() -> Origin {
    Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            connection.send([head.as_bytes(), &chunk(&request.body), b"0\r\n\r\n"].concat());
        }
    })
}

fn chunked(path: &str, pieces: &[&str], trailers: &str) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let pieces: String =
        pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect();
    format!("{head}{pieces}0\r\n{trailers}\r\n")
}

#[test]
fn events_pass_a_filter_one_by_one() {
    let (origin, told) = telling();
    let gateway = through(&origin, "upper");
    let body = hear(&gateway, &told);
    let all: String = (0..EVENTS).map(|number| format!("DATA: EVENT {number}\n\n")).collect();
    assert_eq!(body, all);
}

#[test]
fn events_pass_a_filter_one_by_one_over_http2() {
    let (origin, told) = telling();
    let gateway = through(&origin, "upper");
    let mut client = Http2::connect(gateway.addr);
    client.request(1, &http2::get("/"), true);
    for number in 0..EVENTS {
        let event = format!("DATA: EVENT {number}\n\n");
        assert!(
            client.until(|it| it.streams.get(&1).is_some_and(|one| one.text().contains(&event))),
            "{event}"
        );
        told.send(()).unwrap();
    }
    assert_eq!(client.until_over(1).status(), 200);
}

#[test]
fn a_length_that_a_plugin_may_change_is_not_promised() {
    let origin = Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let gateway = through(&origin, "upper");
    let response = get(gateway.addr, "/");
    assert_eq!(response.text(), "HELLO");
    assert_eq!(response.head.all("content-length").len(), 0);
    assert_eq!(response.head.all("transfer-encoding"), ["chunked"]);
    assert_eq!(post(gateway.addr, "/", "to you").status, 200);
    let asked = &origin.requests()[1];
    assert_eq!((asked.text(), asked.head.all("content-length").len()), ("TO YOU".into(), 0));
    // Of what has no body the framing is as it was, but for a length that may be wrong.
    let head = Client::connect(gateway.addr).ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status, head.head.all("content-length").len()), (200, 0));
    for (status, rest) in [("204 No Content", ""), ("304 Not Modified", "Content-Length: 5\r\n")] {
        let origin = Origin::raw(format!("HTTP/1.1 {status}\r\n{rest}\r\n"));
        let gateway = through(&origin, "upper");
        let mut client = Client::connect(gateway.addr);
        for _ in 0..2 {
            let response = client.get("/");
            assert_eq!(
                (&response.status.to_string()[..], response.text()),
                (&status[..3], "".into())
            );
            assert_eq!(response.head.all("transfer-encoding").len(), 0);
        }
    }
}

#[test]
fn pieces_gather_while_a_filter_pauses() {
    let origin = echoing();
    let gateway = through(&origin, "gather 8");
    let (pieces, end) = (["abc", "def", "ghi", "j"], "");
    let response = Client::connect(gateway.addr).ask(chunked("/", &pieces, end));
    assert_eq!(response.text(), "abcdefghij");
    assert_eq!(origin.only_request().text(), "abcdefghij");
}

#[test]
fn what_a_filter_gathers_has_a_bound() {
    let big = "x".repeat(50_000);
    let origin = Origin::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n{big}"));
    let limited = |setup: Setup| setup.limits("pluginBodyBytesMax: 20000");
    let gateway = filter(limited(Setup::to(&origin)), "it", "gather 40000", "").start();
    let response = post(gateway.addr, "/", &big);
    assert_eq!(response.status, 413, "{}", response.text());
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // Nothing of it was passed: either the head is taken back, or the response is cut.
    match client.try_response() {
        Ok(response) => assert_eq!(response.status, 502),
        Err(_cut) => {}
    }
}

#[test]
fn a_filter_goes_on_with_what_it_held_when_its_call_is_answered() {
    let origin = echoing();
    let auth = Origin::scripted(|connection, _| {
        while connection.request().is_some() {
            connection.answer("yes");
        }
    });
    let setup = Setup::to(&origin)
        .service(&format!("name: auth, basePath: /auth, targets: ['{}']", auth.url()));
    let gateway = filter(setup, "it", "hold auth", "").start();
    assert_eq!(post(gateway.addr, "/", "a body").text(), "allowed: a body");
    let no = Origin::scripted(|connection, _| {
        while connection.request().is_some() {
            connection.answer("no");
        }
    });
    let setup = Setup::to(&origin)
        .service(&format!("name: auth, basePath: /auth, targets: ['{}']", no.url()));
    let gateway = filter(setup, "it", "hold auth", "").start();
    assert_eq!(post(gateway.addr, "/", "a body").status, 403);
}

#[test]
fn what_neither_goes_on_nor_answers_has_failed_in_time() {
    let origin = echoing();
    // Its call leads to an origin that is silent for longer than it has time.
    let silent = Origin::scripted(|connection, _| while connection.request().is_some() {});
    let setup = Setup::to(&origin)
        .service(&format!("name: auth, basePath: /auth, targets: ['{}']", silent.url()));
    let keys = "config: 'hold auth', timeout: 300ms";
    let gateway = setup.plugin("it", built("filter-rust"), keys).start();
    let response = post(gateway.addr, "/", "a body");
    assert_eq!(response.status, 503, "{}", response.text());
    gateway.wait_log("it holds a body back");
}

#[test]
fn an_answer_in_a_body_is_sent_or_the_response_is_cut() {
    let origin = echoing();
    let gateway = through(&origin, "refuse-at evil");
    let response = post(gateway.addr, "/", "an evil body");
    assert_eq!((response.status, response.text()), (422, "refused".into()));
    assert_eq!(response.head.all("x-refused"), ["1"]);
    // Of a response that is under way nothing can be answered any more.
    let (sent, goes_on) = mpsc::channel();
    let goes_on = std::sync::Mutex::new(goes_on);
    let origin = Origin::scripted(move |connection, _| {
        if connection.request().is_some() {
            connection.send([EVENT_STREAM.as_bytes(), &chunk("good")].concat());
            goes_on.lock().unwrap().recv().unwrap();
            connection.send(chunk("evil"));
            connection.some();
        }
    });
    let gateway = through(&origin, "refuse-at evil");
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head();
    let mut body = Vec::new();
    let cut = client.body(head.response_framing("GET").unwrap(), |piece| {
        body.extend_from_slice(piece);
        sent.send(()).unwrap();
    });
    assert!(cut.is_err(), "{body:?}");
    assert_eq!(body, b"good");
    origin.wait_all_closed();
}

#[test]
fn a_trap_in_a_body_ends_its_exchange_by_the_failure_mode() {
    let origin = echoing();
    let gateway = through(&origin, "trap-at evil");
    let response = post(gateway.addr, "/", "an evil body");
    assert_eq!(response.status, 503, "{}", response.text());
    assert_eq!(post(gateway.addr, "/", "a good body").text(), "a good body");
    let open = filter(Setup::to(&origin), "it", "trap-at evil", ", failureMode: open").start();
    let pieces = ["good ", "evil ", "and more"];
    let response = Client::connect(open.addr).ask(chunked("/", &pieces, ""));
    assert_eq!(response.text(), "good evil and more");
}

#[test]
fn trailers_pass_the_filters_of_their_message() {
    let origin = Origin::scripted(|connection, _| {
        while connection.request().is_some() {
            connection.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
                 X-Counted: none\r\nX-Other: 1\r\n\r\n",
            );
        }
    });
    let setup = Setup::new().service(&format!(
        "name: a, basePath: /, targets: ['{}'], requestTrailers: [x-sum, x-gone], \
         responseTrailers: [x-counted]",
        origin.url()
    ));
    let gateway = filter(setup, "it", "upper", "").start();
    let sent = chunked("/", &["hello"], "X-Sum: 1\r\nX-Gone: 2\r\nX-Not-Named: 3\r\n");
    let response = Client::connect(gateway.addr).ask(sent);
    assert_eq!(response.text(), "ABC");
    let names = |trailers: &[(String, Vec<u8>)]| -> Vec<String> {
        let line = |(name, value): &(String, Vec<u8>)| {
            format!("{}={}", name.to_lowercase(), String::from_utf8_lossy(value))
        };
        trailers.iter().map(line).collect()
    };
    assert_eq!(names(&origin.only_request().trailers), ["x-sum=1/5"]);
    assert_eq!(names(&response.trailers), ["x-counted=8"]);
}

#[test]
fn large_bodies_pass_in_little_memory() {
    const MIB: usize = 1024 * 1024;
    let origin = Origin::scripted(|connection, _| {
        while let Some(head) = connection.head() {
            let mut length = 0;
            connection.body(head.framing, |piece| length += piece.len());
            assert_eq!(length, 64 * MIB);
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
            let piece = vec![b'y'; MIB];
            (0..64).for_each(|_| {
                connection.send(&piece);
            });
        }
    });
    let gateway = through(&origin, "upper");
    assert_eq!(get_length(&gateway, 64 * MIB), 64 * MIB);
    let peak = gateway.peak_rss_kib();
    assert!(peak < 220 * 1024, "{peak} KiB");
}

/// Sends a body of this length and counts the bytes of the answer's.
fn get_length(gateway: &Gateway, length: usize) -> usize {
    let mut client = Client::connect(gateway.addr);
    client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    let piece = vec![b'x'; 1024 * 1024];
    (0..length / piece.len()).for_each(|_| client.send(&piece));
    let head = client.head();
    let mut count = 0;
    let framing = head.response_framing("PUT").unwrap();
    let ended = client.body(framing, |piece| {
        assert!(piece.iter().all(|&byte| byte == b'Y'));
        count += piece.len();
    });
    ended.unwrap();
    count
}

#[test]
fn a_coded_body_is_given_plain_as_it_comes() {
    use std::io::Write as _;
    let (told, waits) = mpsc::channel();
    let waits = std::sync::Mutex::new(waits);
    let origin = Origin::scripted(move |connection, _| {
        if connection.request().is_none() {
            return;
        }
        let head = EVENT_STREAM.replace("\r\n\r\n", "\r\nContent-Encoding: gzip\r\n\r\n");
        connection.send(head);
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for number in 0..EVENTS {
            coder.write_all(format!("data: event {number}\n\n").as_bytes()).unwrap();
            coder.flush().unwrap();
            connection.send(chunk(std::mem::take(coder.get_mut())));
            waits.lock().unwrap().recv().unwrap();
        }
        connection.send([&chunk(coder.finish().unwrap())[..], b"0\r\n\r\n"].concat());
    });
    let gateway = through(&origin, "upper");
    let body = hear(&gateway, &told);
    let all: String = (0..EVENTS).map(|number| format!("DATA: EVENT {number}\n\n")).collect();
    assert_eq!(body, all);
}

#[test]
fn a_client_that_takes_nothing_stops_the_origin() {
    let (counted, counts) = mpsc::channel();
    let origin = Origin::scripted(move |connection, _| {
        if connection.request().is_none() {
            return;
        }
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let piece = chunk(vec![b'z'; 64 * 1024]);
        for count in 0..2000 {
            let _ = counted.send(count);
            if !connection.send(&piece) {
                return;
            }
        }
    });
    let gateway = through(&origin, "upper");
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let _head = client.head();
    // It goes on until what lies between is full, and then no further.
    let mut last = 0;
    while let Ok(count) = counts.recv_timeout(Duration::from_secs(1)) {
        last = count;
    }
    assert!(last < 1000, "{last} pieces of 64 KiB");
    assert!(gateway.rss_kib() < 200 * 1024);
    client.reset();
    origin.wait_all_closed();
}

#[test]
fn who_leaves_in_the_middle_ends_the_context_once() {
    let origin = Origin::scripted(|connection, _| {
        while connection.request().is_some() {
            connection.send([EVENT_STREAM.as_bytes(), &chunk("data: 1\n\n")].concat());
            connection.some();
        }
    });
    let gateway = through(&origin, "upper");
    let exchanges = 30;
    for number in 0..exchanges {
        let mut client = Client::connect(gateway.addr);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let _head = client.head();
        if number % 2 == 0 { client.reset() } else { drop(client) }
    }
    wait_until("all are over", || {
        gateway.log().lines().filter(|line| line.contains("logged / ")).count() == exchanges
    });
    origin.wait_all_closed();
}

#[test]
fn a_reload_leaves_streams_to_what_they_began_with() {
    let (origin, told) = telling();
    let gateway = through(&origin, "upper");
    let body = hear_with(&gateway, &told, |number| {
        if number == 3 {
            gateway.rewrite(&gateway.config().replace("'upper'", "'none at all'"));
            assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
        }
    });
    assert!(body.ends_with("DATA: EVENT 19\n\n"), "{body}");
    gateway.wait_log("logged / 200");
}

#[test]
fn a_hundred_streams_pass_one_instance_side_by_side() {
    const STREAMS: usize = 100;
    let all_are_open = std::sync::Arc::new(std::sync::Barrier::new(STREAMS));
    let origin = Origin::scripted(move |connection, _| {
        let Some(request) = connection.request() else { return };
        connection.send(EVENT_STREAM);
        all_are_open.wait();
        for number in 0..10 {
            connection.send(chunk(format!("data: {} {number}\n\n", request.target)));
        }
        connection.send("0\r\n\r\n");
    });
    let gateway = filter(Setup::to(&origin), "it", "upper", "")
        .limits("upstreamConnectionsMax: 1000")
        .start();
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..STREAMS)
            .map(|number| {
                let addr = gateway.addr;
                scope.spawn(move || (number, get(addr, &format!("/s{number}")).text()))
            })
            .collect();
        for asked in asked {
            let (number, body) = asked.join().unwrap();
            let all: String = (0..10).map(|it| format!("DATA: /S{number} {it}\n\n")).collect();
            assert_eq!(body, all);
        }
    });
}

#[test]
fn a_chain_mixes_plugins_that_take_bodies_whole_and_in_pieces() {
    let origin = echoing();
    let json = wasm::replacing_body_by_input;
    for (first, second) in [(1, 2), (2, 1)] {
        let setup = filter(Setup::to(&origin), "pieces", "upper", &format!(", priority: {first}"));
        let keys = format!("priority: {second}, type: request, body: whole");
        let gateway = setup.plugin("whole", json(), &keys).start();
        let response = post(gateway.addr, "/", "a body");
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(origin.requests().last().unwrap().text().contains("A BODY"));
    }
}
