//! From a place in a scalar's text to its place in the file, through quotes, escapes, folded lines and indentation.

use super::source::{Source, Span};
use super::yaml::{Node, Style};

/// Where in the file `start..end` of the scalar's text stands; the whole scalar when that cannot be told.
pub(crate) fn locate(source: &Source<'_>, node: &Node<'_>, start: usize, end: usize) -> Span {
    let Some(scalar) = node.scalar() else { return node.span };
    let raw = source.slice(node.span);
    let cooked = &*scalar.text;
    let opening = usize::from(matches!(scalar.style, Style::Single | Style::Double));
    let inner = raw.get(opening..raw.len().saturating_sub(opening)).unwrap_or_default();
    let base = node.span.start + opening;
    if inner == cooked {
        return Span::new(base + start.min(inner.len()), base + end.min(inner.len()));
    }
    let Some(places) = align(inner, cooked, scalar.style) else { return node.span };
    let at = |offset: usize| match places.binary_search_by_key(&offset, |place| place.0) {
        Ok(index) => places[index].1,
        // White space has no place of its own: lines fold. It stands after the character before it.
        Err(0) => 0,
        Err(index) => places[index - 1].2,
    };
    let last = places.get(places.partition_point(|place| place.0 < end).wrapping_sub(1)).map_or(0, |place| place.2);
    Span::new(base + at(start), base + last.max(at(start)))
}

/// For each character of `cooked` that is no white space: its byte there, and its first and last byte in `raw`.
fn align(raw: &str, cooked: &str, style: Style) -> Option<Vec<(usize, usize, usize)>> {
    let mut units = units(raw, style).filter(|unit| !unit.character.is_whitespace());
    let mut places = Vec::with_capacity(cooked.len());
    for (offset, character) in cooked.char_indices().filter(|(_, character)| !character.is_whitespace()) {
        let unit = units.next()?;
        if unit.character != character {
            return None;
        }
        places.push((offset, unit.start, unit.end));
    }
    units.next().is_none().then_some(places)
}

/// A character that a piece of the raw text stands for.
struct Unit {
    character: char,
    start: usize,
    end: usize,
}

fn units(raw: &str, style: Style) -> impl Iterator<Item = Unit> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &raw[at..];
        let first = rest.chars().next()?;
        let (character, length) = match (style, first) {
            (Style::Single, '\'') => ('\'', if rest[1..].starts_with('\'') { 2 } else { 1 }),
            (Style::Double, '\\') => escape(rest),
            _ => (first, first.len_utf8()),
        };
        let unit = Unit { character, start: at, end: at + length };
        at += length;
        Some(unit)
    })
}

/// The character of a double-quoted text's escape at the start of `rest`, and its length.
fn escape(rest: &str) -> (char, usize) {
    let Some(kind) = rest[1..].chars().next() else { return ('\\', 1) };
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        't' | 'n' | 'r' | ' ' | '_' | 'N' | 'L' | 'P' | '\n' | '\t' => return (' ', 1 + kind.len_utf8()),
        '0' => return ('\0', 2),
        'a' => return ('\u{7}', 2),
        'b' => return ('\u{8}', 2),
        'e' => return ('\u{1b}', 2),
        'v' => return ('\u{b}', 2),
        'f' => return ('\u{c}', 2),
        other => return (other, 1 + other.len_utf8()),
    };
    let code = rest.get(2..2 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
    code.map_or(('\\', 1), |character| (character, 2 + digits))
}
