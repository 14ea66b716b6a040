//! The `headers` of an output: checked name by name and value by value, then set.

use std::collections::HashMap;

use super::super::chain::MessageBounds;
use super::super::failure::CallError;
use super::output::{Headers, Text};
use crate::http::field_class;
use crate::http::message::{Fields, is_field_value, is_token};
use crate::limits;

/// Checks every name and value that a plugin sets, and that it does not add more to the head than
/// the operator's limits say. What the head has already does not count: no client makes a plugin
/// fail by a head that it may send, and what a plugin hands back it has not added.
pub(super) fn check_headers(
    headers: &Headers<'_>,
    fields: &Fields,
    bounds: &MessageBounds,
) -> Result<(), CallError> {
    let mut bytes = 0;
    for (name, values) in headers.iter() {
        if !is_token(name.as_bytes()) {
            return Err(CallError::bad_output(format!("header name {name:?} is not a token")));
        }
        if field_class::is_of_connection(name.as_bytes()) {
            return Err(CallError::bad_output(format!(
                "header {name} belongs to the connection or the framing; the gateway writes it"
            )));
        }
        for value in values {
            let value = trimmed(value);
            if !is_field_value(value.as_bytes()) {
                return Err(CallError::bad_output(format!(
                    "value of header {name} holds a control character: {value:?}"
                )));
            }
            bytes += name.len() + value.len();
        }
    }
    let is_much = headers.len() > bounds.head_fields_max || bytes > bounds.head_bytes_max;
    let ceiling = limits::PLUGIN_HEAD_FIELDS_MAX;
    if is_much || fields.len() + headers.len() > ceiling {
        check_growth(headers, bytes, fields, bounds)?;
    }
    Ok(())
}

/// The closer look at `headers` of so many bytes: how many of its fields the head has already.
fn check_growth(
    headers: &Headers<'_>,
    bytes: usize,
    fields: &Fields,
    bounds: &MessageBounds,
) -> Result<(), CallError> {
    let named = Table::of(headers);
    let replaced = fields.iter().filter(|(name, _)| named.place(name).is_some());
    let (count, size) = replaced
        .fold((0, 0), |(count, size), (name, value)| (count + 1, size + name.len() + value.len()));
    let added = headers.len().saturating_sub(count);
    let most = bounds.head_fields_max;
    if added > most {
        return Err(CallError::bad_output(format!(
            "the output adds {added} headers, limit is {most} (server.limits.headFieldsMax)"
        )));
    }
    let added = bytes.saturating_sub(size);
    let most = bounds.head_bytes_max;
    if added > most {
        return Err(CallError::bad_output(format!(
            "headers of the output are {added} bytes more, limit is {most} \
             (server.limits.headBytesMax)"
        )));
    }
    let (will, most) = (fields.len() - count + headers.len(), limits::PLUGIN_HEAD_FIELDS_MAX);
    if will > most {
        return Err(CallError::bad_output(format!(
            "the head would have {will} headers, limit is {most}"
        )));
    }
    Ok(())
}

/// A value without the white space around it, which belongs to no value.
fn trimmed<'t>(value: &'t Text<'_>) -> &'t str {
    value.0.trim_matches([' ', '\t'])
}

/// Makes the values of each name those of the output (none: the field is removed). What is there
/// already stays as it is, bytes and all: a plugin that hands back what it was given changes
/// nothing, not even a value that it was given lossily.
pub(super) fn set_headers(headers: &Headers<'_>, fields: &mut Fields, except: Option<&str>) {
    if headers.names() > limits::PLUGIN_HEADERS_HELD_EACH {
        return set_many(headers, fields, except);
    }
    for (name, values) in headers.iter() {
        if except.is_some_and(|except| name.eq_ignore_ascii_case(except)) {
            continue;
        }
        if is_unchanged(fields.get_all(name), values) {
            continue;
        }
        fields.remove(name.as_bytes());
        for value in values {
            fields.push(name.as_bytes(), trimmed(value).as_bytes());
        }
    }
}

fn is_unchanged<'f>(mut have: impl Iterator<Item = &'f [u8]>, values: &[Text<'_>]) -> bool {
    let mut wanted = values.iter().map(trimmed);
    have.all(|have| wanted.next().is_some_and(|wanted| String::from_utf8_lossy(have) == wanted))
        && wanted.next().is_none()
}

/// As [`set_headers`], one pass over the fields for all names.
fn set_many(headers: &Headers<'_>, fields: &mut Fields, except: Option<&str>) {
    let named = Table::of(headers);
    let all: Vec<_> = headers.iter().collect();
    let mut have: Vec<Vec<&[u8]>> = vec![Vec::new(); all.len()];
    for (name, value) in fields.iter() {
        if let Some(place) = named.place(name) {
            have[place].push(value);
        }
    }
    let is_set: Vec<bool> = all
        .iter()
        .zip(&have)
        .enumerate()
        .map(|(place, ((name, values), have))| {
            // Of a name that stands there twice, the last one counts.
            named.place(name.as_bytes()) == Some(place)
                && !except.is_some_and(|except| name.eq_ignore_ascii_case(except))
                && !is_unchanged(have.iter().copied(), values)
        })
        .collect();
    fields.retain(|name, _| !named.place(name).is_some_and(|place| is_set[place]));
    for ((name, values), _) in all.iter().zip(&is_set).filter(|(_, is_set)| **is_set) {
        for value in *values {
            fields.push(name.as_bytes(), trimmed(value).as_bytes());
        }
    }
}

/// Which of many headers a name is, in any letter case.
struct Table(HashMap<Vec<u8>, usize, ahash::RandomState>);

impl Table {
    fn of(headers: &Headers<'_>) -> Self {
        let names = headers.iter().enumerate();
        Self(names.map(|(place, (name, _))| (lower(name.as_bytes()), place)).collect())
    }

    fn place(&self, name: &[u8]) -> Option<usize> {
        self.0.get(&lower(name)).copied()
    }
}

fn lower(name: &[u8]) -> Vec<u8> {
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::json_abi::output;

    #[test]
    fn many_headers_are_set_as_few_are() {
        let few: String = (0..60)
            .map(|n| format!(r#""X-{n}":{},"#, ["[]", r#""1""#, r#"["1","2"]"#][n % 3]))
            .collect();
        let more: String = (0..30).map(|n| format!(r#""x-none-{n}":[],"#)).collect();
        let text = |middle: &str| {
            let headers = format!(r#"{few}{middle}"Host":"h","x-4":" 4 ","X-4":"5""#);
            format!(r#"{{"response":{{"headers":{{{headers}}}}}}}"#)
        };
        let set = |text: &str| {
            let mut fields = Fields::new();
            for n in 0..80 {
                fields.push(format!("x-{}", n % 40).as_bytes(), format!("{}", n % 3).as_bytes());
            }
            let output = output::parse(text.as_bytes()).unwrap();
            let headers = output.response.unwrap().headers.unwrap();
            set_headers(&headers, &mut fields, Some("host"));
            let mut lines = Vec::new();
            fields.write_lines(&mut lines);
            (headers.names(), String::from_utf8(lines).unwrap())
        };
        let (one, other) = (set(&text("")), set(&text(&more)));
        assert!(one.0 <= limits::PLUGIN_HEADERS_HELD_EACH);
        assert!(other.0 > limits::PLUGIN_HEADERS_HELD_EACH);
        assert_eq!(one.1, other.1);
        assert!(one.1.contains("X-4: 5\r\n") && !one.1.contains("x-4: 4"), "{}", one.1);
    }
}
