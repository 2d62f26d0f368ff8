//! Where requests go: the origin of most of them becomes one variable, so that a flow can be run elsewhere.

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::Draft;
use super::words::{reference, refers};

/// Makes the origin of most requests a variable of the flow, and uses it wherever they go there.
pub(super) fn share(draft: &mut Draft) {
    let mut counts: IndexMap<String, usize> = IndexMap::new();
    for step in &draft.steps {
        if let Some(origin) = step.config.get("url").and_then(Json::as_str).and_then(of) {
            *counts.entry(origin.to_owned()).or_default() += 1;
        }
    }
    // Of those with as many requests the first.
    let Some(base) = counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(origin, _)| origin) else { return };
    draft.set_base_url(&base);
    for step in &mut draft.steps {
        if let Some(Json::String(url)) = step.config.get_mut("url")
            && of(url) == Some(base.as_str())
        {
            *url = format!("{}{}", reference("base_url"), &url[base.len()..]);
        }
    }
}

/// `https://host:port` of a URL without user and password.
pub(super) fn of(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    let origin = &url[..end];
    (url.starts_with("http") && end > start && !refers(origin) && !origin.contains(['@', '{', '}'])).then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_stands_before_the_path() {
        for (url, origin) in [
            ("https://a.b:80/c?d", Some("https://a.b:80")),
            ("http://a", Some("http://a")),
            ("http://a?x", Some("http://a")),
            ("http://u:p@a/", None),
            ("a/b", None),
            ("http://", None),
        ] {
            assert_eq!(of(url), origin, "{url}");
        }
    }
}
