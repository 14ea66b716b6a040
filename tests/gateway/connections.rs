//! Many connections: what an idle one costs, and what happens where there is no room for more.

use crate::support::gateway::io_driver;
use crate::support::{Client, Gateway, Origin, PATIENCE, Setup, TempDir, get, wait_until};
use std::io::{Read, Write};
use std::time::Instant;

#[test]
fn an_idle_connection_holds_no_buffer() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let warm = |count: usize| {
        let mut clients: Vec<Client> = (0..count).map(|_| Client::connect(gateway.addr)).collect();
        for client in &mut clients {
            assert_eq!(client.get("/").status, 200);
        }
        clients
    };
    drop(warm(10));
    let before = gateway.rss_kib();
    let clients = warm(500);
    // For a second each has a buffer for its next request; then it has none, and the worker frees
    // those that nobody needs. Three 8 KiB buffers kept for each would be 12,000 KiB.
    // Measured when parked: 6 KiB in this build, 2 KiB in a release. Nobody asks for anything
    // meanwhile: what is freed goes back to the kernel by itself (once 4100 KiB stood here, until
    // the next request).
    wait_until("500 idle connections cost less than 4000 KiB", || {
        gateway.rss_kib().saturating_sub(before) < 4000
    });
    drop(clients);
}

#[test]
fn a_gateway_that_goes_idle_gives_back_what_its_clients_took() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    assert_eq!(Client::connect(gateway.addr).get("/").status, 200);
    let before = gateway.rss_kib();
    let mut clients: Vec<Client> = (0..600).map(|_| Client::connect(gateway.addr)).collect();
    // Half a head each, which fills most of a buffer.
    let half = format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}", "a".repeat(16 * 1024));
    clients.iter_mut().for_each(|client| client.send(&half));
    wait_until("they take 8000 KiB", || gateway.rss_kib() > before + 8000);
    drop(clients);
    // Nobody asks for anything from here on. Measured: 8,000 to 14,000 KiB come, and 1,100 to 2,600
    // stay, in pages of the allocator that others use as well (with huge pages up to 12,000 did).
    wait_until("less than 4000 KiB are left", || gateway.rss_kib() < before + 4000);
}

#[test]
fn the_kernel_gives_the_gateway_no_huge_pages() {
    let gateway = Setup::to(&Origin::ok()).start();
    assert_eq!(gateway.status("THP_enabled:"), 0);
}

#[test]
fn connections_over_the_cap_are_turned_away_and_the_others_served() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).limits("connectionsMax: 10").start();
    let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(gateway.addr)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    // Closed at once, with or without a 503.
    let mut over = Client::connect(gateway.addr);
    over.send("GET /over HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = String::from_utf8(over.rest()).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503 "), "{answer}");
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    clients.truncate(5);
    wait_until("there is room again", || {
        let mut client = Client::connect(gateway.addr);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.try_response().is_ok_and(|response| response.status == 200)
    });
}

#[test]
fn running_out_of_descriptors_ends_nothing_but_new_connections() {
    // 1. a process with few descriptors, 2. more connections than that, 3. those that were in go
    // on, 4. once some leave, new ones are served.
    let origin = Origin::ok();
    let mut gateway = Setup::to(&origin).open_files(64).start();
    let mut served = Client::connect(gateway.addr);
    assert_eq!(served.get("/").status, 200);
    let crowd: Vec<Client> =
        (0..200).filter_map(|_| Client::try_connect(gateway.addr).ok()).collect();
    let start = Instant::now();
    assert_eq!(served.get("/").status, 200, "its own upstream connection is already there");
    assert!(start.elapsed() < PATIENCE);
    drop(crowd);
    wait_until("new connections are served again", || {
        let mut client = Client::connect(gateway.addr);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.try_response().is_ok_and(|response| response.status == 200)
    });
    assert!(gateway.is_running());
    assert_eq!(served.get("/").status, 200);
}

#[test]
fn descriptors_are_given_back() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let count = || {
        let path = format!("/proc/{}/fd", gateway.pid());
        std::fs::read_dir(path).unwrap().count()
    };
    for _ in 0..10 {
        assert_eq!(get(gateway.addr, "/").status, 200);
    }
    let before = count();
    for _ in 0..200 {
        assert_eq!(get(gateway.addr, "/").status, 200);
    }
    wait_until("the closed connections' descriptors are closed", || count() <= before + 1);
}

#[test]
fn a_listener_may_be_a_unix_socket() {
    let dir = TempDir::new();
    let socket = dir.path().join("odin.sock");
    let origin = Origin::naming_targets();
    let config = format!(
        "server: {{listen: ['127.0.0.1:0', 'unix:{}'], workers: 2, pinCores: false, \
         ioDriver: {}}}\nadmin: {{listen: '127.0.0.1:0'}}\n\
         services:\n  - {{name: a, basePath: /, targets: ['{}']}}\n",
        socket.display(),
        io_driver(),
        origin.url()
    );
    let gateway = Gateway::start(dir, &config, &[]);
    for _ in 0..20 {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /by-unix HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("/by-unix"), "{answer}");
    }
    assert_eq!(get(gateway.addr, "/by-tcp").text(), "/by-tcp");
}

#[test]
fn unix_sockets_lead_to_origins() {
    let setup = Setup::new();
    let socket = setup.dir.path().join("origin.sock");
    let origin = Origin::unix(&socket, |connection, _| {
        while let Some(request) = connection.request() {
            connection.answer(&format!("{} {}", request.target, request.text()));
        }
    });
    let gateway =
        setup.service(&format!("name: a, basePath: /, targets: ['{}']", origin.url())).start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..5 {
        let response =
            client.ask("POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(response.text(), "/a hello");
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.requests()[0].head.get("host").unwrap(), "a.test");
}

#[test]
fn a_unix_socket_that_is_not_there_gets_502() {
    let gateway = Setup::new()
        .service("name: a, basePath: /, targets: ['http://unix:/nowhere/at/all.sock']")
        .start();
    assert_eq!(get(gateway.addr, "/").status, 502);
}
