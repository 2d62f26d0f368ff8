//! The crate graph: only the edges that the architecture names, and no cycle.
//!
//! Edges for tests count as well, apart from those to `testmesh-shared`, which holds what tests have in common, and from
//! those by which a crate's own tests turn on a feature of the crate.

use std::path::Path;

use crate::finding::{Finding, Rule};
use crate::workspace::{self, Edge, Failure, Member};

const SHARED: &str = "testmesh-shared";

/// The feature of a crate that is for tests alone.
const FOR_TESTS: &str = "test-support";

/// Each library crate and what it may depend on. Binaries below `bins/` wire everything, so they may use any.
const ALLOWED: &[(&str, &[&str])] = &[
    ("testmesh-api", &["testmesh-scheduler", "testmesh-runner", "testmesh-storage", SHARED]),
    ("testmesh-scheduler", &[SHARED]),
    ("testmesh-runner", &["testmesh-storage", SHARED]),
    ("testmesh-storage", &[SHARED]),
    (SHARED, &[]),
    ("xtask", &[]),
];

const EDGE: Rule = Rule {
    name: "crate-edge",
    reason: "a domain reaches another through the graph of docs/ARCHITECTURE.md alone, so that it can move out of the process",
    remedy: "depend on a trait of an allowed crate, or move the shared type to `testmesh-shared`; a new edge is a change of the architecture",
};

const EXAMPLE: Rule = Rule {
    name: "example-edge",
    reason: "an example stands for somebody else's system; built on TestMesh, it would test TestMesh with itself",
    remedy: "use the library that the crate uses, or write what is needed in the example",
};

const TEST_SUPPORT: Rule = Rule {
    name: "test-support",
    reason: "what makes databases and plugins for tests has no place in a server that people run",
    remedy: "turn the feature on below `[dev-dependencies]`; what the product needs does not belong behind it",
};

const CYCLE: Rule = Rule {
    name: "crate-cycle",
    reason: "crates in a cycle are one crate: neither can be built, tested or moved alone",
    remedy: "remove one of the edges; what both need belongs into `testmesh-shared`",
};

const UNKNOWN: Rule = Rule {
    name: "unknown-crate",
    reason: "a crate without a place in the architecture has no boundary to check",
    remedy: "give it a row in `xtask/src/boundaries/graph.rs` and in docs/ARCHITECTURE.md, or put a binary below `bins/`",
};

/// Checks the edges between the members of the workspace.
pub(crate) fn check(root: &Path, members: &[Member]) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for member in members {
        let manifest = workspace::read(&member.manifest)?;
        for edge in member.edges.iter().filter(|edge| !edge.for_tests && edge.features.iter().any(|on| on == FOR_TESTS))
        {
            let message =
                format!("`{}` depends on `{}` with `{FOR_TESTS}`, and not for its tests", member.name, edge.to);
            findings.push(Finding::new(root, &member.manifest, line_of(&manifest, &edge.to), &TEST_SUPPORT, message));
        }
        if member.folder.starts_with(root.join("examples")) {
            for edge in &member.edges {
                let message = format!("the example `{}` depends on `{}`", member.name, edge.to);
                findings.push(Finding::new(root, &member.manifest, line_of(&manifest, &edge.to), &EXAMPLE, message));
            }
            continue;
        }
        let wires_everything = member.folder.starts_with(root.join("bins"));
        match ALLOWED.iter().find(|(name, _)| *name == member.name) {
            _ if wires_everything => {}
            None => findings.push(Finding::new(
                root,
                &member.manifest,
                1,
                &UNKNOWN,
                format!("`{}` has no place in the architecture", member.name),
            )),
            Some((_, allowed)) => {
                for edge in member.edges.iter().filter(|edge| !is_allowed(edge, allowed) && !is_own(member, edge)) {
                    let kind = if edge.for_tests { " in its tests" } else { "" };
                    let message = format!("`{}` depends on `{}`{kind}", member.name, edge.to);
                    let line = line_of(&manifest, &edge.to);
                    findings.push(Finding::new(root, &member.manifest, line, &EDGE, message));
                }
            }
        }
    }
    if let Some(cycle) = find_cycle(members) {
        let first = cycle[0];
        let names: Vec<_> = cycle.iter().map(|member| member.name.as_str()).collect();
        let manifest = workspace::read(&first.manifest)?;
        let line = line_of(&manifest, names.get(1).copied().unwrap_or(names[0]));
        let message = format!("{} → {}", names.join(" → "), names[0]);
        findings.push(Finding::new(root, &first.manifest, line, &CYCLE, message));
    }
    Ok(findings)
}

