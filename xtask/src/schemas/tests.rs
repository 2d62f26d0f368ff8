//! Every rule, broken once: by the files alone and on SQLite, and what needs it on a PostgreSQL server.

mod dialects;
mod roles;

use std::sync::OnceLock;

use tempfile::TempDir;

use crate::services::{Missing, Postgres, Services, Wanted};
use crate::suite::databases;
use crate::workspace::fixture;

const MIGRATION: &str = "migrations/flows/sqlite/0001_create.sql";
const TWIN: &str = "migrations/flows/postgres/0001_create.sql";
const STATEMENT: &str = "crates/testmesh-storage/sql/find.sql";
const SOURCE: &str = "crates/testmesh-storage/src/lib.rs";
const TABLES: &str = "create table flows.flows (id integer not null primary key, name text not null) strict;\n\
                      create index flows.by_name on flows (name);\n";
const TWIN_TABLES: &str = "create table flows.flows (id bigint not null primary key, name text not null);\n\
                           create index by_name on flows.flows (name);\n";

/// A workspace of these files on top of a right one. The crates' sources name every statement and migration, unless one
/// is among the files.
fn workspace(files: &[(&str, &str)]) -> TempDir {
    let mut all =
        vec![(MIGRATION, TABLES), (TWIN, TWIN_TABLES), (STATEMENT, "select name from flows.flows where id = $1\n")];
    all.retain(|(path, _)| files.iter().all(|(other, _)| path != other));
    all.extend_from_slice(files);
    let mut sources = Vec::new();
    for (name, schema) in [("storage", "flows"), ("runner", "executions")] {
        let source = format!("crates/testmesh-{name}/src/lib.rs");
        let (sql, history) = (format!("crates/testmesh-{name}/sql"), format!("migrations/{schema}"));
        let of_it = all.iter().filter(|(path, _)| path.starts_with(&sql) || path.starts_with(&history));
        let lines: Vec<_> =
            of_it.map(|(path, _)| format!("const _: &str = include_str!(\"../../../{path}\");")).collect();
        if !lines.is_empty() && all.iter().all(|(path, _)| *path != source) {
            sources.push((source, format!("//! x\n{}\n", lines.join("\n"))));
        }
    }
    all.extend(sources.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    let folder = fixture::folder(&all);
    super::migrations::bless(folder.path(), &mut Vec::new()).unwrap();
    folder
}

fn find_with(server: Option<&str>, files: &[(&str, &str)], expected: &[(&str, usize, &str)]) {
    let folder = workspace(files);
    let mut findings = super::check(folder.path(), server, None).unwrap();
    findings.sort();
    let found: Vec<_> =
        findings.iter().map(|finding| (finding.file.to_str().unwrap(), finding.line, finding.rule)).collect();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected, "{findings:#?}");
}

/// Checks a workspace without PostgreSQL.
#[track_caller]
fn find(files: &[(&str, &str)], expected: &[(&str, usize, &str)]) {
    find_with(None, files, expected);
}

/// Checks a workspace on both engines, where there is a server.
#[track_caller]
fn find_on_both(files: &[(&str, &str)], expected: &[(&str, usize, &str)]) {
    if let Some(server) = server() {
        find_with(Some(server), files, expected);
    }
}

/// The URL of a server to make databases on, where there is one or can be.
fn server() -> Option<&'static str> {
    static SERVER: OnceLock<Option<(String, Services)>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        if let Some(url) = databases::named(databases::POSTGRES) {
            return Some((url, Services::none()));
        }
        // Ends with this process: the guard sees to it.
        let wanted = Wanted { postgres: true, redis: false, faketime: false, missing: Missing::Skip };
        let services = Services::start(wanted, &mut Vec::new()).unwrap();
        services.postgres.as_ref().map(Postgres::url).map(|url| (url, services))
    });
    if server.is_none() {
        eprintln!("skipped on postgresql: it is not installed");
    }
    server.as_ref().map(|(url, _)| url.as_str())
}

