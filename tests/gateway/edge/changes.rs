//! What changes while connections are open: certificates, listeners, the binary.

use std::net::TcpStream;

use super::Scene;
use crate::support::secure::{Leaf, Shaker, der, replace};
use crate::support::{Client, Setup, TempDir, get, wait_until};

fn reload(scene: &Scene) -> (u16, String) {
    let answer = scene.gateway.call("POST", "/api/config/reload", "");
    (answer.status, answer.text())
}

#[test]
fn a_new_certificate_is_shown_to_new_clients_and_open_connections_stay() {
    let scene = Scene::of(Setup::echo().workers(2), "");
    let file = scene.gateway.dir().path().join("a.pem");
    let fresh = || Shaker::trusting(&scene.issuer, |_| ()).connect(scene.addr(), "localhost");
    let mut open = fresh();
    let first = open.certificate();
    assert_eq!(open.get("/").status, 200);
    scene.issuer.write(scene.gateway.dir(), "a", &Leaf::default());
    assert_eq!(fresh().certificate(), first, "nobody has asked for it");
    assert_eq!(reload(&scene).0, 200);
    let second = der(&file);
    assert_ne!(second, first);
    for _ in 0..4 {
        assert_eq!(fresh().certificate(), second);
    }
    assert_eq!(open.get("/").status, 200);
    // One that does not fit changes nothing.
    let (_, key) = scene.issuer.issue(&Leaf::default());
    replace(scene.gateway.dir(), "a.key", &key);
    let (status, text) = reload(&scene);
    assert!(status >= 400 && text.contains("does not belong to the certificate"), "{text}");
    assert!(!text.contains("PRIVATE"), "{text}");
    assert_eq!(fresh().certificate(), second);
    assert_eq!(open.get("/").status, 200);
}

#[test]
fn a_certificate_that_changes_on_disk_is_taken_by_who_watches() {
    let scene = Scene::of(Setup::echo().argument("--watch"), "");
    let fresh = || Shaker::trusting(&scene.issuer, |_| ()).connect(scene.addr(), "localhost");
    let first = fresh().certificate();
    scene.issuer.write(scene.gateway.dir(), "a", &Leaf::default());
    wait_until("the new one is shown", || fresh().certificate() != first);
}

#[test]
fn who_issues_clients_certificates_changes_and_old_sessions_prove_nothing() {
    let dir = TempDir::new();
    let (one, other) =
        (crate::support::secure::Issuer::new("one"), crate::support::secure::Issuer::new("other"));
    let ca = replace(&dir, "ca.pem", &one.pem());
    let scene = Scene::of(Setup::echo(), &format!(", clientAuth: {{ca: {}}}", ca.display()));
    let of = |issuer: &crate::support::secure::Issuer| {
        Shaker::with(&scene.issuer, Some(issuer.issue(&Leaf::default())), |_| ())
    };
    let answered = |shaker: &Shaker| {
        let client = shaker.try_connect(scene.addr(), "localhost").ok();
        client.and_then(|mut client| client.try_get("/")).is_some()
    };
    let (old, new) = (of(&one), of(&other));
    assert!(answered(&old) && answered(&old) && !answered(&new));
    replace(&dir, "ca.pem", &other.pem());
    assert_eq!(reload(&scene).0, 200);
    assert!(!answered(&old), "a session of before the change went on");
    assert!(answered(&new));
}

/// A free port, which somebody else may take: nobody does.
fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn listeners_come_and_go_and_what_is_open_stays() {
    let (one, two) = (port(), port());
    let setup = Setup::echo().workers(2).listen(&format!("['127.0.0.1:{one}']"));
    let config = setup.config();
    let gateway = setup.start();
    let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let change = |listen: &str| {
        gateway.rewrite(&config.replace(&format!("['127.0.0.1:{one}']"), listen));
        gateway.call("POST", "/api/config/reload", "")
    };
    let mut first = Client::connect(at(one));
    assert_eq!(first.get("/").status, 200);
    assert!(TcpStream::connect(at(two)).is_err());
    // Another beside it.
    assert_eq!(change(&format!("['127.0.0.1:{one}', '127.0.0.1:{two}']")).status, 200);
    for port in [one, two, one, two] {
        assert_eq!(get(at(port), "/").status, 200);
    }
    // The first goes: its open connection does not.
    assert_eq!(change(&format!("'127.0.0.1:{two}'")).status, 200);
    wait_until("nobody listens", || TcpStream::connect(at(one)).is_err());
    assert_eq!(first.get("/").status, 200);
    assert_eq!(get(at(two), "/").status, 200);
    // And comes back.
    assert_eq!(change(&format!("['127.0.0.1:{one}']")).status, 200);
    assert_eq!(get(at(one), "/").status, 200);
    assert_eq!(first.get("/").status, 200);
    // An address that cannot be had changes nothing.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let refused = change(&format!("['127.0.0.1:{two}', '{address}']"));
    assert!(
        refused.status >= 400 && refused.text().contains("cannot listen on"),
        "{}",
        refused.text()
    );
    assert_eq!(get(at(one), "/").status, 200);
    assert!(TcpStream::connect(at(two)).is_err());
}

