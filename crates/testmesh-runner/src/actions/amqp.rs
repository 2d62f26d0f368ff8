//! What the AMQP 0-9-1 actions share: the broker, who asks, and a connection with one channel that confirms messages.
//!
//! Frames, methods and tables are a library's; the socket is opened by the run's connector, and nothing runs beside the step.

mod frames;
mod values;

use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::protocol::{AMQPClass, channel, confirm, connection, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable, ShortString};
use testmesh_shared::net::Connector;

pub(super) use self::frames::Content;
use self::frames::{Reader, Said};
pub(super) use self::values::{message, properties, short_at, table_at};
use super::peer::{self, Endpoint, Links, PeerError, Protocol, Wire, optional};
use crate::action::{ActionError, Field, Kind};
use crate::engine::Resolved;
use crate::files::Files;
use crate::record::ErrorKind;

const PROTOCOL: Protocol =
    Protocol { plain: &["amqp"], secure: &["amqps"], port: 5672, secure_port: 5671, upgrades: false };
/// What is said before anything else.
const GREETING: &[u8] = b"AMQP\0\0\x09\x01";
/// The most bytes of a frame that this client takes; brokers mostly ask for the same.
const FRAME_MAX: u32 = 128 << 10;
/// The least that a broker must take (the specification's `frame-min-size`).
const FRAME_MIN: u32 = 4096;
/// The one channel.
const CHANNEL: u16 = 1;

pub(super) const URL: Field = optional(
    "url",
    &["connection", "address", "broker", "server"],
    Kind::Text,
    "`amqp://user:password@host:5672/vhost`, or `amqps://…` with TLS; instead of `host`, `port` and `vhost`.",
);
pub(super) const PORT: Field = peer::port("5672");
pub(super) const USERNAME: Field = Field { default: Some("guest"), ..peer::USERNAME };
pub(super) const PASSWORD: Field = Field { default: Some("guest"), ..peer::PASSWORD };
pub(super) const VHOST: Field =
    Field { default: Some("/"), ..optional("vhost", &["virtual_host"], Kind::Text, "The virtual host.") };

/// A broker, and who asks it.
#[derive(Clone)]
pub(super) struct Amqp {
    pub(super) endpoint: Endpoint,
    vhost: String,
}

impl Amqp {
    pub(super) async fn read(config: &Resolved, files: &Files) -> Result<Self, ActionError> {
        let mut endpoint = Endpoint::read(config, &PROTOCOL, files).await?;
        // An empty path is no virtual host: `amqp://host/` is what most write for the default.
        let in_url = endpoint.path.clone().filter(|path| !path.is_empty());
        let vhost = config.text("vhost")?.map(String::from).or(in_url).unwrap_or_else(|| "/".to_owned());
        values::short("vhost", &vhost)?;
        endpoint.keep_apart(vhost.clone());
        for name in [&mut endpoint.username, &mut endpoint.password] {
            name.get_or_insert_with(|| "guest".to_owned());
        }
        Ok(Self { endpoint, vhost })
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
        let reader = Reader::new(usize::try_from(FRAME_MAX).unwrap_or(usize::MAX));
        let mut link = Link { wire: Wire::new(socket), reader, published: 0 };
        match self.introduce(&mut link).await {
            // A broker that does not know us closes the connection.
            Err(PeerError::Refused(message)) => Err(PeerError::Broken(message)),
            outcome => outcome.map(|()| link),
        }
    }

    async fn introduce(&self, link: &mut Link) -> Result<(), PeerError> {
        use channel::AMQPMethod as Channel;
        use connection::AMQPMethod as Connection;
        link.wire.out.extend_from_slice(GREETING);
        let AMQPClass::Connection(Connection::Start(start)) = link.method().await? else { return Err(unexpected()) };
        let mechanisms = start.mechanisms.to_string();
        if !mechanisms.split_ascii_whitespace().any(|mechanism| mechanism == "PLAIN") {
            return Err(PeerError::Refused(format!("it takes no password, only {mechanisms}")));
        }
        let (user, password) = (&self.endpoint.username, &self.endpoint.password);
        let response =
            format!("\0{}\0{}", user.as_deref().unwrap_or_default(), password.as_deref().unwrap_or_default());
        let start = connection::StartOk {
            client_properties: client_properties(),
            mechanism: "PLAIN".into(),
            response: response.into_bytes().into(),
            locale: "en_US".into(),
        };
        link.send(0, AMQPClass::Connection(Connection::StartOk(start)))?;
        let AMQPClass::Connection(Connection::Tune(tune)) = link.method().await? else { return Err(unexpected()) };
        let frame_max = if tune.frame_max == 0 { FRAME_MAX } else { tune.frame_max.clamp(FRAME_MIN, FRAME_MAX) };
        link.reader.frame_max = usize::try_from(frame_max).unwrap_or(usize::MAX);
        // No heartbeats: a connection lives as long as its run, and every wait has a limit.
        let tune = connection::TuneOk { channel_max: tune.channel_max, frame_max, heartbeat: 0 };
        link.send(0, AMQPClass::Connection(Connection::TuneOk(tune)))?;
        let vhost = connection::Open { virtual_host: self.vhost.as_str().into() };
        link.ask(0, AMQPClass::Connection(Connection::Open(vhost))).await?;
        link.ask(CHANNEL, AMQPClass::Channel(Channel::Open(channel::Open {}))).await?;
        let confirm = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
        link.ask(CHANNEL, AMQPClass::Confirm(confirm)).await.map(drop)
    }
}

