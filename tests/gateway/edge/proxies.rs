//! Proxies in front of the gateway: the PROXY protocol, `trustedProxies`.

use std::io::Write;
use std::net::TcpStream;

use crate::support::secure::{Issuer, Leaf, Shaker};
use crate::support::{Client, Setup, get_with, wait_until};

const TRUSTED: &str = "trustedProxies: [127.0.0.0/8]";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 5678 443\r\n";

fn v2() -> Vec<u8> {
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c";
    [&head[..], &[192, 0, 2, 7, 198, 51, 100, 1, 22, 46, 1, 187]].concat()
}

fn listening(proxy: &str) -> Setup {
    Setup::echo()
        .listen(&format!("{{address: '127.0.0.1:0', proxyProtocol: {proxy}}}"))
        .logging("accessLog: stdout, format: text, accessLogFields: [client, peer, status]")
}

#[test]
fn the_client_that_a_trusted_proxy_names_is_the_client() {
    let gateway = listening("require").server(TRUSTED).start();
    for header in [V1.as_bytes(), &v2()] {
        let mut client = Client::connect(gateway.addr);
        client.send([header, REQUEST.as_bytes()].concat());
        assert_eq!(client.response().json()["headers"]["X-Forwarded-For"][0], "192.0.2.7");
        // It is the connection's, whatever comes over it.
        let again = client.ask("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
        assert_eq!(again.json()["headers"]["X-Forwarded-For"], serde_json::json!(["192.0.2.7"]));
    }
    gateway.wait_log("client=192.0.2.7 peer=127.0.0.1 status=200");
    // In two pieces, and bytewise.
    let mut client = Client::connect(gateway.addr);
    client.send_bytewise(V1);
    client.send(REQUEST);
    assert_eq!(client.response().json()["headers"]["X-Forwarded-For"][0], "192.0.2.7");
    // The proxy speaks for itself.
    let mut client = Client::connect(gateway.addr);
    client.send(format!("PROXY UNKNOWN\r\n{REQUEST}"));
    assert_eq!(client.response().json()["headers"]["X-Forwarded-For"][0], "127.0.0.1");
}

#[test]
fn without_a_header_that_counts_nobody_is_served_where_one_is_required() {
    let gateway =
        listening("require").server(TRUSTED).server("timeouts: {tlsHandshake: 300ms}").start();
    for bytes in [REQUEST, "PROXY TCP4 192.0.2.7\r\n", "PROXY", ""] {
        let mut client = Client::connect(gateway.addr);
        client.send(bytes);
        client.assert_closed();
    }
    assert_eq!(gateway.metric("odin_proxy_headers_refused_total") as u64, 4);
    // From nobody that is trusted.
    let gateway = listening("require").start();
    let mut client = Client::connect(gateway.addr);
    client.send([V1, REQUEST].concat());
    let _reset_or_end = client.try_response().unwrap_err();
    wait_until("it is counted", || gateway.metric("odin_proxy_headers_refused_total") as u64 == 1);
}

#[test]
fn where_a_header_may_be_there_may_be_none() {
    let gateway = listening("accept").server(TRUSTED).start();
    let told = |bytes: &str| {
        let mut client = Client::connect(gateway.addr);
        client.send(bytes);
        client.response().json()["headers"]["X-Forwarded-For"][0].clone()
    };
    assert_eq!(told(&[V1, REQUEST].concat()), "192.0.2.7");
    assert_eq!(told(REQUEST), "127.0.0.1");
    let mut client = Client::connect(gateway.addr);
    client.send_bytewise("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status, 200);
    // Of whoever is not trusted it is no header but a request, and a bad one.
    let gateway = listening("accept").start();
    let mut client = Client::connect(gateway.addr);
    client.send([V1, REQUEST].concat());
    assert_eq!(client.response().status, 400);
}

#[test]
fn the_header_stands_before_the_handshake() {
    let setup = Setup::echo().server(TRUSTED);
    let issuer = Issuer::new("proxied");
    let pair = issuer.write(&setup.dir, "a", &Leaf::default());
    let listen = format!(
        "{{address: '127.0.0.1:0', tls: {{certificates: [{pair}]}}, proxyProtocol: require}}"
    );
    let gateway = setup.listen(&listen).start();
    let mut tcp = TcpStream::connect(gateway.addr).unwrap();
    tcp.write_all(&v2()).unwrap();
    let mut client = Shaker::trusting(&issuer, |_| ()).over(tcp, "localhost").unwrap();
    let headers = client.get("/").json()["headers"].clone();
    assert_eq!(headers["X-Forwarded-For"][0], "192.0.2.7");
    assert_eq!(headers["X-Forwarded-Proto"][0], "https");
}

#[test]
fn the_word_of_trusted_proxies_counts_and_that_of_others_does_not() {
    let gateway = Setup::echo()
        .server(TRUSTED)
        .logging("accessLog: stdout, format: text, accessLogFields: [client, scheme, path]")
        .start();
    let fields = "X-Forwarded-For: 6.6.6.6, 192.0.2.7, 127.0.0.9\r\nX-Forwarded-Proto: https\r\n";
    let echo = get_with(gateway.addr, "/trusted", fields).json();
    assert_eq!(echo["url"], "https://gateway.test/trusted".replace("gateway.test", host(&echo)));
    let all = &echo["headers"]["X-Forwarded-For"];
    assert_eq!(*all, serde_json::json!(["6.6.6.6, 192.0.2.7, 127.0.0.9, 127.0.0.1"]));
    gateway.wait_log("client=192.0.2.7 scheme=https path=/trusted");
    let forwarded = "Forwarded: for=192.0.2.8;proto=https\r\n";
    let echo = get_with(gateway.addr, "/forwarded", forwarded).json();
    let told = &echo["headers"]["Forwarded"];
    assert_eq!(*told, serde_json::json!(["for=192.0.2.8;proto=https, for=127.0.0.1;proto=http"]));
    gateway.wait_log("client=192.0.2.8 scheme=https path=/forwarded");

    let gateway = Setup::echo()
        .server("trustedProxies: [10.0.0.0/8, '2001:db8::/32', 192.0.2.1]")
        .logging("accessLog: stdout, format: text, accessLogFields: [client, scheme, path]")
        .start();
    let headers = get_with(gateway.addr, "/other", fields).json()["headers"].clone();
    assert_eq!(headers["X-Forwarded-For"], serde_json::json!(["127.0.0.1"]));
    assert_eq!(headers["X-Forwarded-Proto"], serde_json::json!(["http"]));
    gateway.wait_log("client=127.0.0.1 scheme=http path=/other");
}

fn host(echo: &serde_json::Value) -> &str {
    echo["headers"]["Host"][0].as_str().unwrap()
}
