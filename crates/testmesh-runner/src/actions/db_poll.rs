//! `db_poll`: repeats a query until its rows are as they should be.

use std::time::Duration;

use async_trait::async_trait;
use bytestring::ByteString;
use tokio::time::Instant;

use super::sql::{self, Answer, Database, SqlError, Statement};
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::{ActionContext, at_key};
use crate::record::ErrorKind;
use crate::units::show_duration;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "db_poll",
    aliases: &["database_poll"],
    summary: "Repeats a query until its rows are as they should be.",
    description: "Without a `condition` it waits for the first row, or for `min_rows` of them. A table that is not there yet, and a database that does \
                  not answer yet, are waited for, too; a statement that is wrong ends the step at once.",
    config: &[
        sql::CONNECTION,
        sql::QUERY,
        sql::PARAMS,
        Field {
            name: "condition",
            aliases: &["until"],
            kind: Kind::Expression,
            required: false,
            default: Some("row_count > 0"),
            doc: "What must hold, over `rows`, `row_count` and `first_row`.",
        },
        Field {
            name: "min_rows",
            aliases: &["expected_rows"],
            kind: Kind::Integer { min: 0, max: 1_000_000 },
            required: false,
            default: Some("1, or 0 with a condition"),
            doc: "How many rows there must be at least.",
        },
        Field {
            name: "interval",
            aliases: &["delay", "poll_interval"],
            kind: Kind::Duration { zero: false },
            required: false,
            default: Some("1s"),
            doc: "The time between two queries.",
        },
        Field {
            name: "timeout",
            aliases: &["max_wait"],
            kind: Kind::Duration { zero: false },
            required: false,
            default: Some("30s"),
            doc: "The time for all queries together.",
        },
        Field {
            name: "max_attempts",
            aliases: &[],
            kind: Kind::Integer { min: 1, max: 100_000 },
            required: false,
            default: None,
            doc: "The most queries; without it only the time counts.",
        },
        sql::MAX_ROWS,
    ],
    open_config: false,
    result: &[
        sql::ROWS,
        sql::ROW_COUNT,
        sql::FIRST_ROW,
        ResultField { name: "columns", kind: "list", doc: "`name` and `type` of each column, in order." },
        ResultField { name: "attempts", kind: "integer", doc: "How many queries it took." },
        ResultField { name: "success", kind: "boolean", doc: "Whether the condition held in the end." },
        ResultField { name: "duration_ms", kind: "integer", doc: "How long it took, in milliseconds." },
    ],
    open_result: true,
    reserved: &[],
    examples: &[Example {
        title: "Until an order is paid",
        yaml: "- action: db_poll\n  config:\n    connection: \"sqlite::memory:\"\n    query: select 'paid' as state\n    condition: \
               first_row.state == \"paid\"\n    interval: 100ms\n    timeout: 5s\n",
    }],
};

/// The action.
pub(crate) struct DbPoll;

/// How long and how often.
struct Limits {
    /// Rows at least.
    rows: usize,
    interval: Duration,
    timeout: Duration,
    max_attempts: u32,
}

/// What one query came to.
struct Turn {
    entries: Vec<(ByteString, Value)>,
    /// Why it is not the last; none: the condition holds.
    not_yet: Option<String>,
}

#[async_trait]
impl Action for DbPoll {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    fn waits(&self) -> bool {
        true
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let database = Database::of(cx, &config)?;
        let query = config.required_text("query")?;
        let params = config.list("params")?;
        let statement =
            Statement { query: &query, params: &params, max_rows: sql::max_rows(&config)?, transaction: false };
        let usual_rows = usize::from(cx.config().expression("condition").is_none());
        let limits = Limits {
            rows: config.integer("min_rows")?.map_or(usual_rows, |least| usize::try_from(least).unwrap_or(usize::MAX)),
            interval: config.duration("interval")?.unwrap_or(Duration::from_secs(1)),
            timeout: config.duration("timeout")?.unwrap_or(Duration::from_secs(30)),
            max_attempts: config.integer("max_attempts")?.map_or(u32::MAX, |most| u32::try_from(most).unwrap_or(1)),
        };
        let since = Instant::now();
        let mut attempts = 1;
        let mut last: Option<Turn> = None;
        loop {
            let left = limits.timeout.saturating_sub(since.elapsed());
            let turn = match tokio::time::timeout(left, database.run(&statement)).await {
                Ok(outcome) => judge(cx, &database, outcome, limits.rows)?,
                // What was seen before says more than that this query was cut off.
                Err(_) => last.take().unwrap_or_else(|| Turn {
                    entries: Answer::default().into_entries(),
                    not_yet: Some("no answer in time".to_owned()),
                }),
            };
            let over = attempts >= limits.max_attempts || since.elapsed() + limits.interval >= limits.timeout;
            if turn.not_yet.is_none() || over {
                return finish(turn, attempts, since.elapsed(), sql::request(&database, &query, &params));
            }
            last = Some(turn);
            cx.sleep(limits.interval).await?;
            attempts += 1;
        }
    }
}

fn judge(
    cx: &ActionContext<'_>,
    database: &Database<'_>,
    outcome: Result<Answer, SqlError>,
    least: usize,
) -> Result<Turn, ActionError> {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(SqlError::Refused(refusal)) if refusal.is_final() => return Err(database.error(SqlError::Refused(refusal))),
        Err(error @ (SqlError::Refused(_) | SqlError::Broken(_))) => {
            let not_yet = Some(database.error(error).message);
            return Ok(Turn { entries: Answer::default().into_entries(), not_yet });
        }
        Err(error) => return Err(database.error(error)),
    };
    let found = answer.row_count();
    let entries = answer.into_entries();
    let not_yet = match cx.config().expression("condition") {
        _ if found < least => Some(match least {
            1 => "there is no row".to_owned(),
            least => format!("there are {found} of {least} rows"),
        }),
        None => None,
        Some(condition) => {
            let scope = cx.layer(entries.clone());
            let checked = condition.check(scope.as_ref()).map_err(|error| at_key("condition", &error))?;
            (!checked.holds).then_some(checked.message)
        }
    };
    Ok(Turn { entries, not_yet })
}

fn finish(turn: Turn, attempts: u32, took: Duration, request: Value) -> Result<ActionResult, ActionError> {
    let mut entries = turn.entries;
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    entries.push(("attempts".into(), Value::from(attempts)));
    entries.push(("success".into(), Value::Bool(turn.not_yet.is_none())));
    entries.push(("duration_ms".into(), Value::from(millis)));
    let result = sql::result(request, entries);
    let Some(reason) = turn.not_yet else { return Ok(result) };
    let took = show_duration(Duration::from_millis(millis));
    let queries = if attempts == 1 { "query" } else { "queries" };
    let message = format!("the rows were not as they should be within {took} ({attempts} {queries}), last: {reason}");
    Err(ActionError { kind: ErrorKind::Timeout, message, partial: Some(Box::new(result)) })
}
