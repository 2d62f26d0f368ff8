//! `browser`: does things with a page in a headless Chromium, and looks at it.
//!
//! The browser is a process of the run's own, spoken to over two pipes. It reaches nothing but the gate, which opens every
//! connection by the run's connector.

mod devtools;
mod gate;
mod keys;
mod page;
mod process;
mod script;
mod spec;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use testmesh_shared::tasks::Tasks;

use self::gate::Gate;
use self::page::{Gathered, Page, PageError};
use self::script::Act;
use super::exec::program_error;
use crate::action::{Action, ActionError, ActionResult, ActionSpec};
use crate::engine::{ActionContext, Resolved};
use crate::record::ErrorKind;
use crate::units::show_duration;
use crate::value::Value;

/// Time for a browser to start.
const START: Duration = Duration::from_secs(20);
/// Time for the last look at a page on which something failed.
const LAST_LOOK: Duration = Duration::from_secs(3);
const WAIT: Duration = Duration::from_secs(5);
const SIZE: (i64, i64) = (1280, 720);

/// The browser of a run. Dropped at its end, with all processes.
#[derive(Default)]
struct Browser {
    /// Held by the step that uses it: there is one page.
    open: tokio::sync::Mutex<Option<Page>>,
    /// Those of the browser that is open.
    tasks: Mutex<Tasks>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.tasks.lock().cancelled().cancel();
    }
}

impl Browser {
    async fn start(&self, cx: &ActionContext<'_>) -> Result<Page, ActionError> {
        let programs = cx.programs();
        let program = programs.browser().map_err(|error| program_error(&error, &[]))?;
        let shown = program.display().to_string();
        let failed = |why: &str| ActionError::new(ErrorKind::Connection, format!("`{shown}` does not start: {why}"));
        let tasks = Tasks::new();
        // What a browser before this one has left goes with it.
        std::mem::replace(&mut *self.tasks.lock(), tasks.clone()).cancelled().cancel();
        let opening = async {
            let gate = Gate::open(cx.connector().clone(), &tasks).await.map_err(|error| failed(&error.to_string()))?;
            let started = process::start(&program, programs.environment(), &gate, &tasks);
            let (devtools, printed) = started.map_err(|error| failed(&error.to_string()))?;
            let page = Page::open(devtools, gate).await;
            page.map_err(|error| failed(&printed.last_line().unwrap_or_else(|| error.to_string())))
        };
        let opened = tokio::time::timeout(START, opening).await;
        opened.unwrap_or_else(|_| Err(failed(&format!("it said nothing within {}", show_duration(START)))))
    }
}

/// The action.
pub(crate) struct BrowserAction;

#[async_trait]
impl Action for BrowserAction {
    fn spec(&self) -> &'static ActionSpec {
        &spec::SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let visit = Visit::read(&config)?;
        cx.note_request(visit.shown().into());
        let since = Instant::now();
        let browser = cx.resource(Browser::default);
        let mut open = browser.open.lock().await;
        let mut gathered = Gathered::default();
        let doing = async {
            let kept = match open.take() {
                Some(page) if page.is_there().await => page,
                _ => browser.start(cx).await?,
            };
            visit.run(open.insert(kept), &mut gathered).await
        };
        let outcome = match config.duration("timeout")? {
            None => doing.await,
            Some(limit) => tokio::time::timeout(limit, doing).await.unwrap_or_else(|_| {
                let text = format!("the page was not done with within {}", show_duration(limit));
                Err(ActionError::new(ErrorKind::Timeout, text))
            }),
        };
        let failed = outcome.is_err();
        let looking = async {
            let page = open.as_mut()?;
            page.settle().await.ok()?;
            let state = page.state().await.ok()?;
            if failed {
                gathered.screenshot = page.picture(None).await.ok().or(gathered.screenshot.take());
            }
            Some(state)
        };
        let state = tokio::time::timeout(LAST_LOOK, looking).await.ok().flatten().unwrap_or_default();
        let text = |key: &str| state[key].as_str().map_or(Value::Null, Value::from);
        let result = Value::map([
            ("title", text("title")),
            ("url", text("url")),
            ("text", text("text")),
            ("values", Value::map(gathered.values)),
            ("screenshot", gathered.screenshot.map_or(Value::Null, Value::Bytes)),
            ("duration_ms", Value::from(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))),
        ]);
        let request = visit.shown().into();
        let result = ActionResult { request, response: result.clone().into(), result, primary: None };
        match outcome {
            Ok(()) => Ok(result),
            Err(error) => Err(ActionError { partial: Some(Box::new(result)), ..error }),
        }
    }
}

/// What a step does.
struct Visit {
    acts: Vec<Act>,
    patience: Duration,
    size: (i64, i64),
    verify: bool,
}

impl Visit {
    fn read(config: &Resolved) -> Result<Self, ActionError> {
        let viewport = config.section("viewport")?.unwrap_or_default();
        Ok(Self {
            acts: script::read(config)?,
            patience: config.duration("wait")?.unwrap_or(WAIT),
            size: (viewport.integer("width")?.unwrap_or(SIZE.0), viewport.integer("height")?.unwrap_or(SIZE.1)),
            verify: config.boolean("verify_tls")?.unwrap_or(true),
        })
    }

    async fn run(&self, page: &mut Page, gathered: &mut Gathered) -> Result<(), ActionError> {
        let told = |what: &str, error: PageError| {
            let (kind, message) = match error {
                PageError::Unmet(message) => (ErrorKind::Assertion, message),
                PageError::Config(message) => (ErrorKind::Config, message),
                PageError::Denied(message) => (ErrorKind::Policy, message),
                PageError::Unreachable(message) | PageError::Broken(message) => (ErrorKind::Connection, message),
            };
            ActionError::new(kind, format!("{what}: {message}"))
        };
        page.settle().await.map_err(|error| told("the window", error))?;
        page.unsettled = true;
        page.set_up(self.size, self.verify).await.map_err(|error| told("the window", error))?;
        for (at, act) in self.acts.iter().enumerate() {
            let outcome = page.act(act, self.patience, gathered).await;
            outcome.map_err(|error| told(&format!("step {} (`{}`)", at + 1, act.shown()), error))?;
        }
        page.unsettled = false;
        Ok(())
    }

    /// For the record: what is typed is not shown.
    fn shown(&self) -> Value {
        let steps = self.acts.iter().map(|act| Value::from(act.shown())).collect();
        let mut entries = vec![("steps", Value::list(steps))];
        if !self.verify {
            entries.push(("verify_tls", Value::Bool(false)));
        }
        Value::map(entries)
    }
}
