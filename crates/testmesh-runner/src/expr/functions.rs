//! The functions of the language: names, arity, and what they do.

use std::cmp::Ordering;

use super::arithmetic;
use super::ast::Node;
use super::eval::{Context, error};
use super::{EvalError, time};
use crate::value::{Value, is_number, parse_number};

/// A function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) kind: Builtin,
    /// Fewest and most arguments.
    pub(super) arity: (usize, usize),
    /// Whether the second argument is a predicate over the items of the first.
    pub(super) predicate: bool,
}

/// What a function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Builtin {
    Len,
    Any,
    All,
    None,
    One,
    Filter,
    Map,
    Count,
    Sum,
    Min,
    Max,
    First,
    Last,
    Sort,
    Reverse,
    Unique,
    Int,
    Float,
    Text,
    Type,
    Upper,
    Lower,
    Trim,
    Split,
    Join,
    Replace,
    Keys,
    Values,
    Abs,
    Round,
    Floor,
    Ceil,
    Now,
    Date,
    Duration,
    ToJson,
    FromJson,
    JsonPath,
    Uuid,
    RandomInt,
    RandomString,
    Env,
}

const fn plain(name: &'static str, kind: Builtin, arity: (usize, usize)) -> Function {
    Function { name, kind, arity, predicate: false }
}

const fn over_items(name: &'static str, kind: Builtin, arity: (usize, usize)) -> Function {
    Function { name, kind, arity, predicate: true }
}

static FUNCTIONS: &[Function] = &[
    plain("len", Builtin::Len, (1, 1)),
    plain("length", Builtin::Len, (1, 1)),
    over_items("any", Builtin::Any, (1, 2)),
    over_items("all", Builtin::All, (1, 2)),
    over_items("none", Builtin::None, (1, 2)),
    over_items("one", Builtin::One, (1, 2)),
    over_items("filter", Builtin::Filter, (2, 2)),
    over_items("map", Builtin::Map, (2, 2)),
    over_items("count", Builtin::Count, (1, 2)),
    over_items("sum", Builtin::Sum, (1, 2)),
    over_items("min", Builtin::Min, (1, 16)),
    over_items("max", Builtin::Max, (1, 16)),
    plain("first", Builtin::First, (1, 1)),
    plain("last", Builtin::Last, (1, 1)),
    over_items("sort", Builtin::Sort, (1, 2)),
    plain("reverse", Builtin::Reverse, (1, 1)),
    plain("unique", Builtin::Unique, (1, 1)),
    plain("int", Builtin::Int, (1, 1)),
    plain("float", Builtin::Float, (1, 1)),
    plain("string", Builtin::Text, (1, 1)),
    plain("type", Builtin::Type, (1, 1)),
    plain("upper", Builtin::Upper, (1, 1)),
    plain("lower", Builtin::Lower, (1, 1)),
    plain("trim", Builtin::Trim, (1, 1)),
    plain("split", Builtin::Split, (2, 2)),
    plain("join", Builtin::Join, (1, 2)),
    plain("replace", Builtin::Replace, (3, 3)),
    plain("keys", Builtin::Keys, (1, 1)),
    plain("values", Builtin::Values, (1, 1)),
    plain("abs", Builtin::Abs, (1, 1)),
    plain("round", Builtin::Round, (1, 2)),
    plain("floor", Builtin::Floor, (1, 1)),
    plain("ceil", Builtin::Ceil, (1, 1)),
    plain("now", Builtin::Now, (0, 1)),
    plain("date", Builtin::Date, (1, 2)),
    plain("duration", Builtin::Duration, (1, 1)),
    plain("toJSON", Builtin::ToJson, (1, 1)),
    plain("to_json", Builtin::ToJson, (1, 1)),
    plain("fromJSON", Builtin::FromJson, (1, 1)),
    plain("from_json", Builtin::FromJson, (1, 1)),
    plain("jsonpath", Builtin::JsonPath, (2, 2)),
    plain("uuid", Builtin::Uuid, (0, 0)),
    plain("random_int", Builtin::RandomInt, (2, 2)),
    plain("random_string", Builtin::RandomString, (1, 1)),
    plain("env", Builtin::Env, (1, 1)),
];

/// The function with this name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Every function.
#[cfg(test)]
pub(super) fn all() -> &'static [Function] {
    FUNCTIONS
}

