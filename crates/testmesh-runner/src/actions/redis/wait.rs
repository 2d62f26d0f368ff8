//! Waiting for messages: channels (`redis.subscribe`, `redis.psubscribe`) and streams (`redis.xread` with a `stream`).
//!
//! A channel's messages come over a connection of their own. A stream is read from the entry that was its last when the
//! step began, so that nothing between two readings is missed.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use testmesh_shared::net::Connector;

use super::Redis;
use super::link::{self, Link, RedisError, Server, Servers};
use super::protocol::Said;
use crate::action::{ActionError, Arm, Expectation};
use crate::actions::messages::{Expected, Source, value_and_raw};
use crate::engine::{ActionContext, Resolved};
use crate::flow::Step;
use crate::record::ErrorKind;
use crate::value::Value;

/// Entries that one reading of a stream brings.
const PAGE: &str = "1000";

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
        let servers = cx.resource(Servers::default);
        let server = servers.read(&config, cx.files()).await?;
        let names = names(&config, waits)?;
        let expected = Expected::read(&config, &["channel", "stream"])?;
        let request = Value::map([
            ("server", Value::Text(server.shown())),
            (waits.key(), Value::list(names.iter().cloned().map(Value::Text).collect())),
            ("count", Value::from(expected.count())),
        ]);
        let place = Place { connector: cx.connector().clone(), servers, server };
        match waits {
            Waits::Channels | Waits::Patterns => {
                let patterns = waits == Waits::Patterns;
                let channels = Channels { place, names, patterns, link: None, early: VecDeque::new() };
                expected.arm(cx, channels, request).await
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
    servers: Arc<Servers>,
    server: Arc<Server>,
}

impl Place {
    async fn open(&self) -> Result<Link, RedisError> {
        link::open(&self.connector, &self.servers, &self.server).await
    }

    fn failed(&self, error: RedisError) -> ActionError {
        error.into_action_error(&self.server.shown())
    }
}

/// Channels, or patterns of their names. What waits to be read waits at the server, which hangs up when it is too much.
struct Channels {
    place: Place,
    names: Vec<ByteString>,
    patterns: bool,
    link: Option<Link>,
    /// What came while others were still being subscribed to.
    early: VecDeque<Value>,
}

impl Channels {
    async fn begin(&mut self) -> Result<(), RedisError> {
        let mut link = self.place.open().await?;
        let command = Bytes::from_static(if self.patterns { b"PSUBSCRIBE" } else { b"SUBSCRIBE" });
        let names = self.names.iter().map(|name| name.as_bytes().clone());
        link.send(&std::iter::once(command).chain(names).collect::<Vec<_>>());
        let mut missing = self.names.len();
        while missing > 0 {
            match link.next().await? {
                Said::Refused(refusal) => return Err(RedisError::Refused(refusal)),
                Said::Push(items) => match message(&items) {
                    Some(message) => self.early.push_back(message),
                    None => missing -= 1,
                },
                Said::Reply(_) => {}
            }
        }
        self.link = Some(link);
        Ok(())
    }

    async fn read(&mut self) -> Result<Value, RedisError> {
        let link = self.link.as_mut().expect("a source is asked for messages once it has subscribed");
        loop {
            match link.next().await? {
                Said::Refused(refusal) => return Err(RedisError::Refused(refusal)),
                Said::Push(items) => {
                    if let Some(message) = message(&items) {
                        return Ok(message);
                    }
                }
                Said::Reply(_) => {}
            }
        }
    }
}

#[async_trait]
impl Source for Channels {
    fn server(&self) -> ByteString {
        self.place.server.shown()
    }

    fn name(&self) -> ByteString {
        self.names.join(", ").into()
    }

    async fn subscribe(&mut self) -> Result<(), ActionError> {
        let begun = self.begin().await;
        begun.map_err(|error| self.place.failed(error))
    }

    async fn next(&mut self) -> Result<Value, ActionError> {
        if let Some(message) = self.early.pop_front() {
            return Ok(message);
        }
        let read = self.read().await;
        read.map_err(|error| self.place.failed(error))
    }
}

/// A message of a channel as a flow sees it; `None` for anything else that a server tells.
fn message(pushed: &[Value]) -> Option<Value> {
    let (kind, mut parts) = (pushed.first()?.as_str()?, pushed[1..].iter().cloned());
    let pattern = match kind {
        "message" | "smessage" => Value::Null,
        "pmessage" => parts.next()?,
        _ => return None,
    };
    let channel = parts.next()?;
    let raw = parts.next()?;
    let value = match &raw {
        Value::Text(text) => value_and_raw(text.as_bytes().clone()).0,
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
        let mut link = self.place.open().await?;
        for (stream, place) in &mut self.places {
            if place.is_none() {
                let last = link.ask(&words(["XREVRANGE", stream, "+", "-", "COUNT", "1"])).await?;
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
        let names = self.places.iter().map(|(stream, _)| &**stream);
        let last = self.places.iter().map(|(_, place)| place.as_deref().unwrap_or("$"));
        let read = ["XREAD", "COUNT", PAGE, "BLOCK", "0", "STREAMS"].into_iter().chain(names).chain(last);
        let page = link.ask(&words(read)).await?;
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

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<Bytes> {
    words.into_iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

#[async_trait]
impl Source for Streams {
    fn server(&self) -> ByteString {
        self.place.server.shown()
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
