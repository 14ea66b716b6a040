//! Which certificate a client gets, which ones are refused, and what clients prove by theirs.

use std::process::Command;

use super::Scene;
use crate::support::gateway::BINARY;
use crate::support::secure::{Issuer, Leaf, Shaker, der, replace};
use crate::support::wasm::showing_input;
use crate::support::{Setup, TempDir, wait_until};

#[test]
fn the_host_that_is_asked_for_chooses_the_certificate() {
    let setup = Setup::echo();
    let issuer = Issuer::new("names");
    let leaf = |hosts| Leaf { hosts, ..Leaf::default() };
    let pairs = [
        issuer.write(&setup.dir, "default", &leaf(&["default.test", "localhost"])),
        issuer.write(&setup.dir, "exact", &leaf(&["a.star.test"])),
        issuer.write(&setup.dir, "wild", &leaf(&["*.star.test"])),
    ];
    let dir = setup.dir.path().to_owned();
    let listen =
        format!("{{address: '127.0.0.1:0', tls: {{certificates: [{}]}}}}", pairs.join(", "));
    let gateway = setup.listen(&listen).start();
    for (host, name) in [
        ("default.test", "default"),
        ("a.star.test", "exact"),
        ("A.Star.test", "exact"),
        ("b.star.test", "wild"),
        ("a.b.star.test", "default"),
        ("star.test", "default"),
        ("unknown.test", "default"),
        ("127.0.0.1", "default"),
    ] {
        let got = certificate_for(&issuer, gateway.addr, host);
        assert!(got == der(&dir.join(format!("{name}.pem"))), "{host}: not {name}");
    }
}

/// What a client gets that looks at no name.
fn certificate_for(_: &Issuer, addr: std::net::SocketAddr, host: &str) -> Vec<u8> {
    let name = match host.parse::<std::net::IpAddr>() {
        Ok(_) => vec!["-noservername".to_owned()],
        Err(_) => vec!["-servername".to_owned(), host.to_owned()],
    };
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &addr.to_string(), "-showcerts"])
        .args(name)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(&output.stdout).unwrap().to_vec()
}

#[test]
fn of_two_kinds_of_keys_for_one_host_a_client_gets_one_that_it_can_verify() {
    let setup = Setup::echo();
    let issuer = Issuer::new("kinds");
    let rsa = Leaf { algorithm: &rcgen::PKCS_RSA_SHA256, ..Leaf::default() };
    let pairs =
        [issuer.write(&setup.dir, "ec", &Leaf::default()), issuer.write(&setup.dir, "rsa", &rsa)];
    let listen =
        format!("{{address: '127.0.0.1:0', tls: {{certificates: [{}]}}}}", pairs.join(", "));
    let gateway = setup.listen(&listen).start();
    for (arguments, kind) in [
        ("-servername localhost", "ECDSA"),
        ("-servername localhost -sigalgs RSA-PSS+SHA256", "RSA-PSS"),
        ("-noservername -sigalgs RSA-PSS+SHA256", "RSA-PSS"),
        ("-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", "RSA"),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA"),
    ] {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &gateway.addr.to_string()])
            .args(arguments.split_whitespace())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.starts_with("Peer signature type"));
        assert!(line.is_some_and(|line| line.contains(kind)), "{arguments}: {text}");
    }
}

