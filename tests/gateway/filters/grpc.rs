//! gRPC calls and streams of filters, over a server of gRPC's own library (grpcio).

use super::built;
use super::script::{lines, scripted, wait_line};
use crate::support::secure::{Issuer, Leaf};
use crate::support::{Gateway, Origin, Setup, TempDir, get, wait_until};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        Self::with(&[])
    }

    /// The same, by TLS with this certificate and key.
    fn with(files: &[std::path::PathBuf]) -> Self {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(root.join("target/python/bin/python"))
            .arg(root.join("tests/gateway/filters/grpc_server.py"))
            .args(files)
            .stdout(Stdio::piped())
            .spawn()
            .expect("target/python is there: make setup makes it");
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, port: port.trim().parse().expect("its port") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn with(server: &Server, origin: &Origin, script: &str) -> Gateway {
    let service =
        format!("name: grpc, basePath: /grpc, targets: ['h2://127.0.0.1:{}']", server.port);
    let setup: Setup = scripted(origin, script);
    setup.service(&service).start()
}

/// The lines of the callbacks of gRPC, once there are so many.
fn told(gateway: &Gateway, count: usize) -> Vec<String> {
    let of_grpc = || -> Vec<String> {
        let all = lines(gateway, "it").into_iter();
        all.filter(|line| line.starts_with("grpc_")).collect()
    };
    wait_until("the guest is told", || of_grpc().len() >= count);
    of_grpc()
}

#[test]
fn a_call_is_answered_once_by_its_message() {
    let (server, origin) = (Server::start(), Origin::ok());
    let gateway = with(
        &server,
        &origin,
        r#"
on request_headers
grpc_call "grpc" "odin.Test" "Call" [x-sent=filter] "hello" 2000 >token
return 1
on grpc_receive
get_buffer_bytes 5 0 100 >>
set_effective_context 2
continue_stream 0
"#,
    );
    assert_eq!(get(gateway.addr, "/").status, 200);
    assert_eq!(told(&gateway, 1), ["grpc_receive 1 1 12"]);
    assert_eq!(wait_line(&gateway, "  get_buffer_bytes 5 0 100 >> = "), "0 \"answer:hello\"");
    // Envoy's configuration of a gRPC service names the same cluster.
    let gateway = with(
        &server,
        &origin,
        r#"
on request_headers
grpc_call "\x0a\x06\x0a\x04grpc" "odin.Test" "Call" [] "" 2000 >token
return 1
on grpc_receive
set_effective_context 2
continue_stream 0
"#,
    );
    assert_eq!(get(gateway.addr, "/").status, 200);
}

#[test]
fn a_call_that_fails_is_told_why() {
    let (server, origin) = (Server::start(), Origin::ok());
    for (method, timeout, status, message) in [
        ("Fail", 2000, 7, "no way, 100%"),
        ("Unknown", 2000, 12, "Method not found!"),
        ("Slow", 200, 4, ""),
    ] {
        let script = format!(
            r#"
on request_headers
grpc_call "grpc" "odin.Test" "{method}" [] "hello" {timeout} >token
return 1
on grpc_close
get_status > >>
set_effective_context 2
send_local_response 418 "" "" [] -1
"#
        );
        let gateway = with(&server, &origin, &script);
        assert_eq!(get(gateway.addr, "/").status, 418, "{method}");
        assert_eq!(told(&gateway, 1), [format!("grpc_close 1 1 {status}")], "{method}");
        let said = wait_line(&gateway, "  get_status > >> = ");
        assert!(said.starts_with(&format!("0 {status} \"{message}")), "{method}: {said}");
    }
}

#[test]
fn a_stream_goes_both_ways_and_ends_when_it_is_closed() {
    let (server, origin) = (Server::start(), Origin::ok());
    let gateway = with(
        &server,
        &origin,
        r#"
on request_headers
grpc_stream "grpc" "odin.Test" "Stream" [] >token
grpc_send $token "one" 0
grpc_send $token "two" 0
return 1
on grpc_initial
get_header_map_value 4 "x-init" >>
get_header_map_value 5 "x-init" >>
on grpc_receive
get_buffer_bytes 5 0 100 >>
after 1
grpc_close $1
on grpc_trailing
get_header_map_value 5 "x-trail" >>
on grpc_close
grpc_send $1 "late" 0
set_effective_context 2
continue_stream 0
"#,
    );
    assert_eq!(get(gateway.addr, "/").status, 200);
    let told = told(&gateway, 5);
    assert!(told[0].starts_with("grpc_initial 1 1 ") && told[3].starts_with("grpc_trailing 1 1 "));
    assert_eq!(told[1..3], ["grpc_receive 1 1 8", "grpc_receive 1 1 8"], "{told:?}");
    assert_eq!(told[4..], ["grpc_close 1 1 0"], "{told:?}");
    let lines = lines(&gateway, "it");
    for line in [
        "  get_header_map_value 4 \"x-init\" >> = 0 \"1\"",
        "  get_header_map_value 5 \"x-init\" >> = 1",
        "  get_buffer_bytes 5 0 100 >> = 0 \"echo:one\"",
        "  get_buffer_bytes 5 0 100 >> = 0 \"echo:two\"",
        "  get_header_map_value 5 \"x-trail\" >> = 0 \"2\"",
        "  grpc_send $1 \"late\" 0 = 1",
    ] {
        assert!(lines.iter().any(|it| it == line), "{line} in {lines:#?}");
    }
}

#[test]
fn what_cannot_be_called_is_refused_at_once() {
    let (server, origin) = (Server::start(), Origin::ok());
    let gateway = with(
        &server,
        &origin,
        r#"
on request_headers
grpc_call "nobody" "odin.Test" "Call" [] "" 2000 >token
grpc_stream "nobody" "odin.Test" "Call" [] >token
grpc_call "grpc" "a/b" "Call" [] "" 2000 >token
grpc_call "grpc" "odin.Test" "" [] "" 2000 >token
grpc_call "grpc" "odin.Test" "Call" [x y=1] "" 2000 >token
grpc_call "grpc" "odin.Test" "Call" [x-a=a\x0d\x0ab] "" 2000 >token
grpc_call -1 20 "odin.Test" "Call" [] "" 2000 >token
grpc_call "grpc" "odin.Test" "Call" [] "" 2000 -4
grpc_send 99 "x" 0
grpc_cancel 99
grpc_close 99
"#,
    );
    assert_eq!(get(gateway.addr, "/").status, 200);
    wait_line(&gateway, "delete 2");
    let lines = lines(&gateway, "it");
    let statuses: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("  grpc_"))
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(statuses, ["4", "4", "10", "10", "10", "10", "6", "6", "1", "1", "1"]);
}

