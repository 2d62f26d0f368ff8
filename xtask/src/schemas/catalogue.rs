//! What the migrations of a schema made, as one engine's catalogue tells it, and whether the other engine's is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::engine::Engine;
use crate::finding::{Finding, Rule};

const DIFFERS: Rule = Rule {
    name: "dialects-differ",
    reason: "one code runs on both engines, so a table is the same on both",
    remedy: "give both engines' migrations the same tables, columns, nullability, primary keys and unique indexes",
};

const TYPE: Rule = Rule {
    name: "column-type",
    reason: "each kind of value has one type per engine, and what reads and writes it knows only that",
    remedy: "ids `uuid`/`blob`, bytes `bytea`/`blob`, text and JSON `text`, times `timestamptz`/`text`, whole numbers \
             `bigint`/`integer`, yes or no `boolean`/`integer`, others `double precision`/`real`",
};

/// Types that hold the same values: PostgreSQL's, SQLite's.
const TYPES: &[(&str, &str)] = &[
    ("uuid", "blob"),
    ("bytea", "blob"),
    ("text", "text"),
    ("timestamp with time zone", "text"),
    ("bigint", "integer"),
    ("boolean", "integer"),
    ("double precision", "real"),
];

/// The tables of a schema, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Catalogue(pub(super) BTreeMap<String, Table>);

/// One table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Its columns, by name.
    pub(super) columns: BTreeMap<String, Column>,
    /// The columns of its primary key, in order.
    pub(super) primary_key: Vec<String>,
    /// Its other unique indexes.
    pub(super) unique: BTreeSet<Unique>,
}

/// One column.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Its type in lower case, as the engine calls it.
    pub(super) kind: String,
    /// Whether it can be null.
    pub(super) nullable: bool,
}

/// One unique index.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unique {
    /// Its columns, in order; an expression is called `(expression)`.
    pub(super) columns: Vec<String>,
    /// Whether it holds for some rows alone.
    pub(super) partial: bool,
}

/// A table, or one of its columns.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The table.
    pub(super) table: &'a str,
    /// The column.
    pub(super) column: Option<&'a str>,
}

/// The migrations of one schema, to find the line that made something.
pub(super) struct Origin<'a> {
    /// The root of the workspace.
    pub(super) root: &'a Path,
    /// The schema.
    pub(super) schema: &'a str,
    /// Its migrations for PostgreSQL.
    pub(super) postgres: &'a [(PathBuf, String)],
    /// And for SQLite.
    pub(super) sqlite: &'a [(PathBuf, String)],
}

/// Compares what both engines made.
pub(super) fn compare(origin: &Origin<'_>, postgres: &Catalogue, sqlite: &Catalogue) -> Vec<Finding> {
    let mut findings = Vec::new();
    let names: BTreeSet<&String> = postgres.0.keys().chain(sqlite.0.keys()).collect();
    for name in names {
        match (postgres.0.get(name), sqlite.0.get(name)) {
            (Some(postgres), Some(sqlite)) => {
                let pair = Pair { origin, name, postgres, sqlite };
                pair.columns(&mut findings);
                pair.keys(&mut findings);
            }
            (Some(_), None) => findings.push(origin.only_one(Engine::Postgres, name, None)),
            (None, _) => findings.push(origin.only_one(Engine::Sqlite, name, None)),
        }
    }
    findings
}

/// A table on both engines.
struct Pair<'a> {
    origin: &'a Origin<'a>,
    name: &'a str,
    postgres: &'a Table,
    sqlite: &'a Table,
}

