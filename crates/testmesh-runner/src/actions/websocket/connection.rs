//! A connection: opened by the run's connector, its messages taken off the wire beside the steps until the run is over.
//!
//! Reading goes on whatever the steps do, so that pings are answered and nothing is lost between two steps; what waits
//! to be looked at is bounded, and beyond that the server waits.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytestring::ByteString;
use futures::{FutureExt, SinkExt, StreamExt};
use http::header::{COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use testmesh_shared::net::NetError;
use testmesh_shared::tls::{TlsClient, TlsError, TlsOptions};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::action::ActionError;
use crate::actions::http_request::{HttpSession, chain};
use crate::engine::ActionContext;
use crate::record::ErrorKind;

/// Messages, and bytes of them, that may wait to be looked at.
const MOST_WAITING: usize = 10_000;
const MOST_BYTES: usize = 64 << 20;
/// Messages that may wait to be sent.
const MOST_OUTGOING: usize = 16;
/// Bytes of a refusal's body that are shown.
const SHOWN_BODY: usize = 200;
/// What the connection is given up with when the run is over (RFC 6455, section 7.4.1: "going away").
const GOING_AWAY: u16 = 1001;
/// No code came (the same section).
const NO_CODE: u16 = 1005;
/// The connection ended without a closing handshake.
const ABNORMAL: u16 = 1006;

/// The connections of one run, by name.
#[derive(Default)]
pub(super) struct Sockets {
    pub(super) open: Mutex<HashMap<ByteString, Arc<Connection>>>,
    tls: TlsClient,
}

/// Where a connection leads to.
pub(super) struct Target {
    pub(super) url: Url,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) subprotocols: Vec<ByteString>,
    pub(super) tls: TlsOptions,
    /// Bytes that one message may have.
    pub(super) max_message: usize,
}

impl Target {
    /// What may be shown of the URL.
    pub(super) fn shown(&self) -> String {
        testmesh_shared::http::shown(&self.url)
    }

    fn is_secure(&self) -> bool {
        matches!(self.url.scheme(), "wss" | "https")
    }
}

/// What the server answered to the handshake.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
}

/// Why there is no connection.
pub(super) enum Refused {
    /// The server answered with something else than a handshake.
    Answered {
        answer: Box<Answer>,
        body: String,
    },
    Failed(ActionError),
}

/// An open connection, or one that was open.
pub(super) struct Connection {
    /// What may be shown of its URL.
    pub(super) shown: String,
    pub(super) subprotocol: Option<ByteString>,
    outgoing: mpsc::Sender<Outgoing>,
    inbox: Arc<Inbox>,
}

struct Outgoing {
    message: Message,
    done: oneshot::Sender<Result<(), String>>,
}

/// How a connection ended.
#[derive(Debug, Clone)]
pub(super) struct Closed {
    pub(super) code: u16,
    pub(super) reason: ByteString,
    /// What went wrong, when it was no closing handshake.
    pub(super) error: Option<String>,
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.error, self.reason.is_empty()) {
            (Some(error), _) => write!(f, "the connection broke: {error}"),
            (None, true) => write!(f, "the connection was closed with code {}", self.code),
            (None, false) => write!(f, "the connection was closed with code {}: {}", self.code, self.reason),
        }
    }
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}
type Socket = WebSocketStream<Box<dyn Transport>>;

/// Opens a connection, and keeps its messages from now on.
pub(super) async fn connect(
    cx: &ActionContext<'_>,
    sockets: &Sockets,
    target: &Target,
) -> Result<(Arc<Connection>, Answer), Refused> {
    let request = request(cx, target).map_err(Refused::Failed)?;
    let transport = transport(cx, sockets, target).await.map_err(Refused::Failed)?;
    let config =
        WebSocketConfig::default().max_message_size(Some(target.max_message)).max_frame_size(Some(target.max_message));
    let (socket, response) = match client_async_with_config(request, transport, Some(config)).await {
        Ok(opened) => opened,
        Err(Error::Http(response)) => {
            let (head, body) = response.into_parts();
            let body = body.unwrap_or_default();
            let body = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BODY)]).into_owned();
            let answer = Box::new(Answer { status: head.status.as_u16(), headers: head.headers });
            return Err(Refused::Answered { answer, body });
        }
        Err(error) => return Err(Refused::Failed(failed(&error))),
    };
    let answer = Answer { status: response.status().as_u16(), headers: response.headers().clone() };
    let chosen = answer.headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let subprotocol = chosen.map(ByteString::from);
    let (sender, outgoing) = mpsc::channel(MOST_OUTGOING);
    let inbox = Arc::new(Inbox::default());
    let kept = Arc::clone(&inbox);
    cx.run_beside(|ending| pump(socket, outgoing, kept, ending).boxed());
    let connection = Connection { shown: target.shown(), subprotocol, outgoing: sender, inbox };
    Ok((Arc::new(connection), answer))
}

