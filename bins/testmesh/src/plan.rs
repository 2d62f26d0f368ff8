//! What a run consists of: every flow that was asked for and matches, once for each row of its data.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use testmesh_runner::diagnostic::{Diagnostic, Severity};
use testmesh_runner::files::Files;
use testmesh_runner::flow::{Flow, ParseOptions, Parsed, Row};
use testmesh_runner::record::{Execution, ExecutionError, ExecutionStatus, Trigger};
use testmesh_runner::report::ReportEntry;
use testmesh_runner::value::Value;
use testmesh_shared::clock::Clock;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;

use crate::document;
use crate::environment;
use crate::exit::Stop;
use crate::settings::Settings;
use crate::sources::Source;
use crate::spread;

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Item {
    /// A run.
    Job(Arc<Job>),
    /// A file that cannot be run: one failed test.
    Invalid(Box<Invalid>),
}

/// One run of one flow.
#[derive(Debug)]
pub(crate) struct Job {
    /// The file as it is shown.
    pub(crate) file: String,
    /// The flow.
    pub(crate) flow: Arc<Flow>,
    /// The flow's name, with the row's number when it has data.
    pub(crate) name: String,
    /// The file's text.
    pub(crate) text: Arc<str>,
    /// Which document of the text it is; none when it has one only.
    pub(crate) document: Option<usize>,
    /// `--var` and the data row.
    pub(crate) variables: IndexMap<String, Value>,
    /// The flow's `env_file` below `--env-file`.
    pub(crate) env_file: IndexMap<String, String>,
    /// The environment's variables, when it is kept here.
    pub(crate) environment: IndexMap<String, Value>,
    /// The files it may read.
    pub(crate) files: Files,
}

impl Job {
    /// The text of the flow alone.
    pub(crate) fn document(&self) -> String {
        match self.document {
            Some(index) => document::alone(&self.text, index),
            None => self.text.to_string(),
        }
    }
}

/// A file that cannot be run.
#[derive(Debug)]
pub(crate) struct Invalid {
    /// What the reports say.
    pub(crate) entry: ReportEntry,
    /// What is wrong, when the text is.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Invalid {
    /// A file with mistakes, or one that cannot be read.
    pub(crate) fn new(file: &str, message: String, diagnostics: Vec<Diagnostic>, clock: &dyn Clock) -> Self {
        let now = clock.now();
        let mut execution = Execution::queued(ExecutionId::generate(clock), file, Trigger::Cli, now);
        execution.status = ExecutionStatus::Error;
        execution.finished_at = Some(now);
        execution.duration_ms = Some(0);
        execution.error = Some(ExecutionError { code: ErrorCode::InvalidFlow, message });
        execution.steps = Some(Vec::new());
        Self { entry: ReportEntry { file: Some(file.to_owned()), execution }, diagnostics }
    }
}

/// Which flows are wanted.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    /// Every one of these tags.
    pub(crate) tags: &'a [String],
    /// This suite.
    pub(crate) suite: Option<&'a str>,
}

impl Filter<'_> {
    fn wants(&self, flow: &Flow) -> bool {
        self.tags.iter().all(|tag| flow.tags.contains(tag))
            && self.suite.is_none_or(|suite| flow.suite.as_deref() == Some(suite))
    }
}

/// The runs that `sources` ask for.
pub(crate) fn make(
    sources: &[Source],
    settings: &Settings,
    filter: &Filter<'_>,
    clock: &dyn Clock,
) -> Result<Vec<Item>, Stop> {
    let mut planner = Planner { settings, options: settings.parse_options(), clock, environment: None };
    let mut items = Vec::with_capacity(sources.len());
    if planner.reads_environments() {
        for source in sources {
            planner.add(source, None, filter, &mut items)?;
        }
        return Ok(items);
    }
    // No file changes what is known to the next one, so they are compiled side by side.
    let options = &planner.options;
    let parsed = spread::map(sources, |source| Some(Flow::parse(source.text.as_deref().ok()?, options)));
    for (source, parsed) in sources.iter().zip(parsed) {
        planner.add(source, parsed, filter, &mut items)?;
    }
    Ok(items)
}

