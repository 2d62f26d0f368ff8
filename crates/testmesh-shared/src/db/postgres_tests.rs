//! A PostgreSQL database: roles, schemas, what each may see, refusals.

use super::testing::{postgres, postgres_database};
use super::*;

const FIRST: Migration = Migration { version: 1, name: "create", sql: "create table things.names (name text)" };
const SECOND: Migration = Migration { version: 1, name: "create", sql: "create table others.names (name text)" };
const INTRUDER: Migration = Migration { version: 1, name: "create", sql: "create table things.stolen (name text)" };
const THINGS: Schema = Schema { name: "things", postgres: &[FIRST], sqlite: &[] };
const OTHERS: Schema = Schema { name: "others", postgres: &[SECOND], sqlite: &[] };

fn target(url: &str, schema: &Schema) -> PostgresTarget {
    PostgresTarget { url: url.to_owned(), role: Some(role_of(schema)), connections: 2 }
}

#[tokio::test]
async fn a_domain_cannot_read_what_another_owns() {
    let Some(url) = postgres_database(&[&THINGS, &OTHERS]).await else { return };
    let things = Db::postgres(&target(&url, &THINGS), &THINGS).await.unwrap();
    let others = Db::postgres(&target(&url, &OTHERS), &OTHERS).await.unwrap();
    let read = |db: Db, statement: &'static str| async move {
        on_db!(&db, engine => sqlx::query(statement).fetch_all(engine.reader()).await.map(|_| ()))
    };
    read(things.clone(), "select name from things.names").await.unwrap();
    read(others.clone(), "select name from others.names").await.unwrap();
    let error = read(things, "select name from others.names").await.unwrap_err();
    assert!(error.to_string().contains("permission denied for schema others"), "{error}");
    let error = read(others, "select name from things.names").await.unwrap_err();
    assert!(error.to_string().contains("permission denied for schema things"), "{error}");
}

#[tokio::test]
async fn a_migration_cannot_make_a_table_in_another_schema() {
    let Some(url) = postgres_database(&[&THINGS, &OTHERS]).await else { return };
    let intruder = Schema { postgres: &[INTRUDER], ..OTHERS };
    let error = Db::postgres(&target(&url, &intruder), &intruder).await.unwrap_err();
    assert!(matches!(error, DbError::Migrate { .. }), "{error:?}");
}

#[tokio::test]
async fn processes_that_start_together_migrate_once() {
    let Some(url) = postgres_database(&[&THINGS]).await else { return };
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let target = target(&url, &THINGS);
        starts.spawn(async move { Db::postgres(&target, &THINGS).await.map(|_| ()) });
    }
    for started in starts.join_all().await {
        started.unwrap();
    }
}

#[tokio::test]
async fn time_is_the_databases() {
    let Some(db) = postgres(&THINGS).await else { return };
    let there = db.now().await.unwrap();
    let apart = there - crate::clock::Clock::now(&crate::clock::SystemClock);
    assert!(apart.abs() < chrono::TimeDelta::minutes(1), "{apart}");
    db.ping().await.unwrap();
}

#[tokio::test]
async fn a_missing_role_says_what_to_do() {
    let Some(url) = postgres_database(&[]).await else { return };
    let target = PostgresTarget { url, role: Some("testmesh_nobody".to_owned()), connections: 1 };
    let error = Db::postgres(&target, &THINGS).await.unwrap_err();
    assert!(error.to_string().contains("testmesh-server migrate"), "{error}");
    assert!(!error.to_string().contains("postgres@"), "{error}");
}

#[tokio::test]
async fn a_url_of_something_else_is_refused_without_repeating_it() {
    let target = PostgresTarget { url: "mysql://me:secret@host/db".to_owned(), role: None, connections: 1 };
    let error = Db::postgres(&target, &THINGS).await.unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_login_made_for_the_server_can_take_on_the_roles_and_no_more() {
    let Some(url) = postgres_database(&[]).await else { return };
    let user = format!("login_{}", crate::ids::new_uuid(&crate::clock::SystemClock).simple());
    let login = Login { user: user.clone(), password: Some("it's \"quoted\"".to_owned()) };
    for _ in 0..2 {
        provision(&url, &THINGS, &Owner::Role(Some(login.clone()))).await.unwrap();
    }
    let mut theirs = url::Url::parse(&url).unwrap();
    theirs.set_username(&user).unwrap();
    theirs.set_password(Some("it's \"quoted\"")).unwrap();
    // Nothing is missing, so the login itself may repeat it.
    provision(theirs.as_str(), &THINGS, &Owner::Role(None)).await.unwrap();
    Db::postgres(&target(theirs.as_str(), &THINGS), &THINGS).await.unwrap().ping().await.unwrap();
    let error = provision(theirs.as_str(), &OTHERS, &Owner::Role(None)).await.unwrap_err();
    assert!(matches!(error, ProvisionError::Statement { .. }), "{error:?}");
}

#[tokio::test]
async fn a_schema_can_belong_to_a_login_of_its_own() {
    let Some(url) = postgres_database(&[]).await else { return };
    let user = format!("owner_{}", crate::ids::new_uuid(&crate::clock::SystemClock).simple());
    let login = Login { user: user.clone(), password: None };
    provision(&url, &THINGS, &Owner::Login(login)).await.unwrap();
    let mut theirs = url::Url::parse(&url).unwrap();
    theirs.set_username(&user).unwrap();
    let target = PostgresTarget { url: theirs.into(), role: None, connections: 1 };
    Db::postgres(&target, &THINGS).await.unwrap().ping().await.unwrap();
}
