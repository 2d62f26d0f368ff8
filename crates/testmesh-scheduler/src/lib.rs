//! When a flow runs: cron expressions, time zones and the times they come to.
//!
//! Pure rules: nothing here reads a clock, so the caller says what time it is.

pub mod cron;