/// Every function's name, with those that are written as functions but are operators.
pub(super) const NAMES: &[&str] = &[
    "len",
    "length",
    "any",
    "all",
    "none",
    "one",
    "filter",
    "map",
    "count",
    "sum",
    "min",
    "max",
    "first",
    "last",
    "sort",
    "reverse",
    "unique",
    "int",
    "float",
    "string",
    "type",
    "upper",
    "lower",
    "trim",
    "split",
    "join",
    "replace",
    "keys",
    "values",
    "abs",
    "round",
    "floor",
    "ceil",
    "now",
    "date",
    "duration",
    "toJSON",
    "to_json",
    "fromJSON",
    "from_json",
    "jsonpath",
    "uuid",
    "random_int",
    "random_string",
    "env",
    "exists",
    "contains",
    "matches",
    "startsWith",
    "starts_with",
    "endsWith",
    "ends_with",
];

impl Function {
    /// Whether the same arguments may give another value next time.
    pub(super) fn is_volatile(&self) -> bool {
        matches!(self.kind, Builtin::Now | Builtin::Uuid | Builtin::RandomInt | Builtin::RandomString | Builtin::Env)
    }

    /// How many arguments it takes, in words.
    pub(super) fn takes(&self) -> String {
        match self.arity {
            (0, 0) => "no argument".to_owned(),
            (1, 1) => "1 argument".to_owned(),
            (low, high) if low == high => format!("{low} arguments"),
            (low, high) => format!("{low} to {high} arguments"),
        }
    }

    /// Calls it.
    pub(super) fn call(&self, args: &[Node], cx: &Context<'_>) -> Result<Value, EvalError> {
        let subject = match args.first() {
            Some(node) => cx.eval(node)?,
            None => Value::Null,
        };
        if self.predicate {
            let several = matches!(self.kind, Builtin::Min | Builtin::Max)
                && (args.len() > 2 || is_number(&subject) && args.len() == 2);
            if several {
                let values = args.iter().map(|node| cx.eval(node)).collect::<Result<Vec<_>, _>>()?;
                return self.extreme(values);
            }
            return self.over_items(&subject, args.get(1), cx);
        }
        let second = match args.get(1) {
            Some(node) => Some(cx.eval(node)?),
            None => None,
        };
        match self.kind {
            Builtin::Now | Builtin::Uuid | Builtin::RandomInt | Builtin::RandomString | Builtin::Env => {
                self.generate(args.is_empty(), &subject, second.as_ref(), cx)
            }
            Builtin::Split | Builtin::Join | Builtin::Replace | Builtin::Upper | Builtin::Lower | Builtin::Trim => {
                let third = args.get(2).map(|node| cx.eval(node)).transpose()?;
                self.on_text(&subject, second.as_ref(), third.as_ref())
            }
            Builtin::Int | Builtin::Float | Builtin::Abs | Builtin::Round | Builtin::Floor | Builtin::Ceil => {
                self.on_number(&subject, second.as_ref())
            }
            _ => self.on_value(&subject, second.as_ref()),
        }
    }

    fn over_items(&self, subject: &Value, predicate: Option<&Node>, cx: &Context<'_>) -> Result<Value, EvalError> {
        let items = match subject {
            Value::Null => std::sync::Arc::default(),
            _ => match subject.items().or_else(|| Some(std::sync::Arc::new(map_values(subject)?))) {
                Some(items) => items,
                None => return Err(self.wrong("a list", subject)),
            },
        };
        let of = |item: &Value| match predicate {
            Some(predicate) => cx.with_item(item).eval(predicate),
            None => Ok(item.clone()),
        };
        let holds = |item: &Value| super::eval::truth(&of(item)?, self.name);
        match self.kind {
            Builtin::Any => Ok(Value::Bool(try_any(&items, holds)?)),
            Builtin::None => Ok(Value::Bool(!try_any(&items, holds)?)),
            Builtin::All => Ok(Value::Bool(!try_any(&items, |item| holds(item).map(|held| !held))?)),
            Builtin::One => Ok(Value::Bool(try_filter(&items, holds)?.len() == 1)),
            Builtin::Count if predicate.is_none() => Ok(Value::from(items.len())),
            Builtin::Count => Ok(Value::from(try_filter(&items, holds)?.len())),
            Builtin::Filter => Ok(Value::list(try_filter(&items, holds)?)),
            Builtin::Map => Ok(Value::list(items.iter().map(of).collect::<Result<_, _>>()?)),
            Builtin::Sum => {
                items.iter().try_fold(Value::Int(0), |total, item| arithmetic::add_numbers(&total, &of(item)?))
            }
            Builtin::Sort => {
                let mut keyed =
                    items.iter().map(|item| Ok((of(item)?, item.clone()))).collect::<Result<Vec<_>, EvalError>>()?;
                keyed.sort_by(|left, right| left.0.compare(&right.0).unwrap_or(Ordering::Equal));
                Ok(Value::list(keyed.into_iter().map(|(_, item)| item).collect()))
            }
            _ => {
                let values = items.iter().map(of).collect::<Result<Vec<_>, _>>()?;
                self.extreme(values)
            }
        }
    }

