//! When a flow runs.
// SKELETON: owner X.
