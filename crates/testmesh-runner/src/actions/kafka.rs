//! What the Kafka actions share: who the brokers are, the connections to them, where partitions live.
//!
//! The messages of the protocol are a library's; sockets are opened by the run's connector, because a broker names others
//! (`advertised.listeners`) that the network policy has to see, too. No consumer group is joined: a test reads every
//! partition from a place in time, and leaves no trace on the brokers.

mod backlog;
mod link;
pub(super) mod registry;
mod sasl;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{BrokerId, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use testmesh_shared::net::{Connector, NetError};
use testmesh_shared::tls::{TlsClient, TlsError, TlsOptions};

pub(super) use self::backlog::{Backlog, Taken};
use self::link::Link;
pub(super) use self::sasl::Credentials;
use super::http_request::chain;
use crate::action::{ActionError, Field, Kind};
use crate::engine::{ActionContext, Resolved};
use crate::files::Files;
use crate::record::ErrorKind;

/// How long to wait before asking again for a topic that has no leader yet.
const NO_LEADER_YET: Duration = Duration::from_millis(100);
/// As long the partitions of a topic are believed to be where they were, so that steps that follow each other ask once.
const TRUSTED: Duration = Duration::from_secs(5);
/// Versions that every broker from 2.3 to 4.x speaks.
const METADATA_VERSION: i16 = 8;

const SASL: Kind = Kind::Object(&[
    Field {
        name: "mechanism",
        aliases: &["type"],
        kind: Kind::Choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
        required: false,
        default: Some("PLAIN"),
        doc: "How the password is proved.",
    },
    Field { name: "username", aliases: &["user"], kind: Kind::Text, required: true, default: None, doc: "The user." },
    Field { name: "password", aliases: &[], kind: Kind::Text, required: true, default: None, doc: "The password." },
]);

pub(super) const BROKERS: Field = Field {
    name: "brokers",
    aliases: &["bootstrap_servers", "broker"],
    kind: Kind::List(&Kind::Text),
    required: true,
    default: None,
    doc: "`host:port` of one or more brokers, as a list or separated by commas. The first that answers names the others.",
};
pub(super) const TOPIC: Field =
    Field { name: "topic", aliases: &[], kind: Kind::Text, required: true, default: None, doc: "The topic." };
pub(super) const AUTH: Field =
    Field { name: "sasl", aliases: &["auth"], kind: SASL, required: false, default: None, doc: "Who asks." };
pub(super) const TLS: Field = Field {
    name: "tls",
    aliases: &["ssl"],
    kind: Kind::Boolean,
    required: false,
    default: Some("false"),
    doc: "Whether connections are made secure.",
};
pub(super) const VERIFY_TLS: Field = Field {
    name: "verify_tls",
    aliases: &[],
    kind: Kind::Boolean,
    required: false,
    default: Some("true"),
    doc: "Whether the brokers' certificates are checked.",
};

/// Brokers, and who asks them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Cluster {
    brokers: Vec<Address>,
    credentials: Option<Credentials>,
    tls: bool,
    options: TlsOptions,
}

impl Cluster {
    /// Reads it from the configuration.
    pub(super) async fn read(config: &Resolved, files: &Files) -> Result<Self, ActionError> {
        let mut brokers = Vec::new();
        for item in config.list("brokers")? {
            let text = item.to_text().unwrap_or_default();
            for broker in text.split(',').map(str::trim).filter(|broker| !broker.is_empty()) {
                brokers.push(address(broker)?);
            }
        }
        if brokers.is_empty() {
            return Err(ActionError::new(ErrorKind::Config, "`brokers` names no broker"));
        }
        let tls = config.boolean("tls")?.unwrap_or(false);
        let options = super::tls::options(config, files).await?;
        super::tls::needed(&options, tls, "set `tls: true`")?;
        Ok(Self {
            brokers,
            credentials: config.section("sasl")?.map(|sasl| Credentials::read(&sasl)).transpose()?,
            tls,
            options,
        })
    }

    /// What may be shown of it.
    pub(super) fn shown(&self) -> ByteString {
        let brokers: Vec<String> = self.brokers.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        format!("kafka://{}", brokers.join(",")).into()
    }
}