#[test]
fn a_stream_ends_with_its_exchange_and_a_cancelled_line_says_nothing() {
    let (server, origin) = (Server::start(), Origin::ok());
    let gateway = with(
        &server,
        &origin,
        r#"
on request_headers
grpc_stream "grpc" "odin.Test" "Stream" [] >token
grpc_call "grpc" "odin.Test" "Slow" [] "" 5000 >call
grpc_cancel $call
"#,
    );
    assert_eq!(get(gateway.addr, "/").status, 200);
    // Before it perhaps the stream's initial metadata.
    wait_line(&gateway, "grpc_close 1 1 1");
    let told = told(&gateway, 1);
    assert!(!told.iter().any(|line| line.contains(" 1 2 ")), "{told:?}");
}

#[test]
fn an_upstream_that_is_down_or_speaks_no_http2_is_a_failed_call() {
    let (server, origin) = (Server::start(), Origin::ok());
    for target in ["h2://127.0.0.1:1".to_owned(), origin.url(), "builtin:echo".to_owned()] {
        let script = r#"
on request_headers
grpc_call "other" "odin.Test" "Call" [] "" 2000 >token
return 1
on grpc_close
set_effective_context 2
continue_stream 0
"#;
        let gateway = scripted(&origin, script)
            .service(&format!("name: other, basePath: /other, targets: ['{target}']"))
            .start();
        assert_eq!(get(gateway.addr, "/").status, 200, "{target}");
        assert!(wait_line(&gateway, "grpc_close 1 1 ").parse::<u32>().unwrap() > 0, "{target}");
    }
    drop(server);
}

#[test]
fn a_call_goes_by_tls_to_a_host_that_the_config_names_so() {
    let (dir, origin) = (TempDir::new(), Origin::ok());
    let issuer = Issuer::new("an issuer");
    issuer.write(&dir, "leaf", &Leaf::default());
    dir.write("ca.pem", issuer.pem());
    let path = |name: &str| dir.path().join(name);
    let server = Server::with(&[path("leaf.pem"), path("leaf.key")]);
    let port = server.port;
    let script = format!(
        "on request_headers;grpc_call \"localhost:{port}\" \"odin.Test\" \"Call\" [x-sent=filter] \
         \"hello\" 2000 >token;return 1;on grpc_receive;get_buffer_bytes 5 0 100 >>;\
         set_effective_context 2;continue_stream 0;on grpc_close;set_effective_context 2;\
         continue_stream 0"
    );
    let with = |scheme: &str, trusted: &str| {
        let keys = format!(
            "vmConfig: '{script}', config: {{allowedHosts: ['{scheme}://localhost:{port}']}}"
        );
        Setup::to(&origin)
            .plugin("it", built("filter-script"), &keys)
            .env("SSL_CERT_FILE", path(trusted).to_str().unwrap())
            .start()
    };
    let gateway = with("https", "ca.pem");
    assert_eq!(get(gateway.addr, "/").status, 200);
    assert_eq!(wait_line(&gateway, "  get_buffer_bytes 5 0 100 >> = "), "0 \"answer:hello\"");
    // Whom nobody trusts, and who is spoken to in the clear, is unavailable.
    for gateway in [with("https", "leaf.pem"), with("http", "ca.pem")] {
        assert_eq!(get(gateway.addr, "/").status, 200);
        assert_eq!(told(&gateway, 1), ["grpc_close 1 1 14"]);
    }
}
