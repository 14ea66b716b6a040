//! Exchanges through the cache: each request first asks it, and what it has not got comes from a
//! service whose answer is given.

use super::*;
use odin_plugin::testing::{Gateway, metric, set_kv_down, set_time};
use serde_json::{Value, json};

const NOW: i64 = 1_700_000_000;
const URL: &str = "http://host/api/products?b=2&a=1";

struct Exchanges {
    config: Value,
}

impl Exchanges {
    fn new(config: Value) -> Self {
        set_time(NOW);
        Self { config }
    }

    /// One exchange on an instance of its own: instances share nothing but the store.
    fn ask(&self, method: &str, url: &str, asked: &[(&str, &str)], answer: &Answer) -> Value {
        let mut gateway = Gateway::<Cache>::new(self.config.clone());
        let output = gateway.request(method, url, asked, "");
        if output["continue"] == false {
            return output["response"].clone();
        }
        let list = |headers: &[(&str, &str)]| {
            let mut object = serde_json::Map::new();
            for (name, value) in headers {
                object.insert((*name).to_owned(), json!([value]));
            }
            Value::Object(object)
        };
        let mut input = json!({
            "statusCode": answer.status, "headers": list(answer.headers), "body": answer.body,
            "request": {"method": method, "url": url, "headers": list(asked)},
        });
        if answer.is_base64 {
            input["bodyEncoding"] = json!("base64");
        }
        let output = gateway.call("response", input);
        assert_eq!(output["continue"], true, "{output}");
        output["response"].clone()
    }

    fn get(&self, asked: &[(&str, &str)], answer: &Answer) -> String {
        state(&self.ask("GET", URL, asked, answer))
    }
}

struct Answer<'a> {
    status: u16,
    headers: &'a [(&'a str, &'a str)],
    body: &'a str,
    is_base64: bool,
}

const fn ok<'a>(headers: &'a [(&'a str, &'a str)]) -> Answer<'a> {
    Answer { status: 200, headers, body: "[1]", is_base64: false }
}

fn state(response: &Value) -> String {
    response["headers"][STATE][0].as_str().unwrap_or("none").to_owned()
}

#[test]
fn the_second_request_is_answered_from_the_cache_until_the_ttl() {
    let cache = Exchanges::new(json!({"ttl": 300}));
    assert_eq!(
        cache.get(&[], &ok(&[("Content-Type", "application/json"), ("Connection", "x")])),
        "MISS"
    );
    set_time(NOW + 299);
    let hit = cache.ask("GET", "http://host/api/products?a=1&b=2", &[], &ok(&[]));
    assert_eq!(
        hit,
        json!({"statusCode": 200, "body": "[1]", "headers": {
        "Content-Type": ["application/json"], "Age": ["299"], "X-Cache": ["HIT"]}})
    );
    set_time(NOW + 300);
    assert_eq!(cache.get(&[], &ok(&[])), "MISS");
    assert_eq!((metric("hits_total"), metric("misses_total")), (1, 2));
}

#[test]
fn what_the_service_says_counts() {
    let cases: &[(&[(&str, &str)], i64)] = &[
        (&[("Cache-Control", "max-age=10")], 10),
        (&[("cache-control", "public, S-MaxAge=\"20\", max-age=10")], 20),
        (&[("Cache-Control", "max-age=10"), ("Age", "4")], 6),
        (&[("Cache-Control", "max-age=junk")], 0),
        (&[("Cache-Control", "no-store")], 0),
        (&[("Cache-Control", "private")], 0),
        (&[("Cache-Control", "no-cache")], 0),
        (&[("Set-Cookie", "a=b")], 0),
        (&[("Vary", "*")], 0),
        (&[("Expires", "Tue, 14 Nov 2023 22:13:50 GMT")], 30),
        (&[("Expires", "0")], 0),
        (&[], 300),
    ];
    for (n, (headers, lifetime)) in cases.iter().enumerate() {
        let cache = Exchanges::new(json!({"ttl": "5m"}));
        let url = format!("http://host/{n}");
        cache.ask("GET", &url, &[], &ok(headers));
        if *lifetime > 0 {
            set_time(NOW + lifetime - 1);
            assert_eq!(
                state(&cache.ask("GET", &url, &[], &ok(&[("Cache-Control", "no-store")]))),
                "HIT",
                "{headers:?}"
            );
        }
        set_time(NOW + lifetime);
        assert_eq!(state(&cache.ask("GET", &url, &[], &ok(headers))), "MISS", "{headers:?}");
    }
}

