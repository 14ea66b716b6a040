//! The chain: what a plugin is given, what its answer does, who runs when.

use crate::support::{Client, Origin, Setup, ask, get, get_with, post, wasm};
use serde_json::json;

#[test]
fn a_plugin_is_given_the_request_and_its_context() {
    let gateway = Setup::new()
        .service("name: users-service, basePath: /api/users, targets: ['builtin:echo']")
        .plugin(
            "my-plugin",
            wasm::showing_input(),
            "type: request, config: {key: value, nested: {deep: [1, true]}}",
        )
        .start();
    let response = ask(
        gateway.addr,
        "POST /api//users/1?limit=10&tag=a&tag=b%20c&flag HTTP/1.1\r\nHost: example.com\r\n\
         X-Request-Id: abc-123\r\nContent-Type: application/json\r\nX-Two: 1\r\nX-Two: 2\r\n\
         Content-Length: 8\r\n\r\n{\"a\":1}\n",
    );
    assert_eq!(response.status, 299);
    let given = response.json();
    let config = json!({"key": "value", "nested": {"deep": [1, true]}});
    let context = &given["context"];
    assert_eq!(context["requestId"], "abc-123");
    assert_eq!(context["serviceId"], "users-service");
    assert_eq!(context["routePath"], "/api/users");
    assert_eq!(context["phase"], "request");
    assert_eq!(context["plugin"], "my-plugin");
    assert_eq!(context["clientIp"], "127.0.0.1");
    assert_eq!(context["config"], config);
    assert_eq!(context["metadata"], json!({}));
    let timestamp = context["timestamp"].as_str().unwrap();
    assert!(timestamp.starts_with("20") && timestamp.ends_with('Z'), "{timestamp}");
    assert_eq!(given["config"], config);
    let input = &given["input"];
    assert_eq!(input["method"], "POST");
    assert_eq!(input["url"], "http://example.com/api/users/1?limit=10&tag=a&tag=b%20c&flag");
    assert_eq!(input["headers"]["Content-Type"], json!(["application/json"]));
    assert_eq!(input["headers"]["X-Two"], json!(["1", "2"]));
    assert_eq!(input["body"], "{\"a\":1}\n");
    assert!(input.get("bodyEncoding").is_none());
    assert_eq!(input["query"]["limit"], json!(["10"]));
    assert_eq!(input["query"]["tag"], json!(["a", "b c"]));
    assert_eq!(input["query"]["flag"], json!([""]));
}

#[test]
fn a_plugin_is_given_the_response_and_the_requests_head() {
    let origin = Origin::raw(
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nSet-Cookie: a=1\r\n\
         Set-Cookie: b=2\r\nContent-Length: 7\r\n\r\nnothing",
    );
    let gateway = Setup::to(&origin).plugin("it", wasm::showing_input(), "type: response").start();
    let response = get_with(gateway.addr, "/x?y=z", "X-Asked: yes\r\n");
    assert_eq!(response.status, 299);
    let given = response.json();
    assert_eq!(given["context"]["phase"], "response");
    let input = &given["input"];
    assert_eq!(input["statusCode"], 404);
    assert_eq!(input["headers"]["Content-Type"], json!(["text/plain"]));
    assert_eq!(input["headers"]["Set-Cookie"], json!(["a=1", "b=2"]));
    assert_eq!(input["body"], "nothing");
    assert_eq!(input["request"]["method"], "GET");
    assert_eq!(input["request"]["url"], "http://a.test/x?y=z");
    assert_eq!(input["request"]["headers"]["X-Asked"], json!(["yes"]));
}

#[test]
fn bodies_that_are_not_text_come_as_base64_and_say_so() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).plugin("it", wasm::showing_input(), "type: request").start();
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\xff\x00\xfe";
    let input = ask(gateway.addr, request).json()["input"].clone();
    assert_eq!((&input["body"], &input["bodyEncoding"]), (&json!("/wD+"), &json!("base64")));
}

