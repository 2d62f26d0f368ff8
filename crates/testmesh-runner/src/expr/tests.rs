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
        ("'true' and not 'false'", json!(true)),
        ("'false' ? 1 : 2", json!(2)),
        ("min(3, 1.5, 2) == 1.5 and max(3, 4) == 4 and min([2, 1]) == 1", json!(true)),
        ("max([{a: 1}, {a: 3}], .a)", json!(3)),
    ];
    for (text, expected) in cases {
        check(text, json!({}), expected);
    }
}

/// A result like an HTTP step's, with a few variables.
fn shop() -> serde_json::Value {
    json!({
        "status": 201,
        "body": {
            "id": "42", "count": 3, "price": 49.99, "email": "a@example.com", "valid": true, "none": null,
            "items": [{"id": 1, "price": 5, "tags": ["x"]}, {"id": 2, "price": 15.5, "tags": []}],
            "user": {"first name": "Ann", "content-type": "json"},
        },
        "headers": {"content-type": "application/json"},
        "user_id": "42",
        "key": "count",
        "get-user": {"body": {"id": 7}},
        "step-1": {"body": {"id": 8}},
        "PORT": "8080",
        "$": [{"id": 9}],
    })
}

#[test]
fn paths_and_references() {
    let cases = [
        ("status == 201", json!(true)),
        ("status == \"201\" || status == 422", json!(true)),
        ("body.items[0].id", json!(1)),
        ("body.items[-1].price", json!(15.5)),
        ("body.items.1.id", json!(2)),
        ("body.items[9].id", json!(null)),
        ("body.nothing.at.all", json!(null)),
        ("body.none.x[3]", json!(null)),
        ("body[\"user\"]['first name']", json!("Ann")),
        ("body.user.content-type", json!("json")),
        ("body[key]", json!(3)),
        ("body?.user?.missing", json!(null)),
        ("missing?.a?.[0]", json!(null)),
        ("body?.items?.[0].id", json!(1)),
        ("get-user.body.id + step-1.body.id", json!(15)),
        ("body.count-1", json!(2)),
        ("body.items.length == 2 and body.email.length == 13", json!(true)),
        ("body.id == {{user_id}}", json!(true)),
        ("body.id == \"{{user_id}}\"", json!(true)),
        ("body.id == ${user_id}", json!(true)),
        ("${status == 201}", json!(true)),
        ("${ body.count } > 2", json!(true)),
        ("{{ body.items[0].id }} == 1", json!(true)),
        ("\"order {{user_id}}/${body.count + 1}\"", json!("order 42/4")),
        ("\"$${x} \\{{y}}\"", json!("${x} {{y}}")),
        ("${missing:a {b} c} + 1", json!("a {b} c1")),
        ("${body.none: default }", json!("default")),
        ("\"{{missing:http://x}}\"", json!("http://x")),
        ("${PORT:1}", json!("8080")),
        ("missing ?? body.none ?? 5", json!(5)),
        ("body.count ?? 0 >= 3", json!(true)),
        ("$[0].id", json!(9)),
        ("$.length", json!(1)),
        ("$status + 1", json!(202)),
        ("headers[\"content-type\"] contains 'json'", json!(true)),
        ("{a: {b: {c: 1}}}.a.b.c", json!(1)),
        ("[1, 2, 3][1]", json!(2)),
    ];
    for (text, expected) in cases {
        check(text, shop(), expected);
    }
}

#[test]
fn word_forms() {
    let cases = [
        ("body.id exists", true),
        ("body.none exists", false),
        ("missing exists", false),
        ("missing not exists", true),
        ("exists(body.id)", true),
        ("body.id is not null", true),
        ("body.items is array and body.user is object", true),
        ("body.items is not empty", true),
        ("body.valid is true and body.valid is not false", true),
        ("body.count is number and body.count is int and body.price is not integer", true),
        ("body.items matches_schema {type: 'array', minItems: 2}", true),
        ("body matches_schema {required: ['id', 'nope']}", false),
        ("body.email matches '^[^@]+@example[.]com$' and not (body.email matches 'z')", true),
        ("contains(body.email, 'example') and startsWith(body.email, 'a') and matches(body.id, '^[0-9]+$')", true),
        ("body.items.length() == 2 && body.email.upper() == 'A@EXAMPLE.COM'", true),
        ("'x' in body.items[0].tags and 'id' in body and body contains 'id'", true),
        ("1 in null or null contains 1 or null matches 'x' or null startsWith 'x'", false),
        ("null > 1 or null <= 1 or 1 < null", false),
        ("'10' > 9 and 9 < '10' and 'b' > 'a'", true),
    ];
    for (text, expected) in cases {
        check(text, shop(), json!(expected));
    }
}

