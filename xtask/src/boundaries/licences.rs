//! What the dependency graph brings along: licences that `deny.toml` allows, and none of the crates that it bans.

use std::path::Path;

use cargo_metadata::MetadataCommand;
use serde::Deserialize;

use crate::finding::{Finding, Rule};
use crate::workspace::{self, Failure};

const LICENCE: Rule = Rule {
    name: "licence",
    reason: "TestMesh is Apache-2.0; whoever ships it must be able to ship all of it",
    remedy: "choose another crate, or add the licence to deny.toml if it is permissive",
};

const BANNED: Rule = Rule {
    name: "banned-crate",
    reason: "one TLS provider in the process, and nothing of the system's: two of them panic at run time",
    remedy: "turn off the feature that brings it in (`cargo tree -i NAME` shows which)",
};

/// The part of `deny.toml` that is checked here.
#[derive(Debug, Deserialize)]
struct Deny {
    licenses: Licences,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licences {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    name: String,
}

/// A package of the graph.
struct Dependency {
    name: String,
    version: String,
    licence: Option<String>,
}

/// Checks every package that a build for this machine uses.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>, Failure> {
    let deny: Deny = toml::from_str(&workspace::read(&root.join("deny.toml"))?)?;
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(["--locked".to_owned(), "--filter-platform".to_owned(), host_triple()?])
        .exec()?;
    let dependencies: Vec<_> = metadata
        .packages
        .iter()
        .map(|package| Dependency {
            name: package.name.to_string(),
            version: package.version.to_string(),
            licence: package.license.clone(),
        })
        .collect();
    Ok(judge(root, &deny, &dependencies))
}

fn host_triple() -> Result<String, Failure> {
    let output = std::process::Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "`rustc -vV` names no host".into())
}

fn judge(root: &Path, deny: &Deny, dependencies: &[Dependency]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Dependency { name, version, licence } in dependencies {
        let lock = root.join("Cargo.lock");
        if deny.bans.deny.iter().any(|ban| ban.name == *name) {
            findings.push(Finding::new(root, &lock, 1, &BANNED, format!("`{name} {version}` is in the graph")));
        }
        match licence {
            None => {
                findings.push(Finding::new(root, &lock, 1, &LICENCE, format!("`{name} {version}` names no licence")));
            }
            Some(licence) if !satisfies(licence, &deny.licenses.allow) => {
                let message = format!("`{name} {version}` is under `{licence}`");
                findings.push(Finding::new(root, &lock, 1, &LICENCE, message));
            }
            Some(_) => {}
        }
    }
    findings
}

/// Whether an SPDX expression can be met with the allowed licences alone. `/` is an old spelling of `OR`.
fn satisfies(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let holds = any_of(&mut rest, allowed);
    holds && rest.is_empty()
}

fn any_of(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut holds = all_of(words, allowed);
    while words.first() == Some(&"OR") {
        *words = &words[1..];
        holds |= all_of(words, allowed);
    }
    holds
}

fn all_of(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut holds = one(words, allowed);
    while words.first() == Some(&"AND") {
        *words = &words[1..];
        holds &= one(words, allowed);
    }
    holds
}

fn one(words: &mut &[&str], allowed: &[String]) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    *words = rest;
    if *first == "(" {
        let holds = any_of(words, allowed);
        let closed = words.first() == Some(&")");
        *words = words.get(1..).unwrap_or_default();
        return holds && closed;
    }
    let mut licence = (*first).to_owned();
    if let ["WITH", exception, rest @ ..] = *words {
        licence = format!("{licence} WITH {exception}");
        *words = rest;
    }
    allowed.contains(&licence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = "[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"Apache-2.0 WITH LLVM-exception\", \"Unicode-3.0\"]\n\
                        [bans]\ndeny = [{ name = \"openssl-sys\" }]\n";

    fn deny() -> Deny {
        toml::from_str(DENY).unwrap()
    }

    #[test]
    fn an_expression_holds_when_an_allowed_choice_meets_it() {
        let cases = [
            ("MIT", true),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0/MIT", true),
            ("GPL-3.0", false),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(GPL-2.0 OR LGPL-3.0) AND Unicode-3.0", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("GPL-3.0 WITH Classpath-exception-2.0", false),
            ("MIT)", false),
            ("(MIT", false),
            ("", false),
        ];
        for (expression, expected) in cases {
            assert_eq!(satisfies(expression, &deny().licenses.allow), expected, "{expression}");
        }
    }

    #[test]
    fn a_licence_that_is_not_allowed_and_a_banned_crate_are_found() {
        let dependency = |name: &str, licence: Option<&str>| Dependency {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: licence.map(str::to_owned),
        };
        let graph = [
            dependency("fine", Some("MIT")),
            dependency("copyleft", Some("AGPL-3.0")),
            dependency("silent", None),
            dependency("openssl-sys", Some("MIT")),
        ];
        let findings = judge(Path::new("/"), &deny(), &graph);
        let found: Vec<_> = findings.iter().map(|finding| (finding.rule, finding.message.as_str())).collect();
        assert_eq!(
            found,
            [
                ("licence", "`copyleft 1.0.0` is under `AGPL-3.0`"),
                ("licence", "`silent 1.0.0` names no licence"),
                ("banned-crate", "`openssl-sys 1.0.0` is in the graph"),
            ]
        );
    }
}
