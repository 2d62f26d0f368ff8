//! Ctrl-C: what runs is stopped in order, and reports are written all the same.

use std::process::Command;
use std::time::Duration;

use crate::program::{Folder, Said};
use crate::service::Service;

#[test]
fn an_interrupt_runs_teardown_and_writes_reports() {
    let service = Service::start(1);
    let flow = "flow:
  name: interrupted
  steps:
    - action: http_request
      config: {method: GET, url: \"${BASE}/hang\"}
  teardown:
    - action: http_request
      config: {method: GET, url: \"${BASE}/ok\"}
";
    let folder = Folder::with(&[("a.yaml", flow), ("b.yaml", flow)]);
    let base = format!("BASE={}", service.base);
    let arguments = ["run", ".", "--parallel", "1", "--report", "junit=junit.xml", "--var", &base];
    let child = folder.command(&arguments).spawn().expect("start the program");
    let first = service.requests.recv_timeout(Duration::from_secs(30)).expect("the flow starts");
    assert_eq!(first, "/hang");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("send a signal");
    assert!(killed.success());
    let said = Said::of(&child.wait_with_output().expect("the program ends")).expect_code(3);
    assert_eq!(service.seen(), ["/ok"], "teardown of the first flow alone");
    assert!(said.out.contains("2 flows: 1 cancelled, 1 not started"), "{said:#?}");
    assert!(said.err.contains("interrupted"), "{said:#?}");
    let report = folder.read("junit.xml");
    assert!(report.contains("value=\"cancelled\""), "{report}");
}
