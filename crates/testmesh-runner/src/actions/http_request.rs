//! `http_request`: sends a request, follows redirects, and makes the answer a result.
//!
//! Every request of a run goes through one pooled client and one cookie jar. Dropping the action's future closes its
//! sockets: nothing here runs in a task of its own.

mod address;
mod auth;
mod challenge;
mod events;
mod openapi;
mod payload;
mod plan;
mod redirect;
mod response;
mod session;
mod spec;
mod stream;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, Request, StatusCode};
use testmesh_shared::http::{FullResponse, HttpError, HttpErrorKind, Response, request_uri, shown};
use url::Url;

pub(super) use self::address::parse_url;
pub(super) use self::auth::basic;
pub(super) use self::payload::file_error;
use self::plan::Plan;
#[cfg(feature = "kafka")]
pub(super) use self::plan::read_connection;
pub(super) use self::plan::read_pem;
pub(super) use self::session::HttpSession;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Arm};
use crate::engine::{ActionContext, at_once};
use crate::flow::Step;
use crate::record::ErrorKind;
use crate::value::Value;

/// As much of a redirect's body is read, so that its connection can be used again.
const REDIRECT_BODY_LIMIT: u64 = 64 << 10;

/// The action.
pub(crate) struct HttpRequest;

#[async_trait]
impl Action for HttpRequest {
    fn spec(&self) -> &'static ActionSpec {
        &spec::SPEC
    }

    fn waits_in(&self, step: &Step) -> bool {
        step.config.get("stream").is_some()
    }

    fn arms(&self) -> Option<&dyn Arm> {
        Some(self)
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        if self.waits_in(cx.step) && cx.resolve()?.boolean("stream")?.unwrap_or(false) {
            return at_once(self, cx).await;
        }
        let session = HttpSession::of(cx);
        let mut plan = Plan::read(cx).await?;
        cx.note_request(plan.shown());
        let limit = plan.timeout;
        let exchange = exchange(&session, &mut plan);
        let outcome = match limit {
            None => exchange.await,
            Some(limit) => match tokio::time::timeout(limit, exchange).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure::new(ErrorKind::Timeout, format!("no complete answer within {limit:?}"))),
            },
        };
        let failed =
            |failure: Failure| ActionError::new(failure.kind, format!("{}: {}", plan.target(), failure.message));
        let answer = outcome.map_err(failed)?;
        if let Some(expected) = &plan.expected {
            cx.note_assertions(vec![expected.check(&plan.method, &answer, cx.step.line)?]);
        }
        response::result(&plan, answer).map_err(failed)
    }
}

/// What went wrong, without the request's name, which is put before it in one place.
#[derive(Debug)]
struct Failure {
    kind: ErrorKind,
    message: String,
}

