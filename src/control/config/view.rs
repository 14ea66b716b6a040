//! A configuration as JSON, for the admin API: the file's own keys, every default filled in, no
//! secret shown.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::view_limits;
pub use super::view_origins::target_url;
use super::{
    AccessLog, Admin, Config, Encoding, FailureMode, Format, IoDriver, Level, Listener, Logging,
    NonUtf8, OnBodyTooLarge, Plugin, Server, Service, Target, Timeouts, Tls, Variables, Wasm,
    Workers, view_aggregation, view_clients, view_fleet, view_kv, view_modules, view_origins,
    view_routes, view_tracing,
};
use crate::io::proxy::ProxyProtocol;
use crate::route::path::Parameters;
use crate::text::hex;

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// The whole configuration.
pub fn config(config: &Config) -> Value {
    json!({
        "server": server(&config.server),
        "admin": admin(&config.admin),
        "logging": logging(&config.logging),
        "tracing": view_tracing::tracing(&config.tracing),
        "kv": view_kv::kv(&config.kv),
        "modules": view_modules::modules(&config.modules),
        "wasm": wasm(&config.wasm, &config.variables),
        "services": config.services.iter().map(service).collect::<Vec<_>>(),
        "fleet": config.fleet.as_deref().map(view_fleet::fleet),
    })
}

fn server(server: &Server) -> Value {
    let workers = match server.workers {
        Workers::Auto => json!("auto"),
        Workers::Count(count) => json!(count),
    };
    let io_driver = match server.io_driver {
        IoDriver::Auto => "auto",
        IoDriver::IoUring => "io_uring",
        IoDriver::Epoll => "epoll",
    };
    let keep = |is_kept| if is_kept { "keep" } else { "reject" };
    let parameters = match server.paths.parameters {
        Parameters::Reject => "reject",
        Parameters::Strip => "strip",
        Parameters::Keep => "keep",
    };
    let proxies: Vec<_> = server.trusted_proxies.iter().map(ToString::to_string).collect();
    json!({
        "listen": server.listen.iter().map(listener).collect::<Vec<_>>(),
        "workers": workers,
        "pinCores": server.pin_cores,
        "ioDriver": io_driver,
        "nameServers": server.name_servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "trustedProxies": proxies,
        "trustForwarded": server.trust_forwarded,
        "underscoresInHeaders": if server.keeps_underscores { "keep" } else { "drop" },
        "encodedSlashes": keep(server.paths.keeps_slashes),
        "pathParameters": parameters,
        "nonUtf8Paths": keep(server.paths.keeps_non_utf8),
        "halfClosedClients": if server.keeps_half_closed { "serve" } else { "abandon" },
        "serverTiming": server.server_timing,
        "limits": view_limits::limits(&server.limits),
        "http2": view_limits::http2(server.http2),
        "timeouts": timeouts(&server.timeouts),
        "drainTimeout": span(server.drain_timeout),
        "upgradeTimeout": span(server.upgrade_timeout),
    })
}

/// An address alone, as it is written mostly, or a map.
fn listener(listener: &Listener) -> Value {
    let address = listener.address.to_string();
    if *listener == Listener::plain(listener.address.clone()) {
        return address.into();
    }
    let proxy = match listener.proxy_protocol {
        ProxyProtocol::Off => "off",
        ProxyProtocol::Accept => "accept",
        ProxyProtocol::Require => "require",
    };
    json!({
        "address": address,
        "tls": listener.tls.as_ref().map(tls),
        "protocols": listener.protocols.iter().map(|one| one.alpn()).collect::<Vec<_>>(),
        "proxyProtocol": proxy,
    })
}

/// Of keys the names of their files: there is nothing else.
fn tls(tls: &Tls) -> Value {
    let certificates = tls
        .certificates
        .iter()
        .map(|files| json!({"cert": files.cert, "key": files.key, "ocsp": files.ocsp}));
    let auth = tls.client_auth.as_ref().map(|auth| {
        json!({"ca": auth.ca, "mode": if auth.is_required { "require" } else { "optional" }})
    });
    json!({
        "certificates": certificates.collect::<Vec<_>>(),
        "minVersion": tls.min_version.as_str(),
        "clientAuth": auth,
    })
}

