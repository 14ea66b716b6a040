//! Whole files and what they mean; their errors are in `error_tests`.

use std::io::Write;
use std::time::Duration;

use super::keys::tests::each_section;
use super::*;
use crate::route::path::{Parameters, Rules};
use crate::trace::access_log::Field;

pub(super) const ODIN_YAML: &str = include_str!("../../../config/odin.yaml");
pub(super) const DOCUMENTATION: &str = include_str!("../../../docs/configuration.md");

pub(super) fn no_env(_: &str) -> Option<String> {
    None
}

pub(super) fn good(text: &str) -> Config {
    parse(text, "odin.yaml", &no_env).unwrap_or_else(|errors| panic!("{errors}\nin\n{text}"))
}

/// The errors of a text as they are printed.
pub(super) fn bad(text: &str) -> String {
    match parse(text, "odin.yaml", &no_env) {
        Ok(_) => panic!("no error in\n{text}"),
        Err(errors) => errors.to_string(),
    }
}

/// A file of the test's own with these bytes.
fn file_with(name: &str, bytes: &[u8]) -> PathBuf {
    let name = format!("odin-config-{}-{name}", std::process::id());
    let path = std::env::temp_dir().join(name);
    File::create(&path).unwrap().write_all(bytes).unwrap();
    path
}

// --- what files mean ---

#[test]
fn what_a_file_does_not_say_has_its_default() {
    let default = good("server:");
    assert_eq!(default.server.listen, [Listener::plain(Listen::tcp("127.0.0.1", 8080))]);
    assert_eq!(default.admin.listen, Some(Listen::tcp("127.0.0.1", 8081)));
    assert_eq!(default.wasm.timeout, Duration::from_secs(5));
    for text in ["{}", "server:\nwasm:\nservices:\n"] {
        assert_eq!(good(text), default, "{text:?}");
        assert!(good(text).lacks_services().is_some(), "{text:?}");
    }
    assert_eq!(good("services: []").lacks_services(), None);
    for text in ["", "\n", "# only a comment\n", "---\n", "\u{feff}", "~"] {
        assert!(bad(text).starts_with("odin.yaml:1:1: the file has no content"), "{text:?}");
    }
}

#[test]
fn the_files_of_config_parse() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut count = 0;
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            load(&path).unwrap_or_else(|errors| panic!("{errors}"));
            count += 1;
        }
    }
    assert!(count >= 2, "odin.yaml and minimal.yaml are there");
}

#[test]
fn the_embedded_configuration_echoes_on_the_loopback_address() {
    let config = Located::Embedded.load().unwrap();
    assert_eq!(config.server.listen, [Listener::plain(Listen::tcp("127.0.0.1", 8080))]);
    assert_eq!(config.wasm.plugins, []);
    let service = &config.services[0];
    assert_eq!(service.base_path, "/");
    assert_eq!(service.targets[0].kind, TargetKind::Echo);
}

#[test]
fn the_example_of_the_documentation_parses() {
    let (_, rest) = DOCUMENTATION.split_once("```yaml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let config = parse(example, "docs", &|name| (name != "ODIN_LISTEN").then(|| "k".to_owned()));
    let config = config.unwrap();
    assert_eq!(config.wasm.plugins[0].config, serde_json::json!({"validKeys": ["k"]}));
}

/// The keys that `odin.yaml` comments out are right too.
#[test]
fn odin_yaml_parses_with_its_examples_taken_in() {
    let mut keys: Vec<&str> = Vec::new();
    each_section(&mut |_, section| keys.extend(section.names()));
    let text: String = ODIN_YAML
        .lines()
        .map(|line| {
            let example = line.trim_start().strip_prefix("# ").filter(|rest| {
                let key = rest.split_once(": ").map(|(key, _)| key);
                key.is_some_and(|key| keys.contains(&key))
            });
            let indent = " ".repeat(line.len() - line.trim_start().len());
            example.map_or_else(|| format!("{line}\n"), |rest| format!("{indent}{rest}\n"))
        })
        .collect();
    let env = |name: &str| (name != "ODIN_LISTEN").then(|| "secret".to_owned());
    let config = parse(&text, "odin.yaml", &env).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.server.limits.connections_max, Some(16384));
    assert_eq!(config.admin.token.unwrap().reveal(), "secret");
    assert_eq!(config.wasm.plugins[0].sha256, Some([0; 32]));
}

