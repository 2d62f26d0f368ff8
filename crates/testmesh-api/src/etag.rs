//! Concurrent edits: `ETag` is the version in quotes, `If-Match` names the version an edit is based on.

use axum::http::{HeaderMap, HeaderValue};

use crate::problem::Problem;

/// The version no stored thing has: an `If-Match` that can match nothing.
const NEVER: u32 = 0;

/// The tag of a version.
pub(crate) fn of(version: u32) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes are ASCII")
}

/// The versions that `If-Match` allows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// No header, or `*`: whichever is stored.
    Any,
    /// One of these.
    OneOf(Vec<u32>),
}

impl IfMatch {
    /// Reads the header. Weak tags never match, as RFC 9110 says.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let malformed = || Problem::invalid("the header `if-match` must be `*` or tags in double quotes");
        let mut versions = Vec::new();
        for value in headers.get_all("if-match") {
            let text = value.to_str().map_err(|_| malformed())?.trim();
            if text == "*" {
                return Ok(Self::Any);
            }
            for tag in text.split(',') {
                let tag = tag.trim();
                let strong = tag.strip_prefix("W/").unwrap_or(tag);
                let inner = strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(malformed)?;
                let weak = strong.len() != tag.len();
                versions.push(if weak { NEVER } else { inner.parse().unwrap_or(NEVER) });
            }
        }
        Ok(if versions.is_empty() { Self::Any } else { Self::OneOf(versions) })
    }

    /// The version to ask the store for, when `current` tells what is stored now. The store compares again, so a change
    /// in between is still noticed.
    pub(crate) fn expected(&self, current: u32) -> Option<u32> {
        match self {
            Self::Any => None,
            Self::OneOf(versions) if versions.contains(&current) => Some(current),
            Self::OneOf(versions) => Some(versions.first().copied().unwrap_or(NEVER)),
        }
    }

    /// The version to ask for when at most one is named; `Err` when the stored one must be known first.
    pub(crate) fn single(&self) -> Result<Option<u32>, ()> {
        match self {
            Self::Any => Ok(None),
            Self::OneOf(versions) => match versions.as_slice() {
                [version] => Ok(Some(*version)),
                _ => Err(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_rfc_9110_says() {
        let check = |text: &str, expect: Option<IfMatch>| {
            let mut headers = HeaderMap::new();
            headers.insert("if-match", text.parse().unwrap());
            assert_eq!(IfMatch::from_headers(&headers).ok(), expect, "{text}");
        };
        check("*", Some(IfMatch::Any));
        check("\"3\"", Some(IfMatch::OneOf(vec![3])));
        check("\"3\", \"4\"", Some(IfMatch::OneOf(vec![3, 4])));
        check("W/\"3\"", Some(IfMatch::OneOf(vec![NEVER])));
        check("\"other\"", Some(IfMatch::OneOf(vec![NEVER])));
        check("3", None);
        check("\"3", None);
        assert_eq!(IfMatch::from_headers(&HeaderMap::new()).ok(), Some(IfMatch::Any));
    }
}
