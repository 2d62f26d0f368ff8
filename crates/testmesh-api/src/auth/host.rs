//! Guards against a browser that was lured: names a tokenless server answers to, and origins that may write.
//!
//! A page of another site can point its own name at 127.0.0.1 and so reach a server that trusts loopback (DNS
//! rebinding). The `Host` header then still carries that name, which is how it is told apart.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

/// Whether a server that trusts its loopback listener may answer this request. A request without any host is not
/// from a browser.
pub(crate) fn is_local(uri: &Uri, headers: &HeaderMap) -> bool {
    match authority(uri, headers) {
        Some(Ok(authority)) => is_loopback_name(host_of(authority)),
        Some(Err(())) => false,
        None => true,
    }
}

/// Whether a request that changes something, or opens a WebSocket, comes from this server's own page, from no page at
/// all, or from one of `origins`.
pub(crate) fn is_welcome_origin(uri: &Uri, headers: &HeaderMap, origins: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let same = match (origin.split_once("://"), authority(uri, headers)) {
        (Some((_, page)), Some(Ok(own))) => page.eq_ignore_ascii_case(own),
        _ => false,
    };
    same || origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Result<&'a str, ()>> {
    if let Some(host) = headers.get(header::HOST) {
        return Some(host.to_str().map_err(|_| ()));
    }
    uri.authority().map(|authority| Ok(authority.as_str()))
}

fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(host, _)| host);
    }
    authority.split_once(':').map_or(authority, |(host, _)| host)
}

fn is_loopback_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_loopback_names_are_local() {
        let check = |host: &str, expect: bool| {
            assert_eq!(is_local(&Uri::from_static("/"), &headers(&[(header::HOST, host)])), expect, "{host}");
        };
        check("localhost", true);
        check("LOCALHOST:5016", true);
        check("localhost.", true);
        check("127.0.0.1:5016", true);
        check("127.8.9.1", true);
        check("[::1]:5016", true);
        check("evil.example", false);
        check("localhost.evil.example", false);
        check("127.0.0.1.evil.example:5016", false);
        check("10.0.0.1", false);
        check("", false);
        assert!(is_local(&Uri::from_static("/"), &HeaderMap::new()));
    }

    #[test]
    fn writes_come_from_the_own_page_or_a_named_one() {
        let check = |origin: &str, expect: bool| {
            let headers = headers(&[(header::HOST, "localhost:5016"), (header::ORIGIN, origin)]);
            let allowed = ["https://tests.example".to_owned()];
            assert_eq!(is_welcome_origin(&Uri::from_static("/"), &headers, &allowed), expect, "{origin}");
        };
        check("http://localhost:5016", true);
        check("https://tests.example", true);
        check("http://localhost:9999", false);
        check("https://evil.example", false);
        check("null", false);
    }
}
