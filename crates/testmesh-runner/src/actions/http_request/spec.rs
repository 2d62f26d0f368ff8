//! The description of `http_request`: what validation checks, and what the reference shows.

use crate::action::{ActionSpec, Example, Field, Kind, ResultField};
use crate::actions::tls;

const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { name, aliases: &[], kind, required: false, default: None, doc }
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { required: true, ..optional(name, kind, doc) }
}

const fn result(name: &'static str, kind: &'static str, doc: &'static str) -> ResultField {
    ResultField { name, kind, doc }
}

const CREDENTIALS: Kind =
    Kind::Object(&[required("username", Kind::Text, "The user."), optional("password", Kind::Text, "The password.")]);

const API_KEY: Kind = Kind::Object(&[
    Field { default: Some("X-API-Key"), ..optional("name", Kind::Text, "Name of the header or query parameter.") },
    required("value", Kind::Text, "The key."),
    Field { default: Some("header"), ..optional("in", Kind::Choice(&["header", "query"]), "Where it goes.") },
]);

const OAUTH2: Kind = Kind::Object(&[
    required("token_url", Kind::Text, "Where tokens come from."),
    required("client_id", Kind::Text, "The client."),
    optional("client_secret", Kind::Text, "Its secret; without one only the id is sent."),
    optional("scope", Kind::Text, "Scopes, separated by spaces."),
    optional("audience", Kind::Text, "Whom the token is for; some servers ask for it."),
    Field {
        default: Some("client_credentials"),
        ..optional(
            "grant",
            Kind::Choice(&["client_credentials", "password", "refresh_token"]),
            "What the token is given for.",
        )
    },
    optional("username", Kind::Text, "For the grant `password`."),
    optional("password", Kind::Text, "For the grant `password`."),
    optional("refresh_token", Kind::Text, "For the grant `refresh_token`."),
    Field {
        default: Some("header"),
        ..optional(
            "client_auth",
            Kind::Choice(&["header", "body"]),
            "Whether id and secret go into the `Authorization` header or the body.",
        )
    },
]);

const AUTH: Kind = Kind::Object(&[
    optional("basic", CREDENTIALS, "User and password (RFC 7617)."),
    optional(
        "bearer",
        Kind::OneOf(&[Kind::Text, Kind::Object(&[required("token", Kind::Text, "The token.")])]),
        "A token (RFC 6750).",
    ),
    optional("api_key", API_KEY, "A key in a header or in the query."),
    optional("digest", CREDENTIALS, "Answers a digest challenge (RFC 7616)."),
    optional("oauth2", OAUTH2, "Gets a token first; it is kept for the run until shortly before it expires."),
]);

const GRAPHQL: Kind = Kind::OneOf(&[
    Kind::Text,
    Kind::Object(&[
        required("query", Kind::Text, "The query or mutation."),
        optional("variables", Kind::Map(&Kind::Any), "Its variables."),
        Field {
            aliases: &["operationName"],
            ..optional("operation_name", Kind::Text, "Which operation of the document to run.")
        },
    ]),
]);

