//! JSON Schema (2020-12 unless the schema says otherwise). A schema refers to nothing outside of itself.

use boon::{Compiler, Schemas, UrlLoader, ValidationError};

use super::EvalError;
use super::eval::error;
use crate::value::Value;

/// Where the schema pretends to be.
const LOCATION: &str = "flow:///schema.json";
/// The most faults that are told.
const MAX_FAULTS: usize = 10;

/// Refuses every reference to another document: a schema must not open files or sockets.
struct Closed;

impl UrlLoader for Closed {
    fn load(&self, url: &str) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
        Err(format!("`{url}` lies outside of the schema").into())
    }
}

/// What is wrong with `value` under `schema`, one fragment each; empty when it matches.
pub(crate) fn faults(schema: &serde_json::Value, value: &Value) -> Result<Vec<String>, EvalError> {
    let mut compiler = Compiler::new();
    compiler.use_loader(Box::new(Closed));
    let mut schemas = Schemas::new();
    let invalid = |cause: boon::CompileError| error(format!("the schema is not valid: {cause}"));
    compiler.add_resource(LOCATION, schema.clone()).map_err(invalid)?;
    let index = compiler.compile(LOCATION, &mut schemas).map_err(invalid)?;
    let instance = value.to_json();
    let mut faults = Vec::new();
    if let Err(fault) = schemas.validate(&instance, index) {
        tell(&fault, &mut faults);
    }
    Ok(faults)
}

/// The innermost faults: those around them only say that something inside is wrong.
fn tell(fault: &ValidationError<'_, '_>, faults: &mut Vec<String>) {
    if faults.len() >= MAX_FAULTS {
        return;
    }
    if fault.causes.is_empty() {
        let place = fault.instance_location.to_string();
        let place = if place.is_empty() { "/".to_owned() } else { place };
        faults.push(format!("`{place}`: {}", fault.kind));
    }
    for cause in &fault.causes {
        tell(cause, faults);
    }
}
