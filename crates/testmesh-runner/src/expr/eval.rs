//! What an expression comes to. Paths are walked by reference: a large value is never copied on the way to a small one.

use std::borrow::Cow;

use regex::Regex;

use super::ast::{Kind, Node, Operator, Path, Piece, Root, Step, StepKind};
use super::{EvalError, arithmetic, nearest};
use crate::template::Lookup;
use crate::value::Value;

/// Where an evaluation stands.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(super) lookup: &'a dyn Lookup,
    /// The item that the innermost predicate looks at.
    item: Option<&'a Value>,
}

/// An error without help.
pub(super) fn error(message: impl Into<String>) -> EvalError {
    EvalError { message: message.into(), help: None }
}

/// What a value is as a condition: `true` holds, `false` and null do not. Their texts are as good as they are, for
/// variables that come from an environment are texts.
pub(super) fn truth(value: &Value, what: &str) -> Result<bool, EvalError> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::Null => Ok(false),
        Value::Text(text) if matches!(&**text, "true" | "false") => Ok(&**text == "true"),
        other => Err(EvalError {
            message: format!("`{what}` is {}, not true or false", super::explain::with_article(other)),
            help: Some("compare it with something, or ask `is not empty` or `exists`".to_owned()),
        }),
    }
}

impl<'a> Context<'a> {
    /// Outside of any predicate.
    pub(crate) fn new(lookup: &'a dyn Lookup) -> Context<'a> {
        Context { lookup, item: None }
    }

    /// Inside a predicate over `item`.
    pub(super) fn with_item<'b>(&self, item: &'b Value) -> Context<'b>
    where
        'a: 'b,
    {
        Context { lookup: self.lookup, item: Some(item) }
    }

