//! Connections to Redis, kept for the run. A command's bytes are sent and its reply is read by the step itself: there is
//! no task between.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use parking_lot::Mutex;
use testmesh_shared::net::Connector;
use testmesh_shared::tls::TlsClient;

use super::command::Command;
use super::protocol::{self, Refusal, Said, Scan};
use crate::action::ActionError;
use crate::actions::peer::{Endpoint, PeerError, Protocol, Socket, Wire};
use crate::engine::Resolved;
use crate::files::Files;
use crate::record::ErrorKind;
use crate::value::Value;

const PROTOCOL: Protocol =
    Protocol { plain: &["redis"], secure: &["rediss"], port: 6379, secure_port: 6379, upgrades: false };
/// Nodes of a cluster that send a command on, one after the other, before that is an error.
const MOST_MOVES: usize = 5;

/// A server and who asks it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Target {
    endpoint: Endpoint,
    db: i64,
}

impl Target {
    async fn read(config: &Resolved, files: &Files) -> Result<Self, ActionError> {
        let mut endpoint = Endpoint::read(config, &PROTOCOL, files).await?;
        endpoint.password = endpoint.password.take().filter(|password| !password.is_empty());
        let path = endpoint.path.take().filter(|path| !path.is_empty());
        let db = match path {
            Some(path) => path
                .parse()
                .map_err(|_| ActionError::new(ErrorKind::Config, "`url` has no number of a database as its path"))?,
            None => config.integer("db")?.unwrap_or(0),
        };
        Ok(Self { endpoint, db })
    }
}

/// A server that a run asks.
pub(super) struct Server {
    target: Target,
    shown: ByteString,
    /// Connections that no step uses.
    idle: Mutex<Vec<Link>>,
}

impl Server {
    /// What may be shown of it.
    pub(super) fn shown(&self) -> ByteString {
        self.shown.clone()
    }
}

/// The servers of one run.
#[derive(Default)]
pub(super) struct Servers {
    known: Mutex<HashMap<Target, Arc<Server>>>,
    /// Those that a `url` alone names, so that it is read once.
    by_url: Mutex<HashMap<ByteString, Arc<Server>>>,
    tls: TlsClient,
}

impl Servers {
    /// The one that the configuration names.
    pub(super) async fn read(&self, config: &Resolved, files: &Files) -> Result<Arc<Server>, ActionError> {
        const ELSE: [&str; 11] = [
            "host",
            "port",
            "db",
            "username",
            "password",
            "tls",
            "verify_tls",
            "ca_cert",
            "client_cert",
            "client_key",
            "server_name",
        ];
        let url = config.text("url")?.filter(|_| config.fields().all(|(name, _)| !ELSE.contains(&name)));
        let Some(url) = url else { return Ok(self.server(Box::pin(Target::read(config, files)).await?)) };
        if let Some(server) = self.by_url.lock().get(&url) {
            return Ok(Arc::clone(server));
        }
        let server = self.server(Box::pin(Target::read(config, files)).await?);
        self.by_url.lock().insert(url, Arc::clone(&server));
        Ok(server)
    }

    fn server(&self, target: Target) -> Arc<Server> {
        let mut known = self.known.lock();
        if let Some(server) = known.get(&target) {
            return Arc::clone(server);
        }
        let shown = format!("{}/{}", target.endpoint.shown(), target.db).into();
        let server = Arc::new(Server { target: target.clone(), shown, idle: Mutex::default() });
        known.insert(target, Arc::clone(&server));
        server
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum RedisError {
    /// Redis refused the command.
    Refused(Refusal),
    /// There is no connection, or it broke.
    Broken(String),
    Denied(String),
    Config(String),
}

impl RedisError {
    pub(super) fn into_action_error(self, target: &str) -> ActionError {
        let (kind, message) = match self {
            RedisError::Refused(Refusal { code, message }) => (ErrorKind::Protocol, format!("{code} {message}")),
            RedisError::Broken(message) => (ErrorKind::Connection, message),
            RedisError::Denied(message) => (ErrorKind::Policy, message),
            RedisError::Config(message) => (ErrorKind::Config, message),
        };
        ActionError::new(kind, format!("`{target}`: {message}"))
    }
}

impl From<PeerError> for RedisError {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::Broken(message) | PeerError::Refused(message) => Self::Broken(message),
            PeerError::Denied(message) => Self::Denied(message),
            PeerError::Config(message) => Self::Config(message),
        }
    }
}

