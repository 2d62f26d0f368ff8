//! The expression language: parsed once with byte offsets, evaluated over [`crate::template::Lookup`].
//!
//! A reference inside an expression (`{{x}}`, `${x}`) is the value of x: no text is ever glued together and parsed again.

mod arithmetic;
mod ast;
mod eval;
mod explain;
mod functions;
mod lexer;
mod literals;
mod operands;
mod parser;
mod print;
mod references;
pub(crate) mod schema;
#[cfg(test)]
mod tests;
mod time;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::template::Lookup;
use crate::value::Value;

pub(crate) use ast::{Node, Piece};
pub(crate) use eval::{Context, Wanted, into_part};
pub(crate) use parser::Parser;
pub(crate) use references::collect as collect_references;

/// Bytes of an expression that is worth remembering: `status == 200` stands in step after step, a long one hardly twice.
const LONGEST_KNOWN: usize = 48;
/// Expressions that a thread remembers, some 100 KiB.
const MOST_KNOWN: usize = 256;

thread_local! {
    static KNOWN: RefCell<HashMap<Arc<str>, Expr, RandomState>> = RefCell::default();
}

/// A compiled expression. Its `Display` prints it so that parsing gives the same expression again.
#[derive(Debug, Clone)]
pub struct Expr {
    source: Arc<str>,
    root: Arc<Node>,
}

/// A mistake in an expression or template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong, a lower-case fragment.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// First byte of the mistake in the text that was parsed.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
}

/// A name that an expression or template needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The first name, `create_user` in `create_user.body.id`. `$` for a path from the result's root.
    pub root: String,
    /// The plain keys that follow it, up to the first index or computed key: `["body", "id"]`.
    pub keys: Vec<String>,
    /// Whether a missing name is allowed here: it has a default, stands before `??`, in `exists`, or after `?.`.
    pub optional: bool,
    /// First byte in the text.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// An expression could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    /// What is wrong, naming the thing: "`user_idd` is not defined".
    pub message: String,
    /// What to do: "did you mean `user_id`?".
    pub help: Option<String>,
}

/// What a condition came to, with what it compared.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Whether it holds.
    pub holds: bool,
    /// For a comparison, the value of the left side (what was found).
    pub actual: Option<Value>,
    /// For a comparison, the value of the right side (what was wanted).
    pub expected: Option<Value>,
    /// When it does not hold, why, with each operand's value: "`body.count` is 3, expected >= 5"; empty otherwise.
    /// Long texts, lists and maps are shown as a diff.
    pub message: String,
}

impl Expr {
    /// Compiles `text`. Offsets in errors are bytes of `text`. All mistakes that can be told apart are reported.
    pub fn parse(text: &str) -> Result<Expr, Vec<SyntaxError>> {
        let root = parser::parse(text)?;
        Ok(Expr { source: text.into(), root: Arc::new(root) })
    }

    /// Like [`Expr::parse`], and compiles a short text once for all the steps and flows that it stands in.
    pub(crate) fn parse_known(text: &str) -> Result<Expr, Vec<SyntaxError>> {
        if text.len() > LONGEST_KNOWN {
            return Self::parse(text);
        }
        if let Some(known) = KNOWN.with_borrow(|known| known.get(text).cloned()) {
            return Ok(known);
        }
        let parsed = Self::parse(text)?;
        KNOWN.with_borrow_mut(|known| {
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
            known.insert(Arc::clone(&parsed.source), parsed.clone());
        });
        Ok(parsed)
    }

    /// The text it was parsed from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The same, for those who keep it.
    pub(crate) fn shared_source(&self) -> Arc<str> {
        Arc::clone(&self.source)
    }

    /// Evaluates it.
    pub fn eval(&self, lookup: &dyn Lookup) -> Result<Value, EvalError> {
        Context::new(lookup).eval(&self.root)
    }

    /// Evaluates it as a condition: `true` holds, `false` and null do not, anything else is an error naming the type.
    pub fn check(&self, lookup: &dyn Lookup) -> Result<Checked, EvalError> {
        explain::check(&Context::new(lookup), &self.root)
    }

    /// Every name it refers to.
    pub fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        references::collect(&self.root, false, &mut found);
        found
    }

    /// `Some` when it can only ever be this: no reference in it, or both sides of a comparison are the same.
    pub fn constant(&self) -> Option<bool> {
        references::constant(&self.root)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.root)
    }
}

/// Two expressions are equal when they mean the same, however they are spelled.
impl PartialEq for Expr {
    fn eq(&self, other: &Expr) -> bool {
        self.root == other.root
    }
}

impl SyntaxError {
    /// The same mistake in a text that starts `by` bytes earlier.
    pub(crate) fn shifted(mut self, by: usize) -> SyntaxError {
        self.start += by;
        self.end += by;
        self
    }
}

/// Every function's name.
pub(crate) fn function_names() -> &'static [&'static str] {
    functions::NAMES
}

/// The name of `known` that `wrong` was most likely meant to be.
pub(crate) fn nearest<'k>(wrong: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let folded = wrong.to_ascii_lowercase();
    known
        .into_iter()
        .filter(|name| *name != wrong)
        .map(|name| (strsim::damerau_levenshtein(&folded, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(wrong.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
