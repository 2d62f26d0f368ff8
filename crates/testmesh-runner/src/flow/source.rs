//! The text of a flow file: byte spans to lines and columns, and the line with carets that a finding shows.

use crate::diagnostic::{Code, Diagnostic, Severity};

/// A range of bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    /// First byte.
    pub(crate) start: usize,
    /// One past the last byte.
    pub(crate) end: usize,
}

impl Span {
    /// From `start` to `end`; never reversed.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start, end: end.max(start) }
    }
}

/// The longest line a snippet shows, in characters; longer ones are cut around the place.
const SNIPPET_WIDTH: usize = 160;

/// A file's text with the start of each line.
#[derive(Debug)]
pub(crate) struct Source<'t> {
    /// The text.
    pub(crate) text: &'t str,
    line_starts: Vec<usize>,
}

impl<'t> Source<'t> {
    /// Finds the lines of `text`.
    pub(crate) fn new(text: &'t str) -> Self {
        // Most lines of a flow are longer than this.
        let mut line_starts = Vec::with_capacity(text.len() / 16 + 1);
        line_starts.push(0);
        line_starts.extend(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1));
        Self { text, line_starts }
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&self, at: usize) -> u32 {
        count(self.line_starts.partition_point(|start| *start <= at).max(1))
    }

    /// Line and column, from 1; the column counts characters. A byte order mark has no column.
    pub(crate) fn position(&self, at: usize) -> (u32, u32) {
        let at = self.floor(at);
        let line = self.line(at);
        let start = self.line_starts[line as usize - 1];
        let before = self.text[start..at].trim_start_matches('\u{feff}');
        (line, count(before.chars().count() + 1))
    }

    /// The nearest character boundary at or before `at`.
    fn floor(&self, at: usize) -> usize {
        self.text.floor_char_boundary(at.min(self.text.len()))
    }

    /// The text of a span; empty when it is not one.
    pub(crate) fn slice(&self, span: Span) -> &'t str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// A finding about a span.
    pub(crate) fn diagnostic(&self, code: Code, severity: Severity, span: Span, message: String) -> Diagnostic {
        let (line, column) = self.position(span.start);
        let trimmed = span.start + self.slice(span).trim_end().len();
        let (end_line, end_column) = self.position(trimmed.max(self.next(span.start)));
        Diagnostic {
            code: code.as_str().to_owned(),
            severity,
            message,
            help: None,
            line,
            column,
            end_line,
            end_column: if end_line == line { end_column.max(column + 1) } else { end_column },
            snippet: self.snippet(line, column, (end_line, end_column)),
        }
    }

    /// One past the character at `at`, so that a finding is never empty, unless the line ends there.
    fn next(&self, at: usize) -> usize {
        let at = self.floor(at);
        match self.text[at..].chars().next() {
            None | Some('\n' | '\r') => at,
            Some(character) => at + character.len_utf8(),
        }
    }

    fn snippet(&self, line: u32, column: u32, end: (u32, u32)) -> String {
        let start = self.line_starts[line as usize - 1];
        let stop = self.line_starts.get(line as usize).copied().unwrap_or(self.text.len());
        let source = self.text[start..stop].trim_end_matches(['\n', '\r']).trim_start_matches('\u{feff}');
        let width = source.chars().count();
        let first = column as usize - 1;
        let last = if end.0 == line { end.1 as usize - 1 } else { width };
        let skipped = if width > SNIPPET_WIDTH { first.saturating_sub(SNIPPET_WIDTH / 2) } else { 0 };
        let shown: String = source.chars().skip(skipped).take(SNIPPET_WIDTH).map(visible).collect();
        let first = first - skipped;
        let length = last.saturating_sub(skipped).min(SNIPPET_WIDTH).saturating_sub(first).max(1);
        format!("{shown}\n{}{}", " ".repeat(first), "^".repeat(length))
    }
}

/// One column for each character, so that carets stay below what they mean.
fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        control if control.is_control() => '\u{fffd}',
        other => other,
    }
}

/// Lines and columns stay far below the limit: files are at most a few MiB.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
