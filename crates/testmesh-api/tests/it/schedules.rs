//! Schedules and their jobs over HTTP, with a test for a runner.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use testmesh_shared::clock::{Clock, SystemClock};
use testmesh_shared::ids::ExecutionId;
use testmesh_shared::messages::{Outcome, RunFlow, RunReport, RunState};
use testmesh_shared::stream::{Stream, Topic};

use crate::app::{Answer, HELLO, TestApp};

/// A schedule that will not fire by itself while a test runs, and may be tried without a wait.
async fn scheduled(app: &TestApp) -> (String, Value) {
    let flow = app.stored(HELLO).await;
    let body = json!({"name": "yearly", "flow_id": flow, "cron": "@yearly", "retry": {"backoff_s": 0}});
    let created = app.post("/api/v1/schedules", &body).await;
    let schedule = created.expect(201);
    (created.header("location").to_owned(), schedule)
}

/// The next job that a runner would get.
async fn sent(app: &TestApp) -> RunFlow {
    let read = app.stream.read(Topic::RunFlow, 1, Duration::from_secs(20)).await.unwrap();
    app.stream.acknowledge(Topic::RunFlow, &[read[0].id.clone()]).await.unwrap();
    serde_json::from_str(&read[0].payload).unwrap()
}

async fn finish(app: &TestApp, job: &RunFlow, outcome: Outcome) {
    let report = RunReport {
        job_id: job.job_id,
        attempt: job.attempt,
        execution_id: ExecutionId::generate(&SystemClock),
        state: RunState::Finished { outcome, finished_at: SystemClock.now(), code: None, message: None },
    };
    app.stream.publish(Topic::RunFinished, &[serde_json::to_string(&report).unwrap()]).await.unwrap();
}

