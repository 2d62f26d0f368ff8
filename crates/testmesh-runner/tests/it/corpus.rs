//! Flow files that others wrote validate without a false error.
//!
//! They are no part of the project: the folder is named by `TESTMESH_CORPUS`, or found beside the project. Without it
//! there is nothing to check, and the test says so.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use testmesh_runner::diagnostic::Severity;
use testmesh_runner::flow::{Flow, ParseOptions, format};

/// Folders of which every file is a good flow, apart from actions that are not there yet.
const GOOD: &[&str] = &["generated-flows", "demo-services", "examples/microservices", "api/cmd/seed"];

fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    #[allow(clippy::disallowed_methods, reason = "a test is told by its environment where the files are")]
    let named = std::env::var("TESTMESH_CORPUS").map(PathBuf::from);
    Some(named.unwrap_or(beside)).filter(|folder| folder.is_dir())
}

fn flows(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it can be read")) {
        let path = entry.path();
        if path.is_dir() {
            flows(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            found.push(path);
        }
    }
}

/// Every flow file below `below`; none when the corpus is not there.
fn corpus(below: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    match folder() {
        Some(folder) => flows(&folder.join(below), &mut found),
        None => {
            writeln!(std::io::stderr(), "no corpus here: nothing was checked").expect("standard error can be written");
        }
    }
    found.sort();
    found
}

#[test]
fn good_flows_have_no_errors() {
    let mut wrong = String::new();
    for path in GOOD.iter().flat_map(|below| corpus(below)) {
        let bytes = std::fs::read(&path).expect("the file can be read");
        let parsed = Flow::parse_bytes(&bytes, &ParseOptions::default());
        for finding in parsed.diagnostics {
            if finding.severity == Severity::Error && finding.code != "action_not_available" {
                wrong.push_str(&finding.render(path.to_str(), false));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_file_is_yaml_and_stays_so_when_tidied() {
    for path in corpus("") {
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let tidy = format(&text).unwrap_or_else(|findings| panic!("{}: {findings:?}", path.display()));
        assert_eq!(format(&tidy).as_ref(), Ok(&tidy), "{}", path.display());
    }
}

#[test]
fn references_of_the_corpus_are_understood() {
    for path in GOOD.iter().flat_map(|below| corpus(below)) {
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let parsed = Flow::parse(&text, &ParseOptions::default());
        for finding in &parsed.diagnostics {
            // What may be defined outside the file is named in capitals throughout.
            if finding.code == "undefined_reference" {
                let name = finding.message.split('`').nth(1).unwrap_or_default();
                assert!(!name.contains(char::is_lowercase), "{}", finding.render(path.to_str(), false));
            }
        }
    }
}
