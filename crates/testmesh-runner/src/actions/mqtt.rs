//! What the MQTT actions share: the broker, who asks, and a connection that speaks versions 3.1.1 and 5.

mod packet;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use bytestring::ByteString;
use testmesh_shared::net::Connector;

use self::packet::{FAILURE, Hello, Packet, Step, Version, Writer, meaning};
pub(super) use self::packet::{Message, Properties};
use super::messages;
use super::peer::{self, Endpoint, Links, PeerError, Protocol, Wire, optional};
use crate::action::{ActionError, Field, Kind};
use crate::engine::Resolved;
use crate::files::Files;
use crate::record::ErrorKind;
use crate::value::Value;

const PROTOCOL: Protocol =
    Protocol { plain: &["mqtt", "tcp"], secure: &["mqtts", "ssl"], port: 1883, secure_port: 8883, upgrades: false };
/// Seconds after which a broker may take a silent client for dead.
const KEEP_ALIVE: u16 = 60;
/// How long a connection that waits may be silent before it shows that it is alive.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest text of the protocol.
const LONGEST_TEXT: usize = 65_535;

pub(super) const URL: Field = optional(
    "url",
    &["connection", "address", "broker", "server"],
    Kind::Text,
    "`mqtt://user:password@host:1883`, or `mqtts://…` with TLS; instead of `host` and `port`.",
);
pub(super) const PORT: Field = peer::port("1883");
pub(super) const VERSION: Field = Field {
    default: Some("3.1.1"),
    ..optional("version", &["protocol_version"], Kind::Choice(&["3.1.1", "5"]), "The version of MQTT.")
};
pub(super) const CLIENT_ID: Field = Field {
    default: Some("one of its own"),
    ..optional(
        "client_id",
        &[],
        Kind::Text,
        "The client id. A broker closes the connection of an earlier client with the same.",
    )
};
pub(super) const QOS: Field = Field {
    default: Some("1"),
    ..optional(
        "qos",
        &[],
        Kind::Integer { min: 0, max: 2 },
        "How surely messages arrive: 0 at most once, 1 at least once, 2 exactly once.",
    )
};

/// A broker, and who asks it.
#[derive(Clone)]
pub(super) struct Mqtt {
    pub(super) endpoint: Endpoint,
    version: Version,
    client_id: Option<ByteString>,
    pub(super) qos: u8,
}

impl Mqtt {
    pub(super) async fn read(config: &Resolved, files: &Files) -> Result<Self, ActionError> {
        let mut endpoint = Endpoint::read(config, &PROTOCOL, files).await?;
        let version = config.text("version")?;
        let version =
            if version.as_deref().is_some_and(|text| text.starts_with('5')) { Version::V5 } else { Version::V311 };
        let client_id = config.text("client_id")?;
        for text in [client_id.as_deref(), endpoint.username.as_deref(), endpoint.password.as_deref()] {
            if text.is_some_and(|text| text.len() > LONGEST_TEXT) {
                return Err(config_error("`client_id`, `username` and `password` have at most 65535 bytes"));
            }
        }
        endpoint.keep_apart(format!("{version:?} {}", client_id.as_deref().unwrap_or_default()));
        let qos = config.integer("qos")?.map_or(1, |qos| u8::try_from(qos.clamp(0, 2)).unwrap_or(1));
        Ok(Self { endpoint, version, client_id, qos })
    }

