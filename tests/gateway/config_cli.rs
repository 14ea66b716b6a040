//! The command line and the configuration file, as an operator meets them.

use crate::support::secure::{Issuer, Leaf};
use crate::support::{Origin, Setup, TempDir, get, wait_until, wasm};
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
fn a_deep_check_tells_what_a_start_would_and_leaves_nothing_behind() {
    let dir = TempDir::new();
    let module = std::fs::canonicalize(dir.write("p.wasm", wasm::passing())).unwrap();
    dir.write("bad.wasm", "no module");
    let config = |plugin: &str, log: &str| {
        format!(
            "logging: {{accessLog: '{log}'}}\n\
             services:\n- name: a\n  \
             targets: ['http://no-such-host.invalid:1', 'http://127.0.0.1:1']\n\
             wasm: {{plugins: [{{name: p, path: '{plugin}'}}]}}\n"
        )
    };
    let check = |text: String, args: &[&str]| {
        dir.write("odin.yaml", text);
        let output = odin(dir.path(), &[&["check"], args, &["odin.yaml"]].concat());
        (output.status.code().unwrap(), said(&output))
    };
    let folder = dir.path().display().to_string();
    let good = config(module.to_str().unwrap(), &format!("{folder}/access.log"));
    let good = good.replace("'http://no-such-host.invalid:1', ", "");
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    let before = files() + 1;
    let (code, said) = check(good, &["--deep"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("odin.yaml: ok"), "{said}");
    assert_eq!(files(), before, "nothing but the configuration was written");
    // What the file alone does not tell.
    for (plugin, log, want) in [
        (format!("{folder}/none.wasm"), "off".to_owned(), "plugin p: "),
        (format!("{folder}/bad.wasm"), "off".to_owned(), "plugin p: "),
        (
            format!("{folder}/p.wasm"),
            "off".to_owned(),
            "service a: cannot resolve no-such-host.invalid",
        ),
        (format!("{folder}/p.wasm"), "/no/such/a.log".to_owned(), "no folder /no/such for it"),
    ] {
        let text = config(&plugin, &log);
        assert_eq!(check(text.clone(), &[]).0, 0);
        let (code, said) = check(text, &["--deep"]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(want) && !said.contains(": ok"), "{want} not in {said}");
    }
}

/// What a start refuses, a deep check refuses: it names the file and the key.
#[test]
fn a_deep_check_reads_every_certificate_of_listeners_and_targets() {
    let dir = TempDir::new();
    let tls = |name: &str| {
        let file = |end: &str| dir.path().join(format!("{name}.{end}")).display().to_string();
        format!("tls: {{certificates: [{{cert: '{}', key: '{}'}}]}}", file("pem"), file("key"))
    };
    let text = format!(
        "server: {{listen: [{{address: '127.0.0.1:0', {}}}]}}\n\
         admin: {{listen: {{address: '127.0.0.1:0', {}}}}}\n\
         services: [{{name: a, targets: ['https://127.0.0.1:1'], tls: {{ca: '{}'}}}}]\n",
        tls("server"),
        tls("admin"),
        dir.path().join("ca.pem").display()
    );
    dir.write("odin.yaml", &text);
    assert_eq!(odin(dir.path(), &["check", "odin.yaml"]).status.code(), Some(0));
    let told = |want: &[&str]| {
        let output = odin(dir.path(), &["check", "--deep", "odin.yaml"]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        for want in want {
            assert!(said(&output).contains(want), "no {want:?} in {}", said(&output));
        }
    };
    told(&[
        "server.listen[0].tls.certificates[0].cert: ",
        "admin.listen.tls.certificates[0].cert: ",
    ]);
    told(&["server.pem: cannot be read", "admin.pem: cannot be read", "ca.pem: cannot be read"]);
    let issuer = Issuer::new("deep");
    for name in ["server", "admin"] {
        issuer.write(&dir, name, &Leaf::default());
    }
    dir.write("ca.pem", issuer.pem());
    let output = odin(dir.path(), &["check", "--deep", "odin.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    // A key of another certificate.
    let (_, other) = issuer.issue(&Leaf::default());
    dir.write("admin.key", other);
    told(&["admin.listen.tls.certificates[0]"]);
}

#[test]
fn a_health_check_asks_the_gateway_that_runs() {
    let mut gateway = Setup::echo().start();
    let dir = TempDir::new();
    let admin = gateway.admin;
    let ask = |admin: &str, args: &[&str]| {
        let file = dir.write("odin.yaml", format!("admin: {{listen: '{admin}', token: x}}"));
        let file = file.to_str().unwrap();
        let output = odin(dir.path(), &[&["healthcheck", "--config", file], args].concat());
        (output.status.code().unwrap(), said(&output))
    };
    for args in [&[][..], &["--ready"]] {
        assert_eq!(ask(&admin.to_string(), args), (0, String::new()), "{args:?}");
        // What listens everywhere is asked here.
        assert_eq!(ask(&format!("0.0.0.0:{}", admin.port()), args).0, 0, "{args:?}");
    }
    let (code, said) = ask("off", &[]);
    assert!(code == 1 && said.contains("admin.listen is off"), "{code} {said}");
    let sick =
        Origin::raw_then_close("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nsick");
    let (code, said) = ask(&sick.addr().to_string(), &[]);
    assert!(code == 1 && said.contains("/healthz: 503 sick"), "{code} {said}");
    gateway.terminate();
    gateway.wait_exit();
    let (code, said) = ask(&admin.to_string(), &[]);
    assert!(code == 1 && said.contains("refused"), "{code} {said}");
    let output = odin(dir.path(), &["healthcheck", "--config", "none.yaml"]);
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn a_value_of_a_file_is_used_and_never_shown() {
    let dir = TempDir::new();
    let secret = dir.write("token", "s3cret-of-a-file\n");
    let text = format!("token: '${{file:{}}}'", secret.display());
    let gateway = Setup::echo().admin(&text).log_level("debug").start();
    assert_eq!(gateway.call("GET", "/api/config", "").status, 401);
    let shown = "Authorization: Bearer s3cret-of-a-file\r\n";
    let config = gateway.call_with("GET", "/api/config", shown, "");
    assert_eq!(config.status, 200, "{}", config.text());
    assert!(!config.text().contains("s3cret"), "{}", config.text());
    assert!(!gateway.log().contains("s3cret"), "{}", gateway.log());
    // Read at load: a reload takes the new one.
    dir.write("token", "another");
    gateway.signal(rustix::process::Signal::HUP);
    gateway.wait_log("configuration reloaded");
    assert_eq!(gateway.call_with("GET", "/api/config", shown, "").status, 401);
    let shown = "Authorization: Bearer another\r\n";
    assert_eq!(gateway.call_with("GET", "/api/config", shown, "").status, 200);
    // Empty, it would leave the door open.
    dir.write("token", "\n");
    let reload = gateway.call_with("POST", "/api/config/reload", shown, "");
    assert_eq!(reload.status, 400);
    assert!(reload.text().contains("is empty; write the value into it"), "{}", reload.text());
}

#[test]
fn a_file_with_a_value_is_watched() {
    let dir = TempDir::new();
    let file = dir.write("where", "first");
    let service = format!(
        "name: all, targets: ['builtin:echo'], headers: {{X-Where: '${{file:{}}}'}}",
        file.display()
    );
    let gateway = Setup::new().service(&service).argument("--watch").start();
    assert!(get(gateway.addr, "/").text().contains("first"));
    dir.write("where", "second");
    wait_until("the change is served", || get(gateway.addr, "/").text().contains("second"));
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
