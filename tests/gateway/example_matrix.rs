//! Every two of the shipped plugins beside each other, in both orders of their priorities: what
//! each promises holds beside the other. docs/example-pairs.md says the same in words.

use std::cell::Cell;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::support::{Origin, Response, Setup, ask};

/// A plugin, as the pairs have it.
struct Kind {
    name: &'static str,
    keys: &'static str,
    /// What it promises.
    holds: fn(&Ground<'_>),
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Requests that a rate limiter lets pass. All checks of a pair but its own take fewer.
const LIMIT: usize = 24;

const KINDS: [Kind; 9] = [
    Kind {
        name: "header-injection-rust",
        keys: "type: middleware, \
               config: {addHeaders: {X-Gateway: Odin}, removeHeaders: [X-Secret]}",
        holds: headers_are_set_and_removed,
    },
    Kind {
        name: "jwt-auth",
        keys: "type: auth, config: {secret: 0123456789abcdef0123456789abcdef, \
               forward: {X-User: sub}, stripToken: true}",
        holds: only_tokens_pass_and_say_who_it_is,
    },
    Kind {
        name: "api-key-auth",
        keys: "type: auth, config: {validKeys: [{key: ann-key, name: ann}, {key: bob-key}]}",
        holds: only_keys_pass_and_stay_here,
    },
    Kind {
        name: "rate-limiter",
        keys: "type: ratelimit, config: {limit: 24, window: 1h}",
        holds: nobody_gets_more_than_the_limit,
    },
    Kind {
        name: "transformer",
        keys: "type: middleware, failureMode: closed, maxMemoryPages: 256, config: {request: \
               {headers: {set: {X-Subject: '{metadata.subject}'}}, body: {remove: [is_admin]}}, \
               response: {body: {remove: [password, user.password, extra.password]}}}",
        holds: what_is_removed_stays_removed,
    },
    Kind {
        name: "validator",
        keys: "type: middleware, failureMode: closed, config: {schema: {type: object, \
               properties: {name: {type: string}}}}",
        holds: nothing_passes_that_does_not_fit,
    },
    Kind {
        name: "cache",
        keys: "type: response, config: {ttl: 300}",
        holds: what_is_stored_is_used_for_whom_it_is,
    },
    Kind {
        name: "enrich-response",
        keys: "type: response, config: {userServiceUrl: 'USERS'}",
        holds: objects_get_their_users,
    },
    Kind {
        name: "aggregator",
        keys: "type: aggregation, maxMemoryPages: 256, config: {flatten: [page]}",
        holds: answers_become_one,
    },
];

/// One service with two plugins, the first of them with the lower priority.
struct Ground<'a> {
    addr: std::net::SocketAddr,
    origin: &'a Origin,
    first: &'a str,
    second: &'a str,
    path: String,
    urls: Cell<usize>,
}

impl Ground<'_> {
    fn has(&self, name: &str) -> bool {
        self.first == name || self.second == name
    }

    fn has_auth(&self) -> bool {
        self.has("jwt-auth") || self.has("api-key-auth")
    }

    /// A URL that nobody has asked for, with more parameters.
    fn url(&self, more: &str) -> String {
        self.urls.set(self.urls.get() + 1);
        format!("{}?n={}{more}", self.path, self.urls.get())
    }

    fn get(&self, url: &str, fields: &str) -> Response {
        ask(self.addr, format!("GET {url} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"))
    }

    fn post(&self, body: &str, fields: &str) -> Response {
        let (url, length) = (self.url(""), body.len());
        ask(
            self.addr,
            format!(
                "POST {url} HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n{fields}\r\n{body}"
            ),
        )
    }

    /// Fails unless it is 200, with the pair in the message.
    fn well(&self, response: Response) -> Response {
        assert_eq!(response.status, 200, "{}: {}", self.path, response.text());
        response
    }

    /// What the service was sent so far.
    fn seen(&self) -> Vec<crate::support::origin::Received> {
        let mut seen = self.origin.requests();
        seen.retain(|request| request.target.split('?').next() == Some(&self.path));
        seen
    }
}

