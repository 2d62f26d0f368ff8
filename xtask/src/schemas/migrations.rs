//! The history of each schema: numbered without gaps, confined to the schema, adding to what is there, and never changed
//! once released.
//!
//! `migrations/released.txt` has a line `sha256  path` for each released file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::engine::Engine;
use super::statement;
use crate::finding::{Finding, Rule};
use crate::workspace::{self, Failure};

/// Releases start on schemas that have later migrations of the same thousand.
const GENERATION: usize = 1_000;

const RELEASED: &str = "migrations/released.txt";

const NUMBER: Rule = Rule {
    name: "migration-number",
    reason: "the number is the order in which every installation applies them",
    remedy: "call it `NNNN_name.sql` with the next number: 0001, 0002 …; or 1001, 2001 … when older servers cannot live with it",
};

const PLACE: Rule = Rule {
    name: "migration-place",
    reason: "a migration belongs to one schema and one engine",
    remedy: "put it into `migrations/<schema>/postgres/` or `…/sqlite/`, the schema being that of a domain",
};

const PAIR: Rule = Rule {
    name: "migration-pair",
    reason: "both engines go through the same steps, so that one number says how far an installation is",
    remedy: "write the migration of the same name for the other engine; a comment alone where it needs none",
};

const CHANGED: Rule = Rule {
    name: "released-migration",
    reason: "databases that applied it would never see the change",
    remedy: "put the file back as it was and write a new migration",
};

const UNRECORDED: Rule = Rule {
    name: "unrecorded-migration",
    reason: "only a recorded file can be seen to have changed",
    remedy: "record it with `cargo xtask schemas --bless`",
};

/// The migrations of a schema, oldest first, with their texts.
pub(super) fn of(root: &Path, schema: &str, engine: Engine) -> Result<Vec<(PathBuf, String)>, Failure> {
    let paths = workspace::files(&folder(root, schema, engine), "sql")?;
    paths.into_iter().map(|path| workspace::read(&path).map(|text| (path, text))).collect()
}

fn folder(root: &Path, schema: &str, engine: Engine) -> PathBuf {
    root.join("migrations").join(schema).join(engine.word())
}

/// Checks every migration.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let mut places = Vec::new();
    for (domain, engine) in super::DOMAINS.iter().flat_map(|domain| Engine::ALL.map(|engine| (domain, engine))) {
        let twins = folder(root, domain.schema, engine.other());
        let mut last = 0;
        for (path, text) in &of(root, domain.schema, engine)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let opening = (last / GENERATION + 1) * GENERATION + 1;
            let opens = last == 0 || is_numbered(name, opening);
            last = if last > 0 && opens { opening } else { last + 1 };
            findings.extend(statement::check_migration((engine, !opens), root, path, text, domain.schema));
            if !is_numbered(name, last) {
                let message = format!("`{name}` is not number {last:04}");
                findings.push(Finding::new(root, path, 1, &NUMBER, message));
            }
            if !twins.join(name).exists() {
                let message = format!("`{name}` is there for {} alone", engine.word());
                findings.push(Finding::new(root, path, 1, &PAIR, message));
            }
        }
        places.push(folder(root, domain.schema, engine));
    }
    for path in workspace::files(&root.join("migrations"), "sql")? {
        if !places.iter().any(|folder| path.parent() == Some(folder)) {
            findings.push(Finding::new(root, &path, 1, &PLACE, "no domain applies it"));
        }
    }
    findings.extend(check_released(root)?);
    Ok(findings)
}

fn is_numbered(name: &str, number: usize) -> bool {
    let words = name.strip_prefix(&format!("{number:04}_")).and_then(|rest| rest.strip_suffix(".sql"));
    words.is_some_and(|words| {
        !words.is_empty() && words.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
    })
}

fn check_released(root: &Path) -> Result<Vec<Finding>, Failure> {
    let mut released = read_released(root)?;
    let mut findings = Vec::new();
    for path in workspace::files(&root.join("migrations"), "sql")? {
        let name = relative(root, &path);
        match released.remove(&name) {
            None => findings.push(Finding::new(root, &path, 1, &UNRECORDED, "a new migration")),
            Some(sum) if sum != checksum(&path)? => {
                findings.push(Finding::new(root, &path, 1, &CHANGED, "not as it was released"));
            }
            Some(_) => {}
        }
    }
    for name in released.keys() {
        findings.push(Finding::new(root, &root.join(name), 1, &CHANGED, "released, and not there any more"));
    }
    Ok(findings)
}

/// Adds the migrations that are not recorded yet. Those that are stay as recorded.
pub(super) fn bless(root: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let mut released = read_released(root)?;
    for path in workspace::files(&root.join("migrations"), "sql")? {
        let name = relative(root, &path);
        if let Entry::Vacant(place) = released.entry(name) {
            writeln!(out, "recorded {}", place.key())?;
            place.insert(checksum(&path)?);
        }
    }
    let mut text = String::new();
    for (name, sum) in &released {
        writeln!(text, "{sum}  {name}")?;
    }
    fs::write(root.join(RELEASED), text)?;
    Ok(())
}

fn read_released(root: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let file = root.join(RELEASED);
    if !file.exists() {
        return Ok(BTreeMap::new());
    }
    let text = workspace::read(&file)?;
    let line = |line: &str| -> Result<(String, String), Failure> {
        let (sum, name) = line.split_once("  ").ok_or_else(|| format!("`{RELEASED}`: cannot read `{line}`"))?;
        Ok((name.to_owned(), sum.to_owned()))
    };
    text.lines().map(line).collect()
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

fn checksum(path: &Path) -> Result<String, Failure> {
    let digest = Sha256::digest(workspace::read(path)?.as_bytes());
    Ok(hex::encode(digest))
}
