//! TLS to origins: a real nginx with certificates that openssl makes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::hostcalls::{ANSWERED_200, NOT_ANSWERED, calling};
use crate::support::{Client, Nginx, Origin, PATIENCE, Setup, TempDir, get};

/// A certificate authority in a folder of its own.
pub struct Authority {
    dir: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let dir = TempDir::new();
        let authority = Self { dir };
        // A name of its own: two of one name are told apart by their keys alone.
        let name = authority.dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        authority.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key \
             -out ca.pem -days 2 -subj /CN={name}"
        ));
        authority
    }

    /// Its certificate.
    pub fn ca(&self) -> std::path::PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Writes `server.pem` and `server.key` for a name such as `IP:127.0.0.1` into `to`; valid from
    /// now until so many days later.
    pub fn issue(&self, to: &TempDir, name: &str, days: i32) {
        self.dir.write("names.ext", format!("subjectAltName={name}\n"));
        self.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key \
             -out server.csr -subj /CN=origin",
        );
        self.openssl(&format!(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem \
             -days {days} -extfile names.ext"
        ));
        for file in ["server.pem", "server.key"] {
            std::fs::copy(self.dir.path().join(file), to.path().join(file)).unwrap();
        }
    }

    /// As [`Self::issue`], with these lines as extensions, by this command (`-CA ca.pem …`,
    /// `-signkey server.key`). Nothing is said of extensions if there are none.
    fn issue_by(&self, to: &TempDir, by: &str, extensions: &str) {
        self.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key \
             -out server.csr -subj /CN=127.0.0.1",
        );
        self.dir.write("names.ext", extensions);
        let extensions = if extensions.is_empty() { "" } else { "-extfile names.ext" };
        self.openssl(&format!(
            "x509 -req -in server.csr {by} -out server.pem -days 2 {extensions}"
        ));
        for file in ["server.pem", "server.key"] {
            std::fs::copy(self.dir.path().join(file), to.path().join(file)).unwrap();
        }
    }

    /// A gateway in the making that trusts this authority.
    pub fn trusted(&self, setup: Setup) -> Setup {
        setup.env("SSL_CERT_FILE", self.dir.path().join("ca.pem").to_str().unwrap())
    }
}

pub const LOOPBACK: &str = "IP:127.0.0.1";

fn to(nginx: &Nginx) -> Setup {
    Setup::new().service(&format!("name: all, basePath: /, targets: ['https://{}']", nginx.addr))
}

#[test]
fn a_target_by_tls_is_served_over_kept_connections() {
    let authority = Authority::new();
    let files: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
    let nginx = Nginx::with_tls("root html; add_header X-Connection $connection;", |dir| {
        authority.issue(dir, LOOPBACK, 2);
        dir.write("html/large", &files);
        dir.write("html/small", "small");
    });
    let gateway = authority.trusted(to(&nginx)).start();
    let mut client = Client::connect(gateway.addr);
    let first = client.get("/small");
    for _ in 0..100 {
        let next = client.get("/small");
        assert_eq!(next.text(), "small");
        assert_eq!(next.head.get("x-connection"), first.head.get("x-connection"));
    }
    let large = client.get("/large");
    assert_eq!(large.status, 200);
    assert!(large.body == files, "{} bytes came", large.body.len());
}

#[test]
fn bodies_go_out_by_tls_while_others_come_in() {
    let authority = Authority::new();
    let echo = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            connection.answer(&request.body.len().to_string());
        }
    });
    let server = format!("location / {{ proxy_http_version 1.1; proxy_pass {}; }}", echo.url());
    let nginx = Nginx::with_tls(&server, |dir| authority.issue(dir, LOOPBACK, 2));
    let gateway = authority.trusted(to(&nginx)).start();
    let body = vec![b'x'; 5_000_000];
    let mut client = Client::connect(gateway.addr);
    for _ in 0..3 {
        client
            .send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
        client.send(&body);
        assert_eq!(client.response().text(), body.len().to_string());
    }
}

