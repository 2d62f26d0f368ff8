//! Waiting for messages: channels (`redis.subscribe`, `redis.psubscribe`) and streams (`redis.xread` with a `stream`).
//!
//! A channel's messages come over a connection of their own. A stream is read from the entry that was its last when the
//! step began, so that nothing between two readings is missed.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytestring::ByteString;
use redis::{PushInfo, PushKind};
use testmesh_shared::net::Connector;
use tokio::sync::mpsc;

use super::link::{Link, Links, RedisError, Target};
use super::{Redis, reply};
use crate::action::{ActionError, Arm, Expectation};
use crate::actions::messages::{Expected, Source};
use crate::engine::{ActionContext, Resolved};
use crate::flow::Step;
use crate::record::ErrorKind;
use crate::value::Value;

/// Messages of a channel that may wait to be looked at. More than this at once is an error, not a gap.
const MOST_WAITING: usize = 10_000;
/// Entries that one reading of a stream brings.
const PAGE: usize = 1_000;

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    Channels,
    Patterns,
    Stream,
}

impl Waits {
    /// What the action's name says is waited for, if it says so.
    pub(super) fn of(step: &Step) -> Option<Self> {
        let verb = step.verb.as_deref()?;
        match verb.to_ascii_lowercase().as_str() {
            "subscribe" => Some(Self::Channels),
            "psubscribe" => Some(Self::Patterns),
            // Without a stream the words of the command are in `args`.
            "xread" if step.config.get("key").is_some() => Some(Self::Stream),
            _ => None,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Waits::Channels => "channel",
            Waits::Patterns => "pattern",
            Waits::Stream => "stream",
        }
    }
}

#[async_trait]
impl Arm for Redis {
    fn refuses(&self, step: &Step) -> Option<&'static str> {
        match Waits::of(step) {
            Some(_) => None,
            None => Some("only `redis.subscribe`, `redis.psubscribe` and `redis.xread` with a `stream` wait"),
        }
    }

    async fn arm(&self, cx: &ActionContext<'_>) -> Result<Expectation, ActionError> {
        let config = cx.resolve()?;
        let waits = Waits::of(cx.step).ok_or_else(|| {
            ActionError::new(ErrorKind::Config, "only `redis.subscribe`, `redis.psubscribe` and `redis.xread` wait")
        })?;
        let target = Target::read(&config)?;
        let names = names(&config, waits)?;
        let expected = Expected::read(&config, &["channel", "stream"])?;
        let request = Value::map([
            ("server", Value::Text(target.shown())),
            (waits.key(), Value::list(names.iter().cloned().map(Value::Text).collect())),
            ("count", Value::from(expected.count())),
        ]);
        let place = Place { connector: cx.connector().clone(), links: cx.resource(Links::default), target };
        match waits {
            Waits::Channels | Waits::Patterns => {
                let patterns = waits == Waits::Patterns;
                expected.arm(cx, Channels { place, names, patterns, subscription: None }, request).await
            }
            Waits::Stream => {
                let from = config.text("from")?.filter(|from| from != "$");
                let places = names.into_iter().map(|name| (name, from.clone())).collect();
                expected.arm(cx, Streams { place, places, link: None, read: VecDeque::new() }, request).await
            }
        }
    }
}

fn names(config: &Resolved, waits: Waits) -> Result<Vec<ByteString>, ActionError> {
    let names: Vec<ByteString> = config.list("key")?.iter().filter_map(Value::to_text).collect();
    if names.is_empty() {
        return Err(ActionError::new(ErrorKind::Config, format!("`{}` is missing: what to wait for", waits.key())));
    }
    Ok(names)
}

/// A server, and how it is reached.
struct Place {
    connector: Connector,
    links: Arc<Links>,
    target: Target,
}

impl Place {
    fn failed(&self, error: RedisError) -> ActionError {
        error.into_action_error(&self.target.shown())
    }
}

/// Channels, or patterns of their names.
struct Channels {
    place: Place,
    names: Vec<ByteString>,
    patterns: bool,
    subscription: Option<Subscription>,
}

/// A connection that gets the messages of channels.
struct Subscription {
    link: Link,
    messages: mpsc::Receiver<PushInfo>,
}

impl Subscription {
    async fn open(place: &Place, names: &[ByteString], patterns: bool) -> Result<Self, RedisError> {
        let (sender, messages) = mpsc::channel(MOST_WAITING);
        // Must not block: when there is no room, the receiver is told by the end of the channel.
        let sender = parking_lot::Mutex::new(Some(sender));
        let push = move |info: PushInfo| {
            let mut sender = sender.lock();
            let sent = sender.as_ref().is_some_and(|sender| sender.try_send(info).is_ok());
            if !sent {
                *sender = None;
            }
            Ok::<(), ()>(())
        };
        let Place { connector, links, target } = place;
        let mut link = links.open(connector, target, Some(Arc::new(push))).await?;
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes().as_ref()).collect();
        link.subscribe(&names, patterns).await?;
        Ok(Self { link, messages })
    }
}

#[async_trait]
impl Source for Channels {
    fn server(&self) -> ByteString {
        self.place.target.shown()
    }

