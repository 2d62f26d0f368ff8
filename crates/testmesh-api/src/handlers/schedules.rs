//! When flows run.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod find;
pub(crate) mod jobs;
pub(crate) mod list;
pub(crate) mod pause;
pub(crate) mod preview;
pub(crate) mod resume;
pub(crate) mod spec;
pub(crate) mod trigger;
pub(crate) mod update;

use testmesh_scheduler::cron::CronError;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ScheduleId;

use crate::problem::Problem;

fn not_found(id: ScheduleId) -> Problem {
    Problem::new(ErrorCode::ScheduleNotFound, format!("schedule `{id}` does not exist"))
}

fn path(id: ScheduleId) -> String {
    format!("/api/v1/schedules/{id}")
}

fn invalid(error: &CronError) -> Problem {
    Problem::new(error.code(), format!("`{}`: {error}", error.subject()))
}
