//! Handshakes, and how connections by TLS end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustls::HandshakeKind;

use super::Scene;
use crate::support::secure::{Issuer, Leaf, Shaker};
use crate::support::{Client, Origin, PATIENCE, Setup, wait_until};

#[test]
fn requests_come_by_tls_and_everybody_is_told_so() {
    let setup = Setup::echo().logging(
        "accessLog: stdout, format: json, accessLogFields: [scheme, protocol, tls_version, \
                  tls_cipher, server_name, path]",
    );
    let scene = Scene::of(setup, "");
    let mut client = scene.shaker.connect(scene.addr(), "localhost");
    for _ in 0..3 {
        let echo = client.get("/a?b").json();
        assert_eq!(echo["url"], "https://localhost/a?b");
        assert_eq!(echo["headers"]["X-Forwarded-Proto"][0], "https");
        assert_eq!(echo["headers"]["X-Forwarded-For"][0], "127.0.0.1");
    }
    scene.gateway.wait_log("\"path\":\"/a\"");
    let log = scene.gateway.log();
    let line = log.lines().find(|line| line.contains("\"path\":\"/a\"")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["scheme"], &line["protocol"]), (&"https".into(), &"HTTP/1.1".into()));
    assert_eq!(line["tls_version"], "TLSv1.3");
    assert_eq!(line["server_name"], "localhost");
    assert!(line["tls_cipher"].as_str().unwrap().starts_with("TLS_"), "{line}");
    assert_eq!(scene.handshakes("full") as u64, 1);
}

#[test]
fn the_key_exchange_is_hybrid_where_the_client_can_do_it() {
    let scene = Scene::new();
    let client = scene.shaker.connect(scene.addr(), "localhost");
    let group = client.session().negotiated_key_exchange_group().unwrap();
    assert_eq!(format!("{:?}", group.name()), "X25519MLKEM768");
}

/// `openssl s_client`, with a request that it sends.
fn openssl(scene: &Scene, arguments: &str) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &scene.addr().to_string(), "-ign_eof"])
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let _refused = child.stdin.take().unwrap().write_all(request);
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn both_versions_are_spoken_and_older_ones_are_not() {
    let scene = Scene::new();
    for (arguments, protocol) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let text = openssl(&scene, arguments);
        assert!(text.contains("HTTP/1.1 200 OK") && text.contains(protocol), "{text}");
        assert!(!text.contains("unexpected eof"), "{text}");
    }
    for arguments in [
        "-tls1_1 -cipher ALL:@SECLEVEL=0",
        "-tls1_2 -cipher AES128-GCM-SHA256",
        "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA",
    ] {
        let text = openssl(&scene, arguments);
        assert!(!text.contains("200 OK"), "{arguments}: {text}");
        if arguments.starts_with("-tls1_1") {
            assert!(text.contains("alert protocol version"), "{text}");
        }
    }
    let newest = Scene::of(Setup::echo(), ", minVersion: '1.3'");
    assert!(openssl(&newest, "-tls1_3").contains("200 OK"));
    let refused = openssl(&newest, "-tls1_2");
    assert!(refused.contains("protocol version") && !refused.contains("200 OK"), "{refused}");
}

