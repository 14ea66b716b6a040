//! What a reload must not take: rules hold of what would really run, whoever asks.

use std::io::Write;
use std::process::Command;

use crate::support::{Gateway, Setup, get, wait_until};
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
    let nexts = [
        "admin: {listen: '127.0.0.1:0'}",
        "admin: {listen: 'localhost:0'}",
        "admin: {listen: '127.0.0.1:0', token: '${SURELY_NOT_SET:-}'}",
        "admin: {listen: off}",
        "",
    ];
    for (earlier, next) in nexts.into_iter().enumerate() {
        // Seen by the watch as well: whichever is first, nothing is published.
        gateway.rewrite(&good.replace(admin, next));
        let answer = gateway.call_with("POST", "/api/config/reload", TOKEN, "");
        assert_eq!(answer.status, 400, "{next}: {}", answer.text());
        let reason = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(reason.contains("admin.token: missing"), "{next}: {reason}");
        assert!(reason.contains("until the next start"), "{next}: {reason}");
        gateway.signal(Signal::HUP);
        wait_until("SIGHUP is refused as well", || {
            let log = gateway.log();
            log.matches("(SIGHUP): refused, nothing has changed: admin.token").count() > earlier
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

fn check(path: &std::path::Path) -> (i32, String) {
    let output =
        Command::new(crate::support::gateway::BINARY).arg("check").arg(path).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_file_without_content_is_no_configuration() {
    let gateway = Setup::echo().start();
    let words = "the file has no content";
    for text in ["", "\n\n", "# all of it\n# is commented out\n", "---\n", "~"] {
        gateway.rewrite(text);
        let path = gateway.dir().path().join("odin.yaml");
        let (code, said) = check(&path);
        assert!(code == 64 && said.contains(words), "{text:?}: {code} {said}");
        let output = Command::new("timeout")
            .args(["20", crate::support::gateway::BINARY, "--config"])
            .arg(path)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64), "{text:?}: {output:?}");
        let answer = gateway.call("POST", "/api/config/reload", "");
        assert_eq!(answer.status, 400, "{text:?}: {}", answer.text());
        assert!(answer.reason().contains(words), "{text:?}: {}", answer.text());
        assert_eq!(get(gateway.addr, "/").status, 200, "{text:?}");
    }
    let (code, said) = check("/dev/null".as_ref());
    assert!(code == 64 && said.contains(words), "{code} {said}");
}

#[test]
fn a_reload_takes_out_every_service_only_if_the_file_says_so() {
    let mut gateway = Setup::echo().start();
    let good = gateway.config();
    let cut = good.split("services:").next().unwrap().to_owned();
    for text in ["server:\n", cut.as_str(), &format!("{cut}services:\n#  - {{name: all}}\n")] {
        gateway.rewrite(text);
        let answer = gateway.call("POST", "/api/config/reload", "");
        assert_eq!(answer.status, 400, "{text:?}: {}", answer.text());
        assert!(answer.reason().contains("services: missing"), "{text:?}: {}", answer.text());
        // It is a configuration for somebody else.
        let (code, said) = check(&gateway.dir().path().join("odin.yaml"));
        assert!(code == 0 && said.contains("write services: []"), "{text:?}: {code} {said}");
        assert_eq!(get(gateway.addr, "/").status, 200, "{text:?}");
    }
    gateway.signal(Signal::HUP);
    gateway.wait_log("(SIGHUP): refused, nothing has changed: ");
    gateway.signal(Signal::USR2);
    gateway.wait_log("binary upgrade failed, this process goes on: ");
    assert!(gateway.is_running());
    assert_eq!(get(gateway.addr, "/").status, 200);
    // Asked for in so many words, it is done.
    gateway.rewrite(&format!("{cut}services: []\n"));
    let answer = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(get(gateway.addr, "/").status, 404);
}

/// 1. The author writes into the file itself, and pauses where what is there so far would be a
///    configuration: half of the services.
/// 2. Whoever asks for a reload meanwhile is refused, and the half is never served.
/// 3. The author ends: the watch takes the whole.
#[test]
fn a_file_that_is_still_being_written_is_not_taken() {
    let gateway = Setup::echo().service("name: late, basePath: /late, targets: ['builtin:echo']");
    let gateway = gateway.argument("--watch").start();
    let next = gateway.config().replace("/late", "/later");
    let (half, rest) = next.split_at(next.find("  - {name: late").unwrap());
    let mut file = std::fs::File::create(gateway.dir().path().join("odin.yaml")).unwrap();
    file.write_all(half.as_bytes()).unwrap();
    let answer = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.reason().contains("is still being written"), "{}", answer.text());
    gateway.signal(Signal::HUP);
    for asked in ["SIGHUP", "a file changed"] {
        gateway.wait_log(&format!("({asked}): refused, nothing has changed: "));
    }
    assert_eq!(served(&gateway), ["/", "/late"]);
    file.write_all(rest.as_bytes()).unwrap();
    drop(file);
    wait_until("the whole is served", || served(&gateway) == ["/", "/later"]);
    assert!(!gateway.log().contains("refused, nothing has changed: services"), "half was read");
}

/// The base paths that are served.
fn served(gateway: &Gateway) -> Vec<String> {
    let config = gateway.call("GET", "/api/config", "").json();
    let services = config["config"]["services"].as_array().unwrap().clone();
    services.iter().map(|service| service["basePath"].as_str().unwrap().to_owned()).collect()
}

/// A new process reads the file as well, in the place of one that serves the whole of it.
#[test]
fn an_upgrade_does_not_take_a_file_that_is_still_being_written() {
    let gateway = Setup::echo().service("name: late, basePath: /late, targets: ['builtin:echo']");
    let gateway = gateway.start();
    let config = gateway.config();
    let half = config.split_at(config.find("  - {name: late").unwrap()).0;
    let mut file = std::fs::File::create(gateway.dir().path().join("odin.yaml")).unwrap();
    file.write_all(half.as_bytes()).unwrap();
    gateway.signal(Signal::USR2);
    gateway.wait_log("binary upgrade failed, this process goes on: ");
    gateway.wait_log("is still being written");
    assert_eq!(served(&gateway), ["/", "/late"]);
}

/// The text that would be changed is half of one, and its author would go on in a file that is
/// gone.
#[test]
fn a_change_that_is_to_last_waits_for_whoever_writes_the_file() {
    let setup = Setup::echo().plugin("tag", crate::support::wasm::passing(), "type: request");
    let gateway = setup.start();
    let config = gateway.config();
    let mut file = std::fs::File::create(gateway.dir().path().join("odin.yaml")).unwrap();
    file.write_all(config.as_bytes()).unwrap();
    let disable = || {
        let body = r#"{"enabled":false,"persist":true}"#;
        gateway.call("PUT", "/api/plugins/tag/enabled", body)
    };
    let answer = disable();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.reason().contains("is still being written"), "{}", answer.text());
    file.write_all(b"# the end\n").unwrap();
    drop(file);
    assert_eq!(disable().status, 200);
    let written = gateway.config();
    assert!(written.contains("enabled: false") && written.contains("# the end"), "{written}");
}
