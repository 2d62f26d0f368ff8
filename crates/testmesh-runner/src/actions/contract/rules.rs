//! Matching rules: which of them holds for a value, by its path.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use super::matcher::{Matcher, cut};

/// The rules of a response.
#[derive(Debug, Clone, Default)]
pub(in crate::actions) struct Rules {
    pub(super) body: Vec<Rule>,
    /// By the name of the header in small letters.
    pub(super) headers: Vec<(String, RuleList)>,
    pub(super) status: Option<RuleList>,
}

/// Matchers that hold together, or of which one must.
#[derive(Debug, Clone, Default)]
pub(super) struct RuleList {
    pub(super) matchers: Vec<Matcher>,
    pub(super) any: bool,
}

/// Matchers for the values at a path.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    tokens: Vec<Token>,
    pub(super) list: RuleList,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Key(String),
    Index(usize),
    Any,
}

/// A step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Rules {
    /// Those of a file: of version 2 they are by one path each, later ones by category.
    pub(super) fn read(json: &Json) -> Result<Self, String> {
        let empty = Map::new();
        let map = match json {
            Json::Null => &empty,
            Json::Object(map) => map,
            other => return Err(format!("`matchingRules` is {}, not a map", cut(other))),
        };
        if map.keys().any(|key| key.starts_with('$')) { Self::by_path(map) } else { Self::by_category(json) }
    }

    /// `{body: {"$.id": {matchers: […], combine: AND}}, header: {…}, status: {…}}`.
    fn by_category(json: &Json) -> Result<Self, String> {
        let mut rules = Self::default();
        for (path, list) in json["body"].as_object().into_iter().flatten() {
            rules.body.push(Rule::read(path, RuleList::at(path, list)?)?);
        }
        for (name, list) in json["header"].as_object().into_iter().flatten() {
            let bare = name.trim_start_matches("$.").trim_matches(['$', '[', ']', '\'', '"']);
            rules.headers.push((bare.to_ascii_lowercase(), RuleList::at(name, list)?));
        }
        if let Some(status) = json.get("status") {
            rules.status = Some(RuleList::at("status", status)?);
        }
        Ok(rules)
    }

    /// `{"$.body.id": {match: type}, "$.headers.Location": {match: regex, regex: …}}`.
    fn by_path(map: &Map<String, Json>) -> Result<Self, String> {
        let mut rules = Self::default();
        for (path, list) in map {
            let rule = Rule::read(path, RuleList::at(path, list)?)?;
            match rule.tokens.split_first() {
                Some((Token::Key(root), rest)) if root == "body" => {
                    rules.body.push(Rule { tokens: rest.to_vec(), list: rule.list });
                }
                Some((Token::Key(root), [Token::Key(name), ..])) if root == "headers" || root == "header" => {
                    rules.headers.push((name.to_ascii_lowercase(), rule.list));
                }
                Some((Token::Key(root), [])) if root == "status" => rules.status = Some(rule.list),
                // Of a request; what is sent is the example.
                Some((Token::Key(root), _)) if root == "path" || root == "query" => {}
                _ => return Err(format!("the matching rule `{path}` is about no part of a request or response")),
            }
        }
        Ok(rules)
    }

    /// What holds for a header.
    pub(super) fn header(&self, name: &str) -> Option<&RuleList> {
        self.headers.iter().find(|(ruled, _)| ruled.eq_ignore_ascii_case(name)).map(|(_, list)| list)
    }
}

impl RuleList {
    fn at(path: &str, json: &Json) -> Result<Self, String> {
        Self::read(json).map_err(|reason| format!("the matching rule `{path}`: {reason}"))
    }

    /// `{matchers: […], combine: AND}`, a list of matchers, or one alone.
    pub(super) fn read(json: &Json) -> Result<Self, String> {
        let all = |matchers: &Vec<Json>| matchers.iter().map(Matcher::read).collect::<Result<Vec<_>, _>>();
        match (json, &json["matchers"]) {
            (Json::Array(matchers), _) => Ok(Self { matchers: all(matchers)?, any: false }),
            (_, Json::Array(matchers)) => {
                let any = json["combine"].as_str().is_some_and(|word| word.eq_ignore_ascii_case("or"));
                Ok(Self { matchers: all(matchers)?, any })
            }
            _ => Ok(Self { matchers: vec![Matcher::read(json)?], any: false }),
        }
    }

    /// Whether the matchers hold, together or one of them; what is asked for when they do not.
    pub(super) fn check(&self, holds: impl Fn(&Matcher) -> Result<(), String>) -> Result<(), String> {
        let mut wanted = Vec::new();
        for matcher in &self.matchers {
            match holds(matcher) {
                Ok(()) if self.any => return Ok(()),
                Ok(()) => {}
                Err(text) => wanted.push(text),
            }
        }
        if wanted.is_empty() { Ok(()) } else { Err(wanted.join(if self.any { " or " } else { " and " })) }
    }

    /// Whether there is such a matcher among them.
    pub(super) fn has(&self, is_such: impl Fn(&Matcher) -> bool) -> bool {
        self.matchers.iter().any(is_such)
    }
}