fn address(text: &str) -> Result<Address, ActionError> {
    let wrong = || ActionError::new(ErrorKind::Config, format!("`brokers` has `{text}`: it takes `host:port`"));
    let text_only = text.split_once("://").map_or(text, |(_, rest)| rest);
    match text_only.rsplit_once(':') {
        Some((host, port)) => Ok((host.trim_matches(['[', ']']).to_owned(), port.parse().map_err(|_| wrong())?)),
        None => Ok((text_only.to_owned(), 9092)),
    }
}

/// Why Kafka did not do it.
#[derive(Debug)]
pub(super) enum KafkaError {
    /// A broker refused.
    Refused(String),
    /// A broker does not lead the partition any more, or not yet.
    Moved(String),
    /// There is no connection, and nothing was sent.
    Unreachable(String),
    /// The connection broke.
    Broken(String),
    Denied(String),
    Config(String),
}

impl KafkaError {
    /// What an error code means; none when it is 0.
    pub(super) fn of(code: i16, what: &str) -> Option<Self> {
        let error = ResponseError::try_from_code(code)?;
        let message = format!("{what}: {error}");
        Some(if error.is_retriable() { Self::Moved(message) } else { Self::Refused(message) })
    }

    pub(super) fn into_action_error(self, cluster: &Cluster) -> ActionError {
        let (kind, message) = match self {
            KafkaError::Refused(message) | KafkaError::Moved(message) => (ErrorKind::Protocol, message),
            KafkaError::Unreachable(message) | KafkaError::Broken(message) => (ErrorKind::Connection, message),
            KafkaError::Denied(message) => (ErrorKind::Policy, message),
            KafkaError::Config(message) => (ErrorKind::Config, message),
        };
        ActionError::new(kind, format!("`{}`: {message}", cluster.shown()))
    }
}

impl From<NetError> for KafkaError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Denied { .. } => Self::Denied(error.to_string()),
            NetError::Resolve { .. } | NetError::Connect { .. } => Self::Unreachable(chain(&error)),
        }
    }
}

impl From<TlsError> for KafkaError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Settings { .. } => Self::Config(error.to_string()),
            TlsError::Handshake { .. } => Self::Broken(chain(&error)),
        }
    }
}

/// What one run has of its clusters.
#[derive(Default)]
pub(super) struct Links {
    /// Connections that no step uses.
    idle: Mutex<HashMap<(Cluster, String, u16), Vec<Link>>>,
    /// The topics that were asked for, and when.
    topics: Mutex<HashMap<(Cluster, String), (Instant, Partitions)>>,
    tls: TlsClient,
}

/// A broker: host and port.
type Address = (String, u16);

/// Who leads each partition of a topic, by its number.
#[derive(Clone)]
pub(super) struct Partitions {
    /// In the order of their numbers.
    pub(super) leaders: Vec<(i32, Address)>,
    /// Whether this was not just asked for: a leader that is not there may have been replaced.
    pub(super) remembered: bool,
    /// What steps have read of it since it was asked for.
    pub(super) backlog: Arc<Mutex<Backlog>>,
}

/// A cluster that a step asks.
pub(super) struct Kafka {
    connector: Connector,
    links: Arc<Links>,
    pub(super) cluster: Cluster,
}

impl Kafka {
    pub(super) async fn of(cx: &ActionContext<'_>, config: &Resolved) -> Result<Self, ActionError> {
        Ok(Self {
            connector: cx.connector().clone(),
            links: cx.resource(Links::default),
            cluster: Cluster::read(config, cx.files()).await?,
        })
    }

    /// Where the partitions of a topic are. A topic that is not there is made where the brokers allow that, and waited
    /// for: the step's time-out is the limit.
    pub(super) async fn partitions(&self, topic: &str) -> Result<Partitions, KafkaError> {
        let key = (self.cluster.clone(), topic.to_owned());
        let known = self.links.topics.lock().get(&key).cloned();
        if let Some((since, partitions)) = known
            && since.elapsed() < TRUSTED
        {
            return Ok(partitions);
        }
        // On the heap: rare and large, and every step would have to make room for it.
        let partitions = Box::pin(self.ask_partitions(topic)).await?;
        let remembered = Partitions { remembered: true, ..partitions.clone() };
        self.links.topics.lock().insert(key, (Instant::now(), remembered));
        Ok(partitions)
    }

