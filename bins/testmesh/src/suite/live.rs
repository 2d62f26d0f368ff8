//! What goes on right now: events on their way to standard output, and the flows that run with their current step.
//!
//! Runs write here and never wait; the one loop that owns the terminal reads.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use testmesh_runner::event::{RunEvent, RunEventKind};
use tokio::sync::Notify;

use crate::plan::Place;

/// What the runs of this process tell while they run.
#[derive(Debug)]
pub(crate) struct Live {
    /// Whether every event is wanted, as a line of JSON.
    wants_events: bool,
    /// Whether the running flows and their steps are wanted.
    wants_steps: bool,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    running: BTreeMap<Place, Running>,
    n_started: usize,
    n_finished: usize,
    n_planned: usize,
}

/// A flow that runs.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// Its name.
    pub(crate) name: String,
    /// The step it is at.
    pub(crate) step: Option<String>,
}

/// How far the runs are.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// Flows that are over.
    pub(crate) n_finished: usize,
    /// Flows that were asked for.
    pub(crate) n_planned: usize,
    /// Flows that run.
    pub(crate) n_running: usize,
    /// The one that has run longest.
    pub(crate) oldest: Option<Running>,
}

impl Live {
    /// Nothing going on yet.
    pub(crate) fn new(wants_events: bool, wants_steps: bool, n_planned: usize) -> Self {
        let state = State { n_planned, ..State::default() };
        Self { wants_events, wants_steps, state: Mutex::new(state), changed: Notify::new() }
    }

    /// A flow starts.
    pub(super) fn started(&self, place: Place, name: &str) {
        let mut state = self.state.lock();
        state.n_started += 1;
        if self.wants_steps {
            state.running.insert(place, Running { name: name.to_owned(), step: None });
        }
    }

    /// A flow is over.
    pub(super) fn finished(&self, place: Place) {
        let mut state = self.state.lock();
        state.n_finished += 1;
        state.running.remove(&place);
    }

    /// An event goes by.
    pub(super) fn saw(&self, place: Place, event: &RunEvent) {
        if self.wants_steps
            && let RunEventKind::StepStarted(start) = &event.kind
            && let Some(running) = self.state.lock().running.get_mut(&place)
        {
            running.step = Some(start.name.clone());
        }
        if self.wants_events {
            let mut line = serde_json::to_vec(event).expect("events hold text keys and finite numbers");
            line.push(b'\n');
            self.state.lock().lines.append(&mut line);
            self.changed.notify_one();
        }
    }

    /// Waits until there are events to show.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The events that were not shown yet, one line of JSON each.
    pub(crate) fn take_lines(&self) -> Vec<u8> {
        std::mem::take(&mut self.state.lock().lines)
    }

    /// How far the runs are.
    pub(crate) fn progress(&self) -> Progress {
        let state = self.state.lock();
        Progress {
            n_finished: state.n_finished,
            n_planned: state.n_planned,
            n_running: state.n_started.saturating_sub(state.n_finished),
            oldest: state.running.values().next().cloned(),
        }
    }
}
