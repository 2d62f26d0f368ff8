//! A flow, compiled: everything that can be decided from its text is decided here, once.

mod armed;
mod assertion;
mod branches;
mod check;
mod config;
mod data;
mod decode;
mod dotenv;
mod facts;
mod findings;
mod format;
mod json_schema;
mod kinds;
mod lint;
mod offsets;
#[cfg(feature = "plugins")]
mod plugin;
mod policy;
mod reader;
mod reference;
mod scalar;
mod source;
mod step;
pub(crate) mod suggest;
mod text;
mod variables;
mod yaml;

use std::time::Duration;

pub use self::data::{Row, rows_from_csv, rows_from_json};
pub use self::dotenv::{DotenvError, DotenvProblem, parse_dotenv};
use self::findings::Findings;
pub use self::format::format;
pub use self::json_schema::json_schema;
pub use self::lint::looks_like_secret;
pub use self::reference::{ReferencePage, reference};
use self::source::Span;
pub(crate) use self::variables::parse_data;
pub use self::variables::parse_variables;
use crate::action::{ConfigField, StepConfig};
use crate::diagnostic::{Code, Diagnostic};
use crate::expr::Expr;
use crate::path::ResultPath;
use crate::plugins::Plugins;
use crate::template::{Template, Tree};

/// A compiled flow.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Its name, 1–255 characters.
    pub name: String,
    /// What it tests.
    pub description: Option<String>,
    /// Who wrote it.
    pub author: Option<String>,
    /// The author's own version text.
    pub version: Option<String>,
    /// The suite it belongs to.
    pub suite: Option<String>,
    /// Its tags, in the order written.
    pub tags: Vec<String>,
    /// Variables of its own, in the order written; values keep their written text.
    pub env: Vec<(String, Template)>,
    /// A dotenv file, relative to the flow file.
    pub env_file: Option<String>,
    /// Limits and habits.
    pub config: FlowConfig,
    /// What a caller may pass.
    pub input: Vec<(String, InputSpec)>,
    /// What a caller of `run_flow` gets back.
    pub output: Vec<(String, OutputSource)>,
    /// Rows to run it with.
    pub data: Option<Data>,
    /// Runs first; once it has started, teardown runs too.
    pub setup: Vec<Step>,
    /// The test.
    pub steps: Vec<Step>,
    /// Always runs.
    pub teardown: Vec<Step>,
}

/// `config` of a flow.
#[derive(Debug, Clone)]
pub struct FlowConfig {
    /// Time for setup and steps together (default 10 min).
    pub timeout: Duration,
    /// Whether the first failed step ends the phase (default true).
    pub fail_fast: bool,
    /// Retry for steps that have none of their own.
    pub retry: Option<Retry>,
    /// Whether warnings are errors and a teardown failure fails the run (default false).
    pub strict: bool,
    /// Flows with the same lock never run at the same time.
    pub lock: Option<String>,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self { timeout: Duration::from_mins(10), fail_fast: true, retry: None, strict: false, lock: None }
    }
}

/// A declared input.
#[derive(Debug, Clone)]
pub struct InputSpec {
    /// `string`, `integer`, `number`, `boolean`, `list`, `map`; none: anything.
    pub kind: Option<String>,
    /// Whether it must be passed.
    pub required: bool,
    /// What it is when it is not passed.
    pub default: Option<Tree>,
}

/// Rows of a data-driven flow.
#[derive(Debug, Clone)]
pub enum Data {
    /// Written in the flow: one map each.
    Rows(Vec<Tree>),
    /// A CSV or JSON file, relative to the flow file.
    File(String),
}

