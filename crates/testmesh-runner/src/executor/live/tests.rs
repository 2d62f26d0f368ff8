//! What a run does while nothing is stored, and what its followers see of it.

use testmesh_shared::clock::{Clock, SystemClock};

use super::*;
use crate::record::{LogRecord, Trigger};

fn live() -> Arc<LiveRun> {
    let id = ExecutionId::generate(&SystemClock);
    let execution = Execution::queued(id, "flow", Trigger::Api, SystemClock.now());
    LiveRun::new(execution, Arc::from("name: flow"), SessionId::generate(&SystemClock), Arc::default())
}

fn log(run: &LiveRun, seq: u64, bytes: usize) -> RunEvent {
    let time = SystemClock.now();
    let line = LogRecord { time, level: "info".to_owned(), message: "x".repeat(bytes), data: None };
    RunEvent { seq, execution_id: run.id, time, kind: RunEventKind::Log { ordinal: 1, id: "one".to_owned(), line } }
}

fn seqs(stretch: Stretch) -> Option<Vec<u64>> {
    match stretch {
        Stretch::Events(events) => Some(events.iter().map(|event| event.seq).collect()),
        Stretch::Stored | Stretch::Nothing | Stretch::End | Stretch::Elsewhere => None,
    }
}

#[test]
fn run_that_outgrows_its_memory_while_nothing_is_stored_is_lost() {
    let run = live();
    run.accepted();
    let sink = run.sink();
    sink.emit(log(&run, 2, 10));
    let taken = run.take().unwrap();
    assert_eq!((taken.events.seq_from, taken.events.seq_to), (2, 2));
    for seq in 3..80 {
        sink.emit(log(&run, seq, 1 << 20));
    }
    assert!(run.cancel.is_cancelled());
    let taken = run.take().unwrap();
    // What the writer had in hand stays; what it had not taken is dropped, and the end follows without a gap.
    assert_eq!((taken.events.seq_from, taken.events.seq_to), (3, 3));
    assert!(taken.bytes < 1000, "{}", taken.bytes);
    let finish = serde_json::to_value(taken.finish.unwrap()).unwrap();
    assert_eq!((finish["status"].as_str(), finish["error_code"].as_str()), (Some("error"), Some("lost")));
    sink.emit(log(&run, 80, 10));
    assert!(run.take().is_none());
    assert!(run.execution().is_none());
}

#[test]
fn large_run_is_not_lost_while_it_is_being_stored() {
    let run = live();
    let sink = run.sink();
    for seq in 2..120 {
        sink.emit(log(&run, seq, 1 << 20));
        if let Some(taken) = run.take() {
            run.stored(taken.events.seq_to, taken.bytes, false);
        }
    }
    assert!(!run.cancel.is_cancelled());
}

#[test]
fn followers_see_what_is_stored_and_nothing_else() {
    let run = live();
    assert!(matches!(run.stretch(0), Stretch::Nothing));
    run.accepted();
    assert!(matches!(run.stretch(0), Stretch::Stored));
    let sink = run.sink();
    for seq in 2..5 {
        sink.emit(log(&run, seq, 10));
    }
    assert!(matches!(run.stretch(1), Stretch::Nothing));
    let taken = run.take().unwrap();
    sink.emit(log(&run, 5, 10));
    run.stored(taken.events.seq_to, taken.bytes, false);
    assert_eq!(seqs(run.stretch(1)), Some(vec![2, 3, 4]));
    assert_eq!(seqs(run.stretch(3)), Some(vec![4]));
    assert!(matches!(run.stretch(4), Stretch::Nothing));
    run.finish(ExecutionStatus::Cancelled, None, SystemClock.now());
    let taken = run.take().unwrap();
    run.stored(taken.events.seq_to, taken.bytes, taken.finish.is_some());
    assert_eq!(seqs(run.stretch(4)), Some(vec![5, 6]));
    assert!(matches!(run.stretch(6), Stretch::End));
}

#[test]
fn old_events_leave_the_memory_once_they_are_stored() {
    let run = live();
    run.accepted();
    let sink = run.sink();
    for seq in 2..=201 {
        sink.emit(log(&run, seq, 10));
    }
    let taken = run.take().unwrap();
    run.stored(taken.events.seq_to, taken.bytes, false);
    assert!(matches!(run.stretch(1), Stretch::Stored));
    let recent = seqs(run.stretch(201 - RECENT as u64)).unwrap();
    assert_eq!((recent.len(), recent.last()), (RECENT, Some(&201)));
}
