//! HTTP/2 to origins by TLS, where they agree on it (`tls.alpn`). The origin is a second gateway,
//! in front of a scripted one.

use crate::metrics::{scrape, value};
use crate::support::http2::{Http2, get};
use crate::support::secure::{Issuer, Leaf};
use crate::support::websocket::{assert_echoes, echoing, open};
use crate::support::{Gateway, Origin, Setup, ask, get as get_http1, wait_until};

/// What is called by TLS, and speaks these protocols, in front of `origin`.
fn secured(origin: &Origin, issuer: &Issuer, protocols: &str) -> Gateway {
    let setup = Setup::to(origin);
    let pair = issuer.write(&setup.dir, "a", &Leaf::default());
    let tls = format!("tls: {{certificates: [{pair}]}}, protocols: [{protocols}]");
    setup.listen(&format!("[{{address: '127.0.0.1:0', {tls}}}]")).start()
}

/// A gateway that calls it, and offers these protocols.
fn calling(second: &Gateway, issuer: &Issuer, offers: &str, more: &str) -> Gateway {
    let setup = Setup::new();
    let ca = setup.dir.write("ca.pem", issuer.pem());
    let (port, ca) = (second.addr.port(), ca.display());
    setup
        .service(&format!(
            "name: all, basePath: /, targets: ['https://localhost:{port}'], addresses: together, \
             tls: {{ca: '{ca}'{offers}}}{more}"
        ))
        .start()
}

/// The connections of HTTP/2 that have come to a gateway of one worker.
fn connections(gateway: &Gateway) -> f64 {
    value(&scrape(gateway), "odin_http2_connections_total{worker=\"0\"}")
}

#[test]
fn an_origin_that_agrees_on_http2_is_spoken_to_by_it_over_one_connection() {
    let (origin, issuer) = (Origin::ok(), Issuer::new("scene"));
    let second = secured(&origin, &issuer, "h2, http/1.1");
    let first = calling(&second, &issuer, ", alpn: [h2, http/1.1]", "");
    let posted = "POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(ask(first.addr, posted).status, 200);
    let mut client = Http2::connect(first.addr);
    for stream in [1, 3, 5] {
        assert_eq!(client.ask(stream, &get("/")).status(), 200);
    }
    assert_eq!(connections(&second), 1.0);
    let received = origin.requests();
    assert_eq!((received.len(), received[0].text().as_str()), (4, "hello"));
    // The second one trusts nobody: what it says is what it was asked by.
    assert!(received.iter().all(|one| one.head.all("x-forwarded-proto") == ["https"]));
    // A client of a service that has not said so offers HTTP/1.1 alone.
    let plain = calling(&second, &issuer, "", "");
    assert_eq!(get_http1(plain.addr, "/").status, 200);
    assert_eq!(connections(&second), 1.0);
}

#[test]
fn an_origin_that_does_not_agree_is_spoken_to_by_http1_or_not_at_all() {
    let (origin, issuer) = (Origin::ok(), Issuer::new("scene"));
    let second = secured(&origin, &issuer, "http/1.1");
    let first = calling(&second, &issuer, ", alpn: [h2, http/1.1]", "");
    for _ in 0..3 {
        assert_eq!(get_http1(first.addr, "/").status, 200);
    }
    assert_eq!(origin.connections(), 1, "connections are kept and used again");
    let only = calling(&second, &issuer, ", alpn: [h2]", "");
    let refused = get_http1(only.addr, "/");
    assert_eq!(refused.status, 502, "{}", refused.text());
    assert_eq!(connections(&second), 0.0);
    // And the other way round.
    let second = secured(&origin, &issuer, "h2");
    assert_eq!(get_http1(calling(&second, &issuer, "", "").addr, "/").status, 502);
    let only = calling(&second, &issuer, ", alpn: [h2]", "");
    assert_eq!(get_http1(only.addr, "/").status, 200);
}

#[test]
fn checks_and_websockets_go_to_such_an_origin_too() {
    let (origin, issuer) = (echoing(), Issuer::new("scene"));
    let second = secured(&origin, &issuer, "h2, http/1.1");
    let first = calling(&second, &issuer, ", alpn: [h2, http/1.1]", "");
    let (mut client, _) = open(&first, "/");
    assert_echoes(&mut client, "by HTTP/2");
    assert_eq!(connections(&second), 1.0);
    let (origin, check) = (Origin::ok(), "healthCheck: {path: /up, interval: 100ms}");
    let second = secured(&origin, &issuer, "h2, http/1.1");
    let first = calling(&second, &issuer, ", alpn: [h2, http/1.1]", &format!(", {check}"));
    wait_until("it is asked", || origin.requests().len() > 3);
    let series = format!(
        "odin_upstream_target_state{{service=\"all\",target=\"https://localhost:{}\",\
         state=\"healthy\"}}",
        second.addr.port()
    );
    assert_eq!(first.metric(&series), 1.0);
}
