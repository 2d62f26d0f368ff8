//! Flow texts as requests bring them: checked in full, and exactly one flow each.

use testmesh_runner::diagnostic::{Diagnostic, Severity};
use testmesh_runner::flow::{Flow, ParseOptions, Parsed};
use testmesh_runner::plugins::Plugins;
use testmesh_storage::FlowHeader;

use crate::problem::Problem;

/// Texts above this size are parsed off the threads that serve requests, and so are all where there are plugins, which may
/// have to be compiled first.
const INLINE_BYTES: usize = 16 << 10;

/// A checked text.
pub(crate) struct Checked {
    /// What is kept beside the text; none when it has an error.
    pub(crate) header: Option<FlowHeader>,
    /// Every finding, warnings included.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The text.
    pub(crate) yaml: String,
}

/// Checks `yaml` as one flow.
pub(crate) async fn check(yaml: String, plugins: &Plugins) -> Result<Checked, Problem> {
    let plugins = plugins.clone();
    if yaml.len() <= INLINE_BYTES && !plugins.may_wait() {
        return Ok(check_now(yaml, plugins));
    }
    Ok(tokio::task::spawn_blocking(move || check_now(yaml, plugins)).await?)
}

/// Checks `yaml` and insists that it has no error.
pub(crate) async fn require(yaml: String, plugins: &Plugins) -> Result<(FlowHeader, String), Problem> {
    let checked = check(yaml, plugins).await?;
    match checked.header {
        Some(header) => Ok((header, checked.yaml)),
        None => Err(Problem::invalid_flow(checked.diagnostics)),
    }
}

fn check_now(yaml: String, plugins: Plugins) -> Checked {
    let options = ParseOptions { plugins, ..ParseOptions::default() };
    let Parsed { flows, mut diagnostics } = Flow::parse(&yaml, &options);
    let broken = diagnostics.iter().any(|finding| finding.severity == Severity::Error);
    let header = match <[Flow; 1]>::try_from(flows) {
        _ if broken => None,
        Ok([flow]) => match header(flow) {
            Ok(header) => Some(header),
            Err(message) => {
                diagnostics.push(finding(&yaml, "control_character", message, "take the character out"));
                None
            }
        },
        Err(flows) => {
            let message = format!("the text holds {} flows, and one is wanted", flows.len());
            diagnostics.push(finding(&yaml, "flow_count", message, "send each flow of a file with several on its own"));
            None
        }
    };
    Checked { header, diagnostics, yaml }
}

fn header(flow: Flow) -> Result<FlowHeader, String> {
    let fields = [("name", Some(&flow.name)), ("suite", flow.suite.as_ref())];
    let tags = flow.tags.iter().map(|tag| ("tags", Some(tag)));
    for (field, text) in fields.into_iter().chain(tags) {
        if text.is_some_and(|text| text.chars().any(char::is_control)) {
            return Err(format!("`{field}` holds a control character"));
        }
    }
    if flow.description.as_ref().is_some_and(|text| text.contains('\0')) {
        return Err("`description` holds the character NUL".to_owned());
    }
    Ok(FlowHeader { name: flow.name, description: flow.description, suite: flow.suite, tags: flow.tags })
}

/// An error about the text as a whole, which points at its first line.
fn finding(yaml: &str, code: &str, message: String, help: &str) -> Diagnostic {
    let first: String = yaml.lines().next().unwrap_or_default().chars().take(120).collect();
    Diagnostic {
        code: code.to_owned(),
        severity: Severity::Error,
        message,
        help: Some(help.to_owned()),
        line: 1,
        column: 1,
        end_line: 1,
        end_column: 1,
        snippet: format!("{first}\n^"),
    }
}
