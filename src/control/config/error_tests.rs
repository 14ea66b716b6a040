//! What a file can hold that is wrong: each error's words and place, all at once, and the bounds.

use super::keys::tests::refuse_too;
use super::tests::{EVERY_KEY, bad, good};
use super::*;

#[test]
fn all_errors_are_reported_at_once_by_place() {
    let text = "\
server:
  listen: 8080
  worker: 4
  drainTimeout: 5
wasm:
  plugins:
    - name: a b
      type: filter
      priority: high
      allowedUrls: [/ok, '(']
      services: [user-service]
    - path: x.wasm
services:
  - name: users-service
    basePath: api
";
    let want = "\
odin.yaml:2:11: server.listen: got 8080, expected an address such as 127.0.0.1:8080, \"[::]:8080\" \
or unix:/run/odin.sock; \"8080\" is neither a host name nor an IP address
odin.yaml:3:3: server.worker: unknown key; did you mean \"workers\"? allowed here: listen, \
workers, pinCores, ioDriver, nameServers, trustedProxies, trustForwarded, underscoresInHeaders, \
encodedSlashes, pathParameters, nonUtf8Paths, halfClosedClients, serverTiming, limits, http2, \
timeouts, drainTimeout, upgradeTimeout
odin.yaml:4:17: server.drainTimeout: got 5, expected a duration such as 500ms, 5s, 1m30s or 1h: a \
number needs a unit, write 5s or 5ms
odin.yaml:7:7: wasm.plugins[0].path: missing; give its .wasm file, absolute or under \
wasm.pluginDir, or its URL
odin.yaml:7:13: wasm.plugins[0].name: got \"a b\", expected a name of 1 to 128 of A-Z a-z 0-9 . _ -
odin.yaml:8:13: wasm.plugins[0].type: got \"filter\", expected one of auth, ratelimit, request, \
response, middleware, aggregation
odin.yaml:9:17: wasm.plugins[0].priority: got \"high\", expected a whole number from \
-2147483648 to 2147483647
odin.yaml:10:26: wasm.plugins[0].allowedUrls[1]: got \"(\", expected a regular expression: \
unclosed group
odin.yaml:11:18: wasm.plugins[0].services[0]: no service named \"user-service\"; did you mean \
\"users-service\"? known: \"users-service\"
odin.yaml:12:7: wasm.plugins[1].name: missing; each plugin has a name of its own
odin.yaml:14:5: services[0].targets: missing; give where its requests go, such as \
[http://127.0.0.1:9001] or [builtin:echo]
odin.yaml:15:15: services[0].basePath: got \"api\", expected a path such as /api; it begins with \
\"/\"";
    assert_eq!(bad(text), want);
}

/// Each text has exactly one error, which contains the words beside it. The schema refuses it too,
/// as far as one can.
fn check(cases: &[(&str, &str)]) {
    let said = cases.iter().map(|(text, want)| {
        let error = bad(text);
        assert!(error.contains(want), "{text}\ngot:  {error}\nwant: {want}");
        assert_eq!(error.lines().count(), 1, "{text}\n{error}");
        (*text, error)
    });
    refuse_too(&said.collect::<Vec<_>>());
}

#[test]
fn misplaced_values_and_keys_are_told_what_stands_there() {
    check(&[
        // shapes
        (
            "- a",
            "1:1: got a list, expected a map of: server, admin, logging, tracing, kv, modules, \
             wasm, services",
        ),
        ("server: 5", "1:9: server: got 5, expected a map of: listen"),
        ("server: {limits: [1]}", "1:18: server.limits: got a list, expected a map"),
        ("wasm: {plugins: {a: 1}}", "1:17: wasm.plugins: got a map, expected a list"),
        ("wasm: {plugins: [a]}", "1:18: wasm.plugins[0]: got \"a\", expected a map"),
        ("server: {listen: []}", "got an empty list, expected at least one address"),
        ("server: {listen: [a:1, a:1]}", "1:24: server.listen[1]: a:1 stands twice"),
        // keys
        ("servers: 1", "1:1: servers: unknown key; did you mean \"server\"? allowed here: server"),
        ("wasm: {max_instances: 1}", "wasm.max_instances: unknown key; did you mean \"maxInst"),
        ("wasm: {colour: red}", "1:8: wasm.colour: unknown key; allowed here: enabled, pluginDir"),
        ("server: {listen: [{protocols: [http/1.1]}]}", "1:19: server.listen[0].address: missing"),
        ("server: {listen: [{address: 'a:1', tls: {}}]}", "tls.certificates: missing; a list of"),
        (
            "server: {listen: [{address: 'a:1', tls: {certificates: []}}]}",
            "at least one certificate",
        ),
        ("server: {listen: [{address: 'a:1', tls: {certificates: [{cert: a}]}}]}", ".key: missing"),
        ("server: {listen: [{address: 'a:1', protocols: [h3]}]}", "http/1.1"),
        ("server: {listen: [{address: 'a:1', protocols: []}]}", "at least one protocol"),
        (
            "server: {listen: [{address: 'a:1', tls: {certificates: [{cert: a, key: b}]}, \
             protocols: [h2c]}]}",
            "got \"h2c\", expected h2 where there is tls",
        ),
        ("server: {listen: [{address: 'a:1', proxyProtocol: on}]}", "off, accept, require"),
        ("server: {trustedProxies: [10.0.0.0/33]}", "1:27: server.trustedProxies[0]: got"),
        ("server: {tls: {}}", "1:10: server.tls: is not supported yet; write it beside an address"),
        ("wasm: {\"a\\nb\": 1}", "wasm[\"a\\nb\"]: unknown key"),
    ]);
}

#[test]
fn numbers_and_booleans_are_told_what_was_got_and_what_is_allowed() {
    check(&[
        ("wasm: {enabled: yes}", "got \"yes\", expected true or false"),
        ("wasm: {enabled: 'true'}", "got the string \"true\", expected true or false"),
        ("wasm: {enabled: }", "got nothing, expected true or false"),
        ("wasm: {maxInstances: 0}", "got 0, expected a whole number from 1 to 4096"),
        ("wasm: {maxInstances: '5'}", "got the string \"5\", expected a whole number"),
        ("wasm: {maxMemoryPages: 65537}", "got 65537, expected a whole number from 1 to 65536"),
        ("wasm: {maxMemoryPages: 99999999999999999999999999}", "got 99999999999999999999999999,"),
        ("wasm: {maxMemoryPages: 1.5}", "got 1.5, expected a whole number"),
        ("wasm: {maxMemoryPages: 1e2}", "got 1e2, expected a whole number"),
        ("server: {workers: many}", "got \"many\", expected auto or a whole number from 1 to 1024"),
        ("server: {workers: 0}", "got 0, expected a whole number from 1 to 1024"),
    ]);
}

#[test]
fn durations_sizes_and_words_are_told_their_form() {
    check(&[
        // durations and sizes
        (
            "wasm: {timeout: 0s}",
            "got \"0s\", expected a duration such as 500ms or 5s, from 1ms to 24h",
        ),
        ("wasm: {timeout: 25h}", "from 1ms to 24h"),
        ("wasm: {timeout: 5 sec}", "got \"5 sec\", expected a duration such as"),
        ("wasm: {timeout: 30}", "a number needs a unit, write 30s or 30ms"),
        ("server: {limits: {headBytesMax: 16KB}}", "got \"16KB\", expected a size in bytes such"),
        (
            "server: {limits: {headBytesMax: 1}}",
            "got 1, expected a size such as 16KiB or 1MiB, from 1024",
        ),
        // words
        ("server: {ioDriver: iouring}", "one of auto, io_uring, epoll; did you mean \"io_uring\"?"),
        ("logging: {level: verbose}", "one of off, error, warn, info, debug, trace"),
        (
            "logging: {accessLog: stdot}",
            "got \"stdot\", expected off, stdout or a path with a \"/\"",
        ),
    ]);
}

#[test]
fn services_are_told_what_they_can_be() {
    check(&[
        (service("basePath: /a//b"), "write it as \"/a/b\""),
        (service("basePath: /a/../b"), "write it as \"/b\""),
        (service("basePath: /a/..//../b"), "no request is let through"),
        (service("basePath: /%61"), "write it as \"/a\""),
        (service("basePath: /caf\u{e9}"), "write it as \"/caf%C3%A9\""),
        (service("basePath: /a?b"), "no query"),
        (service("loadBalancing: roundrobin"), "did you mean \"round-robin\"?"),
        (service("hash: {ip: true}"), "is of no use without loadBalancing: consistent-hash"),
        (
            service("loadBalancing: consistent-hash, hash: {ip: true, header: X}"),
            "more than one of header, cookie, ip and plugin",
        ),
        (
            service("loadBalancing: consistent-hash, hash: {boundedLoad: 0.5}"),
            "a number from 1.01 to 10",
        ),
        (service("outlier: never"), "expected one of off"),
        (service("outlier: {ejectedMax: 120%}"), "a part such as 20%, from 0% to 100%"),
        (service("retry: {tries: 9}"), "a whole number from 1 to 8"),
        (service("retry: {on: [404]}"), "connect, reset, timeout or a status from 500 to 599"),
        (service("retry: {methods: [POST]}"), "may not be done twice"),
        (service("retry: {methods: all}"), "expected one of idempotent, safe"),
        (service("retry: {}, retryCount: 1"), "says what retry says too"),
        (service("healthCheck: {path: healthz}"), "a path such as /healthz"),
        (service("healthCheck: {tcp: true, path: /a}"), "is never asked for with tcp: true"),
        (service("healthCheck: {status: [200-99]}"), "a status or a range of them"),
        (service("healthCheck: {interval: 1ms}"), "from 100ms to"),
        (service("healthCheck: {grpc: true, path: /a}"), "is never asked for with grpc"),
        (service("healthCheck: {grpc: true, tcp: true}"), "is never asked for with tcp: true"),
        (service("healthCheck: {grpc: 'a b'}"), "true, or the name of a service"),
        (service("tls: {}"), "is of no use: no target is https://"),
        (secure("tls: {cert: a.pem}"), "has one of cert and key"),
        (secure("tls: {insecure: true, ca: a.pem}"), "asks nobody for"),
        (secure("tls: {serverName: 'a b'}"), "a name or an address as certificates have it"),
        (secure("tls: {alpn: []}"), "at least one of h2 and http/1.1"),
        (secure("tls: {alpn: [h2, h2]}"), "has one of them twice"),
        (secure("tls: {alpn: [h3]}"), "expected"),
        (service("resolve: 10ms"), "from 500ms to"),
        ("server: {nameServers: [dns.internal]}", "the address of a name server, such as 10.0.0.2"),
        ("services: [{name: a, targets: ['http://srv:_a._tcp.b:80']}]", "SRV records say the port"),
        (
            "services: [{name: a, targets: ['http://srv:10.0.0.1']}]",
            "an address has no SRV records",
        ),
        (service("addresses: all"), "expected one of each, together"),
        (service("headers: {Host: a}"), "preserveHost: false"),
        (service("headers: {content-LENGTH: 1}"), "the gateway writes it itself"),
        (service("headers: {X-A: a, x-a: b}"), "x-a is the same header as X-A"),
        (service("headers: {'X A': a}"), "\"X A\" is not a header name"),
        (
            service("headers: {X: \"a\\r\\nY: b\"}"),
            "services[0].headers.X: expected a text without",
        ),
        (service("headers: {X: [a]}"), "expected a text without"),
    ]);
}

#[test]
fn targets_and_what_services_share_are_told_what_they_can_be() {
    check(&[
        ("services: [{name: a, targets: []}]", "got an empty list, expected at least one target"),
        ("services: [{name: a, targets: }]", "got nothing, expected at least one target"),
        ("services: [{name: a, targets: [ftp://b]}]", "write the \"http://\" too"),
        ("services: [{name: a, targets: [{weight: 2}]}]", "services[0].targets[0].url: missing"),
        (
            "services: [{name: a, targets: [{url: http://b, weight: 0}]}]",
            "got 0, expected a whole number from 1 to 1000",
        ),
        (
            "services: [{name: a, targets: [http://b]}, \
             {name: a, basePath: /b, targets: [http://b]}]",
            "services[1].name: got \"a\", which is taken at 1:19; give each its own name",
        ),
        (
            "services: [{name: a, targets: [http://b]}, \
             {name: b, basePath: /, targets: [http://b]}]",
            "1:44: services[1]: basePath \"/\" is taken by the service at 1:12",
        ),
    ]);
}

#[test]
fn plugins_are_told_what_they_can_be() {
    check(&[
        (plugin("sha256: abc"), "got \"abc\", expected 64 hexadecimal digits"),
        (plugin("instances: 11"), "got 11, expected a whole number from 1 to 10"),
        (plugin("maxInstances: 3, instances: 4"), "got 4, expected a whole number from 1 to 3"),
        (plugin("config: [a]"), "got a list, expected a map, which the plugin is handed as JSON"),
        (
            plugin("config: {a: {b: [0, .inf]}}"),
            "wasm.plugins[0].config.a.b[1]: got .inf, expected",
        ),
        (plugin("config: {a: 123456789012345678901234567890}"), "fits into 64 bits"),
        (plugin("allowedUrls: ['a{1000}{1000}']"), "it compiles to more than 1048576 bytes"),
        (plugin("allowedUrls: /api"), "got \"/api\", expected a list"),
        (plugin("path: ''"), "1:37: key \"path\" stands twice in one map, first at 1:28"),
    ]);
}

/// A service with a target by TLS and one more key.
fn secure(key: &str) -> &'static str {
    format!("services: [{{name: a, targets: ['https://a.example'], {key}}}]").leak()
}

