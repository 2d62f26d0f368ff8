//! Reads the URL that a step names.
//!
//! Most requests of a run go to one origin, and its host takes most of the time that a URL takes to parse. So each thread
//! remembers the last origin it parsed: a path below it is joined to it, which gives the same URL.

use std::cell::RefCell;

use url::Url;

use crate::action::ActionError;
use crate::record::ErrorKind;

/// An origin as somebody wrote it, and its root.
struct Origin {
    text: String,
    root: Url,
}

thread_local! {
    static LAST: RefCell<Option<Origin>> = const { RefCell::new(None) };
}

/// Reads an absolute URL. The message never holds a password.
pub(in crate::actions) fn parse_url(key: &str, text: &str) -> Result<Url, ActionError> {
    let text = text.trim();
    let refuse = |what: &str| {
        let safe = match (text.find("://"), text.rfind('@')) {
            (Some(scheme), Some(at)) if scheme + 3 <= at => format!("{}{}", &text[..scheme + 3], &text[at + 1..]),
            _ => text.to_owned(),
        };
        ActionError::new(ErrorKind::Config, format!("`{key}` takes {what}, got `{safe}`"))
    };
    match parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
            Err(refuse("a URL that starts with `http://` or `https://`"))
        }
        Err(error) => Err(refuse(&format!("a URL ({error})"))),
    }
}

fn parse(text: &str) -> Result<Url, url::ParseError> {
    let Some((origin, path)) = split(text) else { return Url::parse(text) };
    LAST.with_borrow_mut(|last| {
        if let Some(last) = last.as_ref().filter(|last| last.text == origin) {
            return last.root.join(path);
        }
        let url = Url::parse(text)?;
        *last = url.join("/").ok().map(|root| Origin { text: origin.to_owned(), root });
        Ok(url)
    })
}

/// Origin and path of a URL that is written plainly. `None` where joining could mean something else (a second slash
/// begins a host, and white space inside is dropped), and where a password would be kept in memory.
fn split(text: &str) -> Option<(&str, &str)> {
    let scheme = ["http://", "https://"].into_iter().find(|scheme| text.starts_with(scheme))?;
    let host = &text[scheme.len()..];
    let end = host.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']')))?;
    let (origin, path) = text.split_at(scheme.len() + end);
    let follows = path.strip_prefix('/')?;
    let plain = !follows.starts_with(|c: char| matches!(c, '/' | '\\') || c.is_ascii_control() || c == ' ');
    (end > 0 && plain).then_some((origin, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_the_same_whether_its_origin_was_seen_before_or_not() {
        let origins =
            ["http://127.0.0.1:8080", "HTTP://h", "http://Example.COM:80", "https://[::1]:443", "http://h:0x"];
        let paths = [
            "/",
            "",
            "/a/../b?c=d#e",
            "/%2e%2E/x",
            "//host/x",
            "/\\host/x",
            "/\t/host/x",
            "/a\tb",
            "/ x",
            "?q",
            "#f",
            "/ü ö?ä",
            "/a//b",
            "\\a",
            "/x@y",
            "@other/x",
            "/.",
            "/..",
            "/a:b",
            "/http://other/",
            "/\n/x",
        ];
        for origin in origins {
            for _ in 0..2 {
                for path in paths {
                    let text = format!("{origin}{path}");
                    assert_eq!(parse(&text), Url::parse(&text), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn no_password_is_remembered() {
        assert!(split("http://user:secret@host/x").is_none());
        parse("http://user:secret@host/x").unwrap();
        assert!(LAST.with_borrow(Option::is_none));
    }
}
