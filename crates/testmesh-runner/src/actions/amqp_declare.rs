//! `amqp_declare`: makes an exchange, a queue, and the way from one to the other.

use amq_protocol::protocol::{exchange, queue};
use async_trait::async_trait;

use super::amqp::{self, Amqp, Link};
use super::peer::{self, Links, optional, within};
use super::tls;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::{ActionContext, Resolved};
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "amqp_declare",
    aliases: &["amqp.declare", "rabbitmq_declare", "rabbitmq.declare"],
    summary: "Makes an exchange, a queue, or both with a binding, on an AMQP broker.",
    description: "What is there already stays as it is; a broker refuses to declare it with other properties. With both, the \
                  queue is bound to the exchange by `routing_key`. With `passive` nothing is made: the step fails when it is \
                  not there. `amqp_delete` removes it again.",
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
        optional("exchange", &[], Kind::Text, "The exchange."),
        Field {
            default: Some("direct"),
            ..optional(
                "exchange_type",
                &["type"],
                Kind::Text,
                "Its type: `direct`, `fanout`, `topic`, `headers`, or a plugin's.",
            )
        },
        optional("queue", &[], Kind::Text, "The queue."),
        Field {
            default: Some("the queue's name"),
            ..optional("routing_key", &["binding_key", "key"], Kind::Text, "What the binding asks for.")
        },
        Field {
            default: Some("true"),
            ..optional("durable", &[], Kind::Boolean, "Whether both survive a restart of the broker.")
        },
        Field {
            default: Some("false"),
            ..optional("auto_delete", &[], Kind::Boolean, "Whether both go when nobody uses them any more.")
        },
        Field {
            default: Some("false"),
            ..optional("passive", &[], Kind::Boolean, "Whether they must be there already.")
        },
        optional("arguments", &["args"], Kind::Map(&Kind::Any), "Arguments of the queue, such as `x-expires`."),
        peer::timeout("The time for all of it."),
    ],
    open_config: false,
    result: &[
        ResultField { name: "exchange", kind: "string", doc: "The exchange; null where there is none." },
        ResultField { name: "queue", kind: "string", doc: "The queue; null where there is none." },
        ResultField { name: "message_count", kind: "integer", doc: "How many messages wait in the queue." },
        ResultField { name: "consumer_count", kind: "integer", doc: "How many consumers it has." },
    ],
    open_result: false,
    reserved: &["exchange", "queue", "message_count", "consumer_count"],
    examples: &[Example {
        title: "A queue for all orders",
        yaml: "- action: amqp_declare\n  config:\n    url: amqp://guest:guest@localhost:5672\n    exchange: orders\n    \
               exchange_type: topic\n    queue: all-orders\n    routing_key: order.#\n    arguments: {x-expires: 60000}\n",
    }],
};

/// The action.
pub(crate) struct AmqpDeclare;

#[async_trait]
impl Action for AmqpDeclare {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let amqp = Amqp::read(&config, cx.files()).await?;
        let wanted = Wanted::read(&config)?;
        let limit = peer::limit(&config)?;
        let links = cx.resource(Links::<Link>::default);
        let server = amqp.endpoint.shown();
        let name = |name: Option<&str>| name.map_or(Value::Null, Value::from);
        let exchange = name(wanted.exchange.as_ref().map(|exchange| exchange.exchange.as_str()));
        let queue = name(wanted.queue.as_ref().map(|queue| queue.queue.as_str()));
        let request = Value::map([
            ("server", Value::Text(server.clone())),
            ("exchange", exchange.clone()),
            ("queue", queue.clone()),
        ]);
        cx.note_request(request.clone().into());
        let declaring = async {
            let mut link = amqp.link(cx.connector(), &links).await?;
            if let Some(exchange) = wanted.exchange {
                link.declare_exchange(exchange).await?;
            }
            let declared = match wanted.queue {
                Some(queue) => link.declare_queue(queue).await?,
                None => queue::DeclareOk::default(),
            };
            if let Some(bind) = wanted.bind {
                link.bind(bind).await?;
            }
            links.give(&amqp.endpoint, link);
            Ok(declared)
        };
        let declared = within(limit, &server, &request, declaring).await?;
        let result = Value::map([
            ("exchange", exchange),
            ("queue", queue),
            ("message_count", Value::Int(declared.message_count.into())),
            ("consumer_count", Value::Int(declared.consumer_count.into())),
        ]);
        Ok(ActionResult { request: request.into(), response: result.clone().into(), result, primary: None })
    }
}

/// What is to be there.
struct Wanted {
    exchange: Option<exchange::Declare>,
    queue: Option<queue::Declare>,
    bind: Option<queue::Bind>,
}

impl Wanted {
    fn read(config: &Resolved) -> Result<Self, ActionError> {
        let flag = |key, default| Ok::<_, ActionError>(config.boolean(key)?.unwrap_or(default));
        let (passive, durable, auto_delete) =
            (flag("passive", false)?, flag("durable", true)?, flag("auto_delete", false)?);
        let (exchange, queue) = (amqp::short_at(config, "exchange")?, amqp::short_at(config, "queue")?);
        let (has_exchange, has_queue) = (!exchange.as_str().is_empty(), !queue.as_str().is_empty());
        if !has_exchange && !has_queue {
            return Err(amqp::config_error("`exchange` or `queue` must say what to declare"));
        }
        let kind = amqp::short_at(config, "exchange_type")?;
        let kind = if kind.as_str().is_empty() { "direct".into() } else { kind };
        let key = config.value("routing_key").map(|_| amqp::short_at(config, "routing_key")).transpose()?;
        let arguments = amqp::table_at(config, "arguments")?;
        let bind = queue::Bind {
            queue: queue.clone(),
            exchange: exchange.clone(),
            routing_key: key.unwrap_or_else(|| queue.clone()),
            ..queue::Bind::default()
        };
        let exchange =
            exchange::Declare { exchange, kind, passive, durable, auto_delete, ..exchange::Declare::default() };
        let queue = queue::Declare { queue, passive, durable, auto_delete, arguments, ..queue::Declare::default() };
        Ok(Self {
            exchange: has_exchange.then_some(exchange),
            queue: has_queue.then_some(queue),
            bind: (has_exchange && has_queue && !passive).then_some(bind),
        })
    }
}
