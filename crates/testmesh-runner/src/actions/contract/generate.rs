//! Values that a contract asks to be made anew for each request.

use chrono::{DateTime, Utc};
use rand::RngExt as _;
use serde_json::{Map, Value as Json};

use super::dates;
use super::pact::{Body, PactRequest};

/// What generators draw from.
pub(in crate::actions) struct Sources<'a> {
    pub(in crate::actions) now: DateTime<Utc>,
    pub(in crate::actions) base_url: &'a str,
    /// What the provider said of its state, and the state's own parameters.
    pub(in crate::actions) state: &'a Map<String, Json>,
}

impl Sources<'_> {
    /// Puts what generators make into a request. A generator that is not known leaves the example as it is.
    pub(in crate::actions) fn fill(&self, request: &mut PactRequest) {
        let generators = std::mem::take(&mut request.generators);
        if let Some(made) = generators.get("path").and_then(|generator| self.make(generator)) {
            request.path = text(&made);
        }
        for (part, pairs) in [("header", &mut request.headers), ("query", &mut request.query)] {
            for (name, generator) in generators.get(part).and_then(Json::as_object).into_iter().flatten() {
                // Of several values of one name: `name[0]`.
                let (name, nth) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
                    Some((name, nth)) => (name.trim_start_matches("$."), nth.parse().unwrap_or(0)),
                    None => (name.trim_start_matches("$."), 0_usize),
                };
                let pair = pairs.iter_mut().filter(|(key, _)| key.eq_ignore_ascii_case(name)).nth(nth);
                if let (Some((_, value)), Some(made)) = (pair, self.make(generator)) {
                    *value = text(&made);
                }
            }
        }
        if let Body::Json(body) = &mut request.body {
            for (path, generator) in generators.get("body").and_then(Json::as_object).into_iter().flatten() {
                self.fill_at(body, path.trim_start_matches('$'), generator);
            }
        }
        request.generators = generators;
    }

    /// Replaces every value at a path: `.items[*].id`.
    fn fill_at(&self, value: &mut Json, path: &str, generator: &Json) {
        if path.is_empty() {
            if let Some(made) = self.make(generator) {
                *value = made;
            }
            return;
        }
        let (key, rest) = if let Some(inner) = path.strip_prefix('[') {
            let Some((key, rest)) = inner.split_once(']') else { return };
            (key.trim_matches(['\'', '"']), rest)
        } else {
            let inner = path.trim_start_matches('.');
            inner.split_at(inner.find(['.', '[']).unwrap_or(inner.len()))
        };
        match value {
            Json::Object(map) if key == "*" => map.values_mut().for_each(|value| self.fill_at(value, rest, generator)),
            Json::Array(items) if key == "*" => items.iter_mut().for_each(|value| self.fill_at(value, rest, generator)),
            Json::Object(map) => {
                if let Some(value) = map.get_mut(key) {
                    self.fill_at(value, rest, generator);
                }
            }
            Json::Array(items) => {
                if let Some(value) = key.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                    self.fill_at(value, rest, generator);
                }
            }
            _ => {}
        }
    }

    fn make(&self, generator: &Json) -> Option<Json> {
        let number = |key: &str, default: i64| generator[key].as_i64().unwrap_or(default);
        let digits = |n: i64| usize::try_from(n.clamp(1, 1_000)).unwrap_or(1);
        let drawn = |alphabet: &[u8], n: usize| -> String {
            (0..n).map(|_| char::from(alphabet[rand::rng().random_range(0..alphabet.len())])).collect()
        };
        // Relative times have a language of their own, which is not understood: the example stays.
        if generator.get("expression").is_some() && generator["type"] != "ProviderState" {
            return None;
        }
        let time = |default: &str| {
            let format = generator["format"].as_str().unwrap_or(default);
            Some(Json::from(self.now.format(&dates::strftime(format)?).to_string()))
        };
        match generator["type"].as_str()? {
            "Uuid" => {
                let uuid = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
                Some(
                    match generator["format"].as_str() {
                        Some("simple") => uuid.simple().to_string(),
                        Some("upper-case-hyphenated") => uuid.to_string().to_uppercase(),
                        Some("URN") => uuid.urn().to_string(),
                        _ => uuid.to_string(),
                    }
                    .into(),
                )
            }
            "RandomInt" => {
                let least = number("min", 0);
                let most = number("max", i64::from(i32::MAX)).max(least);
                Some(rand::rng().random_range(least..=most).into())
            }
            "RandomDecimal" => {
                let n = digits(number("digits", 10)).clamp(2, 15);
                let whole = drawn(b"123456789", 1);
                format!("{whole}.{}", drawn(b"123456789", n - 1)).parse::<f64>().ok().map(Json::from)
            }
            "RandomHexadecimal" => Some(drawn(b"0123456789abcdef", digits(number("digits", 10))).into()),
            "RandomString" => Some(
                drawn(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", digits(number("size", 20)))
                    .into(),
            ),
            "RandomBoolean" => Some(rand::random::<bool>().into()),
            "Date" => time("yyyy-MM-dd"),
            "Time" => time("HH:mm:ss"),
            "DateTime" => time("yyyy-MM-dd'T'HH:mm:ssXXX"),
            "ProviderState" => self.of_state(generator["expression"].as_str()?),
            "MockServerURL" => {
                let example = generator["example"].as_str()?;
                let path = example.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
                Some(format!("{}{}", self.base_url, path.unwrap_or_default()).into())
            }
            _ => None,
        }
    }

    /// `${id}` alone is the value, inside of a text its text; a name without braces is a name.
    fn of_state(&self, expression: &str) -> Option<Json> {
        let Some(start) = expression.find("${") else { return self.state.get(expression).cloned() };
        if let Some(name) =
            expression.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).filter(|name| !name.contains('}'))
        {
            return self.state.get(name).cloned();
        }
        let mut made = expression[..start].to_owned();
        let mut rest = &expression[start..];
        while let Some(inner) = rest.strip_prefix("${") {
            let (name, after) = inner.split_once('}')?;
            made.push_str(&text(self.state.get(name)?));
            let next = after.find("${").unwrap_or(after.len());
            made.push_str(&after[..next]);
            rest = &after[next..];
        }
        Some(made.into())
    }
}

