//! `odin-cli` from an empty folder to a plugin that passes: `new`, `test`, `inspect`, `bench`.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{TempDir, wasm};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn odin_cli(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_odin-cli")).current_dir(dir).args(args).output().unwrap()
}

/// What a command that must end with `code` has said.
fn said(output: &Output, code: i32) -> String {
    let streams = [&output.stdout, &output.stderr];
    let text = streams.map(|bytes| String::from_utf8_lossy(bytes)).concat();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[test]
fn the_cases_of_all_shipped_plugins_pass_in_the_gateways_own_code() {
    let examples = Path::new(ROOT).join("plugins/examples");
    let mut count = 0;
    for entry in examples.read_dir().unwrap() {
        let dir = entry.unwrap().path();
        if dir.join("tests").is_dir() {
            let text = said(&odin_cli(&dir, &["test"]), 0);
            assert!(text.contains(", 0 failed") && !text.contains("\n0 passed"), "{text}");
            count += 1;
        }
    }
    assert_eq!(count, 11, "plugins/examples has eleven plugins");
}

#[test]
fn a_case_that_fails_shows_both_sides_and_ends_with_1() {
    let dir = TempDir::new();
    dir.write("plugin.wasm", wasm::setting_headers(r#""X-A":["b"]"#));
    dir.write(
        "tests/cases.yaml",
        "plugin: ../plugin.wasm\ncases:\n  - {name: right, expect: {headers: {X-A: b}}}\n  \
         - {name: <wrong>, expect: {headers: {X-A: c}, status: 200}}\n",
    );
    let output = odin_cli(dir.path(), &["test", ".", "--junit", "report.xml"]);
    let text = said(&output, 1);
    assert!(text.contains("header X-A differs") && text.contains("1 passed, 1 failed"), "{text}");
    assert!(text.contains("-   \"c\"") && text.contains("+   \"b\""), "{text}");
    assert!(text.contains("status: expected 200, got null"), "{text}");
    let xml = std::fs::read_to_string(dir.path().join("report.xml")).unwrap();
    assert!(xml.contains("tests=\"2\" failures=\"1\"") && xml.contains("&lt;wrong&gt;"), "{xml}");
}

#[test]
fn cases_that_cannot_be_read_end_with_64_and_the_reason() {
    for (cases, reason) in [
        ("plugin: a.wasm\ncases: [{name: a, expekt: {}}]", "expekt"),
        ("plugin: nowhere.wasm\ncases: [{name: a}]", "cannot read"),
        ("plugin: a.wasm\ncases: [{name: a, steps: []}]", "empty list of steps"),
        ("plugin: a.wasm\ntimeout: 5\ncases: [{name: a}]", "cases.yaml: timeout: a duration"),
        ("plugin: a.wasm\ntype: guard\ncases: [{name: a}]", "cases.yaml: type: a type is auth"),
        (
            "plugin: a.wasm\nmaxMemoryPages: 0\ncases: [{name: a}]",
            "maxMemoryPages: got 0, expected 1 to",
        ),
    ] {
        let dir = TempDir::new();
        dir.write("tests/cases.yaml", cases);
        let text = said(&odin_cli(dir.path(), &["test"]), 64);
        assert!(text.contains(reason), "{text}");
    }
    let text = said(&odin_cli(TempDir::new().path(), &["test"]), 64);
    assert!(text.contains("has no cases"), "{text}");
}

/// `new`, `make`, `test`: in a folder outside of this repository.
fn makes_a_project_that_passes(language: &str) {
    let dir = TempDir::new();
    said(&odin_cli(dir.path(), &["new", "hello", "--lang", language]), 0);
    let project = dir.path().join("hello");
    let built = Command::new("make")
        .current_dir(&project)
        // What is compiled for the shipped plugins is not compiled again.
        .env("CARGO_TARGET_DIR", format!("{ROOT}/plugins/target"))
        .env_remove("RUSTFLAGS")
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap();
    said(&built, 0);
    let text = said(&odin_cli(&project, &["test", "."]), 0);
    assert!(text.contains("1 passed, 0 failed"), "{text}");
    let text = said(&odin_cli(&project, &["inspect", "build/hello.wasm"]), 0);
    assert!(text.contains("loads: JSON ABI"), "{text}");
    let call = ["test-plugin", "build/hello.wasm", "input.json"];
    let text = said(&odin_cli(&project, &call), 0);
    assert!(text.contains("X-Hello") && text.contains("GET"), "{text}");
    assert!(project.join("tests/CASES.md").is_file());
    let gateway = Command::new(env!("CARGO_BIN_EXE_odin"))
        .args(["check", "gateway.yaml"])
        .current_dir(&project)
        .output()
        .unwrap();
    said(&gateway, 0);
}

#[test]
fn a_new_rust_project_builds_and_passes() {
    makes_a_project_that_passes("rust");
}

#[test]
fn a_new_go_project_builds_and_passes() {
    makes_a_project_that_passes("go");
}

#[test]
fn a_new_assemblyscript_project_builds_and_passes() {
    makes_a_project_that_passes("assemblyscript");
}

#[test]
fn a_new_c_project_builds_and_passes() {
    makes_a_project_that_passes("c");
}

#[test]
fn a_name_that_cannot_be_a_projects_is_refused() {
    let dir = TempDir::new();
    for name in ["", "Hello", "a/b", "../a", "1a", "a b"] {
        let text = said(&odin_cli(dir.path(), &["new", "--lang", "c", "--", name]), 64);
        assert!(text.contains("cannot be a project's name"), "{text}");
    }
    said(&odin_cli(dir.path(), &["new", "a", "--lang", "c"]), 0);
    let text = said(&odin_cli(dir.path(), &["new", "a", "--lang", "c"]), 64);
    assert!(text.contains("there is a a already"), "{text}");
}

#[test]
fn inspect_names_what_no_gateway_offers() {
    let dir = TempDir::new();
    dir.write(
        "plugin.wasm",
        wasm::module(
            r#"(module (import "env" "launch" (func (param i32)))
                (import "env" "http_call" (func (param i32 i32) (result i64)))
                (memory (export "memory") 2)
                (func (export "execute") (param i32 i32) (result i64) (i64.const 0)))"#,
        ),
    );
    let text = said(&odin_cli(dir.path(), &["inspect", "plugin.wasm"]), 1);
    assert!(text.contains("does not load") && text.contains("env.launch"), "{text}");
    assert!(text.contains("hosts and services (http_call)"), "{text}");
    assert!(text.contains("memory: 2 pages"), "{text}");
}

#[test]
fn inspect_warns_of_what_is_odd_for_a_plugin() {
    let dir = TempDir::new();
    let importing = |names: &[&str]| {
        let import = |name: &&str| {
            format!(r#"(import "wasi_snapshot_preview1" "{name}" (func (param i32) (result i32)))"#)
        };
        wasm::module(&format!(
            r#"(module {} (memory (export "memory") 2)
                (func (export "execute") (param i32 i32) (result i64) (i64.const 0)))"#,
            names.iter().map(import).collect::<String>()
        ))
    };
    dir.write("odd.wasm", importing(&["sock_accept", "path_unlink_file", "fd_close"]));
    let text = said(&odin_cli(dir.path(), &["inspect", "odd.wasm"]), 0);
    let warnings: Vec<_> = text.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 2, "{text}");
    assert!(warnings[0].contains("sock_accept asks for the network"), "{text}");
    assert!(warnings[1].contains("path_unlink_file asks for changes of files"), "{text}");
    for shipped in ["header-injection-go", "header-injection-rust", "enrich-response"] {
        let module = format!("{ROOT}/plugins/dist/{shipped}.wasm");
        let text = said(&odin_cli(dir.path(), &["inspect", &module]), 0);
        assert!(!text.contains("warning: "), "{text}");
    }
}

#[test]
fn inspect_says_of_an_envoy_filter_that_it_is_one() {
    let dir = TempDir::new();
    let filter = r#"(module (memory (export "memory") 2)
        (func (export "proxy_abi_version_0_2_1")) (func (export "_initialize")))"#;
    dir.write("filter.wasm", wasm::module(filter));
    let text = said(&odin_cli(dir.path(), &["inspect", "filter.wasm"]), 0);
    assert!(text.contains("proxy-wasm ABI 0.2.1; a library (_initialize)"), "{text}");
}

