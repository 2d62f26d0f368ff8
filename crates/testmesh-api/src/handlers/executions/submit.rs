//! What both ways to start a run share: their options, idempotency, and waiting.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use indexmap::IndexMap;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use testmesh_runner::executor::{BatchSource, Definition, Idempotency, NewBatch, NewRun, SubmitError};
use testmesh_runner::record::{Execution, Trigger};
use testmesh_shared::ids::{BatchId, ExecutionId};
use utoipa::{IntoParams, ToSchema};

use crate::extract::body::Body;
use crate::extract::header;
use crate::extract::path::check_word;
use crate::extract::query::{FromQuery, Pairs};
use crate::handlers::located;
use crate::problem::Problem;
use crate::state::App;

/// Runs of a batch at a time, when the caller does not say.
pub(crate) const PARALLELISM: u32 = 8;
/// Runs of a batch at a time at most.
const PARALLELISM_AT_MOST: u32 = 256;

/// How to run a flow.
#[derive(Debug, Clone)]
pub(crate) struct RunOptions {
    pub(crate) variables: IndexMap<String, serde_json::Value>,
    pub(crate) environment: Option<String>,
    pub(crate) env_file: IndexMap<String, String>,
    pub(crate) seed: Option<u64>,
    pub(crate) strict: bool,
    pub(crate) dry_run: bool,
    pub(crate) data_row: bool,
    pub(crate) trigger: RunTrigger,
}

/// What a request may say that it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RunTrigger {
    /// A request of a program or a person.
    #[default]
    Api,
    /// The command line with `--server`.
    Cli,
}

/// How long to wait for the end.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "declares the parameter that `Wait` reads, for the OpenAPI document")]
pub(crate) struct WaitParams {
    /// Answers when the execution is finished, or after this time: `30s`, `500ms`, `2m`; at most 120 s.
    #[param(pattern = "^([0-9]{1,2}s?|1[01][0-9]s?|120s?|[0-9]{1,5}ms|[01]m|2m)$", nullable = false, example = "30s")]
    wait: Option<String>,
}

/// How long to wait for the end; none: not at all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait(Option<Duration>);

impl FromQuery for Wait {
    fn from_query(pairs: &Pairs<'_>) -> Result<Self, Problem> {
        let rule = || Problem::invalid("`wait` must be a duration such as `30s` or `500ms`, at most 120 s");
        pairs.one("wait").map(|text| duration(text).ok_or_else(rule)).transpose().map(Self)
    }
}

/// A whole number and a unit, `ms`, `s` or `m`; a bare number counts seconds.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    millis.map(Duration::from_millis)
}

/// The caller's idempotency key with a hash of what it asks for.
pub(crate) fn idempotency(headers: &HeaderMap, route: &str, body: &Body) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = header::idempotency_key(headers)? else { return Ok(None) };
    let mut hash = Sha256::new();
    hash.update(route.as_bytes());
    hash.update(b"\n");
    hash.update(&body.bytes);
    Ok(Some(Idempotency { key: key.to_owned(), request_hash: hex::encode(hash.finalize()) }))
}

/// A run with an id of its own, its options checked.
pub(crate) fn new_run(
    app: &App,
    definition: Definition,
    options: RunOptions,
    (idempotency, headers): (Option<Idempotency>, &HeaderMap),
) -> Result<NewRun, Problem> {
    check(&options)?;
    Ok(NewRun {
        id: ExecutionId::generate(&*app.system.clock),
        definition,
        variables: options.variables,
        environment: options.environment,
        env_file: options.env_file,
        seed: options.seed,
        strict: options.strict,
        dry_run: options.dry_run,
        data_row: options.data_row,
        trigger: options.trigger.into(),
        idempotency,
        trace_id: header::trace_id(headers),
    })
}

/// What became of a request to run one flow once.
pub(crate) enum Submitted {
    /// It runs, or ran.
    Answer(Response),
    /// The flow has `data`: it runs once for each row.
    DataDriven,
}