fn text(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn generators_fill_every_part_of_a_request() {
        let json = json!({
            "consumer": {"name": "c"}, "provider": {"name": "p"}, "metadata": {"pactSpecification": {"version": "3.0.0"}},
            "interactions": [{"description": "d", "request": {
                "method": "POST", "path": "/users/1", "query": {"q": ["a", "b"]}, "headers": {"X-Id": "1"},
                "body": {"id": 1, "at": "x", "items": [{"n": 1}, {"n": 2}], "url": "http://a/b", "keep": 5},
                "generators": {
                    "path": {"type": "ProviderState", "expression": "/users/${id}"},
                    "header": {"X-Id": {"type": "ProviderState", "expression": "id"}},
                    "query": {"q[1]": {"type": "RandomHexadecimal", "digits": 4}},
                    "body": {
                        "$.id": {"type": "ProviderState", "expression": "${id}"},
                        "$.at": {"type": "DateTime", "format": "yyyy-MM-dd'T'HH:mm:ss.SSSX"},
                        "$.items[*].n": {"type": "RandomInt", "min": 7, "max": 7},
                        "$['url']": {"type": "MockServerURL", "example": "http://a:1/b/c"},
                        "$.keep": {"type": "Regex", "regex": "."}
                    }
                }
            }, "response": {}}]
        });
        let mut request = super::super::pact::Pact::read(&json).unwrap().interactions.remove(0).request;
        let state = json!({"id": 42}).as_object().cloned().unwrap();
        let now = DateTime::parse_from_rfc3339("2026-01-02T03:04:05.678Z").unwrap().to_utc();
        Sources { now, base_url: "http://here:1", state: &state }.fill(&mut request);
        assert_eq!(
            (request.path.as_str(), request.headers[0].1.as_str(), request.query[0].1.as_str()),
            ("/users/42", "42", "a")
        );
        assert!(request.query[1].1.len() == 4 && request.query[1].1 != "b");
        let expected = json!({"id": 42, "at": "2026-01-02T03:04:05.678Z", "items": [{"n": 7}, {"n": 7}], "url": "http://here:1/b/c", "keep": 5});
        assert_eq!(request.body, Body::Json(expected));
    }
}
