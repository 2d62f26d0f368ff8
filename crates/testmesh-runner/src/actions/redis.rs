//! `redis`: every command of Redis, by its name in the action (`redis.get`) or in `command`.
//!
//! The protocol is spoken here, over a socket that the run's connector opened. A reply that sends a command to another node
//! of a cluster is followed.

mod command;
mod link;
mod protocol;
mod wait;

use std::time::{Duration, Instant};

use async_trait::async_trait;

use self::command::Command;
use self::link::{RedisError, Servers};
use self::protocol::Refusal;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Arm, Example, Field, Kind, ResultField};
use crate::actions::messages;
use crate::actions::tls;
use crate::engine::{ActionContext, at_once};
use crate::record::ErrorKind;
use crate::units::show_duration;
use crate::value::{Shape, Value};

const fn optional(name: &'static str, aliases: &'static [&'static str], kind: Kind, doc: &'static str) -> Field {
    Field { name, aliases, kind, required: false, default: None, doc }
}

const ANYTHING: Kind = Kind::Any;

const MATCH: Field = messages::match_field(Kind::Object(&[
    optional("channel", &[], Kind::Text, "The channel it came over."),
    optional("stream", &[], Kind::Text, "The stream it is in."),
    messages::MATCH_VALUE,
]));

static CONFIG: &[Field] = &[
    optional(
        "url",
        &["connection", "address"],
        Kind::Text,
        "`redis://user:password@host:6379/0`, or `rediss://…` with TLS; instead of `host` and what follows it.",
    ),
    Field { default: Some("localhost"), ..optional("host", &[], Kind::Text, "The server.") },
    Field { default: Some("6379"), ..optional("port", &[], Kind::Integer { min: 1, max: 65_535 }, "Its port.") },
    Field {
        default: Some("0"),
        ..optional("db", &["database"], Kind::Integer { min: 0, max: 1_000_000 }, "The number of the database.")
    },
    optional("username", &["user"], Kind::Text, "The user (Redis 6 and newer)."),
    optional("password", &[], Kind::Text, "The password."),
    Field { default: Some("false"), ..optional("tls", &[], Kind::Boolean, "Whether the connection is made secure.") },
    Field {
        default: Some("true"),
        ..optional("verify_tls", &[], Kind::Boolean, "Whether the server's certificate is checked.")
    },
    tls::CA_CERT,
    tls::CLIENT_CERT,
    tls::CLIENT_KEY,
    tls::SERVER_NAME,
    optional(
        "command",
        &[],
        Kind::OneOf(&[Kind::Text, Kind::List(&ANYTHING)]),
        "The command, when the action's name does not say it: `GET`, `SET a b`, or a list of its words.",
    ),
    optional(
        "key",
        &["keys", "stream", "channel", "pattern"],
        Kind::OneOf(&[Kind::Text, Kind::List(&ANYTHING)]),
        "The key, or several.",
    ),
    optional(
        "field",
        &["fields"],
        Kind::OneOf(&[Kind::Text, Kind::List(&ANYTHING)]),
        "The field of a hash, or several.",
    ),
    optional(
        "value",
        &["values", "message", "member", "members"],
        Kind::Any,
        "What is stored or sent. A map gives names and values (`hset`, `xadd`, `mset`), a list several values; for other \
         commands both are sent as JSON.",
    ),
    optional("ttl", &["expire", "ex"], Kind::Duration { zero: false }, "How long the key lives (`set`, `expire`)."),
    optional("args", &["arguments"], Kind::List(&ANYTHING), "More words of the command, after all others."),
    Field {
        default: Some("30s"),
        ..optional(
            "timeout",
            &[],
            Kind::Duration { zero: false },
            "The time for connecting and for the reply together; of an armed step, from when it is awaited.",
        )
    },
    messages::COUNT,
    messages::MIN_COUNT,
    MATCH,
    Field {
        default: Some("`$`"),
        ..optional(
            "from",
            &["start_id"],
            Kind::Text,
            "The entry of a stream after which reading starts; `$`: the last one when the step begins.",
        )
    },
];

static SPEC: ActionSpec = ActionSpec {
    name: "redis",
    aliases: &[
        "redis.get",
        "redis.set",
        "redis.del",
        "redis.exists",
        "redis_get",
        "redis_set",
        "redis_del",
        "redis_exists",
    ],
    summary: "Asks Redis: every command.",
    description: "`redis.get`, `redis.hset`, `redis.xadd` … name the command; one of two words is written with `_`: \
                  `redis.config_get`. Texts stay texts, integers are integers, hashes are maps; bytes that are no text stay \
                  bytes. A reply has 64 MiB at most. Connections are kept for the run; in a cluster, the node that has the key is asked.\n\n\
                  `redis.subscribe` (`channel`), `redis.psubscribe` (`pattern`) and `redis.xread` with a `stream` wait for \
                  messages; with `background: true` they are subscribed when the step is done, and a later `await` \
                  collects what came. The result of these has `messages` and `count` alone.\n\nWhen Redis refuses a command the step fails, unless one of its assertions speaks of `error`.",
    config: CONFIG,
    open_config: false,
    result: &[
        ResultField { name: "value", kind: "any", doc: "The reply; null when there is nothing." },
        ResultField {
            name: "exists",
            kind: "boolean",
            doc: "Whether there is something: the reply is neither null, 0 nor empty.",
        },
        ResultField {
            name: "ok",
            kind: "boolean",
            doc: "Whether the command was done: the reply is neither null nor an error.",
        },
        ResultField { name: "deleted", kind: "integer", doc: "How many keys are gone (`del`, `unlink`), else 0." },
        ResultField { name: "count", kind: "integer", doc: "An integer reply, or how many items a list or map has." },
        ResultField {
            name: "messages",
            kind: "list",
            doc: "What came: `channel`, `pattern`, `value` (JSON parsed), `value_raw`, or `stream`, `id` and the fields as `value`.",
        },
        ResultField { name: "duration_ms", kind: "integer", doc: "How long it took, in milliseconds." },
        ResultField {
            name: "error",
            kind: "map",
            doc: "Null, or how Redis refused: `code` (`WRONGTYPE`, `ERR` …) and `message`.",
        },
    ],
    open_result: false,
    reserved: &[],
    examples: &[
        Example {
            title: "A cached user that must be there",
            yaml: "- action: redis.set\n  config: {host: localhost, key: \"user:1\", value: {name: Ada}, ttl: 1m}\n- action: redis.get\n  \
               config: {host: localhost, key: \"user:1\"}\n  assert:\n    - value != nil\n    - fromJSON(value).name == \"Ada\"\n",
        },
        Example {
            title: "A message that the next step causes",
            yaml: "- id: told\n  action: redis.subscribe\n  background: true\n  config: {host: localhost, channel: users, match: {json_path: \"$.id == 7\"}}\n\
               - action: redis.publish\n  config: {host: localhost, channel: users, message: {id: 7}}\n- await: told\n  assert:\n    \
               - messages[0].value.id == 7\n",
        },
    ],
};

static REQUEST: Shape<2> = Shape::new(["server", "command"]);
static RESULT: Shape<7> = Shape::new(["ok", "exists", "deleted", "count", "value", "duration_ms", "error"]);

/// The action.
pub(crate) struct Redis;

#[async_trait]
impl Action for Redis {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    fn arms(&self) -> Option<&dyn Arm> {
        Some(self)
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        if wait::Waits::of(cx.step).is_some() {
            return at_once(self, cx).await;
        }
        let config = cx.resolve()?;
        let servers = cx.resource(Servers::default);
        let server = servers.read(&config, cx.files()).await?;
        let command = Command::read(cx.step.verb.as_deref(), &config)?;
        let limit = config.duration("timeout")?.unwrap_or(Duration::from_secs(30));
        let since = Instant::now();
        let asked = tokio::time::timeout(limit, link::ask(cx.connector(), &servers, &server, &command)).await;
        let request = REQUEST.map([Value::Text(server.shown()), command.shown()]);
        let (value, refusal) = match asked {
            Ok(Ok(value)) => (value, None),
            Ok(Err(RedisError::Refused(refusal))) => (Value::Null, Some(refusal)),
            Ok(Err(error)) => return Err(with_request(error.into_action_error(&server.shown()), request)),
            Err(_) => {
                let message = format!("`{}`: no reply within {}", server.shown(), show_duration(limit));
                return Err(with_request(ActionError::new(ErrorKind::Timeout, message), request));
            }
        };
        let took = Value::from(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX));
        let result = result(&command, value, took, refusal.as_ref());
        let result = ActionResult { request: request.into(), response: result.clone().into(), result, primary: None };
        match refusal {
            Some(refusal) if !cx.step.asserts_on("error") => {
                let error = RedisError::Refused(refusal).into_action_error(&server.shown());
                Err(ActionError { partial: Some(Box::new(result)), ..error })
            }
            _ => Ok(result),
        }
    }
}

fn with_request(error: ActionError, request: Value) -> ActionError {
    let partial = ActionResult { request: request.into(), ..ActionResult::default() };
    ActionError { partial: Some(Box::new(partial)), ..error }
}

fn result(command: &Command, value: Value, took: Value, refusal: Option<&Refusal>) -> Value {
    let number = value.as_i64().filter(|_| matches!(value, Value::Int(_)));
    let length = || match &value {
        Value::List(_) | Value::Map(_) => value.len().and_then(|length| i64::try_from(length).ok()),
        _ => None,
    };
    let count = number.or_else(length).unwrap_or(0);
    let exists = match &value {
        Value::Null => false,
        Value::Int(number) => *number != 0,
        Value::List(_) | Value::Map(_) => !value.is_empty(),
        _ => true,
    };
    let error = refusal.map_or(Value::Null, |Refusal { code, message }| {
        Value::map([("code", Value::Text(code.clone())), ("message", Value::Text(message.clone()))])
    });
    RESULT.map([
        Value::Bool(refusal.is_none() && !value.is_null()),
        Value::Bool(exists),
        Value::Int(if command.deletes() { number.unwrap_or(0) } else { 0 }),
        Value::Int(count),
        value,
        took,
        error,
    ])
}
