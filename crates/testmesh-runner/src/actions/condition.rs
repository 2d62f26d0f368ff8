//! `condition`: runs these steps or those.

use async_trait::async_trait;

use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::{ActionContext, at_key};
use crate::record::ErrorKind;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "condition",
    aliases: &["if"],
    summary: "Runs these steps or those.",
    description: "For a single step, `when` on the step itself is shorter. The step fails when a nested step does.",
    config: &[
        Field {
            name: "condition",
            aliases: &["if", "expression"],
            kind: Kind::Expression,
            required: true,
            default: None,
            doc: "Which of the two.",
        },
        Field {
            name: "then",
            aliases: &["steps"],
            kind: Kind::Steps,
            required: false,
            default: None,
            doc: "The steps to run when it holds.",
        },
        Field {
            name: "else",
            aliases: &["otherwise"],
            kind: Kind::Steps,
            required: false,
            default: None,
            doc: "The steps to run when it does not.",
        },
    ],
    open_config: false,
    result: &[
        ResultField { name: "condition", kind: "boolean", doc: "Whether it held." },
        ResultField { name: "branch", kind: "string", doc: "`then` or `else`." },
        ResultField { name: "passed", kind: "integer", doc: "How many nested steps passed." },
        ResultField { name: "failed", kind: "integer", doc: "How many did not." },
    ],
    open_result: false,
    reserved: &[],
    examples: &[Example {
        title: "One way or the other",
        yaml: "- action: condition\n  config:\n    condition: DAY_OF_WEEK == \"Sunday\"\n    then:\n      - action: log\n        \
               config: {message: weekly}\n    else:\n      - action: log\n        config: {message: daily}\n",
    }],
};

/// The action.
pub(crate) struct Condition;

#[async_trait]
impl Action for Condition {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    fn runs_steps(&self) -> bool {
        true
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let missing = || ActionError::new(ErrorKind::Config, "`condition` is missing");
        let condition = cx.config().expression("condition").ok_or_else(missing)?;
        let holds = condition.check(cx.scope()).map_err(|error| at_key("condition", &error))?.holds;
        let branch = if holds { "then" } else { "else" };
        let end = cx.run_steps(cx.config().steps(branch), cx.names(), None).await;
        let result = Value::map([
            ("condition", Value::Bool(holds)),
            ("branch", Value::Text(branch.into())),
            ("passed", Value::Int(end.passed.into())),
            ("failed", Value::Int(end.failed.into())),
        ]);
        end.into_result(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
    }
}