/// A service with one more key.
fn service(key: &str) -> &'static str {
    format!("services: [{{name: a, targets: [builtin:echo], {key}}}]").leak()
}

/// A plugin with one more key.
fn plugin(key: &str) -> &'static str {
    format!("wasm: {{plugins: [{{name: a, path: b, {key}}}]}}").leak()
}

#[test]
fn builtin_echo_is_a_services_only_target() {
    let error = bad("services: [{name: a, targets: [builtin:echo, http://127.0.0.1:1]}]");
    assert!(error.contains("targets: got builtin:echo among 2 targets"), "{error}");
}

#[test]
fn services_that_plugins_name_are_checked_only_beside_services() {
    let plugins = "wasm: {plugins: [{name: a, path: b, services: [c]}]}\n";
    good(plugins);
    assert!(bad(&format!("{plugins}services: []")).contains("no service named \"c\"; known: none"));
}

#[test]
fn duplicate_keys_are_errors_with_both_places() {
    let error = bad("server:\n  workers: 1\n  workers: 2\nserver: {}\n");
    let want = "\
odin.yaml:3:3: key \"workers\" stands twice in one map, first at 2:3; take one out
odin.yaml:4:1: key \"server\" stands twice in one map, first at 1:1; take one out";
    assert_eq!(error, want);
    assert!(bad(plugin("config: {a: {b: 1, b: 1}}")).contains("key \"b\" stands twice"));
}

