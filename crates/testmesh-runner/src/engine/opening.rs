//! What a flow starts with: its inputs, checked, and its names, resolved.

use std::sync::{Arc, OnceLock};

use bytestring::ByteString;
use indexmap::IndexMap;

use crate::builtins::{Builtins, RunFacts};
use crate::engine::context::explain;
use crate::engine::resolved::{describe, entries, items};
use crate::engine::run::RunState;
use crate::flow::{Flow, InputSpec};
use crate::scope::{Base, Scope};
use crate::snapshot::Snapshots;
use crate::value::{Map, Value};

/// What a flow is started with.
pub(in crate::engine) struct Opening {
    pub(in crate::engine) variables: IndexMap<String, Value>,
    pub(in crate::engine) environment: Arc<IndexMap<String, Value>>,
    pub(in crate::engine) env_file: Arc<IndexMap<String, Value>>,
    /// Empty for a flow that is not stored.
    pub(in crate::engine) flow_id: String,
    pub(in crate::engine) seed: Option<u64>,
}

impl Opening {
    /// The flow's outermost scope. `Err` says what is wrong with its inputs or its `env`.
    pub(in crate::engine) fn scope(self, run: &RunState, flow: &Flow) -> Result<Arc<Scope>, String> {
        let facts = RunFacts {
            execution_id: run.execution_id.to_string(),
            flow_id: self.flow_id,
            flow_name: flow.name.clone(),
        };
        let os_env = Arc::clone(&run.engine.os_env);
        let builtins = Builtins::new(self.seed, Arc::clone(&run.engine.clock), facts, Arc::clone(&os_env));
        let mut base = Base {
            builtins,
            input: Arc::default(),
            variables: self.variables,
            env: IndexMap::with_capacity(flow.env.len()),
            env_file: self.env_file,
            environment: self.environment,
            secrets: Arc::clone(&run.secrets),
            os_env,
            snapshots: Snapshots { files: run.files.clone(), flow: flow.name.clone(), update: run.update_snapshots },
            env_root: OnceLock::new(),
        };
        inputs(&mut base, &flow.input)?;
        base.render_env(&flow.env).map_err(|(name, error)| format!("`env.{name}`: {}", explain(&error)))?;
        // Rendering may have asked for the whole of `env` before it was whole.
        base.env_root = OnceLock::new();
        Ok(Scope::new(base))
    }
}

/// Checks the declared inputs and fills in defaults.
fn inputs(base: &mut Base, declared: &[(String, InputSpec)]) -> Result<(), String> {
    let mut input = Map::default();
    for (name, spec) in declared {
        let value = match (base.variables.get(name), &spec.default) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) => {
                default.render(&*base).map_err(|error| format!("default of input `{name}`: {}", explain(&error)))?
            }
            (None, None) if spec.required => return Err(format!("input `{name}` is required")),
            (None, None) => Value::Null,
        };
        let value = match &spec.kind {
            Some(kind) if !matches!(value, Value::Null) => convert(kind, &value)
                .ok_or_else(|| format!("input `{name}` takes a value of type `{kind}`, got {}", describe(&value)))?,
            _ => value,
        };
        base.variables.insert(name.clone(), value.clone());
        input.entries.insert(ByteString::from(name.as_str()), value);
    }
    base.input = Arc::new(input);
    Ok(())
}

/// `value` as an input of type `kind`: texts are read as numbers and booleans, since a command line has nothing else.
fn convert(kind: &str, value: &Value) -> Option<Value> {
    match kind {
        "string" | "text" => match value {
            Value::Text(_) => Some(value.clone()),
            Value::List(_) | Value::Map(_) | Value::Raw(_) | Value::Bytes(_) => None,
            _ => value.to_text().map(Value::Text),
        },
        "integer" | "int" => match value {
            Value::Int(_) | Value::UInt(_) => Some(value.clone()),
            Value::Float(number) if number.fract() == 0.0 => value.to_text()?.parse().ok().map(Value::Int),
            Value::Text(text) => text.trim().parse().ok().map(Value::Int),
            _ => None,
        },
        "number" | "float" => match value {
            Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Decimal(_) => Some(value.clone()),
            Value::Text(text) => {
                let text = text.trim();
                let integer = text.parse().ok().map(Value::Int);
                integer.or_else(|| text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float))
            }
            _ => None,
        },
        "boolean" | "bool" => match value {
            Value::Bool(_) => Some(value.clone()),
            Value::Text(text) => text.trim().parse().ok().map(Value::Bool),
            _ => None,
        },
        "list" | "array" => items(value).map(Value::list),
        "map" | "object" => entries(value).map(|_| value.clone()),
        // The parser lets no other word through; `any` takes everything.
        _ => Some(value.clone()),
    }
}
