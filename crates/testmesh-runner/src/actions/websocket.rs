//! `websocket`: connections that are kept by name for the run, one verb in a step or a script in one.

mod connection;
mod spec;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use bytestring::ByteString;
use http::HeaderMap;
use tokio_tungstenite::tungstenite::Message;
use url::Url;

use self::connection::{Answer, Connection, Refused, Sockets, Target, connect};
pub(super) use self::spec::VERBS;
use crate::action::{ActionError, ActionResult, ActionSpec, Arm, Expectation, Waits};
use crate::actions::http_request::header;
use crate::actions::matching::Matching;
use crate::actions::messages::value_and_raw;
use crate::actions::tls;
use crate::engine::{ActionContext, Patience, Resolved};
use crate::flow::Step;
use crate::record::ErrorKind;
use crate::units::show_duration;
use crate::value::{Map, Value};

/// Bytes that one message may have unless the step says otherwise.
const DEFAULT_MAX_MESSAGE: u64 = 16 << 20;
/// Bytes of a close reason (RFC 6455, section 5.5: a control frame has at most 125, two of them for the code).
const LONGEST_REASON: usize = 123;

/// The action.
pub(crate) struct Websocket;

impl Waits for Websocket {
    const SPEC: &'static ActionSpec = &spec::SPEC;
}

#[async_trait]
impl Arm for Websocket {
    fn refuses(&self, step: &Step) -> Option<&'static str> {
        match step.verb.as_deref() {
            Some("connect" | "send" | "close") => Some("of the verbs only `receive` waits"),
            _ => None,
        }
    }

    async fn arm(&self, cx: &ActionContext<'_>) -> Result<Expectation, ActionError> {
        let since = Instant::now();
        let config = cx.resolve()?;
        let mut plan = Plan::read(cx, &config)?;
        let limit = match plan.acts.last_mut() {
            // What an armed step waits with counts from when it is awaited.
            Some(act) if cx.in_background() => act.timeout.take(),
            _ => None,
        };
        let limit = limit.or(config.duration("timeout")?).unwrap_or(Duration::from_secs(30));
        let patience = cx.patience(limit);
        let sockets = cx.resource(Sockets::default);
        let target = if plan.connects { Some(target(cx, &config).await?) } else { None };
        let shown = target.as_ref().map(Target::shown);
        cx.note_request(plan.shown(shown.as_deref()).into());
        let within = |error: ActionError| match &shown {
            Some(shown) => ActionError { message: format!("`{shown}`: {}", error.message), ..error },
            None => error,
        };
        let (connection, answer) = match &target {
            None => (sockets.open.lock().get(&plan.name).cloned().ok_or_else(|| missing(&plan.name))?, None),
            Some(target) => {
                let opened = patience.within("no connection", connect(cx, &sockets, target)).await.map_err(within)?;
                match opened {
                    Ok((connection, answer)) => (connection, Some(answer)),
                    Err(Refused::Failed(error)) => return Err(within(error)),
                    Err(Refused::Answered { answer, body }) => {
                        let refusal = refused(cx, &answer, &body, since).map_err(within)?;
                        return Ok(Box::pin(async { Ok(refusal) }));
                    }
                }
            }
        };
        if plan.keeps {
            sockets.open.lock().insert(plan.name.clone(), Arc::clone(&connection));
        }
        let mut talk = Talk { connection, answer, messages: Vec::new(), n_sent: 0, since };
        let last = plan.acts.iter().rposition(|act| act.verb == Verb::Receive).unwrap_or(plan.acts.len());
        let rest = plan.acts.split_off(last);
        let first = talk.acts(plan.acts);
        if let Err(error) = patience.within("not done", first).await.and_then(|done| done) {
            return Err(talk.failed(error));
        }
        Ok(Box::pin(expect(talk, rest, patience)))
    }
}

/// Does what is left, in the time there is.
async fn expect(mut talk: Talk, acts: Vec<Act>, patience: Patience) -> Result<ActionResult, ActionError> {
    let enough = acts.first().map_or(0, |act| act.min_count);
    let before = talk.messages.len();
    let outcome = tokio::select! {
        biased;
        // Dropping it leaves what came in the talk.
        outcome = talk.acts(acts) => outcome,
        // Cancel-safe: waits for a signal and a timer.
        limit = patience.over() => {
            let n_found = talk.messages.len() - before;
            if n_found >= enough {
                Ok(())
            } else {
                Err(too_few(n_found, enough, limit))
            }
        }
    };
    match outcome {
        Ok(()) => Ok(talk.result()),
        Err(error) => Err(talk.failed(error)),
    }
}

