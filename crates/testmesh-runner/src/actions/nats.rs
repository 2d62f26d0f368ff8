//! What the NATS actions share: the server, who asks, and a connection that speaks the protocol.

mod protocol;

use std::collections::VecDeque;

use bytestring::ByteString;
use serde::Deserialize;
use testmesh_shared::net::Connector;

pub(super) use self::protocol::Delivery;
use self::protocol::{Outgoing, Said};
use super::messages;
use super::peer::{self, Endpoint, Links, PeerError, Protocol, Socket, Wire, optional};
use crate::action::{ActionError, Field, Kind};
use crate::engine::Resolved;
use crate::files::Files;
use crate::record::ErrorKind;
use crate::value::Value;

const PROTOCOL: Protocol =
    Protocol { plain: &["nats"], secure: &["tls", "nats+tls"], port: 4222, secure_port: 4222, upgrades: true };
/// Says that this side lives.
const PONG: &[u8] = b"PONG\r\n";

pub(super) const URL: Field = optional(
    "url",
    &["connection", "address", "servers", "server"],
    Kind::Text,
    "`nats://user:password@host:4222`, or `tls://…`; instead of `host` and `port`.",
);
pub(super) const HOST: Field = peer::HOST;
pub(super) const PORT: Field = peer::port("4222");
pub(super) const TOKEN: Field =
    optional("token", &["auth_token"], Kind::Text, "A token, instead of user and password.");
pub(super) const PAYLOAD: Field = optional(
    "payload",
    &["value", "message", "data", "body"],
    Kind::Any,
    "The message: a map or list is sent as JSON, text as it is; without it the message is empty.",
);
pub(super) const HEADERS: Field =
    optional("headers", &[], Kind::Map(&Kind::Any), "Headers of the message (servers from 2.2).");

/// A server, and who asks it.
#[derive(Clone)]
pub(super) struct Nats {
    pub(super) endpoint: Endpoint,
    token: Option<String>,
}

impl Nats {
    pub(super) async fn read(config: &Resolved, files: &Files) -> Result<Self, ActionError> {
        let mut endpoint = Endpoint::read(config, &PROTOCOL, files).await?;
        let mut token = config.text("token")?.map(String::from);
        if endpoint.password.is_none() && token.is_none() {
            // `nats://token@host`
            token = endpoint.username.take();
        }
        endpoint.keep_apart(token.clone().unwrap_or_default());
        Ok(Self { endpoint, token })
    }

    /// A connection that this run has, or a new one.
    pub(super) async fn link(&self, connector: &Connector, links: &Links<Link>) -> Result<Link, PeerError> {
        while let Some(mut link) = links.take(&self.endpoint) {
            if link.is_usable() {
                return Ok(link);
            }
        }
        self.open(connector, links).await
    }

    /// A new connection.
    pub(super) async fn open(&self, connector: &Connector, links: &Links<Link>) -> Result<Link, PeerError> {
        let mut link = Link::new(Box::new(self.endpoint.tcp(connector).await?));
        let Said::Info(info) = link.next().await? else {
            return Err(PeerError::Broken("it does not greet as NATS does".to_owned()));
        };
        link.info = serde_json::from_str(&info).map_err(|error| PeerError::Broken(format!("its greeting: {error}")))?;
        let secure = self.endpoint.tls || link.info.tls_required;
        if secure {
            // The server waits for the handshake: there is nothing in the buffer that would be lost.
            link.wire = Wire::new(self.endpoint.secure(link.wire.socket, &links.tls).await?);
        }
        let options = serde_json::json!({
            "verbose": false, "pedantic": false, "tls_required": secure, "lang": "rust", "name": "testmesh",
            "version": env!("CARGO_PKG_VERSION"), "protocol": 1, "headers": true, "no_responders": true,
            "user": self.endpoint.username, "pass": self.endpoint.password, "auth_token": self.token,
        });
        link.wire.out.extend_from_slice(format!("CONNECT {options}\r\n").as_bytes());
        match link.sync().await {
            // A server that does not know us says so and hangs up.
            Err(PeerError::Refused(message)) => Err(PeerError::Broken(message)),
            outcome => outcome.map(|()| link),
        }
    }
}

/// What a server says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Info {
    tls_required: bool,
    headers: bool,
    max_payload: Option<usize>,
}

/// A connection.
pub(super) struct Link {
    wire: Wire,
    info: Info,
    /// Messages that came while something else was waited for.
    early: VecDeque<Delivery>,
    subscriptions: u64,
}

impl Link {
    fn new(socket: Socket) -> Self {
        Self { wire: Wire::new(socket), info: Info::default(), early: VecDeque::new(), subscriptions: 0 }
    }

