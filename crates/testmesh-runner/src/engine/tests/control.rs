//! Control flow: conditions, loops, branches, waits, flows inside flows.

use std::time::Duration;

use tokio::time::Instant;

use super::{Setting, run, run_with};
use crate::files::Files;
use crate::record::{ErrorKind, ExecutionStatus};
use crate::value::Value;

#[tokio::test]
async fn a_condition_runs_one_of_two_lists() {
    for (condition, ran_steps) in [("1 < 2", "a=passed yes=passed"), ("1 > 2", "a=passed no=passed")] {
        let yaml = format!(
            "
name: t
steps:
  - id: a
    action: condition
    config:
      condition: {condition}
      then: [{{id: yes, action: log, config: {{message: y}}}}]
      else: [{{id: no, action: log, config: {{message: n}}}}]
"
        );
        let ran = run(&yaml).await;
        assert_eq!(ran.statuses(), ran_steps);
        assert_eq!(ran.steps()[1].parent, Some(1));
    }
}

#[tokio::test]
async fn a_loop_records_each_turn_and_keeps_what_the_last_captured() {
    let yaml = "
name: t
steps:
  - id: loop
    action: for_each
    config:
      items: [a, b, c]
      item_name: letter
      index_name: n
      steps:
        - {id: one, action: log, config: {message: '${n}${letter}'}, output: {text: message}}
        - {id: two, action: log, config: {message: '${one.text} ${text}'}}
    assert: [count == 3, passed == 3, failed == 0, 'results[1].outputs.text == \"1b\"', 'results[2].item == \"c\"']
  - {id: after, action: assert, config: {assertions: ['text == \"2c\"', 'one.text == \"2c\"', 'loop.count == 3']}}
";
    let ran = run(yaml).await;
    assert_eq!(ran.summary.status, ExecutionStatus::Passed, "{ran}");
    assert_eq!(ran.logged(), ["0a", "0a 0a", "1b", "1b 1b", "2c", "2c 2c"]);
    let places: Vec<_> = ran.steps().iter().map(|step| (step.id.as_str(), step.parent, step.iteration)).collect();
    assert_eq!(
        places[..4],
        [("loop", None, None), ("one", Some(1), Some(0)), ("two", Some(1), Some(0)), ("one", Some(1), Some(1))]
    );
    assert_eq!(ran.execution.total_steps, 2);
    assert_eq!(ran.execution.passed_steps, 2);
}

#[tokio::test]
async fn loops_go_through_lists_maps_numbers_and_expressions() {
    let list = || Value::list(vec![Value::Int(7), Value::Int(8)]);
    for (items, expected) in [
        ("[x, y]", vec!["x", "y"]),
        ("{a: 1, b: 2}", vec!["{\"key\":\"a\",\"value\":1}", "{\"key\":\"b\",\"value\":2}"]),
        ("3", vec!["0", "1", "2"]),
        ("'${user}'", vec!["7", "8"]),
        ("user", vec!["7", "8"]),
        ("'filter(user, # > 7)'", vec!["8"]),
        ("[]", vec![]),
    ] {
        let yaml = format!(
            "name: t\nsteps: [{{id: l, action: for_each, config: {{items: {items}, steps: [{{id: s, action: log, config: {{message: '${{item}}'}}}}]}}}}]"
        );
        let ran = run_with(&yaml, Setting { variables: vec![("user", list())], ..Setting::default() }).await;
        assert_eq!(ran.summary.status, ExecutionStatus::Passed, "{items}: {ran}");
        assert_eq!(ran.logged(), expected, "{items}");
    }
}

#[tokio::test]
async fn a_loop_without_steps_and_one_over_nothing_countable() {
    let ran = run("name: t\nsteps: [{id: l, action: for_each, config: {items: [1, 2]}, assert: [count == 2]}]").await;
    assert_eq!(ran.summary.status, ExecutionStatus::Passed, "{ran}");
    let variables = vec![("user", Value::Text("abc".into()))];
    let yaml = "name: t\nsteps: [{id: l, action: for_each, config: {items: '${user}'}}]";
    let ran = run_with(yaml, Setting { variables, ..Setting::default() }).await;
    assert_eq!(ran.message("l"), "`items` takes a list, a map or a number of turns, got the string \"abc\"");
    assert_eq!(ran.step("l").error.as_ref().unwrap().kind, ErrorKind::Config);
}

#[tokio::test]
async fn a_failed_turn_ends_the_loop_unless_it_goes_on() {
    let yaml = |extra: &str| {
        format!(
            "name: t\nsteps: [{{id: l, action: for_each, config: {{items: 3, {extra}steps: [{{id: s, action: assert, config: {{assertions: ['item != 1']}}}}]}}}}]"
        )
    };
    let ran = run(&yaml("")).await;
    assert_eq!(ran.statuses(), "l=failed s=passed s=failed", "{ran}");
    assert!(ran.message("l").starts_with("step `s`: "), "{ran}");
    let ran = run(&yaml("continue_on_error: true, ")).await;
    assert_eq!(ran.statuses(), "l=failed s=passed s=failed s=passed", "{ran}");
    let ran = run(&yaml("break_on: item == 0, ")).await;
    assert_eq!(ran.statuses(), "l=passed s=passed", "{ran}");
}

