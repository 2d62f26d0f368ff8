//! `cargo xtask schemas`: every statement and every migration stays inside its domain's schema, and can be prepared.
//!
//! Statements are read with a real SQL parser and prepared on a real database with the migrations applied. Only the
//! domain's own schema is attached there, so what the parser let through would still fail.

mod migrations;
mod prepare;
mod source;
mod statement;

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::finding::{self, Finding};
use crate::workspace::{self, Failure};

/// Each domain that owns a schema.
const DOMAINS: &[Domain] = &[
    Domain { name: "testmesh-runner", schema: "executions" },
    Domain { name: "testmesh-scheduler", schema: "scheduler" },
    Domain { name: "testmesh-storage", schema: "flows" },
];

/// A crate and the schema it owns.
struct Domain {
    name: &'static str,
    schema: &'static str,
}

/// Runs every check; says whether nothing was found. With `bless`, new migrations are recorded as released first.
pub(crate) fn run(root: &Path, bless: bool, out: &mut dyn Write) -> Result<bool, Failure> {
    if bless {
        migrations::bless(root, out)?;
    }
    Ok(finding::report("schemas", check(root)?, out)?)
}

fn check(root: &Path) -> Result<Vec<Finding>, Failure> {
    let mut findings = migrations::check(root)?;
    for domain in DOMAINS {
        let folder = root.join("crates").join(domain.name);
        let mut statements = Vec::new();
        for path in workspace::files(&folder.join("sql"), "sql")? {
            let text = workspace::read(&path)?;
            findings.extend(statement::check_statement(root, &path, &text, domain.schema));
            statements.push((path, text));
        }
        findings.extend(source::check(root, &folder, &statements)?);
        let migrations = migrations::of(root, domain.schema)?;
        findings.extend(prepare::check(root, domain.schema, &migrations, &statements)?);
    }
    findings.extend(check_homeless(root)?);
    Ok(findings)
}

fn check_homeless(root: &Path) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let crates = root.join("crates");
    if !crates.is_dir() {
        return Ok(findings);
    }
    for entry in fs::read_dir(crates)? {
        let folder = entry?.path();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if DOMAINS.iter().all(|domain| domain.name != name) {
            for path in workspace::files(&folder, "sql")? {
                findings.extend(statement::check_statement(root, &path, &workspace::read(&path)?, ""));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests;
