//! Where another process is, and a raw connection to it for protocols that bring their own client, such as gRPC.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::{Host, Url};

use super::Credentials;
use crate::http::{ConnectionOptions, HttpError, HttpVersion, ProxyChoice};
use crate::net::Connector;
use crate::tls::{TlsClient, TlsOptions};

/// Where another process of TestMesh is: `http://host:port`, or `https://host:port` when TLS is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    https: bool,
    host: String,
    port: u16,
}

/// A URL that cannot be used for internal calls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is no address of another process such as `{example}`: {reason}")]
pub struct InvalidTarget {
    /// What was given, without user, password and query.
    pub url: String,
    /// What would do.
    pub example: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Target {
    /// Reads `url`. It has no path, query, user or password; its port must be named.
    ///
    /// # Errors
    /// [`InvalidTarget`] says what is wrong, `http` with certificates included.
    pub fn parse(url: &str, credentials: &Credentials) -> Result<Self, InvalidTarget> {
        let mutual = credentials.tls().is_some();
        let example = if mutual { "https://storage:5016" } else { "http://storage:5016" };
        let refuse = |shown: &str, reason| InvalidTarget { url: shown.to_owned(), example, reason };
        let parsed = Url::parse(url).map_err(|_| refuse("…", "it is no URL"))?;
        let shown = {
            let mut bare = parsed.clone();
            bare.set_query(None);
            bare.set_fragment(None);
            crate::http::shown(&bare)
        };
        let https = match parsed.scheme() {
            "http" if mutual => return Err(refuse(&shown, "with certificates it must begin with `https://`")),
            "http" => false,
            "https" => true,
            _ => return Err(refuse(&shown, "it must begin with `http://` or `https://`")),
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(refuse(&shown, "it must not hold a user or a password"));
        }
        if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(refuse(&shown, "it must end after the port"));
        }
        let host = match parsed.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => format!("[{address}]"),
            _ => return Err(refuse(&shown, "it names no host")),
        };
        let port = parsed.port_or_known_default().ok_or_else(|| refuse(&shown, "it names no port"))?;
        Ok(Self { https, host, port })
    }

    /// Its host: a name or an address, IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.https
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// An open connection, encrypted or not.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// An open connection, for hyper and what is built on it.
pub type Socket = TokioIo<Box<dyn Transport>>;

/// Opens connections to one process with its credentials, `TCP_NODELAY` on. Clones share TLS sessions.
#[derive(Debug, Clone)]
pub struct Dialer {
    target: Target,
    credentials: Credentials,
    connector: Connector,
    tls: Arc<TlsClient>,
}

impl Dialer {
    /// For connections to `target`.
    pub fn new(target: Target, credentials: Credentials) -> Self {
        Self { target, credentials, connector: Connector::default(), tls: Arc::default() }
    }

    /// Where it connects to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Opens a connection for HTTP/2 (gRPC): by TLS with the current certificates when the target says `https`. The
    /// caller limits the time.
    ///
    /// # Errors
    /// [`HttpError::Net`] and [`HttpError::Tls`].
    pub async fn dial(&self) -> Result<Socket, HttpError> {
        let stream = self.connector.tcp(&self.target.host, self.target.port).await?.stream;
        self.encrypt(stream).await
    }

    /// As [`Dialer::dial`], to one of the addresses that the target's name stands for.
    ///
    /// # Errors
    /// As [`Dialer::dial`].
    pub async fn dial_at(&self, address: SocketAddr) -> Result<Socket, HttpError> {
        let stream = self.connector.tcp(&address.ip().to_string(), address.port()).await?.stream;
        self.encrypt(stream).await
    }

    async fn encrypt(&self, stream: TcpStream) -> Result<Socket, HttpError> {
        let transport: Box<dyn Transport> = if self.target.https {
            let options = connection_options(&self.credentials, HttpVersion::Http2);
            Box::new(self.tls.handshake(stream, &self.target.host, &options.tls, options.version.protocols()).await?)
        } else {
            Box::new(stream)
        };
        Ok(TokioIo::new(transport))
    }
}

/// How connections are made with `credentials`: with the certificates of this moment, past every proxy.
pub(super) fn connection_options(credentials: &Credentials, version: HttpVersion) -> ConnectionOptions {
    let tls = credentials.tls().map_or_else(TlsOptions::default, super::InternalTls::client);
    ConnectionOptions { version, tls, proxy: ProxyChoice::Direct }
}
