//! Each `diagnostics/*.yaml` is a flow with mistakes; the `.expect` file beside it lists every finding.

use std::fmt::Write as _;
use std::path::Path;

use testmesh_runner::diagnostic::{Code, Diagnostic, Severity};
use testmesh_runner::flow::{Flow, ParseOptions};
use testmesh_runner::plugins::Plugins;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/diagnostics")
}

/// `line:column-end severity code: message (help)`, a line for each finding.
fn listed(findings: &[Diagnostic]) -> String {
    let mut list = String::new();
    for finding in findings {
        let end = if finding.end_line == finding.line {
            finding.end_column.to_string()
        } else {
            format!("{}:{}", finding.end_line, finding.end_column)
        };
        let help = finding.help.as_ref().map(|help| format!(" ({})", without_actions(help))).unwrap_or_default();
        let severity = finding.severity.as_str();
        let Diagnostic { line, column, code, message, .. } = finding;
        writeln!(list, "{line}:{column}-{end} {severity} {code}: {message}{help}").expect("a string can be written");
    }
    list
}

/// Which actions are nearest to an unknown one changes with each that is added: three are named.
fn without_actions(help: &str) -> String {
    let listed = help.strip_prefix("the nearest are ").and_then(|rest| rest.split_once("; `testmesh actions`"));
    match listed {
        Some((names, rest)) if names.split(", ").count() == 3 => {
            format!("the nearest are …; `testmesh actions`{rest}")
        }
        _ => help.to_owned(),
    }
}

#[test]
fn every_mistake_is_found_at_its_place() {
    let mut wrong = String::new();
    let mut checked = 0;
    for entry in std::fs::read_dir(folder()).expect("the cases are there") {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        checked += 1;
        let text = std::fs::read_to_string(&path).expect("the case can be read");
        let expected = std::fs::read_to_string(path.with_extension("expect")).unwrap_or_default();
        let options = ParseOptions { plugins: Plugins::none(), ..ParseOptions::default() };
        let found = listed(&Flow::parse(&text, &options).diagnostics);
        if found != expected {
            write!(wrong, "{}:\n{found}\ninstead of\n{expected}\n", path.display()).expect("a string can be written");
        }
    }
    assert!(checked >= 10, "only {checked} cases");
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_code_says_what_it_means() {
    for code in Code::ALL {
        let words = code.as_str();
        assert!(words.chars().all(|next| next.is_ascii_lowercase() || next.is_ascii_digit() || next == '_'), "{words}");
        assert!(code.explanation().ends_with('.'), "{words}: {}", code.explanation());
    }
}

#[test]
fn a_finding_is_shown_with_its_line_and_carets() {
    let text = "name: x\nsteps:\n  - action: dely\n    config: {duration: 1s}\n";
    let parsed = Flow::parse(text, &ParseOptions::default());
    let shown = parsed.diagnostics[0].render(Some("a.yaml"), false);
    assert_eq!(
        shown,
        "error[unknown_action]: no action is called `dely`\n --> a.yaml:3:13\n  |\n3 |   - action: dely\n  |             ^^^^\n  = \
         help: did you mean `delay`?\n"
    );
    assert!(parsed.diagnostics[0].render(None, true).contains("\u{1b}[1;31m"), "colour is missing");
}

#[test]
fn strict_makes_errors_of_warnings() {
    let text = "name: x\ntag: y\nsteps:\n  - {action: delay, config: {duration: 1s}}\n";
    let lenient = Flow::parse(text, &ParseOptions::default());
    assert_eq!((lenient.is_valid(), lenient.flows.len(), lenient.diagnostics.len()), (true, 1, 1));
    let strict = Flow::parse(text, &ParseOptions { strict: true, ..ParseOptions::default() });
    assert_eq!((strict.is_valid(), strict.flows.len(), strict.diagnostics[0].severity), (false, 0, Severity::Error));
    let own = Flow::parse(&format!("{text}config: {{strict: true}}\n"), &ParseOptions::default());
    assert!(!own.is_valid());
}

#[test]
fn names_given_from_outside_are_known() {
    let text = "name: x\nsteps:\n  - {action: log, config: {message: \"${base_url} ${REGION}\"}}\n";
    let count = |known_names: &[&str]| {
        let known_names = known_names.iter().map(|name| (*name).to_owned()).collect();
        Flow::parse(text, &ParseOptions { known_names, ..ParseOptions::default() }).diagnostics.len()
    };
    assert_eq!((count(&[]), count(&["base_url"]), count(&["base_url", "REGION"])), (2, 1, 0));
}
