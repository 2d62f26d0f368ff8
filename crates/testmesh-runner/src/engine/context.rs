//! What an action sees of its step and run.

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use testmesh_shared::clock::Clock;
use testmesh_shared::http::HttpClient;
use testmesh_shared::net::Connector;
use testmesh_shared::tasks::Tasks;

use crate::action::{ActionError, ConfigField, Shown, StepConfig};
use crate::engine::armed::Awaited;
use crate::engine::block::{BlockEnd, Place};
use crate::engine::phases::FlowRun;
use crate::engine::resolved::Resolved;
use crate::engine::stop::Stop;
use crate::engine::stored;
use crate::event::RunEventKind;
use crate::expr::EvalError;
use crate::files::Files;
use crate::flow::Step;
#[cfg(feature = "plugins")]
use crate::plugins::Plugins;
use crate::programs::Programs;
use crate::record::{AssertionRecord, ErrorKind, LogRecord, StepError};
use crate::scope::Scope;
use crate::template::Lookup;
use crate::value::Value;

/// What an attempt notes besides its result.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) logs: Vec<LogRecord>,
    pub(crate) assertions: Vec<AssertionRecord>,
    /// What was asked for, so that it is known when the action is stopped before an answer came.
    pub(crate) request: Shown,
}

/// The run, or the part of it around a step, is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

impl From<Stopped> for ActionError {
    fn from(_: Stopped) -> Self {
        // Never shown: a step that was stopped is recorded as cancelled.
        ActionError::new(ErrorKind::Internal, "stopped")
    }
}

/// What an action sees of its step and run.
pub(crate) struct ActionContext<'a> {
    /// The step.
    pub(crate) step: &'a Step,
    pub(in crate::engine) flow: &'a FlowRun<'a>,
    pub(in crate::engine) scope: &'a Arc<Scope>,
    pub(in crate::engine) place: Place,
    pub(in crate::engine) ordinal: u32,
    pub(in crate::engine) stop: &'a Stop,
    pub(in crate::engine) notes: &'a Mutex<Notes>,
    /// Of a step that only arms its expectation.
    pub(in crate::engine) awaited: Option<&'a Arc<Awaited>>,
}

