//! Edits of a file that has what people write, held line by line.

use serde_json::json;

use super::*;

const FILE: &str = "\
# the gateway
services: []
wasm:
  plugins: # the chain
    # who may enter
    - name: auth   # first
      path: auth.wasm
      config:
        # renewed each year
        key: ${KEY}   # of the vault
        lists: [a, 'b c']
      # enabled: false

    # adds one field
    - {name: tag, path: tag.wasm, config: {a: 1}}   # small
    - name: last
      allowedUrls:
      - https://a.example
      config: |
        two
        lines
# behind the list
admin: {listen: '127.0.0.1:8081'}
";

fn set(text: &str, at: usize, keys: Value) -> String {
    let Value::Object(keys) = keys else { panic!("keys are a map") };
    with_keys(text.to_owned(), at, &keys).unwrap()
}

/// What two texts differ in: lines that are gone, lines that are new.
fn difference(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let count = |text: &str, line: &str| text.lines().filter(|other| *other == line).count();
    let only = |one: &str, other: &str| {
        let lines = one.lines().filter(|line| count(one, line) > count(other, line));
        lines.map(|line| line.trim().to_owned()).collect()
    };
    (only(before, after), only(after, before))
}

/// Sets keys of a plugin, and holds what lines that takes and makes.
fn check_set(at: usize, keys: &Value, gone: &[&str], new: &[&str]) {
    let after = set(FILE, at, keys.clone());
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert_eq!(difference(FILE, &after), (owned(gone), owned(new)), "{keys}:\n{after}");
    let read: Value = yaml_serde::from_str(&after).unwrap();
    for (key, value) in keys.as_object().unwrap() {
        assert_eq!(read["wasm"]["plugins"][at][key], *value, "{after}");
    }
}

#[test]
fn a_key_is_set_where_it_stands_and_no_other_line_changes() {
    for (at, keys, gone, new) in [
        (0, json!({"path": "new.wasm"}), vec!["path: auth.wasm"], vec!["path: new.wasm"]),
        (0, json!({"priority": -5}), vec![], vec!["priority: -5"]),
        (
            0,
            json!({"name": "a b"}),
            vec!["- name: auth   # first"],
            vec!["- name: \"a b\"   # first"],
        ),
        (
            0,
            json!({"config": {"key": "$${KEY}", "lists": ["a", "b c"]}}),
            vec!["key: ${KEY}   # of the vault"],
            vec!["key: \"$${KEY}\"   # of the vault"],
        ),
        (
            0,
            json!({"config": {"key": "k", "lists": ["a"], "more": {"deep": [1, {"x": []}]}}}),
            vec!["key: ${KEY}   # of the vault", "lists: [a, 'b c']"],
            vec!["key: k   # of the vault", "lists:", "- a", "more:", "deep:", "- 1", "- x: []"],
        ),
        (
            0,
            json!({"config": {"lists": ["a", "b c"]}}),
            vec!["# renewed each year", "key: ${KEY}   # of the vault"],
            vec![],
        ),
        (
            0,
            json!({"config": "text"}),
            vec![
                "config:",
                "# renewed each year",
                "key: ${KEY}   # of the vault",
                "lists: [a, 'b c']",
            ],
            vec!["config: text"],
        ),
    ] {
        check_set(at, &keys, &gone, &new);
    }
}

