//! TLS towards what flows talk to: settings, certificates, handshakes. Nothing is loaded before the first connection.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
pub use tokio_rustls::client::TlsStream;

/// A connection could not be made secure.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate, key or name cannot be used.
    #[error("cannot use the {what}: {reason}")]
    Settings {
        /// Which of them.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The handshake failed.
    #[error("the TLS handshake with `{host}` failed")]
    Handshake {
        /// The server's name.
        host: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// How the server is believed, and what it is shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// Whether the server's certificate is checked (default true).
    pub verify: bool,
    /// Certificates in PEM that are trusted as well.
    pub ca: Option<Bytes>,
    /// Whether the system's own are trusted (default true).
    pub system_roots: bool,
    /// What the server is shown when it asks.
    pub identity: Option<Identity>,
    /// The name that is sent and that the certificate must have, instead of the host.
    pub server_name: Option<String>,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self { verify: true, ca: None, system_roots: true, identity: None, server_name: None }
    }
}

// Written by hand: certificates are long, and the key must not be printed.
impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsOptions").field("verify", &self.verify).finish_non_exhaustive()
    }
}

/// A client certificate with its key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The certificate, and those that lead to a root, in PEM.
    pub certificate: Bytes,
    /// Its private key in PEM (PKCS#8, PKCS#1 or SEC1).
    pub key: Bytes,
}

/// The system's roots, or the built-in ones where it has none. Loaded once per process.
static ROOTS: OnceCell<Arc<RootCertStore>> = OnceCell::const_new();

/// Protocols to offer (ALPN), the best first; none: the extension is not sent.
pub type Protocols = &'static [&'static [u8]];

/// Makes connections secure. Each configuration is made once and keeps the sessions that its connections resume.
#[derive(Default)]
pub struct TlsClient {
    made: Mutex<Vec<(TlsOptions, Protocols, Arc<ClientConfig>)>>,
}

impl std::fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsClient({})", self.made.lock().len())
    }
}

impl TlsClient {
    /// Makes `stream` secure: `host` is whom it leads to.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        host: &str,
        options: &TlsOptions,
        protocols: Protocols,
    ) -> Result<TlsStream<S>, TlsError> {
        let config = self.config(options, protocols).await?;
        let name = options.server_name.as_deref().unwrap_or(host);
        let name = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|_| TlsError::Settings { what: "server name", reason: format!("`{name}` is no host name") })?;
        TlsConnector::from(config)
            .connect(server_name, stream)
            .await
            .map_err(|source| TlsError::Handshake { host: name.to_owned(), source })
    }

    /// The configuration of a client with these settings, for libraries that do the handshake themselves.
    ///
    /// # Errors
    /// [`TlsError::Settings`].
    pub async fn config(&self, options: &TlsOptions, protocols: Protocols) -> Result<Arc<ClientConfig>, TlsError> {
        let made = |made: &&(TlsOptions, Protocols, Arc<ClientConfig>)| made.0 == *options && made.1 == protocols;
        if let Some((_, _, config)) = self.made.lock().iter().find(made) {
            return Ok(Arc::clone(config));
        }
        let roots = if options.verify { Some(trusted_roots(options).await?) } else { None };
        let config = Arc::new(build(options, protocols, roots)?);
        self.made.lock().push((options.clone(), protocols, Arc::clone(&config)));
        Ok(config)
    }
}

async fn trusted_roots(options: &TlsOptions) -> Result<Arc<RootCertStore>, TlsError> {
    let system = if options.system_roots { system_roots().await } else { Arc::new(RootCertStore::empty()) };
    let Some(ca) = &options.ca else { return Ok(system) };
    let mut roots = RootCertStore::clone(&system);
    for certificate in certificates(ca, "CA certificate")? {
        roots.add(certificate).map_err(|error| settings("CA certificate", error))?;
    }
    Ok(Arc::new(roots))
}

async fn system_roots() -> Arc<RootCertStore> {
    // Reading some 140 files takes milliseconds that the other runs should not wait for.
    let system = ROOTS.get_or_init(|| async {
        let loaded = tokio::task::spawn_blocking(load_roots).await;
        Arc::new(loaded.unwrap_or_else(|_| built_in_roots()))
    });
    Arc::clone(system.await)
}

fn load_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a system certificate cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 { built_in_roots() } else { roots }
}

fn built_in_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn build(
    options: &TlsOptions,
    protocols: Protocols,
    roots: Option<Arc<RootCertStore>>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the ring provider has suites for TLS 1.2 and 1.3");
    let builder = match roots {
        Some(roots) => builder.with_root_certificates(roots),
        None => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate::new(&provider))),
    };
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates(&identity.certificate, "client certificate")?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key)
                .map_err(|error| settings("client certificate's key", error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| settings("client certificate", error))?
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

pub(crate) fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| settings(what, error))?;
    if found.is_empty() { Err(settings(what, "there is no PEM certificate in it")) } else { Ok(found) }
}

fn settings(what: &'static str, reason: impl Into<Box<dyn std::error::Error>>) -> TlsError {
    TlsError::Settings { what, reason: reason.into().to_string() }
}

/// Believes every certificate: `verify: false`. The handshake's own signatures are still checked.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyCertificate {
    fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
