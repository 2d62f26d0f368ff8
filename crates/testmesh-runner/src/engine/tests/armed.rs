//! Steps in the background: armed before the act, awaited after it, dropped with their phase.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Ran, Setting, run, run_with};
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Arm, Expectation, Kind, ResultField};
use crate::engine::{ActionContext, at_once};
use crate::event::{RunEvent, RunEventKind};
use crate::record::{ErrorKind, ExecutionStatus, StepStatus};
use crate::value::Value;

/// Waits for a word that another step says. `how: fail` and `how: panic` come to a bad end when it is said.
pub(crate) struct Promise;

static PROMISE: ActionSpec = ActionSpec {
    name: "promise",
    aliases: &[],
    summary: "Waits for a word.",
    description: "",
    config: &[
        crate::action::Field {
            name: "word",
            aliases: &[],
            kind: Kind::Text,
            required: true,
            default: None,
            doc: "It.",
        },
        crate::action::Field {
            name: "say",
            aliases: &[],
            kind: Kind::Boolean,
            required: false,
            default: None,
            doc: "?",
        },
        crate::action::Field {
            name: "how",
            aliases: &[],
            kind: Kind::Text,
            required: false,
            default: None,
            doc: "How.",
        },
        crate::action::Field {
            name: "timeout",
            aliases: &[],
            kind: Kind::Duration { zero: false },
            required: false,
            default: None,
            doc: "How long.",
        },
    ],
    open_config: false,
    result: &[ResultField { name: "word", kind: "text", doc: "It." }],
    open_result: false,
    reserved: &["word"],
    examples: &[],
};

#[derive(Default)]
struct Word {
    said: Notify,
    /// How many wait for it now.
    waiting: Mutex<usize>,
}

static WORDS: Mutex<Option<HashMap<String, Arc<Word>>>> = Mutex::new(None);

fn word(name: &str) -> Arc<Word> {
    Arc::clone(WORDS.lock().get_or_insert_default().entry(name.to_owned()).or_default())
}

struct Waiting(Arc<Word>);

impl Drop for Waiting {
    fn drop(&mut self) {
        *self.0.waiting.lock() -= 1;
    }
}

#[async_trait]
impl Action for Promise {
    fn spec(&self) -> &'static ActionSpec {
        &PROMISE
    }

    fn waits(&self) -> bool {
        true
    }

    fn arms(&self) -> Option<&dyn Arm> {
        Some(self)
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        if config.boolean("say")? == Some(true) {
            word(&config.required_text("word")?).said.notify_waiters();
            // What was said is heard before the next step.
            tokio::task::yield_now().await;
            return Ok(ActionResult::default());
        }
        at_once(self, cx).await
    }
}

