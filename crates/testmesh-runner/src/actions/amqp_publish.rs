//! `amqp_publish`: sends a message to an exchange and waits until the broker has it.

use amq_protocol::protocol::basic;
use async_trait::async_trait;

use super::amqp::{self, Amqp, Link, Outgoing};
use super::messages;
use super::peer::{self, Links, PeerError, optional, within};
use super::tls;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::ActionContext;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "amqp_publish",
    aliases: &["amqp.publish", "rabbitmq_publish", "rabbitmq.publish"],
    summary: "Sends a message to an exchange of an AMQP 0-9-1 broker (RabbitMQ).",
    description: "The step ends when the broker has confirmed the message. Without an `exchange` the message goes to the queue \
                  that `routing_key` names. `routed` says whether any queue took it; with `mandatory: true` it is an error \
                  when none did. Connections are kept for the run.",
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
        Field {
            default: Some("the default exchange"),
            ..optional(
                "exchange",
                &[],
                Kind::Text,
                "The exchange. The default one leads to the queue named by `routing_key`.",
            )
        },
        optional("routing_key", &["queue", "key"], Kind::Text, "The routing key."),
        optional(
            "payload",
            &["value", "message", "data", "body"],
            Kind::Any,
            "The message: a map or list is sent as JSON, text as it is; without it the message is empty.",
        ),
        optional("headers", &[], Kind::Map(&Kind::Any), "Headers of the message, each with its own type."),
        Field {
            default: Some("`application/json` for a map or list"),
            ..optional("content_type", &[], Kind::Text, "What the payload is.")
        },
        Field {
            default: Some("true"),
            ..optional(
                "persistent",
                &["durable"],
                Kind::Boolean,
                "Whether it survives a restart of the broker in a durable queue.",
            )
        },
        Field {
            default: Some("false"),
            ..optional("mandatory", &[], Kind::Boolean, "Whether it is an error when no queue takes the message.")
        },
        optional("correlation_id", &[], Kind::Text, "What an answer repeats."),
        optional("reply_to", &[], Kind::Text, "Where answers go to."),
        optional("message_id", &[], Kind::Text, "Its id."),
        optional("type", &[], Kind::Text, "What kind of message it is."),
        optional("app_id", &[], Kind::Text, "Who sends it."),
        optional("priority", &[], Kind::Integer { min: 0, max: 255 }, "Its priority."),
        optional("expiration", &["ttl"], Kind::Duration { zero: true }, "How long it waits in a queue at most."),
        peer::timeout("The time for connecting and sending together."),
    ],
    open_config: false,
    result: &[
        ResultField { name: "exchange", kind: "string", doc: "The exchange; empty for the default one." },
        ResultField { name: "routing_key", kind: "string", doc: "The routing key." },
        ResultField { name: "routed", kind: "boolean", doc: "Whether a queue took it." },
        ResultField { name: "bytes", kind: "integer", doc: "How many bytes the payload has." },
    ],
    open_result: false,
    reserved: &["exchange", "routing_key", "routed", "bytes"],
    examples: &[Example {
        title: "An event that somebody must be waiting for",
        yaml: "- action: amqp_publish\n  config:\n    url: amqp://guest:guest@localhost:5672\n    exchange: orders\n    routing_key: \
               order.created\n    headers: {source: test}\n    payload: {id: 42}\n  assert: routed\n",
    }],
};

/// The action.
pub(crate) struct AmqpPublish;

#[async_trait]
impl Action for AmqpPublish {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let amqp = Amqp::read(&config, cx.files()).await?;
        let payload = config.value("payload").cloned().unwrap_or_default();
        let (exchange, routing_key) = (amqp::short_at(&config, "exchange")?, amqp::short_at(&config, "routing_key")?);
        let message = Outgoing {
            // Always asked, so that it is known.
            method: basic::Publish { exchange, routing_key, mandatory: true, immediate: false },
            properties: amqp::properties(&config, payload.is_map() || payload.is_list())?,
            body: messages::payload(&payload).unwrap_or_default(),
        };
        let mandatory = config.boolean("mandatory")?.unwrap_or(false);
        let limit = peer::limit(&config)?;
        let links = cx.resource(Links::<Link>::default);
        let server = amqp.endpoint.shown();
        let exchange = Value::from(message.method.exchange.as_str());
        let routing_key = Value::from(message.method.routing_key.as_str());
        let request = Value::map([
            ("server", Value::Text(server.clone())),
            ("exchange", exchange.clone()),
            ("routing_key", routing_key.clone()),
            ("payload", payload.clone()),
        ]);
        cx.note_request(request.clone().into());
        let sending = async {
            let mut link = amqp.link(cx.connector(), &links).await?;
            let routed = link.publish(&message).await?;
            links.give(&amqp.endpoint, link);
            if mandatory && !routed {
                let (exchange, key) = (&message.method.exchange, &message.method.routing_key);
                return Err(PeerError::Refused(format!(
                    "no queue takes messages of exchange `{exchange}` with key `{key}`"
                )));
            }
            Ok(routed)
        };
        let routed = within(limit, &server, &request, sending).await?;
        let result = Value::map([
            ("exchange", exchange),
            ("routing_key", routing_key),
            ("routed", Value::Bool(routed)),
            ("bytes", Value::from(message.body.len())),
        ]);
        let response = result.clone().into();
        Ok(ActionResult { request: request.into(), response, result, primary: Some(payload) })
    }
}
