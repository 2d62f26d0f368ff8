//! `kafka_consumer`: waits for messages of a topic.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{Record, RecordBatchDecoder};
use tokio::time::Instant;

use super::kafka::{self, Kafka, KafkaError};
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::{ActionContext, Resolved, at_key, entries};
use crate::record::ErrorKind;
use crate::units::show_duration;
use crate::value::Value;

/// Versions that every broker from 2.3 to 4.x speaks.
const LIST_OFFSETS_VERSION: i16 = 4;
const FETCH_VERSION: i16 = 11;
/// How long a broker may hold a request back for the next message.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// How long to wait before asking who leads a partition now.
const MOVED: Duration = Duration::from_millis(100);
/// Bytes that one request may bring: for all partitions, and for each.
const FETCH_BYTES: i32 = 16 << 20;
const PARTITION_BYTES: i32 = 1 << 20;
/// The protocol's word for the end of a partition.
const LATEST: i64 = -1;
/// And for its beginning.
const EARLIEST: i64 = -2;

const MATCH: Kind = Kind::Object(&[
    Field { name: "key", aliases: &[], kind: Kind::Any, required: false, default: None, doc: "The message's key." },
    Field {
        name: "headers",
        aliases: &[],
        kind: Kind::Map(&Kind::Any),
        required: false,
        default: None,
        doc: "Headers that it must have.",
    },
    Field {
        name: "json_path",
        aliases: &["expression", "conditions", "value"],
        kind: Kind::Assertions,
        required: false,
        default: None,
        doc: "Expressions that must hold; `$` is the message's value, `key`, `headers`, `partition` … are its own.",
    },
]);

static SPEC: ActionSpec = ActionSpec {
    name: "kafka_consumer",
    aliases: &["kafka_consume", "kafka.consume"],
    summary: "Waits for messages of a Kafka topic.",
    description: "Starts at the beginning of the run, so a test sees what it caused and nothing older; `from_beginning: true` \
                  reads all there is. Every partition is read; no consumer group is joined, and nothing is committed. Fails \
                  when fewer than `count` messages come within `timeout`, unless `min_count` asks for less.\n\n\
                  `$` in outputs is the first message's value.",
    config: &[
        kafka::BROKERS,
        kafka::TOPIC,
        Field {
            name: "count",
            aliases: &["max_messages"],
            kind: Kind::Integer { min: 1, max: 100_000 },
            required: false,
            default: Some("1"),
            doc: "How many messages to wait for.",
        },
        Field {
            name: "min_count",
            aliases: &["min_messages"],
            kind: Kind::Integer { min: 0, max: 100_000 },
            required: false,
            default: Some("`count`"),
            doc: "How many are enough when the time is over. With 0 the step passes without any.",
        },
        Field {
            name: "timeout",
            aliases: &["max_wait"],
            kind: Kind::Duration { zero: false },
            required: false,
            default: Some("30s"),
            doc: "How long to wait.",
        },
        Field {
            name: "match",
            aliases: &["filter"],
            kind: MATCH,
            required: false,
            default: None,
            doc: "Which messages count.",
        },
        Field {
            name: "from_beginning",
            aliases: &[],
            kind: Kind::Boolean,
            required: false,
            default: Some("false"),
            doc: "Whether to read from the topic's beginning.",
        },
        Field {
            name: "auto_offset_reset",
            aliases: &["offset_reset", "start_offset"],
            kind: Kind::Choice(&["earliest", "latest"]),
            required: false,
            default: None,
            doc: "`latest` starts at the end as it is when the step starts. `earliest` is what groups start at, and changes \
                  nothing here: `from_beginning` says it.",
        },
        Field {
            name: "group_id",
            aliases: &["group", "consumer_group"],
            kind: Kind::Text,
            required: false,
            default: None,
            doc: "Kept for the record; no group is joined.",
        },
        kafka::AUTH,
        kafka::TLS,
        kafka::VERIFY_TLS,
    ],
    open_config: false,
    result: &[
        ResultField {
            name: "messages",
            kind: "list",
            doc: "The messages in the order they came: `topic`, `partition`, `offset`, `key`, `value` (JSON parsed), `value_raw`, \
                  `headers`, `timestamp`.",
        },
        ResultField { name: "count", kind: "integer", doc: "How many there are." },
    ],
    open_result: false,
    reserved: &["messages", "count"],
    examples: &[Example {
        title: "The event that a request caused",
        yaml: "- action: kafka_consumer\n  config:\n    brokers: localhost:9092\n    topic: user.created\n    match:\n      key: \
               \"42\"\n      json_path: [\"$.name == 'Ada'\"]\n    timeout: 10s\n  assert:\n    - messages[0].value.id == 42\n",
    }],
};

