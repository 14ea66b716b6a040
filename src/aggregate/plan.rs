//! Which calls a response needs, and where each of their answers goes.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::Dependency;
use super::json::{self, Node};
use super::rule::{Parameter, Placing, Rule};
use crate::limits::AGGREGATION_CALLS_MAX;

/// The calls that one response needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The calls, none of them twice.
    pub calls: Vec<PlannedCall>,
    /// What could not be planned.
    pub problems: Vec<Problem>,
    uses: Vec<Use>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedCall {
    /// The first dependency that needs it.
    pub dependency: usize,
    /// The path with its values.
    pub path: String,
}

/// Items of a dependency that stay without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whose.
    pub dependency: usize,
    /// Why.
    pub text: String,
}

/// An answer goes to an item.
#[derive(Debug, PartialEq, Eq)]
struct Use {
    dependency: usize,
    indexes: Vec<usize>,
    call: usize,
}

impl Plan {
    /// What `dependencies` need for the JSON text `document`: at most [`AGGREGATION_CALLS_MAX`]
    /// calls. An item without a value for a parameter (or with null, an object or an array) needs
    /// none.
    pub fn of(document: &str, dependencies: &[Dependency]) -> Self {
        let mut planner = Planner::default();
        for (index, dependency) in dependencies.iter().enumerate() {
            let rule = &dependency.rule;
            if rule.condition().is_none_or(|condition| condition.holds(document)) {
                planner.add(document, index, dependency);
            }
            planner.report_skipped(index);
        }
        planner.plan
    }

    /// `document` with the answers at their places: `answers` are those of [`Self::calls`], JSON
    /// texts; `None` where a call failed. `None` if it would have more than `bytes_max` bytes: one
    /// long answer may go to many items.
    pub fn complete(
        &self,
        document: &str,
        dependencies: &[Dependency],
        answers: &[Option<&str>],
        bytes_max: usize,
    ) -> Option<Vec<u8>> {
        let mut whole = Node::Text(document);
        let mut bytes = document.len();
        for placed in &self.uses {
            let Some(answer) = answers.get(placed.call).copied().flatten() else {
                continue;
            };
            for placing in dependencies[placed.dependency].rule.results() {
                if let Some(part) = part_of(answer, placing) {
                    bytes += part.text_len();
                    if bytes > bytes_max {
                        return None;
                    }
                    // Where there is no room (an item that is no object), nothing is put.
                    let _had_room = whole.put(placing.to.steps(), &placed.indexes, part);
                }
            }
        }
        let mut out = Vec::with_capacity(bytes);
        whole.write(&mut out);
        Some(out)
    }
}

/// What of an answer a placing takes; `None` if it is not there.
fn part_of<'a>(answer: &'a str, placing: &Placing) -> Option<Node<'a>> {
    let mut parts = Vec::new();
    json::select(answer, placing.from.steps(), &mut |_, part| {
        parts.push(Node::Text(part));
        ControlFlow::Continue(())
    });
    match placing.from.each_count() {
        0 => parts.pop(),
        _ => Some(Node::Array(parts)),
    }
}

#[derive(Default)]
struct Planner {
    plan: Plan,
    /// The calls so far, by service and path.
    known: HashMap<(usize, String), usize>,
    /// Items of the present dependency that need a call too many, and those with an unfit value.
    over: usize,
    unfit: Option<(usize, String)>,
}

impl Planner {
    fn add(&mut self, document: &str, index: usize, dependency: &Dependency) {
        let rule = &dependency.rule;
        let Some(lead) = rule.lead() else {
            return self.add_item(index, dependency, &[], &|_| "");
        };
        let others = others(document, rule, lead);
        json::select(document, lead.from.steps(), &mut |indexes, found| {
            let own = scalar(found);
            let value_of = |parameter: &Parameter| match parameter.to == lead.to {
                true => own.as_deref(),
                false => value_at(&others, parameter, indexes),
            };
            let values: Option<Vec<&str>> = rule.parameters().iter().map(value_of).collect();
            if let Some(values) = values {
                self.add_item(index, dependency, indexes, &|name| {
                    let is_it = |parameter: &Parameter| parameter.to == name;
                    let at = rule.parameters().iter().position(is_it);
                    at.map_or("", |at| values[at])
                });
            }
            ControlFlow::Continue(())
        });
    }

    fn add_item<'v>(
        &mut self,
        index: usize,
        dependency: &Dependency,
        indexes: &[usize],
        value: &dyn Fn(&str) -> &'v str,
    ) {
        let path = match dependency.rule.path().fill(value) {
            Ok(path) => path,
            Err(unfit) => {
                let (count, _) = self.unfit.get_or_insert((0, unfit.to_string()));
                *count += 1;
                return;
            }
        };
        let calls = &mut self.plan.calls;
        let is_full = calls.len() == AGGREGATION_CALLS_MAX;
        let key = (dependency.service, path);
        let call = match self.known.get(&key) {
            Some(&call) => call,
            None if is_full => {
                self.over += 1;
                return;
            }
            None => {
                let path = key.1.clone();
                calls.push(PlannedCall { dependency: index, path });
                self.known.insert(key, calls.len() - 1);
                calls.len() - 1
            }
        };
        self.plan.uses.push(Use { dependency: index, indexes: indexes.to_vec(), call });
    }

    /// Tells of the items that were passed over, once for each dependency.
    fn report_skipped(&mut self, dependency: usize) {
        let mut report = |text| self.plan.problems.push(Problem { dependency, text });
        let over = std::mem::take(&mut self.over);
        if over > 0 {
            let max = AGGREGATION_CALLS_MAX;
            report(format!("{over} items are over the limit of {max} calls for one request"));
        }
        if let Some((count, why)) = self.unfit.take() {
            report(format!("{count} items are not asked for: {why}"));
        }
    }
}

/// The values of one parameter, by the indexes of the items that they stand in.
type Values = HashMap<Vec<usize>, String>;

/// The values of all parameters but the lead, by name.
fn others<'r>(document: &str, rule: &'r Rule, lead: &Parameter) -> HashMap<&'r str, Values> {
    let mut others = HashMap::new();
    for parameter in rule.parameters() {
        if parameter.to == lead.to {
            continue;
        }
        let mut values = Values::new();
        json::select(document, parameter.from.steps(), &mut |indexes, found| {
            values.extend(scalar(found).map(|value| (indexes.to_vec(), value)));
            ControlFlow::Continue(())
        });
        others.insert(parameter.to.as_str(), values);
    }
    others
}

/// The value of a parameter for the item at `indexes`: that of the item, or of the one around it.
fn value_at<'o>(
    others: &'o HashMap<&str, Values>,
    parameter: &Parameter,
    indexes: &[usize],
) -> Option<&'o str> {
    let around = indexes.get(..parameter.from.each_count())?;
    let values = others.get(parameter.to.as_str())?;
    values.get(around).map(String::as_str)
}

/// What stands for a JSON text in a path: a string's characters, a number's or boolean's own text.
fn scalar(text: &str) -> Option<String> {
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
