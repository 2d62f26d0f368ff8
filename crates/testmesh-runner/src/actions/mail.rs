//! What the mail actions share: the catchers of a run, and a mail as a flow sees it.

pub(super) mod catcher;
mod message;
pub(super) mod smtp;

use std::collections::HashMap;
use std::sync::Arc;

use bytestring::ByteString;
use parking_lot::Mutex;

use self::catcher::Catcher;
pub(super) use self::message::seen;
use super::peer::optional;
use crate::action::{Field, Kind};

pub(super) const NAME: Field = Field {
    default: Some("default"),
    ..optional("name", &["catcher"], Kind::Text, "The catcher's name, where a run has several.")
};

/// The catchers of a run, by name. They end with it.
#[derive(Default)]
pub(super) struct Catchers(Mutex<HashMap<ByteString, Arc<Catcher>>>);

impl Catchers {
    pub(super) fn find(&self, name: &str) -> Option<Arc<Catcher>> {
        self.0.lock().get(name).cloned()
    }

    /// Whether the name was free.
    pub(super) fn add(&self, name: ByteString, catcher: Catcher) -> bool {
        let mut catchers = self.0.lock();
        let is_free = !catchers.contains_key(&name);
        if is_free {
            catchers.insert(name, Arc::new(catcher));
        }
        is_free
    }
}
