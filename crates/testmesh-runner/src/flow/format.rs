//! Tidies a flow file without changing what it says: line ends, white space at line ends, blank lines.
//!
//! Keys, quotes, indentation and comments stay as written. What comes out is parsed again and compared before it is
//! returned, so a rewrite that would change a value is never handed out.

use std::ops::Range;

use super::findings::Findings;
use super::yaml::{self, Node, NodeKind};
use crate::diagnostic::Diagnostic;

/// Tidies `text`. Doing it twice changes nothing more.
///
/// # Errors
/// What keeps the text from being YAML.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    let mut findings = Findings::new(text);
    let documents = yaml::documents(text, usize::MAX, &mut findings);
    if findings.any_error_since(0) {
        return Err(findings.into_sorted());
    }
    let mut texts = Vec::new();
    for document in &documents {
        multiline(document, text, &mut texts);
    }
    // Blank lines after a block text belong to it only if it says so (`|+`): try to tidy them, keep them if it matters.
    for keep_blank_ends in [false, true] {
        let kept: Vec<Range<usize>> =
            texts.iter().map(|range| if keep_blank_ends { range.clone() } else { trimmed(text, range) }).collect();
        let tidy = tidied(text, &kept);
        if same_meaning(&documents, &tidy) {
            return Ok(tidy);
        }
    }
    Ok(text.to_owned())
}

fn trimmed(text: &str, range: &Range<usize>) -> Range<usize> {
    let content = range.start + text[range.clone()].trim_end_matches([' ', '\t', '\r', '\n']).len();
    // White space at the end of its last line is part of a block text.
    range.start..text[content..range.end].find('\n').map_or(range.end, |line_end| content + line_end)
}

fn same_meaning(documents: &[Node<'_>], tidy: &str) -> bool {
    let mut findings = Findings::new(tidy);
    let again = yaml::documents(tidy, usize::MAX, &mut findings);
    !findings.any_error_since(0)
        && documents.len() == again.len()
        && documents.iter().zip(&again).all(|(before, after)| same(before, after))
}

fn same(a: &Node<'_>, b: &Node<'_>) -> bool {
    match (&a.kind, &b.kind) {
        (NodeKind::Scalar(a), NodeKind::Scalar(b)) => a == b,
        (NodeKind::List(a), NodeKind::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (NodeKind::Map(a), NodeKind::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.key == b.key && same(&a.value, &b.value))
        }
        (NodeKind::Scalar(_) | NodeKind::List(_) | NodeKind::Map(_), _) => false,
    }
}

/// The byte ranges of texts that go over several lines.
fn multiline(node: &Node<'_>, text: &str, ranges: &mut Vec<Range<usize>>) {
    let mut add = |span: super::source::Span| {
        if text[span.start..span.end].contains('\n') {
            ranges.push(span.start..span.end);
        }
    };
    match &node.kind {
        NodeKind::Scalar(_) => add(node.span),
        NodeKind::List(items) => {
            for item in items {
                multiline(item, text, ranges);
            }
        }
        NodeKind::Map(entries) => {
            for entry in entries {
                add(entry.key_span);
            }
            for entry in entries {
                multiline(&entry.value, text, ranges);
            }
        }
    }
}

fn tidied(text: &str, texts: &[Range<usize>]) -> String {
    let mut tidy = String::with_capacity(text.len() + 1);
    let mut blank = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let range = at..at + line.len();
        at = range.end;
        let content = line.strip_suffix('\n').unwrap_or(line);
        let content = content.strip_suffix('\r').unwrap_or(content).trim_start_matches('\u{feff}');
        let end = range.start + content.len();
        // Behind the end of a text its last line may be tidied.
        if texts.iter().any(|text| text.start < end && text.end >= end) {
            tidy.push_str(content);
            tidy.push('\n');
            blank = 0;
            continue;
        }
        let content = content.trim_end_matches([' ', '\t']);
        if content.is_empty() {
            blank += 1;
            continue;
        }
        if blank > 0 && !tidy.is_empty() {
            tidy.push('\n');
        }
        blank = 0;
        tidy.push_str(content);
        tidy.push('\n');
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let tidy = format(text).expect(text);
        assert_eq!(tidy, expected, "{text:?}");
        assert_eq!(format(&tidy).expect("tidy text is YAML"), tidy, "a second time changes it: {text:?}");
    }

    #[test]
    fn white_space_is_tidied_and_nothing_else() {
        check("", "");
        check("a: 1", "a: 1\n");
        check("\u{feff}\n\na:   1  \r\n\r\n\r\n\r\n# c  \r\nb: 'x'\r\n\n\n", "a:   1\n\n# c\nb: 'x'\n");
        check("a:\n  - 1\n  -   two   # why \n\n\n  - {x:   y}\n", "a:\n  - 1\n  -   two   # why\n\n  - {x:   y}\n");
        check("a: 1\n\n---\n\n\nb: 2\n...\n", "a: 1\n\n---\n\nb: 2\n...\n");
    }

    #[test]
    fn texts_of_several_lines_keep_what_they_say() {
        check("a: |\n  x  \n\n\n  y\n\n\n\nb: 1\n", "a: |\n  x  \n\n\n  y\n\nb: 1\n");
        check("a: |+\n  x\n\n\n\nb: 1\n", "a: |+\n  x\n\n\n\nb: 1\n");
        check("a: \"x  \n\n\n\n  y\"   \nb: 1\n", "a: \"x  \n\n\n\n  y\"\nb: 1\n");
        check("a: >-\n  one\n  two   \n\n", "a: >-\n  one\n  two   \n");
    }

    #[test]
    fn what_is_not_yaml_is_reported() {
        let findings = format("a: [1\n").expect_err("the list has no end");
        assert_eq!(findings[0].code, "yaml_syntax");
        let findings = format("a: 1\na: 2\n").expect_err("the key is there twice");
        assert_eq!((findings[0].code.as_str(), findings[0].line), ("duplicate_key", 2));
    }
}
