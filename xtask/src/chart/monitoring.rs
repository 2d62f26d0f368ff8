//! Alerts and dashboards ask for series that the server has, and every alert's runbook is a part of a page of the book.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::helm::Manifest;
use crate::workspace::{self, Failure};

/// Series that others have: Prometheus itself and every kubelet.
const FOREIGN: [&str; 3] = ["up", "kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"];
/// The page of the runbooks.
const RUNBOOKS: &str = "docs/src/operations/alerts.md";
/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The names of all series that a fresh server has after its first requests.
pub(super) fn series(server: &Path) -> Result<BTreeSet<String>, Failure> {
    let folder = tempfile::tempdir()?;
    let mut child = Command::new(server)
        .args(["--listen", "127.0.0.1:0", "--log-level", "error", "--data-dir"])
        .arg(folder.path().join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let asked =
        child.stdout.take().ok_or_else(|| "the server has no output".into()).and_then(|out| ask(BufReader::new(out)));
    // Both fail only when it has ended by itself, which `asked` says already.
    let _ = child.kill();
    let _ = child.wait();
    Ok(names(&asked?))
}

fn ask(mut out: impl BufRead) -> Result<String, Failure> {
    let mut line = String::new();
    out.read_line(&mut line)?;
    let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next());
    let address = address.ok_or_else(|| format!("the server did not say where it listens: `{line}`"))?;
    let mut answer = String::new();
    for path in ["/readyz", "/metrics"] {
        let mut stream = TcpStream::connect(address.trim())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
        answer.clear();
        stream.read_to_string(&mut answer)?;
    }
    Ok(answer)
}

fn names(exposition: &str) -> BTreeSet<String> {
    let lines = exposition.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split(['{', ' ']).next())
        .filter(|name| name.contains('_'))
        .map(str::to_owned)
        .collect()
}

/// What is wrong with the alerts and dashboards among these objects.
pub(super) fn judge(root: &Path, series: &BTreeSet<String>, manifests: &[&Manifest]) -> Result<Vec<String>, Failure> {
    let runbooks = workspace::read(&root.join(RUNBOOKS))?;
    let mut found = Vec::new();
    for manifest in manifests {
        match manifest.object["kind"].as_str() {
            Some("PrometheusRule") => alerts(&manifest.object, series, &runbooks, &mut found),
            Some("ConfigMap") => {
                for (name, text) in manifest.object["data"].as_object().into_iter().flatten() {
                    let text = text
                        .as_str()
                        .filter(|_| Path::new(name).extension().is_some_and(|extension| extension == "json"));
                    if let Some(text) = text {
                        dashboard(name, text, series, &mut found);
                    }
                }
            }
            _ => {}
        }
    }
    found.dedup();
    Ok(found)
}

fn alerts(object: &Value, series: &BTreeSet<String>, runbooks: &str, found: &mut Vec<String>) {
    let groups = object["spec"]["groups"].as_array().into_iter().flatten();
    for rule in groups.flat_map(|group| group["rules"].as_array().into_iter().flatten()) {
        let name = rule["alert"].as_str().unwrap_or_default();
        found.extend(
            unknown(rule["expr"].as_str().unwrap_or_default(), series).map(|text| format!("alert {name}: {text}")),
        );
        if !name.starts_with("TestMesh") {
            // A rule of the user's own.
            continue;
        }
        let url = rule["annotations"]["runbook_url"].as_str().unwrap_or_default();
        let anchor = url.split_once('#').map_or("", |(_, anchor)| anchor);
        if !runbooks.lines().any(|line| line.strip_prefix("## ").is_some_and(|title| title.to_lowercase() == anchor)) {
            found.push(format!("alert {name}: its runbook `{url}` is no part of {RUNBOOKS}"));
        }
    }
}

fn dashboard(name: &str, text: &str, series: &BTreeSet<String>, found: &mut Vec<String>) {
    let dashboard: Value = match serde_json::from_str(text) {
        Ok(dashboard) => dashboard,
        Err(error) => return found.push(format!("dashboard {name}: {error}")),
    };
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        let title = panel["title"].as_str().unwrap_or_default();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().unwrap_or_default();
            found.extend(unknown(expr, series).map(|text| format!("dashboard {name}, panel `{title}`: {text}")));
        }
    }
}

/// The series of an expression that nobody has: every name with a selector behind it.
fn unknown(expr: &str, series: &BTreeSet<String>) -> impl Iterator<Item = String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let mut parts: Vec<_> = expr.split('{').collect();
    parts.pop();
    let names = parts.into_iter().filter_map(move |part| part.rsplit(|letter| !is_name(letter)).next());
    names
        .filter(|name| !name.is_empty() && !FOREIGN.contains(name) && !series.contains(*name))
        .map(|name| format!("there is no series `{name}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workspace::fixture;

    #[test]
    fn series_that_nobody_has_and_runbooks_that_are_not_there_are_found() {
        let root = fixture::folder(&[(RUNBOOKS, "# Alerts\n\n## TestMeshDown\n")]);
        let series = names("# TYPE a_total counter\na_total{x=\"1\"} 1\na_sum 2\n");
        assert_eq!(series.iter().collect::<Vec<_>>(), ["a_sum", "a_total"]);
        let rule = |name: &str, expr: &str| json!({"alert": name, "expr": expr, "annotations": {"runbook_url": format!("https://x#{}", name.to_lowercase())}});
        let rules = json!({"kind": "PrometheusRule", "spec": {"groups": [{"rules": [
            rule("TestMeshDown", "sum by (a) (rate(a_total{x=\"1\"}[5m])) / up{} > 0"),
            rule("TestMeshGone", "absent(b_total{})"),
        ]}]}});
        let board =
            json!({"panels": [{"title": "P", "targets": [{"expr": "c_total{}"}, {"expr": "a_sum{}"}]}]}).to_string();
        let map = json!({"kind": "ConfigMap", "data": {"d.json": board, "e.json": "{"}});
        let manifests = [rules, map].map(|object| Manifest { template: String::new(), object });
        let found = judge(root.path(), &series, &manifests.iter().collect::<Vec<_>>()).unwrap();
        let expected = [
            "TestMeshGone: there is no series `b_total`",
            "its runbook",
            "panel `P`: there is no series `c_total`",
            "e.json",
        ];
        assert!(found.len() == 4 && expected.iter().zip(&found).all(|(part, text)| text.contains(part)), "{found:?}");
    }
}