impl<'a> ActionContext<'a> {
    /// The step's compiled configuration.
    pub(crate) fn config(&self) -> &'a StepConfig {
        &self.step.config
    }

    /// The names in scope.
    pub(crate) fn scope(&self) -> &'a dyn Lookup {
        self.scope.as_ref()
    }

    /// The names in scope, to put others in front of them or a layer over them.
    pub(crate) fn names(&self) -> &'a Arc<Scope> {
        self.scope
    }

    /// Every [`ConfigField::Tree`] of the configuration, resolved.
    pub(crate) fn resolve(&self) -> Result<Resolved, ActionError> {
        let mut fields = Vec::with_capacity(self.step.config.fields.len());
        for (name, field) in &self.step.config.fields {
            if let ConfigField::Tree(tree) = field {
                let value = tree.render(self.scope()).map_err(|error| at_key(name, &error))?;
                fields.push((ByteString::from(name.as_str()), value));
            }
        }
        Ok(Resolved::new(fields))
    }

    /// Opens every socket.
    pub(crate) fn connector(&self) -> &'a Connector {
        &self.flow.run.engine.connector
    }

    /// The time, for stamps.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.flow.run.engine.clock.now()
    }

    /// The clock itself, for what goes on beside the step.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.flow.run.engine.clock)
    }

    /// What goes on beside the steps: told to end, and awaited, at the run's end.
    pub(crate) fn tasks(&self) -> &'a Tasks {
        &self.flow.run.tasks
    }

    /// When the run began.
    #[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only the Kafka actions ask for it"))]
    pub(crate) fn run_started(&self) -> DateTime<Utc> {
        self.flow.run.started
    }

    /// The files the run may read.
    pub(crate) fn files(&self) -> &'a Files {
        &self.flow.run.files
    }

    /// The programs the run may start.
    pub(crate) fn programs(&self) -> &'a Programs {
        &self.flow.run.engine.programs
    }

    /// The plugins the run may use.
    #[cfg(feature = "plugins")]
    pub(crate) fn plugins(&self) -> &'a Plugins {
        &self.flow.run.engine.plugins
    }

    /// The client of all runs, where they share one, or a new one.
    pub(crate) fn http_client(&self) -> HttpClient {
        let engine = &self.flow.run.engine;
        engine.http.clone().unwrap_or_else(|| HttpClient::new(engine.connector.clone()))
    }

    /// Something the run keeps for its whole length, made when first asked for: a client pool, a cookie jar.
    pub(crate) fn resource<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut resources = self.flow.run.resources.lock();
        let kept = resources.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(make()) as Arc<dyn Any + Send + Sync>);
        Arc::clone(kept).downcast().expect("a resource is stored under its own type")
    }

    /// The W3C `traceparent` for the next request of this step.
    pub(crate) fn traceparent(&self) -> String {
        let span = rand::random::<u64>().max(1).to_be_bytes();
        let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
        let mut digits = [0; 16];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(span) {
            *pair = [digit(byte >> 4), digit(byte & 0xf)];
        }
        let digits = std::str::from_utf8(&digits).expect("hexadecimal digits are text");
        let mut text = String::with_capacity(55);
        for part in ["00-", &self.flow.run.trace_id, "-", digits, "-01"] {
            text.push_str(part);
        }
        text
    }

    /// Adds a line to the step's log (masked) and tells the listeners.
    pub(crate) fn log(&self, level: &str, message: &str, data: Option<Value>) {
        let run = self.flow.run;
        let masker = run.emitter.masker();
        let line = LogRecord {
            time: run.engine.clock.now(),
            level: level.to_owned(),
            message: message.to_owned(),
            data: data.map(|data| stored::value(&data, masker)),
        };
        self.notes.lock().logs.push(line.clone());
        run.emitter.emit(RunEventKind::Log { ordinal: self.ordinal, id: self.step.id.clone(), line });
    }

    /// Replaces the run's secrets in what is written somewhere.
    pub(crate) fn mask(&self, json: &mut serde_json::Value) {
        self.flow.run.emitter.masker().json(json);
    }

    /// Adds to the assertions of the step's record.
    pub(crate) fn note_assertions(&self, assertions: Vec<AssertionRecord>) {
        self.notes.lock().assertions.extend(assertions);
    }

    /// Notes what the action asks for, before it does: the record has it however the action ends.
    pub(crate) fn note_request(&self, request: Shown) {
        self.notes.lock().request = request;
    }

    /// Runs nested steps in the scope of this one, or in a layer over it.
    pub(crate) fn run_steps<'b>(
        &'b self,
        steps: &'b [Step],
        scope: &'b Arc<Scope>,
        iteration: Option<u32>,
    ) -> BoxFuture<'b, BlockEnd> {
        self.run_steps_until(steps, scope, iteration, self.stop)
    }

    /// As [`ActionContext::run_steps`], with a signal that stops these steps alone.
    pub(crate) fn run_steps_until<'b>(
        &'b self,
        steps: &'b [Step],
        scope: &'b Arc<Scope>,
        iteration: Option<u32>,
        stop: &'b Stop,
    ) -> BoxFuture<'b, BlockEnd> {
        let place = Place { parent: Some(self.ordinal), iteration, ..self.place };
        Box::pin(self.flow.block(steps, scope, place, stop))
    }

    /// As [`ActionContext::run_steps`], for at most `limit`.
    pub(crate) async fn run_steps_within(
        &self,
        steps: &[Step],
        scope: &Arc<Scope>,
        iteration: Option<u32>,
        limit: Duration,
    ) -> BlockEnd {
        let stop = self.stop.child();
        let mut block = self.run_steps_until(steps, scope, iteration, &stop);
        tokio::select! {
            biased;
            // Not dropped when the timer wins: it is told to stop and awaited below.
            end = &mut block => return end,
            // Cancel-safe: a timer.
            () = tokio::time::sleep(limit) => {}
        }
        let message = "the time of the step around it was up".to_owned();
        stop.give(Some(StepError { kind: ErrorKind::Timeout, message }));
        block.await
    }

    /// A layer over the step's scope.
    pub(crate) fn layer(&self, locals: Vec<(ByteString, Value)>) -> Arc<Scope> {
        self.scope.child(locals)
    }

    /// What stops this step.
    pub(crate) fn stop(&self) -> &'a Stop {
        self.stop
    }

    /// Waits, unless the step is stopped first.
    pub(crate) async fn sleep(&self, duration: Duration) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            // Cancel-safe: a wait for a signal, and a timer.
            () = self.stop.wait() => Err(Stopped),
            () = tokio::time::sleep(duration) => Ok(()),
        }
    }
}

/// An error in an expression of the configuration, with its key.
pub(crate) fn at_key(key: &str, error: &EvalError) -> ActionError {
    ActionError::new(ErrorKind::Expression, format!("`{key}`: {}", explain(error)))
}

/// An evaluation error with its help.
pub(crate) fn explain(error: &EvalError) -> String {
    match &error.help {
        Some(help) => format!("{}: {help}", error.message),
        None => error.message.clone(),
    }
}
