//! Which requests go to which service: the file's words become a table; expressions are compiled.

use regex::{Regex, RegexBuilder, bytes};

use super::super::config::{self, Service};
use crate::http::message::Fields;
use crate::limits::PATTERN_COMPILED_BYTES_MAX;
use crate::route::edit::{FieldEdit, Rewrite};
use crate::route::matcher::{Condition, Matcher, Test};
use crate::route::table::{Rule, Table};

/// The routes of all services, which are numbered by their places.
pub(super) fn table(services: &[Service]) -> Table {
    let routed = services.iter().enumerate().filter(|(_, service)| !service.routes.is_internal);
    let rules = routed.map(|(index, service)| {
        let rule = Rule {
            hosts: &service.routes.hosts,
            base_path: &service.base_path,
            matcher: matcher(&service.routes),
        };
        (rule, index)
    });
    Table::new(rules)
}

/// What requests must have beside their hosts and paths.
pub fn matcher(routes: &config::Routes) -> Matcher {
    let all = |list: &[config::Condition]| list.iter().map(condition).collect();
    Matcher {
        methods: routes.methods.clone(),
        fields: all(&routes.headers),
        cookies: all(&routes.cookies),
        query: all(&routes.query),
    }
}

fn condition(from: &config::Condition) -> Condition {
    let test = match &from.test {
        config::Test::Is(text) => Test::Is(text.clone()),
        config::Test::IsThere => Test::IsThere,
        config::Test::Has(expression) => {
            let built =
                bytes::RegexBuilder::new(expression).size_limit(PATTERN_COMPILED_BYTES_MAX).build();
            match built {
                Ok(expression) => Test::Has(expression),
                // It was built when the file was read; else nobody has such a value.
                Err(_) => Test::Is("\n".to_owned()),
            }
        }
    };
    Condition::new(&from.name, test)
}

pub(super) fn rewrite(from: &config::Rewrite) -> Option<Rewrite> {
    Some(match from {
        config::Rewrite::Prefix(prefix) => Rewrite::Prefix(prefix.clone()),
        config::Rewrite::Pattern(expression, to) => {
            Rewrite::Pattern(build(expression)?, to.clone())
        }
    })
}

/// An expression that was built when the file was read.
fn build(expression: &str) -> Option<Regex> {
    RegexBuilder::new(expression).size_limit(PATTERN_COMPILED_BYTES_MAX).build().ok()
}

pub(super) fn edit(from: &config::HeaderEdit) -> Option<Box<FieldEdit>> {
    let fields = |list: &[(String, String)]| {
        let mut fields = Fields::new();
        list.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
        fields
    };
    (!from.is_empty()).then(|| {
        let (set, add) = (fields(&from.set), fields(&from.add));
        Box::new(FieldEdit { remove: from.remove.clone(), set, add })
    })
}
