//! Whom a step trusts and what it shows over TLS: the same keys for every action that opens connections of its own.

use bytestring::ByteString;
use testmesh_shared::tls::{Identity, TlsOptions};

use super::http_request::read_pem;
use crate::action::{ActionError, Field, Kind};
use crate::engine::Resolved;
use crate::files::Files;
use crate::record::ErrorKind;
use crate::value::Value;

const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { name, aliases: &[], kind, required: false, default: None, doc }
}

pub(super) const CA_CERT: Field =
    optional("ca_cert", Kind::Text, "A PEM file, or PEM text: trusted beside the system's certificates.");
pub(super) const CLIENT_CERT: Field = optional(
    "client_cert",
    Kind::OneOf(&[
        Kind::Text,
        Kind::Object(&[
            Field { required: true, ..optional("cert", Kind::Text, "A PEM file, or PEM text.") },
            optional("key", Kind::Text, "A PEM file, or PEM text; default: the key beside the certificate."),
        ]),
    ]),
    "A certificate to show to the server: a PEM file or text, or `{cert, key}`.",
);
pub(super) const CLIENT_KEY: Field =
    optional("client_key", Kind::Text, "The key of `client_cert`; default: the key beside the certificate.");
pub(super) const SERVER_NAME: Field =
    optional("server_name", Kind::Text, "The name that TLS asks for and checks, instead of the server's address.");

/// Reads `verify_tls`, `ca_cert`, `client_cert`, `client_key` and `server_name`.
pub(super) async fn options(config: &Resolved, files: &Files) -> Result<TlsOptions, ActionError> {
    Ok(TlsOptions {
        verify: config.boolean("verify_tls")?.unwrap_or(true),
        ca: read_pem(config.text("ca_cert")?, files).await?,
        identity: identity(config, files).await?,
        server_name: config.text("server_name")?.map(String::from),
        ..TlsOptions::default()
    })
}

/// Refuses certificates for a connection that would go without them.
pub(super) fn needed(options: &TlsOptions, tls: bool, help: &str) -> Result<(), ActionError> {
    let given = [("ca_cert", options.ca.is_some()), ("client_cert", options.identity.is_some())];
    match given.iter().find(|(_, given)| *given && !tls) {
        None => Ok(()),
        Some((key, _)) => {
            let message = format!("`{key}` is given, and the connection is not to be secure: {help}");
            Err(ActionError::new(ErrorKind::Config, message))
        }
    }
}

async fn identity(config: &Resolved, files: &Files) -> Result<Option<Identity>, ActionError> {
    let (certificate, key): (Option<ByteString>, Option<ByteString>) = match config.value("client_cert") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Map(_)) => {
            let section = config.section("client_cert")?.unwrap_or_default();
            (Some(section.required_text("cert")?), section.text("key")?)
        }
        Some(_) => (config.text("client_cert")?, config.text("client_key")?),
    };
    let Some(certificate) = read_pem(certificate, files).await? else { return Ok(None) };
    // Without a key of its own, the key stands beside the certificate.
    let key = read_pem(key, files).await?.unwrap_or_else(|| certificate.clone());
    Ok(Some(Identity { certificate, key }))
}