/// The action.
pub(crate) struct KafkaConsumer;

#[async_trait]
impl Action for KafkaConsumer {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    fn waits(&self) -> bool {
        true
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let kafka = Kafka::of(cx, &config)?;
        let topic = config.required_text("topic")?;
        let count = config.integer("count")?.map_or(1, |count| usize::try_from(count).unwrap_or(1));
        let enough = config.integer("min_count")?.map_or(count, |least| usize::try_from(least).unwrap_or(0));
        let limit = config.duration("timeout")?.unwrap_or(Duration::from_secs(30));
        let wanted = Wanted::read(&config)?;
        let mut found = Vec::new();
        let mut trouble = None;
        let reader = Reader { cx, kafka: &kafka, topic: &topic, start: start(cx, &config)? };
        let reading = read(&reader, &wanted, count, &mut found, &mut trouble);
        let outcome = tokio::time::timeout(limit, reading).await;
        let request = Value::map([
            ("brokers", Value::Text(kafka.cluster.shown())),
            ("topic", Value::Text(topic.clone())),
            ("count", Value::from(count)),
        ]);
        let n_found = found.len();
        let primary = found.first().and_then(|message: &Value| message.get("value"));
        let result = Value::map([("messages", Value::list(found)), ("count", Value::from(n_found))]);
        let result = ActionResult { request: request.into(), response: result.clone().into(), result, primary };
        let error = match outcome {
            Ok(Ok(())) => return Ok(result),
            Ok(Err(Failure::Kafka(error))) => error.into_action_error(&kafka.cluster),
            Ok(Err(Failure::Match(error))) => error,
            Err(_) if n_found >= enough => return Ok(result),
            Err(_) => {
                let trouble = trouble.map(|last| format!(", last: {last}")).unwrap_or_default();
                let message = format!(
                    "`{}`: {n_found} of {enough} messages of `{topic}` within {}{trouble}",
                    kafka.cluster.shown(),
                    show_duration(limit)
                );
                ActionError::new(ErrorKind::Timeout, message)
            }
        };
        Err(ActionError { partial: Some(Box::new(result)), ..error })
    }
}

/// Where reading starts: a time in milliseconds, or one of the protocol's words.
fn start(cx: &ActionContext<'_>, config: &Resolved) -> Result<i64, ActionError> {
    if config.boolean("from_beginning")?.unwrap_or(false) {
        return Ok(EARLIEST);
    }
    Ok(match config.text("auto_offset_reset")?.as_deref() {
        Some("latest") => LATEST,
        _ => cx.run_started().timestamp_millis(),
    })
}

/// Which messages count.
struct Wanted {
    key: Option<ByteString>,
    headers: Vec<(ByteString, ByteString)>,
}

