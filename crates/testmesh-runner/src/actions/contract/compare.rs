//! Holds an answer against what a contract says of it: every difference, with its place.

use std::time::{Duration, Instant};

use http::HeaderMap;
use serde_json::{Value as Json, json};

use super::matcher::{Matcher, cut, same, such_as};
use super::pact::{Body, PactResponse};
use super::rules::{Rule, RuleList, Step, best, shown};

/// Differences of one interaction that are told.
const MOST: usize = 50;
/// What comparing a body may take: nothing else is done on the thread in the meantime.
const TIME: Duration = Duration::from_secs(2);
/// Headers whose values have parameters, of which an answer may have more.
const PARAMETERISED: &[&str] = &["accept", "content-type"];
/// How contents of some types begin.
const BEGINNINGS: &[(&str, &[u8])] = &[
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/gif", b"GIF8"),
    ("application/pdf", b"%PDF-"),
    ("application/zip", b"PK\x03\x04"),
    ("application/gzip", b"\x1f\x8b"),
];

/// Something that is not as the contract says.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::actions) struct Difference {
    /// `status`, `header location`, `$.items[0].id` …
    pub(in crate::actions) path: String,
    pub(in crate::actions) expected: String,
    pub(in crate::actions) actual: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: expected {}, got {}", self.path, self.expected, self.actual)
    }
}

/// What is different about an answer.
pub(in crate::actions) fn differences(
    expected: &PactResponse,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
) -> Vec<Difference> {
    let mut all = Vec::new();
    status_differs(expected, status, &mut all);
    for (name, wanted) in &expected.headers {
        header_differs(name, wanted, expected.rules.header(name), headers, &mut all);
    }
    let end = Instant::now() + TIME;
    body_differs(expected, headers, body, end, &mut all);
    all.truncate(MOST);
    if Instant::now() > end {
        let expected = format!("a body that is compared within {TIME:?}");
        all.push(Difference { path: "$".to_owned(), expected, actual: "one that takes longer".to_owned() });
    }
    all
}

fn status_differs(expected: &PactResponse, status: u16, all: &mut Vec<Difference>) {
    let ruled = expected.rules.status.as_ref().and_then(|list| {
        list.matchers.iter().find_map(|matcher| match matcher {
            Matcher::StatusCode(statuses) => Some((statuses.has(status), statuses.shown())),
            _ => None,
        })
    });
    let (holds, wanted) = match (ruled, expected.status) {
        (Some(ruled), _) => ruled,
        (None, Some(wanted)) => (wanted == status, wanted.to_string()),
        (None, None) => (true, String::new()),
    };
    if !holds {
        all.push(Difference { path: "status".to_owned(), expected: wanted, actual: status.to_string() });
    }
}

fn header_differs(name: &str, wanted: &str, rule: Option<&RuleList>, headers: &HeaderMap, all: &mut Vec<Difference>) {
    let found = headers.get_all(name).iter();
    let found: Vec<_> = found.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    let path = format!("header {name}");
    if found.is_empty() {
        all.push(Difference { path, expected: cut(&json!(wanted)), actual: "nothing".to_owned() });
        return;
    }
    let found = found.join(", ");
    let outcome = if let Some(list) = rule {
        list.check(|matcher| matcher.check_text(wanted, &found))
    } else {
        let parameterised = PARAMETERISED.iter().any(|known| name.eq_ignore_ascii_case(known));
        let holds = if parameterised { same_type(wanted, &found) } else { tidy(wanted) == tidy(&found) };
        if holds { Ok(()) } else { Err(cut(&json!(wanted))) }
    };
    if let Err(expected) = outcome {
        all.push(Difference { path, expected, actual: cut(&json!(found)) });
    }
}

/// Without white space around the parts of a list.
fn tidy(value: &str) -> String {
    value.split(',').map(str::trim).collect::<Vec<_>>().join(",")
}

