//! Every limit of sizes, at it and one past it.

use crate::support::http2::Http2;
use crate::support::{Client, Gateway, Origin, Setup, ask, get, wait_until, wasm};

/// A GET whose head is exactly `size` bytes.
fn head_of(size: usize) -> String {
    let frame = "GET / HTTP/1.1\r\nHost: a\r\nX-Pad: \r\n\r\n";
    frame.replace("Pad: ", &format!("Pad: {}", "x".repeat(size - frame.len())))
}

#[test]
fn a_head_over_its_limit_gets_431() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).limits("headBytesMax: 2048, uriBytesMax: 1024").start();
    assert_eq!(ask(gateway.addr, head_of(2048)).status, 200);
    for size in [2049, 4096, 100_000] {
        let mut client = Client::connect(gateway.addr);
        let response = client.ask(head_of(size));
        assert_eq!(response.status, 431, "{size} bytes");
        assert!(response.reason().contains("headBytesMax"), "{}", response.text());
        client.assert_closed();
    }
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn the_default_head_limit_lets_the_cookies_of_browsers_through() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    assert_eq!(ask(gateway.addr, head_of(30 * 1024)).status, 200);
    assert_eq!(ask(gateway.addr, head_of(40 * 1024)).status, 431);
}

#[test]
fn a_head_without_an_end_is_not_collected() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Endless: ");
    let piece = vec![b'x'; 1 << 16];
    for _ in 0..64 {
        if !client.try_send(&piece) {
            break;
        }
    }
    assert_eq!(client.response().status, 431);
}

#[test]
fn too_many_fields_get_431() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).limits("headFieldsMax: 20").start();
    let request = |fields: usize| {
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: b\r\n".repeat(fields - 1))
    };
    assert_eq!(ask(gateway.addr, request(20)).status, 200);
    let response = ask(gateway.addr, request(21));
    assert_eq!(response.status, 431);
    assert!(response.reason().contains("headFieldsMax"), "{}", response.text());
}

#[test]
fn more_fields_than_by_default_pass_where_that_is_set_and_come_back_from_an_origin_in_any_case() {
    let lines = "X-A: b\r\n".repeat(150);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n");
    let origin = Origin::scripted(move |connection, _| {
        while connection.request().is_some() {
            connection.send(&head);
        }
    });
    let gateway = Setup::to(&origin).limits("headFieldsMax: 200").start();
    let answer = ask(gateway.addr, format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.head.all("x-a").len(), 150);
}

#[test]
fn a_target_over_its_limit_gets_414() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).limits("uriBytesMax: 100").start();
    for separator in ["", "?"] {
        let target = |size: usize| {
            let rest = size - 1 - separator.len();
            format!("/{separator}{}", "x".repeat(rest))
        };
        assert_eq!(get(gateway.addr, &target(100)).status, 200);
        let response = get(gateway.addr, &target(101));
        assert_eq!(response.status, 414);
        assert!(response.reason().contains("uriBytesMax"), "{}", response.text());
    }
    // RFC 9110 section 4.1 asks for 8000 at least by default.
    let gateway = Setup::to(&origin).start();
    assert_eq!(get(gateway.addr, &format!("/{}", "x".repeat(7999))).status, 200);
    assert_eq!(get(gateway.addr, &format!("/{}", "x".repeat(9000))).status, 414);
    // Even where the request line does not end within the limit of the head.
    assert_eq!(get(gateway.addr, &format!("/{}", "x".repeat(100_000))).status, 414);
}

#[test]
fn a_body_over_its_limit_gets_413() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).limits("bodyBytesMax: 1000").start();
    let by_length = |size: usize| {
        let body = "x".repeat(size);
        ask(
            gateway.addr,
            format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{body}"),
        )
    };
    assert_eq!(by_length(1000).status, 200);
    let response = by_length(1001);
    assert_eq!(response.status, 413);
    assert!(response.reason().contains("bodyBytesMax"), "{}", response.text());
    assert!(response.closes());

    let by_chunks = |count: usize| {
        let chunks = format!("64\r\n{}\r\n", "x".repeat(100)).repeat(count);
        ask(
            gateway.addr,
            format!(
                "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
            ),
        )
    };
    assert_eq!(by_chunks(10).status, 200);
    assert_eq!(by_chunks(11).status, 413);
    let whole = origin.requests().into_iter().filter(|request| request.method == "PUT").count();
    assert_eq!(whole, 2, "no body over the limit reaches the origin whole");
}

#[test]
fn a_length_over_the_limit_is_refused_before_the_body_comes() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).limits("bodyBytesMax: 1000").start();
    let mut client = Client::connect(gateway.addr);
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000000\r\n\r\n");
    assert_eq!(client.response().status, 413);
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn responses_may_be_larger_than_request_bodies() {
    let origin = Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let gateway = Setup::to(&origin).limits("bodyBytesMax: 4").start();
    assert_eq!(get(gateway.addr, "/").text(), "hello");
}