impl Wanted {
    fn read(config: &Resolved) -> Result<Self, ActionError> {
        let section = config.section("match")?.unwrap_or_default();
        let key = section.value("key").and_then(Value::to_text);
        let headers = section.map("headers")?;
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.to_text().unwrap_or_default())).collect();
        Ok(Self { key, headers })
    }

    fn takes(&self, cx: &ActionContext<'_>, message: &Value) -> Result<bool, ActionError> {
        let text = |value: Option<Value>| value.and_then(|value| value.to_text());
        if self.key.is_some() && text(message.get("key")) != self.key {
            return Ok(false);
        }
        let headers = message.get("headers").unwrap_or_default();
        if self.headers.iter().any(|(name, value)| text(headers.get(name)).as_ref() != Some(value)) {
            return Ok(false);
        }
        let conditions = cx.config().assertions("match.json_path");
        if conditions.is_empty() {
            return Ok(true);
        }
        let mut locals: Vec<(ByteString, Value)> = entries(message).unwrap_or_default().into_iter().collect();
        locals.push(("$".into(), message.get("value").unwrap_or_default()));
        let scope = cx.layer(locals);
        for condition in conditions {
            // A message of another shape is not the one that is waited for.
            match condition.expression.check(scope.as_ref()) {
                Ok(checked) if checked.holds => {}
                Ok(_) => return Ok(false),
                Err(error) => return Err(at_key("match", &error)),
            }
        }
        Ok(true)
    }
}

enum Failure {
    Kafka(KafkaError),
    Match(ActionError),
}

struct Reader<'a> {
    cx: &'a ActionContext<'a>,
    kafka: &'a Kafka<'a>,
    topic: &'a ByteString,
    start: i64,
}