#[test]
fn a_header_value_that_is_not_utf8_reaches_a_plugin_and_the_origin() {
    let origin = Origin::ok();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Odd: caf\xe9\x80\xff\r\nX-Next: fine\r\n\r\n";
    let gateway = Setup::to(&origin).plugin("it", wasm::showing_input(), "type: request").start();
    let response = ask(gateway.addr, request);
    assert_eq!(response.status, 299);
    let input = response.json()["input"].clone();
    assert!(input["headers"]["X-Odd"][0].as_str().unwrap().starts_with("caf"), "{input}");
    assert_eq!(input["headers"]["X-Next"][0], "fine");
    // A plugin that leaves it alone leaves its bytes alone.
    let module = wasm::setting_headers(r#""X-Set":["1"]"#);
    let gateway = Setup::to(&origin).plugin("it", module, "type: middleware").start();
    assert_eq!(ask(gateway.addr, request).status, 200);
    let received = origin.only_request();
    let odd = received.head.fields.iter().find(|(name, _)| name == "X-Odd").unwrap();
    assert_eq!(odd.1, b"caf\xe9\x80\xff");
    assert_eq!(received.head.get("x-set").unwrap(), "1");
}

#[test]
fn headers_are_set_replaced_and_removed_on_the_way_to_the_origin() {
    let origin = Origin::ok();
    let module = wasm::setting_headers(
        r#""X-New":["1","2"],"x-replaced":["new"],"X-REMOVED":[],"X-Null":null"#,
    );
    let gateway = Setup::to(&origin).plugin("it", module, "type: request").start();
    let fields = "X-Replaced: old\r\nX-Replaced: older\r\nX-Removed: a\r\nX-Stays: b\r\n";
    assert_eq!(get_with(gateway.addr, "/", fields).status, 200);
    let head = origin.only_request().head;
    assert_eq!(head.all("x-new"), ["1", "2"]);
    assert_eq!(head.all("x-replaced"), ["new"]);
    assert!(!head.has("x-removed"));
    assert_eq!(head.get("x-stays").unwrap(), "b");
}

#[test]
fn a_request_object_changes_method_target_headers_and_body() {
    let origin = Origin::ok();
    let module = wasm::answering(
        r#"{"modified":true,"continue":true,"request":{"method":"PUT","url":"/other?x=1",
            "headers":{"X-By":["plugin"]},"body":"changed"}}"#,
    );
    let gateway = Setup::to(&origin).plugin("it", module, "type: request").start();
    assert_eq!(post(gateway.addr, "/original", "hello").status, 200);
    let received = origin.only_request();
    assert_eq!((received.method.as_str(), received.target.as_str()), ("PUT", "/other?x=1"));
    assert_eq!(received.head.get("x-by").unwrap(), "plugin");
    assert_eq!(received.text(), "changed");
}

#[test]
fn status_headers_and_body_of_a_response_are_changed() {
    let origin = Origin::raw(
        "HTTP/1.1 500 Oops\r\nX-Gone: 1\r\nX-Stays: 2\r\nContent-Length: 5\r\n\r\nhello",
    );
    let module = wasm::answering(
        r#"{"modified":true,"continue":true,"response":{"statusCode":202,
            "headers":{"X-Gone":[],"X-New":["a","b"]},"body":"changed"}}"#,
    );
    let gateway = Setup::to(&origin).plugin("it", module, "type: response").start();
    let response = get(gateway.addr, "/");
    assert_eq!((response.status, response.text().as_str()), (202, "changed"));
    assert!(!response.head.has("x-gone"));
    assert_eq!(response.head.get("x-stays").unwrap(), "2");
    assert_eq!(response.head.all("x-new"), ["a", "b"]);
}

#[test]
fn what_is_not_said_to_be_modified_is_not() {
    let origin = Origin::ok();
    let module = wasm::answering(
        r#"{"modified":false,"continue":true,"response":{"headers":{"X-New":["1"]},"body":"no"}}"#,
    );
    let gateway = Setup::to(&origin).plugin("it", module, "type: middleware").start();
    let response = post(gateway.addr, "/", "hello");
    assert_eq!(response.text(), "ok");
    assert!(!response.head.has("x-new"));
    let received = origin.only_request();
    assert_eq!(received.text(), "hello");
    assert!(!received.head.has("x-new"));
}

