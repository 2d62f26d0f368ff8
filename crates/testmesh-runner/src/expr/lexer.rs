//! Words, numbers and symbols of an expression, each with the bytes it stands at.
//!
//! The lexer never fails and never allocates: what it does not know is a [`Lexeme::Unknown`], which the parser reports.

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Token<'s> {
    pub(super) lexeme: Lexeme<'s>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What a piece of the text is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Lexeme<'s> {
    /// A name or a keyword.
    Word(&'s str),
    /// A number as it is written.
    Number(&'s str),
    /// The opening quote of a text.
    Quote(char),
    /// An operator or a bracket.
    Symbol(&'static str),
    /// A character that means nothing here.
    Unknown(char),
    /// The end of the text.
    End,
}

/// The symbols that begin with `first`, longest first, so that `==` is not two `=`.
fn symbols(first: u8) -> &'static [&'static str] {
    match first {
        b'=' => &["===", "==", "="],
        b'!' => &["!==", "!=", "!"],
        b'<' => &["<=", "<"],
        b'>' => &[">=", ">"],
        b'&' => &["&&"],
        b'|' => &["||"],
        b'?' => &["??", "?"],
        b'$' => &["${", "$"],
        b'{' => &["{{", "{"],
        b'+' => &["+"],
        b'-' => &["-"],
        b'*' => &["*"],
        b'/' => &["/"],
        b'%' => &["%"],
        b':' => &[":"],
        b',' => &[","],
        b'.' => &["."],
        b'(' => &["("],
        b')' => &[")"],
        b'[' => &["["],
        b']' => &["]"],
        b'}' => &["}"],
        b'#' => &["#"],
        _ => &[],
    }
}

/// Reads tokens from a place in a text.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'s> {
    pub(super) text: &'s str,
    pub(super) at: usize,
}

impl<'s> Lexer<'s> {
    /// What is left of the text.
    pub(super) fn rest(&self) -> &'s str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes over white space.
    pub(super) fn skip_space(&mut self) {
        let rest = self.rest();
        // Most tokens have no space before them, or one.
        if rest.as_bytes().first().is_some_and(u8::is_ascii_graphic) {
            return;
        }
        self.at += rest.len() - rest.trim_start().len();
    }

    /// The next token; [`Lexeme::End`] again and again at the end.
    pub(super) fn next(&mut self) -> Token<'s> {
        self.skip_space();
        let start = self.at;
        let rest = self.rest();
        let (lexeme, length) = match rest.chars().next() {
            None => (Lexeme::End, 0),
            Some(quote @ ('"' | '\'')) => (Lexeme::Quote(quote), 1),
            Some(first) if first.is_ascii_digit() => number(rest),
            Some(first) if is_name_start(first) => {
                let length = word(rest);
                (Lexeme::Word(&rest[..length]), length)
            }
            Some(first) => symbol(rest).unwrap_or((Lexeme::Unknown(first), first.len_utf8())),
        };
        self.at += length;
        Token { lexeme, start, end: self.at }
    }

    /// A key right after a `.`: letters, digits, `_` and `-`; empty when there is none.
    pub(super) fn key(&mut self) -> &'s str {
        let rest = self.rest();
        let length = rest.find(|c: char| !is_name_part(c) && c != '-').unwrap_or(rest.len());
        // `a.b-1` subtracts and `a.b->c` is nothing: a hyphen joins only what goes on with a letter.
        let length = if length > 0 { word(rest).min(length).max(digits(rest)) } else { 0 };
        self.at += length;
        &rest[..length]
    }
}

fn symbol(rest: &str) -> Option<(Lexeme<'static>, usize)> {
    // `a?.b` navigates, but `a ?.5 : 1` chooses.
    if let Some(after) = rest.strip_prefix("?.")
        && after.starts_with(|c: char| is_name_start(c) || c == '[')
    {
        return Some((Lexeme::Symbol("?."), 2));
    }
    let found = symbols(*rest.as_bytes().first()?).iter().find(|symbol| rest.starts_with(**symbol))?;
    Some((Lexeme::Symbol(found), found.len()))
}

fn is_name_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn is_name_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn digits(rest: &str) -> usize {
    // Names are ASCII, as a rule.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = rest.bytes().position(|byte| !plain(&byte)).unwrap_or(rest.len());
    if rest.as_bytes().get(length).is_none_or(u8::is_ascii) {
        return length;
    }
    rest.find(|c: char| !is_name_part(c)).unwrap_or(rest.len())
}

/// Length of the name at the start of `rest`. Step ids may hold hyphens, so `a-b` is one name (a difference is written
/// `a - b`); before a number a hyphen is a minus, unless the number is followed by a step, as in `step-1.body`.
fn word(rest: &str) -> usize {
    let mut length = digits(rest);
    while let Some(after) = rest[length..].strip_prefix('-') {
        let part = digits(after);
        let is_number = after[..part].starts_with(|c: char| c.is_ascii_digit());
        let follows = &after[part..];
        let has_step = follows.starts_with('[')
            || follows
                .strip_prefix("?.")
                .or(follows.strip_prefix('.'))
                .is_some_and(|key| key.starts_with(is_name_start));
        if part == 0 || (is_number && !has_step) {
            break;
        }
        length += 1 + part;
    }
    length
}

fn number(rest: &str) -> (Lexeme<'_>, usize) {
    let whole = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut length = whole(rest);
    if let Some(fraction) = rest[length..].strip_prefix('.')
        && whole(fraction) > 0
    {
        length += 1 + whole(fraction);
    }
    if let Some(exponent) = rest[length..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let figures = whole(&exponent[sign..]);
        if figures > 0 {
            length += 1 + sign + figures;
        }
    }
    // Letters that cling to a number belong to the mistake: `1abc`.
    length += digits(&rest[length..]);
    (Lexeme::Number(&rest[..length]), length)
}
