//! The plugins that we ship, from the extensions page's own blocks: through the whole gateway, on
//! all its workers, against a real Redis where the block names one.

use std::process::Command;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use crate::hostcalls::{Redis, passed};
use crate::support::{Gateway, Nginx, Origin, Setup, TempDir, get, get_with, post, wait_until};
use crate::tls::{Authority, LOOPBACK};

/// A shipped plugin, built by `make plugins`.
fn shipped(name: &str) -> Vec<u8> {
    let file = format!("{}/plugins/dist/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}; run make plugins"))
}

#[test]
fn the_rate_limiter_lets_exactly_its_limit_through_over_all_workers() {
    let gateway = Setup::echo()
        .workers(2)
        .plugin(
            "rate-limiter",
            shipped("rate-limiter"),
            "type: ratelimit, priority: 2, timeout: 10s, config: {limit: 100, window: 60s}",
        )
        .start();
    assert_eq!(passed(&[&gateway], 1000), 100);
    assert_eq!(get(gateway.addr, "/").status, 429);
}

#[test]
fn two_gateways_on_one_redis_share_the_rate_limiters_limit() {
    let redis = Redis::start();
    let keys = format!(
        "type: ratelimit, priority: 2, timeout: 10s, \
         config: {{limit: 100, window: 60s, redis: {{host: '127.0.0.1:{}'}}}}",
        redis.port
    );
    let gateway =
        || Setup::echo().workers(2).plugin("rate-limiter", shipped("rate-limiter"), &keys).start();
    assert_eq!(passed(&[&gateway(), &gateway()], 500), 100);
}

#[test]
fn the_advanced_rate_limit_of_the_page_counts_by_tier_in_redis() {
    let redis = Redis::start();
    let keys = format!(
        "type: ratelimit, priority: 2, timeout: 10s, config: {{algorithm: sliding-window, \
         redis: {{host: '127.0.0.1:{}'}}, \
         limits: {{anonymous: 10, authenticated: 100, premium: 1000}}}}",
        redis.port
    );
    let gateway =
        Setup::echo().workers(2).plugin("intelligent", shipped("rate-limiter"), &keys).start();
    assert_eq!(passed(&[&gateway], 50), 10, "nobody is authenticated here");
}

#[test]
fn the_validator_refuses_what_its_schema_refuses() {
    let dir = crate::support::TempDir::new();
    let schema = r#"{"type":"object","required":["name"],
        "properties":{"name":{"type":"string"}},"additionalProperties":false}"#;
    let path = dir.write("user.json", schema);
    let keys = format!(
        "type: request, priority: 3, config: {{schemaPath: '{}', strict: true}}",
        path.display()
    );
    let gateway = Setup::echo().plugin("schema-validator", shipped("validator"), &keys).start();
    let send = |body: &str| {
        let length = body.len();
        crate::support::ask(
            gateway.addr,
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            ),
        )
    };
    assert_eq!(send(r#"{"name":"ann"}"#).status, 200);
    let refused = send(r#"{"age":7}"#);
    assert!((400..500).contains(&refused.status), "{}: {}", refused.status, refused.text());
}

#[test]
fn jwt_auth_without_a_token_refuses_with_401() {
    let dir = crate::support::TempDir::new();
    // Any public key: what is tested here is that its file is read and nobody passes without.
    let key = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\n\
        q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n\
        -----END PUBLIC KEY-----\n";
    let path = dir.write("public.pem", key);
    let keys = format!(
        "type: auth, priority: 1, timeout: 2s, config: {{publicKey: '{}'}}",
        path.display()
    );
    let gateway = Setup::echo().plugin("jwt-auth", shipped("jwt-auth"), &keys).start();
    assert_eq!(get(gateway.addr, "/api/x").status, 401);
    let forged = get_with(gateway.addr, "/api/x", "Authorization: Bearer a.b.c\r\n");
    assert_eq!(forged.status, 401);
    assert_eq!(post(gateway.addr, "/api/x", "{}").status, 401);
}

/// Who signs tokens: an RSA key of openssl's.
struct Issuer {
    dir: TempDir,
    key_id: &'static str,
}

impl Issuer {
    fn new(key_id: &'static str) -> Self {
        let issuer = Self { dir: TempDir::new(), key_id };
        issuer.openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem");
        issuer
    }

    fn openssl(&self, arguments: &str) -> Vec<u8> {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Its key set: the public half of the one key.
    fn key_set(&self) -> String {
        let shown = String::from_utf8(self.openssl("rsa -in key.pem -noout -modulus")).unwrap();
        let digits = shown.trim().strip_prefix("Modulus=").unwrap().as_bytes();
        let byte =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let modulus: Vec<u8> = digits.chunks(2).map(byte).collect();
        json!({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.key_id,
            "n": BASE64.encode(modulus), "e": "AQAB"}]})
        .to_string()
    }

    /// A field with a token that says that it is signed by the key of this name.
    fn token(&self, key_id: &str, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": key_id});
        let part = |value: &Value| BASE64.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(claims));
        self.dir.write("text", &text);
        let signature = self.openssl("dgst -sha256 -sign key.pem text");
        format!("Authorization: Bearer {text}.{}\r\n", BASE64.encode(signature))
    }
}

