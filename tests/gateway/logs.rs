//! What the gateway writes down: the access log, and its own log as JSON.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::metrics::{scrape, value};
use crate::support::{Client, Gate, Gateway, Origin, Setup, get, get_with, wait_until, wasm};

/// The lines of a file, once there are so many.
fn lines(path: &Path, count: usize) -> Vec<String> {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    wait_until("the lines are written", || read().lines().count() >= count);
    read().lines().map(str::to_owned).collect()
}

/// The value of a field in a line of text.
fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    line.split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn logging_to_file(setup: Setup, more: &str) -> (Gateway, std::path::PathBuf) {
    let path = setup.dir.path().join("access.log");
    let keys = format!("accessLog: '{}', {more}", path.display());
    (setup.logging(&keys).start(), path)
}

#[test]
fn each_request_leaves_a_line_in_the_access_log() {
    let origin = Origin::ok();
    let (gateway, path) = logging_to_file(Setup::to(&origin), "");
    let answer = get_with(gateway.addr, "/a/b?secret=1", "X-Request-Id: r-17\r\n");
    let line = lines(&path, 1).remove(0);
    for (name, value) in [
        ("request_id", "r-17"),
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("path", "/a/b"),
        ("status", "200"),
        ("body_bytes_sent", &answer.body.len().to_string()),
        ("service", "all"),
        ("upstream", &origin.addr().to_string()),
        ("error", ""),
    ] {
        assert_eq!(field(&line, name).unwrap_or_default(), value, "{name} in {line}");
    }
    assert!(field(&line, "duration_ms").unwrap().parse::<f64>().unwrap() > 0.0, "{line}");
    assert!(field(&line, "time").unwrap().ends_with('Z'), "{line}");
    assert!(!line.contains("secret"), "the query is left out unless it is asked for: {line}");
}

#[test]
fn a_request_that_cannot_be_read_leaves_a_line_too() {
    let (gateway, path) = logging_to_file(Setup::echo(), "");
    let mut client = Client::connect(gateway.addr);
    client.send("NOT HTTP\r\n\r\n");
    assert_eq!(client.response().status, 400);
    let line = lines(&path, 1).remove(0);
    assert_eq!(field(&line, "status"), Some("400"), "{line}");
    assert!(line.contains("error="), "{line}");
    assert_eq!(field(&line, "method"), None, "{line}");
}

#[test]
fn a_line_tells_nothing_of_the_request_before() {
    let origin = Origin::ok();
    let (gateway, path) = logging_to_file(Setup::to(&origin), "");
    for refused in ["NOT HTTP\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"] {
        get_with(gateway.addr, "/before", "X-Request-Id: earlier\r\n");
        let mut client = Client::connect(gateway.addr);
        client.send(refused);
        assert_eq!(client.response().status, 400);
    }
    for line in lines(&path, 4).iter().filter(|line| line.contains("status=400")) {
        for name in ["upstream", "service"] {
            assert_eq!(field(line, name).unwrap_or_default(), "", "{name} in {line}");
        }
        assert!(!line.contains("/before") && !line.contains("earlier"), "{line}");
    }
}

