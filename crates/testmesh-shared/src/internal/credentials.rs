//! How a process proves to another that it belongs to the same TestMesh.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use super::{CallContext, InternalTls, InternalToken, RELEASE, TOKEN_SETTING, header};

/// A token, a certificate, or both: what is there is needed. Clones share them.
#[derive(Debug, Clone)]
pub struct Credentials {
    token: Option<InternalToken>,
    tls: Option<InternalTls>,
}

/// Anybody could call: there is neither a token nor a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("calls between processes need a token (`{TOKEN_SETTING}`) or mutual TLS")]
pub struct NoCredentials;

impl Credentials {
    /// Both sides of a call need the same ones.
    ///
    /// # Errors
    /// [`NoCredentials`] when both are missing.
    pub fn new(token: Option<InternalToken>, tls: Option<InternalTls>) -> Result<Self, NoCredentials> {
        if token.is_none() && tls.is_none() { Err(NoCredentials) } else { Ok(Self { token, tls }) }
    }

    /// The certificates, when TLS is mutual.
    pub fn tls(&self) -> Option<&InternalTls> {
        self.tls.as_ref()
    }

    /// The token, when there is one.
    pub fn token(&self) -> Option<&InternalToken> {
        self.token.as_ref()
    }

    /// Puts on `headers` what every internal call carries: the token, the release, the request id and trace of the
    /// current [`CallContext`] (new ones when there is none), and the time left. `time` is how long the caller waits at
    /// most; `None` for a stream, which lasts as long as the context allows.
    pub fn stamp(&self, headers: &mut HeaderMap, time: Option<Duration>) {
        let context = CallContext::current().unwrap_or_else(CallContext::generate);
        if let Some(token) = &self.token {
            headers.insert(http::header::AUTHORIZATION, token.header());
        }
        headers.insert(header::RELEASE, HeaderValue::from_static(RELEASE));
        let text = |text: &str| HeaderValue::from_str(text).ok();
        headers.extend(text(&context.request_id).map(|id| (header::REQUEST_ID, id)));
        headers.extend(text(&context.trace.child().to_string()).map(|trace| (header::TRACEPARENT, trace)));
        let left = context.deadline.map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()));
        if let Some(left) = time.into_iter().chain(left).min() {
            let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            headers.insert(header::TIME_LEFT_MS, HeaderValue::from(left));
        }
    }
}
