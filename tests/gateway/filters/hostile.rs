//! What a filter does to itself, it does to nobody else.

use super::{built, keys};
use crate::support::{Client, Gateway, Origin, Setup, get, post, wait_until};
use std::time::{Duration, Instant};

fn with(config: &str, more: &str) -> (Origin, Gateway) {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .service("name: free, basePath: /free, targets: ['builtin:echo']")
        .service("name: guarded, basePath: /guarded, targets: ['builtin:echo']")
        .plugin("it", built("filter-rust"), &format!("{}, services: [guarded]{more}", keys(config)))
        .start();
    (origin, gateway)
}

#[test]
fn a_trap_in_any_callback_costs_its_exchange_at_most() {
    for (at, status) in [
        ("request", 503),
        ("request-body", 503),
        ("response", 503),
        ("response-body", 503),
        ("log", 200),
        ("done", 200),
    ] {
        let (_origin, gateway) = with(&format!("trap {at}"), "");
        for _ in 0..20 {
            assert_eq!(post(gateway.addr, "/guarded", "body").status, status, "{at}");
            assert_eq!(get(gateway.addr, "/free").status, 200, "{at}");
        }
        gateway.wait_log("trapped");
        let (_origin, open) = with(&format!("trap {at}"), ", failureMode: open");
        for _ in 0..3 {
            let response = post(open.addr, "/guarded", "body");
            assert_eq!((response.status, response.json()["body"].as_str()), (200, Some("body")));
        }
    }
}

#[test]
fn a_trap_in_the_answer_of_a_call_ends_those_that_wait() {
    let auth = Origin::ok();
    let gateway = Setup::echo()
        .service(&format!("name: auth, basePath: /auth, targets: ['{}']", auth.url()))
        .plugin("it", built("filter-rust"), "config: 'auth auth', timeout: 5s")
        .start();
    // It says "ok", not "yes".
    assert_eq!(get(gateway.addr, "/").status, 403);
    let trapping = Setup::echo()
        .service(&format!("name: call, basePath: /auth, targets: ['{}']", auth.url()))
        .plugin("it", built("filter-rust"), "config: 'trap call', timeout: 5s")
        .start();
    assert_eq!(get(trapping.addr, "/").status, 200, "nothing is called");
}

#[test]
fn an_endless_loop_is_ended_and_others_are_served_meanwhile() {
    let (_origin, gateway) = with("spin", "");
    let mut spinning = Client::connect(gateway.addr);
    spinning.send("GET /guarded HTTP/1.1\r\nHost: a\r\n\r\n");
    let started = Instant::now();
    let mut client = Client::connect(gateway.addr);
    let mut served = 0;
    while started.elapsed() < Duration::from_millis(500) {
        assert_eq!(client.get("/free").status, 200);
        served += 1;
    }
    assert!(served > 5, "{served}");
    assert_eq!(spinning.response().status, 503);
    assert!(started.elapsed() < Duration::from_secs(4));
    gateway.wait_log("plugin execution timeout");
}

#[test]
fn endless_memory_is_ended() {
    let (_origin, gateway) = with("hog", "");
    for _ in 0..5 {
        assert_eq!(get(gateway.addr, "/guarded").status, 503);
        assert_eq!(get(gateway.addr, "/free").status, 200);
    }
    gateway.wait_log("failed to allocate memory");
    assert!(gateway.peak_rss_kib() < 192 * 1024, "{} KiB", gateway.peak_rss_kib());
}

#[test]
fn paused_exchanges_whose_clients_leave_leave_nothing_behind() {
    const CLIENTS: usize = 500;
    let origin = Origin::ok();
    // It counts, and says nothing: lines of a log are bounded by the second.
    let script = r#"define_metric 0 "begun" >begun;define_metric 0 "ended" >ended;
        on request_headers;increment_metric $begun 1;return 1;on log;increment_metric $ended 1"#;
    let gateway = Setup::to(&origin)
        .service("name: free, basePath: /free, targets: ['builtin:echo']")
        .plugin(
            "it",
            built("filter-script"),
            &format!("config: '{}', timeout: 60s, services: [all]", script.replace('\n', "")),
        )
        .start();
    let counted = |name: &str| {
        let series = format!("wasm_plugin_custom_total{{plugin=\"it\",name=\"{name}\"}}");
        gateway.metric(&series) as usize
    };
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = Client::connect(gateway.addr);
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    assert_eq!(get(gateway.addr, "/free").status, 200);
    wait_until("all are paused", || counted("begun") == CLIENTS);
    assert_eq!(counted("ended"), 0);
    clients.into_iter().for_each(Client::reset);
    wait_until("all contexts are told", || counted("ended") == CLIENTS);
    assert_eq!(get(gateway.addr, "/free").status, 200);
    assert_eq!(origin.requests().len(), 0);
}
