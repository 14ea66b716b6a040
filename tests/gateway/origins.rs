//! Origins that fail: who pays for it, for how long, and that what is sent twice may be.

mod checks;
mod choice;
mod grpc;
mod names;
mod secure;
mod state;

use std::time::{Duration, Instant};

use crate::support::failing::{Failing, Mode, swallowing};
use crate::support::{Client, Gateway, Setup, ask, get, wait_until};

/// Three origins and a gateway in front of them.
fn three(keys: &str) -> ([Failing; 3], Gateway) {
    let origins = [Failing::new("a"), Failing::new("b"), Failing::new("c")];
    let gateway = in_front(&origins, keys).start();
    (origins, gateway)
}

fn in_front(origins: &[Failing], keys: &str) -> Setup {
    let targets: Vec<_> = origins.iter().map(|origin| format!("'{}'", origin.url())).collect();
    let targets = targets.join(", ");
    Setup::new().service(&format!("name: a, basePath: /, targets: [{targets}], {keys}"))
}

/// How many of so many requests one after the other got 200.
fn served(gateway: &Gateway, requests: usize) -> usize {
    (0..requests).filter(|_| get(gateway.addr, "/").status == 200).count()
}

fn post(gateway: &Gateway, path: &str) -> u16 {
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    ask(gateway.addr, head).status
}

#[test]
fn a_killed_origin_costs_nobody_a_request_and_is_asked_again_when_it_is_back() {
    let (origins, gateway) = three("retry: {}");
    assert_eq!(served(&gateway, 30), 30);
    assert!(origins.iter().all(|origin| origin.count() == 10));
    origins[1].dies();
    assert_eq!(served(&gateway, 100), 100);
    for number in 0..20 {
        assert_eq!(post(&gateway, &format!("/{number}")), 200, "nothing of it was sent");
    }
    origins[1].comes_back();
    let (before, started) = (origins[1].count(), Instant::now());
    while origins[1].count() < before + 5 {
        assert_eq!(served(&gateway, 3), 3);
        assert!(started.elapsed() < Duration::from_secs(8), "it is never asked again");
    }
}

#[test]
fn an_origin_that_cannot_serve_is_passed_over_and_then_left_alone() {
    let (origins, gateway) = three("retry: {}");
    origins[0].becomes(Mode::Status(503));
    assert_eq!(served(&gateway, 200), 200);
    assert_eq!(origins[0].count(), 5, "it is ejected by then");
    // What an application says of one request says nothing of the next.
    origins[1].becomes(Mode::Status(500));
    let fine = served(&gateway, 40);
    assert!((15..25).contains(&fine), "{fine} of 40");
}

#[test]
fn an_origin_that_resets_is_ejected_and_no_post_is_sent_twice() {
    let (origins, gateway) = three("retry: {}");
    origins[2].becomes(Mode::Resets);
    assert_eq!(served(&gateway, 10), 10, "each is repeated elsewhere");
    for number in 0..20 {
        let status = post(&gateway, &format!("/once/{number}"));
        assert!([200, 502].contains(&status), "{status}");
    }
    let mut posts: Vec<_> = origins.iter().flat_map(Failing::requests).collect();
    posts.retain(|line| line.starts_with("POST"));
    assert_eq!(posts.len(), 20, "{posts:?}");
    assert!(origins[2].count() <= 5, "it is ejected by then");
}

#[test]
fn without_retry_nothing_that_was_sent_is_sent_again() {
    let (origins, gateway) = three("outlier: off");
    origins[0].becomes(Mode::Status(503));
    origins[1].becomes(Mode::Resets);
    let statuses: Vec<_> = (0..6).map(|_| get(gateway.addr, "/").status).collect();
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((count(200), count(503), count(502)), (2, 2, 2), "{statuses:?}");
    assert_eq!(origins.iter().map(Failing::count).sum::<usize>(), 6);
}

