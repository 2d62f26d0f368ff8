//! This process among those that share the database: its lease, what it is asked to end, what dead ones left behind.
//!
//! Whether the lease holds is judged by a monotonic clock, from before the renewal was asked for, and with a margin: so
//! this process has stopped before any other takes what it had.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use parking_lot::Mutex;
use testmesh_shared::clock::{Clock, SyncedClock, SystemClock};
use testmesh_shared::ids::{ExecutionId, JobId, SessionId};

use crate::executor::local::Local;
use crate::executor::recorder::chain;
use crate::executor::{outcome, recovery};
use crate::repository::{RepositoryError, Store};

/// The pause after a renewal that failed.
const RENEW_AGAIN: Duration = Duration::from_millis(300);
/// How often the database is asked for what somebody wants to end, while anything runs.
const CANCEL_EVERY: Duration = Duration::from_millis(500);
/// Dead sessions are forgotten after this.
const REMAINS: TimeDelta = TimeDelta::minutes(1);
/// A message that is younger belongs to whoever stored it.
const OWN_FOR: TimeDelta = TimeDelta::seconds(5);

/// The session of this process.
pub(crate) struct Session {
    name: String,
    slots: usize,
    lease: Duration,
    clock: SyncedClock,
    state: Mutex<State>,
}

struct State {
    id: SessionId,
    /// None: it lasts as long as the process.
    valid_until: Option<Instant>,
}

impl Session {
    /// Begins one, and synchronises `clock` with the database's where it is shared.
    pub(crate) async fn open(
        store: &Store,
        name: String,
        slots: usize,
        lease: Duration,
        clock: SyncedClock,
    ) -> Result<Self, RepositoryError> {
        let state = Mutex::new(State { id: SessionId::generate(&SystemClock), valid_until: None });
        let session = Self { name, slots, lease, clock, state };
        session.begin(store).await?;
        Ok(session)
    }

    /// The session that new runs belong to; none while the lease does not hold.
    pub(crate) fn current(&self) -> Option<SessionId> {
        let state = self.state.lock();
        state.valid_until.is_none_or(|until| Instant::now() < until).then_some(state.id)
    }

    pub(crate) fn is_current(&self, id: SessionId) -> bool {
        self.current() == Some(id)
    }

    /// The session as it was last, whether or not its lease holds.
    pub(crate) fn last(&self) -> SessionId {
        self.state.lock().id
    }

    /// How long a renewal is trusted: so much of the lease that a slow answer does no harm.
    fn trust(&self) -> Duration {
        self.lease * 4 / 5
    }

    async fn begin(&self, store: &Store) -> Result<(), RepositoryError> {
        let (started, asked) = (Instant::now(), SystemClock.now());
        let now = store.now().await?;
        self.clock.set(now, asked);
        let id = SessionId::generate(&self.clock);
        store.open_session(id, &self.name, self.slots, (now, self.lease)).await?;
        let valid_until = store.is_shared().then(|| started + self.trust());
        *self.state.lock() = State { id, valid_until };
        Ok(())
    }

    /// `false`: the session is dead.
    async fn renew(&self, store: &Store) -> Result<bool, RepositoryError> {
        let (started, asked) = (Instant::now(), SystemClock.now());
        let now = store.now().await?;
        self.clock.set(now, asked);
        let renewed = store.renew_session(self.last(), now, self.lease).await?;
        if renewed {
            self.state.lock().valid_until = Some(started + self.trust());
        }
        Ok(renewed)
    }

    /// Tries until it is renewed, or dead, or the lease no longer holds. `false`: it is lost.
    async fn renew_in_time(&self, store: &Store) -> bool {
        let Some(until) = self.state.lock().valid_until else { return true };
        let renewing = async {
            loop {
                match self.renew(store).await {
                    Ok(renewed) => return renewed,
                    Err(error) => tracing::warn!(error = %chain(&error), "the lease cannot be renewed; trying again"),
                }
                tokio::time::sleep(RENEW_AGAIN).await;
            }
        };
        tokio::time::timeout_at(until.into(), renewing).await.unwrap_or(false)
    }
}