    /// The value of a node.
    pub(crate) fn eval(&self, node: &Node) -> Result<Value, EvalError> {
        match &node.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Text(pieces) => self.text(pieces).map(Value::from),
            Kind::List(items) => Ok(Value::list(items.iter().map(|item| self.eval(item)).collect::<Result<_, _>>()?)),
            Kind::Map(entries) => {
                let entries = entries.iter().map(|(key, node)| Ok((key.clone(), self.eval(node)?)));
                Ok(Value::map(entries.collect::<Result<Vec<_>, EvalError>>()?))
            }
            Kind::Path(path) => self.path(path),
            Kind::Negate(inner) => arithmetic::negate(&arithmetic::operand_of(self.eval(inner)?)),
            Kind::Binary(operator, sides) if !operator.is_condition() => self.operate(*operator, &sides.0, &sides.1),
            Kind::Choose(parts) => {
                let branch = if self.holds(&parts.0)? { &parts.1 } else { &parts.2 };
                self.eval(branch)
            }
            Kind::Call(function, args) => function.call(args, self),
            Kind::Fake(kind) => Ok(self.lookup.builtins().fake(kind).unwrap_or_default()),
            Kind::Default(path, text) => match self.optional(path)? {
                Some(value) if !value.is_null() => Ok(value),
                _ => Ok(Value::Text(text.clone())),
            },
            Kind::Not(_)
            | Kind::Binary(..)
            | Kind::Matches(..)
            | Kind::Exists(_)
            | Kind::Is(..)
            | Kind::Schema(_)
            | Kind::Snapshot(..) => self.condition(node).map(Value::Bool),
        }
    }

    /// Whether a node holds as a condition.
    pub(super) fn holds(&self, node: &Node) -> Result<bool, EvalError> {
        if node.is_condition() {
            return self.condition(node);
        }
        truth(&self.eval(node)?, &node.to_string())
    }

    /// The truth of a node that is a condition by its form.
    fn condition(&self, node: &Node) -> Result<bool, EvalError> {
        match &node.kind {
            Kind::Not(inner) => Ok(!self.holds(inner)?),
            Kind::Binary(Operator::And, sides) => Ok(self.holds(&sides.0)? && self.holds(&sides.1)?),
            Kind::Binary(Operator::Or, sides) => Ok(self.holds(&sides.0)? || self.holds(&sides.1)?),
            Kind::Binary(operator, sides) => compare(*operator, &*self.lend(&sides.0)?, &*self.lend(&sides.1)?),
            Kind::Matches(sides, compiled) => matches(&self.eval(&sides.0)?, &*self.lend(&sides.1)?, compiled.as_ref()),
            Kind::Exists(inner) => Ok(self.optional(inner)?.is_some_and(|value| !value.is_null())),
            Kind::Is(inner, sort) => Ok(sort.holds(&self.eval(inner)?)),
            Kind::Schema(sides) => Ok(self.schema_faults(sides)?.is_empty()),
            Kind::Snapshot(inner, name) => Ok(self.lookup.match_snapshot(name, &self.eval(inner)?)?.is_none()),
            _ => truth(&self.eval(node)?, &node.to_string()),
        }
    }

    /// The value of a node, borrowed where it is a literal.
    pub(super) fn lend<'n>(&self, node: &'n Node) -> Result<Cow<'n, Value>, EvalError> {
        match &node.kind {
            Kind::Literal(value) => Ok(Cow::Borrowed(value)),
            _ => self.eval(node).map(Cow::Owned),
        }
    }

    /// What is wrong with the left side under the schema on the right.
    pub(super) fn schema_faults(&self, sides: &(Node, Node)) -> Result<Vec<String>, EvalError> {
        let value = self.eval(&sides.0)?;
        let schema = match self.eval(&sides.1)? {
            Value::Text(file) => self.lookup.schema(&file)?,
            inline => inline.to_json(),
        };
        super::schema::faults(&schema, &value)
    }

    /// A text of pieces; null is an error.
    pub(crate) fn text(&self, pieces: &[Piece]) -> Result<String, EvalError> {
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Reference(node) => match self.eval(node)?.to_text() {
                    Some(value) => text.push_str(&value),
                    None => {
                        return Err(EvalError {
                            message: format!("`{node}` is null, which has no place in a text"),
                            help: Some(format!("give it a default: `${{{node} ?? \"\"}}`")),
                        });
                    }
                },
            }
        }
        Ok(text)
    }

    fn operate(&self, operator: Operator, left: &Node, right: &Node) -> Result<Value, EvalError> {
        if operator == Operator::Coalesce {
            return match self.optional(left)? {
                Some(value) if !value.is_null() => Ok(value),
                _ => self.eval(right),
            };
        }
        arithmetic::apply(operator, &*self.lend(left)?, &*self.lend(right)?)
    }

    /// The value of a node; `None` when it is a path whose name nothing defines.
    pub(super) fn optional(&self, node: &Node) -> Result<Option<Value>, EvalError> {
        if let Kind::Path(path) = &node.kind
            && let Root::Name(name) = &path.root
        {
            return match self.name(name) {
                Some(root) => self.walk(root, path).map(Some),
                None => Ok(None),
            };
        }
        self.eval(node).map(Some)
    }

    fn name(&self, name: &str) -> Option<Value> {
        self.lookup.get(name).or_else(|| self.lookup.builtins().get(name))
    }

    fn path(&self, path: &Path) -> Result<Value, EvalError> {
        let root = match &path.root {
            Root::Name(name) => match self.name(name) {
                Some(value) => value,
                None if path.steps.first().is_some_and(|step| step.optional) => Value::Null,
                None => return Err(self.undefined(name)),
            },
            Root::Dollar => self.lookup.get("$").ok_or_else(|| error("there is no result that `$` could mean here"))?,
            Root::Item => {
                let item = self.item.ok_or_else(|| error("`#` means something only in a predicate"))?;
                return self.follow(item, &path.steps).map(Cow::into_owned);
            }
            Root::Node(node) => self.eval(node)?,
        };
        self.walk(root, path)
    }

    fn walk(&self, root: Value, path: &Path) -> Result<Value, EvalError> {
        if path.steps.is_empty() { Ok(root) } else { self.follow(&root, &path.steps).map(Cow::into_owned) }
    }

    fn follow<'v>(&self, root: &'v Value, steps: &[Step]) -> Result<Cow<'v, Value>, EvalError> {
        let mut here = Cow::Borrowed(root);
        for step in steps {
            let computed;
            let wanted = match &step.kind {
                StepKind::Key(key) => Wanted::Key(key),
                StepKind::Index(index) => Wanted::Index(*index),
                StepKind::Computed(node) => {
                    computed = self.eval(node)?;
                    Wanted::of(&computed)?
                }
            };
            here = match here {
                Cow::Borrowed(value) => take(value, &wanted),
                Cow::Owned(value) => Cow::Owned(take(&value, &wanted).into_owned()),
            };
        }
        Ok(here)
    }

    /// The error for a name that nothing defines, with the nearest one that is.
    fn undefined(&self, name: &str) -> EvalError {
        let names = self.lookup.names();
        let known = names.iter().map(String::as_str).chain(crate::builtins::Builtins::names().iter().copied());
        let mut help = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
        if help.is_none() && name.contains('-') {
            help = Some("a difference is written with spaces: `a - b`".to_owned());
        }
        EvalError { message: format!("`{name}` is not defined"), help }
    }
}

