//! How a tunnel ends: by either side, by half, by a break, by silence.

use std::time::{Duration, Instant};

use crate::support::websocket::{
    GOING_AWAY, assert_echoes, echoing, frame, handshake, masked, open, switching,
};
use crate::support::{Client, Gate, Origin, Setup};

/// What tells that the end of a tunnel came by itself and not by a bound.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_client_that_leaves_ends_its_tunnel() {
    for resets in [false, true] {
        let origin = switching(|connection| while !connection.some().is_empty() {});
        let gateway = Setup::to(&origin).logging("accessLog: stdout").start();
        let (client, _) = open(&gateway, "/left");
        let start = Instant::now();
        match resets {
            true => client.reset(),
            false => drop(client),
        }
        origin.wait_all_closed();
        assert!(start.elapsed() < SOON);
        gateway.wait_log("path=/left status=101");
        assert_eq!(gateway.log().contains("client closed the connection"), resets);
    }
}

#[test]
fn an_origin_that_leaves_ends_the_clients_connection_behind_its_last_words() {
    let gate = Gate::default();
    let waits = gate.clone();
    let origin = switching(move |connection| {
        waits.wait();
        connection.send(frame("bye"));
    });
    let gateway = Setup::to(&origin).logging("accessLog: stdout").start();
    let (mut client, _) = open(&gateway, "/");
    gate.open();
    assert_eq!(client.rest(), frame("bye"));
    // It has not closed yet: what it says now is nobody's.
    client.send(masked("late"));
    drop(client);
    origin.wait_all_closed();
    gateway.wait_log("status=101");
}

#[test]
fn an_origin_that_breaks_off_ends_the_clients_connection() {
    let origin = switching(|connection| {
        connection.some();
        connection.reset();
    });
    let gateway = Setup::to(&origin).logging("accessLog: stdout").start();
    let (mut client, _) = open(&gateway, "/");
    client.send(masked("break"));
    assert!(client.rest().is_empty());
    gateway.wait_log("upstream broke the connection");
}

#[test]
fn who_has_ended_its_sending_gets_what_the_other_still_says() {
    let large = 300_000;
    let origin = switching(move |connection| {
        let mut came = 0;
        loop {
            let bytes = connection.some();
            if bytes.is_empty() {
                break;
            }
            came += bytes.len();
        }
        connection.send(came.to_string());
        connection.send(vec![b'x'; large]);
    });
    let gateway = Setup::to(&origin).start();
    let (mut client, _) = open(&gateway, "/");
    client.send(vec![b'y'; large]);
    client.finish_sending();
    let rest = client.rest();
    assert_eq!(rest.len(), large + 6);
    assert!(rest.starts_with(b"300000x"), "{:?}", &rest[..10]);

    // The other way: an origin that has said all still hears the client.
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let hears = heard.clone();
    let origin = switching(move |connection| {
        connection.send("all");
        connection.end_sending();
        loop {
            let bytes = connection.some();
            if bytes.is_empty() {
                break;
            }
            hears.lock().unwrap().extend(bytes);
        }
    });
    let gateway = Setup::to(&origin).start();
    let (mut client, _) = open(&gateway, "/");
    assert_eq!(client.rest(), b"all");
    client.send("and me");
    drop(client);
    origin.wait_all_closed();
    assert_eq!(heard.lock().unwrap().as_slice(), b"and me");
}

#[test]
fn a_tunnel_through_which_nothing_passes_is_closed_in_time_and_one_in_use_is_not() {
    let origin = echoing();
    let gateway = Setup::new()
        .service(&format!(
            "name: all, basePath: /, targets: ['{}'], timeout: 500ms, \
             timeouts: {{tunnel: 1500ms, idle: 100ms}}",
            origin.url()
        ))
        .server("timeouts: {body: 300ms, idle: 300ms}")
        .logging("accessLog: stdout")
        .start();
    let (mut client, _) = open(&gateway, "/");
    // Neither the service's time nor those of bodies are a tunnel's.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(400));
        assert_echoes(&mut client, "ping");
    }
    let start = Instant::now();
    assert_eq!(client.take(4), GOING_AWAY);
    assert!(start.elapsed() >= Duration::from_millis(1400), "{:?}", start.elapsed());
    drop(client);
    origin.wait_all_closed();
    gateway.wait_log("nothing has passed through the tunnel for timeouts.tunnel");
}

#[test]
fn within_a_frame_no_other_is_sent() {
    let origin = switching(|connection| {
        // The first half of one.
        connection.send([0x81, 20, b'h']);
        while !connection.some().is_empty() {}
    });
    let gateway = Setup::new()
        .service(&format!(
            "name: all, basePath: /, targets: ['{}'], timeouts: {{tunnel: 500ms}}",
            origin.url()
        ))
        .start();
    let (mut client, _) = open(&gateway, "/");
    assert_eq!(client.rest(), [0x81, 20, b'h']);
}

#[test]
fn the_origin_hears_that_the_gateway_goes_away() {
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let hears = heard.clone();
    let origin = switching(move |connection| {
        loop {
            let bytes = connection.some();
            if bytes.is_empty() {
                break;
            }
            hears.lock().unwrap().extend(bytes);
        }
    });
    let gateway = Setup::new()
        .service(&format!(
            "name: all, basePath: /, targets: ['{}'], timeouts: {{tunnel: 500ms}}",
            origin.url()
        ))
        .start();
    let (mut client, _) = open(&gateway, "/");
    assert_eq!(client.rest(), GOING_AWAY);
    origin.wait_all_closed();
    let heard = heard.lock().unwrap().clone();
    let [0x88, 0x82, a, b, c, d, high, low] = heard[..] else { panic!("{heard:?}") };
    assert_eq!([high ^ a, low ^ b], [0x03, 0xe9]);
    let _rest_of_the_mask = (c, d);
}

#[test]
fn a_peer_that_takes_nothing_holds_the_other_back() {
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counts = sent.clone();
    let origin = switching(move |connection| {
        while connection.send(vec![7; 64 * 1024]) {
            counts.fetch_add(64 * 1024, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let gateway = Setup::to(&origin).start();
    let (mut client, _) = open(&gateway, "/");
    let so_far = || sent.load(std::sync::atomic::Ordering::Relaxed);
    // Until nothing moves any more.
    let mut before = 1;
    while before != so_far() {
        before = so_far();
        std::thread::sleep(Duration::from_millis(300));
    }
    // The kernel's buffers, and a piece of ours.
    assert!(so_far() < 32 << 20, "{} bytes lie somewhere", so_far());
    // It goes on where it was: nothing is lost.
    assert!(client.take(so_far()).iter().all(|&byte| byte == 7));
    drop(client);
    origin.wait_all_closed();
}

#[test]
fn who_leaves_before_the_origin_has_switched_is_missed() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::scripted(move |connection, _| {
        if connection.request().is_some() {
            connection.some();
            held.open();
        }
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send(handshake("/", ""));
    origin.wait_requests(1);
    drop(client);
    gate.wait();
}
