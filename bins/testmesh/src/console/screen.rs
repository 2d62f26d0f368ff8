//! Standard output and standard error: colours, one line of status at the bottom, and readers that went away.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _, Write as _};

use crate::args::Color;

/// Where text goes.
#[derive(Debug)]
pub(crate) struct Screen {
    paint: Paint,
    terminal: bool,
    width: usize,
    status_shown: bool,
    /// Whoever read standard output has closed it: nothing more is written there, the work goes on.
    closed: bool,
}

impl Screen {
    /// Standard output, with colours as asked for.
    pub(crate) fn stdout(color: Color) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        let terminal = io::stdout().is_terminal() && !dumb;
        let on = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && set("NO_COLOR").is_none(),
        };
        let columns = set("COLUMNS").and_then(|columns| columns.to_str()?.parse().ok());
        Self { paint: Paint { on }, terminal, width: columns.unwrap_or(80), status_shown: false, closed: false }
    }

    /// The colours.
    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// Whether a person looks on.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Columns of a line.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Writes text, above the status if there is one.
    pub(crate) fn print(&mut self, text: &str) {
        self.clear_status();
        self.write_bytes(text.as_bytes());
    }

    /// Writes bytes as they are.
    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        let mut out = io::stdout().lock();
        self.closed = out.write_all(bytes).and_then(|()| out.flush()).is_err();
    }

    /// Puts a line of status at the bottom, in place of the one before.
    pub(crate) fn set_status(&mut self, line: &str) {
        self.write_bytes(format!("\r\u{1b}[2K{line}").as_bytes());
        self.status_shown = true;
    }

    /// Takes the line of status away.
    pub(crate) fn clear_status(&mut self) {
        if std::mem::replace(&mut self.status_shown, false) {
            self.write_bytes(b"\r\x1b[2K");
        }
    }

    /// Says something on standard error.
    pub(crate) fn complain(text: &str) {
        // Nobody is left to be told when standard error is gone too.
        let _ = writeln!(io::stderr(), "testmesh: {}", clean(text));
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// No colours.
    pub(crate) fn plain() -> Self {
        Self { on: false }
    }

    /// Whether there are any.
    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    /// Adds a text to `out`.
    pub(crate) fn push(self, out: &mut String, tone: Tone, text: impl Display) {
        let _ = if self.on { write!(out, "\u{1b}[{}m{text}\u{1b}[0m", tone.code()) } else { write!(out, "{text}") };
    }

    fn with(self, tone: Tone, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 10);
        self.push(&mut out, tone, text);
        out
    }

    /// As [`Tone::Good`].
    pub(crate) fn good(self, text: &str) -> String {
        self.with(Tone::Good, text)
    }

    /// As [`Tone::Bad`].
    pub(crate) fn bad(self, text: &str) -> String {
        self.with(Tone::Bad, text)
    }

    /// As [`Tone::Warn`].
    pub(crate) fn warn(self, text: &str) -> String {
        self.with(Tone::Warn, text)
    }

    /// As [`Tone::Dim`].
    pub(crate) fn dim(self, text: &str) -> String {
        self.with(Tone::Dim, text)
    }

    /// As [`Tone::Bold`].
    pub(crate) fn bold(self, text: &str) -> String {
        self.with(Tone::Bold, text)
    }
}

/// What a colour says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tone {
    /// It holds.
    Good,
    /// It does not.
    Bad,
    /// It deserves a look.
    Warn,
    /// It stands back.
    Dim,
    /// It stands out.
    Bold,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Warn => "33",
            Tone::Dim => "2",
            Tone::Bold => "1",
        }
    }
}

/// Text that cannot move a terminal's cursor or change its colours: control characters other than line ends and tabs
/// are shown by their picture.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let harmless = |character: char| !character.is_control() || matches!(character, '\n' | '\t');
    let plain = |byte: u8| matches!(byte, b' '..=b'~');
    if text.bytes().all(plain) || text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let picture = |character: char| match u32::from(character) {
        _ if harmless(character) => character,
        code @ 0..=0x1f => char::from_u32(0x2400 + code).unwrap_or('\u{fffd}'),
        0x7f => '\u{2421}',
        _ => '\u{fffd}',
    };
    Cow::Owned(text.replace("\r\n", "\n").chars().map(picture).collect())
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn control_characters_become_pictures() {
        for (text, expect) in [
            ("plain\n\tä", "plain\n\tä"),
            ("\u{1b}[31mred", "␛[31mred"),
            ("a\r\nb\rc", "a\nb␍c"),
            ("\u{9b}x", "\u{fffd}x"),
        ] {
            assert_eq!(clean(text), expect, "{text:?}");
        }
    }
}
