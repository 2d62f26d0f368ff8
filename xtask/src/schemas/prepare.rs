//! Every statement, prepared on a real database that has the schema's migrations and nothing else.

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Connection, Executor, SqlSafeStr, SqliteConnection};

use crate::finding::{Finding, Rule};
use crate::workspace::Failure;

const APPLY: Rule = Rule {
    name: "migration-applies",
    reason: "every installation runs it at its next start",
    remedy: "correct the migration until it applies to what the ones before it made",
};

const PREPARE: Rule = Rule {
    name: "statement-prepares",
    reason: "a statement that cannot be prepared fails when a user needs it",
    remedy: "correct the statement; its tables and columns are those of the schema's migrations",
};

/// Applies the migrations of a schema to an empty database and prepares every statement there.
pub(super) fn check(
    root: &Path,
    schema: &str,
    migrations: &[(PathBuf, String)],
    statements: &[(PathBuf, String)],
) -> Result<Vec<Finding>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await?;
        let attach = format!("attach database ':memory:' as \"{schema}\"");
        connection.execute(AssertSqlSafe(attach)).await?;
        for (path, text) in migrations {
            if let Err(error) = connection.execute(AssertSqlSafe(text.clone())).await {
                return Ok(vec![Finding::new(root, path, 1, &APPLY, message(&error))]);
            }
        }
        let mut findings = Vec::new();
        for (path, text) in statements {
            if let Err(error) = connection.prepare(AssertSqlSafe(text.clone()).into_sql_str()).await {
                findings.push(Finding::new(root, path, 1, &PREPARE, message(&error)));
            }
        }
        Ok(findings)
    })
}

fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}
