//! `mqtt_subscribe`: waits for messages of a topic.

use std::sync::Arc;

use async_trait::async_trait;
use bytestring::ByteString;
use testmesh_shared::net::Connector;

use super::messages::{self, Expected, Source};
use super::mqtt::{self, Link, Mqtt};
use super::peer::{self, Links, PeerError, optional};
use super::tls;
use crate::action::{ActionError, ActionSpec, Arm, Example, Expectation, Field, Kind, ResultField, Waits};
use crate::engine::ActionContext;
use crate::value::Value;

const MATCH: Field = messages::match_field(Kind::Object(&[
    optional("topic", &[], Kind::Text, "The message's topic, where the subscription has a wildcard."),
    messages::MATCH_HEADERS,
    messages::MATCH_VALUE,
]));

static SPEC: ActionSpec = ActionSpec {
    name: "mqtt_subscribe",
    aliases: &["mqtt.subscribe", "mqtt.sub", "mqtt.consume", "mqtt_consume"],
    summary: "Waits for messages of an MQTT topic.",
    description: "What the broker keeps of the topic (`retain`) comes first, then what is sent once the subscription is there. \
                  Fails when fewer than `count` messages come within `timeout`, unless `min_count` asks for less.\n\n\
                  `$` in outputs is the first message's value.",
    config: &[
        mqtt::URL,
        peer::HOST,
        mqtt::PORT,
        peer::USERNAME,
        peer::PASSWORD,
        peer::TLS,
        peer::VERIFY_TLS,
        tls::CA_CERT,
        tls::CLIENT_CERT,
        tls::CLIENT_KEY,
        tls::SERVER_NAME,
        mqtt::VERSION,
        mqtt::CLIENT_ID,
        Field {
            required: true,
            ..optional(
                "topic",
                &["topic_filter"],
                Kind::Text,
                "The topic; `+` stands for one level of it, `#` for all that follow.",
            )
        },
        mqtt::QOS,
        Field {
            default: Some("true"),
            ..optional("retained", &[], Kind::Boolean, "Whether messages that the broker has kept count.")
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
            doc: "The messages in the order they came: `topic`, `value` (JSON parsed), `value_raw`, `qos`, `retain`, and of \
                  version 5 `headers` (user properties), `content_type`, `response_topic`, `correlation_data`.",
        },
        messages::N_MESSAGES,
    ],
    open_result: false,
    reserved: &["messages", "count"],
    examples: &[Example {
        title: "The state of a device",
        yaml: "- action: mqtt_subscribe\n  config:\n    url: mqtt://localhost:1883\n    topic: devices/+/state\n    match:\n      \
               topic: devices/7/state\n    timeout: 10s\n  assert:\n    - messages[0].value.temperature > 20\n",
    }],
};

/// The action.
pub(crate) struct MqttSubscribe;

impl Waits for MqttSubscribe {
    const SPEC: &'static ActionSpec = &SPEC;
}

#[async_trait]
impl Arm for MqttSubscribe {
    async fn arm(&self, cx: &ActionContext<'_>) -> Result<Expectation, ActionError> {
        let config = cx.resolve()?;
        let mqtt = Mqtt::read(&config, cx.files()).await?;
        let expected = Expected::read(&config, &["topic"])?;
        let topic = mqtt::topic(&config)?;
        let retained = config.boolean("retained")?.unwrap_or(true);
        let request = Value::map([
            ("server", Value::Text(mqtt.endpoint.shown())),
            ("topic", Value::Text(topic.clone())),
            ("count", Value::from(expected.count())),
        ]);
        let (connector, links) = (cx.connector().clone(), cx.resource(Links::default));
        let subscription = Subscription { mqtt, connector, links, topic, retained, link: None };
        expected.arm(cx, subscription, request).await
    }
}

struct Subscription {
    mqtt: Mqtt,
    connector: Connector,
    links: Arc<Links<Link>>,
    topic: ByteString,
    retained: bool,
    /// Its own, and closed with it: nothing that comes later is anybody's.
    link: Option<Link>,
}

impl Subscription {
    fn failed(&self, error: PeerError) -> ActionError {
        error.into_action_error(&self.mqtt.endpoint.shown())
    }

    async fn open(&self) -> Result<Link, PeerError> {
        let mut link = self.mqtt.open(&self.connector, &self.links).await?;
        link.subscribe(&self.topic, self.mqtt.qos, self.retained).await?;
        Ok(link)
    }
}

#[async_trait]
impl Source for Subscription {
    fn server(&self) -> ByteString {
        self.mqtt.endpoint.shown()
    }

    fn name(&self) -> ByteString {
        self.topic.clone()
    }

    async fn subscribe(&mut self) -> Result<(), ActionError> {
        let link = self.open().await.map_err(|error| self.failed(error))?;
        self.link = Some(link);
        Ok(())
    }

    async fn next(&mut self) -> Result<Value, ActionError> {
        let link = self.link.as_mut().expect("a source is asked for messages once it has subscribed");
        loop {
            let message = link.message().await;
            match message {
                // Version 3.1.1 sends what it has kept, whether it is wanted or not.
                Ok(message) if message.retain && !self.retained => {}
                message => return message.map(mqtt::shown).map_err(|error| self.failed(error)),
            }
        }
    }
}
