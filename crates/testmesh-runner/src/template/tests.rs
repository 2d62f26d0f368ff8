//! Templates, case by case.

use proptest::prelude::*;
use serde_json::json;
use testmesh_shared::clock::SystemClock;

use super::*;
use crate::builtins::RunFacts;

struct Names(Builtins);

impl Lookup for Names {
    fn get(&self, name: &str) -> Option<Value> {
        Some(match name {
            "user" => Value::from_json(
                json!({"name": "Ann", "ids": [1, 2], "nothing": null, "big": 9_007_199_254_740_993_i64}),
            ),
            "count" => Value::Int(3),
            "trick" => Value::from("${count} {{count}}"),
            _ => return None,
        })
    }
    fn names(&self) -> Vec<String> {
        ["user", "count", "trick"].map(str::to_owned).to_vec()
    }
    fn builtins(&self) -> &Builtins {
        &self.0
    }
}

fn names() -> Names {
    Names(Builtins::new(Some(1), Arc::new(SystemClock), RunFacts::default(), Arc::default()))
}

#[test]
fn references_are_resolved_once() {
    let cases = [
        ("", json!("")),
        ("plain $5 {x} \\ }}", json!("plain $5 {x} \\ }}")),
        ("${count}", json!(3)),
        ("{{count}}", json!(3)),
        ("{{ count }}", json!(3)),
        (" ${count}", json!(" 3")),
        ("${count}${count}", json!("33")),
        ("Hello {{user.name}}!", json!("Hello Ann!")),
        ("${user.ids}", json!([1, 2])),
        ("ids: ${user.ids}", json!("ids: [1,2]")),
        ("${user.big}", json!(9_007_199_254_740_993_i64)),
        ("n=${user.big}", json!("n=9007199254740993")),
        ("${trick}", json!("${count} {{count}}")),
        ("a ${trick} b", json!("a ${count} {{count}} b")),
        ("$${count} \\{{count}}", json!("${count} {{count}}")),
        ("$$${count}", json!("$${count}")),
        ("${PORT:8080}", json!("8080")),
        ("http://localhost:${PORT:8080}/x", json!("http://localhost:8080/x")),
        ("{{URL:http://localhost:1/}}", json!("http://localhost:1/")),
        ("${EMPTY:}", json!("")),
        ("${user.nothing:x}", json!("x")),
        ("${user.nothing}", json!(null)),
        ("${count > 2 ? \"many\" : \"few\"}", json!("many")),
        ("${user.ids[-1] + count}", json!(5)),
        ("${\"a}b\" + 'c'}", json!("a}bc")),
        ("{\"a\":{\"b\":\"{{count}}\"}}", json!("{\"a\":{\"b\":\"3\"}}")),
        ("größe ${count} €", json!("größe 3 €")),
    ];
    for (text, expected) in cases {
        let template = Template::parse(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
        assert_eq!(template.render(&names()), Ok(Value::from_json(expected)), "{text}");
    }
}

#[test]
fn mistakes_point_at_the_reference() {
    let cases = [
        ("a ${count", "${count", "never closed"),
        ("a {{count", "{{count", "never closed"),
        ("a {{count}", "}", "expected an operator or `}}`"),
        ("a ${} b", "${}", "empty"),
        ("a ${count;} b", ";", "expected"),
        ("${a ? }", "}", "expected a value"),
        ("{{ .Values.name }}", "{{ .Values.name }}", "is not a reference"),
        ("{{#if x}}", "{{#if x}}", "is not a reference"),
        ("{{\"a\": 1}}", "{{\"a\": 1}}", "is not a reference"),
        ("${lenn(x)}", "lenn", "does not exist"),
    ];
    for (text, place, message) in cases {
        let errors = Template::parse(text).expect_err(text);
        assert_eq!(&text[errors[0].start..errors[0].end], place, "{text}: {errors:?}");
        assert!(errors[0].message.contains(message), "{text}: {errors:?}");
        assert!(errors[0].help.is_some(), "{text}: {errors:?}");
    }
    let errors = Template::parse("${} and {{ .x }} and ${a b}").expect_err("three mistakes");
    assert_eq!(errors.len(), 3, "{errors:?}");
}

#[test]
fn null_and_unknown_names_are_errors_in_a_text() {
    let null = Template::parse("id: ${user.nothing}").unwrap().render(&names()).expect_err("null");
    assert!(null.message.contains("`user.nothing` is null"), "{null}");
    let unknown = Template::parse("id: ${usr}").unwrap().render(&names()).expect_err("unknown");
    assert_eq!(unknown.message, "`usr` is not defined");
    assert_eq!(unknown.help.as_deref(), Some("did you mean `user`?"));
}

#[test]
fn literals_hold_no_reference() {
    assert_eq!(Template::parse("a $${b}").unwrap().as_literal(), Some("a ${b}"));
    assert_eq!(Template::parse("a ${b}").unwrap().as_literal(), None);
    let text = "x ${user.name} {{ n:1 }}";
    let found: Vec<_> = Template::parse(text)
        .unwrap()
        .references()
        .into_iter()
        .map(|reference| (text[reference.start..reference.end].to_owned(), reference.optional))
        .collect();
    assert_eq!(found, [("user.name".to_owned(), false), ("n".to_owned(), true)]);
}

#[test]
fn trees_fold_what_is_constant() {
    let constant = Tree::map(vec![
        (Template::literal("a"), Tree::list(vec![Tree::text("x").unwrap(), Tree::Const(Value::Int(1))])),
        (Template::literal("b"), Tree::Const(Value::Null)),
    ]);
    assert!(matches!(constant, Tree::Const(_)));
    let open = Tree::map(vec![(
        Template::parse("k${count}").unwrap(),
        Tree::list(vec![Tree::text("${count}").unwrap(), constant]),
    )]);
    assert!(matches!(open, Tree::Map(_)));
    assert_eq!(open.references().len(), 2);
    let expected = json!({"k3": [3, {"a": ["x", 1], "b": null}]});
    assert_eq!(open.render(&names()), Ok(Value::from_json(expected)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_parsed_or_refused(text in any::<String>()) {
        let _ = Template::parse(&text);
    }

    #[test]
    fn any_text_of_our_characters_is_parsed_or_refused(text in "[a-c ${}:\"'\\\\.#|?]{0,40}") {
        match Template::parse(&text) {
            Ok(template) => {
                let _ = template.render(&names());
            }
            Err(errors) => {
                for error in errors {
                    prop_assert!(text.get(error.start..error.end).is_some(), "{:?}", error);
                }
            }
        }
    }

    #[test]
    fn escaped_text_is_itself(text in any::<String>()) {
        // A `$` or `\` before an escape would change its meaning; such texts are another case's.
        prop_assume!(!text.contains(['$', '\\', '{']));
        let template = Template::parse(&text).expect("no reference in it");
        prop_assert_eq!(template.as_literal(), Some(text.as_str()));
    }
}
