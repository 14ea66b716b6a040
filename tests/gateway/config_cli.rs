//! The command line and the configuration file, as an operator meets them.

use crate::support::{Setup, TempDir, get};
use std::path::Path;
use std::process::{Command, Output};

fn odin(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_odin"))
        .current_dir(dir)
        .env_remove("ODIN_CONFIG")
        .args(args)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

fn check(text: &str) -> (i32, String) {
    let dir = TempDir::new();
    dir.write("odin.yaml", text);
    let output = odin(dir.path(), &["check", "odin.yaml"]);
    (output.status.code().unwrap(), said(&output))
}

#[test]
fn a_good_file_is_ok() {
    let (code, said) = check(
        "server: {listen: '127.0.0.1:8080', workers: 2}\n\
         services:\n  - {name: a, basePath: /a, targets: ['http://127.0.0.1:9001']}\n",
    );
    assert_eq!(code, 0, "{said}");
}

#[test]
fn every_error_of_a_file_is_shown_in_one_run_with_its_place() {
    let (code, said) = check(
        "server:\n  listen: 127.0.0.1:99999\n  worker: 2\n  drainTimeout: soon\nservices:\n  \
         - name: a\n    basePath: api\n    targets: []\n  - name: a\n    basePath: /b\n    \
         targets: ['ftp://x']\n",
    );
    assert_eq!(code, 64, "{said}");
    // Line and column of each.
    for place in ["2:11", "3:3", "4:17", "7:15", "8:14", "9:11", "11:15"] {
        assert!(said.contains(&format!("odin.yaml:{place}")), "{place} not in:\n{said}");
    }
    for word in ["worker", "soon", "ftp://x"] {
        assert!(said.contains(word), "{word} not in:\n{said}");
    }
}

#[test]
fn a_file_that_is_not_yaml_is_an_error_with_a_place() {
    let (code, said) = check("server: [\nlisten");
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("odin.yaml:"), "{said}");
}

#[test]
fn a_bad_file_does_not_start() {
    let dir = TempDir::new();
    dir.write("odin.yaml", "server: {listen: nonsense}\n");
    let output = odin(dir.path(), &["--config", "odin.yaml"]);
    assert_eq!(output.status.code(), Some(64), "{}", said(&output));
    assert!(said(&output).contains("odin.yaml:1:18"), "{}", said(&output));
}

#[test]
fn a_file_that_is_not_there_does_not_start() {
    let dir = TempDir::new();
    for args in [&["--config", "missing.yaml"][..], &["check", "missing.yaml"]] {
        let output = odin(dir.path(), args);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {}", said(&output));
        assert!(said(&output).contains("missing.yaml"), "{}", said(&output));
    }
}

#[test]
fn an_unknown_argument_is_a_usage_error() {
    let output = odin(TempDir::new().path(), &["--confg", "x"]);
    assert_eq!(output.status.code(), Some(64), "{}", said(&output));
    assert!(said(&output).contains("--confg"));
}

#[test]
fn a_port_in_use_is_a_runtime_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let dir = TempDir::new();
    dir.write(
        "odin.yaml",
        format!("server: {{listen: '{addr}', workers: 1}}\nadmin: {{listen: '127.0.0.1:0'}}\n"),
    );
    let output = odin(dir.path(), &["--config", "odin.yaml"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains(&addr.to_string()), "{}", said(&output));
}

#[test]
fn without_a_file_the_embedded_default_is_taken_and_said() {
    // Its port is fixed, so this test takes it (or somebody else has): the gateway must fail to
    // bind, after it has said which configuration it took.
    let _taken = std::net::TcpListener::bind("127.0.0.1:8080");
    let dir = TempDir::new();
    let output = Command::new("timeout")
        .args(["20", env!("CARGO_BIN_EXE_odin")])
        .current_dir(dir.path())
        .env_remove("ODIN_CONFIG")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("127.0.0.1:8080"), "{}", said(&output));
    assert!(said(&output).contains("embedded"), "{}", said(&output));
}

