//! What an author is told of a plugin that fails: where, why, and by whichever door he looks.

use std::path::Path;
use std::process::Command;

use crate::support::{Setup, TempDir, get, wait_until, wasm};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Traps two calls below `execute`.
const DEEP: &str = r#"(module (memory (export "memory") 1)
    (func $divide (unreachable))
    (func $check (call $divide))
    (func $execute (export "execute") (param i32 i32) (result i64) (call $check) (i64.const 0)))"#;

/// Writes to standard error, the last line without an end, and traps.
fn crying(text: &str) -> Vec<u8> {
    wasm::module(&format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write"
                (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00\{length:02x}\00\00\00")
            (data (i32.const 16) "{text}")
            (func $cry
                (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
                (unreachable))
            (func $execute (export "execute") (param i32 i32) (result i64)
                (call $cry) (i64.const 0)))"#,
        length = text.replace("\\n", "n").len(),
    ))
}

/// The same module without its section of names.
fn stripped(module: &[u8]) -> Vec<u8> {
    let name = module.windows(5).rposition(|window| window == b"\x04name").unwrap();
    // The section's identity and its size, one byte each in a module that is as small.
    module[..name - 2].to_vec()
}

#[test]
fn a_trap_tells_the_functions_that_were_running() {
    let module = wasm::module(DEEP);
    for (module, place) in [
        (module.clone(), "executed, in divide, called by check, execute"),
        (stripped(&module), "the module was stripped of names), called by function 1, function 2"),
    ] {
        let gateway = Setup::echo().plugin("deep", &module, "failureMode: closed").start();
        let answer = get(gateway.addr, "/");
        assert_eq!(answer.status, 503);
        assert!(!answer.text().contains("divide"), "the client is not told: {}", answer.text());
        gateway.wait_log(place);
        wait_until("the status has it", || {
            let status = gateway.call("GET", "/api/status", "").json();
            let failure = status["plugins"][0]["lastFailure"].clone();
            let text = failure["text"].as_str().unwrap_or_default().to_owned();
            failure["kind"] == "trap" && text.contains(place)
        });
        let dir = TempDir::new();
        dir.write("plugin.wasm", &module);
        dir.write("input.json", r#"{"input":{}}"#);
        dir.write("tests/cases.yaml", "plugin: ../plugin.wasm\ncases: [{name: a}]");
        for args in [&["test-plugin", "plugin.wasm", "input.json"][..], &["test"]] {
            let output = odin_cli(dir.path(), args);
            assert!(output.contains(place), "{output}");
        }
    }
}

fn odin_cli(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_odin-cli"));
    let output = command.current_dir(dir).args(args).output().unwrap();
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat()
}

#[test]
fn a_trap_tells_what_the_guest_wrote_last() {
    let module = crying("panic: no such user\\n\\ngoroutine 1 [running]:\\nmain.find()\\nexit");
    let gateway = Setup::echo().plugin("it", module, "failureMode: closed").start();
    assert_eq!(get(gateway.addr, "/").status, 503);
    gateway.wait_log(
        "panic: no such user / goroutine 1 [running]: / main.find() (the plugin trapped: wasm \
         `unreachable` instruction executed, in cry, called by execute) (kind trap, failure mode \
         closed)",
    );
    // Of the call alone: what an earlier one wrote is not said again.
    let module = crying("warning\\nexit");
    let gateway = Setup::echo().plugin("it", module, "failureMode: closed").start();
    (0..2).for_each(|_| assert_eq!(get(gateway.addr, "/").status, 503));
    gateway.wait_log("warning / exit (the plugin trapped");
    assert!(!gateway.log().contains("exit / "), "{}", gateway.log());
}

#[test]
fn a_plugin_that_is_left_alone_says_why_again() {
    let gateway =
        Setup::echo().plugin("it", wasm::module(DEEP), "failureMode: closed").workers(1).start();
    wait_until("it is backed off", || {
        assert_eq!(get(gateway.addr, "/").status, 503);
        gateway.log().contains("backed off")
    });
    gateway.wait_log("; the last failure: the plugin trapped: wasm `unreachable`");
    assert!(!gateway.log().contains("last failure: backed off"), "{}", gateway.log());
}

/// A shipped plugin and a config that it refuses, with what it says of it.
const REFUSED: [(&str, &str, &str); 4] = [
    ("rate-limiter", "{window: soon}", "config: "),
    ("header-injection-go", "{addHeaders: {X-A: {}}}", "config: "),
    ("api-key-auth", "{validKeys: ['sha256:12']}", "config: validKeys[0]: "),
    ("header-injection-c", "{addHeaders: {X-A: {}}}", "config: "),
];

#[test]
fn a_config_that_a_plugin_refuses_is_refused_when_it_is_loaded() {
    for (name, config, told) in REFUSED {
        let module = std::fs::read(format!("{ROOT}/plugins/dist/{name}.wasm")).unwrap();
        // From the start: before any request, and each is then decided by the failure mode.
        let keys = format!("failureMode: closed, config: {config}");
        let gateway = Setup::echo().plugin(name, &module, &keys).start();
        gateway.wait_log(told);
        assert_eq!(get(gateway.addr, "/").status, 503, "{name}");
        let status = gateway.call("GET", "/api/status", "").json();
        let failure = status["plugins"][0]["lastFailure"]["text"].as_str().unwrap().to_owned();
        assert!(failure.starts_with(told), "{name}: {failure}");
        let keys = format!("failureMode: open, config: {config}");
        let gateway = Setup::echo().plugin(name, &module, &keys).start();
        assert_eq!(get(gateway.addr, "/").status, 200, "{name}");
        // By a change: it is not taken.
        let gateway = Setup::echo().start();
        let file = gateway.dir().write("new.wasm", &module);
        let config: serde_json::Value = yaml_serde::from_str(config).unwrap();
        let body = serde_json::json!({"name": name, "path": file, "config": config});
        let answer = gateway.call("POST", "/api/plugins/load", &body.to_string());
        assert!(answer.status >= 400, "{name}: {}", answer.text());
        assert!(answer.reason().contains(told), "{name}: {}", answer.text());
        assert_eq!(get(gateway.addr, "/").status, 200, "{name}");
    }
}

/// The documentation's sample in Go, which `//export`s.
fn go_sample(export: &str) -> (TempDir, Result<Vec<u8>, String>) {
    let source =
        std::fs::read_to_string(format!("{ROOT}/plugins/page-samples/go/main.go")).unwrap();
    let dir = TempDir::new();
    dir.write("main.go", source.replace("//go:wasmexport ", export));
    dir.write("go.mod", "module sample\n\ngo 1.24\n");
    let environment = format!("{ROOT}/plugins/target/toolchain/go.env");
    let build = format!(
        ". {environment} && GOOS=wasip1 GOARCH=wasm $GO build -buildmode=c-shared -o plugin.wasm ."
    );
    let output = Command::new("sh").args(["-c", &build]).current_dir(dir.path()).output().unwrap();
    let built = std::fs::read(dir.path().join("plugin.wasm"));
    (dir, built.map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn the_documentations_go_sample_is_told_the_line_that_today_s_toolchain_wants() {
    let (dir, module) = go_sample("//export ");
    module.unwrap();
    let told = odin_cli(dir.path(), &["inspect", "plugin.wasm"]);
    assert!(told.contains("does not load: the module exports no function execute"), "{told}");
    let cure = told.lines().find(|line| line.starts_with("//go:wasmexport ")).unwrap();
    assert!(told.contains("go build -buildmode=c-shared"), "{told}");
    let (dir, module) = go_sample(cure.strip_suffix("execute").unwrap());
    module.unwrap();
    let told = odin_cli(dir.path(), &["inspect", "plugin.wasm"]);
    assert!(told.contains("loads: JSON ABI"), "{told}");
}
