//! `mqtt_publish`: sends a message to a topic and waits until the broker has it.

use async_trait::async_trait;

use super::mqtt::{self, Link, Mqtt};
use super::peer::{self, Links, optional, within};
use super::tls;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::ActionContext;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "mqtt_publish",
    aliases: &["mqtt.publish", "mqtt.pub"],
    summary: "Sends a message to an MQTT topic.",
    description: "The step ends when the broker has the message: with QoS 1 and 2 it says so, and with QoS 0 it has answered \
                  what was asked after it. A broker that refuses a message can say so only in version 5. Connections are \
                  kept for the run.",
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
        Field { required: true, ..optional("topic", &[], Kind::Text, "The topic.") },
        optional(
            "payload",
            &["value", "message", "data", "body"],
            Kind::Any,
            "The message: a map or list is sent as JSON, text as it is; without it the message is empty.",
        ),
        mqtt::QOS,
        Field {
            default: Some("false"),
            ..optional(
                "retain",
                &["retained"],
                Kind::Boolean,
                "Whether the broker keeps it for those who subscribe later. An empty message removes the one that is kept.",
            )
        },
        optional("headers", &["user_properties"], Kind::Map(&Kind::Any), "User properties (version 5)."),
        optional("content_type", &[], Kind::Text, "What the payload is (version 5)."),
        optional("response_topic", &[], Kind::Text, "The topic that answers go to (version 5)."),
        optional("correlation_data", &[], Kind::Any, "What answers repeat (version 5)."),
        peer::timeout("The time for connecting and sending together."),
    ],
    open_config: false,
    result: &[
        ResultField { name: "topic", kind: "string", doc: "The topic." },
        ResultField { name: "bytes", kind: "integer", doc: "How many bytes the payload has." },
    ],
    open_result: false,
    reserved: &["topic", "bytes"],
    examples: &[Example {
        title: "A reading that stays",
        yaml: "- action: mqtt_publish\n  config:\n    url: mqtt://localhost:1883\n    topic: devices/7/state\n    payload: \
               {temperature: 21.5}\n    qos: 1\n    retain: true\n",
    }],
};

/// The action.
pub(crate) struct MqttPublish;

#[async_trait]
impl Action for MqttPublish {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let mqtt = Mqtt::read(&config, cx.files()).await?;
        let message = mqtt.message(&config)?;
        let limit = peer::limit(&config)?;
        let links = cx.resource(Links::<Link>::default);
        let server = mqtt.endpoint.shown();
        let payload = config.value("payload").cloned().unwrap_or_default();
        let request = Value::map([
            ("server", Value::Text(server.clone())),
            ("topic", Value::Text(message.topic.clone())),
            ("payload", payload.clone()),
        ]);
        cx.note_request(request.clone().into());
        let result =
            Value::map([("topic", Value::Text(message.topic.clone())), ("bytes", Value::from(message.payload.len()))]);
        let sending = async {
            let mut link = mqtt.link(cx.connector(), &links).await?;
            link.publish(message).await?;
            links.give(&mqtt.endpoint, link);
            Ok(())
        };
        within(limit, &server, &request, sending).await?;
        let response = result.clone().into();
        Ok(ActionResult { request: request.into(), response, result, primary: Some(payload) })
    }
}