static CONFIG: &[Field] = &[
    Field {
        default: Some("GET, or POST when there is a body"),
        ..optional("method", Kind::Text, "The method, in any case.")
    },
    required(
        "url",
        Kind::Text,
        "An absolute `http` or `https` URL. User and password in it become basic authentication.",
    ),
    optional(
        "headers",
        Kind::Map(&Kind::Any),
        "Headers. A list sends its header once for each item; null takes away one that is sent by default.",
    ),
    Field {
        aliases: &["query_params", "query"],
        ..optional(
            "params",
            Kind::OneOf(&[Kind::Map(&Kind::Any), Kind::Text]),
            "Added to the URL's query. A list gives its name once for each item, null gives nothing.",
        )
    },
    optional(
        "body",
        Kind::Any,
        "A map, list, number, boolean or null is sent as JSON, text as it is. With a form's `Content-Type` header a map \
         is sent as a form.",
    ),
    optional("json", Kind::Any, "As `body`, but text too is sent as JSON."),
    Field {
        aliases: &["form_data"],
        ..optional("form", Kind::Map(&Kind::Any), "Sent as `application/x-www-form-urlencoded`.")
    },
    optional(
        "multipart",
        Kind::OneOf(&[Kind::Map(&Kind::Any), Kind::List(&Kind::Map(&Kind::Any))]),
        "Sent as `multipart/form-data`: name to text, or to `{value, filename, content_type}`, or to \
         `{file, filename, content_type}`. A list of such maps with a `name` keeps an order or repeats a name.",
    ),
    optional("graphql", GRAPHQL, "Sent as a GraphQL request: the query alone, or with variables."),
    optional("auth", AUTH, "Who sends the request: one of these."),
    Field {
        default: Some("the step's own"),
        ..optional("timeout", Kind::Duration { zero: false }, "For everything together, redirects included.")
    },
    Field {
        default: Some("true"),
        ..optional(
            "follow_redirects",
            Kind::Boolean,
            "Whether redirects are followed. Another origin gets no credentials.",
        )
    },
    Field {
        default: Some("10"),
        ..optional("max_redirects", Kind::Integer { min: 0, max: 100 }, "More than this many are an error.")
    },
    Field {
        default: Some("true"),
        ..optional(
            "verify_tls",
            Kind::Boolean,
            "Whether the server's certificate is checked. `false` is shown in the record.",
        )
    },
    tls::CA_CERT,
    tls::CLIENT_CERT,
    tls::CLIENT_KEY,
    tls::SERVER_NAME,
    Field {
        default: Some("as the environment says"),
        ..optional("proxy", Kind::Text, "An `http` proxy, with user and password if it needs them; `none`: no proxy.")
    },
    Field {
        default: Some("true"),
        ..optional(
            "cookies",
            Kind::OneOf(&[Kind::Boolean, Kind::Map(&Kind::Any)]),
            "Cookies to send beside those of the run's jar; `false` leaves the jar out.",
        )
    },
    Field {
        default: Some("auto"),
        ..optional(
            "http_version",
            Kind::Choice(&["auto", "1.1", "2"]),
            "`auto`: HTTP/2 where the server offers it over TLS. `2` without TLS is spoken by prior knowledge.",
        )
    },
    Field {
        default: Some("auto"),
        ..optional(
            "as",
            Kind::Choice(&["auto", "json", "text", "bytes"]),
            "How the body is read. `auto`: JSON by content type, else text, else bytes. With `json` a body that is none \
             is an error.",
        )
    },
    Field {
        aliases: &["max_response_size"],
        default: Some("10MiB"),
        ..optional("max_body", Kind::Size, "A larger body, packed or unpacked, is an error.")
    },
    Field {
        default: Some("false"),
        ..optional(
            "stream",
            Kind::Boolean,
            "Whether the answer is a stream of server-sent events: they are taken until `until` holds, `count` came, the \
             stream ends, or the time is over. With neither `until` nor `count` all of these are fine.",
        )
    },
    optional(
        "until",
        Kind::Expression,
        "For `stream`: ends with the event for which this holds (`event`, `id`, `data`, `json`; `$` is the JSON, else the \
         text).",
    ),
    optional("count", Kind::Integer { min: 1, max: 100_000 }, "For `stream`: how many events; with `until` the most."),
    optional(
        "matches_openapi",
        OPENAPI,
        "The path of an OpenAPI document (3.0 or 3.1; YAML or JSON), relative to the flow file, or a map: status, content \
         type, headers and body must be as the operation of this method and path says, or else the step fails. \
         References inside of the document are followed, others are an error. Not with `stream`.",
    ),
];