#[test]
fn a_certificate_that_proves_nothing_is_refused_and_the_reason_told() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (issuer, name, days, reason) in [
        (&other, LOOPBACK, 2, "signed by nobody whom this machine trusts"),
        (&authority, "DNS:else.where", 2, "is for another name"),
        (&authority, LOOPBACK, -1, "has expired"),
    ] {
        let nginx = Nginx::with_tls("root html;", |dir| issuer.issue(dir, name, days));
        let gateway = authority.trusted(to(&nginx)).start();
        let answer = get(gateway.addr, "/");
        assert_eq!(answer.status, 502, "{reason}");
        assert!(answer.text().contains(reason), "{reason}: {}", answer.text());
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_with_its_cure() {
    let authority = Authority::new();
    let issued = "-CA ca.pem -CAkey ca.key -CAcreateserial";
    let name = "subjectAltName=IP:127.0.0.1\n";
    for (by, extensions, reason) in [
        ("-signkey server.key", "basicConstraints=CA:TRUE\n", "make it with basicConstraints"),
        (issued, "basicConstraints=CA:TRUE\n", "(CA:TRUE), which no server may show"),
        (issued, "basicConstraints=CA:FALSE\n", ""),
        (issued, "extendedKeyUsage=clientAuth\n", "extendedKeyUsage lacks serverAuth"),
        (issued, "1.2.3.4=critical,ASN1:NULL\n", "a critical extension"),
        // No extensions at all: a certificate of version 1.
        (issued, "", "version 1 or 2"),
    ] {
        let extensions = if extensions.is_empty() { "" } else { &format!("{name}{extensions}") };
        let nginx = Nginx::with_tls("location / { return 200 'served'; }", |dir| {
            authority.issue_by(dir, by, extensions);
        });
        let setup = match by {
            "-signkey server.key" => {
                let pem = authority.dir.path().join("server.pem");
                to(&nginx).env("SSL_CERT_FILE", pem.to_str().unwrap())
            }
            _ => authority.trusted(to(&nginx)),
        };
        let answer = get(setup.start().addr, "/");
        let expected = if reason.is_empty() { 200 } else { 502 };
        assert_eq!(answer.status, expected, "{extensions}: {}", answer.text());
        assert!(answer.text().contains(reason), "{reason}: {}", answer.text());
    }
}

#[test]
fn a_self_signed_certificate_is_trusted_once_it_is_made_as_its_refusal_says() {
    let authority = Authority::new();
    let extensions = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
    let nginx = Nginx::with_tls("location / { return 200 'served'; }", |dir| {
        authority.issue_by(dir, "-signkey server.key", extensions);
    });
    let pem = authority.dir.path().join("server.pem");
    let gateway = to(&nginx).env("SSL_CERT_FILE", pem.to_str().unwrap()).start();
    assert_eq!(get(gateway.addr, "/").text(), "served");
}

#[test]
fn a_certificate_without_a_name_is_told_from_one_for_another() {
    let authority = Authority::new();
    let by = "-CA ca.pem -CAkey ca.key -CAcreateserial";
    for (extensions, reason) in [
        ("basicConstraints=CA:FALSE\n", "has no subjectAltName"),
        ("subjectAltName=IP:127.0.0.2\n", "for another name than the target's URL has"),
    ] {
        let nginx = Nginx::with_tls("root html;", |dir| authority.issue_by(dir, by, extensions));
        let gateway = authority.trusted(to(&nginx)).start();
        let answer = get(gateway.addr, "/");
        assert!(answer.text().contains(reason), "{reason}: {}", answer.text());
    }
}

#[test]
fn whom_to_trust_is_read_again_with_the_configuration() {
    let (authority, other) = (Authority::new(), Authority::new());
    let nginx = Nginx::with_tls("location / { return 200 'served'; }", |dir| {
        other.issue(dir, LOOPBACK, 2);
    });
    let pem = |of: &Authority| std::fs::read(of.dir.path().join("ca.pem")).unwrap();
    let (own, others) = (pem(&authority), pem(&other));
    let gateway = authority.trusted(to(&nginx)).start();
    // The last time, a connection that was trusted is idle and must not be used again.
    for (trusted, status) in [(&own, 502), (&others, 200), (&own, 502)] {
        authority.dir.write("ca.pem", trusted);
        let answer = gateway.call("POST", "/api/config/reload", "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(get(gateway.addr, "/").status, status);
    }
}

#[test]
fn nothing_is_sent_in_the_clear_to_a_target_that_speaks_no_tls() {
    let authority = Authority::new();
    let (heard, hears) = std::sync::mpsc::channel();
    let origin = Origin::scripted(move |connection, _| {
        heard.send(connection.some()).unwrap();
        connection.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let setup = Setup::new()
        .service(&format!("name: all, basePath: /, targets: ['https://{}']", origin.addr()));
    let gateway = authority.trusted(setup).start();
    let answer = get(gateway.addr, "/secret");
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("does not speak TLS"), "{}", answer.text());
    let bytes = hears.recv().unwrap();
    assert!(!bytes.windows(6).any(|window| window == b"secret"), "{bytes:?}");
}

#[test]
fn plugins_call_hosts_by_https() {
    let authority = Authority::new();
    let nginx = Nginx::with_tls("location / { return 200 'named'; }", |dir| {
        authority.issue(dir, "DNS:localhost", 2);
    });
    let port = nginx.addr.port();
    for (host, answer) in [("localhost", ANSWERED_200), ("127.0.0.1", NOT_ANSWERED)] {
        let url = format!("https://{host}:{port}");
        let request = format!(r#"{{"url":"{url}/x"}}"#);
        let keys = format!("type: auth, config: {{url: '{url}'}}");
        let setup = Setup::echo().plugin("caller", calling(&request, answer), &keys);
        let gateway = authority.trusted(setup).start();
        for _ in 0..3 {
            assert_eq!(get(gateway.addr, "/").status, 200, "{host}\n{}", gateway.log());
        }
    }
}

/// Stands between the gateway and a server: passes the handshake on both ways, then takes nothing
/// more from the gateway and sends it bytes that are no TLS, while it waits to be rid of its own.
fn breaks_off_with_garbage(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for gateway in listener.incoming() {
            let (mut gateway, mut server) = (gateway.unwrap(), TcpStream::connect(server).unwrap());
            let (mut back, mut there) = (server.try_clone().unwrap(), gateway.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back, &mut there));
            let (mut passed, mut buffer) = (0, [0; 16 * 1024]);
            while passed < 64 * 1024 {
                let read = gateway.read(&mut buffer).unwrap();
                assert!(read > 0, "the gateway closed before its body went out");
                server.write_all(&buffer[..read]).unwrap();
                passed += read;
            }
            // What waits in the kernel grows no more: the gateway's write is pending.
            let (mut waiting, mut seen) = (vec![0; 8 * 1024 * 1024], 0);
            loop {
                std::thread::sleep(Duration::from_millis(100));
                match gateway.peek(&mut waiting).unwrap() {
                    same if same == seen => break,
                    more => seen = more,
                }
            }
            let _ = gateway.write_all(b"this is no TLS record, whatever its length may say");
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    addr
}

#[test]
fn bytes_that_are_no_tls_end_one_exchange_while_its_body_goes_out() {
    let authority = Authority::new();
    // It reads the whole body before it asks anybody, so it never answers here.
    let nginx = Nginx::with_tls("location / { proxy_pass http://127.0.0.1:1; }", |dir| {
        authority.issue(dir, LOOPBACK, 2);
    });
    let between = breaks_off_with_garbage(nginx.addr);
    let setup = Setup::echo().service(&format!(
        "name: broken, basePath: /broken, targets: ['https://{between}'], timeout: 15s"
    ));
    let gateway = authority.trusted(setup).start();
    let body = vec![b'x'; 32 * 1024 * 1024];
    let head =
        format!("POST /broken HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut client = TcpStream::connect(gateway.addr).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut sending = client.try_clone().unwrap();
    // Cut short by the answer, which must not wait for it.
    std::thread::spawn(move || {
        let _ = sending.write_all(head.as_bytes()).and_then(|()| sending.write_all(&body));
    });
    let mut start = [0; 12];
    client.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 502");
    assert_eq!(get(gateway.addr, "/").status, 200, "the worker goes on");
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}
