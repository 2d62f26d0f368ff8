//! Flows run at the same time, save those that must not.

use crate::program::Folder;
use crate::service::Service;

const WAITING: &str = "flow: {name: waiting, steps: [{action: http_request, config: {method: GET, url: \"${BASE}/barrier\"}, assert: [body.arrived == true]}]}";

#[test]
fn twenty_flows_run_at_the_same_time_by_default() {
    const N: usize = 20;
    // The service answers none of them before all have asked.
    let service = Service::start(N);
    let folder = Folder::new();
    for number in 0..N {
        folder.write(&format!("{number}.yaml"), WAITING);
    }
    let said = folder.run(&["run", ".", "--var", &format!("BASE={}", service.base)]).expect_code(0);
    assert!(said.out.contains("20 flows: 20 passed"), "{}", said.out);
}

#[test]
fn flows_with_one_lock_run_one_after_the_other() {
    let folder = Folder::new();
    for number in 0..3 {
        let flow = format!(
            "flow: {{name: locked {number}, config: {{lock: shared}}, steps: [{{action: delay, config: {{duration: 30ms}}}}]}}"
        );
        folder.write(&format!("{number}.yaml"), &flow);
    }
    let said = folder.run(&["run", ".", "--format", "json"]).expect_code(0);
    let mut running = 0;
    for line in said.out.lines() {
        if line.contains("\"execution.started\"") {
            running += 1;
        } else if line.contains("\"execution.finished\"") {
            running -= 1;
        }
        assert!(running <= 1, "two flows with one lock ran at the same time:\n{}", said.out);
    }
}

#[test]
fn the_output_of_two_flows_never_mixes() {
    let folder = Folder::new();
    for number in 0..8 {
        let flow = format!(
            "flow: {{name: flow {number}, steps: [{{action: log, config: {{message: first {number}}}}}, \
             {{action: delay, config: {{duration: 20ms}}}}, {{action: log, config: {{message: last {number}}}}}]}}"
        );
        folder.write(&format!("{number}.yaml"), &flow);
    }
    let said = folder.run(&["run", ".", "-v"]).expect_code(0);
    let mut current = None;
    for line in said.out.lines() {
        if let Some(title) = line.strip_prefix("✓ flow ") {
            current = title.chars().next();
        }
        for mark in ["first ", "last "] {
            if let Some((_, number)) = line.split_once(mark) {
                assert_eq!(number.chars().next(), current, "{}", said.out);
            }
        }
    }
    assert!(current.is_some(), "{}", said.out);
}
