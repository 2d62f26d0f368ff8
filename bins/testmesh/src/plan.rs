//! What a run consists of: every flow that was asked for and matches, once for each row of its data.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use testmesh_runner::diagnostic::{Diagnostic, Severity};
use testmesh_runner::files::Files;
use testmesh_runner::flow::{Flow, ParseOptions, Row};
use testmesh_runner::record::{Execution, ExecutionError, ExecutionStatus, Trigger};
use testmesh_runner::report::ReportEntry;
use testmesh_runner::value::Value;
use testmesh_shared::clock::{Clock, SystemClock};
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;

use crate::document;
use crate::environment;
use crate::exit::Stop;
use crate::settings::Settings;
use crate::sources::{Asked, Source};
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

/// Where a run stands in the plan: its file's place, then its own among the runs of that file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    file: usize,
    run: usize,
}

/// Which flows are wanted.
#[derive(Debug)]
pub(crate) struct Filter {
    /// Every one of these tags.
    pub(crate) tags: Vec<String>,
    /// This suite.
    pub(crate) suite: Option<String>,
}

impl Filter {
    fn wants(&self, flow: &Flow) -> bool {
        self.tags.iter().all(|tag| flow.tags.contains(tag))
            && self.suite.as_deref().is_none_or(|suite| flow.suite.as_deref() == Some(suite))
    }
}

/// The runs of the files that were asked for, in their order. A file is read and compiled when its turn comes, so that
/// the first runs need not wait for the last files, and memory serves again once a run is over.
pub(crate) struct Plan {
    planner: Arc<Planner>,
    files: Arc<[Asked]>,
    /// The first file that was not looked at.
    next: usize,
    /// Files that were read and are to be compiled while nothing waits.
    large: VecDeque<(usize, Source)>,
    ready: VecDeque<(Place, Item)>,
}

/// A file whose turn it is.
pub(crate) struct Turn {
    file: usize,
    /// What is in it, if it was read already.
    source: Option<Source>,
}

/// What a file came to.
pub(crate) enum Compiled {
    /// These runs, maybe none.
    Items(Vec<Item>),
    /// It is too long to be compiled now.
    TooLong(Source),
}

impl Plan {
    /// What `files` ask for. It is known then whether there is no run, one, or more.
    ///
    /// # Errors
    /// When an environment that the flows are to have cannot be read.
    pub(crate) fn new(files: Vec<Asked>, settings: Arc<Settings>, filter: Filter) -> Result<Self, Stop> {
        let options = settings.parse_options();
        let mut planner = Planner { settings, options, filter };
        let mut ready = VecDeque::new();
        let mut next = 0;
        if planner.settings.environment.is_some() && !planner.settings.remote {
            // Each environment that was read makes its names known to the files after it.
            let mut environment = None;
            for (file, asked) in files.iter().enumerate() {
                if let Some(source) = asked.source() {
                    let values = planner.environment(&source, &mut environment)?;
                    ready.extend(placed(file, planner.items(&source, &values)));
                }
            }
            next = files.len();
        }
        let mut plan = Self { planner: Arc::new(planner), files: files.into(), next, large: VecDeque::new(), ready };
        while plan.ready.len() < 2
            && let Some(turn) = plan.turn()
        {
            let file = turn.file;
            if let Compiled::Items(items) = plan.compiler().compile(turn, usize::MAX) {
                plan.ready.extend(placed(file, items));
            }
        }
        Ok(plan)
    }

    /// Compiles what is left, on every core.
    pub(crate) fn complete(&mut self) {
        let compiler = self.compiler();
        let turns: Vec<usize> = (std::mem::replace(&mut self.next, self.files.len())..self.files.len()).collect();
        let results = spread::map(&turns, |file| compiler.compile(Turn { file: *file, source: None }, usize::MAX));
        for (file, source) in std::mem::take(&mut self.large) {
            self.add(file, compiler.items(&source));
        }
        for (file, result) in turns.into_iter().zip(results) {
            self.put(file, result);
        }
    }

    /// How many runs are known: all of them when nothing is left to compile.
    pub(crate) fn n_ready(&self) -> usize {
        self.ready.len()
    }

    /// The most runs that can go on at the same time, of `wanted`.
    pub(crate) fn n_parallel(&self, wanted: usize) -> usize {
        if self.has_turns() { wanted } else { wanted.min(self.ready.len()) }
    }

    /// Whether there is nothing left to compile or to run.
    pub(crate) fn is_over(&self) -> bool {
        self.ready.is_empty() && !self.has_turns()
    }

    /// How many files are to be compiled.
    pub(crate) fn n_turns(&self) -> usize {
        self.files.len() - self.next + self.large.len()
    }

    fn has_turns(&self) -> bool {
        self.n_turns() > 0
    }

    /// What compiles the files of this plan, for any thread.
    pub(crate) fn compiler(&self) -> Compiler {
        Compiler { planner: Arc::clone(&self.planner), files: Arc::clone(&self.files) }
    }

    /// Takes the first item that is `free`.
    pub(crate) fn take(&mut self, free: impl Fn(&Item) -> bool) -> Option<(Place, Item)> {
        let nth = self.ready.iter().position(|(_, item)| free(item))?;
        self.ready.remove(nth)
    }

