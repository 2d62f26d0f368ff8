//! Every statement, prepared on real databases that have the schema's migrations: what prepares on one engine prepares on
//! the other, with the same columns and parameters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::catalogue::Catalogue;
use super::engine::Engine;
use crate::finding::{Finding, Rule};
use crate::workspace::{self, Failure};

pub(super) const APPLY: Rule = Rule {
    name: "migration-applies",
    reason: "every installation runs it at its next start",
    remedy: "correct the migration until it applies to what the ones before it made, by the schema's own role",
};

pub(super) const PREPARE: Rule = Rule {
    name: "statement-prepares",
    reason: "a statement that cannot be prepared fails when a user needs it",
    remedy: "correct the statement; its tables and columns are those of the schema's migrations; where the engines need \
             different words, write `name.postgres.sql` and `name.sqlite.sql`",
};

const PAIR: Rule = Rule {
    name: "statement-pair",
    reason: "every domain does the same on both engines",
    remedy: "write the file for the other engine; where that one has nothing to do, begin this one with \
             `-- Only on PostgreSQL: why` or `-- Only on SQLite: why`; a `name.sql` for both has no other beside it",
};

const COLUMNS: Rule = Rule {
    name: "statement-columns",
    reason: "one type reads the rows of both engines, by the names of their columns",
    remedy: "select the same columns on both; give what has no name of its own one by `as`",
};

const TYPES: Rule = Rule {
    name: "statement-types",
    reason: "one type reads the rows of both engines, and reads each column as the type that its table has",
    remedy: "cast the expression: `cast(count(*) as bigint)`; the types are uuid, bytea, text, timestamptz, bigint, \
             boolean and double precision",
};

const PARAMETERS: Rule = Rule {
    name: "statement-parameters",
    reason: "the same code binds the values on both engines",
    remedy: "use the same `$1 … $n` on both; a value that one engine needs not can still stand in `cast($n as text) is null or …`",
};

/// Result types that the code can read: PostgreSQL's names, and SQLite's for columns of tables.
const READABLE: &[(&str, &[&str])] = &[
    ("uuid", &["blob"]),
    ("bytea", &["blob"]),
    ("text", &["text"]),
    ("timestamptz", &["text"]),
    ("int8", &["integer", "int8", "bigint"]),
    ("bool", &["integer", "boolean"]),
    ("float8", &["real"]),
];

/// What one engine has to do for one schema; the schema `""` has no migrations.
pub(super) struct Work<'a> {
    pub(super) root: &'a Path,
    pub(super) schema: &'a str,
    pub(super) migrations: Vec<(PathBuf, String)>,
    pub(super) statements: Vec<(PathBuf, String)>,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Applied {
    /// None when the migrations did not apply.
    pub(super) catalogue: Option<Catalogue>,
    /// What each statement takes and gives.
    pub(super) prepared: BTreeMap<PathBuf, Prepared>,
    pub(super) findings: Vec<Finding>,
}

/// A statement's parameters and columns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    /// Names and types, in lower case; the type is `null` where the engine does not know.
    pub(super) columns: Vec<(String, String)>,
    /// The highest number of a parameter.
    pub(super) parameters: usize,
}

/// The statements of one crate by what they do, each with its file for each engine.
pub(super) struct Statements {
    files: Vec<(PathBuf, String)>,
    pairs: BTreeMap<PathBuf, BTreeMap<Engine, PathBuf>>,
    findings: Vec<Finding>,
}

impl Statements {
    /// Reads the files below `folder`. In a domain (`paired`), what is there for one engine is there for both.
    pub(super) fn read(root: &Path, folder: &Path, paired: bool) -> Result<Self, Failure> {
        let mut statements = Self { files: Vec::new(), pairs: BTreeMap::new(), findings: Vec::new() };
        for path in workspace::files(folder, "sql")? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let (engines, stem) = Engine::of_file(name);
            let pair = statements.pairs.entry(path.with_file_name(stem)).or_default();
            for engine in engines {
                if let Some(other) = pair.insert(engine, path.clone()) {
                    let other = other.file_name().unwrap_or_default().display().to_string();
                    let message = format!("`{name}` and `{other}` are both for {}", engine.word());
                    statements.findings.push(Finding::new(root, &path, 1, &PAIR, message));
                }
            }
            let text = workspace::read(&path)?;
            statements.files.push((path, text));
        }
        if paired {
            statements.check_pairs(root);
        }
        Ok(statements)
    }

    fn check_pairs(&mut self, root: &Path) {
        for pair in self.pairs.values() {
            let [(engine, path)] = pair.iter().collect::<Vec<_>>()[..] else { continue };
            let text = self.files.iter().find(|(file, _)| file == path).map_or("", |(_, text)| text.as_str());
            let first = text.lines().next().unwrap_or_default().to_lowercase();
            let excused = ["postgresql", "sqlite"].into_iter().any(|name| {
                name.starts_with(engine.word())
                    && first.strip_prefix(&format!("-- only on {name}: ")).is_some_and(|reason| !reason.is_empty())
            });
            if !excused {
                let message = format!("there is none of this name for {}", engine.other().word());
                self.findings.push(Finding::new(root, path, 1, &PAIR, message));
            }
        }
    }

    /// Every file with its text.
    pub(super) fn files(&self) -> &[(PathBuf, String)] {
        &self.files
    }

    /// The files that an engine runs.
    pub(super) fn of(&self, engine: Engine) -> Vec<(PathBuf, String)> {
        let runs = |path: &Path| self.pairs.values().any(|pair| pair.get(&engine).is_some_and(|file| file == path));
        self.files.iter().filter(|(path, _)| runs(path)).cloned().collect()
    }

    /// What was found when they were read.
    pub(super) fn findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Compares what each statement takes and gives on the two engines.
    pub(super) fn compare(&self, root: &Path, postgres: &Applied, sqlite: &Applied) -> Vec<Finding> {
        let mut findings = Vec::new();
        for pair in self.pairs.values() {
            let file = pair.get(&Engine::Postgres);
            let left = file.and_then(|path| postgres.prepared.get(path));
            let right = pair.get(&Engine::Sqlite).and_then(|path| sqlite.prepared.get(path));
            if let Some(((path, left), right)) = file.zip(left).zip(right) {
                let differences = differences(left, right);
                findings.extend(differences.into_iter().map(|(rule, text)| Finding::new(root, path, 1, rule, text)));
            }
        }
        findings
    }
}

fn differences(postgres: &Prepared, sqlite: &Prepared) -> Vec<(&'static Rule, String)> {
    let mut found: Vec<(&'static Rule, String)> = Vec::new();
    if postgres.parameters != sqlite.parameters {
        let message = format!("{} parameters on PostgreSQL, {} on SQLite", postgres.parameters, sqlite.parameters);
        found.push((&PARAMETERS, message));
    }
    let names = |prepared: &Prepared| {
        let names: Vec<_> = prepared.columns.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    };
    let (left, right) = (names(postgres), names(sqlite));
    if left != right {
        found.push((&COLUMNS, format!("columns ({left}) on PostgreSQL, ({right}) on SQLite")));
    }
    for ((name, kind), (_, other)) in postgres.columns.iter().zip(&sqlite.columns) {
        match READABLE.iter().find(|(readable, _)| readable == kind) {
            None => found.push((&TYPES, format!("column `{name}` is `{kind}` on PostgreSQL"))),
            Some((_, others)) if other != "null" && !others.contains(&other.as_str()) => {
                found.push((&TYPES, format!("column `{name}` is `{kind}` on PostgreSQL and `{other}` on SQLite")));
            }
            Some(_) => {}
        }
    }
    found
}
