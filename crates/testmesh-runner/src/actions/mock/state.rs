//! What requests do to the state of a mock server.

use crate::action::ActionError;
use crate::engine::mismatch;
use crate::template::Tree;
use crate::value::Value;

/// The words for what a request does to a value.
pub(super) const UPDATES: &[&str] = &["increment", "decrement", "set", "append", "toggle", "reset"];

/// The most items of a list that `append` makes.
const MOST_ITEMS: usize = 10_000;

/// How requests to an endpoint change a value.
#[derive(Debug, Clone)]
pub(super) struct StateRule {
    pub(super) key: String,
    pub(super) initial: Value,
    pub(super) update: Update,
    /// What the update takes, resolved for each request.
    pub(super) value: Option<Tree>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Update {
    Increment,
    Decrement,
    Set,
    Append,
    Toggle,
    Reset,
}

impl Update {
    pub(super) fn parse(word: Option<&str>) -> Result<Self, ActionError> {
        Ok(match word {
            Some("increment") => Self::Increment,
            Some("decrement") => Self::Decrement,
            None | Some("set") => Self::Set,
            Some("append") => Self::Append,
            Some("toggle") => Self::Toggle,
            Some("reset") => Self::Reset,
            Some(other) => return Err(mismatch("update", &UPDATES.join(", "), &Value::from(other))),
        })
    }

    /// The value after the update. `Err` says why there is none.
    pub(super) fn apply(self, initial: &Value, now: &Value, given: Option<Value>) -> Result<Value, String> {
        match self {
            Self::Increment => added(now, given.as_ref().unwrap_or(&Value::Int(1)), 1),
            Self::Decrement => added(now, given.as_ref().unwrap_or(&Value::Int(1)), -1),
            Self::Set => Ok(given.unwrap_or_default()),
            Self::Append => {
                let mut items = match now {
                    Value::Null => Vec::new(),
                    list => list
                        .items()
                        .map(|items| items.to_vec())
                        .ok_or_else(|| format!("it is no list but {}", list.type_name()))?,
                };
                if items.len() >= MOST_ITEMS {
                    return Err(format!("it has {MOST_ITEMS} items already"));
                }
                items.push(given.unwrap_or_default());
                Ok(Value::list(items))
            }
            Self::Toggle => Ok(Value::Bool(!now.as_bool().unwrap_or(false))),
            Self::Reset => Ok(initial.clone()),
        }
    }
}

fn added(now: &Value, by: &Value, sign: i64) -> Result<Value, String> {
    let zero = Value::Int(0);
    let now = if now.is_null() { &zero } else { now };
    let text = |value: &Value| value.to_text().unwrap_or_default();
    if let (Some(left), Some(right)) = (now.as_i64(), by.as_i64()) {
        let sum = right.checked_mul(sign).and_then(|right| left.checked_add(right));
        return sum.map(Value::Int).ok_or_else(|| format!("{left} and {right} are too large"));
    }
    match (now.as_f64(), by.as_f64()) {
        (Some(left), Some(right)) => Ok(Value::Float(if sign < 0 { left - right } else { left + right })),
        _ => Err(format!("`{}` and `{}` are not both numbers", text(now), text(by))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn updates_change_the_value() {
        for (update, now, given, expect) in [
            (Update::Increment, json!(0), None, Ok(json!(1))),
            (Update::Increment, json!(null), None, Ok(json!(1))),
            (Update::Increment, json!(1), Some(json!(5)), Ok(json!(6))),
            (Update::Increment, json!(1), Some(json!(0.5)), Ok(json!(1.5))),
            (Update::Decrement, json!(3), None, Ok(json!(2))),
            (Update::Increment, json!("x"), None, Err("not both numbers")),
            (Update::Increment, json!(i64::MAX), None, Err("too large")),
            (Update::Set, json!(3), Some(json!("a")), Ok(json!("a"))),
            (Update::Append, json!(null), Some(json!(1)), Ok(json!([1]))),
            (Update::Append, json!([1]), Some(json!(2)), Ok(json!([1, 2]))),
            (Update::Append, json!(1), Some(json!(2)), Err("no list")),
            (Update::Toggle, json!(null), None, Ok(json!(true))),
            (Update::Toggle, json!(true), None, Ok(json!(false))),
            (Update::Reset, json!(9), None, Ok(json!("first"))),
        ] {
            let found =
                update.apply(&Value::from("first"), &Value::from_json(now.clone()), given.map(Value::from_json));
            match (found, expect) {
                (Ok(found), Ok(expect)) => assert_eq!(found.to_json(), expect, "{update:?} {now}"),
                (Err(found), Err(expect)) => assert!(found.contains(expect), "{update:?} {now}: {found}"),
                (found, expect) => panic!("{update:?} {now}: {found:?}, not {expect:?}"),
            }
        }
    }
}
