//! Every setting of the binary can be reached from the chart's values. The list is what the binary itself prints.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::effects::Row;
use super::helm::Manifest;
use super::restricted;
use crate::workspace::Failure;

/// Settings that the chart decides and values do not change, and why.
const DECIDED: [(&str, &str); 2] = [
    ("TESTMESH_LISTEN", "Services, probes and policies name its port"),
    ("TESTMESH_DATA_DIR", "the volume is mounted there"),
];

/// The variables of all settings, from the binary's own table.
pub(super) fn variables(server: &Path) -> Result<BTreeSet<String>, Failure> {
    let output = Command::new(server).args(["config", "--format", "json"]).env_clear().output()?;
    if !output.status.success() {
        return Err(format!("`testmesh-server config` ended with {}", output.status).into());
    }
    let found = in_table(&serde_json::from_slice(&output.stdout)?);
    if found.is_empty() { Err("`testmesh-server config` names no setting".into()) } else { Ok(found) }
}

fn in_table(table: &Value) -> BTreeSet<String> {
    let settings = table.as_array().into_iter().flatten();
    settings.filter_map(|setting| setting["variable"].as_str()).map(str::to_owned).collect()
}

/// What is wrong between the settings, the table of changes and what the chart renders.
pub(super) fn judge(variables: &BTreeSet<String>, rows: &[Row], manifests: &[&Manifest]) -> Vec<String> {
    let reached: BTreeSet<&str> = rows.iter().filter_map(|row| variable_of(&row.at)).collect();
    let rendered: BTreeSet<&str> = manifests.iter().flat_map(|manifest| rendered(&manifest.object)).collect();
    let mut found = Vec::new();
    for variable in variables {
        let decided = DECIDED.iter().any(|(name, _)| name == variable);
        if decided && !rendered.contains(variable.as_str()) {
            found.push(format!("the chart decides `{variable}`, and no pod has it"));
        } else if !decided && !reached.contains(variable.as_str()) {
            found.push(format!("no value reaches the setting `{variable}`"));
        }
    }
    for variable in rendered {
        let is_ours = variable.starts_with("TESTMESH_") && variable != "TESTMESH_TOKEN";
        if is_ours && !variables.contains(variable) {
            found.push(format!("pods get `{variable}`, which is no setting of the binary"));
        }
    }
    found
}

/// The pods whose variables the binary refuses, each with its words. Variables from Secrets are left out.
pub(super) fn refused(server: &Path, manifests: &[&Manifest]) -> Result<Vec<String>, Failure> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for manifest in manifests {
        let variables: Vec<_> = literal(&manifest.object).collect();
        if variables.is_empty() || !seen.insert(variables.clone()) {
            continue;
        }
        let output = Command::new(server).arg("config").env_clear().envs(variables).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            found.push(format!("{}: the binary refuses its environment: {said}", manifest.short_name()));
        }
    }
    Ok(found)
}

/// The variables of a Deployment's pods that the chart writes out.
fn literal(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    let ours = restricted::pod(object).and_then(|pod| pod["containers"].as_array()).into_iter().flatten();
    let ours = ours.filter(|container| container["name"] == "testmesh");
    let variables = ours.flat_map(|container| container["env"].as_array().into_iter().flatten());
    variables.filter_map(|variable| Some((variable["name"].as_str()?, variable["value"].as_str()?)))
}

/// The variable that a place in a container is about: `…/env/TESTMESH_ROLES/value`.
fn variable_of(at: &str) -> Option<&str> {
    at.split_once("/env/").map(|(_, rest)| rest.split('/').next().unwrap_or(rest))
}

fn rendered(object: &Value) -> impl Iterator<Item = &str> {
    let containers = restricted::pod(object).and_then(|pod| pod["containers"].as_array()).into_iter().flatten();
    containers
        .flat_map(|container| container["env"].as_array().into_iter().flatten())
        .filter_map(|env| env["name"].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chart::effects;

    #[test]
    fn an_environment_that_the_binary_refuses_is_found_once() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("binary");
        std::fs::write(&binary, "#!/bin/sh\n[ \"$A\" = 1 ] || { echo \"A is wrong\" >&2; exit 2; }\n").unwrap();
        std::fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let pod = |value: &str| {
            let env = json!([{"name": "A", "value": value}, {"name": "B", "valueFrom": {}}]);
            let object = json!({"kind": "Pod", "spec": {"containers": [{"name": "testmesh", "env": env}]}});
            Manifest { template: String::new(), object }
        };
        let found = refused(&binary, &[&pod("1"), &pod("2"), &pod("2")]).unwrap();
        assert!(found.len() == 1 && found[0].contains("A is wrong"), "{found:?}");
    }

    #[test]
    fn settings_that_values_do_not_reach_and_variables_that_are_none_are_found() {
        let table = ["TESTMESH_LISTEN", "TESTMESH_X", "TESTMESH_Y"].map(|name| json!({"variable": name, "key": "k"}));
        let variables = in_table(&json!(table));
        assert_eq!(variables.len(), 3);
        let rows = "bases: {embedded: {}}\nrows: [{value: x, set: 1, object: Pod, at: spec/containers/a/env/TESTMESH_X/value, is: 1}]";
        let rows = effects::table(rows).unwrap();
        let pod = |env: Value| Manifest {
            template: String::new(),
            object: json!({"kind": "Pod", "spec": {"containers": [{"env": env}]}}),
        };
        let good = pod(json!([{"name": "TESTMESH_LISTEN"}]));
        assert_eq!(judge(&variables, &rows, &[&good]), ["no value reaches the setting `TESTMESH_Y`"]);
        let wrong = pod(json!([{"name": "TESTMESH_OLD"}]));
        let found = judge(&variables, &rows, &[&wrong]);
        assert!(found[0].contains("`TESTMESH_LISTEN`") && found[2].contains("`TESTMESH_OLD`"), "{found:?}");
    }
}
