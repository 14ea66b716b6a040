//! Requests that pass several gateways, or this one again: `CDN-Loop`, `Max-Forwards`, circles.

use crate::hostcalls;
use crate::metrics::{scrape, value};
use crate::support::gateway::io_driver;
use crate::support::{Client, Gateway, Origin, Setup, TempDir, ask, get, get_with, wasm};

#[test]
fn options_that_may_not_be_forwarded_is_answered_here() {
    // RFC 9110 section 7.6.2
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    for body in ["", "hello"] {
        let length = body.len();
        let response = client.ask(format!(
            "OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nContent-Length: {length}\r\n\r\n\
             {body}"
        ));
        assert_eq!(response.status, 204);
        let allow = response.head.get("allow").unwrap();
        assert!(allow.contains("OPTIONS") && !allow.contains("TRACE"), "{allow}");
    }
    assert!(client.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").head.has("allow"));
    assert_eq!(origin.requests().len(), 0);
    for (fields, left) in [
        ("Max-Forwards: 5\r\n", Some("4")),
        ("Max-Forwards: 1\r\n", Some("0")),
        ("Max-Forwards: 18446744073709551616\r\n", Some("4294967294")),
        ("", None),
    ] {
        let response = client.ask(format!("OPTIONS /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(response.status, 200, "{fields}");
        let received = origin.requests().pop().unwrap();
        assert_eq!(received.head.get("max-forwards").as_deref(), left, "{fields}");
    }
    for bad in ["-1", "x", "1, 2", "1\r\nMax-Forwards: 2"] {
        let response =
            client.ask(format!("OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: {bad}\r\n\r\n"));
        assert_eq!(response.status, 400, "{bad}");
        assert!(response.reason().contains("Max-Forwards"), "{}", response.text());
        client = Client::connect(gateway.addr);
    }
    // With other methods it means nothing.
    assert_eq!(get_with(gateway.addr, "/a", "Max-Forwards: 0\r\n").text(), "ok");
}

#[test]
fn options_that_is_answered_here_leads_past_no_plugin() {
    let origin = Origin::ok();
    let no = wasm::answering(r#"{"continue":false,"error":"no"}"#);
    let gateway = Setup::to(&origin).plugin("no", no, "type: auth").start();
    let options = "OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n";
    assert_eq!(ask(gateway.addr, options).status, 401);
}

#[test]
fn trace_is_refused_and_nobody_is_shown_what_origins_are_told() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    for fields in ["", "Max-Forwards: 5\r\n", "Max-Forwards: 0\r\n"] {
        let response = client.ask(format!("TRACE /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(response.status, 405, "{fields}");
        assert!(response.head.get("allow").unwrap().contains("GET"));
        assert!(response.reason().contains("TRACE") && !response.closes());
    }
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn an_origin_is_told_whom_a_request_has_passed() {
    // RFC 8586
    let origin = Origin::ok();
    let back = Setup::to(&origin).start();
    let front = Setup::new()
        .service(&format!("name: all, basePath: /, targets: ['http://{}']", back.addr))
        .start();
    let fields = "CDN-Loop: fred, p.example\r\nCDN-Loop: q.example\r\n";
    assert_eq!(get_with(front.addr, "/a", fields).text(), "ok");
    assert_eq!(ask(front.addr, "GET /b HTTP/1.0\r\n\r\n").text(), "ok");
    let requests = origin.requests();
    let passed = |number: usize| requests[number].head.all("cdn-loop").join(", ");
    let all = passed(0);
    let ours = all.strip_prefix("fred, p.example, q.example, odin-").unwrap();
    let (front, back) = ours.split_once(", odin-").unwrap();
    assert_ne!(front, back, "each has a name of its own");
    assert_eq!(passed(1), format!("odin-{front}, odin-{back}"));
}

/// A gateway that also listens where its services can call it, as `self`; `services` are lines of
/// YAML.
fn calling_itself(services: &str, plugins: &[(&str, Vec<u8>, &str)]) -> Gateway {
    let dir = TempDir::new();
    let path = dir.path().display().to_string();
    let mut config = format!(
        "server: {{listen: ['127.0.0.1:0', 'unix:{path}/self.sock'], workers: 1, pinCores: false, \
         ioDriver: {}}}\nadmin: {{listen: '127.0.0.1:0'}}\nservices:\n{}\n\
         wasm:\n  pluginDir: {path}\n  cacheEnabled: false\n  plugins:\n",
        io_driver(),
        services.replace("SELF", &format!("http://unix:{path}/self.sock"))
    );
    for (name, module, keys) in plugins {
        dir.write(&format!("{name}.wasm"), module);
        config += &format!("    - {{name: {name}, path: {name}.wasm, {keys}}}\n");
    }
    if plugins.is_empty() {
        config = config.replace("  plugins:\n", "");
    }
    Gateway::start(dir, &config, &[])
}

/// The exchanges that one request has become.
fn exchanges(gateway: &Gateway) -> usize {
    value(&scrape(gateway), r#"odin_exchanges_total{worker="0"}"#) as usize
}

#[test]
fn a_target_that_is_the_gateway_itself_is_found() {
    let gateway = calling_itself("  - {name: all, basePath: /, targets: ['SELF']}", &[]);
    let mut client = Client::connect(gateway.addr);
    let response = client.get("/a");
    assert_eq!(response.status, 508);
    assert!(response.reason().contains("leads here again"), "{}", response.text());
    assert_eq!(response.head.start, "HTTP/1.1 508 Loop Detected");
    assert_eq!(exchanges(&gateway), 4);
    assert_eq!(client.get("/a").status, 508, "the connection is kept");
}

#[test]
fn a_circle_of_two_gateways_is_found() {
    // Each leads to the other; the second one's address is known first.
    let dir = TempDir::new();
    let socket = dir.path().join("first.sock");
    let second = Setup::new()
        .service(&format!("name: all, basePath: /, targets: ['http://unix:{}']", socket.display()))
        .start();
    let config = format!(
        "server: {{listen: ['127.0.0.1:0', 'unix:{}'], workers: 1, pinCores: false, \
         ioDriver: {}}}\n\
         admin: {{listen: '127.0.0.1:0'}}\n\
         services:\n  - {{name: all, basePath: /, targets: ['http://{}']}}\n",
        socket.display(),
        io_driver(),
        second.addr
    );
    let first = Gateway::start(dir, &config, &[]);
    assert_eq!(get(first.addr, "/").status, 508);
    assert!(exchanges(&first) + exchanges(&second) < 10);
}

#[test]
fn a_service_may_lead_to_another_by_the_gateways_own_address() {
    let origin = Origin::naming_targets();
    let services = format!(
        "  - {{name: a, basePath: /a, stripBasePath: true, targets: ['SELF']}}\n  \
         - {{name: b, basePath: /b, targets: ['{}']}}",
        origin.url()
    );
    let gateway = calling_itself(&services, &[]);
    assert_eq!(get(gateway.addr, "/a/b/x").text(), "/b/x");
    assert_eq!(get(gateway.addr, "/a/a/b/y").text(), "/b/y");
    assert_eq!(get(gateway.addr, "/a/a/a/b/z").status, 508);
    let passed = origin.requests()[1].head.all("cdn-loop").join(", ");
    assert_eq!(passed.matches("odin-").count(), 3, "{passed}");
}

#[test]
fn a_plugin_that_takes_the_names_out_does_not_hide_a_circle() {
    let hides = wasm::answering(
        r#"{"continue":true,"modified":true,"request":{"headers":{"CDN-Loop":[]}}}"#,
    );
    let services = "  - {name: all, basePath: /, targets: ['SELF']}";
    let gateway = calling_itself(services, &[("hides", hides, "type: request")]);
    assert_eq!(get(gateway.addr, "/a").status, 508);
    assert_eq!(exchanges(&gateway), 4);
}

#[test]
fn calls_of_aggregations_and_plugins_that_lead_back_are_found() {
    let own = "  - {name: own, basePath: /own, targets: ['SELF']}\n";
    let aggregation = calling_itself(
        &format!(
            "{own}  - {{name: both, basePath: /both, aggregation: {{failOnError: true, calls: \
             [{{name: a, service: own, path: /both}}, {{name: b, service: own, path: /both}}]}}}}"
        ),
        &[],
    );
    assert_eq!(get(aggregation.addr, "/both").status, 502);
    // 2 calls of each, three deep, at most.
    assert!(exchanges(&aggregation) <= 1 + 2 + 4 + 8);

    let calls = hostcalls::calling(r#"{"url":"http://own/guarded"}"#, hostcalls::ANSWERED_200);
    let plugin = calling_itself(
        &format!("{own}  - {{name: all, basePath: /, targets: ['builtin:echo']}}"),
        &[("calls", calls, "type: auth, allowedUrls: ['^/guarded']")],
    );
    assert_eq!(get(plugin.addr, "/guarded").status, 401);
    assert_eq!(exchanges(&plugin), 4);
    assert_eq!(get(plugin.addr, "/free").status, 200);
}
