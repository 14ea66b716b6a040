//! Whole requests: a worker, its client and its origin, all on one thread, over loopback sockets.
//!
//! One request at a time, so that the same things happen in the same order in every run. Client and
//! origin are tasks of the worker's runtime whose work is not counted; what the runtime itself does
//! to wake them is.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use odin::control::sockets::Sockets;
use odin::io::driver::{self, Driver};
use odin::plugin::Runtime;
use odin::worker::mailbox::{Mail, Outbox, mailbox};
use odin::worker::{self, Worker};

use crate::callgrind::{self, Uncounted};
use crate::messages::{REQUEST, RESPONSE_HEAD, json};
use crate::{setting, still};

/// Requests until buffers, tables and the pool of upstream connections have their size.
const WARM_UP: usize = 50;
const COUNTED: usize = 200;
/// By how much the clock moves with each request, in nanoseconds: what sweeps every 20 ms does so
/// every 200 requests.
const REQUEST_TIME: u64 = 100_000;

/// The length that [`RESPONSE_HEAD`] announces.
const RESPONSE_BODY_BYTES: usize = 128;

/// One kind of request.
pub struct Scenario {
    name: &'static str,
    plugins: String,
    request: Vec<u8>,
    status: &'static [u8],
    connects_anew: bool,
}

/// All of them.
pub fn all() -> Vec<Scenario> {
    let scenario = |name, plugins: String| Scenario {
        name,
        plugins,
        request: REQUEST.to_vec(),
        status: b"HTTP/1.1 200 ",
        connects_anew: false,
    };
    let rust = |count, body| setting::header_plugins("rust", count, body);
    let elsewhere = String::from_utf8_lossy(REQUEST).replace("/api/users", "/elsewhere");
    vec![
        scenario("plain", String::new()),
        scenario("header-plugin", rust(1, false)),
        scenario("header-plugins-3", rust(3, false)),
        Scenario { request: post(&json(4096)), ..scenario("body-plugin-4k", rust(1, true)) },
        Scenario {
            request: elsewhere.into_bytes(),
            status: b"HTTP/1.1 404 ",
            ..scenario("not-found", String::new())
        },
        Scenario { connects_anew: true, ..scenario("new-connection", String::new()) },
    ]
}

/// Sends the requests of a scenario through a worker and counts the later ones.
pub fn run(runtime: &Arc<Runtime>, scenario: Scenario) {
    still::let_run(true);
    let origin = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    origin.set_nonblocking(true).expect("a socket can be told not to block");
    let target = format!("http://{}", origin.local_addr().expect("it is bound"));
    let config = setting::parse(&scenario.plugins, &target);
    let published = Arc::new(ArcSwap::from_pointee(setting::compile(runtime, &config)));
    let mut sockets = Sockets::open(&config, 1, Vec::new()).expect("loopback has a port");
    sockets.listen().expect("a bound socket can listen");
    let address: SocketAddr = sockets.bound[0].parse().expect("it is an address");
    let (outbox, letterbox) = mailbox().expect("a socket pair");
    let listen = sockets.workers.into_iter().next().expect("one worker was asked for");
    outbox.send(Mail::Listen { sockets: listen, done: Box::new(|()| {}) });
    driver::block_on(Driver::Epoll, async move {
        let inbox = letterbox.open().expect("the runtime takes it");
        monoio::spawn(Uncounted::new(serve_origin(origin)));
        let worker = Worker::new(0, published);
        let client = move |_| {
            monoio::spawn(Uncounted::new(send_requests(scenario, address, outbox)));
        };
        worker::run(worker, inbox, client).await;
    })
    .expect("epoll works everywhere");
}

async fn send_requests(scenario: Scenario, address: SocketAddr, outbox: Outbox) {
    still::let_run(false);
    let mut connection = connect(address).await;
    for number in 0..WARM_UP + COUNTED {
        if number == WARM_UP {
            callgrind::begin();
        }
        if scenario.connects_anew {
            connection = connect(address).await;
        }
        connection = ask(connection, &scenario).await;
        still::advance(REQUEST_TIME);
    }
    callgrind::end(&format!("request/{} {COUNTED}", scenario.name));
    still::let_run(true);
    drop(connection);
    outbox.send(Mail::Drain {
        handover: None,
        holds_alone: true,
        timeout: std::time::Duration::from_secs(60),
    });
}

/// A POST with a body.
fn post(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /api/users HTTP/1.1\r\nHost: gateway.example\r\nUser-Agent: service/1.0\r\n\
         Accept: application/json\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_addr(address).await.expect("the worker listens");
    stream.set_nodelay(true).expect("TCP has it");
    stream
}

async fn ask(mut stream: TcpStream, scenario: &Scenario) -> TcpStream {
    let (sent, _) = stream.write_all(scenario.request.clone()).await;
    sent.expect("the worker reads");
    let mut answer = Vec::new();
    while !is_whole(&answer) {
        let (read, piece) = stream.read(vec![0; 16 * 1024]).await;
        let count = read.expect("the worker answers");
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..count]);
    }
    let text = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with(scenario.status), "{}: {text}", scenario.name);
    stream
}

/// Whether a message with a Content-Length, or without a body, has come whole.
fn is_whole(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
    });
    message.len() >= head.len() + 4 + length.unwrap_or(0)
}

/// Answers every request of every connection.
async fn serve_origin(listener: std::net::TcpListener) {
    let listener = TcpListener::from_std(listener).expect("the runtime takes it");
    while let Ok((mut stream, _)) = listener.accept().await {
        monoio::spawn(Uncounted::new(async move {
            let mut request = Vec::new();
            loop {
                let (read, piece) = stream.read(vec![0; 16 * 1024]).await;
                match read {
                    Ok(count @ 1..) => request.extend_from_slice(&piece[..count]),
                    _ => return,
                }
                if is_whole(&request) {
                    request.clear();
                    let answer = [RESPONSE_HEAD, &[b'x'; RESPONSE_BODY_BYTES]].concat();
                    if stream.write_all(answer).await.0.is_err() {
                        return;
                    }
                }
            }
        }));
    }
}
