//! What the plain reader reads, the full parser reads alike.

use proptest::prelude::*;

use super::super::{Findings, documents_in_full};
use super::*;

/// A flow with a bit of everything, to be damaged.
const FLOW: &str = include_str!("../../../../tests/it/diagnostics/everything.yaml");

/// A file in the plain way of writing, to be damaged.
const PLAIN: &str = "\
# A comment.
flow:
  name: plain # with a comment
  tags: [smoke, \"a, b\", 'it''s', 3]
  env: {BASE: /v1, n: 0.50, none: null}
  empty:
  steps:
    - id: one
      action: http_request

      config:
        url: \"${BASE}/things?x=1#top\"
        body: |
          {\"a\": 1}

            indented
        script: |-
          one
        headers:
          X-One: it's a text, with {braces}
      assert:
      - status == 200
      - body.items[0].id == \"a:b\"
    -
      id: two
    - - nested
      - list

  last: done
";

/// Whether the plain reader read `text`; then the full parser must agree.
fn agrees(text: &str, string_bytes: usize) -> bool {
    let Some(node) = document(text, string_bytes) else { return false };
    let mut findings = Findings::new(text);
    let full = documents_in_full(text, string_bytes, &mut findings);
    assert_eq!(findings.into_sorted(), [], "the full parser finds mistakes in {text:?}");
    let plain = if node.is_null() { vec![] } else { vec![node] };
    assert_eq!(plain, full, "{text:?}");
    true
}

#[test]
fn ordinary_texts_are_read_and_read_alike() {
    for text in [
        PLAIN,
        "---\na: 1\n",
        "a: 1",
        "a: 1 ",
        "a:\n  b:\n    c: d\ne: f\n\n# end",
        "a:\n- x\n- y: 1\n  z: 2\nb: 3",
        "a:\n-   x\n",
        "a:\n  -\n    b: 1\n",
        "- - - a\n    - b\n  - c\n- d\n",
        "a :  b\nc  : d\n",
        "a:    # comment\n  b\n",
        "a:\n  'text'\nb:\n  \"text\"   # comment\n",
        "a: |\n  text\n\n\n# comment\nb: 1\n",
        "a: |\n  text\n   more\n   \n",
        "a: |-\n  text\n\nb: é\n",
        "a: []\nb: {}\nc: [ 1, [x, y], {a: b} ]\n",
        "a: -1\nb: --flag\nc: -x\nd: x-y\ne: http://x:80/a#b\nf: a - b\n",
        "naïve: ключ\n",
        "a: 'x' # y\n",
        "  a: 1\n  b: 2\n",
        "\n\n# c\n\n  a: 1\n\n",
        "text alone\n",
    ] {
        assert!(agrees(text, usize::MAX), "left to the full parser: {text:?}");
    }
}

#[test]
fn unusual_texts_are_left_to_the_full_parser() {
    for text in [
        "",
        "# nothing\n",
        "a: &x 1\nb: *x\n",
        "a: !str 1\n",
        "<<: {a: 1}\n",
        "a: 1\na: 2\n",
        "a: 1\n---\nb: 2\n",
        "a: one\n  two\n",
        "a: \"x\\n\"\n",
        "a: \"x\n  y\"\n",
        "a: b: c\n",
        "a:\n\tb: 1\n",
        "a: 1\r\nb: 2\r\n",
        "a: >\n  folded\n",
        "a:\n  - b\n  -\n",
        "? a\n: b\n",
        "a: [b: c]\n",
        "a: [\n  b\n]\n",
        "a: 1\n b: 2\n",
        "a:\n  - b\n  c: 1\n",
        "\u{feff}a: 1\n",
        "a: \u{a0}\n",
    ] {
        assert!(document(text, usize::MAX).is_none(), "{text:?}");
    }
    assert!(document("a: long\n", 3).is_none());
}

#[test]
fn the_examples_of_the_project_are_read_plainly() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let files = std::fs::read_dir(folder).expect("the examples are there");
    let (mut n_read, mut n_plain) = (0, 0);
    for file in files.map(|entry| entry.expect("a file").path()) {
        if file.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&file).expect("an example is text");
            n_read += 1;
            n_plain += usize::from(agrees(&text, usize::MAX));
        }
    }
    assert!(n_plain * 2 > n_read, "{n_plain} of {n_read}");
}

