//! Listeners of flows: where a flow may listen, and by which name others reach what listens there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use super::Connector;

/// Where flows listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The address that a listener is bound to when its flow names none. Default: 127.0.0.1.
    pub address: IpAddr,
    /// The name or address that others reach listeners by. Default: the address a listener is bound to.
    pub host: Option<String>,
    /// Whether a flow may name any address of this machine. Otherwise it may name loopback addresses, and what
    /// `address` includes. Default: false.
    pub anywhere: bool,
}

impl Default for Listening {
    fn default() -> Self {
        Self { address: Ipv4Addr::LOCALHOST.into(), host: None, anywhere: false }
    }
}

/// A listener could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Flows may not listen there.
    #[error("flows may not listen on `{address}` here, but on {allowed}")]
    Denied {
        /// The address.
        address: IpAddr,
        /// Where they may.
        allowed: String,
    },
    /// The operating system refused.
    #[error("cannot listen on `{address}`")]
    Bind {
        /// Address and port.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What listens.
#[derive(Debug)]
pub struct Listener {
    /// The listener.
    pub socket: TcpListener,
    /// Where: the port is the one that was taken when any would do.
    pub address: SocketAddr,
    /// The name or address that others reach it by, an IPv6 address in brackets.
    pub host: String,
}

impl Listening {
    fn allows(&self, address: IpAddr) -> bool {
        let includes = self.address.is_unspecified() && self.address.is_ipv4() == address.is_ipv4();
        self.anywhere || address.is_loopback() || address == self.address || includes
    }

    /// What others reach a listener on `address` by.
    fn reached_by(&self, address: IpAddr) -> String {
        if let Some(host) = &self.host {
            return host.clone();
        }
        match address {
            IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
            IpAddr::V6(v6) if v6.is_unspecified() => format!("[{}]", Ipv6Addr::LOCALHOST),
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        }
    }
}

impl Connector {
    /// The same connector, with the place where flows listen.
    #[must_use]
    pub fn with_listening(mut self, listening: Listening) -> Self {
        self.listening = listening.into();
        self
    }

    /// Listens on `address` (none: where flows listen by default) and `port` (0: any that is free).
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn listen(&self, address: Option<IpAddr>, port: u16) -> Result<Listener, ListenError> {
        let ip = address.unwrap_or(self.listening.address);
        if !self.listening.allows(ip) {
            let allowed = format!("`{}` and loopback addresses", self.listening.address);
            return Err(ListenError::Denied { address: ip, allowed });
        }
        let wanted = SocketAddr::new(ip, port);
        let bind = |source| ListenError::Bind { address: wanted, source };
        let socket = TcpListener::bind(wanted).await.map_err(bind)?;
        let address = socket.local_addr().map_err(bind)?;
        Ok(Listener { socket, address, host: self.listening.reached_by(ip) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NetPolicy;

    #[tokio::test]
    async fn a_flow_listens_where_it_may_and_nowhere_else() {
        let any = |text: &str| text.parse::<IpAddr>().unwrap();
        let with = |address: &str, anywhere| Listening { address: any(address), host: None, anywhere };
        for (listening, address, host) in [
            (Listening::default(), None, Some("127.0.0.1")),
            (Listening::default(), Some("127.0.0.2"), Some("127.0.0.2")),
            (Listening::default(), Some("0.0.0.0"), None),
            (with("127.0.0.1", true), Some("0.0.0.0"), Some("127.0.0.1")),
            (with("0.0.0.0", false), None, Some("127.0.0.1")),
            (with("0.0.0.0", false), Some("::"), None),
            (Listening { host: Some("runner.test".to_owned()), ..with("0.0.0.0", false) }, None, Some("runner.test")),
        ] {
            let connector = Connector::new(NetPolicy::open()).with_listening(listening.clone());
            let listener = connector.listen(address.map(any), 0).await;
            let reached = listener.as_ref().ok().map(|listener| listener.host.as_str());
            assert_eq!(reached, host, "{listening:?} {address:?}: {listener:?}");
            assert!(listener.is_ok_and(|listener| listener.address.port() != 0) || host.is_none());
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let connector = Connector::default();
        let first = connector.listen(None, 0).await.unwrap();
        let error = connector.listen(None, first.address.port()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on `{}`", first.address));
    }
}
