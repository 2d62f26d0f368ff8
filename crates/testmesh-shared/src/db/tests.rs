//! Opening a schema: migrations, refusals, the lock on the folder.

use sqlx::Row;

use super::*;

const FIRST: Migration = Migration { version: 1, name: "create", sql: "create table things.names (name text) strict" };
const SECOND: Migration =
    Migration { version: 2, name: "index", sql: "create unique index things.names_name on names (name)" };

fn schema(sqlite: &'static [Migration]) -> Schema {
    Schema { name: "things", postgres: &[], sqlite }
}

const EDITED: Migration = Migration { sql: "create table things.names (title text)", ..FIRST };
const BROKEN: Migration =
    Migration { version: 2, name: "broken", sql: "create table things.half (a text); create table nonsense" };
const BREAKING: Migration =
    Migration { version: 1_001, name: "rename", sql: "alter table things.names rename column name to title" };

async fn open(folder: &DataFolder, migrations: &'static [Migration]) -> Result<Db, DbError> {
    Db::embedded(folder, &schema(migrations)).await
}

async fn write(db: &Db, name: &str) -> Result<(), sqlx::Error> {
    on_db!(db, engine => {
        let mut tx = engine.begin().await?;
        sqlx::query("insert into things.names (name) values ($1)").bind(name).execute(&mut *tx).await?;
        tx.commit().await
    })
}

async fn count(db: &Db) -> i64 {
    on_db!(db, engine => sqlx::query("select count(*) from things.names").fetch_one(engine.reader()).await.unwrap().get(0))
}

#[tokio::test]
async fn rows_survive_reopening_with_newer_migrations() {
    let dir = tempfile::tempdir().unwrap();
    {
        let folder = DataFolder::take(dir.path()).unwrap();
        let db = open(&folder, &[FIRST]).await.unwrap();
        write(&db, "a").await.unwrap();
        db.close().await;
    }
    let folder = DataFolder::take(dir.path()).unwrap();
    let db = open(&folder, &[FIRST, SECOND]).await.unwrap();
    db.ping().await.unwrap();
    assert_eq!(count(&db).await, 1);
    let error = write(&db, "a").await.unwrap_err();
    assert!(error.as_database_error().unwrap().is_unique_violation(), "{error}");
}

/// Ends a transaction behind the driver's back, as SQLite does when the disk is full.
async fn lose_a_transaction(db: &Db) -> Result<(), sqlx::Error> {
    on_db!(db, engine => {
        let mut tx = engine.begin().await?;
        sqlx::query("rollback").execute(&mut *tx).await?;
        tx.commit().await
    })
}

#[tokio::test]
async fn the_next_write_works_after_a_transaction_that_the_database_ended_itself() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::take(dir.path()).unwrap();
    let db = open(&folder, &[FIRST]).await.unwrap();
    assert!(lose_a_transaction(&db).await.is_err());
    write(&db, "a").await.unwrap();
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn release_works_on_a_database_to_which_a_newer_one_has_added() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::take(dir.path()).unwrap();
    open(&folder, &[FIRST, SECOND]).await.unwrap().close().await;
    let older = open(&folder, &[FIRST]).await.unwrap();
    write(&older, "a").await.unwrap();
    older.close().await;
    let newer = open(&folder, &[FIRST, SECOND]).await.unwrap();
    assert_eq!(count(&newer).await, 1);
    assert!(write(&newer, "a").await.is_err(), "what the newer one added is still there");
}

#[tokio::test]
async fn database_that_a_newer_release_has_changed_for_good_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::take(dir.path()).unwrap();
    open(&folder, &[FIRST, SECOND, BREAKING]).await.unwrap().close().await;
    let error = open(&folder, &[FIRST, SECOND]).await.unwrap_err();
    assert!(matches!(error, DbError::Newer { found: 1_001, known: 2, .. }), "{error:?}");
    assert!(error.to_string().contains("newer release"), "{error}");
}

#[tokio::test]
async fn database_with_an_older_migration_that_nobody_knows_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::take(dir.path()).unwrap();
    open(&folder, &[FIRST, SECOND, BREAKING]).await.unwrap().close().await;
    let error = open(&folder, &[FIRST, BREAKING]).await.unwrap_err();
    assert!(matches!(error, DbError::Newer { found: 2, known: 1_001, .. }), "{error:?}");
}

#[tokio::test]
async fn edited_migration_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::take(dir.path()).unwrap();
    open(&folder, &[FIRST]).await.unwrap().close().await;
    let error = open(&folder, &[EDITED]).await.unwrap_err();
    assert!(matches!(error, DbError::Edited { version: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn failing_migration_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::take(dir.path()).unwrap();
    let error = open(&folder, &[FIRST, BROKEN]).await.unwrap_err();
    assert!(matches!(error, DbError::Migrate { .. }), "{error:?}");
    let db = open(&folder, &[FIRST]).await.unwrap();
    let tables: i64 = on_db!(&db, engine => {
        sqlx::query_scalar("select count(*) from things.sqlite_master where name = 'half'").fetch_one(engine.reader()).await
    })
    .unwrap();
    assert_eq!(tables, 0);
}

#[tokio::test]
async fn file_that_is_no_database_is_named_in_the_error() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("things.db"), "not a database, and longer than the header of one".repeat(20))
        .unwrap();
    let folder = DataFolder::take(dir.path()).unwrap();
    let error = open(&folder, &[FIRST]).await.unwrap_err();
    assert!(matches!(error, DbError::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("things.db"), "{error}");
}

#[tokio::test]
async fn readers_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::take(dir.path()).unwrap();
    let db = open(&folder, &[FIRST]).await.unwrap();
    let error = on_db!(&db, engine => sqlx::query("insert into things.names (name) values ('a')").execute(engine.reader()).await.map(|_| ()))
        .unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
}

#[tokio::test]
async fn writers_queue_up_instead_of_failing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::take(dir.path()).unwrap();
    let db = open(&folder, &[FIRST]).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let db = db.clone();
        tasks.spawn(async move {
            for turn in 0..20 {
                write(&db, &format!("{task}-{turn}")).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(count(&db).await, 160);
}

#[test]
fn second_server_on_a_folder_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let first = DataFolder::take(dir.path()).unwrap();
    let error = DataFolder::take(dir.path()).unwrap_err();
    assert!(matches!(error, DbError::FolderInUse { .. }), "{error:?}");
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    drop(first);
    DataFolder::take(dir.path()).unwrap();
}

#[test]
fn text_order_of_stamps_is_time_order() {
    let texts =
        ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000001Z", "2026-01-31T12:00:00.5Z", "2026-01-31T12:00:01Z"]
            .map(|text| Stamp(text.parse().unwrap()).text());
    assert!(texts.is_sorted(), "{texts:?}");
    assert!(texts.iter().all(|text| text.len() == texts[0].len()), "{texts:?}");
}
