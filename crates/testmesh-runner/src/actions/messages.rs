//! What the actions that wait for messages share: which messages count, how many, how long, and what comes of them.
//!
//! A protocol gives a [`Source`]: it subscribes first, and from then on no message is missed, however late the first
//! [`Source::next`] is.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;

use super::matching::Matching;
use crate::action::{ActionError, ActionResult, Expectation, Field, Kind, ResultField};
use crate::engine::{ActionContext, Patience, Resolved};
use crate::record::ErrorKind;
use crate::units::show_duration;
use crate::value::Value;

/// How long a source may take to end its subscription.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) const COUNT: Field = Field {
    name: "count",
    aliases: &["max_messages"],
    kind: Kind::Integer { min: 1, max: 100_000 },
    required: false,
    default: Some("1"),
    doc: "How many messages to wait for.",
};
pub(super) const MIN_COUNT: Field = Field {
    name: "min_count",
    aliases: &["min_messages"],
    kind: Kind::Integer { min: 0, max: 100_000 },
    required: false,
    default: Some("`count`"),
    doc: "How many are enough when the time is over. With 0 the step passes without any.",
};
pub(super) const TIMEOUT: Field = Field {
    name: "timeout",
    aliases: &["max_wait"],
    kind: Kind::Duration { zero: false },
    required: false,
    default: Some("30s"),
    doc: "How long to wait; in the background, from when the step is awaited.",
};
pub(super) const MATCH_HEADERS: Field = Field {
    name: "headers",
    aliases: &[],
    kind: Kind::Map(&Kind::Any),
    required: false,
    default: None,
    doc: "Headers that it must have.",
};
pub(super) const MATCH_VALUE: Field = Field {
    name: "json_path",
    aliases: &["expression", "conditions", "value"],
    kind: Kind::Assertions,
    required: false,
    default: None,
    doc: "Expressions that must hold; `$` is the message's value, what else it has is known by its name.",
};
pub(super) const N_MESSAGES: ResultField = ResultField { name: "count", kind: "integer", doc: "How many there are." };

/// The key `match` with what can be asked of a message.
pub(super) const fn match_field(kind: Kind) -> Field {
    Field { name: "match", aliases: &["filter"], kind, required: false, default: None, doc: "Which messages count." }
}

/// Where messages come from.
#[async_trait]
pub(super) trait Source: Send {
    /// What may be shown of the server: `nats://localhost:4222`.
    fn server(&self) -> ByteString;
    /// What the messages are of: the name of the topic, subject or queue.
    fn name(&self) -> ByteString;
    /// Makes sure that every message from now on is there for [`Source::next`].
    async fn subscribe(&mut self) -> Result<(), ActionError>;
    /// The next message, a map with its `value` and what else the protocol knows of it.
    async fn next(&mut self) -> Result<Value, ActionError>;
    /// Hears whether the message that came last counts.
    async fn settle(&mut self, _counts: bool) -> Result<(), ActionError> {
        Ok(())
    }
    /// Ends the subscription, when what was said last must be heard. It gets a second.
    async fn finish(&mut self) {}
    /// What went wrong on the way and may pass, for the message of a time-out.
    fn trouble(&self) -> Option<&str> {
        None
    }
}

