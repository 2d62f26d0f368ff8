//! What an action is: a description that validation, the reference and the editor schema share, and the code that does it.
//!
//! One file each under `actions/`, one line each in [`crate::actions::registry`].

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::engine::{ActionContext, at_once};
use crate::expr::Expr;
use crate::flow::{Assertion, Step};
use crate::template::Tree;
use crate::value::Value;

/// The description of an action.
#[derive(Debug)]
pub(crate) struct ActionSpec {
    /// Its name: `http_request`.
    pub name: &'static str,
    /// Other names it answers to.
    pub aliases: &'static [&'static str],
    /// One line: what it does.
    pub summary: &'static str,
    /// More, as Markdown; may be empty.
    pub description: &'static str,
    /// What `config` takes.
    pub config: &'static [Field],
    /// Whether `config` may hold keys that are not listed (then they are not reported).
    pub open_config: bool,
    /// What the result holds.
    pub result: &'static [ResultField],
    /// Whether the result may hold keys that are not listed.
    pub open_result: bool,
    /// Result keys that stay the result's in output paths, where others look in the body first.
    pub reserved: &'static [&'static str],
    /// Steps in YAML that validate as they stand (each is a list with one or more steps).
    pub examples: &'static [Example],
}

/// A key of `config`.
#[derive(Debug)]
pub(crate) struct Field {
    /// Its name.
    pub name: &'static str,
    /// Other spellings, accepted without a warning.
    pub aliases: &'static [&'static str],
    /// What it takes.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
    /// The default, as text for the reference: `30s`.
    pub default: Option<&'static str>,
    /// What it means, one or two sentences.
    pub doc: &'static str,
}

/// What a key takes. A text that is exactly one reference fits every kind and is checked again when it is resolved.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Anything.
    Any,
    /// Text; numbers and booleans are taken as their written text.
    Text,
    /// An integer in this range.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// `true` or `false`.
    Boolean,
    /// `300ms`, `1.5s`, `1h30m`, or a number of seconds; zero allowed or not.
    Duration {
        /// Whether zero is allowed.
        zero: bool,
    },
    /// A number of bytes: `10MiB`, `512KB`, or a plain number.
    Size,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of this, or one alone.
    List(&'static Kind),
    /// A map with values of this kind.
    Map(&'static Kind),
    /// A map with these keys.
    Object(&'static [Field]),
    /// Any of these.
    OneOf(&'static [Kind]),
    /// Text in a language of its own, checked when the flow is parsed.
    Pattern(Pattern),
    /// A map from paths such as `$.user.id` to values of this kind.
    Paths(&'static Kind),
    /// This, kept as it is written: the action itself resolves its references, each when it is due. A key of `config`
    /// only, and not inside of another kind.
    Held(&'static Kind),
    /// This, with references to the request that a mock has at hand; inside of [`Kind::Held`].
    OnRequest(&'static Kind),
    /// An expression, compiled when the flow is parsed.
    Expression,
    /// One or more assertions, compiled when the flow is parsed.
    Assertions,
    /// Nested steps, compiled when the flow is parsed.
    Steps,
    /// A list of `{name, steps}`, compiled when the flow is parsed.
    Branches,
}

/// What a text of [`Kind::Pattern`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// A regular expression (linear-time).
    Regex,
    /// A path into a value: `$.user.id`.
    Path,
    /// The path of a URL, with parameters and wildcards: `/users/:id`.
    Route,
}

/// Steps that run beside other steps.
#[derive(Debug, Clone)]
pub struct Branch {
    /// Its name; `branch_<n>` when the flow gives none.
    pub name: String,
    /// Its steps.
    pub steps: Vec<Step>,
}

/// A key of the result.
#[derive(Debug)]
pub(crate) struct ResultField {
    /// Its name.
    pub name: &'static str,
    /// Its type, for the reference: `integer`, `map`, `any`.
    pub kind: &'static str,
    /// What it is.
    pub doc: &'static str,
}

/// An example for the reference.
#[derive(Debug)]
pub(crate) struct Example {
    /// What it shows.
    pub title: &'static str,
    /// A YAML list of steps.
    pub yaml: &'static str,
}

/// What is wrong with a configuration though each key takes what it has.
#[derive(Debug)]
pub(crate) struct Mistake {
    /// The key that it is about; none: all of them.
    pub(crate) key: Option<&'static str>,
    /// Of a list, the item.
    pub(crate) item: Option<usize>,
    /// What is wrong.
    pub(crate) message: String,
}

/// A step's `config`, compiled: canonical key names, in the order written.
#[derive(Debug, Clone, Default)]
pub struct StepConfig {
    /// Its keys.
    pub fields: Vec<(String, ConfigField)>,
}

/// One key's compiled value.
#[derive(Debug, Clone)]
pub enum ConfigField {
    /// Literals and templates, resolved when the step runs.
    Tree(Tree),
    /// From [`Kind::Expression`].
    Expression(Expr),
    /// From [`Kind::Assertions`].
    Assertions(Vec<Assertion>),
    /// From [`Kind::Steps`].
    Steps(Vec<Step>),
    /// From [`Kind::Branches`].
    Branches(Vec<Branch>),
    /// From [`Kind::Held`].
    Held(Tree),
}

impl StepConfig {
    /// The compiled value of a key.
    pub(crate) fn get(&self, name: &str) -> Option<&ConfigField> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, field)| field)
    }

    /// The expression at a key of [`Kind::Expression`].
    pub(crate) fn expression(&self, name: &str) -> Option<&Expr> {
        match self.get(name) {
            Some(ConfigField::Expression(expression)) => Some(expression),
            _ => None,
        }
    }

    /// The assertions at a key of [`Kind::Assertions`].
    pub(crate) fn assertions(&self, name: &str) -> &[Assertion] {
        match self.get(name) {
            Some(ConfigField::Assertions(assertions)) => assertions,
            _ => &[],
        }
    }

    /// The branches at a key of [`Kind::Branches`].
    pub(crate) fn branches(&self, name: &str) -> &[Branch] {
        match self.get(name) {
            Some(ConfigField::Branches(branches)) => branches,
            _ => &[],
        }
    }

    /// The tree at a key of [`Kind::Held`].
    pub(crate) fn held(&self, name: &str) -> Option<&Tree> {
        match self.get(name) {
            Some(ConfigField::Held(tree)) => Some(tree),
            _ => None,
        }
    }

    /// The steps at a key of [`Kind::Steps`].
    pub(crate) fn steps(&self, name: &str) -> &[Step] {
        match self.get(name) {
            Some(ConfigField::Steps(steps)) => steps,
            _ => &[],
        }
    }
}

/// What an action came back with.
#[derive(Debug, Clone, Default)]
pub(crate) struct ActionResult {
    /// The result, a map: `status`, `body` …
    pub(crate) result: Value,
    /// What `$` alone means in outputs, and where `$.x` looks first; `None`: the result.
    pub(crate) primary: Option<Value>,
    /// What was asked, for the record (`method`, `url`, `headers`, `body` …).
    pub(crate) request: Shown,
    /// What came back, for the record.
    pub(crate) response: Shown,
}

/// A request or a response, for the record.
#[derive(Clone, Default)]
pub(crate) enum Shown {
    /// There is nothing to show.
    #[default]
    Nothing,
    /// This value.
    Value(Value),
    /// What this makes, when somebody looks.
    Later(Arc<dyn Fn() -> Value + Send + Sync>),
}

impl Shown {
    /// The value; null when there is nothing to show.
    pub(crate) fn value(&self) -> Value {
        match self {
            Shown::Nothing => Value::Null,
            Shown::Value(value) => value.clone(),
            Shown::Later(make) => make(),
        }
    }
}

impl From<Value> for Shown {
    fn from(value: Value) -> Self {
        if value.is_null() { Shown::Nothing } else { Shown::Value(value) }
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Shown::Later(_) => out.write_str("Later"),
            shown => shown.value().fmt(out),
        }
    }
}

/// Why an action could not be done.
#[derive(Debug, Clone)]
pub(crate) struct ActionError {
    /// What kind of trouble.
    pub(crate) kind: crate::record::ErrorKind,
    /// A lower-case fragment that names the target and the cause (no password in it).
    pub(crate) message: String,
    /// What there is of a result and a request all the same.
    pub(crate) partial: Option<Box<ActionResult>>,
}

impl ActionError {
    /// An error without a partial result.
    pub(crate) fn new(kind: crate::record::ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), partial: None }
    }
}

