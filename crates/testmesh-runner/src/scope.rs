//! The names a step sees, nearest first: loop variables, captured outputs, run variables, flow `env`, `env_file`, the
//! environment, the operating system's environment; after them the steps by their ids.
//!
//! A [`Scope`] is a layer over its parent, so a loop's turn or a branch costs one small allocation and nothing is
//! copied. Only the one task that runs a layer's steps adds to it; layers above it rest meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytestring::ByteString;
use indexmap::IndexMap;
use parking_lot::RwLock;

use crate::action::ResultField;
use crate::builtins::Builtins;
use crate::expr::EvalError;
use crate::record::StepError;
use crate::snapshot::Snapshots;
use crate::template::{Lookup, Template};
use crate::value::{Entries, Map, Value};

/// Bytes of a JSON Schema file.
const SCHEMA_LIMIT: u64 = 4 << 20;
/// Names of the explicit roots.
const ROOTS: &[&str] = &["env", "vars", "secrets", "input", "steps"];

/// What the whole flow sees, from its first step to its last.
#[derive(Debug)]
pub(crate) struct Base {
    /// Built-in names and functions.
    pub(crate) builtins: Builtins,
    /// Declared inputs.
    pub(crate) input: Arc<Map>,
    /// `--var`, the API's variables, a data row.
    pub(crate) variables: IndexMap<String, Value>,
    /// The flow's own `env`, rendered.
    pub(crate) env: IndexMap<String, Value>,
    /// The flow's `env_file`.
    pub(crate) env_file: Arc<IndexMap<String, Value>>,
    /// The selected environment.
    pub(crate) environment: Arc<IndexMap<String, Value>>,
    /// Secrets by name.
    pub(crate) secrets: Arc<HashMap<String, String>>,
    /// The operating system's environment.
    pub(crate) os_env: Arc<IndexMap<String, String>>,
    /// Stored snapshots, and the files that schemas are read from.
    pub(crate) snapshots: Snapshots,
    /// `env`, all its layers, made when first asked for.
    pub(crate) env_root: OnceLock<Value>,
}

impl Base {
    /// Renders the flow's `env` in the order written. A value sees the entries above it and the lower scopes, so
    /// `X: "${X}"` means the lower `X`.
    pub(crate) fn render_env(&mut self, env: &[(String, Template)]) -> Result<(), (String, EvalError)> {
        for (name, template) in env {
            let value = match template.as_literal() {
                Some(text) => Value::Text(ByteString::from(text)),
                None => template.render(&*self).map_err(|error| (name.clone(), error))?,
            };
            self.env.insert(name.clone(), value);
        }
        Ok(())
    }

    fn root(&self, name: &str) -> Option<Value> {
        match name {
            "env" => Some(self.env_root.get_or_init(|| self.env_map()).clone()),
            "vars" => Some(Value::map(self.variables.iter().map(|(name, value)| (name.as_str(), value.clone())))),
            "secrets" => {
                let entries =
                    self.secrets.iter().map(|(name, secret)| (name.as_str(), Value::Text(secret.as_str().into())));
                Some(Value::map(entries))
            }
            "input" => Some(Value::Map(Arc::clone(&self.input))),
            _ => None,
        }
    }

    /// Every layer of `env`, the nearest value of each name.
    fn env_map(&self) -> Value {
        let mut map = Map::default();
        for (name, value) in self.os_env.iter() {
            map.entries.insert(name.as_str().into(), Value::Text(value.as_str().into()));
        }
        for layer in [&*self.environment, &*self.env_file, &self.env] {
            for (name, value) in layer {
                map.entries.insert(name.as_str().into(), value.clone());
            }
        }
        Value::Map(Arc::new(map))
    }

