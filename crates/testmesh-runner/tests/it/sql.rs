//! `database_query` and `db_poll` in flows, on each database there is: what a statement must give, as data.

use testmesh_runner::files::Files;
use testmesh_runner::record::{ErrorKind, StepRecord, StepStatus};
use testmesh_shared::net::NetPolicy;

use crate::run::{Setting, run_steps, run_steps_in};

/// A kind of database and a URL of one that may be filled.
struct Server {
    kind: &'static str,
    url: String,
}

/// The databases that the environment names, and SQLite.
async fn servers() -> Vec<Server> {
    let mut servers = vec![Server { kind: "sqlite", url: "sqlite::memory:".to_owned() }];
    if let Some(url) = testmesh_shared::db::testing::postgres_database(&[]).await {
        servers.push(Server { kind: "postgres", url });
    }
    if let Some(url) = crate::run::named_server("TESTMESH_TEST_MYSQL", "MySQL") {
        servers.push(Server { kind: "mysql", url });
    }
    servers
}

async fn run(url: &str, steps: &str) -> Vec<StepRecord> {
    run_steps(&steps.replace("DB", url)).await
}

fn passed(case: &str, records: &[StepRecord]) {
    for record in records {
        assert_eq!(record.status, StepStatus::Passed, "{case}: {record:#?}");
    }
}

#[tokio::test]
async fn statements_give_rows_typed_by_their_columns() {
    for server in servers().await {
        let (id, json) = match server.kind {
            "postgres" => ("serial primary key", "jsonb"),
            "mysql" => ("integer auto_increment primary key", "varchar(100)"),
            _ => ("integer primary key", "text"),
        };
        let steps = format!(
            r#"
- action: database_query
  config: {{connection: "DB", query: "drop table if exists typed; create table typed (id {id}, name varchar(50), price numeric(10,2), size double precision, doc {json}, gone text)"}}
- id: insert
  action: database_query
  config:
    connection: "DB"
    query: "insert into typed (name, price, size, doc) values ($1, $2, $3, $4), (?, ?, ?, ?)"
    params: ["00123", 40.5, 1.5, {{a: [1]}}]
  on_error: continue
- id: insert_two
  action: database_query
  config:
    connection: "DB"
    query: "insert into typed (name, price, size, doc) values ($1, $2, $3, $4)"
    params: ["00123", "40.50", 1.5, {{a: [1]}}]
  assert: [rows_affected == 1, row_count == 0, first_row is null]
- id: select
  action: database_query
  config: {{connection: "DB", query: "select id, name, price, size, gone from typed where name = ?", params: ["00123"]}}
  assert:
    - row_count == 1
    - rows[0].id == 1
    - first_row.name is string
    - first_row.name == "00123"
    - first_row.price == 40.50
    - first_row.size == 1.5
    - first_row.gone is null
    - columns[1].name == "name"
    - error is null
  output:
    name: $.rows[0].name
"#
        );
        let records = run(&server.url, &steps).await;
        assert_eq!(records[1].status, StepStatus::Tolerated, "{}: parameters written in two ways", server.kind);
        passed(server.kind, &records[2..]);
    }
}

#[tokio::test]
async fn postgres_values_keep_their_exact_form() {
    let Some(url) = testmesh_shared::db::testing::postgres_database(&[]).await else { return };
    let steps = r#"
- action: database_query
  config:
    connection: "DB"
    query: >
      select true as yes, 9007199254740993::bigint as big, 12345678901234567890.123456789::numeric as exact,
      '{"a": {"b": [1, 2]}}'::jsonb as doc, array['x', null, 'y z'] as list, '2026-11-24T06:10:23.5+02'::timestamptz as at,
      date '2026-11-24' as day, '6f1b7e0e-58a5-4a2b-9d5e-0a5f0a3c1a11'::uuid as key, '\x00ff'::bytea as bytes
  assert:
    - first_row.yes == true
    - first_row.big == 9007199254740993
    - string(first_row.exact) == "12345678901234567890.123456789"
    - first_row.doc.a.b[1] == 2
    - len(first_row.list) == 3
    - first_row.list[2] == "y z"
    - first_row.at == "2026-11-24T04:10:23.5Z"
    - first_row.day == "2026-11-24"
    - first_row.key == "6f1b7e0e-58a5-4a2b-9d5e-0a5f0a3c1a11"
- action: database_query
  config: {connection: "DB", query: "select $1::uuid as key, $2::int + 1 as next, $3 = any($4::text[]) as there", params: ["6f1b7e0e-58a5-4a2b-9d5e-0a5f0a3c1a11", "41", b, [a, b]]}
  assert: [first_row.next == 42, first_row.there == true]
- action: database_query
  config: {connection: "DB", query: "with x as (select 1 as n) select * from x; show server_version; create table later (n int); insert into later values (1), (2) returning n"}
  assert: [row_count == 2, rows_affected == 2, "rows[1].n == 2"]
"#;
    passed("postgres", &run(&url, steps).await);
}

