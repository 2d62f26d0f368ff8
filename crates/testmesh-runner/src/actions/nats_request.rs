//! `nats_request`: sends a message to a subject and waits for the answer.

use std::time::Instant;

use async_trait::async_trait;
use bytestring::ByteString;

use super::nats::{self, Delivery, Link, Nats};
use super::peer::{self, Links, PeerError, within};
use super::tls;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::{ActionContext, entries};
use crate::value::Value;

/// What a server answers when nobody listens to the subject.
const NOBODY: &str = "503";

static SPEC: ActionSpec = ActionSpec {
    name: "nats_request",
    aliases: &["nats.request"],
    summary: "Sends a message to a NATS subject and waits for the answer.",
    description: "When nobody answers requests to the subject the step fails at once, not only at its time-out. What \
                  JetStream offers by requests (`$JS.API.…`) can be asked for as well.\n\n`$` in outputs is the answer's value.",
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
        peer::timeout("The time for connecting and for the answer together."),
    ],
    open_config: false,
    result: &[
        ResultField { name: "value", kind: "any", doc: "What the answer says, JSON parsed." },
        ResultField { name: "value_raw", kind: "string", doc: "As it came; bytes that are no text stay bytes." },
        ResultField { name: "headers", kind: "map", doc: "The answer's headers." },
        ResultField { name: "subject", kind: "string", doc: "The subject that the answer came to." },
        ResultField { name: "reply_to", kind: "string", doc: "Where the answer wants to be answered; mostly null." },
        ResultField { name: "duration_ms", kind: "integer", doc: "How long it took, in milliseconds." },
    ],
    open_result: false,
    reserved: &["value", "value_raw", "headers", "duration_ms"],
    examples: &[Example {
        title: "A question and its answer",
        yaml: "- action: nats_request\n  config:\n    url: nats://localhost:4222\n    subject: prices.get\n    payload: {sku: A1}\n    \
               timeout: 2s\n  assert: value.amount > 0\n",
    }],
};

/// The action.
pub(crate) struct NatsRequest;

#[async_trait]
impl Action for NatsRequest {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let nats = Nats::read(&config, cx.files()).await?;
        let mut message = nats::outgoing(&config)?;
        let limit = peer::limit(&config)?;
        let links = cx.resource(Links::<Link>::default);
        let server = nats.endpoint.shown();
        let inbox = ByteString::from(format!("_INBOX.{:032x}", rand::random::<u128>()));
        message.reply_to = Some(inbox.clone());
        let request = Value::map([
            ("server", Value::Text(server.clone())),
            ("subject", Value::Text(message.subject.clone())),
            ("payload", config.value("payload").cloned().unwrap_or_default()),
        ]);
        cx.note_request(request.clone().into());
        let since = Instant::now();
        let asking = async {
            let mut link = nats.link(cx.connector(), &links).await?;
            let subscription = link.subscribe(&inbox, None);
            link.publish(&message)?;
            let answer = loop {
                let delivery = link.delivery().await?;
                // An answer that came too late for an earlier request is nobody's.
                if delivery.subject == inbox {
                    break delivery;
                }
            };
            link.unsubscribe(subscription);
            links.give(&nats.endpoint, link);
            heard(answer, &message.subject)
        };
        let answer = within(limit, &server, &request, asking).await?;
        let mut result = entries(&nats::message(answer)).unwrap_or_default();
        let took = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        result.insert("duration_ms".into(), Value::from(took));
        let result = Value::map(result);
        let primary = result.get("value");
        Ok(ActionResult { request: request.into(), response: result.clone().into(), result, primary })
    }
}

fn heard(answer: Delivery, subject: &str) -> Result<Delivery, PeerError> {
    match answer.status.as_deref() {
        Some(NOBODY) if answer.payload.is_empty() => {
            Err(PeerError::Refused(format!("nobody answers requests to `{subject}`")))
        }
        _ => Ok(answer),
    }
}