fn too_few(n_found: usize, enough: usize, limit: Duration) -> ActionError {
    let message = format!("{n_found} of {enough} messages within {}", show_duration(limit));
    ActionError::new(ErrorKind::Timeout, message)
}

fn missing(name: &str) -> ActionError {
    let message = format!("there is no connection `{name}`: a step with `websocket.connect` opens it");
    ActionError::new(ErrorKind::Config, message)
}

/// A server that answered with something else: data when an assertion is about it, an error otherwise.
fn refused(cx: &ActionContext<'_>, answer: &Answer, body: &str, since: Instant) -> Result<ActionResult, ActionError> {
    let status = answer.status;
    let result = result_of(Some(answer), None, Vec::new(), 0, since);
    if cx.step.asserts_on("status") {
        return Ok(result);
    }
    let said = if body.trim().is_empty() { String::new() } else { format!(": {}", body.trim()) };
    let message = format!("the server answered {status} instead of opening a WebSocket{said}");
    Err(ActionError { partial: Some(Box::new(result)), ..ActionError::new(ErrorKind::Protocol, message) })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Send,
    Receive,
    Close,
}

/// One thing to do on an open connection.
struct Act {
    verb: Verb,
    message: Option<Message>,
    /// `text` or `binary`.
    kind: Option<ByteString>,
    matching: Matching,
    count: usize,
    min_count: usize,
    timeout: Option<Duration>,
    code: u16,
    reason: ByteString,
}

impl Act {
    /// `place` is where the step's configuration has this one's conditions.
    fn read(cx: &ActionContext<'_>, config: &Resolved, verb: Verb, place: &str) -> Result<Self, ActionError> {
        let count = config.integer("count")?.map_or(1, |count| usize::try_from(count).unwrap_or(0));
        let min_count = config.integer("min_count")?.map_or(count, |least| usize::try_from(least).unwrap_or(0));
        let reason = config.text("reason")?.unwrap_or_default();
        if reason.len() > LONGEST_REASON {
            let message = format!("`reason` has {} bytes, more than {LONGEST_REASON}", reason.len());
            return Err(ActionError::new(ErrorKind::Config, message));
        }
        let message = message(config)?;
        if verb == Verb::Send && message.is_none() {
            return Err(ActionError::new(ErrorKind::Config, "`message` is missing: what to send"));
        }
        let code = config.integer("code")?.map_or(1000, |code| u16::try_from(code).unwrap_or(1000));
        let timeout = config.duration("timeout")?;
        let kind = config.section("match")?.unwrap_or_default().text("type")?;
        let matching = Matching::of(cx, place);
        Ok(Self { verb, message, kind, matching, count, min_count, timeout, code, reason })
    }
}

/// What a step asks for.
struct Plan {
    name: ByteString,
    /// Whether it opens a connection, and whether later steps use that.
    connects: bool,
    keeps: bool,
    acts: Vec<Act>,
    verb: ByteString,
}

impl Plan {
    fn read(cx: &ActionContext<'_>, config: &Resolved) -> Result<Self, ActionError> {
        let name = config.text("connection")?.unwrap_or_else(|| "default".into());
        let verb = match &cx.step.verb {
            Some(verb) => Some(ByteString::from(verb.as_str())),
            None => config.text("verb")?,
        };
        let has_url = config.text("url")?.is_some();
        let alone = |verb: Verb| {
            let act = Act::read(cx, config, verb, "match.json_path")?;
            Ok::<_, ActionError>(vec![Act { timeout: None, ..act }])
        };
        let (connects, keeps, acts) = match verb.as_deref() {
            Some("connect") => (true, true, Vec::new()),
            Some("send") => (has_url, has_url, alone(Verb::Send)?),
            Some("receive") => (has_url, has_url, alone(Verb::Receive)?),
            Some("close") => (false, false, alone(Verb::Close)?),
            Some(other) => {
                let message = format!("`{other}` is none of {}", VERBS.join(", "));
                return Err(ActionError::new(ErrorKind::Config, message));
            }
            None => (has_url, false, script(cx, config, has_url)?),
        };
        let verb = verb.unwrap_or_else(|| "script".into());
        Ok(Self { name, connects, keeps, acts, verb })
    }

    fn shown(&self, url: Option<&str>) -> Value {
        let sent = self.acts.iter().filter_map(|act| act.message.as_ref()).map(seen);
        Value::map([
            ("verb", Value::Text(self.verb.clone())),
            ("connection", Value::Text(self.name.clone())),
            ("url", url.map_or(Value::Null, Value::from)),
            ("messages", Value::list(sent.filter_map(|message| message.get("value")).collect())),
        ])
    }
}

