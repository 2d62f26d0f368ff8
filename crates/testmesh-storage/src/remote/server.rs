//! The side that has the databases: one route for each trait method.

use std::error::Error;
use std::fmt::Write;
use std::future::Future;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use serde_json::json;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::FlowId;
use testmesh_shared::internal::{Admitted, RELEASE, WireError};
use uuid::Uuid;

use super::wire::{self, Question};
use crate::{EnvironmentEdit, EnvironmentRepository, FlowEdit, FlowRepository, NewFlow, StorageError};

#[derive(Clone)]
struct Stores {
    flows: Arc<dyn FlowRepository>,
    environments: Arc<dyn EnvironmentRepository>,
}

/// The routes below `/internal/storage/`, for the internal listener. They answer 401 to every request that did not come
/// through a [`Gate`](testmesh_shared::internal::Gate): `router(…).layer(gate.http())`.
pub fn router(flows: Arc<dyn FlowRepository>, environments: Arc<dyn EnvironmentRepository>) -> Router {
    let router = of_environments(of_flows(Router::new()));
    let router = on(router, async |stores: Stores, _: wire::AskAbout| {
        // Reads where everything is read, so that this process is ready when its database is.
        stores.flows.find(FlowId::from(Uuid::nil())).await?;
        Ok(wire::Storage { name: env!("CARGO_PKG_NAME").to_owned(), release: RELEASE.to_owned() })
    });
    // A route and no fallback, so that this can be merged with what else is on the listener.
    let unknown = async || {
        let message = format!("this release ({RELEASE}) has no such operation");
        refusal(StatusCode::NOT_FOUND, &WireError::new(ErrorCode::RouteNotFound, message))
    };
    let router = router.route("/internal/storage/{*operation}", any(unknown));
    router.with_state(Stores { flows, environments })
}

fn of_flows(router: Router<Stores>) -> Router<Stores> {
    let router = on(router, async |stores: Stores, question: wire::CreateFlow| {
        let wire::CreateFlow { id, header, yaml } = question;
        let flow = NewFlow { id, header: header.into(), yaml };
        Ok(stores.flows.create(flow).await?.into())
    });
    let router = on(router, async |stores: Stores, question: wire::FindFlow| {
        Ok(stores.flows.find(question.id).await?.map(wire::Flow::from))
    });
    let router = on(router, async |stores: Stores, question: wire::FindFlowByName| {
        Ok(stores.flows.find_by_name(&question.name).await?.map(wire::Flow::from))
    });
    let router = on(router, async |stores: Stores, question: wire::ListFlows| {
        let page = stores.flows.list(&question.filter.into(), question.page.into()).await?;
        Ok(wire::Page::of(page))
    });
    let router = on(router, async |stores: Stores, question: wire::UpdateFlow| {
        let wire::UpdateFlow { id, write, header, yaml, expected } = question;
        let edit = FlowEdit { write, header: header.into(), yaml, expected };
        Ok(stores.flows.update(id, edit).await?.map(wire::Flow::from))
    });
    let router = on(router, async |stores: Stores, question: wire::DeleteFlow| {
        stores.flows.delete(question.id, question.expected).await
    });
    let router = on(router, async |stores: Stores, question: wire::ListVersions| {
        let versions = stores.flows.versions(question.id).await?;
        Ok(versions.map(|versions| versions.into_iter().map(wire::VersionText::from).collect()))
    });
    on(router, async |stores: Stores, question: wire::FindVersion| {
        Ok(stores.flows.version(question.id, question.version).await?.map(wire::VersionText::from))
    })
}

