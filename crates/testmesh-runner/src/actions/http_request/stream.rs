//! `stream: true`: takes events from an answer that does not end, until there are enough.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use http::header::CONTENT_TYPE;
use testmesh_shared::http::FullResponse;

use super::events::EventReader;
use super::plan::Plan;
use super::{Answer, Failure, HttpSession, Reached, reach, response};
use crate::action::{ActionError, ActionResult, Arm, Expectation, Shown};
use crate::engine::{ActionContext, Patience, at_key, entries};
use crate::expr::Expr;
use crate::flow::Step;
use crate::record::ErrorKind;
use crate::scope::Scope;
use crate::units::show_duration;
use crate::value::Value;

/// How long events are waited for unless the step says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// When there are enough events.
struct Enough {
    until: Option<Expr>,
    scope: Arc<Scope>,
    count: Option<usize>,
}

impl Enough {
    fn read(cx: &ActionContext<'_>, count: Option<i64>) -> Self {
        let until = cx.config().expression("until").cloned();
        let count = count.map(|count| usize::try_from(count).unwrap_or(1));
        Self { until, scope: Arc::clone(cx.names()), count }
    }

    /// Whether anything at all is waited for.
    fn is_wanted(&self) -> bool {
        self.until.is_some() || self.count.is_some()
    }

    /// Whether the event, the latest of `n_events`, is the last one.
    fn is_last(&self, event: &Value, value: Value, n_events: usize) -> Result<bool, Failure> {
        let full = self.count.is_some_and(|count| n_events >= count);
        let Some(until) = &self.until else { return Ok(full) };
        let mut locals: Vec<(ByteString, Value)> = entries(event).unwrap_or_default().into_iter().collect();
        locals.push(("$".into(), value));
        let checked = until.check(self.scope.child(locals).as_ref()).map_err(|error| {
            let error = at_key("until", &error);
            Failure::new(error.kind, error.message)
        })?;
        if full && !checked.holds {
            let message = format!("`{}` did not hold for any of {n_events} events (`count`)", until.source());
            return Err(Failure::new(ErrorKind::Protocol, message));
        }
        Ok(checked.holds)
    }

    fn missed(&self, n_events: usize) -> String {
        match (&self.until, self.count) {
            (Some(until), _) => format!("{n_events} events, and `{}` did not hold", until.source()),
            (None, Some(count)) => format!("{n_events} of {count} events"),
            (None, None) => format!("{n_events} events"),
        }
    }
}

#[async_trait::async_trait]
impl Arm for super::HttpRequest {
    fn refuses(&self, step: &Step) -> Option<&'static str> {
        step.config
            .get("stream")
            .is_none()
            .then_some("an answer is there when the step is done; only `stream: true` waits")
    }

    async fn arm(&self, cx: &ActionContext<'_>) -> Result<Expectation, ActionError> {
        let session = HttpSession::of(cx);
        let mut plan = Plan::read(cx).await?;
        if !plan.stream {
            let message = "`stream` is false, and an answer that ends is there when the step is done";
            return Err(ActionError::new(ErrorKind::Config, message));
        }
        let asked = plan.shown();
        cx.note_request(asked);
        let patience = cx.patience(plan.timeout.unwrap_or(DEFAULT_TIMEOUT));
        let config = cx.resolve()?;
        let enough = Enough::read(cx, config.integer("count")?);
        let reached = patience.within("no answer", reach(&session, &mut plan)).await;
        let named = |plan: &Plan, kind, message: &str| ActionError::new(kind, format!("{}: {message}", plan.target()));
        let reached = match reached {
            Ok(Ok(reached)) => reached,
            Ok(Err(failure)) => return Err(named(&plan, failure.kind, &failure.message)),
            Err(error) => return Err(named(&plan, error.kind, &error.message)),
        };
        let content_type = reached.response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let streams =
            content_type.is_some_and(|text| text.trim_start().to_ascii_lowercase().starts_with("text/event-stream"));
        if streams && reached.response.status.is_success() {
            let stream = EventStream { plan, reached, events: Vec::new(), size: 0 };
            return Ok(Box::pin(stream.expect(enough, patience)));
        }
        // What is no stream is there at once.
        let told = cx.step.asserts_on("status") || !enough.is_wanted();
        let kind = content_type.unwrap_or("no content type").to_owned();
        let Reached { response, url, redirects, cookies, started } = reached;
        let collected = patience.within("no complete answer", response.collect(plan.max_body)).await;
        let collected = collected.map_err(|error| named(&plan, error.kind, &error.message))?;
        let response = collected.map_err(|error| {
            let failure = Failure::from(error);
            named(&plan, failure.kind, &failure.message)
        })?;
        let status = response.status.as_u16();
        let result = response::result(&plan, Answer { response, url, redirects, cookies, started });
        let result = result.map_err(|failure| named(&plan, failure.kind, &failure.message))?;
        let result = with_events(result, Vec::new());
        if told {
            return Ok(Box::pin(async { Ok(result) }));
        }
        let message = format!("the answer is no stream of events: status {status}, {kind}");
        let error = named(&plan, ErrorKind::Protocol, &message);
        Err(ActionError { partial: Some(Box::new(result)), ..error })
    }
}

