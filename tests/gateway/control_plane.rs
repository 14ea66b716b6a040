//! The control plane at its borders: files, sockets, secrets, readiness, half-open callers.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Setup, TempDir, get, post, wait_until, wasm};

fn tagged(tag: &str) -> Vec<u8> {
    wasm::setting_headers(&format!(r#""X-Tag":["{tag}"]"#))
}

/// A start that must fail: what it says.
fn refused(dir: &TempDir, config: &str, env: &[(&str, &str)]) -> String {
    let path = dir.write("odin.yaml", config);
    let output = Command::new("timeout")
        .args(["20", env!("CARGO_BIN_EXE_odin"), "--config"])
        .arg(path)
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.status.code() != Some(124), "{said}");
    said
}

#[test]
fn listening_on_the_path_of_a_file_leaves_the_file() {
    let dir = TempDir::new();
    let file = dir.write("kept", "kept");
    let text = format!("server: {{listen: 'unix:{}'}}\nadmin: {{listen: off}}\n", file.display());
    let said = refused(&dir, &text, &[]);
    assert!(said.contains("not a socket; name another path"), "{said}");
    assert_eq!(std::fs::read(file).unwrap(), b"kept");
}

#[test]
fn a_damaged_compiled_module_is_compiled_again() {
    let cache = TempDir::new();
    let folder = cache.path().join("modules");
    let setup = || Setup::echo().cached_in(&folder).plugin("tag", tagged("one"), "type: request");
    let tag = |gateway: &crate::support::Gateway| {
        get(gateway.addr, "/").json()["headers"]["X-Tag"][0].clone()
    };
    assert_eq!(tag(&setup().start()), "one");
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 1);
    let mut bytes = std::fs::read(files[0].path()).unwrap();
    // The code, in the middle of it.
    for at in (1024..bytes.len()).step_by(7) {
        bytes[at] ^= 0xff;
    }
    std::fs::write(files[0].path(), bytes).unwrap();
    let gateway = setup().start();
    assert_eq!(tag(&gateway), "one");
    gateway.wait_log("is damaged; it is compiled again");
    drop(gateway);
    let gateway = setup().start();
    assert_eq!(tag(&gateway), "one");
    assert!(!gateway.log().contains("is damaged"), "it was mended: {}", gateway.log());
}