impl Local {
    /// Keeps the session alive, or ends everything that belongs to it and begins another.
    pub(crate) async fn keep_session(self: Arc<Self>) {
        let every = self.session.lease / 3;
        loop {
            // Both are cancel-safe: they only wait.
            tokio::select! {
                () = tokio::time::sleep(jittered(every, 0.1)) => {}
                () = self.stopped.cancelled() => return,
            }
            if self.session.renew_in_time(&self.store).await {
                continue;
            }
            self.lose_session();
            while !self.stopped.is_cancelled() {
                match self.session.begin(&self.store).await {
                    Ok(()) => break,
                    Err(error) => tracing::warn!(error = %chain(&error), "no session can be begun; trying again"),
                }
                tokio::time::sleep(RENEW_AGAIN).await;
            }
        }
    }

    /// The lease no longer holds: nothing of what runs is known to be this process's any more.
    fn lose_session(&self) {
        let lost = self.session.last();
        self.session.state.lock().valid_until = Some(Instant::now());
        let runs = self.live_runs(|run| run.fence.session_id == lost && !run.progress().over);
        tracing::error!(runs = runs.len(), "the lease is lost: whatever runs is given up, and reported by others");
        for run in runs {
            self.slots.remove(run.id);
            run.abandon();
            self.forget(run.id);
        }
        self.batches.abandon();
    }

    /// Tells the scheduler with each heartbeat which of its jobs are held here.
    pub(crate) async fn tell_running(self: Arc<Self>) {
        let Some(relay) = self.relay.clone() else { return };
        let every = self.session.lease / 3;
        loop {
            // Both are cancel-safe: they only wait.
            tokio::select! {
                () = tokio::time::sleep(jittered(every, 0.1)) => {}
                () = self.stopped.cancelled() => return,
            }
            if self.session.current().is_none() {
                continue;
            }
            let runs = self.live_runs(|run| run.job_id.is_some() && !run.progress().over);
            let held = runs
                .iter()
                .filter_map(|run| run.job_id.map(|job| outcome::running(JobId::from(job), run.fence.attempt, run.id)));
            let reports: Vec<_> = held.chain(self.batches.running()).collect();
            relay.tell(&reports).await;
        }
    }

    /// Ends what somebody asked another process to end. Asks nothing while nothing runs.
    pub(crate) async fn poll_cancelled(self: Arc<Self>) {
        loop {
            // Both are cancel-safe: they only wait.
            tokio::select! {
                () = tokio::time::sleep(CANCEL_EVERY) => {}
                () = self.stopped.cancelled() => return,
            }
            if self.slots.busy() == 0 && self.batches.is_empty() {
                continue;
            }
            let Some(session) = self.session.current() else { continue };
            match self.store.cancelled(session).await {
                Ok(ids) => {
                    for id in ids {
                        self.batches.cancel(id.into());
                        self.cancel_live(ExecutionId::from(id)).await;
                    }
                }
                Err(error) => tracing::warn!(error = %chain(&error), "cancellations cannot be read; trying again"),
            }
        }
    }

    /// Looks for what dead sessions left behind, and settles it.
    pub(crate) async fn reap(self: Arc<Self>) {
        let every = (self.session.lease * 2 / 15).max(Duration::from_millis(100));
        let mut pause = Duration::ZERO;
        loop {
            // Both are cancel-safe: they only wait.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.draining.cancelled() => return,
            }
            pause = jittered(every, 0.2);
            if let Err(error) = self.reap_once().await {
                self.doubt();
                tracing::warn!(error = %chain(&error), "what dead runners left behind cannot be settled; trying again");
            }
        }
    }

    async fn reap_once(self: &Arc<Self>) -> Result<(), RepositoryError> {
        let Some(session) = self.session.current() else { return Ok(()) };
        if self.doubt.swap(false, Ordering::Relaxed)
            && let Err(error) = recovery::audit(self, session).await
        {
            self.doubt();
            return Err(error);
        }
        let Some(probe) = self.store.probe().await? else { return Ok(()) };
        if probe.orphans {
            recovery::take_over(self, session, probe.now()).await?;
        }
        if probe.unpublished
            && let Some(relay) = &self.relay
        {
            relay.sweep(probe.now() - OWN_FOR);
        }
        if probe.remains {
            self.store.forget_sessions(probe.now() - REMAINS).await?;
        }
        Ok(())
    }
}

/// `base`, up to `share` of it more or less.
fn jittered(base: Duration, share: f64) -> Duration {
    base.mul_f64(1.0 + share * (2.0 * rand::random::<f64>() - 1.0))
}