#[test]
fn the_fields_are_those_that_were_asked_for_in_their_order() {
    let setup = Setup::echo();
    let (gateway, path) =
        logging_to_file(setup, "format: json, accessLogFields: [status, query, user_agent]");
    get_with(gateway.addr, "/a?b=c", "User-Agent: \"a\" b\r\n");
    let line = lines(&path, 1).remove(0);
    assert_eq!(line, r#"{"status":200,"query":"b=c","user_agent":"\"a\" b"}"#);
}

#[test]
fn lines_go_to_standard_output_as_well() {
    let gateway = Setup::echo().logging("accessLog: stdout, accessLogFields: [path]").start();
    get(gateway.addr, "/seen");
    gateway.wait_log("path=/seen\n");
}

#[test]
fn a_hangup_opens_the_file_again() {
    let (gateway, path) = logging_to_file(Setup::echo(), "accessLogFields: [path]");
    get(gateway.addr, "/before");
    assert_eq!(lines(&path, 1), ["path=/before"]);
    let moved = path.with_extension("1");
    std::fs::rename(&path, &moved).unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_log("configuration reloaded (SIGHUP)");
    get(gateway.addr, "/after");
    assert_eq!(lines(&path, 1), ["path=/after"]);
    assert_eq!(lines(&moved, 1), ["path=/before"]);
}

/// Rotation must not depend on what somebody is writing into the configuration just now.
#[test]
fn a_rotation_opens_the_file_again_whatever_the_configuration_file_is() {
    let (gateway, path) = logging_to_file(Setup::echo(), "accessLogFields: [path]");
    get(gateway.addr, "/before");
    assert_eq!(lines(&path, 1), ["path=/before"]);
    gateway.rewrite("server: [unfinished");
    let moved = path.with_extension("1");
    std::fs::rename(&path, &moved).unwrap();
    gateway.signal(Signal::USR1);
    // Without a request: what compresses the old file waits for the new one.
    wait_until("there is a new file", || path.exists());
    gateway.wait_log("is opened again");
    get(gateway.addr, "/after");
    assert_eq!(lines(&path, 1), ["path=/after"]);
    assert_eq!(lines(&moved, 1), ["path=/before"]);
}

#[test]
fn a_file_that_cannot_be_opened_again_is_written_on_and_said() {
    let (gateway, path) = logging_to_file(Setup::echo(), "accessLogFields: [path]");
    get(gateway.addr, "/before");
    assert_eq!(lines(&path, 1), ["path=/before"]);
    let moved = path.with_extension("1");
    std::fs::rename(&path, &moved).unwrap();
    std::fs::create_dir(&path).unwrap();
    gateway.signal(Signal::USR1);
    gateway.wait_log("not opened again, the old file is written on");
    get(gateway.addr, "/meanwhile");
    assert_eq!(lines(&moved, 2), ["path=/before", "path=/meanwhile"]);
    // The cure that the error names.
    std::fs::remove_dir(&path).unwrap();
    gateway.signal(Signal::USR1);
    wait_until("there is a new file", || path.is_file());
    get(gateway.addr, "/after");
    assert_eq!(lines(&path, 1), ["path=/after"]);
}

#[test]
fn a_rotation_while_a_stop_drains_loses_no_line() {
    let (asked, answers) = (Gate::default(), Gate::default());
    let origin = {
        let (asked, answers) = (asked.clone(), answers.clone());
        Origin::scripted(move |connection, _| {
            connection.request();
            asked.open();
            answers.wait();
            connection.answer("late");
        })
    };
    let (mut gateway, path) = logging_to_file(Setup::to(&origin), "accessLogFields: [path]");
    let mut client = Client::connect(gateway.addr);
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    asked.wait();
    gateway.terminate();
    gateway.wait_log("draining");
    std::fs::rename(&path, path.with_extension("1")).unwrap();
    gateway.signal(Signal::USR1);
    wait_until("there is a new file", || path.exists());
    answers.open();
    assert_eq!(client.response().status, 200);
    gateway.wait_exit();
    assert_eq!(lines(&path, 1), ["path=/slow"]);
}

#[test]
fn lines_are_written_before_the_process_ends() {
    let (mut gateway, path) = logging_to_file(Setup::echo(), "accessLogFields: [path]");
    for _ in 0..500 {
        get(gateway.addr, "/x");
    }
    gateway.terminate();
    gateway.wait_exit();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 500);
}

#[test]
fn a_log_that_cannot_be_opened_refuses_a_reload_and_is_said() {
    let (gateway, path) = logging_to_file(Setup::echo(), "");
    let good = gateway.config();
    gateway.rewrite(&good.replace("access.log", "no/such/folder.log"));
    let answer = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(answer.status, 422, "{}", answer.text());
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("logging.accessLog") && error.contains("cannot append"), "{error}");
    get(gateway.addr, "/still");
    assert!(lines(&path, 1)[0].contains("/still"));
}

#[test]
fn the_log_of_the_process_is_json_when_that_is_asked_for() {
    let setup = Setup::echo().plugin("quiet", wasm::passing(), "type: request");
    let setup = setup.logging("format: json");
    let gateway = setup.start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    let log = gateway.log();
    assert!(log.lines().count() > 2, "{log}");
    for line in log.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(value["level"].is_string() && value["timestamp"].is_string(), "{line}");
    }
}

