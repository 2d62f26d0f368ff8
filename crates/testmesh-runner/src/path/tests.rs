//! Paths, case by case.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn result() -> Value {
    Value::from_json(json!({
        "status": 201,
        "headers": {"location": "/users/7"},
        "body": {
            "id": 7, "status": "pending", "name": null, "result": {"deep": 1}, "first name": "Ann",
            "items": [{"id": 1, "price": 5}, {"id": 2, "price": 15}],
        },
        "duration_ms": 12,
    }))
}

fn find(path: &str, primary: Option<&Value>) -> Option<Value> {
    let result = result();
    let roots =
        PathRoots { result: &result, primary, reserved: &["status", "headers", "duration_ms"], step_id: "create" };
    ResultPath::parse(path).unwrap_or_else(|errors| panic!("{path}: {errors:?}")).find(&roots).unwrap()
}

#[test]
fn paths_look_in_the_body_first() {
    let body = result().get("body").unwrap();
    let cases = [
        ("body.id", Some(json!(7))),
        ("$.id", Some(json!(7))),
        ("id", Some(json!(7))),
        ("$id", Some(json!(7))),
        ("$.body.id", Some(json!(7))),
        ("$.body", result().get("body").map(|body| body.to_json())),
        ("$", result().get("body").map(|body| body.to_json())),
        ("status", Some(json!(201))),
        ("$.status", Some(json!("pending"))),
        ("body.status", Some(json!("pending"))),
        ("headers.location", Some(json!("/users/7"))),
        ("duration_ms", Some(json!(12))),
        ("result.status", Some(json!(201))),
        ("response.status", Some(json!(201))),
        ("create.status", Some(json!(201))),
        ("create.body.items[1].id", Some(json!(2))),
        ("steps.create.body.id", Some(json!(7))),
        ("steps.create.status", Some(json!(201))),
        ("steps.create.body.items[*].id", Some(json!([1, 2]))),
        ("steps.other.body.id", None),
        ("result", Some(json!({"deep": 1}))),
        ("result.deep", Some(json!(1))),
        ("$.result.deep", Some(json!(1))),
        ("response", Some(result().to_json())),
        ("items[-1].price", Some(json!(15))),
        ("items.0.id", Some(json!(1))),
        ("items[9]", None),
        ("name", Some(json!(null))),
        ("missing", None),
        ("missing?", None),
        ("[\"first name\"]", None),
        ("$[\"first name\"]", Some(json!("Ann"))),
        ("body['first name']", Some(json!("Ann"))),
        ("items.length", Some(json!(2))),
        ("$.items[*].id", Some(json!([1, 2]))),
        ("items[*].id", Some(json!([1, 2]))),
        ("$..id", Some(json!([7, 1, 2]))),
        ("result.body.items[?@.price > 10].id", Some(json!([2]))),
        ("$.items[0:1].id", Some(json!([1]))),
        ("$.items[?(@.id == 1)]", Some(json!([{"id": 1, "price": 5}]))),
    ];
    for (path, expected) in cases {
        if path.starts_with("[\"") {
            assert!(ResultPath::parse(path).is_err(), "{path}");
            continue;
        }
        assert_eq!(find(path, Some(&body)), expected.map(Value::from_json), "{path}");
    }
}

#[test]
fn lists_at_the_root_are_indexed() {
    let list = Value::from_json(json!([{"id": 1}, {"id": 2}]));
    assert_eq!(find("$[0].id", Some(&list)), Some(Value::Int(1)));
    assert_eq!(find("$[-1].id", Some(&list)), Some(Value::Int(2)));
    assert_eq!(find("$[*].id", Some(&list)), Some(Value::from_json(json!([1, 2]))));
    assert_eq!(find("$.body.id", Some(&list)), Some(Value::Int(7)));
}

#[test]
fn without_a_primary_value_the_result_is_the_root() {
    assert_eq!(find("$", None), Some(result()));
    assert_eq!(find("$.status", None), Some(Value::Int(201)));
    assert_eq!(find("body.id", None), Some(Value::Int(7)));
}

#[test]
fn a_question_mark_makes_a_path_optional() {
    assert!(ResultPath::parse("body.id?").unwrap().optional());
    assert!(!ResultPath::parse("body.id").unwrap().optional());
    assert_eq!(ResultPath::parse("body.id").unwrap().first_name(), Some("body"));
    assert_eq!(ResultPath::parse("$.id").unwrap().first_name(), None);
}

#[test]
fn mistakes_are_precise() {
    let cases = [
        ("", "", "the path is empty"),
        ("body.", ".", "ends in `.`"),
        ("body[0", "[0", "never closed"),
        ("body['a", "['a", "never closed"),
        ("body id", " ", "has no place in a path"),
        ("${body.id}", "{", "has no place in a path"),
        ("len(body)", "(", "has no place in a path"),
        ("$.items[?@.a ==]", "", "is not a path"),
    ];
    for (path, place, message) in cases {
        let errors = ResultPath::parse(path).expect_err(path);
        let error = &errors[0];
        assert!(error.message.contains(message), "{path}: {error:?}");
        assert!(place.is_empty() || &path[error.start..error.end] == place, "{path}: {error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_parsed_or_refused(text in any::<String>()) {
        let _ = ResultPath::parse(&text);
    }

    #[test]
    fn any_text_of_our_characters_is_parsed_or_refused(text in "[$@a-c0-2.*?!&|=<>()\\[\\]\"',:\\\\-]{0,40}") {
        match ResultPath::parse(&text) {
            Ok(path) => {
                let result = result();
                let roots = PathRoots { result: &result, primary: None, reserved: &[], step_id: "a" };
                let _ = path.find(&roots);
            }
            Err(errors) => {
                for error in errors {
                    prop_assert!(text.get(error.start..error.end).is_some(), "{:?}", error);
                }
            }
        }
    }
}