/// How many messages, how long, and which.
pub(super) struct Expected {
    count: usize,
    enough: usize,
    limit: Duration,
    /// A field of the message and what it must be.
    fields: Vec<(&'static str, ByteString)>,
    headers: Vec<(ByteString, ByteString)>,
}

impl Expected {
    /// Reads it from the configuration. `fields` are the keys of `match` that name a field of the message.
    pub(super) fn read(config: &Resolved, fields: &[&'static str]) -> Result<Self, ActionError> {
        let count = config.integer("count")?.map_or(1, |count| usize::try_from(count).unwrap_or(1));
        let section = config.section("match")?.unwrap_or_default();
        let field = |name: &&'static str| Some((*name, section.value(name)?.to_text()?));
        let headers = section.map("headers")?;
        Ok(Self {
            count,
            enough: config.integer("min_count")?.map_or(count, |least| usize::try_from(least).unwrap_or(0)),
            limit: config.duration("timeout")?.unwrap_or(Duration::from_secs(30)),
            fields: fields.iter().filter_map(field).collect(),
            headers: headers.iter().map(|(name, value)| (name.clone(), value.to_text().unwrap_or_default())).collect(),
        })
    }

    /// How many messages are waited for.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether only some messages count.
    pub(super) fn is_selective(&self, cx: &ActionContext<'_>) -> bool {
        !(self.fields.is_empty() && self.headers.is_empty() && cx.config().assertions("match.json_path").is_empty())
    }

    fn takes(&self, matching: &Matching, message: &Value) -> Result<bool, ActionError> {
        let text = |value: Option<Value>| value.and_then(|value| value.to_text());
        if self.fields.iter().any(|(name, value)| text(message.get(name)).as_ref() != Some(value)) {
            return Ok(false);
        }
        let headers = message.get("headers").unwrap_or_default();
        if self.headers.iter().any(|(name, value)| text(headers.get(name)).as_ref() != Some(value)) {
            return Ok(false);
        }
        matching.takes(message, said(message))
    }

    /// Subscribes; what comes from then on is waited for by what this gives.
    pub(super) async fn arm(
        self,
        cx: &ActionContext<'_>,
        mut source: impl Source + 'static,
        request: Value,
    ) -> Result<Expectation, ActionError> {
        cx.note_request(request.clone().into());
        let patience = cx.patience(self.limit);
        let matching = Matching::of(cx, "match.json_path");
        let subscribed = tokio::select! {
            biased;
            // Dropping it is what stops it.
            subscribed = source.subscribe() => Ok(subscribed),
            // Cancel-safe: a wait for a signal and a timer.
            limit = patience.over() => Err(limit),
        };
        match subscribed {
            Ok(subscribed) => subscribed?,
            Err(limit) => return Err(self.too_few(&source, 0, limit)),
        }
        Ok(Box::pin(async move { self.wait(&mut source, &matching, &patience, request).await }))
    }

    /// Waits until the messages of a source that has subscribed are there, or the time is over.
    async fn wait(
        &self,
        source: &mut dyn Source,
        matching: &Matching,
        patience: &Patience,
        request: Value,
    ) -> Result<ActionResult, ActionError> {
        let mut found = Vec::new();
        let reading = async {
            while found.len() < self.count {
                let message = source.next().await?;
                let counts = self.takes(matching, &message)?;
                source.settle(counts).await?;
                if counts {
                    found.push(message);
                }
            }
            Ok::<_, ActionError>(())
        };
        let outcome = tokio::select! {
            biased;
            // Dropping it leaves what was found.
            outcome = reading => Ok(outcome),
            // Cancel-safe: a wait for a signal and a timer.
            limit = patience.over() => Err(limit),
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(_) if found.len() >= self.enough => Ok(()),
            Err(limit) => Err(self.too_few(source, found.len(), limit)),
        };
        // Only of use to the server: whatever becomes of it, the messages are here.
        let _ = tokio::time::timeout(FAREWELL, source.finish()).await;
        let n_found = found.len();
        let primary = found.first().map(said);
        let result = Value::map([("messages", Value::list(found)), ("count", Value::from(n_found))]);
        let result = ActionResult { request: request.into(), response: result.clone().into(), result, primary };
        match outcome {
            Ok(()) => Ok(result),
            Err(error) => Err(ActionError { partial: Some(Box::new(result)), ..error }),
        }
    }

    fn too_few(&self, source: &dyn Source, n_found: usize, limit: Duration) -> ActionError {
        let trouble = source.trouble().map(|last| format!(", last: {last}")).unwrap_or_default();
        let message = format!(
            "`{}`: {n_found} of {} messages of `{}` within {}{trouble}",
            source.server(),
            self.enough,
            source.name(),
            show_duration(limit)
        );
        ActionError::new(ErrorKind::Timeout, message)
    }
}

/// What `$` is of a message: its value, or all of it where the protocol has no such part.
fn said(message: &Value) -> Value {
    message.get("value").unwrap_or_else(|| message.clone())
}

/// What is sent of a value: a map or list as JSON, bytes and text as they are; none for null.
pub(super) fn payload(value: &Value) -> Option<Bytes> {
    match value {
        Value::Null => None,
        Value::Bytes(bytes) => Some(bytes.clone()),
        _ => value.to_text().map(|text| text.as_bytes().clone()),
    }
}

/// Text where it is one.
pub(super) fn text(bytes: Bytes) -> Value {
    ByteString::try_from(bytes.clone()).map_or(Value::Bytes(bytes), Value::Text)
}

/// What a message says, JSON parsed, and as it came.
pub(super) fn value_and_raw(bytes: Bytes) -> (Value, Value) {
    let raw = text(bytes.clone());
    let is_json = raw.as_str().is_some_and(|text| text.trim_start().starts_with(['{', '[']));
    let parsed = is_json.then(|| Value::from_json_bytes(bytes).ok()).flatten();
    (parsed.unwrap_or_else(|| raw.clone()), raw)
}
