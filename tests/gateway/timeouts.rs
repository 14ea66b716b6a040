//! Nobody waits for ever: each wait has its own bound and its own answer.

use crate::hostcalls::{ANSWERED_200, calling};
use crate::support::{Client, Gate, Origin, PATIENCE, Setup, get, wasm};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Times `wait`; fails if it took less than `least` or so long that something else ended it.
fn assert_takes(least: Duration, wait: impl FnOnce()) {
    let start = Instant::now();
    wait();
    let took = start.elapsed();
    // Timers tick in milliseconds.
    assert!(took + Duration::from_millis(5) >= least, "ended after {took:?}, expected {least:?}");
    assert!(took < PATIENCE, "ended after {took:?}");
}

const BOUND: Duration = Duration::from_millis(300);

#[test]
fn a_head_that_does_not_arrive_gets_408() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).server("timeouts: {head: 300ms}").start();
    for sent in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut client = Client::connect(gateway.addr);
        assert_takes(BOUND, || {
            client.send(sent);
            let response = client.response();
            assert_eq!(response.status, 408, "{sent:?}");
            assert!(!response.reason().is_empty());
            client.assert_closed();
        });
    }
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn a_head_that_drips_does_not_move_its_deadline() {
    // Slowloris: every byte is progress, but the head is one unit of waiting.
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).server("timeouts: {head: 300ms}").start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nX-Drip: ");
    let start = Instant::now();
    client.set_patience(Duration::from_millis(20));
    let status = loop {
        client.send("x");
        match client.try_head() {
            Ok(head) => break head.status().unwrap(),
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error:?}"),
        }
    };
    assert_eq!(status, 408);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).server("timeouts: {idle: 300ms}").start();
    let mut fresh = Client::connect(gateway.addr);
    let mut used = Client::connect(gateway.addr);
    assert_eq!(used.get("/").status, 200);
    assert_takes(BOUND, || used.assert_closed());
    fresh.assert_closed();
}

#[test]
fn an_empty_line_is_not_the_beginning_of_a_head() {
    let origin = Origin::ok();
    let idle = Setup::to(&origin).server("timeouts: {idle: 300ms}").start();
    for sent in ["\r", "\r\n", "\r\n\r\n"] {
        let mut client = Client::connect(idle.addr);
        assert_takes(BOUND, || {
            client.send(sent);
            client.assert_closed();
        });
    }
    // Nor does it move the deadline of a connection that waits.
    let mut client = Client::connect(idle.addr);
    let started = Instant::now();
    client.set_patience(Duration::from_millis(40));
    while matches!(client.try_head(), Err(crate::support::wire::WireError::TimedOut)) {
        assert!(started.elapsed() < PATIENCE);
        client.send("\r\n");
    }
    client.assert_closed();

    let head = Setup::to(&origin).server("timeouts: {head: 50ms}").start();
    let mut client = Client::connect(head.addr);
    client.send("\r\n");
    client.set_patience(Duration::from_millis(300));
    assert!(matches!(client.try_head(), Err(crate::support::wire::WireError::TimedOut)));
    client.set_patience(PATIENCE);
    assert_eq!(client.get("/").status, 200);
    client.send("\r\nG");
    assert_eq!(client.response().status, 408, "the head has begun");
}

#[test]
fn a_request_body_that_stalls_gets_408() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).server("timeouts: {body: 300ms}").start();
    let mut client = Client::connect(gateway.addr);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    assert_takes(BOUND, || {
        let response = client.response();
        assert_eq!(response.status, 408);
        assert!(!response.reason().is_empty());
    });
    client.assert_closed();
    origin.wait_all_closed();
    assert!(origin.requests().iter().all(|request| request.method == "MALFORMED"));
}

#[test]
fn a_slow_body_that_moves_is_not_a_stalled_one() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            connection.answer(&request.text());
        }
    });
    let gateway = Setup::to(&origin).server("timeouts: {body: 1s}").start();
    let mut client = Client::connect(gateway.addr);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n");
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(200));
        client.send("x");
    }
    assert_eq!(client.response().text(), "xxxxxxxx");
}

#[test]
fn an_origin_that_does_not_answer_gets_504() {
    for setting in ["firstByte", "service"] {
        let done = Gate::default();
        let held = done.clone();
        let origin = Origin::scripted(move |connection, _| {
            connection.request();
            held.wait();
        });
        let setup = match setting {
            "firstByte" => Setup::to(&origin).server("timeouts: {firstByte: 300ms}"),
            _ => Setup::new().service(&format!(
                "name: a, basePath: /, timeout: 300ms, targets: ['{}']",
                origin.url()
            )),
        };
        let gateway = setup.start();
        let mut client = Client::connect(gateway.addr);
        assert_takes(BOUND, || {
            let response = client.get("/");
            assert_eq!(response.status, 504, "{setting}");
            assert!(!response.reason().is_empty());
        });
        done.open();
    }
}

