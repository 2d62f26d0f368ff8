//! One matcher of a Pact file: what it asks of a value.
//!
//! The reading of the specification is that of its reference implementation, where the specification leaves it open: a
//! matcher of a list or map also holds for what is inside of it, unless a nearer one says otherwise.

use serde_json::Value as Json;

use super::dates::{Format, default_format};
use super::rules::{Rule, RuleList};

/// Steps of an expression with look-around or back-references, for one value: some milliseconds. All others take linear time.
const MOST_STEPS: usize = 100_000;

/// A matcher.
#[derive(Debug, Clone)]
pub(super) enum Matcher {
    Equality,
    Regex(Pattern),
    /// The same type; lists and maps of a length.
    Type {
        min: Option<usize>,
        max: Option<usize>,
    },
    Integer,
    Decimal,
    Number,
    Boolean,
    Null,
    Include(String),
    /// A date or time in a format.
    Time(Format),
    ContentType(String),
    NotEmpty,
    Semver,
    StatusCode(Statuses),
    /// Any keys, values like the example.
    Values,
    /// Without variants, every item of the example.
    ArrayContains(Vec<Variant>),
    EachKey(RuleList),
    EachValue(RuleList),
}

/// A regular expression that matches a whole text. Those of Pact files have look-around and back-references.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    shown: String,
    regex: fancy_regex::Regex,
}

/// An item that a list must have, with the rules of its own.
#[derive(Debug, Clone)]
pub(super) struct Variant {
    /// Its place in the example.
    pub(super) index: usize,
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
pub(super) enum Statuses {
    Range(u16, u16, String),
    These(Vec<u16>),
}

impl Matcher {
    pub(super) fn read(json: &Json) -> Result<Self, String> {
        let size = |key: &str| json[key].as_u64().and_then(|n| usize::try_from(n).ok());
        let text = |key: &str| json[key].as_str();
        if !json.is_object() {
            return Err(format!("a matcher is a map, not {}", cut(json)));
        }
        let kind = match (&json["match"], json.get("match").is_some()) {
            (Json::String(kind), _) => kind.as_str(),
            // As YAML reads the word.
            (Json::Null, true) => "null",
            (Json::Null, false) => json.get("regex").map_or("type", |_| "regex"),
            (other, _) => return Err(format!("there is no matcher {other}")),
        };
        Ok(match kind {
            "equality" => Self::Equality,
            "regex" => Self::Regex(Pattern::read(text("regex").ok_or("a matcher `regex` has no `regex`")?)?),
            "type" | "min-type" | "max-type" | "minType" | "maxType" | "minMaxType" => {
                Self::Type { min: size("min"), max: size("max") }
            }
            "integer" => Self::Integer,
            "decimal" => Self::Decimal,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "null" => Self::Null,
            "include" => Self::Include(text("value").ok_or("a matcher `include` has no `value`")?.to_owned()),
            "date" | "time" | "timestamp" | "datetime" => {
                let given = text("format").or_else(|| text(kind)).filter(|format| !format.is_empty());
                Self::Time(Format::read(given.unwrap_or_else(|| default_format(kind)))?)
            }
            "contentType" | "content-type" => {
                Self::ContentType(text("value").ok_or("a matcher `contentType` has no `value`")?.to_ascii_lowercase())
            }
            "notEmpty" | "not-empty" => Self::NotEmpty,
            "semver" => Self::Semver,
            "statusCode" | "status-code" => Self::StatusCode(statuses(&json["status"])?),
            "values" => Self::Values,
            "arrayContains" | "array-contains" => Self::ArrayContains(variants(&json["variants"])?),
            "eachKey" | "each-key" => Self::EachKey(inner(&json["rules"])?),
            "eachValue" | "each-value" => Self::EachValue(inner(&json["rules"])?),
            other => return Err(format!("there is no matcher `{other}`")),
        })
    }

    /// What it asks for, when a value is not that. `exact`: it stands at the value itself, not around it. Of lists and maps
    /// only what is about the whole is looked at.
    pub(super) fn check(&self, exact: bool, expected: &Json, actual: &Json) -> Result<(), String> {
        let holds = match (self, actual) {
            (Self::Type { .. } | Self::Equality | Self::NotEmpty | Self::Null, _) => {
                self.holds(exact, expected, actual)
            }
            (_, Json::Array(_)) if expected.is_array() => !matches!(self, Self::StatusCode(_)),
            (
                Self::Regex(_) | Self::ArrayContains(_) | Self::EachKey(_) | Self::EachValue(_) | Self::Values,
                Json::Object(_),
            ) if expected.is_object() => true,
            (_, Json::Object(_)) if expected.is_object() => false,
            (Self::Values, _) if !exact => same(expected, actual),
            (Self::ArrayContains(_) | Self::EachKey(_) | Self::EachValue(_), _) if !exact => true,
            _ => self.holds(exact, expected, actual),
        };
        if holds { Ok(()) } else { Err(self.wanted(exact, expected, actual)) }
    }

