//! Numbers and texts as they are written in an expression.

use super::ast::{Kind, Piece};
use super::lexer::Token;
use super::parser::{Parse, Parser, fault};
use crate::value::{Value, parse_number};

/// The number a text says.
pub(super) fn number(text: &str) -> Option<Value> {
    parse_number(text)
}

/// A negative number, where `kind` is a number: `-1` is a literal and no operation.
pub(super) fn negated(kind: &Kind) -> Option<Value> {
    match kind {
        Kind::Literal(Value::UInt(number)) if *number == i64::MIN.unsigned_abs() => Some(Value::Int(i64::MIN)),
        Kind::Literal(Value::UInt(number)) => Some(Value::Decimal(-rust_decimal::Decimal::from(*number))),
        Kind::Literal(value) if crate::value::is_number(value) => super::arithmetic::negate(value).ok(),
        _ => None,
    }
}

/// The pieces of a text, up to its closing quote. The opening one was at `open`.
pub(super) fn text(parser: &mut Parser<'_>, open: Token<'_>, quote: char) -> Parse<Vec<Piece>> {
    let source = parser.lexer.text;
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut at = open.end;
    loop {
        let rest = &source[at..];
        let Some(next) = rest.chars().next() else {
            let help = Some(format!("add the closing `{quote}`"));
            return Err(fault("the text is never closed", help, open.start, source.len()));
        };
        if next == quote {
            parser.seek(at + 1);
            break;
        }
        if rest.starts_with("$${") {
            plain.push_str("${");
            at += 3;
        } else if rest.starts_with("\\{{") {
            plain.push_str("{{");
            at += 3;
        } else if rest.starts_with("${") || rest.starts_with("{{") {
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
            }
            let (node, end) = parser.reference_at(at)?;
            pieces.push(Piece::Reference(node));
            at = end;
        } else if next == '\\' {
            at += escape(rest, &mut plain);
        } else {
            plain.push(next);
            at += next.len_utf8();
        }
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain.into()));
    }
    Ok(pieces)
}

/// Reads one escape, and says how long it is. An unknown one stays as it is, so that `"^\d+$"` is the pattern it looks.
fn escape(rest: &str, plain: &mut String) -> usize {
    let meant = match rest.as_bytes().get(1) {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'\\') => '\\',
        Some(b'"') => '"',
        Some(b'\'') => '\'',
        Some(b'u') => {
            if let Some(found) =
                rest.get(2..6).and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32)
            {
                plain.push(found);
                return 6;
            }
            '\0'
        }
        _ => '\0',
    };
    if meant == '\0' {
        plain.push('\\');
        return 1;
    }
    plain.push(meant);
    2
}
