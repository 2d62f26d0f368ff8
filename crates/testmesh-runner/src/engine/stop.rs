//! The signal that ends a part of a run, and why it was given.
//!
//! A signal reaches every part below it. Actions that talk to the outside are dropped when it comes; control flow ends
//! in order, so that every step that started also says how it ended.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::record::StepError;

/// A signal. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    token: CancellationToken,
    why: OnceLock<StepError>,
    parent: Option<Stop>,
}

impl Stop {
    /// A signal that `token` gives.
    pub(crate) fn below(token: &CancellationToken) -> Self {
        Self(Arc::new(Inner { token: token.child_token(), why: OnceLock::new(), parent: None }))
    }

    /// A signal of its own.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { token: CancellationToken::new(), why: OnceLock::new(), parent: None }))
    }

    /// A signal that this one gives, too.
    pub(crate) fn child(&self) -> Self {
        let parent = Some(self.clone());
        Self(Arc::new(Inner { token: self.0.token.child_token(), why: OnceLock::new(), parent }))
    }

    /// Gives the signal. The first reason given stays.
    pub(crate) fn give(&self, why: Option<StepError>) {
        if let Some(why) = why {
            self.0.why.get_or_init(|| why);
        }
        self.0.token.cancel();
    }

    /// Whether it was given.
    pub(crate) fn given(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// Whether it was given because the run is being cancelled.
    pub(crate) fn cancelled(&self) -> bool {
        self.given() && self.why().is_none()
    }

    /// Waits for it.
    pub(crate) async fn wait(&self) {
        self.0.token.cancelled().await;
    }

    /// Why it was given; `None` for a cancellation.
    pub(crate) fn why(&self) -> Option<&StepError> {
        self.0.why.get().or_else(|| self.0.parent.as_ref().and_then(Stop::why))
    }
}
