//! Services that follow the others' events. A service's place in a topic is in its own schema and moves on in the same
//! transaction as what the event did, so that nothing happens twice, whatever breaks in between.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{Postgres, Transaction};

use crate::events::Event;
use crate::kafka::{Kafka, KafkaError, Message, Partition};
use crate::shop::Shop;
use crate::{notifications, products, recommendations};

/// The pause after something failed.
const PAUSE: Duration = Duration::from_millis(500);

/// An event as it came.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Its kind, which is its topic.
    pub(crate) kind: String,
    /// When it happened.
    pub(crate) time: DateTime<Utc>,
    pub(crate) body: Value,
}

/// What is to be done once the transaction is through.
#[derive(Debug, Default)]
pub(crate) struct Aftermath {
    /// What goes into the cache: kind, id, state.
    pub(crate) keep: Vec<(&'static str, String, Value)>,
    pub(crate) events: Vec<Event>,
}

/// A service that follows events.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Follower {
    Products,
    Notifications,
    Recommendations,
}

impl Follower {
    pub(crate) const ALL: [Self; 3] = [Self::Products, Self::Notifications, Self::Recommendations];

    fn topics(self) -> &'static [&'static str] {
        match self {
            Self::Products => &["order.placed", "order.cancelled"],
            Self::Notifications => notifications::TOPICS,
            Self::Recommendations => &["order.placed"],
        }
    }

    /// Reads and writes the service's places.
    fn statements(self) -> (&'static str, &'static str) {
        macro_rules! statements {
            ($schema:literal) => {
                (
                    concat!("select topic, partition, next_offset from ", $schema, ".consumer_offsets"),
                    concat!(
                        "insert into ",
                        $schema,
                        ".consumer_offsets (topic, partition, next_offset) values ($1, $2, $3) \
                         on conflict (topic, partition) do update set next_offset = excluded.next_offset"
                    ),
                )
            };
        }
        match self {
            Self::Products => statements!("product_service"),
            Self::Notifications => statements!("notification_service"),
            Self::Recommendations => statements!("recommendation_service"),
        }
    }

    async fn handle(
        self,
        transaction: &mut Transaction<'_, Postgres>,
        incoming: &Incoming,
    ) -> Result<Aftermath, sqlx::Error> {
        match self {
            Self::Products => products::follow_orders(transaction, incoming).await,
            Self::Notifications => notifications::follow(transaction, incoming).await,
            Self::Recommendations => recommendations::follow(transaction, incoming).await,
        }
    }

    /// Follows until it is dropped.
    pub(crate) async fn run(self, shop: Arc<Shop>) {
        let mut kafka = Kafka::new(&shop.settings.kafka_brokers);
        loop {
            if let Err(error) = self.follow(&shop, &mut kafka).await {
                crate::tell(&format!("{self:?} cannot follow events: {error}"));
            }
            kafka.start_over();
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow(self, shop: &Shop, kafka: &mut Kafka) -> Result<(), Broken> {
        let known: Vec<(String, i32, i64)> = sqlx::query_as(self.statements().0).fetch_all(&shop.db).await?;
        let known: HashMap<Partition, i64> = known.into_iter().map(|(topic, n, next)| ((topic, n), next)).collect();
        let mut places = HashMap::new();
        for partition in kafka.partitions(self.topics()).await? {
            let place = match known.get(&partition) {
                Some(place) => *place,
                None => kafka.beginning(&partition).await?,
            };
            places.insert(partition, place);
        }
        loop {
            let (messages, gone) = kafka.fetch(&places).await?;
            for message in messages {
                let aftermath = self.take(shop, &message).await?;
                places.insert(message.partition, message.offset + 1);
                finish(shop, aftermath).await;
            }
            for partition in gone {
                let beginning = kafka.beginning(&partition).await?;
                places.insert(partition, beginning);
            }
        }
    }

    /// Does what a message asks for and moves on, or neither.
    async fn take(self, shop: &Shop, message: &Message) -> Result<Aftermath, sqlx::Error> {
        let mut transaction = shop.db.begin().await?;
        let (topic, partition) = &message.partition;
        let aftermath = match read(message) {
            Some(incoming) => self.handle(&mut transaction, &incoming).await?,
            // What somebody else put there is none of ours.
            None => Aftermath::default(),
        };
        let moved = sqlx::query(self.statements().1).bind(topic).bind(partition).bind(message.offset + 1);
        moved.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(aftermath)
    }
}

/// What stops a follower for a while.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
}

fn read(message: &Message) -> Option<Incoming> {
    let body: Value = serde_json::from_slice(&message.value).ok().filter(Value::is_object)?;
    let time = DateTime::from_timestamp_millis(message.timestamp)?;
    Some(Incoming { kind: message.partition.0.clone(), time, body })
}

/// What follows a transaction. It is lost when the process ends right here, and an old state stays in the cache then.
async fn finish(shop: &Shop, aftermath: Aftermath) {
    for (kind, id, state) in aftermath.keep {
        if let Err(refusal) = shop.cache.keep(kind, &id, &state).await {
            crate::tell(&format!("the cache keeps an old state of {kind} {id}: {refusal:?}"));
        }
    }
    for event in aftermath.events {
        if let Err(refusal) = shop.events.publish(event).await {
            crate::tell(&format!("an event is lost: {refusal:?}"));
        }
    }
}
