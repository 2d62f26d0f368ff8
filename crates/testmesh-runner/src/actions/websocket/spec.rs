//! The description of `websocket`: what validation checks, and what the reference shows.

use crate::action::{ActionSpec, Example, Field, Kind, ResultField};
use crate::actions::{messages, tls};

const fn optional(name: &'static str, aliases: &'static [&'static str], kind: Kind, doc: &'static str) -> Field {
    Field { name, aliases, kind, required: false, default: None, doc }
}

const fn result(name: &'static str, kind: &'static str, doc: &'static str) -> ResultField {
    ResultField { name, kind, doc }
}

const MESSAGE: Field = optional(
    "message",
    &["data", "payload", "body", "text"],
    Kind::Any,
    "What is sent (`send`): text as it is, bytes as a binary message, anything else as JSON.",
);
const JSON: Field = optional("json", &[], Kind::Any, "As `message`, but text too is sent as JSON.");
const BINARY: Field = optional("binary", &["base64"], Kind::Any, "A binary message: bytes, or text in base64.");
const COUNT: Field = Field {
    default: Some("1"),
    ..optional(
        "count",
        &["max_messages"],
        Kind::Integer { min: 0, max: 100_000 },
        "How many messages to wait for (`receive`).",
    )
};
const MATCH: Field = messages::match_field(Kind::Object(&[
    optional("type", &[], Kind::Choice(&["text", "binary"]), "The kind of message."),
    messages::MATCH_VALUE,
]));
const CODE: Field = Field {
    default: Some("1000"),
    ..optional("code", &["close_code"], Kind::Integer { min: 1000, max: 4999 }, "The code to close with (`close`).")
};
const REASON: Field = optional("reason", &[], Kind::Text, "The reason to close with, at most 123 bytes.");

/// The verbs.
pub(in crate::actions) const VERBS: &[&str] = &["connect", "send", "receive", "close"];

static ACT: &[Field] = &[
    Field { required: true, ..optional("type", &["action", "verb", "do"], Kind::Choice(VERBS), "What to do.") },
    MESSAGE,
    JSON,
    BINARY,
    COUNT,
    messages::MIN_COUNT,
    MATCH,
    optional("timeout", &[], Kind::Duration { zero: false }, "The time for this alone."),
    CODE,
    REASON,
];

static CONFIG: &[Field] = &[
    optional(
        "url",
        &["address"],
        Kind::Text,
        "`ws://…` or `wss://…`. Needed to connect; user and password in it become basic authentication.",
    ),
    Field {
        default: Some("default"),
        ..optional("connection", &["name"], Kind::Text, "The connection's name: later steps of the run use it by that.")
    },
    optional(
        "verb",
        &["operation", "type"],
        Kind::Choice(VERBS),
        "What to do, when the action's name does not say it.",
    ),
    optional("headers", &[], Kind::Map(&Kind::Text), "Headers of the handshake."),
    optional(
        "subprotocols",
        &["subprotocol", "protocols"],
        Kind::List(&Kind::Text),
        "Subprotocols to offer. The server must choose one of them.",
    ),
    MESSAGE,
    JSON,
    BINARY,
    COUNT,
    messages::MIN_COUNT,
    MATCH,
    Field {
        default: Some("30s"),
        ..optional(
            "timeout",
            &[],
            Kind::Duration { zero: false },
            "The time for the whole step; of an armed step, from when it is awaited.",
        )
    },
    CODE,
    REASON,
    optional(
        "actions",
        &["script", "steps"],
        Kind::List(&Kind::Object(ACT)),
        "Several of them, one after the other, on a connection that is opened before and closed after.",
    ),
    Field {
        default: Some("16MiB"),
        ..optional(
            "max_message",
            &["max_message_size"],
            Kind::Size,
            "A larger message ends the connection with an error.",
        )
    },
    Field {
        default: Some("true"),
        ..optional("verify_tls", &[], Kind::Boolean, "Whether the server's certificate is checked.")
    },
    tls::CA_CERT,
    tls::CLIENT_CERT,
    tls::CLIENT_KEY,
    tls::SERVER_NAME,
];

static RESULT: &[ResultField] = &[
    result(
        "messages",
        "list",
        "The messages in the order they came: `type` (`text`, `binary`), `value` (JSON parsed, text or bytes), `value_raw`.",
    ),
    result("received", "integer", "How many there are."),
    result("sent", "integer", "How many messages were sent."),
    result("connected", "boolean", "Whether the connection is open when the step is done."),
    result(
        "close_code",
        "integer",
        "The code that the connection was closed with; null while it is open, 1006 when it broke off.",
    ),
    result("close_reason", "string", "The reason that came with it."),
    result("subprotocol", "string", "The subprotocol that the server chose; null when there is none."),
    result(
        "status",
        "integer",
        "The status of the handshake's answer, 101 when it was accepted; null when the step opened no connection.",
    ),
    result("headers", "map", "Its headers. Look-ups ignore case."),
    result("duration_ms", "integer", "How long it took, in milliseconds."),
];

pub(super) static SPEC: ActionSpec = ActionSpec {
    name: "websocket",
    aliases: &[
        "websocket.connect",
        "websocket.send",
        "websocket.receive",
        "websocket.close",
        "websocket_connect",
        "websocket_send",
        "websocket_receive",
        "websocket_close",
    ],
    summary: "Talks over a WebSocket.",
    description: "One verb in a step: `websocket.connect` opens a connection that later steps use by its name, \
                  `websocket.send`, `websocket.receive` and `websocket.close` work on it. Or all in one step: without a verb \
                  it connects, sends `message` if there is one, waits for `count` messages and closes; `actions` is a script of \
                  its own. What comes between two steps is kept (up to 10,000 messages or 64 MiB, then the server waits), \
                  pings are answered, and what is open at the end of the run is closed with code 1001.\n\n\
                  A server that answers with another status than 101 fails the step, unless one of its assertions speaks of \
                  `status`. `$` in outputs is the first message's value. A step that waits can be in the background: it is armed \
                  after everything before its last `receive`.",
    config: CONFIG,
    open_config: false,
    result: RESULT,
    open_result: false,
    reserved: &["messages", "received", "sent", "connected", "close_code", "status"],
    examples: &[
        Example {
            title: "Ask and hear the answer, in one step",
            yaml: "- action: websocket\n  config:\n    url: ws://localhost:8080/echo\n    message: {op: ping}\n  assert:\n    - messages[0].value.op == \"pong\"\n",
        },
        Example {
            title: "A connection that several steps use",
            yaml: "- action: websocket.connect\n  config: {url: \"ws://localhost:8080/prices\", subprotocols: [v1]}\n  assert: [connected == true, subprotocol == \"v1\"]\n- action: websocket.send\n  config: {message: {subscribe: EUR}}\n- action: websocket.receive\n  config: {match: {json_path: \"$.currency == 'EUR'\"}, count: 2, timeout: 5s}\n  assert: [received == 2]\n- action: websocket.close\n  assert: [close_code == 1000]\n",
        },
        Example {
            title: "A script",
            yaml: "- action: websocket\n  config:\n    url: wss://localhost:8443/chat\n    actions:\n      - {type: send, message: {join: lobby}}\n      - {type: receive, match: {json_path: \"$.joined == true\"}}\n      - {type: send, message: {say: hello}}\n      - {type: receive, count: 2, timeout: 5s}\n  assert: [received == 3]\n",
        },
        Example {
            title: "A message that the next step causes",
            yaml: "- action: websocket.connect\n  config: {url: \"ws://localhost:8080/orders\"}\n- id: told\n  action: websocket.receive\n  background: true\n  config: {match: {json_path: \"$.id == 7\"}}\n- action: http_request\n  config: {method: POST, url: \"http://localhost:8080/orders/7\"}\n- await: told\n  assert:\n    - messages[0].value.state == \"new\"\n",
        },
    ],
};