fn timeouts(timeouts: &Timeouts) -> Value {
    json!({
        "tlsHandshake": span(timeouts.tls_handshake),
        "head": span(timeouts.head),
        "idle": span(timeouts.idle),
        "body": span(timeouts.body),
        "connect": span(timeouts.connect),
        "firstByte": span(timeouts.first_byte),
        "upstreamIdle": span(timeouts.upstream_idle),
        "tunnel": span(timeouts.tunnel),
    })
}

fn admin(admin: &Admin) -> Value {
    json!({
        "listen": match (&admin.listen, &admin.tls) {
            (None, _) => json!("off"),
            (Some(address), None) => json!(address.to_string()),
            (Some(address), Some(own)) => json!({"address": address.to_string(), "tls": tls(own)}),
        },
        "token": admin.token.as_ref().map(|_| MASK),
    })
}

fn logging(logging: &Logging) -> Value {
    let level = match logging.level {
        Level::Off => "off",
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let format = match logging.format {
        Format::Text => "text",
        Format::Json => "json",
    };
    let access_log = match &logging.access_log {
        AccessLog::Off => "off".into(),
        AccessLog::Stdout => "stdout".into(),
        AccessLog::File(path) => path.to_string_lossy(),
    };
    let fields: Vec<_> = logging.access_log_fields.iter().map(|field| field.name()).collect();
    json!({
        "level": level,
        "format": format,
        "accessLog": access_log,
        "accessLogFields": fields,
    })
}

fn wasm(wasm: &Wasm, variables: &Variables) -> Value {
    json!({
        "enabled": wasm.enabled,
        "pluginDir": wasm.plugin_dir.to_string_lossy(),
        "maxMemoryPages": wasm.max_memory_pages,
        "maxInstances": wasm.max_instances,
        "cacheEnabled": wasm.cache_enabled,
        "cacheDir": wasm.cache_dir.as_ref().map(|dir| dir.to_string_lossy()),
        "timeout": span(wasm.timeout),
        "plugins": wasm.plugins.iter().map(|one| plugin(one, variables)).collect::<Vec<_>>(),
    })
}

/// One plugin, with the keys of `wasm.plugins[]`. `null` where the default of its type or of
/// `wasm` holds.
pub fn plugin(plugin: &Plugin, variables: &Variables) -> Value {
    let mut config = match &plugin.config {
        Value::String(text) => masked_text(text),
        config => masked(config),
    };
    variables.hide_in(&mut config);
    let failure_mode = plugin.failure_mode.map(|mode| match mode {
        FailureMode::Open => "open",
        FailureMode::Closed => "closed",
    });
    let on_body_too_large = match plugin.on_body_too_large {
        OnBodyTooLarge::Reject => "reject",
        OnBodyTooLarge::Pass => "pass",
    };
    let encoding = match plugin.encoding {
        Encoding::Decode => "decode",
        Encoding::Identity => "identity",
        Encoding::Raw => "raw",
    };
    let non_utf8 = plugin.non_utf8.map(|policy| match policy {
        NonUtf8::Reject => "reject",
        NonUtf8::Hide => "hide",
        NonUtf8::Pass => "pass",
    });
    let patterns: Vec<_> = plugin.allowed_urls.iter().map(|pattern| &pattern.source).collect();
    json!({
        "name": plugin.name,
        "path": plugin.shown_path(),
        "type": plugin.kind.as_str(),
        "enabled": plugin.enabled,
        "priority": plugin.priority,
        "timeout": plugin.timeout.map(span),
        "allowedUrls": patterns,
        "services": plugin.services,
        "config": config,
        "failureMode": failure_mode,
        "body": plugin.body.map(|mode| mode.as_str()),
        "onBodyTooLarge": on_body_too_large,
        "encoding": encoding,
        "isolation": plugin.isolation.as_str(),
        "instances": plugin.instances,
        "maxInstances": plugin.max_instances,
        "maxMemoryPages": plugin.max_memory_pages,
        "sha256": plugin.sha256.as_ref().map(|digest| hex(digest)),
        "nonUtf8": non_utf8,
        "tick": plugin.tick.map(span),
        "tickOn": plugin.tick_on.as_str(),
        "rootId": plugin.root_id,
        "vmId": plugin.vm_id,
        "vmConfig": if plugin.vm_config.is_empty() { "" } else { MASK },
    })
}

fn service(service: &Service) -> Value {
    let (routes, origins) = (&service.routes, &service.origins);
    let methods: Vec<_> = routes.methods.iter().map(|method| method.as_str()).collect();
    // Whatever it is called, it may be what the origin knows the gateway by.
    let headers = service.headers.iter().map(|(name, _)| (name.clone(), MASK.into()));
    json!({
        "name": service.name,
        "hosts": routes.hosts,
        "basePath": service.base_path,
        "methods": methods,
        "match": view_routes::conditions(routes),
        "stripBasePath": service.strip_base_path,
        "redirect": routes.redirect.as_ref().map(view_routes::redirect),
        "rewrite": routes.rewrite.as_ref().map(view_routes::rewrite),
        "internal": routes.is_internal,
        "split": routes.split.as_ref().map(view_routes::split),
        "sticky": routes.split.as_ref().map(view_routes::sticky),
        "mirror": routes.mirror.as_ref().map(view_routes::mirror),
        "cors": service.clients.cors.as_ref().map(view_clients::cors),
        "compression": service.clients.compression.as_ref().map(view_clients::compression),
        "targets": service.targets.iter().map(target).collect::<Vec<_>>(),
        "loadBalancing": view_origins::algorithm(origins.algorithm),
        "hash": view_origins::hash(origins),
        "outlier": view_origins::outlier(origins.outlier.as_ref()),
        "slowStart": span(origins.slow_start),
        "retry": origins.retry.as_ref().map(view_origins::retry),
        "retryCount": null,
        "retryDelay": null,
        "healthCheck": origins.check.as_ref().map(view_origins::check),
        "tls": view_origins::tls(&origins.tls),
        "resolve": view_origins::resolve(origins.resolve),
        "addresses": if origins.splits_names { "each" } else { "together" },
        "timeout": match service.timeout {
            crate::limits::SERVICE_TIMEOUT_OFF => "off".to_owned(),
            timeout => span(timeout),
        },
        "timeouts": view_origins::timeouts(&service.timeouts),
        "headers": headers.collect::<Map<String, Value>>(),
        "requestHeaders": view_routes::headers(&routes.request_headers),
        "responseHeaders": view_routes::headers(&routes.response_headers),
        "requestTrailers": service.request_trailers,
        "responseTrailers": service.response_trailers,
        "preserveHost": service.preserve_host,
        "upgrades": service.upgrades,
        "limits": view_origins::limits(&service.limits),
        "aggregation": service.aggregation.as_ref().map(view_aggregation::aggregation),
    })
}

fn target(target: &Target) -> Value {
    json!({ "url": target_url(&target.kind), "weight": target.weight })
}

/// A duration as the file writes it.
pub(super) fn span(span: Duration) -> String {
    match (span.as_secs(), span.subsec_millis()) {
        (0, millis) => format!("{millis}ms"),
        (seconds, 0) => format!("{seconds}s"),
        (seconds, millis) => format!("{seconds}s{millis}ms"),
    }
}

/// A plugin's own `config` without what may be a secret: the values of keys that are called so, of
/// `headers`, and of such parameters in a URL, and its user and password. What a switch says
/// (`rotateKeys: true`) tells nobody a key.
fn masked(config: &Value) -> Value {
    match config {
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| {
                let value = match value {
                    Value::Null | Value::Bool(_) => value.clone(),
                    _ if is_secret(key) => hide(value),
                    _ if key.to_ascii_lowercase().ends_with("headers") => hide_values(value),
                    _ => masked(value),
                };
                (key.clone(), value)
            });
            Value::Object(entries.collect())
        }
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::String(text) => mask_query(&mask_user(text)).into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => config.clone(),
    }
}

