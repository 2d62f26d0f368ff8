//! `wait_until`: repeats steps until a condition holds.

use std::time::Duration;

use async_trait::async_trait;
use bytestring::ByteString;
use tokio::time::Instant;

use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::{ActionContext, BlockEnd, at_key};
use crate::expr::Expr;
use crate::record::ErrorKind;
use crate::units::show_duration;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "wait_until",
    aliases: &[],
    summary: "Repeats steps until a condition holds.",
    description: "The steps run first, then the condition is looked at. A nested step that fails does not end the \
                  waiting: the next turn may do better. `attempt` counts the turns from 1. To repeat a single step, \
                  `poll` on the step itself is shorter.",
    config: &[
        Field {
            name: "condition",
            aliases: &["until", "expression"],
            kind: Kind::Expression,
            required: true,
            default: None,
            doc: "What must hold.",
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
            name: "interval",
            aliases: &["delay"],
            kind: Kind::Duration { zero: false },
            required: false,
            default: Some("1s"),
            doc: "The time between two turns.",
        },
        Field {
            name: "timeout",
            aliases: &["max_wait"],
            kind: Kind::Duration { zero: false },
            required: false,
            default: Some("30s"),
            doc: "The time for all turns together.",
        },
        Field {
            name: "max_attempts",
            aliases: &[],
            kind: Kind::Integer { min: 1, max: 100_000 },
            required: false,
            default: None,
            doc: "The most turns; without it only the time counts.",
        },
    ],
    open_config: false,
    result: &[
        ResultField { name: "attempts", kind: "integer", doc: "How many turns it took." },
        ResultField { name: "duration_ms", kind: "integer", doc: "How long it took, in milliseconds." },
    ],
    open_result: false,
    reserved: &[],
    examples: &[Example {
        title: "Until a counter is high enough",
        yaml: "- action: wait_until\n  config:\n    condition: count.value >= 1\n    interval: 10ms\n    timeout: 5s\n    \
               steps:\n      - id: count\n        action: transform\n        config: {input: {value: \"${attempt}\"}}\n",
    }],
};

/// The action.
pub(crate) struct WaitUntil;

/// How long and how often.
struct Limits {
    interval: Duration,
    timeout: Duration,
    max_attempts: u32,
}

#[async_trait]
impl Action for WaitUntil {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    fn runs_steps(&self) -> bool {
        true
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let missing = || ActionError::new(ErrorKind::Config, "`condition` is missing");
        let condition = cx.config().expression("condition").ok_or_else(missing)?;
        let config = cx.resolve()?;
        let limits = Limits {
            interval: config.duration("interval")?.unwrap_or(Duration::from_secs(1)),
            timeout: config.duration("timeout")?.unwrap_or(Duration::from_secs(30)),
            max_attempts: config
                .integer("max_attempts")?
                .map_or(u32::MAX, |most| u32::try_from(most.max(1)).unwrap_or(u32::MAX)),
        };
        let since = Instant::now();
        let mut attempt = 1;
        loop {
            let end = turn(cx, attempt, limits.timeout.saturating_sub(since.elapsed())).await?;
            let left = limits.timeout.saturating_sub(since.elapsed());
            match last_word(cx, condition, &end)? {
                None => return Ok(done(attempt, since.elapsed())),
                Some(reason) if attempt >= limits.max_attempts || left <= limits.interval => {
                    return Err(gave_up(condition, attempt, since.elapsed(), &reason));
                }
                Some(_) => cx.sleep(limits.interval).await?,
            }
            attempt += 1;
        }
    }
}

/// Runs the steps once, for at most `left`.
async fn turn(cx: &ActionContext<'_>, attempt: u32, left: Duration) -> Result<BlockEnd, ActionError> {
    let steps = cx.config().steps("steps");
    if steps.is_empty() {
        return Ok(BlockEnd::default());
    }
    let number = |count: u32| Value::Int(count.into());
    let layer = cx.layer(vec![
        (ByteString::from_static("attempt"), number(attempt)),
        (ByteString::from_static("iteration"), number(attempt - 1)),
    ]);
    let end = cx.run_steps_within(steps, &layer, Some(attempt - 1), left).await;
    cx.names().adopt(&layer);
    if cx.stop().given() { Err(crate::engine::Stopped.into()) } else { Ok(end) }
}

/// Why the condition does not hold yet; `None` when it does.
fn last_word(cx: &ActionContext<'_>, condition: &Expr, end: &BlockEnd) -> Result<Option<String>, ActionError> {
    let failed = end.failure.as_ref().map(|failure| format!("step `{}`: {}", failure.id, failure.error.message));
    match condition.check(cx.scope()) {
        Ok(checked) if checked.holds => Ok(None),
        Ok(checked) => Ok(Some(failed.unwrap_or(checked.message))),
        // A name may be missing because the step that makes it failed, or was out of time.
        Err(_) if failed.is_some() => Ok(failed),
        Err(error) if end.stopped => Ok(Some(error.message)),
        Err(error) => Err(at_key("condition", &error)),
    }
}

fn done(attempts: u32, took: Duration) -> ActionResult {
    let millis = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
    let result = Value::map([("attempts", Value::Int(attempts.into())), ("duration_ms", Value::Int(millis))]);
    ActionResult { response: result.clone().into(), result, ..ActionResult::default() }
}

fn gave_up(condition: &Expr, attempts: u32, took: Duration, reason: &str) -> ActionError {
    let took = show_duration(Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
    let message = format!("`{}` did not hold within {took} ({attempts} attempts), last: {reason}", condition.source());
    ActionError::new(ErrorKind::Timeout, message)
}
