//! `kafka_consumer`: waits for messages of a topic.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{Record, RecordBatchDecoder};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::kafka::registry::{self, Decoder, Part, Undecoded};
use super::kafka::{self, Backlog, Kafka, KafkaError, Taken};
use super::messages::{self, Expected, Source};
use super::tls;
use crate::action::{ActionError, ActionSpec, Arm, Example, Expectation, Field, Kind, ResultField, Waits};
use crate::engine::{ActionContext, Resolved};
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

const MATCH: Field = messages::match_field(Kind::Object(&[
    Field { name: "key", aliases: &[], kind: Kind::Any, required: false, default: None, doc: "The message's key." },
    messages::MATCH_HEADERS,
    messages::MATCH_VALUE,
]));

static SPEC: ActionSpec = ActionSpec {
    name: "kafka_consumer",
    aliases: &["kafka_consume", "kafka.consume"],
    summary: "Waits for messages of a Kafka topic.",
    description: "Starts at the beginning of the run, so a test sees what it caused and nothing older; `from_beginning: true` \
                  reads all there is. Every partition is read; no consumer group is joined, and nothing is committed. Fails \
                  when fewer than `count` messages come within `timeout`, unless `min_count` asks for less. With \
                  `background: true` it starts where the partitions end when it is armed.\n\n\
                  With `schema_registry`, values are what the schema says whose number they begin with: Avro, Protobuf and \
                  JSON Schema. Decimals are exact, dates and times are texts, bytes are base64. A message that cannot be \
                  read so fails the step; with `match` it is passed over.\n\n\
                  `$` in outputs is the first message's value.",
    config: &[
        kafka::BROKERS,
        kafka::TOPIC,
        messages::COUNT,
        messages::MIN_COUNT,
        messages::TIMEOUT,
        MATCH,
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
        registry::REGISTRY,
        registry::VALUE_FORMAT,
        registry::KEY_FORMAT,
        kafka::AUTH,
        kafka::TLS,
        kafka::VERIFY_TLS,
        tls::CA_CERT,
        tls::CLIENT_CERT,
        tls::CLIENT_KEY,
        tls::SERVER_NAME,
    ],
    open_config: false,
    result: &[
        ResultField {
            name: "messages",
            kind: "list",
            doc: "The messages in the order they came: `topic`, `partition`, `offset`, `key`, `value` (JSON parsed), `value_raw`, \
                  `headers`, `timestamp`; by the registry `value_schema` and `key_schema`, each with `id`, `subject`, \
                  `version`, `format`.",
        },
        messages::N_MESSAGES,
    ],
    open_result: false,
    reserved: &["messages", "count"],
    examples: &[
        Example {
            title: "The event that a request caused",
            yaml: "- action: kafka_consumer\n  config:\n    brokers: localhost:9092\n    topic: user.created\n    match:\n      key: \
               \"42\"\n      json_path: [\"$.name == 'Ada'\"]\n    timeout: 10s\n  assert:\n    - messages[0].value.id == 42\n",
        },
        Example {
            title: "An event with a schema in a registry",
            yaml: "- action: kafka_consumer\n  config:\n    brokers: localhost:9092\n    topic: orders\n    schema_registry:\n      \
                   url: http://localhost:8081\n    match:\n      json_path: [\"$.customer == 'Ada'\"]\n  assert:\n    - \
                   messages[0].value.total == 12.50\n    - messages[0].value_schema.subject == \"orders-value\"\n",
        },
    ],
};

/// The action.
pub(crate) struct KafkaConsumer;

impl Waits for KafkaConsumer {
    const SPEC: &'static ActionSpec = &SPEC;
}

