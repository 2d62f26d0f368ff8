//! What a caller says of a schedule, read and checked: its times, its bounds, and that what it names is there.

use indexmap::IndexMap;
use serde::Deserialize;
use testmesh_scheduler::cron::{Cron, parse_zone};
use testmesh_scheduler::{
    MAX_ATTEMPTS, MAX_BACKOFF_S, MAX_CATCHUP, MAX_JITTER_S, Misfire, Overlap, Retry, RetryOn, ScheduleSpec,
};
use testmesh_shared::ids::FlowId;
use utoipa::ToSchema;

use super::invalid;
use crate::extract::path::check_word;
use crate::problem::Problem;
use crate::state::App;

/// Bytes of JSON that a schedule's variables may have: every job keeps them, and many jobs travel together.
const MAX_VARIABLES: usize = 64 << 10;

/// What a schedule does.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleBody {
    /// Unique; 1 to 255 characters, none of them a control character.
    #[schema(min_length = 1, max_length = 255, example = "nightly")]
    name: String,
    /// The flow to run; it must exist.
    flow_id: FlowId,
    /// Which version of it; the newest at the time when it is left out.
    #[schema(minimum = 1, maximum = 4_294_967_295_u32)]
    flow_version: Option<u32>,
    /// When it fires: five fields (minute hour day-of-month month day-of-week), six with seconds first, `@daily` and its
    /// like, or `@every 5m`.
    #[schema(min_length = 1, example = "30 9 * * mon-fri")]
    cron: String,
    /// The IANA time zone that `cron` is about (default `UTC`).
    #[serde(default = "utc")]
    #[schema(example = "Europe/Berlin")]
    timezone: String,
    /// What becomes of firings that were missed by more than a minute (default `fire_once`).
    #[serde(default = "fire_once")]
    misfire: Misfire,
    /// How many missed firings `catch_up` runs at most (default 10).
    #[serde(default = "ten")]
    #[schema(minimum = 1, maximum = 1000)]
    catchup_max: u32,
    /// What becomes of a firing while a run is still going (default `skip`).
    #[serde(default = "skip")]
    overlap: Overlap,
    /// Each firing is late by up to this many seconds, drawn anew (default 0).
    #[serde(default)]
    #[schema(minimum = 0, maximum = 3600)]
    jitter_s: u32,
    /// Name of the environment to run in; it must exist.
    #[schema(min_length = 1, max_length = 255)]
    environment: Option<String>,
    /// Values for the flow's variables; any JSON value each, at most 64 KiB in all.
    #[serde(default)]
    variables: IndexMap<String, serde_json::Value>,
    /// How often a job is tried.
    #[serde(default)]
    retry: RetryBody,
    /// Whether it fires, or is paused. When it is left out a new schedule fires, and another stays as it is.
    pub(crate) enabled: Option<bool>,
}

/// How often and when a job is tried again. An error and a lost runner always count; a failure only where `retry_on`
/// says so.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetryBody {
    /// Attempts in all, the first one included (default 3).
    #[schema(minimum = 1, maximum = 20)]
    max_attempts: u32,
    /// The longest wait before the second attempt, in seconds; it doubles with each one after (default 5). The wait
    /// itself is drawn between nothing and that.
    #[schema(minimum = 0, maximum = 86400)]
    backoff_s: u32,
    /// A bound on the doubling, in seconds (default 300).
    #[schema(minimum = 0, maximum = 86400)]
    backoff_max_s: u32,
    /// What is tried again (default `error`, which always is).
    #[schema(max_items = 2)]
    retry_on: Vec<RetryOn>,
}

impl Default for RetryBody {
    fn default() -> Self {
        let Retry { max_attempts, backoff_s, backoff_max_s, retry_on } = Retry::default();
        Self { max_attempts, backoff_s, backoff_max_s, retry_on }
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

fn fire_once() -> Misfire {
    Misfire::FireOnce
}

fn skip() -> Overlap {
    Overlap::Skip
}

fn ten() -> u32 {
    10
}

impl ScheduleBody {
    /// The schedule that it describes.
    pub(crate) async fn check(self, app: &App) -> Result<ScheduleSpec, Problem> {
        check_word("name", &self.name)?;
        within("catchup_max", self.catchup_max, 1, MAX_CATCHUP)?;
        within("jitter_s", self.jitter_s, 0, MAX_JITTER_S)?;
        self.variables.keys().try_for_each(|name| check_word("variables", name))?;
        let size = serde_json::to_vec(&self.variables).map_or(usize::MAX, |json| json.len());
        if size > MAX_VARIABLES {
            return Err(Problem::invalid(format!("`variables` must have at most {MAX_VARIABLES} bytes of JSON")));
        }
        let spec = ScheduleSpec {
            name: self.name,
            flow_id: self.flow_id,
            flow_version: self.flow_version,
            cron: Cron::parse(&self.cron).map_err(|error| invalid(&error))?,
            timezone: parse_zone(&self.timezone).map_err(|error| invalid(&error))?,
            misfire: self.misfire,
            catchup_max: self.catchup_max,
            overlap: self.overlap,
            jitter_s: self.jitter_s,
            environment: self.environment,
            variables: self.variables,
            retry: self.retry.check()?,
        };
        check_names(app, &spec).await?;
        Ok(spec)
    }
}

impl RetryBody {
    fn check(self) -> Result<Retry, Problem> {
        within("retry.max_attempts", self.max_attempts, 1, MAX_ATTEMPTS)?;
        within("retry.backoff_s", self.backoff_s, 0, MAX_BACKOFF_S)?;
        within("retry.backoff_max_s", self.backoff_max_s, 0, MAX_BACKOFF_S)?;
        if self.retry_on.len() > RetryOn::ALL.len() {
            return Err(Problem::invalid(format!("`retry.retry_on` may have at most {} words", RetryOn::ALL.len())));
        }
        let Self { max_attempts, backoff_s, backoff_max_s, retry_on } = self;
        Ok(Retry { max_attempts, backoff_s, backoff_max_s, retry_on })
    }
}

/// Whether the flow, its version and the environment are there. They may go later; the job will say so then.
async fn check_names(app: &App, spec: &ScheduleSpec) -> Result<(), Problem> {
    let ScheduleSpec { flow_id, flow_version, environment, .. } = spec;
    if *flow_version == Some(0) {
        return Err(Problem::invalid("`flow_version` must be a whole number from 1"));
    }
    if let Some(version) = flow_version
        && app.flows.version(*flow_id, *version).await?.is_none()
    {
        return Err(Problem::invalid(format!("`flow_version`: flow `{flow_id}` has no version {version}")));
    }
    if flow_version.is_none() && app.flows.find(*flow_id).await?.is_none() {
        return Err(Problem::invalid(format!("`flow_id`: flow `{flow_id}` does not exist")));
    }
    if let Some(name) = environment {
        check_word("environment", name)?;
        if app.environments.find(name).await?.is_none() {
            return Err(Problem::invalid(format!("`environment`: environment `{name}` does not exist")));
        }
    }
    Ok(())
}

fn within(field: &str, value: u32, least: u32, most: u32) -> Result<(), Problem> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Problem::invalid(format!("`{field}` must be a whole number from {least} to {most}")))
}
