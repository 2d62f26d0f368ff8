//! What every store of flows and environments must do, run on each engine there is.

mod environments;
mod flows;
mod stores;