/// The acts of a step without a verb: its `actions`, or to send, to wait and to close.
fn script(cx: &ActionContext<'_>, config: &Resolved, closes: bool) -> Result<Vec<Act>, ActionError> {
    let mut acts = Vec::new();
    let listed = config.list("actions")?;
    for (index, item) in listed.iter().enumerate() {
        let section = Resolved::new(crate::engine::entries(item).unwrap_or_default().into_iter().collect());
        let verb = match section.text("type")?.as_deref() {
            // It is open already.
            Some("connect") if index == 0 => continue,
            Some("send") => Verb::Send,
            Some("receive") => Verb::Receive,
            Some("close") => Verb::Close,
            other => {
                let message = format!("`actions[{index}]` is `{}`: it is send, receive or close", other.unwrap_or(""));
                return Err(ActionError::new(ErrorKind::Config, message));
            }
        };
        acts.push(Act::read(cx, &section, verb, &format!("actions.{index}.match.json_path"))?);
    }
    if listed.is_empty() {
        let act = Act::read(cx, config, Verb::Receive, "match.json_path")?;
        if act.message.is_some() {
            acts.push(Act::read(cx, config, Verb::Send, "match.json_path")?);
        }
        acts.push(Act { timeout: None, message: None, ..act });
    }
    if closes && acts.last().is_none_or(|act| act.verb != Verb::Close) {
        acts.push(Act { timeout: None, message: None, ..Act::read(cx, config, Verb::Close, "match.json_path")? });
    }
    Ok(acts)
}

/// What a step sends.
fn message(config: &Resolved) -> Result<Option<Message>, ActionError> {
    let there = |key: &str| config.value(key).filter(|value| !value.is_null());
    match (there("message"), there("json"), there("binary")) {
        (None, None, None) => Ok(None),
        (Some(value), None, None) => Ok(Some(match value {
            Value::Text(text) => Message::text(text.to_string()),
            Value::Bytes(bytes) => Message::Binary(bytes.clone()),
            other => Message::text(other.to_json().to_string()),
        })),
        (None, Some(value), None) => Ok(Some(Message::text(value.to_json().to_string()))),
        (None, None, Some(Value::Bytes(bytes))) => Ok(Some(Message::Binary(bytes.clone()))),
        (None, None, Some(value)) => {
            let text = value.to_text().unwrap_or_default();
            let decoded = base64::engine::general_purpose::STANDARD.decode(text.trim());
            let wrong = |error| ActionError::new(ErrorKind::Config, format!("`binary` is no base64: {error}"));
            Ok(Some(Message::Binary(Bytes::from(decoded.map_err(wrong)?))))
        }
        _ => Err(ActionError::new(ErrorKind::Config, "give one of `message`, `json` and `binary`")),
    }
}

async fn target(cx: &ActionContext<'_>, config: &Resolved) -> Result<Target, ActionError> {
    let url = parse_url(&config.required_text("url")?)?;
    let mut headers = Vec::new();
    for (name, value) in &config.map("headers")? {
        headers.push(header(name, &value.to_text().unwrap_or_default())?);
    }
    let subprotocols = config.list("subprotocols")?;
    let tls = tls::options(config, cx.files()).await?;
    tls::needed(&tls, url.scheme() == "wss", "take `wss` in `url`")?;
    let max_message = config.size("max_message")?.unwrap_or(DEFAULT_MAX_MESSAGE);
    Ok(Target {
        url,
        headers,
        subprotocols: subprotocols.iter().filter_map(Value::to_text).collect(),
        tls,
        max_message: usize::try_from(max_message).unwrap_or(usize::MAX),
    })
}

fn parse_url(text: &str) -> Result<Url, ActionError> {
    let refuse = |what: &str| ActionError::new(ErrorKind::Config, format!("`url` takes {what}"));
    let url = Url::parse(text.trim()).map_err(|error| refuse(&format!("a URL ({error})")))?;
    match url.scheme() {
        "ws" | "wss" => Ok(url),
        "http" | "https" => {
            let rest = text.trim().split_once(':').map_or("", |(_, rest)| rest);
            let scheme = if url.scheme() == "http" { "ws" } else { "wss" };
            Url::parse(&format!("{scheme}:{rest}")).map_err(|error| refuse(&format!("a URL ({error})")))
        }
        other => Err(refuse(&format!("`ws://…` or `wss://…`, not `{other}://…`"))),
    }
}

