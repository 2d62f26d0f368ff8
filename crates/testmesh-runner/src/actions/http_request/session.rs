//! What the HTTP requests of one run share: the client with its connections, the cookie jar, the tokens.

use std::collections::HashMap;
use std::sync::Arc;

use cookie_store::{CookieStore, RawCookie};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use testmesh_shared::http::HttpClient;
use url::Url;

use super::auth::{Token, TokenRequest};
use crate::engine::ActionContext;

/// Shared by the requests of one run.
pub(crate) struct HttpSession {
    /// Its connections end with the run, unless the runs of this process share them.
    pub(crate) client: HttpClient,
    /// Cookies that answers set.
    pub(super) cookies: Mutex<CookieStore>,
    /// OAuth 2 tokens. Held while one is fetched, so that parallel steps fetch it once.
    pub(super) tokens: tokio::sync::Mutex<HashMap<TokenRequest, Token>>,
}

impl HttpSession {
    /// The run's own.
    pub(crate) fn of(cx: &ActionContext<'_>) -> Arc<Self> {
        cx.resource(|| Self::new(cx.http_client()))
    }

    /// The jar's cookies for a URL, `ws` and `wss` included.
    pub(in crate::actions) fn cookie_header(&self, url: &Url) -> Option<HeaderValue> {
        let plain = url.as_str().strip_prefix("ws").and_then(|rest| Url::parse(&format!("http{rest}")).ok());
        let jar = self.cookies.lock();
        let cookies = jar.get_request_values(plain.as_ref().unwrap_or(url));
        let text = cookies.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        if text.is_empty() { None } else { HeaderValue::from_bytes(text.as_bytes()).ok() }
    }

    fn new(client: HttpClient) -> Self {
        Self { client, cookies: Mutex::new(CookieStore::default()), tokens: tokio::sync::Mutex::default() }
    }
}

/// The cookies that an answer sets; what cannot be read is left out.
pub(super) fn set_cookies(headers: &HeaderMap) -> Vec<RawCookie<'static>> {
    let readable =
        headers.get_all(SET_COOKIE).into_iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    readable.filter_map(|text| RawCookie::parse(text.to_owned()).ok()).collect()
}
