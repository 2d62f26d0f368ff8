//! `exec` in flows: what programs give back, and that nothing of them is left.

#![cfg(unix)]

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testmesh_runner::files::Files;
use testmesh_runner::programs::Programs;
use testmesh_runner::record::{ErrorKind, StepStatus};
use tokio_util::sync::CancellationToken;

use crate::run::{Setting, passed, run_steps_in};

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

fn environment() -> [(String, String); 3] {
    [("PATH", PATH), ("HOME", "/home/me"), ("TESTMESH_MASTER_KEY", "hidden")]
        .map(|(name, value)| (name.into(), value.into()))
}

fn everything() -> Setting {
    Setting { programs: Programs::all().with_environment(environment()), ..Setting::default() }
}

#[tokio::test]
async fn what_a_program_prints_and_its_code_are_results() {
    let steps = r#"
- action: exec
  config: {command: [printf, "%s|", "a b", "$HOME", "*"]}
  assert: [exit_code == 0, "stdout == 'a b|$HOME|*|'", stderr == "", json is null, truncated == false, duration_ms >= 0]
- action: exec
  config: {command: sh, args: [-c, "echo out; echo err >&2; exit 7"]}
  assert: [exit_code == 7, 'stdout == "out\n"', 'stderr == "err\n"']
- action: exec
  config: {command: [cat], stdin: {name: Ada, id: 7}}
  assert: [json.name == "Ada"]
  output: {id: $.id}
- action: exec
  config: {command: [echo, "${id}"]}
  assert: ["trim(stdout) == '7'", json == 7]
- action: exec
  config: {command: [sh, -c, "kill -TERM $$"]}
  assert: [exit_code == 143]
- action: exec
  config: {command: ["true"], stdin: "nobody reads this"}
  assert: [exit_code == 0]
"#;
    passed(&run_steps_in(steps, everything()).await);
}

#[tokio::test]
async fn the_environment_is_what_the_step_gives_and_little_more() {
    let steps = r#"
- action: exec
  config: {command: [env], env: {STAGE: test, COUNT: 3}}
  assert:
    - stdout contains 'STAGE=test'
    - stdout contains 'COUNT=3'
    - stdout contains 'HOME=/home/me'
    - stdout contains 'PATH=/usr'
    - not (stdout contains 'MASTER_KEY')
    - len(split(trim(stdout), "\n")) == 4
- action: exec
  config: {command: [env], env: {'A=B': x}}
"#;
    let records = run_steps_in(steps, everything()).await;
    passed(&records[..1]);
    assert_eq!(records[1].error.clone().unwrap().kind, ErrorKind::Config, "{:#?}", records[1]);
}

#[tokio::test]
async fn secrets_that_a_program_prints_are_masked() {
    let secrets = HashMap::from([("TOKEN".to_owned(), "s3cr3t-token".to_owned())]);
    let steps = "- action: exec\n  config: {command: [printf, '%s', '${secrets.TOKEN}'], env: {T: '${secrets.TOKEN}'}}\n  \
                 assert: stdout == secrets.TOKEN\n";
    let records = run_steps_in(steps, Setting { secrets, ..everything() }).await;
    passed(&records);
    let shown = format!("{:?}", records[0]);
    assert!(shown.contains("***") && !shown.contains("s3cr3t-token"), "{shown}");
}

#[tokio::test]
async fn too_much_output_is_cut_and_the_program_is_not_held_up() {
    let steps = "- action: exec\n  config: {command: [head, -c, '3000000', /dev/zero], max_output: 1KiB}\n  \
                 assert: [truncated == true, len(stdout) == 1024, exit_code == 0]\n";
    passed(&run_steps_in(steps, everything()).await);
}

#[tokio::test]
async fn what_cannot_be_run_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
    let files = Files { base: folder.path().to_path_buf(), root: None, enabled: true };
    let check = async |config: &str, kind: ErrorKind, part: &str| {
        let steps = format!("- action: exec\n  config: {config}\n");
        let records = run_steps_in(&steps, Setting { files: files.clone(), ..everything() }).await;
        let error = records[0].error.clone().unwrap();
        assert!(error.kind == kind && error.message.contains(part), "{config}: {error:?}");
    };
    check("{command: no-such-program-here}", ErrorKind::Config, "there is no program `no-such-program-here`").await;
    check("{command: 'ls -l'}", ErrorKind::Config, "`command` takes a list").await;
    check("{command: [./notes.txt]}", ErrorKind::Config, "`./notes.txt` is not a program").await;
    check("{command: ['']}", ErrorKind::Config, "`command` names no program").await;
    check("{command: [ls], cwd: nowhere}", ErrorKind::Config, "nowhere").await;
    check("{command: [ls], cwd: notes.txt}", ErrorKind::Config, "which is no folder").await;
}

