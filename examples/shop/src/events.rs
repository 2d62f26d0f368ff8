//! What the services tell each other: messages of Kafka topics, one topic for each kind of event.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::answer::Refusal;
use crate::kafka::{Kafka, KafkaError, record};
use crate::shop::{new_id, now};

/// Every kind of event, which is the name of its topic.
pub(crate) const TOPICS: &[&str] = &[
    "notification.sent",
    "order.cancelled",
    "order.deleted",
    "order.placed",
    "order.status.changed",
    "payment.refunded",
    "payment.succeeded",
    "product.created",
    "product.deleted",
    "product.inventory.changed",
    "product.updated",
    "user.created",
    "user.deleted",
    "user.login",
    "user.logout",
    "user.updated",
];

/// Events that wait to be sent.
const QUEUE: usize = 256;
/// How often a message is sent before that counts as failed.
const ATTEMPTS: usize = 5;
/// The pause between two attempts.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// An event that is not sent yet.
#[derive(Debug)]
pub(crate) struct Event {
    kind: &'static str,
    /// Messages with one key keep their order.
    key: String,
    time: DateTime<Utc>,
    body: Value,
}

impl Event {
    /// An event of a kind about the thing `key`. `fields` is an object.
    pub(crate) fn new(kind: &'static str, key: &str, fields: Value) -> Self {
        let time = now();
        let mut body = json!({"event_id": new_id(), "event_type": kind, "timestamp": time});
        if let (Value::Object(body), Value::Object(fields)) = (&mut body, fields) {
            body.extend(fields);
        }
        Self { kind, key: key.to_owned(), time, body }
    }
}

struct Publication {
    event: Event,
    sent: oneshot::Sender<Result<(), KafkaError>>,
}

/// The way to Kafka.
#[derive(Clone)]
pub(crate) struct Events(mpsc::Sender<Publication>);

impl Events {
    /// The way, and the work that has to run for it.
    pub(crate) fn new(kafka: Kafka) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), publish(kafka, receiver))
    }

    /// Sends an event; done when Kafka has it.
    pub(crate) async fn publish(&self, event: Event) -> Result<(), Refusal> {
        let gone = || Refusal::Failed("the publisher has ended".to_owned());
        let (sent, outcome) = oneshot::channel();
        self.0.send(Publication { event, sent }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?.map_err(Refusal::failed("events"))
    }
}

async fn publish(mut kafka: Kafka, mut queue: mpsc::Receiver<Publication>) {
    while let Some(Publication { event, sent }) = queue.recv().await {
        let record = record(&event.key, &event.body.to_string(), event.time.timestamp_millis());
        let mut outcome = kafka.send(event.kind, &record).await;
        for _ in 1..ATTEMPTS {
            if outcome.is_ok() {
                break;
            }
            kafka.start_over();
            tokio::time::sleep(PAUSE).await;
            outcome = kafka.send(event.kind, &record).await;
        }
        // Whoever asked may be gone by now.
        let _ = sent.send(outcome);
    }
}
