//! The commands beside `run`.

use crate::program::Folder;

#[test]
fn init_writes_a_flow_that_passes_and_keeps_what_is_there() {
    let folder = Folder::new();
    folder.run(&["init", "new"]).expect_code(0);
    folder.run(&["validate", "--strict", "new/hello.yaml"]).expect_code(0);
    let said = folder.run(&["run", "new/hello.yaml"]).expect_code(0);
    assert!(said.out.contains("Hello, world!"), "{}", said.out);
    folder.run(&["fmt", "--check", "new/hello.yaml"]).expect_code(0);
    folder.write("new/hello.yaml", "mine");
    folder.run(&["init", "new"]).expect_code(2);
    assert_eq!(folder.read("new/hello.yaml"), "mine");
    folder.run(&["init", "new", "--force"]).expect_code(0);
    folder.run(&["init", "named/first.yml"]).expect_code(0);
    assert_eq!(folder.read("new/hello.yaml"), folder.read("named/first.yml"));
}

#[test]
fn validate_lists_every_mistake_of_every_file() {
    let folder = Folder::with(&[
        ("good.yaml", "flow: {name: good, steps: [{action: log, config: {message: hi}}]}"),
        ("bad.yaml", "flow:\n  nme: x\n  steps:\n    - action: htp_request\n    - action: log\n      asert: [a]\n"),
        ("compose.yaml", "services: {}\n"),
    ]);
    let said = folder.run(&["validate", ".", "--format", "json"]).expect_code(2);
    let files: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let files = files.as_array().expect("a list");
    let seen: Vec<_> = files.iter().map(|file| (file["file"].as_str().expect("a name"), &file["valid"])).collect();
    assert_eq!(seen, [("bad.yaml", &false.into()), ("good.yaml", &true.into())]);
    let lines: Vec<_> = files[0]["diagnostics"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|found| found["line"].as_u64().expect("a line"))
        .collect();
    for line in [2, 4, 6] {
        assert!(lines.contains(&line), "a finding on line {line}: {}", said.out);
    }
    folder.run(&["validate", "good.yaml"]).expect_code(0);
    let said = folder.run(&["validate", "bad.yaml"]).expect_code(2);
    assert!(said.out.contains("--> bad.yaml:4:") && said.out.contains("did you mean"), "{}", said.out);
}

#[test]
fn fmt_rewrites_or_only_tells() {
    let untidy = "flow:   \n  name: x\n\n\n\n  steps:\n    - action: log\n      config: {message: hi}\n\n\n";
    let folder = Folder::with(&[("a.yaml", untidy)]);
    let said = folder.run(&["fmt", "--check", "a.yaml"]).expect_code(1);
    assert_eq!(said.out, "not formatted: a.yaml\n");
    assert_eq!(folder.read("a.yaml"), untidy);
    folder.run(&["fmt", "a.yaml"]).expect_code(0);
    assert_ne!(folder.read("a.yaml"), untidy);
    folder.run(&["fmt", "--check", "a.yaml"]).expect_code(0);
    folder.write("a.yaml", "a: [");
    folder.run(&["fmt", "a.yaml"]).expect_code(2);
}

#[test]
fn the_schema_and_the_reference_know_every_action() {
    let folder = Folder::new();
    let schema = folder.run(&["schema"]).expect_code(0).out;
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
    assert!(schema["$schema"].is_string());
    let list = folder.run(&["actions"]).expect_code(0).out;
    for name in ["http_request", "log", "for_each", "run_flow"] {
        assert!(list.lines().any(|line| line.starts_with(name)), "{name} in {list}");
        let page = folder.run(&["actions", name]).expect_code(0).out;
        assert!(page.starts_with(&format!("# `{name}`\n")), "{page}");
    }
    let alias = folder.run(&["actions", "http"]).expect_code(0).out;
    assert!(alias.starts_with("# `http_request`"), "{alias}");
    folder.run(&["actions", "no_such_action"]).expect_code(2);
}

#[test]
fn completions_are_made_for_every_shell() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = folder.run(&["completions", shell]).expect_code(0);
        assert!(said.out.contains("validate"), "{shell}");
    }
}
