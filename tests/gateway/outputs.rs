//! An output is believed or refused as a whole, by its own words: what no JSON text may say, what
//! a message cannot hold, and how much of it there may be.

use crate::hostcalls::{NOT_ANSWERED, calling};
use crate::support::{Client, Gateway, Origin, Setup, get, get_with, wasm};

/// A gateway with a plugin for each output, which runs on `/0`, `/1` and so on.
fn each(setup: Setup, outputs: &[String], keys: &str) -> Gateway {
    let with = |setup: Setup, (number, output): (usize, &String)| {
        let keys = format!("{keys}, instances: 1, allowedUrls: ['^/{number}$']");
        setup.plugin(&format!("p{number}"), wasm::answering(output), &keys)
    };
    outputs.iter().enumerate().fold(setup, with).start()
}

/// What the log says of the failure of the plugin `p{number}`.
fn failure(gateway: &Gateway, number: usize) -> String {
    let name = format!("p{number}");
    gateway.wait_log(&format!("\"{name}\""));
    let log = gateway.log();
    let line = log.lines().rfind(|line| line.contains(&name) && line.contains("bad_output"));
    line.unwrap_or_else(|| panic!("{name} did not fail so: {log}")).to_owned()
}

const LONE: [&str; 7] = [
    r"\ud800",
    r"\uDBFFx",
    r"\udc00",
    r"\ud800\ud800",
    r"\ud800\uffff",
    r"\ud800\u0041",
    r"\uDfff",
];

#[test]
fn a_lone_surrogate_anywhere_in_an_output_is_bad_output() {
    let places = [
        r#"{"continue":false,"response":{"statusCode":200,"body":"a@b"}}"#,
        r#"{"continue":false,"response":{"statusCode":200,"headers":{"X-A":["a@b"]},"body":"b"}}"#,
        r#"{"continue":false,"response":{"statusCode":200,"headers":{"X-A@":["ab"]},"body":"b"}}"#,
        r#"{"continue":false,"error":"@"}"#,
        r#"{"continue":true,"metadata":{"a":{"b":["@"]}}}"#,
        r#"{"continue":true,"metadata":{"a@":1}}"#,
        r#"{"continue":true,"modified":true,"request":{"url":"/@"}}"#,
        r#"{"continue":true,"modified":true,"request":{"method":"@"}}"#,
    ];
    let outputs: Vec<String> = places
        .iter()
        .flat_map(|place| LONE.iter().map(|lone| place.replace('@', lone)))
        .chain([places[0].replace('@', r"\ud83d\ude00 \uD83D\uDE00 \u00e9")])
        .collect();
    let gateway = each(Setup::echo(), &outputs, "type: auth");
    for (number, output) in outputs.iter().enumerate() {
        let response = get(gateway.addr, &format!("/{number}"));
        if number == outputs.len() - 1 {
            assert_eq!((response.status, &*response.text()), (200, "a😀 😀 éb"));
        } else {
            assert_eq!(response.status, 503, "{output}: {}", response.text());
            failure(&gateway, number);
        }
    }
}

