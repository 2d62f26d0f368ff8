//! Random flows, cancelled at random places: whatever they do, their events are in order and teardown runs.

use proptest::prelude::*;

use super::{Setting, run_with};
use crate::event::{RunEvent, RunEventKind};
use crate::record::{ExecutionStatus, Phase};

/// A step without its id, in YAML's flow style.
fn step() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("action: log, config: {message: x}".to_owned()),
        Just("action: delay, config: {duration: 1s}".to_owned()),
        Just("action: delay, config: {duration: 1h}, timeout: 5s".to_owned()),
        Just("action: assert, config: {assertions: ['1 > 2']}".to_owned()),
        Just("action: assert, config: {assertions: ['1 > 2']}, on_error: continue".to_owned()),
        Just("action: assert, config: {assertions: ['1 > 2']}, retry: {max_attempts: 3}".to_owned()),
        Just("action: log, config: {message: '${nowhere}'}".to_owned()),
        Just("action: log, config: {message: x}, when: nowhere".to_owned()),
        Just("action: log, config: {message: x}, when: 1 > 2".to_owned()),
        Just("action: transform, config: {input: {n: 1}}, poll: {until: n == 2, timeout: 3s}".to_owned()),
        Just("action: panic".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let steps = prop::collection::vec(inner, 1..3).prop_map(|steps| list("n", &steps));
        (0_usize..6, steps).prop_map(|(kind, steps)| match kind {
            0 => format!("action: for_each, config: {{items: 2, steps: {steps}}}"),
            1 => format!(
                "action: for_each, config: {{items: 3, max_concurrent: 2, continue_on_error: true, steps: {steps}}}"
            ),
            2 => format!("action: parallel, config: {{steps: {steps}}}"),
            3 => format!("action: condition, config: {{condition: 1 < 2, then: {steps}}}"),
            4 => format!("action: wait_until, config: {{condition: 1 > 2, max_attempts: 2, steps: {steps}}}"),
            _ => format!(
                "action: assert, config: {{assertions: ['1 > 2']}}, on_error: {{action: continue, steps: {steps}}}"
            ),
        })
    })
}

fn list(prefix: &str, steps: &[String]) -> String {
    let steps = steps.iter().enumerate().map(|(index, step)| {
        // Ids differ within a phase, so nested steps leave theirs to the parser.
        if prefix == "n" { format!("{{{step}}}") } else { format!("{{id: {prefix}{index}, {step}}}") }
    });
    format!("[{}]", steps.collect::<Vec<_>>().join(", "))
}

fn flow() -> impl Strategy<Value = String> {
    let steps = |most| prop::collection::vec(step(), 0..most);
    (any::<bool>(), steps(2), prop::collection::vec(step(), 1..4), steps(3)).prop_map(
        |(fail_fast, setup, main, teardown)| {
            let teardown: Vec<String> =
                teardown.into_iter().chain(["action: log, config: {message: last}".to_owned()]).collect();
            format!(
                "name: t\nconfig: {{fail_fast: {fail_fast}, timeout: 1m}}\nsetup: {}\nsteps: {}\nteardown: {}\n",
                list("s", &setup),
                list("m", &main),
                list("t", &teardown)
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_flow_ends_in_order_with_its_teardown(yaml in flow(), cancel_at in prop::option::of(3_u64..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let at = move |event: &RunEvent| cancel_at.is_some_and(|seq| event.seq >= seq);
        let setting = Setting { cancel_at: Some(Box::new(at)), ..Setting::default() };
        let ran = runtime.block_on(run_with(&yaml, setting));
        let down = ran.steps().iter().filter(|step| step.phase == Phase::Teardown && step.parent.is_none()).count();
        let flow = super::parse(&yaml);
        prop_assert_eq!(down, flow.teardown.len(), "{}", yaml);
        let panicked = ran.events.iter().any(|event| {
            matches!(&event.kind, RunEventKind::StepFinished(step) if step.error.as_ref().is_some_and(|error| error.message.contains("on purpose")))
        });
        if panicked {
            prop_assert_eq!(ran.summary.status, ExecutionStatus::Error, "{}", yaml);
        }
    }
}
