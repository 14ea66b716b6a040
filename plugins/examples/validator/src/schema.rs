//! A JSON Schema (draft 2020-12), compiled: each keyword a value that can be checked without
//! looking at the schema's JSON again.
//!
//! All assertions and applicators of the drafts 7 to 2020-12 that concern one document are known,
//! but for `unevaluatedProperties` and `unevaluatedItems`; references stay within the schema (`#`,
//! `#/$defs/name`, `#anchor`, the schema's own `$id`). A keyword that is not known is refused when
//! strict and left out otherwise, except those that can't be left out without letting pass what
//! should not: these are always refused.

mod part;

use std::collections::HashMap;

use odin_plugin::Error;
use regex_lite::Regex;
use serde_json::{Map, Value};

use crate::format::Format;
use part::Part;

/// Schemas nested deeper than this are refused; they are compiled recursively.
const DEPTH_MAX: usize = 128;

/// Keywords that say something about the schema and assert nothing.
const ANNOTATIONS: &[&str] = &[
    "$schema",
    "$id",
    "id",
    "$anchor",
    "$comment",
    "$defs",
    "definitions",
    "$vocabulary",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "then",
    "else",
    "minContains",
    "maxContains",
    "additionalItems",
];

/// Keywords that would be silently wrong if they were left out.
const NOT_SUPPORTED: &[&str] =
    &["unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef"];

/// A place in the list of compiled schemas.
pub(crate) type Index = usize;

/// A compiled schema: the list of all its subschemas; the first is the whole.
pub(crate) struct Schema {
    pub(crate) nodes: Vec<Node>,
}

/// One subschema.
pub(crate) enum Node {
    /// `true` or `false`.
    Always(bool),
    /// All keywords must be met.
    Keywords(Vec<Keyword>),
}

/// A JSON type; every whole number is an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Null,
    Boolean,
    Object,
    Array,
    Number,
    Integer,
    String,
}

impl Type {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "object" => Self::Object,
            "array" => Self::Array,
            "number" => Self::Number,
            "integer" => Self::Integer,
            "string" => Self::String,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Array => "array",
            Self::Number => "number",
            Self::Integer => "integer",
            Self::String => "string",
        }
    }
}

/// An assertion or an applicator, named as in the specification.
pub(crate) enum Keyword {
    Type(Vec<Type>),
    Enum(Vec<Value>),
    Const(Value),
    Minimum(f64),
    Maximum(f64),
    ExclusiveMinimum(f64),
    ExclusiveMaximum(f64),
    MultipleOf(f64),
    MinLength(usize),
    MaxLength(usize),
    Pattern(Regex),
    Format(Format),
    MinItems(usize),
    MaxItems(usize),
    UniqueItems,
    PrefixItems(Vec<Index>),
    /// From this place on.
    Items(usize, Index),
    Contains {
        schema: Index,
        min: usize,
        max: usize,
    },
    Required(Vec<String>),
    MinProperties(usize),
    MaxProperties(usize),
    PropertyNames(Index),
    /// `properties`, `patternProperties` and `additionalProperties`, which know of each other.
    Properties(Box<Properties>),
    DependentRequired(Vec<(String, Vec<String>)>),
    DependentSchemas(Vec<(String, Index)>),
    AllOf(Vec<Index>),
    AnyOf(Vec<Index>),
    OneOf(Vec<Index>),
    Not(Index),
    If {
        condition: Index,
        then: Option<Index>,
        otherwise: Option<Index>,
    },
    Reference(Index),
}

/// What is said of an object's properties.
pub(crate) struct Properties {
    pub(crate) named: Vec<(String, Index)>,
    pub(crate) patterns: Vec<(Regex, Index)>,
    pub(crate) additional: Option<Index>,
}

impl Schema {
    /// Compiles a schema.
    pub(crate) fn compile(schema: &Value, strict: bool) -> Result<Self, Error> {
        let mut compiler =
            Compiler { root: schema, strict, nodes: Vec::new(), compiled: HashMap::new() };
        compiler.compile(schema, "#", 0)?;
        Ok(Self { nodes: compiler.nodes })
    }
}

struct Compiler<'s> {
    root: &'s Value,
    strict: bool,
    nodes: Vec<Node>,
    /// Subschemas by their address, so that a reference to one that is being compiled, or has been,
    /// finds it: schemas may refer to themselves.
    compiled: HashMap<*const Value, Index>,
}

impl<'s> Compiler<'s> {
    /// `place` names the subschema in errors.
    fn compile(&mut self, schema: &'s Value, place: &str, depth: usize) -> Result<Index, Error> {
        if let Some(&index) = self.compiled.get(&std::ptr::from_ref(schema)) {
            return Ok(index);
        }
        if depth > DEPTH_MAX {
            return Err(Error::new(format!("schema: {place}: nested deeper than {DEPTH_MAX}")));
        }
        let index = self.nodes.len();
        self.compiled.insert(schema, index);
        self.nodes.push(Node::Always(true));
        self.nodes[index] = match schema {
            Value::Bool(always) => Node::Always(*always),
            Value::Object(object) => Node::Keywords(self.keywords(object, place, depth)?),
            other => {
                return Err(Error::new(format!("schema: {place}: {other} is no schema")));
            }
        };
        Ok(index)
    }

