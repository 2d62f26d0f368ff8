//! What is wrong with a flow file, where, and what to do about it.
// SKELETON: owner L2 (adds codes, `SourceMap`, rendering with line and caret).

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
