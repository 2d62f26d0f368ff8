//! What can go wrong with a request, told apart by who has to do something about it.

use std::error::Error as _;

use crate::net::NetError;
use crate::tls::TlsError;

/// A request did not get its answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL cannot be used.
    #[error("cannot send a request to `{url}`: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// No connection, or the policy denies it.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The connection cannot be made secure.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxy does not connect to the server.
    #[error("the proxy `{proxy}` does not connect to `{target}`: {reason}")]
    Proxy {
        /// Host and port of the proxy.
        proxy: String,
        /// Host and port of the server.
        target: String,
        /// What it said.
        reason: String,
    },
    /// The connection ended before the answer did.
    #[error("the connection broke off before the answer was complete")]
    Closed(#[source] hyper::Error),
    /// The answer is not HTTP.
    #[error("the answer is not valid HTTP")]
    Protocol(#[source] hyper::Error),
    /// The body is over the limit.
    #[error("the answer's body is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The body is not what `Content-Encoding` says.
    #[error("the answer's body is not valid `{coding}`")]
    Decode {
        /// The coding.
        coding: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Who has to do something about an [`HttpError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpErrorKind {
    /// The request's own settings are wrong.
    Config,
    /// The network policy denies it.
    Policy,
    /// There is no connection, or it broke.
    Connection,
    /// The other side spoke nonsense, or more than allowed.
    Protocol,
}

impl HttpError {
    /// Who has to do something about it.
    pub fn kind(&self) -> HttpErrorKind {
        match self {
            HttpError::Url { .. } | HttpError::Tls(TlsError::Settings { .. }) => HttpErrorKind::Config,
            HttpError::Net(NetError::Denied { .. }) => HttpErrorKind::Policy,
            HttpError::Net(NetError::Resolve { .. } | NetError::Connect { .. })
            | HttpError::Tls(TlsError::Handshake { .. })
            | HttpError::Proxy { .. }
            | HttpError::Closed(_) => HttpErrorKind::Connection,
            HttpError::Protocol(_) | HttpError::TooLarge { .. } | HttpError::Decode { .. } => HttpErrorKind::Protocol,
        }
    }

    pub(super) fn from_hyper(error: hyper::Error) -> Self {
        let transport = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
        let broken_transport = transport.is_some_and(is_of_transport);
        let closed = error.is_incomplete_message() || error.is_canceled() || error.is_closed() || broken_transport;
        if closed && !error.is_parse() { HttpError::Closed(error) } else { HttpError::Protocol(error) }
    }
}

/// Errors of HTTP's framing come as I/O errors too, of a kind that only TLS alerts share with them.
fn is_of_transport(error: &std::io::Error) -> bool {
    match (error.kind(), error.get_ref()) {
        (std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData, Some(cause)) => {
            cause.is::<rustls::Error>()
        }
        _ => true,
    }
}
