//! Reports of real runs.

use crate::program::Folder;
use crate::service::Service;

fn flow(path: &str) -> String {
    format!(
        "flow:
  name: report <{path}>
  steps:
    - id: ask
      name: \"asks & \\\"looks\\\"\"
      action: http_request
      config: {{method: GET, url: \"${{BASE}}{path}\"}}
      assert: [status == 200]
"
    )
}

#[test]
fn every_format_is_written_and_says_the_same() {
    let service = Service::start(1);
    let folder = Folder::with(&[("a.yaml", &flow("/ok")), ("b.yaml", &flow("/status/500"))]);
    let base = format!("BASE={}", service.base);
    let reports = ["junit=out/junit.xml", "html=out/report.html", "json=out/report.json", "tap=out/report.tap"];
    let mut arguments = vec!["run", ".", "--var", &base];
    for report in &reports {
        arguments.extend(["--report", report]);
    }
    folder.run(&arguments).expect_code(1);

    let json: serde_json::Value = serde_json::from_str(&folder.read("out/report.json")).expect("JSON");
    assert_eq!(json["totals"]["passed"], 1);
    assert_eq!(json["totals"]["failed"], 1);
    assert_eq!(json["executions"][1]["steps"][0]["assertions"][0]["actual"], 500);
    assert_eq!(json["executions"][1]["file"], "b.yaml");

    let junit = folder.read("out/junit.xml");
    assert!(junit.contains("tests=\"2\" failures=\"1\" errors=\"0\""), "{junit}");
    assert!(junit.contains("name=\"asks &amp; &quot;looks&quot;\""), "{junit}");

    let tap = folder.read("out/report.tap");
    assert!(tap.contains("\nok 1 - report </ok>") && tap.contains("\nnot ok 2 - report </status/500>"), "{tap}");

    let html = folder.read("out/report.html");
    assert!(html.contains("report &lt;/status/500&gt;") && !html.contains("report </status"), "{html}");
}