#[test]
fn what_is_not_yaml_is_refused_at_its_place() {
    for (text, place) in [
        ("server:\n\tlisten: a:1\n", "odin.yaml:2:"),
        ("server: {listen: [}\n", "odin.yaml:1:"),
        ("server: \"open\n", "odin.yaml:"),
        ("server: *nothing\n", "odin.yaml:1:9: not YAML"),
        ("%YAML 1.1\n---\nserver: {}\n", "odin.yaml:1:"),
        ("server: {}\n---\nserver: {}\n", "odin.yaml:2:1: a second document begins"),
        ("? [a]\n: b\n", "odin.yaml:1:3: a list or map stands as a key"),
        ("a: &x b\n*x : c\n", "odin.yaml:2:1: an alias stands as a key"),
        ("wasm: &w {plugins: [*w]}\n", "an alias can't stand inside of what it stands for"),
        ("server: !include a.yaml\n", "got the tag !include"),
        ("wasm: {maxInstances: !!int five}\n", "got the tag !!int on \"five\""),
        ("wasm: {<<: 5}\n", "\"<<\" takes a map or a list of maps"),
    ] {
        let error = bad(text);
        assert!(error.contains(place), "{text:?}: {error}");
    }
}

#[test]
fn an_error_of_syntax_does_not_hide_those_before_it() {
    let error = bad("a: ${UNSET}\na: 1\nb: [\n");
    assert_eq!(error.lines().count(), 3, "{error}");
}

