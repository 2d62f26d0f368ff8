//! `database_query`: runs SQL and gives the rows.

use std::time::Instant;

use async_trait::async_trait;
use bytestring::ByteString;

use super::sql::{self, Database, SqlError, Statement};
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::ActionContext;
use crate::record::ErrorKind;
use crate::units::show_duration;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "database_query",
    aliases: &["sql"],
    summary: "Runs SQL on PostgreSQL, MySQL, MariaDB or SQLite.",
    description: "Each value is typed by its column: a `numeric` stays exact, a text stays text, JSON is parsed, times are \
                  RFC 3339 in UTC. Of several statements the rows are those of the last one that gives any. Connections \
                  are kept for the run.\n\n\
                  When the database refuses a statement the step fails, unless one of its assertions speaks of `error`: \
                  then the refusal is what the step is about, and the assertions judge it.",
    config: &[
        sql::CONNECTION,
        sql::QUERY,
        sql::PARAMS,
        sql::MAX_ROWS,
        Field {
            name: "transaction",
            aliases: &[],
            kind: Kind::Boolean,
            required: false,
            default: Some("false"),
            doc: "Whether the statements run in one transaction, which is rolled back when one of them is refused.",
        },
        Field {
            name: "timeout",
            aliases: &[],
            kind: Kind::Duration { zero: false },
            required: false,
            default: Some("30s"),
            doc: "The time for connecting and for the statements together.",
        },
    ],
    open_config: false,
    result: &[
        sql::ROWS,
        sql::ROW_COUNT,
        sql::FIRST_ROW,
        ResultField {
            name: "rows_affected",
            kind: "integer",
            doc: "How many rows were inserted, updated or deleted, by all statements together.",
        },
        ResultField { name: "columns", kind: "list", doc: "`name` and `type` of each column, in order." },
        ResultField { name: "duration_ms", kind: "integer", doc: "How long it took, in milliseconds." },
        sql::ERROR,
    ],
    open_result: false,
    reserved: &[],
    examples: &[
        Example {
            title: "A row that must be there",
            yaml: "- action: database_query\n  config:\n    connection: \"sqlite::memory:\"\n    query: select 1 as id, 'Ada' as name \
                   where 1 = $1\n    params: [1]\n  assert:\n    - row_count == 1\n    - first_row.name == \"Ada\"\n",
        },
        Example {
            title: "A refusal that is expected",
            yaml: "- action: database_query\n  config:\n    connection: \"sqlite::memory:\"\n    query: |\n      create table users \
                   (email text unique);\n      insert into users values ('ada@example.com'), ('ada@example.com');\n  assert:\n    \
                   - error.message contains \"UNIQUE\"\n",
        },
    ],
};

/// The action.
pub(crate) struct DatabaseQuery;

#[async_trait]
impl Action for DatabaseQuery {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let database = Database::of(cx, &config)?;
        let query = config.required_text("query")?;
        let params = config.list("params")?;
        let statement = Statement {
            query: &query,
            params: &params,
            max_rows: sql::max_rows(&config)?,
            transaction: config.boolean("transaction")?.unwrap_or(false),
        };
        let since = Instant::now();
        let running = database.run(&statement);
        let outcome = match config.duration("timeout")? {
            None => running.await,
            Some(limit) => tokio::time::timeout(limit, running).await.map_err(|_| {
                let message = format!("`{}`: no answer within {}", database.shown(), show_duration(limit));
                ActionError::new(ErrorKind::Timeout, message)
            })?,
        };
        let took = Value::from(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX));
        let request = sql::request(&database, &query, &params);
        let (mut entries, refusal) = match outcome {
            Ok(answer) => (answer.into_entries(), None),
            Err(SqlError::Refused(refusal)) => (sql::Answer::default().into_entries(), Some(refusal)),
            Err(error) => {
                let partial = Some(Box::new(ActionResult { request: request.into(), ..ActionResult::default() }));
                return Err(ActionError { partial, ..database.error(error) });
            }
        };
        entries.push((ByteString::from_static("duration_ms"), took));
        entries
            .push((ByteString::from_static("error"), refusal.as_ref().map_or(Value::Null, |refusal| refusal.value())));
        let result = sql::result(request, entries);
        match refusal {
            Some(refusal) if !cx.step.asserts_on("error") => {
                Err(ActionError { partial: Some(Box::new(result)), ..database.error(SqlError::Refused(refusal)) })
            }
            _ => Ok(result),
        }
    }
}