fn request(cx: &ActionContext<'_>, target: &Target) -> Result<http::Request<()>, ActionError> {
    let mut plain = target.url.clone();
    plain.set_fragment(None);
    let credentials = (!plain.username().is_empty()).then(|| {
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        (decode(plain.username()), decode(plain.password().unwrap_or_default()))
    });
    // Both fail only for URLs without a host, and this one has one.
    let _ = plain.set_username("");
    let _ = plain.set_password(None);
    let unusable = |error: &dyn std::fmt::Display| {
        ActionError::new(ErrorKind::Config, format!("`url` cannot be asked for: {error}"))
    };
    let mut request = plain.as_str().into_client_request().map_err(|error| unusable(&error))?;
    let headers = request.headers_mut();
    let trace = HeaderValue::from_str(&cx.traceparent()).map_err(|error| unusable(&error))?;
    headers.insert(HeaderName::from_static("traceparent"), trace);
    if let Some((username, password)) = credentials {
        let value = crate::actions::http_request::basic(&username, &password);
        headers.insert(http::header::AUTHORIZATION, value);
    }
    if !target.subprotocols.is_empty() {
        let offered = target.subprotocols.iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
        let offered = HeaderValue::from_str(&offered)
            .map_err(|_| ActionError::new(ErrorKind::Config, "`subprotocols` has a name that cannot be sent"))?;
        headers.insert(SEC_WEBSOCKET_PROTOCOL, offered);
    }
    if let Some(cookies) = HttpSession::of(cx).cookie_header(&plain) {
        headers.insert(COOKIE, cookies);
    }
    for (name, value) in &target.headers {
        headers.insert(name, value.clone());
    }
    Ok(request)
}

async fn transport(
    cx: &ActionContext<'_>,
    sockets: &Sockets,
    target: &Target,
) -> Result<Box<dyn Transport>, ActionError> {
    let host = target.url.host_str().unwrap_or_default();
    let secure = target.is_secure();
    let port = target.url.port().unwrap_or(if secure { 443 } else { 80 });
    let tcp = cx.connector().tcp(host, port).await.map_err(|error| match error {
        NetError::Denied { .. } => ActionError::new(ErrorKind::Policy, error.to_string()),
        NetError::Resolve { .. } | NetError::Connect { .. } => ActionError::new(ErrorKind::Connection, chain(&error)),
    })?;
    if !secure {
        return Ok(Box::new(tcp.stream));
    }
    let tls = sockets.tls.handshake(tcp.stream, host, &target.tls, &[]).await.map_err(|error| match error {
        TlsError::Settings { .. } => ActionError::new(ErrorKind::Config, error.to_string()),
        TlsError::Handshake { .. } => ActionError::new(ErrorKind::Connection, chain(&error)),
    })?;
    Ok(Box::new(tls))
}

fn failed(error: &Error) -> ActionError {
    let kind = match error {
        Error::Io(_) | Error::Tls(_) | Error::ConnectionClosed | Error::AlreadyClosed => ErrorKind::Connection,
        Error::Url(_) | Error::HttpFormat(_) => ErrorKind::Config,
        _ => ErrorKind::Protocol,
    };
    ActionError::new(kind, format!("the handshake failed: {}", chain(error)))
}

impl Connection {
    /// Sends a message, or says why it cannot.
    pub(super) async fn send(&self, message: Message) -> Result<(), ActionError> {
        let (done, sent) = oneshot::channel();
        let gone = || {
            let why = self.closed().map_or_else(|| "the connection is closed".to_owned(), |closed| closed.to_string());
            ActionError::new(ErrorKind::Connection, why)
        };
        if self.closed().is_some() {
            return Err(gone());
        }
        self.outgoing.send(Outgoing { message, done }).await.map_err(|_| gone())?;
        let sent = sent.await.map_err(|_| gone())?;
        sent.map_err(|error| ActionError::new(ErrorKind::Connection, format!("the message was not sent: {error}")))
    }