/// Statements that come again are kept by the server, parsed.
#[tokio::test]
async fn postgres_statements_that_come_again_see_what_changed_meanwhile() {
    let Some(url) = testmesh_shared::db::testing::postgres_database(&[]).await else { return };
    let insert = |value: &str, assert: &str| {
        format!(
            "- action: database_query\n  config: {{connection: DB, query: insert into kept values ($1) returning n, params: [{value}]}}\n  \
             assert: [{assert}]\n"
        )
    };
    let select = |params: &str, assert: &str| {
        format!(
            "- action: database_query\n  config: {{connection: DB, query: \"select * from kept where n = any($1)\", params: [{params}]}}\n  \
             assert: [{assert}]\n"
        )
    };
    let plainly = |query: &str| format!("- action: database_query\n  config: {{connection: DB, query: \"{query}\"}}\n");
    let steps = [
        plainly("create table kept (n int)"),
        (1..5).map(|number| insert(&number.to_string(), &format!("first_row.n == {number}"))).collect(),
        (1..5).map(|number| select(&format!("[{number}, 7]"), &format!("first_row.n == {number}"))).collect(),
        // Another type, for the parameter and in the result.
        plainly("alter table kept alter column n type text"),
        insert("abc", "first_row.n == 'abc'"),
        (1..4).map(|_| select("[abc, x]", "row_count == 1, first_row.n == 'abc'")).collect(),
        // Another column.
        plainly("alter table kept add column more int default 9"),
        (1..4).map(|_| select("[abc]", "first_row.more == 9")).collect(),
        // Nothing is kept any more.
        plainly("deallocate all"),
        (1..4).map(|_| select("[abc]", "first_row.more == 9")).collect(),
        // Another table.
        plainly("drop table kept; create table kept (n bool)"),
        (1..4).map(|_| insert("true", "first_row.n == true")).collect(),
        // No rows, and a refusal that stays one.
        (1..4).map(|_| select("[false]", "row_count == 0, len(columns) == 1")).collect(),
        (1..4).map(|_| insert("maybe", "error.code == '22P02'")).collect(),
        insert("false", "first_row.n == false"),
        plainly("begin"),
        insert("false", "first_row.n == false"),
        plainly("rollback"),
    ];
    passed("postgres", &run(&url, &steps.concat()).await);
    let wrong = plainly("create table kept (n int)").replace("kept", "counted");
    let counted = |params: &str| {
        format!(
            "- action: database_query\n  config: {{connection: DB, query: insert into counted values ($1), params: [{params}]}}\n"
        )
    };
    let records = run(&url, &[wrong, counted("1").repeat(3), counted("1, 2")].concat()).await;
    let error = records[4].error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("uses 1 parameter, `params` gives 2"), "{}", error.message);
}