#[test]
fn an_origin_that_hangs_is_left_for_another_one_within_a_trys_time() {
    let (origins, gateway) = three("retry: {perTry: 200ms, tries: 3}");
    origins[1].becomes(Mode::Hangs);
    let started = Instant::now();
    assert_eq!(served(&gateway, 60), 60);
    assert_eq!(origins[1].count(), 5);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn an_origin_that_swallows_connections_costs_one_request_its_time() {
    let origins = [Failing::new("a"), Failing::new("b")];
    let (_listener, _held, silent) = swallowing();
    let targets = format!("'{}', '{}', 'http://{silent}'", origins[0].url(), origins[1].url());
    let gateway = Setup::new()
        .server("timeouts: {connect: 500ms}")
        .service(&format!("name: a, basePath: /, targets: [{targets}]"))
        .start();
    let mut late = 0;
    for _ in 0..60 {
        let started = Instant::now();
        assert_eq!(get(gateway.addr, "/").status, 200);
        late += usize::from(started.elapsed() >= Duration::from_millis(400));
    }
    assert_eq!(late, 1);
}

#[test]
fn when_all_fail_they_are_asked_little_more_than_clients_ask_and_all_is_well_when_they_are_back() {
    let (origins, gateway) = three("retry: {tries: 3}");
    for origin in &origins {
        origin.becomes(Mode::Status(503));
    }
    let requests = 400;
    for _ in 0..requests {
        assert_eq!(get(gateway.addr, "/").status, 503);
    }
    let tries: usize = origins.iter().map(Failing::count).sum();
    assert!(tries >= requests, "all are sick, so all are asked: {tries}");
    assert!(tries as f64 <= requests as f64 * 1.25, "{tries} tries of {requests} requests");
    for origin in &origins {
        origin.dies();
    }
    assert_eq!(get(gateway.addr, "/").status, 502);
    for origin in &origins {
        origin.comes_back();
    }
    assert_eq!(served(&gateway, 50), 50, "who is well is found at once");
}

/// How many of six requests got 503 that the first of three origins, which resets or answers so,
/// was asked for; each is sent in these pieces.
fn unserved(pieces: &[&str]) -> usize {
    let (origins, gateway) = three("retry: {}, outlier: off");
    origins[0].becomes(Mode::Status(503));
    let status = |_| {
        let mut client = Client::connect(gateway.addr);
        for piece in pieces {
            client.send(piece);
            std::thread::sleep(Duration::from_millis(20));
        }
        client.response().status
    };
    let statuses: Vec<u16> = (0..6).map(status).collect();
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    statuses.iter().filter(|status| **status == 503).count()
}

#[test]
fn a_small_body_is_sent_again_where_its_request_may_be_and_no_other() {
    let head = |method: &str, length: usize| {
        format!("{method} /x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
    };
    assert_eq!(unserved(&[&(head("PUT", 2) + "hi")]), 0);
    // Not at hand when the request is routed.
    assert_eq!(unserved(&[&head("PUT", 4), "ab", "cd"]), 0);
    assert_eq!(unserved(&[&(head("POST", 2) + "hi")]), 2, "it may not be repeated");
    let large = "x".repeat(65 * 1024);
    assert_eq!(unserved(&[&head("PUT", large.len()), &large]), 2, "it is not kept");
}

#[test]
fn a_small_body_survives_an_origin_that_resets_and_arrives_whole() {
    let origin = crate::support::Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let (length, body) = (request.body.len(), request.text());
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"));
        }
    });
    let broken = Failing::new("broken");
    broken.becomes(Mode::Resets);
    let targets = format!("'{}', '{}'", broken.url(), origin.url());
    let gateway = Setup::new()
        .service(&format!("name: a, basePath: /, targets: [{targets}], retry: {{}}, outlier: off"))
        .start();
    for number in 0..8 {
        let body = format!("{number}").repeat(1 + number * 700);
        let whole =
            format!("PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = ask(gateway.addr, whole);
        assert_eq!((answer.status, answer.text()), (200, body.clone()));
        let chunked = format!(
            "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n\
             0\r\n\r\n",
            body.len()
        );
        let answer = ask(gateway.addr, chunked);
        assert_eq!((answer.status, answer.text()), (200, body));
    }
}