#[async_trait]
impl Arm for KafkaConsumer {
    async fn arm(&self, cx: &ActionContext<'_>) -> Result<Expectation, ActionError> {
        let config = cx.resolve()?;
        let kafka = Kafka::of(cx, &config).await?;
        let expected = Expected::read(&config, &["key"])?;
        let topic = config.required_text("topic")?;
        let request = Value::map([
            ("brokers", Value::Text(kafka.cluster.shown())),
            ("topic", Value::Text(topic.clone())),
            ("count", Value::from(expected.count())),
        ]);
        let mut reader = Reader::new(kafka, topic, start(cx, &config)?);
        reader.decoder = Decoder::read(cx, &config, &reader.topic).await?;
        reader.selective = expected.is_selective(cx);
        expected.arm(cx, reader, request).await
    }
}

/// Where reading starts: a time in milliseconds, or one of the protocol's words.
fn start(cx: &ActionContext<'_>, config: &Resolved) -> Result<i64, ActionError> {
    if config.boolean("from_beginning")?.unwrap_or(false) {
        return Ok(EARLIEST);
    }
    Ok(match config.text("auto_offset_reset")?.as_deref() {
        Some("latest") => LATEST,
        // What is there when it is armed is nothing that the steps after it caused.
        _ if cx.in_background() => LATEST,
        _ => cx.run_started().timestamp_millis(),
    })
}

/// Who leads which partitions.
type Leaders = HashMap<(String, u16), Vec<i32>>;

struct Reader {
    kafka: Kafka,
    topic: ByteString,
    start: i64,
    /// None: to be asked for.
    leaders: Option<Leaders>,
    /// Whether those are who they were when a step before asked.
    remembered: bool,
    /// The next message of each partition.
    offsets: HashMap<i32, i64>,
    /// What was fetched and is still to be given.
    fetched: VecDeque<Arc<Taken>>,
    /// What others have read from the same start on; none: nobody else starts there.
    backlog: Option<Arc<Mutex<Backlog>>>,
    /// None: messages are taken as they are.
    decoder: Option<Decoder>,
    /// Whether what is not understood is only not what is waited for.
    selective: bool,
    /// What went wrong on the way and may pass.
    trouble: Option<String>,
}

#[async_trait]
impl Source for Reader {
    fn server(&self) -> ByteString {
        self.kafka.cluster.shown()
    }

    fn name(&self) -> ByteString {
        self.topic.clone()
    }