#[test]
fn jwt_auth_follows_an_issuers_keys_that_it_fetches_by_https() {
    let authority = Authority::new();
    let (first, second) = (Issuer::new("r1"), Issuer::new("r2"));
    let keys = TempDir::new();
    keys.write("keys.json", first.key_set());
    let nginx = Nginx::with_tls(&format!("root {};", keys.path().display()), |dir| {
        authority.issue(dir, LOOPBACK, 2);
    });
    // An instance asks at most every 10 s; what it shares with others is used for jwksRefresh. So
    // a fresh instance for each call follows within that.
    let setup = Setup::echo().plugin(
        "jwt-auth",
        shipped("jwt-auth"),
        &format!(
            "type: auth, priority: 1, timeout: 10s, isolation: request, config: {{jwksUrl: \
             'https://{}/keys.json', jwksRefresh: 1s, audience: orders, forward: {{X-User: sub}}}}",
            nginx.addr
        ),
    );
    let gateway = authority.trusted(setup).start();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let claims = |until: Duration| json!({"sub": "ann", "aud": "orders", "exp": until.as_secs()});
    let hour = Duration::from_secs(3600);
    let ask = |field: &str| get_with(gateway.addr, "/api/x", field);

    let good = first.token("r1", &claims(now + hour));
    let passed = ask(&good);
    assert_eq!(passed.status, 200, "{}\n{}", passed.text(), gateway.log());
    assert_eq!(passed.json()["headers"]["X-User"], json!(["ann"]));
    assert_eq!(ask(&first.token("r1", &claims(now - hour))).status, 401, "expired");
    let elsewhere = json!({"sub": "ann", "aud": "users", "exp": (now + hour).as_secs()});
    assert_eq!(ask(&first.token("r1", &elsewhere)).status, 401, "for another audience");
    assert_eq!(ask(&second.token("r1", &claims(now + hour))).status, 401, "forged");
    let later = second.token("r2", &claims(now + hour));
    assert_eq!(ask(&later).status, 401, "a key that is not in use yet");

    keys.write("keys.json", second.key_set());
    wait_until("the new key's token passes", || ask(&later).status == 200);
    assert_eq!(ask(&good).status, 401, "the old key is gone");
}

