//! Text with references (`${…}`, `{{…}}`), compiled once and resolved in a single pass.
//!
//! Text that a reference inserted is never looked at again.

use std::sync::Arc;

use bytestring::ByteString;

use crate::builtins::Builtins;
use crate::expr::{Context, EvalError, Parser, Piece, Reference, SyntaxError, collect_references};
use crate::value::{Map, Value};

/// Where names come from when an expression or template is evaluated.
pub trait Lookup {
    /// The value of a name, or `None` when nothing defines it.
    fn get(&self, name: &str) -> Option<Value>;
    /// Every name that is defined, to suggest a near one.
    fn names(&self) -> Vec<String>;
    /// Generators, time and environment for built-in names and functions. `get` need not know built-in names:
    /// the evaluator asks here when `get` has none.
    fn builtins(&self) -> &Builtins;
    /// The JSON Schema in `file`, for `matches_schema "file"`. By default there are none.
    fn schema(&self, file: &str) -> Result<serde_json::Value, EvalError> {
        Err(EvalError { message: format!("the schema `{file}` cannot be read here"), help: None })
    }
    /// How `value` differs from the snapshot `name`; `None` when it does not. By default there are none.
    fn match_snapshot(&self, name: &str, value: &Value) -> Result<Option<String>, EvalError> {
        let _ = value;
        Err(EvalError { message: format!("the snapshot `{name}` cannot be read here"), help: None })
    }
}

/// Compiled text.
#[derive(Debug, Clone)]
pub struct Template {
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Literal(ByteString),
    Pieces(Arc<[Piece]>),
}

impl Template {
    /// Compiles `text`. Offsets in errors are bytes of `text`.
    pub fn parse(text: &str) -> Result<Template, Vec<SyntaxError>> {
        let Some(first) = next_special(text, 0) else { return Ok(Template::literal(text)) };
        let mut pieces = Vec::new();
        let mut errors = Vec::new();
        let mut plain = text[..first].to_owned();
        let mut at = first;
        while at < text.len() {
            let rest = &text[at..];
            if rest.starts_with("$${") {
                plain.push_str("${");
                at += 3;
            } else if rest.starts_with("\\{{") {
                plain.push_str("{{");
                at += 3;
            } else if rest.starts_with("${") || rest.starts_with("{{") {
                let mut parser = Parser::at(text, at);
                let parsed = parser.reference_at(at);
                errors.append(&mut parser.take_errors());
                match parsed {
                    Ok((node, end)) => {
                        if !plain.is_empty() {
                            pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
                        }
                        pieces.push(Piece::Reference(node));
                        at = end;
                    }
                    Err(error) => {
                        errors.push(foreign(text, at, error));
                        // Mistakes further on are found too; those inside this reference would only repeat it.
                        at = after_reference(text, at);
                    }
                }
            } else {
                // Here stands a `$` or a `\` that means nothing, or text after a reference.
                let length = rest.chars().next().map_or(1, char::len_utf8);
                let next = next_special(text, at + length).unwrap_or(text.len());
                plain.push_str(&text[at..next]);
                at = next;
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        if pieces.is_empty() {
            return Ok(Template { content: Content::Literal(plain.into()) });
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into()));
        }
        Ok(Template { content: Content::Pieces(pieces.into()) })
    }

    /// Text without references, taken as it is.
    pub fn literal(text: &str) -> Template {
        Template { content: Content::Literal(text.into()) }
    }

    /// The text when it holds no reference (escapes resolved).
    pub fn as_literal(&self) -> Option<&str> {
        match &self.content {
            Content::Literal(text) => Some(text),
            Content::Pieces(_) => None,
        }
    }

    /// The value: of the one reference's own type if the text is exactly one reference, else text.
    pub fn render(&self, lookup: &dyn Lookup) -> Result<Value, EvalError> {
        match &self.content {
            Content::Literal(text) => Ok(Value::Text(text.clone())),
            Content::Pieces(pieces) => match &**pieces {
                [Piece::Reference(only)] => Context::new(lookup).eval(only),
                pieces => Context::new(lookup).text(pieces).map(Value::from),
            },
        }
    }

    /// The text, whatever the type of a single reference; null is an error.
    pub fn render_text(&self, lookup: &dyn Lookup) -> Result<ByteString, EvalError> {
        match &self.content {
            Content::Literal(text) => Ok(text.clone()),
            Content::Pieces(pieces) => Context::new(lookup).text(pieces).map(ByteString::from),
        }
    }

    /// Every name the text refers to.
    pub fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        if let Content::Pieces(pieces) = &self.content {
            for piece in pieces.iter() {
                if let Piece::Reference(node) = piece {
                    collect_references(node, false, &mut found);
                }
            }
        }
        found
    }
}