    fn keywords(
        &mut self,
        object: &'s Map<String, Value>,
        place: &str,
        depth: usize,
    ) -> Result<Vec<Keyword>, Error> {
        let mut keywords = Vec::new();
        for (name, value) in object {
            let at = format!("{place}/{name}");
            let one = Part { object, value, at: &at, depth: depth + 1 };
            match self.keyword(name, &one)? {
                Some(keyword) => keywords.push(keyword),
                None if NOT_SUPPORTED.contains(&&**name) => {
                    return Err(Error::new(format!("schema: {at}: this keyword is not supported")));
                }
                None if self.strict && !ANNOTATIONS.contains(&&**name) && !is_part_of(name) => {
                    return Err(Error::new(format!(
                        "schema: {at}: this keyword is unknown (strict: false leaves it out)"
                    )));
                }
                None => {}
            }
        }
        if let Some(properties) = self.properties(object, place, depth + 1)? {
            keywords.push(properties);
        }
        Ok(keywords)
    }

    fn keyword(&mut self, name: &str, part: &Part<'_, 's>) -> Result<Option<Keyword>, Error> {
        Ok(Some(match name {
            "type" => Keyword::Type(part.types()?),
            "enum" => Keyword::Enum(part.array()?.clone()),
            "const" => Keyword::Const(part.value.clone()),
            "minimum" => Keyword::Minimum(part.number()?),
            "maximum" => Keyword::Maximum(part.number()?),
            "exclusiveMinimum" => Keyword::ExclusiveMinimum(part.number()?),
            "exclusiveMaximum" => Keyword::ExclusiveMaximum(part.number()?),
            "multipleOf" => Keyword::MultipleOf(part.positive()?),
            "minLength" => Keyword::MinLength(part.count()?),
            "maxLength" => Keyword::MaxLength(part.count()?),
            "pattern" => Keyword::Pattern(part.regex(part.text()?)?),
            "format" => return Ok(Format::named(part.text()?).map(Keyword::Format)),
            "minItems" => Keyword::MinItems(part.count()?),
            "maxItems" => Keyword::MaxItems(part.count()?),
            "uniqueItems" if part.value == &Value::Bool(true) => Keyword::UniqueItems,
            "required" => Keyword::Required(part.texts()?),
            "minProperties" => Keyword::MinProperties(part.count()?),
            "maxProperties" => Keyword::MaxProperties(part.count()?),
            "dependentRequired" => {
                let entries = part.entries()?.map(|(name, at)| Ok((name.clone(), at.texts()?)));
                Keyword::DependentRequired(entries.collect::<Result<_, Error>>()?)
            }
            _ => return self.applicator(name, part),
        }))
    }

    /// Keywords that hold schemas.
    fn applicator(&mut self, name: &str, part: &Part<'_, 's>) -> Result<Option<Keyword>, Error> {
        Ok(Some(match name {
            "prefixItems" => Keyword::PrefixItems(self.list(part)?),
            // Before 2020-12 a list of schemas was called `items`, and the rest `additionalItems`.
            "items" if part.value.is_array() => Keyword::AllOf(vec![self.tuple(part)?]),
            "items" => {
                let prefix = part.object.get("prefixItems").and_then(Value::as_array);
                Keyword::Items(prefix.map_or(0, Vec::len), self.one(part)?)
            }
            "contains" => Keyword::Contains {
                schema: self.one(part)?,
                min: part.sibling_count("minContains")?.unwrap_or(1),
                max: part.sibling_count("maxContains")?.unwrap_or(usize::MAX),
            },
            "propertyNames" => Keyword::PropertyNames(self.one(part)?),
            "dependentSchemas" => Keyword::DependentSchemas(self.map(part)?),
            "dependencies" => Keyword::AllOf(vec![self.dependencies(part)?]),
            "allOf" => Keyword::AllOf(self.list(part)?),
            "anyOf" => Keyword::AnyOf(self.list(part)?),
            "oneOf" => Keyword::OneOf(self.list(part)?),
            "not" => Keyword::Not(self.one(part)?),
            "if" => Keyword::If {
                condition: self.one(part)?,
                then: self.sibling(part, "then")?,
                otherwise: self.sibling(part, "else")?,
            },
            "$ref" => Keyword::Reference(self.reference(part)?),
            _ => return Ok(None),
        }))
    }

    fn one(&mut self, part: &Part<'_, 's>) -> Result<Index, Error> {
        self.compile(part.value, part.at, part.depth)
    }

    fn list(&mut self, part: &Part<'_, 's>) -> Result<Vec<Index>, Error> {
        let schemas = part.array()?.iter().enumerate();
        schemas
            .map(|(n, schema)| self.compile(schema, &format!("{}/{n}", part.at), part.depth))
            .collect()
    }

