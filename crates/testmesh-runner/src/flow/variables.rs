//! A file of variables: a map of names to values, as environments are kept beside flows.

use std::sync::Arc;

use indexmap::IndexMap;

use super::findings::Findings;
use super::yaml::{self, Node, NodeKind};
use super::{Limits, Span};
use crate::diagnostic::{Code, Diagnostic};
use crate::value::{Map, Value};

/// Reads a YAML map of names to values, or one that holds such a map under `variables`. Values keep their kinds.
pub fn parse_variables(text: &str) -> Result<IndexMap<String, Value>, Vec<Diagnostic>> {
    let mut findings = Findings::new(text);
    let documents = yaml::documents(text, Limits::default().string_bytes, &mut findings);
    let map = documents.first().map(|document| document.get("variables").unwrap_or(document));
    let entries = match map {
        None => Some(&[][..]),
        Some(map) if map.is_null() => Some(&[][..]),
        Some(map) => map.entries(),
    };
    if entries.is_none() {
        findings.error(Code::WrongType, Span::new(0, 0), "expected a map of names to values");
    }
    match entries {
        Some(entries) if !findings.any_error_since(0) => {
            Ok(entries.iter().map(|entry| (entry.key.to_string(), value(&entry.value))).collect())
        }
        _ => Err(findings.into_sorted()),
    }
}

/// Reads YAML (or JSON) as data: nothing in it means anything to a flow. `Err` says where it is wrong.
pub(crate) fn parse_data(text: &str) -> Result<Value, String> {
    let mut findings = Findings::new(text);
    let documents = yaml::documents(text, Limits::default().string_bytes, &mut findings);
    if findings.any_error_since(0) {
        let first = findings.into_sorted().into_iter().next();
        let told = first.map(|found| format!("line {}, column {}: {}", found.line, found.column, found.message));
        return Err(told.unwrap_or_default());
    }
    Ok(documents.first().map(value).unwrap_or_default())
}

fn value(node: &Node<'_>) -> Value {
    match &node.kind {
        NodeKind::Scalar(scalar) => scalar.literal.value(&scalar.text),
        NodeKind::List(items) => Value::list(items.iter().map(value).collect()),
        NodeKind::Map(entries) => {
            let map: Map = entries.iter().map(|entry| (entry.key.as_ref(), value(&entry.value))).collect();
            Value::Map(Arc::new(map))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_kinds() {
        for text in ["A: x\nB: 2\nC: 012\nD: [1]\n", "name: ci\nvariables: {A: x, B: 2, C: 012, D: [1]}\n"] {
            let values = parse_variables(text).unwrap_or_else(|found| panic!("{found:?}"));
            assert_eq!(values.keys().collect::<Vec<_>>(), ["A", "B", "C", "D"]);
            assert!(matches!(values["B"], Value::Int(2)));
            assert_eq!(values["C"].as_str(), Some("012"));
            assert_eq!(values["D"].len(), Some(1));
        }
        assert!(parse_variables("").is_ok_and(|values| values.is_empty()));
    }

    #[test]
    fn what_is_no_map_of_values_is_refused() {
        for text in ["- a\n", "just text", "a: [", "variables: 3\n"] {
            assert!(parse_variables(text).is_err_and(|found| !found.is_empty()), "{text}");
        }
    }
}
