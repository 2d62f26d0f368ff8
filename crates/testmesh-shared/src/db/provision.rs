//! Makes a database ready for the domains: a role and a schema each, with rights on nothing else.
//!
//! Everything here can be repeated, and two processes may do it at the same time: an advisory lock keeps them apart.
//! What is there already is only looked at, so a login without rights to make anything gets through then.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use crate::db::postgres::{options, place, quoted};
use crate::db::{DbError, Schema};

/// Keeps processes that do this at the same time apart: the letters `tmprov`.
const LOCK: i64 = 0x746d_7072_6f76;

/// A user of the database server.
#[derive(Clone)]
pub struct Login {
    /// Its name.
    pub user: String,
    /// Its password; none: it has another way in.
    pub password: Option<String>,
}

/// Who owns a schema.
#[derive(Clone)]
pub enum Owner {
    /// The role [`role_of`] the schema, which this login may take on; none: the login that makes it.
    Role(Option<Login>),
    /// A login of its own.
    Login(Login),
}

/// A database could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The database cannot be reached.
    #[error(transparent)]
    Connect(#[from] DbError),
    /// A statement was refused.
    #[error("make schema `{schema}` and the role that owns it")]
    Statement {
        /// The schema.
        schema: &'static str,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
}

/// The role that owns a schema when one login is shared between the domains.
pub fn role_of(schema: &Schema) -> String {
    format!("testmesh_{}", schema.name)
}

/// Makes a schema and its owner in the database at `url`, as far as they are missing.
///
/// # Errors
/// [`ProvisionError::Connect`] when the database cannot be reached, [`ProvisionError::Statement`] when it refuses: the
/// login of `url` must be allowed to make what is missing.
pub async fn provision(url: &str, schema: &Schema, owner: &Owner) -> Result<(), ProvisionError> {
    let options = options(url, schema.name)?;
    let failed = |source| DbError::Open { schema: schema.name, place: place(&options), source };
    let mut connection = options.connect().await.map_err(failed)?;
    let made = make(&mut connection, schema, owner).await;
    made.map_err(|source| ProvisionError::Statement { schema: schema.name, source })?;
    // The lock ends with the connection.
    connection.close().await.map_err(failed)?;
    Ok(())
}

async fn make(connection: &mut PgConnection, schema: &Schema, owner: &Owner) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("lock.postgres.sql")).bind(LOCK).execute(&mut *connection).await?;
    let role = match owner {
        Owner::Login(login) => {
            make_login(connection, login).await?;
            login.user.clone()
        }
        Owner::Role(login) => {
            let role = role_of(schema);
            make_role(connection, &role, "nologin").await?;
            if let Some(login) = login {
                make_login(connection, login).await?;
                let may: bool = sqlx::query_scalar(include_str!("login_may_take_on.postgres.sql"))
                    .bind(login.user.as_str())
                    .bind(role.as_str())
                    .fetch_one(&mut *connection)
                    .await?;
                if !may {
                    grant(connection, &role, &quoted(&login.user)).await?;
                }
            }
            role
        }
    };
    // A schema can only be given to a role that its maker could be.
    let may: bool = sqlx::query_scalar(include_str!("may_take_on.postgres.sql"))
        .bind(role.as_str())
        .fetch_one(&mut *connection)
        .await?;
    if !may {
        grant(connection, &role, "current_user").await?;
    }
    make_schema(connection, schema, &role).await
}

async fn make_login(connection: &mut PgConnection, login: &Login) -> Result<(), sqlx::Error> {
    let new = make_role(connection, &login.user, "login").await?;
    let Some(password) = login.password.as_deref().filter(|_| new) else { return Ok(()) };
    let literal: String =
        sqlx::query_scalar(include_str!("literal.postgres.sql")).bind(password).fetch_one(&mut *connection).await?;
    let statement = format!("alter role {} password {literal}", quoted(&login.user));
    connection.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}

/// Whether it was made now.
async fn make_role(connection: &mut PgConnection, role: &str, kind: &str) -> Result<bool, sqlx::Error> {
    let exists: bool =
        sqlx::query_scalar(include_str!("role_exists.postgres.sql")).bind(role).fetch_one(&mut *connection).await?;
    if exists {
        return Ok(false);
    }
    match connection.execute(AssertSqlSafe(format!("create role {} {kind}", quoted(role)))).await {
        Ok(_) => Ok(true),
        // Roles belong to the whole server: a process with another database made the same one.
        Err(error) if is_duplicate(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn grant(connection: &mut PgConnection, role: &str, to: &str) -> Result<(), sqlx::Error> {
    connection.execute(AssertSqlSafe(format!("grant {} to {to}", quoted(role)))).await?;
    Ok(())
}

async fn make_schema(connection: &mut PgConnection, schema: &Schema, role: &str) -> Result<(), sqlx::Error> {
    let owned: Option<bool> = sqlx::query_scalar(include_str!("schema_owned.postgres.sql"))
        .bind(schema.name)
        .bind(role)
        .fetch_optional(&mut *connection)
        .await?;
    let (name, role) = (quoted(schema.name), quoted(role));
    let statement = match owned {
        None => format!("create schema {name} authorization {role}"),
        Some(false) => format!("alter schema {name} owner to {role}"),
        Some(true) => return Ok(()),
    };
    connection.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}

/// Whether somebody else made it in the meantime (`duplicate_object`, or `unique_violation` within the catalogue).
fn is_duplicate(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code == "42710" || code == "23505")
}
