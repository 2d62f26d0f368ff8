//! Environments: where they live, and that runs see them as they are now.

use serde_json::json;

use super::Outcome;
use super::site::{Body, Site, same};

pub(super) async fn an_environment_lives_under_its_name(site: Site) -> Outcome {
    let name = Site::name("environment");
    let body = json!({"name": name, "description": "für Tests ✓", "variables": {"z": 1, "a": {"b": [null, 1.5]}}});
    let created = site.post("/api/v1/environments", &body).await?;
    let environment = created.expect(201)?;
    let path = created.header("location").to_owned();
    same("the variables", &environment["variables"].to_string(), &body["variables"].to_string())?;
    same("what is found", &site.get(&path).await?.expect(200)?, &environment)?;
    site.post("/api/v1/environments", &body).await?.problem(409, "name_taken")?;
    let renamed = site.put(&path, &json!({"name": format!("{name}-2"), "variables": {"x": true}})).await?;
    renamed.expect(200)?;
    same("the revision", renamed.header("etag"), "\"2\"")?;
    site.get(&path).await?.problem(404, "environment_not_found")?;
    let path = format!("{path}-2");
    let stale = site.send("PUT", &path, &[("if-match", "\"1\"")], Body::Json(&json!({}))).await?;
    stale.problem(412, "precondition_failed")?;
    site.delete(&path).await?.expect(204)?;
    site.delete(&path).await?.problem(404, "environment_not_found")?;
    Ok(())
}

pub(super) async fn a_run_sees_the_environment_as_it_is_now(site: Site) -> Outcome {
    let name = Site::name("environment");
    let path = format!("/api/v1/environments/{name}");
    site.post("/api/v1/environments", &json!({"name": name, "variables": {"region": "eu"}})).await?.expect(201)?;
    let flow = Site::name("where");
    let flow = site
        .stored(&format!(
            "name: {flow}\nsteps:\n  - action: assert\n    config: {{assertions: ['region == wanted']}}\n"
        ))
        .await?;
    for region in ["eu", "us", "ap"] {
        site.put(&path, &json!({"name": name, "variables": {"region": region}})).await?.expect(200)?;
        let body = json!({"environment": name, "variables": {"wanted": region}});
        let run = site.run(&flow, &body).await?;
        same(&format!("the run in `{region}`: {run}"), &run["status"], "passed")?;
    }
    site.delete(&path).await?.expect(204)?;
    site.post(&format!("/api/v1/flows/{flow}/executions"), &json!({ "environment": name }))
        .await?
        .problem(422, "invalid_request")?;
    Ok(())
}
