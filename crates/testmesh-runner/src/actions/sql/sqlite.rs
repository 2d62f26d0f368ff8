//! SQLite: a file that the run may read, or memory that lasts as long as the run.

use futures::TryStreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{
    Arguments, AssertSqlSafe, Column as _, ConnectOptions, Connection, Either, Executor, Row, SqlSafeStr, TypeInfo,
    ValueRef,
};

use super::placeholders::{Style, place};
use super::target::SqliteFile;
use super::{Answer, Column, Refusal, Rows, SqlError, Statement, chain};
use crate::files::Files;
use crate::value::Value;

/// A connection.
pub(super) struct Sqlite {
    connection: SqliteConnection,
}

/// Opens a database.
pub(super) async fn open(file: &SqliteFile, files: &Files) -> Result<Sqlite, SqlError> {
    let options = match &file.path {
        None => SqliteConnectOptions::new().in_memory(true),
        Some(path) => {
            let refused = |error| SqlError::Config(chain(&error));
            let path = if file.create { files.resolve_new(path) } else { files.resolve(path) }.map_err(refused)?;
            SqliteConnectOptions::new().filename(path).create_if_missing(file.create).read_only(file.read_only)
        }
    };
    let options = options.disable_statement_logging();
    SqliteConnection::connect_with(&options).await.map(|connection| Sqlite { connection }).map_err(failed)
}

impl Sqlite {
    /// Runs a statement, or several when there are no parameters.
    pub(super) async fn run(&mut self, statement: &Statement<'_>) -> Result<Answer, SqlError> {
        if !statement.transaction {
            return self.ask(statement).await;
        }
        self.plain("begin").await?;
        let answer = self.ask(statement).await;
        self.plain(if answer.is_ok() { "commit" } else { "rollback" }).await?;
        answer
    }

    async fn plain(&mut self, query: &'static str) -> Result<(), SqlError> {
        sqlx::raw_sql(query).execute(&mut self.connection).await.map(drop).map_err(failed)
    }

    async fn ask(&mut self, statement: &Statement<'_>) -> Result<Answer, SqlError> {
        let mut answer = Answer::default();
        // The text is the user's own: it is what the step is for.
        let mut stream = if statement.params.is_empty() {
            sqlx::raw_sql(AssertSqlSafe(statement.query.to_owned())).fetch_many(&mut self.connection)
        } else {
            let placed = place(statement.query, statement.params.len(), Style::Question).map_err(SqlError::Config)?;
            let mut arguments = SqliteArguments::default();
            for index in &placed.order {
                bind(&mut arguments, &statement.params[*index])?;
            }
            let query = AssertSqlSafe(placed.text).into_sql_str();
            self.connection.fetch_many(sqlx::query_with(query, arguments))
        };
        let mut rows: Option<Rows> = None;
        while let Some(next) = stream.try_next().await.map_err(failed)? {
            match next {
                Either::Right(row) => {
                    rows.get_or_insert_with(|| Rows::of(columns(&row))).add(values(&row), statement.max_rows)?;
                }
                Either::Left(done) => {
                    answer.finish(rows.take());
                    answer.rows_affected += done.rows_affected();
                }
            }
        }
        answer.finish(rows);
        Ok(answer)
    }
}

fn columns(row: &SqliteRow) -> Vec<Column> {
    let column = |column: &sqlx::sqlite::SqliteColumn| Column {
        name: column.name().into(),
        kind: column.type_info().name().to_ascii_lowercase().into(),
    };
    row.columns().iter().map(column).collect()
}

/// Each value by how it is stored; a column declared as `BOOLEAN` gives truth values.
fn values(row: &SqliteRow) -> Vec<Value> {
    let read = |index: usize| -> Result<Value, sqlx::Error> {
        let value = row.try_get_raw(index)?;
        let kind = value.type_info().name().to_owned();
        Ok(match kind.as_str() {
            _ if value.is_null() => Value::Null,
            "BOOLEAN" => Value::Bool(row.try_get_unchecked(index)?),
            "INTEGER" => Value::Int(row.try_get_unchecked(index)?),
            "REAL" => Value::Float(row.try_get_unchecked(index)?),
            "BLOB" => Value::Bytes(row.try_get_unchecked::<Vec<u8>, _>(index)?.into()),
            _ => Value::Text(row.try_get_unchecked::<String, _>(index)?.into()),
        })
    };
    (0..row.len()).map(|index| read(index).unwrap_or_default()).collect()
}

fn bind(arguments: &mut SqliteArguments, value: &Value) -> Result<(), SqlError> {
    let text = |value: &Value| value.to_text().map(String::from);
    match value {
        Value::Null => arguments.add(None::<String>),
        Value::Bool(truth) => arguments.add(*truth),
        Value::Int(number) => arguments.add(*number),
        Value::Float(number) => arguments.add(*number),
        Value::Bytes(bytes) => arguments.add(bytes.to_vec()),
        _ => arguments.add(text(value)),
    }
    .map_err(|error| SqlError::Config(format!("a parameter cannot be sent: {error}")))
}

fn failed(error: sqlx::Error) -> SqlError {
    match error {
        sqlx::Error::Database(error) => SqlError::Refused(Box::new(Refusal {
            code: error.code().unwrap_or_default().into_owned().into(),
            message: error.message().to_owned().into(),
            ..Refusal::default()
        })),
        error => SqlError::broken(error),
    }
}