#[test]
fn a_lone_surrogate_in_a_long_body_is_bad_output_too() {
    let long = |text: &str| {
        let fill = "0123456789".repeat(20_000);
        format!(r#"{{"continue":false,"response":{{"statusCode":200,"body":"{fill}{text}"}}}}"#)
    };
    let mut outputs: Vec<String> = LONE.iter().map(|lone| long(lone)).collect();
    outputs.push(long(r"\ud83d\ude00\n\t\\\/\u00e9"));
    let gateway = each(Setup::echo(), &outputs, "type: auth");
    for (number, lone) in LONE.iter().enumerate() {
        assert_eq!(get(gateway.addr, &format!("/{number}")).status, 503, "{lone}");
        failure(&gateway, number);
    }
    let response = get(gateway.addr, &format!("/{}", LONE.len()));
    assert_eq!((response.status, response.body.len()), (200, 200_000 + 4 + 2 + 2 + 2));
    assert!(response.text().ends_with("9😀\n\t\\/é"));
}

#[test]
fn a_lone_surrogate_in_what_http_call_is_given_is_not_sent() {
    let (origin, side) = (Origin::ok(), Origin::ok());
    let url = side.url();
    for (place, lone) in [
        (r#""body":"@""#, r"\ud800"),
        (r#""body":"@""#, r"\ud800\uffff"),
        (r#""headers":{"X-A":"@"}"#, r"\udc00"),
        (r#""headers":{"X@":"a"}"#, r"\ud800x"),
    ] {
        let request = format!(r#"{{"url":"{url}/x",{}}}"#, place.replace('@', lone));
        let keys = format!("type: auth, config: {{url: '{url}'}}");
        let gateway =
            Setup::to(&origin).plugin("it", calling(&request, NOT_ANSWERED), &keys).start();
        assert_eq!(get(gateway.addr, "/").status, 200, "{request}");
    }
    assert_eq!(side.requests().len(), 0);
}

#[test]
fn unknown_keys_may_hold_numbers_of_any_size() {
    let huge =
        ["1e400", "-1E+999", "123456789012345678901234567890", "-9223372036854775809", "0.1e-999"];
    let outputs: Vec<String> = huge
        .iter()
        .flat_map(|huge| {
            [
                format!(r#"{{"later":{huge},"continue":false,"response":{{"statusCode":299}}}}"#),
                format!(
                    r#"{{"continue":false,"later":[{{"a":{huge}}}],
                        "response":{{"statusCode":299}}}}"#
                ),
                format!(r#"{{"continue":false,"response":{{"later":[{huge}],"statusCode":299}}}}"#),
                format!(
                    r#"{{"continue":false,"later":{huge},"response":{{"statusCode":299,
                        "body":"{}"}}}}"#,
                    "long ".repeat(30_000)
                ),
            ]
        })
        .collect();
    let gateway = each(Setup::echo(), &outputs, "type: auth");
    for (number, output) in outputs.iter().enumerate() {
        let status = get(gateway.addr, &format!("/{number}")).status;
        assert_eq!(status, 299, "{}\n{}", &output[..100.min(output.len())], gateway.log());
    }
}

#[test]
fn metadata_keeps_its_numbers_with_all_their_digits() {
    let first = r#"{"continue":true,"metadata":{"a":123456789012345678901234567890,"b":1e400,
        "c":0.10,"d":[{"e":-0.12345678901234567890}],"f":"\ud83d\ude00\n","g":1}}"#;
    let second = r#"{"continue":true,"metadata":{"g":{"h":2.50}}}"#;
    let gateway = Setup::echo()
        .plugin("first", wasm::answering(first), "type: request, priority: 1")
        .plugin("second", wasm::answering(second), "type: request, priority: 2")
        .plugin("shows", wasm::showing_input(), "type: request, priority: 3")
        .start();
    let shown = get(gateway.addr, "/").text();
    let at = shown.find(r#""metadata":"#).unwrap();
    let metadata: String = shown[at..].chars().filter(|c| !c.is_whitespace()).collect();
    for part in [
        r#""a":123456789012345678901234567890"#,
        r#""b":1e400"#,
        r#""c":0.10"#,
        r#""d":[{"e":-0.12345678901234567890}]"#,
        r#""g":{"h":2.50}"#,
    ] {
        assert!(metadata.contains(part), "{part}: {metadata}");
    }
    assert!(shown.contains('😀') || shown.contains(r"\ud83d\ude00"), "{shown}");
    assert!(!metadata.contains(r#""g":1"#), "{metadata}");
}

#[test]
fn a_value_of_another_type_is_named_with_what_came_and_what_is_allowed() {
    let cases = [
        (r#"{"continue":"yes"}"#, [r#"continue: got the string "yes""#, "true or false"]),
        (r#"{"modified":1,"continue":true}"#, ["modified: got the number 1", "true or false"]),
        (
            r#"{"continue":false,"response":{"statusCode":"418"}}"#,
            [r#"response.statusCode: got the string "418""#, "a whole number from 200 to 599"],
        ),
        (
            r#"{"continue":false,"response":{"statusCode":200.5}}"#,
            ["response.statusCode: got the number 200.5", "a whole number from 200 to 599"],
        ),
        (
            r#"{"continue":false,"response":{"statusCode":1e400}}"#,
            ["response.statusCode: got the number 1e400", "a whole number from 200 to 599"],
        ),
        (
            r#"{"continue":false,"response":{"statusCode":99999999999999999999}}"#,
            ["response.statusCode: got the number 99999999999999999999", "from 200 to 599"],
        ),
        (
            r#"{"continue":false,"response":{"statusCode":700}}"#,
            ["response.statusCode: got 700", "from 200 to 599"],
        ),
        (
            r#"{"continue":false,"response":"no"}"#,
            [r#"response: got the string "no""#, "an object"],
        ),
        (
            r#"{"continue":false,"response":{"headers":["X-A"]}}"#,
            ["response.headers: got a list", "an object of header names"],
        ),
        (
            r#"{"continue":false,"response":{"headers":{"X-A":[1]}}}"#,
            ["response.headers.X-A[0]: got the number 1", "a string"],
        ),
        (
            r#"{"continue":false,"response":{"headers":{"X-A":{"b":"c"}}}}"#,
            ["response.headers.X-A: got an object", "a list of strings or one string"],
        ),
        (
            r#"{"continue":false,"response":{"body":{"a":1}}}"#,
            ["response.body: got an object", "a string"],
        ),
        (r#"{"continue":true,"error":{}}"#, ["error: got an object", "a string"]),
        (r#"{"continue":true,"metadata":[1]}"#, ["metadata: got a list", "an object"]),
        (
            r#"{"continue":true,"request":{"url":true}}"#,
            ["request.url: got the boolean true", "a string"],
        ),
        (r#"{"continue":true,}"#, ["not JSON", "line 1 column 18"]),
        (r#"{"continue":true"#, ["not JSON", "ends too soon"]),
        (r#"{"continue":true,"continue":false}"#, ["continue", "twice"]),
    ];
    let outputs: Vec<String> = cases.iter().map(|(output, _)| (*output).to_owned()).collect();
    let gateway = each(Setup::echo(), &outputs, "type: auth");
    for (number, (output, parts)) in cases.iter().enumerate() {
        assert_eq!(get(gateway.addr, &format!("/{number}")).status, 503, "{output}");
        let line = failure(&gateway, number);
        for part in parts {
            let escaped = part.replace('"', "\\\"");
            assert!(line.contains(part) || line.contains(&escaped), "{part}: {line}");
        }
        assert!(!line.contains("ExpectedSigned") && !line.contains("character 0"), "{line}");
    }
}

#[test]
fn a_target_that_cannot_be_normalised_is_the_plugins_fault_and_nothing_of_its_output_is_used() {
    let bad =
        ["/b/%zz", "/b/%", "/b/%4", "/../b", "/b%00c", "/b%2fc", "/b/..;x/c", "/a/%2e%2e/../.."];
    let outputs: Vec<String> = bad
        .iter()
        .map(|url| {
            format!(
                r#"{{"continue":true,"modified":true,"metadata":{{"set":1}},"request":{{
                    "method":"PUT","url":"{url}","headers":{{"X-Set":"1","Accept":[]}},
                    "body":"set"}}}}"#
            )
        })
        .collect();
    let origin = Origin::ok();
    let open = each(Setup::to(&origin), &outputs, "type: request");
    let closed = each(Setup::to(&origin), &outputs, "type: request, failureMode: closed");
    for (number, url) in bad.iter().enumerate() {
        let path = format!("/{number}");
        let response = get_with(open.addr, &path, "Accept: */*\r\n");
        assert_eq!(response.status, 200, "{url}: {}", response.text());
        let received = origin.requests().pop().unwrap();
        assert_eq!((&*received.method, &*received.target), ("GET", &*path), "{url}");
        assert!(!received.head.has("x-set") && received.head.has("accept"), "{url}");
        assert_eq!(received.text(), "", "{url}");
        assert!(failure(&open, number).contains(url), "{url}");

        assert_eq!(get(closed.addr, &path).status, 503, "{url}");
        failure(&closed, number);
    }
    assert_eq!(origin.requests().len(), bad.len());
}

#[test]
fn a_target_is_normal_for_the_next_plugin_already() {
    let sets = r#"{"continue":true,"modified":true,"request":{"url":"/a/../b//%41?x=%zz"}}"#;
    let gateway = Setup::echo()
        .plugin("sets", wasm::answering(sets), "type: request, priority: 1")
        .plugin("shows", wasm::showing_input(), "type: request, priority: 2")
        .start();
    let shown = get(gateway.addr, "/").json();
    assert_eq!(shown["input"]["path"], "/b/A");
    assert_eq!(shown["input"]["query"]["x"][0], "%zz");
}

fn many_fields(count: usize) -> String {
    (0..count).map(|number| format!("X-Of-Client-{number}: {number}\r\n")).collect()
}

fn sets(count: usize) -> String {
    let fields: Vec<_> = (0..count).map(|number| format!(r#""X-Set-{number}":"1""#)).collect();
    fields.join(",")
}

#[test]
fn the_operators_limits_bound_what_plugins_add() {
    let origin = Origin::ok();
    // (limits, fields of the client, what is set, whether it may be)
    let long = |bytes: usize| format!(r#""X-Set-0":"{}""#, "a".repeat(bytes));
    for (limits, of_client, set, may) in [
        ("headFieldsMax: 300", 150, sets(1), true),
        ("headFieldsMax: 300", 150, sets(299), true),
        ("headFieldsMax: 300", 0, sets(301), false),
        ("headFieldsMax: 1000", 900, sets(900), true),
        ("headFieldsMax: 20", 0, sets(21), false),
        // No client makes a plugin fail by a head that it may send.
        ("headFieldsMax: 100", 95, sets(10), true),
        ("headBytesMax: 32KiB", 0, long(33 * 1024), false),
        ("headBytesMax: 64KiB", 0, long(60 * 1024), true),
        ("headBytesMax: 2KiB", 0, long(3 * 1024), false),
    ] {
        let gateway = Setup::to(&origin)
            .limits(limits)
            .plugin("p0", wasm::setting_headers(&set), "type: request, failureMode: closed")
            .start();
        let response = get_with(gateway.addr, "/", &many_fields(of_client));
        let shown = &set[..set.len().min(30)];
        assert_eq!(response.status == 200, may, "{limits} {of_client} {shown} {}", gateway.log());
        if may {
            assert!(origin.requests().pop().unwrap().head.has("x-set-0"));
        } else {
            assert!(failure(&gateway, 0).contains("server.limits.head"), "{}", gateway.log());
        }
    }
}

#[test]
fn a_plugin_may_hand_back_a_head_as_large_as_the_limits_allow() {
    // The same fields once more, and one of its own.
    let all: String =
        (0..150).map(|number| format!(r#""X-Of-Client-{number}":"{number}","#)).collect();
    let output = all + r#""X-Set-0":"1""#;
    let fields = many_fields(150);
    let origin = Origin::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\nok"));
    let gateway = Setup::to(&origin)
        .limits("headFieldsMax: 152")
        .plugin("p0", wasm::setting_headers(&output), "type: middleware, failureMode: closed")
        .start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..2 {
        let response = client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(response.status, 200, "{} {}", response.text(), gateway.log());
        assert_eq!(response.head.get("x-of-client-149").as_deref(), Some("149"));
        assert!(response.head.has("x-set-0"));
    }
    assert!(origin.requests().iter().all(|received| received.head.has("x-set-0")));
}

#[test]
fn a_body_that_a_plugin_makes_is_bounded_like_one_that_it_may_be_given() {
    let outputs = [
        format!(
            r#"{{"continue":false,"response":{{"statusCode":299,"body":"{}"}}}}"#,
            "x".repeat(1000)
        ),
        format!(
            r#"{{"continue":false,"response":{{"statusCode":299,"body":"{}"}}}}"#,
            "x".repeat(1001)
        ),
        format!(
            r#"{{"continue":false,"response":{{"statusCode":299,"body":"{}"}}}}"#,
            r"\n".repeat(1000)
        ),
        format!(
            r#"{{"continue":true,"modified":true,
                "request":{{"body":"{}","bodyEncoding":"base64"}}}}"#,
            "AAAA".repeat(334)
        ),
    ];
    let gateway = each(Setup::echo().limits("pluginBodyBytesMax: 1000"), &outputs, "type: auth");
    for (number, status) in [(0, 299), (1, 503), (2, 299), (3, 503)] {
        assert_eq!(get(gateway.addr, &format!("/{number}")).status, status, "{number}");
        if status == 503 {
            assert!(failure(&gateway, number).contains("server.limits.pluginBodyBytesMax"));
        }
    }
}
