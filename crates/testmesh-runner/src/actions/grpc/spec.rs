//! The description of `grpc`: what validation checks, and what the reference shows.

use crate::action::{ActionSpec, Example, Field, Kind, ResultField};

const fn optional(name: &'static str, aliases: &'static [&'static str], kind: Kind, doc: &'static str) -> Field {
    Field { name, aliases, kind, required: false, default: None, doc }
}

const fn result(name: &'static str, kind: &'static str, doc: &'static str) -> ResultField {
    ResultField { name, kind, doc }
}

const TLS: Kind = Kind::OneOf(&[
    Kind::Boolean,
    Kind::Object(&[
        Field {
            default: Some("true"),
            ..optional("verify", &[], Kind::Boolean, "Whether the server's certificate is checked.")
        },
        optional(
            "ca_cert",
            &["ca", "ca_file"],
            Kind::Text,
            "A PEM file, or PEM text: trusted beside the system's certificates.",
        ),
        optional(
            "client_cert",
            &["cert", "cert_file"],
            Kind::Text,
            "A certificate to show to the server: a PEM file, or PEM text.",
        ),
        optional("client_key", &["key", "key_file"], Kind::Text, "Its key; default: the key beside the certificate."),
        optional(
            "server_name",
            &[],
            Kind::Text,
            "The name that TLS asks for and checks, instead of the address's host.",
        ),
    ]),
]);

static CONFIG: &[Field] = &[
    Field {
        required: true,
        ..optional(
            "address",
            &["host", "target", "server", "url"],
            Kind::Text,
            "`host:port`; `https://host:port` is with TLS.",
        )
    },
    optional("service", &[], Kind::Text, "The full name of the service: `shop.v1.Shop`."),
    Field {
        required: true,
        ..optional(
            "method",
            &["rpc"],
            Kind::Text,
            "The method: `GetProduct`, or with its service `shop.v1.Shop/GetProduct`.",
        )
    },
    optional(
        "request",
        &["message", "body", "data", "payload"],
        Kind::Any,
        "The message: a map, or its JSON text. For a method that takes a stream, a list is its messages.",
    ),
    optional(
        "requests",
        &["messages"],
        Kind::List(&Kind::Any),
        "The messages of a method that takes a stream, instead of `request`.",
    ),
    optional(
        "metadata",
        &["headers"],
        Kind::Map(&Kind::Any),
        "What is sent beside the messages. A list sends its name once for each item; a name that ends in `-bin` takes bytes \
         or base64.",
    ),
    Field {
        default: Some("false"),
        ..optional("tls", &["ssl"], TLS, "Whether the connection is made secure, and how.")
    },
    Field {
        default: Some("true"),
        ..optional("verify_tls", &[], Kind::Boolean, "Whether the server's certificate is checked.")
    },
    optional(
        "proto_file",
        &["proto", "proto_files", "protos"],
        Kind::List(&Kind::Text),
        "`.proto` files that describe the service; no compiler is needed. Without them the server is asked (reflection).",
    ),
    Field {
        default: Some("the folder of each file, and the flow's"),
        ..optional(
            "import_paths",
            &["import_path", "proto_path"],
            Kind::List(&Kind::Text),
            "Folders that imports are looked for in.",
        )
    },
    optional(
        "descriptor_set",
        &["protoset", "descriptor_file"],
        Kind::Text,
        "A file of descriptors instead, as `protoc --include_imports --descriptor_set_out` and `buf build` write it.",
    ),
    Field {
        default: Some("true without files"),
        ..optional("use_reflection", &["reflection"], Kind::Boolean, "Whether the server is asked for the description.")
    },
    optional(
        "deadline",
        &[],
        Kind::Duration { zero: false },
        "The time that the call may take. The server is told; when it has passed, the status is `DEADLINE_EXCEEDED`.",
    ),
    Field {
        default: Some("the step's own"),
        ..optional(
            "timeout",
            &[],
            Kind::Duration { zero: false },
            "The time for connecting, reflection and the call together; when it has passed, the step fails.",
        )
    },
    optional(
        "max_messages",
        &["count"],
        Kind::Integer { min: 1, max: 1_000_000 },
        "As soon as so many messages have come, the call is cancelled and the step goes on: for streams without an end.",
    ),
];

static RESULT: &[ResultField] = &[
    result("status_code", "integer", "The number of the status; 0 is `OK`."),
    result("status", "string", "Its name: `OK`, `NOT_FOUND`, `DEADLINE_EXCEEDED` …"),
    result("status_message", "string", "What the server says about it; empty when it says nothing."),
    result(
        "details",
        "list",
        "Details of a status other than `OK`: maps with their type at `@type`; types that the descriptions do not have are \
         bytes, at `value`.",
    ),
    result("body", "map", "The message that came; of several the first. Null when none did."),
    result("messages", "list", "Every message that came, in order."),
    result("count", "integer", "How many messages came."),
    result("metadata", "map", "What came before the messages. Look-ups ignore case."),
    result("trailers", "map", "What came after them."),
    result("duration_ms", "integer", "How long it took, in milliseconds, connecting and reflection included."),
];

pub(super) static SPEC: ActionSpec = ActionSpec {
    name: "grpc",
    aliases: &["grpc_call", "grpc_stream"],
    summary: "Calls a gRPC method, unary or streaming.",
    description: "The description of the service comes from the server (reflection v1 or v1alpha), from `.proto` files or \
                  from a descriptor set, and is kept for the run, as is the connection.\n\n\
                  A status is data whatever it is: `NOT_FOUND` can be asserted on. Only trouble on the way is an error: no \
                  connection, no gRPC, an answer that is not what the description says.\n\n\
                  Messages are written as in the JSON mapping of Protocol Buffers, their fields with either name. In the \
                  result, fields keep the names of the description, 64-bit integers are numbers, enums are names, bytes are \
                  base64, and fields without a value have their default unless they are `optional`, messages or part of a \
                  `oneof`.\n\n\
                  In outputs, `$` is the body, and bare names look there first.",
    config: CONFIG,
    open_config: false,
    result: RESULT,
    open_result: false,
    reserved: &["status", "status_code", "metadata", "trailers", "duration_ms"],
    examples: &[
        Example {
            title: "A call, described by the server",
            yaml: "- id: lamp\n  action: grpc\n  config:\n    address: localhost:50051\n    service: shop.v1.Shop\n    method: \
                   GetProduct\n    request: {product_id: p-1}\n    metadata: {authorization: Bearer a-token}\n  assert:\n    - \
                   status == \"OK\"\n    - body.stock > 0\n  output:\n    name: body.name\n",
        },
        Example {
            title: "A refusal that is expected",
            yaml: "- action: grpc\n  config:\n    address: localhost:50051\n    method: shop.v1.Shop/GetProduct\n    \
                   request: {product_id: nothing}\n    deadline: 2s\n  assert:\n    - status == \"NOT_FOUND\"\n    - \
                   status_message contains \"nothing\"\n",
        },
        Example {
            title: "Streams in both directions, described by a file, over TLS",
            yaml: "- action: grpc_stream\n  config:\n    address: localhost:50052\n    tls: {ca_cert: certs/ca.pem}\n    \
                   proto_file: protos/shop.proto\n    service: shop.v1.Shop\n    method: Chat\n    requests:\n      - {text: \
                   hello}\n      - {text: goodbye}\n  assert:\n    - count == 2\n    - messages[1].text == \"goodbye\"\n",
        },
    ],
};