/// Sends a command and gives the reply, from whichever node of a cluster has it.
pub(super) async fn ask(
    connector: &Connector,
    servers: &Servers,
    server: &Server,
    command: &Command,
) -> Result<Value, RedisError> {
    let mut refusal = match ask_node(connector, servers, server, command, false).await {
        Err(RedisError::Refused(refusal)) if is_elsewhere(&refusal) => refusal,
        outcome => return outcome,
    };
    let mut target = server.target.clone();
    for _ in 1..MOST_MOVES {
        // `3999 127.0.0.1:6381`
        let lost = || RedisError::Broken(format!("it sends on to `{}`", refusal.message));
        let node = refusal.message.split(' ').next_back().and_then(|node| node.rsplit_once(':'));
        let (host, port) = node.ok_or_else(lost)?;
        target.endpoint.port = port.parse().map_err(|_| lost())?;
        if !host.is_empty() {
            host.clone_into(&mut target.endpoint.host);
        }
        let node = servers.server(target.clone());
        refusal = match ask_node(connector, servers, &node, command, &*refusal.code == "ASK").await {
            Err(RedisError::Refused(refusal)) if is_elsewhere(&refusal) => refusal,
            outcome => return outcome,
        };
    }
    Err(RedisError::Broken("the cluster's nodes send the command around in circles".to_owned()))
}

fn is_elsewhere(refusal: &Refusal) -> bool {
    matches!(&*refusal.code, "MOVED" | "ASK")
}

async fn ask_node(
    connector: &Connector,
    servers: &Servers,
    server: &Server,
    command: &Command,
    asking: bool,
) -> Result<Value, RedisError> {
    let kept = std::iter::from_fn(|| server.idle.lock().pop()).find_map(Link::if_usable);
    let mut link = match kept {
        Some(link) => link,
        // On the heap: rare and large, and every command would have to make room for it.
        None => Box::pin(open(connector, servers, server)).await?,
    };
    if asking {
        link.ask(&[Bytes::from_static(b"ASKING")]).await?;
    }
    let outcome = link.ask(&command.words).await;
    if matches!(outcome, Ok(_) | Err(RedisError::Refused(_))) {
        server.idle.lock().push(link);
    }
    outcome
}

/// A new connection.
pub(super) async fn open(connector: &Connector, servers: &Servers, server: &Server) -> Result<Link, RedisError> {
    let Target { endpoint, db } = &server.target;
    let mut link = Link::new(endpoint.open(connector, &servers.tls).await?);
    // Version 3 tells maps from lists, and messages from replies; servers before 6.0 do not know it.
    let mut hello = vec![Bytes::from_static(b"HELLO"), Bytes::from_static(b"3")];
    if let Some(password) = &endpoint.password {
        let user = endpoint.username.clone().unwrap_or_else(|| "default".to_owned());
        hello.extend([Bytes::from_static(b"AUTH"), Bytes::from(user), Bytes::from(password.clone())]);
    }
    link.send(&hello);
    if *db != 0 {
        link.send(&[Bytes::from_static(b"SELECT"), Bytes::from(db.to_string())]);
    }
    for _ in 0..=usize::from(*db != 0) {
        link.reply(None).await.map_err(|error| match error {
            RedisError::Refused(Refusal { code, message }) => RedisError::Broken(format!("{code} {message}")),
            error => error,
        })?;
    }
    Ok(link)
}

/// A connection.
pub(super) struct Link {
    wire: Wire,
    scan: Scan,
}

impl Link {
    fn new(socket: Socket) -> Self {
        Self { wire: Wire::new(socket), scan: Scan::default() }
    }

    /// Itself, unless the server hung up or said what nobody asked for.
    fn if_usable(mut self) -> Option<Self> {
        if !self.wire.glance() {
            return None;
        }
        loop {
            match self.scan.take(&mut self.wire.input) {
                Ok(Some(Said::Push(_))) => {}
                Ok(Some(Said::Reply(_) | Said::Refused(_))) | Err(_) => return None,
                Ok(None) => return Some(self),
            }
        }
    }

    /// A command's reply. Dropped in between, the connection must not be used again.
    pub(super) async fn ask(&mut self, words: &[Bytes]) -> Result<Value, RedisError> {
        self.send(words);
        self.reply(words.first().map(|name| &name[..])).await
    }

    /// A command that goes out with the next thing that is read.
    pub(super) fn send(&mut self, words: &[Bytes]) {
        protocol::put(words, &mut self.wire.out);
    }

    /// The next reply. That to `SUBSCRIBE` and its like comes as if unasked, with the command's own name.
    async fn reply(&mut self, name: Option<&[u8]>) -> Result<Value, RedisError> {
        loop {
            match self.next().await? {
                Said::Reply(value) => return Ok(value),
                Said::Refused(refusal) => return Err(RedisError::Refused(refusal)),
                Said::Push(items) => {
                    let kind = items.first().and_then(Value::as_str).map(str::as_bytes);
                    if kind.zip(name).is_some_and(|(kind, name)| kind.eq_ignore_ascii_case(name)) {
                        return Ok(Value::list(items));
                    }
                }
            }
        }
    }

    /// What the server says next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Said, RedisError> {
        loop {
            self.wire.flush().await?;
            if let Some(said) = self.scan.take(&mut self.wire.input).map_err(RedisError::Broken)? {
                return Ok(said);
            }
            self.wire.fill().await?;
        }
    }
}
