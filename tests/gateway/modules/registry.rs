//! A real registry (Debian's docker-registry), on a free port of loopback.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::secure::{Issuer, Leaf};
use crate::support::{TempDir, ask, wait_until};

/// The registry; ends with its value.
pub struct Registry {
    process: Child,
    pub dir: TempDir,
    pub host: String,
}

/// `s3cret`, as htpasswd -B writes it.
const USERS: &str = "odin:$2y$05$dghZGR44.dojD9x80WbOreWuZsOgscl/9WWqf4q8hLz2R4yZkKv4W\n";

impl Registry {
    /// One without TLS and without users.
    pub fn plain() -> Self {
        Self::start("127.0.0.1", |_| String::new())
    }

    /// One with a certificate for `localhost` (`ca.pem` is its issuer's) and the user `odin`.
    pub fn guarded() -> Self {
        Self::start("localhost", |dir| {
            let issuer = Issuer::new("registry");
            let (certificate, key) = issuer.issue(&Leaf::default());
            dir.write("ca.pem", issuer.pem());
            let certificate = dir.write("registry.pem", certificate);
            let key = dir.write("registry.key", key);
            let users = dir.write("users", USERS);
            format!(
                "  tls: {{certificate: {}, key: {}}}\nauth:\n  htpasswd: {{realm: test, \
                 path: {}}}\n",
                certificate.display(),
                key.display(),
                users.display()
            )
        })
    }

    fn start(name: &str, prepare: impl FnOnce(&TempDir) -> String) -> Self {
        let dir = TempDir::new();
        let more = prepare(&dir);
        // A port that was free a moment ago may be taken by another test: then another one.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let config = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: \
                 {{rootdirectory: {}}}\n\
                 http:\n  addr: 127.0.0.1:{port}\n{more}",
                dir.path().join("data").display()
            );
            let config = dir.write("registry.yml", config);
            let mut process = Command::new("docker-registry")
                .arg("serve")
                .arg(config)
                .env("OTEL_TRACES_EXPORTER", "none")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("docker-registry is installed (.ci/setup)");
            let mut has_ended = false;
            wait_until("the registry listens", || {
                has_ended = process.try_wait().unwrap().is_some();
                let addr = ([127, 0, 0, 1], port).into();
                has_ended || TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_ok()
            });
            if !has_ended {
                return Self { process, dir, host: format!("{name}:{port}") };
            }
        }
        panic!("docker-registry does not start");
    }

    /// Puts a manifest of its media type there, in the clear, under this tag.
    pub fn put_manifest(&self, repository: &str, tag: &str, manifest: &serde_json::Value) {
        let kind = manifest["mediaType"].as_str().unwrap();
        let text = manifest.to_string();
        let answer = ask(
            self.host.parse().unwrap(),
            format!(
                "PUT /v2/{repository}/manifests/{tag} HTTP/1.1\r\nHost: {}\r\n\
                 Content-Length: {}\r\nContent-Type: {kind}\r\n\r\n{text}",
                self.host,
                text.len()
            ),
        );
        assert_eq!(answer.status, 201);
    }

    /// Ends it.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs `odin-cli plugin`, without the logins of who tests.
pub fn cli(dir: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_odin-cli"));
    command.arg("plugin").args(arguments).env("DOCKER_CONFIG", dir.path()).current_dir(dir.path());
    command.output().unwrap()
}

/// The same, which must succeed; what it prints.
pub fn good(dir: &TempDir, arguments: &[&str]) -> String {
    let told = cli(dir, arguments);
    let (out, err) =
        (String::from_utf8(told.stdout).unwrap(), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "{arguments:?}: {out}{err}");
    out
}

/// A pair of keys, `NAME.key` and `NAME.pub`.
pub fn keys(dir: &Path, name: &str) -> (String, String) {
    let [key, public] = ["key", "pub"].map(|end| dir.join(format!("{name}.{end}")));
    let [key, public] = [key, public].map(|path| path.to_str().unwrap().to_owned());
    let made = ["genpkey", "-algorithm", "ed25519", "-out", &key];
    let derived = ["pkey", "-in", &key, "-pubout", "-out", &public];
    for arguments in [&made[..], &derived[..]] {
        let done = Command::new("openssl").args(arguments).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    (key, public)
}
