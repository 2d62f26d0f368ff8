//! Follows runs that this process does not have, by what is stored of them: one query for all of them, while somebody
//! watches.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use testmesh_shared::ids::ExecutionId;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::executor::recorder::chain;
use crate::repository::Store;

/// How often the database is asked.
const EVERY: Duration = Duration::from_millis(75);
/// How often it is asked after it gave no answer.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Runs that somebody here watches and this process does not have.
#[derive(Default)]
pub(crate) struct Foreign {
    watched: Mutex<HashMap<ExecutionId, Watched>>,
    news: Notify,
}

struct Watched {
    progress: watch::Sender<Progress>,
    watchers: usize,
}

/// How far a run has come, as the database knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The last event that is stored; 0: not known yet.
    pub(crate) seq: u64,
    /// Nothing follows: it is final, or does not exist.
    pub(crate) over: bool,
}

/// Somebody who watches a run.
pub(crate) struct ForeignWatch {
    foreign: Arc<Foreign>,
    id: ExecutionId,
    progress: watch::Receiver<Progress>,
}

impl Foreign {
    pub(crate) fn watch(self: &Arc<Self>, id: ExecutionId) -> ForeignWatch {
        let progress = {
            let mut watched = self.watched.lock();
            let entry =
                watched.entry(id).or_insert_with(|| Watched { progress: watch::Sender::default(), watchers: 0 });
            entry.watchers += 1;
            entry.progress.subscribe()
        };
        self.news.notify_one();
        ForeignWatch { foreign: Arc::clone(self), id, progress }
    }

    /// Asks the database, as long as somebody watches, until `stopped`.
    pub(crate) async fn poll(self: Arc<Self>, store: Store, stopped: CancellationToken) {
        let mut pause = EVERY;
        loop {
            let ids: Vec<ExecutionId> = self.watched.lock().keys().copied().collect();
            if ids.is_empty() {
                // Both are cancel-safe; a notification that came before is kept.
                tokio::select! {
                    () = self.news.notified() => continue,
                    () = stopped.cancelled() => return,
                }
            }
            pause = match store.progress(&ids).await {
                Ok(seen) => {
                    let seen: HashMap<_, _> = seen.into_iter().collect();
                    for id in ids {
                        let progress = seen.get(&id).map_or(Progress { seq: 0, over: true }, |seen| Progress {
                            seq: seen.seq,
                            over: seen.status.is_final(),
                        });
                        self.tell(id, progress);
                    }
                    EVERY
                }
                Err(error) => {
                    if pause == EVERY {
                        tracing::warn!(error = %chain(&error), "runs that this process does not have cannot be followed");
                    }
                    AFTER_ERROR
                }
            };
            // All are cancel-safe: they only wait. Somebody new is not kept waiting.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.news.notified() => {}
                () = stopped.cancelled() => return,
            }
        }
    }

    fn tell(&self, id: ExecutionId, now: Progress) {
        if let Some(watched) = self.watched.lock().get(&id) {
            watched.progress.send_if_modified(|progress| std::mem::replace(progress, now) != now);
        }
    }
}

impl ForeignWatch {
    /// Waits until the run has come so far.
    pub(crate) async fn reached(&mut self, so_far: impl Fn(&Progress) -> bool) -> Progress {
        match self.progress.wait_for(|progress| so_far(progress)).await {
            Ok(progress) => *progress,
            // The sender lives as long as somebody watches, so this is out of reach.
            Err(_) => Progress { seq: 0, over: true },
        }
    }
}

impl Drop for ForeignWatch {
    fn drop(&mut self) {
        let mut watched = self.foreign.watched.lock();
        if let Some(entry) = watched.get_mut(&self.id) {
            entry.watchers -= 1;
            if entry.watchers == 0 {
                watched.remove(&self.id);
            }
        }
    }
}