    /// The message that a configuration describes.
    pub(super) fn message(&self, config: &Resolved) -> Result<Message, ActionError> {
        let topic = topic(config)?;
        if topic.contains(['+', '#']) {
            return Err(config_error(&format!("`topic` is `{topic}`: wildcards are for subscriptions")));
        }
        let mut user = Vec::new();
        for (name, value) in &config.map("headers")? {
            user.push((name.clone(), value.to_text().unwrap_or_default()));
        }
        let properties = Properties {
            content_type: config.text("content_type")?,
            response_topic: config.text("response_topic")?,
            correlation_data: config.value("correlation_data").and_then(messages::payload),
            user,
            ..Properties::default()
        };
        if self.version == Version::V311 && !properties.is_empty() {
            let message = "`headers`, `content_type`, `response_topic` and `correlation_data` need `version: \"5\"`";
            return Err(config_error(message));
        }
        let texts = properties.user.iter().flat_map(|(name, value)| [name.len(), value.len()]);
        let single = [properties.content_type.as_ref(), properties.response_topic.as_ref()];
        let lengths = texts.chain(single.into_iter().flatten().map(|text| text.len()));
        if lengths
            .chain(properties.correlation_data.as_ref().map(bytes::Bytes::len))
            .any(|length| length > LONGEST_TEXT)
        {
            return Err(config_error("a property of a message has at most 65535 bytes"));
        }
        let payload = config.value("payload").and_then(messages::payload).unwrap_or_default();
        let retain = config.boolean("retain")?.unwrap_or(false);
        Ok(Message { topic, payload, qos: self.qos, retain, id: 0, properties })
    }

    /// A connection that this run has, or a new one.
    pub(super) async fn link(&self, connector: &Connector, links: &Links<Link>) -> Result<Link, PeerError> {
        while let Some(mut link) = links.take(&self.endpoint) {
            if link.wire.glance() && link.wire.input.is_empty() {
                return Ok(link);
            }
        }
        self.open(connector, links).await
    }

    /// A new connection.
    pub(super) async fn open(&self, connector: &Connector, links: &Links<Link>) -> Result<Link, PeerError> {
        let socket = self.endpoint.open(connector, &links.tls).await?;
        let (taken, early) = (HashSet::new(), VecDeque::new());
        let mut link = Link { wire: Wire::new(socket), version: self.version, numbers: 0, taken, early };
        let own;
        let client_id = if let Some(id) = &self.client_id {
            id
        } else {
            // 23 characters are what every broker takes.
            own = format!("testmesh{:015x}", rand::random::<u64>() >> 4);
            own.as_str()
        };
        let hello = Hello {
            client_id,
            username: self.endpoint.username.as_deref(),
            password: self.endpoint.password.as_deref(),
            keep_alive: KEEP_ALIVE,
        };
        link.writer().connect(&hello);
        match link.next().await? {
            Packet::Connected { code: 0, .. } => Ok(link),
            Packet::Connected { code, reason } => Err(PeerError::Broken(refusal(self.version, code, reason))),
            _ => Err(PeerError::Broken("it does not greet as MQTT brokers do".to_owned())),
        }
    }
}

fn config_error(message: &str) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

/// The topic, or the filter of topics.
pub(super) fn topic(config: &Resolved) -> Result<ByteString, ActionError> {
    let topic = config.required_text("topic")?;
    if topic.is_empty() || topic.len() > LONGEST_TEXT || topic.contains('\0') {
        return Err(config_error("`topic` takes 1 to 65535 bytes, without the character NUL"));
    }
    Ok(topic)
}

fn refusal(version: Version, code: u8, reason: Option<ByteString>) -> String {
    let meaning = meaning(version, code);
    match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("{meaning}: {reason}"),
        None if meaning == "refused" => format!("refused with code {code:#04x}"),
        None => meaning.to_owned(),
    }
}

/// A connection.
pub(super) struct Link {
    wire: Wire,
    version: Version,
    /// The last number of a packet.
    numbers: u16,
    /// Numbers of messages that the broker may send again (QoS 2).
    taken: HashSet<u16>,
    /// Messages that came while something else was waited for.
    early: VecDeque<Message>,
}

