//! `log`: writes a line to the run's log.

use async_trait::async_trait;

use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::ActionContext;
use crate::record::ErrorKind;
use crate::value::Value;

/// What a line's `level` may be.
const LEVELS: &[&str] = &["debug", "info", "warn", "warning", "error"];

static SPEC: ActionSpec = ActionSpec {
    name: "log",
    aliases: &[],
    summary: "Writes a line to the run's log.",
    description: "The line is kept with the step and told to everyone who follows the run. Secrets in it are masked.",
    config: &[
        Field {
            name: "message",
            aliases: &["msg", "text"],
            kind: Kind::Any,
            required: true,
            default: None,
            doc: "The text. A list or map is written as JSON.",
        },
        Field {
            name: "level",
            aliases: &[],
            kind: Kind::Choice(LEVELS),
            required: false,
            default: Some("info"),
            doc: "How much it matters.",
        },
        Field {
            name: "data",
            aliases: &["fields"],
            kind: Kind::Any,
            required: false,
            default: None,
            doc: "More, kept beside the text as it is.",
        },
    ],
    open_config: false,
    result: &[
        ResultField { name: "message", kind: "string", doc: "The text that was written." },
        ResultField { name: "level", kind: "string", doc: "Its level." },
    ],
    open_result: false,
    reserved: &[],
    examples: &[Example {
        title: "A line with a value in it",
        yaml: "- action: log\n  config:\n    message: \"run ${EXECUTION_ID} starts\"\n    level: info\n",
    }],
};

/// The action.
pub(crate) struct Log;

#[async_trait]
impl Action for Log {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let message = config.value("message").and_then(Value::to_text).unwrap_or_else(|| "null".into());
        let level = match config.text("level")? {
            None => "info",
            Some(level) => level_word(&level)?,
        };
        cx.log(level, &message, config.value("data").cloned());
        let result = Value::map([("message", Value::Text(message)), ("level", Value::Text(level.into()))]);
        Ok(ActionResult { result, ..ActionResult::default() })
    }
}

/// The level as records write it.
fn level_word(level: &str) -> Result<&'static str, ActionError> {
    match LEVELS.iter().find(|known| level.eq_ignore_ascii_case(known)) {
        Some(&"warning") => Ok("warn"),
        Some(word) => Ok(word),
        None => {
            let message = format!("`level` takes one of {}, got \"{level}\"", LEVELS.join(", "));
            Err(ActionError::new(ErrorKind::Config, message))
        }
    }
}