    /// Whether the server neither hung up nor complained. What it asks is answered with the next request.
    fn is_usable(&mut self) -> bool {
        if !self.wire.glance() {
            return false;
        }
        loop {
            match protocol::take(&mut self.wire.input) {
                Ok(Some(Said::Ping)) => self.wire.out.extend_from_slice(PONG),
                Ok(Some(Said::Error(_))) | Err(_) => return false,
                Ok(Some(Said::Info(_) | Said::Message(_) | Said::Pong | Said::Ok)) => {}
                Ok(None) => return true,
            }
        }
    }

    /// What the server says next.
    async fn next(&mut self) -> Result<Said, PeerError> {
        loop {
            self.wire.flush().await?;
            let said = protocol::take(&mut self.wire.input);
            match said.map_err(|what| PeerError::Broken(format!("it says {what}, which is not NATS")))? {
                Some(Said::Ping) => self.wire.out.extend_from_slice(PONG),
                Some(Said::Error(message)) => return Err(PeerError::Refused(message)),
                Some(said) => return Ok(said),
                None => self.wire.fill().await?,
            }
        }
    }

    /// Sends what is to be sent, and waits until the server has dealt with all of it.
    pub(super) async fn sync(&mut self) -> Result<(), PeerError> {
        self.wire.out.extend_from_slice(b"PING\r\n");
        loop {
            match self.next().await? {
                Said::Pong => return Ok(()),
                Said::Message(message) => self.early.push_back(*message),
                Said::Info(_) | Said::Ok | Said::Ping | Said::Error(_) => {}
            }
        }
    }

    /// Prepares a subscription; [`Link::sync`] makes it. Its number.
    pub(super) fn subscribe(&mut self, subject: &str, queue: Option<&str>) -> u64 {
        self.subscriptions += 1;
        let queue = queue.map(|queue| format!(" {queue}")).unwrap_or_default();
        self.wire.out.extend_from_slice(format!("SUB {subject}{queue} {}\r\n", self.subscriptions).as_bytes());
        self.subscriptions
    }

    /// Ends a subscription, with the next thing that is sent.
    pub(super) fn unsubscribe(&mut self, number: u64) {
        self.wire.out.extend_from_slice(format!("UNSUB {number}\r\n").as_bytes());
    }

    /// Prepares a message; [`Link::sync`] or [`Link::delivery`] sends it.
    pub(super) fn publish(&mut self, message: &Outgoing) -> Result<(), PeerError> {
        if !message.headers.is_empty() && !self.info.headers {
            return Err(PeerError::Refused("the server knows no headers".to_owned()));
        }
        let length = message.length();
        if let Some(limit) = self.info.max_payload.filter(|limit| length > *limit) {
            return Err(PeerError::Refused(format!(
                "the message has {length} bytes, and the server takes {limit} at most"
            )));
        }
        message.write(&mut self.wire.out);
        Ok(())
    }

    /// The next message.
    pub(super) async fn delivery(&mut self) -> Result<Delivery, PeerError> {
        self.wire.flush().await?;
        if let Some(early) = self.early.pop_front() {
            return Ok(early);
        }
        loop {
            if let Said::Message(message) = self.next().await? {
                return Ok(*message);
            }
        }
    }
}

/// The message that a configuration describes.
pub(super) fn outgoing(config: &Resolved) -> Result<Outgoing, ActionError> {
    let subject = subject(config, "subject", false)?;
    let reply_to = match config.value("reply_to") {
        None | Some(Value::Null) => None,
        Some(_) => Some(self::subject(config, "reply_to", false)?),
    };
    let mut headers = Vec::new();
    for (name, value) in &config.map("headers")? {
        let header = protocol::header(name, value);
        let wrong = || ActionError::new(ErrorKind::Config, format!("`headers`: `{name}` is no header of one line"));
        headers.push(header.ok_or_else(wrong)?);
    }
    let payload = config.value("payload").and_then(messages::payload).unwrap_or_default();
    Ok(Outgoing { subject, reply_to, headers, payload })
}

/// The subject at a key.
pub(super) fn subject(config: &Resolved, key: &str, wildcards: bool) -> Result<ByteString, ActionError> {
    let subject = config.required_text(key)?;
    if protocol::is_subject(&subject, wildcards) {
        return Ok(subject);
    }
    let message = format!("`{key}` is `{}`, which is no subject such as `orders.created`", subject.escape_debug());
    Err(ActionError::new(ErrorKind::Config, message))
}

/// A message as a flow sees it.
pub(super) fn message(delivery: Delivery) -> Value {
    let (value, raw) = messages::value_and_raw(delivery.payload);
    let headers = delivery.headers.into_iter().map(|(name, value)| (name, Value::Text(value)));
    Value::map([
        ("subject", Value::Text(delivery.subject)),
        ("reply_to", delivery.reply_to.map_or(Value::Null, Value::Text)),
        ("value", value),
        ("value_raw", raw),
        ("headers", Value::map(headers)),
    ])
}
