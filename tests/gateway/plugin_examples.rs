//! What users have in their hands: the extensions page's example, and the plugins that we ship.

use crate::support::gateway::io_driver;
use crate::support::{Client, Gateway, Setup, TempDir, get, get_with, wasm};
use serde_json::json;

/// The complete example of the extensions page; only `pluginDir` is moved to a folder of the test.
fn complete_example(dir: &str) -> String {
    include_str!("page/complete.yaml").replace("/opt/odin/wasm-plugins", dir)
}

#[test]
fn the_complete_example_of_the_extensions_page_loads_and_runs() {
    let dir = TempDir::new();
    let pass = r#"{"modified":false,"continue":true}"#;
    dir.write("auth/jwt.wasm", wasm::obeying());
    dir.write("ratelimit.wasm", wasm::answering(pass));
    dir.write(
        "transform/headers.wasm",
        wasm::setting_headers(r#""X-Gateway":["Odin"],"X-Version":["v1"]"#),
    );
    let example = complete_example(&dir.path().display().to_string());
    let gateway = Setup::new()
        .service("name: users-service, basePath: /api/users, targets: ['builtin:echo']")
        .service("name: other, basePath: /other, targets: ['builtin:echo']")
        .yaml(&example)
        .env("XDG_CACHE_HOME", dir.path().to_str().unwrap())
        .start();
    let echo = get(gateway.addr, "/api/users").json();
    assert_eq!(echo["headers"]["X-Gateway"][0], "Odin");
    assert_eq!(echo["headers"]["X-Version"][0], "v1");
    let refused = get_with(gateway.addr, "/api/users", "X-Do: do-refuse\r\n");
    assert_eq!(refused.status, 401);
    // /other is neither under /api/ nor the injector's service.
    let other = get_with(gateway.addr, "/other", "X-Do: do-refuse\r\n");
    assert_eq!(other.status, 200);
    assert!(other.json()["headers"].get("X-Gateway").is_none());
}

#[test]
fn the_shipped_configuration_shows_what_the_first_screen_of_the_readme_says() {
    let root = env!("CARGO_MANIFEST_DIR");
    let shipped = std::fs::read_to_string(format!("{root}/config/odin.yaml")).unwrap();
    // Only what two processes cannot share is changed, and what is relative to the clone.
    let config = shipped
        .replace("listen: 127.0.0.1:8080", "listen: 127.0.0.1:0")
        .replace("listen: 127.0.0.1:8081", "listen: 127.0.0.1:0")
        .replace("pluginDir: plugins/dist", &format!("pluginDir: {root}/plugins/dist"))
        .replace("ioDriver: auto", &format!("ioDriver: {}", io_driver()));
    let dir = TempDir::new();
    let cache = dir.path().to_str().unwrap().to_owned();
    let gateway = Gateway::start(dir, &config, &[("XDG_CACHE_HOME".into(), cache)]);
    let echo = get(gateway.addr, "/api/users").json();
    for name in ["X-Rust", "X-Go", "X-AssemblyScript"] {
        assert_eq!(echo["headers"][name], json!(["Odin"]), "{echo}");
    }
    assert_eq!(echo["method"], "GET");
    assert_eq!(gateway.call("GET", "/healthz", "").status, 200);
    let log = gateway.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

/// A plugin built by `make plugins`.
fn built(name: &str) -> Vec<u8> {
    let path = format!("{}/plugins/dist/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}; run `make plugins`"))
}

#[test]
fn header_injection_in_three_languages_runs_in_one_chain() {
    let gateway = Setup::echo()
        .plugin(
            "rust",
            built("header-injection-rust"),
            "type: request, priority: 1, config: {addHeaders: {X-Rust: a}}",
        )
        .plugin(
            "go",
            built("header-injection-go"),
            "type: request, priority: 2, config: {addHeaders: {X-Go: b}}",
        )
        .plugin(
            "assemblyscript",
            built("header-injection-assemblyscript"),
            "type: request, priority: 3, config: {addHeaders: {X-AssemblyScript: c}}",
        )
        .start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..100 {
        let response = client.ask(
            b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nX-Odd: caf\xe9 \"q\" \\\r\n\
              Content-Length: 9\r\n\r\n\
              \xc3\xa9 \"q\" \\\n",
        );
        assert_eq!(response.status, 200, "{}", response.text());
        let echo = response.json();
        assert_eq!(echo["headers"]["X-Rust"], json!(["a"]), "{echo}");
        assert_eq!(echo["headers"]["X-Go"], json!(["b"]), "{echo}");
        assert_eq!(echo["headers"]["X-AssemblyScript"], json!(["c"]), "{echo}");
        assert_eq!(echo["body"], "\u{e9} \"q\" \\\n");
    }
}
