//! Aggregation: rules of any text over any JSON plan calls within the bounds, whose paths are one
//! path each, and complete to JSON again.
//!
//! The input's lines: the path of the calls, a condition, where a value comes from, where an answer
//! is taken from, where it goes, an answer; the rest is the document.

use odin::aggregate::condition::Condition;
use odin::aggregate::path::Path;
use odin::aggregate::rule::{Parameter, Placing, Rule};
use odin::aggregate::template::Template;
use odin::aggregate::{Dependency, Plan, json, merge};
use odin::io::pace::Stretches;
use odin::limits::AGGREGATION_CALLS_MAX;
use serde_json::Value;

const COMPLETED_BYTES_MAX: usize = 64 * 1024;

/// One input.
pub fn run(input: &[u8]) {
    let mut lines = input.splitn(7, |&byte| byte == b'\n');
    let mut line = || std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let [call, condition, from, taken, to] = std::array::from_fn(|_| line());
    let answer = line().as_bytes();
    let document = lines.next().unwrap_or_default();
    // What an exchange does with what services answer.
    let (Ok(document), Ok(answer)) = (merge::usable(200, document), merge::usable(200, answer))
    else {
        return;
    };
    assert_eq!(json::text_of(document.as_bytes()), Some(document));
    let Some(dependency) = dependency(call, condition, from, taken, to) else {
        return;
    };
    let dependencies = [dependency];
    let plan =
        Stretches::at_once(async |stretches| Plan::of(document, &dependencies, stretches).await);
    assert!(plan.calls.len() <= AGGREGATION_CALLS_MAX);
    for call in &plan.calls {
        assert!(call.path.starts_with('/'), "{}", call.path);
        assert!(call.path.bytes().all(|byte| byte > b' ' && byte != 0x7f), "{}", call.path);
    }
    let answers = vec![Some(answer); plan.calls.len()];
    let complete = |answers: &[Option<&str>], bytes_max| {
        Stretches::at_once(async |stretches| {
            plan.complete(document, &dependencies, answers, bytes_max, stretches).await
        })
    };
    let completed = complete(&answers, COMPLETED_BYTES_MAX);
    let Some(completed) = completed else {
        return;
    };
    let kept = complete(&vec![None; answers.len()], usize::MAX);
    if is_json(document) && is_json(answer) {
        assert!(serde_json::from_slice::<Value>(&completed).is_ok(), "{completed:?}");
        assert_eq!(kept.as_deref(), Some(document.as_bytes()), "no answers, no change");
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok()
}

/// A rule if each of its texts is one.
fn dependency(
    call: &str,
    condition: &str,
    from: &str,
    taken: &str,
    to: &str,
) -> Option<Dependency> {
    let template = Template::parse(call).ok()?;
    let condition = match condition {
        "" => None,
        text => Some(Condition::parse(text).ok()?),
    };
    let slots: Vec<String> = template.slots().map(str::to_owned).collect();
    let value = Path::parse(from).ok()?;
    let parameters = slots.into_iter().map(|to| Parameter { from: value.clone(), to }).collect();
    let results = vec![Placing { from: Path::parse(taken).ok()?, to: Path::parse(to).ok()? }];
    let rule = Rule::new(template, condition, parameters, results).ok()?;
    Some(Dependency { service: 0, rule })
}
