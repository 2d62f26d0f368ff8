//! The acceptance suite: what a server promises over HTTP, asked of a base URL and nothing else.
//!
//! Cases run side by side and share the server with whatever else is in it: each one works with names and ids of its own.

mod batches;
mod environments;
mod executions;
mod flows;
mod schedules;
mod site;
mod system;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::site::Site;

/// How long one case may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Cases at a time.
const SIDE_BY_SIDE: usize = 8;

type Outcome = Result<(), String>;
type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A promise and how to see whether it is kept.
pub(crate) struct Case {
    /// What must hold.
    pub(crate) name: &'static str,
    run: fn(Site) -> Running,
}

/// What a case came to.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) name: &'static str,
    /// What did not hold.
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

macro_rules! cases {
    ($($module:ident::$name:ident),* $(,)?) => {
        vec![$(Case { name: stringify!($name), run: |site| Box::pin($module::$name(site)) }),*]
    };
}

/// Every case.
pub(crate) fn cases() -> Vec<Case> {
    cases![
        schedules::a_schedule_fires_by_itself_until_it_is_paused,
        schedules::a_firing_by_hand_is_a_job_with_an_execution,
        schedules::a_failed_job_says_so_and_is_not_retried,
        schedules::a_schedule_lives_under_its_id,
        executions::a_run_is_followed_while_it_goes_on,
        executions::a_cancelled_run_tidies_up,
        executions::a_stored_flow_runs_and_is_waited_for,
        executions::a_definition_runs_without_being_stored,
        executions::the_same_key_runs_once,
        executions::a_changed_flow_runs_as_it_is_now,
        executions::a_flow_calls_another_by_name,
        executions::a_failed_run_explains_itself_in_every_format,
        executions::executions_are_listed_by_what_they_are,
        executions::what_does_not_exist_is_said_so,
        executions::many_runs_at_once_all_pass,
        batches::a_suite_runs_all_its_flows,
        batches::a_data_driven_flow_runs_once_for_each_row,
        flows::a_flow_lives_under_its_id,
        flows::a_name_is_taken_once,
        flows::mistakes_are_named_with_their_places,
        flows::a_long_text_comes_back_as_it_was,
        flows::flows_are_listed_in_pages,
        flows::two_writers_do_not_overwrite_each_other,
        environments::an_environment_lives_under_its_name,
        environments::a_run_sees_the_environment_as_it_is_now,
        system::the_server_says_how_it_does,
        system::what_is_not_there_is_a_problem_with_a_code,
    ]
}

/// Tries every case on the server at `authority`, some at a time, in the order of [`cases`].
pub(crate) async fn run(authority: &str) -> Vec<Tried> {
    let places = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut running = JoinSet::new();
    for (number, case) in cases().into_iter().enumerate() {
        let (places, site) = (Arc::clone(&places), Site::new(authority));
        running.spawn(async move {
            // Never closed.
            let _place = places.acquire_owned().await;
            let started = Instant::now();
            let outcome = tokio::time::timeout(PATIENCE, (case.run)(site)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(format!("no end after {} s", PATIENCE.as_secs())));
            (number, Tried { name: case.name, outcome, took: started.elapsed() })
        });
    }
    let mut tried = running.join_all().await;
    tried.sort_by_key(|(number, _)| *number);
    tried.into_iter().map(|(_, tried)| tried).collect()
}
