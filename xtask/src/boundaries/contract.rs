//! The public interface of each domain, against what is recorded in `docs/contracts/<crate>.txt`.
//!
//! A line is `kind path`, and after a `#` the reason for an exception. A new line is a change of the architecture that
//! a reviewer sees.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::interface::{self, PublicItem};
use crate::finding::{Finding, Rule};
use crate::workspace::{self, Failure, Member};

const DOMAINS: &[&str] = &["testmesh-api", "testmesh-runner", "testmesh-scheduler", "testmesh-storage"];

/// Types that a domain keeps to itself: callers hold the trait.
const CONCRETE: &[&str] = &["Repository", "Executor", "Scheduler"];

const UNDOCUMENTED: Rule = Rule {
    name: "undocumented-item",
    reason: "what is public can be depended on, so every public item of a domain is decided, not found",
    remedy: "make it `pub(crate)`; if it is meant to be public, record it with `cargo xtask boundaries --bless`",
};

const GONE: Rule = Rule {
    name: "missing-item",
    reason: "the contract names what others may rely on",
    remedy: "put the item back, or record that it is gone with `cargo xtask boundaries --bless`",
};

const EXPOSED: Rule = Rule {
    name: "concrete-type",
    reason: "a caller that holds the type behind the trait cannot be given the remote one",
    remedy: "make it `pub(crate)` and return `Arc<dyn …>`; an exception needs a `# reason` on its line of the contract",
};

const GLOB: Rule = Rule {
    name: "glob-export",
    reason: "a glob makes public whatever the other side adds",
    remedy: "name what is re-exported",
};

/// Checks every domain.
pub(crate) fn check(root: &Path, members: &[Member]) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for member in members.iter().filter(|member| DOMAINS.contains(&member.name.as_str())) {
        let items = interface::read(&member.folder)?;
        let file = contract_file(root, &member.name);
        let text = if file.exists() { workspace::read(&file)? } else { String::new() };
        findings.extend(compare(root, &items, &file, &text));
    }
    Ok(findings)
}

/// Records every domain as it is; reasons that were written are kept.
pub(crate) fn bless(root: &Path, members: &[Member], out: &mut dyn Write) -> Result<(), Failure> {
    for member in members.iter().filter(|member| DOMAINS.contains(&member.name.as_str())) {
        let items = interface::read(&member.folder)?;
        let file = contract_file(root, &member.name);
        let before = if file.exists() { workspace::read(&file)? } else { String::new() };
        let after = render(&member.name, &items, &before);
        if before != after {
            fs::create_dir_all(root.join("docs/contracts"))?;
            fs::write(&file, after)?;
            writeln!(out, "wrote {}", file.display())?;
        }
    }
    Ok(())
}

fn contract_file(root: &Path, name: &str) -> PathBuf {
    root.join("docs/contracts").join(format!("{name}.txt"))
}

fn render(name: &str, items: &[PublicItem], before: &str) -> String {
    let recorded = parse(before);
    let mut text = format!("# What `{name}` shows of itself. Written by `cargo xtask boundaries --bless`.\n");
    for item in items {
        let entry = entry(item);
        match recorded.get(entry.as_str()).and_then(|line| line.reason) {
            Some(reason) => writeln!(text, "{entry}  # {reason}"),
            None => writeln!(text, "{entry}"),
        }
        .expect("a string takes every write");
    }
    text
}

fn entry(item: &PublicItem) -> String {
    format!("{} {}", item.kind, item.path)
}

struct Recorded<'a> {
    line: usize,
    reason: Option<&'a str>,
}

fn parse(text: &str) -> BTreeMap<&str, Recorded<'_>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            let (entry, reason) = match line.split_once('#') {
                Some((entry, reason)) => (entry.trim(), Some(reason.trim())),
                None => (line.trim(), None),
            };
            (entry, Recorded { line: index + 1, reason })
        })
        .collect()
}