    fn holds(&self, exact: bool, expected: &Json, actual: &Json) -> bool {
        let fits = |n: usize, min: &Option<usize>, max: &Option<usize>| {
            !exact || (min.is_none_or(|min| n >= min) && max.is_none_or(|max| n <= max))
        };
        match self {
            Self::Equality => same(expected, actual),
            Self::Regex(pattern) => pattern.matches(&text_of(actual)),
            Self::Type { min, max } => match (expected, actual) {
                (Json::Array(_), Json::Array(items)) => fits(items.len(), min, max),
                (Json::Object(_), Json::Object(map)) => fits(map.len(), min, max),
                _ => type_of(expected) == type_of(actual),
            },
            Self::Integer => actual.is_i64() || actual.is_u64(),
            Self::Decimal => actual.is_f64(),
            Self::Number => actual.is_number(),
            Self::Boolean => actual.is_boolean() || matches!(actual.as_str(), Some("true" | "false")),
            Self::Null => actual.is_null(),
            Self::Include(part) => text_of(actual).contains(part.as_str()),
            Self::Time(format) => format.fits(&text_of(actual)),
            // Judged where the content type and the status are known.
            Self::ContentType(_) | Self::StatusCode(_) => true,
            Self::NotEmpty => match actual {
                Json::Null => false,
                Json::String(text) => !text.is_empty(),
                Json::Array(items) => !items.is_empty(),
                Json::Object(map) => !map.is_empty(),
                Json::Bool(_) | Json::Number(_) => true,
            },
            Self::Semver => actual.as_str().is_some_and(is_semver),
            Self::Values | Self::EachKey(_) | Self::EachValue(_) => actual.is_object() || actual.is_array(),
            Self::ArrayContains(_) => actual.is_array(),
        }
    }

    /// As [`Matcher::check`], of what is always text: a header, a body that is no JSON.
    pub(super) fn check_text(&self, expected: &str, actual: &str) -> Result<(), String> {
        let holds = match self {
            Self::Integer => actual.parse::<i128>().is_ok(),
            Self::Decimal | Self::Number => actual.parse::<f64>().is_ok_and(f64::is_finite),
            Self::Null => actual.is_empty(),
            Self::Type { .. } | Self::Values | Self::EachKey(_) | Self::EachValue(_) | Self::ArrayContains(_) => true,
            _ => self.holds(true, &Json::from(expected), &Json::from(actual)),
        };
        if holds { Ok(()) } else { Err(self.wanted(true, &Json::from(expected), &Json::from(actual))) }
    }

    fn wanted(&self, exact: bool, expected: &Json, actual: &Json) -> String {
        match self {
            Self::Equality => cut(expected),
            Self::Regex(pattern) => format!("a match of `{}`", pattern.shown),
            Self::Type { .. } if type_of(expected) != type_of(actual) => such_as(expected),
            Self::Type { min, max } => {
                let bounds = [min.map(|min| format!("at least {min}")), max.map(|max| format!("at most {max}"))];
                let bounds = bounds.into_iter().flatten().collect::<Vec<_>>().join(" and ");
                format!(
                    "a {} of {bounds} {}",
                    type_of(expected),
                    if expected.is_object() { "entries" } else { "items" }
                )
            }
            Self::Integer => "an integer".to_owned(),
            Self::Decimal => "a number with a fraction".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Boolean => "a boolean".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Include(part) => format!("a text with `{part}`"),
            Self::Time(format) => format!("a time as `{}`", format.shown),
            Self::ContentType(wanted) => format!("content of type `{wanted}`"),
            Self::NotEmpty => "something that is not empty".to_owned(),
            Self::Semver => "a semantic version".to_owned(),
            Self::StatusCode(statuses) => statuses.shown(),
            Self::Values if !exact => cut(expected),
            Self::Values | Self::EachKey(_) | Self::EachValue(_) => "a map".to_owned(),
            Self::ArrayContains(_) => "a list".to_owned(),
        }
    }
}

impl Pattern {
    fn read(pattern: &str) -> Result<Self, String> {
        let regex = fancy_regex::RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
            .backtrack_limit(MOST_STEPS)
            .build()
            .map_err(|error| format!("the regular expression `{pattern}` of a matcher cannot be used: {error}"))?;
        Ok(Self { shown: pattern.to_owned(), regex })
    }

