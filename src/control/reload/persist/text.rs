//! A YAML text and where its nodes stand in it, so that one can be changed and the rest stays as
//! its author wrote it: every comment, order, indentation, spelling and line ending.
//!
//! No crate is trusted with it: yamlpatch, which was, could not put a list or a map into a plugin's
//! entry, and took comments behind a list away. What is written here is read back by the caller,
//! who refuses it unless it says exactly what was meant: so what is odd (an anchor in the value
//! that goes) ends as an error, not as a broken file.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};
use serde_json::{Map, Value};

use super::write::{block, inline, pair};
use crate::control::config;
use crate::limits;

/// A part of the text and what goes into its place.
pub(super) type Splice = (Range<usize>, String);

/// A text that has been read.
#[derive(Debug)]
pub(super) struct Text<'t> {
    text: &'t str,
    pub(super) root: Node,
}

/// A node and its bytes, without comments around it.
#[derive(Debug)]
pub(super) struct Node {
    span: Range<usize>,
    kind: Kind,
    /// In brackets.
    is_flow: bool,
}

#[derive(Debug)]
enum Kind {
    /// A scalar or an alias.
    Leaf,
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    key: String,
    /// Where the key begins.
    at: usize,
    /// Behind the key's colon.
    colon: usize,
    pub(super) node: Node,
}

impl Node {
    fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Leaf | Kind::List(_) => &[],
        }
    }

    /// The entry of a map that has this key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The items of a list; none of anything else.
    pub(super) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            Kind::Leaf | Kind::Map(_) => &[],
        }
    }

    /// Whether it is nothing to add a key to: an empty map, or no map at all.
    pub(super) fn is_empty_map(&self) -> bool {
        self.entries().is_empty()
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.kind, Kind::Map(_))
    }
}

impl<'t> Text<'t> {
    /// Reads one document.
    ///
    /// # Errors
    /// It is none, or nested too deep.
    pub(super) fn read(text: &'t str) -> Result<Self, String> {
        let masked = config::masked(text);
        let options = granit_parser::options! {
            emit_comments: false,
            flow_nesting_limit: limits::CONFIG_DEPTH_MAX + 1,
            block_nesting_limit: limits::CONFIG_DEPTH_MAX + 1,
        };
        let mut reader = Reader::of(text);
        for event in Parser::new_from_str_with_options(masked.as_deref().unwrap_or(text), options) {
            let (event, span) = event.map_err(|error| error.to_string())?;
            reader.take(event, span)?;
        }
        let root = reader.root.ok_or("it has no content")?;
        Ok(Self { text, root })
    }

    /// The text with a part replaced, in its own line ending.
    pub(super) fn with(&self, (range, new): Splice) -> String {
        let is_dos = self.text.contains("\r\n");
        let new = if is_dos { new.replace('\n', "\r\n") } else { new };
        [&self.text[..range.start], &new, &self.text[range.end..]].concat()
    }

    /// The first change on the way from what `map` says to `wanted`; `None` if it says that. Keys
    /// that `wanted` has not stay, unless it is all that the map shall have (`is_all`).
    pub(super) fn toward(
        &self,
        map: &Node,
        wanted: &Map<String, Value>,
        is_all: bool,
    ) -> Option<Splice> {
        for (key, value) in wanted {
            let Some(entry) = map.entry(key) else {
                return Some(self.added(map, key, value));
            };
            let splice = match value {
                Value::Object(inner) if self.can_become(&entry.node, inner) => {
                    self.toward(&entry.node, inner, true)
                }
                _ if self.says(&entry.node, value) => None,
                _ => Some(self.replaced(map, entry, value)),
            };
            if splice.is_some() {
                return splice;
            }
        }
        let surplus = map.entries().iter().find(|entry| !wanted.contains_key(&entry.key));
        surplus.filter(|_| is_all).map(|entry| self.without(entry))
    }

    /// Whether a map is changed key by key: then comments in it stay.
    fn can_become(&self, node: &Node, wanted: &Map<String, Value>) -> bool {
        let goes = |entry: &&Entry| !wanted.contains_key(&entry.key);
        let gone = node.entries().iter().filter(goes).count();
        gone < node.entries().len() && (gone == 0 || !node.is_flow)
    }