#[test]
fn an_origin_that_breaks_its_answers_off_is_left_alone() {
    let (origins, gateway) = three("retry: {}, outlier: {consecutiveErrors: 3, ejection: 1s}");
    origins[1].becomes(Mode::Cuts);
    let whole = |_: &usize| {
        let mut client = Client::connect(gateway.addr);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.try_response().is_ok()
    };
    let broken = 60 - (0..60).filter(whole).count();
    assert_eq!((broken, origins[1].count()), (3, 3), "a head alone is no good answer");
    // Whoever tries it finds it as it was, and it is left alone for longer.
    wait_until("it is tried", || {
        let _ = whole(&0);
        origins[1].count() > 3
    });
    assert_eq!(60 - (0..60).filter(whole).count(), 0);
    assert_eq!(origins[1].count(), 4);
}

#[test]
fn what_may_not_be_repeated_does_not_find_out_whether_a_target_is_back() {
    let (origins, gateway) = three("retry: {}, outlier: {consecutiveErrors: 2, ejection: 200ms}");
    origins[0].becomes(Mode::Status(503));
    assert_eq!(served(&gateway, 12), 12);
    let count = origins[0].count();
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1200) {
        assert_eq!(post(&gateway, "/"), 200);
    }
    assert_eq!(origins[0].count(), count);
    origins[0].becomes(Mode::Well);
    wait_until("it is back", || {
        assert_eq!(post(&gateway, "/"), 200);
        origins[0].count() > count + 1
    });
}

#[test]
fn retries_wait_and_the_originals_keys_say_so() {
    let (origins, gateway) = three("retryCount: 1, retryDelay: 300ms, outlier: off");
    origins[0].becomes(Mode::Status(502));
    let mut delayed = 0;
    for _ in 0..6 {
        let started = Instant::now();
        assert_eq!(get(gateway.addr, "/").status, 200);
        delayed += usize::from(started.elapsed() >= Duration::from_millis(300));
    }
    assert_eq!(delayed, 2);
}

#[test]
fn a_service_waits_for_its_targets_as_long_as_it_says() {
    let origin = Failing::new("a");
    origin.becomes(Mode::Slow(400));
    let of = |keys: &str| format!("targets: ['{}'], {keys}", origin.url());
    let gateway = Setup::new()
        .server("timeouts: {firstByte: 100ms}")
        .service(&format!("name: quick, basePath: /quick, {}", of("outlier: off")))
        .service(&format!(
            "name: patient, basePath: /patient, {}",
            of("outlier: off, timeout: off, timeouts: {firstByte: 5s}")
        ))
        .start();
    assert_eq!(get(gateway.addr, "/quick").status, 504);
    assert_eq!(get(gateway.addr, "/patient").status, 200);
}

#[test]
fn streams_may_be_silent_for_as_long_as_their_service_says() {
    let origin = crate::support::Origin::scripted(|connection, _| {
        while connection.request().is_some() {
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n");
            std::thread::sleep(Duration::from_millis(500));
            connection.send("2\r\nb\n\r\n0\r\n\r\n");
        }
    });
    let of = |keys: &str| format!("targets: ['{}'], {keys}", origin.url());
    let gateway = Setup::new()
        .server("timeouts: {body: 150ms}")
        .service(&format!("name: plain, basePath: /plain, {}", of("outlier: off")))
        .service(&format!("name: stream, basePath: /s, {}", of("timeouts: {idle: 9s}")))
        .start();
    for _ in 0..2 {
        assert_eq!(get(gateway.addr, "/s").text(), "a\nb\n");
    }
    // Over the connection that the stream has left: its patience is not the connection's.
    let mut client = Client::connect(gateway.addr);
    client.send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().start, "HTTP/1.1 200 OK");
    assert!(!String::from_utf8_lossy(&client.rest()).contains('b'), "the body breaks off");
}
