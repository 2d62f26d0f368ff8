//! `run`: exit codes, which flows run, what they are given.

use crate::program::Folder;
use crate::service::Service;

const GOOD: &str = "flow: {name: good, tags: [smoke, fast], suite: a, steps: [{action: log, config: {message: hi}}]}";
const FAILING: &str =
    "flow: {name: failing, tags: [smoke], suite: b, steps: [{action: assert, config: {assertions: [1 == 2]}}]}";
const BROKEN: &str = "flow: {name: broken, steps: [{action: http_requst}]}";

#[test]
fn the_exit_code_says_how_it_went() {
    let folder = Folder::with(&[
        ("good.yaml", GOOD),
        ("failing.yaml", FAILING),
        ("broken.yaml", BROKEN),
        ("late.yaml", "flow: {name: late, config: {timeout: 50ms}, steps: [{action: delay, config: {duration: 60s}}]}"),
    ]);
    for (arguments, code) in [
        (&["run", "good.yaml"][..], 0),
        (&["run", "good.yaml", "failing.yaml"], 1),
        (&["run", "broken.yaml"], 2),
        (&["run", "good.yaml", "broken.yaml"], 1),
        (&["run", "missing.yaml"], 2),
        (&["run"], 2),
        (&["run", "good.yaml", "--report", "pdf=x"], 2),
        (&["run", "good.yaml", "--parallel", "0"], 2),
        (&["run", "good.yaml", "--tag", "none"], 2),
        (&["run", "good.yaml", "--environment", "none"], 2),
        (&["run", "good.yaml", "--secret", "NOT_SET"], 2),
        (&["run", "good.yaml", "--env-file", "none.env"], 2),
        (&["run", "late.yaml"], 3),
        (&["run", "good.yaml", "--report", "junit=good.yaml/x/junit.xml"], 3),
        (&["run", "good.yaml", "--server", "http://127.0.0.1:1"], 3),
        (&["run", "good.yaml", "--server", "nonsense"], 2),
        (&["run", "failing.yaml", "--dry-run"], 0),
    ] {
        let said = folder.run(arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {said:#?}");
    }
}

#[test]
fn an_unreadable_file_is_one_failed_test_among_others() {
    let folder = Folder::with(&[("a.yaml", GOOD), ("b.yaml", BROKEN), ("c.yaml", GOOD)]);
    std::fs::write(folder.path("d.yaml"), b"flow:\n  name: \xff\n").expect("write bytes");
    let said = folder.run(&["run", ".", "--report", "junit=out/junit.xml"]).expect_code(1);
    assert!(said.out.contains("4 flows: 2 passed, 2 invalid"), "{}", said.out);
    assert!(said.out.contains("`http_request`"), "{}", said.out);
    let report = folder.read("out/junit.xml");
    assert_eq!(report.matches("<testsuite ").count(), 4, "{report}");
    assert_eq!(report.matches("<error ").count(), 2, "{report}");
}

#[test]
fn tags_and_suites_choose_flows() {
    let folder = Folder::with(&[("good.yaml", GOOD), ("failing.yaml", FAILING)]);
    for (filter, names) in [
        (&["--tag", "smoke"][..], &["failing", "good"][..]),
        (&["--tag", "smoke", "--tag", "fast"], &["good"]),
        (&["--suite", "b"], &["failing"]),
        (&["--suite", "a", "--tag", "smoke"], &["good"]),
    ] {
        let said = folder.run(&[&["run", ".", "--format", "json"], filter].concat());
        let mut ran: Vec<_> = ["failing", "good"]
            .into_iter()
            .filter(|name| said.out.contains(&format!("\"flow_name\":\"{name}\"")))
            .collect();
        ran.sort_unstable();
        assert_eq!(ran, names, "{filter:?}: {said:#?}");
    }
}

#[test]
fn fail_fast_starts_no_further_flow() {
    let folder = Folder::with(&[("a.yaml", FAILING), ("b.yaml", GOOD), ("c.yaml", GOOD)]);
    let said = folder.run(&["run", ".", "--fail-fast", "--parallel", "1"]).expect_code(1);
    assert!(said.out.contains("3 flows: 1 failed, 2 not started"), "{}", said.out);
}

#[test]
fn values_come_from_everywhere_and_the_nearest_wins() {
    let flow = "flow:
  name: scopes
  env_file: flow.env
  env: {FROM_FLOW: flow}
  steps:
    - action: assert
      config:
        assertions:
          - FROM_OS == \"os\"
          - FROM_ENVIRONMENT == \"environment\"
          - FROM_FILE == \"file\"
          - FROM_GIVEN_FILE == \"given\"
          - FROM_FLOW == \"flow\"
          - FROM_VAR == \"var\"
";
    let folder = Folder::with(&[
        ("flows/scopes.yaml", flow),
        ("flows/flow.env", "FROM_FILE=file\nFROM_GIVEN_FILE=file\nFROM_FLOW=file\nFROM_VAR=file\n"),
        ("given.env", "FROM_GIVEN_FILE=given\n"),
        (
            "flows/environments/ci.yaml",
            "FROM_ENVIRONMENT: environment\nFROM_FILE: environment\nFROM_VAR: environment\n",
        ),
    ]);
    let arguments =
        ["run", "flows/scopes.yaml", "--env-file", "given.env", "--environment", "ci", "--var", "FROM_VAR=var"];
    let output = folder
        .command(&arguments)
        .env("FROM_OS", "os")
        .env("FROM_ENVIRONMENT", "os")
        .output()
        .expect("start the program");
    crate::program::Said::of(&output).expect_code(0);
}

#[test]
fn secrets_are_masked_wherever_they_show() {
    let flow = "flow:
  name: secrets
  steps:
    - action: log
      config: {message: \"token ${secrets.TOKEN} and ${PLAIN}\"}
    - action: assert
      config: {assertions: ['secrets.TOKEN == \"other\"']}
";
    let folder = Folder::with(&[("flow.yaml", flow)]);
    let arguments = ["run", "flow.yaml", "-v", "--secret", "TOKEN=hunter2hunter2", "--var", "PLAIN=x-hunter2hunter2-y"];
    for format in ["pretty", "json", "tap", "github"] {
        let said = folder.run(&[&arguments[..], &["--format", format, "--report", "html=out.html"]].concat());
        let said = said.expect_code(1);
        for (place, text) in [("output", &said.out), ("report", &folder.read("out.html"))] {
            assert!(!text.contains("hunter2"), "{format} {place}: {text}");
        }
        assert!(format == "tap" || said.out.contains("***"), "{format}: {}", said.out);
    }
}

#[test]
fn a_flow_runs_once_for_each_row_of_its_data() {
    let flow = "flow:
  name: rows
  data: {file: rows.csv}
  steps:
    - action: assert
      config: {assertions: ['len(\"${word}\") == length']}
";
    let folder = Folder::with(&[("rows.yaml", flow), ("rows.csv", "word,length\none,3\nthree,5\nfour,5\n")]);
    let said = folder.run(&["run", "rows.yaml", "--parallel", "1"]).expect_code(1);
    for line in ["✓ rows [row 1]", "✓ rows [row 2]", "✗ rows [row 3]", "3 flows: 2 passed, 1 failed"] {
        assert!(said.out.contains(line), "`{line}` in {}", said.out);
    }
}

#[test]
fn every_document_of_a_file_is_a_flow() {
    let folder =
        Folder::with(&[("two.yaml", &format!("{GOOD}\n---\n{}\n", GOOD.replace("name: good", "name: second")))]);
    let said = folder.run(&["run", "two.yaml"]).expect_code(0);
    assert!(said.out.contains("✓ good") && said.out.contains("✓ second"), "{}", said.out);
}

#[test]
fn another_flow_is_found_by_file_and_by_name() {
    let caller = |reference: &str| {
        format!("flow: {{name: caller, steps: [{{action: run_flow, config: {{flow: \"{reference}\"}}}}]}}")
    };
    let folder = Folder::with(&[("sub/called.yaml", GOOD)]);
    for (reference, code) in [("sub/called", 0), ("sub/called.yaml", 0), ("no such flow", 1)] {
        folder.write("caller.yaml", &caller(reference));
        let said = folder.run(&["run", "caller.yaml"]);
        assert_eq!(said.code, Some(code), "{reference}: {said:#?}");
    }
    folder.write("sub/caller.yaml", &caller("good"));
    folder.run(&["run", "sub/caller.yaml"]).expect_code(0);
}

#[test]
fn files_outside_the_root_are_not_read() {
    let flow = "flow: {name: outside, env_file: ../secret.env, steps: [{action: log, config: {message: hi}}]}";
    let folder = Folder::with(&[("flows/flow.yaml", flow), ("secret.env", "A=1\n")]);
    folder.run(&["run", "flows/flow.yaml"]).expect_code(0);
    let said = folder.run(&["run", "flows/flow.yaml", "--root", "flows"]).expect_code(2);
    assert!(said.out.contains("outside"), "{}", said.out);
}

#[test]
fn one_seed_gives_the_same_values_again() {
    let flow = "flow: {name: random, steps: [{action: log, config: {message: \"got ${RANDOM_ID} ${TIMESTAMP_MS}\"}}]}";
    let folder = Folder::with(&[("flow.yaml", flow)]);
    let logged = |arguments: &[&str]| {
        let said = folder.run(&[&["run", "flow.yaml"], arguments].concat()).expect_code(0);
        said.out.lines().find(|line| line.contains("got ")).expect("the logged line").to_owned()
    };
    assert_eq!(logged(&["--seed", "7"]), logged(&["--seed", "7"]));
    assert_ne!(logged(&["--seed", "7"]), logged(&["--seed", "8"]));
    assert_ne!(logged(&[]), logged(&[]));
}

#[test]
fn flows_share_connections_but_no_cookies() {
    let service = Service::start(1);
    let flow = "flow: {name: x, steps: [{action: http_request, config: {method: GET, url: \"${BASE}/ok\"}, assert: [status == 200]}]}";
    let folder = Folder::new();
    for number in 0..5 {
        folder.write(&format!("{number}.yaml"), flow);
    }
    folder.run(&["run", ".", "--parallel", "1", "--var", &format!("BASE={}", service.base)]).expect_code(0);
    assert_eq!(service.seen().len(), 5);
}

#[test]
fn files_are_compiled_while_others_run_and_everything_stays_in_its_order() {
    let folder = Folder::new();
    folder.write("a.yaml", GOOD);
    folder.write(
        "b.yaml",
        "flow: {name: rows, data: [{n: 1}, {n: 2}, {n: 3}], steps: [{action: log, config: {message: \"${n}\"}}]}",
    );
    // Too long to be compiled while another flow waits for something.
    let steps = "  - {action: log, config: {message: a rather long line of a rather long flow}}\n".repeat(200);
    folder.write("c.yaml", &format!("name: long\nsteps:\n{steps}"));
    folder.write("d.yaml", "services: {web: {image: no flow}}");
    folder.write("e.yaml", BROKEN);
    for number in 0..140 {
        folder.write(&format!("f{number:03}.yaml"), &GOOD.replace("good", &format!("many {number:03}")));
    }
    folder.write("g.yaml", FAILING);
    let mut expect = vec!["good", "rows [row 1]", "rows [row 2]", "rows [row 3]", "long", "e.yaml"];
    let many: Vec<String> = (0..140).map(|number| format!("many {number:03}")).collect();
    expect.extend(many.iter().map(String::as_str));
    expect.push("failing");
    for parallel in ["1", "2", "32"] {
        let said = folder.run(&["run", ".", "--parallel", parallel, "--report", "json=report.json"]).expect_code(1);
        assert!(said.out.contains("147 flows: 145 passed, 1 failed, 1 invalid"), "{}", said.out);
        let report: serde_json::Value = serde_json::from_str(&folder.read("report.json")).expect("JSON");
        let executions = report["executions"].as_array().expect("executions");
        let names: Vec<&str> = executions.iter().filter_map(|execution| execution["flow_name"].as_str()).collect();
        assert_eq!(names, expect, "--parallel {parallel}");
        let told: Vec<Option<usize>> = expect.iter().map(|name| said.out.find(&format!("{name} "))).collect();
        assert!(told.iter().all(Option::is_some), "{}", said.out);
        assert!(parallel != "1" || told.is_sorted(), "{}", said.out);
    }
    let said = folder.run(&["run", ".", "--parallel", "1", "--fail-fast"]).expect_code(1);
    assert!(said.out.contains("147 flows: 5 passed, 1 invalid, 141 not started"), "{}", said.out);
}