/// What the gateway says when it does not start.
fn refusal(listen: &str) -> String {
    let dir = TempDir::new();
    let config = dir.write(
        "odin.yaml",
        format!("server: {{listen: {listen}}}\nadmin: {{listen: off}}\nservices: []\n"),
    );
    let output = Command::new(BINARY).arg("--config").arg(config).output().unwrap();
    assert!(!output.status.success(), "it has started with {listen}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_does_not_fit_keeps_the_gateway_from_starting_and_says_what_mends_it() {
    let dir = TempDir::new();
    let issuer = Issuer::new("refused");
    issuer.write(&dir, "a", &Leaf::default());
    issuer.write(&dir, "b", &Leaf::default());
    let at = |name: &str| dir.path().join(name).display().to_string();
    let openssl = |arguments: &str| {
        let made = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    openssl("pkey -in a.key -aes128 -passout pass:x -out locked.key");
    openssl("pkey -in a.key -outform der -out der.key");
    openssl("x509 -in a.pem -outform der -out der.pem");
    openssl("req -new -key a.key -subj /CN=localhost -out old.csr");
    openssl("x509 -req -in old.csr -signkey a.key -out old.pem");
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    dir.write("turned.pem", issuer.pem() + &read("a.pem"));
    dir.write("empty.pem", "");
    dir.write("broken.pem", "-----BEGIN CERTIFICATE-----\nMII*\n-----END CERTIFICATE-----\n");
    dir.write("odd.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (cert, key, ocsp, words) in [
        ("a.pem", "b.key", "", "[0].key: ", &["does not belong to the certificate", "CN=leaf"][..]),
        ("a.pem", "locked.key", "", "[0].key: ", &["is encrypted", "openssl pkey -in"]),
        ("a.pem", "a.pem", "", "[0].key: ", &["wrong way round"]),
        ("a.key", "a.key", "", "[0].cert: ", &["wrong way round"]),
        ("a.pem", "der.key", "", "[0].key: ", &["is DER", "openssl pkey"]),
        ("der.pem", "a.key", "", "[0].cert: ", &["is DER", "openssl x509"]),
        ("turned.pem", "a.key", "", "[0].cert: ", &["wrong order", "number 2"]),
        ("empty.pem", "a.key", "", "[0].cert: ", &["holds no certificate"]),
        ("broken.pem", "a.key", "", "[0].cert: ", &["broken PEM"]),
        ("odd.pem", "a.key", "", "[0].cert: ", &["no X.509 certificate"]),
        ("old.pem", "a.key", "", "[0].cert: ", &["version 1", "subjectAltName"]),
        ("none.pem", "a.key", "", "[0].cert: ", &["none.pem"]),
        ("a.pem", "none.key", "", "[0].key: ", &["none.key"]),
        ("a.pem", "a.key", "a.pem", "[0].ocsp: ", &["no OCSP response"]),
    ]
    .map(|(cert, key, ocsp, at, words)| (cert, key, ocsp, (at, words)))
    {
        let ocsp = if ocsp.is_empty() { String::new() } else { format!(", ocsp: {}", at(ocsp)) };
        let listen = format!(
            "[{{address: '127.0.0.1:0', tls: {{certificates: [{{cert: {}, key: {}{ocsp}}}]}}}}]",
            at(cert),
            at(key),
        );
        let said = refusal(&listen);
        let place = format!("server.listen[0].tls.certificates{}", words.0);
        assert!(said.contains(&place), "{cert} {key}: {said}");
        words.1.iter().for_each(|words| assert!(said.contains(words), "{cert} {key}: {said}"));
        let secret = read("a.key");
        let secret = secret.lines().nth(1).unwrap();
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn a_certificate_at_its_end_is_told_of_and_metrics_say_when() {
    let setup = Setup::echo();
    let issuer = Issuer::new("ends");
    let pair = issuer.write(&setup.dir, "old", &Leaf { days: -1, ..Leaf::default() });
    let listen = format!("{{address: '127.0.0.1:0', tls: {{certificates: [{pair}]}}}}");
    let file = setup.dir.path().join("old.pem").display().to_string();
    let gateway = setup.listen(&listen).start();
    gateway.wait_log("has expired");
    let series = format!(
        "odin_certificate_expiry_timestamp_seconds\
         {{listener=\"127.0.0.1:0\",certificate=\"{file}\"}}"
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let since = now.as_secs_f64() - gateway.metric(&series);
    assert!((80_000.0..100_000.0).contains(&since), "{since}");
}

#[test]
fn clients_prove_who_they_are() {
    let clients = Issuer::new("clients");
    let dir = TempDir::new();
    let ca = replace(&dir, "ca.pem", &clients.pem());
    let alice =
        || clients.issue(&Leaf { subject: "alice", hosts: &["alice.test"], ..Leaf::default() });
    let stranger = || Issuer::new("strangers").issue(&Leaf::default());
    for (mode, without) in [("require", false), ("optional", true)] {
        let setup = Setup::echo().logging(
            "accessLog: stdout, format: text, accessLogFields: [client_certificate, path]",
        );
        let more = format!(", clientAuth: {{ca: {}, mode: {mode}}}", ca.display());
        let scene = Scene::of(setup, &more);
        let with = |own| Shaker::with(&scene.issuer, own, |_| ());
        let answered = |own| {
            let client = with(own).try_connect(scene.addr(), "localhost").ok();
            client.and_then(|mut client| client.try_get("/who")).is_some()
        };
        assert!(answered(Some(alice())), "{mode}");
        scene.gateway.wait_log("client_certificate=");
        let log = scene.gateway.log();
        assert!(log.contains("CN=alice"), "{log}");
        assert_eq!(answered(None), without, "{mode}");
        assert!(!answered(Some(stranger())), "{mode}");
        wait_until("it is counted", || scene.handshakes("refused") > 0.0);
    }
}

#[test]
fn a_session_of_one_listener_proves_nothing_at_another() {
    let setup = Setup::echo();
    let issuer = Issuer::new("both");
    let pair = issuer.write(&setup.dir, "a", &Leaf::default());
    let ca = replace(&setup.dir, "ca.pem", &issuer.pem());
    let listen = format!(
        "[{{address: '127.0.0.1:0', tls: {{certificates: [{pair}]}}}}, \
         {{address: '127.0.0.1:0', tls: {{certificates: [{pair}], clientAuth: {{ca: {}}}}}}}]",
        ca.display()
    );
    let gateway = setup.listen(&listen).start();
    wait_until("both listen", || gateway.addresses().len() == 2);
    let [open, closed] = gateway.addresses()[..] else { panic!("{:?}", gateway.addresses()) };
    let shaker = Shaker::trusting(&issuer, |_| ());
    assert_eq!(shaker.connect(open, "localhost").get("/").status, 200);
    let client = shaker.try_connect(closed, "localhost").ok();
    assert!(client.and_then(|mut client| client.try_get("/")).is_none());
}

#[test]
fn the_admin_api_speaks_tls_and_nothing_else_then() {
    let setup = Setup::echo();
    let issuer = Issuer::new("admin");
    let pair = issuer.write(&setup.dir, "a", &Leaf::default());
    let config = setup.config().replace(
        "admin: {listen: '127.0.0.1:0'",
        &format!("admin: {{listen: {{address: '127.0.0.1:0', tls: {{certificates: [{pair}]}}}}"),
    );
    let gateway = crate::support::Gateway::start(setup.dir, &config, &[]);
    let shaker = Shaker::trusting(&issuer, |_| ());
    assert_eq!(shaker.connect(gateway.admin, "localhost").get("/healthz").status, 200);
    let asked = std::process::Command::new(env!("CARGO_BIN_EXE_odin"))
        .args(["healthcheck", "--config"])
        .arg(gateway.dir().write(
            "asked.yaml",
            config.replace(
                "address: '127.0.0.1:0', tls: {certificates",
                &format!("address: '{}', tls: {{certificates", gateway.admin),
            ),
        ))
        .output()
        .unwrap();
    assert!(asked.status.success(), "{asked:?}");
    let mut plain = crate::support::Client::connect(gateway.admin);
    plain.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(plain.try_response().is_err(), "it answers in the clear");
}

#[test]
fn plugins_know_whom_a_certificate_names() {
    let clients = Issuer::new("clients");
    let dir = TempDir::new();
    let ca = replace(&dir, "ca.pem", &clients.pem());
    let setup = Setup::echo().plugin("shows", showing_input(), "type: request");
    let scene = Scene::of(setup, &format!(", clientAuth: {{ca: {}}}", ca.display()));
    let own = clients.issue(&Leaf { subject: "alice", hosts: &["alice.test"], ..Leaf::default() });
    let shaker = Shaker::with(&scene.issuer, Some(own), |_| ());
    let context = &shaker.connect(scene.addr(), "localhost").get("/").json()["context"];
    assert_eq!((&context["scheme"], &context["protocol"]), (&"https".into(), &"HTTP/1.1".into()));
    let tls = &context["tls"];
    assert_eq!((&tls["version"], &tls["serverName"]), (&"TLSv1.3".into(), &"localhost".into()));
    assert_eq!(tls["clientCertificate"]["names"][0], "DNS:alice.test");
    assert!(tls["clientCertificate"]["subject"].as_str().unwrap().contains("CN=alice"), "{tls}");
    assert_eq!(tls["clientCertificate"]["fingerprint"].as_str().unwrap().len(), 64);
}

#[test]
fn what_the_issuer_says_of_a_certificate_is_sent_along() {
    let setup = Setup::echo();
    let dir = setup.dir.path().to_owned();
    let openssl = |arguments: &str| {
        let made = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {new} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"));
    openssl(&format!("req {new} -keyout a.key -out a.csr -subj /CN=localhost"));
    std::fs::write(dir.join("a.ext"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        "x509 -req -in a.csr -CA ca.pem -CAkey ca.key -set_serial 7 -out a.pem -days 2 \
         -extfile a.ext",
    );
    std::fs::write(dir.join("index.txt"), "V\t400101000000Z\t\t07\tunknown\t/CN=localhost\n")
        .unwrap();
    openssl(
        "ocsp -index index.txt -rsigner ca.pem -rkey ca.key -CA ca.pem -issuer ca.pem -cert a.pem \
         -ndays 2 -respout a.ocsp",
    );
    let at = |name: &str| dir.join(name).display().to_string();
    let listen = format!(
        "{{address: '127.0.0.1:0', tls: {{certificates: [{{cert: {}, key: {}, ocsp: {}}}]}}}}",
        at("a.pem"),
        at("a.key"),
        at("a.ocsp"),
    );
    let gateway = setup.listen(&listen).start();
    for version in ["-tls1_2", "-tls1_3"] {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &gateway.addr.to_string(), "-status", version])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("OCSP Response Status: successful"), "{version}: {text}");
        assert!(text.contains("Cert Status: good"), "{version}: {text}");
    }
}
