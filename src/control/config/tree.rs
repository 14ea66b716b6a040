//! YAML text to a tree of located nodes: syntax, variables, aliases and sizes are dealt with
//! here, meaning is not.
//!
//! The tree keeps scalars as text and how they were written, because only the decoder of a key
//! knows whether `1.10` is a name or a number. Aliases share their node, so the tree takes no more
//! memory than its text; what it would take written out is counted and bounded, because decoders
//! walk it like that.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::Place;
use super::errors::Errors;
use super::expand::{Env, FILE, expand, mask, of_file, unmask};
use crate::limits;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
    size: Size,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
    /// A scalar with an error that has been reported: nothing more is to be said of it.
    Broken,
}

/// A scalar as text, variables filled in.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) written: Written,
    /// The text before its variables were filled in, if it has any.
    pub(super) source: Option<Box<str>>,
}

/// How a scalar was written, which says what it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Bare, or tagged as a number, boolean or null: it is what it looks like.
    Plain,
    /// In quotes, as a block, or tagged `!!str`: a string.
    Quoted,
    /// With a variable in it: a string, but a number where only a number can stand.
    Expanded,
}

/// A key with its value; keys of a map are different.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// The key's place.
    pub(super) place: Place,
    pub(super) node: Rc<Node>,
}

/// The key that takes over the entries of other maps (YAML 1.1's merge key).
const MERGE: &str = "<<";

/// What a node weighs with all aliases in it written out.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

impl Size {
    fn of_scalar(text: &str) -> Self {
        Self { nodes: 1, bytes: text.len(), depth: 0 }
    }

    /// Grows by a child. Saturates: the bounds are far below.
    fn add(&mut self, child: Self) {
        self.nodes = self.nodes.saturating_add(child.nodes);
        self.bytes = self.bytes.saturating_add(child.bytes);
        self.depth = self.depth.max(child.depth + 1);
    }
}

/// Reads `text`; `None` for one without content, or if an error leaves no tree. Errors that leave
/// one (an unset variable, a key twice) are reported and the rest is read.
///
/// Without an environment, `${NAME}` is a text like any other.
pub(super) fn read(text: &str, env: Option<Env<'_>>, errors: &mut Errors) -> Option<Rc<Node>> {
    read_with(text, env, Unset::Refuse, errors)
}

/// What a variable without a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unset {
    /// An error.
    Refuse,
    /// A value that is not known here: what needs it is left out ([`Errors::unset`]).
    Leave,
}

/// The same, where a variable need not be set.
pub(super) fn read_with(
    text: &str,
    env: Option<Env<'_>>,
    unset: Unset,
    errors: &mut Errors,
) -> Option<Rc<Node>> {
    let masked = env.and_then(|_| mask(text));
    let mut builder = Builder {
        env,
        unset,
        is_masked: masked.is_some(),
        errors,
        open: Vec::new(),
        anchors: HashMap::new(),
        total: Size::default(),
        root: None,
        is_ended: false,
    };
    // One level more than ours, so that it is our error that users see.
    let depth_max = limits::CONFIG_DEPTH_MAX + 1;
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_comments: false,
        flow_nesting_limit: depth_max,
        block_nesting_limit: depth_max,
    };
    let text = masked.as_deref().unwrap_or(text);
    for event in Parser::new_from_str_with_options(text, options) {
        let (place, result) = match event {
            Ok((event, span)) => (place_of(span), builder.take(event, place_of(span))),
            Err(error) => {
                let (line, column) = (error.marker().line(), error.marker().col() + 1);
                let reason = error.kind().to_string().replace('\n', " ");
                (Place { line, column }, Err(format!("not YAML: {reason}")))
            }
        };
        if let Err(text) = result {
            builder.errors.push(place, text);
            return None;
        }
    }
    builder.root
}

fn place_of(span: Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

/// A list or map whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    size: Size,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Rc<Node>>),
    Map(OpenMap),
}

#[derive(Default)]
struct OpenMap {
    entries: Vec<Entry>,
    seen: HashMap<String, Place>,
    /// The key that waits for its value; `Some(None)` for one that has been refused.
    key: Option<Option<(String, Place)>>,
    /// The values of `<<`.
    merged: Vec<Rc<Node>>,
}