#[test]
fn functions_over_lists() {
    let cases = [
        ("len(body.items)", json!(2)),
        ("len(null) + len('äö') + len(body.user)", json!(4)),
        ("any(body.items, { .price > 10 })", json!(true)),
        ("all(body.items, .price > 10)", json!(false)),
        ("none(body.items, { # is null })", json!(true)),
        ("one(body.items, { #.price > 10 })", json!(true)),
        ("filter(body.items, { .price > 10 })[0].id", json!(2)),
        ("map(body.items, { .id * 2 })", json!([2, 4])),
        ("map(body.items, { {id: .id, of: len(body.items)} })", json!([{"id": 1, "of": 2}, {"id": 2, "of": 2}])),
        ("map(body.items, { map(.tags, { # + '!' }) })", json!([["x!"], []])),
        ("count(body.items)", json!(2)),
        ("count(body.items, { 'x' in .tags })", json!(1)),
        ("sum(body.items, { .price })", json!(20.5)),
        ("sum([1, '2', 3])", json!(6)),
        ("min([3, 1, 2]) + max([3, 1, 2])", json!(4)),
        ("max(body.items, { .price })", json!(15.5)),
        ("min([])", json!(null)),
        ("any([]) or any(null, { # })", json!(false)),
        ("first(body.items).id + last(body.items).id", json!(3)),
        ("sort([3, 1, 2])", json!([1, 2, 3])),
        ("sort(body.items, { -.price })[0].id", json!(2)),
        ("reverse([1, 2])", json!([2, 1])),
        ("unique([1, 1.0, '1', 2])", json!([1, "1", 2])),
        ("keys(body.user)", json!(["first name", "content-type"])),
        ("values(body.user)[0]", json!("Ann")),
        ("jsonpath(body, '$..id')", json!(["42", 1, 2])),
        ("jsonpath(body, '$.items[?@.price > 10].id')", json!([2])),
        ("jsonpath(body, '$.items[0].id')", json!(1)),
        ("jsonpath(body, '$.nothing')", json!(null)),
    ];
    for (text, expected) in cases {
        check(text, shop(), expected);
    }
}

#[test]
fn functions_of_single_values() {
    let cases = [
        ("int('42') + int(1.9) + int(true)", json!(44)),
        ("float(2) / 4", json!(0.5)),
        ("string(1.5) + string(null) + string([1])", json!("1.5[1]")),
        (
            "[type(null), type(1), type(1.5), type('a'), type([]), type({}), type(true)]",
            json!(["null", "integer", "number", "string", "list", "map", "boolean"]),
        ),
        ("upper('aß') + lower('AB') + trim('  c ')", json!("ASSabc")),
        ("split('a,b', ',')", json!(["a", "b"])),
        ("join([1, 'b', null], '-') + join(['x', 'y'])", json!("1-b-xy")),
        ("replace('aXbX', 'X', '-')", json!("a-b-")),
        ("[abs(-3), abs(2.5), abs('-1')]", json!([3, 2.5, 1])),
        ("[round(2.5), round(-2.5), round(1.005, 2), floor(-1.5), ceil(1.2)]", json!([3, -3, 1.01, -2, 2])),
        ("duration('1h30m') + duration(5)", json!(5405)),
        ("date('2024-02-29')", json!("2024-02-29T00:00:00.000Z")),
        ("date('29/02/2024 10:30', '%d/%m/%Y %H:%M')", json!("2024-02-29T10:30:00.000Z")),
        (
            "date(1700000000) == date(1700000000123) or date('2023-11-14T23:13:20+01:00') == date(1700000000)",
            json!(true),
        ),
        ("date('2024-01-02') - date('2024-01-01')", json!(86400)),
        ("date('2024-01-01') + duration('1d') == date('2024-01-02')", json!(true)),
        ("now() > date('2024-12-31') and now() < date('2026-01-02')", json!(true)),
        ("now('%Y')", json!("2025")),
        ("toJSON({a: [1]})", json!("{\"a\":[1]}")),
        ("fromJSON('{\"a\": 1}').a", json!(1)),
        ("fromJSON('31.245270191439438') == 31.245270191439438", json!(true)),
        ("uuid() matches '^[0-9a-f-]{36}$' and len(random_string(8)) == 8", json!(true)),
        ("random_int(5, 5)", json!(5)),
        ("env('HOME') + string(env('NOPE'))", json!("/home/x")),
        ("fake.email() contains '@' and len(fake.name()) > 0", json!(true)),
        ("DAY_OF_WEEK is string and YEAR == 2025", json!(true)),
    ];
    for (text, expected) in cases {
        check(text, shop(), expected);
    }
}

