//! Every rule, broken once.

use crate::workspace::fixture;

const MIGRATION: &str = "migrations/flows/sqlite/0001_create.sql";
const STATEMENT: &str = "crates/testmesh-storage/sql/find.sql";
const SOURCE: &str = "crates/testmesh-storage/src/lib.rs";
const TABLES: &str = "create table flows.flows (id integer primary key, name text not null) strict;\n\
                      create index flows.by_name on flows (name);\n";
const USES_IT: &str = "//! x\nconst FIND: &str = include_str!(\"../sql/find.sql\");\n";

/// Checks a workspace of these files on top of a right one.
#[track_caller]
fn find(files: &[(&str, &str)], expected: &[(&str, usize, &str)]) {
    let mut all =
        vec![(MIGRATION, TABLES), (STATEMENT, "select name from flows.flows where id = $1\n"), (SOURCE, USES_IT)];
    all.retain(|(path, _)| files.iter().all(|(other, _)| path != other));
    all.extend_from_slice(files);
    let folder = fixture::folder(&all);
    super::migrations::bless(folder.path(), &mut Vec::new()).unwrap();
    let mut findings = super::check(folder.path()).unwrap();
    findings.sort();
    let found: Vec<_> =
        findings.iter().map(|finding| (finding.file.to_str().unwrap(), finding.line, finding.rule)).collect();
    assert_eq!(found, expected);
}

#[test]
fn statements_of_the_own_schema_pass() {
    let statements = [
        "select f.name from flows.flows f join json_each($1) wanted on wanted.value = f.name\n",
        "with newest as (select id from flows.flows) select id from newest\n",
        "insert into flows.flows (id, name) values ($1, $2) on conflict (id) do update set name = excluded.name returning id\n",
        "update flows.flows set name = $2 where id = $1\n",
        "-- Upper Case in a comment\ndelete from flows.flows where name = 'Upper'\n",
        "select count(*) from flows.flows\n",
    ];
    for statement in statements {
        find(&[(STATEMENT, statement)], &[]);
    }
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
fn a_table_without_schema_is_found() {
    find(&[(STATEMENT, "update flows set name = $1\n")], &[(STATEMENT, 1, "foreign-schema")]);
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
    let cases: &[(&str, &[(usize, &str)])] = &[
        ("alter table flows.flows add column tags text;\n", &[]),
        ("update flows.flows set name = trim(name);\n", &[]),
        ("create table flows.other (id blob primary key) strict, without rowid;\n", &[]),
        ("create table flows.other (id blob primary key) without rowid, strict;\n", &[]),
        ("create table executions.other (id integer);\n", &[(1, "foreign-schema"), (1, "migration-applies")]),
        ("create table other (id integer);\n", &[(1, "foreign-schema")]),
        ("create index flows_more on flows (id);\n", &[(1, "foreign-schema"), (1, "migration-applies")]),
        ("drop table executions.jobs;\n", &[(1, "foreign-schema"), (1, "migration-applies")]),
        (
            "create table flows.other (\nid integer references executions.executions (id));\n",
            &[(1, "migration-applies"), (2, "foreign-schema")],
        ),
        ("create view flows.names as select name from flows.flows;\n", &[(1, "statement-kind")]),
        ("create trigger flows.gone after delete on flows begin select 1; end;\n", &[(1, "statement-kind")]),
    ];
    for (migration, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|(line, rule)| (second, *line, *rule)).collect();
        find(&[(second, migration)], &expected);
    }
}

#[test]
fn a_migration_out_of_order_or_place_is_found() {
    let third = "migrations/flows/sqlite/0003_more.sql";
    find(&[(third, "drop index flows.by_name;\n")], &[(third, 1, "migration-number")]);
    let stray = "migrations/users/sqlite/0001_create.sql";
    find(&[(stray, "create table users.users (id integer);\n")], &[(stray, 1, "migration-place")]);
}

#[test]
fn a_released_migration_never_changes() {
    let folder = fixture::folder(&[(MIGRATION, TABLES)]);
    let rules = || {
        let findings = super::check(folder.path()).unwrap();
        findings.iter().map(|finding| finding.rule).collect::<Vec<_>>()
    };
    assert_eq!(rules(), ["unrecorded-migration"]);
    super::migrations::bless(folder.path(), &mut Vec::new()).unwrap();
    assert_eq!(rules(), [""; 0]);

    std::fs::write(folder.path().join(MIGRATION), TABLES.replace("strict", "strict, without rowid")).unwrap();
    super::migrations::bless(folder.path(), &mut Vec::new()).unwrap();
    assert_eq!(rules(), ["released-migration"], "recording again does not excuse the change");

    std::fs::remove_file(folder.path().join(MIGRATION)).unwrap();
    assert_eq!(rules(), ["released-migration"]);
}

#[test]
fn sql_in_the_code_and_statements_that_nothing_runs_are_found() {
    let inline = "//! x\nconst FIND: &str = include_str!(\"../sql/find.sql\");\nfn f() {\n    sqlx::query(\"select 1\");\n\
                  \x20   sqlx::query_as(include_str!(\"../sql/find.sql\"));\n    on_db!(db, e => sqlx::raw_sql(&format!(\"x\")));\n}\n\
                  mod tests { fn f() { sqlx::query(\"select 1\"); } }\n";
    find(&[(SOURCE, inline)], &[(SOURCE, 4, "sql-in-code"), (SOURCE, 6, "sql-in-code")]);
    let other = "crates/testmesh-storage/sql/other.sql";
    find(&[(other, "select id from flows.flows\n")], &[(other, 1, "unused-statement")]);
}

#[test]
fn a_crate_without_a_schema_names_no_table() {
    let stray = "crates/testmesh-shared/src/db/ping.sql";
    find(&[(stray, "select 1\n")], &[]);
    find(&[(stray, "select id from flows.flows\n")], &[(stray, 1, "foreign-schema")]);
}