#[async_trait]
impl Arm for Promise {
    async fn arm(&self, cx: &ActionContext<'_>) -> Result<Expectation, ActionError> {
        let config = cx.resolve()?;
        let name = config.required_text("word")?;
        let how = config.text("how")?.unwrap_or_default();
        if how == "refuse" {
            return Err(ActionError::new(ErrorKind::Connection, "nobody is there"));
        }
        let patience = cx.patience(config.duration("timeout")?.unwrap_or(Duration::from_secs(5)));
        cx.note_request(Value::map([("word", Value::Text(name.clone()))]).into());
        let word = word(&name);
        *word.waiting.lock() += 1;
        let waiting = Waiting(Arc::clone(&word));
        let mut said = Box::pin(async move { word.said.notified().await });
        // Subscribed from here on, before it is polled.
        let _ = futures::poll!(&mut said);
        Ok(Box::pin(async move {
            let _waiting = waiting;
            patience.within("nobody said it", said).await?;
            match &*how {
                "panic" => panic!("broken on purpose"),
                "fail" => return Err(ActionError::new(ErrorKind::Protocol, "said, but badly")),
                _ => {}
            }
            let result = Value::map([("word", Value::Text(name))]);
            Ok(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
        }))
    }
}

async fn check(steps: &str, statuses: &str) -> Ran {
    let ran = run(&format!("name: t\n{steps}")).await;
    assert_eq!(ran.statuses(), statuses, "{ran}");
    ran
}

#[tokio::test(start_paused = true)]
async fn what_happens_between_arming_and_awaiting_is_collected() {
    let ran = check(
        "
steps:
  - {id: told, action: promise, background: true, config: {word: between}}
  - {id: say, action: promise, config: {word: between, say: true}}
  - {id: got, await: told, assert: [\"word == 'between'\"], output: {kept: word}}
  - {id: used, action: assert, config: {assertions: [\"kept == 'between'\", \"told.word == 'between'\", \"got.word == 'between'\"]}}
",
        "told=passed say=passed got=passed used=passed",
    )
    .await;
    let shown = |id: &str| serde_json::to_value(ran.step(id)).unwrap();
    assert_eq!(shown("told")["response"], serde_json::json!({"armed": true}));
    assert_eq!(shown("told")["request"], serde_json::json!({"word": "between"}));
    assert_eq!(shown("got")["request"], serde_json::json!({"await": "told", "request": {"word": "between"}}));
    assert_eq!(shown("got")["response"], serde_json::json!({"word": "between"}));
    assert_eq!(*word("between").waiting.lock(), 0);
}

#[tokio::test(start_paused = true)]
async fn its_time_counts_from_the_awaiting() {
    let since = Instant::now();
    let ran = check(
        "
config: {fail_fast: false}
steps:
  - {id: told, action: promise, background: true, config: {word: never, timeout: 3s}}
  - {id: long, action: delay, config: {duration: 1m}}
  - {id: got, await: told}
  - {id: other, action: promise, background: true, config: {word: never, timeout: 3s}}
  - {id: own, action: await, config: {step: other, timeout: 1s}}
  - {id: third, action: promise, background: true, config: {word: never, timeout: 30s}}
  - {id: hard, await: third, timeout: 2s}
",
        "told=passed long=passed got=error other=passed own=error third=passed hard=error",
    )
    .await;
    assert_eq!(since.elapsed(), Duration::from_secs(60 + 3 + 1 + 2));
    assert_eq!(ran.message("got"), "nobody said it within 3s");
    assert_eq!(ran.message("own"), "nobody said it within 1s");
    assert_eq!(ran.message("hard"), "took longer than its time-out of 2s");
    assert_eq!(ran.step("got").error.as_ref().unwrap().kind, ErrorKind::Timeout);
    assert_eq!(*word("never").waiting.lock(), 0, "what was given up is gone");
}

#[tokio::test(start_paused = true)]
async fn what_was_armed_fails_where_it_is_awaited() {
    let ran = check(
        "
config: {fail_fast: false}
steps:
  - {id: told, action: promise, background: true, config: {word: bad, how: fail}}
  - {id: say, action: promise, config: {word: bad, say: true}}
  - {id: got, await: told, on_error: continue}
  - {id: none, action: promise, background: true, config: {word: bad, how: refuse}, retry: {max_attempts: 2, delay: 1s}}
  - {id: missed, await: none}
  - {id: skipped, action: promise, background: true, when: 1 > 2, config: {word: bad}}
  - {id: unarmed, await: skipped}
",
        "told=passed say=passed got=tolerated none=error missed=error skipped=skipped unarmed=error",
    )
    .await;
    assert_eq!(ran.message("got"), "said, but badly");
    assert_eq!(ran.message("none"), "nobody is there");
    assert_eq!(ran.step("none").attempt, 2, "arming is tried again");
    assert_eq!(
        ran.message("missed"),
        "`none` is not armed: it did not run, could not subscribe, or was awaited before"
    );
}

#[tokio::test(start_paused = true)]
async fn turns_of_a_loop_await_their_own() {
    check(
        "
steps:
  - id: each
    action: for_each
    config:
      items: [one, two, three]
      max_concurrent: 3
      steps:
        - {id: told, action: promise, background: true, config: {word: \"turn-${item}\"}}
        - {id: say, action: promise, config: {word: \"turn-${item}\", say: true}}
        - {id: got, await: told, assert: [\"word == 'turn-' + item\"]}
",
        "each=passed told=passed say=passed told=passed say=passed told=passed say=passed got=passed got=passed got=passed",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_awaits_ends_with_its_phase() {
    let ran = check(
        "
setup:
  - {id: told, action: promise, background: true, config: {word: phase}}
steps:
  - {id: say, action: promise, config: {word: phase, say: true}}
  - {id: came, action: promise, background: true, config: {word: came}}
  - {id: broke, action: promise, background: true, config: {word: came, how: fail}}
  - {id: again, action: promise, config: {word: came, say: true}}
",
        "told=passed told=skipped say=passed came=passed broke=passed again=passed came=skipped broke=skipped",
    )
    .await;
    assert_eq!(ran.summary.status, ExecutionStatus::Passed);
    assert_eq!(*word("phase").waiting.lock(), 0);
    let left: Vec<_> = ran.execution.steps.iter().flatten().filter(|step| step.status == StepStatus::Skipped).collect();
    let told: Vec<_> =
        left.iter().map(|step| (&*step.id, &*step.action, step.skip_reason.as_deref().unwrap())).collect();
    assert_eq!(
        told,
        [
            ("told", "await", "nobody awaited it: it ended with its phase, and what it waited for had not come"),
            ("came", "await", "nobody awaited it: what it waited for came"),
            ("broke", "await", "nobody awaited it: said, but badly"),
        ]
    );
    assert_eq!(left[0].parent, Some(1));
    assert_eq!((ran.execution.passed_steps, ran.execution.skipped_steps), (5, 0), "they are no steps of the flow");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_drops_what_it_armed_and_tears_down() {
    let at = |event: &RunEvent| matches!(&event.kind, RunEventKind::StepStarted(start) if start.id == "got");
    let setting = Setting { cancel_at: Some(Box::new(at)), ..Setting::default() };
    let ran = run_with(
        "
name: t
steps:
  - {id: told, action: promise, background: true, config: {word: cancelled, timeout: 1h}}
  - {id: got, await: told}
teardown:
  - {id: down, action: log, config: {message: down}}
",
        setting,
    )
    .await;
    assert_eq!(ran.statuses(), "told=passed got=cancelled down=passed", "{ran}");
    assert_eq!(ran.summary.status, ExecutionStatus::Cancelled);
    assert_eq!(*word("cancelled").waiting.lock(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_what_was_armed_ends_the_run_when_it_is_awaited() {
    let ran = check(
        "
steps:
  - {id: told, action: promise, background: true, config: {word: panic, how: panic}}
  - {id: say, action: promise, config: {word: panic, say: true}}
  - {id: got, await: told}
",
        "told=passed say=passed got=error",
    )
    .await;
    assert_eq!(ran.summary.status, ExecutionStatus::Error);
}
