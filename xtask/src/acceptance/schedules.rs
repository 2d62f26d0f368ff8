//! Schedules and their jobs, from the firing to the verdict.

use std::time::Duration;

use serde_json::{Value, json};

use super::Outcome;
use super::site::{Body, Site, holds, items, same, text};

/// Stores a flow with one assertion and a schedule of it; the schedule's path and itself.
async fn scheduled(site: &Site, assertion: &str, cron: &str) -> Result<(String, Value), String> {
    let name = Site::name("scheduled");
    let yaml = format!("name: {name}\nsteps:\n  - action: assert\n    config: {{assertions: ['{assertion}']}}\n");
    let flow = site.stored(&yaml).await?;
    let body = json!({"name": name, "flow_id": flow, "cron": cron, "overlap": "allow", "variables": {"n": 1}});
    let created = site.post("/api/v1/schedules", &body).await?;
    let schedule = created.expect(201)?;
    Ok((created.header("location").to_owned(), schedule))
}

pub(super) async fn a_schedule_fires_by_itself_until_it_is_paused(site: Site) -> Outcome {
    let (path, _) = scheduled(&site, "n == 1", "* * * * * *").await?;
    let jobs_path = format!("{path}/jobs?status=passed&limit=50");
    let mut jobs = Vec::new();
    while jobs.len() < 3 {
        jobs.clone_from(items(&site.get(&jobs_path).await?.expect(200)?, "items")?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let paused = site.post(&format!("{path}/pause"), &json!({})).await?.expect(200)?;
    same("a paused schedule", &paused["enabled"], &json!(false))?;
    let mut nominal: Vec<String> = jobs.iter().map(|job| text(job, "nominal_at")).collect::<Result<_, _>>()?;
    let n_jobs = nominal.len();
    nominal.sort();
    nominal.dedup();
    same("times that fired once", &nominal.len(), &n_jobs)?;
    let execution = format!("/api/v1/executions/{}", text(&jobs[0], "execution_id")?);
    let execution = site.get(&execution).await?.expect(200)?;
    same("its execution", &(&execution["status"], &execution["trigger"]), &(&json!("passed"), &json!("schedule")))
}

pub(super) async fn a_firing_by_hand_is_a_job_with_an_execution(site: Site) -> Outcome {
    let (path, schedule) = scheduled(&site, "n == 1", "@yearly").await?;
    let key = Site::name("key");
    let trigger = async || {
        let headers = [("idempotency-key", key.as_str())];
        site.send("POST", &format!("{path}/trigger"), &headers, Body::None).await?.expect(202)
    };
    let job = trigger().await?;
    same("the job of the same key", &trigger().await?["id"], &job["id"])?;
    let job =
        site.until(&format!("/api/v1/jobs/{}", text(&job, "id")?), "status", &["passed", "failed", "dead"]).await?;
    same(&format!("the job: {job}"), &(&job["status"], &job["attempt"]), &(&json!("passed"), &json!(1)))?;
    let execution = format!("/api/v1/executions/{}", text(&job, "execution_id")?);
    same("the execution's schedule", &site.get(&execution).await?.expect(200)?["schedule_id"], &schedule["id"])?;
    let listed = format!("/api/v1/executions?schedule_id={}", text(&schedule, "id")?);
    same("executions of the schedule", &items(&site.get(&listed).await?.expect(200)?, "items")?.len(), &1)
}

pub(super) async fn a_failed_job_says_so_and_is_not_retried(site: Site) -> Outcome {
    let (path, _) = scheduled(&site, "n == 2", "@yearly").await?;
    let job = site.post(&format!("{path}/trigger"), &json!({})).await?.expect(202)?;
    let path = format!("/api/v1/jobs/{}", text(&job, "id")?);
    let job = site.until(&path, "status", &["passed", "failed", "dead"]).await?;
    same(&format!("the job: {job}"), &(&job["status"], &job["attempt"]), &(&json!("failed"), &json!(1)))?;
    site.post(&format!("{path}/retry"), &json!({})).await?.problem(409, "job_not_dead")?;
    Ok(())
}

pub(super) async fn a_schedule_lives_under_its_id(site: Site) -> Outcome {
    let (path, schedule) = scheduled(&site, "n == 1", "@yearly").await?;
    same("what is found", &site.get(&path).await?.expect(200)?, &schedule)?;
    let body = json!({"name": schedule["name"], "flow_id": schedule["flow_id"], "cron": "0 3 * * *",
        "timezone": "Europe/Berlin"});
    let updated = site.put(&path, &body).await?;
    same("the zone", &updated.expect(200)?["timezone"], "Europe/Berlin")?;
    let stale = site.send("PUT", &path, &[("if-match", "\"1\"")], Body::Json(&body)).await?;
    stale.problem(412, "precondition_failed")?;
    let paused = site.post(&format!("{path}/pause"), &json!({})).await?.expect(200)?;
    same("when it fires", &paused["next_fire_at"], &Value::Null)?;
    let resumed = site.post(&format!("{path}/resume"), &json!({})).await?.expect(200)?;
    holds(&format!("it fires again: {resumed}"), resumed["next_fire_at"].is_string())?;
    site.post("/api/v1/schedules", &body).await?.problem(409, "name_taken")?;
    site.delete(&path).await?.expect(204)?;
    site.get(&path).await?.problem(404, "schedule_not_found")?;
    Ok(())
}
