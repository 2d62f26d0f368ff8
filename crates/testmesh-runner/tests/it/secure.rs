//! A way to a server that has no TLS of its own: what comes in is made plain.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use testmesh_shared::tasks::Tasks;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// When the handshake comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    AtOnce,
    /// After `STARTTLS`, as SMTP has it.
    AfterStartTls,
    /// After the server's first line, to which `tls_required` is added, as NATS has it.
    AfterInfo,
}

/// Listens on a free port and passes on to `server`; the certificate is nobody's.
pub(crate) async fn in_front_of(server: String, start: Start) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
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
    let mut client = acceptor.accept(client).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
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
