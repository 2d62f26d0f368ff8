//! Compiles plugins and calls them.
//!
//! A call runs on the thread that polls it, and gives that thread back after every slice of work, so that a plugin that
//! never ends can be dropped like anything else that is waited for.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, Store, Trap};
use wasmtime_wasi::I32Exit;

use self::guest::testmesh::plugin::types::{Failure, FailureKind};
use super::budget::OverBudget;
use super::cache;
use super::host::{Reach, State};
use super::output::Lines;
use super::schema::{Fault, Path, Validator};
use super::{ActionDescription, Capability, Description, PluginError, is_name};
use crate::action::ActionError;
use crate::record::ErrorKind;

/// Instances at a time; one more waits. Each may take [`super::budget::MEMORY`].
const MAX_INSTANCES: usize = 64;
/// Instructions before a plugin gives back its thread: about a millisecond.
const SLICE: u64 = 1_000_000;
/// The time to describe itself, which includes the start of whatever language it is written in.
const DESCRIBING: Duration = Duration::from_secs(10);
/// The largest result, in bytes of JSON.
const MAX_RESULT: usize = 10 << 20;

/// The interface, as `wit/plugin.wit` has it.
#[allow(clippy::all, clippy::pedantic, unreachable_pub, missing_docs, reason = "made from the interface")]
pub(super) mod guest {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "plugin",
        imports: {
            // A handle that there is not ends the plugin.
            "testmesh:plugin/tcp": async | trappable,
            default: async,
        },
        with: { "testmesh:plugin/tcp.connection": crate::plugins::tcp::Connection },
        exports: { default: async },
    });
}

/// Compiles and runs plugins.
pub(super) struct Runtime {
    engine: Engine,
    linker: Linker<State>,
    places: Semaphore,
}

impl Runtime {
    /// `cache`: below it what is compiled is kept, if it can be.
    pub(super) fn new(cache: Option<&FilePath>) -> Result<Self, String> {
        let failed = |error: wasmtime::Error| format!("plugins cannot be run here: {error:#}");
        let mut config = Config::new();
        // What makes a plugin give back its thread.
        config.consume_fuel(true);
        match cache.map(cache::open) {
            Some(Ok(cache)) => {
                config.cache(Some(cache));
            }
            Some(Err(reason)) => tracing::warn!(reason, "compiled plugins are not kept: {reason}"),
            None => {}
        }
        let engine = Engine::new(&config).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(failed)?;
        guest::Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| state).map_err(failed)?;
        Ok(Self { engine, linker, places: Semaphore::new(MAX_INSTANCES) })
    }

    fn store(&self, state: State) -> wasmtime::Result<Store<State>> {
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.budget);
        store.set_fuel(u64::MAX)?;
        store.fuel_async_yield_interval(Some(SLICE))?;
        Ok(store)
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Runtime")
    }
}

/// A compiled plugin.
pub(crate) struct Plugin {
    runtime: Arc<Runtime>,
    component: guest::PluginPre<State>,
    name: Arc<str>,
    description: Description,
    /// One for each action.
    validators: Vec<Validator>,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Plugin").field(&self.name).finish()
    }
}

/// What a plugin is called for.
pub(crate) struct Call<'a> {
    /// One of its actions.
    pub(crate) action: &'a str,
    /// A JSON map.
    pub(crate) config: &'a str,
    /// What its capabilities reach.
    pub(crate) reach: Reach,
    /// Gets what it says.
    pub(crate) lines: &'a Arc<Lines>,
}

impl Plugin {
    /// Compiles a plugin and asks it what it is. Blocks for both.
    pub(super) fn new(runtime: &Arc<Runtime>, name: &str, contents: &[u8]) -> Result<Self, String> {
        let component = Component::new(&runtime.engine, contents)
            .map_err(|error| format!("its file is no WebAssembly component: {error:#}"))?;
        let other = |error: wasmtime::Error| format!("it does not fit `testmesh:plugin@1.0.0`: {error:#}");
        let linked = runtime.linker.instantiate_pre(&component).map_err(other)?;
        let component = guest::PluginPre::new(linked).map_err(other)?;
        let name: Arc<str> = name.into();
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let executor = executor.map_err(|error| error.to_string())?;
        let described = executor.block_on(describe(runtime, &component, &name))?;
        let description = read(&name, described)?;
        let validator = |action: &ActionDescription| {
            Validator::new(&action.schema).map_err(|error| format!("of its action `{}` {error}", action.name))
        };
        let validators = description.actions.iter().map(validator).collect::<Result<_, _>>()?;
        Ok(Self { runtime: Arc::clone(runtime), component, name, description, validators })
    }

