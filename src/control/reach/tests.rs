//! What a `config` names: hosts, addresses that are refused, files.

use serde_json::json;

use super::*;

fn keys(config: Value) -> (Vec<String>, Vec<String>) {
    let mut mistakes = Vec::new();
    let keys = named_origins(&config, &mut mistakes);
    let shown = |(scheme, host, port): &OriginKey| format!("{} {host} {port}", scheme.as_str());
    (keys.iter().map(shown).collect(), mistakes)
}

#[test]
fn hosts_are_named_by_urls_anywhere_and_by_allowed_hosts() {
    let (found, mistakes) = keys(json!({
        "userServiceUrl": "http://users-service:8080",
        "deep": [{"jwks": "https://ID.test/keys/{kid}?a=b c"}],
        "text": "see http://not.test",
        "redis": {"host": "redis:6379"},
        "allowedHosts": ["api.test", "[::1]:9000", "https://also.test:8443/x"],
    }));
    let expected = [
        "http users-service 8080",
        "https id.test 443",
        "https also.test 8443",
        "http api.test 80",
        "https api.test 443",
        "http ::1 9000",
        "https ::1 9000",
    ];
    assert_eq!((found.as_slice(), mistakes.len()), (&expected.map(str::to_owned)[..], 0));
}

#[test]
fn an_allowed_host_that_is_none_is_told() {
    for bad in [json!("*.test"), json!(""), json!(5), json!("a@b"), json!("a b"), json!("a:x")] {
        let (found, mistakes) = keys(json!({"allowedHosts": [bad]}));
        assert_eq!((found.len(), mistakes.len()), (0, 1), "{bad}");
    }
}

#[test]
fn addresses_that_plugins_may_not_call_are_dropped_at_the_lookup() {
    assert_eq!(look_up("127.0.0.1", 80).unwrap(), ["127.0.0.1:80".parse().unwrap()]);
    let why = look_up("169.254.169.254", 80).unwrap_err();
    assert!(why.contains("link-local"), "{why}");
    assert!(look_up("::ffff:169.254.169.254", 80).is_err());
    assert!(look_up("0.0.0.0", 80).is_err());
}

#[test]
fn what_a_name_server_answers_leads_nowhere_else() {
    let answer = |addresses: &[&str]| {
        let found = addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 80));
        allowed("api.test", found.collect::<Vec<_>>().into_iter())
    };
    // 1. Of several addresses the allowed ones are left.
    let mixed = answer(&["169.254.169.254", "10.0.0.1", "fe80::1", "::ffff:169.254.169.254"]);
    assert_eq!(mixed, Ok(vec!["10.0.0.1:80".parse().unwrap()]));
    // 2. Where none is left, the reason is told.
    let refused = answer(&["169.254.169.254"]);
    let why = refused.clone().unwrap_err();
    assert!(why.contains("api.test resolves to 169.254.169.254, where plugins may not"), "{why}");
    assert_eq!(answer(&[]).unwrap_err(), "api.test does not resolve: it has no address");
    // 3. A name that moves there keeps its last good addresses; one that never had any has none.
    let mut reaching = Reaching::new(&kv::config::Config::default());
    let config = json!({"url": "http://127.0.0.1:9/"});
    let origins =
        reaching.origins(&config, &Trust::default(), |_| (7, 8, Arc::default()), &mut Vec::new());
    let good = Ok(vec!["127.0.0.1:9".parse().unwrap()]);
    assert_eq!(**origins[0].addresses.load(), good);
    assert!(take_answer(&origins[0], refused.clone()).is_err());
    assert_eq!(**origins[0].addresses.load(), good);
    origins[0].addresses.store(Arc::new(Err("is not looked up yet".to_owned())));
    assert!(take_answer(&origins[0], refused.clone()).is_err());
    assert_eq!(**origins[0].addresses.load(), refused);
}

#[test]
fn an_origin_keeps_its_last_addresses_while_it_is_used() {
    let mut reaching = Reaching::new(&kv::config::Config::default());
    let config = json!({"url": "http://127.0.0.1:9/"});
    let mut mistakes = Vec::new();
    let first =
        reaching.origins(&config, &Trust::default(), |_| (7, 8, Arc::default()), &mut mistakes);
    let again =
        reaching.origins(&config, &Trust::default(), |_| (7, 8, Arc::default()), &mut mistakes);
    assert!(Arc::ptr_eq(&first[0], &again[0]) && mistakes.is_empty());
    assert_eq!(first[0].id, 7);
    drop((first, again));
    reaching.settle(&mut Vec::new());
    assert!(reaching.origins.is_empty());
}

#[test]
fn files_are_those_whose_paths_stand_in_the_config() {
    let dir = std::env::temp_dir().join(format!("odin-reach-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, bytes))
            .unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (key, large) = (file("key.pem", b"PEM"), file("large", &vec![0; 1024 * 1024 + 1]));
    let folder = dir.to_str().unwrap();
    let mut mistakes = Vec::new();
    let config = json!({
        "publicKey": key, "again": key, "schema": large, "folder": folder,
        "missing": "/nonexistent/x", "word": "fixed-window", "number": 3,
    });
    let files = files(&config, &mut mistakes);
    let seen: Vec<_> = files.iter().map(|file| (&*file.path, file.contents.is_ok())).collect();
    let expected = [(&*key, true), (&*large, false), (folder, false), ("/nonexistent/x", false)];
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    let mut wanted = expected.to_vec();
    wanted.sort_unstable();
    assert_eq!(sorted, wanted);
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(!format!("{files:?}").contains("PEM"));
    std::fs::remove_dir_all(&dir).unwrap();
}
