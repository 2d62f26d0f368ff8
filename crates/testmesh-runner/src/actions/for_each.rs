//! `for_each`: runs steps once for each item.

use std::sync::Arc;

use async_trait::async_trait;
use bytestring::ByteString;

use crate::action::{Action, ActionError, ActionResult, ActionSpec, ConfigField, Example, Field, Kind, ResultField};
use crate::actions::parallel::{Branch, run_together};
use crate::engine::{self, ActionContext, BlockEnd, Resolved, Stopped, at_key, mismatch};
use crate::expr::Expr;
use crate::scope::Scope;
use crate::template::Tree;
use crate::value::Value;

/// The most turns of one loop.
const MOST_TURNS: usize = 100_000;

static SPEC: ActionSpec = ActionSpec {
    name: "for_each",
    aliases: &["foreach", "loop"],
    summary: "Runs steps once for each item.",
    description: "Each turn has names of its own; what its steps captured is known after the loop as well, from the last \
                  turn. The first turn that fails ends the loop, unless `continue_on_error` is on; the step fails either \
                  way.",
    config: &[
        Field {
            name: "items",
            aliases: &["in", "over"],
            kind: Kind::Any,
            required: true,
            default: None,
            doc: "A list; a map, whose items are `{key, value}`; a number n, for 0 to n - 1; or an expression that gives \
                  one of these.",
        },
        Field {
            name: "item_name",
            aliases: &["as", "item_var", "var"],
            kind: Kind::Text,
            required: false,
            default: Some("item"),
            doc: "The name of the turn's item.",
        },
        Field {
            name: "index_name",
            aliases: &["index_var"],
            kind: Kind::Text,
            required: false,
            default: Some("index"),
            doc: "The name of the turn's number, from 0.",
        },
        Field {
            name: "steps",
            aliases: &["do"],
            kind: Kind::Steps,
            required: false,
            default: None,
            doc: "The steps of one turn.",
        },
        Field {
            name: "max_concurrent",
            aliases: &["parallel", "concurrency"],
            kind: Kind::OneOf(&[Kind::Integer { min: 1, max: 1_000 }, Kind::Boolean]),
            required: false,
            default: Some("1"),
            doc: "How many turns may run at the same time; `true` means ten.",
        },
        Field {
            name: "break_on",
            aliases: &["break_when", "until"],
            kind: Kind::Expression,
            required: false,
            default: None,
            doc: "Ends the loop when it holds after a turn (turns in order only).",
        },
        Field {
            name: "continue_on_error",
            aliases: &[],
            kind: Kind::Boolean,
            required: false,
            default: Some("false"),
            doc: "Whether the loop goes on after a turn that failed.",
        },
    ],
    open_config: false,
    result: &[
        ResultField { name: "count", kind: "integer", doc: "How many turns were made." },
        ResultField { name: "passed", kind: "integer", doc: "How many of them passed." },
        ResultField { name: "failed", kind: "integer", doc: "How many failed." },
        ResultField { name: "results", kind: "list", doc: "For each turn `{index, item, passed, outputs}`." },
    ],
    open_result: false,
    reserved: &[],
    examples: &[
        Example {
            title: "Each of a list",
            yaml: "- id: users\n  action: for_each\n  config:\n    items: [ada, grace]\n    item_name: user\n    steps:\n      \
                   - action: log\n        config: {message: \"${index}: ${user}\"}\n  assert:\n    - count == 2\n",
        },
        Example {
            title: "Ten turns, four at a time",
            yaml: "- action: for_each\n  config:\n    items: 10\n    max_concurrent: 4\n    steps:\n      \
                   - action: log\n        config: {message: \"turn ${index}\"}\n",
        },
    ],
};

/// The action.
pub(crate) struct ForEach;

#[async_trait]
impl Action for ForEach {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    fn runs_steps(&self) -> bool {
        true
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let plan = Plan::read(cx, &config)?;
        let turns = if plan.at_once > 1 { together(cx, &plan).await } else { in_order(cx, &plan).await? };
        let results = turns.iter().map(|turn| turn.result(&plan)).collect();
        let n_failed = turns.iter().filter(|turn| !turn.end.held()).count();
        let number = |count: usize| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        let result = Value::map([
            ("count", number(turns.len())),
            ("passed", number(turns.len() - n_failed)),
            ("failed", number(n_failed)),
            ("results", Value::list(results)),
        ]);
        let total = BlockEnd::sum(turns.into_iter().map(|turn| turn.end));
        total.into_result(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
    }
}

/// What the loop is to do.
struct Plan {
    items: Vec<Value>,
    item_name: ByteString,
    index_name: ByteString,
    at_once: usize,
    go_on: bool,
}

impl Plan {
    fn read(cx: &ActionContext<'_>, config: &Resolved) -> Result<Self, ActionError> {
        let at_once = match config.value("max_concurrent") {
            Some(Value::Bool(true)) => 10,
            Some(Value::Bool(false)) => 1,
            _ => config.integer("max_concurrent")?.map_or(1, |most| usize::try_from(most.max(1)).unwrap_or(1)),
        };
        Ok(Self {
            items: items(cx, config)?,
            item_name: config.text("item_name")?.unwrap_or(ByteString::from_static("item")),
            index_name: config.text("index_name")?.unwrap_or(ByteString::from_static("index")),
            at_once,
            go_on: config.boolean("continue_on_error")?.unwrap_or(false),
        })
    }

