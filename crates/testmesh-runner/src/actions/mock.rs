//! Mock servers: HTTP servers inside a run that answer as the flow says, and record what they were asked.
//!
//! They belong to the run: whatever ends it ends them. Requests are matched and answered one at a time, so that state
//! changes in the order of arrival; pauses and faults are outside of that.

mod arrival;
mod endpoint;
mod matching;
mod respond;
mod route;
pub(super) mod spec;
mod state;
pub(super) mod verify;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use http::{Request, StatusCode};
use indexmap::IndexMap;
use parking_lot::Mutex;
use testmesh_shared::clock::Clock;
use testmesh_shared::host::{self, HostLimits};
use testmesh_shared::net::{ListenError, Listener};
use testmesh_shared::tasks::Tasks;
use tokio::sync::Notify;

pub(super) use self::arrival::Exchange;
use self::arrival::{Incoming, Recorded};
use self::endpoint::{Endpoint, MOST_ENDPOINTS};
use self::matching::Miss;
use self::respond::Prepared;
pub(crate) use self::route::Route;
use crate::action::ActionError;
use crate::actions::http_request::chain;
use crate::engine::{ActionContext, Resolved};
use crate::record::ErrorKind;
use crate::scope::Scope;
use crate::value::{Map, Value};

/// Mock servers of one run.
const MOST_SERVERS: usize = 32;
/// Requests that a mock server keeps; older ones give way.
const MOST_RECORDED: usize = 1_000;
/// Bytes that recorded requests take, about; older ones give way.
const MOST_WEIGHT: usize = 32 << 20;
/// What each mock server bears.
const LIMITS: HostLimits = HostLimits { body: 10 << 20, connections: 256 };
/// What the mock server says when no endpoint does.
const OWN_ANSWER: &str = "no endpoint of the mock server matches";

/// The mock servers of a run, by name.
#[derive(Default)]
pub(super) struct Mocks {
    servers: Mutex<IndexMap<String, Arc<Mock>>>,
}

/// A mock server.
pub(super) struct Mock {
    pub(super) name: String,
    pub(super) base_url: String,
    pub(super) host: String,
    pub(super) port: u16,
    clock: Arc<dyn Clock>,
    /// What templates see beside the request.
    names: Arc<Scope>,
    inner: Mutex<Inner>,
    /// Told of each request that is recorded.
    pub(super) arrived: Notify,
    tasks: Tasks,
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
    }
}

struct Inner {
    endpoints: Vec<Endpoint>,
    /// What the flow began it with.
    initial: Map,
    state: Map,
    recorded: VecDeque<Arc<Recorded>>,
    weight: usize,
    n_requests: u64,
    n_unmatched: u64,
}

fn refuse(message: String) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

impl Mocks {
    /// The run's own.
    pub(super) fn of(cx: &ActionContext<'_>) -> Arc<Self> {
        cx.resource(Self::default)
    }

    /// Starts one.
    pub(super) async fn start(&self, cx: &ActionContext<'_>) -> Result<Arc<Mock>, ActionError> {
        let config = cx.resolve()?;
        let name = config.text("name")?.map_or_else(|| cx.step.id.clone(), |name| name.to_string());
        let endpoints = endpoints(cx)?;
        let state = config.map("state")?;
        self.room_for(&name)?;
        let Listener { socket, address, host } = listen(cx, &config, &name).await?;
        let mock = Arc::new(Mock {
            base_url: format!("http://{host}:{}", address.port()),
            host,
            port: address.port(),
            clock: cx.clock(),
            names: Arc::clone(cx.names()),
            inner: Mutex::new(Inner::new(endpoints, Map { entries: state, ignore_case: false })),
            arrived: Notify::new(),
            tasks: Tasks::new(),
            name: name.clone(),
        });
        // Not an owner: the run's end is the mock server's, not the other way round.
        let answering = Arc::downgrade(&mock);
        let handler = move |request| {
            let mock = answering.upgrade();
            async move {
                match mock.map(|mock| mock.decide(request)) {
                    Some(prepared) => prepared.answer().await,
                    None => std::future::pending().await,
                }
            }
        };
        mock.tasks.spawn(host::serve(socket, LIMITS, mock.tasks.clone(), handler));
        end_with_the_run(cx.tasks(), mock.tasks.clone());
        self.servers.lock().insert(name, Arc::clone(&mock));
        Ok(mock)
    }