/// A step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Unique within its phase; `<phase>_<n>` when the flow gives none.
    pub id: String,
    /// The action's canonical name.
    pub action: &'static str,
    /// What the name says beyond that: the `hset` of `redis.hset`.
    pub verb: Option<String>,
    /// For people; may hold references.
    pub name: Option<Template>,
    /// For people.
    pub description: Option<String>,
    /// For the action.
    pub config: StepConfig,
    /// All must hold.
    pub assert: Vec<Assertion>,
    /// At least one must hold.
    pub assert_any: Vec<Assertion>,
    /// None may hold.
    pub assert_none: Vec<Assertion>,
    /// What is captured.
    pub output: Vec<Output>,
    /// False: the step is skipped.
    pub when: Option<Expr>,
    /// Tries again after an action error or a failed assertion.
    pub retry: Option<Retry>,
    /// Repeats until a condition holds.
    pub poll: Option<Poll>,
    /// For each attempt of the action, when the flow says so. (Otherwise 30 s; none for control flow and `delay`, which
    /// the flow's own time-out limits, and for actions that are given a `timeout` of their own.)
    pub timeout: Option<Duration>,
    /// What happens after a failure.
    pub on_error: OnError,
    /// Skipped, with that as the reason.
    pub disabled: bool,
    /// It only arms its expectation, which a later step awaits.
    pub background: bool,
    /// What it awaits, when it is a step that does.
    pub awaits: Option<Awaits>,
    /// Its first line in the file, from 1.
    pub line: u32,
}

impl Step {
    /// Whether an assertion of the step looks at `root`: the `error` of `error.code == 404`.
    pub(crate) fn asserts_on(&self, root: &str) -> bool {
        let all = self.assert.iter().chain(&self.assert_any).chain(&self.assert_none);
        all.flat_map(|assertion| assertion.expression.references()).any(|reference| reference.root == root)
    }
}

/// An armed step that another awaits.
#[derive(Debug, Clone)]
pub struct Awaits {
    /// Its id.
    pub id: String,
    /// Its action's canonical name.
    pub action: &'static str,
}

/// A condition that must hold.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// The condition.
    pub expression: Expr,
    /// What to say when it does not hold, instead of what was compared.
    pub message: Option<Template>,
    /// The JSON Schema form: `{response: ${x}, matches_schema: {...}}` has the value's tree here.
    pub schema: Option<SchemaAssertion>,
    /// Its line in the file, from 1.
    pub line: u32,
}

/// A value that must match a JSON Schema written in the flow.
#[derive(Debug, Clone)]
pub struct SchemaAssertion {
    /// The value; none: the step's body or result.
    pub value: Option<Tree>,
    /// The schema.
    pub schema: Tree,
}

/// A captured value.
#[derive(Debug, Clone)]
pub struct Output {
    /// The name it is known by.
    pub name: String,
    /// Where it comes from.
    pub source: OutputSource,
    /// What it is when there is no value.
    pub default: Option<Tree>,
    /// Its line in the file, from 1.
    pub line: u32,
}

/// Where an output comes from.
#[derive(Debug, Clone)]
pub enum OutputSource {
    /// A path into the result.
    Path(ResultPath),
    /// Text with references, or a literal that is no text.
    Tree(Tree),
}

/// How often a step is tried, and how long between.
#[derive(Debug, Clone)]
pub struct Retry {
    /// 1–20, the first included.
    pub max_attempts: u32,
    /// Before the second attempt (default 1 s).
    pub delay: Duration,
    /// How the delay grows (default fixed).
    pub backoff: Backoff,
    /// The longest delay (default 30 s).
    pub max_delay: Duration,
    /// Whether a random part is taken off each delay (default false).
    pub jitter: bool,
    /// Only failures for which this holds (`error.kind`, `status` … in scope).
    pub retry_on: Option<Expr>,
}

/// How a delay grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// Always the same.
    Fixed,
    /// delay × n.
    Linear,
    /// delay × 2ⁿ⁻¹.
    Exponential,
}

/// Repeats an action until its result is as wanted.
#[derive(Debug, Clone)]
pub struct Poll {
    /// Ends well.
    pub until: Expr,
    /// Ends at once, as a failure.
    pub fail_when: Option<Expr>,
    /// Between two attempts (default 1 s).
    pub interval: Duration,
    /// How the interval grows (default fixed).
    pub backoff: Backoff,
    /// For all attempts together (default 30 s).
    pub timeout: Duration,
}

/// What happens after a step failed.
#[derive(Debug, Clone)]
pub enum OnError {
    /// The phase ends (unless `fail_fast` is off), the run fails.
    Fail,
    /// The step counts as tolerated.
    Continue,
    /// These steps run, then as `Fail` or, with `tolerate`, as `Continue`.
    Handle {
        /// The steps.
        steps: Vec<Step>,
        /// Whether the flow goes on as if tolerated.
        tolerate: bool,
    },
}

