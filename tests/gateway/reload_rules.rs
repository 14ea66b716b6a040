//! What a reload must not take: rules hold of what would really run, whoever asks.

use std::process::Command;

use crate::support::{Gateway, Setup, wait_until};
use rustix::process::Signal;

/// A gateway whose admin API other machines reach.
fn public() -> Setup {
    Setup::echo().admin("token: '${ADMIN_TOKEN:-t0ken}'")
}

fn start_public(setup: Setup) -> Gateway {
    let config = setup.config().replace("{listen: '127.0.0.1:0', ", "{listen: '0.0.0.0:0', ");
    assert!(config.contains("0.0.0.0:0"), "{config}");
    let mut command = Command::new(crate::support::gateway::BINARY);
    command.arg("--watch").stdin(std::process::Stdio::null());
    Gateway::spawn(setup.dir, &config, command, &[])
}

const TOKEN: &str = "Authorization: Bearer t0ken\r\n";

#[test]
fn a_public_admin_socket_keeps_its_token_whatever_the_file_becomes() {
    let gateway = start_public(public());
    let good = gateway.config();
    let with = good.clone();
    let admin = with.lines().find(|line| line.starts_with("admin:")).unwrap();
    let mut refused = 0;
    for next in [
        "admin: {listen: '127.0.0.1:0'}",
        "admin: {listen: 'localhost:0'}",
        "admin: {listen: '127.0.0.1:0', token: '${SURELY_NOT_SET:-}'}",
        "admin: {listen: off}",
        "",
    ] {
        // Seen by the watch as well: whichever is first, nothing is published.
        gateway.rewrite(&good.replace(admin, next));
        let answer = gateway.call_with("POST", "/api/config/reload", TOKEN, "");
        assert_eq!(answer.status, 400, "{next}: {}", answer.text());
        let reason = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(reason.contains("admin.token: missing"), "{next}: {reason}");
        assert!(reason.contains("until the next start"), "{next}: {reason}");
        gateway.signal(Signal::HUP);
        refused += 1;
        wait_until("SIGHUP is refused as well", || {
            let log = gateway.log();
            log.matches("(SIGHUP): refused, nothing has changed: admin.token").count() == refused
        });
        assert_eq!(gateway.call("GET", "/api/plugins", "").status, 401, "{next}");
        let load = gateway.call("POST", "/api/plugins/load", r#"{"name":"p","path":"p.wasm"}"#);
        assert_eq!(load.status, 401, "{next}");
    }
    gateway.wait_log("(a file changed): refused, nothing has changed: admin.token");
    // Another token is one; and a socket that nobody else reaches needs none.
    gateway.rewrite(&good.replace("t0ken", "other").replace("0.0.0.0:0", "127.0.0.1:0"));
    gateway.signal(Signal::HUP);
    wait_until("the other token holds", || {
        let field = "Authorization: Bearer other\r\n";
        gateway.call_with("GET", "/api/plugins", field, "").status == 200
    });
    assert_eq!(gateway.call_with("GET", "/api/plugins", TOKEN, "").status, 401);
}

#[test]
fn a_local_admin_socket_may_lose_its_token() {
    let gateway = Setup::echo().admin("token: t0ken").start();
    gateway.rewrite(&gateway.config().replace("token: t0ken", ""));
    let answer = gateway.call_with("POST", "/api/config/reload", TOKEN, "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(gateway.call("GET", "/api/plugins", "").status, 200);
}
