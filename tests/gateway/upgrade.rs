//! Another binary in the place of the running one: no request, no connection is lost, and whatever
//! fails leaves the running one as it was.

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::gateway::{BINARY, is_alive};
use crate::support::load::Load;
use crate::support::{Client, Gate, Gateway, Origin, Setup, TempDir, get, wait_until, wasm};
use rustix::process::Signal;

fn status(gateway: &Gateway) -> serde_json::Value {
    gateway.call("GET", "/api/status", "").json()
}

/// An origin that answers `/held` when the gate opens, and everything else at once.
fn held_origin(gate: &Gate) -> Origin {
    let held = gate.clone();
    Origin::scripted(move |connection, _| {
        while let Some(request) = connection.request() {
            if request.target == "/held" {
                held.wait();
            }
            connection.answer("ok");
        }
    })
}

/// A connection with a request at the origin.
fn hold(gateway: &Gateway, origin: &Origin) -> Client {
    let mut client = Client::connect(gateway.addr);
    let before = origin.requests().len();
    client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(before + 1);
    client
}

fn script(dir: &Path, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("script");
    let mut file = std::fs::File::create(&path).unwrap();
    write!(file, "#!/bin/sh\n{text}\n").unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn upgrades_in_a_row_lose_no_request_and_close_no_connection() {
    let mut gateway =
        Setup::echo().workers(2).plugin("pass", wasm::passing(), "type: request").start();
    let load = Load::start(&gateway);
    load.go_on(100);
    for done in 1..=2 {
        let before = gateway.pid();
        let after = gateway.upgrade();
        assert_ne!(before, after);
        gateway.wait_ended(before);
        load.go_on(100);
        let status = status(&gateway);
        assert_eq!(status["pid"], after);
        assert_eq!(status["upgrades"]["done"], done, "{status}");
    }
    load.end();
    let metrics = gateway.call("GET", "/metrics", "").text();
    assert!(metrics.contains("odin_upgrades_total{outcome=\"done\"} 2\n"), "{metrics}");
    let reloads = gateway.call("GET", "/api/reloads", "").json();
    let words = reloads[0]["change"].as_str().unwrap();
    assert!(words.contains("binary upgraded, in place of process"), "{reloads}");
}

#[test]
fn idle_connections_go_on_in_the_next_process() {
    let origin = Origin::ok();
    let mut gateway = Setup::to(&origin).drain_timeout("60s").start();
    let mut fresh = Client::connect(gateway.addr);
    let mut used = Client::connect(gateway.addr);
    assert_eq!(used.get("/").status, 200);
    let mut halfway = Client::connect(gateway.addr);
    halfway.send("GET /half HT");
    let before = gateway.pid();
    gateway.upgrade();
    for client in [&mut fresh, &mut used] {
        assert_eq!(client.get("/").status, 200);
    }
    // A head that has begun to arrive is read to its end where it began, then moves on too.
    assert!(is_alive(before));
    halfway.send("TP/1.1\r\nHost: a\r\n\r\n");
    assert!(!halfway.response().closes());
    gateway.wait_ended(before);
    assert_eq!(halfway.get("/").status, 200);
    // The new process can close it: nothing holds it open elsewhere.
    used.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(used.response().status, 200);
    used.assert_closed();
}

#[test]
fn an_exchange_in_flight_ends_where_it_began_while_the_next_process_serves() {
    let gate = Gate::default();
    let origin = held_origin(&gate);
    let mut gateway = Setup::to(&origin).drain_timeout("60s").start();
    let mut client = hold(&gateway, &origin);
    // What follows at once on the same connection is not left behind.
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    let before = gateway.pid();
    let after = gateway.upgrade();
    assert_eq!(get(gateway.addr, "/").text(), "ok");
    assert_eq!(status(&gateway)["pid"], after);
    assert!(is_alive(before), "its exchange is still open");
    gate.open();
    for _ in 0..2 {
        let response = client.response();
        assert_eq!((response.status, response.closes()), (200, false));
    }
    gateway.wait_ended(before);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_connection_moves_past_a_process_that_was_itself_replaced() {
    // 1. the first process has an exchange, 2. a second one replaces it, 3. a third one that, which
    // ends, 4. the exchange ends, 5. its connection goes on in the third.
    let gate = Gate::default();
    let origin = held_origin(&gate);
    let mut gateway = Setup::to(&origin).drain_timeout("60s").start();
    let mut client = hold(&gateway, &origin);
    let first = gateway.pid();
    let second = gateway.upgrade();
    gateway.upgrade();
    gateway.wait_ended(second);
    assert!(is_alive(first));
    gate.open();
    assert!(!client.response().closes());
    gateway.wait_ended(first);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_new_process_that_fails_leaves_the_running_one_serving() {
    let mut gateway = Setup::echo()
        .linked()
        .server("upgradeTimeout: 1s")
        .plugin("tag", wasm::setting_headers(r#""X-Tag":["one"]"#), "type: request")
        .start();
    let good = gateway.config();
    let dir = TempDir::new();
    let load = Load::start(&gateway);
    let pid = gateway.pid();
    let binary = Path::new(BINARY);
    let ends = script(dir.path(), "exit 3");
    let config = good.replace("workers:", "wokers:");
    let config = config.as_str();
    let module = wasm::setting_headers(r#""X-Tag":["one"]"#);
    let cases: [(&str, &Path, &str, &[u8], &str); 6] = [
        ("a program that ends", &ends, &good, &module, "ended before it was ready (exit status: 3"),
        ("none at all", Path::new("/nowhere/odin"), &good, &module, "cannot start"),
        ("a bad configuration", binary, config, &module, "did you mean \"workers\""),
        ("a bad plugin", binary, &good, b"not wasm", "failed to compile plugin"),
        (
            "one that takes too long",
            &dir.path().join("slow"),
            &good,
            &module,
            "not ready within 1s",
        ),
        ("one that is no program", &dir.path().join("text"), &good, &module, "cannot start"),
    ];
    std::fs::rename(script(dir.path(), "exec sleep 60"), dir.path().join("slow")).unwrap();
    script(dir.path(), "exit 3");
    std::fs::write(dir.path().join("text"), "no program").unwrap();
    for (number, (what, binary, config, module, reason)) in cases.into_iter().enumerate() {
        gateway.replace_binary(binary);
        gateway.rewrite(config);
        gateway.replace_plugin("tag", module);
        gateway.signal(Signal::USR2);
        wait_until(what, || status(&gateway)["upgrades"]["failed"] == number + 1);
        let upgrades = status(&gateway)["upgrades"].clone();
        let error = upgrades["error"].as_str().unwrap();
        assert!(error.contains(reason), "{what}: {error}");
        assert_eq!(upgrades["underWay"], false);
        let reloads = gateway.call("GET", "/api/reloads", "").json();
        assert_eq!(reloads[0]["error"], error, "{what}: {reloads}");
        assert_eq!(reloads[0]["change"], "binary upgraded (SIGUSR2)");
        let first = error.lines().next().unwrap();
        gateway.wait_log(&format!("binary upgrade failed, this process goes on: {first}"));
        load.go_on(50);
        assert_eq!(get(gateway.addr, "/").json()["headers"]["X-Tag"][0], "one");
    }
    let metrics = gateway.call("GET", "/metrics", "").text();
    assert!(metrics.contains("odin_upgrades_total{outcome=\"failed\"} 6\n"), "{metrics}");
    gateway.replace_binary(binary);
    gateway.rewrite(&good);
    gateway.replace_plugin("tag", &module);
    let after = gateway.upgrade();
    assert_ne!(after, pid);
    gateway.wait_ended(pid);
    load.go_on(50);
    load.end();
}

#[test]
fn what_fails_already_does_not_keep_an_upgrade_from_being_made() {
    let mut gateway =
        Setup::echo().plugin_entry("name: gone, path: gone.wasm, type: request").start();
    let before = gateway.pid();
    gateway.upgrade();
    gateway.wait_ended(before);
    assert_eq!(get(gateway.addr, "/").status, 200);
}

#[test]
fn one_upgrade_at_a_time_and_no_change_meanwhile() {
    let dir = TempDir::new();
    let mut gateway = Setup::echo().linked().start();
    let slow =
        script(dir.path(), &format!("echo $$ > {}/pid; exec sleep 60", dir.path().display()));
    gateway.replace_binary(&slow);
    gateway.signal(Signal::USR2);
    wait_until("it is under way", || status(&gateway)["upgrades"]["underWay"] == true);
    gateway.signal(Signal::USR2);
    gateway.wait_log("SIGUSR2 is ignored: a binary upgrade is under way already");
    let answer = gateway.call("POST", "/api/config/reload", "");
    assert!(answer.text().contains("a binary upgrade is under way"), "{}", answer.text());
    assert_eq!(answer.status, 503);
    assert_eq!(get(gateway.addr, "/").status, 200);
    // The end of the gateway is the end of the attempt.
    let mut pid = String::new();
    wait_until("the new process runs", || {
        pid = std::fs::read_to_string(dir.path().join("pid")).unwrap_or_default();
        pid.ends_with('\n')
    });
    gateway.terminate();
    assert_eq!(gateway.wait_exit().code(), Some(0), "{}", gateway.log());
    assert!(!is_alive(pid.trim().parse().unwrap()));
}

#[test]
fn a_process_that_was_replaced_ignores_one_signal_to_end_and_heeds_the_second() {
    let gate = Gate::default();
    let origin = held_origin(&gate);
    let mut gateway = Setup::to(&origin).drain_timeout("60s").start();
    let _client = hold(&gateway, &origin);
    let before = rustix::process::Pid::from_raw(gateway.pid().cast_signed()).unwrap();
    gateway.upgrade();
    rustix::process::kill_process(before, Signal::USR2).unwrap();
    gateway.wait_log("SIGUSR2 is ignored: this process is ending");
    rustix::process::kill_process(before, Signal::TERM).unwrap();
    assert_eq!(get(gateway.addr, "/").status, 200);
    assert!(gateway.is_running());
    rustix::process::kill_process(before, Signal::TERM).unwrap();
    gateway.wait_exit();
    assert_eq!(get(gateway.addr, "/").status, 200, "the next process was not meant");
    gate.open();
}

#[test]
fn the_number_of_workers_and_the_driver_may_change() {
    let mut gateway = Setup::echo().workers(3).start();
    let good = gateway.config();
    let load = Load::start(&gateway);
    let driver = good.lines().find(|line| line.contains("ioDriver")).unwrap();
    for (workers, driver) in [(1, "  ioDriver: epoll"), (4, driver), (2, "  ioDriver: epoll")] {
        let config = good.replace("workers: 3", &format!("workers: {workers}"));
        let old = config.lines().find(|line| line.contains("ioDriver")).unwrap();
        gateway.rewrite(&config.replace(old, driver));
        let before = gateway.pid();
        gateway.upgrade();
        gateway.wait_ended(before);
        // Whichever socket the kernel picks, somebody accepts there.
        for _ in 0..40 {
            assert_eq!(get(gateway.addr, "/").status, 200);
        }
        load.go_on(50);
        assert_eq!(status(&gateway)["workers"].as_array().unwrap().len(), workers);
    }
    load.end();
}

#[test]
fn listeners_may_change_and_the_rest_are_kept() {
    let dir = TempDir::new();
    let (kept, added) = (dir.path().join("kept.sock"), dir.path().join("added.sock"));
    let service = "services:\n  - {name: all, basePath: /, targets: ['builtin:echo']}\n";
    let config = |unix: &Path| {
        format!(
            "server: {{listen: ['127.0.0.1:0', 'unix:{}'], workers: 2, pinCores: false}}\n\
             admin: {{listen: '127.0.0.1:0'}}\n{service}",
            unix.display()
        )
    };
    let ask = |path: &Path| {
        use std::io::Read;
        let mut stream = std::os::unix::net::UnixStream::connect(path)?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        std::io::Result::Ok(text)
    };
    let mut gateway = Gateway::start(TempDir::new(), &config(&kept), &[]);
    for _ in 0..2 {
        let before = gateway.pid();
        gateway.upgrade();
        gateway.wait_ended(before);
        assert!(ask(&kept).unwrap().starts_with("HTTP/1.1 200"));
    }
    gateway.rewrite(&config(&added));
    let before = gateway.pid();
    gateway.upgrade();
    gateway.wait_ended(before);
    assert!(ask(&added).unwrap().starts_with("HTTP/1.1 200"));
    assert!(ask(&kept).is_err(), "nobody listens there any more");
    assert_eq!(get(gateway.addr, "/").status, 200);
}

#[test]
fn connections_that_wait_at_the_end_are_served() {
    // The worker is held up by its plugin while clients connect and ask; then SIGTERM.
    let mut gateway = Setup::echo().drain_timeout("30s").start();
    let pid = rustix::process::Pid::from_raw(gateway.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(gateway.addr)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    gateway.terminate();
    rustix::process::kill_process(pid, Signal::CONT).unwrap();
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(gateway.wait_exit().code(), Some(0), "{}", gateway.log());
}

#[test]
fn systemd_and_the_pid_file_know_which_process_it_is() {
    let dir = TempDir::new();
    let (socket, pid_file) = (dir.path().join("notify"), dir.path().join("odin.pid"));
    let supervisor = UnixDatagram::bind(&socket).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = || {
        let mut bytes = [0; 1024];
        let length = supervisor.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let written = || std::fs::read_to_string(&pid_file).unwrap().trim().parse::<u32>().unwrap();
    let mut gateway = Setup::echo()
        .env("NOTIFY_SOCKET", socket.to_str().unwrap())
        .argument("--pid-file")
        .argument(pid_file.to_str().unwrap())
        .start();
    let first = gateway.pid();
    assert_eq!(told(), "READY=1\nSTATUS=serving");
    assert_eq!(written(), first);
    gateway.signal(Signal::HUP);
    assert!(told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(told(), "READY=1\nSTATUS=serving generation 2");
    let good = gateway.config();
    gateway.rewrite("nonsense: 1");
    gateway.signal(Signal::HUP);
    assert!(told().starts_with("RELOADING=1"));
    assert!(told().starts_with("READY=1\nSTATUS=reload refused: "));
    gateway.rewrite(&good);
    let next = gateway.upgrade();
    assert_eq!(told(), format!("MAINPID={next}"));
    gateway.wait_ended(first);
    assert_eq!(written(), next, "the end of the first process left it alone");
    gateway.terminate();
    assert_eq!(told(), "STOPPING=1\nSTATUS=draining");
    gateway.wait_ended(next);
    assert!(!pid_file.exists());
}

#[test]
fn a_socket_from_systemd_is_shared_by_the_workers() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = format!(
        "server: {{listen: '{address}', workers: 2, pinCores: false}}\n\
         admin: {{listen: '127.0.0.1:0'}}\n\
         services:\n  - {{name: all, basePath: /, targets: ['builtin:echo']}}\n"
    );
    let mut shell = Command::new("sh");
    let activate = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"";
    shell.args(["-c", activate, "sh", BINARY]);
    shell.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
    let mut gateway = Gateway::spawn(TempDir::new(), &config, shell, &[]);
    assert_eq!(gateway.addr, address);
    for _ in 0..2 {
        for _ in 0..20 {
            assert_eq!(get(gateway.addr, "/").status, 200);
        }
        let before = gateway.pid();
        gateway.upgrade();
        gateway.wait_ended(before);
    }
    assert_eq!(get(gateway.addr, "/").status, 200);
}

#[test]
fn a_description_that_does_not_fit_is_refused() {
    for (text, words) in [
        ("{", "EOF"),
        (r#"{"from":1,"upgrades":0,"channel":200,"earlier":[],"sockets":[],"failing":[]}"#, "200"),
        (
            r#"{"from":1,"upgrades":0,"channel":1,"earlier":[],"sockets":[],"failing":[]}"#,
            "standard",
        ),
    ] {
        let output = Command::new(BINARY).env("ODIN_UPGRADE", text).output().unwrap();
        assert_eq!(output.status.code(), Some(64));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("ODIN_UPGRADE does not fit") && error.contains(words), "{error}");
    }
}