#[test]
fn aes_128_is_chosen_but_for_a_client_that_likes_chacha20_best() {
    let scene = Scene::new();
    for (arguments, expected) in [
        ("-tls1_3", "TLS_AES_128_GCM_SHA256"),
        ("-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        (
            "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256",
            "TLS_CHACHA20_POLY1305_SHA256",
        ),
        (
            "-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256",
            "TLS_AES_256_GCM_SHA384",
        ),
        ("-tls1_2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (
            "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
    ] {
        let text = openssl(&scene, arguments);
        assert!(text.contains(&format!("Cipher is {expected}")), "{arguments}: {text}");
    }
}

#[test]
fn who_would_negotiate_again_is_told_no_at_once_and_a_key_update_is_answered() {
    let scene = Scene::of(Setup::echo().server("timeouts: {idle: 120s}"), "");
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &scene.addr().to_string(), "-tls1_2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Nothing else is said on the connection: openssl ends when it is refused.
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"R\n").unwrap();
    let begun = Instant::now();
    let said = child.wait_with_output().unwrap().stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("no renegotiation") && begun.elapsed() < PATIENCE, "{said}");
    drop(input);

    let mut client = scene.shaker.connect(scene.addr(), "localhost");
    assert_eq!(client.get("/").status, 200);
    client.wire.stream.conn.refresh_traffic_keys().unwrap();
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn alpn_is_answered_and_a_protocol_that_nobody_speaks_is_refused() {
    let scene = Scene::new();
    let of = |protocols: &[&str]| {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Shaker::trusting(&scene.issuer, |config| config.alpn_protocols = protocols)
    };
    let client = of(&["x", "http/1.1"]).connect(scene.addr(), "localhost");
    assert_eq!(client.session().alpn_protocol(), Some(&b"http/1.1"[..]));
    let refused = of(&["x"]).try_connect(scene.addr(), "localhost").err().unwrap();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    wait_until("it is counted", || scene.handshakes("refused") as u64 == 1);
}

#[test]
fn http2_is_spoken_where_alpn_chooses_it_and_not_where_it_is_not_offered() {
    let version = |scene: &Scene, argument: &str| {
        let ca = scene.gateway.dir().write("ca.pem", scene.issuer.pem());
        let output = Command::new("curl")
            .args(["-s", argument, "--cacert", ca.to_str().unwrap()])
            .args(["--resolve", &format!("localhost:{}:127.0.0.1", scene.addr().port())])
            .args([
                "-w",
                "\n%{http_version}",
                &format!("https://localhost:{}/", scene.addr().port()),
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let both = Scene::new();
    let answer = version(&both, "--http2");
    assert!(answer.ends_with("\n2") && answer.contains("\"https\""), "{answer}");
    assert!(version(&both, "--http1.1").ends_with("\n1.1"));
    let setup = Setup::echo();
    let issuer = Issuer::new("one");
    let pair = issuer.write(&setup.dir, "a", &Leaf::default());
    let listen = format!(
        "{{address: '127.0.0.1:0', tls: {{certificates: [{pair}]}}, protocols: [http/1.1]}}"
    );
    let gateway = setup.listen(&listen).start();
    let shaker = Shaker::trusting(&issuer, |_| ());
    let old = Scene { issuer, gateway, shaker };
    assert!(version(&old, "--http2").ends_with("\n1.1"));
    // Its preface is not taken either where it was not agreed on.
    for scene in [&both, &old] {
        let mut client = scene.shaker.connect(scene.addr(), "localhost");
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert_eq!(client.response().status, 505);
    }
}

#[test]
fn sessions_go_on_at_every_worker_and_over_reloads() {
    let scene = Scene::of(Setup::echo().workers(2), "");
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let shaker = Shaker::of_versions(&scene.issuer, None, versions, |_| ());
        let mut kinds = Vec::new();
        for number in 0..12 {
            let mut client = shaker.connect(scene.addr(), "localhost");
            assert_eq!(client.get("/").status, 200);
            kinds.push(client.session().handshake_kind().unwrap());
            if number % 4 == 3 {
                scene.gateway.call("POST", "/api/config/reload", "");
            }
        }
        assert!(kinds[1..].iter().all(|kind| *kind == HandshakeKind::Resumed), "{kinds:?}");
    }
    assert_eq!(scene.handshakes("resumed") as u64, 22);
    // By id, where the client takes no tickets.
    let dir = crate::support::TempDir::new();
    let file = dir.path().join("session");
    let keep = format!("-tls1_2 -no_ticket -sess_out {}", file.display());
    assert!(openssl(&scene, &keep).contains("New, TLSv1.2"));
    for _ in 0..6 {
        let text = openssl(&scene, &format!("-tls1_2 -no_ticket -sess_in {}", file.display()));
        assert!(text.contains("Reused, TLSv1.2"), "{text}");
    }
}

#[test]
fn http_in_the_clear_is_told_what_is_spoken() {
    let scene = Scene::new();
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut client = Client::connect(scene.addr());
        client.send(request);
        let answer = client.response();
        assert_eq!((answer.status, answer.closes()), (400, true));
        assert!(answer.reason().contains("https"), "{}", answer.reason());
    }
    assert_eq!(scene.handshakes("plain_http") as u64, 2);
}

#[test]
fn what_is_no_handshake_is_refused_and_nobody_else_is_hurt() {
    let scene = Scene::new();
    let mut other = scene.shaker.connect(scene.addr(), "localhost");
    let long = [&[0x16, 3, 1, 0xff, 0xff][..], &[1; 70_000]].concat();
    let split = [0x16, 3, 1, 0, 1, 1].repeat(400);
    for bytes in [
        &b"\x00\x01\x02\x03"[..],
        b"\x80\x2e\x01\x03\x01",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x00",
        b"\x17\x03\x03\x00\x01\x00",
        &long,
        &split,
        &[0xff; 20_000],
    ] {
        let mut client = TcpStream::connect(scene.addr()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let _refused = client.write_all(bytes);
        let _ended = client.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _reset_or_not = client.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 0x15, "{bytes:?}: {answer:?}");
        assert_eq!(other.get("/").status, 200);
    }
}

/// The hello of a client, as one record.
fn hello(scene: &Scene) -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut session = rustls::ClientConnection::new(scene.shaker.0.clone(), name).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello
}