#[test]
fn uploads_that_stop_half_way_stay_within_the_budget_and_others_are_served() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .workers(1)
        .limits("bufferedBytesMax: 16MiB")
        .plugin("reader", wasm::passing(), "type: request, body: true, allowedUrls: ['^/read']")
        .start();
    let before = gateway.rss_kib();
    let half = "x".repeat(512 * 1024);
    let mut stopped: Vec<Client> = Vec::new();
    for _ in 0..1000 {
        let mut client = Client::connect(gateway.addr);
        let head = "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n";
        // Who is refused is so while sending.
        let _ = client.try_send(head.as_bytes()) && client.try_send(half.as_bytes());
        stopped.push(client);
    }
    let grown = gateway.peak_rss_kib().saturating_sub(before);
    assert!(grown < 96 * 1024, "{grown} KiB for a budget of 16 MiB");
    assert_eq!(get(gateway.addr, "/").status, 200, "who needs no body in memory is served");
    let refused = ask(
        gateway.addr,
        format!("POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n{half}"),
    );
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.head.get("retry-after").unwrap(), "1");
    let metrics = gateway.call("GET", "/metrics", "").text();
    let series = "odin_rejected_total{reason=\"over_budget\"}";
    assert!(crate::metrics::value(&metrics, series) >= 1.0);
    drop(stopped);
    wait_until("all is given back", || {
        gateway.call("GET", "/metrics", "").text().contains("odin_buffered_bytes{worker=\"0\"} 0")
    });
    let body = "x".repeat(1024 * 1024);
    let head = "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n";
    assert_eq!(ask(gateway.addr, format!("{head}{body}")).status, 200);
}

/// A service with limits of its own beside one without.
fn limited(limits: &str) -> Gateway {
    Setup::new()
        .limits("bodyBytesMax: 1000, uriBytesMax: 512")
        .service(&format!(
            "name: own, basePath: /own, targets: ['builtin:echo'], limits: {{{limits}}}"
        ))
        .service("name: other, basePath: /other, targets: ['builtin:echo']")
        .service("name: split, basePath: /split, split: [{service: own}]")
        .start()
}

#[test]
fn a_service_has_limits_of_its_own_for_bodies_over_and_under_the_servers() {
    for (own, fits, over) in [("100", 100, 101), ("5000", 5000, 5001), ("0", 0, 1)] {
        let gateway = limited(&format!("bodyBytesMax: {own}"));
        for path in ["/own", "/split"] {
            let known = |length: usize| {
                let body = "x".repeat(length);
                format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
            };
            let chunked = |length: usize| {
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                );
                let body = match length {
                    0 => String::new(),
                    _ => format!("{length:x}\r\n{}\r\n", "x".repeat(length)),
                };
                format!("{head}{body}0\r\n\r\n")
            };
            for (request, status) in
                [(known(fits), 200), (chunked(fits), 200), (known(over), 413), (chunked(over), 413)]
            {
                let mut client = Client::connect(gateway.addr);
                assert_eq!(client.ask(request).status, status, "{own} {path}");
            }
            let mut http2 = Http2::connect(gateway.addr);
            for (stream, length, status) in [(1, fits, 200), (3, over, 413)] {
                let mut fields = crate::support::http2::get(path);
                fields[0].1 = "POST";
                http2.request(stream, &fields, false);
                http2.data(stream, &vec![b'x'; length], true);
                assert_eq!(http2.until_over(stream).status(), status, "{own} {path}");
            }
            // Nothing is asked for that would be refused.
            let mut client = Client::connect(gateway.addr);
            client.send(format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                 Content-Length: {over}\r\n\r\n"
            ));
            assert_eq!(client.response().status, 413);
        }
        let body = "x".repeat(1000);
        assert_eq!(crate::support::post(gateway.addr, "/other", &body).status, 200);
        assert_eq!(crate::support::post(gateway.addr, "/other", &(body + "x")).status, 413);
    }
}

#[test]
fn a_streamed_body_over_its_services_limit_ends_the_upload_and_no_origin_has_it_whole() {
    let origin = Origin::ok();
    let gateway = Setup::new()
        .service(&format!(
            "name: a, targets: ['{}'], limits: {{bodyBytesMax: 100KiB}}",
            origin.url()
        ))
        .start();
    let mut client = Client::connect(gateway.addr);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let piece = format!("{:x}\r\n{}\r\n", 60 * 1024, "x".repeat(60 * 1024));
    client.send(&piece);
    client.send(&piece);
    assert_eq!(client.response().status, 413);
    origin.wait_all_closed();
    assert!(origin.requests().iter().all(|one| one.method == "MALFORMED"), "it came whole");
}

#[test]
fn heads_are_held_to_the_limits_of_their_service_too() {
    let gateway = limited("uriBytesMax: 100, headFieldsMax: 10, headBytesMax: 1KiB");
    let ask =
        |path: &str, fields: &str| crate::support::get_with(gateway.addr, path, fields).status;
    let long = "x".repeat(200);
    let many: String = (0..12).map(|number| format!("X-{number}: y\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "y".repeat(1000));
    for (name, status) in
        [("own", [414, 431, 431]), ("split", [414, 431, 431]), ("other", [200; 3])]
    {
        assert_eq!(ask(&format!("/{name}"), ""), 200);
        let asked = [
            ask(&format!("/{name}?{long}"), ""),
            ask(&format!("/{name}"), &many),
            ask(&format!("/{name}"), &large),
        ];
        assert_eq!(asked, status, "{name}");
    }
    let mut http2 = Http2::connect(gateway.addr);
    let mut fields = crate::support::http2::get("/own");
    fields.push(("x-large", &long));
    assert_eq!(http2.ask(1, &fields).status(), 200);
    let larger = long.repeat(5);
    fields.push(("x-larger", &larger));
    assert_eq!(http2.ask(3, &fields).status(), 431);
}
