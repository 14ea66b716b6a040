//! Tokens signed by real keys, judged as the gateway would have them judged.

use super::*;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL;
use hmac::{Hmac, Mac as _};
use odin_plugin::testing::{Gateway, set_file, set_http, set_kv_down, set_time, take_log};
use p256::ecdsa::signature::Signer as _;
use rsa::pkcs1v15;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::signature::SignatureEncoding as _;
use rsa::traits::PublicKeyParts as _;
use serde_json::json;
use std::cell::Cell;
use std::rc::Rc;

const RSA: &str = include_str!("../testdata/rsa.pem");
const RSA_PUBLIC: &str = include_str!("../testdata/rsa.pub.pem");
const RSA_SHORT: &str = include_str!("../testdata/rsa-1024.pub.pem");
const EC: &str = include_str!("../testdata/ec.pem");
const EC_PUBLIC: &str = include_str!("../testdata/ec.pub.pem");
const SECRET: &str = "a secret of more than thirty-two bytes";
const NOW: i64 = 1_700_000_000;

fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let text = format!("{}.{}", URL.encode(header.to_string()), URL.encode(claims.to_string()));
    let signature = URL.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn hs256(secret: &str, header: &Value, claims: &Value) -> String {
    signed(header, claims, |text| {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.chain_update(text).finalize().into_bytes().to_vec()
    })
}

fn rs256(kid: &str, claims: &Value) -> String {
    let key = pkcs1v15::SigningKey::<Sha256>::from_pkcs8_pem(RSA).unwrap();
    signed(&json!({"alg": "RS256", "kid": kid}), claims, |text| key.sign(text).to_vec())
}

fn es256(kid: &str, claims: &Value) -> String {
    let key = p256::ecdsa::SigningKey::from_pkcs8_pem(EC).unwrap();
    let sign = |text: &[u8]| {
        let signature: p256::ecdsa::Signature = key.sign(text);
        signature.to_vec()
    };
    signed(&json!({"alg": "ES256", "kid": kid}), claims, sign)
}

fn hs(claims: Value) -> String {
    hs256(SECRET, &json!({"alg": "HS256", "typ": "JWT"}), &claims)
}

fn auth(config: Value) -> Gateway<JwtAuth> {
    set_time(NOW);
    Gateway::new(config)
}

fn with_secret(mut config: Value) -> Gateway<JwtAuth> {
    config["secret"] = json!(SECRET);
    auth(config)
}

fn ask(gateway: &mut Gateway<JwtAuth>, token: &str) -> Value {
    let value = format!("Bearer {token}");
    gateway.request("GET", "http://host/api", &[("authorization", &value), ("X-User", "root")], "")
}

fn refusal(output: &Value) -> (u64, String) {
    assert_eq!(output["continue"], false, "{output}");
    let body = output["response"]["body"].as_str().unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let status = output["response"]["statusCode"].as_u64().unwrap();
    (status, body["error"].as_str().unwrap().to_owned())
}

#[test]
fn tokens_of_each_algorithm_pass() {
    set_file("/keys/rsa.pem", RSA_PUBLIC);
    let claims = json!({"sub": "ann", "exp": NOW + 60});
    let mut by_file = auth(json!({"publicKey": "/keys/rsa.pem"}));
    assert_eq!(ask(&mut by_file, &rs256("a", &claims))["continue"], true);
    let mut by_text = auth(json!({"publicKey": EC_PUBLIC}));
    assert_eq!(ask(&mut by_text, &es256("a", &claims))["continue"], true);
    let mut by_secret = with_secret(json!({}));
    assert_eq!(ask(&mut by_secret, &hs(claims))["continue"], true);
}

