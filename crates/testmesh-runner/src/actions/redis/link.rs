//! Connections to Redis, kept for the run.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use bytestring::ByteString;
use futures::FutureExt;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ProtocolVersion, PushInfo, RedisConnectionInfo};
use testmesh_shared::net::{Connector, NetError};
use testmesh_shared::tls::{TlsClient, TlsError, TlsOptions};
use url::Url;

use super::command::Command;
use super::reply;
use crate::action::ActionError;
use crate::actions::http_request::chain;
use crate::engine::{ActionContext, Resolved};
use crate::record::ErrorKind;
use crate::value::Value;

/// Nodes of a cluster that send a command on, one after the other, before that is an error.
const MOST_MOVES: usize = 5;

/// A server and who asks it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Target {
    host: String,
    port: u16,
    db: i64,
    username: Option<String>,
    password: Option<String>,
    tls: bool,
    verify: bool,
}

impl Target {
    /// Reads it from the configuration.
    pub(super) fn read(config: &Resolved) -> Result<Self, ActionError> {
        let text = |key| Ok::<_, ActionError>(config.text(key)?.map(String::from));
        let port = config.integer("port")?.map(|port| u16::try_from(port).unwrap_or(0));
        let mut target = Self {
            host: text("host")?.unwrap_or_else(|| "localhost".to_owned()),
            port: port.unwrap_or(6379),
            db: config.integer("db")?.unwrap_or(0),
            username: text("username")?,
            password: text("password")?.filter(|password| !password.is_empty()),
            tls: config.boolean("tls")?.unwrap_or(false),
            verify: config.boolean("verify_tls")?.unwrap_or(true),
        };
        match (config.text("url")?, target.host.split_once(':')) {
            (Some(url), _) => target.set_url(&url)?,
            // `host: localhost:6379`, as many write it.
            (None, Some((host, port))) if config.value("port").is_none() && !port.contains(':') => {
                target.port = port.parse().map_err(|_| config_error("`host` has no number as its port"))?;
                target.host = host.to_owned();
            }
            (None, _) => {}
        }
        Ok(target)
    }

    fn set_url(&mut self, text: &str) -> Result<(), ActionError> {
        let text = if text.contains("://") { text.to_owned() } else { format!("redis://{text}") };
        let url = Url::parse(&text).map_err(|error| config_error(&format!("`url` is no URL: {error}")))?;
        self.tls = match url.scheme() {
            "redis" => self.tls,
            "rediss" => true,
            scheme => {
                return Err(config_error(&format!("`url` is `{scheme}://…`: it takes `redis://` or `rediss://`")));
            }
        };
        let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        if let Some(host) = url.host_str() {
            self.host = plain(host.trim_start_matches('[').trim_end_matches(']'));
        }
        self.port = url.port().unwrap_or(self.port);
        if !url.username().is_empty() {
            self.username = Some(plain(url.username()));
        }
        if let Some(password) = url.password() {
            self.password = Some(plain(password));
        }
        let db = url.path().trim_start_matches('/');
        if !db.is_empty() {
            self.db = db.parse().map_err(|_| config_error("`url` has no number of a database as its path"))?;
        }
        Ok(())
    }

    /// What may be shown of it.
    pub(super) fn shown(&self) -> ByteString {
        let scheme = if self.tls { "rediss" } else { "redis" };
        format!("{scheme}://{}:{}/{}", self.host, self.port, self.db).into()
    }
}

fn config_error(message: &str) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum RedisError {
    /// Redis refused the command.
    Refused {
        code: ByteString,
        message: String,
    },
    /// There is no connection, or it broke.
    Broken(String),
    Denied(String),
    Config(String),
}

impl RedisError {
    pub(super) fn into_action_error(self, target: &str) -> ActionError {
        let (kind, message) = match self {
            RedisError::Refused { code, message } => (ErrorKind::Protocol, format!("{code} {message}")),
            RedisError::Broken(message) => (ErrorKind::Connection, message),
            RedisError::Denied(message) => (ErrorKind::Policy, message),
            RedisError::Config(message) => (ErrorKind::Config, message),
        };
        ActionError::new(kind, format!("`{target}`: {message}"))
    }

    fn of(error: &redis::RedisError) -> Self {
        match error.code() {
            Some(code) => Self::Refused { code: code.into(), message: error.detail().unwrap_or_default().to_owned() },
            None => Self::Broken(chain(error)),
        }
    }
}

impl From<NetError> for RedisError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Denied { .. } => Self::Denied(error.to_string()),
            NetError::Resolve { .. } | NetError::Connect { .. } => Self::Broken(chain(&error)),
        }
    }
}

impl From<TlsError> for RedisError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Settings { .. } => Self::Config(error.to_string()),
            TlsError::Handshake { .. } => Self::Broken(chain(&error)),
        }
    }
}

/// Where what a server tells unasked goes; must not block.
pub(super) type Pushed = Arc<dyn Fn(PushInfo) -> Result<(), ()> + Send + Sync>;

