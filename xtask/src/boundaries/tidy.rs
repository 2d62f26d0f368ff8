//! How the code is laid out: a first line that says what a file is for, files and functions of a readable length, names
//! that mean something.

use std::path::{Path, PathBuf};

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::finding::{Finding, Rule};
use crate::workspace::{self, Failure};

/// Where Rust code lies.
const FOLDERS: &[&str] = &["crates", "bins", "examples", "xtask", "fuzz"];
const FILE_LINES: usize = 700;
const FUNCTION_LINES: usize = 80;
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc"];

const FIRST_LINE: Rule = Rule {
    name: "first-line",
    reason: "a reader learns from the first line whether this is the file to read",
    remedy: "begin the file with `//! What it is for.`",
};

const FILE_LENGTH: Rule = Rule {
    name: "file-length",
    reason: "a file that does one thing is short; a long one hides the second thing",
    remedy: "move one of its concerns to a file of its own",
};

const FUNCTION_LENGTH: Rule = Rule {
    name: "function-length",
    reason: "a function that fits on a screen can be checked by reading it",
    remedy: "name its blocks, then extract them",
};

const FILE_NAME: Rule = Rule {
    name: "file-name",
    reason: "a name that fits everything attracts everything",
    remedy: "name the file for the noun or verb that it is about",
};

const SYNTAX: Rule =
    Rule { name: "syntax", reason: "what cannot be parsed cannot be checked", remedy: "make `cargo check` pass first" };

/// Checks every Rust file of the workspace.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for folder in FOLDERS {
        for path in workspace::files(&root.join(folder), "rs")? {
            let text = workspace::read(&path)?;
            findings.extend(check_file(root, &path, &text));
        }
    }
    Ok(findings)
}

fn check_file(root: &Path, path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.lines().next().is_some_and(|line| line.starts_with("//! ")) {
        findings.push(Finding::new(root, path, 1, &FIRST_LINE, "the first line is no `//!` line"));
    }
    let lines = text.lines().count();
    if lines >= FILE_LINES {
        let message = format!("{lines} lines, fewer than {FILE_LINES} are allowed");
        findings.push(Finding::new(root, path, FILE_LINES, &FILE_LENGTH, message));
    }
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if EMPTY_NAMES.contains(&stem) || stem == "mod" {
        findings.push(Finding::new(root, path, 1, &FILE_NAME, format!("`{stem}` says nothing")));
    }
    match syn::parse_file(text) {
        Ok(file) => {
            let mut functions = Functions { root, path: path.to_path_buf(), findings: Vec::new() };
            functions.visit_file(&file);
            findings.extend(functions.findings);
        }
        Err(error) => {
            findings.push(Finding::new(root, path, error.span().start().line, &SYNTAX, error.to_string()));
        }
    }
    findings
}

struct Functions<'a> {
    root: &'a Path,
    path: PathBuf,
    findings: Vec<Finding>,
}

impl Functions<'_> {
    fn measure(&mut self, name: &syn::Ident, start: Span, end: Span) {
        let first = start.start().line;
        let lines = end.end().line + 1 - first;
        if lines >= FUNCTION_LINES {
            let message = format!("`{name}` has {lines} lines, fewer than {FUNCTION_LINES} are allowed");
            self.findings.push(Finding::new(self.root, &self.path, first, &FUNCTION_LENGTH, message));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig.ident, function.sig.span(), function.block.span());
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig.ident, function.sig.span(), function.block.span());
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig.ident, function.sig.span(), block.span());
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn find(path: &str, text: &str, expected: &[(usize, &str)]) {
        let root = Path::new("/workspace");
        let findings = check_file(root, &root.join(path), text);
        let found: Vec<_> = findings.iter().map(|finding| (finding.line, finding.rule)).collect();
        assert_eq!(found, expected, "{path}");
    }

    fn function(name: &str, lines: usize) -> String {
        format!("fn {name}() {{\n{}}}\n", "    ();\n".repeat(lines - 2))
    }

    #[test]
    fn a_missing_first_line_is_found() {
        find("crates/a/src/lib.rs", "//! What it is for.\n", &[]);
        find("crates/a/src/lib.rs", "use std::fs;\n//! Late.\n", &[(1, "first-line"), (2, "syntax")]);
        find("crates/a/src/lib.rs", "", &[(1, "first-line")]);
    }

    #[test]
    fn a_long_file_is_found() {
        let of_lines = |lines: usize| format!("//! Long.\n{}", "//\n".repeat(lines - 1));
        find("crates/a/src/long.rs", &of_lines(699), &[]);
        find("crates/a/src/long.rs", &of_lines(700), &[(700, "file-length")]);
    }

    #[test]
    fn a_long_function_is_found_wherever_it_is() {
        find("a.rs", &format!("//! Functions.\n{}", function("short", 79)), &[]);
        find("a.rs", &format!("//! Functions.\n{}", function("long", 80)), &[(2, "function-length")]);
        find(
            "a.rs",
            &format!("//! Methods.\nstruct A;\nimpl A {{\n{}}}\n", function("long", 80)),
            &[(4, "function-length")],
        );
        find("a.rs", &format!("//! Traits.\ntrait A {{\n{}}}\n", function("long", 80)), &[(3, "function-length")]);
    }

    #[test]
    fn a_name_that_says_nothing_is_found() {
        for name in ["utils", "helpers", "common", "misc", "mod"] {
            find(&format!("crates/a/src/{name}.rs"), "//! Everything.\n", &[(1, "file-name")]);
        }
        find("crates/a/src/model.rs", "//! The model.\n", &[]);
    }
}