#[test]
fn no_call_of_the_admin_api_reads_what_is_no_file_on_a_disk() {
    let gateway = Setup::echo().env("ODIN_TEST_SECRET", "hunter2").start();
    let pipe = gateway.dir().path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_string_lossy().into_owned();
    let views = ["/proc/kmsg", "/proc/self/environ", "/sys/kernel/uevent_seqnum", "/dev/zero"];
    for path in views.into_iter().chain([&*pipe]) {
        let started = Instant::now();
        let body = format!(r#"{{"name":"p","path":"{path}"}}"#);
        let answer = gateway.call("POST", "/api/plugins/load", &body);
        assert_eq!(answer.status, 422, "{path}: {}", answer.text());
        let reason = answer.reason();
        assert!(reason.contains("regular file") || reason.contains("procfs"), "{path}: {reason}");
        assert!(started.elapsed() < Duration::from_secs(8), "{path}");
    }
    let answer = gateway.call("GET", "/api/plugins", "");
    assert!(answer.json()["plugins"].as_array().unwrap().is_empty(), "{}", answer.text());
}

#[test]
fn what_a_variable_holds_is_in_no_log_and_no_status() {
    let dir = TempDir::new();
    let text = "server: {listen: '127.0.0.1:0'}\nadmin: {listen: off}\nservices:\n  \
                - {name: a, targets: ['builtin:echo'], headers: {Authorization: '${SECRET}'}}\n\
                wasm: {maxInstances: '${SECRET}'}\n";
    let said = refused(&dir, text, &[("SECRET", "hunter2\n")]);
    assert!(said.contains("headers.Authorization") && said.contains("maxInstances"), "{said}");
    assert!(said.contains("${SECRET}") && !said.contains("hunter2"), "{said}");
    let gateway = Setup::echo()
        .env("SECRET", "/nonexistent/hunter2")
        .plugin_entry("name: p, path: '${SECRET}', config: {a: '${SECRET}'}")
        .start();
    for path in ["/api/status", "/readyz", "/api/config", "/api/plugins", "/metrics"] {
        let shown = gateway.call("GET", path, "").text();
        let told = path == "/api/config" || path == "/api/plugins";
        // The path of a plugin is a place, not a secret, in what is shown of it.
        assert!(told || !shown.contains("hunter2"), "{path}: {shown}");
    }
    let shown = gateway.call("GET", "/api/config", "").json();
    assert_eq!(shown["config"]["wasm"]["plugins"][0]["config"]["a"], "${SECRET}");
    assert!(!gateway.log().contains("hunter2"), "{}", gateway.log());
}

#[test]
fn a_variable_that_is_sent_is_a_text_in_the_file_too() {
    let setup = Setup::echo().env("SECRET", "hunter2");
    let gateway = setup.plugin("tag", tagged("one"), "type: request").start();
    let path = gateway.dir().write("${SECRET}/p.wasm", tagged("one"));
    let load = |keys: serde_json::Value| {
        let answer = gateway.call("POST", "/api/plugins/load", &keys.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        gateway.call("GET", "/api/plugins/p", "").json()
    };
    let keys = serde_json::json!({ "name": "p", "path": path, "config": { "a": "${SECRET}" } });
    assert_eq!(load(keys)["config"]["a"], "${SECRET}");
    // What was sent before is not in the file, and stays out of it.
    assert_eq!(gateway.call("DELETE", "/api/plugins/unload/p", "").status, 200);
    load(serde_json::json!({ "name": "p", "path": path, "persist": true }));
    assert!(gateway.config().contains("$${SECRET}/p.wasm"), "{}", gateway.config());
    let answer = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let file = gateway.call("GET", "/api/plugins/p", "").json()["file"].clone();
    assert_eq!(file, path.to_string_lossy().as_ref());
}

#[test]
fn readiness_without_the_token_is_the_status_alone() {
    let gateway =
        Setup::echo().admin("token: t0ken").plugin_entry("name: p, path: gone.wasm").start();
    let ready = gateway.call("GET", "/readyz", "");
    assert_eq!(ready.json(), serde_json::json!({ "status": "degraded" }));
    let ready = gateway.call_with("GET", "/readyz", "Authorization: Bearer t0ken\r\n", "");
    assert_eq!(ready.json()["failures"][0]["what"], "plugin p", "{}", ready.text());
}

#[test]
fn the_pid_file_and_the_access_log_follow_no_links_and_have_their_mode() {
    let dir = TempDir::new();
    let victim = dir.write("victim", "kept");
    let (pid, new) = (dir.path().join("pid"), dir.path().join("pid.new"));
    symlink(&victim, &pid).unwrap();
    symlink(&victim, &new).unwrap();
    let log = dir.path().join("access.log");
    let mut gateway = Setup::echo()
        .logging(&format!("accessLog: {}", log.display()))
        .argument("--pid-file")
        .argument(pid.to_string_lossy())
        .start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    wait_until("the line is written", || std::fs::read(&log).is_ok_and(|log| !log.is_empty()));
    let mode = std::fs::metadata(&log).unwrap().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
    let text = std::fs::read_to_string(&pid).unwrap();
    assert_eq!(text.trim(), gateway.pid().to_string());
    assert!(!pid.is_symlink());
    assert_eq!(std::fs::read(&victim).unwrap(), b"kept");
    gateway.terminate();
    assert!(gateway.wait_exit().success());
    assert!(!pid.exists());
    // A link at the access log's place is a finding, and is not written to.
    let link = dir.path().join("link.log");
    symlink(&victim, &link).unwrap();
    let gateway = Setup::echo().logging(&format!("accessLog: {}", link.display())).start();
    let ready = gateway.call("GET", "/readyz", "").text();
    assert!(ready.contains("it is a link; name a regular file"), "{ready}");
    assert_eq!(std::fs::read(&victim).unwrap(), b"kept");
}

#[test]
fn patterns_that_are_too_much_together_are_refused_and_later_changes_are_taken() {
    let gateway = Setup::echo().plugin("tag", tagged("one"), "type: request").start();
    let pattern = r#""^/[a-z]{1,400}/[a-z]{1,400}$""#;
    let list = vec![pattern; 150].join(",");
    let body = format!(r#"{{"name":"tag","path":"tag.wasm","allowedUrls":[{list}]}}"#);
    let answer = gateway.call("POST", "/api/plugins/load", &body);
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.reason().contains("got 150 patterns"), "{}", answer.text());
    let body = r#"{"name":"tag","path":"tag.wasm","allowedUrls":["^/x"]}"#;
    assert_eq!(gateway.call("POST", "/api/plugins/load", body).status, 200);
}

#[test]
fn half_open_heads_at_the_admin_listener_leave_the_data_plane_its_descriptors() {
    let gateway = Setup::echo().open_files(600).start();
    let mut half_open = Vec::new();
    for _ in 0..2000 {
        // One that is turned away is as good as one that is held.
        if let Ok(mut stream) = TcpStream::connect(gateway.admin)
            && stream.write_all(b"G").is_ok()
        {
            half_open.push(stream);
        }
    }
    for _ in 0..20 {
        assert_eq!(get(gateway.addr, "/").status, 200);
        assert_eq!(post(gateway.addr, "/", "body").status, 200);
    }
    // Who has something to ask is let in before those who have not.
    let answer = gateway.call("GET", "/api/status", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!gateway.log().contains("cannot accept"), "{}", gateway.log());
    let held = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count();
    assert!(held < 300, "{held} descriptors are open");
}

/// A module within all bounds that takes long to compile: functions of half a megabyte.
fn slow() -> Vec<u8> {
    fn leb(mut number: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number > 0x7f {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }
    let section = |id: u8, content: Vec<u8>| [vec![id], leb(content.len()), content].concat();
    const COUNT: usize = 30;
    // Calls itself on what it has computed, so that nothing of it can be left out.
    let step = [0x20, 0, 0x20, 1, 0x6c, 0x41, 3, 0x6a, 0x10, 0, 0x21, 0, 0x20, 0, 0x21, 1];
    let body =
        [&[1, 1, 0x7f][..], &step.repeat(500 * 1024 / step.len()), &[0x20, 0, 0x0b]].concat();
    let body = [leb(body.len()), body].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, vec![1, 0x60, 1, 0x7f, 1, 0x7f]),
        section(3, [leb(COUNT), vec![0; COUNT]].concat()),
        section(10, [leb(COUNT), body.repeat(COUNT)].concat()),
    ]
    .concat()
}

/// Whether a module is being compiled: that has a thread of its own.
fn compiles(pid: u32) -> bool {
    let mut tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks.any(|task| {
        let name = std::fs::read_to_string(task.path().join("comm"));
        name.is_ok_and(|name| name.starts_with("compiler"))
    })
}

#[test]
fn a_module_that_compiles_for_long_holds_up_no_end() {
    let mut gateway = Setup::echo().drain_timeout("1s").start();
    let path = gateway.dir().write("slow.wasm", slow());
    let admin = gateway.admin;
    let body = format!(r#"{{"name":"slow","path":"{}"}}"#, path.display());
    let mut caller = crate::support::Client::connect(admin);
    caller.send(format!(
        "POST /api/plugins/load HTTP/1.1\r\nHost: {admin}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    wait_until("it is being compiled", || compiles(gateway.pid()));
    assert_eq!(get(gateway.addr, "/").status, 200);
    let started = Instant::now();
    gateway.terminate();
    assert!(gateway.wait_exit().success());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_signal_ends_a_gateway_that_still_compiles_for_its_start() {
    let dir = TempDir::new();
    let path = dir.write("slow.wasm", slow());
    let text = format!(
        "server: {{listen: '127.0.0.1:0'}}\nadmin: {{listen: off}}\n\
         wasm: {{cacheEnabled: false, plugins: [{{name: slow, path: '{}'}}]}}\n\
         services: [{{name: a, targets: ['builtin:echo']}}]\n",
        path.display()
    );
    let config = dir.write("odin.yaml", text);
    let mut command = Command::new(env!("CARGO_BIN_EXE_odin"));
    let mut child = command.arg("--config").arg(config).spawn().unwrap();
    wait_until("it is being compiled", || compiles(child.id()));
    let started = Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