/// The first record that comes for these bytes: its type, and what it begins with.
fn first_record(scene: &Scene, bytes: &[u8]) -> Vec<u8> {
    let mut client = TcpStream::connect(scene.addr()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(bytes).unwrap();
    let mut record = [0; 7];
    client.read_exact(&mut record).unwrap();
    [&record[..1], &record[5..]].concat()
}

#[test]
fn a_hello_may_come_in_records_of_any_size() {
    let scene = Scene::new();
    let hello = hello(&scene);
    for size in [1, 2, 5, 6, 43, 200] {
        let records: Vec<u8> = hello[5..]
            .chunks(size)
            .flat_map(|piece| [&[22, 3, 1, 0, piece.len() as u8], piece].concat())
            .collect();
        // The server's hello.
        assert_eq!(first_record(&scene, &records), [22, 2, 0], "records of {size}");
    }
}

#[test]
fn a_hello_that_cannot_be_answered_is_told_why_by_an_alert() {
    let scene = Scene::new();
    let hello = hello(&scene);
    // The length of the message, in three bytes.
    let too_long = [&hello[..6], &[0xff], &hello[7..]].concat();
    assert_eq!(first_record(&scene, &too_long), [21, 2, 50], "decode_error");
    // One of TLS 1.2, by a client that has fallen back to it.
    let suites = [0xc0, 0x2b, 0x56, 0];
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 4], &suites, &[1, 0, 0, 0]].concat();
    let message = [&[1, 0, 0, body.len() as u8], &body[..]].concat();
    let fallen_back = [&[22, 3, 1, 0, message.len() as u8], &message[..]].concat();
    assert_eq!(first_record(&scene, &fallen_back), [21, 2, 86], "inappropriate_fallback");
    wait_until("both are counted", || scene.handshakes("refused") as u64 == 2);
}

#[test]
fn a_client_of_tls_is_told_at_once_where_http_in_the_clear_is_spoken() {
    let scene = Scene::new();
    let gateway = Setup::echo().server("timeouts: {head: 60s}").start();
    let mut client = Client::connect(gateway.addr);
    client.send(hello(&scene));
    let answer = client.response();
    assert_eq!((answer.status, answer.closes()), (400, true));
    assert!(answer.reason().contains("TLS is not spoken here"), "{}", answer.reason());
    client.assert_closed();
}

#[test]
fn a_handshake_that_does_not_end_is_ended() {
    let scene = Scene::of(Setup::echo().server("timeouts: {tlsHandshake: 400ms}"), "");
    let start = Instant::now();
    let mut silent = TcpStream::connect(scene.addr()).unwrap();
    let mut half = TcpStream::connect(scene.addr()).unwrap();
    half.write_all(&[0x16, 3, 1, 1, 0, 1, 0]).unwrap();
    let mut slow = TcpStream::connect(scene.addr()).unwrap();
    slow.write_all(&[0x16]).unwrap();
    for stream in [&mut silent, &mut half, &mut slow] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ended = stream.read_to_end(&mut Vec::new());
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(scene.handshakes("timeout") as u64, 3);
    drop(TcpStream::connect(scene.addr()).unwrap());
    wait_until("it is counted", || scene.handshakes("gone") as u64 == 1);
}

