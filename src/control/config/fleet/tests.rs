//! A node's file, a fleet's document, and the two together.

use super::super::parse;
use super::*;

fn env(name: &str) -> Option<String> {
    (name == "HOST").then(|| "db.example".to_owned())
}

const NODE: &str = "fleet: {etcd: {endpoints: ['http://127.0.0.1:2379', 'https://[::1]/'], \
     username: odin, password: s3cret, tls: {ca: a.pem, serverName: etcd}}, node: a}";

fn node() -> Config {
    parse(NODE, "node.yaml", &env).unwrap_or_else(|errors| panic!("{errors}"))
}

fn shared(text: &str, must_be_set: bool) -> Result<Shared, String> {
    document_with(text, "doc", must_be_set, &env).map_err(|errors| errors.to_string())
}

#[test]
fn a_node_names_its_fleet() {
    let fleet = node().fleet.unwrap();
    let shown: Vec<_> = fleet.etcd.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["http://127.0.0.1:2379", "https://[::1]:2379"]);
    assert_eq!(fleet.etcd.prefix, "/odin");
    assert!(!format!("{fleet:?}").contains("s3cret"));
}

#[test]
fn what_is_shared_stands_in_no_nodes_file_and_what_is_a_nodes_own_in_no_document() {
    for key in SHARED {
        let text = format!("{NODE}\n{key}:");
        let error = parse(&text, "node.yaml", &env).unwrap_err().to_string();
        assert!(error.contains(&format!("{key}: stands in a node's file")), "{error}");
    }
    for key in OWN {
        let error = shared(&format!("services: []\n{key}: {{}}"), true).unwrap_err();
        assert!(
            error.contains(&format!("doc:2:1: {key}: stands in a fleet's document")),
            "{error}"
        );
    }
    assert!(shared("", true).unwrap_err().contains("has no content"));
    assert!(shared("nonsense: 1", true).unwrap_err().contains("unknown key"));
}

#[test]
fn what_is_wrong_with_a_fleet_is_said() {
    for (text, want) in [
        ("{}", "fleet.etcd: missing"),
        ("{etcd: {}}", "fleet.etcd.endpoints: missing"),
        ("{etcd: {endpoints: []}}", "at least one member"),
        ("{etcd: {endpoints: ['a:1']}}", "write the \"http://\" too"),
        ("{etcd: {endpoints: ['http://a:0']}}", "port 0"),
        ("{etcd: {endpoints: ['http://u:p@a']}}", "no user"),
        ("{etcd: {endpoints: ['http://a'], prefix: odin}}", "\"/\" in front"),
        ("{etcd: {endpoints: ['http://a'], prefix: /odin/}}", "none at its end"),
        ("{etcd: {endpoints: ['http://a'], username: u}}", "one of username and password"),
        ("{etcd: {endpoints: ['http://a'], tls: {cert: c}}}", "one of cert and key"),
        ("{etcd: {endpoints: ['http://a']}, node: 'a b'}", "fleet.node: got"),
    ] {
        let text = format!("fleet: {text}");
        let error = parse(&text, "node.yaml", &env).unwrap_err().to_string();
        assert!(error.contains(want), "{text}: {error}");
    }
}

#[test]
fn an_unset_variable_is_an_error_on_a_node_and_left_open_by_a_push() {
    let text = "services:\n  - {name: a, basePath: /, targets: ['http://${HOST}:80', \
                'http://${MISSING}']}\nkv: {redis: {host: '${MISSING}', password: '${SECRET}'}}\n\
                tracing: {sampleRate: '${RATE}', otlp: {endpoint: '${OTLP}'}}";
    let error = shared(text, true).unwrap_err();
    assert!(error.contains("MISSING is not set") && error.contains("SECRET is not set"), "{error}");
    let shared = shared(text, false).unwrap();
    assert_eq!(shared.unset, ["MISSING", "OTLP", "RATE", "SECRET"]);
    assert_eq!(shared.config.services[0].targets.len(), 1);
}

#[test]
fn nothing_else_becomes_right_because_a_variable_is_open() {
    let error = shared("services:\n  - {name: '${MISSING}', basePath: 1, targets: []}", false);
    assert!(error.unwrap_err().contains("basePath"));
    assert!(shared("kv: {backend: '${'}", false).unwrap_err().contains("never closed"));
}

#[test]
fn the_two_together_are_a_nodes_configuration() {
    let text = "services:\n  - {name: a, basePath: /, targets: ['builtin:echo']}";
    let document = Document { revision: 7, text: text.into() };
    let config = node().of_fleet(&document).unwrap();
    assert_eq!(config.file, "fleet revision 7");
    assert_eq!(config.services.len(), 1);
    assert_eq!(config.fleet, node().fleet);
    let error = node().of_fleet(&Document { revision: 8, text: "services: 1".into() });
    assert!(error.unwrap_err().to_string().starts_with("fleet revision 8:1:11: services: got"));
}

#[test]
fn what_looks_like_a_secret_is_found_and_what_is_named_is_not() {
    for text in [
        "a: {password: hunter2}",
        "a: {apiKey: k3y}",
        "a: {headers: {Authorization: 'Bearer abcdefghijklmnop'}}",
        "a: ['redis://user:pass@host/0']",
        "a: \"-----BEGIN EC PRIVATE KEY-----\\nMIG\"",
        "a: {x: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl}",
        "a: {x: AKIAIOSFODNN7EXAMPLE}",
    ] {
        let found = secrets(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(!found[0].contains("hunter2") && !found[0].contains("pass@"), "{found:?}");
    }
    for text in [
        "a: {password: '${P}', token: '${file:/run/t}'}",
        "a: {tokenTtl: 5, secretFile: /run/s, token: off}",
        "a: {x: 'http://user@host/', y: 'https://host/a:b@c'}",
        "a: [1, two, /three]",
    ] {
        assert_eq!(secrets(text), Vec::<String>::new(), "{text}");
    }
}
