//! Counts and times of requests, in Prometheus' text format. Paths are templates, never what a caller wrote.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::SharedString;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

const REQUESTS: &str = "testmesh_http_requests_total";
const SECONDS: &str = "testmesh_http_request_duration_seconds";

/// Upper bounds in seconds: from a cached read to the longest `?wait=`.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0];

static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();

/// The process's metrics. There is one recorder in a process, however often it is asked for.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Installs the recorder, or finds the one that is.
    pub fn install() -> Self {
        let handle = INSTALLED.get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
                .expect("the buckets are not empty")
                .install_recorder()
                .expect("nothing else in this process installs a recorder");
            metrics::describe_counter!(REQUESTS, "Requests by method, route and status.");
            metrics::describe_histogram!(SECONDS, metrics::Unit::Seconds, "Time until the answer's headers.");
            handle
        });
        Self { handle: handle.clone() }
    }

    /// Everything there is now, as Prometheus reads it.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds what was measured since the last call; asked for every few seconds, or memory grows until the next render.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Counts one answered request.
pub(crate) fn count(method: &Method, path: SharedString, status: StatusCode, took: Duration) {
    let method = method_name(method);
    metrics::counter!(REQUESTS, "method" => method, "path" => path.clone(), "status" => status_text(status))
        .increment(1);
    metrics::histogram!(SECONDS, "method" => method, "path" => path).record(took.as_secs_f64());
}

/// The method's name; one name for all that are not standard, so that callers cannot make up labels.
pub(crate) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "OTHER",
    }
}

fn status_text(status: StatusCode) -> SharedString {
    match status {
        StatusCode::OK => SharedString::const_str("200"),
        StatusCode::CREATED => SharedString::const_str("201"),
        StatusCode::ACCEPTED => SharedString::const_str("202"),
        other => SharedString::from(other.as_str().to_owned()),
    }
}
