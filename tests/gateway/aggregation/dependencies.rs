//! `dependencies`: a service's own JSON, completed with what others know of the things in it.

use super::{json, json_origin, saying, targets, with_service};
use crate::support::{Client, Gate, Origin, Setup, get, get_with, post};
use std::time::{Duration, Instant};

/// `/orders`, whose items have their products from `products`.
fn orders(orders: &Origin, products: &Origin, keys: &str) -> Setup {
    let url = orders.url();
    with_service(Setup::new(), "products", products).service(&format!(
        "name: orders, basePath: /orders, targets: ['{url}'], aggregation: {{{keys} dependencies: \
         [{{service: products, path: '/p/{{id}}', condition: $.includeDetails == true, \
         parameterMapping: [{{from: '$.items[*].productId', to: id}}], \
         resultMapping: [{{from: $, to: '$.items[*].product'}}]}}]}}"
    ))
}

/// An origin that answers `/p/X` with `{"is":"/p/X"}`.
fn products() -> Origin {
    json_origin(|target| Some(format!(r#"{{"is":"{target}"}}"#)))
}

#[test]
fn each_item_gets_its_own_answer_and_equal_calls_are_made_once() {
    let origin = saying(concat!(
        r#"{"includeDetails":true,"items":"#,
        r#"[{"productId":7,"n":1.50},{"productId":8},{"productId":7}]}"#,
    ));
    let products = products();
    let gateway = orders(&origin, &products, "").start();
    let response = get(gateway.addr, "/orders/1");
    assert_eq!(
        response.text(),
        concat!(
            r#"{"includeDetails":true,"items":[{"productId":7,"n":1.50,"product":{"is":"/p/7"}},"#,
            r#"{"productId":8,"product":{"is":"/p/8"}},"#,
            r#"{"productId":7,"product":{"is":"/p/7"}}]}"#,
        )
    );
    assert_eq!(response.head.get("content-length").unwrap(), response.body.len().to_string());
    assert!(!response.head.has("etag"));
    assert_eq!(targets(&products), ["/p/7", "/p/8"]);
    assert_eq!(targets(&origin), ["/orders/1"]);
}

#[test]
fn all_calls_are_open_before_any_is_answered() {
    let items: Vec<String> = (0..20).map(|id| format!(r#"{{"productId":{id}}}"#)).collect();
    let body = format!(r#"{{"includeDetails":true,"items":[{}]}}"#, items.join(","));
    let origin = json_origin(move |_| Some(body.clone()));
    let gate = Gate::default();
    let held = gate.clone();
    let products = Origin::scripted(move |connection, _| {
        while connection.request().is_some() {
            held.wait();
            connection.send(json("1"));
        }
    });
    let gateway = orders(&origin, &products, "").start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET /orders HTTP/1.1\r\nHost: a\r\n\r\n");
    products.wait_requests(20);
    gate.open();
    let whole = client.response().json();
    let items = whole["items"].as_array().unwrap();
    assert!(items.iter().all(|item| item["product"] == 1), "{whole}");
}

#[test]
fn without_its_condition_nothing_is_called_and_the_body_stays() {
    let body = r#"{ "includeDetails": false, "items": [ {"productId": 7} ] }"#;
    let (origin, products) = (saying(body), products());
    let gateway = orders(&origin, &products, "").start();
    assert_eq!(get(gateway.addr, "/orders").text(), body);
    assert!(targets(&products).is_empty());
}

#[test]
fn hostile_values_stay_in_their_segment() {
    let origin = saying(
        r#"{"includeDetails":true,"items":[{"productId":"../admin"},{"productId":"a?b=c#d"},
        {"productId":"%2f"},{"productId":"x\r\nX-Evil: 1"},{"productId":".."},{"productId":""},
        {"productId":null},{}]}"#,
    );
    let products = products();
    let gateway = orders(&origin, &products, "").start();
    let items = get(gateway.addr, "/orders").json()["items"].clone();
    assert_eq!(
        targets(&products),
        ["/p/%252f", "/p/..%2Fadmin", "/p/a%3Fb%3Dc%23d", "/p/x%0D%0AX-Evil%3A%201"]
    );
    assert_eq!(items[0]["product"]["is"], "/p/..%2Fadmin");
    assert!(items[4].get("product").is_none() && items[5].get("product").is_none());
    gateway.wait_log("2 items are not asked for");
}

#[test]
fn a_failed_call_leaves_its_items_as_they_are() {
    let origin = saying(r#"{"includeDetails":true,"items":[{"productId":1},{"productId":2}]}"#);
    let products = json_origin(|target| (target == "/p/2").then(|| "2".to_owned()));
    let gateway = orders(&origin, &products, "").start();
    assert_eq!(
        get(gateway.addr, "/orders").text(),
        r#"{"includeDetails":true,"items":[{"productId":1},{"productId":2,"product":2}]}"#
    );
    gateway.wait_log("failed at /p/1: it answered 404");
}

#[test]
fn a_failed_call_is_the_end_where_the_service_says_so() {
    let origin = saying(r#"{"includeDetails":true,"items":[{"productId":1},{"productId":2}]}"#);
    let products = json_origin(|target| (target == "/p/2").then(|| "2".to_owned()));
    let gateway = orders(&origin, &products, "failOnError: true,").start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..2 {
        let response = client.get("/orders");
        assert_eq!(response.status, 502);
        assert!(response.reason().contains("\"products\""), "{}", response.reason());
    }
}

#[test]
fn calls_of_one_request_are_capped() {
    let items: Vec<String> = (0..150).map(|id| format!(r#"{{"productId":{id}}}"#)).collect();
    let body = format!(r#"{{"includeDetails":true,"items":[{}]}}"#, items.join(","));
    for (keys, status) in [("", 200), ("failOnError: true,", 502)] {
        let body = body.clone();
        let origin = json_origin(move |_| Some(body.clone()));
        let products = products();
        let gateway = orders(&origin, &products, keys).start();
        let response = get(gateway.addr, "/orders");
        assert_eq!(response.status, status, "{keys}");
        gateway.wait_log("50 items are over the limit of 100 calls");
        if status == 200 {
            assert_eq!(targets(&products).len(), 100);
            let items = response.json()["items"].clone();
            assert!(items[99].get("product").is_some() && items[100].get("product").is_none());
        } else {
            assert!(targets(&products).is_empty());
        }
    }
}

#[test]
fn what_is_not_the_json_of_a_success_passes_untouched() {
    let document = r#"{"includeDetails":true,"items":[{"productId":7}]}"#;
    let length = document.len();
    for head in [
        format!("404 Not Found\r\nContent-Type: application/json\r\nContent-Length: {length}"),
        format!("206 Partial\r\nContent-Type: application/json\r\nContent-Length: {length}"),
        format!("200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}"),
        format!(
            "200 OK\r\nContent-Type: application/json\r\nContent-Encoding: x\r\n\
             Content-Length: {length}"
        ),
        format!("200 OK\r\nContent-Type: application/json\r\nContent-Length: {}", length - 1),
    ] {
        let products = products();
        let body = &document[..length - usize::from(head.ends_with(&(length - 1).to_string()))];
        let answer = format!("HTTP/1.1 {head}\r\nETag: \"1\"\r\n\r\n{body}");
        let origin = Origin::raw(answer);
        let gateway = orders(&origin, &products, "").start();
        let response = get(gateway.addr, "/orders");
        assert_eq!(response.text(), body, "{head}");
        assert_eq!(response.head.get("etag").unwrap(), "\"1\"", "{head}");
        assert!(targets(&products).is_empty(), "{head}");
    }
}

#[test]
fn a_response_that_is_too_large_to_complete_passes_untouched() {
    let body = format!(
        r#"{{"includeDetails":true,"items":[{{"productId":7}}],"x":"{}"}}"#,
        "x".repeat(50_000)
    );
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    for answer in [json(&body), chunked] {
        for (keys, status) in [("", 200), ("failOnError: true,", 502)] {
            let products = products();
            let origin = Origin::raw(answer.clone());
            let gateway =
                orders(&origin, &products, keys).limits("pluginBodyBytesMax: 10000").start();
            let response = get(gateway.addr, "/orders");
            assert_eq!(response.status, status, "{keys}");
            if status == 200 {
                assert!(response.text() == body, "{} bytes", response.body.len());
            }
            assert!(targets(&products).is_empty());
        }
    }
}

#[test]
fn the_service_is_asked_for_the_whole_in_plain_text() {
    let (origin, products) = (saying("{}"), products());
    let gateway = orders(&origin, &products, "").start();
    let fields =
        "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\nIf-None-Match: \"1\"\r\nAccept: a/b\r\n";
    assert_eq!(get_with(gateway.addr, "/orders", fields).status, 200);
    let asked = origin.only_request();
    for name in ["accept-encoding", "range", "if-none-match"] {
        assert!(!asked.head.has(name), "{name}");
    }
    assert_eq!(asked.head.get("accept").unwrap(), "a/b");
}

#[test]
fn any_method_is_completed_and_head_has_no_length() {
    let (origin, products) =
        (saying(r#"{"includeDetails":true,"items":[{"productId":7}]}"#), products());
    let gateway = orders(&origin, &products, "").start();
    let response = post(gateway.addr, "/orders", "new");
    assert_eq!(response.json()["items"][0]["product"]["is"], "/p/7");
    assert_eq!(origin.only_request().text(), "new");

    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n",
    );
    let gateway = orders(&origin, &products, "").start();
    let head = Client::connect(gateway.addr).ask("HEAD /orders HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.status, 200);
    assert!(!head.head.has("content-length"), "{}", head.head);
}

#[test]
fn calls_and_dependencies_go_together() {
    let (rates, stock) = (saying(r#"{"eur":1.10}"#), saying(r#"[{"id":"a"},{"id":"b"}]"#));
    let products = products();
    let setup = with_service(with_service(Setup::new(), "rates", &rates), "stock", &stock);
    let gateway = with_service(setup, "products", &products)
        .service(
            "name: shop, basePath: /shop, aggregation: {calls: [{name: stock, service: stock, \
             path: /}, {name: rates, service: rates, path: /}], dependencies: [{service: products, \
             path: '/p?id={id}', parameterMapping: [{from: '$.stock[*].id', to: id}], \
             resultMapping: [{from: $.is, to: '$.stock[*].is'}]}]}",
        )
        .start();
    assert_eq!(
        get(gateway.addr, "/shop").text(),
        r#"{"stock":[{"id":"a","is":"/p?id=a"},{"id":"b","is":"/p?id=b"}],"rates":{"eur":1.10}}"#
    );
}

#[test]
fn long_answers_for_many_items_leave_the_worker_to_others() {
    // 1. 10,000 items, of two ids each; two dependencies, so four answers of 1 MB.
    // 2. Each goes to 5,000 items, by a path into it.
    // 3. Meanwhile another connection is served again and again, and never waits for long: parsing
    //    an answer for each item would hold the worker for half a minute.
    const ITEMS: usize = 10_000;
    let items: Vec<String> = (0..ITEMS).map(|n| format!(r#"{{"id":{}}}"#, n % 2)).collect();
    let document = format!(r#"{{"items":[{}]}}"#, items.join(","));
    let origin = json_origin(move |_| Some(document.clone()));
    let answer = format!(r#"{{"pad":"{}","name":"n"}}"#, "x".repeat(1_000_000));
    let called = json_origin(move |_| Some(answer.clone()));
    let url = origin.url();
    let dependency = |key: &str| {
        format!(
            "{{service: called, path: '/{key}/{{id}}', parameterMapping: \
             [{{from: '$.items[*].id', to: id}}], resultMapping: \
             [{{from: $.name, to: '$.items[*].{key}'}}, \
             {{from: $.name, to: '$.items[*].{key}2'}}]}}"
        )
    };
    let gateway = with_service(Setup::new(), "called", &called)
        .service("name: plain, basePath: /plain, targets: ['builtin:echo']")
        .service(&format!(
            "name: orders, basePath: /orders, targets: ['{url}'], aggregation: {{dependencies: \
             [{}, {}]}}",
            dependency("a"),
            dependency("b")
        ))
        .start();
    let address = gateway.addr;
    let whole = std::thread::spawn(move || get(address, "/orders"));
    called.wait_requests(4);
    let (mut other, mut served, mut longest) = (Client::connect(address), 0, Duration::ZERO);
    while !whole.is_finished() {
        let asked = Instant::now();
        assert_eq!(other.get("/plain").status, 200);
        longest = longest.max(asked.elapsed());
        served += 1;
    }
    let whole = whole.join().unwrap().json();
    let items = whole["items"].as_array().unwrap();
    assert_eq!(items.len(), ITEMS);
    assert!(items.iter().all(|item| item["a"] == "n" && item["b2"] == "n"));
    assert!(served >= 4, "only {served} others were served meanwhile");
    assert!(longest < Duration::from_secs(3), "one of {served} others waited {longest:?}");
}
