//! Which part of a list is wanted: `limit` and `offset`, or `page` and `per_page`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::answer::Refusal;
use crate::money::Money;

/// Entries when nothing is said.
const USUAL: i64 = 50;
/// Most entries.
const MOST: i64 = 200;

/// The parameters of a query.
pub(crate) type Query = axum::extract::Query<HashMap<String, String>>;

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) limit: i64,
    pub(crate) offset: i64,
}

impl Page {
    /// Reads it from a query.
    pub(crate) fn of(query: &HashMap<String, String>) -> Result<Self, Refusal> {
        let limit = number(query, "limit", 1, MOST)?.or(number(query, "per_page", 1, MOST)?).unwrap_or(USUAL);
        let offset = number(query, "offset", 0, i64::from(u32::MAX))?;
        let page = number(query, "page", 1, i64::from(u32::MAX))?;
        Ok(Self { limit, offset: offset.or(page.map(|page| (page - 1) * limit)).unwrap_or(0) })
    }

    /// The body of a list's answer.
    pub(crate) fn body(self, name: &str, entries: Vec<Value>, total: i64) -> Value {
        let mut body = Map::new();
        let count = entries.len();
        body.insert(name.to_owned(), Value::Array(entries));
        let rest = json!({"count": count, "total": total, "limit": self.limit, "offset": self.offset});
        if let Value::Object(rest) = rest {
            body.extend(rest);
        }
        Value::Object(body)
    }
}

/// A whole number of a query, if it is there.
fn number(query: &HashMap<String, String>, name: &str, least: i64, most: i64) -> Result<Option<i64>, Refusal> {
    let Some(text) = query.get(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        _ => Err(Refusal::field(name, &format!("must be a whole number from {least} to {most}"))),
    }
}

/// An amount of a query, if it is there.
pub(crate) fn money(query: &HashMap<String, String>, name: &str) -> Result<Option<Money>, Refusal> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let money = text.parse().ok().and_then(Money::of);
    money.map(Some).ok_or_else(|| Refusal::field(name, "must be a number"))
}

/// `true` or `false` of a query, if it is there.
pub(crate) fn flag(query: &HashMap<String, String>, name: &str) -> Result<Option<bool>, Refusal> {
    let Some(text) = query.get(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Refusal::field(name, "must be true or false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_either_way() {
        for (query, expect) in [
            ("", Some((50, 0))),
            ("limit=10&offset=30", Some((10, 30))),
            ("page=3&per_page=20", Some((20, 40))),
            ("page=2&limit=5", Some((5, 5))),
            ("limit=0", None),
            ("limit=201", None),
            ("offset=-1", None),
            ("page=0", None),
            ("limit=ten", None),
        ] {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let query = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let page = Page::of(&query).ok().map(|page| (page.limit, page.offset));
            assert_eq!(page, expect, "{query:?}");
        }
    }
}