/// A connection, and what moves its bytes: polled only while a command waits, so nothing runs beside the run.
pub(super) struct Link {
    connection: MultiplexedConnection,
    driver: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The connections of one run that no step uses.
#[derive(Default)]
pub(super) struct Links {
    idle: Mutex<HashMap<Target, Vec<Link>>>,
    tls: TlsClient,
}

impl Links {
    /// Sends a command and gives the reply, from whichever node of a cluster has it.
    pub(super) async fn ask(
        &self,
        cx: &ActionContext<'_>,
        target: &Target,
        command: &Command,
    ) -> Result<Value, RedisError> {
        let mut target = target.clone();
        let mut asking = false;
        for _ in 0..MOST_MOVES {
            match self.ask_node(cx, &target, command, asking).await {
                Err(RedisError::Refused { code, message }) if matches!(&*code, "MOVED" | "ASK") => {
                    asking = &*code == "ASK";
                    // `3999 127.0.0.1:6381`
                    let node = message.split(' ').next_back().and_then(|node| node.rsplit_once(':'));
                    let (host, port) = node.ok_or_else(|| RedisError::Broken(format!("it sends on to `{message}`")))?;
                    target.port =
                        port.parse().map_err(|_| RedisError::Broken(format!("it sends on to `{message}`")))?;
                    if !host.is_empty() {
                        host.clone_into(&mut target.host);
                    }
                }
                outcome => return outcome,
            }
        }
        Err(RedisError::Broken("the cluster's nodes send the command around in circles".to_owned()))
    }

    async fn ask_node(
        &self,
        cx: &ActionContext<'_>,
        target: &Target,
        command: &Command,
        asking: bool,
    ) -> Result<Value, RedisError> {
        let mut link = self.link(cx, target).await?;
        if asking {
            link.send(&redis::cmd("ASKING")).await?;
        }
        let mut words = Cmd::new();
        for word in &command.words {
            words.arg(&word[..]);
        }
        let outcome = link.send(&words).await;
        if !matches!(outcome, Err(RedisError::Broken(_))) {
            self.idle.lock().entry(target.clone()).or_default().push(link);
        }
        outcome.and_then(|reply| reply::value(reply).map_err(|(code, message)| RedisError::Refused { code, message }))
    }

    async fn link(&self, cx: &ActionContext<'_>, target: &Target) -> Result<Link, RedisError> {
        loop {
            let Some(mut idle) = self.idle.lock().get_mut(target).and_then(Vec::pop) else { break };
            // One look lets it notice that the server hung up.
            if (&mut idle.driver).now_or_never().is_none() {
                return Ok(idle);
            }
        }
        self.open(cx.connector(), target, None).await
    }

    /// A new connection. What the server tells unasked goes to `pushed`.
    pub(super) async fn open(
        &self,
        connector: &Connector,
        target: &Target,
        pushed: Option<Pushed>,
    ) -> Result<Link, RedisError> {
        let tcp = connector.tcp(&target.host, target.port).await?.stream;
        let mut info = RedisConnectionInfo::default().set_db(target.db).set_skip_set_lib_name();
        if let Some(username) = &target.username {
            info = info.set_username(username);
        }
        if let Some(password) = &target.password {
            info = info.set_password(password);
        }
        // Version 3 tells maps from lists; servers before 6.0 do not know it.
        let info = info.set_protocol(ProtocolVersion::RESP3);
        // The step's own time-out is the limit, of commands that wait (`BLPOP`, `XREAD`) too.
        let mut config = AsyncConnectionConfig::new().set_response_timeout(None);
        if let Some(pushed) = pushed {
            config = config.set_push_sender(move |info| pushed(info));
        }
        let failed = |error: redis::RedisError| match RedisError::of(&error) {
            RedisError::Refused { code, message } => RedisError::Broken(format!("{code} {message}")),
            error => error,
        };
        if target.tls {
            let options = TlsOptions { verify: target.verify, ..TlsOptions::default() };
            let stream = self.tls.handshake(tcp, &target.host, &options, &[]).await?;
            let (connection, driver) =
                MultiplexedConnection::new_with_config(&info, stream, config).await.map_err(failed)?;
            return Ok(Link { connection, driver: Box::pin(driver) });
        }
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, tcp, config).await.map_err(failed)?;
        Ok(Link { connection, driver: Box::pin(driver) })
    }
}

impl Link {
    /// Subscribes to channels, or to all that patterns fit.
    pub(super) async fn subscribe(&mut self, names: &[&[u8]], patterns: bool) -> Result<(), RedisError> {
        let mut connection = self.connection.clone();
        let subscribe =
            async { if patterns { connection.psubscribe(names).await } else { connection.subscribe(names).await } };
        tokio::select! {
            biased;
            // Not dropped for the other arm but with the connection.
            done = subscribe => done.map_err(|error| RedisError::of(&error)),
            // Cancel-safe: the same pinned future goes on with the next command.
            () = &mut self.driver => Err(closed()),
        }
    }

    /// Moves bytes until the connection ends.
    pub(super) async fn drive(&mut self) {
        (&mut self.driver).await;
    }

    /// A command's reply as a value.
    pub(super) async fn value(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let reply = self.send(command).await?;
        reply::value(reply).map_err(|(code, message)| RedisError::Refused { code, message })
    }

    async fn send(&mut self, command: &Cmd) -> Result<redis::Value, RedisError> {
        tokio::select! {
            biased;
            // Not dropped for the other arm but with the connection: the loop of neither goes on.
            reply = self.connection.send_packed_command(command) => reply.map_err(|error| RedisError::of(&error)),
            // Cancel-safe: the same pinned future goes on with the next command.
            () = &mut self.driver => Err(closed()),
        }
    }
}

fn closed() -> RedisError {
    RedisError::Broken("the server closed the connection".to_owned())
}