#[test]
fn more_errors_than_a_person_reads_are_counted() {
    let text: String = (0..limits::CONFIG_ERRORS_MAX + 5).map(|n| format!("k{n}: 1\n")).collect();
    let error = bad(&text);
    assert_eq!(error.lines().count(), limits::CONFIG_ERRORS_MAX + 1);
    assert!(error.ends_with("\nodin.yaml: 5 more errors are not shown"), "{error}");
}

// --- anchors, sizes, depths ---

#[test]
fn aliases_and_merge_keys_repeat_what_they_name() {
    let config = good(
        "
wasm:
  plugins:
    - &first
      name: a
      path: x.wasm
      priority: 1
      config: &settings {on: true}
    - <<: *first
      name: b
    - {name: c, path: y.wasm, config: *settings}
    - <<: [{priority: 7}, *first]
      name: d
",
    );
    let all: Vec<_> = config.wasm.plugins.iter().map(|p| (p.name.as_str(), p.priority)).collect();
    assert_eq!(all, [("a", 1), ("b", 1), ("c", 100), ("d", 7)]);
    assert_eq!(config.wasm.plugins[2].config, serde_json::json!({"on": true}));
}

#[test]
fn a_small_file_can_not_grow_large_by_aliases() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..20 {
        let list = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    let error = bad(&laughs);
    assert!(error.contains("too large with its aliases and variables written out"), "{error}");
    // The same by bytes: few nodes, each large.
    let long = "x".repeat(100_000);
    let many = vec!["*long"; 200].join(", ");
    let error = bad(&format!("a: &long {long}\nb: [{many}]\n"));
    assert!(error.contains("too large with its aliases"), "{error}");
    // And by variables.
    let env = |name: &str| (name != "ODIN_LISTEN").then(|| "x".repeat(100_000));
    let text = format!("a: [{}]", vec!["'${V}'"; 200].join(", "));
    assert!(parse(&text, "odin.yaml", &env).unwrap_err().to_string().contains("too large"));
}

