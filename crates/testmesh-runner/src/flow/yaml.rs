//! YAML to a tree of our own in which every key and value knows its bytes.
//!
//! The tree keeps the text of each scalar as written beside what it means, applies merge keys, copies aliased parts
//! within a budget, and reports duplicate keys with their place. A mistake of YAML itself ends the reading: one finding.

mod plain;

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError};

use super::findings::Findings;
use super::scalar::{self, Literal};
use super::source::Span;
use crate::diagnostic::Code;

/// The deepest nesting of lists and maps.
const MAX_DEPTH: usize = 64;
/// The most nodes of one file, aliased copies included.
const MAX_NODES: usize = 100_000;
/// The most nodes that aliases may add.
const MAX_ALIASED: usize = 20_000;

/// A value of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node<'t> {
    /// Its bytes, quotes included; for a block text its lines without the `|`.
    pub(crate) span: Span,
    /// What it is.
    pub(crate) kind: NodeKind<'t>,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NodeKind<'t> {
    /// Text, a number, a boolean or nothing.
    Scalar(Scalar<'t>),
    /// A list.
    List(Vec<Node<'t>>),
    /// A map in the order written.
    Map(Vec<Entry<'t>>),
}

/// A scalar: what is written and what it means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar<'t> {
    /// The text, escapes resolved and lines folded. For an unquoted number it is the number as written.
    pub(crate) text: Cow<'t, str>,
    /// How it is written.
    pub(crate) style: Style,
    /// What it means.
    pub(crate) literal: Literal,
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`.
    Single,
    /// `"…"`.
    Double,
    /// `|` or `>`.
    Block,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry<'t> {
    /// The key's text.
    pub(crate) key: Cow<'t, str>,
    /// The key's bytes.
    pub(crate) key_span: Span,
    /// The value.
    pub(crate) value: Node<'t>,
}

impl<'t> Node<'t> {
    /// The scalar, if it is one.
    pub(crate) fn scalar(&self) -> Option<&Scalar<'t>> {
        match &self.kind {
            NodeKind::Scalar(scalar) => Some(scalar),
            NodeKind::List(_) | NodeKind::Map(_) => None,
        }
    }

    /// The written text of a scalar that is not null.
    pub(crate) fn text(&self) -> Option<&str> {
        self.scalar().filter(|scalar| scalar.literal != Literal::Null).map(|scalar| &*scalar.text)
    }

    /// The same as a name that lives as long as the file's text.
    pub(crate) fn named(&self) -> Option<Cow<'t, str>> {
        self.scalar().filter(|scalar| scalar.literal != Literal::Null).map(|scalar| scalar.text.clone())
    }

    /// The entries, if it is a map.
    pub(crate) fn entries(&self) -> Option<&[Entry<'t>]> {
        match &self.kind {
            NodeKind::Map(entries) => Some(entries),
            NodeKind::Scalar(_) | NodeKind::List(_) => None,
        }
    }

    /// The value of a key, if it is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node<'t>> {
        self.entries()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Whether nothing is written, or `null`.
    pub(crate) fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.literal == Literal::Null)
    }

    /// What it is, for people: `text`, `a number` …
    pub(crate) fn described(&self) -> &'static str {
        match &self.kind {
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a map",
            NodeKind::Scalar(scalar) => match scalar.literal {
                Literal::Null => "nothing",
                Literal::Bool(_) => "a boolean",
                Literal::Int(_) | Literal::UInt(_) | Literal::Float(_) | Literal::Decimal(_) => "a number",
                Literal::Text => "text",
            },
        }
    }
}

/// Every document of `text` that is not empty; none when the text is not YAML.
pub(crate) fn documents<'t>(text: &'t str, string_bytes: usize, findings: &mut Findings<'t>) -> Vec<Node<'t>> {
    match plain::document(text, string_bytes) {
        Some(node) if node.is_null() => Vec::new(),
        Some(node) => vec![node],
        None => documents_in_full(text, string_bytes, findings),
    }
}

/// The same for any YAML, by the full parser.
fn documents_in_full<'t>(text: &'t str, string_bytes: usize, findings: &mut Findings<'t>) -> Vec<Node<'t>> {
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DEPTH * 2;
    options.block_nesting_limit = MAX_DEPTH * 2;
    options.simple_key_max_lookahead = 4_096;
    let mut builder = Builder { string_bytes, ..Builder::new(findings) };
    for step in Parser::new_from_str_with_options(text, options) {
        let taken = match step {
            Ok((event, span)) => {
                let bytes = span.byte_range().unwrap_or(0..0);
                // A value that is only a tag (`!done` without quotes) is where the tag is.
                let tag = span.tag_span().and_then(|tag| tag.byte_range()).filter(|_| bytes.is_empty());
                builder.take(event, tag.unwrap_or(bytes).into())
            }
            Err(error) => {
                syntax_error(&error, builder.findings);
                Err(Stop)
            }
        };
        if taken.is_err() {
            return Vec::new();
        }
    }
    builder.documents
}

impl From<std::ops::Range<usize>> for Span {
    fn from(range: std::ops::Range<usize>) -> Self {
        Span::new(range.start, range.end)
    }
}

/// The reading has ended with a finding.
struct Stop;

/// A list or map that has not ended yet.
enum Frame<'t> {
    List { start: usize, anchor: usize, items: Vec<Node<'t>> },
    Map { start: usize, anchor: usize, entries: Vec<Entry<'t>>, key: Option<Key<'t>>, merged: Vec<Node<'t>> },
}

/// A key whose value has not come yet.
enum Key<'t> {
    Text(Cow<'t, str>, Span),
    Merge,
    /// Reported already.
    Invalid,
}

/// A part that aliases may repeat.
struct Anchored<'t> {
    node: Node<'t>,
    nodes: usize,
    depth: usize,
}

struct Builder<'t, 'f> {
    findings: &'f mut Findings<'t>,
    string_bytes: usize,
    documents: Vec<Node<'t>>,
    stack: Vec<Frame<'t>>,
    anchors: HashMap<usize, Anchored<'t>>,
    nodes: usize,
    aliased: usize,
}

impl<'t, 'f> Builder<'t, 'f> {
    fn new(findings: &'f mut Findings<'t>) -> Self {
        Self {
            findings,
            string_bytes: usize::MAX,
            documents: Vec::new(),
            stack: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            aliased: 0,
        }
    }

    fn take(&mut self, event: Event<'t>, span: Span) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, span)?;
                if text.len() > self.string_bytes {
                    let limit = self.string_bytes;
                    let message = format!("this text has {} bytes, more than {limit}", text.len());
                    self.findings
                        .error(Code::LimitExceeded, span, message)
                        .help("keep large contents in a file".to_owned());
                }
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                let literal = match tag {
                    // Without a tag, and with the tags of YAML's own types, the text decides.
                    None if style == Style::Plain => scalar::resolve(&text),
                    Some(tag) if tag.is_yaml_core_schema() && !tag.is_yaml_core_schema_tag("str") => {
                        scalar::resolve(&text)
                    }
                    None | Some(_) => Literal::Text,
                };
                let node = Node { span, kind: NodeKind::Scalar(Scalar { text, style, literal }) };
                self.finish(node, anchor);
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(span, Frame::List { start: span.start, anchor, items: Vec::new() })?;
            }
            Event::MappingStart(_, anchor, _) => {
                let frame =
                    Frame::Map { start: span.start, anchor, entries: Vec::new(), key: None, merged: Vec::new() };
                self.open(span, frame)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span.end),
            Event::Alias(id) => self.alias(id, span)?,
            Event::DocumentStart(..) => self.anchors.clear(),
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        self.findings
            .error(Code::LimitExceeded, span, format!("the file has more than {MAX_NODES} values"))
            .help("split it into several flows".to_owned());
        Err(Stop)
    }

    fn open(&mut self, span: Span, frame: Frame<'t>) -> Result<(), Stop> {
        self.count(1, span)?;
        if self.stack.len() >= MAX_DEPTH {
            self.too_deep(span);
            return Err(Stop);
        }
        self.stack.push(frame);
        Ok(())
    }

    fn too_deep(&mut self, span: Span) {
        self.findings
            .error(Code::LimitExceeded, span, format!("lists and maps nest deeper than {MAX_DEPTH}"))
            .help(None);
    }

    fn close(&mut self, end: usize) {
        let (span, kind, anchor) = match self.stack.pop() {
            Some(Frame::List { start, anchor, items }) => (Span::new(start, end), NodeKind::List(items), anchor),
            Some(Frame::Map { start, anchor, mut entries, merged, .. }) => {
                for node in merged {
                    self.merge(&mut entries, node);
                }
                (Span::new(start, end), NodeKind::Map(entries), anchor)
            }
            None => return,
        };
        self.finish(Node { span, kind }, anchor);
    }

    /// Entries of `<<` fill in what the map does not say itself; the first of several wins.
    fn merge(&mut self, entries: &mut Vec<Entry<'t>>, node: Node<'t>) {
        match node.kind {
            NodeKind::Map(merged) => {
                for entry in merged {
                    if !entries.iter().any(|own| own.key == entry.key) {
                        entries.push(entry);
                    }
                }
            }
            NodeKind::List(items) => {
                for item in items {
                    self.merge(entries, item);
                }
            }
            NodeKind::Scalar(_) => {
                self.findings
                    .error(Code::WrongType, node.span, "`<<` takes a map, or a list of maps")
                    .help("refer to a map that has an anchor: `<<: *defaults`".to_owned());
            }
        }
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Stop> {
        let Some(anchored) = self.anchors.get(&id) else {
            self.findings.error(Code::YamlSyntax, span, "an alias stands inside the part it repeats").help(None);
            return Err(Stop);
        };
        self.aliased += anchored.nodes;
        let (nodes, depth, node) = (anchored.nodes, anchored.depth, anchored.node.clone());
        if self.aliased > MAX_ALIASED {
            self.findings
                .error(Code::LimitExceeded, span, format!("aliases repeat more than {MAX_ALIASED} values"))
                .help("write the repeated parts out, or use fewer aliases inside each other".to_owned());
            return Err(Stop);
        }
        if self.stack.len() + depth > MAX_DEPTH {
            self.too_deep(span);
            return Err(Stop);
        }
        self.count(nodes, span)?;
        self.place(node);
        Ok(())
    }

    fn finish(&mut self, node: Node<'t>, anchor: usize) {
        if anchor != 0 {
            let (nodes, depth) = extent(&node);
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth });
        }
        self.place(node);
    }

    /// Puts a finished value where it belongs: into the list or map around it, or among the documents.
    fn place(&mut self, node: Node<'t>) {
        match self.stack.last_mut() {
            None if node.is_null() => {}
            None => self.documents.push(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { entries, key, merged, .. }) => match key.take() {
                None => *key = Some(read_key(node, entries, self.findings)),
                Some(Key::Text(text, key_span)) => entries.push(Entry { key: text, key_span, value: node }),
                Some(Key::Merge) => merged.push(node),
                Some(Key::Invalid) => {}
            },
        }
    }
}

fn read_key<'t>(node: Node<'t>, entries: &[Entry<'t>], findings: &mut Findings<'t>) -> Key<'t> {
    let span = node.span;
    let NodeKind::Scalar(scalar) = node.kind else {
        let written = findings.source.text;
        let reference = written[..span.start].ends_with('{') && written[span.start..].starts_with('{');
        let help = if reference { "put text that begins with `{{` into quotes" } else { "a key is plain text" };
        findings.error(Code::WrongType, span, "a list or a map cannot be a key").help(help.to_owned());
        return Key::Invalid;
    };
    if scalar.text == "<<" && scalar.style == Style::Plain {
        return Key::Merge;
    }
    if let Some(first) = entries.iter().find(|entry| entry.key == scalar.text) {
        let line = findings.source.line(first.key_span.start);
        let message = format!("the key `{}` is written twice", scalar.text);
        let help = format!("the first one is on line {line}; keep one of them");
        findings.error(Code::DuplicateKey, span, message).help(help);
        return Key::Invalid;
    }
    Key::Text(scalar.text, span)
}

/// How many nodes there are, and how deep they nest.
fn extent(node: &Node<'_>) -> (usize, usize) {
    let children: Vec<(usize, usize)> = match &node.kind {
        NodeKind::Scalar(_) => return (1, 0),
        NodeKind::List(items) => items.iter().map(extent).collect(),
        NodeKind::Map(entries) => entries.iter().map(|entry| extent(&entry.value)).collect(),
    };
    let nodes = children.iter().map(|child| child.0).sum::<usize>() + 1;
    (nodes, children.iter().map(|child| child.1).max().unwrap_or(0) + 1)
}

fn syntax_error(error: &ScanError, findings: &mut Findings<'_>) {
    // What was found before is mostly the same mistake in other words.
    findings.clear();
    let at = error.marker().byte_offset().unwrap_or(0);
    let line = findings.source.line(at);
    let text = findings.source.text.lines().nth(line as usize - 1).unwrap_or_default();
    let help = if error.info().contains("recursion limit") {
        Some("write what is inside as a text or keep it in a file".to_owned())
    } else if error.info().contains("flow mapping") || error.info().contains("flow sequence") {
        Some("inside `{…}` and `[…]` put text that contains one of `,:[]{}#` into quotes".to_owned())
    } else {
        syntax_help(text)
    };
    findings.error(Code::YamlSyntax, Span::new(at, at), format!("not valid YAML: {}", error.info())).help(help);
}

/// What people mostly meant when a line is not YAML.
fn syntax_help(line: &str) -> Option<String> {
    let content = line.trim_start();
    let indent = &line[..line.len() - content.len()];
    let value = content.strip_prefix("- ").unwrap_or(content).trim_start();
    let value = value.split_once(": ").map_or(value, |(_, value)| value.trim_start());
    let help = if indent.contains('\t') {
        "indent with spaces, not with tabs"
    } else if value.starts_with("{{") {
        "put text that begins with `{{` into quotes: \"{{name}}/path\""
    } else if value.starts_with('"') || value.starts_with('\'') {
        "put the whole value into quotes of the other kind, or write it as a block below `|`"
    } else if value.contains(": ") || value.contains(" #") {
        "put text that contains `: ` into quotes"
    } else if value.starts_with(['@', '`', '%', '&', '*', '!']) {
        "put text that begins with a special character into quotes"
    } else {
        return None;
    };
    Some(help.to_owned())
}