#[test]
fn keys_in_brackets_and_in_other_blocks_are_set_too() {
    for (at, keys, gone, new) in [
        (
            1,
            json!({"config": {"a": 1, "b": ["x", {"y": null}]}}),
            vec!["- {name: tag, path: tag.wasm, config: {a: 1}}   # small"],
            vec!["- {name: tag, path: tag.wasm, config: {a: 1, b: [x, {\"y\": null}]}}   # small"],
        ),
        (
            1,
            json!({"config": {"b": 2}, "enabled": false}),
            vec!["- {name: tag, path: tag.wasm, config: {a: 1}}   # small"],
            vec!["- {name: tag, path: tag.wasm, config: {b: 2}, enabled: false}   # small"],
        ),
        (2, json!({"allowedUrls": ["https://a.example"]}), vec![], vec![]),
        (
            2,
            json!({"allowedUrls": [], "config": "two\nlines\n"}),
            vec!["allowedUrls:", "- https://a.example"],
            vec!["allowedUrls: []"],
        ),
        (
            2,
            json!({"config": {"a": {"b": {}}}}),
            vec!["config: |", "two", "lines"],
            // The line stands twice now.
            vec!["config:", "config:", "a:", "b: {}"],
        ),
        (2, json!({"body": true}), vec![], vec!["body: true"]),
    ] {
        check_set(at, &keys, &gone, &new);
    }
}

#[test]
fn a_plugin_that_goes_takes_its_own_comments_with_it_and_no_others() {
    for (at, gone) in [
        (
            0,
            vec![
                "# who may enter",
                "- name: auth   # first",
                "path: auth.wasm",
                "config:",
                "# renewed each year",
                "key: ${KEY}   # of the vault",
                "lists: [a, 'b c']",
                "# enabled: false",
            ],
        ),
        (1, vec!["# adds one field", "- {name: tag, path: tag.wasm, config: {a: 1}}   # small"]),
        (
            2,
            vec![
                "- name: last",
                "allowedUrls:",
                "- https://a.example",
                "config: |",
                "two",
                "lines",
            ],
        ),
    ] {
        let after = without(FILE, at).unwrap();
        let (left, new) = difference(FILE, &after);
        // A key that stands twice is one of them.
        let left: Vec<_> = left.iter().filter(|line| *line != "config:").collect();
        let gone: Vec<_> = gone.iter().filter(|line| **line != "config:").collect();
        assert_eq!(left, gone, "{after}");
        assert!(new.is_empty(), "{new:?}");
        let read: Value = yaml_serde::from_str(&after).unwrap();
        assert_eq!(read["wasm"]["plugins"].as_array().unwrap().len(), 2, "{after}");
    }
}

#[test]
fn a_plugin_finds_its_place_however_the_list_is_written() {
    let plugin = json!({"name": "new", "config": {"urls": ["https://a"], "none": {}}});
    let block = "- name: new\nconfig:\nurls:\n- \"https://a\"\nnone: {}";
    for (text, want) in [
        ("services: []", format!("services: []\nwasm:\nplugins:\n{block}")),
        ("services: []\n", format!("services: []\nwasm:\nplugins:\n{block}\n")),
        ("wasm:\n# none\n", format!("wasm:\nplugins:\n{block}\n# none\n")),
        ("wasm:   # all\n", format!("wasm:   # all\nplugins:\n{block}\n")),
        ("wasm:\n  plugins: []   # none\n", format!("wasm:\nplugins:   # none\n{block}\n")),
        ("wasm:\n  plugins:\n", format!("wasm:\nplugins:\n{block}\n")),
        ("wasm: {}\nx: 1\n", format!("wasm:\nplugins:\n{block}\nx: 1\n")),
        (
            "wasm:\n  plugins:\n  - name: a   # b\n    # of a\n  # of none\nx: 1\n",
            format!("wasm:\nplugins:\n- name: a   # b\n# of a\n{block}\n# of none\nx: 1\n"),
        ),
        (
            "wasm: {plugins: [{name: a}]}\n",
            "wasm: {plugins: [{name: a}, {name: new, config: {urls: [\"https://a\"], none: {}}}]}\n"
                .to_owned(),
        ),
        (
            "wasm:\n  pluginDir: x\n",
            format!("wasm:\npluginDir: x\nplugins:\n{block}\n"),
        ),
    ] {
        let after = with_plugin(text, plugin.clone()).unwrap();
        let lines: Vec<_> = after.split('\n').map(str::trim_start).collect();
        assert_eq!(lines.join("\n"), want, "{after}");
        let read: Value = yaml_serde::from_str(&after).unwrap();
        let plugins = read["wasm"]["plugins"].as_array().unwrap();
        assert_eq!(plugins.last(), Some(&plugin), "{after}");
        let back = without(&after, plugins.len() - 1).unwrap();
        let read: Value = yaml_serde::from_str(&back).unwrap();
        assert_eq!(read["wasm"]["plugins"].as_array().unwrap().len(), plugins.len() - 1, "{back}");
    }
}