/// What a step asks for.
pub(crate) enum Wanted<'k> {
    /// A member.
    Key(&'k str),
    /// An item, from the end when negative.
    Index(i64),
}

impl<'k> Wanted<'k> {
    fn of(value: &'k Value) -> Result<Wanted<'k>, EvalError> {
        match value {
            Value::Text(key) => Ok(Wanted::Key(key)),
            other => other.as_i64().map(Wanted::Index).ok_or_else(|| {
                error(format!("an index is a number or a text, not {}", super::explain::with_article(other)))
            }),
        }
    }
}

/// A member or an item, lent where it is already parsed; `None` when there is none.
pub(crate) fn into_part<'v>(value: &'v Value, wanted: &Wanted<'_>) -> Option<Cow<'v, Value>> {
    let found = match wanted {
        Wanted::Key(key) => match value {
            Value::Raw(_) => value.get(key).map(Cow::Owned),
            _ => value.get_ref(key).map(Cow::Borrowed),
        },
        Wanted::Index(index) => match value {
            Value::Raw(_) => value.index(*index).map(Cow::Owned),
            _ => value.index_ref(*index).map(Cow::Borrowed),
        },
    };
    found.or_else(|| match wanted {
        Wanted::Key("length") if !value.is_null() => value.len().map(|length| Cow::Owned(Value::from(length))),
        // `codes.0` of a map, and `rows["0"]` of a list, mean what they look like.
        Wanted::Index(index) if value.is_map() => value.get(&index.to_string()).map(Cow::Owned),
        Wanted::Key(key) if value.is_list() => key.parse().ok().and_then(|index| value.index(index)).map(Cow::Owned),
        _ => None,
    })
}

fn take<'v>(value: &'v Value, wanted: &Wanted<'_>) -> Cow<'v, Value> {
    into_part(value, wanted).unwrap_or(Cow::Owned(Value::Null))
}

/// `left op right` for the operators that give true or false.
pub(super) fn compare(operator: Operator, left: &Value, right: &Value) -> Result<bool, EvalError> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match operator {
        Operator::Equal => Ok(left.equals(right)),
        Operator::NotEqual => Ok(!left.equals(right)),
        Operator::In => contains(right, left, "in"),
        Operator::Contains => contains(left, right, "contains"),
        Operator::StartsWith | Operator::EndsWith => {
            let (Some(text), Some(part)) = (scalar_text(left, operator)?, scalar_text(right, operator)?) else {
                return Ok(false);
            };
            Ok(if operator == Operator::StartsWith { text.starts_with(&*part) } else { text.ends_with(&*part) })
        }
        _ => {
            if left.is_null() || right.is_null() {
                return Ok(false);
            }
            let Some(order) = left.compare(right) else {
                let (left, right) = (super::explain::with_article(left), super::explain::with_article(right));
                return Err(error(format!("`{}` cannot compare {left} with {right}", operator.symbol())));
            };
            Ok(match operator {
                Operator::Less => order == Less,
                Operator::LessOrEqual => order != Greater,
                Operator::Greater => order == Greater,
                Operator::GreaterOrEqual => order != Less,
                _ => order == Equal,
            })
        }
    }
}

