//! A way to a server that has no TLS of its own: what comes in is made plain.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};
use testmesh_shared::tasks::Tasks;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// When the handshake comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    AtOnce,
    /// After `STARTTLS`, as SMTP has it.
    AfterStartTls,
    /// After the server's first line, to which `tls_required` is added, as NATS has it.
    AfterInfo,
    /// At once; and where the server tells its own address, as Kafka does, that of this way to it takes its place.
    AtOnceForKafka,
}

/// Listens on a free port and passes on to `server`; the certificate is nobody's.
pub(crate) async fn in_front_of(server: String, start: Start) -> SocketAddr {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    in_front_with(server, start, config).await
}

/// As [`in_front_of`], with a configuration of the test's own.
pub(crate) async fn in_front_with(server: String, start: Start, config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let tasks = Tasks::new();
    tasks.clone().spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), server.clone());
            tasks.spawn(async move {
                // Whoever does not believe the certificate hangs up.
                let _ = carry(client, &server, &acceptor, start).await;
            });
        }
    });
    address
}

fn builder() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

/// A certificate authority that lives as long as its test.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key in PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Of the same name as what it signs, it would look signed by itself.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Its certificate in PEM.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a host or an address.
    pub(crate) fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A server's configuration for `name`; with `clients`, it wants a certificate of this authority from them.
    pub(crate) fn server(&self, name: &str, clients: bool) -> ServerConfig {
        let issued = self.issue(name);
        let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let builder = if clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder().with_client_cert_verifier(verifier)
        } else {
            builder().with_no_client_auth()
        };
        builder.with_single_cert(chain, key).unwrap()
    }
}

async fn carry(mut client: TcpStream, server: &str, acceptor: &TlsAcceptor, start: Start) -> std::io::Result<()> {
    let mut server = BufReader::new(TcpStream::connect(server).await?);
    if start == Start::AfterInfo {
        let mut line = String::new();
        server.read_line(&mut line).await?;
        client.write_all(line.replacen('{', "{\"tls_required\":true,", 1).as_bytes()).await?;
    }
    if start == Start::AfterStartTls {
        let mut heard = [0; 1024];
        for said in ["220 hello\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go on\r\n"] {
            client.write_all(said.as_bytes()).await?;
            if !said.ends_with("go on\r\n") && client.read(&mut heard).await? == 0 {
                return Ok(());
            }
        }
        // Its greeting was said already.
        server.read_line(&mut String::new()).await?;
    }
    if start == Start::AtOnceForKafka {
        let ports = (server.get_ref().peer_addr()?.port(), client.local_addr()?.port());
        return renamed(acceptor.accept(client).await?, server, ports).await;
    }
    let mut client = acceptor.accept(client).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// Carries both ways; `127.0.0.1` with the first port becomes one with the second.
async fn renamed(
    client: TlsStream<TcpStream>,
    server: BufReader<TcpStream>,
    (from, to): (u16, u16),
) -> std::io::Result<()> {
    let address = |port: u16| [&b"127.0.0.1\0\0"[..], &port.to_be_bytes()].concat();
    let (from, to) = (address(from), address(to));
    let (mut client_says, mut to_client) = tokio::io::split(client);
    let (mut server_says, mut to_server) = tokio::io::split(server);
    let there = tokio::io::copy(&mut client_says, &mut to_server);
    let back = async {
        let mut part = vec![0; 64 << 10];
        loop {
            let length = server_says.read(&mut part).await?;
            if length == 0 {
                return Ok::<(), std::io::Error>(());
            }
            for at in 0..length.saturating_sub(from.len() - 1) {
                if part[at..].starts_with(&from) {
                    part[at..at + to.len()].copy_from_slice(&to);
                }
            }
            to_client.write_all(&part[..length]).await?;
            to_client.flush().await?;
        }
    };
    tokio::select! {
        // Either end of the connection ends both; neither future is polled again.
        ended = there => ended.map(drop),
        ended = back => ended,
    }
}

/// A server that says one thing to each client, then reads what it says and hangs up at its end or after `answer`.
pub(crate) async fn says(hello: &'static [u8], answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    tasks.clone().spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tasks.spawn(async move {
                let mut heard = [0; 4096];
                let _ = client.write_all(hello).await;
                let _ = client.read(&mut heard).await;
                let _ = client.write_all(answer).await;
            });
        }
    });
    address
}