fn of_environments(router: Router<Stores>) -> Router<Stores> {
    let router = on(router, async |stores: Stores, question: wire::CreateEnvironment| {
        Ok(stores.environments.create(question.id, question.content.into()).await?.into())
    });
    let router = on(router, async |stores: Stores, question: wire::FindEnvironment| {
        Ok(stores.environments.find(&question.name).await?.map(wire::Environment::from))
    });
    let router = on(router, async |stores: Stores, question: wire::ListEnvironments| {
        Ok(wire::Page::of(stores.environments.list(question.page.into()).await?))
    });
    let router = on(router, async |stores: Stores, question: wire::UpdateEnvironment| {
        let wire::UpdateEnvironment { name, write, content, expected } = question;
        let edit = EnvironmentEdit { write, environment: content.into(), expected };
        Ok(stores.environments.update(&name, edit).await?.map(wire::Environment::from))
    });
    on(router, async |stores: Stores, question: wire::DeleteEnvironment| {
        stores.environments.delete(&question.name, question.expected).await
    })
}

/// Adds the route of a question.
fn on<Q, F, W>(router: Router<Stores>, work: F) -> Router<Stores>
where
    Q: Question,
    F: Fn(Stores, Q) -> W + Clone + Send + Sync + 'static,
    W: Future<Output = Result<Q::Answer, StorageError>> + Send,
{
    let handler = async move |State(stores): State<Stores>, request: Request| match question(request).await {
        Ok(question) => match work(stores, question).await {
            Ok(answer) => Json(answer).into_response(),
            Err(error) => failure(&error),
        },
        Err(refusal) => refusal,
    };
    router.route(Q::PATH, post(handler))
}

/// Reads a question, once the gate let it through.
async fn question<Q: Question>(request: Request) -> Result<Q, Response> {
    let Some(admitted) = request.extensions().get::<Admitted>().copied() else {
        let error = WireError::new(ErrorCode::Unauthorized, "this came past the gate of the internal listener");
        return Err(refusal(StatusCode::UNAUTHORIZED, &error));
    };
    let body = read(request.into_body(), admitted.body_bytes()).await?;
    serde_json::from_slice(&body).map_err(|error| {
        // Its message can quote the question, which may hold what must not be logged.
        let (line, column) = (error.line(), error.column());
        let message = format!("the question has another shape: {:?} at line {line} column {column}", error.classify());
        refusal(StatusCode::BAD_REQUEST, &WireError::new(ErrorCode::BadRequest, message))
    })
}

async fn read(body: Body, limit: usize) -> Result<axum::body::Bytes, Response> {
    to_bytes(body, limit).await.map_err(|error| {
        let too_large =
            error.source().and_then(|source| source.downcast_ref::<http_body_util::LengthLimitError>()).is_some();
        if too_large {
            let message = format!("the body is larger than {limit} bytes");
            refusal(StatusCode::PAYLOAD_TOO_LARGE, &WireError::new(ErrorCode::PayloadTooLarge, message))
        } else {
            let error = WireError::new(ErrorCode::BadRequest, "the body broke off");
            refusal(StatusCode::BAD_REQUEST, &error)
        }
    })
}

/// What an error becomes on the wire. Its causes are logged here, and do not leave the process.
fn failure(error: &StorageError) -> Response {
    let wire = WireError::new(error.code(), error.to_string());
    match error {
        StorageError::NameTaken { name } => refusal(StatusCode::CONFLICT, &wire.with(json!({"name": name}))),
        StorageError::VersionMismatch { expected, found } => {
            let details = json!({"expected": expected, "found": found});
            refusal(StatusCode::PRECONDITION_FAILED, &wire.with(details))
        }
        StorageError::Database { .. } | StorageError::Unavailable { .. } => {
            log_chain(error);
            refusal(StatusCode::SERVICE_UNAVAILABLE, &wire)
        }
    }
}

fn refusal(status: StatusCode, error: &WireError) -> Response {
    let body = serde_json::to_vec(error).expect("two strings and a JSON value are JSON");
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

fn log_chain(error: &dyn Error) {
    let mut chain = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Writing to a string cannot fail.
        let _ = write!(chain, ": {inner}");
        cause = inner.source();
    }
    tracing::error!(error = chain, "a store failed");
}
