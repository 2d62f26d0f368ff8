//! Suites and data-driven flows: many runs, one result.

use serde_json::json;

use super::Outcome;
use super::site::{Site, holds, same};

pub(super) async fn a_suite_runs_all_its_flows(site: Site) -> Outcome {
    let name_of_all = Site::name("suite");
    for holds in [true, true, false] {
        let name = Site::name("member");
        let yaml = format!(
            "name: {name}\nsuite: {name_of_all}\nsteps:\n  - action: assert\n    config: {{assertions: ['{holds}']}}\n"
        );
        site.stored(&yaml).await?;
    }
    let path = format!("/api/v1/suites/{name_of_all}/executions?wait=30s");
    let answer = site.post(&path, &json!({"parallelism": 2})).await?;
    let batch = answer.expect(200)?;
    let counts = (&batch["status"], &batch["total"], &batch["passed"], &batch["failed"]);
    same("the batch", &counts, &(&json!("failed"), &json!(3), &json!(2), &json!(1)))?;
    let path = answer.header("location").to_owned();
    same("what is found", &site.get(&path).await?.expect(200)?, &batch)?;
    let tap = site.get(&format!("{path}/report?format=tap")).await?;
    holds(&format!("three lines of TAP: {}", tap.text), tap.text.contains("1..3"))?;
    site.post(&format!("{path}/cancel"), &json!({})).await?.problem(409, "already_finished")?;
    Ok(())
}

pub(super) async fn a_data_driven_flow_runs_once_for_each_row(site: Site) -> Outcome {
    let name = Site::name("rows");
    let yaml = format!(
        "name: {name}\ndata: [{{n: 1}}, {{n: 2}}, {{n: 3}}]\nsteps:\n  - action: assert\n    config: {{assertions: ['n != 2']}}\n"
    );
    let flow = site.stored(&yaml).await?;
    let batch = site.run(&flow, &json!({})).await?;
    let counts = (&batch["kind"], &batch["total"], &batch["passed"], &batch["failed"]);
    same("the batch", &counts, &(&json!("data"), &json!(3), &json!(2), &json!(1)))
}
