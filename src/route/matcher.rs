//! What a request must have beside its host and path, to be of a service: a method, header fields,
//! cookies, parameters of the query.

use regex::bytes::Regex;

use crate::http::cookie::cookie;
use crate::http::message::{Method, RequestHead};
use crate::limits::QUERY_PARAMETERS_MAX;

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    /// One of these; none: any method.
    pub methods: Vec<Method>,
    /// All of these, of header fields.
    pub fields: Vec<Condition>,
    /// All of these, of cookies.
    pub cookies: Vec<Condition>,
    /// All of these, of parameters of the query.
    pub query: Vec<Condition>,
}

/// What a named value must be.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Whose value. Names of fields have no case.
    pub name: String,
    /// What it must be.
    pub test: Test,
}

/// What a value must be.
#[derive(Debug, Clone)]
pub enum Test {
    /// This.
    Is(String),
    /// Something in which this is found.
    Has(Regex),
    /// Anything: that it is there is enough.
    IsThere,
}

impl Test {
    fn passes(&self, value: &[u8]) -> bool {
        match self {
            Self::Is(expected) => value == expected.as_bytes(),
            Self::Has(pattern) => pattern.is_match(value),
            Self::IsThere => true,
        }
    }
}

impl Condition {
    /// A condition on what has this name.
    pub fn new(name: &str, test: Test) -> Self {
        Self { name: name.to_owned(), test }
    }
}

impl Matcher {
    /// How much it says: of two that a request fits, the greater one is the better.
    pub fn rank(&self) -> (bool, usize, usize) {
        (!self.methods.is_empty(), self.fields.len() + self.cookies.len(), self.query.len())
    }

    /// Whether a request has all of it.
    pub fn fits(&self, request: &RequestHead) -> bool {
        (self.methods.is_empty() || self.methods.contains(&request.method))
            && (self.is_of_the_line() || self.holds(request))
    }

    /// Whether nothing but the request's first line counts, and not its query.
    fn is_of_the_line(&self) -> bool {
        self.fields.is_empty() && self.cookies.is_empty() && self.query.is_empty()
    }

    fn holds(&self, request: &RequestHead) -> bool {
        // Any of several values: who sends two means both.
        let has_field =
            |one: &Condition| request.fields.get_all(&one.name).any(|value| one.test.passes(value));
        let has_parameter = |one: &Condition| {
            parameters(&request.query).any(|(name, value)| {
                decoded(name) == one.name.as_bytes() && one.test.passes(&decoded(value))
            })
        };
        let has_cookie = |one: &Condition| {
            let value = cookie(request.fields.get_all("cookie"), one.name.as_bytes());
            value.is_some_and(|value| one.test.passes(value))
        };
        self.fields.iter().all(has_field)
            && self.cookies.iter().all(has_cookie)
            && self.query.iter().all(has_parameter)
    }
}

/// The parameters of a query (with its `?`), as they are written.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = query.strip_prefix('?').unwrap_or(query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).take(QUERY_PARAMETERS_MAX);
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// What a part of a query stands for: escapes and `+` undone, as forms write them.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let hexadecimal = || {
            let mut ahead = bytes.clone();
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            Some((digit(ahead.next())? << 4 | digit(ahead.next())?) as u8)
        };
        match byte {
            b'+' => plain.push(b' '),
            b'%' => match hexadecimal() {
                Some(escaped) => {
                    plain.push(escaped);
                    bytes.nth(1);
                }
                None => plain.push(byte),
            },
            _ => plain.push(byte),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_forms_write_them() {
        for (text, plain) in [("a+b", "a b"), ("%41%2b", "A+"), ("100%", "100%"), ("%4", "%4")] {
            assert_eq!(decoded(text), plain.as_bytes(), "{text}");
        }
        let all: Vec<_> = parameters("?a=1&&b&c=x=y").collect();
        assert_eq!(all, [("a", "1"), ("b", ""), ("c", "x=y")]);
        assert_eq!(parameters("").count(), 0);
    }
}
