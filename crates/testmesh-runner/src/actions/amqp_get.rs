//! `amqp_get`: takes the next message from a queue, without waiting for one.

use async_trait::async_trait;

use super::amqp::{self, Amqp, Link};
use super::peer::{self, Links, optional, within};
use super::tls;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::ActionContext;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "amqp_get",
    aliases: &["amqp.get", "rabbitmq_get", "rabbitmq.get"],
    summary: "Takes the next message from an AMQP queue, if there is one.",
    description: "`amqp_consume` waits for messages; this looks once, which also tells that a queue is empty.\n\n\
                  `$` in outputs is the message's value.",
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
        Field { required: true, ..optional("queue", &[], Kind::Text, "The queue.") },
        Field {
            default: Some("true"),
            ..optional(
                "ack",
                &["auto_ack"],
                Kind::Boolean,
                "Whether the message is taken out of the queue, or put back.",
            )
        },
        peer::timeout("The time for connecting and for the answer together."),
    ],
    open_config: false,
    result: &[
        ResultField { name: "empty", kind: "boolean", doc: "Whether there was none." },
        ResultField {
            name: "message",
            kind: "map",
            doc: "The message, as `amqp_consume` gives it; null when there was none.",
        },
        ResultField { name: "left", kind: "integer", doc: "How many messages were behind it." },
    ],
    open_result: false,
    reserved: &["empty", "message", "left"],
    examples: &[Example {
        title: "Nothing went wrong",
        yaml: "- action: amqp_get\n  config:\n    url: amqp://guest:guest@localhost:5672\n    queue: dead-letters\n  assert: empty\n",
    }],
};

/// The action.
pub(crate) struct AmqpGet;

#[async_trait]
impl Action for AmqpGet {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let amqp = Amqp::read(&config, cx.files()).await?;
        let queue = amqp::required_short(&config, "queue")?;
        let ack = config.boolean("ack")?.unwrap_or(true);
        let limit = peer::limit(&config)?;
        let links = cx.resource(Links::<Link>::default);
        let server = amqp.endpoint.shown();
        let request = Value::map([("server", Value::Text(server.clone())), ("queue", Value::from(queue.as_str()))]);
        cx.note_request(request.clone().into());
        let asking = async {
            let mut link = amqp.link(cx.connector(), &links).await?;
            let got = link.get(queue.as_str(), !ack).await?;
            links.give(&amqp.endpoint, link);
            Ok(got)
        };
        let got = within(limit, &server, &request, asking).await?;
        let empty = Value::Bool(got.is_none());
        let (message, left) = got.map_or((Value::Null, 0), |(content, left)| (amqp::message(content), left));
        let primary = message.get("value");
        let result = Value::map([("empty", empty), ("message", message), ("left", Value::Int(left.into()))]);
        Ok(ActionResult { request: request.into(), response: result.clone().into(), result, primary })
    }
}
