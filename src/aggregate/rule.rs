//! One dependency as configured: when it is called, with what, and where its answers go.
//!
//! Its parts have been read by themselves; here they are held against each other, so that a plan
//! never meets a rule that cannot work.

use super::condition::Condition;
use super::path::{Path, Step};
use super::template::Template;

/// What one dependency says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    path: Template,
    condition: Option<Condition>,
    parameters: Vec<Parameter>,
    results: Vec<Placing>,
}

/// One of `parameterMapping`: a value of the response for a name in the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Where the value is in the response.
    pub from: Path,
    /// The name in the path.
    pub to: String,
}

/// One of `resultMapping`: a part of the answer for a place in the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placing {
    /// What of the answer; several matches become an array.
    pub from: Path,
    /// Where it goes.
    pub to: Path,
}

/// The part of a rule that does not fit the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// `path`.
    Path,
    /// An entry of `parameterMapping`.
    Parameter(usize),
    /// An entry of `resultMapping`.
    Placing(usize),
}

impl Rule {
    /// Puts the parts together.
    ///
    /// # Errors
    /// Every part that does not fit, and why.
    pub fn new(
        path: Template,
        condition: Option<Condition>,
        parameters: Vec<Parameter>,
        results: Vec<Placing>,
    ) -> Result<Self, Vec<(Misfit, String)>> {
        let rule = Self { path, condition, parameters, results };
        let misfits = rule.misfits();
        if misfits.is_empty() { Ok(rule) } else { Err(misfits) }
    }

    /// The path that is called.
    pub fn path(&self) -> &Template {
        &self.path
    }

    /// What must hold for it to be called.
    pub fn condition(&self) -> Option<&Condition> {
        self.condition.as_ref()
    }

    /// Where the path's values come from.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Where answers go.
    pub fn results(&self) -> &[Placing] {
        &self.results
    }

    /// The parameter that goes over the most items: there is a call for each of them.
    pub fn lead(&self) -> Option<&Parameter> {
        // The first of them: max_by_key returns the last, so the order is turned round.
        let parameters = self.parameters.iter().rev();
        parameters.max_by_key(|parameter| parameter.from.each_count())
    }

    /// What the lead's items are; empty where there is one call.
    fn items(&self) -> &[Step] {
        self.lead().map_or(&[], |lead| lead.from.items())
    }

    fn misfits(&self) -> Vec<(Misfit, String)> {
        let mut misfits = Vec::new();
        for slot in self.path.slots() {
            if !self.parameters.iter().any(|parameter| parameter.to == slot) {
                let text = format!("nothing gives {{{slot}}}; add it to parameterMapping");
                misfits.push((Misfit::Path, text));
            }
        }
        for (index, parameter) in self.parameters.iter().enumerate() {
            let misfit = self.misfit_of_parameter(index, parameter);
            misfits.extend(misfit.map(|text| (Misfit::Parameter(index), text)));
        }
        for (index, placing) in self.results.iter().enumerate() {
            let misfit = self.misfit_of_placing(placing);
            misfits.extend(misfit.map(|text| (Misfit::Placing(index), text)));
        }
        misfits
    }

    fn misfit_of_parameter(&self, index: usize, parameter: &Parameter) -> Option<String> {
        let name = &parameter.to;
        if !self.path.slots().any(|slot| slot == name) {
            return Some(format!("the path has no {{{name}}}"));
        }
        let before = &self.parameters[..index];
        if before.iter().any(|other| other.to == *name) {
            return Some(format!("{name:?} is given twice; take one out"));
        }
        let fits = self.items().starts_with(parameter.from.items());
        (!fits).then(|| {
            "the [*] of its from go over other items than those of the other parameters".to_owned()
        })
    }

    fn misfit_of_placing(&self, placing: &Placing) -> Option<String> {
        if placing.to.steps().is_empty() {
            return Some("to is the whole response; name a place in it".to_owned());
        }
        let fits = self.items() == placing.to.items();
        (!fits).then(|| {
            "the [*] of its to must go over the items that the parameters come from, so that each \
             answer has its own"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str, parameters: &[(&str, &str)], results: &[(&str, &str)]) -> Vec<Misfit> {
        let parsed = |text: &str| Path::parse(text).unwrap();
        let parameters = parameters
            .iter()
            .map(|(from, to)| Parameter { from: parsed(from), to: (*to).to_owned() });
        let results =
            results.iter().map(|(from, to)| Placing { from: parsed(from), to: parsed(to) });
        let path = Template::parse(path).unwrap();
        let rule = Rule::new(path, None, parameters.collect(), results.collect());
        let misfits = rule.err().unwrap_or_default();
        misfits.into_iter().map(|(misfit, _)| misfit).collect()
    }

    #[test]
    fn parts_that_fit_make_a_rule() {
        for (path, parameters, results) in [
            ("/p", &[][..], &[("$", "$.p")][..]),
            ("/p/{id}", &[("$.id", "id")], &[("$", "$.p"), ("$.n", "$.n")]),
            ("/p/{id}", &[("$.l[*].id", "id")], &[("$", "$.l[*].p")]),
            ("/p/{id}", &[("$.ids[*]", "id")], &[("$", "$.ids[*]")]),
            (
                "/{u}/{o}/{l}",
                &[("$.u", "u"), ("$.o[*].id", "o"), ("$.o[*].l[*].id", "l")],
                &[("$.a[*]", "$.o[*].l[*].x")],
            ),
        ] {
            assert!(rule(path, parameters, results).is_empty(), "{path}");
        }
    }

    #[test]
    fn each_part_that_does_not_fit_is_named() {
        for (path, parameters, results, misfit) in [
            ("/{a}/{b}", &[("$.a", "a")][..], &[("$", "$.x")][..], Misfit::Path),
            ("/{a}", &[("$.a", "a"), ("$.b", "b")], &[("$", "$.x")], Misfit::Parameter(1)),
            ("/{a}", &[("$.a", "a"), ("$.b", "a")], &[("$", "$.x")], Misfit::Parameter(1)),
            (
                "/{a}/{b}",
                &[("$.l[*].a", "a"), ("$.m[*].b", "b")],
                &[("$", "$.l[*].x")],
                Misfit::Parameter(1),
            ),
            ("/{a}", &[("$.l[*].a", "a")], &[("$", "$.x")], Misfit::Placing(0)),
            ("/{a}", &[("$.a", "a")], &[("$", "$.l[*].x")], Misfit::Placing(0)),
            ("/{a}", &[("$.l[*].a", "a")], &[("$", "$.m[*].x")], Misfit::Placing(0)),
            ("/{a}", &[("$.a", "a")], &[("$", "$")], Misfit::Placing(0)),
        ] {
            assert_eq!(rule(path, parameters, results), [misfit], "{path} {results:?}");
        }
    }
}