/// Lines as people write them, in any order and indentation.
fn lines() -> impl Strategy<Value = String> {
    let content = prop_oneof![
        8 => "[a-f]",
        2 => r#"("[^"\\\n]{0,5}"|'[a-d '#:]{0,5}')"#,
        2 => r"\[([a-c]|1|x y|\{a: b\}|, ){0,4}\]",
        2 => "[a-c #:,.$*&!?|>%@{}-]{0,6}",
        1 => Just(String::new()),
        1 => "-?[0-9]{1,3}(\\.[0-9]{1,2})?",
    ];
    let shape = (content, prop_oneof![6 => Just(false), 1 => Just(true)], "( {0,2}# ?x)?");
    let before = prop_oneof![
        4 => Just(""), 4 => Just("k: "), 3 => Just("l:"), 3 => Just("m: "), 3 => Just("- "), 1 => Just("-"),
        2 => Just("- n: "), 1 => Just("- - "), 1 => Just("o: |"), 1 => Just("p: |-"), 1 => Just("\"q\": "),
    ];
    let line = (0_usize..4, before, shape).prop_map(|(indent, before, (content, colon, comment))| {
        let colon = if colon { ":" } else { "" };
        format!("{}{before}{content}{colon}{comment}", "  ".repeat(indent))
    });
    proptest::collection::vec(line, 1..9).prop_map(|lines| lines.join("\n"))
}

/// Nested maps and lists, mostly well formed, with the odd line out.
fn nested(depth: u32) -> BoxedStrategy<Vec<String>> {
    let scalar = prop_oneof![
        "[a-c]{1,2}",
        "'[a-c: #]{0,4}'",
        "\"[a-c: #]{0,4}\"",
        Just("[1, a]".to_owned()),
        Just(String::new())
    ];
    let leaf = scalar.prop_map(|text| vec![text]).boxed();
    if depth == 0 {
        return leaf;
    }
    let map = (proptest::collection::vec((nested(depth - 1), 0_usize..4, "( # [a-c]|)"), 1..4)).prop_map(|entries| {
        let mut lines = Vec::new();
        for (index, (value, indent, comment)) in entries.into_iter().enumerate() {
            let key = format!("k{index}");
            match &value[..] {
                [only] if !only.starts_with(['-', 'k']) => lines.push(format!("{key}: {only}{comment}")),
                _ => {
                    lines.push(format!("{key}:{comment}"));
                    lines.extend(value.iter().map(|line| format!("{}{line}", " ".repeat(indent))));
                }
            }
        }
        lines
    });
    let list = (proptest::collection::vec((nested(depth - 1), 1_usize..3), 1..4)).prop_map(|items| {
        let mut lines = Vec::new();
        for (value, indent) in items {
            for (index, line) in value.iter().enumerate() {
                let before = if index == 0 { format!("-{}", " ".repeat(indent)) } else { " ".repeat(indent + 1) };
                lines.push(format!("{before}{line}"));
            }
        }
        lines
    });
    prop_oneof![1 => leaf, 3 => map, 3 => list].boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn lines_in_any_order_are_read_alike(text in lines(), end in "(|\n|\n\n| )") {
        agrees(&format!("{text}{end}"), usize::MAX);
    }

    #[test]
    fn nested_parts_are_read_alike(lines in nested(4), end in "(|\n|\n# c|\n  \n)") {
        agrees(&format!("{}{end}", lines.join("\n")), usize::MAX);
    }

    #[test]
    fn any_text_is_read_alike(text in r#"[ \n:\-\[\]{}"'|>&*!#?%@`$a-c0-1é]{0,24}"#) {
        agrees(&text, usize::MAX);
    }

    #[test]
    fn a_damaged_plain_file_is_read_alike(
        at in 0..PLAIN.len(), length in 0_usize..12, inserted in r#"[ \n:\-\[\]{}"'|>&*!#?%.a-c0-9é]{0,8}"#,
    ) {
        let mut text = PLAIN.to_owned();
        text.replace_range(at..(at + length).min(PLAIN.len()), &inserted);
        agrees(&text, usize::MAX);
    }

    #[test]
    fn a_damaged_flow_is_read_alike(at in 0..FLOW.len(), inserted in r#"[ \n:\-\[\]{}"'|#?%.a-c0-9]{0,8}"#) {
        let at = FLOW.floor_char_boundary(at);
        let mut text = FLOW.to_owned();
        text.insert_str(at, &inserted);
        agrees(&text, usize::MAX);
        agrees(&FLOW[..at], 30);
    }
}
