//! Text with references (`${…}`, `{{…}}`), compiled once and resolved in a single pass.
//!
//! Text that a reference inserted is never looked at again.
// SKELETON: owner L1.

use crate::builtins::Builtins;
use crate::expr::{EvalError, Reference, SyntaxError};
use crate::value::Value;

/// Where names come from when an expression or template is evaluated.
pub trait Lookup {
    /// The value of a name, or `None` when nothing defines it.
    fn get(&self, name: &str) -> Option<Value>;
    /// Every name that is defined, to suggest a near one.
    fn names(&self) -> Vec<String>;
    /// Generators, time and environment for built-in names and functions. `get` need not know built-in names:
    /// the evaluator asks here when `get` has none.
    fn builtins(&self) -> &Builtins;
}

/// Compiled text.
#[derive(Debug, Clone)]
pub struct Template {
    // L1: parts
}

impl Template {
    /// Compiles `text`. Offsets in errors are bytes of `text`.
    pub fn parse(text: &str) -> Result<Template, Vec<SyntaxError>> {
        let _ = text;
        unimplemented!()
    }
    /// The text when it holds no reference (escapes resolved).
    pub fn as_literal(&self) -> Option<&str> {
        unimplemented!()
    }
    /// The value: of the one reference's own type if the text is exactly one reference, else text.
    pub fn render(&self, lookup: &dyn Lookup) -> Result<Value, EvalError> {
        let _ = lookup;
        unimplemented!()
    }
    /// Every name the text refers to.
    pub fn references(&self) -> Vec<Reference> {
        unimplemented!()
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
    /// Resolves every reference.
    pub fn render(&self, lookup: &dyn Lookup) -> Result<Value, EvalError> {
        let _ = lookup;
        unimplemented!()
    }
}