/// Hands the run over and waits as long as the caller wants.
pub(crate) async fn submit(app: &App, run: NewRun, wait: Wait) -> Result<Submitted, Problem> {
    let wait = wait.checked(app)?;
    match app.executor.submit(run).await {
        Err(SubmitError::DataDriven) => Ok(Submitted::DataDriven),
        accepted => answer(app, accepted?, wait).await.map(Submitted::Answer),
    }
}

async fn answer(app: &App, accepted: Execution, wait: Option<Duration>) -> Result<Response, Problem> {
    let path = format!("/api/v1/executions/{}", accepted.id);
    let Some(wait) = wait else {
        return Ok(located((StatusCode::ACCEPTED, Json(accepted)).into_response(), &path));
    };
    if let Some(finished) = app.executor.wait(accepted.id, wait).await? {
        return Ok(located((StatusCode::OK, Json(finished)).into_response(), &path));
    }
    let so_far = app.executions.find(accepted.id).await?.unwrap_or(accepted);
    Ok(located((StatusCode::ACCEPTED, Json(so_far)).into_response(), &path))
}

/// A batch with an id of its own, its options checked.
pub(crate) fn new_batch(
    app: &App,
    source: BatchSource,
    options: RunOptions,
    (parallelism, idempotency): (Option<u32>, Option<Idempotency>),
) -> Result<NewBatch, Problem> {
    check(&options)?;
    let parallelism = parallelism.unwrap_or(PARALLELISM);
    if !(1..=PARALLELISM_AT_MOST).contains(&parallelism) {
        return Err(Problem::invalid(format!("`parallelism` must be a whole number from 1 to {PARALLELISM_AT_MOST}")));
    }
    Ok(NewBatch {
        id: BatchId::generate(&*app.system.clock),
        source,
        parallelism,
        variables: options.variables,
        environment: options.environment,
        env_file: options.env_file,
        seed: options.seed,
        strict: options.strict,
        dry_run: options.dry_run,
        trigger: options.trigger.into(),
        idempotency,
    })
}

/// Hands a batch over and waits as long as the caller wants.
pub(crate) async fn submit_batch(app: &App, batch: NewBatch, wait: Wait) -> Result<Response, Problem> {
    let wait = wait.checked(app)?;
    let accepted = app.executor.submit_batch(batch).await?;
    let path = format!("/api/v1/batches/{}", accepted.id);
    let Some(wait) = wait else {
        return Ok(located((StatusCode::ACCEPTED, Json(accepted)).into_response(), &path));
    };
    if let Some(finished) = app.executor.wait_batch(accepted.id, wait).await? {
        return Ok(located((StatusCode::OK, Json(finished)).into_response(), &path));
    }
    let so_far = app.executions.batch(accepted.id).await?.unwrap_or(accepted);
    Ok(located((StatusCode::ACCEPTED, Json(so_far)).into_response(), &path))
}

fn check(options: &RunOptions) -> Result<(), Problem> {
    options.variables.keys().try_for_each(|name| check_word("variables", name))?;
    options.env_file.keys().try_for_each(|name| check_word("env_file", name))?;
    match &options.environment {
        Some(name) => check_word("environment", name),
        None => Ok(()),
    }
}

impl Wait {
    fn checked(self, app: &App) -> Result<Option<Duration>, Problem> {
        if self.0.is_some_and(|wait| wait > app.limits.wait) {
            return Err(Problem::invalid(format!("`wait` must be at most {} s", app.limits.wait.as_secs())));
        }
        Ok(self.0)
    }
}

impl From<RunTrigger> for Trigger {
    fn from(trigger: RunTrigger) -> Self {
        match trigger {
            RunTrigger::Api => Trigger::Api,
            RunTrigger::Cli => Trigger::Cli,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_whole_numbers_with_a_unit() {
        let check = |text: &str, expect: Option<u64>| {
            assert_eq!(duration(text), expect.map(Duration::from_millis), "{text}");
        };
        check("30s", Some(30_000));
        check("30", Some(30_000));
        check("500ms", Some(500));
        check("2m", Some(120_000));
        check("0s", Some(0));
        check("", None);
        check("s", None);
        check("-1s", None);
        check("1h", None);
        check("18446744073709551615m", None);
        check("99999999999999999999s", None);
    }
}
