//! Contracts between a consumer and a provider, as Pact files of versions 2, 3 and 4 write them.
//!
//! `pact` reads a file, `rules` and `matcher` what it asks of values, `compare` holds an answer against that, `generate` fills
//! in what a request leaves open, and `write` makes a file.

mod compare;
mod dates;
mod generate;
mod matcher;
mod pact;
mod rules;
mod write;

use std::sync::Arc;

use indexmap::IndexMap;
use parking_lot::Mutex;
use serde_json::Value as Json;

pub(super) use self::compare::{Difference, differences};
pub(super) use self::generate::Sources;
pub(super) use self::pact::{Body, Interaction, Pact};
pub(super) use self::write::{Drafted, Side, check, is_content, pact as written};
use crate::engine::ActionContext;

/// Bytes of a Pact file.
pub(super) const FILE_LIMIT: u64 = 4 << 20;

/// The contracts that a run has made, by id.
#[derive(Default)]
pub(super) struct Contracts {
    made: Mutex<IndexMap<String, Arc<Json>>>,
}

impl Contracts {
    /// The run's own.
    pub(super) fn of(cx: &ActionContext<'_>) -> Arc<Self> {
        cx.resource(Self::default)
    }

    /// Keeps a contract; one of the same id gives way.
    pub(super) fn keep(&self, id: &str, contract: Json) {
        self.made.lock().insert(id.to_owned(), Arc::new(contract));
    }

    /// The contract with this id; `Err` lists those that there are.
    pub(super) fn find(&self, id: &str) -> Result<Arc<Json>, String> {
        let made = self.made.lock();
        made.get(id).cloned().ok_or_else(|| {
            let there: Vec<String> = made.keys().map(|id| format!("`{id}`")).collect();
            if there.is_empty() {
                "this run has made none".to_owned()
            } else {
                format!("there are {}", there.join(", "))
            }
        })
    }
}
