//! `plugin.*`: an action of a plugin, a WebAssembly component that whoever runs TestMesh has put there.
//!
//! What plugins there are and what they may do is decided by [`crate::plugins::Plugins`].

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;

use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example};
use crate::engine::ActionContext;
use crate::plugins::{Call, Fault, Lines, Plugin, PluginError, Reach, parts};
use crate::record::ErrorKind;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "plugin",
    aliases: &[],
    summary: "Has a plugin do something: `plugin.NAME`, or `plugin.NAME.ACTION` when it can do several things.",
    description: "A plugin is a WebAssembly component in the folder that `--plugin-dir` (`TESTMESH_PLUGIN_DIR`) names: \
                  `NAME.wasm`. Without that folder there are no plugins, and a flow that uses one is refused. What a plugin \
                  takes as `config` it says itself: `testmesh actions plugin.NAME --plugin-dir DIR` shows it, and validation \
                  checks it. The chapter [Plugins](../language/plugins.md) says what they may do and how they are \
                  written.\n\n\
                  What comes back is the plugin's: the keys of a map, or anything else as `value`. A plugin tells what \
                  kind of error it met (`config`, `connection`, `protocol`, `timeout`, `policy`, or `assertion`, with \
                  which the step fails instead); one that crashes or needs too much memory is an error of kind \
                  `protocol`. A time-out or a cancelled run ends it wherever it is.",
    config: &[],
    open_config: true,
    result: &[],
    open_result: true,
    reserved: &[],
    examples: &[
        Example {
            title: "A plugin with several actions",
            yaml: "- id: total\n  action: plugin.sums.add\n  config:\n    values: [1, 2.5, 3]\n  assert: sum == 6.5\n  output: {total: \
                   $.sum}\n",
        },
        Example {
            title: "A plugin that does one thing",
            yaml: "- action: plugin.luhn\n  config: {number: \"4539578763621486\"}\n  assert: valid == true\n",
        },
    ],
};

/// The action.
pub(crate) struct PluginAction;

#[async_trait]
impl Action for PluginAction {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let (name, named) = parts(cx.step.verb.as_deref().unwrap_or_default());
        let plugin = load(cx, name).await?;
        let action = plugin.action(named).map_err(|error| unusable(&error))?;
        let config = cx.resolve()?;
        let config = config.fields().map(|(key, value)| (key.to_owned(), value.to_json())).collect();
        let config = serde_json::Value::Object(config);
        let version = Value::from(plugin.description().version.as_str());
        let request = [
            ("plugin", Value::from(name)),
            ("version", version),
            ("action", Value::from(action.name.as_str())),
            ("config", Value::from_json(config.clone())),
        ];
        cx.note_request(Value::map(request).into());
        let faults = plugin.faults(&action.name, &config, &[]);
        if !faults.is_empty() {
            let told: Vec<String> = faults.iter().map(Fault::told).collect();
            return Err(ActionError::new(ErrorKind::Config, told.join("; ")));
        }
        let since = Instant::now();
        let answer = call(cx, &plugin, &action.name, &config.to_string()).await?;
        tracing::debug!(plugin = name, action = action.name, took = ?since.elapsed(), "a plugin was called");
        result(name, answer)
    }
}

/// The plugin, compiled by a thread that may take its time when that was not done yet.
async fn load(cx: &ActionContext<'_>, name: &str) -> Result<Arc<Plugin>, ActionError> {
    if let Some(plugin) = cx.plugins().ready(name) {
        return Ok(plugin);
    }
    let plugins = cx.plugins().clone();
    let wanted = name.to_owned();
    let loading = tokio::task::spawn_blocking(move || plugins.load(&wanted)).await;
    let loaded = loading.map_err(|error| ActionError::new(ErrorKind::Internal, error.to_string()))?;
    loaded.map_err(|error| unusable(&error))
}

fn unusable(error: &PluginError) -> ActionError {
    let kind = match error {
        PluginError::None | PluginError::LeftOut | PluginError::NotGranted { .. } => ErrorKind::Policy,
        _ => ErrorKind::Config,
    };
    let help = error.help().map(|help| format!(": {help}")).unwrap_or_default();
    ActionError::new(kind, format!("{error}{help}"))
}

/// Calls the plugin and logs what it says, while it says it.
async fn call(cx: &ActionContext<'_>, plugin: &Plugin, action: &str, config: &str) -> Result<String, ActionError> {
    let lines = Arc::new(Lines::default());
    let reach = Reach {
        connector: cx.connector().clone(),
        http: cx.http_client(),
        files: cx.files().clone(),
        traceparent: cx.traceparent(),
    };
    let call = plugin.call(Call { action, config, reach, lines: &lines });
    tokio::pin!(call);
    let answer = loop {
        tokio::select! {
            biased;
            // Not dropped before its end unless the step is.
            answer = &mut call => break answer,
            // Cancel-safe per docs on `more()`.
            () = lines.more() => log(cx, lines.take()),
        }
    };
    log(cx, lines.take_last());
    answer
}

fn log(cx: &ActionContext<'_>, lines: Vec<crate::plugins::Line>) {
    for line in lines {
        cx.log(line.level, &line.text, None);
    }
}

fn result(name: &str, answer: String) -> Result<ActionResult, ActionError> {
    let answer: serde_json::Value = serde_json::from_slice(&Bytes::from(answer)).map_err(|error| {
        ActionError::new(ErrorKind::Protocol, format!("the plugin `{name}` gave a result that is not JSON: {error}"))
    })?;
    let answer = Value::from_json(answer);
    let (result, primary) = match answer {
        Value::Map(_) => (answer, None),
        _ => (Value::map([("value", answer.clone())]), Some(answer)),
    };
    Ok(ActionResult { response: result.clone().into(), result, primary, ..ActionResult::default() })
}
