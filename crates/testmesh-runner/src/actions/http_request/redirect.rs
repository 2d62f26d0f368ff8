//! How a request changes when it is redirected (RFC 9110, section 15.4, as browsers do it).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, HOST,
    HeaderName, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use http::{Method, StatusCode};
use url::Url;

use super::Hop;

/// Describes the body, so it goes when the body does.
const BODY_HEADERS: [HeaderName; 6] =
    [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, TRANSFER_ENCODING];

/// Turns `hop` into the request that `status` asks for at `next`. Another origin gets no credentials: neither the
/// usual headers nor those in `secret_headers`, and it never gets them back.
pub(super) fn follow(hop: &mut Hop, status: StatusCode, mut next: Url, secret_headers: &[HeaderName]) {
    let becomes_get = match status {
        StatusCode::SEE_OTHER => hop.method != Method::HEAD,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => hop.method == Method::POST,
        _ => false,
    };
    if becomes_get {
        hop.method = Method::GET;
        hop.body = Bytes::new();
        let headers = Arc::make_mut(&mut hop.headers);
        for name in BODY_HEADERS {
            headers.remove(name);
        }
    }
    if next.origin() != hop.url.origin() {
        hop.trusted = false;
        let headers = Arc::make_mut(&mut hop.headers);
        for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST].iter().chain(secret_headers) {
            headers.remove(name);
        }
    }
    if next.fragment().is_none() {
        next.set_fragment(hop.url.fragment());
    }
    hop.url = next;
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::HeaderValue;

    use super::*;

    fn followed(method: &Method, status: u16, to: &str) -> Hop {
        let mut headers = HeaderMap::new();
        for name in [AUTHORIZATION, COOKIE, CONTENT_TYPE, HeaderName::from_static("x-api-key"), HOST] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        let mut hop = Hop {
            method: method.clone(),
            url: Url::parse("http://a.test/start#part").unwrap(),
            headers: Arc::new(headers),
            body: Bytes::from_static(b"body"),
            trusted: true,
        };
        let status = StatusCode::from_u16(status).unwrap();
        follow(&mut hop, status, Url::parse(to).unwrap(), &[HeaderName::from_static("x-api-key")]);
        hop
    }

    #[test]
    fn the_status_decides_whether_method_and_body_stay() {
        for (method, status, expect, keeps_body) in [
            (Method::POST, 301, Method::GET, false),
            (Method::POST, 302, Method::GET, false),
            (Method::POST, 303, Method::GET, false),
            (Method::PUT, 303, Method::GET, false),
            (Method::HEAD, 303, Method::HEAD, true),
            (Method::PUT, 301, Method::PUT, true),
            (Method::DELETE, 302, Method::DELETE, true),
            (Method::POST, 307, Method::POST, true),
            (Method::POST, 308, Method::POST, true),
        ] {
            let hop = followed(&method, status, "http://a.test/next");
            assert_eq!(hop.method, expect, "{method} {status}");
            assert_eq!(!hop.body.is_empty(), keeps_body, "{method} {status}");
            assert_eq!(hop.headers.contains_key(CONTENT_TYPE), keeps_body, "{method} {status}");
        }
    }

    #[test]
    fn another_origin_gets_no_credentials() {
        for (to, trusted) in [
            ("http://a.test/next", true),
            ("http://a.test:80/next", true),
            ("https://a.test/next", false),
            ("http://a.test:8080/next", false),
            ("http://b.a.test/next", false),
        ] {
            let hop = followed(&Method::GET, 302, to);
            for name in ["authorization", "cookie", "x-api-key"] {
                assert_eq!(hop.headers.contains_key(name), trusted, "{name} to {to}");
            }
            assert_eq!(hop.trusted, trusted, "{to}");
        }
    }

    #[test]
    fn the_fragment_is_kept_unless_the_redirect_has_one() {
        assert_eq!(followed(&Method::GET, 302, "http://a.test/next").url.fragment(), Some("part"));
        assert_eq!(followed(&Method::GET, 302, "http://a.test/next#other").url.fragment(), Some("other"));
    }
}
