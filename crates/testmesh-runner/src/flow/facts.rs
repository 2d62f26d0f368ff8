//! What a flow defines and what it uses, in the order in which it would run: what the check of references works on.

use super::source::Span;

/// One thing that decoding saw.
#[derive(Debug)]
pub(crate) enum Fact {
    /// A name is known from here on.
    Define(Definition),
    /// A name is needed here.
    Use(Use),
    /// More names are known until the matching `Close`.
    Open(Names),
    /// The end of the innermost `Open`.
    Close,
}

/// A name that a step defines.
#[derive(Debug)]
pub(crate) struct Definition {
    /// The name.
    pub(crate) name: String,
    /// The line of its step.
    pub(crate) line: u32,
    /// What defines it.
    pub(crate) by: Definer,
}

/// What defines a name.
#[derive(Debug)]
pub(crate) enum Definer {
    /// The step of this name; its result has these keys.
    Step(Names),
    /// An output of the step with this id.
    Output {
        /// The step.
        step: String,
    },
}

/// Names known for a while.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The names.
    pub(crate) names: Vec<String>,
    /// Whether any other name may be known too.
    pub(crate) open: bool,
}

impl Names {
    /// Whether the name is one of these, or may be.
    pub(crate) fn may_have(&self, name: &str) -> bool {
        self.open || self.names.iter().any(|known| known == name)
    }
}

/// A name that is needed.
#[derive(Debug)]
pub(crate) struct Use {
    /// The first name of the path.
    pub(crate) root: String,
    /// The plain keys after it.
    pub(crate) keys: Vec<String>,
    /// Whether it may be missing.
    pub(crate) optional: bool,
    /// Where.
    pub(crate) span: Span,
}