fn is_allowed(edge: &Edge, allowed: &[&str]) -> bool {
    allowed.contains(&edge.to.as_str()) || (edge.for_tests && edge.to == SHARED)
}

/// Whether a crate's tests use the crate itself, with more of its features. It is built and moved as it is without.
fn is_own(member: &Member, edge: &Edge) -> bool {
    edge.for_tests && edge.to == member.name
}

/// The line of a manifest that names a dependency.
fn line_of(manifest: &str, dependency: &str) -> usize {
    let names_it =
        |line: &str| line.trim_start().strip_prefix(dependency).is_some_and(|rest| rest.starts_with([' ', '=', '.']));
    manifest.lines().position(names_it).map_or(1, |index| index + 1)
}

/// The members of a cycle, in the order of its edges.
fn find_cycle(members: &[Member]) -> Option<Vec<&Member>> {
    let mut done = vec![false; members.len()];
    let mut path = Vec::new();
    (0..members.len()).find_map(|start| walk(members, start, &mut done, &mut path))
}

fn walk<'a>(members: &'a [Member], at: usize, done: &mut [bool], path: &mut Vec<usize>) -> Option<Vec<&'a Member>> {
    if let Some(start) = path.iter().position(|visited| *visited == at) {
        return Some(path[start..].iter().map(|index| &members[*index]).collect());
    }
    if done[at] {
        return None;
    }
    path.push(at);
    for edge in members[at].edges.iter().filter(|edge| !is_own(&members[at], edge)) {
        if let Some(next) = members.iter().position(|member| member.name == edge.to)
            && let Some(cycle) = walk(members, next, done, path)
        {
            return Some(cycle);
        }
    }
    path.pop();
    done[at] = true;
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    #[track_caller]
    fn check_edges(crates: &[(&str, &[&str])], expected: &[(&str, usize, &str, &str)]) {
        let folder = fixture::workspace(crates);
        let root = folder.path().canonicalize().unwrap();
        let findings = check(&root, &workspace::members(&root).unwrap()).unwrap();
        let found: Vec<_> = findings
            .iter()
            .map(|finding| (finding.file.to_str().unwrap(), finding.line, finding.rule, finding.message.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    const API: &str = "crates/testmesh-api";
    const RUNNER: &str = "crates/testmesh-runner";
    const SCHEDULER: &str = "crates/testmesh-scheduler";
    const STORAGE: &str = "crates/testmesh-storage";
    const SHARED_FOLDER: &str = "crates/testmesh-shared";

    #[test]
    fn the_edges_of_the_architecture_pass() {
        check_edges(
            &[
                (API, &["testmesh-scheduler", "testmesh-runner", "testmesh-storage", "testmesh-shared"]),
                (
                    RUNNER,
                    &[
                        "testmesh-storage",
                        "testmesh-shared",
                        "dev:testmesh-shared[test-support]",
                        "dev:testmesh-runner",
                    ],
                ),
                (SCHEDULER, &["testmesh-shared"]),
                (STORAGE, &["testmesh-shared"]),
                (SHARED_FOLDER, &[]),
                ("bins/testmesh", &["testmesh-runner", "testmesh-api"]),
                ("xtask", &[]),
            ],
            &[],
        );
    }

    #[test]
    fn a_forbidden_edge_is_found_at_its_line() {
        check_edges(
            &[(RUNNER, &[]), (SCHEDULER, &["testmesh-runner"])],
            &[(
                "crates/testmesh-scheduler/Cargo.toml",
                7,
                "crate-edge",
                "`testmesh-scheduler` depends on `testmesh-runner`",
            )],
        );
    }

    #[test]
    fn a_forbidden_edge_of_tests_is_found() {
        check_edges(
            &[(API, &[]), (STORAGE, &["dev:testmesh-api"])],
            &[(
                "crates/testmesh-storage/Cargo.toml",
                9,
                "crate-edge",
                "`testmesh-storage` depends on `testmesh-api` in its tests",
            )],
        );
    }

    #[test]
    fn an_optional_or_built_with_edge_counts() {
        let tables = [
            ("[build-dependencies]", ""),
            ("[target.'cfg(unix)'.dependencies]", ""),
            ("[dependencies]", ", optional = true"),
        ];
        for (table, more) in tables {
            let table = format!("{table}\ntestmesh-runner = {{ path = \"../testmesh-runner\"{more} }}\n");
            let manifest = |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\n\n");
            let folder = fixture::folder(&[
                ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n"),
                ("crates/testmesh-runner/Cargo.toml", &manifest("testmesh-runner")),
                ("crates/testmesh-runner/src/lib.rs", "//! Nothing.\n"),
                ("crates/testmesh-scheduler/Cargo.toml", &format!("{}{table}", manifest("testmesh-scheduler"))),
                ("crates/testmesh-scheduler/src/lib.rs", "//! Nothing.\n"),
            ]);
            let root = folder.path().canonicalize().unwrap();
            let findings = check(&root, &workspace::members(&root).unwrap()).unwrap();
            let found: Vec<_> = findings.iter().map(|finding| (finding.line, finding.rule)).collect();
            assert_eq!(found, [(6, "crate-edge")], "{table}");
        }
    }

    #[test]
    fn support_for_tests_in_the_product_is_found() {
        check_edges(
            &[
                (SHARED_FOLDER, &[]),
                (RUNNER, &["testmesh-shared[test-support]"]),
                ("bins/a", &["dev:testmesh-shared[test-support]"]),
            ],
            &[(
                "crates/testmesh-runner/Cargo.toml",
                7,
                "test-support",
                "`testmesh-runner` depends on `testmesh-shared` with `test-support`, and not for its tests",
            )],
        );
    }

    #[test]
    fn xtask_may_use_no_crate_of_the_product() {
        check_edges(
            &[(SHARED_FOLDER, &[]), ("xtask", &["testmesh-shared"])],
            &[("xtask/Cargo.toml", 7, "crate-edge", "`xtask` depends on `testmesh-shared`")],
        );
    }

    #[test]
    fn an_example_uses_nothing_of_the_product_tests_included() {
        check_edges(
            &[(SHARED_FOLDER, &[]), (RUNNER, &[]), ("examples/shop", &["testmesh-shared", "dev:testmesh-runner"])],
            &[
                ("examples/shop/Cargo.toml", 7, "example-edge", "the example `shop` depends on `testmesh-shared`"),
                ("examples/shop/Cargo.toml", 10, "example-edge", "the example `shop` depends on `testmesh-runner`"),
            ],
        );
    }

    #[test]
    fn a_cycle_is_found() {
        check_edges(
            &[("bins/one", &["two"]), ("bins/two", &["three"]), ("bins/three", &["dev:one"])],
            &[("bins/one/Cargo.toml", 7, "crate-cycle", "one → two → three → one")],
        );
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        check_edges(
            &[("crates/testmesh-extras", &[])],
            &[(
                "crates/testmesh-extras/Cargo.toml",
                1,
                "unknown-crate",
                "`testmesh-extras` has no place in the architecture",
            )],
        );
    }
}
