//! A flow inside a flow: found by its name or file, started with an input, run with phases of its own.

use std::sync::Arc;

use indexmap::IndexMap;
use testmesh_shared::error::ErrorCode;

use crate::action::ActionError;
use crate::engine::armed::Armory;
use crate::engine::context::ActionContext;
use crate::engine::opening::Opening;
use crate::engine::phases::{FlowRun, Verdict};
use crate::flow::{Flow, parse_dotenv};
use crate::record::ErrorKind;
use crate::value::{Entries, Value};

/// Bytes of an `env_file`.
const ENV_FILE_LIMIT: u64 = 1 << 20;
/// How many flows may be inside one another.
const DEEPEST: u32 = 10;

impl ActionContext<'_> {
    /// Runs the flow that `reference` names. Its name, and how it ended.
    pub(crate) async fn run_flow(&self, reference: &str, input: Entries) -> Result<(String, Verdict), ActionError> {
        let run = self.flow.run;
        let depth = self.flow.depth + 1;
        if depth > DEEPEST {
            let message = format!("cannot run `{reference}`: flows are nested more than {DEEPEST} deep");
            return Err(ActionError::new(ErrorKind::Config, message));
        }
        let flow = run.engine.flows.find(reference, &run.files).await;
        let flow =
            flow.map_err(|reason| ActionError::new(ErrorKind::Config, format!("cannot run `{reference}`: {reason}")))?;
        let mut variables = run.variables.clone();
        variables.extend(input.into_iter().map(|(name, value)| (name.to_string(), value)));
        let opening = Opening {
            variables,
            environment: Arc::clone(&run.environment),
            env_file: self.env_file(&flow).await?,
            flow_id: String::new(),
            seed: run.seed.map(|seed| self.derived(seed)),
        };
        let name = flow.name.clone();
        let scope = match opening.scope(run, &flow) {
            Ok(scope) => scope,
            Err(message) => return Ok((name, Verdict::error(ErrorCode::InvalidFlow, message))),
        };
        let inside = FlowRun { run, flow: &flow, parent: Some(self.ordinal), depth, armory: Armory::default() };
        let verdict = inside.phases(&scope, None, self.stop).await;
        Ok((name, verdict))
    }

    /// The names of the flow's own `env_file` in front of those of the run's.
    async fn env_file(&self, flow: &Flow) -> Result<Arc<IndexMap<String, Value>>, ActionError> {
        let run = self.flow.run;
        let Some(path) = &flow.env_file else {
            return Ok(Arc::clone(&run.env_file));
        };
        let unusable = |reason: String| {
            ActionError::new(ErrorKind::Config, format!("`env_file` of flow `{}`: {reason}", flow.name))
        };
        let bytes = run.files.read(path, ENV_FILE_LIMIT).await.map_err(|error| unusable(error.to_string()))?;
        let values = parse_dotenv(&String::from_utf8_lossy(&bytes)).map_err(|error| unusable(error.to_string()))?;
        let mut names = IndexMap::clone(&run.env_file);
        names.extend(values.into_iter().map(|(name, text)| (name, Value::Text(text.into()))));
        Ok(Arc::new(names))
    }

    /// A seed that repeats for this place of the run, and differs from those of others.
    fn derived(&self, seed: u64) -> u64 {
        let place = u64::from(self.step.line) << 32 | u64::from(self.place.iteration.unwrap_or(0));
        // The increment and multiplier of SplitMix64 (Steele, Lea, Flood 2014).
        (seed ^ place.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }
}
