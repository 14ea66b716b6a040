//! `odin-cli` runs filters of Envoy as it runs plugins of the JSON ABI.

use crate::support::TempDir;
use std::process::{Command, Output};

fn cli(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_odin-cli")).args(arguments).output().unwrap()
}

fn module() -> String {
    format!("{}/plugins/dist/filter-rust.wasm", env!("CARGO_MANIFEST_DIR"))
}

fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}

#[test]
fn cases_of_a_filter_are_run_as_those_of_any_plugin() {
    let dir = TempDir::new();
    let case = format!(
        r#"
plugin: {}
type: middleware
configText: headers
host: {{http: []}}
cases:
  - name: the request is changed
    request: {{method: GET, url: "http://a.test/old?x=1", headers: {{X-Remove: gone}}}}
    expect: {{continue: true, headers: {{x-path: ["/old?x=1"], x-many: ["1", "2"], X-Remove: []}}}}
  - name: the path is rewritten
    request: {{method: GET, url: "http://a.test/old"}}
    expect: {{continue: true, url: "/new?by=filter", log: [logged]}}
"#,
        module()
    );
    dir.write("cases.yaml", case);
    let refused = format!(
        "plugin: {}\nconfigText: deny\ncases:\n  - name: it is refused\n    request: {{url: \
         'http://a.test/'}}\n    expect: {{continue: false, status: 418, body: no tea}}\n",
        module()
    );
    dir.write("refused.yaml", refused);
    let output = cli(&["test", dir.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_filter_is_called_measured_and_described() {
    let dir = TempDir::new();
    let input = r#"{"context": {"phase": "request"},
        "input": {"method": "GET", "url": "http://a.test/x", "headers": {}}}"#;
    dir.write("input.json", input);
    let input = dir.path().join("input.json");
    let input = input.to_str().unwrap();
    let called = cli(&["test-plugin", &module(), input, "--config-text", "deny"]);
    assert!(text(&called).contains("418"), "{}", text(&called));
    let measured = cli(&["bench", &module(), "--config-text", "headers", "--calls", "50"]);
    let told = text(&measured);
    assert!(measured.status.success() && told.contains("p50"), "{told}");
    let described = cli(&["inspect", &module()]);
    assert!(text(&described).contains("proxy-wasm ABI 0.2.1"), "{}", text(&described));
}