/// Whether a type is the wanted one, with every parameter that is wanted.
fn same_type(wanted: &str, found: &str) -> bool {
    let parts = |text: &str| text.split(';').map(|part| part.trim().to_ascii_lowercase()).collect::<Vec<_>>();
    let (wanted, found) = (parts(wanted), parts(found));
    wanted.first() == found.first() && wanted.iter().skip(1).all(|parameter| found.contains(parameter))
}

fn body_differs(expected: &PactResponse, headers: &HeaderMap, body: &[u8], end: Instant, all: &mut Vec<Difference>) {
    let rules = &expected.rules.body;
    let root = best(rules, &[]).map(|(list, _)| list);
    let whole = root.and_then(|list| {
        list.matchers.iter().find_map(|matcher| match matcher {
            Matcher::ContentType(wanted) => Some(wanted),
            _ => None,
        })
    });
    if let Some(wanted) = whole {
        return all.extend(content_differs(wanted, headers, body));
    }
    let found_text = || json!(String::from_utf8_lossy(body));
    let mut differs = |expected: String, actual: String| {
        all.push(Difference { path: "$".to_owned(), expected, actual });
    };
    match &expected.body {
        Body::Any => {}
        Body::Empty if body.is_empty() || body == b"null" => {}
        Body::Empty => differs("no body".to_owned(), cut(&found_text())),
        Body::Json(wanted) => match serde_json::from_slice::<Json>(body) {
            Ok(found) => Comparing { rules, end, all }.value(&mut Vec::new(), wanted, &found),
            Err(_) if body.is_empty() => differs(cut(wanted), "no body".to_owned()),
            Err(error) => differs("JSON".to_owned(), format!("{} ({error})", cut(&found_text()))),
        },
        Body::Form(wanted) => {
            let (wanted, found) = (form(wanted.as_bytes()), form(body));
            Comparing { rules, end, all }.value(&mut Vec::new(), &wanted, &found);
        }
        Body::Xml(wanted) => {
            if without_gaps(wanted) != without_gaps(&String::from_utf8_lossy(body)) {
                differs(cut(&json!(wanted)), cut(&found_text()));
            }
        }
        Body::Text(wanted) => {
            let found = String::from_utf8_lossy(body);
            let outcome = match root {
                Some(list) => list.check(|matcher| matcher.check_text(wanted, &found)),
                None if wanted.as_bytes() == body => Ok(()),
                None => Err(cut(&json!(wanted))),
            };
            if let Err(wanted) = outcome {
                differs(wanted, cut(&found_text()));
            }
        }
        Body::Bytes(wanted) if wanted == body => {}
        Body::Bytes(wanted) => differs(format!("{} other bytes", wanted.len()), format!("{} bytes", body.len())),
    }
}

/// Whether a body is of a type: as its header says, and as far as that can be told from how it begins.
fn content_differs(wanted: &str, headers: &HeaderMap, body: &[u8]) -> Option<Difference> {
    let declared = headers.get("content-type").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let begins = BEGINNINGS.iter().find(|(kind, _)| wanted.starts_with(kind)).map(|(_, bytes)| *bytes);
    let actual = match declared {
        None => "none".to_owned(),
        Some(found) if !same_type(wanted, &found) => format!("`{found}`"),
        Some(found) if begins.is_some_and(|begins| !body.starts_with(begins)) => format!("`{found}`, which it is not"),
        Some(_) => return None,
    };
    Some(Difference { path: "$".to_owned(), expected: format!("content of type `{wanted}`"), actual })
}

/// A form as a map from names to lists of values.
fn form(body: &[u8]) -> Json {
    let mut fields = serde_json::Map::new();
    for (name, value) in url::form_urlencoded::parse(body) {
        if let Json::Array(values) = fields.entry(name.into_owned()).or_insert_with(|| json!([])) {
            values.push(json!(value));
        }
    }
    Json::Object(fields)
}