    fn room_for(&self, name: &str) -> Result<(), ActionError> {
        let servers = self.servers.lock();
        if let Some(there) = servers.get(name) {
            let message = format!(
                "a mock server `{name}` runs already, on {}: stop it first, or take another `name`",
                there.base_url
            );
            return Err(refuse(message));
        }
        if servers.len() >= MOST_SERVERS {
            return Err(refuse(format!("a run has {MOST_SERVERS} mock servers at most")));
        }
        Ok(())
    }

    /// The one that a step means.
    pub(super) fn find(&self, config: &Resolved) -> Result<Arc<Mock>, ActionError> {
        let servers = self.servers.lock();
        let running = || {
            let names: Vec<String> = servers.keys().map(|name| format!("`{name}`")).collect();
            if names.is_empty() { "none runs".to_owned() } else { format!("running: {}", names.join(", ")) }
        };
        match config.text("server_id")? {
            Some(name) => servers
                .get(&*name)
                .map(Arc::clone)
                .ok_or_else(|| refuse(format!("there is no mock server `{name}` ({})", running()))),
            None if servers.len() == 1 => Ok(Arc::clone(&servers[0])),
            None => Err(refuse(format!("`server_id` is missing ({})", running()))),
        }
    }

    /// Every one that runs, in the order they were started.
    pub(super) fn all(&self) -> Vec<Arc<Mock>> {
        self.servers.lock().values().cloned().collect()
    }

    /// Stops one, and waits until it has ended.
    pub(super) async fn stop(&self, mock: &Mock) {
        self.servers.lock().shift_remove(&mock.name);
        mock.tasks.shutdown().await;
    }
}

/// Ends `own` tasks when those of the run are told to end, and lets the run wait for them.
fn end_with_the_run(run: &Tasks, own: Tasks) {
    let over = run.cancelled().clone();
    run.spawn(async move {
        // Cancel-safe: both wait for a cancellation.
        tokio::select! {
            () = over.cancelled() => {}
            () = own.cancelled().cancelled() => {}
        }
        own.shutdown().await;
    });
}

async fn listen(cx: &ActionContext<'_>, config: &Resolved, name: &str) -> Result<Listener, ActionError> {
    let address = match config.text("bind")? {
        None => None,
        Some(text) if text.eq_ignore_ascii_case("localhost") => Some(IpAddr::from([127, 0, 0, 1])),
        Some(text) => {
            let parsed = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            Some(parsed.map_err(|_| refuse(format!("`bind` takes an IP address, got `{text}`")))?)
        }
    };
    let port = config.integer("port")?.unwrap_or(0);
    let port = u16::try_from(port).map_err(|_| refuse(format!("`port` takes a number from 0 to 65535, got {port}")))?;
    let mut listener = cx.connector().listen(address, port).await.map_err(|error| {
        let kind = match &error {
            ListenError::Denied { .. } => ErrorKind::Policy,
            ListenError::Bind { .. } => ErrorKind::Connection,
        };
        ActionError::new(kind, format!("mock server `{name}`: {}", chain(&error)))
    })?;
    if let Some(host) = config.text("host")? {
        let is_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
        listener.host = if is_v6 { format!("[{host}]") } else { host.to_string() };
    }
    Ok(listener)
}

impl Inner {
    fn new(endpoints: Vec<Endpoint>, given: Map) -> Self {
        let mut inner = Self {
            endpoints: Vec::new(),
            initial: given.clone(),
            state: given,
            recorded: VecDeque::new(),
            weight: 0,
            n_requests: 0,
            n_unmatched: 0,
        };
        inner.note_initial(&endpoints);
        inner.endpoints = endpoints;
        inner
    }