    /// The smallest or greatest; null of nothing.
    fn extreme(&self, values: Vec<Value>) -> Result<Value, EvalError> {
        let wanted = if self.kind == Builtin::Min { Ordering::Less } else { Ordering::Greater };
        let mut best = Value::Null;
        for value in values.into_iter().filter(|value| !value.is_null()) {
            if best.is_null() {
                best = value;
                continue;
            }
            match value.compare(&best) {
                Some(order) if order == wanted => best = value,
                Some(_) => {}
                None => {
                    let (left, right) = (value.type_name(), best.type_name());
                    return Err(error(format!("`{}` cannot compare a {left} with a {right}", self.name)));
                }
            }
        }
        Ok(best)
    }

    fn on_value(&self, subject: &Value, second: Option<&Value>) -> Result<Value, EvalError> {
        Ok(match self.kind {
            Builtin::Len => Value::from(subject.len().ok_or_else(|| self.wrong("a string, a list or a map", subject))?),
            Builtin::Type => Value::from(subject.type_name()),
            Builtin::Text => Value::Text(subject.to_text().unwrap_or_default()),
            Builtin::Keys | Builtin::Values if subject.is_null() => Value::list(Vec::new()),
            Builtin::Keys => {
                let map = subject.entries().ok_or_else(|| self.wrong("a map", subject))?;
                Value::list(map.entries.keys().cloned().map(Value::Text).collect())
            }
            Builtin::Values => Value::list(map_values(subject).ok_or_else(|| self.wrong("a map", subject))?),
            Builtin::First => subject.index(0).unwrap_or_default(),
            Builtin::Last => subject.index(-1).unwrap_or_default(),
            Builtin::Reverse => {
                let items = subject.items().ok_or_else(|| self.wrong("a list", subject))?;
                Value::list(items.iter().rev().cloned().collect())
            }
            Builtin::Unique => {
                let items = subject.items().ok_or_else(|| self.wrong("a list", subject))?;
                let mut kept: Vec<Value> = Vec::new();
                for item in items.iter() {
                    if !kept.iter().any(|known| known == item) {
                        kept.push(item.clone());
                    }
                }
                Value::list(kept)
            }
            Builtin::Date => time::date(subject, second)?,
            Builtin::Duration => time::duration(subject)?,
            Builtin::ToJson => Value::from(serde_json::to_string(subject).map_err(|cause| error(cause.to_string()))?),
            Builtin::FromJson => {
                let text = subject.as_str().ok_or_else(|| self.wrong("a string", subject))?;
                serde_json::from_str(text).map_err(|cause| error(format!("`{}`: not JSON: {cause}", self.name)))?
            }
            _ => {
                let path = second.and_then(Value::as_str).ok_or_else(|| error("`jsonpath` takes a path as text"))?;
                crate::path::query(subject, path)?
            }
        })
    }

    fn on_text(&self, subject: &Value, second: Option<&Value>, third: Option<&Value>) -> Result<Value, EvalError> {
        if self.kind == Builtin::Join {
            let items = subject.items().ok_or_else(|| self.wrong("a list", subject))?;
            let texts: Vec<_> = items.iter().map(|item| item.to_text().unwrap_or_default().to_string()).collect();
            return Ok(Value::from(texts.join(second.and_then(Value::as_str).unwrap_or(""))));
        }
        if matches!(subject, Value::Null) {
            return Ok(Value::Null);
        }
        let text = match subject {
            Value::List(_) | Value::Map(_) | Value::Raw(_) => return Err(self.wrong("a string", subject)),
            scalar => scalar.to_text().unwrap_or_default(),
        };
        let pattern = |value: Option<&Value>| {
            value.and_then(Value::to_text).ok_or_else(|| error(format!("`{}` takes texts, not null", self.name)))
        };
        Ok(match self.kind {
            Builtin::Upper => Value::from(text.to_uppercase()),
            Builtin::Lower => Value::from(text.to_lowercase()),
            Builtin::Trim => Value::from(text.trim()),
            Builtin::Split => {
                let separator = pattern(second)?;
                if separator.is_empty() {
                    Value::list(text.chars().map(|c| Value::from(c.to_string())).collect())
                } else {
                    Value::list(text.split(&*separator).map(Value::from).collect())
                }
            }
            _ => Value::from(text.replace(&*pattern(second)?, &pattern(third)?)),
        })
    }

