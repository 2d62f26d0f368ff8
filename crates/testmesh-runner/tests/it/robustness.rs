//! No input makes the parser panic or hang.

use std::fmt::Write as _;

use proptest::prelude::*;
use testmesh_runner::flow::{Flow, Limits, ParseOptions, format, parse_dotenv};

/// A flow with a bit of everything, to be damaged.
const FLOW: &str = include_str!("diagnostics/everything.yaml");

fn parse(bytes: &[u8]) {
    let parsed = Flow::parse_bytes(bytes, &ParseOptions::default());
    for finding in &parsed.diagnostics {
        assert!(finding.line >= 1 && finding.column >= 1, "{finding:?}");
        assert!((finding.end_line, finding.end_column) > (finding.line, finding.column), "{finding:?}");
        assert!(finding.render(Some("x"), true).contains(&finding.code));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(tidy) = format(text)
    {
        assert_eq!(format(&tidy).as_ref(), Ok(&tidy));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse(&bytes);
    }

    #[test]
    fn any_text_is_parsed_without_panic(text in r#"[ \n\t\-:\[\]{}"'|>&*!#?%@`$a-z0-9é€]{0,300}"#) {
        parse(text.as_bytes());
        let _ = parse_dotenv(&text);
    }

    #[test]
    fn a_damaged_flow_is_parsed_without_panic(
        at in 0..FLOW.len(),
        length in 0_usize..40,
        inserted in r#"[ \n\t\-:\[\]{}"'|>&*!#?%$.a-z0-9é]{0,12}"#,
    ) {
        let mut bytes = FLOW.as_bytes().to_vec();
        let end = (at + length).min(bytes.len());
        bytes.splice(at..end, inserted.bytes());
        parse(&bytes);
    }

    #[test]
    fn a_truncated_flow_is_parsed_without_panic(end in 0..FLOW.len()) {
        parse(&FLOW.as_bytes()[..end]);
    }
}

fn codes(text: &str, options: &ParseOptions) -> Vec<String> {
    Flow::parse(text, options).diagnostics.into_iter().map(|finding| finding.code).collect()
}

#[test]
fn what_is_too_much_is_refused() {
    let options = ParseOptions {
        limits: Limits { file_bytes: 100_000, steps: 5, nesting: 2, string_bytes: 1_000 },
        ..ParseOptions::default()
    };
    let step = "  - {action: delay, config: {duration: 1s}}\n";
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip(["a", "b", "c", "d", "e", "f", "g", "h"])
    {
        let aliases = vec![format!("*{before}"); 8].join(", ");
        writeln!(bomb, "{name}: &{name} [{aliases}]").expect("a string can be written");
    }
    for text in [
        format!("name: x\nsteps:\n{}", step.repeat(6)),
        format!("name: x\nsteps:\n{}", step.repeat(5_000)),
        format!("name: {}\nsteps:\n{step}", "x".repeat(1_001)),
        format!("name: x\nsteps:\n{step}data: {}{}\n", "[".repeat(70), "]".repeat(70)),
        format!("name: x\nsteps:\n{step}env: {}1{}\n", "{a: ".repeat(90), "}".repeat(90)),
        bomb,
        format!("{}a", "- ".repeat(5_000)),
    ] {
        let found = codes(&text, &options);
        let refused = ["limit_exceeded", "yaml_syntax"];
        assert!(found.iter().any(|code| refused.contains(&code.as_str())), "{found:?} in {text:.60}");
    }
    assert!(codes(&format!("name: x\nsteps:\n{}", step.repeat(5)), &options).is_empty());
}

#[test]
fn files_that_are_no_flow_say_so() {
    let options = ParseOptions::default();
    for (bytes, code, place) in [
        (&b""[..], "empty_file", (1, 1)),
        (b"# only a comment\n", "empty_file", (1, 1)),
        (b"\xef\xbb\xbf", "empty_file", (1, 1)),
        (b"name: x\nsteps: \xff\n", "not_utf8", (2, 8)),
        (b"\xff\xfen\x00", "not_utf8", (1, 1)),
        (b"just text", "wrong_type", (1, 1)),
        (b"- a\n- b\n", "wrong_type", (1, 1)),
        (b"flow: text\n", "wrong_type", (1, 7)),
        (b"name: x\nsteps:\n\t- action: log\n", "yaml_syntax", (3, 2)),
        (b"name: a: b\n", "yaml_syntax", (1, 8)),
    ] {
        let parsed = Flow::parse_bytes(bytes, &options);
        let found: Vec<_> = parsed.diagnostics.iter().map(|f| (f.code.as_str(), (f.line, f.column))).collect();
        assert_eq!(found, [(code, place)], "{:?}", String::from_utf8_lossy(bytes));
        assert!(parsed.flows.is_empty());
    }
}

#[test]
fn line_ends_and_marks_of_other_systems_change_nothing() {
    let unix = "name: x\nsteps:\n  - id: wait\n    action: delay\n    config:\n      duration: 0x\n";
    let dos = format!("\u{feff}{}", unix.replace('\n', "\r\n"));
    let options = ParseOptions::default();
    assert_eq!(Flow::parse(unix, &options).diagnostics, Flow::parse(&dos, &options).diagnostics);
}

#[test]
fn several_documents_are_several_flows() {
    let one = "name: x\nsteps:\n  - {action: delay, config: {duration: 1s}}\n";
    let parsed =
        Flow::parse(&format!("---\n{one}---\nflow:\n  {}\n---\n", one.replace('\n', "\n  ")), &ParseOptions::default());
    assert_eq!((parsed.flows.len(), parsed.diagnostics), (2, Vec::new()));
}
