//! What the admin API lets in: names, types, sizes, callers; and the calls as curl makes them.

use std::process::Command;

use crate::support::{Client, Gateway, Setup, TempDir, get, wasm};

fn tagged(tag: &str) -> Vec<u8> {
    wasm::setting_headers(&format!(r#""X-Tag":["{tag}"]"#))
}

fn tagging() -> Setup {
    Setup::echo().plugin("tag", tagged("one"), "type: request")
}

fn tag(gateway: &Gateway) -> String {
    get(gateway.addr, "/").json()["headers"]["X-Tag"][0].as_str().unwrap_or("none").to_owned()
}

/// curl with these words after `curl`, as a shell splits them; `127.0.0.1:8081` is the gateway.
fn curl(gateway: &Gateway, words: &str) -> (u16, serde_json::Value) {
    let admin = gateway.admin;
    let script = format!(
        "curl -sS -w '\\n%{{http_code}}' --connect-to 127.0.0.1:8081:127.0.0.1:{} {words}",
        admin.port()
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn the_two_calls_of_the_page_work_by_curl_as_they_are_printed() {
    let gateway = Setup::echo().plugin("old-plugin", tagged("old"), "type: request").start();
    let (status, done) =
        curl(&gateway, "-X DELETE http://127.0.0.1:8081/api/plugins/unload/old-plugin");
    assert_eq!((status, &done["status"]), (200, &"ok".into()), "{done}");
    assert_eq!(tag(&gateway), "none");
    let path = gateway.dir().write("new.wasm", tagged("new"));
    let load = format!(
        r#"-X POST http://127.0.0.1:8081/api/plugins/load \
  -H "Content-Type: application/json" \
  -d '{{"name": "new-plugin", "path": "{}"}}'"#,
        path.display()
    );
    let (status, done) = curl(&gateway, &load);
    assert_eq!((status, &done["status"]), (200, &"ok".into()), "{done}");
    assert_eq!(tag(&gateway), "new");
}

#[test]
fn a_public_admin_address_without_a_token_is_refused_at_start_and_by_a_reload() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8081", "admin.example:8081"] {
        let dir = TempDir::new();
        let text = format!("server: {{listen: '127.0.0.1:0'}}\nadmin: {{listen: '{listen}'}}\n");
        let config = dir.write("odin.yaml", text);
        let output = Command::new("timeout")
            .args(["20", env!("CARGO_BIN_EXE_odin"), "--config"])
            .arg(config)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{listen}: {said}");
        assert!(said.contains("there is no admin.token; set one"), "{listen}: {said}");
    }
    let gateway = tagging().start();
    gateway.rewrite(&gateway.config().replace("'127.0.0.1:0'", "'0.0.0.0:8081'"));
    let refused = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.reason().contains("there is no admin.token"), "{}", refused.text());
}

#[test]
fn no_name_in_a_path_leads_anywhere_else() {
    let gateway = tagging().start();
    let outside = gateway.dir().write("outside.wasm", tagged("outside"));
    for name in ["..%2foutside", "%2e%2e%2foutside", "..%5coutside", "%00", "tag%00", "%ff", "."] {
        for (method, path, body) in [
            ("GET", format!("/api/plugins/{name}"), ""),
            ("DELETE", format!("/api/plugins/unload/{name}"), ""),
            ("PUT", format!("/api/plugins/{name}/enabled"), r#"{"enabled":false}"#),
        ] {
            let answer = gateway.call(method, &path, body);
            assert!([400, 404].contains(&answer.status), "{method} {path}: {}", answer.text());
            assert!(!answer.reason().is_empty(), "{method} {path}");
        }
        let path = format!("/api/plugins/{name}/module");
        let answer = gateway.call_with("PUT", &path, "", tagged("sent"));
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
    }
    assert_eq!(std::fs::read(outside).unwrap(), tagged("outside"));
    assert_eq!(std::fs::read_dir(gateway.dir().path().join("plugins")).unwrap().count(), 1);
    assert_eq!(tag(&gateway), "one");
}

#[test]
fn a_value_of_another_type_is_refused_without_being_shown() {
    let gateway = tagging().start();
    for (keys, words) in [
        (r#""name": 5, "path": "tag.wasm""#, "name: got a number, expected a text"),
        (r#""name": "n", "path": false"#, "path: got a boolean, expected a text"),
        (r#""name": "n", "path": "tag.wasm", "type": null"#, "type: got null, expected a text"),
        (r#""name": "n", "path": "tag.wasm", "allowedUrls": [1]"#, "an item of allowedUrls"),
        (r#""name": "n", "path": "tag.wasm", "priority": "1""#, "priority"),
        (r#""name": "n", "path": "tag.wasm", "enabled": "true""#, "enabled"),
        (r#""name": "n", "path": "tag.wasm", "persist": ["s3cret"]"#, "persist: got a list"),
    ] {
        let answer = gateway.call("POST", "/api/plugins/load", &format!("{{{keys}}}"));
        assert_eq!(answer.status, 400, "{keys}: {}", answer.text());
        assert!(answer.reason().contains(words), "{keys}: {}", answer.text());
        assert!(!answer.text().contains("s3cret"), "{}", answer.text());
    }
    assert_eq!(tag(&gateway), "one");
}

#[test]
fn uploads_do_not_fill_the_disk() {
    let gateway = tagging().start();
    for number in 0..64 {
        gateway.dir().write(&format!("plugins/tag-{number:016x}.wasm"), "an earlier one");
    }
    let upload = || gateway.call_with("PUT", "/api/plugins/tag/module", "", tagged("two"));
    let full = upload();
    assert_eq!(full.status, 507, "{}", full.text());
    assert!(full.reason().contains("64 uploaded modules"), "{}", full.text());
    assert_eq!(tag(&gateway), "one");
    std::fs::remove_file(gateway.dir().path().join("plugins/tag-0000000000000000.wasm")).unwrap();
    assert_eq!(upload().status, 200);
    assert_eq!(tag(&gateway), "two");
    assert_eq!(upload().status, 200, "what is there already needs no room");
}

#[test]
fn a_change_that_cannot_last_is_refused_with_what_to_do() {
    let gateway = tagging().start();
    let load = r#"{"name":"guest","path":"tag.wasm"}"#;
    assert_eq!(gateway.call("POST", "/api/plugins/load", load).status, 200);
    let before = gateway.config();
    let off = r#"{"enabled":false,"persist":true}"#;
    let answer = gateway.call("PUT", "/api/plugins/guest/enabled", off);
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.reason().contains("has no plugin named guest; load it"), "{}", answer.text());
    assert_eq!(gateway.config(), before);
}

#[test]
fn the_token_is_compared_whole_and_the_scheme_in_any_case() {
    let gateway = tagging().admin("token: t0ken").start();
    for (field, status) in [
        ("Bearer t0ken", 200),
        ("bearer t0ken", 200),
        ("Bearer T0ken", 401),
        ("Bearer t0ken ", 200),
        ("Bearer  t0ken", 401),
        ("Bearer t0ken t0ken", 401),
        ("Bearer ", 401),
        ("Basic t0ken", 401),
        ("t0ken", 401),
    ] {
        let fields = format!("Authorization: {field}\r\n");
        let answer = gateway.call_with("GET", "/api/status", &fields, "");
        assert_eq!(answer.status, status, "{field:?}");
    }
    let query = gateway.call("GET", "/api/status?token=t0ken&access_token=t0ken", "");
    assert_eq!(query.status, 401, "a token in a URL ends in logs");
}

/// What a refusal comes before: of a body that is on its way, nothing may be reset, and the next
/// request may follow.
#[test]
fn who_is_refused_while_sending_sees_the_answer_and_may_go_on() {
    let gateway = tagging().admin("token: t0ken").start();
    let good = "Authorization: Bearer t0ken\r\n";
    for (target, fields, status) in [
        ("POST /api/plugins/load", "", 401),
        ("POST /api/nothing", good, 404),
        ("POST /api/plugins/tag/enabled", good, 405),
    ] {
        let mut client = Client::connect(gateway.admin);
        let body = vec![b' '; 3 << 20];
        let host = gateway.admin;
        let length = body.len();
        let head = format!(
            "{target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{fields}\
             Content-Length: {length}\r\n\r\n"
        );
        client.send(head);
        let answer = client.response();
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
        assert!(!answer.closes(), "{target}");
        client.send(body);
        let next = client.ask(format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(next.status, 200, "{target}");
    }
}

#[test]
fn a_body_over_the_limit_is_refused_in_words_however_far_it_is_over() {
    let gateway = tagging().start();
    let body = " ".repeat(20 << 20);
    let answer = gateway.call("POST", "/api/plugins/load", &body);
    assert_eq!(answer.status, 413, "{}", answer.text());
}

#[test]
fn a_refused_body_that_never_comes_does_not_hold_its_connection() {
    let gateway = tagging().admin("token: t0ken").start();
    let mut client = Client::connect(gateway.admin);
    let answer = client.ask(format!(
        "POST /api/plugins/load HTTP/1.1\r\nHost: {}\r\nContent-Length: 5\r\n\r\n",
        gateway.admin
    ));
    assert_eq!(answer.status, 401, "{}", answer.text());
    client.assert_closed();
}

#[test]
fn who_asks_whether_to_send_a_body_is_refused_without_it() {
    let gateway = tagging().admin("token: t0ken").start();
    let mut client = Client::connect(gateway.admin);
    let answer = client.ask(format!(
        "POST /api/plugins/load HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        gateway.admin
    ));
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(answer.closes());
    client.assert_closed();
}