#[test]
fn integers_never_wrap_and_keep_all_bits() {
    let big = json!({"n": 9_223_372_036_854_775_807_i64, "u": 18_446_744_073_709_551_615_u64});
    for (text, expected) in [
        ("n == 9223372036854775807", json!(true)),
        ("n == 9223372036854775806", json!(false)),
        ("n + 1", json!(9_223_372_036_854_775_808_u64)),
        ("u - n", json!(9_223_372_036_854_775_808_u64)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("u == '18446744073709551615' and u > n", json!(true)),
    ] {
        check(text, big.clone(), expected);
    }
    for text in ["u + 1", "u * u", "-u - 1"] {
        let error = Expr::parse(text).unwrap().eval(&names(big.clone())).expect_err(text);
        assert!(error.message.contains("too large"), "{text}: {error}");
    }
}

/// Each mistake: the text, and of each error the bytes it points at and words of its message and help.
#[test]
fn mistakes_are_precise() {
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("", &[("", "empty")]),
        ("status = 200", &[("=", "compare with `==`")]),
        ("status === 200", &[("===", "compare with `==`")]),
        ("status !== 200", &[("!==", "compare with `!=`")]),
        ("status ==", &[("", "expected a value, found the end")]),
        ("body.name == \"abc", &[("\"abc", "add the closing `\"`")]),
        ("lenn(body) > 0", &[("lenn", "did you mean `len`?")]),
        ("len(a, b) == 1", &[("len(a, b)", "`len` takes 1 argument, not 2")]),
        ("map(a)", &[("map(a)", "`map` takes 2 arguments, not 1")]),
        ("a = 1 && lenn(b) == 2 && c === 3", &[("=", "=="), ("lenn", "len"), ("===", "==")]),
        ("a == && b = 1", &[("&&", "expected a value"), ("=", "compare with `==`")]),
        ("1 < x < 5", &[("<", "join two comparisons with `&&`")]),
        ("name matches '('", &[("'('", "is not a regular expression")]),
        ("name matches '(?=a)'", &[("'(?=a)'", "linear time")]),
        ("a b", &[("b", "put an operator between")]),
        ("a & b", &[("&", "write `&&`")]),
        ("a == “x”", &[("“", "straight quotes")]),
        ("(a == 1", &[("(a == 1", "never closed")]),
        ("[1, 2", &[("[1, 2", "never closed")]),
        ("items[*].id", &[("*", "jsonpath")]),
        (".price > 1", &[(".", "only in a predicate")]),
        ("x is strin", &[("strin", "did you mean `string`?")]),
        ("x is 5", &[("5", "compare values with `==`")]),
        ("1abc == 2", &[("1abc", "is not a number")]),
        ("{{x == 1", &[("{{x == 1", "never closed")]),
        ("${} == 1", &[("${}", "is empty")]),
        ("fake.emial()", &[("fake.emial", "did you mean `fake.email`?")]),
        ("x not 5", &[("5", "after `not`")]),
        ("body. == 1", &[("==", "a key after `.`")]),
    ];
    for (text, expected) in cases {
        let errors = Expr::parse(text).expect_err(text);
        let found: Vec<_> = errors
            .iter()
            .map(|error| {
                (&text[error.start..error.end], format!("{} {}", error.message, error.help.as_deref().unwrap_or("")))
            })
            .collect();
        assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
        for ((place, words), (expected_place, expected_words)) in found.iter().zip(*expected) {
            assert_eq!(place, expected_place, "{text}: {words}");
            assert!(words.contains(expected_words), "{text}: {words}");
        }
    }
}