    /// Another value for a key of `map`.
    pub(super) fn replaced(&self, map: &Node, entry: &Entry, value: &Value) -> Splice {
        let old = &entry.node.span;
        let is_beside = self.line_end(entry.colon) == self.line_end(old.start);
        // A comment beside the key is the key's.
        let beside = |at: usize| self.text[at..self.line_end(at)].trim_end();
        let is_flow = map.is_flow;
        match inline(value, is_flow) {
            Some(new) if is_beside => (entry.colon..old.end, format!(" {new}")),
            Some(new) => {
                let range = entry.colon..self.line_end(old.end);
                (range, format!(" {new}{}", beside(entry.colon)))
            }
            None => {
                let lines = block(value, self.column(entry.at) + 2);
                let comment = beside(if is_beside { old.end } else { entry.colon });
                (entry.colon..self.line_end(old.end), format!("{comment}\n{lines}"))
            }
        }
    }

    /// A key more for `map`.
    pub(super) fn added(&self, map: &Node, key: &str, value: &Value) -> Splice {
        let last = map.entries().last();
        if map.is_flow {
            let at = last.map_or(map.span.start + 1, |last| last.node.span.end);
            let comma = if last.is_some() { ", " } else { "" };
            let pair = pair(key, value, None);
            return (at..at, format!("{comma}{pair}"));
        }
        let column = map.entries().first().map_or(0, |first| self.column(first.at));
        let at = self.line_end(last.map_or(map.span.end, |last| last.node.span.end));
        (at..at, format!("\n{}{}", " ".repeat(column), pair(key, value, Some(column))))
    }

    /// A key less, of a map in lines that has others.
    fn without(&self, entry: &Entry) -> Splice {
        let start = self.first_of_its_comments(self.line_start(entry.at), self.column(entry.at));
        (start..self.next_line(entry.node.span.end), String::new())
    }

    /// An item more behind the last of `list`, which has some.
    pub(super) fn appended(&self, list: &Node, value: &Value) -> Option<Splice> {
        let last = list.items().last()?;
        if list.is_flow {
            let new = inline(value, true)?;
            return Some((last.span.end..last.span.end, format!(", {new}")));
        }
        let dash = self.dash(last)?;
        let column = self.column(dash);
        // In front of the line's end, so that a text without one at its end gets none.
        let at = self.end_with_comments(last.span.end, column);
        let lines = block(&Value::Array(vec![value.clone()]), column);
        Some((at..at, format!("\n{lines}")))
    }

    /// The item at `index` less, of a list that has others. Comments right above it go with it.
    pub(super) fn removed(&self, list: &Node, index: usize) -> Option<Splice> {
        let item = list.items().get(index)?;
        if list.is_flow {
            let range = match list.items().get(index + 1) {
                Some(next) => item.span.start..next.span.start,
                None => list.items().get(index.checked_sub(1)?)?.span.end..item.span.end,
            };
            return Some((range, String::new()));
        }
        let dash = self.dash(item)?;
        let column = self.column(dash);
        let start = self.first_of_its_comments(self.line_start(dash), column);
        let end = self.end_with_comments(item.span.end, column);
        if end == self.text.len() {
            // No line end behind it: the one in front of it goes.
            return Some((start.saturating_sub(1)..end, String::new()));
        }
        Some((start..end + 1, String::new()))
    }

    /// Whether a node says `value` already; if in doubt, not.
    fn says(&self, node: &Node, value: &Value) -> bool {
        let written = &self.text[node.span.clone()];
        let text = format!("{}{written}\n", " ".repeat(self.column(node.span.start)));
        yaml_serde::from_str::<Value>(&text).is_ok_and(|old| old == *value)
    }

    /// The dash of a list's item.
    fn dash(&self, item: &Node) -> Option<usize> {
        self.text[..item.span.start].rfind('-')
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |end| end + 1)
    }

    /// Where the line ends, in front of `\r\n` too.
    fn line_end(&self, at: usize) -> usize {
        let end = self.text[at..].find('\n').map_or(self.text.len(), |end| at + end);
        if self.text[at..end].ends_with('\r') { end - 1 } else { end }
    }

    /// Where the next line begins, or the text ends.
    fn next_line(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    /// How many characters stand in front of it in its line.
    fn column(&self, at: usize) -> usize {
        self.text[self.line_start(at)..at].chars().count()
    }

    /// Where the comments begin that stand right above a line, in the same column.
    fn first_of_its_comments(&self, mut line: usize, column: usize) -> usize {
        while line > 0 {
            let above = self.line_start(line - 1);
            let words = self.text[above..line].trim_start();
            if !words.starts_with('#') || self.column(line - 1 - (words.len() - 1)) != column {
                break;
            }
            line = above;
        }
        line
    }

    /// The end of the line at `at`, and of the comments below it that stand deeper than `column`.
    fn end_with_comments(&self, at: usize, column: usize) -> usize {
        let mut end = self.line_end(at);
        loop {
            let next = self.next_line(end);
            let words = self.text[next..self.line_end(next)].trim_start();
            let begins = self.line_end(next) - words.len();
            if next == self.text.len() || !words.starts_with('#') || self.column(begins) <= column {
                return end;
            }
            end = self.line_end(next);
        }
    }
}