#[tokio::test]
async fn a_refusal_fails_the_step_unless_an_assertion_is_about_it() {
    for server in servers().await {
        let steps = r#"
- action: database_query
  config: {connection: "DB", query: "drop table if exists once; create table once (n integer primary key); insert into once values (1)"}
- id: silent
  action: database_query
  config: {connection: "DB", query: "insert into once values (1)"}
- id: judged
  action: database_query
  config: {connection: "DB", query: "insert into once values (1)"}
  assert: [error is not null, len(error.message) > 0]
- id: all_or_nothing
  action: database_query
  config: {connection: "DB", query: "insert into once values (2); insert into once values (1)", transaction: true}
  assert: [error is not null]
- id: count
  action: database_query
  config: {connection: "DB", query: "select count(*) as n from once"}
  assert: [first_row.n == 1]
"#;
        let records = run(&server.url, steps).await;
        let error = records[1].error.clone().unwrap();
        assert_eq!(
            (records[1].status, error.kind),
            (StepStatus::Error, ErrorKind::Protocol),
            "{}: {error:?}",
            server.kind
        );
        assert!(!error.message.contains("secret"), "{}", error.message);
        passed(server.kind, &records[2..]);
    }
}

#[tokio::test]
async fn more_rows_than_allowed_are_an_error() {
    for server in servers().await {
        let steps = "- action: database_query\n  config: {connection: \"DB\", query: \"select 1 as n union all select 2\", max_rows: 1}\n\
                     - action: database_query\n  config: {connection: \"DB\", query: \"select 1 as n union all select 2\", max_rows: 2}\n  \
                     assert: [row_count == 2]\n";
        let records = run(&server.url, steps).await;
        let error = records[0].error.clone().unwrap();
        assert!(error.message.contains("more than 1 rows"), "{}: {}", server.kind, error.message);
        passed(server.kind, &records[1..]);
    }
}

#[tokio::test]
async fn a_time_out_ends_the_statement_and_the_next_step_has_a_connection() {
    for server in servers().await {
        let slow = match server.kind {
            "postgres" => "select pg_sleep(60)",
            "mysql" => "select sleep(60)",
            _ => continue,
        };
        let steps = format!(
            "- action: database_query\n  config: {{connection: \"DB\", query: \"{slow}\", timeout: 200ms}}\n\
             - action: database_query\n  config: {{connection: \"DB\", query: \"select 7 as n\"}}\n  assert: [first_row.n == 7]\n"
        );
        let records = run(&server.url, &steps).await;
        let error = records[0].error.clone().unwrap();
        assert_eq!(error.kind, ErrorKind::Timeout, "{}: {}", server.kind, error.message);
        assert!(records[0].duration_ms < 10_000, "{}", server.kind);
        passed(server.kind, &records[1..]);
    }
}

#[tokio::test]
async fn polling_waits_for_a_row_or_says_what_it_saw_last() {
    for server in servers().await {
        let steps = r#"
- action: database_query
  config: {connection: "DB", query: "drop table if exists slow_order; create table slow_order (state varchar(20))"}
- id: together
  action: parallel
  config:
    branches:
      - name: waits
        steps:
          - id: wait
            action: db_poll
            config: {connection: "POLL", query: "select state from slow_order", condition: 'first_row.state == "paid"', interval: 20ms, timeout: 20s}
            assert: [success == true, attempts >= 1, first_row.state == "paid"]
      - name: pays
        steps:
          - action: database_query
            config: {connection: "DB", query: "insert into slow_order values ('paid')"}
- id: never
  action: db_poll
  config: {connection: "DB", query: "select state from slow_order where state = 'lost'", interval: 20ms, timeout: 100ms}
- id: wrong
  action: db_poll
  config: {connection: "DB", query: "selec state", interval: 20ms, timeout: 20s}
"#;
        if server.kind == "sqlite" {
            // Memory belongs to one connection, and two steps at a time have two.
            continue;
        }
        let records = run(&server.url, &steps.replace("POLL", "DB")).await;
        let by_id = |id: &str| records.iter().find(|record| record.id == id).unwrap();
        assert_eq!(by_id("wait").status, StepStatus::Passed, "{}: {records:#?}", server.kind);
        let never = by_id("never").error.clone().unwrap();
        assert_eq!(never.kind, ErrorKind::Timeout);
        assert!(never.message.contains("there is no row"), "{}", never.message);
        assert_eq!(by_id("wrong").error.clone().unwrap().kind, ErrorKind::Protocol, "{:?}", by_id("wrong").error);
    }
}