    /// Makes the state of new endpoints known.
    fn note_initial(&mut self, endpoints: &[Endpoint]) {
        for rule in endpoints.iter().filter_map(|endpoint| endpoint.state.as_ref()) {
            let key = ByteString::from(rule.key.as_str());
            self.initial.entries.insert_new(&key, || rule.initial.clone());
            self.state.entries.insert_new(&key, || rule.initial.clone());
        }
    }

    fn record(&mut self, recorded: Recorded) {
        self.weight += recorded.weight();
        self.recorded.push_back(Arc::new(recorded));
        while self.recorded.len() > MOST_RECORDED || (self.weight > MOST_WEIGHT && self.recorded.len() > 1) {
            if let Some(oldest) = self.recorded.pop_front() {
                self.weight -= oldest.weight();
            }
        }
    }
}

/// What an endpoint says to a request.
enum Fit {
    /// It is for it.
    Yes,
    /// It is not, for these reasons.
    No(Vec<Miss>),
}

impl Mock {
    /// Finds the answer to a request, and records both.
    fn decide(&self, request: Request<Option<Bytes>>) -> Prepared {
        let incoming = Incoming::read(request);
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.n_requests += 1;
        let (endpoint, answer) = match self.choose(inner, &incoming) {
            Ok(Ok(index)) => (Some(inner.endpoints[index].id.clone()), self.respond(inner, index, &incoming)),
            Ok(Err(nearest)) => {
                inner.n_unmatched += 1;
                (None, Ok(no_match(&self.name, &incoming, nearest)))
            }
            Err((id, error)) => (Some(id), Err(error)),
        };
        let (prepared, error) = match answer {
            Ok(prepared) => (prepared, None),
            Err(error) => {
                let message = format!("endpoint `{}`: {}", endpoint.as_deref().unwrap_or_default(), error.message);
                let body = serde_json::json!({ "error": message, "mock_server": self.name });
                (Prepared::own(StatusCode::INTERNAL_SERVER_ERROR, &body), Some(message))
            }
        };
        let number = inner.n_requests;
        let answer = prepared.clone();
        inner.record(Recorded { number, time: self.clock.now(), incoming, endpoint, answer, error });
        self.arrived.notify_waiters();
        prepared
    }

    /// The endpoint for a request; else the nearest one with what the request lacks, when there is one.
    #[allow(clippy::type_complexity, reason = "each part of it is looked at once, by the one caller")]
    fn choose(
        &self,
        inner: &Inner,
        incoming: &Incoming,
    ) -> Result<Result<usize, Option<(String, Vec<Miss>)>>, (String, ActionError)> {
        let mut best: Option<(usize, i64)> = None;
        let mut nearest: Option<(usize, usize, Vec<Miss>)> = None;
        for (index, endpoint) in inner.endpoints.iter().enumerate() {
            let beaten = best.is_some_and(|(_, priority)| priority >= endpoint.priority);
            if beaten {
                continue;
            }
            let fit = self.fit(inner, endpoint, incoming).map_err(|error| (endpoint.id.clone(), error))?;
            match fit {
                Fit::Yes => best = Some((index, endpoint.priority)),
                Fit::No(misses) => {
                    let far = farness(&misses, endpoint.wanted.distance(incoming));
                    if nearest.as_ref().is_none_or(|(_, least, _)| far < *least) {
                        nearest = Some((index, far, misses));
                    }
                }
            }
        }
        Ok(match best {
            Some((index, _)) => Ok(index),
            None => Err(nearest.map(|(index, _, misses)| (inner.endpoints[index].id.clone(), misses))),
        })
    }

