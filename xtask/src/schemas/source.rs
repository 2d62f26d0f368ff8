//! SQL and the code that runs it: statements are files, each of them is run, and each migration is applied.

use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::engine::Engine;
use crate::finding::{Finding, Rule};
use crate::workspace::{self, Failure};

/// Functions of the driver that take SQL.
const TAKES_SQL: &[&str] = &["query", "query_as", "query_scalar", "query_with", "query_as_with", "raw_sql"];

/// Methods of the driver's connections that take SQL.
const RUNS_SQL: &[&str] =
    &["execute", "execute_many", "fetch", "fetch_all", "fetch_many", "fetch_one", "fetch_optional", "prepare"];

/// Macros that stand for a file.
const FILES: &[&str] = &["include_str", "sql"];

/// What makes the driver take a text that was put together.
const TRUSTED: &str = "AssertSqlSafe";

/// First words of statements.
const VERBS: &[&str] = &[
    "alter", "attach", "copy", "create", "delete", "drop", "grant", "insert", "lock", "merge", "pragma", "reassign",
    "revoke", "select", "set", "truncate", "update", "vacuum", "with",
];

/// A file that may put statements together, how these begin, and why they cannot be files.
struct Exception {
    file: &'static str,
    begin: &'static [&'static str],
    _reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        file: "crates/testmesh-runner/src/actions/sql/sqlite.rs",
        begin: &[],
        _reason: "what the user's own steps ask the user's own databases",
    },
    Exception {
        file: "crates/testmesh-shared/src/db/postgres.rs",
        begin: &["set role ", "set statement_timeout = "],
        _reason: "a session's settings; the role's name takes no parameter",
    },
    Exception {
        file: "crates/testmesh-shared/src/db/provision.rs",
        begin: &["create role ", "alter role ", "grant ", "create schema ", "alter schema "],
        _reason: "names of roles and schemas take no parameter, nor does a password",
    },
    Exception {
        file: "crates/testmesh-shared/src/db/sqlite.rs",
        begin: &["attach database $1 as ", "pragma "],
        _reason: "the schema's name takes no parameter, and pragmas are a session's settings",
    },
    Exception {
        file: "crates/testmesh-shared/src/db/testing.rs",
        begin: &["create database "],
        _reason: "each test has a database of its own, whose name takes no parameter",
    },
];

const INLINE: Rule = Rule {
    name: "sql-in-code",
    reason: "a statement in the code is neither parsed, nor prepared, nor found by the checks",
    remedy: "move it to a file of the crate's `sql/` folder and `include_str!` it; what cannot be a file (a name that takes \
             no parameter) is an exception in `xtask/src/schemas/source.rs`, with its reason",
};

const UNUSED: Rule = Rule {
    name: "unused-statement",
    reason: "a statement that nothing runs is kept up for nothing",
    remedy: "delete the file",
};

const UNLISTED: Rule = Rule {
    name: "unlisted-migration",
    reason: "a migration is applied when the crate's `Schema` lists it, and by nothing else",
    remedy: "add it to the crate's `schema.rs`: the file in `migrations/` by `include_str!`",
};

/// Checks the sources below `folder` against the statements and migrations that belong to them.
pub(super) fn check(
    root: &Path,
    folder: &Path,
    statements: &[(PathBuf, String)],
    migrations: &[(PathBuf, String)],
) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let mut sources = String::new();
    for path in workspace::files(folder, "rs")? {
        let parts: Vec<&str> = path.strip_prefix(folder)?.iter().filter_map(|part| part.to_str()).collect();
        if !parts.contains(&"src") {
            continue;
        }
        let text = workspace::read(&path)?;
        let is_test = parts.iter().any(|part| *part == "tests" || part.ends_with("tests.rs"));
        if !is_test {
            findings.extend(find_inline(root, &path, &text)?);
        }
        sources.push_str(&text);
    }
    for (path, _) in statements {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (engines, stem) = Engine::of_file(name);
        // `sql!(db, "../sql/name")` names the files of both engines.
        let by_engine = engines.len() == 1 && names(&sources, stem);
        if !by_engine && !names(&sources, name) {
            findings.push(Finding::new(root, path, 1, &UNUSED, format!("`{name}` is included nowhere")));
        }
    }
    for (path, _) in migrations {
        let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
        if !sources.contains(&format!("/{name}\"")) {
            findings.push(Finding::new(root, path, 1, &UNLISTED, format!("`{name}` is included nowhere")));
        }
    }
    Ok(findings)
}

/// Whether a text in quotes is this file name, alone or at the end of a path.
fn names(sources: &str, file: &str) -> bool {
    ["/", "\""].iter().any(|before| sources.contains(&format!("{before}{file}\"")))
}

