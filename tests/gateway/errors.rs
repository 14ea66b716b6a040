//! What the client is told when there is no response to relay: a right status and a reason.

use crate::support::client::Response;
use crate::support::{Client, Origin, Setup, ask, get};
use std::net::TcpListener;

fn assert_local(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.head.get("content-type").unwrap(), "application/json");
    let reason = response.reason();
    // The house rule for error texts: lower case (unless a name begins it), no full stop.
    assert!(!reason.ends_with('.'), "{reason}");
    assert_eq!(response.json().as_object().unwrap().len(), 1, "{}", response.text());
}

/// A port on which nobody listens.
fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn an_origin_that_is_down_gets_502() {
    let port = dead_port();
    let gateway = Setup::new()
        .service(&format!("name: a, basePath: /, targets: ['http://127.0.0.1:{port}']"))
        .start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..3 {
        assert_local(&client.get("/"), 502);
    }
}

#[test]
fn an_origin_that_resets_gets_502() {
    let origin = Origin::scripted(|connection, _| {
        connection.request();
        connection.reset();
    });
    let gateway = Setup::to(&origin).start();
    assert_local(&get(gateway.addr, "/"), 502);
}

#[test]
fn an_origin_that_is_back_is_used_again() {
    let port = dead_port();
    let gateway = Setup::new()
        .service(&format!("name: a, basePath: /, targets: ['http://127.0.0.1:{port}']"))
        .start();
    assert_eq!(get(gateway.addr, "/").status, 502);
    let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) else {
        // Another test of this run was given the port meanwhile: nothing to see here.
        return;
    };
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            use std::io::{Read, Write};
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    assert_eq!(get(gateway.addr, "/").status, 200);
}

#[test]
fn a_path_without_a_service_gets_404() {
    let gateway = Setup::new().service("name: a, basePath: /a, targets: ['builtin:echo']").start();
    assert_local(&get(gateway.addr, "/b"), 404);
}

#[test]
fn without_services_every_path_gets_404() {
    let gateway = Setup::new().start();
    assert_local(&get(gateway.addr, "/"), 404);
}

#[test]
fn refusals_of_malformed_requests_carry_a_reason() {
    let gateway = Setup::echo().start();
    assert_local(&ask(gateway.addr, "GET / HTTP/1.1\r\n\r\n"), 400);
    assert_local(&ask(gateway.addr, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn a_reason_for_head_has_no_body() {
    let gateway = Setup::new().service("name: a, basePath: /a, targets: ['builtin:echo']").start();
    let mut client = Client::connect(gateway.addr);
    let response = client.ask("HEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((response.status, response.body.len()), (404, 0));
    assert_eq!(client.get("/a").status, 200);
}

#[test]
fn an_origins_own_errors_are_relayed_untouched() {
    for status in [400, 404, 429, 500, 502, 503, 504] {
        let origin = Origin::raw(format!(
            "HTTP/1.1 {status} Some Reason\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nmine"
        ));
        let gateway = Setup::to(&origin).start();
        let response = get(gateway.addr, "/");
        assert_eq!((response.status, response.text().as_str()), (status, "mine"));
        assert_eq!(response.head.get("retry-after").unwrap(), "7");
    }
}

#[test]
fn errors_name_no_addresses_of_origins() {
    let port = dead_port();
    let gateway = Setup::new()
        .service(&format!("name: a, basePath: /, targets: ['http://127.0.0.1:{port}']"))
        .start();
    let text = get(gateway.addr, "/").text();
    assert!(!text.contains("127.0.0.1") && !text.contains(&port.to_string()), "{text}");
}

/// A service with these targets and weights.
fn weighted(targets: &[(&str, u32)]) -> Setup {
    let list: Vec<_> =
        targets.iter().map(|(url, weight)| format!("{{url: '{url}', weight: {weight}}}")).collect();
    Setup::new().service(&format!("name: a, basePath: /, targets: [{}]", list.join(", ")))
}

#[test]
fn targets_that_refuse_cost_no_request_whatever_their_weight() {
    let origin = Origin::ok();
    let dead =
        [dead_port(), dead_port(), dead_port()].map(|port| format!("http://127.0.0.1:{port}"));
    let live = origin.url();
    for targets in [
        &[(&*dead[0], 3), (&*live, 1)][..],
        &[(&*dead[0], 5), (&*dead[1], 5), (&*dead[2], 5), (&*live, 1)][..],
        &[(&*dead[0], 1), (&*dead[0], 1), (&*live, 1)][..],
    ] {
        let gateway = weighted(targets).start();
        let mut client = Client::connect(gateway.addr);
        for turn in 0..16 {
            let request = match turn % 2 {
                0 => "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                _ => "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            };
            assert_eq!(client.ask(request).status, 200, "{targets:?}, request {turn}");
        }
    }
}

/// A port that swallows connections: its queue is full.
fn swallowing() -> (std::net::SocketAddr, Vec<std::net::TcpStream>, rustix::fd::OwnedFd) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let any: std::net::SocketAddrV4 = "127.0.0.1:0".parse().unwrap();
    bind(&listener, &any).unwrap();
    listen(&listener, 0).unwrap();
    let addr: std::net::SocketAddr = getsockname(&listener).unwrap().try_into().unwrap();
    let patience = std::time::Duration::from_millis(300);
    let held = std::iter::from_fn(|| std::net::TcpStream::connect_timeout(&addr, patience).ok());
    (addr, held.collect(), listener)
}

#[test]
fn a_target_that_swallows_connections_costs_time_and_no_request() {
    let origin = Origin::ok();
    let (deaf, _held, _listener) = swallowing();
    let gateway = weighted(&[(&format!("http://{deaf}"), 1), (&origin.url(), 1)])
        .server("timeouts: { connect: 200ms }")
        .start();
    let mut client = Client::connect(gateway.addr);
    for turn in 0..4 {
        let response = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(response.status, 200, "request {turn}");
    }
}
