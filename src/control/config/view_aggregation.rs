//! How responses are made of those of other services, as JSON: see [`super::view`].

use serde_json::{Value, json};

use super::Aggregation;
use super::view::mask_query;

pub(super) fn aggregation(aggregation: &Aggregation) -> Value {
    let calls = aggregation.calls.iter().map(|call| {
        json!({ "name": call.name, "service": call.service, "path": mask_query(&call.path) })
    });
    let dependencies = aggregation.dependencies.iter().map(|dependency| {
        let rule = &dependency.rule;
        let mapping = |from: String, to: String| json!({ "from": from, "to": to });
        let parameters = rule.parameters().iter();
        let parameters = parameters.map(|one| mapping(one.from.to_string(), one.to.clone()));
        let results = rule.results().iter();
        let results = results.map(|one| mapping(one.from.to_string(), one.to.to_string()));
        json!({
            "service": dependency.service,
            "path": mask_query(&rule.path().to_string()),
            "condition": rule.condition().map(ToString::to_string),
            "parameterMapping": parameters.collect::<Vec<_>>(),
            "resultMapping": results.collect::<Vec<_>>(),
        })
    });
    json!({
        "mode": "merge",
        "failOnError": aggregation.fail_on_error,
        "calls": calls.collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    })
}
