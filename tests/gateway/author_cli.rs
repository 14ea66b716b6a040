//! `odin-cli`, as a plugin's author meets it.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::secure::{Issuer, Leaf};
use crate::support::{TempDir, wasm};

const INPUT: &str = r#"{"context":{"requestId":"r-1","phase":"request"},
    "input":{"method":"GET","url":"http://a.test/","headers":{},"query":{}},"config":{}}"#;

fn odin_cli(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_odin-cli")).current_dir(dir).args(args).output().unwrap()
}

/// A directory with an input and this plugin.
fn directory(plugin: &[u8]) -> TempDir {
    let dir = TempDir::new();
    dir.write("input.json", INPUT);
    std::fs::write(dir.path().join("plugin.wasm"), plugin).unwrap();
    dir
}

#[test]
fn test_plugin_prints_the_output_the_log_lines_and_the_time() {
    let guest = wasm::module(
        r#"(module
            (import "env" "log" (func $log (param i32 i32)))
            (memory (export "memory") 1)
            (data (i32.const 100) "{\22continue\22:true}")
            (func (export "execute") (param i32 i32) (result i64)
                (call $log (i32.const 102) (i32.const 8))
                (i64.const 73014444132)))"#,
    );
    let dir = directory(&guest);
    let output = odin_cli(dir.path(), &["test-plugin", "plugin.wasm", "input.json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let (before, time) = text.rsplit_once("\ntime: ").unwrap();
    assert_eq!(before, "log: info continue\n{\n  \"continue\": true\n}");
    assert!(time.contains("to load"), "{time}");
}

#[test]
fn test_plugin_ends_with_1_where_a_gateway_would_see_a_failure() {
    let cases = [
        ("trap", wasm::trapping(), "the plugin trapped"),
        ("endless loop", wasm::spinning(), "plugin execution timeout"),
        ("no continue", wasm::answering("{}"), "output has no \"continue\""),
        ("forbidden header", wasm::setting_headers(r#""TE":["x"]"#), "header TE belongs"),
        ("no module", b"\x7fELF".to_vec(), "failed to compile plugin"),
    ];
    for (name, guest, error) in cases {
        let dir = directory(&guest);
        let output = odin_cli(
            dir.path(),
            &["test-plugin", "plugin.wasm", "input.json", "--type", "auth", "--timeout", "100ms"],
        );
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.starts_with("error: ") && said.contains(error), "{name}: {said}");
    }
}

#[test]
fn test_plugin_ends_with_64_where_it_cannot_be_used_so() {
    let dir = directory(&wasm::passing());
    for args in [
        &[][..],
        &["test-plugin"],
        &["test-plugin", "plugin.wasm"],
        &["test-plugin", "missing.wasm", "input.json"],
        &["test-plugin", "plugin.wasm", "missing.json"],
        &["test-plugin", "plugin.wasm", "plugin.wasm"],
        &["test-plugin", "plugin.wasm", "input.json", "--type", "guard"],
        &["test-plugin", "plugin.wasm", "input.json", "--timeout", "5"],
        &["test-plugin", "plugin.wasm", "input.json", "--config", "[1]"],
        &["test-plugin", "plugin.wasm", "input.json", "--config", "{"],
    ] {
        let output = odin_cli(dir.path(), args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
    assert_eq!(odin_cli(dir.path(), &["--help"]).status.code(), Some(0));
}

#[test]
fn a_reader_that_has_gone_is_no_failure_of_a_command() {
    let dir = directory(&wasm::passing());
    dir.write(
        "tests/cases.yaml",
        "plugin: ../plugin.wasm\ncases: [{name: a, expect: {status: 1}}]",
    );
    dir.write("odin.yaml", "services: [{name: a, basePath: /, targets: ['builtin:echo']}]");
    dir.write("broken.yaml", "services: 7");
    let (gateway, tool) = (env!("CARGO_BIN_EXE_odin"), env!("CARGO_BIN_EXE_odin-cli"));
    for (program, arguments, code) in [
        (tool, "inspect plugin.wasm", 0),
        (tool, "test .", 1),
        (tool, "test-plugin plugin.wasm input.json", 0),
        (tool, "bench plugin.wasm --calls 10", 0),
        (tool, "explain --config odin.yaml --url /", 0),
        (tool, "new hello --lang c", 0),
        (tool, "inspect missing.wasm", 64),
        (tool, "run missing.wasm", 64),
        (tool, "--help", 0),
        (gateway, "--help", 0),
        (gateway, "check odin.yaml", 0),
        (gateway, "check broken.yaml", 64),
        (gateway, "--config broken.yaml", 64),
    ] {
        for closes_errors in [false, true] {
            // The reading ends are dropped here: whatever is written meets a closed pipe.
            let (_, stdout) = std::io::pipe().unwrap();
            let mut command = Command::new(program);
            command.current_dir(dir.path()).args(arguments.split(' ')).stdout(stdout);
            if closes_errors {
                let (_, stderr) = std::io::pipe().unwrap();
                command.stderr(stderr);
            }
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
            assert!(!said.contains("panicked"), "{arguments}: {said}");
            let _not_made = std::fs::remove_dir_all(dir.path().join("hello"));
        }
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let dir = directory(&wasm::passing());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_odin-cli"));
    let command = command.current_dir(dir.path()).args(["inspect", "plugin.wasm"]).stdout(full);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot write to standard output"), "{said}");
}

#[test]
fn cert_says_what_certificates_cover_and_fails_where_one_has_ended() {
    let dir = TempDir::new();
    let issuer = Issuer::new("an authority");
    let leaf = Leaf { hosts: &["a.example", "*.b.example", "127.0.0.1"], ..Leaf::default() };
    let (chain, key) = issuer.issue(&leaf);
    dir.write("chain.pem", &(chain + &issuer.pem()));
    dir.write("key.pem", &key);
    dir.write("old.pem", &issuer.issue(&Leaf { days: -3, ..Leaf::default() }).0);
    dir.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");

    let told = odin_cli(dir.path(), &["cert", "chain.pem"]);
    let text = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(0), "{text}");
    for part in [
        "chain.pem: CN=",
        "covers       a.example, *.b.example\n",
        "also         IP:127.0.0.1\n",
        "key          EC 256 bit\n",
        "Z: in ",
        "CN=an authority",
        "may issue    others",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let old = odin_cli(dir.path(), &["cert", "chain.pem", "old.pem"]);
    let text = String::from_utf8(old.stdout).unwrap();
    assert_eq!(old.status.code(), Some(1), "{text}");
    assert!(text.contains(": it ended 3 days ago\n"), "{text}");
    for (file, why) in [
        ("key.pem", "has no certificate"),
        ("broken.pem", "has a CERTIFICATE that is none"),
        ("missing.pem", "cannot read missing.pem"),
    ] {
        let refused = odin_cli(dir.path(), &["cert", file]);
        let text = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(64) && text.contains(why), "{text}");
    }
}
