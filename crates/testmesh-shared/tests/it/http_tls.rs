//! TLS: what is believed, what is shown, which version of HTTP comes of it.

use std::sync::Arc;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use testmesh_shared::http::{ConnectionOptions, HttpErrorKind, HttpVersion};
use testmesh_shared::internal::TlsPem;
use testmesh_shared::tls::{Identity, TlsOptions};

use crate::http::client;
use crate::server::{Server, get, version_app};

/// A certificate authority that lives as long as its test.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate in PEM and DER, and its key.
pub(crate) struct Issued {
    pem: String,
    key: KeyPair,
    der: rustls::pki_types::CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn pem(&self) -> Bytes {
        Bytes::from(self.issuer.pem())
    }

    pub(crate) fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { pem: certificate.pem(), der: certificate.der().clone(), key }
    }

    /// What one process among several that trust each other is given.
    pub(crate) fn pem_for(&self, name: &str) -> TlsPem {
        let issued = self.issue(name);
        TlsPem { certificate: issued.pem.into(), key: issued.key.serialize_pem().into(), ca: self.pem() }
    }

    /// A server's configuration for `name`; with `clients`, it wants a certificate of this authority from them.
    pub(crate) fn server(&self, name: &str, protocols: &[&str], clients: bool) -> ServerConfig {
        let issued = self.issue(name);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.unwrap();
        let builder = if clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![issued.der], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }
}

pub(crate) fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions { ca: Some(authority.pem()), ..TlsOptions::default() }
}

async fn fetch(server: &Server, host: &str, version: HttpVersion, tls: TlsOptions) -> Result<String, HttpErrorKind> {
    let url = format!("https://{host}:{}/", server.address.port());
    let options = ConnectionOptions { version, tls, ..ConnectionOptions::default() };
    let response = client().send(get(&url), &options).await.map_err(|error| error.kind())?;
    assert!(response.timings.tls.is_some());
    let response = response.collect(1000).await.map_err(|error| error.kind())?;
    Ok(String::from_utf8_lossy(&response.body).split(' ').next().unwrap().to_owned())
}

#[tokio::test]
async fn the_version_is_what_both_sides_offer() {
    let authority = Authority::new();
    let (one, two) = ("HTTP/1.1".to_owned(), "HTTP/2.0".to_owned());
    for (offered, version, expect) in [
        (&["h2", "http/1.1"][..], HttpVersion::Auto, Ok(two.clone())),
        (&["h2", "http/1.1"], HttpVersion::Http1, Ok(one.clone())),
        (&["h2", "http/1.1"], HttpVersion::Http2, Ok(two)),
        (&["http/1.1"], HttpVersion::Auto, Ok(one.clone())),
        (&[], HttpVersion::Auto, Ok(one)),
        (&[], HttpVersion::Http2, Err(HttpErrorKind::Connection)),
    ] {
        let server = Server::app(version_app(), Some(authority.server("localhost", offered, false))).await;
        let outcome = fetch(&server, "localhost", version, trusting(&authority)).await;
        assert_eq!(outcome, expect, "{offered:?} {version:?}");
    }
}

#[tokio::test]
async fn a_certificate_is_believed_by_its_issuer_and_name_or_not_checked_at_all() {
    let authority = Authority::new();
    let server = Server::app(version_app(), Some(authority.server("shop.test", &["http/1.1"], false))).await;
    let named = |name: &str| TlsOptions { server_name: Some(name.to_owned()), ..trusting(&authority) };
    for (tls, believed) in [
        (TlsOptions::default(), false),
        (trusting(&authority), false),
        (named("shop.test"), true),
        (named("other.test"), false),
        (trusting(&Authority::new()), false),
        (TlsOptions { verify: false, ..TlsOptions::default() }, true),
    ] {
        let outcome = fetch(&server, "127.0.0.1", HttpVersion::Auto, tls.clone()).await;
        let expect = if believed { Ok("HTTP/1.1".to_owned()) } else { Err(HttpErrorKind::Connection) };
        assert_eq!(outcome, expect, "{tls:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_when_asked_for() {
    let authority = Authority::new();
    let server = Server::app(version_app(), Some(authority.server("localhost", &["http/1.1"], true))).await;
    let identity = |issued: Issued| Identity { certificate: issued.pem.into(), key: issued.key.serialize_pem().into() };
    let own = TlsOptions { identity: Some(identity(authority.issue("client"))), ..trusting(&authority) };
    let foreign = TlsOptions { identity: Some(identity(Authority::new().issue("client"))), ..trusting(&authority) };
    for (tls, expect) in [
        (own, Ok("HTTP/1.1".to_owned())),
        (trusting(&authority), Err(HttpErrorKind::Connection)),
        (foreign, Err(HttpErrorKind::Connection)),
    ] {
        assert_eq!(fetch(&server, "localhost", HttpVersion::Auto, tls).await, expect);
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_the_settings_fault() {
    let authority = Authority::new();
    let server = Server::app(version_app(), Some(authority.server("localhost", &[], false))).await;
    let issued = authority.issue("client");
    for tls in [
        TlsOptions { ca: Some(Bytes::from_static(b"no certificate")), ..TlsOptions::default() },
        TlsOptions {
            identity: Some(Identity { certificate: issued.pem.clone().into(), key: issued.pem.clone().into() }),
            ..TlsOptions::default()
        },
        TlsOptions { server_name: Some("not a name".to_owned()), ..TlsOptions::default() },
    ] {
        let outcome = fetch(&server, "localhost", HttpVersion::Auto, tls).await;
        assert_eq!(outcome, Err(HttpErrorKind::Config));
    }
}
