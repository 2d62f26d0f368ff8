//! Objects against the schemas of the cluster: Kubernetes' own for each release, and those of custom resources.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::{Value, json};

use super::tools::Tools;
use crate::workspace::{self, Failure};

/// The groups whose schemas Kubernetes does not bring.
const CUSTOM: [&str; 3] = ["gateway.networking.k8s.io", "keda.sh", "monitoring.coreos.com"];

/// What the schemas of a release call the file of their types.
const DEFINITIONS: &str = "https://kubernetes.io/api/_definitions.json";

/// The strict schemas of one release.
pub(super) struct Release<'a> {
    folder: &'a Path,
    compiler: Compiler,
    schemas: Schemas,
    known: HashMap<String, Result<SchemaIndex, String>>,
    seen: HashSet<String>,
}

impl<'a> Release<'a> {
    /// Those in `folder`.
    pub(super) fn new(folder: &'a Path) -> Result<Self, Failure> {
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        // The schemas give themselves addresses, by which they find the types that they share.
        let definitions = serde_json::from_str(&workspace::read(&folder.join("_definitions.json"))?)?;
        compiler.add_resource(DEFINITIONS, definitions).map_err(|error| format!("{DEFINITIONS}: {error}"))?;
        Ok(Self { folder, compiler, schemas: Schemas::new(), known: HashMap::new(), seen: HashSet::new() })
    }

    /// What is wrong with an object; nothing when it is right, or was judged before, or is a custom resource.
    pub(super) fn judge(&mut self, object: &Value) -> Option<String> {
        if is_custom(object) || !self.seen.insert(object.to_string()) {
            return None;
        }
        let api = object["apiVersion"].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().unwrap_or_default();
        // The files are called `deployment-apps-v1.json`, `networkpolicy-networking-v1.json`, `service-v1.json`.
        let file = match api.split_once('/') {
            Some((group, version)) => {
                format!("{}-{}-{version}", kind.to_lowercase(), group.split('.').next().unwrap_or(group))
            }
            None => format!("{}-{api}", kind.to_lowercase()),
        };
        let path = self.folder.join(format!("{file}.json"));
        let (compiler, schemas) = (&mut self.compiler, &mut self.schemas);
        let index = self.known.entry(file).or_insert_with(|| {
            if !path.exists() {
                return Err(format!("this release has no {kind} of {api}"));
            }
            compiler.compile(&path.display().to_string(), schemas).map_err(|error| format!("{error:#}"))
        });
        match index {
            Ok(index) => self.schemas.validate(object, *index).err().map(|error| format!("{error:#}")),
            Err(trouble) => Some(trouble.clone()),
        }
    }
}

/// Shows every judge objects that are wrong, so that a judge that sees nothing does not pass for one that finds nothing.
pub(super) fn prove(tools: &Tools) -> Result<(), Failure> {
    let service =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 1}]}});
    let mut wrong_type = service.clone();
    wrong_type["spec"]["ports"][0]["port"] = "one".into();
    let mut unknown_key = service.clone();
    unknown_key["spec"]["prots"] = json!([]);
    let mut unknown_kind = service.clone();
    unknown_kind["kind"] = "Servise".into();
    for (release, folder) in &tools.schemas {
        let mut schemas = Release::new(folder)?;
        if let Some(trouble) = schemas.judge(&service) {
            return Err(format!("the schemas of Kubernetes {release} refuse a right object: {trouble}").into());
        }
        if [&wrong_type, &unknown_key, &unknown_kind].into_iter().any(|object| schemas.judge(object).is_none()) {
            return Err(format!("the schemas of Kubernetes {release} take a wrong object").into());
        }
    }
    let custom = |api: &str, kind: &str| json!({"apiVersion": api, "kind": kind, "metadata": {"name": "a"}, "spec": 1});
    let wrong = [
        custom("gateway.networking.k8s.io/v1", "HTTPRoute"),
        custom("keda.sh/v1alpha1", "ScaledObject"),
        custom("keda.sh/v1alpha1", "TriggerAuthentication"),
        custom("monitoring.coreos.com/v1", "ServiceMonitor"),
        custom("monitoring.coreos.com/v1", "PrometheusRule"),
    ];
    let judged = judge_custom(tools, &wrong.iter().collect::<Vec<_>>())?;
    match wrong.iter().zip(judged).find(|(_, trouble)| trouble.is_none()) {
        Some((object, _)) => Err(format!("the description of {} takes a wrong object", object["kind"]).into()),
        None => Ok(()),
    }
}

/// Whether an object's schema is not Kubernetes' own.
pub(super) fn is_custom(object: &Value) -> bool {
    let group = object["apiVersion"].as_str().and_then(|api| api.split_once('/')).map_or("", |(group, _)| group);
    CUSTOM.contains(&group)
}

/// What is wrong with each of these custom resources.
pub(super) fn judge_custom(tools: &Tools, objects: &[&Value]) -> Result<Vec<Option<String>>, Failure> {
    let mut node = Command::new("node").arg(&tools.custom).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut input) = node.stdin.take() {
        input.write_all(serde_json::to_string(objects)?.as_bytes())?;
    }
    let output = node.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    let lines: Vec<_> = text.lines().map(|line| (!line.is_empty()).then(|| line.to_owned())).collect();
    if !output.status.success() || lines.len() != objects.len() {
        return Err(format!("`{}` judged {} of {} objects", tools.custom.display(), lines.len(), objects.len()).into());
    }
    Ok(lines)
}