/// A token of this subject.
fn token(subject: &str) -> String {
    let encode = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"sub":"{subject}","exp":4102444800}}"#);
    let signed = format!("{}.{}", encode(br#"{"alg":"HS256"}"#), encode(claims.as_bytes()));
    let mut key = [0; 64];
    key[..SECRET.len()].copy_from_slice(SECRET.as_bytes());
    let inner = Sha256::new().chain_update(key.map(|b| b ^ 0x36)).chain_update(&signed).finalize();
    let outer = Sha256::new().chain_update(key.map(|b| b ^ 0x5c)).chain_update(inner).finalize();
    format!("{signed}.{}", encode(&outer))
}

/// What `who` sends to be known by either auth plugin.
fn shown(who: &str) -> String {
    format!("Authorization: Bearer {}\r\nX-API-Key: {who}-key\r\n", token(who))
}

fn headers_are_set_and_removed(on: &Ground<'_>) {
    let fields = shown("ann") + "X-Secret: 1\r\nX-Gateway: forged\r\n";
    let response = on.well(on.get(&on.url(""), &fields));
    assert_eq!(response.head.get("x-gateway").as_deref(), Some("Odin"), "{}", on.path);
    assert!(!response.head.has("x-secret"), "{}", on.path);
    let head = on.seen().pop().unwrap().head;
    assert_eq!(head.get("x-gateway").as_deref(), Some("Odin"), "{}", on.path);
    assert!(!head.has("x-secret"), "{}", on.path);
}

fn only_tokens_pass_and_say_who_it_is(on: &Ground<'_>) {
    let (url, before) = (on.url(""), on.seen().len());
    let key = "X-API-Key: ann-key\r\n";
    let forged = format!("{key}X-User: root\r\n");
    let bad = format!("{key}Authorization: Bearer {}x\r\n", token("ann"));
    for fields in [key, &forged, &bad] {
        assert_eq!(on.get(&url, fields).status, 401, "{}", on.path);
    }
    assert_eq!(on.seen().len(), before, "{}", on.path);
    for who in ["ann", "bob"] {
        on.well(on.get(&url, &(shown(who) + "X-User: root\r\nX_User: root\r\n")));
        let head = on.seen().pop().unwrap().head;
        assert_eq!(head.get("x-user").as_deref(), Some(who), "{}", on.path);
        assert!(!head.has("authorization") && !head.has("x_user"), "{}: {head}", on.path);
    }
    assert_eq!(on.get(&url, key).status, 401, "{}: now that it is stored", on.path);
}

fn only_keys_pass_and_stay_here(on: &Ground<'_>) {
    let (url, before) = (on.url(""), on.seen().len());
    let bearer = format!("Authorization: Bearer {}\r\n", token("ann"));
    let bad = format!("{bearer}X-API-Key: eve-key\r\n");
    for fields in [&bearer, &bad] {
        assert_eq!(on.get(&url, fields).status, 401, "{}", on.path);
    }
    assert_eq!(on.seen().len(), before, "{}", on.path);
    for who in ["ann", "bob"] {
        on.well(on.get(&url, &shown(who)));
        assert!(!on.seen().pop().unwrap().head.has("x-api-key"), "{}", on.path);
    }
    assert_eq!(on.get(&url, &bearer).status, 401, "{}: now that it is stored", on.path);
}

fn nobody_gets_more_than_the_limit(on: &Ground<'_>) {
    let url = on.url("");
    let statuses = (0..=LIMIT).map(|_| on.get(&url, &shown("ann")).status);
    let statuses: Vec<_> = statuses.collect();
    assert_eq!(statuses.last(), Some(&429), "{}: {statuses:?}", on.path);
}

fn what_is_removed_stays_removed(on: &Ground<'_>) {
    let url = on.url("");
    for _ in 0..2 {
        let fields = shown("ann") + "X-Subject: root\r\n";
        let text = on.well(on.get(&url, &fields)).text();
        assert!(!text.contains("s3cret"), "{}: {text}", on.path);
        let said = on.seen().pop().unwrap().head.get("x-subject");
        assert_ne!(said.as_deref(), Some("root"), "{}", on.path);
    }
    if on.has("aggregator") {
        return; // it answers GET alone
    }
    on.well(on.post(r#"{"name":"x","is_admin":true}"#, &shown("ann")));
    assert_eq!(on.seen().pop().unwrap().text(), r#"{"name":"x"}"#, "{}", on.path);
    // What cannot be read cannot be changed.
    let before = on.seen().len();
    assert_ne!(on.post(r#"{"is_admin":true"#, &shown("ann")).status, 200, "{}", on.path);
    assert_eq!(on.seen().len(), before, "{}", on.path);
}

fn nothing_passes_that_does_not_fit(on: &Ground<'_>) {
    let bad = on.url("&name=5");
    for _ in 0..2 {
        assert_eq!(on.get(&bad, &shown("ann")).status, 502, "{}", on.path);
    }
    if on.has("aggregator") {
        return;
    }
    let before = on.seen().len();
    for body in [r#"{"name":5}"#, r#"{"name":5,"name":"x"}"#, r#"{"name":"x""#, ""] {
        let status = on.post(body, &shown("ann")).status;
        assert!([400, 503].contains(&status), "{}: {status} to {body}", on.path);
    }
    assert_eq!(on.seen().len(), before, "{}", on.path);
    on.well(on.post(r#"{"name":"x"}"#, &shown("ann")));
}

fn what_is_stored_is_used_for_whom_it_is(on: &Ground<'_>) {
    let url = on.url("&public=1");
    let before = on.seen().len();
    let pages: Vec<_> = ["ann", "ann", "bob"].map(|who| on.get(&url, &shown(who))).into();
    let asked = on.seen().len() - before;
    if on.has_auth() {
        assert!(asked >= 2, "{}: bob's page is not ann's", on.path);
        if on.has("jwt-auth") {
            assert!(pages[2].text().contains(r#""for":"bob""#), "{}", on.path);
        }
        assert_eq!(on.get(&url, "").status, 401, "{}", on.path);
        return;
    }
    // Without an auth plugin they show credentials that nobody has judged: still each their own.
    // (Joined answers are public if all are, and one of these does not say so.)
    let each = if on.has("aggregator") { 3 } else { 2 };
    assert_eq!(asked, each, "{}", on.path);
    let url = on.url("");
    let before = on.seen().len();
    let [one, two] = [on.well(on.get(&url, "")), on.well(on.get(&url, ""))];
    assert_eq!(on.seen().len() - before, 1, "{}", on.path);
    assert_eq!(two.head.get("x-cache").as_deref(), Some("HIT"), "{}", on.path);
    assert_eq!(one.json(), two.json(), "{}", on.path);
}

fn objects_get_their_users(on: &Ground<'_>) {
    let url = on.url("");
    for _ in 0..2 {
        let page = on.well(on.get(&url, &shown("ann"))).json();
        assert_eq!(page["name"], "page", "{}", on.path);
        // What was removed before would come back: then the page stays as it is.
        let is_wrong_order = on.first == "transformer";
        let user = if is_wrong_order { serde_json::Value::Null } else { "Ann".into() };
        assert_eq!(page["user"]["name"], user, "{}", on.path);
    }
}

fn answers_become_one(on: &Ground<'_>) {
    let page = on.well(on.get(&on.url(""), &shown("ann"))).json();
    assert_eq!((&page["name"], &page["extra"]["id"]), (&"page".into(), &7.into()), "{}", on.path);
    let url = on.url("&fail=1");
    let before = on.seen().len();
    for _ in 0..2 {
        let response = on.well(on.get(&url, &shown("ann")));
        assert_eq!(response.json()["errors"][0]["name"], "extra", "{}", on.path);
        assert_eq!(response.head.get("cache-control").as_deref(), Some("no-store"), "{}", on.path);
    }
    assert_eq!(on.seen().len() - before, 2, "{}: a gap is not stored", on.path);
}

/// Pages that say for whom they are, and hold a secret.
fn pages() -> Origin {
    Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let who = request.head.get("x-user").unwrap_or_default();
            let name = if request.target.contains("name=5") { "5" } else { r#""page""# };
            let body = format!(
                r#"{{"name":{name},"for":"{who}","userId":7,"password":"s3cret-of-page"}}"#
            );
            let control = match request.target.contains("public=1") {
                true => "Cache-Control: public, max-age=60\r\n",
                false => "",
            };
            connection.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Secret: 1\r\n{control}\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    })
}

fn users() -> Origin {
    Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let status = if request.target.contains("fail=1") { 500 } else { 200 };
            let body = r#"{"id":7,"name":"Ann","password":"s3cret-of-ann"}"#;
            connection.send(format!(
                "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 \r\n{body}",
                body.len()
            ));
        }
    })
}

#[test]
fn what_each_plugin_promises_holds_beside_every_other_one_in_either_order() {
    let (origin, users) = (pages(), users());
    let mut pairs = Vec::new();
    for first in &KINDS {
        let others = KINDS.iter().filter(|second| second.name != first.name);
        pairs.extend(others.map(|second| (first, second)));
    }
    // Compiling them takes seconds; a run after this one takes what is there.
    let compiled = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let mut setup = Setup::new().log_level("info").cached_in(&compiled);
    for name in KINDS.map(|kind| kind.name) {
        let module = format!("{}/plugins/dist/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
        let module = std::fs::read(&module).unwrap_or_else(|e| panic!("{module}: {e}"));
        setup.dir.write(&format!("plugins/{name}.wasm"), module);
    }
    for (name, origin) in [("pages", &origin), ("users", &users)] {
        let url = origin.url();
        setup = setup.service(&format!("name: {name}, basePath: /{name}, targets: ['{url}']"));
    }
    for (first, second) in &pairs {
        let name = format!("{}.{}", first.name, second.name);
        let mut keys = format!("name: {name}, basePath: /{name}, targets: ['{}']", origin.url());
        if [first.name, second.name].contains(&"aggregator") {
            write!(
                keys,
                ", aggregation: {{calls: [{{name: page, service: pages, path: /{name}}}, \
                 {{name: extra, service: users, path: /users/7}}]}}"
            )
            .unwrap();
        }
        setup = setup.service(&keys);
        for (priority, kind) in [(1, first), (2, second)] {
            setup = setup.plugin_entry(&format!(
                "name: {name}.{}, path: {}.wasm, priority: {priority}, services: [{name}], \
                 instances: 1, timeout: 20s, {}",
                kind.name,
                kind.name,
                kind.keys.replace("USERS", &users.url())
            ));
        }
    }
    let gateway = setup.start();
    for (first, second) in pairs {
        let on = Ground {
            addr: gateway.addr,
            origin: &origin,
            first: first.name,
            second: second.name,
            path: format!("/{}.{}", first.name, second.name),
            urls: Cell::new(0),
        };
        // The limiter's own check uses the limit up.
        let mut both = [first, second];
        both.sort_by_key(|kind| kind.name == "rate-limiter");
        both.iter().for_each(|kind| (kind.holds)(&on));
    }
}
