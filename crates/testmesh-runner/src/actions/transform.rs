//! `transform`: makes a new map out of values there are.

use async_trait::async_trait;

use crate::action::{Action, ActionError, ActionResult, ActionSpec, ConfigField, Example, Field, Kind};
use crate::engine::{ActionContext, at_key, entries};
use crate::path::{PathRoots, ResultPath};
use crate::record::ErrorKind;
use crate::scope::Overlay;
use crate::template::{Lookup, Tree};
use crate::value::{Entries, Map, Value};

static SPEC: ActionSpec = ActionSpec {
    name: "transform",
    aliases: &[],
    summary: "Makes a new map out of values there are.",
    description: "In `transforms`, a text that begins with `$` is a path into the input: `$name`, `$.body.items[0].id`, \
                  `$..id`; a `?` at its end allows the value to be missing. `${…}` sees the input's keys in front of all \
                  other names. Everything else is a value as it stands. Without `transforms` the result is the input.",
    config: &[
        Field {
            name: "input",
            aliases: &["data", "source"],
            kind: Kind::Any,
            required: false,
            default: None,
            doc: "What paths look into: often a whole step, `${fetch_user}`.",
        },
        Field {
            name: "transforms",
            aliases: &["transform", "mapping", "fields"],
            kind: Kind::Map(&Kind::Any),
            required: false,
            default: None,
            doc: "The keys of the result, each with a path, a text with references, or a value.",
        },
    ],
    open_config: false,
    result: &[],
    open_result: true,
    reserved: &[],
    examples: &[Example {
        title: "A smaller map out of a larger one",
        yaml: "- id: user\n  action: transform\n  config:\n    input:\n      profile: {id: 7, first: Ada, last: Lovelace}\n    \
               transforms:\n      id: $.profile.id\n      name: \"${profile.first} ${profile.last}\"\n      active: true\n  \
               assert:\n    - id == 7\n    - name == \"Ada Lovelace\"\n",
    }],
};

/// The action.
pub(crate) struct Transform;

#[async_trait]
impl Action for Transform {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let tree = |key| match cx.config().get(key) {
            Some(ConfigField::Tree(tree)) => Some(tree),
            _ => None,
        };
        let input = match tree("input") {
            Some(tree) => tree.render(cx.scope()).map_err(|error| at_key("input", &error))?,
            None => Value::Null,
        };
        let Some(transforms) = tree("transforms") else {
            return Ok(whole(input));
        };
        let result = build(transforms, &input, &Overlay { front: &input, scope: cx.names() })?;
        Ok(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
    }
}

/// The input as the result: its keys, if it has some.
fn whole(input: Value) -> ActionResult {
    let response = input.clone().into();
    if let Some(entries) = entries(&input) {
        let result = Value::Map(std::sync::Arc::new(Map { entries, ignore_case: false }));
        return ActionResult { result, response, ..ActionResult::default() };
    }
    let result = Value::map([("value", input.clone())]);
    ActionResult { result, primary: Some(input), response, ..ActionResult::default() }
}

/// Resolves a tree in which plain texts may be paths. Only text that the flow's author wrote is ever taken for a path.
fn build(tree: &Tree, input: &Value, names: &dyn Lookup) -> Result<Value, ActionError> {
    match tree {
        Tree::Const(value) => constant(value, input),
        Tree::Template(template) => template.render(names).map_err(|error| at_key("transforms", &error)),
        Tree::List(items) => {
            let items: Result<Vec<Value>, ActionError> = items.iter().map(|item| build(item, input, names)).collect();
            items.map(Value::list)
        }
        Tree::Map(entries) => {
            let mut map = Map::default();
            for (key, tree) in entries {
                let key = key.render(names).map_err(|error| at_key("transforms", &error))?;
                map.entries.insert(key.to_text().unwrap_or_default(), build(tree, input, names)?);
            }
            Ok(Value::Map(std::sync::Arc::new(map)))
        }
    }
}

fn constant(value: &Value, input: &Value) -> Result<Value, ActionError> {
    match value {
        Value::Text(text) => match path_text(text) {
            Some(path) => lookup(text, &path, input),
            None => Ok(value.clone()),
        },
        Value::List(items) => {
            let items: Result<Vec<Value>, ActionError> = items.iter().map(|item| constant(item, input)).collect();
            items.map(Value::list)
        }
        Value::Map(map) => {
            let mut built = Map { entries: Entries::default(), ignore_case: map.ignore_case };
            for (key, value) in &map.entries {
                built.entries.insert(key.clone(), constant(value, input)?);
            }
            Ok(Value::Map(std::sync::Arc::new(built)))
        }
        _ => Ok(value.clone()),
    }
}

/// `$name` as `$.name`; `None` for a text that is no path (`$5.00`).
fn path_text(text: &str) -> Option<String> {
    let rest = text.strip_prefix('$')?;
    match rest.chars().next() {
        None | Some('.' | '[') => Some(text.to_owned()),
        Some(first) if first.is_alphabetic() || first == '_' => Some(format!("$.{rest}")),
        Some(_) => None,
    }
}

fn lookup(written: &str, path: &str, input: &Value) -> Result<Value, ActionError> {
    let unusable = |message: String| ActionError::new(ErrorKind::Expression, format!("`{written}`: {message}"));
    let path = ResultPath::parse(path).map_err(|mistakes| {
        unusable(mistakes.into_iter().map(|mistake| mistake.message).collect::<Vec<_>>().join("; "))
    })?;
    let roots = PathRoots { result: input, primary: None, reserved: &[], step_id: "" };
    match path.find(&roots).map_err(|error| unusable(error.to_string()))? {
        Some(value) => Ok(value),
        None if path.optional() => Ok(Value::Null),
        None => Err(unusable("the input has no value there".to_owned())),
    }
}
