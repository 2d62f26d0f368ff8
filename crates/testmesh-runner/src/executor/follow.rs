//! Follows a run's events: stored ones first, then live ones, each once and in order.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use testmesh_shared::ids::ExecutionId;
use tokio_util::sync::CancellationToken;

use crate::event::{RunEvent, RunEventKind};
use crate::executor::foreign::{Foreign, ForeignWatch};
use crate::executor::live::{LiveRun, Stretch, Watcher};
use crate::executor::recorder::chain;
use crate::repository::Store;

struct Follower {
    id: ExecutionId,
    store: Store,
    live: Option<(Arc<LiveRun>, Watcher)>,
    /// Where runs are followed that this process does not have; none for one that is over.
    foreign: Option<Arc<Foreign>>,
    watch: Option<ForeignWatch>,
    stopped: CancellationToken,
    /// The last event that was given out or is in `ready`.
    last: u64,
    ready: VecDeque<RunEvent>,
    ended: bool,
}

/// Where a run that is followed is.
pub(crate) enum Whereabouts {
    /// In this process, and perhaps elsewhere later.
    Here(Arc<LiveRun>, Arc<Foreign>),
    /// In another process, or nowhere yet.
    Elsewhere(Arc<Foreign>),
    /// It is over.
    Over,
}

/// The events of `id` after `after`, those to come too. Ends after `execution.finished`, or when the process stops, or
/// when the database fails: whoever reads can come back with the last `seq` it has.
pub(crate) fn follow(
    store: Store,
    id: ExecutionId,
    whereabouts: Whereabouts,
    after: u64,
    stopped: CancellationToken,
) -> BoxStream<'static, RunEvent> {
    let (live, foreign) = match whereabouts {
        Whereabouts::Here(run, foreign) => {
            let watcher = run.watch();
            (Some((run, watcher)), Some(foreign))
        }
        Whereabouts::Elsewhere(foreign) => (None, Some(foreign)),
        Whereabouts::Over => (None, None),
    };
    let follower =
        Follower { id, store, live, foreign, watch: None, stopped, last: after, ready: VecDeque::new(), ended: false };
    stream::unfold(follower, async |mut follower| {
        let event = follower.next().await?;
        Some((event, follower))
    })
    .boxed()
}

impl Follower {
    async fn next(&mut self) -> Option<RunEvent> {
        while self.ready.is_empty() && !self.ended {
            self.fetch().await;
        }
        let event = self.ready.pop_front()?;
        if matches!(event.kind, RunEventKind::Finished { .. }) {
            self.ended = true;
            self.ready.clear();
        }
        Some(event)
    }

    /// Gets the next stretch into `ready`, or waits for it, or notes that there is none.
    async fn fetch(&mut self) {
        let Some((run, _)) = &self.live else {
            return self.fetch_foreign().await;
        };
        match run.stretch(self.last) {
            Stretch::Events(events) => {
                self.take(events.into_iter().map(|event| RunEvent::clone(&event)));
            }
            Stretch::Stored => self.ended = !self.fetch_stored().await,
            Stretch::End => self.ended = true,
            Stretch::Elsewhere => self.live = None,
            Stretch::Nothing => {
                let last = self.last;
                // Both are cancel-safe: nothing is taken by waiting.
                tokio::select! {
                    () = run.wait_until(|progress| progress.over || progress.stored > last) => {}
                    () = self.stopped.cancelled() => self.ended = true,
                }
            }
        }
    }

    /// As [`Follower::fetch`], of a run that is over or that another process has.
    async fn fetch_foreign(&mut self) {
        let Some(foreign) = &self.foreign else {
            self.ended = !self.fetch_stored().await;
            return;
        };
        // Watched before it is read, so that nothing falls between the two.
        let watch = self.watch.get_or_insert_with(|| foreign.watch(self.id));
        let last = self.last;
        // Both are cancel-safe: nothing is taken by waiting.
        let seen = tokio::select! {
            seen = watch.reached(|seen| seen.over || seen.seq > last) => Some(seen),
            () = self.stopped.cancelled() => None,
        };
        self.ended = match seen {
            Some(seen) if seen.seq > last => !self.fetch_stored().await,
            Some(_) | None => true,
        };
    }

    /// `false`: there is nothing more in the database, or it failed.
    async fn fetch_stored(&mut self) -> bool {
        match self.store.events_page(self.id, self.last).await {
            Ok(events) => {
                self.take(events.into_iter());
                !self.ready.is_empty()
            }
            Err(error) => {
                tracing::error!(execution.id = %self.id, error = %chain(&error), "events cannot be read");
                false
            }
        }
    }

    fn take(&mut self, events: impl Iterator<Item = RunEvent>) {
        self.ready.extend(events);
        self.last = self.ready.back().map_or(self.last, |event| event.seq);
    }
}
