//! How the process ends: four codes, the same for every command.

use std::process::ExitCode;

/// What the process says to the one that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything held.
    Passed,
    /// A test failed.
    Failed,
    /// A flow, a file or an argument is wrong.
    InvalidInput,
    /// It could not be run, or not to its end.
    NotRun,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Passed => 0,
            Exit::Failed => 1,
            Exit::InvalidInput => 2,
            Exit::NotRun => 3,
        })
    }
}

/// Why a command stops before its work is done.
#[derive(Debug)]
pub(crate) struct Stop {
    /// The process's answer.
    pub(crate) exit: Exit,
    /// A lower-case fragment for people.
    pub(crate) message: String,
}

impl Stop {
    /// The input is wrong.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self { exit: Exit::InvalidInput, message: message.into() }
    }

    /// It could not be done.
    pub(crate) fn not_run(message: impl Into<String>) -> Self {
        Self { exit: Exit::NotRun, message: message.into() }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