#[test]
fn depth_is_bounded_with_aliases_written_out() {
    let max = limits::CONFIG_DEPTH_MAX;
    let nested = |depth: usize| format!("{}x{}", "[".repeat(depth), "]".repeat(depth));
    // The file, wasm, plugins, the plugin and its config are five levels.
    good(&plugin_config(&nested(max - 5)));
    let too_deep = format!("nested {} levels deep, limit is {max}", max + 1);
    assert!(bad(&plugin_config(&nested(max - 4))).contains(&too_deep));
    // So deep that YAML's own limits speak first.
    for text in [nested(10_000), "- ".repeat(10_000), "{a: ".repeat(10_000)] {
        assert_eq!(bad(&text).lines().count(), 1);
    }
    let half = max / 2;
    let text = format!("a: &a {}\nb: {}", nested(half), nested(half).replace('x', "*a"));
    assert!(bad(&text).contains(&too_deep), "{}", bad(&text));
}

fn plugin_config(value: &str) -> String {
    format!("wasm: {{plugins: [{{name: a, path: b, config: {{v: {value}}}}}]}}")
}

#[test]
fn lists_have_limits() {
    let entry = |n| format!("  - {{name: p{n}, path: a}}\n");
    let many: String = (0..=limits::PLUGINS_MAX).map(entry).collect();
    let error = bad(&format!("wasm:\n plugins:\n{many}"));
    assert!(error.contains("wasm.plugins: got a list of 257, limit is 256; take some"), "{error}");
    let entry = |n| format!("  - {{name: s{n}, basePath: /s{n}, targets: [builtin:echo]}}\n");
    let many: String = (0..=limits::SERVICES_MAX).map(entry).collect();
    assert!(bad(&format!("services:\n{many}")).contains("got a list of 16385, limit is 16384"));
}

