//! The end of the process: what is in flight ends well, nothing new begins, and it does end.

use crate::support::{Client, Gate, Gateway, Origin, PATIENCE, Setup, wait_until};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// An origin that answers when the gate opens.
fn held_origin(gate: &Gate) -> Origin {
    let held = gate.clone();
    Origin::scripted(move |connection, _| {
        while connection.request().is_some() {
            held.wait();
            connection.answer("late");
        }
    })
}

fn wait_refused(gateway: &Gateway) {
    wait_until("new connections are refused", || Client::try_connect(gateway.addr).is_err());
}

#[test]
fn an_exchange_in_flight_ends_and_nothing_new_begins() {
    // 1. a request is at the origin, 2. SIGTERM, 3. a new connection is refused, 4. the origin
    // answers, 5. the client has its response and is told to go, 6. the process ends with 0.
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let gate = Gate::default();
        let origin = held_origin(&gate);
        let mut gateway = Setup::to(&origin).drain_timeout("30s").start();
        let mut client = Client::connect(gateway.addr);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        origin.wait_requests(1);
        gateway.signal(signal);
        wait_refused(&gateway);
        gate.open();
        let response = client.response();
        assert_eq!(response.text(), "late");
        assert!(response.closes(), "{}", response.head);
        client.assert_closed();
        assert_eq!(gateway.wait_exit().code(), Some(0), "{}", gateway.log());
    }
}

#[test]
fn idle_connections_are_closed_at_once() {
    let origin = Origin::ok();
    let mut gateway = Setup::to(&origin).drain_timeout("30s").start();
    let mut fresh = Client::connect(gateway.addr);
    let mut used = Client::connect(gateway.addr);
    assert_eq!(used.get("/").status, 200);
    let start = Instant::now();
    gateway.terminate();
    used.assert_closed();
    fresh.assert_closed();
    assert_eq!(gateway.wait_exit().code(), Some(0));
    assert!(start.elapsed() < PATIENCE, "it did not wait for idle connections");
    origin.wait_all_closed();
}

#[test]
fn what_does_not_end_within_the_drain_timeout_is_cut() {
    let gate = Gate::default();
    let origin = held_origin(&gate);
    let mut gateway = Setup::to(&origin).drain_timeout("300ms").start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    let start = Instant::now();
    gateway.terminate();
    gateway.wait_exit();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(290), "ended after {took:?}");
    assert!(took < PATIENCE);
    let _ = client.rest();
    gate.open();
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let gate = Gate::default();
    let origin = held_origin(&gate);
    let mut gateway = Setup::to(&origin).drain_timeout("60s").start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    gateway.terminate();
    wait_refused(&gateway);
    assert!(gateway.is_running(), "the exchange is still in flight");
    gateway.terminate();
    gateway.wait_exit();
    gate.open();
}

#[test]
fn a_body_in_flight_is_finished() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::scripted(move |connection, _| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        held.wait();
        connection.send("6\r\nsecond\r\n0\r\n\r\n");
    });
    let mut gateway = Setup::to(&origin).drain_timeout("30s").start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let framing = client.head().response_framing("GET").unwrap();
    gateway.terminate();
    wait_refused(&gateway);
    gate.open();
    let mut body = Vec::new();
    client.body(framing, |piece| body.extend_from_slice(piece)).unwrap();
    assert_eq!(body, b"firstsecond");
    assert_eq!(gateway.wait_exit().code(), Some(0));
}

#[test]
fn all_workers_drain() {
    let gate = Gate::default();
    let origin = held_origin(&gate);
    let mut gateway = Setup::to(&origin).workers(3).drain_timeout("30s").start();
    let mut clients: Vec<Client> = (0..24).map(|_| Client::connect(gateway.addr)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    origin.wait_requests(24);
    gateway.terminate();
    wait_refused(&gateway);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().text(), "late");
    }
    assert_eq!(gateway.wait_exit().code(), Some(0));
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_connection_that_has_just_come_may_still_send_its_request() {
    // 1. a client connects, 2. SIGTERM, 3. the gateway has stopped to accept, 4. the client sends.
    let origin = Origin::ok();
    for workers in [1, 3] {
        loop {
            let gateway = Setup::to(&origin).workers(workers).drain_timeout("30s").start();
            let came = Instant::now();
            let mut client = Client::connect(gateway.addr);
            gateway.terminate();
            gateway.wait_log("draining");
            std::thread::sleep(Duration::from_millis(300));
            client.send(GET);
            // A machine that is too busy for this shows nothing.
            if came.elapsed() < Duration::from_millis(900) {
                let response = client.response();
                assert!(response.status == 200 && response.closes(), "{}", response.head);
                break;
            }
        }
    }
}

#[test]
fn connections_in_the_kernels_queue_are_served() {
    // The process stands still while they come; the first thing that it sees is the signal.
    let origin = Origin::ok();
    let mut gateway = Setup::to(&origin).workers(2).drain_timeout("30s").start();
    gateway.signal(rustix::process::Signal::STOP);
    let mut clients: Vec<Client> = (0..100).map(|_| Client::connect(gateway.addr)).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    gateway.terminate();
    gateway.signal(rustix::process::Signal::CONT);
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(gateway.wait_exit().code(), Some(0));
}

/// Clients that ask until the gateway takes no connection any more.
#[derive(Default)]
struct Load {
    answered: AtomicUsize,
    lost: AtomicUsize,
    is_over: AtomicBool,
}

impl Load {
    /// A connection for each request, or as many requests on each as it serves.
    fn ask(&self, addr: SocketAddr, keeps: bool) {
        while !self.is_over.load(Relaxed) {
            let Ok(mut client) = Client::try_connect(addr) else { return };
            loop {
                client.send(GET);
                let Ok(response) = client.try_response() else {
                    self.lost.fetch_add(1, Relaxed);
                    break;
                };
                self.answered.fetch_add(1, Relaxed);
                std::thread::sleep(Duration::from_millis(2));
                if !keeps || response.closes() || self.is_over.load(Relaxed) {
                    break;
                }
            }
        }
    }
}

/// How many gateways are stopped: `ODIN_TEST_STOPS` of them, for those who look closer.
fn stops() -> usize {
    std::env::var("ODIN_TEST_STOPS").map_or(5, |count| count.parse().unwrap())
}

#[test]
fn a_stop_under_load_loses_no_request() {
    let origin = Origin::ok();
    for stop in 0..stops() {
        let mut gateway = Setup::to(&origin).workers(2).drain_timeout("30s").start();
        let (load, addr) = (Load::default(), gateway.addr);
        std::thread::scope(|scope| {
            for client in 0..6 {
                let load = &load;
                scope.spawn(move || load.ask(addr, client % 2 == 0));
            }
            wait_until("they are answered", || load.answered.load(Relaxed) > 50);
            gateway.terminate();
            assert_eq!(gateway.wait_exit().code(), Some(0), "{}", gateway.log());
            load.is_over.store(true, Relaxed);
        });
        assert_eq!(load.lost.load(Relaxed), 0, "of {:?}, stop {stop}", load.answered);
    }
}
