//! Decodes `services[].mirror`.

use super::decode::{Item, Section, name};
use super::errors::Errors;
use super::keys;
use super::model_routes::Mirror;
use super::tree::Value;
use super::wasm::check_service;
use super::{Service, value};
use crate::route::mirror::WHOLE;

/// The services that get copies: they may stand behind those that name them, so they are looked for
/// at the end.
#[derive(Default)]
pub(super) struct Mirrors<'n>(Vec<(Item<'n>, String)>);

impl Mirrors<'_> {
    /// Reports those that are not there, or have no targets that a copy could go to.
    pub(super) fn check(&self, services: &[Service], errors: &mut Errors) {
        for (item, name) in &self.0 {
            check_service(item, name, services, errors);
            let Some(named) = services.iter().find(|service| service.name == *name) else {
                continue;
            };
            let mut refuse = |why: &str| {
                item.refuse(errors, format!("the service {} {why}", value::quote(name)));
            };
            if named.routes.split.is_some() {
                refuse("splits its requests; name the one of its parts that is to get copies");
            } else if named.targets.is_empty() {
                refuse("has no targets that copies could go to; name one that has");
            }
        }
    }
}

/// `mirror` of a service.
pub(super) fn mirror<'n>(
    map: &Section<'n>,
    names: &mut Mirrors<'n>,
    errors: &mut Errors,
) -> Option<Mirror> {
    let item = map.filled("mirror")?;
    if map.filled("redirect").is_some() {
        item.refuse(errors, "is of no use: with redirect no request goes on; take one out");
    }
    let own = map.filled("name").and_then(|item| match &item.node.value {
        Value::Scalar(scalar) => Some(scalar.text.clone()),
        _ => None,
    });
    let map = Section::open(&item, &keys::MIRROR, errors)?;
    let service = map.require("service", "name the service", errors, |item, errors| {
        let name = name(item, errors)?;
        if own.as_ref() == Some(&name) {
            item.refuse(errors, "is the service itself, which has the requests; name another one");
            return None;
        }
        let (node, key) = (item.node, item.key.clone());
        names.0.push((Item { node, key }, name.clone()));
        Some(name)
    });
    let share = map.read("percent", errors, percent).unwrap_or(WHOLE);
    Some(Mirror { service: service?, share })
}

/// `0` to `100`, with two digits behind the point and a `%` if one likes.
fn percent(item: &Item<'_>, errors: &mut Errors) -> Option<u32> {
    let share = match &item.node.value {
        Value::Scalar(scalar) => share(&scalar.text),
        _ => None,
    };
    if share.is_none() {
        item.expected(
            errors,
            "a part of the requests in percent, from 0 to 100, such as 5 or 0.25",
        );
    }
    share
}

fn share(text: &str) -> Option<u32> {
    let text = text.strip_suffix('%').map_or(text, str::trim_end);
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(part) || part.len() > 2 {
        return None;
    }
    let hundredths = part.parse::<u32>().ok()? * if part.len() == 1 { 10 } else { 1 };
    let share = whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(hundredths)?;
    (share <= WHOLE).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_to_a_hundredth_of_a_percent() {
        for (text, expected) in [
            ("0", Some(0)),
            ("5", Some(500)),
            ("100", Some(WHOLE)),
            ("100.00", Some(WHOLE)),
            ("0.25", Some(25)),
            ("0.5", Some(50)),
            ("12.05 %", Some(1205)),
            ("10%", Some(1000)),
            ("100.01", None),
            ("101", None),
            ("-1", None),
            ("+1", None),
            ("0.001", None),
            (".5", None),
            ("5.", None),
            ("1e1", None),
            ("", None),
            ("%", None),
            ("99999999999", None),
        ] {
            assert_eq!(share(text), expected, "{text:?}");
        }
    }
}
