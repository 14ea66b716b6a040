//! What `aggregation` may say, and what is told of everything else.

use super::super::tests::{bad, good};
use super::*;

/// The documentation, whose examples must load.
const DOCUMENTATION: &str = include_str!("../../../../docs/aggregation.md");

/// Two services, `a` with this `aggregation`.
fn with(aggregation: &str) -> String {
    format!(
        "services:\n  - {{name: a, basePath: /a, targets: [http://h], \
         aggregation: {aggregation}}}\n\
         \x20 - {{name: b, basePath: /b, targets: [http://h]}}\n"
    )
}

#[test]
fn every_key_reaches_its_field() {
    let text = with(
        "{mode: merge, failOnError: true, calls: [{name: n, service: b, path: '/p?q=1'}],
          dependencies: [{service: a, path: '/x/{id}', condition: $.c == true,
            parameterMapping: [{from: '$.l[*].id', to: id}],
            resultMapping: [{from: $, to: '$.l[*].x'}]}]}",
    );
    let aggregation = good(&text).services.remove(0).aggregation.unwrap();
    assert!(aggregation.fail_on_error);
    let (name, service, path) = ("n".to_owned(), "b".to_owned(), "/p?q=1".to_owned());
    assert_eq!(aggregation.calls, [Call { name, service, path }]);
    let dependency = &aggregation.dependencies[0];
    assert_eq!(dependency.service, "a");
    assert_eq!(dependency.rule.path().to_string(), "/x/{id}");
    assert!(dependency.rule.condition().is_some());
    assert_eq!(dependency.rule.parameters()[0].to, "id");
    assert_eq!(dependency.rule.results()[0].from.steps(), []);
}

#[test]
fn only_a_service_with_calls_needs_no_targets() {
    let config = good(
        "services:\n  - {name: a, basePath: /a, aggregation: \
         {calls: [{name: n, service: b, path: /}]}}\n  - {name: b, targets: [http://h]}\n",
    );
    assert!(config.services[0].targets.is_empty());
    let error =
        bad("services:\n  - name: a\n    aggregation: {dependencies: [{service: a, path: /, \
         resultMapping: [{from: $, to: $.x}]}]}\n");
    assert!(error.contains("services[0].targets: missing"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

/// Each aggregation has exactly one error, which contains the words beside it.
fn check(cases: &[(String, &str)]) {
    for (aggregation, want) in cases {
        let error = bad(&with(aggregation));
        assert!(error.contains(want), "{aggregation}\ngot:  {error}\nwant: {want}");
        assert_eq!(error.lines().count(), 1, "{aggregation}\n{error}");
    }
}

#[test]
fn mistakes_in_calls_are_told_once_at_their_place() {
    let calls = |entries: &str| format!("{{calls: [{entries}]}}");
    check(&[
        ("{mode: join, calls: []}".to_owned(), "expected one of merge"),
        ("{failOnError: true}".to_owned(), "neither calls nor dependencies"),
        (
            calls("{name: n, service: c, path: /}"),
            "services[0].aggregation.calls[0].service: no service named \"c\"",
        ),
        (calls("{name: n, service: b, path: '/{id}'}"), "expected a path without {names}"),
        (
            calls("{name: n, service: b, path: /}, {name: n, service: b, path: /x}"),
            "which is taken",
        ),
        (calls("{name: n, service: b}"), "calls[0].path: missing"),
    ]);
}

#[test]
fn mistakes_in_dependencies_are_told_once_at_their_place() {
    let results = "resultMapping: [{from: $, to: $.x}]";
    let with_results =
        |keys: &str| format!("{{dependencies: [{{service: b, {keys}, {results}}}]}}");
    let with_own = |keys: &str| format!("{{dependencies: [{{service: b, path: /x{keys}}}]}}");
    check(&[
        (with_own(""), "dependencies[0].resultMapping: missing"),
        (with_own(", resultMapping: []"), "expected a list of at least one"),
        (
            with_own(", resultMapping: [{from: a, to: $.x}]"),
            "resultMapping[0].from: got \"a\", expected a path such as $.items[*].id",
        ),
        (
            with_own(", resultMapping: [{from: $, to: '$.l[*].x'}]"),
            "dependencies[0].resultMapping[0]: the [*] of its to must go over",
        ),
        (with_results("path: x"), "dependencies[0].path: got \"x\", expected a path such as"),
        (with_results("path: '/{id}'"), "dependencies[0].path: nothing gives {id}"),
        (
            with_results("path: /x, parameterMapping: [{from: $.a, to: id}]"),
            "dependencies[0].parameterMapping[0]: the path has no {id}",
        ),
        (
            with_results("path: /x, condition: $.a > 1"),
            "dependencies[0].condition: got \"$.a > 1\", expected a condition such as",
        ),
        (with_results("path: /x, retries: 3"), "dependencies[0].retries: unknown key"),
    ]);
}

#[test]
fn what_has_no_targets_cannot_be_called() {
    let error = bad("services:\n  - {name: a, basePath: /a, aggregation: \
         {calls: [{name: n, service: b, path: /}]}}\n  - {name: b, \
         aggregation: {calls: [{name: n, service: b, path: /}]}}\n");
    assert!(error.contains("the service \"b\" has no targets"), "{error}");
    assert_eq!(error.lines().count(), 2, "one for each call of it: {error}");
}

#[test]
fn the_examples_of_the_documentation_load() {
    let blocks: Vec<&str> = DOCUMENTATION
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert!(blocks.len() >= 2, "the documentation has examples");
    for block in blocks {
        good(block);
    }
}
