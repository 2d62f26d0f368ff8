//! `GET /api/v1/batches/{id}/report`.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use futures::stream::{self, StreamExt, TryStreamExt};
use testmesh_runner::record::Execution;
use testmesh_runner::report::ReportEntry;
use testmesh_runner::repository::ExecutionFilter;
use testmesh_shared::ids::{BatchId, ExecutionId, FlowId};
use testmesh_shared::page::PageRequest;

use super::not_found;
use crate::extract::path::Path;
use crate::extract::query::Query;
use crate::handlers::Cx;
use crate::handlers::executions::report::{Params, Request, render};
use crate::problem::Problem;
use crate::state::App;

/// Executions that are listed at once.
const PAGE: u32 = 200;
/// Executions that are read at the same time.
const READS: usize = 8;

/// One report of all executions of a batch, in their order.
#[utoipa::path(
    get, path = "/api/v1/batches/{id}/report", operation_id = "report_batch", tag = "batches",
    params(("id" = BatchId, Path, description = "The batch."), Params),
    responses((status = 200, description = "The report.", content(
        (String = "application/xml"), (String = "text/html"), (serde_json::Value = "application/json"),
        (String = "text/plain"),
    ))),
    extensions(("x-errors" = json!(["batch_not_found"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn report(
    State(app): Cx,
    Path(id): Path<BatchId>,
    Query(Request(format)): Query<Request>,
) -> Result<Response, Problem> {
    app.executions.batch(id).await?.ok_or_else(|| not_found(id))?;
    let ids = members(&app, id).await?;
    let executions = stream::iter(ids).map(|id| app.executions.find(id)).buffered(READS);
    let executions: Vec<Option<Execution>> = executions.try_collect().await?;
    render(format, entries(executions.into_iter().flatten().collect())).await
}

/// The executions of a batch in the order of their rows.
async fn members(app: &App, id: BatchId) -> Result<Vec<ExecutionId>, Problem> {
    let filter = ExecutionFilter { batch_id: Some(id), ..ExecutionFilter::default() };
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = app.executions.list(&filter, PageRequest { limit: PAGE, after }).await?;
        ids.extend(page.items.iter().map(|execution| execution.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    ids.reverse();
    Ok(ids)
}

/// Executions of one flow are told apart by their row.
fn entries(executions: Vec<Execution>) -> Vec<ReportEntry> {
    let mut totals: HashMap<Option<FlowId>, u32> = HashMap::new();
    for execution in &executions {
        *totals.entry(execution.flow_id).or_default() += 1;
    }
    let mut seen: HashMap<Option<FlowId>, u32> = HashMap::new();
    let entry = |mut execution: Execution| {
        let row = seen.entry(execution.flow_id).or_default();
        *row += 1;
        if totals.get(&execution.flow_id).is_some_and(|total| *total > 1) {
            execution.flow_name = format!("{} [row {row}]", execution.flow_name);
        }
        ReportEntry { file: None, execution }
    };
    executions.into_iter().map(entry).collect()
}