/// Where the next `${`, `{{` or escape of one may be, at or after `from`.
fn next_special(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr3(b'$', b'{', b'\\', rest)) {
        at += found;
        let rest = &bytes[at..];
        if [b"${".as_slice(), b"$${", b"{{", b"\\{{"].iter().any(|special| rest.starts_with(special)) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// Whether a `${` or `{{` stands in the text.
pub(crate) fn may_refer(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr2_iter(b'$', b'{', bytes).any(|at| bytes.get(at + 1) == Some(&b'{'))
}

/// One past the closing braces of the reference at `at`, or the end of the text.
fn after_reference(text: &str, at: usize) -> usize {
    let close = if text[at..].starts_with("{{") { "}}" } else { "}" };
    text[at..].find(close).map_or(text.len(), |found| at + found + close.len())
}

/// The error for something between braces that looks like another language's template.
fn foreign(text: &str, at: usize, error: SyntaxError) -> SyntaxError {
    let end = after_reference(text, at);
    let whole = &text[at..end];
    let Some(inner) = whole.strip_prefix("{{") else { return error };
    let other =
        inner.trim_start().starts_with(['.', '#', '/', '>', '{', '"', '%', '&', '^', '-']) || inner.starts_with('\n');
    if !other || !whole.ends_with("}}") {
        return error;
    }
    let shown: String = whole.chars().take(40).collect();
    SyntaxError {
        message: format!("`{shown}` is not a reference"),
        help: Some("for the braces themselves write `\\{{`".to_owned()),
        start: at,
        end,
    }
}

/// A tree of literals and templates: an action's configuration, a default, an `env` value.
#[derive(Debug, Clone)]
pub enum Tree {
    /// No reference anywhere below.
    Const(Value),
    /// Text with at least one reference.
    Template(Template),
    /// A list.
    List(Vec<Tree>),
    /// A map; keys may hold references too.
    Map(Vec<(Template, Tree)>),
}

impl Tree {
    /// Text, which may hold references.
    pub fn text(text: &str) -> Result<Tree, Vec<SyntaxError>> {
        Ok(Tree::from(Template::parse(text)?))
    }

    /// A list; constant when all of its items are.
    pub fn list(items: Vec<Tree>) -> Tree {
        if !items.iter().all(|item| matches!(item, Tree::Const(_))) {
            return Tree::List(items);
        }
        let values = items.into_iter().filter_map(|item| match item {
            Tree::Const(value) => Some(value),
            Tree::Template(_) | Tree::List(_) | Tree::Map(_) => None,
        });
        Tree::Const(Value::list(values.collect()))
    }

    /// A map; constant when all of its keys and values are.
    pub fn map(entries: Vec<(Template, Tree)>) -> Tree {
        let constant = entries.iter().all(|(key, value)| key.as_literal().is_some() && matches!(value, Tree::Const(_)));
        if !constant {
            return Tree::Map(entries);
        }
        Tree::Const(Value::map(entries.iter().filter_map(|(key, value)| match value {
            Tree::Const(value) => Some((key.as_literal()?, value.clone())),
            Tree::Template(_) | Tree::List(_) | Tree::Map(_) => None,
        })))
    }

    /// Resolves every reference.
    pub fn render(&self, lookup: &dyn Lookup) -> Result<Value, EvalError> {
        match self {
            Tree::Const(value) => Ok(value.clone()),
            Tree::Template(template) => template.render(lookup),
            Tree::List(items) => {
                Ok(Value::list(items.iter().map(|item| item.render(lookup)).collect::<Result<_, _>>()?))
            }
            Tree::Map(entries) => {
                let mut map = Map::default();
                for (key, value) in entries {
                    map.entries.insert(key.render_text(lookup)?, value.render(lookup)?);
                }
                Ok(Value::Map(Arc::new(map)))
            }
        }
    }

    /// What stands at `key` of a map.
    pub(crate) fn part(&self, key: &str) -> Option<Tree> {
        match self {
            Tree::Const(value) => value.get(key).map(Tree::Const),
            Tree::Map(entries) => {
                entries.iter().find(|(name, _)| name.as_literal() == Some(key)).map(|(_, part)| part.clone())
            }
            Tree::Template(_) | Tree::List(_) => None,
        }
    }

    /// The items of a list that is written out.
    pub(crate) fn items(&self) -> Option<Vec<Tree>> {
        match self {
            Tree::Const(value) => value.items().map(|items| items.iter().cloned().map(Tree::Const).collect()),
            Tree::List(items) => Some(items.clone()),
            Tree::Template(_) | Tree::Map(_) => None,
        }
    }

    /// Every name it refers to. Offsets are bytes of the text each one stands in.
    pub fn references(&self) -> Vec<Reference> {
        match self {
            Tree::Const(_) => Vec::new(),
            Tree::Template(template) => template.references(),
            Tree::List(items) => items.iter().flat_map(Tree::references).collect(),
            Tree::Map(entries) => {
                entries.iter().flat_map(|(key, value)| [key.references(), value.references()].concat()).collect()
            }
        }
    }
}

impl From<Template> for Tree {
    fn from(template: Template) -> Tree {
        match template.content {
            Content::Literal(text) => Tree::Const(Value::Text(text)),
            Content::Pieces(_) => Tree::Template(template),
        }
    }
}

#[cfg(test)]
mod tests;
