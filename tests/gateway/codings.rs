//! Content codings where plugins read bodies: nothing that a client or an origin codes gets past a
//! plugin that hides or refuses what it reads.

use std::io::Write as _;

use crate::support::{Client, Gateway, Origin, Response, Setup, ask, get_with};

const SECRET: &str = r#"{"name":"ann","password":"s3cret"}"#;
/// The same, made by Node's zlib.
const BROTLI: &str = "8b10807b226e616d65223a22616e6e222c2270617373776f7264223a2273336372657422\
                      7d03";

/// A plugin built by `make plugins`.
fn built(name: &str) -> Vec<u8> {
    let path = format!("{}/plugins/dist/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}; run `make plugins`"))
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    let mut coded = vec![0; zstd_safe::compress_bound(plain.len())];
    let size = zstd_safe::compress(&mut coded[..], plain, 3).unwrap();
    coded.truncate(size);
    coded
}

fn brotli() -> Vec<u8> {
    let pairs = BROTLI.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// [`SECRET`] in every coding.
fn secrets() -> [(&'static str, Vec<u8>); 5] {
    let plain = SECRET.as_bytes();
    [
        ("gzip", gzip(plain)),
        ("deflate", deflate(plain)),
        ("zstd", zstd(plain)),
        ("br", brotli()),
        ("gzip, zstd", zstd(&gzip(plain))),
    ]
}

/// Answers everything with this body and these fields.
fn origin(fields: &str, body: &[u8]) -> Origin {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    Origin::raw([head.as_bytes(), body].concat())
}

/// Hides `password` in answers.
fn hiding(origin: &Origin, keys: &str) -> Gateway {
    let config = "config: {response: {body: {remove: [password]}}}";
    let keys = format!("type: response, maxMemoryPages: 256, {config}, {keys}");
    let limits = "pluginBodyBytesMax: 100000";
    Setup::to(origin).limits(limits).plugin("hide", built("transformer"), &keys).start()
}

/// Lets only a body pass that has a `name`, a text.
fn guarding(origin: &Origin, keys: &str) -> Gateway {
    let schema = "{type: object, properties: {name: {type: string}}, required: [name]}";
    let config = format!("config: {{schema: {schema}, strict: true}}");
    let keys = format!("type: request, failureMode: closed, {config}, {keys}");
    let limits = "pluginBodyBytesMax: 100000";
    Setup::to(origin).limits(limits).plugin("guard", built("validator"), &keys).start()
}

fn upload(gateway: &Gateway, coding: &str, body: &[u8]) -> Response {
    let head = format!(
        "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\n\
         Content-Encoding: {coding}\r\nDigest: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    ask(gateway.addr, [head.as_bytes(), body].concat())
}

#[test]
fn what_an_origin_codes_all_the_same_is_read_and_goes_on_plain() {
    for (coding, body) in secrets() {
        let fields = format!(
            "Content-Encoding: {coding}\r\nETag: \"v1\"\r\nVary: Accept-Encoding\r\n\
             Content-MD5: x\r\nRepr-Digest: x\r\nAccept-Ranges: bytes\r\n"
        );
        let origin = origin(&fields, &body);
        let gateway = hiding(&origin, "");
        for accepts in ["", "Accept-Encoding: gzip, br\r\n"] {
            let response = get_with(gateway.addr, "/", accepts);
            assert_eq!(response.text(), r#"{"name":"ann"}"#, "{coding} {accepts}");
            for gone in ["content-encoding", "content-md5", "repr-digest", "accept-ranges"] {
                assert!(!response.head.has(gone), "{coding}: {gone}");
            }
            assert_eq!(response.head.get("etag").as_deref(), Some("W/\"v1\""), "{coding}");
            assert_eq!(response.head.get("vary").as_deref(), Some("Accept-Encoding"), "{coding}");
        }
        let mut client = Client::connect(gateway.addr);
        client.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let head = client.response_to("HEAD").head;
        assert!(!head.has("content-encoding") && !head.has("content-length"), "{coding}: {head}");
        assert_eq!(head.get("etag").as_deref(), Some("W/\"v1\""), "{coding}: HEAD is as GET");
    }
}

#[test]
fn what_a_client_codes_is_judged_and_goes_on_plain() {
    let origin = Origin::ok();
    let gateway = guarding(&origin, "");
    for (coding, body) in secrets() {
        // `strict`: a password is none of its business.
        let refused = upload(&gateway, coding, &body);
        assert_eq!(refused.status, 400, "{coding}: {}", refused.text());
    }
    assert!(origin.requests().is_empty());
    let plain = br#"{"name":"ann"}"#;
    let codings = [("gzip", gzip(plain)), ("x-gzip", gzip(plain)), ("ZSTD", zstd(plain))];
    for (asked, (coding, body)) in codings.into_iter().enumerate() {
        assert_eq!(upload(&gateway, coding, &body).status, 200, "{coding}");
        let received = origin.requests().swap_remove(asked);
        assert_eq!(received.body, plain, "{coding}");
        assert!(!received.head.has("content-encoding"), "{coding}: {}", received.head);
        assert!(!received.head.has("digest"), "{coding}: {}", received.head);
    }
    // Two members, sent in chunks.
    let [one, two] = [gzip(br#"{"name":"#), gzip(br#""bob"}"#)];
    let mut request = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\n\
        Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        .to_vec();
    for part in [&one, &two] {
        request.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        request.extend_from_slice(&[part, &b"\r\n"[..]].concat());
    }
    request.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(ask(gateway.addr, request).status, 200);
    assert_eq!(origin.requests().swap_remove(3).text(), r#"{"name":"bob"}"#);
}

#[test]
fn a_coding_that_is_not_known_passes_nobody_who_reads_bodies_and_everybody_else() {
    let coded = origin("Content-Encoding: compress\r\n", b"noise");
    let gateway = hiding(&coded, "");
    assert_eq!(get_with(gateway.addr, "/", "").status, 502);
    assert_eq!(get_with(hiding(&coded, "body: false").addr, "/", "").text(), "noise");
    let unread = Setup::to(&coded).start();
    assert_eq!(upload(&unread, "compress", b"noise").text(), "noise");
    for coding in ["compress", "gzip;q=1", "gzip, gzip, gzip", "identity, aes128gcm"] {
        let sink = Origin::ok();
        let refused = upload(&guarding(&sink, ""), coding, br#"{"name":"ann"}"#);
        assert_eq!(refused.status, 415, "{coding}: {}", refused.text());
        let accepted = refused.head.get("accept-encoding");
        assert_eq!(accepted.as_deref(), Some("gzip, br, zstd, deflate"), "{coding}");
        assert!(sink.requests().is_empty(), "{coding}");
    }
}

#[test]
fn identity_refuses_what_is_coded_and_raw_lets_the_plugin_see_it_as_it_is() {
    let body = gzip(SECRET.as_bytes());
    let coded = origin("Content-Encoding: gzip\r\n", &body);
    let gateway = hiding(&coded, "encoding: identity");
    assert_eq!(get_with(gateway.addr, "/", "").status, 502);
    let sink = Origin::ok();
    let gateway = guarding(&sink, "encoding: identity");
    let refused = upload(&gateway, "gzip", &gzip(br#"{"name":"ann"}"#));
    assert_eq!((refused.status, sink.requests().len()), (415, 0));
    assert_eq!(refused.head.get("accept-encoding").as_deref(), Some("identity"));
    assert_eq!(upload(&gateway, "identity", br#"{"name":"ann"}"#).status, 200);

    let gateway = hiding(&coded, "encoding: raw");
    let asking = "Accept-Encoding: gzip\r\nRange: bytes=0-9\r\n";
    let response = get_with(gateway.addr, "/", asking);
    assert_eq!(response.body, body);
    assert_eq!(response.head.get("content-encoding").as_deref(), Some("gzip"));
    let asked = coded.requests().pop().unwrap().head;
    assert_eq!(asked.get("accept-encoding").as_deref(), Some("gzip"));
    assert!(asked.has("range"), "{asked}");
}

#[test]
fn of_several_plugins_that_read_a_body_the_strictest_decides() {
    let coded = origin("Content-Encoding: gzip\r\n", &gzip(SECRET.as_bytes()));
    for (first, second, status, codes) in [
        ("raw", "decode", 200, false),
        ("decode", "raw", 200, false),
        ("raw", "raw", 200, true),
        ("raw", "identity", 502, false),
        ("identity", "decode", 502, false),
    ] {
        let keys = |encoding: &str| format!("type: response, encoding: {encoding}");
        let probe = built("canaries/probe");
        let gateway = Setup::to(&coded)
            .plugin("one", &probe, &keys(first))
            .plugin("two", &probe, &keys(second))
            .start();
        let response = get_with(gateway.addr, "/", "");
        assert_eq!(response.status, status, "{first}, {second}");
        assert_eq!(response.head.has("content-encoding"), codes, "{first}, {second}");
    }
}

#[test]
fn a_range_cannot_hide_a_body_from_a_plugin_that_reads_it() {
    let whole = origin("", SECRET.as_bytes());
    let gateway = hiding(&whole, "");
    let response = get_with(gateway.addr, "/", "Range: bytes=14-\r\nIf-Range: \"v1\"\r\n");
    assert_eq!(response.text(), r#"{"name":"ann"}"#);
    let asked = whole.only_request().head;
    assert!(!asked.has("range") && !asked.has("if-range"), "{asked}");
    // An origin that sends a part of a coded body all the same has sent nothing that can be read.
    let part = gzip(SECRET.as_bytes());
    let partial = Origin::raw(
        [
            format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Encoding: gzip\r\nContent-Range: bytes \
                 0-9/{}\r\nContent-Length: 10\r\n\r\n",
                part.len()
            )
            .as_bytes(),
            &part[..10],
        ]
        .concat(),
    );
    assert_eq!(get_with(hiding(&partial, "").addr, "/", "").status, 502);
}

#[test]
fn what_is_damaged_cut_or_continued_is_refused() {
    let whole = gzip(br#"{"name":"ann"}"#);
    let damaged = [
        whole[..whole.len() - 1].to_vec(),
        [&whole[..], b"{}"].concat(),
        br#"{"name":"ann"}"#.to_vec(),
    ];
    let sink = Origin::ok();
    let gateway = guarding(&sink, "");
    for body in damaged {
        assert_eq!(upload(&gateway, "gzip", &body).status, 400, "{body:?}");
        let coded = origin("Content-Encoding: gzip\r\n", &body);
        assert_eq!(get_with(hiding(&coded, "").addr, "/", "").status, 502, "{body:?}");
    }
    assert!(sink.requests().is_empty());
}

#[test]
fn a_bomb_is_a_body_that_is_too_large() {
    let bomb = gzip(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 100_000);
    let sink = Origin::ok();
    let gateway = guarding(&sink, "");
    let refused = upload(&gateway, "gzip", &bomb);
    assert_eq!((refused.status, sink.requests().len()), (413, 0));
    let coded = origin("Content-Encoding: gzip\r\n", &bomb);
    assert_eq!(get_with(hiding(&coded, "").addr, "/", "").status, 502);
    // Who lets large bodies by does so with the coded bytes.
    let response = get_with(hiding(&coded, "onBodyTooLarge: pass").addr, "/", "");
    assert!(response.body == bomb && response.head.has("content-encoding"));
    let gateway = Setup::to(&sink)
        .limits("pluginBodyBytesMax: 100000")
        .plugin("it", built("canaries/probe"), "type: request, onBodyTooLarge: pass")
        .start();
    assert_eq!(upload(&gateway, "gzip", &bomb).status, 200);
    assert!(sink.only_request().body == bomb);
}

#[test]
fn decoding_takes_its_memory_from_the_budget_of_bodies() {
    let coded = origin("Content-Encoding: br\r\n", &brotli());
    let setup = Setup::to(&coded).limits("pluginBodyBytesMax: 100000, bufferedBytesMax: 1000000");
    let gateway = setup.plugin("it", built("canaries/probe"), "type: response").start();
    let response = get_with(gateway.addr, "/", "");
    assert_eq!(response.status, 503, "a brotli decoder's tables alone are more");
    assert!(response.head.has("retry-after"));
    let coded = origin("Content-Encoding: gzip\r\n", &gzip(SECRET.as_bytes()));
    let setup = Setup::to(&coded).limits("pluginBodyBytesMax: 100000, bufferedBytesMax: 1000000");
    let gateway = setup.plugin("it", built("canaries/probe"), "type: response").start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..100 {
        assert_eq!(client.get("/").status, 200, "what was taken is given back");
    }
}
