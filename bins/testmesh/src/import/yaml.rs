//! Writes maps as YAML: every text that could mean anything else is quoted.

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

fn entry(text: &mut String, key: &str, value: &Json, indent: usize) {
    let _ = write!(text, "{}:", scalar(key));
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
            let _ = writeln!(text, " {}", plain(other));
        }
    }
}

fn list(text: &mut String, items: &[Json], indent: usize) {
    for value in items {
        match value {
            Json::Object(map) if !map.is_empty() => item(text, map, indent),
            // JSON is YAML, too.
            other => {
                let _ = writeln!(text, "{}- {}", "  ".repeat(indent), plain(other));
            }
        }
    }
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => scalar(text),
        other => other.to_string(),
    }
}

fn scalar(text: &str) -> String {
    let simple = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|next| next.is_ascii_alphanumeric() || matches!(next, b'_' | b'-' | b'/' | b'.'))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if simple { text.to_owned() } else { Json::String(text.to_owned()).to_string() }
}
