//! Collects findings: every mistake of a file in one go, each said once, in the order of the text.

use std::collections::HashSet;

use super::source::{Source, Span};
use crate::diagnostic::{Code, Diagnostic, Severity};

/// The most findings one file gets; what is beyond helps nobody.
const MOST: usize = 500;

/// The findings about one file.
#[derive(Debug)]
pub(crate) struct Findings<'t> {
    /// The file.
    pub(crate) source: Source<'t>,
    list: Vec<(usize, Diagnostic)>,
    seen: HashSet<(Code, Span, String)>,
    /// Whether the last one was new, so that help goes to the finding it belongs to.
    fresh: bool,
}

impl<'t> Findings<'t> {
    /// None so far.
    pub(crate) fn new(text: &'t str) -> Self {
        Self { source: Source::new(text), list: Vec::new(), seen: HashSet::new(), fresh: false }
    }

    /// An error.
    pub(crate) fn error(&mut self, code: Code, span: Span, message: impl Into<String>) -> &mut Self {
        self.add(code, Severity::Error, span, message.into());
        self
    }

    /// A warning.
    pub(crate) fn warning(&mut self, code: Code, span: Span, message: impl Into<String>) -> &mut Self {
        self.add(code, Severity::Warning, span, message.into());
        self
    }

    /// What to do about the finding just added.
    pub(crate) fn help(&mut self, help: impl Into<Option<String>>) {
        if self.fresh
            && let Some((_, last)) = self.list.last_mut()
        {
            last.help = help.into();
        }
    }

    fn add(&mut self, code: Code, severity: Severity, span: Span, message: String) {
        // A part used through several aliases is checked at each use; what is wrong with it is said once.
        self.fresh = self.list.len() < MOST && self.seen.insert((code, span, message.clone()));
        if self.fresh {
            self.list.push((span.start, self.source.diagnostic(code, severity, span, message)));
        }
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.seen.clear();
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether one of those from `first` on is an error.
    pub(crate) fn any_error_since(&self, first: usize) -> bool {
        self.list[first..].iter().any(|(_, finding)| finding.severity == Severity::Error)
    }

    /// Makes errors of the warnings from `first` on.
    pub(crate) fn make_strict(&mut self, first: usize) {
        for (_, finding) in &mut self.list[first..] {
            finding.severity = Severity::Error;
        }
    }

    /// All, in the order of the text.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|(start, finding)| (*start, finding.severity));
        self.list.into_iter().map(|(_, finding)| finding).collect()
    }
}
