//! Filters of Envoy, as their SDKs build them: what they do in Envoy they do here. (What is
//! asserted is what was seen of Envoy 1.40 with the same modules.)

use crate::support::{Client, Gate, Gateway, Origin, Setup, get, get_with, post, wait_until, wasm};
use std::time::{Duration, Instant};

mod grpc;
mod handler_bodies;
mod handlers;
mod hostile;
mod killing;
mod kit;
mod order;
mod script;
mod statuses;
mod tools;

/// A filter of `plugins/filters`, as `make plugins` builds it.
pub fn built(name: &str) -> Vec<u8> {
    let path = format!("{}/plugins/dist/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}; run `make plugins`"))
}

/// A handler of http-wasm that lets everything pass.
pub fn handler() -> Vec<u8> {
    handlers::handler("(i64.const 1)", "")
}

/// One worker, an origin and the Rust SDK's filter with this configuration.
fn with(origin: &Origin, config: &str) -> Gateway {
    Setup::to(origin).log_level("trace").plugin("it", built("filter-rust"), &keys(config)).start()
}

fn keys(config: &str) -> String {
    format!("config: '{config}', timeout: 1s")
}

fn header(response: &crate::support::Response, name: &str) -> String {
    let values = response.head.all(name);
    assert_eq!(values.len(), 1, "{name} in {}", response.head);
    values[0].to_owned()
}

/// An origin that answers with the body that it is sent.
fn echoing() -> Origin {
    Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            if !connection.answer(&request.text()) {
                return;
            }
        }
    })
}

#[test]
fn headers_are_read_set_added_and_removed() {
    let origin = Origin::ok();
    let gateway = with(&origin, "headers");
    let response = get_with(gateway.addr, "/old?a=b", "X-Remove: 1\r\nX-Keep: k\r\n");
    assert_eq!((response.status, header(&response, "x-status")), (200, "200".to_owned()));
    assert_eq!(header(&response, "x-asked"), "/old?a=b");
    let asked = origin.only_request();
    assert_eq!(asked.head.all("x-path"), ["/old?a=b"]);
    assert_eq!(asked.head.all("x-end"), ["yes"]);
    assert_eq!(asked.head.all("x-many"), ["1", "2"]);
    assert_eq!(asked.head.all("x-remove").len(), 0);
    assert_eq!(asked.head.all("x-keep"), ["k"]);
    let rewritten = get(gateway.addr, "/old");
    assert_eq!(header(&rewritten, "x-asked"), "/new?by=filter");
    gateway.wait_log("logged /old?a=b 200");
    // Names come in small letters, the control data first.
    gateway.wait_log("x-keep: k");
    gateway.wait_log(":method: GET");
}

#[test]
fn a_call_of_a_service_decides_whether_a_request_goes_on() {
    let origin = Origin::ok();
    let auth = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            assert_eq!(request.target, "/check?who=filter");
            assert_eq!(request.head.all("host"), ["auth.test"]);
            connection.answer(request.head.all("x-asks").first().map_or("no", |_| "yes"));
        }
    });
    let setup = |service: &str| {
        Setup::to(&origin)
            .service(&format!("name: auth, basePath: /auth, targets: ['{}']", auth.url()))
            .plugin("it", built("filter-rust"), &keys(&format!("auth {service}")))
            .start()
    };
    let gateway = setup("auth");
    assert_eq!(get(gateway.addr, "/").status, 200);
    assert_eq!(origin.only_request().head.all("x-allowed"), ["1"]);
    let unknown = get(setup("nobody").addr, "/");
    assert_eq!((unknown.status, unknown.text()), (500, "no call: BadArgument".to_owned()));
}

