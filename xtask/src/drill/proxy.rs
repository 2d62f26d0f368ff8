//! A TCP proxy between a server and its PostgreSQL or Redis: it passes bytes on, until it is told to do worse.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of bytes and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They pass.
    None,
    /// Connections are taken and bytes too, and nothing comes out.
    Stall,
    /// What clients send passes, and nothing comes back.
    Mute,
    /// Connections are ended, and new ones as soon as they are made.
    Cut,
}

/// The proxy; gone when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    fault: Arc<watch::Sender<Fault>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// One before the server that listens on this port of the loopback interface.
    pub(crate) async fn before(port: u16) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| format!("start a proxy: {error}"))?;
        let address = listener.local_addr().map_err(|error| format!("start a proxy: {error}"))?;
        let fault = Arc::new(watch::Sender::new(Fault::None));
        let faults = Arc::clone(&fault);
        #[allow(clippy::disallowed_methods, reason = "aborted when the proxy is dropped")]
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let faults = Arc::clone(&faults);
                #[allow(
                    clippy::disallowed_methods,
                    reason = "ends with the connection, or with the proxy's last word"
                )]
                tokio::spawn(async move { pass(client, port, &faults).await });
            }
        });
        Ok(Self { address, fault, accepting })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on.
    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.fault.send_replace(Fault::Cut);
    }
}

async fn pass(client: TcpStream, port: u16, faults: &watch::Sender<Fault>) {
    let mut cut = faults.subscribe();
    let passing = async {
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
        // The time that a proxy adds should be the time it is told to add.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::select! {
            () = copy(from_client, to_server, faults.subscribe(), &[Fault::Stall]) => {}
            () = copy(from_server, to_client, faults.subscribe(), &[Fault::Stall, Fault::Mute]) => {}
        }
    };
    tokio::select! {
        _ = cut.wait_for(|fault| *fault == Fault::Cut) => {}
        () = passing => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut fault: watch::Receiver<Fault>,
    stopped_by: &[Fault],
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let passes = fault.wait_for(|fault| !stopped_by.contains(fault)).await.is_ok();
        if !passes || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
