//! Checks the configuration of a plugin's action against the JSON Schema that the plugin gives for it.
//!
//! Before a run some values are not known: they are references. What depends on them is not judged then.

use boon::{ErrorKind, InstanceLocation, InstanceToken, ValidationError};
use serde_json::Value as Json;

use crate::expr::schema::Compiled;

/// The most faults that are told.
const MAX_FAULTS: usize = 10;

/// A step on the way from a configuration to a part of it: a key, or the number of an item.
pub(crate) type Path = Vec<String>;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Validator {
    schema: Compiled,
}

/// Something that a schema does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where it is.
    pub(crate) path: Path,
    /// What kind of fault.
    pub(crate) kind: FaultKind,
    /// What is wrong, a fragment.
    pub(crate) message: String,
}

/// What kind of fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// Keys are missing.
    Missing,
    /// These keys are not taken.
    Unknown(Vec<String>),
    /// The type is wrong.
    Type,
    /// The value is.
    Value,
}

impl Fault {
    /// The place and the fault: "`config.values.0`: want number, but got string".
    pub(crate) fn told(&self) -> String {
        let place = self.path.iter().fold("config".to_owned(), |place, key| place + "." + key);
        format!("`{place}`: {}", self.message)
    }
}

impl Validator {
    pub(super) fn new(schema: &Json) -> Result<Self, String> {
        let schema = Compiled::of_document(schema, "").map_err(|error| error.message)?;
        Ok(Self { schema })
    }

    /// What is wrong with a configuration. At the `unknown` places stands null for a value that is not known yet.
    pub(super) fn faults(&self, config: &Json, unknown: &[Path]) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(fault) = self.schema.fault(config) {
            tell(&fault, unknown, &mut faults);
        }
        faults
    }
}

/// The innermost faults: those around them only say that something inside is wrong.
fn tell(fault: &ValidationError<'_, '_>, unknown: &[Path], faults: &mut Vec<Fault>) {
    let path = path(&fault.instance_location);
    if faults.len() >= MAX_FAULTS || unknown.iter().any(|place| path.starts_with(place)) {
        return;
    }
    let depends = unknown.iter().any(|place| place.starts_with(&path));
    if depends && may_change(fault) {
        return;
    }
    if fault.causes.is_empty() {
        faults.push(Fault { path, kind: kind(&fault.kind), message: fault.kind.to_string() });
    }
    for cause in &fault.causes {
        tell(cause, unknown, faults);
    }
}

/// Whether other values inside of the faulty one could make it right.
fn may_change(fault: &ValidationError<'_, '_>) -> bool {
    let by_shape = matches!(
        fault.kind,
        ErrorKind::Required { .. }
            | ErrorKind::AdditionalProperties { .. }
            | ErrorKind::Type { .. }
            | ErrorKind::FalseSchema
            | ErrorKind::MinProperties { .. }
            | ErrorKind::MaxProperties { .. }
            | ErrorKind::MinItems { .. }
            | ErrorKind::MaxItems { .. }
            | ErrorKind::AdditionalItems { .. }
            | ErrorKind::PropertyName { .. }
            | ErrorKind::DependentRequired { .. }
    );
    let chosen = ["/then", "/else"].iter().any(|branch| fault.schema_url.contains(branch));
    let choice = matches!(fault.kind, ErrorKind::AnyOf | ErrorKind::OneOf(_) | ErrorKind::Not);
    chosen || choice || (fault.causes.is_empty() && !by_shape)
}

fn kind(kind: &ErrorKind<'_, '_>) -> FaultKind {
    match kind {
        ErrorKind::Required { .. } | ErrorKind::DependentRequired { .. } => FaultKind::Missing,
        ErrorKind::AdditionalProperties { got } => {
            FaultKind::Unknown(got.iter().map(|key| key.clone().into_owned()).collect())
        }
        ErrorKind::Type { .. } => FaultKind::Type,
        _ => FaultKind::Value,
    }
}

fn path(location: &InstanceLocation<'_>) -> Path {
    let step = |token: &InstanceToken<'_>| match token {
        InstanceToken::Prop(key) => key.clone().into_owned(),
        InstanceToken::Item(index) => index.to_string(),
    };
    location.tokens.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(config: &Json, unknown: &[&[&str]], expect: &[&str]) {
        let schema = json!({
            "type": "object",
            "required": ["values"],
            "properties": {
                "values": { "type": "array", "items": { "type": "number" }, "uniqueItems": true, "minItems": 1 },
                "round": { "anyOf": [{ "type": "integer", "minimum": 0 }, { "const": "never" }] },
            },
            "additionalProperties": false,
        });
        let unknown: Vec<Path> =
            unknown.iter().map(|path| path.iter().map(|key| (*key).to_owned()).collect()).collect();
        let faults = Validator::new(&schema).unwrap().faults(config, &unknown);
        let told: Vec<String> = faults.iter().map(Fault::told).collect();
        assert_eq!(told, expect, "{config}");
    }

    #[test]
    fn faults_are_told_with_their_place() {
        check(&json!({ "values": [1, 2.5] }), &[], &[]);
        check(&json!({ "values": [1, "2"] }), &[], &["`config.values.1`: want number, but got string"]);
        check(&json!({}), &[], &["`config`: missing properties 'values'"]);
        check(&json!({ "values": [1], "roud": 1 }), &[], &["`config`: additionalProperties 'roud' not allowed"]);
    }

    #[test]
    fn what_depends_on_an_unknown_value_is_not_judged() {
        check(&json!({ "values": null }), &[&["values"]], &[]);
        check(&json!({ "values": [null, null] }), &[&["values", "0"], &["values", "1"]], &[]);
        check(
            &json!({ "values": [null, "2"] }),
            &[&["values", "0"]],
            &["`config.values.1`: want number, but got string"],
        );
        check(&json!({ "values": [1], "round": null }), &[&["round"]], &[]);
        check(&json!({ "round": null }), &[&["round"]], &["`config`: missing properties 'values'"]);
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        for (schema, part) in [
            (json!({ "type": "nothing" }), "not valid"),
            (json!({ "$ref": "file:///etc/passwd" }), "error loading file:///etc/passwd"),
        ] {
            let error = Validator::new(&schema).map(drop).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
