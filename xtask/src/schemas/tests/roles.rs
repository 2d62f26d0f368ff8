//! What PostgreSQL itself refuses a domain's role, and databases that are not as the migrations make them.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use super::{find, find_on_both, server, workspace};

const POSTGRES: &str = "migrations/executions/postgres/0001_create.sql";
const SQLITE: &str = "migrations/executions/sqlite/0001_create.sql";
const RUNS: &str = "create table executions.executions (\n    id integer not null primary key\n) strict;\n";
const TWIN_RUNS: &str = "create table executions.executions (\n    id bigint not null primary key\n);\n";

#[test]
fn a_foreign_key_from_executions_to_flows_is_found() {
    let postgres = TWIN_RUNS.replace("primary key", "primary key references flows.flows (id)");
    let sqlite = RUNS.replace("primary key", "primary key references flows.flows (id)");
    let files = [(POSTGRES, postgres.as_str()), (SQLITE, sqlite.as_str())];
    let mut expected =
        vec![(POSTGRES, 2, "foreign-schema"), (SQLITE, 1, "migration-applies"), (SQLITE, 2, "foreign-schema")];
    find(&files, &expected);
    expected.push((POSTGRES, 1, "migration-applies"));
    find_on_both(&files, &expected);
    let added = format!(
        "{TWIN_RUNS}alter table executions.executions add column flow_id bigint;\n\
                         alter table executions.executions\nadd foreign key (flow_id) references flows.flows (id);\n"
    );
    let files = [(POSTGRES, added.as_str()), (SQLITE, RUNS)];
    find(&files, &[(POSTGRES, 6, "foreign-schema")]);
}

#[test]
fn a_table_in_another_schema_is_refused_by_postgresql() {
    let postgres = format!("{TWIN_RUNS}create table flows.stolen (\n    id bigint\n);\n");
    let files = [(POSTGRES, postgres.as_str()), (SQLITE, RUNS)];
    find(&files, &[(POSTGRES, 4, "foreign-schema")]);
    find_on_both(&files, &[(POSTGRES, 4, "foreign-schema"), (POSTGRES, 4, "migration-applies")]);
}

#[test]
fn a_right_for_another_domain_is_found() {
    let grants = format!(
        "{TWIN_RUNS}grant usage on schema executions to public;\ngrant select on executions.executions to public;\n"
    );
    let files = [(POSTGRES, grants.as_str()), (SQLITE, RUNS)];
    let mut expected = vec![(POSTGRES, 4, "statement-kind"), (POSTGRES, 5, "statement-kind")];
    find(&files, &expected);
    expected.push((POSTGRES, 1, "role-isolation"));
    find_on_both(&files, &expected);
}

/// Findings about an installed database that was made by these statements.
fn installed(statements: &str) -> Option<Vec<(String, usize, &'static str)>> {
    let server = server()?;
    let folder = workspace(&[(POSTGRES, TWIN_RUNS), (SQLITE, RUNS)]);
    let name = format!("installed_{:016x}", rand_word());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options: PgConnectOptions = server.parse().unwrap();
    let on = |database: Option<&str>, statement: String| {
        let options = database.map_or(options.clone(), |database| options.clone().database(database));
        runtime.block_on(async {
            let mut connection = options.connect().await.unwrap();
            connection.execute(AssertSqlSafe(statement)).await.unwrap();
            connection.close().await.unwrap();
        });
    };
    on(None, format!("create database {name}"));
    on(Some(&name), statements.replace("ROLE", &name));
    let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
    let findings = super::super::check(folder.path(), Some(server), Some(&url));
    on(None, format!("drop database {name} with (force)"));
    on(None, format!("drop role if exists {name}"));
    let mut found: Vec<_> = findings
        .unwrap()
        .into_iter()
        .map(|finding| (finding.file.display().to_string(), finding.line, finding.rule))
        .collect();
    found.sort();
    Some(found)
}

fn rand_word() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// An installation as it should be: `executions` belongs to a role of its own.
const RIGHT: &str = "create role ROLE nologin; grant ROLE to current_user; create schema executions authorization ROLE; create schema flows;
    set role ROLE; create table executions.executions (id bigint not null primary key);
    create table executions._sqlx_migrations (version bigint primary key); reset role;
    create table flows.flows (id bigint not null primary key, name text not null); create index by_name on flows.flows (name);";

/// The owner of `flows` is the administrator here, who may use everything: that is no finding about `executions`.
fn of_executions(found: Option<Vec<(String, usize, &'static str)>>) -> Option<Vec<(String, usize, &'static str)>> {
    found.map(|found| found.into_iter().filter(|(file, ..)| file == POSTGRES).collect())
}

#[test]
fn a_database_as_the_migrations_make_it_passes() {
    if let Some(found) = of_executions(installed(RIGHT)) {
        assert_eq!(found, []);
    }
}

#[test]
fn what_was_done_to_a_database_by_hand_is_found() {
    let cases: &[(&str, &[(usize, &str)])] = &[
        ("alter table executions.executions add column extra text;", &[(1, "live-catalogue")]),
        (
            "alter table executions.executions alter column id drop default, drop column id;",
            &[(1, "live-catalogue"); 3],
        ),
        ("create index more on executions.executions (id);", &[(1, "live-catalogue")]),
        ("create view executions.v as select id from flows.flows;", &[(1, "live-catalogue")]),
        ("grant usage on schema flows to ROLE;", &[(1, "role-isolation")]),
        (
            "grant usage on schema flows to ROLE; grant select on flows.flows to ROLE;",
            &[(1, "role-isolation"), (1, "role-isolation")],
        ),
    ];
    for (done, expected) in cases {
        let Some(found) = of_executions(installed(&format!("{RIGHT}{done}"))) else { return };
        let found: Vec<_> = found.iter().map(|(_, line, rule)| (*line, *rule)).collect();
        assert_eq!(found.len(), expected.len(), "{done}: {found:?}");
        assert!(found.iter().zip(*expected).all(|(found, expected)| found.1 == expected.1), "{done}: {found:?}");
    }
}

#[test]
fn an_installed_owner_who_may_use_everything_is_found() {
    if let Some(found) = installed(RIGHT) {
        assert!(found.iter().any(|(file, _, rule)| file.contains("/flows/") && *rule == "role-isolation"), "{found:?}");
    }
}