#[tokio::test]
async fn the_flows_folder_is_where_programs_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("inner")).unwrap();
    std::fs::write(folder.path().join("inner/a.txt"), "inner").unwrap();
    let files = Files { base: folder.path().to_path_buf(), root: Some(folder.path().to_path_buf()), enabled: true };
    let steps = "- action: exec\n  config: {command: [ls]}\n  assert: trim(stdout) == 'inner'\n\
                 - action: exec\n  config: {command: [cat, a.txt], cwd: inner}\n  assert: stdout == 'inner'\n\
                 - action: exec\n  config: {command: [ls], cwd: /}\n";
    let records = run_steps_in(steps, Setting { files, ..everything() }).await;
    passed(&records[..2]);
    assert_eq!(records[2].error.clone().unwrap().kind, ErrorKind::Policy, "{:#?}", records[2]);
}

#[tokio::test]
async fn only_named_programs_run_where_that_is_the_policy() {
    let programs = Programs::named(["echo".to_owned()]).with_environment(environment());
    let steps = "- action: exec\n  config: {command: [echo, hello], env: {PATH: /nowhere}}\n  assert: exit_code == 0\n\
                 - action: exec\n  config: {command: [sh, -c, echo]}\n\
                 - action: exec\n  config: {command: [/bin/echo]}\n";
    let records = run_steps_in(steps, Setting { programs, ..Setting::default() }).await;
    passed(&records[..1]);
    for (record, name) in records[1..].iter().zip(["sh", "/bin/echo"]) {
        let error = record.error.clone().unwrap();
        assert!(error.kind == ErrorKind::Policy && error.message.contains(&format!("`{name}`")), "{error:?}");
    }
    let none = run_steps_in("- action: exec\n  config: {command: [echo]}\n", Setting::default()).await;
    assert_eq!(none[0].error.clone().unwrap().kind, ErrorKind::Policy);
}

/// A pipe whose reader sees its end when every process that holds it is gone.
struct Witness {
    _folder: tempfile::TempDir,
    pipe: PathBuf,
}

impl Witness {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        Self { _folder: folder, pipe }
    }

    /// A program whose grandchild holds the pipe for long. It says so there once all run, and does then what `last` says.
    fn holder(&self, last: &str) -> String {
        format!("exec 3>{}; sleep 600 & echo started; echo started >&3; {last}", self.pipe.display())
    }

    /// Reads to the end, and calls `started` when the grandchild runs.
    async fn gone(&self, started: impl FnOnce() + Send + 'static) -> bool {
        fn read(pipe: &Path, started: impl FnOnce()) {
            let mut pipe = std::fs::File::open(pipe).unwrap();
            let mut first = [0; 8];
            pipe.read_exact(&mut first).unwrap();
            started();
            pipe.read_to_end(&mut Vec::new()).unwrap();
        }
        let pipe = self.pipe.clone();
        let reading = tokio::task::spawn_blocking(move || read(&pipe, started));
        tokio::time::timeout(Duration::from_secs(20), reading).await.is_ok()
    }
}

#[tokio::test]
async fn a_time_out_kills_the_whole_group_and_keeps_what_was_printed() {
    for place in
        ["config: {command: [sh, -c, SCRIPT], timeout: 1s}", "timeout: 1s\n  config: {command: [sh, -c, SCRIPT]}"]
    {
        let witness = Witness::new();
        let script = format!("'{}'", witness.holder("wait"));
        let steps = format!("- action: exec\n  {}\n", place.replace("SCRIPT", &script));
        let since = Instant::now();
        let (records, gone) = tokio::join!(run_steps_in(&steps, everything()), witness.gone(|| {}));
        assert!(gone, "{place}: something still runs");
        assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
        let error = records[0].error.clone().unwrap();
        assert_eq!(error.kind, ErrorKind::Timeout, "{error:?}");
        if place.starts_with("config") {
            assert!(error.message.contains("`sh` did not end within 1s"), "{}", error.message);
            assert!(format!("{:?}", records[0].response).contains("started"), "{:#?}", records[0]);
        }
    }
}

#[tokio::test]
async fn a_cancelled_run_kills_the_whole_group() {
    let witness = Witness::new();
    let steps =
        format!("- action: exec\n  config: {{command: [sh, -c, '{}'], timeout: 10m}}\n", witness.holder("wait"));
    let cancel = CancellationToken::new();
    let setting = Setting { cancel: cancel.clone(), ..everything() };
    let (records, gone) = tokio::join!(run_steps_in(&steps, setting), witness.gone(move || cancel.cancel()));
    assert!(gone, "something still runs");
    assert_eq!(records[0].status, StepStatus::Cancelled, "{:#?}", records[0]);
}

#[tokio::test]
async fn what_runs_in_the_background_ends_with_the_run() {
    let witness = Witness::new();
    let steps = format!(
        "- action: exec\n  config: {{command: [sh, -c, '{}']}}\n  assert: [exit_code == 0, \"trim(stdout) == 'started'\"]\n",
        witness.holder("exit 0")
    );
    let (records, gone) = tokio::join!(run_steps_in(&steps, everything()), witness.gone(|| {}));
    assert!(gone, "something still runs");
    passed(&records[..1]);
}
