//! Why a condition does not hold: what was compared, each side with its value, and a diff where values are long.

use std::fmt::Write as _;

use super::ast::{Kind, Node, Operator};
use super::eval::Context;
use super::{Checked, EvalError};
use crate::value::Value;

/// Values are shown up to this many characters; longer ones get a diff.
const SHOWN: usize = 120;
/// Texts beyond this many bytes are not compared line by line.
const DIFF_LIMIT: usize = 64 * 1024;
/// The most lines of a diff that are shown.
const DIFF_LINES: usize = 60;

/// `a string`, `an integer`, `null`.
pub(crate) fn with_article(value: &Value) -> String {
    match value.type_name() {
        "null" => "null".to_owned(),
        "integer" => "an integer".to_owned(),
        "bytes" => "bytes".to_owned(),
        name => format!("a {name}"),
    }
}

/// A value as JSON, cut when it is long.
pub(crate) fn show(value: &Value) -> String {
    let text = match value {
        Value::Raw(raw) => raw.text().get(..SHOWN * 4).unwrap_or_else(|| raw.text()).to_owned(),
        Value::Text(text) => {
            let head: String = text.chars().take(SHOWN + 1).collect();
            serde_json::to_string(&head).unwrap_or(head)
        }
        other => serde_json::to_string(other).unwrap_or_default(),
    };
    if text.chars().count() <= SHOWN + 2 {
        return text;
    }
    let head: String = text.chars().take(SHOWN).collect();
    format!("{head}…")
}

/// Checks a condition and says what it compared.
pub(super) fn check(cx: &Context<'_>, node: &Node) -> Result<Checked, EvalError> {
    match &node.kind {
        Kind::Binary(operator, sides) if is_comparison(*operator) => compared(cx, *operator, sides, false),
        Kind::Not(inner) => match &inner.kind {
            Kind::Binary(operator, sides) if is_comparison(*operator) => compared(cx, *operator, sides, true),
            _ => plain(cx, node),
        },
        Kind::Binary(Operator::And, sides) => {
            let left = check(cx, &sides.0)?;
            if left.holds { check(cx, &sides.1) } else { Ok(left) }
        }
        Kind::Binary(Operator::Or, sides) => {
            let left = check(cx, &sides.0)?;
            if left.holds {
                return Ok(left);
            }
            let right = check(cx, &sides.1)?;
            let message = if right.holds { String::new() } else { format!("{}, and {}", left.message, right.message) };
            Ok(Checked { message, ..right })
        }
        _ => plain(cx, node),
    }
}

fn is_comparison(operator: Operator) -> bool {
    !matches!(operator, Operator::And | Operator::Or) && operator.is_condition()
}

fn compared(cx: &Context<'_>, operator: Operator, sides: &(Node, Node), negated: bool) -> Result<Checked, EvalError> {
    let (left, right) = (cx.lend(&sides.0)?, cx.lend(&sides.1)?);
    let holds = super::eval::compare(operator, &left, &right)? != negated;
    let message = if holds { String::new() } else { reason(operator, sides, (&left, &right), negated) };
    Ok(Checked { holds, actual: Some(left.into_owned()), expected: Some(right.into_owned()), message })
}

fn reason(operator: Operator, sides: &(Node, Node), values: (&Value, &Value), negated: bool) -> String {
    let (left, right) = values;
    if operator == Operator::Equal
        && !negated
        && (is_long(left) || is_long(right))
        && let Some(diff) = diff(left, right)
    {
        return format!("`{}` is not what was expected:\n{diff}", sides.0);
    }
    let words = match (operator, negated) {
        (Operator::Equal, false) => String::new(),
        (Operator::Equal, true) | (Operator::NotEqual, false) => "anything but ".to_owned(),
        (Operator::In, _) => "one of ".to_owned(),
        (Operator::Contains, _) => "to contain ".to_owned(),
        (Operator::StartsWith, _) => "to start with ".to_owned(),
        (Operator::EndsWith, _) => "to end with ".to_owned(),
        (other, _) => format!("{} ", other.symbol()),
    };
    let not = if negated && operator != Operator::Equal { "not " } else { "" };
    let mut message = String::new();
    if matches!(sides.0.kind, Kind::Literal(_)) {
        let _ = write!(message, "{}, expected {not}{words}{}", show(left), show(right));
    } else {
        let _ = write!(message, "`{}` is {}, expected {not}{words}{}", sides.0, show(left), show(right));
    }
    if !matches!(sides.1.kind, Kind::Literal(_) | Kind::List(_) | Kind::Map(_)) {
        let _ = write!(message, " (`{}`)", sides.1);
    }
    if operator == Operator::Equal && !negated && left.type_name() != right.type_name() && !left.is_null() {
        let _ = write!(message, "; one is {}, the other {}", with_article(left), with_article(right));
    }
    message
}

