//! The migrations and statements of one domain on SQLite: a database in memory that has the domain's schema and nothing
//! else.

use sqlx::sqlite::SqliteRow;
use sqlx::{
    AssertSqlSafe, Column as _, Connection, Executor, Row, SqlSafeStr, SqliteConnection, Statement as _, TypeInfo,
};

use super::catalogue::{Catalogue, Column, Table, Unique};
use super::prepare::{APPLY, Applied, PREPARE, Prepared, Work};
use crate::finding::Finding;
use crate::workspace::Failure;

/// Applies the migrations and prepares every statement.
pub(super) async fn inspect(work: &Work<'_>) -> Result<Applied, Failure> {
    let mut applied = Applied::default();
    let mut connection = SqliteConnection::connect("sqlite::memory:").await?;
    if !work.schema.is_empty() {
        let attach = format!("attach database ':memory:' as \"{}\"", work.schema);
        connection.execute(AssertSqlSafe(attach)).await?;
    }
    for (path, text) in &work.migrations {
        if let Err(error) = connection.execute(AssertSqlSafe(text.clone())).await {
            applied.findings.push(Finding::new(work.root, path, 1, &APPLY, format!("sqlite: {}", message(&error))));
            return Ok(applied);
        }
    }
    for (path, text) in &work.statements {
        match connection.prepare(AssertSqlSafe(text.clone()).into_sql_str()).await {
            Ok(statement) => {
                let column = |column: &sqlx::sqlite::SqliteColumn| {
                    (column.name().to_owned(), column.type_info().name().to_lowercase())
                };
                let columns = statement.columns().iter().map(column).collect();
                let parameters = statement.parameters().map_or(0, |either| either.right_or_else(<[_]>::len));
                applied.prepared.insert(path.clone(), Prepared { columns, parameters });
            }
            Err(error) => {
                let message = format!("sqlite: {}", message(&error));
                applied.findings.push(Finding::new(work.root, path, 1, &PREPARE, message));
            }
        }
    }
    if !work.schema.is_empty() {
        applied.catalogue = Some(read(&mut connection, work.schema).await?);
    }
    Ok(applied)
}

async fn read(connection: &mut SqliteConnection, schema: &str) -> Result<Catalogue, Failure> {
    let mut catalogue = Catalogue::default();
    for row in rows(connection, format!("pragma \"{schema}\".table_list")).await? {
        let (name, kind): (String, String) = (row.get("name"), row.get("type"));
        if row.get::<String, _>("schema") == schema && kind == "table" && !name.starts_with("sqlite_") {
            let table = read_table(connection, schema, &name).await?;
            catalogue.0.insert(name, table);
        }
    }
    Ok(catalogue)
}

async fn read_table(connection: &mut SqliteConnection, schema: &str, name: &str) -> Result<Table, Failure> {
    let mut table = Table::default();
    let mut key = Vec::new();
    for row in rows(connection, format!("pragma \"{schema}\".table_info(\"{name}\")")).await? {
        let (column, place): (String, i64) = (row.get("name"), row.get("pk"));
        let kind = row.get::<String, _>("type").to_lowercase();
        // An integer that is the whole key is the row's own number, never null.
        let nullable = row.get::<i64, _>("notnull") == 0 && !(place == 1 && kind == "integer");
        if place > 0 {
            key.push((place, column.clone()));
        }
        table.columns.insert(column, Column { kind, nullable });
    }
    key.sort();
    table.primary_key = key.into_iter().map(|(_, column)| column).collect();
    for index in rows(connection, format!("pragma \"{schema}\".index_list(\"{name}\")")).await? {
        if index.get::<i64, _>("unique") == 0 || index.get::<String, _>("origin") == "pk" {
            continue;
        }
        let name: String = index.get("name");
        let parts = rows(connection, format!("pragma \"{schema}\".index_info(\"{name}\")")).await?;
        let column =
            |row: &SqliteRow| row.get::<Option<String>, _>("name").unwrap_or_else(|| "(expression)".to_owned());
        let partial = index.get::<i64, _>("partial") != 0;
        table.unique.insert(Unique { columns: parts.iter().map(column).collect(), partial });
    }
    Ok(table)
}

async fn rows(connection: &mut SqliteConnection, pragma: String) -> Result<Vec<SqliteRow>, Failure> {
    Ok(connection.fetch_all(AssertSqlSafe(pragma)).await?)
}

fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}
