//! `kafka_producer`: sends a message and waits until the brokers have it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use indexmap::IndexMap;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};
use tokio::time::{Instant, timeout_at};

use super::kafka::registry::{self, Encoder, Part};
use super::kafka::{self, Kafka, KafkaError, Partitions};
use super::messages;
use super::tls;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::{ActionContext, Resolved};
use crate::record::ErrorKind;
use crate::units::show_duration;
use crate::value::Value;

/// A version that every broker from 2.3 to 4.x speaks.
const PRODUCE_VERSION: i16 = 7;
/// How long to wait before asking who leads the partition now.
const MOVED: Duration = Duration::from_millis(100);

static SPEC: ActionSpec = ActionSpec {
    name: "kafka_producer",
    aliases: &["kafka_publish", "kafka_produce", "kafka.produce", "kafka.publish"],
    summary: "Sends a message to a Kafka topic.",
    description: "The step ends when all in-sync replicas have the message. With a `key` the partition is the one that the \
                  Java client takes; without one any.\n\n\
                  With `schema_registry`, the message is written by the latest schema of `<topic>-value`, or by the one that \
                  `value_schema` names or brings: Avro, Protobuf or JSON Schema. What does not fit the schema is not sent; \
                  the error says where in the value it is. Dates and times are texts, bytes are base64, and a branch of an \
                  Avro union is found by the value or named (`{string: x}`).",
    config: &[
        kafka::BROKERS,
        kafka::TOPIC,
        Field {
            name: "payload",
            aliases: &["value", "message", "body"],
            kind: Kind::Any,
            required: false,
            default: None,
            doc: "The message: a map or list is sent as JSON, text as it is; null or nothing is a tombstone.",
        },
        Field { name: "key", aliases: &[], kind: Kind::Any, required: false, default: None, doc: "The key." },
        Field {
            name: "headers",
            aliases: &[],
            kind: Kind::Map(&Kind::Any),
            required: false,
            default: None,
            doc: "Headers of the message.",
        },
        Field {
            name: "partition",
            aliases: &[],
            kind: Kind::Integer { min: 0, max: 1_000_000 },
            required: false,
            default: None,
            doc: "The partition, instead of the one that the key gives.",
        },
        Field {
            name: "compression",
            aliases: &[],
            kind: Kind::Choice(&["none", "gzip", "snappy", "lz4", "zstd"]),
            required: false,
            default: Some("none"),
            doc: "How the message is compressed.",
        },
        registry::REGISTRY,
        registry::WRITTEN_VALUE_FORMAT,
        registry::VALUE_SCHEMA,
        registry::WRITTEN_KEY_FORMAT,
        registry::KEY_SCHEMA,
        kafka::AUTH,
        kafka::TLS,
        kafka::VERIFY_TLS,
        tls::CA_CERT,
        tls::CLIENT_CERT,
        tls::CLIENT_KEY,
        tls::SERVER_NAME,
        Field {
            name: "timeout",
            aliases: &[],
            kind: Kind::Duration { zero: false },
            required: false,
            default: Some("30s"),
            doc: "The time for asking the registry, connecting, finding the partition and sending together.",
        },
    ],
    open_config: false,
    result: &[
        ResultField { name: "topic", kind: "string", doc: "The topic." },
        ResultField { name: "partition", kind: "integer", doc: "The partition that has the message." },
        ResultField { name: "offset", kind: "integer", doc: "Its place there." },
        ResultField { name: "timestamp", kind: "integer", doc: "Its time, in milliseconds since 1970." },
        ResultField {
            name: "value_schema",
            kind: "map",
            doc: "With a registry: `id`, `subject`, `version` and `format` of the message's schema.",
        },
        ResultField { name: "key_schema", kind: "map", doc: "The same of the key's." },
    ],
    open_result: false,
    reserved: &["topic", "partition", "offset", "timestamp"],
    examples: &[
        Example {
            title: "An event with a key and a header",
            yaml: "- action: kafka_producer\n  config:\n    brokers: localhost:9092\n    topic: user.created\n    key: \"42\"\n    \
               headers: {source: test}\n    payload: {id: 42, name: Ada}\n",
        },
        Example {
            title: "An event with a schema in a registry",
            yaml: "- action: kafka_producer\n  config:\n    brokers: localhost:9092\n    topic: orders\n    schema_registry:\n      \
                   url: http://localhost:8081\n      username: tester\n      password: ${REGISTRY_PASSWORD:none}\n    payload: {id: 42, \
                   customer: Ada, total: 12.50}\n  assert:\n    - value_schema.version >= 1\n",
        },
        Example {
            title: "An event with a schema of its own, registered where it is not yet",
            yaml: "- action: kafka_producer\n  config:\n    brokers: localhost:9092\n    topic: orders\n    schema_registry: {url: \
                   http://localhost:8081}\n    value_format: avro\n    value_schema:\n      auto_register: true\n      schema:\n        \
                   type: record\n        name: Order\n        fields:\n          - {name: id, type: long}\n          - {name: \
                   placed_at, type: {type: long, logicalType: timestamp-millis}}\n    payload: {id: 42, placed_at: \
                   \"2026-01-02T03:04:05Z\"}\n",
        },
    ],
};