#[test]
fn statements_of_the_own_schema_pass() {
    let statements = [
        "with newest as (select id from flows.flows) select id from newest\n",
        "insert into flows.flows (id, name) values ($1, $2) on conflict (id) do update set name = excluded.name returning id\n",
        "update flows.flows set name = $2 where id = $1\n",
        "-- Upper Case in a comment\ndelete from flows.flows where name = 'Upper'\n",
        "select count(*) as n from flows.flows\n",
    ];
    for statement in statements {
        find(&[(STATEMENT, statement)], &[]);
        find_on_both(&[(STATEMENT, statement)], &[]);
    }
    let batch = [
        (
            "crates/testmesh-storage/sql/add.postgres.sql",
            "insert into flows.flows (id, name)\nselect r.id, r.name\nfrom json_to_recordset(cast($1 as json)) as r (id bigint, name text)\n",
        ),
        (
            "crates/testmesh-storage/sql/add.sqlite.sql",
            "insert into flows.flows (id, name)\nselect value ->> 'id', value ->> 'name'\nfrom json_each($1)\n",
        ),
        (
            "crates/testmesh-storage/sql/take.postgres.sql",
            "-- Only on PostgreSQL: SQLite has one process.\nselect f.id from flows.flows f where f.name = any($1) for update skip locked\n",
        ),
    ];
    find(&batch, &[]);
    find_on_both(&batch, &[]);
}

#[test]
fn a_table_of_another_schema_is_found() {
    for statement in [
        "select id\nfrom executions.executions\n",
        "select id from flows.flows where id in (\nselect id from scheduler.jobs)\n",
        "insert into flows.flows (id, name)\nselect id, name from executions.executions\n",
        "with recent as (select id from flows.flows)\nselect id from recent join executions.executions using (id)\n",
    ] {
        find(&[(STATEMENT, statement)], &[(STATEMENT, 1, "statement-prepares"), (STATEMENT, 2, "foreign-schema")]);
    }
}

#[test]
fn a_job_that_the_runner_reads_is_found_by_parser_and_databases() {
    let statement = "crates/testmesh-runner/sql/find_job.sql";
    let jobs = "create table scheduler.jobs (id integer not null primary key) strict;\n";
    let files = [
        (statement, "select id\nfrom scheduler.jobs\nwhere id = $1\n"),
        ("migrations/scheduler/sqlite/0001_create.sql", jobs),
        (
            "migrations/scheduler/postgres/0001_create.sql",
            "create table scheduler.jobs (id bigint not null primary key);\n",
        ),
        (
            "crates/testmesh-scheduler/src/lib.rs",
            "//! x\nconst _: [&str; 2] = [\"../migrations/scheduler/sqlite/0001_create.sql\", \"../migrations/scheduler/postgres/0001_create.sql\"];\n",
        ),
    ];
    find(&files, &[(statement, 1, "statement-prepares"), (statement, 2, "foreign-schema")]);
    let twice = [
        (statement, 1, "statement-prepares"),
        (statement, 2, "foreign-schema"),
        // PostgreSQL refuses it to the runner's role.
        (statement, 2, "statement-prepares"),
    ];
    find_on_both(&files, &twice);
}

#[test]
fn a_table_without_schema_is_found() {
    find(&[(STATEMENT, "update flows set name = $1\n")], &[(STATEMENT, 1, "foreign-schema")]);
}

#[test]
fn somebody_elses_function_is_found() {
    let statement = "select id from flows.flows\nwhere name = executions.name_of($1)\n";
    find(&[(STATEMENT, statement)], &[(STATEMENT, 1, "statement-prepares"), (STATEMENT, 2, "foreign-schema")]);
}

#[test]
fn habits_of_statements_are_checked() {
    let cases: &[(&str, &[(usize, &str)])] = &[
        ("SELECT name from flows.flows\n", &[(1, "sql-case")]),
        ("select id,\n*\nfrom flows.flows\n", &[(2, "select-star")]),
        ("select f.*\nfrom flows.flows f\n", &[(1, "select-star")]),
        ("select id from flows.flows limit 10\noffset 5\n", &[(2, "offset-page")]),
        ("select id from flows.flows;\nselect name from flows.flows\n", &[(2, "sql-syntax")]),
        ("select from from from\n", &[(1, "sql-syntax"), (1, "statement-prepares")]),
        ("select missing from flows.flows\n", &[(1, "statement-prepares")]),
        ("drop table flows.flows\n", &[(1, "statement-kind")]),
    ];
    for (statement, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|(line, rule)| (STATEMENT, *line, *rule)).collect();
        find(&[(STATEMENT, statement)], &expected);
    }
}

