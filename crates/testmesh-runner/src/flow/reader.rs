//! Reads keys and typed values from the tree; each mistake becomes a finding and the reading goes on.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use super::ParseOptions;
use super::armed::Armed;
use super::facts::Fact;
use super::findings::Findings;
use super::scalar::Literal;
use super::source::Span;
use super::suggest;
use super::yaml::{Entry, Node, NodeKind};
use crate::diagnostic::Code;
use crate::units;

/// What the decoding of one flow carries along.
#[derive(Debug)]
pub(crate) struct Decoder<'t, 'f> {
    /// What is wrong so far.
    pub(crate) findings: &'f mut Findings<'t>,
    /// Limits and known names.
    pub(crate) options: &'f ParseOptions,
    /// What is defined and used, in the order in which the flow would run.
    pub(crate) facts: Vec<Fact<'t>>,
    /// How many steps there are so far.
    pub(crate) n_steps: usize,
    /// How deep the step at hand is nested.
    pub(crate) depth: usize,
    /// The phase at hand.
    pub(crate) phase: Phase<'t>,
}

/// The phase being decoded, and the ids it has used.
#[derive(Debug, Default)]
pub(crate) struct Phase<'t> {
    /// `setup`, `steps` or `teardown`.
    pub(crate) name: &'static str,
    /// Each id with the line of its step.
    pub(crate) ids: HashMap<Cow<'t, str>, u32, foldhash::fast::RandomState>,
    /// What was armed so far.
    pub(crate) armed: Vec<Armed>,
    /// The lists of steps around the place at hand, by number.
    pub(crate) lists: Vec<usize>,
    /// How many lists of steps there were so far.
    pub(crate) n_lists: usize,
}

/// A map of the file: its entries and how to call it in messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'n, 't> {
    /// The entries.
    pub(crate) entries: &'n [Entry<'t>],
    /// `the flow`, `a step`, `retry` …
    pub(crate) what: &'static str,
}

impl<'n, 't> Section<'n, 't> {
    /// The entry of a key.
    pub(crate) fn entry(&self, key: &str) -> Option<&'n Entry<'t>> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The entry of the first of several spellings that is there.
    pub(crate) fn any(&self, keys: &[&str]) -> Option<&'n Entry<'t>> {
        keys.iter().find_map(|key| self.entry(key))
    }

    /// The entry of a key that has a value.
    pub(crate) fn set(&self, key: &str) -> Option<&'n Entry<'t>> {
        self.entry(key).filter(|entry| !entry.value.is_null())
    }
}

/// Where a finding about an entry's value points: at the key when there is no value to see.
pub(crate) fn place(entry: &Entry<'_>) -> Span {
    if entry.value.span.start == entry.value.span.end { entry.key_span } else { entry.value.span }
}

/// Words of other tools for keys that exist here.
const SYNONYMS: &[(&str, &str)] = &[
    ("assertions", "assert"),
    ("collection", "suite"),
    ("condition", "when"),
    ("data_source", "data"),
    ("expect", "assert"),
    ("if", "when"),
    ("inputs", "input"),
    ("outputs", "output"),
    ("retries", "retry"),
    ("tests", "assert"),
    ("title", "name"),
    ("type", "action"),
    ("uses", "action"),
    ("vars", "env"),
    ("variables", "env"),
    ("with", "config"),
];

/// The help for an unknown key.
pub(crate) fn key_help(key: &str, known: &[&str]) -> Option<String> {
    let near = suggest::near(key, known.iter().copied());
    let synonym = SYNONYMS.iter().find(|(word, meant)| *word == key && known.contains(meant)).map(|(_, meant)| *meant);
    match (near.is_empty(), synonym) {
        (true, Some(meant)) => suggest::did_you_mean(&[meant]),
        (true, None) if known.len() <= 18 => Some(format!("the keys are {}", suggest::quoted(known))),
        _ => suggest::did_you_mean(&near),
    }
}

