//! `amqp_consume`: waits for messages of a queue, or of an exchange through a queue of its own.

use std::sync::Arc;

use amq_protocol::protocol::queue;
use async_trait::async_trait;
use bytestring::ByteString;
use testmesh_shared::net::Connector;

use super::amqp::{self, Amqp, Link};
use super::messages::{self, Expected, Source};
use super::peer::{self, Links, PeerError, optional};
use super::tls;
use crate::action::{ActionError, ActionSpec, Arm, Example, Expectation, Field, Kind, ResultField, Waits};
use crate::engine::ActionContext;
use crate::value::Value;

const MATCH: Field = messages::match_field(Kind::Object(&[
    optional("routing_key", &["key"], Kind::Text, "The message's routing key."),
    messages::MATCH_HEADERS,
    messages::MATCH_VALUE,
]));

static SPEC: ActionSpec = ActionSpec {
    name: "amqp_consume",
    aliases: &["amqp.consume", "amqp.subscribe", "amqp_subscribe", "rabbitmq_consume", "rabbitmq.consume"],
    summary: "Waits for messages of an AMQP 0-9-1 broker (RabbitMQ).",
    description: "With `queue`, messages that count are taken out of it, and all others stay there, in their order but marked \
                  as delivered before. With `exchange` and without `queue`, a queue of the step's own is bound with \
                  `routing_key`: it sees what is sent while the step runs, and leaves no trace.\n\nFails when fewer than \
                  `count` messages come within `timeout`, unless `min_count` asks for less.\n\n`$` in outputs is the first \
                  message's value.",
    config: &[
        amqp::URL,
        peer::HOST,
        amqp::PORT,
        amqp::USERNAME,
        amqp::PASSWORD,
        amqp::VHOST,
        peer::TLS,
        peer::VERIFY_TLS,
        tls::CA_CERT,
        tls::CLIENT_CERT,
        tls::CLIENT_KEY,
        tls::SERVER_NAME,
        optional("queue", &[], Kind::Text, "The queue."),
        optional("exchange", &[], Kind::Text, "The exchange, where there is no `queue`."),
        Field {
            default: Some("#"),
            ..optional(
                "routing_key",
                &["binding_key", "key"],
                Kind::Text,
                "Which messages of the `exchange`. In a topic exchange `*` stands for one word and `#` for any number of them.",
            )
        },
        Field {
            default: Some("true"),
            ..optional("ack", &["auto_ack"], Kind::Boolean, "Whether messages that count are taken out of the queue.")
        },
        messages::COUNT,
        messages::MIN_COUNT,
        messages::TIMEOUT,
        MATCH,
    ],
    open_config: false,
    result: &[
        ResultField {
            name: "messages",
            kind: "list",
            doc: "The messages in the order they came: `exchange`, `routing_key`, `value` (JSON parsed), `value_raw`, `headers`, \
                  `redelivered`, and where it has them `content_type`, `correlation_id`, `reply_to`, `message_id`, `type`, \
                  `app_id`, `priority`, `timestamp`.",
        },
        messages::N_MESSAGES,
    ],
    open_result: false,
    reserved: &["messages", "count"],
    examples: &[Example {
        title: "The job that a request put into a queue",
        yaml: "- action: amqp_consume\n  config:\n    url: amqp://guest:guest@localhost:5672\n    queue: mails\n    match:\n      \
               json_path: [\"$.to == 'ada@example.com'\"]\n    timeout: 10s\n  assert:\n    - messages[0].routing_key == \"mails\"\n",
    }],
};

/// The action.
pub(crate) struct AmqpConsume;

impl Waits for AmqpConsume {
    const SPEC: &'static ActionSpec = &SPEC;
}

