//! Applies a compiled schema to an instance, and tells what is wrong, each mistake with its place
//! (a JSON pointer, RFC 6901).

use serde_json::{Map, Value};

use crate::schema::{Index, Keyword, Node, Properties, Schema, Type};

/// References that lead through each other without taking the instance apart are followed to this
/// depth; a schema that needs more refers to itself without end.
const DEPTH_MAX: usize = 256;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) at: String,
    pub(crate) text: String,
}

impl Mistake {
    pub(crate) fn new(at: impl Into<String>, text: impl Into<String>) -> Self {
        Self { at: at.into(), text: text.into() }
    }
}

impl Schema {
    /// What is wrong with an instance; not more than `max` mistakes.
    pub(crate) fn check(&self, instance: &Value, max: usize) -> Vec<Mistake> {
        let mut check =
            Check { schema: self, max, mistakes: Vec::new(), at: String::new(), depth: 0 };
        check.node(0, instance);
        check.mistakes
    }
}

struct Check<'s> {
    schema: &'s Schema,
    max: usize,
    mistakes: Vec<Mistake>,
    /// Where in the instance this check is.
    at: String,
    depth: usize,
}

impl<'s> Check<'s> {
    fn is_full(&self) -> bool {
        self.mistakes.len() >= self.max
    }

    fn mistake(&mut self, text: impl Into<String>) {
        if !self.is_full() {
            self.mistakes.push(Mistake::new(self.at.clone(), text));
        }
    }

    fn expect(&mut self, is_met: bool, text: impl FnOnce() -> String) {
        if !is_met {
            self.mistake(text());
        }
    }

    /// Whether an instance is valid, without telling why not.
    fn is_valid(&self, index: Index, instance: &Value) -> bool {
        let mut check = Check {
            schema: self.schema,
            max: 1,
            mistakes: Vec::new(),
            at: String::new(),
            depth: self.depth,
        };
        check.node(index, instance);
        check.mistakes.is_empty()
    }

    fn node(&mut self, index: Index, instance: &Value) {
        if self.depth >= DEPTH_MAX {
            self.mistake("nested too deeply");
            return;
        }
        self.depth += 1;
        let schema = self.schema;
        match &schema.nodes[index] {
            Node::Always(true) => {}
            Node::Always(false) => self.mistake("nothing is allowed here"),
            Node::Keywords(keywords) => {
                for keyword in keywords {
                    if self.is_full() {
                        break;
                    }
                    self.keyword(keyword, instance);
                }
            }
        }
        self.depth -= 1;
    }

    /// Checks a part of the instance under its name.
    fn part(&mut self, index: Index, name: &str, instance: &Value) {
        let before = self.at.len();
        self.at.push('/');
        self.at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        self.node(index, instance);
        self.at.truncate(before);
    }

    fn keyword(&mut self, keyword: &'s Keyword, instance: &Value) {
        match keyword {
            Keyword::Type(types) => {
                let is_met = types.iter().any(|one| is_of(*one, instance));
                self.expect(is_met, || {
                    let names: Vec<_> = types.iter().map(|one| one.name()).collect();
                    format!("is {}, must be {}", kind(instance), names.join(" or "))
                });
            }
            Keyword::Enum(values) => {
                let is_met = values.iter().any(|value| is_equal(value, instance));
                self.expect(is_met, || {
                    let known: Vec<_> = values.iter().take(10).map(Value::to_string).collect();
                    format!("must be one of {}", known.join(", "))
                });
            }
            Keyword::Const(value) => {
                self.expect(is_equal(value, instance), || format!("must be {value}"));
            }
            Keyword::AllOf(_)
            | Keyword::AnyOf(_)
            | Keyword::OneOf(_)
            | Keyword::Not(_)
            | Keyword::If { .. }
            | Keyword::Reference(_) => self.applicator(keyword, instance),
            _ => match instance {
                Value::Number(number) => self.number(keyword, number.as_f64().unwrap_or(f64::NAN)),
                Value::String(text) => self.string(keyword, text),
                Value::Array(items) => self.array(keyword, items),
                Value::Object(object) => self.object(keyword, object, instance),
                Value::Null | Value::Bool(_) => {}
            },
        }
    }

