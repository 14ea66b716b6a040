//! What is written from the table is up to date, and what is written by hand says the same.

mod example;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::super::tests::{DOCUMENTATION, ODIN_YAML};
use super::super::{Config, json_schema, parse, schema};
use super::*;

/// Calls `see` with every section by its own key: `[]` for an entry of a list, empty for the file.
pub(in crate::control::config) fn each_section(see: &mut dyn FnMut(&str, &'static Keys)) {
    fn of_keys(path: &str, keys: &'static Keys, see: &mut dyn FnMut(&str, &'static Keys)) {
        see(path, keys);
        for key in keys.allowed {
            of_kind(&joined(path, key.name), &key.kind, see);
        }
    }
    fn of_kind(path: &str, kind: &'static Kind, see: &mut dyn FnMut(&str, &'static Keys)) {
        match kind {
            Kind::Section(keys) => of_keys(path, keys, see),
            Kind::List(of, ..) => of_kind(&format!("{path}[]"), of, see),
            Kind::Either(kinds) => kinds.iter().for_each(|kind| of_kind(path, kind, see)),
            _ => {}
        }
    }
    of_keys("", &ROOT, see);
}

/// The whole way to a key of the section `path`.
fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Every key with the way to it, in the order of the page: what is in a section follows it.
fn all() -> Vec<(String, &'static Key)> {
    fn walk(path: &str, keys: &'static Keys, found: &mut Vec<(String, &'static Key)>) {
        for key in keys.allowed {
            let path = joined(path, key.name);
            found.push((path.clone(), key));
            inner(&path, &key.kind, found);
        }
    }
    fn inner(path: &str, kind: &'static Kind, found: &mut Vec<(String, &'static Key)>) {
        match kind {
            Kind::Section(keys) => walk(path, keys, found),
            Kind::List(of, ..) => inner(&format!("{path}[]"), of, found),
            Kind::Either(kinds) => kinds.iter().for_each(|kind| inner(path, kind, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk("", &ROOT, &mut found);
    found
}

// --- the files that are written from the table ---

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Holds a file against what the table makes of it, or writes it (`make keys`).
#[expect(clippy::disallowed_methods, reason = "a test reads files")]
fn written(path: &str, want: &str) {
    if std::env::var_os("ODIN_WRITE_KEYS").is_some() {
        std::fs::write(root(path), want).unwrap();
        return;
    }
    let got = std::fs::read_to_string(root(path)).unwrap_or_default();
    let differs = got.lines().zip(want.lines()).position(|(got, want)| got != want);
    assert!(got == want, "{path} is not what the table says (line {differs:?}): run `make keys`");
}

#[test]
fn the_schema_in_docs_is_written_from_the_table() {
    written("docs/schema.json", &json_schema());
}

#[test]
fn the_tables_of_the_page_are_written_from_the_table() {
    let prefixes: Vec<&str> = DOCUMENTATION.lines().filter_map(mark).collect();
    let mut page = String::new();
    let mut lines = DOCUMENTATION.lines();
    while let Some(line) = lines.next() {
        page.push_str(line);
        page.push('\n');
        if let Some(prefix) = mark(line) {
            page.push_str(&table(prefix, &prefixes));
            // What stood there, and the empty line behind it.
            lines.by_ref().find(|line| line.is_empty());
            page.push('\n');
        }
    }
    written("docs/configuration.md", &page);
}

fn mark(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- keys: ")?.strip_suffix(" -->")
}

/// The keys that belong to no table but that of `prefix`.
fn table(prefix: &str, prefixes: &[&str]) -> String {
    let is_of = |path: &str, prefix: &str| {
        let rest = path.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let mut text =
        "| key | unit or type | default | when to change it |\n|---|---|---|---|\n".to_owned();
    for (path, key) in all() {
        let own = prefixes.iter().filter(|one| is_of(&path, one)).max_by_key(|one| one.len());
        assert!(own.is_some(), "{path} has no table in docs/configuration.md");
        if own == Some(&prefix) {
            let cells = [format!("`{path}`"), key.takes(), key.without(), key.when.to_owned()];
            for cell in cells {
                text.push_str(if cell.is_empty() { "|" } else { "| " });
                text.push_str(&cell);
                text.push(' ');
            }
            text.push_str("|\n");
        }
    }
    text
}

// --- what is written by hand ---

#[test]
fn no_key_stands_twice() {
    each_section(&mut |section, keys| {
        let mut names: Vec<_> = keys.names().collect();
        names.extend(keys.later.iter().map(|(name, _)| *name));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{section}");
    });
}

#[test]
fn what_is_said_of_a_key_names_its_default() {
    for (path, key) in all() {
        let is_told = match (key.default, key.required, &key.kind) {
            (Some(default), ..) => {
                let bare = default.trim_matches(['\'', '"']);
                key.about.contains(&format!("Default: {bare}"))
                    || key.about.contains(&format!("Default: \"{bare}\""))
            }
            (_, Required::Always, _) => key.about.contains("Required"),
            _ => true,
        };
        assert!(is_told, "{path}: say \"Default: {:?}\" in {:?}", key.default, key.about);
    }
}

// --- the decoder ---

/// Keys that can't stand without another one, or whose bounds another one sets. With a "." at the
/// end: all keys of a section.
const COMPANIONS: &[(&str, &str, &str)] = &[
    ("fleet.etcd.username", "fleet.etcd.password", "secret"),
    ("fleet.etcd.password", "fleet.etcd.username", "odin"),
    ("fleet.etcd.tls.cert", "fleet.etcd.tls.key", "a.key"),
    ("fleet.etcd.tls.key", "fleet.etcd.tls.cert", "a.pem"),
    ("kv.backend", "kv.redis", "{host: redis}"),
    ("kv.redis.username", "kv.redis.password", "secret"),
    ("modules.auth[].username", "modules.auth[].password", "secret"),
    ("modules.auth[].password", "modules.auth[].username", "odin"),
    ("services[].hash.", "services[].loadBalancing", "consistent-hash"),
    ("services[].tls.", "services[].targets", "['https://a.example']"),
    ("services[].tls.cert", "services[].tls.key", "a.key"),
    ("services[].tls.key", "services[].tls.cert", "a.pem"),
    ("services[].retryDelay", "services[].retryCount", "1"),
    ("services[].sticky.", "services[].split", "[{service: other-service}]"),
    ("services[].sticky.maxAge", "services[].sticky.setCookie", "odin-split"),
    ("services[].redirect", "services[].redirect.path", "/moved"),
    ("services[].redirect.status", "services[].redirect.path", "/moved"),
    ("services[].rewrite", "services[].rewrite.prefix", "/moved"),
    ("services[].rewrite.regex", "services[].rewrite.to", "/moved"),
    ("services[].rewrite.to", "services[].rewrite.regex", "^/"),
    ("server.limits.uriBytesMax", "server.limits.headBytesMax", "1MiB"),
    ("server.limits.bufferedBytesMax", "server.limits.pluginBodyBytesMax", "1"),
    ("wasm.plugins[].instances", "wasm.plugins[].maxInstances", "4096"),
    (
        "services[].aggregation",
        "services[].aggregation.calls",
        "[{name: a, service: users-service, path: /}]",
    ),
    (
        "services[].aggregation.mode",
        "services[].aggregation.calls",
        "[{name: a, service: users-service, path: /}]",
    ),
    (
        "services[].aggregation.failOnError",
        "services[].aggregation.calls",
        "[{name: a, service: users-service, path: /}]",
    ),
    (
        "services[].aggregation.dependencies[].",
        "services[].aggregation.dependencies[].parameterMapping",
        "[{from: '$.items[*].productId', to: product_id}]",
    ),
    ("tracing.incoming", "tracing.enabled", "true"),
    ("tracing.sampleRate", "tracing.enabled", "true"),
];

/// The least file with this key, or without it.
fn file(path: &str, value: Option<Value>) -> Value {
    let mut file = json!({});
    let is_of = |of: &str| path == of || of.ends_with('.') && path.starts_with(of);
    for (_, companion, value) in COMPANIONS.iter().filter(|(of, ..)| is_of(of)) {
        put(&mut file, companion, Some(schema::value(value)));
    }
    put(&mut file, path, value);
    split(&mut file);
    mirror(&mut file);
    file
}

/// One that is mirrored needs another that gets the copies.
fn mirror(file: &mut Value) {
    let first = file.get("services").and_then(|services| services.get(0));
    if first.is_some_and(|one| one["mirror"].is_object()) {
        let part =
            json!({ "name": "other-service", "internal": true, "targets": ["builtin:echo"] });
        file["services"].as_array_mut().unwrap().push(part);
    }
}

/// A service that splits has no targets, and there are those that it splits to.
fn split(file: &mut Value) {
    let first = file.get_mut("services").and_then(|services| services.get_mut(0));
    let Some(service) = first.filter(|one| one["split"].is_array()) else {
        return;
    };
    drop(service.as_object_mut().unwrap().remove("targets"));
    service["split"].as_array_mut().unwrap().push(json!({ "service": "third-service" }));
    for name in ["other-service", "third-service"] {
        let part = json!({ "name": name, "internal": true, "targets": ["builtin:echo"] });
        file["services"].as_array_mut().unwrap().push(part);
    }
}

fn put(node: &mut Value, path: &str, value: Option<Value>) {
    let mut keys = &ROOT;
    let mut node = node;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        let name = part.trim_end_matches("[]");
        fill(node, keys);
        let key = keys.find(name).unwrap_or_else(|| panic!("{name} of {path}"));
        if parts.peek().is_none() {
            match value {
                Some(value) => node[name] = value,
                None => drop(node.as_object_mut().unwrap().remove(name)),
            }
            return;
        }
        keys = section_of(&key.kind).unwrap();
        let is_list = part.ends_with("[]");
        let child = &mut node[name];
        if is_list {
            if !child.get(0).is_some_and(Value::is_object) {
                *child = json!([{}]);
            }
            node = &mut child[0];
        } else {
            if !child.is_object() {
                *child = json!({});
            }
            node = child;
        }
        fill(node, keys);
    }
}

fn fill(node: &mut Value, keys: &'static Keys) {
    for key in keys.allowed.iter().filter(|key| key.required != Required::Never) {
        if node.get(key.name).is_none() {
            node[key.name] = schema::value(key.example.unwrap_or_else(|| panic!("{key:?}")));
        }
    }
}

fn section_of(kind: &'static Kind) -> Option<&'static Keys> {
    match kind {
        Kind::Section(keys) => Some(keys),
        Kind::List(of, ..) => section_of(of),
        Kind::Either(kinds) => kinds.iter().find_map(section_of),
        _ => None,
    }
}

fn read(file: &Value) -> Result<Config, String> {
    let env = |name: &str| (name != "ODIN_LISTEN").then(|| "secret".to_owned());
    let config = parse(&file.to_string(), "odin.yaml", &env);
    config.map(|config| config.without_places()).map_err(|errors| format!("{errors}\nin {file}"))
}

/// A value that is not the default.
fn another(key: &'static Key) -> Option<Value> {
    fn of_kind(kind: &'static Kind) -> Vec<Value> {
        match kind {
            Kind::Boolean => vec![json!(true), json!(false)],
            Kind::Integer(min, max) => vec![json!(max), json!(min)],
            Kind::Size(min, max) => vec![json!(max), json!(min)],
            Kind::Duration(_) => vec![json!("7s"), json!("9s")],
            Kind::Word(words) => words.iter().map(|word| json!(word)).collect(),
            Kind::Either(kinds) => kinds.iter().flat_map(of_kind).collect(),
            Kind::Text => vec![json!("another")],
            Kind::Part => vec![json!("7%"), json!("9%")],
            _ => Vec::new(),
        }
    }
    let default = key.default.map(schema::value).unwrap_or_default();
    let example = key.example.map(schema::value);
    example.into_iter().chain(of_kind(&key.kind)).find(|value| *value != default)
}

#[test]
fn every_default_is_the_decoders() {
    for (path, key) in all() {
        if let Some(default) = key.default {
            let with = read(&file(&path, Some(schema::value(default)))).unwrap();
            assert_eq!(with, read(&file(&path, None)).unwrap(), "{path}: {default}");
        }
    }
}

/// A key that changes nothing is one that the decoder does not read.
#[test]
fn every_key_reaches_the_configuration() {
    for (path, key) in all() {
        let is_only_word = matches!(key.kind, Kind::Word([_]));
        // It says what holds where no other key is given.
        let is_idle = path == "services[].hash.ip";
        if section_of(&key.kind).is_some() || is_only_word || is_idle {
            continue;
        }
        let value = another(key).unwrap_or_else(|| panic!("{path} needs an example"));
        let with = read(&file(&path, Some(value.clone()))).unwrap();
        let without = read(&file(&path, None));
        assert_ne!(Ok(with), without, "{path}: {value}");
        if key.required == Required::Always {
            assert!(without.is_err(), "{path} is not required");
        }
    }
}

#[test]
fn every_bound_and_every_word_is_the_decoders() {
    fn of_kind(path: &str, kind: &'static Kind) {
        let good = |value: Value| drop(read(&file(path, Some(value))).unwrap());
        let bad = |value: Value| {
            let read = read(&file(path, Some(value.clone())));
            assert!(read.is_err(), "{path}: {value} is taken");
        };
        match kind {
            Kind::Boolean => [json!("yes"), json!(1)].into_iter().for_each(bad),
            Kind::Integer(min, max) => {
                [json!(min), json!(max)].into_iter().for_each(good);
                [json!(min - 1), json!(max + 1), json!("x")].into_iter().for_each(bad);
            }
            Kind::Size(min, max) => {
                [json!(min), json!(max)].into_iter().for_each(good);
                [json!(max + 1), json!("1KB")].into_iter().for_each(bad);
                if let Some(less) = min.checked_sub(1) {
                    bad(json!(less));
                }
            }
            Kind::Duration(min) => {
                [json!(format!("{min}ms")), json!("24h")].into_iter().for_each(good);
                [json!("24h1ms"), json!(5), json!("5 s")].into_iter().for_each(bad);
                if *min > 0 {
                    bad(json!(format!("{}ms", min - 1)));
                }
            }
            Kind::Number(min, max) => {
                [json!(min), json!(max), json!((min + max) / 2.0)].into_iter().for_each(good);
                [json!(min - 0.01), json!(max + 0.01)].into_iter().for_each(bad);
            }
            Kind::Part => {
                [json!("0%"), json!("100%")].into_iter().for_each(good);
                [json!("101%"), json!("-1%"), json!(5)].into_iter().for_each(bad);
            }
            Kind::Word(words) => {
                words.iter().for_each(|word| good(json!(word)));
                bad(json!("no-such-word"));
            }
            Kind::Either(kinds) => kinds
                .iter()
                .filter(|kind| matches!(kind, Kind::Integer(..) | Kind::Word(_)))
                .for_each(|kind| of_kind(path, kind)),
            _ => {}
        }
    }
    for (path, key) in all() {
        of_kind(&path, &key.kind);
    }
}

// --- the schema, as an independent validator understands it ---

/// What of a text the schema refuses: `None` where it is no JSON.
pub(in crate::control::config) fn verdicts(texts: &[&str]) -> Vec<Option<bool>> {
    let same = |name: &str| Some(format!("${{{name}}}"));
    let documents: Vec<Option<Value>> = texts
        .iter()
        .map(|text| {
            let mut errors = super::super::errors::Errors::default();
            let node = super::super::tree::read(text, Some(&same), &mut errors)?;
            let item = super::super::decode::Item { node: &node, key: String::new() };
            let value = super::super::decode::json(&item, &mut errors)?;
            errors.is_empty().then_some(value)
        })
        .collect();
    let question = json!({ "schema": schema::document(), "documents": documents });
    let answer = ask(&question.to_string());
    let refused: Vec<bool> = serde_json::from_str(&answer).unwrap();
    documents.iter().zip(refused).map(|(is, refused)| is.is_some().then_some(refused)).collect()
}

/// Python's jsonschema, which `.ci/tools` installs with the other validators.
fn ask(question: &str) -> String {
    const SCRIPT: &str = "
import json, sys
from jsonschema import Draft202012Validator as Validator
question = json.load(sys.stdin)
Validator.check_schema(question['schema'])
validator = Validator(question['schema'])
print(json.dumps([not validator.is_valid(document) for document in question['documents']]))
";
    let python = root("target/tools/python/bin/python");
    assert!(python.exists(), "{} is missing: run `.ci/tools` (make setup)", python.display());
    let mut child = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, question.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the validator failed");
    String::from_utf8(output.stdout).unwrap()
}

/// What the gateway refuses and a schema can't, by a part of the gateway's words. The page tells
/// operators of the same kinds.
const BEYOND_A_SCHEMA: &[(&str, &[&str])] = &[
    ("whole numbers with an exponent", &["got 1e2"]),
    (
        "names that stand twice",
        &["stands twice", "one of them twice", "is taken", "is the same header as"],
    ),
    ("names that point to nothing", &["no service named"]),
    ("bounds of what is written with a unit", &["expected a size", "ms to 24h"]),
    (
        "bounds that another key sets",
        &["expected a whole number from 1 to 10", "expected a whole number from 1 to 3"],
    ),
    (
        "what two keys say together",
        &[
            "is of no use without loadBalancing",
            "more than one of header, cookie, ip and plugin",
            "says what retry says too",
            "is never asked for with",
            "no target is https://",
            "has one of cert and key",
            "h2c is HTTP/2 in the clear",
            "asks nobody for",
            "there is no kv.redis",
            "among 2 targets",
            "username stands without",
            "and tls is false",
            "and there is no admin.token",
            "stands in headers too",
        ],
    ),
    ("regular expressions", &["expected a regular expression"]),
    (
        "paths that have another normal form",
        &["write it as", "no request is let through", "no query"],
    ),
    (
        "addresses whose parts are wrong",
        &[
            "host is \"",
            "username, password and db",
            "as certificates have it",
            "SRV records say the port",
            "an address has no SRV",
        ],
    ),
    ("headers that can't be set", &["preserveHost: false", "writes it itself"]),
];

/// Holds the schema against texts that the gateway refuses with these words.
pub(in crate::control::config) fn refuse_too(cases: &[(&str, String)]) {
    let texts: Vec<&str> = cases.iter().map(|(text, _)| *text).collect();
    for ((text, said), refused) in cases.iter().zip(verdicts(&texts)) {
        let is_beyond =
            BEYOND_A_SCHEMA.iter().any(|(_, words)| words.iter().any(|word| said.contains(word)));
        assert!(
            refused != Some(false) || is_beyond,
            "the schema takes what the gateway refuses:\n{text}\n{said}"
        );
    }
}

#[test]
fn the_schema_takes_every_configuration_of_the_repository() {
    let mut texts = Vec::new();
    for file in [
        "config/odin.yaml",
        "config/minimal.yaml",
        "config/deploy/docker/config.yaml",
        "tests/gateway/page/complete.yaml",
        "src/cli/template/common/gateway.yaml",
    ] {
        texts.push((file.to_owned(), read_file(file)));
    }
    for page in markdown() {
        let text = read_file(&page);
        for (at, block) in text.split("```yaml\n").skip(1).enumerate() {
            let block = block.split("```").next().unwrap_or_default().to_owned();
            // Blocks of other programs, and of parts of a configuration, are not read as one.
            let env = |name: &str| (name != "ODIN_LISTEN").then(|| "1".to_owned());
            if parse(&block, &page, &env).is_ok() {
                texts.push((format!("{page}, block {}", at + 1), block));
            }
        }
    }
    let bare: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
    for ((name, text), refused) in texts.iter().zip(verdicts(&bare)) {
        assert_eq!(refused, Some(false), "{name}\n{text}");
    }
    assert!(texts.len() > 10, "the pages have blocks of YAML: {}", texts.len());
}

#[expect(clippy::disallowed_methods, reason = "a test reads files")]
fn read_file(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap()
}

fn markdown() -> Vec<String> {
    let docs = root("docs").read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    let docs = docs.map(|name| format!("docs/{}", name.to_string_lossy()));
    docs.filter(|name| name.ends_with(".md")).chain(["README.md".to_owned()]).collect()
}