#[test]
fn answers_vary_by_the_headers_that_the_service_or_the_configuration_names() {
    let cache = Exchanges::new(json!({"vary": ["X-Tenant"]}));
    let answer = |body| Answer {
        status: 200,
        headers: &[("Vary", "Accept-Language, Accept")],
        body,
        is_base64: false,
    };
    let de = [("Accept-Language", "de"), ("X-Tenant", "1")];
    let en = [("Accept-Language", "en"), ("X-Tenant", "1")];
    let other = [("Accept-Language", "de"), ("X-Tenant", "2")];
    for (headers, body) in [(&de, "de"), (&en, "en"), (&other, "2")] {
        assert_eq!(cache.get(headers, &answer(body)), "MISS");
    }
    for (headers, body) in [(&de, "de"), (&en, "en"), (&other, "2")] {
        let hit = cache.ask("GET", URL, headers, &answer("new"));
        assert_eq!((state(&hit).as_str(), &hit["body"]), ("HIT", &json!(body)));
    }
    // A change of the resource makes all of them old.
    cache.ask("PUT", URL, &[], &ok(&[]));
    for headers in [&de, &en, &other] {
        assert_eq!(cache.get(headers, &answer("new")), "MISS");
    }
}

#[test]
fn a_failed_change_keeps_what_is_stored() {
    let cache = Exchanges::new(json!({}));
    cache.get(&[], &ok(&[]));
    cache.ask("DELETE", URL, &[], &Answer { status: 403, ..ok(&[]) });
    assert_eq!(cache.get(&[], &ok(&[])), "HIT");
    cache.ask("DELETE", URL, &[], &ok(&[]));
    assert_eq!(cache.get(&[], &ok(&[])), "MISS");
}

#[test]
fn what_was_asked_for_with_credentials_is_never_anothers() {
    for name in ["Authorization", "Cookie", "X-API-Key", "x-auth-token", "X-Own"] {
        let cache = Exchanges::new(json!({"credentials": ["X-Own"]}));
        // A URL of its own: what the round before has stored for anybody is still there.
        let url = format!("{URL}&for={name}");
        let get =
            |asked: &[(&str, &str)], answer: &Answer| state(&cache.ask("GET", &url, asked, answer));
        let (ann, bob) = ([(name, "ann")], [(name, "bob")]);
        assert_eq!(get(&ann, &ok(&[])), "MISS", "{name}");
        assert_eq!(get(&ann, &ok(&[])), "MISS", "{name}: the service did not say `public`");
        let public = [("Cache-Control", "public")];
        let public = ok(&public);
        assert_eq!(get(&ann, &public), "MISS", "{name}");
        assert_eq!(get(&ann, &public), "HIT", "{name}");
        assert_eq!(get(&bob, &public), "MISS", "{name}");
        assert_eq!(get(&[], &public), "MISS", "{name}");
    }
}

