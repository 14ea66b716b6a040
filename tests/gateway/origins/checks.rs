//! Targets that are checked, drained, told of.

use std::time::{Duration, Instant};

use super::{in_front, served, three};
use crate::support::failing::{Failing, Mode};
use crate::support::{Gateway, Setup, get, wait_until};

const CHECKED: &str = "outlier: off, healthCheck: {path: /healthz, interval: 100ms, \
                       timeout: 500ms, healthyAfter: 2, unhealthyAfter: 2}";

/// What the status says of the target of an origin.
fn told(gateway: &Gateway, origin: &Failing) -> serde_json::Value {
    let status = gateway.call("GET", "/api/status", "").json();
    let targets = status["targets"].as_array().unwrap().clone();
    let found = targets.into_iter().find(|target| target["url"] == origin.url());
    found.unwrap_or_else(|| panic!("no {} in {status}", origin.url()))
}

fn wait_state(gateway: &Gateway, origin: &Failing, state: &str) {
    wait_until(state, || told(gateway, origin)["state"] == state);
}

/// Requests of clients, without checks.
fn asked(origin: &Failing) -> usize {
    origin.requests().iter().filter(|line| !line.contains("/healthz")).count()
}

#[test]
fn a_target_whose_checks_fail_gets_no_requests_until_they_pass() {
    let (origins, gateway) = three(CHECKED);
    wait_until("all are checked", || origins.iter().all(|origin| origin.count() > 2));
    origins[1].becomes(Mode::Status(500));
    wait_state(&gateway, &origins[1], "unhealthy");
    gateway.wait_log("its checks fail: it answers with 500");
    let now = told(&gateway, &origins[1]);
    assert_eq!(now["reason"], "check_failed", "{now}");
    assert_eq!(now["check"], "it answers with 500", "{now}");
    assert!(now["sinceMs"].as_u64().unwrap() > 1_600_000_000_000, "{now}");
    let before = asked(&origins[1]);
    assert_eq!(served(&gateway, 60), 60);
    assert_eq!(asked(&origins[1]), before);
    let metrics = gateway.call("GET", "/metrics", "").text();
    let line = format!(
        "odin_upstream_target_state{{service=\"a\",target=\"{}\",state=\"unhealthy\"}} 1\n",
        origins[1].url()
    );
    assert!(metrics.contains(&line), "{metrics}");
    // A reload that changes something else asks nobody anew.
    gateway.rewrite(&gateway.config().replace("basePath: /,", "basePath: /, timeout: 7s,"));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(told(&gateway, &origins[1])["state"], "unhealthy");
    origins[1].becomes(Mode::Well);
    wait_state(&gateway, &origins[1], "healthy");
    assert_eq!(served(&gateway, 30), 30);
    assert!(asked(&origins[1]) >= before + 8);
}

#[test]
fn checks_that_hang_are_refused_or_answer_nonsense_fail() {
    let (origins, gateway) = three(CHECKED);
    wait_until("all are checked", || origins.iter().all(|origin| origin.count() > 2));
    origins[0].becomes(Mode::Hangs);
    origins[1].dies();
    origins[2].becomes(Mode::Resets);
    for origin in &origins {
        wait_state(&gateway, origin, "unhealthy");
    }
    assert_eq!(told(&gateway, &origins[0])["check"], "no answer within 500ms");
    let words = told(&gateway, &origins[1])["check"].as_str().unwrap().to_owned();
    assert!(words.starts_with("cannot connect: "), "{words}");
    // All are sick: all are asked, and everybody is told.
    gateway.wait_log("all of its targets are sick");
    let ready = gateway.call("GET", "/readyz", "");
    assert_eq!((ready.status, &ready.json()["status"]), (200, &"degraded".into()));
    assert_eq!(gateway.call("GET", "/api/status", "").json()["panicking"][0], "a");
    let metrics = gateway.call("GET", "/metrics", "").text();
    assert!(metrics.contains("odin_upstream_panicking{service=\"a\"} 1\n"), "{metrics}");
    origins[2].becomes(Mode::Well);
    wait_state(&gateway, &origins[2], "healthy");
    assert_eq!(gateway.call("GET", "/readyz", "").json()["status"], "ready");
    assert_eq!(served(&gateway, 10), 10);
}

#[test]
fn a_connection_is_enough_where_the_check_says_so() {
    let keys = "outlier: off, healthCheck: {tcp: true, interval: 100ms, unhealthyAfter: 1}";
    let (origins, gateway) = three(keys);
    origins[0].becomes(Mode::Status(500));
    assert_eq!(served(&gateway, 30), 20);
    origins[0].dies();
    wait_state(&gateway, &origins[0], "unhealthy");
    assert_eq!(served(&gateway, 30), 30);
}

#[test]
fn a_check_that_is_taken_out_leaves_nobody_sick() {
    let (origins, gateway) = three(CHECKED);
    wait_until("all are checked", || origins.iter().all(|origin| origin.count() > 2));
    origins[1].becomes(Mode::Status(500));
    wait_state(&gateway, &origins[1], "unhealthy");
    gateway.rewrite(&gateway.config().replace(CHECKED, "outlier: off"));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    wait_state(&gateway, &origins[1], "healthy");
}

