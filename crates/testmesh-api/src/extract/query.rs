//! Query parameters: each known to its route, given once unless it is a list, decoded strictly.

use std::borrow::Cow;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;

use crate::problem::Problem;
use crate::table::QueryParameter;

/// The query as `T`.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

/// What a route reads from its query.
pub(crate) trait FromQuery: Sized {
    /// Takes what it knows; the guard has refused whatever the route does not know.
    fn from_query(pairs: &Pairs<'_>) -> Result<Self, Problem>;
}

/// The query's decoded names and values.
#[derive(Debug)]
pub(crate) struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<S: Send + Sync, T: FromQuery> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let pairs = Pairs::parse(parts.uri.query().unwrap_or_default())?;
        T::from_query(&pairs).map(Self)
    }
}

/// Refuses a name that is not in `known`, and a second value where there is room for one.
pub(crate) fn check_names(raw: &str, known: &[QueryParameter]) -> Result<(), Problem> {
    let pairs = Pairs::parse(raw)?;
    for (index, (name, _)) in pairs.0.iter().enumerate() {
        let Some(parameter) = known.iter().find(|parameter| parameter.name == *name) else {
            let shown: String = name.chars().take(50).collect();
            let names: Vec<_> = known.iter().map(|parameter| format!("`{}`", parameter.name)).collect();
            let rule = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Problem::invalid(format!("unknown query parameter `{shown}`; this route takes {rule}")));
        };
        let again = pairs.0[..index].iter().any(|(earlier, _)| earlier == name);
        if again && !parameter.repeats {
            return Err(Problem::invalid(format!("the query parameter `{name}` is given more than once")));
        }
    }
    Ok(())
}

impl<'a> Pairs<'a> {
    fn parse(raw: &'a str) -> Result<Self, Problem> {
        let parts = raw.split('&').filter(|part| !part.is_empty());
        let pairs = parts.map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, Problem>>().map(Self)
    }

    /// Every value of `name`.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// The value of `name`.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The value of `name`, 1 to 255 characters without control characters.
    pub(crate) fn word(&self, name: &str) -> Result<Option<String>, Problem> {
        self.one(name).map(|text| super::path::check_word(name, text).map(|()| text.to_owned())).transpose()
    }

    /// The value of `name` as a `T`; `rule` says what it must be.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str, rule: &str) -> Result<Option<T>, Problem> {
        let parse = |text: &str| text.parse().map_err(|_| Problem::invalid(format!("`{name}` must be {rule}")));
        self.one(name).map(parse).transpose()
    }

    /// The value of `name` as a UUID.
    pub(crate) fn uuid(&self, name: &str) -> Result<Option<uuid::Uuid>, Problem> {
        self.one(name).map(|text| super::path::uuid(name, text)).transpose()
    }

    /// The value of `name` as a time of RFC 3339.
    pub(crate) fn time(&self, name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
        let parse = |text: &str| {
            // A plus that was not encoded has become a space by now.
            DateTime::parse_from_rfc3339(&text.replace(' ', "+"))
                .map(|time| time.to_utc())
                .map_err(|_| Problem::invalid(format!("`{name}` must be a time such as `2026-01-31T12:00:00Z`")))
        };
        self.one(name).map(parse).transpose()
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    let invalid = |_| Problem::invalid("the query is not UTF-8");
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().map_err(invalid)?;
        return Ok(Cow::Owned(decoded.into_owned()));
    }
    percent_decode_str(text).decode_utf8().map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> [QueryParameter; 2] {
        let parameter = |name: &str, repeats| QueryParameter { name: name.to_owned(), repeats };
        [parameter("limit", false), parameter("tag", true)]
    }

    #[test]
    fn only_known_names_pass_and_only_lists_repeat() {
        let check = |raw: &str, expect: bool| assert_eq!(check_names(raw, &known()).is_ok(), expect, "{raw}");
        check("limit=1&tag=a&tag=b", true);
        check("", true);
        check("&&", true);
        check("l%69mit=1", true);
        check("limit=1&limit=1", false);
        check("offset=1", false);
        check("limit=%ff", false);
        check("LIMIT=1", false);
    }

    #[test]
    fn values_are_decoded() {
        let pairs = Pairs::parse("tag=a+b&tag=%2B&since=2026-01-31T12:00:00+01:00").unwrap();
        assert_eq!(pairs.all("tag").collect::<Vec<_>>(), ["a b", "+"]);
        assert_eq!(pairs.time("since").unwrap().unwrap().to_rfc3339(), "2026-01-31T11:00:00+00:00");
        assert!(pairs.time("tag").is_err());
    }
}
