//! Values: reading, lazy JSON, equality, order and text.

use std::cmp::Ordering;

use bytes::Bytes;
use rust_decimal::Decimal;

use super::*;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn decimal(text: &str) -> Value {
    Value::Decimal(Decimal::from_str_exact(text).unwrap())
}

/// A document above the limit for parsing at once.
fn large() -> Value {
    let filler = "x".repeat(300_000);
    let text = format!(
        r#"{{"a":1,"list":[1,{{"b":"é\n"}},[3]],"dup":1,"dup":2,"filler":"{filler}","big":{{"in":{{"filler":"{filler}","n":7}}}}}}"#
    );
    Value::from_json_bytes(Bytes::from(text)).unwrap()
}

#[test]
fn numbers_keep_their_kind() {
    assert!(matches!(json("1"), Value::Int(1)));
    assert!(matches!(json("18446744073709551615"), Value::UInt(u64::MAX)));
    assert!(matches!(json("1.0"), Value::Float(_)));
    assert!(matches!(json("123456789012345678901234567890"), Value::Float(_)));
}

#[test]
fn large_documents_stay_unparsed_and_are_walked() {
    let document = large();
    assert!(matches!(document, Value::Raw(_)));
    assert_eq!(document.type_name(), "map");
    assert_eq!(document.len(), Some(5));
    assert_eq!(document.get("a"), Some(Value::Int(1)));
    assert_eq!(document.get("dup"), Some(Value::Int(2)), "the last of several wins, as in a full parse");
    assert_eq!(document.get("none"), None);
    let list = document.get("list").unwrap();
    assert_eq!(list.index(1).unwrap().get("b"), Some(Value::from("é\n")));
    assert_eq!(list.index(-1).unwrap().index(0), Some(Value::Int(3)));
    let inner = document.get("big").unwrap();
    assert!(matches!(inner, Value::Raw(_)), "a large part shares the buffer");
    assert_eq!(inner.get("in").unwrap().get("n"), Some(Value::Int(7)));
    assert!(document.equals(&Value::from_json(document.to_json())));
}

#[test]
fn large_lists_are_indexed_and_counted() {
    let text = format!("[{}]", (0..100_000).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let list = Value::from_json_bytes(Bytes::from(text)).unwrap();
    assert!(matches!(list, Value::Raw(_)));
    assert_eq!(list.type_name(), "list");
    assert_eq!(list.len(), Some(100_000));
    assert_eq!(list.index(99_999), Some(Value::Int(99_999)));
    assert_eq!(list.index(-100_000), Some(Value::Int(0)));
    assert_eq!(list.index(100_000), None);
    assert_eq!(list.index(-100_001), None);
    assert_eq!(list.get("a"), None);
}

#[test]
fn wrong_large_documents_are_refused() {
    let filler = " ".repeat(300_000);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for wrong in ["{\"a\":", "[1,]", "{\"a\":1} x", "[\"\\ud800\"]", deep.as_str()] {
        assert!(Value::from_json_bytes(Bytes::from(format!("{filler}{wrong}"))).is_err(), "{wrong}");
    }
    let mut invalid = vec![b' '; 300_000];
    invalid.extend(b"[\"\xff\"]");
    assert!(Value::from_json_bytes(Bytes::from(invalid)).is_err());
}

#[test]
fn equality_is_by_value() {
    let equal = [
        (Value::Int(1), Value::Float(1.0)),
        (decimal("40.00"), Value::Float(40.0)),
        (decimal("0.1"), Value::Float(0.1)),
        (decimal("40.00"), Value::Int(40)),
        (Value::from("201"), Value::Int(201)),
        (Value::from("true"), Value::Bool(true)),
        (Value::from("1.5"), Value::Float(1.5)),
        (Value::from("60.0"), Value::Float(60.0)),
        (Value::from("40.00"), decimal("40.00")),
        (Value::from("40"), decimal("40.00")),
        (json(r#"{"a":1,"b":[1,"2"]}"#), json(r#"{"b":[1.0,2],"a":1}"#)),
        (Value::Null, Value::Null),
    ];
    for (left, right) in equal {
        assert!(left.equals(&right) && right.equals(&left), "{left:?} {right:?}");
    }
    let different = [
        (Value::Int(9_007_199_254_740_993), Value::Float(9_007_199_254_740_992.0)),
        (Value::UInt(u64::MAX), Value::Float(18_446_744_073_709_551_616.0)),
        (Value::from("0201"), Value::Int(201)),
        (Value::from("201.0"), Value::Int(201)),
        (Value::from("True"), Value::Bool(true)),
        (Value::Null, Value::Bool(false)),
        (Value::Null, Value::from("")),
        (Value::Int(1), Value::Bool(true)),
        (json("[1]"), json("[1,2]")),
        (json(r#"{"a":1}"#), json(r#"{"b":1}"#)),
    ];
    for (left, right) in different {
        assert!(!left.equals(&right) && !right.equals(&left), "{left:?} {right:?}");
    }
}

#[test]
fn order_is_by_value() {
    let less = [
        (Value::Int(1), Value::Float(1.5)),
        (Value::Float(-1.5), Value::Int(-1)),
        (Value::Int(-2), Value::Float(-1.5)),
        (Value::Int(i64::MAX), Value::UInt(u64::MAX)),
        (Value::Int(9), Value::from("10")),
        (Value::from("9"), Value::Int(10)),
        (Value::from("a"), Value::from("b")),
        (decimal("1.10"), Value::Float(1.2)),
        (Value::Float(f64::MIN), Value::Int(i64::MIN)),
    ];
    for (left, right) in less {
        assert_eq!(left.compare(&right), Some(Ordering::Less), "{left:?} {right:?}");
        assert_eq!(right.compare(&left), Some(Ordering::Greater), "{left:?} {right:?}");
    }
    for (left, right) in [(Value::Null, Value::Int(1)), (Value::from("x"), Value::Int(1)), (json("[]"), Value::Int(1))]
    {
        assert_eq!(left.compare(&right), None);
    }
}

#[test]
fn text_is_what_a_template_inserts() {
    let cases = [
        (Value::Int(-5), "-5"),
        (Value::UInt(u64::MAX), "18446744073709551615"),
        (Value::Float(29.99), "29.99"),
        (Value::Float(3.0), "3"),
        (Value::Float(1e20), "100000000000000000000"),
        (Value::Float(1e300), "1e300"),
        (decimal("40.00"), "40.00"),
        (Value::Bool(true), "true"),
        (json(r#"{"b":1,"a":["x"]}"#), r#"{"b":1,"a":["x"]}"#),
        (Value::Bytes(Bytes::from_static(&[0xff])), "/w=="),
    ];
    for (value, expected) in cases {
        assert_eq!(value.to_text().as_deref(), Some(expected));
    }
    assert_eq!(Value::Null.to_text(), None);
}

#[test]
fn serialising_keeps_decimals_exact() {
    let value = Value::list(vec![decimal("12345678901234567.890"), Value::Null, large().get("a").unwrap()]);
    assert_eq!(serde_json::to_string(&value).unwrap(), "[12345678901234567.890,null,1]");
}

#[test]
fn headers_ignore_case() {
    let mut map: Map = [("content-type", Value::from("text/plain"))].into_iter().collect();
    map.ignore_case = true;
    let headers = Value::Map(Arc::new(map));
    assert_eq!(headers.get("Content-Type"), Some(Value::from("text/plain")));
}
