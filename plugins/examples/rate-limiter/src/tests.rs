//! The limiter as the gateway sees it, by a clock that the tests set.

use super::*;
use odin_plugin::testing::{Gateway, set_kv_down, set_time_ms};
use serde_json::{Value, json};

const START: i64 = 1_700_000_000_000;

fn limiter(config: Value) -> Gateway<RateLimiter> {
    set_time_ms(START);
    Gateway::new(config)
}

fn ask(gateway: &mut Gateway<RateLimiter>) -> Value {
    gateway.request("GET", "http://host/api", &[("X-Key", "k")], "")
}

/// How many of `requests` are let pass at this time.
fn allowed(gateway: &mut Gateway<RateLimiter>, requests: usize, at_ms: i64) -> usize {
    set_time_ms(START + at_ms);
    (0..requests).filter(|_| ask(gateway)["continue"] == true).count()
}

#[test]
fn exactly_the_limit_passes_in_a_fixed_window() {
    let mut gateway = limiter(json!({"limit": 100, "window": "60s"}));
    assert_eq!(allowed(&mut gateway, 1000, 0), 100);
    assert_eq!(allowed(&mut gateway, 10, 59_999), 0);
    assert_eq!(allowed(&mut gateway, 1000, 60_000), 100);
}

#[test]
fn a_refusal_says_when_to_come_again() {
    let mut gateway = limiter(json!({"limit": 1, "window": "60s"}));
    ask(&mut gateway);
    set_time_ms(START + 15_500);
    let output = ask(&mut gateway);
    assert_eq!(output["continue"], false);
    let response = &output["response"];
    assert_eq!(response["statusCode"], 429);
    assert_eq!(response["headers"]["Retry-After"], json!(["45"]));
    assert_eq!(response["headers"]["RateLimit-Limit"], json!(["1"]));
    let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["error"], "rate limit exceeded");
}

#[test]
fn a_sliding_window_has_no_seam() {
    let config = json!({"algorithm": "sliding-window", "limit": 100, "window": "60s"});
    let mut gateway = limiter(config);
    // START is 20 s into a window of the clock; go to its very end, and then over it.
    let end = 60_000 - START.rem_euclid(60_000);
    assert_eq!(allowed(&mut gateway, 1000, end - 1), 100);
    assert_eq!(allowed(&mut gateway, 1000, end), 0);
    let quarter_later = allowed(&mut gateway, 1000, end + 15_000);
    assert!((20..=30).contains(&quarter_later), "{quarter_later}");
}

#[test]
fn refused_requests_do_not_count_in_a_sliding_window() {
    let config = json!({"algorithm": "sliding-window", "limit": 10, "window": "60s"});
    let mut gateway = limiter(config);
    let end = 60_000 - START.rem_euclid(60_000);
    allowed(&mut gateway, 1000, 0);
    assert_eq!(allowed(&mut gateway, 1000, end + 60_000), 10);
}

#[test]
fn the_wait_of_a_sliding_window_is_long_enough_and_not_too_long() {
    let config = json!({"algorithm": "sliding-window", "limit": 10, "window": "10s"});
    let mut gateway = limiter(config);
    let end = 10_000 - START.rem_euclid(10_000);
    allowed(&mut gateway, 10, end - 1);
    let wait = |gateway: &mut Gateway<RateLimiter>| {
        let header = ask(gateway)["response"]["headers"]["Retry-After"][0].clone();
        header.as_str().unwrap().parse::<i64>().unwrap()
    };
    set_time_ms(START + end);
    assert_eq!(wait(&mut gateway), 1);
    assert_eq!(allowed(&mut gateway, 10, end + 1000), 1);
}

#[test]
fn a_token_bucket_allows_its_burst_and_then_drips() {
    let config = json!({"algorithm": "token-bucket", "limit": 60, "window": "60s", "burst": 10});
    let mut gateway = limiter(config);
    assert_eq!(allowed(&mut gateway, 100, 0), 10);
    assert_eq!(allowed(&mut gateway, 100, 999), 0);
    assert_eq!(allowed(&mut gateway, 100, 1000), 1);
    assert_eq!(allowed(&mut gateway, 100, 4500), 3);
    assert_eq!(allowed(&mut gateway, 100, 5000), 1);
    assert_eq!(allowed(&mut gateway, 100, 600_000), 10);
}