#[test]
fn a_token_that_is_not_valid_is_refused_with_its_reason() {
    let header = json!({"alg": "HS256"});
    let valid = hs(json!({"exp": NOW + 60}));
    let forged = hs256("another secret of thirty-two bytes", &header, &json!({"exp": NOW + 60}));
    let none = format!("{}.{}.", URL.encode(r#"{"alg":"none"}"#), URL.encode(r#"{"exp":9e9}"#));
    let critical =
        hs256(SECRET, &json!({"alg": "HS256", "crit": ["b64"]}), &json!({"exp": NOW + 60}));
    let (signed, _) = valid.rsplit_once('.').unwrap();
    let cases = [
        (forged, "signature"),
        (none, "signature"),
        (hs256(SECRET, &json!({"alg": "hs256"}), &json!({"exp": NOW + 60})), "signature"),
        (hs256(SECRET, &json!({"alg": "HS512"}), &json!({"exp": NOW + 60})), "signature"),
        (format!("{signed}.{}", URL.encode([0; 31])), "signature"),
        (critical, "malformed"),
        (format!("{valid}="), "malformed"),
        (format!("{valid}.x"), "malformed"),
        ("a.b".to_owned(), "malformed"),
        ("x".repeat(20_000), "malformed"),
        (String::new(), "malformed"),
        (hs(json!([1])), "malformed"),
        (hs(json!({"exp": NOW - 31})), "expired"),
        (hs(json!({"exp": "soon"})), "exp"),
        (hs(json!({})), "exp"),
        (hs(json!({"exp": NOW + 60, "nbf": NOW + 31})), "not valid yet"),
        (hs(json!({"exp": NOW + 60, "iat": NOW + 31})), "not valid yet"),
    ];
    let mut gateway = with_secret(json!({}));
    assert_eq!(ask(&mut gateway, &valid)["continue"], true);
    for (token, reason) in cases {
        let output = ask(&mut gateway, &token);
        let (status, text) = refusal(&output);
        assert_eq!(status, 401);
        assert!(text.contains(reason), "{text}, wanted {reason}");
        let challenge = &output["response"]["headers"]["WWW-Authenticate"][0];
        assert!(challenge.as_str().unwrap().starts_with("Bearer error=\"invalid_token\""));
    }
}

#[test]
fn clocks_may_differ_by_the_leeway() {
    let mut gateway = with_secret(json!({"leeway": "30s"}));
    for claims in [
        json!({"exp": NOW - 29}),
        json!({"exp": NOW + 60, "nbf": NOW + 30}),
        json!({"exp": NOW as f64 + 0.5}),
    ] {
        assert_eq!(ask(&mut gateway, &hs(claims))["continue"], true);
    }
}

#[test]
fn a_remembered_token_still_expires() {
    let mut gateway = with_secret(json!({"leeway": 0}));
    let token = hs(json!({"exp": NOW + 60}));
    assert_eq!(ask(&mut gateway, &token)["continue"], true);
    set_time(NOW + 60);
    assert_eq!(refusal(&ask(&mut gateway, &token)).1, "the token has expired");
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let claims = json!({"exp": NOW + 60});
    let confused = hs256(RSA_PUBLIC, &json!({"alg": "HS256"}), &claims);
    let mut gateway = auth(json!({"publicKey": RSA_PUBLIC}));
    assert_eq!(refusal(&ask(&mut gateway, &confused)).0, 401);
    let mut gateway =
        auth(json!({"publicKey": RSA_PUBLIC, "secret": SECRET, "algorithms": ["RS256"]}));
    assert_eq!(refusal(&ask(&mut gateway, &hs(claims))).0, 401);
}

#[test]
fn issuer_and_audience_must_be_among_those_allowed() {
    let config = json!({"issuer": "https://idp", "audience": ["api", "admin"]});
    let mut gateway = with_secret(config);
    let mut ask = |issuer: Value, audience: Value| {
        let claims = json!({"exp": NOW + 60, "iss": issuer, "aud": audience});
        let output = ask(&mut gateway, &hs(claims));
        if output["continue"] == true { String::new() } else { refusal(&output).1 }
    };
    assert_eq!(ask(json!("https://idp"), json!("api")), "");
    assert_eq!(ask(json!("https://idp"), json!(["other", "admin"])), "");
    assert!(ask(json!("https://other"), json!("api")).contains("iss"));
    assert!(ask(json!(null), json!("api")).contains("iss"));
    assert!(ask(json!("https://idp"), json!(["other"])).contains("aud"));
    assert!(ask(json!("https://idp"), json!({"api": true})).contains("aud"));
}

#[test]
fn claims_that_do_not_allow_it_give_403() {
    let config =
        json!({"requiredClaims": {"scope": ["orders:read", "admin"], "realm.verified": []}});
    let mut gateway = with_secret(config);
    let mut ask = |scope: &str, realm: Value| {
        let claims = json!({"exp": NOW + 60, "scope": scope, "realm": realm});
        ask(&mut gateway, &hs(claims))
    };
    let verified = json!({"verified": true});
    assert_eq!(ask("openid orders:read", verified.clone())["continue"], true);
    assert_eq!(refusal(&ask("openid orders", verified)).0, 403);
    let output = ask("admin", json!({}));
    assert_eq!(refusal(&output).0, 403);
    let challenge = output["response"]["headers"]["WWW-Authenticate"][0].as_str().unwrap();
    assert!(challenge.contains("insufficient_scope"), "{challenge}");
}

#[test]
fn a_token_may_be_too_old() {
    let mut gateway = with_secret(json!({"maxAge": "1h"}));
    let old = hs(json!({"exp": NOW + 60, "iat": NOW - 3700}));
    assert_eq!(refusal(&ask(&mut gateway, &old)).1, "the token has expired");
    let unknown = hs(json!({"exp": NOW + 60}));
    assert!(refusal(&ask(&mut gateway, &unknown)).1.contains("iat"));
}

#[test]
fn the_service_gets_claims_as_headers_and_never_the_clients_own() {
    let config =
        json!({"forward": {"X-User": "sub", "X-Roles": "realm.roles"}, "stripToken": true});
    let mut gateway = with_secret(config.clone());
    let claims = json!({"exp": NOW + 60, "sub": "ann", "realm": {"roles": ["a", "b"]}});
    let output = ask(&mut gateway, &hs(claims));
    let expected = json!({"X-User": ["ann"], "X-Roles": ["a,b"], "Authorization": []});
    assert_eq!(output["response"]["headers"], expected);
    let output = ask(&mut gateway, &hs(json!({"exp": NOW + 60})));
    assert_eq!(output["response"]["headers"]["X-User"], json!([]));
    let smuggler = hs(json!({"exp": NOW + 60, "sub": "a\r\nX-Admin: 1"}));
    assert_eq!(refusal(&ask(&mut gateway, &smuggler)).0, 401);

    let mut optional = config;
    optional["optional"] = json!(true);
    let mut gateway = with_secret(optional);
    let output = gateway.request("GET", "http://host/", &[("X-User", "root")], "");
    assert_eq!(output["response"]["headers"], json!({"X-User": [], "X-Roles": []}));
    assert_eq!(refusal(&ask(&mut gateway, "a.b.c")).0, 401);
}

#[test]
fn later_plugins_learn_who_it_is() {
    let mut gateway = with_secret(json!({"metadata": ["scope"], "tierClaim": "plan"}));
    let claims = json!({"exp": NOW + 60, "sub": "ann", "plan": "premium", "scope": "a b"});
    let token = hs(claims);
    let mut metadata = ask(&mut gateway, &token)["metadata"].take();
    let identity = metadata.as_object_mut().unwrap().remove("odin.identity").unwrap();
    let expected = json!({"subject": "ann", "tier": "premium", "scope": "a b"});
    assert_eq!(metadata, expected);
    assert_eq!(identity, super::identity(None, &token));
}

#[test]
fn no_token_is_answered_with_a_challenge() {
    let mut gateway = with_secret(json!({"realm": "api"}));
    for headers in [&[][..], &[("Authorization", "Basic YTpi")], &[("Authorization", "token")]] {
        let output = gateway.request("GET", "http://host/", headers, "");
        assert_eq!(refusal(&output).0, 401);
        let challenge = &output["response"]["headers"]["WWW-Authenticate"];
        assert_eq!(challenge, &json!(["Bearer realm=\"api\""]));
    }
}

#[test]
fn the_token_may_be_in_another_header_or_in_a_cookie() {
    let token = hs(json!({"exp": NOW + 60}));
    let mut gateway = with_secret(json!({"headerName": "X-Token", "cookieName": "session"}));
    let cookie = format!("a=b; session={token}");
    for header in [("x-token", token.as_str()), ("Cookie", &cookie)] {
        let output = gateway.request("GET", "http://host/", &[header], "");
        assert_eq!(output["continue"], true, "{output}");
    }
}

/// The key set of an issuer, as JSON, with the keys of these ids.
fn key_set(rsa: &str, ec: &str) -> Value {
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(RSA).unwrap();
    let point = p256::ecdsa::SigningKey::from_pkcs8_pem(EC).unwrap();
    let point = point.verifying_key().to_encoded_point(false);
    json!({"keys": [
        {"kty": "oct", "k": "AAAA"},
        {"kty": "RSA", "kid": rsa, "use": "sig", "alg": "RS256",
         "n": URL.encode(key.n().to_bytes_be()), "e": URL.encode(key.e().to_bytes_be())},
        {"kty": "EC", "kid": ec, "crv": "P-256",
         "x": URL.encode(point.x().unwrap()), "y": URL.encode(point.y().unwrap())},
    ]})
}

/// An issuer whose key set is what the cell holds; counts how often it is asked.
fn issuer(set: Rc<std::cell::RefCell<Option<Value>>>) -> Rc<Cell<usize>> {
    let asked = Rc::new(Cell::new(0));
    let count = asked.clone();
    set_http(move |request| {
        assert_eq!(request["url"], "https://idp/keys");
        count.set(count.get() + 1);
        match &*set.borrow() {
            Some(set) => json!({"statusCode": 200, "headers": {}, "body": set.to_string()}),
            None => json!({"statusCode": 0, "error": "connection refused"}),
        }
    });
    asked
}

#[test]
fn keys_are_fetched_once_and_follow_a_rotation() {
    let set = Rc::new(std::cell::RefCell::new(Some(key_set("r1", "e1"))));
    let asked = issuer(set.clone());
    let mut gateway = auth(json!({"jwksUrl": "https://idp/keys"}));
    let claims = json!({"exp": NOW + 6000});
    for token in [rs256("r1", &claims), es256("e1", &claims), rs256("r1", &json!({"exp": NOW + 9}))]
    {
        assert_eq!(ask(&mut gateway, &token)["continue"], true);
    }
    assert_eq!(asked.get(), 1);

    // A rotation: the new key's token makes the set be fetched; but not within the cooldown.
    set.replace(Some(key_set("r2", "e2")));
    assert_eq!(refusal(&ask(&mut gateway, &rs256("r2", &claims))).0, 401);
    assert_eq!(asked.get(), 1);
    set_time(NOW + 11);
    assert_eq!(ask(&mut gateway, &rs256("r2", &claims))["continue"], true);
    assert_eq!(asked.get(), 2);
    // The old key is gone, and so is what was remembered under it.
    assert_eq!(refusal(&ask(&mut gateway, &rs256("r1", &claims))).0, 401);

    // An outage: the set stays in use.
    set.replace(None);
    set_time(NOW + 1000);
    assert_eq!(ask(&mut gateway, &es256("e2", &claims))["continue"], true);
    assert_eq!(asked.get(), 3);
    assert!(take_log().iter().any(|(_, line)| line.contains("connection refused")));
}

#[test]
fn a_set_that_one_instance_fetched_serves_the_others() {
    let set = Rc::new(std::cell::RefCell::new(Some(key_set("r1", "e1"))));
    let asked = issuer(set);
    let config = json!({"jwksUrl": "https://idp/keys"});
    let token = es256("e1", &json!({"exp": NOW + 60}));
    for _ in 0..3 {
        assert_eq!(ask(&mut auth(config.clone()), &token)["continue"], true);
    }
    assert_eq!(asked.get(), 1);
    set_kv_down(true);
    assert_eq!(ask(&mut auth(config), &token)["continue"], true);
    set_kv_down(false);
    assert_eq!(asked.get(), 2);
}

#[test]
fn without_any_keys_the_verdict_is_left_to_the_failure_mode() {
    issuer(Rc::default());
    let mut gateway = auth(json!({"jwksUrl": "https://idp/keys"}));
    for _ in 0..2 {
        let output = ask(&mut gateway, &es256("e1", &json!({"exp": NOW + 60})));
        assert!(output["error"].as_str().unwrap().contains("https://idp/keys"), "{output}");
        assert!(output.get("continue").is_none());
    }
}

#[test]
fn mistakes_of_the_configuration_are_named() {
    let cases = [
        (json!({}), "there is no key"),
        (json!({"secret": "short"}), "5 bytes"),
        (json!({"publicKey": RSA_SHORT}), "1024 bits"),
        (json!({"publicKey": "-----BEGIN CERTIFICATE-----"}), "BEGIN PUBLIC KEY"),
        (json!({"publicKey": "/nowhere.pem"}), "/nowhere.pem"),
        (json!({"secret": SECRET, "algorithms": ["HS512"]}), "HS512"),
    ];
    for (config, part) in cases {
        let output = ask(&mut auth(config), "a.b.c");
        let error = output["error"].as_str().unwrap_or_default();
        assert!(error.starts_with("config: ") && error.contains(part), "{error}");
    }
}
