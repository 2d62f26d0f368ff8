//! Runs: started, waited for, followed, repeated, cancelled, explained.

use serde_json::{Value, json};

use super::Outcome;
use super::site::{Body, Site, holds, items, same, text};

/// A flow that passes at once.
fn hello(name: &str) -> String {
    format!("name: {name}\nsteps:\n  - id: greet\n    action: log\n    config: {{message: hello}}\n")
}

/// A flow that takes a while, with a teardown.
fn slow(name: &str, duration: &str) -> String {
    format!(
        "name: {name}\nsteps:\n  - id: nap\n    action: delay\n    config: {{duration: {duration}}}\nteardown:\n  \
         - id: tidy\n    action: log\n    config: {{message: tidied}}\n"
    )
}

pub(super) async fn a_stored_flow_runs_and_is_waited_for(site: Site) -> Outcome {
    let yaml = hello(&Site::name("waited"));
    let id = site.stored(&yaml).await?;
    let run = site.run(&id, &json!({})).await?;
    same(
        "the run",
        &(&run["status"], &run["flow_id"], &run["flow_version"]),
        &(&json!("passed"), &json!(id), &json!(1)),
    )?;
    same("its definition", &run["definition"], yaml.as_str())?;
    let path = format!("/api/v1/executions/{}", text(&run, "id")?);
    same("what is found", &site.get(&path).await?.expect(200)?, &run)?;
    for step in ["greet", "1"] {
        same("its step", &site.get(&format!("{path}/steps/{step}")).await?.expect(200)?, &run["steps"][0])?;
    }
    site.get(&format!("{path}/steps/nap")).await?.problem(404, "step_not_found")?;
    Ok(())
}

pub(super) async fn a_definition_runs_without_being_stored(site: Site) -> Outcome {
    let text = "name: inline\nsteps:\n  - action: assert\n    config: {assertions: ['answer == 42']}\n";
    let body = json!({"yaml": text, "variables": {"answer": 42}, "trigger": "cli"});
    let run = site.post("/api/v1/executions?wait=30s", &body).await?.expect(200)?;
    same(
        "the run",
        &(&run["status"], &run["flow_id"], &run["trigger"]),
        &(&json!("passed"), &Value::Null, &json!("cli")),
    )?;
    same("its variables", &run["variables"], &json!({"answer": 42}))
}

/// The events of an ended stream: id and kind.
fn events(text: &str) -> Result<Vec<(u64, String)>, String> {
    let blocks = text.split("\n\n").filter(|block| block.contains("data:"));
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| line.trim_start_matches(':').trim().to_owned()).ok_or_else(|| format!("no {name} in `{block}`"))
    };
    blocks
        .map(|block| {
            let id = field(block, "id")?.parse().map_err(|error| format!("an event's id: {error}"))?;
            Ok((id, field(block, "event")?))
        })
        .collect()
}

pub(super) async fn a_run_is_followed_while_it_goes_on(site: Site) -> Outcome {
    let body = json!({ "yaml": slow("followed", "1s") });
    let run = site.post("/api/v1/executions", &body).await?;
    run.expect(202)?;
    let path = format!("{}/events", run.header("location"));
    // Open while it runs; ends with it.
    let all = events(&site.get(&path).await?.text)?;
    let ids: Vec<u64> = all.iter().map(|(id, _)| *id).collect();
    same("ids without gaps", &ids, &(1..=all.len() as u64).collect::<Vec<_>>())?;
    let kinds = (all.first().map(|(_, kind)| kind.as_str()), all.last().map(|(_, kind)| kind.as_str()));
    same("first and last event", &kinds, &(Some("execution.queued"), Some("execution.finished")))?;
    let seen = all.len() / 2;
    let rest = site.send("GET", &path, &[("last-event-id", &seen.to_string())], Body::None).await?;
    same("what came after", &events(&rest.text)?.as_slice(), &&all[seen..])
}

pub(super) async fn a_cancelled_run_tidies_up(site: Site) -> Outcome {
    let run = site.post("/api/v1/executions", &json!({ "yaml": slow("cancelled", "60s") })).await?;
    run.expect(202)?;
    let path = run.header("location").to_owned();
    site.until(&path, "status", &["running"]).await?;
    site.post(&format!("{path}/cancel"), &json!({})).await?.expect(202)?;
    let run = site.until(&path, "status", &["cancelled", "passed", "failed", "error"]).await?;
    let steps: Vec<_> = items(&run, "steps")?.iter().map(|step| (&step["id"], &step["status"])).collect();
    let expected = [(json!("nap"), json!("cancelled")), (json!("tidy"), json!("passed"))];
    same("the steps", &steps, &expected.iter().map(|(id, status)| (id, status)).collect::<Vec<_>>())?;
    site.post(&format!("{path}/cancel"), &json!({})).await?.problem(409, "already_finished")?;
    Ok(())
}

pub(super) async fn the_same_key_runs_once(site: Site) -> Outcome {
    let flow = site.stored(&hello(&Site::name("once"))).await?;
    let key = Site::name("key");
    let path = format!("/api/v1/flows/{flow}/executions?wait=30s");
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (site, path, key) = (site.clone(), path.clone(), key.clone());
        senders.spawn(async move {
            let answer =
                site.send("POST", &path, &[("idempotency-key", &key)], Body::Json(&json!({"seed": 1}))).await?;
            text(&answer.expect(200)?, "id")
        });
    }
    let mut ids = Vec::new();
    while let Some(id) = senders.join_next().await {
        ids.push(id.map_err(|error| error.to_string())??);
    }
    ids.dedup();
    same("executions of one key", &ids.len(), &1)?;
    let other = site.send("POST", &path, &[("idempotency-key", &key)], Body::Json(&json!({"seed": 2}))).await?;
    other.problem(409, "idempotency_mismatch")?;
    let listed = site.get(&format!("/api/v1/executions?flow_id={flow}")).await?.expect(200)?;
    same("executions of the flow", &items(&listed, "items")?.len(), &1)
}