fn plain(cx: &Context<'_>, node: &Node) -> Result<Checked, EvalError> {
    let holds = cx.holds(node)?;
    let message = if holds { String::new() } else { failed(cx, node)? };
    let actual = match &node.kind {
        Kind::Matches(sides, _) | Kind::Schema(sides) => Some(cx.eval(&sides.0)?),
        Kind::Is(inner, _) | Kind::Snapshot(inner, _) => Some(cx.eval(inner)?),
        Kind::Exists(inner) => cx.optional(inner)?,
        _ => None,
    };
    let expected = match &node.kind {
        Kind::Matches(sides, _) => Some(cx.eval(&sides.1)?),
        _ => None,
    };
    Ok(Checked { holds, actual, expected, message })
}

/// Why a condition that is no comparison does not hold.
fn failed(cx: &Context<'_>, node: &Node) -> Result<String, EvalError> {
    let value_of = |inner: &Node| {
        Ok::<_, EvalError>(cx.optional(inner)?.map_or_else(|| "undefined".to_owned(), |value| show(&value)))
    };
    Ok(match &node.kind {
        Kind::Matches(sides, _) => {
            format!("`{}` is {}, expected to match {}", sides.0, value_of(&sides.0)?, value_of(&sides.1)?)
        }
        Kind::Exists(inner) => format!("`{inner}` does not exist"),
        Kind::Is(inner, sort) => format!("`{inner}` is {}, expected {}", value_of(inner)?, sort.word()),
        Kind::Schema(sides) => {
            format!("`{}` does not match the schema: {}", sides.0, cx.schema_faults(sides)?.join("; "))
        }
        Kind::Snapshot(inner, name) => {
            let value = cx.eval(inner)?;
            let difference = cx.lookup.match_snapshot(name, &value)?.unwrap_or_default();
            format!("`{inner}` differs from the snapshot `{name}`:\n{difference}")
        }
        Kind::Not(inner) => match &inner.kind {
            Kind::Matches(sides, _) => {
                format!("`{}` is {}, expected not to match {}", sides.0, value_of(&sides.0)?, value_of(&sides.1)?)
            }
            Kind::Exists(subject) => format!("`{subject}` exists: it is {}", value_of(subject)?),
            Kind::Is(subject, sort) => format!("`{subject}` is {}, expected not {}", value_of(subject)?, sort.word()),
            _ => format!("`{inner}` holds"),
        },
        Kind::Call(function, args) => {
            let mut message = format!("`{node}` is false");
            if let Some(first) = args.first().filter(|_| function.predicate) {
                let _ = write!(message, "; `{first}` is {}", value_of(first)?);
            }
            message
        }
        _ => format!("`{node}` is {}", show(&cx.eval(node)?)),
    })
}

fn is_long(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.len() > SHOWN || text.contains('\n'),
        Value::List(_) | Value::Map(_) => show(value).chars().count() > SHOWN,
        Value::Raw(_) => true,
        _ => false,
    }
}

/// The lines in which two values differ; `None` where a diff would say nothing.
pub(crate) fn diff(actual: &Value, expected: &Value) -> Option<String> {
    let (actual, expected) = (lines_of(actual)?, lines_of(expected)?);
    let compared = similar::TextDiff::from_lines(&expected, &actual);
    let unified = compared.unified_diff().context_radius(2).header("expected", "found").to_string();
    let mut kept: Vec<&str> = unified.lines().take(DIFF_LINES + 1).collect();
    if kept.len() > DIFF_LINES {
        kept[DIFF_LINES] = "…";
    }
    Some(kept.join("\n"))
}

fn lines_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::Text(text) if text.len() <= DIFF_LIMIT => text.to_string(),
        Value::List(_) | Value::Map(_) => serde_json::to_string_pretty(value).ok()?,
        _ => return None,
    };
    (text.len() <= DIFF_LIMIT).then_some(text + "\n")
}