#[tokio::test(start_paused = true)]
async fn turns_and_branches_at_the_same_time_share_the_wait() {
    let wait = "{id: s, action: delay, config: {duration: 1s}}";
    for (step, seconds) in [
        (format!("action: for_each, config: {{items: 6, max_concurrent: 3, steps: [{wait}]}}"), 2),
        (format!("action: for_each, config: {{items: 6, parallel: true, steps: [{wait}]}}"), 1),
        ("action: parallel, config: {steps: [{id: a, action: delay, config: {duration: 1s}}, {id: b, action: delay, config: {duration: 2s}}]}".to_owned(), 2),
        ("action: parallel, config: {max_concurrent: 1, steps: [{id: a, action: delay, config: {duration: 1s}}, {id: b, action: delay, config: {duration: 2s}}]}".to_owned(), 3),
    ] {
        let since = Instant::now();
        let ran = run(&format!("name: t\nsteps: [{{id: l, {step}}}]")).await;
        assert_eq!(ran.summary.status, ExecutionStatus::Passed, "{ran}");
        assert_eq!(since.elapsed().as_secs(), seconds, "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn branches_capture_for_themselves_and_all_of_it_is_known_after() {
    let yaml = "
name: t
steps:
  - id: p
    action: parallel
    config:
      branches:
        - name: left
          steps:
            - {id: l1, action: delay, config: {duration: 2s}}
            - {id: l2, action: transform, config: {input: {v: 1}}, output: {left_v: v}}
        - steps: [{id: r1, action: transform, config: {input: {v: 2}}, output: {right_v: v}}]
    assert: [count == 2, passed == 2, 'results[0].name == \"left\"', 'results[1].name == \"branch_2\"']
  - {id: after, action: assert, config: {assertions: ['left_v == 1', 'right_v == 2', 'l2.v + r1.v == 3']}}
";
    let ran = run(yaml).await;
    assert_eq!(ran.summary.status, ExecutionStatus::Passed, "{ran}");
}

#[tokio::test(start_paused = true)]
async fn the_first_branch_that_fails_stops_the_others() {
    let yaml = |fail_fast: bool| {
        format!(
            "
name: t
steps:
  - id: p
    action: parallel
    config:
      fail_fast: {fail_fast}
      steps:
        - {{id: a, action: delay, config: {{duration: 5s}}}}
        - {{id: b, action: assert, config: {{assertions: ['1 > 2']}}}}
"
        )
    };
    let since = Instant::now();
    let ran = run(&yaml(true)).await;
    assert_eq!(ran.statuses(), "p=failed a=cancelled b=failed", "{ran}");
    assert_eq!(since.elapsed().as_secs(), 0);
    assert_eq!(ran.message("a"), "stopped because step `b` beside it failed");
    assert_eq!(run(&yaml(false)).await.statuses(), "p=failed a=passed b=failed");
}

#[tokio::test(start_paused = true)]
async fn waiting_repeats_steps_until_the_condition_holds() {
    let yaml = "
name: t
steps:
  - id: w
    action: wait_until
    config:
      condition: n.value == 3
      interval: 2s
      steps: [{id: n, action: transform, config: {input: {value: '${attempt}'}}}]
    assert: [attempts == 3]
";
    let since = Instant::now();
    let ran = run(yaml).await;
    assert_eq!(ran.statuses(), "w=passed n=passed n=passed n=passed", "{ran}");
    assert_eq!(since.elapsed().as_secs(), 4);
}

#[tokio::test(start_paused = true)]
async fn waiting_gives_up_when_time_or_turns_are_over() {
    let yaml = |limits: &str| {
        format!("name: t\nsteps: [{{id: w, action: wait_until, config: {{condition: 1 > 2, {limits}}}}}]")
    };
    for (limits, seconds, attempts) in [("timeout: 5s", 4, "5 attempts"), ("max_attempts: 3", 2, "3 attempts")] {
        let since = Instant::now();
        let ran = run(&yaml(limits)).await;
        assert_eq!(ran.statuses(), "w=error", "{ran}");
        assert_eq!(ran.step("w").error.as_ref().unwrap().kind, ErrorKind::Timeout);
        assert!(ran.message("w").contains(attempts), "{ran}");
        assert_eq!(since.elapsed().as_secs(), seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_outlives_failed_turns_and_cuts_long_ones() {
    let yaml = "
name: t
config: {fail_fast: false}
steps:
  - id: w
    action: wait_until
    config: {condition: n.failed == 0, steps: [{id: n, action: assert, config: {assertions: ['attempt > 2']}}]}
  - id: long
    action: wait_until
    config: {condition: 1 > 2, timeout: 3s, steps: [{id: d, action: delay, config: {duration: 1h}}]}
";
    let since = Instant::now();
    let ran = run(yaml).await;
    assert_eq!(ran.statuses(), "w=passed n=failed n=failed n=passed long=error d=cancelled", "{ran}");
    assert_eq!(since.elapsed(), Duration::from_secs(5));
}

const GREET: &str = "
name: greet
input: {who: {type: string, required: true}, times: {type: integer, default: 2}}
env: {HELLO: \"hello ${who}\"}
setup: [{id: s, action: log, config: {message: setup}}]
steps: [{id: a, action: log, config: {message: '${HELLO} ${input.times}'}, output: {text: message}}]
teardown: [{id: z, action: log, config: {message: '${FLOW_NAME} ${FLOW_STATUS}'}}]
output: {text: a.text, same: '${text}'}
";

#[tokio::test]
async fn a_flow_inside_a_flow_gets_its_input_and_gives_its_output() {
    let yaml = "
name: outer
steps:
  - id: call
    action: run_flow
    config: {flow: greet, input: {who: Ada, times: '3'}}
    output: {result: flow.status, text: text}
    assert: ['status == \"passed\"', 'same == \"hello Ada 3\"']
  - {id: after, action: assert, config: {assertions: ['text == \"hello Ada 3\"', 'result == \"passed\"', 'not (a exists)']}}
";
    let ran = run_with(yaml, Setting { flows: vec![("greet", GREET)], ..Setting::default() }).await;
    assert_eq!(ran.statuses(), "call=passed s=passed a=passed z=passed after=passed", "{ran}");
    assert_eq!(ran.logged(), ["setup", "hello Ada 3", "greet passed"]);
    assert!(ran.steps()[1..4].iter().all(|step| step.parent == Some(1)));
}

#[tokio::test]
async fn a_flow_inside_a_flow_that_cannot_pass_fails_the_step() {
    let bad = "name: bad\nsteps: [{id: a, action: assert, config: {assertions: ['1 > 2']}}]\nteardown: [{id: z, action: log, config: {message: down}}]";
    for (config, message) in [
        ("flow: nothing", "cannot run `nothing`: there is no flow `nothing`"),
        ("flow: greet", "flow `greet` ended as error: input `who` is required"),
        (
            "flow: greet, input: {who: [1]}",
            "flow `greet` ended as error: input `who` takes a value of type `string`, got the list [1]",
        ),
        ("flow: bad", "flow `bad` failed: step `a`: "),
    ] {
        let yaml = format!("name: outer\nsteps: [{{id: call, action: run_flow, config: {{{config}}}}}]");
        let setting = Setting { flows: vec![("greet", GREET), ("bad", bad)], ..Setting::default() };
        let ran = run_with(&yaml, setting).await;
        assert_eq!(ran.summary.status, ExecutionStatus::Failed);
        assert!(ran.message("call").starts_with(message), "{ran}");
        assert_eq!(ran.logged().contains(&"down"), config == "flow: bad");
    }
}

#[tokio::test]
async fn a_flow_inside_a_flow_reads_its_own_env_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("inner.env"), "X=inner\n").unwrap();
    let inner = "name: i\nenv_file: inner.env\nsteps: [{id: a, action: log, config: {message: '${X} ${low}'}}]";
    let setting = Setting {
        flows: vec![("i", inner)],
        env_file: vec![("X", "outer"), ("low", "kept")],
        files: Some(Files { base: folder.path().to_owned(), root: None, enabled: true }),
        ..Setting::default()
    };
    let ran = run_with("name: o\nsteps: [{id: c, action: run_flow, config: {flow: i}}]", setting).await;
    assert_eq!(ran.logged(), ["inner kept"], "{ran}");
}

#[tokio::test]
async fn flows_that_run_themselves_end_with_a_clear_error() {
    let me = "name: me\nsteps: [{id: again, action: run_flow, config: {flow: me}}]";
    let ran = run_with(me, Setting { flows: vec![("me", me)], ..Setting::default() }).await;
    assert_eq!(ran.steps().len(), 11);
    assert_eq!(ran.steps()[10].error.as_ref().unwrap().message, "cannot run `me`: flows are nested more than 10 deep");
}

#[tokio::test]
async fn a_transform_reshapes_its_input() {
    let yaml = "
name: t
steps:
  - {id: src, action: transform, config: {input: {body: {phone: '1', list: [{n: 1}, {n: 2}]}}}, output: {short: body.phone}}
  - id: out
    action: transform
    config:
      input: ${src}
      transforms: {a: $short, b: $.body.phone, c: '$.body.list[1].n', d: active, e: true, f: $5.00, g: $.gone?, h: {i: $short}, j: '${len(body.list)}'}
    assert: ['a == \"1\"', 'b == \"1\"', c == 2, 'd == \"active\"', e == true, 'f == \"$5.00\"', g is null, 'h.i == \"1\"', j == 2]
  - {id: list, action: transform, config: {input: [1, 2]}, output: {all: $}, assert: [len(value) == 2]}
  - {id: gone, action: transform, config: {input: '${src}', transforms: {x: $.gone}}}
";
    let ran = run(yaml).await;
    assert_eq!(ran.statuses(), "src=passed out=passed list=passed gone=error", "{ran}");
    assert_eq!(ran.message("gone"), "`$.gone`: the input has no value there");
    assert_eq!(ran.step("list").outputs["all"], serde_json::json!([1, 2]));
}