/// The action.
pub(crate) struct KafkaProducer;

#[async_trait]
impl Action for KafkaProducer {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let kafka = Kafka::of(cx, &config).await?;
        let mut message = Message::read(cx, &config)?;
        let encoder = Encoder::read(cx, &config, &message.topic).await?;
        let limit = config.duration("timeout")?.unwrap_or(Duration::from_secs(30));
        let request = Value::map([
            ("brokers", Value::Text(kafka.cluster.shown())),
            ("topic", Value::Text(message.topic.clone())),
            ("key", message.key.clone()),
            ("payload", message.payload.clone()),
        ]);
        let until = Instant::now() + limit;
        let written = match &encoder {
            None => Ok(()),
            Some(encoder) => timeout_at(until, Box::pin(message.encode(encoder))).await.unwrap_or_else(|_| {
                let text = format!("schema registry `{}`: no answer within {}", encoder.server(), show_duration(limit));
                Err(ActionError::new(ErrorKind::Timeout, text))
            }),
        };
        let partial = |error| {
            let partial = ActionResult { request: request.clone().into(), ..ActionResult::default() };
            ActionError { partial: Some(Box::new(partial)), ..error }
        };
        written.map_err(partial)?;
        let error = match timeout_at(until, message.send(&kafka)).await {
            Ok(Ok(result)) => {
                let primary = Some(message.payload.clone());
                return Ok(ActionResult { request: request.into(), response: result.clone().into(), result, primary });
            }
            Ok(Err(error)) => error.into_action_error(&kafka.cluster),
            Err(_) => {
                let shown = kafka.cluster.shown();
                let message = format!("`{shown}`: not sent within {}", show_duration(limit));
                ActionError::new(ErrorKind::Timeout, message)
            }
        };
        Err(partial(error))
    }
}

struct Message {
    topic: ByteString,
    key: Value,
    payload: Value,
    record: Record,
    partition: Option<i32>,
    compression: Compression,
    /// The schemas of its parts, for the result.
    schemas: Vec<(&'static str, Value)>,
}

impl Message {
    fn read(cx: &ActionContext<'_>, config: &Resolved) -> Result<Self, ActionError> {
        let anything = |key| config.value(key).cloned().unwrap_or_default();
        let (key, payload) = (anything("key"), anything("payload"));
        let headers: IndexMap<StrBytes, Option<Bytes>> = config
            .map("headers")?
            .iter()
            .map(|(name, value)| (StrBytes::from_string(name.to_string()), messages::payload(value)))
            .collect();
        let compression = match config.text("compression")?.as_deref() {
            Some("gzip") => Compression::Gzip,
            Some("snappy") => Compression::Snappy,
            Some("lz4") => Compression::Lz4,
            Some("zstd") => Compression::Zstd,
            _ => Compression::None,
        };
        let record = Record {
            transactional: false,
            control: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            timestamp_type: TimestampType::Creation,
            offset: 0,
            sequence: NO_SEQUENCE,
            timestamp: cx.now().timestamp_millis(),
            key: messages::payload(&key),
            value: messages::payload(&payload),
            headers,
        };
        Ok(Self {
            topic: config.required_text("topic")?,
            key,
            payload,
            record,
            partition: config.integer("partition")?.map(|number| i32::try_from(number).unwrap_or(i32::MAX)),
            compression,
            schemas: Vec::new(),
        })
    }

