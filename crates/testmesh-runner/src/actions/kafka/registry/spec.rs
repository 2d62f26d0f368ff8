//! The keys of the Kafka actions that say where schemas are, and which a message has.

use crate::action::{Field, Kind};

const fn optional(name: &'static str, aliases: &'static [&'static str], kind: Kind, doc: &'static str) -> Field {
    Field { name, aliases, kind, required: false, default: None, doc }
}

const FORMAT: Kind = Kind::Choice(&["avro", "protobuf", "json_schema", "plain"]);

pub(in crate::actions) const REGISTRY: Field = optional(
    "schema_registry",
    &["registry"],
    Kind::Object(&[
        Field {
            required: true,
            ..optional(
                "url",
                &[],
                Kind::Text,
                "Where its API begins: `http://localhost:8081`, `https://registry.test/apis/ccompat/v7`.",
            )
        },
        optional("username", &["user"], Kind::Text, "The user."),
        optional("password", &[], Kind::Text, "The password."),
        optional("token", &["bearer"], Kind::Text, "A bearer token, instead of a user."),
        Field {
            default: Some("true"),
            ..optional("verify_tls", &[], Kind::Boolean, "Whether the registry's certificate is checked.")
        },
        optional("ca_cert", &[], Kind::Text, "A PEM file, or PEM text: trusted beside the system's certificates."),
        optional("client_cert", &[], Kind::Text, "A PEM file, or PEM text: what the registry is shown."),
        optional("client_key", &[], Kind::Text, "Its key; default: the key beside the certificate."),
        optional("server_name", &[], Kind::Text, "The name that TLS asks for and checks, instead of the URL's host."),
        optional("proxy", &[], Kind::Text, "The URL of a proxy, or `none`."),
    ]),
    "The registry that has the messages' schemas, with the API of Confluent's.",
);

pub(in crate::actions) const VALUE_FORMAT: Field = Field {
    default: Some("any"),
    ..optional(
        "value_format",
        &[],
        FORMAT,
        "What the schemas of values must be; with `plain`, values are taken without the registry.",
    )
};

pub(in crate::actions) const KEY_FORMAT: Field = Field {
    default: Some("plain"),
    ..optional("key_format", &[], FORMAT, "What the schemas of keys are; with `plain`, keys have none.")
};

pub(in crate::actions) const WRITTEN_VALUE_FORMAT: Field = Field {
    default: Some("the schema's"),
    ..optional(
        "value_format",
        &[],
        FORMAT,
        "What the schema of the message is: needed where the step brings one that is not Avro. With `plain` it has none.",
    )
};

pub(in crate::actions) const WRITTEN_KEY_FORMAT: Field = Field {
    default: Some("plain"),
    ..optional("key_format", &[], FORMAT, "What the schema of the key is; with `plain` it has none.")
};

const SCHEMA: Kind = Kind::Object(&[
    Field {
        default: Some("<topic>-value, or <topic>-key"),
        ..optional("subject", &[], Kind::Text, "The name that the registry has the schema under.")
    },
    Field {
        default: Some("latest"),
        ..optional("version", &[], Kind::Text, "Which version of the registry's schema: a number, or `latest`.")
    },
    optional(
        "schema",
        &[],
        Kind::Any,
        "The schema itself, as text or as a map, instead of the registry's. It must be registered.",
    ),
    optional("schema_file", &["file"], Kind::Text, "A file with the schema, relative to the flow."),
    optional(
        "references",
        &[],
        Kind::List(&Kind::Object(&[
            Field { required: true, ..optional("name", &[], Kind::Text, "How the schema refers to it.") },
            Field { required: true, ..optional("subject", &[], Kind::Text, "Its subject.") },
            Field {
                required: true,
                ..optional("version", &[], Kind::Integer { min: 1, max: 2_147_483_647 }, "Its version.")
            },
        ])),
        "Registered schemas that the step's own schema uses.",
    ),
    Field {
        default: Some("false"),
        ..optional("auto_register", &[], Kind::Boolean, "Whether the step's own schema is registered when it is not.")
    },
    Field {
        default: Some("the first of the schema"),
        ..optional(
            "message",
            &["message_type"],
            Kind::Text,
            "Which message of a Protobuf schema it is: `shop.v1.Order`.",
        )
    },
]);

pub(in crate::actions) const VALUE_SCHEMA: Field =
    optional("value_schema", &[], SCHEMA, "Which schema the message has, where that is not the latest of its topic.");

pub(in crate::actions) const KEY_SCHEMA: Field =
    optional("key_schema", &[], SCHEMA, "Which schema the key has. Given, the key has one without `key_format`, too.");
