//! One module per noun, one file per verb; each handler reads, calls one trait, and answers.

pub(crate) mod batches;
pub(crate) mod environments;
pub(crate) mod executions;
pub(crate) mod flows;
pub(crate) mod jobs;
pub(crate) mod schedules;
pub(crate) mod suites;
pub(crate) mod system;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::etag;
use crate::state::App;

/// What every handler is given.
pub(crate) type Cx = State<Arc<App>>;

/// An answer with the version of what it shows.
fn versioned<T: Serialize>(status: StatusCode, version: u32, body: &T) -> Response {
    (status, [(header::ETAG, etag::of(version))], Json(body)).into_response()
}

/// Adds where the thing is found.
fn located(mut response: Response, path: &str) -> Response {
    let location = HeaderValue::from_str(path).expect("paths are made of ids and percent-encoded names");
    response.headers_mut().insert(header::LOCATION, location);
    response
}