impl Rule {
    pub(super) fn read(path: &str, list: RuleList) -> Result<Self, String> {
        let wrong = || format!("the matching rule's path `{path}` cannot be read");
        // Variants of `arrayContains` are written without the root, too.
        let mut rest = if path.is_empty() { "" } else { path.strip_prefix('$').ok_or_else(wrong)? };
        let mut tokens = Vec::new();
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let quote = inner.chars().next().filter(|first| matches!(first, '\'' | '"'));
                let (token, after) = if let Some(quote) = quote {
                    let (key, after) = inner[1..].split_once(quote).ok_or_else(wrong)?;
                    (Token::Key(key.to_owned()), after)
                } else {
                    let (index, after) = inner.split_at(inner.find(']').ok_or_else(wrong)?);
                    let token = match index {
                        "*" => Token::Any,
                        number => Token::Index(number.parse().map_err(|_| wrong())?),
                    };
                    (token, after)
                };
                tokens.push(token);
                rest = after.strip_prefix(']').ok_or_else(wrong)?;
            } else {
                let inner = rest.strip_prefix('.').ok_or_else(wrong)?;
                let end = inner.find(['.', '[']).unwrap_or(inner.len());
                tokens.push(match &inner[..end] {
                    "" => return Err(wrong()),
                    "*" => Token::Any,
                    key => Token::Key(key.to_owned()),
                });
                rest = &inner[end..];
            }
        }
        Ok(Self { tokens, list })
    }

    /// One for every value of the map or list at `path`.
    pub(super) fn of_each(path: &[Step], list: RuleList) -> Self {
        let tokens = path.iter().map(|step| match step {
            Step::Key(key) => Token::Key(key.clone()),
            Step::Index(index) => Token::Index(*index),
        });
        Self { tokens: tokens.chain([Token::Any]).collect(), list }
    }

    /// How well it fits a path or the beginning of it; 0: not at all. What is named weighs twice what is any.
    fn weight(&self, path: &[Step]) -> u64 {
        if self.tokens.len() > path.len() {
            return 0;
        }
        let each = self.tokens.iter().zip(path).map(|(token, step)| match (token, step) {
            (Token::Any, _) => 1,
            (Token::Key(key), Step::Key(found)) if key == found => 2,
            (Token::Index(index), Step::Index(found)) if index == found => 2,
            _ => 0,
        });
        let length = u64::try_from(self.tokens.len()).unwrap_or(u64::MAX).saturating_add(1);
        each.fold(2_u64, u64::saturating_mul).saturating_mul(length)
    }
}

/// The rule for the value at `path` that names it best, and whether it stands there itself or around it.
pub(super) fn best<'r>(rules: &'r [Rule], path: &[Step]) -> Option<(&'r RuleList, bool)> {
    let weighed = rules.iter().map(|rule| (rule.weight(path), rule)).filter(|(weight, _)| *weight > 0);
    let (_, rule) = weighed.max_by_key(|(weight, rule)| (*weight, rule.tokens.len()))?;
    Some((&rule.list, rule.tokens.len() == path.len()))
}

/// Whether a rule's path leads to something in a value.
pub(super) fn leads_somewhere(path: &str, value: &Json) -> bool {
    fn leads(tokens: &[Token], value: &Json) -> bool {
        let Some((first, rest)) = tokens.split_first() else { return true };
        match (first, value) {
            (Token::Any, Json::Array(items)) => items.iter().any(|item| leads(rest, item)),
            (Token::Any, Json::Object(map)) => map.values().any(|value| leads(rest, value)),
            (Token::Index(index), Json::Array(items)) => items.get(*index).is_some_and(|item| leads(rest, item)),
            (Token::Key(key), Json::Object(map)) => map.get(key).is_some_and(|value| leads(rest, value)),
            _ => false,
        }
    }
    Rule::read(path, RuleList::default()).is_ok_and(|rule| leads(&rule.tokens, value))
}

/// `$.items[0].id`.
pub(super) fn shown(path: &[Step]) -> String {
    let mut text = "$".to_owned();
    for step in path {
        match step {
            Step::Index(index) => {
                let _ = write!(text, "[{index}]");
            }
            Step::Key(key) if key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-')) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Key(key) => {
                let _ = write!(text, "['{key}']");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(path: &str) -> Rule {
        let matcher = Matcher::read(&json!({"match": "type"})).unwrap();
        Rule::read(path, RuleList { matchers: vec![matcher], any: false }).unwrap()
    }

    #[test]
    fn the_rule_that_names_a_value_best_holds() {
        let path = [Step::Key("items".into()), Step::Index(1), Step::Key("id".into())];
        for (rules, expect) in [
            (vec!["$.items", "$.items[*].id"], Some(1)),
            (vec!["$.items[1].id", "$.items[*].id"], Some(0)),
            (vec!["$", "$['items'][*]"], Some(1)),
            (vec!["$.items[*].name"], None),
            (vec!["$.items[0].id"], None),
            (vec!["$.*[*].*"], Some(0)),
            (vec!["$['items']", "$"], Some(0)),
        ] {
            let rules: Vec<Rule> = rules.into_iter().map(rule).collect();
            let found = best(&rules, &path)
                .map(|(list, _)| rules.iter().position(|rule| std::ptr::eq(&raw const rule.list, list)).unwrap());
            assert_eq!(found, expect, "{rules:?}");
        }
    }

    #[test]
    fn paths_that_cannot_be_read_are_refused() {
        for path in ["id", "$x", "$.", "$[", "$['a", "$[a]"] {
            assert!(Rule::read(path, RuleList::default()).is_err(), "{path}");
        }
    }

    #[test]
    fn mistakes_in_rules_are_told_with_their_path() {
        for (rules, expect) in [
            (json!({"$.body.id": {"match": "magic"}}), "the matching rule `$.body.id`: there is no matcher `magic`"),
            (json!({"$.boddy.id": {"match": "type"}}), "the matching rule `$.boddy.id` is about no part of"),
            (
                json!({"body": {"$.id": {"matchers": [{"match": "regex"}]}}}),
                "the matching rule `$.id`: a matcher `regex` has no",
            ),
            (json!([1]), "`matchingRules` is [1], not a map"),
        ] {
            let found = Rules::read(&rules).unwrap_err();
            assert!(found.starts_with(expect), "{found}");
        }
    }
}