#[test]
fn an_operator_drains_a_target_and_has_it_back() {
    let (origins, gateway) = three("retry: {}");
    let put = |drained: bool, url: &str| {
        let body = format!("{{\"url\": \"{url}\", \"drained\": {drained}}}");
        gateway.call("PUT", "/api/targets/drained", &body)
    };
    let done = put(true, &origins[2].url());
    assert_eq!((done.status, &done.json()["targets"][0]), (200, &origins[2].url().into()));
    assert_eq!(served(&gateway, 30), 30);
    assert_eq!(origins[2].count(), 0);
    assert_eq!(told(&gateway, &origins[2])["state"], "drained");
    // Over a reload, and when the others are dead.
    gateway.rewrite(&gateway.config().replace("basePath: /,", "basePath: /, timeout: 7s,"));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    origins[0].dies();
    origins[1].dies();
    assert_eq!(get(gateway.addr, "/").status, 502);
    assert_eq!(origins[2].count(), 0);
    assert_eq!(put(false, &origins[2].url()).status, 200);
    assert_eq!(served(&gateway, 10), 10);
    assert_eq!(put(true, "http://nobody.test").status, 404);
    assert_eq!(gateway.call("PUT", "/api/targets/drained", "{}").status, 400);
}

#[test]
fn a_target_that_takes_no_connections_is_tried_by_the_gateway_itself() {
    let (origins, gateway) = three("retry: {}");
    assert_eq!(served(&gateway, 3), 3);
    origins[0].dies();
    assert_eq!(served(&gateway, 6), 6);
    assert_eq!(told(&gateway, &origins[0])["reason"], "connect_failed");
    gateway.wait_log("target is ejected");
    let ejections = |_: ()| told(&gateway, &origins[0])["ejections"].as_u64().unwrap();
    let before = ejections(());
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(3500) {
        assert_eq!(served(&gateway, 3), 3);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(ejections(()) <= before + 1, "requests find out in vain");
    origins[0].comes_back();
    gateway.wait_log("target is ejected");
    let count = origins[0].count();
    wait_until("it is asked again", || {
        assert_eq!(served(&gateway, 3), 3);
        origins[0].count() > count + 3
    });
    assert!(started.elapsed() < Duration::from_secs(9));
    gateway.wait_log("target is back");
}

#[test]
fn every_address_of_a_name_is_a_target_and_follows_it() {
    let listen = |ip: &str, port: u16| std::net::TcpListener::bind((ip, port)).unwrap();
    let first = listen("127.0.0.1", 0);
    let port = first.local_addr().unwrap().port();
    let (one, two) = (Failing::on("one", first), Failing::on("two", listen("127.0.0.2", port)));
    let three = Failing::on("three", listen("127.0.0.3", port));
    let gateway = Setup::new()
        .names(&[("many.test", "127.0.0.1 127.0.0.2")])
        .service(&format!(
            "name: a, basePath: /, targets: ['http://many.test:{port}'], resolve: 500ms, \
             retry: {{}}"
        ))
        .start();
    assert_eq!(served(&gateway, 20), 20);
    assert_eq!((one.count(), two.count()), (10, 10));
    two.dies();
    assert_eq!(served(&gateway, 20), 20);
    let status = gateway.call("GET", "/api/status", "").json();
    let url = format!("http://many.test:{port} (127.0.0.2)");
    let dead = status["targets"].as_array().unwrap().iter().find(|one| one["url"] == *url);
    assert_eq!(dead.unwrap()["state"], "ejected", "{status}");
    gateway.move_names(&[("many.test", "127.0.0.3 127.0.0.1")]);
    wait_until("the moved address is asked", || {
        assert_eq!(served(&gateway, 2), 2);
        three.count() > 0
    });
    let before = two.count();
    // A resolver that fails changes nothing.
    gateway.move_names(&[]);
    std::thread::sleep(Duration::from_millis(1200));
    let (a, b) = (one.count(), three.count());
    assert_eq!(served(&gateway, 20), 20);
    assert_eq!((one.count() - a, three.count() - b, two.count()), (10, 10, before));
}

#[test]
fn a_name_may_be_one_target() {
    let listen = |ip: &str, port: u16| std::net::TcpListener::bind((ip, port)).unwrap();
    let first = listen("127.0.0.1", 0);
    let port = first.local_addr().unwrap().port();
    let (one, two) = (Failing::on("one", first), Failing::on("two", listen("127.0.0.2", port)));
    let gateway = Setup::new()
        .names(&[("many.test", "127.0.0.1 127.0.0.2")])
        .service(&format!(
            "name: a, basePath: /, targets: ['http://many.test:{port}'], addresses: together"
        ))
        .start();
    assert_eq!(served(&gateway, 20), 20);
    assert_eq!(one.count().max(two.count()), 20, "over one connection");
    let status = gateway.call("GET", "/api/status", "").json();
    assert_eq!(status["targets"].as_array().unwrap().len(), 1, "{status}");
}

#[test]
fn a_rolling_restart_loses_nothing() {
    let origins = [Failing::new("a"), Failing::new("b"), Failing::new("c")];
    let gateway = in_front(&origins, "retry: {tries: 3}").workers(2).start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = crate::support::Client::connect(gateway.addr);
                    let mut count = 0;
                    while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                        assert_eq!(client.get("/").status, 200, "after {count}");
                        count += 1;
                        std::thread::sleep(Duration::from_millis(4));
                    }
                    count
                })
            })
            .collect();
        for origin in &origins {
            origin.dies();
            std::thread::sleep(Duration::from_millis(300));
            origin.comes_back();
            let before = origin.count();
            wait_until("it serves again", || origin.count() > before);
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let total: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
        assert!(total > 100, "{total}");
    });
}