    fn applicator(&mut self, keyword: &'s Keyword, instance: &Value) {
        match keyword {
            Keyword::AllOf(all) => all.iter().for_each(|index| self.node(*index, instance)),
            Keyword::AnyOf(any) => {
                let is_met = any.iter().any(|index| self.is_valid(*index, instance));
                self.expect(is_met, || "fits none of the schemas of anyOf".to_owned());
            }
            Keyword::OneOf(one) => {
                let fitting = one.iter().filter(|index| self.is_valid(**index, instance)).count();
                self.expect(fitting == 1, || {
                    format!("fits {fitting} of the schemas of oneOf, must fit exactly 1")
                });
            }
            Keyword::Not(index) => {
                let is_met = !self.is_valid(*index, instance);
                self.expect(is_met, || "fits the schema of not".to_owned());
            }
            Keyword::If { condition, then, otherwise } => {
                let branch = if self.is_valid(*condition, instance) { then } else { otherwise };
                if let Some(index) = branch {
                    self.node(*index, instance);
                }
            }
            Keyword::Reference(index) => self.node(*index, instance),
            _ => {}
        }
    }

    fn number(&mut self, keyword: &Keyword, number: f64) {
        match keyword {
            Keyword::Minimum(min) => {
                self.expect(number >= *min, || format!("is {number}, must be at least {min}"));
            }
            Keyword::Maximum(max) => {
                self.expect(number <= *max, || format!("is {number}, must be at most {max}"));
            }
            Keyword::ExclusiveMinimum(min) => {
                self.expect(number > *min, || format!("is {number}, must be above {min}"));
            }
            Keyword::ExclusiveMaximum(max) => {
                self.expect(number < *max, || format!("is {number}, must be below {max}"));
            }
            Keyword::MultipleOf(of) => {
                self.expect(is_multiple(number, *of), || {
                    format!("is {number}, must be a multiple of {of}")
                });
            }
            _ => {}
        }
    }

    fn string(&mut self, keyword: &Keyword, text: &str) {
        let length = || text.chars().count();
        match keyword {
            Keyword::MinLength(min) => {
                self.expect(length() >= *min, || {
                    format!("has {} characters, must have at least {min}", length())
                });
            }
            Keyword::MaxLength(max) => {
                self.expect(length() <= *max, || {
                    format!("has {} characters, must have at most {max}", length())
                });
            }
            Keyword::Pattern(regex) => {
                self.expect(regex.is_match(text), || format!("must match {}", regex.as_str()));
            }
            Keyword::Format(format) => {
                self.expect(format.is_met(text), || format!("must be a {}", format.name()));
            }
            _ => {}
        }
    }

    fn array(&mut self, keyword: &Keyword, items: &[Value]) {
        let count = items.len();
        match keyword {
            Keyword::MinItems(min) => {
                self.expect(count >= *min, || {
                    format!("has {count} items, must have at least {min}")
                });
            }
            Keyword::MaxItems(max) => {
                self.expect(count <= *max, || {
                    format!("has {count} items, must have at most {max}")
                });
            }
            Keyword::UniqueItems => {
                self.expect(is_unique(items), || "has equal items, all must differ".to_owned());
            }
            Keyword::PrefixItems(schemas) => {
                for (n, (index, item)) in schemas.iter().zip(items).enumerate() {
                    self.part(*index, &n.to_string(), item);
                }
            }
            Keyword::Items(after, index) => {
                for (n, item) in items.iter().enumerate().skip(*after) {
                    if self.is_full() {
                        break;
                    }
                    self.part(*index, &n.to_string(), item);
                }
            }
            Keyword::Contains { schema, min, max } => {
                let found = items.iter().filter(|item| self.is_valid(*schema, item)).count();
                self.expect(found >= *min && found <= *max, || {
                    let most =
                        if *max == usize::MAX { String::new() } else { format!(" to {max}") };
                    format!("has {found} items that fit contains, must have {min}{most}")
                });
            }
            _ => {}
        }
    }