struct Planner<'a> {
    settings: &'a Settings,
    options: ParseOptions,
    clock: &'a dyn Clock,
    /// The environment read last, and the folder it was read for.
    environment: Option<(PathBuf, IndexMap<String, Value>)>,
}

impl Planner<'_> {
    /// Whether the flows get an environment that is kept in files beside them.
    fn reads_environments(&self) -> bool {
        self.settings.environment.is_some() && !self.settings.remote
    }

    /// Adds what `source` asks for; `parsed` is its text, if that is compiled already.
    fn add(
        &mut self,
        source: &Source,
        parsed: Option<Parsed>,
        filter: &Filter<'_>,
        items: &mut Vec<Item>,
    ) -> Result<(), Stop> {
        let text = match &source.text {
            Ok(text) => text,
            Err(unread) => {
                items.push(self.invalid(source, unread.reason.clone(), unread.diagnostics.clone()));
                return Ok(());
            }
        };
        let environment = self.environment(source)?;
        let parsed = parsed.unwrap_or_else(|| Flow::parse(text, &self.options));
        if !parsed.is_valid() {
            let message = summary(&source.shown, &parsed.diagnostics);
            items.push(self.invalid(source, message, parsed.diagnostics));
            return Ok(());
        }
        let several = parsed.flows.len() > 1;
        for (index, flow) in parsed.flows.into_iter().enumerate().filter(|(_, flow)| filter.wants(flow)) {
            match self.jobs(source, (text, several.then_some(index)), flow, &environment) {
                Ok(jobs) => items.extend(jobs),
                Err(reason) => items.push(self.invalid(source, reason, Vec::new())),
            }
        }
        Ok(())
    }

    fn jobs(
        &self,
        source: &Source,
        (text, document): (&Arc<str>, Option<usize>),
        flow: Flow,
        environment: &IndexMap<String, Value>,
    ) -> Result<Vec<Item>, String> {
        let files = self.settings.files(source.folder());
        let mut env_file = IndexMap::new();
        if let Some(path) = &flow.env_file {
            env_file = environment::flow_dotenv(path, &files)?;
        }
        env_file.extend(self.settings.env_file.clone());
        let rows = flow.data_rows(&files)?;
        let flow = Arc::new(flow);
        let job = |row: Option<(usize, Row)>| {
            let mut variables = self.settings.variables.clone();
            let mut name = flow.name.clone();
            if let Some((number, row)) = row {
                name = format!("{name} [row {number}]");
                variables.extend(row);
            }
            Item::Job(Arc::new(Job {
                file: source.shown.clone(),
                flow: Arc::clone(&flow),
                name,
                text: Arc::clone(text),
                document,
                variables,
                env_file: env_file.clone(),
                environment: environment.clone(),
                files: files.clone(),
            }))
        };
        Ok(match rows {
            None => vec![job(None)],
            Some(rows) => (1..).zip(rows).map(|row| job(Some(row))).collect(),
        })
    }

    fn environment(&mut self, source: &Source) -> Result<IndexMap<String, Value>, Stop> {
        let Some(name) = self.settings.environment.as_deref().filter(|_| !self.settings.remote) else {
            return Ok(IndexMap::new());
        };
        let folder = source.folder();
        match &self.environment {
            Some((of, values)) if *of == folder => Ok(values.clone()),
            _ => {
                let values = environment::named(name, &folder)?;
                self.options.known_names.extend(values.keys().cloned());
                self.environment = Some((folder, values.clone()));
                Ok(values)
            }
        }
    }

    fn invalid(&self, source: &Source, message: String, diagnostics: Vec<Diagnostic>) -> Item {
        Item::Invalid(Box::new(Invalid::new(&source.shown, message, diagnostics, self.clock)))
    }
}

/// All mistakes of a file as plain text.
pub(crate) fn summary(file: &str, diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    errors.map(|diagnostic| diagnostic.render(Some(file), false)).collect::<Vec<_>>().join("\n")
}