#[test]
fn a_text_over_the_limit_is_not_parsed() {
    let error = bad(&"#".repeat(limits::CONFIG_BYTES_MAX + 1));
    assert!(error.starts_with("odin.yaml: has more than 4194304 bytes, the limit"), "{error}");
}

/// Every prefix of a rich file, and the file with any one byte replaced, is parsed or refused:
/// nothing panics, and every error has a place in the file.
#[test]
fn no_damage_to_a_file_panics() {
    let env = |name: &str| (name != "ODIN_LISTEN").then(|| "1".to_owned());
    let lines = EVERY_KEY.lines().count() + 1;
    let check = |text: &str| {
        let Err(errors) = parse(text, "odin.yaml", &env) else {
            return;
        };
        for error in errors.errors() {
            let place = error.place.unwrap();
            assert!(place.line <= lines && place.column >= 1, "{place:?} in {text}");
            assert!(!error.text.contains('\n'), "{error:?}");
        }
    };
    let damage = ["\t", "*", "'", "{", "]", ":", "\u{1f980}", "\0", "&a ", "- ", "${"];
    for at in 0..EVERY_KEY.len() {
        let (before, after) = EVERY_KEY.split_at(at);
        check(before);
        check(&format!("{before}{}{}", damage[at % damage.len()], &after[1..]));
    }
}

#[test]
fn mistakes_in_kv_are_told_by_place() {
    check(&[
        ("kv: {backend: redis}", "1:5: kv: backend is redis, but there is no kv.redis"),
        (
            "kv: {backend: memcached}",
            "kv.backend: got \"memcached\", expected one of memory, redis",
        ),
        ("kv: {redis: {}}", "kv.redis.host: missing; as in redis:6379"),
        ("kv: {redis: {host: 'a:b:c'}}", "kv.redis.host: host is \"a:b:c\""),
        ("kv: {redis: {host: r, tls: yep}}", "kv.redis.tls: "),
        (
            "kv: {redis: {host: 'rediss://r', tls: false}}",
            "begins with rediss://, and tls is false",
        ),
        ("kv: {redis: {host: 'rediss://u:p@r/2'}}", "username, password and db"),
        ("kv: {redis: {host: r, username: u}}", "username stands without a password"),
        ("kv: {memory: {bytesMax: 1KiB}}", "kv.memory.bytesMax: got"),
        ("kv: {maxBytes: 1}", "kv.maxBytes: unknown key"),
    ]);
}

/// All that is said of a text, with `SECRET` in the environment.
fn said_of(text: &str, secret: &str) -> String {
    let env = |name: &str| (name == "SECRET").then(|| secret.to_owned());
    parse(text, "f", &env).expect_err(text).to_string()
}

