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

/// The variables of all settings, from the binary's own help.
pub(super) fn variables(server: &Path) -> Result<BTreeSet<String>, Failure> {
    let mut found = BTreeSet::new();
    for arguments in [&["--help"][..], &["migrate", "--help"]] {
        let output = Command::new(server).args(arguments).output()?;
        if !output.status.success() {
            return Err(format!("`testmesh-server {}` ended with {}", arguments.join(" "), output.status).into());
        }
        found.extend(in_help(&String::from_utf8(output.stdout)?));
    }
    if found.is_empty() { Err("`testmesh-server --help` names no variable".into()) } else { Ok(found) }
}

fn in_help(text: &str) -> impl Iterator<Item = String> {
    text.split("[env: ").skip(1).map(|rest| rest.split(['=', ']']).next().unwrap_or_default().to_owned())
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
    fn settings_that_values_do_not_reach_and_variables_that_are_none_are_found() {
        let help = "  --listen <A>  [env: TESTMESH_LISTEN=]\n --x  [env: TESTMESH_X]\n --y [env: TESTMESH_Y=secret] [default: 1]";
        let variables: BTreeSet<String> = in_help(help).collect();
        assert_eq!(variables.iter().collect::<Vec<_>>(), ["TESTMESH_LISTEN", "TESTMESH_X", "TESTMESH_Y"]);
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
