//! What a check found: where, which rule, why there is such a rule, and what to do.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, relative to the workspace.
    pub(crate) file: PathBuf,
    /// From 1.
    pub(crate) line: usize,
    /// The rule's stable name: `crate-edge`.
    pub(crate) rule: &'static str,
    /// What is wrong here.
    pub(crate) message: String,
    /// Why there is such a rule.
    pub(crate) reason: &'static str,
    /// What to do about it.
    pub(crate) remedy: String,
}

impl Finding {
    /// A finding at a line of a file below `root`.
    pub(crate) fn new(root: &Path, file: &Path, line: usize, rule: &Rule, message: impl Into<String>) -> Self {
        let file = file.strip_prefix(root).unwrap_or(file).to_path_buf();
        Self {
            file,
            line,
            rule: rule.name,
            message: message.into(),
            reason: rule.reason,
            remedy: rule.remedy.to_owned(),
        }
    }
}

/// A rule, and what is said to whoever breaks it.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its stable name.
    pub(crate) name: &'static str,
    /// Why it is there.
    pub(crate) reason: &'static str,
    /// What to do.
    pub(crate) remedy: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:{}: [{}] {}", self.file.display(), self.line, self.rule, self.message)?;
        writeln!(f, "    why: {}", self.reason)?;
        write!(f, "    do:  {}", self.remedy)
    }
}

/// Prints the findings and their number; says whether there were none.
pub(crate) fn report(what: &str, mut findings: Vec<Finding>, out: &mut dyn Write) -> io::Result<bool> {
    findings.sort();
    for finding in &findings {
        writeln!(out, "{finding}\n")?;
    }
    match findings.len() {
        0 => writeln!(out, "{what}: ok")?,
        count => writeln!(out, "{what}: {count} finding{}", if count == 1 { "" } else { "s" })?,
    }
    Ok(findings.is_empty())
}
