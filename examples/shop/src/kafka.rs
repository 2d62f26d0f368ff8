//! As much of Kafka's protocol as the shop needs: topics, producing, and reading by place, without consumer groups.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteRecordsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest,
    ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable as _, Encodable as _, HeaderVersion as _, Request, StrBytes};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record, RecordBatchDecoder,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Most time that a broker gets for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is asked who leads the partitions of a topic, and the pause in between.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// How long a broker holds a fetch back for the next message, in milliseconds.
const WAIT_MS: i32 = 500;
/// Most bytes of one answer.
const ANSWER_LIMIT: usize = 64 << 20;
/// The protocol's word for the beginning of a partition.
const EARLIEST: i64 = -2;

/// Why Kafka did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KafkaError {
    /// No connection, or a broken one.
    #[error("a broker cannot be reached")]
    Io(#[from] io::Error),
    /// An answer that cannot be read, or lacks what was asked for.
    #[error("an answer makes no sense: {0}")]
    Garbage(String),
    /// What the broker says.
    #[error("{0}")]
    Refused(ResponseError),
}

fn check(code: i16) -> Result<(), KafkaError> {
    ResponseError::try_from_code(code).map_or(Ok(()), |error| Err(KafkaError::Refused(error)))
}

/// A partition of a topic.
pub(crate) type Partition = (String, i32);

/// A message of a topic.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) partition: Partition,
    pub(crate) offset: i64,
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    pub(crate) value: Bytes,
}

/// The brokers, and a connection to each that was asked.
pub(crate) struct Kafka {
    brokers: Vec<String>,
    links: HashMap<String, Link>,
    /// Who leads which partition, as far as it is known.
    leaders: HashMap<Partition, String>,
}

impl Kafka {
    pub(crate) fn new(brokers: &[String]) -> Self {
        Self { brokers: brokers.to_vec(), links: HashMap::new(), leaders: HashMap::new() }
    }

    /// Forgets connections and leaders: what follows an error.
    pub(crate) fn start_over(&mut self) {
        self.links.clear();
        self.leaders.clear();
    }

    /// Makes the topics that are not there, with one partition each so that their messages have one order.
    pub(crate) async fn create_topics(&mut self, topics: &[&str]) -> Result<(), KafkaError> {
        let make = |topic: &&str| {
            CreatableTopic::default().with_name(name(topic)).with_num_partitions(1).with_replication_factor(-1)
        };
        let request =
            CreateTopicsRequest::default().with_topics(topics.iter().map(make).collect()).with_timeout_ms(30_000);
        let controller = self.controller().await?;
        let answer = self.ask(&controller, &request, 5).await?;
        for topic in &answer.topics {
            match check(topic.error_code) {
                Ok(()) | Err(KafkaError::Refused(ResponseError::TopicAlreadyExists)) => {}
                Err(error) => return Err(error),
            }
        }
        self.settle(topics).await
    }

    /// Waits until the leaders of the topics' partitions answer for them: just made, they do not at once.
    async fn settle(&mut self, topics: &[&str]) -> Result<(), KafkaError> {
        let mut attempts = 1;
        for partition in self.partitions(topics).await? {
            while let Err(error) = self.beginning(&partition).await {
                match error {
                    KafkaError::Refused(refusal) if refusal.is_retriable() && attempts < ATTEMPTS => {}
                    error => return Err(error),
                }
                attempts += 1;
                self.leaders.clear();
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// The partitions of the topics. Those that were just made have no leader for a moment, which is waited for.
    pub(crate) async fn partitions(&mut self, topics: &[&str]) -> Result<Vec<Partition>, KafkaError> {
        let mut attempts = 1;
        loop {
            match self.partitions_now(topics).await {
                Err(KafkaError::Refused(error)) if error.is_retriable() && attempts < ATTEMPTS => {}
                outcome => return outcome,
            }
            tokio::time::sleep(PAUSE).await;
            attempts += 1;
        }
    }

    async fn partitions_now(&mut self, topics: &[&str]) -> Result<Vec<Partition>, KafkaError> {
        let asked = topics.iter().map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic))));
        let request = MetadataRequest::default().with_topics(Some(asked.collect()));
        let first = self.reachable().await?;
        let answer = self.ask(&first, &request, 8).await?;
        let addresses: HashMap<BrokerId, String> = answer
            .brokers
            .iter()
            .map(|broker| (broker.node_id, format!("{}:{}", broker.host.as_str(), broker.port)))
            .collect();
        let mut found = Vec::new();
        for topic in &answer.topics {
            check(topic.error_code)?;
            let topic_name = topic.name.as_ref().map_or("", |name| name.as_str());
            for partition in &topic.partitions {
                let leader = addresses.get(&partition.leader_id);
                let leader = leader.ok_or(KafkaError::Refused(ResponseError::LeaderNotAvailable))?;
                let key = (topic_name.to_owned(), partition.partition_index);
                self.leaders.insert(key.clone(), leader.clone());
                found.push(key);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Sends a message to the topic's first partition; done when all in-sync replicas have it.
    pub(crate) async fn send(&mut self, topic: &str, record: &Record) -> Result<(), KafkaError> {
        let mut records = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut records, [record], &options)
            .map_err(|error| KafkaError::Garbage(error.to_string()))?;
        let leader = self.leader(&(topic.to_owned(), 0)).await?;
        let data = PartitionProduceData::default().with_index(0).with_records(Some(records.freeze()));
        let data = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![data]);
        let answer = self.ask(&leader, &request, 7).await?;
        let stored = answer.responses.iter().flat_map(|topic| &topic.partition_responses).next();
        check(stored.ok_or_else(|| KafkaError::Garbage("it is empty".to_owned()))?.error_code)
    }

