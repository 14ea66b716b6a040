//! Decodes `services[].aggregation`.
//!
//! Paths, conditions and templates are read here by the machine's own parsers, so that what the
//! file may say and what the workers do cannot differ.

use super::decode::{Item, Section, boolean, list, name, string, word};
use super::errors::Errors;
use super::wasm::{Names, check_service};
use super::{Aggregation, Call, Dependency, Service, keys};
use crate::aggregate::condition::Condition;
use crate::aggregate::path::{FORM, Path};
use crate::aggregate::rule::{Misfit, Parameter, Placing, Rule};
use crate::aggregate::template::Template;
use crate::limits;

const SERVICE: &str = "name the service that is called";
const PATH: &str = "give the path that its target is asked for";
const CALL_NAME: &str = "each call has a name of its own: the key of its answer";

/// The services that calls name: they may stand behind the calls, so they are looked for at the
/// end.
#[derive(Default)]
pub(super) struct References<'n>(Vec<(Item<'n>, String)>);

impl<'n> References<'n> {
    fn take(&mut self, item: &Item<'n>, errors: &mut Errors) -> Option<String> {
        let name = name(item, errors)?;
        let (node, key) = (item.node, item.key.clone());
        self.0.push((Item { node, key }, name.clone()));
        Some(name)
    }

    /// Reports those that are not there or cannot be called.
    pub(super) fn check(&self, services: &[Service], errors: &mut Errors) {
        for (item, name) in &self.0 {
            check_service(item, name, services, errors);
            let called = services.iter().find(|service| service.name == *name);
            let has_calls = |service: &Service| {
                let aggregation = service.aggregation.as_ref();
                aggregation.is_some_and(|aggregation| !aggregation.calls.is_empty())
            };
            // One that must have targets and has none is an error of its own.
            if called.is_some_and(|service| service.targets.is_empty() && has_calls(service)) {
                let text = format!(
                    "the service {name:?} has no targets that could be asked; call those that its \
                     own aggregation calls"
                );
                item.refuse(errors, text);
            }
        }
    }
}

/// `services[].aggregation`.
pub(super) fn aggregation<'n>(
    item: &Item<'n>,
    references: &mut References<'n>,
    errors: &mut Errors,
) -> Option<Aggregation> {
    let map = Section::open(item, &keys::AGGREGATION, errors)?;
    map.read("mode", errors, |item, errors| word(item, &[("merge", ())], errors));
    let has_work = map.get("calls").is_some() || map.get("dependencies").is_some();
    if !has_work && !item.node.is_null() {
        item.refuse(errors, "has neither calls nor dependencies; give one of them");
    }
    let fail_on_error = map.read("failOnError", errors, boolean);
    let mut names = Names::default();
    let calls = map.read("calls", errors, |item, errors| {
        let max = limits::AGGREGATION_CALLS_CONFIGURED_MAX;
        list(item, max, errors, |item, errors| call(item, &mut names, references, errors))
    });
    let dependencies = map.read("dependencies", errors, |item, errors| {
        let max = limits::AGGREGATION_DEPENDENCIES_MAX;
        list(item, max, errors, |item, errors| dependency(item, references, errors))
    });
    Some(Aggregation {
        fail_on_error: fail_on_error.unwrap_or(false),
        calls: calls.unwrap_or_default(),
        dependencies: dependencies.unwrap_or_default(),
    })
}

fn call<'n>(
    item: &Item<'n>,
    names: &mut Names,
    references: &mut References<'n>,
    errors: &mut Errors,
) -> Option<Call> {
    let map = Section::open(item, &keys::CALL, errors)?;
    let name = map.require("name", CALL_NAME, errors, |item, errors| names.take(item, errors));
    let service =
        map.require("service", SERVICE, errors, |item, errors| references.take(item, errors));
    let path = map.require("path", PATH, errors, |item, errors| {
        let template = template(item, errors)?;
        if template.slots().next().is_some() {
            let what = "a path without {names}: nothing is known that could be filled in";
            item.expected(errors, what);
        }
        Some(template.to_string())
    });
    Some(Call {
        name: name.unwrap_or_default(),
        service: service.unwrap_or_default(),
        path: path.unwrap_or_default(),
    })
}

