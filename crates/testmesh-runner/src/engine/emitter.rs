//! The one way out of a run: numbers events, stamps them, masks secrets in them, and hands them on in order.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use testmesh_shared::clock::Clock;
use testmesh_shared::ids::ExecutionId;

use crate::event::{EventSink, RunEvent, RunEventKind};
use crate::mask::Masker;

/// Hands events to the listeners.
pub(crate) struct Emitter {
    execution_id: ExecutionId,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn EventSink>,
    masker: Masker,
    next: Mutex<u64>,
}

impl Emitter {
    /// An emitter whose first event has the number `first_seq`.
    pub(crate) fn new(
        execution_id: ExecutionId,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn EventSink>,
        masker: Masker,
        first_seq: u64,
    ) -> Self {
        Self { execution_id, clock, sink, masker, next: Mutex::new(first_seq) }
    }

    /// What masks this run's secrets.
    pub(crate) fn masker(&self) -> &Masker {
        &self.masker
    }

    /// Tells what happened; gives the time that is told with it.
    pub(crate) fn emit(&self, mut kind: RunEventKind) -> DateTime<Utc> {
        self.masker.event(&mut kind);
        // The lock is held while the listener takes the event, so that no later one overtakes it.
        let mut next = self.next.lock();
        let time = self.clock.now();
        let event = RunEvent { seq: *next, execution_id: self.execution_id, time, kind };
        *next += 1;
        self.sink.emit(event);
        time
    }
}