#[test]
fn a_call_that_fails_is_answered_with_nothing() {
    let origin = Origin::ok();
    let dead = Origin::scripted(|connection, _| connection.reset());
    let gateway = Setup::to(&origin)
        .service(&format!("name: auth, basePath: /auth, targets: ['{}']", dead.url()))
        .plugin("it", built("filter-rust"), &keys("auth auth"))
        .start();
    let response = get(gateway.addr, "/");
    assert_eq!(response.status, 403);
    assert_eq!(response.text(), "status \"\", 0 headers, 0 bytes");
    assert_eq!(header(&response, "x-why"), "filter");
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn bodies_of_both_messages_are_rewritten() {
    let origin = echoing();
    let gateway = with(&origin, "body");
    let response = post(gateway.addr, "/", "a secret and a secret");
    assert_eq!(response.text(), "a ******! and a ******!");
    assert_eq!(origin.only_request().text(), "a ******! and a ******!");
    let origin = Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nmy secret!");
    let gateway = with(&origin, "body");
    assert_eq!(get(gateway.addr, "/").text(), "my [hidden]!");
}

#[test]
fn a_configuration_comes_as_it_is_or_as_json() {
    let origin = Origin::ok();
    let gateway = with(&origin, "config some text");
    assert_eq!(header(&get(gateway.addr, "/"), "x-config"), "some text");
    let refused = Setup::to(&origin).plugin("it", built("filter-rust"), &keys("refuse")).start();
    assert_eq!(get(refused.addr, "/").status, 503);
    refused.wait_log("proxy_on_configure returned false");
}

#[test]
fn ticks_come_by_themselves() {
    let origin = Origin::ok();
    let gateway = with(&origin, "tick");
    wait_until("it has ticked", || {
        header(&get(gateway.addr, "/"), "x-ticks").parse::<u64>().unwrap() > 3
    });
}

#[test]
fn what_is_enqueued_is_told_to_who_registered_the_queue() {
    let origin = Origin::ok();
    let gateway = with(&origin, "queue");
    wait_until("jobs are done", || {
        header(&get(gateway.addr, "/"), "x-jobs").parse::<u64>().unwrap() > 2
    });
}

#[test]
fn shared_data_counts_every_request_of_every_worker() {
    let origin = Origin::ok();
    let gateway =
        Setup::to(&origin).workers(2).plugin("it", built("filter-rust"), &keys("shared")).start();
    let counts: Vec<u64> =
        (0..50).map(|_| header(&get(gateway.addr, "/"), "x-count").parse().unwrap()).collect();
    assert_eq!(counts, (1..=50).collect::<Vec<_>>());
    // Each context was deleted, once.
    wait_until("all that are over are gone", || {
        let response = get(gateway.addr, "/");
        let count: u64 = header(&response, "x-count").parse().unwrap();
        let dropped: u64 = header(&response, "x-dropped").parse().unwrap();
        assert!(dropped < count, "{dropped} of {count}");
        dropped + 1 == count
    });
}

#[test]
fn metrics_are_read_by_the_filter_and_shown() {
    let origin = Origin::ok();
    let gateway = with(&origin, "metric");
    assert_eq!(header(&get(gateway.addr, "/"), "x-seen"), "2");
    assert_eq!(header(&get(gateway.addr, "/"), "x-seen"), "4");
    let metrics = gateway.call("GET", "/metrics", "").text();
    for line in ["_total{plugin=\"it\",name=\"seen\"} 4", "_gauge{plugin=\"it\",name=\"level\"} 41"]
    {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[test]
fn properties_are_told_and_those_that_were_set_are_kept() {
    let origin = Origin::ok();
    let gateway = with(&origin, "property");
    let response = get_with(gateway.addr, "/", "User-Agent: tester\r\n");
    for (name, value) in [
        ("x-mine", "set"),
        ("x-name", "it"),
        ("x-method", "GET"),
        ("x-agent", "tester"),
        ("x-code", "200"),
    ] {
        assert_eq!(header(&response, name), value, "{name}");
    }
}

#[test]
fn a_local_response_is_the_first_one_and_nothing_goes_on() {
    let origin = Origin::ok();
    let gateway = with(&origin, "deny");
    let mut client = Client::connect(gateway.addr);
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!((response.status, response.text()), (418, "no tea".to_owned()));
        assert_eq!(header(&response, "x-deny"), "1");
        assert_eq!(header(&response, "content-type"), "text/plain");
    }
    assert_eq!(origin.requests().len(), 0);
    let gateway = with(&origin, "redeny");
    let response = get(gateway.addr, "/");
    assert_eq!((response.status, response.text()), (503, "from the response".to_owned()));
}

#[test]
fn what_comes_too_late_does_nothing() {
    let origin = Origin::ok();
    let gateway = with(&origin, "late");
    assert_eq!(header(&get(gateway.addr, "/"), "x-id"), "2");
    assert_eq!(origin.only_request().head.all("x-late").len(), 0);
}

#[test]
fn a_value_that_is_no_utf8_is_neither_an_outage_nor_a_bypass() {
    let origin = Origin::ok();
    let setup = |policy: &str| {
        let keys = format!("{}{policy}", keys("headers"));
        Setup::to(&origin).plugin("it", built("filter-rust"), &keys).start()
    };
    let bad = b"GET / HTTP/1.1\r\nHost: a\r\nX-Bad: \xff\xfe\r\nConnection: close\r\n\r\n";
    let gateway = setup("");
    assert_eq!(Client::connect(gateway.addr).ask(bad).status, 400);
    assert_eq!(get(gateway.addr, "/").status, 200);
    assert_eq!(origin.requests().len(), 1);
    let gateway = setup(", nonUtf8: hide");
    assert_eq!(Client::connect(gateway.addr).ask(bad).status, 200);
    assert_eq!(origin.requests()[1].head.all("x-path"), ["/"]);
    // The SDK cannot bear it: one request pays.
    let gateway = setup(", nonUtf8: pass");
    assert_eq!(Client::connect(gateway.addr).ask(bad).status, 503);
    assert_eq!(get(gateway.addr, "/").status, 200);
}

#[test]
fn a_chain_mixes_abis() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin("json", wasm::setting_headers(r#""X-Json":["1"]"#), "priority: 1")
        .plugin("filter", built("filter-rust"), &format!("{}, priority: 2", keys("headers")))
        .start();
    let response = get(gateway.addr, "/p");
    assert_eq!(
        (header(&response, "x-json"), header(&response, "x-asked")),
        ("1".into(), "/p".into())
    );
}

#[test]
fn a_reload_ends_every_context_and_answers_every_request() {
    let origin = Origin::ok();
    let gateway = with(&origin, "shared");
    let mut client = Client::connect(gateway.addr);
    for round in 0..20 {
        assert_eq!(client.get("/").status, 200);
        let config = gateway.config().replace("timeout: 1s", &format!("timeout: 1{round:03}ms"));
        gateway.rewrite(&config);
        assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
        assert_eq!(client.get("/").status, 200);
    }
}

#[test]
fn a_pause_ends_at_its_deadline() {
    let origin = Origin::ok();
    let gateway = with(&origin, "pause");
    let started = Instant::now();
    assert_eq!(get(gateway.addr, "/").status, 503);
    assert!(started.elapsed() > Duration::from_millis(900), "{:?}", started.elapsed());
    gateway.wait_log("paused, and neither gone on nor answered");
}

#[test]
fn exchanges_wait_for_their_answers_side_by_side_in_one_instance() {
    const EXCHANGES: usize = 50;
    let gate = Gate::default();
    let held = gate.clone();
    let auth = Origin::scripted(move |connection, _| {
        while connection.request().is_some() {
            held.wait();
            connection.answer("yes");
        }
    });
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .service(&format!("name: auth, basePath: /auth, targets: ['{}']", auth.url()))
        .plugin("it", built("filter-rust"), "config: 'auth auth', timeout: 10s")
        .start();
    std::thread::scope(|scope| {
        let asked: Vec<_> =
            (0..EXCHANGES).map(|_| scope.spawn(|| get(gateway.addr, "/").status)).collect();
        auth.wait_requests(EXCHANGES);
        gate.open();
        for asked in asked {
            assert_eq!(asked.join().unwrap(), 200);
        }
    });
    wait_until("the instance rests", || {
        let metrics = gateway.call("GET", "/metrics", "").text();
        metrics.contains("wasm_plugin_instances_active{plugin=\"it\"} 0")
    });
}

#[test]
fn a_filter_of_the_go_sdk_runs_as_that_of_rust() {
    let origin = Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nmy secret!");
    let auth = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            assert_eq!(request.target, "/check");
            connection.answer("yes");
        }
    });
    let setup = |config: &str| {
        Setup::to(&origin)
            .wasm("maxMemoryPages: 512")
            .service(&format!("name: auth, basePath: /auth, targets: ['{}']", auth.url()))
            .plugin("it", built("filter-go"), &keys(config))
            .start()
    };
    let gateway = setup("headers");
    assert_eq!(header(&get(gateway.addr, "/p"), "x-go"), "1");
    assert_eq!(origin.requests()[0].head.all("x-path"), ["/p"]);
    assert_eq!(get(setup("auth auth").addr, "/").status, 200);
    assert_eq!(get(setup("body").addr, "/").text(), "my [go]!");
    let gateway = setup("shared");
    assert_eq!(header(&get(gateway.addr, "/"), "x-count"), "1");
    assert_eq!(header(&get(gateway.addr, "/"), "x-count"), "2");
    let gateway = setup("tick");
    wait_until("it has ticked", || header(&get(gateway.addr, "/"), "x-ticks") != "0");
    let gateway = setup("trap");
    assert_eq!(get(gateway.addr, "/").status, 503);
    gateway.wait_log("asked to");
}

