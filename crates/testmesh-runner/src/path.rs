//! Paths into a step's result, for `output`: `body.items[0].id`, `$.items[*].id`, `$..id`.
// SKELETON: owner L1.

use crate::expr::{EvalError, SyntaxError};
use crate::value::Value;

/// A compiled path. Plain paths walk the value; paths with `[*]`, filters or `..` follow RFC 9535.
#[derive(Debug, Clone)]
pub struct ResultPath {
    // L1
}

/// Where a path looks: the whole result, and what `$` and bare names mean for this action.
#[derive(Debug)]
pub struct PathRoots<'a> {
    /// The whole result (a map).
    pub result: &'a Value,
    /// What `$` alone is, and where `$.x` and bare `x` look first: the body for HTTP, the first message's value for
    /// Kafka. `None`: the result itself.
    pub primary: Option<&'a Value>,
    /// Bare names that mean the result even where `primary` has them (`status`, `headers`, `duration_ms` for HTTP).
    pub reserved: &'a [&'a str],
    /// The step's own id, accepted as a root.
    pub step_id: &'a str,
}

impl ResultPath {
    /// Compiles a path. A `?` at its end makes it optional.
    pub fn parse(text: &str) -> Result<ResultPath, Vec<SyntaxError>> {
        let _ = text;
        unimplemented!()
    }
    /// Whether it ends in `?`.
    pub fn optional(&self) -> bool {
        unimplemented!()
    }
    /// The value at the path; `None` when there is none.
    pub fn find(&self, roots: &PathRoots<'_>) -> Result<Option<Value>, EvalError> {
        let _ = roots;
        unimplemented!()
    }
}