#[test]
fn a_chain_of_comparisons_is_one_mistake_and_the_rest_is_still_read() {
    let cases = [
        ("a < b < c", vec![6]),
        ("a < b < c < d == e", vec![6]),
        ("(a == b == c)", vec![8]),
        ("[a == b == c, d]", vec![8]),
        ("a < b < c ? d : e", vec![6]),
        ("a is number is string", vec![12]),
        ("a not in b not in c", vec![11]),
        ("\"{{a < b < c}} and more\"", vec![9]),
        ("len(a == b == c) > 0 && d > e > f", vec![11, 30]),
        ("a == b && c == d", vec![]),
        ("a + 1 == b || c < d", vec![]),
        ("(a < b) == c", vec![]),
    ];
    for (text, places) in cases {
        let errors = Expr::parse(text).err().unwrap_or_default();
        assert!(errors.iter().all(|error| error.message.contains("chained")), "{text}: {errors:?}");
        assert_eq!(errors.iter().map(|error| error.start).collect::<Vec<_>>(), places, "{text}");
    }
}

#[test]
fn every_name_that_is_suggested_can_be_called() {
    for name in function_names() {
        let known = functions::find(name).is_some() || parser::word_operator(name).is_some();
        assert!(known || ["exists", "matches"].contains(name), "{name}");
    }
    for function in functions::all() {
        assert!(function_names().contains(&function.name), "{}", function.name);
    }
}

#[test]
fn nesting_is_limited() {
    let chain = vec!["1"; 100_000].join("+");
    let texts = [
        format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("{}1", "-".repeat(100_000)),
        format!("{}true", "not ".repeat(100_000)),
        format!("{}x", "a ? b : ".repeat(100_000)),
        format!("{}x", "a ?? ".repeat(100_000)),
        format!("{}x", "\"${".repeat(100_000)),
        format!("x{}", "[0".repeat(100_000)),
        chain,
    ];
    for text in texts {
        let errors = Expr::parse(&text).expect_err("too deep");
        assert!(errors.iter().any(|error| error.message.contains("nested too deeply")), "{errors:?}");
    }
}

#[test]
fn evaluation_errors_name_the_thing() {
    let cases = [
        ("user_idd == 1", "`user_idd` is not defined", "did you mean `user_id`?"),
        ("TIMESTMP > 0", "`TIMESTMP` is not defined", "did you mean `TIMESTAMP`?"),
        ("a-b", "`a-b` is not defined", "a difference is written with spaces"),
        ("body > 1", "`>` cannot compare a map with an integer", ""),
        ("body.email - 1", "`-` takes numbers, not a string and an integer", ""),
        ("status && true", "`status` is an integer, not true or false", "compare it"),
        ("1 / 0", "division by zero", ""),
        ("upper(body)", "`upper` takes a string, not a map", ""),
        ("len(true)", "`len` takes a string, a list or a map, not a boolean", ""),
        ("body.email matches body.id + '('", "is not a regular expression", ""),
        ("\"id {{body.none}}\"", "`body.none` is null", "give it a default"),
        ("date('yesterday')", "`date` cannot read \"yesterday\"", ""),
        ("duration('5 parsecs')", "`5 parsecs` is not a duration", "300ms"),
        ("now('%Q')", "is not a time format", "%Y"),
        ("body matches_schema 'user.json'", "the schema `user.json` cannot be read here", ""),
        ("body matches_schema {'$ref': 'file:///etc/hosts'}", "the schema is not valid", ""),
        ("body match_snapshot 'x'", "the snapshot `x` cannot be read here", ""),
        ("random_int(2, 1)", "2 is greater than 1", ""),
    ];
    for (text, message, help) in cases {
        let error = Expr::parse(text)
            .unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
            .eval(&names(shop()))
            .expect_err(text);
        assert!(error.message.contains(message), "{text}: {}", error.message);
        assert!(error.help.as_deref().unwrap_or("").contains(help), "{text}: {:?}", error.help);
    }
}

