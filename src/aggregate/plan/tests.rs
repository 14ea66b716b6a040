//! Plans over the response of the worked example and over hostile ones.

use super::super::condition::Condition;
use super::super::path::Path;
use super::super::rule::Rule;
use super::super::template::Template;
use super::*;

fn dependency(
    service: usize,
    path: &str,
    condition: Option<&str>,
    parameters: &[(&str, &str)],
    results: &[(&str, &str)],
) -> Dependency {
    let parsed = |text: &str| Path::parse(text).unwrap();
    let parameters =
        parameters.iter().map(|(from, to)| Parameter { from: parsed(from), to: (*to).to_owned() });
    let results = results.iter().map(|(from, to)| Placing { from: parsed(from), to: parsed(to) });
    let rule = Rule::new(
        Template::parse(path).unwrap(),
        condition.map(|text| Condition::parse(text).unwrap()),
        parameters.collect(),
        results.collect(),
    );
    Dependency { service, rule: rule.unwrap() }
}

/// The dependency of the worked example.
fn products() -> Dependency {
    dependency(
        3,
        "/api/products/{product_id}",
        Some("$.includeDetails == true"),
        &[("$.items[*].productId", "product_id")],
        &[("$", "$.items[*].product")],
    )
}

fn paths(plan: &Plan) -> Vec<&str> {
    plan.calls.iter().map(|call| call.path.as_str()).collect()
}

fn plan_of(document: &str, dependencies: &[Dependency]) -> Plan {
    Stretches::at_once(async |stretches| Plan::of(document, dependencies, stretches).await)
}

fn complete_at_once(
    plan: &Plan,
    document: &str,
    dependencies: &[Dependency],
    answers: &[Option<&str>],
    bytes_max: usize,
) -> Option<Vec<u8>> {
    Stretches::at_once(async |stretches| {
        plan.complete(document, dependencies, answers, bytes_max, stretches).await
    })
}

fn completed(document: &str, dependencies: &[Dependency], answers: &[Option<&str>]) -> String {
    let plan = plan_of(document, dependencies);
    let whole = complete_at_once(&plan, document, dependencies, answers, 10_000);
    String::from_utf8(whole.unwrap()).unwrap()
}

#[test]
fn each_item_has_its_answer_and_equal_calls_are_one() {
    let document =
        r#"{"includeDetails":true,"items":[{"productId":7},{"productId":"a/b"},{"productId":7}]}"#;
    let dependencies = [products()];
    let plan = plan_of(document, &dependencies);
    assert_eq!(paths(&plan), ["/api/products/7", "/api/products/a%2Fb"]);
    assert!(plan.problems.is_empty());
    assert_eq!(
        completed(document, &dependencies, &[Some(r#"{"p":1.50}"#), Some("2")]),
        concat!(
            r#"{"includeDetails":true,"items":[{"productId":7,"product":{"p":1.50}},"#,
            r#"{"productId":"a/b","product":2},{"productId":7,"product":{"p":1.50}}]}"#,
        )
    );
    assert_eq!(
        completed(document, &dependencies, &[None, Some("2")]),
        concat!(
            r#"{"includeDetails":true,"items":[{"productId":7},"#,
            r#"{"productId":"a/b","product":2},{"productId":7}]}"#,
        )
    );
}

#[test]
fn without_its_condition_nothing_is_called() {
    for document in
        [r#"{"includeDetails":false,"items":[{"productId":7}]}"#, r#"{"items":[{"productId":7}]}"#]
    {
        assert_eq!(plan_of(document, &[products()]), Plan::default());
    }
}

#[test]
fn items_without_a_value_need_no_call() {
    let document = r#"{"includeDetails":true,"items":[{},{"productId":null},{"productId":{}},
        {"productId":[1]},5,null,{"productId":true}]}"#;
    let plan = plan_of(document, &[products()]);
    assert_eq!(paths(&plan), ["/api/products/true"]);
    for document in ["[]", "5", r#"{"includeDetails":true,"items":{}}"#] {
        assert!(plan_of(document, &[products()]).calls.is_empty(), "{document}");
    }
}

#[test]
fn values_that_cannot_stand_in_a_path_are_a_problem() {
    let document = r#"{"includeDetails":true,"items":[{"productId":".."},{"productId":""},
        {"productId":"ok"}]}"#;
    let plan = plan_of(document, &[products()]);
    assert_eq!(paths(&plan), ["/api/products/ok"]);
    assert_eq!(plan.problems.len(), 1);
    assert!(plan.problems[0].text.starts_with("2 items"), "{plan:?}");
}

