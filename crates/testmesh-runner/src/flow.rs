//! A flow, compiled: everything that can be decided from its text is decided here, once.
// SKELETON: owner L2 implements parsing in flow/{yaml,decode,check,schema,format,…}.rs; keeps the model.

use std::time::Duration;

use crate::action::StepConfig;
use crate::diagnostic::Diagnostic;
use crate::expr::Expr;
use crate::path::ResultPath;
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
        Self { timeout: Duration::from_secs(600), fail_fast: true, retry: None, strict: false, lock: None }
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
    /// For each attempt of the action (default 30 s; none for control flow and `delay`, which the flow's own limits).
    pub timeout: Option<Duration>,
    /// What happens after a failure.
    pub on_error: OnError,
    /// Skipped, with that as the reason.
    pub disabled: bool,
    /// Its first line in the file, from 1.
    pub line: u32,
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
#[derive(Debug, Clone)]
pub struct ParseOptions {
    /// Warnings become errors.
    pub strict: bool,
    /// Names that will be defined at run time (`--var`, environment …), so that they are not reported.
    pub known_names: Vec<String>,
    /// Limits on what is read.
    pub limits: Limits,
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self { strict: false, known_names: Vec::new(), limits: Limits::default() }
    }
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
        let _ = (text, options);
        unimplemented!()
    }

    /// How many steps it has, nested ones included.
    pub fn step_count(&self) -> usize {
        unimplemented!()
    }
}
