//! What becomes of a large text, whatever its size is here.

use std::cell::Cell;

use super::*;

fn taken(text: &str) -> Result<Parts, String> {
    at_once(take_apart(text, &MessageBounds::DEFAULT, async || {})).unwrap()
}

fn parts(text: &str) -> (String, Option<String>, Option<String>) {
    let parts = taken(text).unwrap_or_else(|why| panic!("{text}: {why}"));
    (parts.rest, parts.request, parts.response)
}

#[test]
fn bodies_and_what_nobody_asks_for_are_taken_out() {
    for (text, rest, request, response) in [
        ("{}", "{}", None, None),
        (
            r#" {"continue" : true, "response":{"body":"a\"b","later":[1,{}],"statusCode":200}} "#,
            r#" {"continue" : true, "response":{"body":"","later":null,"statusCode":200}} "#,
            None,
            Some("a\"b"),
        ),
        (
            r#"{"request":{"body":"1"},"response":{"body":"2"},"x":{"body":"3"},"error":"e"}"#,
            r#"{"request":{"body":""},"response":{"body":""},"x":null,"error":"e"}"#,
            Some("1"),
            Some("2"),
        ),
        (
            r#"{"response":{"bo\u0064y":"x","body":{"a":"]}"},"headers":{"body":"y"}}}"#,
            r#"{"response":{"bo\u0064y":"","body":{"a":"]}"},"headers":{"body":"y"}}}"#,
            None,
            Some("x"),
        ),
        (r#"{"response":null,"request":[1]}"#, r#"{"response":null,"request":[1]}"#, None, None),
        // What is no JSON is so still in the rest.
        (r#"{"continue":true,}x"#, r#"{"continue":true,}x"#, None, None),
        (r#"{"error":"\ud800"}"#, r#"{"error":"\ud800"}"#, None, None),
        (
            r#"{"a":1e400,"metadata":{"b":1e400}}"#,
            r#"{"a":null,"metadata":{"b":1e400}}"#,
            None,
            None,
        ),
    ] {
        let expected = (rest.to_owned(), request.map(str::to_owned), response.map(str::to_owned));
        assert_eq!(parts(text), expected);
    }
}

#[test]
fn a_body_is_unescaped_as_the_parser_would() {
    for text in [
        r"plain",
        r"\n\t\r\b\f\/\\\u0041\u00e9\u20ac\ud83d\ude00\uD83D\uDE00",
        r"\u0000",
        "é€😀\\n",
        r"\\u0041",
        r"\\\ud83d\ude00",
        "",
    ] {
        let quoted = format!("\"{text}\"");
        let expected: String = serde_json::from_str(&quoted).unwrap();
        let long = "é".repeat(40) + "x";
        for (before, after) in [("", ""), (&*long, ""), ("", &*long), (&*long, &*long)] {
            let output = format!(r#"{{"response":{{"body":"{before}{text}{after}"}}}}"#);
            assert_eq!(parts(&output).2, Some(format!("{before}{expected}{after}")));
        }
    }
}

#[test]
fn what_is_no_output_is_refused() {
    let deep = format!(r#"{{"x":{}"#, "[".repeat(200));
    for (text, why) in [
        ("{", "ends too soon"),
        (r#"{"a"#, "ends too soon"),
        (r#"{"a\"#, "ends too soon"),
        (r#"{"a":"#, "ends too soon"),
        (r#"{"a":[1"#, "ends too soon"),
        (r#"{"response":{"body":"x"#, "ends too soon"),
        (r#"{"response":{"body":"x\"#, "invalid escape"),
        (r#"{"response":{"body":"\x"}}"#, "invalid escape"),
        (r#"{"response":{"body":"\u00g0"}}"#, "invalid escape"),
        (r#"{"response":{"body":"\ud800"}}"#, "half of a surrogate pair"),
        (r#"{"response":{"body":"\ud800\u0041"}}"#, "half of a surrogate pair"),
        (r#"{"response":{"body":"\udc00\ud800"}}"#, "half of a surrogate pair"),
        ("{\"response\":{\"body\":\"\u{1}\"}}", "stands at byte 21"),
        ("{\"x\":\"\n\"}", "stands at byte 6"),
        (r#"{"a":]}"#, "where it can't"),
        (r#"{a:1}"#, "where it can't"),
        (&deep, "nested deeper than 128"),
    ] {
        let error = taken(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn no_part_of_a_text_is_large_and_no_piece_is_long() {
    let most = limits::PLUGIN_OUTPUT_PIECE_BYTES;
    let bounds = MessageBounds::DEFAULT;
    let pauses = Cell::new(0);
    let count = |text: &str| {
        pauses.set(0);
        let pause = async || pauses.set(pauses.get() + 1);
        let parts = at_once(take_apart(text, &bounds, pause)).unwrap();
        (parts, pauses.get())
    };
    for unit in ["a", "\\n", "é", "\\u0041"] {
        let body = unit.repeat(bounds.body_bytes_max / 2 / unit.len());
        let (parts, pauses) = count(&format!(r#"{{"response":{{"body":"{body}"}}}}"#));
        assert!(parts.unwrap().response.is_some());
        assert!(pauses + 1 >= body.len() / most, "{unit}: {pauses}");
    }
    for unit in ["1,", "[],", "\"é\",", "{\"a\":[]},", "\"\\n\","] {
        let list = unit.repeat(4 * most / unit.len());
        let (parts, pauses) = count(&format!(r#"{{"x":[{list}1],"continue":true}}"#));
        assert_eq!(parts.unwrap().rest, r#"{"x":null,"continue":true}"#);
        assert!(pauses >= 3, "{unit}: {pauses}");
        for key in ["metadata", "error", "continue"] {
            let (parts, _) = count(&format!(r#"{{"{key}":[{list}1]}}"#));
            assert!(parts.unwrap_err().contains("without its body, the limit"));
        }
    }
    let names = "\"x\":[],".repeat(500_000);
    let (parts, _) = count(&format!(r#"{{"response":{{"headers":{{{names}"y":[]}}}}}}"#));
    assert!(parts.unwrap_err().contains("without its body, the limit"));
    let body = "a".repeat(2 * bounds.body_bytes_max);
    let (parts, _) = count(&format!(r#"{{"response":{{"body":"{body}"}}}}"#));
    assert!(parts.unwrap_err().contains("has a body over"));
}