#[test]
fn a_migration_that_leaves_its_schema_is_found() {
    let second = "migrations/flows/sqlite/0002_more.sql";
    let twin = ("migrations/flows/postgres/0002_more.sql", "update flows.flows set name = trim(name);\n");
    let cases: &[(&str, &[(usize, &str)])] = &[
        ("alter table flows.flows add column tags text;\n", &[]),
        ("update flows.flows set name = trim(name);\n", &[]),
        ("create table flows.other (id blob primary key) strict, without rowid;\n", &[]),
        ("create table flows.other (id blob primary key) without rowid, strict;\n", &[]),
        ("create table executions.other (id integer);\n", &[(1, "foreign-schema"), (1, "migration-applies")]),
        ("create table other (id integer);\n", &[(1, "foreign-schema")]),
        ("create index flows_more on flows (id);\n", &[(1, "foreign-schema"), (1, "migration-applies")]),
        ("drop table executions.jobs;\n", &[(1, "foreign-schema"), (1, "migration-adds"), (1, "migration-applies")]),
        (
            "create table flows.other (\nid integer references executions.executions (id));\n",
            &[(1, "migration-applies"), (2, "foreign-schema")],
        ),
        (
            "alter table flows.flows\nadd column x integer references executions.executions (id);\n",
            &[(1, "migration-applies"), (2, "foreign-schema")],
        ),
        ("create view flows.names as select name from flows.flows;\n", &[(1, "statement-kind")]),
        ("create trigger flows.gone after delete on flows begin select 1; end;\n", &[(1, "statement-kind")]),
    ];
    for (migration, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|(line, rule)| (second, *line, *rule)).collect();
        find(&[(second, migration), twin], &expected);
    }
}

#[test]
fn a_migration_that_older_releases_cannot_live_with_is_found() {
    let cases: &[(&str, &[(usize, &str)])] = &[
        ("alter table flows.flows add column tags text not null default '';\n", &[]),
        ("create table flows.other (id integer) strict;\ndrop table flows.other;\n", &[(2, "migration-adds")]),
        (
            "alter table flows.flows add column a text;\nalter table flows.flows rename column a to b;\n",
            &[(2, "migration-adds")],
        ),
        (
            "alter table flows.flows add column a text;\nalter table flows.flows drop column a;\n",
            &[(2, "migration-adds")],
        ),
    ];
    for (migration, expected) in cases {
        for (number, in_generation) in [("0002", true), ("1001", false)] {
            let [path, twin] =
                ["sqlite", "postgres"].map(|engine| format!("migrations/flows/{engine}/{number}_more.sql"));
            let expected: Vec<_> =
                expected.iter().filter(|_| in_generation).map(|(line, rule)| (path.as_str(), *line, *rule)).collect();
            find(&[(&path, migration), (&twin, "update flows.flows set name = trim(name);\n")], &expected);
        }
    }
}

#[test]
fn a_migration_out_of_order_or_place_is_found() {
    let third = "migrations/flows/sqlite/0003_more.sql";
    find(&[(third, "drop index flows.by_name;\n")], &[(third, 1, "migration-number"), (third, 1, "migration-pair")]);
    for stray in ["migrations/users/sqlite/0001_create.sql", "migrations/flows/mysql/0001_create.sql"] {
        find(
            &[(stray, "create table users.users (id integer);\n")],
            &[(stray, 1, "migration-place")].map(|found| found),
        );
    }
}

#[test]
fn a_migration_for_one_engine_alone_is_found() {
    for engine in ["postgres", "sqlite"] {
        let second = format!("migrations/flows/{engine}/0002_more.sql");
        find(&[(&second, "alter table flows.flows add column tags text;\n")], &[(&second, 1, "migration-pair")]);
    }
}

#[test]
fn a_migration_that_the_crate_does_not_list_is_found() {
    let source = "//! x\nconst A: &str = include_str!(\"../sql/find.sql\");\n\
                  const B: &str = include_str!(\"../../../migrations/flows/sqlite/0001_create.sql\");\n";
    find(&[(SOURCE, source)], &[(TWIN, 1, "unlisted-migration")]);
}

#[test]
fn a_released_migration_never_changes() {
    for file in [MIGRATION, TWIN] {
        let folder = workspace(&[]);
        let path = folder.path().join(file);
        let rules = || {
            let findings = super::check(folder.path(), None, None).unwrap();
            findings.iter().map(|finding| finding.rule).collect::<Vec<_>>()
        };
        assert_eq!(rules(), [""; 0]);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("name text not null", "name text")).unwrap();
        assert_eq!(rules(), ["released-migration"]);
        super::migrations::bless(folder.path(), &mut Vec::new()).unwrap();
        assert_eq!(rules(), ["released-migration"], "recording again does not excuse the change");
        std::fs::remove_file(folder.path().join("migrations/released.txt")).unwrap();
        assert_eq!(rules(), ["unrecorded-migration"; 2]);
        std::fs::write(folder.path().join("migrations/released.txt"), format!("00  {file}.gone\n")).unwrap();
        assert_eq!(rules().iter().filter(|rule| **rule == "released-migration").count(), 1, "a released one is gone");
    }
}