/// XML without the white space between its tags.
fn without_gaps(xml: &str) -> String {
    let parts = xml.trim().split('>').map(|part| match part.trim_start() {
        tag if tag.starts_with('<') => tag,
        _ => part,
    });
    parts.collect::<Vec<_>>().join(">")
}

struct Comparing<'a> {
    rules: &'a [Rule],
    /// Nothing is looked at any more from then on.
    end: Instant,
    all: &'a mut Vec<Difference>,
}

impl Comparing<'_> {
    fn differs(&mut self, path: &[Step], expected: String, actual: String) {
        if self.all.len() < MOST {
            self.all.push(Difference { path: shown(path), expected, actual });
        }
    }

    fn value(&mut self, path: &mut Vec<Step>, expected: &Json, actual: &Json) {
        if Instant::now() > self.end {
            return;
        }
        let rules = self.rules;
        let nearest = best(rules, path);
        if let Some((list, exact)) = nearest
            && let Err(wanted) = list.check(|matcher| matcher.check(exact, expected, actual))
        {
            self.differs(path, wanted, cut(actual));
            if std::mem::discriminant(expected) != std::mem::discriminant(actual) {
                return;
            }
        }
        match (expected, actual, nearest) {
            // All of it has been compared.
            (_, _, Some((list, true))) if list.has(|matcher| matches!(matcher, Matcher::Equality)) => {}
            (Json::Object(_), Json::Object(_), _) => self.map(path, expected, actual, nearest),
            (Json::Array(_), Json::Array(_), _) => self.list(path, expected, actual, nearest),
            // One of several matchers fits a value of another kind: null, say.
            (Json::Object(_) | Json::Array(_), _, Some((list, true))) if list.any => {}
            (Json::Object(_) | Json::Array(_), ..) => self.differs(path, such_as(expected), cut(actual)),
            (_, _, Some(_)) => {}
            (_, _, None) if same(expected, actual) => {}
            (_, _, None) => self.differs(path, cut(expected), cut(actual)),
        }
    }

    fn map(&mut self, path: &mut Vec<Step>, expected: &Json, actual: &Json, nearest: Option<(&RuleList, bool)>) {
        let (Some(wanted), Some(found)) = (expected.as_object(), actual.as_object()) else { return };
        let mut any_keys = false;
        for matcher in nearest.iter().filter(|(_, exact)| *exact).flat_map(|(list, _)| &list.matchers) {
            match matcher {
                Matcher::EachKey(of_keys) => {
                    any_keys = true;
                    let example = wanted.keys().next().map_or("", String::as_str);
                    for key in found.keys() {
                        if let Err(wanted) = of_keys.check(|matcher| matcher.check_text(example, key)) {
                            self.differs(path, format!("keys that are {wanted}"), cut(&json!(key)));
                        }
                    }
                }
                Matcher::EachValue(of_values) => return self.each_value(path, expected, actual, Some(of_values)),
                Matcher::Values => return self.each_value(path, expected, actual, None),
                _ => {}
            }
        }
        for (key, example) in wanted {
            path.push(Step::Key(key.clone()));
            match found.get(key) {
                Some(value) => self.value(path, example, value),
                None if any_keys => {}
                None => self.differs(path, cut(example), "nothing".to_owned()),
            }
            path.pop();
        }
    }

    fn list(&mut self, path: &mut Vec<Step>, expected: &Json, actual: &Json, nearest: Option<(&RuleList, bool)>) {
        let (Some(wanted), Some(found)) = (expected.as_array(), actual.as_array()) else { return };
        if nearest.is_none() && wanted.len() != found.len() {
            self.differs(path, n_items(wanted.len()), format!("{}: {}", n_items(found.len()), cut(actual)));
        }
        for matcher in nearest.iter().filter(|(_, exact)| *exact).flat_map(|(list, _)| &list.matchers) {
            match matcher {
                Matcher::ArrayContains(variants) if variants.is_empty() => {
                    for example in wanted.iter().filter(|example| !found.iter().any(|item| same(example, item))) {
                        self.differs(path, format!("an item {}", cut(example)), cut(actual));
                    }
                    return;
                }
                Matcher::ArrayContains(variants) => {
                    let end = self.end;
                    for variant in variants {
                        let Some(example) = wanted.get(variant.index) else { continue };
                        let fits = |item: &Json| {
                            let mut all = Vec::new();
                            Comparing { rules: &variant.rules, end, all: &mut all }.value(
                                &mut Vec::new(),
                                example,
                                item,
                            );
                            all.is_empty()
                        };
                        if !found.iter().any(fits) {
                            self.differs(path, format!("an item like {}", cut(example)), cut(actual));
                        }
                    }
                    return;
                }
                Matcher::EachValue(of_values) => return self.each_value(path, expected, actual, Some(of_values)),
                Matcher::Values => return self.each_value(path, expected, actual, None),
                _ => {}
            }
        }
        // With a matcher an example stands for any number of items; those that have none of their own are like the first.
        let first = wanted.first().filter(|_| nearest.is_some());
        for (index, value) in found.iter().enumerate() {
            let Some(example) = wanted.get(index).or(first) else { break };
            path.push(Step::Index(index));
            self.value(path, example, value);
            path.pop();
        }
    }

    /// Every value of a map or list against the example's of the same key, or its first. `rules` hold for each, where none
    /// is nearer.
    fn each_value(&mut self, path: &mut Vec<Step>, expected: &Json, actual: &Json, rules: Option<&RuleList>) {
        let more: Vec<Rule>;
        let rules = match rules {
            Some(list) => {
                more = self.rules.iter().cloned().chain([Rule::of_each(path, list.clone())]).collect();
                &*more
            }
            None => self.rules,
        };
        let mut comparing = Comparing { rules, end: self.end, all: &mut *self.all };
        match (expected, actual) {
            (Json::Object(wanted), Json::Object(found)) => {
                for (key, value) in found {
                    let Some(example) = wanted.get(key).or_else(|| wanted.values().next()) else { return };
                    path.push(Step::Key(key.clone()));
                    comparing.value(path, example, value);
                    path.pop();
                }
            }
            (Json::Array(wanted), Json::Array(found)) => {
                for (index, value) in found.iter().enumerate() {
                    let Some(example) = wanted.get(index).or(wanted.first()) else { return };
                    path.push(Step::Index(index));
                    comparing.value(path, example, value);
                    path.pop();
                }
            }
            _ => {}
        }
    }
}