/// An action: stateless, shared by every run.
#[async_trait]
pub(crate) trait Action: Send + Sync {
    /// Its description.
    fn spec(&self) -> &'static ActionSpec;
    /// Whether it runs nested steps or another flow. It is then told to stop ([`ActionContext::stop`]) and ends in order,
    /// where the future of any other action is dropped.
    fn runs_steps(&self) -> bool {
        false
    }
    /// Whether waiting is what it is for, so that the default time-out of 30 s does not fit it.
    fn waits(&self) -> bool {
        false
    }
    /// As [`Action::waits`], of one step.
    fn waits_in(&self, _step: &Step) -> bool {
        self.waits()
    }
    /// What validation can say of a configuration that its description cannot. Looks at what is written out, not at what
    /// references will come to.
    fn mistakes(&self, _config: &StepConfig) -> Vec<Mistake> {
        Vec::new()
    }
    /// How what it waits for is armed before the act (`background: true`), when it waits for something.
    fn arms(&self) -> Option<&dyn Arm> {
        None
    }
    /// Does it. Dropping the future stops it for real: sockets close, children end.
    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError>;
}

/// What was armed: what came, and whether it was enough. Dropping it ends the subscription.
pub(crate) type Expectation = BoxFuture<'static, Result<ActionResult, ActionError>>;

/// An action that waits for what other steps cause.
#[async_trait]
pub(crate) trait Arm: Send + Sync {
    /// Why this step cannot be armed: it does not wait.
    fn refuses(&self, _step: &Step) -> Option<&'static str> {
        None
    }
    /// Subscribes: when it returns, nothing that happens from then on is missed. How long the expectation waits is
    /// [`ActionContext::patience`].
    async fn arm(&self, cx: &ActionContext<'_>) -> Result<Expectation, ActionError>;
}

/// An action that does nothing but wait for what other steps cause.
pub(crate) trait Waits: Arm {
    /// Its description.
    const SPEC: &'static ActionSpec;
}

#[async_trait]
impl<T: Waits> Action for T {
    fn spec(&self) -> &'static ActionSpec {
        T::SPEC
    }

    fn waits(&self) -> bool {
        true
    }

    fn arms(&self) -> Option<&dyn Arm> {
        Some(self)
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        at_once(self, cx).await
    }
}