    fn on_number(&self, subject: &Value, second: Option<&Value>) -> Result<Value, EvalError> {
        let number = match subject {
            Value::Text(text) => parse_number(text.trim()).ok_or_else(|| self.wrong("a number", subject))?,
            Value::Bool(truth) if self.kind == Builtin::Int => Value::Int((*truth).into()),
            number if is_number(number) => number.clone(),
            _ => return Err(self.wrong("a number", subject)),
        };
        match self.kind {
            Builtin::Float => Ok(Value::Float(number.as_f64().unwrap_or_default())),
            Builtin::Abs if number.compare(&Value::Int(0)) == Some(Ordering::Less) => arithmetic::negate(&number),
            Builtin::Abs => Ok(number),
            Builtin::Round => {
                let places = match second {
                    None => 0,
                    Some(places) => places
                        .as_i64()
                        .and_then(|places| u32::try_from(places).ok())
                        .filter(|places| *places <= 28)
                        .ok_or_else(|| error("`round` takes 0 to 28 decimal places"))?,
                };
                arithmetic::round(&number, arithmetic::Rounding::Nearest(places))
            }
            Builtin::Floor => arithmetic::round(&number, arithmetic::Rounding::Down),
            Builtin::Ceil => arithmetic::round(&number, arithmetic::Rounding::Up),
            _ => arithmetic::round(&number, arithmetic::Rounding::ToZero),
        }
    }

    fn generate(
        &self,
        bare: bool,
        subject: &Value,
        second: Option<&Value>,
        cx: &Context<'_>,
    ) -> Result<Value, EvalError> {
        let builtins = cx.lookup.builtins();
        match self.kind {
            Builtin::Uuid => Ok(Value::from(builtins.uuid())),
            Builtin::Now if bare => Ok(Value::from(crate::builtins::iso(builtins.now()))),
            Builtin::Now => {
                let layout = subject.as_str().ok_or_else(|| self.wrong("a format as text", subject))?;
                time::format(builtins.now(), layout)
            }
            Builtin::RandomInt => match (arithmetic::integer(subject), second.and_then(arithmetic::integer)) {
                (Some(low), Some(high)) if low <= high => Ok(Value::Int(builtins.random_int(low, high))),
                (Some(low), Some(high)) => Err(error(format!("`random_int`: {low} is greater than {high}"))),
                _ => Err(error("`random_int` takes two integers")),
            },
            Builtin::RandomString => arithmetic::integer(subject)
                .and_then(|length| usize::try_from(length).ok())
                .and_then(|length| builtins.random_string(length))
                .map(Value::from)
                .ok_or_else(|| error("`random_string` takes a length from 0 to 1048576")),
            _ => {
                let name = subject.as_str().ok_or_else(|| self.wrong("a name as text", subject))?;
                Ok(builtins.env(name).map(Value::from).unwrap_or_default())
            }
        }
    }

    fn wrong(&self, wanted: &str, found: &Value) -> EvalError {
        error(format!("`{}` takes {wanted}, not {}", self.name, super::explain::with_article(found)))
    }
}

fn map_values(value: &Value) -> Option<Vec<Value>> {
    Some(value.entries()?.entries.values().cloned().collect())
}

fn try_any(items: &[Value], mut holds: impl FnMut(&Value) -> Result<bool, EvalError>) -> Result<bool, EvalError> {
    for item in items {
        if holds(item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn try_filter(
    items: &[Value],
    mut holds: impl FnMut(&Value) -> Result<bool, EvalError>,
) -> Result<Vec<Value>, EvalError> {
    let mut kept = Vec::new();
    for item in items {
        if holds(item)? {
            kept.push(item.clone());
        }
    }
    Ok(kept)
}
