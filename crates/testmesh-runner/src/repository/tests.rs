//! The contract of `ExecutionRepository`, on every engine.
