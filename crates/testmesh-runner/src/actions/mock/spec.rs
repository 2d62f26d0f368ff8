//! What the keys of mock servers take; the actions' descriptions share it.

use crate::action::{Field, Kind, Pattern, ResultField};

pub(in crate::actions) const fn field(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { name, aliases: &[], kind, required: false, default: None, doc }
}

pub(in crate::actions) const fn result(name: &'static str, kind: &'static str, doc: &'static str) -> ResultField {
    ResultField { name, kind, doc }
}

/// Which mock server is meant.
pub(in crate::actions) const SERVER: Field = Field {
    aliases: &["server", "name", "mock"],
    default: Some("the only one that runs"),
    ..field("server_id", Kind::Text, "The mock server: the `name` it was started with, which is its `server_id`.")
};

/// The keys of a comparison: what stands where a value is compared, instead of the value itself.
pub(super) const OPERATORS: &[Field] = &[
    field("equals", Kind::Any, "It is this."),
    field("not", Kind::Any, "It is not this."),
    field("contains", Kind::Text, "It contains this text."),
    Field {
        aliases: &["regex", "matches"],
        ..field("pattern", Kind::Pattern(Pattern::Regex), "The regular expression is found in it.")
    },
    Field { aliases: &["present"], ..field("exists", Kind::Boolean, "Whether it is there at all.") },
];

const COMPARED: Kind = Kind::OneOf(&[Kind::Text, Kind::Object(OPERATORS), Kind::List(&Kind::Text)]);
const COMPARED_JSON: Kind = Kind::OneOf(&[Kind::Object(OPERATORS), Kind::Any]);

/// What a request must have.
pub(in crate::actions) const MATCH: &[Field] = &[
    Field {
        aliases: &["path_regex"],
        ..field("path_pattern", Kind::Pattern(Pattern::Regex), "A regular expression that is found in the path.")
    },
    field(
        "headers",
        Kind::Map(&COMPARED),
        "Headers by name: the value, or a map with `equals`, `not`, `contains`, `pattern`, `exists`. A `Content-Type` \
         without parameters fits one with them.",
    ),
    Field {
        aliases: &["query_params", "params"],
        ..field(
            "query",
            Kind::Map(&COMPARED),
            "Parameters of the query by name, compared as headers are. A list is every value of the name, in order.",
        )
    },
    Field {
        aliases: &["body_json", "json"],
        ..field(
            "body",
            Kind::Any,
            "A text is the whole body. A map or list is a part of the JSON (or form) body: every key that it has must be \
             there with its value, lists item by item.",
        )
    },
    field("body_equals", Kind::Any, "The whole JSON body, nothing more."),
    Field { aliases: &["body_text"], ..field("body_contains", Kind::Text, "A text in the body.") },
    Field {
        aliases: &["body_regex", "body_matches"],
        ..field("body_pattern", Kind::Pattern(Pattern::Regex), "A regular expression that is found in the body.")
    },
    Field {
        aliases: &["body_json_path", "json_paths"],
        ..field(
            "json_path",
            Kind::OneOf(&[Kind::List(&Kind::Pattern(Pattern::Path)), Kind::Paths(&COMPARED_JSON)]),
            "Paths into the JSON body with the value that is there, or compared as headers are; a list: paths that lead \
             somewhere.",
        )
    },
    field("state", Kind::Map(&Kind::Any), "Values that the mock server's state must have."),
];

const RESPONSE: &[Field] = &[
    Field {
        aliases: &["status_code", "code"],
        default: Some("200"),
        ..field("status", Kind::Integer { min: 200, max: 599 }, "The status.")
    },
    field("headers", Kind::Map(&Kind::Any), "Headers; a list sends its header once for each item."),
    field("body", Kind::Any, "A map or list is sent as JSON, text as it is."),
    Field { aliases: &["json"], ..field("body_json", Kind::Any, "Sent as JSON, texts too.") },
    Field { aliases: &["text"], ..field("body_text", Kind::Text, "Sent as text.") },
    field("body_base64", Kind::Text, "Bytes, in base64."),
    field("delay", Kind::Duration { zero: true }, "The pause before the answer."),
    field("delay_ms", Kind::Integer { min: 0, max: 3_600_000 }, "The same in milliseconds."),
    field(
        "fault",
        Kind::Choice(super::respond::FAULTS),
        "Fails instead: `reset` resets the connection, `close` closes it without an answer, `malformed` sends what is no \
         HTTP, `truncate` sends the head and half of the body, `hang` never answers.",
    ),
];

const STATE: &[Field] = &[
    Field { required: true, aliases: &["state_key"], ..field("key", Kind::Text, "The name of the value.") },
    Field {
        aliases: &["initial_value"],
        default: Some("null"),
        ..field("initial", Kind::Any, "The value before the first request.")
    },
    Field {
        aliases: &["update_rule"],
        default: Some("set"),
        ..field(
            "update",
            Kind::Choice(super::state::UPDATES),
            "What a request does to it, before the response is made: `increment` and `decrement` (by `value`, or 1), `set` \
             (to `value`), `append` (`value` to a list), `toggle`, `reset`.",
        )
    },
    Field {
        aliases: &["update_value"],
        ..field("value", Kind::OnRequest(&Kind::Any), "For the update; may refer to the request.")
    },
];

/// An endpoint.
const ENDPOINT: &[Field] = &[
    Field {
        aliases: &["name"],
        default: Some("method and path"),
        ..field("id", Kind::Text, "What it is called in reports, and by `mock_server_update` and `mock_server_verify`.")
    },
    Field { default: Some("any"), ..field("method", Kind::List(&Kind::Text), "The method, or several.") },
    Field {
        default: Some("any"),
        ..field(
            "path",
            Kind::Pattern(Pattern::Route),
            "The path: `/users/:id` and `/users/{id}` name a parameter, `*` is one part of the path (at the end: one or \
             more), `**` any number of them.",
        )
    },
    Field {
        default: Some("0"),
        ..field(
            "priority",
            Kind::Integer { min: -1_000_000, max: 1_000_000 },
            "Of several that match, the one with the highest answers; of equals the first.",
        )
    },
    Field {
        aliases: &["matching"],
        ..field("match", Kind::OnRequest(&Kind::Object(MATCH)), "What the request must have besides.")
    },
    Field {
        aliases: &["responses"],
        default: Some("status 200, no body"),
        ..field(
            "response",
            Kind::OnRequest(&Kind::List(&Kind::Object(RESPONSE))),
            "The answer. Of a list each request gets the next one; the last one stays.",
        )
    },
    field("state", Kind::Object(STATE), "A value that requests to this endpoint change."),
    field(
        "times",
        Kind::Integer { min: 1, max: 1_000_000_000 },
        "How many requests it answers; later ones are for other endpoints.",
    ),
];

/// The endpoints of a mock server.
pub(in crate::actions) const ENDPOINTS: Field = field(
    "endpoints",
    Kind::Held(&Kind::List(&Kind::Object(ENDPOINT))),
    "What it answers. `match`, `response` and `state.value` are resolved for each request, with `request` (`method`, `path`, \
     `url`, `query`, `headers`, `body`, `body_text`, `params`), `path` (the path's parameters), `query`, `headers`, `body` \
     and `state` in scope beside the flow's own names.",
);

/// The results of the actions that end with a look at the requests.
pub(in crate::actions) const REQUESTS: ResultField = result(
    "requests",
    "list",
    "The requests that came, each with `number`, `time`, `method`, `path`, `url`, `query`, `headers`, `body`, `endpoint` (null: \
     none matched), `status` and `error`.",
);