fn unexpected() -> PeerError {
    PeerError::Broken("it does not answer as AMQP brokers do".to_owned())
}

fn client_properties() -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in ["publisher_confirms", "basic.nack", "consumer_cancel_notify", "authentication_failure_close"] {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("product".into(), AMQPValue::LongString("TestMesh".as_bytes().to_vec().into()));
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}

/// A connection with its channel.
pub(super) struct Link {
    wire: Wire,
    reader: Reader,
    /// Messages sent so far: the broker counts them, too.
    published: u64,
}

/// A message to be sent.
pub(super) struct Outgoing {
    pub(super) method: basic::Publish,
    pub(super) properties: AMQPProperties,
    pub(super) body: bytes::Bytes,
}

impl Link {
    fn send(&mut self, channel: u16, method: AMQPClass) -> Result<(), PeerError> {
        frames::method(channel, method, &mut self.wire.out).map_err(PeerError::Broken)
    }

    /// Sends a method on the channel.
    fn tell(&mut self, method: basic::AMQPMethod) -> Result<(), PeerError> {
        self.send(CHANNEL, AMQPClass::Basic(method))
    }

    /// What the broker says next. That it closes something is an error with its reason.
    async fn next(&mut self) -> Result<Said, PeerError> {
        loop {
            self.wire.flush().await?;
            let said = self.reader.take(&mut self.wire.input);
            match said.map_err(|what| PeerError::Broken(format!("it says {what}, which is not AMQP 0-9-1")))? {
                None => self.wire.fill().await?,
                Some(Said::Method(method)) => {
                    if let Some(reason) = frames::closing(&method) {
                        return Err(PeerError::Refused(reason.to_owned()));
                    }
                    return Ok(Said::Method(method));
                }
                Some(content) => return Ok(content),
            }
        }
    }

    /// The next method without content.
    async fn method(&mut self) -> Result<AMQPClass, PeerError> {
        loop {
            if let Said::Method(method) = self.next().await? {
                return Ok(method);
            }
        }
    }

    /// Asks for something, and gives the answer.
    async fn ask(&mut self, channel: u16, method: AMQPClass) -> Result<AMQPClass, PeerError> {
        use connection::AMQPMethod::{Blocked, Unblocked};
        self.send(channel, method)?;
        loop {
            match self.method().await? {
                // The broker has no room, or has it again: answers come all the same.
                AMQPClass::Connection(Blocked(_) | Unblocked(_)) => {}
                answer => return Ok(answer),
            }
        }
    }

    /// Sends a message and waits until the broker has it. Whether a queue took it.
    pub(super) async fn publish(&mut self, message: &Outgoing) -> Result<bool, PeerError> {
        let method = basic::AMQPMethod::Publish(message.method.clone());
        self.tell(method)?;
        let frame_max = self.reader.frame_max;
        frames::content(CHANNEL, &message.properties, &message.body, frame_max, &mut self.wire.out)
            .map_err(PeerError::Broken)?;
        self.published += 1;
        let mut routed = true;
        loop {
            match self.next().await? {
                Said::Content(content) => routed &= !matches!(content.method, basic::AMQPMethod::Return(_)),
                Said::Method(AMQPClass::Basic(basic::AMQPMethod::Ack(ack))) if ack.delivery_tag == self.published => {
                    return Ok(routed);
                }
                Said::Method(AMQPClass::Basic(basic::AMQPMethod::Nack(_))) => {
                    return Err(PeerError::Refused("the broker did not take the message".to_owned()));
                }
                Said::Method(_) => {}
            }
        }
    }

