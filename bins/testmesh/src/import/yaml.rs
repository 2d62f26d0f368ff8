//! Writes maps as YAML, as a person would: texts without quotes where they cannot mean anything else, several lines as
//! a block.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

/// Words that are no text when they stand alone.
const WORDS: [&str; 12] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"];

/// The entries of a map, each on lines of its own.
pub(super) fn entries(text: &mut String, map: &Map<String, Json>, indent: usize) {
    for (key, value) in map {
        let _ = write!(text, "{}", "  ".repeat(indent));
        entry(text, key, value, indent);
    }
}

/// A map as an item of a list.
pub(super) fn item(text: &mut String, map: &Map<String, Json>, indent: usize) {
    for (index, (key, value)) in map.iter().enumerate() {
        let start = if index == 0 { "- " } else { "  " };
        let _ = write!(text, "{}{start}", "  ".repeat(indent));
        entry(text, key, value, indent + 1);
    }
}

/// A comment, for each of its lines one.
pub(super) fn comment(text: &mut String, indent: usize, note: &str) {
    let ends_line = |next: char| matches!(next, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    for line in note.split(ends_line).map(str::trim).filter(|line| !line.is_empty()) {
        let line: String = line.chars().map(|next| if is_printable(next) { next } else { ' ' }).collect();
        let _ = writeln!(text, "{}# {line}", "  ".repeat(indent));
    }
}

fn entry(text: &mut String, key: &str, value: &Json, indent: usize) {
    let _ = write!(text, "{}:", name(key));
    match value {
        Json::Object(map) if !map.is_empty() => {
            text.push('\n');
            entries(text, map, indent + 1);
        }
        Json::Array(items) if !items.is_empty() => {
            text.push('\n');
            list(text, items, indent + 1);
        }
        other => {
            text.push(' ');
            leaf(text, other, indent + 1);
        }
    }
}

fn list(text: &mut String, items: &[Json], indent: usize) {
    for value in items {
        match value {
            Json::Object(map) if !map.is_empty() => item(text, map, indent),
            // JSON is YAML, too.
            Json::Array(_) | Json::Object(_) => {
                let _ = writeln!(text, "{}- {}", "  ".repeat(indent), flow(value));
            }
            other => {
                let _ = write!(text, "{}- ", "  ".repeat(indent));
                leaf(text, other, indent + 1);
            }
        }
    }
}

/// A value on one line, as JSON writes it.
fn flow(value: &Json) -> String {
    match value {
        Json::String(text) => quoted(text),
        Json::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Json::Object(map) => {
            let entries = map.iter().map(|(key, value)| format!("{}: {}", quoted(key), flow(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn leaf(text: &mut String, value: &Json, indent: usize) {
    match value {
        Json::String(words) if is_block(words) => {
            text.push_str(if words.ends_with('\n') { "|\n" } else { "|-\n" });
            for line in words.lines() {
                let space = if line.is_empty() { String::new() } else { "  ".repeat(indent) };
                let _ = writeln!(text, "{space}{line}");
            }
        }
        Json::String(words) => {
            let _ = writeln!(text, "{}", if is_plain(words) { words.clone() } else { quoted(words) });
        }
        other => {
            let _ = writeln!(text, "{}", flow(other));
        }
    }
}

fn name(key: &str) -> String {
    let simple = key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key.bytes().all(|next| next.is_ascii_alphanumeric() || matches!(next, b'_' | b'-' | b'/' | b'.'))
        && !WORDS.contains(&key.to_ascii_lowercase().as_str());
    if simple { key.to_owned() } else { quoted(key) }
}

/// Whether a text means itself without quotes.
fn is_plain(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || matches!(first, '/' | '$'))
        && text.chars().all(|next| next == ' ' || next.is_ascii_graphic() || next.is_alphanumeric())
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with([' ', ':'])
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// Whether a text can be written line by line.
fn is_block(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with(['\n', ' '])
        && text.lines().all(|line| !line.ends_with(' '))
        && text.chars().all(|next| next == '\n' || (is_printable(next) && next != '\t'))
}

fn is_printable(next: char) -> bool {
    !next.is_control()
        && !matches!(next, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}' if next != '\u{fffd}')
}

fn quoted(text: &str) -> String {
    let mut made = String::with_capacity(text.len() + 2);
    made.push('"');
    for next in text.chars() {
        match next {
            '"' | '\\' => made.extend(['\\', next]),
            '\n' => made.push_str("\\n"),
            '\r' => made.push_str("\\r"),
            '\t' => made.push_str("\\t"),
            next if is_printable(next) => made.push(next),
            next => {
                let _ = write!(made, "\\u{:04X}", u32::from(next));
            }
        }
    }
    made.push('"');
    made
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// What the language reads of `value` written as an entry.
    fn read_back(value: &Json) -> Json {
        let mut text = String::new();
        entries(&mut text, &Map::from_iter([("key".to_owned(), value.clone())]), 0);
        let read = testmesh_runner::flow::parse_variables(&text);
        read.unwrap_or_else(|found| panic!("{text}: {found:?}"))["key"].to_json()
    }

    #[test]
    fn texts_stay_the_texts_they_are() {
        for text in [
            "",
            " ",
            "a",
            "a b",
            "yes",
            "12",
            "012",
            "1e5",
            "-",
            "- a",
            "a: b",
            "a:",
            "a #b",
            "a#b",
            "#a",
            "~",
            "null",
            "{a}",
            "[a]",
            "a\nb",
            "a\nb\n",
            "a\nb\n\n",
            "\na\nb",
            " a\nb",
            "a \nb",
            "a\n  b\n\nc",
            "a\tb",
            "a\r\nb",
            "é",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{0}",
            "\"",
            "'",
            "\\",
            "@a",
            "%a",
            "!a",
            "&a",
            "*a",
            "|",
            ">",
            "?",
            "? a",
            "//",
            "$a",
            "${a}: b",
            "a, b",
            "2024-01-31",
            "0x1f",
            "1_000",
            "\u{fffd}",
            "\u{1f600}",
            "a\n---\nb",
            "---",
            "...",
        ] {
            assert_eq!(read_back(&json!(text)), json!(text), "{text:?}");
            assert_eq!(
                read_back(&json!([text, { text: text }, [text]])),
                json!([text, { text: text }, [text]]),
                "{text:?}"
            );
        }
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let text = prop_oneof![any::<String>(), "[a-z:# \n{}$\"'-]{0,12}"];
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            text.clone().prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                proptest::collection::vec((text.clone(), inner), 0..4)
                    .prop_map(|entries| Json::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn what_is_written_is_read(value in any_json()) {
            prop_assert_eq!(read_back(&value), value);
        }
    }
}
