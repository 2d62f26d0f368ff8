//! What the actions that talk to message brokers and mail servers share: where the server is, who asks, the socket, and
//! why it was not done.

mod wire;

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use bytestring::ByteString;
use parking_lot::Mutex;
use testmesh_shared::net::{Connector, NetError};
use testmesh_shared::tls::{TlsClient, TlsError, TlsOptions};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Url;

pub(super) use self::wire::Wire;
use super::http_request::chain;
use super::tls;
use crate::action::{ActionError, ActionResult, Field, Kind};
use crate::engine::Resolved;
use crate::files::Files;
use crate::record::ErrorKind;
use crate::value::Value;

pub(super) const fn optional(
    name: &'static str,
    aliases: &'static [&'static str],
    kind: Kind,
    doc: &'static str,
) -> Field {
    Field { name, aliases, kind, required: false, default: None, doc }
}

pub(super) const HOST: Field =
    Field { default: Some("localhost"), ..optional("host", &[], Kind::Text, "The server, where there is no `url`.") };
pub(super) const USERNAME: Field = optional("username", &["user"], Kind::Text, "The user.");
pub(super) const PASSWORD: Field = optional("password", &[], Kind::Text, "The password.");
pub(super) const TLS: Field = Field {
    default: Some("false"),
    ..optional("tls", &["ssl"], Kind::Boolean, "Whether the connection is made secure.")
};
pub(super) const VERIFY_TLS: Field = Field {
    default: Some("true"),
    ..optional("verify_tls", &[], Kind::Boolean, "Whether the server's certificate is checked.")
};

/// The key `port` with its default.
pub(super) const fn port(default: &'static str) -> Field {
    Field {
        default: Some(default),
        ..optional("port", &[], Kind::Integer { min: 1, max: 65_535 }, "Its port, where there is no `url`.")
    }
}

/// The key `timeout` of a step that asks once, 30 s.
pub(super) const fn timeout(doc: &'static str) -> Field {
    Field { default: Some("30s"), ..optional("timeout", &[], Kind::Duration { zero: false }, doc) }
}

/// How long a step that asks once may take.
pub(super) fn limit(config: &Resolved) -> Result<Duration, ActionError> {
    Ok(config.duration("timeout")?.unwrap_or(Duration::from_secs(30)))
}

/// How URLs of a protocol start, and the ports they mean.
pub(super) struct Protocol {
    /// The first is shown.
    pub(super) plain: &'static [&'static str],
    pub(super) secure: &'static [&'static str],
    pub(super) port: u16,
    pub(super) secure_port: u16,
    /// Whether a plain connection may become a secure one.
    pub(super) upgrades: bool,
}

/// A server and who asks it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Endpoint {
    scheme: &'static str,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    options: TlsOptions,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    /// The path of the URL, without the first `/`, decoded; none when there is none.
    pub(super) path: Option<String>,
    /// What else makes connections differ.
    kind: String,
}

impl Endpoint {
    /// Reads it from the configuration: `url`, or `host` and `port`.
    pub(super) async fn read(
        config: &Resolved,
        protocol: &'static Protocol,
        files: &Files,
    ) -> Result<Self, ActionError> {
        let text = |key| Ok::<_, ActionError>(config.text(key)?.map(String::from));
        let tls = config.boolean("tls")?.unwrap_or(false);
        let port = config.integer("port")?.map(|port| u16::try_from(port).unwrap_or(0));
        let default_port = if tls { protocol.secure_port } else { protocol.port };
        let mut endpoint = Self {
            scheme: if tls { protocol.secure[0] } else { protocol.plain[0] },
            host: text("host")?.unwrap_or_else(|| "localhost".to_owned()),
            port: port.unwrap_or(default_port),
            tls,
            options: tls::options(config, files).await?,
            username: text("username")?,
            password: text("password")?,
            path: None,
            kind: String::new(),
        };
        match (config.text("url")?, endpoint.host.split_once(':')) {
            (Some(url), _) => endpoint.set_url(&url, protocol)?,
            // `host: localhost:4222`, as many write it.
            (None, Some((host, port))) if config.value("port").is_none() && !port.contains(':') => {
                endpoint.port = port.parse().map_err(|_| config_error("`host` has no number as its port"))?;
                endpoint.host = host.to_owned();
            }
            (None, _) => {}
        }
        // Where the server may ask for TLS later, it is not known yet whether there will be any.
        if !protocol.upgrades {
            tls::needed(&endpoint.options, endpoint.tls, "set `tls: true`")?;
        }
        Ok(endpoint)
    }

