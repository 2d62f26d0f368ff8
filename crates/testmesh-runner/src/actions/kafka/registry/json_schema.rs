//! JSON with a JSON Schema.

use bytes::Bytes;
use serde_json::Value as Json;
use url::Url;

use crate::expr::schema::{Compiled, LOCATION};
use crate::value::Value;

pub(super) struct Schema(Compiled);

impl Schema {
    /// Compiles it. `referenced` are schemas by the names that it refers to them with.
    pub(super) fn parse(text: &str, referenced: &[(&str, &str)]) -> Result<Self, String> {
        let root = json(text)?;
        // A name is looked for beside the schema: at the place that it gives itself, or where it is put here.
        let own = root.get("$id").and_then(Json::as_str).and_then(|id| Url::parse(id).ok());
        let here = Url::parse(LOCATION).ok();
        let mut others = Vec::new();
        for (name, text) in referenced {
            let other = json(text)?;
            let mut places: Vec<String> =
                [&own, &here].into_iter().flatten().filter_map(|base| base.join(name).ok()).map(String::from).collect();
            places.dedup();
            others.extend(places.into_iter().map(|place| (place, other.clone())));
        }
        Compiled::beside(&root, &others).map(Self)
    }

    pub(super) fn read(&self, bytes: Bytes, root: &str) -> Result<Value, String> {
        let value = Value::from_json_bytes(bytes).map_err(|error| format!("`{root}` is no JSON: {error}"))?;
        self.check(&value, root)?;
        Ok(value)
    }

    pub(super) fn write(&self, value: &Value, root: &str) -> Result<Vec<u8>, String> {
        self.check(value, root)?;
        serde_json::to_vec(value).map_err(|error| format!("`{root}` cannot be written as JSON: {error}"))
    }

    fn check(&self, value: &Value, root: &str) -> Result<(), String> {
        let faults = self.0.faults(&value.to_json());
        let faults: Vec<_> = faults.iter().map(|fault| format!("`{}`: {}", fault.instance, fault.message)).collect();
        match faults.as_slice() {
            [] => Ok(()),
            faults => Err(format!("`{root}` does not fit the schema: {}", faults.join("; "))),
        }
    }
}

fn json(text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|error| format!("the JSON Schema is no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_finds_those_that_it_refers_to_and_no_others() {
        let money = r#"{"type": "object", "required": ["cents"]}"#;
        for root in [
            r#"{"properties": {"total": {"$ref": "money.json"}}}"#,
            r#"{"$id": "http://shop.test/order.json", "properties": {"total": {"$ref": "money.json"}}}"#,
            r#"{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"total": {"$ref": "money.json"}}}"#,
        ] {
            let schema =
                Schema::parse(root, &[("money.json", money)]).unwrap_or_else(|error| panic!("{root}: {error}"));
            let value = |json| Value::from_json(json);
            assert_eq!(
                schema.write(&value(json!({"total": {"cents": 1}})), "payload").unwrap(),
                br#"{"total":{"cents":1}}"#
            );
            let error = schema.write(&value(json!({"total": {}})), "payload").unwrap_err();
            assert!(error.starts_with("`payload` does not fit the schema: `/total`: "), "{error}");
            let error = schema.read(Bytes::from_static(b"{"), "value").unwrap_err();
            assert!(error.starts_with("`value` is no JSON: "), "{error}");
            assert!(Schema::parse(root, &[]).is_err(), "{root}");
        }
        assert!(Schema::parse("{", &[]).err().unwrap().starts_with("the JSON Schema is no JSON: "));
    }
}