#[test]
fn a_client_can_get_around_the_cache_if_it_may() {
    let cache = Exchanges::new(json!({}));
    cache.get(&[], &ok(&[]));
    set_time(NOW + 20);
    for (wish, expected) in [("no-store", "none"), ("no-cache", "MISS"), ("max-age=0", "MISS")] {
        let answer = ok(&[("Cache-Control", "no-store")]);
        assert_eq!(cache.get(&[("Cache-Control", wish)], &answer), expected, "{wish}");
    }
    assert_eq!(
        cache.get(&[("Cache-Control", "max-age=19")], &ok(&[("Cache-Control", "no-store")])),
        "MISS"
    );
    assert_eq!(cache.get(&[("Cache-Control", "max-age=20, only-if-cached")], &ok(&[])), "HIT");
    let nothing =
        cache.ask("GET", "http://host/none", &[("Cache-Control", "only-if-cached")], &ok(&[]));
    assert_eq!(nothing["statusCode"], 504);

    let strict = Exchanges::new(json!({"honourClient": false}));
    assert_eq!(strict.get(&[("Cache-Control", "no-cache")], &ok(&[])), "HIT");
}

#[test]
fn a_client_that_has_it_gets_only_the_head() {
    let cache = Exchanges::new(json!({}));
    cache.get(&[], &ok(&[("ETag", "\"v1\"")]));
    for (tags, status) in [("\"v1\"", 304), ("W/\"v1\", \"v0\"", 304), ("*", 304), ("\"v2\"", 200)]
    {
        let hit = cache.ask("GET", URL, &[("If-None-Match", tags)], &ok(&[]));
        assert_eq!(hit["statusCode"], status, "{tags}");
        assert_eq!(hit.get("body").is_some(), status == 200);
    }
}

#[test]
fn only_whole_answers_to_get_are_stored() {
    let cache = Exchanges::new(json!({"maxBodyBytes": 3, "statuses": [200]}));
    cache.ask("HEAD", URL, &[], &ok(&[]));
    cache.ask("POST", URL, &[], &ok(&[]));
    cache.ask("GET", URL, &[("Range", "bytes=0-1")], &Answer { status: 206, ..ok(&[]) });
    cache.ask("GET", URL, &[], &Answer { status: 500, ..ok(&[]) });
    cache.ask("GET", URL, &[], &Answer { body: "four", ..ok(&[]) });
    assert_eq!(cache.get(&[], &ok(&[])), "MISS");
    assert_eq!(state(&cache.ask("HEAD", URL, &[], &ok(&[]))), "HIT");
}

#[test]
fn bodies_of_any_bytes_come_back_as_they_were() {
    let cache = Exchanges::new(json!({}));
    cache.get(&[], &Answer { body: "/wCA", is_base64: true, ..ok(&[]) });
    let hit = cache.ask("GET", URL, &[], &ok(&[]));
    assert_eq!((&hit["body"], &hit["bodyEncoding"]), (&json!("/wCA"), &json!("base64")));
}

#[test]
fn parameters_that_make_no_difference_are_left_out() {
    let cache = Exchanges::new(json!({"ignoreQuery": ["utm_source"]}));
    let ask =
        |query: &str| state(&cache.ask("GET", &format!("http://host/?{query}"), &[], &ok(&[])));
    assert_eq!(ask("a=1&a=2&utm_source=x"), "MISS");
    assert_eq!(ask("utm_source=y&a=1&a=2&"), "HIT");
    assert_eq!(ask("a=2&a=1"), "MISS");
    assert_eq!(ask("a=1"), "MISS");
}

#[test]
fn a_store_that_is_down_fails_no_request() {
    let cache = Exchanges::new(json!({}));
    set_kv_down(true);
    for _ in 0..2 {
        assert_eq!(cache.get(&[], &ok(&[("Vary", "Accept")])), "MISS");
    }
    cache.ask("PUT", URL, &[], &ok(&[]));
    set_kv_down(false);
    assert_eq!(cache.get(&[], &ok(&[])), "MISS");
}

#[test]
fn http_dates_are_read() {
    assert_eq!(policy::unix_time("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    assert_eq!(policy::unix_time("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
    for date in ["", "0", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994"] {
        assert_eq!(policy::unix_time(date), None, "{date}");
    }
}