    fn name(&self) -> ByteString {
        self.names.join(", ").into()
    }

    async fn subscribe(&mut self) -> Result<(), ActionError> {
        let opened = Subscription::open(&self.place, &self.names, self.patterns).await;
        self.subscription = Some(opened.map_err(|error| self.place.failed(error))?);
        Ok(())
    }

    async fn next(&mut self) -> Result<Value, ActionError> {
        let subscription = self.subscription.as_mut().expect("a source is asked for messages once it has subscribed");
        loop {
            let pushed = tokio::select! {
                biased;
                // Cancel-safe per docs on `recv()`.
                pushed = subscription.messages.recv() => pushed,
                // Cancel-safe: the same pinned future goes on with the next turn.
                () = subscription.link.drive() => {
                    let message = "the server closed the connection".to_owned();
                    return Err(self.place.failed(RedisError::Broken(message)));
                }
            };
            let Some(pushed) = pushed else {
                let message = format!("more than {MOST_WAITING} messages came at once");
                return Err(self.place.failed(RedisError::Broken(message)));
            };
            if let Some(message) = message(pushed) {
                return Ok(message);
            }
        }
    }
}

/// A message of a channel as a flow sees it; `None` for anything else that a server tells.
fn message(pushed: PushInfo) -> Option<Value> {
    let with_pattern = match pushed.kind {
        PushKind::Message | PushKind::SMessage => false,
        PushKind::PMessage => true,
        _ => return None,
    };
    let mut parts = pushed.data.into_iter().map(|part| reply::value(part).unwrap_or_default());
    let pattern = if with_pattern { parts.next()? } else { Value::Null };
    let channel = parts.next()?;
    let raw = parts.next()?;
    let value = match &raw {
        Value::Text(text) => crate::actions::messages::value_and_raw(text.as_bytes().clone()).0,
        other => other.clone(),
    };
    Some(Value::map([("channel", channel), ("pattern", pattern), ("value", value), ("value_raw", raw)]))
}

/// Streams, and the last entry of each that was seen.
struct Streams {
    place: Place,
    places: Vec<(ByteString, Option<ByteString>)>,
    link: Option<Link>,
    /// What was read and is still to be given.
    read: VecDeque<Value>,
}

impl Streams {
    /// Finds the last entry of each stream that has no place yet.
    async fn begin(&mut self) -> Result<(), RedisError> {
        let Place { connector, links, target } = &self.place;
        let mut link = links.open(connector, target, None).await?;
        for (stream, place) in &mut self.places {
            if place.is_none() {
                let mut last = redis::cmd("XREVRANGE");
                last.arg(stream.as_bytes().as_ref()).arg(&["+", "-", "COUNT", "1"]);
                let last = link.value(&last).await?;
                let id = last.index(0).and_then(|entry| entry.index(0)).and_then(|id| id.to_text());
                *place = Some(id.unwrap_or_else(|| "0-0".into()));
            }
        }
        self.link = Some(link);
        Ok(())
    }

    /// Waits for entries behind those places.
    async fn read(&mut self) -> Result<(), RedisError> {
        let link = self.link.as_mut().expect("a source is asked for messages once it has subscribed");
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(PAGE).arg("BLOCK").arg(0).arg("STREAMS");
        for (stream, _) in &self.places {
            read.arg(stream.as_bytes().as_ref());
        }
        for (_, place) in &self.places {
            read.arg(place.as_deref().unwrap_or("$"));
        }
        let page = link.value(&read).await?;
        for (stream, place) in &mut self.places {
            let entries = page.get(stream).and_then(|entries| entries.items()).unwrap_or_default();
            for entry in entries.iter() {
                let Some(id) = entry.index(0).and_then(|id| id.to_text()) else { continue };
                *place = Some(id.clone());
                self.read.push_back(entry_message(stream, id, &entry.index(1).unwrap_or_default()));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Source for Streams {
    fn server(&self) -> ByteString {
        self.place.target.shown()
    }

    fn name(&self) -> ByteString {
        self.places.iter().map(|(name, _)| &**name).collect::<Vec<_>>().join(", ").into()
    }

    async fn subscribe(&mut self) -> Result<(), ActionError> {
        let begun = self.begin().await;
        begun.map_err(|error| self.place.failed(error))
    }

    async fn next(&mut self) -> Result<Value, ActionError> {
        loop {
            if let Some(message) = self.read.pop_front() {
                return Ok(message);
            }
            let read = self.read().await;
            read.map_err(|error| self.place.failed(error))?;
        }
    }
}

/// An entry of a stream as a flow sees it: its `value` is the map of its fields.
fn entry_message(stream: &ByteString, id: ByteString, fields: &Value) -> Value {
    let fields = match fields.items() {
        Some(flat) => {
            let pairs = flat.as_chunks::<2>().0.iter();
            Value::map(pairs.map(|[name, value]| (name.to_text().unwrap_or_default(), value.clone())))
        }
        None => fields.clone(),
    };
    Value::map([("stream", Value::Text(stream.clone())), ("id", Value::Text(id)), ("value", fields)])
}
