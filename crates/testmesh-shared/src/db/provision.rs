//! Makes a database ready for the domains: a role and a schema each, with rights on nothing else.
//!
//! Everything here can be repeated, and two processes may do it at the same time: an advisory lock keeps them apart.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use crate::db::postgres::{options, quoted};
use crate::db::{DbError, Schema};

/// Keeps processes that do this at the same time apart: the letters `tmprov`.
const LOCK: i64 = 0x746d_7072_6f76;

/// A database could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The administrator's URL does not work.
    #[error(transparent)]
    Connect(#[from] DbError),
    /// A statement was refused.
    #[error("make schema `{schema}` and its role `{role}`")]
    Statement {
        /// The schema.
        schema: &'static str,
        /// The role.
        role: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
}

/// The role that owns a schema when one login is shared between the domains.
pub fn role_of(schema: &Schema) -> String {
    format!("testmesh_{}", schema.name)
}

/// Makes each schema with the role that owns it, in the database at `url`, whose login may create roles and schemas.
/// With a login (user, password) the role is that user and can log in; otherwise it is [`role_of`] the schema, and the
/// login of `url` may take it on. What is there already stays.
///
/// # Errors
/// [`ProvisionError::Connect`] when the database cannot be reached, [`ProvisionError::Statement`] when it refuses.
pub async fn provision(
    url: &str,
    schemas: &[(&Schema, Option<(String, Option<String>)>)],
) -> Result<(), ProvisionError> {
    let Some((first, _)) = schemas.first() else { return Ok(()) };
    let options = options(url, first.name)?;
    let failed = |source| DbError::Open { schema: first.name, place: super::postgres::place(&options), source };
    let mut connection = options.connect().await.map_err(failed)?;
    sqlx::query(include_str!("lock.postgres.sql")).bind(LOCK).execute(&mut connection).await.map_err(failed)?;
    for (schema, login) in schemas {
        let role = login.as_ref().map_or_else(|| role_of(schema), |(user, _)| user.clone());
        let password = login.as_ref().and_then(|(_, password)| password.as_deref());
        let made = make(&mut connection, schema, &role, login.is_some(), password).await;
        made.map_err(|source| ProvisionError::Statement { schema: schema.name, role, source })?;
    }
    // The lock ends with the connection.
    connection.close().await.map_err(failed)?;
    Ok(())
}

async fn make(
    connection: &mut PgConnection,
    schema: &Schema,
    role: &str,
    login: bool,
    password: Option<&str>,
) -> Result<(), sqlx::Error> {
    let exists: bool =
        sqlx::query_scalar(include_str!("role_exists.postgres.sql")).bind(role).fetch_one(&mut *connection).await?;
    let name = quoted(role);
    if !exists {
        // Roles belong to the whole server: another database's process may be making the same one.
        let login = if login { "login" } else { "nologin" };
        let made = connection.execute(AssertSqlSafe(format!("create role {name} {login}"))).await;
        if let Err(error) = made
            && !is_duplicate(&error)
        {
            return Err(error);
        }
    }
    if let Some(password) = password {
        let text: String =
            sqlx::query_scalar(include_str!("literal.postgres.sql")).bind(password).fetch_one(&mut *connection).await?;
        connection.execute(AssertSqlSafe(format!("alter role {name} password {text}"))).await?;
    }
    let member: bool =
        sqlx::query_scalar(include_str!("may_take_on.postgres.sql")).bind(role).fetch_one(&mut *connection).await?;
    if !member {
        connection.execute(AssertSqlSafe(format!("grant {name} to current_user"))).await?;
    }
    let owned: Option<bool> = sqlx::query_scalar(include_str!("schema_owned.postgres.sql"))
        .bind(schema.name)
        .bind(role)
        .fetch_optional(&mut *connection)
        .await?;
    let place = quoted(schema.name);
    match owned {
        None => connection.execute(AssertSqlSafe(format!("create schema {place} authorization {name}"))).await?,
        Some(false) => connection.execute(AssertSqlSafe(format!("alter schema {place} owner to {name}"))).await?,
        Some(true) => return Ok(()),
    };
    connection.execute(AssertSqlSafe(format!("revoke all on schema {place} from public"))).await?;
    Ok(())
}

/// Whether somebody else made it in the meantime (`duplicate_object`, or `unique_violation` within the catalogue).
fn is_duplicate(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code == "42710" || code == "23505")
}
