//! The JSON Schema of flow files for editors, made from the actions' own descriptions.

use serde_json::{Map, Value as Json, json};

use super::decode::{CONFIG_KEYS, FLOW_KEYS, INPUT_TYPES, NAME_LENGTH};
use super::policy::MAX_ATTEMPTS;
use super::step::{PLUGIN, STEP_KEYS};
use crate::action::{ActionSpec, Field, Kind};
use crate::actions;

/// The JSON Schema (2020-12) of a flow file: keys, types and every action's configuration.
pub fn json_schema() -> Json {
    let mut definitions = Map::new();
    definitions.insert("flow".to_owned(), flow());
    definitions.insert("step".to_owned(), step());
    for (name, schema) in shared() {
        definitions.insert(name.to_owned(), schema);
    }
    for spec in configured() {
        definitions.insert(definition_name(spec), object(spec.config, spec.open_config, spec.summary));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "TestMesh flow",
        "if": { "type": "object", "required": ["flow"] },
        "then": { "type": "object", "properties": { "flow": { "$ref": "#/$defs/flow" } }, "additionalProperties": false },
        "else": { "$ref": "#/$defs/flow" },
        "$defs": definitions,
    })
}

/// The actions whose configuration is known here: that of a plugin only the plugin knows.
fn configured() -> impl Iterator<Item = &'static ActionSpec> {
    actions::registry().iter().map(|action| action.spec()).filter(|spec| spec.name != PLUGIN)
}

fn definition_name(spec: &ActionSpec) -> String {
    format!("config_{}", spec.name)
}

/// `{"$ref": "#/$defs/<name>"}`.
fn refer(name: &str) -> Json {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn described(mut schema: Json, text: &str) -> Json {
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".to_owned(), Json::String(text.to_owned()));
    }
    schema
}

fn flow() -> Json {
    let input_types: Vec<&str> = INPUT_TYPES.iter().map(|(word, _)| *word).collect();
    let steps = json!({ "type": "array", "items": refer("step") });
    let properties = FLOW_KEYS.iter().map(|key| {
        let schema = match *key {
            "name" => json!({ "type": ["string", "number"], "minLength": 1, "maxLength": NAME_LENGTH }),
            "tags" => json!({ "anyOf": [refer("scalar"), { "type": "array", "items": refer("scalar") }] }),
            "env" | "output" => json!({ "type": ["object", "null"], "additionalProperties": refer("scalar") }),
            "config" => refer("flow_config"),
            "input" => json!({ "type": ["object", "null"], "additionalProperties": { "anyOf": [
                { "type": "object", "properties": {
                    "type": { "enum": input_types }, "required": { "type": "boolean" }, "default": {},
                    "description": refer("scalar"),
                }, "additionalProperties": false },
                { "enum": input_types }, { "type": "null" },
            ] } }),
            "data" => json!({ "anyOf": [
                { "type": "array", "items": { "type": "object" } },
                { "type": "object", "properties": {
                    "file": { "type": "string" }, "rows": { "type": "array", "items": { "type": "object" } },
                }, "additionalProperties": false },
            ] }),
            "setup" | "teardown" => json!({ "anyOf": [steps, { "type": "null" }] }),
            "steps" => json!({ "type": "array", "minItems": 1, "items": refer("step") }),
            _ => refer("scalar"),
        };
        ((*key).to_owned(), described(schema, flow_key(key)))
    });
    let properties: Map<String, Json> = properties.collect();
    json!({
        "type": "object",
        "required": ["name", "steps"],
        "properties": properties,
        "additionalProperties": false,
    })
}

fn flow_key(key: &str) -> &'static str {
    match key {
        "name" => "The flow's name, 1 to 255 characters.",
        "description" => "What it tests.",
        "author" => "Who wrote it.",
        "version" => "A version of your own.",
        "suite" => "The suite it belongs to.",
        "tags" => "Words to choose flows by.",
        "env" => "Variables of the flow; values keep their written text.",
        "env_file" => "A dotenv file, relative to the flow file.",
        "config" => "Limits and habits of the flow.",
        "input" => "What a caller may pass.",
        "output" => "What a caller gets back: a path or text with references for each name.",
        "data" => "Rows to run the flow with, one run each.",
        "setup" => "Steps that run first.",
        "steps" => "The test.",
        _ => "Steps that always run, last.",
    }
}