#[test]
fn failed_conditions_say_what_was_compared() {
    let cases = [
        ("body.count >= 5", "`body.count` is 3, expected >= 5"),
        ("status == 200", "`status` is 201, expected 200"),
        ("body.id == status", "`body.id` is \"42\", expected 201 (`status`); one is a string, the other an integer"),
        ("body.id != '42'", "`body.id` is \"42\", expected anything but \"42\""),
        ("body.missing == 'x'", "`body.missing` is null, expected \"x\""),
        ("body.email contains 'zz'", "`body.email` is \"a@example.com\", expected to contain \"zz\""),
        ("status not in [201, 202]", "`status` is 201, expected not one of [201,202]"),
        ("body.email matches '^z'", "`body.email` is \"a@example.com\", expected to match \"^z\""),
        ("body.missing exists", "`body.missing` does not exist"),
        ("body.id is number", "`body.id` is \"42\", expected number"),
        ("status == 201 && body.count == 4", "`body.count` is 3, expected 4"),
        ("status == 1 || status == 2", "`status` is 201, expected 1, and `status` is 201, expected 2"),
        ("not (status == 201)", "`status` is 201, expected anything but 201"),
        ("body.none", "`body.none` is null"),
        ("len(body.items) == 3", "`len(body.items)` is 2, expected 3"),
    ];
    for (text, expected) in cases {
        let checked = Expr::parse(text).unwrap().check(&names(shop())).unwrap();
        assert!(!checked.holds, "{text}");
        assert_eq!(checked.message, expected, "{text}");
    }
    let checked = Expr::parse("body.count == 3").unwrap().check(&names(shop())).unwrap();
    assert!(checked.holds && checked.message.is_empty());
    assert_eq!((checked.actual, checked.expected), (Some(Value::Int(3)), Some(Value::Int(3))));
    assert!(Expr::parse("body").unwrap().check(&names(shop())).is_err(), "a map is no condition");
}

#[test]
fn long_values_are_compared_by_a_diff() {
    let names = names(json!({"a": "one\ntwo\nthree", "b": "one\n2\nthree"}));
    let checked = Expr::parse("a == b").unwrap().check(&names).unwrap();
    assert!(checked.message.contains("-2\n+two"), "{}", checked.message);
}

