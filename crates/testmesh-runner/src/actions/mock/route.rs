//! The path of an endpoint: `/users/:id`, `/users/{id}`, `/files/*`, `/**`.

use percent_encoding::percent_decode_str;
use regex::Regex;

/// The most parts of a path.
const MOST_PARTS: usize = 64;

/// A compiled path.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    /// This text.
    Text(String),
    /// Anything, known by this name.
    Parameter(String),
    /// A text with a `*` in it.
    Glob(Regex),
    /// Any number of parts, at least this many.
    Rest { least: usize },
}

impl Route {
    /// Compiles a path. `Err` says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else { return Err("it does not begin with `/`".to_owned()) };
        if let Some(wrong) = text.find(['?', '#']) {
            return Err(format!("`{}` is not part of a path (parameters go into `match.query`)", &text[wrong..]));
        }
        let written: Vec<&str> = path.split('/').collect();
        if written.len() > MOST_PARTS {
            return Err(format!("it has more than {MOST_PARTS} parts"));
        }
        let last = written.len() - 1;
        let parts = written.iter().enumerate().map(|(index, part)| part_of(part, index == last));
        Ok(Self { source: text.to_owned(), parts: parts.collect::<Result<_, _>>()? })
    }

    /// As it was written.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// The parameters of a path that fits; wildcards are known by their number, from 1.
    pub(super) fn matched(&self, path: &str) -> Option<Vec<(String, String)>> {
        let path = path.strip_prefix('/')?;
        let decoded: Vec<String> =
            path.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect();
        let mut found = Vec::new();
        // Each `**` can end anywhere: the work is bounded.
        let mut steps = 100_000;
        fits(&self.parts, &decoded, &mut found, &mut steps).then(|| named(found))
    }
}

fn part_of(part: &str, is_last: bool) -> Result<Part, String> {
    let named = part.strip_prefix(':').or_else(|| part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')));
    if let Some(name) = named {
        let good = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
        return if good {
            Ok(Part::Parameter(name.to_owned()))
        } else {
            Err(format!("`{part}` has no name of letters, digits, `_` and `-`"))
        };
    }
    match part {
        "**" => Ok(Part::Rest { least: 0 }),
        "*" if is_last => Ok(Part::Rest { least: 1 }),
        _ if part.contains('*') => {
            let pattern: Vec<String> = part.split('*').map(regex::escape).collect();
            let pattern = Regex::new(&format!("^(?s:{})$", pattern.join("(.*)")));
            pattern.map(Part::Glob).map_err(|_| format!("`{part}` is too long"))
        }
        _ => Ok(Part::Text(percent_decode_str(part).decode_utf8_lossy().into_owned())),
    }
}

/// What a part of a route took.
enum Taken {
    Named(String, String),
    Wild(String),
}

fn named(found: Vec<Taken>) -> Vec<(String, String)> {
    let mut n_wild = 0;
    let named = found.into_iter().map(|taken| match taken {
        Taken::Named(name, value) => (name, value),
        Taken::Wild(value) => {
            n_wild += 1;
            (n_wild.to_string(), value)
        }
    });
    named.collect()
}

fn fits(parts: &[Part], path: &[String], found: &mut Vec<Taken>, steps: &mut u32) -> bool {
    *steps = steps.saturating_sub(1);
    if *steps == 0 {
        return false;
    }
    let Some((part, parts)) = parts.split_first() else { return path.is_empty() };
    if let Part::Rest { least } = part {
        for end in *least..=path.len() {
            let before = found.len();
            found.push(Taken::Wild(path[..end].join("/")));
            if fits(parts, &path[end..], found, steps) {
                return true;
            }
            found.truncate(before);
        }
        return false;
    }
    let Some((first, rest)) = path.split_first() else { return false };
    match part {
        Part::Text(text) if text == first => {}
        Part::Parameter(name) if !first.is_empty() => found.push(Taken::Named(name.clone(), first.clone())),
        Part::Glob(pattern) => match pattern.captures(first) {
            Some(captures) => {
                let wild = captures.iter().skip(1).flatten().map(|text| Taken::Wild(text.as_str().to_owned()));
                found.extend(wild);
            }
            None => return false,
        },
        Part::Text(_) | Part::Parameter(_) | Part::Rest { .. } => return false,
    }
    fits(parts, rest, found, steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_with_their_parameters() {
        for (route, path, expect) in [
            ("/", "/", Some("")),
            ("/users", "/users", Some("")),
            ("/users", "/users/", None),
            ("/users", "/Users", None),
            ("/users/:id", "/users/7", Some("id=7")),
            ("/users/{id}/orders/:order", "/users/7/orders/a%2Fb", Some("id=7 order=a/b")),
            ("/users/:id", "/users/", None),
            ("/users/:id", "/users/7/x", None),
            ("/files/*", "/files/a/b.txt", Some("1=a/b.txt")),
            ("/files/*", "/files", None),
            ("/files/*/meta", "/files/a/meta", Some("1=a")),
            ("/files/*/meta", "/files/a/b/meta", None),
            ("/img/*.png", "/img/a.png", Some("1=a")),
            ("/img/*.png", "/img/a.jpg", None),
            ("/**", "/", Some("1=")),
            ("/a/**/z", "/a/z", Some("1=")),
            ("/a/**/z", "/a/b/c/z", Some("1=b/c")),
            ("/a b", "/a%20b", Some("")),
            ("/%61", "/a", Some("")),
        ] {
            let found = Route::parse(route).unwrap().matched(path);
            let told = found
                .map(|found| found.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "));
            assert_eq!(told.as_deref(), expect, "{route} {path}");
        }
    }

    #[test]
    fn what_is_no_path_says_why() {
        for (route, part) in
            [("users", "begin"), ("", "begin"), ("/a?b=1", "match.query"), ("/a/:", "name"), ("/{a b}", "name")]
        {
            assert!(Route::parse(route).unwrap_err().contains(part), "{route}");
        }
    }

    #[test]
    fn many_wildcards_end_soon() {
        let route = Route::parse(&"/**".repeat(20)).unwrap();
        assert!(Route::parse("/**/x").unwrap().matched(&"/a".repeat(2_000)).is_none());
        let long = format!("{}/x", "/a".repeat(60));
        assert!(route.matched(&long).is_some());
    }
}