fn step_key(key: &str) -> (Json, &'static str) {
    match key {
        "id" => (json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_-]*$" }), "Unique within its phase."),
        "action" => (refer("action"), "What the step does."),
        "name" => (refer("scalar"), "For people; may hold references."),
        "description" => (refer("scalar"), "For people."),
        "config" => (json!({ "type": ["object", "null"] }), "What the action takes."),
        "assert" => (refer("assertions"), "All must hold."),
        "assert_any" => (refer("assertions"), "At least one must hold."),
        "assert_none" => (refer("assertions"), "None may hold."),
        "output" => (
            json!({ "type": ["object", "null"], "additionalProperties": { "anyOf": [refer("scalar"), {
                "type": "object", "required": ["path"], "properties": { "path": refer("scalar"), "default": {} },
                "additionalProperties": false,
            }] } }),
            "What is captured: a path into the result for each name.",
        ),
        "when" => (refer("scalar"), "An expression; the step is skipped when it does not hold."),
        "retry" => (refer("retry"), "Tries again after an error or a failed assertion."),
        "poll" => (refer("poll"), "Repeats the action until an expression holds."),
        "timeout" => (refer("duration"), "How long one attempt may take."),
        "on_error" => (refer("on_error"), "What happens after a failure."),
        "background" => (refer("boolean"), "Subscribes now; a later step with `await` collects what came."),
        "await" => (
            refer("scalar"),
            "The id of the step in the background whose result this step waits for, instead of `action`.",
        ),
        _ => (refer("boolean"), "Skips the step."),
    }
}

fn step() -> Json {
    let properties: Map<String, Json> = STEP_KEYS
        .iter()
        .map(|key| {
            let (schema, text) = step_key(key);
            ((*key).to_owned(), described(schema, text))
        })
        .collect();
    let configurations: Vec<Json> = configured()
        .map(|spec| {
            let names: Vec<&str> = std::iter::once(spec.name).chain(spec.aliases.iter().copied()).collect();
            json!({
                "if": { "required": ["action"], "properties": { "action": { "enum": names } } },
                "then": { "properties": { "config": refer(&definition_name(spec)) } },
            })
        })
        .collect();
    json!({
        "type": "object",
        "anyOf": [{ "required": ["action"] }, { "required": ["await"] }],
        "properties": properties,
        "additionalProperties": false,
        "allOf": configurations,
    })
}

/// Definitions that several keys use.
fn shared() -> Vec<(&'static str, Json)> {
    let actions: Vec<Json> = actions::registry()
        .iter()
        .flat_map(|action| {
            let spec = action.spec();
            std::iter::once(spec.name).chain(spec.aliases.iter().copied()).map(|name| match name {
                PLUGIN => json!({ "pattern": r"^plugin\.", "description": spec.summary }),
                name => json!({ "const": name, "description": spec.summary }),
            })
        })
        .collect();
    let backoff = json!({ "enum": ["fixed", "linear", "exponential"] });
    let handler = json!({ "type": "array", "items": refer("step") });
    let config_keys: Map<String, Json> = CONFIG_KEYS
        .iter()
        .map(|key| {
            let schema = match *key {
                "timeout" => refer("duration"),
                "retry" => refer("retry"),
                "lock" => refer("scalar"),
                _ => refer("boolean"),
            };
            ((*key).to_owned(), schema)
        })
        .collect();
    vec![
        ("scalar", json!({ "type": ["string", "number", "boolean", "null"] })),
        ("reference", json!({ "type": "string", "pattern": r"\$\{|\{\{" })),
        ("boolean", json!({ "anyOf": [{ "type": "boolean" }, { "enum": ["true", "false"] }, refer("reference")] })),
        (
            "duration",
            json!({ "anyOf": [{ "type": "number", "minimum": 0 }, { "type": "string" }, { "type": "null" }] }),
        ),
        ("action", json!({ "type": "string", "anyOf": actions })),
        (
            "flow_config",
            json!({ "type": ["object", "null"], "properties": config_keys, "additionalProperties": false }),
        ),
        (
            "assertions",
            json!({ "anyOf": [refer("assertion"), { "type": "array", "items": refer("assertion") }, { "type": "null" }] }),
        ),
        (
            "assertion",
            json!({ "anyOf": [{ "type": ["string", "boolean"] }, { "type": "object", "properties": {
                "expression": refer("scalar"), "message": refer("scalar"), "response": {}, "matches_schema": {},
            }, "anyOf": [{ "required": ["expression"] }, { "required": ["matches_schema"] }] }] }),
        ),
        (
            "retry",
            json!({ "anyOf": [{ "type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS }, { "type": "object", "properties": {
                "max_attempts": { "type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS }, "delay": refer("duration"),
                "backoff": backoff, "max_delay": refer("duration"), "jitter": refer("boolean"), "retry_on": refer("scalar"),
            } }] }),
        ),
        (
            "poll",
            json!({ "type": "object", "properties": {
                "until": refer("scalar"), "fail_when": refer("scalar"), "interval": refer("duration"), "backoff": backoff,
                "timeout": refer("duration"),
            } }),
        ),
        (
            "on_error",
            json!({ "anyOf": [{ "enum": ["fail", "continue", "ignore"] }, handler, { "type": "object", "properties": {
                "action": { "enum": ["fail", "continue", "ignore"] }, "steps": handler,
            }, "additionalProperties": false }] }),
        ),
    ]
}

