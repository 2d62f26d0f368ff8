//! What one instance of a plugin may take of the machine.

use wasmtime::ResourceLimiter;

/// The memory of one instance, in bytes.
pub(super) const MEMORY: usize = 256 << 20;
/// The entries of all tables of one instance.
const TABLE_ENTRIES: usize = 1 << 20;

/// What an instance has taken so far.
#[derive(Debug, Default)]
pub(super) struct Budget {
    memory: usize,
    entries: usize,
}

/// An instance wanted more than it may take.
#[derive(Debug, thiserror::Error)]
#[error("it needs more than {limit} {what}")]
pub(super) struct OverBudget {
    limit: usize,
    what: &'static str,
}

impl ResourceLimiter for Budget {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.memory = self.memory.saturating_add(desired.saturating_sub(current));
        if self.memory > MEMORY {
            // An error ends the plugin here and says why; a refusal would end it in some way of its own.
            return Err(OverBudget { limit: MEMORY >> 20, what: "MiB of memory" }.into());
        }
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.entries = self.entries.saturating_add(desired.saturating_sub(current));
        if self.entries > TABLE_ENTRIES {
            return Err(OverBudget { limit: TABLE_ENTRIES, what: "entries in tables" }.into());
        }
        Ok(true)
    }
}