    /// Writes its parts by their schemas.
    async fn encode(&mut self, encoder: &Encoder) -> Result<(), ActionError> {
        if let Some(key) = encoder.encode(Part::Key, &self.key).await? {
            self.record.key = Some(key.bytes);
            self.schemas.push(("key_schema", key.schema));
        }
        if let Some(value) = encoder.encode(Part::Value, &self.payload).await? {
            self.record.value = Some(value.bytes);
            self.schemas.push(("value_schema", value.schema));
        }
        Ok(())
    }

    async fn send(&self, kafka: &Kafka) -> Result<Value, KafkaError> {
        let mut records = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: self.compression };
        RecordBatchEncoder::encode(&mut records, [&self.record], &options)
            .map_err(|error| KafkaError::Config(format!("the message cannot be written: {error}")))?;
        let records = records.freeze();
        loop {
            let partitions = kafka.partitions(&self.topic).await?;
            let partition = self.partition_of(&partitions)?;
            let leader = partitions.leaders.iter().find(|(number, _)| *number == partition);
            let Some((_, (host, port))) = leader else {
                if partitions.remembered {
                    // It may have been added meanwhile.
                    kafka.forget(&self.topic);
                    continue;
                }
                let (topic, count) = (&self.topic, partitions.leaders.len());
                return Err(KafkaError::Config(format!("`partition` is {partition}, and `{topic}` has {count}")));
            };
            match self.produce(kafka, (host, *port), partition, &records).await {
                Err(KafkaError::Unreachable(_)) if partitions.remembered => kafka.forget(&self.topic),
                Err(KafkaError::Moved(_)) => {
                    kafka.forget(&self.topic);
                    tokio::time::sleep(MOVED).await;
                }
                outcome => return outcome,
            }
        }
    }

    fn partition_of(&self, partitions: &Partitions) -> Result<i32, KafkaError> {
        let numbers: Vec<i32> = partitions.leaders.iter().map(|(number, _)| *number).collect();
        let at = match (self.partition, &self.record.key) {
            (Some(partition), _) => return Ok(partition),
            (None, Some(key)) => usize::try_from(murmur2(key) & 0x7fff_ffff).unwrap_or(0) % numbers.len(),
            (None, None) => rand::random_range(0..numbers.len()),
        };
        numbers.get(at).copied().ok_or_else(|| KafkaError::Broken(format!("`{}` has no partition", self.topic)))
    }

    async fn produce(
        &self,
        kafka: &Kafka,
        (host, port): (&str, u16),
        partition: i32,
        records: &Bytes,
    ) -> Result<Value, KafkaError> {
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(records.clone()));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string(self.topic.to_string())))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
        let answer = kafka.ask(host, port, &request, PRODUCE_VERSION).await?;
        let stored = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        let stored = stored.ok_or_else(|| KafkaError::Broken("the broker's answer is empty".to_owned()))?;
        if let Some(error) = KafkaError::of(stored.error_code, &format!("topic `{}`", self.topic)) {
            return Err(error);
        }
        let appended = stored.log_append_time_ms;
        let stored = [
            ("topic", Value::Text(self.topic.clone())),
            ("partition", Value::Int(partition.into())),
            ("offset", Value::Int(stored.base_offset)),
            ("timestamp", Value::Int(if appended < 0 { self.record.timestamp } else { appended })),
        ];
        Ok(Value::map(stored.into_iter().chain(self.schemas.iter().cloned())))
    }
}

/// The hash that the Java client spreads keys by, so that a message lands where the others with its key are.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the Java client's own test of its `murmur2`.
    #[test]
    fn keys_are_spread_as_the_java_client_does() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }
}