    fn map(&mut self, part: &Part<'_, 's>) -> Result<Vec<(String, Index)>, Error> {
        let Value::Object(object) = part.value else {
            return Err(part.wrong("an object"));
        };
        let schemas = object.iter().map(|(name, schema)| {
            let at = format!("{}/{name}", part.at);
            Ok((name.clone(), self.compile(schema, &at, part.depth)?))
        });
        schemas.collect()
    }

    fn sibling(&mut self, part: &Part<'_, 's>, name: &str) -> Result<Option<Index>, Error> {
        let Some(schema) = part.object.get(name) else {
            return Ok(None);
        };
        let at = format!("{} ({name})", part.at);
        self.compile(schema, &at, part.depth).map(Some)
    }

    fn node(&mut self, keywords: Vec<Keyword>) -> Index {
        self.nodes.push(Node::Keywords(keywords));
        self.nodes.len() - 1
    }

    fn tuple(&mut self, part: &Part<'_, 's>) -> Result<Index, Error> {
        let prefix = self.list(part)?;
        let rest = self.sibling(part, "additionalItems")?;
        let after = prefix.len();
        let mut keywords = vec![Keyword::PrefixItems(prefix)];
        keywords.extend(rest.map(|schema| Keyword::Items(after, schema)));
        Ok(self.node(keywords))
    }

    /// Draft 7's `dependencies`, which became two keywords.
    fn dependencies(&mut self, part: &Part<'_, 's>) -> Result<Index, Error> {
        let (mut required, mut schemas) = (Vec::new(), Vec::new());
        for (name, dependency) in part.entries()? {
            match dependency.value {
                Value::Array(_) => required.push((name.clone(), dependency.texts()?)),
                schema => {
                    let index = self.compile(schema, part.at, part.depth)?;
                    schemas.push((name.clone(), index));
                }
            }
        }
        let keywords =
            vec![Keyword::DependentRequired(required), Keyword::DependentSchemas(schemas)];
        Ok(self.node(keywords))
    }

    fn properties(
        &mut self,
        object: &'s Map<String, Value>,
        place: &str,
        depth: usize,
    ) -> Result<Option<Keyword>, Error> {
        let part = |name: &'static str| object.get(name).map(|value| (name, value));
        let mut properties =
            Properties { named: Vec::new(), patterns: Vec::new(), additional: None };
        if let Some((name, value)) = part("properties") {
            let at = format!("{place}/{name}");
            properties.named = self.map(&Part { object, value, at: &at, depth })?;
        }
        if let Some((name, value)) = part("patternProperties") {
            let at = format!("{place}/{name}");
            let part = Part { object, value, at: &at, depth };
            for (pattern, index) in self.map(&part)? {
                properties.patterns.push((part.regex(&pattern)?, index));
            }
        }
        if let Some((name, value)) = part("additionalProperties") {
            let at = format!("{place}/{name}");
            properties.additional = Some(self.compile(value, &at, depth)?);
        } else if self.strict && part("properties").is_some() {
            self.nodes.push(Node::Always(false));
            properties.additional = Some(self.nodes.len() - 1);
        }
        let is_empty = properties.named.is_empty()
            && properties.patterns.is_empty()
            && properties.additional.is_none();
        Ok((!is_empty).then(|| Keyword::Properties(Box::new(properties))))
    }

    /// The subschema that a `$ref` points to.
    fn reference(&mut self, part: &Part<'_, 's>) -> Result<Index, Error> {
        let text = part.text()?;
        let id = self.root.get("$id").and_then(Value::as_str);
        let own = id.and_then(|id| text.strip_prefix(id.trim_end_matches('#'))).unwrap_or(text);
        let Some(fragment) = own.strip_prefix('#').or(own.is_empty().then_some("")) else {
            return Err(Error::new(format!(
                "schema: {}: {text} is not in this schema; references stay within it",
                part.at
            )));
        };
        let target = match fragment {
            "" => Some(self.root),
            path if path.starts_with('/') => self.root.pointer(&percent_decoded(path)),
            anchor => find_anchor(self.root, anchor, 0),
        };
        let missing = || Error::new(format!("schema: {}: there is no {text}", part.at));
        self.compile(target.ok_or_else(missing)?, text, part.depth)
    }
}

/// Keywords that are compiled together with others.
fn is_part_of(name: &str) -> bool {
    ["properties", "patternProperties", "additionalProperties", "uniqueItems", "format"]
        .contains(&name)
}

fn find_anchor<'s>(schema: &'s Value, anchor: &str, depth: usize) -> Option<&'s Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    match schema {
        Value::Object(object) if object.get("$anchor").is_some_and(|name| name == anchor) => {
            Some(schema)
        }
        Value::Object(object) => {
            object.values().find_map(|value| find_anchor(value, anchor, depth + 1))
        }
        Value::Array(values) => {
            values.iter().find_map(|value| find_anchor(value, anchor, depth + 1))
        }
        _ => None,
    }
}

/// A URI fragment's text (RFC 6901 section 6).
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = match (first, tail) {
            (b'%', [high, low, ..]) => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|hex| u8::from_str_radix(hex, 16).ok()),
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = &tail[if code.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
