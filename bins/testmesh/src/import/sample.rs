//! Values that fit a schema of OpenAPI 3.0 or 3.1, the same each time.

use serde_json::{Map, Value as Json, json};

/// How many `$ref` may lead to each other.
const LONGEST_CHAIN: usize = 16;
/// How deep a value is made; what is below is left out.
const DEEPEST: usize = 24;
/// How many values one sample has at most.
const MOST_VALUES: usize = 2_000;
/// Texts and lists are not made longer than this, whatever a schema asks for.
const LONGEST: u64 = 64;

/// A document in which `$ref` is looked up.
#[derive(Clone, Copy)]
pub(super) struct Document<'d>(pub(super) &'d Json);

impl<'d> Document<'d> {
    /// What a `$ref` leads to, or the value itself. What leads out of the document is null.
    pub(super) fn resolve(self, value: &'d Json) -> &'d Json {
        let mut value = value;
        for _ in 0..LONGEST_CHAIN {
            let Some(reference) = reference(value) else { return value };
            value = self.find(reference);
        }
        &Json::Null
    }

    fn find(self, reference: &str) -> &'d Json {
        let Some(pointer) = reference.strip_prefix('#') else { return &Json::Null };
        let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy();
        self.0.pointer(&pointer).unwrap_or(&Json::Null)
    }

    /// A value of the schema.
    pub(super) fn sample(self, schema: &'d Json) -> Json {
        let mut sampler = Sampler { document: self, path: Vec::new(), depth: 0, n_values: 0 };
        sampler.value(schema).unwrap_or_default()
    }
}

fn reference(value: &Json) -> Option<&str> {
    value.get("$ref").and_then(Json::as_str)
}

struct Sampler<'d> {
    document: Document<'d>,
    /// The references that led here.
    path: Vec<&'d str>,
    depth: usize,
    n_values: usize,
}

impl<'d> Sampler<'d> {
    /// A value of the schema; none for one inside itself, or where there are too many already.
    fn value(&mut self, schema: &'d Json) -> Option<Json> {
        self.n_values += 1;
        if self.depth >= DEEPEST || self.n_values > MOST_VALUES {
            return None;
        }
        let known = self.path.len();
        let mut schema = schema;
        while let Some(name) = reference(schema) {
            if self.path.contains(&name) {
                self.path.truncate(known);
                return None;
            }
            self.path.push(name);
            schema = self.document.find(name);
        }
        self.depth += 1;
        let value = self.of(schema);
        self.depth -= 1;
        self.path.truncate(known);
        Some(value)
    }

    fn of(&mut self, schema: &'d Json) -> Json {
        let written = schema.get("example").or_else(|| schema["examples"].get(0));
        let written = written.or_else(|| schema.get("default").filter(|value| !value.is_null()));
        let written = written.or_else(|| schema.get("const")).or_else(|| schema["enum"].get(0));
        if let Some(written) = written {
            return written.clone();
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let mut whole = self.typed(schema);
            for part in parts {
                merge(&mut whole, self.value(part).unwrap_or_default());
            }
            return whole;
        }
        let choices = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
        let choice = choices.and_then(|choices| choices.iter().find(|choice| choice["type"] != json!("null")));
        if let Some(choice) = choice {
            let mut whole = self.value(choice).unwrap_or_default();
            if schema["properties"].is_object() {
                merge(&mut whole, self.typed(schema));
            }
            return whole;
        }
        self.typed(schema)
    }

    fn typed(&mut self, schema: &'d Json) -> Json {
        let kind = match &schema["type"] {
            Json::String(kind) => kind.as_str(),
            // 3.1 has lists of types.
            Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).find(|kind| *kind != "null").unwrap_or("null"),
            _ if schema["properties"].is_object() => "object",
            _ if schema["items"].is_object() => "array",
            _ => return Json::Null,
        };
        match kind {
            "object" => self.object(schema),
            "array" => {
                let n = schema["minItems"].as_u64().unwrap_or(1).clamp(1, LONGEST);
                let item = self.value(&schema["items"]).filter(|item| !item.is_null());
                item.map_or_else(|| json!([]), |item| (0..n).map(|_| item.clone()).collect())
            }
            "string" => Json::String(words(schema)),
            "integer" => whole(number(schema).ceil()),
            "number" => {
                let number = number(schema);
                if number.fract() == 0.0 { whole(number) } else { json!(number) }
            }
            "boolean" => json!(true),
            _ => Json::Null,
        }
    }

    fn object(&mut self, schema: &'d Json) -> Json {
        let required = schema["required"].as_array();
        let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|known| known == name));
        let mut object = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if self.document.resolve(property)["readOnly"] == json!(true) {
                continue;
            }
            match self.value(property) {
                Some(value) => drop(object.insert(name.clone(), value)),
                None if is_required(name) => drop(object.insert(name.clone(), Json::Null)),
                None => {}
            }
        }
        Json::Object(object)
    }
}

fn merge(whole: &mut Json, part: Json) {
    match (&mut *whole, part) {
        (Json::Object(whole), Json::Object(part)) => whole.extend(part),
        (whole, part) if whole.is_null() => *whole = part,
        _ => {}
    }
}

