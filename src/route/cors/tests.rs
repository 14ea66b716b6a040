//! Who may read what, and that nobody else may.

use super::*;

fn cors(origins: Vec<Origin>, credentials: bool) -> Cors {
    Cors {
        origins,
        methods: Names::These("GET, PUT".to_owned()),
        headers: Names::These("X-One".to_owned()),
        expose: Names::These(String::new()),
        credentials,
        max_age: Some(600),
    }
}

fn named(cors: &Cors, origin: &str) -> Option<String> {
    let mut request = Fields::new();
    request.push(b"Origin", origin.as_bytes());
    let mut answer = Fields::new();
    cors.answer(&request, &mut answer);
    answer
        .get("access-control-allow-origin")
        .map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn only_named_origins_may_read() {
    let policy = cors(
        vec![
            Origin::Is("https://app.example.com".to_owned()),
            Origin::Below("https://".to_owned(), ".example.org".to_owned()),
            Origin::Fits(Regex::new("^(?:https://dev-[0-9]+\\.test|nul.)$").unwrap()),
        ],
        true,
    );
    for (origin, is_allowed) in [
        ("https://app.example.com", true),
        ("https://app.example.com:443", false),
        ("http://app.example.com", false),
        ("https://app.example.com.evil", false),
        ("https://a.example.org", true),
        ("https://a.b.example.org", true),
        ("https://example.org", false),
        ("https://.example.org", false),
        ("https://evil/.example.org", false),
        ("https://evil?.example.org", false),
        ("https://user@evil.example.org", false),
        ("https://evil#a.example.org", false),
        ("https://a.example.org:8443", false),
        ("https://dev-7.test", true),
        ("https://dev-7.test.evil", false),
        ("null", false),
        ("", false),
        ("*", false),
    ] {
        assert_eq!(named(&policy, origin), is_allowed.then(|| origin.to_owned()), "{origin}");
    }
    assert_eq!(named(&cors(vec![Origin::Is("null".to_owned())], false), "null").unwrap(), "null");
    assert_eq!(named(&cors(vec![Origin::Any], false), "https://x").unwrap(), "*");
}

#[test]
fn two_origins_are_none() {
    let mut request = Fields::new();
    request.push(b"Origin", b"https://a");
    request.push(b"Origin", b"https://a");
    let mut answer = Fields::new();
    cors(vec![Origin::Is("https://a".to_owned())], true).answer(&request, &mut answer);
    assert_eq!(answer.iter().collect::<Vec<_>>(), [(&b"Vary"[..], &b"Origin"[..])]);
}

#[test]
fn an_origin_servers_own_word_is_replaced() {
    let mut answer = Fields::new();
    cors(vec![Origin::Is("https://a".to_owned())], true).answer(&Fields::new(), &mut answer);
    let mut response = Fields::new();
    response.push(b"Access-Control-Allow-Origin", b"*");
    response.push(b"access-control-allow-credentials", b"true");
    response.push(b"Accept-Ranges", b"bytes");
    response.push(b"Vary", b"Accept, origin");
    replace(&answer, &mut response);
    let left: Vec<_> = response.iter().map(|(name, _)| name).collect();
    assert_eq!(left, [&b"Accept-Ranges"[..], b"Vary"]);
}

#[test]
fn a_preflight_is_told_what_may_be_sent() {
    let mut request = Fields::new();
    request.push(b"Origin", b"https://a");
    request.push(b"Access-Control-Request-Method", b"PUT");
    request.push(b"Access-Control-Request-Headers", b"x-two,authorization, b\xe9d");
    let value = |local: &LocalResponse, name: &str| {
        let value = local.fields.get(name).map(<[u8]>::to_vec);
        value.map(|value| String::from_utf8(value).unwrap())
    };
    let (methods, headers) = ("access-control-allow-methods", "access-control-allow-headers");
    let named = cors(vec![Origin::Is("https://a".to_owned())], true);
    let local = named.preflight(&request);
    assert_eq!(local.status, 204);
    assert_eq!(value(&local, methods).unwrap(), "GET, PUT");
    assert_eq!(value(&local, headers).unwrap(), "X-One");
    assert_eq!(value(&local, "access-control-max-age").unwrap(), "600");

    let any = Cors { methods: Names::Any, headers: Names::Any, ..named.clone() };
    let local = any.preflight(&request);
    assert_eq!(value(&local, methods).unwrap(), "PUT", "a * is a name where there are cookies");
    assert_eq!(value(&local, headers).unwrap(), "x-two, authorization");
    let open = Cors { credentials: false, ..any };
    let local = open.preflight(&request);
    assert_eq!(value(&local, methods).unwrap(), "*");
    assert_eq!(value(&local, headers).unwrap(), "*, Authorization");

    request.set(b"Origin", b"https://b");
    let local = named.preflight(&request);
    assert_eq!((local.status, value(&local, methods)), (204, None));
}
