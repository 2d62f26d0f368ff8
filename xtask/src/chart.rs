//! `cargo xtask chart`: the Helm chart, rendered by the real helm with every set of values under `ci/`, judged by the
//! schemas of Kubernetes and of custom resources, the Pod Security profile, the binary's own list of settings, and a table
//! of what each value does.

mod effects;
mod helm;
mod monitoring;
mod restricted;
mod schemas;
mod settings;
mod tools;
mod values;
mod yaml;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use self::helm::Manifest;
use self::tools::Tools;
use self::values::Values;
use crate::finding::{Finding, Rule, report};
use crate::workspace::{self, Failure};

const CHART: &str = "deploy/helm/testmesh";
const EFFECTS: &str = "xtask/src/chart/effects.yaml";
const PAGE: &str = "docs/src/operations/values.md";

const LINT: Rule = Rule {
    name: "chart-lint",
    reason: "helm refuses such a chart, or makes something else of it",
    remedy: "change the template or the values that it names",
};
const SCHEMA: Rule = Rule {
    name: "chart-schema",
    reason: "a cluster refuses such an object",
    remedy: "write it as the API of the named release describes it",
};
const SECURITY: Rule = Rule {
    name: "pod-security",
    reason: "a namespace that enforces the profile `restricted` refuses such a pod, and an intruder likes it",
    remedy: "take `testmesh.podSecurity` and `testmesh.containerSecurity` of templates/_pod.tpl",
};
const VALUES: Rule = Rule {
    name: "chart-values",
    reason: "people learn from values.yaml and its schema what there is, and a misspelt value must be refused",
    remedy: "describe it in values.yaml with `# --`, and list it in values.schema.json",
};
const EFFECT: Rule = Rule {
    name: "chart-effect",
    reason: "a value that does nothing, or something else, misleads whoever sets it",
    remedy: "make the templates do what the value's description says; its row in xtask/src/chart/effects.yaml says where to look",
};
const SETTING: Rule = Rule {
    name: "chart-setting",
    reason: "who installs by Helm needs every setting of the binary, and an unknown one keeps it from starting",
    remedy: "add a value with the setting's name below `config` (values.yaml, values.schema.json) and a row for it",
};
const MONITORING: Rule = Rule {
    name: "chart-monitoring",
    reason: "an alert on a series that does not exist never fires",
    remedy: "use the series that `/metrics` has, and describe each alert in docs/src/operations/alerts.md",
};
const STALE: Rule = Rule {
    name: "chart-page",
    reason: "the book must say what the chart has",
    remedy: "`cargo xtask chart --bless` writes the page",
};

/// How it is run.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Options {
    /// Write the book's page of values
    #[arg(long)]
    bless: bool,
    /// Go on without when helm or the schemas cannot be had, and say so
    #[arg(long)]
    if_possible: bool,
}

/// Runs every check; says whether all held.
pub(crate) fn run(root: &Path, options: Options, out: &mut dyn Write) -> Result<bool, Failure> {
    let chart = root.join(CHART);
    let values = Values::parse(&workspace::read(&chart.join("values.yaml"))?)?;
    if options.bless {
        std::fs::write(root.join(PAGE), values.page())?;
        writeln!(out, "wrote {PAGE}")?;
    }
    let mut findings = described(root, &chart, &values)?;
    let rows = effects::read(root)?;
    findings.extend(without_row(root, &chart, &values, &rows));
    let target = workspace::target(root)?;
    let tools = match Tools::find(&target, out)? {
        Ok(tools) => tools,
        Err(missing) if options.if_possible => {
            writeln!(out, "chart: left out rendering and everything that follows from it: {missing}")?;
            return Ok(report("chart", findings, out)?);
        }
        Err(missing) => return Err(missing.into()),
    };
    schemas::prove(&tools)?;
    let sets = workspace::files(&chart.join("ci"), "yaml")?;
    let rendered = render(root, &tools, &chart, &sets, &mut findings)?;
    judge_objects(root, &tools, &rendered, &mut findings)?;
    let effects_file = root.join(EFFECTS);
    for trouble in effects::judge(&tools, &chart, &rows)? {
        findings.push(Finding::new(root, &effects_file, 1, &EFFECT, trouble));
    }
    for trouble in effects::not_refused(&tools, root, &chart)? {
        findings.push(Finding::new(root, &effects_file, 1, &EFFECT, trouble));
    }
    let server = server(root, &target)?;
    let objects: Vec<&Manifest> = rendered.iter().flat_map(|set| &set.manifests).collect();
    let variables = settings::variables(&server)?;
    for trouble in settings::judge(&variables, &rows, &objects) {
        findings.push(Finding::new(root, &chart.join("values.yaml"), 1, &SETTING, trouble));
    }
    for trouble in settings::refused(&server, &objects)? {
        findings.push(Finding::new(root, &chart.join("templates/_env.tpl"), 1, &SETTING, trouble));
    }
    for trouble in monitoring::judge(root, &monitoring::series(&server)?, &objects)? {
        findings.push(Finding::new(root, &chart.join("templates"), 1, &MONITORING, trouble));
    }
    let releases: BTreeSet<_> = tools.schemas.iter().map(|(release, _)| release.as_str()).collect();
    let releases: Vec<_> = releases.into_iter().collect();
    writeln!(
        out,
        "chart: {} sets of values, {} objects on Kubernetes {}, {} changes of values, {} settings",
        sets.len(),
        objects.len(),
        releases.join(", "),
        rows.len(),
        variables.len()
    )?;
    Ok(report("chart", findings, out)?)
}