fn scalar_text(value: &Value, operator: Operator) -> Result<Option<bytestring::ByteString>, EvalError> {
    match value {
        Value::List(_) | Value::Map(_) | Value::Raw(_) => {
            let found = super::explain::with_article(value);
            Err(error(format!("`{}` takes strings, not {found}", operator.symbol())))
        }
        scalar => Ok(scalar.to_text()),
    }
}

fn contains(whole: &Value, part: &Value, symbol: &str) -> Result<bool, EvalError> {
    match whole {
        Value::Null => Ok(false),
        Value::Text(text) => match part {
            Value::Null => Ok(false),
            Value::List(_) | Value::Map(_) | Value::Raw(_) => {
                Err(error(format!("a string cannot contain {}", super::explain::with_article(part))))
            }
            scalar => Ok(scalar.to_text().is_some_and(|part| text.contains(&*part))),
        },
        _ => {
            if let Some(items) = whole.items() {
                return Ok(items.iter().any(|item| item.equals(part)));
            }
            if whole.is_map() {
                return Ok(part.to_text().is_some_and(|key| whole.get(&key).is_some()));
            }
            let found = super::explain::with_article(whole);
            Err(error(format!("`{symbol}` looks into a string, a list or a map, not {found}")))
        }
    }
}

fn matches(value: &Value, pattern: &Value, compiled: Option<&Regex>) -> Result<bool, EvalError> {
    let text = match value {
        Value::Null => return Ok(false),
        Value::List(_) | Value::Map(_) | Value::Raw(_) => {
            return Err(error(format!("`matches` takes a string, not {}", super::explain::with_article(value))));
        }
        scalar => scalar.to_text().unwrap_or_default(),
    };
    if let Some(regex) = compiled {
        return Ok(regex.is_match(&text));
    }
    let Some(pattern) = pattern.as_str() else {
        return Err(error(format!("a pattern is text, not {}", super::explain::with_article(pattern))));
    };
    let regex = Regex::new(pattern).map_err(|cause| {
        let (message, help) = pattern_fault(pattern, &cause);
        EvalError { message, help }
    })?;
    Ok(regex.is_match(&text))
}

/// What is wrong with a regular expression.
pub(super) fn pattern_fault(pattern: &str, cause: &regex::Error) -> (String, Option<String>) {
    let said = cause.to_string();
    let reason = said.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
    let help = (reason.contains("look-around") || reason.contains("backreferences"))
        .then(|| "patterns are matched in linear time, without look-around and back-references".to_owned());
    (format!("`{pattern}` is not a regular expression: {reason}"), help)
}

impl Operator {
    /// Whether it gives true or false.
    pub(super) fn is_condition(self) -> bool {
        self.binding() <= super::ast::COMPARISON
    }
}

impl Node {
    /// Whether it gives true or false by its form.
    pub(super) fn is_condition(&self) -> bool {
        match &self.kind {
            Kind::Binary(operator, _) => operator.is_condition(),
            Kind::Not(_)
            | Kind::Matches(..)
            | Kind::Exists(_)
            | Kind::Is(..)
            | Kind::Schema(_)
            | Kind::Snapshot(..) => true,
            Kind::Literal(_)
            | Kind::Text(_)
            | Kind::List(_)
            | Kind::Map(_)
            | Kind::Path(_)
            | Kind::Negate(_)
            | Kind::Choose(_)
            | Kind::Call(..)
            | Kind::Fake(_)
            | Kind::Default(..) => false,
        }
    }
}