/// Reads until `count` messages are found. What goes wrong on the way and may pass is noted in `trouble`.
async fn read(
    reader: &Reader<'_>,
    wanted: &Wanted,
    count: usize,
    found: &mut Vec<Value>,
    trouble: &mut Option<String>,
) -> Result<(), Failure> {
    let mut offsets: HashMap<i32, i64> = HashMap::new();
    loop {
        match reader.round(&mut offsets, wanted, count, found).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(Failure::Kafka(KafkaError::Moved(message))) => {
                *trouble = Some(message);
                tokio::time::sleep(MOVED).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

impl Reader<'_> {
    /// Asks the leaders until they have moved, or enough messages are there.
    async fn round(
        &self,
        offsets: &mut HashMap<i32, i64>,
        wanted: &Wanted,
        count: usize,
        found: &mut Vec<Value>,
    ) -> Result<bool, Failure> {
        let partitions = self.kafka.partitions(self.topic).await.map_err(Failure::Kafka)?;
        let mut by_leader: HashMap<(String, u16), Vec<i32>> = HashMap::new();
        for (number, leader) in partitions.leaders {
            by_leader.entry(leader).or_default().push(number);
        }
        for ((host, port), numbers) in &by_leader {
            self.offsets((host, *port), numbers, offsets).await.map_err(Failure::Kafka)?;
        }
        loop {
            // With one leader the broker waits for us; with several each gets its turn.
            let wait = LONGEST_WAIT / u32::try_from(by_leader.len()).unwrap_or(u32::MAX).max(1);
            for ((host, port), numbers) in &by_leader {
                let records = self.fetch((host, *port), numbers, offsets, wait).await.map_err(Failure::Kafka)?;
                for (partition, record) in records {
                    let message = message(self.topic, partition, &record);
                    if wanted.takes(self.cx, &message).map_err(Failure::Match)? {
                        found.push(message);
                    }
                    if found.len() >= count {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Finds where each partition starts that has no place yet.
    async fn offsets(
        &self,
        (host, port): (&str, u16),
        numbers: &[i32],
        offsets: &mut HashMap<i32, i64>,
    ) -> Result<(), KafkaError> {
        for start in [self.start, LATEST] {
            let missing: Vec<ListOffsetsPartition> = numbers
                .iter()
                .filter(|number| !offsets.contains_key(*number))
                .map(|number| ListOffsetsPartition::default().with_partition_index(*number).with_timestamp(start))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            let topic = ListOffsetsTopic::default().with_name(self.topic_name()).with_partitions(missing);
            let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
            let answer = self.kafka.ask(host, port, &request, LIST_OFFSETS_VERSION).await?;
            for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                if let Some(error) = KafkaError::of(partition.error_code, &format!("topic `{}`", self.topic)) {
                    return Err(error);
                }
                // Nothing is as new as the run: the next message is the first.
                if partition.offset >= 0 {
                    offsets.insert(partition.partition_index, partition.offset);
                }
            }
        }
        Ok(())
    }

    async fn fetch(
        &self,
        (host, port): (&str, u16),
        numbers: &[i32],
        offsets: &mut HashMap<i32, i64>,
        wait: Duration,
    ) -> Result<Vec<(i32, Record)>, KafkaError> {
        let partitions = numbers
            .iter()
            .filter_map(|number| {
                let offset = *offsets.get(number)?;
                let partition = FetchPartition::default().with_partition(*number).with_fetch_offset(offset);
                Some(partition.with_partition_max_bytes(PARTITION_BYTES))
            })
            .collect();
        let topic = FetchTopic::default().with_topic(self.topic_name()).with_partitions(partitions);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(1)
            .with_max_bytes(FETCH_BYTES)
            .with_isolation_level(1)
            .with_topics(vec![topic]);
        let asked = Instant::now();
        let answer = self.kafka.ask(host, port, &request, FETCH_VERSION).await?;
        if let Some(error) = KafkaError::of(answer.error_code, "fetch") {
            return Err(error);
        }
        let mut found = Vec::new();
        for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            if let Some(error) = KafkaError::of(partition.error_code, &format!("topic `{}`", self.topic)) {
                return Err(error);
            }
            let number = partition.partition_index;
            let from = offsets.get(&number).copied().unwrap_or(0);
            for record in records(partition.records.clone().unwrap_or_default(), from)? {
                offsets.insert(number, record.offset + 1);
                if !record.control {
                    found.push((number, record));
                }
            }
        }
        if found.is_empty() && asked.elapsed() < wait / 2 {
            // It answered at once with nothing: not every broker waits.
            tokio::time::sleep(MOVED).await;
        }
        Ok(found)
    }

    fn topic_name(&self) -> TopicName {
        TopicName(StrBytes::from_string(self.topic.to_string()))
    }
}

/// The records from an offset on. A batch that was cut at the end comes whole the next time.
fn records(mut bytes: Bytes, from: i64) -> Result<Vec<Record>, KafkaError> {
    /// Base offset and length of a batch stand before all else in it.
    const HEAD: usize = 12;
    let mut found = Vec::new();
    while bytes.len() > HEAD {
        let length = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let whole = HEAD + usize::try_from(length).unwrap_or(usize::MAX - HEAD);
        if bytes.len() < whole {
            break;
        }
        let mut batch = bytes.split_to(whole);
        let set = RecordBatchDecoder::decode(&mut batch)
            .map_err(|error| KafkaError::Refused(format!("a batch of messages cannot be read: {error}")))?;
        found.extend(set.records.into_iter().filter(|record| record.offset >= from));
    }
    Ok(found)
}

/// A message as a flow sees it.
fn message(topic: &ByteString, partition: i32, record: &Record) -> Value {
    let text = |bytes: &Option<Bytes>| match bytes {
        None => Value::Null,
        Some(bytes) => ByteString::try_from(bytes.clone()).map_or_else(|_| Value::Bytes(bytes.clone()), Value::Text),
    };
    let raw = text(&record.value);
    let value = match (&record.value, raw.as_str().map(str::trim_start)) {
        (Some(bytes), Some(json)) if json.starts_with(['{', '[']) => {
            Value::from_json_bytes(bytes.clone()).unwrap_or_else(|_| raw.clone())
        }
        _ => raw.clone(),
    };
    let headers = record.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    Value::map([
        ("topic", Value::Text(topic.clone())),
        ("partition", Value::Int(partition.into())),
        ("offset", Value::Int(record.offset)),
        ("key", text(&record.key)),
        ("value", value),
        ("value_raw", raw),
        ("headers", Value::map(headers)),
        ("timestamp", Value::Int(record.timestamp)),
    ])
}