    fn fit(&self, inner: &Inner, endpoint: &Endpoint, incoming: &Incoming) -> Result<Fit, ActionError> {
        let params = match endpoint.wanted.check(incoming) {
            Ok(params) => params,
            Err(misses) => return Ok(Fit::No(misses)),
        };
        if incoming.too_large {
            return Ok(Fit::No(vec![Miss {
                what: "size of the body".to_owned(),
                expected: format!("at most {} bytes", LIMITS.body),
                actual: "more".to_owned(),
            }]));
        }
        let names = self.scope(inner, incoming, &params);
        let mut misses = endpoint.misses(incoming, &inner.state, &names)?;
        if misses.is_empty() && endpoint.is_used_up() {
            let (expected, actual) = (format!("at most {} requests", endpoint.n_answered), "one more".to_owned());
            misses.push(Miss { what: "times".to_owned(), expected, actual });
        }
        Ok(if misses.is_empty() { Fit::Yes } else { Fit::No(misses) })
    }

    /// Changes the state and makes the answer.
    fn respond(&self, inner: &mut Inner, index: usize, incoming: &Incoming) -> Result<Prepared, ActionError> {
        let params = inner.endpoints[index].wanted.check(incoming).unwrap_or_default();
        if let Some(rule) = inner.endpoints[index].state.clone() {
            let names = self.scope(inner, incoming, &params);
            let given = rule.value.as_ref().map(|tree| tree.render(&*names));
            let given = given.transpose().map_err(|error| crate::engine::at_key("state.value", &error))?;
            let now = inner.state.get(&rule.key).cloned().unwrap_or_default();
            let new = rule.update.apply(&rule.initial, &now, given);
            let new = new.map_err(|reason| refuse(format!("`state` `{}`: {reason}", rule.key)))?;
            inner.state.entries.insert(rule.key.into(), new);
        }
        let names = self.scope(inner, incoming, &params);
        let endpoint = &mut inner.endpoints[index];
        let prepared = endpoint.respond(&names);
        endpoint.n_answered += 1;
        prepared
    }

    /// What templates see.
    fn scope(&self, inner: &Inner, incoming: &Incoming, params: &[(String, String)]) -> Arc<Scope> {
        let mut names = incoming.names(params);
        names.push((ByteString::from_static("state"), Value::Map(Arc::new(inner.state.clone()))));
        self.names.child(names)
    }

    /// Adds endpoints before those that are there, or instead of them.
    pub(super) fn add(&self, endpoints: Vec<Endpoint>, replace: bool) -> Result<usize, ActionError> {
        let mut inner = self.inner.lock();
        let kept = if replace { 0 } else { inner.endpoints.len() };
        if kept + endpoints.len() > MOST_ENDPOINTS {
            return Err(refuse(format!("a mock server has {MOST_ENDPOINTS} endpoints at most")));
        }
        inner.note_initial(&endpoints);
        let before = std::mem::replace(&mut inner.endpoints, endpoints);
        inner.endpoints.extend(before.into_iter().take(kept));
        Ok(inner.endpoints.len())
    }

    /// Puts endpoints in the place of those with the same id, or else the same method and path.
    pub(super) fn replace(&self, endpoints: Vec<Endpoint>) -> Result<usize, ActionError> {
        let mut inner = self.inner.lock();
        let mut places = Vec::with_capacity(endpoints.len());
        for endpoint in &endpoints {
            let by_id = inner.endpoints.iter().position(|there| there.id == endpoint.id);
            let shown = endpoint.wanted.shown();
            let place = by_id.or_else(|| inner.endpoints.iter().position(|there| there.wanted.shown() == shown));
            let Some(place) = place else {
                drop(inner);
                return Err(refuse(self.no_endpoint(&endpoint.id)));
            };
            places.push(place);
        }
        inner.note_initial(&endpoints);
        let n_updated = endpoints.len();
        for (place, endpoint) in places.into_iter().zip(endpoints) {
            inner.endpoints[place] = endpoint;
        }
        Ok(n_updated)
    }

    /// How many endpoints it has.
    pub(super) fn n_endpoints(&self) -> usize {
        self.inner.lock().endpoints.len()
    }

