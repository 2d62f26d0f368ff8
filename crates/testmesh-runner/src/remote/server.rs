//! The runner's side of the wire: the gate, the health service, the order of stopping.

mod follow;
mod service;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use testmesh_shared::internal::{self, Credentials, Gate, GateLimits, Gated, Grpc};
use testmesh_shared::tasks::Tasks;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower_layer::Layer;

use self::service::Served;
use super::wire::MESSAGE_BYTES;
use super::wire::proto::runner_server::{RunnerServer, SERVICE_NAME};
use crate::executor::Executor;
use crate::repository::ExecutionRepository;

/// How long calls that are being answered may take to finish once everything else has stopped.
const GRACE: Duration = Duration::from_secs(5);
/// Calls at once; waiting and following do not count.
const CALLS: usize = 4096;
/// The longest time for an answer: a suite of many flows takes its time to be compiled.
const CALL_TIME: Duration = Duration::from_mins(1);
/// Health checks come without credentials, as whoever probes a port has none.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// What is served, and until when.
pub struct ServeParts {
    /// Takes runs.
    pub executor: Arc<dyn Executor>,
    /// Reads them.
    pub executions: Arc<dyn ExecutionRepository>,
    /// What callers must have.
    pub credentials: Credentials,
    /// Fires when the process starts to stop: health checks say so from then on. Calls are answered all the while.
    pub stopping: CancellationToken,
    /// Fires when the runs are over: those who wait or follow go on at another runner, and no call is taken any more.
    pub closing: CancellationToken,
}

/// Serves gRPC on `listener` (service `testmesh.runner.v1.Runner`, and `grpc.health.v1.Health` for everybody) until
/// `closing` fires, then lets calls that are being answered finish, for at most 5 s.
pub async fn serve(listener: TcpListener, parts: ServeParts) {
    let ServeParts { executor, executions, credentials, stopping, closing } = parts;
    let tasks = Tasks::new();
    let served =
        Served { executor, executions, stopping: stopping.clone(), closing: closing.clone(), tasks: tasks.clone() };
    let runner =
        RunnerServer::new(served).max_decoding_message_size(MESSAGE_BYTES).max_encoding_message_size(MESSAGE_BYTES);
    let limits = GateLimits { body_bytes: MESSAGE_BYTES, concurrent: CALLS, time: CALL_TIME };
    let gate = Gate::new(credentials.clone(), limits);
    let reporter = HealthReporter::new();
    let health = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
    report(&reporter, ServingStatus::Serving).await;
    let routes = Routes { runner: gate.grpc().layer(runner), health };
    let serving = internal::serve(listener, routes, credentials, closing, GRACE);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        // Not dropped in between: the same pinned future goes on below.
        () = serving.as_mut() => {}
        // Cancel-safe: waiting for a cancellation keeps no state.
        () = stopping.cancelled() => {
            report(&reporter, ServingStatus::NotServing).await;
            serving.await;
        }
    }
    if tokio::time::timeout(GRACE, tasks.join()).await.is_err() {
        tracing::warn!("some submissions were still on their way when the runner stopped");
    }
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    reporter.set_service_status("", status).await;
    reporter.set_service_status(SERVICE_NAME, status).await;
}

/// Health checks past the gate, everything else through it.
#[derive(Clone)]
struct Routes {
    runner: Gated<RunnerServer<Served>, Grpc>,
    health: HealthServer<HealthService>,
}

impl Service<Request<Incoming>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Both are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if request.uri().path().starts_with(HEALTH) { self.health.call(request) } else { self.runner.call(request) }
    }
}
