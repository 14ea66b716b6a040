//! How many requests are under way at origins, and what becomes of those for which there is no
//! room.

use crate::hostcalls::{NOT_ANSWERED, calling};
use crate::support::{Client, Gate, Origin, Setup, get};
use std::net::SocketAddr;
use std::thread::JoinHandle;

/// An origin that answers nobody before the gate is open.
fn held(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::scripted(move |connection, _| {
        while connection.request().is_some() {
            gate.wait();
            connection.answer("ok");
        }
    })
}

/// A service `name` at `/name` with these limits.
fn limited(setup: Setup, name: &str, origins: &[&Origin], limits: &str) -> Setup {
    let urls: Vec<_> = origins.iter().map(|origin| format!("'{}'", origin.url())).collect();
    let urls = urls.join(", ");
    setup.service(&format!(
        "name: {name}, basePath: /{name}, targets: [{urls}], limits: {{{limits}}}"
    ))
}

/// Asks on connections of their own, each on a thread.
fn ask_many(count: usize, addr: SocketAddr, path: &'static str) -> Vec<JoinHandle<u16>> {
    let ask = move || get(addr, path).status;
    (0..count).map(|_| std::thread::spawn(ask)).collect()
}

fn statuses(asked: Vec<JoinHandle<u16>>) -> Vec<u16> {
    let mut statuses: Vec<u16> = asked.into_iter().map(|one| one.join().unwrap()).collect();
    statuses.sort_unstable();
    statuses
}

#[test]
fn a_target_gets_no_more_than_its_service_allows_and_the_others_a_fast_503() {
    let gate = Gate::default();
    let origin = held(&gate);
    let limits = "connections: 2, pending: 9, pendingTimeout: 200ms";
    let gateway = limited(Setup::new(), "a", &[&origin], limits).start();
    let asked = ask_many(2, gateway.addr, "/a");
    origin.wait_requests(2);
    assert_eq!(statuses(ask_many(4, gateway.addr, "/a")), [503; 4], "their time is up");
    assert_eq!(origin.requests().len(), 2);
    gate.open();
    assert_eq!(statuses(asked), [200; 2]);
    assert_eq!(get(gateway.addr, "/a").status, 200, "there is room again");
}

#[test]
fn who_finds_the_queue_full_is_told_so_at_once() {
    let gate = Gate::default();
    let origin = held(&gate);
    let limits = "connections: 1, pending: 0, pendingTimeout: 1h";
    let gateway = limited(Setup::new(), "a", &[&origin], limits).start();
    let asked = ask_many(1, gateway.addr, "/a");
    origin.wait_requests(1);
    let mut client = Client::connect(gateway.addr);
    for _ in 0..3 {
        let response = client.get("/a");
        assert_eq!(response.status, 503);
        assert_eq!(response.head.get("retry-after").as_deref(), Some("1"));
        assert!(response.reason().contains("services[].limits"), "{}", response.reason());
    }
    gate.open();
    assert_eq!(statuses(asked), [200]);
    assert_eq!(client.get("/a").status, 200);
}

#[test]
fn those_who_wait_are_served_one_after_the_other() {
    let gate = Gate::default();
    let origin = held(&gate);
    let limits = "connections: 1, pending: 20, pendingTimeout: 1h";
    let gateway = limited(Setup::new(), "a", &[&origin], limits).start();
    let asked = ask_many(12, gateway.addr, "/a");
    origin.wait_requests(1);
    gate.open();
    assert_eq!(statuses(asked), [200; 12]);
    assert_eq!(origin.connections(), 1, "never two at once");
}

#[test]
fn a_full_target_is_passed_over_while_another_has_room() {
    let gate = Gate::default();
    let (full, other) = (held(&gate), Origin::ok());
    let limits = "connections: 1, pending: 0";
    let setup = limited(Setup::new(), "full", &[&full], limits);
    let gateway = limited(setup, "both", &[&full, &other], limits).start();
    let asked = ask_many(1, gateway.addr, "/full");
    full.wait_requests(1);
    for _ in 0..6 {
        assert_eq!(get(gateway.addr, "/both").status, 200);
    }
    assert_eq!(other.requests().len(), 6);
    gate.open();
    assert_eq!(statuses(asked), [200]);
}