fn compare(root: &Path, items: &[PublicItem], file: &Path, text: &str) -> Vec<Finding> {
    let mut recorded = parse(text);
    let mut findings = Vec::new();
    for item in items {
        let entry = entry(item);
        let known = recorded.remove(entry.as_str());
        if item.path.ends_with('*') {
            findings.push(Finding::new(root, &item.file, item.line, &GLOB, "everything of a module is re-exported"));
            continue;
        }
        let excused = known.as_ref().is_some_and(|line| line.reason.is_some());
        if known.is_none() {
            findings.push(Finding::new(root, &item.file, item.line, &UNDOCUMENTED, format!("`{entry}` is public")));
        }
        if is_concrete(item) && !excused {
            findings.push(Finding::new(root, &item.file, item.line, &EXPOSED, format!("`{entry}` is public")));
        }
    }
    for (entry, Recorded { line, .. }) in recorded {
        findings.push(Finding::new(root, file, line, &GONE, format!("`{entry}` is not public, or not there")));
    }
    findings
}

fn is_concrete(item: &PublicItem) -> bool {
    let is_type = matches!(item.kind, "struct" | "enum" | "type" | "union" | "use");
    is_type && CONCRETE.iter().any(|ending| item.path.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    #[track_caller]
    fn find(source: &str, contract: &str, expected: &[(&str, usize, &str)]) {
        let folder = fixture::folder(&[
            ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/testmesh-storage\"]\n"),
            ("crates/testmesh-storage/Cargo.toml", "[package]\nname = \"testmesh-storage\"\nversion = \"0.1.0\"\n"),
            ("crates/testmesh-storage/src/lib.rs", source),
            ("docs/contracts/testmesh-storage.txt", contract),
        ]);
        let root = folder.path().canonicalize().unwrap();
        let findings = check(&root, &workspace::members(&root).unwrap()).unwrap();
        let found: Vec<_> =
            findings.iter().map(|finding| (finding.file.to_str().unwrap(), finding.line, finding.rule)).collect();
        assert_eq!(found, expected);
    }

    const SOURCE: &str = "crates/testmesh-storage/src/lib.rs";
    const CONTRACT: &str = "docs/contracts/testmesh-storage.txt";

    #[test]
    fn the_recorded_interface_passes() {
        find("pub trait FlowRepository {}\npub struct Flow;\n", "# x\ntrait FlowRepository\nstruct Flow\n", &[]);
    }

    #[test]
    fn an_item_that_is_not_recorded_is_found() {
        find("pub struct Flow;\npub fn open() {}\n", "struct Flow\n", &[(SOURCE, 2, "undocumented-item")]);
    }

    #[test]
    fn a_recorded_item_that_is_gone_is_found() {
        find("pub(crate) struct Flow;\n", "# x\nstruct Flow\n", &[(CONTRACT, 2, "missing-item")]);
    }

    #[test]
    fn a_public_repository_type_is_found_though_it_is_recorded() {
        let source = "pub struct SqliteFlowRepository;\n";
        find(source, "struct SqliteFlowRepository\n", &[(SOURCE, 1, "concrete-type")]);
        find(source, "struct SqliteFlowRepository  # the tests of every backend need it\n", &[]);
        find(
            "mod a { pub struct LocalExecutor; }\npub use a::LocalExecutor;\n",
            "struct LocalExecutor\n",
            &[(SOURCE, 2, "concrete-type")],
        );
    }

    #[test]
    fn a_glob_is_found() {
        find("pub use std::fs::*;\n", "", &[(SOURCE, 1, "glob-export")]);
    }

    #[test]
    fn recording_keeps_reasons() {
        let item = |path: &str| PublicItem { kind: "struct", path: path.to_owned(), file: PathBuf::new(), line: 1 };
        let text = render("testmesh-x", &[item("A"), item("B")], "struct B  # because\nstruct Old  # gone\n");
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(lines, ["struct A", "struct B  # because"]);
    }
}
