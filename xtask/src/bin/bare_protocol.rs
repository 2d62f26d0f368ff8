//! The limits that `cargo xtask bench protocols` measures against: the same calls by a client library alone.
//!
//! `bare_protocol postgres URL N` asks for one row N times; `redis URL N` gets one key N times; `kafka ADDRESS TOPIC N`
//! sends a message and reads it back, N times; each after the one before, over one connection.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{BrokerId, FetchRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record, RecordBatchDecoder,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use sqlx::{Connection, PgConnection, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match arguments[..] {
        ["postgres", url, count] => runtime.block_on(postgres(url, count.parse()?)),
        ["redis", url, count] => runtime.block_on(redis(url, count.parse()?)),
        ["kafka", address, topic, count] => runtime.block_on(kafka(address, topic, count.parse()?)),
        _ => Err("usage: bare_protocol postgres URL N | redis URL N | kafka ADDRESS TOPIC N".into()),
    }
}

async fn postgres(url: &str, count: i64) -> Result<(), AnyError> {
    let mut connection = PgConnection::connect(url).await?;
    for number in 0..count {
        let statement = sqlx::query("select $1::bigint as n, $2::text as name");
        let rows = statement.bind(number).bind("Ada").fetch_all(&mut connection).await?;
        if rows.len() != 1 || rows[0].get::<i64, _>(0) != number {
            return Err("not the row that was asked for".into());
        }
    }
    Ok(connection.close().await?)
}

async fn redis(url: &str, count: usize) -> Result<(), AnyError> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    redis::cmd("SET").arg("bench").arg("Ada").exec_async(&mut connection).await?;
    for _ in 0..count {
        let value: String = redis::cmd("GET").arg("bench").query_async(&mut connection).await?;
        if value != "Ada" {
            return Err("not the value that was set".into());
        }
    }
    Ok(())
}

/// Partition 0 of a topic that is there.
async fn kafka(address: &str, topic: &str, count: usize) -> Result<(), AnyError> {
    let mut broker = Broker { stream: TcpStream::connect(address).await?, requests: 0 };
    broker.stream.set_nodelay(true)?;
    let topic = TopicName(StrBytes::from_string(topic.to_owned()));
    for number in 0..count {
        let key = Bytes::from(format!("bare {number}"));
        let offset = broker.produce(&topic, key.clone()).await?;
        if broker.fetch(&topic, offset).await?.key != Some(key) {
            return Err("not the message that was sent".into());
        }
    }
    Ok(())
}

struct Broker {
    stream: TcpStream,
    requests: i32,
}

impl Broker {
    async fn produce(&mut self, topic: &TopicName, key: Bytes) -> Result<i64, AnyError> {
        let record = Record {
            transactional: false,
            control: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            timestamp_type: TimestampType::Creation,
            offset: 0,
            sequence: NO_SEQUENCE,
            timestamp: i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?,
            key: Some(key),
            value: Some(Bytes::from_static(br#"{"id":42,"name":"Ada"}"#)),
            headers: kafka_protocol::indexmap::IndexMap::new(),
        };
        let mut records = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut records, [&record], &options)?;
        let data = PartitionProduceData::default().with_index(0).with_records(Some(records.freeze()));
        let data = TopicProduceData::default().with_name(topic.clone()).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![data]);
        let answer = self.ask(&request, 7).await?;
        let stored = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        let stored = stored.ok_or("the broker's answer is empty")?;
        if stored.error_code == 0 { Ok(stored.base_offset) } else { Err(format!("error {}", stored.error_code).into()) }
    }

    async fn fetch(&mut self, topic: &TopicName, offset: i64) -> Result<Record, AnyError> {
        let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_topic(topic.clone()).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(5_000)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_isolation_level(1)
            .with_topics(vec![topic]);
        let answer = self.ask(&request, 11).await?;
        let partition = answer.responses.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
        let mut records = partition.and_then(|partition| partition.records).ok_or("no message came")?;
        let set = RecordBatchDecoder::decode(&mut records)?;
        Ok(set.records.into_iter().find(|record| record.offset == offset).ok_or("another message came")?)
    }

    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, AnyError> {
        self.requests += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.requests)
            .with_client_id(Some(StrBytes::from_static_str("bare")));
        let mut out = BytesMut::new();
        out.put_i32(0);
        header.encode(&mut out, R::header_version(version))?;
        request.encode(&mut out, version)?;
        let length = u32::try_from(out.len() - 4)?;
        out[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&out).await?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await?;
        let mut answer = BytesMut::zeroed(usize::try_from((&length[..]).get_u32())?);
        self.stream.read_exact(&mut answer).await?;
        let mut answer = answer.freeze();
        ResponseHeader::decode(&mut answer, R::Response::header_version(version))?;
        Ok(R::Response::decode(&mut answer, version)?)
    }
}
