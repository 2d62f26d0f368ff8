//! `GET /api/v1/executions`.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as WordError, StrDeserializer};
use testmesh_runner::record::{Execution, ExecutionStatus, Trigger};
use testmesh_runner::repository::ExecutionFilter;
use testmesh_shared::ids::{BatchId, FlowId};
use testmesh_shared::page::PageRequest;
use utoipa::IntoParams;

use crate::extract::query::{FromQuery, Pairs, Query};
use crate::handlers::Cx;
use crate::page::{self, PageBody, PageParams};
use crate::problem::Problem;

/// Which executions.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "declares the parameters that `Request` reads, for the OpenAPI document")]
pub(crate) struct Params {
    /// Of this batch.
    #[param(nullable = false)]
    batch_id: Option<BatchId>,
    /// Of this flow.
    #[param(nullable = false)]
    flow_id: Option<FlowId>,
    /// In this state.
    #[param(nullable = false)]
    status: Option<ExecutionStatus>,
    /// Started by this.
    #[param(nullable = false)]
    trigger: Option<Trigger>,
    /// Started by this schedule.
    #[param(nullable = false)]
    schedule_id: Option<uuid::Uuid>,
    /// Queued at or after this time.
    #[param(nullable = false)]
    since: Option<DateTime<Utc>>,
    /// Queued before this time.
    #[param(nullable = false)]
    until: Option<DateTime<Utc>>,
}

/// A page of executions and which executions it is of.
#[derive(Debug)]
pub(crate) struct Request {
    filter: ExecutionFilter,
    page: PageRequest,
}

impl FromQuery for Request {
    fn from_query(pairs: &Pairs<'_>) -> Result<Self, Problem> {
        let status = pairs.parsed::<Wire<ExecutionStatus>>(
            "status",
            "`queued`, `running`, `passed`, `failed`, `error` or `cancelled`",
        )?;
        let trigger = pairs.parsed::<Wire<Trigger>>("trigger", "`api`, `schedule`, `manual` or `cli`")?;
        let filter = ExecutionFilter {
            batch_id: pairs.uuid("batch_id")?.map(BatchId::from),
            flow_id: pairs.uuid("flow_id")?.map(FlowId::from),
            status: status.map(|Wire(status)| status),
            trigger: trigger.map(|Wire(trigger)| trigger),
            schedule_id: pairs.uuid("schedule_id")?,
            since: pairs.time("since")?,
            until: pairs.time("until")?,
        };
        Ok(Self { filter, page: page::request(pairs)? })
    }
}

/// A word of the wire format, read as it is written there.
struct Wire<T>(T);

impl<T: for<'de> Deserialize<'de>> FromStr for Wire<T> {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let word: StrDeserializer<'_, WordError> = text.into_deserializer();
        T::deserialize(word).map(Self)
    }
}

/// Executions without definition and steps, newest first.
#[utoipa::path(
    get, path = "/api/v1/executions", operation_id = "list_executions", tag = "executions",
    params(Params, PageParams),
    responses((status = 200, description = "A page of executions.", body = PageBody<Execution>)),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn list(State(app): Cx, Query(request): Query<Request>) -> Result<Json<PageBody<Execution>>, Problem> {
    Ok(Json(app.executions.list(&request.filter, request.page).await?.into()))
}