    /// The partitions of a topic are asked for again.
    pub(super) fn forget(&self, topic: &str) {
        self.links.topics.lock().remove(&(self.cluster.clone(), topic.to_owned()));
    }

    async fn ask_partitions(&self, topic: &str) -> Result<Partitions, KafkaError> {
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        loop {
            let asked = MetadataRequestTopic::default().with_name(Some(name.clone()));
            let request =
                MetadataRequest::default().with_topics(Some(vec![asked])).with_allow_auto_topic_creation(true);
            let answer = self.ask_any(&request).await?;
            let brokers: HashMap<BrokerId, Address> = answer
                .brokers
                .iter()
                .map(|broker| (broker.node_id, (broker.host.to_string(), u16::try_from(broker.port).unwrap_or(0))))
                .collect();
            let found = answer.topics.into_iter().next();
            let found =
                found.ok_or_else(|| KafkaError::Broken(format!("the brokers do not know the topic `{topic}`")))?;
            match leaders(&found, &brokers, topic) {
                Ok(Some(leaders)) => return Ok(Partitions { leaders, remembered: false, backlog: Arc::default() }),
                Ok(None) | Err(KafkaError::Moved(_)) => tokio::time::sleep(NO_LEADER_YET).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn ask_any(
        &self,
        request: &MetadataRequest,
    ) -> Result<kafka_protocol::messages::MetadataResponse, KafkaError> {
        let mut last = None;
        for (host, port) in &self.cluster.brokers {
            match self.ask(host, *port, request, METADATA_VERSION).await {
                Err(error @ (KafkaError::Unreachable(_) | KafkaError::Broken(_))) => last = Some(error),
                answer => return answer,
            }
        }
        Err(last.unwrap_or_else(|| KafkaError::Config("`brokers` names no broker".to_owned())))
    }

    /// Asks one broker, over a connection that this run has to it, or a new one.
    pub(super) async fn ask<R: kafka_protocol::protocol::Request>(
        &self,
        host: &str,
        port: u16,
        request: &R,
        version: i16,
    ) -> Result<R::Response, KafkaError> {
        let key = (self.cluster.clone(), host.to_owned(), port);
        let kept = loop {
            let idle = self.links.idle.lock().get_mut(&key).and_then(Vec::pop);
            match idle {
                Some(link) if !link.is_usable() => {}
                other => break other,
            }
        };
        let mut link = match kept {
            Some(link) => link,
            None => Box::pin(self.open(host, port)).await?,
        };
        let answer = link.ask(request, version).await?;
        self.links.idle.lock().entry(key).or_default().push(link);
        Ok(answer)
    }

    async fn open(&self, host: &str, port: u16) -> Result<Link, KafkaError> {
        let tcp = self.connector.tcp(host, port).await?.stream;
        let mut link = if self.cluster.tls {
            Link::secure(self.links.tls.handshake(tcp, host, &self.cluster.options, &[]).await?)
        } else {
            Link::plain(tcp)
        };
        if let Some(credentials) = &self.cluster.credentials {
            credentials.prove(&mut link).await?;
        }
        Ok(link)
    }
}

/// The leaders of a topic's partitions; none while one of them is being chosen.
fn leaders(
    found: &MetadataResponseTopic,
    brokers: &HashMap<BrokerId, Address>,
    topic: &str,
) -> Result<Option<Vec<(i32, Address)>>, KafkaError> {
    if let Some(error) = KafkaError::of(found.error_code, &format!("topic `{topic}`")) {
        return Err(error);
    }
    let mut leaders = Vec::with_capacity(found.partitions.len());
    for partition in &found.partitions {
        let Some(broker) = brokers.get(&partition.leader_id) else { return Ok(None) };
        leaders.push((partition.partition_index, broker.clone()));
    }
    leaders.sort_by_key(|(number, _)| *number);
    Ok((!leaders.is_empty()).then_some(leaders))
}
