//! Entry points for the fuzzer (`fuzz/`): each takes any text, and panics only when an invariant is broken.

use std::sync::Arc;

use testmesh_shared::clock::SystemClock;

use crate::builtins::{Builtins, RunFacts};
use crate::expr::Expr;
use crate::flow::{Flow, ParseOptions};
use crate::path::{PathRoots, ResultPath};
use crate::template::{Lookup, Template};
use crate::value::Value;

/// One name, `a`, with something of every kind.
struct Sample {
    value: Value,
    builtins: Builtins,
}

impl Sample {
    fn new() -> Sample {
        let value = Value::map([
            ("a", Value::list(vec![Value::Int(1), Value::Float(1.5), Value::from("text"), Value::Null])),
            ("b", Value::Bool(true)),
        ]);
        let builtins = Builtins::new(Some(1), Arc::new(SystemClock), RunFacts::default(), Arc::default());
        Sample { value, builtins }
    }
}

impl Lookup for Sample {
    fn get(&self, name: &str) -> Option<Value> {
        matches!(name, "a" | "$").then(|| self.value.clone())
    }
    fn names(&self) -> Vec<String> {
        vec!["a".to_owned()]
    }
    fn builtins(&self) -> &Builtins {
        &self.builtins
    }
}

/// Parses, prints, parses again, and evaluates an expression; parses the text as a path as well.
///
/// # Panics
/// When printing and parsing disagree, or an error points outside of the text.
pub fn expression(text: &str) {
    let sample = Sample::new();
    match Expr::parse(text) {
        Ok(expression) => {
            let printed = expression.to_string();
            assert_eq!(Expr::parse(&printed).as_ref(), Ok(&expression), "`{text}` was printed as `{printed}`");
            let _ = expression.check(&sample);
            let _ = (expression.references(), expression.constant());
        }
        Err(errors) => {
            for error in errors {
                assert!(text.get(error.start..error.end).is_some(), "{error:?} lies outside of `{text}`");
            }
        }
    }
    if let Ok(path) = ResultPath::parse(text) {
        let _ = path.find(&PathRoots { result: &sample.value, primary: None, reserved: &[], step_id: "s" });
    }
}

/// Parses and renders a template.
///
/// # Panics
/// When an error points outside of the text.
pub fn template(text: &str) {
    match Template::parse(text) {
        Ok(template) => {
            let _ = template.render(&Sample::new());
        }
        Err(errors) => {
            for error in errors {
                assert!(text.get(error.start..error.end).is_some(), "{error:?} lies outside of `{text}`");
            }
        }
    }
}

/// Parses a flow file.
pub fn flow(text: &str) {
    let _ = Flow::parse(text, &ParseOptions::default());
}
