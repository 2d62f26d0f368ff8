//! Files of one crate in another's source: an edge that Cargo does not see.

use std::path::{Component, Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::finding::{Finding, Rule};
use crate::workspace::{self, Failure, Member};

const REACH: Rule = Rule {
    name: "foreign-file",
    reason: "a source file of another crate is a dependency that the crate graph does not show",
    remedy: "depend on the crate and use its public interface; a text that two crates need belongs into `testmesh-shared`",
};

/// Checks every source file of every member.
pub(crate) fn check(root: &Path, members: &[Member]) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for member in members {
        for path in workspace::files(&member.folder, "rs")? {
            let text = workspace::read(&path)?;
            // What cannot be parsed is found elsewhere.
            let Ok(file) = syn::parse_file(&text) else { continue };
            let mut reach = Reach { files: Vec::new() };
            reach.visit_file(&file);
            for (line, named) in reach.files {
                let target = resolve(&path, &named);
                let owner = members.iter().find(|other| target.starts_with(&other.folder));
                if let Some(owner) = owner.filter(|owner| owner.name != member.name) {
                    let message = format!("`{named}` is a file of `{}`", owner.name);
                    findings.push(Finding::new(root, &path, line, &REACH, message));
                }
            }
        }
    }
    Ok(findings)
}

/// A path as it stands in a source file, without its `..`.
fn resolve(source: &Path, named: &str) -> PathBuf {
    let mut resolved = source.parent().map(Path::to_path_buf).unwrap_or_default();
    for part in Path::new(named).components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            part => resolved.push(part),
        }
    }
    resolved
}

struct Reach {
    files: Vec<(usize, String)>,
}

impl<'ast> Visit<'ast> for Reach {
    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("path")
            && let syn::Meta::NameValue(value) = &attribute.meta
            && let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &value.value
        {
            self.files.push((attribute.span().start().line, text.value()));
        }
        visit::visit_attribute(self, attribute);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.literals(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

impl Reach {
    /// Texts that begin like a way out of the folder, however deep they are: `on_db!(… include_str!("../…"))`.
    fn literals(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.literals(group.stream()),
                TokenTree::Literal(literal) => {
                    if let syn::Lit::Str(text) = syn::Lit::new(literal)
                        && text.value().starts_with("../")
                    {
                        self.files.push((text.span().start().line, text.value()));
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    #[test]
    fn a_file_of_another_crate_is_found_and_those_of_nobody_are_not() {
        let source = "//! x\n#[path = \"../../testmesh-runner/src/secret.rs\"]\nmod secret;\n\
                      const A: &str = include_str!(\"../../testmesh-runner/sql/claim.sql\");\n\
                      const B: &str = include_str!(\"../../../migrations/scheduler/sqlite/0001_create.sql\");\n\
                      const C: &str = include_str!(\"../sql/mine.sql\");\ninclude!(\"./mine.rs\");\n\
                      fn f() { on_db!(db, e => { run(sql!(db, \"../../testmesh-runner/sql/claim\")) }) }\n";
        let folder = fixture::workspace(&[("crates/testmesh-runner", &[]), ("crates/testmesh-scheduler", &[])]);
        let root = folder.path().canonicalize().unwrap();
        std::fs::write(root.join("crates/testmesh-scheduler/src/lib.rs"), source).unwrap();
        let findings = check(&root, &workspace::members(&root).unwrap()).unwrap();
        let found: Vec<_> =
            findings.iter().map(|finding| (finding.file.to_str().unwrap(), finding.line, finding.rule)).collect();
        let lib = "crates/testmesh-scheduler/src/lib.rs";
        assert_eq!(found, [2, 4, 8].map(|line| (lib, line, "foreign-file")));
    }
}
