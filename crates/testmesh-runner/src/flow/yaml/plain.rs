//! The YAML that nearly every flow is written in, read in one pass over its bytes: maps and lists by indentation, texts
//! on one line, literal blocks, short `[…]` and `{…}`.
//!
//! It gives exactly the tree that the full parser gives, or nothing: whatever is unusual or wrong (anchors, tags, texts
//! over several lines, duplicate keys, several documents, any mistake at all) is left to the full parser, which alone
//! reports. It is there for speed: the full parser needs some 280 instructions for each byte.

use std::borrow::Cow;

use super::super::scalar::{self, Literal};
use super::super::source::Span;
use super::{Entry, MAX_NODES, Node, NodeKind, Scalar, Style};

/// The deepest nesting it reads, well below the limit that the full parser enforces.
const MAX_DEPTH: usize = 32;
/// The longest key it reads; the full parser knows what to say about longer ones.
const MAX_KEY: usize = 1_000;

/// The one document of `text`; `None` when the full parser has to look.
pub(super) fn document(text: &str, string_bytes: usize) -> Option<Node<'_>> {
    if !is_printable(text) {
        return None;
    }
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, column: None, n_nodes: 0, string_bytes };
    if text.starts_with("---\n") {
        reader.at = 4;
    }
    reader.next_line()?;
    reader.column?;
    let node = reader.block(0)?;
    reader.column.is_none().then_some(node)
}

/// Whether there is nothing but printable characters, plain spaces and line feeds.
fn is_printable(text: &str) -> bool {
    let plain = |byte: u8| byte == b'\n' || matches!(byte, b' '..=b'~');
    // Without an early end, so that many bytes are compared at a time.
    if text.bytes().fold(true, |all, byte| all & plain(byte)) {
        return true;
    }
    text.chars().all(|character| match u8::try_from(character) {
        Ok(byte) if byte.is_ascii() => plain(byte),
        _ => {
            let special = matches!(character, '\u{feff}' | '\u{fff0}'..='\u{ffff}');
            !special && !character.is_control() && !character.is_whitespace()
        }
    })
}

/// What ends a text without quotes.
#[derive(PartialEq, Eq)]
enum Ending {
    /// The `:` of a key, at this byte.
    Colon(usize),
    /// The end of the line, or a comment.
    Line,
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    /// The byte it looks at. Between two values: the first of the next line's content.
    at: usize,
    /// How far that content is indented; none at the end of the text.
    column: Option<usize>,
    n_nodes: usize,
    string_bytes: usize,
}