    async fn subscribe(&mut self) -> Result<(), ActionError> {
        while let Err(error) = self.find().await {
            self.bear(error).await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Value, ActionError> {
        loop {
            if let Some(taken) = self.fetched.pop_front() {
                match self.message(&taken).await? {
                    Some(message) => return Ok(message),
                    None => continue,
                }
            }
            if let Err(error) = self.fetch_all().await {
                self.bear(error).await?;
            }
        }
    }

    fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}

impl Reader {
    fn new(kafka: Kafka, topic: ByteString, start: i64) -> Self {
        let (offsets, fetched) = (HashMap::new(), VecDeque::new());
        let (decoder, selective) = (None, false);
        if start == LATEST {
            // What comes to a partition that is found later would be missed.
            kafka.forget(&topic);
        }
        Self {
            kafka,
            topic,
            start,
            leaders: None,
            remembered: false,
            offsets,
            fetched,
            backlog: None,
            decoder,
            selective,
            trouble: None,
        }
    }

    /// Waits before the leaders are asked for again, if that is what is wrong.
    async fn bear(&mut self, error: KafkaError) -> Result<(), ActionError> {
        let message = match error {
            KafkaError::Moved(message) => message,
            KafkaError::Unreachable(message) if self.remembered => message,
            error => return Err(error.into_action_error(&self.kafka.cluster)),
        };
        self.trouble = Some(message);
        self.forget();
        tokio::time::sleep(MOVED).await;
        Ok(())
    }

    /// The leaders are asked for again.
    fn forget(&mut self) {
        self.kafka.forget(&self.topic);
        (self.leaders, self.remembered) = (None, false);
    }

    /// Finds the leaders, and where each partition starts.
    async fn find(&mut self) -> Result<Leaders, KafkaError> {
        if let Some(leaders) = &self.leaders {
            return Ok(leaders.clone());
        }
        let partitions = self.kafka.partitions(&self.topic).await?;
        self.remembered = partitions.remembered;
        if self.start >= 0 {
            self.take_over(&partitions.backlog);
        }
        let mut leaders = Leaders::new();
        for (number, leader) in partitions.leaders {
            leaders.entry(leader).or_default().push(number);
        }
        for ((host, port), numbers) in &leaders {
            Box::pin(self.find_offsets((host, *port), numbers)).await?;
        }
        self.leaders = Some(leaders.clone());
        Ok(leaders)
    }

    /// Takes what others have read, to go on after it.
    fn take_over(&mut self, backlog: &Arc<Mutex<Backlog>>) {
        if self.offsets.is_empty() {
            let kept = backlog.lock();
            self.offsets.clone_from(kept.offsets());
            self.fetched.extend(kept.taken().iter().cloned());
        }
        self.backlog = Some(Arc::clone(backlog));
    }

    /// Asks each leader once.
    async fn fetch_all(&mut self) -> Result<(), KafkaError> {
        let leaders = self.find().await?;
        // With one leader the broker waits for us; with several each gets its turn.
        let wait = LONGEST_WAIT / u32::try_from(leaders.len()).unwrap_or(u32::MAX).max(1);
        for ((host, port), numbers) in &leaders {
            self.fetch((host, *port), numbers, wait).await?;
        }
        if self.fetched.is_empty() && self.remembered {
            // It may be in a partition that was added meanwhile.
            self.forget();
        }
        Ok(())
    }

    /// The message that a record is; none when it is not understood, and need not be.
    async fn message(&mut self, taken: &Taken) -> Result<Option<Value>, ActionError> {
        let (partition, record) = (taken.partition, &taken.record);
        let Some(decoder) = &self.decoder else {
            return Ok(Some(taken.plain(|taken| message(&self.topic, taken, None, None))));
        };
        let before = self.trouble.replace(format!("schema registry `{}`: no answer yet", decoder.server()));
        let parts = async {
            let key = decoder.decode(Part::Key, record.key.as_ref()).await?;
            Ok((key, decoder.decode(Part::Value, record.value.as_ref()).await?))
        };
        let parts = parts.await;
        self.trouble = before;
        match parts {
            Ok((key, value)) => Ok(Some(message(&self.topic, taken, key, value))),
            Err(Undecoded::Unknown(error)) => Err(error),
            Err(Undecoded::Foreign(problem)) => {
                let (topic, offset) = (&self.topic, record.offset);
                let problem =
                    format!("the message of `{topic}` in partition {partition} at offset {offset}: {problem}");
                if !self.selective {
                    return Err(KafkaError::Refused(problem).into_action_error(&self.kafka.cluster));
                }
                self.trouble = Some(problem);
                Ok(None)
            }
        }
    }

    /// Finds where each partition starts that has no place yet.
    async fn find_offsets(&mut self, leader: (&str, u16), numbers: &[i32]) -> Result<(), KafkaError> {
        let mut missing = numbers.to_vec();
        missing.retain(|number| !self.offsets.contains_key(number));
        if missing.is_empty() {
            return Ok(());
        }
        let mut found = self.ask_offsets(leader, &missing, self.start).await?;
        missing.retain(|number| !found.contains_key(number));
        if !missing.is_empty() {
            // Nothing is as new as the run: the next message is the first, unless one came between these two questions.
            let ends = self.ask_offsets(leader, &missing, LATEST).await?;
            let late = self.ask_offsets(leader, &missing, self.start).await?;
            found.extend(ends.into_iter().chain(late));
        }
        if let Some(backlog) = &self.backlog {
            let mut backlog = backlog.lock();
            for (number, offset) in &found {
                backlog.start(*number, *offset);
            }
        }
        self.offsets.extend(found);
        Ok(())
    }

    /// Where partitions start; those that have nothing so new are left out.
    async fn ask_offsets(
        &self,
        (host, port): (&str, u16),
        numbers: &[i32],
        start: i64,
    ) -> Result<HashMap<i32, i64>, KafkaError> {
        let asked = |number: &i32| ListOffsetsPartition::default().with_partition_index(*number).with_timestamp(start);
        let partitions = numbers.iter().map(asked).collect();
        let topic = ListOffsetsTopic::default().with_name(self.topic_name()).with_partitions(partitions);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        let answer = self.kafka.ask(host, port, &request, LIST_OFFSETS_VERSION).await?;
        let mut found = HashMap::new();
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            if let Some(error) = KafkaError::of(partition.error_code, &format!("topic `{}`", self.topic)) {
                return Err(error);
            }
            if partition.offset >= 0 {
                found.insert(partition.partition_index, partition.offset);
            }
        }
        Ok(found)
    }

    /// Asks a leader for what comes next, and takes it.
    async fn fetch(&mut self, (host, port): (&str, u16), numbers: &[i32], wait: Duration) -> Result<(), KafkaError> {
        let partitions = numbers
            .iter()
            .filter_map(|number| {
                let offset = *self.offsets.get(number)?;
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
        let n_before = self.fetched.len();
        for partition in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let number = partition.partition_index;
            if let Some(error) = KafkaError::of(partition.error_code, &format!("topic `{}`", self.topic)) {
                if partition.error_code == ResponseError::OffsetOutOfRange.code() && self.remembered {
                    // The topic was made anew since it was looked at.
                    self.offsets.remove(&number);
                    return Err(KafkaError::Moved(format!("topic `{}`: its messages are gone", self.topic)));
                }
                return Err(error);
            }
            let from = self.offsets.get(&number).copied().unwrap_or(0);
            let mut next = from;
            let mut taken = Vec::new();
            for record in records(partition.records.unwrap_or_default(), from)? {
                next = record.offset + 1;
                if !record.control {
                    taken.push(Arc::new(Taken::new(number, record)));
                }
            }
            if let Some(backlog) = &self.backlog {
                backlog.lock().keep(number, (from, next), &taken);
            }
            self.offsets.insert(number, next);
            self.fetched.extend(taken);
        }
        if self.fetched.len() == n_before && asked.elapsed() < wait / 2 {
            // It answered at once with nothing: not every broker waits.
            tokio::time::sleep(MOVED).await;
        }
        Ok(())
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

/// A message as a flow sees it. What a schema made of its parts comes with that schema.
fn message(topic: &ByteString, taken: &Taken, key: Option<(Value, Value)>, value: Option<(Value, Value)>) -> Value {
    let record = &taken.record;
    let text = |bytes: &Option<Bytes>| bytes.clone().map_or(Value::Null, messages::text);
    let (key, key_schema) = key.map_or_else(|| (text(&record.key), None), |(key, schema)| (key, Some(schema)));
    let (value, raw, value_schema) = match value {
        None => {
            let (value, raw) = record.value.clone().map_or_else(Default::default, messages::value_and_raw);
            (value, raw, None)
        }
        Some((value, schema)) => (value, record.value.clone().map_or(Value::Null, Value::Bytes), Some(schema)),
    };
    let headers = record.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    let mut parts = vec![
        ("topic", Value::Text(topic.clone())),
        ("partition", Value::Int(taken.partition.into())),
        ("offset", Value::Int(record.offset)),
        ("key", key),
        ("value", value),
        ("value_raw", raw),
        ("headers", Value::map(headers)),
        ("timestamp", Value::Int(record.timestamp)),
    ];
    parts.extend(key_schema.map(|schema| ("key_schema", schema)));
    parts.extend(value_schema.map(|schema| ("value_schema", schema)));
    Value::map(parts)
}
