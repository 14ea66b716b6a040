//! Whoever does what an error says has no error: each cure that is printed is fed back.

use super::tests::{bad, good};

/// A text that is refused, a cure as its error prints it, and the text with the cure in it.
const CURES: &[(&str, &str, &str)] = &[
    ("server:\n  listen: :8080", "0.0.0.0:8080", "server:\n  listen: 0.0.0.0:8080"),
    ("server:\n  listen: :8080", "\"[::]:8080\"", "server:\n  listen: \"[::]:8080\""),
    ("server:\n  listen: '*:80'", "\"[::]:80\"", "server:\n  listen: [\"[::]:80\"]"),
    ("server: {listen: 8080}", "127.0.0.1:8080", "server: {listen: 127.0.0.1:8080}"),
    ("server:\n  listen: 8080", "\"[::]:8080\"", "server:\n  listen: \"[::]:8080\""),
    ("server: {listen: 8080}", "unix:/run/odin.sock", "server: {listen: unix:/run/odin.sock}"),
    ("server: {worker: 4}", "workers", "server: {workers: 4}"),
    ("server: {workers: many}", "auto", "server: {workers: auto}"),
    ("server: {drainTimeout: 5}", "5s", "server: {drainTimeout: 5s}"),
    ("server: {drainTimeout: 5}", "5ms", "server: {drainTimeout: 5ms}"),
    ("wasm: {timeout: 5 sec}", "1m30s", "wasm: {timeout: 1m30s}"),
    ("server: {limits: {bodyBytesMax: 16KB}}", "16KiB", "server: {limits: {bodyBytesMax: 16KiB}}"),
    ("server: {ioDriver: iouring}", "io_uring", "server: {ioDriver: io_uring}"),
    ("admin: {listen: 0.0.0.0:8081}", "127.0.0.1", "admin: {listen: 127.0.0.1:8081}"),
    ("admin: {listen: 0.0.0.0:8081}", "token", "admin: {listen: 0.0.0.0:8081, token: t}"),
    ("admin: {listen: unix:/run/a}", "127.0.0.1:8081", "admin: {listen: 127.0.0.1:8081}"),
    (
        "server: {listen: 127.0.0.1:8081}",
        "off",
        "server: {listen: 127.0.0.1:8081}\nadmin: {listen: off}",
    ),
    ("logging: {accessLog: stdot}", "./access.log", "logging: {accessLog: ./access.log}"),
    (
        "tracing: {otlp: {endpoint: 'localhost:4318'}}",
        "http://127.0.0.1:4318",
        "tracing: {otlp: {endpoint: http://127.0.0.1:4318}}",
    ),
    ("tracing: {sampleRate: all}", "0.01", "tracing: {sampleRate: 0.01}"),
    ("kv: {redis: {}}", "redis:6379", "kv: {redis: {host: redis:6379}}"),
    ("wasm: {pluginDir: '${DIR}'}", "${DIR:-default}", "wasm: {pluginDir: '${DIR:-default}'}"),
    ("wasm: {pluginDir: 'a${b'}", "$${", "wasm: {pluginDir: 'a$${b'}"),
    (
        "wasm: {pluginDir: '${file:/no/such}'}",
        "${file:/no/such:-default}",
        "wasm: {pluginDir: '${file:/no/such:-default}'}",
    ),
    ("services: [{name: a}]", "[builtin:echo]", "services: [{name: a, targets: [builtin:echo]}]"),
    (
        "services: [{name: a}]",
        "[http://127.0.0.1:9001]",
        "services: [{name: a, targets: [http://127.0.0.1:9001]}]",
    ),
    (
        "services: [{name: a, targets: ['127.0.0.1:9001']}]",
        "http://",
        "services: [{name: a, targets: ['http://127.0.0.1:9001']}]",
    ),
    (
        "services: [{name: a, targets: [builtin:echo], basePath: /a//b}]",
        "\"/a/b\"",
        "services: [{name: a, targets: [builtin:echo], basePath: \"/a/b\"}]",
    ),
    (
        "services: [{name: a, targets: [builtin:echo], basePath: api}]",
        "/api",
        "services: [{name: a, targets: [builtin:echo], basePath: /api}]",
    ),
    (
        "services: [{name: a, targets: ['http://b'], loadBalancing: roundrobin}]",
        "round-robin",
        "services: [{name: a, targets: ['http://b'], loadBalancing: round-robin}]",
    ),
    (
        "services: [{name: a, targets: ['http://b'], hash: {ip: true}}]",
        "loadBalancing: consistent-hash",
        "services: [{name: a, targets: ['http://b'], loadBalancing: consistent-hash, \
         hash: {ip: true}}]",
    ),
    (
        "services: [{name: a, targets: ['http://b'], headers: {Host: c}}]",
        "preserveHost: false",
        "services: [{name: a, targets: ['http://b'], preserveHost: false}]",
    ),
    (
        "services: [{name: a, targets: ['http://b'], \
         aggregation: {dependencies: [{service: a, path: /}]}}]",
        "[{from: $, to: $.product}]",
        "services: [{name: a, targets: ['http://b'], \
         aggregation: {dependencies: [{service: a, path: /, \
         resultMapping: [{from: $, to: $.product}]}]}}]",
    ),
];

#[test]
fn every_cure_that_an_error_prints_works() {
    for (text, cure, cured) in CURES {
        let error = bad(text);
        assert!(error.contains(cure), "{text}\n{error}\nlacks {cure}");
        assert!(cured.contains(cure), "{cured} is not what {cure} says");
        good(cured);
    }
}

#[test]
fn a_number_that_is_too_large_is_taken_in_the_quotes_that_its_error_names() {
    let plugin = |n: &str| format!("wasm: {{plugins: [{{name: a, path: b, config: {{n: {n}}}}}]}}");
    assert!(bad(&plugin("123456789012345678901")).contains("or a text in quotes"));
    good(&plugin("'123456789012345678901'"));
}

/// The least file that is of use is named where a file is empty.
#[test]
fn the_file_that_an_empty_one_is_told_of_works() {
    assert!(bad("").contains("config/minimal.yaml is the least of use"));
    good(include_str!("../../../config/minimal.yaml"));
}
