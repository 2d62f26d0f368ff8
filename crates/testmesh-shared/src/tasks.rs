//! Background work that is tracked to its end: nothing is spawned and forgotten.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A set of running tasks and the signal that stops them. Clones share the set.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Tasks {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `task` in the background. It should end soon after [`Tasks::cancelled`] fires.
    #[allow(clippy::disallowed_methods, reason = "the tracker is what makes spawning safe")]
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task)
    }

    /// The signal that asks every task of the set to end.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Asks every task to end and waits until they have.
    pub async fn shutdown(&self) {
        self.cancel.cancel();
        self.join().await;
    }

    /// Waits until every task has ended, without asking them to.
    pub async fn join(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