#[async_trait]
impl Arm for AmqpConsume {
    async fn arm(&self, cx: &ActionContext<'_>) -> Result<Expectation, ActionError> {
        let config = cx.resolve()?;
        let amqp = Amqp::read(&config, cx.files()).await?;
        let expected = Expected::read(&config, &["routing_key"])?;
        let name =
            |key| Ok::<_, ActionError>(Some(amqp::short_at(&config, key)?.to_string()).filter(|name| !name.is_empty()));
        let from = match (name("queue")?, name("exchange")?) {
            (Some(queue), None) => From::Queue(queue),
            (None, Some(exchange)) => {
                From::Exchange { exchange, key: name("routing_key")?.unwrap_or_else(|| "#".to_owned()) }
            }
            (Some(_), Some(_)) => return Err(amqp::config_error("`queue` and `exchange` exclude each other")),
            (None, None) => return Err(amqp::config_error("`queue` or `exchange` must say where messages come from")),
        };
        // Messages that do not count are held back from the queue: with a limit on them, others would never come.
        let prefetch = if expected.is_selective(cx) { 0 } else { u16::try_from(expected.count()).unwrap_or(0) };
        let consumer = Consumer {
            amqp,
            connector: cx.connector().clone(),
            links: cx.resource(Links::default),
            from,
            prefetch,
            ack: config.boolean("ack")?.unwrap_or(true),
            link: None,
            last: 0,
        };
        let request = Value::map([
            ("server", Value::Text(consumer.server())),
            ("from", Value::Text(consumer.name())),
            ("count", Value::from(expected.count())),
        ]);
        expected.arm(cx, consumer, request).await
    }
}

/// Where messages come from.
enum From {
    Queue(String),
    Exchange { exchange: String, key: String },
}

struct Consumer {
    amqp: Amqp,
    connector: Connector,
    links: Arc<Links<Link>>,
    from: From,
    prefetch: u16,
    ack: bool,
    /// Its own: what it holds goes back to the queue when it is closed.
    link: Option<Link>,
    /// Number of the last message.
    last: u64,
}

impl Consumer {
    fn failed(&self, error: PeerError) -> ActionError {
        error.into_action_error(&self.amqp.endpoint.shown())
    }

    async fn open(&self) -> Result<Link, PeerError> {
        let mut link = self.amqp.open(&self.connector, &self.links).await?;
        let queue = match &self.from {
            From::Queue(queue) => queue.clone(),
            From::Exchange { exchange, key } => {
                let own = queue::Declare { exclusive: true, auto_delete: true, ..queue::Declare::default() };
                let queue = link.declare_queue(own).await?.queue;
                let (exchange, routing_key) = (exchange.as_str().into(), key.as_str().into());
                link.bind(queue::Bind { queue: queue.clone(), exchange, routing_key, ..queue::Bind::default() })
                    .await?;
                queue.to_string()
            }
        };
        link.consume(&queue, self.prefetch).await?;
        Ok(link)
    }

    fn link(&mut self) -> &mut Link {
        self.link.as_mut().expect("a source is asked for messages once it has subscribed")
    }
}

#[async_trait]
impl Source for Consumer {
    fn server(&self) -> ByteString {
        self.amqp.endpoint.shown()
    }

    fn name(&self) -> ByteString {
        match &self.from {
            From::Queue(name) | From::Exchange { exchange: name, .. } => name.as_str().into(),
        }
    }

    async fn subscribe(&mut self) -> Result<(), ActionError> {
        let link = self.open().await.map_err(|error| self.failed(error))?;
        self.link = Some(link);
        Ok(())
    }

    async fn next(&mut self) -> Result<Value, ActionError> {
        let (content, number) = self.link().delivery().await.map_err(|error| self.failed(error))?;
        self.last = number;
        Ok(amqp::message(content))
    }

    async fn settle(&mut self, counts: bool) -> Result<(), ActionError> {
        let number = self.last;
        if counts && self.ack {
            self.link().settle(number, false).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    async fn finish(&mut self) {
        if let Some(link) = &mut self.link {
            // What a broker that hung up did not hear is its own again.
            let _ = link.close().await;
        }
    }
}
