//! Who may run now and who waits: bounded concurrency, a bounded queue, and locks that keep some flows apart.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use testmesh_shared::ids::ExecutionId;
use tokio::sync::Notify;

/// The places at which runs run.
pub(crate) struct Slots {
    limit: usize,
    bound: usize,
    state: Mutex<State>,
    released: Notify,
}

#[derive(Default)]
struct State {
    running: usize,
    /// Runs that have ended so far.
    ended: u64,
    /// Places in the queue that are promised.
    promised: usize,
    waiting: VecDeque<Waiting>,
    locks: HashSet<String>,
    closed: bool,
}

/// A run that waits for a slot.
pub(crate) struct Waiting {
    pub(crate) id: ExecutionId,
    /// Held by one run at a time.
    pub(crate) lock: Option<String>,
    /// Called once, with the slot.
    pub(crate) start: Box<dyn FnOnce(Slot) + Send>,
}

/// Whether a new run may run.
pub(crate) enum Admission {
    /// At once.
    Now(Slot),
    /// After others.
    Later(Place),
    /// The queue is full.
    Full,
    /// No run starts any more.
    Closed,
}

/// The right to run. The next run starts when this goes.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    lock: Option<String>,
}

/// A promised place in the queue.
pub(crate) struct Place {
    slots: Arc<Slots>,
}

impl Slots {
    /// At most `limit` runs at a time, at most `bound` that wait.
    pub(crate) fn new(limit: usize, bound: usize) -> Arc<Self> {
        Arc::new(Self { limit, bound, state: Mutex::default(), released: Notify::new() })
    }

    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// Asks for a slot for a run that holds `lock`.
    pub(crate) fn admit(self: &Arc<Self>, lock: Option<&str>) -> Admission {
        let mut state = self.state.lock();
        if state.closed {
            return Admission::Closed;
        }
        let turn = state.waiting.is_empty() && state.promised == 0;
        if turn && state.running < self.limit && state.is_free(lock) {
            return Admission::Now(self.occupy(&mut state, lock.map(str::to_owned)));
        }
        if state.waiting.len() + state.promised >= self.bound {
            return Admission::Full;
        }
        state.promised += 1;
        Admission::Later(Place { slots: Arc::clone(self) })
    }

    /// Puts a run at the end of the queue, whatever its length: it was accepted by a process before this one. `false`: no
    /// run starts any more, and it is to be handed to others.
    #[must_use = "a run that is not queued never starts here"]
    pub(crate) fn enqueue(self: &Arc<Self>, waiting: Waiting) -> bool {
        {
            let mut state = self.state.lock();
            if state.closed {
                return false;
            }
            state.waiting.push_back(waiting);
        }
        self.dispatch();
        true
    }

    /// Takes a run out of the queue. `false`: it is not in it.
    pub(crate) fn remove(&self, id: ExecutionId) -> bool {
        let mut state = self.state.lock();
        let place = state.waiting.iter().position(|waiting| waiting.id == id);
        place.is_some_and(|place| state.waiting.remove(place).is_some())
    }

    /// Lets no further run start. Gives the ids of those that wait.
    pub(crate) fn close(&self) -> Vec<ExecutionId> {
        let waiting = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().map(|waiting| waiting.id).collect()
    }

    /// Runs that hold a slot or wait for one.
    pub(crate) fn busy(&self) -> usize {
        let state = self.state.lock();
        state.running + state.promised + state.waiting.len()
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Places that are left in the queue.
    pub(crate) fn room(&self) -> usize {
        let state = self.state.lock();
        if state.closed { 0 } else { self.bound.saturating_sub(state.promised + state.waiting.len()) }
    }

    /// Runs that have ended so far.
    pub(crate) fn ended(&self) -> u64 {
        self.state.lock().ended
    }

    /// Waits until fewer than `bound` runs hold a slot or wait for one.
    pub(crate) async fn busy_below(&self, bound: usize) {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if self.busy() < bound {
                return;
            }
            released.await;
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Waits until nothing runs and no place is promised.
    pub(crate) async fn idle(&self) {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            let is_idle = {
                let state = self.state.lock();
                state.running + state.promised == 0
            };
            if is_idle {
                return;
            }
            released.await;
        }
    }

    fn occupy(self: &Arc<Self>, state: &mut State, lock: Option<String>) -> Slot {
        state.running += 1;
        state.locks.extend(lock.clone());
        Slot { slots: Arc::clone(self), lock }
    }

    /// Starts what can be started.
    fn dispatch(self: &Arc<Self>) {
        loop {
            let (waiting, slot) = {
                let mut state = self.state.lock();
                if state.closed || state.running >= self.limit {
                    return;
                }
                let next = state.waiting.iter().position(|waiting| state.is_free(waiting.lock.as_deref()));
                let Some(waiting) = next.and_then(|place| state.waiting.remove(place)) else { return };
                let slot = self.occupy(&mut state, waiting.lock.clone());
                (waiting, slot)
            };
            (waiting.start)(slot);
        }
    }
}

impl State {
    fn is_free(&self, lock: Option<&str>) -> bool {
        lock.is_none_or(|lock| !self.locks.contains(lock))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut state = self.slots.state.lock();
            state.running -= 1;
            state.ended += 1;
            if let Some(lock) = &self.lock {
                state.locks.remove(lock);
            }
        }
        self.slots.released.notify_waiters();
        self.slots.dispatch();
    }
}

impl Place {
    /// Takes the place. Gives it back when no run starts any more: then the run is to be handed to others, and
    /// [`Slots::idle`] waits for that until the place goes.
    #[must_use = "a run whose place is given back never starts here"]
    pub(crate) fn take(self, waiting: Waiting) -> Option<Self> {
        {
            let mut state = self.slots.state.lock();
            if state.closed {
                drop(state);
                return Some(self);
            }
            state.waiting.push_back(waiting);
        }
        // The promise ends with `self`, and its end lets the queue move.
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.slots.state.lock().promised -= 1;
        self.slots.released.notify_waiters();
        self.slots.dispatch();
    }
}

#[cfg(test)]
mod tests;
