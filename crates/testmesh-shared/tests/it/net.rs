//! The connector and the network policy, with real sockets.

use std::io;

use testmesh_shared::net::{Connector, NetError, NetPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::server::{Server, ok};

#[tokio::test]
async fn the_policy_judges_what_a_name_resolves_to() {
    let server = Server::canned(ok("")).await;
    let port = server.address.port();
    let deny = |list| Connector::new(NetPolicy::open().with_denied(list).unwrap());
    let denied = deny("127.0.0.0/8, ::1").tcp("localhost", port).await.unwrap_err();
    assert!(matches!(denied, NetError::Denied { .. }), "{denied:?}");
    assert_eq!(
        denied.to_string(),
        format!("connection to `localhost (127.0.0.1:{port})` is denied by the network policy: denied by the operator")
    );
    // The address that is left is the one that is used.
    let mut connected = deny("::1").tcp("localhost", port).await.unwrap();
    assert_eq!(connected.peer, server.address);
    assert_eq!(deny("127.0.0.1").resolve("localhost", 1).await.unwrap(), ["[::1]:1".parse().unwrap()]);
    // Connections are taken in their order, so after an answer there is none left to count.
    connected.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    connected.stream.read_u8().await.unwrap();
    assert_eq!(server.connections(), 1, "denied connections must not reach the server");
}

#[tokio::test]
async fn a_server_does_not_reach_its_own_listener_by_any_name() {
    let server = Server::canned(ok("")).await;
    let connector = Connector::new(NetPolicy::server(&[server.address]));
    for host in ["127.0.0.1", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]", "127.0.0.2", "0.0.0.0"] {
        let outcome = connector.tcp(host, server.address.port()).await;
        assert!(matches!(outcome, Err(NetError::Denied { .. })), "{host}: {outcome:?}");
    }
    let mut allowed = Connector::default().tcp("127.0.0.1", server.address.port()).await.unwrap();
    allowed.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    allowed.stream.read_u8().await.unwrap();
    assert_eq!(server.connections(), 1, "denied connections must not reach the server");
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        // This host has no IPv6.
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let connected = Connector::default().tcp("localhost", port).await.unwrap();
    assert!(connected.peer.is_ipv6());
    assert!(connected.stream.nodelay().unwrap());
}

#[tokio::test]
async fn a_name_without_an_address_and_a_closed_port_are_told_apart() {
    let connector = Connector::default();
    let unknown = connector.tcp("name.invalid", 80).await.unwrap_err();
    assert!(matches!(&unknown, NetError::Resolve { host, .. } if host == "name.invalid"), "{unknown:?}");
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closed = connector.tcp("127.0.0.1", unused.port()).await.unwrap_err();
    assert!(
        matches!(&closed, NetError::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused),
        "{closed:?}"
    );
}
