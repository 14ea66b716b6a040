//! logrotate itself, by the rule that is installed, as docs/operations.md says: no line of the
//! access log is lost, and old files are packed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::{read, root, said};
use crate::support::{Client, Gateway, Setup, TempDir, wait_until};

fn logrotate() -> std::process::Command {
    let places = ["/usr/sbin/logrotate", "/usr/bin/logrotate"].map(PathBuf::from);
    let program = places.into_iter().find(|place| place.exists());
    std::process::Command::new(program.expect("logrotate is installed (.ci/setup)"))
}

/// What the shell answers.
fn asked(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    said(&output).trim().to_owned()
}

/// The installed rule, for this gateway's log and process, and the user who runs the test.
fn rule(dir: &TempDir, gateway: &Gateway) -> PathBuf {
    let mut text = read("config/deploy/logrotate/odin");
    let (user, group) = (asked("id", &["-un"]), asked("id", &["-gn"]));
    for (from, to) in [
        ("/var/log/odin/*.log", format!("{}/*.log", dir.path().display())),
        ("su odin odin", format!("su {user} {group}")),
        ("create 0640 odin odin", format!("create 0640 {user} {group}")),
        ("systemctl kill --signal=USR1 odin.service", format!("kill -USR1 {}", gateway.pid())),
    ] {
        assert!(text.contains(from), "the rule has no {from:?}");
        text = text.replace(from, &to);
    }
    let page = read("docs/operations.md");
    assert!(page.contains("install -m 0644 config/deploy/logrotate/odin /etc/logrotate.d/odin"));
    assert!(root("config/deploy/logrotate/odin").exists());
    dir.write("rule", text)
}

#[test]
fn logrotate_by_the_installed_rule_loses_no_line_and_packs_what_is_old() {
    let dir = TempDir::new();
    let log = dir.path().join("access.log");
    let gateway = Setup::echo().logging(&format!("accessLog: '{}'", log.display())).start();
    let rule = rule(&dir, &gateway);
    let (stop, addr) = (Arc::new(AtomicBool::new(false)), gateway.addr);
    let is_over = Arc::clone(&stop);
    let client = std::thread::spawn(move || {
        let (mut client, mut count) = (Client::connect(addr), 0);
        while !is_over.load(SeqCst) {
            assert_eq!(client.get("/").status, 200);
            count += 1;
        }
        count
    });
    let dry = logrotate().arg("--debug").arg(&rule).output().unwrap();
    assert!(dry.status.success(), "{}", said(&dry));
    for round in 1..=3 {
        let lines = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
        wait_until("the new file has lines", || lines() > 20);
        let state = dir.path().join("state");
        let mut command = logrotate();
        let output = command.arg("--force").arg("--state").arg(state).arg(&rule).output().unwrap();
        assert!(output.status.success(), "{round}: {}", said(&output));
    }
    stop.store(true, SeqCst);
    let count: usize = client.join().unwrap();
    let unpacked = |name: &str| {
        let path = dir.path().join(name);
        asked("gzip", &["-dcf", path.to_str().unwrap()])
    };
    let files = ["access.log", "access.log.1", "access.log.2.gz", "access.log.3.gz"];
    let mut kept = 0;
    wait_until("each request has its line", || {
        kept = files.map(|name| unpacked(name).lines().count()).iter().sum();
        kept >= count
    });
    assert_eq!(kept, count);
}
