//! What servers are given to do: flows of steps that ask the target, fired by schedules or submitted one by one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client;
use super::server::Server;
use super::target::Target;

/// Schedules that fire.
#[derive(Debug)]
pub(crate) struct Load {
    /// Their ids.
    pub(crate) schedules: Vec<String>,
    /// Seconds between two firings of one.
    pub(crate) period_s: u32,
    /// The flow that they run.
    pub(crate) flow: String,
    /// How many steps of each run ask the target.
    pub(crate) steps: usize,
}

/// A flow whose steps ask the target one after the other, each answered after `answer`.
pub(crate) fn steps(target: &str, name: &str, count: u32, answer: Duration) -> String {
    use std::fmt::Write as _;
    let mut yaml = format!("flow:\n  name: {name}\n  steps:\n");
    for step in 1..=count {
        let _ = write!(
            yaml,
            "    - id: step_{step}\n      action: http_request\n      config: {{method: GET, url: \"{target}/hit/${{EXECUTION_ID}}/{step}/{}\"}}\n      assert: status == 200\n",
            answer.as_millis()
        );
    }
    yaml
}

/// A flow that does nothing.
pub(crate) fn nothing(name: &str) -> String {
    format!("flow:\n  name: {name}\n  steps:\n    - action: log\n      config: {{message: hello}}\n")
}

/// Stores a flow; its id.
pub(crate) async fn create_flow(server: &Server, yaml: String) -> Result<String, String> {
    server.post("/api/v1/flows", yaml).await?.done("creating a flow")?.text("id")
}

/// Schedules that fire every second, each firing a run of three steps that the target answers after `answer`.
pub(crate) async fn steady(server: &Server, target: &Target, count: usize, answer: Duration) -> Result<Load, String> {
    const STEPS: u32 = 3;
    let flow = create_flow(server, steps(&target.url(), "drill", STEPS, answer)).await?;
    Ok(Load { steps: STEPS as usize, ..schedule(server, &flow, count, 1).await? })
}

/// Makes schedules of a flow that fire every `period_s` seconds, from now on. Every firing is a run of its own, tried
/// until a verdict comes.
pub(crate) async fn schedule(server: &Server, flow: &str, count: usize, period_s: u32) -> Result<Load, String> {
    let rule = json!({"overlap": "allow", "misfire": "catch_up", "catchup_max": 1000});
    let mut load = Load { schedules: Vec::with_capacity(count), period_s, flow: flow.to_owned(), steps: 0 };
    load.add(server, count, &rule).await?;
    Ok(load)
}

impl Load {
    /// More schedules of the same flow, with rules of their own for overlap and misfires.
    pub(crate) async fn add(&mut self, server: &Server, count: usize, rules: &Value) -> Result<(), String> {
        let cron = match self.period_s {
            1 => "* * * * * *".to_owned(),
            60 => "0 * * * * *".to_owned(),
            seconds => format!("*/{seconds} * * * * *"),
        };
        let retry = json!({"max_attempts": 20, "backoff_s": 1, "backoff_max_s": 2, "retry_on": ["error"]});
        for _ in 0..count {
            let name = format!("drill {}", self.schedules.len());
            let mut body = json!({"name": name, "flow_id": self.flow, "cron": cron, "retry": retry});
            if let (Value::Object(body), Value::Object(rules)) = (&mut body, rules.clone()) {
                body.extend(rules);
            }
            let answer = server.post("/api/v1/schedules", body.to_string()).await?;
            self.schedules.push(answer.done("creating a schedule")?.text("id")?);
        }
        Ok(())
    }
}

/// Lets nothing fire any more.
pub(crate) async fn pause(server: &Server, load: &Load) -> Result<(), String> {
    for id in &load.schedules {
        server.post(&format!("/api/v1/schedules/{id}/pause"), String::new()).await?.done("pausing a schedule")?;
    }
    Ok(())
}

/// Asks one of `servers` after the other to run the flow, with the same key, until one says that it will.
pub(crate) async fn submit(servers: &[String], flow: &str, key: &str, patience: Duration) -> Result<String, String> {
    let deadline = Instant::now() + patience;
    let path = format!("/api/v1/flows/{flow}/executions");
    let mut last = "nobody was asked".to_owned();
    for authority in servers.iter().cycle() {
        if Instant::now() > deadline {
            break;
        }
        match client::send(authority, "POST", &path, Some(key), "{}".to_owned())
            .await
            .and_then(|answer| answer.done("running"))
        {
            Ok(answer) => return answer.text("id"),
            Err(error) => last = error,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(last)
}
