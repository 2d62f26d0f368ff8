//! The way of a browser's connections: a SOCKS 5 proxy on loopback (RFC 1928) that opens each by the run's connector, so
//! that the network policy sees every name and address that a page leads to.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use testmesh_shared::net::{Connector, NetError};
use testmesh_shared::tasks::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::actions::http_request::chain;

/// Time for a browser to say where it wants to go, and for the connection to be there.
const OPENING: Duration = Duration::from_secs(30);
/// Refusals that are remembered, to explain what a page says about them.
const REMEMBERED: usize = 16;
const VERSION: u8 = 5;
const CONNECT: u8 = 1;
/// Replies of the protocol.
const DONE: u8 = 0;
const DENIED: u8 = 2;
const UNREACHABLE: u8 = 4;
const NOT_SUPPORTED: u8 = 7;

/// Why a connection was not made.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) host: String,
    pub(super) port: u16,
    /// By the policy, and not by the network.
    pub(super) denied: bool,
    pub(super) reason: String,
}

/// The proxy.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) address: SocketAddr,
    refusals: Arc<Mutex<VecDeque<Refusal>>>,
}

impl Gate {
    /// Opens it for as long as `tasks` last.
    pub(super) async fn open(connector: Connector, tasks: &Tasks) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let gate = Self { address: listener.local_addr()?, refusals: Arc::default() };
        let (cancel, serving, beside) = (tasks.cancelled().clone(), gate.clone(), tasks.clone());
        tasks.spawn(async move {
            cancel
                .run_until_cancelled(async {
                    while let Ok((stream, _)) = listener.accept().await {
                        let (cancel, gate, connector) =
                            (beside.cancelled().clone(), serving.clone(), connector.clone());
                        beside.spawn(async move {
                            // The page sees that the connection is gone.
                            let _ = cancel.run_until_cancelled(gate.pass(stream, &connector)).await;
                        });
                    }
                })
                .await
        });
        Ok(gate)
    }

    /// Why the last connection to this host was not made; it is forgotten then.
    pub(super) fn refusal(&self, host: &str, port: u16) -> Option<Refusal> {
        let mut refusals = self.refusals.lock();
        let at = refusals.iter().rposition(|refusal| refusal.host == host && refusal.port == port)?;
        refusals.remove(at)
    }

    async fn pass(&self, mut stream: TcpStream, connector: &Connector) -> io::Result<()> {
        let opened = tokio::time::timeout(OPENING, self.lead(&mut stream, connector)).await;
        let Some(mut target) = opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? else { return Ok(()) };
        tokio::io::copy_bidirectional(&mut stream, &mut target).await.map(|_| ())
    }

    /// The greeting, the question and its answer; none when the answer was no.
    async fn lead(&self, stream: &mut TcpStream, connector: &Connector) -> io::Result<Option<TcpStream>> {
        stream.set_nodelay(true)?;
        if stream.read_u8().await? != VERSION {
            return Ok(None);
        }
        let methods = stream.read_u8().await?;
        stream.read_exact(&mut vec![0; usize::from(methods)]).await?;
        // No authentication.
        stream.write_all(&[VERSION, 0]).await?;
        let (_, command, _) = (stream.read_u8().await?, stream.read_u8().await?, stream.read_u8().await?);
        let host = match stream.read_u8().await? {
            1 => Ipv4Addr::from(stream.read_u32().await?).to_string(),
            3 => {
                let mut name = vec![0; usize::from(stream.read_u8().await?)];
                stream.read_exact(&mut name).await?;
                String::from_utf8_lossy(&name).into_owned()
            }
            4 => Ipv6Addr::from(stream.read_u128().await?).to_string(),
            _ => return Ok(None),
        };
        let port = stream.read_u16().await?;
        if command != CONNECT {
            reply(stream, NOT_SUPPORTED).await?;
            return Ok(None);
        }
        match connector.tcp(&host, port).await {
            Ok(connected) => {
                reply(stream, DONE).await?;
                Ok(Some(connected.stream))
            }
            Err(error) => {
                let denied = matches!(error, NetError::Denied { .. });
                self.remember(Refusal { host, port, denied, reason: chain(&error) });
                reply(stream, if denied { DENIED } else { UNREACHABLE }).await?;
                Ok(None)
            }
        }
    }

    fn remember(&self, refusal: Refusal) {
        let mut refusals = self.refusals.lock();
        if refusals.len() >= REMEMBERED {
            refusals.pop_front();
        }
        refusals.push_back(refusal);
    }
}

async fn reply(stream: &mut TcpStream, code: u8) -> io::Result<()> {
    // The address that was bound, which nobody asks for.
    stream.write_all(&[VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]).await
}