    fn set_url(&mut self, text: &str, protocol: &'static Protocol) -> Result<(), ActionError> {
        let named = if text.contains("://") { text.to_owned() } else { format!("{}://{text}", self.scheme) };
        let url = Url::parse(&named).map_err(|error| config_error(&format!("`url` is no URL: {error}")))?;
        if protocol.secure.contains(&url.scheme()) {
            self.tls = true;
        } else if !protocol.plain.contains(&url.scheme()) {
            let scheme = url.scheme();
            let (plain, secure) = (protocol.plain[0], protocol.secure[0]);
            let message = format!("`url` is `{scheme}://…`: it takes `{plain}://` or `{secure}://`");
            return Err(config_error(&message));
        }
        self.scheme = if self.tls { protocol.secure[0] } else { protocol.plain[0] };
        let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let host =
            url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| config_error("`url` names no server"))?;
        self.host = plain(host.trim_start_matches('[').trim_end_matches(']'));
        self.port = url.port().unwrap_or(if self.tls { protocol.secure_port } else { protocol.port });
        if !url.username().is_empty() {
            self.username = Some(plain(url.username()));
        }
        if let Some(password) = url.password() {
            self.password = Some(plain(password));
        }
        self.path = url.path().strip_prefix('/').map(plain);
        Ok(())
    }

    /// What may be shown of it.
    pub(super) fn shown(&self) -> ByteString {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{}://{host}:{}", self.scheme, self.port).into()
    }

    /// Keeps connections of this kind for those who ask for this kind.
    pub(super) fn keep_apart(&mut self, kind: String) {
        self.kind = kind;
    }

    /// A socket to it, secure where that is wanted.
    pub(super) async fn open(&self, connector: &Connector, client: &TlsClient) -> Result<Socket, PeerError> {
        let tcp = self.tcp(connector).await?;
        if self.tls { self.secure(tcp, client).await } else { Ok(Box::new(tcp)) }
    }

    /// A socket to it, as it is.
    pub(super) async fn tcp(&self, connector: &Connector) -> Result<TcpStream, PeerError> {
        Ok(connector.tcp(&self.host, self.port).await?.stream)
    }

    /// Makes a socket to it secure.
    pub(super) async fn secure<S>(&self, socket: S, client: &TlsClient) -> Result<Socket, PeerError>
    where
        S: Duplex + 'static,
    {
        Ok(Box::new(client.handshake(socket, &self.host, &self.options, &[]).await?))
    }
}

fn config_error(message: &str) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

/// A connection, secure or not.
pub(super) type Socket = Box<dyn Duplex>;

/// Both directions of a connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// Why a server did not do it.
#[derive(Debug)]
pub(super) enum PeerError {
    /// It refused.
    Refused(String),
    /// There is no connection, or it broke.
    Broken(String),
    Denied(String),
    Config(String),
}

impl PeerError {
    /// It hung up.
    pub(super) fn closed() -> Self {
        Self::Broken("the server closed the connection".to_owned())
    }

    pub(super) fn into_action_error(self, server: &str) -> ActionError {
        let (kind, message) = match self {
            PeerError::Refused(message) => (ErrorKind::Protocol, message),
            PeerError::Broken(message) => (ErrorKind::Connection, message),
            PeerError::Denied(message) => (ErrorKind::Policy, message),
            PeerError::Config(message) => return ActionError::new(ErrorKind::Config, message),
        };
        ActionError::new(kind, format!("`{server}`: {message}"))
    }
}

impl From<std::io::Error> for PeerError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::UnexpectedEof { Self::closed() } else { Self::Broken(chain(&error)) }
    }
}

impl From<NetError> for PeerError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Denied { .. } => Self::Denied(error.to_string()),
            NetError::Resolve { .. } | NetError::Connect { .. } => Self::Broken(chain(&error)),
        }
    }
}

impl From<TlsError> for PeerError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Settings { .. } => Self::Config(error.to_string()),
            TlsError::Handshake { .. } => Self::Broken(chain(&error)),
        }
    }
}

/// Connections of one run that no step uses, and what makes new ones secure.
pub(super) struct Links<L> {
    idle: Mutex<HashMap<Endpoint, Vec<L>>>,
    pub(super) tls: TlsClient,
}

impl<L> Default for Links<L> {
    fn default() -> Self {
        Self { idle: Mutex::default(), tls: TlsClient::default() }
    }
}

impl<L> Links<L> {
    /// One that is not used. It may have been closed by the server meanwhile.
    pub(super) fn take(&self, endpoint: &Endpoint) -> Option<L> {
        self.idle.lock().get_mut(endpoint).and_then(Vec::pop)
    }

    /// Keeps one for the next step.
    pub(super) fn give(&self, endpoint: &Endpoint, link: L) {
        let mut idle = self.idle.lock();
        match idle.get_mut(endpoint) {
            Some(links) => links.push(link),
            None => drop(idle.insert(endpoint.clone(), vec![link])),
        }
    }
}

/// What a step that asked once comes to: `outcome` within `limit`, with the request in the record either way.
pub(super) async fn within<T>(
    limit: Duration,
    server: &str,
    request: &Value,
    outcome: impl Future<Output = Result<T, PeerError>>,
) -> Result<T, ActionError> {
    let error = match tokio::time::timeout(limit, outcome).await {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => error.into_action_error(server),
        Err(_) => {
            let message = format!("`{server}`: not done within {}", crate::units::show_duration(limit));
            ActionError::new(ErrorKind::Timeout, message)
        }
    };
    let partial = ActionResult { request: request.clone().into(), ..ActionResult::default() };
    Err(ActionError { partial: Some(Box::new(partial)), ..error })
}
