//! The checks prove themselves: sound books hold, and each kind of damage is found by the check that is for it.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::*;
use crate::workspace;

/// Two schedules that fired three times each, every job with one run that passed.
const SOUND: &str = "
insert into scheduler.schedules (id, name, flow_id, cron, timezone, misfire, catchup_max, overlap, jitter_s, variables,
    retry, enabled, revision, created_at, updated_at)
select s::text::uuid, s, gen_random_uuid(), '* * * * * *', 'UTC', 'catch_up', 1000, 'allow', 0, '{}', '{}', true, 1,
    to_timestamp(1000), to_timestamp(1000)
from unnest(array['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002']) s;
insert into executions.definitions values (decode(repeat('00', 32), 'hex'), '');
insert into scheduler.jobs (id, schedule_id, manual, nominal_at, flow_id, payload, state, attempt, max_attempts,
    available_at, finished_at, created_at)
select gen_random_uuid(), s::text::uuid, false, to_timestamp(1000 + n), gen_random_uuid(), '{}', 'passed', 1, 3,
    to_timestamp(1000 + n), to_timestamp(1001 + n), to_timestamp(1000 + n)
from unnest(array['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002']) s,
    generate_series(1, 3) n;
insert into executions.executions (id, flow_name, definition_hash, status, trigger_kind, job_id, attempt, variables,
    queued_at, started_at, finished_at, total_steps, passed_steps, failed_steps, skipped_steps)
select gen_random_uuid(), 'drill', decode(repeat('00', 32), 'hex'), 'passed', 'schedule', id, 1, '{}', nominal_at,
    nominal_at, finished_at, 3, 3, 0, 0
from scheduler.jobs;
insert into executions.execution_steps (execution_id, ordinal, step_id, phase, status, record)
select id, n, 'step_' || n, 'main', 'passed', '{}' from executions.executions, generate_series(1, 3) n;";

/// Another verdict for a job that has one.
const SECOND_VERDICT: &str = "
insert into executions.executions (id, flow_name, definition_hash, status, trigger_kind, job_id, attempt, variables,
    queued_at, started_at, finished_at, total_steps, passed_steps, failed_steps, skipped_steps)
select gen_random_uuid(), flow_name, definition_hash, status, trigger_kind, job_id, 2, variables, queued_at,
    started_at, finished_at, 3, 3, 0, 0
from executions.executions limit 1;";