#[test]
fn a_filter_of_the_assemblyscript_sdk_runs_as_that_of_rust() {
    let origin = Origin::ok();
    let auth = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            assert_eq!(request.target, "/check");
            connection.answer(request.head.all("host").first().map_or("no", |_| "yes"));
        }
    });
    let setup = |config: &str| {
        Setup::to(&origin)
            .service(&format!("name: auth, basePath: /auth, targets: ['{}']", auth.url()))
            .plugin(
                "it",
                built("filter-assemblyscript"),
                &format!("{}, rootId: as_root", keys(config)),
            )
            .start()
    };
    let gateway = setup("headers");
    let response = get_with(gateway.addr, "/p", "X-Remove: 1\r\n");
    assert_eq!(header(&response, "x-as"), "headers");
    let asked = origin.requests();
    assert_eq!(asked[0].head.all("x-path"), ["/p"]);
    assert_eq!(asked[0].head.all("x-remove").len(), 0);
    gateway.wait_log("logged /p");
    let gateway = setup("deny");
    let response = get(gateway.addr, "/");
    assert_eq!((response.status, response.text()), (418, "no tea".to_owned()));
    assert_eq!(header(&response, "x-deny"), "as");
    assert_eq!(get(setup("auth").addr, "/").status, 200);
    let gateway = setup("tick");
    wait_until("it has ticked", || header(&get(gateway.addr, "/"), "x-ticks") != "0");
    let gateway = setup("trap");
    assert_eq!(get(gateway.addr, "/").status, 503);
    assert_eq!(get(setup("refuse").addr, "/").status, 503);
}
