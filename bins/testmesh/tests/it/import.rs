//! `testmesh import`: each file of `import/` comes to the flows in its `.expect`, and these validate.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::program::{Folder, Said};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/import");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the cases are there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension != "expect"));
    files.sort();
    files
}

/// Every flow that was written, with the name of its file.
fn written(folder: &Folder) -> String {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder.path("flows"))
        .expect("flows were written")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    files.sort();
    let mut all = String::new();
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str()).expect("a file has a name").to_owned();
        let _ = write!(all, "=== {name}\n{}", std::fs::read_to_string(&file).expect("it can be read"));
    }
    all
}

#[test]
fn every_format_comes_to_flows_that_validate() {
    let cases = cases();
    assert!(cases.len() >= 6, "only {} cases", cases.len());
    let mut wrong = String::new();
    for case in cases {
        let kind = case.extension().and_then(|kind| kind.to_str()).expect("the kind is the extension");
        let folder = Folder::new();
        let source = case.to_str().expect("a path of text");
        folder.run(&["import", kind, source, "--output", "flows"]).expect_code(0);
        folder.run(&["validate", "--strict", "flows"]).expect_code(0);
        folder.run(&["fmt", "--check", "flows"]).expect_code(0);
        let expected = std::fs::read_to_string(format!("{source}.expect")).unwrap_or_default();
        let found = written(&folder);
        if found != expected {
            let _ = writeln!(wrong, "{source}:\n{found}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn operations_can_go_together_by_tag() {
    let folder = Folder::new();
    let source = cases().into_iter().find(|case| case.ends_with("petstore.openapi")).expect("it is there");
    let source = source.to_str().expect("a path of text");
    folder.run(&["import", "openapi", source, "--output", "flows", "--group-by", "group"]).expect_code(0);
    let all = written(&folder);
    let names: Vec<&str> = all.lines().filter(|line| line.starts_with("===")).collect();
    assert_eq!(names, ["=== pets_other.yaml", "=== pets_pets.yaml", "=== pets_photos.yaml"]);
    let one = folder.run(&["import", "openapi", source, "--group-by", "all"]).expect_code(0).out;
    assert_eq!(one.matches("action: http_request").count(), 4, "{one}");
}

#[test]
fn one_flow_is_printed_and_files_are_not_written_over() {
    let folder = Folder::with(&[
        ("a.curl", "curl http://localhost/x\n"),
        (
            "two.postman",
            r#"{"info":{"name":"t"},"item":[{"name":"f","item":[{"name":"a","request":"http://x"}]},{"name":"b","request":"http://y"}]}"#,
        ),
    ]);
    let said = folder.run(&["import", "curl", "a.curl"]).expect_code(0);
    assert!(said.out.contains("url: ${base_url}/x"), "{}", said.out);
    let said = folder.run(&["import", "postman", "two.postman"]).expect_code(2);
    assert!(said.err.contains("it makes 2 flows: write them with --output DIR"), "{}", said.err);
    let said = folder.run(&["import", "postman", "two.postman", "--output", "one.yaml"]).expect_code(2);
    assert!(said.err.contains("`one.yaml` is one file"), "{}", said.err);
    folder.run(&["import", "postman", "two.postman", "--group-by", "all", "--output", "one.yaml"]).expect_code(0);
    folder.run(&["validate", "--strict", "one.yaml"]).expect_code(0);
    folder.run(&["import", "curl", "a.curl", "--output", "out"]).expect_code(0);
    folder.write("out/a.yaml", "mine");
    let said = folder.run(&["import", "curl", "a.curl", "--output", "out"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("--force writes over"), "{}", said.err);
    assert_eq!(folder.read("out/a.yaml"), "mine");
    folder.run(&["import", "curl", "a.curl", "--output", "out", "--force"]).expect_code(0);
    assert!(folder.read("out/a.yaml").contains("http_request"));
}

#[test]
fn what_cannot_be_read_is_told() {
    for (kind, text, expect) in [
        ("curl", "echo hello", "there is no curl command in it"),
        ("curl", "\ncurl 'http://x", "line 2: a quote has no end"),
        ("curl", "curl -X", "line 1: `-X` has no value"),
        ("openapi", "swagger: '2.0'", "not Swagger 2.0"),
        ("openapi", "openapi: 3.1.0", "it describes no operation"),
        ("openapi", "a: [", "neither JSON nor YAML"),
        ("postman", "{}", "it is no Postman collection 2.0 or 2.1"),
        ("postman", "{", "it is not JSON"),
        ("postman", r#"{"requests":[]}"#, "version 1: export it as 2.1"),
        ("har", "{}", "`log.entries` is missing"),
        ("har", r#"{"log":{"entries":[]}}"#, "no request in it is one to test"),
    ] {
        let folder = Folder::with(&[("source", text)]);
        let said = folder.run(&["import", kind, "source", "--output", "out"]);
        assert_eq!(said.code, Some(2), "{kind} {text}: {}", said.err);
        assert!(said.err.contains(expect), "{kind} {text}: {}", said.err);
        assert!(!folder.path("out").exists());
    }
}

#[test]
fn commands_come_from_standard_input_and_send_files() {
    let folder =
        Folder::with(&[("body.json", "{\"a\": 1}"), ("c.txt", "curl --json @body.json http://localhost/x -u ada")]);
    let said = folder.run(&["import", "curl", "c.txt"]).expect_code(0);
    assert!(
        said.out.contains("json:\n        a: 1\n") && said.out.contains("password: ${secrets.PASSWORD}"),
        "{}",
        said.out
    );
    let mut child = folder.command(&["import", "curl", "-"]).stdin(Stdio::piped()).spawn().expect("start the program");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(b"curl http://localhost/from-input").expect("it reads");
    drop(input);
    let said = Said::of(&child.wait_with_output().expect("it ends")).expect_code(0);
    assert!(said.out.contains("name: GET /from-input"), "{}", said.out);
}

#[test]
fn what_is_left_out_is_told_with_its_place() {
    let source = cases().into_iter().find(|case| case.ends_with("shop.postman")).expect("it is there");
    let said = Folder::new()
        .run(&["import", "postman", source.to_str().expect("a path of text"), "--output", "flows"])
        .expect_code(0);
    for expect in [
        "Users / Create a user: left out: a line of its script before the request: console.log(1);",
        "Users / Files / Upload: left out: a file for the part more",
        "Users / Files / Query: left out: authentication by awsv4",
    ] {
        assert!(said.err.contains(expect), "{expect}: {}", said.err);
    }
}

#[test]
fn folders_that_share_what_answers_gave_are_one_flow() {
    let collection = r#"{"info":{"name":"t"},"item":[
        {"name":"f","item":[{"name":"a","request":"http://x","event":[{"listen":"test","script":{"exec":["pm.globals.set('id', pm.response.json().id);"]}}]}]},
        {"name":"g","item":[{"name":"b","request":"http://x/{{id}}"}]}]}"#;
    let folder = Folder::with(&[("c.json", collection)]);
    let said = folder.run(&["import", "postman", "c.json"]).expect_code(0);
    assert!(said.out.contains("id: body.id") && said.out.contains("url: http://x/${id}"), "{}", said.out);
}