#[test]
fn a_token_bucket_survives_a_clock_that_goes_back() {
    let config = json!({"algorithm": "token-bucket", "limit": 10, "window": "10s"});
    let mut gateway = limiter(config);
    assert_eq!(allowed(&mut gateway, 100, 0), 10);
    assert_eq!(allowed(&mut gateway, 100, -5000), 0);
}

#[test]
fn tiers_have_their_own_limits() {
    let config = || {
        json!({"algorithm": "sliding-window", "limits": {
            "anonymous": 10, "authenticated": 100, "premium": 1000}})
    };
    assert_eq!(allowed(&mut limiter(config()), 2000, 0), 10);
    let mut known = limiter(config()).metadata("subject", json!("ann"));
    assert_eq!(allowed(&mut known, 2000, 0), 100);
    let premium = limiter(config()).metadata("subject", json!("bob"));
    let mut premium = premium.metadata("tier", json!("premium"));
    assert_eq!(allowed(&mut premium, 2000, 0), 1000);
    let other = limiter(config()).metadata("subject", json!("eve"));
    let mut other = other.metadata("tier", json!("no such tier"));
    assert_eq!(allowed(&mut other, 2000, 0), 100);
}

#[test]
fn a_header_cannot_choose_a_tier() {
    let mut gateway = limiter(json!({"limits": {"anonymous": 1, "premium": 1000}}));
    let headers = [("tier", "premium"), ("X-Tier", "premium")];
    gateway.request("GET", "http://host/", &headers, "");
    let output = gateway.request("GET", "http://host/", &headers, "");
    assert_eq!(output["continue"], false);
}

#[test]
fn clients_are_told_apart_by_the_parts_of_the_key() {
    let mut gateway = limiter(json!({"limit": 1, "key": ["header:x-key", "path"]}));
    let mut ask = |path: &str, key: &str| {
        let output = gateway.request("GET", &format!("http://h{path}"), &[("X-Key", key)], "");
        output["continue"] == true
    };
    assert!(ask("/a", "1"));
    assert!(ask("/b", "1"));
    assert!(ask("/a", "2"));
    assert!(ask("/a", &"long".repeat(1000)));
    assert!(!ask("/a", &"long".repeat(1000)));
    assert!(!ask("/a", "1"));
}

#[test]
fn addresses_of_one_ipv6_network_are_one_client() {
    let mut gateway = limiter(json!({"limit": 1}));
    let mut ask = |address: &str| {
        let context = json!({"phase": "request", "clientIp": address});
        gateway.call_with(context, json!({"method": "GET", "headers": {}}))["continue"] == true
    };
    assert!(ask("2001:db8:1:2::1"));
    assert!(!ask("2001:db8:1:2:ffff::2"));
    assert!(ask("2001:db8:1:3::1"));
    assert!(ask("192.0.2.7"));
    assert!(!ask("::ffff:192.0.2.7"));
}

#[test]
fn shared_state_that_is_down_leaves_the_verdict_to_the_failure_mode() {
    for algorithm in ["fixed-window", "sliding-window", "token-bucket"] {
        let mut gateway = limiter(json!({"limit": 1, "algorithm": algorithm}));
        set_kv_down(true);
        let output = ask(&mut gateway);
        set_kv_down(false);
        assert!(output["error"].is_string(), "{algorithm}: {output}");
        assert!(output.get("continue").is_none(), "{algorithm}: {output}");
    }
}

#[test]
fn mistakes_of_the_configuration_are_named() {
    let cases = [
        (json!({}), "neither limit nor limits.anonymous"),
        (json!({"limit": -1}), "-1"),
        (json!({"limit": 1, "window": 0}), "window"),
        (json!({"limit": 1, "window": "soon"}), "60s"),
        (json!({"limit": 1, "algorithm": "guess"}), "sliding-window"),
        (json!({"limit": 1, "key": "ip"}), "known: client"),
        (json!({"limit": 1, "algorithm": "token-bucket", "burst": 0}), "burst"),
    ];
    for (config, part) in cases {
        let output = ask(&mut limiter(config));
        let error = output["error"].as_str().unwrap_or_default();
        assert!(error.starts_with("config: ") && error.contains(part), "{error}");
    }
}