    /// Where a partition begins now.
    pub(crate) async fn beginning(&mut self, partition: &Partition) -> Result<i64, KafkaError> {
        let leader = self.leader(partition).await?;
        let asked = ListOffsetsPartition::default().with_partition_index(partition.1).with_timestamp(EARLIEST);
        let asked = ListOffsetsTopic::default().with_name(name(&partition.0)).with_partitions(vec![asked]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
        let answer = self.ask(&leader, &request, 4).await?;
        let found = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
        let found = found.ok_or_else(|| KafkaError::Garbage("it is empty".to_owned()))?;
        check(found.error_code)?;
        Ok(found.offset)
    }

    /// The messages from these places on, at most half a second away. A place that is not there any more is named.
    pub(crate) async fn fetch(
        &mut self,
        places: &HashMap<Partition, i64>,
    ) -> Result<(Vec<Message>, Vec<Partition>), KafkaError> {
        let (mut messages, mut gone) = (Vec::new(), Vec::new());
        let mut by_leader: HashMap<String, Vec<(&Partition, i64)>> = HashMap::new();
        for (partition, place) in places {
            by_leader.entry(self.leader(partition).await?).or_default().push((partition, *place));
        }
        for (leader, wanted) in by_leader {
            let answer = self.ask(&leader, &fetch_request(&wanted), 11).await?;
            check(answer.error_code)?;
            for topic in &answer.responses {
                for found in &topic.partitions {
                    let partition = (topic.topic.as_str().to_owned(), found.partition_index);
                    match check(found.error_code) {
                        Ok(()) => {}
                        Err(KafkaError::Refused(ResponseError::OffsetOutOfRange)) => {
                            gone.push(partition);
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                    let from = places.get(&partition).copied().unwrap_or(0);
                    decode(&partition, found.records.clone().unwrap_or_default(), from, &mut messages)?;
                }
            }
        }
        Ok((messages, gone))
    }

    /// Removes every message of the topics.
    pub(crate) async fn clear(&mut self, topics: &[&str]) -> Result<(), KafkaError> {
        for partition in self.partitions(topics).await? {
            let leader = self.leader(&partition).await?;
            // -1 is the end as it is now.
            let asked = DeleteRecordsPartition::default().with_partition_index(partition.1).with_offset(-1);
            let asked = DeleteRecordsTopic::default().with_name(name(&partition.0)).with_partitions(vec![asked]);
            let request = DeleteRecordsRequest::default().with_topics(vec![asked]).with_timeout_ms(30_000);
            let answer = self.ask(&leader, &request, 1).await?;
            for topic in &answer.topics {
                for partition in &topic.partitions {
                    check(partition.error_code)?;
                }
            }
        }
        Ok(())
    }

    async fn leader(&mut self, partition: &Partition) -> Result<String, KafkaError> {
        if !self.leaders.contains_key(partition) {
            self.partitions(&[&partition.0]).await?;
        }
        self.leaders.get(partition).cloned().ok_or(KafkaError::Refused(ResponseError::UnknownTopicOrPartition))
    }

    /// The first broker that can be reached.
    async fn reachable(&mut self) -> Result<String, KafkaError> {
        let mut last = None;
        for broker in self.brokers.clone() {
            match self.link(&broker).await {
                Ok(_) => return Ok(broker),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| KafkaError::Garbage("no broker is named".to_owned())))
    }

    async fn controller(&mut self) -> Result<String, KafkaError> {
        let first = self.reachable().await?;
        let answer = self.ask(&first, &MetadataRequest::default().with_topics(Some(Vec::new())), 8).await?;
        let controller = answer.brokers.iter().find(|broker| broker.node_id == answer.controller_id);
        let controller = controller.ok_or(KafkaError::Refused(ResponseError::LeaderNotAvailable))?;
        Ok(format!("{}:{}", controller.host.as_str(), controller.port))
    }

    async fn link(&mut self, address: &str) -> Result<&mut Link, KafkaError> {
        if !self.links.contains_key(address) {
            let stream =
                tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await.map_err(io::Error::from)??;
            stream.set_nodelay(true)?;
            self.links.insert(address.to_owned(), Link { stream, requests: 0 });
        }
        self.links.get_mut(address).ok_or_else(|| KafkaError::Garbage("no connection".to_owned()))
    }

    async fn ask<R: Request>(&mut self, address: &str, request: &R, version: i16) -> Result<R::Response, KafkaError> {
        let link = self.link(address).await?;
        let answer = tokio::time::timeout(PATIENCE, link.ask(request, version)).await;
        answer.unwrap_or_else(|elapsed| Err(KafkaError::Io(elapsed.into())))
    }
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

fn fetch_request(wanted: &[(&Partition, i64)]) -> FetchRequest {
    let topics = wanted.iter().map(|((topic, partition), place)| {
        let asked = FetchPartition::default().with_partition(*partition).with_fetch_offset(*place);
        FetchTopic::default().with_topic(name(topic)).with_partitions(vec![asked.with_partition_max_bytes(1 << 20)])
    });
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(WAIT_MS)
        .with_min_bytes(1)
        .with_max_bytes(16 << 20)
        .with_topics(topics.collect())
}

/// Adds the messages of whole batches; one that was cut at the end comes again.
fn decode(partition: &Partition, mut bytes: Bytes, from: i64, into: &mut Vec<Message>) -> Result<(), KafkaError> {
    /// Place and length of a batch stand before all else in it.
    const HEAD: usize = 12;
    while let Some(length) = bytes.get(8..HEAD) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        let whole = HEAD.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        if bytes.len() < whole {
            break;
        }
        let batch = RecordBatchDecoder::decode(&mut bytes.split_to(whole));
        let batch = batch.map_err(|error| KafkaError::Garbage(error.to_string()))?;
        into.extend(batch.records.into_iter().filter(|record| record.offset >= from).map(|record| Message {
            partition: partition.clone(),
            offset: record.offset,
            timestamp: record.timestamp,
            value: record.value.unwrap_or_default(),
        }));
    }
    Ok(())
}

/// A record as it is sent.
pub(crate) fn record(key: &str, value: &str, timestamp: i64) -> Record {
    Record {
        transactional: false,
        control: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: NO_SEQUENCE,
        timestamp,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: [("content-type", "application/json")]
            .map(|(name, value)| (StrBytes::from_static_str(name), Some(Bytes::from_static(value.as_bytes()))))
            .into_iter()
            .collect(),
    }
}

/// A connection to one broker.
struct Link {
    stream: TcpStream,
    requests: i32,
}

impl Link {
    /// Sends a request and reads its answer. After an error, or dropped in between, it is of no use.
    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, KafkaError> {
        let garbage = |error: &dyn std::fmt::Display| KafkaError::Garbage(error.to_string());
        self.requests = self.requests.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.requests)
            .with_client_id(Some(StrBytes::from_static_str("demo-shop")));
        let mut body = BytesMut::new();
        header.encode(&mut body, R::header_version(version)).map_err(|error| garbage(&error))?;
        request.encode(&mut body, version).map_err(|error| garbage(&error))?;
        let mut out = BytesMut::with_capacity(body.len() + 4);
        out.put_u32(u32::try_from(body.len()).map_err(|error| garbage(&error))?);
        out.extend_from_slice(&body);
        self.stream.write_all(&out).await?;
        let length = usize::try_from(self.stream.read_u32().await?).unwrap_or(usize::MAX);
        if length > ANSWER_LIMIT {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("an answer of {length} bytes")).into());
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await?;
        let mut answer = Bytes::from(answer);
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version));
        if header.map_err(|error| garbage(&error))?.correlation_id != self.requests {
            return Err(KafkaError::Garbage("it belongs to another request".to_owned()));
        }
        R::Response::decode(&mut answer, version).map_err(|error| garbage(&error))
    }
}