impl Pair<'_> {
    fn columns(&self, findings: &mut Vec<Finding>) {
        let names: BTreeSet<&String> = self.postgres.columns.keys().chain(self.sqlite.columns.keys()).collect();
        for name in names {
            match (self.postgres.columns.get(name), self.sqlite.columns.get(name)) {
                (Some(postgres), Some(sqlite)) => self.column(name, postgres, sqlite, findings),
                (Some(_), None) => findings.push(self.origin.only_one(Engine::Postgres, self.name, Some(name))),
                (None, _) => findings.push(self.origin.only_one(Engine::Sqlite, self.name, Some(name))),
            }
        }
    }

    fn column(&self, name: &str, postgres: &Column, sqlite: &Column, findings: &mut Vec<Finding>) {
        let path = format!("{}.{}.{name}", self.origin.schema, self.name);
        let place = Place { table: self.name, column: Some(name) };
        if postgres.nullable != sqlite.nullable {
            let can = |nullable: bool| if nullable { "can be null" } else { "cannot be null" };
            let message = format!(
                "column `{path}` {} on PostgreSQL and {} on SQLite",
                can(postgres.nullable),
                can(sqlite.nullable)
            );
            findings.push(self.origin.found(Engine::Postgres, &DIFFERS, place, message));
        }
        if !TYPES.contains(&(postgres.kind.as_str(), sqlite.kind.as_str())) {
            let message =
                format!("column `{path}` is `{}` on PostgreSQL and `{}` on SQLite", postgres.kind, sqlite.kind);
            findings.push(self.origin.found(Engine::Postgres, &TYPE, place, message));
        }
    }

    fn keys(&self, findings: &mut Vec<Finding>) {
        let mut report = |engine, message| {
            findings.push(self.origin.found(engine, &DIFFERS, Place { table: self.name, column: None }, message));
        };
        let (schema, name) = (self.origin.schema, self.name);
        if self.postgres.primary_key != self.sqlite.primary_key {
            let (left, right) = (self.postgres.primary_key.join(", "), self.sqlite.primary_key.join(", "));
            let message =
                format!("the primary key of `{schema}.{name}` is ({left}) on PostgreSQL and ({right}) on SQLite");
            report(Engine::Postgres, message);
        }
        let lone = |unique: &Unique, engine: Engine| {
            let part = if unique.partial { "some rows of " } else { "" };
            format!("({}) is unique in {part}`{schema}.{name}` for {} alone", unique.columns.join(", "), engine.word())
        };
        for unique in self.postgres.unique.difference(&self.sqlite.unique) {
            report(Engine::Postgres, lone(unique, Engine::Postgres));
        }
        for unique in self.sqlite.unique.difference(&self.postgres.unique) {
            report(Engine::Sqlite, lone(unique, Engine::Sqlite));
        }
    }
}

impl Origin<'_> {
    fn only_one(&self, engine: Engine, table: &str, column: Option<&str>) -> Finding {
        let what = match column {
            Some(column) => format!("column `{}.{table}.{column}`", self.schema),
            None => format!("table `{}.{table}`", self.schema),
        };
        self.found(engine, &DIFFERS, Place { table, column }, format!("{what} is there for {} alone", engine.word()))
    }

    /// A finding at the line of an engine's migrations that made a table or one of its columns.
    pub(super) fn found(&self, engine: Engine, rule: &Rule, place: Place<'_>, message: String) -> Finding {
        let migrations = match engine {
            Engine::Postgres => self.postgres,
            Engine::Sqlite => self.sqlite,
        };
        let (path, line) = locate(migrations, &format!("{}.{}", self.schema, place.table), place.column);
        Finding::new(self.root, &path, line, rule, message)
    }
}

/// The line that names the column first in a statement on its table; else the one that makes the table.
fn locate(migrations: &[(PathBuf, String)], table: &str, column: Option<&str>) -> (PathBuf, usize) {
    let mut found = (migrations.last().map(|(path, _)| path.clone()).unwrap_or_default(), 1);
    for (path, text) in migrations {
        let mut here = false;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("--")) {
            let words: Vec<&str> =
                line.split(|letter: char| letter.is_whitespace() || "();,".contains(letter)).collect();
            if words.contains(&"table") {
                here = words.contains(&table);
                if here && words.contains(&"create") {
                    found = (path.clone(), index + 1);
                }
            }
            if here && column.is_some_and(|column| words.contains(&column)) {
                return (path.clone(), index + 1);
            }
        }
    }
    found
}
