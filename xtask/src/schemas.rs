//! `cargo xtask schemas`: every statement and every migration stays inside its domain's schema, and works on both engines.
//!
//! Statements are read with a real SQL parser and prepared on real databases with the migrations applied, by a role that
//! owns the domain's schema alone; so what the parser let through would still fail. What the migrations of one engine
//! make is compared with what the other's make.

mod catalogue;
mod engine;
mod installed;
mod migrations;
mod postgres;
mod prepare;
mod source;
mod sqlite;
mod statement;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use self::engine::Engine;
use self::prepare::{Statements, Work};
use crate::finding::{self, Finding};
use crate::services::{Missing, Postgres, Services, Wanted};
use crate::suite::databases;
use crate::workspace::Failure;

/// Each domain that owns a schema.
const DOMAINS: &[Domain] = &[
    Domain { name: "testmesh-runner", schema: "executions" },
    Domain { name: "testmesh-scheduler", schema: "scheduler" },
    Domain { name: "testmesh-storage", schema: "flows" },
];

/// A crate and the schema it owns; a crate without one has the schema `""`.
struct Domain {
    name: &'static str,
    schema: &'static str,
}

/// What to do besides checking.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Record new migrations in migrations/released.txt
    #[arg(long)]
    bless: bool,
    /// Compare this PostgreSQL database with the migrations as well: postgres://user@host/database
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

/// Runs every check; says whether nothing was found. New migrations are recorded as released first if so wished.
pub(crate) fn run(root: &Path, options: &Options, out: &mut dyn Write) -> Result<bool, Failure> {
    if options.bless {
        migrations::bless(root, out)?;
    }
    let named = databases::named(databases::POSTGRES);
    let services = if named.is_some() {
        Services::none()
    } else {
        Services::start(Wanted { postgres: true, redis: false, faketime: false, missing: Missing::Skip }, out)?
    };
    let server = named.or_else(|| services.postgres.as_ref().map(Postgres::url));
    if server.is_none() && options.database.is_some() {
        return Err(format!("there is no server to make what to compare with: {}", services.missing.join("; ")).into());
    }
    let findings = check(root, server.as_deref(), options.database.as_deref())?;
    for missing in &services.missing {
        writeln!(out, "left out: statements, migrations and roles on PostgreSQL ({missing})")?;
    }
    Ok(finding::report("schemas", findings, out)?)
}

/// Checks the files alone and on SQLite; with the URL of a server, on PostgreSQL too, and a database against the result.
fn check(root: &Path, server: Option<&str>, database: Option<&str>) -> Result<Vec<Finding>, Failure> {
    let mut findings = migrations::check(root)?;
    let mut crates = Vec::new();
    for (schema, folder) in crates_of(root)? {
        let sql = if schema.is_empty() { folder.clone() } else { folder.join("sql") };
        let mut statements = Statements::read(root, &sql, !schema.is_empty())?;
        findings.extend(statements.findings());
        for (path, text) in statements.files() {
            findings.extend(statement::check_statement(root, path, text, schema));
        }
        let mut histories = Vec::new();
        for engine in Engine::ALL {
            histories.extend(migrations::of(root, schema, engine)?);
        }
        findings.extend(source::check(root, &folder, statements.files(), &histories)?);
        crates.push((schema, statements));
    }
    findings.extend(source::check(root, &root.join("bins"), &[], &[])?);
    findings.extend(try_out(root, &crates, server, database)?);
    Ok(findings)
}

/// Every crate with the schema it owns.
fn crates_of(root: &Path) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
    let mut found = Vec::new();
    let crates = root.join("crates");
    if crates.is_dir() {
        for entry in fs::read_dir(crates)? {
            let folder = entry?.path();
            let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let schema = DOMAINS.iter().find(|domain| domain.name == name).map_or("", |domain| domain.schema);
            found.push((schema, folder));
        }
    }
    found.sort();
    Ok(found)
}

/// Applies and prepares everything on real databases.
fn try_out(
    root: &Path,
    crates: &[(&'static str, Statements)],
    server: Option<&str>,
    database: Option<&str>,
) -> Result<Vec<Finding>, Failure> {
    let work = |engine: Engine| -> Result<Vec<Work<'_>>, Failure> {
        let one = |(schema, statements): &(&'static str, Statements)| {
            let migrations = if schema.is_empty() { Vec::new() } else { migrations::of(root, schema, engine)? };
            Ok(Work { root, schema, migrations, statements: statements.of(engine) })
        };
        crates.iter().map(one).collect()
    };
    let (on_postgres, on_sqlite) = (work(Engine::Postgres)?, work(Engine::Sqlite)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut findings = Vec::new();
        let mut embedded = Vec::new();
        for work in &on_sqlite {
            let mut applied = sqlite::inspect(work).await?;
            findings.append(&mut applied.findings);
            embedded.push(applied);
        }
        let Some(server) = server else { return Ok(findings) };
        let mut inspected = postgres::inspect(server, &on_postgres).await?;
        for (index, (schema, statements)) in crates.iter().enumerate() {
            let (postgres, sqlite) = (&mut inspected.applied[index], &embedded[index]);
            findings.append(&mut postgres.findings);
            findings.extend(statements.compare(root, postgres, sqlite));
            if let Some((left, right)) = postgres.catalogue.as_ref().zip(sqlite.catalogue.as_ref()) {
                let (postgres, sqlite) = (&on_postgres[index].migrations, &on_sqlite[index].migrations);
                findings.extend(catalogue::compare(&catalogue::Origin { root, schema, postgres, sqlite }, left, right));
            }
        }
        if let Some(url) = database {
            findings.extend(installed::check(url, &on_postgres, &inspected).await?);
        }
        Ok(findings)
    })
}

#[cfg(test)]
mod tests;
