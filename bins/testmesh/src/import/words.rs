//! Texts and names of the source, and how a flow writes them.
//!
//! While a draft is made its texts are those of the source, with the references in them marked. They are escaped once,
//! when the flow is written.

use std::collections::HashSet;

use serde_json::Value as Json;

/// Stand around a reference in text that is not escaped yet. (They are of no script: a source that has them loses them.)
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';
/// The longest word for an id or a file.
const LONGEST_SLUG: usize = 60;

/// Text of a source without the two letters that mark references.
pub(super) fn unmarked(text: &str) -> String {
    text.replace([OPEN, CLOSE], "\u{fffd}")
}

/// [`unmarked`] for every key and text of a document.
pub(crate) fn unmarked_json(value: Json) -> Json {
    match value {
        Json::String(text) => Json::String(if text.contains([OPEN, CLOSE]) { unmarked(&text) } else { text }),
        Json::Array(items) => items.into_iter().map(unmarked_json).collect(),
        Json::Object(map) => map
            .into_iter()
            .map(|(key, value)| (unmarked(&key), unmarked_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other,
    }
}

/// A reference, in text that is not escaped yet.
pub(super) fn reference(expression: &str) -> String {
    format!("{OPEN}{expression}{CLOSE}")
}

/// What stands in every reference of a text.
pub(super) fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split(OPEN).skip(1).filter_map(|rest| rest.split_once(CLOSE).map(|(inside, _)| inside))
}

/// Whether a text has a reference.
pub(super) fn refers(text: &str) -> bool {
    text.contains(OPEN)
}

/// A text for people, where references cannot be: `{name}` instead.
pub(super) fn shown(text: &str) -> String {
    text.replace(OPEN, "{").replace(CLOSE, "}")
}

/// Text of the source as a text of a flow: literal but for the references that are marked in it.
pub(super) fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['$', '{', OPEN, CLOSE]) {
        escaped.push_str(&rest[..at]);
        rest = &rest[at..];
        let (length, replacement) = if rest.starts_with("${") {
            (2, "$${")
        } else if rest.starts_with("{{") {
            (2, "\\{{")
        } else if rest.starts_with(OPEN) {
            keep_dollars(&mut escaped);
            (OPEN.len_utf8(), "${")
        } else if rest.starts_with(CLOSE) {
            (CLOSE.len_utf8(), "}")
        } else {
            (1, &rest[..1])
        };
        escaped.push_str(replacement);
        rest = &rest[length..];
    }
    escaped.push_str(rest);
    escaped
}

/// A `$` in front of a reference would escape it, so it becomes one itself.
fn keep_dollars(escaped: &mut String) {
    let kept = escaped.trim_end_matches('$').len();
    if kept < escaped.len() {
        let dollars = escaped.split_off(kept);
        escaped.push_str("${\"");
        escaped.push_str(&dollars);
        escaped.push_str("\"}");
    }
}

/// [`literal`] for every key and text of a value.
pub(super) fn literal_json(value: &Json) -> Json {
    match value {
        Json::String(text) => Json::String(literal(text)),
        Json::Array(items) => items.iter().map(literal_json).collect(),
        Json::Object(map) => {
            map.iter().map(|(key, value)| (literal(key), literal_json(value))).collect::<serde_json::Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

/// A name of the source as the name of a variable: letters, digits and `_`.
pub(super) fn variable(name: &str) -> String {
    let letter = |next: char| if next.is_ascii_alphanumeric() { next } else { '_' };
    let mut made: String = name.trim().chars().map(letter).collect();
    if !made.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        made.insert(0, '_');
    }
    made
}

/// A name of the source as a word for ids and files; empty when it has no letter or digit.
pub(crate) fn slug(name: &str) -> String {
    let mut made = String::new();
    let mut last = ' ';
    for next in name.chars() {
        // `listUsers` is two words.
        if next.is_ascii_uppercase() && last.is_ascii_lowercase() {
            made.push('_');
        }
        last = next;
        match next {
            next if next.is_ascii_alphanumeric() => made.push(next.to_ascii_lowercase()),
            // `it's` and `don't` are one word.
            '\'' | '’' => {}
            _ if made.ends_with('_') || made.is_empty() => {}
            _ => made.push('_'),
        }
        if made.len() >= LONGEST_SLUG {
            break;
        }
    }
    made.trim_end_matches('_').to_owned()
}

/// A name that `taken` does not have yet; it does from now on.
pub(crate) fn distinct(name: &str, taken: &mut HashSet<String>) -> String {
    let mut made = name.to_owned();
    let mut n = 2;
    while !taken.insert(made.clone()) {
        made = format!("{name}_{n}");
        n += 1;
    }
    made
}

/// A scalar of a document as text; what is missing is empty.
pub(super) fn scalar(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_source_is_literal_but_for_its_references() {
        let named = reference("user");
        for (from, to) in [
            ("plain".to_owned(), "plain"),
            ("${x} {{y}}".to_owned(), "$${x} \\{{y}}"),
            ("$5 {z}".to_owned(), "$5 {z}"),
            (format!("/users/{named}/a"), "/users/${user}/a"),
            (format!("a $${named}"), "a ${\"$$\"}${user}"),
        ] {
            assert_eq!(literal(&from), to);
        }
        assert_eq!(references(&format!("a{named}b{named}")).collect::<Vec<_>>(), ["user", "user"]);
    }

    #[test]
    fn names_become_words() {
        for (name, word, known) in [
            ("List users", "list_users", "List_users"),
            ("GET /a/{b}", "get_a_b", "GET__a__b_"),
            ("7", "7", "_7"),
            ("it's", "its", "it_s"),
            ("listUsers v2", "list_users_v2", "listUsers_v2"),
        ] {
            assert_eq!((slug(name).as_str(), variable(name).as_str()), (word, known));
        }
    }
}
