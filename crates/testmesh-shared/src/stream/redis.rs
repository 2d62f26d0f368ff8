//! Redis Streams (7.0 or newer): one key and one consumer group for a topic, one consumer for a process.
//!
//! Invariants: what Redis says is a hint, so nothing here is retried for long or kept for later; a key is never trimmed
//! by length; an entry is deleted when it is acknowledged; no error and no log line holds a password; a server that does
//! not answer is noticed within two seconds, whatever a caller is ready to wait.

mod link;
mod outlook;
mod reader;
mod reply;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::io::tcp::TcpSettings;
use ::redis::{
    Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, Pipeline, ProtocolVersion, TlsCertificates,
};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Entry, Stream, StreamError, Topic};
use link::Link;
use reader::{Reader, Upkeep};

/// How long Redis may take for anything that does not wait for entries.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Entries that are added in one round trip at most.
const PIPELINE: usize = 1_000;
/// The field that holds the message.
const FIELD: &str = "payload";

/// Where a Redis is, and as whom it is used.
#[derive(Clone)]
pub struct RedisTarget {
    /// `redis://user:password@host:port/database`, or `rediss://` for TLS.
    pub url: String,
    /// What keys start with; the default, an empty text, is `testmesh`.
    pub prefix: String,
    /// This process among the consumers: a name that no other process has, such as its session's id.
    pub consumer: String,
    /// Certificates in PEM that are trusted instead of the system's own.
    pub ca: Option<Vec<u8>>,
    /// A client certificate and its key in PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("RedisTarget")
            .field("prefix", &self.prefix)
            .field("consumer", &self.consumer)
            .finish_non_exhaustive()
    }
}

/// Messages between processes. Clones share its connections: one for each reader that waits, and one for all the rest.
#[derive(Clone)]
pub struct RedisStream {
    inner: Arc<Inner>,
}

struct Inner {
    link: Link,
    names: [Names; 2],
    consumer: String,
    /// Readers that nobody uses at the moment.
    readers: Mutex<Vec<Reader>>,
    /// When each topic is looked after next.
    upkeep: [Mutex<Upkeep>; 2],
}

/// What a topic is called in Redis.
#[derive(Debug)]
struct Names {
    /// Its place among the topics.
    at: usize,
    key: String,
    group: &'static str,
}

impl fmt::Debug for RedisStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStream").field("place", &self.inner.link.place()).finish_non_exhaustive()
    }
}

impl RedisStream {
    /// A stream on the server at `target`. Connections are made when they are needed, and again after they broke.
    ///
    /// # Errors
    /// When the URL or a certificate is not usable.
    pub fn new(target: &RedisTarget) -> Result<Self, StreamError> {
        let (client, place) = client(target)?;
        let prefix = if target.prefix.is_empty() { "testmesh" } else { &target.prefix };
        let names = [
            Names { at: 0, key: format!("{prefix}:run-flow"), group: "runners" },
            Names { at: 1, key: format!("{prefix}:run-finished"), group: "schedulers" },
        ];
        let inner = Inner {
            link: Link::new(client, place),
            names,
            consumer: target.consumer.clone(),
            readers: Mutex::default(),
            upkeep: [Mutex::default(), Mutex::default()],
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn names(&self, topic: Topic) -> &Names {
        match topic {
            Topic::RunFlow => &self.inner.names[0],
            Topic::RunFinished => &self.inner.names[1],
        }
    }

    /// Adds or removes entries by a pipeline on the shared connection.
    async fn send(&self, operation: &'static str, pipeline: &Pipeline) -> Result<(), StreamError> {
        let connection = self.inner.link.shared().await.map_err(|reason| StreamError { operation, reason })?;
        let answer = pipeline.exec_async(&mut connection.clone()).await;
        answer.map_err(|error| {
            self.inner.link.discard(&connection);
            self.inner.link.error(operation, &error)
        })
    }
}

/// A client for the URL, and the server and database in words that hold no password.
fn client(target: &RedisTarget) -> Result<(Client, String), StreamError> {
    let unusable = |reason: &str| StreamError { operation: "read the Redis URL", reason: reason.to_owned() };
    let scheme = target.url.split_once("://").map(|(scheme, _)| scheme);
    if !matches!(scheme, Some("redis" | "rediss")) {
        return Err(unusable("it starts with neither `redis://` nor `rediss://`"));
    }
    // What the library says about a URL could quote it.
    let info = target.url.as_str().into_connection_info();
    let info = info.map_err(|_| unusable("it is not `redis://[user:password@]host[:port][/database]`"))?;
    let place = match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, insecure: false, .. } => {
            format!("{host}:{port}/{}", info.redis_settings().db())
        }
        _ => return Err(unusable("certificates are always checked: give the CA instead of `#insecure`")),
    };
    let secure = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    // Replies are read as RESP2 spells them.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
    let info = info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let identity = target.identity.clone();
    let certificates = TlsCertificates {
        client_tls: identity.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key }),
        root_cert: target.ca.clone(),
    };
    let client = if secure { Client::build_with_tls(info, certificates) } else { Client::open(info) };
    let client = client.map_err(|error| StreamError { operation: "set up Redis", reason: error.to_string() })?;
    Ok((client, place))
}

#[async_trait]
impl Stream for RedisStream {
    async fn publish(&self, topic: Topic, payloads: &[String]) -> Result<(), StreamError> {
        let key = &self.names(topic).key;
        for chunk in payloads.chunks(PIPELINE) {
            let mut pipeline = Pipeline::with_capacity(chunk.len());
            // Together: a reader that waits would be given the first alone, and handle the batch in two halves.
            pipeline.atomic();
            for payload in chunk {
                pipeline.cmd("XADD").arg(key).arg("*").arg(FIELD).arg(payload).ignore();
            }
            self.send("publish", &pipeline).await?;
        }
        Ok(())
    }

    // A dropped read closes its connection. What Redis had sent by then is given to a reader again after `RECLAIM_AFTER`.
    async fn read(&self, topic: Topic, max: usize, wait: Duration) -> Result<Vec<Entry>, StreamError> {
        if max == 0 {
            // Redis takes it for no limit.
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait;
        let inner = &self.inner;
        let idle = inner.readers.lock().pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => {
                Reader::new(inner.link.connect().await.map_err(|reason| StreamError { operation: "read", reason })?)
            }
        };
        let names = self.names(topic);
        let found = reader.read(names, (&inner.consumer, &inner.upkeep[names.at]), max, deadline).await;
        let found = found.map_err(|error| inner.link.error("read", &error))?;
        inner.readers.lock().push(reader);
        Ok(found)
    }

    async fn acknowledge(&self, topic: Topic, ids: &[String]) -> Result<(), StreamError> {
        let names = self.names(topic);
        for chunk in ids.chunks(PIPELINE) {
            self.send("acknowledge", &reader::removal(names, chunk)).await?;
        }
        Ok(())
    }

    async fn under_way(&self, topic: Topic, max: usize) -> Result<Vec<String>, StreamError> {
        const OPERATION: &str = "look at what is under way";
        let link = &self.inner.link;
        let shared = link.shared().await.map_err(|reason| StreamError { operation: OPERATION, reason })?;
        let found = outlook::under_way(&mut shared.clone(), self.names(topic), max).await;
        found.map_err(|error| {
            link.discard(&shared);
            link.error(OPERATION, &error)
        })
    }

    async fn ping(&self) -> Result<(), StreamError> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("PING").ignore();
        self.send("ping", &pipeline).await
    }
}

#[cfg(test)]
mod tests;
