//! `nats_subscribe`: waits for messages of a subject.

use std::sync::Arc;

use async_trait::async_trait;
use bytestring::ByteString;
use testmesh_shared::net::Connector;

use super::messages::{self, Expected, Source};
use super::nats::{self, Link, Nats};
use super::peer::{self, Links, PeerError};
use super::tls;
use crate::action::{ActionError, ActionSpec, Arm, Example, Expectation, Field, Kind, ResultField, Waits};
use crate::engine::ActionContext;
use crate::record::ErrorKind;
use crate::value::Value;

const MATCH: Field = messages::match_field(Kind::Object(&[
    peer::optional("subject", &[], Kind::Text, "The message's subject, where the subscription has a wildcard."),
    messages::MATCH_HEADERS,
    messages::MATCH_VALUE,
]));

static SPEC: ActionSpec = ActionSpec {
    name: "nats_subscribe",
    aliases: &["nats.subscribe", "nats.sub", "nats.consume", "nats_consume"],
    summary: "Waits for messages of a NATS subject.",
    description: "NATS keeps nothing: a message that is sent before the subscription is there is not seen. Fails when fewer \
                  than `count` messages come within `timeout`, unless `min_count` asks for less.\n\n\
                  `$` in outputs is the first message's value.",
    config: &[
        nats::URL,
        nats::HOST,
        nats::PORT,
        peer::USERNAME,
        peer::PASSWORD,
        nats::TOKEN,
        peer::TLS,
        peer::VERIFY_TLS,
        tls::CA_CERT,
        tls::CLIENT_CERT,
        tls::CLIENT_KEY,
        tls::SERVER_NAME,
        Field {
            required: true,
            ..peer::optional(
                "subject",
                &["topic"],
                Kind::Text,
                "The subject; `*` stands for one part of it, `>` for all that follow.",
            )
        },
        peer::optional(
            "queue",
            &["queue_group", "group"],
            Kind::Text,
            "A queue group: its members share the messages.",
        ),
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
            doc: "The messages in the order they came: `subject`, `value` (JSON parsed), `value_raw`, `headers`, `reply_to`.",
        },
        messages::N_MESSAGES,
    ],
    open_result: false,
    reserved: &["messages", "count"],
    examples: &[Example {
        title: "What is said about one order",
        yaml: "- action: nats_subscribe\n  config:\n    url: nats://localhost:4222\n    subject: orders.>\n    match:\n      json_path: \
               [\"$.id == 42\"]\n    timeout: 10s\n  assert:\n    - messages[0].subject == \"orders.created\"\n",
    }],
};

/// The action.
pub(crate) struct NatsSubscribe;

impl Waits for NatsSubscribe {
    const SPEC: &'static ActionSpec = &SPEC;
}

#[async_trait]
impl Arm for NatsSubscribe {
    async fn arm(&self, cx: &ActionContext<'_>) -> Result<Expectation, ActionError> {
        let config = cx.resolve()?;
        let nats = Nats::read(&config, cx.files()).await?;
        let expected = Expected::read(&config, &["subject"])?;
        let subject = nats::subject(&config, "subject", true)?;
        let queue = config.text("queue")?;
        if queue.as_ref().is_some_and(|queue| queue.is_empty() || queue.contains(char::is_whitespace)) {
            return Err(ActionError::new(ErrorKind::Config, "`queue` takes a name without spaces"));
        }
        let request = Value::map([
            ("server", Value::Text(nats.endpoint.shown())),
            ("subject", Value::Text(subject.clone())),
            ("count", Value::from(expected.count())),
        ]);
        let links = cx.resource(Links::default);
        let subscription = Subscription { nats, connector: cx.connector().clone(), links, subject, queue, link: None };
        expected.arm(cx, subscription, request).await
    }
}

struct Subscription {
    nats: Nats,
    connector: Connector,
    links: Arc<Links<Link>>,
    subject: ByteString,
    queue: Option<ByteString>,
    /// Its own, and closed with it: nothing that comes later is anybody's.
    link: Option<Link>,
}

impl Subscription {
    fn failed(&self, error: PeerError) -> ActionError {
        error.into_action_error(&self.nats.endpoint.shown())
    }

    async fn open(&self) -> Result<Link, PeerError> {
        let mut link = self.nats.open(&self.connector, &self.links).await?;
        link.subscribe(&self.subject, self.queue.as_deref());
        link.sync().await?;
        Ok(link)
    }
}

#[async_trait]
impl Source for Subscription {
    fn server(&self) -> ByteString {
        self.nats.endpoint.shown()
    }

    fn name(&self) -> ByteString {
        self.subject.clone()
    }

    async fn subscribe(&mut self) -> Result<(), ActionError> {
        let link = self.open().await.map_err(|error| self.failed(error))?;
        self.link = Some(link);
        Ok(())
    }

    async fn next(&mut self) -> Result<Value, ActionError> {
        let link = self.link.as_mut().expect("a source is asked for messages once it has subscribed");
        link.delivery().await.map(nats::message).map_err(|error| self.failed(error))
    }
}
