//! Mutual TLS: each process shows a certificate of the same authority, and believes no other.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use super::follow;
use crate::tls::{Identity, TlsOptions, certificates};

/// What a process shows and whom it believes, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsPem {
    /// This process's certificate, and those that lead to the authority. It must be good for both sides of a
    /// connection, and name the host that others call this process by.
    pub certificate: Bytes,
    /// Its private key (PKCS#8, PKCS#1 or SEC1).
    pub key: Bytes,
    /// The authority that every process of this TestMesh has its certificate from. No other is believed, the system's
    /// neither.
    pub ca: Bytes,
}

// Written by hand: the key must not be printed.
impl fmt::Debug for TlsPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsPem")
    }
}

/// One of the three cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the internal {what}: {reason}")]
pub struct TlsError {
    /// Which: `certificate`, `key` or `CA certificate`.
    pub what: &'static str,
    /// Why. Never a part of it.
    pub reason: String,
}

/// Configurations of both sides of a connection. Clones share them, and [`InternalTls::replace`] changes them for all
/// connections that are made afterwards.
#[derive(Clone)]
pub struct InternalTls {
    current: Arc<RwLock<Arc<Configured>>>,
}

struct Configured {
    pem: TlsPem,
    server: Arc<ServerConfig>,
    client: TlsOptions,
}

impl fmt::Debug for InternalTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InternalTls")
    }
}

impl InternalTls {
    /// Reads certificate, key and authority. TLS 1.3 only: both sides are TestMesh.
    ///
    /// # Errors
    /// [`TlsError`] names the one that cannot be read, or the key when it does not belong to the certificate.
    pub fn new(pem: TlsPem) -> Result<Self, TlsError> {
        Ok(Self { current: Arc::new(RwLock::new(Arc::new(configure(pem)?))) })
    }

    /// Uses others from now on; whether they are others than before. With an error the old ones stay.
    ///
    /// # Errors
    /// As [`InternalTls::new`].
    pub fn replace(&self, pem: TlsPem) -> Result<bool, TlsError> {
        if self.current.read().pem == pem {
            return Ok(false);
        }
        let new = Arc::new(configure(pem)?);
        *self.current.write() = new;
        Ok(true)
    }

    /// Reads the files of certificate, key and authority every five seconds, and uses what they hold, until `stop`
    /// fires. What cannot be used is logged, and what was used before stays.
    pub async fn follow(self, certificate: PathBuf, key: PathBuf, ca: PathBuf, stop: CancellationToken) {
        follow::follow("internal certificate", &[certificate, key, ca], &stop, |contents| {
            let [certificate, key, ca] = [0, 1, 2].map(|index| Bytes::from(contents[index].clone()));
            self.replace(TlsPem { certificate, key, ca }).map_err(|error| error.to_string())
        })
        .await;
    }

    /// For the side that is called: HTTP/2 and HTTP/1.1, a certificate wanted from the caller.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().server)
    }

    /// For the side that calls.
    pub fn client(&self) -> TlsOptions {
        self.current.read().client.clone()
    }
}

fn configure(pem: TlsPem) -> Result<Configured, TlsError> {
    let chain = read(&pem.certificate, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|error| failed("key", &error))?;
    let mut roots = RootCertStore::empty();
    for certificate in read(&pem.ca, "CA certificate")? {
        roots.add(certificate).map_err(|error| failed("CA certificate", &error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| failed("CA certificate", &error))?;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the ring provider has suites for TLS 1.3")
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| failed("key", &error))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let identity = Identity { certificate: pem.certificate.clone(), key: pem.key.clone() };
    let client =
        TlsOptions { ca: Some(pem.ca.clone()), system_roots: false, identity: Some(identity), ..TlsOptions::default() };
    Ok(Configured { pem, server: Arc::new(server), client })
}

fn read(pem: &[u8], what: &'static str) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, TlsError> {
    certificates(pem, what).map_err(|error| match error {
        crate::tls::TlsError::Settings { reason, .. } => TlsError { what, reason },
        other @ crate::tls::TlsError::Handshake { .. } => failed(what, &other),
    })
}

fn failed(what: &'static str, error: &dyn std::error::Error) -> TlsError {
    TlsError { what, reason: error.to_string() }
}