#[test]
fn a_listener_turns_to_tls_and_back_and_what_is_open_goes_on_as_it_was() {
    let scene = Scene::new();
    let config = scene.gateway.config();
    let line = config.lines().find(|line| line.contains("listen: [")).unwrap();
    let mut secure = scene.shaker.connect(scene.addr(), "localhost");
    assert_eq!(secure.get("/").status, 200);
    scene.gateway.rewrite(&config.replace(line, "  listen: '127.0.0.1:0'"));
    assert_eq!(reload(&scene).0, 200);
    let mut plain = Client::connect(scene.addr());
    assert_eq!(plain.get("/").json()["headers"]["X-Forwarded-Proto"][0], "http");
    assert_eq!(secure.get("/").json()["headers"]["X-Forwarded-Proto"][0], "https");
    scene.gateway.rewrite(&config);
    assert_eq!(reload(&scene).0, 200);
    assert_eq!(scene.shaker.connect(scene.addr(), "localhost").get("/").status, 200);
    assert_eq!(plain.get("/").status, 200);
    assert_eq!(secure.get("/").status, 200);
}

#[test]
fn the_next_binary_shakes_hands_and_this_one_ends_its_connections_politely() {
    let mut scene = Scene::of(Setup::echo().drain_timeout("20s").linked(), "");
    let (first, addr) = (scene.gateway.pid(), scene.addr());
    let mut busy = scene.shaker.connect(addr, "localhost");
    let mut idle = scene.shaker.connect(addr, "localhost");
    assert_eq!(busy.get("/").status, 200);
    assert_eq!(idle.get("/").status, 200);
    let begun = std::time::Instant::now();
    scene.gateway.upgrade();
    // Its workers hear of it one after the other.
    wait_until("a response says that it is the last", || {
        let answer = busy.get("/");
        assert_eq!(answer.status, 200, "{}", answer.head);
        answer.closes()
    });
    assert!(busy.rest().1, "its end was not said");
    assert_eq!(scene.shaker.connect(addr, "localhost").get("/").status, 200);
    let (rest, is_said) = idle.rest();
    assert!(rest.is_empty() && is_said);
    scene.gateway.wait_ended(first);
    assert!(begun.elapsed() < std::time::Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_session_goes_on_in_the_next_binary() {
    let mut scene = Scene::of(Setup::echo().drain_timeout("20s").linked(), "");
    let versions = [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]];
    let shakers =
        versions.map(|versions| super::Shaker::of_versions(&scene.issuer, None, versions, |_| ()));
    for shaker in &shakers {
        assert_eq!(shaker.connect(scene.addr(), "localhost").get("/").status, 200);
    }
    for _ in 0..2 {
        scene.gateway.upgrade();
        for shaker in &shakers {
            let mut client = shaker.connect(scene.addr(), "localhost");
            assert_eq!(client.get("/").status, 200);
            let kind = client.session().handshake_kind();
            assert_eq!(kind, Some(rustls::HandshakeKind::Resumed));
        }
    }
    assert!(!scene.gateway.log().contains("secret"));
}

#[test]
fn a_drain_serves_and_ends_what_is_open_by_tls() {
    let mut scene = Scene::of(Setup::echo().drain_timeout("20s"), "");
    let mut busy = scene.shaker.connect(scene.addr(), "localhost");
    let mut idle = scene.shaker.connect(scene.addr(), "localhost");
    assert_eq!(idle.get("/").status, 200);
    assert_eq!(busy.get("/").status, 200);
    scene.gateway.terminate();
    scene.gateway.wait_log("draining");
    // The workers hear of it a moment later.
    let mut answer = busy.get("/");
    while !answer.closes() {
        assert_eq!(answer.status, 200);
        answer = busy.get("/");
    }
    assert!(busy.rest().1 && idle.rest().1, "an end was not said");
    assert!(scene.gateway.wait_exit().success());
}
