//! Proxies for HTTP requests: which one a request goes through, and which hosts are reached without.

use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use percent_encoding::percent_decode_str;
use url::Url;

/// An HTTP proxy: where it is, and what it is told to let requests through.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`.
    pub(crate) authorization: Option<String>,
}

// Written by hand: the credentials must not be printed.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

/// A text that names no proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// It cannot be read as a URL.
    #[error("the proxy is not a URL such as `http://proxy.example:3128`")]
    NotAUrl,
    /// Its scheme is another than `http`.
    #[error("the proxy's scheme `{0}` is not supported: only `http` is")]
    Scheme(String),
}

impl FromStr for Proxy {
    type Err = InvalidProxy;

    /// Reads `http://user:password@host:port`, or `host:port` without a scheme.
    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&with_scheme).map_err(|_| InvalidProxy::NotAUrl)?;
        if url.scheme() != "http" {
            return Err(InvalidProxy::Scheme(url.scheme().to_owned()));
        }
        let host = url.host_str().ok_or(InvalidProxy::NotAUrl)?.to_owned();
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let authorization = (!url.username().is_empty() || url.password().is_some()).then(|| {
            let credentials = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials))
        });
        Ok(Self { host, port: url.port().unwrap_or(80), authorization })
    }
}

/// Which proxy a request goes through when it names none itself.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    bypass: Vec<Bypass>,
}

#[derive(Debug, Clone)]
enum Bypass {
    Everything,
    /// This name and every name below it.
    Domain {
        name: String,
        port: Option<u16>,
    },
    Addresses(super::Range),
}

impl Proxies {
    /// From the usual variables: `http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`, and the same in capitals, save
    /// `HTTP_PROXY` where `REQUEST_METHOD` is set (there a request's header could have set it).
    /// Hosts on the loopback interface are always reached directly.
    ///
    /// # Errors
    /// The variable's name and what is wrong with it.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, (String, InvalidProxy)> {
        let first = |names: &'static [&'static str]| {
            names.iter().find_map(|name| Some((*name, variable(name).filter(|value| !value.trim().is_empty())?)))
        };
        let proxy = |names: &'static [&'static str]| match first(names) {
            Some((name, text)) => text.trim().parse().map(Some).map_err(|error| (name.to_owned(), error)),
            None => Ok(None),
        };
        let http_names: &'static [&'static str] = match variable("REQUEST_METHOD") {
            Some(_) => &["http_proxy", "all_proxy", "ALL_PROXY"],
            None => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
        };
        let bypass = first(&["no_proxy", "NO_PROXY"]).map(|(_, list)| parse_bypass(&list)).unwrap_or_default();
        Ok(Self {
            http: proxy(http_names)?,
            https: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            bypass,
        })
    }

    /// The proxy for a request to `host`; `None`: directly.
    pub(crate) fn find(&self, https: bool, host: &str, port: u16) -> Option<&Proxy> {
        let proxy = if https { self.https.as_ref() } else { self.http.as_ref() }?;
        (!self.is_bypassed(host, port)).then_some(proxy)
    }

    fn is_bypassed(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let address = host.parse::<IpAddr>().ok();
        if host.eq_ignore_ascii_case("localhost") || address.is_some_and(|ip| ip.is_loopback()) {
            return true;
        }
        self.bypass.iter().any(|rule| match rule {
            Bypass::Everything => true,
            Bypass::Addresses(range) => address.is_some_and(|ip| range.contains(ip, port)),
            Bypass::Domain { name, port: only } => only.is_none_or(|only| only == port) && is_within_domain(host, name),
        })
    }
}

fn is_within_domain(host: &str, domain: &str) -> bool {
    let Some(start) = host.len().checked_sub(domain.len()) else { return false };
    let same_end = host.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(domain));
    same_end && (start == 0 || host.as_bytes()[start - 1] == b'.')
}

fn parse_bypass(list: &str) -> Vec<Bypass> {
    let rule = |text: &str| {
        if text == "*" {
            return Bypass::Everything;
        }
        if let Ok(range) = text.parse() {
            return Bypass::Addresses(range);
        }
        let (name, port) = match text.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?))) {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        };
        Bypass::Domain { name: name.trim_start_matches("*.").trim_matches('.').to_owned(), port }
    };
    list.split(|c: char| c == ',' || c.is_whitespace()).filter(|text| !text.is_empty()).map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, (String, InvalidProxy)> {
        Proxies::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn hosts_named_in_no_proxy_are_reached_directly() {
        let proxies = proxies(&[
            ("HTTP_PROXY", "http://proxy.test:3128"),
            ("NO_PROXY", "example.com, .internal,*.corp.test,10.0.0.0/8 192.168.1.1,api.test:8443,[fd00::/8]"),
        ])
        .unwrap();
        for (host, port, direct) in [
            ("example.com", 80, true),
            ("api.EXAMPLE.com", 80, true),
            ("notexample.com", 80, false),
            ("db.internal", 80, true),
            ("a.corp.test", 80, true),
            ("10.1.2.3", 80, true),
            ("11.1.2.3", 80, false),
            ("192.168.1.1", 80, true),
            ("api.test", 8443, true),
            ("api.test", 443, false),
            ("[fd00::1]", 80, true),
            ("localhost", 80, true),
            ("127.0.0.1", 80, true),
            ("[::1]", 80, true),
            ("élan.test", 80, false),
        ] {
            assert_eq!(proxies.find(false, host, port).is_none(), direct, "{host}:{port}");
        }
        assert!(proxies.find(true, "other.test", 443).is_none(), "no https proxy is set");
    }

    #[test]
    fn variables_in_small_letters_come_first_and_cgi_requests_cannot_set_the_proxy() {
        let found = |variables: &[(&str, &str)]| {
            proxies(variables).unwrap().find(false, "a.test", 80).map(|proxy| (proxy.host.clone(), proxy.port))
        };
        assert_eq!(found(&[("http_proxy", "a:1"), ("HTTP_PROXY", "b:2")]), Some(("a".to_owned(), 1)));
        assert_eq!(found(&[("HTTP_PROXY", "b:2"), ("REQUEST_METHOD", "GET")]), None);
        assert_eq!(found(&[("ALL_PROXY", "http://c")]), Some(("c".to_owned(), 80)));
        assert_eq!(found(&[("http_proxy", " ")]), None);
    }

    #[test]
    fn credentials_become_basic_authorization_and_are_not_printed() {
        let proxy: Proxy = "http://us%40er:pa%3Ass@proxy.test:3128".parse().unwrap();
        assert_eq!(proxy.authorization.as_deref(), Some("Basic dXNAZXI6cGE6c3M="));
        assert_eq!(format!("{proxy:?}"), "Proxy(proxy.test:3128)");
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_with_the_variable_it_came_from() {
        for (text, expect) in [
            ("socks5://proxy.test", InvalidProxy::Scheme("socks5".to_owned())),
            ("https://proxy.test", InvalidProxy::Scheme("https".to_owned())),
            ("http://", InvalidProxy::NotAUrl),
        ] {
            assert_eq!(proxies(&[("https_proxy", text)]).unwrap_err(), ("https_proxy".to_owned(), expect));
        }
    }
}