#[test]
fn the_end_is_said_and_a_response_that_broke_off_does_not_say_it() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            if request.target == "/cut" {
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
                return;
            }
            connection.answer("whole");
        }
    });
    let scene = Scene::of(Setup::to(&origin), "");
    let mut client = scene.shaker.connect(scene.addr(), "localhost");
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let (bytes, is_said) = client.rest();
    assert!(bytes.ends_with(b"whole") && is_said, "{}", String::from_utf8_lossy(&bytes));
    let mut client = scene.shaker.connect(scene.addr(), "localhost");
    client.send("GET /cut HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (bytes, is_said) = client.rest();
    assert!(bytes.ends_with(b"12345") && !is_said, "{}", String::from_utf8_lossy(&bytes));
}

#[test]
fn bodies_go_both_ways_whole() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let body = request.body.clone();
            connection.answer(&String::from_utf8_lossy(&body));
        }
    });
    let scene = Scene::of(Setup::to(&origin), "");
    let mut client = scene.shaker.connect(scene.addr(), "localhost");
    for size in [0, 1, 16_383, 16_384, 16_385, 100_000, 3_000_000] {
        let body = "x".repeat(size);
        let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n");
        client.send([head.as_bytes(), body.as_bytes()].concat());
        let answer = client.response();
        assert!(answer.body == body.as_bytes(), "{size}: {} came back", answer.body.len());
    }
}

#[test]
fn who_is_connected_keeps_its_latency_while_many_shake_hands() {
    let scene = Scene::new();
    let mut client = scene.shaker.connect(scene.addr(), "localhost");
    let median = |client: &mut crate::support::secure::Secure| {
        let mut times: Vec<_> = (0..200)
            .map(|_| {
                let begun = Instant::now();
                assert_eq!(client.get("/").status, 200);
                begun.elapsed()
            })
            .collect();
        times.sort();
        times[times.len() / 2]
    };
    let calm = median(&mut client);
    let addr = scene.addr();
    let issuer = &scene.issuer;
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let stormy = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let none = |config: &mut rustls::ClientConfig| {
                    config.resumption = rustls::client::Resumption::disabled();
                };
                let shaker = Shaker::trusting(issuer, none);
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    let _busy_or_not = shaker.try_connect(addr, "localhost");
                }
            });
        }
        std::thread::sleep(Duration::from_millis(200));
        let stormy = median(&mut client);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        stormy
    });
    // The clients of the storm share this machine's cores: the bound is a coarse one.
    let most = (calm * 20).max(Duration::from_millis(100));
    assert!(stormy < most, "calm {calm:?}, stormy {stormy:?}");
    assert!(scene.handshakes("full") > 20.0);
}

#[test]
fn a_storm_of_half_handshakes_leaves_no_memory_behind() {
    let scene = Scene::of(Setup::echo().server("timeouts: {tlsHandshake: 300ms}"), "");
    let storm = || {
        let sockets: Vec<_> = (0..200)
            .map(|_| {
                let mut socket = TcpStream::connect(scene.addr()).unwrap();
                socket.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]).unwrap();
                socket
            })
            .collect();
        std::thread::sleep(Duration::from_millis(600));
        drop(sockets);
    };
    storm();
    let before = scene.gateway.rss_kib();
    (0..5).for_each(|_| storm());
    let after = scene.gateway.rss_kib();
    assert!(after < before + 8 * 1024, "{before} KiB before, {after} after");
    assert_eq!(scene.gateway.metric("odin_connections_open{worker=\"0\"}") as u64, 0);
}

#[test]
fn the_issuer_of_another_gateway_is_not_trusted() {
    let scene = Scene::new();
    let other = Shaker::trusting(&Issuer::new("other"), |_| ());
    let error = other.try_connect(scene.addr(), "localhost").err().unwrap();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let _leaf = Leaf::default();
}
