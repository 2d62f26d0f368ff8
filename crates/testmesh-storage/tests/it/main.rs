//! What every store of flows and environments must do, run on each implementation there is.

#![allow(clippy::unwrap_used, reason = "a test whose own database fails should fail, and say where")]

mod environments;
mod flows;
mod remote;
mod stores;
mod wire;