/// A text of the schema's format, or long enough.
fn words(schema: &Json) -> String {
    let known = match schema["format"].as_str() {
        Some("uuid") => "00000000-0000-4000-8000-000000000001",
        Some("date") => "2024-01-31",
        Some("time") => "12:00:00Z",
        Some("date-time") => "2024-01-31T12:00:00Z",
        Some("duration") => "PT1H",
        Some("email" | "idn-email") => "ada@example.com",
        Some("uri" | "url" | "iri" | "uri-reference") => "https://example.com/",
        Some("hostname" | "idn-hostname") => "example.com",
        Some("ipv4") => "192.0.2.1",
        Some("ipv6") => "2001:db8::1",
        Some("byte") => "dGV4dA==",
        _ => "text",
    };
    let shortest = usize::try_from(schema["minLength"].as_u64().unwrap_or(0).min(LONGEST)).unwrap_or(0);
    let longest = schema["maxLength"].as_u64().map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let mut text = known.to_owned();
    while text.chars().count() < shortest {
        text.push('x');
    }
    text.chars().take(longest.max(shortest)).collect()
}

/// A number without a fraction as JSON has it: `3`, not `3.0`.
fn whole(number: f64) -> Json {
    format!("{number:.0}").parse::<i64>().map_or(Json::Null, Json::from)
}

/// A number within the schema's bounds, a multiple of what it asks for.
fn number(schema: &Json) -> f64 {
    let bound = |inclusive: &str, exclusive: &str, step: f64| {
        let inclusive = schema[inclusive].as_f64();
        match &schema[exclusive] {
            // 3.0 has a boolean, 3.1 a number.
            Json::Bool(true) => inclusive.map(|bound| bound + step),
            other => other.as_f64().map(|bound| bound + step).or(inclusive),
        }
    };
    let least = bound("minimum", "exclusiveMinimum", 1.0);
    let most = bound("maximum", "exclusiveMaximum", -1.0);
    let wanted = least.unwrap_or(1.0).max(if least.is_some() { f64::MIN } else { 1.0 });
    let number = most.map_or(wanted, |most| wanted.min(most));
    match schema["multipleOf"].as_f64().filter(|step| *step > 0.0) {
        Some(step) => (number / step).ceil() * step,
        None => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_their_schemas() {
        for (schema, expect) in [
            (json!({"type": "string", "format": "uuid"}), json!("00000000-0000-4000-8000-000000000001")),
            (json!({"type": "string", "minLength": 6}), json!("textxx")),
            (json!({"type": "string", "maxLength": 2}), json!("te")),
            (json!({"type": ["null", "integer"], "minimum": 3}), json!(3)),
            (json!({"type": "integer", "exclusiveMinimum": 3}), json!(4)),
            (json!({"type": "integer", "minimum": 3, "exclusiveMinimum": true}), json!(4)),
            (json!({"type": "number", "maximum": 0.5}), json!(0.5)),
            (json!({"type": "integer", "multipleOf": 5, "minimum": 7}), json!(10)),
            (json!({"enum": ["a", "b"]}), json!("a")),
            (
                json!({"type": "object", "properties": {"a": {"type": "boolean"}, "id": {"type": "integer", "readOnly": true}}}),
                json!({"a": true}),
            ),
            (json!({"type": "array", "minItems": 2, "items": {"const": 1}}), json!([1, 1])),
            (
                json!({"allOf": [{"properties": {"a": {"example": 1}}}, {"properties": {"b": {"example": 2}}}]}),
                json!({"a": 1, "b": 2}),
            ),
            (json!({"oneOf": [{"type": "null"}, {"type": "string"}]}), json!("text")),
            (json!({}), Json::Null),
        ] {
            assert_eq!(Document(&schema).sample(&schema), expect, "{schema}");
        }
    }

    #[test]
    fn a_schema_inside_itself_comes_to_an_end() {
        let document = json!({
            "node": {
                "type": "object", "required": ["next"],
                "properties": {"name": {"type": "string"}, "next": {"$ref": "#/node"}, "all": {"type": "array", "items": {"$ref": "#/node"}}},
            },
            "wide": {"properties": {"a": {"$ref": "#/a"}, "b": {"$ref": "#/a"}}},
            "a": {"properties": {"c": {"$ref": "#/b"}, "d": {"$ref": "#/b"}}},
            "b": {"type": "array", "minItems": 64, "items": {"type": "array", "minItems": 64, "items": {"$ref": "#/wide"}}},
        });
        let leaf = json!({"name": "text", "next": null, "all": []});
        let made = Document(&document).sample(&document["node"]);
        assert_eq!(made, json!({"name": "text", "next": leaf, "all": [leaf]}));
        assert!(Document(&document).sample(&document["wide"]).to_string().len() < 400_000);
        let circle = json!({"$ref": "#"});
        assert_eq!(Document(&circle).sample(&circle), Json::Null);
        assert_eq!(Document(&circle).resolve(&circle), &Json::Null);
    }
}