#[test]
fn all_services_share_what_the_process_may_have() {
    let gate = Gate::default();
    let (slow, quick) = (held(&gate), Origin::ok());
    let setup = Setup::new().limits("upstreamConnectionsMax: 2");
    let setup = limited(setup, "slow", &[&slow], "connections: 2");
    let gateway = limited(setup, "quick", &[&quick], "pendingTimeout: 100ms").start();
    for _ in 0..3 {
        // What lies idle then makes room.
        assert_eq!(get(gateway.addr, "/quick").status, 200);
    }
    let asked = ask_many(2, gateway.addr, "/slow");
    slow.wait_requests(2);
    assert_eq!(get(gateway.addr, "/quick").status, 503);
    gate.open();
    assert_eq!(statuses(asked), [200; 2]);
    assert_eq!(get(gateway.addr, "/quick").status, 200);
}

#[test]
fn calls_of_plugins_count_at_the_target_that_they_are_for() {
    let gate = Gate::default();
    let origin = held(&gate);
    let request = format!(r#"{{"url":"{}/x"}}"#, origin.url());
    let keys =
        format!("type: auth, allowedUrls: ['^/guarded'], config: {{authUrl: '{}'}}", origin.url());
    let setup = Setup::new().limits("upstreamConnectionsMax: 1");
    let gateway = limited(setup, "a", &[&origin], "pending: 0")
        .service("name: guarded, basePath: /guarded, targets: ['builtin:echo']")
        .plugin("caller", calling(&request, NOT_ANSWERED), &keys)
        .start();
    let asked = ask_many(1, gateway.addr, "/a");
    origin.wait_requests(1);
    assert_eq!(get(gateway.addr, "/guarded").status, 200, "its call has no answer");
    gateway.wait_log("too many requests are under way");
    gate.open();
    assert_eq!(statuses(asked), [200]);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn aggregations_of_many_calls_leave_descriptors_to_others() {
    // 1. Ten clients at once ask for a page of 100 items with a call each.
    // 2. With 256 open files there is no room for 1,000 connections.
    // 3. All are answered whole, and so are others meanwhile.
    const CALLS: usize = 100;
    let items: Vec<String> = (0..CALLS).map(|id| format!(r#"{{"id":{id}}}"#)).collect();
    let page = format!(r#"{{"items":[{}]}}"#, items.join(","));
    let answer =
        |body: String| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let pages = Origin::raw(answer(page));
    let called = Origin::raw(answer("1".into()));
    let setup = limited(Setup::new(), "called", &[&called], "pendingTimeout: 20s, pending: 4000");
    let gateway = setup
        .service(&format!(
            "name: pages, basePath: /pages, targets: ['{}'], aggregation: {{failOnError: true, \
             dependencies: [{{service: called, path: '/i/{{id}}', parameterMapping: \
             [{{from: '$.items[*].id', to: id}}], \
             resultMapping: [{{from: $, to: '$.items[*].is'}}]}}]}}",
            pages.url()
        ))
        .service("name: plain, basePath: /plain, targets: ['builtin:echo']")
        .open_files(256)
        .start();
    let addr = gateway.addr;
    let ask = move || get(addr, "/pages").json();
    let asked: Vec<_> = (0..10).map(|_| std::thread::spawn(ask)).collect();
    while !asked.iter().all(JoinHandle::is_finished) {
        assert_eq!(get(addr, "/plain").status, 200);
    }
    for page in asked {
        let page = page.join().unwrap();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() == CALLS && items.iter().all(|item| item["is"] == 1), "{page}");
    }
    // Three quarters of half of 256 at a time; one that has ended is made anew, and counted again.
    assert!(called.connections() <= 128, "{}", called.connections());
}

#[test]
fn a_client_that_leaves_the_queue_gives_its_place_to_another() {
    let gate = Gate::default();
    let origin = held(&gate);
    let limits = "connections: 1, pending: 1, pendingTimeout: 1h";
    let setup = Setup::new().logging("accessLog: stdout");
    let gateway = limited(setup, "a", &[&origin], limits).start();
    let first = ask_many(1, gateway.addr, "/a");
    origin.wait_requests(1);
    let mut leaving = Client::connect(gateway.addr);
    leaving.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(get(gateway.addr, "/a").status, 503, "its place is taken");
    drop(leaving);
    gateway.wait_log("error=\"client closed the connection\"");
    let next = ask_many(1, gateway.addr, "/a");
    gate.open();
    assert_eq!(statuses(first), [200]);
    assert_eq!(statuses(next), [200]);
    assert_eq!(origin.requests().len(), 2, "nobody asked for the one that left");
}
