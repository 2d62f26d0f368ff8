//! The expression language: parsed once with byte offsets, evaluated over [`crate::template::Lookup`].
// SKELETON: owner L1. Modules: expr/{lexer,parser,ast,eval,functions,print}.rs

use crate::template::Lookup;
use crate::value::Value;

/// A compiled expression. Its `Display` prints it so that parsing gives the same expression again.
#[derive(Debug, Clone)]
pub struct Expr {
    // L1
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
        let _ = text;
        unimplemented!()
    }
    /// The text it was parsed from.
    pub fn source(&self) -> &str {
        unimplemented!()
    }
    /// Evaluates it.
    pub fn eval(&self, lookup: &dyn Lookup) -> Result<Value, EvalError> {
        let _ = lookup;
        unimplemented!()
    }
    /// Evaluates it as a condition: `true` holds, `false` and null do not, anything else is an error naming the type.
    pub fn check(&self, lookup: &dyn Lookup) -> Result<Checked, EvalError> {
        let _ = lookup;
        unimplemented!()
    }
    /// Every name it refers to.
    pub fn references(&self) -> Vec<Reference> {
        unimplemented!()
    }
    /// `Some` when it can only ever be this: no reference in it, or both sides of a comparison are the same.
    pub fn constant(&self) -> Option<bool> {
        unimplemented!()
    }
}
