//! A database in use, against what the migrations make: the same objects in each schema, and each for its own role.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::catalogue::{Origin, Place};
use super::engine::Engine;
use super::postgres::{self, Inspected, Objects};
use super::prepare::Work;
use crate::finding::{Finding, Rule};
use crate::workspace::Failure;

const LIVE: Rule = Rule {
    name: "live-catalogue",
    reason: "a release runs on what its migrations make; what was changed by hand is found when it fails",
    remedy: "bring the database to what the migrations make: `testmesh-server migrate`, and undo what was done by hand",
};

/// Compares the database at `url` with what the migrations made elsewhere.
pub(super) async fn check(url: &str, work: &[Work<'_>], inspected: &Inspected) -> Result<Vec<Finding>, Failure> {
    let options: PgConnectOptions = url.parse()?;
    let mut connection = options
        .disable_statement_logging()
        .connect()
        .await
        .map_err(|error| format!("connect to the database: {error}"))?;
    let mut findings = Vec::new();
    for one in work.iter().filter(|work| !work.schema.is_empty()) {
        let Some(expected) = inspected.objects.get(one.schema) else { continue };
        let found = postgres::objects(&mut connection, one.schema).await?;
        findings.extend(compare(one, expected, &found));
        findings.extend(reaches(&mut connection, one, work).await?);
    }
    connection.close().await?;
    Ok(findings)
}

async fn reaches(connection: &mut PgConnection, one: &Work<'_>, work: &[Work<'_>]) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for other in work.iter().filter(|other| !other.schema.is_empty() && other.schema != one.schema) {
        for (owner, name) in postgres::reach(connection, one.schema, other.schema).await? {
            findings.push(postgres::reached(one, &owner, &name));
        }
    }
    Ok(findings)
}

fn compare(work: &Work<'_>, expected: &Objects, found: &Objects) -> Vec<Finding> {
    let origin = Origin { root: work.root, schema: work.schema, postgres: &work.migrations, sqlite: &[] };
    let (expected, found): (BTreeSet<_>, BTreeSet<_>) = (expected.iter().collect(), found.iter().collect());
    let finding = |(owner, what): &&(String, String), where_it_is: &str| {
        let column = what.strip_prefix("column ").and_then(|rest| rest.split(' ').next());
        let message = format!("`{}.{owner}`: {what}: {where_it_is}", work.schema);
        origin.found(Engine::Postgres, &LIVE, Place { table: owner, column }, message)
    };
    let missing = expected.difference(&found).map(|object| finding(object, "not in the database"));
    let extra = found.difference(&expected).map(|object| finding(object, "in the database, and no migration makes it"));
    missing.chain(extra).collect()
}