    /// Sets values of the state.
    pub(super) fn set_state(&self, values: crate::value::Entries) {
        self.inner.lock().state.entries.extend(values);
    }

    /// Puts the state, or these values of it, back to what it began with, and lets endpoints answer from the first time
    /// on again. Values that have no beginning are gone.
    pub(super) fn reset(&self, keys: &[String], with_requests: bool) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        if keys.is_empty() {
            inner.state = inner.initial.clone();
            inner.endpoints.iter_mut().for_each(|endpoint| endpoint.n_answered = 0);
        }
        for key in keys {
            let value = inner.initial.get(key).cloned().unwrap_or_default();
            inner.state.entries.insert(key.as_str().into(), value);
        }
        if with_requests {
            inner.recorded.clear();
            (inner.weight, inner.n_requests, inner.n_unmatched) = (0, 0, 0);
        }
    }

    /// The state as it is.
    pub(super) fn state(&self) -> Value {
        Value::Map(Arc::new(self.inner.lock().state.clone()))
    }

    fn recorded(&self) -> Vec<Arc<Recorded>> {
        self.inner.lock().recorded.iter().cloned().collect()
    }

    /// The recorded requests, the state, and how many requests are no longer recorded.
    fn evidence(&self) -> (Vec<Arc<Recorded>>, Map, u64) {
        let inner = self.inner.lock();
        let n_forgotten = inner.n_requests - inner.recorded.len() as u64;
        (inner.recorded.iter().cloned().collect(), inner.state.clone(), n_forgotten)
    }

    fn has_endpoint(&self, id: &str) -> bool {
        self.inner.lock().endpoints.iter().any(|endpoint| endpoint.id == id)
    }

    /// That there is no such endpoint, and which there are.
    fn no_endpoint(&self, id: &str) -> String {
        let inner = self.inner.lock();
        let there: Vec<String> = inner.endpoints.iter().map(|endpoint| format!("`{}`", endpoint.id)).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        format!("mock server `{}` has no endpoint `{id}` (it has {there})", self.name)
    }

    /// Requests that an endpoint answered without a fault, in the order they came.
    pub(super) fn exchanges(&self) -> Vec<Exchange> {
        self.recorded().iter().filter_map(|recorded| recorded.exchange()).collect()
    }

    /// What came, for a result: `requests`, `count`, `unmatched`.
    pub(super) fn requests(&self) -> [(&'static str, Value); 3] {
        let (n_requests, n_unmatched) = {
            let inner = self.inner.lock();
            (inner.n_requests, inner.n_unmatched)
        };
        let requests = self.recorded().iter().map(|recorded| recorded.value()).collect();
        [
            ("requests", Value::list(requests)),
            ("count", Value::from(n_requests)),
            ("unmatched", Value::from(n_unmatched)),
        ]
    }
}

/// How far a request is from what it should be: what is wrong with it, a wrong path most of all.
fn farness(misses: &[Miss], distance: usize) -> usize {
    let path = misses.iter().any(|miss| miss.what == "path");
    misses.len() * 1_000 + if path { 2_000 + distance.min(999) } else { 0 }
}

/// The answer to a request that no endpoint is for.
fn no_match(name: &str, incoming: &Incoming, nearest: Option<(String, Vec<Miss>)>) -> Prepared {
    let status = if incoming.too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::NOT_FOUND };
    let mut body = serde_json::json!({ "error": OWN_ANSWER, "mock_server": name, "request": incoming.line() });
    if let Some((id, misses)) = nearest {
        let differs: Vec<String> = misses.iter().map(ToString::to_string).collect();
        body["nearest"] = serde_json::json!({ "endpoint": id, "differs": differs });
    }
    Prepared::own(status, &body)
}

/// The endpoints that a step names.
pub(super) fn endpoints(cx: &ActionContext<'_>) -> Result<Vec<Endpoint>, ActionError> {
    endpoint::read(cx.config().held("endpoints"), cx.names())
}
