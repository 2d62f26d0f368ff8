//! What the engines must agree on: tables, columns, what statements take and give.

use super::{MIGRATION, STATEMENT, TWIN, find, find_on_both};

/// Tables that differ, as SQLite and as PostgreSQL make them.
#[track_caller]
fn compare(sqlite: &str, postgres: &str, expected: &[(&str, usize, &str)]) {
    let keep = ("crates/testmesh-storage/sql/find.sql", "select a from flows.t\n");
    let both = |text: &str| text.replace("TABLE", "create table flows.t (\n    a text not null");
    let (sqlite, postgres) = (both(sqlite), both(postgres));
    find_on_both(&[(MIGRATION, &sqlite), (TWIN, &postgres), keep], expected);
}

#[test]
fn equal_tables_pass() {
    compare(
        "TABLE,\n    b blob not null primary key,\n    c blob,\n    d text,\n    e integer,\n    f integer not null,\n    g real,\n    unique (d, e)\n) strict;\n\
         create unique index flows.u on t (lower(a)) where c is null;\n",
        "TABLE,\n    b uuid not null primary key,\n    c bytea,\n    d timestamptz,\n    e bigint,\n    f boolean not null,\n    g double precision,\n    unique (d, e)\n);\n\
         create unique index u on flows.t (lower(a)) where c is null;\n",
        &[],
    );
    compare(
        "TABLE,\n    seq integer primary key autoincrement\n) strict;\n",
        "TABLE,\n    seq bigint generated always as identity primary key\n);\n",
        &[],
    );
}

#[test]
fn a_column_that_only_one_engine_has_is_found() {
    compare("TABLE,\n    b text\n) strict;\n", "TABLE\n);\n", &[(MIGRATION, 3, "dialects-differ")]);
    compare("TABLE\n) strict;\n", "TABLE,\n    b text\n);\n", &[(TWIN, 3, "dialects-differ")]);
    compare(
        "TABLE\n) strict;\n",
        "TABLE\n);\nalter table flows.t\n    add column b text;\n",
        &[(TWIN, 5, "dialects-differ")],
    );
}

#[test]
fn a_table_that_only_one_engine_has_is_found() {
    compare(
        "TABLE\n) strict;\n",
        "TABLE\n);\ncreate table flows.more (\n    id uuid primary key\n);\n",
        &[(TWIN, 4, "dialects-differ")],
    );
}

#[test]
fn other_nullability_types_and_keys_are_found() {
    compare("TABLE,\n    b text\n) strict;\n", "TABLE,\n    b text not null\n);\n", &[(TWIN, 3, "dialects-differ")]);
    compare("TABLE,\n    b text\n) strict;\n", "TABLE,\n    b bigint\n);\n", &[(TWIN, 3, "column-type")]);
    compare("TABLE,\n    b text\n) strict;\n", "TABLE,\n    b varchar(9)\n);\n", &[(TWIN, 3, "column-type")]);
    compare(
        "TABLE,\n    b text not null,\n    primary key (a, b)\n) strict;\n",
        "TABLE,\n    b text not null,\n    primary key (b, a)\n);\n",
        &[(TWIN, 1, "dialects-differ")],
    );
    compare("TABLE unique\n) strict;\n", "TABLE\n);\n", &[(MIGRATION, 1, "dialects-differ")]);
    compare(
        "TABLE\n) strict;\ncreate unique index flows.u on t (a) where a <> '';\n",
        "TABLE\n);\ncreate unique index u on flows.t (a);\n",
        &[(MIGRATION, 1, "dialects-differ"), (TWIN, 1, "dialects-differ")],
    );
}

#[test]
fn a_statement_that_prepares_on_one_engine_alone_is_found() {
    let sqlite_only = "select f.name\nfrom flows.flows f\nwhere instr(f.name, $1) > 0\n";
    find(&[(STATEMENT, sqlite_only)], &[]);
    find_on_both(&[(STATEMENT, sqlite_only)], &[(STATEMENT, 3, "statement-prepares")]);
    let postgres_only = "select f.name from flows.flows f where strpos(f.name, $1) > 0\n";
    find_on_both(&[(STATEMENT, postgres_only)], &[(STATEMENT, 1, "statement-prepares")]);
}

#[test]
fn columns_types_and_parameters_that_differ_are_found() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("select id, name from flows.flows", "select id, name from flows.flows", &[]),
        ("select id from flows.flows", "select id, name from flows.flows", &["statement-columns"]),
        ("select id as one from flows.flows", "select id as two from flows.flows", &["statement-columns"]),
        ("select count(*) from flows.flows", "select count(*) from flows.flows", &["statement-columns"]),
        ("select cast(sum(id) as bigint) as n from flows.flows", "select sum(id) as n from flows.flows", &[]),
        ("select sum(id) as n from flows.flows", "select sum(id) as n from flows.flows", &["statement-types"]),
        ("select 1 as n from flows.flows", "select 1 as n from flows.flows", &["statement-types"]),
        ("select name as n from flows.flows", "select id as n from flows.flows", &["statement-types"]),
        (
            "select id from flows.flows where id = $1",
            "select id from flows.flows where id = $1 or id = $2",
            &["statement-parameters"],
        ),
    ];
    let (postgres, sqlite) =
        ("crates/testmesh-storage/sql/other.postgres.sql", "crates/testmesh-storage/sql/other.sqlite.sql");
    for (left, right, rules) in cases {
        let expected: Vec<_> = rules.iter().map(|rule| (postgres, 1, *rule)).collect();
        find_on_both(&[(postgres, left), (sqlite, right)], &expected);
    }
}

#[test]
fn a_statement_without_its_pair_is_found() {
    let lone = "crates/testmesh-storage/sql/other.sqlite.sql";
    let statement = "select id from flows.flows\n";
    find(&[(lone, statement)], &[(lone, 1, "statement-pair")]);
    let wrong = format!("-- Only on PostgreSQL: of the other one\n{statement}");
    find(&[(lone, &wrong)], &[(lone, 1, "statement-pair")]);
    let excused = format!("-- Only on SQLite: its files need it\n{statement}");
    find(&[(lone, &excused)], &[]);
    let both = "crates/testmesh-storage/sql/other.sql";
    find(&[(lone, statement), (both, statement)], &[(lone, 1, "statement-pair")]);
}
