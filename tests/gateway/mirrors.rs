//! Mirrors: who gets a copy of which request, and that no client waits for one or sees it.

use std::time::{Duration, Instant};

use crate::support::http2::{Http2, Http2Origin, get as fields_of};
use crate::support::websocket::{assert_echoes, echoing, open};
use crate::support::{
    Client, Gate, Gateway, Origin, Setup, ask, check, get, get_with, post, wait_until, wasm,
};

/// A service that goes to `origin`, whose requests are copied to `shadow`.
fn mirrored(origin: &Origin, shadow: &Origin) -> Setup {
    Setup::new()
        .service(&format!(
            "name: a, targets: ['{}'], headers: {{X-Secret: s}}, mirror: {{service: shadow}}",
            origin.url()
        ))
        .service(&shadow_of(shadow, ""))
}

fn shadow_of(shadow: &Origin, keys: &str) -> String {
    format!("name: shadow, internal: true, targets: ['{}']{keys}", shadow.url())
}

/// Waits until so many copies have come to this end.
fn wait_result(gateway: &Gateway, result: &str, count: usize) {
    let series = format!(r#"odin_mirrored_total{{service="a",result="{result}"}}"#);
    wait_until(&format!("{count} {result}"), || {
        let all = gateway.call("GET", "/metrics", "").text();
        all.contains(&format!("{series} {count}\n"))
    });
}

fn counted(gateway: &Gateway) -> Vec<(String, u64)> {
    let all = gateway.call("GET", "/metrics", "").text();
    let lines = all.lines().filter(|line| line.starts_with("odin_mirrored_total{"));
    let split = lines.filter_map(|line| line.rsplit_once(' '));
    split.map(|(name, count)| (name.to_owned(), count.parse().unwrap())).collect()
}

#[test]
fn a_copy_is_what_the_origin_gets_behind_the_plugins_and_has_none_of_its_secrets() {
    let (origin, shadow) =
        (Origin::ok(), Origin::raw("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"));
    let gateway = Setup::new()
        .service(&format!(
            "name: a, basePath: /shop, stripBasePath: true, targets: ['{}'], \
             headers: {{X-Secret: s}}, requestHeaders: {{set: {{X-Own: a}}}}, \
             mirror: {{service: shadow}}",
            origin.url()
        ))
        .service(&shadow_of(
            &shadow,
            ", preserveHost: false, outlier: off, headers: {X-Shadow: '1'}, \
             requestHeaders: {set: {X-Other: b}, remove: [X-Client]}",
        ))
        .plugin("p", wasm::setting_headers(r#""X-Plugin":["1"]"#), "type: request")
        .start();
    let answer = get_with(gateway.addr, "/shop/x?y=z", "X-Client: c\r\nCookie: d=e\r\n");
    assert_eq!((answer.status, &*answer.text()), (200, "ok"));
    shadow.wait_requests(1);
    let (sent, copy) = (origin.only_request(), shadow.only_request());
    assert_eq!((&*sent.target, &*copy.target), ("/x?y=z", "/x?y=z"));
    let value = |name: &str| (sent.head.get(name), copy.head.get(name));
    let both = |text: &str| (Some(text.to_owned()), Some(text.to_owned()));
    assert_eq!(value("x-plugin"), both("1"));
    assert_eq!(value("cookie"), both("d=e"));
    assert_eq!(value("x-forwarded-for"), both("127.0.0.1"));
    assert_eq!(value("x-forwarded-prefix"), both("/shop"));
    assert_eq!(value("x-request-id").0, value("x-request-id").1);
    assert_eq!(value("x-secret"), (Some("s".into()), None));
    assert_eq!(value("x-own"), (Some("a".into()), None));
    assert_eq!(value("x-client"), (Some("c".into()), None));
    assert_eq!(value("x-shadow"), (None, Some("1".into())));
    assert_eq!(value("x-other"), (None, Some("b".into())));
    assert_eq!(copy.head.get("host"), Some(shadow.addr().to_string()));
    let passed = copy.head.all("cdn-loop").join(", ");
    assert!(passed.starts_with("odin-mirrored, odin-"), "{passed}");
    assert!(!sent.head.all("cdn-loop").join(", ").contains("mirrored"));
    wait_result(&gateway, "failed", 1);
    let asked = r#"odin_upstream_requests_total{service="shadow",outcome="5xx"}"#;
    assert_eq!(gateway.metric(asked), 1.0);
    // It is no request of a client's.
    let all = gateway.call("GET", "/metrics", "").text();
    let of_shadow = |line: &&str| line.starts_with(r#"odin_requests_total{service="shadow""#);
    assert!(all.lines().filter(of_shadow).all(|line| line.ends_with(" 0")), "{all}");
}

#[test]
fn bodies_are_copied_whole_however_they_come() {
    let (origin, shadow) = (Origin::ok(), Origin::ok());
    let gateway = mirrored(&origin, &shadow).start();
    let mut expected = Vec::new();
    let mut client = Client::connect(gateway.addr);
    let large = "x".repeat(200_000);
    for body in ["", "small", &large] {
        for method in ["POST", "PUT"] {
            let length = body.len();
            let head =
                format!("{method} /known HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            assert_eq!(client.ask(head + body).status, 200);
            let chunks = match length {
                0 => String::new(),
                _ => format!("1\r\nx\r\n{length:x}\r\n{body}\r\n"),
            };
            client.send(format!(
                "{method} /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {chunks}0\r\n\r\n"
            ));
            assert_eq!(client.response().status, 200);
            let first = if length == 0 { "" } else { "x" };
            expected.extend([body.to_owned(), format!("{first}{body}")]);
        }
    }
    let mut http2 = Http2::connect(gateway.addr);
    for (stream, body) in [(1, ""), (3, "of a stream")] {
        let mut fields = fields_of("/http2");
        fields[0].1 = "POST";
        http2.request(stream, &fields, false);
        http2.data(stream, body.as_bytes(), true);
        assert_eq!(http2.until_over(stream).status(), 200);
        expected.push(body.to_owned());
    }
    assert_eq!(http2.ask(5, &fields_of("/none")).status(), 200);
    expected.push(String::new());
    shadow.wait_requests(expected.len());
    let bodies = |origin: &Origin| {
        let mut bodies: Vec<_> = origin.requests().iter().map(|one| one.text()).collect();
        bodies.sort_unstable();
        bodies
    };
    expected.sort_unstable();
    assert!(bodies(&origin) == expected, "the origin's");
    assert!(bodies(&shadow) == expected, "the copies'");
    wait_result(&gateway, "answered", expected.len());
}

#[test]
fn bodies_that_plugins_make_are_what_is_copied() {
    let read = wasm::answering(
        r#"{"modified":true,"continue":true,"response":{"body":"made by the plugin"}}"#,
    );
    let pieces = crate::streaming::obeying();
    for (module, keys, body, expected) in [
        (&read, "type: request", "sent", "made by the plugin"),
        (&pieces, "type: request, body: stream", "to be passed", "[to be passed]"),
    ] {
        let (origin, shadow) = (Origin::ok(), Origin::ok());
        let gateway = mirrored(&origin, &shadow).plugin("p", module, keys).start();
        assert_eq!(post(gateway.addr, "/", body).status, 200);
        shadow.wait_requests(1);
        assert_eq!(origin.only_request().text(), expected, "{keys}");
        assert_eq!(shadow.only_request().text(), expected, "{keys}");
    }
}

#[test]
fn a_body_that_is_too_large_or_never_whole_is_not_copied_and_is_counted() {
    let (origin, shadow) = (Origin::ok(), Origin::ok());
    let gateway = mirrored(&origin, &shadow).start();
    let large = "x".repeat(300_000);
    assert_eq!(post(gateway.addr, "/", &large).status, 200);
    wait_result(&gateway, "too_large", 1);
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let head =
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(ask(gateway.addr, format!("{head}{chunked}")).status, 200);
    wait_result(&gateway, "too_large", 2);
    assert_eq!(origin.requests().iter().map(|one| one.body.len()).sum::<usize>(), 600_000);
    // The client leaves in the middle.
    let begun = Origin::scripted(|connection, _| {
        let _head: Option<_> = connection.head();
        while !connection.some().is_empty() {}
    });
    let gateway = mirrored(&begun, &shadow).start();
    let mut client = Client::connect(gateway.addr);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    begun.wait_requests(1);
    client.reset();
    wait_result(&gateway, "incomplete", 1);
    assert!(shadow.requests().is_empty());
    // One that leaves when it has sent all has its copy.
    let held = Origin::scripted(|connection, _| {
        let _request: Option<_> = connection.request();
        connection.some();
    });
    let gateway = mirrored(&held, &shadow).start();
    let mut client = Client::connect(gateway.addr);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345");
    held.wait_requests(1);
    client.reset();
    shadow.wait_requests(1);
    assert_eq!(shadow.only_request().text(), "12345");
}

#[test]
fn no_client_waits_for_a_mirror_that_hangs_and_what_is_over_the_bound_is_dropped() {
    let origin = Origin::ok();
    let shadow = Origin::scripted(|connection, _| {
        let _request: Option<_> = connection.request();
        connection.some();
    });
    // A quarter of eight.
    let gateway = mirrored(&origin, &shadow).limits("upstreamConnectionsMax: 8").workers(1).start();
    let mut client = Client::connect(gateway.addr);
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    shadow.wait_requests(2);
    wait_result(&gateway, "dropped", 18);
    assert_eq!(shadow.requests().len(), 2);
}

#[test]
fn a_mirror_that_is_not_there_costs_nobody_anything_and_is_told_of() {
    let origin = Origin::ok();
    let dead = Origin::ok().url();
    let gateway = Setup::new()
        .service(&format!("name: a, targets: ['{}'], mirror: {{service: shadow}}", origin.url()))
        .service(&format!("name: shadow, internal: true, targets: ['{dead}']"))
        .start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..10 {
        assert_eq!(client.get("/").status, 200);
    }
    wait_result(&gateway, "failed", 10);
    gateway.wait_log("a copy of a request failed");
    assert_eq!(origin.requests().len(), 10);
}

#[test]
fn a_request_that_is_tried_again_has_one_copy() {
    let bad = Origin::raw("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let also = Origin::raw("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let shadow = Origin::ok();
    let gateway = Setup::new()
        .service(&format!(
            "name: a, targets: ['{}', '{}'], outlier: off, retry: {{tries: 2}}, \
             mirror: {{service: shadow}}",
            bad.url(),
            also.url()
        ))
        .service(&shadow_of(&shadow, ""))
        .start();
    for body in ["", "a body"] {
        let length = body.len();
        let request = format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n\
             {body}"
        );
        assert_eq!(ask(gateway.addr, request).status, 503);
    }
    wait_result(&gateway, "answered", 2);
    assert_eq!(bad.requests().len() + also.requests().len(), 4);
    let mut bodies: Vec<_> = shadow.requests().iter().map(|one| one.text()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["", "a body"]);
}

#[test]
fn a_websocket_is_not_copied_and_goes_on() {
    let (origin, shadow) = (echoing(), Origin::ok());
    let gateway = mirrored(&origin, &shadow).start();
    let (mut client, _) = open(&gateway, "/");
    assert_echoes(&mut client, "hello");
    assert_eq!(counted(&gateway), []);
    assert_eq!(shadow.connections(), 0);
}

#[test]
fn a_copy_is_not_copied_again_by_whatever_way_it_comes_back() {
    let origin = Origin::ok();
    let other = Origin::ok();
    // The mirror is a service of the next gateway, which is mirrored itself.
    let next = Setup::new()
        .service(&format!("name: a, targets: ['{}'], mirror: {{service: more}}", origin.url()))
        .service(&format!("name: more, internal: true, targets: ['{}']", other.url()))
        .start();
    let gateway = Setup::new()
        .service(&format!("name: a, targets: ['{}'], mirror: {{service: b}}", origin.url()))
        .service(&format!("name: b, basePath: /b, targets: ['http://{}']", next.addr))
        .start();
    assert_eq!(get(gateway.addr, "/first").status, 200);
    wait_result(&gateway, "answered", 1);
    assert_eq!(origin.requests().len(), 2);
    assert_eq!((counted(&next), other.requests().len()), (Vec::new(), 0));
    // A request of a client's is copied there all the same.
    assert_eq!(get(next.addr, "/second").status, 200);
    other.wait_requests(1);
}

#[test]
fn as_many_are_copied_as_are_asked_for() {
    let (origin, shadow) = (Origin::ok(), Origin::ok());
    let start = |percent: &str| {
        Setup::new()
            .service(&format!(
                "name: a, targets: ['{}'], mirror: {{service: shadow, percent: {percent}}}",
                origin.url()
            ))
            .service(&shadow_of(&shadow, ""))
            .start()
    };
    for (percent, least, most) in [("0", 0, 0), ("25", 57, 143), ("100", 400, 400)] {
        let gateway = start(percent);
        let mut client = Client::connect(gateway.addr);
        for _ in 0..400 {
            assert_eq!(client.get("/").status, 200);
        }
        // Of 400 with a part of a quarter: 100, give or take five standard deviations.
        let copied: u64 = counted(&gateway).iter().map(|(_, count)| count).sum();
        assert!((least..=most).contains(&copied), "{percent}: {copied}");
    }
}

#[test]
fn a_split_is_copied_as_a_whole_or_by_its_parts_and_aggregations_have_their_request_copied() {
    let (origin, shadow, parts) = (Origin::ok(), Origin::ok(), Origin::ok());
    let gateway = Setup::new()
        .service(
            "name: a, basePath: /a, mirror: {service: shadow}, split: [{service: one}, \
             {service: two, weight: 0, match: {headers: {X-Two: {present: true}}}}]",
        )
        .service(&format!("name: one, internal: true, targets: ['{}']", origin.url()))
        .service(&format!(
            "name: two, internal: true, targets: ['{}'], mirror: {{service: of-two}}",
            origin.url()
        ))
        .service(&shadow_of(&shadow, ""))
        .service(&format!("name: of-two, internal: true, targets: ['{}']", parts.url()))
        .service(
            "name: all, basePath: /all, mirror: {service: shadow}, \
             aggregation: {calls: [{name: x, service: two, path: /x}]}",
        )
        .start();
    assert_eq!(get(gateway.addr, "/a/first").status, 200);
    shadow.wait_requests(1);
    assert_eq!(get_with(gateway.addr, "/a/second", "X-Two: 1\r\n").status, 200);
    parts.wait_requests(1);
    // The call of an aggregation is none of a client's.
    assert_eq!(get(gateway.addr, "/all/third").status, 200);
    shadow.wait_requests(2);
    let targets = |origin: &Origin| -> Vec<String> {
        origin.requests().iter().map(|one| one.target.clone()).collect()
    };
    assert_eq!(targets(&shadow), ["/a/first", "/all/third"]);
    assert_eq!(targets(&parts), ["/a/second"]);
}

#[test]
fn a_reload_that_takes_the_mirror_away_leaves_its_copies_to_their_end() {
    let origin = Origin::ok();
    let gate = Gate::default();
    let held = gate.clone();
    let shadow = Origin::scripted(move |connection, _| {
        while connection.request().is_some() {
            held.wait();
            connection.answer("late");
        }
    });
    let gateway = mirrored(&origin, &shadow).start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    shadow.wait_requests(1);
    let without = Setup::new().service(&format!("name: a, targets: ['{}']", origin.url()));
    gateway.rewrite(&without.config());
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(get(gateway.addr, "/").status, 200);
    gate.open();
    wait_result(&gateway, "answered", 1);
    assert_eq!(shadow.requests().len(), 1);
}

#[test]
fn a_stop_lets_copies_arrive_and_does_not_wait_for_one_that_hangs() {
    let origin = Origin::ok();
    let shadow = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            if request.target == "/hangs" {
                connection.some();
                return;
            }
            // Longer than the client is there.
            std::thread::sleep(Duration::from_millis(200));
            connection.answer("done");
        }
    });
    for (path, at_least, most) in [("/slow", 150, 5_000), ("/hangs", 900, 8_000)] {
        let mut gateway = mirrored(&origin, &shadow).drain_timeout("30s").start();
        let before = shadow.requests().len();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(ask(gateway.addr, request).status, 200);
        shadow.wait_requests(before + 1);
        let began = Instant::now();
        gateway.terminate();
        assert!(gateway.wait_exit().success());
        let took = began.elapsed().as_millis();
        assert!((at_least..most).contains(&took), "{path}: {took} ms");
    }
}

#[test]
fn a_mirror_may_be_spoken_to_by_http2() {
    let origin = Origin::ok();
    let shadow =
        Http2Origin::scripted(|connection, stream, _| connection.answer(stream, "200", b"ok"));
    let gateway = Setup::new()
        .service(&format!("name: a, targets: ['{}'], mirror: {{service: shadow}}", origin.url()))
        .service(&format!("name: shadow, internal: true, targets: ['h2://{}']", shadow.addr()))
        .start();
    for count in 1..=3 {
        assert_eq!(post(gateway.addr, "/", "some").status, 200);
        wait_result(&gateway, "answered", count);
    }
    assert_eq!(shadow.connections(), 1);
}

#[test]
fn mirrors_that_lead_nowhere_are_refused() {
    for (keys, words) in [
        ("mirror: {}", "name the service"),
        ("mirror: {service: none}", "none"),
        ("mirror: {service: a}", "is the service itself"),
        ("mirror: {service: b}", "splits its requests"),
        ("mirror: {service: d}", "has no targets"),
        ("mirror: {service: c, percent: 101}", "from 0 to 100"),
        ("mirror: {service: c, percent: many}", "from 0 to 100"),
        ("mirror: {service: c, redirect: 1}", "redirect"),
        ("mirror: {service: c}, redirect: {path: /x}", "no request goes on"),
    ] {
        let setup = Setup::new()
            .service(&format!("name: a, targets: ['builtin:echo'], {keys}"))
            .service("name: b, basePath: /b, split: [{service: c}]")
            .service("name: c, basePath: /c, targets: ['builtin:echo']")
            .service("name: d, basePath: /d, redirect: {path: /c}");
        let said = check(&setup);
        assert!(said.contains(words), "{keys}: {said}");
    }
}
