//! The one place that opens a socket for an action, and the policy it obeys.
//!
//! The policy is asked about the resolved address, and the connection goes to that very address, so a name that
//! resolves differently a moment later changes nothing. Redirects come through here again.

mod listen;
mod policy;
mod proxy;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;

pub use self::listen::{ListenError, Listener, Listening};
pub use self::policy::{InvalidRange, NetPolicy, Range};
pub use self::proxy::{InvalidProxy, Proxies, Proxy};

/// How long an address may take before the next one is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The name has no address.
    #[error("cannot resolve `{host}`")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// The policy denies the address.
    #[error("connection to `{target}` is denied by the network policy: {reason}")]
    Denied {
        /// Host, address and port.
        target: String,
        /// Why.
        reason: String,
    },
    /// No address of the host answered.
    #[error("cannot connect to `{target}`")]
    Connect {
        /// Host and port.
        target: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// A new TCP connection and what it took.
#[derive(Debug)]
pub struct Connected {
    /// The connection, with `TCP_NODELAY` on.
    pub stream: TcpStream,
    /// Its other end.
    pub peer: SocketAddr,
    /// Time for the name look-up.
    pub dns: Duration,
    /// Time for the TCP handshake.
    pub connect: Duration,
}

/// Opens connections under a policy. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Connector {
    policy: Arc<NetPolicy>,
    proxies: Arc<Proxies>,
    listening: Arc<Listening>,
}

impl Connector {
    /// A connector that obeys `policy`.
    pub fn new(policy: NetPolicy) -> Self {
        Self { policy: Arc::new(policy), ..Self::default() }
    }

    /// The same connector, with the proxies that HTTP requests go through unless they name one of their own.
    #[must_use]
    pub fn with_proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = Arc::new(proxies);
        self
    }

    /// The policy.
    pub fn policy(&self) -> &NetPolicy {
        &self.policy
    }

    /// The proxies that HTTP requests go through unless they name one of their own.
    pub fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// The addresses of `host` that the policy allows, in the resolver's order. Literal addresses and `localhost` cost
    /// no look-up; the resolver is the operating system's.
    ///
    /// # Errors
    /// [`NetError::Resolve`] when there is none, [`NetError::Denied`] when the policy allows none of them.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NetError> {
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let found = match literal_addresses(host, port) {
            Some(found) => found,
            None => look_up(host, port).await.map_err(|source| NetError::Resolve { host: host.to_owned(), source })?,
        };
        let mut denied = None;
        let mut allowed = Vec::with_capacity(found.len());
        for address in found {
            match self.policy.denial(address) {
                None => allowed.push(address),
                Some(reason) => denied = denied.or(Some((address, reason))),
            }
        }
        match denied {
            Some((address, reason)) if allowed.is_empty() => {
                Err(NetError::Denied { target: describe(host, address), reason: reason.to_owned() })
            }
            _ => Ok(allowed),
        }
    }

    /// Connects to the first address of `host` that answers. The next address gets its turn when one fails, or takes
    /// more than 250 ms.
    ///
    /// # Errors
    /// As [`Connector::resolve`], and [`NetError::Connect`] when no address answers.
    pub async fn tcp(&self, host: &str, port: u16) -> Result<Connected, NetError> {
        let started = Instant::now();
        let addresses = self.resolve(host, port).await?;
        let dns = started.elapsed();
        let connecting = Instant::now();
        let (stream, peer) = first_to_answer(&addresses)
            .await
            .and_then(|(stream, peer)| stream.set_nodelay(true).map(|()| (stream, peer)))
            .map_err(|source| NetError::Connect { target: format!("{host}:{port}"), source })?;
        Ok(Connected { stream, peer, dns, connect: connecting.elapsed() })
    }
}

/// IPv4 comes first for `localhost`: most local services listen there, and a refusal falls through at once.
fn literal_addresses(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    host.parse::<IpAddr>().ok().map(|ip| vec![SocketAddr::new(ip, port)])
}

async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    if found.is_empty() { Err(io::Error::new(io::ErrorKind::NotFound, "it has no address")) } else { Ok(found) }
}

fn describe(host: &str, address: SocketAddr) -> String {
    match host.parse::<IpAddr>() {
        Ok(_) => address.to_string(),
        Err(_) => format!("{host} ({address})"),
    }
}

async fn first_to_answer(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    let attempt = |address: SocketAddr| async move { Ok((TcpStream::connect(address).await?, address)) };
    let mut waiting = addresses.iter().copied();
    let mut attempts: FuturesUnordered<_> = waiting.next().map(attempt).into_iter().collect();
    let mut first_error = None;
    loop {
        tokio::select! {
            biased;
            // Cancel-safe: dropping `next` leaves the attempts in the set.
            Some(outcome) = attempts.next() => match outcome {
                Ok(connected) => return Ok(connected),
                Err(error) => {
                    first_error.get_or_insert(error);
                    attempts.extend(waiting.next().map(attempt));
                }
            },
            () = tokio::time::sleep(HEAD_START), if !attempts.is_empty() && waiting.len() > 0 => {
                attempts.extend(waiting.next().map(attempt));
            }
            else => {
                return Err(first_error.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it has no address")));
            }
        }
    }
}
