//! Which requests are a service's, and what becomes of them, as JSON: see [`super::view`].

use serde_json::{Map, Value, json};

use super::model_routes::{Condition, HeaderEdit, Rewrite, Routes, Test};
use super::view::MASK;
use crate::route::edit::Redirect;

pub(super) fn conditions(routes: &Routes) -> Value {
    json!({ "headers": tests(&routes.headers), "query": tests(&routes.query) })
}

fn tests(conditions: &[Condition]) -> Value {
    let shown = conditions.iter().map(|condition| {
        let test = match &condition.test {
            // What tells requests apart may be a secret.
            Test::Is(_) => MASK.into(),
            Test::Has(expression) => json!({ "regex": expression }),
            Test::IsThere => json!({ "present": true }),
        };
        (condition.name.clone(), test)
    });
    Value::Object(shown.collect())
}

pub(super) fn redirect(redirect: &Redirect) -> Value {
    json!({
        "scheme": redirect.scheme,
        "host": redirect.host,
        "path": redirect.path,
        "status": redirect.status,
    })
}

pub(super) fn rewrite(rewrite: &Rewrite) -> Value {
    let (prefix, regex, to) = match rewrite {
        Rewrite::Prefix(prefix) => (Some(prefix), None, None),
        Rewrite::Pattern(regex, to) => (None, Some(regex), Some(to)),
    };
    json!({ "prefix": prefix, "regex": regex, "to": to })
}

/// The names, and nothing of the values.
pub(super) fn headers(edit: &HeaderEdit) -> Value {
    let masked = |list: &[(String, String)]| {
        list.iter().map(|(name, _)| (name.clone(), MASK.into())).collect::<Map<String, Value>>()
    };
    json!({ "set": masked(&edit.set), "add": masked(&edit.add), "remove": edit.remove })
}
