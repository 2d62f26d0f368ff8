//! Whether a literal fits what a key takes. References fit everything: they are checked again when they are resolved.

use super::scalar::Literal;
use super::suggest;
use super::yaml::{Node, NodeKind, Scalar};
use crate::action::{Kind, Pattern};
use crate::diagnostic::Code;
use crate::units;

/// Why a literal does not fit.
pub(crate) struct Mismatch {
    /// [`Code::WrongType`]: `problem` says what is taken. Otherwise it says what is wrong.
    pub(crate) code: Code,
    /// What is wrong.
    pub(crate) problem: String,
    /// What to do.
    pub(crate) help: Option<String>,
}

/// Whether the text has a reference in it.
pub(crate) fn is_reference(node: &Node<'_>) -> bool {
    node.scalar().is_some_and(|scalar| scalar.literal == Literal::Text && crate::template::may_refer(&scalar.text))
}

/// Of several kinds the one that fits, or the first of the same shape, or the first.
pub(crate) fn pick(kind: Kind, node: &Node<'_>) -> Kind {
    let Kind::OneOf(kinds) = kind else { return kind };
    let fitting = kinds.iter().find(|kind| fits(**kind, node));
    let shaped = || kinds.iter().find(|kind| shaped_like(**kind, node));
    match fitting.or_else(shaped) {
        Some(found) => pick(*found, node),
        None => kind,
    }
}

fn shaped_like(kind: Kind, node: &Node<'_>) -> bool {
    match (&node.kind, kind) {
        (NodeKind::List(_), Kind::List(_) | Kind::Steps | Kind::Branches | Kind::Assertions)
        | (NodeKind::Map(_), Kind::Map(_) | Kind::Paths(_) | Kind::Object(_)) => true,
        (_, Kind::OneOf(kinds)) => kinds.iter().any(|kind| shaped_like(*kind, node)),
        (_, Kind::Held(inner) | Kind::OnRequest(inner)) => shaped_like(*inner, node),
        _ => false,
    }
}

/// Whether a value fits a kind.
pub(crate) fn fits(kind: Kind, node: &Node<'_>) -> bool {
    match (kind, &node.kind) {
        (Kind::OneOf(kinds), _) => kinds.iter().any(|kind| fits(*kind, node)),
        (Kind::Held(inner) | Kind::OnRequest(inner), _) => fits(*inner, node),
        (Kind::Paths(item), NodeKind::Map(entries)) => entries.iter().all(|entry| fits(*item, &entry.value)),
        (Kind::List(item), NodeKind::List(items)) => items.iter().all(|node| fits(*item, node)),
        (Kind::List(item), _) => fits(*item, node),
        (Kind::Map(item), NodeKind::Map(entries)) => entries.iter().all(|entry| fits(*item, &entry.value)),
        (Kind::Object(fields), NodeKind::Map(entries)) => entries
            .iter()
            .all(|entry| fields.iter().any(|field| field.name == entry.key || field.aliases.contains(&&*entry.key))),
        (Kind::Steps | Kind::Branches, NodeKind::List(items)) => items.iter().all(|item| item.entries().is_some()),
        (Kind::Expression, _) | (Kind::Assertions, NodeKind::Scalar(_)) => node.text().is_some(),
        (Kind::Any | Kind::Assertions, _) => true,
        (Kind::Map(_) | Kind::Paths(_) | Kind::Object(_) | Kind::Steps | Kind::Branches, _) => false,
        _ => check(kind, node).is_ok() && node.scalar().is_some(),
    }
}

/// Checks a literal against a kind.
pub(crate) fn check(kind: Kind, node: &Node<'_>) -> Result<(), Mismatch> {
    if matches!(kind, Kind::Any) || node.is_null() || is_reference(node) {
        return Ok(());
    }
    if let Kind::Held(inner) | Kind::OnRequest(inner) = kind {
        return check(*inner, node);
    }
    let Some(scalar) = node.scalar() else { return Err(wrong(kind)) };
    let text = &*scalar.text;
    match kind {
        Kind::Any | Kind::Text | Kind::Pattern(_) | Kind::Expression | Kind::Assertions => Ok(()),
        Kind::Integer { min, max } => match whole(scalar) {
            Some(number) if (min..=max).contains(&number) => Ok(()),
            Some(number) => Err(value(format!("is {number}, not from {min} to {max}"), None)),
            None => Err(wrong(kind)),
        },
        Kind::Boolean => {
            let boolean = matches!(scalar.literal, Literal::Bool(_)) || matches!(text, "true" | "false");
            let help = super::reader::boolean_help(text);
            boolean.then_some(()).ok_or_else(|| Mismatch { help, ..wrong(kind) })
        }
        Kind::Duration { zero } => match units::parse_duration(text) {
            None => {
                let help = Some(super::reader::duration_help());
                Err(Mismatch { code: Code::BadDuration, problem: format!("takes a duration, not `{text}`"), help })
            }
            Some(duration) if duration.is_zero() && !zero => {
                let help = Some("give a length of time, such as `1s`".to_owned());
                Err(Mismatch { code: Code::ZeroInterval, problem: "is zero".to_owned(), help })
            }
            Some(_) => Ok(()),
        },
        Kind::Size => {
            let help = || Some("write it like `512KB`, `10MiB`, or as a number of bytes".to_owned());
            let problem = || format!("takes a size, not `{text}`");
            let size = units::parse_size(text);
            size.map(|_| ()).ok_or_else(|| Mismatch { code: Code::BadSize, problem: problem(), help: help() })
        }
        Kind::Choice(words) => {
            if words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
                return Ok(());
            }
            let help = suggest::did_you_mean(&suggest::near(text, words.iter().copied()));
            Err(value(format!("takes {}, not `{text}`", suggest::quoted(words)), help))
        }
        Kind::List(item) => check(*item, node),
        Kind::OneOf(kinds) => {
            if kinds.iter().any(|kind| fits(*kind, node)) {
                Ok(())
            } else {
                Err(wrong(kind))
            }
        }
        Kind::Map(_)
        | Kind::Paths(_)
        | Kind::Object(_)
        | Kind::Steps
        | Kind::Branches
        | Kind::Held(_)
        | Kind::OnRequest(_) => Err(wrong(kind)),
    }
}