    /// What it says of itself.
    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    /// The action that a flow means: the named one, or its only one.
    ///
    /// # Errors
    /// [`PluginError::NoAction`], [`PluginError::WhichAction`].
    pub(crate) fn action(&self, named: Option<&str>) -> Result<&ActionDescription, PluginError> {
        let actions = &self.description.actions;
        let known = || actions.iter().map(|action| action.name.clone()).collect();
        let name = || self.name.to_string();
        match (named, &actions[..]) {
            (None, [only]) => Ok(only),
            (None, _) => Err(PluginError::WhichAction { name: name(), known: known() }),
            (Some(named), _) => actions
                .iter()
                .find(|action| action.name == named)
                .ok_or_else(|| PluginError::NoAction { name: name(), action: named.to_owned(), known: known() }),
        }
    }

    /// What is wrong with a configuration for one of its actions; see [`Validator::faults`].
    pub(crate) fn faults(&self, action: &str, config: &serde_json::Value, unknown: &[Path]) -> Vec<Fault> {
        let mut checked = self.description.actions.iter().zip(&self.validators);
        let validator = checked.find(|(described, _)| described.name == action).map(|(_, validator)| validator);
        validator.map(|validator| validator.faults(config, unknown)).unwrap_or_default()
    }

    /// Calls one of its actions, in an instance that ends with the call. What comes back is JSON, unless the plugin errs.
    /// Dropping the future ends the plugin.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<String, ActionError> {
        let _place = self.runtime.places.acquire().await.expect("the places are never closed");
        let state = State::new(&self.name, &self.description.capabilities, Some(call.reach), call.lines);
        let answer = async {
            let mut store = self.runtime.store(state)?;
            let instance = self.component.instantiate_async(&mut store).await?;
            instance.call_run(&mut store, call.action, call.config).await
        };
        match answer.await {
            Ok(Ok(result)) if result.len() > MAX_RESULT => Err(ActionError::new(
                ErrorKind::Protocol,
                format!("the plugin `{}` gave a result of more than {MAX_RESULT} bytes", self.name),
            )),
            Ok(Ok(result)) => Ok(result),
            Ok(Err(failure)) => Err(told(failure)),
            Err(error) => {
                let message = format!("the plugin `{}` {}", self.name, ended(&error, call.lines));
                Err(ActionError::new(ErrorKind::Protocol, message))
            }
        }
    }
}

async fn describe(
    runtime: &Runtime,
    component: &guest::PluginPre<State>,
    name: &Arc<str>,
) -> Result<guest::Description, String> {
    let lines = Arc::default();
    let described = async {
        let mut store = runtime.store(State::new(name, &[], None, &lines))?;
        let instance = component.instantiate_async(&mut store).await?;
        instance.call_describe(&mut store).await
    };
    match tokio::time::timeout(DESCRIBING, described).await {
        Ok(Ok(description)) => Ok(description),
        Ok(Err(error)) => Err(format!("asked what it is, it {}", ended(&error, &lines))),
        Err(_) => Err(format!("it did not say within {} s what it is", DESCRIBING.as_secs())),
    }
}

/// A description in our own terms, or what is wrong with it.
fn read(name: &str, said: guest::Description) -> Result<Description, String> {
    let capabilities = said.capabilities.iter().map(|word| word.parse::<Capability>());
    let capabilities: Vec<Capability> =
        capabilities.collect::<Result<_, _>>().map_err(|error| format!("of what it asks for, {error}"))?;
    if said.actions.is_empty() {
        return Err("it has no action".to_owned());
    }
    let mut actions: Vec<ActionDescription> = Vec::with_capacity(said.actions.len());
    for action in said.actions {
        if !is_name(&action.name) {
            return Err(format!("`{}` cannot be the name of an action", action.name));
        }
        if actions.iter().any(|other| other.name == action.name) {
            return Err(format!("it has two actions called `{}`", action.name));
        }
        let schema = serde_json::from_str(&action.config_schema)
            .map_err(|error| format!("the schema of its action `{}` is not JSON: {error}", action.name))?;
        actions.push(ActionDescription { name: action.name, summary: action.summary, schema });
    }
    Ok(Description { name: name.to_owned(), version: said.version, summary: said.summary, capabilities, actions })
}

fn told(failure: Failure) -> ActionError {
    let kind = match failure.kind {
        FailureKind::Config => ErrorKind::Config,
        FailureKind::Connection => ErrorKind::Connection,
        FailureKind::Protocol => ErrorKind::Protocol,
        FailureKind::Timeout => ErrorKind::Timeout,
        FailureKind::Policy => ErrorKind::Policy,
        FailureKind::Assertion => ErrorKind::Assertion,
    };
    ActionError::new(kind, failure.message)
}

/// How an instance came to its end, as the rest of a sentence about it.
fn ended(error: &wasmtime::Error, lines: &Lines) -> String {
    if let Some(over) = error.downcast_ref::<OverBudget>() {
        return format!("was stopped: {over}");
    }
    let what = match (error.downcast_ref::<I32Exit>(), error.downcast_ref::<Trap>()) {
        (Some(exit), _) => format!("ended with exit code {} instead of an answer", exit.0),
        (None, Some(trap)) => format!("crashed: {trap}"),
        (None, None) => format!("failed: {}", error.root_cause()),
    };
    match lines.last_words() {
        words if words.is_empty() => what,
        words => format!("{what}; it said: {words}"),
    }
}
