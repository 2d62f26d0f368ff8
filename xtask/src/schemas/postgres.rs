//! The migrations and statements of every domain on PostgreSQL: a database of its own with a schema and a role each, as
//! an installation has them, and nothing left of it afterwards.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use sqlx::postgres::{PgConnectOptions, PgDatabaseError};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions, Connection, Executor, PgConnection, SqlSafeStr, Statement as _,
    TypeInfo,
};

use super::catalogue::{Catalogue, Column, Unique};
use super::prepare::{APPLY, Applied, PREPARE, Prepared, Work};
use crate::finding::{Finding, Rule};
use crate::workspace::Failure;

const ISOLATION: Rule = Rule {
    name: "role-isolation",
    reason: "a domain's role that cannot reach another's tables is the boundary that holds when all others failed",
    remedy: "take the right back: a schema, and everything in it, is its own role's alone",
};

/// What PostgreSQL calls a statement that a role has no right to.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A line of a schema's catalogue: the table or function that it belongs to, and what it says.
pub(super) type Objects = Vec<(String, String)>;

/// What all domains came to.
pub(super) struct Inspected {
    /// In the order of the work.
    pub(super) applied: Vec<Applied>,
    /// Everything in each schema, by its name.
    pub(super) objects: BTreeMap<String, Objects>,
}

/// Makes a database on the server at `url`, does the work there, and removes it.
pub(super) async fn inspect(url: &str, work: &[Work<'_>]) -> Result<Inspected, Failure> {
    let administrator: PgConnectOptions = url.parse()?;
    let mut trial = Trial::create(administrator).await?;
    let inspected = trial.inspect(work).await;
    trial.remove().await?;
    inspected
}

/// A database, and roles that are called after it.
struct Trial {
    administrator: PgConnection,
    options: PgConnectOptions,
    name: String,
    roles: Vec<String>,
}

impl Trial {
    async fn create(options: PgConnectOptions) -> Result<Self, Failure> {
        let options = options.disable_statement_logging();
        let mut administrator = options.connect().await.map_err(|error| format!("connect to PostgreSQL: {error}"))?;
        // Several may run at once, on several machines.
        let name = format!("schemas_{:016x}", RandomState::new().build_hasher().finish());
        run(&mut administrator, format!("create database {name}")).await?;
        let options = options.database(&name);
        Ok(Self { administrator, options, name, roles: Vec::new() })
    }

    async fn remove(mut self) -> Result<(), Failure> {
        run(&mut self.administrator, format!("drop database {} with (force)", self.name)).await?;
        for role in &self.roles {
            run(&mut self.administrator, format!("drop role {role}")).await?;
        }
        Ok(())
    }

    async fn inspect(&mut self, work: &[Work<'_>]) -> Result<Inspected, Failure> {
        let mut connections = Vec::new();
        for work in work {
            connections.push(self.connect(work.schema).await?);
        }
        let mut inspected = Inspected { applied: Vec::new(), objects: BTreeMap::new() };
        for (work, connection) in work.iter().zip(&mut connections) {
            let mut applied = apply(work, connection).await?;
            if applied.findings.is_empty() {
                prepare(work, connection, &mut applied).await;
                if !work.schema.is_empty() {
                    applied.catalogue = Some(read(connection, work.schema).await?);
                    inspected.objects.insert(work.schema.to_owned(), objects(connection, work.schema).await?);
                }
            }
            inspected.applied.push(applied);
        }
        for (index, connection) in connections.iter_mut().enumerate() {
            let findings = intrude(index, work, &inspected.applied, connection).await?;
            inspected.applied[index].findings.extend(findings);
        }
        for connection in connections {
            connection.close().await?;
        }
        Ok(inspected)
    }

    /// A session with the role of a schema, which is made. No schema: the administrator's.
    async fn connect(&mut self, schema: &str) -> Result<PgConnection, Failure> {
        let mut connection = self.options.connect().await?;
        if !schema.is_empty() {
            let role = format!("{}_{schema}", self.name);
            run(&mut connection, format!("create role {role} nologin")).await?;
            self.roles.push(role.clone());
            run(&mut connection, format!("grant {role} to current_user")).await?;
            run(&mut connection, format!("create schema {schema} authorization {role}")).await?;
            run(&mut connection, format!("set role {role}")).await?;
        }
        Ok(connection)
    }
}

async fn run(connection: &mut PgConnection, statement: String) -> Result<(), Failure> {
    connection.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}

/// Applies the migrations by the schema's role, each in a transaction, as an installation does.
async fn apply(work: &Work<'_>, connection: &mut PgConnection) -> Result<Applied, Failure> {
    let mut applied = Applied::default();
    for (path, text) in &work.migrations {
        let mut transaction = connection.begin().await?;
        match transaction.execute(AssertSqlSafe(text.clone())).await {
            Ok(_) => transaction.commit().await?,
            Err(error) => {
                let (line, message) = explain(&error, text);
                applied.findings.push(Finding::new(work.root, path, line, &APPLY, message));
                transaction.rollback().await?;
                break;
            }
        }
    }
    Ok(applied)
}

async fn prepare(work: &Work<'_>, connection: &mut PgConnection, applied: &mut Applied) {
    for (path, text) in &work.statements {
        match connection.prepare(AssertSqlSafe(text.clone()).into_sql_str()).await {
            Ok(statement) => {
                let columns = statement.columns().iter();
                let columns = columns
                    .map(|column| (column.name().to_owned(), column.type_info().name().to_lowercase()))
                    .collect();
                let parameters = statement.parameters().map_or(0, |either| either.map_left(<[_]>::len).into_inner());
                applied.prepared.insert(path.clone(), Prepared { columns, parameters });
            }
            Err(error) => {
                let (line, message) = explain(&error, text);
                applied.findings.push(Finding::new(work.root, path, line, &PREPARE, message));
            }
        }
    }
}

/// Reads every table of the other domains, by the role of the one at `index`: each attempt must be refused.
async fn intrude(
    index: usize,
    work: &[Work<'_>],
    applied: &[Applied],
    connection: &mut PgConnection,
) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    if work[index].schema.is_empty() {
        return Ok(findings);
    }
    for (other, made) in work.iter().zip(applied).filter(|(other, _)| other.schema != work[index].schema) {
        for table in made.catalogue.iter().flat_map(|catalogue| catalogue.0.keys()) {
            let statement = format!("select 1 from {}.\"{table}\" limit 0", other.schema);
            let message = match connection.execute(AssertSqlSafe(statement)).await {
                Ok(_) => format!("the role of `{}` can read `{}.{table}`", work[index].schema, other.schema),
                Err(error) if code(&error) == Some(INSUFFICIENT_PRIVILEGE.to_owned()) => continue,
                Err(error) => return Err(error.into()),
            };
            let path = other.migrations.last().map(|(path, _)| path.clone()).unwrap_or_default();
            findings.push(Finding::new(other.root, &path, 1, &ISOLATION, message));
        }
    }
    Ok(findings)
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned)
}

/// The line of a text that PostgreSQL complains about, and what it says.
fn explain(error: &sqlx::Error, text: &str) -> (usize, String) {
    let Some(error) = error.as_database_error() else { return (1, format!("postgres: {error}")) };
    let place = match error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::position) {
        Some(sqlx::postgres::PgErrorPosition::Original(place)) => place,
        _ => 1,
    };
    // Counted in characters, from 1.
    let line = 1 + text.chars().take(place.saturating_sub(1)).filter(|letter| *letter == '\n').count();
    (line, format!("postgres: {}", error.message()))
}