fn object(fields: &[Field], open: bool, text: &str) -> Json {
    let mut properties = Map::new();
    for field in fields {
        let mut schema = described(kind(field.kind), field.doc);
        if let (Some(default), Some(object)) = (field.default, schema.as_object_mut()) {
            object.insert("default".to_owned(), Json::String(default.to_owned()));
        }
        for alias in field.aliases {
            properties.insert((*alias).to_owned(), schema.clone());
        }
        properties.insert(field.name.to_owned(), schema);
    }
    let required: Vec<Json> = fields
        .iter()
        .filter(|field| field.required)
        .map(|field| {
            let spellings = std::iter::once(field.name).chain(field.aliases.iter().copied());
            json!({ "anyOf": spellings.map(|name| json!({ "required": [name] })).collect::<Vec<_>>() })
        })
        .collect();
    let mut schema = json!({ "type": "object", "description": text, "properties": properties });
    if let Some(object) = schema.as_object_mut() {
        if !required.is_empty() {
            object.insert("allOf".to_owned(), Json::Array(required));
        }
        if !open {
            object.insert("additionalProperties".to_owned(), Json::Bool(false));
        }
    }
    schema
}

fn kind(kind: Kind) -> Json {
    let or_reference = |schema: Json| json!({ "anyOf": [schema, refer("reference"), { "type": "null" }] });
    match kind {
        Kind::Any => json!({}),
        Kind::Text | Kind::Pattern(_) | Kind::Expression => refer("scalar"),
        Kind::Held(inner) | Kind::OnRequest(inner) => self::kind(*inner),
        Kind::Integer { min, max } => {
            let mut schema = json!({ "type": "integer" });
            if let Some(object) = schema.as_object_mut() {
                if min != i64::MIN {
                    object.insert("minimum".to_owned(), json!(min));
                }
                if max != i64::MAX {
                    object.insert("maximum".to_owned(), json!(max));
                }
            }
            json!({ "anyOf": [schema, { "type": "string", "pattern": r"^-?[0-9]+$" }, refer("reference"), { "type": "null" }] })
        }
        Kind::Boolean => refer("boolean"),
        Kind::Duration { .. } => refer("duration"),
        Kind::Size => json!({ "type": ["integer", "string", "null"] }),
        Kind::Choice(words) => or_reference(json!({ "enum": words })),
        Kind::List(item) => {
            let item = self::kind(*item);
            or_reference(json!({ "anyOf": [{ "type": "array", "items": item.clone() }, item] }))
        }
        Kind::Map(value) | Kind::Paths(value) => {
            or_reference(json!({ "type": "object", "additionalProperties": self::kind(*value) }))
        }
        Kind::Object(fields) => or_reference(object(fields, false, "")),
        Kind::OneOf(kinds) => json!({ "anyOf": kinds.iter().map(|kind| self::kind(*kind)).collect::<Vec<_>>() }),
        Kind::Assertions => refer("assertions"),
        Kind::Steps => json!({ "type": "array", "items": refer("step") }),
        Kind::Branches => json!({ "type": "array", "items": {
            "type": "object",
            "properties": {
                "name": refer("scalar"),
                "steps": { "type": "array", "items": refer("step") },
            },
            "required": ["steps"],
        } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use boon::{Compiler, Schemas};

    #[test]
    fn the_schema_takes_good_flows_and_refuses_bad_ones() {
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.add_resource("mem:///flow.json", json_schema()).unwrap();
        let index = compiler.compile("mem:///flow.json", &mut schemas).unwrap();
        let flow = |step: Json| json!({ "name": "x", "steps": [step] });
        let delay = json!({ "action": "delay", "config": { "duration": "1s" } });
        for (flow, good) in [
            (flow(delay.clone()), true),
            (json!({ "flow": flow(delay.clone()) }), true),
            (flow(json!({ "action": "delay", "config": { "duration": "${D}" }, "assert": "true", "retry": 3 })), true),
            (flow(json!({ "action": "plugin.sums.add", "config": { "values": [1] } })), cfg!(feature = "plugins")),
            (flow(json!({ "action": "http", "config": { "url": "http://x", "headers": { "a": 1 } } })), true),
            (flow(json!({ "action": "delay", "config": { "duraton": "1s" } })), false),
            (flow(json!({ "action": "delay", "config": {} })), false),
            (flow(json!({ "action": "no_such_action" })), false),
            (flow(json!({ "config": {} })), false),
            (json!({ "name": "x" }), false),
            (json!({ "name": "x", "steps": [] }), false),
            (json!({ "flow": flow(delay), "other": 1 }), false),
        ] {
            assert_eq!(schemas.validate(&flow, index).is_ok(), good, "{flow}");
        }
    }
}
