//! Which service a request goes to, and with which path: the path that is matched is the path
//! that is forwarded.

use crate::support::{Client, Origin, Setup, get, wasm};

#[test]
fn the_longest_base_path_wins_on_segment_borders() {
    let echo = "targets: ['builtin:echo']";
    let gateway = Setup::new()
        .service(&format!("name: users, basePath: /api/users, {echo}, headers: {{X-S: users}}"))
        .service(&format!("name: api, basePath: /api, {echo}, headers: {{X-S: api}}"))
        .service(&format!("name: deep, basePath: /api/users/deep, {echo}, headers: {{X-S: deep}}"))
        .start();
    for (path, service) in [
        ("/api", "api"),
        ("/api/", "api"),
        ("/api?x=1", "api"),
        ("/api/users", "users"),
        ("/api/users/", "users"),
        ("/api/users?x", "users"),
        ("/api/users/1", "users"),
        ("/api/usersx", "api"),
        ("/api/user", "api"),
        ("/api/users/deep", "deep"),
        ("/api/users/deeper", "users"),
        ("/api/users/deep/er", "deep"),
        ("/api/x/../users/1", "users"),
        ("/api/users/../x", "api"),
        ("/api//users", "users"),
        ("/%61pi/%75sers", "users"),
    ] {
        let response = get(gateway.addr, path);
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.json()["headers"]["X-S"][0], service, "{path}");
    }
    for path in ["/", "/ap", "/apix", "/API/users", "/api/../x"] {
        assert_eq!(get(gateway.addr, path).status, 404, "{path}");
    }
}

#[test]
fn strip_base_path_takes_the_prefix_off_and_leaves_a_path() {
    let origin = Origin::naming_targets();
    let gateway = Setup::new()
        .service(&format!(
            "name: a, basePath: /api/users, stripBasePath: true, targets: ['{}']",
            origin.url()
        ))
        .service(&format!("name: b, basePath: /keep, targets: ['{}']", origin.url()))
        .start();
    for (path, forwarded) in [
        ("/api/users", "/"),
        ("/api/users/", "/"),
        ("/api/users?limit=1", "/?limit=1"),
        ("/api/users/1/posts?x=%2F", "/1/posts?x=%2F"),
        ("/keep/1", "/keep/1"),
    ] {
        assert_eq!(get(gateway.addr, path).text(), forwarded, "{path}");
    }
}