#[derive(sqlx::FromRow)]
struct ColumnRow {
    table_name: String,
    column_name: String,
    kind: String,
    nullable: bool,
}

#[derive(sqlx::FromRow)]
struct UniqueRow {
    table_name: String,
    is_primary: bool,
    is_partial: bool,
    columns: Vec<String>,
}

async fn read(connection: &mut PgConnection, schema: &str) -> Result<Catalogue, Failure> {
    let mut catalogue = Catalogue::default();
    let columns: Vec<ColumnRow> =
        sqlx::query_as(include_str!("sql/columns.postgres.sql")).bind(schema).fetch_all(&mut *connection).await?;
    for row in columns {
        let table = catalogue.0.entry(row.table_name).or_default();
        table.columns.insert(row.column_name, Column { kind: row.kind, nullable: row.nullable });
    }
    let indexes: Vec<UniqueRow> =
        sqlx::query_as(include_str!("sql/unique.postgres.sql")).bind(schema).fetch_all(&mut *connection).await?;
    for row in indexes {
        let table = catalogue.0.entry(row.table_name).or_default();
        if row.is_primary {
            table.primary_key = row.columns;
        } else {
            table.unique.insert(Unique { columns: row.columns, partial: row.is_partial });
        }
    }
    Ok(catalogue)
}

/// Everything in a schema, sorted.
pub(super) async fn objects(connection: &mut PgConnection, schema: &str) -> Result<Objects, Failure> {
    let rows: Vec<(String, String, String)> =
        sqlx::query_as(include_str!("sql/objects.postgres.sql")).bind(schema).fetch_all(connection).await?;
    let mut objects: Objects = rows.into_iter().map(|(owner, kind, text)| (owner, format!("{kind} {text}"))).collect();
    objects.sort();
    Ok(objects)
}

/// What the owner of one schema of an installed database can reach of another.
pub(super) async fn reach(
    connection: &mut PgConnection,
    schema: &str,
    other: &str,
) -> Result<Vec<(String, String)>, Failure> {
    let statement = sqlx::query_as(include_str!("sql/reach.postgres.sql"));
    Ok(statement.bind(schema).bind(other).fetch_all(connection).await?)
}

/// The finding for what [`reach`] found.
pub(super) fn reached(work: &Work<'_>, owner: &str, name: &str) -> Finding {
    let path = work.migrations.last().map(|(path, _)| path.clone()).unwrap_or_default();
    let message = format!("in the database, `{owner}`, who owns schema `{}`, may use `{name}`", work.schema);
    Finding::new(work.root, &path, 1, &ISOLATION, message)
}