/// A configuration that is a text: what it says is known if it is JSON; else all of it may be
/// secret.
fn masked_text(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(config @ Value::Object(_)) => masked(&config),
        _ => MASK.into(),
    }
}

/// Shows how many there are, nothing of them.
fn hide(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|_| Value::from(MASK)).collect(),
        _ => MASK.into(),
    }
}

/// Shows the names, and nothing of the values.
fn hide_values(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let entries = entries.iter().map(|(name, value)| (name.clone(), hide_values(value)));
            Value::Object(entries.collect())
        }
        Value::Array(items) => items.iter().map(hide_values).collect(),
        _ => MASK.into(),
    }
}

/// Whether a key's value is nobody's business: it is called a key, a token, a password …
fn is_secret(key: &str) -> bool {
    const WORDS: [&str; 17] = [
        "auth",
        "bearer",
        "dsn",
        "hmac",
        "jwt",
        "pwd",
        "salt",
        "session",
        "signature",
        "secret",
        "token",
        "password",
        "passwd",
        "credential",
        "cookie",
        "private",
        "passphrase",
    ];
    let key = key.to_ascii_lowercase();
    let is_key =
        ["key", "keys"].iter().any(|word| key.ends_with(word)) && !key.starts_with("public");
    is_key || key == "sig" || WORDS.iter().any(|word| key.contains(word))
}