fn find_inline(root: &Path, path: &Path, text: &str) -> Result<Vec<Finding>, Failure> {
    let file = syn::parse_file(text).map_err(|error| format!("parse `{}`: {error}", path.display()))?;
    let exception =
        EXCEPTIONS.iter().find(|exception| path.strip_prefix(root).is_ok_and(|path| path == Path::new(exception.file)));
    let mut choosers = Choosers(Vec::new());
    choosers.visit_file(&file);
    let mut calls = Calls { exception, choosers: &choosers.0, lines: Vec::new() };
    calls.visit_file(&file);
    calls.lines.dedup();
    let finding = |line: &usize| Finding::new(root, path, *line, &INLINE, "SQL that is no file");
    Ok(calls.lines.iter().map(finding).collect())
}

struct Calls<'a> {
    exception: Option<&'static Exception>,
    /// Functions of the file that choose between statements.
    choosers: &'a [String],
    lines: Vec<usize>,
}

impl Calls<'_> {
    /// A text that is SQL for sure, or (in a file with an exception) begins like it.
    fn statement(&mut self, text: Option<String>, line: usize) {
        let allowed = match (self.exception, text) {
            (Some(exception), Some(text)) => {
                let verb = text.split_whitespace().next().unwrap_or_default();
                !VERBS.contains(&verb) || exception.begin.iter().any(|begin| text.starts_with(begin))
            }
            // It was put together elsewhere in this file, where it is looked at.
            (Some(_), None) => true,
            (None, _) => false,
        };
        if !allowed {
            self.lines.push(line);
        }
    }
}

impl Calls<'_> {
    /// `include_str!(…)`, `sql!(…)`, a name that stands for one, or a function that chooses between several.
    fn is_file(&self, argument: &syn::Expr) -> bool {
        match argument {
            syn::Expr::Macro(call) => stands_for_a_file(&call.mac),
            syn::Expr::Path(_) => true,
            syn::Expr::Call(call) => match &*call.func {
                syn::Expr::Path(function) => {
                    function.path.get_ident().is_some_and(|name| self.choosers.iter().any(|chooser| name == chooser))
                }
                _ => false,
            },
            _ => false,
        }
    }
}

impl<'ast> Visit<'ast> for Calls<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.ident != "tests" {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func
            && let Some(last) = function.path.segments.last()
        {
            let of_driver = function.path.segments.first().is_some_and(|first| first.ident == "sqlx");
            let takes_sql = of_driver && TAKES_SQL.iter().any(|name| last.ident == name);
            if takes_sql && !call.args.first().is_some_and(|text| self.is_file(text)) || last.ident == TRUSTED {
                let text = call.args.first().and_then(literal);
                self.statement(text, call.span().start().line);
            }
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if RUNS_SQL.iter().any(|name| call.method == name)
            && let Some(text) = call.args.first().and_then(literal)
        {
            self.statement(Some(text), call.method.span().start().line);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let line = call.span().start().line;
        if self.exception.is_some()
            && let Some(text) = format_literal(call)
        {
            self.statement(Some(text), line);
        }
        // Code inside `on_db!(db, engine => …)` and its like: try what follows the arrow as an expression.
        let text = call.tokens.to_string();
        if let Some((_, body)) = text.split_once("=>")
            && let Ok(body) = syn::parse_str::<syn::Expr>(body.trim_end_matches(','))
        {
            let mut inner = Calls { exception: self.exception, choosers: self.choosers, lines: Vec::new() };
            inner.visit_expr(&body);
            self.lines.extend(inner.lines.iter().map(|_| line));
        }
    }
}

/// Functions that give back one of several files, and hold no other text.
struct Choosers(Vec<String>);

impl<'ast> Visit<'ast> for Choosers {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let mut texts = Texts { files: 0, others: 0 };
        texts.visit_block(&function.block);
        if texts.files > 0 && texts.others == 0 {
            self.0.push(function.sig.ident.to_string());
        }
        visit::visit_item_fn(self, function);
    }
}

struct Texts {
    files: usize,
    others: usize,
}

impl<'ast> Visit<'ast> for Texts {
    fn visit_lit_str(&mut self, _: &'ast syn::LitStr) {
        self.others += 1;
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if stands_for_a_file(call) {
            self.files += 1;
        } else {
            self.others += 1;
        }
    }
}

fn stands_for_a_file(call: &syn::Macro) -> bool {
    FILES.iter().any(|name| call.path.segments.last().is_some_and(|last| last.ident == name))
}

/// A text that is written out: `"…"`, `format!("…")`.
fn literal(argument: &syn::Expr) -> Option<String> {
    match argument {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        syn::Expr::Macro(call) => format_literal(&call.mac),
        syn::Expr::Reference(inner) => literal(&inner.expr),
        _ => None,
    }
}

fn format_literal(call: &syn::Macro) -> Option<String> {
    let first = call.path.is_ident("format").then(|| call.tokens.clone().into_iter().next()).flatten()?;
    syn::parse2::<syn::LitStr>(first.into()).ok().map(|text| text.value())
}