#[test]
fn bench_tells_what_a_call_a_start_and_the_memory_cost() {
    let module = format!("{ROOT}/plugins/dist/header-injection-rust.wasm");
    let config = r#"{"addHeaders":{"X-A":"b"}}"#;
    let args = ["bench", &module, "--calls", "200", "--config", config];
    let text = said(&odin_cli(Path::new(ROOT), &args), 0);
    for word in ["p50", "p99", "memory", "start", "compile"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn a_name_that_a_toolchain_has_for_itself_is_prefixed_within_the_project() {
    for (name, language, file, line) in [
        ("plugin", "go", "go.mod", "module my-plugin"),
        ("odin-plugin", "rust", "Cargo.toml", "name = \"my-odin-plugin\""),
        ("assemblyscript", "assemblyscript", "package.json", "\"name\": \"my-assemblyscript\""),
        ("all", "go", "go.mod", "module my-all"),
        ("tool", "go", "go.mod", "module my-tool"),
        ("test", "rust", "Cargo.toml", "name = \"my-test\""),
        ("core", "rust", "Cargo.toml", "name = \"my-core\""),
        ("mine", "go", "go.mod", "module mine"),
    ] {
        let dir = TempDir::new();
        said(&odin_cli(dir.path(), &["new", name, "--lang", language]), 0);
        let text = std::fs::read_to_string(dir.path().join(name).join(file)).unwrap();
        assert!(text.contains(line), "{name}: {text}");
    }
}

#[test]
fn every_standard_package_of_the_installed_go_is_prefixed() {
    let environment = format!("{ROOT}/plugins/target/toolchain/go.env");
    let script = format!("[ -f {environment} ] && . {environment}; ${{GO:-go}} list std");
    let listed = Command::new("sh").args(["-c", &script]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let packages = listed.lines().map(|path| path.split('/').next().unwrap());
    let packages: std::collections::BTreeSet<_> = packages.collect();
    assert!(packages.len() > 30, "{listed}");
    let dir = TempDir::new();
    for name in packages {
        said(&odin_cli(dir.path(), &["new", name, "--lang", "go"]), 0);
        let module = std::fs::read_to_string(dir.path().join(name).join("go.mod")).unwrap();
        assert!(module.contains(&format!("module my-{name}")), "{name}: {module}");
    }
}

/// Reads the file and calls the host that its input names, and fails where it may not.
const REACHING: &str = r#"(module
    (import "env" "read_file" (func $read (param i32 i32) (result i64)))
    (import "env" "http_call" (func $call (param i32 i32) (result i64)))
    (memory (export "memory") 1)
    (data (i32.const 0) "/etc/key")
    (data (i32.const 16) "{\22url\22:\22http://users/\22}")
    (data (i32.const 100) "{\22continue\22:true}")
    (func (export "execute") (param i32 i32) (result i64)
        (if (i64.eqz (call $read (i32.const 0) (i32.const 8))) (then unreachable))
        (drop (call $call (i32.const 16) (i32.const 23)))
        (i64.const 73014444132)))"#;

#[test]
fn a_case_reaches_what_a_gateway_would_and_nothing_else() {
    let dir = TempDir::new();
    dir.write("plugin.wasm", wasm::module(REACHING));
    for (config, host, told) in [
        ("{file: /etc/key, url: 'http://users'}", "", "1 passed"),
        ("{allowedHosts: [users], file: /etc/key}", "", "1 passed"),
        ("{file: /etc/key}", ", services: [users]", "1 passed"),
        // The file is not named by the config.
        ("{url: 'http://users'}", "", "the plugin trapped"),
        ("{file: /etc/key}", "", "users is not allowed: the plugin's config names it neither"),
        ("{file: /etc/key, url: 'http://users:81'}", "", "host: {services: [users]}"),
    ] {
        dir.write(
            "tests/cases.yaml",
            format!(
                "plugin: ../plugin.wasm\nconfig: {config}\ncases:\n  - name: a\n    \
                 host: {{files: {{/etc/key: k}}, \
                 http: [{{url: 'http://users/', body: b}}]{host}}}\n    \
                 expect: {{calls: ['http://users/']}}\n"
            ),
        );
        let output = odin_cli(dir.path(), &["test"]);
        let text = said(&output, i32::from(told != "1 passed"));
        assert!(text.contains(told), "{config}: {text}");
    }
}

#[test]
fn a_case_cannot_show_a_plugin_a_coded_body_that_a_gateway_would_decode() {
    let dir = TempDir::new();
    dir.write("plugin.wasm", wasm::passing());
    for (key, message, told) in [
        ("body: true", "request", "leave the field out"),
        ("body: true", "response", "leave the field out"),
        ("body: false", "request", "1 passed"),
    ] {
        let headers = "{headers: {Content-Encoding: gzip}, body: x}";
        let cases = format!("cases: [{{name: a, {message}: {headers}}}]");
        dir.write("tests/cases.yaml", format!("plugin: ../plugin.wasm\n{key}\n{cases}\n"));
        let output = odin_cli(dir.path(), &["test"]);
        let text = said(&output, i32::from(told != "1 passed"));
        assert!(text.contains(told), "{key}: {text}");
    }
}