    /// The next message; `Err` when none will come.
    pub(super) async fn next(&self) -> Result<Message, Closed> {
        self.inbox.next().await
    }

    /// How it ended, when it did.
    pub(super) fn closed(&self) -> Option<Closed> {
        self.inbox.state.lock().closed.clone()
    }

    /// Says goodbye and waits for the server to do the same.
    pub(super) async fn close(&self, code: u16, reason: &str) -> Result<Closed, ActionError> {
        if self.closed().is_none() {
            let frame = CloseFrame { code: code.into(), reason: reason.into() };
            self.send(Message::Close(Some(frame))).await?;
        }
        Ok(self.inbox.end().await)
    }
}

/// Messages that came and that no step took yet.
#[derive(Default)]
struct Inbox {
    state: Mutex<Waiting>,
    /// A message came, or the end.
    arrived: Notify,
    /// A message was taken.
    room: Notify,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Message>,
    bytes: usize,
    closed: Option<Closed>,
}

impl Inbox {
    async fn next(&self) -> Result<Message, Closed> {
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            // Enabled before looking, so that what comes in between is not missed.
            arrived.as_mut().enable();
            {
                let mut state = self.state.lock();
                if let Some(message) = state.messages.pop_front() {
                    state.bytes -= message.len();
                    self.room.notify_one();
                    return Ok(message);
                }
                if let Some(closed) = &state.closed {
                    return Err(closed.clone());
                }
            }
            arrived.await;
        }
    }

    /// Waits for the end, whatever comes before it.
    async fn end(&self) -> Closed {
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            arrived.as_mut().enable();
            if let Some(closed) = self.state.lock().closed.clone() {
                return closed;
            }
            arrived.await;
        }
    }

    async fn has_room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            {
                let state = self.state.lock();
                if state.messages.len() < MOST_WAITING && state.bytes < MOST_BYTES {
                    return;
                }
            }
            room.await;
        }
    }

    fn push(&self, message: Message) {
        let mut state = self.state.lock();
        state.bytes += message.len();
        state.messages.push_back(message);
        drop(state);
        self.arrived.notify_waiters();
    }

    /// Notes the end. The first one counts.
    fn close(&self, closed: Closed) {
        self.state.lock().closed.get_or_insert(closed);
        self.arrived.notify_waiters();
    }
}

/// Whoever waits is told when the pump is gone, in whatever way.
struct ClosesInbox(Arc<Inbox>);

impl Drop for ClosesInbox {
    fn drop(&mut self) {
        self.0.close(Closed {
            code: ABNORMAL,
            reason: ByteString::default(),
            error: Some("it was dropped".to_owned()),
        });
    }
}

/// Moves messages until the connection has ended.
async fn pump(socket: Socket, mut outgoing: mpsc::Receiver<Outgoing>, inbox: Arc<Inbox>, ending: CancellationToken) {
    let inbox = ClosesInbox(inbox);
    let (mut sink, mut stream) = socket.split();
    let reading = async {
        loop {
            inbox.0.has_room().await;
            match stream.next().await {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => inbox.0.push(message),
                Some(Ok(Message::Close(frame))) => inbox.0.close(closed(frame)),
                // Pings are answered by the library.
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let error = Some(chain(&error));
                    return inbox.0.close(Closed { code: ABNORMAL, reason: ByteString::default(), error });
                }
                None => return inbox.0.close(closed(None)),
            }
        }
    };
    let writing = async {
        loop {
            let next = tokio::select! {
                biased;
                // Cancel-safe per docs on `recv()`.
                next = outgoing.recv() => next,
                // Cancel-safe: a wait for a signal.
                () = ending.cancelled() => None,
            };
            let Some(Outgoing { message, done }) = next else { break };
            let sent = sink.send(message).await.map_err(|error| chain(&error));
            // Nobody is there to be told when the step was stopped.
            drop(done.send(sent));
        }
        let frame = CloseFrame { code: GOING_AWAY.into(), reason: "".into() };
        // When that cannot be sent any more, the reading side knows.
        drop(sink.send(Message::Close(Some(frame))).await);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        // Neither goes on after the other has ended.
        () = reading => {}
        () = writing => {}
    }
}

fn closed(frame: Option<CloseFrame>) -> Closed {
    let (code, reason) = frame
        .map_or((NO_CODE, ByteString::default()), |frame| (frame.code.into(), ByteString::from(frame.reason.as_str())));
    Closed { code, reason, error: None }
}