    /// The JSON Schema in `file`.
    fn schema_file(&self, file: &str) -> Result<serde_json::Value, EvalError> {
        let failed = |message: String| EvalError { message, help: None };
        let bytes =
            self.snapshots.files.read_blocking(file, SCHEMA_LIMIT).map_err(|error| failed(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| failed(format!("the schema `{file}` is not JSON: {error}")))
    }

    fn variable(&self, name: &str) -> Option<Value> {
        self.variables
            .get(name)
            .or_else(|| self.env.get(name))
            .or_else(|| self.env_file.get(name))
            .or_else(|| self.environment.get(name))
            .cloned()
            .or_else(|| self.secrets.get(name).map(|secret| Value::Text(secret.as_str().into())))
    }

    fn os_variable(&self, name: &str) -> Option<Value> {
        self.os_env.get(name).map(|text| Value::Text(text.as_str().into()))
    }

    fn add_names(&self, names: &mut Vec<String>) {
        for layer in [&self.variables, &self.env, &*self.env_file, &*self.environment] {
            names.extend(layer.keys().cloned());
        }
        names.extend(self.secrets.keys().cloned());
        names.extend(self.os_env.keys().cloned());
        names.extend(ROOTS.iter().map(|root| (*root).to_owned()));
    }
}

impl Lookup for Base {
    fn get(&self, name: &str) -> Option<Value> {
        self.root(name).or_else(|| self.variable(name)).or_else(|| self.os_variable(name))
    }
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.add_names(&mut names);
        names
    }
    fn builtins(&self) -> &Builtins {
        &self.builtins
    }
}

/// What steps of a layer left behind.
#[derive(Debug, Default)]
struct Captured {
    steps: Entries,
    outputs: Entries,
}

/// The names at one place of a run.
#[derive(Debug)]
pub(crate) struct Scope {
    base: Arc<Base>,
    parent: Option<Arc<Scope>>,
    locals: Vec<(ByteString, Value)>,
    captured: RwLock<Captured>,
}

impl Scope {
    /// The outermost layer.
    pub(crate) fn new(base: Base) -> Arc<Self> {
        Arc::new(Self { base: Arc::new(base), parent: None, locals: Vec::new(), captured: RwLock::default() })
    }

    /// A layer over this one, with loop variables of its own.
    pub(crate) fn child(self: &Arc<Self>, locals: Vec<(ByteString, Value)>) -> Arc<Self> {
        Arc::new(Self {
            base: Arc::clone(&self.base),
            parent: Some(Arc::clone(self)),
            locals,
            captured: RwLock::default(),
        })
    }

    /// What the flow sees as a whole.
    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    /// Makes a step's result known by its id, and its outputs by their names.
    pub(crate) fn publish(&self, id: &str, step: Value, outputs: &Entries) {
        let mut captured = self.captured.write();
        captured.steps.insert(id.into(), step);
        captured.outputs.extend(outputs.iter().map(|(name, value)| (name.clone(), value.clone())));
    }

    /// Takes over what the steps of a layer below left behind; what was here under the same names gives way.
    pub(crate) fn adopt(&self, child: &Scope) {
        let below = std::mem::take(&mut *child.captured.write());
        let mut captured = self.captured.write();
        captured.steps.extend(below.steps);
        captured.outputs.extend(below.outputs);
    }

    /// Everything captured in this layer: the steps by id, and the outputs by name where no step has that id.
    pub(crate) fn everything(&self) -> Value {
        let captured = self.captured.read();
        let mut map = Map { entries: captured.steps.clone(), ignore_case: false };
        for (name, value) in &captured.outputs {
            map.entries.insert_new(name, || value.clone());
        }
        Value::Map(Arc::new(map))
    }

    /// What was captured by name in this layer.
    pub(crate) fn outputs(&self) -> Value {
        Value::Map(Arc::new(Map { entries: self.captured.read().outputs.clone(), ignore_case: false }))
    }

    /// This layer and those around it, the nearest first.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Scope> {
        std::iter::successors(Some(self), |scope| scope.parent.as_deref())
    }

    fn local(&self, name: &str) -> Option<Value> {
        self.layers()
            .find_map(|scope| scope.locals.iter().find(|(local, _)| local == name).map(|(_, value)| value.clone()))
    }

    fn output(&self, name: &str) -> Option<Value> {
        self.layers().find_map(|scope| scope.captured.read().outputs.get(name).cloned())
    }

    fn step(&self, id: &str) -> Option<Value> {
        self.layers().find_map(|scope| scope.captured.read().steps.get(id).cloned())
    }

    /// Every step's result by its id, the nearest of each.
    fn steps(&self) -> Value {
        let mut map = Map::default();
        for scope in self.layers() {
            for (id, value) in &scope.captured.read().steps {
                map.entries.insert_new(id, || value.clone());
            }
        }
        Value::Map(Arc::new(map))
    }
}