#[tokio::test]
async fn polling_waits_for_as_many_rows_as_are_wanted() {
    for server in servers().await {
        let steps = r#"
- id: enough
  action: db_poll
  config: {connection: "DB", query: "select 1 as n union all select 2", expected_rows: 2, poll_interval: 20ms, timeout: 20s}
  assert: [row_count == 2, attempts == 1]
- id: too_few
  action: db_poll
  config: {connection: "DB", query: "select 1 as n", min_rows: 2, interval: 20ms, timeout: 100ms}
  on_error: continue
- id: too_few_for_both
  action: db_poll
  config: {connection: "DB", query: "select 1 as n", min_rows: 2, condition: first_row.n == 1, interval: 20ms, timeout: 100ms}
  on_error: continue
- id: none_at_all
  action: db_poll
  config: {connection: "DB", query: "select 1 as n", min_rows: 0, condition: row_count == 1, interval: 20ms, timeout: 20s}
"#;
        let records = run(&server.url, steps).await;
        passed(server.kind, &[records[0].clone(), records[3].clone()]);
        for record in &records[1..3] {
            let error = record.error.clone().unwrap();
            assert_eq!(error.kind, ErrorKind::Timeout, "{}", server.kind);
            assert!(error.message.contains("1 of 2 rows"), "{}: {}", server.kind, error.message);
        }
    }
}

#[tokio::test]
async fn trouble_names_the_target_without_its_password() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, kind, expected) in [
        (format!("postgres://me:secret@{unused}/x"), ErrorKind::Connection, "postgres://me@127.0.0.1"),
        (format!("mysql://me:secret@{unused}/x"), ErrorKind::Connection, "mysql://me@127.0.0.1"),
        ("oracle://me:secret@db/x".to_owned(), ErrorKind::Config, "`connection` takes"),
        ("sqlite:missing.db".to_owned(), ErrorKind::Config, "missing.db"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { base: folder.path().into(), root: None, enabled: true };
        let steps = format!("- action: database_query\n  config: {{connection: \"{url}\", query: select 1}}\n");
        let records = run_steps_in(&steps, Setting { files, ..Setting::default() }).await;
        let error = records[0].error.clone().unwrap();
        assert_eq!(error.kind, kind, "{url}: {}", error.message);
        assert!(error.message.contains(expected), "{url}: {}", error.message);
        assert!(!error.message.contains("secret"), "{}", error.message);
    }
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    for (variable, name) in [("TESTMESH_TEST_MYSQL", "MySQL")] {
        let Some(url) = crate::run::named_server(variable, name) else { continue };
        let steps = format!(
            "- action: database_query\n  config: {{connection: \"{}\", query: select 1}}\n",
            url.replace("secret", "wrong")
        );
        let error = run_steps(&steps).await[0].error.clone().unwrap();
        assert_eq!(error.kind, ErrorKind::Connection);
        assert!(error.message.contains("Access denied"), "{}", error.message);
    }
}

#[tokio::test]
async fn files_and_addresses_obey_the_policies() {
    let policy = || NetPolicy::server(&["127.0.0.1:5432".parse().unwrap()]);
    for (url, kind) in [
        ("postgres://me@127.0.0.1:5432/x", ErrorKind::Policy),
        ("mysql://me@127.0.0.1:5432/x", ErrorKind::Policy),
        ("sqlite:some.db", ErrorKind::Config),
    ] {
        let steps = format!("- action: database_query\n  config: {{connection: \"{url}\", query: select 1}}\n");
        let setting = Setting { policy: policy(), ..Setting::default() };
        assert_eq!(run_steps_in(&steps, setting).await[0].error.clone().unwrap().kind, kind, "{url}");
    }
}

#[tokio::test]
async fn an_sqlite_file_is_made_when_the_url_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let files = || Files { base: folder.path().into(), root: None, enabled: true };
    let steps = "- action: database_query\n  config: {connection: \"sqlite:new.db?mode=rwc\", query: \"create table t (n int); insert into t values (3)\"}\n\
                 - action: database_query\n  config: {connection: \"sqlite:new.db?mode=ro\", query: \"select n from t\"}\n  assert: [first_row.n == 3]\n";
    passed("sqlite", &run_steps_in(steps, Setting { files: files(), ..Setting::default() }).await);
    assert!(folder.path().join("new.db").is_file());
}
