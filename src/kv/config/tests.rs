//! What a plugin's `config` may say, and the words for what it may not.

use serde_json::json;

use super::*;

fn gateway(kv: Value) -> Config {
    serde_json::from_value(kv).unwrap()
}

fn select(config: Value, kv: Value) -> Result<Selection, String> {
    Selection::from_plugin_config(&config, &gateway(kv))
}

fn redis(selected: Result<Selection, String>) -> RedisConfig {
    match selected.unwrap().backend {
        Backend::Redis(redis) => redis,
        Backend::Memory => panic!("memory was selected"),
    }
}

#[test]
fn plugin_that_says_nothing_gets_the_gateways_backend() {
    let memory = Selection { backend: Backend::Memory, namespace: None };
    assert_eq!(select(json!({}), json!({})), Ok(memory.clone()));
    assert_eq!(select(Value::Null, json!({})), Ok(memory.clone()));
    let kv = json!({"backend": "redis", "redis": {"host": "shared"}});
    assert_eq!(redis(select(json!({}), kv.clone())).name(), "shared:6379");
    assert_eq!(select(json!({"backend": "memory"}), kv), Ok(memory));
}

#[test]
fn extensions_page_blocks_select_redis() {
    let kv = json!({"redis": {"host": "shared:7000", "db": 2}});
    let cache = redis(select(json!({"ttl": 300, "backend": "redis"}), kv));
    assert_eq!((cache.name().as_str(), cache.db), ("shared:7000", 2));

    let limiter = json!({
        "algorithm": "sliding-window",
        "redis": {"host": "redis:6379"},
        "limits": {"anonymous": 10, "authenticated": 100, "premium": 1000}
    });
    let limiter = redis(select(limiter, json!({})));
    assert_eq!((limiter.host.as_str(), limiter.port, limiter.db), ("redis", 6379, 0));
    assert_eq!((limiter.timeout, limiter.prefix.as_str()), (limits::KV_REDIS_TIMEOUT, "odin:"));
}

#[test]
fn all_redis_keys_are_taken() {
    let config = json!({"kvNamespace": "shared-limits", "redis": {
        "host": "[::1]:7001", "db": 3, "username": "odin", "password": "p:w@d",
        "timeout": "250ms", "prefix": "gw1:",
    }});
    let selected = select(config, json!({})).unwrap();
    assert_eq!(selected.namespace.as_deref(), Some("shared-limits"));
    let redis = redis(Ok(selected));
    assert_eq!(redis.name(), "[::1]:7001");
    assert_eq!((redis.db, redis.timeout), (3, Duration::from_millis(250)));
    assert_eq!(redis.password.as_deref(), Some("p:w@d"));
    assert!(!format!("{redis:?}").contains("p:w@d"), "the password is in the debug text");
}

#[test]
fn tls_is_asked_for_by_its_key_or_by_rediss() {
    for (own, is_secure) in [
        (json!({"host": "x"}), false),
        (json!({"host": "redis://x:7000"}), false),
        (json!({"host": "x", "tls": true}), true),
        (json!({"host": "redis://x", "tls": true}), true),
        (json!({"host": "rediss://x:7000/"}), true),
        (json!({"host": "rediss://[::1]:7000"}), true),
    ] {
        let redis = redis(select(json!({"redis": own}), json!({})));
        assert_eq!(redis.tls, is_secure, "{own}");
    }
    let kv = json!({"redis": {"host": "shared", "tls": true}});
    assert!(redis(select(json!({"backend": "redis"}), kv.clone())).tls);
    assert!(redis(select(json!({"redis": {"db": 2}}), kv.clone())).tls);
    assert!(!redis(select(json!({"redis": {"host": "elsewhere"}}), kv)).tls);
}

#[test]
fn own_host_takes_no_credentials_from_the_gateway() {
    let kv = json!({"redis": {"host": "shared", "password": "secret", "db": 4, "prefix": "x:"}});
    let own = redis(select(json!({"redis": {"host": "elsewhere"}}), kv.clone()));
    assert_eq!((own.password, own.db, own.prefix.as_str()), (None, 0, "odin:"));
    let other_db = redis(select(json!({"redis": {"db": 7}}), kv));
    assert_eq!(other_db.name(), "shared:6379");
    assert_eq!((other_db.password.as_deref(), other_db.db), (Some("secret"), 7));
    assert_eq!(other_db.prefix, "x:");
}

fn assert_mistakes(kv: &Value, cases: Vec<(Value, &str)>) {
    for (config, words) in cases {
        let got = select(config.clone(), kv.clone()).unwrap_err();
        assert!(got.contains(words), "{config}: got {got:?}, expected {words:?}");
    }
}

#[test]
fn mistaken_selection_is_told_with_its_key_and_a_way_out() {
    let words = "config.backend is \"reddis\", expected memory or redis";
    let no_host = "neither config.redis.host nor kv.redis.host is set";
    let no_object = "config.redis is a string, expected an object";
    let cases = vec![
        (json!({"backend": "reddis"}), words),
        (json!({"backend": 7}), "config.backend is 7, expected"),
        (json!({"backend": "redis"}), no_host),
        (json!({"redis": "redis:6379"}), no_object),
        (json!({"redis": {}}), "config.redis.host is missing"),
        (json!({"kvNamespace": ""}), "config.kvNamespace is \"\""),
    ];
    assert_mistakes(&json!({}), cases);
    let shared = json!({"redis": {"host": "shared"}});
    let cases = vec![
        (json!({"redis": {"password": "p"}}), "but no host"),
        (json!({"redis": {"tls": false}}), "but no host"),
    ];
    assert_mistakes(&shared, cases);
}

#[test]
fn mistaken_redis_key_is_told() {
    let cases = [
        (json!({"hots": "x"}), "config.redis: unknown field `hots`"),
        (json!({"host": "x", "tls": "yes"}), "invalid type: string \"yes\", expected a boolean"),
        (json!({"host": "http://x"}), "host begins with http://, expected rediss://"),
        (json!({"host": "rediss://u:p@x:1"}), "username, password and db"),
        (json!({"host": "redis://x/2"}), "username, password and db"),
        (json!({"host": "rediss://x", "tls": false}), "and tls is false"),
        (json!({"host": "x:0"}), "host is \"x:0\", expected NAME"),
        (json!({"host": "x:99999"}), "expected NAME or NAME:PORT"),
        (json!({"host": ""}), "config.redis.host is \"\""),
        (json!({"host": "x", "db": -1}), "config.redis: invalid value"),
        (json!({"host": "x", "timeout": "1h"}), "expected 1ms to 10m"),
        (json!({"host": "x", "timeout": "0s"}), "timeout is \"0s\""),
        (json!({"host": "x", "username": "u"}), "username stands without"),
    ];
    let cases = cases.map(|(redis, words)| (json!({"redis": redis}), words));
    assert_mistakes(&json!({}), cases.to_vec());
}

#[test]
fn section_that_cannot_work_is_refused() {
    assert!(gateway(json!({})).mistakes().is_empty());
    let mistakes = gateway(json!({"backend": "redis", "memory": {"bytesMax": 1000}})).mistakes();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(serde_json::from_value::<Config>(json!({"memory": {"size": 1}})).is_err());
    let no_host = serde_json::from_value::<Config>(json!({"redis": {"db": 1}})).unwrap_err();
    assert!(no_host.to_string().contains("host is missing"), "{no_host}");
}
