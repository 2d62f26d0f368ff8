//! `nats_publish`: sends a message to a subject and waits until the server has it.

use async_trait::async_trait;

use super::nats::{self, Link, Nats};
use super::peer::{self, Links, within};
use super::tls;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::ActionContext;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "nats_publish",
    aliases: &["nats.publish", "nats.pub"],
    summary: "Sends a message to a NATS subject.",
    description: "The step ends when the server has dealt with the message, so a refusal (no permission, too large) fails it. \
                  Whether anybody listens, NATS does not say: use `nats_request` where an answer is expected. Connections \
                  are kept for the run.",
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
        Field { required: true, ..peer::optional("subject", &["topic"], Kind::Text, "The subject.") },
        nats::PAYLOAD,
        nats::HEADERS,
        peer::optional("reply_to", &["reply"], Kind::Text, "The subject that answers go to."),
        peer::timeout("The time for connecting and sending together."),
    ],
    open_config: false,
    result: &[
        ResultField { name: "subject", kind: "string", doc: "The subject." },
        ResultField { name: "bytes", kind: "integer", doc: "How many bytes the message has." },
    ],
    open_result: false,
    reserved: &["subject", "bytes"],
    examples: &[Example {
        title: "An event",
        yaml: "- action: nats_publish\n  config:\n    url: nats://localhost:4222\n    subject: orders.created\n    headers: {source: \
               test}\n    payload: {id: 42, name: Ada}\n",
    }],
};

/// The action.
pub(crate) struct NatsPublish;

#[async_trait]
impl Action for NatsPublish {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let nats = Nats::read(&config, cx.files()).await?;
        let message = nats::outgoing(&config)?;
        let limit = peer::limit(&config)?;
        let links = cx.resource(Links::<Link>::default);
        let server = nats.endpoint.shown();
        let payload = config.value("payload").cloned().unwrap_or_default();
        let request = Value::map([
            ("server", Value::Text(server.clone())),
            ("subject", Value::Text(message.subject.clone())),
            ("payload", payload.clone()),
        ]);
        cx.note_request(request.clone().into());
        let sending = async {
            let mut link = nats.link(cx.connector(), &links).await?;
            link.publish(&message)?;
            link.sync().await?;
            links.give(&nats.endpoint, link);
            Ok(())
        };
        within(limit, &server, &request, sending).await?;
        let result =
            Value::map([("subject", Value::Text(message.subject)), ("bytes", Value::from(message.payload.len()))]);
        let response = result.clone().into();
        Ok(ActionResult { request: request.into(), response, result, primary: Some(payload) })
    }
}