fn dependency<'n>(
    item: &Item<'n>,
    references: &mut References<'n>,
    errors: &mut Errors,
) -> Option<Dependency> {
    let map = Section::open(item, &keys::DEPENDENCY, errors)?;
    let service =
        map.require("service", SERVICE, errors, |item, errors| references.take(item, errors));
    let template = map.require("path", PATH, errors, template);
    let condition = map.read("condition", errors, condition);
    let parameters = match map.get("parameterMapping") {
        Some(item) => mappings(&item, errors, parameter),
        None => Some(Vec::new()),
    };
    let placed = "say where the answer goes, such as [{from: $, to: $.product}]";
    let results = map.require("resultMapping", placed, errors, |item, errors| {
        let results = mappings(item, errors, placing)?;
        if results.is_empty() {
            item.expected(errors, "a list of at least one {from, to}");
        }
        Some(results)
    });
    match Rule::new(template?, condition, parameters?, results?) {
        Ok(rule) => Some(Dependency { service: service?, rule }),
        Err(misfits) => {
            for (misfit, text) in misfits {
                report(&map, misfit, text, errors);
            }
            None
        }
    }
}

/// All mappings of a list, or none if one has an error: a rule of the others would have more.
fn mappings<'n, T>(
    item: &Item<'n>,
    errors: &mut Errors,
    mut decode: impl FnMut(&Item<'n>, &mut Errors) -> Option<T>,
) -> Option<Vec<T>> {
    let max = limits::AGGREGATION_MAPPINGS_MAX;
    let decoded = list(item, max, errors, |item, errors| Some(decode(item, errors)))?;
    decoded.into_iter().collect()
}

/// Reports a part of a rule at its own place.
fn report(map: &Section<'_>, misfit: Misfit, text: String, errors: &mut Errors) {
    let (key, index) = match misfit {
        Misfit::Path => ("path", None),
        Misfit::Parameter(index) => ("parameterMapping", Some(index)),
        Misfit::Placing(index) => ("resultMapping", Some(index)),
    };
    if let Some(item) = map.get(key) {
        match index.and_then(|index| item.at(index)) {
            Some(entry) => entry.refuse(errors, text),
            None => item.refuse(errors, text),
        }
    }
}

fn parameter(item: &Item<'_>, errors: &mut Errors) -> Option<Parameter> {
    let map = Section::open(item, &keys::PARAMETER, errors)?;
    let given = "give the value's place in the response, such as $.productId";
    let from = map.require("from", given, errors, path);
    let named = "give the {name} in the path that the value is for";
    let to = map.require("to", named, errors, string);
    Some(Parameter { from: from?, to: to? })
}

fn placing(item: &Item<'_>, errors: &mut Errors) -> Option<Placing> {
    let map = Section::open(item, &keys::RESULT, errors)?;
    let from = map.require("from", "give what of the answer, or $ for all", errors, path);
    let placed = "give its place in the response, such as $.product";
    let to = map.require("to", placed, errors, path);
    Some(Placing { from: from?, to: to? })
}

fn path(item: &Item<'_>, errors: &mut Errors) -> Option<Path> {
    let text = text(item, errors)?;
    let refused = |why| item.expected(errors, &format!("{FORM}; {why}"));
    Path::parse(&text).map_err(refused).ok()
}

fn condition(item: &Item<'_>, errors: &mut Errors) -> Option<Condition> {
    let text = text(item, errors)?;
    let refused = |why: String| item.expected(errors, &why);
    Condition::parse(&text).map_err(refused).ok()
}

fn template(item: &Item<'_>, errors: &mut Errors) -> Option<Template> {
    let text = text(item, errors)?;
    let refused = |why| {
        let form = "a path such as /api/products/{product_id}";
        item.expected(errors, &format!("{form}; {why}"));
    };
    Template::parse(&text).map_err(refused).ok()
}

/// A text of a bounded length.
fn text(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    let text = string(item, errors)?;
    let (got, max) = (text.len(), limits::AGGREGATION_TEXT_BYTES_MAX);
    if got > max {
        item.refuse(errors, format!("got {got} bytes, limit is {max}"));
        return None;
    }
    Some(text)
}

#[cfg(test)]
mod tests;
