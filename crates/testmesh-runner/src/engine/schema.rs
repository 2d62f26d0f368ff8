//! Values held against JSON Schema (2020-12).

use boon::{Compiler, Draft, SchemaIndex, Schemas, UrlLoader};
use serde_json::Value as Json;

use crate::expr::{Checked, EvalError};
use crate::flow::SchemaAssertion;
use crate::template::Lookup;
use crate::value::Value;

/// The name of the schema being compiled; nothing is ever loaded from it.
const LOCATION: &str = "testmesh:schema";

/// Checks a schema assertion; `fallback` is the value it means when it names none.
pub(super) fn check(wanted: &SchemaAssertion, names: &dyn Lookup, fallback: &Value) -> Result<Checked, EvalError> {
    let schema = wanted.schema.render(names)?.to_json();
    let value = match &wanted.value {
        Some(tree) => tree.render(names)?,
        None => fallback.clone(),
    };
    let message = validate(schema, &value.to_json())?;
    Ok(Checked { holds: message.is_none(), actual: Some(value), expected: None, message: message.unwrap_or_default() })
}

/// Why `value` does not match `schema`; `None` when it does.
pub(crate) fn validate(schema: Json, value: &Json) -> Result<Option<String>, EvalError> {
    let mut schemas = Schemas::new();
    let index = compile(schema, &mut schemas)?;
    match schemas.validate(value, index) {
        Ok(()) => Ok(None),
        Err(error) => {
            let told = error.to_string();
            // The first line names the schema; each line below names a place in the value and what is wrong there.
            let places: Vec<&str> = told.lines().skip(1).map(str::trim).collect();
            Ok(Some(format!("the value does not match the schema: {}", places.join("; "))))
        }
    }
}

fn compile(schema: Json, schemas: &mut Schemas) -> Result<SchemaIndex, EvalError> {
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V2020_12);
    compiler.enable_format_assertions();
    compiler.use_loader(Box::new(NoLoader));
    compiler
        .add_resource(LOCATION, schema)
        .and_then(|()| compiler.compile(LOCATION, schemas))
        .map_err(|error| EvalError { message: format!("the JSON Schema is not usable: {error:#}"), help: None })
}

/// A schema may refer to parts of itself, and to nothing outside: what a flow reads is decided elsewhere.
struct NoLoader;

impl UrlLoader for NoLoader {
    fn load(&self, url: &str) -> Result<Json, Box<dyn std::error::Error>> {
        Err(format!("`{url}` is outside the schema").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mismatches_name_the_place() {
        let schema = json!({"type": "object", "required": ["id"], "properties": {"n": {"type": "integer"}}});
        assert_eq!(validate(schema.clone(), &json!({"id": 1, "n": 2})).unwrap(), None);
        let message = validate(schema, &json!({"n": "two"})).unwrap().unwrap();
        assert!(message.contains("'id'") && message.contains("/n"), "{message}");
    }

    #[test]
    fn an_unusable_schema_is_an_error() {
        assert!(validate(json!({"type": 5}), &json!(1)).is_err());
    }

    #[test]
    fn a_schema_loads_nothing_from_outside() {
        let error = validate(json!({"$ref": "http://127.0.0.1:1/schema.json"}), &json!(1)).unwrap_err();
        assert!(error.message.contains("outside the schema"), "{}", error.message);
    }
}