#[test]
fn metadata_is_merged_and_handed_to_every_later_plugin_of_the_exchange() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin(
            "first",
            wasm::answering(r#"{"continue":true,"metadata":{"user":"ann","n":1}}"#),
            "type: auth, priority: 1",
        )
        .plugin(
            "second",
            wasm::answering(r#"{"continue":true,"metadata":{"n":2,"more":{"x":[1]}}}"#),
            "type: request, priority: 2",
        )
        .plugin("third", wasm::showing_input(), "type: response, priority: 3")
        .start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..2 {
        let given = client.get("/").json();
        let expected = json!({"user": "ann", "n": 2, "more": {"x": [1]}});
        assert_eq!(given["context"]["metadata"], expected, "not carried to the next exchange");
    }
}

#[test]
fn the_rust_samples_spelling_of_continue_is_accepted() {
    let origin = Origin::ok();
    for (output, status) in [
        (r#"{"modified":false,"continue_":true,"response":null,"error":""}"#, 200),
        (r#"{"modified":false,"continue_":false,"response":null,"error":""}"#, 401),
    ] {
        let gateway =
            Setup::to(&origin).plugin("it", wasm::answering(output), "type: auth").start();
        assert_eq!(get(gateway.addr, "/").status, status, "{output}");
    }
}

#[test]
fn lower_priorities_run_first_and_equal_ones_in_the_files_order() {
    let appending = |letter: &str| {
        wasm::answering(&format!(r#"{{"continue":true,"metadata":{{"{letter}":1}}}}"#))
    };
    let origin = Origin::ok();
    // The names sort otherwise than the priorities, and the file otherwise than both.
    let gateway = Setup::to(&origin)
        .plugin("c", wasm::showing_input(), "type: request, priority: 20")
        .plugin("z", appending("z"), "type: request, priority: 10")
        .plugin("a", appending("a"), "type: request, priority: 30")
        .plugin("m", appending("m"), "type: request, priority: -5")
        .plugin("b", appending("b"), "type: request, priority: 20")
        .start();
    let given = get(gateway.addr, "/").json();
    let ran: Vec<&String> = given["context"]["metadata"].as_object().unwrap().keys().collect();
    assert_eq!(ran, ["m", "z"], "c, of priority 20, stands before b in the file");
}

#[test]
fn a_refusal_ends_the_chain() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin("guard", wasm::answering(r#"{"continue":false}"#), "type: auth, priority: 1")
        .plugin("after", wasm::showing_input(), "type: request, priority: 2")
        .start();
    assert_eq!(get(gateway.addr, "/").status, 401);
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn plugins_run_on_the_urls_and_services_they_name() {
    let module = || wasm::answering(r#"{"continue":false}"#);
    let gateway = Setup::new()
        .service("name: users, basePath: /api/users, targets: ['builtin:echo']")
        .service("name: other, basePath: /api/other, targets: ['builtin:echo']")
        .plugin("urls", module(), "type: auth, allowedUrls: ['/api/.*/private', '^/api/users/1$']")
        .plugin("services", module(), "type: ratelimit, services: [other]")
        .start();
    for (path, status) in [
        ("/api/users", 200),
        ("/api/users/1", 401),
        ("/api/users/1?x=private", 401),
        ("/api/users/12", 200),
        ("/api/users/private", 401),
        ("/api/users/x?y=/api/users/private", 200),
        ("/api/other", 429),
    ] {
        assert_eq!(get(gateway.addr, path).status, status, "{path}");
    }
}

#[test]
fn no_spelling_of_a_path_leads_past_a_guard() {
    let origin = Origin::naming_targets();
    let gateway = Setup::to(&origin)
        .plugin(
            "guard",
            wasm::answering(r#"{"continue":false}"#),
            "type: auth, allowedUrls: [^/admin]",
        )
        .start();
    for path in [
        "/admin",
        "/admin/",
        "//admin",
        "/./admin",
        "/x/../admin",
        "/%61dmin",
        "/x/%2e%2e/admin",
        "/x/%2E./%61%64%6d%69%6e",
        "/admin?x",
        "http://a.test/admin",
        "http://a.test//admin",
    ] {
        let response = get(gateway.addr, path);
        assert!([400, 401].contains(&response.status), "{path}: {}", response.status);
    }
    let through: Vec<String> = origin.requests().into_iter().map(|one| one.target).collect();
    assert!(through.is_empty(), "{through:?}");
}

#[test]
fn disabled_plugins_do_not_run() {
    let guard = || wasm::answering(r#"{"continue":false}"#);
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).plugin("it", guard(), "type: auth, enabled: false").start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    let gateway =
        Setup::to(&origin).wasm("enabled: false").plugin("it", guard(), "type: auth").start();
    assert_eq!(get(gateway.addr, "/").status, 200);
}

#[test]
fn every_worker_runs_the_chain() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .workers(3)
        .plugin("it", wasm::setting_headers(r#""X-Ran":["1"]"#), "type: middleware")
        .start();
    let mut clients: Vec<Client> = (0..64).map(|_| Client::connect(gateway.addr)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").head.get("x-ran").unwrap(), "1");
    }
    for received in origin.requests() {
        assert_eq!(received.head.get("x-ran").unwrap(), "1");
    }
}

#[test]
fn bodies_that_are_collected_go_on_whole_whatever_framed_them() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let body = request.text();
            connection.send(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\
                 X-Sum: 1\r\n\r\n",
                body.len()
            ));
        }
    });
    let gateway = Setup::to(&origin).plugin("it", wasm::passing(), "type: middleware").start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..3 {
        let response = client.ask(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: u\r\n\r\n",
        );
        assert_eq!(response.text(), "hello world");
    }
    for received in origin.requests() {
        assert_eq!(received.text(), "hello world");
    }
}