static RESULT: &[ResultField] = &[
    result("status", "integer", "The status code."),
    result("headers", "map", "The first value of each header. Look-ups ignore case."),
    result("body", "any", "The body: parsed JSON, text, or bytes; null for an empty body of type JSON."),
    result("body_text", "string", "The body as text; null when it is none."),
    result("cookies", "map", "The cookies that the answers set, name to value."),
    result("duration_ms", "integer", "From the first request's start to the last answer's end, in milliseconds."),
    result(
        "timings",
        "map",
        "`dns`, `connect`, `tls`, `first_byte` and `total` of the last request, in milliseconds. The first three are 0 \
         when a connection was used again.",
    ),
    result("url", "string", "The URL that answered, after redirects."),
    result("redirects", "list", "One map for each redirect: `status`, `url`, `location`."),
    result("size", "integer", "Bytes of the body, unpacked."),
    result("content_type", "string", "The `Content-Type` header; null when there is none."),
    result("http_version", "string", "`1.0`, `1.1` or `2`."),
    result(
        "events",
        "list",
        "With `stream`, the events in the order they came: `event`, `id`, `data`, `json` (null when `data` is none).",
    ),
];

const OPENAPI: Kind = Kind::OneOf(&[
    Kind::Text,
    Kind::Object(&[
        required("file", Kind::Text, "The document."),
        optional("operation", Kind::Text, "The `operationId`, when method and path do not tell."),
    ]),
]);

pub(super) static SPEC: ActionSpec = ActionSpec {
    name: "http_request",
    aliases: &["http"],
    summary: "Sends an HTTP request.",
    description: "The requests of a run share their connections and a cookie jar. An answer is data whatever its status; \
                  only trouble on the way is an error: no connection, no valid HTTP, a body over `max_body`. A \
                  `traceparent` header is added unless the step sets one.\n\nIn outputs, `$` is the body, and bare names \
                  look there first.",
    config: CONFIG,
    open_config: false,
    result: RESULT,
    open_result: false,
    reserved: &["status", "headers", "duration_ms"],
    examples: &[
        Example {
            title: "Read something and keep a part of it",
            yaml: "- id: get_user\n  action: http_request\n  config:\n    url: http://localhost:8080/users/42\n  assert:\n    - status == 200\n    - body.name == \"Ada\"\n  output:\n    user_id: body.id\n",
        },
        Example {
            title: "Send JSON with a token",
            yaml: "- id: create_user\n  action: http_request\n  config:\n    method: POST\n    url: http://localhost:8080/users\n    auth:\n      bearer: a-token\n    body:\n      name: Ada\n      roles: [admin]\n  assert:\n    - status == 201\n    - headers[\"content-type\"] contains \"json\"\n",
        },
        Example {
            title: "A query and a form",
            yaml: "- action: http_request\n  config:\n    method: POST\n    url: http://localhost:8080/search\n    params:\n      page: 1\n      tag: [new, sale]\n    form:\n      text: blue shoes\n",
        },
        Example {
            title: "Upload a file",
            yaml: "- action: http_request\n  config:\n    url: http://localhost:8080/upload\n    multipart:\n      title: A picture\n      picture:\n        file: fixtures/picture.png\n        content_type: image/png\n",
        },
        Example {
            title: "GraphQL",
            yaml: "- action: http_request\n  config:\n    url: http://localhost:8080/graphql\n    graphql:\n      query: \"query User($id: ID!) { user(id: $id) { name } }\"\n      variables:\n        id: 42\n  assert:\n    - body.data.user.name exists\n",
        },
        Example {
            title: "A token from an OAuth 2 server, fetched once per run",
            yaml: "- action: http_request\n  config:\n    url: http://localhost:8080/orders\n    auth:\n      oauth2:\n        token_url: http://localhost:8081/token\n        client_id: shop\n        client_secret: change-me\n        scope: orders.read\n",
        },
        Example {
            title: "Events, until one says that it is done",
            yaml: "- action: http_request\n  config:\n    url: http://localhost:8080/orders/42/events\n    stream: true\n    until: event == \"finished\"\n    timeout: 10s\n  assert:\n    - events[-1].json.state == \"shipped\"\n",
        },
        Example {
            title: "An answer that keeps to the service's OpenAPI document",
            yaml: "- action: http_request\n  config:\n    url: http://localhost:8080/users/42\n    matches_openapi: openapi.yaml\n",
        },
        Example {
            title: "A redirect, looked at instead of followed",
            yaml: "- action: http_request\n  config:\n    url: http://localhost:8080/old\n    follow_redirects: false\n  assert:\n    - status == 301\n    - headers.location endsWith \"/new\"\n",
        },
    ],
};
