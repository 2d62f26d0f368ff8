//! Named variables that a run can be given.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod find;
pub(crate) mod list;
pub(crate) mod update;

use indexmap::IndexMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use testmesh_shared::error::ErrorCode;

use crate::extract::path::check_word;
use crate::problem::Problem;

/// What a path segment holds unencoded (RFC 3986, unreserved).
const SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn not_found(name: &str) -> Problem {
    Problem::new(ErrorCode::EnvironmentNotFound, format!("environment `{name}` does not exist"))
}

fn path(name: &str) -> String {
    format!("/api/v1/environments/{}", utf8_percent_encode(name, &SEGMENT))
}

/// A name must stand in a path, where `.` and `..` mean something else.
fn check_name(name: &str) -> Result<(), Problem> {
    check_word("name", name)?;
    if matches!(name, "." | "..") {
        return Err(Problem::invalid("`name` must not be `.` or `..`"));
    }
    Ok(())
}

fn check_description(description: Option<&str>) -> Result<(), Problem> {
    match description {
        Some(text) if text.contains('\0') => Err(Problem::invalid("`description` must not hold the character NUL")),
        _ => Ok(()),
    }
}

/// Names are words; a value that asks to be kept secret is refused, because nothing would seal it.
fn check_variables(variables: &IndexMap<String, serde_json::Value>) -> Result<(), Problem> {
    for (name, value) in variables {
        check_word("variables", name)?;
        if value.as_object().is_some_and(|object| object.contains_key("secret")) {
            let detail = format!(
                "`{name}` is a secret value, and this server cannot seal secrets yet; nothing of the request was stored"
            );
            return Err(Problem::new(ErrorCode::SecretsUnavailable, detail));
        }
    }
    Ok(())
}
