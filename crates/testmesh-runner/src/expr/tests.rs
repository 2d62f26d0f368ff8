//! The expression language, case by case.

use std::sync::Arc;

use serde_json::json;
use testmesh_shared::clock::SystemClock;

use super::*;
use crate::builtins::{Builtins, RunFacts};

/// Names for one test.
struct Names {
    values: serde_json::Value,
    builtins: Builtins,
}

impl Lookup for Names {
    fn get(&self, name: &str) -> Option<Value> {
        self.values.get(name).cloned().map(Value::from_json)
    }
    fn names(&self) -> Vec<String> {
        self.values.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
    }
    fn builtins(&self) -> &Builtins {
        &self.builtins
    }
}

fn names(values: serde_json::Value) -> Names {
    let env = [("HOME".to_owned(), "/home/x".to_owned())].into_iter().collect();
    let builtins = Builtins::new(Some(1), Arc::new(SystemClock), RunFacts::default(), Arc::new(env));
    Names { values, builtins }
}

#[track_caller]
fn check(text: &str, values: serde_json::Value, expected: serde_json::Value) {
    let expression = Expr::parse(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    let found = expression.eval(&names(values)).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    assert_eq!(found, Value::from_json(expected), "{text}");
    let printed = expression.to_string();
    assert_eq!(Expr::parse(&printed).as_ref(), Ok(&expression), "{text} was printed as {printed}");
}

#[test]
fn literals_and_operators() {
    let cases = [
        ("1 + 2 * 3", json!(7)),
        ("(1 + 2) * 3", json!(9)),
        ("7 / 2", json!(3.5)),
        ("6 / 2", json!(3)),
        ("7 % 4", json!(3)),
        ("-2 - -3", json!(1)),
        ("0.1 + 0.2", json!(0.3)),
        ("'a' + \"b\" + 1", json!("ab1")),
        ("[1, 2] + [3]", json!([1, 2, 3])),
        ("{a: 1, \"b c\": [true, nil]}", json!({"a": 1, "b c": [true, null]})),
        ("1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3", json!(true)),
        ("1 == 1.0 and 'a' != 'b' or false", json!(true)),
        ("!true || not false", json!(true)),
        ("not 1 == 2", json!(true)),
        ("2 in [1, 2]", json!(true)),
        ("3 not in [1, 2]", json!(true)),
        ("'el' in 'hello'", json!(true)),
        ("'hello' contains 'ell'", json!(true)),
        ("'hello' not contains 'x'", json!(true)),
        ("'hello' matches '^h.*o$'", json!(true)),
        ("'42' matches \"^\\d+$\"", json!(true)),
        ("'hello' startsWith 'he' && 'hello' ends_with 'lo'", json!(true)),
        ("null ?? 3 ?? 4", json!(3)),
        ("true ? 1 : false ? 2 : 3", json!(1)),
        ("null is null and 1 is not null and 'a' is string and 1 is number and 1 is integer", json!(true)),
        ("[] is array and {} is object and [] is empty and '' is empty and null is empty", json!(true)),
        ("1.5 is not integer and true is boolean", json!(true)),
    ];
    for (text, expected) in cases {
        check(text, json!({}), expected);
    }
}
