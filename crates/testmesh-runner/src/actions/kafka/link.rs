//! A connection to one broker: a request, then its answer.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::FutureExt;
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use testmesh_shared::tls::TlsStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{KafkaError, chain};

/// Most bytes that one answer may have.
const ANSWER_LIMIT: usize = 64 << 20;

/// A connection.
pub(super) struct Link {
    stream: Stream,
    /// Number of the last request.
    requests: i32,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Link {
    pub(super) fn plain(tcp: TcpStream) -> Self {
        Self { stream: Stream::Plain(tcp), requests: 0 }
    }

    pub(super) fn secure(tls: TlsStream<TcpStream>) -> Self {
        Self { stream: Stream::Tls(Box::new(tls)), requests: 0 }
    }

    /// Whether the broker neither hung up nor said something unasked.
    pub(super) fn is_usable(&self) -> bool {
        let tcp = match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        };
        tcp.peek(&mut [0]).now_or_never().is_none()
    }

    /// Sends a request and reads its answer. Dropped in between, the connection must not be used again.
    pub(super) async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, KafkaError> {
        self.requests = self.requests.wrapping_add(1);
        let mut out = BytesMut::new();
        out.put_i32(0);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.requests)
            .with_client_id(Some(StrBytes::from_static_str("testmesh")));
        let broken =
            |error: &dyn std::fmt::Display| KafkaError::Broken(format!("a request cannot be written: {error}"));
        header.encode(&mut out, R::header_version(version)).map_err(|error| broken(&error))?;
        request.encode(&mut out, version).map_err(|error| broken(&error))?;
        let length = u32::try_from(out.len() - 4).map_err(|error| broken(&error))?;
        out[..4].copy_from_slice(&length.to_be_bytes());
        let mut answer = self.exchange(&out).await.map_err(|error| KafkaError::Broken(chain(&error)))?;
        let garbage =
            |error: &dyn std::fmt::Display| KafkaError::Broken(format!("an answer that is not Kafka's: {error}"));
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version))
            .map_err(|error| garbage(&error))?;
        if header.correlation_id != self.requests {
            return Err(garbage(&"it belongs to another request"));
        }
        R::Response::decode(&mut answer, version).map_err(|error| garbage(&error))
    }

    async fn exchange(&mut self, out: &[u8]) -> std::io::Result<Bytes> {
        match &mut self.stream {
            Stream::Plain(tcp) => {
                tcp.write_all(out).await?;
                read(tcp).await
            }
            Stream::Tls(tls) => {
                tls.write_all(out).await?;
                tls.flush().await?;
                read(tls).await
            }
        }
    }
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = usize::try_from((&length[..]).get_u32()).unwrap_or(usize::MAX);
    if length > ANSWER_LIMIT {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("an answer of {length} bytes")));
    }
    let mut answer = BytesMut::zeroed(length);
    stream.read_exact(&mut answer).await?;
    Ok(answer.freeze())
}