pub(super) async fn a_changed_flow_runs_as_it_is_now(site: Site) -> Outcome {
    let name = Site::name("changing");
    let version = |number: u32| {
        format!("name: {name}\nsteps:\n  - id: v{number}\n    action: log\n    config: {{message: '{number}'}}\n")
    };
    let flow = site.stored(&version(1)).await?;
    for number in 2..=5 {
        let yaml = version(number);
        site.send("PUT", &format!("/api/v1/flows/{flow}"), &[], Body::Yaml(&yaml)).await?.expect(200)?;
        let run = site.run(&flow, &json!({})).await?;
        same("the step that ran", &run["steps"][0]["id"], &json!(format!("v{number}")))?;
    }
    let first = site.run(&flow, &json!({"version": 1})).await?;
    same("the step of the first version", &first["steps"][0]["id"], "v1")
}

pub(super) async fn a_flow_calls_another_by_name(site: Site) -> Outcome {
    let (inner, outer) = (Site::name("inner"), Site::name("outer"));
    site.stored(&hello(&inner)).await?;
    let outer = site
        .stored(&format!("name: {outer}\nsteps:\n  - id: call\n    action: run_flow\n    config: {{flow: {inner}}}\n"))
        .await?;
    let run = site.run(&outer, &json!({})).await?;
    same(&format!("the run: {run}"), &run["status"], "passed")
}

pub(super) async fn a_failed_run_explains_itself_in_every_format(site: Site) -> Outcome {
    let yaml = "name: failing\nenv: {name: short}\nsteps:\n  - id: compare\n    action: assert\n    config: {assertions: ['len(name) == 99']}\n";
    let answer = site.post("/api/v1/executions?wait=30s", &json!({ "yaml": yaml })).await?;
    let run = answer.expect(200)?;
    same("the run", &run["status"], "failed")?;
    holds(&format!("the comparison is shown: {run}"), run["steps"].to_string().contains("len(name) == 99"))?;
    for (format, part) in [("junit", "<testsuite"), ("tap", "not ok"), ("html", "<html"), ("json", "\"failed\"")] {
        let report = site.get(&format!("{}/report?format={format}", answer.header("location"))).await?;
        same("the report's status", &report.status, &200)?;
        holds(&format!("`{part}` in {format}: {}", report.text), report.text.contains(part))?;
    }
    Ok(())
}

pub(super) async fn executions_are_listed_by_what_they_are(site: Site) -> Outcome {
    let flow = site.stored(&hello(&Site::name("listed"))).await?;
    let first = site.run(&flow, &json!({})).await?;
    let second = site.run(&flow, &json!({"dry_run": true})).await?;
    for (query, wanted) in [
        ("", vec![&second["id"], &first["id"]]),
        ("&limit=1", vec![&second["id"]]),
        ("&status=passed", vec![&second["id"], &first["id"]]),
        ("&status=failed", vec![]),
        ("&trigger=schedule", vec![]),
    ] {
        let listed = site.get(&format!("/api/v1/executions?flow_id={flow}{query}")).await?.expect(200)?;
        let ids: Vec<_> = items(&listed, "items")?.iter().map(|item| &item["id"]).collect();
        same(&format!("executions of `{query}`"), &ids, &wanted)?;
    }
    Ok(())
}

pub(super) async fn what_does_not_exist_is_said_so(site: Site) -> Outcome {
    let nobody = "019a0000-0000-7000-8000-000000000000";
    let run = json!({});
    site.post(&format!("/api/v1/flows/{nobody}/executions"), &run).await?.problem(404, "flow_not_found")?;
    site.get(&format!("/api/v1/executions/{nobody}")).await?.problem(404, "execution_not_found")?;
    site.get(&format!("/api/v1/executions/{nobody}/events")).await?.problem(404, "execution_not_found")?;
    site.post(&format!("/api/v1/executions/{nobody}/cancel"), &run).await?.problem(404, "execution_not_found")?;
    site.get(&format!("/api/v1/batches/{nobody}")).await?.problem(404, "batch_not_found")?;
    site.post("/api/v1/suites/nobody-wrote-it/executions", &run).await?.problem(404, "suite_not_found")?;
    let flow = site.stored(&hello(&Site::name("versions"))).await?;
    let path = format!("/api/v1/flows/{flow}/executions");
    site.post(&path, &json!({"version": 9})).await?.problem(404, "version_not_found")?;
    site.post(&path, &json!({"environment": "nowhere"})).await?.problem(422, "invalid_request")?;
    Ok(())
}

pub(super) async fn many_runs_at_once_all_pass(site: Site) -> Outcome {
    let flow = site.stored(&slow(&Site::name("many"), "100ms")).await?;
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (site, flow) = (site.clone(), flow.clone());
        runs.spawn(async move { site.run(&flow, &json!({})).await });
    }
    while let Some(run) = runs.join_next().await {
        let run = run.map_err(|error| error.to_string())??;
        same(&format!("a run: {run}"), &run["status"], "passed")?;
    }
    Ok(())
}
