//! Prints an expression so that parsing gives the same tree again.

use std::fmt::{self, Write as _};

use super::ast::{Kind, Node, Path, Piece, Root, Step, StepKind};
use crate::value::Value;

impl fmt::Display for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Literal(value) => literal(value, out),
            Kind::Text(pieces) => text(pieces, out),
            Kind::List(items) => {
                out.write_char('[')?;
                separated(items, out)?;
                out.write_char(']')
            }
            Kind::Map(entries) => map(entries, out),
            Kind::Path(path) => write!(out, "{path}"),
            Kind::Not(inner) => write!(out, "not {}", Operand(inner)),
            Kind::Negate(inner) => write!(out, "-{}", Operand(inner)),
            Kind::Binary(operator, sides) => {
                write!(out, "{} {} {}", Operand(&sides.0), operator.symbol(), Operand(&sides.1))
            }
            Kind::Matches(sides, _) => write!(out, "{} matches {}", Operand(&sides.0), Operand(&sides.1)),
            Kind::Schema(sides) => write!(out, "{} matches_schema {}", Operand(&sides.0), Operand(&sides.1)),
            Kind::Choose(parts) => {
                write!(out, "{} ? {} : {}", Operand(&parts.0), Operand(&parts.1), Operand(&parts.2))
            }
            Kind::Call(function, args) => {
                write!(out, "{}(", function.name)?;
                for (index, arg) in args.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    if function.predicate && index == 1 {
                        write!(out, "{comma}{{ {arg} }}")?;
                    } else {
                        write!(out, "{comma}{arg}")?;
                    }
                }
                out.write_char(')')
            }
            Kind::Fake(kind) => write!(out, "fake.{kind}()"),
            Kind::Exists(inner) => write!(out, "{} exists", Operand(inner)),
            Kind::Is(inner, sort) => write!(out, "{} is {}", Operand(inner), sort.word()),
            Kind::Snapshot(inner, name) => {
                write!(out, "{} match_snapshot ", Operand(inner))?;
                quoted(name, out)
            }
            Kind::Default(path, text) if super::parser::is_balanced(text) => write!(out, "${{{path}:{text}}}"),
            // Between double braces a lone brace is only text; the space keeps a last one from closing too early.
            Kind::Default(path, text) => write!(out, "{{{{{path}:{text} }}}}"),
        }
    }
}

/// A node in a place where an operator next to it would bind to a part of it.
struct Operand<'n>(&'n Node);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Not(_)
            | Kind::Negate(_)
            | Kind::Binary(..)
            | Kind::Matches(..)
            | Kind::Choose(_)
            | Kind::Exists(_)
            | Kind::Is(..)
            | Kind::Schema(_)
            | Kind::Snapshot(..) => write!(out, "({})", self.0),
            Kind::Literal(_)
            | Kind::Text(_)
            | Kind::List(_)
            | Kind::Map(_)
            | Kind::Path(_)
            | Kind::Call(..)
            | Kind::Fake(_)
            | Kind::Default(..) => write!(out, "{}", self.0),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Root::Name(name) => out.write_str(name)?,
            Root::Dollar => out.write_char('$')?,
            Root::Item => out.write_char('#')?,
            Root::Node(node) => match &node.kind {
                Kind::Call(..) | Kind::List(_) => write!(out, "{node}")?,
                _ => write!(out, "({node})")?,
            },
        }
        for step in &self.steps {
            write!(out, "{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let StepKind::Key(key) = &self.kind
            && is_plain(key)
        {
            return write!(out, "{}{key}", if self.optional { "?." } else { "." });
        }
        out.write_str(if self.optional { "?.[" } else { "[" })?;
        match &self.kind {
            StepKind::Key(key) => quoted(key, out)?,
            StepKind::Index(index) => write!(out, "{index}")?,
            StepKind::Computed(node) => write!(out, "{node}")?,
        }
        out.write_char(']')
    }
}

fn is_plain(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn separated(nodes: &[Node], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, node) in nodes.iter().enumerate() {
        write!(out, "{}{node}", if index > 0 { ", " } else { "" })?;
    }
    Ok(())
}

fn map(entries: &[(bytestring::ByteString, Node)], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_char('{')?;
    for (index, (key, node)) in entries.iter().enumerate() {
        out.write_str(if index > 0 { ", " } else { "" })?;
        quoted(key, out)?;
        write!(out, ": {node}")?;
    }
    // A map that ends in a map would close a reference around it.
    let ends_in_brace = entries.last().is_some_and(|(_, node)| matches!(node.kind, Kind::Map(_)));
    out.write_str(if ends_in_brace { " }" } else { "}" })
}

fn literal(value: &Value, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Null => out.write_str("null"),
        Value::Text(text) => quoted(text, out),
        // `{:?}` keeps a point or an exponent, so that a float stays one.
        Value::Float(number) => write!(out, "{number:?}"),
        other => out.write_str(&other.to_text().unwrap_or_default()),
    }
}

fn quoted(text: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_char('"')?;
    escaped(text, out)?;
    out.write_char('"')
}

fn text(pieces: &[Piece], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_char('"')?;
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => {
                // A `$` right before `${` would escape it.
                let before = matches!(pieces.get(index + 1), Some(Piece::Reference(_)));
                match text.strip_suffix('$').filter(|_| before) {
                    Some(head) => {
                        escaped(head, out)?;
                        out.write_str("\\u0024")?;
                    }
                    None => escaped(text, out)?,
                }
            }
            Piece::Reference(node) if matches!(node.kind, Kind::Default(..)) => write!(out, "{node}")?,
            Piece::Reference(node) => write!(out, "${{{node}}}")?,
        }
    }
    out.write_char('"')
}

fn escaped(text: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let mut length = next.len_utf8();
        if rest.starts_with("${") {
            out.write_str("$${")?;
            length = 2;
        } else if rest.starts_with("{{") {
            out.write_str("\\{{")?;
            length = 2;
        } else {
            match next {
                '"' => out.write_str("\\\"")?,
                '\\' => out.write_str("\\\\")?,
                '\n' => out.write_str("\\n")?,
                '\r' => out.write_str("\\r")?,
                '\t' => out.write_str("\\t")?,
                other => out.write_char(other)?,
            }
        }
        rest = &rest[length..];
    }
    Ok(())
}
