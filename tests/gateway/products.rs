//! The plugins that we ship, from the extensions page's own blocks: through the whole gateway, on
//! all its workers, against a real Redis where the block names one.

use crate::hostcalls::{Redis, passed};
use crate::support::{Gateway, Origin, Setup, get, get_with, post};

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