#[test]
fn the_file_is_looked_for_in_its_order() {
    // `check` without a file shows which one is taken; each candidate is broken in its own way.
    let dir = TempDir::new();
    dir.write("config/odin.yaml", "from_config_folder: 1\n");
    let by_env = dir.write("env.yaml", "from_environment: 1\n");
    let by_option = dir.write("option.yaml", "from_option: 1\n");
    let run = |args: &[&str], env: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_odin"));
        command.current_dir(dir.path()).env_remove("ODIN_CONFIG").args(args);
        if env {
            command.env("ODIN_CONFIG", &by_env);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{}", said(&output));
        said(&output)
    };
    let option = by_option.to_str().unwrap();
    assert!(run(&["--config", option], true).contains("from_option"));
    assert!(run(&["run", "--config", option], true).contains("from_option"));
    assert!(run(&[], true).contains("from_environment"));
    assert!(run(&[], false).contains("from_config_folder"));
}

#[test]
fn variables_are_expanded_from_the_environment() {
    let gateway = Setup::new()
        .service("name: a, basePath: '${TEST_BASE}', targets: ['${TEST_TARGET:-builtin:echo}']")
        .env("TEST_BASE", "/from-env")
        .start();
    assert_eq!(get(gateway.addr, "/from-env").status, 200);
    let (code, said) = check("server: {listen: '${SURELY_NOT_SET_ANYWHERE}'}\n");
    assert_eq!(code, 64);
    assert!(said.contains("SURELY_NOT_SET_ANYWHERE"), "{said}");
}

#[test]
fn admin_on_a_public_address_needs_a_token() {
    let (code, said) = check("admin: {listen: '0.0.0.0:8081'}\n");
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("token"), "{said}");
}

#[test]
fn the_admin_api_says_that_the_process_lives() {
    let gateway = Setup::echo().start();
    assert_eq!(gateway.call("GET", "/healthz", "").status, 200);
}

#[test]
fn the_log_says_which_io_driver_was_chosen() {
    let gateway = Setup::echo().start();
    let driver = crate::support::gateway::io_driver();
    let log = gateway.log();
    match driver.as_str() {
        "auto" => assert!(log.contains("io_uring") || log.contains("epoll"), "{log}"),
        other => assert!(log.contains(other), "{log}"),
    }
}

#[test]
fn each_program_completes_its_command_line_in_a_shell_and_has_manual_pages() {
    let dir = TempDir::new();
    for (program, command) in
        [(env!("CARGO_BIN_EXE_odin"), "check"), (env!("CARGO_BIN_EXE_odin-cli"), "inspect")]
    {
        let run = |args: &[&str]| {
            let output = Command::new(program).current_dir(dir.path()).args(args).output().unwrap();
            assert!(output.status.success(), "{args:?}: {}", said(&output));
            String::from_utf8(output.stdout).unwrap()
        };
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            assert!(run(&["completions", shell]).contains(command), "{program} {shell}");
        }
        dir.write("completions.bash", run(&["completions", "bash"]));
        let mut bash = Command::new("bash");
        bash.args(["-n", "completions.bash"]).current_dir(dir.path());
        assert!(bash.output().unwrap().status.success(), "{program}");
        run(&["man", "."]);
        let name = Path::new(program).file_name().unwrap().to_str().unwrap();
        for page in [format!("{name}.1"), format!("{name}-{command}.1")] {
            let page = std::fs::read_to_string(dir.path().join(&page)).unwrap();
            assert!(page.contains(".SH SYNOPSIS"), "{page}");
        }
    }
    let output = odin(dir.path(), &["completions", "tcsh"]);
    assert_eq!(output.status.code(), Some(64), "{}", said(&output));
}

#[test]
fn odin_cli_prints_the_schema_of_docs() {
    let output = Command::new(env!("CARGO_BIN_EXE_odin-cli")).arg("schema").output().unwrap();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema.json");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), std::fs::read_to_string(docs).unwrap());
}
