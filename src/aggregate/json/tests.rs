//! Finding and putting, over documents that are awkward on purpose.

use super::super::path::Path;
use super::*;

fn found(text: &str, path: &str) -> Vec<(Vec<usize>, String)> {
    let mut found = Vec::new();
    let path = Path::parse(path).unwrap();
    select(text, path.steps(), &mut |indexes, text| {
        found.push((indexes.to_vec(), text.to_owned()));
        ControlFlow::Continue(())
    });
    found
}

fn texts(text: &str, path: &str) -> Vec<String> {
    found(text, path).into_iter().map(|(_, text)| text).collect()
}

fn put(text: &str, path: &str, indexes: &[usize], value: &str) -> Option<String> {
    let mut node = Node::Text(text);
    let path = Path::parse(path).unwrap();
    node.put(path.steps(), &[Placed { indexes, text: value }]);
    let mut out = Vec::new();
    node.write(&mut out);
    let is_put = String::from_utf8_lossy(&out).replace(' ', "") != text.replace(' ', "");
    is_put.then(|| String::from_utf8(out).unwrap())
}

#[test]
fn a_path_finds_what_it_leads_to_and_where() {
    let text = r#"{"a": {"b c": [1, {"d": "x"}, [true, null]]}, "a\u0062": 7}"#;
    assert_eq!(texts(text, "$"), [text]);
    assert_eq!(texts(text, "$.a['b c'][0]"), ["1"]);
    assert_eq!(texts(text, "$.a['b c'][1].d"), ["\"x\""]);
    assert_eq!(texts(text, "$.ab"), ["7"]);
    assert_eq!(
        found(text, "$.a['b c'][*]").into_iter().map(|(indexes, _)| indexes).collect::<Vec<_>>(),
        [[0], [1], [2]]
    );
    assert_eq!(
        found(text, "$.a['b c'][*][*]"),
        [(vec![2, 0], "true".to_owned()), (vec![2, 1], "null".to_owned())]
    );
    for nowhere in ["$.b", "$.a[0]", "$.a['b c'].d", "$.a['b c'][9]", "$[*]", "$.ab.c"] {
        assert!(texts(text, nowhere).is_empty(), "{nowhere}");
    }
}

#[test]
fn the_last_of_several_members_of_one_name_counts() {
    assert_eq!(texts(r#"{"a":1,"a":2}"#, "$.a"), ["2"]);
    assert_eq!(put(r#"{"a":1,"a":2}"#, "$.a", &[], "3").unwrap(), r#"{"a":1,"a":3}"#);
}

#[test]
fn what_nothing_is_put_into_keeps_every_digit_and_space() {
    let text = r#"{"n": 12345678901234567890.10, "o": { "x" :1e400 }, "i":[ {"k":-0.0} ]}"#;
    assert_eq!(
        put(text, "$.i[*].new", &[0], "[ 1 ]").unwrap(),
        r#"{"n":12345678901234567890.10,"o":{ "x" :1e400 },"i":[{"k":-0.0,"new":[ 1 ]}]}"#
    );
}

#[test]
fn objects_on_the_way_are_made_and_elements_are_not() {
    assert_eq!(put("{}", "$.a.b", &[], "1").unwrap(), r#"{"a":{"b":1}}"#);
    assert_eq!(put(r#"{"a":null}"#, "$.a.b", &[], "1").unwrap(), r#"{"a":{"b":1}}"#);
    assert_eq!(put("[1,2]", "$[1]", &[], "3").unwrap(), "[1,3]");
    assert_eq!(put("[1,2]", "$[*]", &[0], "3").unwrap(), "[3,2]");
    for (text, path, indexes) in [
        ("[1]", "$[1]", &[][..]),
        ("[1]", "$[*]", &[1]),
        ("[1]", "$[*].a", &[0]),
        ("{}", "$.a[0]", &[]),
        ("{}", "$.a[*]", &[0]),
        ("\"a\"", "$.a", &[]),
        (r#"{"a":5}"#, "$.a.b", &[]),
    ] {
        assert_eq!(put(text, path, indexes, "1"), None, "{text} {path}");
    }
}

#[test]
fn what_was_put_can_be_gone_into() {
    let (a, b) = (Path::parse("$.a").unwrap(), Path::parse("$.a.b").unwrap());
    let mut node = Node::Text("{}");
    node.put(a.steps(), &[Placed { indexes: &[], text: r#"{"x":1}"# }]);
    node.put(b.steps(), &[Placed { indexes: &[], text: "2" }]);
    let mut out = Vec::new();
    node.write(&mut out);
    assert_eq!(out, br#"{"a":{"x":1,"b":2}}"#);
}

#[test]
fn only_whole_json_texts_are_taken() {
    assert_eq!(text_of(b" {\"a\": 1} \n"), Some("{\"a\": 1}"));
    for bad in [&b""[..], b"{", b"{}{}", b"nul", b"\"\xff\"", b"[1,]", b"<html>"] {
        assert_eq!(text_of(bad), None, "{bad:?}");
    }
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let text = text_of(deep.as_bytes());
    // Either answer is fine; recursion would end the process.
    if let Some(text) = text {
        assert_eq!(texts(text, "$[0][0]").len(), 1);
    }
    let names = format!("{}1{}", "{\"a\":".repeat(200_000), "}".repeat(200_000));
    if let Some(text) = text_of(names.as_bytes()) {
        assert!(put(text, "$.a.a.b", &[], "1").is_some());
    }
}

#[test]
fn keys_are_escaped_again() {
    let text = "{\"a\\\"\\n\":1}";
    assert_eq!(put(text, "$.b", &[], "2").unwrap(), "{\"a\\\"\\n\":1,\"b\":2}");
}

#[test]
fn values_for_many_places_are_put_at_once() {
    let places = [[0, 0], [0, 2], [1, 0], [2, 0], [9, 9]];
    let texts = ["1", "2", "3", "4", "5"];
    let values = places.iter().zip(texts).map(|(indexes, text)| Placed { indexes, text });
    let values: Vec<_> = values.collect();
    let mut node = Node::Text(r#"[{"l":[{},{},{"a":0}]},{"l":[{}]},{"l":7}]"#);
    node.put(Path::parse("$[*].l[*].a").unwrap().steps(), &values);
    let mut out = Vec::new();
    node.write(&mut out);
    let expected = r#"[{"l":[{"a":1},{},{"a":2}]},{"l":[{"a":3}]},{"l":7}]"#;
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}