#[test]
fn odin_yaml_runs_three_plugins_before_an_echo() {
    let config = good(ODIN_YAML);
    let files: Vec<_> = config.wasm.plugins.iter().map(|p| config.wasm.file_of(p)).collect();
    let want = ["rust", "go", "assemblyscript"]
        .map(|name| PathBuf::from(format!("plugins/dist/header-injection-{name}.wasm")));
    assert_eq!(files, want);
    assert_eq!(config.services[0].base_path, "/api");
    assert_eq!(config.services[0].targets[0].kind, TargetKind::Echo);
}

/// `odin.yaml` says what the defaults are, so its `server` and `logging` are the default ones.
#[test]
fn odin_yaml_states_the_defaults() {
    let (config, default) = (good(ODIN_YAML), good("{}"));
    assert_eq!(config.server, default.server);
    assert_eq!(config.admin, default.admin);
    assert_eq!(config.logging, default.logging);
    assert_eq!(config.services[0].timeout, limits::SERVICE_TIMEOUT);
    let [ours, theirs] = [&config.wasm, &default.wasm].map(|wasm| {
        let Wasm { enabled, max_memory_pages, max_instances, cache_enabled, timeout, .. } = *wasm;
        (enabled, max_memory_pages, max_instances, cache_enabled, timeout)
    });
    assert_eq!(ours, theirs);
}

pub(super) const EVERY_KEY: &str = r"
server:
  listen:
    - 0.0.0.0:80
    - '[::]:80'
    - unix:/run/odin.sock
    - address: 0.0.0.0:443
      tls:
        certificates: [{cert: a.pem, key: a.key, ocsp: a.ocsp}, {cert: b.pem, key: b.key}]
        minVersion: '1.3'
        clientAuth: {ca: ca.pem, mode: optional}
      protocols: [http/1.1]
      proxyProtocol: require
  nameServers: [127.0.0.1:8600]
  workers: 3
  pinCores: false
  ioDriver: epoll
  trustForwarded: true
  trustedProxies: [10.1.2.3/8, '::1']
  underscoresInHeaders: keep
  encodedSlashes: keep
  pathParameters: strip
  nonUtf8Paths: keep
  halfClosedClients: serve
  serverTiming: true
  limits:
    headBytesMax: 64KiB
    headFieldsMax: 50
    uriBytesMax: 4000
    bodyBytesMax: 2GiB
    bodyRateMin: 2KiB
    pluginBodyBytesMax: 2MiB
    bufferedBytesMax: 20MiB
    connectionsMax: 1000
    clientConnectionsMax: 20
    clientConnectionsPerSecond: 30
    upstreamIdleMax: 0
    upstreamConnectionsMax: 900
  http2: {streamsMax: 7, requestsMax: 8, streamWindowBytes: 1MiB, connectionWindowBytes: 2MiB}
  timeouts:
    {tlsHandshake: 5ms, head: 1s, idle: 2s, body: 3s, connect: 4ms, firstByte: 5m,
     upstreamIdle: 1m30s, tunnel: 2h}
  drainTimeout: 0s
  upgradeTimeout: 90s
admin: {listen: 0.0.0.0:9000, token: s3cret}
logging: {level: trace, format: json, accessLog: /var/log/odin.log, accessLogFields: [status, path]}
wasm:
  enabled: false
  pluginDir: p
  maxMemoryPages: 7
  maxInstances: 8
  cacheEnabled: false
  cacheDir: c
  timeout: 9s
  plugins:
    - name: a
      path: /x/a.wasm
      type: response
      enabled: false
      priority: -3
      timeout: 10ms
      allowedUrls: ['^/a$', /b]
      services: [one]
      config: {x: [1, two, null, 1.5, {y: true}]}
      failureMode: closed
      body: false
      onBodyTooLarge: pass
      encoding: identity
      isolation: request
      instances: 4
      maxInstances: 5
      maxMemoryPages: 6
      sha256: '00ff00000000000000000000000000000000000000000000000000000000Ab01'
      nonUtf8: hide
      tick: 30s
      tickOn: one
      rootId: root
      vmId: vm
      vmConfig: {a: 1}
