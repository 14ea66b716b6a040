//! Targets that are asked how they stand by gRPC's health checking protocol, as grpcio speaks it;
//! and paths that are asked for over HTTP/2.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use crate::support::{Gateway, Setup, TempDir, wait_until};
use crate::tls::Authority;

const TIMES: &str = "interval: 100ms, timeout: 2s, healthyAfter: 1, unhealthyAfter: 1";

/// grpcio's health service in a process; ends with its value.
struct Health {
    child: Child,
    lines: Mutex<BufReader<std::process::ChildStdout>>,
    port: u16,
}

impl Health {
    fn start(arguments: &[&str]) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(root.join("target/python/bin/python"))
            .arg(root.join("tests/gateway/health_service.py"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("target/python is there: make setup makes it");
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        lines.read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("it says its port");
        Self { child, lines: Mutex::new(lines), port }
    }

    /// From now on the service (`-`: the server) stands so.
    fn says(&mut self, service: &str, status: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{service} {status}").unwrap();
        self.lines.lock().unwrap().read_line(&mut String::new()).unwrap();
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn checked(url: &str, keys: &str, more: &str) -> Gateway {
    let check = format!("healthCheck: {{{keys}, {TIMES}}}");
    Setup::new()
        .service(&format!("name: a, basePath: /, targets: ['{url}'], outlier: off, {check}{more}"))
        .start()
}

/// How the only target stands, and why its last check failed.
fn told(gateway: &Gateway) -> (String, String) {
    let status = gateway.call("GET", "/api/status", "").json();
    let target = &status["targets"][0];
    let text = |key: &str| target[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("check"))
}

fn wait_told(gateway: &Gateway, state: &str, check: &str) {
    wait_until(&format!("{state}: {check}"), || {
        let (is, why) = told(gateway);
        is == state && why.contains(check)
    });
}

#[test]
fn a_target_is_asked_as_grpc_says() {
    let mut health = Health::start(&[]);
    let url = format!("h2://127.0.0.1:{}", health.port);
    health.says("-", "SERVING");
    let whole = checked(&url, "grpc: true", "");
    let named = checked(&url, "grpc: shop.v1.Orders", "");
    wait_told(&named, "unhealthy", "it knows no service \"shop.v1.Orders\" (grpc-status 5)");
    wait_told(&whole, "healthy", "");
    health.says("shop.v1.Orders", "SERVING");
    wait_told(&named, "healthy", "");
    health.says("-", "NOT_SERVING");
    wait_told(&whole, "unhealthy", "it says NOT_SERVING");
    wait_told(&named, "healthy", "");
    health.says("-", "SERVING");
    wait_told(&whole, "healthy", "");
    health.says("shop.v1.Orders", "SERVICE_UNKNOWN");
    wait_told(&named, "unhealthy", "it says that it does not serve (status 3)");
}

#[test]
fn what_is_no_health_service_is_told() {
    let other = Health::start(&["none"]);
    let gateway = checked(&format!("h2://127.0.0.1:{}", other.port), "grpc: true", "");
    wait_told(&gateway, "unhealthy", "it has no grpc.health.v1.Health (grpc-status 12)");
    let plain = crate::support::Origin::ok();
    let gateway = checked(&plain.url(), "grpc: true", "");
    wait_told(&gateway, "unhealthy", "it does not answer with HTTP/2");
}

#[test]
fn the_check_goes_by_tls_where_requests_do() {
    let authority = Authority::new();
    let dir = TempDir::new();
    authority.issue(&dir, "IP:127.0.0.1", 2);
    let file = |name: &str| Path::new(dir.path()).join(name).display().to_string();
    let mut health = Health::start(&[&file("server.pem"), &file("server.key")]);
    health.says("-", "SERVING");
    let url = format!("https://127.0.0.1:{}", health.port);
    let ca = format!(", tls: {{ca: {}}}", authority.ca().display());
    let gateway = checked(&url, "grpc: true", &ca);
    health.says("-", "NOT_SERVING");
    wait_told(&gateway, "unhealthy", "it says NOT_SERVING");
    health.says("-", "SERVING");
    wait_told(&gateway, "healthy", "");
    let stranger = Authority::new();
    let other = format!(", tls: {{ca: {}}}", stranger.ca().display());
    wait_told(&checked(&url, "grpc: true", &other), "unhealthy", "signed by nobody");
}

#[test]
fn a_path_is_asked_for_over_http2_where_requests_are() {
    let inner =
        Setup::new().service("name: a, basePath: /healthz, targets: ['builtin:echo']").start();
    let url = format!("h2://{}", inner.addr);
    wait_told(&checked(&url, "path: /nope", ""), "unhealthy", "it answers with 404");
    let gateway = checked(&url, "path: /healthz", "");
    wait_until("it has been checked", || {
        let series = "odin_requests_total{service=\"a\",status=\"2xx\"} ";
        let text = inner.call("GET", "/metrics", "").text();
        text.contains(series) && !text.contains(&format!("{series}0\n"))
    });
    assert_eq!(told(&gateway), ("healthy".to_owned(), String::new()));
}