fn n_items(n: usize) -> String {
    if n == 1 { "1 item".to_owned() } else { format!("{n} items") }
}

#[cfg(test)]
mod tests {
    use super::super::rules::Rules;
    use super::*;

    /// The paths that differ, and what is wanted of the first.
    fn told(rules: &Json, expected: &Json, actual: &Json) -> String {
        let rules = Rules::read(&json!({ "body": rules })).unwrap();
        let expected = PactResponse { status: None, headers: Vec::new(), body: Body::Json(expected.clone()), rules };
        let all = differences(&expected, 200, &HeaderMap::new(), actual.to_string().as_bytes());
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    fn all_of(matchers: &Json) -> Json {
        json!({ "matchers": matchers })
    }

    /// Rules, an example, an answer, and what is told.
    fn check(cases: impl IntoIterator<Item = (Json, Json, Json, &'static str)>) {
        for (rules, expected, actual, wanted) in cases {
            assert_eq!(told(&rules, &expected, &actual), wanted, "{rules} {expected} {actual}");
        }
    }

    fn of_type() -> Json {
        all_of(&json!([{"match": "type"}]))
    }

    fn integer() -> Json {
        all_of(&json!([{"match": "integer"}]))
    }

    fn three() -> Json {
        json!({"match": "regex", "regex": "[a-z]{3}"})
    }

    #[test]
    fn bodies_are_compared_as_the_reference_implementation_does() {
        check([
            (json!({}), json!({"a": 1}), json!({"a": 1, "b": 2}), ""),
            (json!({}), json!({"a": {}}), json!({"a": {"b": 2}}), ""),
            (json!({}), json!({"a": null}), json!({}), "`$.a`: expected null, got nothing"),
            (json!({}), json!([1, 2]), json!([1]), "`$`: expected 2 items, got 1 item: [1]"),
            (json!({}), json!([]), json!([1]), "`$`: expected 0 items, got 1 item: [1]"),
            (json!({}), json!({"a": 1}), json!([1]), "`$`: expected a map such as {\"a\":1}, got [1]"),
            (json!({"$": of_type()}), json!({"a": {"b": "x"}}), json!({"a": {"b": "y", "c": 1}}), ""),
            (
                json!({"$": of_type()}),
                json!({"a": {"b": "x"}}),
                json!({"a": {"b": 1}}),
                "`$.a.b`: expected a text such as \"x\", got 1",
            ),
            (json!({"$.l": of_type()}), json!({"l": [1]}), json!({"l": []}), ""),
            (json!({"$.l": of_type()}), json!({"l": [1, "a"]}), json!({"l": [2, "b", 3]}), ""),
            (
                json!({"$.l": of_type()}),
                json!({"l": [1]}),
                json!({"l": [2, "x"]}),
                "`$.l[1]`: expected a number such as 1, got \"x\"",
            ),
            // A rule for the items says nothing about how many there are.
            (
                json!({"$.l[*].id": integer()}),
                json!({"l": [{"id": 1}]}),
                json!({"l": [{"id": 2}, {"id": 3}]}),
                "`$.l`: expected 1 item, got 2 items: [{\"id\":2},{\"id\":3}]",
            ),
            (json!({"$.l": integer()}), json!({"l": [1]}), json!({"l": [5, 6]}), ""),
            (
                json!({"$.l": integer()}),
                json!({"l": [1]}),
                json!({"l": [5, "6"]}),
                "`$.l[1]`: expected an integer, got \"6\"",
            ),
        ]);
    }

    #[test]
    fn maps_and_lists_with_matchers_of_their_own_are_compared_by_them() {
        let each = |kind: &str, rule: Json| json!({"match": kind, "rules": [rule]});
        let null_or = json!({"matchers": [{"match": "null"}, {"match": "type"}], "combine": "OR"});
        check([
            (
                json!({"$.p.*": of_type()}),
                json!({"p": {"x": 1}}),
                json!({"p": {"y": 2}}),
                "`$.p.x`: expected 1, got nothing",
            ),
            (
                json!({"$.p": all_of(&json!([{"match": "values"}])), "$.p.*": integer()}),
                json!({"p": {"x": 1}}),
                json!({"p": {"y": 2, "z": 2.5}}),
                "`$.p.z`: expected an integer, got 2.5",
            ),
            (
                json!({"$.p": all_of(&json!([{"match": "values"}]))}),
                json!({"p": {"x": 1}}),
                json!({"p": {"y": 2}}),
                "`$.p.y`: expected 1, got 2",
            ),
            (
                json!({"$.p": all_of(&json!([each("eachKey", three())]))}),
                json!({"p": {"abc": 1}}),
                json!({"p": {"xyz": "s"}}),
                "",
            ),
            (
                json!({"$.p": all_of(&json!([each("eachKey", three()), each("eachValue", json!({"match": "integer"}))]))}),
                json!({"p": {"abc": 1}}),
                json!({"p": {"a1": 5, "xyz": "s"}}),
                "`$.p`: expected keys that are a match of `[a-z]{3}`, got \"a1\"; `$.p.xyz`: expected an integer, got \"s\"",
            ),
            (
                json!({"$.p": all_of(&json!([each("eachValue", three())]))}),
                json!({"p": ["abc"]}),
                json!({"p": ["xyz", "x"]}),
                "`$.p[1]`: expected a match of `[a-z]{3}`, got \"x\"",
            ),
            (
                json!({"$.l": all_of(&json!([{"match": "arrayContains", "variants": [{"index": 1, "rules": {"$.v": integer()}}]}]))}),
                json!({"l": [0, {"n": "b", "v": 1}]}),
                json!({"l": [{"n": "c", "v": 1}]}),
                "`$.l`: expected an item like {\"n\":\"b\",\"v\":1}, got [{\"n\":\"c\",\"v\":1}]",
            ),
            (
                json!({"$.l": all_of(&json!([{"match": "arrayContains", "variants": []}]))}),
                json!({"l": [1, 2]}),
                json!({"l": [3, 2, 1]}),
                "",
            ),
            (json!({"$.a": null_or}), json!({"a": {"b": 1}}), json!({"a": null}), ""),
            (
                json!({"$.a": null_or}),
                json!({"a": "x"}),
                json!({"a": 1}),
                "`$.a`: expected null or a text such as \"x\", got 1",
            ),
            (
                json!({"$": of_type(), "$.a.b": all_of(&json!([{"match": "equality"}]))}),
                json!({"a": {"b": {"c": 1}, "d": 1}}),
                json!({"a": {"b": {"c": 2}, "d": 2}}),
                "`$.a.b`: expected {\"c\":1}, got {\"c\":2}",
            ),
        ]);
    }

    #[test]
    fn bodies_that_are_no_json_are_compared_by_what_they_are() {
        let type_of = |value: &str| HeaderMap::from_iter([(http::header::CONTENT_TYPE, value.parse().unwrap())]);
        let png = json!({"body": {"$": {"matchers": [{"match": "contentType", "value": "image/png"}]}}});
        let regex = json!({"body": {"$": {"matchers": [{"match": "regex", "regex": "h.*"}]}}});
        for (body, rules, headers, actual, wanted) in [
            (Body::Text("hello".into()), json!({}), HeaderMap::new(), &b"hello"[..], ""),
            (Body::Text("hello".into()), json!({}), HeaderMap::new(), b"bye", "`$`: expected \"hello\", got \"bye\""),
            (
                Body::Text("hello".into()),
                regex,
                HeaderMap::new(),
                b"bye",
                "`$`: expected a match of `h.*`, got \"bye\"",
            ),
            (Body::Form("a=1&b=2".into()), json!({}), HeaderMap::new(), b"b=2&a=1", ""),
            (Body::Form("a=1".into()), json!({}), HeaderMap::new(), b"a=2", "`$.a[0]`: expected \"1\", got \"2\""),
            (Body::Xml("<a><b>c d</b></a>".into()), json!({}), HeaderMap::new(), b"<a>\n  <b>c d</b>\n</a>\n", ""),
            (
                Body::Xml("<a>b</a>".into()),
                json!({}),
                HeaderMap::new(),
                b"<a>c</a>",
                "`$`: expected \"<a>b</a>\", got \"<a>c</a>\"",
            ),
            (Body::Empty, json!({}), HeaderMap::new(), b"", ""),
            (Body::Empty, json!({}), HeaderMap::new(), b"x", "`$`: expected no body, got \"x\""),
            (Body::Any, png.clone(), type_of("image/png"), b"\x89PNG\r\n\x1a\nrest", ""),
            (
                Body::Any,
                png.clone(),
                type_of("image/png"),
                b"hello",
                "`$`: expected content of type `image/png`, got `image/png`, which it is not",
            ),
            (
                Body::Any,
                png,
                type_of("text/plain"),
                b"hello",
                "`$`: expected content of type `image/png`, got `text/plain`",
            ),
        ] {
            let expected =
                PactResponse { status: None, headers: Vec::new(), body, rules: Rules::read(&rules).unwrap() };
            let all = differences(&expected, 200, &headers, actual);
            let told = all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert_eq!(told, wanted, "{expected:?}");
        }
    }
}
