//! Which calls a response needs, and where each of their answers goes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::ControlFlow;

use super::Dependency;
use super::condition::Condition;
use super::json::{self, Node, Placed};
use super::rule::{Parameter, Placing};
use crate::io::pace::Stretches;
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
    pub async fn of(document: &str, dependencies: &[Dependency], stretches: &Stretches) -> Self {
        let mut planner = Planner::default();
        for (index, dependency) in dependencies.iter().enumerate() {
            let rule = &dependency.rule;
            let holds = |condition: &Condition| condition.holds(document);
            if stretches.run(|| rule.condition().is_none_or(holds)).await {
                planner.add(document, index, dependency, stretches).await;
            }
            planner.report_skipped(index);
        }
        planner.plan
    }

    /// `document` with the answers at their places: `answers` are those of [`Self::calls`], JSON
    /// texts; `None` where a call failed. `None` if it would have more than `bytes_max` bytes: one
    /// long answer may go to many items.
    ///
    /// Each answer is gone through once for each entry of a `resultMapping`, however many items it
    /// goes to.
    pub async fn complete(
        &self,
        document: &str,
        dependencies: &[Dependency],
        answers: &[Option<&str>],
        bytes_max: usize,
        stretches: &Stretches,
    ) -> Option<Vec<u8>> {
        // By dependency, by placing, by call.
        let mut parts: Vec<Vec<Parts<'_>>> = Vec::with_capacity(dependencies.len());
        let mut bytes = document.len();
        for (index, dependency) in dependencies.iter().enumerate() {
            let mut of_dependency = Vec::new();
            for placing in dependency.rule.results() {
                let mut of_placing = Parts::new();
                for placed in self.uses_of(index) {
                    let Some(answer) = answers.get(placed.call).copied().flatten() else {
                        continue;
                    };
                    let part = match of_placing.entry(placed.call) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(place) => {
                            let part = stretches.run(|| part_of(answer, placing)).await;
                            place.insert(part)
                        }
                    };
                    bytes += part.as_ref().map_or(0, |part| part.len() + 1);
                    if bytes > bytes_max {
                        return None;
                    }
                }
                of_dependency.push(of_placing);
            }
            parts.push(of_dependency);
        }
        let mut whole = Node::Text(document);
        for (index, dependency) in dependencies.iter().enumerate() {
            for (placing, parts) in dependency.rule.results().iter().zip(&parts[index]) {
                let mut values = Vec::new();
                for placed in self.uses_of(index) {
                    if let Some(Some(text)) = parts.get(&placed.call) {
                        values.push(Placed { indexes: &placed.indexes, text });
                    }
                }
                // Where there is no room (an item that is no object), nothing is put.
                stretches.run(|| whole.put(placing.to.steps(), &values)).await;
            }
        }
        let write = || {
            let mut out = Vec::with_capacity(bytes);
            whole.write(&mut out);
            out
        };
        Some(stretches.run(write).await)
    }

    fn uses_of(&self, dependency: usize) -> impl Iterator<Item = &Use> {
        // They stand in the order of the dependencies.
        let start = self.uses.partition_point(|placed| placed.dependency < dependency);
        self.uses[start..].iter().take_while(move |placed| placed.dependency == dependency)
    }
}

/// What one placing takes of the answer of each call; `None` where it is not there.
type Parts<'a> = HashMap<usize, Option<Cow<'a, str>>>;

/// What of an answer a placing takes; `None` if it is not there.
fn part_of<'a>(answer: &'a str, placing: &Placing) -> Option<Cow<'a, str>> {
    if placing.from.each_count() == 0 {
        let mut found = None;
        json::select(answer, placing.from.steps(), &mut |_, part| {
            found = Some(Cow::Borrowed(part));
            ControlFlow::Continue(())
        });
        return found;
    }
    let mut array = String::from("[");
    json::select(answer, placing.from.steps(), &mut |_, part| {
        if array.len() > 1 {
            array.push(',');
        }
        array.push_str(part);
        ControlFlow::Continue(())
    });
    array.push(']');
    Some(Cow::Owned(array))
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
    async fn add(
        &mut self,
        document: &str,
        index: usize,
        dependency: &Dependency,
        stretches: &Stretches,
    ) {
        let rule = &dependency.rule;
        let Some(lead) = rule.lead() else {
            return self.add_item(index, dependency, &[], &|_| "");
        };
        let mut others = Others::new();
        for parameter in rule.parameters().iter().filter(|parameter| parameter.to != lead.to) {
            let values = stretches.run(|| values_of(document, parameter)).await;
            others.insert(parameter.to.as_str(), values);
        }
        stretches.run(|| self.add_items(document, index, dependency, lead, &others)).await;
    }

    fn add_items(
        &mut self,
        document: &str,
        index: usize,
        dependency: &Dependency,
        lead: &Parameter,
        others: &Others<'_>,
    ) {
        let rule = &dependency.rule;
        json::select(document, lead.from.steps(), &mut |indexes, found| {
            let own = scalar(found);
            let value_of = |parameter: &Parameter| match parameter.to == lead.to {
                true => own.as_deref(),
                false => value_at(others, parameter, indexes),
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
type Others<'r> = HashMap<&'r str, Values>;

fn values_of(document: &str, parameter: &Parameter) -> Values {
    let mut values = Values::new();
    json::select(document, parameter.from.steps(), &mut |indexes, found| {
        values.extend(scalar(found).map(|value| (indexes.to_vec(), value)));
        ControlFlow::Continue(())
    });
    values
}

/// The value of a parameter for the item at `indexes`: that of the item, or of the one around it.
fn value_at<'o>(
    others: &'o Others<'_>,
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
