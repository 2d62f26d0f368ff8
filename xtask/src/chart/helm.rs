//! Renders the chart by the real helm.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::tools::Tools;
use super::yaml;
use crate::workspace::Failure;

/// The release's name; short, so that names in the tables are `t-testmesh-…`.
const RELEASE: &str = "t";

/// One object that the chart makes.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    /// The template it comes from, such as `templates/services.yaml`.
    pub(super) template: String,
    /// The object.
    pub(super) object: Value,
}

impl Manifest {
    /// `Kind/name`, the name without the release's part.
    pub(super) fn short_name(&self) -> String {
        let kind = self.object["kind"].as_str().unwrap_or_default();
        let name = self.object["metadata"]["name"].as_str().unwrap_or_default();
        let short = name.strip_prefix("t-testmesh").unwrap_or(name).trim_start_matches('-');
        format!("{kind}/{short}")
    }
}

fn helm(tools: &Tools) -> Command {
    let mut helm = Command::new(&tools.helm);
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        helm.env(name, &tools.home);
    }
    helm
}

/// What `helm lint` has against the chart with these values; nothing when it has nothing.
pub(super) fn lint(tools: &Tools, chart: &Path, values: &Path) -> Result<Option<String>, Failure> {
    let output = helm(tools).arg("lint").arg(chart).args(["--strict", "--quiet", "--values"]).arg(values).output()?;
    Ok((!output.status.success()).then(|| said(&output)))
}

/// Every object of the chart with these values, on a cluster of this release. The inner error is helm's refusal.
pub(super) fn render(
    tools: &Tools,
    chart: &Path,
    values: &Path,
    kubernetes: &str,
) -> Result<Result<Vec<Manifest>, String>, Failure> {
    let mut command = helm(tools);
    command.args(["template", RELEASE]).arg(chart).arg("--values").arg(values);
    let output = command.args(["--namespace", "tests", "--kube-version", kubernetes]).output()?;
    if !output.status.success() {
        return Ok(Err(said(&output)));
    }
    manifests(&String::from_utf8(output.stdout)?).map(Ok)
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

fn manifests(text: &str) -> Result<Vec<Manifest>, Failure> {
    let mut found = Vec::new();
    for part in text.split("\n---\n") {
        let source = part.lines().find_map(|line| line.strip_prefix("# Source: testmesh/")).unwrap_or_default();
        for object in yaml::documents(part).map_err(|error| format!("{source}: {error}"))? {
            found.push(Manifest { template: source.to_owned(), object });
        }
    }
    Ok(found)
}