#[test]
fn calls_are_capped_and_items_beyond_the_cap_may_share_those_there_are() {
    let items: Vec<String> = (0..AGGREGATION_CALLS_MAX + 5)
        .chain([0])
        .map(|id| format!(r#"{{"productId":{id}}}"#))
        .collect();
    let document = format!(r#"{{"includeDetails":true,"items":[{}]}}"#, items.join(","));
    let dependencies = [products(), products()];
    let plan = plan_of(&document, &dependencies);
    assert_eq!(plan.calls.len(), AGGREGATION_CALLS_MAX);
    assert_eq!(plan.problems.len(), 2, "one for each dependency");
    assert!(plan.problems[0].text.starts_with("5 items"), "{plan:?}");
    assert_eq!(plan.uses.len(), 2 * (AGGREGATION_CALLS_MAX + 1));
}

#[test]
fn parameters_of_outer_items_are_joined_with_those_of_inner_ones() {
    let document = concat!(
        r#"{"u":"me","o":[{"id":1,"l":[{"id":"a"},{"id":"b"}]},"#,
        r#"{"l":[{"id":"c"}]},{"id":3,"l":[{"id":"d"}]}]}"#,
    );
    let dependencies = [dependency(
        0,
        "/{u}/{o}/{l}",
        None,
        &[("$.u", "u"), ("$.o[*].id", "o"), ("$.o[*].l[*].id", "l")],
        &[("$.x", "$.o[*].l[*].x")],
    )];
    let plan = plan_of(document, &dependencies);
    assert_eq!(paths(&plan), ["/me/1/a", "/me/1/b", "/me/3/d"]);
    assert_eq!(
        completed(document, &dependencies, &[Some(r#"{"x":1}"#), Some("{}"), Some(r#"{"x":3}"#)]),
        concat!(
            r#"{"u":"me","o":[{"id":1,"l":[{"id":"a","x":1},{"id":"b"}]},"#,
            r#"{"l":[{"id":"c"}]},{"id":3,"l":[{"id":"d","x":3}]}]}"#,
        )
    );
}

#[test]
fn one_call_without_parameters_may_fill_several_places() {
    let dependencies = [dependency(
        0,
        "/rates?base=EUR",
        Some("$.prices"),
        &[],
        &[("$.usd", "$.rates.usd"), ("$.all[*].n", "$.rates.names")],
    )];
    let answer = r#"{"usd":1.10,"all":[{"n":"USD"},{},{"n":"GBP"}]}"#;
    assert_eq!(
        completed(r#"{"prices":[]}"#, &dependencies, &[Some(answer)]),
        r#"{"prices":[],"rates":{"usd":1.10,"names":["USD","GBP"]}}"#
    );
}

#[test]
fn ids_in_a_list_may_be_replaced_by_what_they_name() {
    let dependencies =
        [dependency(0, "/t/{id}", None, &[("$.ids[*]", "id")], &[("$", "$.ids[*]")])];
    let answers = [Some("\"A\""), None];
    assert_eq!(
        completed(r#"{"ids":["a","b","a"]}"#, &dependencies, &answers),
        r#"{"ids":["A","b","A"]}"#
    );
}

#[test]
fn one_long_answer_for_many_items_is_bounded() {
    let document = r#"{"includeDetails":true,"items":[{"productId":7},{"productId":7}]}"#;
    let (dependencies, answer) = ([products()], format!("\"{}\"", "x".repeat(1000)));
    let plan = plan_of(document, &dependencies);
    let complete = |bytes_max| {
        let whole = complete_at_once(&plan, document, &dependencies, &[Some(&answer)], bytes_max);
        whole.map(|whole| whole.len())
    };
    assert_eq!(complete(2000), None);
    assert!(complete(2200).is_some_and(|bytes| bytes > 2000));
}