impl<'t> Reader<'t> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// Whether a line ends at `at`.
    fn ends_line(&self, at: usize) -> bool {
        self.byte(at).is_none_or(|byte| byte == b'\n')
    }

    /// Whether a word ends at `at`: a space or the line's end.
    fn ends_word(&self, at: usize) -> bool {
        self.byte(at).is_none_or(|byte| matches!(byte, b' ' | b'\n'))
    }

    /// Goes to the first content at or after the line that begins at `at`.
    fn next_line(&mut self) -> Option<()> {
        loop {
            let start = self.at;
            while self.byte(self.at) == Some(b' ') {
                self.at += 1;
            }
            match self.byte(self.at) {
                None => {
                    self.column = None;
                    return Some(());
                }
                Some(b'\n') => self.at += 1,
                Some(b'#') => self.pass_line(),
                Some(_) => {
                    let column = self.at - start;
                    let rest = &self.bytes[self.at..];
                    let marker = column == 0 && (rest.starts_with(b"---") || rest.starts_with(b"..."));
                    self.column = Some(column);
                    return (!marker).then_some(());
                }
            }
        }
    }

    /// Goes to the beginning of the next line.
    fn pass_line(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at = memchr::memchr(b'\n', rest).map_or(self.bytes.len(), |length| self.at + length + 1);
    }

    /// Ends a line on which only a comment may follow, and goes to the next content.
    fn end_line(&mut self) -> Option<()> {
        let start = self.at;
        while self.byte(self.at) == Some(b' ') {
            self.at += 1;
        }
        let comment = self.byte(self.at) == Some(b'#') && self.at > start;
        if !comment && !self.ends_line(self.at) {
            return None;
        }
        self.pass_line();
        self.next_line()
    }

    /// Whether the content at `at` is an entry of a list.
    fn is_item(&self) -> bool {
        self.byte(self.at) == Some(b'-') && self.ends_word(self.at + 1)
    }

    fn count(&mut self, depth: usize) -> Option<()> {
        self.n_nodes += 1;
        (self.n_nodes < MAX_NODES / 2 && depth < MAX_DEPTH).then_some(())
    }

    /// The value whose content begins at `at`, which is in column `column`. A text must be followed by a line that does
    /// not belong to it: the caller checks that.
    fn block(&mut self, depth: usize) -> Option<Node<'t>> {
        self.count(depth)?;
        if self.is_item() {
            return self.list(depth, false);
        }
        match self.byte(self.at)? {
            b'"' | b'\'' | b'[' | b'{' => self.inline(depth),
            _ => {
                let start = self.at;
                let (end, ending) = self.plain()?;
                match ending {
                    Ending::Colon(colon) => self.map(depth, (start, end, colon)),
                    Ending::Line => self.plain_value(start, end),
                }
            }
        }
    }

    /// The lines of a map, from its first key on.
    fn map(&mut self, depth: usize, first: (usize, usize, usize)) -> Option<Node<'t>> {
        let column = self.column?;
        let mut entries: Vec<Entry<'t>> = Vec::with_capacity(4);
        let (mut start, mut end, mut colon) = first;
        loop {
            self.count(depth)?;
            let key = &self.text[start..end];
            if key == "<<" || key.len() > MAX_KEY.min(self.string_bytes) || entries.iter().any(|entry| entry.key == key)
            {
                return None;
            }
            self.at = colon + 1;
            let value = self.value(depth, column, colon)?;
            entries.push(Entry { key: Cow::Borrowed(key), key_span: Span::new(start, end), value });
            match self.column {
                Some(next) if next == column => {}
                Some(next) if next > column => return None,
                _ => break,
            }
            if self.is_item() {
                return None;
            }
            start = self.at;
            let (key_end, Ending::Colon(key_colon)) = self.plain()? else { return None };
            (end, colon) = (key_end, key_colon);
        }
        Some(Node { span: Span::new(first.0, self.at), kind: NodeKind::Map(entries) })
    }

    /// What stands after a key's `:`, on the same line or below.
    fn value(&mut self, depth: usize, column: usize, colon: usize) -> Option<Node<'t>> {
        while self.byte(self.at) == Some(b' ') {
            self.at += 1;
        }
        let inline = !self.ends_line(self.at) && self.byte(self.at) != Some(b'#');
        let node = if inline {
            self.count(depth)?;
            match self.byte(self.at)? {
                b'|' => return self.literal(column),
                b'"' | b'\'' | b'[' | b'{' => self.inline(depth + 1)?,
                b'-' if self.is_item() => return None,
                _ => {
                    let start = self.at;
                    let (end, Ending::Line) = self.plain()? else { return None };
                    self.plain_value(start, end)?
                }
            }
        } else {
            self.pass_line();
            self.next_line()?;
            match self.column {
                Some(next) if next > column => self.block(depth + 1)?,
                Some(next) if next == column && self.is_item() => {
                    self.count(depth)?;
                    self.list(depth + 1, true)?
                }
                _ => self.nothing(depth, colon)?,
            }
        };
        self.column.is_none_or(|next| next <= column).then_some(node)
    }

    /// The lines of a list. One that is indented no further than its key has its place after the first `-`, as the full
    /// parser has it.
    fn list(&mut self, depth: usize, level: bool) -> Option<Node<'t>> {
        let column = self.column?;
        let dash = self.at;
        let mut start = None;
        let mut items = Vec::with_capacity(4);
        loop {
            let dash = self.at;
            self.at += 1;
            while self.byte(self.at) == Some(b' ') {
                self.at += 1;
            }
            if self.ends_line(self.at) || self.byte(self.at) == Some(b'#') {
                self.pass_line();
                self.next_line()?;
            } else {
                self.column = Some(column + self.at - dash);
            }
            start.get_or_insert(self.at);
            // Where an item without a value has its place is the full parser's affair.
            if self.column.is_none_or(|next| next <= column) {
                return None;
            }
            items.push(self.block(depth + 1)?);
            match self.column {
                Some(next) if next == column && self.is_item() => {}
                Some(next) if next > column || (next == column && !level) => return None,
                _ => break,
            }
        }
        let start = if level { start? } else { dash };
        Some(Node { span: Span::new(start, self.at), kind: NodeKind::List(items) })
    }

    /// No value, where one could stand.
    fn nothing(&mut self, depth: usize, at: usize) -> Option<Node<'t>> {
        self.count(depth)?;
        let scalar = Scalar { text: Cow::Borrowed("~"), style: Style::Plain, literal: Literal::Null };
        Some(Node { span: Span::new(at, at), kind: NodeKind::Scalar(scalar) })
    }

    /// Where the text without quotes at `at` ends, and what ends it.
    fn plain(&self) -> Option<(usize, Ending)> {
        let first = self.byte(self.at)?;
        let special = matches!(
            first,
            b',' | b'['
                | b']'
                | b'{'
                | b'}'
                | b'#'
                | b'&'
                | b'*'
                | b'!'
                | b'|'
                | b'>'
                | b'\''
                | b'"'
                | b'%'
                | b'@'
                | b'`'
                | b'?'
                | b':'
        );
        if special || self.is_item() {
            return None;
        }
        let mut end = self.at;
        let mut ending = Ending::Line;
        while let Some(length) = memchr::memchr3(b'\n', b':', b'#', &self.bytes[end..]) {
            end += length;
            match self.bytes[end] {
                b':' if self.ends_word(end + 1) => {
                    ending = Ending::Colon(end);
                    break;
                }
                b'#' if self.bytes[end - 1] == b' ' => break,
                b'\n' => break,
                _ => end += 1,
            }
        }
        if self.byte(end).is_none_or(|byte| !matches!(byte, b'\n' | b':' | b'#')) {
            end = self.bytes.len();
        }
        while self.bytes[end - 1] == b' ' {
            end -= 1;
        }
        Some((end, ending))
    }

    /// The scalar of a text without quotes, to the end of its line.
    fn plain_value(&mut self, start: usize, end: usize) -> Option<Node<'t>> {
        self.at = end;
        self.end_line()?;
        let text = &self.text[start..end];
        let scalar = Scalar { text: Cow::Borrowed(text), style: Style::Plain, literal: scalar::resolve(text) };
        (text.len() <= self.string_bytes)
            .then_some(Node { span: Span::new(start, end), kind: NodeKind::Scalar(scalar) })
    }

    /// A text in quotes, or a list or map in brackets, to the end of its line.
    fn inline(&mut self, depth: usize) -> Option<Node<'t>> {
        let node = self.flow(depth)?;
        self.end_line()?;
        Some(node)
    }

    /// A text in quotes, or a list or map in brackets, on one line.
    fn flow(&mut self, depth: usize) -> Option<Node<'t>> {
        match self.byte(self.at)? {
            b'"' => self.double(),
            b'\'' => self.single(),
            b'[' => self.flow_list(depth),
            b'{' => self.flow_map(depth),
            _ => None,
        }
    }

    fn quoted(&mut self, start: usize, text: Cow<'t, str>, style: Style) -> Option<Node<'t>> {
        let fits = text.len() <= self.string_bytes;
        let scalar = Scalar { text, style, literal: Literal::Text };
        fits.then_some(Node { span: Span::new(start, self.at), kind: NodeKind::Scalar(scalar) })
    }

    fn double(&mut self) -> Option<Node<'t>> {
        let start = self.at;
        let length = memchr::memchr3(b'"', b'\\', b'\n', &self.bytes[start + 1..])?;
        let end = start + 1 + length;
        if self.bytes[end] != b'"' {
            return None;
        }
        self.at = end + 1;
        self.quoted(start, Cow::Borrowed(&self.text[start + 1..end]), Style::Double)
    }

    fn single(&mut self) -> Option<Node<'t>> {
        let start = self.at;
        let mut end = start + 1;
        let mut doubled = false;
        loop {
            end += memchr::memchr2(b'\'', b'\n', &self.bytes[end..])?;
            if self.bytes[end] == b'\n' {
                return None;
            }
            if self.byte(end + 1) != Some(b'\'') {
                break;
            }
            doubled = true;
            end += 2;
        }
        self.at = end + 1;
        let inner = &self.text[start + 1..end];
        let text = if doubled { Cow::Owned(inner.replace("''", "'")) } else { Cow::Borrowed(inner) };
        self.quoted(start, text, Style::Single)
    }

    fn pass_spaces(&mut self) {
        while self.byte(self.at) == Some(b' ') {
            self.at += 1;
        }
    }

    fn flow_list(&mut self, depth: usize) -> Option<Node<'t>> {
        let start = self.at;
        let mut items = Vec::new();
        self.at += 1;
        self.pass_spaces();
        while self.byte(self.at)? != b']' {
            items.push(self.flow_value(depth + 1)?);
            self.pass_comma(b']')?;
        }
        self.at += 1;
        Some(Node { span: Span::new(start, self.at), kind: NodeKind::List(items) })
    }

    fn flow_map(&mut self, depth: usize) -> Option<Node<'t>> {
        let start = self.at;
        let mut entries: Vec<Entry<'t>> = Vec::new();
        self.at += 1;
        self.pass_spaces();
        while self.byte(self.at)? != b'}' {
            self.count(depth)?;
            let (from, to) = self.flow_word()?;
            let key = &self.text[from..to];
            if self.byte(self.at) != Some(b':') || self.byte(self.at + 1) != Some(b' ') {
                return None;
            }
            if key.len() > MAX_KEY.min(self.string_bytes) || entries.iter().any(|entry| entry.key == key) {
                return None;
            }
            self.at += 1;
            self.pass_spaces();
            let value = self.flow_value(depth + 1)?;
            entries.push(Entry { key: Cow::Borrowed(key), key_span: Span::new(from, to), value });
            self.pass_comma(b'}')?;
        }
        self.at += 1;
        Some(Node { span: Span::new(start, self.at), kind: NodeKind::Map(entries) })
    }

    /// Passes over a comma with another value after it, or stops at the closing bracket.
    fn pass_comma(&mut self, close: u8) -> Option<()> {
        self.pass_spaces();
        if self.byte(self.at)? == close {
            return Some(());
        }
        if self.byte(self.at)? != b',' || self.byte(self.at + 1)? != b' ' {
            return None;
        }
        self.at += 1;
        self.pass_spaces();
        (self.byte(self.at)? != close).then_some(())
    }

    fn flow_value(&mut self, depth: usize) -> Option<Node<'t>> {
        self.count(depth)?;
        if matches!(self.byte(self.at)?, b'"' | b'\'' | b'[' | b'{') {
            return self.flow(depth);
        }
        let (start, end) = self.flow_word()?;
        // What follows says that this was the whole text, and no key.
        if !matches!(self.byte(self.at)?, b',' | b']' | b'}' | b' ') {
            return None;
        }
        let text = &self.text[start..end];
        let scalar = Scalar { text: Cow::Borrowed(text), style: Style::Plain, literal: scalar::resolve(text) };
        (text.len() <= self.string_bytes)
            .then_some(Node { span: Span::new(start, end), kind: NodeKind::Scalar(scalar) })
    }

    /// A text without quotes and without anything that could mean something in brackets.
    fn flow_word(&mut self) -> Option<(usize, usize)> {
        let start = self.at;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-');
        while self.byte(self.at).is_some_and(plain) {
            self.at += 1;
        }
        let begins_well =
            self.byte(start).is_some_and(|first| first.is_ascii_alphanumeric() || matches!(first, b'_' | b'/' | b'.'));
        begins_well.then_some((start, self.at))
    }

    /// A block of lines below `|` or `|-`, below a key in `column`.
    fn literal(&mut self, column: usize) -> Option<Node<'t>> {
        let strip = self.byte(self.at + 1) == Some(b'-');
        self.at += if strip { 2 } else { 1 };
        if self.byte(self.at) != Some(b'\n') {
            return None;
        }
        self.at += 1;
        let indent = self.bytes[self.at..].iter().take_while(|byte| **byte == b' ').count();
        if indent <= column || self.ends_line(self.at + indent) {
            return None;
        }
        let start = self.at + indent;
        let mut text = String::new();
        let mut n_blank = 0;
        let after = loop {
            let spaces = self.bytes[self.at..].iter().take(indent).take_while(|byte| **byte == b' ').count();
            let content = self.at + spaces;
            if self.byte(content) == Some(b'\n') {
                n_blank += 1;
                self.at = content + 1;
                continue;
            }
            if spaces < indent {
                break content;
            }
            let end = content + memchr::memchr(b'\n', &self.bytes[content..])?;
            if !text.is_empty() {
                text.push('\n');
            }
            text.extend(std::iter::repeat_n('\n', n_blank));
            n_blank = 0;
            text.push_str(&self.text[content..end]);
            self.at = end + 1;
        };
        if !strip {
            text.push('\n');
        }
        self.next_line()?;
        let fits = text.len() <= self.string_bytes && self.column.is_none_or(|next| next <= column);
        let scalar = Scalar { text: Cow::Owned(text), style: Style::Block, literal: Literal::Text };
        fits.then_some(Node { span: Span::new(start, after), kind: NodeKind::Scalar(scalar) })
    }
}

#[cfg(test)]
mod tests;
