//! Structured logs: one JSON line (or one plain line) per event on standard error.
// SKELETON: owner A.