/// How many databases this process made.
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// What is done to sound books.
enum Damage {
    None,
    Statement(&'static str),
    StepTwice,
    StepTooMany,
    StepMissing,
}

/// Books of their own with sound entries, and then the damage; the checks that did not hold.
async fn failing(damage: Damage) -> Option<Vec<String>> {
    #[allow(clippy::disallowed_methods, reason = "tests are told by the environment where their servers are")]
    let Ok(server) = std::env::var("TESTMESH_TEST_POSTGRES") else {
        eprintln!("skipped on postgresql: TESTMESH_TEST_POSTGRES names no server");
        return None;
    };
    let mut admin = PgConnection::connect(&server).await.unwrap();
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let name = format!("drill_test_{}_{number}", std::process::id());
    admin.execute(AssertSqlSafe(format!("drop database if exists {name}"))).await.unwrap();
    admin.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    let ledger = Ledger::open(&format!("{base}/{name}")).await.unwrap();
    for schema in ["scheduler", "executions"] {
        sqlx::query(AssertSqlSafe(format!("create schema {schema}"))).execute(&ledger.pool).await.unwrap();
        let folder = workspace::root().join("migrations").join(schema).join("postgres");
        for file in workspace::files(&folder, "sql").unwrap() {
            let text = workspace::read(&file).unwrap();
            sqlx::raw_sql(AssertSqlSafe(text)).execute(&ledger.pool).await.unwrap();
        }
    }
    sqlx::raw_sql(SOUND).execute(&ledger.pool).await.unwrap();
    ledger.write_down().await.unwrap();
    let target = Target::serve().await.unwrap();
    let runs = ledger.ids("passed").await.unwrap();
    for (run, step) in runs.iter().flat_map(|run| [1, 2, 3].map(|step| (run, step))) {
        if !(matches!(damage, Damage::StepMissing) && step == 3 && run == &runs[0]) {
            hit(&target, run, step).await;
        }
    }
    match damage {
        Damage::None | Damage::StepMissing => {}
        Damage::Statement(statement) => {
            sqlx::raw_sql(statement).execute(&ledger.pool).await.unwrap();
        }
        Damage::StepTwice => hit(&target, &runs[0], 2).await,
        Damage::StepTooMany => hit(&target, &runs[0], 4).await,
    }
    let schedules = ["1", "2"].map(str::to_owned).to_vec();
    let load = Load { schedules, period_s: 1, flow: String::new(), steps: 3 };
    let mut findings = Findings::default();
    findings.firings(&ledger, &load, 1_004.0).await.unwrap();
    findings.verdicts(&ledger, &target, Spoils::NONE, load.steps).await.unwrap();
    let open = ledger.settle(Duration::ZERO).await;
    findings.check("nothing is open", open.is_ok(), "");
    Some(findings.checks.into_iter().filter(|check| !check.held).map(|check| check.what).collect())
}

async fn hit(target: &Target, run: &str, step: u32) {
    let authority = target.url().replace("http://", "");
    let path = format!("/hit/{run}/{step}/0");
    client::send(&authority, "GET", &path, None, String::new()).await.unwrap();
}

async fn check(damage: Damage, expected: &[&str]) {
    if let Some(failing) = failing(damage).await {
        assert_eq!(failing, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_books_hold() {
    check(Damage::None, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_that_is_missing_is_found() {
    let damage = Damage::Statement(
        "delete from executions.execution_steps; delete from executions.executions where job_id in \
         (select id from scheduler.jobs where nominal_at = to_timestamp(1002)); \
         delete from scheduler.jobs where nominal_at = to_timestamp(1002)",
    );
    // Their final states are gone as well, and every step's record.
    let steps = "each passed run has all its steps on record";
    check(damage, &["per schedule and time exactly one job", "no final state changed", steps]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_never_fired_is_found() {
    let damage = Damage::Statement(
        "update scheduler.jobs set schedule_id = null, manual = true where schedule_id::text like '%2'",
    );
    check(damage, &["per schedule and time exactly one job"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_firing_that_was_missed_is_found() {
    let damage = Damage::Statement("update scheduler.schedules set created_at = created_at - interval '2 seconds'");
    check(damage, &["per schedule and time exactly one job"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_that_was_left_out_is_found() {
    let damage = Damage::Statement(
        "delete from executions.execution_steps where execution_id in (select id from executions.executions where \
         started_at = to_timestamp(1003)); delete from executions.executions where started_at = to_timestamp(1003); \
         update scheduler.jobs set state = 'skipped' where nominal_at = to_timestamp(1003)",
    );
    check(damage, &["no firing that may run was left out", "no final state changed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_verdict_is_found() {
    let one = "each finished job has exactly one verdict";
    // Its steps are nowhere.
    let whole = ["each passed run has all its steps on record", "the target saw every step of each passed run"];
    check(Damage::Statement(SECOND_VERDICT), &[one, whole[0], whole[1]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_without_a_record_is_found() {
    let damage = Damage::Statement("delete from executions.execution_steps where ordinal = 2");
    check(damage, &["each passed run has all its steps on record"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_state_that_changed_is_found() {
    let damage = Damage::Statement(
        "update executions.executions set finished_at = finished_at + interval '1 second' \
         where id = (select id from executions.executions limit 1)",
    );
    check(damage, &["no final state changed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoiled_run_and_an_open_one_are_found() {
    let damage = Damage::Statement("update scheduler.jobs set state = 'dead' where nominal_at = to_timestamp(1003)");
    check(damage, &["every job passed in the end", "no final state changed"]).await;
    let damage = Damage::Statement(
        "insert into executions.outbox (topic, payload, created_at) values ('run_finished', '{}', now())",
    );
    check(damage, &["nothing is open"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_the_target_saw_twice_or_not_are_found() {
    check(Damage::StepTwice, &["the target saw no step of a run twice"]).await;
    for damage in [Damage::StepTooMany, Damage::StepMissing] {
        check(damage, &["the target saw every step of each passed run"]).await;
    }
}