/// What is wrong with a text that has to be a pattern, and what to do.
pub(crate) fn pattern(pattern: Pattern, text: &str) -> Result<(), (String, Option<String>)> {
    match pattern {
        Pattern::Regex => match regex::Regex::new(text) {
            Ok(_) => Ok(()),
            Err(regex::Error::Syntax(told)) => {
                let reason = told.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let help = "see the syntax of the `regex` crate: no look-around, no back-references".to_owned();
                Err((format!("`{text}` is not a regular expression: {reason}"), Some(help)))
            }
            Err(error) => Err((format!("`{text}` is not a regular expression: {error}"), None)),
        },
        Pattern::Path => match crate::path::ResultPath::parse(text) {
            Ok(_) => Ok(()),
            Err(mistakes) => {
                let first = mistakes.into_iter().next();
                Err(first.map_or_else(|| ("it is no path".to_owned(), None), |first| (first.message, first.help)))
            }
        },
        Pattern::Route => match crate::actions::Route::parse(text) {
            Ok(_) => Ok(()),
            Err(reason) => {
                let help = "write it like `/users`, `/users/:id`, `/files/*`, `/**`".to_owned();
                Err((format!("`{text}` is not a path: {reason}"), Some(help)))
            }
        },
    }
}

fn wrong(kind: Kind) -> Mismatch {
    Mismatch { code: Code::WrongType, problem: describe(kind), help: None }
}

fn value(problem: String, help: Option<String>) -> Mismatch {
    Mismatch { code: Code::InvalidValue, problem, help }
}

fn whole(scalar: &Scalar<'_>) -> Option<i64> {
    match scalar.literal {
        Literal::Int(number) => Some(number),
        Literal::Text => scalar.text.trim().parse().ok(),
        _ => None,
    }
}

/// What a kind takes, for people: `text`, `an integer from 1 to 20` …
pub(crate) fn describe(kind: Kind) -> String {
    match kind {
        Kind::Any => "anything".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Integer { min: i64::MIN, max: i64::MAX } => "an integer".to_owned(),
        Kind::Integer { min, max: i64::MAX } => format!("an integer from {min}"),
        Kind::Integer { min, max } => format!("an integer from {min} to {max}"),
        Kind::Boolean => "`true` or `false`".to_owned(),
        Kind::Duration { .. } => "a duration".to_owned(),
        Kind::Size => "a size".to_owned(),
        Kind::Choice(words) => format!("one of {}", suggest::quoted(words)),
        Kind::List(item) => format!("{}, or a list of them", describe(*item)),
        Kind::Pattern(Pattern::Regex) => "a regular expression".to_owned(),
        Kind::Pattern(Pattern::Path) => "a path such as `$.user.id`".to_owned(),
        Kind::Pattern(Pattern::Route) => "the path of a URL".to_owned(),
        Kind::Paths(Kind::Any) => "a map from paths to values".to_owned(),
        Kind::Paths(item) => format!("a map from paths to values (each {})", describe(*item)),
        Kind::Held(inner) | Kind::OnRequest(inner) => describe(*inner),
        Kind::Map(Kind::Any) => "a map".to_owned(),
        Kind::Map(item) => format!("a map (each value {})", describe(*item)),
        Kind::Object(fields) => {
            let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
            format!("a map with {}", suggest::quoted(&names))
        }
        Kind::OneOf(kinds) => kinds.iter().map(|kind| describe(*kind)).collect::<Vec<_>>().join(", or "),
        Kind::Expression => "an expression".to_owned(),
        Kind::Assertions => "expressions".to_owned(),
        Kind::Steps => "a list of steps".to_owned(),
        Kind::Branches => "a list of branches, each with `steps`".to_owned(),
    }
}