#[test]
fn line_endings_and_scripts_are_kept() {
    let text = "wasm:\r\n  plugins:\r\n    - name: \u{e9}\u{1f980}   # \u{df}\r\n      path: p\r\n";
    let after = set(text, 0, json!({"path": "q", "config": {"a": ["\u{e9}"]}}));
    let want = text.replace(
        "path: p\r\n",
        "path: q\r\n      config:\r\n        a:\r\n          - \"\u{e9}\"\r\n",
    );
    assert_eq!(after, want);
}

#[test]
fn variables_in_brackets_do_not_confuse_the_places() {
    let text = "wasm: {plugins: [{name: \u{e9}, config: {a: ${A:-x}, b: ${B}}}, {name: z}]}\n";
    let after = set(text, 0, json!({"enabled": false}));
    assert_eq!(after, text.replace("${B}}}", "${B}}, enabled: false}"));
}

#[test]
fn words_that_could_be_something_else_stand_in_quotes() {
    for (text, written) in [
        ("plain-word_1.x/y", "plain-word_1.x/y"),
        ("/opt/a.wasm", "/opt/a.wasm"),
        ("no", "\"no\""),
        ("1e3", "\"1e3\""),
        ("", "\"\""),
        ("a: b", "\"a: b\""),
        ("a #b", "\"a #b\""),
        ("- a", "\"- a\""),
        ("~", "\"~\""),
        ("a\nb\t\"\\", "\"a\\nb\\t\\\"\\\\\""),
    ] {
        let value = Value::from(text);
        assert_eq!(write::inline(&value, false).unwrap(), written);
        assert_eq!(yaml_serde::from_str::<Value>(written).unwrap(), value);
    }
}

#[test]
fn what_is_written_reads_as_it_was_meant_whatever_it_is() {
    // Numbers that follow from a seed, as all randomness of tests.
    let mut state = 0x9e37_79b9_u64;
    let mut draw = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    fn value(draw: &mut impl FnMut(usize) -> usize, depth: usize) -> Value {
        let words = ["a", "on", "- x", "k: v", "#", "${A}", "$${A}", "\u{e9}\n", "", "'", "{", "]"];
        match draw(if depth == 0 { 4 } else { 6 }) {
            0 => Value::Null,
            1 => (draw(3) == 0).into(),
            2 => (draw(2000) as i64 - 1000).into(),
            3 => words[draw(words.len())].into(),
            4 => (0..draw(4)).map(|_| value(draw, depth - 1)).collect(),
            _ => (0..draw(4))
                .map(|_| (words[draw(words.len())].to_owned(), value(draw, depth - 1)))
                .collect(),
        }
    }
    let mut text = FILE.to_owned();
    for round in 0..300 {
        let at = draw(3);
        let key = ["config", "allowedUrls", "description"][draw(3)];
        let wanted = value(&mut draw, 3);
        text = set(&text, at, json!({ key: wanted }));
        let read: Value = yaml_serde::from_str(&text).unwrap_or_else(|error| {
            panic!("round {round}: {error} after {key}: {wanted}\n{text}");
        });
        assert_eq!(read["wasm"]["plugins"][at][key], wanted, "round {round}:\n{text}");
        assert!(text.contains("# behind the list") && text.contains("# who may enter"));
    }
}
