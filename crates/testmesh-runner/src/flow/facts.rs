//! What a flow defines and what it uses, in the order in which it would run: what the check of references works on.

use std::borrow::Cow;

use super::source::Span;
use crate::action::ResultField;

/// One thing that decoding saw.
#[derive(Debug)]
pub(crate) enum Fact<'t> {
    /// A name is known from here on.
    Define(Definition<'t>),
    /// A name is needed here.
    Use(Use),
    /// More names are known until the matching `Close`.
    Open(Names<'t>),
    /// The end of the innermost `Open`.
    Close,
}

/// A name that a step defines.
#[derive(Debug)]
pub(crate) struct Definition<'t> {
    /// The name.
    pub(crate) name: Cow<'t, str>,
    /// The line of its step.
    pub(crate) line: u32,
    /// What defines it.
    pub(crate) by: Definer<'t>,
}

/// What defines a name.
#[derive(Debug)]
pub(crate) enum Definer<'t> {
    /// The step of this name; its result has these keys.
    Step(Names<'t>),
    /// An output of the step with this id.
    Output {
        /// The step.
        step: Cow<'t, str>,
    },
}

/// Names known for a while.
#[derive(Debug, Default)]
pub(crate) struct Names<'t> {
    /// Names that the flow gives.
    pub(crate) given: Vec<Cow<'t, str>>,
    /// Names that are always the same.
    pub(crate) fixed: &'static [&'static str],
    /// What an action's result holds.
    pub(crate) result: &'static [ResultField],
    /// Whether any other name may be known too.
    pub(crate) open: bool,
    /// Whether names that later steps define may be used: what is here is resolved when the time comes.
    pub(crate) later: bool,
}

impl Names<'_> {
    /// Whether the name is one of these, or may be.
    pub(crate) fn may_have(&self, name: &str) -> bool {
        self.open || self.each().any(|known| known == name)
    }

    /// Every name.
    pub(crate) fn each(&self) -> impl Iterator<Item = &str> {
        let result = self.result.iter().map(|field| field.name);
        self.given.iter().map(|name| &**name).chain(self.fixed.iter().copied()).chain(result)
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
