//! YAML documents as JSON values: manifests, values and rows of tables.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use crate::workspace::Failure;

/// A list or map that has not ended yet.
enum Frame {
    List(usize, Vec<Value>),
    Map(usize, Map<String, Value>, Option<String>),
}

/// Every document of a text that is not empty.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, Failure> {
    let mut documents = Vec::new();
    let mut stack: Vec<Frame> = Vec::new();
    let mut anchors: HashMap<usize, Value> = HashMap::new();
    for step in Parser::new_from_str(text) {
        let (event, _) = step.map_err(|error| format!("not YAML: {error}"))?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                (if is_plain { plain(&text) } else { Value::String(text.into_owned()) }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                stack.push(Frame::List(anchor, Vec::new()));
                continue;
            }
            Event::MappingStart(_, anchor, _) => {
                stack.push(Frame::Map(anchor, Map::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some(Frame::List(anchor, items)) => (Value::Array(items), anchor),
                Some(Frame::Map(anchor, entries, _)) => (Value::Object(entries), anchor),
                None => return Err("not YAML: an end without a beginning".into()),
            },
            Event::Alias(id) => (anchors.get(&id).cloned().unwrap_or_default(), 0),
            _ => continue,
        };
        if anchor != 0 {
            anchors.insert(anchor, value.clone());
        }
        put(value, &mut stack, &mut documents)?;
    }
    documents.retain(|document: &Value| !document.is_null());
    Ok(documents)
}

/// The only document of a text; an empty map when there is none.
pub(super) fn document(text: &str) -> Result<Value, Failure> {
    Ok(documents(text)?.into_iter().next().unwrap_or_else(|| Value::Object(Map::new())))
}

fn put(value: Value, stack: &mut [Frame], documents: &mut Vec<Value>) -> Result<(), Failure> {
    match stack.last_mut() {
        None => documents.push(value),
        Some(Frame::List(_, items)) => items.push(value),
        Some(Frame::Map(_, entries, key)) => match key.take() {
            Some(key) => {
                if entries.contains_key(&key) {
                    return Err(format!("the key `{key}` is there twice").into());
                }
                entries.insert(key, value);
            }
            None => *key = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        },
    }
    Ok(())
}

/// What a scalar without quotes means.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '.') {
        return None;
    }
    // Kubernetes' way with `0440`, which Helm passes on as an octal number.
    if let Some(octal) =
        text.strip_prefix('0').filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    {
        return i64::from_str_radix(octal, 8).ok().map(Number::from);
    }
    text.parse::<i64>().ok().map(Number::from).or_else(|| text.parse().ok().and_then(Number::from_f64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_become_json() {
        let text =
            "# Source: a\na: {b: [1, 0440, 1.5, x, \"2\", true, null]}\n---\n---\nc: &x\n  - |\n    text\nd: *x\n";
        let expected =
            [json!({"a": {"b": [1, 288, 1.5, "x", "2", true, null]}}), json!({"c": ["text\n"], "d": ["text\n"]})];
        assert_eq!(documents(text).unwrap(), expected);
    }

    #[test]
    fn what_helm_would_silently_overwrite_is_an_error() {
        assert!(documents("a: 1\na: 2\n").unwrap_err().to_string().contains("`a`"));
        assert!(documents("a: [\n").is_err());
    }
}
