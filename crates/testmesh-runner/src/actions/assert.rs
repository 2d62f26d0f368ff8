//! `assert`: checks conditions on values of earlier steps.

use async_trait::async_trait;

use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::{ActionContext, check_assertions};
use crate::record::ErrorKind;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "assert",
    aliases: &[],
    summary: "Checks conditions on values of earlier steps.",
    description: "Every condition is checked, whatever failed first, and recorded like the assertions of any step.",
    config: &[
        Field {
            name: "assertions",
            aliases: &["condition", "conditions", "expression", "assert"],
            kind: Kind::Assertions,
            required: true,
            default: None,
            doc: "Expressions, or `{expression, message}` with a text for the failure.",
        },
        Field {
            name: "data",
            aliases: &["input"],
            kind: Kind::Any,
            required: false,
            default: None,
            doc: "A map whose keys the conditions may use as names, in front of all others.",
        },
    ],
    open_config: false,
    result: &[
        ResultField { name: "passed", kind: "integer", doc: "How many conditions hold." },
        ResultField { name: "failed", kind: "integer", doc: "How many do not." },
    ],
    open_result: false,
    reserved: &[],
    examples: &[Example {
        title: "Values of an earlier step under short names",
        yaml: "- id: order\n  action: transform\n  config:\n    input:\n      total: 12.5\n      items: [1, 2]\n\
               - action: assert\n  config:\n    data:\n      total: ${order.total}\n    assertions:\n      - total > 10\n      \
               - expression: len(order.items) == 2\n        message: an order has two items\n",
    }],
};

/// The action.
pub(crate) struct Assert;

#[async_trait]
impl Action for Assert {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let data = config.value("data").cloned().unwrap_or_default();
        let records = check_assertions(cx, cx.config().assertions("assertions"), &data);
        let n_failed = records.iter().filter(|record| !record.passed).count();
        let counts = [("passed", records.len() - n_failed), ("failed", n_failed)];
        let result =
            Value::map(counts.map(|(name, count)| (name, Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))));
        let result = ActionResult { result, ..ActionResult::default() };
        let first = records.iter().find(|record| !record.passed).map(|record| {
            let message = record.message.clone().unwrap_or_else(|| record.expression.to_string());
            if n_failed == 1 {
                message
            } else {
                format!("{n_failed} of {} assertions failed, first: {message}", records.len())
            }
        });
        cx.note_assertions(records);
        match first {
            None => Ok(result),
            Some(message) => Err(ActionError { kind: ErrorKind::Assertion, message, partial: Some(Box::new(result)) }),
        }
    }
}
