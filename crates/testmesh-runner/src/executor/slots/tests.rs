//! Concurrency, order, locks and bounds of the queue.

use testmesh_shared::clock::SystemClock;

use super::*;

type Log = Arc<Mutex<Vec<(&'static str, Slot)>>>;

fn waiting(name: &'static str, lock: Option<&str>, log: &Log) -> Waiting {
    let log = Arc::clone(log);
    Waiting {
        id: ExecutionId::generate(&SystemClock),
        lock: lock.map(str::to_owned),
        start: Box::new(move |slot| log.lock().push((name, slot))),
    }
}

fn queue(slots: &Arc<Slots>, name: &'static str, lock: Option<&str>, log: &Log) -> ExecutionId {
    let waiting = waiting(name, lock, log);
    let id = waiting.id;
    match slots.admit(lock) {
        Admission::Later(place) => assert!(place.take(waiting).is_none(), "`{name}` was given back"),
        Admission::Now(slot) => (waiting.start)(slot),
        Admission::Full | Admission::Closed => panic!("`{name}` was not admitted"),
    }
    id
}

fn running(log: &Log) -> Vec<&'static str> {
    log.lock().iter().map(|(name, _)| *name).collect()
}

fn end(log: &Log, name: &str) {
    let ended = {
        let mut log = log.lock();
        let place = log.iter().position(|(running, _)| *running == name).unwrap();
        log.remove(place)
    };
    drop(ended);
}

#[test]
fn runs_over_the_limit_wait_in_order() {
    let (slots, log) = (Slots::new(2, 10), Log::default());
    for name in ["a", "b", "c", "d"] {
        queue(&slots, name, None, &log);
    }
    assert_eq!(running(&log), ["a", "b"]);
    end(&log, "b");
    assert_eq!(running(&log), ["a", "c"]);
    end(&log, "a");
    assert_eq!(running(&log), ["c", "d"]);
}

#[test]
fn lock_keeps_runs_apart_and_lets_others_pass() {
    let (slots, log) = (Slots::new(3, 10), Log::default());
    queue(&slots, "a", Some("db"), &log);
    queue(&slots, "b", Some("db"), &log);
    queue(&slots, "c", None, &log);
    queue(&slots, "d", Some("other"), &log);
    assert_eq!(running(&log), ["a", "c", "d"]);
    end(&log, "c");
    assert_eq!(running(&log), ["a", "d"]);
    end(&log, "a");
    assert_eq!(running(&log), ["d", "b"]);
}

#[test]
fn queue_is_bounded_and_promised_places_count() {
    let (slots, log) = (Slots::new(1, 2), Log::default());
    queue(&slots, "a", None, &log);
    let promised = slots.admit(None);
    assert!(matches!(promised, Admission::Later(_)));
    queue(&slots, "b", None, &log);
    assert!(matches!(slots.admit(None), Admission::Full));
    drop(promised);
    assert!(matches!(slots.admit(None), Admission::Later(_)));
}

#[test]
fn removed_run_never_starts() {
    let (slots, log) = (Slots::new(1, 10), Log::default());
    queue(&slots, "a", None, &log);
    let id = queue(&slots, "b", None, &log);
    assert!(slots.remove(id));
    assert!(!slots.remove(id));
    end(&log, "a");
    assert!(running(&log).is_empty());
}

#[tokio::test]
async fn closed_slots_start_nothing_and_become_idle() {
    let (slots, log) = (Slots::new(1, 10), Log::default());
    queue(&slots, "a", None, &log);
    let id = queue(&slots, "b", None, &log);
    assert_eq!(slots.close(), [id]);
    assert!(matches!(slots.admit(None), Admission::Closed));
    end(&log, "a");
    slots.idle().await;
    assert!(running(&log).is_empty());
}

#[tokio::test(start_paused = true)]
async fn place_promised_before_the_close_is_given_back_and_waited_for() {
    let (slots, log) = (Slots::new(1, 10), Log::default());
    queue(&slots, "a", None, &log);
    let Admission::Later(place) = slots.admit(None) else { panic!("the slot is taken") };
    assert!(slots.close().is_empty());
    end(&log, "a");
    let place = place.take(waiting("b", None, &log)).expect("no run starts any more");
    let idle = tokio::time::timeout(std::time::Duration::from_secs(1), slots.idle());
    assert!(idle.await.is_err(), "what to do with the run is not decided yet");
    drop(place);
    slots.idle().await;
    assert!(running(&log).is_empty());
}

#[test]
fn what_is_queued_after_the_close_is_not_kept() {
    let (slots, log) = (Slots::new(1, 10), Log::default());
    assert!(slots.close().is_empty());
    // Held here, it would hold whatever it starts with, and that holds these slots: nothing would ever be freed.
    let held = Arc::new(());
    let start_with = Arc::clone(&held);
    let start = Box::new(move |_| drop(start_with));
    assert!(!slots.enqueue(Waiting { start, ..waiting("a", None, &log) }));
    assert_eq!(Arc::strong_count(&held), 1);
}