    /// Whether it matches the whole text. One that takes too many steps to tell does not.
    fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text).unwrap_or(false)
    }
}

impl Statuses {
    pub(super) fn has(&self, status: u16) -> bool {
        match self {
            Self::Range(least, most, _) => (*least..=*most).contains(&status),
            Self::These(these) => these.contains(&status),
        }
    }

    pub(super) fn shown(&self) -> String {
        match self {
            Self::Range(least, most, word) => format!("a status from {least} to {most} ({word})"),
            Self::These(these) => format!("one of {these:?}"),
        }
    }
}

fn statuses(json: &Json) -> Result<Statuses, String> {
    let range = |least, most, word: &str| Ok(Statuses::Range(least, most, word.to_owned()));
    match json {
        Json::Array(codes) => {
            let code = |code: &Json| u16::try_from(code.as_u64()?).ok();
            let wrong = || format!("a matcher `statusCode` has the status {json}");
            Ok(Statuses::These(codes.iter().map(|json| code(json).ok_or_else(wrong)).collect::<Result<_, _>>()?))
        }
        Json::String(word) => match word.as_str() {
            "info" => range(100, 199, word),
            "success" => range(200, 299, word),
            "redirect" => range(300, 399, word),
            "clientError" => range(400, 499, word),
            "serverError" => range(500, 599, word),
            "nonError" => range(100, 399, word),
            "error" => range(400, 599, word),
            other => Err(format!("a matcher `statusCode` has the status `{other}`")),
        },
        other => Err(format!("a matcher `statusCode` has the status {other}")),
    }
}

fn variants(json: &Json) -> Result<Vec<Variant>, String> {
    let listed = json.as_array().ok_or("a matcher `arrayContains` has no `variants`")?;
    let read = |(place, variant): (usize, &Json)| {
        let rules = variant["rules"].as_object().into_iter().flatten();
        let rules = rules.map(|(path, list)| Rule::read(path, RuleList::read(list)?));
        let index = variant["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(place);
        Ok(Variant { index, rules: rules.collect::<Result<_, String>>()? })
    };
    listed.iter().enumerate().map(read).collect()
}

fn inner(json: &Json) -> Result<RuleList, String> {
    let listed = json.as_array().ok_or("a matcher for each key or value has no `rules`")?;
    Ok(RuleList { matchers: listed.iter().map(Matcher::read).collect::<Result<_, _>>()?, any: false })
}

/// Whether two values are the same, numbers by their value.
pub(super) fn same(left: &Json, right: &Json) -> bool {
    use crate::value::Value;
    Value::from_json(left.clone()) == Value::from_json(right.clone())
}

/// A text as it is, anything else as JSON writes it.
fn text_of(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

/// `text`, `number` …
fn type_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "text",
        Json::Array(_) => "list",
        Json::Object(_) => "map",
    }
}

/// `a number such as 1`.
pub(super) fn such_as(example: &Json) -> String {
    if example.is_null() { "null".to_owned() } else { format!("a {} such as {}", type_of(example), cut(example)) }
}