    /// Makes an exchange, or asks for one that must be there.
    pub(super) async fn declare_exchange(&mut self, exchange: exchange::Declare) -> Result<(), PeerError> {
        self.ask(CHANNEL, AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange))).await.map(drop)
    }

    /// Makes a queue, or asks for one that must be there.
    pub(super) async fn declare_queue(&mut self, queue: queue::Declare) -> Result<queue::DeclareOk, PeerError> {
        match self.ask(CHANNEL, AMQPClass::Queue(queue::AMQPMethod::Declare(queue))).await? {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(declared)) => Ok(declared),
            _ => Err(unexpected()),
        }
    }

    /// Leads messages of an exchange into a queue.
    pub(super) async fn bind(&mut self, bind: queue::Bind) -> Result<(), PeerError> {
        self.ask(CHANNEL, AMQPClass::Queue(queue::AMQPMethod::Bind(bind))).await.map(drop)
    }

    /// Removes a queue. How many messages were in it.
    pub(super) async fn delete_queue(&mut self, queue: &str) -> Result<u32, PeerError> {
        let delete = queue::Delete { queue: queue.into(), ..queue::Delete::default() };
        match self.ask(CHANNEL, AMQPClass::Queue(queue::AMQPMethod::Delete(delete))).await? {
            AMQPClass::Queue(queue::AMQPMethod::DeleteOk(deleted)) => Ok(deleted.message_count),
            _ => Err(unexpected()),
        }
    }

    /// Removes an exchange.
    pub(super) async fn delete_exchange(&mut self, exchange: &str) -> Result<(), PeerError> {
        let delete = exchange::Delete { exchange: exchange.into(), ..exchange::Delete::default() };
        self.ask(CHANNEL, AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete))).await.map(drop)
    }

    /// Makes the broker send the messages of a queue, `prefetch` of them before they are settled (0: all).
    pub(super) async fn consume(&mut self, queue: &str, prefetch: u16) -> Result<(), PeerError> {
        let qos = basic::Qos { prefetch_count: prefetch, global: false };
        self.ask(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Qos(qos))).await?;
        let consume = basic::Consume { queue: queue.into(), ..basic::Consume::default() };
        // The first messages may come before the answer: nothing but it is read here, and none of them is sent before.
        self.ask(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Consume(consume))).await.map(drop)
    }

    /// The next message of a queue that is consumed, and its number.
    pub(super) async fn delivery(&mut self) -> Result<(Content, u64), PeerError> {
        loop {
            match self.next().await? {
                Said::Content(content) => {
                    if let basic::AMQPMethod::Deliver(deliver) = &content.method {
                        let tag = deliver.delivery_tag;
                        return Ok((*content, tag));
                    }
                }
                Said::Method(AMQPClass::Basic(basic::AMQPMethod::Cancel(_))) => {
                    return Err(PeerError::Refused("the queue is gone".to_owned()));
                }
                Said::Method(_) => {}
            }
        }
    }

    /// Takes the next message from a queue, or puts it back. With how many are left there; none when it is empty.
    pub(super) async fn get(&mut self, queue: &str, keep: bool) -> Result<Option<(Content, u32)>, PeerError> {
        let get = basic::Get { queue: queue.into(), no_ack: false };
        self.tell(basic::AMQPMethod::Get(get))?;
        loop {
            match self.next().await? {
                Said::Method(AMQPClass::Basic(basic::AMQPMethod::GetEmpty(_))) => return Ok(None),
                Said::Content(content) => {
                    if let basic::AMQPMethod::GetOk(got) = &content.method {
                        let (tag, left) = (got.delivery_tag, got.message_count);
                        self.settle(tag, keep)?;
                        self.wire.flush().await?;
                        return Ok(Some((*content, left)));
                    }
                }
                Said::Method(_) => {}
            }
        }
    }

    /// Takes a message for good, or puts it back; told with what is sent next.
    pub(super) fn settle(&mut self, tag: u64, keep: bool) -> Result<(), PeerError> {
        self.tell(if keep {
            basic::AMQPMethod::Nack(basic::Nack { delivery_tag: tag, multiple: false, requeue: true })
        } else {
            basic::AMQPMethod::Ack(basic::Ack { delivery_tag: tag, multiple: false })
        })
    }

    /// Says goodbye, and waits until the broker has heard all that was said.
    pub(super) async fn close(&mut self) -> Result<(), PeerError> {
        let close = connection::Close { reply_code: 200, reply_text: "done".into(), class_id: 0, method_id: 0 };
        self.send(0, AMQPClass::Connection(connection::AMQPMethod::Close(close)))?;
        loop {
            if let AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)) = self.method().await? {
                return Ok(());
            }
        }
    }
}

/// The short text at a key, which must not be empty.
pub(super) fn required_short(config: &Resolved, key: &str) -> Result<ShortString, ActionError> {
    let text = config.required_text(key)?;
    if text.is_empty() {
        return Err(config_error(&format!("`{key}` is empty")));
    }
    values::short(key, &text)
}

pub(super) fn config_error(message: &str) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}