/// A stream of events that is being read.
struct EventStream {
    plan: Plan,
    reached: Reached,
    events: Vec<Value>,
    /// Bytes of body so far.
    size: u64,
}

impl EventStream {
    /// Reads until there are enough events, the stream ends, or the time is over.
    async fn expect(mut self, enough: Enough, patience: Patience) -> Result<ActionResult, ActionError> {
        let outcome = tokio::select! {
            biased;
            // Dropping it leaves what came in the stream.
            outcome = self.read(&enough) => outcome,
            // Cancel-safe: waits for a signal and a timer.
            limit = patience.over() => {
                if enough.is_wanted() {
                    let message = format!("{} within {}", enough.missed(self.events.len()), show_duration(limit));
                    Err(Failure::new(ErrorKind::Timeout, message))
                } else {
                    Ok(())
                }
            }
        };
        let Self { plan, reached, events, .. } = self;
        let Reached { response, url, redirects, cookies, started } = reached;
        let response = FullResponse {
            status: response.status,
            version: response.version,
            headers: response.headers,
            timings: response.timings,
            body: Bytes::new(),
            wire_size: 0,
        };
        let named =
            |failure: Failure| ActionError::new(failure.kind, format!("{}: {}", plan.target(), failure.message));
        let result = response::result(&plan, Answer { response, url, redirects, cookies, started }).map_err(named)?;
        let result = with_events(result, events);
        outcome.map(|()| result.clone()).map_err(|failure| {
            let error = named(failure);
            ActionError { partial: Some(Box::new(result)), ..error }
        })
    }

    async fn read(&mut self, enough: &Enough) -> Result<(), Failure> {
        let mut reader = EventReader::default();
        let mut waiting = VecDeque::new();
        while let Some(piece) = self.reached.response.chunk().await? {
            self.size += piece.len() as u64;
            if self.size > self.plan.max_body || reader.waiting() as u64 > self.plan.max_body {
                return Err(testmesh_shared::http::HttpError::TooLarge { limit: self.plan.max_body }.into());
            }
            reader.push(&piece, &mut waiting);
            for event in waiting.drain(..) {
                let (event, value) = event.into_value();
                self.events.push(event.clone());
                if enough.is_last(&event, value, self.events.len())? {
                    return Ok(());
                }
            }
        }
        if enough.is_wanted() {
            let message = format!("the stream ended: {}", enough.missed(self.events.len()));
            return Err(Failure::new(ErrorKind::Connection, message));
        }
        Ok(())
    }
}

fn with_events(result: ActionResult, events: Vec<Value>) -> ActionResult {
    let events = Value::list(events);
    let add = |value: Value| {
        let mut map = entries(&value).unwrap_or_default();
        map.insert(ByteString::from_static("events"), events.clone());
        Value::map(map)
    };
    let response = Shown::Value(add(result.response.value()));
    let first = events.index(0);
    let json = first.as_ref().and_then(|event| event.get("json")).filter(|json| !json.is_null());
    let primary = json.or_else(|| first.and_then(|event| event.get("data"))).or(result.primary);
    ActionResult { result: add(result.result), request: result.request, response, primary }
}