impl<'t> Decoder<'t, '_> {
    /// Reports keys of `section` that are not `known`.
    pub(crate) fn unknown_keys(&mut self, section: &Section<'_, 't>, known: &[&str]) {
        for entry in section.entries.iter().filter(|entry| !known.contains(&&*entry.key)) {
            let message = format!("`{}` means nothing in {} and is ignored", entry.key, section.what);
            self.findings.warning(Code::UnknownKey, entry.key_span, message).help(key_help(&entry.key, known));
        }
    }

    /// Reports a value of the wrong type.
    pub(crate) fn wrong_type(&mut self, entry: &Entry<'_>, takes: &str) -> &mut Findings<'t> {
        self.wrong_type_at(&entry.key, &entry.value, place(entry), takes)
    }

    /// Reports a value of the wrong type that stands at `span`.
    pub(crate) fn wrong_type_at(&mut self, name: &str, node: &Node<'_>, span: Span, takes: &str) -> &mut Findings<'t> {
        let message = format!("`{name}` takes {takes}, not {}", node.described());
        self.findings.error(Code::WrongType, span, message);
        self.findings
    }

    /// The entries of a map.
    pub(crate) fn section<'n>(&mut self, entry: &'n Entry<'t>, what: &'static str) -> Option<Section<'n, 't>> {
        match &entry.value.kind {
            NodeKind::Map(entries) => Some(Section { entries, what }),
            NodeKind::Scalar(_) | NodeKind::List(_) => {
                if !entry.value.is_null() {
                    self.wrong_type(entry, "a map").help(None);
                }
                None
            }
        }
    }

    /// The entries of an optional map.
    pub(crate) fn optional_section<'n>(
        &mut self,
        section: &Section<'n, 't>,
        key: &str,
        what: &'static str,
    ) -> Option<Section<'n, 't>> {
        section.entry(key).and_then(|entry| self.section(entry, what))
    }

    /// The text of a scalar; numbers and booleans as written. Null and absent are `None`.
    pub(crate) fn text(&mut self, section: &Section<'_, 't>, key: &str) -> Option<String> {
        let entry = section.set(key)?;
        let text = entry.value.text().map(str::to_owned);
        if text.is_none() {
            self.wrong_type(entry, "text").help(None);
        }
        text
    }

    /// A boolean, or the text of one.
    pub(crate) fn boolean(&mut self, section: &Section<'_, 't>, key: &str) -> Option<bool> {
        let entry = section.set(key)?;
        match entry.value.scalar().map(|scalar| (scalar.literal, &*scalar.text)) {
            Some((Literal::Bool(value), _)) => Some(value),
            Some((Literal::Text, "true")) => Some(true),
            Some((Literal::Text, "false")) => Some(false),
            _ => {
                let help = entry.value.text().and_then(boolean_help);
                self.wrong_type(entry, "`true` or `false`").help(help);
                None
            }
        }
    }

    /// An integer of a range, or the text of one.
    pub(crate) fn integer(&mut self, entry: &Entry<'t>, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let number = match entry.value.scalar().map(|scalar| (scalar.literal, &*scalar.text)) {
            Some((Literal::Int(value), _)) => Some(value),
            Some((Literal::Text, text)) => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) => {
                let (least, most) = (range.start(), range.end());
                let message = format!("`{}` is {number}, not from {least} to {most}", entry.key);
                self.findings.error(Code::InvalidValue, place(entry), message).help(None);
                None
            }
            None => {
                self.wrong_type(entry, "an integer").help(None);
                None
            }
        }
    }

    /// A duration; zero is a mistake unless it is allowed.
    pub(crate) fn duration(&mut self, entry: &Entry<'t>, zero: bool) -> Option<Duration> {
        if entry.value.is_null() {
            return None;
        }
        let Some(text) = entry.value.text() else {
            self.wrong_type(entry, "a duration").help(duration_help());
            return None;
        };
        let duration = units::parse_duration(text);
        match duration {
            None => {
                let message = format!("`{}` takes a duration, not `{text}`", entry.key);
                self.findings.error(Code::BadDuration, place(entry), message).help(duration_help());
            }
            Some(Duration::ZERO) if !zero => {
                let message = format!("`{}` is zero", entry.key);
                let help = "give a length of time, such as `1s`".to_owned();
                self.findings.error(Code::ZeroInterval, place(entry), message).help(help);
            }
            Some(_) => {}
        }
        duration
    }

    /// One of several words.
    pub(crate) fn choice<T: Copy>(&mut self, entry: &Entry<'t>, words: &[(&str, T)]) -> Option<T> {
        if entry.value.is_null() {
            return None;
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let Some(text) = entry.value.text() else {
            self.wrong_type(entry, &format!("one of {}", suggest::quoted(&names))).help(None);
            return None;
        };
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
        if found.is_none() {
            self.invalid_choice(&entry.key, text, place(entry), &names);
        }
        found
    }

    /// Reports a word that is none of `names`.
    pub(crate) fn invalid_choice(&mut self, key: &str, text: &str, span: Span, names: &[&str]) {
        let message = format!("`{key}` takes {}, not `{text}`", suggest::quoted(names));
        let help = suggest::did_you_mean(&suggest::near(text, names.iter().copied()));
        self.findings.error(Code::InvalidValue, span, message).help(help);
    }

    /// The items of a list, or one value alone.
    pub(crate) fn items<'n>(entry: &'n Entry<'t>) -> &'n [Node<'t>] {
        match &entry.value.kind {
            NodeKind::List(items) => items,
            NodeKind::Scalar(_) if entry.value.is_null() => &[],
            NodeKind::Scalar(_) | NodeKind::Map(_) => std::slice::from_ref(&entry.value),
        }
    }
}

/// What to write instead of the words for true and false that YAML has given up.
pub(crate) fn boolean_help(text: &str) -> Option<String> {
    let meant = match &*text.to_ascii_lowercase() {
        "yes" | "on" | "y" | "1" | "true" => "true",
        "no" | "off" | "n" | "0" | "false" => "false",
        _ => return None,
    };
    Some(format!("write `{meant}`; in YAML 1.2 `{text}` is not a boolean"))
}

/// How durations are written.
pub(crate) fn duration_help() -> String {
    "write it like `300ms`, `1.5s`, `2m`, `1h30m`, `1d`, or as a number of seconds".to_owned()
}
