//! What stands before several servers: each connection goes to the next of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The balancer; gone when dropped.
pub(super) struct Balancer {
    authority: String,
    accepting: JoinHandle<()>,
}

impl Balancer {
    /// One before the servers at these addresses.
    pub(super) async fn before(servers: Vec<String>) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("start the balancer: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let authority = listener.local_addr().map_err(failed)?.to_string();
        let (servers, next) = (Arc::new(servers), AtomicUsize::new(0));
        #[allow(clippy::disallowed_methods, reason = "aborted when the balancer is dropped")]
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (servers, number) = (Arc::clone(&servers), next.fetch_add(1, Ordering::Relaxed));
                #[allow(clippy::disallowed_methods, reason = "ends with either side of the connection")]
                tokio::spawn(async move {
                    let address = &servers[number % servers.len()];
                    if let Ok(mut server) = TcpStream::connect(address).await {
                        let _ = (client.set_nodelay(true), server.set_nodelay(true));
                        // Either side may go away at any time.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Ok(Self { authority, accepting })
    }

    /// Where it listens.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
