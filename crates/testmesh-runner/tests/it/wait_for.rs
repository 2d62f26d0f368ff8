//! `wait_for` in flows, against things that come late or never.

use testmesh_runner::files::Files;
use testmesh_runner::record::{ErrorKind, StepStatus};
use testmesh_shared::net::NetPolicy;

use crate::run::{Setting, run_steps, run_steps_in};
use crate::target::Target;

#[tokio::test]
async fn what_is_there_is_found_at_once() {
    let target = Target::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("done.txt"), "total: 3").unwrap();
    let address = target.address;
    for config in [
        "http: BASE/echo".to_owned(),
        "http: {url: BASE/redirect/302, status: [301, 302]}".to_owned(),
        "http: {url: BASE/echo, contains: '\"path\":\"/echo\"'}".to_owned(),
        format!("tcp: '{address}'"),
        format!("tcp: {{host: localhost, port: {}}}", address.port()),
        "file: done.txt".to_owned(),
        "file: {path: done.txt, contains: total}".to_owned(),
        "dns: localhost".to_owned(),
    ] {
        let files = Files { base: folder.path().into(), root: None, enabled: true };
        let steps = target.steps(&format!("- action: wait_for\n  config: {{{config}}}\n  assert: [attempts == 1]"));
        let records = run_steps_in(&steps, Setting { files, ..Setting::default() }).await;
        assert_eq!(records[0].status, StepStatus::Passed, "{config}: {records:#?}");
    }
}

#[tokio::test]
async fn what_comes_late_is_waited_for() {
    let target = Target::start().await;
    let folder = tempfile::tempdir().unwrap();
    let files = Files { base: folder.path().into(), root: None, enabled: true };
    let steps = target.steps(
        "- action: wait_for\n  config: {file: late.txt, interval: 10ms, timeout: 20s}\n  assert: [attempts > 1]",
    );
    let waiting = run_steps_in(&steps, Setting { files, ..Setting::default() });
    tokio::pin!(waiting);
    // The first attempts find nothing: the file is written only once the step has been going for a while.
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), &mut waiting).await;
    assert!(early.is_err(), "{early:#?}");
    std::fs::write(folder.path().join("late.txt"), "").unwrap();
    let records = waiting.await;
    assert_eq!(records[0].status, StepStatus::Passed, "{records:#?}");
}

#[tokio::test]
async fn what_never_comes_is_told_with_the_last_reason() {
    let target = Target::start().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (config, reason) in [
        (format!("tcp: '{unused}'"), "Connection refused"),
        ("http: {url: BASE/echo, status: 204}".to_owned(), "it answers 200 OK"),
        ("http: {url: BASE/echo, contains: nowhere}".to_owned(), "its body does not contain `nowhere`"),
    ] {
        let config = format!("{config}, interval: 20ms, timeout: 200ms");
        let records = run_steps(&target.steps(&format!("- action: wait_for\n  config: {{{config}}}"))).await;
        let error = records[0].error.clone().unwrap();
        assert_eq!(error.kind, ErrorKind::Timeout, "{config}");
        assert!(error.message.contains(reason), "{config}: {}", error.message);
    }
}

#[tokio::test]
async fn what_the_policy_denies_is_not_waited_for() {
    let target = Target::start().await;
    for config in ["http: BASE/echo", "tcp: 'ADDRESS'", "file: x.txt"] {
        let policy = NetPolicy::server(&[target.address]);
        let config = config.replace("ADDRESS", &target.address.to_string());
        let steps = target.steps(&format!("- action: wait_for\n  config: {{{config}, timeout: 1h}}"));
        let records = run_steps_in(&steps, Setting { policy, ..Setting::default() }).await;
        assert_eq!(records[0].error.clone().unwrap().kind, ErrorKind::Policy, "{config}");
    }
}
