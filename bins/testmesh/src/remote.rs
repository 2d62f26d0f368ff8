//! Runs flows on a server: sends each flow's text, follows its events, fetches the result.
//!
//! A submission carries an idempotency key, so that sending it again after a broken connection cannot start a second
//! run.

mod client;
mod events;

use std::sync::Arc;

use http::Method;
use indexmap::IndexMap;
use serde::Serialize;
use testmesh_runner::diagnostic::Diagnostic;
use testmesh_runner::event::EventSink;
use testmesh_runner::record::Execution;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{ExecutionId, new_uuid};
use testmesh_shared::net::Connector;
use tokio_util::sync::CancellationToken;

use self::client::{ApiClient, Fault};
use self::events::Follower;
use crate::exit::Stop;
use crate::plan::Job;
use crate::settings::Settings;

/// A server that runs flows.
pub(crate) struct Remote {
    api: ApiClient,
    settings: Arc<Settings>,
}

/// A run that the server did not take, or whose end is not known.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The stable word for it.
    pub(crate) code: ErrorCode,
    /// Why.
    pub(crate) message: String,
    /// What is wrong with the flow's text.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Whether what was sent is at fault, and not the server or the way to it.
    pub(crate) invalid: bool,
}

/// The body of `POST /api/v1/executions`.
#[derive(Serialize)]
struct Submission<'a> {
    yaml: String,
    variables: IndexMap<&'a str, serde_json::Value>,
    environment: Option<&'a str>,
    env_file: &'a IndexMap<String, String>,
    seed: Option<u64>,
    strict: bool,
    dry_run: bool,
    data_row: bool,
    trigger: &'static str,
}

impl Remote {
    /// A client of the server at `url`.
    pub(crate) fn new(
        url: &str,
        token: Option<&str>,
        connector: Connector,
        settings: Arc<Settings>,
    ) -> Result<Self, Stop> {
        Ok(Self { api: ApiClient::new(url, token, connector)?, settings })
    }

    /// A client of the same server with connections of its own.
    pub(crate) fn beside(&self) -> Self {
        Self { api: self.api.beside(), settings: Arc::clone(&self.settings) }
    }

    /// Runs one job to its end and tells `events` what the server tells.
    pub(crate) async fn run(
        &self,
        job: &Job,
        events: &dyn EventSink,
        cancel: &CancellationToken,
    ) -> Result<Execution, Refused> {
        let accepted = self.submit(job).await?;
        let path = format!("/api/v1/executions/{}", accepted.id);
        let mut follower = Follower::new(&self.api, format!("{path}/events"));
        tokio::select! {
            // Cancel-safe: the follower keeps its place between calls and reads on from there.
            () = follower.follow(events) => {}
            // Cancel-safe per docs on `cancelled()`.
            () = cancel.cancelled() => {
                self.cancel(accepted.id).await;
                follower.follow(events).await;
            }
        }
        self.result(&path).await
    }

    async fn submit(&self, job: &Job) -> Result<Execution, Refused> {
        let submission = Submission {
            yaml: job.document(),
            variables: job.variables.iter().map(|(name, value)| (name.as_str(), value.to_json())).collect(),
            environment: self.settings.environment.as_deref(),
            env_file: &job.env_file,
            seed: self.settings.seed,
            strict: self.settings.strict,
            dry_run: self.settings.dry_run,
            data_row: job.flow.data.is_some(),
            trigger: "cli",
        };
        let body = serde_json::to_vec(&submission).expect("a struct of texts and JSON values");
        let key = new_uuid(&SystemClock).to_string();
        let answer = self.api.call(&Method::POST, "/api/v1/executions", body, &[("idempotency-key", &key)]).await;
        answer.map_err(Refused::from)
    }

    /// Asks the server to stop a run. Whether it could is seen in how the run ends.
    async fn cancel(&self, id: ExecutionId) {
        let path = format!("/api/v1/executions/{id}/cancel");
        let _: Result<serde_json::Value, Fault> = self.api.call(&Method::POST, &path, Vec::new(), &[]).await;
    }

    /// The finished execution; waits for it where the events ended early.
    async fn result(&self, path: &str) -> Result<Execution, Refused> {
        let mut pause = events::Pause::new();
        loop {
            let execution: Execution = self.api.call(&Method::GET, path, Vec::new(), &[]).await?;
            if execution.status.is_final() {
                return Ok(execution);
            }
            pause.wait().await;
        }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self {
            invalid: matches!(
                fault.code,
                ErrorCode::InvalidFlow | ErrorCode::InvalidRequest | ErrorCode::PayloadTooLarge
            ),
            code: fault.code,
            message: fault.message,
            diagnostics: fault.diagnostics,
        }
    }
}
