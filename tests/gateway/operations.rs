//! docs/operations.md: every message that the gateway can log or answer is in it, and the
//! extensions page's troubleshooting section is true word for word.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::support::{Setup, TempDir, get_with, wasm};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(file: &str) -> String {
    let path = Path::new(ROOT).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The document with single spaces, so that a line's end matters as little as it does to a reader.
fn documentation() -> String {
    let text = read("docs/operations.md");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The sources of the gateway without tests and comments.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_str().unwrap().to_owned();
            if path.is_dir() {
                // The author's tool speaks to its terminal.
                if !name.ends_with("src/cli") {
                    folders.push(path);
                }
            } else if !name.contains("test") && !name.ends_with("trial.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                found.push((name, code.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    assert!(found.len() > 80, "{}", found.len());
    found
}

/// The longest piece of a message that is the same each time.
fn fixed_part(literal: &str) -> String {
    let continued = regex::Regex::new(r"\\\n\s*").unwrap();
    let text = continued.replace_all(literal, "").replace("\\\"", "\"").replace("\\\\", "\\");
    let holes = regex::Regex::new(r"\{[^{}]*\}|\\n").unwrap();
    let parts = holes.split(&text).map(|part| part.trim_matches([' ', ':', ';', ',', '(', ')']));
    parts.max_by_key(|part| part.len()).unwrap_or_default().to_owned()
}

/// The first text after each place in the sources that `marker` matches, where it says something.
fn messages(marker: &str) -> BTreeSet<(String, String)> {
    messages_in("", marker)
}

/// The same, of the files whose path ends so.
fn messages_in(files: &str, marker: &str) -> BTreeSet<(String, String)> {
    let marker = regex::Regex::new(marker).unwrap();
    let literal = regex::Regex::new(r#""((?:[^"\\]|\\(?s:.))*)""#).unwrap();
    let mut messages = BTreeSet::new();
    for (file, code) in sources().into_iter().filter(|(file, _)| file.ends_with(files)) {
        for place in marker.find_iter(&code) {
            let statement = code[place.end()..].split(';').next().unwrap();
            // A message may have a semicolon itself: the text ends where its quote does.
            let Some(start) = statement.find('"') else {
                continue;
            };
            let Some(found) = literal.captures_at(&code, place.end() + start) else {
                continue;
            };
            let part = fixed_part(&found[1]);
            if part.len() >= 10 && part.contains(' ') {
                messages.insert((part, file.clone()));
            }
        }
    }
    messages
}

fn assert_documented(messages: &BTreeSet<(String, String)>, least: usize) {
    assert!(messages.len() >= least, "only {} messages were found: {messages:?}", messages.len());
    let documentation = documentation();
    let missing: Vec<_> =
        messages.iter().filter(|(part, _)| !documentation.contains(part.as_str())).collect();
    assert!(missing.is_empty(), "docs/operations.md does not explain {missing:#?}");
}

#[test]
fn every_warning_and_error_of_the_log_is_explained() {
    assert_documented(&messages(r"tracing::(?:warn|error)!\("), 15);
}

#[test]
fn every_failure_of_a_plugin_is_explained() {
    assert_documented(&messages(r"CallError::(?:trap|refused|bad_output|new)\("), 20);
    let documentation = documentation();
    for kind in odin::plugin::ErrorKind::ALL {
        assert!(documentation.contains(&format!("| `{}` |", kind.as_str())), "{kind:?}");
    }
}

#[test]
fn every_reason_for_which_a_plugin_does_not_load_is_explained() {
    let marker = r"Err\(format!\(|RuntimeError\(format!\(|map_err\(\|error\| format!\(";
    for (file, least) in [
        ("plugin/module.rs", 2),
        ("json_abi/shape.rs", 1),
        ("plugin/runtime.rs", 3),
        ("compile/modules.rs", 1),
        ("src/files.rs", 2),
    ] {
        assert_documented(&messages_in(file, marker), least);
    }
}

#[test]
fn every_refusal_of_the_admin_api_and_of_a_change_is_explained() {
    let found =
        messages(r"Failed::new\(|Refusal::new\(|\b(?:broken|forbidden|bad|refused)\(|let reason =");
    // What the protocols refuse is the exchanges'.
    let is_ours = |(_, file): &(String, String)| !file.contains("src/http/");
    assert_documented(&found.into_iter().filter(is_ours).collect(), 10);
    let code = read("src/control/reload/outcome.rs");
    let kinds = code.split_once("pub enum RefusalKind {").unwrap().1.split_once('}').unwrap().0;
    let kinds = kinds.lines().map(|line| line.trim().trim_end_matches(','));
    let kinds: Vec<_> = kinds.filter(|line| !line.is_empty() && !line.starts_with("///")).collect();
    assert!(kinds.len() >= 4, "{kinds:?}");
    let documentation = documentation();
    for kind in kinds {
        assert!(documentation.contains(&format!("| {kind} |")), "{kind}");
    }
}

#[test]
fn every_error_of_an_exchange_is_explained_with_its_label_and_its_words() {
    let code = read("src/error.rs");
    let (labels, words) = code.split_once("impl fmt::Display for Error").unwrap();
    let labels = labels.split_once("pub fn label").unwrap().1;
    let label = regex::Regex::new(r#"=> "([a-z_]+)""#).unwrap();
    let labels: Vec<_> = label.captures_iter(labels).map(|found| found[1].to_owned()).collect();
    assert!(labels.len() > 20, "{labels:?}");
    let documentation = documentation();
    for label in &labels {
        assert!(documentation.contains(&format!("| `{label}` |")), "{label}");
    }
    let literal = regex::Regex::new(r#""((?:[^"\\]|\\(?s:.))*)""#).unwrap();
    let words: Vec<_> = literal.captures_iter(words).map(|found| fixed_part(&found[1])).collect();
    assert!(words.len() > 12, "{words:?}");
    for words in words {
        assert!(documentation.contains(&words), "{words}");
    }
}

#[test]
fn the_classes_of_errors_of_a_file_are_named() {
    let dir = TempDir::new();
    let documentation = documentation();
    for (text, class) in [
        ("serve: {}", "unknown key"),
        ("wasm: {}\nwasm: {}", "stands twice"),
        ("server: {workers: many}", "got"),
        ("server: {workers: many}", "expected"),
        ("services: [{basePath: /}]", "missing"),
        ("services: []\nwasm: {plugins: [{name: a, path: b, services: [c]}]}", "no service named"),
    ] {
        let file = dir.write("odin.yaml", text);
        let output = Command::new(env!("CARGO_BIN_EXE_odin")).arg("check").arg(file).output();
        let output = output.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{text}: {said}");
        assert!(said.contains(class), "{text}: {said}");
        assert!(documentation.contains(class), "{class}");
    }
}

/// The three words that the page tells its readers to look for.
#[test]
fn the_log_has_the_words_of_the_pages_troubleshooting_section() {
    let gateway = Setup::echo()
        .plugin("broken", "no module", "type: request")
        .plugin("deeds", wasm::obeying(), "type: request, timeout: 100ms")
        .start();
    for deed in ["do-spin", "do-hog"] {
        assert_eq!(get_with(gateway.addr, "/", &format!("X-Deed: {deed}\r\n")).status, 200);
    }
    let words =
        ["failed to compile plugin", "plugin execution timeout", "failed to allocate memory"];
    let documentation = documentation();
    for words in words {
        gateway.wait_log(words);
        assert!(documentation.contains(&format!("`{words}`")), "{words}");
    }
}

#[test]
fn every_command_of_the_page_has_its_row() {
    let documentation = documentation();
    for command in [
        "wasm-validate plugin.wasm",
        "wasm-security-scanner plugin.wasm",
        "file plugin.wasm",
        "wasm-objdump -h",
        "odin-cli test-plugin plugin.wasm input.json",
        "curl -X POST http://admin:8081/api/plugins/load",
        "curl -X DELETE http://admin:8081/api/plugins/unload/old-plugin",
        "tinygo build -o plugin.wasm -target=wasi plugin.go",
        "cargo build --target wasm32-wasi --release",
        "COPY plugins/*.wasm /etc/odin/plugins/",
    ] {
        assert!(documentation.contains(&format!("`{command}")), "{command}");
    }
}

/// `wasm-validate` and `wasm-security-scanner` are `odin-cli inspect`.
#[test]
fn inspect_tells_by_its_exit_status_whether_the_gateway_would_load_a_module() {
    let dir = TempDir::new();
    for (module, code, words) in [
        (wasm::passing(), 0, "loads: "),
        (b"\0asm\x01\0\0\0\xff".to_vec(), 1, "failed to compile plugin"),
        (b"(module)".to_vec(), 1, "failed to compile plugin"),
        (wasm::module("(module)"), 1, "does not load: "),
    ] {
        let path = dir.write("plugin.wasm", module);
        let output =
            Command::new(env!("CARGO_BIN_EXE_odin-cli")).arg("inspect").arg(path).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{said}");
    }
}