services:
  - name: one
    basePath: /one/
    stripBasePath: true
    targets: [{url: http://h:1, weight: 7}, http://unix:/s]
    loadBalancing: round-robin
    limits: {connections: 10, pending: 0, pendingTimeout: 20ms}
    requestTrailers: [X-Sum]
    responseTrailers: [X-End, X-Sum]
    timeout: 11s
    headers: {X-A: b, X-N: 1}
    preserveHost: false
";

/// The listener of [`EVERY_KEY`] with all that one may have.
fn secure() -> Listener {
    let tls = Tls {
        certificates: vec![
            CertificateFiles {
                cert: "a.pem".into(),
                key: "a.key".into(),
                ocsp: Some("a.ocsp".into()),
            },
            CertificateFiles { cert: "b.pem".into(), key: "b.key".into(), ocsp: None },
        ],
        min_version: TlsVersion::V1_3,
        client_auth: Some(ClientAuth { ca: "ca.pem".into(), is_required: false }),
    };
    Listener {
        tls: Some(tls),
        protocols: vec![crate::http::connection::Protocol::Http1],
        proxy_protocol: crate::io::proxy::ProxyProtocol::Require,
        ..Listener::plain(Listen::tcp("0.0.0.0", 443))
    }
}

#[test]
fn the_admin_api_may_speak_tls() {
    let text =
        "admin: {listen: {address: '127.0.0.1:1', tls: {certificates: [{cert: a, key: b}]}}}";
    let admin = good(text).admin;
    assert_eq!(admin.listen, Some(Listen::tcp("127.0.0.1", 1)));
    assert_eq!(admin.tls.unwrap().min_version, TlsVersion::V1_2);
}

#[test]
fn listeners_of_one_address_have_ids_of_their_own() {
    let listen = &good("server: {listen: ['a:0', 'b:1', {address: 'a:0'}, 'a:0']}").server.listen;
    assert_eq!(listener_ids(listen), ["a:0", "b:1", "a:0 (2)", "a:0 (3)"]);
}

#[test]
fn every_key_of_server_admin_and_logging_reaches_its_field() {
    let config = good(EVERY_KEY);
    let [seconds, ms] = [Duration::from_secs, Duration::from_millis];
    let (tcp, socket) = (Listen::tcp, Listen::Unix("/run/odin.sock".into()));
    let server = Server {
        listen: vec![
            Listener::plain(tcp("0.0.0.0", 80)),
            Listener::plain(tcp("::", 80)),
            Listener::plain(socket),
            secure(),
        ],
        name_servers: vec!["127.0.0.1:8600".parse().unwrap()],
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        workers: Workers::Count(3),
        pin_cores: false,
        io_driver: IoDriver::Epoll,
        trust_forwarded: true,
        keeps_underscores: true,
        paths: Rules { keeps_slashes: true, parameters: Parameters::Strip, keeps_non_utf8: true },
        keeps_half_closed: true,
        server_timing: true,
        limits: Limits {
            head_bytes_max: 64 * 1024,
            head_fields_max: 50,
            uri_bytes_max: 4000,
            body_bytes_max: 2 << 30,
            body_rate_min: 2 << 10,
            plugin_body_bytes_max: 2 << 20,
            buffered_bytes_max: 20 << 20,
            connections_max: Some(1000),
            upstream_connections_max: Some(900),
            upstream_idle_max: 0,
            client_connections_max: Some(20),
            client_connections_per_second: Some(30),
        },
        http2: Http2 {
            streams_max: 7,
            requests_max: 8,
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 2 << 20,
        },
        timeouts: Timeouts {
            tls_handshake: ms(5),
            head: seconds(1),
            idle: seconds(2),
            body: seconds(3),
            connect: ms(4),
            first_byte: seconds(300),
            upstream_idle: seconds(90),
            tunnel: seconds(7200),
        },
        drain_timeout: Duration::ZERO,
        upgrade_timeout: Duration::from_secs(90),
    };
    assert_eq!(config.server, server);
    let token = Some(Secret::new("s3cret".to_owned()));
    let listen = Some(tcp("0.0.0.0", 9000));
    assert_eq!(config.admin, Admin { listen, tls: None, token });
    let (level, format) = (Level::Trace, Format::Json);
    let access_log = AccessLog::File("/var/log/odin.log".into());
    let access_log_fields = vec![Field::Status, Field::Path];
    assert_eq!(config.logging, Logging { level, format, access_log, access_log_fields });
}

#[test]
fn every_key_of_wasm_reaches_its_field() {
    let config = good(EVERY_KEY);
    let mut sha256 = [0; 32];
    (sha256[1], sha256[30], sha256[31]) = (0xff, 0xab, 0x01);
    let place = |line, column| Place { line, column };
    let pattern = |source: &str, place| Pattern { source: source.to_owned(), place };
    let plugin = Plugin {
        place: config.wasm.plugins[0].place,
        name: "a".to_owned(),
        path: "/x/a.wasm".into(),
        remote: None,
        kind: PluginType::Response,
        enabled: false,
        priority: -3,
        timeout: Some(Duration::from_millis(10)),
        allowed_urls: vec![pattern("^/a$", place(62, 21)), pattern("/b", place(62, 29))],
        services: vec!["one".to_owned()],
        config: serde_json::json!({"x": [1, "two", null, 1.5, {"y": true}]}),
        failure_mode: Some(FailureMode::Closed),
        body: Some(crate::plugin::BodyMode::None),
        on_body_too_large: OnBodyTooLarge::Pass,
        encoding: Encoding::Identity,
        isolation: Isolation::Request,
        instances: Some(4),
        max_instances: Some(5),
        max_memory_pages: Some(6),
        sha256: Some(sha256),
        non_utf8: Some(NonUtf8::Hide),
        tick: Some(Duration::from_secs(30)),
        tick_on: TickOn::One,
        root_id: "root".to_owned(),
        vm_id: "vm".to_owned(),
        vm_config: r#"{"a":1}"#.to_owned(),
    };
    let wasm = Wasm {
        enabled: false,
        plugin_dir: "p".into(),
        max_memory_pages: 7,
        max_instances: 8,
        cache_enabled: false,
        cache_dir: Some("c".into()),
        timeout: Duration::from_secs(9),
        plugins: vec![plugin],
    };
    assert_eq!(config.wasm, wasm);
    assert_eq!(config.wasm.file_of(&config.wasm.plugins[0]), Path::new("/x/a.wasm"));
}

#[test]
fn every_key_of_services_reaches_its_field() {
    let service = good(EVERY_KEY).services.remove(0);
    assert_eq!((service.name.as_str(), service.base_path.as_str()), ("one", "/one"));
    assert!(service.strip_base_path && !service.preserve_host);
    let targets: Vec<_> = service.targets.iter().map(|t| (t.kind.clone(), t.weight)).collect();
    let (host, port) = ("h".to_owned(), 1);
    let unix = TargetKind::Unix("/s".into());
    assert_eq!(targets, [(TargetKind::Http { host, port }, 7), (unix, 1)]);
    assert_eq!(service.origins, Origins::default());
    assert_eq!(service.timeout, Duration::from_secs(11));
    let headers = [("X-A", "b"), ("X-N", "1")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(service.headers, headers);
    let pending_timeout = Duration::from_millis(20);
    let limits = ServiceLimits {
        connections: Some(10),
        pending: 0,
        pending_timeout,
        ..ServiceLimits::default()
    };
    assert_eq!(service.limits, limits);
    assert_eq!(service.request_trailers, ["X-Sum"]);
    assert_eq!(service.response_trailers, ["X-End", "X-Sum"]);
}

#[test]
fn what_no_trailer_may_be_is_not_let_through_as_one() {
    let error = |name: &str| {
        bad(&format!(
            "services: [{{name: a, targets: [builtin:echo], headers: {{X-Key: s}}, \
             requestTrailers: [{name}]}}]"
        ))
    };
    for name in [
        "Authorization",
        "content-length",
        "Host",
        "Transfer-Encoding",
        "Cookie",
        "X-Real-IP",
        "TE",
    ] {
        let error = error(name);
        assert!(error.contains("services[0].requestTrailers[0]"), "{error}");
        assert!(error.contains("can't be a trailer"), "{error}");
    }
    assert!(error("x-key").contains("stands in headers too"));
    assert!(error("'a b'").contains("is not a header name"));
}

#[test]
fn connections_divide_over_workers() {
    let limits = |text: &str| good(&format!("server: {{limits: {{{text}}}}}")).server.limits;
    assert_eq!(limits("connectionsMax: 10").connections_per_worker(4), 3);
    assert_eq!(limits("connectionsMax: 1").connections_per_worker(4), 1);
    assert_eq!(limits("").connections_per_worker(4), limits::CONNECTIONS_MAX);
}

#[test]
fn a_small_head_limit_takes_the_target_limit_with_it() {
    let config = good("server: {limits: {headBytesMax: 4KiB}}");
    assert_eq!(config.server.limits.uri_bytes_max, 2048);
    let error = bad("server: {limits: {headBytesMax: 4KiB, uriBytesMax: 4KiB}}");
    assert!(error.contains("server.limits.uriBytesMax: got"), "{error}");
    assert!(error.contains("from 64 to 4095 bytes"), "{error}");
}

#[test]
fn sections_that_are_left_empty_are_as_if_they_were_not_there() {
    let nothing = good("{}");
    for text in [
        "services:",
        "logging:\n  accessLogFields:",
        "kv:\n  redis:",
        "tracing:\n  enabled: false\n  otlp:",
    ] {
        assert_eq!(format!("{:?}", good(text)), format!("{nothing:?}"), "{text}");
    }
    good("wasm: {plugins: [{name: a, path: b, services: [c]}]}\nservices:");
    good("services:\n- {name: a, targets: [builtin:echo], aggregation: }");
    assert!(bad("kv:\n  backend: redis\n  redis:").contains("there is no kv.redis"));
}

#[test]
fn a_secret_is_never_printed() {
    let config = good("admin: {token: hunter2}");
    assert!(!format!("{config:?}").contains("hunter2"));
    let error = bad("admin: {token: hunter2 x}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn an_admin_address_that_others_can_reach_needs_a_token() {
    let error = bad("admin: {listen: 0.0.0.0:8081}");
    assert!(error.starts_with("odin.yaml:1:17: admin.listen: 0.0.0.0:8081 can be"), "{error}");
    let empty = |_: &str| Some(String::new());
    let text = "admin: {listen: '[::]:8081', token: '${T}'}";
    assert!(parse(text, "odin.yaml", &empty).is_err());
    good("admin: {listen: 0.0.0.0:8081, token: x}");
    let error = bad("admin: {listen: unix:/run/admin.sock}");
    assert!(error.contains("expected host:port such as 127.0.0.1:8081; it has no unix"), "{error}");
    assert_eq!(good("admin: {listen: off}").admin.listen, None);
    // Unlike a section, a token that is left empty is no token that was left out.
    assert!(bad("admin:\n  token:").ends_with("admin.token: got nothing, expected a text"));
    // One error, not two, for a token that is there but wrong.
    assert_eq!(bad("admin: {listen: 0.0.0.0:8081, token: 'a b'}").lines().count(), 1);
}

#[test]
fn the_admin_api_has_an_address_of_its_own() {
    let error = bad("server: {listen: 127.0.0.1:8081}");
    assert!(error.contains("admin.listen: 127.0.0.1:8081 is one of server.listen"), "{error}");
    good("server: {listen: 127.0.0.1:0}\nadmin: {listen: 127.0.0.1:0}");
}

// --- variables ---

#[test]
fn variables_fill_values_and_never_change_their_shape() {
    let env = |name: &str| match name {
        "N" => Some("7".to_owned()),
        "ON" => Some("false".to_owned()),
        "EVIL" => Some("x\nadmin: {listen: off} # [".to_owned()),
        _ => None,
    };
    let text = "
server: {workers: ${N}, pinCores: '${ON}'}
wasm:
  maxInstances: ${N}
  timeout: ${N}s
  plugins:
    - name: p${N}
      path: ${DIR:-/opt}/p.wasm
      config: {number: ${N}, typed: !!int '${N}', evil: \"${EVIL}\", '${KEY}': $${N}, plain: 7}
";
    let config = parse(text, "odin.yaml", &env).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.server.workers, Workers::Count(7));
    assert!(!config.server.pin_cores);
    assert_eq!(config.wasm.max_instances, 7);
    assert_eq!(config.wasm.timeout, Duration::from_secs(7));
    let plugin = &config.wasm.plugins[0];
    assert_eq!(plugin.name, "p7");
    assert_eq!(plugin.path, Path::new("/opt/p.wasm"));
    assert_eq!(
        plugin.config,
        serde_json::json!({
            "number": "7",
            "typed": 7,
            "evil": "x\nadmin: {listen: off} # [",
            "${KEY}": "${N}",
            "plain": 7,
        })
    );
    assert!(config.admin.listen.is_some());
}

#[test]
fn an_unset_variable_is_one_error_with_its_place() {
    let error = bad("wasm:\n  maxInstances: ${MANY}\n  pluginDir: ${DIR\n");
    let want = "\
odin.yaml:2:17: environment variable MANY is not set; set it, or give a default: ${MANY:-default}
odin.yaml:3:14: \"${\" is never closed by \"}\"; write \"$${\" for the text \"${\"";
    assert_eq!(error, want);
}

// --- files ---

#[test]
fn files_that_can_not_be_read_say_why() {
    let error = load(Path::new("/nonexistent/odin.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/odin.yaml: can't be read: No such file"), "{error}");
    let error = load(Path::new("/")).unwrap_err().to_string();
    assert!(error.contains("Is a directory"), "{error}");
}

#[test]
fn a_file_that_is_not_utf8_is_refused_at_its_first_bad_byte() {
    let path = file_with("latin1.yaml", b"# ok\n# caf\xc3\xa9 caf\xe9\n");
    let error = load(&path).unwrap_err();
    assert_eq!(error.errors()[0].place, Some(Place { line: 2, column: 11 }));
    assert!(error.to_string().contains("got the byte 0xe9, which is not UTF-8"), "{error}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_file_knows_its_name_and_folder() {
    let path = file_with("named.yaml", b"services: []\n");
    let config = load(&path).unwrap();
    assert_eq!(config.file, path.display().to_string());
    assert_eq!(config.dir, std::env::temp_dir());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_configuration_is_looked_for_in_order() {
    let nowhere = |_: &Path| false;
    let everywhere = |_: &Path| true;
    let etc = |path: &Path| path.starts_with("/etc");
    let env =
        |value: &'static str| move |name: &str| (name == "ODIN_CONFIG").then(|| value.to_owned());
    let file = |path: &str| Located::File(path.into());
    let named = Some(Path::new("named.yaml"));
    assert_eq!(locate_with(named, &env("env.yaml"), &everywhere), file("named.yaml"));
    assert_eq!(locate_with(None, &env("env.yaml"), &everywhere), file("env.yaml"));
    assert_eq!(locate_with(None, &env("env.yaml"), &nowhere), file("env.yaml"));
    assert_eq!(locate_with(None, &env(""), &everywhere), file("./config/odin.yaml"));
    assert_eq!(locate_with(None, &no_env, &etc), file("/etc/odin/config.yaml"));
    assert_eq!(locate_with(None, &no_env, &nowhere), Located::Embedded);
}

#[test]
fn the_shared_state_is_in_memory_unless_told_otherwise() {
    use crate::kv::config::BackendName;
    let kv = good("{}").kv;
    assert_eq!((kv.backend, kv.redis, kv.memory.bytes_max), (BackendName::Memory, None, 64 << 20));
    let kv = good(
        "kv: {backend: redis, redis: {host: 'r:6380', db: 2, username: u, password: p, \
         timeout: 250ms, prefix: 'x:'}, memory: {bytesMax: 16MiB}}",
    )
    .kv;
    let redis = kv.redis.unwrap();
    assert_eq!((redis.name().as_str(), redis.db, redis.prefix.as_str()), ("r:6380", 2, "x:"));
    assert_eq!(redis.timeout, std::time::Duration::from_millis(250));
    assert_eq!((redis.username.as_deref(), redis.password.as_deref()), (Some("u"), Some("p")));
    assert_eq!((kv.backend, kv.memory.namespace_bytes_max), (BackendName::Redis, 8 << 20));
}

#[test]
fn the_environment_may_say_where_to_listen_if_the_file_does_not() {
    let env =
        |listen: &'static str| move |name: &str| (name == "ODIN_LISTEN").then(|| listen.into());
    let parsed = |text: &str, listen| parse(text, "odin.yaml", &env(listen));
    let listens = |text, listen| parsed(text, listen).unwrap().server.listen;
    for text in ["{}", "wasm: {enabled: true}", "server: {workers: 1}"] {
        assert_eq!(
            listens(text, "0.0.0.0:8080"),
            [Listener::plain(Listen::tcp("0.0.0.0", 8080))],
            "{text}"
        );
        assert_eq!(listens(text, ""), [Listener::plain(Listen::tcp("127.0.0.1", 8080))], "{text}");
    }
    let own = "server: {listen: '127.0.0.1:1'}";
    assert_eq!(listens(own, "0.0.0.0:8080"), [Listener::plain(Listen::tcp("127.0.0.1", 1))]);
    let error = parsed("{}", ":8080").unwrap_err().to_string();
    assert!(error.starts_with("$ODIN_LISTEN: got \":8080\", expected an address"), "{error}");
}

#[test]
fn a_plugin_that_is_sent_has_no_variables() {
    // Set wherever tests run.
    let sent = serde_json::json!({
        "name": "p",
        "path": "${PATH}/p.wasm",
        "config": { "a": "${PATH}", "b": "$${PATH} ${NONE_SUCH} ${" },
    });
    let config = Located::Embedded.load().unwrap();
    let plugin = parse_plugin(&sent, &config).unwrap();
    assert_eq!(plugin.path.to_str(), Some("${PATH}/p.wasm"));
    assert_eq!(plugin.config, sent["config"]);
}