#[test]
fn the_normalised_path_is_forwarded() {
    // (as sent, as forwarded). RFC 3986 section 6.2.2.
    let cases = [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/", "/a/"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("//a", "/a"),
        ("/a//b///c", "/a/b/c"),
        ("/a%2Eb", "/a.b"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/%2E./b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/%2e/b", "/a/b"),
        ("/%61%7a%41%5A%30%39%2d%5F%7e", "/azAZ09-_~"),
        ("/a%20b", "/a%20b"),
        ("/a%c3%a9", "/a%C3%A9"),
        ("/a%3fb", "/a%3Fb"),
        ("/a%23b", "/a%23b"),
        ("/a%25b", "/a%25b"),
        ("/a%2525b", "/a%2525b"),
        ("/a%252e%252e/b", "/a%252e%252e/b"),
        ("/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,="),
        ("/a...b/.../c", "/a...b/.../c"),
        ("/a?b=../c&d=%2e%2e//", "/a?b=../c&d=%2e%2e//"),
        ("/a?", "/a?"),
        ("/a?b?c", "/a?b?c"),
    ];
    let origin = Origin::naming_targets();
    let gateway = Setup::to(&origin).start();
    let mut failures = Vec::new();
    for (sent, forwarded) in cases {
        let response = get(gateway.addr, sent);
        let text = response.text();
        if response.status != 200 || text != forwarded {
            failures
                .push(format!("{sent} became {} {text}, expected {forwarded}", response.status));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_cannot_be_normalised_safely_gets_400() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    for path in [
        "/a%00b",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%g0",
        "/a%0g",
        "/%u002e",
        "/a%0ab",
        "/a%0Db",
        "/a%7fb",
        "/a%2fb",
        "/a%5cb",
        "/a/..;x=1/b",
        "/../a",
        "/a;x=1/b",
        "/a;",
        "/a%3bx",
        "/a%ff",
        "/%c0%ae%c0%ae/b",
        "/a%c0%afb",
    ] {
        let response = get(gateway.addr, path);
        assert_eq!(response.status, 400, "{path}");
        assert!(!response.reason().is_empty());
    }
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn encoded_slashes_are_kept_where_the_operator_says_so() {
    let origin = Origin::naming_targets();
    let gateway = Setup::to(&origin).server("encodedSlashes: keep").start();
    assert_eq!(get(gateway.addr, "/a%2fb%5Cc").text(), "/a%2Fb%5Cc");
    assert_eq!(get(gateway.addr, "/a/%2e%2e%2fb").text(), "/a/..%2Fb");
}

#[test]
fn no_parameter_leads_around_an_auth_plugin() {
    // Servlet containers read each of them as /api/admin/users.
    let paths = [
        "/api/admin;x/users",
        "/api/admin;/users",
        "/api;x/admin/users",
        "/api/;x/admin/users",
        "/api/admin/users;x=1",
        "/api/admin%3bx/users",
        "/api/a;/../admin;x/users",
    ];
    for (key, expected) in [("reject", [400, 400]), ("strip", [400, 401])] {
        let origin = Origin::naming_targets();
        let refusing = wasm::answering(r#"{"continue":false}"#);
        let keys = "type: auth, allowedUrls: ['^/api/admin(/|$)']";
        let gateway = Setup::to(&origin)
            .server(&format!("pathParameters: {key}"))
            .plugin("guard", refusing, keys)
            .start();
        assert_eq!(get(gateway.addr, "/api/admin/users").status, 401);
        for path in paths {
            let status = get(gateway.addr, path).status;
            assert!(expected.contains(&status), "{path} with {key}: {status}");
        }
        assert_eq!(origin.requests().len(), 0, "{key}");
    }
}

#[test]
fn parameters_and_bytes_that_are_not_utf_8_pass_where_the_operator_says_so() {
    let origin = Origin::naming_targets();
    let strip = Setup::to(&origin).server("pathParameters: strip").start();
    assert_eq!(get(strip.addr, "/a;x=1/b;y?c;d").text(), "/a/b?c;d");
    let keep =
        Setup::to(&origin).server("pathParameters: keep").server("nonUtf8Paths: keep").start();
    assert_eq!(get(keep.addr, "/a;x=1/b%3by/%ff").text(), "/a;x=1/b%3By/%FF");
    assert_eq!(get(keep.addr, "/a/..;x/b").status, 400);
    let default = Setup::to(&origin).start();
    let reason = get(default.addr, "/a;x").reason();
    assert!(reason.contains("server.pathParameters"), "{reason}");
}

#[test]
fn a_plugin_that_changes_the_path_is_held_to_the_same_rules() {
    for url in ["/b;x/c", "/b/%c0%ae%c0%ae/c", "/b%3bx"] {
        let origin = Origin::naming_targets();
        let answer = format!(r#"{{"continue":true,"modified":true,"request":{{"url":"{url}"}}}}"#);
        let gateway =
            Setup::to(&origin).plugin("it", wasm::answering(&answer), "type: auth").start();
        assert_eq!(get(gateway.addr, "/a").status, 503, "{url}");
        assert_eq!(origin.requests().len(), 0, "{url}");
        gateway.wait_log("can't be a request's");
    }
}

#[test]
fn no_path_leads_above_the_root_or_past_a_prefix() {
    let origin = Origin::naming_targets();
    let gateway = Setup::new()
        .service(&format!("name: a, basePath: /public, targets: ['{}']", origin.url()))
        .start();
    let mut client = Client::connect(gateway.addr);
    for path in [
        "/..",
        "/../public",
        "/public/../../public/x",
        "/public/../secret",
        "/public/%2e%2e/secret",
        "/public/..%2fsecret",
        "/public/%2e%2e%2fsecret",
        "/public/..;/secret",
        "/public/..\\secret",
        "/public/%5c..%5csecret",
    ] {
        let response = client.get(path);
        assert!([200, 400, 404].contains(&response.status), "{path}: {}", response.status);
        if response.status == 200 {
            let target = response.text();
            assert!(target.starts_with("/public"), "{path} became {target}");
            let dots = target.split('/').any(|segment| segment == "." || segment == "..");
            assert!(!dots, "{path} became {target}");
        }
        if response.closes() {
            client = Client::connect(gateway.addr);
        }
    }
}

#[test]
fn targets_take_turns() {
    let origins: Vec<Origin> = (0..3).map(|_| Origin::ok()).collect();
    let urls: Vec<String> = origins.iter().map(|origin| format!("'{}'", origin.url())).collect();
    let gateway = Setup::new()
        .service(&format!("name: a, basePath: /, targets: [{}]", urls.join(", ")))
        .start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..30 {
        assert_eq!(client.get("/").status, 200);
    }
    let counts: Vec<usize> = origins.iter().map(|origin| origin.requests().len()).collect();
    assert_eq!(counts, [10, 10, 10]);
}

#[test]
fn a_heavier_target_gets_its_share() {
    let (light, heavy) = (Origin::ok(), Origin::ok());
    let gateway = Setup::new()
        .service(&format!(
            "name: a, basePath: /, targets: ['{}', {{url: '{}', weight: 3}}]",
            light.url(),
            heavy.url()
        ))
        .start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..40 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!((light.requests().len(), heavy.requests().len()), (10, 30));
}
