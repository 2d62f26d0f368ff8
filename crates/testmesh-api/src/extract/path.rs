//! Parameters in the path, each of a type that knows its own rule.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use testmesh_shared::ids::{BatchId, ExecutionId, FlowId, JobId, ScheduleId};

use crate::problem::Problem;

/// The path's parameters as `T`.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

/// One parameter of a path.
pub(crate) trait PathParameter: Sized {
    /// Reads it; an error names `name` and the rule.
    fn parse(name: &str, text: &str) -> Result<Self, Problem>;
}

/// A flow's version, from 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VersionNumber(pub(crate) u32);

/// A name or word: 1 to 255 characters, none of them a control character.
#[derive(Debug)]
pub(crate) struct Word(pub(crate) String);

impl PathParameter for FlowId {
    fn parse(name: &str, text: &str) -> Result<Self, Problem> {
        uuid(name, text).map(Self::from)
    }
}

impl PathParameter for ExecutionId {
    fn parse(name: &str, text: &str) -> Result<Self, Problem> {
        uuid(name, text).map(Self::from)
    }
}

impl PathParameter for BatchId {
    fn parse(name: &str, text: &str) -> Result<Self, Problem> {
        uuid(name, text).map(Self::from)
    }
}

impl PathParameter for ScheduleId {
    fn parse(name: &str, text: &str) -> Result<Self, Problem> {
        uuid(name, text).map(Self::from)
    }
}

impl PathParameter for JobId {
    fn parse(name: &str, text: &str) -> Result<Self, Problem> {
        uuid(name, text).map(Self::from)
    }
}

impl PathParameter for VersionNumber {
    fn parse(name: &str, text: &str) -> Result<Self, Problem> {
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        match number {
            Some(number) if number >= 1 => Ok(Self(number)),
            _ => Err(Problem::invalid(format!("`{name}` must be a whole number from 1"))),
        }
    }
}

impl PathParameter for Word {
    fn parse(name: &str, text: &str) -> Result<Self, Problem> {
        check_word(name, text)?;
        Ok(Self(text.to_owned()))
    }
}

/// The rule of names: 1 to 255 characters, none of them a control character.
pub(crate) fn check_word(field: &str, text: &str) -> Result<(), Problem> {
    if text.is_empty() || text.chars().count() > 255 {
        return Err(Problem::invalid(format!("`{field}` must have 1 to 255 characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::invalid(format!("`{field}` must not hold control characters")));
    }
    Ok(())
}

/// A UUID in its usual form, 36 characters with hyphens.
pub(crate) fn uuid(name: &str, text: &str) -> Result<uuid::Uuid, Problem> {
    let hyphenated = text.len() == 36;
    let parsed = hyphenated.then(|| uuid::Uuid::try_parse(text).ok()).flatten();
    parsed.ok_or_else(|| Problem::invalid(format!("`{name}` must be a UUID with hyphens")))
}

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: FromPath,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parameters = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::invalid("a parameter in the path is not UTF-8"))?;
        T::from_path(&parameters).map(Self)
    }
}

/// All parameters of a path, in their order.
pub(crate) trait FromPath: Sized {
    /// Reads them.
    fn from_path(parameters: &RawPathParams) -> Result<Self, Problem>;
}

impl<A: PathParameter> FromPath for A {
    fn from_path(parameters: &RawPathParams) -> Result<Self, Problem> {
        nth(parameters, 0)
    }
}

impl<A: PathParameter, B: PathParameter> FromPath for (A, B) {
    fn from_path(parameters: &RawPathParams) -> Result<Self, Problem> {
        Ok((nth(parameters, 0)?, nth(parameters, 1)?))
    }
}

fn nth<T: PathParameter>(parameters: &RawPathParams, index: usize) -> Result<T, Problem> {
    let (name, text) = parameters.iter().nth(index).expect("the route's template has as many parameters");
    T::parse(name, text)
}