/// Asks for a job until it is as far as this.
async fn settled(app: &TestApp, path: &str, status: &str) -> Value {
    let asked = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let job = app.get(path).await.expect(200);
            if job["status"] == status {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    asked.await.unwrap_or_else(|_| panic!("{path} should become {status}"))
}

#[tokio::test]
async fn a_schedule_lives_under_its_id() {
    let app = TestApp::start().await;
    let (path, schedule) = scheduled(&app).await;
    assert_eq!(path, format!("/api/v1/schedules/{}", schedule["id"].as_str().unwrap()));
    assert_eq!((&schedule["enabled"], &schedule["revision"]), (&json!(true), &json!(1)));
    assert_eq!((&schedule["misfire"], &schedule["overlap"]), (&json!("fire_once"), &json!("skip")));
    assert_eq!((&schedule["cron"], &schedule["timezone"]), (&json!("@yearly"), &json!("UTC")));
    let retry = json!({"max_attempts": 3, "backoff_s": 0, "backoff_max_s": 300, "retry_on": ["error"]});
    assert_eq!(schedule["retry"], retry);
    assert!(schedule["next_fire_at"].as_str().unwrap().ends_with("-01-01T00:00:00.000Z"), "{schedule}");
    let found = app.get(&path).await;
    assert_eq!((found.expect(200), found.header("etag")), (schedule.clone(), "\"1\""));
    let listed = app.get(&format!("/api/v1/schedules?flow_id={}", schedule["flow_id"].as_str().unwrap())).await;
    assert_eq!(listed.expect(200), json!({"items": [schedule], "next_cursor": null}));

    let body = json!({"name": "daily", "flow_id": schedule["flow_id"], "cron": "0 3 * * *",
        "timezone": "Europe/Berlin", "overlap": "queue", "variables": {"z": 1, "a": null}});
    let updated = app.put(&path, &body).await;
    let daily = updated.expect(200);
    assert_eq!(
        (&daily["name"], &daily["overlap"], updated.header("etag")),
        (&json!("daily"), &json!("queue"), "\"2\"")
    );
    assert_eq!(daily["variables"].as_object().unwrap().keys().collect::<Vec<_>>(), ["z", "a"]);
    let stale = app.request(Method::PUT, &path).header("if-match", "\"1\"").json(&body);
    Answer::of(stale).await.problem(412, "precondition_failed");
    Answer::of(app.request(Method::DELETE, &path).header("if-match", "\"1\""))
        .await
        .problem(412, "precondition_failed");
    let of_now = app.request(Method::DELETE, &path).header("if-match", "\"9\", \"2\"");
    assert_eq!(Answer::of(of_now).await.status.as_u16(), 204);
    app.get(&path).await.problem(404, "schedule_not_found");
    app.delete(&path).await.problem(404, "schedule_not_found");
}

#[tokio::test]
async fn a_schedule_can_be_paused_and_resumed() {
    let app = TestApp::start().await;
    let (path, schedule) = scheduled(&app).await;
    let paused = app.post(&format!("{path}/pause"), &json!({})).await;
    assert_eq!(paused.expect(200)["next_fire_at"], json!(null));
    assert_eq!((paused.json()["enabled"].clone(), paused.header("etag")), (json!(false), "\"2\""));
    let resumed = app.post(&format!("{path}/resume"), &json!({})).await.expect(200);
    assert_eq!((&resumed["enabled"], &resumed["next_fire_at"]), (&json!(true), &schedule["next_fire_at"]));
    let body = |enabled: bool| json!({"name": "yearly", "flow_id": schedule["flow_id"], "cron": "@yearly", "enabled": enabled});
    assert_eq!(app.put(&path, &body(false)).await.expect(200)["enabled"], json!(false));
    assert_eq!(app.put(&path, &body(true)).await.expect(200)["enabled"], json!(true));
    let other = json!({"name": "born paused", "flow_id": schedule["flow_id"], "cron": "@yearly", "enabled": false});
    assert_eq!(app.post("/api/v1/schedules", &other).await.expect(201)["next_fire_at"], json!(null));
}

#[tokio::test]
async fn a_firing_by_hand_is_a_job_that_can_be_followed() {
    let app = TestApp::start().await;
    let (path, schedule) = scheduled(&app).await;
    let trigger = async |key: &str| {
        let request = app.request(Method::POST, &format!("{path}/trigger"));
        Answer::of(if key.is_empty() { request } else { request.header("idempotency-key", key) }).await
    };
    let fired = trigger("deploy-17").await;
    let job = fired.expect(202);
    let job_path = fired.header("location").to_owned();
    assert_eq!(job_path, format!("/api/v1/jobs/{}", job["id"].as_str().unwrap()));
    assert_eq!((&job["manual"], &job["schedule_id"], &job["attempt"]), (&json!(true), &schedule["id"], &json!(1)));
    assert_eq!(trigger("deploy-17").await.expect(202)["id"], job["id"]);
    let message = sent(&app).await;
    assert_eq!(message.flow_id.to_string(), schedule["flow_id"].as_str().unwrap());
    finish(&app, &message, Outcome::Passed).await;
    let passed = settled(&app, &job_path, "passed").await;
    assert_eq!((&passed["outcome"], &passed["reason"]), (&json!("passed"), &json!(null)));
    assert!(passed["execution_id"].is_string() && passed["finished_at"].is_string(), "{passed}");
    let listed = app.get(&format!("{path}/jobs")).await.expect(200);
    assert_eq!(listed, json!({"items": [passed], "next_cursor": null}));
    assert_eq!(app.get("/api/v1/jobs?status=passed").await.expect(200), listed);
    assert_eq!(app.get("/api/v1/jobs?status=dead").await.expect(200)["items"], json!([]));
    assert_eq!(app.get(&format!("{path}/jobs?status=failed")).await.expect(200)["items"], json!([]));
    // The jobs outlive the schedule.
    assert_eq!(app.delete(&path).await.status.as_u16(), 204);
    app.get(&format!("{path}/jobs")).await.problem(404, "schedule_not_found");
    let of_schedule = format!("/api/v1/jobs?schedule_id={}", schedule["id"].as_str().unwrap());
    assert_eq!(app.get(&of_schedule).await.expect(200), listed);
}

#[tokio::test]
async fn a_dead_job_can_be_retried() {
    let app = TestApp::start().await;
    let (path, _) = scheduled(&app).await;
    let fired = app.post(&format!("{path}/trigger"), &json!({})).await;
    fired.expect(202);
    let job_path = fired.header("location").to_owned();
    app.post(&format!("{job_path}/retry"), &json!({})).await.problem(409, "job_not_dead");
    for _ in 0..3 {
        let message = sent(&app).await;
        finish(&app, &message, Outcome::Error).await;
    }
    let dead = settled(&app, &job_path, "dead").await;
    assert_eq!((&dead["attempt"], &dead["reason"]), (&json!(3), &json!("error")));
    assert_eq!(app.get("/api/v1/jobs?status=dead").await.expect(200)["items"], json!([dead]));
    let retried = app.post(&format!("{job_path}/retry"), &json!({})).await;
    assert_eq!((retried.expect(202)["attempt"].clone(), retried.header("location")), (json!(4), job_path.as_str()));
    let message = sent(&app).await;
    finish(&app, &message, Outcome::Passed).await;
    settled(&app, &job_path, "passed").await;
}

#[tokio::test]
async fn lists_of_schedules_and_jobs_come_in_pages() {
    let app = TestApp::start().await;
    let (path, schedule) = scheduled(&app).await;
    let second = json!({"name": "second", "flow_id": schedule["flow_id"], "cron": "@yearly"});
    app.post("/api/v1/schedules", &second).await.expect(201);
    for _ in 0..3 {
        app.post(&format!("{path}/trigger"), &json!({})).await.expect(202);
    }
    let count = async |list: &str, limit: u32| {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.get(&format!("{list}?limit={limit}{cursor}")).await.expect(200);
            seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(word) => cursor = format!("&cursor={word}"),
                None => break,
            }
        }
        let n_seen = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), n_seen);
        n_seen
    };
    assert_eq!(count("/api/v1/schedules", 1).await, 2);
    assert_eq!(count("/api/v1/jobs", 2).await, 3);
    assert_eq!(count(&format!("{path}/jobs"), 2).await, 3);
}

