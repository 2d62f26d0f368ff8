//! Whom a step calls, and how the connection is made secure.

use testmesh_shared::tls::{Identity, TlsOptions};
use url::Url;

use crate::action::ActionError;
use crate::actions::http_request::read_pem;
use crate::engine::Resolved;
use crate::files::Files;
use crate::record::ErrorKind;

/// A server, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    /// None: without TLS.
    pub(super) tls: Option<TlsOptions>,
}

impl Target {
    /// Reads it from the configuration; certificates come through the file policy.
    pub(super) async fn read(config: &Resolved, files: &Files) -> Result<Self, ActionError> {
        let address = config.required_text("address")?;
        let (host, port, secure) = parse(&address).map_err(|problem| wrong(format!("`address` {problem}")))?;
        let (secure, section) = match config.value("tls") {
            Some(value) if value.entries().is_some() => (true, config.section("tls")?.unwrap_or_default()),
            _ => (config.boolean("tls")?.unwrap_or(secure), Resolved::default()),
        };
        let tls = if secure { Some(options(config, &section, files).await?) } else { None };
        Ok(Self { host, port, tls })
    }

    /// For people: `localhost:50051`.
    pub(super) fn shown(&self) -> String {
        let bare = self.host.contains(':');
        if bare { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }

    /// Where calls say that they go.
    pub(super) fn origin(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.shown())
    }
}

fn wrong(message: impl Into<String>) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

async fn options(config: &Resolved, section: &Resolved, files: &Files) -> Result<TlsOptions, ActionError> {
    let certificate = read_pem(section.text("client_cert")?, files).await?;
    let key = read_pem(section.text("client_key")?, files).await?;
    let identity =
        certificate.map(|certificate| Identity { key: key.unwrap_or_else(|| certificate.clone()), certificate });
    let verify = match section.boolean("verify")? {
        Some(verify) => verify,
        None => config.boolean("verify_tls")?.unwrap_or(true),
    };
    Ok(TlsOptions {
        verify,
        ca: read_pem(section.text("ca_cert")?, files).await?,
        identity,
        server_name: section.text("server_name")?.map(String::from),
        ..TlsOptions::default()
    })
}

/// Host, port and whether the scheme asks for TLS.
fn parse(address: &str) -> Result<(String, u16, bool), String> {
    let form = || format!("is `{address}`: it takes `host:port`, or `https://host:port` for TLS");
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let (secure, default) = match scheme.to_ascii_lowercase().as_str() {
        "" | "grpc" | "dns" | "h2c" => (false, None),
        "http" => (false, Some(80)),
        "https" | "grpcs" => (true, Some(443)),
        _ => return Err(form()),
    };
    // The URL of a special scheme checks the host; `dns:///host:port` has a slash more.
    let url = Url::parse(&format!("https://{}", rest.trim_start_matches('/'))).map_err(|_| form())?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
        return Err(form());
    }
    let host = url.host_str().ok_or_else(form)?.trim_start_matches('[').trim_end_matches(']').to_owned();
    // 443 is what the parser takes for granted, so a port that is written is looked for in the text.
    let written = rest.trim_end_matches('/').rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let port = match written.filter(|_| !rest.trim_end_matches('/').ends_with(']')) {
        Some(port) if port > 0 => port,
        _ => default.ok_or_else(form)?,
    };
    Ok((host, port, secure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for (address, expected) in [
            ("localhost:50051", Ok(("localhost", 50_051, false))),
            ("127.0.0.1:443", Ok(("127.0.0.1", 443, false))),
            ("[::1]:50051", Ok(("::1", 50_051, false))),
            ("grpc://shop:9000", Ok(("shop", 9000, false))),
            ("dns:///shop:9000", Ok(("shop", 9000, false))),
            ("https://shop.test", Ok(("shop.test", 443, true))),
            ("https://shop.test:8443/", Ok(("shop.test", 8443, true))),
            ("grpcs://[::1]", Ok(("::1", 443, true))),
            ("http://shop", Ok(("shop", 80, false))),
            ("shop", Err("is `shop`: it takes `host:port`, or `https://host:port` for TLS")),
            ("[::1]", Err("is `[::1]`: it takes `host:port`, or `https://host:port` for TLS")),
            ("shop:0", Err("is `shop:0`: it takes `host:port`, or `https://host:port` for TLS")),
            ("ftp://shop:1", Err("is `ftp://shop:1`: it takes `host:port`, or `https://host:port` for TLS")),
            ("shop:1/x", Err("is `shop:1/x`: it takes `host:port`, or `https://host:port` for TLS")),
        ] {
            let found = parse(address);
            let found = found.as_ref().map(|(host, port, tls)| (host.as_str(), *port, *tls)).map_err(String::as_str);
            assert_eq!(found, expected, "{address}");
        }
    }
}
