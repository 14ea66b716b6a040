//! The admin API: plugins loaded and unloaded while traffic goes on, who may ask for it, what it
//! shows.

use crate::support::{Gateway, Setup, get, wait_until, wasm};

fn tagged(tag: &str) -> Vec<u8> {
    wasm::setting_headers(&format!(r#""X-Tag":["{tag}"]"#))
}

fn tag(gateway: &Gateway) -> String {
    get(gateway.addr, "/").json()["headers"]["X-Tag"][0].as_str().unwrap_or("none").to_owned()
}

/// A gateway with the plugin `tag`, which sets `X-Tag: one`.
fn tagging() -> Setup {
    Setup::echo().plugin("tag", tagged("one"), "type: request, priority: 7")
}

#[test]
fn a_plugin_is_loaded_and_unloaded_as_the_page_prints_it() {
    let gateway = Setup::echo().plugin("old-plugin", tagged("old"), "type: request").start();
    let path = gateway.dir().write("elsewhere/new.wasm", tagged("new"));
    let unloaded = gateway.call("DELETE", "/api/plugins/unload/old-plugin", "");
    assert_eq!(unloaded.status, 200, "{}", unloaded.text());
    assert_eq!(tag(&gateway), "none");
    let body = format!(r#"{{"name": "new-plugin", "path": "{}"}}"#, path.display());
    let loaded =
        gateway.call_with("POST", "/api/plugins/load", "Content-Type: application/json\r\n", &body);
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    assert_eq!(tag(&gateway), "new");
    let shown = gateway.call("GET", "/api/plugins/new-plugin", "").json();
    assert_eq!((&shown["type"], &shown["status"]), (&"middleware".into(), &"active".into()));
}

#[test]
fn loading_an_existing_name_keeps_the_keys_that_are_not_given() {
    let gateway = tagging().start();
    gateway.dir().write("plugins/two.wasm", tagged("two"));
    let loaded = gateway.call("POST", "/api/plugins/load", r#"{"name":"tag","path":"two.wasm"}"#);
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    assert_eq!(tag(&gateway), "two");
    let shown = gateway.call("GET", "/api/plugins/tag", "").json();
    assert_eq!((&shown["type"], &shown["priority"]), (&"request".into(), &7.into()));
    let listed = gateway.call("GET", "/api/plugins", "").json();
    assert_eq!(listed["plugins"].as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn a_load_that_fails_changes_nothing_and_says_why() {
    let gateway = tagging().start();
    gateway.dir().write("plugins/bad.wasm", "not wasm");
    for (body, status, words) in [
        ("{", 400, "not JSON"),
        ("[]", 400, "JSON object"),
        (r#"{"path":"x.wasm"}"#, 400, "name: missing"),
        (r#"{"name":"n"}"#, 400, "path: missing"),
        (r#"{"name":"n","path":"../x.wasm"}"#, 400, ".."),
        (r#"{"name":"../n","path":"x.wasm"}"#, 400, "name"),
        (r#"{"name":"n","path":"tag.wasm","typ":"auth"}"#, 400, "did you mean \"type\""),
        (r#"{"name":"n","path":"tag.wasm","services":["nobody"]}"#, 400, "no service named"),
        (r#"{"name":"n","path":"tag.wasm","persist":"yes"}"#, 400, "true or false"),
        (r#"{"name":"n","path":"gone.wasm"}"#, 422, "cannot be read"),
        (r#"{"name":"n","path":"bad.wasm"}"#, 422, "failed to compile plugin"),
        (r#"{"name":"tag","path":"bad.wasm"}"#, 422, "failed to compile plugin"),
    ] {
        let answer = gateway.call("POST", "/api/plugins/load", body);
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert!(answer.reason().contains(words), "{body}: {}", answer.text());
        assert_eq!(tag(&gateway), "one", "{body}");
    }
    let listed = gateway.call("GET", "/api/plugins", "").json();
    assert_eq!(listed["plugins"].as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn a_plugin_is_disabled_and_enabled() {
    let gateway = tagging().start();
    for (enabled, status, seen) in [(false, "disabled", "none"), (true, "active", "one")] {
        let body = format!(r#"{{"enabled":{enabled}}}"#);
        let answer = gateway.call("PUT", "/api/plugins/tag/enabled", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(tag(&gateway), seen);
        let shown = gateway.call("GET", "/api/plugins/tag", "").json();
        assert_eq!(shown["status"], status);
    }
    assert_eq!(
        gateway.call("PUT", "/api/plugins/nobody/enabled", "{\"enabled\":true}").status,
        404
    );
    assert_eq!(gateway.call("PUT", "/api/plugins/tag/enabled", "{}").status, 400);
}

#[test]
fn a_number_that_the_file_would_refuse_is_refused_here_in_its_words() {
    let gateway = Setup::echo().plugin("it", wasm::passing(), "type: request").start();
    for number in ["123456789012345678901234567890", "-9223372036854775809", "1e400"] {
        let body = format!(r#"{{"name":"it","path":"it.wasm","config":{{"a":[{number}]}}}}"#);
        let response = gateway.call("POST", "/api/plugins/load", &body);
        assert_eq!(response.status, 400, "{number}");
        let reason = response.reason();
        assert!(reason.contains("a number that fits into 64 bits and into JSON"), "{reason}");
    }
    let body = r#"{"name":"it","path":"it.wasm","config":{"a":[18446744073709551615, 0.5]}}"#;
    assert_eq!(gateway.call("POST", "/api/plugins/load", body).status, 200);
}

#[test]
fn an_uploaded_module_is_kept_pinned_and_served() {
    let gateway = tagging().start();
    let answer = gateway.call_with("PUT", "/api/plugins/tag/module", "", tagged("two"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(tag(&gateway), "two");
    let shown = gateway.call("GET", "/api/plugins/tag", "").json();
    assert_eq!(shown["sha256"], shown["digest"]);
    let file = shown["file"].as_str().unwrap().to_owned();
    assert_eq!(std::fs::read(&file).unwrap(), tagged("two"));
    let folder = || std::fs::read_dir(gateway.dir().path().join("plugins")).unwrap().count();
    let kept = folder();
    let refused = gateway.call_with("PUT", "/api/plugins/tag/module", "", "no module");
    assert_eq!(refused.status, 400);
    let broken = gateway.call_with("PUT", "/api/plugins/tag/module", "", b"\0asm\x01\0\0\0\xff");
    assert_eq!(broken.status, 422, "{}", broken.text());
    for name in ["..%2fx", ".x", "a%2fb"] {
        let answer =
            gateway.call_with("PUT", &format!("/api/plugins/{name}/module"), "", tagged("three"));
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
    }
    assert_eq!(folder(), kept, "a module that is refused is not kept");
    assert_eq!(tag(&gateway), "two");
}

#[test]
fn persist_writes_the_change_and_nothing_else_into_the_file() {
    let gateway = Setup::echo()
        .plugin("tag", tagged("one"), "type: request")
        .plugin("other", wasm::passing(), "type: request")
        .argument("--watch")
        .start();
    let annotated = gateway.config().replace("  plugins:\n", "  plugins: # the chain\n");
    gateway.rewrite(&annotated);
    gateway.wait_log("configuration reloaded (a file changed)");
    let off =
        gateway.call("PUT", "/api/plugins/tag/enabled", r#"{"enabled":false,"persist":true}"#);
    assert_eq!(off.status, 200, "{}", off.text());
    let written = gateway.config();
    assert!(written.contains("plugins: # the chain"), "{written}");
    let lines = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.contains("name: tag")).map(str::to_owned).collect()
    };
    assert_eq!(lines(&written), lines(&annotated), "only the plugin's own line has changed");
    assert!(written.contains("enabled: false"), "{written}");

    let body = r#"{"name":"new","path":"tag.wasm","type":"request","persist":true}"#;
    assert_eq!(gateway.call("POST", "/api/plugins/load", body).status, 200);
    assert!(gateway.config().contains("name: new"), "{}", gateway.config());
    assert_eq!(tag(&gateway), "one", "the new one serves");
    let gone = gateway.call("DELETE", "/api/plugins/unload/new?persist=true", "");
    assert_eq!(gone.status, 200, "{}", gone.text());
    assert_eq!(gateway.config(), written);

    // What the gateway wrote itself is no news to its watcher; what somebody else writes is.
    gateway.rewrite(&(written + "# end\n"));
    wait_until("the watcher has seen the other change", || {
        gateway.log().matches("configuration reloaded (a file changed)").count() == 2
    });
}

#[test]
fn what_is_not_persisted_ends_with_the_next_reload_of_the_file() {
    let gateway = tagging().start();
    assert_eq!(gateway.call("DELETE", "/api/plugins/unload/tag", "").status, 200);
    assert_eq!(tag(&gateway), "none");
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(tag(&gateway), "one");
}

#[test]
fn the_configuration_is_shown_without_secrets() {
    let config = "type: request, config: {apiKey: s3cret, url: 'http://u:s3cret@host/'}";
    let gateway = Setup::echo()
        .plugin("tag", tagged("one"), config)
        .yaml("kv: {redis: {host: localhost, password: s3cret}}")
        .start();
    for path in ["/api/config", "/api/plugins", "/api/plugins/tag"] {
        let shown = gateway.call("GET", path, "");
        assert_eq!(shown.status, 200);
        assert!(!shown.text().contains("s3cret"), "{path}: {}", shown.text());
        assert!(shown.text().contains("***"), "{path}: {}", shown.text());
    }
}

#[test]
fn a_token_is_asked_for_everywhere_but_at_health() {
    let gateway = tagging().admin("token: t0ken").start();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(gateway.call("GET", path, "").status, 200);
    }
    let load = r#"{"name":"tag","path":"tag.wasm"}"#;
    for fields in ["", "Authorization: Bearer t0ke\r\n", "Authorization: Bearer t0kenn\r\n"] {
        let answer = gateway.call_with("POST", "/api/plugins/load", fields, load);
        assert_eq!(answer.status, 401, "{fields:?}");
        assert!(answer.head.get("www-authenticate").is_some());
        assert_eq!(gateway.call_with("GET", "/api/config", fields, "").status, 401);
    }
    let fields = "Authorization: Bearer t0ken\r\n";
    assert_eq!(gateway.call_with("POST", "/api/plugins/load", fields, load).status, 200);
    assert_eq!(gateway.call_with("GET", "/api/config", fields, "").status, 200);
}

#[test]
fn what_a_browser_sends_for_another_site_is_refused() {
    let gateway = tagging().start();
    let admin = gateway.admin;
    for fields in [
        "Origin: http://evil.example\r\n".to_owned(),
        "Origin: null\r\n".to_owned(),
        "Sec-Fetch-Site: cross-site\r\n".to_owned(),
        "Sec-Fetch-Site: same-site\r\n".to_owned(),
        format!("Origin: https://{admin}.evil.example\r\n"),
    ] {
        let answer = gateway.call_with("DELETE", "/api/plugins/unload/tag", &fields, "");
        assert_eq!(answer.status, 403, "{fields}: {}", answer.text());
    }
    assert_eq!(tag(&gateway), "one");
    // A name that another site's owner points at this address.
    let answer = crate::support::ask(
        admin,
        "GET /api/config HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(answer.status, 403);
    let own = format!("Origin: http://{admin}\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(gateway.call_with("DELETE", "/api/plugins/unload/tag", &own, "").status, 200);
}

#[test]
fn readiness_names_what_does_not_work() {
    let ready = tagging().start().call("GET", "/readyz", "");
    assert_eq!((ready.status, &ready.json()["status"]), (200, &"ready".into()));
    for (kind, code, status) in [("request", 200, "degraded"), ("auth", 503, "not ready")] {
        let entry = format!("name: broken, path: gone.wasm, type: {kind}");
        let answer = Setup::echo().plugin_entry(&entry).start().call("GET", "/readyz", "");
        assert_eq!(answer.status, code);
        let answer = answer.json();
        assert_eq!(answer["status"], status);
        assert_eq!(answer["failures"][0]["what"], "plugin broken", "{answer}");
        assert!(answer["failures"][0]["reason"].as_str().unwrap().contains("gone.wasm"));
    }
}

#[test]
fn errors_are_json_with_the_right_status() {
    let gateway = tagging().start();
    let large = "x".repeat(2 << 20);
    for (method, path, body, status) in [
        ("GET", "/nothing", "", 404),
        ("GET", "/api/plugins/nobody", "", 404),
        ("DELETE", "/api/plugins/unload/nobody", "", 404),
        ("DELETE", "/api/plugins/unload/tag?persist=maybe", "", 400),
        ("POST", "/api/config", "", 405),
        ("POST", "/api/plugins/load", large.as_str(), 413),
    ] {
        let answer = gateway.call(method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert!(!answer.reason().is_empty());
    }
}
