//! `amqp_delete`: removes a queue or an exchange.

use async_trait::async_trait;

use super::amqp::{self, Amqp, Link};
use super::peer::{self, Links, optional, within};
use super::tls;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Kind, ResultField};
use crate::engine::ActionContext;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "amqp_delete",
    aliases: &["amqp.delete", "rabbitmq_delete", "rabbitmq.delete"],
    summary: "Removes a queue or an exchange from an AMQP broker.",
    description: "What is not there need not be removed: that is no error.",
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
        optional("queue", &[], Kind::Text, "The queue, with all that is in it."),
        optional("exchange", &[], Kind::Text, "The exchange."),
        peer::timeout("The time for all of it."),
    ],
    open_config: false,
    result: &[ResultField { name: "message_count", kind: "integer", doc: "How many messages were in the queue." }],
    open_result: false,
    reserved: &["message_count"],
    examples: &[Example {
        title: "After the test",
        yaml: "- action: amqp_delete\n  config:\n    url: amqp://guest:guest@localhost:5672\n    queue: all-orders\n    exchange: \
               orders\n",
    }],
};

/// The action.
pub(crate) struct AmqpDelete;

#[async_trait]
impl Action for AmqpDelete {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let amqp = Amqp::read(&config, cx.files()).await?;
        let (queue, exchange) = (amqp::short_at(&config, "queue")?, amqp::short_at(&config, "exchange")?);
        if queue.as_str().is_empty() && exchange.as_str().is_empty() {
            return Err(amqp::config_error("`queue` or `exchange` must say what to remove"));
        }
        let limit = peer::limit(&config)?;
        let links = cx.resource(Links::<Link>::default);
        let server = amqp.endpoint.shown();
        let request = Value::map([
            ("server", Value::Text(server.clone())),
            ("queue", Value::from(queue.as_str())),
            ("exchange", Value::from(exchange.as_str())),
        ]);
        cx.note_request(request.clone().into());
        let removing = async {
            let mut link = amqp.link(cx.connector(), &links).await?;
            let mut messages = 0;
            if !queue.as_str().is_empty() {
                messages = link.delete_queue(queue.as_str()).await?;
            }
            if !exchange.as_str().is_empty() {
                link.delete_exchange(exchange.as_str()).await?;
            }
            links.give(&amqp.endpoint, link);
            Ok(messages)
        };
        let messages = within(limit, &server, &request, removing).await?;
        let result = Value::map([("message_count", Value::Int(messages.into()))]);
        Ok(ActionResult { request: request.into(), response: result.clone().into(), result, primary: None })
    }
}
