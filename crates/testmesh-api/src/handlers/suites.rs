//! Suites: flows that name the same one.

pub(crate) mod run;