impl Lookup for Scope {
    fn get(&self, name: &str) -> Option<Value> {
        if let Some(value) = self.local(name).or_else(|| self.output(name)) {
            return Some(value);
        }
        if ROOTS.contains(&name) {
            return if name == "steps" { Some(self.steps()) } else { self.base.root(name) };
        }
        self.base.variable(name).or_else(|| self.step(name)).or_else(|| self.base.os_variable(name))
    }
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for scope in self.layers() {
            names.extend(scope.locals.iter().map(|(name, _)| name.to_string()));
            let captured = scope.captured.read();
            names.extend(captured.outputs.keys().chain(captured.steps.keys()).map(ToString::to_string));
        }
        self.base.add_names(&mut names);
        names
    }
    fn builtins(&self) -> &Builtins {
        &self.base.builtins
    }
    fn schema(&self, file: &str) -> Result<serde_json::Value, EvalError> {
        self.base.schema_file(file)
    }
    fn match_snapshot(&self, name: &str, value: &Value) -> Result<Option<String>, EvalError> {
        self.base.snapshots.differs(name, value, &self.base.secrets)
    }
}

/// The names at a step's own result: its keys first, then `result`, `response`, the step's id, and the scope.
#[derive(Debug)]
pub(crate) struct ResultScope<'a> {
    /// The scope around the step.
    pub(crate) scope: &'a Scope,
    /// The step's id.
    pub(crate) id: &'a str,
    /// The whole result.
    pub(crate) result: &'a Value,
    /// What `$` means; `None`: the result.
    pub(crate) primary: Option<&'a Value>,
    /// Why the attempt did not pass.
    pub(crate) error: Option<&'a StepError>,
    /// Keys that the action's results have: null where this result, of a failed attempt, lacks them.
    pub(crate) expected: &'a [ResultField],
}

impl ResultScope<'_> {
    /// What `$` means.
    pub(crate) fn subject(&self) -> &Value {
        self.primary.unwrap_or(self.result)
    }
}

impl Lookup for ResultScope<'_> {
    fn get(&self, name: &str) -> Option<Value> {
        if let Some(value) = self.result.get(name) {
            return Some(value);
        }
        match name {
            "result" | "response" => return Some(self.result.clone()),
            "$" => return Some(self.subject().clone()),
            "error" if self.error.is_some() => return self.error.map(error_value),
            _ if name == self.id => return Some(self.result.clone()),
            _ => {}
        }
        let missing = || self.expected.iter().any(|field| field.name == name).then_some(Value::Null);
        self.scope.get(name).or_else(missing)
    }
    fn names(&self) -> Vec<String> {
        let mut names = self.scope.names();
        if let Value::Map(map) = self.result {
            names.extend(map.entries.keys().map(ToString::to_string));
        }
        names.extend(["result", "response"].map(str::to_owned));
        names
    }
    fn builtins(&self) -> &Builtins {
        self.scope.builtins()
    }
    fn schema(&self, file: &str) -> Result<serde_json::Value, EvalError> {
        self.scope.schema(file)
    }
    fn match_snapshot(&self, name: &str, value: &Value) -> Result<Option<String>, EvalError> {
        self.scope.match_snapshot(name, value)
    }
}

/// Names in front of others: the `data` of an `assert` step, the input of a `transform`.
#[derive(Debug)]
pub(crate) struct Overlay<'a> {
    /// The names in front.
    pub(crate) front: &'a Value,
    /// The scope behind.
    pub(crate) scope: &'a Scope,
}

impl Lookup for Overlay<'_> {
    fn get(&self, name: &str) -> Option<Value> {
        if let Some(value) = self.front.get(name) {
            return Some(value);
        }
        match name {
            "$" => Some(self.front.clone()),
            "data" => self.scope.get(name).or_else(|| Some(self.front.clone())),
            _ => self.scope.get(name),
        }
    }
    fn names(&self) -> Vec<String> {
        let mut names = self.scope.names();
        if let Value::Map(map) = self.front {
            names.extend(map.entries.keys().map(ToString::to_string));
        }
        names
    }
    fn builtins(&self) -> &Builtins {
        self.scope.builtins()
    }
    fn schema(&self, file: &str) -> Result<serde_json::Value, EvalError> {
        self.scope.schema(file)
    }
    fn match_snapshot(&self, name: &str, value: &Value) -> Result<Option<String>, EvalError> {
        self.scope.match_snapshot(name, value)
    }
}

/// An error as expressions see it.
pub(crate) fn error_value(error: &StepError) -> Value {
    Value::map([
        ("kind", Value::Text(error.kind.as_str().into())),
        ("message", Value::Text(error.message.as_str().into())),
    ])
}
