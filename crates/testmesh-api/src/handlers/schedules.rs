//! When flows run.

pub(crate) mod preview;