    fn layer(&self, cx: &ActionContext<'_>, index: usize) -> Arc<Scope> {
        let number = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
        cx.layer(vec![(self.item_name.clone(), self.items[index].clone()), (self.index_name.clone(), number)])
    }
}

/// A turn that was made.
struct Turn {
    index: usize,
    end: BlockEnd,
    outputs: Value,
}

impl Turn {
    fn result(&self, plan: &Plan) -> Value {
        Value::map([
            ("index", Value::Int(i64::try_from(self.index).unwrap_or(i64::MAX))),
            ("item", plan.items[self.index].clone()),
            ("passed", Value::Bool(self.end.held())),
            ("outputs", self.outputs.clone()),
        ])
    }
}

/// The items to go through.
fn items(cx: &ActionContext<'_>, config: &Resolved) -> Result<Vec<Value>, ActionError> {
    const TAKES: &str = "a list, a map or a number of turns";
    let written = config.value("items").cloned().unwrap_or_default();
    let value = match (cx.config().get("items"), &written) {
        // Only a text that the author wrote is an expression, never one that a reference gave.
        (Some(ConfigField::Tree(Tree::Const(_))), Value::Text(text)) if text.trim().parse::<u64>().is_err() => {
            let expression = Expr::parse(text).map_err(|_| mismatch("items", TAKES, &written))?;
            expression.eval(cx.scope()).map_err(|error| at_key("items", &error))?
        }
        _ => written,
    };
    if let Some(items) = engine::items(&value) {
        return bounded(items.len()).map(|()| items);
    }
    if let Some(entries) = engine::entries(&value) {
        let pair = |(key, value)| Value::map([("key", Value::Text(key)), ("value", value)]);
        return bounded(entries.len()).map(|()| entries.into_iter().map(pair).collect());
    }
    let count = match &value {
        Value::Int(count) => u32::try_from(*count).ok(),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    let count = count.ok_or_else(|| mismatch("items", TAKES, &value))?;
    bounded(usize::try_from(count).unwrap_or(usize::MAX))?;
    Ok((0..i64::from(count)).map(Value::Int).collect())
}

fn bounded(count: usize) -> Result<(), ActionError> {
    if count <= MOST_TURNS {
        return Ok(());
    }
    let message = format!("`items` has {count} items, and a loop makes at most {MOST_TURNS} turns");
    Err(ActionError::new(crate::record::ErrorKind::Config, message))
}

/// One turn after the other.
async fn in_order(cx: &ActionContext<'_>, plan: &Plan) -> Result<Vec<Turn>, ActionError> {
    let steps = cx.config().steps("steps");
    let break_on = cx.config().expression("break_on");
    let mut turns = Vec::with_capacity(plan.items.len());
    for index in 0..plan.items.len() {
        if cx.stop().given() {
            return Err(Stopped.into());
        }
        let layer = plan.layer(cx, index);
        let end = cx.run_steps(steps, &layer, u32::try_from(index).ok()).await;
        let leave = match break_on {
            Some(expression) if end.held() => {
                expression.check(&*layer).map_err(|error| at_key("break_on", &error))?.holds
            }
            _ => false,
        };
        let failed = !end.held();
        let outputs = layer.outputs();
        cx.names().adopt(&layer);
        turns.push(Turn { index, end, outputs });
        if leave || (failed && !plan.go_on) {
            break;
        }
    }
    Ok(turns)
}

/// Several turns at the same time; what they captured is taken over in their order.
async fn together(cx: &ActionContext<'_>, plan: &Plan) -> Vec<Turn> {
    let steps = cx.config().steps("steps");
    let branches: Vec<Branch<'_>> = (0..plan.items.len())
        .map(|index| Branch { steps, scope: plan.layer(cx, index), iteration: u32::try_from(index).ok() })
        .collect();
    let ends = run_together(cx, &branches, plan.at_once, !plan.go_on).await;
    let mut turns = Vec::with_capacity(ends.len());
    for (index, (branch, end)) in branches.iter().zip(ends).enumerate() {
        // A turn that was never begun is no turn.
        if let Some(end) = end {
            let outputs = branch.scope.outputs();
            cx.names().adopt(&branch.scope);
            turns.push(Turn { index, end, outputs });
        }
    }
    turns
}