#[test]
fn a_response_that_is_not_whole_within_the_services_time_is_cut() {
    // The status is already out, so all that is left is to close: the client sees a short body.
    let done = Gate::default();
    let held = done.clone();
    let origin = Origin::scripted(move |connection, _| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        held.wait();
    });
    let gateway = Setup::new()
        .service(&format!("name: a, basePath: /, timeout: 300ms, targets: ['{}']", origin.url()))
        .start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status().unwrap(), 200);
    assert_takes(Duration::ZERO, || assert_eq!(client.rest(), b"hello"));
    done.open();
}

#[test]
fn a_connect_that_hangs_gets_504_within_its_bound() {
    // A listener whose accept queue is full: the kernel drops further SYNs.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = socket2::SockRef::from(&listener);
    socket.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut fill = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
        fill.push(stream);
        assert!(fill.len() < 100, "the accept queue never fills");
    }
    let gateway = Setup::new()
        .server("timeouts: {connect: 300ms}")
        .service(&format!("name: a, basePath: /, targets: ['http://{addr}']"))
        .start();
    assert_takes(BOUND, || {
        let response = get(gateway.addr, "/");
        assert_eq!(response.status, 504);
        assert!(!response.reason().is_empty());
    });
}

#[test]
fn a_response_that_floods_is_cut_at_the_services_time() {
    // A socket that is shut down for reading still hands out what its peer goes on sending: an
    // origin that never pauses must not outlive the deadline by that.
    let origin = Origin::scripted(|connection, _| {
        if connection.request().is_some() {
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
            while connection.send(&chunk) {}
        }
    });
    let gateway = Setup::new()
        .service(&format!("name: a, basePath: /, timeout: 300ms, targets: ['{}']", origin.url()))
        .service("name: echo, basePath: /echo, targets: ['builtin:echo']")
        .start();
    let mut client = TcpStream::connect(gateway.addr).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let start = Instant::now();
    let mut piece = vec![0; 1 << 20];
    let mut received = 0;
    // To the end of the stream; a gateway that reads on for ever would keep this going.
    while let Ok(count @ 1..) = client.read(&mut piece) {
        received += count;
        assert!(start.elapsed() < PATIENCE, "{received} bytes and no end");
    }
    assert!(received > 0);
    origin.wait_all_closed();
    assert_eq!(get(gateway.addr, "/echo").status, 200, "the worker serves on");
}

/// Uploads `pieces` bytes, one every `pause`.
fn drip(client: &mut Client, pieces: usize, pause: Duration) {
    for _ in 0..pieces {
        std::thread::sleep(pause);
        client.send("x");
    }
}

#[test]
fn the_origin_has_its_time_to_answer_from_the_end_of_a_slow_upload() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            match request.target.as_str() {
                "/silent" => std::thread::sleep(PATIENCE),
                _ => drop(connection.answer(&request.text())),
            }
        }
    });
    let gateway = Setup::to(&origin).server("timeouts: {firstByte: 300ms}").start();
    let pause = Duration::from_millis(100);
    let mut client = Client::connect(gateway.addr);
    for _ in 0..2 {
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
        drip(&mut client, 10, pause);
        assert_eq!(client.response().text(), "xxxxxxxxxx");
    }
    client.send("PUT /silent HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    drip(&mut client, 5, pause);
    assert_takes(BOUND, || assert_eq!(client.response().status, 504));
}

#[test]
fn an_origin_that_answers_while_it_is_sent_the_request_is_not_silent() {
    // Its answer comes piece by piece with what it gets: it waits for the client, not we for it.
    let origin = Origin::scripted(|connection, _| {
        if let Some(request) = connection.head() {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<");
            connection.body(request.framing, |_| ());
            connection.send("done>");
        }
    });
    let gateway = Setup::to(&origin).server("timeouts: {body: 1s}").start();
    let mut client = Client::connect(gateway.addr);
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
    drip(&mut client, 6, Duration::from_millis(400));
    assert_eq!(client.response().text(), "<done>");
}

