//! What every store of flows and environments must do, run on each engine there is.

#![allow(clippy::unwrap_used, reason = "a test whose own database fails should fail, and say where")]

mod environments;
mod flows;
mod stores;
