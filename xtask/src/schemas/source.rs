//! SQL and the code that runs it: statements live in `sql/`, and each of them is run.

use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::finding::{Finding, Rule};
use crate::workspace::{self, Failure};

/// Functions of the driver that take SQL.
const TAKES_SQL: &[&str] = &["query", "query_as", "query_scalar", "query_with", "query_as_with", "raw_sql"];

const INLINE: Rule = Rule {
    name: "sql-in-code",
    reason: "a statement in the code is neither parsed, nor prepared, nor found by the checks",
    remedy: "move it to a file of the crate's `sql/` folder and `include_str!` it",
};

const UNUSED: Rule = Rule {
    name: "unused-statement",
    reason: "a statement that nothing runs is kept up for nothing",
    remedy: "delete the file",
};

/// Checks the sources of a domain crate against its statements.
pub(super) fn check(root: &Path, folder: &Path, statements: &[(PathBuf, String)]) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let mut sources = String::new();
    for path in workspace::files(&folder.join("src"), "rs")? {
        let text = workspace::read(&path)?;
        if path.file_stem().is_none_or(|stem| stem != "tests") {
            findings.extend(find_inline(root, &path, &text)?);
        }
        sources.push_str(&text);
    }
    for (path, _) in statements {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !sources.contains(&format!("sql/{name}\"")) {
            findings.push(Finding::new(root, path, 1, &UNUSED, format!("`{name}` is included nowhere")));
        }
    }
    Ok(findings)
}

fn find_inline(root: &Path, path: &Path, text: &str) -> Result<Vec<Finding>, Failure> {
    let file = syn::parse_file(text).map_err(|error| format!("parse `{}`: {error}", path.display()))?;
    let mut calls = Calls { lines: Vec::new() };
    calls.visit_file(&file);
    let finding = |line: &usize| Finding::new(root, path, *line, &INLINE, "SQL that is no file");
    Ok(calls.lines.iter().map(finding).collect())
}

struct Calls {
    lines: Vec<usize>,
}

impl<'ast> Visit<'ast> for Calls {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.ident != "tests" {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func
            && function.path.segments.first().is_some_and(|first| first.ident == "sqlx")
            && function.path.segments.last().is_some_and(|last| TAKES_SQL.iter().any(|name| last.ident == name))
            && !call.args.first().is_some_and(is_file)
        {
            self.lines.push(call.span().start().line);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        // Code inside `on_db!(db, engine => …)` and its like: try what follows the arrow as an expression.
        let text = call.tokens.to_string();
        if let Some((_, body)) = text.split_once("=>")
            && let Ok(body) = syn::parse_str::<syn::Expr>(body.trim_end_matches(','))
        {
            let mut inner = Calls { lines: Vec::new() };
            inner.visit_expr(&body);
            let line = call.span().start().line;
            self.lines.extend(inner.lines.iter().map(|_| line));
        }
    }
}

/// `include_str!(…)`, or a constant that was made of one.
fn is_file(argument: &syn::Expr) -> bool {
    match argument {
        syn::Expr::Macro(call) => call.mac.path.is_ident("include_str"),
        syn::Expr::Path(_) => true,
        _ => false,
    }
}
