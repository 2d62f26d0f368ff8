//! Which of the representations a route has the caller's `Accept` prefers.

use axum::http::{HeaderMap, header};
use testmesh_shared::error::ErrorCode;

use crate::problem::Problem;

/// A representation of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Representation {
    /// The object.
    Json,
    /// The text as it was written, byte for byte.
    Yaml,
}

const OFFERS: [(Representation, &str, &str); 2] =
    [(Representation::Json, "application", "json"), (Representation::Yaml, "application", "yaml")];

/// The caller's preference; JSON when it has none.
pub(crate) fn representation(headers: &HeaderMap) -> Result<Representation, Problem> {
    let mut ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if ranges.peek().is_none() {
        return Ok(Representation::Json);
    }
    let ranges: Vec<_> = ranges.flat_map(|value| value.split(',')).filter_map(range).collect();
    let mut best = None;
    for (representation, kind, subtype) in OFFERS {
        let quality = quality(&ranges, kind, subtype);
        if quality > 0.0 && best.is_none_or(|(_, reached)| quality > reached) {
            best = Some((representation, quality));
        }
    }
    best.map(|(representation, _)| representation).ok_or_else(|| {
        Problem::new(ErrorCode::NotAcceptable, "this route answers with `application/json` or `application/yaml`")
    })
}

fn range(text: &str) -> Option<(&str, &str, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let quality = quality.map_or(Some(1.0), |text| text.parse().ok())?;
    Some((kind, subtype, quality))
}

/// The quality of the most specific range that covers the type.
fn quality(ranges: &[(&str, &str, f32)], kind: &str, subtype: &str) -> f32 {
    let specificity = |range: &(&str, &str, f32)| match (range.0, range.1) {
        ("*", "*") => Some(0),
        (left, "*") if left.eq_ignore_ascii_case(kind) => Some(1),
        (left, right) if left.eq_ignore_ascii_case(kind) && right.eq_ignore_ascii_case(subtype) => Some(2),
        _ => None,
    };
    let covering = ranges.iter().filter_map(|range| Some((specificity(range)?, range.2)));
    covering.max_by_key(|(specificity, _)| *specificity).map_or(0.0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_representation_is_chosen() {
        let check = |accept: &str, expect: Option<Representation>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(representation(&headers).ok(), expect, "{accept}");
        };
        check("*/*", Some(Representation::Json));
        check("application/yaml", Some(Representation::Yaml));
        check("application/yaml;q=0.5, application/json", Some(Representation::Json));
        check("application/json;q=0.1, application/yaml;q=0.2", Some(Representation::Yaml));
        check("application/*", Some(Representation::Json));
        check("*/*, application/json;q=0", Some(Representation::Yaml));
        check("text/html", None);
        assert_eq!(representation(&HeaderMap::new()).ok(), Some(Representation::Json));
    }
}