#[test]
fn sql_in_the_code_and_statements_that_nothing_runs_are_found() {
    let listed = "const _: &str = include_str!(\"../sql/find.sql\");\n\
                  const _: [&str; 2] = [include_str!(\"../migrations/flows/sqlite/0001_create.sql\"),\n\
                  include_str!(\"../migrations/flows/postgres/0001_create.sql\")];\n";
    let inline = format!(
        "//! x\n{listed}fn f() {{\n    sqlx::query(\"select 1\");\n\
         \x20   sqlx::query_as(include_str!(\"../sql/find.sql\"));\n    on_db!(db, e => sqlx::raw_sql(&format!(\"x\")));\n\
         \x20   sqlx::query(sql!(db, \"../sql/find\"));\n    connection.execute(\"select 1\");\n\
         \x20   AssertSqlSafe(text);\n}}\nmod tests {{ fn f() {{ sqlx::query(\"select 1\"); }} }}\n"
    );
    let lines = [6, 8, 10, 11].map(|line| (SOURCE, line, "sql-in-code"));
    find(&[(SOURCE, &inline)], &lines);
    let bin = "bins/testmesh-server/src/main.rs";
    find(&[(bin, "//! x\nfn f() { sqlx::query(\"select 1\"); }\n")], &[(bin, 2, "sql-in-code")]);
    let other = "crates/testmesh-storage/sql/other.sql";
    let source = format!("//! x\n{listed}");
    find(&[(other, "select id from flows.flows\n"), (SOURCE, &source)], &[(other, 1, "unused-statement")]);
}

#[test]
fn a_function_that_chooses_between_files_is_no_sql_in_the_code() {
    let listed = "const _: [&str; 2] = [include_str!(\"../migrations/flows/sqlite/0001_create.sql\"),\n\
                  include_str!(\"../migrations/flows/postgres/0001_create.sql\")];\n";
    let source = |other: &str| {
        format!(
            "//! x\n{listed}fn f() {{\n    sqlx::query(choose(true));\n}}\n\
             fn choose(a: bool) -> &'static str {{ if a {{ include_str!(\"../sql/find.sql\") }} else {{ {other} }} }}\n"
        )
    };
    find(&[(SOURCE, &source("sql!(db, \"../sql/find\")"))], &[]);
    find(&[(SOURCE, &source("\"select 1\""))], &[(SOURCE, 5, "sql-in-code")]);
}

#[test]
fn an_exception_covers_its_own_statements_and_no_more() {
    let file = "crates/testmesh-shared/src/db/provision.rs";
    let source = "//! x\nfn f() {\n    c.execute(AssertSqlSafe(format!(\"grant {a} to {b}\")));\n    let s = format!(\"create role {a}\");\n\
                  \x20   c.execute(AssertSqlSafe(s));\n    c.execute(AssertSqlSafe(format!(\"drop table {a}\")));\n\
                  \x20   let s = format!(\"select name from {a}\");\n    c.execute(\"delete from x\");\n    format!(\"set of {a}\");\n}\n";
    find(&[(file, source)], &[6, 7, 8, 9].map(|line| (file, line, "sql-in-code")));
}

#[test]
fn a_crate_without_a_schema_names_no_table() {
    let stray = "crates/testmesh-shared/src/db/ping.sql";
    let source = ("crates/testmesh-shared/src/db.rs", "//! x\nconst A: &str = include_str!(\"db/ping.sql\");\n");
    find(&[(stray, "select 1\n"), source], &[]);
    find(
        &[(stray, "select id from flows.flows\n"), source],
        &[(stray, 1, "foreign-schema"), (stray, 1, "statement-prepares")],
    );
    let catalogue = "crates/testmesh-shared/src/db/roles.postgres.sql";
    let source =
        ("crates/testmesh-shared/src/db.rs", "//! x\nconst A: &str = include_str!(\"db/roles.postgres.sql\");\n");
    let files = [(catalogue, "select cast(rolname as text) as name from pg_catalog.pg_roles\n"), source];
    find(&files, &[]);
    find_on_both(&files, &[]);
}
