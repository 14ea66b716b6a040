//! docs/openapi.yaml: every route is in it, and a running gateway does what it says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{Setup, get, wasm};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn root(file: &str) -> PathBuf {
    Path::new(ROOT).join(file)
}

/// A validator that `.ci/tools` has installed.
fn tool(name: &str) -> Command {
    let path = root("target/tools/python/bin").join(name);
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    Command::new(path)
}

fn succeeds(output: &Output) -> String {
    let said = [&*output.stdout, &*output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn description() -> serde_json::Value {
    let text = std::fs::read_to_string(root("docs/openapi.yaml")).unwrap();
    yaml_serde::from_str(&text).unwrap()
}

/// The calls that the description has, as `GET /path`.
fn described() -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for (path, item) in description()["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            calls.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    calls
}

/// The calls that the router has: `.route("/path", get(…).put(…))`, or a method router by name.
fn routed() -> BTreeSet<String> {
    let source = std::fs::read_to_string(root("src/control/admin.rs")).unwrap();
    let method = regex::Regex::new(r"\b(get|post|put|delete|patch|any)\(").unwrap();
    let mut calls = BTreeSet::new();
    for route in source.split(".route(").skip(1) {
        // Up to the next call of the chain.
        let route = route.split("\n        .").next().unwrap();
        let (_, rest) = route.split_once('"').unwrap();
        let (path, answers) = rest.split_once('"').unwrap();
        let mut answers = answers.trim_matches([',', ' ', ')', '\n']);
        if !method.is_match(answers) {
            let named = format!("let {answers} = ");
            let at = source.find(&named).unwrap_or_else(|| panic!("what is {answers:?}?"));
            answers = source[at + named.len()..].lines().next().unwrap();
        }
        for found in method.captures_iter(answers) {
            assert_ne!(&found[1], "any", "{path}: a call has a method");
            calls.insert(format!("{} {path}", found[1].to_uppercase()));
        }
    }
    let count = source.matches(".route(").count();
    assert!(calls.len() >= count && count > 0, "{count} routes, but only {calls:?} were read");
    calls
}

#[test]
fn the_description_has_every_route_and_no_other() {
    assert_eq!(described(), routed());
}

#[test]
fn the_description_is_valid() {
    succeeds(&tool("openapi-spec-validator").arg(root("docs/openapi.yaml")).output().unwrap());
}

#[test]
fn the_description_is_of_this_version() {
    assert_eq!(description()["info"]["version"], env!("CARGO_PKG_VERSION"));
}

/// Some hundred calls: those that the description allows must be answered as it says, those that it
/// forbids must be refused, none may be let in without the token, none may break the gateway.
#[test]
fn the_gateway_answers_as_described() {
    let gateway = Setup::new()
        .service("name: users-service, basePath: /, targets: ['builtin:echo']")
        .plugin("new", wasm::setting_headers(r#""X-Tag":["one"]"#), "type: request")
        .plugin("stays", wasm::setting_headers(r#""X-Stays":["yes"]"#), "type: request")
        .admin("token: t0ken")
        .log_level("info")
        .start();
    let output = tool("schemathesis")
        .arg("--config-file")
        .arg(root("tests/gateway/schemathesis.toml"))
        .arg("run")
        .arg(root("docs/openapi.yaml"))
        .arg(format!("--url=http://{}", gateway.admin))
        .arg("--no-color")
        .env("ODIN_ADMIN_TOKEN", "t0ken")
        .current_dir(gateway.dir().path())
        .output()
        .unwrap();
    let said = succeeds(&output);
    // That something was asked at all.
    let cases = regex::Regex::new(r"(\d+) generated").unwrap();
    let cases: u32 = cases.captures(&said).expect("a count")[1].parse().unwrap();
    assert!(cases > 200, "{said}");
    assert_eq!(get(gateway.addr, "/").status, 200);
}