    /// Takes the next file to compile. What becomes of it is to be [`Plan::put`] back.
    pub(crate) fn turn(&mut self) -> Option<Turn> {
        if let Some((file, source)) = self.large.pop_front() {
            return Some(Turn { file, source: Some(source) });
        }
        let file = self.next;
        (file < self.files.len()).then(|| {
            self.next += 1;
            Turn { file, source: None }
        })
    }

    /// As [`Plan::turn`], unless the next one is known to be long.
    pub(crate) fn short_turn(&mut self) -> Option<Turn> {
        if self.large.is_empty() { self.turn() } else { None }
    }

    /// Adds what became of a file.
    pub(crate) fn put(&mut self, file: usize, compiled: Compiled) {
        match compiled {
            Compiled::Items(items) => self.add(file, items),
            Compiled::TooLong(source) => self.large.push_back((file, source)),
        }
    }

    fn add(&mut self, file: usize, items: Vec<Item>) {
        let at = self.ready.partition_point(|(place, _)| place.file < file);
        for (nth, placed) in placed(file, items).enumerate() {
            self.ready.insert(at + nth, placed);
        }
    }
}

fn placed(file: usize, items: Vec<Item>) -> impl Iterator<Item = (Place, Item)> {
    items.into_iter().enumerate().map(move |(run, item)| (Place { file, run }, item))
}

/// Reads and compiles the files of a plan. Clones share it.
#[derive(Clone)]
pub(crate) struct Compiler {
    planner: Arc<Planner>,
    files: Arc<[Asked]>,
}

impl Turn {
    /// The file's place in the plan.
    pub(crate) fn file(&self) -> usize {
        self.file
    }
}

impl Compiler {
    /// Compiles a file, unless its text is longer than `limit` bytes. Never panics: a panic inside is a file that cannot
    /// be run.
    pub(crate) fn compile(&self, turn: Turn, limit: usize) -> Compiled {
        let asked = &self.files[turn.file];
        let compiled = std::panic::catch_unwind(AssertUnwindSafe(|| self.attempt(turn, limit)));
        compiled.unwrap_or_else(|_| {
            let message = "a fault in TestMesh while it was compiled".to_owned();
            let broken = Invalid::new(&asked.path().display().to_string(), message, Vec::new(), &SystemClock);
            Compiled::Items(vec![Item::Invalid(Box::new(broken))])
        })
    }

    fn attempt(&self, turn: Turn, limit: usize) -> Compiled {
        let Some(source) = turn.source.or_else(|| self.files[turn.file].source()) else {
            return Compiled::Items(Vec::new());
        };
        if source.text.as_deref().is_ok_and(|text| text.len() > limit) {
            return Compiled::TooLong(source);
        }
        Compiled::Items(self.items(&source))
    }

    fn items(&self, source: &Source) -> Vec<Item> {
        self.planner.items(source, &IndexMap::new())
    }

    /// Every flow of the plan by its name; of several with one name the last.
    pub(crate) fn flows(&self) -> HashMap<String, Arc<Flow>> {
        let sources = self.files.iter().filter_map(Asked::source);
        let jobs = sources.flat_map(|source| self.items(&source)).filter_map(|item| match item {
            Item::Job(job) => Some((job.flow.name.clone(), Arc::clone(&job.flow))),
            Item::Invalid(_) => None,
        });
        jobs.collect()
    }
}

struct Planner {
    settings: Arc<Settings>,
    options: ParseOptions,
    filter: Filter,
}

impl Planner {
    /// The runs that a file asks for.
    fn items(&self, source: &Source, environment: &IndexMap<String, Value>) -> Vec<Item> {
        let text = match &source.text {
            Ok(text) => text,
            Err(unread) => return vec![invalid(source, unread.reason.clone(), unread.diagnostics.clone())],
        };
        let parsed = Flow::parse(text, &self.options);
        if !parsed.is_valid() {
            let message = summary(&source.shown, &parsed.diagnostics);
            return vec![invalid(source, message, parsed.diagnostics)];
        }
        let several = parsed.flows.len() > 1;
        let mut items = Vec::with_capacity(parsed.flows.len());
        for (index, flow) in parsed.flows.into_iter().enumerate().filter(|(_, flow)| self.filter.wants(flow)) {
            match self.jobs(source, (text, several.then_some(index)), flow, environment) {
                Ok(jobs) => items.extend(jobs),
                Err(reason) => items.push(invalid(source, reason, Vec::new())),
            }
        }
        items
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

    /// The environment of the flows beside `source`; `last` is the one read before, and its folder.
    fn environment(
        &mut self,
        source: &Source,
        last: &mut Option<(PathBuf, IndexMap<String, Value>)>,
    ) -> Result<IndexMap<String, Value>, Stop> {
        let Some(name) = self.settings.environment.as_deref() else {
            return Ok(IndexMap::new());
        };
        let folder = source.folder();
        match last {
            Some((of, values)) if *of == folder => Ok(values.clone()),
            _ => {
                let values = environment::named(name, &folder)?;
                self.options.known_names.extend(values.keys().cloned());
                *last = Some((folder, values.clone()));
                Ok(values)
            }
        }
    }
}

fn invalid(source: &Source, message: String, diagnostics: Vec<Diagnostic>) -> Item {
    Item::Invalid(Box::new(Invalid::new(&source.shown, message, diagnostics, &SystemClock)))
}

/// All mistakes of a file as plain text.
pub(crate) fn summary(file: &str, diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    errors.map(|diagnostic| diagnostic.render(Some(file), false)).collect::<Vec<_>>().join("\n")
}
