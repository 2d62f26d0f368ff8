//! The outermost layer: request id, who may call, panics, the problem document, safe headers, the log line, metrics.
//!
//! One layer instead of ten: this is on the path of every request. Nothing reaches a handler unless [`admit`] let it
//! through, and a route that is not in the table is admitted only to be answered with 404 or 405.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use metrics::SharedString;
use testmesh_shared::clock::Clock;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::internal::CallContext;
use testmesh_shared::trace::TraceParent;
use tracing::Instrument;

use crate::auth::host;
use crate::auth::scope::Scope;
use crate::auth::tokens::Identity;
use crate::extract::header::trace_parent;
use crate::extract::query;
use crate::meters;
use crate::problem::Problem;
use crate::state::{Callers, System};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// No inline script, no foreign host; `data:` images are the ones inside Swagger UI's own style sheet.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Wraps every request.
pub(crate) async fn guard(State(system): State<System>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(request.headers(), &*system.clock);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let path = route.as_ref().map_or("", |route| route.as_str());

    let mut caller = None;
    let span = tracing::info_span!("request", request_id);
    let mut response = match admit(&system, &request, path) {
        Ok(identity) => {
            caller = identity;
            let work = context(request.headers(), &request_id).scope(next.run(request));
            let answer = AssertUnwindSafe(work).catch_unwind().instrument(span.clone()).await;
            answer.unwrap_or_else(|_| Problem::internal().into_response())
        }
        Err(problem) => problem.into_response(),
    };
    // The route's methods are in `Allow`, which is all that OPTIONS asks for.
    if method == Method::OPTIONS && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers().get(header::ALLOW).cloned();
        response = StatusCode::NO_CONTENT.into_response();
        response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
    }
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = rendered(&problem, &response, &request_id);
    }
    finish_headers(response.headers_mut(), &request_id);

    let took = started.elapsed();
    let status = response.status();
    let token = caller.as_ref().map(|identity| &*identity.name);
    let duration_ms = took.as_secs_f64() * 1000.0;
    let method_name = meters::method_name(&method);
    if is_probe(path) && status.is_success() {
        tracing::debug!(request_id, method = method_name, path, status = status.as_u16(), duration_ms, "request");
    } else {
        tracing::info!(request_id, method = method_name, path, status = status.as_u16(), duration_ms, token, "request");
    }
    let label = route.as_ref().map_or(SharedString::const_str("none"), |route| route.as_str().to_owned().into());
    meters::count(&method, label, status, took);
    response
}

/// What other processes are asked for on the way carries the same request id and trace.
fn context(headers: &HeaderMap, request_id: &str) -> CallContext {
    let trace = trace_parent(headers).unwrap_or_else(TraceParent::generate);
    CallContext { request_id: request_id.into(), trace, deadline: None }
}

/// Decides whether a request may go on; who sent it, when tokens are in use.
fn admit(system: &System, request: &Request, path: &str) -> Result<Option<Identity>, Problem> {
    let (uri, headers) = (request.uri(), request.headers());
    if matches!(system.access.callers, Callers::Local) && !host::is_local(uri, headers) {
        return Err(Problem::new(
            ErrorCode::Forbidden,
            "a server without tokens answers only to `localhost` and loopback addresses in `Host`",
        ));
    }
    let opens_socket = headers.contains_key(header::UPGRADE);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if (opens_socket || !reads) && !host::is_welcome_origin(uri, headers, &system.access.origins) {
        return Err(Problem::new(ErrorCode::Forbidden, "the `Origin` of the request is not one this server trusts"));
    }
    let rule = system.table.rule(path, request.method());
    let needs = rule.map_or(Some(Scope::Read), |rule| rule.scope);
    let identity = match (&system.access.callers, needs) {
        (Callers::Known(tokens), Some(needs)) => {
            let presented = bearer(headers)?;
            let identity = tokens
                .identify(presented)
                .ok_or_else(|| Problem::new(ErrorCode::Unauthorized, "the token is not one this server knows"))?;
            if identity.scope < needs {
                let detail = format!("this needs the scope `{needs}`, the token has `{}`", identity.scope);
                return Err(Problem::new(ErrorCode::Forbidden, detail));
            }
            Some(identity)
        }
        (Callers::Known(_) | Callers::Local | Callers::Anyone, _) => None,
    };
    if let (Some(rule), Some(raw)) = (rule, uri.query()) {
        query::check_names(raw, &rule.query)?;
    }
    Ok(identity)
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing = || Problem::new(ErrorCode::Unauthorized, "this server needs `Authorization: Bearer <token>`");
    let value = headers.get(header::AUTHORIZATION).ok_or_else(missing)?;
    let text = value.to_str().map_err(|_| missing())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(missing()) }
}

/// The caller's own id when it is a plain word of at most 128 characters, otherwise a new one.
fn request_id(headers: &HeaderMap, clock: &dyn Clock) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    match given.filter(plain) {
        Some(id) => id.to_owned(),
        None => testmesh_shared::ids::new_uuid(clock).to_string(),
    }
}

fn rendered(problem: &Problem, response: &Response, request_id: &str) -> Response {
    let mut rendered = problem.render(request_id);
    if let Some(allow) = response.headers().get(header::ALLOW) {
        rendered.headers_mut().insert(header::ALLOW, allow.clone());
    }
    rendered
}

fn finish_headers(headers: &mut HeaderMap, request_id: &str) {
    let id = HeaderValue::from_str(request_id).expect("request ids are plain ASCII words");
    headers.insert(REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(PAGE_POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/health" | "/metrics")
}