/// What the parser takes into account besides the text.
#[derive(Debug, Clone, Default)]
pub struct ParseOptions {
    /// Warnings become errors.
    pub strict: bool,
    /// Names that will be defined at run time (`--var`, environment …), so that they are not reported.
    pub known_names: Vec<String>,
    /// Limits on what is read.
    pub limits: Limits,
    /// The plugins where flows run.
    pub plugins: Plugins,
}

/// Limits on a flow file.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of the file (default 1 MiB).
    pub file_bytes: usize,
    /// Steps, nested ones included (default 1,000).
    pub steps: usize,
    /// Depth of nested steps (default 10).
    pub nesting: usize,
    /// Bytes of one string (default 1 MiB).
    pub string_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 1 << 20, steps: 1_000, nesting: 10, string_bytes: 1 << 20 }
    }
}

/// What a text came to.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    /// The flows without errors, in the order of their documents.
    pub flows: Vec<Flow>,
    /// Everything found, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether nothing is an error.
    pub fn is_valid(&self) -> bool {
        !self.diagnostics.iter().any(|finding| finding.severity == crate::diagnostic::Severity::Error)
    }
}

impl Flow {
    /// Compiles every document of a flow file and reports every mistake in one go. Never panics, whatever the text.
    pub fn parse(text: &str, options: &ParseOptions) -> Parsed {
        let mut findings = Findings::new(text);
        let limit = options.limits.file_bytes;
        if text.len() > limit {
            let message = format!("the file has {} bytes, more than {limit}", text.len());
            let help = "split it into several files".to_owned();
            findings.error(Code::LimitExceeded, Span::new(0, 0), message).help(help);
            return Parsed { flows: Vec::new(), diagnostics: findings.into_sorted() };
        }
        let documents = yaml::documents(text, options.limits.string_bytes, &mut findings);
        if documents.is_empty() && findings.len() == 0 {
            let help = "write a map with `name` and `steps`; `testmesh init` makes a flow to begin with".to_owned();
            findings.error(Code::EmptyFile, Span::new(0, 0), "the file holds no flow").help(help);
        }
        let broken = findings.any_error_since(0);
        let flows = documents.iter().filter_map(|document| decode::flow(document, options, &mut findings)).collect();
        Parsed { flows: if broken { Vec::new() } else { flows }, diagnostics: findings.into_sorted() }
    }

    /// Like [`Flow::parse`] for bytes that may be anything.
    pub fn parse_bytes(bytes: &[u8], options: &ParseOptions) -> Parsed {
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => return Self::parse(text, options),
            Err(error) => error,
        };
        let valid = &bytes[..error.valid_up_to()];
        let text = String::from_utf8_lossy(valid);
        let mut findings = Findings::new(&text);
        let help = match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it looks like UTF-16; save it as UTF-8",
            _ => "save it as UTF-8",
        };
        let message = format!("the file is not UTF-8 text: byte {} is not part of a character", valid.len());
        findings.error(Code::NotUtf8, Span::new(text.len(), text.len()), message).help(help.to_owned());
        Parsed { flows: Vec::new(), diagnostics: findings.into_sorted() }
    }

    /// How many steps it has, nested ones included.
    pub fn step_count(&self) -> usize {
        [&self.setup, &self.steps, &self.teardown].into_iter().map(|steps| count(steps)).sum()
    }
}

fn count(steps: &[Step]) -> usize {
    let nested = |step: &Step| {
        let configured = step.config.fields.iter().map(|(_, field)| match field {
            ConfigField::Steps(steps) => count(steps),
            ConfigField::Branches(branches) => branches.iter().map(|branch| count(&branch.steps)).sum(),
            ConfigField::Tree(_) | ConfigField::Expression(_) | ConfigField::Assertions(_) | ConfigField::Held(_) => 0,
        });
        let handled = match &step.on_error {
            OnError::Handle { steps, .. } => count(steps),
            OnError::Fail | OnError::Continue => 0,
        };
        1 + configured.sum::<usize>() + handled
    };
    steps.iter().map(nested).sum()
}