    fn object(&mut self, keyword: &'s Keyword, object: &Map<String, Value>, instance: &Value) {
        let count = object.len();
        match keyword {
            Keyword::Required(names) => {
                for name in names.iter().filter(|name| !object.contains_key(*name)) {
                    self.mistake(format!("{name} is missing"));
                }
            }
            Keyword::MinProperties(min) => {
                self.expect(count >= *min, || {
                    format!("has {count} properties, must have {min} or more")
                });
            }
            Keyword::MaxProperties(max) => {
                self.expect(count <= *max, || {
                    format!("has {count} properties, must have {max} or fewer")
                });
            }
            Keyword::PropertyNames(index) => {
                for name in object.keys() {
                    if !self.is_valid(*index, &Value::String(name.clone())) {
                        self.mistake(format!("{name} is not allowed as a name"));
                    }
                }
            }
            Keyword::Properties(properties) => self.properties(properties, object),
            Keyword::DependentRequired(dependencies) => {
                let present = dependencies.iter().filter(|(name, _)| object.contains_key(name));
                for (name, needed) in present {
                    for missing in needed.iter().filter(|needed| !object.contains_key(*needed)) {
                        self.mistake(format!("{missing} is missing, needed with {name}"));
                    }
                }
            }
            Keyword::DependentSchemas(dependencies) => {
                for (_, index) in dependencies.iter().filter(|(name, _)| object.contains_key(name))
                {
                    self.node(*index, instance);
                }
            }
            _ => {}
        }
    }

    fn properties(&mut self, properties: &Properties, object: &Map<String, Value>) {
        for (name, value) in object {
            if self.is_full() {
                return;
            }
            let mut is_known = false;
            for (_, index) in properties.named.iter().filter(|(known, _)| known == name) {
                is_known = true;
                self.part(*index, name, value);
            }
            for (_, index) in properties.patterns.iter().filter(|(regex, _)| regex.is_match(name)) {
                is_known = true;
                self.part(*index, name, value);
            }
            match properties.additional {
                Some(index) if !is_known => self.additional(index, name, value),
                Some(_) | None => {}
            }
        }
    }

    fn additional(&mut self, index: Index, name: &str, value: &Value) {
        if matches!(self.schema.nodes[index], Node::Always(false)) {
            self.mistake(format!("{name} is not allowed"));
        } else {
            self.part(index, name, value);
        }
    }
}

fn is_of(one: Type, instance: &Value) -> bool {
    match (one, instance) {
        (Type::Null, Value::Null)
        | (Type::Boolean, Value::Bool(_))
        | (Type::Object, Value::Object(_))
        | (Type::Array, Value::Array(_))
        | (Type::Number, Value::Number(_))
        | (Type::String, Value::String(_)) => true,
        (Type::Integer, Value::Number(number)) => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|n| n.fract() == 0.0)
        }
        _ => false,
    }
}

fn kind(instance: &Value) -> &'static str {
    match instance {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Equality as JSON Schema has it: 1 and 1.0 are the same number, the order of properties is
/// nothing.
fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let is_in_b =
                |(name, a): (&String, &Value)| b.get(name).is_some_and(|b| is_equal(a, b));
            a.len() == b.len() && a.iter().all(is_in_b)
        }
        _ => one == other,
    }
}

/// Compares each pair only among items that print alike, so that a long list is no way to keep the
/// plugin busy: equal values have equal canonical texts.
fn is_unique(items: &[Value]) -> bool {
    let mut seen = std::collections::HashSet::new();
    items.iter().all(|item| seen.insert(canonical(item)))
}

fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) => number.as_f64().map_or(number.to_string(), |n| n.to_string()),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(object) => {
            let mut entries: Vec<_> = object
                .iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)))
                .collect();
            entries.sort_unstable();
            format!("{{{}}}", entries.join(","))
        }
        other => other.to_string(),
    }
}

/// Multiples of decimal fractions (0.01) are such in binary only up to rounding.
fn is_multiple(number: f64, of: f64) -> bool {
    let quotient = number / of;
    quotient.is_finite() && (quotient - quotient.round()).abs() <= quotient.abs().max(1.0) * 1e-12
}