/// A value, short enough for a message.
pub(super) fn cut(json: &Json) -> String {
    let text = json.to_string();
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn is_semver(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    let is_number = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (*part == "0" || !part.starts_with('0'))
    };
    let tail = &text[core.len()..];
    let is_tail = tail.len() != 1 && tail.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+.".contains(&byte));
    parts.len() == 3 && parts.iter().all(is_number) && is_tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn matchers_take_what_they_should_and_say_what_they_want() {
        for (matcher, expected, actual, wanted) in [
            (json!({"match": "type"}), json!(1), json!(2.5), None),
            (json!({"match": "type"}), json!(1), json!("2"), Some("a number such as 1")),
            (json!({"match": "type"}), json!(null), json!("2"), Some("null")),
            (json!({"match": "type", "min": 2}), json!([1]), json!([1]), Some("a list of at least 2 items")),
            (json!({"match": "type", "min": 2}), json!({"a": 1}), json!({"a": 2}), Some("a map of at least 2 entries")),
            (
                json!({"min": 1, "max": 2}),
                json!([1]),
                json!([1, 2, 3]),
                Some("a list of at least 1 and at most 2 items"),
            ),
            (json!({"match": "equality"}), json!({"a": 1}), json!({"a": 1.0}), None),
            (json!({"match": "equality"}), json!(1), json!(2), Some("1")),
            (json!({"match": "regex", "regex": "\\d+"}), json!("1"), json!(42), None),
            (json!({"match": "regex", "regex": "x|xy"}), json!("x"), json!("xy"), None),
            (json!({"regex": "\\d+"}), json!("1"), json!("a42"), Some("a match of `\\d+`")),
            (json!({"regex": "(?=4)(.)\\d\\1"}), json!("1"), json!("424"), None),
            (json!({"match": "integer"}), json!(1), json!(1.5), Some("an integer")),
            (json!({"match": "integer"}), json!([1]), json!([1.5]), None),
            (json!({"match": "integer"}), json!({"a": 1}), json!({"a": 1}), Some("an integer")),
            (json!({"match": "decimal"}), json!(1.5), json!(2), Some("a number with a fraction")),
            (json!({"match": "number"}), json!(1.5), json!(2), None),
            (json!({"match": "boolean"}), json!(true), json!(1), Some("a boolean")),
            (json!({"match": "null"}), json!(null), json!(0), Some("null")),
            (json!({"match": "include", "value": "b"}), json!("abc"), json!("xbx"), None),
            (json!({"match": "include", "value": "b"}), json!("abc"), json!("x"), Some("a text with `b`")),
            (json!({"match": "date", "format": "yyyy-MM-dd"}), json!("2020-01-01"), json!("2026-12-31"), None),
            (
                json!({"match": "date", "date": "yyyy-MM-dd"}),
                json!("2020-01-01"),
                json!("2026-02-29"),
                Some("a time as `yyyy-MM-dd`"),
            ),
            (json!({"match": "date", "date": "d MMMM yyyy"}), json!("x"), json!("29 February 2024"), None),
            (
                json!({"match": "date", "date": "d MMM yy"}),
                json!("x"),
                json!("30 Feb 24"),
                Some("a time as `d MMM yy`"),
            ),
            (
                json!({"match": "timestamp", "timestamp": "yyyy-MM-dd'T'HH:mm:ss.SSSX"}),
                json!("x"),
                json!("2026-01-02T03:04:05.678Z"),
                None,
            ),
            (json!({"match": "time", "format": "HH:mm"}), json!("x"), json!("25:00"), Some("a time as `HH:mm`")),
            (json!({"match": "time"}), json!("x"), json!("23:59:59"), None),
            (json!({"match": null}), json!(null), json!(0), Some("null")),
            (json!({"match": "notEmpty"}), json!([1]), json!([]), Some("something that is not empty")),
            (json!({"match": "semver"}), json!("1.0.0"), json!("1.2.3-rc.1"), None),
            (json!({"match": "semver"}), json!("1.0.0"), json!("1.2"), Some("a semantic version")),
        ] {
            let found = Matcher::read(&matcher).unwrap().check(true, &expected, &actual);
            assert_eq!(found.err().as_deref(), wanted, "{matcher} {actual}");
        }
    }

    #[test]
    fn an_expression_that_takes_too_many_steps_matches_nothing() {
        let matcher = Matcher::read(&json!({"match": "regex", "regex": "(?=a)(a+)+b"})).unwrap();
        assert!(matcher.check_text("ab", "aaab").is_ok());
        assert!(matcher.check_text("ab", &format!("{}b", "a".repeat(20))).is_ok());
        assert!(matcher.check_text("ab", &"a".repeat(60)).is_err());
    }

    #[test]
    fn of_text_numbers_are_read() {
        for (kind, fits, does_not) in
            [("integer", "42", "4x"), ("decimal", "1.5", "one"), ("number", "-2", ""), ("boolean", "true", "1")]
        {
            let matcher = Matcher::read(&json!({ "match": kind })).unwrap();
            assert!(matcher.check_text("1", fits).is_ok() && matcher.check_text("1", does_not).is_err(), "{kind}");
        }
    }

    #[test]
    fn what_is_no_matcher_is_refused() {
        for (matcher, part) in [
            (json!({"match": "magic"}), "no matcher `magic`"),
            (json!("type"), "a matcher is a map, not \"type\""),
            (json!({"match": "regex", "regex": "("}), "cannot be used"),
            (json!({"match": "include"}), "no `value`"),
            (json!({"match": "statusCode", "status": "good"}), "`good`"),
            (json!({"match": "statusCode", "status": [200, "x"]}), "\"x\""),
            (json!({"match": "date", "format": "QQ"}), "`QQ`"),
        ] {
            assert!(Matcher::read(&matcher).unwrap_err().contains(part), "{matcher}");
        }
    }
}