/// Events to nodes.
struct Reader<'t> {
    text: &'t str,
    /// Of each character its first byte, and the text's end.
    bytes: Vec<usize>,
    open: Vec<Open>,
    root: Option<Node>,
}

struct Open {
    node: Node,
    /// The key that waits for its value: its name, its first byte, and the byte behind its colon.
    key: Option<(String, usize, usize)>,
}

impl<'t> Reader<'t> {
    fn of(text: &'t str) -> Self {
        let starts = text.char_indices().map(|(at, _)| at);
        let bytes = starts.chain([text.len()]).collect();
        Self { text, bytes, open: Vec::new(), root: None }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        // Masks are single characters, so places in the masked text are places in this one.
        let byte = |at: usize| self.bytes.get(at).copied().unwrap_or(self.text.len());
        let span = byte(span.start.index())..byte(span.end.index());
        match event {
            Event::Scalar(text, ..) if self.awaits_key() => {
                return self.key(config::unmasked(&text), &span);
            }
            Event::Scalar(_, style, ..) => {
                let span = match style {
                    _ if span.is_empty() => self.behind_the_colon(span.start, 0),
                    // Its place is that of the text in it.
                    ScalarStyle::Literal | ScalarStyle::Folded => {
                        self.behind_the_colon(span.start, self.trimmed(span).len())
                    }
                    _ => self.trimmed(span),
                };
                self.leaf(span);
            }
            Event::Alias(_) if self.awaits_key() => return Err("an alias stands as a key".into()),
            Event::Alias(_) => self.leaf(span),
            Event::SequenceStart(style, ..) => self.start(span, Kind::List(Vec::new()), style),
            Event::MappingStart(style, ..) => self.start(span, Kind::Map(Vec::new()), style),
            Event::SequenceEnd | Event::MappingEnd => self.end(span.end),
            _ => {}
        }
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        let awaits = |open: &Open| open.node.is_map() && open.key.is_none();
        self.open.last().is_some_and(awaits)
    }

    fn key(&mut self, key: String, span: &Range<usize>) -> Result<(), String> {
        let colon = self.text[span.end..].find(':').ok_or("a key has no colon")?;
        if let Some(open) = self.open.last_mut() {
            open.key = Some((key, span.start, span.end + colon + 1));
        }
        Ok(())
    }

    /// From what follows the colon of the key that waits up to so many bytes behind `at`.
    fn behind_the_colon(&self, at: usize, bytes: usize) -> Range<usize> {
        let start = match self.open.last().and_then(|open| open.key.as_ref()) {
            Some((_, _, colon)) if bytes == 0 => return *colon..*colon,
            Some((_, _, colon)) => {
                let blanks = self.text[*colon..].bytes().take_while(|byte| *byte == b' ');
                colon + blanks.count()
            }
            None => at,
        };
        start..at + bytes
    }

    /// Without the line ends and blanks that a block in lines ends with.
    fn trimmed(&self, span: Range<usize>) -> Range<usize> {
        let text = self.text[span.clone()].trim_end();
        span.start..span.start + text.len()
    }

    fn leaf(&mut self, span: Range<usize>) {
        self.add(Node { span, kind: Kind::Leaf, is_flow: false });
    }

    fn start(&mut self, span: Range<usize>, kind: Kind, style: StructureStyle) {
        let is_flow = style == StructureStyle::Flow;
        self.open.push(Open { node: Node { span, kind, is_flow }, key: None });
    }

    fn end(&mut self, at: usize) {
        let Some(Open { mut node, .. }) = self.open.pop() else {
            return;
        };
        let bounds = match &node.kind {
            Kind::Leaf => None,
            Kind::List(items) => items.first().zip(items.last()).map(|(first, last)| {
                let dash = self.text[..first.span.start].rfind('-');
                (dash.unwrap_or(node.span.start), last.span.end)
            }),
            Kind::Map(entries) => {
                let ends = entries.first().zip(entries.last());
                ends.map(|(first, last)| (first.at, last.node.span.end))
            }
        };
        // In lines, it is what is in it: the parser's end is behind the comments that follow.
        node.span = match bounds {
            Some((first, last)) if !node.is_flow => first..last,
            _ => node.span.start..at,
        };
        self.add(node);
    }

    fn add(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        match &mut open.node.kind {
            Kind::Leaf => {}
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => {
                if let Some((key, at, colon)) = open.key.take() {
                    entries.push(Entry { key, at, colon, node });
                }
            }
        }
    }
}