impl Failure {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        let message = match &error {
            HttpError::TooLarge { .. } => format!("{error} (`max_body`)"),
            _ => chain(&error),
        };
        Self { kind: kind_of(&error), message }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors repeat their cause in their own text.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

pub(super) fn kind_of(error: &HttpError) -> ErrorKind {
    match error.kind() {
        HttpErrorKind::Config => ErrorKind::Config,
        HttpErrorKind::Policy => ErrorKind::Policy,
        HttpErrorKind::Connection => ErrorKind::Connection,
        HttpErrorKind::Protocol => ErrorKind::Protocol,
    }
}

/// One request of the chain that redirects and challenges make.
struct Hop {
    method: Method,
    url: Url,
    headers: Arc<HeaderMap>,
    body: Bytes,
    /// Whether this is still the origin that the flow names: only that one gets credentials and cookies of the step.
    trusted: bool,
}

/// The answer to the last request, its body still to come, and what led there.
struct Reached {
    response: Response,
    url: Url,
    redirects: Vec<Value>,
    cookies: Vec<(ByteString, Value)>,
    started: Instant,
}

/// The answer to the last request, and what led there.
struct Answer {
    response: FullResponse,
    url: Url,
    redirects: Vec<Value>,
    cookies: Vec<(ByteString, Value)>,
    started: Instant,
}

async fn exchange(session: &HttpSession, plan: &mut Plan) -> Result<Answer, Failure> {
    let Reached { response, url, redirects, cookies, started } = reach(session, plan).await?;
    let response = response.collect(plan.max_body).await?;
    Ok(Answer { response, url, redirects, cookies, started })
}

/// Sends the request, and follows where the answers lead.
async fn reach(session: &HttpSession, plan: &mut Plan) -> Result<Reached, Failure> {
    let started = Instant::now();
    plan.authorize(session).await?;
    let mut hop = Hop {
        method: plan.method.clone(),
        url: plan.url.clone(),
        headers: Arc::clone(&plan.headers),
        body: plan.payload.bytes.clone(),
        trusted: true,
    };
    let mut redirects = Vec::new();
    let mut cookies = Vec::new();
    let mut challenged = false;
    loop {
        let response = send(session, plan, &hop).await?;
        note_cookies(session, plan, &hop.url, &response, &mut cookies);
        if !challenged
            && hop.trusted
            && let Some(value) = challenge::answer(plan, &hop, &response)?
        {
            challenged = true;
            Arc::make_mut(&mut hop.headers).insert(http::header::AUTHORIZATION, value);
            skip_body(response).await;
            continue;
        }
        let next = if plan.follow_redirects { redirect_target(&hop, &response)? } else { None };
        let Some(next) = next else {
            return Ok(Reached { response, url: hop.url, redirects, cookies, started });
        };
        if redirects.len() >= plan.max_redirects {
            let message =
                format!("more than {} redirects (`max_redirects`), the next to `{}`", redirects.len(), shown(&next));
            return Err(Failure::new(ErrorKind::Protocol, message));
        }
        redirects.push(Value::map([
            ("status", Value::Int(i64::from(response.status.as_u16()))),
            ("url", Value::Text(plan.display(&hop.url).into())),
            ("location", Value::Text(plan.display(&next).into())),
        ]));
        redirect::follow(&mut hop, response.status, next, &plan.secret_headers);
        skip_body(response).await;
    }
}

async fn send(session: &HttpSession, plan: &Plan, hop: &Hop) -> Result<Response, Failure> {
    let mut request = Request::new(hop.body.clone());
    *request.method_mut() = hop.method.clone();
    *request.uri_mut() = request_uri(&hop.url)?;
    *request.headers_mut() = HeaderMap::clone(&hop.headers);
    if !hop.headers.contains_key(COOKIE)
        && let Some(cookie) = plan.cookie_header(session, &hop.url, hop.trusted)
    {
        request.headers_mut().insert(COOKIE, cookie);
    }
    Ok(session.client.send(request, &plan.connection).await?)
}

fn note_cookies(
    session: &HttpSession,
    plan: &Plan,
    url: &Url,
    response: &Response,
    seen: &mut Vec<(ByteString, Value)>,
) {
    let set = session::set_cookies(&response.headers);
    for cookie in &set {
        seen.push((cookie.name().into(), Value::Text(cookie.value().into())));
    }
    if plan.use_jar && !set.is_empty() {
        session.cookies.lock().store_response_cookies(set.into_iter(), url);
    }
}

/// Where the answer sends the request on to; `None` when it does not.
fn redirect_target(hop: &Hop, response: &Response) -> Result<Option<Url>, Failure> {
    let redirects = matches!(
        response.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = response.headers.get(LOCATION).filter(|_| redirects) else { return Ok(None) };
    let location = String::from_utf8_lossy(location.as_bytes());
    match hop.url.join(&location) {
        Ok(next) if matches!(next.scheme(), "http" | "https") => Ok(Some(next)),
        _ => Err(Failure::new(
            ErrorKind::Protocol,
            format!("the answer redirects to `{location}`, which is no HTTP URL"),
        )),
    }
}

/// Reads what is left of an answer that nobody looks at. When that fails the connection just cannot be used again.
async fn skip_body(response: Response) {
    // On the heap: rare, and every request would have to make room for it.
    let _ = Box::pin(response.collect(REDIRECT_BODY_LIMIT)).await;
}

/// A header's name and value, or what is wrong with them.
pub(super) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), ActionError> {
    let refuse = |what| ActionError::new(ErrorKind::Config, format!("the header `{name}` has {what}"));
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse("a name that cannot be sent"))?;
    let value = HeaderValue::from_str(value)
        .or_else(|_| HeaderValue::from_bytes(value.as_bytes()))
        .map_err(|_| refuse("a value that cannot be sent (a line break or control character)"))?;
    Ok((name, value))
}