/// What values.yaml, its schema and the book's page have against each other.
fn described(root: &Path, chart: &Path, values: &Values) -> Result<Vec<Finding>, Failure> {
    let file = chart.join("values.yaml");
    let mut findings = Vec::new();
    for path in values.undescribed() {
        findings.push(Finding::new(root, &file, 1, &VALUES, format!("`{path}` has no description")));
    }
    let schema_file = chart.join("values.schema.json");
    let schema = serde_json::from_str(&workspace::read(&schema_file)?)?;
    for trouble in values::against_schema(values, &schema) {
        findings.push(Finding::new(root, &schema_file, 1, &VALUES, trouble));
    }
    if std::fs::read_to_string(root.join(PAGE)).ok().as_deref() != Some(&values.page()) {
        findings.push(Finding::new(root, &root.join(PAGE), 1, &STALE, "the page is not what values.yaml says"));
    }
    Ok(findings)
}

/// The values that no row changes, and the rows of values that there are not.
fn without_row(root: &Path, chart: &Path, values: &Values, rows: &[effects::Row]) -> Vec<Finding> {
    let file = chart.join("values.yaml");
    let has_row = |path: &str| rows.iter().any(|row| row.value == path);
    let missing = values.described.iter().filter(|described| !has_row(&described.path)).map(|described| {
        let message = format!("no row of {EFFECTS} shows what `{}` does", described.path);
        Finding::new(root, &file, described.line, &EFFECT, message)
    });
    let is_described = |path: &str| values.described.iter().any(|described| described.path == path);
    let unknown = rows.iter().filter(|row| !is_described(&row.value)).map(|row| {
        Finding::new(root, &root.join(EFFECTS), 1, &EFFECT, format!("`{}` is no described value", row.value))
    });
    missing.chain(unknown).collect()
}

/// What a set of values makes on one release of Kubernetes.
struct Rendered {
    set: PathBuf,
    release: String,
    manifests: Vec<Manifest>,
}

fn render(
    root: &Path,
    tools: &Tools,
    chart: &Path,
    sets: &[PathBuf],
    findings: &mut Vec<Finding>,
) -> Result<Vec<Rendered>, Failure> {
    let mut rendered = Vec::new();
    for set in sets {
        if let Some(trouble) = helm::lint(tools, chart, set)? {
            findings.push(Finding::new(root, set, 1, &LINT, trouble));
        }
        for (release, _) in &tools.schemas {
            match helm::render(tools, chart, set, release)? {
                Ok(manifests) => rendered.push(Rendered { set: set.clone(), release: release.clone(), manifests }),
                Err(refusal) => findings.push(Finding::new(root, set, 1, &LINT, refusal)),
            }
        }
    }
    Ok(rendered)
}

/// The schemas and the Pod Security profile.
fn judge_objects(
    root: &Path,
    tools: &Tools,
    rendered: &[Rendered],
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let at = |set: &Rendered, manifest: &Manifest| {
        let name = set.set.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        (root.join(CHART).join(&manifest.template), format!("{} with ci/{name}", manifest.short_name()))
    };
    for (release, folder) in &tools.schemas {
        let mut schemas = schemas::Release::new(folder)?;
        for set in rendered.iter().filter(|set| set.release == *release) {
            for manifest in &set.manifests {
                if let Some(trouble) = schemas.judge(&manifest.object) {
                    let (file, what) = at(set, manifest);
                    findings.push(Finding::new(
                        root,
                        &file,
                        1,
                        &SCHEMA,
                        format!("{what}, Kubernetes {release}: {trouble}"),
                    ));
                }
            }
        }
    }
    let newest = tools.schemas.last().map(|(release, _)| release.clone());
    for set in rendered.iter().filter(|set| Some(&set.release) == newest.as_ref()) {
        for manifest in &set.manifests {
            for trouble in restricted::pod(&manifest.object).map(restricted::judge).unwrap_or_default() {
                let (file, what) = at(set, manifest);
                findings.push(Finding::new(root, &file, 1, &SECURITY, format!("{what}: {trouble}")));
            }
        }
        let custom: Vec<_> = set.manifests.iter().filter(|manifest| schemas::is_custom(&manifest.object)).collect();
        let objects: Vec<_> = custom.iter().map(|manifest| &manifest.object).collect();
        for (manifest, trouble) in custom.iter().zip(schemas::judge_custom(tools, &objects)?) {
            if let Some(trouble) = trouble {
                let (file, what) = at(set, manifest);
                findings.push(Finding::new(root, &file, 1, &SCHEMA, format!("{what}: {trouble}")));
            }
        }
    }
    Ok(())
}

/// The server's binary, built for debugging.
fn server(root: &Path, target: &Path) -> Result<PathBuf, Failure> {
    workspace::build(root)?;
    Ok(target.join("debug/testmesh-server"))
}