#[test]
fn what_a_variable_holds_is_in_no_error() {
    for (text, secret) in [
        ("wasm: {maxInstances: '${SECRET}'}", "hunter2-s3cr3t"),
        ("wasm: {maxInstances: ${SECRET}}", "hunter2-s3cr3t"),
        ("server: {listen: '${SECRET}'}", "hunter2-s3cr3t"),
        ("server: {listen: '${SECRET}:80:90'}", "hunter2"),
        ("server: {listen: '[${SECRET}]:80'}", "hunter2"),
        ("server: {ioDriver: ${SECRET}}", "io_urinf"),
        ("server: {drainTimeout: ${SECRET}}", "918273"),
        ("server: {limits: {headBytesMax: ${SECRET}}}", "918273zz"),
        ("admin: {token: '${SECRET}'}", "hunter2 s3cr3t"),
        ("logging: {accessLog: '${SECRET}'}", "hunter2"),
        ("tracing: {otlp: {endpoint: '${SECRET}'}}", "hunter2-s3cr3t"),
        ("kv: {redis: {host: '${SECRET}'}}", "rediss://u:hunter2@h:99"),
        ("kv: {redis: {host: h, db: '${SECRET}'}}", "hunter2"),
        ("services: [{name: '${SECRET}', targets: ['builtin:echo']}]", "hunter2 s3cr3t"),
        ("services: [{name: a, targets: ['http://${SECRET}/x']}]", "hunter2"),
        ("services: [{name: a, targets: ['${SECRET}']}]", "http://u:hunter2@h"),
        ("services: [{name: a, targets: ['builtin:echo'], basePath: '${SECRET}'}]", "hunter2"),
        (
            "services: [{name: a, targets: ['builtin:echo'], headers: {A: '${SECRET}'}}]",
            "hunter2\n",
        ),
        ("wasm: {plugins: [{name: a, path: p, sha256: '${SECRET}'}]}", "hunter2"),
        ("wasm: {plugins: [{name: a, path: p, allowedUrls: ['${SECRET}']}]}", "hunter2("),
        ("wasm: {plugins: [{name: a, path: p, services: ['${SECRET}']}]}\nservices: []", "hunter2"),
        ("wasm: {plugins: [{name: a, path: p, timeout: !!int '${SECRET}'}]}", "hunter2"),
        ("wasm: {plugins: [{name: a, path: p, config: ['${SECRET}']}]}", "hunter2"),
        // Twice the same, told where the second stands or where both belong.
        (
            "services: [{name: a, basePath: '${SECRET}', targets: ['builtin:echo']}, \
             {name: b, basePath: '${SECRET}', targets: ['builtin:echo']}]",
            "/hunter2",
        ),
        (
            "wasm: {plugins: [{name: '${SECRET}', path: p}, {name: '${SECRET}', path: p}]}",
            "hunter2",
        ),
    ] {
        let said = said_of(text, secret);
        for part in secret.split(|c: char| !c.is_ascii_alphanumeric()).filter(|p| p.len() > 4) {
            assert!(!said.contains(part), "{text}: {said}");
        }
        let place = said.contains("f:1:") || said.contains("f:2:");
        assert!(place && !said.contains(secret.trim()), "{text}: {said}");
    }
}

#[test]
fn an_error_shows_a_variable_as_it_is_written_and_what_is_allowed() {
    let said = said_of("wasm: {maxInstances: '${SECRET}'}", "hunter2");
    assert!(said.contains("got \"${SECRET}\", expected a whole number from 1 to"), "{said}");
    let said = said_of("server: {listen: '${SECRET}'}", "hunter2");
    assert!(said.contains("got \"${SECRET}\", expected an address such as"), "{said}");
}

#[test]
fn a_headers_value_is_in_no_error() {
    for value in ["\"hunter2\\n\"", "\" hunter2\"", "[hunter2]"] {
        let text =
            format!("services: [{{name: a, targets: ['builtin:echo'], headers: {{A: {value}}}}}]");
        let said = said_of(&text, "");
        assert!(said.contains("headers.A") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn patterns_that_are_too_much_together_are_an_error_of_the_file() {
    // Each is within the limit of one.
    let pattern = "'^/[a-z]{1,400}/[a-z]{1,400}$'";
    let list = vec![pattern; 400].join(", ");
    let text = format!("wasm: {{plugins: [{{name: a, path: p, allowedUrls: [{list}]}}]}}");
    let said = said_of(&text, "");
    assert!(said.contains("wasm.plugins[0].allowedUrls: got 400 patterns"), "{said}");
    assert!(said.contains("together"), "{said}");
}