/// A guest that writes one line of each level, 0 to 4, called `line of level N`.
fn talking() -> Vec<u8> {
    wasm::module(
        r#"(module
            (import "env" "log" (func $log (param i32 i32 i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "line of level 0")
            (data (i32.const 20) "line of level 1")
            (data (i32.const 40) "line of level 2")
            (data (i32.const 60) "line of level 3")
            (data (i32.const 80) "line of level 4")
            (data (i32.const 100) "{\22continue\22:true}")
            (func (export "execute") (param i32 i32) (result i64)
              (call $log (i32.const 0) (i32.const 0) (i32.const 15))
              (call $log (i32.const 1) (i32.const 20) (i32.const 15))
              (call $log (i32.const 2) (i32.const 40) (i32.const 15))
              (call $log (i32.const 3) (i32.const 60) (i32.const 15))
              (call $log (i32.const 4) (i32.const 80) (i32.const 15))
              (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100))))"#,
    )
}

/// The levels of the plugin's lines for one more request.
fn levels_of_one_request(gateway: &Gateway) -> String {
    let start = gateway.log().len();
    let levels = || -> String {
        let log = gateway.log().split_off(start);
        let found = log.lines().filter_map(|line| line.split_once("line of level "));
        found.filter_map(|(_, rest)| rest.chars().next()).collect()
    };
    assert_eq!(get(gateway.addr, "/").status, 200);
    // The gravest is the last, and always there.
    wait_until("the gravest line is written", || levels().contains('4'));
    levels()
}

#[test]
fn the_level_says_which_lines_of_plugins_are_shown_and_a_reload_changes_it() {
    let gateway = Setup::echo().log_level("info").plugin("p", talking(), "type: auth").start();
    assert_eq!(levels_of_one_request(&gateway), "234");
    let config = gateway.config();
    for (level, shown) in [("debug", "1234"), ("trace", "01234"), ("error", "4"), ("warn", "34")] {
        gateway.rewrite(&config.replace("level: info", &format!("level: {level}")));
        assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
        assert_eq!(levels_of_one_request(&gateway), shown, "{level}");
    }
}

#[test]
fn a_plugins_own_config_shows_more_of_it() {
    let keys = "type: auth, config: {debug: true}";
    let gateway = Setup::echo().log_level("info").plugin("p", talking(), keys).start();
    assert_eq!(levels_of_one_request(&gateway), "1234");
}

#[test]
fn lines_of_plugins_are_json_with_plugin_request_and_level() {
    let setup = Setup::echo().log_level("debug").logging("format: json");
    let gateway = setup.plugin("p", talking(), "type: auth").start();
    let answer = get_with(gateway.addr, "/", "X-Request-Id: r-\"1\"\r\n");
    assert_eq!(answer.status, 200);
    gateway.wait_log("line of level 4");
    let log = gateway.log();
    let told = |text: &str| -> Value {
        let line = log.lines().find(|line| line.contains(text)).unwrap();
        serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))
    };
    for (text, level) in [
        ("line of level 1", "DEBUG"),
        ("line of level 2", "INFO"),
        ("line of level 3", "WARN"),
        ("line of level 4", "ERROR"),
    ] {
        let line = told(text);
        assert_eq!((&line["plugin"], &line["level"]), (&"p".into(), &level.into()), "{line}");
        assert_eq!((&line["message"], &line["request_id"]), (&text.into(), &"r-\"1\"".into()));
        assert!(line.get("trace_id").is_none(), "no trace, no field: {line}");
    }
}

#[test]
fn a_disk_that_stands_still_costs_lines_and_no_request() {
    let setup = Setup::echo();
    let path = setup.dir.path().join("access.log");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    // Opened and never read: what is written fills the pipe and then stands still.
    let both = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let keys = format!("accessLog: '{}', accessLogFields: [path]", path.display());
    let gateway = setup.logging(&keys).start();
    let mut client = Client::connect(gateway.addr);
    let path = format!("/{}", "x".repeat(7000));
    // More than the pipe and the queue of 8 MiB hold.
    for _ in 0..1500 {
        assert_eq!(client.get(&path).status, 200);
    }
    wait_until("lines are dropped and counted", || {
        value(&scrape(&gateway), r#"odin_access_log_lines_dropped_total{worker="0"}"#) > 0.0
    });
    drop(both);
}
