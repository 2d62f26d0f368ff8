//! Contracts in flows. Each `contracts/*.yaml` is a list of steps; the `.expect` file beside it says how each one ends.

use testmesh_runner::files::Files;
use testmesh_runner::record::StepStatus;

use crate::mocks::{check_folder, told};
use crate::run::{Setting, run_steps_in};

#[tokio::test]
async fn every_case_ends_as_it_should() {
    check_folder("contracts", 2).await;
}

#[tokio::test]
async fn a_contract_is_written_and_read_where_flows_may() {
    let folder = tempfile::tempdir().unwrap();
    let setting = || Setting {
        files: Files { base: folder.path().into(), root: Some(folder.path().into()), enabled: true },
        ..Setting::default()
    };
    let records = run_steps_in(
        "- {id: m, action: mock_server_start, config: {endpoints: [{path: /a, response: {body: {id: 1}}}]}}\n\
         - {id: g, action: contract_generate, config: {consumer: c, provider: p, file: c.json, interactions: [{description: d, request: {path: /a}, response: {body: {id: 2}, rules: {$.body.id: {match: integer}}}}]}}\n\
         - {id: v, action: contract_verify, config: {file: c.json, provider_base_url: '${m.base_url}'}, assert: [passed == 1]}\n\
         - {id: out, action: contract_generate, config: {consumer: c, provider: p, file: ../c.json, interactions: [{description: d}]}}\n\
         - {id: bad, action: contract_verify, config: {file: bad.json, provider_base_url: '${m.base_url}'}}",
        setting(),
    )
    .await;
    let found = told(&records);
    assert!(
        found.starts_with("m passed\ng passed\nv passed\nout error: cannot read `../c.json`: it is outside"),
        "{found}"
    );
    let text = std::fs::read_to_string(folder.path().join("c.json")).unwrap();
    assert!(text.contains("\"pactSpecification\""), "{text}");
    let more = "- {id: g, action: contract_generate, config: {consumer: c, provider: p, file: c.json, merge: true, interactions: [{description: e}, {description: d, response: {status: 204}}]}, assert: [interactions == 2]}\n\
         - {id: other, action: contract_generate, config: {consumer: x, provider: p, file: c.json, merge: true, interactions: [{description: e}]}}\n\
         - {id: new, action: contract_generate, config: {consumer: x, provider: p, file: new.json, merge: true, interactions: [{description: e}]}}\n\
         - {id: folder, action: contract_generate, config: {consumer: x, provider: p, file: none/x.json, interactions: [{description: e}]}}";
    let found = told(&run_steps_in(more, setting()).await);
    let expect = "g passed\nother error: `c.json` cannot be merged with: its consumer is \"c\", not \"x\"\nnew passed\nfolder error: cannot write `none/x.json`: ";
    assert!(found.starts_with(expect), "{found}");
    let merged = std::fs::read_to_string(folder.path().join("c.json")).unwrap();
    let merged: serde_json::Value = serde_json::from_str(&merged).unwrap();
    assert_eq!(
        (merged["interactions"][0]["description"].as_str(), merged["interactions"][1]["response"]["status"].as_u64()),
        (Some("e"), Some(204))
    );
    std::fs::write(folder.path().join("bad.json"), "{").unwrap();
    let steps =
        "- {id: bad, action: contract_verify, config: {file: bad.json, provider_base_url: 'http://127.0.0.1:1'}}";
    let found = told(&run_steps_in(steps, setting()).await);
    assert!(found.starts_with("bad error: `bad.json`: it is not JSON"), "{found}");
}

#[tokio::test]
async fn a_provider_that_hangs_is_given_up_in_time() {
    let steps = |rest: &str| {
        format!(
            "- {{id: m, action: mock_server_start, config: {{endpoints: [{{path: /a, response: {{fault: hang}}}}]}}}}\n\
             - {{id: v, action: contract_verify, {rest}, config: {{REQUEST provider_base_url: '${{m.base_url}}', pact: {{consumer: {{name: c}}, provider: {{name: p}}, interactions: [{{description: d, request: {{path: /a}}, response: {{status: 200}}}}]}}}}}}"
        )
    };
    let own = steps("name: v").replace("REQUEST", "request_timeout: 50ms,");
    let found = told(&run_steps_in(&own, Setting::default()).await);
    assert!(found.contains("v failed") && found.contains("got none within 50ms"), "{found}");
    let records = run_steps_in(&steps("timeout: 50ms").replace("REQUEST", ""), Setting::default()).await;
    let error = records[1].error.clone().unwrap();
    assert!(error.message.contains("took longer than its time-out of 50ms"), "{error:?}");
    let setting = Setting { cancel_at: Some("v"), ..Setting::default() };
    let records = run_steps_in(&steps("name: v").replace("REQUEST", ""), setting).await;
    assert_eq!(records[1].status, StepStatus::Cancelled, "{records:#?}");
}