#[test]
fn the_transformer_changes_both_messages_of_an_exchange() {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Powered-By: it\r\n\
         Content-Length: 41\r\n\r\n{\"users\":[{\"name\":\"ann\",\"password\":\"x\"}]}",
    );
    let gateway = Setup::to(&origin)
        .plugin(
            "transformer",
            shipped("transformer"),
            "type: middleware, priority: 10, config: {\
             request: {headers: {remove: [Cookie], set: {X-Client: '{clientIp}'}}, \
                       body: {rename: {user_name: userName}}}, \
             response: {headers: {remove: [X-Powered-By]}, \
                        body: {remove: ['users.*.password'], wrap: data}}}",
        )
        .start();
    let body = r#"{"user_name":"ann"}"#;
    let answer = crate::support::ask(
        gateway.addr,
        format!(
            "POST /?a=b HTTP/1.1\r\nHost: a\r\nCookie: c=d\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    assert_eq!(answer.json(), json!({"data": {"users": [{"name": "ann"}]}}));
    assert!(!answer.head.has("x-powered-by"));
    let sent = origin.only_request();
    assert_eq!(sent.text(), r#"{"userName":"ann"}"#);
    assert!(!sent.head.has("cookie"));
    assert_eq!(sent.head.get("x-client").as_deref(), Some("127.0.0.1"));
}

#[test]
fn the_rate_limiter_counts_in_a_redis_that_is_reached_by_tls_with_a_user() {
    let authority = Authority::new();
    let dir = TempDir::new();
    authority.issue(&dir, LOOPBACK, 2);
    let redis = Redis::start_with_tls(
        dir.path(),
        &["--user", "odin", "on", ">its-own", "~odin:*", "+@all"],
    );
    let keys = format!(
        "type: ratelimit, priority: 2, timeout: 10s, config: {{limit: 100, window: 60s, redis: \
         {{host: '127.0.0.1:{}', tls: true, db: 3, username: odin, password: its-own}}}}",
        redis.port
    );
    let gateway = || {
        let setup = Setup::echo().workers(2);
        authority.trusted(setup.plugin("limiter", shipped("rate-limiter"), &keys)).start()
    };
    assert_eq!(passed(&[&gateway(), &gateway()], 500), 100);
}

#[test]
fn api_key_auth_lets_only_known_keys_pass_and_keeps_them_from_the_service() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin(
            "api-key-auth",
            shipped("api-key-auth"),
            "type: auth, priority: 1, config: {headerName: X-API-Key, validKeys: [key1, key2]}",
        )
        .start();
    assert_eq!(get(gateway.addr, "/").status, 401);
    assert_eq!(get_with(gateway.addr, "/", "X-API-Key: key3\r\n").status, 401);
    assert_eq!(get_with(gateway.addr, "/", "X-API-Key: key2\r\n").status, 200);
    assert!(!origin.only_request().head.has("x-api-key"));
}

#[test]
fn the_cache_answers_from_redis_whichever_gateway_stored_it() {
    let redis = Redis::start();
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\ntools",
    );
    let kv = format!("kv: {{redis: {{host: '127.0.0.1:{}'}}}}\n", redis.port);
    let gateway = || {
        Setup::to(&origin)
            .yaml(&kv)
            .plugin(
                "cache-plugin",
                shipped("cache"),
                "type: response, priority: 10, allowedUrls: [/api/products.*], \
                 config: {ttl: 300, backend: redis}",
            )
            .start()
    };
    let ask = |gateway: &Gateway| {
        let request = "GET /api/products HTTP/1.1\r\nHost: shop.test\r\n\r\n";
        let response = crate::support::ask(gateway.addr, request);
        assert_eq!((response.status, response.text()), (200, "tools".to_owned()));
        response.head.get("x-cache").unwrap_or_default()
    };
    let (one, two) = (gateway(), gateway());
    assert_eq!([ask(&one), ask(&one), ask(&two)], ["MISS", "HIT", "HIT"]);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn enrich_response_adds_what_the_user_service_knows() {
    let users = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let body = format!("{{\"name\":\"ann of {}\"}}", request.target);
            connection.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    });
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n\
         {\"id\":1,\"userId\":7}",
    );
    let gateway = Setup::to(&origin)
        .plugin(
            "enrich-response",
            shipped("enrich-response"),
            &format!(
                "type: response, priority: 8, config: {{addUserDetails: true, \
                 userServiceUrl: '{}'}}",
                users.url()
            ),
        )
        .start();
    let enriched = get(gateway.addr, "/order").json();
    assert_eq!(enriched["user"]["name"], "ann of /users/7", "{enriched}");
    assert_eq!(enriched["id"], 1);
}
