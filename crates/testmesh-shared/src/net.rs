//! Outgoing connections: the one place that opens a socket for an action, and the policy it obeys.
//!
//! The policy is asked about the resolved address, and the connection goes to that very address, so a name that
//! resolves differently a moment later changes nothing. Redirects come through here again.

// SKELETON: owner H replaces the bodies, keeps these signatures (may add).
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Which addresses actions may reach.
#[derive(Debug, Clone, Default)]
pub struct NetPolicy {
    pub(crate) denied: Vec<Denied>,
}

/// One denied range, and why.
#[derive(Debug, Clone)]
pub struct Denied {
    /// First address of the range and the number of leading bits that count.
    pub network: std::net::IpAddr,
    /// Number of leading bits of `network` that must match.
    pub prefix: u8,
    /// The port, or every port.
    pub port: Option<u16>,
    /// Why, as a fragment: `link-local address`, `this server's own listener`.
    pub reason: String,
}

impl NetPolicy {
    /// Everything may be reached: the command line, where it is the user's own machine.
    pub fn open() -> Self {
        Self::default()
    }

    /// The server's default: link-local and metadata addresses are denied, and each of `own`.
    pub fn server(own: &[SocketAddr]) -> Self {
        let _ = own;
        unimplemented!()
    }
}

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
        source: std::io::Error,
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
        source: std::io::Error,
    },
}

/// A new TCP connection and what it took.
#[derive(Debug)]
pub struct Connected {
    /// The connection, with `TCP_NODELAY` on.
    pub stream: tokio::net::TcpStream,
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
}

impl Connector {
    /// A connector that obeys `policy`.
    pub fn new(policy: NetPolicy) -> Self {
        Self { policy: Arc::new(policy) }
    }

    /// The addresses of `host` that the policy allows, in the resolver's order.
    ///
    /// # Errors
    /// [`NetError::Resolve`] when there is none, [`NetError::Denied`] when the policy allows none of them.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NetError> {
        let _ = (host, port, &self.policy);
        unimplemented!()
    }

    /// Connects to the first address of `host` that answers.
    ///
    /// # Errors
    /// As [`Connector::resolve`], and [`NetError::Connect`] when no address answers.
    pub async fn tcp(&self, host: &str, port: u16) -> Result<Connected, NetError> {
        let _ = (host, port);
        unimplemented!()
    }
}