/// `redis://user:password@host` becomes `redis://***@host`.
fn mask_user(text: &str) -> String {
    let Some(start) = text.find("://").map(|at| at + 3) else {
        return text.to_owned();
    };
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    match text[start..end].rfind('@') {
        Some(at) => format!("{}{MASK}{}", &text[..start], &text[start + at..]),
        None => text.to_owned(),
    }
}

/// `http://host/?token=abc&page=1` becomes `http://host/?token=***&page=1`.
pub(super) fn mask_query(text: &str) -> String {
    let Some((before, query)) = text.split_once('?') else {
        return text.to_owned();
    };
    let (query, fragment) = match query.find('#') {
        Some(at) => query.split_at(at),
        None => (query, ""),
    };
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={MASK}"),
        _ => parameter.to_owned(),
    });
    let parameters: Vec<_> = parameters.collect();
    format!("{before}?{}{fragment}", parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::each_section;
    use super::super::parse;
    use super::*;

    /// Every key that the file may have is in the view, and nothing else is.
    #[test]
    fn the_view_has_every_key_of_the_schema() {
        let text = r"
server:
  listen:
    - address: 'a:1'
      tls: {certificates: [{cert: a, key: b}], clientAuth: {ca: c}}
admin:
  listen:
    address: '127.0.0.1:2'
    tls: {certificates: [{cert: a, key: b}], clientAuth: {ca: c}}
services:
  - name: a
    basePath: /
    targets: ['http://u:1']
    rewrite: {prefix: /}
    cors: {origins: [{regex: x}]}
    compression: [gzip]
    loadBalancing: consistent-hash
    hash: {header: X-User}
    retry: {}
    healthCheck: {}
    mirror: {service: b}
    aggregation:
      calls: [{name: c, service: b, path: /c}]
      dependencies:
        - service: b
          path: /b/{id}
          parameterMapping: [{from: $.id, to: id}]
          resultMapping: [{from: $, to: $.b}]
  - {name: b, basePath: /b, targets: ['builtin:echo']}
  - {name: d, basePath: /d, redirect: {path: /new}}
  - name: c
    basePath: /c
    split: [{service: b, match: {headers: {a: b}}}, {service: b}]
    sticky: {setCookie: d}
tracing: {otlp: {endpoint: 'http://c:4318', headers: {a: b}}}
kv: {redis: {host: r}}
modules: {auth: [{host: h}]}
wasm: {plugins: [{name: p, path: p.wasm}]}
";
        let mut parsed = parse(text, "test", &|_| None).unwrap();
        // No file has it beside services.
        let node = "fleet: {etcd: {endpoints: ['http://e']}}";
        parsed.fleet = parse(node, "node", &|_| None).unwrap().fleet;
        let view = config(&parsed);
        each_section(&mut |section, keys| {
            let mut node = &view;
            let mut parts = section.split('.').filter(|part| !part.is_empty()).peekable();
            while let Some(part) = parts.next() {
                // The first that has what is looked for in it.
                let next = parts.peek().map(|next| next.trim_end_matches("[]"));
                let has = |one: &&Value| next.is_none_or(|next| !one[next].is_null());
                node = match part.strip_suffix("[]") {
                    Some(part) => node[part].as_array().unwrap().iter().find(has).unwrap(),
                    None => &node[part],
                };
            }
            let shown: Vec<_> = node.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(shown, keys.names().collect::<Vec<_>>(), "{section}");
        });
    }

    #[test]
    fn what_a_variable_holds_is_shown_as_it_is_written() {
        let text = "wasm: {plugins: [{name: p, path: p.wasm, config: \
                    {a: 'x ${LONG} y', b: ['${SHORT}'], c: '${NONE:-plain}', d: abcdef}}]}";
        let env = |name: &str| match name {
            "LONG" => Some("hunter2".to_owned()),
            "SHORT" => Some("hi".to_owned()),
            _ => None,
        };
        let view = config(&parse(text, "test", &env).unwrap());
        let shown = &view["wasm"]["plugins"][0]["config"];
        assert_eq!(
            shown,
            &json!({"a": "x ${LONG} y", "b": ["${SHORT}"], "c": "plain", "d": "abcdef"})
        );
    }

    #[test]
    fn no_secret_is_shown() {
        let text = r"
admin: {token: s3cret}
tracing: {otlp: {endpoint: 'http://c:4318', headers: {x-team: s3cret}}}
kv: {redis: {host: r, password: s3cret}}
modules: {auth: [{host: h, username: u, password: s3cret}, {host: i, token: s3cret}]}
services:
  - name: a
    basePath: /
    targets: ['builtin:echo']
    headers: {Authorization: s3cret, X-Backend-Auth: s3cret, X-Team: s3cret}
wasm:
  plugins:
    - name: p
      path: p.wasm
      config:
        validKeys: [s3cret, s3cret]
        nested: {clientSecret: s3cret, url: 'redis://:s3cret@host/1'}
        more: ['http://h/?a=1&access_token=s3cret&b=2', 'http://h/?sig=s3cret#x']
        headers: {X-Anything: s3cret}
        setHeaders: [{name: X-Anything, value: s3cret}]
        apiAuth: s3cret
        dsn: 'pg s3cret'
        jwt: s3cret
        publicKey: /etc/public.pem
        rotateKeys: true
";
        let view = config(&parse(text, "test", &|_| None).unwrap());
        assert!(!view.to_string().contains("s3cret"), "{view}");
        let shown = &view["wasm"]["plugins"][0]["config"];
        assert_eq!(shown["validKeys"], json!([MASK, MASK]));
        assert_eq!(shown["publicKey"], "/etc/public.pem");
        assert_eq!(shown["nested"]["url"], "redis://***@host/1");
        assert_eq!(shown["rotateKeys"], true);
        assert_eq!(shown["more"][0], "http://h/?a=1&access_token=***&b=2");
        assert_eq!(shown["headers"], json!({ "X-Anything": MASK }));
        assert_eq!(view["services"][0]["headers"]["X-Team"], MASK);
    }
}
