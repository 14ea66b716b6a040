//! What is read of an output, and what of it is refused before anything is looked at.

use super::*;

/// By each parser that would read it; what only one would refuse is read by the other.
fn parsed(text: &str, look: impl Fn(Result<Output<'_>, CallError>)) {
    let mut bytes = text.as_bytes().to_vec();
    match is_plain(&bytes) {
        Ok(true) => {
            let plain = parse_plain(&mut bytes, &mut simd_json::Buffers::default());
            if let Some(plain) = plain {
                look(Ok(plain));
            }
            assert_eq!(bytes, text.as_bytes(), "what has no escape stays as it is");
        }
        Ok(false) => {}
        Err(error) => return look(Err(error)),
    }
    look(parse(text.as_bytes()));
}

fn refusal(text: &str) -> String {
    let refusal = std::cell::RefCell::default();
    parsed(text, |output| match output {
        Ok(output) => panic!("{text} is read as {output:?}"),
        Err(error) => *refusal.borrow_mut() = error.text,
    });
    refusal.into_inner()
}

#[test]
fn the_documented_output_is_read_whole() {
    let text = r#" {"modified":true,"continue":false,"extra":{"deep":[[1.5]]},
        "response":{"statusCode":418,"headers":{"X-A":["1","caf\u00e9"],"X-B":"2","X-C":null,
        "X-D":[]},"body":"te\"a","bodyEncoding":""},"error":"","metadata":{"k":[1,{"l":null}]}}"#;
    parsed(text, |output| {
        let output = output.unwrap();
        assert_eq!((output.modified, output.continues), (Some(true), Some(false)));
        let response = output.response.unwrap();
        assert_eq!(response.status_code, Some(Status(418)));
        assert_eq!(response.body, Some(Text("te\"a".into())));
        let headers = response.headers.unwrap();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, values)| (name, values.iter().map(|text| &*text.0).collect::<Vec<_>>()))
            .collect();
        let expected =
            [("X-A", vec!["1", "café"]), ("X-B", vec!["2"]), ("X-C", vec![]), ("X-D", vec![])];
        assert_eq!(headers, expected);
        assert_eq!(output.metadata.unwrap().get(), r#"{"k":[1,{"l":null}]}"#);
    });
}

#[test]
fn null_is_as_good_as_absent() {
    let text = r#"{"modified":null,"continue":null,"response":null,"request":null,"error":null,
        "metadata":null}"#;
    parsed(text, |output| {
        let output = output.unwrap();
        assert!(output.continues.is_none() && output.response.is_none());
    });
    parsed(r#"{"response":{"statusCode":null,"headers":null,"body":null}}"#, |output| {
        assert!(output.unwrap().response.unwrap().headers.is_none());
    });
}

#[test]
fn what_is_not_an_output_is_refused() {
    for text in [
        "",
        "   ",
        "true",
        "[]",
        "{",
        "{}}",
        r#"{"continue":"yes"}"#,
        r#"{"continue":1}"#,
        r#"{"response":"no"}"#,
        r#"{"response":{"statusCode":"200"}}"#,
        r#"{"response":{"statusCode":200.5}}"#,
        r#"{"response":{"headers":{"X-A":[1]}}}"#,
        r#"{"response":{"headers":{"X-A":{"b":"c"}}}}"#,
        r#"{"response":{"headers":["X-A"]}}"#,
        r#"{"response":{"body":{"a":1}}}"#,
        r#"{"error":{}}"#,
        "{\"error\":\"\u{1}\"}",
    ] {
        assert!(refusal(text).starts_with("output is not "), "{text}");
    }
    let mut bytes = b"{\"error\":\"caf\xe9\"}".to_vec();
    assert!(parse_plain(&mut bytes, &mut simd_json::Buffers::default()).is_none());
    assert!(parse(&bytes).is_err());
}

#[test]
fn nesting_is_bounded_wherever_it_stands() {
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let most = limits::PLUGIN_JSON_DEPTH_MAX;
    for key in ["metadata\":{\"k", "unknown\":{\"k"] {
        let text = |levels| format!(r#"{{"{key}":{}}}}}"#, deep(levels));
        parsed(&text(most - 2), |output| assert!(output.is_ok()));
        assert!(refusal(&text(most - 1)).starts_with("output is nested deeper than 128"));
        assert!(refusal(&text(1_000_000)).starts_with("output is nested deeper than 128"));
    }
    // Brackets in strings and beside each other are no nesting.
    let flat =
        format!(r#"{{"error":"{}\"[","unknown":[{}1]}}"#, "[{".repeat(500), "[],".repeat(500));
    parsed(&flat, |output| assert!(output.is_ok()));
}
