//! What tunnels live through and what they count for: reloads, a stop, an upgrade of the binary,
//! caps, metrics, the access log, TLS.

use std::time::{Duration, Instant};

use crate::metrics::{scrape, value};
use crate::support::gateway::is_alive;
use crate::support::secure::{Issuer, Leaf, Shaker};
use crate::support::websocket::{
    ACCEPT, GOING_AWAY, assert_echoes, echoing, handshake, masked, open,
};
use crate::support::{Setup, get, wait_until};

#[test]
fn a_tunnel_lives_through_reloads_until_one_takes_its_service_away() {
    let origin = echoing();
    let target = origin.url();
    let gateway = Setup::new()
        .service(&format!("name: sockets, basePath: /, targets: ['{target}']"))
        .service(&format!("name: other, basePath: /other, targets: ['{target}']"))
        .logging("accessLog: stdout")
        .start();
    let (mut client, _) = open(&gateway, "/");
    let (mut kept, _) = open(&gateway, "/other");
    let config = gateway.config();
    // Another base path, another target, a plugin more: it is the same service.
    gateway.rewrite(&config.replace("basePath: /,", "basePath: /moved,"));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    gateway.rewrite(&config.replace(&target, "http://127.0.0.1:9"));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_echoes(&mut client, "still here");
    // Nothing of the old configurations is kept for it.
    wait_until("the old snapshots are gone", || gateway.metric("odin_generations_alive") == 1.0);
    gateway.rewrite(&config.replace("name: sockets", "name: renamed"));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(client.take(4), GOING_AWAY);
    gateway.wait_log("the service is in the configuration no more");
    assert_echoes(&mut kept, "and here");
    let (mut renamed, _) = open(&gateway, "/");
    assert_echoes(&mut renamed, "new");
}

#[test]
fn a_stop_waits_for_tunnels_and_says_goodbye_before_its_time_is_up() {
    let origin = echoing();
    let mut gateway = Setup::to(&origin).drain_timeout("3s").start();
    let (mut client, _) = open(&gateway, "/");
    let start = Instant::now();
    gateway.terminate();
    std::thread::sleep(Duration::from_millis(300));
    assert_echoes(&mut client, "it goes on");
    assert_eq!(client.take(4), GOING_AWAY);
    assert!(start.elapsed() >= Duration::from_millis(1400), "{:?}", start.elapsed());
    client.send([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]);
    drop(client);
    assert_eq!(gateway.wait_exit().code(), Some(0), "{}", gateway.log());
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    // And one that ends by itself ends the wait.
    let mut gateway = Setup::to(&origin).drain_timeout("60s").start();
    let (mut client, _) = open(&gateway, "/");
    gateway.terminate();
    std::thread::sleep(Duration::from_millis(300));
    assert_echoes(&mut client, "on");
    drop(client);
    assert_eq!(gateway.wait_exit().code(), Some(0), "{}", gateway.log());
}

#[test]
fn an_upgrade_of_the_binary_leaves_tunnels_to_the_old_process() {
    let origin = echoing();
    let mut gateway = Setup::to(&origin).drain_timeout("60s").start();
    let (mut client, _) = open(&gateway, "/");
    let old = gateway.pid();
    gateway.upgrade();
    assert_echoes(&mut client, "old");
    assert!(is_alive(old));
    drop(client);
    gateway.wait_ended(old);
    let (mut next, _) = open(&gateway, "/");
    assert_echoes(&mut next, "new");
}

#[test]
fn a_tunnel_is_a_request_under_way_at_its_target() {
    let origin = echoing();
    let gateway = Setup::new()
        .service(&format!(
            "name: all, basePath: /, targets: ['{}'], \
             limits: {{connections: 1, pending: 0}}",
            origin.url()
        ))
        .start();
    let (mut client, _) = open(&gateway, "/");
    assert_eq!(get(gateway.addr, "/").status, 503);
    let metrics = scrape(&gateway);
    assert_eq!(value(&metrics, "odin_upstream_requests_active{service=\"all\"}"), 1.0);
    assert_eq!(value(&metrics, "odin_upstream_connections_open{service=\"all\"}"), 1.0);
    assert_echoes(&mut client, "mine");
    drop(client);
    origin.wait_all_closed();
    wait_until("there is room again", || {
        gateway.metric("odin_tunnels_open{service=\"all\"}") == 0.0
    });
    open(&gateway, "/");
}