impl Link {
    fn writer(&mut self) -> Writer<'_> {
        Writer { version: self.version, out: &mut self.wire.out }
    }

    fn number(&mut self) -> u16 {
        self.numbers = self.numbers.wrapping_add(1).max(1);
        self.numbers
    }

    /// What the broker says next. What it is to be answered is answered.
    async fn next(&mut self) -> Result<Packet, PeerError> {
        loop {
            self.wire.flush().await?;
            let taken = packet::take(self.version, &mut self.wire.input);
            let packet = taken.map_err(|what| PeerError::Broken(format!("it says {what}, which is not MQTT")))?;
            let Some(packet) = packet else {
                self.wire.fill().await?;
                continue;
            };
            match packet {
                Packet::Message(message) => {
                    let is_new = message.qos < 2 || self.taken.insert(message.id);
                    match message.qos {
                        1 => self.writer().answer(Step::Acknowledged, message.id),
                        2 => self.writer().answer(Step::Received, message.id),
                        _ => {}
                    }
                    if is_new {
                        return Ok(Packet::Message(message));
                    }
                }
                Packet::Release { id } => {
                    self.taken.remove(&id);
                    self.writer().answer(Step::Complete, id);
                }
                Packet::Disconnected { code, reason } => {
                    return Err(PeerError::Broken(refusal(self.version, code, reason)));
                }
                packet => return Ok(packet),
            }
        }
    }

    /// The next packet that is no message; messages are kept.
    async fn answer(&mut self) -> Result<Packet, PeerError> {
        loop {
            match self.next().await? {
                Packet::Message(message) => self.early.push_back(message),
                packet => return Ok(packet),
            }
        }
    }

    /// Sends a message, and waits until the broker has it.
    pub(super) async fn publish(&mut self, mut message: Message) -> Result<(), PeerError> {
        if message.qos == 0 {
            self.writer().message(&message);
            // Nothing is said about the message; but brokers answer in order, and hang up on what they do not like.
            return self.ping().await;
        }
        message.id = self.number();
        self.writer().message(&message);
        let id = message.id;
        let mut awaited = if message.qos == 1 { Step::Acknowledged } else { Step::Received };
        loop {
            match self.answer().await? {
                Packet::Answer { step, id: which, code, reason } if step == awaited && which == id => {
                    if code >= FAILURE {
                        return Err(PeerError::Refused(refusal(self.version, code, reason)));
                    }
                    if step != Step::Received {
                        return Ok(());
                    }
                    awaited = Step::Complete;
                    self.writer().release(id);
                }
                _ => {}
            }
        }
    }

    async fn ping(&mut self) -> Result<(), PeerError> {
        self.writer().ping();
        while self.answer().await? != Packet::Pong {}
        Ok(())
    }

    /// Subscribes, and waits until the broker says that it is so.
    pub(super) async fn subscribe(&mut self, filter: &str, qos: u8, retained: bool) -> Result<(), PeerError> {
        let number = self.number();
        self.writer().subscribe(number, filter, qos, retained);
        loop {
            if let Packet::Subscribed { id, codes, reason } = self.answer().await?
                && id == number
            {
                return match codes.first() {
                    Some(code) if *code < FAILURE => Ok(()),
                    Some(code) => {
                        let refusal = refusal(self.version, *code, reason);
                        Err(PeerError::Refused(format!("no subscription to `{filter}`: {refusal}")))
                    }
                    None => Err(PeerError::Broken("its answer to a subscription is empty".to_owned())),
                };
            }
        }
    }

    /// The next message.
    pub(super) async fn message(&mut self) -> Result<Message, PeerError> {
        loop {
            if let Some(early) = self.early.pop_front() {
                return Ok(early);
            }
            // Cancel-safe: what was read or is to be written stays in the buffers.
            match tokio::time::timeout(SILENCE, self.next()).await {
                Ok(packet) => {
                    if let Packet::Message(message) = packet? {
                        return Ok(message);
                    }
                }
                Err(_) => self.writer().ping(),
            }
        }
    }
}

/// A message as a flow sees it.
pub(super) fn shown(message: Message) -> Value {
    let (value, raw) = messages::value_and_raw(message.payload);
    let text = |text: Option<ByteString>| text.map_or(Value::Null, Value::Text);
    let properties = message.properties;
    let headers = properties.user.into_iter().map(|(name, value)| (name, Value::Text(value)));
    Value::map([
        ("topic", Value::Text(message.topic)),
        ("value", value),
        ("value_raw", raw),
        ("qos", Value::Int(message.qos.into())),
        ("retain", Value::Bool(message.retain)),
        ("headers", Value::map(headers)),
        ("content_type", text(properties.content_type)),
        ("response_topic", text(properties.response_topic)),
        ("correlation_data", properties.correlation_data.map_or(Value::Null, messages::text)),
    ])
}