/// What was said on a connection so far.
struct Talk {
    connection: Arc<Connection>,
    answer: Option<Answer>,
    messages: Vec<Value>,
    n_sent: usize,
    since: Instant,
}

impl Talk {
    async fn acts(&mut self, acts: Vec<Act>) -> Result<(), ActionError> {
        for act in acts {
            let limit = act.timeout;
            let (before, enough) = (self.messages.len(), act.min_count);
            let Some(limit) = limit else {
                self.act(act).await?;
                continue;
            };
            if let Ok(done) = tokio::time::timeout(limit, self.act(act)).await {
                done?;
                continue;
            }
            let n_found = self.messages.len() - before;
            if n_found < enough {
                return Err(too_few(n_found, enough, limit));
            }
        }
        Ok(())
    }

    async fn act(&mut self, act: Act) -> Result<(), ActionError> {
        match act.verb {
            Verb::Send => {
                if let Some(message) = act.message {
                    self.connection.send(message).await?;
                    self.n_sent += 1;
                }
                Ok(())
            }
            Verb::Receive => self.receive(&act).await,
            Verb::Close => self.connection.close(act.code, &act.reason).await.map(|_| ()),
        }
    }

    async fn receive(&mut self, act: &Act) -> Result<(), ActionError> {
        let count = act.count;
        let mut n_found = 0;
        while n_found < count {
            let next = self.connection.next().await;
            let next = next.map_err(|closed| {
                let message = format!("{n_found} of {count} messages came before {closed}");
                ActionError::new(ErrorKind::Connection, message)
            });
            let message = seen(&next?);
            let value = message.get("value").unwrap_or_default();
            let kind = message.get("type").and_then(|kind| kind.to_text());
            if act.kind.as_ref().is_none_or(|wanted| kind.as_ref() == Some(wanted))
                && act.matching.takes(&message, value)?
            {
                self.messages.push(message);
                n_found += 1;
            }
        }
        Ok(())
    }

    fn result(self) -> ActionResult {
        result_of(self.answer.as_ref(), Some(&self.connection), self.messages, self.n_sent, self.since)
    }

    fn failed(self, error: ActionError) -> ActionError {
        let ActionError { kind, message, .. } = error;
        let message = format!("`{}`: {message}", self.connection.shown);
        ActionError { kind, message, partial: Some(Box::new(self.result())) }
    }
}

/// A message as a flow sees it.
fn seen(message: &Message) -> Value {
    let (kind, value, raw) = match message {
        Message::Text(text) => {
            let (value, raw) = value_and_raw(Bytes::copy_from_slice(text.as_bytes()));
            ("text", value, raw)
        }
        other => {
            let bytes = Value::Bytes(other.clone().into_data());
            ("binary", bytes.clone(), bytes)
        }
    };
    Value::map([("type", Value::from(kind)), ("value", value), ("value_raw", raw)])
}

fn result_of(
    answer: Option<&Answer>,
    connection: Option<&Arc<Connection>>,
    messages: Vec<Value>,
    n_sent: usize,
    since: Instant,
) -> ActionResult {
    let closed = connection.map(|connection| connection.closed());
    let primary = messages.first().and_then(|message| message.get("value"));
    let ended = closed.clone().flatten();
    let subprotocol = connection.and_then(|connection| connection.subprotocol.clone());
    let result = Value::map([
        ("received", Value::from(messages.len())),
        ("messages", Value::list(messages)),
        ("sent", Value::from(n_sent)),
        ("connected", Value::Bool(closed.is_some_and(|closed| closed.is_none()))),
        ("close_code", ended.as_ref().map_or(Value::Null, |closed| Value::Int(closed.code.into()))),
        ("close_reason", ended.map_or(Value::Null, |closed| Value::Text(closed.reason))),
        ("subprotocol", subprotocol.map_or(Value::Null, Value::Text)),
        ("status", answer.map_or(Value::Null, |answer| Value::Int(answer.status.into()))),
        ("headers", answer.map_or(Value::Null, |answer| shown_headers(&answer.headers))),
        ("duration_ms", Value::from(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))),
    ]);
    ActionResult { response: result.clone().into(), result, primary, ..ActionResult::default() }
}

fn shown_headers(headers: &HeaderMap) -> Value {
    let mut map = Map { ignore_case: true, ..Map::default() };
    for (name, value) in headers {
        let text = ByteString::from(String::from_utf8_lossy(value.as_bytes()).into_owned());
        map.entries.insert_new(&ByteString::from(name.as_str()), || Value::Text(text));
    }
    Value::Map(map.into())
}
