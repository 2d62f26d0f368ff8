//! TCP connections of plugins, plain or with TLS, within the network policy.

use std::io::ErrorKind;

use testmesh_shared::net::NetError;
use testmesh_shared::tls::{TlsClient, TlsError, TlsOptions};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use wasmtime::component::Resource;

use super::Capability;
use super::host::State;
use super::runtime::guest::testmesh::plugin::tcp;
use super::runtime::guest::testmesh::plugin::types::{Failure, FailureKind};
use crate::actions::chain;

/// Bytes that are read at once at most, whatever the plugin asks for.
const MAX_PART: u32 = 1 << 20;

/// Both directions of a connection.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that a plugin holds.
#[allow(unreachable_pub, reason = "the bindings export it once more")]
pub struct Connection {
    server: String,
    socket: Box<dyn Duplex>,
}

impl Connection {
    fn broken(&self, error: &std::io::Error) -> Failure {
        let message = match error.kind() {
            ErrorKind::UnexpectedEof => format!("`{}`: the connection broke off", self.server),
            _ => format!("`{}`: {}", self.server, chain(error)),
        };
        Failure { kind: FailureKind::Connection, message }
    }
}

impl tcp::Host for State {}

impl tcp::HostConnection for State {
    async fn open(
        &mut self,
        host: String,
        port: u16,
        secure: bool,
    ) -> wasmtime::Result<Result<Resource<Connection>, Failure>> {
        let server = format!("{host}:{port}");
        let opened = match self.reach(Capability::Tcp) {
            Ok(reach) => open(&reach.connector, (&host, port), secure).await,
            Err(refused) => return Ok(Err(refused)),
        };
        match opened {
            Ok(socket) => Ok(Ok(self.table().push(Connection { server, socket })?)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    async fn read(
        &mut self,
        connection: Resource<Connection>,
        most: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, Failure>> {
        let connection = self.table().get_mut(&connection)?;
        let mut part = Vec::with_capacity(most.min(64 << 10) as usize);
        let read = (&mut connection.socket).take(most.min(MAX_PART).into()).read_buf(&mut part).await;
        Ok(read.map(|_| part).map_err(|error| connection.broken(&error)))
    }

    async fn write(
        &mut self,
        connection: Resource<Connection>,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Failure>> {
        let connection = self.table().get_mut(&connection)?;
        let written = match connection.socket.write_all(&bytes).await {
            Ok(()) => connection.socket.flush().await,
            Err(error) => Err(error),
        };
        Ok(written.map_err(|error| connection.broken(&error)))
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table().delete(connection)?;
        Ok(())
    }
}

async fn open(
    connector: &testmesh_shared::net::Connector,
    (host, port): (&str, u16),
    secure: bool,
) -> Result<Box<dyn Duplex>, Failure> {
    let unreachable = |error: NetError| {
        let kind = match error {
            NetError::Denied { .. } => FailureKind::Policy,
            NetError::Resolve { .. } | NetError::Connect { .. } => FailureKind::Connection,
        };
        Failure { kind, message: chain(&error) }
    };
    let plain = connector.tcp(host, port).await.map_err(unreachable)?.stream;
    if !secure {
        return Ok(Box::new(plain));
    }
    let insecure = |error: TlsError| {
        let kind = match error {
            TlsError::Settings { .. } => FailureKind::Config,
            TlsError::Handshake { .. } => FailureKind::Connection,
        };
        Failure { kind, message: format!("`{host}:{port}`: {}", chain(&error)) }
    };
    let secured = TlsClient::default().handshake(plain, host, &TlsOptions::default(), &[]).await;
    Ok(Box::new(secured.map_err(insecure)?))
}