#[test]
fn a_tunnel_is_counted_and_leaves_a_line_at_its_end() {
    let origin = echoing();
    let gateway = Setup::to(&origin).logging("accessLog: stdout").start();
    let (mut client, _) = open(&gateway, "/chat?secret=1");
    assert_echoes(&mut client, "hello");
    let metrics = scrape(&gateway);
    for (series, expected) in [
        ("odin_tunnels_open{service=\"all\"}", 1.0),
        ("odin_tunnels_total{service=\"all\"}", 1.0),
        ("odin_tunnel_bytes_total{service=\"all\",from=\"client\"}", 11.0),
        ("odin_tunnel_bytes_total{service=\"all\",from=\"target\"}", 11.0),
        ("odin_tunnel_duration_seconds_count{service=\"all\"}", 0.0),
        ("odin_requests_total{service=\"all\",status=\"1xx\"}", 1.0),
    ] {
        assert_eq!(value(&metrics, series), expected, "{series}");
    }
    let status = || gateway.call("GET", "/api/status", "").json()["services"][0]["tunnels"].clone();
    let expected = r#"{"open":1,"ended":0,"bytesFromClients":11,"bytesFromTargets":11}"#;
    assert_eq!(status().to_string(), expected);
    assert!(!gateway.log().contains("path=/chat"), "before its end");
    client.send(masked("more"));
    client.take(10);
    drop(client);
    gateway.wait_log(
        "method=GET path=/chat status=101 body_bytes_sent=21 tunnel_bytes_received=21 duration_ms=",
    );
    gateway.wait_log("service=all upstream=127.0.0.1:");
    let metrics = scrape(&gateway);
    assert_eq!(value(&metrics, "odin_tunnels_open{service=\"all\"}"), 0.0);
    assert_eq!(value(&metrics, "odin_tunnel_duration_seconds_count{service=\"all\"}"), 1.0);
    assert!(value(&metrics, "odin_tunnel_duration_seconds_sum{service=\"all\"}") > 0.0);
    let expected = r#"{"open":0,"ended":1,"bytesFromClients":21,"bytesFromTargets":21}"#;
    assert_eq!(status().to_string(), expected);
}

#[test]
fn tls_is_no_hindrance_on_either_side() {
    let (origin, issuer) = (echoing(), Issuer::new("scene"));
    let listening = |setup: Setup| {
        let pair = issuer.write(&setup.dir, "a", &Leaf::default());
        setup.listen(&format!("[{{address: '127.0.0.1:0', tls: {{certificates: [{pair}]}}}}]"))
    };
    let second = listening(Setup::to(&origin)).start();
    let first = listening(Setup::new());
    let ca = first.dir.write("ca.pem", issuer.pem());
    let first = first
        .service(&format!(
            "name: all, basePath: /, targets: ['https://localhost:{}'], tls: {{ca: '{}'}}, \
             addresses: together",
            second.addr.port(),
            ca.display()
        ))
        .start();
    let shaker = Shaker::trusting(&issuer, |_| ());
    let mut client = shaker.connect(first.addr, "localhost");
    client.send([handshake("/", "").as_bytes(), &masked("early")].concat());
    let head = client.wire.head().unwrap();
    assert_eq!(head.all("sec-websocket-accept"), [ACCEPT], "{head}");
    assert_eq!(client.wire.take(11).unwrap(), masked("early"));
    let large = vec![0x5a; 400_000];
    client.send(&large);
    assert_eq!(client.wire.take(large.len()).unwrap(), large);
    // Silence does not hurt: the readers wait without a buffer by now.
    std::thread::sleep(Duration::from_millis(1500));
    client.send(masked("late"));
    assert_eq!(client.wire.take(10).unwrap(), masked("late"));
    assert!(origin.only_request().head.has("x-forwarded-proto"));
    drop(client);
    origin.wait_all_closed();
}