#[test]
fn the_origins_time_does_not_run_while_something_else_is_waited_for() {
    // The rest of the response lies in the socket while a plugin takes its time for the head.
    let asked = Gate::default();
    let is_asked = asked.clone();
    let origin = Origin::scripted(move |connection, _| {
        if connection.request().is_some() {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
            is_asked.wait();
            connection.send("ok");
        }
    });
    let side = Origin::scripted(move |connection, _| {
        while connection.request().is_some() {
            asked.open();
            std::thread::sleep(BOUND * 4);
            connection.answer("");
        }
    });
    let waiting = calling(r#"{"url":"http://side/"}"#, ANSWERED_200);
    let gateway = Setup::to(&origin)
        .service(&format!("name: side, basePath: /side, targets: ['{}']", side.url()))
        .server("timeouts: {firstByte: 300ms, body: 10s}")
        .plugin("waits", waiting, "type: response, body: false")
        .start();
    let response = get(gateway.addr, "/");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
}

#[test]
fn an_origin_that_does_not_take_the_request_gets_504() {
    let done = Gate::default();
    let held = done.clone();
    let origin = Origin::scripted(move |connection, _| {
        connection.head();
        held.wait();
    });
    let gateway = Setup::to(&origin).server("timeouts: {body: 300ms}").start();
    let mut client = TcpStream::connect(gateway.addr).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut sending = client.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n";
            let _ = sending.write_all(head.as_bytes());
            // Until the gateway closes.
            while sending.write_all(&[b'x'; 1 << 16]).is_ok() {}
        });
        let mut status = [0; 12];
        assert_takes(BOUND, || client.read_exact(&mut status).unwrap());
        assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 504");
        let _ = client.shutdown(std::net::Shutdown::Both);
    });
    done.open();
}

#[test]
fn a_body_that_stalls_in_its_framing_gets_408() {
    // The beginning of a chunk's line has come with the head: something is there, and no piece.
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).server("timeouts: {body: 300ms}").start();
    for sent in ["", "5", "5\r\n", "5;", "5\r\nhello\r", "5\r\nhello\r\n0\r\nA: b"] {
        let mut client = Client::connect(gateway.addr);
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}{sent}"));
        assert_takes(BOUND, || assert_eq!(client.response().status, 408, "{sent:?}"));
    }
}

/// Sends a byte now and then until there is a response; its status.
fn status_while_dripping(client: &mut Client) -> u16 {
    let start = Instant::now();
    client.set_patience(Duration::from_millis(50));
    loop {
        client.send("x");
        match client.try_head() {
            Ok(head) => return head.status().unwrap(),
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error:?}"),
        }
    }
}

#[test]
fn a_body_that_drips_is_over_with_the_services_time_whoever_waits_for_it() {
    let origin = Origin::scripted(|connection, _| while connection.request().is_some() {});
    let target = origin.url();
    for (name, target) in [("plugin", &*target), ("echo", "builtin:echo"), ("stream", &*target)] {
        let setup = Setup::new()
            .service(&format!("name: a, basePath: /, timeout: 500ms, targets: ['{target}']"));
        let gateway = match name {
            "plugin" => setup.plugin("reads", wasm::passing(), "type: auth, body: true"),
            _ => setup,
        }
        .start();
        for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
            let mut client = Client::connect(gateway.addr);
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
            if framing.ends_with("chunked") {
                client.send("FFFF\r\n");
            }
            let start = Instant::now();
            assert_eq!(status_while_dripping(&mut client), 408, "{name}, {framing}");
            assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
        }
    }
}

#[test]
fn a_body_below_the_least_rate_gets_408() {
    let origin = Origin::scripted(|connection, _| while connection.request().is_some() {});
    let gateway =
        Setup::to(&origin).server("timeouts: {body: 1s}").limits("bodyRateMin: 1KiB").start();
    let mut client = Client::connect(gateway.addr);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    let start = Instant::now();
    assert_eq!(status_while_dripping(&mut client), 408);
    assert!(start.elapsed() >= Duration::from_secs(9), "the grace is 10 s: {:?}", start.elapsed());
}

#[test]
fn a_response_in_memory_is_cut_at_the_services_time() {
    // Nothing is left to be waited for but the client, which takes nothing.
    const LENGTH: usize = 32 << 20;
    let gateway = Setup::new()
        .limits(&format!("pluginBodyBytesMax: {}", LENGTH + 1))
        .logging("accessLog: stdout")
        .service("name: a, basePath: /, timeout: 2s, targets: ['builtin:echo']")
        .start();
    let mut client = TcpStream::connect(gateway.addr).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(&vec![b'x'; LENGTH]).unwrap();
    gateway.wait_log("client closed the connection");
    let mut received = Vec::new();
    let _cut = client.read_to_end(&mut received);
    assert!(received.starts_with(b"HTTP/1.1 200") && received.len() < LENGTH);
}