struct Builder<'b> {
    env: Option<Env<'b>>,
    unset: Unset,
    is_masked: bool,
    errors: &'b mut Errors,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    total: Size,
    root: Option<Rc<Node>>,
    is_ended: bool,
}

impl Builder<'_> {
    /// # Errors
    /// An error that leaves no tree.
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let text = if self.is_masked { unmask(&text).into() } else { text };
                if self.awaits_key() {
                    return self.key(&text, place);
                }
                let node = self.scalar(&text, style, tag.as_deref(), place)?;
                self.add(Rc::new(node), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.start(OpenKind::List(Vec::new()), anchor, tag.as_deref(), place)
            }
            Event::MappingStart(_, anchor, tag) => {
                let kind = OpenKind::Map(OpenMap::default());
                self.start(kind, anchor, tag.as_deref(), place)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or("an alias can't stand inside of what it stands for")?;
                self.charge(node.size.nodes, node.size.bytes)?;
                self.add(node, 0)
            }
            Event::DocumentStart(..) if self.is_ended => {
                Err("a second document begins; a configuration is one document".to_owned())
            }
            Event::DocumentEnd => {
                self.is_ended = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Counts what decoders will walk.
    fn charge(&mut self, nodes: usize, bytes: usize) -> Result<(), String> {
        self.total.nodes = self.total.nodes.saturating_add(nodes);
        self.total.bytes = self.total.bytes.saturating_add(bytes);
        let (nodes_max, bytes_max) = (limits::CONFIG_NODES_MAX, limits::CONFIG_EXPANDED_BYTES_MAX);
        if self.total.nodes > nodes_max || self.total.bytes > bytes_max {
            return Err(format!(
                "the file is too large with its aliases and variables written out, limits are \
                 {nodes_max} values and {bytes_max} bytes; use fewer of them"
            ));
        }
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        match self.open.last().map(|open| &open.kind) {
            Some(OpenKind::Map(map)) => map.key.is_none(),
            Some(OpenKind::List(_)) | None => false,
        }
    }

    /// Takes a scalar for the key of the innermost map.
    fn key(&mut self, text: &str, place: Place) -> Result<(), String> {
        self.charge(1, text.len())?;
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        let OpenKind::Map(map) = &mut open.kind else {
            return Ok(());
        };
        open.size.add(Size::of_scalar(text));
        let accepted = match map.seen.get(text) {
            Some(first) if text != MERGE => {
                let (line, column) = (first.line, first.column);
                let text = format!(
                    "key {text:?} stands twice in one map, first at {line}:{column}; take one out"
                );
                self.errors.push(place, text);
                None
            }
            _ => {
                map.seen.insert(text.to_owned(), place);
                Some((text.to_owned(), place))
            }
        };
        map.key = Some(accepted);
        Ok(())
    }

    /// A scalar's node, its variables filled in.
    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        place: Place,
    ) -> Result<Node, String> {
        let used = RefCell::new(Vec::new());
        let lacks = RefCell::new(None);
        let look_up = |name: &str| {
            let value = match name.strip_prefix(FILE) {
                Some(path) => of_file(path)?,
                None => self.env.and_then(|env| env(name)),
            };
            if value.is_none() {
                *lacks.borrow_mut() = Some(name.to_owned());
            }
            used.borrow_mut().extend(value.clone().map(|value| (name.to_owned(), value)));
            Ok(value)
        };
        let expanded = match self.env {
            Some(_) => expand(text, &look_up),
            None => Ok(text.into()),
        };
        let value = match expanded {
            Err(error) => {
                match lacks.take().filter(|_| self.unset == Unset::Leave) {
                    Some(name) => self.errors.note_unset(place, name),
                    None => self.errors.push(place, error),
                }
                Value::Broken
            }
            Ok(expanded) => {
                let written = match (style, &expanded) {
                    (_, std::borrow::Cow::Owned(_)) => Written::Expanded,
                    (ScalarStyle::Plain, _) => Written::Plain,
                    _ => Written::Quoted,
                };
                let used = used.take();
                if !used.is_empty() {
                    self.errors.fill(place, text, &expanded, used);
                }
                let source = (written == Written::Expanded).then(|| text.into());
                let text = expanded.into_owned();
                self.tagged(Scalar { text, written, source }, tag, place)
            }
        };
        let size = match &value {
            Value::Scalar(scalar) => Size::of_scalar(&scalar.text),
            _ => Size::of_scalar(""),
        };
        self.charge(size.nodes, size.bytes)?;
        Ok(Node { place, value, size })
    }

    /// The scalar as its tag wants it to be taken.
    fn tagged(&mut self, scalar: Scalar, tag: Option<&Tag>, place: Place) -> Value {
        let Some(tag) = tag else {
            return Value::Scalar(scalar);
        };
        let is = super::value::Plain::of(&scalar.text);
        let written = match tag.core_suffix() {
            Some("str") => Some(Written::Quoted),
            Some("int") if is.is_integer() => Some(Written::Plain),
            Some("float") if is.is_number() => Some(Written::Plain),
            Some("bool") if is.is_bool() => Some(Written::Plain),
            Some("null") if is.is_null() => Some(Written::Plain),
            _ => None,
        };
        if let Some(written) = written {
            return Value::Scalar(Scalar { written, ..scalar });
        }
        let text = format!(
            "got the tag {} on {:?}; tags may be !!str, !!int, !!float, !!bool and !!null on a \
             value of that kind",
            tag.original(),
            scalar.shown()
        );
        self.errors.push(place, text);
        Value::Broken
    }

    /// Begins a list or map.
    fn start(
        &mut self,
        kind: OpenKind,
        anchor: usize,
        tag: Option<&Tag>,
        place: Place,
    ) -> Result<(), String> {
        if self.awaits_key() {
            return Err("a list or map stands as a key; keys are plain text".to_owned());
        }
        let own = if matches!(kind, OpenKind::Map(_)) { "map" } else { "seq" };
        if let Some(tag) = tag.filter(|tag| tag.core_suffix() != Some(own)) {
            let text = format!("got the tag {}; take it out", tag.original());
            self.errors.push(place, text);
        }
        self.charge(1, 0)?;
        self.open.push(Open { place, anchor, size: Size::of_scalar(""), kind });
        self.check_depth(0)
    }

    fn check_depth(&self, below: usize) -> Result<(), String> {
        let (depth, max) = (self.open.len() + below, limits::CONFIG_DEPTH_MAX);
        if depth > max {
            return Err(format!("nested {depth} levels deep, limit is {max}"));
        }
        Ok(())
    }

    /// Ends the innermost list or map.
    fn end(&mut self) -> Result<(), String> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.kind {
            OpenKind::List(items) => Value::List(items),
            OpenKind::Map(map) => Value::Map(merge(map, self.errors)),
        };
        let node = Node { place: open.place, value, size: open.size };
        self.add(Rc::new(node), open.anchor)
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, node: Rc<Node>, anchor: usize) -> Result<(), String> {
        self.check_depth(node.size.depth)?;
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.size.add(node.size);
        match &mut open.kind {
            OpenKind::List(items) => items.push(node),
            OpenKind::Map(map) => match map.key.take() {
                Some(Some((key, _))) if key == MERGE => map.merged.push(node),
                Some(Some((key, place))) => map.entries.push(Entry { key, place, node }),
                Some(None) => {}
                // An alias: the only node that is offered where a key should stand.
                None => return Err("an alias stands as a key; write the key out".to_owned()),
            },
        }
        Ok(())
    }
}

/// The entries of a map and, where it has `<<`, those of the maps that this names: the map's own
/// first, then the earlier over the later (as YAML 1.1 has it, and users of anchors expect).
fn merge(map: OpenMap, errors: &mut Errors) -> Vec<Entry> {
    let OpenMap { mut entries, mut seen, merged, .. } = map;
    for node in &merged {
        let sources = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        for source in sources {
            let Value::Map(more) = &source.value else {
                errors.push(source.place, "\"<<\" takes a map or a list of maps");
                continue;
            };
            for entry in more {
                if seen.insert(entry.key.clone(), entry.place).is_none() {
                    entries.push(Entry {
                        key: entry.key.clone(),
                        place: entry.place,
                        node: Rc::clone(&entry.node),
                    });
                }
            }
        }
    }
    entries
}
