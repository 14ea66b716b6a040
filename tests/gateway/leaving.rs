//! Clients that go away while their request waits: nobody works for them any more.

use crate::hostcalls::{ANSWERED_200, calling};
use crate::metrics::{scrape, value};
use crate::support::{Client, Gateway, Origin, PATIENCE, Setup, get, wait_until};
use std::time::{Duration, Instant};

/// How a client goes away.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Leaving {
    /// RST.
    Reset,
    /// FIN, of a client that has closed.
    Close,
    /// FIN, of a client that may still read.
    End,
}

const LEAVINGS: [Leaving; 3] = [Leaving::Reset, Leaving::Close, Leaving::End];

/// What keeps the connection of a client that has not closed.
fn leave(mut client: Client, how: Leaving) -> Option<Client> {
    match how {
        Leaving::Reset => client.reset(),
        Leaving::Close => drop(client),
        Leaving::End => {
            client.finish_sending();
            return Some(client);
        }
    }
    None
}

/// An origin that gets a request, says this and is silent until the gateway closes.
fn silent(says: &'static str) -> Origin {
    Origin::scripted(move |connection, _| {
        if connection.request().is_some() {
            connection.send(says);
            connection.some();
        }
    })
}

/// Waits until nothing is left of an exchange whose client leaves now: not longer than a second,
/// and what a machine that is busy adds.
fn assert_abandoned(gateway: &Gateway, origin: &Origin, client: Client, how: Leaving) {
    let start = Instant::now();
    let _kept = leave(client, how);
    origin.wait_all_closed();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "abandoned after {took:?}");
    gateway.wait_log("error=\"client closed the connection\"");
}

fn logging(setup: Setup) -> Setup {
    setup.logging("accessLog: stdout")
}

#[test]
fn a_request_whose_client_leaves_before_the_answer_is_abandoned() {
    for how in LEAVINGS {
        let origin = silent("");
        let gateway = logging(Setup::to(&origin)).start();
        let mut client = Client::connect(gateway.addr);
        client.send("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n");
        origin.wait_requests(1);
        assert_abandoned(&gateway, &origin, client, how);
        gateway.wait_log("path=/poll status=0");
        let metrics = scrape(&gateway);
        let series = "odin_upstream_requests_total{service=\"all\",outcome=\"aborted\"}";
        assert_eq!(value(&metrics, series), 1.0, "{how:?}");
        assert_eq!(value(&metrics, "odin_requests_total{service=\"all\",status=\"none\"}"), 1.0);
    }
}

#[test]
fn a_stream_whose_client_leaves_while_it_is_silent_is_abandoned() {
    for how in LEAVINGS {
        let origin = silent(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
             Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
        );
        let gateway = logging(Setup::to(&origin)).start();
        let mut client = Client::connect(gateway.addr);
        client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.head().status(), Ok(200));
        assert_abandoned(&gateway, &origin, client, how);
        gateway.wait_log("path=/events status=200");
    }
}

#[test]
fn an_upload_whose_client_leaves_when_it_is_sent_is_abandoned() {
    for how in LEAVINGS {
        let origin = silent("");
        let gateway = logging(Setup::to(&origin)).start();
        let mut client = Client::connect(gateway.addr);
        client.send("POST /report HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        origin.wait_requests(1);
        assert_abandoned(&gateway, &origin, client, how);
    }
}

#[test]
fn what_a_plugin_or_an_aggregation_waits_for_is_abandoned_with_its_client() {
    for how in LEAVINGS {
        for path in ["/guarded", "/joined"] {
            let (origin, side) = (Origin::ok(), silent(""));
            let waiting = calling(r#"{"url":"http://side/"}"#, ANSWERED_200);
            let calls = "calls: [{name: first, service: side, path: /}]";
            let setup = Setup::to(&origin)
                .service(&format!("name: side, basePath: /side, targets: ['{}']", side.url()))
                .service(&format!("name: joined, basePath: /joined, aggregation: {{{calls}}}"))
                .plugin("waits", waiting, "type: auth, timeout: 60s, allowedUrls: ['^/guarded']");
            let gateway = logging(setup).start();
            let mut client = Client::connect(gateway.addr);
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            side.wait_requests(1);
            assert_abandoned(&gateway, &side, client, how);
            // The worker and its plugins go on.
            assert_eq!(get(gateway.addr, "/").text(), "ok");
        }
    }
}

#[test]
fn a_client_that_has_sent_a_further_request_and_leaves_has_gone_too() {
    let origin = silent("");
    let gateway = logging(Setup::to(&origin)).start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    assert_abandoned(&gateway, &origin, client, Leaving::End);
    assert_eq!(origin.only_request().target, "/a");
}

#[test]
fn a_client_that_waits_is_no_client_that_has_gone() {
    let origin = Origin::scripted(|connection, _| {
        while connection.request().is_some() {
            std::thread::sleep(Duration::from_secs(2));
            connection.answer("late");
        }
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..2 {
        assert_eq!(client.response().text(), "late");
    }
}

#[test]
fn clients_that_end_their_sending_are_served_where_the_configuration_says_so() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            match request.target.as_str() {
                "/late" => {
                    std::thread::sleep(Duration::from_secs(2));
                    connection.answer("late");
                }
                _ => drop(connection.some()),
            }
        }
    });
    let gateway = logging(Setup::to(&origin).server("halfClosedClients: serve")).start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish_sending();
    assert_eq!(client.response().text(), "late");
    client.assert_closed();
    // One that resets its connection has gone all the same.
    let mut client = Client::connect(gateway.addr);
    client.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(2);
    client.reset();
    let start = Instant::now();
    wait_until("the request is abandoned", || gateway.log().contains("path=/never status=0"));
    assert!(start.elapsed() < PATIENCE / 2);
}
