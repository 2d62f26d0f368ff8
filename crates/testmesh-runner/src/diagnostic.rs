//! What is wrong with a flow file, where, and what to do about it.
//!
//! A finding is complete in itself: it carries the line it is about, so that whoever shows it needs no file.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The flow cannot run.
    Error,
    /// The flow runs, but perhaps not as meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One finding. Lines and columns count from 1; columns count characters; the end is one past the last character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnostic {
    /// A stable `snake_case` word.
    pub code: String,
    /// Error or warning.
    pub severity: Severity,
    /// A lower-case fragment that names the thing.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// First line.
    pub line: u32,
    /// First column.
    pub column: u32,
    /// Last line.
    pub end_line: u32,
    /// One past the last column.
    pub end_column: u32,
    /// The first line's text and a line with carets below it.
    pub snippet: String,
}

impl Diagnostic {
    /// The finding as people read it: what, where, the line with carets, and what to do. With `color`, ANSI escapes.
    pub fn render(&self, file: Option<&str>, color: bool) -> String {
        let paint = Paint { on: color };
        let accent = match self.severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
        };
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let bar = paint.with("1;34", "|");
        let mut text = String::new();
        let head = format!("{}[{}]", self.severity.as_str(), self.code);
        let _ = writeln!(text, "{}: {}", paint.with(accent, &head), paint.with("1", &self.message));
        let place = format!("{}:{}:{}", file.unwrap_or("flow"), self.line, self.column);
        let _ = writeln!(text, "{margin}{} {place}", paint.with("1;34", "-->"));
        let mut lines = self.snippet.lines();
        if let Some(source) = lines.next() {
            let _ = writeln!(text, "{margin} {bar}");
            let _ = writeln!(text, "{} {bar} {source}", paint.with("1;34", &number));
            let carets = lines.next().unwrap_or_default();
            let _ = writeln!(text, "{margin} {bar} {}", paint.with(accent, carets));
        }
        if let Some(help) = &self.help {
            let _ = writeln!(text, "{margin} {} {}: {help}", paint.with("1;34", "="), paint.with("1", "help"));
        }
        text
    }
}

/// Wraps text in ANSI escapes, or does not.
struct Paint {
    on: bool,
}

impl Paint {
    fn with(&self, style: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+) => {
        /// Every kind of finding. Its text is stable: tools may match on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// The stable word.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)+ }
            }

            /// What it means, one sentence.
            pub fn explanation(self) -> &'static str {
                match self { $(Code::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

codes! {
    /// The file is not UTF-8 text.
    NotUtf8 = "not_utf8",
    /// The file is not YAML; nothing after this place was looked at.
    YamlSyntax = "yaml_syntax",
    /// The file holds no flow.
    EmptyFile = "empty_file",
    /// A limit on the size or depth of a file is passed.
    LimitExceeded = "limit_exceeded",
    /// A key is written twice in one map.
    DuplicateKey = "duplicate_key",
    /// A key means nothing here and is ignored.
    UnknownKey = "unknown_key",
    /// A key that must be there is not.
    MissingKey = "missing_key",
    /// A value is of the wrong type.
    WrongType = "wrong_type",
    /// A value is of the right type but not one that is allowed.
    InvalidValue = "invalid_value",
    /// A duration is not written like `300ms`, `1.5s`, `2m`, `1h30m`, `1d`.
    BadDuration = "bad_duration",
    /// A size is not written like `512KB`, `10MiB`.
    BadSize = "bad_size",
    /// A regular expression, a path into a value or the path of a URL cannot be read.
    BadPattern = "bad_pattern",
    /// Zero stands where a length of time is meant.
    ZeroInterval = "zero_interval",
    /// A step's id is not a letter or `_` followed by letters, digits, `_` and `-`.
    BadId = "bad_id",
    /// Two steps of one phase have the same id.
    DuplicateId = "duplicate_id",
    /// No action has this name.
    UnknownAction = "unknown_action",
    /// The action is part of the language, but this release does not have it.
    ActionNotAvailable = "action_not_available",
    /// An expression does not parse.
    ExpressionSyntax = "expression_syntax",
    /// A text with references does not parse.
    TemplateSyntax = "template_syntax",
    /// A path into a result does not parse.
    PathSyntax = "path_syntax",
    /// A name is not defined anywhere in the file.
    UndefinedReference = "undefined_reference",
    /// A name is defined only by a later step.
    ReferenceBeforeDefinition = "reference_before_definition",
    /// An assertion cannot fail.
    AssertionAlwaysTrue = "assertion_always_true",
    /// An assertion cannot hold.
    AssertionAlwaysFalse = "assertion_always_false",
    /// Something that looks like a secret is written into the file.
    SecretInFile = "secret_in_file",
    /// An SQL text is built by inserting captured values.
    SqlSpliced = "sql_spliced",
    /// A Kafka consumer reads from the beginning and takes whatever comes first.
    KafkaNoMatch = "kafka_no_match",
    /// A step awaits what no step before it in its phase has armed.
    AwaitUnknown = "await_unknown",
    /// What a step armed is awaited a second time.
    AwaitedTwice = "awaited_twice",
    /// What a step armed is awaited by none.
    NeverAwaited = "never_awaited",
}
