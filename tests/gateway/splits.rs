//! Splits: who gets which request, with whose plugins and settings; and plugins that choose who is
//! asked.

use std::collections::BTreeMap;
use std::process::Command;

use crate::support::http2::{Http2, get as fields_of};
use crate::support::{Client, Gateway, Origin, Setup, check, get, get_with, wasm};

/// A service of an echo that is told its name.
fn part(name: &str) -> String {
    format!("name: {name}, internal: true, targets: ['builtin:echo'], headers: {{X-Part: {name}}}")
}

fn whom(gateway: &Gateway, fields: &str) -> String {
    let answer = get_with(gateway.addr, "/shop", fields);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["headers"]["X-Part"][0].as_str().unwrap().to_owned()
}

const SHOP: &str = "name: shop, basePath: /shop, split: \
                    [{service: next, match: {headers: {X-Canary: 'yes'}}}, \
                    {service: next, match: {cookies: {canary: {present: true}}}}, \
                    {service: old, weight: 3}, {service: next, weight: 1}]";

#[test]
fn requests_are_shared_out_by_weight_and_canaries_by_what_they_say() {
    let gateway = Setup::new().service(SHOP).service(&part("old")).service(&part("next")).start();
    let mut counts = BTreeMap::<String, usize>::new();
    for _ in 0..400 {
        *counts.entry(whom(&gateway, "")).or_default() += 1;
    }
    // Of 400 with a part of a quarter: 100, give or take five standard deviations.
    assert!((57..=143).contains(&counts["next"]), "{counts:?}");
    for fields in ["X-Canary: yes\r\n", "Cookie: a=b; canary=1\r\n"] {
        for _ in 0..20 {
            assert_eq!(whom(&gateway, fields), "next");
        }
    }
    // Nobody comes to a part by itself.
    assert_eq!(get(gateway.addr, "/").status, 404);
    // Metrics say which.
    let count = |name: &str| {
        gateway.metric(&format!(r#"odin_requests_total{{service="{name}",status="2xx"}}"#))
    };
    assert_eq!(count("old"), counts["old"] as f64);
    assert_eq!(count("next"), counts["next"] as f64 + 40.0);
    let part = |name: &str| {
        gateway.metric(&format!(r#"odin_split_requests_total{{service="shop",part="{name}"}}"#))
    };
    assert_eq!((part("old"), part("next")), (count("old"), count("next")));
    let status = gateway.call("GET", "/api/status", "").json();
    let services = status["services"].as_array().unwrap();
    let of = |name: &str| services.iter().find(|one| one["name"] == name).unwrap();
    let part = |name: &str, weight: u64| {
        let requests = count(name) as u64;
        serde_json::json!({ "service": name, "weight": weight, "requests": requests })
    };
    assert_eq!(of("shop")["split"], serde_json::json!([part("next", 1), part("old", 3)]));
    assert!(of("next")["split"].is_null());
}

#[test]
fn a_client_stays_where_it_was_also_over_a_reload() {
    let sticky = |sticky: &str| {
        Setup::new()
            .service(&format!(
                "name: shop, basePath: /shop, sticky: {{{sticky}}}, \
                 split: [{{service: old, weight: 1}}, {{service: next, weight: 1}}]"
            ))
            .service(&part("old"))
            .service(&part("next"))
            .start()
    };
    for (keys, field) in [("header: X-User", "X-User: "), ("cookie: session", "Cookie: session=")] {
        let gateway = sticky(keys);
        let all = |gateway: &Gateway| -> Vec<String> {
            (0..40).map(|user| whom(gateway, &format!("{field}user-{user}\r\n"))).collect()
        };
        let first = all(&gateway);
        assert!(first.iter().any(|part| part == "old") && first.iter().any(|part| part == "next"));
        assert_eq!(all(&gateway), first);
        assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
        assert_eq!(all(&gateway), first);
    }
    let gateway = sticky("setCookie: shop-part, maxAge: 1h");
    for _ in 0..20 {
        let answer = get(gateway.addr, "/shop");
        let part = answer.json()["headers"]["X-Part"][0].as_str().unwrap().to_owned();
        let cookie = answer.head.get("set-cookie").unwrap();
        let expected =
            format!("shop-part={part}; Path=/shop; Max-Age=3600; HttpOnly; SameSite=Lax");
        assert_eq!(cookie, expected);
        let again = get_with(gateway.addr, "/shop", &format!("Cookie: shop-part={part}\r\n"));
        assert_eq!(again.json()["headers"]["X-Part"][0].as_str(), Some(&*part));
        assert!(!again.head.has("set-cookie"));
    }
}

#[test]
fn a_stream_of_http2_is_told_of_its_part_and_stays_with_it() {
    let gateway = Setup::new()
        .service(
            "name: shop, basePath: /shop, sticky: {setCookie: part}, \
             split: [{service: old}, {service: next}]",
        )
        .service(&part("old"))
        .service(&part("next"))
        .start();
    let mut client = Http2::connect(gateway.addr);
    let named = |answer: &crate::support::http2::Stream| {
        let seen: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        seen["headers"]["X-Part"][0].as_str().unwrap().to_owned()
    };
    for at in 0..10 {
        let (first, second) = (at * 4 + 1, at * 4 + 3);
        let answer = client.ask(first, &fields_of("/shop"));
        let part = named(&answer);
        assert!(answer.field("set-cookie").starts_with(&format!("part={part}; Path=/shop;")));
        // Cookies may come one by one (RFC 9113 section 8.2.3).
        let cookie = format!("part={part}");
        let mut fields = fields_of("/shop");
        fields.extend([("cookie", "a=b"), ("cookie", cookie.as_str()), ("cookie", "c=d")]);
        let again = client.ask(second, &fields);
        assert_eq!((named(&again), again.field("set-cookie")), (part, String::new()));
    }
}

#[test]
fn plugins_of_both_services_run_and_the_chosen_ones_settings_hold() {
    let origin = Origin::ok();
    let header = |name: &str| wasm::setting_headers(&format!(r#""{name}":["1"]"#));
    let gateway = Setup::new()
        .service(
            "name: shop, basePath: /shop, stripBasePath: true, \
             responseHeaders: {set: {X-Shop: '1'}}, split: [{service: next}]",
        )
        .service(&format!(
            "name: next, internal: true, targets: ['{}'], preserveHost: false, \
             requestHeaders: {{set: {{X-Set: '2'}}}}, responseHeaders: {{set: {{X-Next: '1'}}}}, \
             headers: {{X-Secret: s}}",
            origin.url()
        ))
        .service("name: other, basePath: /other, targets: ['builtin:echo']")
        .plugin("of-shop", header("X-Of-Shop"), "type: request, services: [shop]")
        .plugin("of-next", header("X-Of-Next"), "type: request, services: [next]")
        .plugin("of-both", header("X-Of-Both"), "type: request, services: [shop, next]")
        .plugin("of-other", header("X-Of-Other"), "type: request, services: [other]")
        .start();
    let answer = get(gateway.addr, "/shop/a?b=c");
    assert_eq!(answer.status, 200);
    assert!(answer.head.has("x-shop") && answer.head.has("x-next"));
    let received = origin.only_request();
    assert_eq!(received.target, "/a?b=c");
    for (name, value) in [
        ("x-of-shop", Some("1")),
        ("x-of-next", Some("1")),
        ("x-of-both", Some("1")),
        ("x-of-other", None),
        ("x-set", Some("2")),
        ("x-secret", Some("s")),
        ("x-forwarded-prefix", Some("/shop")),
    ] {
        assert_eq!(received.head.get(name).as_deref(), value, "{name}");
    }
    let host = received.head.get("host").unwrap();
    assert!(host.starts_with("127.0.0.1:"), "the target's own: {host}");
}

#[test]
fn a_request_that_is_tried_again_stays_with_its_part() {
    let bad = Origin::raw("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let good = Origin::ok();
    let gateway = Setup::new()
        .service("name: shop, basePath: /shop, split: [{service: bad}, {service: good, weight: 0}]")
        .service(&format!(
            "name: bad, internal: true, targets: ['{}'], outlier: off, retry: {{tries: 3}}",
            bad.url()
        ))
        .service(&format!("name: good, internal: true, targets: ['{}']", good.url()))
        .start();
    assert_eq!(get(gateway.addr, "/shop").status, 503);
    assert!(good.requests().is_empty());
}

#[test]
fn splits_that_lead_nowhere_or_in_circles_are_refused() {
    for (keys, words) in [
        ("split: []", "at least one service"),
        ("split: [{service: none}]", "none"),
        ("split: [{service: a}]", "splits its requests itself"),
        ("split: [{service: b}]", "splits its requests itself"),
        ("split: [{service: c, weight: 0}]", "all weights are 0"),
        ("split: [{service: c, match: {headers: {A: b}}}]", "all weights are 0"),
        ("split: [{service: c}, {service: c}]", "has two weights"),
        ("split: [{service: c, weight: -1}]", "weight"),
        ("split: [{service: c, match: {}}, {service: c}]", "names no condition"),
        ("split: [{service: c}], targets: ['builtin:echo']", "give it to those"),
        ("split: [{service: c}], timeout: 5s", "give it to those"),
        ("split: [{service: c}], sticky: {}", "one of header, cookie, ip"),
        ("split: [{service: c}], sticky: {ip: true, header: X}", "one of header, cookie, ip"),
        ("split: [{service: c}], sticky: {ip: true, maxAge: 5s}", "without setCookie"),
        ("targets: ['builtin:echo'], sticky: {ip: true}", "is of no use without split"),
        ("targets: ['builtin:echo'], internal: true, hosts: [a.b]", "with internal: true"),
    ] {
        let setup = Setup::new()
            .service(&format!("name: a, {keys}"))
            .service("name: b, basePath: /b, split: [{service: c}]")
            .service("name: c, basePath: /c, targets: ['builtin:echo']");
        let said = check(&setup);
        assert!(said.contains(words), "{keys}: {said}");
    }
}

#[test]
fn explain_tells_of_a_split_and_of_the_part_that_a_request_goes_to() {
    let gateway = Setup::new()
        .service(SHOP)
        .service(&part("old"))
        .service(&part("next"))
        .plugin("of-next", wasm::passing(), "type: request, services: [next]")
        .start();
    let explain = |arguments: &[&str]| {
        let config = gateway.dir().path().join("odin.yaml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_odin-cli"));
        let command = command.args(["explain", "--url", "/shop", "--config"]).arg(config);
        String::from_utf8(command.args(arguments).output().unwrap().stdout).unwrap()
    };
    let said = explain(&[]);
    assert!(said.contains("its requests are split: old 75.0 %, next 25.0 %"), "{said}");
    assert!(said.contains("nothing in this one decides it"), "{said}");
    let said = explain(&["--header", "X-Canary: yes"]);
    assert!(said.contains("this one goes to the service next"), "{said}");
    assert!(said.contains("1. of-next runs"), "{said}");
}

/// Says `upstream`.
fn choosing(upstream: &str) -> Vec<u8> {
    wasm::answering(&format!(r#"{{"modified":false,"continue":true,"upstream":{upstream}}}"#))
}

#[test]
fn a_plugin_chooses_who_is_asked_and_nobody_who_is_not_configured() {
    let (one, two) = (Origin::ok(), Origin::ok());
    let start = |upstream: &str, keys: &str| {
        Setup::new()
            .service("name: a, targets: ['builtin:echo']")
            .service(&format!(
                "name: b, internal: true, targets: ['{}', '{}'], headers: {{X-Of: b}}",
                one.url(),
                two.url()
            ))
            .plugin("chooser", choosing(upstream), keys)
            .start()
    };
    let endpoint = two.addr().to_string();
    for named in [endpoint.clone(), two.url()] {
        let upstream = format!(r#"{{"service":"b","endpoint":"{named}"}}"#);
        let gateway = start(&upstream, "type: request");
        let before = two.requests().len();
        let mut client = Client::connect(gateway.addr);
        for _ in 0..4 {
            assert_eq!(client.get("/x").status, 200);
        }
        assert_eq!((one.requests().len(), two.requests().len()), (0, before + 4));
        let received = two.requests().pop().unwrap();
        assert_eq!(received.head.get("x-of").as_deref(), Some("b"));
        let served = gateway.metric(r#"odin_requests_total{service="b",status="2xx"}"#);
        assert_eq!(served, 4.0);
    }
    let count = two.requests().len();
    for upstream in [
        r#"{"service":"none"}"#,
        r#"{"service":"b","endpoint":"127.0.0.1:1"}"#,
        r#"{"endpoint":"127.0.0.1:1"}"#,
        r#"{"service":7}"#,
        r#""b""#,
    ] {
        // The plugin has failed: its failure mode decides.
        let gateway = start(upstream, "type: request, failureMode: closed");
        assert_eq!(get(gateway.addr, "/").status, 503, "{upstream}");
        let gateway = start(upstream, "type: request, failureMode: open");
        let answer = get(gateway.addr, "/");
        assert_eq!(answer.status, 200);
        assert!(answer.json()["headers"].is_object(), "the service itself answered");
        gateway.wait_log("upstream");
    }
    assert_eq!((one.requests().len(), two.requests().len()), (0, count));
}

#[test]
fn a_plugins_key_leads_to_one_target() {
    let origins: Vec<_> = (0..4).map(|_| Origin::ok()).collect();
    let targets: Vec<_> = origins.iter().map(|one| format!("'{}'", one.url())).collect();
    for key in ["tenant-1", "tenant-2"] {
        let before: usize = origins.iter().map(|one| one.requests().len()).sum();
        let gateway = Setup::new()
            .service(&format!(
                "name: a, targets: [{}], loadBalancing: consistent-hash, hash: {{plugin: true}}",
                targets.join(", ")
            ))
            .plugin("key", choosing(&format!(r#"{{"hashKey":"{key}"}}"#)), "type: request")
            .start();
        let counts: Vec<_> = origins.iter().map(|one| one.requests().len()).collect();
        for _ in 0..8 {
            assert_eq!(get(gateway.addr, "/").status, 200);
        }
        let grown = origins.iter().zip(counts).filter(|(one, then)| one.requests().len() > *then);
        assert_eq!(grown.count(), 1, "{key}");
        let after: usize = origins.iter().map(|one| one.requests().len()).sum();
        assert_eq!(after - before, 8);
    }
}

#[test]
fn hosts_of_any_language_are_asked_for_in_their_form_for_the_network() {
    let gateway = Setup::new()
        .service("name: a, hosts: ['Bücher.example', '*.ДОМ.example'], targets: ['builtin:echo']")
        .start();
    for (host, status) in [
        ("xn--bcher-kva.example", 200),
        ("XN--BCHER-KVA.example.:80", 200),
        ("www.xn--d1aqf.example", 200),
        ("b%C3%BCcher.example", 404),
        ("bucher.example", 404),
        ("bücher.example", 400),
    ] {
        let mut client = Client::connect(gateway.addr);
        let answer = client.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status, status, "{host}");
    }
    let said = check(&Setup::new().service("name: a, hosts: ['a b.é'], targets: ['builtin:echo']"));
    assert!(said.contains("IDNA"), "{said}");
}