#[tokio::test]
async fn a_schedule_is_checked_before_it_is_stored() {
    let app = TestApp::start().await;
    let (path, schedule) = scheduled(&app).await;
    let check = async |change: Value, word: &str| {
        let mut body = json!({"name": "x", "flow_id": schedule["flow_id"], "cron": "@daily"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        for answer in [app.post("/api/v1/schedules", &body).await, app.put(&path, &body).await] {
            let problem = answer.problem(422, "invalid_request");
            assert!(problem["detail"].as_str().unwrap().contains(word), "{change}: {problem}");
        }
    };
    check(json!({"cron": "61 * * * *"}), "minute").await;
    check(json!({"cron": ""}), "`cron`").await;
    check(json!({"cron": "0 0 30 2 *"}), "never fires").await;
    check(json!({"timezone": "Mars/Olympus"}), "`timezone`").await;
    check(json!({"name": ""}), "`name`").await;
    check(json!({"name": "a\u{0}b"}), "`name`").await;
    check(json!({"flow_id": "019a0000-0000-7000-8000-000000000000"}), "`flow_id`").await;
    check(json!({"flow_id": "nightly"}), "UUID").await;
    check(json!({"flow_version": 0}), "`flow_version`").await;
    check(json!({"flow_version": 9}), "no version 9").await;
    check(json!({"environment": "nowhere"}), "`nowhere`").await;
    check(json!({"environment": "a\u{0}"}), "`environment`").await;
    check(json!({"misfire": "run"}), "fire_once").await;
    check(json!({"overlap": "SKIP"}), "queue").await;
    check(json!({"jitter_s": 3601}), "`jitter_s`").await;
    check(json!({"jitter_s": -1}), "-1").await;
    check(json!({"catchup_max": 0}), "`catchup_max`").await;
    check(json!({"variables": {"": 1}}), "`variables`").await;
    check(json!({"variables": {"a": "x".repeat(65_536)}}), "`variables`").await;
    check(json!({"retry": {"max_attempts": 0}}), "`retry.max_attempts`").await;
    check(json!({"retry": {"backoff_s": 86401}}), "`retry.backoff_s`").await;
    check(json!({"retry": {"retry_on": ["passed"]}}), "failed").await;
    check(json!({"retry": {"tries": 3}}), "`tries`").await;
    check(json!({"next_fire_at": null}), "`next_fire_at`").await;
    let taken = json!({"name": "yearly", "flow_id": schedule["flow_id"], "cron": "@daily"});
    app.post("/api/v1/schedules", &taken).await.problem(409, "name_taken");
    let queries = ["status=done", "status=", "schedule_id=1", "flow_id=1"];
    for query in queries {
        app.get(&format!("/api/v1/jobs?{query}")).await.problem(422, "invalid_request");
    }
}
