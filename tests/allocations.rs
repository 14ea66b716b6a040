//! No allocation per plain keep-alive request, once a worker is warm: proven by counting.
//!
//! A binary of its own, because its allocator counts, and because the worker runs in this process,
//! on a thread whose allocations are told from those of the client and the origin.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use odin::control::compile::Compiler;
use odin::control::config;
use odin::control::sockets::Sockets;
use odin::io::driver::{self, Driver, Preference};
use odin::plugin::{Runtime, RuntimeOptions};
use odin::worker::mailbox::{Mail, mailbox};
use odin::worker::{self, Worker};

/// Requests until everything has its size: buffers, tables, the pool of upstream connections.
const WARM_UP: usize = 200;
const COUNTED: usize = 1000;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the thread that serves.
static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn note() {
    // A thread that ends has no thread-local any more, and is of no interest.
    if IS_COUNTED.try_with(Cell::get).unwrap_or(false) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Counts what this thread allocates until dropped.
struct Counted;

impl Counted {
    fn here() -> Self {
        IS_COUNTED.set(true);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        IS_COUNTED.set(false);
    }
}

/// Answers every head that comes in over any number of connections, until the test ends.
fn serve_origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                let mut filled = 0;
                while let Ok(count @ 1..) = stream.read(&mut buffer[filled..]) {
                    filled += count;
                    if buffer[..filled].ends_with(b"\r\n\r\n") {
                        filled = 0;
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
                                       Content-Length: 2\r\n\r\nok";
                        stream.write_all(answer).unwrap();
                    }
                }
            });
        }
    });
    address
}

/// Sends `count` requests over one connection, each after the answer to the one before.
fn ask(stream: &mut TcpStream, count: usize) {
    let mut buffer = [0; 4096];
    for _ in 0..count {
        stream
            .write_all(
                b"GET /api/users?limit=10 HTTP/1.1\r\nHost: gateway.example\r\n\
                  User-Agent: counter/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\n\
                  Cookie: session=0123456789abcdef\r\n\r\n",
            )
            .unwrap();
        let mut filled = 0;
        while !buffer[..filled].ends_with(b"\r\n\r\nok") {
            match stream.read(&mut buffer[filled..]).unwrap() {
                0 => panic!("closed after {:?}", String::from_utf8_lossy(&buffer[..filled])),
                count => filled += count,
            }
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200 "));
    }
}

/// Runs a worker on this thread while a client asks; how often it allocated during the requests
/// that were counted.
fn allocations(driver: Driver, more: &str) -> u64 {
    let text = format!(
        "server: {{ listen: 127.0.0.1:0, workers: 1 }}\nadmin: {{ listen: off }}\nservices:\n  \
         - {{ name: users, basePath: /api, targets: [\"http://{}\"] }}\n{more}\n",
        serve_origin()
    );
    let config = config::parse_text(&text, "test.yaml").unwrap();
    let plugins = Runtime::new(&RuntimeOptions::default()).unwrap();
    let compiled = Compiler::new(plugins, 1, &config.kv).compile(&config, None);
    let published = Arc::new(ArcSwap::from_pointee(compiled.snapshot));
    let mut sockets = Sockets::open(&config, 1, Vec::new()).unwrap();
    sockets.listen().unwrap();
    let Sockets { mut workers, mut bound, .. } = sockets;
    let (sockets, address) = (workers.remove(0), bound.remove(0));
    let (outbox, letterbox) = mailbox().unwrap();
    outbox.send(Mail::Listen { sockets, done: Box::new(|()| {}) });

    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        ask(&mut stream, WARM_UP);
        let before = COUNT.load(Ordering::Relaxed);
        ask(&mut stream, COUNTED);
        let counted = COUNT.load(Ordering::Relaxed) - before;
        drop(stream);
        outbox.send(Mail::Drain {
            handover: None,
            holds_alone: true,
            timeout: std::time::Duration::from_secs(60),
        });
        counted
    });
    let _counted = Counted::here();
    driver::block_on(driver, async move {
        let inbox = letterbox.open().unwrap();
        worker::run(Worker::new(0, published), inbox, |_| {}).await;
    })
    .unwrap();
    client.join().unwrap()
}

#[test]
fn a_plain_request_allocates_nothing() {
    // One after the other: the count is of the whole process.
    for driver in [Driver::Epoll, Driver::IoUring] {
        if driver == Driver::IoUring && driver::choose(Preference::IoUring).is_err() {
            continue;
        }
        // Nor does one whose trace is handed on, if it is not exported.
        for more in ["", "tracing: { enabled: true }"] {
            let before = COUNT.load(Ordering::Relaxed);
            let counted = allocations(driver, more);
            assert!(COUNT.load(Ordering::Relaxed) > before, "the worker is counted");
            assert_eq!(counted, 0, "allocations in {COUNTED} requests, {driver}, {more:?}");
        }
    }
}