#[test]
fn references_are_listed() {
    let text =
        "create.body.id == {{user}} && (x ?? y[0].z) > 1 && w exists && any(list, { .p == q }) && \"${v:1}\" == o?.p";
    let found: Vec<_> = Expr::parse(text)
        .unwrap()
        .references()
        .into_iter()
        .map(|reference| {
            (
                reference.root,
                reference.keys.join("."),
                reference.optional,
                text[reference.start..reference.end].to_owned(),
            )
        })
        .collect();
    let expected = [
        ("create", "body.id", false, "create.body.id"),
        ("user", "", false, "user"),
        ("x", "", true, "x"),
        ("y", "", false, "y[0].z"),
        ("w", "", true, "w"),
        ("list", "", false, "list"),
        ("q", "", false, "q"),
        ("v", "", true, "v"),
        ("o", "p", true, "o?.p"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(root, keys, optional, at)| ((*root).to_owned(), (*keys).to_owned(), *optional, (*at).to_owned()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn constants_are_seen() {
    let cases = [
        ("1 == 1", Some(true)),
        ("1 > 2", Some(false)),
        ("true", Some(true)),
        ("null", Some(false)),
        ("'text'", None),
        ("a == a", Some(true)),
        ("a.b != a.b", Some(false)),
        ("a < a", Some(false)),
        ("a == b", None),
        ("a == 1 || true", Some(true)),
        ("a == 1 && false", Some(false)),
        ("not (1 == 1)", Some(false)),
        ("status == 200", None),
        ("uuid() == uuid()", None),
        ("RANDOM_INT == RANDOM_INT", None),
        ("now() == now()", None),
        ("len('abc') == 3", Some(true)),
    ];
    for (text, expected) in cases {
        assert_eq!(Expr::parse(text).unwrap().constant(), expected, "{text}");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Texts that are expressions, built from the bottom up.
    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<u64>().prop_map(|number| number.to_string()),
            (-1e9..1e9).prop_map(|number: f64| format!("{number:?}")),
            "[a-z_]{1,6}(\\.[a-z]{1,4}|\\[[0-9]\\]|\\[\"[ a-z$]{0,4}\"\\]|\\?\\.[a-z]{1,3}){0,3}"
                .prop_filter("keywords are no names", |text| !starts_with_keyword(text)),
            "\"[ a-z0-9$\\{\\}\\\\n']{0,8}\"".prop_filter("must parse", |text| Expr::parse(text).is_ok()),
            "\\$\\{[a-z]{2,5}:[a-z0-9 /:]{0,6}\\}".prop_filter("no keyword", |text| Expr::parse(text).is_ok()),
            Just("$.a[0]".to_owned()),
            Just("fake.email()".to_owned()),
            Just("uuid()".to_owned()),
        ];
        leaf.prop_recursive(5, 40, 3, |inner| {
            let operator = prop::sample::select(vec![
                "+",
                "-",
                "*",
                "/",
                "%",
                "??",
                "==",
                "!=",
                "<",
                "<=",
                ">",
                ">=",
                "&&",
                "||",
                "and",
                "or",
                "in",
                "not in",
                "contains",
                "not contains",
                "startsWith",
                "ends_with",
            ]);
            prop_oneof![
                (inner.clone(), operator.clone(), inner.clone())
                    .prop_map(|(left, operator, right)| format!("({left}) {operator} ({right})")),
                (inner.clone(), operator, inner.clone())
                    .prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
                (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a}) ? {b} : {c}")),
                inner.clone().prop_map(|inner| format!("not ({inner})")),
                inner.clone().prop_map(|inner| format!("-({inner})")),
                inner.clone().prop_map(|inner| format!("({inner}) exists")),
                inner.clone().prop_map(|inner| format!("({inner}) is not empty")),
                inner.clone().prop_map(|inner| format!("({inner}).x[0]")),
                inner.clone().prop_map(|inner| format!("len({inner})")),
                inner.clone().prop_map(|inner| format!("any(list, {{ .a == ({inner}) }})")),
                inner.clone().prop_map(|inner| format!("filter(list, ({inner}) == #)")),
                inner.clone().prop_map(|inner| format!("\"x${{{inner}}}y\"")),
                inner.clone().prop_map(|inner| format!("{{{{ {inner} }}}}")),
                prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
                inner.prop_map(|inner| format!("{{a: {inner}, \"b c\": {{d: 1}}}}")),
            ]
        })
    }

    fn starts_with_keyword(text: &str) -> bool {
        let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        ["not", "true", "false", "null", "nil"].contains(&word.as_str())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn printing_and_parsing_agree(text in expression()) {
            if let Ok(expression) = Expr::parse(&text) {
                let printed = expression.to_string();
                let again = Expr::parse(&printed);
                prop_assert_eq!(again.as_ref(), Ok(&expression), "{} was printed as {}", text, printed);
            }
        }

        #[test]
        fn generated_texts_are_expressions(text in expression()) {
            let errors = Expr::parse(&text).err().unwrap_or_default();
            // Chained comparisons are the one thing the generator builds and the language refuses.
            prop_assert!(
                errors.iter().all(|error| error.message.contains("chained") || error.message.contains("deep")),
                "{}: {:?}", text, errors
            );
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in any::<String>()) {
            let _ = Expr::parse(&text);
        }

        #[test]
        fn any_text_of_our_characters_is_parsed_or_refused(text in "[a-c0-2 .,:?!&|=<>+*/%#$(){}\\[\\]\"'\\\\-]{0,40}") {
            match Expr::parse(&text) {
                Ok(expression) => {
                    let printed = expression.to_string();
                    let again = Expr::parse(&printed);
                    prop_assert_eq!(again.as_ref(), Ok(&expression), "{} was printed as {}", text, printed);
                    let _ = expression.check(&names(shop()));
                    let _ = expression.constant();
                }
                Err(errors) => {
                    prop_assert!(!errors.is_empty());
                    for error in errors {
                        prop_assert!(text.get(error.start..error.end).is_some(), "{:?}", error);
                    }
                }
            }
        }
    }
}

#[test]
fn an_expression_that_was_met_before_is_the_same_and_mistakes_are_told_each_time() {
    for text in ["status == 200", "a.b-1", "größe > 2", "body.n in [1, 2]", "status =", "", "1abc == 2"] {
        let fresh = Expr::parse(text);
        for _ in 0..2 {
            assert_eq!(Expr::parse_known(text), fresh, "{text}");
        }
    }
    for number in 0..600 {
        let text = format!("body.id == {number}");
        assert_eq!(Expr::parse_known(&text).unwrap().source(), text);
    }
}
